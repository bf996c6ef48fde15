//! Which of their variants the kernels of products have on a device. Results are the same bits from each;
//! how long they take is the device's affair, and is found out by timing it.

use serde::{Deserialize, Serialize};

use super::format::{Format, Rows};

/// Rows of an invocation, by how weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsByStorage {
    /// For uncompressed weights.
    pub raw: Rows,
    /// For dense tiles.
    pub dense: Rows,
    /// For the fast layout.
    pub fast: Rows,
}

impl RowsByStorage {
    /// The same rows for all.
    pub fn all(rows: Rows) -> Self {
        Self { raw: rows, dense: rows, fast: rows }
    }

    /// The rows for weights in `format`.
    pub fn of(&self, format: Format) -> Rows {
        match format {
            Format::RawBf16 | Format::RawF16 | Format::RawF32 => self.raw,
            Format::Dense(_) => self.dense,
            Format::Fast(_) => self.fast,
        }
    }
}

/// What is chosen for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelChoices {
    /// For products with one token.
    pub matvec: RowsByStorage,
    /// For products with a batch.
    pub matmul: RowsByStorage,
    /// Whether the fast layout is faster than dense tiles.
    pub fast_is_faster: bool,
}

impl KernelChoices {
    /// What a device is given that was not timed.
    pub fn usual(is_cpu: bool) -> Self {
        match is_cpu {
            // One row for each of a row block's 64 invocations.
            false => Self::with_rows(Rows::ONE),
            // Where a processor stands in for a device, reading the same activation in every lane takes as
            // long as reading a weight, and eight lanes are all that run side by side. But the streams of
            // dense tiles and the sums of a batch are more than its registers hold for so many rows.
            true => Self {
                matvec: RowsByStorage { raw: Rows::EIGHT, dense: Rows::TWO, fast: Rows::EIGHT },
                matmul: RowsByStorage { raw: Rows::FOUR, dense: Rows::TWO, fast: Rows::FOUR },
                fast_is_faster: true,
            },
        }
    }

    /// So many rows in every product.
    pub fn with_rows(rows: Rows) -> Self {
        Self { matvec: RowsByStorage::all(rows), matmul: RowsByStorage::all(rows), fast_is_faster: true }
    }
}
