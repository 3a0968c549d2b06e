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

/// An apt that knows an archive, which is all that is asked of it: these tests
/// need no network.
fn put_archive(path: &Path) {
    put(
        path,
        "apt-get",
        "#!/bin/sh\necho 'file:///nowhere/debian/|Debian|Debian|main'\n",
    );
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
    put_archive(&path);
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
    put_archive(&path);
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
    put_archive(&path);
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
    put_archive(&path);
    let cache = dir.path().join("cache");
    run(&path, &cache);
    let left: Vec<_> = std::fs::read_dir(&cache)
        .expect("the cache")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, [".bootstrap.lock"]);
}

/// A cache that looks as if the build root were made, and a PATH in which
/// entering it does what `unshare` says.
fn made_root(dir: &Path, cache: &Path, unshare: &str) -> PathBuf {
    let path = path_without(dir, &[]);
    put(
        &path,
        "sha256sum",
        "#!/bin/sh\ncat >/dev/null\necho 0123456789abcdef -\n",
    );
    put(&path, "unshare", unshare);
    std::fs::create_dir_all(cache.join("root-0123456789abcdef")).expect("a folder");
    path
}

/// Crates that cannot be fetched are told from a program that does not compile.
#[test]
fn no_crates_is_said() {
    for (fails, word) in [
        ("cargo fetch", "no network? cannot fetch the crates"),
        ("cargo build", "does not compile"),
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        let cache = dir.path().join("cache");
        let unshare = format!(
            "#!/bin/sh\ncase \"$*\" in *\"{fails}\"*) echo what cargo said; exit 101;; esac\n"
        );
        let path = made_root(dir.path(), &cache, &unshare);
        let output = run(&path, &cache);
        refused(&output, word);
        assert!(String::from_utf8_lossy(&output.stderr).contains("what cargo said"));
    }
}

/// Old programs go; nothing beside the cache does, whatever its name has in it.
#[test]
fn old_programs_are_removed() {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = dir.path().join("a cache");
    let built = cache.join("lab/target/x86_64-unknown-linux-gnu/release");
    std::fs::create_dir_all(&built).expect("a folder");
    put(&built, "lab", "#!/bin/sh\necho \"program $*\"\n");
    for number in 0..12 {
        let old = cache.join(format!("lab/old {number}"));
        std::fs::create_dir(&old).expect("a folder");
        put(&old, "lab", "");
    }
    // What a name that is cut at its blank would be.
    let beside = dir.path().join("a");
    std::fs::create_dir(&beside).expect("a folder");
    let path = made_root(dir.path(), &cache, "#!/bin/sh\n");
    let output = run(&path, &cache);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(output.stdout, b"program --help\n", "{said}");
    assert!(beside.exists());
    let left = std::fs::read_dir(cache.join("lab"))
        .expect("a folder")
        .count();
    // Eight programs and the compiler's folder.
    assert_eq!(left, 9);
}

/// A root without the right to mount is told from all else that can fail.
#[test]
fn no_mounts_is_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = path_without(dir.path(), &[]);
    put(&path, "unshare", "#!/bin/sh\nexit 1\n");
    refused(&run(&path, &dir.path().join("cache")), "CAP_SYS_ADMIN");
}
