//! Writing the streams of lanes, two side by side, so that a look-up of the one does not wait for the
//! other's.

use super::counts::Exponents;
use super::lane_bits::LaneBits;
use super::symbol::Symbol;
use super::unit::Unit;
use crate::codec::entropy::tans::Table;
use crate::codec::payload::delta_head::symbols_of;
use crate::codec::payload::frequencies::ESCAPED_BITS;
use crate::codec::payload::grid::MAX_TILE_COLS;
use crate::codec::simd::{Kernel, Vectors};

/// Lanes that are written side by side.
pub(crate) const SIDE_BY_SIDE: usize = 2;

/// What all lanes are written with.
#[derive(Clone, Copy)]
pub(crate) struct Coder<'a> {
    /// Of each context.
    pub tables: &'a [Table],
    pub exponents: Exponents,
    /// As in [`Contexts`](crate::codec::payload::delta_head::Contexts).
    pub top: u8,
}

/// A lane that is being written.
pub(crate) struct Lane {
    steps: [i32; MAX_TILE_COLS],
    contexts: [u8; MAX_TILE_COLS],
    pub bits: LaneBits,
    /// The state before the first element.
    pub state: u8,
}

impl Default for Lane {
    fn default() -> Self {
        let (steps, contexts) = ([0; MAX_TILE_COLS], [0; MAX_TILE_COLS]);
        Self { steps, contexts, bits: LaneBits::new(), state: 0 }
    }
}

/// Writes the differences of lanes to their bases, as many in each.
pub(crate) struct WriteLanes<'a, U> {
    pub coder: &'a Coder<'a>,
    pub new: [&'a [U]; SIDE_BY_SIDE],
    pub base: [&'a [U]; SIDE_BY_SIDE],
    pub lanes: &'a mut [Lane; SIDE_BY_SIDE],
}

impl<U: Unit> Kernel for WriteLanes<'_, U> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) {
        let Self { coder, new, base, lanes } = self;
        for (lane, (new, base)) in lanes.iter_mut().zip(new.into_iter().zip(base)) {
            for ((step, &new), &base) in lane.steps.iter_mut().zip(new).zip(base) {
                *step = new.minus(base);
            }
            for (context, &base) in lane.contexts.iter_mut().zip(base) {
                *context = coder.exponents.context(coder.top, base);
            }
            lane.bits.clear();
        }
        let mut states = [0; SIDE_BY_SIDE];
        for col in (0..new[0].len()).rev() {
            for (lane, state) in lanes.iter_mut().zip(&mut states) {
                let table = &coder.tables[usize::from(lane.contexts[col])];
                put_before::<U>(lane.steps[col], table, state, &mut lane.bits);
            }
        }
        lanes.iter_mut().zip(states).for_each(|(lane, state)| lane.state = state);
    }
}

/// Puts a difference before those behind it.
#[inline(always)]
fn put_before<U: Unit>(step: i32, table: &Table, state: &mut u8, bits: &mut LaneBits) {
    let Symbol { index, mut more, mut more_bits } = Symbol::of(step);
    let mut index = usize::from(index);
    if !table.has(index) {
        // A symbol and the bits behind it may be too many for one number.
        bits.put_before(more, more_bits);
        (more, more_bits) = (index as u32, ESCAPED_BITS);
        index = symbols_of(U::BITS);
    }
    let (written, count) = table.before(index, state);
    if U::BITS <= 16 {
        bits.put_before(more << count | written, more_bits + count);
    } else {
        bits.put_before(more, more_bits);
        bits.put_before(written, count);
    }
}
