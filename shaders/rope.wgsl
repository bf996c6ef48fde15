// Rotary position embedding (Su et al., 2021) in the half-split order of Hugging Face's Llama:
// element i is rotated with element i + head_dim / 2. A workgroup handles one head of one token:
// query heads are rotated in place, keys are rotated into the cache, values are copied into it.
//
// HEAD_NORM applies an RMS norm to each query and key head first (Qwen3).

#import step
#import heads

@group(0) @binding(2) var<storage, read_write> q: array<f32>;
@group(0) @binding(3) var<storage, read> k: array<f32>;
@group(0) @binding(4) var<storage, read> v: array<f32>;
// cos and sin by position and frequency.
@group(0) @binding(5) var<storage, read> rotations: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> cache: array<f32>;
#ifdef HEAD_NORM
@group(0) @binding(7) var<storage, read> q_norm: array<f32>;
@group(0) @binding(8) var<storage, read> k_norm: array<f32>;

var<workgroup> parts: array<f32, 64>;

// 1 / sqrt(mean(head²) + ε), from each invocation's sum of squares.
fn head_scale(part: f32, lane: u32) -> f32 {
    parts[lane] = part;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < 64u; i++) {
        sum += parts[i];
    }
    return 1.0 / sqrt(sum / f32(heads.head_dim) + heads.epsilon);
}
#endif

// Element `i` of key or value head `head` at the position that `token` has.
fn cache_at(is_value: u32, head: u32, token: u32) -> u32 {
    let side = is_value * heads.kv_heads * heads.context * heads.head_dim;
    return side + (head * heads.context + step.position + token) * heads.head_dim;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let token = group.y;
    let half_dim = heads.head_dim >> 1u;
    let is_query = head < heads.heads;
    let is_value = head >= heads.heads + heads.kv_heads;
    let q_at = token * heads.q_stride + head * heads.head_dim;
    let kv_head = select(head - heads.heads, head - heads.heads - heads.kv_heads, is_value);
    let kv_at = token * heads.kv_stride + kv_head * heads.head_dim;

    if is_value {
        let to = cache_at(1u, kv_head, token);
        for (var i = lane; i < heads.head_dim; i += 64u) {
            cache[to + i] = v[kv_at + i];
        }
        return;
    }
#ifdef HEAD_NORM
    var part = 0.0;
    for (var i = lane; i < heads.head_dim; i += 64u) {
        var e = 0.0;
        if is_query {
            e = q[q_at + i];
        } else {
            e = k[kv_at + i];
        }
        part = fma(e, e, part);
    }
    let scale = head_scale(part, lane);
#endif
    let to = cache_at(0u, kv_head, token);
    for (var i = lane; i < half_dim; i += 64u) {
        let rotation = rotations[(step.position + token) * half_dim + i];
        var a: f32;
        var b: f32;
        if is_query {
            a = q[q_at + i];
            b = q[q_at + i + half_dim];
        } else {
            a = k[kv_at + i];
            b = k[kv_at + i + half_dim];
        }
#ifdef HEAD_NORM
        if is_query {
            a = a * scale * q_norm[i];
            b = b * scale * q_norm[i + half_dim];
        } else {
            a = a * scale * k_norm[i];
            b = b * scale * k_norm[i + half_dim];
        }
#endif
        let first = a * rotation.x - b * rotation.y;
        let second = b * rotation.x + a * rotation.y;
        if is_query {
            q[q_at + i] = first;
            q[q_at + i + half_dim] = second;
        } else {
            cache[to + i] = first;
            cache[to + i + half_dim] = second;
        }
    }
}
