// SPDX-License-Identifier: GPL-2.0

//! The lab: the host-side runner of the tagged page cache series, and, in the
//! guest, its first process.  `./lab --help` says what it does; each module's
//! first paragraph says what lives there.

mod allusers;
mod bench;
mod chroot;
mod cli;
mod cocci;
mod console;
mod endtoend;
mod exec;
mod exit;
mod export;
mod git;
mod guest;
mod image;
mod kconfig;
mod kernel;
mod ktap;
mod lab;
mod machine;
mod measure;
mod model;
mod patchfile;
mod refresh;
mod run;
mod runner;
mod selftests;
mod semantic;
mod series;
mod signals;
mod size;
mod source;
mod stress;
#[cfg(test)]
mod testing;

mod tool;
mod types;
mod ui;
mod xfscheck;
mod xfsresult;
mod xfstests;

use anyhow::Result;
use clap::Parser;

use crate::cli::{Cli, Command};
use crate::lab::Lab;

fn main() {
    let status = match run(Cli::parse().command) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("lab: {error:#}");
            exit::status_of(&error)
        }
    };
    std::process::exit(status);
}

fn run(command: Command) -> Result<i32> {
    match command {
        Command::Enter { entry } => return chroot::enter(&entry),
        Command::Guest => return guest::main().map(|()| 0),
        Command::GuestRead { folders } => return measure::read(&folders).map(|()| 0),
        Command::GuestCompare { original, copies } => {
            let right = measure::compare(&original, &copies)?;
            return Ok(if right { 0 } else { exit::FAILED });
        }
        _ => {}
    }
    signals::listen()?;
    let lab = Lab::from_environment()?;
    match command {
        Command::Run(args) => run::run(&lab, &args),
        Command::Bench(args) => bench::bench(&lab, &args),
        Command::Exec(args) => exec::exec(&lab, &args),
        Command::Shell(args) => exec::shell(&lab, &args),
        Command::Xfstests(args) => xfstests::xfstests(&lab, &args),
        Command::Build(args) => {
            let tree = kernel::tree(&lab)?;
            if args.all_users {
                return allusers::check(&lab, &tree, !args.no_rust);
            }
            let wanted = kernel::Wanted {
                variant: args.variant,
                rust: !args.no_rust,
            };
            let kernel = kernel::prepare(&lab, &tree, wanted)?;
            if args.all {
                image::prepare(&lab)?;
                selftests::prepare(&lab, &tree)?;
            }
            println!("{}", kernel.image.display());
            Ok(0)
        }
        Command::Export(args) => export::export(&lab, &args),
        Command::Tree(args) => refresh::tree(&lab, &args),
        Command::Refresh(args) => refresh::refresh(&lab, &args),
        Command::Cocci(args) => cocci::cocci(&lab, &args),
        Command::Test(args) => runner::test(&lab, &args),
        Command::Enter { .. }
        | Command::Guest
        | Command::GuestRead { .. }
        | Command::GuestCompare { .. } => unreachable!("done above"),
    }
}
