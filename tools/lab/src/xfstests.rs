// SPDX-License-Identifier: GPL-2.0

//! `lab xfstests`: a tree of xfstests that the user has, run in the guest.  A
//! test that hangs or brings the guest down is put down as failed; the tests
//! after it get another guest.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::ValueEnum;

use crate::cli::XfstestsArgs;
use crate::exec::{self, Bootable};
use crate::exit;
use crate::guest::{Job, OUT};
use crate::image;
use crate::kernel::{self, Wanted};
use crate::lab::Lab;
use crate::machine::{Boot, Ending, Machine, Outcome};
use crate::runner::Shared;
use crate::size::Size;
use crate::ui::{self, Step};
use crate::xfscheck::{CheckArgs, Reader, Test, Verdict, MARK};
use crate::xfsresult::{differences, is_free, Difference, Results};

/// Boot, devices, check's first looks at them, and its end: no test's time.
const AROUND: Duration = Duration::from_secs(600);
/// A guest that never hangs has all the time in the world.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);
/// Below this, in MiB, the host's disk is full: QEMU stops a guest whose disk
/// cannot grow.
const FULL: u64 = 64;
/// What has to be free, in MiB, before disks that grow are given to a guest.
const NEEDED: u64 = 4096;
/// The smallest file systems that mkfs.xfs makes and most tests take.
const LEAST: Size = Size(1 << 30);

/// What the file systems under test are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Config {
    /// Reflink and reverse map, blocks of 4 KiB
    Xfs,
    /// The same on pmem, mounted -o dax=always
    XfsDax,
    /// Blocks of 1 KiB
    #[value(name = "xfs-1k")]
    Xfs1k,
    /// With a realtime device on which all files' data lies
    XfsRt,
}

impl Config {
    /// Its name.
    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_string())
            .unwrap_or_default()
    }

    /// The size of each device if nobody says another; pmem is the host's memory.
    fn default_size(self) -> Size {
        match self {
            Config::XfsDax => Size(3 << 30),
            _ => Size(6 << 30),
        }
    }

    /// Variables of xfstests, as its configuration files set them.
    fn text(self) -> String {
        let mut lines = vec![
            "FSTYP=xfs".to_string(),
            "TEST_DIR=/mnt/test".into(),
            "SCRATCH_MNT=/mnt/scratch".into(),
            format!("RESULT_BASE={OUT}"),
        ];
        let own: &[&str] = match self {
            Config::Xfs => &["MKFS_OPTIONS='-m reflink=1,rmapbt=1 -i exchange=1'"],
            Config::Xfs1k => &["MKFS_OPTIONS='-b size=1024 -m reflink=1,rmapbt=1 -i exchange=1'"],
            Config::XfsDax => &[
                "MKFS_OPTIONS='-m reflink=1,rmapbt=1 -i exchange=1'",
                "MOUNT_OPTIONS='-o dax=always'",
                "TEST_FS_MOUNT_OPTS='-o dax=always'",
            ],
            Config::XfsRt => &[
                "MKFS_OPTIONS='-d rtinherit=1 -m metadir=1,reflink=1,rmapbt=1 -i exchange=1'",
                // Of a mkfs.xfs that has no reflink on realtime devices yet.
                "MKFS_OLDER='-d rtinherit=1 -m reflink=0,rmapbt=0'",
                "USE_EXTERNAL=yes",
                "TEST_RTDEV=/dev/vdd",
                "SCRATCH_RTDEV=/dev/vde",
            ],
        };
        lines.extend(own.iter().map(|line| line.to_string()));
        let devices: &[&str] = match self {
            Config::XfsDax => &["TEST_DEV=/dev/pmem0", "SCRATCH_DEV=/dev/pmem1"],
            Config::XfsRt => &["TEST_DEV=/dev/vdb", "SCRATCH_DEV=/dev/vdc"],
            Config::Xfs | Config::Xfs1k => &[
                "TEST_DEV=/dev/vdb",
                "SCRATCH_DEV=/dev/vdc",
                "LOGWRITES_DEV=/dev/vdd",
            ],
        };
        lines.extend(devices.iter().map(|line| line.to_string()));
        format!("export {}\n", lines.join("\nexport "))
    }

    /// The machine with the devices that [`Config::text`] names.
    fn machine(self, mem: Size, cpus: u32, size: Size) -> Machine {
        let disks = match self {
            Config::XfsDax => 0,
            Config::XfsRt => 4,
            Config::Xfs | Config::Xfs1k => 3,
        };
        Machine {
            mem,
            cpus,
            numa: Machine::nodes(cpus),
            pmem: if disks == 0 { size } else { Size(0) },
            disks: vec![size; disks],
            append: String::new(),
            icount: false,
            timeout: FOREVER,
        }
    }
}

