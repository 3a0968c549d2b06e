// SPDX-License-Identifier: GPL-2.0

//! Folios of several pages: who may attach to which of them.
//!
//! That somebody has an alias to a folio says nothing about a page of it that nobody has. The block
//! may be another file's by now, and written to. This is the least in which that can go wrong: a
//! home's folio of two pages, three files, and two threads that attach and take away what aliases
//! name. What a page of the folio contains does not change; what is on the device does. The rest of
//! the protocol, which is the same for folios of one page, is in [`crate::protocol`]; so what blocks a
//! file has changes in one step here, when it has no alias to them.
//!
//! `rust/kernel/mm/page_cache/alias.rs` is the code for the count, `home.rs` for who attaches.

use stateright::{Model, Property};

pub const FILES: usize = 3;
pub const PAGES: usize = 2;
pub const THREADS: usize = 2;

/// What the protocol rests on where folios have several pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Who attaches needs an alias to the whole folio, unless he has seen one to the page.
    WholeVouches,
    /// What he has seen is an alias to that same page.
    VouchSamePage,
    /// ... and the folio is locked from then on until his own is in place.
    VouchLocked,
    /// What was an alias to the whole folio is counted as one no more when a page of it is gone.
    SplitUncountsWhole,
}

impl Rule {
    pub const ALL: [Rule; 4] = [
        Rule::WholeVouches,
        Rule::VouchSamePage,
        Rule::VouchLocked,
        Rule::SplitUncountsWhole,
    ];

    /// As it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Rule::WholeVouches => "whole-vouches",
            Rule::VouchSamePage => "vouch-same-page",
            Rule::VouchLocked => "vouch-locked",
            Rule::SplitUncountsWhole => "split-uncounts-whole",
        }
    }
}

/// Pages of the folio, a bit each.
type Set = u8;

const ALL_PAGES: Set = (1 << PAGES) - 1;

fn bit(page: u8) -> Set {
    1 << page
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct File {
    /// The pages that it has, where the folio has them.
    owns: Set,
    /// Those that its slots name,
    names: Set,
    /// ... all of them by one entry.
    whole: bool,
}

/// Where a thread is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum At {
    #[default]
    Idle,
    /// Home::attach_batch(), with the fragments locked
    Look,
    /// Home::vouched_order()
    Vouch,
    /// page_cache_slots_attach()
    Store,
    /// drop_alias(), break_alias_to(), with the folio locked
    Clear,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Thread {
    at: At,
    file: u8,
    pages: Set,
    vouched: bool,
    /// It has the folio locked.
    locked: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    files: [File; FILES],
    /// Pages that are something else on the device than in the folio.
    stale: Set,
    /// The count: slots, and whole aliases.
    slots: u8,
    whole: u8,
    fragments_locked: bool,
    folio_locked: bool,
    threads: [Thread; THREADS],
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A thread begins to attach these pages to a file.
    Attach(u8, u8, Set),
    /// A thread begins to take the aliases to these pages from a file.
    Clear(u8, u8, Set),
    /// A thread takes its next step.
    Step(u8),
    /// A file loses a page that it has no alias to.
    Lose(u8, u8),
    /// A file gets a page that another one has.
    Share(u8, u8),
    /// A page is written to in place, by the file that alone has it, or gets it now.
    Overwrite(u8, u8),
}

/// The protocol, by all rules but those.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    pub without: Option<Rule>,
}

impl State {
    fn owners(&self, page: u8) -> usize {
        self.files
            .iter()
            .filter(|file| file.owns & bit(page) != 0)
            .count()
    }

    fn file(&mut self, file: u8) -> &mut File {
        &mut self.files[usize::from(file)]
    }

    fn done(&mut self, thread: usize) {
        let me = std::mem::take(&mut self.threads[thread]);
        if me.at != At::Clear {
            self.fragments_locked = false;
        }
        if me.locked {
            self.folio_locked = false;
        }
    }

    fn lock_folio(&mut self, thread: usize) -> bool {
        if self.folio_locked {
            return false;
        }
        self.folio_locked = true;
        self.threads[thread].locked = true;
        true
    }
}

