// SPDX-License-Identifier: GPL-2.0

//! Folios on their way between a file's page cache and where its data is kept.
//!
//! What may be done with a folio, and who has to do what next, depends on what is going on. There
//! is a type for each of these states, and each ends in one of few ways:
//!
//! - [`ReadFolio`] is being read. It is locked, and nobody looks at its data until it is complete.
//!   It is completed, or the read has failed; both unlock it.
//! - [`WriteFolio`] is going to be written to by a `write(2)`. It is locked until it comes back as
//!   a [`FinishedWrite`], which is committed, or rejected; both unlock it.
//! - [`DirtyFolio`] is going to be written back. It is locked, and it is started, or dirty again;
//!   both unlock it.
//! - [`Writeback`] is being written back. It is not locked. It is completed, or the write has
//!   failed.
//! - [`Migration`] is two locked folios, one of which is going to be replaced by the other.
//! - [`FreedFolio`] has left the page cache.
//!
//! Data that was not given is zero: whoever reads a folio that was filled in part, or not at all,
//! sees no memory of somebody else's.
//!
//! C headers: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h),
//! [`include/linux/writeback.h`](srctree/include/linux/writeback.h)

use super::{
    mapping::MappingId,
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
    fs::LocalFile,
    page::PAGE_SIZE,
    prelude::*,
    sync::aref::ARef,
    types::NotThreadSafe, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::{
        Deref,
        Range, //
    },
    ptr::{
        self,
        NonNull, //
    }, //
};

/// What is written into a folio that is not up to date, from its beginning on.
pub struct Fill<'a> {
    folio: &'a Locked,
    filled: &'a mut usize,
}

impl Fill<'_> {
    /// Returns how many bytes there is room for.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.folio.size() - *self.filled
    }

    /// Puts in what is in `from`, as far as there is room. Returns how many bytes that was.
    ///
    /// Does not sleep.
    pub fn push(&mut self, from: &[u8]) -> usize {
        let len = from.len().min(self.remaining());
        // SAFETY: The folio is locked and has that much room. It is not up to date, so nobody has
        // mapped it or reads it.
        unsafe { bindings::memcpy_to_folio(self.folio.as_ptr(), *self.filled, from.as_ptr(), len) };
        *self.filled += len;
        len
    }

    /// Puts in zeroes, as far as there is room. Returns how many bytes that was.
    ///
    /// Does not sleep.
    pub fn push_zeroes(&mut self, len: usize) -> usize {
        let len = len.min(self.remaining());
        // SAFETY: As in `push`.
        unsafe { bindings::folio_zero_range(self.folio.as_ptr(), *self.filled, len) };
        *self.filled += len;
        len
    }
}

/// A folio that is being read.
///
/// It may be kept, and completed later and by another task: it stays in the page cache, and the
/// file stays, as long as it is locked. Whoever wants its data waits for that. What was not filled
/// when it is completed is zero. When this is dropped, the read has failed: the folio is unlocked,
/// and whoever wants its data tries again or reports [`EIO`].
///
/// # Invariants
///
/// - The folio is locked, and it is for this value to unlock it.
/// - It is in the page cache of a file, not up to date, and `filled` bytes of it are filled.
#[must_use = "the read has failed when this is dropped"]
pub struct ReadFolio {
    folio: NonNull<bindings::folio>,
    filled: usize,
}

// SAFETY: Folios may be unlocked by another task than the one that locked them.
unsafe impl Send for ReadFolio {}
// SAFETY: With a shared reference, one can do what one can with a `Locked`, which is `Sync`.
unsafe impl Sync for ReadFolio {}

impl ReadFolio {
    /// Takes over a folio to be read. If it is up to date, there is nothing to do: then it is
    /// unlocked and [`None`] returned.
    ///
    /// # Safety
    ///
    /// `folio` must be locked and in the page cache of a file, and nobody else may unlock it.
    #[inline]
    pub(super) unsafe fn from_raw(folio: NonNull<bindings::folio>) -> Option<Self> {
        // INVARIANT: The safety requirements; whether it is up to date is looked at below.
        let folio = Self { folio, filled: 0 };
        if folio.is_uptodate() {
            // It is unlocked, and stays up to date.
            return None;
        }
        Some(folio)
    }

