#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The guest's part of "lab bench".

Usage: bench.py MEASURE...
Makes an XFS file system for each measure and prints, to standard output, a JSON
object per line: {"metric": NAME, "value": NUMBER}; {"measure": NAME, "absent": WHY}
of what this guest cannot do; {"measure": NAME, "error": WHY} of what went wrong;
{"measure": NAME, "done": true} behind each.  Memory and I/O are measured here, on
/dev/vdb; what is counted in instructions is cost.c's, on /dev/pmem0.
"""

import fcntl
import gc
import gzip
import hashlib
import json
import mmap
import os
import random
import shutil
import struct
import subprocess
import sys

import run

DISK = "/dev/vdb"
MOUNT = "/mnt"
VIEWS = "/tmp/views"
COST = "/lab/in/cost"
PAGE = run.PAGE
MIB = 1 << 20
CHUNK = 128 << 10
FICLONE = 0x40049409
FIEMAP = 0xC020660B

# The tree: so much of /usr, without its largest files.
TREE = 32 * MIB
LARGEST = 4 * MIB
# How many clones of it are read, and plain copies, which take their time to make.
CLONES = (2, 16, 100)
COPIES = (2, 16)
# The file whose clones' kernel memory is measured.
LARGE = 1 << 30
EXTENTS = 16
LARGE_CLONES = 4
# More clones than there is memory for.
MANY = 1000
MANY_SIZE = 64 * MIB
# Disk images, and how much of each is written anew.
IMAGES = 8
IMAGE_SIZE = 64 * MIB
REWRITTEN = 0.05
# The attribute that says which EROFS files are the same.
FINGERPRINT = "trusted.erofs.fingerprint"


class Absent(Exception):
    """This guest cannot do that."""


def tell(**what):
    print(json.dumps(what), flush=True)


def put(metric, value):
    tell(metric=metric, value=value)


def make_xfs(device, options="noatime"):
    """Without access times, if nothing else is said: their updates leave an item of
    the log with each inode."""
    run.run("mkfs.xfs", "-q", "-f", "-m", "reflink=1", device)
    run.run("mount", "-t", "xfs", "-o", options, device, MOUNT)
    name = os.path.basename(device)
    with open(f"/sys/block/{name}/queue/iostats", "w", encoding="ascii") as file:
        file.write("1")


def clean_up():
    """Unmounts what a measure has mounted, views of the file system first."""
    with open("/proc/mounts", encoding="ascii") as lines:
        mounts = [line.split()[1] for line in lines]
    for mount in reversed(mounts):
        if mount == MOUNT or mount.startswith((MOUNT + "/", VIEWS + "/")):
            if mount == MOUNT:
                subprocess.run(["losetup", "-D"], check=False)
            subprocess.run(["umount", mount], check=False)
    shutil.rmtree(VIEWS, ignore_errors=True)


def device_read_bytes():
    with open(f"/sys/block/{os.path.basename(DISK)}/stat", encoding="ascii") as file:
        return int(file.read().split()[2]) * 512


def cached_bytes():
    """All page cache: of files, and of block devices."""
    memory = run.fields("/proc/meminfo")
    return (memory["Cached"] + memory["Buffers"]) * 1024


class Spent:
    """What changes while the body of a "with" runs."""

    def __enter__(self):
        gc.collect()
        self.cache = self.bytes = self.slabs = None
        self.before = (cached_bytes(), device_read_bytes(), run.slabs())
        return self

    def __exit__(self, *_):
        cache, device, slabs = self.before
        self.cache = cached_bytes() - cache
        self.bytes = device_read_bytes() - device
        after = run.slabs()
        # Objects, not slabs: whether an object finds room in a slab that is there
        # already is a matter of chance.
        self.objects = {
            name: objects * after[name]["size"]
            for name, objects in run.slab_changes(slabs, after, "objects").items()
            if name in after
        }
        self.slabs = sum(self.objects.values())

    def put(self, name):
        put(f"{name}.cache", self.cache)
        put(f"{name}.all", self.cache + self.slabs)
        put(f"{name}.bytes", self.bytes)
        for cache, grown in self.objects.items():
            if abs(grown) >= 64 << 10:
                put(f"{name}.slab.{cache}", grown)


# -- A tree and its copies ------------------------------------------------------


def copy_tree(to):
    """Files of /usr with their folders: as chance has them, but the same ones each
    time, until there are enough."""
    names = []
    for folder, _, files in os.walk("/usr"):
        names += [os.path.join(folder, name) for name in files]
    left = TREE
    for name in sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest()):
        size = -(-os.lstat(name).st_size // PAGE) * PAGE
        if os.path.islink(name) or not os.path.isfile(name) or size > LARGEST:
            continue
        left -= size
        if left < 0:
            break
        target = to + name
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(name, target)


def walk(trees):
    """The files of trees, their inodes and names now in memory."""
    names = []
    for tree in trees:
        for folder, _, files in os.walk(tree):
            names += [os.path.join(folder, name) for name in files]
    for name in names:
        os.stat(name)
    return names


def read_trees(trees, name):
    """Reads all files of trees, from a cold cache, and tells what that took, by the
    name given.

    The trees' inodes, names and folders are loaded before: these each of K trees
    has, whether cached data is shared or not.  What reading takes besides the
    pages, it takes for caching.
    """
    run.drop_caches()
    names = walk(trees)
    buffer = bytearray(CHUNK)
    with Spent() as spent:
        for path in names:
            fd = os.open(path, os.O_RDONLY)
            while os.readv(fd, [buffer]):
                pass
            os.close(fd)
    if name:
        spent.put(name)


def original():
    """The tree on a new file system, in a folder; its one copy is measured."""
    make_xfs(DISK)
    tree = f"{MOUNT}/original"
    run.say("copying a part of /usr")
    copy_tree(tree)
    os.sync()
    return tree


def read_all_of(measure, tree, views, counts=CLONES):
    """Reads the tree, then so many of the views of it."""
    run.say(f"{measure}: reading one copy")
    # At first this program and its library are read, too.
    read_trees([tree], None)
    read_trees([tree], f"{measure}.one")
    for count in counts:
        run.say(f"{measure}: reading {count}")
        read_trees(views[:count], f"{measure}.{count}")


def copies_of(tree, reflink, count):
    result = []
    for number in range(count):
        if number % 10 == 0:
            run.say(f"making copy {number + 1} of {count}")
        copy = f"{MOUNT}/copy{number}"
        run.run("cp", "-a", f"--reflink={reflink}", tree, copy)
        result.append(copy)
    os.sync()
    return result


def clones():
    tree = original()
    read_all_of("clones", tree, copies_of(tree, "always", max(CLONES)))


def copies():
    tree = original()
    read_all_of("copies", tree, copies_of(tree, "never", max(COPIES)), COPIES)


def has_file_system(name):
    with open("/proc/filesystems", encoding="ascii") as lines:
        return any(line.split()[-1] == name for line in lines)


def overlay():
    if not has_file_system("overlay"):
        raise Absent("no overlayfs in this kernel")
    tree = original()
    views = []
    for number in range(max(CLONES)):
        view = f"{VIEWS}/{number}"
        upper, work = (f"{MOUNT}/{kind}{number}" for kind in ("upper", "work"))
        for folder in (view, upper, work):
            os.makedirs(folder)
        options = f"lowerdir={tree},upperdir={upper},workdir={work}"
        run.run("mount", "-t", "overlay", "-o", options, "overlay", view)
        views.append(view)
    read_all_of("overlay", tree, views)


def kernel_has(option):
    try:
        with gzip.open("/proc/config.gz", "rt", encoding="ascii") as lines:
            return any(line.strip() == f"{option}=y" for line in lines)
    except OSError:
        return False


def mark_shared(image):
    """Says in the superblock that the first long prefix of names of attributes is
    the fingerprints': this mkfs.erofs does not know of them."""
    with open(image, "r+b") as file:
        file.seek(1024)
        block = bytearray(file.read(128))
        magic, _, features = struct.unpack_from("<III", block)
        if magic != 0xE0F5E1E2:
            raise RuntimeError("mkfs.erofs made something else")
        if not block[91]:
            raise RuntimeError("mkfs.erofs made no prefix for the fingerprints")
        # With fingerprints; without a checksum of what is being changed here.
        struct.pack_into("<I", block, 8, (features | 0x20) & ~0x1)
        block[105] = 0
        file.seek(1024)
        file.write(block)


