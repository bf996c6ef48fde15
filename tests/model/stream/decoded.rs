//! Weights that are decoded on their way.

use bantam::archive::Options;
use bantam::codec::{Lossy, Precision};
use bantam::gpu::Gpu;
use bantam::model::{Layout, LoadOptions, Outputs, Precisions, Session};
use bantam::tensor::Dtype;
use serde_json::json;

use super::budgets::check_within;
use super::{
    CONTEXT, auto_within, few_tokens, least_decoded, minimum, ten_layers, ten_layers_plain, tokens, try_plan,
    whole, within,
};
use crate::models::{all_logits, assert_same_bits, compressed, compressed_with, load, load_with};
use crate::{device, random_model};

#[test]
fn what_is_decoded_on_its_way_gives_the_same_bits_within_every_budget() {
    let (_temporary, folder) = ten_layers();
    let (tokens, gpu) = (tokens(300), device::shared());
    let wanted = all_logits(&load(&gpu, &folder, false), &tokens);
    let plan = |budget| try_plan(&gpu, &folder, &auto_within(&folder, budget)).unwrap();
    let (whole, least) = (plan(u64::MAX), least_decoded(&folder).budget.unwrap());
    assert!(whole.is_resident() && !whole.decodes() && whole.minimum <= minimum(&folder));
    let mut moved = Vec::new();
    for budget in [whole.total - 1, least.midpoint(whole.total), least] {
        let plan = check_within(&folder, &auto_within(&folder, budget), &wanted, &tokens, 3);
        assert_eq!(plan.decodes(), gpu.is_cpu(), "{plan:?}");
        moved.push(plan.bytes_a_pass);
    }
    // Where the fast layout just does not fit, a GPU keeps all of it in dense tiles.
    assert!(moved.is_sorted() && (moved[0] > 0) == gpu.is_cpu() && moved[0] < moved[2], "{moved:?}");
    // In a slot, weights take what they take uncompressed.
    let plan = plan(least);
    assert_eq!(plan.bytes_a_pass * 16 < plan.streamed_bytes * 12, gpu.is_cpu(), "{plan:?}");
}

#[test]
fn where_a_slot_has_no_room_for_uncompressed_weights_it_has_dense_tiles() {
    let sizes = json!({
        "hidden_size": 256, "intermediate_size": 2048, "num_hidden_layers": 2, "num_attention_heads": 8,
        "num_key_value_heads": 4, "tie_word_embeddings": true
    });
    let plain = tempfile::tempdir().unwrap();
    random_model::write(plain.path(), &random_model::config("LlamaForCausalLM", sizes), Dtype::BF16);
    let (_temporary, folder) = compressed(plain.path());
    let (tokens, gpu) = (tokens(300), device::shared());
    let wanted = all_logits(&load(&gpu, &folder, false), &tokens);
    let (minimum, least) = (minimum(&folder), least_decoded(&folder).budget.unwrap());
    assert_eq!(minimum < least, gpu.is_cpu());
    for budget in [minimum, least.max(minimum + 1) - 1] {
        let plan = check_within(&folder, &auto_within(&folder, budget), &wanted, &tokens, 3);
        assert!(!plan.decodes() && !plan.is_resident() && plan.minimum == minimum, "{plan:?}");
    }
    let error = try_plan(&gpu, &folder, &auto_within(&folder, minimum - 1)).unwrap_err();
    assert!(error.to_string().contains(&format!("needs at least {minimum}")), "{error}");
    let plan = check_within(&folder, &auto_within(&folder, least), &wanted, &tokens, 3);
    assert_eq!(plan.decodes(), gpu.is_cpu());
}

