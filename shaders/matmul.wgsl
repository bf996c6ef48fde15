// Y = W X for a batch of tokens.
//
// One workgroup multiplies one row block (64 rows) of the weights by TOKENS tokens. A token's sum is made in the same
// order as matvec makes it, span by span, so both give the same bits.
//
// One invocation owns ROWS rows, reads each of their weights once and keeps TOKENS sums for each row.
//
// Bindings:
//   0  step     the tokens of this batch (shared/step.wgsl)
//   1  matrix   the shape of W (shared/matrix.wgsl); of each member where matrices are JOINED
//   2  payload  the weights as stored (shared/payload.wgsl)
//   3           the layout's table: `codes` (shared/stream.wgsl), `exceptions` (shared/fast.wgsl) or `tiers`
//              (shared/tiered.wgsl)
//   4  x        [tokens, x_stride], f32, zeros behind the columns; where it is a uniform, the workgroup's tokens only
//   5  y        [tokens, y_stride], f32
//   6  bias     [rows], f32, where there is BIAS
//
// Workgroups: (row blocks, groups of TOKENS tokens); of row blocks as in matvec. Tokens beyond the batch's are
// multiplied and not stored.

// Invocations of a workgroup.
const INVOCATIONS: u32 = LANES;

#import step
#import matrix
#import product

// One of each row for each token: of the span, and of those before.
#unroll m TOKENS
var<private> sums$m: array<vec4<f32>, ROWS>;
#end
var<private> token_totals: array<array<f32, ROWS>, TOKENS>;
// The group of tokens, of those in x, and vectors from one token of x to the next.
var<private> token_group: u32;
var<private> stride: u32;

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
fn multiply_eight(at: u32) {
#unroll m TOKENS
    add_token$m(at + $mu * stride);
#end
}

// The same for all columns of the chunk. Not unrolled: there is much in it already.
fn multiply_chunk(at: u32) {
    var i = 0u;
    loop {
#ifdef WHOLE_CHUNKS
        load_taken_eight();
#else
        load_eight(i);
#endif
        multiply_eight(at + 2u * i);
        i += 1u;
        continuing {
            break if i >= EIGHTS;
        }
    }
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
    token_totals[$m][$r] = add(token_totals[$m][$r], total(sums$m[$r]));
#end
#end
}

#import spans

// Stores the results of all tokens that there are, in a loop as `store_totals`.
fn store_tokens(row_block: u32, lane: u32) {
    let first_token = matrix.first_token + token_group * TOKENS;
    var token = first_token;
    loop {
        if token < step.tokens {
            totals = token_totals[0];
            store_totals(token * matrix.y_stride, row_block, lane);
        }
#unroll m TOKENS
        token_totals[$m] = token_totals[($mu + 1u) % TOKENS];
#end
        token += 1u;
        continuing {
            break if token >= first_token + TOKENS;
        }
    }
}

fn multiply_row_block(invocation: u32, row_block: u32) {
    stride = matrix.x_stride >> 2u;
    first_x = token_group * TOKENS * stride;
#unroll m TOKENS
#unroll r ROWS
    token_totals[$m][$r] = no_sum();
#end
#end
    var span = 0u;
    loop {
        multiply_span(invocation, row_block, span);
        end_span();
        span += 1u;
        continuing {
            break if span >= row_spans();
        }
    }
    store_tokens(row_block, invocation);
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    token_group = group.y;
    multiply(invocation, group.x);
}
