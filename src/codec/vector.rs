//! Running the inner loops with the widest vectors that the processor has.
//!
//! The loops are plain Rust, written so that the compiler can make vector instructions of them. Here
//! they are compiled once for every processor, and again for newer ones; which of these runs is
//! found out at run time. All of them compute the same integers.

/// A loop that is compiled for several kinds of processor.
pub(super) trait Kernel {
    /// What it gives back.
    type Output;

    /// The loop. Must be `#[inline(always)]`, as must all that it calls: only what is inlined is
    /// compiled for the processor at hand.
    fn run(self) -> Self::Output;
}

/// Runs `kernel` as compiled for this processor.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    use std::arch::is_x86_feature_detected as has;

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run()
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run()
    }

    let avx2 = has!("avx2") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("popcnt");
    let avx512 = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
    match (avx2, avx512 && has!("avx512vbmi")) {
        // SAFETY: the processor was just asked for each feature that the function is compiled with.
        (true, true) => unsafe { with_avx512(kernel) },
        // SAFETY: as above.
        (true, false) => unsafe { with_avx2(kernel) },
        (false, _) => kernel.run(),
    }
}

/// Runs `kernel` as compiled for every processor.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
