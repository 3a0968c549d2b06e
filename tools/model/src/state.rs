// SPDX-License-Identifier: GPL-2.0

//! What there is: files, blocks, page frames, locks, and threads that are somewhere in an
//! operation.
//!
//! A state is small and is compared and hashed as a whole, so numbers are bytes and what is not
//! used is reset. [`State::canonical`] gives states that differ only by names one form.

use std::fmt;

pub const FILES: usize = 2;
pub const BLOCKS: usize = 2;
/// Slots of all files, blocks with a home folio, and a folio of its own for each thread.
pub const FRAMES: usize = FILES * SLOTS + BLOCKS + THREADS;
pub const SLOTS: usize = 1;
pub const THREADS: usize = 3;

/// What a page of data is: a name for it. Each write makes a new one.
pub type Content = u8;
/// What is read where a file has no block.
pub const ZEROES: Content = 0;
/// What is in a block that nobody has, and must not be seen by anybody.
pub const GARBAGE: Content = 1;
/// A set of contents, a bit each.
pub type Contents = u16;

pub type Frame = u8;
pub type Block = u8;

/// Who a folio says that it belongs to: `folio->mapping` and `folio->index`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    #[default]
    Nobody,
    File(u8, u8),
    Home(Block),
}

/// A page frame and the folio that it is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Folio {
    /// Zero: free. The page cache has one, and so has each thread that holds it.
    pub refs: u8,
    pub owner: Owner,
    pub locked: bool,
    /// Nobody gets a reference: `folio_ref_freeze()`. What there were stay counted in `refs`.
    pub frozen: bool,
    pub uptodate: bool,
    pub dirty: bool,
    pub writeback: bool,
    /// The device is reading this block into it.
    pub reading: Option<Block>,
    pub data: Content,
    /// How many aliases there are, if it is a home's.
    pub aliases: u8,
}

/// A slot of `i_pages`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    #[default]
    Empty,
    Folio(Frame),
    Alias(Frame),
}

impl Entry {
    pub fn frame(self) -> Option<Frame> {
        match self {
            Entry::Empty => None,
            Entry::Folio(frame) | Entry::Alias(frame) => Some(frame),
        }
    }
}

/// A page table entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pte {
    #[default]
    None,
    /// It has a reference on the folio.
    Maps(Frame),
    /// A migration entry, which names the folio that moves. Who touches it waits.
    Migrating(Frame),
}

impl Pte {
    pub fn frame(self) -> Option<Frame> {
        match self {
            Pte::None => None,
            Pte::Maps(frame) | Pte::Migrating(frame) => Some(frame),
        }
    }
}

/// One page of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Page {
    pub slot: Entry,
    /// The page tables of whoever maps the file.
    pub pte: Pte,
    /// The block map.
    pub block: Option<Block>,
    /// What the file's user must find in it, by what was written last.
    pub expected: Content,
    /// What a direct write in flight is about to make of it.
    pub pending: Option<Content>,
    /// Blocks for which a fragment covers this page, a bit each.
    pub fragments: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct File {
    pub pages: [Page; SLOTS],
    /// The file's i_rwsem.
    pub writing: bool,
    /// The invalidate_lock, exclusive and shared.
    pub invalidating: bool,
    pub populating: u8,
    /// i_dio_count
    pub direct: u8,
    /// The inode is gone from memory.
    pub evicted: bool,
}

/// What somebody does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    #[default]
    Idle,
    /// read(2), with readahead into the home
    Read,
    /// A read fault: the page is mapped.
    Fault,
    /// write(2), buffered
    Write,
    /// A write fault, and the store after it; stores and writes to a file are one at a time, the
    /// faults before them are not
    Store,
    /// Write-back of a dirty folio, in place or copied on write.
    Writeback,
    /// Truncation or punching a hole
    Punch,
    /// write(2) with O_DIRECT
    Direct,
    /// Sharing the blocks of another page
    Reflink,
    /// drop_caches and the like: an alias that is not in use goes.
    Drop,
    /// Reclaim of a home folio
    Reclaim,
    /// Migration of a home folio
    Migrate,
    /// munmap() and the like: page table entries go, whatever they are.
    Zap,
    /// The inode leaves memory.
    Evict,
}

