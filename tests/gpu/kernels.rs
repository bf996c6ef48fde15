//! Kernels that read no weights compute what their twins on the CPU say, in every variant, for awkward
//! sizes.

use bantam::gpu::kernels::attention::Division;
use bantam::gpu::kernels::norm::NormParams;
use bantam::gpu::kernels::rope::{HeadParams, RopeBuffers};
use bantam::gpu::kernels::swiglu::SwigluParams;
use bantam::gpu::kernels::{Step, argmax, attention, norm, rope, swiglu, top};
use bantam::gpu::{CacheType, Gpu, GpuError, KvCache, download};
use half::f16;

use crate::data::Random;
use crate::device;
use crate::on_device::{EPSILON, assert_close, normal, padded, read, run, step, storage, uniform};

#[test]
fn norms_are_those_of_the_twin() {
    let gpu = device::shared();
    for (len, tokens) in [(1, 1), (50, 3), (64, 16), (300, 17), (1000, 2)] {
        let (x_stride, y_stride) = (len + 5, len + 2);
        let (x, weight) = (normal(1, len * tokens), normal(2, len));
        let params = NormParams {
            len: len as u32,
            x_stride: x_stride as u32,
            y_stride: y_stride as u32,
            epsilon: 1e-5,
        };
        let device_x = storage(&gpu, &padded(&x, len, x_stride, f32::NAN));
        let device_weight = storage(&gpu, &weight);
        for (output, first) in [(false, 0), (true, 0), (true, tokens - 1)] {
            let y = storage(&gpu, &vec![7f32; y_stride * tokens]);
            let step = uniform(&gpu, Step { first_output: first as u32, ..step(tokens, 0) });
            let dispatch =
                norm::dispatch(&gpu, &step, &params, output, [&device_x, &device_weight, &y]).unwrap();
            run(&gpu, &[dispatch], tokens - first);
            let got = read(&gpu, &y, y_stride * tokens);
            for token in first..tokens {
                let wanted = norm::cpu(&x[token * len..][..len], &weight, params.epsilon);
                let (got, padding) = got[(token - first) * y_stride..][..y_stride].split_at(len);
                // Squares do not cancel, so their sum is off by a rounding a step at the most, and
                // root, quotient and products by a few more.
                let tolerance = |i: usize| (len + 16) as f64 * EPSILON * f64::from(wanted[i].abs());
                assert_close(
                    got,
                    &wanted,
                    tolerance,
                    &format!("{len} elements, token {token}, output {output}"),
                );
                assert!(padding.iter().all(|&p| p == 7.0));
            }
        }
    }
}

/// The number of these bits, or one that is finite.
fn finite(bits: u32) -> f32 {
    let number = f32::from_bits(bits);
    if number.is_finite() { number } else { f32::from_bits(bits & !(1 << 30)) }
}

#[test]
fn the_largest_number_is_found_where_it_is_first() {
    let gpu = device::shared();
    let special =
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0, f32::MIN, f32::MIN_POSITIVE, -f32::NAN];
    let mut random = Random::new(5);
    for len in [1, 63, 64, 1023, 1024, 1025, 5000] {
        for kind in 0..5 {
            let number = |i| match kind {
                0 => f32::from_bits(random.next() as u32),
                1 => special[random.below(special.len())],
                // One that is not finite, at the end of the first span or of all.
                3 if i == len.min(1024) - 1 => special[random.below(3)],
                4 => finite(random.next() as u32),
                // Below zero all of them, and many alike.
                2 => -(random.below(40) as f32),
                _ => -1e3 * (random.below(40) as f32),
            };
            let numbers: Vec<f32> = (0..len).map(number).collect();
            let found = storage(&gpu, &vec![7u32; argmax::found_bytes(len) as usize / 4]);
            let on_device = storage(&gpu, &numbers);
            let dispatch = argmax::dispatch(&gpu, len, [&on_device, &found]).unwrap();
            run(&gpu, &[dispatch], 1);
            let bytes = pollster::block_on(download(&gpu, &found, argmax::found_bytes(len))).unwrap();
            let got: &[argmax::Largest] = bytemuck::cast_slice(&bytes);
            assert_eq!(got, argmax::cpu(&numbers), "{len} {kind}");
            let finite = numbers.iter().all(|number| number.is_finite());
            assert!(kind != 4 || finite);
            let first = |a: usize, b: usize| if numbers[b] > numbers[a] { b } else { a };
            let expected = (0..len).reduce(first).filter(|_| finite);
            assert_eq!(argmax::likeliest(got), expected.map(|i| i as u32), "{len} {kind}");
        }
    }
}

