//! Writing the bit streams of symbols.

use std::sync::OnceLock;

use super::huffman::{Code, MAX_CODE_BITS};
use crate::codec::payload::split::ALPHABET;
use crate::codec::simd::Vectors;

/// Most bits that are appended at once: fewer than eight may wait for a byte to be full.
pub(crate) const APPEND_BITS: u64 = 56;

/// Most bits that one symbol can take: an escape, and the symbol itself.
const MAX_SYMBOL_LEN: usize = 2 * MAX_CODE_BITS as usize;

/// Symbols whose codes are joined before they are appended.
pub(crate) const JOINED: usize = 32;

/// Symbols that are looked up in pairs together.
const PAIRED: usize = 64;

/// Symbols that a [`SmallBook`] has room for, and the entry for all others.
pub(crate) const SMALL: usize = 128;

/// What a writer looks up: `bits << 8 | length` by symbol.
pub(crate) struct Codebook {
    entries: Box<[u32; ALPHABET]>,
    /// Where the alphabet is small, as most are.
    small: Option<Box<SmallBook>>,
    /// Made of that where it is needed.
    pairs: OnceLock<PairBook>,
}

/// The codes of a small alphabet, which vectors can hold.
pub(crate) struct SmallBook {
    /// The symbol that the first entry belongs to.
    pub first: u16,
    /// `length << 12 | bits` for a code, [`SmallBook::ESCAPED`] for what has none. The last entry
    /// stands for all symbols beyond.
    pub entries: [u16; SMALL],
}

impl SmallBook {
    /// What is no code: lengths are 12 at the most.
    pub const ESCAPED: u16 = 0xf000;

    fn new(code: &Code, codes: &[u16]) -> Option<Self> {
        let mut entries = [Self::ESCAPED; SMALL];
        for ((entry, &bits), &len) in entries[..SMALL - 1].iter_mut().zip(codes).zip(&code.lengths) {
            if len > 0 || code.is_single() {
                *entry = u16::from(len) << MAX_CODE_BITS | bits;
            }
        }
        (code.lengths.len() < SMALL).then_some(Self { first: code.first, entries })
    }
}

/// The codes of any two symbols of a small alphabet, one after the other: `bits << 8 | length` by both of them,
/// and [`PairBook::ESCAPED`] where one has none.
struct PairBook(Box<[u32; SMALL * SMALL]>);

impl PairBook {
    /// What is no length.
    const ESCAPED: u32 = 0x80;

    fn new(book: &SmallBook) -> Self {
        let mut pairs = Box::new([Self::ESCAPED; SMALL * SMALL]);
        let code = |entry: u16| {
            let bits = u32::from(entry) & ((1 << MAX_CODE_BITS) - 1);
            (entry < SmallBook::ESCAPED).then_some((bits, u32::from(entry >> MAX_CODE_BITS)))
        };
        for (pairs, &second) in pairs.chunks_exact_mut(SMALL).zip(&book.entries) {
            let Some((second, second_len)) = code(second) else { continue };
            for (pair, &first) in pairs.iter_mut().zip(&book.entries) {
                if let Some((first, len)) = code(first) {
                    *pair = (first | second << len) << 8 | (len + second_len);
                }
            }
        }
        Self(pairs)
    }
}

impl Codebook {
    pub fn new(code: &Code, symbol_bits: u32) -> Self {
        let codes = code.codes();
        let escape = u32::from(codes[code.lengths.len()]);
        let escape_len = u32::from(code.escape);
        let mut entries = Box::new([0; ALPHABET]);
        for (symbol, entry) in entries.iter_mut().enumerate().take(1 << symbol_bits) {
            *entry = (escape | (symbol as u32) << escape_len) << 8 | (escape_len + symbol_bits);
        }
        for ((entry, &bits), &len) in
            entries[usize::from(code.first)..].iter_mut().zip(&codes).zip(&code.lengths)
        {
            if len > 0 || code.is_single() {
                *entry = u32::from(bits) << 8 | u32::from(len);
            }
        }
        Self { entries, small: SmallBook::new(code, &codes).map(Box::new), pairs: OnceLock::new() }
    }
}

/// The codes of [`JOINED`] symbols, those of neighbours joined to one number.
#[repr(align(64))]
pub(crate) struct Joined {
    /// Of each piece its bits.
    pub bits: [u64; JOINED / 4],
    /// And how many they are.
    pub lens: [u64; JOINED / 4],
    /// Whether there is a piece for every eight symbols, at the even places, or else one for every four.
    pub eights: bool,
    /// Bit `i` for each symbol that has no code. A piece with such a symbol is of no meaning.
    pub escaped: u32,
}

/// Writes codes into a buffer, low bits first.
pub(crate) struct BitWriter {
    buffer: Vec<u8>,
    end: End,
}

impl BitWriter {
    /// A writer for at most so many symbols at a time.
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
                    let pairs = book.pairs.get_or_init(|| PairBook::new(small));
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

/// Appends `symbols`, whose codes were joined.
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

/// Appends the codes of `symbols`, looked up two by two, and returns those that are left at the end.
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
        // All of them first: numbers that were stored as vectors are not there at once for those who read them singly.
        let twos = places_of_pairs(part, first);
        for (eight, twos) in part.as_chunks::<8>().0.iter().zip(twos.as_chunks::<4>().0) {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| u64::from(pairs.0[twos[i] as usize % (SMALL * SMALL)]));
            // The low byte of a sum of two entries is the sum of their lengths, and shifts look at its low six
            // bits only.
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

/// Where a [`PairBook`] has each two symbols.
#[inline(always)]
fn places_of_pairs(symbols: &[u16; PAIRED], first: u16) -> [u32; PAIRED / 2] {
    let mut places = [0; PAIRED];
    for (place, symbol) in places.iter_mut().zip(symbols) {
        *place = symbol.wrapping_sub(first).min(SMALL as u16 - 1).to_le();
    }
    let mut twos: [u32; PAIRED / 2] = bytemuck::cast(places);
    for two in &mut twos {
        // Side by side, they become one.
        let both = u32::from_le(*two);
        *two = (both | both >> (16 - SMALL.ilog2())) & (SMALL * SMALL - 1) as u32;
    }
    twos
}

/// Appends the codes of `symbols`, looked up one by one.
#[inline(always)]
fn put_each(end: &mut End, buffer: &mut [u8], book: &Codebook, symbols: &[u16]) {
    let entry = |symbol: u64| u64::from(book.entries[symbol as usize % ALPHABET]);
    // In pairs, so that not every shift waits for the one before. The low byte of a sum of
    // entries is the sum of their lengths, and shifts look at its low six bits only.
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

/// A writer's end, apart from its buffer: in an inner loop it is in registers.
#[derive(Clone, Copy, Default)]
struct End {
    /// Whole bytes written.
    at: usize,
    pending: u64,
    /// Bits in `pending`; below 8 after a flush.
    pending_bits: u32,
}

impl End {
    /// Adds up to 56 bits, and moves whole bytes to the buffer.
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
