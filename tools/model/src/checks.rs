// SPDX-License-Identifier: GPL-2.0

//! Which searches there are, and what each must come to.
//!
//! The protocol must hold in all of them, and must not without any one of its rules: a check that
//! finds nothing then finds nothing ever.

use std::fmt::Write;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

use crate::parts::{self, Parts};
use crate::protocol::{Action, Protocol};
use crate::state::{Op, State};
use crate::steps::{Rule, Rules};

/// What is searched.
enum Search {
    Protocol(Protocol),
    Parts(Parts),
}

/// One search.
pub struct Check {
    pub name: String,
    search: Search,
    /// The search does without something that is needed, and finds that out.
    pub must_find: bool,
    /// Takes minutes.
    pub deep: bool,
}

/// How a search ended.
pub struct Found {
    /// States that are really different.
    pub states: usize,
    /// What must hold and does not.
    pub broken: Option<Broken>,
}

/// Something that does not hold.
pub struct Broken {
    pub what: &'static str,
    /// How many steps it takes.
    pub steps: usize,
    /// The way there, for people.
    pub way: String,
}

const ALL: [Op; 13] = [
    Op::Read,
    Op::Fault,
    Op::Write,
    Op::Store,
    Op::Writeback,
    Op::Punch,
    Op::Direct,
    Op::Reflink,
    Op::Drop,
    Op::Reclaim,
    Op::Migrate,
    Op::Zap,
    Op::Evict,
];

/// Sets of operations that are repeated without end, as many at a time as there are threads.
const ENDLESS: [&[Op]; 12] = [
    &[Op::Read, Op::Read, Op::Write],
    &[Op::Read, Op::Read, Op::Reclaim],
    &[Op::Read, Op::Read, Op::Punch],
    &[Op::Read, Op::Direct, Op::Reflink],
    &[Op::Read, Op::Direct, Op::Drop],
    &[Op::Read, Op::Write, Op::Writeback, Op::Reflink],
    &[Op::Store, Op::Store, Op::Read, Op::Write],
    &[Op::Store, Op::Direct, Op::Drop, Op::Read],
    &[Op::Fault, Op::Direct, Op::Migrate],
    &[Op::Read, Op::Read, Op::Migrate],
    &[Op::Fault, Op::Write, Op::Migrate, Op::Zap],
    &[Op::Fault, Op::Write, Op::Reclaim, Op::Evict],
];

impl Check {
    /// All searches: those that must find nothing, and then one without each rule.
    pub fn all() -> Vec<Check> {
        let mut checks = vec![
            Check::limited(3, true, false),
            Check::limited(4, false, true),
            Check::limited(5, false, true),
        ];
        checks.extend(ENDLESS.iter().map(|ops| Check::endless(ops, false)));
        checks.extend(
            triples()
                .iter()
                .filter(|ops| !ENDLESS.contains(&ops.as_slice()))
                .map(|ops| Check::endless(ops, true)),
        );
        checks.extend(Rule::NEEDED.map(Check::without));
        checks.extend(Rule::NETS.map(Check::even_without));
        checks.push(Check::parts("parts".into(), None));
        checks.extend(parts::Rule::ALL.map(|rule| {
            let name = format!("parts-without-{}", rule.name());
            Check::parts(name, Some(rule))
        }));
        checks
    }

    fn limited(limit: u8, failures: bool, deep: bool) -> Check {
        let failing = if failures { "-failing" } else { "" };
        Check {
            name: format!("any-{limit}-operations{failing}"),
            must_find: false,
            search: Search::Protocol(Protocol {
                rules: Rules::default(),
                ops: [ALL, ALL, ALL].concat(),
                limit: Some(limit),
                failures,
            }),
            deep,
        }
    }

    fn endless(ops: &[Op], deep: bool) -> Check {
        Check {
            name: format!("endless-{}", names(ops)),
            must_find: false,
            search: Search::Protocol(Protocol {
                rules: Rules::default(),
                ops: ops.to_vec(),
                limit: None,
                failures: false,
            }),
            deep,
        }
    }

