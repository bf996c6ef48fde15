//! The steps of writers and collectors.

use super::rules::{Leaves, Protocol};
use super::state::*;

impl Protocol {
    /// A writer's step, as `src/store/add.rs` and `src/store/session.rs` have them.
    pub fn write(&self, store: &mut Store, i: usize) {
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
    pub fn collect(&self, store: &mut Store, i: usize) -> Option<()> {
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
