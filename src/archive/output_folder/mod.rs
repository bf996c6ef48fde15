//! A folder of outputs that appears under its name when it is complete, and is gone on with after an
//! interruption.
//!
//! The output `m-bantam` is filled as `.m-bantam.bantam-partial` beside it while it is not there, and as
//! `.bantam-partial` in it if it is (empty, a mounted disk, the current folder, or replaced by `--force`): either is
//! sure to be on the same disk. Whatever could forbid the end is looked at in the beginning.
//!
//! # States
//!
//! All of a state is on the disk, so a process can end anywhere; the next one reads where it stopped. *Beside* and
//! *within* are the two places of the unfinished folder, which has a lock (`.bantam-lock`), a record
//! (`.bantam-record.json`), and files under their final names once they are complete.
//!
//! | state | on the disk | next | a process that writes the output | a process that reads it |
//! |---|---|---|---|---|
//! | absent | no output, nothing beside | claimed | claims beside | finds nothing |
//! | present | a folder, nothing within | claimed | claims within, if it is empty or may be replaced | reads it |
//! | claimed | an unfinished folder, with a lock or not; no record | filling | takes the lock, clears the rest, writes the record | as before the claim |
//! | filling | record says `Filling`; some files | whole | takes the lock, keeps the shards that the record vouches for, clears the rest, goes on | as before the claim |
//! | whole | as filling; all files | published (beside), removing (within) | as filling; only what is copied is copied again | as before the claim |
//! | stranded | filling or whole beside, and the output has come to be | filling | moves it within, or begins anew where the system refuses that | reads the output |
//! | removing | within; record says `Removing`; all new files, some old ones | moving | takes the lock, removes the rest of the old model | refuses |
//! | moving | within; record says `Moving`; no old files, new ones here and there | published | takes the lock, moves the rest | refuses |
//! | published | the output is complete; record or lock may be left in it, or an unfinished folder without a record | present | as present; removes what was left when it replaces the output | reads it, ignores what was left |
//!
//! *Claimed*, *filling* and *whole* are one to the code (`State::Begun`): all of them are gone on with in the same
//! way. So are *present* and *published* (`State::Present`).
//!
//! Up to *whole* nothing that can be seen from outside has changed. From *removing* on the output is neither the old
//! one nor the new one: every command refuses to read it ([`refuse_unfinished`]), and the next run that writes it
//! first brings the rest about, for which it needs no source. Other programs find no weights in these moments, and
//! never some old and some new: weights go first and come first, so that configurations and lists of shards do not
//! stand beside weights of another model.
//!
//! What goes is the old model: its weights in either form, its lists of shards and the files that describe it. Other
//! files stay. Where there are weights that are of no known set, nobody knows whose they are, and nothing is
//! replaced.
//!
//! # Two processes
//!
//! Only who holds the lock changes what is in an unfinished folder, moves it, or puts it in its place. Whoever gets
//! the lock reads the state again: the folder may have been published, or its owner may have ended in *removing* or
//! *moving* since. The lock's file is removed last.
//!
//! # Shards
//!
//! The record has a [`Stamp`] of each shard's source. A shard that has its final name, from a source with the same
//! stamp and by the same work, is not made again. The record is replaced by a rename, after whatever it does not
//! vouch for was cleared away, so that at no moment it vouches for a wrong file or forgets a right one.

mod claim;
mod clear;
mod contents;
mod filling;
mod lock;
mod places;
mod record;
mod replace;
mod stamp;
mod state;

pub(super) use contents::Contents;
pub(super) use filling::{OutputFolder, Plan};
pub(super) use places::is_own;
pub(super) use stamp::Stamp;
pub(super) use state::refuse_unfinished;
