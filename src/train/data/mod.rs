//! Training data: files of records, the tokens of each record, and the sequences that are made of them.
//!
//! [`DataFiles`] finds the files, [`Records`] reads single records of a file that may be larger than memory,
//! [`RecordEncoder`] makes an [`Example`] of a record, and [`Sequences`] gives out the sequences in an order that a
//! seed decides. A [`Position`] says where to go on, token by token.

mod encoder;
mod error;
mod files;
mod order;
mod position;
mod record;
mod records;
mod sequences;

pub use encoder::{Example, RecordEncoder};
pub use error::DataError;
pub use files::DataFiles;
pub use position::Position;
pub use record::Record;
pub use records::Records;
pub use sequences::{Sequence, SequenceCounts, SequenceOptions, Sequences};
