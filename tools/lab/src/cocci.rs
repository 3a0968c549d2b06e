// SPDX-License-Identifier: GPL-2.0

//! `lab cocci`: whether the patches that a semantic patch makes are what it
//! makes, but for the files that their authors say they did by hand; and the
//! semantic patches run in somebody else's tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{bail, Context, Result};

use crate::cli::CocciArgs;
use crate::exit;
use crate::git::{zero_separated, Git};
use crate::kernel::{self, Tree};
use crate::lab::Lab;
use crate::semantic::{is_source, Semantic};
use crate::series::{Listed, Series};
use crate::ui;

/// So much of a difference is shown.
const SHOWN: usize = 40;

/// Lines that a change adds and removes, by file.
type Lines = BTreeMap<String, (u64, u64)>;

/// Checks the patches, or runs one of their semantic patches elsewhere.
pub fn cocci(lab: &Lab, args: &CocciArgs) -> Result<i32> {
    let series = Series::read(&lab.top)?;
    let chosen = choose(&series.index.patches, &args.names)?;
    match &args.onto {
        Some(dir) => onto(lab, &series, &chosen, dir),
        None => check(lab, &series, &chosen),
    }
}

/// The name of a patch's semantic patch, without folder and suffix.
fn stem(listed: &Listed) -> Option<&str> {
    Path::new(listed.cocci.as_ref()?).file_stem()?.to_str()
}

/// Which patches are meant: their places in the series.
fn choose(patches: &[Listed], names: &[String]) -> Result<Vec<usize>> {
    let have = |keep: &dyn Fn(&Listed, &str) -> bool| -> Vec<usize> {
        (0..patches.len())
            .filter(|at| stem(&patches[*at]).is_some_and(|stem| keep(&patches[*at], stem)))
            .collect()
    };
    let all = have(&|_, _| true);
    if all.is_empty() {
        bail!("no patch of patches/series.toml has a semantic patch (cocci = \"...\")");
    }
    if names.is_empty() {
        return Ok(all);
    }
    let mut chosen = BTreeSet::new();
    for name in names {
        // A whole name is that one's, not also those' that it is a part of.
        let mut found = have(&|_, stem| stem == name);
        if found.is_empty() {
            found = have(&|listed, _| listed.file.contains(name.as_str()));
        }
        if found.is_empty() {
            let known: Vec<&str> = all.iter().filter_map(|at| stem(&patches[*at])).collect();
            bail!(
                "no patch with a semantic patch is called {name}; there are: {}",
                known.join(", ")
            );
        }
        chosen.extend(found);
    }
    Ok(chosen.into_iter().collect())
}

/// Each of the patches against what its semantic patch makes.
fn check(lab: &Lab, series: &Series, chosen: &[usize]) -> Result<i32> {
    let tree = kernel::tree(lab)?;
    let mut failed = 0;
    for at in chosen {
        let problems = check_one(lab, series, &tree, *at)?;
        failed += usize::from(!problems.is_empty());
        for problem in problems {
            println!("{}: {problem}", series.index.patches[*at].file);
        }
    }
    if failed > 0 {
        ui::say(format!("{failed} of {} patches are wrong", chosen.len()));
        return Ok(exit::FAILED);
    }
    Ok(0)
}

