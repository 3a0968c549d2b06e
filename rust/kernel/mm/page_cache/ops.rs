// SPDX-License-Identifier: GPL-2.0

//! The operations of a mapping: `struct address_space_operations` as a trait.
//!
//! The page cache asks whoever keeps the data of a file to read, write and give up folios, and says
//! for which file. [`AddressSpaceOperations`] has a method for each of these questions, all of
//! which take the [`Mapping`]; nobody has to ask the folio, whose own idea of where it belongs is
//! wrong when several files share it.
//!
//! # What is held, and what may sleep
//!
//! | method                  | folio                   | also held                    | sleeps      |
//! |-------------------------|-------------------------|------------------------------|-------------|
//! | `read_folio`            | locked, unlocks it      | `invalidate_lock` shared[^1] | may         |
//! | `readahead`             | locked, unlocks them    | `invalidate_lock` shared     | may[^2]     |
//! | `writepages`            | locks, unlocks them     |                              | may         |
//! | `dirty_folio`           | locked, or mapped       | page table lock, if mapped   | must not    |
//! | `write_begin`           | locks it                | `i_rwsem` exclusive          | may         |
//! | `write_end`             | locked, unlocks it      | `i_rwsem` exclusive          | may         |
//! | `bmap`                  |                         |                              | may         |
//! | `invalidate_folio`      | locked                  | `invalidate_lock` excl.[^3]  | may         |
//! | `release_folio`         | locked, no writeback    |                              | if `gfp` does |
//! | `free_folio`            | locked, may be frozen   |                              | must not    |
//! | `migrate_folio`         | both locked             |                              | if mode does |
//! | `launder_folio`         | locked, dirty, unmapped |                              | may         |
//! | `is_partially_uptodate` | locked                  |                              | may         |
//! | `is_dirty_writeback`    | locked                  |                              | may         |
//! | `error_remove_folio`    | locked                  |                              | may         |
//!
//! [^1]: Not if it is the file system itself that wants the folio, see [`Mapping::read`].
//!
//! [^2]: What it allocates must not wait for a file system: `memalloc_nofs_save()` is in effect.
//!
//! [^3]: Not when the inode is being evicted: then nobody else has the file.
//!
//! `release_folio` and `is_dirty_writeback` are called by reclaim, also by that of a task that wants
//! memory for this file: they must not wait for memory, nor for a lock that somebody has who does.
//!
//! # How long a mapping is good
//!
//! For the call. A file whose folio is locked, or being written back, stays, so a [`ReadFolio`] or
//! a [`Writeback`] may be kept longer, and completed then. [`free_folio`] gets no mapping at all:
//! the folio has left it, so it may be gone, and so may be whatever the implementation keeps for
//! it.
//!
//! # What is not there
//!
//! - `direct_IO`: a file system that has direct I/O today does it in its own `read_iter` and
//!   `write_iter` (iomap), where it knows the file; the member is there for those that have not
//!   been converted, and gets no mapping.
//! - `swap_activate`, `swap_deactivate`, `swap_rw`: they are about a file as a whole, which is
//!   given up to be written behind the back of the page cache. There is no mapping in their
//!   signatures, and no safe abstraction of a swap file for them to be part of.
//! - The `fsdata` that `write_begin` can pass to `write_end`: what is known about the folio is
//!   known in both.
//! - The return value `AOP_TRUNCATED_PAGE`, with which cluster file systems ask to be called again.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h), see also
//! [`Documentation/filesystems/locking.rst`](srctree/Documentation/filesystems/locking.rst)
//!
//! [`Writeback`]: super::io::Writeback
//! [`free_folio`]: AddressSpaceOperations::free_folio

use super::{
    io::{
        local_file,
        FinishedWrite,
        FreedFolio,
        Migrated,
        Migration,
        ReadFolio,
        Readahead,
        WriteFolio,
        WriteRequest,
        Writeback,
        WritebackControl, //
    },
    mapping::errno,
    Folio,
    Locked,
    Mapping, //
};
use crate::{
    alloc::Flags,
    bindings,
    error::{
        from_result,
        VTABLE_DEFAULT_ERROR, //
    },
    ffi::{
        c_int,
        c_void, //
    },
    fs::LocalFile,
    prelude::*,
    types::ForeignOwnable, //
};
use core::{
    marker::PhantomData,
    ops::Range,
    ptr::NonNull, //
};

/// What a folio is to reclaim, which decides whether to wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirtyWriteback {
    /// It has to be written before it can be freed.
    pub dirty: bool,
    /// It is being written.
    pub writeback: bool,
}

