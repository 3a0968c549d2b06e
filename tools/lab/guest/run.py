#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The guest's part of "lab run".

Puts /usr on XFS on /dev/pmem0, clones it, reads all clones once mounted
noshare_cache and once share_cache, and writes what it cost to $OUT/measured.json.
Usage: run.py CLONES
"""

import json
import os
import stat
import subprocess
import sys

DEVICE = "/dev/pmem0"
MOUNT = "/mnt"
LAB = "/lab/in/lab"
PAGE = os.sysconf("SC_PAGE_SIZE")
# Counters of /proc/vmstat that the series adds.
COUNTERS = (
    "nr_page_cache_home",
    "nr_page_cache_alias",
    "nr_page_cache_fragment",
    "page_cache_attach",
    "page_cache_donate",
    "page_cache_break",
)


def say(text):
    """Tells the host what is being done; it shows it as progress."""
    print(text, file=sys.stderr, flush=True)


def run(*line, **options):
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, **options)


def fields(path):
    """The "name value" lines of a file in /proc, as numbers."""
    result = {}
    with open(path, encoding="ascii") as lines:
        for line in lines:
            words = line.replace(":", " ").split()
            if len(words) >= 2 and words[1].isdigit():
                result[words[0]] = int(words[1])
    return result


def slabs(path="/proc/slabinfo"):
    """Each slab cache: bytes in its slabs, objects in use, bytes of an object."""
    result = {}
    with open(path, encoding="ascii") as lines:
        for line in lines:
            words = line.split()
            if line.startswith(("#", "slabinfo")):
                continue
            objects_per_slab, pages_per_slab = int(words[4]), int(words[5])
            if objects_per_slab:
                result[words[0]] = {
                    "bytes": int(words[14]) * pages_per_slab * PAGE,
                    "objects": int(words[1]),
                    "size": int(words[3]),
                }
    return result


def device_read_bytes():
    """Bytes read from the device since boot; counts with iostats on."""
    name = os.path.basename(DEVICE)
    with open(f"/sys/block/{name}/stat", encoding="ascii") as file:
        return int(file.read().split()[2]) * 512


def snapshot():
    memory = fields("/proc/meminfo")
    vmstat = fields("/proc/vmstat")
    return {
        "page_cache": memory["Cached"] * 1024,
        "file_pages": vmstat["nr_file_pages"] * PAGE,
        "device": device_read_bytes(),
        "slab_reclaimable": memory["SReclaimable"] * 1024,
        "slab_unreclaimable": memory["SUnreclaim"] * 1024,
        "slabs": slabs(),
        "counters": {name: vmstat[name] for name in COUNTERS if name in vmstat},
    }


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")


def one_copy_bytes(tree):
    """What one copy takes in the page cache: whole pages, hard links once."""
    seen = set()
    files = total = 0
    for folder, _, names in os.walk(tree):
        for name in names:
            info = os.lstat(os.path.join(folder, name))
            if not stat.S_ISREG(info.st_mode) or info.st_ino in seen:
                continue
            seen.add(info.st_ino)
            files += 1
            total += -(-info.st_size // PAGE) * PAGE
    return files, total


def remount(option):
    """Switches sharing.  False when this kernel does not know the option."""
    done = subprocess.run(
        ["mount", "-o", f"remount,{option}", MOUNT],
        check=False, stderr=subprocess.PIPE, text=True,
    )
    with open("/proc/mounts", encoding="ascii") as lines:
        options = next(line.split()[3] for line in lines if line.split()[1] == MOUNT)
    shown = options.split(",")
    # The default need not be shown, the other one must be.
    other = {"share_cache": "noshare_cache", "noshare_cache": "share_cache"}[option]
    if done.returncode or (option not in shown and (option == "noshare_cache" or other in shown)):
        say(f"cannot remount with {option}: {done.stderr.strip() or 'not shown in /proc/mounts'}")
        return False
    return True


def slab_changes(before, after, what):
    """By how many bytes, or objects, each slab cache grew or shrank."""
    none = {what: 0}
    return {
        name: after.get(name, none)[what] - before.get(name, none)[what]
        for name in sorted(set(before) | set(after))
    }


def fragment_cache(count, grown, grown_without):
    """The slab cache that `count` fragments are from; None if none fits.

    No cache is called after fragments: a fragment is the node of a tree, from
    the kmalloc cache of its size (kmalloc-cg-128 as this is written).  Which one
    it is the kernel does not tell, but the measurement does: reading the same
    files makes the same objects with and without sharing, but for the fragments.
    So the cache is the one that grew by as many objects more with sharing
    (`grown`) than without (`grown_without`) as there are new fragments.  The
    kernel counts what waits in a processor's free lists as in use, so that the
    numbers are not quite the same.
    """
    off_by = {
        name: abs(objects - grown_without.get(name, 0) - count)
        for name, objects in grown.items()
        if name.startswith("kmalloc-")
    }
    best = min(off_by, key=off_by.get, default=None)
    return best if best and off_by[best] <= count / 10 else None


def fragments(before, after, grown, grown_without):
    """What fragments take: their number, as the kernel counts them, times the
    size of a slab object that holds one, as /proc/slabinfo has it (with padding,
    and with what debugging adds).  None where that cannot be told."""
    name = "nr_page_cache_fragment"
    count = after["counters"].get(name)
    if not count:
        return {"fragment_bytes": count}
    cache = fragment_cache(count - before["counters"][name], grown, grown_without)
    if cache is None:
        say("cannot tell which slab cache the fragments are from")
        return {"fragment_bytes": None}
    size = after["slabs"][cache]["size"]
    return {
        "fragment_bytes": count * size,
        "fragment_cache": cache,
        "fragment_object_bytes": size,
    }


def measure(clones, grown_without):
    """Reads all clones from a cold cache; what that cost.  `grown_without` is
    the growth of slab caches without sharing, when that is known already."""
    drop_caches()
    before = snapshot()
    read = json.loads(subprocess.check_output([LAB, "guest-read", *clones]))
    after = snapshot()
    change = slab_changes(before["slabs"], after["slabs"], "bytes")
    grown = slab_changes(before["slabs"], after["slabs"], "objects")
    gauges = ("nr_page_cache_home", "nr_page_cache_alias", "nr_page_cache_fragment")
    counters = {
        name: value if name in gauges else value - before["counters"][name]
        for name, value in after["counters"].items()
    }
    return {
        "page_cache_bytes": after["page_cache"] - before["page_cache"],
        "file_pages_bytes": after["file_pages"] - before["file_pages"],
        "device_read_bytes": after["device"] - before["device"],
        "files_read": read["files"],
        "bytes_read": read["bytes"],
        "slab_reclaimable_bytes": after["slab_reclaimable"] - before["slab_reclaimable"],
        "slab_unreclaimable_bytes": after["slab_unreclaimable"] - before["slab_unreclaimable"],
        # The nodes of all i_pages, where aliases lie, and the fragments: what
        # sharing itself takes.
        "radix_tree_node_bytes": change.get("radix_tree_node", 0),
        **fragments(before, after, grown, grown_without),
        "slab_changes": {name: n for name, n in change.items() if abs(n) >= PAGE},
        "slab_objects": {name: n for name, n in grown.items() if n},
        "counters": counters,
    }


def verify(clones):
    """Compares every byte of the clones, as cached now, with /usr itself."""
    done = subprocess.run(
        [LAB, "guest-compare", "/usr", *clones], check=False, stdout=subprocess.PIPE
    )
    sums = json.loads(done.stdout) if done.stdout else {}
    return {"verified": done.returncode == 0, **sums}


def main():
    count = int(sys.argv[1])
    result = {"clones": count, "supported": False}
    original = f"{MOUNT}/orig/usr"
    clones = [f"{MOUNT}/clone{n}/usr" for n in range(1, count + 1)]

    say("making XFS on /dev/pmem0")
    run("mkfs.xfs", "-q", "-f", "-m", "reflink=1", DEVICE)
    run("mount", "-t", "xfs", DEVICE, MOUNT)
    with open("/sys/block/pmem0/queue/iostats", "w", encoding="ascii") as file:
        file.write("1")
    say("copying /usr to it")
    os.makedirs(f"{MOUNT}/orig")
    run("cp", "-a", "/usr", f"{MOUNT}/orig/")
    for number, clone in enumerate(clones, 1):
        say(f"making clone {number} of {count}")
        os.makedirs(os.path.dirname(clone))
        run("cp", "-a", "--reflink=always", original, os.path.dirname(clone) + "/")
    os.sync()
    result["files"], result["one_copy_bytes"] = one_copy_bytes(original)

    modes = {"private": "noshare_cache", "shared": "share_cache"}
    verified = True
    for name, option in modes.items():
        if not remount(option):
            break
        say(f"reading all clones, {option}")
        without = result.get("private", {}).get("slab_objects", {})
        measured = measure(clones, without)
        say(f"comparing all clones with /usr, {option}")
        measured["verification"] = verify(clones)
        verified &= measured["verification"]["verified"]
        result[name] = measured
    else:
        result["supported"] = True
    result["verified"] = verified and result["supported"]
    say("unmounting")
    run("umount", MOUNT)
    with open(os.path.join(os.environ["OUT"], "measured.json"), "w", encoding="ascii") as file:
        json.dump(result, file, indent="\t")


if __name__ == "__main__":
    main()