def erofs():
    if not has_file_system("erofs"):
        raise Absent("no EROFS in this kernel")
    if not kernel_has("CONFIG_EROFS_FS_PAGE_CACHE_SHARE"):
        raise Absent("no inode_share in this kernel's EROFS")
    if not shutil.which("mkfs.erofs"):
        raise Absent("no mkfs.erofs in this guest")
    tree = original()
    run.run("cp", "-a", "--reflink=always", tree, f"{MOUNT}/marked")
    for path in walk([f"{MOUNT}/marked"]):
        with open(path, "rb") as file:
            os.setxattr(path, FINGERPRINT, hashlib.file_digest(file, "sha256").digest())
    image = f"{MOUNT}/image"
    run.run("mkfs.erofs", f"--xattr-prefix={FINGERPRINT}", image, f"{MOUNT}/marked")
    mark_shared(image)
    views = []
    for number in range(max(CLONES)):
        # An image each, as containers have them; the same blocks, for want of space.
        run.run("cp", "--reflink=always", image, f"{image}{number}")
        loop = subprocess.check_output(
            ["losetup", "-f", "--show", "-r", "--direct-io=on", f"{image}{number}"], text=True
        ).strip()
        view = f"{VIEWS}/{number}"
        os.makedirs(view)
        run.run("mount", "-t", "erofs", "-o", "ro,inode_share,domain_id=lab", loop, view)
        views.append(view)
    with open("/proc/mounts", encoding="ascii") as lines:
        shown = [line for line in lines if f" {VIEWS}/" in line]
    if len(shown) != len(views) or not all("inode_share" in line for line in shown):
        raise RuntimeError("EROFS does not share")
    read_all_of("erofs", tree, views)


