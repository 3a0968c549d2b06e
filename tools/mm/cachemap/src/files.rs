// SPDX-License-Identifier: GPL-2.0

//! Finding the files, opening them, and asking what of them is in memory.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Error, Result};
use nix::fcntl::OFlag;
use walkdir::WalkDir;

use crate::cachemap::{Failure, Source};
use crate::run::{tidy, Counts, Run};

/// How to look.
#[derive(Clone, Copy)]
pub struct Options {
    /// Stay on the file system of each directory that is named.
    pub one_file_system: bool,
    /// Keep all runs, not only the shared ones.
    pub keep_runs: bool,
    /// Bytes of a page.
    pub page: u64,
}

/// A file, and what of it is in memory.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// As it was named, or below the directory that was named.
    pub path: PathBuf,
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Pages.
    pub counts: Counts,
    /// In order; only the shared ones unless all were to be kept.
    pub runs: Vec<Run>,
}

/// What could not be looked at, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub path: PathBuf,
    pub reason: String,
}

/// All that was found.
#[derive(Default)]
pub struct Collected {
    pub files: Vec<Found>,
    pub troubles: Vec<Trouble>,
}

/// Looks at all files that are named, and at those below the directories that are named; each
/// inode once, by the name that it is found by first.
///
/// `tell` is called for each trouble at once, as all may take long.
pub fn collect(
    paths: &[PathBuf],
    options: Options,
    source: &mut dyn Source,
    tell: &mut dyn FnMut(&Trouble),
) -> Collected {
    let mut collector = Collector {
        options,
        source,
        tell,
        inodes: HashSet::new(),
        collected: Collected::default(),
    };
    for path in paths {
        if collector.named(path).is_break() {
            break;
        }
    }
    collector.collected
}

/// To go on with the next one, or to end because no file can be looked at.
type Flow = std::ops::ControlFlow<()>;

struct Collector<'a> {
    options: Options,
    source: &'a mut dyn Source,
    tell: &'a mut dyn FnMut(&Trouble),
    /// `st_dev` and `st_ino`.
    inodes: HashSet<(u64, u64)>,
    collected: Collected,
}

impl Collector<'_> {
    fn named(&mut self, path: &Path) -> Flow {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.below(path, metadata.dev()),
            Ok(metadata) => match regular(&metadata) {
                Ok(()) => self.one(path, OFlag::empty(), None),
                Err(error) => self.trouble(path, &error),
            },
            Err(error) => self.trouble(path, &error.into()),
        }
    }

    fn below(&mut self, folder: &Path, dev: u64) -> Flow {
        let walk = WalkDir::new(folder)
            .same_file_system(self.options.one_file_system)
            .sort_by_file_name();
        // A file may be a mount point, too.
        let only = self.options.one_file_system.then_some(dev);
        for entry in walk {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    // It may have been replaced since.
                    self.one(entry.path(), OFlag::O_NOFOLLOW, only)?;
                }
                Ok(_) => {}
                Err(error) => {
                    let path = error.path().unwrap_or(folder).to_path_buf();
                    let error = match error.into_io_error() {
                        Some(error) => error.into(),
                        None => Error::msg("the directory contains itself"),
                    };
                    self.trouble(&path, &error)?;
                }
            }
        }
        Flow::Continue(())
    }

    fn one(&mut self, path: &Path, flags: OFlag, only: Option<u64>) -> Flow {
        match self.look(path, flags, only) {
            Ok(Some(found)) => self.collected.files.push(found),
            Ok(None) => {}
            Err(error) => {
                self.trouble(path, &error)?;
                // If it were only this file, some file would have been looked at.  The same line
                // for each of many files would help nobody.
                let failure = error.downcast_ref::<Failure>();
                if failure.is_some_and(|f| f.is_unsupported()) && self.collected.files.is_empty() {
                    return Flow::Break(());
                }
            }
        }
        Flow::Continue(())
    }

    /// None if it is to be left out.
    fn look(&mut self, path: &Path, flags: OFlag, only: Option<u64>) -> Result<Option<Found>> {
        let file = open(path, flags)?;
        let metadata = file.metadata()?;
        regular(&metadata)?;
        let (dev, ino) = (metadata.dev(), metadata.ino());
        if only.is_some_and(|only| only != dev) || !self.inodes.insert((dev, ino)) {
            return Ok(None);
        }
        let mut runs = tidy(&self.source.runs(&file)?, self.options.page);
        let counts = Counts::of(&runs);
        if !self.options.keep_runs {
            runs.retain(Run::is_shared);
            runs.shrink_to_fit();
        }
        // Of a file that grows, the size now goes better with what was told.
        let size = file.metadata()?.len();
        Ok(Some(Found {
            path: path.to_path_buf(),
            dev,
            ino,
            size,
            counts,
            runs,
        }))
    }

    fn trouble(&mut self, path: &Path, error: &Error) -> Flow {
        let trouble = Trouble {
            path: path.to_path_buf(),
            reason: format!("{error:#}"),
        };
        (self.tell)(&trouble);
        self.collected.troubles.push(trouble);
        Flow::Continue(())
    }
}

