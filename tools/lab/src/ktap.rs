// SPDX-License-Identifier: GPL-2.0

//! Reading KTAP, the kernel's dialect of the Test Anything Protocol: nested,
//! mixed with whatever else a test prints, and cut short when a test dies.  (The
//! TAP crates there are take whole, well-formed TAP 14 documents only.)

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

/// How a test came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Good.
    Pass,
    /// Not run, and why.
    Skip(String),
    /// Bad, and what was printed about it.
    Fail(String),
}

/// A test without tests of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name, with the names of what it is part of before it.
    pub name: String,
    /// How it came out.
    pub verdict: Verdict,
}

static RESULT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^(?P<indent> *)(?P<not>not )?ok\b *(?P<number>\d+)? *(- *)?(?P<name>.*?) *(#+ *(?P<directive>SKIP|XFAIL|TODO|TIMEOUT|ERROR)\b:? *(?P<reason>.*))?$",
    )
    .expect("constant")
});
static PLAN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?P<indent> *)1\.\.(?P<count>\d+) *(# *SKIP\b:? *(?P<reason>.*))?$")
        .expect("constant")
});
/// A test's name does not carry how long it took or how it is called in TAP.
static DECORATION: LazyLock<Regex> = LazyLock::new(|| Regex::new(r" +# .*$").expect("constant"));
/// Diagnostic lines kept for a test that fails.
const KEPT: usize = 60;

#[derive(Default)]
struct Level {
    cases: Vec<Case>,
    results: u64,
    planned: Option<u64>,
    skipped: Option<String>,
}

/// Reads all results out of `text`.
pub fn parse(text: &str) -> Vec<Case> {
    let mut levels: BTreeMap<usize, Level> = BTreeMap::new();
    let mut said: Vec<String> = vec![];
    for line in text.lines() {
        let line = line.trim_end();
        if let Some(plan) = PLAN.captures(line) {
            let level = levels.entry(plan["indent"].len()).or_default();
            // Programs in a row may each announce a plan.
            level.planned = Some(level.planned.unwrap_or(0) + plan["count"].parse().unwrap_or(0));
            level.skipped = plan.name("reason").map(|r| r.as_str().to_string());
            continue;
        }
        if let Some(result) = RESULT.captures(line) {
            let depth = result["indent"].len();
            let case = leaf(&result, &said);
            said.clear();
            let below = levels.split_off(&(depth + 1));
            let level = levels.entry(depth).or_default();
            level.results += 1;
            level.cases.extend(merge(case, below));
            continue;
        }
        if let Some(reason) = line.trim().strip_prefix("Bail out!") {
            let level = levels.entry(0).or_default();
            level.cases.push(Case {
                name: "bail out".into(),
                verdict: Verdict::Fail(reason.trim().to_string()),
            });
            continue;
        }
        if said.len() == KEPT {
            said.remove(0);
        }
        if !line.is_empty() {
            said.push(line.to_string());
        }
    }
    levels
        .into_values()
        .flat_map(|level| finish(level, &said))
        .collect()
}

fn leaf(result: &regex::Captures, said: &[String]) -> Case {
    let reason = result.name("reason").map_or("", |r| r.as_str());
    let verdict = match result.name("directive").map(|d| d.as_str()) {
        Some("SKIP") => Verdict::Skip(reason.to_string()),
        Some("XFAIL") => Verdict::Skip(format!("expected to fail: {reason}")),
        Some("TODO") => Verdict::Skip(format!("to do: {reason}")),
        _ if result.name("not").is_some() => Verdict::Fail(said.join("\n")),
        _ => Verdict::Pass,
    };
    let name = DECORATION.replace(&result["name"], "").trim().to_string();
    let name = match name.is_empty() {
        true => result
            .name("number")
            .map_or("unnamed", |n| n.as_str())
            .into(),
        false => name,
    };
    Case { name, verdict }
}

