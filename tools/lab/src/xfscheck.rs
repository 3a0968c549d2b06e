// SPDX-License-Identifier: GPL-2.0

//! xfstests' `check`: which of its arguments the lab can pass on, and what its
//! output says, read while it comes.

use std::path::PathBuf;
use std::sync::LazyLock;

use anyhow::{bail, Context, Result};
use regex::Regex;
use serde::Serialize;

/// The word that begins the lines of guest/xfstests.sh in check's output.
pub const MARK: &str = "#lab#";
/// Lines kept of what a failed test said.
const KEPT: usize = 60;

/// A test's name at the beginning of a line.
static NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^([a-z][a-z0-9-]*/\d{3,}\S*)(?:\s|$)").expect("constant"));
/// All that follows the name of a test that passed: how long it took last time,
/// and now.
static PASSED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(?:\d+s \.\.\.)?\s*(\d+)s$").expect("constant"));
/// How long a test took last time, or the blanks in its place.
static LAST_TIME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\d+s \.\.\.\s*").expect("constant"));

/// Arguments for `check`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CheckArgs {
    /// As they are passed on.
    pub arguments: Vec<String>,
    /// Files of the host that were given with -E; the guest has its own.
    pub excludes: Vec<PathBuf>,
}

impl CheckArgs {
    /// Takes what selects tests; the rest of what check knows would change where
    /// its results go or how they look.
    pub fn parse(given: &[String]) -> Result<CheckArgs> {
        let mut args = CheckArgs::default();
        let mut rest = given.iter();
        let mut tests = false;
        while let Some(word) = rest.next() {
            if word.starts_with('-') && tests {
                bail!("{word}: options come before the names of tests");
            }
            match word.as_str() {
                "-g" | "-x" | "-X" | "-e" => {
                    args.arguments.push(word.clone());
                    args.arguments.push(value(word, rest.next())?);
                }
                "-E" => args.excludes.push(value(word, rest.next())?.into()),
                "-r" | "--exact-order" | "-l" | "-udiff" => args.arguments.push(word.clone()),
                _ if word.starts_with('-') => bail!(
                    "{word} is none of the options of check that are passed on: \
                     -g, -x, -X, -e, -E, -r, --exact-order, -l, -udiff"
                ),
                "" => bail!("the name of a test is empty"),
                _ => {
                    tests = true;
                    args.arguments.push(word.clone());
                }
            }
        }
        Ok(args)
    }

    /// The tests that are named one by one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let mut is_value = false;
        self.arguments.iter().filter_map(move |word| {
            let option = word.starts_with('-');
            let name = !option && !is_value && !word.contains(['*', '?', '[']);
            is_value = matches!(word.as_str(), "-g" | "-x" | "-X" | "-e");
            name.then(|| word.strip_prefix("tests/").unwrap_or(word))
        })
    }
}

/// What follows an option.
fn value(option: &str, word: Option<&String>) -> Result<String> {
    word.filter(|word| !word.is_empty())
        .cloned()
        .with_context(|| format!("{option} needs a value"))
}

/// How a test came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "lowercase")]
pub enum Verdict {
    /// As it should.
    Passed,
    /// Not as it should, and what was printed about it.
    Failed(String),
    /// It said that it cannot run here, and why.
    NotRun(String),
    /// It was excluded.
    Expunged,
}

/// A test that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Test {
    /// Its name, like generic/001.
    pub name: String,
    /// How it came out.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How long it took, if that is known.
    pub seconds: Option<u64>,
    /// What is kept of it, relative to the folder of the results.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

impl Test {
    /// A test without anything known but how it came out.
    pub fn new(name: &str, verdict: Verdict) -> Test {
        Test {
            name: name.into(),
            verdict,
            seconds: None,
            files: vec![],
        }
    }
}

/// Where in the output of the guest's script a line is.
#[derive(Default, PartialEq, Eq)]
enum Part {
    /// Before check.
    #[default]
    Before,
    /// In what check -n says.
    List,
    /// In what check says while it works.
    Run,
    /// Behind check.
    After,
}

/// Reads what check prints, as far as it has come.
#[derive(Default)]
pub struct Reader {
    seen: usize,
    part: Part,
    listed: Vec<String>,
    running: Option<String>,
    failing: Option<(String, Vec<String>)>,
    unknown: Vec<String>,
    facts: Vec<(String, String)>,
}

