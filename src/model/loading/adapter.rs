//! Brings adapters to the device.

use crate::gpu::weights::DeviceMatrix;
use crate::model::adapter::{Adapter, AdapterTarget};
use crate::model::error::ModelError;
use crate::model::loading::loader::Loader;
use crate::model::shape::tensors::ProductShape;
use crate::model::weights::layer_weights::AdapterWeights;
use crate::tensor::{Dtype, Matrix};

impl Loader<'_> {
    /// Whether a product of a layer has an adapter.
    pub fn is_adapted(&self, layer: usize, target: AdapterTarget) -> bool {
        self.adapter.is_some_and(|adapter| adapter.pair(layer, target).is_some())
    }

    /// The adapters of a layer. Results of queries, keys and values lie side by side.
    pub async fn adapters(
        &mut self,
        layer: usize,
        products: &[ProductShape; 7],
    ) -> Result<[Option<AdapterWeights>; 7], ModelError> {
        let mut all: [Option<AdapterWeights>; 7] = Default::default();
        let Some(adapter) = self.adapter else { return Ok(all) };
        let mut first_row = 0;
        for ((weights, product), target) in all.iter_mut().zip(products).zip(AdapterTarget::ALL) {
            *weights = self.pair(adapter, layer, target, product, first_row).await?;
            first_row = if target < AdapterTarget::VProj { first_row + product.rows } else { 0 };
        }
        Ok(all)
    }

    async fn pair(
        &mut self,
        adapter: &Adapter,
        layer: usize,
        target: AdapterTarget,
        product: &ProductShape,
        first_row: usize,
    ) -> Result<Option<AdapterWeights>, ModelError> {
        let Some(pair) = adapter.pair(layer, target) else { return Ok(None) };
        let scaled: Vec<f32> = pair.b.iter().map(|value| value * adapter.scale).collect();
        let a = self.factor(Matrix { rows: adapter.rank, cols: product.cols }, &pair.a).await?;
        let b = self.factor(Matrix { rows: product.rows, cols: adapter.rank }, &scaled).await?;
        Ok(a.zip(b).map(|(a, b)| AdapterWeights { a, b: b.at_row(first_row) }))
    }

    async fn factor(&mut self, matrix: Matrix, values: &[f32]) -> Result<Option<DeviceMatrix>, ModelError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let (gpu, dtype) = (self.gpu, Dtype::F32);
        Ok(DeviceMatrix::upload_raw(gpu, &mut self.uploader, "adapter", dtype, matrix, &bytes).await?)
    }
}
