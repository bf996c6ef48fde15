//! Running a loop in the version compiled for this processor. Only this module makes that choice.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::portable::Portable;
#[cfg(target_arch = "x86_64")]
use super::tier::Tier;
use super::vectors::Kernel;
#[cfg(target_arch = "x86_64")]
use super::vectors::Vectors;

/// Runs `kernel` in the version compiled for this processor.
#[cfg(target_arch = "x86_64")]
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    match (Tier::used(), Avx2::detect(), Avx512::detect()) {
        (Tier::Avx512, _, Some(avx512)) => avx512.call(kernel),
        (Tier::Avx2, Some(avx2), _) => avx2.call(kernel),
        _ => kernel.run(Portable),
    }
}

/// Runs `kernel` in the version that runs on every processor.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Portable)
}

/// The results of `kernel` in each version that this processor can run, except [`Portable`].
#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) fn each<K: Kernel>(kernel: impl Fn() -> K) -> Vec<K::Output> {
    let avx2 = Avx2::detect().map(|avx2| avx2.call(kernel()));
    let avx512 = Avx512::detect().map(|avx512| avx512.call(kernel()));
    avx2.into_iter().chain(avx512).collect()
}

/// The same if only [`Portable`] is compiled.
#[cfg(all(test, not(target_arch = "x86_64")))]
pub(crate) fn each<K: Kernel>(kernel: impl Fn() -> K) -> Vec<K::Output> {
    vec![run(kernel())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::simd::block::{BLOCK, Bits};
    use crate::codec::simd::vectors::Vectors;

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
