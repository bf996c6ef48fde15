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

/// Bits of a table entry that hold the code's length.
const LENGTH_BITS: u32 = 4;

/// `ESCAPED` of `shaders/shared/stream.wgsl`.
const ESCAPED: u32 = 1 << LENGTH_BITS;

/// The properties in which matrices in dense tiles differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenseFormat {
    /// The position of each bit.
    pub split: Split,
    /// Whether the code has an escape.
    pub escape: Escape,
    /// The raw planes that are read.
    pub kept: Kept,
    /// Whether the symbols of each row are shifted.
    pub row_shifts: bool,
    /// Whether the last chunk of a row is partial.
    pub ragged: bool,
    /// How the table of windows is bound.
    pub table: Table,
    /// The type of the products of quotients and scales; `None` if units are not scaled.
    pub scaled: Option<Dtype>,
}

/// How the table of windows is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// As a storage buffer, of any length.
    Storage,
    /// As a uniform buffer, for windows of this many bits. It is for software drivers, which check each
    /// lane's look-up in a storage buffer with a branch, but need no check for a uniform. Symbols are then
    /// read one at a time, without branches.
    Uniform(u8),
}

impl Table {
    /// The binding for windows of this many bits on this kind of device.
    pub fn of(target: Target, bits: u8) -> Self {
        if target.is_cpu() { Self::Uniform(bits) } else { Self::Storage }
    }

    fn apply(self, variant: Variant) -> Variant {
        match self {
            Self::Storage => variant,
            Self::Uniform(bits) => {
                variant.flag("UNIFORM_CODES").constant("CODE_VECTORS", (1u32 << bits).div_ceil(4))
            }
        }
    }
}

/// Whether a code has an escape, and its maximum length in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// No escape.
    None,
    /// Another code, the escape's code and its symbol have at most 32 bits together, and are read together.
    Short,
    /// They may have more than 32 bits.
    Long,
}

impl DenseFormat {
    /// The format of a tiled tensor of which `kept` is read.
    pub fn of(tiled: &Tiled, kept: Kept) -> Self {
        let code = &tiled.code;
        let escape = match 2 * code.longest() + tiled.split.symbol_bits() {
            _ if code.escape == 0 => Escape::None,
            ..=32 => Escape::Short,
            _ => Escape::Long,
        };
        Self {
            split: tiled.split,
            escape,
            kept,
            row_shifts: !tiled.shifts.rows.is_empty(),
            ragged: !tiled.grid.matrix.cols.is_multiple_of(CHUNK),
            table: Table::Storage,
            scaled: tiled.scaled.as_ref().map(|scaled| scaled.dtype),
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

    /// The raw planes that are read.
    fn planes(&self) -> &[Plane] {
        &self.split.planes()[..self.kept.planes]
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

    /// The look-up table of windows. Above the code's length, each entry has the symbol at its place in a
    /// unit, or the mark of an escape.
    pub(in crate::gpu) fn window_table(&self, tiled: &Tiled) -> Vec<u32> {
        let places = UnitPlaces::of(&self.split);
        let entry = |(symbol, len): (Option<u16>, u8)| {
            let symbol = symbol.map_or(ESCAPED, |s| places.place(u32::from(s)) | self.carry());
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
            word(*escape == Escape::Short, "escape"),
            word(*escape == Escape::Long, "escape_long"),
            word(self.row_shifts, "shifts"),
            word(self.ragged, "ragged"),
            match self.table {
                Table::Storage => None,
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
            .flag_if(self.scaled.is_some(), "SCALED")
            .flag_if(self.scaled == Some(Dtype::BF16), "SCALED_BF16")
            .flag_if(self.scaled == Some(Dtype::F16), "SCALED_F16")
            .flag_if(self.escape != Escape::None, "ESCAPE")
            .flag_if(self.escape == Escape::Long, "ESCAPE_LONG")
            .flag_if(self.row_shifts, "SHIFTS")
            .flag_if(self.ragged, "RAGGED")
            .flag_if(self.planes().iter().any(Plane::is_sparse), "SPARSE")
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
        for (i, plane) in self.planes().iter().enumerate() {
            variant = variant
                .flag(format!("PLANE{i}"))
                .flag(format!("PLANE{i}_BITS_{}", plane.width))
                .flag_if(plane.width <= 4, format!("PLANE{i}_WORDS"))
                .flag_if(plane.is_sparse(), format!("PLANE{i}_SPARSE"))
                .constant(format!("PLANE{i}_AT"), places.of_plane(plane));
        }
        match self.planes() {
            // The raw field's highest bit is the sign.
            [first, ..] if split.raw_bits() > 0 => {
                variant.flag("PLANE0_SIGN").constant("SIGN_BIT", u32::from(first.width) - 1)
            }
            _ => variant,
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
        3 * chunks + u64::from(params.col_tiles) * (STREAM_ROUNDS * rows + 1)
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
            escape: Escape::None,
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
