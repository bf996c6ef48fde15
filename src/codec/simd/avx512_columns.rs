//! Columns of symbols with AVX-512: 64 streams, each in a vector element of its own.
//!
//! The twin of [`columns`](super::columns), which documents the functions.

use std::arch::x86_64::*;

use super::columns::{Column, Columns, Join, Rows, read_escaped, stay_inside};
use super::peek::{PeekLevel, PeekLevels};
use crate::codec::payload::grid::LANES;

/// Streams whose symbols fill a register.
const HALF: usize = LANES / 2;

/// Minimum bits in a window after it is filled.
const WINDOW_BITS: u32 = 57;

/// A level in registers.
#[derive(Clone, Copy)]
struct Table {
    start: __m512i,
    shift: __m128i,
    entries: [__m512i; 2],
}

impl Table {
    #[target_feature(enable = "avx512f,avx512bw")]
    fn new(level: &PeekLevel) -> Self {
        let [low, high] = level.entries.as_chunks::<HALF>().0 else { unreachable!("64 entries") };
        let (start, shift) =
            (_mm512_set1_epi16(level.start as i16), _mm_cvtsi32_si128(i32::from(level.shift)));
        Self { start, shift, entries: [load(low), load(high)] }
    }
}

/// The next bits of half of the streams, first bit highest: upper and lower words of the even lanes and of
/// the odd lanes. So 16 bits of each can be placed side by side without moving across registers.
#[derive(Clone, Copy)]
struct Windows {
    upper: [__m512i; 2],
    lower: [__m512i; 2],
    /// Number of bits consumed, in 16-bit elements.
    taken: __m512i,
}

/// [`columns::read`](super::columns::read).
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,gfni")]
pub fn read(levels: &PeekLevels, bytes: &[u8], at: &mut [u32; LANES], columns: &mut [Column]) {
    match &levels.levels[..] {
        [] => read_through(levels, [], bytes, at, columns),
        [a] => read_through(levels, [a].map(|level| Table::new(level)), bytes, at, columns),
        [a, b] => read_through(levels, [a, b].map(|level| Table::new(level)), bytes, at, columns),
        [a, b, c] => read_through(levels, [a, b, c].map(|level| Table::new(level)), bytes, at, columns),
        [a, b, c, d] => read_through(levels, [a, b, c, d].map(|level| Table::new(level)), bytes, at, columns),
        _ => unreachable!("at most four levels"),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,gfni")]
fn read_through<const N: usize>(
    levels: &PeekLevels,
    tables: [Table; N],
    bytes: &[u8],
    at: &mut [u32; LANES],
    columns: &mut [Column],
) {
    assert!(stay_inside(bytes, at, columns.len()), "streams leave the payload");
    assert!(N > 0 || levels.windows.len() > 1 << levels.longest, "a window without an entry");
    let sure_steps = (WINDOW_BITS / levels.longest) as usize;
    let last_start = WINDOW_BITS - levels.longest;
    let mut done = 0;
    while done < columns.len() {
        let [low, high] = at.as_chunks::<HALF>().0 else { unreachable!("64 lanes") };
        // SAFETY: no stream has consumed more than the maximum bits of `done` symbols, and the check for all
        // of `columns` covers eight bytes from there.
        let mut halves = unsafe { [fill(bytes, low), fill(bytes, high)] };
        let mut escaped = 0;
        for (step, column) in columns[done..].iter_mut().enumerate() {
            let [low, high] = &mut halves;
            // Codes are usually short, so windows last longer than guaranteed.
            if step >= sure_steps {
                let most = _mm512_max_epu16(low.taken, high.taken);
                if _mm512_cmpgt_epu16_mask(most, _mm512_set1_epi16(last_start as i16)) != 0 {
                    break;
                }
            }
            // SAFETY: without levels, every window of that length has an entry, as checked above.
            let entries = unsafe { [low.take(&tables, levels), high.take(&tables, levels)] };
            let [low, high] = column.as_chunks_mut::<HALF>().0 else { unreachable!("64 lanes") };
            store(low, entries[0]);
            store(high, entries[1]);
            done += 1;
            let least = _mm512_min_epu16(entries[0], entries[1]);
            if _mm512_testn_epi16_mask(least, least) != 0 {
                let none = entries.map(|entries| u64::from(_mm512_testn_epi16_mask(entries, entries)));
                escaped = none[0] | none[1] << HALF;
                break;
            }
        }
        for (half, at) in halves.iter().zip(at.as_chunks_mut::<HALF>().0) {
            half.advance(at);
        }
        while escaped != 0 {
            let lane = escaped.trailing_zeros() as usize;
            columns[done - 1][lane] = read_escaped(levels, bytes, &mut at[lane]);
            escaped &= escaped - 1;
        }
    }
}

impl Windows {
    /// Takes a symbol from each stream; nothing from a stream at an escape.
    ///
    /// # Safety
    /// If `N` is 0, `levels.windows` must have an entry for every window, and one more.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,gfni")]
    #[inline]
    unsafe fn take<const N: usize>(&mut self, tables: &[Table; N], levels: &PeekLevels) -> __m512i {
        let entries = match N {
            // SAFETY: by the caller's promise.
            0 => unsafe { gather_entries(self.upper, levels) },
            _ => step_through(self.upper, tables),
        };
        let lens = _mm512_srli_epi16::<12>(entries);
        self.taken = _mm512_add_epi16(self.taken, lens);
        // Shifts use only the lowest five bits of a count.
        let lens = [lens, _mm512_srli_epi32::<28>(entries)];
        for ((upper, lower), lens) in self.upper.iter_mut().zip(&mut self.lower).zip(lens) {
            *upper = _mm512_shldv_epi32(*upper, *lower, lens);
            *lower = _mm512_shldv_epi32(*lower, _mm512_setzero_si512(), lens);
        }
        entries
    }

    /// Advances the streams' positions by the bits consumed.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn advance(&self, at: &mut [u32; HALF]) {
        let [low, high] = at.as_chunks_mut::<16>().0 else { unreachable!("32 lanes") };
        let taken = (_mm512_castsi512_si256(self.taken), _mm512_extracti64x4_epi64::<1>(self.taken));
        let moved = _mm512_add_epi32(load(low), _mm512_cvtepu16_epi32(taken.0));
        store(low, moved);
        let moved = _mm512_add_epi32(load(high), _mm512_cvtepu16_epi32(taken.1));
        store(high, moved);
    }
}

/// The levels' entries for the streams whose next bits are in `upper`.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn step_through<const N: usize>(upper: [__m512i; 2], tables: &[Table; N]) -> __m512i {
    let windows = _mm512_mask_mov_epi16(_mm512_srli_epi32::<16>(upper[0]), ODD, upper[1]);
    let mut entries = _mm512_setzero_si512();
    for (i, table) in tables.iter().enumerate() {
        let above = if i == 0 { windows } else { _mm512_sub_epi16(windows, table.start) };
        let index = _mm512_srl_epi16(above, table.shift);
        let found = _mm512_permutex2var_epi16(table.entries[0], index, table.entries[1]);
        entries = match i {
            0 => found,
            _ => _mm512_mask_mov_epi16(entries, _mm512_cmpge_epu16_mask(windows, table.start), found),
        };
    }
    entries
}

