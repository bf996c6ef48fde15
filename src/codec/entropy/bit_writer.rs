//! Writing the bit streams of symbols.

use super::codebook::{Codebook, PairBook};
use crate::codec::payload::code::MAX_CODE_BITS;
use crate::codec::payload::split::ALPHABET;
use crate::codec::simd::Vectors;
use crate::codec::simd::joined_codes::{APPEND_BITS, JOINED, Joined, SMALL};

/// Maximum bits of one symbol: an escape, and the symbol itself.
const MAX_SYMBOL_LEN: usize = 2 * MAX_CODE_BITS as usize;

/// Symbols whose pairs are looked up together.
const PAIRED: usize = 64;

/// Writes codes into a buffer, lowest bits first.
pub(crate) struct BitWriter {
    buffer: Vec<u8>,
    end: End,
}

impl BitWriter {
    /// A writer for at most this many symbols at a time.
    pub fn new(symbols: usize) -> Self {
        Self { buffer: vec![0; symbols * MAX_SYMBOL_LEN / 8 + 16], end: End::default() }
    }

    /// Bits written so far.
    pub fn len(&self) -> usize {
        8 * self.end.at + self.end.pending_bits as usize
    }

    /// Appends the codes of `symbols`.
    #[inline(always)]
    pub fn put(&mut self, vectors: impl Vectors, book: &Codebook, symbols: &[u16]) {
        let mut end = self.end;
        let buffer = &mut self.buffer[..];
        let mut rest = symbols;
        if let Some(small) = &book.small {
            let (blocks, few) = symbols.as_chunks();
            rest = few;
            for (i, block) in blocks.iter().enumerate() {
                let Some(joined) = vectors.join_codes(small, block) else {
                    let pairs = book.pairs(small);
                    rest = put_pairs(&mut end, buffer, book, pairs, small.first, &symbols[i * JOINED..]);
                    break;
                };
                put_joined(&mut end, buffer, book, block, &joined);
            }
        }
        put_each(&mut end, buffer, book, rest);
        self.end = end;
    }

    /// The bytes written, the last one padded with zeros; the writer starts over.
    pub fn finish(&mut self) -> &[u8] {
        self.buffer[self.end.at] = self.end.pending as u8;
        let len = self.len().div_ceil(8);
        self.end = End::default();
        &self.buffer[..len]
    }
}

/// Appends `symbols` whose codes have been joined.
#[inline(always)]
fn put_joined(end: &mut End, buffer: &mut [u8], book: &Codebook, symbols: &[u16; JOINED], joined: &Joined) {
    let piece =
        |end: &mut End, buffer: &mut [u8], i| end.append(buffer, joined.bits[i], joined.lens[i] as u32);
    if joined.escaped != 0 {
        for (i, four) in symbols.as_chunks::<4>().0.iter().enumerate() {
            match joined.escaped >> (4 * i) & 15 {
                0 => piece(end, buffer, i),
                _ => put_each(end, buffer, book, four),
            }
        }
    } else if joined.eights {
        for i in 0..JOINED / 8 {
            piece(end, buffer, 2 * i);
        }
    } else {
        for i in 0..JOINED / 4 {
            piece(end, buffer, i);
        }
    }
}

/// Appends the codes of `symbols`, looked up in pairs, and returns the symbols left over at the end.
#[inline(always)]
fn put_pairs<'a>(
    end: &mut End,
    buffer: &mut [u8],
    book: &Codebook,
    pairs: &PairBook,
    first: u16,
    symbols: &'a [u16],
) -> &'a [u16] {
    let (parts, rest) = symbols.as_chunks();
    for part in parts {
        // Compute all places first: a scalar load soon after a vector store would stall.
        let twos = places_of_pairs(part, first);
        for (eight, twos) in part.as_chunks::<8>().0.iter().zip(twos.as_chunks::<4>().0) {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| u64::from(pairs.0[twos[i] as usize % (SMALL * SMALL)]));
            // The low byte of a sum of two entries is the sum of their lengths, and shifts use only its low
            // six bits.
            let (low, low_len) = (a >> 8 | (b >> 8) << (a & 63), (a + b) & 63);
            let (high, high_len) = (c >> 8 | (d >> 8) << (c & 63), (c + d) & 63);
            let escaped = (a | b | c | d) & u64::from(PairBook::ESCAPED) != 0;
            if !escaped && low_len + high_len <= APPEND_BITS {
                end.append(buffer, low | high << low_len, (low_len + high_len) as u32);
            } else {
                put_each(end, buffer, book, eight);
            }
        }
    }
    rest
}