    /// Returns what data is written with.
    #[inline]
    pub fn fill(&mut self) -> Fill<'_> {
        Fill {
            // SAFETY: By the type invariants it is locked, and in the page cache.
            folio: unsafe { Locked::from_raw(self.folio.as_ptr()) },
            filled: &mut self.filled,
        }
    }

    /// Says that the data is there, the rest of it zeroes. Unlocks the folio.
    ///
    /// May be called from interrupt context. Does not sleep.
    pub fn complete(mut self) {
        self.fill().push_zeroes(usize::MAX);
        let folio = ManuallyDrop::new(self).folio;
        // SAFETY: By the type invariants the folio is locked and not up to date, and we are to
        // unlock it.
        unsafe { bindings::folio_end_read(folio.as_ptr(), true) };
    }
}

impl Deref for ReadFolio {
    type Target = Locked;

    #[inline]
    fn deref(&self) -> &Locked {
        // SAFETY: By the type invariants it is locked, and in the page cache, which has a
        // reference.
        unsafe { Locked::from_raw(self.folio.as_ptr()) }
    }
}

impl Drop for ReadFolio {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants the folio is locked, and we are to unlock it.
        unsafe { bindings::folio_end_read(self.folio.as_ptr(), false) };
    }
}

/// The folios that readahead wants to be read.
///
/// They are in the page cache, locked. Those that are not taken are removed from it again by the
/// caller, and read one by one when they are needed.
///
/// # Invariants
///
/// The control block is that of a call to `->readahead`, and nobody else uses it for all of `'a`.
pub struct Readahead<'a> {
    rac: NonNull<bindings::readahead_control>,
    _p: PhantomData<&'a mut bindings::readahead_control>,
}

impl<'a> Readahead<'a> {
    /// # Safety
    ///
    /// `rac` must be what `->readahead` was called with, and for all of `'a` be used through this
    /// value only.
    #[inline]
    pub(super) unsafe fn from_raw(rac: NonNull<bindings::readahead_control>) -> Self {
        // INVARIANT: These are the safety requirements.
        Self {
            rac,
            _p: PhantomData,
        }
    }

    /// The file that is read from, if it is known.
    #[inline]
    pub fn file(&self) -> Option<&'a LocalFile> {
        // SAFETY: By the type invariants.
        let file = unsafe { (*self.rac.as_ptr()).file };
        // SAFETY: Whoever reads has a reference to the file, and is the calling task.
        unsafe { local_file(file) }
    }

    /// Returns where the next folio is in the file, in bytes.
    #[inline]
    pub fn pos(&self) -> u64 {
        // SAFETY: By the type invariants.
        let rac = unsafe { self.rac.as_ref() };
        // What the last folio had is taken off when the next one is asked for.
        (rac._index as u64 + u64::from(rac._batch_count)) * PAGE_SIZE as u64
    }

    /// Returns how many bytes are left.
    #[inline]
    pub fn len(&self) -> usize {
        // SAFETY: By the type invariants.
        let rac = unsafe { self.rac.as_ref() };
        (rac._nr_pages - rac._batch_count) as usize * PAGE_SIZE
    }

    /// Whether all folios are taken.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Iterator for Readahead<'_> {
    type Item = ReadFolio;

    fn next(&mut self) -> Option<ReadFolio> {
        loop {
            // SAFETY: By the type invariants.
            let folio = NonNull::new(unsafe { bindings::readahead_folio(self.rac.as_ptr()) })?;
            // SAFETY: The folio is locked and in the page cache, and the caller of readahead leaves
            // it to us to unlock it.
            let folio = unsafe { ReadFolio::from_raw(folio) };
            if folio.is_some() {
                return folio;
            }
        }
    }
}

