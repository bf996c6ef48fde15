// RMS norm of `len` numbers by a workgroup of 64 invocations (Zhang and Sennrich, 2019).

#import sum_of_lanes

// 1 / sqrt(mean of squares + epsilon), from each invocation's sum of squares. All invocations call it.
fn rms_scale(part: f32, lane: u32, len: u32, epsilon: f32) -> f32 {
    return 1.0 / sqrt(sum_of_lanes(part, lane) / f32(len) + epsilon);
}
