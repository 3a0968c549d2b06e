// SPDX-License-Identifier: GPL-2.0

//! The model of the protocol, in tools/model: compiled and run in the build root.

use std::time::Duration;

use anyhow::Result;

use crate::chroot::Inside;
use crate::lab::Lab;
use crate::ui::Step;

/// Where the crate lies.
pub const FOLDER: &str = "tools/model";

/// The TAP of its checks; what cargo said instead, if it does not compile.
pub fn results(lab: &Lab) -> Result<String> {
    let step = Step::lasting(
        "going through what threads can do to each other",
        Duration::from_secs(90),
    );
    let line = ["run", "--release", "--locked", "--quiet"];
    let (_, out, err) = Inside::cargo(lab, FOLDER, "model", line).outcome(&[])?;
    step.done();
    Ok(String::from_utf8_lossy(&[out, err].concat()).into_owned())
}
