// SPDX-License-Identifier: GPL-2.0

//! What a slot of the page cache holds.
//!
//! The layout of a tagged entry is written down in C only; every number in here comes from there.
//!
//! C header: [`include/linux/page_cache_entry.h`](srctree/include/linux/page_cache_entry.h)

use super::Folio;
use crate::{
    bindings,
    ffi::c_void,
    prelude::*,
    sync::aref::ARef, //
};
use core::{
    mem::align_of,
    ptr::{
        self,
        NonNull, //
    }, //
};

const KIND_SHIFT: u32 = bindings::page_cache_entry_layout_PAGE_CACHE_KIND_SHIFT;
const KIND_MASK: usize = bindings::page_cache_entry_layout_PAGE_CACHE_KIND_MASK as usize;

const SHADOW: usize = bindings::page_cache_kind_PAGE_CACHE_SHADOW as usize;
const PFN: usize = bindings::page_cache_kind_PAGE_CACHE_PFN as usize;
const PROXY: usize = bindings::page_cache_kind_PAGE_CACHE_PROXY as usize;
const EXCLUSIVE: usize = bindings::page_cache_kind_PAGE_CACHE_EXCLUSIVE as usize;

const PAYLOAD_SHIFT: u32 = bindings::page_cache_entry_layout_PAGE_CACHE_PAYLOAD_SHIFT;
const SHADOW_BITS: u32 = bindings::page_cache_entry_layout_PAGE_CACHE_SHADOW_BITS;
const PFN_SHIFT: u32 = bindings::page_cache_entry_layout_PAGE_CACHE_PFN_SHIFT;
const PFN_BITS: u32 = bindings::page_cache_entry_layout_PAGE_CACHE_PFN_BITS;
const ORDER_SHIFT: u32 = bindings::page_cache_entry_layout_PAGE_CACHE_PFN_FLAG_BITS;
const ORDER_MAX: u32 = bindings::page_cache_entry_layout_PAGE_CACHE_PFN_ORDER_MAX;
const PFN_ALIAS: usize = bindings::page_cache_pfn_flags_PAGE_CACHE_PFN_ALIAS as usize;
const POINTER_ALIGN: usize = bindings::page_cache_entry_layout_PAGE_CACHE_POINTER_ALIGN as usize;

/// The XArray's mark of a value entry, which is all there is below the kind.
const VALUE: usize = (1 << KIND_SHIFT) - 1;

// `Entry::from_raw` has an arm for each kind, and takes what is left over for the last one.
static_assert!(bindings::page_cache_entry_layout_PAGE_CACHE_KIND_BITS == 2);
static_assert!(SHADOW == 0 && PFN == 1 && PROXY == 2 && EXCLUSIVE == 3);
// A pointer leaves exactly the bits free that the value mark and the kind take.
static_assert!(POINTER_ALIGN == 1 << PAYLOAD_SHIFT);
// The flags below the pfn are those of `PfnFlags` and the alias flag, so that none is lost.
static_assert!(
    bindings::page_cache_entry_layout_PAGE_CACHE_PFN_FLAGS_MASK as usize
        == PfnFlags::all_bits() | PFN_ALIAS
);
static_assert!(PFN_ALIAS & PfnFlags::all_bits() == 0);

