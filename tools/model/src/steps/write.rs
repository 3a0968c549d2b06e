// SPDX-License-Identifier: GPL-2.0

//! Writing: breaking an alias, write-back, and direct writes.

use super::{Blocked, Rule, Step, Stepper};
use crate::state::*;

impl Stepper<'_> {
    // write(2)

    pub(super) fn lock_own(&mut self) -> Step {
        if self.found().locked {
            return Err(Blocked);
        }
        self.me.seen = Entry::Empty;
        if self.is_mine() {
            self.found().locked = true;
            self.me.own = self.me.found.take();
            self.goto(Pc::Modify);
        } else {
            self.put_found();
            self.goto(Pc::Load);
        }
        Ok(())
    }

    pub(super) fn break_lock(&mut self) -> Step {
        if self.rules.has(Rule::HomeLock) {
            if self.found().locked {
                return Err(Blocked);
            }
            self.found().locked = true;
        }
        if !self.rules.has(Rule::BreakBeforeWrite) && self.me.op == Op::Write {
            self.me.seen = Entry::Empty;
            self.me.own = self.me.found.take();
            self.goto(Pc::Modify);
            return Ok(());
        }
        if self.found().aliases == 1 && self.found().uptodate {
            self.goto(Pc::TbFreeze);
        } else {
            self.copy_alias();
        }
        Ok(())
    }

    fn copy_alias(&mut self) {
        let home = *self.found();
        if let Some(frame) = self.alloc() {
            let own = self.state.folio_mut(frame);
            own.uptodate = home.uptodate;
            own.data = home.data;
            self.me.own = Some(frame);
            self.goto(Pc::BreakStore);
        }
    }

    // Home::take_back(), with the home folio locked

    /// Takes the fragments, so that nobody attaches, and freezes the folio; if somebody has it, it
    /// is copied. What the file has mapped is not somebody: it is unmapped.
    pub(super) fn tb_freeze(&mut self) -> Step {
        let locked = self.rules.has(Rule::TakeBackLocked);
        if locked && self.state.fragments_locked {
            return Err(Blocked);
        }
        if locked && self.found().aliases != 1 || self.slot() != self.me.seen {
            self.copy_alias();
            return Ok(());
        }
        self.unmap_alias();
        if self.found().refs != 2 && self.rules.has(Rule::TakeBackFreeze) {
            self.copy_alias();
            return Ok(());
        }
        self.state.fragments_locked |= locked;
        self.found().frozen = true;
        self.goto(Pc::TbHome);
        Ok(())
    }

    pub(super) fn tb_home(&mut self) {
        if let Owner::Home(block) = self.found().owner {
            self.state.home[usize::from(block)] = None;
        }
        self.goto(Pc::TbStore);
    }

    /// What was the home's reference is that of the file.
    pub(super) fn tb_store(&mut self) {
        let frame = self.me.found.unwrap_or_default();
        let owner = Owner::File(self.me.file, self.me.index);
        let folio = self.found();
        folio.owner = owner;
        folio.aliases = 0;
        folio.frozen = false;
        self.page().slot = Entry::Folio(frame);
        if self.rules.has(Rule::TakeBackLocked) {
            self.state.fragments_locked = false;
        }
        self.me.seen = Entry::Empty;
        self.me.own = self.me.found.take();
        if self.me.op == Op::Store {
            self.store_to_own();
        } else {
            self.goto(Pc::Modify);
        }
    }

    pub(super) fn unlock_home_folio(&mut self) {
        if self.rules.has(Rule::HomeLock) {
            self.found().locked = false;
        }
    }

    pub(super) fn break_store(&mut self) {
        let seen = std::mem::take(&mut self.me.seen);
        let frame = self.me.own.unwrap_or_default();
        if self.slot() != seen {
            self.put_own();
            self.unlock_home_folio();
            self.put_found();
            return self.goto(Pc::Load);
        }
        self.page().slot = Entry::Folio(frame);
        self.unmap_alias();
        let owner = Owner::File(self.me.file, self.me.index);
        self.own().owner = owner;
        self.own().refs += 1;
        self.alias_gone(Pc::BreakDec);
    }

    /// The slot is no alias any more: the count follows, here and now by the rule.
    pub(super) fn alias_gone(&mut self, dec: Pc) {
        self.goto(dec);
        if self.rules.has(Rule::DecWithSlot) {
            self.dec_alias();
        }
    }

    pub(super) fn modify(&mut self) {
        let page = *self.page();
        let own = *self.own();
        let base = match page.block {
            _ if own.uptodate => own.data,
            Some(block) => self.state.disk[usize::from(block)],
            None => ZEROES,
        };
        if base != page.expected {
            self.state.fail(Wrong::StaleBase);
        }
        let new = self.state.fresh();
        let own = self.own();
        own.data = new;
        own.uptodate = true;
        own.dirty = true;
        own.locked = false;
        self.expect(new);
        self.put_own();
        if self.me.op == Op::Write {
            self.file().writing = false;
        }
        self.done();
    }

    // A store through a mapping

    pub(super) fn start_store(&mut self) -> Step {
        // migration_entry_wait()
        if matches!(self.page().pte, Pte::Migrating(_)) {
            return Err(Blocked);
        }
        // What is going to be written to need not be shared first.
        self.me.alone = true;
        self.goto(Pc::Load);
        Ok(())
    }

    /// A broken alias: the folio is known to others, who may take it away again.
    pub(super) fn store_to_own(&mut self) {
        self.own().locked = false;
        self.me.found = self.me.own.take();
        self.goto(Pc::StoreLock);
    }

    /// The file system's page_mkwrite, with the invalidate_lock and the folio's lock for a moment.
    pub(super) fn store_lock(&mut self) -> Step {
        let file = *self.file();
        if file.invalidating || file.writing || self.found().locked {
            return Err(Blocked);
        }
        self.me.seen = Entry::Empty;
        if !self.is_mine() {
            self.put_found();
            self.goto(Pc::Load);
            return Ok(());
        }
        let frame = self.me.found.take();
        self.me.own = frame;
        if let (Pte::None, Some(frame)) = (self.page().pte, frame) {
            self.page().pte = Pte::Maps(frame);
            self.own().refs += 1;
        }
        self.modify();
        Ok(())
    }

    // Write-back

    pub(super) fn start_writeback(&mut self) -> Step {
        let Entry::Folio(frame) = self.slot() else {
            return Err(Blocked);
        };
        let folio = *self.state.folio(frame);
        if !folio.dirty || folio.writeback || folio.locked {
            return Err(Blocked);
        }
        self.block_to_write(self.choice == 0)?;
        let folio = self.state.folio_mut(frame);
        folio.dirty = false;
        folio.writeback = true;
        folio.refs += 1;
        self.me.found = Some(frame);
        self.goto(Pc::WbWrite);
        Ok(())
    }

    pub(super) fn wb_write(&mut self) {
        let data = self.found().data;
        self.write_block(data);
        let pc = if self.me.allocated {
            Pc::WbRemap
        } else {
            Pc::WbEnd
        };
        self.goto(pc);
    }

    pub(super) fn remap_allocated(&mut self) {
        let block = self.me.block.take();
        self.me.allocated = false;
        self.remap(block);
        let pc = if self.me.pc == Pc::WbRemap {
            Pc::WbEnd
        } else {
            Pc::DioPost
        };
        self.goto(pc);
    }

    pub(super) fn wb_end(&mut self) {
        self.found().writeback = false;
        self.put_found();
        self.done();
    }

    // Direct writes

    pub(super) fn dio_flush(&mut self) -> Step {
        let (file, index) = (self.me.file, self.me.index);
        // With a full disk there is no write.
        if self.flush(file, index).is_err() {
            let Entry::Folio(frame) = self.slot() else {
                return Err(Blocked);
            };
            let folio = self.state.folio(frame);
            if folio.locked || folio.writeback {
                return Err(Blocked);
            }
            self.file().writing = false;
            self.done();
            return Ok(());
        }
        self.goto(Pc::DioInvalidate);
        Ok(())
    }

    /// invalidate_inode_pages2_range(), before and after
    pub(super) fn dio_invalidate(&mut self) -> Step {
        let pc = self.me.pc;
        match self.slot() {
            Entry::Empty if pc == Pc::DioInvalidate => self.goto(Pc::DioBegin),
            Entry::Empty => self.goto(Pc::DioEnd),
            Entry::Alias(_) if pc == Pc::DioPost && !self.rules.has(Rule::DirectDrop) => {
                self.goto(Pc::DioEnd)
            }
            Entry::Alias(_) => self.drop_then(pc),
            Entry::Folio(frame) => {
                let folio = *self.state.folio(frame);
                if folio.locked || folio.writeback {
                    return Err(Blocked);
                }
                self.unmap();
                self.page().slot = Entry::Empty;
                self.state.folio_mut(frame).owner = Owner::Nobody;
                self.put(frame);
            }
        }
        Ok(())
    }

    pub(super) fn dio_begin(&mut self) {
        self.file().direct += 1;
        if self.rules.has(Rule::DirectDrop) {
            self.drop_then(Pc::DioMap);
        } else {
            self.goto(Pc::DioMap);
        }
    }

    pub(super) fn dio_map(&mut self) -> Step {
        let alone = self
            .page()
            .block
            .is_some_and(|block| self.users(block) == 1);
        if self.choice != 0 && !alone {
            return Err(Blocked);
        }
        if self.block_to_write(alone && self.choice == 0).is_err() {
            // The disk is full. The choice of a new block is no choice then.
            if alone {
                return Err(Blocked);
            }
            self.file().direct -= 1;
            self.file().writing = false;
            self.done();
            return Ok(());
        }
        let new = self.state.fresh();
        self.page().pending = Some(new);
        self.may_be_read(new);
        self.goto(Pc::DioWrite);
        Ok(())
    }

    pub(super) fn dio_write(&mut self) {
        let pending = self.page().pending.unwrap_or_default();
        self.write_block(pending);
        let pc = if self.me.allocated {
            Pc::DioRemap
        } else {
            self.me.block = None;
            Pc::DioPost
        };
        self.goto(pc);
    }

    pub(super) fn dio_end(&mut self) {
        if let Some(new) = self.page().pending.take() {
            self.expect(new);
        }
        self.file().direct -= 1;
        self.file().writing = false;
        self.done();
    }
}
