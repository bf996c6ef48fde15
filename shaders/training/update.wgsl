// A step of the optimizer for a piece of a matrix, whose weights are uncompressed BF16.
//
// One invocation updates a vector: eight columns of a row.
//
// Bindings:
//   0  step     what the step is given (shared/update_step.wgsl)
//   1  wide     the piece of the matrix (shared/wide_vectors.wgsl)
//   2  grads    [rows, columns], f32
//   3  words    vectors of BF16
//   5  moments  [rows, columns], pairs of f32, where there is MOMENTS; with MOMENTS_BF16 the first
//               moments, vectors of BF16
//   6  status   what went wrong
//   7  roots    with MOMENTS_BF16 the roots of the second moments, vectors of BF16
//
// Workgroups: (rows of 64 · 256 vectors, 256).

#import wide_vectors

@group(0) @binding(2) var<storage, read> grads: array<f32>;
@group(0) @binding(3) var<storage, read_write> words: array<vec4<u32>>;
#ifdef MOMENTS_BF16
@group(0) @binding(5) var<storage, read_write> first_words: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> root_words: array<vec4<u32>>;
#else
#ifdef MOMENTS
@group(0) @binding(5) var<storage, read_write> moments: array<vec2<f32>>;
#endif
#endif
@group(0) @binding(6) var<storage, read_write> status: atomic<u32>;

#import updated

#ifdef MOMENTS_BF16
// The root of a second moment is kept, because roots of squares differ as gradients do, and squares twice as much: most
// of their exponents would not fit a window of the fast layout. Both are rounded as if they were weights of other
// tensors.
const FIRST_MOMENTS: u32 = 0x40000000u;
const ROOTS: u32 = 0x80000000u;

fn rounded_moment(moment: f32, before: u32, tensor: u32, row: u32, col: u32) -> u32 {
    let result = rounded(moment, tensor, row, col);
    if is_not_finite(result) {
        atomicOr(&status, BAD_WEIGHT);
        return before;
    }
    return result;
}
#endif

// The bits of the weight in column `col` of the vector after the step, and of its moments where they are BF16. All are
// in the upper halves of words.
fn updated_at(place: vec2<u32>, col: u32, bits: vec3<u32>) -> vec3<u32> {
    if place.y + col >= wide.columns {
        return vec3<u32>(0u);
    }
    let at = place.x * wide.columns + place.y + col;
    let row = wide.first_row + place.x;
    let column = place.y + col;
#ifdef MOMENTS_BF16
    let root = bitcast<f32>(bits.z);
    let before = vec2<f32>(bitcast<f32>(bits.y), root * root);
    var own = before;
    let weight = updated(bits.x, grads[at], &own, wide.tensor, row, column);
    if own.x == before.x && own.y == before.y {
        return vec3<u32>(weight, bits.yz);
    }
    let first = rounded_moment(own.x, bits.y, wide.tensor ^ FIRST_MOMENTS, row, column);
    let new_root = rounded_moment(sqrt(own.y), bits.z, wide.tensor ^ ROOTS, row, column);
    return vec3<u32>(weight, first, new_root);
#else
#ifdef MOMENTS
    var own = moments[at];
    let weight = updated(bits.x, grads[at], &own, wide.tensor, row, column);
    moments[at] = own;
#else
    var own = vec2<f32>(0.0);
    let weight = updated(bits.x, grads[at], &own, wide.tensor, row, column);
#endif
    return vec3<u32>(weight, 0u, 0u);
#endif
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = vector_index(group, lane);
    let place = place_of(i);
    if place.x >= wide.rows {
        return;
    }
    let at = wide.words_at + i;
    let pairs = words[at];
#ifdef MOMENTS_BF16
    let first = first_words[at];
    let roots = root_words[at];
#else
    let first = vec4<u32>(0u);
    let roots = vec4<u32>(0u);
#endif
    var new_pairs = vec4<u32>(0u);
    var new_first = vec4<u32>(0u);
    var new_roots = vec4<u32>(0u);
#unroll w 4
    let before$w = vec3<u32>(pairs[$w], first[$w], roots[$w]);
    let even$w = updated_at(place, 2u * $wu, before$w << vec3<u32>(16u)) >> vec3<u32>(16u);
    let both$w = even$w | updated_at(place, 2u * $wu + 1u, before$w & vec3<u32>(0xffff0000u));
    new_pairs[$w] = both$w.x;
    new_first[$w] = both$w.y;
    new_roots[$w] = both$w.z;
#end
    words[at] = new_pairs;
#ifdef MOMENTS_BF16
    first_words[at] = new_first;
    root_words[at] = new_roots;
#endif
}
