// What the fast layout needs to know about BF16 in dense tiles, or uncompressed (WIDE), before they are transcoded: each
// row's lowest exponent that has a code, and how many of its weights have none.
//
// One workgroup measures a row block. One invocation reads one row, twice.
//
// Bindings:
//   1  matrix    the shape of the weights (shared/matrix.wgsl)
//   2  payload   the tiles (shared/payload.wgsl)
//   3  codes     the table of windows (shared/stream.wgsl)
//   4  measured  [rows, 3]: the lowest exponent, and how many weights have no code where code 0 is that exponent, and
//                where it is the exponent 0
//
// Workgroups: (row blocks, 1).

// Invocations of a workgroup.
const INVOCATIONS: u32 = 64u;

#import matrix
#import measuring

@group(0) @binding(4) var<storage, read_write> measured: array<u32>;

// The largest exponent of a row, but for that of infinities and NaNs.
var<private> largest: u32;

fn look0(i: u32) {
    let all = four_exponents(i);
    let finite = select(all, vec4<u32>(0u), all == vec4<u32>(255u));
    largest = max(largest, max(max(finite.x, finite.y), max(finite.z, finite.w)));
}

var<private> lowest: u32;
var<private> without: vec2<u32>;

fn how_many(flags: vec4<bool>) -> u32 {
    let ones = select(vec4<u32>(0u), vec4<u32>(1u), flags);
    return (ones.x + ones.y) + (ones.z + ones.w);
}

fn look1(i: u32) {
    let all = four_exponents(i);
    let is_col = vec4<u32>(0u, 1u, 2u, 3u) + vec4<u32>(4u * i) < vec4<u32>(chunk_valid);
    // Differences are modulo 2³²: what is too low is too high as well.
    let plain = is_col & (all - vec4<u32>(lowest) > vec4<u32>(15u));
    let zeros = (all != vec4<u32>(0u)) & (all - vec4<u32>(lowest + 1u) > vec4<u32>(14u));
    without += vec2<u32>(how_many(plain), how_many(zeros));
}

fn end_chunk0() {}

fn end_chunk1() {}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    open_matrix(lane);
    let row = group.x * 64u + lane;
    if row >= matrix.rows {
        return;
    }
    pass0(lane, group.x);
    lowest = max(largest, 15u) - 15u;
    pass1(lane, group.x);
    measured[3u * row] = lowest;
    measured[3u * row + 1u] = without.x;
    measured[3u * row + 2u] = without.y;
}