#[test]
fn what_was_rounded_is_streamed_too() {
    let (_plain, plain) = ten_layers_plain();
    let lossy = Some(Lossy::new(3, 512).unwrap());
    let (_temporary, folder) = compressed_with(&plain, &Options::DEFAULT.with_lossy(lossy));
    let tokens = tokens(300);
    let wanted = all_logits(&load(&device::shared(), &folder, false), &tokens);
    let (whole, minimum) = (whole(&folder), minimum(&folder));
    for budget in [whole - 1, minimum + (whole - minimum) / 2, minimum] {
        let plan = check_within(&folder, &within(&folder, budget), &wanted, &tokens, 3);
        assert!(plan.embedding_on_host, "{plan:?}");
    }
    let decoded = least_decoded(&folder);
    for budget in [whole - 1, decoded.budget.unwrap()] {
        let plan = check_within(&folder, &auto_within(&folder, budget), &wanted, &tokens, 3);
        assert_eq!(plan.decodes(), device::shared().is_cpu(), "{plan:?}");
    }
}

#[test]
fn less_precision_moves_fewer_bytes() {
    let (_temporary, folder) = ten_layers();
    let (tokens, gpu) = (tokens(300), device::shared());
    let precision: Precisions = Precision::Mantissa(3).into();
    let resident = LoadOptions::default().with_layout(Layout::Dense).with_precision(precision.clone());
    let wanted = all_logits(&load_with(&gpu, &folder, &resident), &tokens);
    let least = |precision: Precisions| {
        let told = try_plan(&gpu, &folder, &within(&folder, u64::MAX).with_precision(precision.clone()));
        let options = within(&folder, told.unwrap().minimum);
        options.with_precision(precision)
    };
    let lossless = try_plan(&gpu, &folder, &least(Precisions::default())).unwrap();
    let plan = check_within(&folder, &least(precision), &wanted, &tokens, 3);
    assert_eq!(plan.streamed.len(), plan.stages.len());
    assert_eq!(lossless.streamed.len(), lossless.stages.len());
    // Two thirds of all weights are what is left, or less.
    assert!(plan.bytes_a_pass * 3 < lossless.bytes_a_pass * 2);
    // Decoded on its way, no more is read, and the bits that are not are what they are on a device.
    let budget = least_decoded(&folder).budget.unwrap();
    let auto = |precision| auto_within(&folder, budget).with_precision(precision);
    let lossless = try_plan(&gpu, &folder, &auto(Precisions::default())).unwrap();
    for bits in [3, 5] {
        let precision: Precisions = Precision::Mantissa(bits).into();
        let resident = resident.clone().with_precision(precision.clone());
        let wanted = all_logits(&load_with(&gpu, &folder, &resident), &tokens);
        let plan = check_within(&folder, &auto(precision), &wanted, &tokens, 3);
        assert_eq!(plan.decodes(), gpu.is_cpu());
        assert!(plan.bytes_a_pass * 8 < lossless.bytes_a_pass * 7, "{plan:?}");
    }
}

#[test]
fn a_device_without_shared_memory_is_copied_to() {
    let (_temporary, folder) = ten_layers();
    let tokens = few_tokens();
    let wanted = all_logits(&load(&device::shared(), &folder, false), &tokens);
    // A host's device has the features that the host asked for: here none.
    let own = device::shared();
    let adapters = pollster::block_on(bantam::gpu::adapters());
    let info = own.device().adapter_info();
    let same =
        |a: &&wgpu::Adapter| (a.get_info().name, a.get_info().backend) == (info.name.clone(), info.backend);
    let adapter = adapters.iter().find(same).unwrap();
    let descriptor = wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    // Attention adds in the order of the same kind of device.
    let gpu = Gpu::from_device(device, queue, None).with_target(own.target());
    let middle = (minimum(&folder) + whole(&folder)) / 2;
    for options in [within(&folder, middle), auto_within(&folder, middle)] {
        let model = load_with(&gpu, &folder, &options);
        let plan = model.residency().unwrap();
        // One for shaders, and two that the host fills.
        assert_eq!(plan.ring, 3 * plan.slot_bytes);
        assert_eq!(plan.decodes(), gpu.is_cpu() && options.layout == Layout::Auto);
        let mut session = Session::new(&model, CONTEXT, Outputs::All).unwrap();
        for _ in 0..3 {
            session.rewind(0);
            let logits = pollster::block_on(session.forward(&tokens, Outputs::All)).unwrap();
            assert_same_bits(&wanted, &logits, "copied");
        }
    }
    assert!(gpu.memory().peak() <= middle);
}
