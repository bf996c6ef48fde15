// Reader of BF16 weights in the tiered layout: about 10.9 bits a weight.
//
// A weight has its sign, its mantissa and a tag of two bits where its column says. The tag is how far its exponent is
// below its row's base, if that is 0, 1 or 2. Tag 3 adds two bits of the row's stream, and 3 there adds four more. The
// sum, modulo 16, is the distance: -2 to 13. ZEROS: 13 stands for the exponent 0. Weights that this does not reach are
// stored with the distance 0 and listed as exceptions.
//
// A lane has 32 columns (a chunk) in two vectors of four words, one for each half, and a third vector has the tags of
// two chunks, two words each. Column 2 w of the first eight of a half has its mantissa in bits 0 to 6 of word w and its
// sign in bit 15. Column 8 + 2 w has its mantissa in bits 8 to 14 and its sign in bit 7. Columns after these have the
// same bits of the upper half-word.
//
// What lies beside the vectors, from word `table_at` on: for each row block, span and lane, where the row's stream
// begins, and in the upper eight bits its base; of spans but the first, the bit of the stream that they begin with.
// From `tiles_at` on: each row block's first exception, and the end of the last one's. From `coded_at` on: exceptions,
// by row and then by column: lane << 26 | column << 8 | exponent. From `masks_at` on: the streams.
@group(0) @binding(3) var<storage, read> tiers: array<u32>;

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
    end_exception = tiers[matrix.tiles_at + row_block + 1u];
}

fn open_tile(r: u32, lane: u32, row_block: u32, col_tile: u32) {
    let chunks = (matrix.cols + 31u) >> 5u;
    vectors_at[r] = matrix.words_at + row_block * (2u * chunks + ((chunks + 1u) >> 1u)) * 64u + lane;
    let starts = matrix.table_at + row_block * matrix.spans * 64u + lane;
    let start = tiers[starts];
    bases[r] = ((start >> 24u) + 2u) * 0x00800080u;
    var bit = 0u;
    if col_tile > 0u {
        bit = tiers[starts + 64u * col_tile];
    }
    stream_at[r] = matrix.masks_at + (start & 0xffffffu) + (bit >> 5u) + 1u;
    stream_word[r] = tiers[stream_at[r] - 1u];
    stream_ahead[r] = tiers[stream_at[r]];
    stream_bit[r] = bit & 31u;
    row_keys[r] = lane << 13u;
    go_to_exception(r, first_from((lane << 13u) | (chunk + 1u), tiers[matrix.tiles_at + row_block]));
}

