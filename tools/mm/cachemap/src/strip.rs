// SPDX-License-Identifier: GPL-2.0

//! The map: each file as a strip of cells, each of which stands for a page or several.

use std::fmt::Write;

use anstyle::{AnsiColor, Color, Style};

use crate::report::Report;
use crate::run::{Kind, Run};
use crate::text::{name, summary, Sizes};

/// What a cell shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// None of its pages is in memory.
    Nothing,
    /// Most of its pages are not in memory, but some are.
    Few,
    /// Most of its pages are this.
    Most(Kind),
}

impl Cell {
    fn glyph(self) -> char {
        match self {
            Cell::Nothing => '.',
            Cell::Few => ':',
            Cell::Most(Kind::Shared) => '#',
            Cell::Most(Kind::Alone) => '+',
            Cell::Most(Kind::Private) => 'o',
            Cell::Most(Kind::Dirty) => 'D',
            Cell::Most(Kind::Writeback) => 'W',
            Cell::Most(Kind::Dax) => 'X',
        }
    }

    fn style(self) -> Style {
        let on = |color: AnsiColor| {
            Style::new()
                .fg_color(Some(Color::Ansi(AnsiColor::Black)))
                .bg_color(Some(Color::Ansi(color)))
        };
        match self {
            Cell::Nothing => Style::new().dimmed(),
            Cell::Few => Style::new(),
            Cell::Most(Kind::Shared) => on(AnsiColor::BrightGreen),
            Cell::Most(Kind::Alone) => on(AnsiColor::Cyan),
            Cell::Most(Kind::Private) => on(AnsiColor::BrightBlue),
            Cell::Most(Kind::Dirty) => on(AnsiColor::BrightRed),
            Cell::Most(Kind::Writeback) => on(AnsiColor::BrightYellow),
            Cell::Most(Kind::Dax) => on(AnsiColor::BrightMagenta),
        }
    }
}

const LEGEND: [(Cell, &str); 8] = [
    (Cell::Most(Kind::Shared), "shared"),
    (
        Cell::Most(Kind::Alone),
        "could be shared, nobody else has it now",
    ),
    (Cell::Most(Kind::Private), "private"),
    (Cell::Most(Kind::Dirty), "dirty"),
    (Cell::Most(Kind::Writeback), "being written"),
    (Cell::Most(Kind::Dax), "DAX"),
    (Cell::Few, "a few pages in memory"),
    (Cell::Nothing, "not in memory"),
];

/// The cells of a file of so many pages, `width` of them or one for each page.
///
/// `runs` are in order and do not overlap; what is after the end of the file is not shown.  The
/// pages of cell c of n are those from c * pages / n on.  When as many pages of a cell are of one
/// kind as of another, the one that is first in [`Kind`] is shown, and before no memory.
pub fn cells(runs: &[Run], pages: u64, width: usize) -> Vec<Cell> {
    let count = pages.min(width as u64);
    if count == 0 {
        return Vec::new();
    }
    // Products of two numbers of 64 bits.
    let (wide_count, wide_pages) = (u128::from(count), u128::from(pages));
    let begin = |cell: u64| (u128::from(cell) * wide_pages / wide_count) as u64;
    let cell_of = |page: u64| (((u128::from(page) + 1) * wide_count - 1) / wide_pages) as u64;

    let mut sums = vec![[0_u64; Kind::ALL.len()]; count as usize];
    for run in runs.iter().take_while(|run| run.first < pages) {
        let end = run.end().min(pages);
        let mut at = run.first;
        while at < end {
            let cell = cell_of(at);
            let next = begin(cell + 1).min(end);
            sums[cell as usize][run.kind() as usize] += next - at;
            at = next;
        }
    }
    (0..count)
        .zip(sums)
        .map(|(cell, sums)| {
            let all = begin(cell + 1) - begin(cell);
            let known: u64 = sums.iter().sum();
            let mut most = (Cell::Nothing, 0);
            for (kind, sum) in Kind::ALL.into_iter().zip(sums) {
                if sum > most.1 {
                    most = (Cell::Most(kind), sum);
                }
            }
            match all.saturating_sub(known) > most.1 {
                true if known > 0 => Cell::Few,
                true => Cell::Nothing,
                false => most.0,
            }
        })
        .collect()
}

