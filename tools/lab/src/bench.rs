// SPDX-License-Identifier: GPL-2.0

//! `lab bench`: what the series costs and what it saves, against the kernel without
//! it and against what else users have.  The guest measures (guest/bench.py, and
//! guest/cost.c what is counted in instructions); here is what is booted for it, and
//! how it all comes together.  What is measured, and the targets, are in
//! [`rows`]; how it is shown, in [`show`].

mod rows;
mod show;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{mpsc, Arc, Mutex};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use serde_json::json;

use crate::chroot::Inside;
use crate::cli::BenchArgs;
use crate::exec;
use crate::exit;
use crate::guest::Job;
use crate::image;
use crate::kernel::{self, Variant, Wanted};
use crate::lab::{key, write_whole, Lab};
use crate::machine::{Boot, Ending, Machine};
use crate::run::Lines;
use crate::runner::Shared;
use crate::size::Size;
use crate::ui::{self, Step};

use rows::{Judged, Kind, Measured, Results, Row, MEASURES, ROWS};

/// The program that counts.
const SOURCE: &str = "guest/cost.c";
/// How it is compiled, in the build root: for the guest's own C library or any other.
const COMPILER: [&str; 5] = ["gcc", "-O2", "-Wall", "-Wextra", "-static"];

/// All that `--only` knows.
pub fn names() -> Vec<String> {
    let numbers: BTreeSet<u32> = ROWS.iter().map(|row| row.number).collect();
    let measures = MEASURES.iter().map(|measure| measure.name.to_string());
    numbers.iter().map(u32::to_string).chain(measures).collect()
}

/// The rows that are asked for, which are all if none is.
fn selected(only: &[String]) -> Vec<&'static Row> {
    ROWS.iter()
        .filter(|row| only.is_empty() || only.iter().any(|name| row.is_called(name)))
        .collect()
}

/// What is run on one kernel, in one kind of machine.
#[derive(Debug)]
struct Plan {
    variant: Variant,
    kind: Kind,
    measures: Vec<&'static str>,
    boots: u32,
}

/// What has to be run for the rows.
fn plans(rows: &[&Row], boots: u32) -> Vec<Plan> {
    let mut plans = vec![];
    for kind in [Kind::Counting, Kind::Large, Kind::Small] {
        for variant in [Variant::Base, Variant::Patched] {
            let measures: Vec<&str> = MEASURES
                .iter()
                .filter(|m| m.kind == kind && (m.on_base || variant == Variant::Patched))
                .filter(|m| rows.iter().any(|row| row.measure == m.name))
                .map(|m| m.name)
                .collect();
            if !measures.is_empty() {
                plans.push(Plan {
                    variant,
                    kind,
                    measures,
                    boots: match kind {
                        Kind::Counting => boots,
                        Kind::Large | Kind::Small => 1,
                    },
                });
            }
        }
    }
    plans
}

fn machine(kind: Kind, timeout: Duration) -> Machine {
    let machine = Machine {
        mem: Size(1 << 30),
        cpus: 2,
        numa: 1,
        pmem: Size(0),
        disks: vec![Size(1 << 30)],
        append: String::new(),
        icount: false,
        timeout,
    };
    match kind {
        Kind::Counting => Machine {
            cpus: 1,
            // A read of it is no waiting, but counted.
            pmem: Size(512 << 20),
            disks: vec![],
            icount: true,
            ..machine
        },
        Kind::Large => Machine {
            mem: Size(6 << 30),
            disks: vec![Size(8 << 30)],
            ..machine
        },
        Kind::Small => machine,
    }
}

/// The program that counts, compiled if it is not there.
fn cost_program(lab: &Lab) -> Result<PathBuf> {
    let source = lab.own(SOURCE);
    let text = fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let line = COMPILER.join(" ");
    let name = key([&text[..], line.as_bytes(), lab.root_id().as_bytes()]);
    let dir = lab.cache.join("bench").join(name);
    let program = dir.join("cost");
    if !program.is_file() {
        let scratch = lab.scratch()?;
        let new = scratch.path().join("cost");
        Inside::new(lab, COMPILER)
            .args(["-o".into(), lab.in_root(&new).display().to_string()])
            .args([lab.in_root(&source).display().to_string()])
            .output()
            .context("the program that counts does not compile")?;
        fs::create_dir_all(&dir)?;
        fs::rename(&new, &program)?;
    }
    kernel::keep_recent(lab, "bench", &dir);
    Ok(program)
}

/// What is the same for all boots.
struct Bench<'a> {
    lab: &'a Lab,
    image: PathBuf,
    program: PathBuf,
    timeout: Duration,
}

/// How a boot ended: the measures that it did, and what ended it too early.
struct Ended {
    done: BTreeSet<String>,
    trouble: Option<(i32, String)>,
}

