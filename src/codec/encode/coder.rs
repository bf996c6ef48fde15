//! Everything that the encoding of all pieces of a tensor shares.

use rayon::prelude::*;

use crate::codec::entropy::codebook::Codebook;
use crate::codec::payload::grid::{Grid, LANES};
use crate::codec::payload::row_tables::{RowMask, Shifts};
use crate::codec::payload::split::Split;
use crate::codec::plan::choosing::Plan;
use crate::codec::plan::source_rows::SourceRows;
use crate::tensor::Matrix;

/// Data that all groups of a tensor share.
pub(crate) struct Coder {
    pub grid: Grid,
    pub split: Split,
    pub book: Codebook,
    pub shifts: Shifts,
    pub masks: Vec<RowMask>,
}

impl Coder {
    /// A coder for a matrix of units with the coding of `plan`.
    pub fn new(matrix: Matrix, plan: &Plan, source: &SourceRows) -> Self {
        let grid = source.grid();
        let split = plan.split;
        let row_bytes = matrix.cols * split.unit_bytes();
        let shifts = shifts(&grid, row_bytes, plan, source);
        let masks = if split.clean_bits > 0 { masks(&grid, row_bytes, &split, source) } else { Vec::new() };
        Self { grid, split, book: Codebook::new(&plan.code, split.symbol_bits()), shifts, masks }
    }
}

/// The shift that is subtracted from the symbols of each row; empty if rows are not shifted.
fn shifts(grid: &Grid, row_bytes: usize, plan: &Plan, source: &SourceRows) -> Shifts {
    let Some(levels) = plan.levels else { return Shifts::default() };
    let of_block = |row_block| -> Vec<u8> {
        let rows = source.row_blocks(row_block..row_block + 1);
        levels.shifts(plan.split.dtype, rows.chunks_exact(row_bytes)).collect()
    };
    let mut rows: Vec<u8> = (0..grid.row_blocks).into_par_iter().flat_map_iter(of_block).collect();
    rows.resize(grid.row_blocks * LANES, 0);
    Shifts { rows, unit: plan.shift_unit() }
}

/// For each row block, which of its rows are not clean.
fn masks(grid: &Grid, row_bytes: usize, split: &Split, source: &SourceRows) -> Vec<RowMask> {
    let lanes = |row_block| match source.rounding() {
        Some(_) => 0,
        None => {
            let rows = source.row_blocks(row_block..row_block + 1);
            dirty_lanes(&rows, row_bytes, split.unit_bytes(), split.clean_bits)
        }
    };
    let mask = |row_block| RowMask { lanes: lanes(row_block), before: 0 };
    let mut masks: Vec<RowMask> = (0..grid.row_blocks).into_par_iter().map(mask).collect();
    let mut before = 0;
    for mask in &mut masks {
        mask.before = before;
        before += mask.count() as u32;
    }
    masks
}

/// A mask with bit `l` set if row `l` has a nonzero bit among its lowest `clean` bits.
fn dirty_lanes(rows: &[u8], row_bytes: usize, unit_bytes: usize, clean: u8) -> u64 {
    let dirty = |row: &[u8]| match unit_bytes {
        2 => {
            row.as_chunks().0.iter().fold(0, |all, &b| all | u16::from_le_bytes(b)) & ((1 << clean) - 1) != 0
        }
        _ => {
            row.as_chunks().0.iter().fold(0, |all, &b| all | u32::from_le_bytes(b)) & ((1 << clean) - 1) != 0
        }
    };
    rows.chunks_exact(row_bytes).enumerate().map(|(lane, row)| u64::from(dirty(row)) << lane).sum()
}
