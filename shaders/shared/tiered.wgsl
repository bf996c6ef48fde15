// Reader of BF16 weights in the tiered layout: about 11 bits a weight.
//
// A weight has its sign, its mantissa and a tag of two bits where its column says. Tags 1, 2 and 3 say that its exponent
// is 0, 1 or 2 below its row's base. Tag 0 adds three bits of the row's stream: 0 and 1 say that it is 2 or 1 above the
// base, and 2 to 7 that it is 3 to 8 below. ZEROS: 8 below stands for the exponent 0. Weights that this does not reach
// are stored with tag 1 and listed as exceptions. Columns that the matrix does not have are stored with tag 1, too.
//
// A lane has 32 columns (a chunk) in two vectors of four words, one for each half, and a third vector has the tags of
// two chunks, two words each. Columns w and 4 + w of a half are in word w: their mantissas in bits 0 to 6 of its
// half-words, and their signs in bit 15. Columns 8 + w and 12 + w are in the same word: mantissas in bits 8 to 14, and
// signs in bit 7. The tags of columns c and 8 + c of a half are the four bits from 4 c on.
//
// What lies beside the vectors, from word `table_at` on: for each row block, span and lane, where the row's stream
// begins, and in the upper eight bits its base; of spans but the first, the bit of the stream that they begin with.
// From `tiles_at` on: each row block's first exception, and the end of the last one's. From `coded_at` on: exceptions,
// by row and then by column: lane << 26 | column << 8 | exponent. From `masks_at` on: the streams.
#ifdef TEXTURE
// In rows of four times as many texels as the vectors have, which have four words each.
@group(0) @binding(3) var tiers: texture_storage_2d<r32uint, read>;

fn tiers_at(i: u32) -> u32 {
    return textureLoad(tiers, vec2<u32>(i & ((4u << ROW_BITS) - 1u), i >> (ROW_BITS + 2u))).x;
}
#else
@group(0) @binding(3) var<storage, read> tiers: array<u32>;

fn tiers_at(i: u32) -> u32 {
    return tiers[i];
}
#endif

const COLS: u32 = 32u;
// What follows a row's last exception: a chunk that no matrix in this layout has.
const NO_ENTRY: u32 = 0xffffffffu;

// The chunk being read.
var<private> chunk: u32;
// Of each row the first vector; two above its base, as exponents of two weights; the words of its stream that are at
// hand, where the second of them is, and the bit of the first that is next.
var<private> vectors_at: array<u32, ROWS>;
var<private> bases: array<u32, ROWS>;
var<private> stream_at: array<u32, ROWS>;
var<private> stream_word: array<u32, ROWS>;
var<private> stream_ahead: array<u32, ROWS>;
var<private> stream_bit: array<u32, ROWS>;
// Its place among the keys of exceptions, the next exception, what it says, and the end of the row block's.
var<private> row_keys: array<u32, ROWS>;
var<private> next_exception: array<u32, ROWS>;
var<private> entries: array<u32, ROWS>;
var<private> end_exception: u32;
// The chunk's words, two weights each, as uncompressed weights have them: the first and the last eight columns of each
// half. The eight that were taken last.
#unroll h 2
var<private> lower$h: array<vec4<u32>, ROWS>;
var<private> upper$h: array<vec4<u32>, ROWS>;
#end
var<private> pairs: array<vec4<u32>, ROWS>;

fn open_columns(row_block: u32, col_tile: u32) {
    // Before the next chunk is gone to.
    chunk = ((col_tile * matrix.tile_cols) >> 5u) - 1u;
    end_exception = tiers_at(matrix.tiles_at + row_block + 1u);
}

fn open_tile(r: u32, lane: u32, row_block: u32, col_tile: u32) {
    let chunks = (matrix.cols + 31u) >> 5u;
    vectors_at[r] = matrix.words_at + row_block * (2u * chunks + ((chunks + 1u) >> 1u)) * 64u + lane;
    let starts = matrix.table_at + row_block * matrix.spans * 64u + lane;
    let start = tiers_at(starts);
    bases[r] = ((start >> 24u) + 2u) * 0x00800080u;
    var bit = 0u;
    if col_tile > 0u {
        bit = tiers_at(starts + 64u * col_tile);
    }
    stream_at[r] = matrix.masks_at + (start & 0xffffffu) + (bit >> 5u) + 1u;
    stream_word[r] = tiers_at(stream_at[r] - 1u);
    stream_ahead[r] = tiers_at(stream_at[r]);
    stream_bit[r] = bit & 31u;
    row_keys[r] = lane << 13u;
    go_to_exception(r, first_from((lane << 13u) | (chunk + 1u), tiers_at(matrix.tiles_at + row_block)));
}

