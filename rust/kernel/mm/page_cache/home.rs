// SPDX-License-Identifier: GPL-2.0

//! Homes: where the cached data of blocks lives that several files share.
//!
//! A home is an address space per block device, whose folios are indexed by device page. A file
//! has no folio for such a page, but an *alias* in its slot, which names the page frame.
//!
//! # Lock order
//!
//! 1. folio lock of a folio in a file,
//! 2. folio lock of a folio in the home,
//! 3. [`Home::fragments`],
//! 4. `i_mmap_rwsem` of a file,
//! 5. `i_pages` lock of a file.
//!
//! The `i_pages` lock of the home nests in 2 and in 3. It is not held together with 4 or 5. Under 3
//! nothing waits for memory, because reclaim takes it, with a home's folio locked.
//!
//! [`Home::purge`] takes 2 while it holds the lock of the folio that a reader offers, which is 1.
//! It only tries, because the home's folio may be one that this same reader has offered before and
//! has not yet submitted the read of.
//!
//! # States of a home folio
//!
//! Its alias count is how many slots of files name it.
//!
//! - *Arriving.* The folio is in the home's tree, locked, and still says that it is the file's. It
//!   is so only while [`Home::fragments`] is held, which whoever wants to attach to what it found
//!   in the tree takes before it looks at it: to a reader, a folio of the home is live or dead.
//! - *Live.* The count is at least one. The folio stays in the home.
//! - *Dead.* The count is zero, and never becomes anything else. Who brings it there, with the
//!   folio locked, takes the folio out of the home (who attaches to it and finds no memory for the
//!   alias does not); where reclaim cannot, because somebody has a reference, or does not, as
//!   migration, the folio stays until it is reclaimed or [`Home::purge`] finds it.
//!
//! # Who may change the count
//!
//! - *Donate* makes it one, with the folio locked and [`Home::fragments`] held, in the `i_pages`
//!   critical section that puts the first alias in place.
//! - *Attach* increments it unless it is zero, in the `i_pages` critical section that puts the
//!   alias in place, and with [`Home::fragments`] held. It does not need the folio's lock, so that
//!   nobody waits for a read that another file started.
//! - *Drop*, *break* and *release* decrement it by one for each alias that they remove, with the
//!   folio locked, in the `i_pages` critical section in which the slot stops being an alias. A
//!   moment later the file could be given another block, and the block another file's write, while
//!   the count still says that somebody vouches for the data.
//!
//! - *Take back* makes it zero, of a folio with one alias, as *migrate* does: it is the file's own
//!   after that. With the folio locked and [`Home::fragments`] held nobody attaches to it or removes
//!   the alias; it is frozen, so that nobody reads it for another file while it is written to.
//!
//! - *Migrate* takes the count along to the folio that replaces this one, with both locked and
//!   [`Home::fragments`] held, and leaves a dead one: who has found the old one in the home's tree
//!   may not attach to it any more.
//!
//! # Mapped folios
//!
//! A fault maps a home's folio, read-only, with the folio locked and after it has seen the alias in
//! the slot. Whoever removes an alias, with the folio locked, then removes the page table entries
//! of the file; so no file has a folio mapped that it has no alias to, at any moment that anybody
//! who locks the folio can see. That makes the slots that name a folio its reverse map, see
//! [`Home::walk`].
//!
//! A slot is made an alias only while the file maps it to the device page of the folio: the file
//! system is asked in that same critical section. Whoever is about to change that removes the
//! alias first, and keeps new ones out, by the `invalidate_lock` or, for direct I/O, by
//! `i_dio_count`. So while the count is not zero, some file has owned the block without a gap
//! since it was read, and nobody can have written to it in place: home data is never stale.
//!
//! C header: [`include/linux/page_cache_home.h`](srctree/include/linux/page_cache_home.h)

use super::{
    fragment::{
        Fragments,
        Run,
        Spare, //
    },
    io::{
        MigrateMode,
        Migrated,
        Migration, //
    },
    ops::Vtable,
    AddressSpaceOperations,
    Entry,
    Folio,
    FreedFolio,
    Locked,
    LockedFolio,
    Mapping, //
};
use crate::{
    alloc::{
        flags::{
            GFP_KERNEL,
            GFP_KERNEL_ACCOUNT,
            __GFP_NORETRY,
            __GFP_NOWARN, //
        },
        Flags, //
    },
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        new_mutex,
        Mutex,
        MutexGuard, //
    },
    types::Opaque, //
};
use core::{
    ops::Range,
    ptr::{
        self,
        NonNull, //
    }, //
};

/// What became of a folio that a reader offered.
enum Outcome {
    /// It stays the file's own.
    Private,
    /// It is the home's, locked, and the caller reads it.
    Donated,
    /// The home had the data; the folio is gone.
    Attached,
    /// Something changed meanwhile.
    LookAgain,
    /// The home has a folio without aliases, which is in the way.
    Dead,
}

/// How many aliases there are to a folio; see the states of a home folio above.
struct AliasCount<'a>(&'a Atomic<usize>);

impl<'a> AliasCount<'a> {
    /// More than that are not given out: reclaim visits all of them, with a mutex held.
    const MAX: usize = 1 << 16;

    /// # Safety
    ///
    /// The folio must be a home's, or have been one since the caller has a reference to it, or be
    /// about to become one: locked by the caller, and without private data.
    unsafe fn of(folio: &'a Folio) -> Self {
        // SAFETY: The folio exists, as there is a reference to it. By the safety requirements its
        // word for private data is used for nothing but the count, and all accesses to that are
        // through this type.
        Self(unsafe { Atomic::from_ptr(bindings::page_cache_alias_count(folio.as_ptr())) })
    }

    /// # Safety
    ///
    /// The folio must have been a home's.
    unsafe fn of_freed(folio: &'a FreedFolio<'_>) -> Self {
        // SAFETY: The folio exists, and as in `of`.
        Self(unsafe { Atomic::from_ptr(bindings::page_cache_alias_count(folio.as_ptr())) })
    }

    fn get(&self) -> usize {
        self.0.load(Acquire)
    }

    fn is_zero(&self) -> bool {
        self.get() == 0
    }

    fn is_full(&self) -> bool {
        self.0.load(Relaxed) >= Self::MAX
    }

    /// Arriving to live. Publishes what was written to the folio before.
    fn first(&self) {
        self.0.store(1, Release);
    }

    /// Makes it zero whatever it was, for who uses the word next.
    fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    /// Takes over the aliases of the folio that this one is to replace, and that nobody can attach
    /// to at the moment.
    fn copy(&self, from: &AliasCount<'_>) {
        self.0.store(from.get(), Relaxed);
    }

    /// Live stays live; says `false` if the folio is not, or has aliases enough.
    fn inc_unless_zero(&self) -> bool {
        let mut old = self.0.load(Relaxed);
        while old != 0 && old < Self::MAX {
            match self.0.cmpxchg(old, old + 1, Full) {
                Ok(_) => return true,
                Err(now) => old = now,
            }
        }
        false
    }

    /// Takes away one: live may become dead. C calls it in the critical section in which a slot
    /// stops being an alias.
    ///
    /// # Safety
    ///
    /// `count` must point to an [`AliasCount`] of the folio that the slot named.
    unsafe extern "C" fn dec(count: *mut c_void) {
        // SAFETY: By the safety requirements.
        let old = unsafe { &*count.cast::<Self>() }.0.fetch_sub(1, Full);
        debug_assert!(old != 0);
    }