/// One patch: prints its line, gives what is wrong with it.
fn check_one(lab: &Lab, series: &Series, tree: &Tree, at: usize) -> Result<Vec<String>> {
    let begin = Instant::now();
    let listed = &series.index.patches[at];
    let name = stem(listed).context("a patch without a semantic patch was chosen")?;
    let cocci = listed.cocci.as_deref().unwrap_or_default();
    let semantic = Semantic::read(&lab.top.join(cocci))?;
    let parent = tree.prepared.before(at);
    let commit = &tree.prepared.commits[at];
    let git = tree.source.git(lab);
    let what = format!("applying {name}");
    let made = made(lab, &git, tree, parent, &semantic, &what)?;
    let by_spatch = lines(&git, parent, &made)?;
    let mut by_hand = lines(&git, &made, commit)?;
    by_hand.retain(|path, _| !listed.new.contains(path));
    println!(
        "{}: {name} makes {}, {} by hand, {} s",
        listed.file,
        amount(&by_spatch),
        amount(&by_hand),
        begin.elapsed().as_secs()
    );
    let mut problems = vec![];
    if let Some(line) = semantic.unquoted(&series.patches[at].message()) {
        problems.push(format!(
            "its message does not quote {cocci}, from this line on:\n{line}"
        ));
    }
    for path in by_hand.keys().filter(|path| !listed.by_hand.contains(path)) {
        let diff = git.bytes(&["diff-tree", "-p", &made, commit, "--", path])?;
        problems.push(format!(
            "{path} is not what the semantic patch makes, nor listed under 'by_hand' \
             (- the semantic patch, + the patch):\n{}",
            shortened(&String::from_utf8_lossy(&diff))
        ));
    }
    for path in listed
        .by_hand
        .iter()
        .filter(|path| !by_hand.contains_key(*path))
    {
        problems.push(match by_spatch.contains_key(path) {
            true => format!("{path} is listed under 'by_hand', but the semantic patch makes it"),
            false => format!("{path} is listed under 'by_hand', but nothing changes it"),
        });
    }
    Ok(problems)
}

/// The tree that the semantic patch makes of the commit `parent`.
fn made(
    lab: &Lab,
    git: &Git,
    tree: &Tree,
    parent: &str,
    semantic: &Semantic,
    what: &str,
) -> Result<String> {
    let scratch = lab.scratch()?;
    let work = scratch.path().join("tree");
    fs::create_dir(&work)?;
    let git = git.with_index(&scratch.path().join("index"));
    git.text(&["read-tree", parent])?;
    // Only what can matter is written; and what the series has not changed by
    // then is read where it lies, which is much quicker than out of git.
    let base = &tree.prepared.base;
    let changed = git.bytes(&["diff-tree", "-r", "-z", "--name-only", base, parent])?;
    let changed: BTreeSet<String> = sources(zero_separated(&changed)?).into_iter().collect();
    let all = sources(zero_separated(&git.bytes(&["ls-files", "-z"])?)?);
    let known: Vec<String> = all
        .iter()
        .filter(|p| changed.contains(*p))
        .cloned()
        .collect();
    write_out(lab, &git, &work, &known)?;
    let place = |path: &str| match changed.contains(path) {
        true => work.join(path),
        false => tree.source.base().join(path),
    };
    let files = candidates(&all, place, semantic)?;
    write_out(lab, &git, &work, &files)?;
    semantic.apply(lab, &work, &files, what)?;
    in_work_tree(lab, &git, &work, &["update-index", "-z", "--stdin"], &files)?;
    git.text(&["write-tree"])
}

fn sources(mut paths: Vec<String>) -> Vec<String> {
    paths.retain(|path| is_source(path));
    paths
}

/// Those of the files `all` that can matter.
fn candidates(
    all: &[String],
    place: impl Fn(&str) -> PathBuf,
    semantic: &Semantic,
) -> Result<Vec<String>> {
    let mut files = vec![];
    for path in all {
        let place = place(path);
        if place.is_symlink() {
            continue;
        }
        let content =
            fs::read(&place).with_context(|| format!("cannot read {}", place.display()))?;
        if semantic.matters(&content) {
            files.push(path.clone());
        }
    }
    if files.is_empty() {
        bail!("no file of the tree has a word of the line '// Files:'");
    }
    Ok(files)
}

/// Writes files of the index to a folder.
fn write_out(lab: &Lab, git: &Git, work: &Path, files: &[String]) -> Result<()> {
    let line = ["checkout-index", "-f", "-z", "--stdin"];
    in_work_tree(lab, git, work, &line, files)
}

/// Runs git with `files` as its input and `work` as its work tree.
fn in_work_tree(
    lab: &Lab,
    git: &Git,
    work: &Path,
    arguments: &[&str],
    files: &[String],
) -> Result<()> {
    let tree = format!("--work-tree={}", lab.in_root(work).display());
    let line: Vec<&str> = std::iter::once(tree.as_str())
        .chain(arguments.iter().copied())
        .collect();
    let input: String = files.iter().flat_map(|path| [path, "\0"]).collect();
    git.command(&line).output_with(input.as_bytes())?;
    Ok(())
}

