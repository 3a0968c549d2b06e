// SPDX-License-Identifier: GPL-2.0

//! How many pages of files name a folio of a home, and what may be concluded from that.
//!
//! The count is one word of the folio. It says two things that change together:
//!
//! - how many *slots* of files name a page of the folio,
//! - how many aliases are *whole*: one entry, which names all of the folio.
//!
//! A folio is dead when no slot names it. But that it is not says nothing about a single page, if
//! it has several: the slots may name others. A page that no file has may be anybody's next, and
//! what is on the device then is not what is in the folio any more. So who attaches to a page needs
//! somebody who *vouches* for it, by an alias to that same page. A whole alias vouches for all
//! pages, and whether there is one is part of the word: it is asked, and the new alias counted, in
//! one step. Where there are only parts left, whoever attaches has to find one that names the page,
//! with the folio locked, so that it stays; see [`AliasCount::take_vouched`].
//!
//! To a folio of one page, every alias is whole.

use super::{
    entry::Pfn,
    Entry,
    Folio,
    FreedFolio, //
};
use crate::{
    bindings,
    ffi::c_void,
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed,
        Release, //
    },
};
use core::{
    cell::Cell,
    ptr, //
};

/// One whole alias, in the word.
const WHOLE: usize = 1 << bindings::page_cache_alias_word_PAGE_CACHE_WHOLE_SHIFT;

/// The part of the word that is the number of slots.
const SLOTS: usize = WHOLE - 1;

/// How many aliases there are to a folio.
pub(super) struct AliasCount<'a> {
    word: &'a Atomic<usize>,
    order: u32,
}

impl<'a> AliasCount<'a> {
    /// More whole aliases than that are not given out: reclaim visits all of them, with a mutex
    /// held. With all those of the largest folio, the slots still fit into the word.
    const MAX: usize = 1 << 16;

    /// # Safety
    ///
    /// The folio must be a home's, or have been one since the caller has a reference to it, or be
    /// about to become one: locked by the caller, and without private data.
    pub(super) unsafe fn of(folio: &'a Folio) -> Self {
        Self {
            // SAFETY: The folio exists, as there is a reference to it. By the safety requirements
            // its word for private data is used for nothing but the count, and all accesses to
            // that are through this type.
            word: unsafe { Atomic::from_ptr(bindings::page_cache_alias_count(folio.as_ptr())) },
            order: folio.order(),
        }
    }

    /// # Safety
    ///
    /// The folio must have been a home's.
    pub(super) unsafe fn of_freed(folio: &'a FreedFolio<'_>) -> Self {
        Self {
            // SAFETY: The folio exists, and as in `of`.
            word: unsafe { Atomic::from_ptr(bindings::page_cache_alias_count(folio.as_ptr())) },
            order: folio.nr_pages().trailing_zeros(),
        }
    }

    /// How many slots name a page of the folio.
    pub(super) fn slots(&self) -> usize {
        self.word.load(Acquire) & SLOTS
    }

    /// Nobody names it.
    pub(super) fn is_zero(&self) -> bool {
        self.slots() == 0
    }

    /// Its word is used for nothing: for no private data either.
    pub(super) fn is_unused(&self) -> bool {
        self.word.load(Acquire) == 0
    }

    /// It is not given out to more files.
    pub(super) fn is_full(&self) -> bool {
        Self::is_too_much(self.word.load(Relaxed), self.order)
    }

    fn is_too_much(word: usize, order: u32) -> bool {
        (word & SLOTS) >> order >= Self::MAX
    }

    /// Somebody has a whole alias, who vouches for all pages.
    pub(super) fn has_whole(&self) -> bool {
        self.word.load(Relaxed) >= WHOLE
    }

    /// There is one alias, and it names the whole folio.
    pub(super) fn is_one_whole(&self) -> bool {
        self.word.load(Acquire) == WHOLE + (1 << self.order)
    }

    /// Arriving to live: the first alias names all of it. Publishes what was written to the folio
    /// before.
    pub(super) fn first(&self) {
        self.word.store(WHOLE + (1 << self.order), Release);
    }

    /// Makes it zero whatever it was, for who uses the word next.
    pub(super) fn clear(&self) {
        self.word.store(0, Relaxed);
    }

    /// Takes over the aliases of the folio that this one is to replace, and that nobody can attach
    /// to at the moment.
    pub(super) fn copy(&self, from: &AliasCount<'_>) {
        self.word.store(from.word.load(Acquire), Relaxed);
    }

    /// What an alias of `order` is in the word.
    fn weight(&self, order: u32) -> usize {
        (1 << order) + if order == self.order { WHOLE } else { 0 }
    }

