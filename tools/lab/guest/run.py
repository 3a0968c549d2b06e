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


def slabs():
    """Bytes in each slab cache."""
    result = {}
    with open("/proc/slabinfo", encoding="ascii") as lines:
        for line in lines:
            words = line.split()
            if line.startswith(("#", "slabinfo")):
                continue
            objects_per_slab, pages_per_slab = int(words[4]), int(words[5])
            if objects_per_slab:
                result[words[0]] = int(words[14]) * pages_per_slab * PAGE
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


def slab_changes(before, after):
    """Slab caches that grew or shrank by a page or more."""
    names = set(before) | set(after)
    changes = {name: after.get(name, 0) - before.get(name, 0) for name in names}
    return {name: n for name, n in sorted(changes.items()) if abs(n) >= PAGE}


def measure(clones):
    """Reads all clones from a cold cache; what that cost."""
    drop_caches()
    before = snapshot()
    read = json.loads(subprocess.check_output([LAB, "guest-read", *clones]))
    after = snapshot()
    change = slab_changes(before["slabs"], after["slabs"])
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
        # The nodes of all i_pages, and the fragments: what sharing itself takes.
        "radix_tree_node_bytes": change.get("radix_tree_node", 0),
        "fragment_bytes": sum(n for name, n in change.items() if "fragment" in name),
        "slab_changes": change,
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
        measured = measure(clones)
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
