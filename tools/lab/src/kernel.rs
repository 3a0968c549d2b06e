// SPDX-License-Identifier: GPL-2.0

//! Kernels: which there are, how they are configured and built, and the cache of
//! those that were built.  A kernel is named by everything that went into it, so
//! one that is there is never built again, by whichever checkout.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use clap::ValueEnum;

use crate::chroot::Inside;
use crate::git::{Git, Person};
use crate::kconfig::Asked;
use crate::lab::{key, write_whole, Lab};
use crate::series::{Prepared, Series};
use crate::source::{self, Source};
use crate::ui::{self, Step};

/// Lines that make prints for a whole kernel, until a build has told better.
const LINES: u64 = 2506;
/// Of the things of a kind that are kept; beyond, the longest unused go.
const KEPT: usize = 12;
/// Arguments of each `make`.
pub const MAKE: [&str; 3] = ["LLVM=1", "CC=ccache clang", "LOCALVERSION="];
/// The module that the selftests load.
pub const SAMPLE: &str = "rust_page_cache.ko";
/// Changes below these do not change the kernel itself.
const NOT_BUILT: [&str; 4] = [
    "Documentation/",
    "MAINTAINERS",
    "tools/testing/",
    "tools/mm/",
];

/// Which kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Variant {
    /// With the series.
    Patched,
    /// Without it, for comparison.
    Base,
    /// With the series and all that finds mistakes: KASAN, lockdep, DEBUG_VM,
    /// fault injection.  Slow.
    Debug,
}

/// A kernel to be had.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Which.
    pub variant: Variant,
    /// With CONFIG_RUST, as usual.
    pub rust: bool,
}

impl Wanted {
    /// The usual kernel of a variant.
    pub fn new(variant: Variant) -> Wanted {
        Wanted {
            variant,
            rust: true,
        }
    }

    /// Its name in messages and of its object folder.
    pub fn name(&self) -> String {
        let name = match self.variant {
            Variant::Patched => "patched",
            Variant::Base => "base",
            Variant::Debug => "debug",
        };
        match self.rust {
            true => name.into(),
            false => format!("{name}-norust"),
        }
    }

    /// The configuration to ask for.
    pub fn asked(&self, lab: &Lab) -> Result<Asked> {
        let fragment = |name: &str| {
            let path = lab.own("kernel").join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let mut asked = Asked::default();
        asked.add(&fragment("x86_64.config")?);
        if self.variant != Variant::Base && self.rust {
            asked.add(&fragment("series.config")?);
        }
        if self.variant == Variant::Debug {
            asked.add(&fragment("debug.config")?);
        }
        if !self.rust {
            asked.remove(|name| name.starts_with("CONFIG_RUST"));
            asked.set("CONFIG_RUST", "n");
        }
        Ok(asked)
    }
}

/// A built kernel.
pub struct Kernel {
    /// Its folder in the cache.
    pub dir: PathBuf,
    /// What QEMU boots.
    pub image: PathBuf,
}

/// The kernel source with the series on it, as commits.
pub struct Tree {
    /// The unpatched kernel.
    pub source: Source,
    /// The commits.
    pub prepared: Prepared,
}

/// Makes the commits of this checkout's series, or finds them made.
pub fn tree(lab: &Lab) -> Result<Tree> {
    let source = source::prepare(lab)?;
    let series = Series::read(&lab.top)?;
    let strays = series.strays(lab)?;
    if let Some(first) = strays.first() {
        let more = match strays.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        ui::say(format!(
            "warning: in no patch of patches/series.toml, so left out: {first}{more}"
        ));
    }
    let git = source.git(lab);
    let memo = source.dir.join("series").join(series.content_key()?);
    if let Some(prepared) = remembered(&git, &memo) {
        return Ok(Tree { source, prepared });
    }
    let prepared = series.commit(lab, &git, &Person::neutral())?;
    let list: Vec<&str> = std::iter::once(&prepared.base)
        .chain(&prepared.commits)
        .map(String::as_str)
        .collect();
    write_whole(&memo, list.join("\n").as_bytes())?;
    Ok(Tree { source, prepared })
}

fn remembered(git: &Git, memo: &Path) -> Option<Prepared> {
    let text = fs::read_to_string(memo).ok()?;
    let mut commits: Vec<String> = text.lines().map(String::from).collect();
    git.commit_of(commits.last()?)?;
    let base = commits.remove(0);
    Some(Prepared { commits, base })
}

impl Tree {
    /// A name for the part of the tree that goes into a kernel.
    pub fn kernel_content(&self, lab: &Lab, wanted: Wanted) -> Result<Vec<u8>> {
        if wanted.variant == Variant::Base {
            return Ok(b"unpatched".to_vec());
        }
        self.changes(lab, |path| !NOT_BUILT.iter().any(|n| path.starts_with(n)))
    }

