// y = W x for one token.
//
// One workgroup multiplies one row block (64 rows) of the weights by the whole of x, or one of STRIPS strips of its rows.
// Where there are SPLITS (shared/split_rows.wgsl), as many invocations share the columns of a row. The spans' sums are
// added in order, whoever made them: any number of strips and splits gives the same bits.
//
// One invocation owns ROWS rows, so that what it reads of x serves all of them, and keeps a sum for each, in four
// parts by column modulo four.
//
// Bindings:
//   1  matrix   the shape of W (shared/matrix.wgsl); of each member where matrices are JOINED
//   2  payload  the weights as stored (shared/payload.wgsl)
//   3           the layout's table: `codes` (shared/stream.wgsl), `exceptions` (shared/fast.wgsl) or `tiers`
//              (shared/tiered.wgsl)
//   4  x        [cols, padded with zeros to whole chunks], f32
//   5  y        [rows], f32
//   6  bias     [rows], f32, where there is BIAS
//
// Workgroups: (row blocks · STRIPS, 1); of all members where matrices are joined, and of one member where they are GATED.
//
// CARE: chunks with exceptions have a loop of their own.

// Invocations of a workgroup.
const INVOCATIONS: u32 = LANES / STRIPS * SPLITS;

#import matrix
#import product

// Which strip of the row block the workgroup has.
var<private> strip: u32;
// Of one span, by row.
var<private> sums: array<vec4<f32>, ROWS>;

// Adds the products of the eight columns that were loaded with x from `at` on.
fn multiply_eight(at: u32) {
    let a = x[at];
    let b = x[at + 1u];
#unroll r ROWS
    sums[$r] = fma(second[$r], b, fma(first[$r], a, sums[$r]));
#end
}

// Adds the products of the chunk that was gone to with x from vector `at` on.
fn multiply_chunk(at: u32) {
#ifdef CARE
    // In a loop: this is rare, and less code compiles sooner.
    var i = 0u;
    loop {
        load_stored_eight(i);
        multiply_eight(at + 2u * i);
        i += 1u;
        continuing {
            break if i >= 3u;
        }
    }
    take_last_eight();
    multiply_eight(at + 6u);
#else
#ifdef UNROLLED
    // Where the bits of a weight are depends on i.
#unroll i EIGHTS
    load_eight($iu);
    multiply_eight(at + 2u * $iu);
#end
#else
    var i = 0u;
    loop {
        load_eight(i);
        multiply_eight(at + 2u * i);
        i += 1u;
        continuing {
            break if i >= EIGHTS;
        }
    }
#endif
#endif
}

#ifdef CARE
// The same for a chunk that needs no care.
fn multiply_quickly(at: u32) {
#unroll i 3
    load_stored_eight_quickly($iu);
    multiply_eight(at + 2u * $iu);
#end
    take_last_eight_quickly();
    multiply_eight(at + 6u);
}

#endif
fn begin_span() {
#unroll r ROWS
    sums[$r] = vec4<f32>(no_sum());
#end
}

fn end_span() {
#unroll r ROWS
    totals[$r] = add(totals[$r], total(sums[$r]));
#end
}

fn begin_totals() {
#unroll r ROWS
    totals[$r] = no_sum();
#end
}

#ifdef CARE
// Software drivers run both sides of a branch, and the body of a loop once more than any lane is in it where its
// end is not at its bottom. So what is rare stands outside of the loops for what is not, and every loop ends at
// its bottom.
//
// Where exceptions are decides which loop goes on, and not how often: whichever runs takes at least a chunk, and
// `col` grows with each.
fn multiply_row_block(invocation: u32, row_block: u32) {
    open_rows(invocation, row_block, 0u);
    begin_totals();
    begin_span();
    let cols = matrix.cols;
    // Where the span ends.
    var end = min(matrix.span_cols, cols);
    var at = 0u;
    var col = 0u;
    loop {
        if col < cols && !needs_care() {
            loop {
                loop {
                    next_chunk();
                    multiply_quickly(at);
                    at += COLS / 4u;
                    col += COLS;
                    continuing {
                        break if col >= end || needs_care();
                    }
                }
                if col >= end {
                    end_span();
                    begin_span();
                    end = min(end + matrix.span_cols, cols);
                }
                continuing {
                    break if col >= cols || needs_care();
                }
            }
        }
        if col < cols {
            loop {
                next_chunk();
                multiply_chunk(at);
                at += COLS / 4u;
                col += COLS;
                if col >= end {
                    end_span();
                    begin_span();
                    end = min(end + matrix.span_cols, cols);
                }
                continuing {
                    break if col >= cols || !needs_care();
                }
            }
        }
        continuing {
            break if col >= cols;
        }
    }
    store_totals(0u, row_block, invocation);
}

#else
#import spans

#ifdef SPLIT
#import split_rows
#else
fn multiply_row_block(invocation: u32, row_block: u32) {
    begin_totals();
#ifdef IN_ORDER
    // Then the rows go on where they are.
    open_rows(invocation, row_block, 0u);
#endif
    var span = 0u;
    loop {
        multiply_span(invocation, row_block, span);
        end_span();
        span += 1u;
        continuing {
            break if span >= row_spans();
        }
    }
    store_totals(0u, row_block, invocation);
}
#endif
#endif

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    strip = group.x % STRIPS;
    multiply(invocation, group.x / STRIPS);
}