    /// Empties a slot if it holds `alias`, and counts that. Says whether it did.
    ///
    /// With `unmap`, the page that the slot named is unmapped from the file.
    ///
    /// # Safety
    ///
    /// `alias` must name the folio of this count, which is locked; `mapping` must be that of an
    /// inode that stays for the call.
    unsafe fn clear_alias(
        &self,
        mapping: *mut bindings::address_space,
        index: usize,
        alias: *mut c_void,
        unmap: bool,
    ) -> bool {
        // SAFETY: By the safety requirements; `dec` is given what it asks for.
        unsafe {
            bindings::page_cache_slot_clear_alias(
                mapping,
                index,
                alias,
                unmap,
                Some(Self::dec),
                ptr::from_ref(self).cast_mut().cast(),
            )
        }
    }

    /// As [`Self::clear_alias`], for a file that loses the page for the sake of others.
    ///
    /// # Safety
    ///
    /// As for [`Self::clear_alias`].
    unsafe fn reclaim_alias(
        &self,
        mapping: *mut bindings::address_space,
        index: usize,
        alias: *mut c_void,
        unmap: bool,
    ) {
        // SAFETY: By the safety requirements.
        if unsafe { self.clear_alias(mapping, index, alias, unmap) } {
            // SAFETY: May be called from any context.
            unsafe { bindings::count_vm_event(bindings::vm_event_item_PAGE_CACHE_RECLAIM) };
        }
    }

    /// Puts `own` into a slot if it holds `alias`, and counts that. Says whether it did.
    ///
    /// # Safety
    ///
    /// As for [`Self::clear_alias`], and `own` must be a locked order-0 folio that is in no
    /// mapping.
    unsafe fn replace_alias(
        &self,
        mapping: *mut bindings::address_space,
        index: usize,
        alias: *mut c_void,
        own: &Folio,
    ) -> bool {
        // SAFETY: By the safety requirements; `dec` is given what it asks for.
        unsafe {
            bindings::page_cache_slot_to_folio(
                mapping,
                index,
                alias,
                own.as_ptr(),
                Some(Self::dec),
                ptr::from_ref(self).cast_mut().cast(),
            )
        }
    }
}

/// A slot of a file, whose folio a reader offers to the home.
///
/// # Invariants
///
/// `folio` is locked and in the slot `index` of `mapping`, until [`Slot::replace`] has replaced it.
struct Slot<'a> {
    mapping: *mut bindings::address_space,
    index: usize,
    folio: &'a Folio,
    extent: &'a bindings::page_cache_extent,
}

/// What is asked in the critical section in which a slot becomes an alias.
struct Question<'a, F> {
    extent: &'a bindings::page_cache_extent,
    also: F,
}

impl<F: FnMut() -> bool> Question<'_, F> {
    /// [`Self::ask`] for a closure whose type has no name.
    fn asked(&self) -> unsafe extern "C" fn(*mut c_void) -> bool {
        Self::ask
    }

    /// # Safety
    ///
    /// `data` must point to a `Question<F>` that nobody else uses, and the `i_pages` lock of the
    /// file must be held.
    unsafe extern "C" fn ask(data: *mut c_void) -> bool {
        // SAFETY: By the safety requirements.
        let question = unsafe { &mut *data.cast::<Self>() };
        if let Some(valid) = question.extent.valid {
            // SAFETY: The file system gave us the function and its argument for the time of the
            // call to `populate`, and it is called as it was promised: with the lock held.
            if !unsafe { valid(question.extent.data) } {
                return false;
            }
        }
        (question.also)()
    }
}

impl<'a> Slot<'a> {
    /// # Safety
    ///
    /// `folio` must be locked and in `mapping`.
    unsafe fn new(
        mapping: *mut bindings::address_space,
        folio: &'a Folio,
        extent: &'a bindings::page_cache_extent,
    ) -> Self {
        // SAFETY: The folio exists and is locked, so that its index stays.
        let index = unsafe { bindings::page_cache_folio_index(folio.as_ptr()) };
        // INVARIANT: These are the safety requirements.
        Self {
            mapping,
            index,
            folio,
            extent,
        }
    }

    /// What of the file and of the device has to be covered by a fragment.
    fn run(&self) -> Run {
        Run {
            file: self.mapping as usize,
            index: self.index,
            home: self.extent.home_index,
            first: self.extent.first,
            last: self.extent.last,
        }
    }

    /// Replaces the folio by an alias, if the file still maps what it did, no direct I/O is in
    /// flight, and `also` says so: all of that, and the replacement, in one critical section.
    ///
    /// With `donate`, the folio goes on living in the home; else the page cache forgets it.
    fn replace<F: FnMut() -> bool>(&self, alias: Entry, donate: bool, also: F) -> bool {
        let mut question = Question {
            extent: self.extent,
            also,
        };
        // SAFETY: By the type invariants the folio is locked and in the slot. The question outlives
        // the call, which asks it with the lock held.
        unsafe {
            bindings::page_cache_slot_to_alias(
                self.mapping,
                self.index,
                self.folio.as_ptr(),
                alias.into_raw(),
                donate,
                Some(Question::<F>::ask),
                ptr::from_mut(&mut question).cast(),
            )
        }
    }
}

/// A folio on its way into the tree of a home.
///
/// # Invariants
///
/// It is set up for the tree of `home`, and has memory of its own only between a failed
/// [`Insertion::insert`] and the [`Insertion::refill`] after it.
struct Insertion<'a> {
    raw: Opaque<bindings::page_cache_insertion>,
    home: &'a Home,
}

impl<'a> Insertion<'a> {
    fn new(home: &'a Home, index: usize) -> Self {
        let raw = Opaque::uninit();
        // SAFETY: This sets it up; the mapping exists by the type invariants of the home.
        unsafe { bindings::page_cache_insertion_init(raw.get(), home.mapping, index) };
        // INVARIANT: Just set up.
        Self { raw, home }
    }

    /// Makes `folio` an arriving one. `_fragments` shows that they are locked, which keeps that
    /// from the eyes of other readers.
    fn insert(&mut self, folio: &Folio, _fragments: &Fragments) -> Result {
        // SAFETY: By the type invariants this is set up; our caller has a locked folio.
        to_result(unsafe {
            bindings::page_cache_home_insert(self.raw.get(), self.home.mapping, folio.as_ptr())
        })
    }

    /// Lets the page cache know that the page was there before, if it was, and not long ago.
    fn done(&mut self, folio: &Folio) {
        // SAFETY: By the type invariants this is set up. The folio is in the tree, and our caller
        // has it locked and may sleep.
        unsafe { bindings::page_cache_home_inserted(self.raw.get(), folio.as_ptr()) };
    }

    /// Takes back a successful [`Self::insert`], under the same lock of the fragments.
    fn undo(&mut self, folio: &Folio, _fragments: &Fragments) {
        // SAFETY: As above; the folio is arriving, as nothing came of it.
        unsafe {
            bindings::page_cache_home_undo_insert(self.raw.get(), self.home.mapping, folio.as_ptr())
        };
    }

    /// Gets the memory that was lacking. Says `false` if nothing was, or if there is none; then
    /// this holds no memory.
    fn refill(&mut self) -> bool {
        // SAFETY: By the type invariants this is set up. The caller is a reader, which may sleep.
        unsafe { bindings::page_cache_insertion_refill(self.raw.get(), self.home.mapping) }
    }
}

