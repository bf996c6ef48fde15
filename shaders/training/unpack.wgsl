// Uncompressed BF16 weights to f32, row by row.
//
// One invocation unpacks a vector: eight columns of a row.
//
// Bindings:
//   1  wide      the piece of the matrix (shared/wide_vectors.wgsl)
//   2  words     vectors of BF16
//   3  unpacked  [rows, columns], f32
//
// Workgroups: (rows of 64 · 256 vectors, 256).

#import wide_vectors

@group(0) @binding(2) var<storage, read> words: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> unpacked: array<f32>;

fn put(place: vec2<u32>, col: u32, bits: u32) {
    if place.y + col < wide.columns {
        unpacked[place.x * wide.columns + place.y + col] = bitcast<f32>(bits);
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = vector_index(group, lane);
    let place = place_of(i);
    if place.x >= wide.rows {
        return;
    }
    let pairs = words[wide.words_at + i];
#unroll w 4
    put(place, 2u * $wu, pairs[$w] << 16u);
    put(place, 2u * $wu + 1u, pairs[$w] & 0xffff0000u);
#end
}
