// The raw planes: bits of every unit that are not coded. A plane has 1, 2, 4, 8 or 16 bits of each
// unit, in words that are interleaved by lane.
//
// They are read into halves: the upper 16 bits of the units of two columns side by side in a word, the even
// column in its low half; and of units of 32 bits the lower 16 bits in another.
//
// PLANEp_BITS_1 … PLANEp_BITS_16 tell the width of plane p, PLANEp_AT where its bits belong in a half, and PLANEp_MASK
// which bits of both halves these are; PLANEp_BELOW: of the lower halves. PLANEp_SIGN: bit SIGN_BIT of each of its
// fields is the sign, which belongs in bit 15, and is not in the mask. PLANEp_UPPER, PLANEp_LOWER: these two planes have
// two bits each, which belong side by side, so that they are read as one of four. SPARSE: there are planes that only some
// rows have a part in, and PLANEp_SPARSE is one.

var<private> plane_lane: array<u32, ROWS>;
var<private> plane_block: u32;
// First column of the chunk after the one being read, in all rows.
var<private> next_col: u32;
#ifdef SPARSE
// Where this row block begins in a sparse plane, in lanes; how many lanes it has there; whether this
// lane is one of them, and its place among them.
var<private> sparse_before: u32;
var<private> sparse_lanes: u32;
var<private> sparse_has: array<bool, ROWS>;
var<private> sparse_place: array<u32, ROWS>;
#endif
// The chunk's words of planes of 1 and 2 bits, or of two planes as one, as halves; of planes of 4 bits, as stored.
#unroll p 9
#ifdef PLANE$p_WORDS
var<private> words$p: array<vec2<u32>, ROWS>;
#endif
#end

fn open_planes(r: u32, lane: u32, row_block: u32, col_tile: u32) {
    plane_lane[r] = lane;
    plane_block = row_block;
    next_col = col_tile * matrix.tile_cols;
#ifdef SPARSE
    let mask = matrix.masks_at + 4u * row_block;
    let lanes = vec2<u32>(payload_at(mask), payload_at(mask + 1u));
    let below = (1u << (lane & 31u)) - 1u;
    let counts = countOneBits(lanes);
    sparse_before = payload_at(mask + 2u);
    sparse_lanes = counts.x + counts.y;
    if lane < 32u {
        sparse_has[r] = ((lanes.x >> lane) & 1u) != 0u;
        sparse_place[r] = countOneBits(lanes.x & below);
    } else {
        sparse_has[r] = ((lanes.y >> (lane & 31u)) & 1u) != 0u;
        sparse_place[r] = counts.x + countOneBits(lanes.y & below);
    }
#endif
}

// Words that a lane has in one row block of a plane of `width` bits.
fn lane_words(width: u32) -> u32 {
    return (((matrix.cols + 15u) & ~15u) * width + 31u) >> 5u;
}

// Word `i` of this lane in a plane of `width` bits that begins at word `at`.
fn plane_word(r: u32, at: u32, width: u32, i: u32) -> u32 {
    return payload_at(at + ((plane_block * lane_words(width) + i) << 6u) + plane_lane[r]);
}

#ifdef SPARSE
// The same in a sparse plane: zero for lanes that have no part in it.
fn sparse_word(r: u32, at: u32, width: u32, i: u32) -> u32 {
    if !sparse_has[r] {
        return 0u;
    }
    return payload_at(at + sparse_before * lane_words(width) + i * sparse_lanes + sparse_place[r]);
}
#endif

#unroll p 9
#ifdef PLANE$p
fn word_of_plane$p(r: u32, width: u32, i: u32) -> u32 {
#ifdef PLANE$p_SPARSE
    return sparse_word(r, matrix.plane$p_at, width, i);
#else
    return plane_word(r, matrix.plane$p_at, width, i);
#endif
}

#endif
#end
// Fields of even columns, and those of odd ones, side by side in halves: those of the first half of the columns, and of the
// others.
fn beside(even: u32, odd: u32) -> vec2<u32> {
    return vec2<u32>((even & 0xffffu) | (odd << 16u), (even >> 16u) | (odd & 0xffff0000u));
}

