//! Every order of the steps of writers and collectors, tried by a model checker.
//!
//! A step is one object that is created, deleted or read, or one folder that is listed. What stops anywhere, as where a
//! process dies or sleeps, is among the orders: whatever is true must be true after each step. A collector may condemn
//! any pack, not only those of which little is needed, and any session may be ended at any time, as by somebody whose
//! clock is wrong.
//!
//! | File | What it has |
//! |---|---|
//! | `pieces` | Pieces, and payloads of them. |
//! | `state` | What a store has, and how far everybody is. |
//! | `rules` | What may be used, and what is kept. |
//! | `steps` | The steps of writers and collectors. |

mod pieces;
mod rules;
mod state;
mod steps;

use stateright::{Checker, HasDiscoveries, Model, Property};

use self::pieces::*;
use self::rules::{Leaves, Protocol};
use self::state::*;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    Write(usize),
    /// A writer's step in which it writes one of the things that it can.
    WritePack(usize, Copies),
    /// A collector's step; the first one has a pack to condemn, or a record to go on with.
    Collect(usize),
    CondemnPack(usize, u8),
    GoOnWith(usize, u8),
    Expire(usize),
    NumberForAnother(usize),
}

impl Model for Protocol {
    type State = Store;
    type Action = Action;

    fn init_states(&self) -> Vec<Store> {
        let mut store = Store {
            ends: vec![End::None; self.writers.len() + self.collectors],
            writers: vec![Writer::default(); self.writers.len()],
            collectors: vec![Collector::default(); self.collectors],
            ..Store::default()
        };
        let run = self.packs.iter().fold(0, |run, &copies| run | store.new_pack(copies));
        store.add_run(run);
        vec![store]
    }

    fn actions(&self, store: &Store, actions: &mut Vec<Action>) {
        for (i, writer) in store.writers.iter().enumerate() {
            match writer.step {
                WriterStep::Done => {}
                WriterStep::WritePack => {
                    actions.extend(writer.choices.iter().map(|&copies| Action::WritePack(i, copies)));
                }
                _ => actions.push(Action::Write(i)),
            }
            if store.ends[i] == End::Committed && store.versions >> i & 1 == 0 {
                actions.push(Action::NumberForAnother(i));
            }
        }
        actions.extend((0..store.ends.len()).filter(|i| store.open() >> i & 1 == 1).map(Action::Expire));
        for (i, collector) in store.collectors.iter().enumerate() {
            match collector.step {
                CollectorStep::Done => {}
                CollectorStep::Condemn => {
                    let packs = (0..store.packs.len()).filter(|pack| store.there >> pack & 1 == 1);
                    actions.extend(packs.map(|pack| Action::CondemnPack(i, pack as u8)));
                    let records = store.records.iter().enumerate().filter(|(_, record)| record.is_there);
                    actions.extend(records.map(|(record, _)| Action::GoOnWith(i, record as u8)));
                }
                _ => actions.push(Action::Collect(i)),
            }
        }
    }

    fn next_state(&self, store: &Store, action: Action) -> Option<Store> {
        let mut next = store.clone();
        match action {
            Action::Write(i) => self.write(&mut next, i),
            Action::WritePack(i, copies) => {
                let pack = next.new_pack(copies);
                next.writers[i] = Writer { step: WriterStep::WriteRun, pack, ..Writer::default() };
            }
            Action::Collect(i) => self.collect(&mut next, i)?,
            Action::CondemnPack(i, pack) => {
                next.records.push(Record { pack, sessions: None, is_there: true });
                let record = (next.records.len() - 1) as u8;
                next.collectors[i] =
                    Collector { step: CollectorStep::ReadOpen, record, ..Collector::default() };
            }
            Action::GoOnWith(i, record) => {
                next.collectors[i] =
                    Collector { step: CollectorStep::ReadOpen, record, ..Collector::default() };
            }
            Action::Expire(i) => next.ends[i] = End::Expired,
            Action::NumberForAnother(i) => next.versions |= 1 << i,
        }
        (next != *store).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what versions need is there", Protocol::is_whole),
            // Otherwise nothing would have been tried.
            Property::sometimes("all that can happen happens", |protocol: &Protocol, store: &Store| {
                store.writers.iter().all(|writer| writer.step == WriterStep::Done)
                    && protocol
                        .writers
                        .iter()
                        .enumerate()
                        .all(|(i, &needs)| needs == 0 || store.versions >> i & 1 == 1)
                    && store.collectors.iter().all(|collector| collector.step == CollectorStep::Done)
                    && store.there & 1 == 0
                    && store.condemned() == 0
            }),
        ]
    }
}

