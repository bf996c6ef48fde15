//! A Vulkan device that compiles and computes nothing, as RADV has one. wgpu cannot open it, since it lacks timeline
//! semaphores; so this is Vulkan itself.

use std::collections::BTreeMap;
use std::ffi::CStr;

use ash::khr::pipeline_executable_properties as executables;
use ash::prelude::VkResult;
use ash::vk;
use naga::ResourceBinding;

use super::translation::Bound;

pub struct NullDevice {
    _entry: ash::Entry,
    instance: ash::Instance,
    device: ash::Device,
    executables: executables::Device,
    name: String,
}

/// What the compiler made of a kernel.
pub struct Compiled {
    pub assembly: String,
    /// Memory of an invocation that its registers have no room for.
    pub scratch_bytes: u64,
}

impl NullDevice {
    /// The first device of the first driver.
    pub fn open() -> Result<Self, Box<dyn std::error::Error>> {
        // SAFETY: the loader is the system's, every pointer outlives its call, and the first queue family exists on
        // every device.
        unsafe {
            let entry = ash::Entry::load()?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let create = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&create, None)?;
            let physical = *instance.enumerate_physical_devices()?.first().ok_or("no device")?;
            let properties = instance.get_physical_device_properties(physical);
            let name = properties.device_name_as_c_str()?.to_string_lossy().into_owned();
            let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
            let extensions = [executables::NAME.as_ptr()];
            let mut vulkan_12 = vk::PhysicalDeviceVulkan12Features::default();
            let mut vulkan_13 = vk::PhysicalDeviceVulkan13Features::default();
            let mut says = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
            let mut features = vk::PhysicalDeviceFeatures2::default()
                .push_next(&mut vulkan_12)
                .push_next(&mut vulkan_13)
                .push_next(&mut says);
            instance.get_physical_device_features2(physical, &mut features);
            let create = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&extensions)
                .push_next(&mut features);
            let device = instance.create_device(physical, &create, None)?;
            let executables = executables::Device::new(&instance, &device);
            Ok(Self { _entry: entry, instance, device, executables, name })
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Compiles a kernel whose bindings are numbered from 0 on; panics where the driver refuses.
    pub fn compile(&self, spirv: &[u32], bindings: &BTreeMap<ResourceBinding, Bound>) -> Compiled {
        let binding = |(i, bound): (u32, &Bound)| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(i)
                .descriptor_count(1)
                .descriptor_type(match bound {
                    Bound::Uniform => vk::DescriptorType::UNIFORM_BUFFER,
                    Bound::Storage { .. } => vk::DescriptorType::STORAGE_BUFFER,
                    Bound::Image { .. } => vk::DescriptorType::STORAGE_IMAGE,
                })
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let bindings: Vec<_> = (0..).zip(bindings.values()).map(binding).collect();
        let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        let code = vk::ShaderModuleCreateInfo::default().code(spirv);
        let device = &self.device;
        // SAFETY: all handles are this device's, and are destroyed once, after their last use.
        unsafe {
            let sets = [device.create_descriptor_set_layout(&set, None).unwrap()];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = device.create_pipeline_layout(&layout, None).unwrap();
            let module = device.create_shader_module(&code, None).unwrap();
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            let says = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let create = [vk::ComputePipelineCreateInfo::default().flags(says).stage(stage).layout(layout)];
            let pipelines =
                device.create_compute_pipelines(vk::PipelineCache::null(), &create, None).unwrap();
            let compiled = self.read(pipelines[0]).unwrap();
            pipelines.into_iter().for_each(|pipeline| device.destroy_pipeline(pipeline, None));
            device.destroy_shader_module(module, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(sets[0], None);
            compiled
        }
    }

    /// # Safety
    ///
    /// `pipeline` is this device's, of one executable, and was made so as to say what it is.
    unsafe fn read(&self, pipeline: vk::Pipeline) -> VkResult<Compiled> {
        let of = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        // SAFETY: as the caller says; what is written to has the room that was asked for.
        unsafe {
            let statistics = self.executables.get_pipeline_executable_statistics(&of)?;
            let scratch = statistics.iter().find(|s| named(&s.name, "Scratch size"));
            let mut texts = self.executables.get_pipeline_executable_internal_representations(&of)?;
            let mut bytes: Vec<Vec<u8>> = texts.iter().map(|text| vec![0; text.data_size]).collect();
            for (text, bytes) in texts.iter_mut().zip(&mut bytes) {
                text.p_data = bytes.as_mut_ptr().cast();
            }
            let mut count = texts.len() as u32;
            (self.executables.fp().get_pipeline_executable_internal_representations_khr)(
                self.device.handle(),
                &of,
                &mut count,
                texts.as_mut_ptr(),
            )
            .result()?;
            let assembly = texts.iter().zip(&bytes).find(|(text, _)| named(&text.name, "Assembly"));
            let assembly = assembly.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
            Ok(Compiled {
                assembly: assembly.unwrap_or_default(),
                scratch_bytes: scratch.map_or(0, |s| s.value.u64),
            })
        }
    }
}

/// Whether a name of Vulkan's is this one.
fn named(name: &[std::ffi::c_char; vk::MAX_DESCRIPTION_SIZE], wanted: &str) -> bool {
    // SAFETY: a character has the size and the alignment of a byte.
    let bytes = unsafe { std::slice::from_raw_parts(name.as_ptr().cast::<u8>(), name.len()) };
    CStr::from_bytes_until_nul(bytes).is_ok_and(|name| name.to_bytes() == wanted.as_bytes())
}

impl Drop for NullDevice {
    fn drop(&mut self) {
        // SAFETY: nothing made with them is left.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}
