//! Running the inner loops with the widest vectors that the processor has.
//!
//! The loops are plain Rust, written so that the compiler can make vector instructions of them. Here
//! they are compiled once for every processor, and again for newer ones; which of these runs is
//! found out at run time, or told. All of them compute the same integers.

use super::columns::{self, Column, Columns, Join, Rows};
use super::fields::{BLOCK, Bits, pack_bits, unpack_bits};
use crate::codec::entropy::bit_writer::{JOINED, Joined, SmallBook};
use crate::codec::entropy::peek_levels::PeekLevels;
use crate::codec::payload::grid::LANES;

#[cfg(target_arch = "x86_64")]
use super::tier::Tier;

/// A loop that is compiled for several kinds of processor.
pub(crate) trait Kernel {
    /// What it gives back.
    type Output;

    /// The loop. Must be `#[inline(always)]`, as must all that it calls: only what is inlined is
    /// compiled for the processor at hand.
    fn run<V: Vectors>(self, vectors: V) -> Self::Output;
}

/// What the compiler does not find by itself. A value of a type that implements it shows that the
/// processor has the instructions.
pub(crate) trait Vectors: Copy {
    /// Whether tiles are decoded faster by columns than by lanes.
    const BY_COLUMNS: bool = false;

    /// `W` (1, 2 or 4) bits of each field, `shift` bits up, side by side, 64 bits in each number;
    /// numbers after the first `W / 2`, rounded up, are 0.
    fn pack<const W: u32>(self, block: &[u16; BLOCK], shift: u8) -> [u64; 2];

    /// The inverse of [`Vectors::pack`]: adds `bits` of the fields to those of `block`.
    #[inline(always)]
    fn unpack<const W: u32>(self, packed: [u64; 2], bits: Bits, block: &mut [u16; BLOCK]) {
        unpack_bits::<W>(packed, bits, block);
    }

    /// As [`columns::read`].
    #[inline(always)]
    fn read_columns(self, levels: &PeekLevels, bytes: &[u8], at: &mut [u32; LANES], columns: &mut [Column]) {
        columns::read(levels, bytes, at, columns);
    }

    /// As [`columns::join`].
    #[inline(always)]
    fn join_columns(self, join: &Join, pieces: &[Column], columns: &mut Columns) {
        columns::join(join, pieces, columns);
    }

    /// As [`columns::transpose`].
    #[inline(always)]
    fn transpose(self, columns: &Columns, rows: &mut Rows) {
        columns::transpose(columns, rows);
    }

    /// The codes of `symbols`, joined; `None` where the processor is no faster at it than one by one.
    #[inline(always)]
    fn join_codes(self, book: &SmallBook, symbols: &[u16; JOINED]) -> Option<Joined> {
        let _ = (book, symbols);
        None
    }

    /// Runs `kernel` as a function of its own, so that its loop has all registers to itself.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;
}

/// Any processor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

impl Vectors for Portable {
    #[inline(always)]
    fn pack<const W: u32>(self, block: &[u16; BLOCK], shift: u8) -> [u64; 2] {
        pack_bits::<W>(block, shift)
    }

    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

/// Runs `kernel` as compiled for this processor.
#[cfg(target_arch = "x86_64")]
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    x86::run(kernel)
}

/// Runs `kernel` as compiled for every processor.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Portable)
}

/// What `kernel` gives back as compiled for each kind of processor that this one can stand for, but for
/// [`Portable`].
#[cfg(test)]
pub(crate) fn each<K: Kernel>(kernel: impl Fn() -> K) -> Vec<K::Output> {
    #[cfg(target_arch = "x86_64")]
    return x86::each(kernel);
    #[cfg(not(target_arch = "x86_64"))]
    return vec![run(kernel())];
}

