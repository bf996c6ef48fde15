//! A store for many models: each tensor once, and fine-tuned ones as differences.
//!
//! A [`Store`] is a folder of objects. An object is created whole, under a name that was free, and is never
//! changed:
//!
//! | Object | What it holds |
//! |---|---|
//! | `config` | The store's format. |
//! | `packs/AB/ABCD…` | Payloads of pieces, and at its end what they are. Names are random. |
//! | `index/ABCD…` | For pieces of tensors, by the BLAKE3 of their bytes: where their payloads are. |
//! | `manifests/HASH` | A version of a model: its files, and their pieces. |
//! | `families/FINGERPRINT/HASH` | A version whose tensors have these names, types and columns. |
//! | `models/NAME/NUMBER` | A model's version by number, or that it was removed. |
//!
//! They are written in this order, each durable before the next begins, and a version is there once its last
//! object is. What an interrupted writer leaves harms nobody, and whoever adds the same tensors next finds
//! them. Every payload is decoded and compared before it is committed. Any number of processes can add to a
//! store and read it at once.
//!
//! `docs/store.md` is for users, and describes the layout.

mod add;
mod check;
mod error;
mod family;
mod folder;
mod get;
mod index;
mod manifest;
mod name;
mod pack;
mod piece;
mod repair;
mod sealed;
mod stats;
#[allow(clippy::module_inception, reason = "the type of the room's name")]
mod store;

pub use add::{AddOptions, Added};
pub use check::{Check, CheckFailure};
pub use error::StoreError;
pub use get::Got;
pub use manifest::{Manifest, ManifestFile, ManifestTensor, PieceId};
pub use name::VersionName;
pub use repair::Repair;
pub use stats::{Family, Stats};
pub use store::{Store, Version};
