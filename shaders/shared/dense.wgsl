// Reader of weights in dense tiles: a stream of symbols a lane, and raw planes, interleaved by lane,
// for the other bits of each unit. HAS_LOWER: units have 32 bits. AS_UNITS: they are not read as halves.
// RAGGED: the last chunk of a row has columns that the matrix does not have.

#import halves
#import stream
#import planes
#ifdef SCALED
#import scaled
#endif

const COLS: u32 = 16u;

fn open_columns(row_block: u32, col_tile: u32) {}

fn open_tile(r: u32, lane: u32, row_block: u32, col_tile: u32) {
    open_stream(r, lane, row_block, col_tile);
    open_planes(r, lane, row_block, col_tile);
#ifdef SCALED
    open_scale(r, lane, row_block, col_tile);
#endif
}

fn next_chunk() {
#unroll r ROWS
    load_words($ru);
#end
    next_col += 16u;
}

// The units of columns 4 i .. 4 i + 3 of the chunk, each from bit 31 down.
fn four_units(r: u32, i: u32) -> vec4<u32> {
    let raw = four_raw(r, i);
    var units = units_of(four_symbols(r) | raw.upper);
#ifdef HAS_LOWER
    units |= vec4<u32>(raw.lower.x & 0xffffu, raw.lower.x >> 16u, raw.lower.y & 0xffffu, raw.lower.y >> 16u);
#endif
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

// The same where a unit has 16 bits at the most, two side by side in a word.
fn four_halves(r: u32, i: u32) -> vec2<u32> {
#ifdef AS_UNITS
    return halves_of_units(four_units(r, i));
#else
    let symbols = four_symbols(r);
    return symbols | four_raw(r, i).upper;
#endif
}

// The same, with zeros for columns that are not the tile's. What a lane reads past its last column is some other
// lane's.
fn valid_units(r: u32, i: u32) -> vec4<u32> {
    let units = four_units(r, i);
#ifdef RAGGED
    return select(vec4<u32>(0u), units, are_valid(i));
#else
    return units;
#endif
}

fn valid_halves(r: u32, i: u32) -> vec2<u32> {
    let halves = four_halves(r, i);
#ifdef RAGGED
    return valid_of(halves, i);
#else
    return halves;
#endif
}

fn four_weights(r: u32, i: u32) -> vec4<f32> {
#ifdef WEIGHT_F16
    // As the reader of uncompressed weights widens them.
    let halves = valid_halves(r, i);
    return vec4<f32>(unpack2x16float(halves.x), unpack2x16float(halves.y));
#else
    return bitcast<vec4<f32>>(valid_units(r, i));
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
