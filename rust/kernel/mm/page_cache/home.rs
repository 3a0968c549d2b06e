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
//! # Where a folio is
//!
//! A folio of one page is in the home's tree where its page is on the device. One of several pages
//! has a place where it is aligned as the page cache wants it, and as it is in the files that share
//! it; see [`place`].
//!
//! # States of a home folio
//!
//! Its alias count is how many slots of files name one of its pages; see [`AliasCount`].
//!
//! - *Arriving.* The folio is in the home's tree, locked, and still says that it is the file's. It
//!   is so only while [`Home::fragments`] is held, which whoever wants to attach to what it found
//!   in the tree takes before it looks at it: to a reader, a folio of the home is live or dead.
//! - *Live.* The count is at least one. The folio stays in the home.
//! - *Dead.* The count is zero, and never becomes anything else. Who brings it there, with the
//!   folio locked, takes the folio out of the home (who attaches to it and finds no memory for the
//!   alias does not); where reclaim cannot, because somebody has a reference, or does not, as
//!   migration, the folio stays until it is reclaimed or [`Home::purge`] finds it. So do the pages
//!   of one that was split.
//!
//! # Who may change the count
//!
//! - *Donate* makes it one whole alias, with the folio locked and [`Home::fragments`] held, in the
//!   `i_pages` critical section that puts the first alias in place.
//! - *Attach* adds an alias if somebody vouches for the pages, in the `i_pages` critical section
//!   that puts it in place, and with [`Home::fragments`] held. It does not need the folio's lock,
//!   so that nobody waits for a read that another file started, unless all that is left of the
//!   aliases are parts; then it only tries.
//! - *Drop*, *break* and *release* take the slots off that they empty, with the folio locked, in
//!   the `i_pages` critical section in which they stop being of an alias. A moment later the file
//!   could be given another block, and the block another file's write, while the count still says
//!   that somebody vouches for the data.
//!
//! - *Take back* makes it zero, of a folio with one alias, a whole one, as *migrate* does: it is the
//!   file's own after that. With the folio locked and [`Home::fragments`] held nobody attaches to it
//!   or removes the alias; it is frozen, so that nobody reads it for another file while it is
//!   written to.
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
//! `i_dio_count`. So while a slot names a page, some file has owned the block without a gap since it
//! was read, and nobody can have written to it in place: home data is never stale where there is an
//! alias. That is why it takes an alias to a page to get another, see [`AliasCount`].
//!
//! C header: [`include/linux/page_cache_home.h`](srctree/include/linux/page_cache_home.h)

use super::{
    alias::AliasCount,
    entry::Pfn,
    fragment::{
        FileKey,
        Fragments,
        NeedsSpare,
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
            Atomic,
            Relaxed, //
        },
        new_mutex,
        rcu,
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

/// No folio of a home is larger.
const MAX_ORDER: u32 = bindings::page_cache_home_layout_PAGE_CACHE_HOME_MAX_ORDER;

/// What is above that in a place is the skew.
const SKEW_SHIFT: u32 = bindings::page_cache_home_layout_PAGE_CACHE_SKEW_SHIFT;

/// Where in the tree of a home a folio of `order` is whose first page is `page` of the device, and
/// which a file has at `index`; see `enum page_cache_home_layout`.
fn place(page: usize, index: usize, order: u32) -> usize {
    if order == 0 {
        return page;
    }
    let skew = index.wrapping_sub(page) & ((1 << MAX_ORDER) - 1);
    (skew << SKEW_SHIFT) + page + skew
}

/// The device page of a [`place`].
fn page_at(place: usize) -> usize {
    (place & ((1 << SKEW_SHIFT) - 1)) - (place >> SKEW_SHIFT)
}

/// There may be very many aliases: lets others run, and says that there is more to do.
fn relax(_looked: usize) -> bool {
    // SAFETY: All who walk over aliases with this may sleep.
    unsafe { bindings::cond_resched() };
    true
}

/// Could the home not read it? It is not for others then: who has it in use reads for himself.
fn has_failed(folio: &Folio) -> bool {
    // SAFETY: The folio exists.
    !folio.is_uptodate() && !unsafe { bindings::folio_test_locked(folio.as_ptr()) }
}

/// Where in a folio the page is that a file has at `index`.
fn offset_in(folio: &Folio, index: usize) -> usize {
    index & (folio.nr_pages() - 1)
}

/// An alias for `1 << order` pages of a folio, from that on which a file has at `index`.
fn alias_to(folio: &Folio, index: usize, order: u32) -> Option<Pfn> {
    match Entry::alias(folio.pfn() + offset_in(folio, index), order)? {
        Entry::Alias(alias) => Some(alias),
        _ => None,
    }
}

/// A slot of a file, whose folio a reader offers to the home.
///
/// # Invariants
///
/// `folio` is locked and in the slots from `index` on of `mapping`, until [`Slot::replace`] has
/// replaced it. All of them are in the extent.
struct Slot<'a> {
    mapping: *mut bindings::address_space,
    index: usize,
    order: u32,
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
    /// `folio` must be locked and in `mapping`, and the extent be that of all its pages.
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
            order: folio.order(),
            folio,
            extent,
        }
    }

    /// The last slot.
    fn last(&self) -> usize {
        self.index + ((1 << self.order) - 1)
    }

    /// Where in the home the folio would be, or one is that has all its pages.
    fn place(&self) -> usize {
        place(self.extent.home_index, self.index, self.order)
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
    fn replace<F: FnMut() -> bool>(&self, alias: Pfn, donate: bool, also: F) -> bool {
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
                Entry::Alias(alias).into_raw(),
                donate,
                Some(Question::<F>::ask),
                ptr::from_mut(&mut question).cast(),
            )
        }
    }
}

/// Slots of a file in one extent, from `first` to `last`, that may be given aliases.
struct Batch<'a> {
    mapping: *mut bindings::address_space,
    first: usize,
    last: usize,
    /// The device page of the first.
    page: usize,
    extent: &'a bindings::page_cache_extent,
}

impl Batch<'_> {
    /// How many pieces: what is done with a spinlock held.
    const PIECES: usize = 16;

    /// How many slots are looked at, in an RCU read-side critical section.
    const SLOTS: usize = 1 << MAX_ORDER;

    fn run(&self, index: usize) -> Run {
        Run {
            file: self.mapping as FileKey,
            index,
            home: self.page.wrapping_add(index.wrapping_sub(self.first)),
            first: self.extent.first,
            last: self.extent.last,
        }
    }
}

