// What matvec and matmul share beside the weights: activations, results, and what is done with a row's sum.
//
// BIAS adds a bias. ACCUMULATE adds to what y holds. X_UNIFORM: x is a uniform of X_VECTORS vectors.
//
// JOINED: there are several matrices. GATED: there are two with as many rows, and y = silu(first product) · second
// product. A workgroup multiplies its row block of the first matrix, which it stores, and then that of the second.
//
// The kernel has `multiply_row_block(invocation, row_block)`, which multiplies a row block of `matrix`.

#import members
#import sum

// [tokens, x_stride / 4], activations, in vectors of four f32. Columns that the matrix does not have are zeros.
#ifdef X_UNIFORM
@group(0) @binding(4) var<uniform> x: array<vec4<f32>, X_VECTORS>;
#else
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;
#endif
// [tokens, y_stride], results, f32.
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
#ifdef BIAS
// [rows of the whole matrix], f32.
@group(0) @binding(6) var<storage, read> bias: array<f32>;
#endif

// The vector of x that the workgroup's first token begins with; 0 where there is one token.
var<private> first_x: u32;
// One token's sums, by row.
var<private> totals: array<f32, ROWS>;

#ifdef GATED
#import silu

// Whether y has the products of the first matrix.
var<private> gate_is_there: bool;

#endif
// Stores what becomes of a row's sum in the results of a token, which begin with element `first_y`.
fn store(first_y: u32, row: u32, sum: f32) {
    if row >= matrix.rows {
        return;
    }
    var result = sum;
    let out = matrix.first_row + row;
#ifdef BIAS
    result = add(result, bias[out]);
#endif
    let at = first_y + out;
#ifdef ACCUMULATE
    result = add(result, y[at]);
#endif
#ifdef GATED
    if gate_is_there {
        // This invocation stored y[at].
        result = silu_times(y[at], result, zero());
    }
#endif
    y[at] = result;
}

// Stores `totals`, which are sums of the rows of `lane`. SEVERAL_ROWS: in a loop that takes the first and moves the
// others up. It runs once for a row block, and less code compiles sooner.
fn store_totals(first_y: u32, row_block: u32, lane: u32) {
#ifdef SEVERAL_ROWS
    var row = lane;
    loop {
        store(first_y, row_block * 64u + row, totals[0]);
#unroll r ROWS
        totals[$r] = totals[($ru + 1u) % ROWS];
#end
        row += LANES;
        continuing {
            break if row >= ROWS * LANES;
        }
    }
#else
    store(first_y, row_block * 64u + lane, totals[0]);
#endif
}

// Multiplies row block `block` of all.
fn multiply(invocation: u32, block: u32) {
#ifdef GATED
    var i = 0u;
    loop {
        matrix = members[i];
        gate_is_there = i == 1u;
        open_matrix(invocation);
        multiply_row_block(invocation, block);
        i += 1u;
        continuing {
            break if i >= 2u;
        }
    }
#else
    let row_block = choose_member(block);
    open_matrix(invocation);
    multiply_row_block(invocation, row_block);
#endif
}