/// What a slot of a file's page cache holds.
///
/// An entry is a copy of the word in the slot. It keeps nothing alive, and the slot may hold
/// something else by the time the entry is looked at: take a reference to what it names, read the
/// slot again, and compare.
///
/// Every word is an entry, and an entry made of a word becomes that same word again. This is not
/// for shmem, whose slots hold swap entries.
///
/// # Examples
///
/// ```
/// use kernel::mm::page_cache::entry::{Entry, Pfn, PfnFlags};
///
/// let alias = Entry::alias(42, 0).ok_or(EINVAL)?;
/// let raw = alias.into_raw();
///
/// match Entry::from_raw(raw) {
///     Entry::Alias(target) => assert_eq!(target.pfn(), 42),
///     other => panic!("{other:?} instead of an alias"),
/// }
///
/// // An empty slot is an entry, too.
/// assert_eq!(Entry::from_raw(core::ptr::null_mut()), Entry::Empty);
///
/// // What does not fit is refused.
/// assert_eq!(Pfn::new(usize::MAX, PfnFlags::default()), None);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// There is nothing.
    Empty,

    /// A folio that belongs to the file.
    Folio(FolioPtr),

    /// The page is not resident; it was evicted a while ago.
    Shadow(Shadow),

    /// The page is in a page frame of a DAX device.
    Pfn(Pfn),

    /// The page is in a page frame of a home folio, and the entry is one of its aliases.
    Alias(Pfn),

    /// The page is in several folios, and the proxy pointed to knows which.
    Proxy(Pointer),

    /// The page is in the hands of the owner pointed to.
    Exclusive(Pointer),

    /// The XArray's own: the slot is being changed and has to be read again.
    Internal(Internal),
}

impl Entry {
    /// Says what the word `raw` of a slot is.
    ///
    /// `raw` need not be valid in any way, as nothing it points at is looked at.
    pub fn from_raw(raw: *mut c_void) -> Self {
        let bits = raw.addr();

        if bits & VALUE == 0 {
            return match NonNull::new(raw.cast::<bindings::folio>()) {
                None => Self::Empty,
                Some(folio) => match FolioPtr::new(folio) {
                    Some(folio) => Self::Folio(folio),
                    // INVARIANT: This is not null, not a value, and not aligned as a folio is.
                    None => Self::Internal(Internal(raw)),
                },
            };
        }

        // INVARIANT: All payloads come out of an entry, so they fit into one. The pointers have
        // the bits masked off that would make them unaligned. The alias flag is never kept.
        match (bits & KIND_MASK) >> KIND_SHIFT {
            SHADOW => Self::Shadow(Shadow(bits >> PAYLOAD_SHIFT)),
            PFN => {
                let payload = bits >> PAYLOAD_SHIFT;
                let pfn = Pfn {
                    pfn: payload >> PFN_SHIFT,
                    // CAST: It has a few bits.
                    order: (payload >> ORDER_SHIFT) as u32 & ORDER_MAX,
                    flags: PfnFlags(payload & PfnFlags::all_bits()),
                };

                if payload & PFN_ALIAS == 0 {
                    Self::Pfn(pfn)
                } else {
                    Self::Alias(pfn)
                }
            }
            PROXY => Self::Proxy(Pointer(raw.map_addr(|addr| addr & !(POINTER_ALIGN - 1)))),
            // Only `EXCLUSIVE` is left of the four values that two bits can have.
            _ => Self::Exclusive(Pointer(raw.map_addr(|addr| addr & !(POINTER_ALIGN - 1)))),
        }
    }

    /// Returns the word to be stored in a slot.
    pub fn into_raw(self) -> *mut c_void {
        match self {
            Self::Empty => ptr::null_mut(),
            Self::Folio(folio) => folio.as_ptr().cast(),
            Self::Shadow(shadow) => Self::value(SHADOW, shadow.0),
            Self::Pfn(pfn) => Self::value(PFN, pfn.payload()),
            Self::Alias(pfn) => Self::value(PFN, pfn.payload() | PFN_ALIAS),
            Self::Proxy(pointer) => pointer.tagged(PROXY),
            Self::Exclusive(pointer) => pointer.tagged(EXCLUSIVE),
            Self::Internal(internal) => internal.0,
        }
    }

    /// Makes an alias to the page frame `pfn` and those after it, `1 << order` in all, or [`None`]
    /// if a number is too large for one.
    #[inline]
    pub fn alias(pfn: usize, order: u32) -> Option<Self> {
        Pfn::new(pfn, PfnFlags::default())?
            .of_order(order)
            .map(Self::Alias)
    }