/// The window table's entries for the streams whose next bits are in `upper`.
///
/// # Safety
/// The table must have an entry for every window of the longest code's bits, and one more.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn gather_entries(upper: [__m512i; 2], levels: &PeekLevels) -> __m512i {
    let down = _mm_cvtsi32_si128(32 - levels.longest as i32);
    let entries = levels.windows.as_ptr().cast();
    // SAFETY: by the caller's promise; an entry is two bytes, and four are read.
    let even = unsafe { _mm512_i32gather_epi32::<2>(_mm512_srl_epi32(upper[0], down), entries) };
    // SAFETY: as above.
    let odd = unsafe { _mm512_i32gather_epi32::<2>(_mm512_srl_epi32(upper[1], down), entries) };
    _mm512_mask_mov_epi16(even, ODD, _mm512_slli_epi32::<16>(odd))
}

/// A mask of the odd lanes of 32.
const ODD: __mmask32 = 0xaaaa_aaaa;

/// Fills the windows of half of the streams.
///
/// # Safety
/// Eight bytes must be readable at each stream's position.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,gfni")]
#[inline]
unsafe fn fill(bytes: &[u8], at: &[u32; HALF]) -> Windows {
    let [low, high] = at.as_chunks::<16>().0 else { unreachable!("32 lanes") };
    let (odd, even) = (load(&const { every_second(1) }), load(&const { every_second(0) }));
    let at = [load(low), load(high)];
    let mut windows = [[_mm512_setzero_si512(); 2]; 2];
    for (windows, lanes) in windows.iter_mut().zip([even, odd]) {
        let at = _mm512_permutex2var_epi32(at[0], lanes, at[1]);
        let byte = _mm512_srli_epi32::<3>(at);
        let bits = _mm512_and_si512(at, _mm512_set1_epi32(7));
        // SAFETY: by the caller's promise.
        let low = unsafe { gather(bytes, _mm512_castsi512_si256(byte)) };
        // SAFETY: as above.
        let high = unsafe { gather(bytes, _mm512_extracti64x4_epi64::<1>(byte)) };
        let low = _mm512_srlv_epi64(low, _mm512_cvtepu32_epi64(_mm512_castsi512_si256(bits)));
        let high = _mm512_srlv_epi64(high, _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64::<1>(bits)));
        let (low, high) = (first_highest(low), first_highest(high));
        *windows = [_mm512_permutex2var_epi32(low, odd, high), _mm512_permutex2var_epi32(low, even, high)];
    }
    let [[upper_even, lower_even], [upper_odd, lower_odd]] = windows;
    Windows { upper: [upper_even, upper_odd], lower: [lower_even, lower_odd], taken: _mm512_setzero_si512() }
}

/// Eight bytes at each of `places`.
///
/// # Safety
/// They must lie inside `bytes`.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn gather(bytes: &[u8], places: __m256i) -> __m512i {
    // SAFETY: by the caller's promise.
    unsafe { _mm512_i32gather_epi64::<1>(places, bytes.as_ptr().cast()) }
}

