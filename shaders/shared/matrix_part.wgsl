// Some rows of a matrix, side by side.
struct MatrixPart {
    rows: u32,
    columns: u32,
    // The first of them in the matrix.
    first_row: u32,
    unused: u32,
}

@group(0) @binding(1) var<uniform> part: MatrixPart;
