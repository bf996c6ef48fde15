//! Products with a matrix of weights, whose rows have `cols` elements.

use crate::gpu::kernels::training::multiply::{self, Multiply, Operand};

/// `y = W x` for every token.
pub(super) fn forward(x: &[f64], weights: &[f64], cols: usize) -> Vec<f64> {
    let (tokens, rows) = (x.len() / cols, weights.len() / cols);
    let operands = [Operand::rows(cols), Operand::rows(cols).transposed(), Operand::rows(rows)];
    product([tokens, rows, cols], operands, x, weights)
}

/// Gradients of x from those of y.
pub(super) fn backward(y_grad: &[f64], weights: &[f64], cols: usize) -> Vec<f64> {
    let rows = weights.len() / cols;
    let operands = [Operand::rows(rows), Operand::rows(cols), Operand::rows(cols)];
    product([y_grad.len() / rows, cols, rows], operands, y_grad, weights)
}

/// Gradients of the weights from those of y.
pub(super) fn weight_grad(y_grad: &[f64], x: &[f64], cols: usize) -> Vec<f64> {
    let tokens = x.len() / cols;
    let rows = y_grad.len() / tokens;
    let operands = [Operand::rows(rows).transposed(), Operand::rows(cols), Operand::rows(cols)];
    product([rows, cols, tokens], operands, y_grad, x)
}

fn product(size: [usize; 3], operands: [Operand; 3], a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut c = vec![0.0; size[0] * size[1]];
    multiply::cpu(&Multiply::one(size, operands), false, a, b, &mut c);
    c
}
