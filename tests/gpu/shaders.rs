//! Every variant of every kernel is valid WGSL, keeps to the portable budget, and is translated for every kind of
//! driver as wgpu translates it, so that a kernel that only works on one of them is noticed here.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use bantam::gpu::{Target, Variant, kernels};
use naga::back::{glsl, hlsl};
use naga::valid::ModuleInfo;

use crate::translation::{Kernel, Vulkan};
#[cfg(target_os = "linux")]
use crate::within_limits;

/// Each variant, parsed and found valid once for all tests.
fn kernels() -> &'static [Kernel] {
    static KERNELS: LazyLock<Vec<Kernel>> =
        LazyLock::new(|| kernels::variants().iter().map(Kernel::of).collect());
    assert!(KERNELS.len() > 200);
    &KERNELS
}

/// Runs `check` on each variant's module.
fn for_each_variant(mut check: impl FnMut(&str, &naga::Module, &ModuleInfo)) {
    kernels().iter().for_each(|kernel| check(&kernel.label, &kernel.module, &kernel.info));
}

/// What a kind of device is offered is among what all tests here look at, but for where tables are bound and how much is
/// given at a time.
#[test]
fn every_kind_of_device_is_offered_kernels_of_its_own() {
    let flags = |label: &str, of: &[&str]| of.iter().any(|flag| label.contains(flag));
    for target in Target::ALL {
        let labels: Vec<String> = kernels::offered(target).iter().map(|variant| variant.label()).collect();
        let count = |of: &[&str]| labels.iter().filter(|label| flags(label, of)).count();
        let several_rows = count(&["rows=2", "rows=4", "rows=8"]);
        let are_there = [several_rows, count(&["splits="]), count(&["texture="]), count(&["uniform_x="])];
        let wanted = match target {
            Target::Gpu => [true, true, false, false],
            Target::Llvmpipe => [true, false, true, true],
            Target::Cpu => [false, true, false, false],
        };
        assert_eq!(are_there.map(|count| count > 0), wanted, "{target}: {are_there:?}");
        let tables = labels.iter().filter(|label| label.contains("[dense:"));
        assert!(tables.clone().count() > 100);
        assert!(tables.into_iter().all(|label| label.contains(".uniform11") == target.is_cpu()));
        let gates = labels.iter().filter(|label| label.starts_with("matmul") && label.contains("gated"));
        assert!(gates.count() > 10, "{target}");
    }
}

/// A variant's label names all of its choices, and is short enough for a line of a log.
#[test]
fn variants_that_differ_have_different_labels() {
    let mut by_label: HashMap<String, Variant> = HashMap::new();
    let offered = Target::ALL.into_iter().flat_map(kernels::offered);
    for variant in kernels::variants().into_iter().chain(offered) {
        let label = variant.label();
        assert!(label.len() <= 128, "{label}");
        let first = by_label.entry(label).or_insert_with(|| variant.clone());
        assert_eq!(*first, variant, "{}", variant.label());
    }
    assert!(by_label.len() > 500);
}

/// A driver compiles each variant that its device is offered within a gigabyte and twenty seconds.
#[cfg(target_os = "linux")]
#[test]
fn what_a_device_is_offered_compiles_within_limits() {
    if within_limits::compiled_one() {
        return;
    }
    let Ok(part) = std::env::var("BANTAM_COMPILE_EVERYWHERE") else {
        println!("left out: scripts/compile_everywhere compiles what devices are offered");
        return;
    };
    let failed =
        within_limits::compile_all("shaders::what_a_device_is_offered_compiles_within_limits", &part);
    assert!(failed.is_empty(), "{} variants are beyond the limits:\n{}", failed.len(), failed.join("\n"));
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
    for kernel in kernels() {
        for driver in Vulkan::ALL {
            kernel.spirv(driver);
        }
    }
}