/// What slots of a file could name.
///
/// # Invariants
///
/// `raw.folio` is null, or we have a reference to it, and it has the pages that are for the slots.
struct Piece {
    raw: bindings::page_cache_piece,
}

impl Piece {
    const NONE: Self = Self {
        raw: bindings::page_cache_piece {
            folio: ptr::null_mut(),
            index: 0,
            order: 0,
        },
    };

    fn folio(&self) -> Option<&Folio> {
        // SAFETY: By the type invariants.
        (!self.raw.folio.is_null()).then(|| unsafe { Folio::from_raw(self.raw.folio) })
    }

    fn last(&self) -> usize {
        self.raw.index + ((1 << self.raw.order) - 1)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(folio) = NonNull::new(self.raw.folio) {
            // SAFETY: By the type invariants the reference is ours.
            drop(unsafe { ARef::<Folio>::from_raw(folio.cast()) });
        }
    }
}

/// Some pages of a folio.
#[derive(Default)]
struct PageSet {
    words: [u64; (1 << MAX_ORDER) / u64::BITS as usize],
    len: usize,
}

impl PageSet {
    fn contains(&self, page: usize) -> bool {
        self.words[page / u64::BITS as usize] & (1 << (page % u64::BITS as usize)) != 0
    }

    fn add(&mut self, first: usize, nr: usize) {
        for page in first..first + nr {
            if !self.contains(page) {
                self.words[page / u64::BITS as usize] |= 1 << (page % u64::BITS as usize);
                self.len += 1;
            }
        }
    }

    fn has(&self, first: usize, nr: usize) -> bool {
        (first..first + nr).all(|page| self.contains(page))
    }

    /// The largest order that an entry for pages from `first` on can have, of which there are up to
    /// `most`; [`None`] if the first is not in the set.
    fn order(&self, first: usize, most: usize) -> Option<u32> {
        let most = first.trailing_zeros().min(most.ilog2()).min(MAX_ORDER);
        (0..=most).rev().find(|order| self.has(first, 1 << order))
    }
}

/// Why no more slots are given aliases.
enum Refused {
    /// A fragment needs memory that was not there.
    NeedsSpare,
    /// Memory is short, or the file is changing.
    Changing,
}

