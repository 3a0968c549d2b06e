// SPDX-License-Identifier: GPL-2.0

//! The unpatched kernel: from `$LINUX_TARBALL`, or from Debian's package, into
//! a git repository in the cache whose one commit everything starts from.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};

use crate::chroot::Inside;
use crate::git::{Git, Person};
use crate::lab::{file_hash, key, Lab};
use crate::ui::Step;

/// The version of Linux that the series is for.
pub const SERIES_VERSION: (u32, u32) = (7, 3);
/// Debian's package with its source.
const PACKAGE: &str = "linux-source-7.3";
/// About as many files as Linux 7.3 has, for the progress bar.
const FILES: u64 = 95_000;
/// What the lab makes of a tarball; another number makes all trees anew.
const FORMAT: &[u8] = b"source 1";
/// What Debian's packagers put at the end of the kernel's .gitignore: with it,
/// git would not see a new file anywhere in the tree.
const DEBIAN_IGNORES: &str = "\n#\n# Debian packaging: ignore everything";
/// The tag of the unpatched commit.
pub const BASE: &str = "lab-base";

/// An unpacked, committed, unpatched kernel.
pub struct Source {
    /// Names the content, by the tarball's hash.
    pub id: String,
    /// As its Makefile says, for instance `7.3.4`.
    pub version: String,
    /// `trees/<id>` in the cache.
    pub dir: PathBuf,
}

impl Source {
    /// The work tree of the unpatched kernel.
    pub fn base(&self) -> PathBuf {
        self.dir.join("base")
    }

    /// The work tree that the series is checked out in.
    pub fn patched(&self) -> PathBuf {
        self.dir.join("patched")
    }

    /// The repository behind both.
    pub fn git<'a>(&self, lab: &'a Lab) -> Git<'a> {
        Git::new(lab, &self.base())
    }
}

/// Gets the kernel source ready, doing what is not done yet.
pub fn prepare(lab: &Lab) -> Result<Source> {
    let tarball = match std::env::var_os("LINUX_TARBALL") {
        Some(path) if !path.is_empty() => {
            let path = PathBuf::from(path);
            if !path.is_file() {
                bail!("LINUX_TARBALL: {} is not a file", path.display());
            }
            path
        }
        _ => debian_tarball(lab)?,
    };
    let id = key([FORMAT, file_hash(&tarball)?.as_bytes()]);
    let dir = lab.cache.join("trees").join(&id);
    let _lock = lab.lock("source")?;
    if !dir.is_dir() {
        unpack(lab, &tarball, &dir)?;
    }
    let version = fs::read_to_string(dir.join("version"))?;
    Ok(Source { id, version, dir })
}

/// Debian's tarball in the cache, fetched once; apt checks the signature.
fn debian_tarball(lab: &Lab) -> Result<PathBuf> {
    let dir = lab.cache.join("source");
    let kept = dir.join(format!("{PACKAGE}.tar.xz"));
    let _lock = lab.lock("debian-source")?;
    if kept.is_file() {
        return Ok(kept);
    }
    lab.need_space(9000, "the kernel's source and objects")?;
    write_apt(lab)?;
    let scratch = lab.scratch()?;
    let log = lab.cache.join("source.log");
    let _ = fs::remove_file(&log);
    let work = lab.in_root(scratch.path());
    let mut step = Step::lasting(
        format!("fetching {PACKAGE} from Debian"),
        Duration::from_secs(60),
    );
    // _apt could not write here; what is fetched is checked all the same.
    let script = format!(
        "apt-get update -q -o APT::Sandbox::User=root && \
         apt-get download -q -o APT::Sandbox::User=root -t trixie-backports {PACKAGE} && \
         dpkg-deb -f {PACKAGE}_*.deb Version >version && \
         dpkg-deb --fsys-tarfile {PACKAGE}_*.deb | \
         tar -xO --wildcards './usr/src/{PACKAGE}.tar.*' >tarball"
    );
    Inside::new(lab, ["bash", "-euo", "pipefail", "-c", &script])
        .directory(work)
        .run_logged(&mut step, &log)
        .with_context(|| format!("no network? cannot fetch {PACKAGE} from trixie-backports"))?;
    step.done();
    fs::create_dir_all(&dir)?;
    fs::rename(scratch.path().join("version"), dir.join("version"))?;
    fs::rename(scratch.path().join("tarball"), &kept)?;
    Ok(kept)
}

/// Writes the host's present mirror into the build root.
pub fn write_apt(lab: &Lab) -> Result<()> {
    let status = std::process::Command::new("sh")
        .arg(lab.own("bootstrap.sh"))
        .arg("--write-apt")
        .arg(&lab.root)
        .status()?;
    if !status.success() {
        bail!("cannot tell apt in the build root which mirror to use");
    }
    Ok(())
}

