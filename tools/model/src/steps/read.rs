// SPDX-License-Identifier: GPL-2.0

//! Reading: looking a slot up, populating it, and faults.

use super::{Blocked, Rule, Step, Stepper};
use crate::state::*;

impl Stepper<'_> {
    // Looking up

    pub(super) fn load(&mut self) {
        self.me.seen = self.slot();
        let pc = match (self.me.op, self.me.seen) {
            (Op::Read | Op::Fault | Op::Store, Entry::Empty) => Pc::Populate,
            (Op::Write, Entry::Empty) => return self.add_folio(Pc::Modify),
            (Op::Punch | Op::Reflink | Op::Evict, Entry::Empty) => Pc::Forget,
            (Op::Punch | Op::Reflink | Op::Evict, Entry::Alias(_)) => {
                if self.rules.has(Rule::DropBeforeRemap) {
                    return self.drop_then(Pc::Load);
                }
                Pc::Forget
            }
            _ => Pc::Get,
        };
        self.goto(pc);
    }

    pub(super) fn get(&mut self) {
        let seen = std::mem::take(&mut self.me.seen);
        let unchanged = self.slot() == seen;
        let Some(frame) = seen.frame() else {
            return self.goto(Pc::Load);
        };
        if !self.try_get(frame, unchanged) {
            return self.goto(Pc::Load);
        }
        self.me.seen = seen;
        let pc = match (self.me.op, seen) {
            (Op::Read, _) => Pc::Look,
            (Op::Fault, _) => Pc::FaultLock,
            (Op::Write | Op::Store, Entry::Alias(_)) => Pc::BreakLock,
            (Op::Write, _) => Pc::LockOwn,
            (Op::Store, _) => Pc::StoreLock,
            _ => Pc::TruncateLock,
        };
        self.goto(pc);
    }

    // read(2)

    pub(super) fn start_read(&mut self) {
        let page = *self.page();
        self.me.may_read = (1 << page.expected) | page.pending.map_or(0, |content| 1 << content);
        self.goto(Pc::Load);
    }

    pub(super) fn look(&mut self) {
        let folio = *self.found();
        if !folio.uptodate {
            return self.goto(Pc::WaitToRead);
        }
        if self.me.may_read & (1 << folio.data) == 0 {
            self.state.fail(Wrong::StaleRead);
        }
        self.put_found();
        self.done();
    }

    /// filemap_update_page()
    pub(super) fn wait_to_read(&mut self) -> Step {
        if self.file().invalidating {
            return Err(Blocked);
        }
        if self.found().locked {
            self.put_found();
            self.goto(Pc::WaitUnlocked);
        } else if !self.is_mine() {
            self.put_found();
            self.drop_failed();
        } else if self.found().uptodate {
            self.goto(Pc::Look);
        } else {
            // With the invalidate_lock for the moment: the step is atomic.
            self.found().locked = true;
            let block = self.page().block;
            let frame = self.me.found.unwrap_or_default();
            self.read(frame, block);
            self.goto(Pc::WaitOwnRead);
        }
        Ok(())
    }

    /// folio_put_wait_locked()
    pub(super) fn wait_unlocked(&mut self) -> Step {
        if let Some(frame) = self.me.seen.frame() {
            let folio = self.state.folio(frame);
            if folio.refs != 0 && folio.locked {
                return Err(Blocked);
            }
        }
        self.drop_failed();
        Ok(())
    }

    pub(super) fn drop_failed(&mut self) {
        self.me.seen = Entry::Empty;
        self.drop_then(Pc::Load);
    }

    pub(super) fn wait_own_read(&mut self) -> Step {
        if self.found().locked {
            return Err(Blocked);
        }
        if self.found().uptodate {
            self.goto(Pc::Look);
        } else {
            // The error is the reader's.
            self.put_found();
            self.done();
        }
        Ok(())
    }

    /// Reads a block into a locked folio, or zeroes.
    ///
    /// A file's own folio gets what is in the block now. A file system that gives a block away, or
    /// lets another file write to it, while this read is in flight, does so without homes, too: it
    /// is not what is looked for here. A home's folio gets what the device has when it reads.
    pub(super) fn read(&mut self, frame: Frame, block: Option<Block>) {
        let data = block.map_or(ZEROES, |block| self.state.disk[usize::from(block)]);
        let folio = self.state.folio_mut(frame);
        folio.reading = block;
        if !matches!(folio.owner, Owner::Home(_)) {
            folio.data = data;
        }
        if block.is_none() {
            folio.uptodate = true;
            folio.locked = false;
        }
    }

    // Populating

    pub(super) fn populate(&mut self) -> Step {
        if self.file().invalidating {
            return Err(Blocked);
        }
        let block = self.page().block;
        if self.choice != 0 && (block.is_none() || self.me.alone) {
            return Err(Blocked);
        }
        self.file().populating += 1;
        if self.choice != 0 {
            self.me.block = block;
            self.me.valid = true;
            self.goto(Pc::AskGet);
        } else {
            self.fill();
        }
        Ok(())
    }

    fn fill(&mut self) {
        if self.slot() == Entry::Empty {
            self.add_folio(Pc::Map);
        } else {
            self.populated();
        }
    }

    /// What the home has needs no folio: all of it with the fragments locked.
    pub(super) fn ask_get(&mut self) -> Step {
        if self.state.fragments_locked {
            return Err(Blocked);
        }
        let Some(frame) = self.state.home[self.my_block()] else {
            self.fill();
            return Ok(());
        };
        // It looks again for as long as the folio is frozen.
        if !self.try_get(frame, true) {
            return Err(Blocked);
        }
        self.state.fragments_locked = true;
        self.goto(Pc::AskStore);
        Ok(())
    }

    pub(super) fn ask_store(&mut self) {
        let home = Owner::Home(self.my_block() as Block);
        let frame = self.me.found.unwrap_or_default();
        let empty = self.slot() == Entry::Empty || !self.rules.has(Rule::AskSlotEmpty);
        if empty
            && self.may_become_alias()
            && self.found().owner == home
            && self.found().aliases != 0
        {
            self.cover();
            self.found().aliases += 1;
            self.page().slot = Entry::Alias(frame);
        }
        self.state.fragments_locked = false;
        self.put_found();
        self.fill();
    }

    /// Asks the file system, with the choice not to offer the page to the home.
    pub(super) fn map(&mut self) -> Step {
        let block = self.page().block;
        let alone = self.me.alone;
        if self.choice != 0 && (block.is_none() || alone) {
            return Err(Blocked);
        }
        if block.is_none() || alone || self.choice != 0 {
            self.me.block = block;
            self.me.valid = true;
            self.submit();
            return Ok(());
        }
        self.me.block = block;
        self.me.valid = true;
        self.goto(Pc::HomeLoad);
        Ok(())
    }

    pub(super) fn populated(&mut self) {
        self.file().populating -= 1;
        self.me.block = None;
        self.me.valid = false;
        self.me.seen = Entry::Empty;
        self.goto(Pc::Load);
    }

    pub(super) fn my_block(&self) -> usize {
        usize::from(self.me.block.unwrap_or_default())
    }

    pub(super) fn home_load(&mut self) {
        match self.state.home[self.my_block()] {
            None => self.goto(Pc::Donate),
            Some(frame) => {
                self.me.seen = Entry::Folio(frame);
                self.goto(Pc::HomeGet);
            }
        }
    }

    pub(super) fn home_get(&mut self) {
        let seen = std::mem::take(&mut self.me.seen).frame();
        let unchanged = self.state.home[self.my_block()] == seen;
        let got = seen.is_some_and(|frame| self.try_get(frame, unchanged));
        self.goto(if got { Pc::Attach } else { Pc::HomeLoad });
    }

    /// The questions that are asked in the critical section in which a slot becomes an alias.
    pub(super) fn may_become_alias(&mut self) -> bool {
        let direct = self.file().direct != 0 && self.rules.has(Rule::DirectCount);
        let invalid = !self.me.valid && self.rules.has(Rule::ValidExtent);
        !direct && !invalid
    }

    pub(super) fn cover(&mut self) {
        if self.rules.has(Rule::Cover) {
            self.page().fragments = 1 << self.my_block();
        }
    }

    /// All of it with the fragments locked, and what others see in one critical section.
    pub(super) fn attach(&mut self) -> Step {
        if self.state.fragments_locked {
            return Err(Blocked);
        }
        self.cover();
        let home = Owner::Home(self.my_block() as Block);
        let frame = self.me.found.unwrap_or_default();
        if !self.may_become_alias() {
            self.put_found();
            self.goto(Pc::Submit);
        } else if self.found().owner != home {
            self.put_found();
            self.goto(Pc::HomeLoad);
        } else if self.found().aliases == 0 && self.rules.has(Rule::IncUnlessZero) {
            self.goto(Pc::Purge);
        } else {
            self.found().aliases += 1;
            self.page().slot = Entry::Alias(frame);
            let own = self.own();
            own.owner = Owner::Nobody;
            own.locked = false;
            own.refs -= 1;
            self.put_own();
            self.put_found();
            self.populated();
        }
        Ok(())
    }

    pub(super) fn purge(&mut self) {
        let block = self.my_block();
        if self.found().locked {
            self.put_found();
            return self.goto(Pc::Submit);
        }
        if self.found().owner == Owner::Home(block as Block) && self.found().aliases == 0 {
            self.take_from_home();
        }
        self.put_found();
        self.goto(Pc::HomeLoad);
    }

    /// The folio that was found leaves its home.
    pub(super) fn take_from_home(&mut self) {
        let frame = self.me.found;
        let Owner::Home(block) = self.found().owner else {
            return self.state.fail(Wrong::RemovedTwice);
        };
        if self.state.home[usize::from(block)] != frame {
            return self.state.fail(Wrong::RemovedTwice);
        }
        if self.found().aliases != 0 {
            self.state.fail(Wrong::FreedWithAliases);
        }
        self.state.home[usize::from(block)] = None;
        let found = self.found();
        found.owner = Owner::Nobody;
        found.refs -= 1;
    }

    /// The folio is arriving: in the home's tree, but still the file's.
    pub(super) fn donate(&mut self) -> Step {
        if self.state.fragments_locked {
            return Err(Blocked);
        }
        let block = self.my_block();
        if self.state.home[block].is_some() {
            self.goto(Pc::HomeLoad);
            return Ok(());
        }
        self.state.fragments_locked = true;
        self.cover();
        self.state.home[block] = self.me.own;
        self.goto(Pc::DonateStore);
        Ok(())
    }

    pub(super) fn donate_store(&mut self) {
        let block = self.my_block();
        self.state.fragments_locked = false;
        if self.may_become_alias() {
            let frame = self.me.own.unwrap_or_default();
            self.own().owner = Owner::Home(block as Block);
            self.own().aliases = 1;
            self.page().slot = Entry::Alias(frame);
        } else {
            self.state.home[block] = None;
        }
        self.goto(Pc::Submit);
    }

    pub(super) fn submit(&mut self) {
        let frame = self.me.own.unwrap_or_default();
        let private = matches!(self.own().owner, Owner::File(..));
        // A file system does not read a block that the file may have no more. How it sees to it
        // is not the page cache's business.
        if private && !self.me.valid {
            self.me.alone = true;
            return self.goto(Pc::Map);
        }
        let block = self.me.block;
        self.read(frame, block);
        self.put_own();
        self.populated();
    }

    // Faults

    pub(super) fn start_fault(&mut self) -> Step {
        if self.page().pte != Pte::None {
            return Err(Blocked);
        }
        self.goto(Pc::Load);
        Ok(())
    }

    pub(super) fn fault_lock(&mut self) -> Step {
        if self.found().locked {
            return Err(Blocked);
        }
        // One step: nobody sees the page table entry but with this lock.
        let seen = std::mem::take(&mut self.me.seen);
        let stays = match seen {
            Entry::Alias(_) => self.slot() == seen || !self.rules.has(Rule::RecheckInFault),
            _ => self.is_mine(),
        };
        let frame = self.me.found;
        if !stays {
            self.put_found();
            self.goto(Pc::Load);
        } else if !self.found().uptodate {
            // As a reader that fails; a fault gives up.
            self.put_found();
            self.done();
        } else {
            if let (Pte::None, Some(frame)) = (self.page().pte, frame) {
                self.found().refs += 1;
                self.page().pte = Pte::Maps(frame);
            }
            self.put_found();
            self.done();
        }
        Ok(())
    }
}