/// Refuses what is no xfstests tree, or one that nobody has built.
fn check_tree(dir: &Path) -> Result<PathBuf> {
    let shown = dir.display();
    let meta = fs::metadata(dir).with_context(|| format!("cannot read {shown}"))?;
    if !meta.is_dir() {
        bail!("{shown} is not a folder");
    }
    for file in ["check", "common/rc"] {
        if !dir.join(file).is_file() {
            bail!("{shown} is not an xfstests tree: it has no file {file}");
        }
    }
    for file in ["tests/generic/group.list", "ltp/fsstress"] {
        if !dir.join(file).is_file() {
            bail!("{shown} is not built, it has no file {file}: see its README");
        }
    }
    Ok(fs::canonicalize(dir)?)
}

/// Refuses names of tests that the tree does not have.
fn check_names(tree: &Path, asked: &CheckArgs) -> Result<()> {
    for name in asked.names() {
        if !tree.join("tests").join(name).is_file() {
            bail!("the xfstests tree has no test {name}");
        }
    }
    for file in &asked.excludes {
        fs::read_to_string(file).with_context(|| format!("-E: cannot read {}", file.display()))?;
    }
    Ok(())
}

/// Refuses sizes that are no use, and pmem that the host has no memory for.
fn check_machine(machine: &Machine, size: Size) -> Result<()> {
    if size < LEAST || size.0 % (2 << 20) != 0 {
        bail!("--size {size}: at least {LEAST}, and even MiB");
    }
    machine.check()?;
    let wanted = machine.mem.0 + u64::from(machine.pmem_devices()) * machine.pmem.0;
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match available(&meminfo) {
        Some(free) if machine.pmem.0 != 0 && free < wanted => bail!(
            "pmem is this machine's memory: {} MiB are available, the guest may take {} MiB \
             (--size and --mem make it smaller)",
            free >> 20,
            wanted >> 20
        ),
        _ => Ok(()),
    }
}

/// Bytes that programs can get, by /proc/meminfo.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// What to boot: the kernel, and the image with all that tests call.
fn bootable(lab: &Lab, kernel: Option<&Path>, wanted: Wanted) -> Result<Bootable> {
    Ok(Bootable {
        kernel: exec::kernel_asked_for(lab, kernel, wanted)?,
        image: image::prepare_for_xfstests(lab)?,
    })
}

/// Refuses a folder for the results in which others may be.
fn check_out(out: Option<&Path>) -> Result<()> {
    match out {
        Some(out) if !is_free(out)? => {
            bail!("--out {}: the folder is not empty", out.display())
        }
        _ => Ok(()),
    }
}

/// Where the results go: --out, or a new folder in the cache.
fn place(lab: &Lab, args: &XfstestsArgs) -> Result<PathBuf> {
    if let Some(out) = &args.out {
        fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        return Ok(out.clone());
    }
    let dir = lab.cache.join("xfstests");
    fs::create_dir_all(&dir)?;
    let out = tempfile::Builder::new()
        .prefix(&format!("{}-", args.config.name()))
        .tempdir_in(&dir)
        .context("cannot make a folder in the cache")?
        .keep();
    kernel::keep_recent(lab, "xfstests", &out);
    Ok(out)
}

