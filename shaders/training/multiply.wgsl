// C = A B, or C + A B, for matrices of f32 whose elements may be any distance apart, so that either may be transposed;
// and several such products at a time, as attention's heads are.
//
// An element of C is one chain of `fma` over the columns of A in order, which begins with what C holds where it is
// added to. So neither the number of workgroups nor a division of A's columns among dispatches changes a bit.
//
// One workgroup computes 64 by 64 elements. One invocation computes 8 by 8, which are 8 rows and 8 columns apart. With
// TEXTURE they are next to each other, and the block of a workgroup is as wide as the sizes say: where C has few
// columns, invocations to the right of them would have nothing to do.
//
// Bindings:
//   1  sizes  sizes, strides and what is left out
//   2  a      f32, in a buffer or in a texture of vectors
//   3  b      f32, in a buffer or in a texture of vectors
//   4  c      f32
//
// Workgroups: (blocks of C, products).
//
// ACCUMULATE adds to what C holds.
//
// TEXTURE: A and B are in textures, in rows of as many texels as ROW_BITS bits count. A_ALONG and B_ALONG say that the
// four elements of a texel follow each other along the depth; otherwise they are rows of A and columns of B. Software
// drivers read a texel for all lanes at once, but elements of a buffer lane by lane.

struct Operand {
    // The first element, and from one row and from one column to the next.
    at: u32,
    row: u32,
    col: u32,
    // From one sequence to the next, and from one head to the next.
    sequence: u32,
    head: u32,
    // From one of the products that are added up to the next.
    term: u32,
    // Heads in a row that have the same matrix.
    shared_by: u32,
    unused0: u32,
}

struct Sizes {
    // Of C; and the columns of A.
    rows: u32,
    cols: u32,
    depth: u32,
    // Blocks of C side by side.
    col_blocks: u32,
    // Heads of a sequence; products that are added up for one C.
    heads: u32,
    terms: u32,
    // Which elements are zero: 1, those of C above its diagonal, which are not computed; 2, those of A above its
    // diagonal; 3, those of A below it.
    causal: u32,
    // How many invocations share a row, as a power of two; 3 without TEXTURE.
    across_bits: u32,
    a: Operand,
    b: Operand,
    c: Operand,
}

@group(0) @binding(1) var<uniform> sizes: Sizes;
#ifdef TEXTURE
@group(0) @binding(2) var a: texture_storage_2d<rgba32uint, read>;
@group(0) @binding(3) var b: texture_storage_2d<rgba32uint, read>;
#else
@group(0) @binding(2) var<storage, read> a: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<f32>;
#endif
@group(0) @binding(4) var<storage, read_write> c: array<f32>;

// Sums of the first and the last four columns, by row: 4 h + i.
#unroll h 2
#unroll i 4
var<private> low$h_$i: vec4<f32>;
var<private> high$h_$i: vec4<f32>;
#end
#end

fn first_of(operand: Operand, product: u32) -> u32 {
    let head = (product % sizes.heads) / operand.shared_by;
    return operand.at + (product / sizes.heads) * operand.sequence + head * operand.head;
}

#ifdef TEXTURE
// From one of an invocation's rows, or columns, to the next; and from its first to the next invocation's.
const APART: u32 = 1u;
const LANE_APART: u32 = 8u;
#else
const APART: u32 = 8u;
const LANE_APART: u32 = 1u;
#endif

// Rows beyond the last are computed as the last one, and not stored.
fn row_of(i: u32, row: u32) -> u32 {
    return min(row + APART * i, sizes.rows - 1u);
}

fn col_of(j: u32, col: u32) -> u32 {
    return min(col + APART * j, sizes.cols - 1u);
}

// What C holds in four columns from column `first` of an invocation's on.
fn held(at: u32, first: u32, col: u32) -> vec4<f32> {
    return vec4<f32>(
        c[at + col_of(first, col)],
        c[at + col_of(first + 1u, col)],
        c[at + col_of(first + 2u, col)],
        c[at + col_of(first + 3u, col)],
    );
}

fn store(at: u32, col: u32, sum: f32) {
    if col < sizes.cols {
        c[at + col] = sum;
    }
}

fn store_row(row: u32, c_at: u32, col: u32, low: vec4<f32>, high: vec4<f32>) {
    if row >= sizes.rows {
        return;
    }
    let at = c_at + row * sizes.c.row;
#unroll j 4
    store(at, col + APART * $ju, low[$j]);
    store(at, col + APART * (4u + $ju), high[$j]);
#end
}

#ifdef TEXTURE
fn texel_of(at: u32) -> vec2<u32> {
    let i = at >> 2u;
    return vec2<u32>(i & ((1u << ROW_BITS) - 1u), i >> ROW_BITS);
}

// Four elements from element `at` on.
fn four_of_a(at: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(textureLoad(a, texel_of(at)));
}

fn four_of_b(at: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(textureLoad(b, texel_of(at)));
}

