// SPDX-License-Identifier: GPL-2.0

//! The runs of a file as the rest of the program has them: in pages, in order, not overlapping,
//! whatever the kernel said; and what they add up to.

use crate::cachemap::{
    CachemapRun, CACHEMAP_DAX, CACHEMAP_DIRTY, CACHEMAP_SHARED, CACHEMAP_WRITEBACK,
};

/// What a page in memory is.  Of several things that are true the first is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Memory of the device itself.
    Dax,
    /// To be written to the disk.
    Dirty,
    /// Being written to the disk.
    Writeback,
    /// Other files have it, too.
    Shared,
    /// Other files could have it, too, but none has it now.
    Alone,
    /// Nobody else's.
    Private,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] = [
        Kind::Dax,
        Kind::Dirty,
        Kind::Writeback,
        Kind::Shared,
        Kind::Alone,
        Kind::Private,
    ];
}

/// Pages of a file that are in memory, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First page in the file.
    pub first: u64,
    /// Pages; at least 1.
    pub pages: u64,
    /// Of shared memory: which.  Page n of the run has `id + n`.
    pub id: u64,
    /// `CACHEMAP_*`.
    pub flags: u32,
    /// Of shared memory: how many pages of files name each page of it, on average, rounded up.
    pub sharers: u32,
}

impl Run {
    /// The page after the last one.
    pub fn end(&self) -> u64 {
        self.first + self.pages
    }

    /// Is it page cache of a home?  The device's own memory is never, as it takes no page cache
    /// that sharing could save.
    pub fn is_shared(&self) -> bool {
        self.flags & (CACHEMAP_SHARED | CACHEMAP_DAX) == CACHEMAP_SHARED
    }

    /// What its pages are.
    pub fn kind(&self) -> Kind {
        match self.flags {
            flags if flags & CACHEMAP_DAX != 0 => Kind::Dax,
            flags if flags & CACHEMAP_DIRTY != 0 => Kind::Dirty,
            flags if flags & CACHEMAP_WRITEBACK != 0 => Kind::Writeback,
            flags if flags & CACHEMAP_SHARED == 0 => Kind::Private,
            _ if self.sharers > 1 => Kind::Shared,
            _ => Kind::Alone,
        }
    }
}

/// Puts what the kernel said in order; `page` is the size of a page in bytes.
///
/// A page of the file that was told twice is in the run that begins first, so that it is counted
/// once.  Files change while they are looked at: runs after the end of the file stay.
pub fn tidy(told: &[CachemapRun], page: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = told
        .iter()
        .filter(|run| run.length > 0)
        .map(|run| {
            let first = run.offset / page;
            let end = run.offset.saturating_add(run.length).div_ceil(page);
            Run {
                first,
                pages: end - first,
                id: run.id,
                flags: run.flags,
                sharers: run.sharers,
            }
        })
        .collect();
    runs.sort_by_key(|run| run.first);
    let mut end = 0;
    runs.retain_mut(|run| {
        let known = end.max(run.first) - run.first;
        if known >= run.pages {
            return false;
        }
        run.first += known;
        run.pages -= known;
        if run.is_shared() {
            run.id = run.id.saturating_add(known);
        }
        end = run.end();
        true
    });
    runs
}

/// How many pages of a file are what.  Those of the device's own memory are in `dax` only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In the page cache: `shared` and `private`.
    pub resident: u64,
    /// Of a home: other files may have it, too.
    pub shared: u64,
    /// Not of a home.
    pub private: u64,
    /// To be written to the disk.
    pub dirty: u64,
    /// Being written to the disk.
    pub writeback: u64,
    /// The device's own memory.
    pub dax: u64,
}

impl Counts {
    /// What runs that do not overlap add up to.
    pub fn of(runs: &[Run]) -> Self {
        let mut counts = Counts::default();
        for run in runs {
            let add = |to: &mut u64, if_it_is: bool| {
                if if_it_is {
                    *to = to.saturating_add(run.pages);
                }
            };
            let dax = run.flags & CACHEMAP_DAX != 0;
            add(&mut counts.dax, dax);
            add(&mut counts.resident, !dax);
            add(&mut counts.shared, run.is_shared());
            add(&mut counts.private, !dax && !run.is_shared());
            add(&mut counts.dirty, !dax && run.flags & CACHEMAP_DIRTY != 0);
            add(
                &mut counts.writeback,
                !dax && run.flags & CACHEMAP_WRITEBACK != 0,
            );
        }
        counts
    }

