//! Packing the narrow fields of one lane into words, and unpacking them.

use super::block::{BLOCK, Bits};
use super::vectors::Vectors;
use crate::codec::payload::grid::{CHUNK, MAX_TILE_COLS};
use crate::codec::payload::lane_words::LaneWords;

/// Packs `width` bits of each of `fields`, from bit `shift` on, into the lane's words of a row block.
/// `fields` must be whole chunks. Words are little-endian in memory and initially zero.
#[inline(always)]
pub(crate) fn pack(
    vectors: impl Vectors,
    fields: &[u16],
    shift: u8,
    width: u8,
    words: &mut [u32],
    at: LaneWords,
) {
    match width {
        1 => pack_narrow::<1>(vectors, fields, shift, words, at),
        2 => pack_narrow::<2>(vectors, fields, shift, words, at),
        4 => pack_narrow::<4>(vectors, fields, shift, words, at),
        8 => pack_bytes(fields, shift, words, at),
        _ => pack_halves(fields, words, at),
    }
}

/// Fields of 1, 2 or 4 bits.
#[inline(always)]
fn pack_narrow<const W: u32>(
    vectors: impl Vectors,
    fields: &[u16],
    shift: u8,
    words: &mut [u32],
    at: LaneWords,
) {
    let mut bit = at.first_bit;
    let (blocks, rest) = fields.as_chunks::<BLOCK>();
    for block in blocks {
        let packed = vectors.pack::<W>(block, shift);
        if W > 1 {
            put_words::<W>(packed, bit, words, at);
        } else {
            put_halves(packed, 2, bit, words, at);
        }
        bit += BLOCK * W as usize;
    }
    if !rest.is_empty() {
        let mut block = [0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        put_halves(vectors.pack::<W>(&block, shift), rest.len() / 16 * W as usize, bit, words, at);
    }
}

/// Writes a block of fields of more than one bit, which fills whole words.
#[inline(always)]
fn put_words<const W: u32>(packed: [u64; 2], bit: usize, words: &mut [u32], at: LaneWords) {
    let mut index = at.start + bit / 32 * at.stride;
    for word in 0..W as usize {
        words[index] = ((packed[word / 2] >> (32 * (word % 2))) as u32).to_le();
        index += at.stride;
    }
}

/// Writes `count` 16-bit pieces from bit `bit` of the lane on. A one-bit plane may begin, and its chunks may
/// end, in the middle of a word.
#[inline(always)]
fn put_halves(packed: [u64; 2], count: usize, bit: usize, words: &mut [u32], at: LaneWords) {
    for half in 0..count {
        let value = (packed[half / 4] >> (16 * (half % 4))) as u32 & 0xffff;
        let bit = bit + 16 * half;
        words[at.start + bit / 32 * at.stride] |= (value << (bit % 32)).to_le();
    }
}

/// Fields of 8 bits.
#[inline(always)]
fn pack_bytes(fields: &[u16], shift: u8, words: &mut [u32], at: LaneWords) {
    // The loop that fills all bytes is separate, so that it can be vectorised.
    let mut bytes = [0; MAX_TILE_COLS];
    let bytes = &mut bytes[..fields.len()];
    for (byte, field) in bytes.iter_mut().zip(fields) {
        *byte = (field >> shift) as u8;
    }
    let mut index = at.start + at.first_bit / 32 * at.stride;
    for word in bytes.as_chunks().0 {
        words[index] = u32::from_ne_bytes(*word);
        index += at.stride;
    }
}

/// Fields of 16 bits.
#[inline(always)]
fn pack_halves(fields: &[u16], words: &mut [u32], at: LaneWords) {
    let mut index = at.start + at.first_bit / 32 * at.stride;
    for &[low, high] in fields.as_chunks().0 {
        words[index] = (u32::from(low) | u32::from(high) << 16).to_le();
        index += at.stride;
    }
}

/// Adds `bits` of the lane's first `cols` fields, of `width` bits, to those of `blocks`. Fields after `cols`
/// may be added too. `words` are the row block's little-endian words.
#[inline(always)]
pub(crate) fn unpack(
    vectors: impl Vectors,
    words: &[[u8; 4]],
    at: LaneWords,
    width: u8,
    bits: Bits,
    cols: usize,
    blocks: &mut [[u16; BLOCK]],
) {
    match width {
        1 => unpack_narrow::<1>(vectors, words, at, bits, cols, blocks),
        2 => unpack_narrow::<2>(vectors, words, at, bits, cols, blocks),
        4 => unpack_narrow::<4>(vectors, words, at, bits, cols, blocks),
        8 => unpack_bytes(words, at, bits, cols, blocks.as_flattened_mut()),
        _ => unpack_halves(words, at, bits, cols, blocks.as_flattened_mut()),
    }
}

/// Fields of 1, 2 or 4 bits.
#[inline(always)]
fn unpack_narrow<const W: u32>(
    vectors: impl Vectors,
    words: &[[u8; 4]],
    at: LaneWords,
    bits: Bits,
    cols: usize,
    blocks: &mut [[u16; BLOCK]],
) {
    let mut index = at.start + at.first_bit / 32 * at.stride;
    let mut next = || {
        let word = u64::from(u32::from_le_bytes(words[index]));
        index += at.stride;
        word
    };
    // The last block may consist of one chunk only.
    let whole = blocks.len() - usize::from(cols.wrapping_sub(1) % BLOCK < CHUNK);
    let (whole, rest) = blocks.split_at_mut(whole);
    // A one-bit plane may begin in the middle of a word.
    let halfway = W == 1 && at.first_bit % 32 == 16;
    let mut before = if halfway { next() } else { 0 };
    for block in whole {
        let packed = match W {
            1 if halfway => {
                let word = next();
                let packed = before >> 16 | (word & 0xffff) << 16;
                before = word;
                [packed, 0]
            }
            1 => [next(), 0],
            2 => [next() | next() << 32, 0],
            _ => [next() | next() << 32, next() | next() << 32],
        };
        vectors.unpack::<W>(packed, bits, block);
    }
    for block in rest {
        let packed = match W {
            1 if halfway => before >> 16,
            1 | 2 => next(),
            _ => next() | next() << 32,
        };
        vectors.unpack::<W>([packed, 0], bits, block);
    }
}

/// Fields of 8 bits, four at a time in one number.
#[inline(always)]
fn unpack_bytes(words: &[[u8; 4]], at: LaneWords, bits: Bits, cols: usize, sums: &mut [u16]) {
    let mask = 0x0001_0001_0001_0001 * u64::from(bits.mask);
    let mut index = at.start + at.first_bit / 32 * at.stride;
    for four in sums.as_chunks_mut::<4>().0.iter_mut().take(cols.div_ceil(4)) {
        let word = u64::from(u32::from_le_bytes(words[index]));
        let halves = (word | word << 16) & 0x0000_ffff_0000_ffff;
        let fields = (halves | halves << 8) & 0x00ff_00ff_00ff_00ff;
        let sum = u64::from_le(bytemuck::cast(four.map(u16::to_le))) | (fields << bits.up) & mask;
        *four = bytemuck::cast::<_, [u16; 4]>(sum.to_le()).map(u16::from_le);
        index += at.stride;
    }
}

/// Fields of 16 bits, two at a time in one number.
#[inline(always)]
fn unpack_halves(words: &[[u8; 4]], at: LaneWords, bits: Bits, cols: usize, sums: &mut [u16]) {
    let mask = 0x0001_0001 * u32::from(bits.mask);
    let mut index = at.start + at.first_bit / 32 * at.stride;
    for pair in sums.as_chunks_mut::<2>().0.iter_mut().take(cols.div_ceil(2)) {
        let word = u32::from_le_bytes(words[index]);
        // The mask drops bits that move from the lower field into the upper one.
        let sum = u32::from_le(bytemuck::cast(pair.map(u16::to_le))) | (word << bits.up) & mask;
        *pair = bytemuck::cast::<_, [u16; 2]>(sum.to_le()).map(u16::from_le);
        index += at.stride;
    }
}

#[cfg(test)]
mod tests {
    use super::super::portable::Portable;
    use super::*;

    #[test]
    fn fields_come_back_from_where_the_format_puts_them() {
        let fields: Vec<u16> = (0..48u32).map(|i| ((i * 40_503) >> 3) as u16).collect();
        for width in [1u8, 2, 4, 8, 16] {
            for (shift, first_bit, stride) in [(0, 0, 1), (0, 16, 3), (3, 64, 64)] {
                if width + shift > 16 || (width > 1 && first_bit == 16) {
                    continue;
                }
                let at = LaneWords { start: stride - 1, stride, first_bit };
                let mut words = vec![0u32; (first_bit + 48 * 16) / 32 * stride + stride];
                pack(Portable, &fields, shift, width, &mut words, at);
                let mask = ((1u32 << width) - 1) as u16;
                for (c, field) in fields.iter().enumerate() {
                    let bit = first_bit + c * usize::from(width);
                    let word = u32::from_le(words[at.start + bit / 32 * stride]);
                    assert_eq!((word >> (bit % 32)) as u16 & mask, (field >> shift) & mask, "{width}");
                }
                let bytes: Vec<[u8; 4]> = words.iter().map(|w| w.to_ne_bytes()).collect();
                let mut back = [[0; BLOCK]; 2];
                let moved = Bits { up: shift, mask: mask << shift };
                unpack(Portable, &bytes, at, width, moved, 48, &mut back);
                assert!(back.as_flattened().iter().zip(&fields).all(|(b, f)| *b == f & mask << shift));
            }
        }
    }
}