/// What a `write(2)` is about to write.
///
/// # Invariants
///
/// - The mapping exists and can be written to for all of `'a`; `iocb` is null or valid as long.
/// - The calling task has the file's `i_rwsem`.
pub struct WriteRequest<'a> {
    mapping: *mut bindings::address_space,
    iocb: *const bindings::kiocb,
    pos: u64,
    len: usize,
    _p: PhantomData<&'a bindings::kiocb>,
}

impl<'a> WriteRequest<'a> {
    /// # Safety
    ///
    /// The arguments must be what `->write_begin` was called with, and `'a` not be longer than
    /// that.
    #[inline]
    pub(super) unsafe fn new(
        iocb: *const bindings::kiocb,
        mapping: *mut bindings::address_space,
        pos: bindings::loff_t,
        len: c_uint,
    ) -> Self {
        // INVARIANT: These are the safety requirements.
        Self {
            mapping,
            iocb,
            // CAST: The caller has checked where it writes.
            pos: pos as u64,
            len: len as usize,
            _p: PhantomData,
        }
    }

    /// Returns where in the file, in bytes.
    #[inline]
    pub fn pos(&self) -> u64 {
        self.pos
    }

    /// Returns how much, in bytes. It may reach beyond the folio; then there is another call for
    /// that.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to write.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gets the folio that is to be written to, from the page cache or a new one. Sleeps.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn folio(self) -> Result<WriteFolio<'a>> {
        // SAFETY: By the type invariants.
        let folio = from_err_ptr(unsafe {
            bindings::write_begin_get_folio(
                self.iocb,
                self.mapping,
                (self.pos / PAGE_SIZE as u64) as usize,
                self.len,
            )
        })?;
        let folio = NonNull::new(folio).ok_or(ENOMEM)?;
        // INVARIANT: It is locked, in the mapping, and comes with a reference; all that is ours.
        // The mapping has the page at that position in it.
        Ok(WriteFolio {
            // SAFETY: As above.
            folio: unsafe { ARef::from_raw(folio.cast()) },
            pos: self.pos,
            len: self.len,
            _p: PhantomData,
        })
    }
}

/// A folio that is going to be written to.
///
/// When this is dropped, the folio is unlocked.
///
/// # Invariants
///
/// - The folio is locked, and it is for this value to unlock it.
/// - It is in the mapping that is written to for all of `'a`, and has the byte `pos` of the file in
///   it.
#[must_use = "the folio is unlocked when this is dropped"]
pub struct WriteFolio<'a> {
    folio: ARef<Folio>,
    pos: u64,
    len: usize,
    // This is for this one call, and none is as good as another.
    _p: PhantomData<fn(&'a ()) -> &'a ()>,
}

impl WriteFolio<'_> {
    /// Returns which bytes of the folio are going to be written.
    #[inline]
    pub fn range(&self) -> Range<usize> {
        // By the type invariants this is in the folio.
        let from = (self.pos - self.folio().pos()) as usize;
        from..from + self.len.min(self.folio().size() - from)
    }

    /// Whether all that is not going to be written is up to date.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.is_uptodate() || self.range().len() == self.size()
    }

    /// Makes the folio ready, see [`Self::is_ready`], if it is not. What `read` does not fill is
    /// zero.
    ///
    /// # Errors
    ///
    /// What `read` returns. Then the folio is not up to date.
    pub fn read_around(&mut self, read: impl FnOnce(&mut Fill<'_>) -> Result) -> Result {
        if self.is_ready() {
            return Ok(());
        }
        let mut filled = 0;
        let mut fill = Fill {
            folio: self.folio(),
            filled: &mut filled,
        };
        read(&mut fill)?;
        fill.push_zeroes(usize::MAX);
        // SAFETY: The folio exists, is locked, and all of it is filled.
        unsafe { bindings::folio_mark_uptodate(self.folio.as_ptr()) };
        Ok(())
    }

    fn folio(&self) -> &Locked {
        // SAFETY: By the type invariants it is locked, and we have a reference.
        unsafe { Locked::from_raw(self.folio.as_ptr()) }
    }

    /// Gives up the lock and the reference, to be taken over by [`FinishedWrite::from_raw`].
    #[inline]
    pub(super) fn into_raw(self) -> *mut bindings::folio {
        ManuallyDrop::new(self).folio.as_ptr()
    }
}

