// SPDX-License-Identifier: GPL-2.0

//! Removing aliases and folios: dropping, truncation, sharing blocks, reclaim, eviction.

use super::{Blocked, Rule, Step, Stepper};
use crate::state::*;

impl Stepper<'_> {
    pub(super) fn unmap(&mut self) {
        let (file, index) = (self.me.file, self.me.index);
        self.unmap_page(file, index);
    }

    /// unmap_mapping_range() takes migration entries as well.
    fn unmap_page(&mut self, file: u8, index: u8) {
        let pte = std::mem::take(&mut self.state.page_mut(file, index).pte);
        if let Pte::Maps(frame) = pte {
            self.put(frame);
        }
    }

    pub(super) fn start_zap(&mut self) -> Step {
        if self.page().pte == Pte::None {
            return Err(Blocked);
        }
        self.unmap();
        self.done();
        Ok(())
    }

    /// As [`Self::unmap`], for an alias.
    pub(super) fn unmap_alias(&mut self) {
        let (file, index) = (self.me.file, self.me.index);
        self.unmap_alias_page(file, index);
    }

    fn unmap_alias_page(&mut self, file: u8, index: u8) {
        let migrating = matches!(self.state.page(file, index).pte, Pte::Migrating(_));
        if self.rules.has(Rule::Unmap) && (!migrating || self.rules.has(Rule::UnmapEntries)) {
            self.unmap_page(file, index);
        }
    }

    // put_alias(), after a break or a drop

    pub(super) fn dec_alias(&mut self) {
        if self.found().aliases == 0 {
            return self.state.fail(Wrong::CountBelowZero);
        }
        self.found().aliases -= 1;
        let last = self.found().aliases == 0;
        match (self.me.pc, last) {
            (Pc::BreakDec, true) => self.goto(Pc::BreakRemove),
            (_, true) => self.goto(Pc::DropRemove),
            _ => self.after_dec(),
        }
    }

    pub(super) fn remove_dead(&mut self) {
        self.take_from_home();
        self.after_dec();
    }

    pub(super) fn after_dec(&mut self) {
        let breaking = matches!(self.me.pc, Pc::BreakDec | Pc::BreakRemove);
        self.unlock_home_folio();
        self.put_found();
        if breaking && self.me.op == Op::Store {
            self.store_to_own();
        } else if breaking {
            self.goto(Pc::Modify);
        } else {
            self.dropped();
        }
    }

    // drop_alias()

    /// Removes the alias in the slot and goes on at `then`.
    pub(super) fn drop_then(&mut self, then: Pc) {
        self.me.seen = Entry::Empty;
        self.me.then = then;
        self.goto(Pc::DropLoad);
    }

    pub(super) fn dropped(&mut self) {
        self.me.seen = Entry::Empty;
        let then = std::mem::take(&mut self.me.then);
        if self.me.op == Op::Drop {
            return self.done();
        }
        self.goto(then);
    }

    /// Readers remove only what the home could not read.
    pub(super) fn is_for_failed(&self) -> bool {
        self.me.op == Op::Read
    }

    pub(super) fn is_nowait(&self) -> bool {
        matches!(self.me.op, Op::Read | Op::Drop)
    }

    pub(super) fn start_drop(&mut self) -> Step {
        if !matches!(self.slot(), Entry::Alias(_)) {
            return Err(Blocked);
        }
        self.drop_then(Pc::Start);
        Ok(())
    }

    pub(super) fn drop_load(&mut self) {
        self.me.seen = self.slot();
        match self.me.seen {
            Entry::Alias(_) => self.goto(Pc::DropGet),
            _ => self.dropped(),
        }
    }

    pub(super) fn drop_get(&mut self) {
        let seen = self.me.seen;
        let unchanged = self.slot() == seen;
        let got = seen
            .frame()
            .is_some_and(|frame| self.try_get(frame, unchanged));
        if !got {
            self.me.seen = Entry::Empty;
            self.goto(Pc::DropLoad);
        } else if self.is_for_failed() && self.found().uptodate {
            self.put_found();
            self.dropped();
        } else {
            self.goto(Pc::DropLock);
        }
    }

    pub(super) fn drop_lock(&mut self) -> Step {
        if self.rules.has(Rule::HomeLock) {
            if self.found().locked && !self.is_nowait() {
                return Err(Blocked);
            }
            if self.found().locked {
                self.put_found();
                self.dropped();
                return Ok(());
            }
            self.found().locked = true;
        }
        if self.is_for_failed() && self.found().uptodate {
            self.unlock_home_folio();
            self.put_found();
            self.dropped();
        } else {
            self.goto(Pc::DropClear);
        }
        Ok(())
    }

    pub(super) fn drop_clear(&mut self) {
        let seen = std::mem::take(&mut self.me.seen);
        if self.slot() == seen {
            self.page().slot = Entry::Empty;
            self.unmap_alias();
            if self.is_for_failed() {
                self.me.alone = true;
            }
            self.alias_gone(Pc::DropDec);
        } else {
            self.unlock_home_folio();
            self.put_found();
            self.goto(Pc::DropLoad);
        }
    }

    // Truncation, and what else empties a slot before the block map changes

    pub(super) fn truncate_lock(&mut self) -> Step {
        if self.found().locked || self.found().writeback {
            return Err(Blocked);
        }
        self.me.seen = Entry::Empty;
        if self.is_mine() {
            self.remove_own();
        }
        self.put_found();
        self.goto(Pc::Load);
        Ok(())
    }

    /// The file's own folio that was found leaves the page cache.
    pub(super) fn remove_own(&mut self) {
        self.unmap();
        self.page().slot = Entry::Empty;
        let found = self.found();
        found.owner = Owner::Nobody;
        found.dirty = false;
        found.refs -= 1;
    }

    pub(super) fn forget(&mut self) -> Step {
        if self.state.fragments_locked {
            return Err(Blocked);
        }
        let alias = matches!(self.slot(), Entry::Alias(_));
        if self.me.op == Op::Evict {
            return self.evict(alias);
        }
        if !alias {
            self.page().fragments = 0;
        }
        self.goto(Pc::Remap);
        Ok(())
    }

    pub(super) fn change_map(&mut self) {
        if self.me.op == Op::Reflink {
            let from = *self.state.page(self.me.file2, self.me.index2);
            self.remap(from.block);
            self.expect(from.expected);
            self.goto(Pc::AdoptInsert);
        } else {
            self.remap(None);
            self.expect(ZEROES);
            self.unlock_files();
        }
    }

    /// What the source has cached goes to the home, so that the clone finds it: it arrives there,
    /// locked. It is the choice not to do so.
    pub(super) fn adopt_insert(&mut self) -> Step {
        let page = *self.state.page(self.me.file2, self.me.index2);
        let (Some(block), Entry::Folio(frame)) = (page.block, page.slot) else {
            if self.choice == 0 {
                return Err(Blocked);
            }
            self.unlock_files();
            return Ok(());
        };
        if self.choice != 0 {
            self.unlock_files();
            return Ok(());
        }
        if let Pte::Maps(_) = page.pte {
            self.unmap_page(self.me.file2, self.me.index2);
        }
        let folio = *self.state.folio(frame);
        let clean = !folio.dirty && !folio.writeback || !self.rules.has(Rule::AdoptClean);
        let free = self.state.home[usize::from(block)].is_none();
        if self.state.fragments_locked || folio.locked || !folio.uptodate || !clean || !free {
            return Err(Blocked);
        }
        self.state.fragments_locked = true;
        self.state.home[usize::from(block)] = Some(frame);
        let folio = self.state.folio_mut(frame);
        folio.locked = true;
        folio.refs += 1;
        self.me.found = Some(frame);
        self.me.block = Some(block);
        self.goto(Pc::AdoptStore);
        Ok(())
    }

    /// It is the home's if nobody else has a reference, which is asked by freezing it.
    pub(super) fn adopt_store(&mut self) {
        let block = self.my_block();
        let frame = self.me.found.unwrap_or_default();
        if self.found().refs == 2 {
            self.found().owner = Owner::Home(block as Block);
            self.found().aliases = 1;
            let page = self.state.page_mut(self.me.file2, self.me.index2);
            page.fragments = 1 << block;
            page.slot = Entry::Alias(frame);
        } else {
            self.state.home[block] = None;
        }
        self.state.fragments_locked = false;
        self.found().locked = false;
        self.put_found();
        self.unlock_files();
    }

    fn unlock_files(&mut self) {
        if self.me.op == Op::Reflink {
            let file2 = usize::from(self.me.file2);
            self.state.files[file2].writing = false;
            self.state.files[file2].invalidating = false;
        }
        self.file().invalidating = false;
        self.file().writing = false;
        self.done();
    }

    pub(super) fn start_reflink(&mut self) -> Step {
        let (to, from) = (usize::from(self.me.file), usize::from(self.me.file2));
        if (self.me.file, self.me.index) == (self.me.file2, self.me.index2) {
            return Err(Blocked);
        }
        for file in [to, from] {
            let file = &self.state.files[file];
            if file.writing || file.invalidating || file.populating != 0 {
                return Err(Blocked);
            }
        }
        // What is dirty is written first, and there is nothing to do if both are the same.
        let (file2, index2) = (self.me.file2, self.me.index2);
        self.flush(file2, index2)?;
        let source = self.state.page(file2, index2).block;
        if source.is_none() || source == self.page().block {
            return Err(Blocked);
        }
        for file in [to, from] {
            self.state.files[file].writing = true;
            self.state.files[file].invalidating = true;
        }
        self.goto(Pc::Load);
        Ok(())
    }

    // Reclaim of home folios

    /// Takes a folio from the LRU: the page is that of the block.
    pub(super) fn start_reclaim(&mut self) -> Step {
        let block = self.me.index as Block;
        if self.me.file != 0 {
            return Err(Blocked);
        }
        let frame = self.state.home.get(usize::from(block)).copied().flatten();
        let frame = frame.ok_or(Blocked)?;
        let mapped = self.mapped(frame);
        let folio = self.state.folio_mut(frame);
        if folio.owner != Owner::Home(block) || folio.locked || folio.refs != 1 + mapped {
            return Err(Blocked);
        }
        folio.refs += 1;
        folio.locked = true;
        let pc = if folio.aliases == 0 || !self.rules.has(Rule::ReleaseBeforeFree) {
            Pc::RcFinish
        } else {
            Pc::RcFragments
        };
        self.me = Thread {
            op: self.me.op,
            found: Some(frame),
            block: Some(block),
            ..Thread::default()
        };
        self.goto(pc);
        Ok(())
    }

    pub(super) fn mapped(&self, frame: Frame) -> u8 {
        self.state
            .pages()
            .filter(|(_, _, page)| page.pte == Pte::Maps(frame))
            .count() as u8
    }

    pub(super) fn rc_fragments(&mut self) -> Step {
        if self.state.fragments_locked {
            return Err(Blocked);
        }
        self.state.fragments_locked = true;
        self.goto(Pc::RcClear);
        Ok(())
    }

    pub(super) fn next_page(&mut self) {
        self.me.index2 += 1;
        if usize::from(self.me.index2) == SLOTS {
            self.me.index2 = 0;
            self.me.file2 += 1;
        }
    }

    /// The page that is looked at, or the next one that a fragment of the block covers.
    pub(super) fn covered_page(&mut self) -> Option<(u8, u8)> {
        let block = self.my_block();
        while usize::from(self.me.file2) < FILES {
            let (file, index) = (self.me.file2, self.me.index2);
            if self.state.page(file, index).fragments & (1 << block) != 0 {
                return Some((file, index));
            }
            self.next_page();
        }
        None
    }

    /// Looks at the next slot that a fragment of the block covers.
    pub(super) fn rc_clear(&mut self) {
        if let Some((file, index)) = self.covered_page() {
            let page = *self.state.page(file, index);
            if self.state.files[usize::from(file)].evicted {
                return self.state.fail(Wrong::UseAfterFree);
            }
            if page.slot.frame() == self.me.found && matches!(page.slot, Entry::Alias(_)) {
                self.state.page_mut(file, index).slot = Entry::Empty;
                self.unmap_alias_page(file, index);
                self.goto(Pc::RcDec);
                if self.rules.has(Rule::DecWithSlot) {
                    self.rc_dec();
                }
                return;
            }
            // Each look is a step: others go on between them.
            self.next_page();
            return;
        }
        self.goto(Pc::RcRelease);
    }

    pub(super) fn rc_dec(&mut self) {
        if self.found().aliases == 0 {
            return self.state.fail(Wrong::CountBelowZero);
        }
        self.found().aliases -= 1;
        let last = self.found().aliases == 0;
        self.next_page();
        self.goto(if last { Pc::RcRelease } else { Pc::RcClear });
    }

    pub(super) fn rc_release(&mut self) {
        self.state.fragments_locked = false;
        (self.me.file2, self.me.index2) = (0, 0);
        if self.found().aliases == 0 {
            self.goto(Pc::RcFinish);
        } else {
            self.found().locked = false;
            self.put_found();
            self.done();
        }
    }

    /// Freezes the folio, which fails if somebody else has a reference.
    pub(super) fn rc_finish(&mut self) {
        if self.found().refs == 2 {
            self.take_from_home();
        }
        self.found().locked = false;
        self.put_found();
        self.done();
    }

    // Eviction

    pub(super) fn start_evict(&mut self) -> Step {
        let file = self.me.file;
        if self.me.index != 0 {
            return Err(Blocked);
        }
        let used = self.state.threads.iter().any(|thread| {
            !matches!(thread.op, Op::Idle | Op::Reclaim | Op::Migrate)
                && (thread.file == file || thread.op == Op::Reflink && thread.file2 == file)
        });
        let busy = (0..SLOTS as u8).any(|index| {
            let page = self.state.page(file, index);
            page.pte != Pte::None
                || match page.slot {
                    Entry::Folio(frame) => {
                        let folio = self.state.folio(frame);
                        folio.dirty || folio.writeback
                    }
                    _ => false,
                }
        });
        if used || busy {
            return Err(Blocked);
        }
        self.goto(Pc::Load);
        Ok(())
    }

    /// The fragments of a page are forgotten; with the last page the inode goes.
    pub(super) fn evict(&mut self, alias: bool) -> Step {
        if alias {
            self.state.fail(Wrong::EvictedWithAliases);
            return Ok(());
        }
        self.page().fragments = 0;
        self.me.index += 1;
        if usize::from(self.me.index) < SLOTS {
            self.goto(Pc::Load);
        } else {
            self.file().evicted = true;
            self.done();
        }
        Ok(())
    }
}
