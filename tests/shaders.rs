//! Every variant of every kernel is valid WGSL, keeps to the portable budget, and can be translated
//! for every kind of driver, so that a kernel that only works on one of them is noticed here.

use bantam::gpu::kernels;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

/// Runs `check` on each variant's module.
fn for_each_variant(check: impl Fn(&str, &naga::Module, &ModuleInfo)) {
    let variants = kernels::variants();
    assert!(variants.len() > 200);
    for variant in variants {
        let source = variant.source().unwrap();
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|e| panic!("{}: {}", variant.label(), e.emit_to_string(&source)));
        let info = Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32)
            .validate(&module)
            .unwrap_or_else(|e| panic!("{}: {}", variant.label(), e.emit_to_string(&source)));
        check(&variant.label(), &module, &info);
    }
}

/// The budget is that of the devices the project is for, and what a host's device is asked for is less.
#[test]
fn every_variant_keeps_to_the_portable_budget() {
    let least = bantam::gpu::least_limits();
    assert!(least.check_limits(&wgpu::Limits::default()));
    for_each_variant(|label, module, _| {
        let in_space = |wanted: fn(naga::AddressSpace) -> bool| {
            module.global_variables.iter().filter(move |(_, v)| wanted(v.space)).map(|(_, v)| v)
        };
        let storage = in_space(|s| matches!(s, naga::AddressSpace::Storage { .. })).count();
        let most = least.max_storage_buffers_per_shader_stage.min(10);
        assert!(storage <= most as usize, "{label} binds {storage} storage buffers");
        let uniform = in_space(|s| s == naga::AddressSpace::Uniform).count();
        assert!(uniform <= least.max_uniform_buffers_per_shader_stage as usize, "{label}");
        let textures = in_space(|s| s == naga::AddressSpace::Handle).count();
        assert!(textures <= least.max_storage_textures_per_shader_stage as usize, "{label}");
        assert!(storage + uniform + textures <= least.max_bindings_per_bind_group as usize, "{label}");
        let shared: u32 = in_space(|s| s == naga::AddressSpace::WorkGroup)
            .map(|v| module.types[v.ty].inner.size(module.to_ctx()))
            .sum();
        assert!(
            shared <= least.max_compute_workgroup_storage_size,
            "{label} uses {shared} bytes of workgroup memory"
        );
        let [entry] = &module.entry_points[..] else { panic!("{label} has not one entry point") };
        let [x, y, z] = entry.workgroup_size;
        assert!(x * y * z <= least.max_compute_invocations_per_workgroup, "{label}");
        assert!(
            x <= least.max_compute_workgroup_size_x && y <= least.max_compute_workgroup_size_y,
            "{label}"
        );
    });
}

#[test]
fn every_variant_translates_to_spirv() {
    for_each_variant(|label, module, info| {
        spv::write_vec(module, info, &spv::Options::default(), None)
            .unwrap_or_else(|e| panic!("{label}: {e}"));
    });
}

#[test]
fn every_variant_translates_to_metal() {
    for_each_variant(|label, module, info| {
        let options = msl::Options { fake_missing_bindings: true, ..Default::default() };
        msl::write_string(module, info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|e| panic!("{label}: {e}"));
    });
}

#[test]
fn every_variant_translates_to_hlsl() {
    for_each_variant(|label, module, info| {
        let options = hlsl::Options { fake_missing_bindings: true, ..Default::default() };
        let pipeline = hlsl::PipelineOptions::default();
        hlsl::Writer::new(&mut String::new(), &options, &pipeline)
            .write(module, info, None)
            .unwrap_or_else(|e| panic!("{label}: {e}"));
    });
}
