// SPDX-License-Identifier: GPL-2.0

//! What each operation does, step by step.
//!
//! A step is what the code does atomically for everybody else: a critical section of an `i_pages`
//! lock, one atomic operation on a count, taking a lock. Steps that nobody can see between are
//! one. `include/linux/page_cache_home.h` and `rust/kernel/mm/page_cache/home.rs` are the code;
//! steps have the names of the functions they stand for.

mod migrate;
mod read;
mod remove;
mod write;

use crate::state::*;

/// What the protocol rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The entry is loaded again when there is a reference on what it named.
    Recheck,
    /// Attaching increments the count of aliases unless it is zero.
    IncUnlessZero,
    /// The count goes down in the critical section in which the slot stops being an alias.
    DecWithSlot,
    /// Aliases are removed with the home folio locked.
    HomeLock,
    /// A write takes the alias away first.
    BreakBeforeWrite,
    /// Who writes takes the home's folio for the file's own only if nobody else has a reference, as
    /// a reader of another file may.
    TakeBackFreeze,
    /// ... and if the file's is the only alias, which is looked at with the fragments locked.
    TakeBackLocked,
    /// A slot for which there is no locked folio becomes an alias only if it is empty.
    AskSlotEmpty,
    /// What a clone finds in the home must be on the device: only what is clean moves there.
    AdoptClean,
    /// A slot becomes an alias only if the block map is still what it was.
    ValidExtent,
    /// A slot does not become an alias while direct I/O is in flight.
    DirectCount,
    /// Direct writes remove aliases after they have become visible.
    DirectDrop,
    /// Whatever changes the block map removes the alias first.
    DropBeforeRemap,
    /// Reclaim takes all aliases before the folio leaves the home.
    ReleaseBeforeFree,
    /// A fragment covers a slot before it becomes an alias.
    Cover,
    /// A fault looks at the slot again with the home folio locked.
    RecheckInFault,
    /// Who removes an alias unmaps the page.
    Unmap,
    /// A folio moves only if nobody else has a reference on it.
    MigrateFreeze,
    /// Nobody gets a reference on it until no slot names it any more.
    MigrateStaysFrozen,
    /// A folio's count is copied, and the move begun, with the fragments locked.
    MigrateCountLocked,
    /// Aliases to a folio that moves are rewritten with the fragments locked.
    MigrateRewriteLocked,
    /// The page tables of files with aliases are walked with the fragments locked.
    MigrateWalkLocked,
    /// A folio that moves is locked until its aliases are rewritten.
    MigrateLockSrc,
    /// The folio that another one moves to is locked until aliases and page tables name it.
    MigrateLockDst,
    /// Who removes an alias takes a migration entry away, too.
    UnmapEntries,
}

impl Rule {
    /// Those without any one of which it fails.
    pub const NEEDED: [Rule; 22] = [
        Rule::Recheck,
        Rule::IncUnlessZero,
        Rule::DecWithSlot,
        Rule::HomeLock,
        Rule::BreakBeforeWrite,
        Rule::TakeBackFreeze,
        Rule::TakeBackLocked,
        Rule::AskSlotEmpty,
        Rule::ValidExtent,
        Rule::DirectCount,
        Rule::DirectDrop,
        Rule::DropBeforeRemap,
        Rule::ReleaseBeforeFree,
        Rule::Cover,
        Rule::RecheckInFault,
        Rule::Unmap,
        Rule::MigrateFreeze,
        Rule::MigrateStaysFrozen,
        Rule::MigrateCountLocked,
        Rule::MigrateRewriteLocked,
        Rule::MigrateWalkLocked,
        Rule::MigrateLockDst,
    ];

    /// Second nets: it holds without any one of them, too.
    ///
    /// - Before blocks are shared, what is dirty is written, and nobody can write until that is
    ///   done. A folio that is dirty nevertheless does not go to the home.
    /// - A folio that moves is frozen while aliases are rewritten, so nobody can lock it.
    /// - While the folio is locked that another one moves to, no alias to it is removed before the
    ///   page table is right. If one were, the migration entry would have to go with it.
    pub const NETS: [Rule; 3] = [Rule::AdoptClean, Rule::MigrateLockSrc, Rule::UnmapEntries];