fn unpack(lab: &Lab, tarball: &Path, dir: &Path) -> Result<()> {
    lab.need_space(8000, "the kernel's source and objects")?;
    let scratch = lab.scratch()?;
    let base = scratch.path().join("base");
    fs::create_dir(&base)?;
    let log = lab.cache.join("source.log");
    let _ = fs::remove_file(&log);
    let mut step = Step::new(format!("unpacking {}", tarball.display()), Some(FILES));
    let name = inside_name(lab, tarball);
    let unpacked = Inside::new(
        lab,
        ["tar", "--force-local", "-xv", "--strip-components=1", "-f"],
    )
    .args([name])
    .bind_if_foreign(lab, tarball)
    .directory(lab.in_root(&base))
    .run_logged(&mut step, &log);
    // What a truncated tarball still gave may tell that it is the wrong one.
    let version = version_of(&base);
    if let Ok(version) = &version {
        check_version(tarball, version)?;
    }
    if let Err(error) = unpacked {
        let cause = format!("{error:#}");
        bail!(
            "{} is truncated or damaged: {}",
            tarball.display(),
            complaint(&cause)
        );
    }
    let version =
        version.with_context(|| format!("{} holds no Linux source", tarball.display()))?;
    step.done();

    restore_gitignore(&base)?;
    let step = Step::lasting(
        format!("committing Linux {version}"),
        Duration::from_secs(40),
    );
    let git = Git::new(lab, &base);
    // The repository lies beside the work tree: its final path is known by the
    // files that git writes into both.
    git.text(&["init", "-q", "-b", "base"])?;
    git.text(&["config", "gc.auto", "0"])?;
    git.text(&["config", "index.version", "4"])?;
    git.text(&["add", "-A", "-f", "."])?;
    let tree = git.text(&["write-tree"])?;
    let commit = git.commit_tree(
        &tree,
        None,
        &Person::neutral(),
        &format!("Linux {version}\n"),
        0,
    )?;
    git.text(&["update-ref", "refs/heads/base", &commit])?;
    git.text(&["tag", BASE, &commit])?;
    fs::write(scratch.path().join("version"), &version)?;
    let _ = fs::remove_file(scratch.path().join(".held"));
    fs::create_dir_all(dir.parent().context("trees has a parent")?)?;
    fs::rename(scratch.path(), dir)?;
    step.done();
    Ok(())
}

/// Gives the tree the .gitignore that kernel.org's has.
fn restore_gitignore(base: &Path) -> Result<()> {
    let path = base.join(".gitignore");
    let Ok(text) = fs::read_to_string(&path) else {
        return Ok(());
    };
    if let Some(at) = text.find(DEBIAN_IGNORES) {
        fs::write(&path, &text[..at])?;
    }
    Ok(())
}

/// What the unpacking programs complained of first: what follows from it, and
/// what tar says at its end, tells less.
fn complaint(text: &str) -> &str {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let programs = ["xz: ", "gzip: ", "bzip2: ", "zstd: ", "tar: "];
    lines()
        .find(|line| programs.iter().any(|name| line.starts_with(name)))
        .or_else(|| lines().next_back())
        .unwrap_or("")
}

fn inside_name(lab: &Lab, tarball: &Path) -> String {
    let full = fs::canonicalize(tarball).unwrap_or_else(|_| tarball.into());
    let known = lab.is_inside() || full.starts_with(&lab.cache) || full.starts_with(&lab.top);
    match known {
        true => lab.in_root(&full).display().to_string(),
        false => format!(
            "/work/{}",
            full.file_name().unwrap_or_default().to_string_lossy()
        ),
    }
}

impl Inside<'_> {
    /// Makes the folder of a file from anywhere on the host visible.
    fn bind_if_foreign(self, lab: &Lab, file: &Path) -> Self {
        let full = fs::canonicalize(file).unwrap_or_else(|_| file.into());
        match full.parent() {
            Some(parent) if inside_name(lab, file).starts_with("/work/") => {
                self.bind(parent, "/work")
            }
            _ => self,
        }
    }
}

/// The version as a kernel's Makefile tells it.
fn version_of(tree: &Path) -> Result<String> {
    let makefile = fs::read_to_string(tree.join("Makefile")).context("no Makefile")?;
    parse_version(&makefile).context("its Makefile tells no version")
}

fn parse_version(makefile: &str) -> Option<String> {
    let field = |name: &str| {
        makefile
            .lines()
            .take(20)
            .filter_map(|line| line.split_once('='))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim().to_string())
    };
    let (version, patchlevel) = (field("VERSION")?, field("PATCHLEVEL")?);
    let sublevel = field("SUBLEVEL").unwrap_or_default();
    let extra = field("EXTRAVERSION").unwrap_or_default();
    Some(match sublevel.as_str() {
        "" => format!("{version}.{patchlevel}{extra}"),
        _ => format!("{version}.{patchlevel}.{sublevel}{extra}"),
    })
}

