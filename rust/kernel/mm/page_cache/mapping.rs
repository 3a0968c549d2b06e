// SPDX-License-Identifier: GPL-2.0

//! The mapping of a file: its page cache.
//!
//! C header: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::{
    AddressSpaceOperations,
    Folio,
    Locked, //
};
use crate::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    ffi::c_int,
    prelude::*,
    sync::aref::ARef,
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};
use core::{
    marker::PhantomData,
    ops::RangeInclusive,
    ptr::{
        self,
        NonNull, //
    }, //
};

/// A wrapper for the kernel's `struct address_space`: the page cache of a file.
///
/// It is always borrowed: there is no way to keep a mapping, but keeping what it belongs to.
///
/// `T` says by whose operations its folios are read and written. Without it, nothing is known of
/// them.
///
/// # Invariants
///
/// - The `address_space` is initialized, and it and its host exist.
/// - If `T` is an [`AddressSpaceOperations`], then the `a_ops` are those of `T`, and the host's
///   `i_private` is a `T::Data` that C owns for as long as the mapping exists.
#[repr(transparent)]
pub struct Mapping<T = ()>(Opaque<bindings::address_space>, PhantomData<fn() -> T>);

// SAFETY: Mappings are used by all tasks that use the file; all methods may be called by several
// of them at once. What `Self::data` gives is `Sync` by the bounds of `AddressSpaceOperations`.
unsafe impl<T> Sync for Mapping<T> {}

impl<T> Mapping<T> {
    /// Makes a reference of a pointer.
    ///
    /// # Safety
    ///
    /// For all of `'a`, `ptr` must point to an `address_space` that is initialized and whose host
    /// exists. If `T` is an [`AddressSpaceOperations`], then it must have the operations of `T`,
    /// and the host's `i_private` must be from [`ForeignOwnable::into_foreign`] of a `T::Data`, and
    /// not be borrowed mutably, or taken back.
    #[inline]
    pub unsafe fn from_raw<'a>(ptr: *const bindings::address_space) -> &'a Self {
        // INVARIANT: These are the safety requirements.
        //
        // SAFETY: The type is transparent, and by the safety requirements the mapping stays.
        unsafe { &*ptr.cast() }
    }

    /// Returns a raw pointer to the mapping.
    #[inline]
    pub fn as_ptr(&self) -> *mut bindings::address_space {
        self.0.get()
    }

    /// Forgets whose operations the mapping has.
    #[inline]
    pub fn as_any(&self) -> &Mapping {
        // SAFETY: The mapping exists by the type invariants, and nothing more is asked of it.
        unsafe { Mapping::from_raw(self.as_ptr()) }
    }

    /// Returns what tells this mapping from others, and may be kept.
    #[inline]
    pub fn id(&self) -> MappingId {
        MappingId::of(self.as_ptr())
    }

    /// The inode that the mapping belongs to.
    #[inline]
    pub(super) fn host(&self) -> *mut bindings::inode {
        // SAFETY: The mapping exists by the type invariants, and never gets another host.
        unsafe { (*self.as_ptr()).host }
    }

    /// Returns the size of the file, in bytes.
    ///
    /// It may be another one at once, unless the caller has what keeps it: for writes and
    /// truncation that is the `i_rwsem` of the file.
    #[inline]
    pub fn size(&self) -> u64 {
        // SAFETY: The host exists by the type invariants.
        // CAST: No file has a negative size.
        unsafe { bindings::i_size_read(self.host()) as u64 }
    }

    /// Returns how many pages of the file are in the page cache, at this moment.
    #[inline]
    pub fn nr_pages(&self) -> usize {
        // This `read_volatile` is intended to correspond to a READ_ONCE call.
        //
        // SAFETY: The mapping exists by the type invariants.
        //
        // FIXME(read_once): Replace with `read_once` when available on the Rust side.
        unsafe { (&raw const (*self.as_ptr()).nrpages).read_volatile() }
    }

    /// Whether the folio is in this mapping. It stays so for as long as it is locked.
    #[inline]
    pub fn contains(&self, folio: &Locked) -> bool {
        // SAFETY: The folio exists, and is locked.
        ptr::eq(self.as_ptr(), unsafe {
            bindings::page_cache_folio_mapping(folio.as_ptr())
        })
    }

    /// Reads a page, unless it is in the page cache, and returns the folio that it is in, up to
    /// date.
    ///
    /// Locks the folio, so the caller must have none of this file locked. Sleeps.
    ///
    /// # Errors
    ///
    /// - [`EIO`] if it could not be read.
    /// - [`ENOMEM`] if there is no memory for a folio.
    /// - [`EOPNOTSUPP`] if the file has no way to read folios.
    pub fn read(&self, index: usize) -> Result<ARef<Folio>> {
        // SAFETY: The mapping exists by the type invariants, and has operations, always the same.
        if unsafe { (*(*self.as_ptr()).a_ops).read_folio }.is_none() {
            return Err(EOPNOTSUPP);
        }
        // SAFETY: The mapping exists by the type invariants, and folios can be read.
        let folio = from_err_ptr(unsafe {
            bindings::read_cache_folio(self.as_ptr(), index, None, ptr::null_mut())
        })?;
        let folio = NonNull::new(folio).ok_or(EIO)?;
        // SAFETY: The folio comes with a reference, which is ours.
        Ok(unsafe { ARef::from_raw(folio.cast()) })
    }