/// Where in an operation a thread is: what it does next. Each is one atomic step of the code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pc {
    #[default]
    Start,
    // Looking a slot up and taking a reference: filemap_get_read_batch() and others
    Load,
    Get,
    // What a reader does with what it found
    Look,
    WaitToRead,
    WaitUnlocked,
    WaitOwnRead,
    // page_cache_ra_unbounded(), iomap_readahead_iter()
    Populate,
    // Home::attach_range()
    AskGet,
    AskStore,
    Map,
    HomeLoad,
    HomeGet,
    Attach,
    Purge,
    Donate,
    DonateStore,
    Submit,
    // filemap_fault()
    FaultLock,
    // __filemap_get_folio(FGP_CREAT), break_alias()
    LockOwn,
    BreakLock,
    // Home::take_back()
    TbFreeze,
    TbHome,
    TbStore,
    BreakStore,
    BreakDec,
    BreakRemove,
    Modify,
    // page_mkwrite
    StoreLock,
    // xfs_map_blocks(), xfs_end_io()
    WbWrite,
    WbRemap,
    WbEnd,
    // truncate_inode_pages_range()
    TruncateLock,
    Forget,
    Remap,
    // Home::adopt()
    AdoptInsert,
    AdoptStore,
    // drop_alias()
    DropLoad,
    DropGet,
    DropLock,
    DropClear,
    DropDec,
    DropRemove,
    // __iomap_dio_rw()
    DioFlush,
    DioInvalidate,
    DioBegin,
    DioMap,
    DioWrite,
    DioRemap,
    DioPost,
    DioEnd,
    // home_release_folio() and who calls it
    RcFragments,
    RcClear,
    RcDec,
    RcRelease,
    RcFinish,
    // migrate_folio_unmap(): the folio's lock, and migration entries
    MvLock,
    MvUnmapLock,
    MvUnmap,
    // Home::migrate()
    MvCopy,
    MvBegin,
    MvRewriteLock,
    MvRewrite,
    MvEnd,
    // migrate_folio_move(), when it has moved or not
    MvForget,
    MvRestoreLock,
    MvRestore,
    MvUnlockDst,
    MvUnlockSrc,
}

/// A thread and what it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thread {
    pub op: Op,
    pub pc: Pc,
    /// The page that it works on.
    pub file: u8,
    pub index: u8,
    /// For reflink, the page that is shared; for reclaim and migration, the page looked at.
    pub file2: u8,
    pub index2: u8,
    /// Where it goes on when an alias is dropped.
    pub then: Pc,
    /// A look-up saw this.
    pub seen: Entry,
    /// It has a reference on this one, from a look-up.
    pub found: Option<Frame>,
    /// It has a reference on this one, which it has locked and which is not in a home.
    pub own: Option<Frame>,
    /// The block map said so, or it is the one it has allocated.
    pub block: Option<Block>,
    /// ... and that is still so.
    pub valid: bool,
    /// It has allocated the block, which is in no file yet.
    pub allocated: bool,
    /// Contents that a read may find, as they were in the file at some time since it began.
    pub may_read: Contents,
    /// The home has failed it: it reads for itself.
    pub alone: bool,
}

impl Thread {
    /// It lets files name another folio, one after the other, and the home has the old one still.
    pub fn is_rewriting(&self) -> bool {
        matches!(self.pc, Pc::MvRewriteLock | Pc::MvRewrite | Pc::MvEnd)
    }

    /// It replaces a folio, which it has found, by its own, or has done so.
    pub fn has_moved(&self) -> bool {
        match self.pc {
            Pc::MvRestoreLock | Pc::MvRestore => self.own.is_some(),
            Pc::MvForget | Pc::MvUnlockDst => true,
            _ => self.is_rewriting(),
        }
    }
}