/// Runs the tests; gives the exit status.
pub fn xfstests(lab: &Lab, args: &XfstestsArgs) -> Result<i32> {
    let asked = CheckArgs::parse(&args.check)?;
    let tree = check_tree(&args.dir)?;
    check_names(&tree, &asked)?;
    check_out(args.out.as_deref())?;
    if args.kernel.is_none() && args.against == Some(args.variant) {
        bail!("--against: that is the kernel which is to be compared");
    }
    let size = args.size.unwrap_or(args.config.default_size());
    let machine = args.config.machine(args.mem, args.cpus, size);
    check_machine(&machine, size)?;
    lab.need_space(NEEDED, "the guest's disks")?;
    let wanted = Wanted::new(args.variant);
    let name = match &args.kernel {
        Some(file) => file.display().to_string(),
        None => wanted.name(),
    };
    let booted = bootable(lab, args.kernel.as_deref(), wanted)?;
    let other = match args.against {
        Some(variant) => {
            let kernel = Wanted::new(variant);
            Some((kernel.name(), bootable(lab, None, kernel)?))
        }
        None => None,
    };
    let out = place(lab, args)?;
    let run = |name: String, bootable: &Bootable, out: &Path, quiet: bool| {
        Session {
            lab,
            args,
            tree: &tree,
            asked: &asked,
            machine: &machine,
            bootable,
            out,
            quiet,
            book: RefCell::new(Book::new(args, name, &asked)),
        }
        .run()
    };
    let Some((was, other)) = other else {
        let results = run(name, &booted, &out, false)?;
        results.write(&out, None)?;
        ui::say(format!("the results are in {}", out.display()));
        println!("{}", results.summary());
        return Ok(status(results.counts().failed == 0));
    };
    let aside = out.join(format!("against-{was}"));
    let before = run(was.clone(), &other, &aside, true)?;
    before.write(&aside, None)?;
    let after = run(name.clone(), &booted, &out, true)?;
    let found = differences(&before.tests, &after.tests);
    after.write(&out, Some(&found))?;
    ui::say(format!("the results are in {}", out.display()));
    print!("{}", comparison(&found, &was, short(&name)));
    Ok(status(!found.iter().any(Difference::is_regression)))
}

fn status(good: bool) -> i32 {
    match good {
        true => 0,
        false => exit::FAILED,
    }
}

/// What differs, a line each, and how many they are.
fn comparison(found: &[Difference], was: &str, is: &str) -> String {
    let mut text = String::new();
    for one in found {
        text.push_str(&format!(
            "{}: {} on {was}, {} on {is}\n",
            one.name, one.was, one.is
        ));
    }
    let worse = found.iter().filter(|one| one.is_regression()).count();
    text.push_str(&format!(
        "{} differ, {worse} passed on {was} only\n",
        found.len()
    ));
    text
}

/// What is known of a run, over all its boots.
struct Book {
    results: Results,
    /// The tests to be run, when check has said so.
    listed: Option<Vec<String>>,
}

impl Book {
    fn new(args: &XfstestsArgs, kernel: String, asked: &CheckArgs) -> Book {
        Book {
            results: Results {
                config: args.config.name(),
                kernel,
                tree: args.dir.display().to_string(),
                arguments: asked.arguments.clone(),
                ..Results::default()
            },
            listed: None,
        }
    }

    /// Puts down a test; one that is there already was left out of a later boot.
    fn add(&mut self, test: Test) -> bool {
        if self
            .results
            .tests
            .iter()
            .any(|known| known.name == test.name)
        {
            return false;
        }
        self.results.tests.push(test);
        true
    }

    /// Puts down that the guest ended for the test that ran, or else for the last
    /// one that did; gives its name, or nothing if there was no test yet.
    fn blame(&mut self, running: Option<&str>, said: String) -> Option<Test> {
        if let Some(name) = running {
            let test = Test::new(name, Verdict::Failed(said));
            return self.add(test.clone()).then_some(test);
        }
        let last = self.results.tests.last_mut()?;
        last.verdict = Verdict::Failed(format!("after its end: {said}"));
        Some(last.clone())
    }

    /// The tests that were announced and of which nothing was heard.
    fn missing(&self) -> Vec<String> {
        let known = |name: &&String| !self.results.tests.iter().any(|test| test.name == **name);
        let listed = self.listed.iter().flatten();
        listed.filter(known).cloned().collect()
    }

    /// For a line of progress.
    fn so_far(&self) -> String {
        let counts = self.results.counts();
        let mut text = String::new();
        for (count, what) in [(counts.failed, "failed"), (counts.not_run, "not run")] {
            if count > 0 {
                text.push_str(&format!("{count} {what}, "));
            }
        }
        text
    }
}

