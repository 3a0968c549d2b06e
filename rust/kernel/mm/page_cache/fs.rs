// SPDX-License-Identifier: GPL-2.0

//! File systems of nothing but files in the page cache.
//!
//! A [`CacheFs`] is a mount that no path leads to, as those of memfd and dma-buf. It has regular
//! files whose data is read and written by [`AddressSpaceOperations`], and for all else what the
//! kernel has for regular files. So everything works on their file descriptors that works on a
//! regular file: `read(2)`, `write(2)`, `mmap(2)`, `ftruncate(2)`, `fsync(2)`, `splice(2)`,
//! `readahead(2)`; dirty pages are written back by the flusher threads and by `sync(2)`, and
//! `drop_caches` drops what is clean.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/pseudo_fs.h`](srctree/include/linux/pseudo_fs.h)

use super::{
    mapping::errno,
    ops::Vtable,
    AddressSpaceOperations,
    Mapping, //
};
use crate::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    ffi::{
        c_int,
        c_ulong,
        c_void, //
    },
    fs::{
        file::flags,
        File, //
    },
    module::this_module,
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::aref::ARef,
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    }, //
};

/// What a file in a [`CacheFs`] needs besides the operations of its mapping.
pub trait CachedFile: AddressSpaceOperations {
    /// Is told that the file was truncated to `size` bytes, and has to give up what it keeps
    /// beyond: when the file grows again, there are zeroes.
    ///
    /// The page cache has nothing beyond `size` at this time, and nothing is being written back.
    ///
    /// # Context
    ///
    /// May sleep. `i_rwsem` and `invalidate_lock` held exclusive. No folio is locked.
    fn truncated(_mapping: &Mapping<Self>, _size: u64) {}
}

/// A mounted file system of files in the page cache.
///
/// When this is dropped, the file system goes with the last of its files.
///
/// # Invariants
///
/// `mnt` was mounted by [`bindings::kern_mount`], and is to be unmounted by this. All inodes in it
/// but the root are those of a [`CachedInode`].
pub struct CacheFs {
    mnt: NonNull<bindings::vfsmount>,
}

// SAFETY: Mounts have locks of their own.
unsafe impl Send for CacheFs {}
// SAFETY: As above.
unsafe impl Sync for CacheFs {}

impl CacheFs {
    /// What `statfs(2)` calls the file system.
    const MAGIC: c_ulong = 0x52504346;

    /// Mounts a file system. Sleeps.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new() -> Result<Self> {
        // SAFETY: The type is static, and set up.
        let mnt = from_err_ptr(unsafe { bindings::kern_mount(TYPE.0.get()) })?;
        // INVARIANT: Just mounted; there is no inode but the root yet.
        let fs = Self {
            mnt: NonNull::new(mnt).ok_or(ENOMEM)?,
        };
        // Without a backing device of its own, nothing in it is ever written back.
        //
        // SAFETY: The mount has a superblock, and nobody else sets it up.
        to_result(unsafe { bindings::super_setup_bdi((*mnt).mnt_sb) })?;
        Ok(fs)
    }

    /// Makes an empty file. Sleeps.
    ///
    /// `data` is dropped when the inode is evicted, by whoever puts the last reference to it, and
    /// before the module that implements `T` can go. That may sleep.
    ///
    /// # Errors
    ///
    /// - [`ENOMEM`].
    /// - [`ENODEV`] if the module that implements `T` is being unloaded.
    /// - [`EOPNOTSUPP`] if `T` has [`AddressSpaceOperations::free_folio`] and is in a module, which
    ///   could be gone when that is called.
    pub fn create<T: CachedFile>(&self, data: T::Data) -> Result<CachedInode<T>> {
        let owner = ModuleRef::get(this_module::<T::OwnerModule>().as_ptr())?;
        if T::HAS_FREE_FOLIO && !owner.0.is_null() {
            return Err(EOPNOTSUPP);
        }
        // SAFETY: The superblock exists as long as its mount does.
        let inode = unsafe { bindings::new_inode((*self.mnt.as_ptr()).mnt_sb) };
        let inode = NonNull::new(inode).ok_or(ENOMEM)?;
        // SAFETY: The inode is new. On the list of its superblock it can be seen already, but what
        // is looked at there is set up, and it has no pages. The reference to the module is put in
        // `evict_inode`.
        unsafe {
            let inode = inode.as_ptr();
            (*inode).i_ino = bindings::get_next_ino().into();
            bindings::inode_init_owner(
                &raw mut bindings::nop_mnt_idmap,
                inode,
                ptr::null(),
                // CAST: The type of file and its mode fit.
                (bindings::S_IFREG | 0o600) as bindings::umode_t,
            );
            bindings::simple_inode_init_ts(inode);
            // What is not hashed is not put on the list of dirty inodes.
            bindings::inode_fake_hash(inode);
            // What is beyond the end of the file has to be zeroed when it gets larger, and in a
            // file whose blocks are pages, C sees no need to.
            (*inode).i_blkbits = Self::BLOCK_BITS;
            (*inode).i_op = &Table::<T>::INODE;
            (*inode).__bindgen_anon_3.i_fop = &Table::<T>::FILE;
            (*inode).i_private = data.into_foreign();
            (*(*inode).i_mapping).a_ops = &Table::<T>::WHOLE.aops;
        }
        owner.into_raw();
        // INVARIANT: Just set up. The reference to the inode is ours, and so is that to the mount.
        Ok(CachedInode {
            inode,
            // SAFETY: The mount exists.
            mnt: unsafe { Mount::get(self.mnt) },
            _p: PhantomData,
        })
    }

    /// Blocks of 512 bytes.
    const BLOCK_BITS: u8 = 9;
}

