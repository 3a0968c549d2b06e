// SPDX-License-Identifier: GPL-2.0

//! `lab export`: the series as mails, and the checks that a maintainer would
//! make of each.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::chroot::Inside;
use crate::cli::ExportArgs;
use crate::git::{Git, Person};
use crate::kconfig::Asked;
use crate::kernel::{self, Build, Tree, Variant, Wanted};
use crate::lab::Lab;
use crate::patchfile::SPDX;
use crate::series::Series;
use crate::source;
use crate::ui;

/// Writes the series; prints the files' names.
pub fn export(lab: &Lab, args: &ExportArgs) -> Result<i32> {
    let source = source::prepare(lab)?;
    let series = Series::read(&lab.top)?;
    let strays = series.strays(lab)?;
    if !strays.is_empty() {
        bail!(
            "in no patch of patches/series.toml, so no patch would bring it:\n  {}",
            strays.join("\n  ")
        );
    }
    let git = source.git(lab);
    let prepared = series.commit(lab, &git, &author(lab))?;
    let files = write(
        lab,
        &series,
        &git,
        &prepared.base,
        prepared.tip(),
        &args.dir,
    )?;
    for file in &files {
        println!("{}", file.display());
    }
    let tree = Tree { source, prepared };
    if args.checkpatch {
        checkpatch(lab, &tree, &args.dir)?;
    }
    if args.every_step {
        every_step(lab, &tree, &series)?;
    }
    Ok(0)
}

/// Who the host's git takes its user for.
fn author(lab: &Lab) -> Person {
    let ask = |name: &str| {
        let out = std::process::Command::new("git")
            .arg("-C")
            .arg(&lab.top)
            .args(["config", name])
            .output()
            .ok()?;
        let text = String::from_utf8(out.stdout).ok()?.trim().to_string();
        (!text.is_empty()).then_some(text)
    };
    match (ask("user.name"), ask("user.email")) {
        (Some(name), Some(email)) => Person { name, email },
        _ => Person::neutral(),
    }
}

/// Whether a file in the target folder is an earlier export's.
fn is_exported(name: &str) -> bool {
    name.len() > 5
        && name.ends_with(".patch")
        && name.as_bytes()[..4].iter().all(u8::is_ascii_digit)
        && name.as_bytes()[4] == b'-'
}

/// Writes the mails of the commits after `base` up to `tip` into `dir`.
fn write(
    lab: &Lab,
    series: &Series,
    git: &Git,
    base: &str,
    tip: &str,
    dir: &Path,
) -> Result<Vec<PathBuf>> {
    if series.index.patches.is_empty() {
        bail!("patches/series.toml lists no patch");
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if is_exported(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    let cover = lab.top.join("patches").join(&series.index.cover);
    let cover = fs::read_to_string(&cover)
        .with_context(|| format!("cannot read the cover letter {}", cover.display()))?;
    let scratch = lab.scratch()?;
    let text = scratch.path().join("cover");
    fs::write(
        &text,
        format!(
            "{}\n\n{}\n",
            series.index.title.trim(),
            cover.trim_start_matches(SPDX).trim()
        ),
    )?;
    let mails = scratch.path().join("mails");
    let person = author(lab);
    git.command(&[
        "format-patch",
        "--quiet",
        "--cover-letter",
        "--cover-from-description=subject",
        &format!("--description-file={}", lab.in_root(&text).display()),
        "--no-signature",
        "--zero-commit",
        "--no-renames",
        "--encode-email-headers",
        "-o",
        &lab.in_root(&mails).display().to_string(),
        &format!("{base}..{tip}"),
    ])
    .env("GIT_COMMITTER_NAME", person.name)
    .env("GIT_COMMITTER_EMAIL", person.email)
    .output()?;
    let mut files = vec![];
    for entry in fs::read_dir(&mails)? {
        let entry = entry?;
        let to = dir.join(entry.file_name());
        fs::copy(entry.path(), &to).with_context(|| format!("cannot write {}", to.display()))?;
        files.push(to);
    }
    files.sort();
    for (file, patch) in files.iter().skip(1).zip(&series.patches) {
        add_notes(file, &patch.notes)?;
    }
    Ok(files)
}

/// Puts the notes of a patch where "git am" does not take them for the message.
fn add_notes(mail: &Path, notes: &str) -> Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    let text = fs::read_to_string(mail)?;
    let noted = text.replacen("\n---\n", &format!("\n---\n{notes}\n\n"), 1);
    fs::write(mail, noted).with_context(|| format!("cannot write {}", mail.display()))
}

/// Words of the kernel that codespell takes for misspelt ones.
const KERNEL_WORDS: [&str; 3] = ["filp", "iput", "uptodate"];

/// codespell's dictionary, of the build root, without the kernel's own words.
fn misspellings(lab: &Lab) -> Result<String> {
    let path = lab
        .root
        .join("usr/lib/python3/dist-packages/codespell_lib/data/dictionary.txt");
    let all = fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
    let is_ours = |line: &&str| KERNEL_WORDS.contains(&line.split("->").next().unwrap_or(""));
    Ok(all
        .lines()
        .filter(|line| !is_ours(line))
        .flat_map(|line| [line, "\n"])
        .collect())
}

/// Prints what checkpatch.pl says about the mails in `dir`.
fn checkpatch(lab: &Lab, tree: &Tree, dir: &Path) -> Result<()> {
    let _lock = lab.lock("kernel")?;
    let work = kernel::checkout(lab, &tree.source, Some(tree.prepared.tip()))?;
    let mut names: Vec<String> = fs::read_dir(dir)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| is_exported(name) && !name.starts_with("0000-"))
        .collect();
    names.sort();
    let words = lab.scratch()?;
    fs::write(words.path().join("words"), misspellings(lab)?)?;
    let mut silent = 0;
    for name in &names {
        let (_, out, err) = Inside::new(
            lab,
            ["perl", "scripts/checkpatch.pl", "--strict", "--quiet"],
        )
        .args(["--codespell", "--codespellfile", "/obj/words"])
        .bind(words.path(), "/obj")
        // Who submits the series signs it off, not this program.
        .args(["--show-types", "--no-summary", "--no-signoff"])
        // The lab's tree has no history to look commits up in, and the check of
        // SPDX tags wants Python modules that nothing else here needs.
        .env("GIT_DIR", "/nonexistent")
        .args([format!("/work/{name}")])
        .bind(&work, "/src")
        .bind(&fs::canonicalize(dir)?, "/work")
        .directory("/src")
        .outcome(&[])?;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&out),
            String::from_utf8_lossy(&err)
        );
        if said.trim().is_empty() {
            silent += 1;
        } else {
            println!("\ncheckpatch, {name}:\n{}", said.trim());
        }
    }
    println!("checkpatch: silent on {silent} of {} patches", names.len());
    Ok(())
}

