// SPDX-License-Identifier: GPL-2.0

//! `lab run`: the measurement that shows what the series is for.  The guest
//! measures (guest/run.py); here the numbers are judged and shown.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::sync::mpsc;

use anyhow::{bail, Context, Result};
use serde::Deserialize;
use serde_json::{json, Value};

use crate::cli::RunArgs;
use crate::exec;
use crate::exit;
use crate::guest::Job;
use crate::kernel::{Variant, Wanted};
use crate::lab::{write_whole, Lab};
use crate::machine::{Boot, Ending, Machine};
use crate::size::{mib, Size};
use crate::ui::{self, Step};

/// The shared run may need this much page cache, in copies.
const LIMIT: f64 = 1.05;
/// The pmem device holds the tree once, whatever the number of clones.
const PMEM: u64 = 2 << 30;
/// Memory besides the cached clones, and for each of them.
const MEM_BASE: u64 = 2 << 30;
const MEM_PER_CLONE: u64 = 512 << 20;
/// Width of the longest bar.
const BAR: usize = 48;

/// What the guest measured in one mode.
#[derive(Deserialize, Default)]
struct Measured {
    page_cache_bytes: i64,
    device_read_bytes: i64,
    files_read: u64,
    bytes_read: u64,
    slab_reclaimable_bytes: i64,
    slab_unreclaimable_bytes: i64,
    radix_tree_node_bytes: i64,
    /// None when the guest could not tell which slab cache fragments are from.
    fragment_bytes: Option<i64>,
    #[serde(default)]
    slab_changes: std::collections::BTreeMap<String, i64>,
    #[serde(default)]
    counters: std::collections::BTreeMap<String, u64>,
    verification: Verification,
}

#[derive(Deserialize, Default)]
struct Verification {
    verified: bool,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    wrong: u64,
}

#[derive(Deserialize)]
struct Comparison {
    supported: bool,
    verified: bool,
    clones: u32,
    files: u64,
    one_copy_bytes: u64,
    private: Option<Measured>,
    shared: Option<Measured>,
}

/// How far the measurement is, by what guest/run.py says when it begins a part.
struct Course {
    clones: u32,
    done: u64,
    now: u64,
}

impl Course {
    /// What the parts say first, and about how many tenths of a second they take
    /// (on two emulated processors): once, and for each clone.
    const PARTS: [(&str, u64, u64); 6] = [
        ("making XFS", 5, 0),
        ("copying", 130, 0),
        ("making clone", 45, 0),
        ("reading", 10, 25),
        ("comparing", 10, 16),
        ("unmounting", 20, 0),
    ];
    const BOOT: u64 = 75;

    fn new(clones: u32) -> Course {
        Course {
            clones,
            done: 0,
            now: Self::BOOT,
        }
    }

    fn cost(&self, line: &str) -> u64 {
        Self::PARTS
            .iter()
            .find(|(begin, ..)| line.starts_with(begin))
            .map_or(0, |(_, once, each)| once + each * u64::from(self.clones))
    }

    /// All parts together: two modes are read and compared.
    fn total(&self) -> u64 {
        let clones = u64::from(self.clones);
        let parts = Self::PARTS.iter().map(|(begin, ..)| {
            self.cost(begin)
                * match *begin {
                    "making clone" => clones,
                    "reading" | "comparing" => 2,
                    _ => 1,
                }
        });
        Self::BOOT + parts.sum::<u64>()
    }

    /// A part begins, so that the one before it has ended; gives what is done.
    /// Other lines change nothing.
    fn begins(&mut self, line: &str) -> u64 {
        let cost = self.cost(line);
        if cost > 0 {
            self.done += std::mem::replace(&mut self.now, cost);
        }
        self.done
    }
}

/// Sends whole lines of what is written to a channel.
pub struct Lines {
    rest: Vec<u8>,
    to: mpsc::Sender<String>,
}

impl Lines {
    /// With nothing written yet.
    pub fn new(to: mpsc::Sender<String>) -> Lines {
        Lines { rest: vec![], to }
    }
}