/// What is found to be wrong in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wrong {
    /// A read gave what the file did not contain at any time since the read began.
    StaleRead,
    /// A write changed a page whose rest was not what the file contains.
    StaleBase,
    /// A folio was taken out of a home that it is not in.
    RemovedTwice,
    /// The count went below zero.
    CountBelowZero,
    /// A folio left its home with aliases.
    FreedWithAliases,
    /// Somebody used the mapping of an inode that is gone.
    UseAfterFree,
    /// Somebody has a reference on a folio that has moved, and uses it as what it was.
    MovedInUse,
    /// An inode went with an alias in a slot.
    EvictedWithAliases,
    /// The model has too few page frames.
    NoFrame,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub files: [File; FILES],
    /// What is on the device.
    pub disk: [Content; BLOCKS],
    /// The home's tree.
    pub home: [Option<Frame>; BLOCKS],
    pub folios: [Folio; FRAMES],
    /// The mutex of the home's fragments.
    pub fragments_locked: bool,
    pub threads: [Thread; THREADS],
    pub wrong: Option<Wrong>,
    /// How many operations are still to begin; [`None`] is no end of them.
    pub left: Option<u8>,
}

impl State {
    /// All files have the same block, nothing is cached.
    pub fn shared(left: Option<u8>) -> Self {
        let mut disk = [GARBAGE; BLOCKS];
        disk[0] = 2;
        let page = Page {
            block: Some(0),
            expected: 2,
            ..Page::default()
        };
        let mut files = [File::default(); FILES];
        for file in &mut files {
            file.pages[0] = page;
        }
        State {
            files,
            disk,
            home: [None; BLOCKS],
            folios: [Folio::default(); FRAMES],
            fragments_locked: false,
            threads: [Thread::default(); THREADS],
            wrong: None,
            left,
        }
    }

    pub fn page(&self, file: u8, index: u8) -> &Page {
        &self.files[usize::from(file)].pages[usize::from(index)]
    }

    pub fn page_mut(&mut self, file: u8, index: u8) -> &mut Page {
        &mut self.files[usize::from(file)].pages[usize::from(index)]
    }

    pub fn folio(&self, frame: Frame) -> &Folio {
        &self.folios[usize::from(frame)]
    }

    pub fn folio_mut(&mut self, frame: Frame) -> &mut Folio {
        &mut self.folios[usize::from(frame)]
    }

    /// All pages of all files, with their names.
    pub fn pages(&self) -> impl Iterator<Item = (u8, u8, &Page)> {
        self.files.iter().enumerate().flat_map(|(file, of)| {
            of.pages
                .iter()
                .enumerate()
                .map(move |(index, page)| (file as u8, index as u8, page))
        })
    }

    pub fn fail(&mut self, wrong: Wrong) {
        self.wrong.get_or_insert(wrong);
    }

    /// The same state with threads, frames, blocks and contents renamed, so that states that
    /// differ in nothing else become equal. It need not find all such.
    pub fn canonical(mut self) -> Self {
        self.sort_threads();
        self.rename_blocks();
        self.rename_frames();
        self.rename_contents();
        self
    }

    fn sort_threads(&mut self) {
        self.threads.sort_by_key(|thread| {
            (
                thread.op,
                thread.pc,
                thread.file,
                thread.index,
                thread.block,
                thread.may_read,
                *thread,
            )
        });
    }

    /// Blocks get numbers in the order in which files have them.
    fn rename_blocks(&mut self) {
        let mut names = Names::<BLOCKS>::new();
        for (_, _, page) in self.pages() {
            names.see(page.block);
        }
        for thread in &self.threads {
            names.see(thread.block);
        }
        for block in 0..BLOCKS {
            names.see(Some(block as u8));
        }
        if names.are_identity() {
            return;
        }
        let (disk, home) = (self.disk, self.home);
        for block in 0..BLOCKS {
            let new = usize::from(names.new[block]);
            self.disk[new] = disk[block];
            self.home[new] = home[block];
        }
        for file in &mut self.files {
            for page in &mut file.pages {
                page.block = names.of(page.block);
                let old = page.fragments;
                page.fragments = 0;
                for block in 0..BLOCKS {
                    if old & (1 << block) != 0 {
                        page.fragments |= 1 << names.new[block];
                    }
                }
            }
        }
        for folio in &mut self.folios {
            folio.reading = names.of(folio.reading);
            if let Owner::Home(block) = folio.owner {
                folio.owner = Owner::Home(names.new[usize::from(block)]);
            }
        }
        for thread in &mut self.threads {
            thread.block = names.of(thread.block);
        }
    }