    /// What the series changes in the paths that `keep` is true for.
    pub fn changes(&self, lab: &Lab, keep: impl Fn(&str) -> bool) -> Result<Vec<u8>> {
        let out = self.source.git(lab).text(&[
            "diff-tree",
            "-r",
            "--no-renames",
            &self.prepared.base,
            self.prepared.tip(),
        ])?;
        Ok(out
            .lines()
            .filter(|line| line.split_once('\t').is_some_and(|(_, path)| keep(path)))
            .flat_map(|line| format!("{line}\n").into_bytes())
            .collect())
    }
}

/// What tells a kernel from others: all that goes into it.
pub fn name(lab: &Lab, tree: &Tree, wanted: Wanted) -> Result<String> {
    Ok(key([
        tree.source.id.as_bytes(),
        &tree.kernel_content(lab, wanted)?,
        wanted.asked(lab)?.text().as_bytes(),
        lab.root_id().as_bytes(),
        wanted.name().as_bytes(),
    ]))
}

/// The kernel, from the cache or built.
pub fn prepare(lab: &Lab, tree: &Tree, wanted: Wanted) -> Result<Kernel> {
    let dir = lab.cache.join("kernels").join(name(lab, tree, wanted)?);
    let kernel = Kernel {
        image: dir.join("bzImage"),
        dir,
    };
    if !kernel.image.is_file() {
        let _lock = lab.lock("kernel")?;
        if !kernel.image.is_file() {
            with_objects(lab, tree, wanted, |build| build.keep(&kernel.dir))?;
        }
    }
    keep_recent(lab, "kernels", &kernel.dir);
    Ok(kernel)
}

/// Where the objects of a build of the source are kept, for the next one.
pub fn objects(lab: &Lab, tree: &Tree, name: &str) -> PathBuf {
    lab.cache
        .join("obj")
        .join(format!("{}-{name}", tree.source.id))
}

/// Builds the kernel, or what has changed of it, and does something with its
/// objects.  The caller has the lock "kernel".
pub fn with_objects<R>(
    lab: &Lab,
    tree: &Tree,
    wanted: Wanted,
    then: impl FnOnce(&Build) -> Result<R>,
) -> Result<R> {
    let asked = wanted.asked(lab)?;
    let commit = match wanted.variant {
        Variant::Base => None,
        _ => Some(tree.prepared.tip()),
    };
    let work = checkout(lab, &tree.source, commit)?;
    let build = Build {
        lab,
        work: &work,
        objects: objects(lab, tree, &wanted.name()),
        what: format!(
            "the {} kernel, Linux {}",
            wanted.name(),
            tree.source.version
        ),
    };
    build.configure(&asked, |_| false)?;
    let _ = fs::remove_file(build.sample());
    build.make()?;
    if asked.asks_for("CONFIG_SAMPLE_RUST_PAGE_CACHE") {
        let target = format!("samples/rust/{SAMPLE}");
        build.make_targets(&[&target], "-sample", 10)?;
    }
    then(&build)
}

/// Brings a commit into the work tree for it; only what differs is written, so
/// that make sees only what changed.
pub fn checkout(lab: &Lab, source: &Source, commit: Option<&str>) -> Result<PathBuf> {
    match commit {
        None => Ok(source.base()),
        Some(commit) => {
            let path = source.patched();
            checkout_at(lab, source, &path, commit)?;
            Ok(path)
        }
    }
}

/// Like [`checkout`], into any work tree of the same repository.
pub fn checkout_at(lab: &Lab, source: &Source, path: &Path, commit: &str) -> Result<()> {
    if !path.join(".git").exists() {
        let step = Step::lasting("checking out the kernel tree", Duration::from_secs(20));
        let _ = fs::remove_dir_all(path);
        let git = source.git(lab);
        git.text(&["worktree", "prune"])?;
        git.text(&[
            "worktree",
            "add",
            "-q",
            "--detach",
            &lab.in_root(path).display().to_string(),
            commit,
        ])?;
        step.done();
        return Ok(());
    }
    let git = Git::new(lab, path);
    git.text(&["checkout", "-q", "-f", "--detach", commit])?;
    git.text(&["clean", "-fdq"])?;
    Ok(())
}

/// A build of one work tree in one object folder.  The compiler sees both under
/// names that never change, which is what lets ccache share between them.
pub struct Build<'a> {
    /// Where things are.
    pub lab: &'a Lab,
    /// The kernel's work tree.
    pub work: &'a Path,
    /// The object folder.
    pub objects: PathBuf,
    /// What is being built, for messages.
    pub what: String,
}