impl Deref for WriteFolio<'_> {
    type Target = Locked;

    #[inline]
    fn deref(&self) -> &Locked {
        self.folio()
    }
}

impl Drop for WriteFolio<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants the folio is locked, and we are to unlock it.
        unsafe { bindings::folio_unlock(self.folio.as_ptr()) };
    }
}

/// A folio that was written to, from [`Self::pos`] on, or was to be.
///
/// When this is dropped, the folio is unlocked, and the write rejected: it is tried again with what
/// was copied, or one byte less than what cannot be read.
///
/// # Invariants
///
/// - The mapping is the one that `folio` is in.
/// - The calling task has the file's `i_rwsem`.
pub struct FinishedWrite<'a> {
    folio: WriteFolio<'a>,
    mapping: *mut bindings::address_space,
    copied: usize,
}

impl FinishedWrite<'_> {
    /// # Safety
    ///
    /// The arguments must be what `->write_end` was called with, which has to unlock `folio` and
    /// put the reference to it. The lifetime must not be longer than that call.
    #[inline]
    pub(super) unsafe fn from_raw(
        mapping: *mut bindings::address_space,
        pos: bindings::loff_t,
        len: c_uint,
        copied: c_uint,
        folio: NonNull<bindings::folio>,
    ) -> Self {
        // INVARIANT: These are the safety requirements, and what `->write_begin` promised.
        Self {
            folio: WriteFolio {
                // SAFETY: We take over the reference.
                folio: unsafe { ARef::from_raw(folio.cast()) },
                pos: pos as u64,
                len: len as usize,
                _p: PhantomData,
            },
            mapping,
            copied: copied.min(len) as usize,
        }
    }

    /// Returns where in the file, in bytes.
    #[inline]
    pub fn pos(&self) -> u64 {
        self.folio.pos
    }

    /// Returns how much was to be written, in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.folio.len
    }

    /// Whether nothing was to be written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how much was written, in bytes. It is less than [`Self::len`] if what was to be
    /// written could not be read.
    #[inline]
    pub fn copied(&self) -> usize {
        self.copied
    }

    /// Returns the folio.
    #[inline]
    pub fn folio(&self) -> &Locked {
        &self.folio
    }

    /// Accepts what was written: the folio is dirty, the file as long as it has to be. Unlocks the
    /// folio. Returns how many bytes were accepted, none if the folio is not up to date, as it was
    /// going to be overwritten and was not. May sleep.
    pub fn commit(self) -> usize {
        let Self {
            folio,
            mapping,
            copied,
        } = self;
        if !folio.is_uptodate() {
            if copied != folio.size() {
                return 0;
            }
            // SAFETY: The folio exists, is locked, and all of it was written.
            unsafe { bindings::folio_mark_uptodate(folio.as_ptr()) };
        }
        let pos = folio.pos as bindings::loff_t;
        let end = pos + copied as bindings::loff_t;
        // SAFETY: By the type invariants the mapping exists and nobody else changes the size. The
        // folio is locked: writeback does not see it beyond the end of the file.
        let (inode, old) = unsafe {
            let inode = (*mapping).host;
            let old = bindings::i_size_read(inode);
            if end > old {
                bindings::i_size_write(inode, end);
            }
            bindings::folio_mark_dirty(folio.as_ptr());
            (inode, old)
        };
        drop(folio);
        // SAFETY: As above, and the folio is not locked any more.
        unsafe {
            if pos > old {
                bindings::pagecache_isize_extended(inode, old, pos);
            }
            if end > old {
                bindings::mark_inode_dirty(inode);
            }
        }
        copied
    }
}

