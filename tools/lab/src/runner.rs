// SPDX-License-Identifier: GPL-2.0

//! `lab test`: every test there is, one line each, in groups that differ in
//! where they run.  The lab's own end-to-end tests are in [`crate::endtoend`].

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{bail, Result};

use crate::chroot::Inside;
use crate::cli::TestArgs;
use crate::endtoend;
use crate::exec::{self, Bootable};
use crate::exit;
use crate::guest::Job;
use crate::kernel::{self, Tree, Variant, Wanted};
use crate::ktap::{self, Case, Verdict};
use crate::lab::Lab;
use crate::machine::{Boot, Ending, Machine, Outcome};
use crate::model;
use crate::selftests::{self, Selftests, TORTURE};
use crate::size::Size;
use crate::stress;
use crate::tool;
use crate::types;
use crate::ui::{self, Step};

/// The groups, in the order in which they are run: the quick ones first.
const GROUPS: [&str; 10] = [
    "host",
    "model",
    "lab",
    "types",
    "kunit",
    "selftests",
    "tool",
    "torture",
    INJECT,
    stress::GROUP,
];
/// Groups that are run only when they are named.
const ON_REQUEST: [&str; 2] = [INJECT, stress::GROUP];
/// The random test with failures injected.
const INJECT: &str = "inject";
/// What fails there, as the torture program calls it.
const INJECTED: [&str; 2] = ["memory", "io"];
/// The crates that run on the host.
const CRATES: [&str; 3] = ["tools/lab", model::FOLDER, tool::FOLDER];
/// Boots that a suite may take: a guest that a test brought down ends, the
/// tests after it get another.
pub const MOST_BOOTS: usize = 20;
/// Suites of KUnit that are this series'.
const OWN_SUITES: [&str; 2] = ["page_cache", "rust_page_cache"];
/// Debugging makes everything slower by about this much.
const DEBUG_FACTOR: u64 = 6;
/// The size of each of the disks that selftests get.
pub const DISK: u64 = 8 << 30;

/// Which tests are wanted.
pub struct Selection {
    names: Vec<String>,
}

impl Selection {
    /// What the arguments ask for.
    pub fn new(names: &[String]) -> Selection {
        Selection {
            names: names.to_vec(),
        }
    }

    /// Whether any test of `group` could be wanted.
    fn wants_group(&self, group: &str) -> bool {
        let on_request = ON_REQUEST.contains(&group);
        if self.names.is_empty() {
            return !on_request;
        }
        self.names.iter().any(|name| {
            let first = name.split('.').next().unwrap_or("");
            match GROUPS.contains(&first) {
                true => first == group,
                // Not a group: the beginning of a test's name in any of those
                // that can tell quickly.
                false if group == "torture" => TORTURE.starts_with(name.as_str()),
                false => !on_request,
            }
        })
    }

    /// Whether the test `name` of `group` is wanted.
    pub fn wants(&self, group: &str, name: &str) -> bool {
        let full = format!("{group}.{name}");
        self.names.is_empty()
            || self.names.iter().any(|wanted| {
                full.starts_with(wanted.as_str()) || name.starts_with(wanted.as_str())
            })
    }

    /// Whether tests whose names begin with `program` are wanted.
    fn wants_program(&self, group: &str, program: &str) -> bool {
        let full = format!("{group}.{program}.");
        self.wants(group, program)
            || self.names.iter().any(|wanted| {
                wanted.starts_with(&full) || wanted.starts_with(&format!("{program}."))
            })
    }
}

/// Counts and prints.
#[derive(Default)]
pub struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    /// Prints one test's line, and counts it.
    pub fn add(&mut self, group: &str, name: &str, verdict: &Verdict) {
        ui::aside(|| self.print(group, name, verdict));
    }

    fn print(&mut self, group: &str, name: &str, verdict: &Verdict) {
        match verdict {
            Verdict::Pass => {
                self.passed += 1;
                println!("ok   {group}.{name}");
            }
            Verdict::Skip(reason) => {
                self.skipped += 1;
                println!(
                    "skip {group}.{name}: {}",
                    reason.lines().next().unwrap_or("")
                );
            }
            Verdict::Fail(said) => {
                self.failed += 1;
                println!("FAIL {group}.{name}");
                // The details are many lines; the answer is one per test.
                for line in said.lines() {
                    eprintln!("     | {line}");
                }
            }
        }
    }

    /// The end of the output.  Its last line is always the same two numbers.
    fn summary(&self) -> String {
        let mut text = String::new();
        if self.skipped > 0 {
            text.push_str(&format!("{} skipped\n", self.skipped));
        }
        text.push_str(&format!("{} passed, {} failed", self.passed, self.failed));
        text
    }

    fn count(&self) -> u64 {
        self.passed + self.failed + self.skipped
    }
}

