// SPDX-License-Identifier: GPL-2.0

//! `lab build --all-users`: a kernel with every file system, to see that all that
//! the semantic patches touch is compiled, linked, and gives no warning that it
//! did not give before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use regex::Regex;

use crate::exit;
use crate::git::zero_separated;
use crate::kconfig::Asked;
use crate::kernel::{self, Build, Tree, Variant, Wanted};
use crate::lab::{key, write_whole, Lab};
use crate::series::Series;
use crate::ui::Step;

/// What is built without the series' own symbols lies in this file.
const FRAGMENT: &str = "all-users.config";
/// Lines that make prints for all of it, until a build has told better.
const LINES: u64 = 5600;
/// Another number where the same trees are looked at in another way.
const FORMAT: &[u8] = b"all users 1";
/// Debian's sparse is older than this keyword; the kernel wants one that has it,
/// but needs no more of it than that it can be read.
const CHECK: &str = "CHECK=sparse -D__typeof_unqual__=__typeof__";
/// What is touched and cannot be compiled for x86_64, and why.
const EXCUSED: [(&str, &str); 1] = [(
    "fs/hostfs/hostfs_kern.c",
    "user-mode Linux only, an architecture of its own",
)];

/// Warnings, without the places in the files, and how often there is each.
type Warnings = BTreeMap<String, usize>;

