// SPDX-License-Identifier: GPL-2.0

//! Where things are: the cache folder, the checkout, the build root; locks and
//! temporary folders in the cache that outlive nobody.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

/// The three places that everything else is relative to.
#[derive(Clone, Debug)]
pub struct Lab {
    /// The cache folder, on the host.
    pub cache: PathBuf,
    /// The checkout that the launcher lies in.
    pub top: PathBuf,
    /// The build root; `/` when this process is inside of it already.
    pub root: PathBuf,
}

impl Lab {
    /// Takes the places from the environment that bootstrap.sh sets up.
    pub fn from_environment() -> Result<Lab> {
        let get = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .with_context(|| format!("{name} is not set: start the lab by ./lab"))
        };
        let lab = Lab {
            cache: get("LAB_CACHE")?,
            top: get("LAB_TOP")?,
            root: get("LAB_ROOT")?,
        };
        fs::create_dir_all(lab.cache.join("tmp"))?;
        fs::create_dir_all(lab.cache.join("logs"))?;
        lab.sweep();
        Ok(lab)
    }

    /// Whether commands run in the build root without entering it.
    pub fn is_inside(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The lab's own folder of the checkout.
    pub fn own(&self, path: &str) -> PathBuf {
        self.top.join("tools/lab").join(path)
    }

    /// How a path below the cache folder or the checkout is called in the root.
    pub fn in_root(&self, path: &Path) -> PathBuf {
        if self.is_inside() {
            return path.to_path_buf();
        }
        if let Ok(rest) = path.strip_prefix(&self.cache) {
            return Path::new("/lab/cache").join(rest);
        }
        if let Ok(rest) = path.strip_prefix(&self.top) {
            return Path::new("/repo").join(rest);
        }
        path.to_path_buf()
    }

    /// The name of the build root: a hash of its recipe, part of every key of
    /// things that were built in it.
    pub fn root_id(&self) -> String {
        self.root
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    /// Waits for, and takes, the lock called `name`; it ends with the guard, or
    /// with the process.
    pub fn lock(&self, name: &str) -> Result<Flock<File>> {
        let path = self.cache.join(format!(".{name}.lock"));
        let open = || {
            File::options()
                .create(true)
                .append(true)
                .open(&path)
                .with_context(|| format!("cannot open {}", path.display()))
        };
        match Flock::lock(open()?, FlockArg::LockExclusiveNonblock) {
            Ok(guard) => Ok(guard),
            Err(_) => {
                crate::ui::say(format!("another lab works on {name}: waiting for it"));
                Flock::lock(open()?, FlockArg::LockExclusive)
                    .map_err(|(_, errno)| errno)
                    .with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// A folder below the cache that is removed when the guard is dropped; one
    /// that a killed lab left is removed by the next.
    pub fn scratch(&self) -> Result<Scratch> {
        let dir = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(self.cache.join("tmp"))
            .context("cannot make a temporary folder in the cache")?;
        let held = File::create(dir.path().join(".held"))?;
        let held = Flock::lock(held, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| errno)
            .context("cannot lock a new file")?;
        crate::signals::remember(dir.path());
        Ok(Scratch { dir, _held: held })
    }

    /// A file without a name that holds `size` bytes of nothing.
    pub fn sparse_file(&self, size: u64) -> Result<OwnedFd> {
        let file = tempfile::tempfile_in(self.cache.join("tmp"))
            .context("cannot make a temporary file in the cache")?;
        file.set_len(size)
            .with_context(|| format!("cannot make a sparse file of {size} bytes"))?;
        Ok(file.into())
    }

    /// Removes what labs that were killed, and compilers with them, left in the
    /// cache's folder for temporary files.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.cache.join("tmp")) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            match File::open(path.join(".held")) {
                Ok(held) => {
                    // A young one may be about to be locked.
                    if is_older(&path, 60)
                        && Flock::lock(held, FlockArg::LockExclusiveNonblock).is_ok()
                    {
                        let _ = fs::remove_dir_all(path);
                    }
                }
                Err(_) if is_older(&path, 2 * 86_400) => {
                    let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
                }
                Err(_) => {}
            }
        }
    }

    /// Fails unless the cache folder's file system has `mib` MiB left for `what`.
    pub fn need_space(&self, mib: u64, what: &str) -> Result<()> {
        let stat = nix::sys::statvfs::statvfs(&self.cache)?;
        let free = stat.blocks_available() * stat.fragment_size() / (1 << 20);
        if free < mib {
            bail!(
                "not enough disk space for {what}: {} has {free} MiB free, {mib} MiB are needed \
                 (LAB_CACHE puts it elsewhere)",
                self.cache.display()
            );
        }
        Ok(())
    }
}

/// Whether a file was last changed more than so many seconds ago.
fn is_older(path: &Path, seconds: u64) -> bool {
    fs::symlink_metadata(path)
        .and_then(|meta| meta.modified())
        .ok()
        .and_then(|time| time.elapsed().ok())
        .is_some_and(|age| age.as_secs() > seconds)
}

/// A temporary folder, see [`Lab::scratch`].
pub struct Scratch {
    dir: tempfile::TempDir,
    _held: Flock<File>,
}

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        crate::signals::forget(self.dir.path());
    }
}

/// A short name for what the parts hold together: 16 hexadecimal digits.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())[..16].to_string()
}

/// SHA-256 of a file, in hexadecimal.
pub fn file_hash(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hex(&hash.finalize()))
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Writes a file that is either there whole or not at all.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let dir = path.parent().context("a file lies in a folder")?;
    fs::create_dir_all(dir)?;
    let mut new = tempfile::NamedTempFile::new_in(dir)?;
    std::io::Write::write_all(&mut new, content)?;
    nix::sys::stat::fchmod(
        std::os::fd::AsRawFd::as_raw_fd(new.as_file()),
        nix::sys::stat::Mode::from_bits_truncate(0o644),
    )?;
    new.persist(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two lists of parts with the same concatenation are not the same content.
    #[test]
    fn key_separates_its_parts() {
        assert_ne!(
            key([b"ab".as_slice(), b"c".as_slice()]),
            key([b"a".as_slice(), b"bc".as_slice()])
        );
        assert_eq!(key([b"ab".as_slice()]).len(), 16);
    }

    /// Paths of the host get the names that they have inside the root.
    #[test]
    fn paths_are_translated() {
        let lab = Lab {
            cache: "/c".into(),
            top: "/t".into(),
            root: "/c/root-1".into(),
        };
        assert_eq!(
            lab.in_root(Path::new("/c/x/y")),
            Path::new("/lab/cache/x/y")
        );
        assert_eq!(lab.in_root(Path::new("/t/mm")), Path::new("/repo/mm"));
    }
}
