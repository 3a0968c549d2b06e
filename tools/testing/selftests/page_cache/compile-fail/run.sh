#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What the types of kernel::mm::page_cache forbid: compiles the cases in this
# folder as modules of a kernel that has been built, with its own rules.
# Usage: run.sh OBJECT-FOLDER [MAKE-ARGUMENT...]
#
# One line of each case is marked with the error that it must give:
#	folio.complete(); //~ error[E0382]
#	drop(guard); //~ error[E0505] instead of: guard.index();
# The case must give this error, in this line, and no other.  Without the line,
# or with what it is instead of, it must compile: then it was not any other
# mistake that was found.
objects=$1
shift
cases=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

names=
cp "$cases/common.rs" "$work"
for case in "$cases"/*.rs; do
	name=$(basename "$case" .rs)
	grep -q '//~ ' "$case" || continue
	names="$names $name"
	cp "$case" "$work/bad_$name.rs"
	sed -e 's|^.*//~ .* instead of: ||' -e 's|^.*//~ .*$||' "$case" \
		>"$work/good_$name.rs"
done
objs=$(printf ' %s' $names | sed 's/ \([^ ]*\)/ bad_\1.o good_\1.o/g')
echo "obj-m :=$objs" >"$work/Kbuild"

# shellcheck disable=SC2086
make -C "$objects" M="$work" "$@" V=0 -k -j1 $objs >"$work/log" 2>&1

# "name file line error" of each error that rustc found in a file.
awk '
	$1 == "RUSTC" { name = $NF; sub(/\.o$/, "", name) }
	/^error/ { error = $0 }
	/^warning/ { error = "" }
	$1 == "-->" && error != "" {
		n = split($2, path, "/")
		split(path[n], at, ":")
		print name, at[1], at[2], error
		error = ""
	}' "$work/log" >"$work/errors"

failed=0
n=0
echo "TAP version 13"
# shellcheck disable=SC2086
echo "1..$(echo $names | wc -w)"
for name in $names; do
	n=$((n + 1))
	line=$(grep -n '//~ ' "$cases/$name.rs")
	want=${line##*//~ }
	want="bad_$name bad_$name.rs ${line%%:*} ${want%% instead of: *}"
	got=$(grep "^bad_$name " "$work/errors")
	why=
	case "$got" in
	"$want"*) ;;
	*) why="wanted: $want, got: ${got:-no error}" ;;
	esac
	[ "$(printf '%s\n' "$got" | wc -l)" = 1 ] || why="more errors: $got"
	[ -e "$work/bad_$name.o" ] && why="it compiles"
	[ -e "$work/good_$name.o" ] ||
		why="does not compile without the line: $(grep "^good_$name " "$work/errors")"
	if [ -z "$why" ]; then
		echo "ok $n $name"
	else
		echo "not ok $n $name"
		printf '%s\n' "$why" | sed 's/^/# /'
		failed=$((failed + 1))
	fi
done
# Without any errors of rustc, the reason is elsewhere.
[ -s "$work/errors" ] || sed 's/^/# /' "$work/log"
echo "# $((n - failed)) passed, $failed failed"
[ $failed -eq 0 ]
