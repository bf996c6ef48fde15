// What changes from one submission to the next.
struct Step {
    // Tokens in this batch.
    tokens: u32,
    // Position of the batch's first token in the sequence.
    position: u32,
    // First token of the batch whose logits are wanted.
    first_output: u32,
    // Which rank of the last token's logits bounds those that `top` finds.
    rank: u32,
}

@group(0) @binding(0) var<uniform> step: Step;
