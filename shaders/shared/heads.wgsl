// The attention heads of one layer, and its KV cache: keys, then values, each
// [kv_heads, context, head_dim].
struct Heads {
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    context: u32,
    // Elements from one token's queries, keys and values to the next one's, and of attention's results.
    qkv_stride: u32,
    y_stride: u32,
    // How many positions back a query sees, itself included.
    window: u32,
    // What scores are multiplied by.
    scale: f32,
    epsilon: f32,
    unused0: u32,
    unused1: u32,
    unused2: u32,
}

@group(0) @binding(1) var<uniform> heads: Heads;
