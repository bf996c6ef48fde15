// Causal attention.
//
// One workgroup computes HEADS query heads of one token, all of which see the keys and values of the same KV head:
// what is read of the cache serves all of them, and is read once. Keys are taken in rounds, with a running maximum and
// sum (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018).
//
// One invocation of LANES:
// - scores KEYS keys of each round, LANES apart, against every query, and makes weights of the scores once the round's
//   largest are known;
// - then gathers PIECES of the values, ELEMENT_LANES apart. Where there are more invocations than ELEMENT_LANES, the
//   keys are divided among so many teams, whose sums are added at the end.
//
// A head has DIM elements, a multiple of four. Lanes beyond the last element gather numbers that are not used. A piece
// is an element, or, with F16_CACHE, a word of two. TWO_LEVELS finds the largest score of 256 invocations in two steps
// of sixteen.
//
// Bindings:
//   0  step   the tokens of this batch and their positions (shared/step.wgsl)
//   1  heads  the shape of heads and cache (shared/heads.wgsl)
//   2  q      [tokens, qkv_stride / 4] vectors of four f32, of which queries are the first
//   3  cache  four elements each, F32 or F16, as shared/heads.wgsl orders them
//   4  y      [tokens, y_stride], f32
//
// Workgroups: (KV heads times the workgroups that share each, tokens).

#import step
#import heads
#import finite

@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>;
#ifdef F16_CACHE
@group(0) @binding(3) var<storage, read> cache: array<vec2<u32>>;
#else
@group(0) @binding(3) var<storage, read> cache: array<vec4<f32>>;
#endif
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

const QUADS: u32 = DIM / 4u;
// WIDTH elements.
#ifdef F16_CACHE
const WIDTH: u32 = 2u;
alias Piece = vec2<f32>;
#else
const WIDTH: u32 = 1u;
alias Piece = f32;
#endif
// Keys of a round.
const ROUND: u32 = LANES * KEYS;
const TEAMS: u32 = LANES / ELEMENT_LANES;

// Below every real score, and far from where exp misbehaves.
const LEAST: f32 = -1e30;

var<workgroup> queries: array<vec4<f32>, HEADS * QUADS>;
// The largest score of each invocation by head, and at the end the weights' sums.
var<workgroup> largest: array<f32, HEADS * LANES>;
#ifdef TWO_LEVELS
var<workgroup> largest_of_16: array<f32, HEADS * 16u>;
#endif
// The round's weights by head, and at the end the values' sums.
var<workgroup> weights: array<f32, HEADS * ROUND>;

// Of this invocation's keys, key by key.
var<private> scores: array<f32, HEADS * KEYS>;
// The largest score so far, by head.
var<private> most: array<f32, HEADS>;
// Sums over the keys of this invocation's team: of weights by head, and of values, head by head.
var<private> totals: array<f32, HEADS>;
var<private> sums: array<Piece, HEADS * PIECES>;

// Four elements of the cache.
fn load_four(quad: u32) -> vec4<f32> {
#ifdef F16_CACHE
    let words = cache[quad];
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
#else
    return cache[quad];
#endif
}

// The piece of the cache that begins at an element.
fn load_piece(element: u32) -> Piece {
#ifdef F16_CACHE
    return unpack2x16float(cache[element >> 2u][(element >> 1u) & 1u]);
#else
    return cache[element >> 2u][element & 3u];
#endif
}

// Scores this invocation's keys of the round from position `first` on. Behind the last position the
// last is read again, so that no load is masked and nothing is read that is not filled.
fn score_keys(keys: u32, first: u32, end: u32, lane: u32) {
#unroll r KEYS
    let position$r = first + lane + $ru * LANES;
    let key$r = keys + min(position$r, end - 1u) * QUADS;
#unroll h HEADS
    var score$r_$h = 0.0;
#end
#end
    for (var i = 0u; i < QUADS; i++) {
#unroll h HEADS
        let query$h = queries[$hu * QUADS + i];
#end
#unroll r KEYS
        let four$r = load_four(key$r + i);
#unroll h HEADS
        score$r_$h += dot(query$h, four$r);
#end
#end
    }
#unroll r KEYS
#unroll h HEADS
    scores[$ru * HEADS + $hu] = select(LEAST, score$r_$h, position$r < end);
#end
#end
}

// The largest score of the round, of any invocation, or what it was before; by head.
fn find_most(lane: u32) {
#unroll h HEADS
    var mine$h = most[$h];
#unroll r KEYS
    mine$h = max(mine$h, scores[$ru * HEADS + $hu]);
#end
    largest[$hu * LANES + lane] = mine$h;
#end
    workgroupBarrier();
#ifdef TWO_LEVELS
    if lane < HEADS * 16u {
        let at = (lane >> 4u) * LANES + (lane & 15u);
        var all = largest[at];
        for (var i = 1u; i < 16u; i++) {
            all = max(all, largest[at + 16u * i]);
        }
        largest_of_16[lane] = all;
    }
    workgroupBarrier();
#unroll h HEADS
    most[$h] = largest_of_16[$hu * 16u];
    for (var i = 1u; i < 16u; i++) {
        most[$h] = max(most[$h], largest_of_16[$hu * 16u + i]);
    }
#end
#else
#unroll h HEADS
    most[$h] = largest[$hu * LANES];
    for (var i = 1u; i < LANES; i++) {
        most[$h] = max(most[$h], largest[$hu * LANES + i]);
    }
#end
#endif
}