    /// Adds those of another file.
    pub fn add(&mut self, other: &Counts) {
        for (to, from) in [
            (&mut self.resident, other.resident),
            (&mut self.shared, other.shared),
            (&mut self.private, other.private),
            (&mut self.dirty, other.dirty),
            (&mut self.writeback, other.writeback),
            (&mut self.dax, other.dax),
        ] {
            *to = to.saturating_add(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(offset: u64, length: u64, id: u64, flags: u32, sharers: u32) -> CachemapRun {
        CachemapRun {
            offset,
            length,
            id,
            flags,
            sharers,
        }
    }

    fn run(first: u64, pages: u64, id: u64, flags: u32, sharers: u32) -> Run {
        Run {
            first,
            pages,
            id,
            flags,
            sharers,
        }
    }

    /// Runs in any order come out in order, and a page that is in two of them is counted once,
    /// with the memory that it has.
    #[test]
    fn unordered_and_overlapping_runs() {
        let runs = tidy(
            &[
                told(16384, 8192, 100, CACHEMAP_SHARED, 2),
                told(0, 12288, 0, 0, 0),
                told(4096, 4096, 0, CACHEMAP_DIRTY, 0),
                told(8192, 12288, 50, CACHEMAP_SHARED, 3),
                told(40960, 0, 7, CACHEMAP_SHARED, 3),
            ],
            4096,
        );
        assert_eq!(
            runs,
            [
                run(0, 3, 0, 0, 0),
                run(3, 2, 51, CACHEMAP_SHARED, 3),
                run(5, 1, 101, CACHEMAP_SHARED, 2),
            ]
        );
        let counts = Counts::of(&runs);
        assert_eq!((counts.resident, counts.private, counts.shared), (6, 3, 3));
        assert_eq!(counts.dirty, 0);
    }

    /// Numbers that no kernel should give neither overflow nor are taken for nothing.
    #[test]
    fn odd_numbers() {
        let runs = tidy(
            &[
                told(u64::MAX - 10, 4096, u64::MAX, CACHEMAP_SHARED, u32::MAX),
                told(100, 1, 0, 0, 0),
                told(u64::MAX - 4096, u64::MAX, u64::MAX, CACHEMAP_SHARED, 0),
            ],
            4096,
        );
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[0], run(0, 1, 0, 0, 0));
        let whole = tidy(&[told(0, u64::MAX, 1, CACHEMAP_SHARED, 1); 3], 4096);
        assert_eq!(whole.len(), 1);
        assert_eq!(Counts::of(&whole).shared, 1 << 52);
    }

    /// The device's own memory is no page cache, whatever else is said of it.
    #[test]
    fn dax_is_not_resident() {
        let runs = tidy(
            &[
                told(0, 8192, 5, CACHEMAP_DAX | CACHEMAP_SHARED, 2),
                told(8192, 4096, 0, CACHEMAP_DAX | CACHEMAP_DIRTY, 0),
                told(12288, 4096, 0, CACHEMAP_DIRTY | CACHEMAP_WRITEBACK, 0),
            ],
            4096,
        );
        let counts = Counts::of(&runs);
        let expected = Counts {
            resident: 1,
            private: 1,
            dirty: 1,
            writeback: 1,
            dax: 3,
            ..Counts::default()
        };
        assert_eq!(counts, expected);
        assert!(!runs[0].is_shared());
    }

    /// Each page is of one kind, and what has to be done is told before with whom it is shared.
    #[test]
    fn kinds() {
        let kind = |flags, sharers| run(0, 1, 0, flags, sharers).kind();
        assert_eq!(kind(0, 0), Kind::Private);
        assert_eq!(kind(CACHEMAP_SHARED, 1), Kind::Alone);
        assert_eq!(kind(CACHEMAP_SHARED, 2), Kind::Shared);
        assert_eq!(kind(CACHEMAP_SHARED | CACHEMAP_DIRTY, 2), Kind::Dirty);
        assert_eq!(kind(CACHEMAP_DIRTY | CACHEMAP_WRITEBACK, 0), Kind::Dirty);
        assert_eq!(kind(CACHEMAP_WRITEBACK, 0), Kind::Writeback);
        assert_eq!(kind(CACHEMAP_DAX | CACHEMAP_DIRTY, 0), Kind::Dax);
        // What is in no CACHEMAP_* yet does not matter.
        assert_eq!(kind(1 << 30, 0), Kind::Private);
    }
}
