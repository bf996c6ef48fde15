//! Every variant is compiled by the compiler of AMD's GPUs in Mesa, on a machine without one: RADV offers a device
//! that computes nothing where `RADV_FORCE_FAMILY` names a GPU. `scripts/check_radv` sets it.

use bantam::gpu::{Target, kernels};

use crate::null_device::{Compiled, NullDevice};
use crate::translation::{Kernel, Vulkan};

fn null_device() -> Option<NullDevice> {
    if std::env::var_os("RADV_FORCE_FAMILY").is_none() {
        println!("left out: scripts/check_radv compiles for AMD's GPUs");
        return None;
    }
    Some(NullDevice::open().expect("RADV_FORCE_FAMILY is set, and RADV gives no device"))
}

#[test]
fn every_variant_compiles_for_radeons() {
    let Some(device) = null_device() else { return };
    // Several rows an invocation are for processors.
    let is_for_processors = |label: &str| label.contains("rows=");
    let mut count = 0;
    // Weights in textures are for processors, too, and are not offered.
    let offered = kernels::offered(Target::Gpu);
    for variant in offered.iter().filter(|variant| !is_for_processors(&variant.label())) {
        let kernel = Kernel::of(variant);
        let Compiled { scratch_bytes, .. } = device.compile(&kernel.spirv(Vulkan::RADV), &kernel.bindings());
        assert!(scratch_bytes == 0, "{}: {scratch_bytes} bytes of scratch", kernel.label);
        count += 1;
    }
    assert!(count > 100, "{count} variants");
    println!("{count} variants for {}", device.name());
}

/// What no compiler is to see through is there in what it makes: seven steps for the parts of a span's sum, and
/// others.
#[test]
fn opaque_steps_stay() {
    let Some(device) = null_device() else { return };
    let is_plain = |label: &str| {
        ["matvec[bf16", "matvec[f16"].iter().any(|start| label.starts_with(start)) && !label.contains("rows=")
    };
    let plain: Vec<Kernel> =
        kernels::variants().iter().filter(|v| is_plain(&v.label())).map(Kernel::of).collect();
    assert!(!plain.is_empty());
    for kernel in plain {
        let Compiled { assembly, .. } = device.compile(&kernel.spirv(Vulkan::RADV), &kernel.bindings());
        // There is no other in a kernel of uncompressed weights.
        let count = assembly.lines().filter(|line| line.contains("v_xor_b32")).count();
        assert!(count >= 8, "{}: {count} steps", kernel.label);
    }
}