/// What naga writes is what Khronos' validator takes for Vulkan.
#[test]
fn spirv_is_valid() {
    let validate = |spirv: &[u32], environment: &str| {
        let validator = Command::new("spirv-val")
            .args(["--target-env", environment, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut validator = validator.ok()?;
        let _ = validator.stdin.take()?.write_all(bytemuck::cast_slice(spirv));
        let output = validator.wait_with_output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    };
    // Each for one of the drivers, in turn.
    let drivers = Vulkan::ALL.into_iter().zip(["vulkan1.1", "vulkan1.3"]).cycle();
    for (kernel, (driver, environment)) in kernels().iter().zip(drivers) {
        let Some((is_valid, said)) = validate(&kernel.spirv(driver), environment) else {
            println!("left out: there is no spirv-val (Debian's package spirv-tools)");
            return;
        };
        assert!(is_valid, "{}, {driver:?}: {said}", kernel.label);
    }
}

#[test]
fn every_variant_translates_to_metal() {
    for kernel in kernels() {
        for version in [(2, 2), (3, 2)] {
            kernel.metal(version);
        }
    }
}

/// For both compilers that wgpu uses on DirectX 12: FXC up to model 5.1, and DXC. `BANTAM_HLSL` is a folder in which
/// what is for DXC is kept, for `scripts/check_dxc`: a file a kernel, for one of the models in turn.
#[test]
fn every_variant_translates_to_hlsl() {
    let folder = std::env::var_os("BANTAM_HLSL").map(PathBuf::from);
    for (i, kernel) in kernels().iter().enumerate() {
        kernel.hlsl(hlsl::ShaderModel::V5_1);
        let texts = [hlsl::ShaderModel::V6_0, hlsl::ShaderModel::V6_7].map(|model| kernel.hlsl(model));
        if let Some(folder) = &folder {
            let model = i % 2;
            // A label has no slash but that of `lanes=8/8`.
            let file = format!("{}.{}.hlsl", kernel.label.replace('/', "of"), ["6_0", "6_7"][model]);
            std::fs::write(folder.join(file), &texts[model]).unwrap();
        }
    }
}

/// DXC makes an invalid module of what naga writes for products of packed bytes, from model 6.4 on
/// (<https://github.com/microsoft/DirectXShaderCompiler/issues/7400>).
#[test]
fn no_variant_multiplies_packed_bytes() {
    use naga::MathFunction::{Dot4I8Packed, Dot4U8Packed};
    for_each_variant(|label, module, _| {
        let entry_points = module.entry_points.iter().map(|entry| &entry.function);
        let functions = module.functions.iter().map(|(_, function)| function).chain(entry_points);
        for (_, expression) in functions.flat_map(|function| function.expressions.iter()) {
            let is_packed = |fun| matches!(fun, Dot4I8Packed | Dot4U8Packed);
            let found = matches!(expression, naga::Expression::Math { fun, .. } if is_packed(*fun));
            assert!(!found, "{label} multiplies packed bytes");
        }
    });
}

#[test]
fn every_variant_translates_to_glsl() {
    let versions = [glsl::Version::new_gles(310), glsl::Version::new_gles(320), glsl::Version::Desktop(450)];
    for kernel in kernels() {
        for version in versions {
            kernel.glsl(version);
        }
    }
}

/// What raw and compressed weights, matrices joined and apart, one token and a batch must agree in to the last bit
/// does not rest on the order in which a compiler leaves additions: every sum, product and quotient of floats outside
/// of the loops over columns goes through `opaque`, or its bits are taken as an integer's.
#[test]
fn no_compiler_sees_through_a_sum() {
    let mut sums = 0;
    for_each_variant(|label, module, info| {
        if !["matvec", "matmul", "swiglu"].iter().any(|kernel| label.starts_with(kernel)) {
            return;
        }
        for (handle, function) in module.functions.iter() {
            let name = function.name.as_deref().unwrap_or_default();
            let opaque = arguments_of("opaque", module, &function.body);
            for (at, expression) in function.expressions.iter() {
                let naga::Expression::Binary { .. } = expression else { continue };
                let inner = info[handle][at].ty.inner_with(&module.types);
                if !matches!(inner.scalar_kind(), Some(naga::ScalarKind::Float)) {
                    continue;
                }
                sums += 1;
                let is_within = |outer: &naga::Expression| match *outer {
                    naga::Expression::As { expr, kind: naga::ScalarKind::Uint, convert: None } => expr == at,
                    // The quotient as a whole is opaque.
                    naga::Expression::Binary { op: naga::BinaryOperator::Divide, right, .. } => {
                        name == "silu_times" && right == at
                    }
                    _ => false,
                };
                let is_opaque =
                    opaque.contains(&at) || function.expressions.iter().any(|(_, e)| is_within(e));
                assert!(is_opaque, "{label}: {name} has {expression:?}");
            }
        }
    });
    assert!(sums > 500, "{sums} sums");
}

/// The values that `body` gives to the function of that name.
fn arguments_of(
    callee: &str,
    module: &naga::Module,
    body: &naga::Block,
) -> Vec<naga::Handle<naga::Expression>> {
    let mut all = Vec::new();
    for statement in body.iter() {
        match statement {
            naga::Statement::Call { function, arguments, .. }
                if module.functions[*function].name.as_deref() == Some(callee) =>
            {
                all.extend_from_slice(arguments);
            }
            naga::Statement::Block(block) => all.extend(arguments_of(callee, module, block)),
            naga::Statement::If { accept, reject, .. } => {
                all.extend(
                    [accept, reject].into_iter().flat_map(|block| arguments_of(callee, module, block)),
                );
            }
            naga::Statement::Loop { body, continuing, .. } => {
                let blocks = [body, continuing];
                all.extend(blocks.into_iter().flat_map(|block| arguments_of(callee, module, block)));
            }
            _ => {}
        }
    }
    all
}