// The first exception of chunk and lane `key` or a later one, of those from `start` on.
fn first_from(key: u32, start: u32) -> u32 {
    var low = start;
    var high = end_exception;
    // What is between them is halved: 32 rounds at the most.
    while low < high {
        let middle = low + ((high - low) >> 1u);
        if (tiers_at(matrix.coded_at + middle) >> 13u) < key {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low;
}

// Goes to exception `at` of the part.
fn go_to_exception(r: u32, at: u32) {
    next_exception[r] = at;
    entries[r] = NO_ENTRY;
    if at < end_exception {
        entries[r] = tiers_at(matrix.coded_at + at);
    }
}

fn begin_chunk(valid: u32) {}

// Takes in the next chunk of all rows, and puts its exceptions in their places: most chunks of a row block have some.
fn next_chunk() {
    chunk += 1u;
#unroll r ROWS
    take_row($ru);
    mend($ru);
#end
}

fn take_row(r: u32) {
    let odd = (chunk & 1u) == 1u;
    let two_chunks = vectors_at[r] + 320u * (chunk >> 1u);
    let at = two_chunks + select(0u, 192u, odd);
    let four_tags = payload_at(two_chunks + 128u);
    let tags = select(four_tags.xy, four_tags.zw, vec2<bool>(odd));
#unroll h 2
    let words$h = payload_at(at + 64u * $hu);
    let codes$h = sixteen_codes(r, tags[$h]);
    lower$h[r] = pairs_of(words$h & vec4<u32>(0x807f807fu), codes$h.x, bases[r]);
    let mantissas$h = (words$h >> vec4<u32>(8u)) & vec4<u32>(0x007f007fu);
    let signs$h = (words$h << vec4<u32>(8u)) & vec4<u32>(0x80008000u);
    upper$h[r] = pairs_of(mantissas$h | signs$h, codes$h.y, bases[r]);
#end
}

// How far sixteen exponents of row `r` are below two above its base, four bits each: of the first eight columns and of
// the others. Goes on in the row's stream.
fn sixteen_codes(r: u32, tags: u32) -> vec2<u32> {
    let fixed = vec2<u32>(tags, tags >> 2u) & vec2<u32>(0x33333333u);
    let is_fixed = (fixed | (fixed >> vec2<u32>(1u))) & vec2<u32>(0x11111111u);
    let more = is_fixed ^ vec2<u32>(0x11111111u);
    // 7 where there are three bits.
    let masks = (more << vec2<u32>(3u)) - more;
    let bit = stream_bit[r];
    // 31 bits of the stream, which is as many as sixteen columns have at the most.
    var here = (stream_word[r] >> bit) | ((stream_ahead[r] << 1u) << (31u - bit));
    var fields = vec2<u32>(0u);
#unroll h 2
#unroll c 8
    let mask$h_$c = (masks[$h] >> (4u * $cu)) & 7u;
    fields[$h] |= (here & mask$h_$c) << (4u * $cu);
    here >>= mask$h_$c & 3u;
#end
#end
    go_on(r, bit, more);
    // 1 where the three bits say that it is below the base.
    let is_below = ((fields + vec2<u32>(0x66666666u)) >> vec2<u32>(3u)) & vec2<u32>(0x11111111u);
    return fixed + is_fixed + fields + is_below + (is_below << vec2<u32>(1u));
}

// Goes on in the stream of row `r`, of which three bits were used for each one of `more`. There are ten at the most, so
// that the sums below fit into four bits.
fn go_on(r: u32, bit: u32, more: vec2<u32>) {
    let count = ((more.x + more.y) * 0x11111111u) >> 28u;
    let bits = bit + 3u * count;
    stream_word[r] = select(stream_word[r], stream_ahead[r], bits >= 32u);
    stream_at[r] += bits >> 5u;
    stream_ahead[r] = tiers_at(stream_at[r]);
    stream_bit[r] = bits & 31u;
}

// Weights, two a word, of signs with mantissas, and of codes.
fn pairs_of(signs: vec4<u32>, codes: u32, base: u32) -> vec4<u32> {
    let below = vec4<u32>(codes << 7u, codes << 3u, codes >> 1u, codes >> 5u) & vec4<u32>(0x07800780u);
    let exponents = vec4<u32>(base) - below;
#ifdef ZEROS
    // Of all codes only the last one, ten, has both bits.
    let last = (codes >> 3u) & (codes >> 1u) & 0x11111111u;
    let zeros = (vec4<u32>(last) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(0x00010001u);
    return signs + (exponents & ~((zeros << vec4<u32>(15u)) - (zeros << vec4<u32>(7u))));
#else
    return signs + exponents;
#endif
}

// Puts in the exponents of the chunk's exceptions.
fn mend(r: u32) {
    let key = row_keys[r] | chunk;
    if (entries[r] >> 13u) == key {
        // Counted, so that no table can keep the device here.
        var left = COLS;
        loop {
            mend_one(r, entries[r]);
            go_to_exception(r, next_exception[r] + 1u);
            left -= 1u;
            continuing {
                break if (entries[r] >> 13u) != key || left == 0u;
            }
        }
    }
}

fn mend_one(r: u32, entry: u32) {
    let col = (entry >> 8u) & 31u;
    let stored = ((bases[r] >> 7u) & 511u) - 2u;
    let change = ((entry & 255u) ^ stored) << (7u + 4u * (col & 4u));
    let words = vec4<u32>(col & 27u) - vec4<u32>(0u, 1u, 2u, 3u);
#unroll h 2
    lower$h[r] ^= select(vec4<u32>(0u), vec4<u32>(change), words == vec4<u32>(16u * $hu));
    upper$h[r] ^= select(vec4<u32>(0u), vec4<u32>(change), words == vec4<u32>(16u * $hu + 8u));
#end
}

fn load_eight(i: u32) {
#unroll r ROWS
    pairs[$r] = lower0[$r];
    lower0[$r] = upper0[$r];
    upper0[$r] = lower1[$r];
    lower1[$r] = upper1[$r];
    first[$r] = bitcast<vec4<f32>>(pairs[$r] << vec4<u32>(16u));
    second[$r] = bitcast<vec4<f32>>(pairs[$r] & vec4<u32>(0xffff0000u));
#end
}

// The eight columns of row `r` that were loaded last, as uncompressed weights have them: columns 2 w and 2 w + 1 in
// word w.
fn loaded_pairs(r: u32) -> vec4<u32> {
    let low = pairs[r] & vec4<u32>(0xffffu);
    let high = pairs[r] >> vec4<u32>(16u);
    return vec4<u32>(low.xz, high.xz) | (vec4<u32>(low.yw, high.yw) << vec4<u32>(16u));
}
