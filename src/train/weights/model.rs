//! All weights of a model that is trained.

use super::matrix::TrainedMatrix;
use super::vector::TrainedVector;
use crate::model::ModelConfig;
use crate::train::TrainError;

/// A tensor.
#[derive(Debug)]
pub(super) enum Trained {
    Matrix(TrainedMatrix),
    Vector(TrainedVector),
}

/// The weights of a layer, by the order in which it uses them.
#[derive(Debug)]
pub(crate) struct TrainedLayer {
    /// Before attention, and before the MLP.
    pub norms: [TrainedVector; 2],
    /// Of query heads and of key heads.
    pub head_norms: Option<[TrainedVector; 2]>,
    /// Queries, keys, values, attention's output, gate, up, down.
    pub products: [TrainedMatrix; 7],
    pub biases: [Option<TrainedVector>; 7],
}

impl TrainedLayer {
    /// All vectors.
    fn vectors(&self) -> impl Iterator<Item = &TrainedVector> {
        let norms = self.norms.iter().chain(self.head_norms.iter().flatten());
        norms.chain(self.biases.iter().flatten())
    }
}

/// The weights of a model.
#[derive(Debug)]
pub(crate) struct TrainedModel {
    pub embedding: TrainedMatrix,
    pub layers: Vec<TrainedLayer>,
    pub last_norm: TrainedVector,
    /// The output matrix, if it is not the embedding.
    pub output: Option<TrainedMatrix>,
    /// A hash of all weights as they were loaded, in BF16.
    pub loaded: blake3::Hash,
}

/// The tensors, in the order of [`tensor_shapes`](crate::model::tensor_shapes).
pub(super) struct Tensors(pub std::vec::IntoIter<Trained>);

impl Tensors {
    pub fn model(mut self, config: &ModelConfig, loaded: blake3::Hash) -> Result<TrainedModel, TrainError> {
        let embedding = self.matrix()?;
        let mut layers = Vec::with_capacity(config.layers);
        for _ in 0..config.layers {
            layers.push(self.layer(config)?);
        }
        let last_norm = self.vector()?;
        let output = if config.tied { None } else { Some(self.matrix()?) };
        Ok(TrainedModel { embedding, layers, last_norm, output, loaded })
    }

    fn layer(&mut self, config: &ModelConfig) -> Result<TrainedLayer, TrainError> {
        let norms = [self.vector()?, self.vector()?];
        let head_norms = if config.head_norms { Some([self.vector()?, self.vector()?]) } else { None };
        let (mut products, mut biases) = (Vec::new(), Vec::new());
        for has_bias in [config.qkv_bias, config.qkv_bias, config.qkv_bias, config.o_bias]
            .into_iter()
            .chain([config.mlp_bias; 3])
        {
            products.push(self.matrix()?);
            biases.push(if has_bias { Some(self.vector()?) } else { None });
        }
        match (products.try_into(), biases.try_into()) {
            (Ok(products), Ok(biases)) => Ok(TrainedLayer { norms, head_norms, products, biases }),
            _ => Err(TrainError::Internal("a layer has seven products")),
        }
    }

    fn matrix(&mut self) -> Result<TrainedMatrix, TrainError> {
        match self.0.next() {
            Some(Trained::Matrix(matrix)) => Ok(matrix),
            _ => Err(TrainError::Internal("tensors are not in their order")),
        }
    }

    fn vector(&mut self) -> Result<TrainedVector, TrainError> {
        match self.0.next() {
            Some(Trained::Vector(vector)) => Ok(vector),
            _ => Err(TrainError::Internal("tensors are not in their order")),
        }
    }
}

impl TrainedModel {
    /// All matrices.
    pub fn matrices(&self) -> impl Iterator<Item = &TrainedMatrix> {
        let layers = self.layers.iter().flat_map(|layer| &layer.products);
        std::iter::once(&self.embedding).chain(layers).chain(&self.output)
    }

    /// All matrices, to change how they are stored.
    pub fn matrices_mut(&mut self) -> impl Iterator<Item = &mut TrainedMatrix> {
        let layers = self.layers.iter_mut().flat_map(|layer| &mut layer.products);
        std::iter::once(&mut self.embedding).chain(layers).chain(&mut self.output)
    }

    /// All vectors.
    pub fn vectors(&self) -> impl Iterator<Item = &TrainedVector> {
        self.layers.iter().flat_map(TrainedLayer::vectors).chain(std::iter::once(&self.last_norm))
    }
}
