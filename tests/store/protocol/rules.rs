//! What writers and collectors may use, and what they keep.

use super::pieces::*;
use super::state::{Store, Writers};

/// What is left out to see that it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
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
pub struct Protocol {
    /// The pieces that each writer needs. One that needs none plans anew: it stores a piece in another way.
    pub writers: &'static [Pieces],
    pub collectors: usize,
    /// The pieces that the version needs that is there.
    pub stored: Pieces,
    /// The packs of the run that is there.
    pub packs: &'static [Copies],
    pub leaves: Leaves,
}

impl Protocol {
    /// The pieces that the versions of some writers need, and the one that was there before.
    pub fn needed_by(&self, writers: Writers) -> Pieces {
        let needs = |i: &usize| self.writers[*i];
        (0..self.writers.len()).filter(|i| writers >> i & 1 == 1).fold(self.stored, |set, i| set | needs(&i))
    }

    pub fn is_whole(&self, store: &Store) -> bool {
        let needed = self.needed_by(store.versions | store.committed());
        needed & !decoded(store.copies(store.index() & store.there)) == 0
    }

    /// What a writer can write, if these payloads can be used.
    pub fn choices(&self, needs: Pieces, usable: Copies) -> Vec<Copies> {
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
    pub fn kept(&self, needed: Pieces, indexed: Copies, [all, elsewhere, here]: [Copies; 3]) -> Copies {
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
}