/// How a file system is asked to call [`page_cache_home_attach`] for what a file maps; see
/// `page_cache_home_create()`.
type Ask = Option<unsafe extern "C" fn(*mut bindings::address_space, usize, usize)>;

/// The cached data of the blocks of one device.
///
/// # Invariants
///
/// - `mapping` is that of `inode`, which owns the home: it frees it when it is evicted.
/// - Every alias to a folio of this home lies in one of `fragments`, and the address spaces that
///   fragments name exist.
#[pin_data]
struct Home {
    bdev: *const bindings::block_device,
    ask: Ask,
    inode: NonNull<bindings::inode>,
    mapping: *mut bindings::address_space,
    enabled: Atomic<bool>,
    #[pin]
    fragments: Mutex<Fragments>,
}

// SAFETY: The pointers name objects that have locks of their own, and do not change.
unsafe impl Send for Home {}
// SAFETY: As above; everything else is `Sync`.
unsafe impl Sync for Home {}

impl Home {
    /// How often [`Self::populate`] looks before it leaves a folio to its file.
    const TRIES: usize = 8;

    /// How many fragments go while others wait for the lock.
    const FORGET_AT_ONCE: usize = 256;

    /// How many slots are given an alias while others wait for the lock.
    const ATTACH_AT_ONCE: usize = 128;

    /// How many slots are looked at while readers of a folio that moves wait for that, without
    /// sleeping. Some hundred nanoseconds each.
    const MOVE_AT_ONCE: usize = 512;

    fn new(bdev: *const bindings::block_device, ask: Ask) -> Result<Pin<KBox<Self>>> {
        // SAFETY: May be called from a context that may sleep, which the mount of a file system is.
        let inode = NonNull::new(unsafe { bindings::page_cache_home_inode() }).ok_or(ENOMEM)?;
        // SAFETY: We have a reference to the inode.
        let mapping = unsafe { (*inode.as_ptr()).i_mapping };
        let home = KBox::pin_init(
            pin_init!(Self {
                bdev,
                ask,
                inode,
                mapping,
                enabled: Atomic::new(true),
                fragments <- new_mutex!(Fragments::new(), "page_cache_home::fragments"),
            }),
            GFP_KERNEL,
        )
        .inspect_err(|_| {
            // SAFETY: Nobody else knows of the inode; we give up our reference.
            unsafe { bindings::iput(inode.as_ptr()) }
        })?;
        let address: *const Self = &*home;
        // SAFETY: There is no folio in the mapping yet, so nobody reads this.
        unsafe { (*inode.as_ptr()).i_private = address.cast_mut().cast() };
        Ok(home)
    }

    /// Offers a folio to the home, see `enum page_cache_populate`.
    fn populate(&self, slot: &Slot<'_>) -> Outcome {
        // A folio that is to be dropped when it was read is not for sharing.
        //
        // SAFETY: The folio exists.
        if !self.enabled.load(Relaxed)
            || unsafe { bindings::folio_test_dropbehind(slot.folio.as_ptr()) }
        {
            return Outcome::Private;
        }
        // What was in the way may have been a dead folio, or is gone.
        for _ in 0..Self::TRIES {
            let outcome = match self.lookup(slot.extent.home_index) {
                Some(found) => self.attach(slot, &found),
                None => self.donate(slot, false),
            };
            if !matches!(outcome, Outcome::LookAgain) {
                return outcome;
            }
        }
        Outcome::Private
    }

    /// The home's folio of a device page, in whatever state.
    fn lookup(&self, index: usize) -> Option<ARef<Folio>> {
        // SAFETY: The mapping exists by the type invariants.
        let raw = unsafe { bindings::filemap_get_entry(self.mapping, index) };
        match Entry::from_raw(raw) {
            Entry::Folio(folio) => {
                // SAFETY: The look-up took a reference, which is ours. With it, the folio cannot
                // be frozen, so it cannot leave the home to become something else's.
                NonNull::new(folio.as_ptr()).map(|folio| unsafe { ARef::from_raw(folio.cast()) })
            }
            _ => None,
        }
    }

    /// Whether a folio is this home's now. Unless the caller has locked it, or the fragments, the
    /// answer may be another one at once.
    fn owns(&self, folio: &Folio) -> bool {
        // SAFETY: The folio exists.
        ptr::eq(
            unsafe { bindings::page_cache_folio_mapping(folio.as_ptr()) },
            self.mapping,
        )
    }

    /// Runs `f` with the fragments locked and the slot covered by one. Returns [`None`] if there is
    /// no memory for that.
    fn with_cover<T>(&self, slot: &Slot<'_>, f: impl FnOnce(&Fragments) -> T) -> Option<T> {
        let run = slot.run();
        let mut spare = Spare::default();
        loop {
            let mut fragments = self.fragments.lock();
            let before = fragments.len();
            if let Ok(()) = fragments.cover(&run, &mut spare) {
                count_fragments(before, fragments.len());
                return Some(f(&fragments));
            }
            drop(fragments);
            // The caller is a reader in `memalloc_nofs_save()`. It can do without.
            spare
                .fill(GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN)
                .ok()?;
        }
    }

    /// Lets a file share `found`, and removes the folio that it has.
    fn attach(&self, slot: &Slot<'_>, found: &Folio) -> Outcome {
        let Some(alias) = Entry::alias(found.pfn()) else {
            return Outcome::Private;
        };
        // Before there is another fragment that reclaim has to visit.
        //
        // SAFETY: It was ours just now.
        if self.owns(found) && unsafe { AliasCount::of(found) }.is_full() {
            return Outcome::Private;
        }
        // The cache's reference goes, and nobody else need have one.
        let folio: ARef<Folio> = slot.folio.into();
        let mut refused = Outcome::Private;
        let attached = self.with_cover(slot, |_| {
            slot.replace(alias, false, || {
                // With the fragments locked nothing arrives: what is not ours was taken back, or
                // has left the home since.
                if !self.owns(found) {
                    refused = Outcome::LookAgain;
                    return false;
                }
                // SAFETY: It was ours just now.
                let count = unsafe { AliasCount::of(found) };
                let attached = count.inc_unless_zero();
                if !attached && count.is_zero() {
                    refused = Outcome::Dead;
                }
                attached
            })
        });
        if attached != Some(true) {
            return match refused {
                Outcome::Dead => self.purge(found),
                other => other,
            };
        }
        // SAFETY: Both folios exist.
        unsafe { bindings::page_cache_move_readahead(folio.as_ptr(), found.as_ptr()) };
        // SAFETY: The caller locked the folio and leaves it to us.
        drop(unsafe { LockedFolio::from_locked(&folio) });
        Outcome::Attached
    }

