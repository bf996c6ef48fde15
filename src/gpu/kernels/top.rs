//! The likeliest tokens, so that a few of them come back from the device instead of all logits.

use bytemuck::{Pod, Zeroable};

use super::argmax::order_of;
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// Number of invocations, each of which finds the largest number of its share.
const SHARES: usize = 256;

/// Maximum numbers in the result.
const ROOM: usize = 1023;

/// Maximum of [`rank_for`].
const MOST_RANK: usize = SHARES - 1;

/// `Top` of `shaders/top.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct TopParams {
    len: u32,
    room: u32,
    unused: [u32; 2],
}

/// A number and its index.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Placed {
    /// Its index.
    pub place: u32,
    /// The number.
    pub number: f32,
}

/// The largest of some numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Top {
    /// All numbers not less than `bound`, by index.
    pub placed: Vec<Placed>,
    /// All others are less.
    pub bound: f32,
}

/// The value of [`Step::rank`](super::Step::rank) with which more than `count` numbers are found, the last of
/// them less than the first `count`, unless these are too many or too many are equal.
pub fn rank_for(count: usize) -> u32 {
    // Two of the largest numbers may be in the same share: twice as many shares are usually enough.
    count.saturating_mul(2).saturating_add(16).min(MOST_RANK) as u32
}

/// Bytes of the result.
pub const FOUND_BYTES: u64 = ((ROOM + 1) * size_of::<Placed>()) as u64;

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("top")
}

/// Finds the largest numbers among the first `len` of `numbers`.
pub fn dispatch(
    gpu: &Gpu,
    step: &Buffer,
    len: usize,
    [numbers, found]: [&Buffer; 2],
) -> Result<Dispatch, GpuError> {
    let params = TopParams { len: len as u32, room: ROOM as u32, unused: [0; 2] };
    let one = [Workgroups::Fixed(1), Workgroups::Fixed(1)];
    gpu.kernel(variant())?.bind(gpu, &params, &[(0, step), (2, numbers), (3, found)], one)
}

/// Reads the kernel's result of [`FOUND_BYTES`]; `None` if it did not fit, for example because many numbers
/// are equal, or if one is an infinity or a NaN.
pub fn read(found: &[u8]) -> Option<Top> {
    let (first, rest) = bytemuck::cast_slice::<_, Placed>(found).split_first()?;
    let mut placed = rest.get(..first.place as usize)?.to_vec();
    placed.sort_unstable_by_key(|p| p.place);
    Some(Top { placed, bound: first.number })
}

/// The twin.
pub fn cpu(numbers: &[f32], rank: u32) -> Option<Top> {
    if numbers.iter().any(|number| !number.is_finite()) {
        return None;
    }
    let share = |i: usize| numbers.iter().skip(i).step_by(SHARES).copied();
    let larger = |a: f32, b: f32| if order_of(b) > order_of(a) { b } else { a };
    let mut parts: Vec<Option<f32>> = (0..SHARES).map(|i| share(i).reduce(larger)).collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.map_or(0, order_of)));
    let bound = parts[rank as usize];
    let large = |number: f32| order_of(number) >= bound.map_or(0, order_of);
    let all = (0..).zip(numbers).filter(|&(_, &number)| large(number));
    let placed: Vec<Placed> = all.map(|(place, &number)| Placed { place, number }).collect();
    (placed.len() <= ROOM).then_some(Top { placed, bound: bound.unwrap_or(0.0) })
}
