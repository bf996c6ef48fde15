// y = W x for one token. A workgroup multiplies one row block (64 rows) by the whole of x. Each
// invocation owns ROWS rows, so that what it reads of x serves all of them, and keeps a sum for each, in
// four parts by column modulo four.
//
// BIAS adds a bias; ACCUMULATE adds to what y holds.

#import matrix

@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
#ifdef BIAS
@group(0) @binding(6) var<storage, read> bias: array<f32>;
#endif

var<private> sums: array<vec4<f32>, ROWS>;

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
#ifdef FAST
    // Where the bits of a weight are depends on i.
#unroll i EIGHTS
    load_eight($iu);
    multiply_eight(at + 2u * $iu);
#end
#else
    for (var i = 0u; i < EIGHTS; i++) {
        load_eight(i);
        multiply_eight(at + 2u * i);
    }
#endif
}

#ifdef CARE
// The same for a chunk that needs no care.
fn multiply_quickly(at: u32) {
    next_chunk();
#unroll i EIGHTS
    load_eight_quickly($iu);
    multiply_eight(at + 2u * $iu);
#end
}

#endif
fn store(row: u32, sum: vec4<f32>) {
    if row >= matrix.rows {
        return;
    }
    var total = (sum.x + sum.y) + (sum.z + sum.w);
    let out = matrix.first_row + row;
#ifdef BIAS
    total += bias[out];
#endif
#ifdef ACCUMULATE
    total += y[out];
#endif
    y[out] = total;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let row_block = group.x;
#unroll r ROWS
    sums[$r] = vec4<f32>(0.0);
#end
    for (var col_tile = 0u; col_tile < matrix.col_tiles; col_tile++) {
#unroll r ROWS
        open_tile($ru, invocation + $ru * LANES, row_block, col_tile);
#end
        let cols = cols_in(col_tile);
        var at = (col_tile * matrix.tile_cols) >> 2u;
        var col = 0u;
        loop {
#ifdef CARE
            // Software drivers run both sides of a branch, but a loop only for as long as a lane is in it:
            // so what is rare stands outside of this one.
            loop {
                begin_chunk(cols - col);
                if needs_care() {
                    break;
                }
                multiply_quickly(at);
                at += COLS / 4u;
                col += COLS;
                continuing {
                    break if col >= cols;
                }
            }
            if col < cols {
                multiply_chunk(at);
                at += COLS / 4u;
                col += COLS;
            }
#else
            begin_chunk(cols - col);
            multiply_chunk(at);
            at += COLS / 4u;
            col += COLS;
#endif
            // Here, and not in front: software drivers run what follows the end of a loop once more, with
            // all lanes off.
            continuing {
                break if col >= cols;
            }
        }
    }
#unroll r ROWS
    store(row_block * 64u + invocation + $ru * LANES, sums[$r]);
#end
}
