// The sum and the largest of what eight neighbouring invocations of a workgroup of 64 have, the same for the eight, in
// the order of the invocations.

var<workgroup> of_lanes: array<f32, 64>;

// All invocations call it.
fn sum_of_eight(part: f32, lane: u32) -> f32 {
    // Others may still read what was put down before.
    workgroupBarrier();
    of_lanes[lane] = part;
    workgroupBarrier();
    let first = lane & ~7u;
    var sum = of_lanes[first];
    for (var i = 1u; i < 8u; i++) {
        sum += of_lanes[first + i];
    }
    return sum;
}

// All invocations call it.
fn largest_of_eight(part: f32, lane: u32) -> f32 {
    workgroupBarrier();
    of_lanes[lane] = part;
    workgroupBarrier();
    let first = lane & ~7u;
    var largest = of_lanes[first];
    for (var i = 1u; i < 8u; i++) {
        largest = max(largest, of_lanes[first + i]);
    }
    return largest;
}
