#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the check of an xfstests tree in the guest, and marks in its output where
# the list of tests and where the tests themselves begin.
# Usage: xfstests.sh MARK list|run CHECK-ARGUMENT...
set -u
mark=$1
mode=$2
shift 2

die() {
	echo "$*" >&2
	exit 3
}

# The tree is the host's and stays as it is: what tests write into it (links to
# the output that is expected, for one) goes into memory.
tree=/lab/xfstests
mkdir -p /run/tree "$tree"
mount -t tmpfs -o mode=755 tmpfs /run/tree && mkdir /run/tree/{lower,upper,work} &&
	mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose \
		lab_share /run/tree/lower &&
	mount -t overlay -o lowerdir=/run/tree/lower,upperdir=/run/tree/upper,workdir=/run/tree/work \
		xfstests "$tree" || die "cannot mount the xfstests tree"

# Without it nobody makes the links in /dev/mapper, and who waits for them waits
# forever.
/usr/lib/systemd/systemd-udevd --daemon || die "cannot start udevd"
udevadm trigger --type=subsystems --action=add
udevadm trigger --type=devices --action=add
udevadm settle

ip link set lo up
[ -e /etc/mtab ] || ln -s ../proc/self/mounts /etc/mtab
# The users that xfstests' README asks for.
for user in fsgqa fsgqa2 123456-fsgqa; do
	useradd --badname --create-home --user-group "$user" 2>/dev/null ||
		die "cannot make the user $user"
done

config=/run/xfstests.config
cp /lab/in/local.config "$config"
. "$config"
options() {
	# shellcheck disable=SC2086
	mkfs.xfs "$@" -f $MKFS_OPTIONS ${TEST_RTDEV:+-r rtdev="$TEST_RTDEV"} "$TEST_DEV"
}
if [ -n "${MKFS_OLDER-}" ] && ! options -N >/dev/null 2>&1; then
	MKFS_OPTIONS=$MKFS_OLDER
	echo "export MKFS_OPTIONS='$MKFS_OLDER'" >>"$config"
fi
mkdir -p "$TEST_DIR" "$SCRATCH_MNT"
said=$(options -q 2>&1) || die "mkfs.xfs on $TEST_DEV: $said"

cd "$tree" || die "no $tree"
export HOST_OPTIONS=$config
if [ "$mode" = list ]; then
	# Many tests do not look whether a program could be started at all.
	missing=$(find ltp src -type f -perm -u+x -exec ldd {} + 2>/dev/null |
		awk '/not found/ { print $1 }' | sort -u | tr '\n' ' ')
	[ -z "$missing" ] ||
		die "programs of the tree are linked with what the guest does not have: $missing"
	echo "$mark list"
	./check -n "$@" 2>&1 || die "check -n failed"
	# check leaves the cursor behind the last word.
	echo
fi
echo "$mark run"
./check "$@" 2>&1
status=$?
echo
echo "$mark end $status"