/// What the guest's groups share, made when the first of them needs it.
pub struct Guest<'a> {
    /// Where things are.
    pub lab: &'a Lab,
    /// The kernel's.
    pub variant: Variant,
    tree: Tree,
    bootable: Bootable,
}

impl Guest<'_> {
    /// A time that debugging makes longer.
    pub fn seconds(&self, seconds: u64) -> u64 {
        match self.variant {
            Variant::Debug => seconds * DEBUG_FACTOR,
            _ => seconds,
        }
    }

    /// The machine of the selftests, with that time.
    pub fn machine(&self, seconds: u64) -> Machine {
        Machine {
            mem: Size(3 << 30),
            cpus: 2,
            numa: 2,
            pmem: Size(1 << 30),
            disks: vec![Size(DISK), Size(DISK)],
            append: String::new(),
            icount: false,
            timeout: Duration::from_secs(self.seconds(seconds)),
        }
    }

    /// Boots for a job; `watch` sees again and again what it has printed so far.
    pub fn boot(
        &self,
        machine: &Machine,
        job: Job,
        files: Files,
        mut watch: impl FnMut(&[u8]),
    ) -> Result<(Outcome, String)> {
        let text = Arc::new(Mutex::new(Vec::new()));
        let outcome = Boot {
            lab: self.lab,
            kernel: &self.bootable.kernel,
            image: &self.bootable.image,
            machine,
            job,
            files,
            share: None,
            out: None,
            stdout: Box::new(Shared(text.clone())),
            stderr: Box::new(ui::Stderr),
            interactive: false,
            on_start: Box::new(|| {}),
            on_tick: Box::new(|| {
                if let Ok(text) = text.lock() {
                    watch(&text);
                }
                true
            }),
        }
        .run()?;
        let text = text.lock().map(|t| t.clone()).unwrap_or_default();
        Ok((outcome, String::from_utf8_lossy(&text).into_owned()))
    }
}

/// Files of the host and their names in the guest.
pub type Files = Vec<(std::path::PathBuf, String)>;

