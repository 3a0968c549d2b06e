// SPDX-License-Identifier: GPL-2.0

//! Rust page cache sample: files whose data is read into the page cache, and written back from it,
//! by Rust.
//!
//! An ioctl of `/dev/rust-page-cache` makes a file and returns its descriptor. The file is kept in
//! memory, of which there is a limit; but as far as the page cache can tell, that might be a disk:
//! what was dropped is read again, and what is dirty is written.
//!
//! Why an ioctl and a file of its own, and not `open(2)` and the device's: the descriptor is that
//! of a regular file, so that all that can be done with one can be done with it, `ftruncate(2)`,
//! `lseek(2)`, `readahead(2)` and `sync_file_range(2)` among it, which character devices have not;
//! and it takes no file operations in Rust. Each file has data of its own, which goes when the last
//! descriptor and mapping of it are gone.
//!
//! Below is an example userspace C program that exercises this sample's functionality.
//!
//! ```c
//! #include <fcntl.h>
//! #include <stdint.h>
//! #include <stdio.h>
//! #include <sys/ioctl.h>
//! #include <unistd.h>
//!
//! #define RUST_PAGE_CACHE_CREATE _IOW('|', 0x90, uint64_t)
//!
//! int main(void)
//! {
//!   uint64_t size = 1 << 20;
//!   char word[6] = "";
//!   int dev = open("/dev/rust-page-cache", O_RDWR);
//!   int fd = ioctl(dev, RUST_PAGE_CACHE_CREATE, &size);
//!
//!   if (fd < 0)
//!     return 1;
//!   pwrite(fd, "hello", 5, 4094);
//!   fsync(fd);
//!   posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
//!   pread(fd, word, 5, 4094);
//!   puts(word);
//!   return 0;
//! }
//! ```

use kernel::{
    fs::{
        file::{
            flags,
            FileDescriptorReservation, //
        },
        File,
        LocalFile, //
    },
    ioctl::{
        _IOR,
        _IOW, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    mm::page_cache::{
        io::Fill,
        AddressSpaceOperations,
        CacheFs,
        CachedFile,
        FinishedWrite,
        Locked,
        Mapping,
        ReadFolio,
        Readahead,
        WriteFolio,
        WriteRequest,
        WritebackControl, //
    },
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Mutex, //
    },
    uaccess::UserSlice, //
};

/// Makes a file of so many bytes, all zero, and returns a descriptor for it.
const RUST_PAGE_CACHE_CREATE: u32 = _IOW::<u64>('|' as u32, 0x90);

/// Returns how many pages are in use, and how many were read and written since the module was
/// loaded.
const RUST_PAGE_CACHE_STATS: u32 = _IOR::<[u64; 3]>('|' as u32, 0x91);

/// How much memory all files can have, in pages: 64 MiB, where a page has 4 KiB.
const MAX_PAGES: usize = 16384;

static USED: Atomic<usize> = Atomic::new(0);
static READS: Atomic<usize> = Atomic::new(0);
static WRITES: Atomic<usize> = Atomic::new(0);

module! {
    type: RustPageCacheModule,
    name: "rust_page_cache",
    description: "Rust page cache sample",
    license: "GPL",
}

#[pin_data]
struct RustPageCacheModule {
    #[pin]
    _miscdev: MiscDeviceRegistration<Device>,
}

impl kernel::InPlaceModule for RustPageCacheModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pr_info!("Rust page cache sample\n");

        let options = MiscDeviceOptions {
            name: c"rust-page-cache",
        };

        try_pin_init!(Self {
            _miscdev <- MiscDeviceRegistration::register(options),
        })
    }
}

/// A page of a file. It counts for the limit for as long as it exists.
struct Page(KVec<u8>);

impl Page {
    /// Fails with [`ENOSPC`] at the limit.
    fn new() -> Result<Self> {
        if USED.fetch_add(1, Relaxed) >= MAX_PAGES {
            USED.fetch_sub(1, Relaxed);
            return Err(ENOSPC);
        }
        // From here on, dropping it takes it off again.
        let mut page = Self(KVec::new());
        page.0.resize(PAGE_SIZE, 0, GFP_KERNEL)?;
        Ok(page)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        USED.fetch_sub(1, Relaxed);
    }
}

/// Where the data of a file is kept.
///
/// The mutex is taken with folios locked, so nothing is allocated with it held: for memory one may
/// have to wait for a folio.
#[pin_data]
struct Store {
    /// By their number in the file. Those that are not there are zero.
    #[pin]
    pages: Mutex<RBTree<usize, Page>>,
}

