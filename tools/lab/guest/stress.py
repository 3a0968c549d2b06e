#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The guest's part of "lab test stress".

Runs stressors of stress-ng, one after the other, with their files on an XFS
whose files are cloned while they are used, in little memory and with swap.  All
the while another process compares a set of clones with what is known to be in
them.
Usage: stress.py MARK SECONDS LIMIT STRESSOR...

STRESSOR is a line of guest/stressors.txt.  Each runs for SECONDS, and is killed
after LIMIT.  Lines that begin with MARK say in the output where each begins and
how it ended, as suite.sh does it: 0 good, 4 skipped, anything else failed.  The
last two are "compare" and "leak".
"""

import errno
import fcntl
import mmap
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback

DEVICE = "/dev/vdb"
SWAP = "/dev/vdc"
MOUNT = "/mnt"
WORK = f"{MOUNT}/work"
KNOWN = f"{MOUNT}/known"
TAKEN = f"{MOUNT}/taken"
FICLONE = 0x40049409
PAGE = mmap.PAGESIZE
# How many files with content of their own, how many clones of each with them.
FILES, CLONES = 4, 4
SIZE = 32 << 20
# The content repeats itself after so much, which is no number of pages: no two
# pages of a file are equal.
PERIOD = (1 << 20) - 4093
MOST = 1 << 20
# What a stressor's file may have to be cloned and compared.
CLONED = 16 << 20
COUNTERS = (
    "nr_page_cache_home",
    "nr_page_cache_alias",
    "nr_page_cache_fragment",
)
MEMORY = "/sys/devices/system/memory"
MADV_COLD, MADV_PAGEOUT = 20, 21
# Statuses of stress-ng: no resources, not implemented here.
SKIPPED = (3, 4)
SKIP = 4
# It has not run, for a reason that it has told, which is no error to it.
IDLE = re.compile(r" passed: 0$", re.MULTILINE)
SAID = "/run/stress-ng.txt"


def fields(path):
    """The "name value" lines of a file in /proc."""
    with open(path, encoding="ascii") as lines:
        pairs = (line.split() for line in lines)
        return {words[0]: int(words[1]) for words in pairs if len(words) == 2}


def counters():
    found = fields("/proc/vmstat")
    return {name: found[name] for name in COUNTERS if name in found}


class Content:
    """What is in a file."""

    def __init__(self, seed):
        self.bytes = random.Random(seed).randbytes(PERIOD) * 3

    def at(self, offset, length):
        offset %= PERIOD
        return self.bytes[offset : offset + length]


def difference(want, got):
    """Where two strings of bytes differ, in words."""
    if len(want) != len(got):
        return f"{len(got)} bytes instead of {len(want)}"
    bad = [i for i in range(len(want)) if want[i] != got[i]]
    return (
        f"{len(bad)} bytes differ, from {bad[0]} to {bad[-1]}: "
        f"expected {want[bad[0] : bad[0] + 8].hex()}, "
        f"found {got[bad[0] : bad[0] + 8].hex()}"
    )


def clone(source, target):
    fcntl.ioctl(target, FICLONE, source.fileno())


def make_known():
    """The files with content that is known, and their clones."""
    os.mkdir(KNOWN)
    for number in range(FILES):
        content = Content(number)
        first = f"{KNOWN}/{number}.0"
        with open(first, "wb") as file:
            for offset in range(0, SIZE, MOST):
                file.write(content.at(offset, MOST))
        with open(first, "rb") as source:
            for copy in range(1, CLONES):
                with open(f"{KNOWN}/{number}.{copy}", "wb") as target:
                    clone(source, target)
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")


class Known:
    """An open file of which the content is known, and its mapping."""

    def __init__(self, number, copy, content):
        self.name = f"{number}.{copy}"
        self.content = content
        self.fd = os.open(f"{KNOWN}/{self.name}", os.O_RDONLY)
        self.map = self.mapped(mmap.MAP_SHARED)

    def mapped(self, flags):
        return mmap.mmap(self.fd, SIZE, flags, mmap.PROT_READ)

    def read(self, how, offset, length):
        """Reads in one of some ways."""
        if how == "read":
            return os.pread(self.fd, length, offset)
        if how == "kept mapping":
            return self.map[offset : offset + length]
        kind = mmap.MAP_PRIVATE if how == "private mapping" else mmap.MAP_SHARED
        with self.mapped(kind) as new:
            return new[offset : offset + length]

    def treat(self, what, offset, length):
        """Gives the kernel a hint about a range."""
        offset -= offset % PAGE
        if what == "forget":
            os.posix_fadvise(self.fd, offset, length, os.POSIX_FADV_DONTNEED)
        elif what == "remap":
            self.map.close()
            self.map = self.mapped(mmap.MAP_SHARED)
        else:
            try:
                self.map.madvise(what, offset, length)
            except OSError:
                pass


WAYS = ("read", "read", "kept mapping", "kept mapping", "shared mapping", "private mapping")
HINTS = (
    "forget",
    "remap",
    mmap.MADV_DONTNEED,
    mmap.MADV_WILLNEED,
    MADV_COLD,
    MADV_PAGEOUT,
)


def compare(stopped, said):
    """Compares what is known until it is told to stop; 0 if all was right."""
    chance = random.Random(time.time())
    contents = [Content(number) for number in range(FILES)]
    files = [
        Known(number, copy, contents[number])
        for number in range(FILES)
        for copy in range(CLONES)
    ]
    reads = 0
    while not stopped():
        file = chance.choice(files)
        offset = chance.randrange(SIZE)
        length = min(chance.randrange(1, chance.choice((PAGE, 65536, MOST))), SIZE - offset)
        how = chance.choice(WAYS)
        want = file.content.at(offset, length)
        got = file.read(how, offset, length)
        if want != got:
            said.write(
                f"{file.name} by {how}, {offset}+{length}, read {reads}: "
                f"{difference(want, got)}\n"
            )
            # Is it so for good, and is it on the disk?
            for again in ("read", "private mapping"):
                right = file.read(again, offset, length) == want
                said.write(f"  again by {again}: {'right' if right else 'wrong'}\n")
            return 1
        reads += 1
        if chance.random() < 0.1:
            file.treat(chance.choice(HINTS), offset, length)
    said.write(f"{reads} reads were right\n")
    return 0 if reads else 1


def direct(path, length):
    """What is on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, (length + PAGE - 1) // PAGE * PAGE) as room:
            return room[: os.preadv(fd, [room], 0)][:length]
    finally:
        os.close(fd)


