//! The description of a tensor at the start of its payload.
//!
//! ```text
//! fixed part, tables, checksums | padding | coded plane | raw plane 0 | raw plane 1 …   tiled, scaled or not
//! fixed part, checksums         | padding | data                                        raw
//! fixed part, one element       | padding                                               constant
//! ```
//! Every section starts on a multiple of 256 bytes from the start of the payload and is padded
//! with zeros to the next. All numbers are little-endian. `docs/format.md` has the byte offsets.

use std::ops::Range;

use super::checksum::checksum;
use super::error::CodecError;
pub use super::fixed_part::{FIXED_LEN, VERSION};
use super::groups::{GROUP_ELEMENTS, raw_groups, raw_range};
pub use super::row_tables::{RowMask, Shifts};
pub use super::scaled::Scaled;
pub use super::tiled::{Tables, TileEntry, Tiled};
use crate::tensor::Dtype;

/// Bytes of a raw or constant payload that are handled at a time.
const BAND: usize = 1 << 20;

/// How the elements are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Stored uncompressed.
    Raw,
    /// All elements are equal; these are the bytes of one.
    Constant(Vec<u8>),
    /// In tiles.
    Tiled(Box<Tiled>),
}

/// A payload's head, checked for consistency and against the payload's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Element type of the tensor.
    pub dtype: Dtype,
    /// Bytes of the original tensor.
    pub original_len: usize,
    /// Bytes of the head with its padding, so the offset of the first section.
    pub len: usize,
    /// How it is stored.
    pub kind: Kind,
    pub(crate) checksums: Vec<u64>,
}

/// A run of a payload's bytes that has a checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRun {
    /// Bytes of the payload.
    pub bytes: Range<usize>,
    section: usize,
    group: usize,
}

impl Head {
    /// Number of checksum groups: runs of row blocks, or of 2²⁰ bytes of a raw payload.
    pub fn groups(&self) -> usize {
        match &self.kind {
            Kind::Raw => raw_groups(self.original_len),
            Kind::Constant(_) => 0,
            Kind::Tiled(tiled) => tiled.groups(),
        }
    }

    /// Bytes of the original tensor that are best decoded together: a full row block, or a MiB.
    pub fn band_bytes(&self) -> usize {
        match &self.kind {
            Kind::Tiled(tiled) => tiled.row_block_bytes(),
            Kind::Raw => BAND,
            Kind::Constant(element) => BAND.next_multiple_of(element.len()),
        }
    }

    /// The groups that contain the bytes `range` of the original tensor.
    pub fn groups_of(&self, range: Range<usize>) -> Range<usize> {
        let group_bytes = match &self.kind {
            Kind::Raw => GROUP_ELEMENTS,
            Kind::Constant(_) => return 0..0,
            Kind::Tiled(tiled) => tiled.group_row_blocks.saturating_mul(tiled.row_block_bytes()),
        };
        range.start / group_bytes..range.end.div_ceil(group_bytes).min(self.groups())
    }

    /// Compares the checksums of all sections of `groups`, except planes from index `planes` on.
    /// [`Head::parse`] has checked the head's own.
    pub fn check_groups(
        &self,
        payload: &[u8],
        groups: Range<usize>,
        planes: usize,
    ) -> Result<(), CodecError> {
        self.checked(groups, planes)
            .try_for_each(|run| self.compare(&run, checksum(&payload[run.bytes.clone()])))
    }

    /// The runs of `groups` that have a checksum, except planes from index `planes` on.
    pub fn checked(&self, groups: Range<usize>, planes: usize) -> impl Iterator<Item = CheckedRun> + '_ {
        let sections = match &self.kind {
            Kind::Raw => 1,
            Kind::Constant(_) => 0,
            Kind::Tiled(tiled) => 1 + tiled.planes.len(),
        };
        let run = |section, group| {
            let bytes = match &self.kind {
                Kind::Tiled(tiled) => tiled.section_of(section, tiled.group(group)),
                _ => raw_range(self.len, self.original_len, group),
            };
            CheckedRun { bytes, section, group }
        };
        let sections = 0..sections.min(planes.saturating_add(1));
        sections.flat_map(move |section| groups.clone().map(move |group| run(section, group)))
    }

    /// Returns an error that names `run` unless `sum` is its checksum.
    pub fn compare(&self, run: &CheckedRun, sum: u64) -> Result<(), CodecError> {
        match self.checksums[run.section * self.groups() + run.group] == sum {
            true => Ok(()),
            false => {
                let section = self.section_name(run.section);
                Err(CodecError::Checksum { section, group: Some(run.group) })
            }
        }
    }

    fn section_name(&self, section: usize) -> String {
        match (&self.kind, section) {
            (Kind::Tiled(_), 0) => "coded plane".into(),
            (Kind::Tiled(_), plane) => format!("raw plane {}", plane - 1),
            _ => "data".into(),
        }
    }
}