impl Drop for CacheFs {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, we are to unmount it.
        unsafe { bindings::kern_unmount(self.mnt.as_ptr()) };
    }
}

/// A reference to a mount.
///
/// # Invariants
///
/// The mount has been got, and is put by this.
struct Mount(NonNull<bindings::vfsmount>);

impl Mount {
    /// # Safety
    ///
    /// The mount must exist.
    unsafe fn get(mnt: NonNull<bindings::vfsmount>) -> Self {
        // SAFETY: By the safety requirements.
        unsafe { bindings::mntget(mnt.as_ptr()) };
        // INVARIANT: Just got.
        Self(mnt)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::mntput(self.0.as_ptr()) };
    }
}

/// A reference to a module, which cannot be unloaded while there is one.
///
/// # Invariants
///
/// The module has been got, and is put by this.
struct ModuleRef(*mut bindings::module);

impl ModuleRef {
    /// `owner` is null for what is built in.
    fn get(owner: *mut bindings::module) -> Result<Self> {
        // SAFETY: Whoever has a pointer to the module is running in it.
        if unsafe { bindings::try_module_get(owner) } {
            // INVARIANT: Just got.
            Ok(Self(owner))
        } else {
            Err(ENODEV)
        }
    }

    /// Leaves it to somebody else to put the module.
    fn into_raw(self) {
        core::mem::forget(self);
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::module_put(self.0) };
    }
}

/// A reference to a file in a [`CacheFs`] that need not be open.
///
/// # Invariants
///
/// - We have a reference to the inode, and its mapping has the operations of `T` and its
///   `i_private` is from [`ForeignOwnable::into_foreign`] of a `T::Data`.
/// - `mnt` is what it is in, so that the superblock stays.
pub struct CachedInode<T: CachedFile> {
    inode: NonNull<bindings::inode>,
    mnt: Mount,
    _p: PhantomData<T::Data>,
}

// SAFETY: Inodes have locks of their own, and `T::Data` is `Send` and `Sync`.
unsafe impl<T: CachedFile> Send for CachedInode<T> {}
// SAFETY: As above.
unsafe impl<T: CachedFile> Sync for CachedInode<T> {}

impl<T: CachedFile> CachedInode<T> {
    /// Returns the mapping of the file.
    pub fn mapping(&self) -> &Mapping<T> {
        // SAFETY: By the type invariants.
        unsafe { Mapping::from_raw((*self.inode.as_ptr()).i_mapping) }
    }

