// A step of the optimizer for weights that are kept as f32, side by side: BF16, or with UNROUNDED f32.
//
// One invocation updates one.
//
// Bindings:
//   0  step     what the step is given (shared/update_step.wgsl)
//   1  vector   how many weights, and the number of the tensor
//   2  grads    [weights], f32
//   3  weights  [weights], f32
//   5  moments  [weights], pairs of f32, where there is MOMENTS
//   6  status   what went wrong
//
// Workgroups: (64 weights each, 1).

struct Vector {
    count: u32,
    tensor: u32,
    unused0: u32,
    unused1: u32,
}

@group(0) @binding(1) var<uniform> vector: Vector;
@group(0) @binding(2) var<storage, read> grads: array<f32>;
@group(0) @binding(3) var<storage, read_write> weights: array<u32>;
#ifdef MOMENTS
@group(0) @binding(5) var<storage, read_write> moments: array<vec2<f32>>;
#endif
@group(0) @binding(6) var<storage, read_write> status: atomic<u32>;

#import updated

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group.x * 64u + lane;
    if i >= vector.count {
        return;
    }
#ifdef MOMENTS
    var own = moments[i];
#else
    var own = vec2<f32>(0.0);
#endif
    weights[i] = updated(weights[i], grads[i], &own, vector.tensor, 0u, i);
#ifdef MOMENTS
    moments[i] = own;
#endif
}
