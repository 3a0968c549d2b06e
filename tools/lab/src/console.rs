// SPDX-License-Identifier: GPL-2.0

//! Reading the guest's console for what must not be there: a panic, an oops, a
//! WARNING, a report of lockdep, KASAN or UBSAN, a task blocked for long.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use regex::Regex;

/// A report that says nothing for so long has come to its end.
const QUIET: Duration = Duration::from_secs(3);
/// No report is longer than this, in time and in lines.
const LONGEST: Duration = Duration::from_secs(20);
const MOST_LINES: usize = 600;
/// Lines kept from before a report begins: KASAN's rule, "cut here".
const LEAD: usize = 2;

/// `[    1.234567]`, and the caller that PRINTK_CALLER puts behind it.
static PREFIX: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(<\d+>)?\[ *\d+\.\d+\](\[ *[TC]\d+\])? ").expect("constant"));

/// What begins a report, at the beginning of a message.
static BEGIN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^(WARNING: ",
        r"|-+\[ cut here \]-+",
        r"|(\[ )?BUG: ",
        r"|BUG \S+ \(.*\): ",
        r"|kernel BUG at ",
        r"|Kernel panic - not syncing",
        r"|Oops: ",
        r"|Oops\b.*\[#\d+\]",
        r"|general protection fault",
        r"|UBSAN: ",
        r"|KASAN: ",
        r"|KFENCE: ",
        r"|INFO: task .* blocked.* for more than",
        r"|INFO: possible recursive locking",
        r"|INFO: trying to register non-static key",
        r"|INFO: possible circular locking",
        r"|DEBUG_LOCKS_WARN_ON",
        r"|(list_add|list_del) corruption",
        r"|stack segment: |invalid opcode: |double fault: ",
        r"|XFS.*: Assertion failed",
        r"|rust_kernel: panicked at",
        r")",
    ))
    .expect("constant")
});

