//! A layer's weights on the device.

use crate::gpu::Buffer;
use crate::gpu::weights::DeviceMatrix;

/// A product's matrix and bias.
#[derive(Debug)]
pub(crate) struct Linear {
    pub weights: DeviceMatrix,
    pub bias: Option<Buffer>,
}

impl Linear {
    pub fn bytes(&self) -> u64 {
        self.weights.bytes() + self.bias.as_ref().map_or(0, Buffer::size)
    }
}

/// A layer's weights on the device.
#[derive(Debug)]
pub(crate) struct LayerWeights {
    pub input_norm: Buffer,
    /// Queries, keys and values. Their results lie side by side.
    pub qkv: Vec<DeviceMatrix>,
    pub qkv_bias: Option<Buffer>,
    pub head_norms: Option<[Buffer; 2]>,
    pub o: Linear,
    pub mlp_norm: Buffer,
    pub gate_up: GateUp,
    pub down: Linear,
    /// What is added to each product, in the order of products.
    pub adapters: [Option<AdapterWeights>; 7],
}

/// An adapter of one product, in F32.
#[derive(Debug)]
pub(crate) struct AdapterWeights {
    /// A.
    pub a: DeviceMatrix,
    /// B, multiplied by the adapter's scale.
    pub b: DeviceMatrix,
}

/// The first two matrices of an MLP.
#[derive(Debug)]
pub(crate) enum GateUp {
    /// One dispatch multiplies with both and joins the results.
    Gated(Box<DeviceMatrix>),
    /// Another dispatch joins the results.
    Apart(Vec<Linear>),
}

impl GateUp {
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Gated(both) => both.bytes(),
            Self::Apart(apart) => apart.iter().map(Linear::bytes).sum(),
        }
    }
}

impl LayerWeights {
    pub fn bytes(&self) -> u64 {
        let vectors = [&self.input_norm, &self.mlp_norm].into_iter();
        let vectors = vectors.chain(&self.qkv_bias).chain(self.head_norms.iter().flatten());
        self.qkv.iter().map(DeviceMatrix::bytes).sum::<u64>()
            + [&self.o, &self.down].map(Linear::bytes).iter().sum::<u64>()
            + self.gate_up.bytes()
            + self.adapters.iter().flatten().map(|pair| pair.a.bytes() + pair.b.bytes()).sum::<u64>()
            + vectors.map(Buffer::size).sum::<u64>()
    }

    /// The matrices.
    pub fn matrices(&self) -> impl Iterator<Item = &DeviceMatrix> {
        let gate_up: Vec<&DeviceMatrix> = match &self.gate_up {
            GateUp::Gated(both) => vec![both],
            GateUp::Apart(apart) => apart.iter().map(|linear| &linear.weights).collect(),
        };
        self.qkv.iter().chain([&self.o.weights, &self.down.weights]).chain(gate_up)
    }

    /// Whether results of the MLP's second matrix need a buffer of their own.
    pub fn has_up(&self) -> bool {
        matches!(self.gate_up, GateUp::Apart(_))
    }
}
