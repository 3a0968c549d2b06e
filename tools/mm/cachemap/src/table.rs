// SPDX-License-Identifier: GPL-2.0

//! The table: a line for each file, and one for all.

use anstyle::Style;
use comfy_table::{presets, CellAlignment, Table};

use crate::files::Found;
use crate::report::Report;
use crate::share::Shares;
use crate::text::{name, summary, Sizes};

/// Columns of numbers, which are aligned to the right: all but the last two.
const NAMES: usize = 2;

/// The table and the sentence, with colour.
pub fn table(report: &Report, sizes: Sizes) -> String {
    // Seldom there, as it does not last.
    let writeback = report.total.counts.writeback > 0;
    let size = |pages: u64| sizes.cell(report.bytes(pages));
    let row = |first: String, counts: &crate::run::Counts, names: [String; NAMES]| {
        let mut row = vec![first];
        row.extend([counts.resident, counts.shared, counts.private, counts.dirty].map(size));
        row.extend(writeback.then(|| size(counts.writeback)));
        row.push(size(counts.dax));
        row.extend(names);
        row
    };

    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let mut header = vec!["size", "resident", "shared", "private", "dirty"];
    header.extend(writeback.then_some("writeback"));
    header.extend(["DAX", "file", "shared with"]);
    let columns = header.len();
    table.set_header(header);
    for (file, shares) in report.shown() {
        let names = [name(&file.path), shared_with(report, file, shares, sizes)];
        table.add_row(row(sizes.cell(file.size), &file.counts, names));
    }
    let total = &report.total;
    let what = match (total.files, report.shown.len() as u64) {
        (1, _) => "total of 1 file".to_string(),
        (all, shown) if all == shown => format!("total of {all} files"),
        (all, shown) => format!("total of {all} files, {shown} of them shown"),
    };
    table.add_row(row(
        sizes.cell(total.size),
        &total.counts,
        [what, String::new()],
    ));
    for column in table.column_iter_mut().take(columns - NAMES) {
        column.set_cell_alignment(CellAlignment::Right);
    }

    let bold = Style::new().bold();
    let count = table.row_iter().count() + 1;
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_string())
        .enumerate()
        .map(|(number, line)| match number {
            n if n == 0 || n + 1 == count => format!("{bold}{line}{bold:#}"),
            _ => line,
        })
        .collect();
    format!("{}\n{}\n", lines.join("\n"), summary(report, sizes))
}

/// The last column.
fn shared_with(report: &Report, file: &Found, shares: &Shares, sizes: Sizes) -> String {
    let mut parts = Vec::new();
    if let Some(first) = shares.partners.first() {
        let pages = sizes.cell(report.bytes(first.pages));
        let more = shares.more + shares.partners.len() as u64 - 1;
        let more = match (more, shares.at_least) {
            (0, _) => String::new(),
            (more, false) => format!(" +{more} more"),
            (more, true) => format!(" +{more} or more"),
        };
        let path = name(&report.files[first.file].path);
        parts.push(format!("{path} ({pages}){more}"));
    }
    if shares.itself > 0 {
        parts.push(format!(
            "itself ({})",
            sizes.cell(report.bytes(shares.itself))
        ));
    }
    if shares.others {
        parts.push("others".to_string());
    }
    if parts.is_empty() && file.counts.shared > 0 {
        parts.push("nobody now".to_string());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cachemap::{CACHEMAP_SHARED, CACHEMAP_WRITEBACK};
    use crate::files::Collected;
    use crate::report::tests::{found, report, PAGE};
    use crate::report::Sort;

    /// Lines without colour, with single spaces.
    fn lines(report: &Report, sizes: Sizes) -> Vec<String> {
        let text = anstream::adapter::strip_str(&table(report, sizes)).to_string();
        let one = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(one).collect()
    }

    /// All of it, as people see it.
    #[test]
    fn is_complete() {
        assert_eq!(
            lines(&report(Sort::Path, None), Sizes::Human)[..7],
            [
                "size resident shared private dirty DAX file shared with",
                "0 0 0 0 0 0 /a/empty",
                "32 KiB 24 KiB 24 KiB 0 0 0 /a/lonely others",
                "200 KiB 0 0 0 0 200 KiB /b/dax",
                "400 KiB 400 KiB 400 KiB 0 0 0 /c/one /c/two (240 KiB)",
                "400 KiB 280 KiB 240 KiB 40 KiB 40 KiB 0 /c/two /c/one (240 KiB)",
                "1.0 MiB 704 KiB 664 KiB 40 KiB 40 KiB 200 KiB total of 5 files",
            ]
        );
        let top = lines(&report(Sort::Saved, Some(1)), Sizes::Bytes);
        assert_eq!(top[1], "409600 409600 409600 0 0 0 /c/one /c/two (245760)");
        assert!(top[2].ends_with("total of 5 files, 1 of them shown"));
        assert_eq!(top.len(), 6);
    }

    /// The header and the total stand out, and nothing else does.
    #[test]
    fn colours() {
        let text = table(&report(Sort::Path, None), Sizes::Human);
        let bold: Vec<bool> = text.lines().map(|l| l.contains('\u{1b}')).collect();
        assert_eq!(bold[..7], [true, false, false, false, false, false, true]);
        assert!(bold[7..].iter().all(|bold| !bold));
    }

    /// Many clones; the same memory twice in a file; memory that could be shared and is not.
    #[test]
    fn with_whom() {
        const S: u32 = CACHEMAP_SHARED;
        let mut files: Vec<Found> = (0..30)
            .map(|n| found(&format!("/clone{n:02}"), n, 8, &[(0, 8, 100, S, 30)]))
            .collect();
        files.push(found("/t", 40, 8, &[(0, 2, 5, S, 2), (4, 2, 5, S, 2)]));
        files.push(found(
            "/u",
            41,
            8,
            &[(0, 2, 50, S, 1), (3, 1, 0, CACHEMAP_WRITEBACK, 0)],
        ));
        let collected = Collected {
            files,
            troubles: Vec::new(),
        };
        let lines = lines(
            &Report::new(collected, PAGE, Sort::Path, None),
            Sizes::Human,
        );
        assert!(lines[1].ends_with(" /clone00 /clone01 (32 KiB) +28 more"));
        assert!(lines[30].ends_with(" /clone29 /clone00 (32 KiB) +28 more"));
        assert!(lines[31].ends_with(" /t itself (8 KiB)"));
        assert!(lines[32].ends_with(" 4 KiB 0 /u nobody now"));
        assert!(lines[0].contains(" dirty writeback DAX "));
    }
}
