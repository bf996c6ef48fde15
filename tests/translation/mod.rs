//! Kernels in the languages of drivers, with the options that wgpu's backends give naga, and not with naga's own:
//! what is bound where, which indices are checked, that loops are bounded, and that workgroup memory is left as it is.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;

use bantam::gpu::Variant;
use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, ImageClass, ResourceBinding, ShaderStage, StorageAccess, TypeInner};

/// A kernel that was found valid.
pub struct Kernel {
    pub label: String,
    pub module: naga::Module,
    pub info: ModuleInfo,
}

/// What is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Uniform,
    Storage { written: bool },
    Image { written: bool },
}

/// What a Vulkan driver has.
#[derive(Debug, Clone, Copy)]
pub struct Vulkan {
    pub spirv: (u8, u8),
    /// It checks what lies beyond a buffer or an image itself.
    pub robust: bool,
    pub dot_products: bool,
}

impl Vulkan {
    /// The least and the most.
    pub const ALL: [Self; 2] = [
        Self { spirv: (1, 3), robust: false, dot_products: false },
        Self { spirv: (1, 6), robust: true, dot_products: true },
    ];
}

/// What is bound for `variable`, which has a binding.
pub fn bound(module: &naga::Module, variable: &naga::GlobalVariable) -> Bound {
    match (variable.space, &module.types[variable.ty].inner) {
        (AddressSpace::Storage { access }, _) => {
            Bound::Storage { written: access.contains(StorageAccess::STORE) }
        }
        (_, TypeInner::Image { class: ImageClass::Storage { access, .. }, .. }) => {
            Bound::Image { written: access.contains(StorageAccess::STORE) }
        }
        _ => Bound::Uniform,
    }
}

