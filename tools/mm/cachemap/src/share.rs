// SPDX-License-Identifier: GPL-2.0

//! Who shares what memory with whom.
//!
//! What a file has of shared memory are [`Claim`]s: intervals of ids, on a device.  The ends of all
//! claims are sorted, and one sweep over them, with the set of files that have claims where it is,
//! tells how much memory there is: O(n log n) for n claims, however many files share it.
//!
//! With whom a file shares most could take a record for each pair of files, a million for 1000
//! clones.  Instead, the sweep adds up the memory that has the same *set* of files ([`Class`]); a
//! set is told from others by a hash that changes with each file that enters or leaves it.  1000
//! whole clones are one class, with 1000 members.  From the classes the partners of one file after
//! the other are added up, in one array that all files use, and only the [`KEPT`] largest are
//! kept; the rest is counted.
//!
//! Two limits keep that small when many files share in many different ways.  At most [`RECORDS`]
//! members of classes are recorded; and of a class only as many members are looked at for each
//! file as [`STEPS`] additions allow, the first ones of those given.  When a limit is reached, what
//! was added up only chooses candidates (a file also has as a candidate the one that it was seen
//! with in the sweep, so that it is not without any), and the overlap of the candidates is
//! measured, so that what is told of a partner is right all the same; but another file might share
//! more, and there may be more partners than were counted.  Then [`Shares::at_least`] is set.
//!
//! Everything here is in pages.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

/// Partners that are kept of a file.
pub const KEPT: usize = 8;
/// Members of classes that are recorded: 16 MiB of them.
const RECORDS: usize = 1 << 21;
/// Additions for all files, as long as each can look at [`LOOK`] members of each of its classes.
const STEPS: u64 = 1 << 26;
/// Members of a class that are looked at for each file, at least.
const LOOK: u64 = 64;

/// Shared memory that a file has in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Of the first page.
    pub id: u64,
    /// Pages.
    pub pages: u64,
    /// How many pages of files name each of them, on average, rounded up.
    pub sharers: u32,
}

impl Claim {
    /// The id after the last one.
    fn end(&self) -> u64 {
        self.id.saturating_add(self.pages)
    }
}

/// A file, and what it has of shared memory.
#[derive(Clone, Debug, Default)]
pub struct Sharer {
    /// Where the ids are valid.
    pub dev: u64,
    /// In any order; the same memory may be in several.
    pub claims: Vec<Claim>,
}

/// Another file that has memory of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partner {
    /// Its number among those given.
    pub file: usize,
    /// Pages of memory that both have.
    pub pages: u64,
}

/// With whom a file shares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shares {
    /// Those that share most with it, most first.
    pub partners: Vec<Partner>,
    /// How many other partners there are among the files given.
    pub more: u64,
    /// There may be yet more, and some may share more.
    pub at_least: bool,
    /// Pages of the file whose memory is that of another page of the same file.
    pub itself: u64,
    /// Pages whose memory nobody else has now, given or not.
    pub alone: u64,
    /// There are files that were not given and have some of it.
    pub others: bool,
    /// Its part of the pages saved, when all pages of files that have a page of memory have an
    /// equal part of that.
    pub saved: f64,
}

/// What it took, which the tests limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Classes that there were.
    pub classes: usize,
    /// Their members, and all partners and candidates that were kept.
    pub records: usize,
    /// Additions and other steps after the sweep.
    pub steps: u64,
}

/// What all files share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sharing {
    /// Of each file.
    pub files: Vec<Shares>,
    /// Pages of memory that are shared, each counted once.
    pub memory: u64,
    /// What it took.
    pub work: Work,
}

/// The limits, which tests make smaller.
#[derive(Clone, Copy)]
struct Limits {
    records: usize,
    steps: u64,
    look: u64,
}

/// Finds out who shares what with whom.
pub fn share(files: &[Sharer]) -> Sharing {
    share_within(
        files,
        Limits {
            records: RECORDS,
            steps: STEPS,
            look: LOOK,
        },
    )
}