    /// Makes a file's folio the home's.
    ///
    /// With `idle`, only if nobody but the page cache and the caller has a reference.
    fn donate(&self, slot: &Slot<'_>, idle: bool) -> Outcome {
        let folio = slot.folio;
        let Some(alias) = Entry::alias(folio.pfn()) else {
            return Outcome::Private;
        };
        // SAFETY: The folio is locked. If it has private data, we leave it alone.
        let count = unsafe { AliasCount::of(folio) };
        if !count.is_zero() {
            return Outcome::Private;
        }
        let index = slot.extent.home_index;
        let mut insertion = Insertion::new(self, index);
        loop {
            let donated: Option<Result<bool>> = self.with_cover(slot, |fragments| {
                insertion.insert(folio, fragments)?;
                let donated = slot.replace(alias, true, || {
                    // SAFETY: The folio is locked and in the home's tree. Who finds it by the
                    // file's slot at this moment takes its lock and sees that it is not the
                    // file's any more.
                    let donated = unsafe {
                        bindings::page_cache_set_home(folio.as_ptr(), self.mapping, index, idle)
                    };
                    if donated {
                        count.first();
                    }
                    donated
                });
                if !donated {
                    insertion.undo(folio, fragments);
                }
                Ok(donated)
            });
            if insertion.refill() {
                continue;
            }
            return match donated {
                Some(Ok(true)) => {
                    // What was cached all the time is not read again.
                    if !idle {
                        insertion.done(folio);
                    }
                    Outcome::Donated
                }
                Some(Err(EEXIST)) => Outcome::LookAgain,
                _ => Outcome::Private,
            };
        }
    }

    /// Lets empty slots of a file name what the home has of an extent, without a folio of the
    /// file's: the slots from `first` to `last`, of which the first is the extent's `home_index`.
    /// Returns how many do so now.
    ///
    /// # Safety
    ///
    /// `mapping` must be that of an inode that the caller keeps, with its `invalidate_lock` held,
    /// and `first` to `last` lie in the extent.
    unsafe fn attach_range(
        &self,
        mapping: *mut bindings::address_space,
        first: usize,
        last: usize,
        extent: &bindings::page_cache_extent,
    ) -> usize {
        let mut spare = Spare::default();
        let mut all = 0;
        let mut next = first;
        while next <= last && self.enabled.load(Relaxed) {
            let mut fragments = self.fragments.lock();
            let end = last.min(next + (Self::ATTACH_AT_ONCE - 1));
            let before = fragments.len();
            let mut covered = Ok(());
            while next <= end {
                let home_index = extent.home_index + (next - first);
                let run = Run {
                    file: mapping as usize,
                    index: next,
                    home: home_index,
                    first: extent.first,
                    last: extent.last,
                };
                // SAFETY: By the safety requirements the mapping exists.
                let is_free = unsafe { bindings::page_cache_slot_is_free(mapping, next) };
                let found = is_free.then(|| self.lookup(home_index)).flatten();
                // Before there is another fragment that reclaim has to visit.
                if let Some(found) = found.filter(|found| self.is_good(found)) {
                    covered = fragments.cover(&run, &mut spare);
                    if covered.is_err() {
                        break;
                    }
                    // SAFETY: By the safety requirements; a fragment covers the slot.
                    match unsafe { self.attach_empty(mapping, next, extent, &found) } {
                        Some(attached) => all += usize::from(attached),
                        None => {
                            count_fragments(before, fragments.len());
                            return all;
                        }
                    }
                }
                next += 1;
            }
            count_fragments(before, fragments.len());
            drop(fragments);
            // As in `with_cover`.
            if covered.is_err()
                && spare
                    .fill(GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN)
                    .is_err()
            {
                break;
            }
        }
        all
    }

    /// Is it of use to attach to a folio, as far as one can tell? What the home could not read is
    /// not for others.
    fn is_good(&self, found: &Folio) -> bool {
        // SAFETY: The folio exists.
        let failed =
            !found.is_uptodate() && !unsafe { bindings::folio_test_locked(found.as_ptr()) };
        // SAFETY: It is this home's if it is, or was just now.
        let count = || unsafe { AliasCount::of(found) };
        !failed && self.owns(found) && !count().is_zero() && !count().is_full()
    }

    /// Puts an alias to `found` into a slot, if that is empty, and says whether it did. [`None`]
    /// means that it is no use to go on with others: memory is short, or the file is changing.
    ///
    /// # Safety
    ///
    /// `mapping` must be that of an inode that the caller keeps. The fragments must be locked, and
    /// one of them cover the slot.
    unsafe fn attach_empty(
        &self,
        mapping: *mut bindings::address_space,
        index: usize,
        extent: &bindings::page_cache_extent,
        found: &Folio,
    ) -> Option<bool> {
        let Some(alias) = Entry::alias(found.pfn()) else {
            return Some(false);
        };
        // SAFETY: It is this home's, or was just now.
        let count = unsafe { AliasCount::of(found) };
        let mut dead = false;
        let mut question = Question {
            extent,
            also: || {
                let attached = self.owns(found) && count.inc_unless_zero();
                dead = !attached;
                attached
            },
        };
        // SAFETY: By the safety requirements. The question outlives the call, which asks it with
        // the lock held; `dec` is given what it asks for.
        let attached = unsafe {
            bindings::page_cache_slot_attach(
                mapping,
                index,
                alias.into_raw(),
                Some(question.asked()),
                ptr::from_mut(&mut question).cast(),
                Some(AliasCount::dec),
                ptr::from_ref(&count).cast_mut().cast(),
            )
        };
        // SAFETY: By the safety requirements.
        let taken = || !unsafe { bindings::page_cache_slot_is_free(mapping, index) };
        (attached || dead || taken()).then_some(attached)
    }

    /// Moves what a file has cached of an extent to the home, as far as it is clean and nobody uses
    /// it: the slots from `first` to `last`, of which the first is the extent's `home_index`.
    /// Returns how many pages that was.
    ///
    /// # Safety
    ///
    /// As for [`Self::attach_range`], and nobody may write to the file or make a page of it
    /// writable.
    unsafe fn adopt_range(
        &self,
        mapping: *mut bindings::address_space,
        first: usize,
        last: usize,
        extent: &bindings::page_cache_extent,
    ) -> usize {
        let mut all = 0;
        let mut index = first;
        while self.enabled.load(Relaxed) {
            // SAFETY: By the safety requirements.
            let folio = unsafe { bindings::page_cache_next_idle(mapping, &mut index, last) };
            let Some(folio) = NonNull::new(folio) else {
                break;
            };
            // SAFETY: The look-up took a reference, which is ours.
            let folio: ARef<Folio> = unsafe { ARef::from_raw(folio.cast()) };
            let mut extent = *extent;
            extent.home_index += index - first;
            // SAFETY: It is locked, which is for us to undo.
            let locked = unsafe { LockedFolio::from_locked(&folio) };
            // SAFETY: It is locked and in the mapping.
            let outcome = self.donate(&unsafe { Slot::new(mapping, &folio, &extent) }, true);
            all += usize::from(matches!(outcome, Outcome::Donated));
            drop(locked);
            index += 1;
        }
        all
    }

    /// Removes a dead folio that is in a reader's way.
    fn purge(&self, found: &Folio) -> Outcome {
        // See the lock order for why it is not waited for. Who has it locked is about to remove it,
        // or is reclaim, which finds our reference in its way.
        let Some(locked) = found.try_lock() else {
            return Outcome::Private;
        };
        // SAFETY: It is ours, and stays so as it is locked.
        if self.owns(found) && unsafe { AliasCount::of(found) }.is_zero() {
            // SAFETY: As above, and it is dead.
            unsafe { remove_dead(&locked) };
        }
        Outcome::LookAgain
    }

