//! Vector operations with AVX2 and BMI2.

use std::arch::is_x86_feature_detected as has;
use std::arch::x86_64::*;

use super::block::{BLOCK, Bits, to_top};
use super::vectors::{Kernel, Vectors};

/// Proof that the processor has AVX2 and BMI2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// `None` if the processor lacks them.
    pub fn detect() -> Option<Self> {
        let all = has!("avx2") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("popcnt");
        all.then_some(Self(()))
    }
}

impl Vectors for Avx2 {
    #[inline(always)]
    fn pack<const W: u32>(self, block: &[u16; BLOCK], shift: u8) -> [u64; 2] {
        // SAFETY: an `Avx2` exists, so the processor has the features.
        unsafe { interleave::<W>(|bit| bits_avx2(block, bit + u32::from(shift))) }
    }

    #[inline(always)]
    fn unpack<const W: u32>(self, packed: [u64; 2], bits: Bits, block: &mut [u16; BLOCK]) {
        // SAFETY: as above.
        unsafe { unpack_avx2::<W>(packed, bits, block) }
    }

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: as above.
        unsafe { with_avx2(kernel, self) }
    }
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
#[inline(never)]
fn with_avx2<K: Kernel>(kernel: K, avx2: Avx2) -> K::Output {
    kernel.run(avx2)
}

/// Interleaves the bits of all fields, one bit position at a time.
///
/// # Safety
/// The processor must have BMI2.
#[inline(always)]
pub(crate) unsafe fn interleave<const W: u32>(bits: impl Fn(u32) -> u32) -> [u64; 2] {
    // SAFETY: by the caller's promise.
    let spread = |bits: u32, places: u64| unsafe { _pdep_u64(u64::from(bits), places) };
    match W {
        1 => [u64::from(bits(0)), 0],
        2 => [spread(bits(0), 0x5555_5555_5555_5555) | spread(bits(1), 0xaaaa_aaaa_aaaa_aaaa), 0],
        _ => {
            let mut packed = [0; 2];
            for bit in 0..4 {
                let all = bits(bit);
                packed[0] |= spread(all & 0xffff, 0x1111_1111_1111_1111 << bit);
                packed[1] |= spread(all >> 16, 0x1111_1111_1111_1111 << bit);
            }
            packed
        }
    }
}

/// Bit `bit` of each field.
///
/// # Safety
/// The processor must have AVX2.
#[inline(always)]
unsafe fn bits_avx2(block: &[u16; BLOCK], bit: u32) -> u32 {
    // SAFETY: by the caller's promise; the block is 64 bytes, and loads need no alignment.
    unsafe {
        let at: *const __m256i = block.as_ptr().cast();
        let up = _mm_cvtsi32_si128(15 - bit as i32);
        // The wanted bit becomes the sign, which saturating narrowing keeps.
        let low = _mm256_sll_epi16(_mm256_loadu_si256(at), up);
        let high = _mm256_sll_epi16(_mm256_loadu_si256(at.add(1)), up);
        let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(low, high));
        _mm256_movemask_epi8(bytes) as u32
    }
}

/// For each of sixteen fields, the two packed bytes that contain it.
const fn bytes_of(width: usize) -> [u8; BLOCK] {
    let mut bytes = [0; BLOCK];
    let mut i = 0;
    while i < BLOCK {
        bytes[i] = (2 * (i / 2 * width / 16) + i % 2) as u8;
        i += 1;
    }
    bytes
}

/// Adds `bits` of the packed fields of `W` (1, 2 or 4) bits to the fields of `block`.
///
/// # Safety
/// The processor must have AVX2.
#[inline(always)]
unsafe fn unpack_avx2<const W: u32>(packed: [u64; 2], bits: Bits, block: &mut [u16; BLOCK]) {
    let (bytes, times) = const { (bytes_of(W as usize), to_top(W as usize)) };
    // Sixteen fields are 16 W bits.
    let second = if W == 4 { packed[1] } else { packed[0] >> (16 * W) };
    // SAFETY: by the caller's promise; half of a block is 32 bytes, and loads and stores need no alignment.
    unsafe {
        let bytes = _mm256_loadu_si256(bytes.as_ptr().cast());
        let times = _mm256_loadu_si256(times.as_ptr().cast());
        let down = _mm_cvtsi32_si128(16 - W as i32 - i32::from(bits.up));
        let mask = _mm256_set1_epi16(bits.mask as i16);
        for (half, fields) in [packed[0], second].into_iter().zip(block.as_chunks_mut::<16>().0) {
            let alike = _mm256_shuffle_epi8(_mm256_set1_epi64x(half as i64), bytes);
            let moved = _mm256_srl_epi16(_mm256_mullo_epi16(alike, times), down);
            let at: *mut __m256i = fields.as_mut_ptr().cast();
            let sum = _mm256_or_si256(_mm256_loadu_si256(at), _mm256_and_si256(moved, mask));
            _mm256_storeu_si256(at, sum);
        }
    }
}
