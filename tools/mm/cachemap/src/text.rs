// SPDX-License-Identifier: GPL-2.0

//! Numbers and names as people read them, and the sentences at the end.

use std::path::Path;

use humansize::{format_size, FormatSizeOptions, BINARY};

use crate::report::Report;

/// How sizes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// 1.5 MiB
    Human,
    /// 1572864
    Bytes,
}

impl Sizes {
    /// So many bytes, in a table.
    pub fn cell(self, bytes: u64) -> String {
        match self {
            Sizes::Human if bytes == 0 => "0".into(),
            Sizes::Human => format_size(bytes, human()),
            Sizes::Bytes => bytes.to_string(),
        }
    }

    /// So many bytes, in a sentence.
    pub fn said(self, bytes: u64) -> String {
        match self {
            Sizes::Bytes => format!("{bytes} bytes"),
            Sizes::Human if bytes == 0 => "0 bytes".into(),
            Sizes::Human => self.cell(bytes),
        }
    }
}

fn human() -> FormatSizeOptions {
    BINARY.decimal_places(1)
}

/// A path that does nothing to a terminal: control characters are written as in Rust.
pub fn name(path: &Path) -> String {
    path.to_string_lossy()
        .chars()
        .flat_map(|c| {
            let escaped: Vec<char> = match c.is_control() {
                true => c.escape_default().collect(),
                false => vec![c],
            };
            escaped
        })
        .collect()
}

/// What it all comes to, in plain words.
pub fn summary(report: &Report, sizes: Sizes) -> String {
    let total = &report.total;
    let said = |pages| sizes.said(report.bytes(pages));
    let mut lines = Vec::new();
    if total.counts.resident == 0 {
        lines.push("Nothing of these files is in the page cache.".to_string());
    } else {
        let saves = match total.saved() {
            0 => "nothing is shared among them".to_string(),
            saved => format!("sharing saves {}", said(saved)),
        };
        lines.push(format!(
            "{} of files are in {} of memory: {saves}.",
            said(total.counts.resident),
            said(total.memory())
        ));
    }
    if report.shares.iter().any(|shares| shares.others) {
        lines.push("Some of it is shared with files that were not asked about, too.".to_string());
    }
    if total.counts.dax > 0 {
        lines.push(format!(
            "{} are memory of the device itself (DAX), which takes no page cache.",
            said(total.counts.dax)
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Collected;
    use crate::report::tests::{found, report, PAGE};
    use crate::report::Sort;

    /// Short, and nothing is nothing; or exact.
    #[test]
    fn sizes() {
        assert_eq!(Sizes::Human.cell(0), "0");
        assert_eq!(Sizes::Human.cell(4096), "4 KiB");
        assert_eq!(Sizes::Human.cell(1536 << 10), "1.5 MiB");
        assert_eq!(Sizes::Human.cell(u64::MAX), "16 EiB");
        assert_eq!(Sizes::Bytes.cell(1536 << 10), "1572864");
        assert_eq!(Sizes::Bytes.said(4096), "4096 bytes");
        assert_eq!(Sizes::Human.said(0), "0 bytes");
    }

    /// The name of a file must not be taken for a command to the terminal, or for two lines.
    #[test]
    fn names_are_harmless() {
        assert_eq!(name(Path::new("/ä/b c")), "/ä/b c");
        assert_eq!(
            name(Path::new("a\u{1b}[31m\nb\u{9b}")),
            "a\\u{1b}[31m\\nb\\u{9b}"
        );
    }

    /// The sentence has the numbers of the total.
    #[test]
    fn sentences() {
        let text = summary(&report(Sort::Path, Some(1)), Sizes::Human);
        assert_eq!(
            text,
            "704 KiB of files are in 464 KiB of memory: sharing saves 240 KiB.\n\
             Some of it is shared with files that were not asked about, too.\n\
             200 KiB are memory of the device itself (DAX), which takes no page cache."
        );
        let of = |files| {
            let collected = Collected {
                files,
                troubles: Vec::new(),
            };
            let report = Report::new(collected, PAGE, Sort::Path, None);
            summary(&report, Sizes::Bytes)
        };
        assert_eq!(of(vec![]), "Nothing of these files is in the page cache.");
        assert_eq!(
            of(vec![found("a", 1, 9, &[(0, 2, 0, 0, 0)])]),
            "8192 bytes of files are in 8192 bytes of memory: nothing is shared among them."
        );
    }
}
