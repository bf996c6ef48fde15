//! What a tensor looks like, so that tensors that were made from one another are told from others.
//!
//! Of 64 neighbours, fine-tuning seldom changes which is the largest ("winner takes all" hashing: Yagnik, Strelow, Ross
//! and Lin, "The power of comparative reasoning", ICCV 2011). A sketch says that for 64 such groups.

use serde::{Deserialize, Serialize};

use crate::tensor::Dtype;

/// Groups of a sketch.
const GROUPS: usize = 64;

/// Elements of a group.
const NEIGHBOURS: usize = 64;

/// Elements from which a sketch is taken, at most: the first of a tensor.
pub(super) const SEEN: usize = 1 << 20;

/// The place of the largest of each group as a digit; `-` where several are the largest.
const DIGITS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.";
const NONE: u8 = b'-';

/// A tensor's sketch, as 64 digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sketch(String);

impl Sketch {
    /// The sketch of a tensor from its first bytes, of which only the first [`SEEN`] elements are looked at. `None` for
    /// tensors of few elements, and types whose bits do not order values.
    pub(super) fn of(dtype: Dtype, data: &[u8]) -> Option<Self> {
        if !Self::suits(dtype) {
            return None;
        }
        let width = dtype.bitsize() / 8;
        let groups = (data.len() / width).min(SEEN) / NEIGHBOURS;
        // The same groups where rows were added at the end, unless their number passes a power of two.
        let apart = (groups + 1).next_power_of_two() / 2 / GROUPS;
        let group = |i: usize| {
            let start = i * apart * NEIGHBOURS * width;
            place_of_largest(data.get(start..start + NEIGHBOURS * width)?, width)
        };
        let digit = |i| group(i).map_or(NONE, |place| DIGITS[place]);
        (apart > 0).then(|| Self((0..GROUPS).map(|i| char::from(digit(i))).collect()))
    }

    /// Whether the bits of a type order its values, apart from their sign.
    pub(super) fn suits(dtype: Dtype) -> bool {
        matches!(dtype, Dtype::BF16 | Dtype::F16 | Dtype::F32 | Dtype::F8_E4M3 | Dtype::F8_E5M2)
    }

    /// The digits from `start` on, if all of them say something.
    pub(super) fn digits(&self, start: usize, count: usize) -> Option<&str> {
        self.0.get(start..start + count).filter(|digits| !digits.contains(char::from(NONE)))
    }

    /// Which part of the groups that say something in both agree; zero where those are few.
    pub(super) fn agreement(&self, other: &Self) -> f64 {
        let both = self.0.bytes().zip(other.0.bytes()).filter(|&(a, b)| a != NONE && b != NONE);
        let (count, same) =
            both.fold((0, 0), |(count, same), (a, b)| (count + 1, same + usize::from(a == b)));
        if count < GROUPS / 8 { 0.0 } else { same as f64 / count as f64 }
    }
}

/// An element of a float type as an integer, in the order of values: neighbours are one apart.
pub(super) fn ordered(element: &[u8]) -> i64 {
    let sign = 1u32 << (8 * element.len() - 1);
    let bits = element.iter().rev().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
    // Magnitudes are ordered as integers are.
    if bits & sign == 0 { i64::from(bits) } else { -i64::from(bits & !sign) }
}

/// The place of the largest element of a group; `None` if there are several.
fn place_of_largest(group: &[u8], width: usize) -> Option<usize> {
    let values: Vec<i64> = group.chunks_exact(width).map(ordered).collect();
    let largest = values.iter().max()?;
    let mut places = values.iter().enumerate().filter(|(_, value)| *value == largest);
    let place = places.next()?.0;
    places.next().is_none().then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random.
    fn weights(seed: u32, count: u32) -> impl Iterator<Item = f32> {
        (0..count).map(move |i| {
            let bits = (i ^ seed.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0x9e37_79b9);
            (bits ^ bits >> 15).wrapping_mul(0x2c1b_3c6d) as i32 as f32 / 2f32.powi(31)
        })
    }

    fn bf16(values: impl Iterator<Item = f32>) -> Vec<u8> {
        values.flat_map(|value| half::bf16::from_f32(value).to_bits().to_le_bytes()).collect()
    }

    #[test]
    fn tensors_made_from_one_another_look_alike_and_others_do_not() {
        let of = |data: &[u8]| Sketch::of(Dtype::BF16, data).unwrap();
        let base = of(&bf16(weights(1, 30_000)));
        let moved = weights(1, 30_000).zip(weights(2, 30_000)).map(|(w, step)| w + 0.01 * step);
        assert!(base.agreement(&of(&bf16(moved))) > 0.5);
        assert!(base.agreement(&of(&bf16(weights(3, 30_000)))) < 0.1);
        // More rows, and another type.
        assert_eq!(base, of(&bf16(weights(1, 32_000))));
        let f32s: Vec<u8> = weights(1, 30_000).flat_map(f32::to_le_bytes).collect();
        assert!(base.agreement(&Sketch::of(Dtype::F32, &f32s).unwrap()) > 0.8);
        // Ones say nothing, nor do integers or few elements.
        let ones = of(&bf16(std::iter::repeat_n(1.0, 4096)));
        assert_eq!((ones.agreement(&ones), ones.digits(0, 1)), (0.0, None));
        assert!(Sketch::of(Dtype::I32, &f32s).is_none() && Sketch::of(Dtype::BF16, &f32s[..8000]).is_none());
        assert_eq!(base.digits(4, 4).unwrap().len(), 4);
        assert_eq!(serde_json::from_str::<Sketch>(&serde_json::to_string(&base).unwrap()).unwrap(), base);
    }

    #[test]
    fn the_largest_is_found_whatever_its_sign() {
        let place = |values: [f32; 4]| place_of_largest(&bf16(values.into_iter()), 2);
        assert_eq!(place([-1.0, -0.5, -2.0, -3.0]), Some(1));
        assert_eq!(place([-1.0, 0.5, 2.0, 1.0]), Some(2));
        assert_eq!(place([1.0, 0.5, 1.0, 0.0]), None);
    }
}
