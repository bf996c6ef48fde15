//! How much of each weight is read from a file that contains all of it.

use super::split::{Source, Split};

/// The precision of weights.
///
/// A payload stores the raw planes one after the other, most significant first, so that a shorter part of a
/// weight is a shorter part of the file. Unread bits are replaced by the middle of their range. The middle
/// lies between two numbers; it is the higher one if the lowest bit that is read is 1, so that weights are
/// neither too large nor too small on average. Zeros stay zeros and infinities stay infinite; a NaN may
/// become infinite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// All bits.
    #[default]
    Lossless,
    /// At least this many bits of each mantissa: as many as the fewest planes contain. For BF16, 3 and 5 make
    /// a difference. Tensors that are stored raw, F16 whose low bits are coded, and tensors that were rounded
    /// when they were compressed are read completely.
    Mantissa(u8),
}

/// The part of a tensor's raw planes that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Number of planes, counted from the first.
    pub planes: usize,
    /// Mantissa bits of each weight that are read; `None` if all are.
    pub mantissa_bits: Option<u8>,
    /// Whether unread bits are replaced by the middle of their range. They are replaced by zeros if they are
    /// those that [clean](Split::clean_bits) rows lack: most rows then lose nothing, and must gain nothing.
    pub middle: bool,
}

impl Precision {
    /// The part of a tensor with this `split` that is read. [`Tiled::kept`](super::head::Tiled::kept) is more
    /// exact for a tensor whose rows are known.
    pub fn kept(self, split: &Split) -> Kept {
        let planes = split.planes();
        let all = Kept { planes: planes.len(), mantissa_bits: None, middle: false };
        let (Self::Mantissa(wanted), 0, 1..) = (self, split.low_bits, split.raw_bits()) else { return all };
        // The first bit of the raw field is the sign.
        let mut bits = i16::from(split.top_bits) - 1;
        for (i, plane) in planes.iter().enumerate().filter(|(_, plane)| plane.source == Source::Raw) {
            bits += i16::from(plane.width);
            if bits >= i16::from(wanted) && i + 1 < planes.len() {
                let middle = planes[i + 1..].iter().any(|plane| !plane.is_sparse());
                return Kept { planes: i + 1, mantissa_bits: u8::try_from(bits).ok(), middle };
            }
        }
        all
    }
}

impl Kept {
    /// A right-aligned unit as it is read: the twin of `four_units` in `shaders/shared/dense.wgsl`.
    pub fn of_unit(&self, split: &Split, unit: u32) -> u32 {
        let Some(kept) = self.mantissa_bits else { return unit };
        let mantissa = split.mantissa_bits();
        let exponent = (1 << split.exponent_bits()) - 1;
        let dropped = mantissa - u32::from(kept);
        let unit = unit >> dropped << dropped;
        let has_middle = (1..exponent).contains(&(unit >> mantissa & exponent));
        let middle = (1 << (dropped - 1)) - 1 + (unit >> dropped & 1);
        if has_middle && self.middle { unit | middle } else { unit }
    }

