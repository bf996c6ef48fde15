// Rotary position embedding (Su et al., 2021) in the half-split order of Hugging Face's Llama: element i is rotated
// with element i + head_dim / 2. HEAD_NORM applies an RMS norm to each query and key head first (Qwen3).
//
// One workgroup handles one head of one token: a query head is rotated in place, a key head is rotated into the cache,
// a value head is copied into it. One invocation has every 64th pair of elements: pairs, because a cache of F16
// (F16_CACHE) has two in a word.
//
// Bindings:
//   0  step            the tokens of this batch and their positions (shared/step.wgsl)
//   1  heads           the shape of heads and cache (shared/heads.wgsl)
//   2  qkv             [tokens, qkv_stride / 2] pairs of f32: of each token its queries, its keys and its values
//   3  rotations       [positions, head_dim / 4]: cos and sin of two frequencies, f32
//   4  cache           pairs of F32, or words of two F16, as shared/heads.wgsl orders them
//   5  q_norm          [head_dim / 2] pairs of f32, where there is HEAD_NORM
//   6  k_norm          the same for keys
//
// Workgroups: (query, key and value heads, tokens).

#import step
#import heads
#import finite

@group(0) @binding(2) var<storage, read_write> qkv: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> rotations: array<vec4<f32>>;
#ifdef F16_CACHE
@group(0) @binding(4) var<storage, read_write> cache: array<u32>;
#else
@group(0) @binding(4) var<storage, read_write> cache: array<vec2<f32>>;
#endif
#ifdef HEAD_NORM
@group(0) @binding(5) var<storage, read> q_norm: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read> k_norm: array<vec2<f32>>;

#import rms
#endif

// Where the cache has the pairs of key or value head `head` at the position that `token` has.
fn cache_at(is_value: u32, head: u32, token: u32) -> u32 {
    let heads_before = is_value * heads.kv_heads + head;
    return (heads_before * heads.context + step.position + token) * (heads.head_dim >> 1u);
}

#ifdef F16_CACHE
// In F16.
const NAN: u32 = 0x7e00u;
#endif

// Puts a pair into the cache.
fn keep(at: u32, pair: vec2<f32>) {
#ifdef F16_CACHE
    // It is not said what packing makes of numbers beyond F16, nor what clamping makes of a NaN.
    var word = pack2x16float(clamp(pair, vec2<f32>(-65504.0), vec2<f32>(65504.0)));
    word = select(word, (word & 0xffff0000u) | NAN, is_not_finite(bitcast<u32>(pair.x)));
    cache[at] = select(word, (word & 0xffffu) | (NAN << 16u), is_not_finite(bitcast<u32>(pair.y)));
#else
    cache[at] = pair;
#endif
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let token = group.y;
    let pairs = heads.head_dim >> 1u;
    // Pairs of half a head.
    let half_pairs = pairs >> 1u;
    let is_query = head < heads.heads;
    let is_value = head >= heads.heads + heads.kv_heads;
    // Keys and values follow as more heads.
    let at = ((token * heads.qkv_stride) >> 1u) + head * pairs;
    let kv_head = select(head - heads.heads, head - heads.heads - heads.kv_heads, is_value);

    if is_value {
        let to = cache_at(1u, kv_head, token);
        for (var i = lane; i < pairs; i += 64u) {
            keep(to + i, qkv[at + i]);
        }
        return;
    }
#ifdef HEAD_NORM
    var part = 0.0;
    for (var i = lane; i < pairs; i += 64u) {
        let e = qkv[at + i];
        part = fma(e.y, e.y, fma(e.x, e.x, part));
    }
    let scale = rms_scale(part, lane, heads.head_dim, heads.epsilon);
#endif
    let to = cache_at(0u, kv_head, token);
    for (var i = lane; i < half_pairs; i += 64u) {
        let rotation = rotations[(step.position + token) * half_pairs + i];
        var a = qkv[at + i];
        var b = qkv[at + i + half_pairs];
#ifdef HEAD_NORM
        if is_query {
            a = a * scale * q_norm[i];
            b = b * scale * q_norm[i + half_pairs];
        } else {
            a = a * scale * k_norm[i];
            b = b * scale * k_norm[i + half_pairs];
        }
#endif
        let first = a * rotation.xz - b * rotation.yw;
        let second = b * rotation.xz + a * rotation.yw;
        if is_query {
            qkv[at + i] = first;
            qkv[at + i + half_pairs] = second;
        } else {
            keep(to + i, first);
            keep(to + i + half_pairs, second);
        }
    }
}