// The weight of a score against the largest. Far below it is so little that it need not be exact.
fn weight_of(score: f32, most: f32) -> f32 {
    return exp(max(score - most, -80.0));
}

// Makes weights of this invocation's scores, and scales the sums to the largest score so far. A score that is not
// finite would weigh next to nothing: it stands for its weight, so that the result is not finite either.
fn weigh(lane: u32) {
#unroll h HEADS
    let before$h = most[$h];
#end
    find_most(lane);
#unroll h HEADS
    let shrink$h = weight_of(before$h, most[$h]);
    totals[$h] *= shrink$h;
#unroll p PIECES
    sums[$hu * PIECES + $pu] *= shrink$h;
#end
#unroll r KEYS
    let score$r_$h = scores[$ru * HEADS + $hu];
    weights[$hu * ROUND + $ru * LANES + lane] =
        select(weight_of(score$r_$h, most[$h]), score$r_$h, is_not_finite(bitcast<u32>(score$r_$h)));
#end
#end
    workgroupBarrier();
}

// Adds the round's first `count` values, from element `at` of the cache on, as they weigh.
fn gather(at: u32, count: u32, lane: u32) {
    for (var i = lane / ELEMENT_LANES; i < count; i += TEAMS) {
        let element = at + i * DIM + lane % ELEMENT_LANES * WIDTH;
#unroll h HEADS
        let weight$h = weights[$hu * ROUND + i];
        totals[$h] += weight$h;
#end
#unroll p PIECES
        let value$p = load_piece(element + $pu * ELEMENT_LANES * WIDTH);
#unroll h HEADS
        sums[$hu * PIECES + $pu] = fma(Piece(weight$h), value$p, sums[$hu * PIECES + $pu]);
#end
#end
    }
}

// Writes an element of each piece `p` of the first `count` heads, `to` being where the first head goes.
fn store(p: u32, within: u32, to: u32, count: u32, lane: u32) {
#unroll h HEADS
#ifdef F16_CACHE
    weights[$hu * LANES + lane] = sums[$hu * PIECES + p][within];
#else
    weights[$hu * LANES + lane] = sums[$hu * PIECES + p];
#endif
#end
    workgroupBarrier();
    for (var i = lane; i < count * ELEMENT_LANES; i += LANES) {
        let head = i / ELEMENT_LANES;
        let column = i % ELEMENT_LANES;
        var sum = 0.0;
        var total = 0.0;
        for (var team = 0u; team < TEAMS; team++) {
            sum += weights[head * LANES + team * ELEMENT_LANES + column];
            total += largest[head * LANES + team * ELEMENT_LANES];
        }
        let element = (p * ELEMENT_LANES + column) * WIDTH + within;
        if element < DIM {
            y[to + head * DIM + element] = sum / total;
        }
    }
    workgroupBarrier();
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // Query heads of each KV head, and the workgroups that share them.
    let sharing = heads.heads / heads.kv_heads;
    let workgroups = (sharing + HEADS - 1u) / HEADS;
    let kv_head = group.x / workgroups;
    let head_in = group.x % workgroups * HEADS;
    // The last of these workgroups may have fewer heads than places for them.
    let count = min(HEADS, sharing - head_in);
    let token = group.y;
    let first_element = (kv_head * sharing + head_in) * DIM;
    let at = token * heads.qkv_stride + first_element;
    let to = token * heads.y_stride + first_element;
    // Places without a head get the last numbers of a head, and their result is not stored.
    for (var i = lane; i < HEADS * QUADS; i += LANES) {
        queries[i] = q[(at >> 2u) + min(i, count * QUADS - 1u)] * heads.scale;
    }
#unroll h HEADS
    most[$h] = LEAST;
    totals[$h] = 0.0;
#unroll p PIECES
    sums[$hu * PIECES + $pu] = Piece(0.0);
#end
#end
    workgroupBarrier();

    let end = step.position + token + 1u;
    let keys = kv_head * heads.context * QUADS;
    let values = (heads.kv_heads + kv_head) * heads.context * DIM;
    for (var first = end - min(end, heads.window); first < end; first += ROUND) {
        score_keys(keys, first, end, lane);
        weigh(lane);
        gather(values + first * DIM, min(ROUND, end - first), lane);
    }

    workgroupBarrier();
#unroll h HEADS
    largest[$hu * LANES + lane] = totals[$h];
#end
#unroll p PIECES
    store($pu, 0u, to, count, lane);
#ifdef F16_CACHE
    store($pu, 1u, to, count, lane);
#endif
#end
}