impl Bench<'_> {
    /// Boots once and runs measures.
    fn boot(
        &self,
        kernel: &Path,
        kind: Kind,
        measures: &[&str],
        what: &str,
        into: &mut Measured,
    ) -> Result<Ended> {
        let machine = machine(kind, self.timeout);
        let mut step = Step::new(what, Some(measures.len() as u64));
        step.at("booting");
        let (sender, said) = mpsc::channel::<String>();
        let told = Arc::new(Mutex::new(vec![]));
        let complaints = RefCell::new(String::new());
        let shown = RefCell::new(&mut step);
        let now = Cell::new(0);
        let take = || {
            while let Ok(line) = said.try_recv() {
                complaints.borrow_mut().push_str(&format!("{line}\n"));
                shown.borrow_mut().reach(now.get(), &line);
            }
            if let Ok(told) = told.lock() {
                now.set(count_done(&told));
            }
            true
        };
        let mut arguments = vec!["/lab/in/bench.py".to_string()];
        arguments.extend(measures.iter().map(|name| name.to_string()));
        let outcome = Boot {
            lab: self.lab,
            kernel,
            image: &self.image,
            machine: &machine,
            job: Job {
                arguments,
                ..Job::default()
            },
            files: vec![
                (self.lab.own("guest/bench.py"), "bench.py".into()),
                (self.lab.own("guest/run.py"), "run.py".into()),
                (self.program.clone(), "cost".into()),
            ],
            share: None,
            out: None,
            stdout: Box::new(Shared(told.clone())),
            stderr: Box::new(Lines::new(sender)),
            interactive: false,
            on_start: Box::new(|| {}),
            on_tick: Box::new(take),
        }
        .run()?;
        let text = told.lock().map(|told| told.clone()).unwrap_or_default();
        let done = String::from_utf8_lossy(&text)
            .lines()
            .filter_map(|line| into.take(line))
            .collect();
        let trouble = match outcome.ending {
            Ending::Ended(0) => None,
            Ending::Ended(status) => {
                ui::aside(|| eprint!("{}", complaints.borrow()));
                let said = format!("the guest's part ended with status {status}");
                Some((exit::FAILED, said))
            }
            _ => match exec::status_of(outcome, &machine) {
                Ok(status) => Some((status, "the guest ended".into())),
                Err(error) => Some((exit::status_of(&error), format!("{error:#}"))),
            },
        };
        match &trouble {
            None => step.done(),
            Some((_, said)) => {
                drop(step);
                ui::say(said);
            }
        }
        Ok(Ended { done, trouble })
    }

    /// Runs a plan to its end: after a guest that went down another one goes on
    /// behind the measure that did it.  Gives the first bad status.
    fn run(&self, plan: &Plan, kernel: &Path, into: &mut Measured) -> Result<Option<i32>> {
        let mut status = None;
        for boot in 1..=plan.boots {
            let mut left = plan.measures.clone();
            while !left.is_empty() {
                let what = describe(plan, boot);
                let ended = self.boot(kernel, plan.kind, &left, &what, into)?;
                left.retain(|name| !ended.done.contains(*name));
                let Some((bad, said)) = ended.trouble else {
                    break;
                };
                status.get_or_insert(bad);
                if !left.is_empty() {
                    into.fail(left.remove(0), said);
                }
            }
            for name in left {
                into.fail(name, "the guest did not come to it");
            }
        }
        Ok(status)
    }
}

fn describe(plan: &Plan, boot: u32) -> String {
    let kernel = Wanted::new(plan.variant).name();
    let what = match plan.kind {
        Kind::Counting => "counting instructions",
        Kind::Large => "measuring memory and I/O",
        Kind::Small => "measuring with little memory",
    };
    match plan.boots {
        1 => format!("{what}, {kernel}"),
        boots => format!("{what}, {kernel}, boot {boot} of {boots}"),
    }
}

/// How many measures the guest has said are done.
fn count_done(told: &[u8]) -> u64 {
    let mut ignored = Measured::default();
    String::from_utf8_lossy(told)
        .lines()
        .filter(|line| ignored.take(line).is_some())
        .count() as u64
}

