//! Vector operations with AVX-512.

use std::arch::is_x86_feature_detected as has;
use std::arch::x86_64::*;

use super::avx2::{Avx2, interleave};
use super::block::{BLOCK, Bits};
use super::columns::{Column, Columns, Join, Rows};
use super::joined_codes::{JOINED, Joined, SmallBook};
use super::peek::PeekLevels;
use super::vectors::{Kernel, Vectors};
use super::{avx512_codes, avx512_columns};
use crate::codec::payload::grid::LANES;

/// Proof that the processor has AVX2, BMI2, and AVX-512 for 8-bit and 16-bit fields: Intel's from Ice Lake
/// on, and AMD's from Zen 4 on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// `None` if the processor lacks them.
    pub fn detect() -> Option<Self> {
        let all = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
        let all = all && has!("avx512vbmi") && has!("avx512vbmi2") && has!("gfni");
        (all && Avx2::detect().is_some()).then_some(Self(()))
    }
}

impl Vectors for Avx512 {
    const BY_COLUMNS: bool = true;

    #[inline(always)]
    fn read_columns(self, levels: &PeekLevels, bytes: &[u8], at: &mut [u32; LANES], columns: &mut [Column]) {
        // SAFETY: an `Avx512` exists, so the processor has the features.
        unsafe { avx512_columns::read(levels, bytes, at, columns) }
    }

    #[inline(always)]
    fn join_columns(self, join: &Join, pieces: &[Column], columns: &mut Columns) {
        // SAFETY: as above.
        unsafe { avx512_columns::join(join, pieces, columns) }
    }

    #[inline(always)]
    fn transpose(self, columns: &Columns, rows: &mut Rows) {
        // SAFETY: as above.
        unsafe { avx512_columns::transpose(columns, rows) }
    }

    #[inline(always)]
    fn pack<const W: u32>(self, block: &[u16; BLOCK], shift: u8) -> [u64; 2] {
        // SAFETY: an `Avx512` exists, so the processor has the features.
        unsafe { interleave::<W>(|bit| bits_avx512(block, bit + u32::from(shift))) }
    }

    #[inline(always)]
    fn unpack<const W: u32>(self, packed: [u64; 2], bits: Bits, block: &mut [u16; BLOCK]) {
        // SAFETY: as above.
        unsafe { unpack_avx512::<W>(packed, bits, block) }
    }

    #[inline(always)]
    fn join_codes(self, book: &SmallBook, symbols: &[u16; JOINED]) -> Option<Joined> {
        // SAFETY: as above.
        Some(unsafe { avx512_codes::join_codes(book, symbols) })
    }

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: as above.
        unsafe { with_avx512(kernel, self) }
    }
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,gfni,avx2,bmi1,bmi2,lzcnt,popcnt"
)]
#[inline(never)]
fn with_avx512<K: Kernel>(kernel: K, avx512: Avx512) -> K::Output {
    kernel.run(avx512)
}

/// For each field, the index of the packed 16 bits that contain it, and its shift there.
const fn places(width: u16) -> [[u16; BLOCK]; 2] {
    let mut places = [[0; BLOCK]; 2];
    let mut i = 0;
    while i < BLOCK {
        places[0][i] = i as u16 * width / 16;
        places[1][i] = i as u16 * width % 16;
        i += 1;
    }
    places
}

/// Adds `bits` of the packed fields of `W` (1, 2 or 4) bits to the fields of `block`.
///
/// # Safety
/// The processor must have AVX-512F and AVX-512BW.
#[inline(always)]
unsafe fn unpack_avx512<const W: u32>(packed: [u64; 2], bits: Bits, block: &mut [u16; BLOCK]) {
    // SAFETY: by the caller's promise; blocks are 64 bytes, and loads and stores need no alignment.
    unsafe {
        let load = |at: &[u16; BLOCK]| _mm512_loadu_si512(at.as_ptr().cast());
        let fields = if W == 1 {
            _mm512_maskz_set1_epi16(packed[0] as u32, 1)
        } else {
            let [half, up] = const { places(W as u16) };
            let both = _mm_set_epi64x(packed[1] as i64, packed[0] as i64);
            let halves = _mm512_permutexvar_epi16(load(&half), _mm512_broadcast_i32x4(both));
            _mm512_srlv_epi16(halves, load(&up))
        };
        let moved = _mm512_sll_epi16(fields, _mm_cvtsi32_si128(i32::from(bits.up)));
        let kept = _mm512_and_si512(moved, _mm512_set1_epi16(bits.mask as i16));
        let sum = _mm512_or_si512(load(block), kept);
        _mm512_storeu_si512(block.as_mut_ptr().cast(), sum);
    }
}

/// Bit `bit` of each field.
///
/// # Safety
/// The processor must have AVX-512F and AVX-512BW.
#[inline(always)]
unsafe fn bits_avx512(block: &[u16; BLOCK], bit: u32) -> u32 {
    // SAFETY: by the caller's promise; the block is 64 bytes, and loads need no alignment.
    unsafe {
        let fields = _mm512_loadu_si512(block.as_ptr().cast());
        _mm512_test_epi16_mask(fields, _mm512_set1_epi16(1 << bit))
    }
}
