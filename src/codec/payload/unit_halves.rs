//! Elements of any width as 16-bit halves: one array of each half for a lane of a tile.

use super::grid::{CHUNK, MAX_TILE_COLS};

/// One 16-bit half of a lane's units.
pub(crate) type Halves = [u16; MAX_TILE_COLS];

/// Splits the little-endian units of `row`: an F32 into its upper and lower half, any narrower unit into
/// `upper` alone.
#[inline(always)]
pub(crate) fn take_apart(row: &[u8], unit_bytes: usize, upper: &mut [u16], lower: &mut [u16]) {
    match unit_bytes {
        1 => upper.iter_mut().zip(row).for_each(|(upper, &byte)| *upper = u16::from(byte)),
        2 => {
            let units = row.as_chunks().0;
            upper.iter_mut().zip(units).for_each(|(upper, &unit)| *upper = u16::from_le_bytes(unit));
        }
        _ => {
            for ((upper, lower), &unit) in upper.iter_mut().zip(lower).zip(row.as_chunks().0) {
                let unit = u32::from_le_bytes(unit);
                (*upper, *lower) = ((unit >> 16) as u16, unit as u16);
            }
        }
    }
}

/// The inverse of [`take_apart`].
#[inline(always)]
pub(crate) fn put_together(upper: &[u16], lower: &[u16], unit_bytes: usize, row: &mut [u8]) {
    match unit_bytes {
        1 => row.iter_mut().zip(upper).for_each(|(byte, &upper)| *byte = upper as u8),
        2 => {
            let units = row.as_chunks_mut().0;
            units.iter_mut().zip(upper).for_each(|(unit, upper)| *unit = upper.to_le_bytes());
        }
        _ => {
            for ((unit, &upper), &lower) in row.as_chunks_mut().0.iter_mut().zip(upper).zip(lower) {
                *unit = (u32::from(upper) << 16 | u32::from(lower)).to_le_bytes();
            }
        }
    }
}

/// [`put_together`] for a chunk, for which the compiler uses a vector.
#[inline(always)]
pub(crate) fn put_chunk<const UNIT: usize>(upper: &[u16; CHUNK], lower: &[u16; CHUNK], out: &mut [u8]) {
    match UNIT {
        1 => out.copy_from_slice(&upper.map(|upper| upper as u8)),
        2 => out.copy_from_slice(bytemuck::bytes_of(&upper.map(u16::to_le))),
        _ => {
            let unit = |i: usize| (u32::from(upper[i]) << 16 | u32::from(lower[i])).to_le();
            let units: [u32; CHUNK] = std::array::from_fn(unit);
            out.copy_from_slice(bytemuck::bytes_of(&units));
        }
    }
}
