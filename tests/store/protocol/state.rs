//! What a store has, and how far writers and collectors are.

use super::pieces::{Copies, Pieces};

/// Packs, as bits, in the order in which they came.
pub type PackSet = u16;
/// Writers, as bits; behind them collectors, where it is about sessions.
pub type Writers = u8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum End {
    #[default]
    None,
    Committed,
    Kept,
    Expired,
    /// Said, and taken away.
    Forgotten,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Record {
    pub pack: u8,
    pub sessions: Option<Writers>,
    pub is_there: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WriterStep {
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
pub struct Writer {
    pub step: WriterStep,
    pub condemned: PackSet,
    pub index: PackSet,
    /// What can be written, one or the other.
    pub choices: Vec<Copies>,
    pub pack: PackSet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CollectorStep {
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
pub struct Collector {
    pub step: CollectorStep,
    pub record: u8,
    pub open: Writers,
    pub condemned: PackSet,
    pub needed: Pieces,
    pub runs: Vec<PackSet>,
    pub kept: Copies,
    pub pack: PackSet,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Store {
    /// What each pack that was ever there has.
    pub packs: Vec<Copies>,
    pub there: PackSet,
    /// The packs of each run.
    pub runs: Vec<PackSet>,
    pub sessions: Writers,
    pub ends: Vec<End>,
    pub versions: Writers,
    pub records: Vec<Record>,
    pub writers: Vec<Writer>,
    pub collectors: Vec<Collector>,
}

impl Store {
    pub fn open(&self) -> Writers {
        let has_ended = |i: &usize| self.ends[*i] != End::None;
        let ended = (0..self.ends.len()).filter(has_ended).fold(0, |set, i| set | 1 << i);
        self.sessions & !ended
    }

    pub fn committed(&self) -> Writers {
        let is_committed = |i: &usize| self.ends[*i] == End::Committed;
        (0..self.ends.len()).filter(is_committed).fold(0, |set, i| set | 1 << i)
    }

    pub fn condemned(&self) -> PackSet {
        self.records.iter().filter(|record| record.is_there).fold(0, |set, record| set | 1 << record.pack)
    }

    pub fn index(&self) -> PackSet {
        self.runs.iter().fold(0, |set, run| set | run)
    }

    /// The payloads of some packs.
    pub fn copies(&self, packs: PackSet) -> Copies {
        (0..self.packs.len()).filter(|i| packs >> i & 1 == 1).fold(0, |set, i| set | self.packs[i])
    }

    pub fn new_pack(&mut self, copies: Copies) -> PackSet {
        self.packs.push(copies);
        let pack = 1 << (self.packs.len() - 1);
        self.there |= pack;
        pack
    }

    pub fn add_run(&mut self, run: PackSet) {
        self.runs.push(run);
        self.runs.sort_unstable();
    }
}
