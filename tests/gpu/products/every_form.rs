//! Products and look-ups of rows, from every form and shape.

use bantam::gpu::weights::Words;
use bantam::gpu::{Gpu, KernelChoices, Target};
use bantam::tensor::Dtype;
use wgpu::BufferUsages;

use super::forms::{Form, weights};
use super::{SHAPES, check_products, check_rows, products, same_bits};
use crate::device;

/// The forms of weights that are tried in a shape. Each of each shape is a kernel to compile, so all are tried where
/// rows are of two tiles and of several, and where they are short, one of each layout and of F32.
fn forms(shape: (usize, usize)) -> Vec<Form> {
    match shape {
        (130, 300) | (70, 800) => Form::ALL.to_vec(),
        (_, 300..) => Form::some().collect(),
        _ => Form::few().collect(),
    }
}

/// One half of the forms, in all shapes. How many matrices were in tiles.
fn check_half_of_the_forms(half: usize) -> usize {
    let gpu = device::shared();
    let mut tiled = 0;
    for (rows, cols) in SHAPES {
        for form in forms((rows, cols)).into_iter().skip(half).step_by(2) {
            let Some(weights) = weights(&gpu, form, rows, cols) else { continue };
            tiled += usize::from(!form.is_raw());
            check_products(&gpu, &weights, 1, false, false);
            check_products(&gpu, &weights, 19, false, false);
        }
    }
    tiled
}

#[test]
fn products_are_those_of_the_twins_for_every_form_and_shape() {
    // Most of the time is that of compiling, which one thread does for one kernel.
    let halves = std::thread::scope(|scope| {
        [0, 1]
            .map(|half| scope.spawn(move || check_half_of_the_forms(half)))
            .map(|thread| thread.join().unwrap())
    });
    // Only the tiniest do not pay.
    let tiled: usize = halves.into_iter().sum();
    assert!(tiled >= 12 * 3, "{tiled} tiled matrices");
}

#[test]
fn products_add_biases_and_accumulate() {
    let gpu = device::shared();
    for (i, form) in Form::some().enumerate() {
        let weights = weights(&gpu, form, 130, 300).unwrap();
        // One of each layout alone, too; the others with both, since each is a kernel of its own.
        let alone = [(true, false), (false, true)].into_iter().filter(|_| [0, 2, 7].contains(&i));
        for (bias, accumulate) in alone.chain([(true, true)]) {
            check_products(&gpu, &weights, 1, bias, accumulate);
            check_products(&gpu, &weights, 37, bias, accumulate);
        }
    }
}

#[test]
fn activations_as_a_uniform_give_the_same_bits() {
    let gpu = device::shared();
    // As many tokens as fit 64 KiB, of sixteen, eight and four.
    for (cols, tokens) in [(1000, Some(16)), (1600, Some(8)), (3000, Some(4)), (5000, None)] {
        let weights = weights(&gpu, Form::Raw(Dtype::BF16), 70, cols).unwrap();
        let uniform = BufferUsages::STORAGE | BufferUsages::UNIFORM;
        let (result, labels) = products(&gpu, &weights.device, 19, uniform);
        let tokens = tokens.filter(|_| gpu.target() == Target::Llvmpipe);
        assert_eq!(labels[1].contains("uniform_x"), tokens.is_some(), "{labels:?}");
        assert!(labels[1].contains(&format!("tokens={}", tokens.unwrap_or(16))), "{labels:?}");
        let (expected, _) = products(&gpu, &weights.device, 19, BufferUsages::STORAGE);
        assert!(result.iter().zip(&expected).all(|(a, b)| same_bits(a, b)), "{cols} columns");
    }
}

#[test]
fn embedding_rows_are_exact_for_every_form_and_shape() {
    let gpu = device::shared();
    for (rows, cols) in SHAPES {
        for form in forms((rows, cols)) {
            if let Some(weights) = weights(&gpu, form, rows, cols) {
                check_rows(&gpu, &weights);
            }
        }
    }
}

/// The same device, with textures or without.
pub(super) fn with_textures(gpu: &Gpu, textures: bool) -> Gpu {
    gpu.with_choices(KernelChoices { textures, ..*gpu.choices() })
}

#[test]
fn textures_and_buffers_give_the_same() {
    let gpu = device::shared();
    let textures = [false, true];
    let of_textures = textures.map(|textures| {
        let gpu = with_textures(&gpu, textures);
        for form in Form::some() {
            // In several rows of a texture; raw weights also in one that is not whole.
            for (rows, cols) in [(130, 300), (3, 17)].into_iter().take(1 + usize::from(form.is_raw())) {
                if let Some(weights) = weights(&gpu, form, rows, cols) {
                    check_products(&gpu, &weights, 3, true, false);
                    check_rows(&gpu, &weights);
                }
            }
        }
        weights(&gpu, Form::Raw(Dtype::BF16), 64, 64)
            .map(|w| matches!(w.device.parts[0].payload, Words::Texture(_)))
    });
    assert_eq!(of_textures, textures.map(Some));
}