/// What became of the touched files.
#[derive(Debug, Default, PartialEq, Eq)]
struct Objects {
    compiled: Vec<String>,
    excused: Vec<(String, &'static str)>,
    problems: Vec<String>,
}

/// Builds, checks and prints; gives the exit status.
pub fn check(lab: &Lab, tree: &Tree, rust: bool) -> Result<i32> {
    let series = Series::read(&lab.top)?;
    let touched = touched(lab, tree, &series)?;
    let wanted = Wanted {
        variant: Variant::Patched,
        rust,
    };
    let asked = asked(lab, wanted)?;
    let name = key([
        FORMAT,
        tree.source.id.as_bytes(),
        &tree.kernel_content(lab, wanted)?,
        asked.text().as_bytes(),
        lab.root_id().as_bytes(),
        touched.join("\n").as_bytes(),
    ]);
    let dir = lab.cache.join("all-users").join(name);
    let memo = dir.join("report");
    if !memo.is_file() {
        let _lock = lab.lock("kernel")?;
        let (report, problems) = examine(lab, tree, wanted, &asked, &touched)?;
        if !problems.is_empty() {
            println!("{}\n{report}", problems.join("\n"));
            return Ok(exit::FAILED);
        }
        write_whole(&memo, report.as_bytes())?;
    }
    kernel::keep_recent(lab, "all-users", &dir);
    println!("{}", fs::read_to_string(&memo)?);
    Ok(0)
}

/// The lab's configuration with every file system.
fn asked(lab: &Lab, wanted: Wanted) -> Result<Asked> {
    let path = lab.own("kernel").join(FRAGMENT);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut asked = wanted.asked(lab)?;
    asked.add(&text);
    Ok(asked)
}

/// The C files that the patches with a semantic patch change.
fn touched(lab: &Lab, tree: &Tree, series: &Series) -> Result<Vec<String>> {
    let git = tree.source.git(lab);
    let mut touched = BTreeSet::new();
    for (at, listed) in series.index.patches.iter().enumerate() {
        if listed.cocci.is_none() {
            continue;
        }
        let out = git.bytes(&[
            "diff-tree",
            "-r",
            "-z",
            "--no-renames",
            "--diff-filter=M",
            "--name-only",
            tree.prepared.before(at),
            &tree.prepared.commits[at],
        ])?;
        touched.extend(zero_separated(&out)?);
    }
    touched.retain(|path| path.ends_with(".c"));
    if touched.is_empty() {
        bail!(
            "--all-users: no patch of patches/series.toml has a semantic patch (cocci = \"...\")"
        );
    }
    Ok(touched.into_iter().collect())
}

/// Builds and compares: what there is to say, and what is wrong.
fn examine(
    lab: &Lab,
    tree: &Tree,
    wanted: Wanted,
    asked: &Asked,
    touched: &[String],
) -> Result<(String, Vec<String>)> {
    let work = kernel::checkout(lab, &tree.source, Some(tree.prepared.tip()))?;
    let build = build(lab, tree, &work, wanted);
    build.configure(asked, |_| false)?;
    // Only what make itself finds worth compiling is to be there afterwards.
    remove_objects(&build.objects, touched)?;
    build.make_targets(&["bzImage", "modules"], "-all-users", LINES)?;
    let mut objects = sort_out(touched, &EXCUSED, |path| {
        build.objects.join(object(path)).is_file()
    });
    let after = warnings(&build, &objects.compiled)?;
    let before = before(lab, tree, wanted.rust, &objects.compiled)?;
    for (warning, times) in added(&before, &after) {
        objects
            .problems
            .push(format!("new warning ({times}): {warning}"));
    }
    let mut report = String::new();
    for (path, reason) in &objects.excused {
        report.push_str(&format!("not compiled: {path}: {reason}\n"));
    }
    report.push_str(&format!(
        "{} files touched: {} compiled, {} excused; warnings (W=1, sparse): {} before, {} after",
        touched.len(),
        objects.compiled.len(),
        objects.excused.len(),
        before.values().sum::<usize>(),
        after.values().sum::<usize>()
    ));
    Ok((report, objects.problems))
}

fn build<'a>(lab: &'a Lab, tree: &Tree, work: &'a Path, wanted: Wanted) -> Build<'a> {
    let name = format!("all-users-{}", wanted.name());
    Build {
        lab,
        work,
        objects: kernel::objects(lab, tree, &name),
        what: format!("the {name} kernel, Linux {}", tree.source.version),
    }
}

/// The object file of a C file.
fn object(path: &str) -> PathBuf {
    Path::new(path).with_extension("o")
}

fn remove_objects(objects: &Path, files: &[String]) -> Result<()> {
    for path in files {
        let object = objects.join(object(path));
        if object.exists() {
            fs::remove_file(&object)
                .with_context(|| format!("cannot remove {}", object.display()))?;
        }
    }
    Ok(())
}

/// Tells what was compiled from what need not be and what should have been.
fn sort_out(
    touched: &[String],
    excuses: &[(&str, &'static str)],
    is_there: impl Fn(&str) -> bool,
) -> Objects {
    let mut objects = Objects::default();
    for path in touched {
        let excuse = excuses.iter().find(|(excused, _)| excused == path);
        match (is_there(path), excuse) {
            (true, None) => objects.compiled.push(path.clone()),
            (false, Some((_, reason))) => objects.excused.push((path.clone(), reason)),
            (false, None) => objects.problems.push(format!(
                "{path} was not compiled: {FRAGMENT} lacks what brings it in, or the lab a reason \
                 why nothing can"
            )),
            (true, Some((_, reason))) => {
                objects.problems.push(format!(
                    "{path} was compiled, though the lab says that it cannot be: {reason}"
                ));
                objects.compiled.push(path.clone());
            }
        }
    }
    objects
}

/// What the unpatched files give, from the cache or found out.
fn before(lab: &Lab, tree: &Tree, rust: bool, files: &[String]) -> Result<Warnings> {
    let wanted = Wanted {
        variant: Variant::Base,
        rust,
    };
    let asked = asked(lab, wanted)?;
    let name = key([
        FORMAT,
        tree.source.id.as_bytes(),
        asked.text().as_bytes(),
        lab.root_id().as_bytes(),
        files.join("\n").as_bytes(),
    ]);
    let dir = lab.cache.join("warnings").join(name);
    let memo = dir.join("warnings.json");
    if !memo.is_file() {
        let work = tree.source.base();
        let build = build(lab, tree, &work, wanted);
        build.configure(&asked, |_| false)?;
        let found = warnings(&build, files)?;
        write_whole(&memo, &serde_json::to_vec_pretty(&found)?)?;
    }
    kernel::keep_recent(lab, "warnings", &dir);
    Ok(serde_json::from_slice(&fs::read(&memo)?)?)
}

/// Compiles `files`, and those only, with W=1 and sparse.
fn warnings(build: &Build, files: &[String]) -> Result<Warnings> {
    remove_objects(&build.objects, files)?;
    let log = build.objects.join("lab-warnings.log");
    let _ = fs::remove_file(&log);
    let targets: Vec<String> = files
        .iter()
        .map(|path| object(path).display().to_string())
        .collect();
    let mut step = Step::new(
        format!("looking for warnings in {}", build.what),
        Some(2 * files.len() as u64 + 20),
    );
    build
        // What belongs together stays together in the log.
        .command(&["-Otarget", "W=1", "C=2", CHECK])?
        .args(targets)
        .run_logged(&mut step, &log)
        .with_context(|| format!("{} does not build with W=1", build.what))?;
    step.done();
    let text = fs::read(&log)?;
    let text = String::from_utf8_lossy(&text);
    let unchecked = unchecked(&text, files);
    if let Some(first) = unchecked.first() {
        bail!(
            "sparse did not look at {} of {} files, the first: {first} ({})",
            unchecked.len(),
            files.len(),
            log.display()
        );
    }
    found(&text)
}

/// The files for which make does not say that it ran sparse.
fn unchecked<'a>(log: &str, files: &'a [String]) -> Vec<&'a str> {
    let checked: BTreeSet<&str> = log
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("CHECK "))
        .map(str::trim)
        .collect();
    files
        .iter()
        .map(String::as_str)
        .filter(|path| !checked.contains(path))
        .collect()
}

