// SPDX-License-Identifier: GPL-2.0

//! The series as the repository keeps it (`patches/series.toml`, the patch
//! files, new files whole at their kernel path) and as commits on the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use serde::Deserialize;

use crate::git::{Git, Person};
use crate::lab::Lab;
use crate::patchfile::PatchFile;
use crate::source::BASE;

/// Paths of the repository that are not of the kernel.
const OWN: [&str; 11] = [
    "README.md",
    "MAINTAINERS",
    "COPYING",
    "LICENSES",
    "lab",
    "tools/lab",
    "tools/model",
    ".ci",
    ".gitignore",
    ".editorconfig",
    "patches",
];

/// `patches/series.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The subject of the cover letter.
    pub title: String,
    /// The file in `patches/` with the cover letter's text.
    pub cover: String,
    /// The patches in order.
    #[serde(default, rename = "patch")]
    pub patches: Vec<Listed>,
}

/// A patch in the index.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Its file in `patches/`.
    pub file: String,
    /// The new files that it brings, by their path in the kernel.
    #[serde(default)]
    pub new: Vec<String>,
    /// The semantic patch that makes it, by its path in the kernel.
    pub cocci: Option<String>,
    /// The files in which more than the semantic patch was done, or other things.
    #[serde(default)]
    pub by_hand: Vec<String>,
}

/// The series as it is in a checkout.
pub struct Series {
    /// The checkout.
    pub top: PathBuf,
    /// Its index.
    pub index: Index,
    /// The patch files, in the index's order.
    pub patches: Vec<PatchFile>,
}

/// The series as commits.
pub struct Prepared {
    /// One commit per patch, the last is the whole.
    pub commits: Vec<String>,
    /// The unpatched commit.
    pub base: String,
}

impl Prepared {
    /// The commit with the whole series.
    pub fn tip(&self) -> &str {
        self.commits.last().unwrap_or(&self.base)
    }

    /// The commit that the patch at this place of the series goes on.
    pub fn before(&self, at: usize) -> &str {
        match at.checked_sub(1) {
            Some(before) => &self.commits[before],
            None => &self.base,
        }
    }
}

impl Series {
    /// Reads the series of the checkout `top`.
    pub fn read(top: &Path) -> Result<Series> {
        let folder = top.join("patches");
        let path = folder.join("series.toml");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let index: Index = toml_edit::de::from_str(&text)
            .with_context(|| format!("{} is not a series", path.display()))?;
        let mut patches = vec![];
        for listed in &index.patches {
            let path = folder.join(&listed.file);
            let text = fs::read_to_string(&path).with_context(|| {
                format!(
                    "patches/series.toml lists {}, which cannot be read",
                    listed.file
                )
            })?;
            let patch =
                PatchFile::parse(&text).with_context(|| format!("patches/{}", listed.file))?;
            if let Some(path) = patch.created().first() {
                bail!(
                    "patches/{} creates {path}: new files lie whole in the repository and are \
                     listed under 'new' in patches/series.toml",
                    listed.file
                );
            }
            patches.push(patch);
        }
        let series = Series {
            top: top.into(),
            index,
            patches,
        };
        series.check_new()?;
        check_cocci(&series.index.patches)?;
        Ok(series)
    }

    /// Each new file is there, is a file, and belongs to one patch.
    fn check_new(&self) -> Result<()> {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for listed in &self.index.patches {
            for path in &listed.new {
                if let Some(other) = seen.insert(path, &listed.file) {
                    bail!(
                        "{path} is listed under both {other} and {} in patches/series.toml",
                        listed.file
                    );
                }
                let kind = fs::symlink_metadata(self.top.join(path)).with_context(|| {
                    format!("patches/series.toml lists {path}, which is not there")
                })?;
                if !kind.is_file() {
                    bail!("patches/series.toml lists {path}, which is not a regular file");
                }
                if path.starts_with('/') || path.split('/').any(|part| part == "..") {
                    bail!("patches/series.toml lists {path}, which is no path of a kernel tree");
                }
            }
        }
        Ok(())
    }

