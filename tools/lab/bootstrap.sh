#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Makes what the lab program needs before it can run, and runs it:
#
#   1. the build root, a Debian 13 root directory with the compilers and QEMU;
#   2. the lab program, compiled inside that root.
#
# Both lie in the cache folder under the hash of what went into them, so this
# does nothing but two look-ups on every call after the first.  Whatever is
# missing on the host is one sentence on stderr and exit status 2.
#
#   bootstrap.sh [ARGUMENTS OF LAB...]
#   bootstrap.sh --write-apt ROOT     write the host's mirror and apt options
#                                     into ROOT (the lab calls this before it
#                                     uses apt in there)
set -eu

here=$(dirname -- "$(readlink -f -- "$0")")
top=$(readlink -f -- "$here/../..")
# What the first complete build leaves in the cache, in MiB, with some air.
need_mib=16384
# About as many lines as mmdebstrap prints for the build root, and cargo for the
# program, for the progress bars.
root_lines=2000
program_lines=88

die() {
	printf 'lab: %s\n' "$*" >&2
	exit 2
}

say() {
	printf 'lab: %s\n' "$*" >&2
}

# Shows, until it is ended, how many of about $lines lines are in $log: a bar
# with the time left on a terminal, a line now and then anywhere else.
show_progress() {
	begin=$(date +%s)
	said=$begin
	while sleep 1 && kill -0 $$ 2>/dev/null; do
		now=$(date +%s)
		count=$(wc -l <"$log")
		percent=$((count * 100 / lines))
		[ "$percent" -lt 100 ] || percent=99
		left='?:??'
		if [ "$percent" -ge 5 ]; then
			left=$(((now - begin) * (100 - percent) / percent))
			left=$(printf '%d:%02d' $((left / 60)) $((left % 60)))
		fi
		if [ -t 2 ]; then
			bar=$(printf '%*s' $((percent * 30 / 100)) '' | tr ' ' '=')
			last=$(tail -n 1 "$log" | tr -cd '[:print:]')
			# With wrapping off, a line that is too long stays one line.
			printf '\r\033[?7llab: %s [%-30s] %3d%% %s left  %s\033[K\033[?7h' \
				"$what" "$bar" "$percent" "$left" "$last" >&2
		elif [ $((now - said)) -ge 30 ]; then
			said=$now
			say "$what: $percent% after $((now - begin)) seconds, about $left left"
		fi
	done
}

# progress WHAT LOG LINES COMMAND...: runs a command that prints about so many
# lines, all of them into LOG, and shows how far it is.
progress() {
	what=$1 log=$2 lines=$3
	shift 3
	say "$what"
	: >"$log"
	show_progress 9>&- &
	shown=$!
	status=0
	"$@" >>"$log" 2>&1 9>&- || status=$?
	kill "$shown" 2>/dev/null || true
	wait "$shown" 2>/dev/null || true
	[ ! -t 2 ] || printf '\r\033[K' >&2
	return "$status"
}

# The archive that this host installs Debian from, as apt has it in its lists.
mirror() {
	apt-get "$@" indextargets \
		--format '$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(COMPONENT)' \
		'Created-By: Packages' 2>/dev/null |
		awk -F'|' '$2 == "Debian" && $3 == "Debian" && $4 == "main" { print $1; exit }'
}

# Options of the host's apt without which its mirror may not be usable.
apt_options() {
	apt-config dump | grep -E \
		'^Acquire::(Check-Valid-Until|Check-Date|Max-FutureTime|Retries|ForceIPv[46]|https?)(::[^ ]*)? ".+";$' ||
		true
}

sources() {
	for suite in trixie trixie-updates trixie-backports; do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $1 $suite main"
	done
}

find_mirror() {
	command -v apt-get >/dev/null && command -v apt-config >/dev/null ||
		die "no apt on this machine: the lab needs a Debian 12 or 13 host"
	mirror=$(mirror)
	[ -z "$mirror" ] || return 0
	# A machine on which nobody has run "apt-get update" yet has no lists: make
	# some aside, the host's are the host's.
	lists=$(mktemp -d)
	mkdir "$lists/partial"
	apt-get -qq -o "Dir::State::lists=$lists" -o APT::Sandbox::User=root update >/dev/null 2>&1 || true
	mirror=$(mirror -o "Dir::State::lists=$lists")
	rm -rf "$lists"
	[ -n "$mirror" ] ||
		die "no network, or no Debian archive in this machine's apt sources ('apt-get update' would tell)"
}

if [ "${1-}" = --write-apt ]; then
	find_mirror
	sources "$mirror" >"$2/etc/apt/sources.list"
	apt_options >"$2/etc/apt/apt.conf.d/99lab"
	exit 0
fi

[ "$(uname -m)" = x86_64 ] || die "this machine is $(uname -m): the lab needs x86_64"
[ "$(id -u)" = 0 ] || die "the lab must run as root: it uses chroot, mounts and mmdebstrap"

cache=${LAB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/tagged-page-cache-lab}
mkdir -p "$cache" 2>/dev/null || die "cannot create the cache folder $cache"
touch "$cache/.bootstrap.lock" 2>/dev/null || die "cannot write to the cache folder $cache"
cache=$(readlink -f -- "$cache")

recipe=$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$here/buildroot.txt")
recipe_hash=$(printf 'trixie 1\n%s\n' "$recipe" | sha256sum | cut -c1-16)
root=$cache/root-$recipe_hash

# ca-certificates.crt and friends as this host has them: a machine behind a
# proxy of its own trusts more than Debian's list.
ca=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}

