// Rows of the embedding that are there.
struct Rows {
    first: u32,
    count: u32,
    columns: u32,
    // Elements from one token to the next.
    stride: u32,
}

@group(0) @binding(1) var<uniform> rows: Rows;
