// What changes from one step of the optimizer to the next.
struct Step {
    learning_rate: f32,
    // How much of a weight a step takes away, beside the learning rate.
    weight_decay: f32,
    // How much of the moments of gradients a step keeps, and 1 less those to the power of the step.
    beta1: f32,
    beta2: f32,
    correction1: f32,
    correction2: f32,
    // Added to the root of the second moment.
    epsilon: f32,
    // 1 / how many tokens count towards the loss.
    loss_scale: f32,
    // What stochastic rounding depends on, besides the weight.
    seed: u32,
    step: u32,
    // Gradients are limited to this size.
    clip: f32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> step: Step;
