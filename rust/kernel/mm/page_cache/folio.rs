// SPDX-License-Identifier: GPL-2.0

//! Folios that are referenced, and folios that are locked.
//!
//! A folio is locked for some time, and somebody is to unlock it. Who has a [`LockedFolio`] is that
//! somebody. Who has a `&`[`Locked`] is not: the folio stays locked for as long as it is lent.
//!
//! C header: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use crate::{
    alloc::{
        AllocError,
        Flags, //
    },
    bindings,
    error::{
        code::{
            EINVAL,
            ENODATA, //
        },
        to_result,
        Result, //
    },
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};
use core::{
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};

/// A wrapper for the kernel's `struct folio`.
///
/// # Invariants
///
/// The reference count is not zero: values of this type are kept alive by `folio_get`.
#[repr(transparent)]
pub struct Folio(Opaque<bindings::folio>);

// SAFETY: A reference to a folio may be put by another task than the one that took it.
unsafe impl Send for Folio {}
// SAFETY: All methods of `Folio` may be called by several tasks at once.
unsafe impl Sync for Folio {}

// SAFETY: By the type invariants, there is a reference to each folio, and it is freed only when
// the last one is put.
unsafe impl AlwaysRefCounted for Folio {
    #[inline]
    fn inc_ref(&self) {
        // SAFETY: The reference count is not zero by the type invariants.
        unsafe { bindings::folio_get(self.as_ptr()) };
    }

    #[inline]
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller is giving up a reference.
        unsafe { bindings::folio_put(obj.cast().as_ptr()) };
    }
}

impl Folio {
    /// Allocates a folio of `1 << order` pages that belongs to no file.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::mm::page_cache::Folio;
    ///
    /// let folio = Folio::alloc(GFP_KERNEL, 2)?;
    /// assert_eq!(folio.order(), 2);
    /// assert_eq!(folio.nr_pages(), 4);
    ///
    /// // A second reference, which outlives the first.
    /// let other = folio.clone();
    /// drop(folio);
    /// assert_eq!(other.order(), 2);
    /// # Ok::<(), kernel::alloc::AllocError>(())
    /// ```
    #[inline]
    pub fn alloc(flags: Flags, order: u32) -> Result<ARef<Self>, AllocError> {
        // SAFETY: Depending on `flags` this may sleep. Other than that, it is always safe to call.
        let ptr = unsafe { bindings::folio_alloc(flags.as_raw(), order) };
        let ptr = NonNull::new(ptr).ok_or(AllocError)?;
        // SAFETY: The allocation comes with a reference, which is ours.
        Ok(unsafe { ARef::from_raw(ptr.cast()) })
    }

    /// Makes a reference of a pointer.
    ///
    /// # Safety
    ///
    /// `ptr` must point to a folio whose reference count is not zero for all of `'a`.
    #[inline]
    pub unsafe fn from_raw<'a>(ptr: *const bindings::folio) -> &'a Self {
        // SAFETY: The type is transparent, and by the safety requirements the folio stays.
        unsafe { &*ptr.cast() }
    }

    /// Takes a reference to a folio that may be being freed.
    ///
    /// Returns [`None`] if it is. If it is not, it may still have become another folio, so the
    /// caller has to look again at where it found `ptr`.
    ///
    /// # Safety
    ///
    /// `ptr` must point to a folio, or to what was one when the calling task was in the RCU
    /// read-side critical section that it is in, already.
    #[inline]
    pub unsafe fn try_get(ptr: NonNull<bindings::folio>) -> Option<ARef<Self>> {
        // SAFETY: By the safety requirements this is, or was, a folio, and its reference count
        // stays one until the end of the critical section.
        if unsafe { bindings::folio_try_get(ptr.as_ptr()) } {
            // SAFETY: We just took the reference that we give away.
            Some(unsafe { ARef::from_raw(ptr.cast()) })
        } else {
            None
        }
    }

    /// Returns a raw pointer to the folio.
    #[inline]
    pub fn as_ptr(&self) -> *mut bindings::folio {
        self.0.get()
    }

    /// Returns the page frame number of the first page.
    #[inline]
    pub fn pfn(&self) -> usize {
        // SAFETY: The folio exists by the type invariants.
        unsafe { bindings::folio_pfn(self.as_ptr()) }
    }

    /// Returns the order of the folio.
    ///
    /// It may be another one at once, unless the caller has locked the folio.
    #[inline]
    pub fn order(&self) -> u32 {
        // SAFETY: The folio exists by the type invariants.
        unsafe { bindings::folio_order(self.as_ptr()) }
    }

