// Dense tiles to units of UNIT_BITS bits, integers only.
//
// One workgroup decodes one tile. One invocation decodes one row of it.
//
// Bindings:
//   1  matrix   the shape of the weights (shared/matrix.wgsl)
//   2  payload  the tiles (shared/payload.wgsl)
//   3  codes    the table of windows (shared/stream.wgsl)
//   4  decoded  [row blocks, words of a row, 64 lanes]: the units of a row, in words from the low end
//
// Workgroups: (tiles side by side, row blocks).

// Invocations of a workgroup.
const INVOCATIONS: u32 = 64u;

#import matrix

@group(0) @binding(4) var<storage, read_write> decoded: array<u32>;

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let col_tile = group.x;
    let row_block = group.y;
    open_matrix(lane);
    if row_block * 64u + lane >= matrix.rows {
        return;
    }
    open_tile(0u, lane, row_block, col_tile);
    let cols = cols_in(col_tile);
    let first_word = (col_tile * matrix.tile_cols) / (32u / UNIT_BITS);
    var at = (row_block * lane_words(UNIT_BITS) + first_word) * 64u + lane;
    for (var col = 0u; col < cols; col += 16u) {
        begin_chunk(cols - col);
        next_chunk();
        for (var i = 0u; i < 4u; i++) {
#ifdef UNIT_8
            let halves = valid_halves(0u, i);
            let first = ((halves.x >> 8u) & 0xffu) | ((halves.x >> 16u) & 0xff00u);
            decoded[at] = first | ((halves.y << 8u) & 0xff0000u) | (halves.y & 0xff000000u);
            at += 64u;
#endif
#ifdef UNIT_16
            let halves = valid_halves(0u, i);
            decoded[at] = halves.x;
            decoded[at + 64u] = halves.y;
            at += 128u;
#endif
#ifdef UNIT_32
            let units = valid_units(0u, i);
            decoded[at] = units.x;
            decoded[at + 64u] = units.y;
            decoded[at + 128u] = units.z;
            decoded[at + 192u] = units.w;
            at += 256u;
#endif
        }
    }
}
