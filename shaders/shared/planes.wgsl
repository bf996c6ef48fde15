// The raw planes: bits of every unit that are not coded. A plane has 1, 2, 4, 8 or 16 bits of each
// unit, in words that are interleaved by lane.
//
// PLANEp_BITS_1 … PLANEp_BITS_16 tell the width of plane p, and PLANEp_AT where its bits belong in a
// unit that fills 32 bits from the top. PLANEp_SIGN: bit SIGN_BIT of each of its fields is the sign,
// which belongs in bit 31. SPARSE: there are planes that only some rows have a part in, and
// PLANEp_SPARSE is one.

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
// The chunk's words of narrow planes.
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
// Goes to the chunk from `next_col` on.
fn load_words(r: u32) {
    let chunk = next_col >> 4u;
#unroll p 9
#ifdef PLANE$p_BITS_1
    words$p[r].x = word_of_plane$p(r, 1u, chunk >> 1u) >> ((chunk & 1u) << 4u);
#endif
#ifdef PLANE$p_BITS_2
    words$p[r].x = word_of_plane$p(r, 2u, chunk);
#endif
#ifdef PLANE$p_BITS_4
    words$p[r] = vec2<u32>(word_of_plane$p(r, 4u, 2u * chunk), word_of_plane$p(r, 4u, 2u * chunk + 1u));
#endif
#end
}

// Four fields of 1, 2, 4, 8 and 16 bits, for columns 4 i .. 4 i + 3 of a chunk.
fn fields_1(words: vec2<u32>, i: u32) -> vec4<u32> {
    return (vec4<u32>(words.x) >> (vec4<u32>(0u, 1u, 2u, 3u) + vec4<u32>(4u * i))) & vec4<u32>(1u);
}

fn fields_2(words: vec2<u32>, i: u32) -> vec4<u32> {
    return (vec4<u32>(words.x) >> (vec4<u32>(0u, 2u, 4u, 6u) + vec4<u32>(8u * i))) & vec4<u32>(3u);
}

fn fields_4(words: vec2<u32>, i: u32) -> vec4<u32> {
    let word = select(words.x, words.y, i >= 2u);
    return (vec4<u32>(word) >> (vec4<u32>(0u, 4u, 8u, 12u) + vec4<u32>(16u * (i & 1u)))) & vec4<u32>(15u);
}

fn fields_8(word: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
}

fn fields_16(a: u32, b: u32) -> vec4<u32> {
    return vec4<u32>(a & 0xffffu, a >> 16u, b & 0xffffu, b >> 16u);
}

// The raw bits of columns 4 i .. 4 i + 3, in their places.
fn four_raw(r: u32, i: u32) -> vec4<u32> {
    var bits = vec4<u32>(0u);
    let chunk = (next_col >> 4u) - 1u;
#unroll p 9
#ifdef PLANE$p_BITS_1
    let fields$p = fields_1(words$p[r], i);
#endif
#ifdef PLANE$p_BITS_2
    let fields$p = fields_2(words$p[r], i);
#endif
#ifdef PLANE$p_BITS_4
    let fields$p = fields_4(words$p[r], i);
#endif
#ifdef PLANE$p_BITS_8
    let fields$p = fields_8(word_of_plane$p(r, 8u, 4u * chunk + i));
#endif
#ifdef PLANE$p_BITS_16
    let at$p = 8u * chunk + 2u * i;
    let fields$p = fields_16(word_of_plane$p(r, 16u, at$p), word_of_plane$p(r, 16u, at$p + 1u));
#endif
#ifdef PLANE$p_SIGN
    // Its highest bit does not belong beside the others.
    let below$p = fields$p & vec4<u32>((1u << SIGN_BIT) - 1u);
    bits |= ((fields$p >> vec4<u32>(SIGN_BIT)) << vec4<u32>(31u)) | (below$p << vec4<u32>(PLANE$p_AT));
#else
#ifdef PLANE$p
    bits |= fields$p << vec4<u32>(PLANE$p_AT);
#endif
#endif
#end
    return bits;
}
