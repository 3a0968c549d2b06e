// SPDX-License-Identifier: GPL-2.0

//! The protocol as a model to be checked: what may happen next, and what must always hold.

use stateright::{Model, Property};

use crate::state::*;
use crate::steps::{Rules, Stepper, CHOICES};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A thread begins an operation on a page (file, index), with a choice. Reclaim and migration
    /// have no file, and the block for an index.
    Start(usize, Op, (u8, u8), (u8, u8), u8),
    /// A thread takes its next step, with a choice.
    Step(usize, u8),
    /// The device has read a block into a folio, or failed to.
    Device(Frame, bool),
    /// An evicted inode is looked up again.
    Open(u8),
}

/// A check: by which rules, which operations, and for how long.
#[derive(Clone, Debug)]
pub struct Protocol {
    pub rules: Rules,
    /// Each is done by one thread at a time; what is named twice, by two.
    pub ops: Vec<Op>,
    /// How many operations there are in all; [`None`] is no end of them.
    pub limit: Option<u8>,
    /// Devices fail to read.
    pub failures: bool,
}

impl Protocol {
    fn apply(&self, state: &mut State, action: Action) -> bool {
        match action {
            Action::Start(thread, op, page, other, choice) => {
                state.left = state.left.map(|left| left - 1);
                Stepper::new(&self.rules, state, thread, choice)
                    .start(op, page, other)
                    .is_ok()
            }
            Action::Step(thread, choice) => Stepper::new(&self.rules, state, thread, choice)
                .run()
                .is_ok(),
            Action::Device(frame, works) => device(state, frame, works),
            Action::Open(file) => {
                state.files[usize::from(file)].evicted = false;
                true
            }
        }
    }

    fn starts(&self, state: &State, thread: usize, actions: &mut Vec<Action>) {
        for &op in &self.ops {
            let running = state
                .threads
                .iter()
                .filter(|thread| thread.op == op)
                .count();
            let at_a_time = self.ops.iter().filter(|other| **other == op).count();
            if running >= at_a_time {
                continue;
            }
            match op {
                Op::Reclaim | Op::Migrate => {
                    for block in 0..BLOCKS as u8 {
                        actions.push(Action::Start(thread, op, (0, block), (0, 0), 0));
                    }
                    continue;
                }
                _ => {}
            }
            for (file, index, _) in state.pages() {
                if !is_usable(state, file) {
                    continue;
                }
                let page = (file, index);
                match op {
                    Op::Reflink => {
                        for (file2, index2, _) in state.pages() {
                            if is_usable(state, file2) {
                                actions.push(Action::Start(thread, op, page, (file2, index2), 0));
                            }
                        }
                    }
                    Op::Writeback => {
                        for choice in 0..CHOICES {
                            actions.push(Action::Start(thread, op, page, (0, 0), choice));
                        }
                    }
                    _ => actions.push(Action::Start(thread, op, page, (0, 0), 0)),
                }
            }
        }
    }

    /// Is there nothing that can go on, though somebody waits?
    fn is_deadlocked(&self, state: &State) -> bool {
        if state.threads.iter().all(|thread| thread.op == Op::Idle)
            || state.folios.iter().any(|folio| folio.reading.is_some())
        {
            return false;
        }
        (0..THREADS)
            .filter(|thread| state.threads[*thread].op != Op::Idle)
            .all(|thread| {
                (0..CHOICES).all(|choice| {
                    let mut next = state.clone();
                    !self.apply(&mut next, Action::Step(thread, choice))
                })
            })
    }
}

/// Is the inode in memory, and not on its way out?
fn is_usable(state: &State, file: u8) -> bool {
    !state.files[usize::from(file)].evicted
        && !state
            .threads
            .iter()
            .any(|thread| thread.op == Op::Evict && thread.file == file)
}