    /// Whether this is an alias.
    #[inline]
    pub fn is_alias(&self) -> bool {
        matches!(self, Self::Alias(_))
    }

    /// Whether this is a shadow.
    #[inline]
    pub fn is_shadow(&self) -> bool {
        matches!(self, Self::Shadow(_))
    }

    /// Builds a value entry out of a payload that fits.
    #[inline]
    fn value(kind: usize, payload: usize) -> *mut c_void {
        ptr::without_provenance_mut((payload << PAYLOAD_SHIFT) | (kind << KIND_SHIFT) | VALUE)
    }
}

impl From<&Folio> for Entry {
    #[inline]
    fn from(folio: &Folio) -> Self {
        Self::Folio(folio.into())
    }
}

/// The address of a folio, as it is in a slot.
///
/// This is not a reference: the folio may be freed, and used for something else, at any time.
///
/// # Invariants
///
/// The address is aligned as a [`bindings::folio`] is, which no value entry and no internal entry
/// of an XArray is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolioPtr(NonNull<bindings::folio>);

impl FolioPtr {
    /// Returns [`None`] if `ptr` is not aligned, and therefore not the address of a folio.
    #[inline]
    pub fn new(ptr: NonNull<bindings::folio>) -> Option<Self> {
        if ptr.is_aligned() {
            // INVARIANT: The alignment was just checked.
            Some(Self(ptr))
        } else {
            None
        }
    }

    /// Returns the address.
    #[inline]
    pub fn as_ptr(self) -> *mut bindings::folio {
        self.0.as_ptr()
    }

    /// Takes a reference to the folio, unless it is being freed.
    ///
    /// The folio may be another one than it was when the slot was read, so the slot has to be read
    /// again once the reference is held.
    ///
    /// # Safety
    ///
    /// This must be the address of a folio that was in the page cache at some time since the
    /// calling task entered the RCU read-side critical section it is in.
    #[inline]
    pub unsafe fn try_get(self) -> Option<ARef<Folio>> {
        // SAFETY: By the safety requirements this is a page frame that is not given back before
        // the end of the critical section.
        unsafe { Folio::try_get(self.0) }
    }
}

impl From<&Folio> for FolioPtr {
    #[inline]
    fn from(folio: &Folio) -> Self {
        // INVARIANT: A reference to a folio is aligned.
        Self(NonNull::from(folio).cast())
    }
}

/// What is remembered of a page that was evicted.
///
/// # Invariants
///
/// The payload fits into an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadow(usize);

impl Shadow {
    /// The largest payload.
    pub const MAX: usize = usize::MAX >> (usize::BITS - SHADOW_BITS);

    /// Returns [`None`] if `payload` is larger than [`Shadow::MAX`].
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::mm::page_cache::entry::{Entry, Shadow};
    ///
    /// let shadow = Shadow::new(7).ok_or(EINVAL)?;
    /// assert_eq!(shadow.payload(), 7);
    /// assert!(Entry::Shadow(shadow).is_shadow());
    /// assert_eq!(Shadow::new(Shadow::MAX + 1), None);
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub const fn new(payload: usize) -> Option<Self> {
        if payload <= Self::MAX {
            // INVARIANT: The limit was just checked.
            Some(Self(payload))
        } else {
            None
        }
    }

    /// Returns what was given to [`Shadow::new`].
    #[inline]
    pub const fn payload(self) -> usize {
        self.0
    }
}

crate::impl_flags!(
    /// The flags of an entry that names a page frame.
    ///
    /// That it is an alias is not among them, as that makes it another kind of [`Entry`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct PfnFlags(usize);

    /// A flag of an entry that names a page frame.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum PfnFlag {
        /// The entry is locked.
        Locked = bindings::page_cache_pfn_flags_PAGE_CACHE_PFN_LOCKED as usize,

        /// The entry has the size of a PMD.
        Pmd = bindings::page_cache_pfn_flags_PAGE_CACHE_PFN_PMD as usize,

        /// The page frame is the zero page.
        Zero = bindings::page_cache_pfn_flags_PAGE_CACHE_PFN_ZERO as usize,

        /// There is no page frame, the entry is there to be locked.
        Empty = bindings::page_cache_pfn_flags_PAGE_CACHE_PFN_EMPTY as usize,
    }
);