    /// Counts another alias, of `order`, if somebody vouches for all pages. Says `false` if nobody
    /// does, or if there are aliases enough.
    ///
    /// With the last whole alias nobody vouches any more, and it stays like that: it takes one to
    /// get another.
    pub(super) fn take(&self, order: u32) -> bool {
        self.add_if(order, |word| word >= WHOLE)
    }

    /// As [`Self::take`], for who has seen an alias to the same pages, with the folio locked.
    pub(super) fn take_vouched(&self, order: u32) -> bool {
        self.add_if(order, |word| word & SLOTS != 0)
    }

    fn add_if(&self, order: u32, may: impl Fn(usize) -> bool) -> bool {
        let mut old = self.word.load(Relaxed);
        while may(old) && !Self::is_too_much(old, self.order) {
            match self.word.cmpxchg(old, old + self.weight(order), Full) {
                Ok(_) => return true,
                Err(now) => old = now,
            }
        }
        false
    }

    /// Undoes [`Self::take`].
    pub(super) fn put(&self, order: u32) {
        self.sub(self.weight(order));
    }

    fn sub(&self, weight: usize) {
        let old = self.word.fetch_sub(weight, Full);
        debug_assert!(old & SLOTS >= weight & SLOTS && old >= weight);
    }

    /// Empties the slots from `first` to `last` of a file if they hold `alias`, or more of it, and
    /// counts that. Says whether they did.
    ///
    /// With `unmap`, the pages that the slots named are unmapped from the file.
    ///
    /// # Safety
    ///
    /// `alias` must name the folio of this count, which is locked, and be for at least these slots;
    /// `mapping` must be that of an inode that stays for the call.
    pub(super) unsafe fn clear_alias(
        &self,
        mapping: *mut bindings::address_space,
        first: usize,
        last: usize,
        alias: Pfn,
        unmap: bool,
    ) -> bool {
        let gone = Gone::new(self, alias);
        // SAFETY: By the safety requirements; `Gone::slots` is given what it asks for.
        unsafe {
            bindings::page_cache_slot_clear_alias(
                mapping,
                first,
                last,
                Entry::Alias(alias).into_raw(),
                unmap,
                Some(Gone::slots),
                gone.as_data(),
            )
        }
    }

    /// Takes all of an alias, which begins at `index`, from a file that loses the pages for the sake
    /// of others.
    ///
    /// # Safety
    ///
    /// As for [`Self::clear_alias`].
    pub(super) unsafe fn reclaim_alias(
        &self,
        mapping: *mut bindings::address_space,
        index: usize,
        alias: Pfn,
        unmap: bool,
    ) {
        let nr = 1usize << alias.order();
        // SAFETY: By the safety requirements.
        if unsafe { self.clear_alias(mapping, index, index + nr - 1, alias, unmap) } {
            let alias = Entry::Alias(alias).into_raw();
            // SAFETY: As above.
            unsafe { bindings::page_cache_reclaimed(mapping, index, alias) };
        }
    }

    /// Puts `own` into a slot if it holds `alias`, and counts that. Says whether it did, or [`None`]
    /// if there is something else. If not, there was no memory, and all of the alias is gone.
    ///
    /// # Safety
    ///
    /// As for [`Self::clear_alias`], and `own` must be a locked order-0 folio that is in no
    /// mapping.
    pub(super) unsafe fn replace_alias(
        &self,
        mapping: *mut bindings::address_space,
        index: usize,
        alias: Pfn,
        own: &Folio,
    ) -> Option<bool> {
        let gone = Gone::new(self, alias);
        // SAFETY: By the safety requirements; `Gone::slots` is given what it asks for.
        let replaced = unsafe {
            bindings::page_cache_slot_to_folio(
                mapping,
                index,
                Entry::Alias(alias).into_raw(),
                own.as_ptr(),
                Some(Gone::slots),
                gone.as_data(),
            )
        };
        gone.some.get().then_some(replaced)
    }

    /// Gives the folio to the file that has the only alias to it, in the slots from `index` on. Says
    /// `false` if somebody has a reference to it, or if its memory has failed.
    ///
    /// # Safety
    ///
    /// `folio` must be that of this count, locked and in `home`, whose fragments are locked; `alias`
    /// must be the only one, name all of it, and be at `index` of `mapping`, which must be that of an
    /// inode that stays for the call.
    pub(super) unsafe fn take_back(
        &self,
        home: *mut bindings::address_space,
        folio: &Folio,
        mapping: *mut bindings::address_space,
        index: usize,
        alias: Pfn,
    ) -> bool {
        let gone = Gone::new(self, alias);
        // SAFETY: By the safety requirements; `Gone::slots` is given what it asks for. The count is
        // not looked at while the folio is frozen, and then it is the file's: that has no use for
        // private data yet.
        unsafe {
            bindings::page_cache_home_take_back(
                home,
                folio.as_ptr(),
                mapping,
                index,
                Entry::Alias(alias).into_raw(),
                Some(Gone::slots),
                gone.as_data(),
            )
        }
    }
}

