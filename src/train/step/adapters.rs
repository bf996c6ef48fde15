//! Products with adapters: `y = W x + scale · B (A x)`, of which only A and B are trained.

use super::ops::Ops;
use super::{Recording, Side};
use crate::gpu::kernels::training::multiply::{Multiply, Operand};
use crate::gpu::kernels::training::scale;
use crate::gpu::kernels::training::updated::Rounded;
use crate::gpu::{Buffer, Gpu, GpuError};
use crate::model::ModelConfig;
use crate::train::TrainError;
use crate::train::weights::{TrainedAdapters, TrainedPair, TrainedVector};

/// What is kept of adapters while a batch is computed.
#[derive(Debug)]
pub(crate) struct AdapterRoom {
    /// `scale · A x`, `[tokens, rank]`, and its gradients.
    inner: Buffer,
    inner_grad: Buffer,
    /// Gradients of a factor.
    grads: Buffer,
}

impl AdapterRoom {
    pub fn new(gpu: &Gpu, config: &ModelConfig, tokens: usize, rank: usize) -> Result<Self, GpuError> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let room = |label, count: usize| gpu.buffer(label, 4 * count as u64, usage);
        let sizes = crate::model::products(config).map(|product| product.rows.max(product.cols));
        let largest = sizes.into_iter().max().unwrap_or(0);
        Ok(Self {
            inner: room("adapter", tokens * rank)?,
            inner_grad: room("gradients of an adapter", tokens * rank)?,
            grads: room("gradients of a factor", largest * rank)?,
        })
    }
}

/// A product's adapter, and the size of its matrix.
#[derive(Clone, Copy)]
pub(super) struct AdapterOf<'a> {
    pub pair: &'a TrainedPair,
    pub rows: usize,
    pub cols: usize,
}

impl<'a> Recording<'a> {
    pub(super) fn adapters(&self) -> Option<(&'a TrainedAdapters, &'a AdapterRoom)> {
        self.adapters
    }

    /// `scale · A x`.
    fn inner(&self, ops: &mut Ops, of: AdapterOf<'_>, x: Side<'_>) -> Result<(), TrainError> {
        let Some((adapters, room)) = self.adapters() else { return Ok(()) };
        let (tokens, rank) = (self.sizes.tokens(), adapters.rank);
        let operands =
            [Operand::rows(x.stride).at(x.first), Operand::rows(of.cols).transposed(), Operand::rows(rank)];
        let product = Multiply::one([tokens, rank, of.cols], operands);
        self.multiply(ops, &product, false, [x.buffer, &of.pair.a.weights, &room.inner])?;
        ops.push(scale::dispatch(self.gpu, tokens * rank, adapters.scale, &room.inner)?);
        Ok(())
    }

    /// Adds what the adapter makes of `x` to `y`.
    pub(super) fn adapt(
        &self,
        ops: &mut Ops,
        of: AdapterOf<'_>,
        x: Side<'_>,
        y: Side<'_>,
    ) -> Result<(), TrainError> {
        let Some((adapters, room)) = self.adapters() else { return Ok(()) };
        self.inner(ops, of, x)?;
        let operands = [
            Operand::rows(adapters.rank),
            Operand::rows(adapters.rank).transposed(),
            Operand::rows(y.stride).at(y.first),
        ];
        let product = Multiply::one([self.sizes.tokens(), of.rows, adapters.rank], operands);
        self.multiply(ops, &product, true, [&room.inner, &of.pair.b.weights, y.buffer])
    }

    /// Adds what the adapter contributes to gradients of `x`. Updates its factors after that, unless their gradients add
    /// up over batches.
    pub(super) fn adapt_back(
        &self,
        ops: &mut Ops,
        of: AdapterOf<'_>,
        x: Side<'_>,
        y_grad: Side<'_>,
        x_grad: Side<'_>,
    ) -> Result<(), TrainError> {
        let Some((adapters, room)) = self.adapters() else { return Ok(()) };
        let (tokens, rank) = (self.sizes.tokens(), adapters.rank);
        let AdapterOf { pair, rows, cols } = of;
        self.inner(ops, of, x)?;
        // Of A x, from B as it is.
        let y_grad_rows = Operand::rows(y_grad.stride).at(y_grad.first);
        let operands = [y_grad_rows, Operand::rows(rank), Operand::rows(rank)];
        let product = Multiply::one([tokens, rank, rows], operands);
        self.multiply(ops, &product, false, [y_grad.buffer, &pair.b.weights, &room.inner_grad])?;
        ops.push(scale::dispatch(self.gpu, tokens * rank, adapters.scale, &room.inner_grad)?);
        // Of B.
        let operands = [y_grad_rows.transposed(), Operand::rows(rank), Operand::rows(rank)];
        let product = Multiply::one([rows, rank, tokens], operands);
        self.factor_back(ops, &pair.b, &product, [y_grad.buffer, &room.inner])?;
        // Of x, from A as it is.
        let x_grad_rows = Operand::rows(x_grad.stride).at(x_grad.first);
        let operands = [Operand::rows(rank), Operand::rows(cols), x_grad_rows];
        let product = Multiply::one([tokens, cols, rank], operands);
        self.multiply(ops, &product, true, [&room.inner_grad, &pair.a.weights, x_grad.buffer])?;
        // Of A.
        let x_rows = Operand::rows(x.stride).at(x.first);
        let operands = [Operand::rows(rank).transposed(), x_rows, Operand::rows(cols)];
        let product = Multiply::one([rank, cols, tokens], operands);
        self.factor_back(ops, &pair.a, &product, [&room.inner_grad, x.buffer])
    }

    /// Gradients of a factor, by which it is updated, or which are added to those that are there.
    fn factor_back(
        &self,
        ops: &mut Ops,
        factor: &TrainedVector,
        product: &Multiply,
        [a, b]: [&Buffer; 2],
    ) -> Result<(), TrainError> {
        match (&factor.grads, self.adapters()) {
            (Some(grads), _) => self.multiply(ops, product, true, [a, b, grads]),
            (None, Some((_, room))) => {
                self.multiply(ops, product, false, [a, b, &room.grads])?;
                self.update_factor(ops, factor, &room.grads)
            }
            (None, None) => Ok(()),
        }
    }

    /// Updates all factors whose gradients add up over batches.
    pub(super) fn update_factors(&self, ops: &mut Ops) -> Result<(), TrainError> {
        let Some((adapters, _)) = self.adapters() else { return Ok(()) };
        for (factor, grads) in adapters.accumulated() {
            self.update_factor(ops, factor, grads)?;
        }
        Ok(())
    }

    /// Makes gradients zero that add up over batches.
    pub(super) fn clear_factors(&self, ops: &mut Ops) {
        let Some((adapters, _)) = self.adapters() else { return };
        adapters.accumulated().for_each(|(_, grads)| ops.clear(grads));
    }

    fn update_factor(&self, ops: &mut Ops, factor: &TrainedVector, grads: &Buffer) -> Result<(), TrainError> {
        self.update_numbers(ops, factor, Rounded::No, [&self.activations.step, grads])
    }
}
