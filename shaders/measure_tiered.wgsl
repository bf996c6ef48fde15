// What the tiered layout needs to know about BF16 in dense tiles, or uncompressed (WIDE), before they are transcoded:
// the base of each row with which it takes least, the bits of its stream then, and how many of its weights are
// exceptions; without a code for zeros, and with one.
//
// One workgroup measures a row block. One invocation reads one row, twice.
//
// Bindings:
//   1  matrix    the shape of the weights (shared/matrix.wgsl)
//   2  payload   the tiles (shared/payload.wgsl)
//   3  codes     the table of windows (shared/stream.wgsl)
//   4  measured  [rows, 2, 3]: base, bits and exceptions without a code for zeros, and with one
//
// Workgroups: (row blocks, 1).

// Invocations of a workgroup.
const INVOCATIONS: u32 = 64u;

#import matrix
#import measuring

@group(0) @binding(4) var<storage, read_write> measured: array<u32>;

// Sum and number of the exponents that are not of zeros, infinities or NaNs.
var<private> sum: u32;
var<private> count: u32;

fn look0(i: u32) {
    let all = four_exponents(i);
    // Differences are modulo 2³².
    let usual = all - vec4<u32>(1u) < vec4<u32>(254u);
    let ones = select(vec4<u32>(0u), vec4<u32>(1u), usual);
    let usual_ones = select(vec4<u32>(0u), all, usual);
    count += (ones.x + ones.y) + (ones.z + ones.w);
    sum += (usual_ones.x + usual_ones.y) + (usual_ones.z + usual_ones.w);
}

// Four bases. For each the bits of the window, of those before, and how many exceptions there are: without a code for
// zeros, and with one.
var<private> bases: vec4<u32>;
#unroll z 2
var<private> window$z: vec4<u32>;
var<private> bits$z: vec4<u32>;
var<private> exceptions$z: vec4<u32>;
#end

#unroll z 2
// Counts a weight that has a code where `has_code`, of so many bits.
fn count$z(has_code: vec4<bool>, bits: vec4<u32>) {
    let fits = has_code & (window$z + bits <= vec4<u32>(31u));
    window$z += select(vec4<u32>(0u), bits, fits);
    exceptions$z += select(vec4<u32>(1u), vec4<u32>(0u), fits);
}

#end
fn look_at(exponent: u32) {
    let code = bases + vec4<u32>(2u) - vec4<u32>(exponent);
    let bits = select(vec4<u32>(3u), vec4<u32>(0u), code - vec4<u32>(2u) < vec4<u32>(3u));
    count0(code <= vec4<u32>(10u), bits);
    let is_zero = vec4<bool>(exponent == 0u);
    count1(is_zero | (code <= vec4<u32>(9u)), select(bits, vec4<u32>(3u), is_zero));
}

fn look1(i: u32) {
    let all = four_exponents(i);
#unroll c 4
    if 4u * i + $cu < chunk_valid {
        look_at(all[$c]);
    }
#end
}

// What follows the last look at a chunk, which is a window.
fn end_chunk0() {}

fn end_chunk1() {
#unroll z 2
    bits$z += window$z;
    window$z = vec4<u32>(0u);
#end
}

// The base that takes least, and what it takes.
fn best(bits: vec4<u32>, exceptions: vec4<u32>) -> vec3<u32> {
    let cost = bits + vec4<u32>(32u) * exceptions;
    var found = vec3<u32>(bases.x, bits.x, exceptions.x);
    var least = cost.x;
#unroll c 4
    if cost[$c] < least {
        found = vec3<u32>(bases[$c], bits[$c], exceptions[$c]);
        least = cost[$c];
    }
#end
    return found;
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    open_matrix(lane);
    let row = group.x * 64u + lane;
    if row >= matrix.rows {
        return;
    }
    pass0(lane, group.x);
    let mean = sum / max(count, 1u);
    bases = clamp(vec4<u32>(mean) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(8u), vec4<u32>(252u));
    pass1(lane, group.x);
#unroll z 2
    let best$z = best(bits$z, exceptions$z);
    measured[6u * row + 3u * $zu] = best$z.x;
    measured[6u * row + 3u * $zu + 1u] = best$z.y;
    measured[6u * row + 3u * $zu + 2u] = best$z.z;
#end
}
