// SPDX-License-Identifier: GPL-2.0

//! The group "stress" of `lab test`: stress-ng's stressors on files that are
//! cloned while they are used, in a guest with little memory (guest/stress.py),
//! one result each.  What guest/stress.py finds in clones with known content and
//! what is left after unmount are the results "compare" and "leak".

use anyhow::Result;

use crate::guest::Job;
use crate::kernel::Variant;
use crate::ktap::Verdict;
use crate::machine::Machine;
use crate::runner::{
    split_programs, tail, trouble, Guest, Progress, Ran, Selection, Tally, DISK, MARK, MOST_BOOTS,
};
use crate::size::Size;
use crate::ui::Step;

/// The group's name.
pub const GROUP: &str = "stress";
/// The stressors, as guest/stressors.txt says them.
const STRESSORS: &str = include_str!("../guest/stressors.txt");
/// What comes after the stressors in every boot.
const ENDS: [&str; 2] = ["compare", "leak"];
/// How long each stressor runs, in seconds.
const SECONDS: u64 = 10;
/// How long it may take beyond that to come to its end.
const GRACE: u64 = 80;
/// Making and unmounting the file system, and the boot.
const AROUND: u64 = 400;

/// A line for each stressor: its name, then stress-ng's arguments.
fn lines() -> impl Iterator<Item = &'static str> {
    STRESSORS
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn name(line: &str) -> &str {
    line.split(' ').next().unwrap_or(line)
}

/// Those that are wanted; all of them if only the results at the end are.
fn wanted(selection: &Selection) -> Vec<&'static str> {
    let chosen: Vec<&str> = lines()
        .filter(|line| selection.wants(GROUP, name(line)))
        .collect();
    let end = ENDS.iter().any(|end| selection.wants(GROUP, end));
    match chosen.is_empty() && end {
        true => lines().collect(),
        false => chosen,
    }
}

/// Little memory, so that there is reclaim, and a disk to swap to.
fn machine(guest: &Guest, stressors: usize) -> Machine {
    let seconds = AROUND + (SECONDS + GRACE) * stressors as u64;
    let mut machine = guest.machine(seconds);
    machine.mem = match guest.variant {
        // KASAN's shadow and the owners of pages take their part.
        Variant::Debug => Size(3 << 29),
        _ => Size(1 << 30),
    };
    machine.pmem = Size(0);
    machine.disks = vec![Size(DISK); 2];
    machine
}

/// Why one was skipped, of what stress-ng says besides.
fn reason(said: &str) -> &str {
    said.lines()
        .find(|line| {
            (line.contains("skip") && !line.contains("skipped: ")) || line.contains("disabled")
        })
        .or(said.lines().last())
        .unwrap_or_default()
}

/// How one of them came out.
fn verdict(run: &Ran, trouble: Option<&str>) -> Verdict {
    let said = tail(&run.output);
    match run.status {
        Some(0) => Verdict::Pass,
        Some(4) => Verdict::Skip(reason(&run.output).into()),
        Some(124 | 137) => Verdict::Fail(format!("did not end in time:\n{said}")),
        Some(status) => Verdict::Fail(format!("exit status {status}:\n{said}")),
        None => Verdict::Fail(format!("{said}\n{}", trouble.unwrap_or("the guest ended"))),
    }
}

/// Runs the group.
pub fn stress(guest: &Guest, selection: &Selection, tally: &mut Tally) -> Result<()> {
    let mut left = wanted(selection);
    let total = left.len() as u64;
    let mut step = Step::new("running stressors in the guest", Some(total));
    let mut boots = 0;
    while !left.is_empty() && boots < MOST_BOOTS {
        boots += 1;
        let before = total - left.len() as u64;
        let mut progress = Progress::default();
        let show = |text: &[u8]| {
            if progress.read(text) {
                step.reach((before + progress.ended).min(total), &progress.now);
            }
        };
        left = boot(guest, left, tally, show)?;
    }
    step.done();
    for line in left {
        let said = "not run: too many guests went down before it".to_string();
        tally.add(GROUP, name(line), &Verdict::Fail(said));
    }
    Ok(())
}