#[test]
fn the_largest_numbers_are_found_with_all_that_are_as_large() {
    let gpu = device::shared();
    let mut random = Random::new(6);
    let (mut enough, mut too_many) = (0, 0);
    for len in [1, 200, 256, 300, 1025, 20_000] {
        for kind in 0..5 {
            let number = |i| match kind {
                0 => finite(random.next() as u32),
                1 => random.below(1 << 20) as f32 - 1e6,
                2 => random.below(50) as f32,
                3 => [0.0, -0.0][random.below(2)],
                _ if i == len / 2 => [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][random.below(3)],
                _ => random.below(1 << 20) as f32,
            };
            let numbers: Vec<f32> = (0..len).map(number).collect();
            let on_device = storage(&gpu, &numbers);
            for count in [1, 40, 1000] {
                let rank = top::rank_for(count);
                let step = uniform(&gpu, Step { rank, ..step(1, 0) });
                let found = storage(&gpu, &vec![7u8; top::FOUND_BYTES as usize]);
                let dispatch = top::dispatch(&gpu, &step, len, [&on_device, &found]).unwrap();
                run(&gpu, &[dispatch], 1);
                let bytes = pollster::block_on(download(&gpu, &found, top::FOUND_BYTES)).unwrap();
                let bits = |top: top::Top| {
                    let placed = top.placed.iter().map(|p| (p.place, p.number.to_bits()));
                    (top.bound.to_bits(), placed.collect::<Vec<_>>())
                };
                let (got, wanted) = (top::read(&bytes), top::cpu(&numbers, rank));
                assert_eq!(got.clone().map(bits), wanted.map(bits), "{len} {kind} {count}");
                assert!(kind != 4 || got.is_none(), "{len} {count}: what is not finite was not told");
                match got {
                    None => too_many += 1,
                    Some(top) => {
                        assert!(top.placed.len() > count.min(100).min(len - 1), "{len} {kind} {count}");
                        enough += 1;
                    }
                }
            }
        }
    }
    assert!(enough > 40 && too_many > 4, "{enough} {too_many}");
}

#[test]
fn swiglu_is_that_of_the_twin() {
    let gpu = device::shared();
    for (len, tokens) in [(1, 1), (63, 2), (64, 16), (172, 17)] {
        let stride = len + 4;
        let mut gate: Vec<f32> = normal(1, len * tokens).into_iter().map(|g| 4.0 * g).collect();
        let up = normal(2, len * tokens);
        gate[0] = -1000.0;
        gate[len * tokens - 1] = 1000.0;
        let device_gate = storage(&gpu, &padded(&gate, len, stride, 7.0));
        let device_up = storage(&gpu, &padded(&up, len, stride, 7.0));
        let params = SwigluParams { len: len as u32, stride: stride as u32, zeros: [0; 2] };
        let step = uniform(&gpu, step(tokens, 0));
        let dispatch = swiglu::dispatch(&gpu, &step, &params, [&device_gate, &device_up]).unwrap();
        run(&gpu, &[dispatch], tokens);
        let got = read(&gpu, &device_gate, stride * tokens);
        for (token, got) in got.chunks(stride).enumerate() {
            let wanted = swiglu::cpu(&gate[token * len..][..len], &up[token * len..][..len]);
            let (got, padding) = got.split_at(len);
            // WGSL allows exp an error of 3 + 2 |x| units in the last place; here |x| < 25 but for
            // the extremes, whose results are 0 and the product itself. 1e-30 is less than any sum notices.
            let tolerance = |i: usize| 1e-30 + 64.0 * 2.0 * EPSILON * f64::from(wanted[i].abs());
            assert_close(got, &wanted, tolerance, &format!("{len} elements, token {token}"));
            assert!(padding.iter().all(|&p| p == 7.0));
        }
    }
}

/// A layer's heads, its cache and a batch that continues it.
struct Heads {
    params: HeadParams,
    tokens: usize,
    position: usize,
}

