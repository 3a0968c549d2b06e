// SPDX-License-Identifier: GPL-2.0

//! Every file of the repository says under which licence it is.

use std::path::Path;
use std::process::Command;

/// Near the top, where checkpatch looks for it; Cargo.lock keeps it in its third.
#[test]
fn files_have_their_line() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let listed = Command::new("git")
        .args(["-c", "safe.directory=*", "-C"])
        .arg(&top)
        .args(["ls-files", "-z"])
        .output()
        .expect("git");
    assert!(listed.status.success(), "{listed:?}");
    let names = String::from_utf8(listed.stdout).expect("names");
    let mut count = 0;
    for name in names.split_terminator('\0') {
        // What was removed and not yet committed is listed, too.
        let path = top.join(name);
        if !path.exists() {
            continue;
        }
        count += 1;
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(
            text.lines()
                .take(3)
                .any(|line| line.contains("SPDX-License-Identifier: GPL-2.0")),
            "{name}"
        );
    }
    assert!(count > 80, "{names}");
}