/// What differs between two trees.
fn lines(git: &Git, from: &str, to: &str) -> Result<Lines> {
    let out = git.bytes(&[
        "diff-tree",
        "-r",
        "-z",
        "--no-renames",
        "--numstat",
        from,
        to,
    ])?;
    zero_separated(&out)?
        .iter()
        .map(|entry| numbers(entry))
        .collect()
}

/// One entry of `--numstat`.
fn numbers(entry: &str) -> Result<(String, (u64, u64))> {
    let mut fields = entry.splitn(3, '\t');
    let mut next = || {
        fields
            .next()
            .with_context(|| format!("'{entry}' is no numstat line"))
    };
    // Of a file that is not text git counts no lines.
    let (added, removed) = (next()?.parse().unwrap_or(0), next()?.parse().unwrap_or(0));
    Ok((next()?.to_string(), (added, removed)))
}

fn amount(lines: &Lines) -> String {
    let added: u64 = lines.values().map(|(added, _)| added).sum();
    let removed: u64 = lines.values().map(|(_, removed)| removed).sum();
    let files = match lines.len() {
        1 => "1 file".to_string(),
        n => format!("{n} files"),
    };
    format!("{files} (+{added} -{removed})")
}

/// The beginning of a diff.
fn shortened(diff: &str) -> String {
    let lines: Vec<&str> = diff.lines().collect();
    let mut text = lines[..lines.len().min(SHOWN)].join("\n");
    if lines.len() > SHOWN {
        text.push_str(&format!("\n[{} more lines]", lines.len() - SHOWN));
    }
    text
}

