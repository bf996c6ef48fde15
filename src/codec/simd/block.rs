//! Packing a block of narrow fields side by side and unpacking it, on any processor.
//!
//! A `u64` holds four 16-bit fields, from which the compiler makes vector instructions.

use crate::codec::payload::grid::CHUNK;

/// Columns that are processed together: two chunks, which fill the widest vectors.
pub(crate) const BLOCK: usize = 2 * CHUNK;

/// Some bits of a plane's fields, and their place in a half.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bits {
    /// How many bits the fields are shifted left.
    pub up: u8,
    /// The bits to keep after that.
    pub mask: u16,
}

/// `W` (1, 2 or 4) bits of each field from bit `shift` on, side by side, 64 bits in each number.
#[inline(always)]
pub(crate) fn pack_bits<const W: u32>(block: &[u16; BLOCK], shift: u8) -> [u64; 2] {
    let fours: [u64; BLOCK / 4] = bytemuck::cast(block.map(|field| (field >> shift).to_le()));
    let fours = fours.map(|four| gather::<W>(u64::from_le(four)));
    // Each group of four has 4 W bits, so this many groups make 64.
    let together = 16 / W as usize;
    let mut packed = [0; 2];
    for (packed, fours) in packed.iter_mut().zip(fours.chunks(together)) {
        let shifted = fours.iter().enumerate().map(|(i, four)| four << (4 * W as usize * i));
        *packed = shifted.fold(0, |both, four| both | four);
    }
    packed
}

/// The low `W` bits of each of four 16-bit fields, side by side: `4 W` bits.
#[inline(always)]
fn gather<const W: u32>(fields: u64) -> u64 {
    let in_each = |bits: u32, ones: u64| ones * ((1 << bits) - 1);
    let step = 16 - W;
    let v = fields & in_each(W, 0x0001_0001_0001_0001);
    let v = (v | v >> step) & in_each(2 * W, 0x0000_0001_0000_0001);
    (v | v >> (2 * step)) & in_each(4 * W, 1)
}

/// The inverse of [`pack_bits`]: adds `bits` of the fields to those of `block`. A multiplication moves each
/// field to the top of its 16 bits, because many processors cannot shift 16-bit numbers by different amounts
/// at once.
#[inline(always)]
pub(crate) fn unpack_bits<const W: u32>(packed: [u64; 2], bits: Bits, block: &mut [u16; BLOCK]) {
    let times = const { to_top(W as usize) };
    let down = 16 - W - u32::from(bits.up);
    let fields_a_half = 16 / W as usize;
    for (i, fields) in block.chunks_exact_mut(fields_a_half).enumerate() {
        let half = (packed[i / 4] >> (16 * (i % 4))) as u16;
        for (field, times) in fields.iter_mut().zip(&times) {
            *field |= (half.wrapping_mul(*times) >> down) & bits.mask;
        }
    }
}

/// The factors that move each field of `width` bits to the top of its 16 bits.
pub(crate) const fn to_top(width: usize) -> [u16; CHUNK] {
    let mut times = [0; CHUNK];
    let mut i = 0;
    while i < CHUNK {
        times[i] = 1 << (16 - width - i * width % 16);
        i += 1;
    }
    times
}