def take(path, name):
    """Clones a file that somebody is using: whatever came out, it stays so."""
    with open(path, "rb") as source:
        size = os.fstat(source.fileno()).st_size
        if not 0 < size <= CLONED:
            return None
        with open(name, "w+b") as target:
            clone(source, target)
            size = os.fstat(target.fileno()).st_size
            if not 0 < size <= CLONED:
                return None
            first = os.pread(target.fileno(), size, 0)
            with mmap.mmap(target.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ) as new:
                second = new[:]
            third = direct(name, size)
    for way, got in (("mapping", second), ("direct read", third)):
        if first != got:
            return f"clone of {path} by {way}: {difference(first, got)}"
    return ""


# What a file that comes and goes, a full disk, no memory and one that is no
# file for this (swap) give.
EXPECTED = (
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOMEM,
    errno.EINVAL,
    errno.ETXTBSY,
    errno.EPERM,
    errno.EACCES,
    errno.ENXIO,
    errno.ENOTDIR,
    errno.EINTR,
    errno.EIO,
)


def take_all(stopped, said):
    """Clones what the stressors make, as long as it is told to."""
    taken = 0
    os.makedirs(TAKEN, exist_ok=True)
    while not stopped():
        for folder, _, names in os.walk(WORK):
            for name in names[:16]:
                path = f"{folder}/{name}"
                if stopped():
                    break
                if not os.path.isfile(path) or os.path.islink(path):
                    continue
                # The last few stay, and share with what goes on.
                target = f"{TAKEN}/{taken % 8}"
                try:
                    if os.path.exists(target):
                        os.unlink(target)
                    wrong = take(path, target)
                except OSError as error:
                    if error.errno not in EXPECTED:
                        raise
                    continue
                if wrong:
                    said.write(f"{wrong}\n")
                    return 1
                if wrong is not None:
                    taken += 1
        time.sleep(0.05)
    said.write(f"{taken} files in use were cloned\n")
    return 0