// Goes to the chunk from `next_col` on.
fn load_words(r: u32) {
    let chunk = next_col >> 4u;
#unroll p 9
#ifdef PLANE$p_BITS_1
    let word$p = word_of_plane$p(r, 1u, chunk >> 1u) >> ((chunk & 1u) << 4u);
    words$p[r].x = beside(word$p & 0x5555u, (word$p >> 1u) & 0x5555u).x;
#endif
#ifdef PLANE$p_BITS_2
    let word$p = word_of_plane$p(r, 2u, chunk);
#ifdef PLANE$p_UPPER
    let upper = word$p;
#else
#ifdef PLANE$p_LOWER
    let even = ((upper & 0x33333333u) << 2u) | (word$p & 0x33333333u);
    words$p[r] = beside(even, (upper & 0xccccccccu) | ((word$p >> 2u) & 0x33333333u));
#else
    words$p[r] = beside(word$p & 0x33333333u, (word$p >> 2u) & 0x33333333u);
#endif
#endif
#endif
#ifdef PLANE$p_BITS_4
    words$p[r] = vec2<u32>(word_of_plane$p(r, 4u, 2u * chunk), word_of_plane$p(r, 4u, 2u * chunk + 1u));
#endif
#end
}

// The fields of columns 4 i .. 4 i + 3 of a chunk in halves: for planes of 1 and 2 bits, from bits 0 and 2 of two equal
// words, or from bits 0 and 4; of 4 bits, from bits 0 and 8; of 8 bits, from bit 0 of two words.
fn halves_1(words: vec2<u32>, i: u32) -> vec2<u32> {
    return vec2<u32>(words.x >> (4u * i));
}

fn halves_2(words: vec2<u32>, i: u32) -> vec2<u32> {
    return vec2<u32>(select(words.x, words.y, i >= 2u) >> (8u * (i & 1u)));
}

fn halves_4(words: vec2<u32>, i: u32) -> vec2<u32> {
    let four = select(words.x, words.y, i >= 2u) >> (16u * (i & 1u));
    return vec2<u32>(beside(four & 0x0f0fu, (four >> 4u) & 0x0f0fu).x);
}

fn halves_8(word: u32) -> vec2<u32> {
    return beside(word & 0x00ff00ffu, (word >> 8u) & 0x00ff00ffu);
}

// What the halves have from bits `at` on, in bits `to` and above; with other bits around it.
fn moved(halves: vec2<u32>, at: vec2<u32>, to: u32) -> vec2<u32> {
    let top = max(at, vec2<u32>(to));
    return (halves << (top - at)) >> (top - vec2<u32>(to));
}

struct Halves {
    upper: vec2<u32>,
    lower: vec2<u32>,
}

// The raw bits of columns 4 i .. 4 i + 3, in their places.
fn four_raw(r: u32, i: u32) -> Halves {
    var bits = Halves();
    let chunk = (next_col >> 4u) - 1u;
#unroll p 9
#ifdef PLANE$p_BITS_1
    let fields$p = halves_1(words$p[r], i);
    let at$p = vec2<u32>(0u, 2u);
#endif
#ifdef PLANE$p_BITS_2
#ifdef PLANE$p_UPPER
#else
    let fields$p = halves_2(words$p[r], i);
    let at$p = vec2<u32>(0u, 4u);
#endif
#endif
#ifdef PLANE$p_BITS_4
    let fields$p = halves_4(words$p[r], i);
    let at$p = vec2<u32>(0u, 8u);
#endif
#ifdef PLANE$p_BITS_8
    let fields$p = halves_8(word_of_plane$p(r, 8u, 4u * chunk + i));
    let at$p = vec2<u32>(0u);
#endif
#ifdef PLANE$p_BITS_16
    let first$p = 8u * chunk + 2u * i;
    let fields$p = vec2<u32>(word_of_plane$p(r, 16u, first$p), word_of_plane$p(r, 16u, first$p + 1u));
    let at$p = vec2<u32>(0u);
#endif
#ifdef PLANE$p_SIGN
    bits.upper |= moved(fields$p, at$p + vec2<u32>(SIGN_BIT), 15u) & vec2<u32>(0x80008000u);
#endif
#ifdef PLANE$p_BELOW
    bits.lower |= moved(fields$p, at$p, PLANE$p_AT) & vec2<u32>(PLANE$p_MASK);
#else
#ifdef PLANE$p
#ifdef PLANE$p_UPPER
#else
    bits.upper |= moved(fields$p, at$p, PLANE$p_AT) & vec2<u32>(PLANE$p_MASK);
#endif
#endif
#endif
#end
    return bits;
}