/// What ends a report for good.
static END: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(---\[ end (trace|Kernel panic)|={60,}$)").expect("constant"));

/// Watches a console line by line.
#[derive(Default)]
pub struct Watch {
    recent: Vec<String>,
    report: Vec<String>,
    begun: Option<Instant>,
    last: Option<Instant>,
    ended: bool,
}

impl Watch {
    /// Takes one line that came at `now`.
    pub fn line(&mut self, line: &str, now: Instant) {
        let line = line.trim_end_matches(['\r', '\n']);
        let message = PREFIX.replace(line, "");
        if self.begun.is_none() {
            if BEGIN.is_match(&message) {
                self.begun = Some(now);
                self.report.append(&mut self.recent);
            } else {
                if self.recent.len() == LEAD {
                    self.recent.remove(0);
                }
                self.recent.push(line.to_string());
                return;
            }
        }
        self.last = Some(now);
        self.report.push(line.to_string());
        // A rule both begins and ends KASAN's report: one that follows at once
        // is the beginning.
        if self.report.len() > LEAD + 2 && END.is_match(&message) {
            self.ended = true;
        }
    }

    /// Whether a report has begun.
    pub fn begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Whether a report is there as whole as it will get at `now`.
    pub fn complete(&self, now: Instant) -> bool {
        let Some(begun) = self.begun else {
            return false;
        };
        // After an oops that ends there may come the panic that it causes: the
        // pause after the end is short.
        let pause = match self.ended {
            true => QUIET / 10,
            false => QUIET,
        };
        let quiet = self.last.is_some_and(|last| now - last >= pause);
        quiet || now - begun >= LONGEST || self.report.len() >= MOST_LINES
    }

    /// The report so far, its lines as they came.
    pub fn report(&self) -> String {
        self.report.join("\n")
    }

    /// The line that says what happened.
    pub fn headline(&self) -> String {
        self.report
            .iter()
            .map(|line| PREFIX.replace(line, "").into_owned())
            .find(|message| BEGIN.is_match(message) && !message.contains("cut here"))
            .or_else(|| self.report.last().cloned())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(text: &str) -> (Watch, Instant) {
        let mut watch = Watch::default();
        let now = Instant::now();
        for line in text.lines() {
            watch.line(line, now);
        }
        (watch, now)
    }

    /// Everything that the kernel calls a bug is one, with and without prefixes.
    #[test]
    fn bugs_are_seen() {
        for line in [
            "[    1.000000] WARNING: CPU: 0 PID: 1 at mm/filemap.c:129 foo+0x1/0x2",
            "[    1.000000] WARNING: possible circular locking dependency detected",
            "[    1.000000][    T1] WARNING: inconsistent lock state",
            "[    1.000000] WARNING: suspicious RCU usage",
            "[    1.000000] WARNING: mm/filemap.c:129 at foo+0x1/0x2, CPU#0: swapper/0/1",
            "[    1.000000] [ BUG: Invalid wait context ]",
            "[   12.000000] BUG kmalloc-128 (Not tainted): Poison overwritten",
            "[   12.000000] BUG <unknown> (Tainted: G B): Freeing a wrong object",
            "[  243.000000] INFO: task cat:123 blocked in I/O wait for more than 120 seconds.",
            "[   12.000000] BUG: KASAN: slab-use-after-free in foo+0x1/0x2",
            "[   12.000000] BUG: unable to handle page fault for address: 0000",
            "[   12.000000] BUG: Bad page state in process cat  pfn:1234",
            "[   12.000000] kernel BUG at mm/filemap.c:12!",
            "[   12.000000] Oops: general protection fault, probably for",
            "[   12.000000] Kernel panic - not syncing: sysrq triggered crash",
            "[   12.000000] UBSAN: array-index-out-of-bounds in mm/x.c:1:2",
            "[  243.000000] INFO: task cat:123 blocked for more than 120 seconds.",
            "[   12.000000] ------------[ cut here ]------------",
            "[   12.000000] rust_kernel: panicked at rust/kernel/mm.rs:1:1:",
        ] {
            assert!(watch(line).0.begun(), "not seen: {line}");
        }
    }

    /// Ordinary messages, and a program's talk of warnings, are none.
    #[test]
    fn peace_is_peace() {
        let text = "\
[    0.000000] Linux version 7.3.4
[    0.100000] Spectre V2 : WARNING: Unprivileged eBPF is enabled
[    1.000000] XFS (pmem0): Mounting V5 Filesystem
[    1.000000] XFS (pmem0): metadata I/O error in \"x\" at daddr 0x1 len 1 error 5
[    2.000000] FAULT_INJECTION: forcing a failure.
[    2.000000] page allocation failure: order:0
    ok 1 warning_is_a_word
# BUG is what this tests";
        assert!(!watch(text).0.begun());
    }

    /// The report is shown from its first line to its end, and no more.
    #[test]
    fn report_is_whole() {
        let (watch, now) = watch(
            "[ 1.0] harmless\n[ 1.1] harmless too\n[ 1.2] ------------[ cut here ]------------\n\
             [ 1.2] WARNING: CPU: 0 PID: 1 at x.c:1 foo+0x0/0x1\n[ 1.2] Call Trace:\n\
             [ 1.2]  foo+0x0/0x1\n[ 1.2] ---[ end trace 0000000000000000 ]---",
        );
        assert!(watch.report().contains("cut here"));
        assert!(watch.report().contains("end trace"));
        assert!(watch.headline().starts_with("WARNING: CPU: 0"));
        assert!(!watch.complete(now));
        assert!(watch.complete(now + QUIET / 10));
    }

    /// A report without an end mark ends when nothing more comes.
    #[test]
    fn report_without_an_end_ends() {
        let (watch, now) = watch("[ 1.2] INFO: task x:1 blocked for more than 120 seconds.");
        assert!(!watch.complete(now + QUIET / 2));
        assert!(watch.complete(now + QUIET));
    }
}