/// A page frame that a file's data is in, and the flags of the entry that names it.
///
/// # Invariants
///
/// - The number and the order fit into an entry.
/// - The flags are none other than those of [`PfnFlag`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pfn {
    pfn: usize,
    order: u32,
    flags: PfnFlags,
}

impl Pfn {
    /// The largest page frame number.
    pub const MAX: usize = usize::MAX >> (usize::BITS - PFN_BITS);

    /// Returns [`None`] if `pfn` is larger than [`Pfn::MAX`].
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::mm::page_cache::entry::{Pfn, PfnFlag};
    ///
    /// let pfn = Pfn::new(42, PfnFlag::Locked | PfnFlag::Pmd).ok_or(EINVAL)?;
    /// assert_eq!(pfn.pfn(), 42);
    /// assert!(pfn.flags().contains(PfnFlag::Locked));
    /// assert!(!pfn.flags().contains(PfnFlag::Zero));
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn new(pfn: usize, flags: PfnFlags) -> Option<Self> {
        if pfn <= Self::MAX && usize::from(flags) & !PfnFlags::all_bits() == 0 {
            // INVARIANT: Both were just checked, and the order is the least there is.
            Some(Self {
                pfn,
                order: 0,
                flags,
            })
        } else {
            None
        }
    }

    /// The same for `1 << order` page frames, or [`None`] if that is too large.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::mm::page_cache::entry::{Pfn, PfnFlags};
    ///
    /// let pfn = Pfn::new(512, PfnFlags::default()).ok_or(EINVAL)?;
    /// assert_eq!(pfn.order(), 0);
    /// assert_eq!(pfn.of_order(9).map(Pfn::order), Some(9));
    /// assert_eq!(pfn.of_order(Pfn::ORDER_MAX + 1), None);
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn of_order(self, order: u32) -> Option<Self> {
        // INVARIANT: The limit is checked first.
        (order <= Self::ORDER_MAX).then_some(Self { order, ..self })
    }

    /// The largest order.
    pub const ORDER_MAX: u32 = ORDER_MAX;

    /// Returns the order of the number of page frames. DAX says it by [`PfnFlag::Pmd`] instead.
    #[inline]
    pub fn order(self) -> u32 {
        self.order
    }

    /// Returns the number of the first page frame.
    #[inline]
    pub fn pfn(self) -> usize {
        self.pfn
    }

    /// Returns the flags.
    #[inline]
    pub fn flags(self) -> PfnFlags {
        self.flags
    }

    #[inline]
    fn payload(self) -> usize {
        (self.pfn << PFN_SHIFT)
            // CAST: It has a few bits.
            | ((self.order as usize) << ORDER_SHIFT)
            | usize::from(self.flags)
    }
}

/// A pointer to a proxy or to an exclusive owner.
///
/// # Invariants
///
/// The pointer is aligned to [`Pointer::ALIGN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer(*mut c_void);

impl Pointer {
    /// What a pointer has to be aligned to.
    pub const ALIGN: usize = POINTER_ALIGN;

    /// Returns [`None`] if `ptr` is not aligned to [`Pointer::ALIGN`].
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::mm::page_cache::entry::{Entry, Pointer};
    ///
    /// let owner = KBox::new(0u64, GFP_KERNEL)?;
    /// let ptr = core::ptr::from_ref(&*owner).cast_mut();
    ///
    /// let entry = Entry::Exclusive(Pointer::new(ptr.cast()).ok_or(EINVAL)?);
    /// assert_eq!(Entry::from_raw(entry.into_raw()), entry);
    ///
    /// assert_eq!(Pointer::new(ptr.wrapping_byte_add(1).cast()), None);
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn new(ptr: *mut c_void) -> Option<Self> {
        if ptr.addr() & (Self::ALIGN - 1) == 0 {
            // INVARIANT: The alignment was just checked.
            Some(Self(ptr))
        } else {
            None
        }
    }

