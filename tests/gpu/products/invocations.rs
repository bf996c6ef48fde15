//! Any number of invocations gives the same bits.

use bantam::gpu::weights::Words;
use bantam::gpu::weights::layouts::Format;
use bantam::gpu::{Gpu, Invocations, KernelChoices, Sharing, Target, Transcoded};
use bantam::tensor::Dtype;
use wgpu::BufferUsages;

use super::forms::{Form, weights};
use super::joined::those_that_compile;
use super::{check_products, has, products, same_bits};
use crate::device;

#[test]
fn any_number_of_invocations_gives_the_same_bits() {
    let gpu = device::shared();
    let forms = [
        Form::Raw(Dtype::BF16),
        Form::Bf16 { top_bits: 2 },
        Form::Transcoded { to: Transcoded::Fast, octaves: 6, any_bits: 500, zeros: 0 },
        Form::Transcoded { to: Transcoded::Fast, octaves: 2, any_bits: 300, zeros: 20 },
        Form::Rounded { dtype: Dtype::BF16, bits: 3, block: 512 },
    ];
    // A row of 800 columns is three tiles of 272: two of them make a span. Tiles of 512 reach across.
    for form in forms {
        let weights = weights(&gpu, form, 130, 800).unwrap();
        let mut results = Vec::new();
        for invocations in those_that_compile(&gpu, &Invocations::ALL) {
            let gpu = gpu.with_choices(KernelChoices::with_invocations(invocations));
            // As uniforms with as many as processors have that stand in for a device.
            let few =
                invocations == Invocations::EIGHT_ROWS_EACH || invocations == Invocations::TWO_ROWS_EACH;
            let uniform = few.then_some(BufferUsages::STORAGE | BufferUsages::UNIFORM);
            for usage in [BufferUsages::STORAGE].into_iter().chain(uniform) {
                let (result, labels) = products(&gpu, &weights.device, 19, usage);
                results.push((invocations, result));
                let rows = (64 / u32::from(invocations)).max(1);
                assert!(labels.iter().all(|label| has(label, "rows=", rows)), "{labels:?}");
                let spans = if matches!(form, Form::Rounded { .. }) { 1 } else { 2 };
                assert!(has(&labels[0], "splits=", splits(&gpu, invocations, 3, spans)), "{labels:?}");
                let is_dense = matches!(weights.device.format, Format::Dense(_));
                let in_texture = matches!(weights.device.parts[0].payload, Words::Texture(_));
                let is_uniform = gpu.target() == Target::Llvmpipe
                    && (!is_dense || in_texture)
                    && usage.contains(BufferUsages::UNIFORM);
                assert_eq!(labels[0].contains("uniform_x"), is_uniform, "{labels:?}");
            }
        }
        for (invocations, result) in &results {
            let same = result.iter().zip(&results[0].1).all(|(a, b)| same_bits(a, b));
            assert!(same, "{form:?}, {invocations} invocations");
        }
    }
}

/// How many share a row: as many as there are spans, or fewer.
fn splits(gpu: &Gpu, invocations: Invocations, row_blocks: u32, spans: u32) -> u32 {
    let sharing = Sharing::for_shape(gpu.target(), invocations, row_blocks, spans);
    let splits = (u32::from(sharing.invocations) / 64).max(1) * sharing.strips;
    assert!(splits <= spans.next_power_of_two(), "{sharing:?}");
    splits
}

/// Five spans or more: four invocations that share a row have a whole round, and a last one that is not full.
#[test]
fn the_last_round_of_spans_need_not_be_full() {
    let gpu = device::shared();
    let forms = [
        Form::Raw(Dtype::BF16),
        Form::Raw(Dtype::F32),
        Form::Bf16 { top_bits: 2 },
        Form::Tiled { dtype: Dtype::F32, split: (2, 0, 8), octaves: 6 },
        Form::Transcoded { to: Transcoded::Fast, octaves: 6, any_bits: 500, zeros: 0 },
        Form::Transcoded { to: Transcoded::Tiered, octaves: 6, any_bits: 500, zeros: 0 },
    ];
    for form in forms {
        check_last_round(&gpu, form, 2900, 4);
    }
    // Up to 32 spans are summed from one barrier to the next, or 128 where workgroups share row blocks.
    check_last_round(&gpu, Form::Raw(Dtype::BF16), 18_000, 32);
    check_last_round(&gpu, Form::Raw(Dtype::BF16), 75_000, 128);
}

fn check_last_round(gpu: &Gpu, form: Form, cols: usize, least: usize) {
    let weights = weights(gpu, form, 70, cols).unwrap();
    let spans = cols.div_ceil(weights.device.span_cols());
    assert!(spans > least && !spans.is_multiple_of(4), "{spans} spans");
    let with = |many| gpu.with_choices(KernelChoices::with_invocations(many));
    let results = [Invocations::FOUR_A_ROW, Invocations::TWO_A_ROW, Invocations::ONE_ROW_EACH].map(|many| {
        let (result, labels) = products(&with(many), &weights.device, 3, BufferUsages::STORAGE);
        assert!(has(&labels[0], "splits=", splits(gpu, many, 2, spans as u32)), "{labels:?}");
        result
    });
    for other in &results[1..] {
        let same = results[0].iter().zip(other).all(|(a, b)| same_bits(a, b));
        assert!(same, "{form:?}");
    }
    check_products(&with(Invocations::FOUR_A_ROW), &weights, 3, true, true);
}
