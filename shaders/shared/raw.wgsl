// Reader of uncompressed weights. Words are interleaved by lane: 64 lanes read 64 consecutive ones.
// WEIGHT_BITS is 16 (two weights a word, the first in the low half) or 32.

var<private> cursor: u32;
var<private> chunk_at: u32;

fn open_tile(lane: u32, row_block: u32, col_tile: u32) {
    let first = (col_tile * matrix.tile_cols * WEIGHT_BITS) >> 5u;
    cursor = (row_block * lane_words(WEIGHT_BITS) + first) * 64u + lane;
}

fn next_chunk() {
    chunk_at = cursor;
    cursor += WEIGHT_BITS * 32u;
}

fn four_bits(i: u32) -> vec4<u32> {
#ifdef WEIGHT_F32
    let at = chunk_at + i * 256u;
    return vec4<u32>(payload[at], payload[at + 64u], payload[at + 128u], payload[at + 192u]);
#else
    let at = chunk_at + i * 128u;
    let a = payload[at];
    let b = payload[at + 64u];
#ifdef WEIGHT_F16
    return bitcast<vec4<u32>>(vec4<f32>(unpack2x16float(a), unpack2x16float(b)));
#else
    return vec4<u32>(a << 16u, a & 0xffff0000u, b << 16u, b & 0xffff0000u);
#endif
#endif
}