    /// A name for all that goes into the commits.
    pub fn content_key(&self) -> Result<String> {
        // Another number where commits are made in another way from equal content.
        let mut parts = vec![b"commits 2".to_vec()];
        for (listed, patch) in self.index.patches.iter().zip(&self.patches) {
            parts.push(patch.format().into_bytes());
            for path in &listed.new {
                let file = self.top.join(path);
                let mode = fs::metadata(&file)?.permissions().mode() & 0o111;
                parts.push(format!("{path} {mode}").into_bytes());
                parts.push(fs::read(&file)?);
            }
        }
        Ok(crate::lab::key(parts.iter().map(Vec::as_slice)))
    }

    /// Files of the checkout that no patch brings though they lie where the
    /// kernel's lie: most likely forgotten in the index.
    pub fn strays(&self, lab: &Lab) -> Result<Vec<String>> {
        let listed: BTreeSet<&str> = self
            .index
            .patches
            .iter()
            .flat_map(|p| p.new.iter().map(String::as_str))
            .collect();
        let git = Git::new(lab, &self.top);
        let out = git.bytes(&[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--deduplicate",
        ])?;
        Ok(crate::git::zero_separated(&out)?
            .into_iter()
            .filter(|path| !listed.contains(path.as_str()))
            .filter(|path| {
                !OWN.iter().any(|own| {
                    path == own || path.strip_prefix(own).is_some_and(|r| r.starts_with('/'))
                })
            })
            .filter(|path| self.top.join(path).exists())
            .collect())
    }

    /// Makes the commits in the repository `git`, on its unpatched commit.  No
    /// work tree is touched.  Patches without an author get `author`.
    pub fn commit(&self, lab: &Lab, git: &Git, author: &Person) -> Result<Prepared> {
        let base = git
            .commit_of(BASE)
            .context("the kernel tree has no unpatched commit")?;
        let scratch = lab.scratch()?;
        let git = git.with_index(&scratch.path().join("index"));
        git.text(&["read-tree", &base])?;
        let mut parent = base.clone();
        let mut commits = vec![];
        for (number, (listed, patch)) in self.index.patches.iter().zip(&self.patches).enumerate() {
            self.stage(&git, listed, patch)?;
            let tree = git.text(&["write-tree"])?;
            let author = patch.author.as_ref().unwrap_or(author);
            parent = git.commit_tree(&tree, Some(&parent), author, &patch.message(), number + 1)?;
            commits.push(parent.clone());
        }
        Ok(Prepared { commits, base })
    }

    fn stage(&self, git: &Git, listed: &Listed, patch: &PatchFile) -> Result<()> {
        if !patch.diff.is_empty() {
            let (status, _, err) = git
                .command(&["apply", "--cached", "--whitespace=nowarn", "-"])
                .outcome(patch.diff.as_bytes())?;
            if status != Some(0) {
                bail!(
                    "patches/{} does not apply: {}",
                    listed.file,
                    explain(&String::from_utf8_lossy(&err), &patch.diff)
                );
            }
        }
        let mut info = String::new();
        for path in &listed.new {
            let there = git.text(&["ls-files", "--", path])?;
            if !there.is_empty() {
                bail!(
                    "patches/series.toml lists {path} as new under {}, but the kernel has it",
                    listed.file
                );
            }
            let file = self.top.join(path);
            let mode = match fs::metadata(&file)?.permissions().mode() & 0o111 {
                0 => "100644",
                _ => "100755",
            };
            let blob = git.store(&fs::read(&file)?)?;
            info.push_str(&format!("{mode} {blob} 0\t{path}\n"));
        }
        git.command(&["update-index", "--add", "--index-info"])
            .output_with(info.as_bytes())?;
        Ok(())
    }
}