# -- Single files ----------------------------------------------------------------


def pass_over(path):
    """Reads a file without taking the data to user space."""
    fd = os.open(path, os.O_RDONLY)
    null = os.open("/dev/null", os.O_WRONLY)
    at = 0
    while (done := os.sendfile(null, fd, at, 16 * MIB)) > 0:
        at += done
    os.close(null)
    os.close(fd)
    return at


def make_random(path, size):
    with open(path, "wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
        os.fsync(file.fileno())


def clone(path, to):
    with open(path, "rb") as source, open(to, "wb") as target:
        fcntl.ioctl(target.fileno(), FICLONE, source.fileno())


def extents(fd):
    """How many there are of a file."""
    asked = bytearray(struct.pack("<QQIIII", 0, 0xFFFFFFFFFFFFFFFF, 0, 0, 0, 0))
    fcntl.ioctl(fd, FIEMAP, asked)
    return struct.unpack("<QQIIII", asked)[3]


def memory():
    make_xfs(DISK)
    path = f"{MOUNT}/file"
    piece = LARGE // EXTENTS
    data = os.urandom(MIB)
    run.say("writing 1 GiB in 16 extents")
    with open(path, "wb") as file:
        # From the end to the beginning, so that no two pieces are one extent.
        for start in reversed(range(0, LARGE, piece)):
            os.posix_fallocate(file.fileno(), start, piece)
            for at in range(start, start + piece, MIB):
                os.pwrite(file.fileno(), data, at)
            os.fsync(file.fileno())
        found = extents(file.fileno())
    if found != EXTENTS:
        raise RuntimeError(f"the file has {found} extents, not {EXTENTS}")
    names = [f"{path}.{number}" for number in range(LARGE_CLONES)]
    for name in names:
        clone(path, name)
    run.drop_caches()
    pass_over(path)
    walk([MOUNT])
    run.say("reading its clones")
    with Spent() as spent:
        for name in names:
            pass_over(name)
    put("memory.clone", spent.slabs / LARGE_CLONES)
    put("memory.nodes", spent.objects.get("radix_tree_node", 0) / LARGE_CLONES)


def many():
    make_xfs(DISK)
    path = f"{MOUNT}/file"
    make_random(path, MANY_SIZE)
    run.say(f"making {MANY} clones")
    names = [f"{path}.{number}" for number in range(MANY)]
    for name in names:
        clone(path, name)
    run.drop_caches()
    walk([MOUNT])
    before = device_read_bytes()
    for turn in ("once", "twice"):
        for number, name in enumerate(names):
            if number % 100 == 0:
                run.say(f"reading {turn}, clone {number} of {MANY}")
            if pass_over(name) != MANY_SIZE:
                raise RuntimeError(f"{name} is too short")
        put(f"many.{turn}", device_read_bytes() - before)


def images():
    make_xfs(DISK)
    base = f"{MOUNT}/base"
    make_random(base, IMAGE_SIZE)
    blocks = IMAGE_SIZE // PAGE
    chance = random.Random(1)
    rewritten = 0
    names = []
    for number in range(IMAGES):
        run.say(f"writing to image {number + 1} of {IMAGES}")
        name = f"{MOUNT}/image{number}"
        clone(base, name)
        with open(name, "r+b") as file:
            for block in sorted(chance.sample(range(blocks), int(blocks * REWRITTEN))):
                os.pwrite(file.fileno(), os.urandom(PAGE), block * PAGE)
                rewritten += 1
            os.fsync(file.fileno())
        names.append(name)
    loops = [
        subprocess.check_output(["losetup", "-f", "--show", "-r", name], text=True).strip()
        for name in names
    ]
    run.drop_caches()
    walk([MOUNT])
    run.say("reading the images")
    buffer = mmap.mmap(-1, MIB)
    with Spent() as spent:
        for loop in loops:
            # As QEMU does with cache=none: the loop device's own pages, which no
            # file system knows of, stay out of it.
            fd = os.open(loop, os.O_RDONLY | os.O_DIRECT)
            at = 0
            while (done := os.preadv(fd, [buffer], at)) > 0:
                at += done
            os.close(fd)
            if at != IMAGE_SIZE:
                raise RuntimeError(f"{loop} is too short")
    put("images.unique", (blocks + rewritten) * PAGE)
    spent.put("images")


# -- Costs -----------------------------------------------------------------------


def counted(name):
    """One of cost.c's measures."""

    def measure():
        device = "/dev/pmem0"
        make_xfs(device, "relatime")
        folder = f"{MOUNT}/cost"
        os.mkdir(folder)
        run.say(f"counting: {name}")
        done = subprocess.run(
            [COST, os.path.basename(device), name],
            cwd=folder, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for line in done.stdout.splitlines():
            metric, value = line.split()
            put(metric, float(value))
        if done.returncode:
            raise RuntimeError(done.stderr.strip() or f"cost ended with {done.returncode}")

    return measure


MEASURES = {
    "clones": clones,
    "copies": copies,
    "overlay": overlay,
    "erofs": erofs,
    "memory": memory,
    "many": many,
    "images": images,
    **{name: counted(name) for name in ("read", "fault", "warm", "write", "reclaim", "inode")},
}


def main():
    for name in sys.argv[1:]:
        try:
            MEASURES[name]()
        except Absent as error:
            tell(measure=name, absent=str(error))
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            tell(measure=name, error=str(error))
        clean_up()
        tell(measure=name, done=True)


if __name__ == "__main__":
    main()
