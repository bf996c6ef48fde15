// A step of the optimizer for a piece of a matrix, whose weights are uncompressed BF16.
//
// One invocation updates a vector: eight columns of a row.
//
// Bindings:
//   0  step     what the step is given (shared/update_step.wgsl)
//   1  wide     the piece of the matrix (shared/wide_vectors.wgsl)
//   2  grads    [rows, columns], f32
//   3  words    vectors of BF16
//   5  moments  [rows, columns], unless SGD is set (shared/updated.wgsl)
//   6  status   what went wrong
//
// Workgroups: (rows of 64 · 256 vectors, 256).

#import wide_vectors

@group(0) @binding(2) var<storage, read> grads: array<f32>;
@group(0) @binding(3) var<storage, read_write> words: array<vec4<u32>>;

#import updated

// The bits of column `col` of the vector after the step, in the upper half of a word.
fn updated_at(place: vec2<u32>, col: u32, bits: u32) -> u32 {
    if place.y + col >= wide.columns {
        return 0u;
    }
    let at = place.x * wide.columns + place.y + col;
    return updated(bits, grads[at], at, wide.tensor, wide.first_row + place.x, place.y + col);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = vector_index(group, lane);
    let place = place_of(i);
    if place.x >= wide.rows {
        return;
    }
    let pairs = words[wide.words_at + i];
    var result = vec4<u32>(0u);
#unroll w 4
    let first$w = updated_at(place, 2u * $wu, pairs[$w] << 16u);
    result[$w] = (first$w >> 16u) | updated_at(place, 2u * $wu + 1u, pairs[$w] & 0xffff0000u);
#end
    words[wide.words_at + i] = result;
}
