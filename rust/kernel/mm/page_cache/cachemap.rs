// SPDX-License-Identifier: GPL-2.0

//! Telling user space which pages of a file are in memory, and whose they are: `FS_IOC_CACHEMAP`.
//!
//! C header: [`include/uapi/linux/cachemap.h`](srctree/include/uapi/linux/cachemap.h)

use crate::{
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_void, //
    },
    page::PAGE_SHIFT,
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice,
        UserSliceWriter, //
    }, //
};
use core::mem::size_of;

/// How many entries of `i_pages` are looked at in one call: some milliseconds of work.
const LOOK: usize = 1 << 16;

/// How many of these in one RCU read-side critical section.
const LOOK_AT_ONCE: usize = 1 << 10;

/// What is asked, and the answer but for the runs.
#[repr(transparent)]
struct Request(bindings::cachemap);

// SAFETY: It is made of integers, for which all values are good.
unsafe impl FromBytes for Request {}
// SAFETY: It is made of integers, and there is nothing between them.
unsafe impl AsBytes for Request {}

/// Pages of the file that are in memory and alike.
#[repr(transparent)]
struct Run(bindings::cachemap_run);

// SAFETY: It is made of integers, and there is nothing between them.
unsafe impl AsBytes for Run {}

impl Run {
    /// The part of `found` that is not outside of the pages from `first` to `last`.
    fn new(found: &bindings::page_cache_found, first: usize, last: usize) -> Self {
        let first = found.first.max(first);
        let last = found.last.min(last);
        let id = match found.flags & bindings::CACHEMAP_SHARED {
            0 => 0,
            _ => found.id.wrapping_add((first - found.first) as u64),
        };
        Self(bindings::cachemap_run {
            offset: (first as u64) << PAGE_SHIFT,
            length: ((last - first + 1) as u64) << PAGE_SHIFT,
            id,
            flags: found.flags,
            sharers: found.sharers,
        })
    }

    /// Takes in what follows, if it is of the same kind.
    fn join(&mut self, next: &Self) -> bool {
        let shared = self.0.flags & bindings::CACHEMAP_SHARED != 0;
        let follows = self.0.offset + self.0.length == next.0.offset
            && self.0.flags == next.0.flags
            && self.0.sharers == next.0.sharers
            && (!shared || self.0.id.wrapping_add(self.0.length >> PAGE_SHIFT) == next.0.id);
        if follows {
            self.0.length += next.0.length;
        }
        follows
    }
}

/// The runs of a call, on their way to user space.
struct Runs<W> {
    write: W,
    /// How many there is room for.
    room: u32,
    /// How many were begun, with `last`.
    begun: u32,
    /// The one that more may follow.
    last: Option<Run>,
}

impl<W: FnMut(&Run) -> Result> Runs<W> {
    fn new(room: u32, write: W) -> Self {
        Self {
            write,
            room,
            begun: 0,
            last: None,
        }
    }

    /// Adds pages. Says `false` if there is no room for them.
    fn push(&mut self, run: Run) -> Result<bool> {
        if self.last.as_mut().is_some_and(|last| last.join(&run)) {
            return Ok(true);
        }
        if self.begun == self.room {
            return Ok(false);
        }
        self.begun += 1;
        match self.last.replace(run) {
            Some(done) => (self.write)(&done).map(|()| true),
            None => Ok(true),
        }
    }

    /// Writes out what is left, and says how many there are.
    fn finish(mut self) -> Result<u32> {
        if let Some(done) = self.last.take() {
            (self.write)(&done)?;
        }
        Ok(self.begun)
    }
}

/// Answers a request, but for the number of runs, which is returned.
///
/// # Safety
///
/// `mapping` must be that of a file that the caller has open.
unsafe fn answer(
    mapping: *mut bindings::address_space,
    request: &mut bindings::cachemap,
    end: u64,
    runs: &mut UserSliceWriter,
) -> Result<u32> {
    let mut runs = Runs::new(request.nr_runs, |run: &Run| runs.write(run));
    let mut index = (request.start >> PAGE_SHIFT) as usize;
    let last = (end.saturating_sub(1) >> PAGE_SHIFT) as usize;
    let mut look = LOOK;

    while index <= last && request.start < end && look > 0 {
        let first = index;
        let some = look.min(LOOK_AT_ONCE);
        let mut left = some;
        let mut found = bindings::page_cache_found::default();
        // SAFETY: By the safety requirements; the rest are local variables. We may sleep.
        let any = unsafe {
            bindings::cond_resched();
            bindings::page_cache_next_found(mapping, &mut index, last, &mut left, &mut found)
        };
        look -= some - left;
        if any && !runs.push(Run::new(&found, first, last))? {
            index = found.first.max(first);
            break;
        }
    }

    let next = ((index as u64) << PAGE_SHIFT).max(request.start);
    request.start = if index <= last { next } else { end };
    request.length = end - request.start;
    runs.finish()
}