    /// Returns the pointer.
    #[inline]
    pub fn as_ptr(self) -> *mut c_void {
        self.0
    }

    #[inline]
    fn tagged(self, kind: usize) -> *mut c_void {
        self.0.map_addr(|addr| addr | (kind << KIND_SHIFT) | VALUE)
    }
}

/// An internal entry of the XArray, such as a reader may meet while the slot is being changed.
///
/// # Invariants
///
/// The word is not null, not a value entry, and not aligned as a [`bindings::folio`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Internal(*mut c_void);

// What tells a folio from an internal entry: those have bit 1 set.
static_assert!(align_of::<bindings::folio>() >= 4);

#[cfg(CONFIG_RUST_PAGE_CACHE_KUNIT_TEST)]
#[macros::kunit_tests(rust_page_cache_entry)]
mod tests {
    use super::*;

    /// Numbers that have a bit at either end, or none, or all of those that fit.
    fn samples(bits: u32) -> [usize; 5] {
        let max = usize::MAX >> (usize::BITS - bits);
        [0, 1, max / 3, 1 << (bits - 1), max]
    }

    /// All sixteen combinations of flags.
    fn all_flags() -> impl Iterator<Item = PfnFlags> {
        (0..16u32).map(|n| {
            let mut flags = PfnFlags::default();
            for (i, flag) in [PfnFlag::Locked, PfnFlag::Pmd, PfnFlag::Zero, PfnFlag::Empty]
                .into_iter()
                .enumerate()
            {
                if n & (1 << i) != 0 {
                    flags |= flag;
                }
            }
            flags
        })
    }

    fn assert_roundtrip(entry: Entry) {
        assert_eq!(Entry::from_raw(entry.into_raw()), entry);
    }

    /// What C calls the kind of `raw`, which must be a value.
    fn c_kind(raw: *mut c_void) -> u32 {
        // SAFETY: This looks at the word only.
        unsafe { bindings::page_cache_entry_kind(raw) }
    }

    fn c_is_shadow(raw: *mut c_void) -> bool {
        // SAFETY: This looks at the word only.
        unsafe { bindings::page_cache_entry_is_shadow(raw) }
    }

    fn c_is_alias(raw: *mut c_void) -> bool {
        // SAFETY: This looks at the word only.
        unsafe { bindings::page_cache_entry_is_alias(raw) }
    }

    #[test]
    fn null_is_an_empty_slot() {
        assert_eq!(Entry::from_raw(ptr::null_mut()), Entry::Empty);
        assert!(Entry::Empty.into_raw().is_null());
        assert!(!c_is_shadow(ptr::null_mut()));
        assert!(!c_is_alias(ptr::null_mut()));
    }

    #[test]
    fn folio_is_its_address() -> Result {
        let folio = Folio::alloc(GFP_KERNEL, 0)?;
        let entry = Entry::from(&*folio);
        let raw = entry.into_raw();

        assert_eq!(raw.cast(), folio.as_ptr());
        assert_roundtrip(entry);
        assert!(!c_is_shadow(raw));
        assert!(!c_is_alias(raw));
        Ok(())
    }

    #[test]
    fn folio_must_be_aligned() {
        let align = align_of::<bindings::folio>();

        for off in 1..align {
            let ptr = ptr::without_provenance_mut(align + off);
            assert!(NonNull::new(ptr).is_some_and(|ptr| FolioPtr::new(ptr).is_none()));
        }
    }