    /// Locks the fragments, unless `nowait` and somebody else has.
    fn lock_fragments(&self, nowait: bool) -> Result<MutexGuard<'_, Fragments>> {
        if nowait {
            self.fragments.try_lock().ok_or(EAGAIN)
        } else {
            Ok(self.fragments.lock())
        }
    }

    /// Calls `visit` with every slot that holds `alias`, until it says `false`, and `look` before
    /// it looks at one.
    ///
    /// # Safety
    ///
    /// `alias` must name the home's folio of page `home_index`, of which there are `count` aliases
    /// and no more, as they are added with `fragments` locked.
    unsafe fn for_each_alias(
        fragments: &Fragments,
        home_index: usize,
        alias: *mut c_void,
        count: usize,
        mut look: impl FnMut(),
        mut visit: impl FnMut(*mut bindings::address_space, usize) -> bool,
    ) {
        let mut left = count;
        if left == 0 {
            return;
        }
        fragments.for_each(home_index, |file, index| {
            let mapping = file as *mut bindings::address_space;
            look();
            // SAFETY: By the type invariants of the home the mapping exists: it is removed from
            // the fragments before its inode is freed, and they are locked.
            if !unsafe { bindings::page_cache_slot_has_alias(mapping, index, alias) } {
                return true;
            }
            left -= 1;
            visit(mapping, index) && left != 0
        });
    }

    /// Calls `visit` with every slot of a file that names a folio, until it says `false`: the
    /// reverse map of the folio.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`] if `nowait` and the fragments are locked.
    ///
    /// # Safety
    ///
    /// The folio must be this home's.
    unsafe fn walk(
        &self,
        folio: &Locked,
        nowait: bool,
        visit: impl FnMut(*mut bindings::address_space, usize) -> bool,
    ) -> Result {
        // SAFETY: By the safety requirements.
        let count = unsafe { AliasCount::of(folio) };
        if count.is_zero() {
            return Ok(());
        }
        let alias = Entry::alias(folio.pfn()).ok_or(EINVAL)?.into_raw();
        let fragments = self.lock_fragments(nowait)?;
        // There may be very many.
        //
        // SAFETY: We may sleep.
        let look = || unsafe { bindings::cond_resched() };
        // SAFETY: The count is that of now: nobody attaches, as the fragments are locked, and nobody
        // else removes aliases of a folio that our caller has locked.
        unsafe {
            Self::for_each_alias(&fragments, folio.index(), alias, count.get(), look, visit)
        };
        Ok(())
    }

    /// Removes all aliases to a folio, so that it is dead. Says `false` if it cannot now.
    ///
    /// # Safety
    ///
    /// The folio must be this home's.
    unsafe fn release(&self, folio: &Locked) -> bool {
        // SAFETY: By the safety requirements.
        let count = unsafe { AliasCount::of(folio) };
        let Some(alias) = Entry::alias(folio.pfn()) else {
            return false;
        };
        // Reclaim has unmapped it from all files at once. With the folio locked, nobody maps it
        // again.
        //
        // SAFETY: The folio exists.
        let unmap = unsafe { bindings::folio_mapped(folio.as_ptr()) };
        let walk = |mapping, index| {
            // SAFETY: The mapping exists, as we are called with it. The folio is locked by our
            // caller.
            unsafe { count.reclaim_alias(mapping, index, alias.into_raw(), unmap) };
            true
        };
        // SAFETY: By the safety requirements.
        let walked = unsafe { self.walk(folio, false, walk) };
        // Nobody could attach, and nobody else removes aliases of a folio that is locked.
        walked.is_ok() && count.is_zero()
    }

    /// Gives a folio back to the file that has the only alias to it, in the slot `index`. Says
    /// `false` if it has to be copied: there are others, or somebody uses it.
    ///
    /// # Safety
    ///
    /// `folio` must be this home's, and `alias` name it; `mapping` must be that of an inode that the
    /// caller keeps.
    unsafe fn take_back(
        &self,
        folio: &Locked,
        mapping: *mut bindings::address_space,
        index: usize,
        alias: *mut c_void,
        nowait: bool,
    ) -> bool {
        // SAFETY: By the safety requirements.
        let count = unsafe { AliasCount::of(folio) };
        if count.get() != 1 || !folio.is_uptodate() {
            return false;
        }
        let Ok(_fragments) = self.lock_fragments(nowait) else {
            return false;
        };
        // With them locked nobody attaches, and as the folio is locked nobody removes an alias.
        //
        // SAFETY: By the safety requirements the mapping exists.
        if count.get() != 1
            || !unsafe { bindings::page_cache_slot_has_alias(mapping, index, alias) }
        {
            return false;
        }
        // SAFETY: As above. The count is not looked at while the folio is frozen, and then it is
        // the file's: that has no use for private data yet.
        unsafe {
            bindings::page_cache_home_take_back(
                self.mapping,
                folio.as_ptr(),
                mapping,
                index,
                alias,
                Some(AliasCount::dec),
                ptr::from_ref(&count).cast_mut().cast(),
            )
        }
    }

    /// Puts another folio in the place of one, in the home and in all slots that name it.
    ///
    /// # Safety
    ///
    /// The folios must be one of this home and one that is to replace it.
    unsafe fn migrate<'a>(&self, migration: Migration<'a>) -> Result<Migrated<'a>> {
        let (src, dst) = (migration.src(), migration.dst());
        // The home has one, and who migrates.
        if src.ref_count() > 2 {
            return Err(EAGAIN);
        }
        // SAFETY: By the safety requirements; the new one is locked and used for nothing yet.
        let (count, new_count) = unsafe { (AliasCount::of(src), AliasCount::of(dst)) };
        let from = Entry::alias(src.pfn()).ok_or(EINVAL)?.into_raw();
        let to = Entry::alias(dst.pfn()).ok_or(EINVAL)?.into_raw();
        let home_index = src.index();
        // Nobody writes to it.
        migration.copy()?;

        let fragments = self.lock_fragments(migration.mode() == MigrateMode::Async)?;
        let mut looked = 0;
        // SAFETY: The count is that of now, as in `walk`.
        unsafe {
            let count = count.get();
            let look = || looked += 1;
            Self::for_each_alias(&fragments, home_index, from, count, look, |_, _| true);
        }
        if looked > Self::MOVE_AT_ONCE {
            // Too many to be followed: they read again. What was mapped is marked as being moved,
            // and goes as well, as nothing would lead there any more.
            //
            // SAFETY: As above; the mapping exists, as we are called with it, and the folio is
            // locked.
            unsafe {
                let relax = || bindings::cond_resched();
                let clear = |mapping, index| {
                    count.reclaim_alias(mapping, index, from, true);
                    true
                };
                Self::for_each_alias(&fragments, home_index, from, count.get(), relax, clear);
            }
        }

        // With the fragments locked nobody attaches, and as the folio is locked nobody removes an
        // alias: the count stays what it is. It has to be there before the folio can be found.
        let mut left = count.get();
        new_count.copy(&count);
        // SAFETY: Both folios are locked, and nobody knows of the new one.
        if !unsafe {
            bindings::page_cache_home_begin_move(self.mapping, src.as_ptr(), dst.as_ptr())
        } {
            new_count.clear();
            return Err(EAGAIN);
        }
        // SAFETY: As above. The move has begun, and it ends when no alias names the old one.
        unsafe {
            Self::for_each_alias(
                &fragments,
                home_index,
                from,
                left,
                || (),
                |mapping, index| {
                    bindings::page_cache_slot_move_alias(mapping, index, from, to);
                    left -= 1;
                    true
                },
            );
            // Who has found it in the home just before must not attach to it.
            count.clear();
            bindings::page_cache_home_end_move(self.mapping, src.as_ptr(), dst.as_ptr());
        }
        crate::warn_on!(left != 0);
        // SAFETY: It is in the home and in the slots, and the old one in neither.
        Ok(unsafe { migration.replaced() })
    }

    /// Gives up the fragments of a range of a file, if there are no aliases in it.
    fn forget(&self, mapping: *mut bindings::address_space, first: usize, last: usize) {
        let mut from = Some(first);
        while let Some(first_left) = from {
            let mut fragments = self.fragments.lock();
            // SAFETY: The caller has the mapping. While we hold the lock no aliases are added.
            if unsafe { bindings::page_cache_range_has_alias(mapping, first_left, last) } {
                // When all is forgotten, the inode is going.
                crate::warn_on!(first == 0 && last == usize::MAX);
                return;
            }
            let before = fragments.len();
            from = fragments.forget(mapping as usize, first_left, last, Self::FORGET_AT_ONCE);
            count_fragments(before, fragments.len());
        }
    }

    fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Relaxed);
        if !enabled {
            // SAFETY: The mapping exists by the type invariants.
            unsafe { bindings::invalidate_mapping_pages(self.mapping, 0, usize::MAX) };
        }
    }
}

