// RMS norm of `len` numbers by a workgroup of 64 invocations (Zhang and Sennrich, 2019).

var<workgroup> parts: array<f32, 64>;

// 1 / sqrt(mean of squares + epsilon), from each invocation's sum of squares. All invocations call it.
fn rms_scale(part: f32, lane: u32, len: u32, epsilon: f32) -> f32 {
    parts[lane] = part;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < 64u; i++) {
        sum += parts[i];
    }
    return 1.0 / sqrt(sum / f32(len) + epsilon);
}
