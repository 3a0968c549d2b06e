#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs test programs in the guest, one after the other, and marks in the output
# where each begins and how it ended.
# Usage: suite.sh MARK SECONDS PROGRAM...
mark=$1
seconds=$2
shift 2
cd /lab/selftests 2>/dev/null || {
	# From the guest's own disk: 9p is slow to run programs from.
	cp -a /lab/in/selftests /lab/selftests && cd /lab/selftests || exit 1
}
mounts() {
	awk '{ print $2 }' /proc/mounts | sort
}
before=$(mounts)
for program in "$@"; do
	echo "$mark begin $program"
	timeout -k 10 "$seconds" "./$program" 2>&1
	echo "$mark end $program $?"
	# What a program leaves mounted is not the next one's trouble.
	mounts | sort -r | while read -r mount; do
		echo "$before" | grep -qxF "$mount" || umount -l "$mount"
	done
done
