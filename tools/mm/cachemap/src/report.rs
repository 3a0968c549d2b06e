// SPDX-License-Identifier: GPL-2.0

//! What all outputs tell: the files with what they share, in the order that was asked for, and the
//! totals.

use std::cmp::Reverse;

use clap::ValueEnum;

use crate::files::{Collected, Found, Trouble};
use crate::run::{Counts, Run};
use crate::share::{share, Claim, Sharer, Shares, Sharing};

/// In which order files are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// By name
    Path,
    /// Largest files first
    Size,
    /// Those with most in the page cache first
    Resident,
    /// Those that save most first
    Saved,
    /// Those with most shared memory first
    Shared,
}

/// All that is known.
pub struct Report {
    /// As they were found.
    pub files: Vec<Found>,
    /// Of each of the files.
    pub shares: Vec<Shares>,
    /// Which files to show, in order.
    pub shown: Vec<usize>,
    pub total: Total,
    pub troubles: Vec<Trouble>,
    /// Bytes of a page.
    pub page: u64,
}

/// Of all files, also those that are not shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// How many.
    pub files: u64,
    /// Bytes.
    pub size: u64,
    /// Pages; memory that several files have is counted for each.
    pub counts: Counts,
    /// Pages of memory that is shared, each counted once.
    pub shared_memory: u64,
}

impl Total {
    /// Pages of memory that the files are in.
    pub fn memory(&self) -> u64 {
        self.counts.private.saturating_add(self.shared_memory)
    }

    /// Pages that there would be more if nothing were shared among these files.
    pub fn saved(&self) -> u64 {
        self.counts.resident.saturating_sub(self.memory())
    }
}

fn claims(file: &Found) -> Sharer {
    let claim = |run: &Run| Claim {
        id: run.id,
        pages: run.pages,
        sharers: run.sharers,
    };
    let shared = file.runs.iter().filter(|run| run.is_shared());
    Sharer {
        dev: file.dev,
        claims: shared.map(claim).collect(),
    }
}

impl Report {
    /// Puts it together; `top` is how many files to show at most.
    pub fn new(collected: Collected, page: u64, sort: Sort, top: Option<usize>) -> Self {
        let files = collected.files;
        let sharers: Vec<Sharer> = files.iter().map(claims).collect();
        let Sharing {
            files: shares,
            memory,
            ..
        } = share(&sharers);

        let mut total = Total {
            files: files.len() as u64,
            shared_memory: memory,
            ..Total::default()
        };
        for file in &files {
            total.size = total.size.saturating_add(file.size);
            total.counts.add(&file.counts);
        }

        let mut shown: Vec<usize> = (0..files.len()).collect();
        shown.sort_by(|&one, &two| files[one].path.cmp(&files[two].path));
        match sort {
            Sort::Path => {}
            Sort::Size => shown.sort_by_key(|&n| Reverse(files[n].size)),
            Sort::Resident => shown.sort_by_key(|&n| Reverse(files[n].counts.resident)),
            Sort::Shared => shown.sort_by_key(|&n| Reverse(files[n].counts.shared)),
            Sort::Saved => {
                shown.sort_by(|&one, &two| shares[two].saved.total_cmp(&shares[one].saved));
            }
        }
        shown.truncate(top.unwrap_or(usize::MAX));
        Report {
            files,
            shares,
            shown,
            total,
            troubles: collected.troubles,
            page,
        }
    }

    /// The files to show, with what they share.
    pub fn shown(&self) -> impl Iterator<Item = (&Found, &Shares)> {
        self.shown
            .iter()
            .map(|&n| (&self.files[n], &self.shares[n]))
    }

    /// Bytes of so many pages.
    pub fn bytes(&self, pages: u64) -> u64 {
        pages.saturating_mul(self.page)
    }

    /// Bytes of so many pages and parts of pages.
    pub fn about_bytes(&self, pages: f64) -> u64 {
        // Never negative but for what is lost in rounding.
        (pages.max(0.0) * self.page as f64).round() as u64
    }
}

/// Reports that the tests of the outputs show.
#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::cachemap::{CACHEMAP_DAX, CACHEMAP_DIRTY, CACHEMAP_SHARED};

    pub const PAGE: u64 = 4096;

    pub fn found(path: &str, ino: u64, pages: u64, runs: &[(u64, u64, u64, u32, u32)]) -> Found {
        let run = |&(first, pages, id, flags, sharers)| Run {
            first,
            pages,
            id,
            flags,
            sharers,
        };
        let runs: Vec<Run> = runs.iter().map(run).collect();
        Found {
            path: path.into(),
            dev: 7,
            ino,
            size: pages * PAGE,
            counts: Counts::of(&runs),
            runs,
        }
    }

    /// Two clones, the second of which was written to; a file on DAX; an empty one; one that
    /// shares with a file that was not given; and one that failed.
    pub fn sample() -> Collected {
        const S: u32 = CACHEMAP_SHARED;
        Collected {
            files: vec![
                found("/c/one", 1, 100, &[(0, 100, 1000, S, 2)]),
                found(
                    "/c/two",
                    2,
                    100,
                    &[(0, 60, 1000, S, 2), (60, 10, 0, CACHEMAP_DIRTY, 0)],
                ),
                found("/b/dax", 3, 50, &[(0, 50, 0, CACHEMAP_DAX, 0)]),
                found("/a/empty", 4, 0, &[]),
                found("/a/lonely", 5, 8, &[(0, 4, 5, S, 3), (6, 2, 50, S, 1)]),
            ],
            troubles: vec![Trouble {
                path: "/c/three".into(),
                reason: "not permitted".into(),
            }],
        }
    }

    pub fn report(sort: Sort, top: Option<usize>) -> Report {
        Report::new(sample(), PAGE, sort, top)
    }

    fn order(sort: Sort, top: Option<usize>) -> Vec<String> {
        let report = report(sort, top);
        let name = |(file, _): (&Found, &Shares)| file.path.display().to_string();
        report.shown().map(name).collect()
    }

    /// What is sorted by is in descending order, but for names; what is equal is by name.
    #[test]
    fn sorts() {
        let by_name = ["/a/empty", "/a/lonely", "/b/dax", "/c/one", "/c/two"];
        assert_eq!(order(Sort::Path, None), by_name);
        assert_eq!(
            order(Sort::Size, None),
            ["/c/one", "/c/two", "/b/dax", "/a/lonely", "/a/empty"]
        );
        assert_eq!(
            order(Sort::Resident, Some(3)),
            ["/c/one", "/c/two", "/a/lonely"]
        );
        assert_eq!(order(Sort::Saved, Some(1)), ["/c/one"]);
        assert_eq!(order(Sort::Shared, Some(2)), ["/c/one", "/c/two"]);
        assert_eq!(order(Sort::Path, Some(0)), Vec::<String>::new());
    }

    /// The totals are of all files, also of those that are not shown, and DAX is not in them.
    #[test]
    fn totals() {
        let total = report(Sort::Resident, Some(1)).total;
        assert_eq!(total.files, 5);
        assert_eq!(total.counts.resident, 176);
        assert_eq!((total.counts.shared, total.counts.private), (166, 10));
        assert_eq!((total.counts.dirty, total.counts.dax), (10, 50));
        assert_eq!(total.shared_memory, 106);
        assert_eq!((total.memory(), total.saved()), (116, 60));
    }
}
