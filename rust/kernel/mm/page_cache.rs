// SPDX-License-Identifier: GPL-2.0

//! The tagged page cache.
//!
//! A slot of a file's page cache holds a folio that belongs to the file, or a *tagged entry* that
//! says what else there is: that the page was evicted, that its data is in a page frame which
//! belongs to somebody else, that there are several copies of it, or that somebody has it for
//! himself.
//!
//! There is one type for each level of access:
//!
//! - [`Entry`] is what was read from a slot. It is a plain value: it names things and keeps none
//!   of them alive.
//! - [`Folio`] is a folio that somebody holds a reference to, and [`ARef<Folio>`] is such a
//!   reference.
//! - [`LockedFolio`] is a folio that is locked until the value is dropped.
//! - [`Locked`] is a folio that somebody else has locked, and lends.
//!
//! [`Mapping`] is the page cache of one file, and [`AddressSpaceOperations`] is how the data gets
//! into it and out of it; what a folio is on that way has types of its own in [`io`].
//!
//! Nothing in here is for shmem, which keeps swap entries in its slots.
//!
//! C header: [`include/linux/page_cache_entry.h`](srctree/include/linux/page_cache_entry.h)
//!
//! [`ARef<Folio>`]: crate::sync::aref::ARef

pub mod entry;
pub use entry::Entry;

pub mod fs;
pub use fs::{
    CacheFs,
    CachedFile,
    CachedInode, //
};

#[cfg(CONFIG_PAGE_CACHE_SHARE)]
mod alias;

#[cfg(CONFIG_PAGE_CACHE_SHARE)]
mod cachemap;

#[cfg(CONFIG_PAGE_CACHE_SHARE)]
mod fragment;

#[cfg(CONFIG_PAGE_CACHE_SHARE)]
mod home;

pub mod folio;
pub use folio::{
    Folio,
    Locked,
    LockedFolio, //
};

pub mod io;
pub use io::{
    DirtyFolio,
    FinishedWrite,
    FreedFolio,
    ReadFolio,
    Readahead,
    WriteFolio,
    WriteRequest,
    Writeback,
    WritebackControl, //
};

pub mod mapping;
pub use mapping::Mapping;

pub mod ops;
pub use ops::AddressSpaceOperations;