/// Runs one semantic patch in the tree `dir`, for who brings the series there.
fn onto(lab: &Lab, series: &Series, chosen: &[usize], dir: &Path) -> Result<i32> {
    let listed = match chosen {
        [one] => &series.index.patches[*one],
        _ => bail!(
            "--onto runs one semantic patch, but these are meant: {}",
            chosen
                .iter()
                .filter_map(|at| stem(&series.index.patches[*at]))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    let name = stem(listed).context("a patch without a semantic patch was chosen")?;
    let semantic = Semantic::read(&lab.top.join(listed.cocci.as_deref().unwrap_or_default()))?;
    let dir = fs::canonicalize(dir).with_context(|| format!("--onto: {}", dir.display()))?;
    let git = Git::new(lab, &dir);
    clean(&git, &dir)?;
    let all = sources(zero_separated(&git.bytes(&["ls-files", "-z"])?)?);
    let files = candidates(&all, |path| dir.join(path), &semantic)?;
    semantic.apply(lab, &dir, &files, &format!("applying {name}"))?;
    let changed = zero_separated(&git.bytes(&["diff", "-z", "--name-only"])?)?;
    for path in &changed {
        println!("changed {path}");
    }
    for path in &listed.by_hand {
        match dir.join(path).exists() {
            true => println!("by hand {path}"),
            false => println!("by hand {path} (which is not there)"),
        }
    }
    ui::say(format!(
        "{name} changed {} of {} files that it looked at, {} are left to be done by hand, as \
         patches/{} does it",
        changed.len(),
        files.len(),
        listed.by_hand.len(),
        listed.file
    ));
    Ok(0)
}

/// Refuses a tree in which the changes would be mixed with others.
fn clean(git: &Git, dir: &Path) -> Result<()> {
    let line = ["rev-parse", "--is-inside-work-tree", "--show-prefix"];
    let (status, out, _) = git.command(&line).outcome(&[])?;
    if status != Some(0) {
        bail!("--onto: {} is no git work tree", dir.display());
    }
    let inside = String::from_utf8_lossy(&out);
    if inside.trim() != "true" || !dir.join("Kbuild").is_file() {
        bail!("--onto: {} is not the top of a kernel tree", dir.display());
    }
    let status = git.text(&["status", "--porcelain", "--untracked-files=no"])?;
    if let Some(first) = status.lines().next() {
        bail!(
            "--onto: {} has changes that are not committed ({} of them, the first: {}): commit \
             or stash them, so that what the semantic patch changes can be told from them",
            dir.display(),
            status.lines().count(),
            first.trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Person;
    use crate::semantic::tests::TEXT;
    use crate::source::Source;
    use crate::testing::{run, TempLab};

    const COCCI: &str = "scripts/coccinelle/api/new.cocci";

    /// A series whose one patch calls new() where the kernel called old(): in
    /// mm/a.c as the semantic patch says, in mm/b.c with more done by hand.
    fn with_cocci(by_hand: &str) -> TempLab {
        let temp = TempLab::with_series();
        let base = temp.lab.cache.join("trees/tiny/base");
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for file in ["a", "b", "c"] {
            let text = format!("int {file}(void)\n{{\n\treturn old(1);\n}}\n");
            write(
                base.join(format!("mm/{file}.c")),
                &text.replace("c(void)\n{\n\treturn old", "c(void)\n{\n\treturn gold"),
            );
        }
        write(base.join("Kbuild"), "");
        let git = temp.kernel();
        git.text(&["add", "-A"]).unwrap();
        let tree = git.text(&["write-tree"]).unwrap();
        let commit = git
            .commit_tree(&tree, None, &Person::neutral(), "Linux 7.3\n", 0)
            .unwrap();
        git.text(&["update-ref", "refs/heads/base", &commit])
            .unwrap();
        git.text(&["tag", "-f", "lab-base", &commit]).unwrap();

        let top = &temp.lab.top;
        let (_, rules) = TEXT.split_once("virtual patch\n\n").unwrap();
        let rules = format!("  {}\n", rules.trim_end().replace('\n', "\n  "));
        let hunk = |file: &str, new: &str| {
            format!(
                "diff --git a/mm/{file}.c b/mm/{file}.c\n--- a/mm/{file}.c\n+++ b/mm/{file}.c\n\
                 @@ -1,4 +1,4 @@\n int {file}(void)\n {{\n-\treturn old(1);\n+\treturn {new};\n }}\n"
            )
        };
        write(
            top.join("patches/0001-new.patch"),
            &format!(
                "SPDX-License-Identifier: GPL-2.0\nSubject: mm: new\n\n{rules}\n---\n{}{}",
                hunk("a", "new(1, 1)"),
                hunk("b", "new(1, 2)")
            ),
        );
        write(top.join(COCCI), TEXT);
        write(
            top.join("patches/series.toml"),
            &format!(
                "title = \"t\"\ncover = \"c\"\n[[patch]]\nfile = \"0001-new.patch\"\n\
                 new = [\"{COCCI}\"]\ncocci = \"{COCCI}\"\nby_hand = [{by_hand}]\n"
            ),
        );
        temp
    }

    fn problems(temp: &TempLab) -> Vec<String> {
        let lab = &temp.lab;
        let series = Series::read(&lab.top).unwrap();
        let prepared = series
            .commit(lab, &temp.kernel(), &Person::neutral())
            .unwrap();
        let source = Source {
            id: "tiny".into(),
            version: "7.3".into(),
            dir: lab.cache.join("trees/tiny"),
        };
        check_one(lab, &series, &Tree { source, prepared }, 0).unwrap()
    }

    /// Coccinelle is in the build root, where these tests run; a run of them on
    /// the host does without.
    fn no_spatch() -> bool {
        std::process::Command::new("spatch")
            .arg("--version")
            .output()
            .is_err()
    }

    /// What was done by hand must be listed, and nothing else.
    #[test]
    fn patch_is_what_is_made() {
        if no_spatch() {
            return;
        }
        assert_eq!(problems(&with_cocci("\"mm/b.c\"")), Vec::<String>::new());
        let said = problems(&with_cocci("\"mm/a.c\", \"mm/c.c\""));
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].contains("mm/b.c is not what"), "{said:?}");
        assert!(said[0].contains("\n-\treturn new(1, 1);"), "{said:?}");
        assert!(said[0].contains("\n+\treturn new(1, 2);"), "{said:?}");
        assert!(said[1].contains("mm/a.c is listed") && said[1].contains("makes it"));
        assert!(said[2].contains("mm/c.c is listed") && said[2].contains("nothing changes"));
    }

    /// In another tree the files are changed where they lie.
    #[test]
    fn semantic_patch_runs_elsewhere() {
        if no_spatch() {
            return;
        }
        let temp = with_cocci("\"mm/b.c\"");
        let lab = &temp.lab;
        let series = Series::read(&lab.top).unwrap();
        let other = lab.cache.join("other");
        let base = lab.cache.join("trees/tiny/base").display().to_string();
        run(&lab.cache, &["git", "clone", "-q", &base, "other"]);
        assert_eq!(onto(lab, &series, &[0], &other).unwrap(), 0);
        let text = fs::read_to_string(other.join("mm/b.c")).unwrap();
        assert!(text.contains("return new(1, 1);"), "{text}");
        let error = onto(lab, &series, &[0], &other).unwrap_err().to_string();
        assert!(error.contains("not committed (2 of them"), "{error}");
    }

    /// A tree that is none, or not a kernel's, is refused by its name.
    #[test]
    fn other_folders_are_refused() {
        let temp = with_cocci("");
        let series = Series::read(&temp.lab.top).unwrap();
        for dir in [
            &temp.lab.cache,
            &temp.lab.top,
            &temp.lab.top.join("nowhere"),
        ] {
            let error = format!("{:#}", onto(&temp.lab, &series, &[0], dir).unwrap_err());
            assert!(error.contains(&dir.display().to_string()), "{error}");
        }
    }

    fn listed(names: &[(&str, &str)]) -> Vec<Listed> {
        let listed = |(file, stem): &(&str, &str)| Listed {
            file: file.to_string(),
            new: vec![],
            cocci: (!stem.is_empty()).then(|| format!("scripts/{stem}.cocci")),
            by_hand: vec![],
        };
        names.iter().map(listed).collect()
    }

    /// A patch is meant by its semantic patch's name, or by a part of its own.
    #[test]
    fn names_are_understood() {
        let patches = listed(&[
            ("0001-give-read.patch", "aops_read"),
            ("0002-other.patch", ""),
            ("0003-use-read.patch", "aops_read_more"),
        ]);
        let choose = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            super::choose(&patches, &names)
        };
        assert_eq!(choose(&[]).unwrap(), [0, 2]);
        assert_eq!(choose(&["aops_read"]).unwrap(), [0]);
        assert_eq!(choose(&["use", "0001"]).unwrap(), [0, 2]);
        assert_eq!(choose(&["read"]).unwrap(), [0, 2]);
        let error = choose(&["0002"]).unwrap_err().to_string();
        assert!(
            error.contains("0002; there are: aops_read, aops_read_more"),
            "{error}"
        );
        let error = super::choose(&listed(&[("0001-a.patch", "")]), &[]);
        assert!(error.unwrap_err().to_string().contains("no patch of"));
    }

    /// Long differences are cut, and that is said.
    #[test]
    fn differences_are_shortened() {
        let diff = "line\n".repeat(SHOWN + 3);
        assert!(shortened(&diff).ends_with("line\n[3 more lines]"));
        assert_eq!(shortened("a\nb\n"), "a\nb");
        assert_eq!(numbers("3\t1\ta b.c").unwrap(), ("a b.c".into(), (3, 1)));
        assert!(numbers("3").is_err());
    }

    /// The messages of this repository's patches quote their semantic patches.
    #[test]
    fn real_messages_quote_the_rules() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let series = Series::read(&top).unwrap();
        for (listed, patch) in series.index.patches.iter().zip(&series.patches) {
            let Some(cocci) = &listed.cocci else {
                continue;
            };
            let semantic = Semantic::read(&top.join(cocci)).unwrap();
            let missing = semantic.unquoted(&patch.message());
            assert_eq!(missing, None, "{} does not quote {cocci}", listed.file);
        }
    }
}
