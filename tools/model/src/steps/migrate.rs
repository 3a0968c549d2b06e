// SPDX-License-Identifier: GPL-2.0

//! Migration: the data of a home folio goes to another page frame, and with it all aliases and page
//! table entries. `mm/migrate.c` is the code for what has "folio" in its name there, the home for
//! the rest.
//!
//! The folio that moves is what the thread has found, the one that it moves to is its own.

use super::{Blocked, Rule, Step, Stepper};
use crate::state::*;

impl Stepper<'_> {
    /// Takes a folio from the LRU, where others that do so will not find it, and locks it later.
    pub(super) fn start_migrate(&mut self) -> Step {
        let block = self.me.index as Block;
        let frame = self.state.home.get(usize::from(block)).copied().flatten();
        let frame = frame.ok_or(Blocked)?;
        let isolated = self.state.threads.iter().any(|thread| {
            matches!(thread.op, Op::Reclaim | Op::Migrate) && thread.found == Some(frame)
        });
        let folio = self.state.folio_mut(frame);
        if folio.owner != Owner::Home(block) || isolated {
            return Err(Blocked);
        }
        folio.refs += 1;
        self.me = Thread {
            op: Op::Migrate,
            found: Some(frame),
            block: Some(block),
            ..Thread::default()
        };
        self.goto(Pc::MvLock);
        Ok(())
    }

    /// Locks it, and allocates what it moves to, of which nobody knows yet.
    pub(super) fn mv_lock(&mut self) -> Step {
        if self.found().locked {
            return Err(Blocked);
        }
        let home = Owner::Home(self.my_block() as Block);
        if self.found().owner != home {
            // It left the home before it was locked.
            self.put_found();
            self.done();
            return Ok(());
        }
        self.found().locked = true;
        self.me.own = self.alloc();
        let src = self.me.found.unwrap_or_default();
        // With the lock nobody maps it any more.
        let mapped = self.mapped(src) != 0;
        self.goto(if mapped { Pc::MvUnmapLock } else { Pc::MvCopy });
        Ok(())
    }

    // try_to_migrate(), and remove_migration_ptes() with the same walk
    //
    // The walk takes the fragments and looks at the page tables of one page after the other. With
    // the rule, the lock is one step with the first look and the unlock one with the last: what
    // others do between could as well be done before, and after.

    /// Begins a walk at the first page, or says that there is none.
    ///
    /// By the rule the fragments are locked from here to the last page. Else each page is found in
    /// one step and looked at in another, when it may be gone.
    fn walk_begin(&mut self, look: Pc, rule: Rule) -> Result<bool, Blocked> {
        if self.rules.has(rule) {
            self.lock_fragments()?;
        }
        Ok(self.walk_goto(look, rule))
    }

    fn walk_goto(&mut self, pc: Pc, rule: Rule) -> bool {
        let found = self.covered_page().is_some();
        if found {
            self.goto(pc);
        } else {
            (self.me.file2, self.me.index2) = (0, 0);
            if self.rules.has(rule) {
                self.state.fragments_locked = false;
            }
        }
        found
    }

    /// Goes on to the next page, or says that there is none.
    fn walk_on(&mut self, find: Pc, rule: Rule) -> bool {
        self.next_page();
        let pc = if self.rules.has(rule) {
            self.me.pc
        } else {
            find
        };
        self.walk_goto(pc, rule)
    }

    /// The page that is looked at now.
    fn walk_page(&mut self) -> Option<&mut Page> {
        let (file, index) = (self.me.file2, self.me.index2);
        if self.state.files[usize::from(file)].evicted {
            self.state.fail(Wrong::UseAfterFree);
            return None;
        }
        Some(self.state.page_mut(file, index))
    }

    fn lock_fragments(&mut self) -> Step {
        if self.state.fragments_locked {
            return Err(Blocked);
        }
        self.state.fragments_locked = true;
        Ok(())
    }

    pub(super) fn mv_unmap_lock(&mut self) -> Step {
        if !self.walk_begin(Pc::MvUnmap, Rule::MigrateWalkLocked)? {
            self.goto(Pc::MvCopy);
        } else if self.rules.has(Rule::MigrateWalkLocked) {
            self.mv_unmap();
        }
        Ok(())
    }

    pub(super) fn mv_unmap(&mut self) {
        let src = self.me.found.unwrap_or_default();
        if let Some(page) = self.walk_page() {
            if page.pte == Pte::Maps(src) {
                page.pte = Pte::Migrating(src);
                self.put(src);
            }
        }
        if !self.walk_on(Pc::MvUnmapLock, Rule::MigrateWalkLocked) {
            self.goto(Pc::MvCopy);
        }
    }

    // Home::migrate(), with both folios locked

    /// Takes the fragments, and copies data and count to a folio that nobody sees.
    ///
    /// One step with the next: what others do after the fragments are locked could as well be done
    /// before.
    pub(super) fn mv_copy(&mut self) -> Step {
        if self.rules.has(Rule::MigrateCountLocked) {
            self.lock_fragments()?;
        }
        let src = *self.found();
        let dst = self.own();
        dst.data = src.data;
        dst.aliases = src.aliases;
        self.goto(Pc::MvBegin);
        if self.rules.has(Rule::MigrateCountLocked) {
            self.mv_begin()?;
        }
        Ok(())
    }

    /// Freezes the folio, which fails if somebody has a reference. From now on, who finds it in
    /// the home or by an alias looks again and again; who finds the other one by an alias waits for
    /// its lock, as it is not up to date.
    pub(super) fn mv_begin(&mut self) -> Step {
        if !self.rules.has(Rule::MigrateCountLocked) {
            self.lock_fragments()?;
        }
        let home = Owner::Home(self.my_block() as Block);
        if self.found().refs != 2 && self.rules.has(Rule::MigrateFreeze) {
            self.state.fragments_locked = false;
            self.put_own();
            self.restore();
            return Ok(());
        }
        self.found().frozen = self.rules.has(Rule::MigrateStaysFrozen);
        let dst = self.own();
        dst.owner = home;
        dst.refs += 1;
        if !self.rules.has(Rule::MigrateLockDst) {
            self.own().locked = false;
        }
        if !self.rules.has(Rule::MigrateLockSrc) {
            self.found().locked = false;
        }
        let locked = self.rules.has(Rule::MigrateRewriteLocked);
        if !locked {
            self.state.fragments_locked = false;
        }
        let pc = if locked {
            Pc::MvRewrite
        } else {
            Pc::MvRewriteLock
        };
        if self.covered_page().is_some() {
            self.goto(pc);
        } else {
            self.rewritten();
        }
        Ok(())
    }

    fn rewritten(&mut self) {
        (self.me.file2, self.me.index2) = (0, 0);
        self.goto(Pc::MvEnd);
    }

    pub(super) fn mv_rewrite_lock(&mut self) {
        if self.covered_page().is_some() {
            self.goto(Pc::MvRewrite);
        } else {
            self.rewritten();
        }
    }

    /// Under the `i_pages` lock of the file, which is not held together with the home's.
    pub(super) fn mv_rewrite(&mut self) {
        let (src, dst) = (
            self.me.found.unwrap_or_default(),
            self.me.own.unwrap_or_default(),
        );
        if let Some(page) = self.walk_page() {
            if page.slot == Entry::Alias(src) {
                page.slot = Entry::Alias(dst);
            }
        }
        self.next_page();
        if self.covered_page().is_none() {
            self.rewritten();
        } else if !self.rules.has(Rule::MigrateRewriteLocked) {
            self.goto(Pc::MvRewriteLock);
        }
    }

    /// Replaces the folio in its home, in one critical section of its `i_pages`, in which it is
    /// frozen no more: it goes on saying that it is the home's, but nothing leads to it.
    pub(super) fn mv_end(&mut self) {
        let block = self.my_block();
        self.state.home[block] = self.me.own;
        let src = self.found();
        src.aliases = 0;
        src.frozen = false;
        src.refs -= 1;
        if self.rules.has(Rule::MigrateRewriteLocked) {
            self.state.fragments_locked = false;
        }
        self.goto(Pc::MvForget);
    }

    // migrate_folio_move()

    /// `folio_migrate_flags()` and what comes after: the old folio is nobody's, nor charged to
    /// anybody, and the new one is up to date if that was.
    pub(super) fn mv_forget(&mut self) {
        if self.found().refs != 1 {
            return self.state.fail(Wrong::MovedInUse);
        }
        let uptodate = self.found().uptodate;
        self.found().owner = Owner::Nobody;
        self.own().uptodate = uptodate;
        self.restore();
    }

    /// Goes on with the migration entries, if there are any left.
    fn restore(&mut self) {
        let src = self.me.found.unwrap_or_default();
        let waiting = self
            .state
            .pages()
            .any(|(_, _, page)| page.pte == Pte::Migrating(src));
        if waiting {
            self.goto(Pc::MvRestoreLock);
        } else {
            self.restored();
        }
    }

    fn restored(&mut self) {
        self.goto(match self.me.own {
            Some(_) => Pc::MvUnlockDst,
            None => Pc::MvUnlockSrc,
        });
    }

    pub(super) fn mv_restore_lock(&mut self) -> Step {
        if !self.walk_begin(Pc::MvRestore, Rule::MigrateWalkLocked)? {
            self.restored();
        } else if self.rules.has(Rule::MigrateWalkLocked) {
            self.mv_restore();
        }
        Ok(())
    }

    /// Back to the old folio if it has not moved.
    pub(super) fn mv_restore(&mut self) {
        let src = self.me.found.unwrap_or_default();
        let now = self.me.own.unwrap_or(src);
        if let Some(page) = self.walk_page() {
            if page.pte == Pte::Migrating(src) {
                page.pte = Pte::Maps(now);
                self.state.folio_mut(now).refs += 1;
            }
        }
        if !self.walk_on(Pc::MvRestoreLock, Rule::MigrateWalkLocked) {
            self.restored();
        }
    }

    pub(super) fn mv_unlock_dst(&mut self) {
        if self.rules.has(Rule::MigrateLockDst) {
            self.own().locked = false;
        }
        self.put_own();
        self.goto(Pc::MvUnlockSrc);
    }

    pub(super) fn mv_unlock_src(&mut self) {
        let moved = self.found().owner == Owner::Nobody;
        if self.rules.has(Rule::MigrateLockSrc) || !moved {
            self.found().locked = false;
        }
        self.put_found();
        self.done();
    }
}