/// How thorough writeback has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// Get some memory clean. What is busy may be left out.
    None,
    /// Somebody waits for all of the range to be written, as `fsync(2)`.
    All,
}

/// What has to be written back.
///
/// # Invariants
///
/// The control block and the mapping are those of a call to `->writepages`, and nobody else uses
/// the control block for all of `'a`.
pub struct WritebackControl<'a> {
    wbc: NonNull<bindings::writeback_control>,
    mapping: *mut bindings::address_space,
    _p: PhantomData<&'a mut bindings::writeback_control>,
    // It counts for the cgroup of the calling task.
    _nts: NotThreadSafe,
}

impl<'a> WritebackControl<'a> {
    /// # Safety
    ///
    /// The arguments must be what `->writepages` was called with, and `'a` not be longer than that.
    #[inline]
    pub(super) unsafe fn from_raw(
        mapping: *mut bindings::address_space,
        wbc: NonNull<bindings::writeback_control>,
    ) -> Self {
        // INVARIANT: These are the safety requirements.
        Self {
            wbc,
            mapping,
            _p: PhantomData,
            _nts: NotThreadSafe,
        }
    }

    /// Returns how thorough to be.
    #[inline]
    pub fn sync_mode(&self) -> SyncMode {
        // SAFETY: By the type invariants.
        match unsafe { (*self.wbc.as_ptr()).sync_mode } {
            bindings::writeback_sync_modes_WB_SYNC_ALL => SyncMode::All,
            _ => SyncMode::None,
        }
    }

    /// Returns the first and the last byte to be written, or [`None`] if it is to go on where the
    /// last call left off.
    #[inline]
    pub fn range(&self) -> Option<(u64, u64)> {
        // SAFETY: By the type invariants.
        let wbc = unsafe { self.wbc.as_ref() };
        // CAST: They are not negative.
        (wbc.range_cyclic() == 0).then_some((wbc.range_start as u64, wbc.range_end as u64))
    }

    /// Returns how many pages are still to be written. It may be negative with [`SyncMode::All`],
    /// where the number does not count.
    #[inline]
    pub fn nr_to_write(&self) -> isize {
        // SAFETY: By the type invariants.
        unsafe { (*self.wbc.as_ptr()).nr_to_write }
    }

    /// Calls `write` for each folio that is to be written, in the order of the file.
    ///
    /// A loop that could be left would leave references behind, so this is not an iterator. `write`
    /// may return before the folio is written; see [`DirtyFolio::start`]. Folios beyond the end of
    /// the file are left out, and the bytes beyond it are zero. Sleeps.
    ///
    /// # Errors
    ///
    /// The first that `write` returned. With [`SyncMode::All`] the others are tried nevertheless.
    pub fn for_each(&mut self, mut write: impl FnMut(DirtyFolio<'_>) -> Result) -> Result {
        let mut error: c_int = 0;
        let mut folio: *mut bindings::folio = ptr::null_mut();
        loop {
            // SAFETY: By the type invariants; `folio` is what the last call returned.
            folio = unsafe {
                bindings::writeback_iter(self.mapping, self.wbc.as_ptr(), folio, &mut error)
            };
            let Some(found) = NonNull::new(folio) else {
                return to_result(error);
            };
            // INVARIANT: The folio is locked, and the control block has a reference to it. It was
            // made clean just now, and is ours to unlock.
            let dirty = DirtyFolio {
                folio: found,
                wbc: self.wbc,
                _p: PhantomData,
            };
            // SAFETY: The folio is locked and in the mapping, whose host exists.
            if !unsafe { zero_beyond_end(&dirty, self.mapping) } {
                dirty.forget();
                error = 0;
                continue;
            }
            error = super::mapping::errno(write(dirty));
        }
    }
}

/// Zeroes what is in the folio beyond the end of the file. Returns `false` if that is all of it.
///
/// # Safety
///
/// The folio must be in `mapping`, whose host must exist.
unsafe fn zero_beyond_end(folio: &Locked, mapping: *mut bindings::address_space) -> bool {
    // SAFETY: By the safety requirements.
    let end = unsafe { bindings::i_size_read((*mapping).host) } as u64;
    if end <= folio.pos() {
        return false;
    }
    let len = end - folio.pos();
    if len < folio.size() as u64 {
        let len = len as usize;
        // SAFETY: The folio is locked and is larger than that.
        unsafe { bindings::folio_zero_range(folio.as_ptr(), len, folio.size() - len) };
    }
    true
}

/// A folio that is to be written back.
///
/// When this is dropped, the folio is dirty as it was, and unlocked: nothing is lost.
///
/// # Invariants
///
/// - The folio is in the mapping that is written back, locked, and it is for this value to unlock
///   it.
/// - It was dirty, was made clean, and is not being written back.
/// - The control block is that of the call to `->writepages`.
pub struct DirtyFolio<'a> {
    folio: NonNull<bindings::folio>,
    wbc: NonNull<bindings::writeback_control>,
    // None of another call's is as good as this.
    _p: PhantomData<fn(&'a ()) -> &'a ()>,
}

impl DirtyFolio<'_> {
    /// Begins to write the folio, and unlocks it.
    ///
    /// Whoever changes its data from now on makes it dirty again.
    pub fn start(self) -> Writeback {
        let folio = self.folio;
        // SAFETY: By the type invariants it is locked, and not being written back yet.
        unsafe { bindings::__folio_start_writeback(folio.as_ptr(), false) };
        self.forget();
        // INVARIANT: It is being written back, which we began.
        Writeback { folio }
    }