impl Heads {
    fn new(
        heads: usize,
        kv_heads: usize,
        dim: usize,
        window: Option<usize>,
        tokens: usize,
        position: usize,
    ) -> Self {
        let params = HeadParams {
            heads: heads as u32,
            kv_heads: kv_heads as u32,
            head_dim: dim as u32,
            context: (position + tokens + 3) as u32,
            qkv_stride: ((heads + 2 * kv_heads) * dim) as u32 + 8,
            y_stride: (heads * dim).next_multiple_of(16) as u32 + 16,
            window: window.map_or(u32::MAX, |w| w as u32),
            scale: (dim as f32).sqrt().recip(),
            epsilon: 1e-5,
            unused: [0; 3],
        };
        Self { params, tokens, position }
    }

    fn dim(&self) -> usize {
        self.params.head_dim as usize
    }

    /// Elements of the cache.
    fn cache_len(&self) -> usize {
        2 * (self.params.kv_heads * self.params.context) as usize * self.dim()
    }

    /// Where the cache has a key (side 0) or value (side 1).
    fn cache_at(&self, side: usize, kv_head: usize, position: usize) -> usize {
        let heads = side * self.params.kv_heads as usize + kv_head;
        (heads * self.params.context as usize + position) * self.dim()
    }

    fn what(&self) -> String {
        format!("{:?}, {} tokens from {}", self.params, self.tokens, self.position)
    }
}

/// Head sizes of the smallest and largest kind and with remainders, heads that share keys and
/// values, windows, and batches that begin anywhere.
fn head_cases() -> Vec<Heads> {
    let mut all = Vec::new();
    for dim in [4, 8, 64, 80, 128, 132, 256] {
        all.push(Heads::new(6, 2, dim, None, 5, 0));
        all.push(Heads::new(3, 3, dim, Some(9), 17, 70));
        all.push(Heads::new(4, 1, dim, Some(64), 3, 150));
    }
    // More query heads to a KV head than a workgroup takes, also such as do not divide evenly.
    for heads in [10, 14, 16] {
        all.push(Heads::new(heads, 2, 96, None, 2, 130));
    }
    all.push(Heads::new(2, 1, 16, None, 64, 64));
    all.push(Heads::new(2, 2, 16, Some(1), 2, 100));
    all.push(Heads::new(2, 2, 16, None, 1, 600));
    all
}

#[test]
fn attention_is_that_of_the_twin() {
    let gpu = device::shared();
    for case in head_cases() {
        for division in [Division::WIDE, Division::ON_CPU] {
            check_attention(&gpu, &case, division, CacheType::F32);
        }
    }
}

#[test]
fn attention_over_a_cache_of_f16_is_that_of_the_twin_over_the_same_numbers() {
    let gpu = device::shared();
    for case in head_cases() {
        for division in [Division::WIDE_F16, Division::ON_CPU] {
            check_attention(&gpu, &case, division, CacheType::F16);
        }
    }
}

/// A cache that holds `values`.
fn kv_cache(gpu: &Gpu, cache_type: CacheType, values: &[f32]) -> KvCache {
    let buffer = match cache_type {
        CacheType::F32 => storage(gpu, values),
        CacheType::F16 => {
            storage(gpu, &values.iter().map(|&v| f16::from_f32(v).to_bits()).collect::<Vec<_>>())
        }
    };
    KvCache { buffer, cache_type }
}

/// `values` as a cache keeps them.
fn kept(cache_type: CacheType, values: Vec<f32>) -> Vec<f32> {
    match cache_type {
        CacheType::F32 => values,
        CacheType::F16 => values.into_iter().map(|v| f16::from_f32(v).to_f32()).collect(),
    }
}

