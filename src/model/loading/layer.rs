//! Loads one layer's weights.

use crate::gpu::weights::{DeviceMatrix, Join};
use crate::model::adapter::AdapterTarget;
use crate::model::config::model_config::ModelConfig;
use crate::model::error::ModelError;
use crate::model::loading::loader::Loader;
use crate::model::shape::tensors::{ProductShape, head_norms, layer_name, norms, products};
use crate::model::weights::layer_weights::{GateUp, LayerWeights, Linear};

impl GateUp {
    async fn load(
        loader: &mut Loader<'_>,
        name: impl Fn(&str) -> String,
        [gate, up]: [&ProductShape; 2],
        is_adapted: bool,
    ) -> Result<Self, ModelError> {
        if gate.bias || up.bias || is_adapted {
            let gate = loader.linear(&name(gate.name), gate).await?;
            return Ok(Self::Apart(vec![gate, loader.linear(&name(up.name), up).await?]));
        }
        let named = [gate, up].map(|shape| (name(shape.name) + ".weight", shape));
        let apart = |weights| Linear { weights, bias: None };
        Ok(match <[DeviceMatrix; 1]>::try_from(loader.joined(&named, Join::Gated).await?) {
            Ok([both]) => Self::Gated(Box::new(both)),
            Err(matrices) => Self::Apart(matrices.into_iter().map(apart).collect()),
        })
    }
}

impl LayerWeights {
    pub async fn load(
        loader: &mut Loader<'_>,
        config: &ModelConfig,
        layer: usize,
    ) -> Result<Self, ModelError> {
        let name = |part: &str| layer_name(layer, part);
        let shapes = products(config);
        let [q, k, v, o, gate, up, down] = shapes;
        // What is added to them comes before one gates the other.
        let is_adapted =
            [AdapterTarget::GateProj, AdapterTarget::UpProj].iter().any(|&of| loader.is_adapted(layer, of));
        let vector = async |loader: &mut Loader<'_>, (part, len)| loader.vector(&name(part), len).await;
        let [input_norm, mlp_norm] = norms(config);
        Ok(Self {
            input_norm: vector(loader, input_norm).await?,
            qkv: {
                let named = [&q, &k, &v].map(|shape| (name(shape.name) + ".weight", shape));
                loader.joined(&named, Join::Stacked).await?
            },
            qkv_bias: match q.bias {
                true => {
                    let named = [&q, &k, &v].map(|shape| (name(shape.name) + ".bias", shape.rows));
                    Some(loader.vectors(&named).await?)
                }
                false => None,
            },
            head_norms: match head_norms(config) {
                Some([q, k]) => Some([vector(loader, q).await?, vector(loader, k).await?]),
                None => None,
            },
            o: loader.linear(&name(o.name), &o).await?,
            mlp_norm: vector(loader, mlp_norm).await?,
            gate_up: GateUp::load(loader, name, [&gate, &up], is_adapted).await?,
            down: loader.linear(&name(down.name), &down).await?,
            adapters: loader.adapters(layer, &shapes).await?,
        })
    }
}
