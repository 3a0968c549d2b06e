// SPDX-License-Identifier: GPL-2.0

//! What a run of xfstests leaves on the host: results.json, junit.xml, what is
//! kept of the tests that failed; and how two runs differ.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use serde::Serialize;
use serde_json::json;

use crate::lab::write_whole;
use crate::xfscheck::{Test, Verdict};

/// What is kept of a test that failed: xfstests' own files, then the lab's.
const KEPT: [&str; 7] = [
    ".out.bad", ".full", ".dmesg", ".hints", ".report", ".stacks", ".console",
];

/// The results of one kernel.
#[derive(Default, Serialize)]
pub struct Results {
    /// The configuration's name.
    pub config: String,
    /// The kernel's name.
    pub kernel: String,
    /// The xfstests tree.
    pub tree: String,
    /// What check was asked for.
    pub arguments: Vec<String>,
    /// What check said of kernel and file systems.
    pub facts: BTreeMap<String, String>,
    /// How often a guest was booted.
    pub boots: u32,
    /// The tests, in the order in which they ended.
    pub tests: Vec<Test>,
}

/// How many tests came out how.
#[derive(Default, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// As they should.
    pub passed: u64,
    /// Not as they should.
    pub failed: u64,
    /// They said they cannot run here.
    pub not_run: u64,
    /// They were excluded.
    pub expunged: u64,
}

impl Results {
    /// Counts them.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for test in &self.tests {
            *match test.verdict {
                Verdict::Passed => &mut counts.passed,
                Verdict::Failed(_) => &mut counts.failed,
                Verdict::NotRun(_) => &mut counts.not_run,
                Verdict::Expunged => &mut counts.expunged,
            } += 1;
        }
        counts
    }

    /// The end of what is printed about them.
    pub fn summary(&self) -> String {
        let counts = self.counts();
        let mut text = String::new();
        for (count, what) in [(counts.not_run, "not run"), (counts.expunged, "expunged")] {
            if count > 0 {
                text.push_str(&format!("{count} {what}\n"));
            }
        }
        text.push_str(&format!(
            "{} passed, {} failed",
            counts.passed, counts.failed
        ));
        text
    }

    /// Takes over, into `out`, what is worth keeping of the failed tests.  To be
    /// called after each boot: the next check removes files of tests that it is to
    /// leave out.
    pub fn keep_files(&mut self, from: &Path, out: &Path) -> Result<()> {
        for test in &mut self.tests {
            if !matches!(test.verdict, Verdict::Failed(_)) || !test.files.is_empty() {
                continue;
            }
            for ending in KEPT {
                let name = format!("{}{ending}", test.name);
                if !from.join(&name).is_file() {
                    continue;
                }
                let to = out.join(&name);
                fs::create_dir_all(to.parent().unwrap_or(out))?;
                fs::copy(from.join(&name), &to)
                    .with_context(|| format!("cannot write {}", to.display()))?;
                test.files.push(name);
            }
        }
        Ok(())
    }

    /// Writes results.json, with the differences if there are some to be told, and
    /// junit.xml.
    pub fn write(&self, out: &Path, differences: Option<&[Difference]>) -> Result<()> {
        let mut all = serde_json::to_value(self)?;
        all["counts"] = json!(self.counts());
        if let Some(differences) = differences {
            all["differences"] = json!(differences);
        }
        write_whole(&out.join("results.json"), format!("{all:#}\n").as_bytes())?;
        write_whole(&out.join("junit.xml"), self.junit()?.as_bytes())
    }

    fn junit(&self) -> Result<String> {
        let mut suite = TestSuite::new(format!("{} on {}", self.config, self.kernel));
        for (name, value) in &self.facts {
            suite.add_property((name.as_str(), value.as_str()));
        }
        suite.add_test_cases(self.tests.iter().map(junit_case));
        let mut report = quick_junit::Report::new("xfstests");
        report.add_test_suite(suite);
        report.to_string().context("cannot write junit.xml")
    }
}

fn junit_case(test: &Test) -> TestCase {
    let status = match &test.verdict {
        Verdict::Passed => TestCaseStatus::success(),
        Verdict::Failed(said) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status
                .set_message(said.lines().next().unwrap_or(""))
                .set_description(said.as_str());
            status
        }
        Verdict::NotRun(reason) => skipped(reason),
        Verdict::Expunged => skipped("expunged"),
    };
    let mut case = TestCase::new(test.name.as_str(), status);
    // As other tools call them: "generic" and "001".
    if let Some((group, _)) = test.name.split_once('/') {
        case.set_classname(format!("xfstests.{group}"));
    }
    case.set_time(Duration::from_secs(test.seconds.unwrap_or(0)));
    case
}

fn skipped(reason: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(reason);
    status
}

/// A test that came out one way on one kernel and another way on the other.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The test.
    pub name: String,
    /// How it came out on the kernel that is compared with.
    pub was: &'static str,
    /// How it came out on the kernel that is tested.
    pub is: &'static str,
}

impl Difference {
    /// Whether it is one for the worse.
    pub fn is_regression(&self) -> bool {
        self.was == word(Some(&Verdict::Passed))
    }
}

