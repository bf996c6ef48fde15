// Which columns of every token a kernel adds up, or adds to.
struct Columns {
    columns: u32,
    tokens: u32,
    // Elements from one token to the next.
    stride: u32,
    // The first of them.
    first: u32,
}

@group(0) @binding(1) var<uniform> columns: Columns;