/// A semantic patch is a file of the series, there at the latest with what it
/// makes; and only what one makes can have been done by hand instead.
fn check_cocci(patches: &[Listed]) -> Result<()> {
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for listed in patches {
        known.extend(listed.new.iter().map(String::as_str));
        let file = &listed.file;
        let Some(cocci) = &listed.cocci else {
            if !listed.by_hand.is_empty() {
                bail!("patches/series.toml: {file} has 'by_hand' without 'cocci'");
            }
            continue;
        };
        if !cocci.ends_with(".cocci") {
            bail!("patches/series.toml: 'cocci' of {file}: {cocci} is not called *.cocci");
        }
        if !known.contains(cocci.as_str()) {
            bail!(
                "patches/series.toml: 'cocci' of {file}: neither this patch nor one before it \
                 brings {cocci} (under 'new')"
            );
        }
        let mut seen = BTreeSet::new();
        for path in &listed.by_hand {
            if !seen.insert(path) {
                bail!("patches/series.toml: {file} has {path} twice under 'by_hand'");
            }
            if listed.new.contains(path) {
                bail!(
                    "patches/series.toml: {file} has {path} under 'by_hand', but it is new: no \
                     semantic patch makes new files"
                );
            }
        }
    }
    Ok(())
}

/// Says which file and hunk it was that git could not apply.
fn explain(errors: &str, diff: &str) -> String {
    let mut said = vec![];
    for line in errors.lines() {
        let line = line.trim_start_matches("error: ");
        let place = line
            .strip_prefix("patch failed: ")
            .and_then(|place| place.rsplit_once(':'));
        match place {
            Some((file, old)) => match hunk_number(diff, file, old) {
                Some((number, header)) => said.push(format!("{file}, hunk {number} ({header})")),
                None => said.push(format!("{file}, line {old}")),
            },
            None if line.ends_with("patch does not apply") && !said.is_empty() => {}
            None => said.push(line.to_string()),
        }
    }
    said.join("; ")
}

