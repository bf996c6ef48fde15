//! The properties in which matrices in dense tiles differ, and their flags and constants in shaders.

use super::unit_places::UnitPlaces;
use crate::codec::Kept;
use crate::codec::grid::{CHUNK, LANES};
use crate::codec::head::Tiled;
use crate::codec::split::{Plane, Split};
use crate::gpu::weights::layouts::Layout;
use crate::gpu::weights::matrix_params::MatrixParams;
use crate::gpu::{Candidates, Invocations, InvocationsByStorage, Target, Texel, Variant, WidenFrom};
use crate::tensor::Dtype;

/// The unit in which shaders read.
pub(in crate::gpu) const TEXEL: Texel = Texel::Word;

/// Words of a row block in the table of row shifts.
const SHIFT_WORDS: u32 = LANES as u32 / 8;

/// Words of a row block in the table of row masks.
const MASK_WORDS: u32 = 4;

/// Words of a tile in the table of scales.
const SCALE_WORDS: u32 = LANES as u32 / 2;

/// Iterations to find the start of one lane's stream: for a lane index of 16 bits, or one of 8, and one of
/// the other loop.
pub(in crate::gpu) const STREAM_ROUNDS: u64 = 34;

/// Bits of the largest table of windows that is copied to workgroup memory: 8 KiB, half of what every device has.
const WORKGROUP_BITS: u8 = 11;

/// Iterations in which an invocation copies its part of such a table: one of eight, the fewest that share the work.
pub(in crate::gpu) const TABLE_ROUNDS: u64 = (1 << WORKGROUP_BITS) / 8;

/// The properties in which matrices in dense tiles differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenseFormat {
    /// The position of each bit.
    pub split: Split,
    /// Whether the code has an escape.
    pub escape: bool,
    /// The raw planes that are read.
    pub kept: Kept,
    /// Whether the symbols of each row are shifted.
    pub row_shifts: bool,
    /// Whether the last chunk of a row is partial.
    pub ragged: bool,
    /// Where the table of windows is looked up.
    pub table: Table,
    /// The type of the products of quotients and scales; `None` if units are not scaled.
    pub scaled: Option<Dtype>,
}

/// Where the table of windows is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// In a storage buffer, of any length.
    Storage,
    /// In workgroup memory, where each workgroup copies it from a storage buffer. For windows of at most eleven bits.
    Workgroup,
    /// In a uniform buffer, for windows of this many bits. It is for software drivers, which check each
    /// lane's look-up in a storage buffer with a branch, but need no check for a uniform. Symbols are then
    /// read one at a time, without branches.
    Uniform(u8),
}

impl Table {
    /// The place of windows of this many bits on this kind of device.
    pub fn of(target: Target, bits: u8) -> Self {
        match target.is_cpu() {
            true => Self::Uniform(bits),
            false if bits <= WORKGROUP_BITS => Self::Workgroup,
            false => Self::Storage,
        }
    }

    fn apply(self, variant: Variant) -> Variant {
        match self {
            Self::Storage => variant,
            Self::Workgroup => variant.flag("WORKGROUP_CODES").constant("CODE_WORDS", 1 << WORKGROUP_BITS),
            Self::Uniform(bits) => {
                variant.flag("UNIFORM_CODES").constant("CODE_VECTORS", (1u32 << bits).div_ceil(4))
            }
        }
    }
}

impl DenseFormat {
    /// The format of a tiled tensor of which `kept` is read.
    pub fn of(tiled: &Tiled, kept: Kept) -> Self {
        Self {
            split: tiled.split,
            escape: tiled.code.escape != 0,
            kept,
            row_shifts: !tiled.shifts.rows.is_empty(),
            ragged: !tiled.grid.matrix.cols.is_multiple_of(CHUNK),
            table: Table::Storage,
            scaled: tiled.scaled.as_ref().map(|scaled| scaled.dtype),
        }
    }

    /// The same format with the table of windows where a kernel that looks up few of them has it.
    pub(in crate::gpu) fn for_few(self) -> Self {
        match self.table {
            Table::Workgroup => Self { table: Table::Storage, ..self },
            Table::Storage | Table::Uniform(_) => self,
        }
    }

    /// The same format with the table of windows bound for this kind of device; unchanged for `None`.
    pub(in crate::gpu) fn bound(self, target: Option<Target>) -> Self {
        let table = target.map_or(self.table, |target| Table::of(target, 11));
        Self { table, ..self }
    }

    /// Bits of a unit.
    pub(in crate::gpu) fn unit_bits(&self) -> usize {
        self.scaled.map_or(8 * self.split.unit_bytes(), |dtype| dtype.bitsize())
    }

    /// The most iterations in which escapes of so many chunks of a row are read.
    pub(in crate::gpu) fn escape_rounds(&self, chunks: u64) -> u64 {
        // Both symbols of each pair, where software drivers do not read all of them alike.
        if self.escape && !matches!(self.table, Table::Uniform(_)) { chunks * CHUNK as u64 } else { 0 }
    }

    /// The raw planes that are read.
    fn planes(&self) -> &[Plane] {
        &self.split.planes()[..self.kept.planes]
    }

