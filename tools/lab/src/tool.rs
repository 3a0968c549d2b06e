// SPDX-License-Identifier: GPL-2.0

//! The tool that shows what is shared, tools/mm/cachemap: compiled in the build
//! root, so that it runs in the guest, which is made of the same packages.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::chroot::Inside;
use crate::lab::Lab;
use crate::ui::Step;

/// Where the crate lies.
pub const FOLDER: &str = "tools/mm/cachemap";
/// Its name, and that of the guest's script that tries it.
pub const NAME: &str = "cachemap";

/// The program; what cargo said instead, if it does not compile.
pub fn build(lab: &Lab) -> Result<Result<PathBuf, String>> {
    let step = Step::lasting(format!("compiling {FOLDER}"), Duration::from_secs(60));
    let line = ["build", "--release", "--locked", "--quiet"];
    let (status, out, err) = Inside::cargo(lab, FOLDER, "tool", line).outcome(&[])?;
    step.done();
    Ok(match status {
        Some(0) => Ok(lab.cache.join("lab/tool/release").join(NAME)),
        _ => Err(String::from_utf8_lossy(&[out, err].concat()).into_owned()),
    })
}