/// The warnings in a log of make: clang's, sparse's, and kernel-doc's.
fn found(log: &str) -> Result<Warnings> {
    let warning = Regex::new(r"^(?:\S+?:\d+(?::\d+)?: (?:warning|error): |Warning: \S+?:\d+ )")?;
    let place = Regex::new(r":\d+(?::\d+)?")?;
    let mut found = Warnings::new();
    for line in log.lines().filter(|line| warning.is_match(line)) {
        let line = place.replace_all(line, "").replace("/src/", "");
        *found.entry(line).or_default() += 1;
    }
    Ok(found)
}

/// What there is more of than before, and how much.
fn added(before: &Warnings, after: &Warnings) -> Vec<(String, usize)> {
    after
        .iter()
        .filter_map(|(warning, times)| {
            let more = times.saturating_sub(*before.get(warning).unwrap_or(&0));
            (more > 0).then(|| (warning.clone(), more))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| s.to_string()).collect()
    }

    /// Nothing is passed over: neither a file that was left out, nor a reason
    /// that is none.
    #[test]
    fn files_are_sorted_out() {
        let touched = strings(&["fs/a.c", "fs/b.c", "fs/c.c", "fs/d.c"]);
        let excuses = [("fs/c.c", "why"), ("fs/d.c", "not so")];
        let there = |path: &str| path == "fs/a.c" || path == "fs/d.c";
        let objects = sort_out(&touched, &excuses, there);
        assert_eq!(objects.compiled, ["fs/a.c", "fs/d.c"]);
        assert_eq!(objects.excused, [("fs/c.c".to_string(), "why")]);
        assert_eq!(objects.problems.len(), 2);
        assert!(objects.problems[0].contains("fs/b.c was not"));
        assert!(objects.problems[1].contains("not so"));
        assert_eq!(
            object("virt/kvm/guest_memfd.c"),
            Path::new("virt/kvm/guest_memfd.o")
        );
    }

    /// The same warning at another place is not a new one; one more of it is.
    #[test]
    fn warnings_are_compared_without_places() {
        let before = "  CC      fs/a.o\n/src/fs/a.c:12:3: warning: unused 'x' [-Wunused]\n \
                      12 | int x;\n/src/fs/a.c:12:3: note: here\n\
                      /src/fs/b.c:29:1: error: bad constant expression\n";
        let after = "/src/fs/a.c:15:3: warning: unused 'x' [-Wunused]\n\
                     /src/fs/b.c:30:1: error: bad constant expression\n\
                     /src/fs/b.c:31:1: error: bad constant expression\n\
                     Warning: /src/fs/e.c:164 function parameter 'm' not described in 'f'\n";
        let (before, after) = (found(before).unwrap(), found(after).unwrap());
        assert_eq!(before.values().sum::<usize>(), 2);
        assert!(added(&before, &before).is_empty());
        let expected = [
            "Warning: fs/e.c function parameter 'm' not described in 'f'",
            "fs/b.c: error: bad constant expression",
        ];
        let added: Vec<String> = added(&before, &after).into_iter().map(|(w, _)| w).collect();
        assert_eq!(added, expected);
    }

    /// A file that sparse has not seen has no warnings for the wrong reason.
    #[test]
    fn unchecked_files_are_found() {
        let files = strings(&["fs/a.c", "fs/b.c"]);
        let log = "  CHECK   fs/a.c\n  CC [M]  fs/b.o\n";
        assert_eq!(unchecked(log, &files), ["fs/b.c"]);
    }
}
