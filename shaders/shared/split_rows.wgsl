// A product with one token as GPUs make it: a workgroup has one of the STRIPS of a row block, which are rows one after the
// other, and SPLITS invocations share each row. A large device needs more workgroups than a matrix of some thousand rows
// has row blocks.
//
// The kernel has `strip`, `multiply_span`, `sums` and `totals` of one row.

const GROUP_ROWS: u32 = LANES / STRIPS;
// Spans that are summed from one barrier to the next: eight for each group of invocations.
const SPANS_AT_ONCE: u32 = 8u * SPLITS;
// Of each of them the rows' sums.
var<workgroup> span_sums: array<f32, SPANS_AT_ONCE * GROUP_ROWS>;

fn multiply_row_block(invocation: u32, row_block: u32) {
    let row = invocation % GROUP_ROWS;
    let lane = strip * GROUP_ROWS + row;
    let split = invocation / GROUP_ROWS;
    begin_totals();
    for (var first_span = 0u; first_span < row_spans(); first_span += SPANS_AT_ONCE) {
        let count = min(row_spans() - first_span, SPANS_AT_ONCE);
        for (var i = split; i < count; i += SPLITS) {
            multiply_span(lane, row_block, first_span + i);
            span_sums[i * GROUP_ROWS + row] = total(sums[0]);
        }
        workgroupBarrier();
        if split == 0u {
            for (var i = 0u; i < count; i++) {
                totals[0] = add(totals[0], span_sums[i * GROUP_ROWS + row]);
            }
        }
        workgroupBarrier();
    }
    if split == 0u {
        store_totals(0u, row_block, lane);
    }
}