impl Build<'_> {
    /// `make` with the lab's fixed arguments and environment.
    ///
    /// Its job server is a pipe: the default, a named one, is called after make's process ID, which
    /// is always the same here. One that was killed left it behind, and from then on every build
    /// was one job at a time.
    pub fn command(&self, targets: &[&str]) -> Result<Inside<'_>> {
        let jobs = std::thread::available_parallelism().map_or(2, |n| n.get());
        Ok(self
            .inside(["make", "-C", "/src", "O=/obj"])?
            .args(MAKE)
            .args([format!("-j{jobs}"), "--jobserver-style=pipe".into()])
            .args(targets.iter().copied()))
    }

    /// Any command, where `make` would run.
    pub fn inside<S: Into<String>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Inside<'_>> {
        fs::create_dir_all(&self.objects)?;
        Ok(Inside::new(self.lab, arguments)
            .bind(self.work, "/src")
            .bind(&self.objects, "/obj")
            .directory("/obj")
            .env("CCACHE_DIR", "/lab/cache/ccache")
            .env("CCACHE_MAXSIZE", "10G")
            .env("KBUILD_BUILD_TIMESTAMP", "2026-01-01 00:00:00 UTC")
            .env("KBUILD_BUILD_USER", "lab")
            .env("KBUILD_BUILD_HOST", "lab")
            .env("KCONFIG_ALLCONFIG", "/obj/lab.config"))
    }

    fn log(&self) -> PathBuf {
        self.objects.join("lab-build.log")
    }

    /// Configures, and fails when something asked for is not there that
    /// `may_miss` does not excuse.
    pub fn configure(&self, asked: &Asked, may_miss: impl Fn(&str) -> bool) -> Result<()> {
        fs::create_dir_all(&self.objects)?;
        let _ = fs::remove_file(self.log());
        fs::write(self.objects.join("lab.config"), asked.text())?;
        let mut step = Step::lasting(
            format!("configuring {}", self.what),
            Duration::from_secs(15),
        );
        self.command(&["allnoconfig"])?
            .run_logged(&mut step, &self.log())?;
        let config = fs::read_to_string(self.objects.join(".config"))?;
        let missing: Vec<String> = asked
            .missing(&config)
            .into_iter()
            .filter(|line| !may_miss(line.split(':').next().unwrap_or("")))
            .collect();
        if missing.is_empty() {
            step.done();
            return Ok(());
        }
        let mut text = missing.join("\n  ");
        if missing.iter().any(|line| line.starts_with("CONFIG_RUST:")) {
            let (_, _, why) = self.command(&["-s", "rustavailable"])?.outcome(&[])?;
            text.push('\n');
            text.push_str(&String::from_utf8_lossy(&why));
        }
        bail!("the configuration of {} lost:\n  {text}", self.what);
    }

    /// Builds the kernel.
    pub fn make(&self) -> Result<()> {
        self.make_targets(&["bzImage"], "", LINES)
    }

    /// Builds `targets`.  How long that takes is remembered for all builds of one
    /// `kind`; when nothing is yet, it is taken to be so many lines of make's.
    pub fn make_targets(&self, targets: &[&str], kind: &str, lines: u64) -> Result<()> {
        self.lab.need_space(4000, "the kernel's objects")?;
        let whole = self.lab.cache.join(format!("obj/lines{kind}"));
        let change = self.lab.cache.join(format!("obj/change-seconds{kind}"));
        let from_nothing = !self.objects.join("vmlinux.o").exists();
        let lines = fs::read_to_string(&whole)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(lines);
        let what = format!("building {}", self.what);
        let mut step = match from_nothing {
            true => Step::new(what, Some(lines)),
            // How much a change makes anew only make knows; the last change is
            // the best guess there is.
            false => Step::lasting(what, last_change(&change)),
        };
        let begun = self.log();
        if let Err(error) = self.command(targets)?.run_logged(&mut step, &begun) {
            let text = fs::read(&begun).unwrap_or_default();
            match first_error(&String::from_utf8_lossy(&text)) {
                Some(errors) => bail!(
                    "{} does not build ({}):\n{errors}",
                    self.what,
                    begun.display()
                ),
                None => return Err(error.context(format!("{} does not build", self.what))),
            }
        }
        match from_nothing {
            true => write_whole(&whole, step.count().to_string().as_bytes())?,
            false => write_whole(&change, step.elapsed().as_secs().to_string().as_bytes())?,
        }
        step.done();
        Ok(())
    }

    /// The module that the selftests load, if the configuration has it.
    fn sample(&self) -> PathBuf {
        self.objects.join("samples/rust").join(SAMPLE)
    }

    /// Puts what is worth keeping into `dir`, whole or not at all.
    fn keep(&self, dir: &Path) -> Result<()> {
        let scratch = self.lab.scratch()?;
        for (from, to) in [
            ("arch/x86/boot/bzImage", "bzImage"),
            (".config", "config"),
            ("System.map", "System.map"),
            ("lab-build.log", "build.log"),
        ] {
            fs::copy(self.objects.join(from), scratch.path().join(to))
                .with_context(|| format!("the build of {} left no {from}", self.what))?;
        }
        if self.sample().exists() {
            fs::copy(self.sample(), scratch.path().join(SAMPLE))?;
        }
        let _ = fs::remove_file(scratch.path().join(".held"));
        fs::create_dir_all(dir.parent().context("kernels has a parent")?)?;
        let _ = fs::remove_dir_all(dir);
        fs::rename(scratch.path(), dir)?;
        Ok(())
    }
}

