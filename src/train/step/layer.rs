//! One layer, forward and backward.

use super::ops::Ops;
use super::room::Product;
use super::{Recording, Side};
use crate::gpu::Buffer;
use crate::gpu::kernels::training::{gated, gated_back};
use crate::train::TrainError;
use crate::train::weights::TrainedLayer;

/// Indices of products.
const OUTPUT: usize = 3;
const GATE: usize = 4;
const UP: usize = 5;
const DOWN: usize = 6;

impl Recording<'_> {
    /// Product `i` of a layer, with its bias and its adapter.
    fn product_of<'b>(&'b self, number: usize, layer: &'b TrainedLayer, i: usize) -> Product<'b> {
        let pair = self.adapters().and_then(|(adapters, _)| adapters.layers[number][i].as_ref());
        Product { matrix: &layer.products[i], bias: layer.biases[i].as_ref(), pair }
    }

    fn hidden<'b>(&self, buffer: &'b Buffer) -> Side<'b> {
        Side::all(buffer, self.config.hidden)
    }

    fn intermediate<'b>(&self, buffer: &'b Buffer) -> Side<'b> {
        Side::all(buffer, self.config.intermediate)
    }

    fn attended<'b>(&self, buffer: &'b Buffer) -> Side<'b> {
        Side::all(buffer, self.config.heads * self.config.head_dim)
    }

    /// Where queries, keys and values are in a token.
    fn qkv<'b>(&self, buffer: &'b Buffer) -> [Side<'b>; 3] {
        let (q, kv) = (self.config.heads * self.config.head_dim, self.config.kv_heads * self.config.head_dim);
        [0, q, q + kv].map(|first| Side { buffer, stride: self.qkv_len(), first })
    }

    /// Where products put queries, keys and values: the first two where they are before their norms, if they have any.
    fn made_qkv(&self) -> [Side<'_>; 3] {
        let all = self.qkv(&self.activations.qkv);
        let Some(buffer) = &self.activations.before_norms else { return all };
        let [queries, keys, values] = all;
        let before = |side: Side<'_>| Side { buffer, stride: values.first, first: side.first };
        [before(queries), before(keys), values]
    }

    fn elements(&self) -> usize {
        self.sizes.tokens() * self.config.intermediate
    }

    /// The layer up to its last product, which is missing in the residual stream.
    pub(super) fn layer_forward(
        &self,
        ops: &mut Ops,
        number: usize,
        layer: &TrainedLayer,
    ) -> Result<(), TrainError> {
        let a = self.activations;
        self.norm(ops, &layer.norms[0], [&a.x, &a.normed])?;
        for (i, y) in self.made_qkv().into_iter().enumerate() {
            self.product(ops, self.product_of(number, layer, i), self.hidden(&a.normed), y, false)?;
        }
        if let Some(norms) = &layer.head_norms {
            self.head_norms(ops, norms)?;
        }
        self.rotate(ops, &a.qkv, false)?;
        self.attention(ops, self.window_of(number))?;
        self.product(
            ops,
            self.product_of(number, layer, OUTPUT),
            self.attended(&a.attended),
            self.hidden(&a.x),
            true,
        )?;
        self.norm(ops, &layer.norms[1], [&a.x, &a.middle_normed])?;
        for (i, y) in [(GATE, &a.gate), (UP, &a.up)] {
            self.product(
                ops,
                self.product_of(number, layer, i),
                self.hidden(&a.middle_normed),
                self.intermediate(y),
                false,
            )?;
        }
        ops.push(gated::dispatch(self.gpu, self.elements(), [&a.gate, &a.up, &a.gated])?);
        Ok(())
    }

    /// Adds the layer's last product to the residual stream.
    pub(super) fn last_product(
        &self,
        ops: &mut Ops,
        number: usize,
        layer: &TrainedLayer,
    ) -> Result<(), TrainError> {
        let a = self.activations;
        self.product(
            ops,
            self.product_of(number, layer, DOWN),
            self.intermediate(&a.gated),
            self.hidden(&a.x),
            true,
        )
    }

    /// Gradients of the layer's input from those of its output, and all updates. `before` is the residual stream before
    /// the layer; the activations are those of [`Recording::layer_forward`].
    pub(super) fn layer_back(
        &self,
        ops: &mut Ops,
        number: usize,
        layer: &TrainedLayer,
        before: &Buffer,
    ) -> Result<(), TrainError> {
        let a = self.activations;
        let x_grad = self.hidden(&a.x_grad);
        let to = (self.intermediate(&a.gated_grad), false);
        self.product_back(
            ops,
            self.product_of(number, layer, DOWN),
            self.intermediate(&a.gated),
            x_grad,
            to,
        )?;
        ops.push(gated_back::dispatch(self.gpu, self.elements(), [&a.gated_grad, &a.gate, &a.up])?);
        for (i, y_grad, accumulate) in [(GATE, &a.gate, false), (UP, &a.up, true)] {
            let to = (self.hidden(&a.normed_grad), accumulate);
            let x = self.hidden(&a.middle_normed);
            self.product_back(ops, self.product_of(number, layer, i), x, self.intermediate(y_grad), to)?;
        }
        self.norm_back(ops, &layer.norms[1], [&a.x, &a.normed_grad, &a.x_grad])?;

        let to = (self.attended(&a.attended_grad), false);
        self.product_back(
            ops,
            self.product_of(number, layer, OUTPUT),
            self.attended(&a.attended),
            x_grad,
            to,
        )?;
        self.attention_back(ops, self.window_of(number))?;
        self.rotate(ops, &a.qkv_grad, true)?;
        if let Some(norms) = &layer.head_norms {
            self.head_norms_back(ops, norms)?;
        }
        for (i, y_grad) in self.qkv(&a.qkv_grad).into_iter().enumerate() {
            let to = (self.hidden(&a.normed_grad), i > 0);
            self.product_back(ops, self.product_of(number, layer, i), self.hidden(&a.normed), y_grad, to)?;
        }
        self.norm_back(ops, &layer.norms[0], [before, &a.normed_grad, &a.x_grad])
    }
}
