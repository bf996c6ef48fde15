// Reader of BF16 weights in the fast layout: 12 bits a weight, every one of them where the column says.
//
// A weight has its sign, its mantissa and a code of four bits: its exponent less its row's lowest one
// that has a code. ZEROS: code 0 is instead the exponent 0, which zeros have. Weights whose exponent has no
// code are the row block's exceptions; they are stored with code 0 and listed, in order.
//
// A lane has 32 columns (a chunk) in three vectors of four words, interleaved by lane. Two weights share
// the 24 bits of a word in HALVES. They are columns 0 to 23; those of 24 to 31 lie in the bits that
// the others leave.

// Of each lane its lowest exponent, a byte each; for each span of each row block its first exception; and the
// exceptions, in ascending order: column / 8 << 17 | row << 11 | column % 8 << 8 | exponent.
@group(0) @binding(3) var<storage, read> exceptions: array<u32>;

const COLS: u32 = 32u;
// Sign, code and mantissa of two weights, where a BF16 has sign, low exponent bits and mantissa.
const HALVES: u32 = 0x87ff87ffu;
// Lowest bit of the exponent in both halves.
const ONES: u32 = 0x00800080u;
// The codes in both halves.
const CODES: u32 = 0x07800780u;

var<private> cursors: array<u32, ROWS>;
var<private> chunk_at: array<u32, ROWS>;
// Each row's lowest exponent, in both halves.
var<private> lowest: array<u32, ROWS>;
// What was found of columns 24 to 31: twelve bits of a half below its highest, the sign above the others.
var<private> rest: array<vec4<u32>, ROWS>;
// The chunk's words, two weights each, as uncompressed weights have them.
var<private> pairs: array<vec4<u32>, ROWS>;
var<private> lanes: array<u32, ROWS>;
#ifdef SPLIT
// Its vectors, which a GPU loads together, before a branch that mends weights: none of these loads waits for another.
#unroll i 3
var<private> stored$i: array<vec4<u32>, ROWS>;
#end
#endif

// What follows the last exception: a chunk that no matrix in this layout has.
const NO_ENTRY: u32 = 0xffffffffu;
// Exceptions of eight columns of a row block, at the most.
const MOST_OF_EIGHT: u32 = 8u * 64u;

// The chunk being read. The next exception, what it says, and the end of the row block's.
var<private> chunk: u32;
var<private> entry: u32;
var<private> next_exception: u32;
var<private> end_exception: u32;

fn open_columns(row_block: u32, col_tile: u32) {
    // Before the next chunk is gone to.
    chunk = ((col_tile * matrix.tile_cols) >> 5u) - 1u;
    let starts = matrix.tiles_at + row_block * matrix.spans;
    end_exception = exceptions[starts + matrix.spans];
#ifdef SEEK
    go_to_exception(first_from(chunk + 1u, exceptions[starts]));
#else
    go_to_exception(exceptions[starts + col_tile]);
#endif
}