/// One kernel's run.
struct Session<'a> {
    lab: &'a Lab,
    args: &'a XfstestsArgs,
    tree: &'a Path,
    asked: &'a CheckArgs,
    machine: &'a Machine,
    bootable: &'a Bootable,
    /// Where the results go.
    out: &'a Path,
    /// Tests are not told one by one.
    quiet: bool,
    book: RefCell<Book>,
}

/// What one boot has come to.
struct Booted {
    outcome: Outcome,
    running: Option<String>,
    text: String,
}

impl Session<'_> {
    /// Boots guests until all tests have had their turn.
    fn run(self) -> Result<Results> {
        let scratch = self.lab.scratch()?;
        let results = scratch.path().join("results");
        loop {
            let before = self.book.borrow().results.tests.len();
            let booted = self.boot(scratch.path(), &results)?;
            self.book.borrow_mut().results.boots += 1;
            if matches!(booted.outcome.ending, Ending::Ended(_)) {
                self.ended(&booted)?;
                self.keep_files(&results)?;
                break;
            }
            // As the host's disk fills up, the guest stops for no fault of its own.
            self.lab.need_space(FULL, "the guest's disks")?;
            let nothing = self.book.borrow().results.tests.len() == before;
            if nothing && booted.running.is_none() {
                eprint!("{}", booted.text);
                exec::status_of(booted.outcome, self.machine)?;
                bail!("the guest ended before the first test");
            }
            self.give_up(booted, &results)?;
            self.keep_files(&results)?;
            let book = self.book.borrow();
            if book.listed.is_some() && book.missing().is_empty() {
                break;
            }
        }
        Ok(self.book.into_inner().results)
    }

    fn keep_files(&self, results: &Path) -> Result<()> {
        let mut book = self.book.borrow_mut();
        book.results.keep_files(results, self.out)
    }

    /// The script came to its own end: what it announced must be there.
    fn ended(&self, booted: &Booted) -> Result<()> {
        if self.book.borrow().results.tests.is_empty() {
            bail!("check has run no test:\n{}", booted.text.trim_end());
        }
        let missing = self.book.borrow().missing();
        for name in missing {
            let said = "check ended without a word about it".to_string();
            self.tell(Test::new(&name, Verdict::Failed(said)));
        }
        Ok(())
    }

    /// The guest hung or went down: somebody's failure.
    fn give_up(&self, booted: Booted, results: &Path) -> Result<()> {
        let limit = self.args.test_timeout.as_secs();
        let (said, kind, text) = match booted.outcome.ending {
            Ending::TimedOut { stacks } => {
                let said = format!("hung: not done after {limit} seconds");
                (said, "stacks", stacks)
            }
            Ending::Report { headline, report } => {
                (format!("the kernel reported: {headline}"), "report", report)
            }
            Ending::Died { reason } => (format!("the guest ended: {reason}"), "report", reason),
            Ending::Ended(_) => return Ok(()),
        };
        let running = booted.running.as_deref();
        let Some(test) = self.book.borrow_mut().blame(running, said) else {
            return Ok(());
        };
        let path = |ending: &str| results.join(format!("{}.{ending}", test.name));
        if let Some(parent) = path(kind).parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path(kind), text)?;
        let _ = fs::copy(&booted.outcome.log, path("console"));
        self.show(&test);
        Ok(())
    }

    /// Puts down a test and shows it.
    fn tell(&self, test: Test) {
        if self.book.borrow_mut().add(test.clone()) {
            self.show(&test);
        }
    }

    /// Shows a test, and writes what is known by now: a run of hours may be
    /// interrupted.
    fn show(&self, test: &Test) {
        // The end is written again, and told if it cannot be.
        let _ = self.book.borrow().results.write(self.out, None);
        if !self.quiet {
            ui::aside(|| print_test(test));
        }
    }

    /// The files of the host that the guest gets.
    fn files(&self, scratch: &Path) -> Result<Vec<(PathBuf, String)>> {
        let config = scratch.join("local.config");
        fs::write(&config, self.args.config.text())?;
        let mut left_out = String::new();
        for file in &self.asked.excludes {
            left_out.push_str(&fs::read_to_string(file)?);
            left_out.push('\n');
        }
        for test in &self.book.borrow().results.tests {
            left_out.push_str(&format!("{}\n", test.name));
        }
        let exclude = scratch.join("exclude");
        fs::write(&exclude, left_out)?;
        Ok(vec![
            (self.lab.own("guest/xfstests.sh"), "xfstests.sh".into()),
            (config, "local.config".into()),
            (exclude, "exclude".into()),
        ])
    }

    /// The script and its arguments.  A list is made once: the tests of a later
    /// boot are those of the first, without those that have ended.
    fn job(&self) -> Job {
        let mode = match self.book.borrow().listed {
            None => "list",
            Some(_) => "run",
        };
        let mut arguments: Vec<String> =
            ["/lab/in/xfstests.sh", MARK, mode, "-E", "/lab/in/exclude"]
                .map(String::from)
                .into();
        arguments.extend(self.asked.arguments.iter().cloned());
        Job {
            arguments,
            ..Job::default()
        }
    }

    fn boot(&self, scratch: &Path, results: &Path) -> Result<Booted> {
        let text = Arc::new(Mutex::new(Vec::new()));
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let mut reader = Reader::default();
        let mut progress = Progress::new(self);
        let watch = || match text.lock() {
            Ok(text) => progress.tick(&mut reader, &text),
            Err(_) => true,
        };
        let outcome = Boot {
            lab: self.lab,
            kernel: &self.bootable.kernel,
            image: &self.bootable.image,
            machine: self.machine,
            job: self.job(),
            files: self.files(scratch)?,
            share: Some(self.tree.into()),
            out: Some(results.into()),
            stdout: Box::new(Shared(text.clone())),
            stderr: Box::new(Shared(complaints.clone())),
            interactive: false,
            on_start: Box::new(|| {}),
            on_tick: Box::new(watch),
        }
        .run()?;
        let take = |from: &Mutex<Vec<u8>>| from.lock().map(|t| t.clone()).unwrap_or_default();
        let (text, complaints) = (take(&text), take(&complaints));
        // What came between the last look and the end.
        progress.tick(&mut reader, &text);
        progress.end(matches!(outcome.ending, Ending::Ended(_)));
        Ok(Booted {
            outcome,
            running: reader.running().map(String::from),
            text: String::from_utf8_lossy(&[text, complaints].concat()).into_owned(),
        })
    }
}

