//! The likeliest token, so that a few bytes come back from the device instead of all logits.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// Numbers per span, of which the largest is found.
const SPAN: usize = 1024;

/// Takes the place of an order for an infinity or a NaN; it is above that of every number.
const NOT_FINITE: u32 = u32::MAX;

/// `Argmax` of `shaders/argmax.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct ArgmaxParams {
    len: u32,
    unused: [u32; 3],
}

/// The largest number of one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Largest {
    /// An integer with the order of the number, or [`NOT_FINITE`].
    order: u32,
    /// The number's index.
    place: u32,
}

/// Bytes of the results for `len` numbers.
pub fn found_bytes(len: usize) -> u64 {
    (len.div_ceil(SPAN) * size_of::<Largest>()) as u64
}

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("argmax")
}

/// Finds the largest number in each span of the first `len` of `numbers`.
pub fn dispatch(gpu: &Gpu, len: usize, [numbers, found]: [&Buffer; 2]) -> Result<Dispatch, GpuError> {
    let params = ArgmaxParams { len: len as u32, unused: [0; 3] };
    let workgroups = [Workgroups::Fixed(len.div_ceil(SPAN) as u32), Workgroups::Fixed(1)];
    gpu.kernel(variant())?.bind(gpu, &params, &[(2, numbers), (3, found)], workgroups)
}

/// The index of the largest number of all spans; the lowest index if there are several. `None` if there are
/// no numbers, or if one is an infinity or a NaN.
pub fn likeliest(found: &[Largest]) -> Option<u32> {
    let best = found.iter().max_by_key(|largest| (largest.order, std::cmp::Reverse(largest.place)));
    best.filter(|largest| largest.order != NOT_FINITE).map(|largest| largest.place)
}

/// The twin of `shaders/shared/order.wgsl`.
pub(super) fn order_of(number: f32) -> u32 {
    match (number + 0.0).to_bits() {
        _ if number.is_nan() => 0,
        bits if bits >> 31 == 1 => !bits,
        bits => bits | 1 << 31,
    }
}

/// The twin of the kernel.
pub fn cpu(numbers: &[f32]) -> Vec<Largest> {
    let largest = |(span, numbers): (usize, &[f32])| {
        let mut best = Largest { order: 0, place: 0 };
        for (place, &number) in (span * SPAN..).zip(numbers) {
            let order = if number.is_finite() { order_of(number) } else { NOT_FINITE };
            if order > best.order {
                best = Largest { order, place: place as u32 };
            }
        }
        best
    };
    numbers.chunks(SPAN).enumerate().map(largest).collect()
}