    /// Unlocks the folio and leaves it as it is.
    fn forget(self) {
        let folio = ManuallyDrop::new(self).folio;
        // SAFETY: By the type invariants it is locked, and we are to unlock it.
        unsafe { bindings::folio_unlock(folio.as_ptr()) };
    }
}

impl Deref for DirtyFolio<'_> {
    type Target = Locked;

    #[inline]
    fn deref(&self) -> &Locked {
        // SAFETY: By the type invariants it is locked, and in the page cache, which has a
        // reference.
        unsafe { Locked::from_raw(self.folio.as_ptr()) }
    }
}

impl Drop for DirtyFolio<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants it is locked and in the mapping, and we are to unlock it.
        unsafe {
            bindings::folio_redirty_for_writepage(self.wbc.as_ptr(), self.folio.as_ptr());
            bindings::folio_unlock(self.folio.as_ptr());
        }
    }
}

/// A folio that is being written back.
///
/// It may be kept, and completed later and by another task: it stays in the page cache, and the
/// file stays, until it is. When this is dropped, the write has failed with [`EIO`].
///
/// # Invariants
///
/// The folio is in the page cache of a file and being written back, and it is for this value to end
/// that.
#[must_use = "the write has failed when this is dropped"]
pub struct Writeback {
    folio: NonNull<bindings::folio>,
}

// SAFETY: Writeback may be ended by another task than the one that began it.
unsafe impl Send for Writeback {}
// SAFETY: With a shared reference, one can do what one can with a `Folio`, which is `Sync`.
unsafe impl Sync for Writeback {}

impl Writeback {
    /// Begins to write a folio that stays locked, if it is dirty. Waits for it if it is being
    /// written already. Sleeps.
    ///
    /// # Safety
    ///
    /// `folio` must be in `mapping`, whose host must exist.
    pub(super) unsafe fn of_locked(
        folio: &Locked,
        mapping: *mut bindings::address_space,
    ) -> Option<Self> {
        // SAFETY: The folio exists and is locked; that it is in the page cache, and that the
        // mapping has a host, are the safety requirements.
        unsafe {
            bindings::folio_wait_writeback(folio.as_ptr());
            if !bindings::folio_clear_dirty_for_io(folio.as_ptr())
                || !zero_beyond_end(folio, mapping)
            {
                return None;
            }
            bindings::__folio_start_writeback(folio.as_ptr(), false);
        }
        // INVARIANT: It is being written back, which we began.
        Some(Self {
            folio: NonNull::from(&**folio).cast(),
        })
    }

