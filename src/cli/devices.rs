//! `bantam devices`

use std::process::ExitCode;

use bantam::gpu;
use serde_json::{Value, json};

use super::sizes::megabytes;
use super::{Result, print};

#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let adapters = pollster::block_on(gpu::adapters());
    if args.json {
        let devices: Vec<Value> = adapters.iter().enumerate().map(|(i, a)| adapter_json(i, a)).collect();
        print::line(json!({ "devices": devices }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if adapters.is_empty() {
        return Err(gpu::GpuError::NoAdapter.into());
    }
    for (i, adapter) in adapters.iter().enumerate() {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        print::line(format_args!(
            "{i}  {}  {:?}, {} {}",
            gpu::name_of(&info),
            info.device_type,
            info.driver,
            info.driver_info
        ))?;
        print::line(format_args!(
            "   binding {}, buffer {}, workgroup memory {}, {} invocations, {} storage buffers a stage",
            megabytes(limits.max_storage_buffer_binding_size),
            megabytes(limits.max_buffer_size),
            megabytes(limits.max_compute_workgroup_storage_size.into()),
            limits.max_compute_invocations_per_workgroup,
            limits.max_storage_buffers_per_shader_stage,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn adapter_json(index: usize, adapter: &wgpu::Adapter) -> Value {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    json!({
        "index": index,
        "name": info.name,
        "backend": format!("{:?}", info.backend),
        "type": format!("{:?}", info.device_type),
        "driver": info.driver,
        "driver_info": info.driver_info,
        "max_storage_buffer_binding_size": limits.max_storage_buffer_binding_size,
        "max_buffer_size": limits.max_buffer_size,
        "max_compute_workgroup_storage_size": limits.max_compute_workgroup_storage_size,
        "max_compute_invocations_per_workgroup": limits.max_compute_invocations_per_workgroup,
        "max_storage_buffers_per_shader_stage": limits.max_storage_buffers_per_shader_stage,
    })
}