    /// As it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Recheck => "recheck",
            Rule::IncUnlessZero => "inc-unless-zero",
            Rule::DecWithSlot => "dec-with-slot",
            Rule::HomeLock => "home-lock",
            Rule::BreakBeforeWrite => "break-before-write",
            Rule::TakeBackFreeze => "take-back-freeze",
            Rule::TakeBackLocked => "take-back-locked",
            Rule::AskSlotEmpty => "ask-slot-empty",
            Rule::AdoptClean => "adopt-clean",
            Rule::ValidExtent => "valid-extent",
            Rule::DirectCount => "direct-count",
            Rule::DirectDrop => "direct-drop",
            Rule::DropBeforeRemap => "drop-before-remap",
            Rule::ReleaseBeforeFree => "release-before-free",
            Rule::Cover => "cover",
            Rule::RecheckInFault => "recheck-in-fault",
            Rule::Unmap => "unmap",
            Rule::MigrateFreeze => "migrate-freeze",
            Rule::MigrateStaysFrozen => "migrate-stays-frozen",
            Rule::MigrateCountLocked => "migrate-count-locked",
            Rule::MigrateRewriteLocked => "migrate-rewrite-locked",
            Rule::MigrateWalkLocked => "migrate-walk-locked",
            Rule::MigrateLockSrc => "migrate-lock-src",
            Rule::MigrateLockDst => "migrate-lock-dst",
            Rule::UnmapEntries => "unmap-entries",
        }
    }
}

/// All rules but these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub without: Vec<Rule>,
}

impl Rules {
    fn has(&self, rule: Rule) -> bool {
        !self.without.contains(&rule)
    }
}

/// What there is to choose from in one step.
pub const CHOICES: u8 = 2;

/// A step that cannot be taken now, because of a lock or because there is no such choice.
pub struct Blocked;

pub type Step = Result<(), Blocked>;

/// One thread's step on a state.
pub struct Stepper<'a> {
    pub rules: &'a Rules,
    pub state: &'a mut State,
    /// The thread; it is written back into the state by [`Stepper::run`].
    me: Thread,
    number: usize,
    choice: u8,
}

impl<'a> Stepper<'a> {
    pub fn new(rules: &'a Rules, state: &'a mut State, number: usize, choice: u8) -> Self {
        let me = state.threads[number];
        Self {
            rules,
            state,
            me,
            number,
            choice,
        }
    }

    /// Begins `op` on a page; `other` is the page that reflink shares.
    pub fn start(mut self, op: Op, page: (u8, u8), other: (u8, u8)) -> Step {
        self.me = Thread {
            op,
            file: page.0,
            index: page.1,
            file2: other.0,
            index2: other.1,
            ..Thread::default()
        };
        match op {
            Op::Idle => return Err(Blocked),
            Op::Read => self.start_read(),
            Op::Fault => self.start_fault()?,
            Op::Store => self.start_store()?,
            Op::Write => self.lock_file(Pc::Load)?,
            Op::Writeback => self.start_writeback()?,
            Op::Punch => self.lock_file(Pc::Start)?,
            Op::Direct => self.lock_file(Pc::DioFlush)?,
            Op::Reflink => self.start_reflink()?,
            Op::Drop => self.start_drop()?,
            Op::Reclaim => self.start_reclaim()?,
            Op::Migrate => self.start_migrate()?,
            Op::Zap => self.start_zap()?,
            Op::Evict => self.start_evict()?,
        }
        self.finish();
        Ok(())
    }

