//! Reading the bit streams of symbols, several symbols at a time.

use super::grid::MAX_TILE_COLS;
use super::huffman::{Code, TABLE_LEN};
use super::split::MAX_SYMBOL_BITS;

/// Streams that are read side by side: their look-ups do not wait for each other.
pub(super) const INTERLEAVED: usize = 4;

/// Symbols that one look-up yields at the most.
const AT_ONCE: usize = 3;

/// Symbols of one lane of a tile, with room for what a look-up writes past the last. So much room
/// that a remainder by the length shows the compiler that an index is inside.
pub(super) type Symbols = [u16; SYMBOLS_LEN + 4];

const SYMBOLS_LEN: usize = 2 * MAX_TILE_COLS;

/// No symbols yet.
pub(super) const NO_SYMBOLS: Symbols = [0; SYMBOLS_LEN + 4];

/// What a reader looks up.
pub(super) struct PeekTable {
    /// For every window of the longest code's bits: 8 bits with the bits taken, 8 with the number of
    /// symbols, and then up to [`AT_ONCE`] symbols, 12 bits each and 4 with the length of its code.
    /// 0 if the first is an escape.
    entries: Box<[u64; TABLE_LEN]>,
    /// Low bits of a window that are looked at: those of the longest code.
    mask: u64,
    /// Length of the escape's code.
    escape: u32,
    symbol_bits: u32,
    /// Whether the alphabet is a single symbol, which takes no bits.
    single: Option<u16>,
}

impl PeekTable {
    pub fn new(code: &Code, symbol_bits: u32) -> Self {
        let known = code.peek_table();
        let bits = code.longest();
        let mut entries = Box::new([0; TABLE_LEN]);
        if !code.is_single() {
            for (window, entry) in entries.iter_mut().enumerate().take(1 << bits) {
                *entry = entry_of(&known, window, bits);
            }
        }
        let single = code.is_single().then_some(code.first);
        Self { entries, mask: (1 << bits) - 1, escape: u32::from(code.escape), symbol_bits, single }
    }

    /// Reads `count` symbols of each of four streams that start at the bits `at`, and moves `at` to
    /// where they end. Reads zeros past the end of `bytes`, so any `at` is safe.
    ///
    /// Above the 12 bits of a symbol, what was read has the length of its code.
    #[inline(always)]
    pub fn read(
        &self,
        bytes: &[u8],
        at: &mut [usize; INTERLEAVED],
        count: usize,
        symbols: &mut [Symbols; INTERLEAVED],
    ) {
        if let Some(symbol) = self.single {
            symbols.iter_mut().for_each(|symbols| symbols[..count].fill(symbol));
            return;
        }
        let mut done = [0; INTERLEAVED];
        if self.mask < 1 << 11 {
            self.read_side_by_side::<5, INTERLEAVED>(bytes, at, count, &mut done, symbols);
        } else {
            self.read_side_by_side::<4, INTERLEAVED>(bytes, at, count, &mut done, symbols);
        }
        // Closer to the end, in smaller steps; and then each for itself.
        self.read_side_by_side::<1, INTERLEAVED>(bytes, at, count, &mut done, symbols);
        for i in 0..INTERLEAVED {
            let alone = |array: &mut [usize; INTERLEAVED]| [array[i]];
            let (mut one_at, mut one_done) = (alone(at), alone(&mut done));
            let one = symbols[i..].first_chunk_mut::<1>().expect("a lane");
            self.read_side_by_side::<2, 1>(bytes, &mut one_at, count, &mut one_done, one);
            at[i] = one_at[0];
            self.read_one_by_one(bytes, &mut at[i], &mut symbols[i][one_done[0]..count]);
        }
    }

    /// Reads on while no stream can come to its end, `STEPS` look-ups from each window.
    #[inline(always)]
    fn read_side_by_side<const STEPS: usize, const LANES: usize>(
        &self,
        bytes: &[u8],
        at: &mut [usize; LANES],
        count: usize,
        done: &mut [usize; LANES],
        symbols: &mut [Symbols; LANES],
    ) {
        let most = STEPS * AT_ONCE;
        while done.iter().all(|done| done + most <= count) {
            let mut windows = [0; LANES];
            for i in 0..LANES {
                // The mark above the bits that are looked at shows how far they were shifted.
                windows[i] = window(bytes, at[i]) | 1 << 63;
            }
            let mut stuck = false;
            for step in 0..STEPS {
                for i in 0..LANES {
                    let entry = self.entries[(windows[i] & self.mask) as usize % TABLE_LEN];
                    // First what the next look-up waits for.
                    windows[i] >>= entry & 63;
                    let four: [u16; 4] = std::array::from_fn(|k| ((entry >> 16) >> (16 * k)) as u16);
                    let to = done[i] % SYMBOLS_LEN;
                    symbols[i][to..to + 4].copy_from_slice(&four);
                    done[i] += (entry >> 8) as usize & 255;
                    stuck |= step + 1 == STEPS && entry == 0;
                }
            }
            for i in 0..LANES {
                at[i] += windows[i].leading_zeros() as usize;
            }
            // After an escape look-ups stand still.
            if stuck {
                for i in 0..LANES {
                    let next = self.entries[(window(bytes, at[i]) & self.mask) as usize % TABLE_LEN];
                    // What follows a stream that came to its end is not its own.
                    if next == 0 && done[i] < count {
                        self.read_one_by_one(bytes, &mut at[i], &mut symbols[i][done[i]..=done[i]]);
                        done[i] += 1;
                    }
                }
            }
        }
    }