    /// Makes the file shorter or longer. Takes `i_rwsem`, sleeps.
    ///
    /// # Errors
    ///
    /// [`EFBIG`] if that is more than any file can have.
    pub fn set_size(&self, size: u64) -> Result {
        let inode = self.inode.as_ptr();
        // SAFETY: The inode exists by the type invariants.
        unsafe {
            let size = bindings::loff_t::try_from(size).map_err(|_| EFBIG)?;
            if size > (*(*inode).i_sb).s_maxbytes {
                return Err(EFBIG);
            }
            bindings::inode_lock(inode);
            Table::<T>::truncate(inode, size);
            bindings::inode_unlock(inode);
        }
        Ok(())
    }

    /// Opens the file: `access` is [`O_RDONLY`], [`O_WRONLY`] or [`O_RDWR`]. `name` is what is
    /// shown in `/proc`. Sleeps.
    ///
    /// # Errors
    ///
    /// - [`ENOMEM`], or [`ENFILE`] if too many files are open.
    /// - [`ENODEV`] if the module that implements `T` is being unloaded.
    ///
    /// [`O_RDONLY`]: flags::O_RDONLY
    /// [`O_WRONLY`]: flags::O_WRONLY
    /// [`O_RDWR`]: flags::O_RDWR
    pub fn open(&self, name: &CStr, access: u32) -> Result<ARef<File>> {
        let owner = ModuleRef::get(this_module::<T::OwnerModule>().as_ptr())?;
        let access = access & flags::O_ACCMODE;
        // SAFETY: The inode and the mount exist by the type invariants. The file takes over a
        // reference to the inode, and gets one to the mount; if there is none, ours is left.
        let file = unsafe {
            bindings::ihold(self.inode.as_ptr());
            from_err_ptr(bindings::alloc_file_pseudo(
                self.inode.as_ptr(),
                self.mnt.0.as_ptr(),
                name.as_char_ptr(),
                // CAST: Flags are bits.
                (access | flags::O_LARGEFILE) as c_int,
                &Table::<T>::FILE,
            ))
            .inspect_err(|_| bindings::iput(self.inode.as_ptr()))?
        };
        // Put by `fput` as the owner of the file operations.
        owner.into_raw();
        // SAFETY: Nobody else knows of the file. What `open(2)` does for a file that has a path is
        // left to us.
        unsafe {
            (*file).f_mode |= bindings::FMODE_PREAD | bindings::FMODE_PWRITE;
            bindings::file_ra_state_init(&raw mut (*file).__bindgen_anon_3.f_ra, (*file).f_mapping);
        }
        // SAFETY: The file comes with a reference, which is ours. Nobody has its position.
        Ok(unsafe { ARef::from_raw(NonNull::new(file).ok_or(ENOMEM)?.cast()) })
    }
}

impl<T: CachedFile> Drop for CachedInode<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants we have a reference, which we give up, before the one to
        // the mount.
        unsafe { bindings::iput(self.inode.as_ptr()) };
    }
}

/// The operations of a mapping, and what its inode needs when it is evicted.
#[repr(C)]
struct WholeTable {
    aops: bindings::address_space_operations,
    drop_data: unsafe fn(*mut c_void),
    owner: *mut bindings::module,
}

// SAFETY: The module is named, and not looked into.
unsafe impl Sync for WholeTable {}

/// All the operations of a file of `T`.
struct Table<T: CachedFile>(PhantomData<T>);

