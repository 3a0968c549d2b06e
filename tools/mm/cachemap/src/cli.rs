// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::path::PathBuf;

use clap::{ColorChoice, Parser};

use crate::report::Sort;
use crate::text::Sizes;

const LONG: &str = "\
Shows what of files is in the page cache, and with which files it is shared.

Files that share blocks on disk (reflink clones: \"cp --reflink\", FICLONE) can share one \
copy in memory, too, if the kernel is built with CONFIG_PAGE_CACHE_SHARE \
(Documentation/mm/page_cache/homes.rst in its source). Such memory is in the \"home\" of \
the block device. cachemap asks the kernel (ioctl FS_IOC_CACHEMAP) which pages of each \
file are in memory, and which of them are the same page of memory.

PATHs are files, or directories, of which all regular files are looked at, to any depth. \
Symbolic links are followed if they are named, not in directories. A file with several \
names (hard links) is looked at once. A file is opened for reading, and its owner, or \
who may write to it, is told; nothing of it is read, and nothing of it becomes cached by \
that.

The table has, in this order: the file's size; what of it is in the page cache \
(resident), and how much of that is of a home, so that other files can have it, too \
(shared), or the file's own (private); what is still to be written to the disk (dirty; if \
there is any, also what is being written now: writeback); the memory of the device itself \
that the file is mapped from (DAX), which takes no page cache and is in no other column; \
and with which file that was asked about it shares most memory, and how much. \"+N more\" \
are other files that were asked about. \"others\" are files, in memory and not asked \
about, that must have some of it: more pages of files name that memory than those that \
were asked about do. \"itself\": several pages of the file are the same memory. \"nobody \
now\": other files could share it, but none has it in memory.

Among the files, memory that several have is counted for each in \"resident\" and in the \
total of the columns; the sentence below says how much memory it is in fact. With more \
than some thousand clones that share in many different ways, the largest are looked for \
among a part of them only (\"+N or more\"); the amounts are right all the same.

What is told is of the moment in which each file is looked at. It may change at once.";

/// The fields, one after the other; a test looks for each of them.
pub const JSON: &str = "\
JSON (--json): one object, with sizes in bytes:
  files   list, in the order of --sort, the first of --top:
    path (and path_bytes, a list of numbers, if it is not UTF-8), dev, ino, size;
    resident = shared + private; dirty, writeback: parts of it; dax: not in it;
    alone: part of shared that nobody else has now;
    itself: part of shared that is the memory of another page of the same file;
    saved: its part of what sharing saves, if all that have a page pay equal parts;
    others: true if files that were not asked about must share some of it;
    shared_with: list of path, bytes: the files that share most with it, most first;
    shared_with_more: how many more of the files that were asked about share with it;
    shared_with_exact: false if there may be more, and some may share more;
    runs (with --runs or --map): list of offset, length, shared, dirty, writeback, dax,
      id (which memory, in pages: equal for two files of the same dev if it is the same
      memory) and sharers (how many pages of files name each page of it, on average,
      rounded up); both null if it is not shared
  total   of all files, also those not shown:
    files: how many; size; resident_sum: of all resident;
    memory = private + shared_memory: what that is in fact;
    saved = resident_sum - memory; shared: of all shared;
    shared_memory: the same with each page of memory counted once;
    private, dirty, writeback, dax
  errors  list of path, reason";

const EXAMPLES: &str = "\
Examples:
  cachemap base.img clone1.img clone2.img
          who shares what with whom
  cachemap --sort saved --top 20 /var/lib/machines
          the files that save most
  cachemap --map --color always clone1.img | less -R
          where in the file
  cachemap --json -x / | jq .total.saved
          bytes that sharing saves among the files of the root file system

Exit status: 0 done; 1 a file could not be looked at (what and why is on standard error, \
and the others are shown), or the kernel cannot tell; 2 wrong arguments.";

/// What --help says behind the options.
fn after() -> String {
    format!("{JSON}\n\n{EXAMPLES}")
}

/// Shows what of files is in the page cache, and with which files it is shared
#[derive(Parser, Debug)]
#[command(name = "cachemap", version, long_about = LONG, after_long_help = after())]
#[command(max_term_width = 90)]
pub struct Cli {
    /// Files, or directories with files
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Stay on the file system of each directory that is named
    #[arg(short = 'x', long)]
    pub one_file_system: bool,
    /// Draw each file as a strip of its pages, as wide as the terminal
    ///
    /// A cell is a page, or several if the file is larger; then it shows what most of them are.
    #[arg(long)]
    pub map: bool,
    /// Draw that many cells at most [default: the terminal's columns, or 80]
    #[arg(long, value_name = "N", requires = "map")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub width: Option<u16>,
    /// Write JSON, for programs; below is what
    #[arg(long)]
    pub json: bool,
    /// With the runs of pages of each file in the JSON
    #[arg(long, requires = "json")]
    pub runs: bool,
    /// In colour or not; "auto": on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// In which order [default: path, or resident with --top]
    #[arg(long, value_name = "BY", value_enum)]
    pub sort: Option<Sort>,
    /// Show the first N files of that order only; the total is of all
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// Exact numbers, in bytes
    #[arg(long)]
    pub bytes: bool,
}

impl Cli {
    /// In which order.
    pub fn sort(&self) -> Sort {
        match (self.sort, self.top) {
            (Some(sort), _) => sort,
            (None, Some(_)) => Sort::Resident,
            (None, None) => Sort::Path,
        }
    }

    /// How sizes are written.
    pub fn sizes(&self) -> Sizes {
        match self.bytes {
            true => Sizes::Bytes,
            false => Sizes::Human,
        }
    }

    /// Are the runs of the files shown in some way?
    pub fn shows_runs(&self) -> bool {
        self.map || self.runs
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// clap's own checks.
    #[test]
    fn is_consistent() {
        Cli::command().debug_assert();
    }

    /// Wrong arguments have an exit status of their own.
    #[test]
    fn wrong_arguments() {
        for wrong in [
            &["cachemap"][..],
            &["cachemap", "--width", "9", "a"],
            &["cachemap", "--map", "--width", "0", "a"],
            &["cachemap", "--runs", "a"],
            &["cachemap", "--sort", "weight", "a"],
            &["cachemap", "--top", "-1", "a"],
        ] {
            let error = Cli::try_parse_from(wrong).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong:?}");
        }
    }

    /// The few largest are wanted if a few are wanted, unless something else is said.
    #[test]
    fn order() {
        let sort = |args: &[&str]| {
            let all = ["cachemap", "a"].iter().chain(args);
            Cli::try_parse_from(all).unwrap().sort()
        };
        assert_eq!(sort(&[]), Sort::Path);
        assert_eq!(sort(&["--top", "3"]), Sort::Resident);
        assert_eq!(sort(&["--top", "3", "--sort", "saved"]), Sort::Saved);
    }
}
