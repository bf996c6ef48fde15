// A part of the vocabulary, whose logits are there.
struct Part {
    // Its first token, and how many.
    first: u32,
    rows: u32,
    // Elements from one token of the batch to the next.
    stride: u32,
    unused0: u32,
}

@group(0) @binding(1) var<uniform> part: Part;

// The target of a token whose loss does not count.
const NO_TARGET: u32 = 0xffffffffu;