    /// The second of the last two planes of two bits each that belong side by side, and neither of which has the sign.
    fn lower_of_four(&self) -> Option<usize> {
        let fits = |upper: &Plane, lower: &Plane| {
            (upper.width, lower.width) == (2, 2)
                && !upper.is_sparse()
                && upper.source == lower.source
                && upper.shift == lower.shift + 2
        };
        let planes = self.planes();
        (2..planes.len()).rev().find(|&i| fits(&planes[i - 1], &planes[i]))
    }

    /// The bit of the first plane's fields that is the sign: the raw field's highest one. `None` where there is no sign.
    fn sign_bit(&self) -> Option<u32> {
        let first = self.planes().first().filter(|_| self.split.raw_bits() > 0)?;
        Some(u32::from(first.width) - 1)
    }

    /// Whether a plane's bits are of the lower half of a unit of 32 bits.
    fn is_below(&self, plane: &Plane) -> bool {
        UnitPlaces::of(&self.split).of_plane(plane) < 16
    }

    /// Which bits of both halves of a word plane `i` has, without the sign's. The second of two planes that are read as one
    /// has those of both.
    fn mask(&self, i: usize) -> u32 {
        let plane = &self.planes()[i];
        let width = match self.sign_bit().filter(|_| i == 0) {
            Some(below) => below,
            None if self.lower_of_four() == Some(i) => 4,
            None => u32::from(plane.width),
        };
        let at = UnitPlaces::of(&self.split).of_plane(plane) % 16;
        (((1 << width) - 1) << at) * 0x1_0001
    }

    /// Bits that are set in every symbol, so that adding a row's shift carries from its low part into its
    /// high part.
    fn carry(&self) -> u32 {
        let places = UnitPlaces::of(&self.split);
        if !self.row_shifts || self.split.low_bits == 0 {
            return 0;
        }
        let below = |bits: u32| (1u32 << bits) - 1;
        below(places.symbol_at) & !below(places.low_at + u32::from(self.split.low_bits))
    }

    /// The mark of an escape in the table of windows: the sign's bit, which is the fastest to look at. Units without a sign
    /// have eight bits.
    fn escaped(&self) -> u32 {
        let highest = 1 << 31;
        if UnitPlaces::of(&self.split).symbol_mask() & highest == 0 { highest } else { 1 << 5 }
    }

    /// The look-up table of windows. Above the code's length, each entry has the symbol at its place in a
    /// unit, or the mark of an escape.
    pub(in crate::gpu) fn window_table(&self, tiled: &Tiled) -> Vec<u32> {
        let places = UnitPlaces::of(&self.split);
        let entry = |(symbol, len): (Option<u16>, u8)| {
            let symbol = symbol.map_or(self.escaped(), |s| places.place(u32::from(s)) | self.carry());
            symbol | u32::from(len)
        };
        tiled.code.peek_table().into_iter().take(1 << tiled.code.longest()).map(entry).collect()
    }
}