/// What a boot's reader has read goes into the book, and to the terminal.
struct Progress<'a, 'b> {
    session: &'a Session<'b>,
    step: Option<Step>,
    running: Option<String>,
    since: Instant,
}

impl<'a, 'b> Progress<'a, 'b> {
    fn new(session: &'a Session<'b>) -> Progress<'a, 'b> {
        let mut progress = Progress {
            session,
            step: None,
            running: None,
            since: Instant::now(),
        };
        progress.step = Some(progress.new_step());
        progress
    }

    /// Without a list there is no end in sight.
    fn new_step(&self) -> Step {
        let book = self.session.book.borrow();
        let what = format!(
            "xfstests, {} on {}",
            book.results.config,
            short(&book.results.kernel)
        );
        match &book.listed {
            None => Step::new(format!("{what}, listing the tests"), None),
            Some(listed) => Step::new(what, Some(listed.len() as u64)),
        }
    }

    /// Looks at what is new; false when a test has taken too long.
    fn tick(&mut self, reader: &mut Reader, text: &[u8]) -> bool {
        let ended = reader.read(text);
        self.take_list(reader);
        let running = reader.running().map(String::from);
        if !ended.is_empty() || running != self.running {
            self.since = Instant::now();
        }
        self.running = running;
        for test in ended {
            self.session.tell(test);
        }
        self.show();
        let limit = match &self.running {
            Some(_) => self.session.args.test_timeout,
            None => self.session.args.test_timeout.max(AROUND),
        };
        self.since.elapsed() < limit
    }

    /// The list has come, and with it the end in sight.
    fn take_list(&mut self, reader: &Reader) {
        self.take_facts(reader);
        let known = self.session.book.borrow().listed.is_some();
        let Some(listed) = reader.listed().filter(|_| !known) else {
            return;
        };
        for name in reader.unknown() {
            ui::say(format!("{name} is no test of this tree"));
        }
        self.session.book.borrow_mut().listed = Some(listed.to_vec());
        self.step.take();
        self.step = Some(self.new_step());
    }

    fn take_facts(&self, reader: &Reader) {
        let mut book = self.session.book.borrow_mut();
        for (name, value) in reader.facts() {
            book.results.facts.insert(name.clone(), value.clone());
        }
    }