fn check_version(tarball: &Path, version: &str) -> Result<()> {
    let (major, minor) = SERIES_VERSION;
    // A release candidate is the version before, with changes.
    let fits = !version.contains("-rc")
        && (version == format!("{major}.{minor}")
            || version.starts_with(&format!("{major}.{minor}.")));
    if !fits {
        bail!(
            "{} holds Linux {version}: the series is for Linux {major}.{minor}.y",
            tarball.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, TempLab};

    const MAKEFILE: &str = "# SPDX-License-Identifier: GPL-2.0\nVERSION = 7\nPATCHLEVEL = 3\n\
                            SUBLEVEL = 4\nEXTRAVERSION =\nNAME = Something\n";

    /// The version is what the Makefile's first lines say.
    #[test]
    fn version_is_read() {
        assert_eq!(parse_version(MAKEFILE).as_deref(), Some("7.3.4"));
        let rc = MAKEFILE
            .replace("SUBLEVEL = 4", "SUBLEVEL = 0")
            .replace("EXTRAVERSION =", "EXTRAVERSION = -rc1");
        assert_eq!(parse_version(&rc).as_deref(), Some("7.3.0-rc1"));
        assert_eq!(parse_version("all:\n"), None);
    }

    /// 7.30 is not 7.3, and neither is 7.2.
    #[test]
    fn other_versions_are_refused_by_name() {
        let path = Path::new("x.tar.xz");
        assert!(check_version(path, "7.3.4").is_ok());
        assert!(check_version(path, "7.3").is_ok());
        for other in ["7.30.1", "7.2.9", "6.12.1", "7.3.0-rc1"] {
            let text = check_version(path, other).unwrap_err().to_string();
            assert!(text.contains(other) && text.contains("x.tar.xz"), "{text}");
        }
    }

    /// A good tarball becomes a commit that a second call finds again.
    #[test]
    fn tarball_becomes_a_tree() {
        let temp = TempLab::new();
        let tarball = testing::tarball(&temp, MAKEFILE, "xz");
        let dir = temp.lab.cache.join("trees/x");
        unpack(&temp.lab, &tarball, &dir).unwrap();
        assert_eq!(fs::read_to_string(dir.join("version")).unwrap(), "7.3.4");
        let git = Git::new(&temp.lab, &dir.join("base"));
        assert!(git.commit_of(BASE).is_some());
        assert_eq!(git.text(&["status", "--porcelain"]).unwrap(), "");
    }

    /// Equal sources give equal commits on every machine.
    #[test]
    fn base_commit_depends_on_content_only() {
        let temp = TempLab::new();
        let tarball = testing::tarball(&temp, MAKEFILE, "gz");
        let commit = |name: &str| {
            let dir = temp.lab.cache.join("trees").join(name);
            unpack(&temp.lab, &tarball, &dir).unwrap();
            Git::new(&temp.lab, &dir.join("base"))
                .commit_of(BASE)
                .unwrap()
        };
        assert_eq!(commit("a"), commit("b"));
    }

    /// Debian's packagers hide everything from git; the lab must see new files.
    #[test]
    fn new_files_are_not_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".gitignore");
        let kernel = "*.o\n\n# bc\n!kernel/time/timeconst.bc\n";
        fs::write(
            &path,
            format!("{kernel}{DEBIAN_IGNORES} at the top level\n#\n/*\n!/debian/\n"),
        )
        .unwrap();
        restore_gitignore(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), kernel);
    }

    /// Half a tarball is told from a whole one, and leaves nothing behind.
    #[test]
    fn truncated_tarball_is_named() {
        let temp = TempLab::new();
        let tarball = testing::tarball(&temp, MAKEFILE, "xz");
        let bytes = fs::read(&tarball).unwrap();
        fs::write(&tarball, &bytes[..bytes.len() / 2]).unwrap();
        let dir = temp.lab.cache.join("trees/x");
        let text = unpack(&temp.lab, &tarball, &dir).unwrap_err().to_string();
        assert!(
            text.contains("truncated or damaged: xz: ") && text.lines().count() == 1,
            "{text}"
        );
        assert!(text.contains(&tarball.display().to_string()), "{text}");
        assert!(!dir.exists());
    }

    /// The tarball of another version is refused by its version.
    #[test]
    fn wrong_version_is_named() {
        let temp = TempLab::new();
        let other = MAKEFILE.replace("PATCHLEVEL = 3", "PATCHLEVEL = 2");
        let tarball = testing::tarball(&temp, &other, "gz");
        let error = unpack(&temp.lab, &tarball, &temp.lab.cache.join("trees/x")).unwrap_err();
        assert!(error.to_string().contains("7.2.4"), "{error:#}");
    }

    /// A tarball of something else is not taken for a kernel.
    #[test]
    fn no_kernel_at_all_is_said() {
        let temp = TempLab::new();
        let tarball = testing::tarball(&temp, "all:\n", "gz");
        let error = unpack(&temp.lab, &tarball, &temp.lab.cache.join("trees/x")).unwrap_err();
        assert!(
            format!("{error:#}").contains("no Linux source"),
            "{error:#}"
        );
    }
}
