// Query or key heads that are normed, side by side in each token.
struct NormedHeads {
    // How many, and elements of each.
    heads: u32,
    dim: u32,
    // Elements from one token to the next, before the norm and after it.
    x_stride: u32,
    y_stride: u32,
    // The first element of the first head.
    first: u32,
    epsilon: f32,
    unused0: u32,
    unused1: u32,
}

@group(0) @binding(1) var<uniform> heads: NormedHeads;