/// Measures; gives the exit status.
pub fn bench(lab: &Lab, args: &BenchArgs) -> Result<i32> {
    let rows = selected(&args.only);
    let plans = plans(&rows, args.boots);
    for file in [&args.json, &args.svg].into_iter().flatten() {
        // Before an hour is spent, not after.
        let dir = file.parent().context("a file lies in a folder")?;
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        if file.is_dir() {
            bail!("{} is a folder", file.display());
        }
    }
    let kernel_for = |variant: Variant, file: Option<&Path>| -> Result<Option<PathBuf>> {
        match plans.iter().any(|plan| plan.variant == variant) {
            true => exec::kernel_asked_for(lab, file, Wanted::new(variant)).map(Some),
            false => Ok(None),
        }
    };
    let base = kernel_for(Variant::Base, args.base_kernel.as_deref())?;
    let patched = kernel_for(Variant::Patched, args.kernel.as_deref())?;
    let bench = Bench {
        lab,
        image: image::prepare(lab)?,
        program: cost_program(lab)?,
        timeout: args.timeout,
    };
    let mut results = Results::default();
    let mut status = None;
    for plan in &plans {
        let kernel = match plan.variant {
            Variant::Base => &base,
            Variant::Patched | Variant::Debug => &patched,
        };
        let kernel = kernel.as_deref().context("a kernel for each plan")?;
        let ended = bench.run(plan, kernel, results.of(plan.variant))?;
        status = status.or(ended);
    }
    let judged: Vec<Judged> = rows.iter().map(|row| row.judge(&results)).collect();
    print!("{}", show::table(&judged));
    let passed = status.is_none() && !judged.iter().any(Judged::is_bad);
    if let Some(file) = &args.json {
        let about = json!({"passed": passed, "boots": args.boots});
        let all = show::json(&judged, &results, about);
        write_whole(file, format!("{all:#}\n").as_bytes())?;
    }
    if let Some(file) = &args.svg {
        write_whole(file, show::chart(&judged)?.as_bytes())?;
    }
    Ok(match (status, passed) {
        (Some(status), _) => status,
        (None, true) => 0,
        (None, false) => exit::FAILED,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempLab;

    fn only(names: &[&str]) -> Vec<&'static Row> {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        selected(&names)
    }

    /// Numbers and names choose rows, and rows choose what is booted.
    #[test]
    fn rows_choose_boots() {
        assert_eq!(only(&[]).len(), ROWS.len());
        for name in names() {
            assert!(!only(&[&name]).is_empty(), "{name}");
        }
        assert!(only(&["1"]).iter().all(|row| row.number == 1));
        let of = |names: &[&str]| {
            plans(&only(names), 3)
                .iter()
                .map(|plan| (plan.variant, plan.measures.join(" "), plan.boots))
                .collect::<Vec<_>>()
        };
        let (base, patched) = (Variant::Base, Variant::Patched);
        assert_eq!(of(&["10"]), [(patched, "memory".into(), 1)]);
        assert_eq!(
            of(&["2", "inode"]),
            [
                (base, "inode".into(), 3),
                (patched, "inode".into(), 3),
                (base, "clones".into(), 1),
                (patched, "clones overlay erofs copies".into(), 1),
            ]
        );
        assert_eq!(of(&[]).len(), 5);
    }

    /// QEMU takes all the machines.
    #[test]
    fn machines_are_sound() {
        for kind in [Kind::Counting, Kind::Large, Kind::Small] {
            let machine = machine(kind, Duration::from_secs(1));
            machine.check().unwrap();
            assert_eq!(machine.icount, kind == Kind::Counting);
        }
        assert_eq!(
            machine(Kind::Small, Duration::ZERO).mem,
            Size(1 << 30),
            "what row 11 says"
        );
    }

    /// The guest knows every measure by its name.
    #[test]
    fn guest_has_the_measures() {
        let python = include_str!("../guest/bench.py");
        let c = include_str!("../guest/cost.c");
        for measure in &MEASURES {
            let known = match measure.kind {
                Kind::Counting => c.contains(&format!("{{ \"{}\", measure_", measure.name)),
                _ => python.contains(&format!("\"{}\": ", measure.name)),
            };
            assert!(known, "{}", measure.name);
        }
    }

    /// The program that counts compiles without a warning, and once.
    #[test]
    fn program_compiles() {
        let temp = TempLab::new();
        let own = temp.lab.own("guest");
        fs::create_dir_all(&own).unwrap();
        let text = include_str!("../guest/cost.c");
        fs::write(
            own.join("cost.c"),
            format!("#pragma GCC diagnostic error \"-Wall\"\n{text}"),
        )
        .unwrap();
        let program = cost_program(&temp.lab).unwrap();
        let made = fs::metadata(&program).unwrap().modified().unwrap();
        assert_eq!(cost_program(&temp.lab).unwrap(), program);
        assert_eq!(fs::metadata(&program).unwrap().modified().unwrap(), made);
    }

    /// A measure counts when the guest has said it to the end.
    #[test]
    fn done_is_counted() {
        let told =
            b"{\"metric\": \"a\", \"value\": 1}\n{\"measure\": \"read\", \"done\": true}\n{\"mea";
        assert_eq!(count_done(told), 1);
        assert_eq!(count_done(b""), 0);
    }
}
