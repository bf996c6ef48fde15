//! What training takes of device memory, before anything is loaded.

use serde::Serialize;

use super::optimizer::MomentsDtype;
use super::options::TrainOptions;
use super::step::{Activations, FactorRoom, Sizes, Wide, factor_bytes};
use super::weights::{OptimizerState, matrices, pieces, wide_bytes};
use crate::gpu::kernels::training::encode::{EncodeScratch, Encoded, Needs};
use crate::gpu::kernels::training::logit_stats::LogitStats;
use crate::gpu::{Gpu, Transcoded};
use crate::model::{ModelConfig, products, tensor_shapes};
use crate::tensor::Matrix;

/// The parameters of dispatches, at the most: for a piece of a matrix, for one of the products of an adapter, and for
/// everything else in a layer.
const PIECE_PARAMS: u64 = 2048;
/// And for a piece of a matrix whose optimizer keeps more than F32 numbers for each weight.
const KEPT_PARAMS: u64 = 3072;
const ADAPTER_PARAMS: u64 = 1536;
const LAYER_PARAMS: u64 = 8192;

/// Bytes of device memory that training takes. Weights that are compressed are counted as trained weights usually are;
/// others may take more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrainPlan {
    /// All of it.
    pub peak_device_bytes: u64,
    /// Matrices, compressed or not, and vectors.
    pub weight_bytes: u64,
    /// What the optimizer keeps.
    pub state_bytes: u64,
    /// Adapters.
    pub adapter_bytes: u64,
    /// What is kept of a batch.
    pub activation_bytes: u64,
    /// Pieces that are worked on, and what is read back of them.
    pub room_bytes: u64,
}

impl Sizes {
    pub(crate) fn of(config: &ModelConfig, options: &TrainOptions) -> Self {
        let pieces = pieces(config, options.piece_weights);
        // The embedding comes first, and the output matrix last; they are cut alike.
        let output_rows = pieces.first().map_or(0, |piece| piece.rows);
        Self {
            sequences: options.sequences,
            length: options.length,
            piece_weights: pieces.iter().map(|piece| piece.rows * piece.cols).max().unwrap_or(0),
            output_rows,
            at_once: Self::attention_at_once(config, options.sequences, options.length),
        }
    }
}

impl TrainPlan {
    /// The plan for a model with this configuration.
    pub fn new(gpu: &Gpu, config: &ModelConfig, options: &TrainOptions) -> Self {
        let pieces = pieces(config, options.piece_weights);
        let sizes = Sizes::of(config, options);
        let vectors: u64 =
            tensor_shapes(config).iter().filter(|(_, s)| s.len() == 1).map(|(_, s)| s[0] as u64).sum();
        let of_piece = |piece: &Matrix| stored_bytes(piece, options.layout);
        let weight_bytes = pieces.iter().map(of_piece).sum::<u64>() + 4 * vectors;
        let kept = OptimizerState::of(&options.update);
        let factors = options.lora.as_ref().map(|lora| {
            let of_layer = products(config).into_iter().zip(crate::model::AdapterTarget::ALL);
            let of_layer = of_layer.filter(|(_, target)| lora.targets.contains(target));
            let of_layer: usize =
                of_layer.map(|(product, _)| lora.rank * (product.rows + product.cols)).sum();
            let largest =
                products(config).map(|product| product.rows.max(product.cols)).into_iter().max().unwrap_or(0);
            let room = lora.rank * (2 * sizes.tokens() + largest);
            let factors = of_layer * config.layers;
            let grads = if options.accumulate > 1 { factors } else { 0 };
            (factors as u64, (room + grads) as u64)
        });
        let of_vectors = |elements: u64| 4 * kept.of_vector(elements as usize) as u64;
        let (state_bytes, adapter_bytes) = match factors {
            Some((factors, room)) => (of_vectors(factors), 4 * (factors + room)),
            None => (matrix_state_bytes(config, &pieces, options, kept) + of_vectors(vectors), 0),
        };
        let kept = OptimizerState::of_weights(options);
        let activation_bytes =
            activation_bytes(gpu, config, &sizes) + params(config, &pieces, &sizes, options, kept);
        let room_bytes = room_bytes(&pieces, &sizes, options.layout, kept) + factor_room_bytes(config, kept);
        let peak_device_bytes = weight_bytes + state_bytes + adapter_bytes + activation_bytes + room_bytes;
        Self { peak_device_bytes, weight_bytes, state_bytes, adapter_bytes, activation_bytes, room_bytes }
    }
}

