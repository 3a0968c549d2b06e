// SPDX-License-Identifier: GPL-2.0

//! The kernel's interface: the structures and the number of include/uapi/linux/cachemap.h,
//! and the loop that asks until all of a file is known.

use std::fmt;
use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

/// Of a home: other files may have it, too.
pub const CACHEMAP_SHARED: u32 = 1 << 0;
/// Not yet written to the disk.
pub const CACHEMAP_DIRTY: u32 = 1 << 1;
/// Being written to the disk now.
pub const CACHEMAP_WRITEBACK: u32 = 1 << 2;
/// Memory of the device itself, which takes no page cache.
pub const CACHEMAP_DAX: u32 = 1 << 3;

/// `struct cachemap_run`: pages of a file that are in memory, one after the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CachemapRun {
    /// First byte in the file, a multiple of the page size.
    pub offset: u64,
    /// Bytes, a multiple of the page size.
    pub length: u64,
    /// With [`CACHEMAP_SHARED`]: which memory, in pages; page n of the run has `id + n`.
    pub id: u64,
    /// `CACHEMAP_*`.
    pub flags: u32,
    /// With [`CACHEMAP_SHARED`]: how many pages of files name each page of this memory, on
    /// average, rounded up.
    pub sharers: u32,
}

/// `struct cachemap`: the question, and where to go on with the next one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cachemap {
    /// In: first byte.  Out: where to go on.
    pub start: u64,
    /// In: bytes from there on.  Out: what is left of them, 0 when done.
    pub length: u64,
    /// In: address of room for runs.
    pub runs: u64,
    /// In: how many there is room for.  Out: how many there are.
    pub nr_runs: u32,
    /// 0.
    pub flags: u32,
    /// 0.
    pub reserved: [u64; 2],
}

/// The magic and the number of `FS_IOC_CACHEMAP`.
const MAGIC: u8 = 0x15;
const NUMBER: u8 = 3;

nix::ioctl_readwrite!(fs_ioc_cachemap, MAGIC, NUMBER, Cachemap);

/// Runs that are asked for at once: 128 KiB of them.
const ROOM: usize = 4096;

/// Why the runs of a file are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// What the kernel said.
    Errno(Errno),
    /// The kernel said to go on, but not from a later byte.
    Stuck(u64),
    /// The kernel said that it gave more runs than there was room for.
    TooMany(u32),
}

impl Failure {
    /// Is it that the kernel does not know the question at all?
    pub fn is_unsupported(self) -> bool {
        self == Failure::Errno(Errno::ENOTTY)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Errno(Errno::ENOTTY) => to.write_str(
                "this kernel cannot tell (no FS_IOC_CACHEMAP): it is not built with \
                 CONFIG_PAGE_CACHE_SHARE, or it is too old",
            ),
            Failure::Errno(Errno::EPERM) => to.write_str(
                "not permitted: only the owner of a file, or who may write to it, is told what of \
                 it is in memory, as with mincore(2)",
            ),
            Failure::Errno(Errno::EOPNOTSUPP) => {
                to.write_str("not supported: not a file with a page cache that can be looked at")
            }
            Failure::Errno(Errno::EINVAL) => {
                to.write_str("the kernel did not understand the question (EINVAL)")
            }
            Failure::Errno(errno) => write!(to, "{} ({errno:?})", errno.desc()),
            Failure::Stuck(at) => {
                write!(to, "the kernel's answer does not go on from byte {at}")
            }
            Failure::TooMany(count) => {
                write!(
                    to,
                    "the kernel's answer has {count} runs, more than asked for"
                )
            }
        }
    }
}

impl std::error::Error for Failure {}

/// Who knows what of a file is in memory: the kernel, or a test.
pub trait Source {
    /// The runs of a file, as they were told: in any order, maybe overlapping.
    fn runs(&mut self, file: &File) -> Result<Vec<CachemapRun>, Failure>;
}

/// The kernel of this machine.
pub struct Kernel {
    room: Vec<CachemapRun>,
}

impl Kernel {
    /// With room for the answers.
    pub fn new() -> Self {
        Kernel {
            room: vec![CachemapRun::default(); ROOM],
        }
    }
}

impl Source for Kernel {
    fn runs(&mut self, file: &File) -> Result<Vec<CachemapRun>, Failure> {
        ask_all(&mut self.room, |request, room| {
            request.runs = room.as_mut_ptr() as u64;
            // SAFETY: the file is open; the kernel writes to the request, and at most nr_runs runs
            // to the room, which has place for as many (see ask_all()) and is borrowed mutably.
            unsafe { fs_ioc_cachemap(file.as_raw_fd(), request) }.map(|_| ())
        })
    }
}

