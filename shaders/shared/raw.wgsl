// Reader of uncompressed weights. A lane has 32 columns (a chunk) at a time, in vectors of four words;
// vectors are interleaved by lane, so that 64 lanes read 64 consecutive ones. WEIGHT_BITS is 16 (two
// weights a word, the first in the low half) or 32. Columns past the last are stored as zeros.

const COLS: u32 = 32u;
// Vectors that a lane has of a chunk.
const CHUNK_VECTORS: u32 = WEIGHT_BITS / 4u;

// Where a row's next chunk is, and the one being read.
var<private> cursors: array<u32, ROWS>;
var<private> chunk_at: array<u32, ROWS>;

fn open_columns(row_block: u32, col_tile: u32) {}

fn open_tile(r: u32, lane: u32, row_block: u32, col_tile: u32) {
    let chunks = (matrix.cols + 31u) >> 5u;
    let chunk = row_block * chunks + ((col_tile * matrix.tile_cols) >> 5u);
    cursors[r] = matrix.words_at + chunk * CHUNK_VECTORS * 64u + lane;
}

fn begin_chunk(valid: u32) {}

fn next_chunk() {
#unroll r ROWS
    chunk_at[$r] = cursors[$r];
    cursors[$r] += CHUNK_VECTORS * 64u;
#end
}

fn load_row(r: u32, i: u32) {
#ifdef WEIGHT_F32
    let at = chunk_at[r] + i * 128u;
    first[r] = bitcast<vec4<f32>>(payload_at(at));
    second[r] = bitcast<vec4<f32>>(payload_at(at + 64u));
#else
    let words = payload_at(chunk_at[r] + i * 64u);
#ifdef WEIGHT_F16
    first[r] = vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
    second[r] = vec4<f32>(unpack2x16float(words.z), unpack2x16float(words.w));
#else
    first[r] = widen_bf16(words.x, words.y);
    second[r] = widen_bf16(words.z, words.w);
#endif
#endif
}

fn load_eight(i: u32) {
#unroll r ROWS
    load_row($ru, i);
#end
}

#import bf16