    /// Returns where the folio is in its file, in bytes.
    #[inline]
    pub fn pos(&self) -> u64 {
        // SAFETY: The folio exists, and does not leave its place until this is dropped.
        let index = unsafe { bindings::page_cache_folio_index(self.folio.as_ptr()) };
        index as u64 * PAGE_SIZE as u64
    }

    /// Says that the data is where it is kept.
    ///
    /// May be called from interrupt context. Does not sleep.
    pub fn complete(self) {
        let folio = ManuallyDrop::new(self).folio;
        // SAFETY: By the type invariants it is being written back, and we are to end that.
        unsafe { bindings::folio_end_writeback(folio.as_ptr()) };
    }

    /// Says that the data could not be written, and is lost: who calls `fsync` next is told.
    ///
    /// May be called from interrupt context. Does not sleep.
    pub fn fail(self, error: Error) {
        // SAFETY: By the type invariants it is in the page cache and being written back, so that it
        // does not leave its mapping.
        unsafe {
            let mapping = bindings::page_cache_folio_mapping(self.folio.as_ptr());
            bindings::mapping_set_error(mapping, error.to_errno());
        }
        self.complete();
    }
}

impl Deref for Writeback {
    type Target = Folio;

    #[inline]
    fn deref(&self) -> &Folio {
        // SAFETY: By the type invariants it is in the page cache, which has a reference.
        unsafe { Folio::from_raw(self.folio.as_ptr()) }
    }
}

impl Drop for Writeback {
    fn drop(&mut self) {
        // Not moved out of, but only used once.
        Self { folio: self.folio }.fail(EIO);
    }
}

/// How much migration may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrateMode {
    /// It must not sleep.
    Async,
    /// It may sleep, but not wait for writeback.
    SyncLight,
    /// It may sleep.
    Sync,
}

/// A folio that another one is to replace, in the same place of the same file.
///
/// # Invariants
///
/// The arguments are those of a call to `->migrate_folio`: `src` is in `mapping`, `dst` in none,
/// and both are locked for all of `'a`.
pub struct Migration<'a> {
    mapping: *mut bindings::address_space,
    dst: &'a Locked,
    src: &'a Locked,
    mode: bindings::migrate_mode,
    // Only this one can tell that it was done.
    _p: PhantomData<fn(&'a ()) -> &'a ()>,
}

/// Shows that a [`Migration`] has been done.
pub struct Migrated<'a>(PhantomData<fn(&'a ()) -> &'a ()>);

impl<'a> Migration<'a> {
    /// # Safety
    ///
    /// The arguments must be what `->migrate_folio` was called with, and `'a` not be longer than
    /// that.
    #[inline]
    pub(super) unsafe fn from_raw(
        mapping: *mut bindings::address_space,
        dst: *mut bindings::folio,
        src: *mut bindings::folio,
        mode: bindings::migrate_mode,
    ) -> Self {
        // INVARIANT: These are the safety requirements.
        Self {
            mapping,
            // SAFETY: By the safety requirements.
            dst: unsafe { Locked::from_raw(dst) },
            // SAFETY: By the safety requirements.
            src: unsafe { Locked::from_raw(src) },
            mode,
            _p: PhantomData,
        }
    }