class Background:
    """A process that runs until it is told to stop, and what it said."""

    def __init__(self, function):
        self.path = f"/run/{function.__name__}.txt"
        self.status = None
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                status = self.run(function)
            finally:
                os._exit(status)

    def run(self, function):
        state = {"stop": False}
        signal.signal(signal.SIGTERM, lambda *_: state.update(stop=True))
        with open(self.path, "w", encoding="utf-8") as said:
            try:
                return function(lambda: state["stop"], said)
            except Exception:
                said.write(traceback.format_exc())
                return 1

    def ended(self):
        """Whether it has ended, without having been told to."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        return self.status is not None

    def stop(self):
        """Ends it; gives its status."""
        if not self.ended():
            os.kill(self.pid, signal.SIGTERM)
            self.status = os.waitpid(self.pid, 0)[1]
        return self.status

    def said(self):
        try:
            with open(self.path, encoding="utf-8") as file:
                return file.read()
        except OSError:
            return ""


def online():
    """Brings all memory back that a stressor left offline."""
    for name in os.listdir(MEMORY):
        state = f"{MEMORY}/{name}/state"
        try:
            with open(state, encoding="ascii") as file:
                if file.read().strip() != "offline":
                    continue
            with open(state, "w", encoding="ascii") as file:
                file.write("online")
        except OSError:
            pass


def known_stressors():
    result = subprocess.run(
        ["stress-ng", "--stressors"], capture_output=True, check=False, text=True
    )
    return result.stdout.split()


def stress(line, seconds, limit, known):
    """Runs one stressor; its status."""
    arguments = line.split()[1:]
    if arguments[0].removeprefix("--") not in known:
        print(f"stress-ng has no {arguments[0]}")
        return SKIP
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(WORK, exist_ok=True)
    command = ["timeout", "-k", "30", str(limit), "stress-ng", *arguments]
    command += ["--timeout", f"{seconds}s", "--temp-path", WORK]
    command += ["--verify", "--oomable", "--no-rand-seed"]
    with open(SAID, "w+", encoding="utf-8", errors="replace") as said:
        status = subprocess.run(
            command,
            stdout=said,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
            cwd=WORK,
            preexec_fn=lambda: spare("0"),
        ).returncode
        said.seek(0)
        text = said.read()
    print(text, end="")
    online()
    return judge(status, text)


def judge(status, text):
    """A stressor's status, with that of those that have not done anything."""
    if status in SKIPPED or (status == 0 and IDLE.search(text)):
        return SKIP
    return status if status >= 0 else 128 - status


def unmount():
    """0 if the file system could be unmounted."""
    for _ in range(50):
        if subprocess.run(["umount", "-q", MOUNT], check=False).returncode == 0:
            return 0
        time.sleep(0.2)
    return 1


def run(mark, name, function):
    """One test with its marks in the output."""
    print(f"{mark} begin {name}", flush=True)
    try:
        status = function()
    except Exception:
        print(traceback.format_exc())
        status = 1
    sys.stdout.flush()
    print(f"{mark} end {name} {status}", flush=True)


def spare(score):
    """How the killer of processes looks at this one, and at its children."""
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(score)


def set_up():
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    subprocess.run(["mkfs.xfs", "-q", "-f", "-m", "reflink=1", DEVICE], **quiet)
    subprocess.run(["mkswap", SWAP], **quiet)
    subprocess.run(["swapon", SWAP], **quiet)
    before = counters()
    subprocess.run(["mount", DEVICE, MOUNT], **quiet)
    make_known()
    os.makedirs(WORK)
    return before


def compared(background, ended_in):
    """The end of the processes in the background; 0 if all of them were right."""
    bad = 0
    if ended_in:
        print(f"one has come to its end in {ended_in}")
    for process in background:
        early = process.ended()
        status = process.stop()
        print(process.said(), end="")
        if status or early:
            print(f"ended with status {status:#x}")
            bad = 1
    return bad


def leak(before):
    """0 if nothing is left of what was shared."""
    if unmount():
        print("cannot unmount: something is still in use")
        return 1
    if not before:
        print("this kernel does not share page cache")
        return SKIP
    bad = 0
    for name, value in counters().items():
        if value > before[name]:
            print(f"{name}: {value} after unmount, {before[name]} before mount")
            bad = 1
    return bad


def main():
    mark, seconds, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    spare("-1000")
    before = set_up()
    background = [Background(compare), Background(take_all)]
    known = known_stressors()
    ended_in = None
    for line in sys.argv[4:]:
        name = line.split()[0]
        run(mark, name, lambda: stress(line, seconds, limit, known))
        if not ended_in and any(process.ended() for process in background):
            ended_in = name
    run(mark, "compare", lambda: compared(background, ended_in))
    shutil.rmtree(WORK, ignore_errors=True)
    run(mark, "leak", lambda: leak(before))


if __name__ == "__main__":
    main()
