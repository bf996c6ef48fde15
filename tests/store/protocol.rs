//! Every order of the steps of writers and collectors, tried by a model checker.
//!
//! A step is one object that is created, deleted or read, or one folder that is listed. What stops anywhere, as where a
//! process dies or sleeps, is among the orders: whatever is true must be true after each step. A collector may condemn
//! any pack, not only those of which little is needed, and any session may be ended at any time, as by somebody whose
//! clock is wrong.

use std::fmt::Debug;

use stateright::{Checker, HasDiscoveries, Model, Property};

/// Three pieces, as bits.
type Pieces = u8;
const FIRST: Pieces = 0b001;
const SECOND: Pieces = 0b010;
const THIRD: Pieces = 0b100;
const BOTH: Pieces = FIRST | SECOND;

/// Payloads of pieces, as bits: of each piece the one that is stored alone, then differences.
type Copies = u8;
const ALONE: Copies = 0b111;

/// Which piece is stored as the difference to which other one.
const DIFFERENCES: [(Pieces, Pieces); 3] = [(FIRST, SECOND), (SECOND, FIRST), (THIRD, FIRST)];

/// The differences of `pieces`.
const fn differences(pieces: Pieces) -> Copies {
    pieces << 3
}

/// The bases of the differences that are among the payloads of `pieces`.
fn bases_of(pieces: Pieces, copies: Copies) -> Pieces {
    let is_there = |piece: Pieces| pieces & piece != 0 && copies & differences(piece) != 0;
    DIFFERENCES.iter().filter(|(piece, _)| is_there(*piece)).fold(0, |set, (_, base)| set | base)
}

/// The pieces that payloads decode to, where all that is needed for it is among them.
fn decoded(copies: Copies) -> Pieces {
    let has_base = |piece: Pieces| bases_of(piece, copies) & copies & ALONE != 0;
    DIFFERENCES
        .iter()
        .filter(|(piece, _)| has_base(*piece))
        .fold(copies & ALONE, |set, (piece, _)| set | piece)
}

/// Packs, as bits, in the order in which they came.
type PackSet = u16;
/// Writers, as bits; behind them collectors, where it is about sessions.
type Writers = u8;

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
    /// Writers use differences without looking whether their base is stored alone.
    WritersBases,
    /// Collectors do not keep the bases of differences.
    Bases,
    /// Collectors do not keep the bases of differences whose pack is gone when they look.
    GonePacks,
    /// Collectors keep bases as differences.
    AloneBases,
    /// Collectors rely on differences whose base is condemned.
    CondemnedBases,
}

#[derive(Debug, Clone, Copy)]
struct Protocol {
    /// The pieces that each writer needs. One that needs none plans anew: it stores a piece in another way.
    writers: &'static [Pieces],
    collectors: usize,
    /// The pieces that the version needs that is there.
    stored: Pieces,
    /// The packs of the run that is there.
    packs: &'static [Copies],
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
    /// What can be written, one or the other.
    choices: Vec<Copies>,
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
    kept: Copies,
    pack: PackSet,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Store {
    /// What each pack that was ever there has.
    packs: Vec<Copies>,
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
    /// A writer's step in which it writes one of the things that it can.
    WritePack(usize, Copies),
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

    /// The payloads of some packs.
    fn copies(&self, packs: PackSet) -> Copies {
        (0..self.packs.len()).filter(|i| packs >> i & 1 == 1).fold(0, |set, i| set | self.packs[i])
    }

    fn new_pack(&mut self, copies: Copies) -> PackSet {
        self.packs.push(copies);
        let pack = 1 << (self.packs.len() - 1);
        self.there |= pack;
        pack
    }

    fn add_run(&mut self, run: PackSet) {
        self.runs.push(run);
        self.runs.sort_unstable();
    }
}

impl Protocol {
    /// The pieces that the versions of some writers need, and the one that was there before.
    fn needed_by(&self, writers: Writers) -> Pieces {
        let needs = |i: &usize| self.writers[*i];
        (0..self.writers.len()).filter(|i| writers >> i & 1 == 1).fold(self.stored, |set, i| set | needs(&i))
    }

    fn is_whole(&self, store: &Store) -> bool {
        let needed = self.needed_by(store.versions | store.committed());
        needed & !decoded(store.copies(store.index() & store.there)) == 0
    }

    /// What a writer can write, if these payloads can be used.
    fn choices(&self, needs: Pieces, usable: Copies) -> Vec<Copies> {
        let has = match self.leaves {
            Leaves::WritersBases => (usable | usable >> 3) & ALONE,
            _ => decoded(usable),
        };
        let (missing, alone_there) = (needs & !has, usable & ALONE);
        match needs {
            // Planning anew: a piece as a difference or alone, or both at once.
            0 => {
                let mut choices = Vec::new();
                for (piece, other) in [(FIRST, SECOND), (SECOND, FIRST)] {
                    if has & BOTH == BOTH {
                        let base = other & !alone_there;
                        choices.push(differences(piece) | base);
                    }
                    choices.extend((has & piece & !alone_there != 0).then_some(piece));
                }
                choices
            }
            _ if missing == 0 => Vec::new(),
            FIRST | SECOND => {
                let difference = differences(missing);
                let has_base = bases_of(missing, difference) & alone_there != 0;
                [missing].into_iter().chain(has_base.then_some(difference)).collect()
            }
            _ => vec![missing],
        }
    }

    /// What of a pack a collector keeps: of what is needed, that which is neither in other packs nor will be kept by
    /// who deletes those.
    fn kept(&self, needed: Pieces, indexed: Copies, [all, elsewhere, here]: [Copies; 3]) -> Copies {
        let (mut live, mut bases) = (needed, 0);
        if self.leaves != Leaves::Bases {
            for _ in 0..3 {
                bases |= bases_of(live, if self.leaves == Leaves::GonePacks { all } else { indexed });
                live |= bases;
            }
        }
        let mut kept = 0;
        for piece in [FIRST, SECOND, THIRD] {
            let has_base = match self.leaves {
                Leaves::CondemnedBases => true,
                _ => bases_of(piece, elsewhere) & elsewhere & ALONE != 0,
            };
            let must_be_alone = bases & piece & all != 0 && self.leaves != Leaves::AloneBases;
            let is_difference = elsewhere & differences(piece) != 0 && has_base && !must_be_alone;
            if live & piece == 0 || elsewhere & piece != 0 || is_difference {
                continue;
            }
            kept |= match here & piece {
                0 => here & differences(piece),
                alone => alone,
            };
        }
        kept
    }

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
                writer.choices = self.choices(self.writers[i], store.copies(usable));
                if writer.choices.is_empty() { Commit } else { WritePack }
            }
            // What is written is chosen by the action.
            WritePack => WritePack,
            WriteRun => {
                store.add_run(writer.pack);
                Commit
            }
            Commit if store.ends[i] == End::None => {
                let plans = self.writers[i] == 0;
                store.ends[i] = if plans { End::Kept } else { End::Committed };
                if plans { Forget } else { Number }
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
        let session = self.writers.len() + i;
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
                own.needed = self.needed_by(committed);
                ReadVersions
            }
            ReadVersions => {
                own.needed |= self.needed_by(store.versions);
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
                let all_runs = own.runs.iter().fold(0, |set, run| set | run);
                let sets = [places, places & !own.condemned, places & pack];
                own.kept =
                    self.kept(own.needed, store.copies(all_runs), sets.map(|packs| store.copies(packs)));
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