    fn show(&mut self) {
        let book = self.session.book.borrow();
        let Some(step) = &mut self.step else {
            return;
        };
        let now = self.running.as_deref().unwrap_or("between tests");
        let detail = format!("{}{now}", book.so_far());
        match &book.listed {
            Some(_) => step.reach(book.results.tests.len() as u64, &detail),
            None => step.at("booting"),
        }
    }

    /// The boot is over; done is only what came to its own end.
    fn end(&mut self, done: bool) {
        if let Some(step) = self.step.take().filter(|_| done) {
            step.done();
        }
    }
}

/// A kernel's name, or of its path the end: a line of progress has little room.
fn short(kernel: &str) -> &str {
    kernel.rsplit('/').next().unwrap_or(kernel)
}

/// One line on standard output; what a failed test said goes to standard error.
fn print_test(test: &Test) {
    match &test.verdict {
        Verdict::Passed => println!("ok   {} {}s", test.name, test.seconds.unwrap_or(0)),
        Verdict::NotRun(reason) => println!("skip {}: {reason}", test.name),
        Verdict::Expunged => println!("skip {}: expunged", test.name),
        Verdict::Failed(said) => {
            println!("FAIL {}", test.name);
            for line in said.lines() {
                eprintln!("     | {line}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempLab;

    fn book() -> Book {
        Book {
            results: Results::default(),
            listed: None,
        }
    }

    /// What is no tree, or not built, is refused in words.
    #[test]
    fn trees_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path();
        let said = |tree: &Path| check_tree(tree).unwrap_err().to_string();
        assert!(said(&tree.join("none")).contains("cannot read"));
        assert!(said(tree).contains("no file check"));
        for folder in ["common", "tests/generic", "ltp"] {
            fs::create_dir_all(tree.join(folder)).unwrap();
        }
        fs::write(tree.join("check"), "").unwrap();
        assert!(said(&tree.join("check")).contains("not a folder"));
        fs::write(tree.join("common/rc"), "").unwrap();
        assert!(said(tree).contains("not built"));
        fs::write(tree.join("tests/generic/group.list"), "").unwrap();
        assert!(said(tree).contains("ltp/fsstress"));
        fs::write(tree.join("ltp/fsstress"), "").unwrap();
        assert!(check_tree(tree).is_ok());
    }

    /// A test that does not exist, or a list that cannot be read, is named.
    #[test]
    fn names_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("tests/xfs")).unwrap();
        fs::write(dir.path().join("tests/xfs/001"), "").unwrap();
        let check = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
            check_names(dir.path(), &CheckArgs::parse(&words).unwrap())
        };
        assert!(check(&["xfs/001", "xfs/9*"]).is_ok());
        let said = check(&["xfs/001", "xfs/999"]).unwrap_err().to_string();
        assert!(said.contains("no test xfs/999"), "{said}");
        let said = check(&["-E", "/nowhere/list"]).unwrap_err().to_string();
        assert!(said.contains("/nowhere/list"), "{said}");
    }

    /// Every device that a configuration names is one that its machine has.
    #[test]
    fn devices_are_there() {
        for config in Config::value_variants() {
            let size = config.default_size();
            let machine = config.machine(Size(3 << 30), 2, size);
            machine.check().unwrap();
            let mut known: Vec<String> = ('b'..)
                .take(machine.disks.len())
                .map(|letter| format!("/dev/vd{letter}"))
                .collect();
            known.extend((0..machine.pmem_devices()).map(|n| format!("/dev/pmem{n}")));
            let text = config.text();
            let mut named: Vec<&str> = text
                .lines()
                .filter_map(|line| line.split_once("=/dev/"))
                .map(|(_, rest)| rest)
                .collect();
            named.sort_unstable();
            known.sort_unstable();
            let known: Vec<&str> = known
                .iter()
                .filter_map(|d| d.strip_prefix("/dev/"))
                .collect();
            assert_eq!(named, known, "{config:?}");
            assert!(text.lines().all(|line| line.starts_with("export ")));
        }
    }

    /// The names are those that the help promises.
    #[test]
    fn configs_have_their_names() {
        let names: Vec<String> = Config::value_variants().iter().map(|c| c.name()).collect();
        assert_eq!(names, ["xfs", "xfs-dax", "xfs-1k", "xfs-rt"]);
    }

    /// A device that is too small or odd is refused.
    #[test]
    fn sizes_are_checked() {
        let check = |size: u64| {
            let size = Size(size);
            check_machine(&Config::Xfs.machine(Size(3 << 30), 2, size), size)
        };
        assert!(check(1 << 30).is_ok());
        for size in [0, 512 << 20, (1 << 30) + (1 << 20)] {
            assert!(check(size).unwrap_err().to_string().contains("--size"));
        }
        let crowd = Config::Xfs.machine(Size(3 << 30), 9, Size(1 << 30));
        let said = check_machine(&crowd, Size(1 << 30)).unwrap_err();
        assert!(said.to_string().contains("--cpus"));
        let huge = Size(1 << 50);
        let said = check_machine(&Config::XfsDax.machine(Size(3 << 30), 2, huge), huge);
        assert!(said.unwrap_err().to_string().contains("memory"));
        assert_eq!(
            available("MemFree: 1 kB\nMemAvailable:   5 kB\n"),
            Some(5120)
        );
        assert_eq!(available("MemFree: 1 kB\n"), None);
    }

    /// Results of another run are not written over, nor mixed with.
    #[test]
    fn results_have_a_place_of_their_own() {
        let temp = TempLab::new();
        let taken = temp.lab.cache.clone();
        let args = |out: Option<PathBuf>| {
            use clap::Parser;
            let cli = crate::cli::Cli::parse_from(["lab", "xfstests", "/tree"]);
            let crate::cli::Command::Xfstests(mut args) = cli.command else {
                panic!("not xfstests");
            };
            args.out = out;
            args
        };
        let said = check_out(Some(&taken)).unwrap_err().to_string();
        assert!(said.contains("not empty"), "{said}");
        assert!(check_out(Some(&taken.join("new"))).is_ok() && check_out(None).is_ok());
        let new = taken.join("new");
        assert_eq!(place(&temp.lab, &args(Some(new.clone()))).unwrap(), new);
        let first = place(&temp.lab, &args(None)).unwrap();
        let second = place(&temp.lab, &args(None)).unwrap();
        assert_ne!(first, second);
        assert!(first.starts_with(temp.lab.cache.join("xfstests")));
    }

    /// Who ran when the guest ended is to blame, else who ran last.
    #[test]
    fn blame_finds_somebody() {
        let mut book = book();
        assert!(book.blame(None, "x".into()).is_none());
        assert!(book.add(Test::new("a/001", Verdict::Passed)));
        assert!(!book.add(Test::new("a/001", Verdict::Expunged)));
        let test = book.blame(None, "oops".into()).unwrap();
        assert_eq!(test.name, "a/001");
        assert_eq!(
            book.results.tests[0].verdict,
            Verdict::Failed("after its end: oops".into())
        );
        let test = book.blame(Some("a/002"), "hung".into()).unwrap();
        assert_eq!(test.name, "a/002");
        assert_eq!(book.results.tests.len(), 2);
    }

    /// A test that was announced and never heard of is missed.
    #[test]
    fn missing_tests_are_missed() {
        let mut book = book();
        book.listed = Some(vec!["a/001".into(), "a/002".into()]);
        book.add(Test::new("a/001", Verdict::Expunged));
        assert_eq!(book.missing(), ["a/002"]);
        book.add(Test::new("a/002", Verdict::NotRun("no".into())));
        assert!(book.missing().is_empty());
        assert_eq!(book.so_far(), "1 not run, ");
    }

    /// Only what differs is printed, and how many.
    #[test]
    fn comparison_names_both() {
        let passed = [Test::new("a/001", Verdict::Passed)];
        let failed = [Test::new("a/001", Verdict::Failed("x".into()))];
        let worse = comparison(&differences(&passed, &failed), "base", "patched");
        assert_eq!(
            worse,
            "a/001: passed on base, failed on patched\n1 differ, 1 passed on base only\n"
        );
        let better = comparison(&differences(&failed, &passed), "base", "patched");
        assert!(better.ends_with("1 differ, 0 passed on base only\n"));
        let same = comparison(&differences(&passed, &passed), "base", "patched");
        assert_eq!(same, "0 differ, 0 passed on base only\n");
    }
}