/// Each number with its bits reversed.
#[target_feature(enable = "avx512f,avx512bw,gfni")]
#[inline]
fn first_highest(numbers: __m512i) -> __m512i {
    // The bit matrix that moves bit i of a byte to position 7 - i.
    let mirrored =
        _mm512_gf2p8affine_epi64_epi8::<0>(numbers, _mm512_set1_epi64(0x8040_2010_0804_0201_u64 as i64));
    let bytes = _mm512_set4_epi32(0x0809_0a0b, 0x0c0d_0e0f, 0x0001_0203, 0x0405_0607);
    _mm512_shuffle_epi8(mirrored, bytes)
}

/// The indices of every second of 32 words in two registers.
const fn every_second(first: u32) -> [u32; 16] {
    let mut places = [0; 16];
    let mut i = 0;
    while i < 16 {
        places[i] = 2 * i as u32 + first;
        i += 1;
    }
    places
}

/// The 64 bytes of an array.
#[target_feature(enable = "avx512f")]
#[inline]
fn load<T: bytemuck::Pod, const N: usize>(from: &[T; N]) -> __m512i {
    const { assert!(size_of::<[T; N]>() == 64) };
    // SAFETY: it is 64 bytes, and loads need no alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store<T: bytemuck::Pod, const N: usize>(to: &mut [T; N], from: __m512i) {
    const { assert!(size_of::<[T; N]>() == 64) };
    // SAFETY: it is 64 bytes, and stores need no alignment.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), from) }
}

/// [`columns::transpose`](super::columns::transpose).
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub fn transpose(columns: &Columns, rows: &mut Rows) {
    for (half, rows) in rows.as_chunks_mut::<HALF>().0.iter_mut().enumerate() {
        let mut registers = [_mm512_setzero_si512(); 16];
        for (register, column) in registers.iter_mut().zip(columns) {
            *register = load(&column.as_chunks::<HALF>().0[half]);
        }
        // In each round, rows become twice as long and registers hold half as many lanes.
        for _ in 0..4 {
            let before = registers;
            for i in 0..8 {
                [registers[2 * i], registers[2 * i + 1]] = alternate(before[i], before[i + 8]);
            }
        }
        for (two, register) in rows.as_chunks_mut::<2>().0.iter_mut().zip(registers) {
            // SAFETY: two rows are 64 bytes, and stores need no alignment.
            unsafe { _mm512_storeu_si512(two.as_mut_ptr().cast(), register) };
        }
    }
}

/// The elements of both registers interleaved, first those of the lower halves.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn alternate(a: __m512i, b: __m512i) -> [__m512i; 2] {
    let low = load(&const { in_turn(0) });
    let high = load(&const { in_turn(16) });
    [_mm512_permutex2var_epi16(a, low, b), _mm512_permutex2var_epi16(a, high, b)]
}

const fn in_turn(first: u16) -> [u16; 32] {
    let mut places = [0; 32];
    let mut i = 0;
    while i < 32 {
        places[i] = first + i as u16 / 2 + i as u16 % 2 * 32;
        i += 1;
    }
    places
}

/// [`columns::join`](super::columns::join).
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
pub fn join(join: &Join, pieces: &[Column], columns: &mut Columns) {
    let shifts = halves(&join.shifts);
    let own = join.own.map(|(up, mask)| (_mm512_set1_epi16(up as i16), _mm512_set1_epi16(mask as i16)));
    for (i, column) in columns.iter_mut().enumerate() {
        let mut numbers = halves(column);
        for (number, shift) in numbers.iter_mut().zip(shifts) {
            let shifted = _mm512_add_epi16(*number, shift);
            *number = add_turned(_mm512_setzero_si512(), shifted, own[0].0, own[0].1);
            // Few types have coded low bits.
            if join.own[1].1 != 0 {
                *number = add_turned(*number, shifted, own[1].0, own[1].1);
            }
        }
        for field in &join.fields {
            let (piece, up) = field.places[i];
            let (up, mask) = (_mm512_set1_epi16(up as i16), _mm512_set1_epi16(field.mask as i16));
            for (number, piece) in numbers.iter_mut().zip(halves(&pieces[usize::from(piece)])) {
                *number = add_turned(*number, piece, up, mask);
            }
        }
        let [low, high] = column.as_chunks_mut::<HALF>().0 else { unreachable!("64 lanes") };
        store(low, numbers[0]);
        store(high, numbers[1]);
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn halves(column: &Column) -> [__m512i; 2] {
    let [low, high] = column.as_chunks::<HALF>().0 else { unreachable!("64 lanes") };
    [load(low), load(high)]
}

/// `sum | (numbers.rotate_left(up) & mask)`
#[target_feature(enable = "avx512f,avx512vbmi2")]
#[inline]
fn add_turned(sum: __m512i, numbers: __m512i, up: __m512i, mask: __m512i) -> __m512i {
    // The truth table of this expression.
    _mm512_ternarylogic_epi32::<0b1111_1000>(sum, _mm512_shldv_epi16(numbers, numbers, up), mask)
}