    /// Returns the number of pages in the folio.
    ///
    /// It may be another one at once, unless the caller has locked the folio.
    #[inline]
    pub fn nr_pages(&self) -> usize {
        1 << self.order()
    }

    /// Returns how many references there are to the folio, at this moment.
    ///
    /// One for each page is the page cache's, and one that of whoever has this.
    #[inline]
    pub fn ref_count(&self) -> usize {
        // SAFETY: The folio exists by the type invariants.
        // CAST: It is not negative, as there are references.
        unsafe { bindings::folio_ref_count(self.as_ptr()) as usize }
    }

    /// Whether the data in the folio is that of the file.
    ///
    /// Once it is, it stays so for as long as the folio is in the page cache.
    #[inline]
    pub fn is_uptodate(&self) -> bool {
        // SAFETY: The folio exists by the type invariants.
        unsafe { bindings::folio_test_uptodate(self.as_ptr()) }
    }

    /// Whether the folio has to be written back. It may be another way at once.
    #[inline]
    pub fn is_dirty(&self) -> bool {
        // SAFETY: The folio exists by the type invariants.
        unsafe { bindings::folio_test_dirty(self.as_ptr()) }
    }

    /// Whether the folio is being written back. Unless the caller has locked it, it may be another
    /// way at once; if it has, it only can become `false`.
    #[inline]
    pub fn is_writeback(&self) -> bool {
        // SAFETY: The folio exists by the type invariants.
        unsafe { bindings::folio_test_writeback(self.as_ptr()) }
    }

    /// Locks the folio, unless it is locked.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::mm::page_cache::Folio;
    ///
    /// let folio = Folio::alloc(GFP_KERNEL, 0)?;
    /// let locked = folio.try_lock().ok_or(EBUSY)?;
    ///
    /// // It is locked, and whoever wants it has to wait.
    /// assert!(folio.try_lock().is_none());
    ///
    /// drop(locked);
    /// assert!(folio.try_lock().is_some());
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Option<LockedFolio<'_>> {
        // SAFETY: The folio exists by the type invariants.
        if unsafe { bindings::folio_trylock(self.as_ptr()) } {
            // INVARIANT: We just locked the folio.
            Some(LockedFolio { folio: self })
        } else {
            None
        }
    }

    /// Locks the folio. This may sleep.
    #[inline]
    pub fn lock(&self) -> LockedFolio<'_> {
        // SAFETY: The folio exists by the type invariants.
        unsafe { bindings::folio_lock(self.as_ptr()) };
        // INVARIANT: We just locked the folio.
        LockedFolio { folio: self }
    }

    /// Locks the folio, or fails with [`EINTR`] when the calling task is killed. This may sleep.
    ///
    /// [`EINTR`]: crate::error::code::EINTR
    #[inline]
    pub fn lock_killable(&self) -> Result<LockedFolio<'_>> {
        // SAFETY: The folio exists by the type invariants.
        to_result(unsafe { bindings::folio_lock_killable(self.as_ptr()) })?;
        // INVARIANT: We just locked the folio.
        Ok(LockedFolio { folio: self })
    }
}

/// A folio that is locked for as long as it is lent.
///
/// Whoever has a reference to this may do what needs the lock, but not unlock the folio: that is
/// for whoever lends it.
///
/// # Invariants
///
/// - The folio is locked for as long as there is a Rust reference to this.
/// - The index is that of its place in the file, or was, if it has left that.
#[repr(transparent)]
pub struct Locked(Folio);

impl Locked {
    /// Lends a folio that is locked.
    ///
    /// # Safety
    ///
    /// For all of `'a`, `ptr` must point to a folio whose reference count is not zero, and it must
    /// be locked.
    #[inline]
    pub unsafe fn from_raw<'a>(ptr: *const bindings::folio) -> &'a Self {
        // INVARIANT: These are the safety requirements; the index changes with the lock held only.
        //
        // SAFETY: The types are transparent, and by the safety requirements the folio stays.
        unsafe { &*ptr.cast() }
    }

    /// Returns where the folio is in its file, in pages.
    #[inline]
    pub fn index(&self) -> usize {
        // SAFETY: The folio exists and is locked by the type invariants.
        unsafe { bindings::page_cache_folio_index(self.as_ptr()) }
    }

    /// Returns where the folio is in its file, in bytes.
    #[inline]
    pub fn pos(&self) -> u64 {
        // CAST: This is for 64-bit kernels.
        (self.index() as u64) << PAGE_SHIFT
    }