fn share_within(files: &[Sharer], limits: Limits) -> Sharing {
    let mut sweep = Sweep::new(files, limits);
    sweep.all();
    let mut sharing = Sharing {
        files: sweep.shares,
        memory: sweep.passed.once,
        work: Work {
            classes: sweep.classes.list.len(),
            records: sweep.classes.records + sweep.met.iter().map(Vec::len).sum::<usize>(),
            steps: 0,
        },
    };
    let mut partners = Partners::new(files, &sweep.classes, limits);
    for (number, shares) in sharing.files.iter_mut().enumerate() {
        partners.find(number, &sweep.met[number], shares);
        sharing.work.records += shares.partners.len();
    }
    sharing.work.steps = partners.steps;
    sharing
}

/// Memory that the same files have.
struct Class {
    pages: u64,
    /// Its members in [`Classes::members`], in the order of the files.
    begin: usize,
    end: usize,
}

#[derive(Default)]
struct Classes {
    list: Vec<Class>,
    members: Vec<u32>,
    /// By the hash of the set of files.
    by_hash: HashMap<u128, usize>,
    /// In which classes each file is.
    of_file: Vec<Vec<u32>>,
    records: usize,
    /// Some memory is in no class, for want of room.
    full: bool,
}

impl Classes {
    /// So many pages more that these files have; `hash` is of them.
    fn add(&mut self, hash: u128, active: &BTreeSet<u32>, pages: u64, limit: usize) {
        if let Some(class) = self
            .by_hash
            .get(&hash)
            .and_then(|at| self.list.get_mut(*at))
        {
            class.pages = class.pages.saturating_add(pages);
            return;
        }
        // Here and in the lists of the files.
        if self.records + 2 * active.len() > limit {
            self.full = true;
            return;
        }
        self.records += 2 * active.len();
        let number = self.list.len();
        let begin = self.members.len();
        self.members.extend(active);
        for file in active {
            self.of_file[*file as usize].push(number as u32);
        }
        self.list.push(Class {
            pages,
            begin,
            end: self.members.len(),
        });
        self.by_hash.insert(hash, number);
    }
}

/// What the sweep has gone over, in pages; the difference between two places is what is between.
#[derive(Clone, Copy, Default)]
struct Passed {
    /// Claims, each of them.
    claims: u128,
    /// Memory with one claim or more.
    once: u64,
    /// Memory with one claim.
    single: u64,
    /// Memory with one claim or more, each page divided by the number of claims.
    divided: f64,
}

/// The beginning or the end of a claim.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    dev: u64,
    id: u64,
    begins: bool,
    file: u32,
    claim: u32,
}

struct Sweep<'a> {
    files: &'a [Sharer],
    limits: Limits,
    shares: Vec<Shares>,
    classes: Classes,
    /// A few that each file was seen with.
    met: Vec<Vec<u32>>,
    passed: Passed,
    /// Claims that have begun and not ended: of all files, and of each.
    open: u64,
    open_of: Vec<u32>,
    /// The files that have some.
    active: BTreeSet<u32>,
    hash: u128,
    /// What was passed when the claim began.
    begun: Vec<Vec<Passed>>,
}

impl<'a> Sweep<'a> {
    fn new(files: &'a [Sharer], limits: Limits) -> Self {
        let begun = |file: &Sharer| vec![Passed::default(); file.claims.len()];
        Sweep {
            files,
            limits,
            shares: vec![Shares::default(); files.len()],
            classes: Classes {
                of_file: vec![Vec::new(); files.len()],
                ..Classes::default()
            },
            met: vec![Vec::new(); files.len()],
            passed: Passed::default(),
            open: 0,
            open_of: vec![0; files.len()],
            active: BTreeSet::new(),
            hash: 0,
            begun: files.iter().map(begun).collect(),
        }
    }

