//! Less of each weight is read where that is asked for, and it is what the CPU says it should be.

use std::fs;
use std::path::Path;

use bantam::archive::{ModelFiles, Stored};
use bantam::codec::encode::encode_with_split;
use bantam::codec::split::Split;
use bantam::codec::{CodecError, Kept, Payload, Precision};
use bantam::gpu::kernels;
use bantam::model::{Layout, LoadOptions, Model, Precisions};
use bantam::tensor::{Dtype, SafetensorsFile};

use crate::data::Random;
use crate::data::weights::{Likeness, rows_for};
use crate::device;
use crate::models::{TEXTS, all_logits, assert_same_bits, compressed, demo, load, load_with, prompt};

const PRECISIONS: [Precision; 2] = [Precision::Mantissa(5), Precision::Mantissa(3)];

/// Units of a tensor as they are read.
fn rounded(bytes: &[u8], split: &Split, kept: Kept) -> Vec<u8> {
    let unit = |bytes: &[u8]| {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        kept.of_unit(split, u32::from_le_bytes(word)).to_le_bytes()[..bytes.len()].to_vec()
    };
    bytes.chunks(split.unit_bytes()).flat_map(unit).collect()
}

#[test]
fn the_device_decodes_what_is_kept() {
    let gpu = device::shared();
    let types = [Dtype::BF16, Dtype::F16, Dtype::F32];
    let bits = || (0..4).flat_map(|t| [0, 3, 13, 16].map(|clean| (t, clean)));
    let splits = types.iter().flat_map(|&dtype| bits().filter_map(move |(t, c)| Split::new(dtype, t, 0, c)));
    let mut lossy = 0;
    for split in splits {
        let like = Likeness { any_bits: 0, dirty_rows: 5, octaves: 0 };
        let shape = [330, 244];
        let data = rows_for(&split, shape[0], shape[1], like, &mut Random::new(3));
        let encoded = encode_with_split(&shape, &data, split).unwrap();
        for precision in PRECISIONS {
            let payload = Payload::parse(&encoded).unwrap().at(precision);
            // With few bits coded it may be that nothing was gained.
            let Some(kept) = payload.kept() else { continue };
            let decoded = pollster::block_on(kernels::decode::decode(&gpu, &payload)).unwrap().unwrap();
            assert!(decoded == rounded(&data, &split, kept), "{split:?} {precision:?}");
            lossy += usize::from(decoded != data);
        }
    }
    assert!(lossy >= 12, "{lossy}");
}

/// The demo model with its matrices as they are read from `small` in `precision`.
fn rounded_model(small: &Path, precision: Precision) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(demo().join(name), folder.path().join(name)).unwrap();
    }
    let path = demo().join("model.safetensors");
    let file = SafetensorsFile::open(&path).unwrap();
    let mut bytes = file.bytes().to_vec();
    let files = ModelFiles::open(small).unwrap();
    for weight in files.weights().filter(|weight| weight.shape.len() == 2) {
        let Stored::Compressed(payload) = weight.stored().unwrap() else { panic!("it is compressed") };
        let bantam::codec::head::Kind::Tiled(tiled) = &payload.head().kind else { continue };
        let tensor = file.tensors().iter().find(|tensor| tensor.name == weight.name).unwrap();
        let start = tensor.range.start;
        let rounded = rounded(file.data(tensor), &tiled.split, tiled.kept(precision));
        bytes[start..start + rounded.len()].copy_from_slice(&rounded);
    }
    fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    folder
}

#[test]
fn a_model_in_less_precision_is_the_model_with_rounded_weights() {
    let gpu = device::shared();
    let (_temporary, small) = compressed(&demo());
    let tokens = prompt(&demo(), TEXTS[0], 40);
    let lossless = load(&gpu, &small, false);
    let [all, mut before] = [&lossless, &lossless].map(|model| model.weight_bytes());
    let exact = all_logits(&lossless, &tokens);
    for precision in PRECISIONS {
        let folder = rounded_model(&small, precision);
        let wanted = all_logits(&load(&gpu, folder.path(), true), &tokens);
        assert!(wanted != exact);
        let layouts = match precision {
            Precision::Mantissa(3) => &[Layout::Dense, Layout::Fast][..],
            _ => &[Layout::Dense],
        };
        for &layout in layouts {
            let options = LoadOptions::default().with_layout(layout).with_precision(precision.into());
            let model = load_with(&gpu, &small, &options);
            assert_same_bits(&wanted, &all_logits(&model, &tokens), &format!("{layout:?}, {precision:?}"));
            if layout == Layout::Dense {
                // Every plane is a quarter of what is raw.
                assert!(model.weight_bytes() < before && before - model.weight_bytes() > all / 10);
                before = model.weight_bytes();
            }
        }
    }
}

