// SPDX-License-Identifier: GPL-2.0

//! Exit statuses and the error type that carries one.  Every error without a
//! status of its own ends the lab with [`USAGE`]: the request could not be
//! carried out, and nothing was measured or tested.

use std::fmt;

/// A measurement or a test came out wrong.
pub const FAILED: i32 = 1;
/// Wrong arguments, or something that the lab needs is not there.
pub const USAGE: i32 = 2;
/// The guest's kernel reported a bug: panic, oops, WARNING, lockdep, KASAN.
pub const REPORT: i32 = 123;
/// The time limit passed (as timeout(1) says it).
pub const TIMEOUT: i32 = 124;
/// The guest ended before its job did.
pub const GUEST_DIED: i32 = 125;

/// An error that ends the lab with a status other than [`USAGE`].
#[derive(Debug)]
pub struct Exit {
    /// The exit status.
    pub status: i32,
    message: String,
}

impl Exit {
    /// An error that says `message` and ends with `status`.
    pub fn error(status: i32, message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Exit {
            status,
            message: message.into(),
        })
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Exit {}

/// The status that `error` asks for.
pub fn status_of(error: &anyhow::Error) -> i32 {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Exit>())
        .map_or(USAGE, |exit| exit.status)
}
