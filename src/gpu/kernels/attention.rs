//! Causal attention over the KV cache.

use super::rope::HeadParams;
use crate::gpu::{
    Buffer, CacheType, Choice, Dispatch, Gpu, GpuError, KvCache, Target, Variant, Work, Workgroups,
};

/// Maximum query heads per workgroup. More would not fit the registers of many devices.
const MOST_HEADS: u32 = 4;

/// How a workgroup divides its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Division {
    /// Invocations.
    pub lanes: u32,
    /// Keys that an invocation scores per round.
    pub keys: u32,
    /// Invocations that together gather all elements of a head: a divisor of `lanes`.
    pub element_lanes: u32,
}

impl Division {
    /// For GPUs: as many invocations as four workgroups of one head each would have.
    pub const WIDE: Self = Self { lanes: 256, keys: 1, element_lanes: 64 };
    /// The same for a cache of F16, which is read two elements at a time.
    pub const WIDE_F16: Self = Self { element_lanes: 32, ..Self::WIDE };
    /// For CPUs, where each load is done lane by lane, even if all lanes read the same. So an invocation has
    /// several keys and several elements, and uses what it reads of a query and of the weights for all of
    /// them.
    pub const ON_CPU: Self = Self { lanes: 8, keys: 8, element_lanes: 8 };

    /// The division for this kind of device and this type of cache.
    pub fn of(target: Target, cache_type: CacheType) -> Self {
        match cache_type {
            _ if target.is_cpu() => Self::ON_CPU,
            CacheType::F32 => Self::WIDE,
            CacheType::F16 => Self::WIDE_F16,
        }
    }
}

/// Query heads per KV head, and the number of workgroups that they are divided among.
fn sharing(params: &HeadParams) -> (u32, u32) {
    let heads = params.heads / params.kv_heads;
    (heads, heads.div_ceil(MOST_HEADS))
}

/// The kernel for heads of the sizes in `params`.
pub fn variant(params: &HeadParams, division: Division, cache_type: CacheType) -> Variant {
    let (heads, workgroups) = sharing(params);
    // An invocation reads an element at a time, or a word of two.
    let pieces = params.head_dim.div_ceil(division.element_lanes * 4 / cache_type.bytes() as u32);
    cache_type
        .apply(Variant::new("attention"))
        .choose(Choice::Heads(heads.div_ceil(workgroups), params.head_dim))
        .constant("PIECES", pieces)
        .choose(Choice::Division(division.lanes, division.keys, division.element_lanes))
}

/// Maximum iterations of an invocation's loops, if it sees the whole context.
fn rounds(params: &HeadParams, division: Division) -> u64 {
    let Division { lanes, keys, element_lanes } = division;
    let (heads, shares) = sharing(params);
    let positions = u64::from(params.context.min(params.window));
    let keys_of_round = u64::from(lanes * keys);
    let find_most = u64::from(heads.div_ceil(shares)) * u64::from(lanes.min(16));
    let gather = keys_of_round / u64::from(lanes / element_lanes) + 1;
    let a_round = 1 + u64::from(params.head_dim / 4) + find_most + 16 + gather;
    // Also the loads before these loops and the stores after them.
    positions.div_ceil(keys_of_round) * a_round + 4 * u64::from(params.head_dim) + 1024
}

/// The longest context, up to `most` positions, for which the driver allows the iterations of an invocation's
/// loops. The context in `params` is ignored.
pub fn most_context(gpu: &Gpu, params: &HeadParams, cache_type: CacheType, most: u32) -> u32 {
    let (division, most_rounds) = (Division::of(gpu.target(), cache_type), gpu.most_rounds());
    let is_too_long =
        |context| most_rounds.is_some_and(|most| rounds(&HeadParams { context, ..*params }, division) > most);
    if !is_too_long(most) {
        return most;
    }
    // A longer context needs more iterations.
    let (mut fits, mut fails) = (0, most);
    while fails - fits > 1 {
        let middle = fits.midpoint(fails);
        if is_too_long(middle) { fails = middle } else { fits = middle }
    }
    fits
}

/// Dispatches a workgroup for each KV head of each token, or several if many query heads share a KV head.
pub fn dispatch(
    gpu: &Gpu,
    step: &Buffer,
    params: &HeadParams,
    division: Division,
    cache: &KvCache,
    [q, y]: [&Buffer; 2],
) -> Result<Dispatch, GpuError> {
    gpu.check_rounds("attention", rounds(params, division))?;
    let (heads, shares) = sharing(params);
    let workgroups = [Workgroups::Fixed(params.kv_heads * shares), Workgroups::PerTokens(1)];
    // One with a key, and one with a value.
    let each = 2 * u64::from(heads.div_ceil(shares)) * u64::from(params.head_dim);
    let work = Work::APosition { each, window: params.window };
    let buffers = [(0, step), (2, q), (3, &cache.buffer), (4, y)];
    let kernel = gpu.kernel(variant(params, division, cache.cache_type))?;
    Ok(kernel.bind(gpu, params, &buffers, workgroups)?.with_work(work))
}

/// The twin for one query head; `keys` and `values` are those that it sees, in order.
pub fn cpu(query: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>], scale: f32) -> Vec<f32> {
    let scores: Vec<f32> =
        keys.iter().map(|key| scale * query.iter().zip(key).map(|(q, k)| q * k).sum::<f32>()).collect();
    let most = scores.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f32> = scores.iter().map(|s| (s - most).exp()).collect();
    let total: f32 = weights.iter().sum();
    let element = |i: usize| weights.iter().zip(values).map(|(w, v)| w * v[i]).sum::<f32>() / total;
    (0..query.len()).map(element).collect()
}
