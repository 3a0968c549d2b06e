// SPDX-License-Identifier: GPL-2.0

//! cachemap: what of files is in the page cache, and with which files it is shared.
//! `cachemap --help` says what it does; each module's first paragraph says what lives there.

mod cachemap;
mod cli;
mod files;
mod json;
mod report;
mod run;
mod share;
mod strip;
mod table;
mod text;

use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use anyhow::{Context, Error, Result};
use clap::Parser;
use nix::unistd::{sysconf, SysconfVar};
use terminal_size::{terminal_size, Width};

use crate::cachemap::{Kernel, Source};
use crate::cli::Cli;
use crate::files::{collect, Options};
use crate::report::Report;

/// Columns, if there is no terminal.
const COLUMNS: u16 = 80;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let choice = match cli.color {
        clap::ColorChoice::Auto => ColorChoice::Auto,
        clap::ColorChoice::Always => ColorChoice::Always,
        clap::ColorChoice::Never => ColorChoice::Never,
    };
    let mut out = BufWriter::new(AutoStream::new(io::stdout().lock(), choice));
    let done = page_size().and_then(|page| run(&cli, page, &mut Kernel::new(), &mut out));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Who reads has seen enough, as "head" does.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cachemap: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Bytes of a page.
fn page_size() -> Result<u64> {
    let size = sysconf(SysconfVar::PAGE_SIZE).context("the size of a page is not known")?;
    let size = size.and_then(|size| u64::try_from(size).ok());
    size.filter(|size| *size > 0)
        .context("the size of a page is not known")
}

/// Does it all; false if something could not be looked at.
fn run(cli: &Cli, page: u64, source: &mut dyn Source, out: &mut dyn Write) -> Result<bool> {
    let options = Options {
        one_file_system: cli.one_file_system,
        keep_runs: cli.shows_runs(),
        page,
    };
    let collected = collect(&cli.paths, options, source, &mut |trouble| {
        eprintln!(
            "cachemap: {}: {}",
            text::name(&trouble.path),
            trouble.reason
        );
    });
    let all_right = collected.troubles.is_empty();
    let nothing = collected.files.is_empty() && !all_right;
    let report = Report::new(collected, page, cli.sort(), cli.top);
    if cli.json {
        json::write(&report, cli.shows_runs(), out)?;
    } else if nothing {
        // The errors say it all; that nothing is cached would not be true.
    } else if cli.map {
        let width = cli.width.unwrap_or_else(columns);
        out.write_all(strip::map(&report, width.into(), cli.sizes()).as_bytes())?;
    } else {
        out.write_all(table::table(&report, cli.sizes()).as_bytes())?;
    }
    out.flush()?;
    Ok(all_right)
}

fn columns() -> u16 {
    match terminal_size() {
        Some((Width(columns), _)) if columns > 0 => columns,
        _ => COLUMNS,
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    let of_io = |error: &io::Error| error.kind() == ErrorKind::BrokenPipe;
    let of_json = |error: &serde_json::Error| error.io_error_kind() == Some(ErrorKind::BrokenPipe);
    error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(of_io) || cause.downcast_ref().is_some_and(of_json)
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::cachemap::{CachemapRun, Failure, CACHEMAP_SHARED};

    /// Has all of each file cached, one copy for all files of the same size.
    struct Clones;

    impl Source for Clones {
        fn runs(&mut self, file: &File) -> Result<Vec<CachemapRun>, Failure> {
            let size = file.metadata().map(|m| m.size()).unwrap_or_default();
            Ok(vec![CachemapRun {
                offset: 0,
                length: size.next_multiple_of(4096),
                id: size << 32,
                flags: CACHEMAP_SHARED,
                sharers: 2,
            }])
        }
    }

    fn shown(args: &[&str]) -> (bool, String) {
        let all = ["cachemap"].iter().chain(args);
        let cli = Cli::try_parse_from(all).unwrap();
        let mut out = Vec::new();
        let all_right = run(&cli, 4096, &mut Clones, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        (all_right, anstream::adapter::strip_str(&text).to_string())
    }

    /// From the command line to what is printed, in each of the three ways; a file that is not
    /// there is told, and the others are shown.
    #[test]
    fn all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            fs::write(folder.path().join(name), vec![0; 20_000]).unwrap();
        }
        let path = folder.path().to_str().unwrap();
        let sentence = "40 KiB of files are in 20 KiB of memory: sharing saves 20 KiB.";

        let (all_right, text) = shown(&[path]);
        assert!(all_right);
        assert!(text.ends_with(&format!("{sentence}\n")), "{text}");
        let (all_right, text) = shown(&["--map", path, "/nonexistent"]);
        assert!(!all_right);
        assert_eq!(text.matches("\n#####\n").count(), 2, "{text}");
        assert!(text.contains(sentence));
        let (_, text) = shown(&["--json", "--map", path]);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["total"]["saved"], 20_480);
        assert_eq!(json["files"][1]["runs"][0]["length"], 20_480);
    }

    /// When nothing could be looked at, only JSON has something to say.
    #[test]
    fn nothing_known() {
        assert_eq!(shown(&["/nonexistent"]), (false, String::new()));
        let (all_right, text) = shown(&["--json", "/nonexistent"]);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(!all_right);
        assert_eq!(json["errors"][0]["path"], "/nonexistent");
        assert_eq!(json["files"], serde_json::json!([]));
    }
}
