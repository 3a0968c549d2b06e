// SPDX-License-Identifier: GPL-2.0

//! An executable model of how files share folios in a home.
//!
//! It goes through all that two files, two blocks and three threads can do to each other, at the
//! granularity of the locks and atomic steps of the code, and checks that nobody ever reads what
//! the file does not contain, that no alias outlives its mapping, and more: see
//! [`protocol`]. Whoever changes the protocol changes it here first.

mod checks;
mod parts;
mod protocol;
mod state;
mod steps;

use std::io::{stdout, Write};
use std::process::ExitCode;

use anyhow::{bail, Result};
use clap::Parser;

use checks::{Check, Found};

/// Checks the protocol of shared page cache folios over all interleavings; prints TAP
///
/// The checks with "without-" in their names leave out one rule of the protocol each. They pass if
/// that is found out, unless they begin with "even-".
#[derive(Parser)]
struct Args {
    /// Only checks whose names begin with one of these
    names: Vec<String>,
    /// Also those that take minutes and gigabytes
    #[arg(long)]
    deep: bool,
    /// Print the names of all checks, and do nothing
    #[arg(long)]
    list: bool,
    /// Print the way to what was found, also where it was to be found
    #[arg(long)]
    explain: bool,
    /// How many searches go on at a time (default: as many as there are CPUs)
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    threads: Option<u8>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let wanted = |name: &str| args.names.iter().any(|begin| name.starts_with(begin));
    let checks: Vec<Check> = Check::all()
        .into_iter()
        .filter(|check| match args.names.is_empty() {
            true => args.deep || args.list || !check.deep,
            false => wanted(&check.name),
        })
        .collect();
    if checks.is_empty() {
        bail!("no check is called {}", args.names.join(" or "));
    }
    if args.list {
        for check in &checks {
            println!("{}{}", check.name, if check.deep { " (deep)" } else { "" });
        }
        return Ok(ExitCode::SUCCESS);
    }
    let threads = match args.threads {
        Some(threads) => threads.into(),
        None => std::thread::available_parallelism()?.get(),
    };
    Ok(run(&checks, threads, args.explain))
}

fn run(checks: &[Check], threads: usize, explained: bool) -> ExitCode {
    println!("TAP version 13\n1..{}", checks.len());
    let mut all = true;
    for (number, check) in checks.iter().enumerate() {
        let found = check.run(threads);
        let good = check.must_find == found.broken.is_some();
        all &= good;
        report(check, &found, explained || !good);
        let verdict = if good { "ok" } else { "not ok" };
        println!("{verdict} {} {}", number + 1, check.name);
        // Whoever waits for the next one wants to see this.
        let _ = stdout().flush();
    }
    match all {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Says in TAP's comments what a check came to.
fn report(check: &Check, found: &Found, explained: bool) {
    match &found.broken {
        Some(broken) => {
            println!(
                "# {}: not so after {} steps: {}",
                check.name, broken.steps, broken.what
            );
            if explained {
                for line in broken.way.lines() {
                    println!("# {line}");
                }
            }
        }
        None => println!("# {}: {} states", check.name, found.states),
    }
}
