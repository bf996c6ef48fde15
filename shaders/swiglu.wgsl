// gate = silu(gate) · up, element by element.
//
// One workgroup handles 64 elements of one token. One invocation handles one.
//
// Bindings:
//   0  step    the tokens of this batch (shared/step.wgsl)
//   1  swiglu  elements of a token, and from one token to the next
//   2  gate    [tokens, stride], f32
//   3  up      [tokens, stride], f32
//
// Workgroups: (spans of 64 elements, tokens).

#import step
#import opaque
#import silu

struct Swiglu {
    len: u32,
    stride: u32,
    // As in shared/opaque.wgsl.
    zero: u32,
    unused0: u32,
}

@group(0) @binding(1) var<uniform> swiglu: Swiglu;
@group(0) @binding(2) var<storage, read_write> gate: array<f32>;
@group(0) @binding(3) var<storage, read> up: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group.x * 64u + lane;
    if i >= swiglu.len || group.y >= step.tokens {
        return;
    }
    let at = group.y * swiglu.stride + i;
    gate[at] = silu_times(gate[at], up[at], swiglu.zero);
}
