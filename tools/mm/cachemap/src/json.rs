// SPDX-License-Identifier: GPL-2.0

//! The output for programs.  `cachemap --help` says what the fields are; their names stay.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::cachemap::{CACHEMAP_DAX, CACHEMAP_DIRTY, CACHEMAP_SHARED, CACHEMAP_WRITEBACK};
use crate::files::{Found, Trouble};
use crate::report::Report;
use crate::run::Run;
use crate::share::Shares;

#[derive(Serialize)]
struct All {
    files: Vec<OneFile>,
    total: Total,
    errors: Vec<OneError>,
}

/// A path; JSON has no others than Unicode, so of others it has the bytes, too.
#[derive(Serialize)]
struct Name {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<Vec<u8>>,
}

impl Name {
    fn of(path: &Path) -> Self {
        Name {
            path: path.to_string_lossy().into_owned(),
            path_bytes: match path.to_str() {
                Some(_) => None,
                None => Some(path.as_os_str().as_bytes().to_vec()),
            },
        }
    }
}

#[derive(Serialize)]
struct OneFile {
    #[serde(flatten)]
    name: Name,
    dev: u64,
    ino: u64,
    size: u64,
    resident: u64,
    shared: u64,
    private: u64,
    dirty: u64,
    writeback: u64,
    dax: u64,
    alone: u64,
    itself: u64,
    saved: u64,
    others: bool,
    shared_with: Vec<With>,
    shared_with_more: u64,
    shared_with_exact: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<Vec<OneRun>>,
}

#[derive(Serialize)]
struct With {
    #[serde(flatten)]
    name: Name,
    bytes: u64,
}

#[derive(Serialize)]
struct OneRun {
    offset: u64,
    length: u64,
    shared: bool,
    dirty: bool,
    writeback: bool,
    dax: bool,
    id: Option<u64>,
    sharers: Option<u32>,
}

#[derive(Serialize)]
struct Total {
    files: u64,
    size: u64,
    resident_sum: u64,
    memory: u64,
    saved: u64,
    shared: u64,
    shared_memory: u64,
    private: u64,
    dirty: u64,
    writeback: u64,
    dax: u64,
}

#[derive(Serialize)]
struct OneError {
    #[serde(flatten)]
    name: Name,
    reason: String,
}

/// Writes one object, with the runs of each file if they are asked for (and were kept).
pub fn write(report: &Report, runs: bool, to: &mut dyn Write) -> Result<()> {
    let file = |(found, shares)| one_file(report, found, shares, runs);
    let error = |trouble: &Trouble| OneError {
        name: Name::of(&trouble.path),
        reason: trouble.reason.clone(),
    };
    let all = All {
        files: report.shown().map(file).collect(),
        total: total(report),
        errors: report.troubles.iter().map(error).collect(),
    };
    serde_json::to_writer_pretty(&mut *to, &all)?;
    writeln!(to)?;
    Ok(())
}

fn total(report: &Report) -> Total {
    let total = &report.total;
    Total {
        files: total.files,
        size: total.size,
        resident_sum: report.bytes(total.counts.resident),
        memory: report.bytes(total.memory()),
        saved: report.bytes(total.saved()),
        shared: report.bytes(total.counts.shared),
        shared_memory: report.bytes(total.shared_memory),
        private: report.bytes(total.counts.private),
        dirty: report.bytes(total.counts.dirty),
        writeback: report.bytes(total.counts.writeback),
        dax: report.bytes(total.counts.dax),
    }
}

fn one_file(report: &Report, found: &Found, shares: &Shares, runs: bool) -> OneFile {
    let bytes = |pages| report.bytes(pages);
    let with = |partner: &crate::share::Partner| With {
        name: Name::of(&report.files[partner.file].path),
        bytes: bytes(partner.pages),
    };
    let counts = &found.counts;
    OneFile {
        name: Name::of(&found.path),
        dev: found.dev,
        ino: found.ino,
        size: found.size,
        resident: bytes(counts.resident),
        shared: bytes(counts.shared),
        private: bytes(counts.private),
        dirty: bytes(counts.dirty),
        writeback: bytes(counts.writeback),
        dax: bytes(counts.dax),
        alone: bytes(shares.alone),
        itself: bytes(shares.itself),
        saved: report.about_bytes(shares.saved),
        others: shares.others,
        shared_with: shares.partners.iter().map(with).collect(),
        shared_with_more: shares.more,
        shared_with_exact: !shares.at_least,
        runs: runs.then(|| found.runs.iter().map(|run| one_run(report, run)).collect()),
    }
}