impl Layout for DenseFormat {
    /// Such as `dense:bf16.t2.escape.shifts`: the type, and all unusual properties. `t`, `b` and `c` are the
    /// bits of the split; `p` is the number of raw planes that are read, if not all are; `m` is the number of
    /// mantissa bits that are read, if the others are replaced by the middle of their range.
    fn name(&self) -> String {
        let Self { split, kept, escape, .. } = self;
        let count = |name: &str, count: u8| (count > 0).then(|| format!("{name}{count}"));
        let word = |holds: bool, word: &str| holds.then(|| word.to_string());
        let dtype = |dtype: Dtype| format!("{dtype:?}").to_lowercase();
        let parts = [
            Some(format!("dense:{}", dtype(split.dtype))),
            count("t", split.top_bits),
            count("b", split.low_bits),
            count("c", split.clean_bits),
            (kept.planes < split.planes().len()).then(|| format!("p{}", kept.planes)),
            kept.mantissa_bits.filter(|_| kept.middle).map(|bits| format!("m{bits}")),
            self.scaled.map(|scaled| format!("scaled_{}", dtype(scaled))),
            word(*escape, "escape"),
            word(self.row_shifts, "shifts"),
            word(self.ragged, "ragged"),
            match self.table {
                Table::Storage => None,
                Table::Workgroup => Some("workgroup".into()),
                Table::Uniform(bits) => Some(format!("uniform{bits}")),
            },
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(".")
    }

    fn apply(&self, variant: Variant) -> Variant {
        let split = &self.split;
        let places = UnitPlaces::of(split);
        let mut variant = self
            .table
            .apply(variant)
            .flag("DENSE")
            .flag_if(self.dtype() == Dtype::F16, "WEIGHT_F16")
            .flag_if(split.unit_bytes() == 4, "HAS_LOWER")
            .flag_if(self.scaled.is_some() || self.kept.middle, "AS_UNITS")
            .flag_if(self.scaled.is_some(), "SCALED")
            .flag_if(self.scaled == Some(Dtype::BF16), "SCALED_BF16")
            .flag_if(self.scaled == Some(Dtype::F16), "SCALED_F16")
            .flag_if(self.escape, "ESCAPE")
            .flag_if(self.row_shifts, "SHIFTS")
            .flag_if(self.ragged, "RAGGED")
            .flag_if(self.planes().iter().any(Plane::is_sparse), "SPARSE")
            .constant("ESCAPED", self.escaped())
            .constant("SYMBOL_BITS", split.symbol_bits())
            .constant("SYMBOL_AT", places.symbol_at)
            .constant("LOW_BITS", u32::from(split.low_bits))
            .constant("LOW_AT", places.low_at)
            .constant("SYMBOL", places.symbol_mask())
            .constant("CARRY", self.carry());
        if let Some((dropped, middle)) = places.middle(split, self.kept) {
            variant = variant
                .flag("MIDDLE_BITS")
                .constant("MIDDLE", middle)
                .constant("DROPPED", dropped)
                .constant("LAST", places.last())
                .constant("EXPONENT", places.exponent(split));
        }
        let lower = self.lower_of_four();
        for (i, plane) in self.planes().iter().enumerate() {
            variant = variant
                .flag_if(lower == Some(i + 1), format!("PLANE{i}_UPPER"))
                .flag_if(lower == Some(i), format!("PLANE{i}_LOWER"))
                .flag(format!("PLANE{i}"))
                .flag(format!("PLANE{i}_BITS_{}", plane.width))
                .flag_if(plane.width <= 4, format!("PLANE{i}_WORDS"))
                .flag_if(plane.is_sparse(), format!("PLANE{i}_SPARSE"))
                .flag_if(self.is_below(plane), format!("PLANE{i}_BELOW"))
                .constant(format!("PLANE{i}_AT"), places.of_plane(plane) % 16)
                .constant(format!("PLANE{i}_MASK"), self.mask(i));
        }
        match self.sign_bit() {
            Some(bit) => variant.flag("PLANE0_SIGN").constant("SIGN_BIT", bit),
            None => variant,
        }
    }

    fn dtype(&self) -> Dtype {
        self.scaled.unwrap_or(self.split.dtype)
    }

    fn chunk_cols(&self) -> usize {
        CHUNK
    }

    fn texel(&self) -> Texel {
        TEXEL
    }

    fn is_tiled(&self) -> bool {
        true
    }

    fn invocations(&self, by: &InvocationsByStorage) -> Invocations {
        by.dense
    }

    fn own_candidates(&self, all: &Candidates) -> Option<&'static [Invocations]> {
        all.streams
    }

    fn widen_from(&self, from: &WidenFrom) -> usize {
        from.dense
    }

    /// The offsets advance, because row blocks index tables and planes. A row block's rows in a sparse plane
    /// are found through its mask instead.
    fn skip_row_blocks(&self, params: &mut MatrixParams, count: u32) {
        let padded_cols = params.cols.next_multiple_of(CHUNK as u32);
        params.tiles_at += 2 * count * params.col_tiles;
        params.shifts_at += count * SHIFT_WORDS;
        params.masks_at += count * MASK_WORDS;
        params.scales_at += count * params.col_tiles * SCALE_WORDS;
        for (at, plane) in
            params.planes_at.iter_mut().zip(self.split.planes()).filter(|(_, p)| !p.is_sparse())
        {
            *at += count * LANES as u32 * (padded_cols * u32::from(plane.width)).div_ceil(32);
        }
    }

    fn move_to(&self, params: &mut MatrixParams, at: u64, _: u32) {
        // Some of them are differences modulo 2³².
        let offsets = [
            &mut params.tiles_at,
            &mut params.coded_at,
            &mut params.shifts_at,
            &mut params.masks_at,
            &mut params.scales_at,
        ];
        for offset in offsets.into_iter().chain(&mut params.planes_at) {
            *offset = offset.wrapping_add((at / 4) as u32);
        }
    }

    fn product_rounds(&self, params: &MatrixParams, rows: u64) -> u64 {
        let chunks = u64::from(params.cols).div_ceil(CHUNK as u64);
        let tiles = u64::from(params.col_tiles) * (STREAM_ROUNDS * rows + 1);
        3 * chunks + rows * self.escape_rounds(chunks) + tiles + TABLE_ROUNDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Precision;

    #[test]
    fn shifts_carry_across_the_gap_between_the_parts_of_a_symbol() {
        let split = Split::new(Dtype::F16, 1, 2, 3).unwrap();
        let dense = DenseFormat {
            split,
            escape: false,
            kept: Precision::Lossless.kept(&split),
            row_shifts: true,
            ragged: false,
            table: Table::Storage,
            scaled: None,
        };
        let places = UnitPlaces::of(&split);
        let mask = (1 << split.symbol_bits()) - 1;
        for symbol in 0..=mask {
            for shift in [0, 1, 3, 5, 15, 200, mask] {
                let sum = (places.place(symbol) | dense.carry()).wrapping_add(places.place(shift));
                assert_eq!(sum & places.symbol_mask(), places.place((symbol + shift) & mask));
            }
        }
    }
}
