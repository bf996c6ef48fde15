//! How weights are stored on a device, as the shaders tell it apart.

use crate::codec::Kept;
use crate::codec::grid::CHUNK;
use crate::codec::head::Tiled;
use crate::codec::split::{Plane, Source, Split};
use crate::gpu::{Invocations, Target, Variant};
use crate::tensor::Dtype;

/// Bits of a table entry that hold the code's length.
const LENGTH_BITS: u32 = 4;

/// Columns of a chunk where the layout is the device's own. Activations are padded to whole ones.
pub const WIDE_CHUNK: usize = 32;

/// `ESCAPED` of `shaders/shared/stream.wgsl`.
const ESCAPED: u32 = 1 << LENGTH_BITS;

/// How the weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Uncompressed BF16, two a word.
    RawBf16,
    /// Uncompressed F16, two a word.
    RawF16,
    /// Uncompressed F32.
    RawF32,
    /// Dense tiles.
    Dense(DenseFormat),
    /// BF16 at 12 bits a weight, each at a place of its own.
    Fast(FastFormat),
}

/// What is different from one matrix in the fast layout to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FastFormat {
    /// Whether code 0 stands for the exponent 0.
    pub zeros: bool,
}

/// What is different from one matrix in dense tiles to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenseFormat {
    /// Which bits are where.
    pub split: Split,
    /// Whether the code has an escape.
    pub escape: Escape,
    /// Which raw planes there are.
    pub kept: Kept,
    /// Whether something is added to the symbols of each row.
    pub row_shifts: bool,
    /// Whether the last chunk of a row is not whole.
    pub ragged: bool,
    /// Where the table of windows is bound.
    pub table: Table,
    /// Of what type the products of quotients and scales are; `None` where units are as they are.
    pub scaled: Option<Dtype>,
}

/// How the table of windows is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// As a storage buffer, of any length.
    Storage,
    /// As a uniform buffer, for windows of so many bits: for software drivers, which check every lane's
    /// look-up in a storage buffer by a branch, and none in a uniform one. Symbols are then read one at a
    /// time, without branches.
    Uniform(u8),
}

impl Table {
    /// That of windows of so many bits on a device of this kind.
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

/// Whether a code has an escape, and how much of a stream it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// There is none.
    None,
    /// Another code, the escape's and its symbol are 32 bits at the most, which are looked at
    /// together.
    Short,
    /// They may be more.
    Long,
}

impl Format {
    /// The formats of uncompressed weights.
    pub const RAW: [Self; 3] = [Self::RawBf16, Self::RawF16, Self::RawF32];

    /// Adds what a kernel that imports `shared/matrix.wgsl` needs to read this format.
    pub fn apply(self, variant: Variant, invocations: Invocations) -> Variant {
        let variant = invocations.apply(variant).constant("EIGHTS", self.chunk_cols() as u32 / 8);
        match self {
            Self::RawBf16 => variant.constant("WEIGHT_BITS", 16),
            Self::RawF16 => variant.flag("WEIGHT_F16").constant("WEIGHT_BITS", 16),
            Self::RawF32 => variant.flag("WEIGHT_F32").constant("WEIGHT_BITS", 32),
            Self::Dense(dense) => dense.apply(variant),
            Self::Fast(fast) => variant.flag("FAST").flag_if(fast.zeros, "ZEROS"),
        }
    }

    /// Columns that a kernel reads at a time.
    pub(in crate::gpu) fn chunk_cols(self) -> usize {
        match self {
            Self::Dense(_) => CHUNK,
            _ => WIDE_CHUNK,
        }
    }

    /// The type of the weights.
    pub fn dtype(self) -> Dtype {
        match self {
            Self::RawBf16 | Self::Fast(_) => Dtype::BF16,
            Self::RawF16 => Dtype::F16,
            Self::RawF32 => Dtype::F32,
            Self::Dense(dense) => dense.dtype(),
        }
    }

    /// How uncompressed weights of `dtype` are kept; `None` for a type that no product reads.
    pub(in crate::gpu) fn raw(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::BF16 => Some(Self::RawBf16),
            Dtype::F16 => Some(Self::RawF16),
            Dtype::F32 => Some(Self::RawF32),
            _ => None,
        }
    }
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

    /// The type of the units.
    pub(in crate::gpu) fn dtype(&self) -> Dtype {
        self.scaled.unwrap_or(self.split.dtype)
    }

    /// Bits of a unit.
    pub(in crate::gpu) fn unit_bits(&self) -> usize {
        self.scaled.map_or(8 * self.split.unit_bytes(), |dtype| dtype.bitsize())
    }

    fn apply(self, variant: Variant) -> Variant {
        let split = &self.split;
        let places = Places::of(split);
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

    /// The raw planes that there are.
    fn planes(&self) -> &[Plane] {
        &self.split.planes()[..self.kept.planes]
    }

    /// Bits that are set in every symbol, so that adding a row's shift carries from its low part to
    /// its high part.
    fn carry(&self) -> u32 {
        let places = Places::of(&self.split);
        if !self.row_shifts || self.split.low_bits == 0 {
            return 0;
        }
        let below = |bits: u32| (1u32 << bits) - 1;
        below(places.symbol_at) & !below(places.low_at + u32::from(self.split.low_bits))
    }

    /// The table that windows are looked up in: a symbol in its place, or the mark of an escape,
    /// above the code's length.
    pub(in crate::gpu) fn window_table(&self, tiled: &Tiled) -> Vec<u32> {
        let places = Places::of(&self.split);
        let entry = |(symbol, len): (Option<u16>, u8)| {
            let symbol = symbol.map_or(ESCAPED, |s| places.place(u32::from(s)) | self.carry());
            symbol | u32::from(len)
        };
        tiled.code.peek_table().into_iter().take(1 << tiled.code.longest()).map(entry).collect()
    }
}