/// What the page cache asks of a home about its folios.
///
/// Nobody reads or writes through a home: files read into it, see [`Home::populate`].
#[vtable]
impl AddressSpaceOperations for Home {
    type Data = Pin<KBox<Self>>;

    /// Nobody may write to what several files see.
    fn dirty_folio(_mapping: &Mapping<Self>, _folio: &Folio) -> bool {
        crate::warn_on_once!(true);
        false
    }

    fn release_folio(mapping: &Mapping<Self>, folio: &Locked, _gfp: Flags) -> bool {
        // A reader has it: it would not be freed, only lost to everybody.
        if folio.ref_count() > 2 {
            return false;
        }
        // SAFETY: The folio is in the mapping, which is this home's.
        unsafe { mapping.data().release(folio) }
    }

    fn invalidate_folio(mapping: &Mapping<Self>, folio: &Locked, _range: Range<usize>) {
        // SAFETY: The folio is in the mapping, which is this home's.
        crate::warn_on_once!(!unsafe { mapping.data().release(folio) });
    }

    /// A folio that leaves the home has no aliases: who removes it calls [`Self::release_folio`] or
    /// [`Self::invalidate_folio`] first, or found the count zero.
    fn free_folio(folio: FreedFolio<'_>) {
        // SAFETY: It was this home's until now.
        let count = unsafe { AliasCount::of_freed(&folio) };
        crate::warn_on_once!(!count.is_zero());
        count.clear();
        // SAFETY: May be called from any context.
        unsafe { bindings::page_cache_count(bindings::page_cache_count_PAGE_CACHE_NR_HOME, -1) };
    }

    /// The files go on sharing: their aliases follow the data.
    fn migrate_folio<'a>(
        mapping: &'a Mapping<Self>,
        migration: Migration<'a>,
    ) -> Result<Migrated<'a>> {
        // SAFETY: The folio is in the mapping, which is this home's.
        unsafe { mapping.data().migrate(migration) }
    }

    fn error_remove_folio(mapping: &Mapping<Self>, folio: &Locked) -> Result {
        mapping.remove_failed(folio)
    }
}

/// What C knows a home by, too: there is one of it.
#[no_mangle]
#[allow(non_upper_case_globals)]
static page_cache_home_aops: bindings::address_space_operations = Vtable::<Home>::TABLE;

fn count_fragments(before: usize, after: usize) {
    if before != after {
        // SAFETY: May be called from any context.
        unsafe {
            bindings::page_cache_count(
                bindings::page_cache_count_PAGE_CACHE_NR_FRAGMENT,
                after as isize - before as isize,
            )
        };
    }
}

/// Takes a folio without aliases out of its home.
///
/// # Safety
///
/// The folio must be in a home.
unsafe fn remove_dead(folio: &LockedFolio<'_>) {
    // SAFETY: The folio is locked, in a home by the safety requirements, and we have a reference.
    unsafe { bindings::filemap_remove_folio(folio.as_ptr()) };
}

/// Takes a folio out of its home if the alias that the caller has just removed was the last.
///
/// # Safety
///
/// The folio must be in a home, and the caller must have removed an alias to it since it has locked
/// it.
unsafe fn put_alias(folio: &LockedFolio<'_>) {
    // SAFETY: By the safety requirements. There was an alias, and with the lock nobody else removes
    // any: if the count is zero now, it was us.
    if unsafe { AliasCount::of(folio) }.is_zero() {
        // SAFETY: As above; and it stays there, as it is locked.
        unsafe { remove_dead(folio) };
    }
}

/// The home folio that a slot of a file names, and the alias itself.
///
/// # Safety
///
/// `mapping` must be that of an inode that the caller keeps.
unsafe fn get_alias(
    mapping: *mut bindings::address_space,
    index: usize,
) -> Option<(ARef<Folio>, *mut c_void)> {
    let mut alias = ptr::null_mut();
    // SAFETY: By the safety requirements.
    let folio = unsafe { bindings::page_cache_get_alias(mapping, index, &mut alias) };
    // SAFETY: The look-up took a reference, which is ours.
    NonNull::new(folio).map(|folio| (unsafe { ARef::from_raw(folio.cast()) }, alias))
}

/// Which alias to remove, and how much to wait for that; see `enum page_cache_drop`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Any,
    NoWait,
    Unused,
    Shared,
    Failed,
}

impl From<bindings::page_cache_drop> for Which {
    fn from(how: bindings::page_cache_drop) -> Self {
        match how {
            bindings::page_cache_drop_PAGE_CACHE_DROP_NOWAIT => Self::NoWait,
            bindings::page_cache_drop_PAGE_CACHE_DROP_UNUSED => Self::Unused,
            bindings::page_cache_drop_PAGE_CACHE_DROP_SHARED => Self::Shared,
            bindings::page_cache_drop_PAGE_CACHE_DROP_FAILED => Self::Failed,
            _ => Self::Any,
        }
    }
}

impl Which {
    /// Is the alias to this folio to stay? It may change at once, unless the folio is locked.
    ///
    /// # Safety
    ///
    /// The folio must have been a home's since the caller has a reference.
    unsafe fn spares(self, folio: &Folio) -> Option<Result<bool>> {
        match self {
            // SAFETY: By the safety requirements.
            Self::Shared if unsafe { AliasCount::of(folio) }.get() < 2 => Some(Err(EBUSY)),
            // SAFETY: The folio exists.
            Self::Unused if unsafe { bindings::folio_mapped(folio.as_ptr()) } => Some(Err(EBUSY)),
            Self::Failed if folio.is_uptodate() => Some(Ok(false)),
            _ => None,
        }
    }
}

/// Removes the alias in a slot, if there is one. Says whether it removed one.
///
/// # Safety
///
/// `mapping` must be that of an inode that the caller keeps.
unsafe fn drop_alias(
    mapping: *mut bindings::address_space,
    index: usize,
    how: Which,
) -> Result<bool> {
    // SAFETY: By the safety requirements.
    while let Some((folio, alias)) = unsafe { get_alias(mapping, index) } {
        // SAFETY: An alias led to the folio.
        if let Some(spared) = unsafe { how.spares(&folio) } {
            return spared;
        }
        let locked = if how == Which::Any {
            folio.lock()
        } else {
            folio.try_lock().ok_or(EAGAIN)?
        };
        // SAFETY: An alias led to the folio.
        if let Some(spared) = unsafe { how.spares(&folio) } {
            return spared;
        }
        // SAFETY: The alias named the folio, which cannot have become something else since, as we
        // have a reference. It is locked, and the inode stays by the safety requirements.
        if unsafe { AliasCount::of(&folio).clear_alias(mapping, index, alias, true) } {
            // SAFETY: An alias named the folio until now, so it is in a home.
            unsafe { put_alias(&locked) };
            return Ok(true);
        }
    }
    Ok(false)
}