impl Measured {
    /// What small kernel objects took that have no slab cache of their own.
    fn kmalloc_bytes(&self) -> i64 {
        self.slab_changes
            .iter()
            .filter(|(name, _)| name.starts_with("kmalloc-"))
            .map(|(_, bytes)| bytes)
            .sum()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let _ = self
                .to
                .send(String::from_utf8_lossy(&line).trim_end().to_string());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs the measurement; gives the exit status.
pub fn run(lab: &Lab, args: &RunArgs) -> Result<i32> {
    if args.variant == Variant::Base {
        bail!("--variant base: the unpatched kernel has nothing to share with");
    }
    let mem = args
        .mem
        .unwrap_or(Size(MEM_BASE + u64::from(args.clones) * MEM_PER_CLONE));
    let machine = Machine {
        mem,
        cpus: 2,
        numa: 2,
        pmem: Size(PMEM),
        disks: vec![],
        append: String::new(),
        icount: false,
        timeout: args.timeout,
    };
    machine.check()?;
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    // What an earlier run left must not be taken for this one's.
    for old in ["run.json", "measured.json"] {
        let _ = fs::remove_file(args.out.join(old));
    }
    let bootable = exec::asked_for(lab, args.kernel.as_deref(), Wanted::new(args.variant))?;

    let mut course = Course::new(args.clones);
    let mut step = Step::new("measuring", Some(course.total()));
    step.at("booting");
    let (sender, said) = mpsc::channel::<String>();
    let complaints = std::cell::RefCell::new(String::new());
    let step_cell = std::cell::RefCell::new(&mut step);
    let take = || {
        while let Ok(line) = said.try_recv() {
            complaints.borrow_mut().push_str(&format!("{line}\n"));
            let count = course.begins(&line);
            step_cell.borrow_mut().reach(count, &line);
        }
        true
    };
    let outcome = Boot {
        lab,
        kernel: &bootable.kernel,
        image: &bootable.image,
        machine: &machine,
        job: Job {
            arguments: vec!["/lab/in/run.py".into(), args.clones.to_string()],
            ..Job::default()
        },
        files: vec![(lab.own("guest/run.py"), "run.py".into())],
        share: None,
        out: Some(args.out.clone()),
        stdout: Box::new(std::io::sink()),
        stderr: Box::new(Lines::new(sender)),
        interactive: false,
        on_start: Box::new(|| {}),
        on_tick: Box::new(take),
    }
    .run()?;
    let _ = fs::copy(&outcome.log, args.out.join("console.log"));
    match outcome.ending {
        Ending::Ended(0) => step.done(),
        Ending::Ended(status) => {
            drop(step);
            eprint!("{}", complaints.borrow());
            bail!("the measurement in the guest failed with status {status}");
        }
        _ => {
            drop(step);
            return exec::status_of(outcome, &machine);
        }
    }
    let path = args.out.join("measured.json");
    let text = fs::read_to_string(&path).context("the guest left no measurement")?;
    let raw: Value = serde_json::from_str(&text).context("the guest's measurement")?;
    let result: Comparison =
        serde_json::from_value(raw.clone()).context("the guest's measurement")?;
    let faults = judge(&result);
    let mut kept = raw;
    kept["limit"] = json!(LIMIT);
    kept["passed"] = json!(faults.is_empty());
    kept["faults"] = json!(faults);
    let json = args.out.join("run.json");
    write_whole(&json, format!("{kept:#}\n").as_bytes())?;
    let _ = fs::remove_file(path);
    print!("{}", table(&result));
    ui::say(format!("the numbers are in {}", json.display()));
    if !faults.is_empty() {
        // With the files that differ among it.
        eprint!("{}", complaints.borrow());
    }
    for fault in &faults {
        ui::say(format!("failed: {fault}"));
    }
    Ok(match faults.is_empty() {
        true => 0,
        false => exit::FAILED,
    })
}

/// Why the measurement is no success; nothing when it is.
fn judge(result: &Comparison) -> Vec<String> {
    let mut faults = vec![];
    if !result.supported {
        faults.push("this kernel cannot switch page cache sharing at mount".to_string());
    }
    for (name, mode) in [
        ("noshare_cache", &result.private),
        ("share_cache", &result.shared),
    ] {
        match mode {
            None => faults.push(format!("{name} was not measured")),
            Some(mode) if !mode.verification.verified => faults.push(format!(
                "{name}: {} files of the clones differ from the original, or could not be read",
                mode.verification.wrong
            )),
            Some(mode) if mode.files_read == 0 || mode.bytes_read == 0 => {
                faults.push(format!("{name}: nothing was read"));
            }
            Some(_) => {}
        }
    }
    if !result.verified && faults.is_empty() {
        faults.push("not verified".into());
    }
    if let Some(shared) = &result.shared {
        let copies = shared.page_cache_bytes as f64 / result.one_copy_bytes as f64;
        // NaN and negative numbers are no success either.
        if !(0.0..=LIMIT).contains(&copies) {
            faults.push(format!(
                "share_cache used {copies:.3} times the page cache of one copy, the limit is {LIMIT}"
            ));
        }
    }
    faults
}

fn signed_mib(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "" };
    format!("{sign}{}", mib(bytes.unsigned_abs()))
}

fn bar(bytes: i64, most: i64) -> String {
    let share = bytes.max(0) as f64 / most.max(1) as f64;
    "█".repeat(((share * BAR as f64).round() as usize).min(BAR))
}

/// Both modes side by side, and the picture.  What was not measured is a dash.
fn table(result: &Comparison) -> String {
    let mut text = String::new();
    let one = result.one_copy_bytes as f64;
    let modes = [&result.private, &result.shared];
    let mut row = |what: &str, cells: [String; 2]| {
        let [private, shared] = cells;
        let _ = writeln!(text, "  {what:<36} {private:>16} {shared:>16}");
    };
    let each = |show: &dyn Fn(&Measured) -> String| {
        modes.map(|mode| mode.as_ref().map_or("-".into(), show))
    };
    row(
        &format!("{} clones of {} files", result.clones, result.files),
        ["noshare_cache".into(), "share_cache".into()],
    );
    row("read by programs", each(&|m| mib(m.bytes_read)));
    row("page cache used", each(&|m| signed_mib(m.page_cache_bytes)));
    row(
        "  in copies of the tree",
        each(&|m| format!("{:.2}", m.page_cache_bytes as f64 / one)),
    );
    row(
        "read from the device",
        each(&|m| signed_mib(m.device_read_bytes)),
    );
    for (what, name) in [
        ("pages in the home", "nr_page_cache_home"),
        ("aliases", "nr_page_cache_alias"),
        ("fragments", "nr_page_cache_fragment"),
        ("pages donated", "page_cache_donate"),
        ("pages attached", "page_cache_attach"),
        ("aliases broken", "page_cache_break"),
    ] {
        row(
            what,
            each(&|m| m.counters.get(name).map_or("-".into(), u64::to_string)),
        );
    }
    type Of = fn(&Measured) -> Option<i64>;
    let memory: [(&str, Of); 5] = [
        // Aliases lie in these, in place of the folios.
        ("kernel memory: nodes of i_pages", |m| {
            Some(m.radix_tree_node_bytes)
        }),
        ("kernel memory: fragments", |m| m.fragment_bytes),
        ("kernel memory: all kmalloc", |m| Some(m.kmalloc_bytes())),
        ("kernel memory: all reclaimable slab", |m| {
            Some(m.slab_reclaimable_bytes)
        }),
        ("kernel memory: all other slab", |m| {
            Some(m.slab_unreclaimable_bytes)
        }),
    ];
    for (what, of) in memory {
        row(what, each(&|m| of(m).map_or("-".into(), signed_mib)));
    }
    row(
        "compared with the original",
        each(&|m| match m.verification.verified {
            true => format!("{} right", mib(m.verification.bytes)),
            false => "NOT VERIFIED".into(),
        }),
    );
    picture(&mut text, result);
    text
}

/// Page cache used, as bars on one scale.
fn picture(text: &mut String, result: &Comparison) {
    let mut bars = vec![("one copy", result.one_copy_bytes as i64)];
    for (name, mode) in [
        ("noshare_cache", &result.private),
        ("share_cache", &result.shared),
    ] {
        bars.extend(mode.as_ref().map(|mode| (name, mode.page_cache_bytes)));
    }
    let most = bars.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let _ = writeln!(text, "\n  page cache");
    for (name, bytes) in bars {
        let _ = writeln!(
            text,
            "  {name:>14} {:<BAR$} {}",
            bar(bytes, most),
            signed_mib(bytes)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(shared: i64) -> Comparison {
        let mode = |bytes| {
            Some(Measured {
                page_cache_bytes: bytes,
                files_read: 6,
                bytes_read: 600,
                verification: Verification {
                    verified: true,
                    ..Verification::default()
                },
                ..Measured::default()
            })
        };
        Comparison {
            supported: true,
            verified: true,
            clones: 6,
            files: 1,
            one_copy_bytes: 1000,
            private: mode(6000),
            shared: mode(shared),
        }
    }

    /// The limit is where the issue says it is.
    #[test]
    fn limit_is_kept() {
        assert!(judge(&result(1000)).is_empty());
        assert!(judge(&result(1050)).is_empty());
        assert!(judge(&result(1051))[0].contains("1.051"));
    }

    /// Nothing measured, nothing verified, nothing read: no success.
    #[test]
    fn absence_is_no_success() {
        let mut none = result(1000);
        none.shared = None;
        assert!(!judge(&none).is_empty());
        let mut wrong = result(1000);
        wrong.private.as_mut().unwrap().verification.verified = false;
        assert!(!judge(&wrong).is_empty());
        let mut unread = result(1000);
        unread.shared.as_mut().unwrap().files_read = 0;
        assert!(!judge(&unread).is_empty());
        let mut zero = result(0);
        zero.one_copy_bytes = 0;
        assert!(!judge(&zero).is_empty());
    }

    /// What was not measured is shown as nothing, not as zero.
    #[test]
    fn absence_is_no_zero() {
        let mut none = result(1000);
        none.shared = None;
        let text = table(&none);
        assert!(
            !text.lines().last().unwrap().contains("share_cache 0"),
            "{text}"
        );
        assert!(text.contains("        -\n"), "{text}");
    }

    /// The bar comes to its end with the last part, and not before.
    #[test]
    fn course_is_whole() {
        let mut course = Course::new(2);
        let total = course.total();
        let mut before = 0;
        for line in [
            "making XFS on /dev/pmem0",
            "copying /usr to it",
            "making clone 1 of 2",
            "making clone 2 of 2",
            "reading all clones, noshare_cache",
            "comparing all clones with /usr, noshare_cache",
            "reading all clones, share_cache",
            "/mnt/clone1/usr/x: wrong from byte 3 on",
            "comparing all clones with /usr, share_cache",
            "unmounting",
        ] {
            let done = course.begins(line);
            assert!(done > before || line.contains("wrong"), "{line}");
            assert!(done < total, "{line}");
            before = done;
        }
        assert_eq!(course.done + course.now, total);
    }

    /// The memory of fragments is shown as such, and a dash if nobody knows it.
    #[test]
    fn fragments_are_shown() {
        let mut both = result(1000);
        both.private.as_mut().unwrap().fragment_bytes = Some(0);
        both.shared.as_mut().unwrap().fragment_bytes = Some(3 << 19);
        let line = |of: &Comparison| {
            let text = table(of);
            let line = text.lines().find(|l| l.contains("memory: fragments"));
            line.unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert!(line(&both).ends_with("fragments 0.0 MiB 1.5 MiB"));
        both.shared.as_mut().unwrap().fragment_bytes = None;
        assert!(line(&both).ends_with("fragments 0.0 MiB -"));
    }

    /// The longest bar is as long as it may be.
    #[test]
    fn bars_are_to_scale() {
        assert_eq!(bar(100, 100).chars().count(), BAR);
        assert_eq!(bar(50, 100).chars().count(), BAR / 2);
        assert_eq!(bar(-5, 100), "");
    }
}