# Run a command in the build root, in namespaces of its own: whatever the end,
# no mount and no process stays behind.  The paths inside are always the same.
in_root() {
	unshare --mount --pid --fork --kill-child sh -euc '
		root=$1 cache=$2 top=$3 ca=$4
		shift 4
		mkdir -p "$root/lab/cache" "$root/repo"
		mount --bind "$root" "$root"
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount --bind "$cache" "$root/lab/cache"
		mount --bind "$top" "$root/repo"
		for f in /etc/resolv.conf /etc/hosts; do
			[ -e "$f" ] || continue
			rm -f "$root$f"
			: >"$root$f"
			mount --bind "$(readlink -f "$f")" "$root$f"
		done
		[ ! -e "$ca" ] || mount --bind "$(readlink -f "$ca")" "$root/etc/ssl/certs/ca-certificates.crt"
		exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 \
			PATH=/usr/sbin:/usr/bin:/sbin:/bin \
			CARGO_HOME=/lab/cache/cargo CARGO_TARGET_DIR=/lab/cache/lab/target \
			CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt \
			${http_proxy:+"http_proxy=$http_proxy"} \
			${https_proxy:+"https_proxy=$https_proxy"} \
			${no_proxy:+"no_proxy=$no_proxy"} \
			"$@"
	' sh "$root" "$cache" "$top" "$ca" "$@"
}

# One at a time: a second lab waits here for what the first one makes.
exec 9>"$cache/.bootstrap.lock"

take_lock() {
	flock -n 9 || { say "another lab works on the build root or the program: waiting for it"; flock 9; }
}

make_root() {
	take_lock
	[ ! -d "$root" ] || { flock -u 9; return 0; }
	unshare --mount --pid --fork true 2>/dev/null ||
		die "root may not make mounts here (in a container?): the lab needs CAP_SYS_ADMIN"
	find_mirror
	command -v mmdebstrap >/dev/null ||
		die "mmdebstrap is missing on this machine: apt-get install mmdebstrap"
	free=$(df -Pk "$cache" | awk 'NR == 2 { print int($4 / 1024) }')
	[ "$free" -ge "$need_mib" ] ||
		die "not enough disk space: $cache has $free MiB free, the lab needs $need_mib MiB (LAB_CACHE puts it elsewhere)"
	probe=$(mktemp -d "$cache/.probe.XXXXXX")
	if ! /usr/lib/apt/apt-helper download-file "${mirror%/}/dists/trixie/InRelease" "$probe/InRelease" \
		>"$probe/log" 2>&1; then
		grep '^E: ' "$probe/log" | head -n 3 >&2
		rm -rf "$probe"
		die "no network: cannot fetch Debian 13 from the mirror that this machine's apt names"
	fi
	rm -rf "$probe"

	rm -rf "$cache"/.root.new.*
	new=$(mktemp -d "$cache/.root.new.XXXXXX")
	log=$cache/buildroot.log
	chmod 755 "$new"
	set -- --verbose --mode=root --variant=apt --components=main
	options=$(apt_options)
	while IFS= read -r option; do
		[ -z "$option" ] || set -- "$@" "--aptopt=$option"
	done <<-OPTIONS
		$options
	OPTIONS
	if ! sources "$mirror" | progress "making the build root (Debian 13, once)" "$log" "$root_lines" \
		env TMPDIR="$cache" mmdebstrap "$@" \
		--include="$(echo "$recipe" | paste -sd,)" trixie "$new" -; then
		tail -n 15 "$log" >&2
		rm -rf "$new"
		die "mmdebstrap could not make the build root; all it said is in $log"
	fi
	mkdir -p "$new/lab/cache" "$new/repo" "$new/src" "$new/obj" "$new/work"
	apt_options >"$new/etc/apt/apt.conf.d/99lab"
	mv "$new" "$root"
	flock -u 9
}

# Compiles the program inside the root; a build of equal sources is not repeated.
make_program() {
	take_lock
	[ ! -x "$program" ] || { flock -u 9; return 0; }
	log=$cache/lab-build.log
	mkdir -p "$cache/lab" "$cache/cargo"
	# Apart, because what can be wrong is not the same.
	if ! progress "fetching the crates that the lab stands on" "$log" "$program_lines" in_root sh -c \
		"cd /repo/tools/lab && exec cargo fetch --locked --target x86_64-unknown-linux-gnu"; then
		tail -n 15 "$log" >&2
		die "no network? cannot fetch the crates that the lab stands on; all that cargo said is in $log"
	fi
	if ! progress "compiling the lab" "$log" "$program_lines" in_root sh -c \
		"cd /repo/tools/lab && exec cargo build --release --locked --offline"; then
		cat "$log" >&2
		die "the lab program does not compile (see above)"
	fi
	mkdir -p "${program%/*}"
	cp "$cache/lab/target/x86_64-unknown-linux-gnu/release/lab" "$program.new"
	mv "$program.new" "$program"
	# Older builds of the program are of no use to anybody.
	ls -1dt "$cache"/lab/*/lab | tail -n +9 | while IFS= read -r old; do
		rm -rf "${old%/lab}"
	done
	flock -u 9
}

[ -d "$root" ] || make_root

program_hash=$(
	cd "$here" &&
		find Cargo.toml Cargo.lock .cargo src -type f -print0 | LC_ALL=C sort -z |
		xargs -0 sha256sum | cat - buildroot.txt | sha256sum | cut -c1-16
)
program=$cache/lab/$program_hash/lab
[ -x "$program" ] || make_program

exec 9>&-
exec env LAB_CACHE="$cache" LAB_TOP="$top" LAB_ROOT="$root" "$program" "$@"
