//! The library is a guest on the host application's device: it keeps its mistakes to itself, and
//! survives the device's end.

use std::time::Duration;

use bantam::gpu::{Gpu, GpuError};
use bantam::model::{ModelError, Outputs, Session};
use bantam::stream::StreamError;

use crate::device;
use crate::host;
use crate::models::{all_logits, assert_same_bits, demo, load, prompt};
use crate::patience::patiently;

#[test]
fn a_model_runs_on_the_hosts_device_with_the_same_logits() {
    let tokens = prompt(&demo(), "The little rooster", 20);
    let wanted = all_logits(&load(&device::shared(), &demo(), false), &tokens);
    for (host, queue, uncaptured) in [host::device(), host::device_with_least_limits()] {
        let gpu = Gpu::from_device(host, queue, None);
        assert_same_bits(&wanted, &all_logits(&load(&gpu, &demo(), false), &tokens), "the host's device");
        assert_eq!(gpu.memory().used(), 0);
        assert_eq!(*uncaptured.lock().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn our_errors_do_not_reach_the_hosts_handler() {
    let (host, queue, uncaptured) = host::device();
    let gpu = Gpu::from_device(host.clone(), queue, Some(1 << 20));
    let storage = wgpu::BufferUsages::STORAGE;

    let error = gpu.buffer("too much", 2 << 20, storage).unwrap_err();
    assert!(matches!(error, GpuError::OutOfMemory { budget: Some(_), .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "out of device memory: too much needs 2097152 bytes, 0 are in use of a budget of 1048576"
    );
    // Refused by wgpu: no buffer is both.
    let error = gpu.buffer("odd", 16, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE | storage);
    assert!(matches!(error, Err(GpuError::Validation(_))), "{error:?}");
    let small = gpu.buffer("small", 16, storage).unwrap();
    let error =
        gpu.submit("copy", |encoder| encoder.copy_buffer_to_buffer(small.raw(), 0, small.raw(), 8, 64));
    assert!(matches!(error, Err(GpuError::Validation(_))), "{error:?}");
    let files = bantam::archive::ModelFiles::open(&demo()).unwrap();
    let options = bantam::model::LoadOptions::default();
    let error = pollster::block_on(bantam::model::Model::load(&gpu, &files, &options, &())).unwrap_err();
    assert!(matches!(error, ModelError::Stream(StreamError::BudgetTooSmall { .. })), "{error}");
    drop(small);
    assert_eq!(gpu.memory().used(), 0);
    assert_eq!(*uncaptured.lock().unwrap(), Vec::<String>::new());

    // The host's own error does.
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE;
    let _ = host.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage,
        mapped_at_creation: false,
    });
    assert_eq!(uncaptured.lock().unwrap().len(), 1);
}

/// Destroys the device of `gpu` in the middle of a session: what follows must be errors.
fn check_destroyed(gpu: Gpu) {
    let model = load(&gpu, &demo(), false);
    let mut session = Session::new(&model, 256, Outputs::Last).unwrap();
    let tokens = prompt(&demo(), "The little rooster", 100);
    pollster::block_on(session.forward(&tokens, Outputs::Last)).unwrap();
    gpu.device().destroy();
    for tokens in [&tokens[..1], &tokens] {
        let error = pollster::block_on(session.forward(tokens, Outputs::Last)).unwrap_err();
        assert!(matches!(error, ModelError::Gpu(GpuError::DeviceLost(_))), "{error:?}");
        assert!(error.to_string().ends_with("; open the device again to continue"), "{error}");
    }
    let again = bantam::archive::ModelFiles::open(&demo()).unwrap();
    let options = bantam::model::LoadOptions::default();
    let error = pollster::block_on(bantam::model::Model::load(&gpu, &again, &options, &())).unwrap_err();
    assert!(matches!(error, ModelError::Gpu(GpuError::DeviceLost(_))), "{error:?}");
    let error = Session::new(&model, 256, Outputs::Last).unwrap_err();
    assert!(matches!(error, ModelError::Gpu(GpuError::DeviceLost(_))), "{error:?}");
    drop((session, model));
    assert_eq!(gpu.memory().used(), 0);
}

#[test]
fn a_destroyed_device_of_our_own_is_an_error() {
    patiently(|| check_destroyed(device::gpu()));
}

#[test]
fn a_destroyed_device_of_the_host_is_an_error_to_us_alone() {
    let (host, queue, uncaptured) = host::device();
    patiently(|| check_destroyed(Gpu::from_device(host, queue, None)));
    assert_eq!(*uncaptured.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn a_device_that_is_destroyed_while_it_computes_is_an_error() {
    patiently(|| {
        let gpu = device::gpu();
        let mut session = Session::new(&load(&gpu, &demo(), false), 256, Outputs::Last).unwrap();
        let tokens = prompt(&demo(), "The little rooster", 200);
        let destroyer = {
            let device = gpu.device().clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(30));
                device.destroy();
            })
        };
        let error = loop {
            session.rewind(0);
            if let Err(error) = pollster::block_on(session.forward(&tokens, Outputs::Last)) {
                break error;
            }
        };
        destroyer.join().unwrap();
        assert!(matches!(error, ModelError::Gpu(GpuError::DeviceLost(_))), "{error:?}");
    });
}

/// Drivers crash when a device is given back while the process is already ending. It was seen once
/// in ten times, when a thread of ours did so.
#[cfg(feature = "cli")]
#[test]
fn a_process_that_ends_right_after_its_device_ends_well() {
    for _ in 0..10 {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bantam"));
        command.env("BANTAM_CACHE", "").arg("run").arg(demo()).args([
            "-p",
            "The little rooster",
            "-n",
            "4",
            "--json",
        ]);
        if let Ok(device) = std::env::var("BANTAM_DEVICE") {
            command.args(["--device", &device]);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn what_was_dropped_counts_until_the_device_is_done_with_it() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    const SIZE: u64 = 48 << 20;
    patiently(|| {
        let (host, queue, uncaptured) = host::device();
        let gpu = Gpu::from_device(host, queue.clone(), Some(3 * SIZE));
        let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = || gpu.buffer("large", SIZE, usage).unwrap();
        let (from, to) = (buffer(), buffer());
        for _ in 0..8 {
            gpu.submit("copy", |encoder| {
                encoder.copy_buffer_to_buffer(from.raw(), 0, to.raw(), 0, SIZE);
            })
            .unwrap();
        }
        let done = Arc::new(AtomicBool::new(false));
        let theirs = done.clone();
        queue.on_submitted_work_done(move || theirs.store(true, Ordering::SeqCst));
        drop((from, to));
        assert_eq!((gpu.memory().used(), gpu.memory().leaving()), (0, 2 * SIZE));
        // One fits beside them, and two do not.
        let first = buffer();
        assert_eq!(gpu.memory().leaving(), 2 * SIZE, "nobody waited");
        let second = buffer();
        assert!(done.load(Ordering::SeqCst), "the device had more than the budget");
        assert_eq!((gpu.memory().used(), gpu.memory().leaving()), (2 * SIZE, 0));
        drop((first, second));
        assert_eq!(*uncaptured.lock().unwrap(), Vec::<String>::new());
    });
}