/// The index of each two symbols in a [`PairBook`].
#[inline(always)]
fn places_of_pairs(symbols: &[u16; PAIRED], first: u16) -> [u32; PAIRED / 2] {
    let mut places = [0; PAIRED];
    for (place, symbol) in places.iter_mut().zip(symbols) {
        *place = symbol.wrapping_sub(first).min(SMALL as u16 - 1).to_le();
    }
    let mut twos: [u32; PAIRED / 2] = bytemuck::cast(places);
    for two in &mut twos {
        // Two neighbours form one number.
        let both = u32::from_le(*two);
        *two = (both | both >> (16 - SMALL.ilog2())) & (SMALL * SMALL - 1) as u32;
    }
    twos
}

/// Appends the codes of `symbols`, looked up one by one.
#[inline(always)]
fn put_each(end: &mut End, buffer: &mut [u8], book: &Codebook, symbols: &[u16]) {
    let entry = |symbol: u64| u64::from(book.entries[symbol as usize % ALPHABET]);
    // Joined in pairs, so that not every shift waits for the previous one. The low byte of a sum of entries
    // is the sum of their lengths, and shifts use only its low six bits.
    let pair = |a: u64, b: u64| (a >> 8 | (b >> 8) << (a & 63), (a & 255) + (b & 255));
    let (fours, rest) = symbols.as_chunks::<4>();
    for four in fours {
        let four = u64::from_le(bytemuck::cast(four.map(u16::to_le)));
        let (low, low_len) = pair(entry(four), entry(four >> 16));
        let (high, high_len) = pair(entry(four >> 32), entry(four >> 48));
        if low_len + high_len <= APPEND_BITS {
            end.append(buffer, low | high << low_len, (low_len + high_len) as u32);
        } else {
            end.append(buffer, low, low_len as u32);
            end.append(buffer, high, high_len as u32);
        }
    }
    for &symbol in rest {
        let entry = entry(u64::from(symbol));
        end.append(buffer, entry >> 8, (entry & 255) as u32);
    }
}

/// The end of the output, separate from its buffer so that an inner loop keeps it in registers.
#[derive(Clone, Copy, Default)]
struct End {
    /// Whole bytes written.
    at: usize,
    pending: u64,
    /// Bits in `pending`; below 8 after a flush.
    pending_bits: u32,
}

impl End {
    /// Appends up to 56 bits, and moves whole bytes to the buffer.
    #[inline(always)]
    fn append(&mut self, buffer: &mut [u8], bits: u64, len: u32) {
        self.pending |= bits << self.pending_bits;
        self.pending_bits += len;
        let room = buffer[self.at..].first_chunk_mut().expect("the buffer has room for all symbols");
        *room = self.pending.to_le_bytes();
        self.at += (self.pending_bits / 8) as usize;
        self.pending >>= self.pending_bits & 56;
        self.pending_bits &= 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::payload::code::Code;
    use crate::codec::simd::{Kernel, Portable, each};

    struct Put<'a>(&'a Codebook, &'a [u16]);

    impl Kernel for Put<'_> {
        type Output = Vec<u8>;

        #[inline(always)]
        fn run<V: Vectors>(self, vectors: V) -> Vec<u8> {
            let mut writer = BitWriter::new(self.1.len());
            // In two parts, so that the second begins inside a byte.
            let (some, rest) = self.1.split_at(37);
            writer.put(vectors, self.0, some);
            writer.put(vectors, self.0, rest);
            writer.finish().to_vec()
        }
    }

    #[test]
    fn all_processors_write_the_same_codes() {
        // Alphabets around the size that fits vectors. Steep weights give codes from one bit to many bits.
        for (size, steepness) in [(1, 0), (9, 1), (64, 3), (127, 0), (127, 9), (128, 0), (300, 12)] {
            let weights: Vec<u64> = (0..size).map(|i| 1 + (1 << 40 >> (i * steepness / 4).min(40))).collect();
            for (open, every) in
                [(false, usize::MAX), (true, usize::MAX), (true, 3), (true, 41), (true, 1000)]
            {
                let mut code = Code::for_counts(&weights, 10, 12, open).unwrap();
                code.first += 100;
                let book = Codebook::new(&code, 10);
                let coded: Vec<u16> = (0..code.lengths.len() as u16)
                    .filter(|&i| code.is_single() || code.lengths[usize::from(i)] > 0)
                    .map(|i| code.first + i)
                    .collect();
                let symbol = |i: usize| match i % every {
                    0 if i > 0 && code.escape > 0 => [0, 99, 1023, 600][i / every % 4],
                    _ => coded[(i.wrapping_mul(2_654_435_761) % (1 << 20)) * coded.len() / (1 << 20)],
                };
                let symbols: Vec<u16> = (0..3000).map(symbol).collect();
                let expected = Put(&book, &symbols).run(Portable);
                assert!(each(|| Put(&book, &symbols)).iter().all(|coded| *coded == expected));
            }
        }
    }
}
