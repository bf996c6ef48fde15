//! Looking up and joining the codes of many symbols at once, with AVX-512.

use std::arch::x86_64::*;

use super::joined_codes::{APPEND_BITS, JOINED, Joined, SMALL, SmallBook};

/// The codes of `symbols`, joined by fours, or by eights if those are short enough to append at once.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub(crate) fn join_codes(book: &SmallBook, symbols: &[u16; JOINED]) -> Joined {
    let entries = look_up(book, load(symbols));
    let escaped = _mm512_cmpge_epu16_mask(entries, _mm512_set1_epi16(SmallBook::ESCAPED as i16));
    let (fours, four_lens) = join_fours(entries);
    let next = _mm512_unpackhi_epi64(fours, fours);
    let eights = _mm512_or_si512(fours, _mm512_sllv_epi64(next, four_lens));
    let eight_lens = _mm512_add_epi64(four_lens, _mm512_unpackhi_epi64(four_lens, four_lens));
    // The odd elements are not sums of eights.
    let long = _mm512_mask_cmpgt_epu64_mask(0x55, eight_lens, _mm512_set1_epi64(APPEND_BITS as i64));
    let by_eight = long == 0 && escaped == 0;
    let (bits, lens) = if by_eight { (eights, eight_lens) } else { (fours, four_lens) };
    let mut joined = Joined { bits: [0; 8], lens: [0; 8], eights: by_eight, escaped };
    store(bits, &mut joined.bits);
    store(lens, &mut joined.lens);
    joined
}

/// The entry of each symbol.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn look_up(book: &SmallBook, symbols: __m512i) -> __m512i {
    let [first, second, third, fourth] = bytemuck::cast_ref::<_, [[u16; 32]; SMALL / 32]>(&book.entries);
    let above = _mm512_sub_epi16(symbols, _mm512_set1_epi16(book.first as i16));
    let index = _mm512_min_epu16(above, _mm512_set1_epi16(SMALL as i16 - 1));
    let low = _mm512_permutex2var_epi16(load(first), index, load(second));
    let high = _mm512_permutex2var_epi16(load(third), index, load(fourth));
    let in_high = _mm512_test_epi16_mask(index, _mm512_set1_epi16(SMALL as i16 / 2));
    _mm512_mask_blend_epi16(in_high, low, high)
}

/// The codes of each four consecutive entries, joined, and their total lengths.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn join_fours(entries: __m512i) -> (__m512i, __m512i) {
    /// Truth table: the bits of the first operand where the second has ones, or'ed with the third.
    const SELECT_OR: i32 = 0xea;
    let codes = _mm512_and_si512(entries, _mm512_set1_epi16(0x0fff));
    let lens = _mm512_srli_epi16::<12>(entries);
    let low_16 = _mm512_set1_epi32(0xffff);
    let moved = _mm512_sllv_epi32(_mm512_srli_epi32::<16>(codes), _mm512_and_si512(lens, low_16));
    let pairs = _mm512_ternarylogic_epi32::<SELECT_OR>(codes, low_16, moved);
    let pair_lens = _mm512_madd_epi16(lens, _mm512_set1_epi16(1));
    let low_32 = _mm512_set1_epi64(0xffff_ffff);
    let low_lens = _mm512_and_si512(pair_lens, low_32);
    let moved = _mm512_sllv_epi64(_mm512_srli_epi64::<32>(pairs), low_lens);
    let fours = _mm512_ternarylogic_epi64::<SELECT_OR>(pairs, low_32, moved);
    (fours, _mm512_add_epi64(low_lens, _mm512_srli_epi64::<32>(pair_lens)))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(from: &[u16; 32]) -> __m512i {
    // SAFETY: these are 64 bytes, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(vector: __m512i, to: &mut [u64; 8]) {
    // SAFETY: these are 64 bytes, and the store needs no alignment.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), vector) }
}
