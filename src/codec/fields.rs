//! Packing the narrow fields of one lane into words, and unpacking them.
//!
//! Sixteen columns at a time, in four `u64` of four 16-bit fields each: the compiler makes vector
//! instructions of them.

use super::grid::CHUNK;

/// Where the words of one lane lie in a row block of a plane.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneWords {
    /// The lane's first word.
    pub start: usize,
    /// From one word of the lane to its next: the lanes that the row block has in this plane.
    pub stride: usize,
    /// The first column's bit, counted along the lane.
    pub first_bit: usize,
}

/// `value` in each of the four fields.
const fn repeat(value: u64) -> u64 {
    0x0001_0001_0001_0001 * value
}

/// The low `W` bits of each of four fields, `shift` bits up, side by side: `4 W` bits.
#[inline(always)]
fn gather<const W: u32>(fields: u64, shift: u8) -> u64 {
    let v = (fields >> shift) & repeat((1 << W) - 1);
    if W == 16 {
        return v;
    }
    let step = 16 - W;
    let v = (v | v >> step) & (0x0000_0001_0000_0001 * ((1 << (2 * W)) - 1));
    (v | v >> (2 * step)) & ((1 << (4 * W)) - 1)
}

/// The inverse of [`gather`].
#[inline(always)]
fn spread<const W: u32>(packed: u64) -> u64 {
    if W == 16 {
        return packed;
    }
    let step = 16 - W;
    let v = packed & ((1 << (4 * W)) - 1);
    let v = (v | v << (2 * step)) & (0x0000_0001_0000_0001 * ((1 << (2 * W)) - 1));
    (v | v << step) & repeat((1 << W) - 1)
}

#[inline(always)]
fn fours(chunk: &[u16; CHUNK]) -> [u64; 4] {
    std::array::from_fn(|i| {
        let four = |j: usize| u64::from(chunk[4 * i + j]) << (16 * j);
        four(0) | four(1) | four(2) | four(3)
    })
}

/// Packs `width` bits of each of `fields`, `shift` bits up, into the lane's words of a row block.
/// `fields` is whole chunks. Words are little-endian in memory and start out as zero.
#[inline(always)]
pub(super) fn pack(fields: &[u16], shift: u8, width: u8, words: &mut [u32], at: LaneWords) {
    match width {
        1 => pack_halves(fields, shift, words, at),
        2 => pack_words::<2, 1>(fields, shift, words, at),
        4 => pack_words::<4, 2>(fields, shift, words, at),
        8 => pack_words::<8, 4>(fields, shift, words, at),
        _ => pack_words::<16, 8>(fields, shift, words, at),
    }
}

#[inline(always)]
fn pack_words<const W: u32, const N: usize>(fields: &[u16], shift: u8, words: &mut [u32], at: LaneWords) {
    let mut index = at.start + at.first_bit / 32 * at.stride;
    for chunk in fields.as_chunks::<CHUNK>().0 {
        let packed = fours(chunk).map(|four| gather::<W>(four, shift));
        let put: [u32; N] = match N {
            1 => std::array::from_fn(|_| {
                (packed[0] | packed[1] << 8 | packed[2] << 16 | packed[3] << 24) as u32
            }),
            2 => std::array::from_fn(|i| (packed[2 * i] | packed[2 * i + 1] << 16) as u32),
            4 => std::array::from_fn(|i| packed[i] as u32),
            _ => std::array::from_fn(|i| (packed[i / 2] >> (32 * (i % 2))) as u32),
        };
        for word in put {
            words[index] = word.to_le();
            index += at.stride;
        }
    }
}

/// Planes of one bit: a chunk is half a word.
#[inline(always)]
fn pack_halves(fields: &[u16], shift: u8, words: &mut [u32], at: LaneWords) {
    let mut bit = at.first_bit;
    for chunk in fields.as_chunks::<CHUNK>().0 {
        let packed = fours(chunk).map(|four| gather::<1>(four, shift));
        let half = (packed[0] | packed[1] << 4 | packed[2] << 8 | packed[3] << 12) as u32;
        words[at.start + bit / 32 * at.stride] |= (half << (bit % 32)).to_le();
        bit += CHUNK;
    }
}

