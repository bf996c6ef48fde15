// Where uncompressed BF16 weights have what: vectors of eight columns of a row, interleaved by row as shared/raw.wgsl
// reads them.
struct Wide {
    // Rows and columns of the piece.
    rows: u32,
    columns: u32,
    // The first row of the whole matrix, and the number of the tensor.
    first_row: u32,
    tensor: u32,
    // The vector that the piece begins with.
    words_at: u32,
    unused0: u32,
    unused1: u32,
    unused2: u32,
}

@group(0) @binding(1) var<uniform> wide: Wide;

// The row and the first column of a vector, counted from the piece's first.
fn place_of(vector: u32) -> vec2<u32> {
    let row_vectors = ((wide.columns + 31u) >> 5u) * 4u;
    let in_order = vector >> 6u;
    return vec2<u32>((in_order / row_vectors) * 64u + (vector & 63u), (in_order % row_vectors) * 8u);
}

fn vector_index(group: vec3<u32>, lane: u32) -> u32 {
    return (group.x * 256u + group.y) * 64u + lane;
}
