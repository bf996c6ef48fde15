// The sum and the largest of what 64 invocations have, the same for all of them, in an order that no device changes:
// eight by eight.

var<workgroup> of_lanes: array<f32, 64>;
var<workgroup> of_eights: array<f32, 8>;

// All invocations call it.
fn sum_of_lanes(part: f32, lane: u32) -> f32 {
    of_lanes[lane] = part;
    workgroupBarrier();
    if lane < 8u {
        var sum = 0.0;
        for (var i = 0u; i < 8u; i++) {
            sum += of_lanes[8u * lane + i];
        }
        of_eights[lane] = sum;
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < 8u; i++) {
        sum += of_eights[i];
    }
    return sum;
}

// All invocations call it.
fn largest_of_lanes(part: f32, lane: u32) -> f32 {
    of_lanes[lane] = part;
    workgroupBarrier();
    if lane < 8u {
        var largest = of_lanes[8u * lane];
        for (var i = 1u; i < 8u; i++) {
            largest = max(largest, of_lanes[8u * lane + i]);
        }
        of_eights[lane] = largest;
    }
    workgroupBarrier();
    var largest = of_eights[0];
    for (var i = 1u; i < 8u; i++) {
        largest = max(largest, of_eights[i]);
    }
    return largest;
}