/// The cells with their colours.
fn painted(cells: &[Cell]) -> String {
    let mut text = String::new();
    for same in cells.chunk_by(|one, two| one == two) {
        let style = same[0].style();
        let glyphs: String = same.iter().map(|cell| cell.glyph()).collect();
        // Writing to a String does not fail.
        let _ = write!(text, "{style}{glyphs}{style:#}");
    }
    text
}

fn legend() -> String {
    let one = |(cell, what): &(Cell, &str)| format!("{} {what}", painted(&[*cell]));
    let all: Vec<String> = LEGEND.iter().map(one).collect();
    format!("{}\n{}", all[..4].join("   "), all[4..].join("   "))
}

/// The strips of all files to show, the legend and the sentence, with colour.
pub fn map(report: &Report, width: usize, sizes: Sizes) -> String {
    let bold = Style::new().bold();
    let mut text = String::new();
    for (file, _) in report.shown() {
        let pages = file.size.div_ceil(report.page);
        let mut about = vec![sizes.said(file.size)];
        let said = |pages: u64| sizes.said(report.bytes(pages));
        for (what, pages) in [
            ("resident", file.counts.resident),
            ("shared", file.counts.shared),
            ("dirty", file.counts.dirty),
            ("DAX", file.counts.dax),
        ] {
            if pages > 0 {
                about.push(format!("{} {what}", said(pages)));
            }
        }
        let after: u64 = file
            .runs
            .iter()
            .map(|run| run.end().saturating_sub(run.first.max(pages)))
            .fold(0, u64::saturating_add);
        if after > 0 {
            about.push(format!("{} after the end, not drawn", said(after)));
        }
        if pages > width as u64 {
            let cell = report.about_bytes(pages as f64 / width as f64);
            about.push(format!("a cell is about {}", sizes.said(cell)));
        }
        let cells = cells(&file.runs, pages, width);
        let path = name(&file.path);
        // Writing to a String does not fail.
        let _ = writeln!(text, "{bold}{path}{bold:#}: {}", about.join(", "));
        if !cells.is_empty() {
            let _ = writeln!(text, "{}", painted(&cells));
        }
    }
    if !report.shown.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "{}\n{}", legend(), summary(report, sizes));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cachemap::{CACHEMAP_DAX, CACHEMAP_DIRTY, CACHEMAP_SHARED, CACHEMAP_WRITEBACK};
    use crate::files::Collected;
    use crate::report::tests::{found, report, PAGE};
    use crate::report::Sort;

    fn drawn(runs: &[(u64, u64, u32, u32)], pages: u64, width: usize) -> String {
        let run = |&(first, pages, flags, sharers)| Run {
            first,
            pages,
            id: 0,
            flags,
            sharers,
        };
        let runs: Vec<Run> = runs.iter().map(run).collect();
        let cells = cells(&runs, pages, width);
        cells.iter().map(|cell| cell.glyph()).collect()
    }

    const S: u32 = CACHEMAP_SHARED;

    /// A file that fits has a cell for each page, and each kind its glyph.
    #[test]
    fn a_cell_for_each_page() {
        let runs = [
            (0, 2, S, 2),
            (2, 1, S, 1),
            (4, 1, 0, 0),
            (5, 1, CACHEMAP_DIRTY, 0),
            (6, 1, CACHEMAP_WRITEBACK, 0),
            (8, 1, CACHEMAP_DAX, 0),
        ];
        assert_eq!(drawn(&runs, 10, 80), "##+.oDW.X.");
        assert_eq!(drawn(&runs, 10, 10), "##+.oDW.X.");
        assert_eq!(drawn(&[], 3, 80), "...");
    }

    /// A file that is larger than the width: each cell shows what most of its pages are, and that
    /// there are a few is not lost.
    #[test]
    fn larger_than_the_width() {
        // Cells of 100 pages.
        let runs = [
            (0, 60, S, 2),
            (60, 40, 0, 0),
            (100, 30, S, 2),
            (130, 31, CACHEMAP_DIRTY, 0),
            (200, 1, 0, 0),
            (350, 100, 0, 0),
            (500, 300, S, 2),
        ];
        assert_eq!(drawn(&runs, 1000, 10), "#::oo###..");
        // Half and half: what is there is shown.
        assert_eq!(drawn(&[(0, 1, 0, 0)], 2, 1), "o");
        assert_eq!(drawn(&[(0, 1, 0, 0), (1, 1, S, 2)], 2, 1), "#");
        // Always as wide as it may be, and the last page is in the last cell.
        assert_eq!(drawn(&[(80, 1, 0, 0)], 81, 80).len(), 80);
        assert!(drawn(&[(80, 1, 0, 0)], 81, 80).ends_with("o"));
    }

    /// Empty files, no room, runs after the end of the file, files of all that a number can say.
    #[test]
    fn odd_files() {
        assert_eq!(drawn(&[], 0, 80), "");
        assert_eq!(drawn(&[(0, 5, 0, 0)], 0, 80), "");
        assert_eq!(drawn(&[(0, 5, 0, 0)], 5, 0), "");
        assert_eq!(drawn(&[(2, 5, 0, 0), (9, 5, 0, 0)], 4, 80), "..oo");
        let huge = [(0, 1 << 59, S, 2), (1 << 63, 1 << 62, 0, 0)];
        assert_eq!(drawn(&huge, u64::MAX, 8), ":...oo:.");
    }

    /// A cell's pages are those that the formula of its beginning says, for all small sizes.
    #[test]
    fn each_page_is_in_one_cell() {
        for pages in 1..60_u64 {
            for width in 1..20_usize {
                let count = pages.min(width as u64);
                for page in 0..pages {
                    let cell = (0..count).rfind(|c| c * pages / count <= page).unwrap();
                    let drawn = drawn(&[(page, 1, 0, 0)], pages, width);
                    let at = drawn.find(['o', ':']).unwrap();
                    assert_eq!(at as u64, cell, "{page} of {pages} in {width}");
                    assert_eq!(drawn.matches('.').count() as u64, count - 1);
                }
            }
        }
    }

    /// With its colours taken away the map can still be read, and it ends with the legend.
    #[test]
    fn map_without_colour() {
        let text = map(&report(Sort::Path, None), 20, Sizes::Human);
        assert!(text.contains('\u{1b}'));
        let text = anstream::adapter::strip_str(&text).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..9],
            [
                "/a/empty: 0 bytes",
                "/a/lonely: 32 KiB, 24 KiB resident, 24 KiB shared",
                "####..++",
                "/b/dax: 200 KiB, 200 KiB DAX, a cell is about 10 KiB",
                "XXXXXXXXXXXXXXXXXXXX",
                "/c/one: 400 KiB, 400 KiB resident, 400 KiB shared, a cell is about 20 KiB",
                "####################",
                "/c/two: 400 KiB, 280 KiB resident, 240 KiB shared, 40 KiB dirty, a cell is about \
                 20 KiB",
                "############DD......",
            ]
        );
        assert!(lines[10].starts_with("# shared   + could be"));
        assert!(lines[12].contains("sharing saves 240 KiB"));
    }

    /// Memory after the end of the file (it was cut meanwhile) is told, if it is not drawn.
    #[test]
    fn after_the_end() {
        let file = found("/cut", 1, 2, &[(0, 5, 0, 0, 0), (9, 1, 0, 0, 0)]);
        let collected = Collected {
            files: vec![file],
            troubles: Vec::new(),
        };
        let report = Report::new(collected, PAGE, Sort::Path, None);
        let text = anstream::adapter::strip_str(&map(&report, 20, Sizes::Human)).to_string();
        assert!(
            text.starts_with("/cut: 8 KiB, 24 KiB resident, 16 KiB after the end, not drawn\noo\n")
        );
    }
}
