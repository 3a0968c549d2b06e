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

    // home_migrate_folio(), with both folios locked

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
        dst.uptodate = src.uptodate;
        dst.data = src.data;
        dst.aliases = src.aliases;
        self.goto(Pc::MvReplace);
        if self.rules.has(Rule::MigrateCountLocked) {
            self.mv_replace()?;
        }
        Ok(())
    }

    /// In one critical section of the home's `i_pages`, freezes the folio, which fails if somebody
    /// has a reference, and replaces it. It goes on saying that it is the home's.
    pub(super) fn mv_replace(&mut self) -> Step {
        if !self.rules.has(Rule::MigrateCountLocked) {
            self.lock_fragments()?;
        }
        let block = self.my_block();
        if self.found().refs != 2 && self.rules.has(Rule::MigrateFreeze) {
            self.state.fragments_locked = false;
            self.put_own();
            self.restore();
            return Ok(());
        }
        let dst = self.own();
        dst.owner = Owner::Home(block as Block);
        dst.refs += 1;
        self.found().refs -= 1;
        self.state.home[block] = self.me.own;
        if !self.rules.has(Rule::MigrateLockDst) {
            self.own().locked = false;
        }
        if !self.rules.has(Rule::MigrateLockSrc) {
            self.found().locked = false;
        }
        self.goto(Pc::MvCountZero);
        Ok(())
    }

    /// Who had found the old folio must not attach to it.
    pub(super) fn mv_count_zero(&mut self) {
        if self.rules.has(Rule::MigrateCountZero) {
            self.found().aliases = 0;
        }
        if !self.rules.has(Rule::MigrateRewriteLocked) {
            self.state.fragments_locked = false;
        }
        let pc = if self.rules.has(Rule::MigrateRewriteLocked) {
            Pc::MvRewrite
        } else {
            Pc::MvRewriteLock
        };
        if !self.walk_goto(pc, Rule::MigrateRewriteLocked) {
            self.goto(Pc::MvForget);
        }
    }

    pub(super) fn mv_rewrite_lock(&mut self) -> Step {
        if !self.walk_begin(Pc::MvRewrite, Rule::MigrateRewriteLocked)? {
            self.goto(Pc::MvForget);
        }
        Ok(())
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
        if !self.walk_on(Pc::MvRewriteLock, Rule::MigrateRewriteLocked) {
            self.goto(Pc::MvForget);
        }
    }

    // migrate_folio_move()

    /// Not before the home is done does the old folio say that it is nobody's.
    pub(super) fn mv_forget(&mut self) {
        self.found().owner = Owner::Nobody;
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