impl Reader {
    /// Reads what is new in `text`, which is all that has come; gives the tests
    /// that have ended since.
    pub fn read(&mut self, text: &[u8]) -> Vec<Test> {
        let mut ended = vec![];
        let new = text.get(self.seen..).unwrap_or_default();
        let whole = new.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        self.seen += whole;
        for line in String::from_utf8_lossy(&new[..whole]).lines() {
            self.line(line.trim_end(), &mut ended);
        }
        // The name of a test comes when it begins, the end of its line later.
        let begun = String::from_utf8_lossy(&new[whole..]).into_owned();
        if self.part == Part::Run {
            // A name without a blank behind it may not be whole.
            let name = NAME.captures(&begun).filter(|found| found[0] != found[1]);
            if let Some(name) = name {
                ended.extend(self.failed());
                self.running = Some(name[1].into());
            }
        }
        ended
    }

    /// The test that runs now.
    pub fn running(&self) -> Option<&str> {
        self.running.as_deref()
    }

    /// What is going to be run, once check has listed it.
    pub fn listed(&self) -> Option<&[String]> {
        matches!(self.part, Part::Run | Part::After).then_some(&self.listed)
    }

    /// Names that check does not know.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// What check said of the file systems, like MKFS_OPTIONS.
    pub fn facts(&self) -> &[(String, String)] {
        &self.facts
    }

    fn line(&mut self, line: &str, ended: &mut Vec<Test>) {
        if let Some(order) = line
            .strip_prefix(MARK)
            .and_then(|rest| rest.strip_prefix(' '))
        {
            ended.extend(self.failed());
            self.running = None;
            self.part = match order.split(' ').next() {
                Some("list") => Part::List,
                Some("run") => Part::Run,
                _ => Part::After,
            };
            return;
        }
        if let Some(name) = line.strip_suffix(" - unknown test, ignored") {
            if !self.unknown.iter().any(|known| known == name) {
                self.unknown.push(name.into());
            }
            return;
        }
        let name = NAME.captures(line).map(|found| found[1].to_string());
        match (&self.part, name) {
            (Part::List, Some(name)) if !line.ends_with("[expunged]") => self.listed.push(name),
            (Part::Run, Some(name)) => {
                ended.extend(self.failed());
                self.running = None;
                ended.extend(self.result(name, line));
            }
            (Part::Run, None) => self.other(line, ended),
            _ => {}
        }
    }

    /// A line that is no test's first: what check says of itself, or more words
    /// about a test that failed.
    fn other(&mut self, line: &str, ended: &mut Vec<Test>) {
        if line.starts_with("Ran: ") || line == "Interrupted!" {
            ended.extend(self.failed());
            return;
        }
        if let Some((_, said)) = &mut self.failing {
            if said.len() < KEPT && !line.is_empty() {
                said.push(line.into());
            }
            return;
        }
        if let Some((name, value)) = line.split_once(" -- ") {
            self.facts.push((name.trim().into(), value.trim().into()));
        }
    }

    /// What the first line of a test says; nothing yet if more is to come.
    fn result(&mut self, name: String, line: &str) -> Option<Test> {
        let rest = line[name.len()..].trim();
        if let Some(passed) = PASSED.captures(rest) {
            return Some(Test {
                seconds: passed[1].parse().ok(),
                ..Test::new(&name, Verdict::Passed)
            });
        }
        let rest = LAST_TIME.replace(rest, "");
        if rest == "[expunged]" {
            return Some(Test::new(&name, Verdict::Expunged));
        }
        if let Some(reason) = rest.strip_prefix("[not run]") {
            return Some(Test::new(&name, Verdict::NotRun(reason.trim().into())));
        }
        // Whatever else there is in the line, it is not the line of a success.
        self.failing = Some((name, vec![rest.into_owned()]));
        None
    }

