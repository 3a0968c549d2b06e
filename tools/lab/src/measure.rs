// SPDX-License-Identifier: GPL-2.0

//! The heavy parts of `lab run` in the guest: reading whole trees, comparing
//! whole trees.  An emulated processor makes every instruction count, which is
//! why they are not part of the script that drives them (guest/run.py).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use serde_json::json;
use walkdir::WalkDir;

/// One read(2) takes this much, as cp and cat do it.
const CHUNK: usize = 128 << 10;

fn regular_files(folder: &Path) -> impl Iterator<Item = Result<PathBuf>> {
    WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .filter_map(|entry| match entry {
            Ok(entry) if entry.file_type().is_file() => Some(Ok(entry.into_path())),
            Ok(_) => None,
            Err(error) => Some(Err(error.into())),
        })
}

/// Reads every regular file below the folders by read(2); prints how many files
/// and bytes it were, as JSON.
pub fn read(folders: &[PathBuf]) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let (mut files, mut bytes) = (0u64, 0u64);
    for folder in folders {
        for path in regular_files(folder) {
            let path = path?;
            let mut file =
                File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
            files += 1;
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => bytes += n as u64,
                    Err(error) => bail!("cannot read {}: {error}", path.display()),
                }
            }
        }
    }
    println!("{}", json!({"files": files, "bytes": bytes}));
    Ok(())
}

/// Compares every regular file of the copies with the original's, byte by byte;
/// prints what differs to standard error and the sums as JSON.
pub fn compare(original: &Path, copies: &[PathBuf]) -> Result<bool> {
    let (mut files, mut bytes, mut wrong) = (0u64, 0u64, 0u64);
    let mut there = vec![0; CHUNK];
    let mut here = vec![0; CHUNK];
    for path in regular_files(original) {
        let path = path?;
        let name = path.strip_prefix(original)?;
        let source = File::open(&path)?;
        let length = source.metadata()?.size();
        let mut targets = vec![];
        for copy in copies {
            let path = copy.join(name);
            let target = File::open(&path)
                .with_context(|| format!("cannot open the copy {}", path.display()))?;
            if target.metadata()?.size() != length {
                eprintln!("{}: another size", path.display());
                wrong += 1;
                continue;
            }
            targets.push((path, target, true));
        }
        let mut at = 0;
        while at < length {
            let n = CHUNK.min((length - at) as usize);
            source.read_exact_at(&mut there[..n], at)?;
            for (path, target, right) in &mut targets {
                target
                    .read_exact_at(&mut here[..n], at)
                    .with_context(|| format!("cannot read {} at {at}", path.display()))?;
                if *right && here[..n] != there[..n] {
                    let first = at + first_difference(&here[..n], &there[..n]) as u64;
                    eprintln!("{}: wrong from byte {first} on", path.display());
                    *right = false;
                    wrong += 1;
                }
                bytes += n as u64;
            }
            at += n as u64;
        }
        files += targets.len() as u64;
    }
    println!(
        "{}",
        json!({"files": files, "bytes": bytes, "wrong": wrong})
    );
    Ok(wrong == 0 && files > 0)
}

fn first_difference(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).position(|(x, y)| x != y).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn two_trees() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        for tree in [&a, &b] {
            fs::create_dir_all(tree.join("x")).unwrap();
            fs::write(tree.join("x/long"), vec![7; 3 * CHUNK + 5]).unwrap();
            fs::write(tree.join("empty"), "").unwrap();
        }
        (dir, a, b)
    }

    /// Equal trees are equal.
    #[test]
    fn equal_is_equal() {
        let (_dir, a, b) = two_trees();
        assert!(compare(&a, &[b.clone(), b]).unwrap());
    }

    /// One wrong byte anywhere, a wrong size, or a missing file is found.
    #[test]
    fn every_byte_counts() {
        let (_dir, a, b) = two_trees();
        let mut bytes = vec![7; 3 * CHUNK + 5];
        *bytes.last_mut().unwrap() = 8;
        fs::write(b.join("x/long"), &bytes).unwrap();
        assert!(!compare(&a, std::slice::from_ref(&b)).unwrap());
        bytes.pop();
        fs::write(b.join("x/long"), &bytes).unwrap();
        assert!(!compare(&a, std::slice::from_ref(&b)).unwrap());
        fs::remove_file(b.join("x/long")).unwrap();
        assert!(compare(&a, &[b]).is_err());
    }

    /// Nothing compared is nothing verified.
    #[test]
    fn nothing_is_not_right() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!compare(dir.path(), &[dir.path().into()]).unwrap());
    }
}