/// How many matrices lost bits, and how many of these the most.
fn lowered(precisions: &Precisions) -> (usize, usize) {
    let Precisions::Each(each) = precisions else { panic!("{precisions:?}") };
    let least = each.values().filter(|precision| **precision == Precision::Mantissa(3)).count();
    assert!(each.values().all(|precision| *precision != Precision::Lossless));
    (each.len(), least)
}

#[test]
fn as_much_is_read_as_fits() {
    let (_temporary, small) = compressed(&demo());
    let files = ModelFiles::open(&small).unwrap();
    let tokens = prompt(&demo(), TEXTS[0], 20);
    let free = device::shared();
    let within = |precision: Precisions, budget| {
        LoadOptions::default().with_layout(Layout::Dense).with_precision(precision).with_budget(Some(budget))
    };
    // Room to widen weights in is given up before their bits are.
    let whole = |precision: Precision| {
        let plan = Model::plan(&free, &files, &within(precision.into(), u64::MAX)).unwrap().unwrap();
        plan.total - plan.wide_room
    };
    let (all, k3) = (whole(Precision::Lossless), whole(Precision::Mantissa(3)));
    let mut before = (0, 0);
    for budget in [all, all - 1, k3 + (all - k3) / 4, k3] {
        let gpu = device::shared();
        let options = within(Precisions::Auto, budget);
        let model = load_with(&gpu, &small, &options);
        let (count, least) = lowered(model.precisions());
        assert!(model.residency().unwrap().is_resident() && gpu.memory().peak() <= budget);
        assert_eq!(count == 0, budget == all);
        assert!(count >= before.0 && least >= before.1, "{count} {least} after {before:?}");
        // The matrix that every logit comes from keeps its bits the longest.
        let output = model.precisions().of("model.embed_tokens.weight");
        assert_eq!(output == Precision::Mantissa(3), budget == k3, "{budget} of {k3} to {all}");
        let (_, chosen) = Model::plan_with_precisions(&free, &files, &options).unwrap();
        assert_eq!(model.precisions(), &chosen);
        let precision = model.precisions().clone();
        let each = LoadOptions::default().with_layout(Layout::Dense).with_precision(precision);
        let wanted = all_logits(&load_with(&free, &small, &each), &tokens);
        assert_same_bits(&wanted, &all_logits(&model, &tokens), "the same precisions without a budget");
        // Not given up for a larger layout.
        let auto = Model::plan(&free, &files, &options.with_layout(Layout::Auto)).unwrap();
        assert!(auto.unwrap().is_resident());
        before = (count, least);
    }
    // All of them, and then the rest is streamed.
    let matrices = files.weights().filter(|weight| weight.shape.len() == 2).count();
    assert_eq!(before, (matrices, matrices));
    let gpu = device::shared();
    let model = load_with(&gpu, &small, &within(Precisions::Auto, k3 - 1));
    assert_eq!(lowered(model.precisions()), before);
    let plan = model.residency().unwrap();
    assert!(plan.embedding_on_host || !plan.is_resident());
    // Without a budget nothing is lost.
    let options = LoadOptions::default().with_precision(Precisions::Auto);
    let exact = all_logits(&load(&free, &small, false), &tokens);
    assert_same_bits(&exact, &all_logits(&load_with(&free, &small, &options), &tokens), "no budget");
}

#[test]
fn damage_is_found_where_it_is_read() {
    let split = Split::new(Dtype::BF16, 1, 0, 0).unwrap();
    let like = Likeness { any_bits: 9, dirty_rows: 5, octaves: 0 };
    let data = rows_for(&split, 64, 96, like, &mut Random::new(5));
    let mut encoded = encode_with_split(&[64, 96], &data, split).unwrap();
    // The last plane.
    *encoded.last_mut().unwrap() ^= 1;
    let payload = |precision| Payload::parse(&encoded).unwrap().at(precision);
    assert!(matches!(payload(Precision::Lossless).check(), Err(CodecError::Checksum { .. })));
    assert!(payload(Precision::Mantissa(5)).check().is_ok());
}