/// Adds the lane's part of a plane to `fields`, which are whole chunks: `width` bits each, `shift`
/// bits up. `words` are the row block's little-endian words.
#[inline(always)]
pub(super) fn unpack(words: &[[u8; 4]], at: LaneWords, shift: u8, width: u8, fields: &mut [u16]) {
    match width {
        1 => unpack_halves(words, at, shift, fields),
        2 => unpack_words::<2, 1>(words, at, shift, fields),
        4 => unpack_words::<4, 2>(words, at, shift, fields),
        8 => unpack_words::<8, 4>(words, at, shift, fields),
        _ => unpack_words::<16, 8>(words, at, shift, fields),
    }
}

#[inline(always)]
fn unpack_words<const W: u32, const N: usize>(
    words: &[[u8; 4]],
    at: LaneWords,
    shift: u8,
    fields: &mut [u16],
) {
    let mut index = at.start + at.first_bit / 32 * at.stride;
    for chunk in fields.as_chunks_mut::<CHUNK>().0 {
        let mut got = [0u64; N];
        for word in &mut got {
            *word = u64::from(u32::from_le_bytes(words[index]));
            index += at.stride;
        }
        let packed: [u64; 4] = match N {
            1 => std::array::from_fn(|i| got[0] >> (8 * i)),
            2 => std::array::from_fn(|i| got[i / 2] >> (16 * (i % 2))),
            4 => std::array::from_fn(|i| got[i % N]),
            _ => std::array::from_fn(|i| got[2 * i % N] | got[(2 * i + 1) % N] << 32),
        };
        add(chunk, packed.map(spread::<W>), shift);
    }
}

#[inline(always)]
fn unpack_halves(words: &[[u8; 4]], at: LaneWords, shift: u8, fields: &mut [u16]) {
    let mut bit = at.first_bit;
    for chunk in fields.as_chunks_mut::<CHUNK>().0 {
        let half = u32::from_le_bytes(words[at.start + bit / 32 * at.stride]) >> (bit % 32);
        let packed: [u64; 4] = std::array::from_fn(|i| u64::from(half) >> (4 * i));
        add(chunk, packed.map(spread::<1>), shift);
        bit += CHUNK;
    }
}

#[inline(always)]
fn add(chunk: &mut [u16; CHUNK], fours: [u64; 4], shift: u8) {
    for (i, field) in chunk.iter_mut().enumerate() {
        *field |= ((fours[i / 4] >> (16 * (i % 4))) as u16) << shift;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_from_where_the_format_puts_them() {
        let fields: Vec<u16> = (0..48u32).map(|i| (i * 40_503 >> 3) as u16).collect();
        for width in [1u8, 2, 4, 8, 16] {
            for (shift, first_bit, stride) in [(0, 0, 1), (0, 16, 3), (3, 64, 64)] {
                if width + shift > 16 || (width > 1 && first_bit == 16) {
                    continue;
                }
                let at = LaneWords { start: stride - 1, stride, first_bit };
                let mut words = vec![0u32; (first_bit + 48 * 16) / 32 * stride + stride];
                pack(&fields, shift, width, &mut words, at);
                let mask = ((1u32 << width) - 1) as u16;
                for (c, field) in fields.iter().enumerate() {
                    let bit = first_bit + c * usize::from(width);
                    let word = u32::from_le(words[at.start + bit / 32 * stride]);
                    assert_eq!((word >> (bit % 32)) as u16 & mask, (field >> shift) & mask, "{width}");
                }
                let bytes: Vec<[u8; 4]> = words.iter().map(|w| w.to_ne_bytes()).collect();
                let mut back = vec![0; 48];
                unpack(&bytes, at, shift, width, &mut back);
                assert!(back.iter().zip(&fields).all(|(b, f)| *b == f & mask << shift));
            }
        }
    }
}
