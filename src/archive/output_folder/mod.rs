//! A folder of outputs that appears under its name when it is complete. An interrupted run can be continued.
//!
//! The output `m-bantam` is filled as `.m-bantam.bantam-partial` beside it if it does not exist. If it exists
//! (empty, a mounted disk, the current folder, or replaced by `--force`), it is filled as `.bantam-partial`
//! inside it. Either place is on the output's disk. Everything that could prevent the last step is checked at
//! the beginning.
//!
//! # States
//!
//! The complete state is on the disk, so a process can end at any point, and the next one continues from
//! there. *Beside* and *within* are the two places of the unfinished folder. It has a lock (`.bantam-lock`),
//! a record (`.bantam-record.json`), and files, which get their final names once they are complete.
//!
//! | state | on the disk | next | a process that writes the output | a process that reads it |
//! |---|---|---|---|---|
//! | absent | no output, nothing beside | claimed | claims beside | finds nothing |
//! | present | a folder, nothing within | claimed | claims within, if it is empty or may be replaced | reads it |
//! | claimed | an unfinished folder, with a lock or not; no record | filling | takes the lock, removes all else, writes the record | as before the claim |
//! | filling | record says `Filling`; some files | whole | takes the lock, keeps the shards that the record vouches for, removes all else, continues | as before the claim |
//! | whole | as filling; all files | published (beside), removing (within) | as filling; copies the copied files again | as before the claim |
//! | stranded | filling or whole beside, and the output was created since | filling | moves it within, or starts over if the system refuses that | reads the output |
//! | removing | within; record says `Removing`; all new files, some old ones | moving | takes the lock, removes the rest of the old model | refuses |
//! | moving | within; record says `Moving`; no old files, new ones in both places | published | takes the lock, moves the rest | refuses |
//! | published | the output is complete; record or lock may be left in it, or an unfinished folder without a record | present | as present; removes what was left when it replaces the output | reads it, ignores what was left |
//!
//! The code does not distinguish *claimed*, *filling* and *whole* (`State::Begun`), because all of them are
//! continued in the same way. Nor does it distinguish *present* and *published* (`State::Present`).
//!
//! Up to *whole*, nothing has changed outside the unfinished folder. From *removing* on, the output is
//! neither the old model nor the new one: every command refuses to read it ([`refuse_unfinished`]), and the
//! next run that writes it first completes the replacement, without any source. Other programs meanwhile find
//! no weights, and never a mixture of old and new: weights are removed first and moved in first, so that
//! configurations and shard indexes never stand beside another model's weights.
//!
//! The old model is removed: its weights in either form, its shard indexes, and the files that describe it.
//! Other files stay. If there are weights of no known set, their owner is unknown, and nothing is replaced.
//!
//! # Two processes
//!
//! Only the lock's holder changes the contents of an unfinished folder, moves it, or puts its files in place.
//! A process that gets the lock reads the state again: the folder may have been published, or its owner may
//! have ended in *removing* or *moving* since. The lock file is removed last.
//!
//! # Shards
//!
//! The record has a [`Stamp`] of each shard's source. A shard with its final name is not made again if its
//! source has the same stamp and the operation is the same. The record is replaced by a rename, after
//! everything that it does not vouch for was removed. So it never vouches for a wrong file, and never omits a
//! right one.

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
#[cfg(feature = "runtime")]
pub(crate) use replace::finish_interrupted;
pub(super) use stamp::Stamp;
pub(super) use state::refuse_unfinished;
