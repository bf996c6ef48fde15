//! Reading the streams of several lanes side by side, so that their look-ups do not wait for each other.

use super::counts::Exponents;
use super::symbol::Differences;
use super::unit::Unit;
use crate::codec::payload::delta_head::{CONTEXTS, symbols_of};
use crate::codec::payload::frequencies::{ESCAPED_BITS, Frequencies, STATES, State};
use crate::codec::payload::grid::MAX_TILE_COLS;
use crate::codec::simd::window::window as next_bits;
use crate::codec::simd::{Kernel, Vectors};

/// Lanes that are read side by side.
pub(crate) const SIDE_BY_SIDE: usize = 4;

/// What is done in each state of each context.
pub(crate) type Tables = Box<[[Entry; STATES]; CONTEXTS]>;

/// What is done in a state, in eight bytes: the tables of all contexts fit a first-level cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// The least difference of the symbol.
    least: i32,
    /// The next state without the bits that are read, and how many these are.
    next: u8,
    bits: u8,
    /// Bits behind the symbol; [`ESCAPE`] or [`NOTHING`] if the state has no symbol.
    more_bits: u8,
    /// All bits of the symbol.
    all_bits: u8,
}

/// The symbol itself follows.
const ESCAPE: u8 = 64;

/// No encoder comes to the state, because nothing occurs in its context.
const NOTHING: u8 = 65;

const _: () = assert!(size_of::<Entry>() == 8);

/// The tables of the contexts with these frequencies.
pub(crate) fn tables(frequencies: &[Frequencies]) -> Tables {
    let nothing = Entry { least: 0, next: 0, bits: 0, more_bits: NOTHING, all_bits: 0 };
    let mut tables = Box::new([[nothing; STATES]; CONTEXTS]);
    for (table, frequencies) in tables.iter_mut().zip(frequencies).filter(|(_, f)| !f.is_empty()) {
        *table = frequencies.states().map(|State { symbol, bits, next }| {
            if usize::from(symbol) == frequencies.symbols.len() {
                return Entry { least: 0, next, bits, more_bits: ESCAPE, all_bits: bits };
            }
            let Differences { least, more_bits } = Differences::of(symbol);
            let more_bits = more_bits as u8;
            Entry { least, next, bits, more_bits, all_bits: bits + more_bits }
        });
    }
    tables
}

/// A lane that is being read.
pub(crate) struct Lane<U> {
    /// The base's elements; the tensor's once they were read.
    pub units: [U; MAX_TILE_COLS],
    contexts: [u8; MAX_TILE_COLS],
    steps: [i32; MAX_TILE_COLS],
    /// The next bit of the stream, and the state before it.
    pub at: usize,
    pub state: u8,
    /// Whether something was read that no encoder writes.
    pub is_wrong: bool,
}

impl<U: Unit> Default for Lane<U> {
    fn default() -> Self {
        let (contexts, steps) = ([0; MAX_TILE_COLS], [0; MAX_TILE_COLS]);
        Self { units: [U::default(); MAX_TILE_COLS], contexts, steps, at: 0, state: 0, is_wrong: false }
    }
}

/// Reads as many elements in each lane as its base has, and adds them to the base's.
pub(crate) struct ReadLanes<'a, U> {
    /// What the streams are in.
    pub bytes: &'a [u8],
    pub tables: &'a Tables,
    pub exponents: Exponents,
    /// As in [`Contexts`](crate::codec::payload::delta_head::Contexts).
    pub top: u8,
    /// The base's bytes of each lane, which are equally many.
    pub bases: [&'a [u8]; SIDE_BY_SIDE],
    pub lanes: &'a mut [Lane<U>; SIDE_BY_SIDE],
}

impl<U: Unit> Kernel for ReadLanes<'_, U> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) {
        let cols = self.bases[0].len() / size_of::<U>();
        for (lane, base) in self.lanes.iter_mut().zip(self.bases) {
            let units = lane.units[..cols].iter_mut().zip(&mut lane.contexts[..cols]);
            for ((unit, context), base) in units.zip(base.chunks_exact(size_of::<U>())) {
                *unit = U::read(base);
                *context = self.exponents.context(self.top, *unit);
            }
        }
        read(self.bytes, self.tables, self.lanes, cols);
        for lane in self.lanes {
            let steps = &lane.steps[..cols];
            lane.units[..cols].iter_mut().zip(steps).for_each(|(unit, &steps)| *unit = unit.plus(steps));
        }
    }
}

/// Reads `cols` differences in each lane.
#[inline(always)]
fn read<U: Unit>(bytes: &[u8], tables: &Tables, lanes: &mut [Lane<U>; SIDE_BY_SIDE], cols: usize) {
    // Elements whose bits a window has, whatever they are, if no symbol is escaped.
    let each = if U::BITS <= 16 { 2 } else { 1 };
    let mut at: [usize; SIDE_BY_SIDE] = std::array::from_fn(|i| lanes[i].at);
    let mut states: [u8; SIDE_BY_SIDE] = std::array::from_fn(|i| lanes[i].state);
    for first in (0..cols).step_by(each) {
        let mut windows: [u64; SIDE_BY_SIDE] = std::array::from_fn(|i| next_bits(bytes, at[i]));
        for col in first..(first + each).min(cols) {
            for i in 0..SIDE_BY_SIDE {
                let lane = &mut lanes[i];
                let entry = tables[usize::from(lane.contexts[col]) % CONTEXTS][usize::from(states[i])];
                let window = windows[i];
                states[i] = entry.next.wrapping_add((window & ((1 << entry.bits) - 1)) as u8);
                let behind = window >> entry.bits;
                at[i] += usize::from(entry.all_bits);
                if entry.more_bits >= ESCAPE {
                    (lane.steps[col], at[i]) = escaped(lane, behind, at[i], entry.more_bits == ESCAPE);
                    windows[i] = next_bits(bytes, at[i]);
                    continue;
                }
                lane.steps[col] = entry.least.wrapping_add((behind & ((1 << entry.more_bits) - 1)) as i32);
                windows[i] = behind >> entry.more_bits;
            }
        }
    }
    for (i, lane) in lanes.iter_mut().enumerate() {
        (lane.at, lane.state) = (at[i], states[i]);
    }
}

/// The difference whose symbol is at the beginning of `window`, behind an escape if it `is_there`, and the
/// bit behind it.
#[cold]
fn escaped<U: Unit>(lane: &mut Lane<U>, window: u64, at: usize, is_there: bool) -> (i32, usize) {
    let index = window as u16 & ((1 << ESCAPED_BITS) - 1);
    let is_right = is_there && usize::from(index) < symbols_of(U::BITS);
    lane.is_wrong |= !is_right;
    let differences = Differences::of(if is_right { index } else { 0 });
    let more = (window >> ESCAPED_BITS) & ((1 << differences.more_bits) - 1);
    (differences.least.wrapping_add(more as i32), at + (ESCAPED_BITS + differences.more_bits) as usize)
}