fn checked(protocol: Protocol) -> impl Checker<Protocol> {
    // Without a rule, the first order that loses something is enough.
    let all =
        if protocol.leaves == Leaves::Nothing { HasDiscoveries::All } else { HasDiscoveries::AnyFailures };
    protocol.checker().threads(2).finish_when(all).spawn_bfs().join()
}

/// A store with a version of one piece; the pack has the other one, too, and where there are two packs, so has the
/// second.
const TOGETHER: Protocol =
    Protocol { writers: &[], collectors: 1, stored: FIRST, packs: &[BOTH], leaves: Leaves::Nothing };
const TWO_PACKS: &[Copies] = &[BOTH, SECOND];

/// A store with a difference and its base.
const DIFFERENCE: Protocol = Protocol { packs: &[SECOND, differences(FIRST)], ..TOGETHER };

/// A store of which nothing is needed, with a piece in two ways.
const UNUSED: Protocol = Protocol { stored: 0, packs: &[FIRST, SECOND, differences(FIRST)], ..TOGETHER };

/// A store with a difference, whose base can be stored as a difference, too.
const CHAIN: Protocol = Protocol {
    writers: &[0],
    stored: FIRST | THIRD,
    packs: &[FIRST, SECOND | differences(THIRD)],
    ..TOGETHER
};

#[test]
fn nothing_is_lost_in_any_order() {
    let planned = Protocol { stored: BOTH, ..TOGETHER };
    let mut all = vec![
        Protocol { writers: &[BOTH, SECOND], packs: TWO_PACKS, ..TOGETHER },
        Protocol { writers: &[BOTH], collectors: 2, ..TOGETHER },
        // What was stored as a difference.
        Protocol { writers: &[FIRST], stored: 0, ..DIFFERENCE },
        Protocol { writers: &[FIRST], ..UNUSED },
        Protocol { writers: &[SECOND], ..DIFFERENCE },
        Protocol { writers: &[], collectors: 2, ..DIFFERENCE },
        // Planned anew, also by two at once.
        Protocol { writers: &[0], collectors: 1, ..planned },
        Protocol { writers: &[0], collectors: 1, stored: BOTH, ..DIFFERENCE },
        Protocol { writers: &[0, 0], collectors: 1, ..planned },
        Protocol { writers: &[0, FIRST], collectors: 1, ..DIFFERENCE },
        CHAIN,
    ];
    if std::env::var_os("BANTAM_ENDURANCE").is_some() {
        // Two of each have more states than 10 GB hold.
        all.push(Protocol { writers: &[BOTH, SECOND, SECOND], packs: TWO_PACKS, ..TOGETHER });
        all.push(Protocol { writers: &[BOTH], collectors: 2, packs: TWO_PACKS, ..TOGETHER });
        all.push(Protocol { writers: &[0], collectors: 2, ..planned });
        all.push(Protocol { writers: &[FIRST], collectors: 2, stored: 0, ..DIFFERENCE });
        all.push(Protocol { writers: &[FIRST], collectors: 2, ..UNUSED });
        all.push(Protocol { collectors: 2, ..CHAIN });
    }
    for protocol in all {
        let checker = checked(protocol);
        println!("{protocol:?}: {} states", checker.unique_state_count());
        checker.assert_properties();
    }
}

/// Each rule is needed: without it there is an order in which something is lost.
#[test]
fn without_any_of_the_rules_something_is_lost() {
    let one = Protocol { writers: &[BOTH], ..TOGETHER };
    let two = Protocol { collectors: 2, ..one };
    for (leaves, protocol) in [
        (Leaves::SessionFirst, one),
        (Leaves::Waiting, one),
        (Leaves::Ends, one),
        (Leaves::OtherRecords, two),
        (Leaves::Order, two),
        (Leaves::CollectorsSession, two),
        (Leaves::Packs, Protocol { packs: TWO_PACKS, ..two }),
        (Leaves::WritersBases, Protocol { writers: &[FIRST], stored: 0, ..DIFFERENCE }),
        (Leaves::Bases, DIFFERENCE),
        (Leaves::GonePacks, Protocol { collectors: 2, ..DIFFERENCE }),
        (Leaves::AloneBases, CHAIN),
        (Leaves::CondemnedBases, Protocol { writers: &[FIRST], collectors: 2, ..UNUSED }),
    ] {
        let checker = checked(Protocol { leaves, ..protocol });
        println!("without {leaves:?}: {} states", checker.unique_state_count());
        assert!(checker.discovery("what versions need is there").is_some(), "{leaves:?}");
    }
}