/// An alias that a slot, or more of them, are going to hold no longer.
struct Gone<'a> {
    count: &'a AliasCount<'a>,
    alias: Pfn,
    /// They do not any more.
    some: Cell<bool>,
}

impl<'a> Gone<'a> {
    fn new(count: &'a AliasCount<'a>, alias: Pfn) -> Self {
        Self {
            count,
            alias,
            some: Cell::new(false),
        }
    }

    fn as_data(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// Takes slots off the count: live may become dead. What was a whole alias is none any more,
    /// also if it goes on naming other pages.
    ///
    /// C calls it in the critical section in which the slots stop being of the alias.
    ///
    /// # Safety
    ///
    /// `gone` must point to a [`Gone`] of the alias.
    unsafe extern "C" fn slots(nr: usize, gone: *mut c_void) {
        // SAFETY: By the safety requirements.
        let gone = unsafe { &*gone.cast::<Self>() };
        let whole = gone.count.weight(gone.alias.order()) & !SLOTS;
        gone.count.sub(nr + whole);
        gone.some.set(true);
    }
}

#[cfg(CONFIG_RUST_PAGE_CACHE_KUNIT_TEST)]
#[kunit_tests(rust_page_cache_alias)]
mod tests {
    use super::*;

    fn count(word: &Atomic<usize>, order: u32) -> AliasCount<'_> {
        AliasCount { word, order }
    }

    fn gone(count: &AliasCount<'_>, order: u32, nr: usize) -> Result {
        let alias = Pfn::new(512, Default::default())
            .and_then(|pfn| pfn.of_order(order))
            .ok_or(EINVAL)?;
        let gone = Gone::new(count, alias);
        // SAFETY: It points to one.
        unsafe { Gone::slots(nr, gone.as_data()) };
        Ok(())
    }

    /// Of one page, every alias is as good as another, down to the last.
    #[test]
    fn pages_die_with_their_last_alias() -> Result {
        let word = Atomic::new(0);
        let count = count(&word, 0);
        assert!(!count.take(0));
        count.first();
        assert!(count.is_one_whole());
        assert!(count.take(0));
        assert!(!count.is_one_whole());
        gone(&count, 0, 1)?;
        assert!(count.is_one_whole());
        gone(&count, 0, 1)?;
        assert!(count.is_zero());
        assert!(!count.take(0) && !count.take_vouched(0));
        Ok(())
    }

    /// Where all that is left are parts, other pages may be anybody's: nobody attaches unseen.
    #[test]
    fn parts_vouch_for_themselves_only() -> Result {
        let word = Atomic::new(0);
        let count = count(&word, 4);
        count.first();
        assert!(count.take(2));
        assert_eq!(count.slots(), 20);
        // The first file writes to one page, and keeps the other fifteen.
        gone(&count, 4, 1)?;
        assert_eq!(count.slots(), 19);
        assert!(!count.has_whole() && !count.is_zero());
        assert!(!count.take(4) && !count.take(0));
        // Who has seen an alias to the page may.
        assert!(count.take_vouched(1));
        assert_eq!(count.slots(), 21);
        // Parts that make up the folio are not one alias.
        gone(&count, 1, 2)?;
        gone(&count, 2, 3)?;
        assert_eq!(count.slots(), 16);
        assert!(!count.is_one_whole());
        gone(&count, 3, 8)?;
        gone(&count, 3, 8)?;
        assert!(count.is_zero());
        assert!(!count.take_vouched(0));
        Ok(())
    }

    #[test]
    fn put_undoes_take() {
        let word = Atomic::new(0);
        let count = count(&word, 9);
        count.first();
        assert!(count.take(9));
        assert!(count.take(3));
        count.put(9);
        count.put(3);
        assert!(count.is_one_whole());
    }

    /// The slots must not run over into what is beside them in the word.
    #[test]
    fn there_is_an_end_to_it() {
        for order in [0, 9] {
            let word = Atomic::new(0);
            let count = count(&word, order);
            count.first();
            for _ in 1..AliasCount::MAX {
                assert!(!count.is_full());
                assert!(count.take(order));
            }
            assert!(count.is_full());
            assert!(!count.take(order) && !count.take(0) && !count.take_vouched(0));
            assert_eq!(count.slots(), AliasCount::MAX << order);
        }
    }

    #[test]
    fn what_moves_keeps_its_aliases() {
        let (old, new) = (Atomic::new(0), Atomic::new(0));
        let (old, new) = (count(&old, 3), count(&new, 3));
        old.first();
        assert!(old.take(1));
        new.copy(&old);
        old.clear();
        assert!(old.is_zero() && !old.has_whole());
        assert!(new.has_whole());
        assert_eq!(new.slots(), 10);
    }
}