// Adds the products of A from element `a_at` on with B from element `b_at` on, four along the depth at a time. Where
// there are no more, zeros are added.
fn add_products(a_at: u32, b_at: u32, row: u32, col: u32, start: u32, end: u32) {
    let last = sizes.depth - 1u;
#unroll h 2
#unroll i 4
    let a_row$h_$i = a_at + row_of(4u * $hu + $iu, row) * sizes.a.row;
    let b_col$h_$i = b_at + col_of(4u * $hu + $iu, col) * sizes.b.col;
#end
#end
    for (var k = start; k < end; k += 4u) {
        let is_there = vec4<u32>(k) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(end);
#unroll h 2
#unroll i 4
#ifdef A_ALONG
        let a$h_$i = select(vec4<f32>(0.0), four_of_a(a_row$h_$i + k), is_there);
#else
        // Of four rows what is at one depth.
        let a$h_$i = select(
            vec4<f32>(0.0),
            four_of_a(a_at + min(k + $iu, last) * sizes.a.col + row + 4u * $hu),
            vec4<bool>(is_there[$i]),
        );
#endif
#ifdef B_ALONG
        let b$h_$i = select(vec4<f32>(0.0), four_of_b(b_col$h_$i + k), is_there);
#else
        let b$h_$i = four_of_b(b_at + min(k + $iu, last) * sizes.b.row + col + 4u * $hu);
#endif
#end
#end
#unroll q 4
#ifdef B_ALONG
        let low$q = vec4<f32>(b0_0[$q], b0_1[$q], b0_2[$q], b0_3[$q]);
        let high$q = vec4<f32>(b1_0[$q], b1_1[$q], b1_2[$q], b1_3[$q]);
#else
        let low$q = b0_$q;
        let high$q = b1_$q;
#endif
#unroll h 2
#unroll i 4
#ifdef A_ALONG
        low$h_$i = fma(vec4<f32>(a$h_$i[$q]), low$q, low$h_$i);
        high$h_$i = fma(vec4<f32>(a$h_$i[$q]), high$q, high$h_$i);
#else
        low$h_$i = fma(vec4<f32>(a$h_$q[$i]), low$q, low$h_$i);
        high$h_$i = fma(vec4<f32>(a$h_$q[$i]), high$q, high$h_$i);
#endif
#end
#end
#end
    }
}
#else
// Adds the products of A from element `a_at` on with B from element `b_at` on.
fn add_products(a_at: u32, b_at: u32, row: u32, col: u32, start: u32, end: u32) {
#unroll h 2
#unroll i 4
    let a_row$h_$i = a_at + row_of(4u * $hu + $iu, row) * sizes.a.row;
    let b_col$h_$i = b_at + col_of(4u * $hu + $iu, col) * sizes.b.col;
#end
#end
    for (var k = start; k < end; k++) {
        let b_k = k * sizes.b.row;
        let low = vec4<f32>(b[b_k + b_col0_0], b[b_k + b_col0_1], b[b_k + b_col0_2], b[b_k + b_col0_3]);
        let high = vec4<f32>(b[b_k + b_col1_0], b[b_k + b_col1_1], b[b_k + b_col1_2], b[b_k + b_col1_3]);
        let a_k = k * sizes.a.col;
#unroll h 2
#unroll i 4
        let a$h_$i = vec4<f32>(a[a_k + a_row$h_$i]);
        low$h_$i = fma(a$h_$i, low, low$h_$i);
        high$h_$i = fma(a$h_$i, high, high$h_$i);
#end
#end
    }
}
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
#ifdef TEXTURE
    let across_bits = sizes.across_bits;
#else
    let across_bits = 3u;
#endif
    let block_rows = 512u >> across_bits;
    let block_row = (group.x / sizes.col_blocks) * block_rows;
    let block_col = (group.x % sizes.col_blocks) * (8u << across_bits);
    if sizes.causal == 1u && block_col >= block_row + block_rows {
        return;
    }
    var start = 0u;
    var end = sizes.depth;
    if sizes.causal == 2u {
        end = min(end, block_row + block_rows);
    }
    if sizes.causal == 3u {
        start = min(end, block_row);
    }
    let row = block_row + (lane >> across_bits) * LANE_APART;
    let col = block_col + (lane & ((1u << across_bits) - 1u)) * LANE_APART;
    let c_at = first_of(sizes.c, group.y);
#unroll h 2
#unroll i 4
#ifdef ACCUMULATE
    let row$h_$i = c_at + row_of(4u * $hu + $iu, row) * sizes.c.row;
    low$h_$i = held(row$h_$i, 0u, col);
    high$h_$i = held(row$h_$i, 4u, col);
#else
    low$h_$i = vec4<f32>(0.0);
    high$h_$i = vec4<f32>(0.0);
#endif
#end
#end
    let a_first = first_of(sizes.a, group.y);
    let b_first = first_of(sizes.b, group.y);
    for (var term = 0u; term < sizes.terms; term++) {
        add_products(a_first + term * sizes.a.term, b_first + term * sizes.b.term, row, col, start, end);
    }
#unroll h 2
#unroll i 4
    store_row(row + APART * (4u * $hu + $iu), c_at, col, low$h_$i, high$h_$i);
#end
#end
}