/// Does what `FS_IOC_CACHEMAP` is for. It may sleep.
///
/// Returns 0, or a negative error: `-ENOTTY` for what is not a regular file, `-EOPNOTSUPP` for
/// hugetlbfs, `-EPERM`, `-EINVAL`, `-EFAULT`.
///
/// # Safety
///
/// `file` must be an open file that the caller has a reference to.
#[export]
unsafe extern "C" fn page_cache_map(file: *mut bindings::file, arg: *mut c_void) -> c_int {
    // SAFETY: By the safety requirements.
    match unsafe { map(file, UserPtr::from_ptr(arg)) } {
        Ok(()) => 0,
        Err(err) => err.to_errno(),
    }
}

/// # Safety
///
/// As for [`page_cache_map`].
unsafe fn map(file: *mut bindings::file, arg: UserPtr) -> Result {
    // SAFETY: By the safety requirements.
    to_result(unsafe { bindings::page_cache_may_tell(file) })?;

    let (mut reader, mut writer) = UserSlice::new(arg, size_of::<Request>()).reader_writer();
    let mut request: Request = reader.read()?;
    let asked = &mut request.0;
    if asked.flags != 0 || asked.reserved != [0; 2] || asked.nr_runs == 0 {
        return Err(EINVAL);
    }
    let end = asked.start.checked_add(asked.length).ok_or(EINVAL)?;
    let room = asked.nr_runs as usize * size_of::<Run>();
    let mut runs = UserSlice::new(UserPtr::from_addr(asked.runs as usize), room).writer();

    // SAFETY: By the safety requirements; an open file has a mapping, which stays.
    asked.nr_runs = unsafe { answer((*file).f_mapping, asked, end, &mut runs) }?;
    writer.write(&request)
}

#[cfg(CONFIG_RUST_PAGE_CACHE_KUNIT_TEST)]
#[kunit_tests(rust_page_cache_cachemap)]
mod tests {
    use super::*;

    fn found(first: usize, last: usize, id: u64, flags: u32) -> bindings::page_cache_found {
        bindings::page_cache_found {
            first,
            last,
            id,
            flags,
            sharers: u32::from(id != 0) * 2,
        }
    }

    /// What is told begins and ends where it was asked for, and names the right memory.
    #[test]
    fn runs_are_cut_to_what_was_asked() {
        let shared = bindings::CACHEMAP_SHARED;
        let run = Run::new(&found(8, 15, 100, shared), 10, 12).0;
        assert_eq!(run.offset, 10 << PAGE_SHIFT);
        assert_eq!(run.length, 3 << PAGE_SHIFT);
        assert_eq!(run.id, 102);
        // The memory of the file's own has no name.
        assert_eq!(Run::new(&found(8, 15, 0, 0), 10, 12).0.id, 0);
    }

    /// Only what is alike and adjacent, in the file and in memory, is one run.
    #[test]
    fn runs_join_if_they_are_alike() -> Result {
        let shared = bindings::CACHEMAP_SHARED;
        let mut lengths = KVec::new();
        let mut runs = Runs::new(8, |run: &Run| {
            lengths.push(run.0.length >> PAGE_SHIFT, GFP_KERNEL)?;
            Ok(())
        });
        for (first, last, id, flags) in [
            (0, 3, 100, shared),
            (4, 4, 104, shared),
            // Other memory.
            (5, 5, 300, shared),
            // Not shared, twice.
            (6, 6, 0, 0),
            (7, 9, 0, 0),
            // A hole before it.
            (11, 11, 0, 0),
            // Dirty.
            (12, 12, 0, bindings::CACHEMAP_DIRTY),
        ] {
            assert!(runs.push(Run::new(&found(first, last, id, flags), 0, usize::MAX))?);
        }
        assert_eq!(runs.finish()?, 5);
        assert_eq!(&lengths[..], &[5, 1, 4, 1, 1]);
        Ok(())
    }

    /// No more is written than there is room for; what still fits in is taken.
    #[test]
    fn runs_end_where_the_room_does() -> Result {
        let mut written = 0;
        let mut runs = Runs::new(1, |_: &Run| {
            written += 1;
            Ok(())
        });
        assert!(runs.push(Run::new(&found(0, 0, 0, 0), 0, 9))?);
        assert!(runs.push(Run::new(&found(1, 1, 0, 0), 0, 9))?);
        assert!(!runs.push(Run::new(&found(3, 3, 0, 0), 0, 9))?);
        assert_eq!(runs.finish()?, 1);
        assert_eq!(written, 1);
        Ok(())
    }
}
