// SPDX-License-Identifier: GPL-2.0

//! What bootstrap.sh says on machines that lack something: one sentence that
//! names it, and exit status 2.  Each test takes away one thing.

use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn bootstrap() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bootstrap.sh")
}

/// A folder with links to all of /usr/bin and /usr/sbin but `without`.
fn path_without(dir: &Path, without: &[&str]) -> PathBuf {
    let path = dir.join("path");
    std::fs::create_dir(&path).expect("a folder");
    for folder in ["/usr/sbin", "/usr/bin"] {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let name = entry.file_name();
            if without.iter().any(|w| name == *w) {
                continue;
            }
            let _ = symlink(entry.path(), path.join(name));
        }
    }
    path
}

fn put(path: &Path, name: &str, text: &str) {
    let file = path.join(name);
    let _ = std::fs::remove_file(&file);
    std::fs::write(&file, text).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

fn run(path: &Path, cache: &Path) -> Output {
    Command::new("sh")
        .arg(bootstrap())
        .arg("--help")
        .env("PATH", path)
        .env("LAB_CACHE", cache)
        .output()
        .expect("sh")
}

fn refused(output: &Output, word: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(word), "{said}");
    assert!(
        said.starts_with("lab: ") || said.contains("\nlab: "),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}

/// Without root there are no mounts.
#[test]
fn not_root_is_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = path_without(dir.path(), &[]);
    put(&path, "id", "#!/bin/sh\necho 1000\n");
    refused(&run(&path, &dir.path().join("cache")), "must run as root");
}

/// Without apt there is no Debian to take from.
#[test]
fn no_apt_is_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = path_without(dir.path(), &["apt-get", "apt-config"]);
    refused(
        &run(&path, &dir.path().join("cache")),
        "no apt on this machine",
    );
}

/// mmdebstrap is the one thing to be installed, and how is said.
#[test]
fn no_mmdebstrap_is_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = path_without(dir.path(), &["mmdebstrap"]);
    refused(
        &run(&path, &dir.path().join("cache")),
        "apt-get install mmdebstrap",
    );
}

/// A full disk is found before it is filled.
#[test]
fn no_space_is_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = path_without(dir.path(), &[]);
    put(
        &path,
        "df",
        "#!/bin/sh\nprintf 'Filesystem 1024-blocks Used Available\\n/ 9 9 2048 1%% /\\n'\n",
    );
    refused(
        &run(&path, &dir.path().join("cache")),
        "not enough disk space",
    );
}

/// A mirror that cannot be reached is a matter of the network.
#[test]
fn no_network_is_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = path_without(dir.path(), &[]);
    put(
        &path,
        "apt-get",
        "#!/bin/sh\necho 'file:///nowhere/debian/|Debian|Debian|main'\n",
    );
    put(
        &path,
        "df",
        "#!/bin/sh\nprintf 'x\\n/ 9 9 99999999 1%% /\\n'\n",
    );
    refused(&run(&path, &dir.path().join("cache")), "no network");
}

/// Nothing of a refused start stays in the cache but the lock.
#[test]
fn refusal_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = path_without(dir.path(), &["mmdebstrap"]);
    let cache = dir.path().join("cache");
    run(&path, &cache);
    let left: Vec<_> = std::fs::read_dir(&cache)
        .expect("the cache")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, [".bootstrap.lock"]);
}