fn check_attention(gpu: &Gpu, case: &Heads, division: Division, cache_type: CacheType) {
    let dim = case.dim();
    let [q_stride, stride] = [case.params.qkv_stride, case.params.y_stride].map(|stride| stride as usize);
    let q: Vec<f32> = normal(1, case.tokens * q_stride).into_iter().map(|q| 2.0 * q).collect();
    let mut cache = kept(cache_type, normal(2, case.cache_len()));
    let end = case.position + case.tokens;
    let kv_heads = case.params.kv_heads as usize;
    // Positions that are not filled yet must not matter.
    for (side, kv_head) in [(0, 0), (1, 0), (0, kv_heads - 1), (1, kv_heads - 1)] {
        let at = case.cache_at(side, kv_head, end);
        cache[at..at + 3 * dim].fill(f32::NAN);
    }
    let y = storage(gpu, &vec![7f32; case.tokens * stride]);
    let step = uniform(gpu, step(case.tokens, case.position));
    let device_cache = kv_cache(gpu, cache_type, &cache);
    let with = [&storage(gpu, &q), &y];
    run(
        gpu,
        &[attention::dispatch(gpu, &step, &case.params, division, &device_cache, with).unwrap()],
        case.tokens,
    );
    let got = read(gpu, &y, case.tokens * stride);
    for token in 0..case.tokens {
        let position = case.position + token;
        let first = (position + 1).saturating_sub(case.params.window as usize);
        for head in 0..case.params.heads as usize {
            let kv_head = head / (case.params.heads as usize / kv_heads);
            let seen = |side| -> Vec<Vec<f32>> {
                let row = |p| cache[case.cache_at(side, kv_head, p)..][..dim].to_vec();
                (first..=position).map(row).collect()
            };
            let at = token * stride + head * dim;
            let query = &q[token * q_stride + head * dim..][..dim];
            let wanted = attention::cpu(query, &seen(0), &seen(1), case.params.scale);
            // Scores reach about 10: their own rounding, exp's (3 + 2 |x| units in the last
            // place) and the order of the sums change weights by less than 1e-5, relatively,
            // and the values that they weigh reach about 4.
            let what = format!("{}, token {token}, head {head}", case.what());
            assert_close(&got[at..at + dim], &wanted, |_| 4e-5, &what);
        }
        let padding = &got[token * stride + case.params.heads as usize * dim..(token + 1) * stride];
        assert!(padding.iter().all(|&p| p == 7.0), "{}", case.what());
    }
}

#[test]
fn attention_loses_nothing_that_is_not_finite() {
    let gpu = device::shared();
    let case = &head_cases()[0];
    let (dim, tokens) = (case.dim(), case.tokens);
    let [q_stride, stride] = [case.params.qkv_stride, case.params.y_stride].map(|stride| stride as usize);
    for (side, value) in [(0, f32::NAN), (0, f32::INFINITY), (1, f32::NAN), (1, f32::INFINITY)] {
        for (division, cache_type) in [
            (Division::WIDE, CacheType::F32),
            (Division::ON_CPU, CacheType::F32),
            (Division::WIDE_F16, CacheType::F16),
        ] {
            let mut cache = normal(2, case.cache_len());
            // Of the last position: every window has it.
            cache[case.cache_at(side, 0, case.position + tokens - 1)] = value;
            let y = storage(&gpu, &vec![7f32; tokens * stride]);
            let step = uniform(&gpu, step(tokens, case.position));
            let device_cache = kv_cache(&gpu, cache_type, &cache);
            let with = [&storage(&gpu, &normal(1, tokens * q_stride)), &y];
            let dispatch = attention::dispatch(&gpu, &step, &case.params, division, &device_cache, with);
            run(&gpu, &[dispatch.unwrap()], tokens);
            let got = read(&gpu, &y, tokens * stride);
            let head = &got[(tokens - 1) * stride..][..dim];
            // Of values only one element of each head is not.
            let lost = head.iter().filter(|e| e.is_finite()).count();
            assert_eq!(lost, if side == 0 { 0 } else { dim - 1 }, "{side} {value} {cache_type:?}: {head:?}");
        }
    }
}

#[test]
fn rotations_and_head_norms_are_those_of_the_twin_and_the_cache_is_filled() {
    let gpu = device::shared();
    for case in head_cases() {
        for head_norm in [false, true] {
            check_rope(&gpu, &case, head_norm, CacheType::F32);
            check_rope(&gpu, &case, head_norm, CacheType::F16);
        }
    }
}