    /// The least that shows what a rule is for.
    fn without(rule: Rule) -> Check {
        use Op::*;
        let ops: &[Op] = match rule {
            Rule::Recheck => &[Read, Read, Write, Reclaim],
            Rule::IncUnlessZero => &[Read, Write],
            Rule::DecWithSlot => &[Read, Direct, Drop, Punch],
            Rule::HomeLock => &[Read, Drop, Reclaim],
            Rule::BreakBeforeWrite => &[Read, Write],
            Rule::TakeBackFreeze => &[Read, Punch, Write],
            Rule::TakeBackLocked => &[Read, Write],
            Rule::AskSlotEmpty => &[Read, Write],
            Rule::AdoptClean => &[Read, Write, Reflink],
            Rule::ValidExtent => &[Read, Direct, Writeback, Write],
            Rule::DirectCount => &[Read, Direct, Punch],
            Rule::DirectDrop => &[Read, Direct, Punch],
            Rule::DropBeforeRemap => &[Read, Punch],
            Rule::ReleaseBeforeFree => &[Read, Reclaim],
            Rule::Cover => &[Read, Reclaim],
            Rule::RecheckInFault => &[Read, Fault, Write],
            Rule::Unmap => &[Fault, Write],
            Rule::MigrateFreeze | Rule::MigrateStaysFrozen => &[Read, Migrate],
            Rule::MigrateCountLocked => &[Read, Read, Migrate],
            Rule::MigrateRewriteLocked => &[Read, Migrate, Drop, Evict],
            Rule::MigrateWalkLocked => &[Fault, Migrate, Drop, Evict],
            Rule::MigrateLockSrc => &[Read, Migrate, Drop],
            Rule::MigrateLockDst | Rule::UnmapEntries => &[Fault, Migrate, Write, Drop],
        };
        let mut check = Check::endless(ops, false);
        check.name = format!("without-{}", rule.name());
        check.must_find = true;
        if let Search::Protocol(protocol) = &mut check.search {
            protocol.rules.without = vec![rule];
        }
        check
    }

    /// Folios of several pages.
    fn parts(name: String, without: Option<parts::Rule>) -> Check {
        Check {
            name,
            must_find: without.is_some(),
            search: Search::Parts(Parts { without }),
            deep: false,
        }
    }

    fn even_without(rule: Rule) -> Check {
        let check = Check::without(rule);
        Check {
            name: format!("even-{}", check.name),
            must_find: false,
            ..check
        }
    }

    /// Searches all that can happen, or until something is found.
    pub fn run(&self, threads: usize) -> Found {
        match &self.search {
            Search::Protocol(protocol) => search(protocol, threads, explain),
            Search::Parts(parts) => search(parts, threads, |path| {
                let steps = path.clone().into_vec();
                steps
                    .iter()
                    .fold(String::new(), |text, step| text + &format!("{step:?}\n"))
            }),
        }
    }
}

fn search<M>(
    model: &M,
    threads: usize,
    explain: impl Fn(&Path<M::State, M::Action>) -> String,
) -> Found
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + std::hash::Hash + PartialEq + Send + Sync,
    M::Action: Clone + std::fmt::Debug + PartialEq + Send + Sync,
{
    let checker = model
        .clone()
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let examples: Vec<&str> = model
        .properties()
        .iter()
        .filter(|property| matches!(property.expectation, Expectation::Sometimes))
        .map(|property| property.name)
        .collect();
    let discoveries = checker.discoveries();
    let missing = examples
        .iter()
        .find(|name| !discoveries.contains_key(*name));
    let broken = discoveries
        .iter()
        .filter(|(name, _)| !examples.contains(name))
        // The shortest way tells most.
        .min_by_key(|(_, path)| Path::clone(path).into_vec().len())
        .map(|(what, path)| Broken {
            what,
            steps: Path::clone(path).into_vec().len() - 1,
            way: explain(path),
        });
    Found {
        states: checker.unique_state_count(),
        broken: broken.or(missing.map(|what| Broken {
            what,
            steps: 0,
            way: String::new(),
        })),
    }
}

fn names(ops: &[Op]) -> String {
    let names: Vec<String> = ops
        .iter()
        .map(|op| format!("{op:?}").to_lowercase())
        .collect();
    names.join("-")
}

/// Any three operations.
fn triples() -> Vec<[Op; 3]> {
    let mut triples = Vec::new();
    for (a, first) in ALL.iter().enumerate() {
        for (b, second) in ALL.iter().enumerate().skip(a) {
            for third in ALL.iter().skip(b) {
                triples.push([*first, *second, *third]);
            }
        }
    }
    triples
}

/// The way to where something broke, a line for each step, with what the steps changed.
fn explain(path: &Path<State, Action>) -> String {
    let mut text = String::new();
    for (state, action) in path.clone().into_vec() {
        let _ = writeln!(text, "{state}");
        if let Some(wrong) = state.wrong {
            let _ = writeln!(text, "    wrong: {wrong:?}");
        }
        if let Some(action) = action {
            let _ = writeln!(text, "  {}", describe(&state, action));
        }
    }
    text
}

fn describe(state: &State, action: Action) -> String {
    match action {
        Action::Start(_, op, page, other, choice) => {
            let mut text = format!("{op:?} begins at {}.{}", page.0, page.1);
            if op == Op::Reflink {
                let _ = write!(text, " from {}.{}", other.0, other.1);
            }
            if choice != 0 {
                text.push_str(" (the other way)");
            }
            text
        }
        Action::Step(number, choice) => {
            let thread = &state.threads[number];
            let way = if choice == 0 { "" } else { " (the other way)" };
            format!(
                "{:?} at {}.{}: {:?}{way}",
                thread.op, thread.file, thread.index, thread.pc
            )
        }
        Action::Device(frame, true) => format!("the device has read folio {frame}"),
        Action::Device(frame, false) => format!("the device fails to read folio {frame}"),
        Action::Open(file) => format!("file {file} is opened"),
    }
}