/// The operations of a mapping.
///
/// An implementation need not have all methods. What is not there is what the page cache does
/// without it; the documentation of each method says what that is.
///
/// # Examples
///
/// A file full of stars, which cannot be written to:
///
/// ```
/// use kernel::fs::LocalFile;
/// use kernel::mm::page_cache::{AddressSpaceOperations, Mapping, ReadFolio};
///
/// struct Stars;
///
/// #[vtable]
/// impl AddressSpaceOperations for Stars {
///     type Data = ();
///
///     fn read_folio(
///         _mapping: &Mapping<Self>,
///         _file: Option<&LocalFile>,
///         mut folio: ReadFolio,
///     ) -> Result {
///         while folio.fill().push(b"***************\n") != 0 {}
///         folio.complete();
///         Ok(())
///     }
/// }
/// ```
#[vtable]
pub trait AddressSpaceOperations: Sized + 'static {
    /// What the implementation has for each file; see [`Mapping::data`].
    type Data: ForeignOwnable + Send + Sync + 'static;

    /// Reads a folio.
    ///
    /// The folio is locked. It is unlocked when it is [completed](ReadFolio::complete), or when it
    /// is dropped, in which case the read has failed. That may be after this has returned.
    ///
    /// Without this, the file can be neither read nor mapped.
    ///
    /// # Context
    ///
    /// May sleep. `invalidate_lock` held shared. `file` is not known if nobody has it open who
    /// reads.
    fn read_folio(
        _mapping: &Mapping<Self>,
        _file: Option<&LocalFile>,
        _folio: ReadFolio,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Reads folios that may be wanted soon.
    ///
    /// Those that are not taken from `folios` are not read, and leave the page cache.
    ///
    /// Without this, [`Self::read_folio`] is called for each.
    ///
    /// # Context
    ///
    /// May sleep, but what it allocates must not wait for a file system (`memalloc_nofs_save()` is
    /// in effect). `invalidate_lock` held shared.
    fn readahead(_mapping: &Mapping<Self>, _folios: Readahead<'_>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Writes dirty folios back.
    ///
    /// Without this, nothing is written. Then dirty folios stay in memory for as long as the file
    /// exists.
    ///
    /// # Context
    ///
    /// May sleep. No folio is locked.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] makes whoever waits for the data wait, and call this again.
    fn writepages(_mapping: &Mapping<Self>, _control: &mut WritebackControl<'_>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Marks a folio dirty, and says whether it was not.
    ///
    /// [`Mapping::dirty_folio`] does what has to be done.
    ///
    /// Without this, that is what is done.
    ///
    /// # Context
    ///
    /// Must not sleep. The folio is locked, or it is mapped and the lock of that page table held,
    /// so that truncation cannot remove it.
    fn dirty_folio(_mapping: &Mapping<Self>, _folio: &Folio) -> bool {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gets the folio that is going to be written to, see [`WriteRequest::folio`], and makes it up
    /// to date where it is not going to be, see [`WriteFolio::read_around`].
    ///
    /// Without this, the file cannot be written to but through a mapping.
    ///
    /// # Context
    ///
    /// May sleep. `i_rwsem` held exclusive.
    ///
    /// # Errors
    ///
    /// What `write(2)` is to return if it has not written anything before. That is [`EIO`] if the
    /// folio is returned without being [ready](WriteFolio::is_ready): it could not be accepted
    /// later, and it would be tried for ever.
    fn write_begin<'a>(
        _mapping: &'a Mapping<Self>,
        _request: WriteRequest<'a>,
    ) -> Result<WriteFolio<'a>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Takes a folio back that was written to, see [`FinishedWrite::commit`].
    ///
    /// Returns how many bytes of what was copied are accepted. The rest is tried again.
    ///
    /// Without this, it is committed.
    ///
    /// # Context
    ///
    /// May sleep. `i_rwsem` held exclusive. Is called after each successful [`Self::write_begin`].
    ///
    /// # Errors
    ///
    /// What `write(2)` is to return if it has not written anything before.
    fn write_end(_mapping: &Mapping<Self>, _write: FinishedWrite<'_>) -> Result<usize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Returns where on the device a block of the file is, in blocks of the file system; [`None`]
    /// if it is nowhere.
    ///
    /// This is for the `FIBMAP` ioctl. Without it, that fails with [`EINVAL`].
    ///
    /// # Context
    ///
    /// May sleep.
    fn bmap(_mapping: &Mapping<Self>, _block: u64) -> Option<u64> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gives up what the implementation has for a range of bytes of a folio, as those are
    /// truncated.
    ///
    /// It is called for folios with private data only, unless [`Mapping::set_release_always`] was
    /// asked for. Without this, nothing is done.
    ///
    /// # Context
    ///
    /// May sleep. The folio is locked, and stays so. `invalidate_lock` held exclusive, but not when
    /// the inode is being evicted.
    fn invalidate_folio(_mapping: &Mapping<Self>, _folio: &Locked, _range: Range<usize>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gives up what the implementation has for a folio, so that it can leave the page cache.
    /// Returns `false` if that is not possible now.
    ///
    /// It is called for folios with private data only, unless [`Mapping::set_release_always`] was
    /// asked for. Without this, the private data is taken for buffer heads.
    ///
    /// # Context
    ///
    /// May sleep if `gfp` says so, but must not wait for memory. The folio is locked, and stays so.
    /// It is not being written back. It may be dirty.
    fn release_folio(_mapping: &Mapping<Self>, _folio: &Locked, _gfp: Flags) -> bool {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Is told that a folio has left the page cache.
    ///
    /// Without this, nobody is.
    ///
    /// # Context
    ///
    /// Must not sleep. The folio is locked by whoever removed it. Reclaim calls this without any
    /// lock, and the file may be gone since it has let go of the last: so there is no mapping to be
    /// had. For the same reason, nothing keeps a module from being unloaded whose last file is
    /// gone: this is for code that is built in.
    fn free_folio(_folio: FreedFolio<'_>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Moves a folio to other memory, see [`Migration::run`].
    ///
    /// Without this, it is moved along with its private data.
    ///
    /// # Context
    ///
    /// May sleep unless the mode is [`MigrateMode::Async`]. Both folios are locked.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`] if it cannot be moved now.
    ///
    /// [`MigrateMode::Async`]: super::io::MigrateMode::Async
    fn migrate_folio<'a>(
        _mapping: &'a Mapping<Self>,
        _migration: Migration<'a>,
    ) -> Result<Migrated<'a>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Writes a dirty folio that is going to be removed.
    ///
    /// Whoever asks for it waits until `writeback` is completed, or has failed.
    ///
    /// Without this, dirty folios cannot be removed by [`Mapping::invalidate`].
    ///
    /// # Context
    ///
    /// May sleep. The folio is locked, and stays so. It is not mapped.
    ///
    /// # Errors
    ///
    /// What whoever wants to remove it is told.
    fn launder_folio(_mapping: &Mapping<Self>, _folio: &Locked, _writeback: Writeback) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Whether a range of bytes of a folio that is not up to date is.
    ///
    /// It is called if the file's blocks are smaller than the folio only. Without this, nothing of
    /// it is.
    ///
    /// # Context
    ///
    /// May sleep. The folio is locked.
    fn is_partially_uptodate(
        _mapping: &Mapping<Self>,
        _folio: &Locked,
        _range: Range<usize>,
    ) -> bool {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Returns what a folio is to reclaim. `seen` is what its flags say.
    ///
    /// It is called for folios with private data only. Without this, it is as the flags say.
    ///
    /// # Context
    ///
    /// May sleep, but must not wait for memory. The folio is locked.
    fn is_dirty_writeback(
        _mapping: &Mapping<Self>,
        _folio: &Locked,
        _seen: DirtyWriteback,
    ) -> DirtyWriteback {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Removes a folio whose memory has failed, see [`Mapping::remove_failed`].
    ///
    /// Without this, it is removed if it can be released.
    ///
    /// # Context
    ///
    /// May sleep. The folio is locked, and stays so.
    ///
    /// # Errors
    ///
    /// Any, if the folio is still in the page cache.
    fn error_remove_folio(_mapping: &Mapping<Self>, _folio: &Locked) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// How folios move whose operations do not say. Without any, `fallback_migrate_folio()` warns.
#[cfg(CONFIG_MIGRATION)]
const MIGRATE_FOLIO: MigrateFolio = Some(bindings::filemap_migrate_folio);
#[cfg(not(CONFIG_MIGRATION))]
const MIGRATE_FOLIO: MigrateFolio = None;

type MigrateFolio = Option<
    unsafe extern "C" fn(
        *mut bindings::address_space,
        *mut bindings::folio,
        *mut bindings::folio,
        bindings::migrate_mode,
    ) -> c_int,
>;

/// The operations of `T` as C calls them.
///
/// Everywhere in here, C passes a `mapping` with the operations of `T`, and what else the operation
/// is documented to get.
pub(super) struct Vtable<T: AddressSpaceOperations>(PhantomData<T>);

impl<T: AddressSpaceOperations> Vtable<T> {
    /// # Safety
    ///
    /// `folio` must be locked and in `mapping`; `file` null or in use by the calling task.
    unsafe extern "C" fn read_folio(
        file: *mut bindings::file,
        mapping: *mut bindings::address_space,
        folio: *mut bindings::folio,
    ) -> c_int {
        // SAFETY: By the safety requirements it exists.
        let folio = unsafe { NonNull::new_unchecked(folio) };
        // SAFETY: By the safety requirements. The mapping stays until `read_folio` returns: the
        // caller has the inode.
        unsafe {
            match ReadFolio::from_raw(folio) {
                Some(folio) => errno(T::read_folio(
                    Mapping::from_raw(mapping),
                    local_file(file),
                    folio,
                )),
                None => 0,
            }
        }
    }

    /// # Safety
    ///
    /// `rac` must be valid, and its folios locked and in its mapping.
    unsafe extern "C" fn readahead(rac: *mut bindings::readahead_control) {
        // SAFETY: By the safety requirements.
        unsafe {
            let mapping = (*rac).mapping;
            T::readahead(
                Mapping::from_raw(mapping),
                Readahead::from_raw(NonNull::new_unchecked(rac)),
            );
        }
    }

    /// # Safety
    ///
    /// `wbc` must be valid, and nobody else use it.
    unsafe extern "C" fn writepages(
        mapping: *mut bindings::address_space,
        wbc: *mut bindings::writeback_control,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        unsafe {
            let mut control = WritebackControl::from_raw(mapping, NonNull::new_unchecked(wbc));
            errno(T::writepages(Mapping::from_raw(mapping), &mut control))
        }
    }

    /// # Safety
    ///
    /// `folio` must be kept from being removed from `mapping`.
    unsafe extern "C" fn dirty_folio(
        mapping: *mut bindings::address_space,
        folio: *mut bindings::folio,
    ) -> bool {
        // SAFETY: By the safety requirements; what is in a mapping has a reference.
        unsafe { T::dirty_folio(Mapping::from_raw(mapping), Folio::from_raw(folio)) }
    }

    /// # Safety
    ///
    /// `iocb` must be null or valid, `foliop` valid, and the calling task have the `i_rwsem`.
    unsafe extern "C" fn write_begin(
        iocb: *const bindings::kiocb,
        mapping: *mut bindings::address_space,
        pos: bindings::loff_t,
        len: c_uint,
        foliop: *mut *mut bindings::folio,
        _fsdata: *mut *mut c_void,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements.
            unsafe {
                let request = WriteRequest::new(iocb, mapping, pos, len);
                let folio = T::write_begin(Mapping::from_raw(mapping), request)?;
                if !folio.is_ready() {
                    return Err(EIO);
                }
                *foliop = folio.into_raw();
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `folio` must be what `write_begin` gave, and the calling task still have the `i_rwsem`.
    unsafe extern "C" fn write_end(
        _iocb: *const bindings::kiocb,
        mapping: *mut bindings::address_space,
        pos: bindings::loff_t,
        len: c_uint,
        copied: c_uint,
        folio: *mut bindings::folio,
        _fsdata: *mut c_void,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        let accepted = unsafe {
            let folio = NonNull::new_unchecked(folio);
            let write = FinishedWrite::from_raw(mapping, pos, len, copied, folio);
            if T::HAS_WRITE_END {
                T::write_end(Mapping::from_raw(mapping), write)
            } else {
                Ok(write.commit())
            }
        };
        match accepted {
            // CAST: No more than was copied, which does not get larger than `MAX_RW_COUNT`.
            Ok(accepted) => accepted.min(copied as usize) as c_int,
            Err(error) => error.to_errno(),
        }
    }

    /// # Safety
    ///
    /// As for all.
    unsafe extern "C" fn bmap(
        mapping: *mut bindings::address_space,
        block: bindings::sector_t,
    ) -> bindings::sector_t {
        // SAFETY: The caller has the inode.
        unsafe { T::bmap(Mapping::from_raw(mapping), block) }.unwrap_or(0)
    }

    /// # Safety
    ///
    /// `folio` must be locked and in `mapping`.
    unsafe extern "C" fn invalidate_folio(
        mapping: *mut bindings::address_space,
        folio: *mut bindings::folio,
        offset: usize,
        len: usize,
    ) {
        // SAFETY: By the safety requirements.
        unsafe {
            T::invalidate_folio(
                Mapping::from_raw(mapping),
                Locked::from_raw(folio),
                offset..offset + len,
            )
        };
    }

    /// # Safety
    ///
    /// `folio` must be locked and in `mapping`.
    unsafe extern "C" fn release_folio(
        mapping: *mut bindings::address_space,
        folio: *mut bindings::folio,
        gfp: bindings::gfp_t,
    ) -> bool {
        // SAFETY: By the safety requirements.
        unsafe {
            T::release_folio(
                Mapping::from_raw(mapping),
                Locked::from_raw(folio),
                Flags::from_raw(gfp),
            )
        }
    }

    /// # Safety
    ///
    /// `folio` must be locked, and have left `mapping`, which need not exist.
    unsafe extern "C" fn free_folio(
        mapping: *mut bindings::address_space,
        folio: *mut bindings::folio,
    ) {
        // SAFETY: By the safety requirements. What is not freed yet is not null.
        T::free_folio(unsafe { FreedFolio::from_raw(mapping, NonNull::new_unchecked(folio)) });
    }

    /// # Safety
    ///
    /// Both folios must be locked, and `src` in `mapping`.
    unsafe extern "C" fn migrate_folio(
        mapping: *mut bindings::address_space,
        dst: *mut bindings::folio,
        src: *mut bindings::folio,
        mode: bindings::migrate_mode,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        let migrated = unsafe {
            let migration = Migration::from_raw(mapping, dst, src, mode);
            T::migrate_folio(Mapping::from_raw(mapping), migration)
        };
        errno(migrated.map(|_| ()))
    }

    /// # Safety
    ///
    /// `folio` must be locked and in `mapping`.
    unsafe extern "C" fn launder_folio(
        mapping: *mut bindings::address_space,
        folio: *mut bindings::folio,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        let (mapping, folio, writeback) = unsafe {
            let folio = Locked::from_raw(folio);
            let writeback = Writeback::of_locked(folio, mapping);
            (Mapping::from_raw(mapping), folio, writeback)
        };
        let Some(writeback) = writeback else {
            return 0;
        };
        let result = T::launder_folio(mapping, folio, writeback);
        // SAFETY: The folio exists, and whoever keeps the writeback completes it.
        unsafe { bindings::folio_wait_writeback(folio.as_ptr()) };
        errno(result)
    }

    /// # Safety
    ///
    /// `folio` must be locked and in `mapping`.
    unsafe extern "C" fn is_partially_uptodate(
        mapping: *mut bindings::address_space,
        folio: *mut bindings::folio,
        from: usize,
        count: usize,
    ) -> bool {
        // SAFETY: By the safety requirements.
        unsafe {
            let folio = Locked::from_raw(folio);
            // What is asked for may go on in the next folio.
            let range = from..from + count.min(folio.size().saturating_sub(from));
            T::is_partially_uptodate(Mapping::from_raw(mapping), folio, range)
        }
    }

    /// # Safety
    ///
    /// `folio` must be locked and in `mapping`, and the other pointers valid.
    unsafe extern "C" fn is_dirty_writeback(
        mapping: *mut bindings::address_space,
        folio: *mut bindings::folio,
        dirty: *mut bool,
        writeback: *mut bool,
    ) {
        // SAFETY: By the safety requirements.
        unsafe {
            let seen = DirtyWriteback {
                dirty: *dirty,
                writeback: *writeback,
            };
            let is =
                T::is_dirty_writeback(Mapping::from_raw(mapping), Locked::from_raw(folio), seen);
            *dirty = is.dirty;
            *writeback = is.writeback;
        }
    }

    /// # Safety
    ///
    /// `folio` must be locked and in `mapping`.
    unsafe extern "C" fn error_remove_folio(
        mapping: *mut bindings::address_space,
        folio: *mut bindings::folio,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        errno(unsafe { T::error_remove_folio(Mapping::from_raw(mapping), Locked::from_raw(folio)) })
    }

    /// The table for C. What `T` does not have is [`None`], but for those without which C does
    /// something else than nothing, or calls a null pointer.
    pub(super) const TABLE: bindings::address_space_operations =
        bindings::address_space_operations {
            read_folio: if T::HAS_READ_FOLIO {
                Some(Self::read_folio)
            } else {
                None
            },
            readahead: if T::HAS_READAHEAD {
                Some(Self::readahead)
            } else {
                None
            },
            writepages: if T::HAS_WRITEPAGES {
                Some(Self::writepages)
            } else {
                None
            },
            // `folio_mark_dirty()` does not ask whether there is one.
            dirty_folio: if T::HAS_DIRTY_FOLIO {
                Some(Self::dirty_folio)
            } else {
                Some(bindings::filemap_dirty_folio)
            },
            write_begin: if T::HAS_WRITE_BEGIN {
                Some(Self::write_begin)
            } else {
                None
            },
            // `generic_perform_write()` does not ask whether there is one.
            write_end: if T::HAS_WRITE_BEGIN {
                Some(Self::write_end)
            } else {
                None
            },
            bmap: if T::HAS_BMAP { Some(Self::bmap) } else { None },
            invalidate_folio: if T::HAS_INVALIDATE_FOLIO {
                Some(Self::invalidate_folio)
            } else {
                None
            },
            release_folio: if T::HAS_RELEASE_FOLIO {
                Some(Self::release_folio)
            } else {
                None
            },
            free_folio: if T::HAS_FREE_FOLIO {
                Some(Self::free_folio)
            } else {
                None
            },
            migrate_folio: if T::HAS_MIGRATE_FOLIO {
                Some(Self::migrate_folio)
            } else {
                MIGRATE_FOLIO
            },
            launder_folio: if T::HAS_LAUNDER_FOLIO {
                Some(Self::launder_folio)
            } else {
                None
            },
            is_partially_uptodate: if T::HAS_IS_PARTIALLY_UPTODATE {
                Some(Self::is_partially_uptodate)
            } else {
                None
            },
            is_dirty_writeback: if T::HAS_IS_DIRTY_WRITEBACK {
                Some(Self::is_dirty_writeback)
            } else {
                None
            },
            error_remove_folio: if T::HAS_ERROR_REMOVE_FOLIO {
                Some(Self::error_remove_folio)
            } else {
                None
            },
            ..pin_init::zeroed()
        };
}

#[cfg(CONFIG_RUST_PAGE_CACHE_KUNIT_TEST)]
#[macros::kunit_tests(rust_page_cache_ops)]
mod tests {
    use super::*;
    use crate::{
        error::{
            to_result,
            Result, //
        },
        fs::{
            file::flags,
            File, //
        },
        mm::page_cache::{
            io::{
                Fill,
                MigrateMode, //
            },
            CacheFs,
            CachedFile,
            CachedInode, //
        },
        page::PAGE_SIZE,
        sync::{
            aref::ARef,
            atomic::{
                Atomic,
                Relaxed, //
            },
            Arc,
            ArcBorrow, //
        }, //
    };
    use core::ptr;

    /// What was called, and what it is to do.
    #[derive(Default)]
    struct Log {
        reads: Counter,
        readaheads: Counter,
        writes: Counter,
        dirtied: Counter,
        begun: Counter,
        ended: Counter,
        invalidated: Counter,
        released: Counter,
        laundered: Counter,
        partial: Counter,
        removed: Counter,
        migrations: Counter,
        truncated: Counter,
        /// The first byte that was written back last.
        written: Counter,
        /// Reads, writes and releases fail.
        fail: Counter,
        /// How many folios readahead takes.
        take: Counter,
    }

    /// A number that operations change which may run in several tasks.
    struct Counter(Atomic<usize>);

    impl Default for Counter {
        fn default() -> Self {
            Self(Atomic::new(0))
        }
    }

    impl Counter {
        fn add(&self) {
            self.0.fetch_add(1, Relaxed);
        }

        fn set(&self, value: usize) {
            self.0.store(value, Relaxed);
        }

        fn get(&self) -> usize {
            self.0.load(Relaxed)
        }
    }

    /// How many folios were freed, in all files: no data is passed.
    static FREED: Atomic<usize> = Atomic::new(0);

    /// Has all operations. A page is half full of its index plus one.
    struct Logged;

    impl Logged {
        fn fill(index: usize, fill: &mut Fill<'_>) {
            for _ in 0..PAGE_SIZE / 2 / 8 {
                fill.push(&[index as u8 + 1; 8]);
            }
        }
    }

    #[vtable]
    impl AddressSpaceOperations for Logged {
        type Data = Arc<Log>;

        fn read_folio(
            mapping: &Mapping<Self>,
            _file: Option<&LocalFile>,
            mut folio: ReadFolio,
        ) -> Result {
            let log: ArcBorrow<'_, Log> = mapping.data();
            log.reads.add();
            if log.fail.get() != 0 {
                return Err(EIO);
            }
            let index = folio.index();
            Self::fill(index, &mut folio.fill());
            folio.complete();
            Ok(())
        }

        fn readahead(mapping: &Mapping<Self>, folios: Readahead<'_>) {
            let log = mapping.data();
            log.readaheads.add();
            for mut folio in folios.take(log.take.get()) {
                let index = folio.index();
                Self::fill(index, &mut folio.fill());
                folio.complete();
            }
        }

        fn writepages(mapping: &Mapping<Self>, control: &mut WritebackControl<'_>) -> Result {
            let log = mapping.data();
            control.for_each(|folio| {
                log.writes.add();
                let mut byte = [0];
                folio.copy_to_slice(0, &mut byte)?;
                log.written.set(byte[0].into());
                match log.fail.get() {
                    0 => folio.start().complete(),
                    1 => folio.start().fail(ENOSPC),
                    // It is dirty again.
                    _ => return Err(EAGAIN),
                }
                Ok(())
            })
        }

        fn dirty_folio(mapping: &Mapping<Self>, folio: &Folio) -> bool {
            mapping.data().dirtied.add();
            mapping.dirty_folio(folio)
        }

        fn write_begin<'a>(
            mapping: &'a Mapping<Self>,
            request: WriteRequest<'a>,
        ) -> Result<WriteFolio<'a>> {
            mapping.data().begun.add();
            let mut folio = request.folio()?;
            let index = folio.index();
            folio.read_around(|fill| {
                Self::fill(index, fill);
                Ok(())
            })?;
            Ok(folio)
        }

        fn write_end(mapping: &Mapping<Self>, write: FinishedWrite<'_>) -> Result<usize> {
            mapping.data().ended.add();
            Ok(write.commit())
        }

        fn bmap(_mapping: &Mapping<Self>, block: u64) -> Option<u64> {
            (block != 0).then_some(block + 100)
        }

        fn invalidate_folio(mapping: &Mapping<Self>, _folio: &Locked, range: Range<usize>) {
            assert!(!range.is_empty());
            mapping.data().invalidated.add();
        }

        fn release_folio(mapping: &Mapping<Self>, _folio: &Locked, _gfp: Flags) -> bool {
            let log = mapping.data();
            log.released.add();
            log.fail.get() == 0
        }

        fn free_folio(_folio: FreedFolio<'_>) {
            FREED.fetch_add(1, Relaxed);
        }

        fn migrate_folio<'a>(
            mapping: &'a Mapping<Self>,
            migration: Migration<'a>,
        ) -> Result<Migrated<'a>> {
            assert_eq!(migration.mode(), MigrateMode::SyncLight);
            mapping.data().migrations.add();
            migration.run()
        }

        fn launder_folio(mapping: &Mapping<Self>, folio: &Locked, writeback: Writeback) -> Result {
            let log = mapping.data();
            assert!(folio.is_writeback());
            log.laundered.add();
            let mut byte = [0];
            folio.copy_to_slice(0, &mut byte)?;
            log.written.set(byte[0].into());
            writeback.complete();
            Ok(())
        }

        fn is_partially_uptodate(
            mapping: &Mapping<Self>,
            _folio: &Locked,
            range: Range<usize>,
        ) -> bool {
            mapping.data().partial.add();
            range.end <= 512
        }

        fn is_dirty_writeback(
            _mapping: &Mapping<Self>,
            _folio: &Locked,
            seen: DirtyWriteback,
        ) -> DirtyWriteback {
            DirtyWriteback {
                dirty: !seen.dirty,
                writeback: seen.writeback,
            }
        }

        fn error_remove_folio(mapping: &Mapping<Self>, folio: &Locked) -> Result {
            mapping.data().removed.add();
            mapping.remove_failed(folio)
        }
    }

    impl CachedFile for Logged {
        fn truncated(mapping: &Mapping<Self>, _size: u64) {
            mapping.data().truncated.add();
        }
    }

    /// Begins to write without reading what is around it.
    struct Careless;

    #[vtable]
    impl AddressSpaceOperations for Careless {
        type Data = ();

        fn write_begin<'a>(
            _mapping: &'a Mapping<Self>,
            request: WriteRequest<'a>,
        ) -> Result<WriteFolio<'a>> {
            request.folio()
        }
    }

    impl CachedFile for Careless {}

    /// Has no operations.
    struct Empty;

    #[vtable]
    impl AddressSpaceOperations for Empty {
        type Data = ();
    }

    impl CachedFile for Empty {}

    /// A file of four pages, and what is called for it.
    fn file(fs: &CacheFs) -> Result<(CachedInode<Logged>, Arc<Log>)> {
        let log = Arc::new(Log::default(), GFP_KERNEL)?;
        let inode = fs.create::<Logged>(log.clone())?;
        inode.set_size(4 * PAGE_SIZE as u64)?;
        Ok((inode, log))
    }

    fn write(file: &File, pos: usize, bytes: &[u8]) -> Result<usize> {
        let mut pos = pos as bindings::loff_t;
        // SAFETY: The file is open, and the slice is ours.
        let len = unsafe {
            bindings::kernel_write(file.as_ptr(), bytes.as_ptr().cast(), bytes.len(), &mut pos)
        };
        to_result(len.min(0) as c_int)?;
        Ok(len as usize)
    }

    fn read(file: &File, pos: usize, bytes: &mut [u8]) -> Result<usize> {
        let mut pos = pos as bindings::loff_t;
        // SAFETY: The file is open, and the slice is ours.
        let len = unsafe {
            bindings::kernel_read(
                file.as_ptr(),
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                &mut pos,
            )
        };
        to_result(len.min(0) as c_int)?;
        Ok(len as usize)
    }

    /// A file that was opened by this task is closed now, not some time later.
    fn close(file: ARef<File>) {
        drop(file);
        // SAFETY: May be called from a context that may sleep.
        unsafe { bindings::flush_delayed_fput() };
    }

    fn byte(folio: &Folio, at: usize) -> Result<u8> {
        let mut byte = [0];
        folio.lock().copy_to_slice(at, &mut byte)?;
        Ok(byte[0])
    }

    /// The operations as C sees them.
    fn table<T: AddressSpaceOperations>(
        mapping: &Mapping<T>,
    ) -> &'static bindings::address_space_operations {
        // SAFETY: It is static.
        unsafe { &*(*mapping.as_ptr()).a_ops }
    }

    const ALL: core::ops::RangeInclusive<u64> = 0..=u64::MAX;

    #[test]
    fn a_folio_is_read_and_the_rest_is_zero() -> Result {
        let fs = CacheFs::new()?;
        let (inode, log) = file(&fs)?;
        let folio = inode.mapping().read(2)?;
        assert!(folio.is_uptodate());
        assert_eq!(byte(&folio, 0)?, 3);
        assert_eq!(byte(&folio, PAGE_SIZE / 2 - 1)?, 3);
        assert_eq!(byte(&folio, PAGE_SIZE / 2)?, 0);
        assert_eq!(byte(&folio, PAGE_SIZE - 1)?, 0);
        assert_eq!(byte(&folio, PAGE_SIZE), Err(EINVAL));
        assert_eq!(log.reads.get(), 1);
        // It is there now.
        inode.mapping().read(2)?;
        assert_eq!(log.reads.get(), 1);
        assert_eq!(inode.mapping().nr_pages(), 1);
        Ok(())
    }

    #[test]
    fn a_read_that_fails_is_tried_again() -> Result {
        let fs = CacheFs::new()?;
        let (inode, log) = file(&fs)?;
        log.fail.set(1);
        assert_eq!(inode.mapping().read(0).err(), Some(EIO));
        log.fail.set(0);
        assert_eq!(byte(&*inode.mapping().read(0)?, 0)?, 1);
        assert_eq!(log.reads.get(), 2);
        Ok(())
    }

    #[test]
    fn readahead_reads_what_it_takes() -> Result {
        let fs = CacheFs::new()?;
        let (inode, log) = file(&fs)?;
        let file = inode.open(c"test", flags::O_RDONLY)?;
        log.take.set(2);
        let mut bytes = [0; 8];
        assert_eq!(read(&file, 0, &mut bytes)?, 8);
        assert_eq!(bytes, [1; 8]);
        assert_eq!(log.readaheads.get(), 1);
        assert_eq!(log.reads.get(), 0);
        // The others were removed.
        assert_eq!(inode.mapping().nr_pages(), 2);
        assert_eq!(read(&file, 3 * PAGE_SIZE, &mut bytes)?, 8);
        assert_eq!(bytes, [4; 8]);
        close(file);
        Ok(())
    }

    #[test]
    fn what_is_written_is_written_back() -> Result {
        let fs = CacheFs::new()?;
        let (inode, log) = file(&fs)?;
        let file = inode.open(c"test", flags::O_RDWR)?;
        assert_eq!(write(&file, PAGE_SIZE + 8, &[9; 16])?, 16);
        assert_eq!((log.begun.get(), log.ended.get()), (1, 1));
        assert_eq!(log.dirtied.get(), 1);
        // What was around it was not lost.
        let folio = inode.mapping().read(1)?;
        assert_eq!(log.reads.get(), 0);
        assert!(folio.is_dirty());
        assert_eq!(byte(&folio, 7)?, 2);
        assert_eq!(byte(&folio, 8)?, 9);
        assert_eq!(byte(&folio, 23)?, 9);
        assert_eq!(byte(&folio, 24)?, 2);
        inode.mapping().write_and_wait(ALL)?;
        assert_eq!(log.writes.get(), 1);
        assert_eq!(log.written.get(), 2);
        assert!(!folio.is_dirty() && !folio.is_writeback());
        // It is clean.
        inode.mapping().write_and_wait(ALL)?;
        assert_eq!(log.writes.get(), 1);
        close(file);
        Ok(())
    }

    #[test]
    fn a_page_that_is_overwritten_is_not_read() -> Result {
        let fs = CacheFs::new()?;
        let (inode, log) = file(&fs)?;
        let file = inode.open(c"test", flags::O_RDWR)?;
        let page = KVec::from_elem(7u8, PAGE_SIZE, GFP_KERNEL)?;
        assert_eq!(write(&file, 4 * PAGE_SIZE, &page)?, PAGE_SIZE);
        assert_eq!(inode.mapping().size(), 5 * PAGE_SIZE as u64);
        assert_eq!(byte(&*inode.mapping().read(4)?, PAGE_SIZE - 1)?, 7);
        assert_eq!(log.reads.get(), 0);
        close(file);
        Ok(())
    }

    #[test]
    fn a_page_that_is_not_ready_is_not_written() -> Result {
        let fs = CacheFs::new()?;
        let inode = fs.create::<Careless>(())?;
        let file = inode.open(c"test", flags::O_WRONLY)?;
        let page = KVec::from_elem(7u8, PAGE_SIZE, GFP_KERNEL)?;
        assert_eq!(write(&file, 0, &page[1..]), Err(EIO));
        assert_eq!(inode.mapping().size(), 0);
        // All of it can be written, and is accepted without having an operation for that.
        assert_eq!(write(&file, 0, &page)?, PAGE_SIZE);
        assert_eq!(inode.mapping().size(), PAGE_SIZE as u64);
        // And is up to date since.
        assert_eq!(write(&file, 1, &page[1..])?, PAGE_SIZE - 1);
        close(file);
        Ok(())
    }

    #[test]
    fn writeback_that_fails_is_reported_and_not_begun_is_tried_again() -> Result {
        let fs = CacheFs::new()?;
        let (inode, log) = file(&fs)?;
        let file = inode.open(c"test", flags::O_RDWR)?;
        write(&file, 0, &[9; 16])?;
        log.fail.set(1);
        assert_eq!(inode.mapping().write_and_wait(ALL), Err(ENOSPC));
        assert_eq!(inode.mapping().write_and_wait(ALL), Ok(()));
        assert_eq!(log.writes.get(), 1);
        write(&file, 0, &[10; 16])?;
        log.fail.set(2);
        assert_eq!(inode.mapping().write_and_wait(ALL), Err(EAGAIN));
        assert_eq!(log.written.get(), 10);
        assert!(inode.mapping().read(0)?.is_dirty());
        log.fail.set(0);
        log.written.set(0);
        assert_eq!(inode.mapping().write_and_wait(ALL), Ok(()));
        assert_eq!(log.written.get(), 10);
        close(file);
        Ok(())
    }

    #[test]
    fn nothing_beyond_the_end_is_written() -> Result {
        let fs = CacheFs::new()?;
        let (inode, log) = file(&fs)?;
        let file = inode.open(c"test", flags::O_RDWR)?;
        write(&file, 0, &[9; 600])?;
        inode.set_size(100)?;
        assert_eq!(log.truncated.get(), 1);
        inode.mapping().write_and_wait(ALL)?;
        let folio = inode.mapping().read(0)?;
        assert_eq!(byte(&folio, 99)?, 9);
        assert_eq!(byte(&folio, 100)?, 0);
        inode.set_size(1000)?;
        assert_eq!(log.truncated.get(), 1);
        assert_eq!(byte(&folio, 599)?, 0);
        close(file);
        Ok(())
    }

    #[test]
    fn truncation_invalidates_and_frees() -> Result {
        let fs = CacheFs::new()?;
        let (inode, log) = file(&fs)?;
        inode.mapping().set_release_always();
        inode.mapping().read(0)?;
        inode.mapping().read(3)?;
        let freed = FREED.load(Relaxed);
        inode.mapping().truncate(PAGE_SIZE as u64);
        assert_eq!(log.invalidated.get(), 1);
        assert!(FREED.load(Relaxed) > freed);
        assert_eq!(inode.mapping().nr_pages(), 1);
        // What reaches into a page takes part of it.
        inode.mapping().truncate(8);
        assert_eq!(log.invalidated.get(), 2);
        assert_eq!(inode.mapping().nr_pages(), 1);
        Ok(())
    }

    #[test]
    fn dirty_folios_are_laundered_and_released() -> Result {
        let fs = CacheFs::new()?;
        let (inode, log) = file(&fs)?;
        inode.mapping().set_release_always();
        let file = inode.open(c"test", flags::O_RDWR)?;
        write(&file, 0, &[9; 16])?;
        log.fail.set(1);
        // Laundered, but not released.
        // SAFETY: The mapping exists.
        let invalidate = |first| unsafe {
            bindings::invalidate_inode_pages2_range(inode.mapping().as_ptr(), first, usize::MAX)
        };
        assert_eq!(to_result(invalidate(0)), Err(EBUSY));
        assert_eq!((log.laundered.get(), log.released.get()), (1, 1));
        assert_eq!((log.written.get(), inode.mapping().nr_pages()), (9, 1));
        log.fail.set(0);
        inode.mapping().invalidate(0..=usize::MAX)?;
        assert_eq!((log.laundered.get(), log.released.get()), (1, 2));
        assert_eq!(inode.mapping().nr_pages(), 0);
        close(file);
        Ok(())
    }

    #[test]
    fn parts_of_a_folio_can_be_up_to_date() -> Result {
        let fs = CacheFs::new()?;
        let (inode, log) = file(&fs)?;
        let file = inode.open(c"test", flags::O_RDONLY)?;
        log.fail.set(1);
        assert!(inode.mapping().read(0).is_err());
        let reads = log.reads.get();
        let mut bytes = [0; 8];
        assert_eq!(read(&file, 504, &mut bytes)?, 8);
        assert_eq!((log.partial.get(), log.reads.get()), (1, reads));
        assert_eq!(read(&file, 508, &mut bytes), Err(EIO));
        assert_eq!((log.partial.get(), log.reads.get()), (2, reads + 1));
        close(file);
        Ok(())
    }

    #[test]
    fn what_c_asks_reaches_the_trait() -> Result {
        let fs = CacheFs::new()?;
        let (inode, log) = file(&fs)?;
        let mapping = inode.mapping();
        let ops = table(mapping);
        let bmap = ops.bmap.ok_or(EINVAL)?;
        // SAFETY: The mapping exists.
        assert_eq!(unsafe { bmap(mapping.as_ptr(), 7) }, 107);
        // SAFETY: The mapping exists.
        assert_eq!(unsafe { bmap(mapping.as_ptr(), 0) }, 0);

        let folio = mapping.read(0)?;
        let locked = folio.lock();
        assert!(mapping.contains(&locked));
        let (mut dirty, mut writeback) = (false, false);
        let ask = ops.is_dirty_writeback.ok_or(EINVAL)?;
        // SAFETY: The folio is locked and in the mapping.
        unsafe {
            ask(
                mapping.as_ptr(),
                locked.as_ptr(),
                &mut dirty,
                &mut writeback,
            )
        };
        assert!(dirty && !writeback);

        // Somebody has a reference: it cannot move.
        let other = Folio::alloc(GFP_KERNEL, 0)?;
        let dst = other.lock();
        let more = folio.clone();
        let migrate = ops.migrate_folio.ok_or(EINVAL)?;
        // SAFETY: Both are locked, and `locked` is in the mapping.
        let moved = unsafe {
            migrate(
                mapping.as_ptr(),
                dst.as_ptr(),
                locked.as_ptr(),
                bindings::migrate_mode_MIGRATE_SYNC_LIGHT,
            )
        };
        assert_eq!(to_result(moved), Err(EAGAIN));
        assert_eq!(log.migrations.get(), 1);
        drop(more);

        let freed = FREED.load(Relaxed);
        let remove = ops.error_remove_folio.ok_or(EINVAL)?;
        // SAFETY: The folio is locked and in the mapping.
        to_result(unsafe { remove(mapping.as_ptr(), locked.as_ptr()) })?;
        assert_eq!(log.removed.get(), 1);
        assert!(FREED.load(Relaxed) > freed);
        assert_eq!(mapping.nr_pages(), 0);
        assert!(!mapping.contains(&locked));
        // It is not there any more.
        assert_eq!(mapping.remove_failed(&locked), Err(EIO));
        assert!(!mapping.dirty_folio(&locked));
        Ok(())
    }

    #[test]
    fn what_is_missing_is_null_unless_c_needs_it() {
        let table = Vtable::<Empty>::TABLE;
        assert!(table.read_folio.is_none());
        assert!(table.writepages.is_none());
        assert!(table.dirty_folio.is_some());
        assert!(table.readahead.is_none());
        assert!(table.write_begin.is_none());
        assert!(table.write_end.is_none());
        assert!(table.bmap.is_none());
        assert!(table.invalidate_folio.is_none());
        assert!(table.release_folio.is_none());
        assert!(table.free_folio.is_none());
        assert!(table.direct_IO.is_none());
        assert_eq!(table.migrate_folio.is_some(), cfg!(CONFIG_MIGRATION));
        assert!(table.launder_folio.is_none());
        assert!(table.is_partially_uptodate.is_none());
        assert!(table.is_dirty_writeback.is_none());
        assert!(table.error_remove_folio.is_none());
        assert!(table.swap_activate.is_none());
        assert!(table.swap_deactivate.is_none());
    }

    #[test]
    fn a_file_without_operations_cannot_be_read() -> Result {
        let fs = CacheFs::new()?;
        let inode = fs.create::<Empty>(())?;
        assert_eq!(inode.mapping().read(0).err(), Some(EOPNOTSUPP));
        assert_eq!(inode.set_size(u64::MAX), Err(EFBIG));
        assert_eq!(inode.mapping().size(), 0);
        assert!(ptr::eq(
            inode.mapping().as_any().as_ptr(),
            inode.mapping().as_ptr()
        ));
        Ok(())
    }

    #[test]
    fn data_goes_with_the_last_who_has_the_file() -> Result {
        let fs = CacheFs::new()?;
        let (inode, log) = file(&fs)?;
        let mapping = inode.mapping().id();
        let file = inode.open(c"test", flags::O_RDWR)?;
        write(&file, 0, &[9; 16])?;
        drop(inode);
        drop(fs);
        let mut bytes = [0; 16];
        assert_eq!(read(&file, 0, &mut bytes)?, 16);
        assert_eq!(bytes, [9; 16]);
        close(file);
        // Nobody wants what was dirty.
        assert_eq!(log.writes.get(), 0);
        assert!(Arc::into_unique_or_drop(log).is_some());
        assert_eq!(mapping, mapping);
        Ok(())
    }
}