/// Tells the processor that `bytes` will be read soon.
#[inline(always)]
pub(crate) fn expect(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    x86::prefetch(bytes);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(crate) mod x86 {
    use std::arch::is_x86_feature_detected as has;
    use std::arch::x86_64::*;

    use super::super::columns::{Column, Columns, Join, Rows};
    use super::super::fields::{BLOCK, Bits, to_top};
    use super::super::{avx512_codes, avx512_columns};
    use super::{Kernel, Portable, Tier, Vectors};
    use crate::codec::entropy::bit_writer::{JOINED, Joined, SmallBook};
    use crate::codec::entropy::peek_levels::PeekLevels;
    use crate::codec::payload::grid::LANES;

    pub fn run<K: Kernel>(kernel: K) -> K::Output {
        match (Tier::used(), Avx2::detect(), Avx512::detect()) {
            // SAFETY: the processor was asked for each feature that the function is compiled with.
            (Tier::Avx512, _, Some(avx512)) => unsafe { with_avx512(kernel, avx512) },
            // SAFETY: as above.
            (Tier::Avx2, Some(avx2), _) => unsafe { with_avx2(kernel, avx2) },
            _ => kernel.run(Portable),
        }
    }

    /// Runs `kernel` with AVX2 and with AVX-512, each where the processor has it. What it gives back is
    /// compared by the caller.
    #[cfg(test)]
    pub fn each<K: Kernel>(kernel: impl Fn() -> K) -> Vec<K::Output> {
        // SAFETY: the processor was asked for each feature that the functions are compiled with.
        let avx2 = Avx2::detect().map(|avx2| unsafe { with_avx2(kernel(), avx2) });
        // SAFETY: as above.
        let avx512 = Avx512::detect().map(|avx512| unsafe { with_avx512(kernel(), avx512) });
        avx2.into_iter().chain(avx512).collect()
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    #[inline(never)]
    fn with_avx2<K: Kernel>(kernel: K, avx2: Avx2) -> K::Output {
        kernel.run(avx2)
    }

    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,gfni,avx2,bmi1,bmi2,lzcnt,popcnt"
    )]
    #[inline(never)]
    fn with_avx512<K: Kernel>(kernel: K, avx512: Avx512) -> K::Output {
        kernel.run(avx512)
    }

    /// The processor has AVX2 and BMI2.
    #[derive(Debug, Clone, Copy)]
    pub struct Avx2(());

    impl Avx2 {
        pub fn detect() -> Option<Self> {
            let all = has!("avx2") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("popcnt");
            all.then_some(Self(()))
        }
    }

    /// The processor has AVX2, BMI2, and AVX-512 for 8-bit and 16-bit fields, as Intel's have it from Ice
    /// Lake on and AMD's from Zen 4 on.
    #[derive(Debug, Clone, Copy)]
    pub struct Avx512(());

    impl Avx512 {
        pub fn detect() -> Option<Self> {
            let all = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
            let all = all && has!("avx512vbmi") && has!("avx512vbmi2") && has!("gfni");
            (all && Avx2::detect().is_some()).then_some(Self(()))
        }
    }

    impl Vectors for Avx2 {
        #[inline(always)]
        fn pack<const W: u32>(self, block: &[u16; BLOCK], shift: u8) -> [u64; 2] {
            // SAFETY: there is an `Avx2`, so the processor has the features.
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

    impl Vectors for Avx512 {
        const BY_COLUMNS: bool = true;

        #[inline(always)]
        fn read_columns(
            self,
            levels: &PeekLevels,
            bytes: &[u8],
            at: &mut [u32; LANES],
            columns: &mut [Column],
        ) {
            // SAFETY: there is an `Avx512`, so the processor has the features.
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
            // SAFETY: there is an `Avx512`, so the processor has the features.
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
            Some(unsafe { avx512_codes::join(book, symbols) })
        }

        #[inline(always)]
        fn call<K: Kernel>(self, kernel: K) -> K::Output {
            // SAFETY: as above.
            unsafe { with_avx512(kernel, self) }
        }
    }

    /// Puts bit after bit of all fields in its place among the others'.
    ///
    /// # Safety
    /// The processor must have BMI2.
    #[inline(always)]
    unsafe fn interleave<const W: u32>(bits: impl Fn(u32) -> u32) -> [u64; 2] {
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
            // The wanted bit becomes the sign, which the saturating narrowing keeps.
            let low = _mm256_sll_epi16(_mm256_loadu_si256(at), up);
            let high = _mm256_sll_epi16(_mm256_loadu_si256(at.add(1)), up);
            let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(low, high));
            _mm256_movemask_epi8(bytes) as u32
        }
    }

    /// Bytes of a cache line.
    const LINE: usize = 64;

    #[inline(always)]
    pub fn prefetch(bytes: &[u8]) {
        for line in bytes.chunks(LINE) {
            // SAFETY: every x86-64 processor has it, and it reads nothing that a program could see.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
        }
    }

    /// For each field, which 16 bits of the packed ones it lies in, and how far up.
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

    /// For each of sixteen fields, the two bytes of the packed ones that it lies in.
    const fn bytes_of(width: usize) -> [u8; BLOCK] {
        let mut bytes = [0; BLOCK];
        let mut i = 0;
        while i < BLOCK {
            bytes[i] = (2 * (i / 2 * width / 16) + i % 2) as u8;
            i += 1;
        }
        bytes
    }

    /// Adds `bits` of the packed fields of `W` (1, 2 or 4) bits to those of `block`.
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

    /// Adds `bits` of the packed fields of `W` (1, 2 or 4) bits to those of `block`.
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::entropy::bit_writer::{BitWriter, Codebook};
    use crate::codec::entropy::huffman::Code;

    struct PackAndUnpack([u16; BLOCK]);

    impl Kernel for PackAndUnpack {
        type Output = ([[u64; 2]; 3], [[u16; BLOCK]; 3]);

        #[inline(always)]
        fn run<V: Vectors>(self, vectors: V) -> Self::Output {
            let packed =
                [vectors.pack::<1>(&self.0, 0), vectors.pack::<2>(&self.0, 0), vectors.pack::<4>(&self.0, 0)];
            let mut blocks = [[0x0100; BLOCK]; 3];
            vectors.unpack::<1>(packed[0], Bits { up: 2, mask: 4 }, &mut blocks[0]);
            vectors.unpack::<2>(packed[1], Bits { up: 14, mask: 0x8000 }, &mut blocks[1]);
            vectors.unpack::<4>(packed[2], Bits { up: 9, mask: 0x1e00 }, &mut blocks[2]);
            (packed, blocks)
        }
    }

    struct Put<'a>(&'a Codebook, &'a [u16]);

    impl Kernel for Put<'_> {
        type Output = Vec<u8>;

        #[inline(always)]
        fn run<V: Vectors>(self, vectors: V) -> Vec<u8> {
            let mut writer = BitWriter::new(self.1.len());
            // In two, so that the second begins inside a byte.
            let (some, rest) = self.1.split_at(37);
            writer.put(vectors, self.0, some);
            writer.put(vectors, self.0, rest);
            writer.finish().to_vec()
        }
    }

    #[test]
    fn all_processors_write_the_same_codes() {
        // Alphabets around the size that vectors hold; steep weights give codes from one bit to many.
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

    #[test]
    fn all_processors_do_alike() {
        for seed in 0..200u32 {
            let block =
                std::array::from_fn(|i| (seed * 7919 + i as u32).wrapping_mul(2_654_435_761).to_le_bytes())
                    .map(|b| u16::from_le_bytes([b[2], b[3]]));
            let expected = PackAndUnpack(block).run(Portable);
            assert!(each(|| PackAndUnpack(block)).iter().all(|packed| *packed == expected));
            for (i, field) in block.into_iter().enumerate() {
                assert_eq!((expected.0[1][0] >> (2 * i)) as u16 & 3, field & 3);
                let unpacked = [(field & 1) << 2, (field & 2) << 14, (field & 15) << 9].map(|f| f | 0x0100);
                assert_eq!(expected.1.map(|block| block[i]), unpacked);
            }
        }
    }
}