/// Opens without waiting for anything, should it be no regular file.
fn open(path: &Path, flags: OFlag) -> Result<File> {
    let flags = flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
        .context("cannot open it")
}

fn regular(metadata: &fs::Metadata) -> Result<()> {
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_fifo() => "a fifo",
        () if kind.is_socket() => "a socket",
        () if kind.is_char_device() => "a character device",
        () if kind.is_block_device() => "a block device",
        () => "something else",
    };
    bail!("neither a regular file nor a directory, but {what}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::errno::Errno;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;
    use crate::cachemap::{CachemapRun, CACHEMAP_SHARED};

    /// A kernel that has the first page of each file shared and the second one not, and fails for
    /// files of the size that is asked for.
    struct Fake {
        fails: Option<(u64, Errno)>,
        asked: usize,
    }

    impl Source for Fake {
        fn runs(&mut self, file: &File) -> Result<Vec<CachemapRun>, Failure> {
            self.asked += 1;
            let size = file.metadata().unwrap().len();
            match self.fails {
                Some((fails, errno)) if fails == size => Err(Failure::Errno(errno)),
                _ => Ok(vec![
                    CachemapRun {
                        offset: 4096,
                        length: 4096,
                        ..CachemapRun::default()
                    },
                    CachemapRun {
                        length: 4096,
                        id: 1,
                        flags: CACHEMAP_SHARED,
                        sharers: 1,
                        offset: 0,
                    },
                ]),
            }
        }
    }

    fn looked(paths: &[PathBuf], fails: Option<(u64, Errno)>) -> (Collected, usize, Vec<Trouble>) {
        let options = Options {
            one_file_system: true,
            keep_runs: false,
            page: 4096,
        };
        let mut told = Vec::new();
        let mut fake = Fake { fails, asked: 0 };
        let all = collect(paths, options, &mut fake, &mut |t| told.push(t.clone()));
        (all, fake.asked, told)
    }

    fn names(all: &Collected, folder: &Path) -> Vec<String> {
        let name = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
        all.files.iter().map(|f| name(&f.path)).collect()
    }

    /// In a directory: regular files, each inode once, nothing else, and no fifo is waited for.
    #[test]
    fn walks_directories() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("b/deep")).unwrap();
        fs::write(at("b/deep/file"), "12345").unwrap();
        fs::write(at("a"), "").unwrap();
        fs::hard_link(at("b/deep/file"), at("z")).unwrap();
        symlink(at("a"), at("link")).unwrap();
        symlink(folder.path(), at("b/round")).unwrap();
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();

        let paths = [folder.path().to_path_buf(), at("a"), folder.path().into()];
        let (all, asked, told) = looked(&paths, None);
        assert_eq!(names(&all, folder.path()), ["a", "b/deep/file"]);
        assert_eq!((asked, told), (2, vec![]));
        let file = &all.files[1];
        assert_eq!(file.size, 5);
        assert_eq!((file.counts.resident, file.counts.shared), (2, 1));
        // What is not shared need not be kept.
        assert_eq!(file.runs.len(), 1);
        assert!(file.runs[0].is_shared());
    }

    /// A link that is named is meant; a fifo that is named is an error, as what is not there; and
    /// the other files are looked at all the same.
    #[test]
    fn named_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "1").unwrap();
        symlink(at("file"), at("link")).unwrap();
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        let (all, _, told) = looked(&[at("none"), at("fifo"), at("link")], None);
        assert_eq!(names(&all, folder.path()), ["link"]);
        assert_eq!(told, all.troubles);
        assert_eq!(told[0].path, at("none"));
        assert!(told[0].reason.contains("No such file"), "{told:?}");
        assert!(told[1].reason.ends_with("a fifo"), "{told:?}");
        assert_eq!(told.len(), 2);
    }

    /// One file that fails is told, and the others are looked at.
    #[test]
    fn one_fails() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a", "1"), ("b", "12"), ("c", "1")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let paths = [folder.path().to_path_buf()];
        for errno in [Errno::EPERM, Errno::EOPNOTSUPP, Errno::ENOTTY] {
            let (all, asked, told) = looked(&paths, Some((2, errno)));
            assert_eq!(names(&all, folder.path()), ["a", "c"]);
            assert_eq!((asked, told.len()), (3, 1));
            assert!(told[0].path.ends_with("b"));
        }
    }

    /// A kernel that cannot tell is asked once, not for each of a million files.
    #[test]
    fn no_such_kernel() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(folder.path().join(name), "1").unwrap();
        }
        let paths = [folder.path().to_path_buf(), folder.path().join("c")];
        let (all, asked, told) = looked(&paths, Some((1, Errno::ENOTTY)));
        assert_eq!((all.files.len(), asked, told.len()), (0, 1, 1));
        assert!(told[0].reason.contains("CONFIG_PAGE_CACHE_SHARE"));
    }
}
