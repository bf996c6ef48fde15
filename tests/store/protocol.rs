//! Every order of the steps of writers and collectors, tried by a model checker.
//!
//! A step is one object that is created, deleted or read, or one folder that is listed. What stops anywhere, as where a
//! process dies or sleeps, is among the orders: whatever is true must be true after each step. A collector may condemn
//! any pack, not only those of which little is needed, and any session may be ended at any time, as by somebody whose
//! clock is wrong.

use std::fmt::Debug;

use stateright::{Checker, HasDiscoveries, Model, Property};

/// Pieces, as bits: the stored version needs the first, and writers the second or both.
type Pieces = u8;
/// Packs, as bits, in the order in which they came.
type PackSet = u16;
/// Writers, as bits; behind them collectors, where it is about sessions.
type Writers = u8;

const STORED: Pieces = 0b01;
const NEEDS: [Pieces; 3] = [0b11, 0b10, 0b10];

/// What is left out to see that it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    Nothing,
    /// Writers read what is condemned before their session begins.
    SessionFirst,
    /// Collectors do not wait for sessions.
    Waiting,
    /// Ends of sessions are not read, only versions.
    Ends,
    /// Collectors rely on packs that others have condemned.
    OtherRecords,
    /// Collectors read what is condemned before the index.
    Order,
    /// Collectors have no session while they write.
    CollectorsSession,
    /// Writers use pieces of an index without looking whether their pack is there.
    Packs,
}

