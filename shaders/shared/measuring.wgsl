// Two ways through the columns of a row of BF16 in dense tiles, to measure it before it is transcoded.
//
// The kernel has `look0(i)` and `look1(i)`, which look at columns 4 i .. 4 i + 3 of a chunk, and `end_chunk0()` and
// `end_chunk1()`, which follow the last look at it.

// The exponents of columns 4 i .. 4 i + 3 of the chunk; 0 where there is no column.
fn four_exponents(i: u32) -> vec4<u32> {
    let halves = valid_halves(0u, i);
    return (halves.xxyy >> vec4<u32>(7u, 23u, 7u, 23u)) & vec4<u32>(255u);
}

// A way through the row's columns for each look: a branch between them would be taken both ways by software drivers.
#unroll p 2
fn pass$p(lane: u32, row_block: u32) {
    for (var col_tile = 0u; col_tile < matrix.col_tiles; col_tile++) {
        open_tile(0u, lane, row_block, col_tile);
        let cols = cols_in(col_tile);
        for (var col = 0u; col < cols; col += COLS) {
            begin_chunk(cols - col);
            next_chunk();
#unroll i 4
            look$p($iu);
#end
            end_chunk$p();
        }
    }
}
#end
