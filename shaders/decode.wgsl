// Decodes dense tiles to BF16, integers only. A workgroup decodes one tile. The result has the
// layout of raw weights: two elements a word, words interleaved by lane.

#import matrix

@group(0) @binding(4) var<storage, read_write> decoded: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let col_tile = group.x;
    let row_block = group.y;
    if row_block * 64u + lane >= matrix.rows {
        return;
    }
    open_tile(lane, row_block, col_tile);
    let cols = cols_in(col_tile);
    var at = (row_block * lane_words(16u) + ((col_tile * matrix.tile_cols) >> 1u)) * 64u + lane;
    for (var col = 0u; col < cols; col += 16u) {
        next_chunk();
        for (var i = 0u; i < 4u; i++) {
            let weights = keep(four_bits(i), cols - min(cols, col + 4u * i));
            decoded[at] = (weights.x >> 16u) | weights.y;
            decoded[at + 64u] = (weights.z >> 16u) | weights.w;
            at += 128u;
        }
    }
}
