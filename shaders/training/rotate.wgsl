// Rotary position embedding of queries and keys where they are (Su et al., 2021), in the half-split order of rope.wgsl.
// BACK rotates the other way, as gradients are.
//
// One workgroup rotates the heads of one token. One invocation has every 64th pair of elements.
//
// Bindings:
//   1  rotating   heads, elements and strides
//   2  rotations  [positions, head_dim / 2] cosines and sines
//   3  heads      [tokens, stride], f32: of each token its queries, its keys and its values
//
// Workgroups: (tokens, 1).

struct Rotating {
    // Query and key heads together, and half the elements of one.
    heads: u32,
    half_dim: u32,
    // Elements from one token to the next.
    stride: u32,
    // Tokens of a sequence, which has positions from 0 on.
    length: u32,
}

@group(0) @binding(1) var<uniform> rotating: Rotating;
@group(0) @binding(2) var<storage, read> rotations: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> heads: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let half_dim = rotating.half_dim;
    let position = group.x % rotating.length;
    for (var i = lane; i < rotating.heads * half_dim; i += 64u) {
        let in_head = i % half_dim;
        let at = group.x * rotating.stride + 2u * half_dim * (i / half_dim) + in_head;
        let rotation = rotations[position * half_dim + in_head];
        let first = heads[at];
        let second = heads[at + half_dim];
#ifdef BACK
        heads[at] = first * rotation.x + second * rotation.y;
        heads[at + half_dim] = second * rotation.x - first * rotation.y;
#else
        heads[at] = first * rotation.x - second * rotation.y;
        heads[at + half_dim] = second * rotation.x + first * rotation.y;
#endif
    }
}