    fn rename_frames(&mut self) {
        let mut names = Names::<FRAMES>::new();
        for (_, _, page) in self.pages() {
            names.see(page.slot.frame());
            names.see(page.pte.frame());
        }
        for frame in self.home {
            names.see(frame);
        }
        for thread in &self.threads {
            names.see(thread.own);
            names.see(thread.found);
            names.see(thread.seen.frame());
        }
        for (frame, folio) in self.folios.iter().enumerate() {
            if folio.refs != 0 {
                names.see(Some(frame as u8));
            }
        }
        for frame in 0..FRAMES {
            names.see(Some(frame as u8));
        }
        if names.are_identity() {
            return;
        }
        let folios = self.folios;
        for (frame, folio) in folios.into_iter().enumerate() {
            self.folios[usize::from(names.new[frame])] = folio;
        }
        for file in &mut self.files {
            for page in &mut file.pages {
                page.slot = names.of_entry(page.slot);
                page.pte = names.of_pte(page.pte);
            }
        }
        for frame in &mut self.home {
            *frame = names.of(*frame);
        }
        for thread in &mut self.threads {
            thread.own = names.of(thread.own);
            thread.found = names.of(thread.found);
            thread.seen = names.of_entry(thread.seen);
        }
    }

    fn rename_contents(&mut self) {
        let mut names = Names::<16>::new();
        names.see(Some(ZEROES));
        names.see(Some(GARBAGE));
        for content in self.disk {
            names.see(Some(content));
        }
        for (_, _, page) in self.pages() {
            names.see(Some(page.expected));
            names.see(page.pending);
        }
        for folio in &self.folios {
            names.see(Some(folio.data));
        }
        let there = names.next;
        let old = |content: Content| names.new[usize::from(content)];
        for content in &mut self.disk {
            *content = old(*content);
        }
        for file in &mut self.files {
            for page in &mut file.pages {
                page.expected = old(page.expected);
                page.pending = page.pending.map(old);
            }
        }
        for folio in &mut self.folios {
            folio.data = old(folio.data);
        }
        for thread in &mut self.threads {
            let before = thread.may_read;
            thread.may_read = 0;
            for content in 0..16 {
                let new = names.new[content];
                // What is nowhere will not be read any more.
                if before & (1 << content) != 0 && new < there {
                    thread.may_read |= 1 << new;
                }
            }
        }
    }

    /// A content that is nowhere else.
    pub fn fresh(&self) -> Content {
        let mut used: Contents = (1 << ZEROES) | (1 << GARBAGE);
        for content in self.disk {
            used |= 1 << content;
        }
        for (_, _, page) in self.pages() {
            used |= 1 << page.expected;
            used |= page.pending.map_or(0, |content| 1 << content);
        }
        for folio in &self.folios {
            used |= 1 << folio.data;
        }
        for thread in &self.threads {
            used |= thread.may_read;
        }
        used.trailing_ones() as Content
    }
}

/// New names for old ones, in the order in which they are seen.
struct Names<const N: usize> {
    new: [u8; N],
    next: u8,
}

impl<const N: usize> Names<N> {
    fn new() -> Self {
        Self {
            new: [u8::MAX; N],
            next: 0,
        }
    }

    fn see(&mut self, old: Option<u8>) {
        if let Some(old) = old {
            if self.new[usize::from(old)] == u8::MAX {
                self.new[usize::from(old)] = self.next;
                self.next += 1;
            }
        }
    }

    fn of(&self, old: Option<u8>) -> Option<u8> {
        old.map(|old| self.new[usize::from(old)])
    }

