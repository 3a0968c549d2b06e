// SPDX-License-Identifier: GPL-2.0

//! What the types of the Rust code forbid: small modules that must not compile,
//! and must but for one line.  They are compiled against the objects of the
//! patched kernel, whatever kernel is tested: a debug kernel has the same types.

use std::fs;
use std::time::Duration;

use anyhow::{bail, Result};

use crate::kernel::{self, Tree, Variant, Wanted};
use crate::lab::{key, write_whole, Lab};
use crate::selftests;
use crate::ui::Step;

/// Where the cases lie in a kernel tree, below the selftests.
const FOLDER: &str = "compile-fail";

/// The TAP of the cases, from the cache or made.
pub fn results(lab: &Lab, tree: &Tree) -> Result<String> {
    let wanted = Wanted::new(Variant::Patched);
    let folder = format!("{}/{FOLDER}", selftests::FOLDER);
    let cases = tree.changes(lab, |path| path.starts_with(&folder))?;
    if cases.is_empty() {
        bail!("{folder} has no cases");
    }
    let name = key([kernel::name(lab, tree, wanted)?.as_bytes(), &cases]);
    let dir = lab.cache.join("types").join(name);
    let memo = dir.join("results.tap");
    if !memo.is_file() {
        let _lock = lab.lock("kernel")?;
        if !memo.is_file() {
            let text = kernel::with_objects(lab, tree, wanted, |build| {
                let what = "compiling what must not compile";
                let step = Step::lasting(what, Duration::from_secs(60));
                let script = format!("/src/{folder}/run.sh");
                let (_, out, err) = build
                    .inside(["sh", &script, "/obj"])?
                    .args(kernel::MAKE)
                    .outcome(&[])?;
                step.done();
                Ok(String::from_utf8_lossy(&[out, err].concat()).into_owned())
            })?;
            fs::create_dir_all(&dir)?;
            write_whole(&memo, text.as_bytes())?;
        }
    }
    kernel::keep_recent(lab, "types", &dir);
    Ok(fs::read_to_string(&memo)?)
}