/// A place for output that is read when the writer is gone.
pub struct Shared(pub Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Ok(mut text) = self.0.lock() {
            text.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs the tests; gives the exit status.
pub fn test(lab: &Lab, args: &TestArgs) -> Result<i32> {
    if args.variant == Variant::Base {
        bail!("--variant base: the unpatched kernel has nothing to test");
    }
    let selection = Selection::new(&args.names);
    let mut tally = Tally::default();
    let mut guest = None;
    for group in GROUPS {
        if !selection.wants_group(group) {
            continue;
        }
        if group == "host" {
            for name in CRATES {
                host(lab, name, &selection, &mut tally)?;
            }
            continue;
        }
        if group == "model" {
            add_all(group, &model::results(lab)?, &selection, &mut tally);
            continue;
        }
        if let Some(reason) = cannot_inject(args).filter(|_| group == INJECT) {
            tally.add(group, INJECT, &Verdict::Skip(reason.into()));
            continue;
        }
        let guest = match &guest {
            Some(guest) => guest,
            None => {
                let wanted = Wanted::new(args.variant);
                guest.insert(Guest {
                    lab,
                    variant: args.variant,
                    tree: kernel::tree(lab)?,
                    bootable: exec::asked_for(lab, args.kernel.as_deref(), wanted)?,
                })
            }
        };
        match group {
            "lab" => endtoend::run(lab, args, &selection, &mut tally)?,
            "types" => types(guest, &selection, &mut tally)?,
            "kunit" => kunit(guest, &selection, &mut tally)?,
            "selftests" => programs(guest, &selection, &mut tally)?,
            "tool" => tool(guest, &selection, &mut tally)?,
            "torture" => torture(guest, args, &selection, &mut tally)?,
            INJECT => inject(guest, args, &selection, &mut tally)?,
            _ => stress::stress(guest, &selection, &mut tally)?,
        }
    }
    if tally.count() == 0 {
        bail!("no test is called {}", args.names.join(" or "));
    }
    println!("{}", tally.summary());
    Ok(match tally.failed {
        0 => 0,
        _ => exit::FAILED,
    })
}

/// The style and the unit tests of a crate, compiled and run in the build root.
fn host(lab: &Lab, folder: &str, selection: &Selection, tally: &mut Tally) -> Result<()> {
    let cargo = |line: &[&'static str]| Inside::cargo(lab, folder, "target", line.iter().copied());
    let name = |of: &str| format!("{}.{of}", folder.rsplit('/').next().unwrap_or(folder));
    let mut step = Step::lasting(
        format!("compiling and running the unit tests of {folder}"),
        Duration::from_secs(120),
    );
    // rustfmt is quick, and a difference is a failure that tells how to mend it.
    if selection.wants("host", &name("rustfmt")) {
        let (status, out, err) = cargo(&["fmt", "--check"]).outcome(&[])?;
        let said = String::from_utf8_lossy(&[out, err].concat()).into_owned();
        tally.add("host", &name("rustfmt"), &verdict(status == Some(0), said));
    }
    if selection.wants("host", &name("clippy")) {
        step.at("clippy");
        let line = [
            "clippy",
            "--locked",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ];
        let (status, out, err) = cargo(&line).outcome(&[])?;
        let said = String::from_utf8_lossy(&[out, err].concat()).into_owned();
        tally.add("host", &name("clippy"), &verdict(status == Some(0), said));
    }
    step.at("unit tests");
    let line = [
        "test",
        "--locked",
        "--quiet",
        "--no-fail-fast",
        "--",
        "--format=pretty",
    ];
    let (status, out, err) = cargo(&line).outcome(&[])?;
    step.done();
    let text = String::from_utf8_lossy(&out).into_owned();
    let mut cases = cargo_results(&text);
    for case in &mut cases {
        case.name = name(&case.name);
    }
    let failures = cases
        .iter()
        .filter(|case| matches!(case.verdict, Verdict::Fail(_)))
        .count();
    add_wanted("host", &cases, selection, tally);
    if status != Some(0) && failures == 0 {
        let said = format!("{text}{}", String::from_utf8_lossy(&err));
        tally.add("host", &name("cargo-test"), &Verdict::Fail(said));
    }
    Ok(())
}

fn verdict(good: bool, said: String) -> Verdict {
    match good {
        true => Verdict::Pass,
        false => Verdict::Fail(said),
    }
}

/// What cargo's test programs printed.
fn cargo_results(text: &str) -> Vec<Case> {
    let mut cases = vec![];
    for line in text.lines() {
        let Some((name, result)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        else {
            continue;
        };
        let verdict = match result.split(',').next().unwrap_or("") {
            "ok" => Verdict::Pass,
            "ignored" => Verdict::Skip("ignored".into()),
            _ => Verdict::Fail(said_by(text, name)),
        };
        cases.push(Case {
            name: name.replace("::tests::", "."),
            verdict,
        });
    }
    cases
}

/// The part of cargo's output that belongs to one failed test.
fn said_by(text: &str, name: &str) -> String {
    let begin = format!("---- {name} stdout ----");
    text.lines()
        .skip_while(|line| *line != begin)
        .skip(1)
        .take_while(|line| !line.starts_with("---- ") && *line != "failures:")
        .collect::<Vec<_>>()
        .join("\n")
}

/// Prints the results of every suite, as the kernel kept them.
const KUNIT_SCRIPT: &str = "for f in /sys/kernel/debug/kunit/*/results; do cat \"$f\"; done";

fn kunit(guest: &Guest, selection: &Selection, tally: &mut Tally) -> Result<()> {
    let mut machine = guest.machine(600);
    machine.append = "kunit.enable=1 kunit.autorun=1".into();
    let step = Step::lasting(
        "running KUnit in the guest",
        Duration::from_secs(guest.seconds(60)),
    );
    let job = Job {
        arguments: ["/bin/sh", "-c", KUNIT_SCRIPT].map(String::from).into(),
        ..Job::default()
    };
    let (outcome, text) = guest.boot(&machine, job, vec![], |_| {})?;
    step.done();
    let cases = ktap::parse(&text);
    let own = cases
        .iter()
        .any(|case| OWN_SUITES.iter().any(|suite| case.name.starts_with(suite)));
    add_wanted("kunit", &cases, selection, tally);
    if let Some(said) = trouble(&outcome) {
        tally.add("kunit", "boot", &Verdict::Fail(said));
    } else if cases.is_empty() {
        tally.add(
            "kunit",
            "results",
            &Verdict::Fail("no suite has run".into()),
        );
    } else if !own {
        let said = format!("no suite is called {}*", OWN_SUITES.join("* or "));
        tally.add("kunit", "own-suites", &Verdict::Fail(said));
    }
    Ok(())
}

/// What the tool that shows what is shared says of files in the guest.
fn tool(guest: &Guest, selection: &Selection, tally: &mut Tally) -> Result<()> {
    let program = match tool::build(guest.lab)? {
        Ok(program) => program,
        Err(said) => {
            tally.add("tool", "build", &Verdict::Fail(said));
            return Ok(());
        }
    };
    let step = Step::lasting(
        "asking in the guest what is shared",
        Duration::from_secs(guest.seconds(30)),
    );
    let script = format!("{}.py", tool::NAME);
    let there = format!("/lab/in/{}", tool::NAME);
    let job = Job {
        arguments: vec![format!("/lab/in/{script}"), there],
        ..Job::default()
    };
    let files = vec![
        (guest.lab.own(&format!("guest/{script}")), script),
        (program, tool::NAME.into()),
    ];
    let (outcome, text) = guest.boot(&guest.machine(300), job, files, |_| {})?;
    step.done();
    add_all("tool", &text, selection, tally);
    let said = trouble(&outcome).or(match &outcome.ending {
        Ending::Ended(0) => None,
        _ => Some(text),
    });
    if let Some(said) = said {
        tally.add("tool", "boot", &Verdict::Fail(said));
    }
    Ok(())
}

/// What the types of the Rust code forbid, asked of the compiler.
fn types(guest: &Guest, selection: &Selection, tally: &mut Tally) -> Result<()> {
    let text = match types::results(guest.lab, &guest.tree) {
        Ok(text) => text,
        Err(error) => {
            tally.add("types", "build", &Verdict::Fail(format!("{error:#}")));
            return Ok(());
        }
    };
    add_all("types", &text, selection, tally);
    Ok(())
}

/// Adds all results in `text`, which must have some.
fn add_all(group: &str, text: &str, selection: &Selection, tally: &mut Tally) {
    let cases = ktap::parse(text);
    add_wanted(group, &cases, selection, tally);
    if cases.is_empty() {
        tally.add(group, "results", &Verdict::Fail(text.into()));
    }
}

/// Adds those results that were asked for.
fn add_wanted(group: &str, cases: &[Case], selection: &Selection, tally: &mut Tally) {
    for case in cases {
        if selection.wants(group, &case.name) {
            tally.add(group, &case.name, &case.verdict);
        }
    }
}

/// What was wrong with a boot; a job's own status is not.
pub fn trouble(outcome: &Outcome) -> Option<String> {
    let log = outcome.log.display();
    match &outcome.ending {
        Ending::Ended(_) => None,
        Ending::Report { headline, report } => Some(format!(
            "the kernel reported: {headline}\n{report}\n(log: {log})"
        )),
        Ending::TimedOut { stacks } => Some(format!(
            "the guest did not end in time; its stacks:\n{stacks}\n(log: {log})"
        )),
        Ending::Died { reason } => Some(format!("the guest ended: {reason}\n(log: {log})")),
    }
}

fn environment(wanted: Variant) -> Vec<(String, String)> {
    [
        ("PAGE_CACHE_DEV", "/dev/vdb"),
        ("PAGE_CACHE_DEV2", "/dev/vdc"),
        ("PAGE_CACHE_PMEM", "/dev/pmem0"),
        (
            "LAB_VARIANT",
            if wanted == Variant::Debug {
                "debug"
            } else {
                "patched"
            },
        ),
    ]
    .map(|(k, v)| (k.to_string(), v.to_string()))
    .into()
}

/// The line that parts one program's output from another's.
pub const MARK: &str = "#lab#";

fn programs(guest: &Guest, selection: &Selection, tally: &mut Tally) -> Result<()> {
    let built = match selftests::prepare(guest.lab, &guest.tree) {
        Ok(built) => built,
        Err(error) => {
            tally.add("selftests", "build", &Verdict::Fail(format!("{error:#}")));
            return Ok(());
        }
    };
    if built.programs.is_empty() {
        let said = format!("{} has no test programs", selftests::FOLDER);
        tally.add("selftests", "programs", &Verdict::Fail(said));
        return Ok(());
    }
    run_programs(
        guest,
        "selftests",
        &built,
        &built.programs,
        selection,
        tally,
    )
}

/// Runs those of the programs that are wanted, in as many boots as it takes.
fn run_programs(
    guest: &Guest,
    group: &str,
    built: &Selftests,
    programs: &[String],
    selection: &Selection,
    tally: &mut Tally,
) -> Result<()> {
    let mut left: Vec<String> = programs
        .iter()
        .filter(|program| selection.wants_program(group, program))
        .cloned()
        .collect();
    let total = left.len() as u64;
    let mut step = Step::new("running the selftests in the guest", Some(total));
    for _ in 0..MOST_BOOTS {
        if left.is_empty() {
            break;
        }
        let before = total - left.len() as u64;
        let mut progress = Progress::default();
        let show = |text: &[u8]| {
            if progress.read(text) {
                step.reach(before + progress.ended, &progress.now);
            }
        };
        left = boot_programs(guest, group, built, left, selection, tally, show)?;
    }
    step.done();
    for program in left {
        let said = "not run: too many guests went down before it".to_string();
        tally.add(group, &program, &Verdict::Fail(said));
    }
    Ok(())
}

/// Runs programs in one boot; gives those that were not begun.
fn boot_programs(
    guest: &Guest,
    group: &str,
    built: &Selftests,
    programs: Vec<String>,
    selection: &Selection,
    tally: &mut Tally,
    show: impl FnMut(&[u8]),
) -> Result<Vec<String>> {
    let limit = guest.seconds(built.limit);
    // The factor for debugging is in the limit already.
    let mut machine = guest.machine(0);
    machine.timeout = Duration::from_secs(120 + (limit + 30) * programs.len() as u64);
    // Or no block of memory could be taken away.
    machine.append = "movablecore=1G".into();
    let mut arguments = vec![
        "/lab/in/suite.sh".to_string(),
        MARK.into(),
        limit.to_string(),
    ];
    arguments.extend(programs.iter().cloned());
    let mut files = vec![
        (guest.lab.own("guest/suite.sh"), "suite.sh".into()),
        (built.dir.clone(), "selftests".into()),
    ];
    let mut environment = environment(guest.variant);
    // With a kernel of somebody else's there is none, and tests of it are skipped.
    let sample = guest.bootable.kernel.with_file_name(kernel::SAMPLE);
    if sample.is_file() {
        files.push((sample, kernel::SAMPLE.into()));
        let there = format!("/lab/in/{}", kernel::SAMPLE);
        environment.push(("RUST_PAGE_CACHE_KO".into(), there));
    }
    let job = Job {
        arguments,
        environment,
        ..Job::default()
    };
    let (outcome, text) = guest.boot(&machine, job, files, show)?;
    let ran = split_programs(&text);
    let begun: BTreeSet<&str> = ran.iter().map(|run| run.program.as_str()).collect();
    let trouble = trouble(&outcome);
    for run in &ran {
        for case in judge(run, trouble.as_deref()) {
            if selection.wants(group, &case.name) {
                tally.add(group, &case.name, &case.verdict);
            }
        }
    }
    let left: Vec<String> = programs
        .iter()
        .filter(|program| !begun.contains(program.as_str()))
        .cloned()
        .collect();
    if begun.is_empty() {
        let said = trouble.unwrap_or_else(|| format!("nothing has run:\n{text}"));
        tally.add(group, "boot", &Verdict::Fail(said));
        return Ok(vec![]);
    }
    if ran.iter().all(|run| run.status.is_some()) {
        if let Some(said) = trouble {
            // After the last one's end: nobody's, so a line of its own.
            tally.add(group, "kernel", &Verdict::Fail(said));
        }
    }
    Ok(left)
}

/// One program's output in one boot.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its name.
    pub program: String,
    /// What it printed.
    pub output: String,
    /// None when the guest ended before the program.
    pub status: Option<i32>,
}

/// The output of each program, by the marks in it.
pub fn split_programs(text: &str) -> Vec<Ran> {
    let mut ran: Vec<Ran> = vec![];
    for line in text.lines() {
        // A program may have ended in the middle of a line.
        if let Some((before, order)) = line.split_once(&format!("{MARK} ")) {
            let words: Vec<&str> = order.split(' ').collect();
            match words[..] {
                ["begin", program] => ran.push(Ran {
                    program: program.into(),
                    output: String::new(),
                    status: None,
                }),
                ["end", _, status] => {
                    if let Some(last) = ran.last_mut() {
                        last.output.push_str(before);
                        last.status = status.parse().ok();
                    }
                }
                _ => {}
            }
        } else if let Some(last) = ran.last_mut() {
            last.output.push_str(line);
            last.output.push('\n');
        }
    }
    ran
}

/// How far the programs of a boot are, by the marks in what was printed so far.
#[derive(Default)]
pub struct Progress {
    seen: usize,
    /// How many have ended.
    pub ended: u64,
    /// The one that runs.
    pub now: String,
}

impl Progress {
    /// Reads the whole lines that are new in `text`; whether there were any.
    pub fn read(&mut self, text: &[u8]) -> bool {
        let new = text.get(self.seen..).unwrap_or_default();
        let Some(end) = new.iter().rposition(|b| *b == b'\n') else {
            return false;
        };
        self.seen += end + 1;
        for line in String::from_utf8_lossy(&new[..end]).lines() {
            let Some((_, order)) = line.split_once(&format!("{MARK} ")) else {
                continue;
            };
            if let Some(program) = order.strip_prefix("begin ") {
                self.now = program.into();
            } else if order.starts_with("end ") {
                self.ended += 1;
            }
        }
        true
    }
}

/// The lines of the last part of an output.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// A program's cases, and one for itself when it did not end well though none
/// of them failed.
fn judge(run: &Ran, trouble: Option<&str>) -> Vec<Case> {
    let mut cases: Vec<Case> = ktap::parse(&run.output)
        .into_iter()
        .map(|case| Case {
            name: format!("{}.{}", run.program, case.name),
            ..case
        })
        .collect();
    let failed = |case: &Case| matches!(case.verdict, Verdict::Fail(_));
    let end = match run.status {
        None => Some(trouble.unwrap_or("the guest ended").to_string()),
        // kselftest's status of a program that skips as a whole.
        Some(4) if !cases.iter().any(failed) => {
            if cases.is_empty() {
                cases.push(Case {
                    name: run.program.clone(),
                    verdict: Verdict::Skip(tail(&run.output)),
                });
            }
            None
        }
        Some(124 | 137) => Some(format!("did not end in time:\n{}", tail(&run.output))),
        Some(0) if cases.is_empty() => Some(format!("printed no result:\n{}", tail(&run.output))),
        Some(0) => None,
        Some(_) if cases.iter().any(failed) => None,
        Some(status) => Some(format!("exit status {status}:\n{}", tail(&run.output))),
    };
    if let Some(said) = end {
        cases.push(Case {
            name: run.program.clone(),
            verdict: Verdict::Fail(said),
        });
    }
    cases
}

/// The random test, with its seed in its name.
fn torture(guest: &Guest, args: &TestArgs, selection: &Selection, tally: &mut Tally) -> Result<()> {
    if !selection.wants_program("torture", "seed") && !selection.wants("torture", TORTURE) {
        return Ok(());
    }
    let Some(built) = prepare_torture(guest, "torture", tally)? else {
        return Ok(());
    };
    let seed = args.seed.unwrap_or_else(new_seed);
    let random = Random {
        name: format!("seed-{seed}"),
        again: format!("torture --seed {seed}"),
        group: "torture",
        seed,
        inject: None,
    };
    random.run(guest, args, &built, tally)
}

/// Why no failures can be injected, if the arguments tell already.  With a kernel
/// of somebody else's the program sees for itself.
fn cannot_inject(args: &TestArgs) -> Option<&'static str> {
    match (args.variant, &args.kernel) {
        (Variant::Debug, _) | (_, Some(_)) => None,
        _ => Some("only the kernel of --variant debug has fault injection"),
    }
}

/// The random test with allocations or reads of the disk failing here and there,
/// then each allocation of a few operations in turn.
fn inject(guest: &Guest, args: &TestArgs, selection: &Selection, tally: &mut Tally) -> Result<()> {
    let Some(built) = prepare_torture(guest, INJECT, tally)? else {
        return Ok(());
    };
    let seed = args.seed.unwrap_or_else(new_seed);
    for what in INJECTED {
        let random = Random {
            name: format!("{what}-seed-{seed}"),
            again: format!("--variant debug {INJECT}.{what} --seed {seed}"),
            group: INJECT,
            seed,
            inject: Some(what),
        };
        if selection.wants(INJECT, &random.name) {
            random.run(guest, args, &built, tally)?;
        }
    }
    let programs = [selftests::INJECT.to_string()];
    run_programs(guest, INJECT, &built, &programs, selection, tally)
}

/// The programs, if the torture program is one of them; else it is a failure.
fn prepare_torture(guest: &Guest, group: &str, tally: &mut Tally) -> Result<Option<Selftests>> {
    match selftests::prepare(guest.lab, &guest.tree) {
        Ok(built) if built.dir.join(TORTURE).is_file() => return Ok(Some(built)),
        Ok(_) => {
            let said = format!("{} has no program {TORTURE}", selftests::FOLDER);
            tally.add(group, "program", &Verdict::Fail(said));
        }
        Err(error) => tally.add(group, "build", &Verdict::Fail(format!("{error:#}"))),
    }
    Ok(None)
}

/// One run of the torture program.
struct Random {
    group: &'static str,
    name: String,
    seed: u64,
    /// What is to fail.
    inject: Option<&'static str>,
    /// What has to be asked for to repeat it.
    again: String,
}

impl Random {
    fn arguments(&self, seconds: u64) -> Vec<String> {
        let mut arguments = vec![
            format!("/lab/in/selftests/{TORTURE}"),
            "--seconds".into(),
            seconds.to_string(),
            "--seed".into(),
            self.seed.to_string(),
        ];
        if let Some(what) = self.inject {
            arguments.extend(["--inject".into(), what.into()]);
        }
        arguments
    }

    fn run(
        &self,
        guest: &Guest,
        args: &TestArgs,
        built: &Selftests,
        tally: &mut Tally,
    ) -> Result<()> {
        let seconds = args.torture.as_secs();
        let mut machine = guest.machine(0);
        machine.timeout = Duration::from_secs(seconds + guest.seconds(300));
        let what = format!("torture for {seconds} seconds with seed {}", self.seed);
        // The boot and the last look at all files come on top.
        let step = Step::lasting(what, args.torture + Duration::from_secs(guest.seconds(20)));
        let job = Job {
            arguments: self.arguments(seconds),
            environment: environment(guest.variant),
            ..Job::default()
        };
        let files = vec![(built.dir.clone(), "selftests".into())];
        let (outcome, text) = guest.boot(&machine, job, files, |_| {})?;
        step.done();
        let verdict = match (&outcome.ending, trouble(&outcome)) {
            (_, Some(said)) => Verdict::Fail(format!("{}\n{said}", tail(&text))),
            (Ending::Ended(0), None) => Verdict::Pass,
            (Ending::Ended(4), None) => Verdict::Skip(tail(&text)),
            _ => Verdict::Fail(tail(&text)),
        };
        tally.add(self.group, &self.name, &verdict);
        if verdict != Verdict::Pass {
            ui::say(format!("to repeat it: ./lab test {}", self.again));
        }
        Ok(())
    }
}

fn new_seed() -> u64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    // Short enough to be typed again.
    (now.as_nanos() as u64) % 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(names: &[&str]) -> Selection {
        Selection::new(&names.iter().map(|n| n.to_string()).collect::<Vec<_>>())
    }

    /// A group's name selects the group and nothing else.
    #[test]
    fn groups_are_selected() {
        let host = selection(&["host"]);
        assert!(host.wants_group("host") && !host.wants_group("kunit"));
        assert!(host.wants("host", "size.sizes_are_read"));
        assert!(!host.wants("lab", "exit-status"));
        let all = selection(&[]);
        assert!(GROUPS
            .iter()
            .all(|group| all.wants_group(group) != ON_REQUEST.contains(group)));
    }

    /// What takes long has to be named, with its group.
    #[test]
    fn long_groups_are_named() {
        for group in ON_REQUEST {
            assert!(selection(&[group]).wants_group(group));
            assert!(!selection(&[group]).wants_group("torture"));
            assert!(selection(&[&format!("{group}.io")]).wants_group(group));
            assert!(!selection(&["io", "mmap"]).wants_group(group));
        }
    }

    /// Failures are injected in the debug variant, or in what nobody knows.
    #[test]
    fn injection_needs_its_kernel() {
        use clap::Parser;
        let args = |line: &[&str]| {
            let line = ["lab", "test", INJECT].iter().chain(line);
            match crate::cli::Cli::parse_from(line).command {
                crate::cli::Command::Test(args) => args,
                _ => panic!("not test"),
            }
        };
        assert!(cannot_inject(&args(&[])).is_some());
        assert!(cannot_inject(&args(&["--variant", "debug"])).is_none());
        assert!(cannot_inject(&args(&["--kernel", "/bzImage"])).is_none());
    }

    /// The torture program is told what fails only when something does.
    #[test]
    fn torture_has_its_arguments() {
        let random = |inject| Random {
            group: INJECT,
            name: "n".into(),
            seed: 7,
            inject,
            again: String::new(),
        };
        let line = "/lab/in/selftests/torture --seconds 5 --seed 7";
        assert_eq!(random(None).arguments(5).join(" "), line);
        assert_eq!(
            random(Some("io")).arguments(5).join(" "),
            format!("{line} --inject io")
        );
    }

    /// The beginning of a name is enough, with or without its group.
    #[test]
    fn names_are_prefixes() {
        for name in [
            "selftests.share",
            "share",
            "selftests.share.on_read",
            "share.on_read",
        ] {
            let one = selection(&[name]);
            assert!(one.wants_group("selftests"), "{name}");
            assert!(one.wants_program("selftests", "share"), "{name}");
            assert!(one.wants("selftests", "share.on_read"), "{name}");
            assert!(!one.wants_program("selftests", "break"), "{name}");
        }
        assert!(!selection(&["share.on_read"]).wants("selftests", "share.on_splice"));
    }

    fn ran(output: &str, status: Option<i32>) -> Ran {
        Ran {
            program: "p".into(),
            output: output.into(),
            status,
        }
    }

    fn failures(run: &Ran) -> usize {
        judge(run, None)
            .iter()
            .filter(|case| matches!(case.verdict, Verdict::Fail(_)))
            .count()
    }

    /// However a program fails to do its work, it is a failure.
    #[test]
    fn dead_programs_fail() {
        assert_eq!(failures(&ran("1..1\nok 1 a\n", Some(0))), 0);
        assert_eq!(failures(&ran("1..1\nnot ok 1 a\n", Some(1))), 1);
        assert_eq!(failures(&ran("1..1\nok 1 a\n", Some(139))), 1);
        assert_eq!(failures(&ran("1..1\nok 1 a\n", None)), 1);
        assert_eq!(failures(&ran("1..1\nok 1 a\n", Some(124))), 1);
        assert_eq!(failures(&ran("hello\n", Some(0))), 1);
        assert_eq!(failures(&ran("", Some(0))), 1);
        assert_eq!(failures(&ran("1..0 # SKIP no\n", Some(4))), 0);
    }

    /// Output is given to the program that printed it, even without line ends.
    #[test]
    fn output_is_parted() {
        let text = "#lab# begin a\nok 1 x\n#lab# end a 0\n#lab# begin b\nhalf#lab# end b 139\n\
                    #lab# begin c\nok 1 z\n";
        let ran = split_programs(text);
        assert_eq!(ran.len(), 3);
        assert_eq!(
            (ran[0].output.as_str(), ran[0].status),
            ("ok 1 x\n", Some(0))
        );
        assert_eq!((ran[1].output.as_str(), ran[1].status), ("half", Some(139)));
        assert_eq!(ran[2].status, None);
    }

    /// The bar knows what runs and how much is behind, whatever comes in one piece.
    #[test]
    fn progress_is_read() {
        let text = b"#lab# begin a\nok 1 x\n#lab# end a 0\n#lab# begin b\nhal#lab# end b 1\n";
        for step in [1, 7, text.len()] {
            let mut progress = Progress::default();
            for end in (0..text.len()).step_by(step) {
                progress.read(&text[..end]);
            }
            assert!(progress.read(text) || step == 1);
            assert_eq!((progress.ended, progress.now.as_str()), (2, "b"));
            assert!(!progress.read(text));
        }
    }

    /// cargo's results are read, with what a failed test said.
    #[test]
    fn cargo_is_understood() {
        let text = "running 2 tests\ntest a::tests::one ... ok\ntest a::tests::two ... FAILED\n\n\
                    failures:\n\n---- a::tests::two stdout ----\nboom\n\nfailures:\n    a::tests::two\n";
        let cases = cargo_results(text);
        assert_eq!(cases[0].name, "a.one");
        assert_eq!(cases[1].verdict, Verdict::Fail("boom\n".into()));
    }

    /// The last line is what the issue says it is.
    #[test]
    fn summary_is_fixed() {
        let mut tally = Tally::default();
        assert_eq!(tally.summary(), "0 passed, 0 failed");
        tally.skipped = 2;
        assert_eq!(tally.summary(), "2 skipped\n0 passed, 0 failed");
    }
}