/// What a cache holds.
fn read_cache(gpu: &Gpu, cache: &KvCache, len: usize) -> Vec<f32> {
    match cache.cache_type {
        CacheType::F32 => read(gpu, &cache.buffer, len),
        CacheType::F16 => {
            let bytes = pollster::block_on(download(gpu, &cache.buffer, 2 * len as u64)).unwrap();
            bytes.chunks(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
    }
}

fn check_rope(gpu: &Gpu, case: &Heads, head_norm: bool, cache_type: CacheType) {
    let dim = case.dim();
    let stride = case.params.qkv_stride as usize;
    let (heads, kv_heads) = (case.params.heads as usize, case.params.kv_heads as usize);
    let qkv = normal(1, case.tokens * stride);
    let angles = normal(4, case.params.context as usize * dim / 2);
    let rotations: Vec<[f32; 2]> = angles.iter().map(|a| [a.cos(), a.sin()]).collect();
    let norms = [5, 6].map(|seed| normal(seed, dim));
    let before = kept(cache_type, normal(7, case.cache_len()));

    let device_qkv = storage(gpu, &qkv);
    let cache = kv_cache(gpu, cache_type, &before);
    let device_rotations = storage(gpu, &rotations);
    let device_norms = [0, 1].map(|i| storage(gpu, &norms[i]));
    let with = RopeBuffers {
        qkv: &device_qkv,
        rotations: &device_rotations,
        cache: &cache,
        head_norms: head_norm.then_some([&device_norms[0], &device_norms[1]]),
    };
    let step = uniform(gpu, step(case.tokens, case.position));
    run(gpu, &[rope::dispatch(gpu, &step, &case.params, &with).unwrap()], case.tokens);
    let rotated = read(gpu, &device_qkv, qkv.len());
    let cached = read_cache(gpu, &cache, case.cache_len());

    let (mut wanted_q, mut wanted_cache) = (qkv.clone(), before);
    for token in 0..case.tokens {
        let position = case.position + token;
        let rotations = &rotations[position * dim / 2..][..dim / 2];
        let twin = |head: &[f32], norm: &[f32]| {
            rope::cpu(head, rotations, head_norm.then_some((norm, case.params.epsilon)))
        };
        for head in 0..heads {
            let at = token * stride + head * dim;
            wanted_q[at..at + dim].copy_from_slice(&twin(&qkv[at..at + dim], &norms[0]));
        }
        for head in 0..kv_heads {
            let at = |kind: usize| token * stride + (heads + kind * kv_heads + head) * dim;
            let key = case.cache_at(0, head, position);
            wanted_cache[key..key + dim].copy_from_slice(&twin(&qkv[at(0)..][..dim], &norms[1]));
            let value = case.cache_at(1, head, position);
            wanted_cache[value..value + dim].copy_from_slice(&qkv[at(1)..][..dim]);
        }
    }
    // A difference of two products of numbers up to 5, or up to 25 after a norm with such weights,
    // each off by a few roundings, and the norm's sum of squares by a few more.
    let tolerance = if head_norm { 2e-5 } else { 2e-6 };
    assert_close(&rotated, &wanted_q, |_| tolerance, &format!("queries of {}", case.what()));
    // An F16 is off by up to 2^-11 of a number, and by 2^-10 where a device does not round to nearest.
    let relative = if cache_type == CacheType::F16 { 2f64.powi(-10) } else { 0.0 };
    let kept_tolerance = |i: usize| tolerance + relative * f64::from(wanted_cache[i].abs()) + relative * 2e-5;
    assert_close(&cached, &wanted_cache, kept_tolerance, &format!("cache of {}", case.what()));
    for side_head in 0..kv_heads {
        let values = case.cache_at(1, side_head, 0)
            ..case.cache_at(1, side_head, 0) + case.params.context as usize * dim;
        if cache_type == CacheType::F32 {
            assert_eq!(cached[values.clone()], wanted_cache[values], "values of {}", case.what());
        }
    }
}

/// Some drivers end loops after so many rounds: over as long a context as they let a kernel finish, results are right,
/// and a longer one is refused.
#[test]
fn attention_over_a_long_context_is_right_or_refused() {
    let gpu = device::shared();
    for (division, position) in [(Division::ON_CPU, 30_000), (Division::WIDE, 60_000)] {
        let case = Heads::new(3, 1, 64, None, 1, position);
        check_attention(&gpu, &case, division, CacheType::F32);
    }
    let case = Heads::new(3, 1, 64, None, 1, 3);
    let params = HeadParams { context: 10_000_000, ..case.params };
    let (step, cache) = (uniform(&gpu, step(1, 3)), kv_cache(&gpu, CacheType::F32, &[0.0; 4096]));
    let with = [&storage(&gpu, &[0f32; 1024]), &storage(&gpu, &[0f32; 1024])];
    let dispatch = attention::dispatch(&gpu, &step, &params, Division::ON_CPU, &cache, with);
    let is_refused = matches!(dispatch, Err(GpuError::TooManyRounds { .. }));
    assert_eq!(is_refused, gpu.name().contains("llvmpipe"));
}