impl Kernel {
    pub fn of(variant: &Variant) -> Self {
        let (source, label) = (variant.source().unwrap(), variant.label());
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|e| panic!("{label}: {}", e.emit_to_string(&source)));
        let info = Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32)
            .validate(&module)
            .unwrap_or_else(|e| panic!("{label}: {}", e.emit_to_string(&source)));
        Self { label, module, info }
    }

    /// What is bound where, in the order of the bindings.
    pub fn bindings(&self) -> BTreeMap<ResourceBinding, Bound> {
        let all = self.module.global_variables.iter();
        all.filter_map(|(_, variable)| Some((variable.binding?, bound(&self.module, variable)))).collect()
    }

    pub fn spirv(&self, driver: Vulkan) -> Vec<u32> {
        let policy = if driver.robust { BoundsCheckPolicy::Unchecked } else { BoundsCheckPolicy::Restrict };
        let mut capabilities = vec![
            spv::Capability::Shader,
            spv::Capability::Matrix,
            spv::Capability::Sampled1D,
            spv::Capability::Image1D,
            spv::Capability::ImageQuery,
            spv::Capability::DerivativeControl,
            spv::Capability::StorageImageExtendedFormats,
        ];
        if driver.dot_products {
            capabilities.extend([
                spv::Capability::DotProductInputAllKHR,
                spv::Capability::DotProductInput4x8BitKHR,
                spv::Capability::DotProductInput4x8BitPackedKHR,
                spv::Capability::DotProductKHR,
            ]);
        }
        // Numbered from 0 on.
        let info = |(binding, (&at, _)): (u32, (&ResourceBinding, _))| {
            (at, spv::BindingInfo { descriptor_set: at.group, binding, binding_array_size: None })
        };
        let options = spv::Options {
            lang_version: driver.spirv,
            flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
            capabilities: Some(capabilities.into_iter().collect()),
            bounds_check_policies: BoundsCheckPolicies {
                index: BoundsCheckPolicy::Restrict,
                buffer: policy,
                image_load: policy,
                binding_array: BoundsCheckPolicy::Unchecked,
            },
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            force_loop_bounding: true,
            emit_int_div_checks: true,
            fake_missing_bindings: false,
            binding_map: (0..).zip(&self.bindings()).map(info).collect(),
            ..Default::default()
        };
        let pipeline =
            spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into() };
        spv::write_vec(&self.module, &self.info, &options, Some(&pipeline))
            .unwrap_or_else(|e| panic!("{}: {e}", self.label))
    }

    pub fn metal(&self, version: (u8, u8)) -> String {
        let (mut buffers, mut textures) = (0u8.., 0u8..);
        let mut has_storage = false;
        let mut resources = msl::BindingMap::default();
        for (at, bound) in self.bindings() {
            let mut target = msl::BindTarget::default();
            match bound {
                Bound::Uniform => target.buffer = buffers.next(),
                Bound::Storage { written } => {
                    has_storage = true;
                    (target.buffer, target.mutable) = (buffers.next(), written);
                }
                Bound::Image { written } => (target.texture, target.mutable) = (textures.next(), written),
            }
            resources.insert(at, target);
        }
        let sizes_buffer = buffers.next().filter(|_| has_storage);
        let entry = msl::EntryPointResources { resources, immediates_buffer: None, sizes_buffer };
        let checked = BoundsCheckPolicy::Restrict;
        let options = msl::Options {
            lang_version: version,
            per_entry_point_map: [("main".to_string(), entry)].into(),
            fake_missing_bindings: false,
            bounds_check_policies: BoundsCheckPolicies {
                index: checked,
                buffer: checked,
                image_load: checked,
                binding_array: BoundsCheckPolicy::Unchecked,
            },
            zero_initialize_workgroup_memory: false,
            force_loop_bounding: true,
            emit_int_div_checks: true,
            ..Default::default()
        };
        let pipeline = msl::PipelineOptions {
            entry_point: Some((ShaderStage::Compute, "main".into())),
            vertex_pulling_transform: true,
            ..Default::default()
        };
        let (text, info) = msl::write_string(&self.module, &self.info, &options, &pipeline)
            .unwrap_or_else(|e| panic!("{}: {e}", self.label));
        info.entry_point_names[0].as_ref().unwrap_or_else(|e| panic!("{}: {e}", self.label));
        text
    }

    pub fn hlsl(&self, shader_model: hlsl::ShaderModel) -> String {
        // Registers of each kind.
        let (mut uniforms, mut read, mut written) = (0, 0, 0);
        let mut binding_map = hlsl::BindingMap::default();
        for (at, bound) in self.bindings() {
            let next = match bound {
                Bound::Uniform => &mut uniforms,
                Bound::Storage { written: false } => &mut read,
                Bound::Storage { written: true } | Bound::Image { .. } => &mut written,
            };
            binding_map.insert(at, hlsl::BindTarget { register: *next, ..Default::default() });
            *next += 1;
        }
        let options = hlsl::Options {
            shader_model,
            binding_map,
            fake_missing_bindings: false,
            special_constants_binding: None,
            zero_initialize_workgroup_memory: false,
            restrict_indexing: true,
            force_loop_bounding: true,
            ..Default::default()
        };
        let pipeline = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".into())) };
        let mut text = String::new();
        let info = hlsl::Writer::new(&mut text, &options, &pipeline)
            .write(&self.module, &self.info, None)
            .unwrap_or_else(|e| panic!("{}: {e}", self.label));
        info.entry_point_names[0].as_ref().unwrap_or_else(|e| panic!("{}: {e}", self.label));
        text
    }

    pub fn glsl(&self, version: glsl::Version) -> String {
        let (mut uniforms, mut storage, mut images) = (0, 0, 0);
        let mut binding_map = glsl::BindingMap::default();
        for (at, bound) in self.bindings() {
            let next = match bound {
                Bound::Uniform => &mut uniforms,
                Bound::Storage { .. } => &mut storage,
                Bound::Image { .. } => &mut images,
            };
            binding_map.insert(at, *next);
            *next += 1;
        }
        let options = glsl::Options {
            version,
            writer_flags: glsl::WriterFlags::ADJUST_COORDINATE_SPACE | glsl::WriterFlags::FORCE_POINT_SIZE,
            binding_map,
            zero_initialize_workgroup_memory: false,
        };
        let pipeline = glsl::PipelineOptions {
            shader_stage: ShaderStage::Compute,
            entry_point: "main".into(),
            multiview: None,
        };
        // Images are checked where there are levels to ask for.
        let image_load = match version {
            glsl::Version::Desktop(430..) => BoundsCheckPolicy::ReadZeroSkipWrite,
            _ => BoundsCheckPolicy::Unchecked,
        };
        let policies = BoundsCheckPolicies {
            index: BoundsCheckPolicy::Unchecked,
            buffer: BoundsCheckPolicy::Unchecked,
            image_load,
            binding_array: BoundsCheckPolicy::Unchecked,
        };
        let mut text = String::new();
        glsl::Writer::new(&mut text, &self.module, &self.info, &options, &pipeline, policies)
            .and_then(|mut writer| writer.write())
            .unwrap_or_else(|e| panic!("{}: {e}", self.label));
        text
    }
}
