// SPDX-License-Identifier: GPL-2.0

//! Git, as the build root has it, on a repository that the lab or its user owns.
//! The wrapper fixes what would otherwise depend on the machine: configuration,
//! dates, the neutral author.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::chroot::Inside;
use crate::lab::Lab;

/// Who made a commit that names nobody.
pub const NEUTRAL: (&str, &str) = ("Tagged page cache lab", "lab@localhost");

/// A person in a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Name, as in `From: NAME <EMAIL>`.
    pub name: String,
    /// Address.
    pub email: String,
}

impl Person {
    /// The author of commits that name none.
    pub fn neutral() -> Person {
        Person {
            name: NEUTRAL.0.into(),
            email: NEUTRAL.1.into(),
        }
    }
}

/// A repository, or a work tree of one.
#[derive(Clone)]
pub struct Git<'a> {
    lab: &'a Lab,
    directory: PathBuf,
    index: Option<PathBuf>,
    on_host: bool,
}

impl<'a> Git<'a> {
    /// The repository at `directory`, a path of the host.  One that is neither
    /// in the cache folder nor in the checkout is left to the host's git, which
    /// knows where all its parts are.
    pub fn new(lab: &'a Lab, directory: &Path) -> Git<'a> {
        let known =
            lab.is_inside() || directory.starts_with(&lab.cache) || directory.starts_with(&lab.top);
        Git {
            lab,
            directory: directory.into(),
            index: None,
            on_host: !known,
        }
    }

    /// The same repository with another index file, so that trees can be
    /// composed without a work tree.
    pub fn with_index(&self, index: &Path) -> Git<'a> {
        Git {
            index: Some(index.into()),
            ..self.clone()
        }
    }

    /// Where it is, on the host.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The command for `arguments`, still to be run.
    pub fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Inside<'a> {
        let inside = |path: &Path| match self.on_host {
            true => path.to_path_buf(),
            false => self.lab.in_root(path),
        };
        let directory = inside(&self.directory);
        let fixed = [
            "safe.directory=*",
            "core.fsync=none",
            "core.looseCompression=1",
            "core.quotePath=false",
            "core.autocrlf=false",
            "advice.detachedHead=false",
            "gc.auto=0",
            "diff.noprefix=false",
            "diff.mnemonicPrefix=false",
            "diff.algorithm=myers",
        ];
        let mut line = vec!["git".to_string()];
        for setting in fixed {
            line.extend(["-c".to_string(), setting.to_string()]);
        }
        line.extend(["-C".to_string(), directory.display().to_string()]);
        line.extend(arguments.iter().map(|a| a.as_ref().to_string()));
        let mut command = Inside::new(self.lab, line)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_COMMITTER_NAME", NEUTRAL.0)
            .env("GIT_COMMITTER_EMAIL", NEUTRAL.1)
            .env("GIT_AUTHOR_NAME", NEUTRAL.0)
            .env("GIT_AUTHOR_EMAIL", NEUTRAL.1);
        if let Some(index) = &self.index {
            command = command.env("GIT_INDEX_FILE", inside(index).display().to_string());
        }
        match self.on_host {
            true => command.on_host(),
            false => command,
        }
    }

    /// Runs git for its output, without the line end.
    pub fn text<S: AsRef<str>>(&self, arguments: &[S]) -> Result<String> {
        let out = self.command(arguments).output()?;
        Ok(String::from_utf8(out)
            .context("git printed something that is not UTF-8")?
            .trim_end_matches('\n')
            .to_string())
    }

    /// Runs git for its output as it is.
    pub fn bytes<S: AsRef<str>>(&self, arguments: &[S]) -> Result<Vec<u8>> {
        self.command(arguments).output()
    }

    /// Stores `content` as a blob and gives its name.
    pub fn store(&self, content: &[u8]) -> Result<String> {
        let out = self
            .command(&["hash-object", "-w", "--stdin", "--no-filters"])
            .output_with(content)?;
        Ok(String::from_utf8(out)?.trim().to_string())
    }

    /// The commit that `revision` names, if there is one.
    pub fn commit_of(&self, revision: &str) -> Option<String> {
        self.text(&[
            "rev-parse",
            "-q",
            "--verify",
            &format!("{revision}^{{commit}}"),
        ])
        .ok()
    }

    /// Makes a commit object.  `number` gives it its (fixed) date, so that equal
    /// content gets equal names everywhere.
    pub fn commit_tree(
        &self,
        tree: &str,
        parent: Option<&str>,
        author: &Person,
        message: &str,
        number: usize,
    ) -> Result<String> {
        let mut line = vec!["commit-tree".to_string(), tree.to_string()];
        if let Some(parent) = parent {
            line.extend(["-p".to_string(), parent.to_string()]);
        }
        let date = format!("{} +0000", 1_767_225_600 + number * 60);
        let out = self
            .command(&line)
            .env("GIT_AUTHOR_NAME", &author.name)
            .env("GIT_AUTHOR_EMAIL", &author.email)
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date)
            .output_with(message.as_bytes())?;
        Ok(String::from_utf8(out)?.trim().to_string())
    }
}

/// Splits what git prints with `-z`.
pub fn zero_separated(bytes: &[u8]) -> Result<Vec<String>> {
    bytes
        .split(|b| *b == 0)
        .filter(|part| !part.is_empty())
        .map(|part| String::from_utf8(part.to_vec()).context("a path that is not UTF-8"))
        .collect()
}