impl Store {
    fn new() -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(Self {
                pages <- new_mutex!(RBTree::new()),
            }),
            GFP_KERNEL,
        )
    }

    /// Makes room for the page, if there is none yet.
    fn reserve(&self, index: usize) -> Result {
        if self.pages.lock().get(&index).is_some() {
            return Ok(());
        }
        let node = RBTreeNode::new(index, Page::new()?, GFP_KERNEL)?;
        let mut pages = self.pages.lock();
        // Somebody else may have been faster.
        let unused = if pages.get(&index).is_none() {
            pages.insert(node)
        } else {
            Some(node)
        };
        drop(pages);
        drop(unused);
        Ok(())
    }

    /// Reads all pages of a folio that begins at `index`.
    fn read(&self, index: usize, fill: &mut Fill<'_>) {
        READS.fetch_add(1, Relaxed);
        let pages = self.pages.lock();
        for index in index..index + fill.remaining() / PAGE_SIZE {
            match pages.get(&index) {
                Some(page) => fill.push(&page.0),
                None => fill.push_zeroes(PAGE_SIZE),
            };
        }
    }

    /// Writes all pages of a folio.
    fn write(&self, folio: &Locked) -> Result {
        WRITES.fetch_add(1, Relaxed);
        for i in 0..folio.nr_pages() {
            let index = folio.index() + i;
            // There is room already, unless it was written through a mapping.
            self.reserve(index)?;
            if let Some(page) = self.pages.lock().get_mut(&index) {
                folio.copy_to_slice(i * PAGE_SIZE, &mut page.0)?;
            }
        }
        Ok(())
    }

    /// Forgets what is beyond `size` bytes.
    fn truncate(&self, size: u64) {
        let first = size.div_ceil(PAGE_SIZE as u64) as usize;
        let mut pages = self.pages.lock();
        // The cursor that is left may have gone back, to one that stays.
        while let Some(cursor) = pages.cursor_lower_bound_mut(&first) {
            cursor.remove_current();
        }
        let tail = (size % PAGE_SIZE as u64) as usize;
        if tail != 0 {
            if let Some(page) = pages.get_mut(&(first - 1)) {
                page.0[tail..].fill(0);
            }
        }
    }
}

#[vtable]
impl AddressSpaceOperations for Store {
    type Data = Pin<KBox<Self>>;

    fn read_folio(
        mapping: &Mapping<Self>,
        _file: Option<&LocalFile>,
        mut folio: ReadFolio,
    ) -> Result {
        let index = folio.index();
        mapping.data().read(index, &mut folio.fill());
        folio.complete();
        Ok(())
    }

    fn readahead(mapping: &Mapping<Self>, folios: Readahead<'_>) {
        for mut folio in folios {
            let index = folio.index();
            mapping.data().read(index, &mut folio.fill());
            folio.complete();
        }
    }

    fn writepages(mapping: &Mapping<Self>, control: &mut WritebackControl<'_>) -> Result {
        control.for_each(|folio| {
            let written = mapping.data().write(&folio);
            // Here is where a real store would go on without us, and complete it some time later.
            let writeback = folio.start();
            match written {
                Ok(()) => writeback.complete(),
                Err(error) => writeback.fail(error),
            }
            Ok(())
        })
    }

    fn write_begin<'a>(
        mapping: &'a Mapping<Self>,
        request: WriteRequest<'a>,
    ) -> Result<WriteFolio<'a>> {
        let mut folio = request.folio()?;
        let index = folio.index();
        // Who writes is told that there is no room, while there is somebody to be told.
        for index in index..index + folio.nr_pages() {
            mapping.data().reserve(index)?;
        }
        folio.read_around(|fill| {
            mapping.data().read(index, fill);
            Ok(())
        })?;
        Ok(folio)
    }

    fn write_end(_mapping: &Mapping<Self>, write: FinishedWrite<'_>) -> Result<usize> {
        Ok(write.commit())
    }
}

impl CachedFile for Store {
    fn truncated(mapping: &Mapping<Self>, size: u64) {
        mapping.data().truncate(size);
    }
}

/// The device, as opened by somebody. The files that are made with it go on without it.
struct Device {
    fs: CacheFs,
}

impl Device {
    fn create(&self, size: u64) -> Result<isize> {
        let inode = self.fs.create::<Store>(Store::new()?)?;
        inode.set_size(size)?;
        let file = inode.open(c"rust-page-cache", flags::O_RDWR)?;
        let fd = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
        let number = fd.reserved_fd();
        fd.fd_install(file);
        Ok(number as isize)
    }
}

#[vtable]
impl MiscDevice for Device {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        Ok(KBox::new(
            Self {
                fs: CacheFs::new()?,
            },
            GFP_KERNEL,
        )?)
    }

    fn ioctl(me: &Self, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let arg = UserPtr::from_addr(arg);
        match cmd {
            RUST_PAGE_CACHE_CREATE => {
                let size = UserSlice::new(arg, size_of::<u64>()).reader().read()?;
                me.create(size)
            }
            RUST_PAGE_CACHE_STATS => {
                let mut writer = UserSlice::new(arg, size_of::<[u64; 3]>()).writer();
                for number in [&USED, &READS, &WRITES] {
                    writer.write(&(number.load(Relaxed) as u64))?;
                }
                Ok(0)
            }
            _ => Err(ENOTTY),
        }
    }
}