    /// Takes the step at which the thread is.
    pub fn run(mut self) -> Step {
        // What has only one way to go on.
        if self.choice != 0
            && !matches!(
                self.me.pc,
                Pc::Populate | Pc::Map | Pc::DioMap | Pc::AdoptInsert
            )
        {
            return Err(Blocked);
        }
        match self.me.pc {
            Pc::Start => self.lock_mapping()?,
            Pc::Load => self.load(),
            Pc::Get => self.get(),
            Pc::Look => self.look(),
            Pc::WaitToRead => self.wait_to_read()?,
            Pc::WaitUnlocked => self.wait_unlocked()?,
            Pc::WaitOwnRead => self.wait_own_read()?,
            Pc::Populate => self.populate()?,
            Pc::AskGet => self.ask_get()?,
            Pc::AskStore => self.ask_store(),
            Pc::Map => self.map()?,
            Pc::HomeLoad => self.home_load(),
            Pc::HomeGet => self.home_get(),
            Pc::Attach => self.attach()?,
            Pc::Purge => self.purge(),
            Pc::Donate => self.donate()?,
            Pc::DonateStore => self.donate_store(),
            Pc::Submit => self.submit(),
            Pc::FaultLock => self.fault_lock()?,
            Pc::LockOwn => self.lock_own()?,
            Pc::BreakLock => self.break_lock()?,
            Pc::TbFreeze => self.tb_freeze()?,
            Pc::TbHome => self.tb_home(),
            Pc::TbStore => self.tb_store(),
            Pc::BreakStore => self.break_store(),
            Pc::BreakDec | Pc::DropDec => self.dec_alias(),
            Pc::BreakRemove | Pc::DropRemove => self.remove_dead(),
            Pc::Modify => self.modify(),
            Pc::StoreLock => self.store_lock()?,
            Pc::WbWrite => self.wb_write(),
            Pc::WbRemap | Pc::DioRemap => self.remap_allocated(),
            Pc::WbEnd => self.wb_end(),
            Pc::TruncateLock => self.truncate_lock()?,
            Pc::Forget => self.forget()?,
            Pc::Remap => self.change_map(),
            Pc::AdoptInsert => self.adopt_insert()?,
            Pc::AdoptStore => self.adopt_store(),
            Pc::DropLoad => self.drop_load(),
            Pc::DropGet => self.drop_get(),
            Pc::DropLock => self.drop_lock()?,
            Pc::DropClear => self.drop_clear(),
            Pc::DioFlush => self.dio_flush()?,
            Pc::DioInvalidate | Pc::DioPost => self.dio_invalidate()?,
            Pc::DioBegin => self.dio_begin(),
            Pc::DioMap => self.dio_map()?,
            Pc::DioWrite => self.dio_write(),
            Pc::DioEnd => self.dio_end(),
            Pc::RcFragments => self.rc_fragments()?,
            Pc::RcClear => self.rc_clear(),
            Pc::RcDec => self.rc_dec(),
            Pc::RcRelease => self.rc_release(),
            Pc::RcFinish => self.rc_finish(),
            Pc::MvLock => self.mv_lock()?,
            Pc::MvUnmapLock => self.mv_unmap_lock()?,
            Pc::MvUnmap => self.mv_unmap(),
            Pc::MvCopy => self.mv_copy()?,
            Pc::MvBegin => self.mv_begin()?,
            Pc::MvRewriteLock => self.mv_rewrite_lock(),
            Pc::MvRewrite => self.mv_rewrite(),
            Pc::MvEnd => self.mv_end(),
            Pc::MvForget => self.mv_forget(),
            Pc::MvRestoreLock => self.mv_restore_lock()?,
            Pc::MvRestore => self.mv_restore(),
            Pc::MvUnlockDst => self.mv_unlock_dst(),
            Pc::MvUnlockSrc => self.mv_unlock_src(),
        }
        self.finish();
        Ok(())
    }

    fn finish(self) {
        self.state.threads[self.number] = self.me;
    }

    fn goto(&mut self, pc: Pc) {
        self.me.pc = pc;
    }

    /// The thread is idle. What it knew is forgotten, so as not to tell states apart.
    fn done(&mut self) {
        self.me = Thread::default();
    }

    fn page(&mut self) -> &mut Page {
        self.state.page_mut(self.me.file, self.me.index)
    }

    fn file(&mut self) -> &mut File {
        &mut self.state.files[usize::from(self.me.file)]
    }

    fn slot(&self) -> Entry {
        self.state.page(self.me.file, self.me.index).slot
    }

    /// The folio of the last look-up.
    fn found(&mut self) -> &mut Folio {
        let frame = self.me.found.expect("a look-up found something");
        self.state.folio_mut(frame)
    }

    fn own(&mut self) -> &mut Folio {
        let frame = self.me.own.expect("there is a folio of its own");
        self.state.folio_mut(frame)
    }

    fn is_mine(&mut self) -> bool {
        let me = Owner::File(self.me.file, self.me.index);
        self.found().owner == me
    }

    // References

    fn put(&mut self, frame: Frame) {
        let folio = self.state.folio_mut(frame);
        folio.refs -= 1;
        if folio.refs == 0 {
            *folio = Folio::default();
        }
    }

    fn put_found(&mut self) {
        if let Some(frame) = self.me.found.take() {
            self.put(frame);
        }
    }

    fn put_own(&mut self) {
        if let Some(frame) = self.me.own.take() {
            self.put(frame);
        }
    }

    /// A new folio, locked, with a reference of the thread's.
    fn alloc(&mut self) -> Option<Frame> {
        let Some(frame) = self.state.folios.iter().position(|folio| folio.refs == 0) else {
            self.state.fail(Wrong::NoFrame);
            return None;
        };
        self.state.folios[frame] = Folio {
            refs: 1,
            locked: true,
            ..Folio::default()
        };
        Some(frame as Frame)
    }

