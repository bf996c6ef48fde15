// y = W x for a batch of tokens. A workgroup multiplies one row block (64 rows) by TOKENS tokens. Each
// invocation owns ROWS rows, reads each of their weights once and keeps TOKENS sums for each row. A
// token's sum is made in the same order as matvec makes it, span by span, so both give the same bits.
//
// A span is a tile, or where there are PIECES it has parts of several.
//
// WHOLE_CHUNKS: each chunk is taken in whole before it is multiplied.
//
// X_UNIFORM: x has TOKENS tokens only, in X_VECTORS vectors, and is a uniform.
//
// JOINED and GATED: several matrices, as matvec has them.

#import step
#import matrix
#import sum

#ifdef X_UNIFORM
@group(0) @binding(4) var<uniform> x: array<vec4<f32>, X_VECTORS>;
#else
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;
#endif
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
#ifdef BIAS
@group(0) @binding(6) var<storage, read> bias: array<f32>;
#endif

#ifdef GATED
#import silu

// Whether y has the products of the first matrix.
var<private> gate_is_there: bool;

#endif
// One for each row of each token: of the span, and of those before.
#unroll m TOKENS
var<private> sums$m: array<vec4<f32>, ROWS>;
var<private> totals$m: array<f32, ROWS>;
#end

#unroll m TOKENS
fn add_token$m(at: u32) {
    let a = x[at];
    let b = x[at + 1u];
#unroll r ROWS
    sums$m[$r] = fma(second[$r], b, fma(first[$r], a, sums$m[$r]));
#end
}

#end
// Adds the products of the eight columns that were loaded last with x, of which the first token's is at `at`.
fn multiply_eight(at: u32, stride: u32) {
#unroll m TOKENS
    add_token$m(at + $mu * stride);
#end
}

// The same for all columns of the chunk. Not unrolled: there is much in it already.
fn multiply_chunk(at: u32, stride: u32) {
    var i = 0u;
    loop {
#ifdef WHOLE_CHUNKS
        load_taken_eight();
#else
        load_eight(i);
#endif
        multiply_eight(at + 2u * i, stride);
        i += 1u;
        continuing {
            break if i >= EIGHTS;
        }
    }
}

#ifdef WHOLE_CHUNKS
fn open_row_block(lane: u32, row_block: u32, col_tile: u32) {
    open_rows(lane, row_block, col_tile);
    take_chunk(true);
}

// Multiplies columns `start` to `end` of what is open with x, of which the first token's is at `first`.
// Software drivers run both sides of a branch: what few chunks need stands outside of the loop over chunks.
// Each round of either loop takes a chunk, whatever the exceptions are, and `col` grows with it.
fn multiply_columns(start: u32, end: u32, first: u32, stride: u32) {
    var at = first + (start >> 2u);
    var col = start;
    loop {
        mend_taken();
        loop {
            multiply_chunk(at, stride);
            at += COLS / 4u;
            col += COLS;
            take_chunk(col < matrix.cols);
            continuing {
                break if col >= end || taken_needs_care();
            }
        }
        continuing {
            break if col >= end;
        }
    }
}
#else
fn open_row_block(lane: u32, row_block: u32, col_tile: u32) {
    open_rows(lane, row_block, col_tile);
}

// Multiplies columns `start` to `end` of what is open with x, of which the first token's is at `first`.
fn multiply_columns(start: u32, end: u32, first: u32, stride: u32) {
    var at = first + (start >> 2u);
    var col = start;
    loop {
        begin_chunk(end - col);
        next_chunk();
        multiply_chunk(at, stride);
        at += COLS / 4u;
        col += COLS;
        continuing {
            break if col >= end;
        }
    }
}
#endif

fn multiply_span(row_block: u32, lane: u32, span: u32, first: u32, stride: u32) {
    let end = min((span + 1u) * matrix.span_cols, matrix.cols);
#ifdef PIECES
    var col = span * matrix.span_cols;
    loop {
        let col_tile = col / matrix.tile_cols;
        let start = col_tile * matrix.tile_cols;
        if col == start {
            open_row_block(lane, row_block, col_tile);
        }
        let stop = min(end, start + matrix.tile_cols);
        multiply_columns(col, stop, first, stride);
        col = stop;
        continuing {
            break if col >= end;
        }
    }
#else
    open_row_block(lane, row_block, span);
    multiply_columns(span * matrix.span_cols, end, first, stride);
#endif
}

fn begin_span() {
#unroll m TOKENS
#unroll r ROWS
    sums$m[$r] = vec4<f32>(no_sum());
#end
#end
}

fn end_span() {
#unroll m TOKENS
#unroll r ROWS
    totals$m[$r] = add(totals$m[$r], total(sums$m[$r]));
#end
#end
}

fn store(token: u32, row: u32, sum: f32) {
    if token >= step.tokens || row >= matrix.rows {
        return;
    }
    var result = sum;
    let out = matrix.first_row + row;
#ifdef BIAS
    result = add(result, bias[out]);
#endif
    let at = token * matrix.y_stride + out;
#ifdef ACCUMULATE
    result = add(result, y[at]);
#endif
#ifdef GATED
    if gate_is_there {
        // This invocation's.
        result = silu_times(y[at], result, zero());
    }
#endif
    y[at] = result;
}

// `group`: of tokens, of those in x.
fn multiply_row_block(invocation: u32, row_block: u32, group: u32) {
    let token = group * TOKENS;
    let stride = matrix.x_stride >> 2u;
#unroll m TOKENS
#unroll r ROWS
    totals$m[$r] = no_sum();
#end
#end
    // Loops end at their bottom: software drivers run their bodies once more with all lanes off where they end
    // at the top.
    var span = 0u;
    loop {
        begin_span();
        multiply_span(row_block, invocation, span, token * stride, stride);
        end_span();
        span += 1u;
        continuing {
            break if span >= row_spans();
        }
    }
#unroll r ROWS
    let row$r = row_block * 64u + invocation + $ru * LANES;
#end
#unroll m TOKENS
#unroll r ROWS
    store(matrix.first_token + token + $mu, row$r, totals$m[$r]);
#end
#end
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
#ifdef JOINED
#ifdef GATED
    for (var i = 0u; i < 2u; i++) {
        matrix = members[i];
        gate_is_there = i == 1u;
        multiply_row_block(invocation, group.x, group.y);
    }
#else
    var member = 0u;
#unroll m MEMBERS
    if group.x >= members[$m].first_block {
        member = $mu;
    }
#end
    matrix = members[member];
    multiply_row_block(invocation, group.x - matrix.first_block, group.y);
#endif
#else
    multiply_row_block(invocation, group.x, group.y);
#endif
}