/// Runs stressors in one boot; gives those that were not begun.
fn boot(
    guest: &Guest,
    lines: Vec<&'static str>,
    tally: &mut Tally,
    show: impl FnMut(&[u8]),
) -> Result<Vec<&'static str>> {
    let machine = machine(guest, lines.len());
    let mut arguments = vec![
        "/lab/in/stress.py".to_string(),
        MARK.into(),
        SECONDS.to_string(),
        guest.seconds(SECONDS + GRACE / 2).to_string(),
    ];
    arguments.extend(lines.iter().map(|line| line.to_string()));
    let job = Job {
        arguments,
        ..Job::default()
    };
    let files = vec![(guest.lab.own("guest/stress.py"), "stress.py".into())];
    let (outcome, text) = guest.boot(&machine, job, files, show)?;
    let trouble = trouble(&outcome);
    let ran = split_programs(&text);
    for run in &ran {
        tally.add(GROUP, &run.program, &verdict(run, trouble.as_deref()));
    }
    if ran.is_empty() {
        let said = trouble.unwrap_or_else(|| format!("nothing has run:\n{text}"));
        tally.add(GROUP, "boot", &Verdict::Fail(said));
        return Ok(vec![]);
    }
    if let (Some(said), true) = (trouble, ran.iter().all(|run| run.status.is_some())) {
        // Between two of them, or after the last: nobody's.
        tally.add(GROUP, "kernel", &Verdict::Fail(said));
    }
    Ok(not_begun(lines, &ran))
}

fn not_begun(lines: Vec<&'static str>, ran: &[Ran]) -> Vec<&'static str> {
    lines
        .into_iter()
        .filter(|line| ran.iter().all(|run| run.program != name(line)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ran(program: &str, status: Option<i32>) -> Ran {
        Ran {
            program: program.into(),
            output: "first\nlast\n".into(),
            status,
        }
    }

    /// Names are not taken twice, and each has a stressor and how many of it.
    #[test]
    fn stressors_are_sound() {
        let names: BTreeSet<&str> = lines().map(name).collect();
        assert_eq!(names.len(), lines().count());
        for line in lines() {
            let words: Vec<&str> = line.split(' ').collect();
            assert!(words.len() >= 3 && words[1].starts_with("--"), "{line}");
            assert!(words[2].parse::<u32>().is_ok(), "{line}");
            assert!(!ENDS.contains(&words[0]), "{line}");
        }
    }

    /// A stressor's name chooses it; the results at the end need all of them.
    #[test]
    fn stressors_are_selected() {
        let wanted = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            wanted(&Selection::new(&names))
        };
        assert_eq!(wanted(&["stress"]).len(), lines().count());
        assert_eq!(wanted(&["stress.compare"]).len(), lines().count());
        let some = wanted(&["stress.hdd-"]);
        assert!(some.len() >= 2 && some.iter().all(|line| line.starts_with("hdd-")));
    }

    /// What a guest was to run and did not is left; what took it down is not.
    #[test]
    fn rest_is_left() {
        let lines = vec!["a --a 1", "ab --ab 1", "c --c 1"];
        let left = not_begun(lines, &[ran("ab", Some(0)), ran("c", None)]);
        assert_eq!(left, ["a --a 1"]);
    }

    /// Whatever is not good or skipped is a failure, with what was said.
    #[test]
    fn verdicts_are_read() {
        assert_eq!(verdict(&ran("a", Some(0)), None), Verdict::Pass);
        assert_eq!(
            verdict(&ran("a", Some(4)), None),
            Verdict::Skip("last".into())
        );
        let said = "x\nexec: cannot run as root, skipping stressor\nskipped: 2: exec\n";
        assert!(reason(said).starts_with("exec: "));
        for status in [Some(1), Some(2), Some(124), Some(139), None] {
            let Verdict::Fail(said) = verdict(&ran("a", status), Some("it broke")) else {
                panic!("{status:?} is not a failure");
            };
            assert!(said.contains("first"), "{said}");
            assert_eq!(said.contains("it broke"), status.is_none(), "{said}");
        }
    }
}
