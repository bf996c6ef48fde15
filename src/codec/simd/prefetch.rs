//! Hints to the processor about data that will be read soon.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

/// Bytes of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Prefetches `bytes`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn expect(bytes: &[u8]) {
    for line in bytes.chunks(LINE) {
        // SAFETY: every x86-64 processor has this instruction, and it has no visible effect.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
}

/// No hints on other processors.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn expect(_: &[u8]) {}