/// Replaces the alias to a folio in a slot by a folio of the file's own, and returns that, locked
/// and with a reference. `None` means that there is no such alias.
///
/// It is the home's folio itself if no other file shares it and nobody uses it. Else it is a new
/// one, which has the data if the home has; if not, the file reads it.
///
/// # Safety
///
/// `mapping` must be that of an inode that the caller keeps. `home_folio` must be what `alias` was
/// seen to name there, and the caller's only reference to it be this.
unsafe fn break_alias_to(
    mapping: *mut bindings::address_space,
    index: usize,
    home_folio: &Folio,
    alias: *mut c_void,
    nowait: bool,
    gfp: bindings::gfp_t,
) -> Result<Option<ARef<Folio>>> {
    let lock = || match nowait {
        true => home_folio.try_lock().ok_or(EAGAIN),
        false => Ok(home_folio.lock()),
    };
    // SAFETY: An alias led to it.
    if unsafe { AliasCount::of(home_folio) }.get() == 1 {
        let locked = lock()?;
        // SAFETY: If the alias is still there, the folio is in a home, as it is locked: then its
        // mapping is one's, and stays.
        unsafe {
            if bindings::page_cache_slot_has_alias(mapping, index, alias) {
                let home = Mapping::<Home>::from_raw(bindings::page_cache_folio_mapping(
                    home_folio.as_ptr(),
                ));
                if home.data().take_back(&locked, mapping, index, alias, nowait) {
                    locked.into_locked();
                    return Ok(Some(home_folio.into()));
                }
            }
        }
    }

    // SAFETY: By the safety requirements.
    let folio = NonNull::new(unsafe { bindings::page_cache_alloc_folio(mapping, gfp) })
        .ok_or(if nowait { EAGAIN } else { ENOMEM })?;
    // SAFETY: The allocation came with a reference, which is ours.
    let folio: ARef<Folio> = unsafe { ARef::from_raw(folio.cast()) };
    // SAFETY: It came locked, and nobody else knows of it.
    let own = unsafe { LockedFolio::from_locked(&folio) };

    let locked = lock()?;
    // SAFETY: Both folios exist, are locked and of one page; nobody writes to a home's folio, and
    // nobody sees the new one yet.
    // Where the memory cannot be read, the file reads the device.
    unsafe {
        if bindings::folio_test_uptodate(home_folio.as_ptr())
            && bindings::folio_mc_copy(folio.as_ptr(), home_folio.as_ptr()) == 0
        {
            bindings::folio_mark_uptodate(folio.as_ptr());
        }
    }
    // SAFETY: As above; the new folio is in no mapping. The alias named the home's folio, which
    // cannot have become something else since, as we have a reference.
    let count = unsafe { AliasCount::of(home_folio) };
    // SAFETY: As above, and the inode stays by the safety requirements.
    if !unsafe { count.replace_alias(mapping, index, alias, &folio) } {
        return Ok(None);
    }
    // SAFETY: An alias named the folio until now, so it is in a home.
    unsafe { put_alias(&locked) };
    own.into_locked();
    Ok(Some(folio))
}

/// As [`break_alias_to`], whatever the slot names.
///
/// # Safety
///
/// `mapping` must be that of an inode that the caller keeps.
unsafe fn break_alias(
    mapping: *mut bindings::address_space,
    index: usize,
    nowait: bool,
    gfp: bindings::gfp_t,
) -> Result<Option<ARef<Folio>>> {
    // SAFETY: By the safety requirements.
    let Some((home_folio, alias)) = (unsafe { get_alias(mapping, index) }) else {
        return Ok(None);
    };
    // SAFETY: By the safety requirements, and it is what the look-up found.
    unsafe { break_alias_to(mapping, index, &home_folio, alias, nowait, gfp) }
}

/// Makes the home of a block device; the C caller owns it.
///
/// # Safety
///
/// `bdev` must outlive the home. It is compared only.
#[export]
unsafe extern "C" fn page_cache_home_create(
    bdev: *mut bindings::block_device,
    ask: Ask,
) -> *mut bindings::page_cache_home {
    match Home::new(bdev, ask) {
        // SAFETY: It is treated as pinned: C knows the address only.
        Ok(home) => KBox::into_raw(unsafe { Pin::into_inner_unchecked(home) }).cast(),
        Err(err) => err.to_ptr(),
    }
}

/// Gives up a home when all files that used it are gone.
///
/// # Safety
///
/// `home` must be null or from [`page_cache_home_create`], and not be used any more.
#[export]
unsafe extern "C" fn page_cache_home_destroy(home: *mut bindings::page_cache_home) {
    if home.is_null() {
        return;
    }
    // SAFETY: By the safety requirements, and as our reference keeps the inode, it exists.
    let home = unsafe { &*home.cast::<Home>() };
    // The files are gone, so are their aliases and fragments: what is left is dead.
    crate::warn_on!(home.fragments.lock().len() != 0);
    let inode = home.inode.as_ptr();
    // SAFETY: We give up our reference, with which the home may go, and do not use that any more.
    unsafe { bindings::iput(inode) };
}

/// Frees a home.
///
/// # Safety
///
/// `home` must be null or from [`page_cache_home_create`]; its inode is evicted and has no folios.
#[export]
unsafe extern "C" fn page_cache_home_free(home: *mut bindings::page_cache_home) {
    if !home.is_null() {
        // SAFETY: By the safety requirements nobody else knows of it.
        drop(unsafe { KBox::from_raw(home.cast::<Home>()) });
    }
}

/// Lets files use the home, or not. When not, what it holds is given up as far as possible.
///
/// # Safety
///
/// `home` must be from [`page_cache_home_create`].
#[export]
unsafe extern "C" fn page_cache_home_set_enabled(
    home: *mut bindings::page_cache_home,
    enabled: bool,
) {
    // SAFETY: By the safety requirements.
    unsafe { &*home.cast::<Home>() }.set_enabled(enabled);
}

/// May files use the home?
///
/// # Safety
///
/// `home` must be from [`page_cache_home_create`].
#[export]
unsafe extern "C" fn page_cache_home_enabled(home: *const bindings::page_cache_home) -> bool {
    // SAFETY: By the safety requirements.
    unsafe { &*home.cast::<Home>() }.enabled.load(Relaxed)
}

/// The block device whose pages the home holds.
///
/// # Safety
///
/// `home` must be from [`page_cache_home_create`].
#[export]
unsafe extern "C" fn page_cache_home_bdev(
    home: *const bindings::page_cache_home,
) -> *const bindings::block_device {
    // SAFETY: By the safety requirements.
    unsafe { &*home.cast::<Home>() }.bdev
}

