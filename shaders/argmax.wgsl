// The largest of each span of 1024 numbers, and where it is: the lowest place of several. An infinity or a NaN is above
// all numbers, so that it is found.
//
// One workgroup searches one span. One invocation searches every 64th number of it.
//
// Bindings:
//   1  argmax   how many numbers there are
//   2  numbers  [len], the bits of f32
//   3  largest  [spans, 2]: the order (shared/order.wgsl) of the span's largest number, or NOT_FINITE, and its place
//
// Workgroups: (spans, 1).

#import order
#import finite

struct Argmax {
    len: u32,
    unused0: u32,
    unused1: u32,
    unused2: u32,
}

@group(0) @binding(1) var<uniform> argmax: Argmax;
@group(0) @binding(2) var<storage, read> numbers: array<u32>;
@group(0) @binding(3) var<storage, read_write> largest: array<vec2<u32>>;

const SPAN: u32 = 1024u;
// Above the order of every number.
const NOT_FINITE: u32 = 0xffffffffu;

var<workgroup> parts: array<vec2<u32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let end = min((group.x + 1u) * SPAN, argmax.len);
    var best = vec2<u32>(0u);
    for (var at = group.x * SPAN + lane; at < end; at += 64u) {
        let bits = numbers[at];
        let order = select(order_of(bits), NOT_FINITE, is_not_finite(bits));
        if order > best.x {
            best = vec2<u32>(order, at);
        }
    }
    parts[lane] = best;
    workgroupBarrier();
    if lane == 0u {
        for (var i = 1u; i < 64u; i++) {
            let other = parts[i];
            if other.x > best.x || (other.x == best.x && other.y < best.y) {
                best = other;
            }
        }
        largest[group.x] = best;
    }
}