    /// The failed test whose last words have been read.
    fn failed(&mut self) -> Option<Test> {
        let (name, said) = self.failing.take()?;
        Some(Test::new(&name, Verdict::Failed(said.join("\n"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Result<CheckArgs> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        CheckArgs::parse(&words)
    }

    /// What selects tests is passed on as it is; -E is a file of the host.
    #[test]
    fn arguments_are_passed_on() {
        let got = args("-g quick -x dangerous -E /not/these -r xfs/001 generic/0?1").unwrap();
        assert_eq!(
            got.arguments.join(" "),
            "-g quick -x dangerous -r xfs/001 generic/0?1"
        );
        assert_eq!(got.excludes, [PathBuf::from("/not/these")]);
        assert_eq!(got.names().collect::<Vec<_>>(), ["xfs/001"]);
        assert_eq!(args("").unwrap(), CheckArgs::default());
        let named = args("-e xfs/002 tests/xfs/001").unwrap();
        assert_eq!(named.names().collect::<Vec<_>>(), ["xfs/001"]);
    }

    /// What would not do what it says is refused, and named.
    #[test]
    fn other_options_are_refused() {
        for (line, word) in [
            ("-n", "-n is none"),
            ("-T generic/001", "-T is none"),
            ("-R xunit", "-R is none"),
            ("-i 5", "-i is none"),
            ("--size 3", "--size is none"),
            ("-g", "-g needs a value"),
            ("-E", "-E needs a value"),
            ("generic/001 -g quick", "-g: options come before"),
        ] {
            let said = args(line).unwrap_err().to_string();
            assert!(said.starts_with(word), "{line}: {said}");
        }
    }

    const TEXT: &str = "\
#lab# list
FSTYP         -- xfs (non-debug)

generic/001 
generic/002        [expunged]
generic/003 
#lab# run
FSTYP         -- xfs (non-debug)
MKFS_OPTIONS  -- -f -m reflink=1 /dev/vdc

generic/001         5s
generic/003  12s ...  13s
xfs/010        [not run] needs a quota -- 5s
xfs/011      [failed, exit status 1]- output mismatch (see /o/xfs/011.out.bad)
    --- tests/xfs/011.out
    +generic/099
xfs/012 3s ... _check_xfs_filesystem: filesystem on /dev/vdb is inconsistent (r)
(see /o/xfs/012.full for details)

xfs/013        [expunged]
xfs/014 - no such test?
Ran: generic/001
Failures: xfs/011
#lab# end 1
";

    fn verdicts(tests: &[Test]) -> Vec<String> {
        tests
            .iter()
            .map(|test| match &test.verdict {
                Verdict::Passed => format!("{} {:?}", test.name, test.seconds),
                Verdict::Failed(said) => format!("{} failed {said}", test.name),
                Verdict::NotRun(why) => format!("{} not run {why}", test.name),
                Verdict::Expunged => format!("{} expunged", test.name),
            })
            .collect()
    }

    /// Every way in which a test can end is told from the others.
    #[test]
    fn results_are_read() {
        let mut reader = Reader::default();
        let tests = reader.read(TEXT.as_bytes());
        assert_eq!(
            verdicts(&tests),
            [
                "generic/001 Some(5)",
                "generic/003 Some(13)",
                "xfs/010 not run needs a quota -- 5s",
                "xfs/011 failed [failed, exit status 1]- output mismatch (see \
                 /o/xfs/011.out.bad)\n    --- tests/xfs/011.out\n    +generic/099",
                "xfs/012 failed _check_xfs_filesystem: filesystem on /dev/vdb is inconsistent \
                 (r)\n(see /o/xfs/012.full for details)",
                "xfs/013 expunged",
                "xfs/014 failed - no such test?",
            ]
        );
        assert_eq!(reader.running(), None);
        assert_eq!(reader.listed().unwrap(), ["generic/001", "generic/003"]);
        assert!(reader.unknown().is_empty());
        let mkfs = ("MKFS_OPTIONS".into(), "-f -m reflink=1 /dev/vdc".into());
        assert!(reader.facts().contains(&mkfs));
    }

    /// The same comes out when the text comes byte by byte, and what runs is known
    /// before its line is whole.
    #[test]
    fn pieces_are_put_together() {
        let whole = Reader::default().read(TEXT.as_bytes());
        let mut reader = Reader::default();
        let mut tests = vec![];
        let mut ran = vec![];
        for end in 0..=TEXT.len() {
            tests.extend(reader.read(&TEXT.as_bytes()[..end]));
            let running = reader.running().map(String::from);
            if running.is_some() && ran.last() != running.as_ref() {
                ran.extend(running);
            }
        }
        assert_eq!(tests, whole);
        assert_eq!(ran.len(), 7, "{ran:?}");
        assert_eq!(ran[1], "generic/003");
    }

    /// A failed test is known as such when the next begins, not when it ends.
    #[test]
    fn failure_is_told_when_the_next_begins() {
        let mut reader = Reader::default();
        let mut text = "#lab# run\nxfs/001 - output mismatch\n    -a\n".to_string();
        assert!(reader.read(text.as_bytes()).is_empty());
        text.push_str("xfs/002  4s ... ");
        let tests = reader.read(text.as_bytes());
        assert_eq!(
            verdicts(&tests),
            ["xfs/001 failed - output mismatch\n    -a"]
        );
        assert_eq!(reader.running(), Some("xfs/002"));
    }

    /// Names that the tree does not have are no tests.
    #[test]
    fn unknown_names_are_told() {
        let mut reader = Reader::default();
        reader.read(b"#lab# list\ngeneric/9999 - unknown test, ignored\n#lab# run\n");
        assert_eq!(reader.unknown(), ["generic/9999"]);
        assert!(reader.listed().unwrap().is_empty());
    }
}