/// Where the bits of a unit are, in 32 bits that it fills from the top.
#[derive(Debug, Clone, Copy)]
struct Places {
    /// Lowest bit of exponent and top mantissa bits.
    symbol_at: u32,
    /// Lowest of the coded low mantissa bits.
    low_at: u32,
    /// Lowest mantissa bit of the raw field.
    raw_at: u32,
    /// Lowest of the bits that clean rows do not have.
    clean_at: u32,
    symbol_bits: u32,
    low_bits: u32,
    /// Where the unit ends.
    last_at: u32,
}

impl Places {
    fn of(split: &Split) -> Self {
        // The upper half of an F32 is what is taken apart.
        let upper_bits = 8 * (split.unit_bytes() as u32).min(2);
        let symbol_bits = split.symbol_bits();
        let low_bits = u32::from(split.low_bits);
        let sign_bits = u32::from(split.raw_bits() > 0);
        let clean_at = if split.unit_bytes() == 4 { 0 } else { 32 - upper_bits };
        let low_at = 32 - upper_bits + if split.unit_bytes() == 2 { u32::from(split.clean_bits) } else { 0 };
        let symbol_at = 32 - sign_bits - (symbol_bits - low_bits);
        let last_at = 32 - 8 * split.unit_bytes() as u32;
        Self { symbol_at, low_at, raw_at: low_at + low_bits, clean_at, symbol_bits, low_bits, last_at }
    }

    /// A symbol in its place.
    fn place(&self, symbol: u32) -> u32 {
        let low = symbol & ((1 << self.low_bits) - 1);
        (symbol >> self.low_bits) << self.symbol_at | low << self.low_at
    }

    fn symbol_mask(&self) -> u32 {
        self.place((1 << self.symbol_bits) - 1)
    }

    /// How many bits are not kept, and the lower of the two numbers around their middle.
    fn middle(&self, split: &Split, kept: Kept) -> Option<(u32, u32)> {
        let bits = kept.mantissa_bits.filter(|_| kept.middle)?;
        let dropped = split.mantissa_bits() - u32::from(bits);
        Some((dropped, ((1 << (dropped - 1)) - 1) * self.last()))
    }

    /// The unit's lowest bit.
    fn last(&self) -> u32 {
        1 << self.last_at
    }

    /// The bits of the exponent.
    fn exponent(&self, split: &Split) -> u32 {
        ((1 << split.exponent_bits()) - 1) << self.exponent_at(split)
    }

    fn exponent_at(&self, split: &Split) -> u32 {
        self.symbol_at + u32::from(split.top_bits)
    }

    /// Where the lowest bit of a plane's fields belongs.
    fn of_plane(&self, plane: &Plane) -> u32 {
        let source = match plane.source {
            Source::Raw => self.raw_at,
            // Only an F32 has a lower half.
            Source::Lower => 0,
            Source::Clean => self.clean_at,
        };
        source + u32::from(plane.shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Precision;

    #[test]
    fn symbol_and_planes_fill_the_unit() {
        let all = (0..4).flat_map(|t| (0..5).flat_map(move |b| (0..=16).map(move |c| (t, b, c))));
        let mut count = 0;
        for (t, b, c) in all {
            for dtype in [Dtype::F32, Dtype::BF16, Dtype::F16, Dtype::F8_E4M3, Dtype::F8_E5M2, Dtype::U8] {
                let Some(split) = Split::new(dtype, t, b, c) else { continue };
                let places = Places::of(&split);
                let mut bits = places.symbol_mask();
                assert_eq!(bits.count_ones(), split.symbol_bits());
                for (i, plane) in split.planes().iter().enumerate() {
                    let sign = u32::from(i == 0);
                    let width = u32::from(plane.width) - sign;
                    let field = ((1u64 << width) - 1) << places.of_plane(plane) | u64::from(sign) << 31;
                    assert_eq!(u64::from(bits) & field, 0, "{split:?}");
                    bits |= field as u32;
                }
                assert_eq!(bits.trailing_zeros(), 32 - 8 * split.unit_bytes() as u32, "{split:?}");
                assert_eq!(bits.count_ones(), 8 * split.unit_bytes() as u32, "{split:?}");
                count += 1;
            }
        }
        assert_eq!(count, 12 + 20 + 40 + 4 + 3 + 1);
    }

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
        let places = Places::of(&split);
        let mask = (1 << split.symbol_bits()) - 1;
        for symbol in 0..=mask {
            for shift in [0, 1, 3, 5, 15, 200, mask] {
                let sum = (places.place(symbol) | dense.carry()).wrapping_add(places.place(shift));
                assert_eq!(sum & places.symbol_mask(), places.place((symbol + shift) & mask));
            }
        }
    }
}