    /// A new folio in the slot, which is empty, and locked: filemap_add_folio().
    fn add_folio(&mut self, then: Pc) {
        let owner = Owner::File(self.me.file, self.me.index);
        if let Some(frame) = self.alloc() {
            let folio = self.state.folio_mut(frame);
            folio.refs += 1;
            folio.owner = owner;
            self.page().slot = Entry::Folio(frame);
            self.me.own = Some(frame);
            self.goto(then);
        }
    }

    /// folio_try_get() and then, by the rule, the look at the entry again, which must be
    /// `unchanged`.
    ///
    /// Nobody can tell the two from one step: what changes the entry between them shows as if it
    /// had been before, and the reference as one that is held for longer.
    fn try_get(&mut self, frame: Frame, unchanged: bool) -> bool {
        let recheck = self.rules.has(Rule::Recheck);
        let folio = self.state.folio_mut(frame);
        if folio.refs == 0 || folio.frozen || (recheck && !unchanged) {
            return false;
        }
        folio.refs += 1;
        self.me.found = Some(frame);
        true
    }

    // Blocks

    fn users(&self, block: Block) -> usize {
        self.state
            .pages()
            .filter(|(_, _, page)| page.block == Some(block))
            .count()
    }

    /// A free block, which is the thread's from now on.
    fn alloc_block(&mut self) -> Result<Block, Blocked> {
        let block = (0..BLOCKS as Block)
            .find(|block| {
                self.users(*block) == 0
                    && !self
                        .state
                        .threads
                        .iter()
                        .any(|thread| thread.allocated && thread.block == Some(*block))
            })
            .ok_or(Blocked)?;
        self.me.block = Some(block);
        self.me.allocated = true;
        Ok(block)
    }

    fn write_block(&mut self, data: Content) {
        let block = self.my_block();
        self.state.disk[block] = data;
    }

    /// Changes the block map, and with it the sequence number of the file.
    fn remap(&mut self, block: Option<Block>) {
        let old = std::mem::replace(&mut self.page().block, block);
        if let Some(old) = old.filter(|old| self.users(*old) == 0) {
            self.state.disk[usize::from(old)] = GARBAGE;
        }
        let file = self.me.file;
        for (number, thread) in self.state.threads.iter_mut().enumerate() {
            if number != self.number && thread.file == file {
                thread.valid = false;
            }
        }
        self.me.valid = false;
    }

    /// What the file contains at the page from now on; who reads meanwhile may find it.
    fn expect(&mut self, content: Content) {
        self.page().expected = content;
        self.may_be_read(content);
    }

    fn may_be_read(&mut self, content: Content) {
        let (file, index) = (self.me.file, self.me.index);
        for thread in &mut self.state.threads {
            if thread.op == Op::Read && (thread.file, thread.index) == (file, index) {
                thread.may_read |= 1 << content;
            }
        }
    }

    /// Where the page is written to: in place if nobody else has the block, else, or if the
    /// choice is that, a new block.
    fn block_to_write(&mut self, in_place: bool) -> Step {
        let old = self.page().block;
        match old {
            Some(block) if in_place && self.users(block) == 1 => {
                self.me.block = Some(block);
                self.me.allocated = false;
                Ok(())
            }
            _ if in_place => Err(Blocked),
            _ => self.alloc_block().map(|_| ()),
        }
    }

    /// Writes a dirty folio to disk, all in one step: another thread's write-back shows the rest.
    fn flush(&mut self, file: u8, index: u8) -> Step {
        let Entry::Folio(frame) = self.state.page(file, index).slot else {
            return Ok(());
        };
        let folio = *self.state.folio(frame);
        if folio.writeback || (folio.dirty && folio.locked) {
            return Err(Blocked);
        }
        if !folio.dirty {
            return Ok(());
        }
        let me = self.me;
        (self.me.file, self.me.index) = (file, index);
        let old = self.page().block;
        let in_place = old.is_some_and(|block| self.users(block) == 1);
        let written = self.block_to_write(in_place);
        if written.is_ok() {
            let block = self.me.block;
            self.state.folio_mut(frame).dirty = false;
            self.write_block(folio.data);
            if !in_place {
                self.remap(block);
            }
        }
        let valid = self.me.valid;
        self.me = Thread { valid, ..me };
        written
    }

    // Locks of files

    fn lock_file(&mut self, then: Pc) -> Step {
        if self.file().writing {
            return Err(Blocked);
        }
        self.file().writing = true;
        self.goto(then);
        Ok(())
    }

    fn lock_mapping(&mut self) -> Step {
        let file = self.file();
        if file.invalidating || file.populating != 0 {
            return Err(Blocked);
        }
        file.invalidating = true;
        self.goto(Pc::Load);
        Ok(())
    }
}
