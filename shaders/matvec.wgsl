// y = W x for one token. A workgroup multiplies one row block (64 rows) by the whole of x. It has SPLITS
// groups of LANES invocations. Each invocation of a group owns ROWS rows, so that what it reads of x serves
// all of them, and keeps a sum for each, in four parts by column modulo four.
//
// The columns are summed span by span, and the spans' sums are added in order, whoever made them: any
// number of splits gives the same bits.
//
// A span is a tile, or where there are PIECES it has parts of several. OPEN_SPANS: each tile is gone to; IN_ORDER: the
// layout has no tiles of its own, and is read from the first column to the last.
//
// BIAS adds a bias; ACCUMULATE adds to what y holds. X_UNIFORM: x, of X_VECTORS vectors, is a uniform.
//
// JOINED: there are several matrices, whose row blocks follow each other. GATED: there are two, and a workgroup
// multiplies a row block of the first, then that of the second, and y = silu(first product) · second.

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
// Of one span.
var<private> sums: array<vec4<f32>, ROWS>;
#ifdef SPLIT
var<workgroup> span_sums: array<f32, SPLITS * LANES>;
#endif

// Adds the products of the eight columns that were loaded with x from `at` on.
fn multiply_eight(at: u32) {
    let a = x[at];
    let b = x[at + 1u];
#unroll r ROWS
    sums[$r] = fma(second[$r], b, fma(first[$r], a, sums[$r]));
#end
}

fn multiply_chunk(at: u32) {
    next_chunk();
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
#ifdef FAST
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
    next_chunk();
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

#ifdef CARE
#else
// Multiplies columns `start` to `end` of what is open.
fn multiply_columns(start: u32, end: u32) {
    let cols = end - start;
    var at = start >> 2u;
    var col = 0u;
    loop {
        begin_chunk(cols - col);
        multiply_chunk(at);
        at += COLS / 4u;
        col += COLS;
        // Here, and not in front: software drivers run what follows the end of a loop once more, with
        // all lanes off.
        continuing {
            break if col >= cols;
        }
    }
}

fn multiply_span(lane: u32, row_block: u32, span: u32) {
    begin_span();
    let end = min((span + 1u) * matrix.span_cols, matrix.cols);
#ifdef PIECES
    var col = span * matrix.span_cols;
    loop {
        let col_tile = col / matrix.tile_cols;
        let start = col_tile * matrix.tile_cols;
        if col == start {
            open_rows(lane, row_block, col_tile);
        }
        let stop = min(end, start + matrix.tile_cols);
        multiply_columns(col, stop);
        col = stop;
        continuing {
            break if col >= end;
        }
    }
#else
#ifdef OPEN_SPANS
    open_rows(lane, row_block, span);
#endif
    multiply_columns(span * matrix.span_cols, end);
#endif
}

#endif
fn store(row: u32, sum: f32) {
    if row >= matrix.rows {
        return;
    }
    var result = sum;
    let out = matrix.first_row + row;
#ifdef BIAS
    result = add(result, bias[out]);
#endif
#ifdef ACCUMULATE
    result = add(result, y[out]);
#endif
#ifdef GATED
    if gate_is_there {
        // This invocation's.
        result = silu_times(y[out], result, zero());
    }
#endif
    y[out] = result;
}

#ifdef CARE
var<private> totals: array<f32, ROWS>;

fn end_span() {
#unroll r ROWS
    totals[$r] = add(totals[$r], total(sums[$r]));
#end
    begin_span();
}

// Software drivers run both sides of a branch, and the body of a loop once more than any lane is in it where its
// end is not at its bottom. So what is rare stands outside of the loops for what is not, and every loop ends at
// its bottom.
//
// Where exceptions are decides which loop goes on, and not how often: whichever runs takes at least a chunk, and
// `col` grows with each.
fn multiply_row_block(invocation: u32, row_block: u32) {
    open_rows(invocation, row_block, 0u);
#unroll r ROWS
    totals[$r] = no_sum();
#end
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
                    multiply_quickly(at);
                    at += COLS / 4u;
                    col += COLS;
                    continuing {
                        break if col >= end || needs_care();
                    }
                }
                if col >= end {
                    end_span();
                    end = min(end + matrix.span_cols, cols);
                }
                continuing {
                    break if col >= cols || needs_care();
                }
            }
        }
        if col < cols {
            loop {
                multiply_chunk(at);
                at += COLS / 4u;
                col += COLS;
                if col >= end {
                    end_span();
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
#unroll r ROWS
    store(row_block * 64u + invocation + $ru * LANES, totals[$r]);
#end
}

#else
fn multiply_row_block(invocation: u32, row_block: u32) {
#ifdef SPLIT
    let lane = invocation % LANES;
    let split = invocation / LANES;
    var sum = no_sum();
    for (var first_span = 0u; first_span < row_spans(); first_span += SPLITS) {
        let span = first_span + split;
        if span < row_spans() {
            multiply_span(lane, row_block, span);
            span_sums[invocation] = total(sums[0]);
        }
        workgroupBarrier();
        if split == 0u {
            let count = min(row_spans() - first_span, SPLITS);
            for (var i = 0u; i < count; i++) {
                sum = add(sum, span_sums[i * LANES + lane]);
            }
        }
        workgroupBarrier();
    }
    if split == 0u {
        store(row_block * 64u + lane, sum);
    }
#else
#unroll r ROWS
    var sum$r = no_sum();
#end
#ifdef IN_ORDER
    // Then the rows go on where they are.
    open_rows(invocation, row_block, 0u);
#endif
    var span = 0u;
    loop {
        multiply_span(invocation, row_block, span);
#unroll r ROWS
        sum$r = add(sum$r, total(sums[$r]));
#end
        span += 1u;
        continuing {
            break if span >= row_spans();
        }
    }
#unroll r ROWS
    store(row_block * 64u + invocation + $ru * LANES, sum$r);
#end
#endif
}

#endif
@compute @workgroup_size(LANES * SPLITS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
#ifdef JOINED
#ifdef GATED
    for (var i = 0u; i < 2u; i++) {
        matrix = members[i];
        gate_is_there = i == 1u;
        multiply_row_block(invocation, group.x);
    }
#else
    var member = 0u;
#unroll m MEMBERS
    if group.x >= members[$m].first_block {
        member = $mu;
    }
#end
    matrix = members[member];
    multiply_row_block(invocation, group.x - matrix.first_block);
#endif
#else
    multiply_row_block(invocation, group.x);
#endif
}