    fn all(&mut self) {
        let mut events = Vec::new();
        for (number, file) in self.files.iter().enumerate() {
            for (at, claim) in file.claims.iter().enumerate() {
                if claim.end() == claim.id {
                    continue;
                }
                let begin = Event {
                    dev: file.dev,
                    id: claim.id,
                    begins: true,
                    file: number as u32,
                    claim: at as u32,
                };
                let end = Event {
                    id: claim.end(),
                    begins: false,
                    ..begin
                };
                events.extend([begin, end]);
            }
        }
        // Ends are before beginnings in the same place, as false is less than true.
        events.sort_unstable();
        let mut last = 0;
        for event in events {
            // Nothing is open where the device changes.
            if self.open > 0 {
                self.pass(event.id - last);
            }
            last = event.id;
            if event.begins {
                self.begin(event);
            } else {
                self.end(event);
            }
        }
    }

    /// Goes over so many pages, in which nothing begins or ends.
    fn pass(&mut self, pages: u64) {
        if pages == 0 {
            return;
        }
        let passed = &mut self.passed;
        passed.claims += u128::from(pages) * u128::from(self.open);
        passed.once = passed.once.saturating_add(pages);
        if self.open == 1 {
            passed.single = passed.single.saturating_add(pages);
        }
        passed.divided += pages as f64 / self.open as f64;
        if self.active.len() > 1 {
            let limit = self.limits.records;
            self.classes.add(self.hash, &self.active, pages, limit);
        }
    }

    fn begin(&mut self, event: Event) {
        let file = event.file as usize;
        self.begun[file][event.claim as usize] = self.passed;
        self.open += 1;
        self.open_of[file] += 1;
        if self.open_of[file] > 1 {
            return;
        }
        // Of two files that overlap, the one that begins later finds somebody here; the other one
        // has found somebody, or is the only one here.
        if let Some(&other) = self.active.first() {
            for (one, two) in [(event.file, other), (other, event.file)] {
                let met = &mut self.met[one as usize];
                if met.len() < KEPT && !met.contains(&two) {
                    met.push(two);
                }
            }
        }
        self.active.insert(event.file);
        self.hash ^= hash_of(event.file);
    }

    fn end(&mut self, event: Event) {
        let number = event.file as usize;
        self.open -= 1;
        self.open_of[number] -= 1;
        if self.open_of[number] == 0 {
            self.active.remove(&event.file);
            self.hash ^= hash_of(event.file);
        }
        let claim = self.files[number].claims[event.claim as usize];
        let begun = self.begun[number][event.claim as usize];
        let pages = claim.end() - claim.id;
        let shares = &mut self.shares[number];
        shares.saved += pages as f64 - (self.passed.divided - begun.divided);
        match claim.sharers {
            0 | 1 => {
                shares.alone = shares
                    .alone
                    .saturating_add(self.passed.single - begun.single);
            }
            // The average is more than sharers - 1, as it was rounded up.  If the claims that are
            // known are not more than that, there are others.
            sharers => {
                let known = self.passed.claims - begun.claims;
                shares.others |= known <= u128::from(sharers - 1) * u128::from(pages);
            }
        }
    }
}