    fn of_entry(&self, old: Entry) -> Entry {
        match old {
            Entry::Empty => Entry::Empty,
            Entry::Folio(frame) => Entry::Folio(self.new[usize::from(frame)]),
            Entry::Alias(frame) => Entry::Alias(self.new[usize::from(frame)]),
        }
    }

    fn of_pte(&self, old: Pte) -> Pte {
        match old {
            Pte::None => Pte::None,
            Pte::Maps(frame) => Pte::Maps(self.new[usize::from(frame)]),
            Pte::Migrating(frame) => Pte::Migrating(self.new[usize::from(frame)]),
        }
    }

    fn are_identity(&self) -> bool {
        self.new
            .iter()
            .enumerate()
            .all(|(old, new)| usize::from(*new) == old)
    }
}

/// Short enough to follow a counterexample with the eyes.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (file, index, page) in self.pages() {
            write!(
                f,
                "file {file}.{index} {:?} block {:?} is {}",
                page.slot, page.block, page.expected
            )?;
            match page.pte {
                Pte::None => {}
                Pte::Maps(frame) => write!(f, " mapped {frame}")?,
                Pte::Migrating(frame) => write!(f, " migrating {frame}")?,
            }
            f.write_str("; ")?;
        }
        write!(f, "disk {:?} home {:?};", self.disk, self.home)?;
        for (frame, folio) in self.folios.iter().enumerate() {
            if folio.refs != 0 {
                write!(
                    f,
                    " folio {frame} {:?} refs {} aliases {} data {}{}{}{}{}{}",
                    folio.owner,
                    folio.refs,
                    folio.aliases,
                    folio.data,
                    if folio.uptodate { "" } else { " not read" },
                    if folio.locked { " locked" } else { "" },
                    if folio.frozen { " frozen" } else { "" },
                    if folio.dirty { " dirty" } else { "" },
                    if folio.writeback { " writeback" } else { "" },
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with an alias to a folio of the home, which somebody holds.
    fn state(frame: Frame, block: Block, content: Content, thread: usize) -> State {
        let mut state = State::shared(None);
        state.disk = [GARBAGE; BLOCKS];
        state.disk[usize::from(block)] = content;
        for file in &mut state.files {
            file.pages[0].block = Some(block);
            file.pages[0].expected = content;
        }
        state.page_mut(1, 0).slot = Entry::Alias(frame);
        state.home[usize::from(block)] = Some(frame);
        *state.folio_mut(frame) = Folio {
            refs: 2,
            owner: Owner::Home(block),
            uptodate: true,
            data: content,
            aliases: 1,
            ..Folio::default()
        };
        state.threads[thread] = Thread {
            op: Op::Read,
            pc: Pc::Look,
            file: 1,
            found: Some(frame),
            seen: Entry::Alias(frame),
            may_read: 1 << content,
            ..Thread::default()
        };
        state
    }

    /// Else the search looks at the same thing again and again, or, worse, not at all: states
    /// that differ in more must stay apart.
    #[test]
    fn only_names_are_made_equal() {
        let one = state(0, 0, 2, 0).canonical();
        assert_eq!(one, state(3, 1, 7, 2).canonical());
        assert_eq!(one, one.clone().canonical());

        let mut stale = state(3, 1, 7, 2);
        stale.folio_mut(3).data = 8;
        assert_ne!(one, stale.canonical());
        let mut other = state(3, 1, 7, 2);
        other.threads[2].file = 0;
        assert_ne!(one, other.canonical());
    }

    /// What a thread may read is renamed with the rest, and forgotten where it is nowhere.
    #[test]
    fn contents_of_threads_follow() {
        let mut state = state(0, 0, 9, 1);
        state.threads[1].may_read |= 1 << 12;
        let state = state.canonical();
        let reader = state.threads.iter().find(|thread| thread.op == Op::Read);
        assert_eq!(
            reader.map(|reader| reader.may_read),
            Some(1 << state.disk[0])
        );
    }

    #[test]
    fn fresh_content_is_nowhere() {
        let state = state(0, 0, 2, 0);
        assert_eq!(state.fresh(), 3);
    }
}