// The first exception of chunk and lane `key` or a later one, of those from `start` on.
fn first_from(key: u32, start: u32) -> u32 {
    var low = start;
    var high = end_exception;
    // What is between them is halved: 32 rounds at the most.
    while low < high {
        let middle = low + ((high - low) >> 1u);
        if (tiers[matrix.coded_at + middle] >> 13u) < key {
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
        entries[r] = tiers[matrix.coded_at + at];
    }
}

fn begin_chunk(valid: u32) {}

// Takes in the next chunk of all rows. CARE and WHOLE_CHUNKS: exceptions are not yet in their places.
fn next_chunk() {
    chunk += 1u;
#unroll r ROWS
    take_row($ru);
#end
#ifdef CARE
#else
#ifdef WHOLE_CHUNKS
#else
    mend_chunk();
#endif
#endif
}

// Puts the chunk's exceptions in their places.
fn mend_chunk() {
#unroll r ROWS
    mend($ru);
#end
}

// Whether the next chunk has exceptions.
fn needs_care() -> bool {
    var found = false;
#unroll r ROWS
    found |= (entries[$r] >> 13u) == (row_keys[$r] | (chunk + 1u));
#end
    return found;
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
    lower$h[r] = pairs_of(words$h & vec4<u32>(0x807f807fu), codes$h.lower, bases[r]);
    let mantissas$h = (words$h >> vec4<u32>(8u)) & vec4<u32>(0x007f007fu);
    let signs$h = (words$h << vec4<u32>(8u)) & vec4<u32>(0x80008000u);
    upper$h[r] = pairs_of(mantissas$h | signs$h, codes$h.upper, bases[r]);
#end
}

// How far sixteen exponents are below the base, two a word.
struct Codes {
    lower: vec4<u32>,
    upper: vec4<u32>,
}

// Field `i` of a word of two-bit fields. GPUs have an instruction for it, and processors do not.
fn two_bits(word: u32, i: u32) -> u32 {
#ifdef SEVERAL_ROWS
    return (word >> (2u * i)) & 3u;
#else
    return extractBits(word, 2u * i, 2u);
#endif
}

// Takes sixteen columns of row `r` from its stream.
fn sixteen_codes(r: u32, tags: u32) -> Codes {
    let both = tags & (tags >> 1u) & 0x55555555u;
    // 3 where the tag is 3.
    let more = both | (both << 1u);
    let bit = stream_bit[r];
    // 31 bits of the stream. The bit above them tells in the end how many were used.
    var here = (stream_word[r] >> bit) | ((stream_ahead[r] << 1u) << (31u - bit)) | 0x80000000u;
#unroll c 16
    let mask$c = two_bits(more, $cu);
    let field$c = here & mask$c;
    here >>= mask$c & 2u;
    let is_long$c = field$c == 3u;
    let rest$c = here & select(0u, 15u, is_long$c);
    here >>= select(0u, 4u, is_long$c);
    let code$c = two_bits(tags, $cu) + field$c + rest$c;
#end
    let bits = bit + countLeadingZeros(here);
    stream_word[r] = select(stream_word[r], stream_ahead[r], bits >= 32u);
    stream_at[r] += bits >> 5u;
    stream_ahead[r] = tiers[stream_at[r]];
    stream_bit[r] = bits & 31u;
    let even_lower = vec4<u32>(code0, code2, code4, code6);
    let even_upper = vec4<u32>(code8, code10, code12, code14);
    let odd_lower = vec4<u32>(code1, code3, code5, code7);
    let odd_upper = vec4<u32>(code9, code11, code13, code15);
    return Codes(even_lower + (odd_lower << vec4<u32>(16u)), even_upper + (odd_upper << vec4<u32>(16u)));
}

// Weights, two a word, of signs with mantissas, and codes.
fn pairs_of(signs: vec4<u32>, codes: vec4<u32>, base: u32) -> vec4<u32> {
    let below = (codes + vec4<u32>(0x00020002u)) & vec4<u32>(0x000f000fu);
    let exponents = vec4<u32>(base) - (below << vec4<u32>(7u));
#ifdef ZEROS
    let zeros = ((below + vec4<u32>(0x00010001u)) >> vec4<u32>(4u)) & vec4<u32>(0x00010001u);
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

#ifdef WHOLE_CHUNKS
// Takes in the next chunk, if there is one.
fn take_chunk(is_there: bool) {
    if is_there {
        next_chunk();
    }
}

fn mend_taken() {
    mend_chunk();
}

// Whether what was taken in has exceptions.
fn taken_needs_care() -> bool {
    var found = false;
#unroll r ROWS
    found |= (entries[$r] >> 13u) == (row_keys[$r] | chunk);
#end
    return found;
}

// The next eight columns of what was taken in.
fn load_taken_eight() {
    load_eight(0u);
}

#endif
fn mend_one(r: u32, entry: u32) {
    let col = (entry >> 8u) & 31u;
    let stored = ((bases[r] >> 7u) & 511u) - 2u;
    let change = ((entry & 255u) ^ stored) << (7u + 16u * (col & 1u));
    let words = vec4<u32>(col >> 1u) - vec4<u32>(0u, 1u, 2u, 3u);
#unroll h 2
    lower$h[r] ^= select(vec4<u32>(0u), vec4<u32>(change), words == vec4<u32>(8u * $hu));
    upper$h[r] ^= select(vec4<u32>(0u), vec4<u32>(change), words == vec4<u32>(8u * $hu + 4u));
#end
}

// Goes to the next eight columns of the chunk.
fn take_eight() {
#unroll r ROWS
    pairs[$r] = lower0[$r];
    lower0[$r] = upper0[$r];
    upper0[$r] = lower1[$r];
    lower1[$r] = upper1[$r];
#end
}

fn load_eight(i: u32) {
    take_eight();
#unroll r ROWS
    first[$r] = widen_bf16(pairs[$r].x, pairs[$r].y);
    second[$r] = widen_bf16(pairs[$r].z, pairs[$r].w);
#end
}

#import bf16