/// A number for a file; those of the files of a set, one XOR the other, tell the set from others.
/// 128 bits of a good mix (SplitMix64) keep different sets from having the same by chance.
fn hash_of(file: u32) -> u128 {
    let mix = |seed: u64| {
        let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let seed = u64::from(file) * 2 + 1;
    (u128::from(mix(seed)) << 64) | u128::from(mix(seed + 1))
}

/// The memory of a file, each page once: intervals in order that do not touch.
struct Memory {
    /// First id, id after the last one, and the pages of all intervals before.
    intervals: Vec<(u64, u64, u64)>,
    pages: u64,
}

impl Memory {
    fn of(file: &Sharer) -> Self {
        let mut claims: Vec<(u64, u64)> = file.claims.iter().map(|c| (c.id, c.end())).collect();
        claims.sort_unstable();
        let mut intervals: Vec<(u64, u64, u64)> = Vec::new();
        for (begin, end) in claims {
            match intervals.last_mut() {
                Some(last) if begin <= last.1 => last.1 = last.1.max(end),
                _ => intervals.push((begin, end, 0)),
            }
        }
        let mut pages = 0;
        for (begin, end, before) in &mut intervals {
            *before = pages;
            pages += *end - *begin;
        }
        Memory { intervals, pages }
    }

    /// Pages with ids less than `id`; `from` is an interval that is not after it, and is moved on.
    fn before(&self, id: u64, from: &mut usize, steps: &mut u64) -> u64 {
        // In leaps that become longer, as there are few intervals to go over if the other file has
        // as many, and many if it has few.
        let mut leap = 1;
        while self.intervals.get(*from + leap).is_some_and(|i| i.0 < id) {
            *from += leap;
            leap *= 2;
            *steps += 1;
        }
        let rest = &self.intervals[*from..self.intervals.len().min(*from + leap)];
        let count = rest.partition_point(|interval| interval.0 < id);
        *steps += u64::from(leap.ilog2()) + 1;
        *from += count.saturating_sub(1);
        match self.intervals.get(*from) {
            Some(&(begin, end, before)) if begin < id => before + (end.min(id) - begin),
            Some(&(_, _, before)) => before,
            None => 0,
        }
    }

    /// Pages that both have.
    fn overlap(&self, other: &Memory, steps: &mut u64) -> u64 {
        let (few, many) = match self.intervals.len() < other.intervals.len() {
            true => (self, other),
            false => (other, self),
        };
        let mut from = 0;
        let mut pages = 0;
        for &(begin, end, _) in &few.intervals {
            let before = many.before(begin, &mut from, steps);
            pages += many.before(end, &mut from, steps) - before;
        }
        pages
    }
}

/// Finds the partners of one file after the other.
struct Partners<'a> {
    files: &'a [Sharer],
    classes: &'a Classes,
    /// Members of a class that are looked at.
    look: usize,
    /// Pages that each file shares with the one that is looked at, and which are not 0.
    pages: Vec<u64>,
    found: Vec<u32>,
    /// Made when it is asked for the first time.
    memory: Vec<Option<Memory>>,
    steps: u64,
}

impl<'a> Partners<'a> {
    fn new(files: &'a [Sharer], classes: &'a Classes, limits: Limits) -> Self {
        let look = limits.steps / (classes.members.len() as u64).max(1);
        Partners {
            files,
            classes,
            look: usize::try_from(look.max(limits.look)).unwrap_or(usize::MAX),
            pages: vec![0; files.len()],
            found: Vec::new(),
            memory: files.iter().map(|_| None).collect(),
            steps: 0,
        }
    }

    fn find(&mut self, number: usize, met: &[u32], shares: &mut Shares) {
        let file = &self.files[number];
        let pages = |claim: &Claim| claim.end() - claim.id;
        let claimed = file
            .claims
            .iter()
            .fold(0_u64, |sum, claim| sum.saturating_add(pages(claim)));
        let memory = Memory::of(file);
        shares.itself = claimed - memory.pages.min(claimed);
        self.memory[number].get_or_insert(memory);

        let mut largest_class = 0;
        for class in &self.classes.of_file[number] {
            let class = &self.classes.list[*class as usize];
            let members = &self.classes.members[class.begin..class.end];
            largest_class = largest_class.max(members.len());
            shares.at_least |= members.len() > self.look;
            for &other in members.iter().take(self.look) {
                self.steps += 1;
                if other as usize == number {
                    continue;
                }
                let sum = &mut self.pages[other as usize];
                if *sum == 0 {
                    self.found.push(other);
                }
                *sum = sum.saturating_add(class.pages);
            }
        }
        shares.at_least |= self.classes.full && !met.is_empty();

        let mut partners: Vec<Partner> = self
            .found
            .drain(..)
            .map(|other| Partner {
                file: other as usize,
                pages: std::mem::take(&mut self.pages[other as usize]),
            })
            .collect();
        let mut count = partners.len().max(largest_class.saturating_sub(1));
        keep_largest(&mut partners);
        if shares.at_least {
            for &other in met {
                let file = other as usize;
                if !partners.iter().any(|partner| partner.file == file) {
                    partners.push(Partner { file, pages: 0 });
                }
            }
            for partner in &mut partners {
                partner.pages = self.overlap(number, partner.file);
            }
            count = count.max(partners.len());
            keep_largest(&mut partners);
        }
        shares.more = (count - partners.len()) as u64;
        shares.partners = partners;
    }

