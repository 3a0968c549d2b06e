#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The guest's part of "lab test tool": what tools/mm/cachemap says of files whose
cached data is known.

Prints TAP.
Usage: cachemap.py PROGRAM
"""

import json
import os
import subprocess
import sys

DEVICE = "/dev/vdb"
MOUNT = "/mnt"
PAGE = os.sysconf("SC_PAGE_SIZE")
SIZE = 2048 * PAGE
CLONES = 3
NOBODY = 65534

tests = 0


def check(name, good, said=""):
    """One line of TAP."""
    global tests
    tests += 1
    print(f"{'ok' if good else 'not ok'} {tests} cachemap.{name}")
    if not good:
        for line in str(said).splitlines():
            print(f"# {line}")


def run(*line, **options):
    return subprocess.run(line, check=True, capture_output=True, text=True, **options)


def ask(program, *arguments, user=None):
    """The exit status and what was said."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, user=user)
    return done.returncode, done.stdout, done.stderr


def told(program, *arguments):
    status, out, err = ask(program, "--json", *arguments)
    if status:
        raise RuntimeError(f"exit status {status}: {err}")
    return json.loads(out)


def read(path):
    with open(path, "rb") as file:
        while file.read(1 << 20):
            pass


def make_files():
    """A file and clones of it, one of which has a page of its own, and another file."""
    with open(f"{MOUNT}/0", "wb") as file:
        file.write(os.urandom(SIZE))
    for n in range(1, CLONES + 1):
        run("cp", "--reflink=always", f"{MOUNT}/0", f"{MOUNT}/{n}")
    with open(f"{MOUNT}/own", "wb") as file:
        file.write(os.urandom(16 * PAGE))
    run("sync")
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")


def test(program):
    make_files()
    names = [f"{MOUNT}/{n}" for n in range(CLONES + 1)]
    cold = told(program, MOUNT)
    check("cold", cold["total"]["resident_sum"] == 0 and len(cold["files"]) == CLONES + 2, cold)

    for name in [*names, f"{MOUNT}/own"]:
        read(name)
    warm = told(program, MOUNT)
    total = warm["total"]
    check(
        "total",
        total["resident_sum"] == SIZE * (CLONES + 1) + 16 * PAGE
        and total["memory"] == SIZE + 16 * PAGE
        and total["saved"] == SIZE * CLONES,
        total,
    )
    files = {file["path"]: file for file in warm["files"]}
    for name in names:
        file = files[name]
        others = {other["path"] for other in file["shared_with"]}
        check(
            f"clone.{os.path.basename(name)}",
            file["resident"] == file["shared"] == SIZE
            and file["private"] == 0
            and others <= set(names) - {name}
            and others,
            file,
        )
    own = files[f"{MOUNT}/own"]
    check("own", own["private"] == 16 * PAGE and not own["shared_with"], own)

    with open(names[1], "r+b") as file:
        file.seek(5 * PAGE)
        file.write(b"mine")
    written = told(program, names[0], names[1])
    mine = written["files"][[f["path"] for f in written["files"]].index(names[1])]
    check(
        "written",
        mine["private"] == mine["dirty"] == PAGE and mine["shared"] == SIZE - PAGE,
        mine,
    )
    check("written.total", written["total"]["memory"] == SIZE + PAGE, written["total"])

    status, out, err = ask(program, "--color", "never", *names)
    check("table", status == 0 and "saves" in out and names[2] in out, out + err)
    status, out, err = ask(program, "--map", "--width", "60", "--color", "always", *names)
    check("map", status == 0 and "\x1b[" in out, out + err)

    status, out, err = ask(program, names[0], user=NOBODY)
    check("strangers", status == 1 and names[0] in err and names[0] not in out, out + err)
    status, out, err = ask(program, names[0], f"{MOUNT}/none")
    check("one_missing", status == 1 and names[0] in out and "none" in err, out + err)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run("mkfs.xfs", "-q", "-f", DEVICE)
    run("mount", DEVICE, MOUNT)
    try:
        test(sys.argv[1])
    finally:
        run("umount", MOUNT)
    print(f"1..{tests}")


if __name__ == "__main__":
    main()