fn one_run(report: &Report, run: &Run) -> OneRun {
    let shared = run.flags & CACHEMAP_SHARED != 0;
    OneRun {
        offset: report.bytes(run.first),
        length: report.bytes(run.pages),
        shared,
        dirty: run.flags & CACHEMAP_DIRTY != 0,
        writeback: run.flags & CACHEMAP_WRITEBACK != 0,
        dax: run.flags & CACHEMAP_DAX != 0,
        id: shared.then_some(run.id),
        sharers: shared.then_some(run.sharers),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use serde_json::{json, Value};

    use super::*;
    use crate::report::tests::report;
    use crate::report::Sort;

    fn written(report: &Report, runs: bool) -> Value {
        let mut text = Vec::new();
        write(report, runs, &mut text).unwrap();
        assert!(text.ends_with(b"}\n"));
        serde_json::from_slice(&text).unwrap()
    }

    /// The fields that --help documents, no others, with sizes in bytes.
    #[test]
    fn shape() {
        let all = written(&report(Sort::Path, None), false);
        assert_eq!(all["files"].as_array().unwrap().len(), 5);
        assert_eq!(
            all["files"][4],
            json!({
                "path": "/c/two", "dev": 7, "ino": 2, "size": 409_600,
                "resident": 286_720, "shared": 245_760, "private": 40_960,
                "dirty": 40_960, "writeback": 0, "dax": 0,
                "alone": 0, "itself": 0, "saved": 122_880, "others": false,
                "shared_with": [{"path": "/c/one", "bytes": 245_760}],
                "shared_with_more": 0, "shared_with_exact": true,
            })
        );
        assert_eq!(
            all["total"],
            json!({
                "files": 5, "size": 1_056_768, "resident_sum": 720_896,
                "memory": 475_136, "saved": 245_760, "shared": 679_936,
                "shared_memory": 434_176, "private": 40_960, "dirty": 40_960,
                "writeback": 0, "dax": 204_800,
            })
        );
        assert_eq!(
            all["errors"],
            json!([{"path": "/c/three", "reason": "not permitted"}])
        );
        assert_eq!(all.as_object().unwrap().len(), 3);
    }

    /// Every field is in the help, by its name.
    #[test]
    fn help_has_all_fields() {
        let mut help = String::new();
        for line in crate::cli::JSON.lines() {
            help.push_str(line);
            help.push(' ');
        }
        let all = written(&report(Sort::Path, None), true);
        let parts = [
            &all["files"][4],
            &all["files"][4]["runs"][0],
            &all["total"],
            &all["errors"][0],
        ];
        for part in parts {
            for field in part.as_object().unwrap().keys() {
                let found = help
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .any(|word| word == field);
                assert!(found, "--help does not have {field}");
            }
        }
    }

    /// Runs are there if they are asked for, and only shared memory has an id.
    #[test]
    fn runs() {
        let all = written(&report(Sort::Path, None), true);
        assert_eq!(
            all["files"][4]["runs"],
            json!([
                {
                    "offset": 0, "length": 245_760, "shared": true, "dirty": false,
                    "writeback": false, "dax": false, "id": 1000, "sharers": 2,
                },
                {
                    "offset": 245_760, "length": 40_960, "shared": false, "dirty": true,
                    "writeback": false, "dax": false, "id": null, "sharers": null,
                },
            ])
        );
        assert_eq!(all["files"][0]["runs"], json!([]));
    }

    /// Names that are no text are not lost.
    #[test]
    fn names_of_bytes() {
        let name = Name::of(Path::new(OsStr::from_bytes(b"a\xff")));
        assert_eq!(
            serde_json::to_value(name).unwrap(),
            json!({"path": "a\u{fffd}", "path_bytes": [97, 255]})
        );
    }
}