/// Bytes of a piece of usual weights.
fn stored_bytes(piece: &Matrix, layout: Option<Transcoded>) -> u64 {
    let weights = piece.rows * piece.cols;
    let Some(layout) = layout else { return wide_bytes(piece.rows, piece.cols) };
    // Somewhat more than SmolLM2 has: its tiered layout takes 11.05 bits a weight, all included
    // (docs/measurements.md), and the room that these numbers give takes 11.1 to 11.2.
    let needs = match layout {
        Transcoded::Fast => Needs { exceptions: (weights / 1000) as u32, ..Needs::default() },
        Transcoded::Tiered => Needs {
            exceptions: (weights / 300) as u32,
            stream_words: (weights / 40 + piece.rows) as u32,
            ..Needs::default()
        },
    };
    Encoded::bytes_with(layout, *piece, &needs.with_slack(layout, weights)).iter().sum()
}

/// Bytes of what the optimizer keeps of all matrices.
fn matrix_state_bytes(
    config: &ModelConfig,
    pieces: &[Matrix],
    options: &TrainOptions,
    kept: OptimizerState,
) -> u64 {
    let of_pieces: u64 = pieces.iter().map(|piece| kept.piece_bytes(piece, options.layout)).sum();
    let of_matrices = matrices(config).iter().map(|matrix| 4 * kept.of_matrix(matrix) as u64).sum::<u64>();
    of_pieces + of_matrices
}

/// Bytes of sums and factors of a matrix.
fn factor_room_bytes(config: &ModelConfig, kept: OptimizerState) -> u64 {
    if kept == OptimizerState::Means { FactorRoom::all_bytes(&matrices(config)) } else { 0 }
}

fn activation_bytes(gpu: &Gpu, config: &ModelConfig, sizes: &Sizes) -> u64 {
    let mut sum = 0;
    let made = Activations::<()>::make(config, sizes, &mut |_, bytes, _| {
        sum += Gpu::buffer_bytes(bytes);
        Ok::<_, std::convert::Infallible>(())
    });
    let Ok(_) = made;
    sum + 2 * factor_bytes(gpu, sizes.largest_factor(config)).unwrap_or(0)
}

/// Bytes of the parameters of all dispatches, at the most.
fn params(
    config: &ModelConfig,
    pieces: &[Matrix],
    sizes: &Sizes,
    options: &TrainOptions,
    kept: OptimizerState,
) -> u64 {
    let [sequences, kv_heads] = sizes.at_once;
    let rounds = sizes.sequences.div_ceil(sequences) * config.kv_heads.div_ceil(kv_heads);
    let of_layer =
        LAYER_PARAMS * (1 + rounds as u64 / 2) + if options.lora.is_some() { 7 * ADAPTER_PARAMS } else { 0 };
    let has_more = matches!(kept, OptimizerState::Means | OptimizerState::Moments(MomentsDtype::Bf16));
    let of_kept = if has_more { KEPT_PARAMS } else { 0 };
    // A product that is too large for a submission has several dispatches.
    let of_piece = |piece: &Matrix| {
        let work = piece.rows as u64 * piece.cols as u64 * sizes.tokens() as u64;
        PIECE_PARAMS * (1 + work / (1 << 31)) + of_kept
    };
    pieces.iter().map(of_piece).sum::<u64>() + of_layer * (config.layers as u64 + 2)
}

/// Bytes for pieces that are worked on, and for what is read back.
fn room_bytes(pieces: &[Matrix], sizes: &Sizes, layout: Option<Transcoded>, kept: OptimizerState) -> u64 {
    let f32s = 2 * 4 * sizes.piece_weights as u64;
    let together = kept.changed_together();
    let needs = Wide::needs_bytes(pieces, together);
    let wide = layout.map_or(0, |_| {
        let rows = pieces.iter().map(|piece| piece.rows).max().unwrap_or(0);
        let scratch: u64 = EncodeScratch::bytes(rows, sizes.piece_weights).iter().sum();
        Wide::bytes(pieces, together).iter().sum::<u64>() + scratch + needs
    });
    let results = ((sizes.tokens() * size_of::<LogitStats>()) as u64).max(needs);
    let largest = pieces
        .iter()
        .map(|piece| wide_bytes(piece.rows, piece.cols))
        .max()
        .unwrap_or(0)
        .max(most_kept(pieces, kept));
    f32s + wide + results + largest
}

/// Most bytes of F32 numbers that the optimizer has in one buffer, which are read back at once.
fn most_kept(pieces: &[Matrix], kept: OptimizerState) -> u64 {
    let of_piece = |piece: &Matrix| match kept {
        OptimizerState::Moments(MomentsDtype::F32) => kept.piece_bytes(piece, None),
        _ => 0,
    };
    pieces.iter().map(of_piece).max().unwrap_or(0)
}