#ifdef SEEK
// The first exception of chunk `at` or a later one, of those from `start` on.
fn first_from(at: u32, start: u32) -> u32 {
    var low = start;
    var high = end_exception;
    // What is between them is halved: 32 rounds at the most.
    while low < high {
        let middle = low + ((high - low) >> 1u);
        if (exceptions[matrix.coded_at + middle] >> 19u) < at {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low;
}

#endif
fn open_tile(r: u32, lane: u32, row_block: u32, col_tile: u32) {
    let chunks = (matrix.cols + 31u) >> 5u;
    let first_chunk = (col_tile * matrix.tile_cols) >> 5u;
    cursors[r] = matrix.words_at + (row_block * chunks + first_chunk) * 192u + lane;
    lanes[r] = lane;
    let four = exceptions[matrix.table_at + 16u * row_block + (lane >> 2u)];
    lowest[r] = ((four >> (8u * (lane & 3u))) & 255u) * ONES;
}

fn begin_chunk(valid: u32) {}

fn next_chunk() {
    chunk += 1u;
#unroll r ROWS
    chunk_at[$r] = cursors[$r];
    cursors[$r] += 192u;
    rest[$r] = vec4<u32>(0u);
#end
#ifdef SPLIT
#unroll i 3
#unroll r ROWS
    stored$i[$r] = payload_at(chunk_at[$r] + 64u * $iu);
#end
#end
#endif
}

// Vector `i` of row `r`'s chunk.
fn stored_vector(r: u32, i: u32) -> vec4<u32> {
#ifdef SPLIT
    return select(select(stored0[r], stored1[r], vec4<bool>(i == 1u)), stored2[r], vec4<bool>(i == 2u));
#else
    return payload_at(chunk_at[r] + 64u * i);
#endif
}

// Loads columns 8 i .. 8 i + 7 of row `r`, for i < 3.
fn load_pairs(r: u32, i: u32) {
    let words = stored_vector(r, i);
    rest[r] = (rest[r] >> vec4<u32>(4u)) | (words & vec4<u32>(0x78007800u));
    set_pairs(r, words & vec4<u32>(HALVES));
}

// Takes columns 24 to 31 of row `r`, once the others were loaded.
fn take_rest(r: u32) {
    let sign = (rest[r] & vec4<u32>(0x40004000u)) << vec4<u32>(1u);
    set_pairs(r, ((rest[r] >> vec4<u32>(3u)) & vec4<u32>(0x07ff07ffu)) | sign);
}

fn set_pairs(r: u32, halves: vec4<u32>) {
#ifdef ZEROS
    // Bit 11 of a half is set where its code is not zero.
    let coded = (((halves & vec4<u32>(CODES)) + vec4<u32>(CODES)) >> vec4<u32>(11u)) & vec4<u32>(0x00010001u);
    pairs[r] = halves + coded * vec4<u32>(lowest[r] & 0xffffu);
#else
    pairs[r] = halves + vec4<u32>(lowest[r]);
#endif
}

// Puts the exponent of exception `entry`, of the eight columns that were loaded last, into row `r` if it
// is this row's.
fn mend(r: u32, entry: u32) {
#ifdef ZEROS
    let exponent = entry & 255u;
#else
    let exponent = (entry ^ (lowest[r] >> 7u)) & 255u;
#endif
    let col = (entry >> 8u) & 7u;
    let change = select(0u, exponent << (7u + 16u * (col & 1u)), ((entry >> 11u) & 63u) == lanes[r]);
    pairs[r] ^= select(vec4<u32>(0u), vec4<u32>(change), vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(col >> 1u));
}

// Goes to exception `at` of the part.
fn go_to_exception(at: u32) {
    next_exception = at;
    entry = NO_ENTRY;
    if at < end_exception {
        entry = exceptions[matrix.coded_at + at];
    }
}

// Mends columns 8 i .. 8 i + 7 of all rows.
fn mend_eight(i: u32) {
    let eight = 4u * chunk + i;
    if (entry >> 17u) == eight {
        // Counted, so that no table can keep the device here.
        var left = MOST_OF_EIGHT;
        loop {
#unroll r ROWS
            mend($ru, entry);
#end
            go_to_exception(next_exception + 1u);
            left -= 1u;
            continuing {
                break if (entry >> 17u) != eight || left == 0u;
            }
        }
    }
}

// Whether the next chunk has exceptions.
fn needs_care() -> bool {
    return (entry >> 19u) == chunk + 1u;
}

#ifdef WHOLE_CHUNKS
// A chunk that was taken in whole, as uncompressed weights have it: eight columns each.
#unroll i 4
var<private> taken$i: array<vec4<u32>, ROWS>;
#end

// Takes in the next chunk. Where there is none, the last one is taken in again.
fn take_chunk(is_there: bool) {
    next_chunk();
#unroll r ROWS
    cursors[$r] -= select(192u, 0u, is_there);
#unroll i 3
    load_pairs($ru, $iu);
    taken$i[$r] = pairs[$r];
#end
    take_rest($ru);
    taken3[$r] = pairs[$r];
#end
}

// Mends what was taken in.
fn mend_taken() {
#unroll i 4
#unroll r ROWS
    pairs[$r] = taken$i[$r];
#end
    mend_eight($iu);
#unroll r ROWS
    taken$i[$r] = pairs[$r];
#end
#end
}

// Whether what was taken in has exceptions.
fn taken_needs_care() -> bool {
    return (entry >> 19u) == chunk;
}

// The next eight columns of what was taken in.
fn load_taken_eight() {
#unroll r ROWS
    pairs[$r] = taken0[$r];
    taken0[$r] = taken1[$r];
    taken1[$r] = taken2[$r];
    taken2[$r] = taken3[$r];
#end
    widen_pairs();
}

#endif
fn load_eight(i: u32) {
    if i < 3u {
        load_stored_eight(i);
    } else {
        take_last_eight();
    }
}

// Columns 8 i .. 8 i + 7 of the chunk, for i < 3, and then the others.
fn load_stored_eight(i: u32) {
#unroll r ROWS
    load_pairs($ru, i);
#end
    mend_eight(i);
    widen_pairs();
}

fn take_last_eight() {
#unroll r ROWS
    take_rest($ru);
#end
    mend_eight(3u);
    widen_pairs();
}

// The same where the chunk has no exceptions.
fn load_stored_eight_quickly(i: u32) {
#unroll r ROWS
    load_pairs($ru, i);
#end
    widen_pairs();
}

fn take_last_eight_quickly() {
#unroll r ROWS
    take_rest($ru);
#end
    widen_pairs();
}

// The eight columns of row `r` that were loaded last, as uncompressed weights have them.
fn loaded_pairs(r: u32) -> vec4<u32> {
    return pairs[r];
}

fn widen_pairs() {
#unroll r ROWS
    first[$r] = widen_bf16(pairs[$r].x, pairs[$r].y);
    second[$r] = widen_bf16(pairs[$r].z, pairs[$r].w);
#end
}

#import bf16
