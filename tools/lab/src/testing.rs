// SPDX-License-Identifier: GPL-2.0

//! What the unit tests share: a lab in a temporary folder, a tiny kernel, a
//! tiny series.  The tests run inside the build root, so commands run directly.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::git::{Git, Person};
use crate::lab::Lab;
use crate::source::BASE;

/// The second patch of the tiny series.
pub const TINY_PATCH: &str =
    "SPDX-License-Identifier: GPL-2.0\nSubject: mm: shout\n\nOne is enough.\n\n---\n\
    diff --git a/mm/filemap.c b/mm/filemap.c\n--- a/mm/filemap.c\n+++ b/mm/filemap.c\n\
    @@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n";

/// A lab that ends with the test.
pub struct TempLab {
    _dir: tempfile::TempDir,
    /// The lab.
    pub lab: Lab,
}

impl TempLab {
    /// A lab with an empty cache and an empty checkout.
    pub fn new() -> TempLab {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let lab = Lab {
            cache: dir.path().join("cache"),
            top: dir.path().join("top"),
            root: "/".into(),
        };
        for folder in ["cache/tmp", "cache/logs", "top"] {
            fs::create_dir_all(dir.path().join(folder)).expect("a folder");
        }
        TempLab { _dir: dir, lab }
    }

    /// A lab with a kernel of two files and a series of two patches.
    pub fn with_series() -> TempLab {
        let temp = TempLab::new();
        let top = &temp.lab.top;
        let write = |path: &str, text: &str| {
            let path = top.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        write(
            "patches/series.toml",
            "# SPDX-License-Identifier: GPL-2.0\n# The order.\ntitle = \"tiny\"\n\
             cover = \"cover-letter.txt\"\n\n[[patch]]\nfile = \"0001-mm-bring-a-header.patch\"\n\
             new = [\"include/new.h\"]\n\n[[patch]]\nfile = \"0002-mm-shout.patch\"\n",
        );
        write("patches/cover-letter.txt", "All of it.\n\nAt length.\n");
        write(
            "patches/0001-mm-bring-a-header.patch",
            "SPDX-License-Identifier: GPL-2.0\nSubject: mm: bring a header\n\nFor later.\n\n---\n",
        );
        write("patches/0002-mm-shout.patch", TINY_PATCH);
        write("include/new.h", "#define NEW 1\n");
        run(top, &["git", "init", "-q", "-b", "main"]);
        run(top, &["git", "add", "-A"]);
        run(top, &["git", "commit", "-q", "-m", "all"]);

        let base = temp.base();
        fs::create_dir_all(base.join("mm")).expect("a folder");
        fs::write(base.join("mm/filemap.c"), "one\ntwo\nthree\n").expect("a file");
        fs::write(base.join("mm/rmap.c"), "a\nb\nc\nd\n").expect("a file");
        fs::write(base.join("Makefile"), "VERSION = 7\nPATCHLEVEL = 3\n").expect("a file");
        let git = temp.kernel();
        git.text(&["init", "-q", "-b", "base"]).expect("git init");
        git.text(&["add", "-A"]).expect("git add");
        let tree = git.text(&["write-tree"]).expect("write-tree");
        let commit = git
            .commit_tree(&tree, None, &Person::neutral(), "Linux 7.3\n", 0)
            .expect("a commit");
        git.text(&["update-ref", "refs/heads/base", &commit])
            .expect("a branch");
        git.text(&["tag", BASE, &commit]).expect("a tag");
        temp
    }

    fn base(&self) -> PathBuf {
        self.lab.cache.join("trees/tiny/base")
    }

    /// The tiny kernel's repository.
    pub fn kernel(&self) -> Git<'_> {
        Git::new(&self.lab, &self.base())
    }
}

/// Runs a command that has to succeed.
pub fn run(directory: &Path, line: &[&str]) -> String {
    let out = Command::new(line[0])
        .args(&line[1..])
        .current_dir(directory)
        .env("GIT_AUTHOR_NAME", "T")
        .env("GIT_AUTHOR_EMAIL", "t@t")
        .env("GIT_COMMITTER_NAME", "T")
        .env("GIT_COMMITTER_EMAIL", "t@t")
        .output()
        .expect("a command that starts");
    assert!(
        out.status.success(),
        "{line:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A tarball of a kernel that is nothing but its Makefile, with enough beside
/// it that half of the tarball is not all of the Makefile.
pub fn tarball(temp: &TempLab, makefile: &str, kind: &str) -> PathBuf {
    let dir = temp.lab.cache.join("linux");
    fs::create_dir_all(&dir).expect("a folder");
    fs::write(dir.join("Makefile"), makefile).expect("a file");
    let noise: Vec<u8> = (0..20_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    fs::write(dir.join("zzz"), noise).expect("a file");
    let path = temp.lab.cache.join(format!("linux-test.tar.{kind}"));
    run(
        &temp.lab.cache,
        &["tar", "-caf", &path.display().to_string(), "linux"],
    );
    path
}
