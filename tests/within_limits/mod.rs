//! What a device is offered, compiled and run once by its driver: each variant in a process of its own, which ends where
//! the driver takes too much memory or time. `scripts/compile_everywhere` does so for every driver that is installed.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bantam::gpu::weights::Words;
use bantam::gpu::{Batch, Bound, Gpu, Texel, Variant, Workgroups, kernels};
use naga::{ImageClass, StorageFormat, TypeInner};

use super::device;
use super::translation::{self, Kernel};

/// Seconds of processor time that a process has in all, as `ulimit -t` counts them.
const SECONDS: u64 = 20;

/// KiB of address space that a process has beyond what one took that compiled the simplest kernel.
const MORE_KIB: u64 = 1 << 20;

/// Which variant a process is to compile.
const VARIANT: &str = "BANTAM_COMPILE_VARIANT";

/// What is said of a process that did, in one line.
const TOOK: &str = "took";

/// Ticks of a second in what Linux says of a process.
const TICKS: f64 = 100.0;

/// Whether this process is one of those that compile a variant. Then it has.
pub fn compiled_one() -> bool {
    let Ok(index) = std::env::var(VARIANT) else { return false };
    let gpu = device::gpu();
    let variant = &kernels::offered(gpu.target())[index.parse::<usize>().unwrap()];
    let (seconds, resident) = (cpu_seconds(), status("VmRSS"));
    compile_and_run(&gpu, variant);
    let seconds = cpu_seconds() - seconds;
    let megabytes = (status("VmHWM") - resident) / 1024;
    // What runs tests has begun a line.
    println!("\n{TOOK} {seconds:.2} {megabytes} {}", status("VmPeak"));
    true
}

/// Compiles what has `part` in its label, as many at a time as there are processors, each by the test called `test`; gives
/// the labels of what did not end within the limits.
pub fn compile_all(test: &str, part: &str) -> Vec<String> {
    let gpu = device::gpu();
    let variants: Vec<(usize, String)> = kernels::offered(gpu.target())
        .iter()
        .map(Variant::label)
        .enumerate()
        .filter(|(_, label)| label.contains(part))
        .collect();
    println!("{} as {}: {} variants", gpu.name(), gpu.target(), variants.len());
    drop(gpu);
    let [.., base] = compile_one(test, 0, None).expect("the simplest kernel is compiled without limits");
    println!("seconds    MB  variant");
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((index, label)) = variants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let line = match compile_one(test, *index, Some(base as u64 + MORE_KIB)) {
                Ok([seconds, megabytes, _]) => format!("{seconds:7.2} {megabytes:5}  {label}\n"),
                Err(said) => {
                    failed.lock().unwrap().push(label.clone());
                    format!(" beyond limits  {label}\n{said}\n")
                }
            };
            // In one piece, since others print too.
            std::io::stdout().write_all(line.as_bytes()).unwrap();
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    failed.into_inner().unwrap()
}

/// Seconds, MB of memory, and KiB of address space that a process took in all.
fn compile_one(test: &str, index: usize, most_kib: Option<u64>) -> Result<[f64; 3], String> {
    let limits = most_kib.map_or(String::new(), |kib| format!("ulimit -v {kib}; ulimit -t {SECONDS}; "));
    let output = Command::new("sh")
        .args(["-c", &format!("{limits}exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(VARIANT, index.to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let took = said.lines().find_map(|line| line.strip_prefix(TOOK)).filter(|_| output.status.success());
    let numbers = took.map(|took| took.split_whitespace().map(|n| n.parse().unwrap()).collect::<Vec<f64>>());
    numbers.and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| format!("{}\n{said}", output.status))
}

/// Compiles as `Gpu` does, and dispatches one workgroup: some drivers compile no sooner. Nothing but ones is bound, so
/// that there is one of everything.
fn compile_and_run(gpu: &Gpu, variant: &Variant) {
    let Kernel { module, .. } = Kernel::of(variant);
    let ones = |bytes: u32| vec![1u32; bytes.div_ceil(4).max(16) as usize];
    let (mut params, mut buffers, mut images) = (Vec::new(), Vec::new(), Vec::new());
    for (_, variable) in module.global_variables.iter() {
        let Some(at) = &variable.binding else { continue };
        let inner = &module.types[variable.ty].inner;
        // Of an array without an end, one element.
        let bytes = inner.size(module.to_ctx());
        let buffer =
            |bytes, usage| gpu.buffer_with("ones", bytemuck::cast_slice(&ones(bytes)), usage).unwrap();
        match translation::bound(&module, variable) {
            translation::Bound::Uniform if at.binding == 1 => params = ones(bytes),
            translation::Bound::Uniform => {
                buffers.push((at.binding, buffer(bytes, wgpu::BufferUsages::UNIFORM)));
            }
            translation::Bound::Storage { .. } => {
                buffers.push((at.binding, buffer(bytes.max(64 << 10), wgpu::BufferUsages::STORAGE)));
            }
            translation::Bound::Image { .. } => {
                let is_words = matches!(
                    inner,
                    TypeInner::Image {
                        class: ImageClass::Storage { format: StorageFormat::R32Uint, .. },
                        ..
                    }
                );
                let texel = if is_words { Texel::Word } else { Texel::Vector };
                images.push((at.binding, Words::new(gpu, "image", 64 << 10, texel).unwrap()));
            }
        }
    }
    let mut bound: Vec<(u32, Bound<'_>)> = buffers.iter().map(|(at, buffer)| (*at, buffer.into())).collect();
    bound.extend(images.iter().map(|(at, words)| (*at, Bound::from(words))));
    let kernel = gpu.kernel(variant.clone()).unwrap();
    let dispatch = kernel.bind_each(gpu, &params, &bound, [Workgroups::Fixed(1); 2]).unwrap();
    gpu.submit("once", |encoder| {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        dispatch.record(&mut pass, Batch { tokens: 1, outputs: 1 });
    })
    .unwrap();
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
}

/// Processor time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name, in brackets, may have spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS
}

/// KiB that Linux says of this process.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