/// Asks until nothing is left of the file.
///
/// `ask` is the system call.  Every call has to get further than the one before, or an odd kernel
/// would keep the program for ever.
fn ask_all(
    room: &mut [CachemapRun],
    mut ask: impl FnMut(&mut Cachemap, &mut [CachemapRun]) -> nix::Result<()>,
) -> Result<Vec<CachemapRun>, Failure> {
    let mut all = Vec::new();
    let mut start = 0;
    let mut length = u64::MAX;
    while length > 0 {
        let mut request = Cachemap {
            start,
            length,
            nr_runs: u32::try_from(room.len()).unwrap_or(u32::MAX),
            ..Cachemap::default()
        };
        match ask(&mut request, room) {
            Ok(()) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(Failure::Errno(errno)),
        }
        let told = room
            .get(..request.nr_runs as usize)
            .ok_or(Failure::TooMany(request.nr_runs))?;
        all.extend_from_slice(told);
        if request.length > 0 && request.start <= start {
            return Err(Failure::Stuck(start));
        }
        start = request.start;
        length = request.length.min(u64::MAX - start);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    /// The layout and the number are those of the C header, or the kernel would write elsewhere.
    #[test]
    fn is_what_the_header_says() {
        assert_eq!(size_of::<CachemapRun>(), 32);
        assert_eq!(offset_of!(CachemapRun, id), 16);
        assert_eq!(offset_of!(CachemapRun, flags), 24);
        assert_eq!(offset_of!(CachemapRun, sharers), 28);
        assert_eq!(size_of::<Cachemap>(), 48);
        assert_eq!(offset_of!(Cachemap, runs), 16);
        assert_eq!(offset_of!(Cachemap, nr_runs), 24);
        assert_eq!(offset_of!(Cachemap, flags), 28);
        assert_eq!(offset_of!(Cachemap, reserved), 32);
        let number = nix::request_code_readwrite!(MAGIC, NUMBER, size_of::<Cachemap>());
        // A few architectures (MIPS, PowerPC, SPARC) put the direction elsewhere.
        if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            assert_eq!(number, 0xc030_1503);
        }
    }

    fn run(offset: u64) -> CachemapRun {
        CachemapRun {
            offset,
            length: 4096,
            ..CachemapRun::default()
        }
    }

    /// All answers are put together, also those without runs; the room is what is asked with.
    #[test]
    fn goes_on_until_done() {
        let mut calls = 0;
        let mut room = [CachemapRun::default(); 2];
        let all = ask_all(&mut room, |request, room| {
            assert_eq!(request.nr_runs, 2);
            assert_eq!((request.flags, request.reserved), (0, [0, 0]));
            assert_eq!(request.length, u64::MAX - request.start);
            calls += 1;
            match calls {
                1 => {
                    assert_eq!(request.start, 0);
                    room.copy_from_slice(&[run(0), run(8192)]);
                    request.start = 12288;
                }
                2 => return Err(Errno::EINTR),
                3 => {
                    assert_eq!(request.start, 12288);
                    request.start = 1 << 20;
                    request.nr_runs = 0;
                }
                _ => {
                    room[0] = run(1 << 20);
                    request.nr_runs = 1;
                    request.start = u64::MAX;
                }
            }
            request.length = u64::MAX - request.start;
            Ok(())
        });
        assert_eq!(all, Ok(vec![run(0), run(8192), run(1 << 20)]));
        assert_eq!(calls, 4);
    }

    /// A kernel that never comes to an end, or counts wrongly, is an error and no endless loop.
    #[test]
    fn odd_kernels_are_errors() {
        let mut room = [CachemapRun::default(); 2];
        let stays = ask_all(&mut room, |request, _| {
            request.nr_runs = 0;
            Ok(())
        });
        assert_eq!(stays, Err(Failure::Stuck(0)));
        let mut at = [4096, 8192, 4096].into_iter();
        let goes_back = ask_all(&mut room, |request, _| {
            request.start = at.next().unwrap();
            request.nr_runs = 0;
            Ok(())
        });
        assert_eq!(goes_back, Err(Failure::Stuck(8192)));
        let counts = ask_all(&mut room, |request, _| {
            request.nr_runs = 3;
            request.length = 0;
            Ok(())
        });
        assert_eq!(counts, Err(Failure::TooMany(3)));
    }

    /// Who reads the error knows what to do.
    #[test]
    fn errors_are_plain() {
        let said = |errno| {
            let mut room = [CachemapRun::default(); 1];
            let error = ask_all(&mut room, |_, _| Err(errno)).unwrap_err();
            (error.to_string(), error.is_unsupported())
        };
        let (text, unsupported) = said(Errno::ENOTTY);
        assert!(text.contains("CONFIG_PAGE_CACHE_SHARE") && text.contains("too old"));
        assert!(unsupported);
        let (text, unsupported) = said(Errno::EPERM);
        assert!(text.contains("mincore(2)") && !unsupported);
        assert!(said(Errno::EOPNOTSUPP).0.contains("page cache"));
        assert!(said(Errno::EINVAL).0.contains("EINVAL"));
        assert_eq!(said(Errno::EIO).0, "I/O error (EIO)");
    }
}
