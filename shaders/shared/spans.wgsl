// The columns of a row block, span by span. Spans are summed apart and their sums are added in order, so that whoever
// makes them, in matvec or matmul, gives the same bits.
//
// A span is a tile, or where there are PIECES it has parts of several. IN_ORDER: the layout has no tiles of its own,
// was opened at the first column, and is read from there to the last. WHOLE_CHUNKS: each chunk is taken in whole
// before it is multiplied.
//
// The kernel has `begin_span()` and `multiply_chunk(at)`, which multiplies the chunk that was gone to with x from
// vector `at` on.
//
// Loops end at their bottom: software drivers run what follows the end of a loop once more, with all lanes off.

#ifdef WHOLE_CHUNKS
// Multiplies columns `start` to `end` of what is open. Software drivers run both sides of a branch: what few chunks
// need stands outside of the loop over chunks. Each round of either loop takes a chunk, whatever the exceptions are,
// and `col` grows with it.
fn multiply_columns(start: u32, end: u32) {
    var at = first_x + (start >> 2u);
    var col = start;
    loop {
        mend_taken();
        loop {
            multiply_chunk(at);
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
// Multiplies columns `start` to `end` of what is open.
fn multiply_columns(start: u32, end: u32) {
    var at = first_x + (start >> 2u);
    var col = start;
    loop {
        begin_chunk(end - col);
        next_chunk();
        multiply_chunk(at);
        at += COLS / 4u;
        col += COLS;
        continuing {
            break if col >= end;
        }
    }
}
#endif

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
#ifdef IN_ORDER
#else
    open_rows(lane, row_block, span);
#endif
#ifdef WHOLE_CHUNKS
    take_chunk(true);
#endif
    multiply_columns(span * matrix.span_cols, end);
#endif
}
