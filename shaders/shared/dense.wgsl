// Reader of BF16 weights in dense tiles: a canonical Huffman stream a lane for the exponent and the
// top TOP_BITS bits of the mantissa, and raw planes, interleaved by lane, for the sign and the rest.

// For every window of 12 bits: the symbol, where it belongs in an f32, and the code's length in the
// low four bits.
@group(0) @binding(3) var<storage, read> codes: array<u32>;

const INDEX_BYTE: u32 = 0x01010101u;
const LOW_BITS: u32 = 7u - TOP_BITS;

// The stream: `here` holds the bits from `bit` on, `ahead` the word after it.
var<private> here: u32;
var<private> ahead: u32;
var<private> bit: u32;
// Word that follows `ahead`.
var<private> word: u32;
// First column of the chunk after the one being read, and that chunk's place in the row block.
var<private> next_col: u32;
var<private> plane_lane: u32;
var<private> plane_block: u32;
// The chunk's raw words.
var<private> raw0: vec2<u32>;
var<private> raw1: u32;
var<private> raw2: u32;
var<private> raw3: u32;

// Bits of the streams before `lane`'s, from the tile's lane index of 8 bits a lane.
fn narrow_offset(index: u32, base: u32, lane: u32) -> u32 {
    var sum = lane * base;
    for (var i = 0u; i < 16u; i++) {
        let counted = clamp(lane, 4u * i, 4u * i + 4u) - 4u * i;
        let mask = select(0xffffffffu, (1u << (8u * (counted & 3u))) - 1u, counted < 4u);
        sum += dot4U8Packed(payload[index + i] & mask, INDEX_BYTE);
    }
    return sum;
}

// The same for an index of 16 bits a lane.
fn wide_offset(index: u32, base: u32, lane: u32) -> u32 {
    var sum = lane * base;
    for (var i = 0u; i < 32u; i++) {
        let pair = payload[index + i];
        sum += select(0u, pair & 0xffffu, 2u * i < lane);
        sum += select(0u, pair >> 16u, 2u * i + 1u < lane);
    }
    return sum;
}

fn open_tile(lane: u32, row_block: u32, col_tile: u32) {
    let entry = matrix.tiles_at + 2u * (row_block * matrix.col_tiles + col_tile);
    let index = matrix.coded_at + payload[entry];
    let shape = payload[entry + 1u];
    let base = shape & 0xffffu;
    var start: u32;
    if (shape >> 16u) == 0u {
        start = ((index + 16u) << 5u) + narrow_offset(index, base, lane);
    } else {
        start = ((index + 32u) << 5u) + wide_offset(index, base, lane);
    }
    bit = start & 31u;
    word = start >> 5u;
    here = payload[word];
    ahead = payload[word + 1u];
    word += 2u;
    next_col = col_tile * matrix.tile_cols;
    plane_lane = lane;
    plane_block = row_block;
}

// Word `i` of this lane in a plane of `width` bits that begins at word `at`.
fn plane_word(at: u32, width: u32, i: u32) -> u32 {
    return payload[at + ((plane_block * lane_words(width) + i) << 6u) + plane_lane];
}

fn next_chunk() {
    let chunk = next_col >> 4u;
#ifdef TOP_BITS_0
    raw0 = vec2<u32>(
        plane_word(matrix.plane0_at, 4u, 2u * chunk),
        plane_word(matrix.plane0_at, 4u, 2u * chunk + 1u),
    );
    raw1 = plane_word(matrix.plane1_at, 2u, chunk);
    raw2 = plane_word(matrix.plane2_at, 2u, chunk);
#endif
#ifdef TOP_BITS_1
    raw0.x = plane_word(matrix.plane0_at, 1u, chunk >> 1u) >> ((chunk & 1u) << 4u);
    raw1 = plane_word(matrix.plane1_at, 2u, chunk);
    raw2 = plane_word(matrix.plane2_at, 2u, chunk);
    raw3 = plane_word(matrix.plane3_at, 2u, chunk);
#endif
#ifdef TOP_BITS_2
    raw0.x = plane_word(matrix.plane0_at, 2u, chunk);
    raw1 = plane_word(matrix.plane1_at, 2u, chunk);
    raw2 = plane_word(matrix.plane2_at, 2u, chunk);
#endif
    next_col += 16u;
}

// The raw fields of columns 4 i .. 4 i + 3: the sign above the LOW_BITS lowest mantissa bits.
fn four_raw(i: u32) -> vec4<u32> {
    let two = vec4<u32>(0u, 2u, 4u, 6u) + vec4<u32>(8u * i);
#ifdef TOP_BITS_0
    let word0 = select(raw0.x, raw0.y, i >= 2u);
    let field0 = (vec4<u32>(word0) >> (vec4<u32>(0u, 4u, 8u, 12u) + vec4<u32>(16u * (i & 1u)))) & vec4<u32>(15u);
    let field1 = (vec4<u32>(raw1) >> two) & vec4<u32>(3u);
    let field2 = (vec4<u32>(raw2) >> two) & vec4<u32>(3u);
    return (field0 << vec4<u32>(4u)) | (field1 << vec4<u32>(2u)) | field2;
#endif
#ifdef TOP_BITS_1
    let field0 = (vec4<u32>(raw0.x) >> (vec4<u32>(0u, 1u, 2u, 3u) + vec4<u32>(4u * i))) & vec4<u32>(1u);
    let field1 = (vec4<u32>(raw1) >> two) & vec4<u32>(3u);
    let field2 = (vec4<u32>(raw2) >> two) & vec4<u32>(3u);
    let field3 = (vec4<u32>(raw3) >> two) & vec4<u32>(3u);
    return (field0 << vec4<u32>(6u)) | (field1 << vec4<u32>(4u)) | (field2 << vec4<u32>(2u)) | field3;
#endif
#ifdef TOP_BITS_2
    let field0 = (vec4<u32>(raw0.x) >> two) & vec4<u32>(3u);
    let field1 = (vec4<u32>(raw1) >> two) & vec4<u32>(3u);
    let field2 = (vec4<u32>(raw2) >> two) & vec4<u32>(3u);
    return (field0 << vec4<u32>(4u)) | (field1 << vec4<u32>(2u)) | field2;
#endif
}

// Two codes: 24 bits at the most, which `here` and `ahead` always hold.
fn two_symbols() -> vec2<u32> {
    let window = (here >> bit) | ((ahead << 1u) << (31u - bit));
    let a = codes[window & 0xfffu];
    let a_len = a & 15u;
    let b = codes[(window >> a_len) & 0xfffu];
    bit += a_len + (b & 15u);
    if bit >= 32u {
        here = ahead;
        ahead = payload[word];
        word += 1u;
        bit -= 32u;
    }
    return vec2<u32>(a, b) & vec2<u32>(0xfffffff0u);
}

fn four_bits(i: u32) -> vec4<u32> {
    let first = two_symbols();
    let second = two_symbols();
    let raw = four_raw(i);
    let sign = (raw >> vec4<u32>(LOW_BITS)) << vec4<u32>(31u);
    let low = (raw & vec4<u32>((1u << LOW_BITS) - 1u)) << vec4<u32>(16u);
    return sign | vec4<u32>(first, second) | low;
}