    /// Returns the size of the folio, in bytes.
    #[inline]
    pub fn size(&self) -> usize {
        self.nr_pages() * PAGE_SIZE
    }

    /// Copies what is in the folio from the byte `offset` on.
    ///
    /// Who has mapped the folio may be writing to it meanwhile. Does not sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the folio ends before `to` is filled.
    /// - [`ENODATA`] if the folio is not up to date: there may be anything in it.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::mm::page_cache::Folio;
    ///
    /// let folio = Folio::alloc(GFP_KERNEL, 0)?;
    /// let mut bytes = [0; 8];
    /// assert_eq!(folio.lock().copy_to_slice(0, &mut bytes), Err(ENODATA));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn copy_to_slice(&self, offset: usize, to: &mut [u8]) -> Result {
        if offset > self.size() || to.len() > self.size() - offset {
            return Err(EINVAL);
        }
        if !self.is_uptodate() {
            return Err(ENODATA);
        }
        // SAFETY: The folio exists and has that many bytes, as was just checked; its size stays
        // as it is locked. The slice is ours.
        unsafe {
            bindings::memcpy_from_folio(to.as_mut_ptr(), self.as_ptr(), offset, to.len());
        }
        Ok(())
    }
}

impl Deref for Locked {
    type Target = Folio;

    #[inline]
    fn deref(&self) -> &Folio {
        &self.0
    }
}

/// A folio that is locked until this is dropped.
///
/// The lock is a bit of the folio and belongs to nobody in particular. Whoever is handed this may
/// unlock it, another task, too.
///
/// # Invariants
///
/// The folio is locked, and it is for this value to unlock it.
#[must_use = "the folio is unlocked when this is dropped"]
pub struct LockedFolio<'a> {
    folio: &'a Folio,
}

impl<'a> LockedFolio<'a> {
    /// Takes over the lock of a folio that is locked.
    ///
    /// # Safety
    ///
    /// `folio` must be locked, and nobody else may unlock it.
    #[inline]
    pub unsafe fn from_locked(folio: &'a Folio) -> Self {
        // INVARIANT: These are the safety requirements.
        Self { folio }
    }

    /// Leaves the folio locked, for somebody else to unlock.
    #[inline]
    pub fn into_locked(self) -> &'a Folio {
        ManuallyDrop::new(self).folio
    }
}

impl Deref for LockedFolio<'_> {
    type Target = Locked;

    #[inline]
    fn deref(&self) -> &Locked {
        // SAFETY: By the type invariants the folio is locked, and is so until this is dropped.
        unsafe { Locked::from_raw(self.folio.as_ptr()) }
    }
}

impl Drop for LockedFolio<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants the folio is locked, and we are to unlock it.
        unsafe { bindings::folio_unlock(self.folio.as_ptr()) };
    }
}

#[cfg(CONFIG_RUST_PAGE_CACHE_KUNIT_TEST)]
#[macros::kunit_tests(rust_page_cache_folio)]
mod tests {
    use super::*;
    use crate::alloc::flags::GFP_KERNEL;
    use crate::error::code::EBUSY;

    #[test]
    fn folio_is_locked_until_the_guard_is_dropped() -> Result {
        let folio = Folio::alloc(GFP_KERNEL, 0)?;

        let locked = folio.lock();
        assert!(folio.try_lock().is_none());
        drop(locked);

        let locked = folio.lock_killable()?;
        assert!(folio.try_lock().is_none());
        drop(locked);

        assert!(folio.try_lock().is_some());
        Ok(())
    }

    #[test]
    fn lock_can_be_left_and_taken_over() -> Result {
        let folio = Folio::alloc(GFP_KERNEL, 0)?;

        let left = folio.try_lock().ok_or(EBUSY)?.into_locked();
        assert!(folio.try_lock().is_none());

        // SAFETY: The folio was left locked above, for us.
        drop(unsafe { LockedFolio::from_locked(left) });
        assert!(folio.try_lock().is_some());
        Ok(())
    }

    #[test]
    fn reference_can_be_taken_to_a_folio_in_use() -> Result {
        let folio = Folio::alloc(GFP_KERNEL, 0)?;

        // SAFETY: We hold a reference to the folio.
        let other = unsafe { Folio::try_get(NonNull::from(&*folio).cast()) };
        let pfn = folio.pfn();
        drop(folio);
        assert_eq!(other.map(|folio| folio.pfn()), Some(pfn));
        Ok(())
    }
}