    /// Returns the folio to be replaced.
    #[inline]
    pub fn src(&self) -> &'a Locked {
        self.src
    }

    /// Returns the folio to replace it, which nobody else knows of yet.
    #[inline]
    pub fn dst(&self) -> &'a Locked {
        self.dst
    }

    /// Returns how much it may wait.
    #[inline]
    pub fn mode(&self) -> MigrateMode {
        match self.mode {
            bindings::migrate_mode_MIGRATE_ASYNC => MigrateMode::Async,
            bindings::migrate_mode_MIGRATE_SYNC_LIGHT => MigrateMode::SyncLight,
            _ => MigrateMode::Sync,
        }
    }

    /// Copies the data, and nothing else.
    ///
    /// # Errors
    ///
    /// `EHWPOISON` if the memory of the folio has failed.
    pub(super) fn copy(&self) -> Result {
        // SAFETY: By the type invariants both exist, are locked, and of one size.
        to_result(unsafe { bindings::folio_mc_copy(self.dst.as_ptr(), self.src.as_ptr()) })
    }

    /// Ends a migration in which the caller has put the new folio in the place of the old one.
    ///
    /// # Safety
    ///
    /// The new one must be in the page cache, and nobody must be able to get to the old one there.
    pub(super) unsafe fn replaced(self) -> Migrated<'a> {
        #[cfg(CONFIG_MIGRATION)]
        // SAFETY: By the safety requirements and the type invariants.
        unsafe { bindings::folio_migrate_flags(self.dst.as_ptr(), self.src.as_ptr()) };
        Migrated(PhantomData)
    }

    /// Copies the folio, and puts the copy in its place. Sleeps unless the mode forbids it.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`] if somebody else uses the folio.
    pub fn run(self) -> Result<Migrated<'a>> {
        #[cfg(CONFIG_MIGRATION)]
        // SAFETY: By the type invariants.
        to_result(unsafe {
            bindings::migrate_folio(
                self.mapping,
                self.dst.as_ptr(),
                self.src.as_ptr(),
                self.mode,
            )
        })?;
        Ok(Migrated(PhantomData))
    }
}

/// A folio that has left the page cache.
///
/// Whoever removed it has it locked. There may be others that have a reference, or nobody at all:
/// then its reference count is zero, so this is no [`Folio`], and cannot become one.
///
/// # Invariants
///
/// The folio is no longer in the page cache, it is locked, and nobody frees it for all of `'a`.
pub struct FreedFolio<'a> {
    folio: NonNull<bindings::folio>,
    mapping: MappingId,
    _p: PhantomData<&'a bindings::folio>,
}

impl FreedFolio<'_> {
    /// # Safety
    ///
    /// The arguments must be what `->free_folio` was called with, and the lifetime not be longer
    /// than that.
    #[inline]
    pub(super) unsafe fn from_raw(
        mapping: *mut bindings::address_space,
        folio: NonNull<bindings::folio>,
    ) -> Self {
        // INVARIANT: These are the safety requirements.
        Self {
            folio,
            mapping: MappingId::of(mapping),
            _p: PhantomData,
        }
    }

    /// Returns a raw pointer to the folio, whose reference count may be zero.
    #[inline]
    pub fn as_ptr(&self) -> *mut bindings::folio {
        self.folio.as_ptr()
    }

    /// Returns which mapping the folio was in. That may be gone.
    #[inline]
    pub fn mapping(&self) -> MappingId {
        self.mapping
    }

    /// Returns where in the file the folio was, in pages.
    #[inline]
    pub fn index(&self) -> usize {
        // SAFETY: By the type invariants it exists; it keeps the index until it is freed.
        unsafe { bindings::page_cache_folio_index(self.as_ptr()) }
    }

    /// Returns the page frame number of the first page.
    #[inline]
    pub fn pfn(&self) -> usize {
        // SAFETY: By the type invariants it exists.
        unsafe { bindings::folio_pfn(self.as_ptr()) }
    }

    /// Returns the number of pages in the folio.
    #[inline]
    pub fn nr_pages(&self) -> usize {
        // SAFETY: By the type invariants it exists, and is locked.
        1 << unsafe { bindings::folio_order(self.as_ptr()) }
    }
}

/// The file that somebody reads from.
///
/// # Safety
///
/// `file` must be null, or be in use by the calling task for all of `'a`.
#[inline]
pub(super) unsafe fn local_file<'a>(file: *mut bindings::file) -> Option<&'a LocalFile> {
    if file.is_null() {
        return None;
    }
    // SAFETY: By the safety requirements there is a reference. The system call that reads from it
    // is that of the calling task, so this is where an `fdget_pos` of it would be.
    Some(unsafe { LocalFile::from_raw_file(file) })
}