/// How long the last build took that did not begin from nothing.
fn last_change(file: &Path) -> Duration {
    let seconds = fs::read_to_string(file)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(180))
}

/// The first errors of a parallel make, which are seldom at its end.
fn first_error(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().collect();
    let at = lines.iter().position(|line| {
        line.contains("error:") || line.contains("error[") || line.starts_with("error")
    })?;
    let from = at.saturating_sub(2);
    let to = (at + 60).min(lines.len());
    Some(lines[from..to].join("\n"))
}

/// Marks one of the things in `dir`, a folder of the cache, as used now, and
/// removes those that nobody used for the longest time.
pub fn keep_recent(lab: &Lab, dir: &str, used: &Path) {
    let _ = fs::write(used.join("used"), "");
    prune(&lab.cache.join(dir));
}

fn prune(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    let mut things: Vec<_> = entries
        .flatten()
        .map(|entry| {
            let used = fs::metadata(entry.path().join("used")).and_then(|m| m.modified());
            (used.ok(), entry.path())
        })
        .collect();
    things.sort();
    let surplus = things.len().saturating_sub(KEPT);
    for (_, path) in things.into_iter().take(surplus) {
        let _ = fs::remove_dir_all(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempLab;

    /// Errors are shown from the first on, not only the end of the log.
    #[test]
    fn first_error_is_shown() {
        let log = "  CC a.o\nmm/x.c:1:2: error: no\n  CC b.o\nmake: *** [x] Error 1\n";
        let shown = first_error(log).unwrap();
        assert!(shown.starts_with("  CC a.o\nmm/x.c:1:2: error"));
        assert_eq!(first_error("  CC a.o\n"), None);
    }

    /// Only the longest unused kernels go, and only beyond the limit.
    #[test]
    fn prune_keeps_the_recent() {
        let temp = TempLab::new();
        let kernels = temp.lab.cache.join("kernels");
        for number in 0..KEPT + 2 {
            let dir = kernels.join(format!("k{number:02}"));
            fs::create_dir_all(&dir).unwrap();
            let used = fs::File::create(dir.join("used")).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000 - number as u64);
            used.set_modified(time).unwrap();
        }
        prune(&kernels);
        assert_eq!(fs::read_dir(&kernels).unwrap().count(), KEPT);
        assert!(kernels.join("k00").exists());
        assert!(!kernels.join(format!("k{:02}", KEPT + 1)).exists());
    }
}