impl Parts {
    fn has(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    fn apply(&self, state: &mut State, action: Action) -> bool {
        match action {
            Action::Attach(thread, file, pages) => {
                if std::mem::replace(&mut state.fragments_locked, true) {
                    return false;
                }
                state.threads[usize::from(thread)] = Thread {
                    at: At::Look,
                    file,
                    pages,
                    ..Thread::default()
                };
                true
            }
            Action::Clear(thread, file, pages) => {
                let thread = usize::from(thread);
                if !state.lock_folio(thread) {
                    return false;
                }
                state.threads[thread] = Thread {
                    at: At::Clear,
                    file,
                    pages,
                    locked: true,
                    ..Thread::default()
                };
                true
            }
            Action::Step(thread) => self.step(state, usize::from(thread)),
            Action::Lose(file, page) => {
                let of = state.file(file);
                let may = of.owns & bit(page) != 0 && of.names & bit(page) == 0;
                of.owns &= !bit(page);
                may
            }
            Action::Share(file, page) => {
                let may = state.owners(page) != 0;
                let of = state.file(file);
                let may = may && of.owns & bit(page) == 0 && of.names & bit(page) == 0;
                of.owns |= bit(page);
                may
            }
            Action::Overwrite(file, page) => {
                let owners = state.owners(page);
                let of = state.file(file);
                let has = of.owns & bit(page) != 0;
                let may = of.names & bit(page) == 0 && (owners == 0 || owners == 1 && has);
                of.owns |= bit(page);
                state.stale |= bit(page);
                may
            }
        }
    }

    fn step(&self, state: &mut State, thread: usize) -> bool {
        let me = state.threads[thread];
        let file = state.files[usize::from(me.file)];
        match me.at {
            At::Idle => return false,
            At::Look => {
                if file.names & me.pages != 0 {
                    state.done(thread);
                } else if me.pages == ALL_PAGES || state.whole != 0 {
                    state.threads[thread].at = At::Store;
                } else if self.has(Rule::VouchLocked) && !state.lock_folio(thread) {
                    // It only tries.
                    state.done(thread);
                } else {
                    state.threads[thread].at = At::Vouch;
                }
            }
            At::Vouch => {
                let same = self.has(Rule::VouchSamePage);
                let vouched = state.files.iter().any(|other| match same {
                    true => other.names & me.pages == me.pages,
                    false => other.names != 0,
                });
                if vouched {
                    state.threads[thread].vouched = true;
                    state.threads[thread].at = At::Store;
                } else {
                    state.done(thread);
                }
            }
            At::Store => {
                let empty = file.names & me.pages == 0;
                let valid = file.owns & me.pages == me.pages;
                let live = state.slots != 0;
                let may = match self.has(Rule::WholeVouches) {
                    true => state.whole != 0 || me.vouched && live,
                    false => live,
                };
                if empty && valid && may {
                    let whole = me.pages == ALL_PAGES;
                    state.file(me.file).names |= me.pages;
                    state.file(me.file).whole = whole;
                    state.slots += me.pages.count_ones() as u8;
                    state.whole += u8::from(whole);
                }
                state.done(thread);
            }
            At::Clear => {
                let gone = file.names & me.pages;
                let of = state.file(me.file);
                of.names &= !gone;
                if gone != 0 && std::mem::take(&mut of.whole) && self.has(Rule::SplitUncountsWhole)
                {
                    state.whole -= 1;
                }
                state.slots -= gone.count_ones() as u8;
                state.done(thread);
            }
        }
        true
    }
}

impl Model for Parts {
    type State = State;
    type Action = Action;

    /// One file has read both pages, and has them as one; another has the same blocks.
    fn init_states(&self) -> Vec<State> {
        let mut files = [File::default(); FILES];
        files[0] = File {
            owns: ALL_PAGES,
            names: ALL_PAGES,
            whole: true,
        };
        files[1].owns = ALL_PAGES;
        vec![State {
            files,
            stale: 0,
            slots: PAGES as u8,
            whole: 1,
            fragments_locked: false,
            folio_locked: false,
            threads: [Thread::default(); THREADS],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let idle = state
            .threads
            .iter()
            .position(|thread| thread.at == At::Idle);
        for file in 0..FILES as u8 {
            for pages in 1..=ALL_PAGES {
                // One idle thread is like another.
                if let Some(idle) = idle {
                    actions.push(Action::Attach(idle as u8, file, pages));
                    actions.push(Action::Clear(idle as u8, file, pages));
                }
            }
            for page in 0..PAGES as u8 {
                actions.push(Action::Lose(file, page));
                actions.push(Action::Share(file, page));
                actions.push(Action::Overwrite(file, page));
            }
        }
        for (number, thread) in state.threads.iter().enumerate() {
            if thread.at != At::Idle {
                actions.push(Action::Step(number as u8));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        self.apply(&mut next, action).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "what an alias names is on the device",
                |_, state: &State| state.files.iter().all(|file| file.names & state.stale == 0),
            ),
            Property::always("an alias names what the file has", |_, state: &State| {
                state.files.iter().all(|file| file.names & !file.owns == 0)
            }),
            Property::always("every alias is counted", |model: &Self, state: &State| {
                let named: u32 = state.files.iter().map(|file| file.names.count_ones()).sum();
                let whole = state.files.iter().filter(|file| file.whole).count();
                u32::from(state.slots) == named
                    && (usize::from(state.whole) == whole || !model.has(Rule::SplitUncountsWhole))
            }),
            Property::sometimes(
                "a part is attached that somebody vouches for",
                |_, state: &State| state.whole == 0 && state.slots > 2,
            ),
        ]
    }
}