impl<T: CachedFile> Table<T> {
    const WHOLE: &'static WholeTable = &WholeTable {
        aops: Vtable::<T>::TABLE,
        drop_data: Self::drop_data,
        owner: this_module::<T::OwnerModule>().as_ptr(),
    };

    const INODE: bindings::inode_operations = bindings::inode_operations {
        setattr: Some(Self::setattr),
        ..pin_init::zeroed()
    };

    const FILE: bindings::file_operations = bindings::file_operations {
        owner: this_module::<T::OwnerModule>().as_ptr(),
        llseek: Some(bindings::generic_file_llseek),
        read_iter: if T::HAS_READ_FOLIO {
            Some(bindings::generic_file_read_iter)
        } else {
            None
        },
        write_iter: if T::HAS_WRITE_BEGIN {
            Some(bindings::generic_file_write_iter)
        } else {
            None
        },
        mmap_prepare: Some(bindings::generic_file_mmap_prepare),
        fsync: Some(bindings::simple_fsync_noflush),
        splice_read: if T::HAS_READ_FOLIO {
            Some(bindings::filemap_splice_read)
        } else {
            None
        },
        splice_write: if T::HAS_WRITE_BEGIN {
            Some(bindings::iter_file_splice_write)
        } else {
            None
        },
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `data` must be from [`ForeignOwnable::into_foreign`] of a `T::Data`, and be nobody else's.
    unsafe fn drop_data(data: *mut c_void) {
        // SAFETY: By the safety requirements.
        drop(unsafe { T::Data::from_foreign(data) });
    }

    /// # Safety
    ///
    /// `dentry` must be that of a [`CachedInode<T>`] whose `i_rwsem` is held, and `attr` valid.
    unsafe extern "C" fn setattr(
        idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        attr: *mut bindings::iattr,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        errno(unsafe {
            to_result(bindings::setattr_prepare(idmap, dentry, attr)).map(|()| {
                let inode = (*dentry).d_inode;
                if (*attr).ia_valid & bindings::ATTR_SIZE != 0 {
                    Self::truncate(inode, (*attr).ia_size);
                }
                bindings::setattr_copy(idmap, inode, attr);
                bindings::mark_inode_dirty(inode);
            })
        })
    }

    /// # Safety
    ///
    /// `inode` must be that of a [`CachedInode<T>`] whose `i_rwsem` is held, and `size` one that a
    /// file can have.
    unsafe fn truncate(inode: *mut bindings::inode, size: bindings::loff_t) {
        // SAFETY: By the safety requirements.
        unsafe {
            let mapping = (*inode).i_mapping;
            bindings::filemap_invalidate_lock(mapping);
            let shorter = size < bindings::i_size_read(inode);
            bindings::truncate_setsize(inode, size);
            if shorter {
                // CAST: It is not negative.
                T::truncated(Mapping::from_raw(mapping), size as u64);
            }
            bindings::filemap_invalidate_unlock(mapping);
        }
    }
}

/// The type of file system.
#[repr(transparent)]
struct Type(Opaque<bindings::file_system_type>);

// SAFETY: It has locks of its own.
unsafe impl Sync for Type {}

static TYPE: Type = Type(Opaque::new(bindings::file_system_type {
    name: as_char_ptr_in_const_context(c"rust_page_cache"),
    init_fs_context: Some(init_fs_context),
    kill_sb: Some(bindings::kill_anon_super),
    ..pin_init::zeroed()
}));

static SUPER: bindings::super_operations = bindings::super_operations {
    statfs: Some(bindings::simple_statfs),
    // Not kept when the last reference is gone: nobody finds them again.
    drop_inode: Some(bindings::inode_just_drop),
    evict_inode: Some(evict_inode),
    ..pin_init::zeroed()
};

/// # Safety
///
/// `fc` must be valid.
unsafe extern "C" fn init_fs_context(fc: *mut bindings::fs_context) -> c_int {
    // SAFETY: By the safety requirements.
    let context = unsafe { bindings::init_pseudo(fc, CacheFs::MAGIC) };
    if context.is_null() {
        return ENOMEM.to_errno();
    }
    // SAFETY: It was just allocated.
    unsafe { (*context).ops = &SUPER };
    0
}

/// # Safety
///
/// `inode` must be in a [`CacheFs`], and nobody else have it.
unsafe extern "C" fn evict_inode(inode: *mut bindings::inode) {
    // SAFETY: By the safety requirements.
    let data = unsafe {
        bindings::truncate_inode_pages_final(&raw mut (*inode).i_data);
        bindings::clear_inode(inode);
        (*inode).i_private
    };
    // `into_foreign` never returns null: this is the root.
    if data.is_null() {
        return;
    }
    // SAFETY: By the invariants of `CacheFs`, the inode was set up by `CacheFs::create`: its
    // operations are in a `WholeTable`, whose module we have a reference to. There are no folios,
    // no writeback, and no files any more; so nobody has borrowed the data. When the reference to
    // the module is put, this does not run in it: this is built in.
    unsafe {
        let table = crate::container_of!((*(*inode).i_mapping).a_ops, WholeTable, aops);
        let owner = (*table).owner;
        ((*table).drop_data)(data);
        bindings::module_put(owner);
    }
}
