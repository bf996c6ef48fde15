// Multiplies numbers, where they are.
//
// One invocation handles one element.
//
// Bindings:
//   1  scaling  how many numbers, and by what
//   2  x        f32
//
// Workgroups: (rows of 64 · 256 elements, 256).

struct Scaling {
    elements: u32,
    by: f32,
    unused0: u32,
    unused1: u32,
}

@group(0) @binding(1) var<uniform> scaling: Scaling;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x * 256u + group.y) * 64u + lane;
    if i < scaling.elements {
        x[i] *= scaling.by;
    }
}