    /// Fills `symbols` from the stream at bit `at`.
    #[inline(always)]
    fn read_one_by_one(&self, bytes: &[u8], at: &mut usize, symbols: &mut [u16]) {
        for some in symbols.chunks_mut(2) {
            let mut window = window(bytes, *at);
            for symbol in some {
                let entry = self.entries[(window & self.mask) as usize % TABLE_LEN];
                *symbol = (entry >> 16) as u16;
                let mut len = u32::from(*symbol >> MAX_SYMBOL_BITS);
                if entry == 0 {
                    *symbol = (window >> self.escape) as u16 & ((1 << self.symbol_bits) - 1);
                    len = self.escape + self.symbol_bits;
                }
                window >>= len;
                *at += len as usize;
            }
        }
    }
}

/// The symbols that the lowest `bits` bits of `window` hold whole.
fn entry_of(known: &[(Option<u16>, u8)], window: usize, bits: u32) -> u64 {
    let (mut symbols, mut count, mut used) = (0, 0, 0);
    while count < AT_ONCE {
        let (symbol, len) = known[(window >> used) % TABLE_LEN];
        let Some(symbol) = symbol.filter(|_| used + u32::from(len) <= bits) else { break };
        symbols |= u64::from(symbol | u16::from(len) << MAX_SYMBOL_BITS) << (16 * count);
        used += u32::from(len);
        count += 1;
    }
    symbols << 16 | (count as u64) << 8 | u64::from(used)
}

/// At least 57 bits from bit `at` on: eight bytes, less the bits before.
#[inline(always)]
fn window(bytes: &[u8], at: usize) -> u64 {
    let word = match bytes.get(at / 8..).and_then(|rest| rest.first_chunk()) {
        Some(eight) => u64::from_le_bytes(*eight),
        None => last_word(bytes, at / 8),
    };
    word >> (at % 8)
}

/// What is left of `bytes` from `at` on, less than eight of them, and zeros.
#[cold]
fn last_word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    let rest = bytes.get(at..).unwrap_or_default();
    word[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::super::bit_writer::{BitWriter, Codebook};
    use super::super::vector::Portable;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn streams_come_back_and_end_where_they_ended(
            weights in prop::collection::vec(1u64..50_000, 1..80),
            picks in prop::collection::vec(any::<u16>(), 4 * 90),
            open: bool,
            cols in 1usize..90,
        ) {
            let symbol_bits = 8;
            let code = Code::for_counts(&weights, symbol_bits, 11, open).unwrap();
            let escaped = |pick: u16| code.escape > 0 && pick.is_multiple_of(7);
            let symbols: Vec<u16> = picks
                .iter()
                .map(|&p| if escaped(p) { p >> 8 } else { code.first + p % code.lengths.len() as u16 })
                .collect();
            let missing = |s: &u16| code.escape == 0 && code.lengths[usize::from(s - code.first)] == 0;
            prop_assume!(code.is_single() || !symbols.iter().any(missing));
            let book = Codebook::new(&code, symbol_bits);
            let mut writer = BitWriter::new(symbols.len());
            let mut ends = [0; 4];
            for (end, lane) in ends.iter_mut().zip(symbols.chunks(90)) {
                writer.put(Portable, &book, &lane[..cols]);
                *end = writer.len();
            }
            let bytes = writer.finish().to_vec();
            let table = PeekTable::new(&code, symbol_bits);
            let mut at = [0, ends[0], ends[1], ends[2]];
            let mut read = [NO_SYMBOLS; 4];
            table.read(&bytes, &mut at, cols, &mut read);
            prop_assert_eq!(at, ends);
            for (read, lane) in read.iter().zip(symbols.chunks(90)) {
                let read: Vec<u16> = read[..cols].iter().map(|symbol| symbol & ((1 << MAX_SYMBOL_BITS) - 1)).collect();
                prop_assert_eq!(&read[..], &lane[..cols]);
            }
        }
    }
}