fn device(state: &mut State, frame: Frame, works: bool) -> bool {
    let Some(block) = state.folio(frame).reading else {
        return false;
    };
    let data = state.disk[usize::from(block)];
    let folio = state.folio_mut(frame);
    folio.reading = None;
    folio.locked = false;
    if works {
        if matches!(folio.owner, Owner::Home(_)) {
            folio.data = data;
        }
        folio.uptodate = true;
    }
    true
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::shared(self.limit).canonical()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.wrong.is_some() {
            return;
        }
        let mut idle = None;
        for (number, thread) in state.threads.iter().enumerate() {
            if thread.op == Op::Idle {
                idle = Some(number);
            } else {
                for choice in 0..CHOICES {
                    actions.push(Action::Step(number, choice));
                }
            }
        }
        // One idle thread is like another.
        if let Some(idle) = idle.filter(|_| state.left != Some(0)) {
            self.starts(state, idle, actions);
        }
        for (frame, folio) in state.folios.iter().enumerate() {
            if folio.reading.is_some() {
                actions.push(Action::Device(frame as Frame, true));
                if self.failures {
                    actions.push(Action::Device(frame as Frame, false));
                }
            }
        }
        for (file, of) in state.files.iter().enumerate() {
            if of.evicted {
                actions.push(Action::Open(file as u8));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        self.apply(&mut next, action).then(|| next.canonical())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing goes wrong in a step", |_, state: &State| {
                state.wrong.is_none()
            }),
            Property::always("an alias names what the file maps", |_, state: &State| {
                aliases(state).all(|(page, frame)| {
                    page.block.is_some_and(|block| {
                        state.folio(frame).owner == Owner::Home(block) && is_in_home(state, frame)
                    })
                })
            }),
            Property::always("every alias is counted", |_, state: &State| {
                (0..FRAMES as Frame).all(|frame| is_counted(state, frame))
            }),
            Property::always("every alias is in a fragment", |_, state: &State| {
                aliases(state).all(|(page, _)| {
                    page.block
                        .is_some_and(|block| page.fragments & (1 << block) != 0)
                })
            }),
            Property::always("home data is never stale", |_, state: &State| {
                state.folios.iter().all(|folio| match folio.owner {
                    Owner::Home(block) if folio.aliases != 0 && folio.uptodate => {
                        folio.data == state.disk[usize::from(block)]
                    }
                    _ => true,
                })
            }),
            Property::always("nothing written is lost", |_, state: &State| {
                state
                    .pages()
                    .all(|(file, index, page)| is_going(state, file, index) || is_kept(state, page))
            }),
            Property::always(
                "mapped pages show what the file contains",
                |_, state: &State| {
                    state.pages().all(|(_, _, page)| {
                        // Nobody sees a page through a migration entry.
                        let Pte::Maps(frame) = page.pte else {
                            return true;
                        };
                        let data = state.folio(frame).data;
                        data == page.expected || page.pending == Some(data)
                    })
                },
            ),
            Property::always("no migration entry is left", |_, state: &State| {
                state.pages().all(|(_, _, page)| match page.pte {
                    Pte::Migrating(frame) => state
                        .threads
                        .iter()
                        .any(|thread| thread.op == Op::Migrate && thread.found == Some(frame)),
                    _ => true,
                })
            }),
            Property::always(
                "nothing maps or names what has moved",
                |_, state: &State| {
                    state
                        .threads
                        .iter()
                        .filter(|thread| thread.has_moved())
                        .all(|thread| {
                            state.pages().all(|(_, _, page)| {
                            let mapped =
                                matches!(page.pte, Pte::Maps(frame) if Some(frame) == thread.found);
                            let named = !thread.is_rewriting() && page.slot.frame() == thread.found;
                            !mapped && !named
                        })
                        })
                },
            ),
            Property::always("folios are not freed while in use", |_, state: &State| {
                (0..FRAMES as Frame)
                    .all(|frame| usize::from(state.folio(frame).refs) == references(state, frame))
            }),
            Property::always("somebody can go on", |model: &Self, state: &State| {
                !model.is_deadlocked(state)
            }),
        ]
    }
}

fn aliases(state: &State) -> impl Iterator<Item = (&Page, Frame)> {
    state.pages().filter_map(|(_, _, page)| match page.slot {
        Entry::Alias(frame) => Some((page, frame)),
        _ => None,
    })
}

/// Where a folio moves to whose aliases are being rewritten.
fn moving(state: &State, src: Frame) -> Option<Frame> {
    state
        .threads
        .iter()
        .find(|thread| thread.is_rewriting() && thread.found == Some(src))
        .and_then(|thread| thread.own)
}

/// The count of a folio is the number of its aliases, and for a moment after one went one more.
///
/// When a folio moves, its count goes ahead, and aliases to it are those of where it goes. What has
/// left a home has none, so what its count says does not matter.
fn is_counted(state: &State, frame: Frame) -> bool {
    let leaves = match state.folio(frame).owner {
        Owner::Home(_) => !is_in_home(state, frame) || moving(state, frame).is_some(),
        Owner::Nobody => true,
        Owner::File(..) => false,
    };
    if leaves {
        return true;
    }
    let named = aliases(state)
        .filter(|(_, named)| *named == frame || moving(state, *named) == Some(frame))
        .count();
    let going = state
        .threads
        .iter()
        .filter(|thread| {
            matches!(thread.pc, Pc::DropDec | Pc::BreakDec | Pc::RcDec)
                && thread.found == Some(frame)
        })
        .count();
    usize::from(state.folio(frame).aliases) == named + going
}

/// Is somebody about to give the page another content, and has emptied its slot for that?
fn is_going(state: &State, file: u8, index: u8) -> bool {
    state.threads.iter().any(|thread| {
        matches!(thread.op, Op::Punch | Op::Reflink)
            && (thread.file, thread.index) == (file, index)
            && state.files[usize::from(file)].invalidating
    })
}

/// What a page is expected to contain is in a dirty folio or on the device.
fn is_kept(state: &State, page: &Page) -> bool {
    if let Entry::Folio(frame) = page.slot {
        let folio = state.folio(frame);
        if folio.dirty || folio.writeback {
            return folio.data == page.expected;
        }
    }
    let on_disk = page
        .block
        .map_or(ZEROES, |block| state.disk[usize::from(block)]);
    on_disk == page.expected || page.pending == Some(on_disk)
}

/// A folio that has just moved says that it is a home's, and is in it no more. One that another
/// moves to counts as being there already: aliases lead to it, and it has the home's reference. So
/// has one that a file takes back, until it is the file's.
fn is_in_home(state: &State, frame: Frame) -> bool {
    let Owner::Home(block) = state.folio(frame).owner else {
        return false;
    };
    state.home[usize::from(block)]
        .is_some_and(|live| live == frame || moving(state, live) == Some(frame))
        || state
            .threads
            .iter()
            .any(|thread| thread.pc == Pc::TbStore && thread.found == Some(frame))
}

/// How many references there should be.
fn references(state: &State, frame: Frame) -> usize {
    let frame = Some(frame);
    let in_files = state
        .pages()
        .map(|(_, _, page)| {
            usize::from(matches!(page.pte, Pte::Maps(mapped) if Some(mapped) == frame))
                + usize::from(matches!(page.slot, Entry::Folio(own) if Some(own) == frame))
        })
        .sum::<usize>();
    // An arriving folio has one for the file and the home together.
    let in_home = frame.is_some_and(|frame| is_in_home(state, frame));
    let held = state
        .threads
        .iter()
        .map(|thread| usize::from(thread.own == frame) + usize::from(thread.found == frame))
        .sum::<usize>();
    in_files + usize::from(in_home) + held
}
