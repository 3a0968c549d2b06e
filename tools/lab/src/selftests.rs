// SPDX-License-Identifier: GPL-2.0

//! The programs of tools/testing/selftests/page_cache: built from the prepared
//! tree by the kernel's own rules, kept in the cache, run in the guest.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::kernel::{self, Build, Tree, Variant, Wanted};
use crate::lab::{key, Lab};
use crate::ui::Step;

/// Where they lie in a kernel tree.
pub const FOLDER: &str = "tools/testing/selftests/page_cache";
/// The random test, which is a group of its own.
pub const TORTURE: &str = "torture";
/// The one in which allocations fail, which is part of another.
pub const INJECT: &str = "inject";
/// What the programs are built from, besides their own folder.
const SOURCES: [&str; 3] = ["tools/testing/selftests/", "include/", "tools/include/"];
/// A program's time limit, in seconds, unless a file "settings" says otherwise.
const LIMIT: u64 = 600;

/// Built programs.
pub struct Selftests {
    /// The folder to be found as /lab/in/selftests.
    pub dir: PathBuf,
    /// The programs that are tests, in order.
    pub programs: Vec<String>,
    /// How long each may take, in seconds.
    pub limit: u64,
}

/// Builds them, or finds them built.
pub fn prepare(lab: &Lab, tree: &Tree) -> Result<Selftests> {
    let content = tree.changes(lab, |path| SOURCES.iter().any(|s| path.starts_with(s)))?;
    let name = key([
        tree.source.id.as_bytes(),
        &content,
        lab.root_id().as_bytes(),
        b"selftests 1",
    ]);
    let dir = lab.cache.join("selftests").join(name);
    if !dir.is_dir() {
        let _lock = lab.lock("kernel")?;
        if !dir.is_dir() {
            build(lab, tree, &dir)?;
        }
    }
    kernel::keep_recent(lab, "selftests", &dir);
    let list = fs::read_to_string(dir.join("kselftest-list.txt")).unwrap_or_default();
    Ok(Selftests {
        programs: programs(&list),
        limit: fs::read_to_string(dir.join("page_cache/settings"))
            .ok()
            .and_then(|text| limit(&text))
            .unwrap_or(LIMIT),
        dir: dir.join("page_cache"),
    })
}

fn build(lab: &Lab, tree: &Tree, dir: &std::path::Path) -> Result<()> {
    let work = kernel::checkout(lab, &tree.source, Some(tree.prepared.tip()))?;
    let objects = kernel::objects(lab, tree, "selftests");
    // Nothing in there knows when a header changed; it is a few small programs.
    let _ = fs::remove_dir_all(&objects);
    let build = Build {
        lab,
        work: &work,
        objects,
        what: "the selftests".into(),
    };
    let asked = Wanted::new(Variant::Patched).asked(lab)?;
    build.configure(&asked, |_| false)?;
    let log = build.objects.join("lab-build.log");
    let mut step = Step::lasting("building the selftests", Duration::from_secs(60));
    build.command(&["headers"])?.run_logged(&mut step, &log)?;
    let scratch = lab.scratch()?;
    build
        .command(&["-C", "/src/tools/testing/selftests", "TARGETS=page_cache"])?
        .args(["O=/obj", "KHDR_INCLUDES=-isystem /obj/usr/include"])
        .args([
            "FORCE_TARGETS=1",
            "SKIP_TARGETS=",
            "INSTALL_PATH=/work",
            "install",
        ])
        .bind(scratch.path(), "/work")
        .run_logged(&mut step, &log)
        .context("the selftests do not build")?;
    step.done();
    let _ = fs::remove_file(scratch.path().join(".held"));
    fs::create_dir_all(dir.parent().context("selftests has a parent")?)?;
    fs::rename(scratch.path(), dir)?;
    Ok(())
}

/// The test programs of kselftest-list.txt.
fn programs(list: &str) -> Vec<String> {
    list.lines()
        .filter_map(|line| line.trim().strip_prefix("page_cache:"))
        .filter(|program| ![TORTURE, INJECT].contains(program))
        .map(String::from)
        .collect()
}

/// The time limit in a kselftest "settings" file; 0 stands for none.
fn limit(settings: &str) -> Option<u64> {
    settings
        .lines()
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| name.trim() == "timeout")
        .and_then(|(_, value)| value.trim().parse().ok())
        .map(|seconds| if seconds == 0 { 3600 } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list holds this folder's programs, without those of other groups.
    #[test]
    fn list_is_read() {
        let list = "page_cache:share\npage_cache:torture\npage_cache:inject\nmm:other\npage_cache:break.sh\n";
        assert_eq!(programs(list), ["share", "break.sh"]);
    }

    /// kselftest's settings hold here too.
    #[test]
    fn settings_are_read() {
        assert_eq!(limit("# x\ntimeout=120\n"), Some(120));
        assert_eq!(limit("timeout = 0"), Some(3600));
        assert_eq!(limit(""), None);
    }
}