/// Builds the kernel after each patch, with the lab's configuration.
fn every_step(lab: &Lab, tree: &Tree, series: &Series) -> Result<()> {
    let _lock = lab.lock("kernel")?;
    let asked = Wanted::new(Variant::Patched).asked(lab)?;
    let mut own = Asked::default();
    own.add(&fs::read_to_string(lab.own("kernel/series.config"))?);
    let work = tree.source.dir.join("steps");
    let total = tree.prepared.commits.len();
    for (number, (commit, listed)) in tree
        .prepared
        .commits
        .iter()
        .zip(&series.index.patches)
        .enumerate()
    {
        kernel::checkout_at(lab, &tree.source, &work, commit)?;
        let last = number + 1 == total;
        let build = Build {
            lab,
            work: &work,
            objects: kernel::objects(lab, tree, "steps"),
            what: format!("step {} of {total}, {}", number + 1, listed.file),
        };
        // Until the last step, what the series adds need not be there yet.
        build.configure(&asked, |name| !last && own.asks_for(name))?;
        build.make()?;
        println!("builds: {}", listed.file);
    }
    ui::say(format!("all {total} steps build"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{run, TempLab, TINY_PATCH};

    /// What is exported applies with "git am" and gives the very same tree.
    #[test]
    fn mails_apply_to_the_pristine_kernel() {
        let temp = TempLab::with_series();
        let git = temp.kernel();
        let patches = temp.lab.top.join("patches");
        let noted = TINY_PATCH.replace("---\ndiff", "---\nv2: louder\n\ndiff");
        fs::write(patches.join("0002-mm-shout.patch"), noted).unwrap();
        fs::write(
            patches.join("cover-letter.txt"),
            format!("{SPDX}\n\nAll of it.\n\nAt length.\n"),
        )
        .unwrap();
        let series = Series::read(&temp.lab.top).unwrap();
        let prepared = series.commit(&temp.lab, &git, &Person::neutral()).unwrap();
        let dir = temp.lab.cache.join("mails");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("0009-of-an-earlier-export.patch"), "").unwrap();
        fs::write(dir.join("keep.txt"), "").unwrap();
        let files = write(
            &temp.lab,
            &series,
            &git,
            &prepared.base,
            prepared.tip(),
            &dir,
        )
        .unwrap();
        let names: Vec<_> = files
            .iter()
            .map(|f| f.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "0000-cover-letter.patch",
                "0001-mm-bring-a-header.patch",
                "0002-mm-shout.patch"
            ]
        );
        assert!(!dir.join("0009-of-an-earlier-export.patch").exists());
        assert!(dir.join("keep.txt").exists());
        let cover = fs::read_to_string(&files[0]).unwrap();
        assert!(cover.contains("Subject: [PATCH 0/2] tiny"), "{cover}");
        assert!(
            cover.contains("At length.") && cover.contains("2 files changed"),
            "{cover}"
        );

        assert!(!cover.contains(SPDX), "{cover}");
        let mails: Vec<_> = files[1..]
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect();
        assert!(!mails[0].contains("louder"), "{}", mails[0]);
        assert!(mails[1].contains("\n---\nv2: louder\n\n"), "{}", mails[1]);

        let pristine = git.directory();
        let mut line = vec!["git".to_string(), "am".into(), "-q".into()];
        line.extend(files[1..].iter().map(|f| f.display().to_string()));
        run(
            pristine,
            &line.iter().map(String::as_str).collect::<Vec<_>>(),
        );
        assert_eq!(
            git.text(&["rev-parse", "HEAD^{tree}"]).unwrap(),
            git.text(&["rev-parse", &format!("{}^{{tree}}", prepared.tip())])
                .unwrap()
        );
    }

    /// Only files of an export are taken for ones.
    #[test]
    fn other_files_are_left_alone() {
        assert!(is_exported("0001-a.patch") && is_exported("0000-cover-letter.patch"));
        for name in ["a.patch", "0001-a.txt", "00x1-a.patch", ".patch"] {
            assert!(!is_exported(name), "{name}");
        }
    }
}
