//! The sections of a payload that a part contains, and their offsets.

use std::ops::Range;

use crate::codec::Kept;
use crate::codec::head::Tiled;
use crate::gpu::weights::matrix_params::MatrixParams;

/// Bytes of some row blocks that are read.
pub(in crate::gpu) fn bytes_of(tiled: &Tiled, kept: Kept, row_blocks: Range<usize>) -> u64 {
    sections(tiled, kept, row_blocks).iter().map(|(_, section)| section.len() as u64).sum()
}

/// The parameters of a part with these row blocks, and the pieces of the payload that it contains, end to
/// end.
pub(in crate::gpu) fn part_of(
    tiled: &Tiled,
    kept: Kept,
    row_blocks: Range<usize>,
) -> (MatrixParams, Vec<Range<usize>>) {
    let mut params = MatrixParams::new(&tiled.grid, row_blocks.clone());
    params.shift_unit = u32::from(tiled.shifts.unit);
    params.window_mask = (1 << tiled.code.longest()) - 1;
    let (mut pieces, mut len) = (Vec::new(), 0u64);
    for (section, payload) in sections(tiled, kept, row_blocks.clone()) {
        section.place(&mut params, (len / 4) as u32, tiled, row_blocks.start);
        len += payload.len() as u64;
        pieces.push(payload);
    }
    (params, pieces)
}

/// A section of a payload of which every part contains a share.
#[derive(Debug, Clone, Copy)]
enum Section {
    Tiles,
    Shifts,
    Masks,
    Scales,
    Coded,
    Plane(usize),
}

impl Section {
    /// Records that the section begins at `word` in the part that begins with `row_block`.
    fn place(self, params: &mut MatrixParams, word: u32, tiled: &Tiled, row_block: usize) {
        match self {
            Self::Tiles => params.tiles_at = word,
            Self::Shifts => params.shifts_at = word,
            Self::Masks => params.masks_at = word,
            Self::Scales => params.scales_at = word,
            // Tile offsets count from the start of the whole plane. The result is a difference modulo 2³²;
            // adding the tile's offset in the shader makes it relative to the part.
            Self::Coded => {
                params.coded_at = word.wrapping_sub(tiled.tiles[row_block * tiled.grid.col_tiles].word);
            }
            // The same holds for the positions of lanes in sparse planes.
            Self::Plane(plane) if tiled.split.planes()[plane].is_sparse() => {
                params.planes_at[plane] = word.wrapping_sub(tiled.plane_word(plane, row_block) as u32);
            }
            Self::Plane(plane) => params.planes_at[plane] = word,
        }
    }
}

/// The sections of some row blocks that are read, as byte ranges in the payload.
fn sections(tiled: &Tiled, kept: Kept, row_blocks: Range<usize>) -> Vec<(Section, Range<usize>)> {
    // A table that does not exist is empty, and so is its share.
    let share = |table: &Range<usize>| {
        let each = table.len() / tiled.grid.row_blocks;
        table.start + each * row_blocks.start..table.start + each * row_blocks.end
    };
    let mut all = vec![
        (Section::Tiles, share(&tiled.tables.tiles)),
        (Section::Shifts, share(&tiled.tables.shifts)),
        (Section::Masks, share(&tiled.tables.masks)),
        (Section::Scales, share(&tiled.tables.scales)),
        (Section::Coded, tiled.coded_of(row_blocks.clone())),
    ];
    let plane = |plane| (Section::Plane(plane), tiled.plane_of(plane, row_blocks.clone()));
    all.extend((0..kept.planes).map(plane));
    all
}
