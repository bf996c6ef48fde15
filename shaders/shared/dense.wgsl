// Reader of weights in dense tiles: a stream of symbols a lane, and raw planes, interleaved by lane,
// for the other bits of each unit.

#import stream
#import planes
#ifdef SCALED
#import scaled
#endif

const COLS: u32 = 16u;

// Columns of the chunk that are the tile's, and perhaps more.
var<private> chunk_valid: u32;

fn open_columns(row_block: u32, col_tile: u32) {}

fn open_tile(r: u32, lane: u32, row_block: u32, col_tile: u32) {
    open_stream(r, lane, row_block, col_tile);
    open_planes(r, lane, row_block, col_tile);
#ifdef SCALED
    open_scale(r, lane, row_block, col_tile);
#endif
}

fn begin_chunk(valid: u32) {
    chunk_valid = valid;
}

fn next_chunk() {
#unroll r ROWS
    load_words($ru);
#end
    next_col += 16u;
}

// The units of columns 4 i .. 4 i + 3 of the chunk, each from bit 31 down.
fn four_units(r: u32, i: u32) -> vec4<u32> {
    let units = four_symbols(r) | four_raw(r, i);
#ifdef MIDDLE_BITS
    // Bits that are not there count as the middle of what they could be, but for zeros and infinities: as
    // the higher of the two numbers around it where the lowest bit that is there is 1.
    let middle = vec4<u32>(MIDDLE) + ((units >> vec4<u32>(DROPPED)) & vec4<u32>(LAST));
    let exponents = units & vec4<u32>(EXPONENT);
    let has_none = (exponents == vec4<u32>(0u)) | (exponents == vec4<u32>(EXPONENT));
    return units | select(middle, vec4<u32>(0u), has_none);
#else
#ifdef SCALED
    return products(r, units);
#else
    return units;
#endif
#endif
}

// The same, with zeros for columns that are not the tile's. What a lane reads past its last column is some other
// lane's.
fn valid_units(r: u32, i: u32) -> vec4<u32> {
    let units = four_units(r, i);
    let valid = max(chunk_valid, 4u * i) - 4u * i;
    return select(vec4<u32>(0u), units, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(valid));
}

fn four_weights(r: u32, i: u32) -> vec4<f32> {
#ifdef RAGGED
    let units = valid_units(r, i);
#else
    let units = four_units(r, i);
#endif
#ifdef WEIGHT_F16
    // As the reader of uncompressed weights widens them.
    let a = unpack2x16float((units.x >> 16u) | units.y);
    let b = unpack2x16float((units.z >> 16u) | units.w);
    return vec4<f32>(a, b);
#else
    return bitcast<vec4<f32>>(units);
#endif
}

fn load_row(r: u32, i: u32) {
    first[r] = four_weights(r, 2u * i);
    second[r] = four_weights(r, 2u * i + 1u);
}

fn load_eight(i: u32) {
#unroll r ROWS
    load_row($ru, i);
#end
}