#[derive(Debug, Clone, Copy)]
struct Protocol {
    writers: usize,
    collectors: usize,
    /// Whether the run that is there has two packs.
    two_packs: bool,
    leaves: Leaves,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum End {
    #[default]
    None,
    Committed,
    Kept,
    Expired,
    /// Said, and taken away.
    Forgotten,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Record {
    pack: u8,
    sessions: Option<Writers>,
    is_there: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum WriterStep {
    #[default]
    Begin,
    ReadCondemned,
    ReadIndex,
    ListPacks,
    WritePack,
    WriteRun,
    Commit,
    Number,
    Forget,
    ForgetEnd,
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Writer {
    step: WriterStep,
    condemned: PackSet,
    index: PackSet,
    missing: Pieces,
    pack: PackSet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum CollectorStep {
    #[default]
    Condemn,
    ReadOpen,
    ListSessions,
    ReadEnds,
    ReadVersions,
    ReadIndex,
    ReadCondemned,
    ListPacks,
    Begin,
    WritePack,
    WriteRun,
    Keep,
    ForgetSession,
    ForgetEnd,
    WriteRest,
    RemoveRun,
    DeletePack,
    ForgetSessions,
    Forget,
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Collector {
    step: CollectorStep,
    record: u8,
    open: Writers,
    condemned: PackSet,
    needed: Pieces,
    runs: Vec<PackSet>,
    kept: Pieces,
    pack: PackSet,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Store {
    /// What each pack that was ever there has.
    packs: Vec<Pieces>,
    there: PackSet,
    /// The packs of each run.
    runs: Vec<PackSet>,
    sessions: Writers,
    ends: Vec<End>,
    versions: Writers,
    records: Vec<Record>,
    writers: Vec<Writer>,
    collectors: Vec<Collector>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Action {
    Write(usize),
    /// A collector's step; the first one has a pack to condemn, or a record to go on with.
    Collect(usize),
    CondemnPack(usize, u8),
    GoOnWith(usize, u8),
    Expire(usize),
    NumberForAnother(usize),
}

impl Store {
    fn open(&self) -> Writers {
        let has_ended = |i: &usize| self.ends[*i] != End::None;
        let ended = (0..self.ends.len()).filter(has_ended).fold(0, |set, i| set | 1 << i);
        self.sessions & !ended
    }

    fn committed(&self) -> Writers {
        let is_committed = |i: &usize| self.ends[*i] == End::Committed;
        (0..self.ends.len()).filter(is_committed).fold(0, |set, i| set | 1 << i)
    }

    fn condemned(&self) -> PackSet {
        self.records.iter().filter(|record| record.is_there).fold(0, |set, record| set | 1 << record.pack)
    }

    fn index(&self) -> PackSet {
        self.runs.iter().fold(0, |set, run| set | run)
    }

    /// The pieces of some packs.
    fn pieces(&self, packs: PackSet) -> Pieces {
        (0..self.packs.len()).filter(|i| packs >> i & 1 == 1).fold(0, |set, i| set | self.packs[i])
    }

    fn new_pack(&mut self, pieces: Pieces) -> PackSet {
        self.packs.push(pieces);
        let pack = 1 << (self.packs.len() - 1);
        self.there |= pack;
        pack
    }

    fn add_run(&mut self, run: PackSet) {
        self.runs.push(run);
        self.runs.sort_unstable();
    }

    /// Needed pieces of the versions of some writers, and of the one that was there before.
    fn needed_by(writers: Writers) -> Pieces {
        (0..NEEDS.len()).filter(|i| writers >> i & 1 == 1).fold(STORED, |set, i| set | NEEDS[i])
    }

    fn is_whole(&self) -> bool {
        let needed = Self::needed_by(self.versions | self.committed());
        needed & !self.pieces(self.index() & self.there) == 0
    }
}

impl Protocol {
    /// A writer's step, as `src/store/add.rs` and `src/store/session.rs` have them.
    fn write(&self, store: &mut Store, i: usize) {
        use WriterStep::*;
        let mut writer = std::mem::take(&mut store.writers[i]);
        let bit = 1 << i;
        writer.step = match writer.step {
            Begin if self.leaves == Leaves::SessionFirst && writer.index == 0 => {
                // The index stands for having read what is condemned.
                (writer.condemned, writer.index) = (store.condemned(), PackSet::MAX);
                Begin
            }
            Begin => {
                store.sessions |= bit;
                if self.leaves == Leaves::SessionFirst { ReadIndex } else { ReadCondemned }
            }
            ReadCondemned => {
                writer.condemned = store.condemned();
                ReadIndex
            }
            ReadIndex => {
                writer.index = store.index();
                ListPacks
            }
            ListPacks => {
                let there = if self.leaves == Leaves::Packs { PackSet::MAX } else { store.there };
                let usable = writer.index & there & !writer.condemned;
                writer.missing = NEEDS[i] & !store.pieces(usable);
                if writer.missing == 0 { Commit } else { WritePack }
            }
            WritePack => {
                writer.pack = store.new_pack(writer.missing);
                WriteRun
            }
            WriteRun => {
                store.add_run(writer.pack);
                Commit
            }
            Commit if store.ends[i] == End::None => {
                store.ends[i] = End::Committed;
                Number
            }
            Commit => Done,
            Number => {
                store.versions |= bit;
                Forget
            }
            Forget => {
                store.sessions &= !bit;
                ForgetEnd
            }
            ForgetEnd => {
                store.ends[i] = End::Forgotten;
                Done
            }
            Done => Done,
        };
        store.writers[i] = match writer.step {
            Commit | Number | Forget | ForgetEnd | Done => Writer { step: writer.step, ..Writer::default() },
            _ => writer,
        };
    }

    /// A collector's step, as `src/store/gc.rs` has them. `None` where it has to wait.
    fn collect(&self, store: &mut Store, i: usize) -> Option<()> {
        use CollectorStep::*;
        let mut own = std::mem::take(&mut store.collectors[i]);
        let record = usize::from(own.record);
        let session = self.writers + i;
        let bit = 1 << session;
        let pack: PackSet = 1 << store.records[record].pack;
        own.step = match own.step {
            Condemn | Done => return None,
            ReadOpen => {
                own.open = store.open();
                ListSessions
            }
            ListSessions => {
                let listed = *store.records[record].sessions.get_or_insert(own.open);
                let waits = listed & own.open != 0 && self.leaves != Leaves::Waiting;
                if waits { ReadOpen } else { ReadEnds }
            }
            ReadEnds => {
                if self.leaves == Leaves::Order {
                    own.condemned = store.condemned();
                }
                let committed = if self.leaves == Leaves::Ends { 0 } else { store.committed() };
                own.needed = Store::needed_by(committed);
                ReadVersions
            }
            ReadVersions => {
                own.needed |= Store::needed_by(store.versions);
                ReadIndex
            }
            ReadIndex => {
                own.runs = store.runs.clone();
                ReadCondemned
            }
            ReadCondemned => {
                own.condemned = match self.leaves {
                    Leaves::Order => own.condemned,
                    Leaves::OtherRecords => pack,
                    _ => store.condemned(),
                };
                ListPacks
            }
            ListPacks => {
                let places = own.runs.iter().fold(0, |set, run| set | run) & store.there;
                let elsewhere = store.pieces(places & !own.condemned);
                own.kept = own.needed & !elsewhere & store.pieces(places & pack);
                own.runs.retain(|run| run & pack != 0);
                if own.kept == 0 { WriteRest } else { Begin }
            }
            Begin => {
                if self.leaves != Leaves::CollectorsSession {
                    store.sessions |= bit;
                }
                WritePack
            }
            // What is to be copied is gone: an error.
            WritePack if store.there & pack == 0 => Done,
            WritePack => {
                own.pack = store.new_pack(own.kept);
                WriteRun
            }
            WriteRun => {
                store.add_run(own.pack);
                if self.leaves == Leaves::CollectorsSession { WriteRest } else { Keep }
            }
            Keep if store.ends[session] == End::None => {
                store.ends[session] = End::Kept;
                ForgetSession
            }
            Keep => Done,
            ForgetSession => {
                store.sessions &= !bit;
                ForgetEnd
            }
            ForgetEnd => {
                store.ends[session] = End::Forgotten;
                WriteRest
            }
            WriteRest => match own.runs.last() {
                None => DeletePack,
                Some(run) => {
                    if run & !pack != 0 {
                        store.add_run(run & !pack);
                    }
                    RemoveRun
                }
            },
            RemoveRun => {
                let run = own.runs.pop();
                if let Some(at) = store.runs.iter().position(|other| Some(*other) == run) {
                    store.runs.remove(at);
                }
                WriteRest
            }
            DeletePack => {
                store.there &= !pack;
                ForgetSessions
            }
            ForgetSessions => {
                store.records[record].sessions = None;
                Forget
            }
            Forget => {
                store.records[record].is_there = false;
                Done
            }
        };
        // What is not needed any more would only make more states.
        store.collectors[i] = match own.step {
            ReadOpen | DeletePack | ForgetSessions | Forget => {
                Collector { step: own.step, record: own.record, ..Collector::default() }
            }
            Done => Collector { step: Done, ..Collector::default() },
            _ => own,
        };
        Some(())
    }
}

impl Model for Protocol {
    type State = Store;
    type Action = Action;

    fn init_states(&self) -> Vec<Store> {
        let mut store = Store {
            ends: vec![End::None; self.writers + self.collectors],
            writers: vec![Writer::default(); self.writers],
            collectors: vec![Collector::default(); self.collectors],
            ..Store::default()
        };
        // The second piece is not needed yet, and is there twice if that makes a difference.
        let pack = store.new_pack(0b11);
        let other = if self.two_packs { store.new_pack(0b10) } else { 0 };
        store.add_run(pack | other);
        vec![store]
    }

    fn actions(&self, store: &Store, actions: &mut Vec<Action>) {
        for (i, writer) in store.writers.iter().enumerate() {
            if writer.step != WriterStep::Done {
                actions.push(Action::Write(i));
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
            Property::always("what versions need is there", |_, store: &Store| store.is_whole()),
            // Otherwise nothing would have been tried.
            Property::sometimes("all that can happen happens", |protocol: &Protocol, store: &Store| {
                store.versions.count_ones() as usize == protocol.writers
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

#[test]
fn nothing_is_lost_in_any_order() {
    let mut sizes = vec![(2, 1, true), (1, 2, false)];
    if std::env::var_os("BANTAM_ENDURANCE").is_some() {
        // Two of each have more states than 10 GB hold.
        sizes.extend([(3, 1, true), (1, 2, true)]);
    }
    for (writers, collectors, two_packs) in sizes {
        let checker = checked(Protocol { writers, collectors, two_packs, leaves: Leaves::Nothing });
        let states = checker.unique_state_count();
        println!("{writers} writers, {collectors} collectors, {}: {states} states", 1 + u8::from(two_packs));
        checker.assert_properties();
    }
}

/// Each rule is needed: without it there is an order in which something is lost.
#[test]
fn without_any_of_the_rules_something_is_lost() {
    for (leaves, collectors, two_packs) in [
        (Leaves::SessionFirst, 1, false),
        (Leaves::Waiting, 1, false),
        (Leaves::Ends, 1, false),
        (Leaves::OtherRecords, 2, false),
        (Leaves::Order, 2, false),
        (Leaves::CollectorsSession, 2, false),
        (Leaves::Packs, 2, true),
    ] {
        let checker = checked(Protocol { writers: 1, collectors, two_packs, leaves });
        println!("without {leaves:?}: {} states", checker.unique_state_count());
        assert!(checker.discovery("what versions need is there").is_some(), "{leaves:?}");
    }
}
