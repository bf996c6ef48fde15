//! Reading the streams of several lanes side by side, so that their look-ups do not wait for each other.
//!
//! The loop has no bounds checks, because the bounds are known beforehand: how far streams can advance in a
//! number of steps, and how many symbols and bits a table entry can have.

use crate::codec::payload::code::{Code, MAX_CODE_BITS, TABLE_LEN};
use crate::codec::payload::grid::MAX_TILE_COLS;
use crate::codec::payload::split::MAX_SYMBOL_BITS;

/// Streams that are read side by side.
pub(crate) const INTERLEAVED: usize = 4;

/// Maximum symbols of one look-up.
const AT_ONCE: usize = 3;

/// Symbols of one lane of a tile, with room for what a faster stream yields while others catch up, and for
/// what a look-up writes past its last symbol.
pub(crate) type Symbols = [u16; SYMBOLS_LEN + 4];

const SYMBOLS_LEN: usize = 2 * MAX_TILE_COLS;

/// An empty array of symbols.
pub(crate) const NO_SYMBOLS: Symbols = [0; SYMBOLS_LEN + 4];

/// Bits of a window that are looked up: usually, and for longer codes.
pub(crate) const NARROW: u32 = 11;
pub(crate) const WIDE: u32 = MAX_CODE_BITS;

/// For every window, the symbols that it begins with.
pub(crate) struct Entries {
    /// 8 bits with the number of bits consumed, at most `bits`; 8 bits with the number of symbols, at most
    /// [`AT_ONCE`]; then the symbols, each 12 bits and 4 with its code length. 0 if the first is an escape.
    entries: Box<[u64; TABLE_LEN]>,
    /// [`NARROW`] or [`WIDE`].
    bits: u32,
}

/// Whether [`Entries::read`] can read streams that begin at the bits `at`.
pub(crate) fn can_read(bytes: &[u8], at: &[usize; INTERLEAVED]) -> bool {
    let last = at.iter().max().map_or(0, |&bit| bit / 8);
    last.saturating_add(SYMBOLS_LEN * WIDE as usize / 8 + size_of::<u64>()) <= bytes.len()
}

impl Entries {
    pub fn new(code: &Code) -> Self {
        let known = code.peek_table();
        let bits = if code.longest() <= NARROW { NARROW } else { WIDE };
        let mut entries = Box::new([0; TABLE_LEN]);
        if !code.is_single() {
            for (window, entry) in entries.iter_mut().enumerate().take(1 << bits) {
                *entry = entry_of(&known, window, bits);
            }
        }
        Self { entries, bits }
    }

    /// Bits of a window that are looked up.
    #[inline(always)]
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The entry for the lowest bits of `window`.
    #[inline(always)]
    pub fn of(&self, window: u64) -> u64 {
        self.entries[(window & ((1 << self.bits) - 1)) as usize % TABLE_LEN]
    }

    /// Continues at the bits `at` until each stream has `count` symbols, or one with fewer reaches an escape,
    /// where its look-ups stop. Streams that have `count` are read on with the others. `done` counts their
    /// symbols, and advances like `at`.
    ///
    /// A window has enough bits for `STEPS` look-ups of `BITS` bits.
    ///
    /// # Panics
    /// If streams do not satisfy [`can_read`], or if `BITS` is not [`Entries::bits`].
    #[inline(always)]
    pub fn read<const BITS: u32, const STEPS: usize>(
        &self,
        bytes: &[u8],
        at: &mut [usize; INTERLEAVED],
        count: usize,
        done: &mut [usize; INTERLEAVED],
        symbols: &mut [Symbols; INTERLEAVED],
    ) {
        // Minimum bits of a window, after eight bytes are shifted down to its first bit.
        const { assert!(STEPS as u32 * BITS <= 57 && BITS <= WIDE) };
        assert!(can_read(bytes, at) && BITS == self.bits, "streams leave the payload");
        let most = STEPS * AT_ONCE;
        let mut stuck = false;
        while !stuck
            && done.iter().any(|&done| done < count)
            && done.iter().all(|&done| done <= SYMBOLS_LEN - most)
        {
            let mut windows = [0; INTERLEAVED];
            for i in 0..INTERLEAVED {
                // SAFETY: since the stream was last found to stay inside, it has consumed at most the longest
                // codes of as many symbols as there is room for.
                let eight = unsafe { eight_bytes(bytes, at[i] / 8) };
                // The bit set above the bits in use shows how far the window was shifted.
                windows[i] = eight >> (at[i] % 8) | 1 << 63;
            }
            for step in 0..STEPS {
                for i in 0..INTERLEAVED {
                    let entry = self.entries[(windows[i] & ((1 << BITS) - 1)) as usize];
                    // First, because the next look-up waits for it.
                    windows[i] >>= entry & 63;
                    // SAFETY: each look-up of this round adds at most `AT_ONCE` symbols. There was room for
                    // those of all look-ups, and behind that for four more.
                    unsafe { put_four(&mut symbols[i], done[i], entry >> 16) };
                    done[i] += (entry >> 8) as usize & 255;
                    stuck |= step + 1 == STEPS && entry == 0 && done[i] < count;
                }
            }
            for i in 0..INTERLEAVED {
                at[i] += windows[i].leading_zeros() as usize;
            }
        }
    }
}

/// The eight bytes at `at`.
///
/// # Safety
/// They must lie inside `bytes`.
#[inline(always)]
unsafe fn eight_bytes(bytes: &[u8], at: usize) -> u64 {
    debug_assert!(at + size_of::<u64>() <= bytes.len());
    // SAFETY: by the caller's promise; the load needs no alignment.
    u64::from_le(unsafe { bytes.as_ptr().add(at).cast::<u64>().read_unaligned() })
}

/// Writes four symbols, 16 bits each, at `at`.
///
/// # Safety
/// There must be room for them.
#[inline(always)]
unsafe fn put_four(symbols: &mut Symbols, at: usize, four: u64) {
    debug_assert!(at + 4 <= symbols.len());
    let four: [u16; 4] = std::array::from_fn(|i| (four >> (16 * i)) as u16);
    // SAFETY: by the caller's promise.
    unsafe { symbols.as_mut_ptr().add(at).cast::<[u16; 4]>().write(four) };
}

/// The symbols that are complete in the lowest `bits` bits of `window`.
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