    #[test]
    fn shadow_agrees_with_c() {
        for payload in samples(SHADOW_BITS) {
            let entry = Shadow::new(payload).map(Entry::Shadow);
            // SAFETY: The payload is not too large.
            let raw = unsafe { bindings::page_cache_mk_shadow(payload) };

            assert_eq!(entry, Some(Entry::from_raw(raw)));
            assert_eq!(entry.map(Entry::into_raw), Some(raw));
            assert_eq!(c_kind(raw), bindings::page_cache_kind_PAGE_CACHE_SHADOW);
            assert!(c_is_shadow(raw));
            assert!(!c_is_alias(raw));
            // SAFETY: This is a shadow.
            assert_eq!(unsafe { bindings::page_cache_entry_shadow(raw) }, payload);
        }
    }

    #[test]
    fn shadow_of_nothing_is_the_swap_table_mark() {
        // SAFETY: The payload is not too large.
        let raw = unsafe { bindings::page_cache_mk_shadow(0) };

        assert_eq!(raw.addr(), VALUE);
    }

    #[test]
    fn shadow_has_a_limit() {
        assert!(Shadow::new(Shadow::MAX).is_some());
        assert!(Shadow::new(Shadow::MAX + 1).is_none());
        assert!(Shadow::new(usize::MAX).is_none());
    }

    #[test]
    fn pfn_agrees_with_c() {
        for n in samples(PFN_BITS) {
            for flags in all_flags() {
                let entry = Pfn::new(n, flags).map(Entry::Pfn);
                // SAFETY: The number is not too large.
                let raw = unsafe { bindings::page_cache_mk_pfn(n, flags.into()) };

                assert_eq!(entry, Some(Entry::from_raw(raw)));
                assert_eq!(entry.map(Entry::into_raw), Some(raw));
                assert_eq!(c_kind(raw), bindings::page_cache_kind_PAGE_CACHE_PFN);
                assert!(!c_is_shadow(raw));
                assert!(!c_is_alias(raw));
                // SAFETY: This is an entry that names a page frame.
                assert_eq!(unsafe { bindings::page_cache_entry_pfn(raw) }, n);
                // SAFETY: As above.
                let c_flags = unsafe { bindings::page_cache_entry_flags(raw) };
                assert_eq!(c_flags, usize::from(flags));
            }
        }
    }

    #[test]
    fn alias_agrees_with_c() {
        for n in samples(PFN_BITS) {
            for order in 0..=Pfn::ORDER_MAX {
                let entry = Entry::alias(n, order);
                // SAFETY: The numbers are not too large.
                let raw = unsafe { bindings::page_cache_mk_alias(n, order) };

                assert_eq!(entry, Some(Entry::from_raw(raw)));
                assert_eq!(entry.map(Entry::into_raw), Some(raw));
                assert!(entry.is_some_and(|entry| entry.is_alias()));
                assert_eq!(c_kind(raw), bindings::page_cache_kind_PAGE_CACHE_PFN);
                assert!(!c_is_shadow(raw));
                assert!(c_is_alias(raw));
                // SAFETY: This is an entry that names a page frame.
                assert_eq!(unsafe { bindings::page_cache_entry_pfn(raw) }, n);
                // SAFETY: This is an alias.
                let c_order = unsafe { bindings::page_cache_alias_order(raw) };
                assert_eq!(c_order, order);
            }
        }
    }

    #[test]
    fn alias_says_where_it_ends() {
        for (index, order, last) in [(7, 0, 7), (8, 3, 15), (13, 3, 15), (513, 9, 1023)] {
            // SAFETY: This is an alias.
            let found = unsafe {
                bindings::page_cache_alias_last(index, bindings::page_cache_mk_alias(0, order))
            };
            assert_eq!(found, last);
        }
    }

    #[test]
    fn alias_keeps_the_other_flags() {
        for flags in all_flags() {
            let entry = Pfn::new(Pfn::MAX, flags).map(Entry::Alias);
            // SAFETY: The number is not too large.
            let raw =
                unsafe { bindings::page_cache_mk_pfn(Pfn::MAX, PFN_ALIAS | usize::from(flags)) };

            assert_eq!(entry, Some(Entry::from_raw(raw)));
            assert_eq!(entry.map(Entry::into_raw), Some(raw));
            assert!(c_is_alias(raw));
        }
    }

