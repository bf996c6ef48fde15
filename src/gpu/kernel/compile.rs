//! Compiling a kernel.

use naga::{AddressSpace, ImageClass, StorageAccess, StorageFormat, TypeInner};

use super::importer::ShaderError;
use super::variant::Variant;

/// A kernel's parsed WGSL, before a device compiles it.
pub(in crate::gpu) struct Parsed {
    label: String,
    module: naga::Module,
    entries: Vec<wgpu::BindGroupLayoutEntry>,
}

/// A compiled kernel. Its bind group layout is derived from the shader, so that only the WGSL defines the
/// bindings.
#[derive(Debug)]
pub struct Kernel {
    pub(in crate::gpu) label: String,
    pub(in crate::gpu) pipeline: wgpu::ComputePipeline,
    pub(in crate::gpu) layout: wgpu::BindGroupLayout,
    /// Numbers of the bindings that are uniforms.
    pub(in crate::gpu) uniforms: Vec<u32>,
}

impl Parsed {
    /// Assembles and parses the WGSL of `variant`.
    pub fn of(variant: &Variant) -> Result<Self, ShaderError> {
        let label = variant.label();
        let source = variant.source()?;
        let module = naga::front::wgsl::parse_str(&source).map_err(|error| {
            log::error!("{label}: {}", error.emit_to_string(&source));
            ShaderError { file: variant.kernel.into(), line: 0, what: "naga rejects this WGSL; see the log" }
        })?;
        let entries = layout_entries(&module);
        Ok(Self { label, module, entries })
    }

    /// The variant's label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Creates the pipeline. Errors go to the open error scopes of wgpu.
    pub fn compile(self, device: &wgpu::Device, cache: Option<&wgpu::PipelineCache>) -> Kernel {
        let Self { label, module, entries } = self;
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(&label),
            entries: &entries,
        });
        let shader = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(&label),
            source: wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(module)),
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &shader,
            entry_point: Some("main"),
            // Kernels write all workgroup memory before they read it.
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache,
        });
        let uniforms = entries.iter().filter(|entry| is_uniform(entry)).map(|entry| entry.binding).collect();
        Kernel { label, pipeline, layout, uniforms }
    }
}

fn is_uniform(entry: &wgpu::BindGroupLayoutEntry) -> bool {
    matches!(entry.ty, wgpu::BindingType::Buffer { ty: wgpu::BufferBindingType::Uniform, .. })
}

/// The bindings that `module` declares in group 0.
fn layout_entries(module: &naga::Module) -> Vec<wgpu::BindGroupLayoutEntry> {
    let mut entries: Vec<_> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| {
            let binding = variable.binding.as_ref()?.binding;
            let buffer =
                |ty| wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None };
            let ty = match (variable.space, &module.types[variable.ty].inner) {
                (AddressSpace::Storage { access }, _) => {
                    let read_only = !access.contains(StorageAccess::STORE);
                    buffer(wgpu::BufferBindingType::Storage { read_only })
                }
                (_, &TypeInner::Image { class: ImageClass::Storage { format, access }, .. }) => {
                    texture_binding(format, access)
                }
                _ => buffer(wgpu::BufferBindingType::Uniform),
            };
            let visibility = wgpu::ShaderStages::COMPUTE;
            Some(wgpu::BindGroupLayoutEntry { binding, visibility, ty, count: None })
        })
        .collect();
    entries.sort_by_key(|e| e.binding);
    entries
}

/// The binding type of a texture: textures of words differ from textures of vectors.
fn texture_binding(format: StorageFormat, access: StorageAccess) -> wgpu::BindingType {
    wgpu::BindingType::StorageTexture {
        access: match access.contains(StorageAccess::STORE) {
            true => wgpu::StorageTextureAccess::WriteOnly,
            false => wgpu::StorageTextureAccess::ReadOnly,
        },
        format: match format {
            StorageFormat::R32Uint => wgpu::TextureFormat::R32Uint,
            _ => wgpu::TextureFormat::Rgba32Uint,
        },
        view_dimension: wgpu::TextureViewDimension::D2,
    }
}