/// A verdict in a word; none is that of a test that is not there.
fn word(verdict: Option<&Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Passed) => "passed",
        Some(Verdict::Failed(_)) => "failed",
        Some(Verdict::NotRun(_)) => "not run",
        Some(Verdict::Expunged) => "expunged",
        None => "missing",
    }
}

/// The tests that came out otherwise than before, by name.
pub fn differences(before: &[Test], after: &[Test]) -> Vec<Difference> {
    let mut both: BTreeMap<&str, [Option<&Verdict>; 2]> = BTreeMap::new();
    for (side, tests) in [before, after].into_iter().enumerate() {
        for test in tests {
            both.entry(&test.name).or_default()[side] = Some(&test.verdict);
        }
    }
    both.into_iter()
        .map(|(name, [was, is])| Difference {
            name: name.into(),
            was: word(was),
            is: word(is),
        })
        .filter(|difference| difference.was != difference.is)
        .collect()
}

/// Whether a folder can take results: it is not there, or it is empty.
pub fn is_free(out: &Path) -> Result<bool> {
    match fs::read_dir(out) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", out.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Verdict {
        Verdict::Failed("- output mismatch\n    -a <b> \u{1}&".into())
    }

    fn results() -> Results {
        let mut passed = Test::new("generic/001", Verdict::Passed);
        passed.seconds = Some(7);
        Results {
            config: "xfs".into(),
            kernel: "patched".into(),
            tests: vec![
                passed,
                Test::new("generic/002", failed()),
                Test::new("xfs/003", Verdict::NotRun("no quota".into())),
                Test::new("xfs/004", Verdict::Expunged),
            ],
            ..Results::default()
        }
    }

    /// Both files have every test, and what cannot stand in XML does no harm.
    #[test]
    fn both_files_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let results = results();
        results.write(dir.path(), None).unwrap();
        let text = fs::read_to_string(dir.path().join("results.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["counts"]["failed"], 1);
        assert_eq!(json["tests"][0]["outcome"], "passed");
        assert_eq!(json["tests"][0]["seconds"], 7);
        assert_eq!(json["tests"][2]["reason"], "no quota");
        assert!(json.get("differences").is_none());
        let xml = fs::read_to_string(dir.path().join("junit.xml")).unwrap();
        for part in [
            "tests=\"4\"",
            "failures=\"1\"",
            "name=\"generic/002\"",
            "&lt;b&gt;",
            "no quota",
            "time=\"7.000\"",
        ] {
            assert!(xml.contains(part), "{part}: {xml}");
        }
        assert!(!xml.contains('\u{1}'));
    }

    /// What a failed test left is kept, what others left is not.
    #[test]
    fn files_of_failures_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (from, out) = (dir.path().join("from"), dir.path().join("out"));
        fs::create_dir_all(from.join("generic")).unwrap();
        for name in ["001.full", "002.full", "002.out.bad", "002.notrun"] {
            fs::write(from.join("generic").join(name), name).unwrap();
        }
        let mut results = results();
        results.keep_files(&from, &out).unwrap();
        // The next boot has taken away what is kept already.
        fs::remove_file(from.join("generic/002.out.bad")).unwrap();
        results.keep_files(&from, &out).unwrap();
        assert_eq!(
            results.tests[1].files,
            ["generic/002.out.bad", "generic/002.full"]
        );
        assert!(out.join("generic/002.full").is_file());
        assert!(!out.join("generic/001.full").exists());
        assert!(!out.join("generic/002.notrun").exists());
    }

    /// Only what changed is told, and only what passed before is for the worse.
    #[test]
    fn differences_are_found() {
        let test = |name: &str, verdict: Verdict| Test::new(name, verdict);
        let notrun = || Verdict::NotRun("why".into());
        let before = [
            test("a/001", Verdict::Passed),
            test("a/002", failed()),
            test("a/003", Verdict::Failed("other words".into())),
            test("a/004", Verdict::Passed),
            test("a/005", notrun()),
            test("a/006", Verdict::Passed),
        ];
        let after = [
            test("a/001", Verdict::Passed),
            test("a/002", Verdict::Passed),
            test("a/003", failed()),
            test("a/004", failed()),
            test("a/005", failed()),
        ];
        let found = differences(&before, &after);
        let shown: Vec<_> = found
            .iter()
            .map(|d| format!("{} {} {} {}", d.name, d.was, d.is, d.is_regression()))
            .collect();
        assert_eq!(
            shown,
            [
                "a/002 failed passed false",
                "a/004 passed failed true",
                "a/005 not run failed false",
                "a/006 passed missing true",
            ]
        );
    }

    /// The last line is always the same two numbers.
    #[test]
    fn summary_counts() {
        assert_eq!(
            results().summary(),
            "1 not run\n1 expunged\n1 passed, 1 failed"
        );
        assert_eq!(Results::default().summary(), "0 passed, 0 failed");
    }

    /// Results of two runs are not mixed.
    #[test]
    fn only_empty_folders_are_free() {
        let dir = tempfile::tempdir().unwrap();
        assert!(is_free(dir.path()).unwrap());
        assert!(is_free(&dir.path().join("new")).unwrap());
        fs::write(dir.path().join("results.json"), "").unwrap();
        assert!(!is_free(dir.path()).unwrap());
        assert!(is_free(&dir.path().join("results.json")).is_err());
    }
}
