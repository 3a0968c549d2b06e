// SPDX-License-Identifier: GPL-2.0

//! The parts of guest/*.py that can be tried without a guest.

use std::path::Path;
use std::process::Command;

/// Runs Python that knows guest/run.py as `run` and finds the others there; its
/// assertions are the test's.
fn python(text: &str) {
    let output = Command::new("python3")
        .args(["-B", "-c", &format!("import run\n{text}")])
        .env(
            "PYTHONPATH",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("guest"),
        )
        .output()
        .expect("python3");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// What stress-ng did not do is skipped; what a signal ended has failed.
#[test]
fn stressors_are_judged() {
    python(
        r#"
import stress
ran = "stress-ng: info:  [9] skipped: 0\nstress-ng: info:  [9] passed: 2: mmap (2)\n"
idle = "stress-ng: info:  [9] skipped: 2: exec (2)\nstress-ng: info:  [9] passed: 0\n"
assert stress.judge(0, ran) == 0
assert stress.judge(0, idle) == stress.judge(3, "") == stress.judge(4, "") == stress.SKIP
assert stress.judge(2, idle) == 2 and stress.judge(-9, "") == 137
"#,
    );
}

/// The content that is known is the same wherever it is asked for, and no two pages
/// of it are.
#[test]
fn content_is_known() {
    python(
        r#"
import stress
content = stress.Content(3)
whole = b"".join(content.at(o, stress.MOST) for o in range(0, stress.SIZE, stress.MOST))
assert whole[5000005:5100005] == content.at(5000005, 100000)
assert whole != stress.Content(4).at(0, len(whole))
pages = {whole[o:o + stress.PAGE] for o in range(0, stress.SIZE, stress.PAGE)}
assert len(pages) == stress.SIZE // stress.PAGE
assert stress.difference(b"abcd", b"abXY").startswith("2 bytes differ, from 2 to 3")
"#,
    );
}

/// The columns of /proc/slabinfo are the ones that are meant.
#[test]
fn slabinfo_is_read() {
    python(
        r#"
import tempfile
with tempfile.NamedTemporaryFile("w") as file:
    file.write(
        "slabinfo - version: 2.1\n"
        '# name <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>\n'
        "kmalloc-cg-128 700 704 128 32 1 : tunables 0 0 0 : slabdata 22 22 0\n"
    )
    file.flush()
    assert run.slabs(file.name) == {
        "kmalloc-cg-128": {"bytes": 22 * run.PAGE, "objects": 700, "size": 128}
    }
"#,
    );
}

/// Fragments are from the cache that sharing, and nothing else, made grow.
#[test]
fn fragments_are_found() {
    python(
        r#"
without = {"kmalloc-16": 50000, "kmalloc-cg-192": 40, "xfs_inode": 50000}
grown = {"kmalloc-16": 50010, "kmalloc-cg-128": 49100, "kmalloc-cg-192": 64,
         "xfs_inode": 99000, "radix_tree_node": 49000}
assert run.fragment_cache(49000, grown, without) == "kmalloc-cg-128"
# A cache that grew without sharing just as well is not the one.
del grown["kmalloc-cg-128"]
assert run.fragment_cache(49000, grown, without) is None
assert run.fragment_cache(49000, {}, {}) is None

slabs = {"kmalloc-cg-128": {"bytes": 0, "objects": 0, "size": 136}}
def at(count):
    return {"counters": {"nr_page_cache_fragment": count}, "slabs": slabs}
got = run.fragments(at(0), at(1000), {"kmalloc-cg-128": 1020}, {})
assert got["fragment_bytes"] == 136000 and got["fragment_object_bytes"] == 136, got
assert run.fragments(at(0), at(0), {}, {}) == {"fragment_bytes": 0}
assert run.fragments(at(0), at(1000), {"kmalloc-64": 5}, {}) == {"fragment_bytes": None}
# A kernel that does not count them.
none = {"counters": {}, "slabs": slabs}
assert run.fragments(none, none, {}, {}) == {"fragment_bytes": None}
"#,
    );
}

/// An image of EROFS is marked where the kernel looks, and nothing else of it changed.
#[test]
fn erofs_is_marked() {
    python(
        r#"
import bench, struct, tempfile
block = bytearray(range(128))
struct.pack_into("<III", block, 0, 0xE0F5E1E2, 7, 0x3)
block[91] = 1
with tempfile.NamedTemporaryFile() as file:
    file.write(bytes(1024) + block + bytes(100))
    file.flush()
    bench.mark_shared(file.name)
    now = open(file.name, "rb").read()
    wanted = bytearray(block)
    wanted[8] = 0x22
    wanted[105] = 0
    assert now == bytes(1024) + wanted + bytes(100)
    # Without a prefix there would be nothing to compare files by.
    file.seek(1024 + 91)
    file.write(b"\0")
    file.flush()
    try:
        bench.mark_shared(file.name)
        assert False
    except RuntimeError:
        pass
"#,
    );
}

/// A measure that this guest cannot do, or that fails, is told, and the next is done.
#[test]
fn measures_go_on() {
    python(
        r#"
import bench, contextlib, io, json, sys
def absent():
    raise bench.Absent("no such thing")
def fails():
    raise OSError(5, "Input/output error")
bench.MEASURES = {"a": absent, "b": fails, "c": lambda: bench.put("c.x", 1)}
bench.clean_up = lambda: None
sys.argv = ["bench.py", "a", "b", "c"]
said = io.StringIO()
with contextlib.redirect_stdout(said):
    bench.main()
lines = [json.loads(line) for line in said.getvalue().splitlines()]
done = {"measure": "c", "done": True}
assert lines[0] == {"measure": "a", "absent": "no such thing"}, lines
assert lines[2]["measure"] == "b" and "Input/output" in lines[2]["error"], lines
assert lines[4:] == [{"metric": "c.x", "value": 1}, done], lines
"#,
    );
}
