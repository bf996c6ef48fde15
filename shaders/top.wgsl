// The largest of some numbers: enough of them that `step.rank` and more are found, and all that are as large as the
// least of those. Where any is an infinity or a NaN, more are counted than there is room for.
//
// One workgroup searches all numbers. One invocation finds the largest of every 256th. The one of rank `step.rank`
// among these bounds what is wanted: at least so many numbers are larger.
//
// Bindings:
//   0  step     the rank (shared/step.wgsl)
//   1  top      how many numbers there are, and room for how many
//   2  numbers  [len], the bits of f32
//   3  found    [1 + room, 2]: how many were found, which may be more than there is room for, and the bits of the
//               bound; then the place and the bits of each, in any order
//
// Workgroups: (1, 1).

#import step
#import order
#import finite

struct Top {
    len: u32,
    // Numbers that there is room for.
    room: u32,
    unused0: u32,
    unused1: u32,
}

@group(0) @binding(1) var<uniform> top: Top;
@group(0) @binding(2) var<storage, read> numbers: array<u32>;
@group(0) @binding(3) var<storage, read_write> found: array<vec2<u32>>;

var<workgroup> parts: array<u32, 256>;
var<workgroup> bound: vec2<u32>;
var<workgroup> count: atomic<u32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    var best = vec2<u32>(0u);
    for (var at = lane; at < top.len; at += 256u) {
        let bits = numbers[at];
        let order = order_of(bits);
        if order > best.x {
            best = vec2<u32>(order, bits);
        }
    }
    parts[lane] = best.x;
    if lane == 0u {
        atomicStore(&count, 0u);
    }
    workgroupBarrier();
    var rank = 0u;
    for (var i = 0u; i < 256u; i++) {
        let other = parts[i];
        rank += select(0u, 1u, other > best.x || (other == best.x && i < lane));
    }
    // Ranks are all different.
    if rank == step.rank {
        bound = best;
    }
    workgroupBarrier();
    for (var at = lane; at < top.len; at += 256u) {
        let bits = numbers[at];
        if is_not_finite(bits) {
            atomicAdd(&count, top.room + 1u);
        } else if order_of(bits) >= bound.x {
            let i = atomicAdd(&count, 1u);
            if i < top.room {
                found[i + 1u] = vec2<u32>(at, bits);
            }
        }
    }
    workgroupBarrier();
    if lane == 0u {
        found[0] = vec2<u32>(atomicLoad(&count), bound.y);
    }
}