    /// Writes back what is dirty in a range of bytes, and waits for that.
    ///
    /// The caller must have no folio of this file locked. Sleeps.
    ///
    /// # Errors
    ///
    /// What the operations reported, [`EIO`] or [`ENOSPC`].
    pub fn write_and_wait(&self, range: RangeInclusive<u64>) -> Result {
        let (first, last) = offsets(range);
        // SAFETY: The mapping exists by the type invariants.
        to_result(unsafe { bindings::filemap_write_and_wait_range(self.as_ptr(), first, last) })
    }
}

impl<T: AddressSpaceOperations> Mapping<T> {
    /// Returns what the implementation has for this file.
    #[inline]
    pub fn data(&self) -> <T::Data as ForeignOwnable>::Borrowed<'_> {
        // SAFETY: The host exists by the type invariants.
        let data = unsafe { (*self.host()).i_private };
        // SAFETY: By the type invariants this is a `T::Data` that stays C's for as long as the
        // mapping exists, which is as long as we are borrowed at least.
        unsafe { T::Data::borrow(data) }
    }

    /// Removes what is in the page cache from the byte `from` on, also if it is dirty, or mapped.
    ///
    /// This is for who gives up data; the size of the file stays. It zeroes the page that `from` is
    /// in. The caller must have no folio of this file locked. Sleeps.
    pub fn truncate(&self, from: u64) {
        let (first, _) = offsets(from..=from);
        // SAFETY: The mapping exists by the type invariants.
        unsafe { bindings::truncate_inode_pages(self.as_ptr(), first) };
    }

    /// Removes what is in a range of pages, after having had it laundered if it is dirty.
    ///
    /// The caller must have no folio of this file locked. Sleeps.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] if a folio is dirty, or was not released; or what laundering it reported.
    pub fn invalidate(&self, pages: RangeInclusive<usize>) -> Result {
        // SAFETY: The mapping exists by the type invariants.
        to_result(unsafe {
            bindings::invalidate_inode_pages2_range(self.as_ptr(), *pages.start(), *pages.end())
        })
    }

    /// Asks for [`AddressSpaceOperations::release_folio`] and
    /// [`AddressSpaceOperations::invalidate_folio`] to be called for each folio, and not only for
    /// those with private data.
    pub fn set_release_always(&self) {
        // SAFETY: The mapping exists by the type invariants.
        unsafe { bindings::mapping_set_release_always(self.as_ptr()) };
    }

    /// Notes that something could not be written, for whoever calls `fsync` next.
    ///
    /// May be called from any context.
    pub fn set_error(&self, error: Error) {
        // SAFETY: The mapping exists by the type invariants.
        unsafe { bindings::mapping_set_error(self.as_ptr(), error.to_errno()) };
    }

    /// Marks a folio of this mapping dirty, in the way of files that keep no state of their own for
    /// that. Returns `true` if it was not.
    ///
    /// Nothing may remove the folio from the mapping meanwhile: it has to be locked, or mapped with
    /// the page table locked. Does not sleep.
    pub fn dirty_folio(&self, folio: &Folio) -> bool {
        // SAFETY: The folio exists.
        if !ptr::eq(self.as_ptr(), unsafe {
            bindings::page_cache_folio_mapping(folio.as_ptr())
        }) {
            return false;
        }
        // SAFETY: The folio is in the mapping. That it does not stay there is no more than a mark
        // in the wrong place: the function looks again with the `i_pages` lock held.
        unsafe { bindings::filemap_dirty_folio(self.as_ptr(), folio.as_ptr()) }
    }

    /// Removes a folio of a regular file from this mapping, as its memory has failed, and unmaps
    /// it. What was not written back of it is lost.
    ///
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// [`EIO`] if it is not in this mapping, or the file is not a regular one.
    pub fn remove_failed(&self, folio: &Locked) -> Result {
        // SAFETY: The mapping and the folio exist, and the folio is locked.
        to_result(unsafe { bindings::generic_error_remove_folio(self.as_ptr(), folio.as_ptr()) })
    }
}

/// What tells a mapping from others. The mapping may be gone, and the next one may be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingId(usize);

impl MappingId {
    /// `ptr` is not looked into.
    #[inline]
    pub(super) fn of(ptr: *const bindings::address_space) -> Self {
        Self(ptr.addr())
    }
}

/// A range of bytes as C has it.
fn offsets(range: RangeInclusive<u64>) -> (bindings::loff_t, bindings::loff_t) {
    let offset = |at: u64| bindings::loff_t::try_from(at).unwrap_or(bindings::loff_t::MAX);
    (offset(*range.start()), offset(*range.end()))
}

/// Error code or 0, as C has it.
pub(super) fn errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}
