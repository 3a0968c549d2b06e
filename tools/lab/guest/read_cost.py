#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What a cached read costs, in instructions.

For a guest that counts: ./lab exec --icount [--variant base] tools/lab/guest/read_cost.py
There one nanosecond of the guest's clock is one instruction.  Prints, per kind of
read, the instructions of one call, Python's own included: they are the same on
every kernel, so it is differences that tell.
"""

import mmap
import os
import subprocess
import sys
import time

# How dictionaries are laid out is a matter of chance otherwise, and costs.
if os.environ.get("PYTHONHASHSEED") != "0":
    os.environ["PYTHONHASHSEED"] = "0"
    os.execv(sys.executable, [sys.executable, *sys.argv])

DEVICE = "/dev/vdb"
MOUNT = "/mnt"
SIZE = 8 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
ROUNDS = 5


def cost(call, times):
    """Nanoseconds of one call: the least of some rounds, which nothing disturbed."""
    best = None
    for _ in range(ROUNDS):
        begin = time.monotonic_ns()
        for n in range(times):
            call(n)
        spent = time.monotonic_ns() - begin
        best = spent if best is None else min(best, spent)
    return best / times


def faults(fd):
    """Nanoseconds per page of touching each page of a new mapping."""
    best = None
    for _ in range(ROUNDS):
        with mmap.mmap(fd, SIZE, prot=mmap.PROT_READ) as view:
            begin = time.monotonic_ns()
            for at in range(0, SIZE, PAGE):
                view[at]
            spent = time.monotonic_ns() - begin
        best = spent if best is None else min(best, spent)
    return best / (SIZE // PAGE)


def main():
    subprocess.run(["mkfs.xfs", "-q", DEVICE], check=True)
    subprocess.run(["mount", DEVICE, MOUNT], check=True)
    path = f"{MOUNT}/file"
    with open(path, "wb") as file:
        file.write(os.urandom(SIZE))
        os.fsync(file.fileno())
    fd = os.open(path, os.O_RDONLY)
    byte, page, big = bytearray(1), bytearray(PAGE), bytearray(1 << 20)
    pages = SIZE // PAGE
    # A first read in the tick of the write leaves the access time no later than
    # that of the change, and every read after it looks at that again.
    time.sleep(0.1)
    os.preadv(fd, [bytearray(SIZE)], 0)
    print(f"kernel {os.uname().release}")
    print(f"1 byte   {cost(lambda n: os.preadv(fd, [byte], n % pages * PAGE), 4 * pages):10.1f}")
    print(f"1 page   {cost(lambda n: os.preadv(fd, [page], n % pages * PAGE), 4 * pages):10.1f}")
    print(f"1 MiB    {cost(lambda n: os.preadv(fd, [big], n % 8 << 20), 64):10.1f}")
    print(f"fault    {faults(fd):10.1f}")


if __name__ == "__main__":
    sys.exit(main())