    #[test]
    fn pfn_has_a_limit() {
        let none = PfnFlags::default();

        assert!(Pfn::new(Pfn::MAX, none).is_some());
        assert!(Pfn::new(Pfn::MAX + 1, none).is_none());
        assert!(Pfn::new(usize::MAX, none).is_none());
        assert!(Entry::alias(Pfn::MAX, 0).is_some());
        assert!(Entry::alias(Pfn::MAX + 1, 0).is_none());
        assert!(Entry::alias(Pfn::MAX, Pfn::ORDER_MAX).is_some());
        assert!(Entry::alias(Pfn::MAX, Pfn::ORDER_MAX + 1).is_none());
    }

    #[test]
    fn pfn_has_no_alias_flag() {
        assert!(Pfn::new(0, PfnFlags(PFN_ALIAS)).is_none());
        let too_many = bindings::page_cache_entry_layout_PAGE_CACHE_PFN_FLAGS_MASK as usize + 1;
        assert!(Pfn::new(0, PfnFlags(too_many)).is_none());
    }

    #[test]
    fn pointer_agrees_with_c() {
        for n in samples(usize::BITS - PAYLOAD_SHIFT) {
            let ptr: *mut c_void = ptr::without_provenance_mut(n * Pointer::ALIGN);
            let proxy = Pointer::new(ptr).map(Entry::Proxy);
            let exclusive = Pointer::new(ptr).map(Entry::Exclusive);
            // SAFETY: The pointer is aligned, and not followed.
            let raw_proxy = unsafe { bindings::page_cache_mk_proxy(ptr) };
            // SAFETY: As above.
            let raw_exclusive = unsafe { bindings::page_cache_mk_exclusive(ptr) };

            assert_eq!(
                c_kind(raw_proxy),
                bindings::page_cache_kind_PAGE_CACHE_PROXY
            );
            assert_eq!(
                c_kind(raw_exclusive),
                bindings::page_cache_kind_PAGE_CACHE_EXCLUSIVE
            );

            for (entry, raw) in [(proxy, raw_proxy), (exclusive, raw_exclusive)] {
                assert_eq!(entry, Some(Entry::from_raw(raw)));
                assert_eq!(entry.map(Entry::into_raw), Some(raw));
                assert!(!c_is_shadow(raw));
                assert!(!c_is_alias(raw));
                // SAFETY: This is an entry that points at something.
                assert_eq!(unsafe { bindings::page_cache_entry_pointer(raw) }, ptr);
            }
        }
    }

    #[test]
    fn pointer_must_be_aligned() {
        for off in 1..Pointer::ALIGN {
            assert!(Pointer::new(ptr::without_provenance_mut(Pointer::ALIGN + off)).is_none());
        }
        assert!(Pointer::new(ptr::without_provenance_mut(Pointer::ALIGN)).is_some());
    }

    #[test]
    fn internal_entries_are_neither_folios_nor_values() {
        for n in [0, 1, 2, 256, 257] {
            // SAFETY: This makes a word out of a number.
            let raw = unsafe { bindings::xa_mk_internal(n) };

            assert!(matches!(Entry::from_raw(raw), Entry::Internal(_)));
            assert_roundtrip(Entry::from_raw(raw));
            assert!(!c_is_shadow(raw));
            assert!(!c_is_alias(raw));
        }
    }

    #[test]
    fn every_word_comes_back() {
        for low in 0..4096 {
            for high in samples(usize::BITS - 12) {
                let raw = ptr::without_provenance_mut((high << 12) | low);
                let entry = Entry::from_raw(raw);

                assert_eq!(entry.into_raw(), raw);
                assert_eq!(entry.is_shadow(), c_is_shadow(raw));
                assert_eq!(entry.is_alias(), c_is_alias(raw));
            }
        }
    }
}
