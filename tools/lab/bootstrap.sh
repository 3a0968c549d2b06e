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

die() {
	printf 'lab: %s\n' "$*" >&2
	exit 2
}

say() {
	printf 'lab: %s\n' "$*" >&2
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

make_root() {
	flock 9
	[ ! -d "$root" ] || { flock -u 9; return 0; }
	find_mirror
	command -v mmdebstrap >/dev/null ||
		die "mmdebstrap is missing on this machine: apt-get install mmdebstrap"
	free=$(df -Pk "$cache" | awk 'NR == 2 { print int($4 / 1024) }')
	[ "$free" -ge "$need_mib" ] ||
		die "not enough disk space: $cache has $free MiB free, the lab needs $need_mib MiB (LAB_CACHE puts it elsewhere)"
	probe=$(mktemp -d "$cache/.probe.XXXXXX")
	if ! /usr/lib/apt/apt-helper download-file "${mirror%/}/dists/trixie/InRelease" "$probe/InRelease" \
		>"$probe/log" 2>&1; then
		tail -n 3 "$probe/log" >&2
		rm -rf "$probe"
		die "no network: cannot fetch Debian 13 from the mirror that this machine's apt names"
	fi
	rm -rf "$probe"

	say "making the build root (Debian 13, once, about a minute or two)"
	rm -rf "$cache"/.root.new.*
	new=$(mktemp -d "$cache/.root.new.XXXXXX")
	log=$cache/buildroot.log
	chmod 755 "$new"
	set -- --mode=root --variant=apt --components=main
	options=$(apt_options)
	while IFS= read -r option; do
		[ -z "$option" ] || set -- "$@" "--aptopt=$option"
	done <<-OPTIONS
		$options
	OPTIONS
	if ! sources "$mirror" | TMPDIR=$cache mmdebstrap "$@" \
		--include="$(echo "$recipe" | paste -sd,)" trixie "$new" - >"$log" 2>&1 9>&-; then
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
	flock 9
	[ ! -x "$program" ] || { flock -u 9; return 0; }
	say "compiling the lab"
	quiet=--quiet
	[ ! -t 2 ] || quiet=
	mkdir -p "$cache/lab" "$cache/cargo"
	in_root sh -c "cd /repo/tools/lab && exec cargo build --release --locked $quiet" >&2 9>&- || {
		die "the lab program does not compile, or its crates could not be fetched (see above)"
	}
	mkdir -p "${program%/*}"
	cp "$cache/lab/target/x86_64-unknown-linux-gnu/release/lab" "$program.new"
	mv "$program.new" "$program"
	# Older builds of the program are of no use to anybody.
	ls -1dt "$cache"/lab/*/lab | tail -n +9 | xargs -r dirname | xargs -r rm -rf
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