/// The hunk of `file` that begins at the old line `old`: its number and header.
fn hunk_number(diff: &str, file: &str, old: &str) -> Option<(usize, String)> {
    let mut here = false;
    let mut number = 0;
    for line in diff.lines() {
        if let Some(rest) = line.strip_prefix("diff --git ") {
            here = rest.ends_with(&format!(" b/{file}"));
            number = 0;
        } else if here && line.starts_with("@@ ") {
            number += 1;
            let begins = line
                .strip_prefix("@@ -")?
                .split([',', ' '])
                .next()
                .unwrap_or("");
            if begins == old {
                return Some((number, line.to_string()));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TempLab, TINY_PATCH};

    /// The commits hold what the repository holds, patch by patch.
    #[test]
    fn series_becomes_commits() {
        let temp = TempLab::with_series();
        let git = temp.kernel();
        let series = Series::read(&temp.lab.top).unwrap();
        let prepared = series.commit(&temp.lab, &git, &Person::neutral()).unwrap();
        assert_eq!(prepared.commits.len(), 2);
        let show = |what: String| git.text(&["show", &what]).unwrap();
        assert_eq!(
            show(format!("{}:include/new.h", prepared.commits[0])),
            "#define NEW 1"
        );
        assert_eq!(
            show(format!("{}:mm/filemap.c", prepared.commits[0]))
                .lines()
                .nth(1),
            Some("two")
        );
        assert!(show(format!("{}:mm/filemap.c", prepared.tip())).contains("TWO"));
        let subject = git
            .text(&["log", "-1", "--format=%s", prepared.tip()])
            .unwrap();
        assert_eq!(subject, "mm: shout");
    }

    /// Commit names depend on content only: two preparations are one.
    #[test]
    fn commits_are_reproducible() {
        let temp = TempLab::with_series();
        let git = temp.kernel();
        let series = Series::read(&temp.lab.top).unwrap();
        let once = series.commit(&temp.lab, &git, &Person::neutral()).unwrap();
        let twice = series.commit(&temp.lab, &git, &Person::neutral()).unwrap();
        assert_eq!(once.commits, twice.commits);
    }

    /// A patch that does not apply is named with its file and hunk.
    #[test]
    fn failing_hunk_is_named() {
        let temp = TempLab::with_series();
        let path = temp.lab.top.join("patches/0002-mm-shout.patch");
        fs::write(&path, TINY_PATCH.replace("-two", "-another")).unwrap();
        let series = Series::read(&temp.lab.top).unwrap();
        let error = series
            .commit(&temp.lab, &temp.kernel(), &Person::neutral())
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("0002-mm-shout.patch"), "{error}");
        assert!(error.contains("mm/filemap.c, hunk 1"), "{error}");
    }

    /// A new file that belongs to two patches, or to none, does not pass quietly.
    #[test]
    fn new_files_belong_to_one_patch() {
        let temp = TempLab::with_series();
        let index = temp.lab.top.join("patches/series.toml");
        let text = fs::read_to_string(&index).unwrap();
        fs::write(temp.lab.top.join("mm/forgotten.c"), "x\n").unwrap_or_else(|_| {
            fs::create_dir_all(temp.lab.top.join("mm")).unwrap();
            fs::write(temp.lab.top.join("mm/forgotten.c"), "x\n").unwrap();
        });
        let series = Series::read(&temp.lab.top).unwrap();
        assert_eq!(series.strays(&temp.lab).unwrap(), ["mm/forgotten.c"]);
        fs::write(&index, format!("{text}new = [\"include/new.h\"]\n")).unwrap();
        let error = Series::read(&temp.lab.top).err().unwrap().to_string();
        assert!(error.contains("include/new.h"), "{error}");
    }

    /// What is said about semantic patches is checked, and what is wrong named.
    #[test]
    fn semantic_patches_are_checked() {
        let check = |second: &str| {
            let text = format!(
                "title = \"t\"\ncover = \"c\"\n[[patch]]\nfile = \"1.patch\"\n\
                 new = [\"s/a.cocci\", \"a.h\"]\ncocci = \"s/a.cocci\"\n\
                 by_hand = [\"mm/a.c\"]\n[[patch]]\nfile = \"2.patch\"\n{second}\
                 [[patch]]\nfile = \"3.patch\"\nnew = [\"s/c.cocci\"]\n"
            );
            let index: Index = toml_edit::de::from_str(&text).unwrap();
            check_cocci(&index.patches).map_err(|error| error.to_string())
        };
        assert_eq!(check(""), Ok(()));
        assert_eq!(
            check("cocci = \"s/a.cocci\"\nby_hand = [\"a.h\"]\n"),
            Ok(())
        );
        for (second, what) in [
            ("by_hand = [\"mm/a.c\"]\n", "without 'cocci'"),
            ("cocci = \"a.h\"\n", "not called *.cocci"),
            (
                "cocci = \"s/c.cocci\"\n",
                "nor one before it brings s/c.cocci",
            ),
            (
                "cocci = \"s/a.cocci\"\nby_hand = [\"b\", \"b\"]\n",
                "b twice",
            ),
            (
                "cocci = \"s/a.cocci\"\nnew = [\"b\"]\nby_hand = [\"b\"]\n",
                "it is new",
            ),
        ] {
            let error = check(second).unwrap_err();
            assert!(error.contains(what) && error.contains("2.patch"), "{error}");
        }
    }

    /// A new file that the kernel has already is an edit, not a new file.
    #[test]
    fn existing_file_is_not_new() {
        let temp = TempLab::with_series();
        let index = temp.lab.top.join("patches/series.toml");
        let text = fs::read_to_string(&index).unwrap();
        fs::create_dir_all(temp.lab.top.join("mm")).unwrap();
        fs::write(temp.lab.top.join("mm/filemap.c"), "x\n").unwrap();
        fs::write(&index, format!("{text}new = [\"mm/filemap.c\"]\n")).unwrap();
        let series = Series::read(&temp.lab.top).unwrap();
        let error = series.commit(&temp.lab, &temp.kernel(), &Person::neutral());
        assert!(error
            .err()
            .unwrap()
            .to_string()
            .contains("the kernel has it"));
    }
}
