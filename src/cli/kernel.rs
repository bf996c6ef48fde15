//! `--kernel`: which variants of the kernels a command computes with.

use std::path::Path;

use bantam::bench::Calibration;
use bantam::gpu::{Gpu, GpuOptions, Invocations, KernelChoices};
use pollster::block_on;

use super::device::DeviceArgs;
use super::progress::Bar;
use super::{Result, cache, interrupt, print};

#[derive(clap::Args)]
pub struct KernelArgs {
    /// Kernels to use: auto (the fastest on this device, see `bantam calibrate`), default, or invocations=N
    /// for N shader invocations per 64 rows of a matrix: 8, 16, 32, 64, 128 or 256
    #[arg(long, value_name = "CHOICE", default_value = "auto", value_parser = parse)]
    kernel: Kernel,
}

/// `--kernel`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Auto,
    Default,
    Invocations(Invocations),
}

fn parse(text: &str) -> std::result::Result<Kernel, String> {
    match (text, text.strip_prefix("invocations=")) {
        ("auto", _) => Ok(Kernel::Auto),
        ("default", _) => Ok(Kernel::Default),
        (_, Some(count)) => {
            let count: u32 = count.parse().map_err(|_| format!("{count:?} is not a number"))?;
            Invocations::try_from(count).map(Kernel::Invocations).map_err(|error| error.to_string())
        }
        _ => Err("use auto, default or invocations=N".into()),
    }
}

impl KernelArgs {
    /// The device with the requested kernels. With `auto`, a GPU without stored timings is timed now; a CPU
    /// is not, because compiling all candidates would take long.
    pub fn choose(&self, gpu: Gpu, device: &DeviceArgs) -> Result<Gpu> {
        match self.kernel {
            Kernel::Default => Ok(gpu),
            Kernel::Invocations(all) => {
                // Nobody could stop the driver while it compiles.
                if !gpu.target().compiles(all) {
                    return Err(TooManyRows { device: gpu.name(), invocations: all }.into());
                }
                let KernelChoices { joins, joins_tiles, widen_from, textures, .. } = *gpu.choices();
                Ok(gpu.with_choices(KernelChoices {
                    joins,
                    joins_tiles,
                    widen_from,
                    textures,
                    ..KernelChoices::with_invocations(all)
                }))
            }
            Kernel::Auto => {
                let Some(folder) = cache::folder() else { return Ok(gpu) };
                let choices = match KernelChoices::load(&gpu, &folder) {
                    Some(choices) => Some(choices),
                    None if gpu.is_cpu() => None,
                    None => first_time(&gpu, device, &folder)?,
                };
                Ok(choices.map_or_else(|| gpu.clone(), |choices| gpu.with_choices(choices)))
            }
        }
    }
}

/// A kernel that a driver might never finish compiling.
#[derive(Debug, thiserror::Error)]
#[error(
    "invocations={invocations}: the shader compiler of {device} may need hours and all memory to compile kernels with \
     several rows an invocation. Use 64, 128 or 256; if you know that this driver can compile them, add \
     --as llvmpipe"
)]
struct TooManyRows {
    device: String,
    invocations: Invocations,
}

/// Times a device for the first time. If timing or storing the choice fails, the command goes on; if the user
/// presses Ctrl-C, it does not.
fn first_time(gpu: &Gpu, device: &DeviceArgs, folder: &Path) -> Result<Option<KernelChoices>> {
    if let Err(error) = std::fs::create_dir_all(folder) {
        log::debug!(
            "kernels are not timed, because the choice cannot be stored: {}: {error}",
            folder.display()
        );
        return Ok(None);
    }
    print::remark(format_args!("Timing kernels on {}, once", gpu.name()));
    let choices = match calibrate(device) {
        Ok((_, calibration)) => calibration.choices,
        Err(_) if interrupt::interrupted() => return Err(interrupt::Interrupted.into()),
        Err(error) => {
            log::warn!("kernels cannot be timed, so the default ones are used: {error}");
            return Ok(None);
        }
    };
    if let Err(error) = choices.store(gpu, folder) {
        log::warn!("the choice of kernels cannot be stored: {}: {error}", folder.display());
    }
    Ok(Some(choices))
}

/// Opens a device of its own and times it: with timestamps, and with nothing else in its memory.
pub fn calibrate(device: &DeviceArgs) -> Result<(Gpu, Calibration)> {
    let options = GpuOptions { timestamps: true, ..device.options() };
    let gpu = block_on(Gpu::open(&options))?;
    let calibration = block_on(Calibration::run(&gpu, &Bar::default()))?;
    Ok((gpu, calibration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_parsed_or_refused_with_a_reason() {
        assert_eq!(parse("auto"), Ok(Kernel::Auto));
        assert_eq!(parse("default"), Ok(Kernel::Default));
        assert_eq!(parse("invocations=16"), Ok(Kernel::Invocations(Invocations::FOUR_ROWS_EACH)));
        for (text, why) in [
            ("invocations=3", "64 rows can have 8, 16, 32, 64, 128 or 256 invocations, not 3"),
            ("invocations=", "\"\" is not a number"),
            ("invocations=-1", "\"-1\" is not a number"),
            ("fast", "use auto, default or invocations=N"),
        ] {
            assert_eq!(parse(text), Err(why.into()));
        }
    }
}