    /// Applies the same to all little-endian `units`, in place.
    pub fn of_units(&self, split: &Split, units: &mut [u8]) {
        if self.mantissa_bits.is_none() {
            return;
        }
        match split.unit_bytes() {
            2 => units.as_chunks_mut().0.iter_mut().for_each(|unit| {
                *unit = (self.of_unit(split, u32::from(u16::from_le_bytes(*unit))) as u16).to_le_bytes();
            }),
            4 => units.as_chunks_mut().0.iter_mut().for_each(|unit| {
                *unit = self.of_unit(split, u32::from_le_bytes(*unit)).to_le_bytes();
            }),
            _ => units.iter_mut().for_each(|unit| *unit = self.of_unit(split, u32::from(*unit)) as u8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Dtype;

    #[test]
    fn fewer_planes_are_kept_where_they_hold_enough() {
        let bf16 = |t, k| Precision::Mantissa(k).kept(&Split::new(Dtype::BF16, t, 0, 0).unwrap());
        for t in 0..3 {
            let all = Split::new(Dtype::BF16, t, 0, 0).unwrap().planes().len();
            let kept = |planes, bits| Kept { planes, mantissa_bits: Some(bits), middle: true };
            assert_eq!(bf16(t, 7), Kept { planes: all, mantissa_bits: None, middle: false });
            assert_eq!(bf16(t, 5), kept(all - 1, 5));
            assert_eq!(bf16(t, 3), kept(all - 2, 3));
            assert_eq!(bf16(t, 4), bf16(t, 5));
        }
        let f32 = Split::new(Dtype::F32, 1, 0, 13).unwrap();
        assert_eq!(
            Precision::Mantissa(3).kept(&f32),
            Kept { planes: 2, mantissa_bits: Some(3), middle: true }
        );
        // Exactly the planes of the upper half.
        assert_eq!(Precision::Mantissa(7).kept(&f32).mantissa_bits, Some(7));
        let low_bits = Split::new(Dtype::F16, 1, 2, 3).unwrap();
        assert_eq!(Precision::Mantissa(1).kept(&low_bits).mantissa_bits, None);
        let bytes = Split::new(Dtype::U8, 0, 0, 0).unwrap();
        assert_eq!(Precision::Mantissa(1).kept(&bytes).planes, 0);
    }

    #[test]
    fn bits_that_clean_rows_do_not_have_count_as_zeros() {
        for (dtype, clean, wanted) in [(Dtype::F16, 3, 7), (Dtype::F32, 16, 7), (Dtype::BF16, 4, 3)] {
            let split = Split::new(dtype, 1, 0, clean).unwrap();
            let kept = Precision::Mantissa(wanted).kept(&split);
            assert_eq!((kept.mantissa_bits, kept.middle), (Some(wanted), false), "{dtype}");
            let one = 0x55 << split.mantissa_bits();
            let odd = one | 1 << clean;
            assert_eq!([one, odd, odd | 1].map(|unit| kept.of_unit(&split, unit)), [one, odd, odd]);
            // If other bits are dropped too, those are replaced by their middle.
            let less = Precision::Mantissa(1).kept(&split);
            assert!(less.middle || less.mantissa_bits == kept.mantissa_bits);
        }
    }

    #[test]
    fn what_is_dropped_counts_as_its_middle() {
        let split = Split::new(Dtype::BF16, 2, 0, 0).unwrap();
        let kept = Precision::Mantissa(3).kept(&split);
        let of = |unit| kept.of_unit(&split, unit);
        assert_eq!([0x3f80, 0x3f8f, 0xbf9f, 0x3fff].map(of), [0x3f87, 0x3f87, 0xbf98, 0x3ff8]);
        // Over all weights of an exponent, additions and losses balance.
        for k in [3, 5] {
            let kept = Precision::Mantissa(k).kept(&split);
            let gained = |unit| i64::from(kept.of_unit(&split, unit)) - i64::from(unit);
            assert_eq!((0x3f80..0x4000).map(gained).sum::<i64>(), 0);
        }
        assert_eq!(
            [0, 0x8000, 0x000f, 0x7f80, 0xff80, 0x7fc1].map(of),
            [0, 0x8000, 0, 0x7f80, 0xff80, 0x7fc0]
        );
        assert_eq!(Precision::Lossless.kept(&split).of_unit(&split, 0x3f81), 0x3f81);
    }

    #[test]
    fn units_of_every_width_are_cut_in_place() {
        for (dtype, width) in [(Dtype::BF16, 2), (Dtype::F32, 4), (Dtype::F8_E4M3, 1)] {
            let split = Split::new(dtype, 1, 0, 0).unwrap();
            let kept = Precision::Mantissa(1).kept(&split);
            let units: Vec<u32> =
                (0..300u32).map(|i| i.wrapping_mul(0x9e37_79b9) >> (32 - 8 * width)).collect();
            let bytes = |units: &[u32]| -> Vec<u8> {
                units.iter().flat_map(|unit| unit.to_le_bytes().into_iter().take(width)).collect()
            };
            let wanted: Vec<u32> = units.iter().map(|&unit| kept.of_unit(&split, unit)).collect();
            let mut cut = bytes(&units);
            kept.of_units(&split, &mut cut);
            assert_eq!(cut, bytes(&wanted));
            assert_eq!(kept.mantissa_bits.is_some(), wanted != units, "{dtype}");
            Precision::Lossless.kept(&split).of_units(&split, &mut cut);
            assert_eq!(cut, bytes(&wanted));
        }
    }
}