/// A result together with the results of its parts, which came before it.
fn merge(case: Case, below: BTreeMap<usize, Level>) -> Vec<Case> {
    let parts: Vec<Case> = below
        .into_values()
        .flat_map(|level| finish(level, &[]))
        .collect();
    if parts.is_empty() {
        return vec![case];
    }
    let failed = |case: &Case| matches!(case.verdict, Verdict::Fail(_));
    // A whole that fails though none of its parts did failed by itself.
    let own = failed(&case) && !parts.iter().any(failed);
    let mut cases: Vec<Case> = parts
        .into_iter()
        .map(|part| Case {
            name: format!("{}.{}", case.name, part.name),
            ..part
        })
        .collect();
    if own {
        cases.push(case);
    }
    cases
}

/// The cases of a level, and a failure if there are fewer than it announced.
fn finish(level: Level, said: &[String]) -> Vec<Case> {
    let mut cases = level.cases;
    match (level.planned, level.skipped) {
        (Some(0), reason) if cases.is_empty() => cases.push(Case {
            name: "all".into(),
            verdict: Verdict::Skip(reason.unwrap_or_default()),
        }),
        (Some(planned), _) if planned > level.results => cases.push(Case {
            name: "plan".into(),
            verdict: Verdict::Fail(format!(
                "{planned} tests were announced, {} came to an end\n{}",
                level.results,
                said.join("\n")
            )),
        }),
        _ => {}
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text).into_iter().map(|case| case.name).collect()
    }

    /// KUnit's output: suites in suites, names joined.
    #[test]
    fn nested_results_are_joined() {
        let text = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: entry\n    1..2\n    \
                    ok 1 pfn\n    not ok 2 proxy\nnot ok 1 entry\n";
        assert_eq!(names(text), ["entry.pfn", "entry.proxy"]);
        assert!(matches!(parse(text)[1].verdict, Verdict::Fail(_)));
    }

    /// kselftest_harness: what was printed before a failure belongs to it.
    #[test]
    fn failures_keep_their_words() {
        let text = "TAP version 13\n1..2\n# Starting 2 tests\n#  RUN           share.read ...\n\
                    # share.c:12:read:Expected 1 == 2\n# read: Test failed\n\
                    not ok 1 share.read\n#  RUN  x\nok 2 share.splice\n";
        let cases = parse(text);
        let Verdict::Fail(said) = &cases[0].verdict else {
            panic!("passed");
        };
        assert!(said.contains("Expected 1 == 2"));
        assert_eq!(cases[1].verdict, Verdict::Pass);
    }

    /// A skip is no pass, and says why, in all spellings.
    #[test]
    fn skips_have_reasons() {
        for line in [
            "ok 1 a # SKIP no device",
            "ok 1 - a # SKIP: no device",
            "ok 1 a #SKIP no device",
        ] {
            assert_eq!(
                parse(line),
                [Case {
                    name: "a".into(),
                    verdict: Verdict::Skip("no device".into())
                }],
                "{line}"
            );
        }
        assert_eq!(
            parse("TAP version 13\n1..0 # SKIP not root\n")[0].verdict,
            Verdict::Skip("not root".into())
        );
    }

    /// A test that dies half way is a failure though nothing says "not ok".
    #[test]
    fn missing_results_fail() {
        let cases = parse("1..3\nok 1 a\nSegmentation fault\n");
        assert_eq!(cases.len(), 2);
        let Verdict::Fail(said) = &cases[1].verdict else {
            panic!("passed");
        };
        assert!(said.contains("3 tests") && said.contains("Segmentation"));
    }

    /// A whole that fails on its own account is counted once.
    #[test]
    fn failing_whole_is_counted() {
        let cases = parse("    1..1\n    ok 1 a\nnot ok 1 suite\n");
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[1].name, "suite");
    }

    /// Words that begin like a result are none.
    #[test]
    fn prose_is_no_result() {
        assert!(parse("okay then\n# ok 1 quoted\nnothing ok\n").is_empty());
    }
}