impl From<NeedsSpare> for Refused {
    fn from(_: NeedsSpare) -> Self {
        Self::NeedsSpare
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
    fn new(home: &'a Home, place: usize, order: u32) -> Self {
        let raw = Opaque::uninit();
        // SAFETY: This sets it up; the mapping exists by the type invariants of the home.
        unsafe { bindings::page_cache_insertion_init(raw.get(), home.mapping, place, order) };
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

/// How a file system is asked to call [`page_cache_home_attach`] for what a file maps.
type Ask = bindings::page_cache_ask_t;

/// The part of a home that C sees.
///
/// # Invariants
///
/// It has counters, which are its own.
#[repr(transparent)]
struct Head(bindings::page_cache_home);

impl Head {
    fn new() -> Result<Self> {
        // SAFETY: May be called from a context that may sleep, which the mount of a file system is.
        let counts = unsafe { bindings::page_cache_counts_alloc() };
        // INVARIANT: Just allocated, and nobody else knows of them.
        (!counts.is_null())
            .then_some(Self(bindings::page_cache_home { counts }))
            .ok_or(ENOMEM)
    }

    fn count(&self, what: bindings::page_cache_count, nr: isize) {
        let head = ptr::from_ref(&self.0).cast_mut();
        // SAFETY: It is only read, and by the type invariants there are counters.
        unsafe { bindings::page_cache_count(head, what, nr) };
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        // SAFETY: By the type invariants they are ours, and nobody counts any more.
        unsafe { bindings::page_cache_counts_free(self.0.counts) };
    }
}

/// The cached data of the blocks of one device.
///
/// # Invariants
///
/// - `head` is where C has it.
/// - `mapping` is that of `inode`, which owns the home: it frees it when it is evicted.
/// - Every alias to a folio of this home lies in one of `fragments`, and the address spaces that
///   fragments name exist.
#[pin_data]
#[repr(C)]
struct Home {
    head: Head,
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

    /// How many times slots are given aliases while others wait for the lock.
    const ATTACH_AT_ONCE: usize = 8;

    /// How many fragments and slots are looked at while readers of a folio that moves wait for that,
    /// without sleeping. A hundred nanoseconds each, more or less; three for each file.
    const MOVE_AT_ONCE: usize = 1024;

    fn new(bdev: *const bindings::block_device, ask: Ask) -> Result<Pin<KBox<Self>>> {
        let head = Head::new()?;
        // SAFETY: May be called from a context that may sleep, which the mount of a file system is.
        let inode = NonNull::new(unsafe { bindings::page_cache_home_inode() }).ok_or(ENOMEM)?;
        // SAFETY: We have a reference to the inode.
        let mapping = unsafe { (*inode.as_ptr()).i_mapping };
        let home = KBox::pin_init(
            pin_init!(Self {
                head,
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
            || slot.order > MAX_ORDER
            || unsafe { bindings::folio_test_dropbehind(slot.folio.as_ptr()) }
        {
            return Outcome::Private;
        }
        // What was in the way may have been a dead folio, or is gone.
        for _ in 0..Self::TRIES {
            let outcome = match self.find(slot) {
                Some(found) => self.attach(slot, &found),
                None => self.donate(slot, false),
            };
            if !matches!(outcome, Outcome::LookAgain) {
                return outcome;
            }
        }
        Outcome::Private
    }

    /// What the home has of the first page of a slot, in whatever state.
    fn find(&self, slot: &Slot<'_>) -> Option<ARef<Folio>> {
        let page = slot.extent.home_index;
        // For a single page, too, it may be in a larger folio.
        let large = place(page, slot.index, MAX_ORDER);
        let found = self.lookup(large);
        if large == page {
            return found;
        }
        // Elsewhere there are no folios of one page, but what is left of those that were split; and
        // where single pages are, a larger one is for files that have it at another place.
        match found.filter(|found| found.order() != 0 || slot.order != 0) {
            None if slot.order == 0 => self.lookup(page).filter(|found| found.order() == 0),
            found => found,
        }
    }

    /// The home's folio at a [`place`], in whatever state.
    fn lookup(&self, place: usize) -> Option<ARef<Folio>> {
        // SAFETY: The mapping exists by the type invariants.
        let raw = unsafe { bindings::filemap_get_entry(self.mapping, place) };
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

    /// Runs `f` with the fragments locked and the slots covered. Returns [`None`] if there is no
    /// memory for that.
    fn with_cover<T>(&self, slot: &Slot<'_>, f: impl FnOnce(&Fragments) -> T) -> Option<T> {
        let run = slot.run();
        let mut spare = Spare::default();
        loop {
            let mut fragments = self.fragments.lock();
            let before = fragments.len();
            let covered = fragments.cover_up_to(&run, slot.last(), &mut spare);
            self.count_fragments(before, fragments.len());
            if covered.is_ok() {
                return Some(f(&fragments));
            }
            drop(fragments);
            // The caller is a reader in `memalloc_nofs_save()`. It can do without.
            spare
                .fill(GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN)
                .ok()?;
        }
    }

    fn count_fragments(&self, before: usize, after: usize) {
        if before != after {
            self.head.count(
                bindings::page_cache_count_PAGE_CACHE_NR_FRAGMENT,
                after as isize - before as isize,
            );
        }
    }

    /// Lets a file share `found`, and removes the folio that it has.
    fn attach(&self, slot: &Slot<'_>, found: &Folio) -> Outcome {
        // SAFETY: It is ours, or was just now.
        let count = unsafe { AliasCount::of(found) };
        // Several small ones are not one for a large one.
        let fits = found.order() >= slot.order;
        let Some(alias) = alias_to(found, slot.index, slot.order).filter(|_| fits) else {
            return match self.owns(found) && count.is_zero() {
                true => self.purge(found),
                false => Outcome::Private,
            };
        };
        // Before there is another fragment that reclaim has to visit.
        if self.owns(found) && (count.is_full() || !count.is_zero() && has_failed(found)) {
            return Outcome::Private;
        }
        // The cache's reference goes, and nobody else need have one.
        let folio: ARef<Folio> = slot.folio.into();
        // If nobody has all of it, somebody must be found who has this, and keep it meanwhile. It is
        // not waited for, see `purge`.
        let locked = match count.has_whole() || count.is_zero() {
            true => None,
            false => match found.try_lock() {
                None => return Outcome::Private,
                locked => locked,
            },
        };
        let mut refused = Outcome::Private;
        let attached = self.with_cover(slot, |fragments| {
            let vouched = locked.is_some()
                && self.owns(found)
                // SAFETY: It is the home's, locked, and the fragments are.
                && unsafe { self.vouched(fragments, found) }
                    .has(offset_in(found, slot.index), 1 << slot.order);
            slot.replace(alias, false, || {
                // With the fragments locked nothing arrives: what is not ours was taken back, or
                // has left the home since.
                if !self.owns(found) {
                    refused = Outcome::LookAgain;
                    return false;
                }
                let attached = count.take(slot.order) || vouched && count.take_vouched(slot.order);
                if !attached && count.is_zero() {
                    refused = Outcome::Dead;
                }
                attached
            })
        });
        drop(locked);
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

    /// The pages of a folio that somebody has an alias to: he vouches for them, if nobody has all of
    /// it.
    ///
    /// # Safety
    ///
    /// The folio must be this home's and locked, so that aliases stay.
    unsafe fn vouched(&self, fragments: &Fragments, folio: &Folio) -> PageSet {
        let mut pages = PageSet::default();
        // SAFETY: By the safety requirements.
        unsafe {
            self.for_each_alias(fragments, folio, relax, |_, _, alias| {
                pages.add(alias.pfn() - folio.pfn(), 1 << alias.order());
                pages.len < folio.nr_pages()
            })
        };
        pages
    }

    /// Makes a file's folio the home's.
    ///
    /// With `idle`, only if nobody but the page cache and the caller has a reference.
    fn donate(&self, slot: &Slot<'_>, idle: bool) -> Outcome {
        let folio = slot.folio;
        let Some(alias) = alias_to(folio, slot.index, slot.order) else {
            return Outcome::Private;
        };
        // SAFETY: The folio is locked. If it has private data, we leave it alone.
        let count = unsafe { AliasCount::of(folio) };
        if !count.is_unused() {
            return Outcome::Private;
        }
        let place = slot.place();
        let mut insertion = Insertion::new(self, place, slot.order);
        loop {
            let donated: Option<Result<bool>> = self.with_cover(slot, |fragments| {
                insertion.insert(folio, fragments)?;
                let donated = slot.replace(alias, true, || {
                    // SAFETY: The folio is locked and in the home's tree. Who finds it by the
                    // file's slot at this moment takes its lock and sees that it is not the
                    // file's any more.
                    let donated = unsafe {
                        bindings::page_cache_set_home(folio.as_ptr(), self.mapping, place, idle)
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
                Some(Err(EEXIST)) => {
                    self.purge_all(place, folio.nr_pages());
                    Outcome::LookAgain
                }
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
            let before = fragments.len();
            let mut done = Ok(());
            for _ in 0..Self::ATTACH_AT_ONCE {
                let batch = Batch {
                    mapping,
                    first: next,
                    last: last.min(next + (Batch::SLOTS - 1)),
                    page: extent.home_index + (next - first),
                    extent,
                };
                // SAFETY: By the safety requirements.
                done = unsafe {
                    self.attach_batch(&batch, &mut fragments, &mut spare, &mut next, &mut all)
                };
                if done.is_err() || next > last {
                    break;
                }
            }
            self.count_fragments(before, fragments.len());
            drop(fragments);
            // As in `with_cover`.
            match done {
                Ok(()) => {}
                Err(Refused::NeedsSpare)
                    if spare
                        .fill(GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN)
                        .is_ok() => {}
                Err(_) => break,
            }
        }
        all
    }

    /// Is it of use to attach to a folio, as far as one can tell?
    fn is_good(&self, found: &Folio) -> bool {
        // SAFETY: It is this home's if it is, or was just now.
        let count = || unsafe { AliasCount::of(found) };
        !has_failed(found) && self.owns(found) && !count().is_zero() && !count().is_full()
    }

    /// Puts aliases into the slots of a batch that are empty, if the home has something for them.
    /// Moves `next` on as far as that was done, and adds to `all` how many slots have one now.
    ///
    /// # Safety
    ///
    /// The mapping must be that of an inode that the caller keeps, with its `invalidate_lock` held.
    unsafe fn attach_batch(
        &self,
        batch: &Batch<'_>,
        fragments: &mut Fragments,
        spare: &mut Spare,
        next: &mut usize,
        all: &mut usize,
    ) -> Result<(), Refused> {
        let mut pieces = [const { Piece::NONE }; Batch::PIECES];
        // SAFETY: By the safety requirements.
        let end = unsafe { self.find_pieces(batch, &mut pieces) };
        let mut covered: Option<Range<usize>> = None;
        for piece in &mut pieces {
            let Some(folio) = piece.folio().filter(|folio| self.is_good(folio)) else {
                // INVARIANT: What is dropped has its reference.
                *piece = Piece::NONE;
                continue;
            };
            // SAFETY: It is this home's, or was just now.
            let whole = unsafe { AliasCount::of(folio) }.has_whole();
            let (index, last) = (piece.raw.index, piece.last());
            // Only now, so that there is no fragment that reclaim has to visit for nothing.
            if !covered.as_ref().is_some_and(|range| range.contains(&last)) {
                let upto = fragments.cover_up_to(&batch.run(index), last, spare)?;
                covered = Some(index..upto + 1);
            }
            if !whole {
                let piece = core::mem::replace(piece, Piece::NONE);
                // SAFETY: By the safety requirements, and fragments cover the slots.
                *all += unsafe { self.attach_part(batch, piece, fragments)? };
            }
        }
        // SAFETY: By the safety requirements, and fragments cover the slots of all pieces.
        *all += unsafe { self.attach_pieces(batch, &mut pieces, Self::take)? };
        *next = end;
        Ok(())
    }

    /// Finds pieces for the empty slots of a batch. Returns the slot to go on with.
    ///
    /// # Safety
    ///
    /// The mapping must be that of an inode that the caller keeps.
    unsafe fn find_pieces(&self, batch: &Batch<'_>, pieces: &mut [Piece; Batch::PIECES]) -> usize {
        let search = bindings::page_cache_search {
            first: batch.first,
            last: batch.last,
            extent_first: batch.extent.first,
            extent_last: batch.extent.last,
            place: place(batch.page, batch.first, MAX_ORDER),
            page: batch.page,
        };
        let mut raw = [Piece::NONE.raw; Batch::PIECES];
        let mut next = batch.first;
        // SAFETY: By the safety requirements the mapping exists, and the home's does by the type
        // invariants. There is place for as many pieces as we say.
        let found = unsafe {
            bindings::page_cache_slots_find(
                batch.mapping,
                self.mapping,
                &search,
                raw.as_mut_ptr(),
                Batch::PIECES as u32,
                &mut next,
            )
        };
        for (piece, raw) in pieces.iter_mut().zip(raw).take(found as usize) {
            // INVARIANT: The look-up took a reference, which is ours. With it, the folio cannot be
            // frozen, so it cannot leave the home to become something else's.
            *piece = Piece { raw };
        }
        next
    }

    /// Attaches a piece of a folio that nobody has all of any more, as far as somebody has it.
    ///
    /// # Safety
    ///
    /// As for [`Self::attach_pieces`].
    unsafe fn attach_part(
        &self,
        batch: &Batch<'_>,
        mut piece: Piece,
        fragments: &Fragments,
    ) -> Result<usize, Refused> {
        let (mut index, last) = (piece.raw.index, piece.last());
        let Some(folio) = piece.folio() else {
            return Ok(0);
        };
        // See `attach`.
        let Some(locked) = folio.try_lock() else {
            return Ok(0);
        };
        if !self.owns(folio) {
            return Ok(0);
        }
        // SAFETY: It is this home's, and locked.
        let vouched = unsafe { self.vouched(fragments, folio) };
        let nr = folio.nr_pages();
        // The lock is that of a folio that the piece has a reference to, so that this can go on
        // using it.
        locked.into_locked();
        let mut done = Ok(());
        let mut all = 0;
        while done.is_ok() && index <= last {
            let Some(order) = vouched.order(index & (nr - 1), last - index + 1) else {
                index += 1;
                continue;
            };
            (piece.raw.index, piece.raw.order) = (index, order);
            // SAFETY: By the safety requirements. Somebody vouches for what the piece is now.
            done = unsafe {
                self.attach_pieces(batch, core::slice::from_mut(&mut piece), Self::take_vouched)
            }
            .map(|attached| all += attached);
            index += 1 << order;
        }
        if let Some(folio) = piece.folio() {
            // SAFETY: We have locked it.
            drop(unsafe { LockedFolio::from_locked(folio) });
        }
        done.map(|()| all)
    }

    /// Puts aliases into slots.
    ///
    /// # Safety
    ///
    /// As for [`Self::attach_batch`]; fragments must cover the slots of the pieces, and be locked;
    /// and `take` may be [`Self::take_vouched`] only if somebody vouches for them.
    unsafe fn attach_pieces(
        &self,
        batch: &Batch<'_>,
        pieces: &mut [Piece],
        take: unsafe extern "C" fn(*const bindings::page_cache_piece, *mut c_void) -> bool,
    ) -> Result<usize, Refused> {
        let mut raw = [Piece::NONE.raw; Batch::PIECES];
        let mut nr = 0;
        for piece in pieces.iter().filter(|piece| piece.folio().is_some()) {
            raw[nr] = piece.raw;
            nr += 1;
        }
        if nr == 0 {
            return Ok(0);
        }
        let mut question = Question {
            extent: batch.extent,
            also: || true,
        };
        // SAFETY: By the safety requirements. The question outlives the call, which asks it with
        // the lock held; the functions are given this home, and folios that we have references to.
        let attached = unsafe {
            bindings::page_cache_slots_attach(
                batch.mapping,
                raw.as_mut_ptr(),
                nr as u32,
                Some(question.asked()),
                ptr::from_mut(&mut question).cast(),
                Some(take),
                Some(Self::untake),
                ptr::from_ref(self).cast_mut().cast(),
            )
        };
        usize::try_from(attached).map_err(|_| Refused::Changing)
    }

    /// Counts an alias to a piece, if the folio is the home's and somebody has all of it.
    ///
    /// # Safety
    ///
    /// `home` must point to a [`Home`] whose fragments are locked, and `piece` be one whose folio was
    /// found in it, and that the caller has a reference to.
    unsafe extern "C" fn take(piece: *const bindings::page_cache_piece, home: *mut c_void) -> bool {
        // SAFETY: By the safety requirements.
        unsafe { Self::take_if(piece, home, |count, order| count.take(order)) }
    }

    /// As [`Self::take`], if somebody has those pages.
    ///
    /// # Safety
    ///
    /// As for [`Self::take`], and the folio must be locked.
    unsafe extern "C" fn take_vouched(
        piece: *const bindings::page_cache_piece,
        home: *mut c_void,
    ) -> bool {
        // SAFETY: By the safety requirements.
        unsafe { Self::take_if(piece, home, |count, order| count.take_vouched(order)) }
    }

    /// # Safety
    ///
    /// As for [`Self::take`].
    unsafe fn take_if(
        piece: *const bindings::page_cache_piece,
        home: *mut c_void,
        take: impl FnOnce(&AliasCount<'_>, u32) -> bool,
    ) -> bool {
        // SAFETY: By the safety requirements.
        let (home, piece) = unsafe { (&*home.cast::<Self>(), &*piece) };
        // SAFETY: By the safety requirements.
        let folio = unsafe { Folio::from_raw(piece.folio) };
        // With the fragments locked nothing arrives.
        //
        // SAFETY: It is the home's, as is seen first.
        home.owns(folio) && take(&unsafe { AliasCount::of(folio) }, piece.order)
    }

    /// Undoes [`Self::take`].
    ///
    /// # Safety
    ///
    /// As for [`Self::take`], which must have said `true`.
    unsafe extern "C" fn untake(piece: *const bindings::page_cache_piece, _home: *mut c_void) {
        // SAFETY: By the safety requirements.
        unsafe { AliasCount::of(Folio::from_raw((*piece).folio)).put((*piece).order) };
    }

    /// Moves what a file has cached of an extent to the home, as far as it is clean and nobody uses
    /// it: the slots from `first` to `last`, of which the first is the extent's `home_index`.
    /// Returns how many pages of the file's own were looked at for that.
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
        let mut looked = 0;
        let mut index = first;
        while self.enabled.load(Relaxed) {
            // SAFETY: By the safety requirements.
            let folio =
                unsafe { bindings::page_cache_next_idle(mapping, &mut index, last, &mut looked) };
            let Some(folio) = NonNull::new(folio) else {
                break;
            };
            // SAFETY: The look-up took a reference, which is ours.
            let folio: ARef<Folio> = unsafe { ARef::from_raw(folio.cast()) };
            let mut extent = *extent;
            extent.home_index += index - first;
            let nr = folio.nr_pages();
            // SAFETY: It is locked, which is for us to undo.
            let locked = unsafe { LockedFolio::from_locked(&folio) };
            // SAFETY: It is locked and in the mapping, and lies in the range.
            let slot = unsafe { Slot::new(mapping, &folio, &extent) };
            // Whatever comes of it: else it stays the file's.
            let _ = self.donate(&slot, true);
            drop(locked);
            index += nr;
        }
        looked
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

    /// Removes dead folios that are in the way of one of `nr` pages: of one that was split, its pages
    /// are left.
    fn purge_all(&self, place: usize, nr: usize) {
        let mut at = place;
        while at < place + nr {
            at += match self.lookup(at) {
                // SAFETY: It is ours, or was just now.
                Some(found) if unsafe { AliasCount::of(&found) }.is_zero() => {
                    self.purge(&found);
                    found.nr_pages()
                }
                Some(_) => return,
                None => 1,
            };
        }
    }

    /// Locks the fragments, unless `nowait` and somebody else has.
    fn lock_fragments(&self, nowait: bool) -> Result<MutexGuard<'_, Fragments>> {
        if nowait {
            self.fragments.try_lock().ok_or(EAGAIN)
        } else {
            Ok(self.fragments.lock())
        }
    }

    /// Calls `visit` with every alias to a folio, and where in which file it begins, and `look` for
    /// each fragment and each time after it looked for an alias, with the number of entries it looked
    /// at, until one of them says `false`.
    ///
    /// # Safety
    ///
    /// The folio must be this home's, or about to leave it, and its index stay. The fragments are
    /// locked, so that there will be no more aliases; others may go.
    unsafe fn for_each_alias(
        &self,
        fragments: &Fragments,
        folio: &Folio,
        mut look: impl FnMut(usize) -> bool,
        mut visit: impl FnMut(*mut bindings::address_space, usize, Pfn) -> bool,
    ) {
        // SAFETY: By the safety requirements.
        let mut left = unsafe { AliasCount::of(folio) }.slots();
        if left == 0 {
            return;
        }
        let nr = folio.nr_pages();
        // SAFETY: The folio exists.
        let page = page_at(unsafe { bindings::page_cache_folio_index(folio.as_ptr()) });
        fragments.for_each(page, page + (nr - 1), |slots| {
            if !look(1) {
                return false;
            }
            // Who has the pages with another skew has no alias to a folio of several.
            if slots.first.wrapping_sub(slots.home - page) & (nr - 1) != 0 {
                return true;
            }
            let mapping = slots.file as *mut bindings::address_space;
            let mut index = slots.first;
            while index <= slots.last {
                let mut looked = 0;
                // SAFETY: By the type invariants of the home the mapping exists: it is removed from
                // the fragments before its inode is freed, and they are locked.
                let raw = unsafe {
                    bindings::page_cache_slots_next_alias(
                        mapping,
                        &mut index,
                        slots.last,
                        folio.as_ptr(),
                        &mut looked,
                    )
                };
                if !look(looked) {
                    return false;
                }
                let Entry::Alias(alias) = Entry::from_raw(raw) else {
                    break;
                };
                let nr = 1 << alias.order();
                left = left.saturating_sub(nr);
                if !visit(mapping, index, alias) || left == 0 {
                    return false;
                }
                index += nr;
            }
            true
        });
    }

    /// Calls `visit` with every alias to a folio, and where in which file it begins, until it says
    /// `false`: the reverse map of the folio.
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
        visit: impl FnMut(*mut bindings::address_space, usize, Pfn) -> bool,
    ) -> Result {
        // SAFETY: By the safety requirements.
        if unsafe { AliasCount::of(folio) }.is_zero() {
            return Ok(());
        }
        let fragments = self.lock_fragments(nowait)?;
        // SAFETY: By the safety requirements. The folio is locked, so nobody else removes aliases.
        unsafe { self.for_each_alias(&fragments, folio, relax, visit) };
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
        // Reclaim has unmapped it from all files at once. With the folio locked, nobody maps it
        // again.
        //
        // SAFETY: The folio exists.
        let unmap = unsafe { bindings::folio_mapped(folio.as_ptr()) };
        let walk = |mapping, index, alias| {
            // SAFETY: The mapping exists, as we are called with it. The folio is locked by our
            // caller.
            unsafe { count.reclaim_alias(mapping, index, alias, unmap) };
            true
        };
        // SAFETY: By the safety requirements.
        let walked = unsafe { self.walk(folio, false, walk) };
        // Nobody could attach, and nobody else removes aliases of a folio that is locked.
        walked.is_ok() && count.is_zero()
    }

    /// Gives a folio back to the file that has the only alias to it, at `index`. Says `false` if it
    /// has to be copied: there are others, or somebody uses it.
    ///
    /// # Safety
    ///
    /// `folio` must be this home's, and `alias` name pages of it; `mapping` must be that of an inode
    /// that the caller keeps.
    unsafe fn take_back(
        &self,
        folio: &Locked,
        mapping: *mut bindings::address_space,
        index: usize,
        alias: Pfn,
        nowait: bool,
    ) -> bool {
        // SAFETY: By the safety requirements.
        let count = unsafe { AliasCount::of(folio) };
        if !count.is_one_whole() || !folio.is_uptodate() {
            return false;
        }
        let Ok(_fragments) = self.lock_fragments(nowait) else {
            return false;
        };
        // With them locked nobody attaches, and as the folio is locked nobody removes an alias.
        //
        // SAFETY: By the safety requirements the mapping exists.
        if !count.is_one_whole()
            || !unsafe {
                bindings::page_cache_slot_has_alias(mapping, index, Entry::Alias(alias).into_raw())
            }
        {
            return false;
        }
        let first = index - offset_in(folio, index);
        // SAFETY: As above: the alias is there, it is the only one, and it is whole.
        unsafe { count.take_back(self.mapping, folio, mapping, first, alias) }
    }

    /// Does it take more than [`Self::MOVE_AT_ONCE`] to find all aliases to a folio?
    ///
    /// # Safety
    ///
    /// The folio must be this home's, and locked.
    unsafe fn has_many_aliases(&self, fragments: &Fragments, folio: &Folio) -> bool {
        let mut looked = 0;
        let look = |entries| {
            looked += entries;
            relax(entries) && looked <= Self::MOVE_AT_ONCE
        };
        // SAFETY: By the safety requirements.
        unsafe { self.for_each_alias(fragments, folio, look, |_, _, _| true) };
        looked > Self::MOVE_AT_ONCE
    }

    /// Puts another folio in the place of one, in the home and in all slots that name it.
    ///
    /// # Safety
    ///
    /// The folios must be one of this home and one that is to replace it.
    unsafe fn migrate<'a>(&self, migration: Migration<'a>) -> Result<Migrated<'a>> {
        let (src, dst) = (migration.src(), migration.dst());
        // The home has one for each page, and who migrates.
        if src.ref_count() > src.nr_pages() + 1 {
            return Err(EAGAIN);
        }
        // SAFETY: By the safety requirements; the new one is locked and used for nothing yet.
        let (count, new_count) = unsafe { (AliasCount::of(src), AliasCount::of(dst)) };
        let nowait = migration.mode() == MigrateMode::Async;
        // Before it is copied in vain.
        let fragments = self.lock_fragments(nowait)?;
        // SAFETY: By the safety requirements; the folio is locked.
        if unsafe { self.has_many_aliases(&fragments, src) } {
            // Too many to be followed. Unless it is to move in any case, the folio stays: others use
            // it more than most.
            if migration.mode() != MigrateMode::Sync {
                return Err(EBUSY);
            }
            if src.ref_count() > src.nr_pages() + 1 {
                return Err(EAGAIN);
            }
            // They read again. What was mapped is marked as being moved, and goes as well, as nothing
            // would lead there any more.
            //
            // SAFETY: As above; the mapping exists, as we are called with it, and the folio is
            // locked.
            unsafe {
                let clear = |mapping, index, alias| {
                    count.reclaim_alias(mapping, index, alias, true);
                    true
                };
                self.for_each_alias(&fragments, src, relax, clear);
            }
        }
        drop(fragments);
        if count.is_zero() {
            // Of use to nobody, and nobody attaches to it. Who migrates looks again, and finds it in
            // no mapping. As soon as it is removed, the home may go: its inode is there until the
            // end of the RCU read section.
            let _rcu = rcu::read_lock();
            // SAFETY: It is in the home.
            unsafe { remove_dead(src) };
            return Err(EAGAIN);
        }

        // Nobody writes to it.
        migration.copy()?;
        let fragments = self.lock_fragments(nowait)?;
        // SAFETY: By the safety requirements; the folio is locked.
        if unsafe { self.has_many_aliases(&fragments, src) } {
            // Now there are. Next time.
            return Err(EAGAIN);
        }

        // With the fragments locked nobody attaches, and as the folio is locked nobody removes an
        // alias: the count stays what it is. It has to be there before the folio can be found.
        let mut left = count.slots();
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
            self.for_each_alias(
                &fragments,
                src,
                |_| true,
                |mapping, index, alias| {
                    let Some(moved) = alias_to(dst, index, alias.order()) else {
                        return false;
                    };
                    bindings::page_cache_slot_move_alias(
                        mapping,
                        index,
                        Entry::Alias(alias).into_raw(),
                        Entry::Alias(moved).into_raw(),
                    );
                    left -= 1 << alias.order();
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
            self.count_fragments(before, fragments.len());
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
        // A reader has it: it would not be freed, only lost to everybody. Page tables are no readers:
        // who maps it loses it, and finds it again elsewhere.
        //
        // SAFETY: The folio exists, and is locked.
        let expected = unsafe { bindings::folio_expected_ref_count(folio.as_ptr()) } as usize;
        if folio.ref_count() > expected + 1 {
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
        // The home may be gone.
        //
        // SAFETY: The folio exists, and was a home's.
        unsafe {
            bindings::page_cache_count_folio(folio.as_ptr(), -(folio.nr_pages() as isize))
        };
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

/// Takes a folio without aliases out of its home.
///
/// # Safety
///
/// The folio must be in a home.
unsafe fn remove_dead(folio: &Locked) {
    // SAFETY: The folio is locked, in a home by the safety requirements, and the caller has a
    // reference.
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
) -> Option<(ARef<Folio>, Pfn)> {
    let mut raw = ptr::null_mut();
    // SAFETY: By the safety requirements.
    let folio = unsafe { bindings::page_cache_get_alias(mapping, index, &mut raw) };
    // SAFETY: The look-up took a reference, which is ours.
    let folio = NonNull::new(folio).map(|folio| unsafe { ARef::from_raw(folio.cast()) })?;
    match Entry::from_raw(raw) {
        Entry::Alias(alias) => Some((folio, alias)),
        _ => None,
    }
}

/// Which alias to remove, and how much to wait for that; see `enum page_cache_drop`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Any,
    NoWait,
    Unused,
    Shared,
    Failed,
    Written,
}

impl From<bindings::page_cache_drop> for Which {
    fn from(how: bindings::page_cache_drop) -> Self {
        match how {
            bindings::page_cache_drop_PAGE_CACHE_DROP_NOWAIT => Self::NoWait,
            bindings::page_cache_drop_PAGE_CACHE_DROP_UNUSED => Self::Unused,
            bindings::page_cache_drop_PAGE_CACHE_DROP_SHARED => Self::Shared,
            bindings::page_cache_drop_PAGE_CACHE_DROP_FAILED => Self::Failed,
            bindings::page_cache_drop_PAGE_CACHE_DROP_WRITTEN => Self::Written,
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
    unsafe fn spares(self, folio: &Folio, alias: Pfn) -> Option<Result<bool>> {
        match self {
            // SAFETY: By the safety requirements.
            Self::Shared if unsafe { AliasCount::of(folio) }.slots() <= 1 << alias.order() => {
                Some(Err(EBUSY))
            }
            // SAFETY: The folio exists.
            Self::Unused if unsafe { bindings::folio_mapped(folio.as_ptr()) } => Some(Err(EBUSY)),
            Self::Failed if folio.is_uptodate() => Some(Ok(false)),
            // SAFETY: By the safety requirements.
            Self::Written if unsafe { AliasCount::of(folio) }.is_one_whole() => Some(Err(EBUSY)),
            _ => None,
        }
    }
}

/// Removes the alias in a slot, if there is one. Says whether it removed one.
///
/// What it is for beyond `last` stays, and so does what is before `first`, if it is to be removed in
/// any case. If it goes because it is of no use, all of it does.
///
/// # Safety
///
/// `mapping` must be that of an inode that the caller keeps.
unsafe fn drop_alias(
    mapping: *mut bindings::address_space,
    first: usize,
    last: usize,
    how: Which,
) -> Result<bool> {
    // SAFETY: By the safety requirements.
    while let Some((folio, alias)) = unsafe { get_alias(mapping, first) } {
        // SAFETY: An alias led to the folio.
        if let Some(spared) = unsafe { how.spares(&folio, alias) } {
            return spared;
        }
        let locked = if how == Which::Any {
            folio.lock()
        } else {
            folio.try_lock().ok_or(EAGAIN)?
        };
        // SAFETY: An alias led to the folio.
        if let Some(spared) = unsafe { how.spares(&folio, alias) } {
            return spared;
        }
        let rest = (1 << alias.order()) - 1;
        let (first, last) = match how {
            Which::Any | Which::NoWait | Which::Written => (first, last.min(first | rest)),
            _ => (first & !rest, first | rest),
        };
        // SAFETY: The alias named the folio, which cannot have become something else since, as we
        // have a reference. It is locked, and the inode stays by the safety requirements.
        if unsafe { AliasCount::of(&folio).clear_alias(mapping, first, last, alias, true) } {
            // SAFETY: An alias named the folio until now, so it is in a home.
            unsafe { put_alias(&locked) };
            if how == Which::Written {
                let nr = last - first + 1;
                // SAFETY: By the safety requirements.
                unsafe {
                    bindings::page_cache_broken(mapping, first, nr, Entry::Alias(alias).into_raw())
                };
            }
            return Ok(true);
        }
    }
    Ok(false)
}

/// Replaces the alias to a folio in a slot by a folio of the file's own, and returns that, locked
/// and with a reference. `None` means that there is no such alias.
///
/// It is the home's folio itself if no other file shares it and nobody uses it. Else it is a new
/// one of one page, which has the data if the home has; if not, the file reads it. What else the
/// alias is for stays so.
///
/// # Safety
///
/// `mapping` must be that of an inode that the caller keeps. `home_folio` must be what `alias` was
/// seen to name there, and the caller's only reference to it be this.
unsafe fn break_alias_to(
    mapping: *mut bindings::address_space,
    index: usize,
    home_folio: &Folio,
    alias: Pfn,
    nowait: bool,
    gfp: bindings::gfp_t,
) -> Result<Option<ARef<Folio>>> {
    let lock = || match nowait {
        true => home_folio.try_lock().ok_or(EAGAIN),
        false => Ok(home_folio.lock()),
    };
    // SAFETY: An alias led to it.
    if unsafe { AliasCount::of(home_folio) }.is_one_whole() {
        let locked = lock()?;
        // SAFETY: If the alias is still there, the folio is in a home, as it is locked: then its
        // mapping is one's, and stays.
        unsafe {
            let raw = Entry::Alias(alias).into_raw();
            if bindings::page_cache_slot_has_alias(mapping, index, raw) {
                let home = Mapping::<Home>::from_raw(bindings::page_cache_folio_mapping(
                    home_folio.as_ptr(),
                ));
                if home
                    .data()
                    .take_back(&locked, mapping, index, alias, nowait)
                {
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
    // SAFETY: Both folios exist and are locked, and the one that is new has one page; nobody writes
    // to a home's folio, and nobody sees the new one yet.
    // Where the memory cannot be read, the file reads the device.
    unsafe {
        if bindings::folio_test_uptodate(home_folio.as_ptr())
            && bindings::page_cache_copy_page(folio.as_ptr(), home_folio.as_ptr(), index) == 0
        {
            bindings::folio_mark_uptodate(folio.as_ptr());
        }
    }
    // SAFETY: As above; the new folio is in no mapping. The alias named the home's folio, which
    // cannot have become something else since, as we have a reference.
    let count = unsafe { AliasCount::of(home_folio) };
    // SAFETY: As above, and the inode stays by the safety requirements.
    let replaced = unsafe { count.replace_alias(mapping, index, alias, &folio) };
    if replaced.is_some() {
        // SAFETY: An alias named the folio until now, so it is in a home.
        unsafe { put_alias(&locked) };
    }
    if replaced != Some(true) {
        return Ok(None);
    }
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

/// Fills in what was counted of a home, see `enum page_cache_count`.
///
/// # Safety
///
/// `home` must be from [`page_cache_home_create`], and `sums` have room for all of them.
#[export]
unsafe extern "C" fn page_cache_home_counts(
    home: *const bindings::page_cache_home,
    sums: *mut usize,
) {
    // SAFETY: By the safety requirements; the mapping exists by the type invariants. It does not
    // matter when it is read how many pages there are.
    unsafe {
        let home = &*home.cast::<Home>();
        bindings::page_cache_counts_sum(home.head.0.counts, sums);
        let pages = ptr::read_volatile(&raw const (*home.mapping).nrpages);
        *sums.add(bindings::page_cache_count_PAGE_CACHE_NR_HOME as usize) = pages;
    }
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
/// `folio` must be a locked, clean, unmapped folio without private data in `mapping`, whose
/// `invalidate_lock` is held; its data is that of pages of the home's device, from
/// `extent.home_index` on, all of which are in the extent.
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
/// Returns for how many pages it was asked, which are in one extent if it is to be found out
/// `how_far` that goes.
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
    how_far: bool,
) -> usize {
    // SAFETY: By the safety requirements.
    let home = unsafe { &*home.cast::<Home>() };
    // SAFETY: The mapping exists by the type invariants. It does not matter when this is read.
    let is_empty = unsafe { ptr::read_volatile(&raw const (*home.mapping).nrpages) } == 0;
    match home.ask {
        // SAFETY: The file system gave us the function, and it is called as it was promised.
        Some(ask) if how_far || !is_empty => unsafe { ask(mapping, index, nr) }.clamp(1, nr),
        _ => nr,
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
/// Returns how many pages of the file's own were looked at.
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

/// Removes the alias in a slot of a file, and what the file has mapped of it, as far as `last`.
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
    first: usize,
    last: usize,
    how: bindings::page_cache_drop,
) -> c_int {
    // SAFETY: By the safety requirements.
    match unsafe { drop_alias(mapping, first, last, how.into()) } {
        Ok(dropped) => dropped.into(),
        Err(err) => err.to_errno(),
    }
}

/// What [`page_cache_home_walk`] calls.
type Visit =
    Option<unsafe extern "C" fn(*mut bindings::address_space, usize, usize, *mut c_void) -> bool>;

/// Calls `visit` with all slots of files that name pages of a home's folio, alias by alias, until it
/// says `false`: the reverse map of the folio. It is called with the first slot of each, and how many
/// there are.
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
    visit: Visit,
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
    unsafe {
        home.walk(folio, nowait, |mapping, index, alias| {
            visit(mapping, index, 1 << alias.order(), data)
        })
    }
    .is_ok()
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
    // SAFETY: By the safety requirements.
    let Some((found, alias)) = (unsafe { get_alias(mapping, index) }) else {
        return ptr::null_mut();
    };
    if found.as_ptr() != home_folio {
        return ptr::null_mut();
    }
    // The caller's is to be the only one.
    drop(found);
    // SAFETY: The caller has a reference.
    let home_folio = unsafe { Folio::from_raw(home_folio) };
    // SAFETY: By the safety requirements, and it is what the look-up found.
    broken_to_c(unsafe { break_alias_to(mapping, index, home_folio, alias, false, gfp) })
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

#[cfg(CONFIG_RUST_PAGE_CACHE_KUNIT_TEST)]
#[kunit_tests(rust_page_cache_home)]
mod tests {
    use super::*;

    /// Wherever its pages are, a folio is aligned in the home if it is in the file.
    #[test]
    fn places_are_aligned_and_lead_back() {
        for page in [0, 1, 511, 512, 1000, 123_457, 1 << 40] {
            assert_eq!(place(page, 7, 0), page);
            for index in [0, 512, 1024, 99 * 512] {
                let at = place(page, index, MAX_ORDER);
                assert_eq!(at % (1 << MAX_ORDER), 0);
                assert_eq!(page_at(at), page);
                // A page in the midst of it.
                assert_eq!(place(page + 5, index + 5, 3), at + 5);
                assert_eq!(page_at(place(page + 5, index + 5, 3)), page + 5);
            }
        }
    }

    /// Files that have a page with another skew do not find the folio.
    #[test]
    fn skews_are_apart() {
        for (one, other) in [(0, 1), (1, 2), (0, 511), (5, 517 + 5)] {
            assert!(place(1000, one, 4) != place(1000, other, 4));
        }
        assert_eq!(place(1000, 3, 4), place(1000, 3 + 512, 4));
    }

    #[test]
    fn sets_of_pages_are_cut_into_entries() {
        let mut set = PageSet::default();
        set.add(8, 16);
        set.add(20, 13);
        set.add(511, 1);
        assert_eq!(set.len, 26);
        assert!(set.has(8, 25) && !set.has(8, 26) && set.contains(511));
        assert_eq!(set.order(8, 512), Some(3));
        assert_eq!(set.order(16, 512), Some(4));
        assert_eq!(set.order(16, 15), Some(3));
        assert_eq!(set.order(32, 512), Some(0));
        assert_eq!(set.order(33, 512), None);
        assert_eq!(set.order(0, 512), None);
        assert_eq!(set.order(511, 1), Some(0));
    }
}