    fn overlap(&mut self, one: usize, two: usize) -> u64 {
        for number in [one, two] {
            if self.memory[number].is_none() {
                self.memory[number] = Some(Memory::of(&self.files[number]));
            }
        }
        match (&self.memory[one], &self.memory[two]) {
            (Some(one), Some(two)) => one.overlap(two, &mut self.steps),
            _ => 0,
        }
    }
}

/// Leaves the largest partners, in order; of equal ones those that were given first.
fn keep_largest(partners: &mut Vec<Partner>) {
    let key = |partner: &Partner| (Reverse(partner.pages), partner.file);
    if partners.len() > KEPT {
        partners.select_nth_unstable_by_key(KEPT, key);
        partners.truncate(KEPT);
    }
    partners.sort_unstable_by_key(key);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dev: u64, claims: &[(u64, u64, u32)]) -> Sharer {
        let claim = |&(id, pages, sharers)| Claim { id, pages, sharers };
        Sharer {
            dev,
            claims: claims.iter().map(claim).collect(),
        }
    }

    fn partners(sharing: &Sharing, file: usize) -> Vec<(usize, u64)> {
        let partners = &sharing.files[file].partners;
        partners.iter().map(|p| (p.file, p.pages)).collect()
    }

    /// What two files have is in memory once, and each has half of what that saves.
    #[test]
    fn two_clones_are_counted_once() {
        let clone = file(1, &[(1000, 100, 2)]);
        let sharing = share(&[clone.clone(), clone]);
        assert_eq!(sharing.memory, 100);
        assert_eq!(partners(&sharing, 0), [(1, 100)]);
        assert_eq!(partners(&sharing, 1), [(0, 100)]);
        for shares in &sharing.files {
            assert_eq!((shares.more, shares.at_least), (0, false));
            assert_eq!((shares.itself, shares.alone), (0, 0));
            assert!(!shares.others);
            assert_eq!(shares.saved, 50.0);
        }
    }

    /// Files that share a part only, in runs that are cut differently, and one that shares with
    /// none of them.
    #[test]
    fn two_of_three_share_a_part() {
        let sharing = share(&[
            file(1, &[(0, 100, 2)]),
            file(1, &[(60, 10, 2), (50, 10, 2), (70, 80, 1)]),
            file(1, &[(200, 10, 1)]),
        ]);
        assert_eq!(sharing.memory, 160);
        assert_eq!(partners(&sharing, 0), [(1, 50)]);
        assert_eq!(partners(&sharing, 1), [(0, 50)]);
        assert_eq!(partners(&sharing, 2), []);
        assert_eq!(sharing.files[0].saved, 25.0);
        assert_eq!(sharing.files[2].alone, 10);
        // Of its last run, said to be nobody else's, a part was found to be so.
        assert_eq!(sharing.files[1].alone, 50);
    }

    /// A file that has the same blocks twice has them in memory once, and is not its own partner.
    #[test]
    fn the_same_memory_twice_in_a_file() {
        let sharing = share(&[file(1, &[(10, 4, 2), (50, 4, 1), (10, 4, 2)])]);
        assert_eq!(sharing.memory, 8);
        let shares = &sharing.files[0];
        assert_eq!(shares.partners, []);
        assert_eq!((shares.itself, shares.alone, shares.more), (4, 4, 0));
        assert_eq!(shares.saved, 4.0);
        assert!(!shares.others);

        let sharing = share(&[file(1, &[(10, 4, 3), (10, 4, 3)]), file(1, &[(0, 100, 2)])]);
        assert_eq!(sharing.memory, 100);
        assert_eq!(partners(&sharing, 0), [(1, 4)]);
        assert_eq!(partners(&sharing, 1), [(0, 4)]);
        assert_eq!(sharing.files[1].itself, 0);
    }

    /// Ids say nothing about memory of another file system.
    #[test]
    fn devices_are_apart() {
        let claims = [(1000, 100, 2)];
        let sharing = share(&[file(1, &claims), file(2, &claims), file(1, &claims)]);
        assert_eq!(sharing.memory, 200);
        assert_eq!(partners(&sharing, 0), [(2, 100)]);
        assert_eq!(partners(&sharing, 1), []);
        assert!(sharing.files[1].others);
    }

    /// That files which were not given have memory, too, is told from the number of sharers, and
    /// only when it is certain: that number is an average, rounded up.
    #[test]
    fn others_are_told() {
        let others = |files: &[Sharer]| -> Vec<bool> {
            share(files).files.iter().map(|f| f.others).collect()
        };
        assert_eq!(others(&[file(1, &[(0, 10, 2)])]), [true]);
        assert_eq!(others(&[file(1, &[(0, 10, 1)])]), [false]);
        assert_eq!(others(&[file(1, &[(0, 10, 0)])]), [false]);
        let clone = file(1, &[(0, 10, 3)]);
        assert_eq!(others(&[clone.clone(), clone.clone()]), [true, true]);
        assert_eq!(others(&vec![clone; 3]), [false; 3]);
        // 1.1 on average, and the one page of the other file is known.
        let part = [file(1, &[(0, 10, 2)]), file(1, &[(3, 1, 2)])];
        assert_eq!(others(&part), [false, false]);
    }

    /// Nothing given, nothing shared, nothing in a claim.
    #[test]
    fn empty_files() {
        assert_eq!(share(&[]), Sharing::default());
        let sharing = share(&[file(1, &[]), file(1, &[(5, 0, 2)]), file(1, &[(5, 1, 1)])]);
        assert_eq!(sharing.memory, 1);
        assert!(sharing.files.iter().all(|f| f.partners.is_empty()));
    }

    /// Ids at the end of all numbers, claims that overlap in all ways.
    #[test]
    fn odd_claims() {
        let sharing = share(&[
            file(1, &[(u64::MAX - 4, 100, 2), (u64::MAX, 1, 1)]),
            file(1, &[(0, u64::MAX, u32::MAX)]),
            file(1, &[(7, 5, 2), (3, 5, 2), (3, 9, 2), (7, 5, 2)]),
        ]);
        assert_eq!(sharing.memory, u64::MAX);
        assert_eq!(partners(&sharing, 0), [(1, 4)]);
        assert_eq!(partners(&sharing, 2), [(1, 9)]);
        assert_eq!(sharing.files[2].itself, 15);
    }

    /// 1000 clones of a file with 100 extents: no record for each pair, and no work for each pair
    /// and extent.
    #[test]
    fn a_thousand_clones() {
        let claims: Vec<_> = (0..100).map(|n| (n * 100, 50, 1000)).collect();
        let sharing = share(&vec![file(1, &claims); 1000]);
        assert_eq!(sharing.memory, 5000);
        assert_eq!(sharing.work.classes, 1);
        assert!(sharing.work.records < 20_000, "{:?}", sharing.work);
        assert!(sharing.work.steps <= 1_000_000, "{:?}", sharing.work);
        let last = &sharing.files[999];
        assert_eq!(last.partners.len(), KEPT);
        assert_eq!((last.more, last.at_least), (991, false));
        assert_eq!(partners(&sharing, 999)[0], (0, 5000));
        assert_eq!(partners(&sharing, 0)[0], (1, 5000));
    }

    /// So many clones that not even the additions are done for each pair: what is told is right
    /// all the same, also for those that come last.
    #[test]
    fn very_many_clones() {
        let limits = Limits {
            records: RECORDS,
            steps: 1 << 16,
            look: LOOK,
        };
        let sharing = share_within(&vec![file(1, &[(0, 50, 10_000)]); 10_000], limits);
        assert!(sharing.work.steps < 10_000 * 200, "{:?}", sharing.work);
        let last = &sharing.files[9999];
        assert_eq!(last.partners[0], Partner { file: 0, pages: 50 });
        assert_eq!((last.more, last.at_least), (9999 - KEPT as u64, true));
    }

    /// 1000 clones of which each has other parts in memory, so that there is a class for nearly
    /// each page: the limits hold, and each still has a partner, with the right amount.
    #[test]
    fn a_thousand_different_clones() {
        let mut random = random(1);
        let files: Vec<Sharer> = (0..1000)
            .map(|_| {
                let claims = (0..30).map(|n| (n * 100 + random(50), 1 + random(50), 2));
                file(1, &claims.collect::<Vec<_>>())
            })
            .collect();
        let limits = Limits {
            records: 10_000,
            steps: 1 << 16,
            look: 8,
        };
        let sharing = share_within(&files, limits);
        assert!(sharing.work.records <= 10_000 + 2 * 1000 * KEPT);
        assert!(sharing.work.steps < 20_000_000, "{:?}", sharing.work);
        for shares in &sharing.files {
            assert!(shares.at_least && !shares.partners.is_empty());
        }
        // Counting page by page takes its time.
        for (number, shares) in sharing.files.iter().enumerate().step_by(50) {
            for partner in &shares.partners {
                let pages = by_hand(&files[number], &files[partner.file]);
                assert_eq!(partner.pages, pages);
            }
        }
    }

    /// Numbers below what is asked for, the same ones each time.
    fn random(mut seed: u64) -> impl FnMut(u64) -> u64 {
        move |below| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        }
    }

    /// Pages that are in both, one by one.
    fn by_hand(one: &Sharer, two: &Sharer) -> u64 {
        let pages = |file: &Sharer| -> BTreeSet<u64> {
            file.claims.iter().flat_map(|c| c.id..c.end()).collect()
        };
        pages(one).intersection(&pages(two)).count() as u64
    }

    /// Random claims of few files: all is as it is when counted page by page, with limits and
    /// without, and what is saved is what is claimed less what is in memory.
    #[test]
    fn is_what_counting_gives() {
        let mut random = random(7);
        for round in 0..200 {
            let count = 1 + random(7);
            let files: Vec<Sharer> = (0..count)
                .map(|_| {
                    let claims: Vec<_> = (0..random(12))
                        .map(|_| (random(60), random(12), random(4) as u32))
                        .collect();
                    file(random(2), &claims)
                })
                .collect();
            let small = Limits {
                records: 8,
                steps: 1,
                look: 1,
            };
            let limited = share_within(&files, small);
            let sharing = share(&files);
            let mut memory = BTreeSet::new();
            let mut claimed = 0;
            for (number, one) in files.iter().enumerate() {
                memory.extend(
                    one.claims
                        .iter()
                        .flat_map(|c| (c.id..c.end()).map(|id| (one.dev, id))),
                );
                claimed += one.claims.iter().map(|c| c.pages).sum::<u64>();
                let mut expected: Vec<(usize, u64)> = (0..files.len())
                    .filter(|&other| other != number && files[other].dev == one.dev)
                    .map(|other| (other, by_hand(one, &files[other])))
                    .filter(|pair| pair.1 > 0)
                    .collect();
                expected.sort_by_key(|pair| Reverse(pair.1));
                assert_eq!(partners(&sharing, number), expected, "round {round}");
                assert!(!sharing.files[number].at_least);
                let some = partners(&limited, number);
                assert_eq!(some.is_empty(), expected.is_empty(), "round {round}");
                assert!(some.iter().all(|pair| expected.contains(pair)));
            }
            assert_eq!(sharing.memory, memory.len() as u64);
            assert_eq!(limited.memory, sharing.memory);
            let saved: f64 = sharing.files.iter().map(|f| f.saved).sum();
            assert!((saved - (claimed - sharing.memory) as f64).abs() < 1e-6);
        }
    }
}