/// Offers a folio that a file is about to read to the home, see `enum page_cache_populate`.
///
/// # Safety
///
/// `folio` must be a locked, clean, unmapped order-0 folio without private data in `mapping`, whose
/// `invalidate_lock` is held; its data is that of page `extent.home_index` of the home's device.
#[export]
unsafe extern "C" fn page_cache_home_populate(
    home: *mut bindings::page_cache_home,
    mapping: *mut bindings::address_space,
    folio: *mut bindings::folio,
    extent: *const bindings::page_cache_extent,
) -> bindings::page_cache_populate {
    // SAFETY: By the safety requirements.
    let (home, slot) = unsafe {
        (
            &*home.cast::<Home>(),
            Slot::new(mapping, Folio::from_raw(folio), &*extent),
        )
    };
    match home.populate(&slot) {
        Outcome::Attached => bindings::page_cache_populate_PAGE_CACHE_ATTACHED,
        Outcome::Donated => bindings::page_cache_populate_PAGE_CACHE_DONATED,
        _ => bindings::page_cache_populate_PAGE_CACHE_PRIVATE,
    }
}

/// Asks the file system of a home what a file maps, to let the file share what the home has.
///
/// # Safety
///
/// `home` must be that of `mapping`, whose `invalidate_lock` is held.
#[export]
unsafe extern "C" fn page_cache_home_ask(
    home: *mut bindings::page_cache_home,
    mapping: *mut bindings::address_space,
    index: usize,
    nr: usize,
) {
    // SAFETY: By the safety requirements.
    let home = unsafe { &*home.cast::<Home>() };
    // SAFETY: The mapping exists by the type invariants. It does not matter when this is read.
    if unsafe { ptr::read_volatile(&raw const (*home.mapping).nrpages) } == 0 {
        return;
    }
    if let Some(ask) = home.ask {
        // SAFETY: The file system gave us the function, and it is called as it was promised.
        unsafe { ask(mapping, index, nr) };
    }
}

/// Lets empty slots of a file name what the home has of an extent. Returns how many do so now.
///
/// # Safety
///
/// `home` must be that of `mapping`, whose `invalidate_lock` is held and whose inode the caller
/// keeps; the slots `first` to `last` must lie in the extent.
#[export]
unsafe extern "C" fn page_cache_home_attach(
    home: *mut bindings::page_cache_home,
    mapping: *mut bindings::address_space,
    first: usize,
    last: usize,
    extent: *const bindings::page_cache_extent,
) -> usize {
    // SAFETY: By the safety requirements.
    unsafe { (*home.cast::<Home>()).attach_range(mapping, first, last, &*extent) }
}

/// Moves what a file has cached of an extent to the home, as far as it is clean and not in use.
/// Returns how many pages that was.
///
/// # Safety
///
/// As for [`page_cache_home_attach`], and nobody may write to the file or make a page of it
/// writable.
#[export]
unsafe extern "C" fn page_cache_home_adopt(
    home: *mut bindings::page_cache_home,
    mapping: *mut bindings::address_space,
    first: usize,
    last: usize,
    extent: *const bindings::page_cache_extent,
) -> usize {
    // SAFETY: By the safety requirements.
    unsafe { (*home.cast::<Home>()).adopt_range(mapping, first, last, &*extent) }
}

/// Removes the alias in a slot of a file, and what the file has mapped of it.
///
/// Returns 1 if it removed one, 0 if there was none to be removed, `-EAGAIN` if it must not wait and
/// the home's folio is locked, or `-EBUSY` if that is in use.
///
/// # Safety
///
/// `mapping` must be that of an inode that the caller keeps.
#[export]
unsafe extern "C" fn page_cache_home_drop(
    mapping: *mut bindings::address_space,
    index: usize,
    how: bindings::page_cache_drop,
) -> c_int {
    // SAFETY: By the safety requirements.
    match unsafe { drop_alias(mapping, index, how.into()) } {
        Ok(dropped) => dropped.into(),
        Err(err) => err.to_errno(),
    }
}

/// Calls `visit` with every slot of a file that names a home's folio, until it says `false`: the
/// reverse map of the folio.
///
/// Returns `false` if `nowait` and somebody else is in the reverse map.
///
/// Context: `visit` is called with the fragments locked, and may not wait for memory.
///
/// # Safety
///
/// `folio` must be locked and in a home.
#[export]
unsafe extern "C" fn page_cache_home_walk(
    folio: *mut bindings::folio,
    nowait: bool,
    visit: Option<unsafe extern "C" fn(*mut bindings::address_space, usize, *mut c_void) -> bool>,
    data: *mut c_void,
) -> bool {
    let Some(visit) = visit else { return true };
    // SAFETY: By the safety requirements. A mapping with the operations of a home is one's, and it
    // stays while there are folios in it.
    let (mapping, folio) = unsafe {
        (
            Mapping::<Home>::from_raw(bindings::page_cache_folio_mapping(folio)),
            Locked::from_raw(folio),
        )
    };
    let home = mapping.data();
    // SAFETY: The folio is the home's. The visitor is called as the C caller wants it.
    unsafe { home.walk(folio, nowait, |mapping, index| visit(mapping, index, data)) }.is_ok()
}

/// What [`break_alias`] returns, as C wants it: the folio, null, or an error pointer.
fn broken_to_c(result: Result<Option<ARef<Folio>>>) -> *mut bindings::folio {
    match result {
        Ok(Some(folio)) => ARef::into_raw(folio).cast().as_ptr(),
        Ok(None) => ptr::null_mut(),
        Err(err) => err.to_ptr(),
    }
}

/// Gives a file a folio of its own where it has an alias.
///
/// Returns the folio, locked and with a reference, null if there is no alias (any more), or an
/// error pointer: `-ENOMEM`, or `-EAGAIN` if `nowait`.
///
/// # Safety
///
/// `mapping` must be that of an inode that the caller keeps.
#[export]
unsafe extern "C" fn page_cache_home_break(
    mapping: *mut bindings::address_space,
    index: usize,
    nowait: bool,
    gfp: bindings::gfp_t,
) -> *mut bindings::folio {
    // SAFETY: By the safety requirements.
    broken_to_c(unsafe { break_alias(mapping, index, nowait, gfp) })
}

/// As [`page_cache_home_break`] of an alias to `home_folio`, for who has that already; it may sleep.
///
/// Returns null if the slot does not hold that alias (any more).
///
/// # Safety
///
/// `mapping` must be that of an inode that the caller keeps. `home_folio` must have been seen in
/// that file, as a home's, and the caller have one reference to it.
#[export]
unsafe extern "C" fn page_cache_home_break_folio(
    mapping: *mut bindings::address_space,
    index: usize,
    home_folio: *mut bindings::folio,
    gfp: bindings::gfp_t,
) -> *mut bindings::folio {
    // SAFETY: The caller has a reference.
    let home_folio = unsafe { Folio::from_raw(home_folio) };
    let Some(alias) = Entry::alias(home_folio.pfn()) else {
        return ptr::null_mut();
    };
    // SAFETY: By the safety requirements.
    broken_to_c(unsafe { break_alias_to(mapping, index, home_folio, alias.into_raw(), false, gfp) })
}

/// Takes away the fragments of a range of a file that has no aliases in it.
///
/// # Safety
///
/// `home` must be the home of `mapping`, whose inode the caller keeps.
#[export]
unsafe extern "C" fn page_cache_home_forget(
    home: *mut bindings::page_cache_home,
    mapping: *mut bindings::address_space,
    first: usize,
    last: usize,
) {
    // SAFETY: By the safety requirements.
    unsafe { &*home.cast::<Home>() }.forget(mapping, first, last);
}
