// Logits to the loss's gradients, where they are: (softmax - 1 at the target) / number of targets.
//
// One workgroup handles one token. One invocation has every 64th of its logits.
//
// Bindings:
//   0  update   what a step of the optimizer is given (shared/update_step.wgsl)
//   1  part     which logits are there
//   2  targets  [tokens]: the token that follows, or NO_TARGET
//   3  stats    [tokens], as logit_stats.wgsl writes them
//   4  logits   [tokens, stride], f32
//
// Workgroups: (tokens, 1).

#import vocabulary_part
#import update_step

@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = group.x * part.stride;
    let of_token = stats[group.x];
    let target_token = targets[group.x];
    let has_target = target_token != NO_TARGET;
    for (var i = lane; i < part.rows; i += 64u) {
        var grad = exp(logits[at + i] - of_token.x) / of_token.y;
        if i == target_token - part.first {
            grad -= 1.0;
        }
        logits[at + i] = select(0.0, grad * step.loss_scale, has_target);
    }
}
