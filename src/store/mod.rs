//! A store for many models: each tensor once, and fine-tuned ones as differences.
//!
//! A [`Store`] is a folder of objects, or they are in a bucket: its [`Location`] tells. An object is created whole, under a name that was free, and is never
//! changed:
//!
//! | Object | What it holds |
//! |---|---|
//! | `config` | The store's format. |
//! | `packs/AB/ABCD…` | Payloads of pieces, and at its end what they are. Names are random. |
//! | `index/ABCD…` | For pieces of tensors, by the BLAKE3 of their bytes: where their payloads are. |
//! | `manifests/HASH` | A version of a model: its files, and their pieces. |
//! | `kin/…` | Versions that look alike. |
//! | `sessions/ID`, `sessions/ID.end` | A writer, and what it committed: with that a version is in the store. |
//! | `models/NAME/NUMBER` | A model's version by number, or that it was removed. |
//! | `condemned/ID` | Packs that are to be deleted. |
//!
//! They are written in this order, each durable before the next begins. What an interrupted writer leaves harms
//! nobody, and whoever adds the same tensors next finds them. Every payload is decoded and compared before it is
//! committed. Any number of processes can add to a store, read it, and collect what nobody needs, at once.
//!
//! `docs/store.md` is for users, and describes the layout.

mod add;
mod bases;
mod check;
mod collection;
mod condemned;
mod error;
mod faults;
mod gc;
mod get;
mod index;
mod kin;
mod linked;
mod manifest;
mod name;
mod objects;
mod optimize;
mod pack;
mod piece;
mod plan;
mod repair;
mod sealed;
mod session;
mod sketch;
mod source;
mod stats;
#[allow(clippy::module_inception, reason = "the type of the room's name")]
mod store;
mod survey;
mod versions;

pub use add::{AddOptions, Added};
pub use check::{Check, CheckFailure};
pub use collection::{FoundModel, Share, models_in};
pub use error::StoreError;
pub use gc::{Collected, GcOptions};
pub use get::Got;
pub use manifest::{Manifest, ManifestFile, ManifestTensor, PieceId};
pub use name::VersionName;
pub use objects::Location;
pub use optimize::Optimized;
pub use plan::Planned;
pub use repair::Repair;
pub use sketch::Sketch;
pub use stats::{Family, Stats};
pub use store::Store;
pub use versions::Version;
