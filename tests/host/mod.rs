//! A host application's device, made with nothing but wgpu.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::sync::{Arc, Mutex};

/// What reached the host's handler.
pub type Uncaptured = Arc<Mutex<Vec<String>>>;

/// The adapter that tests run on, as the host has it.
pub fn adapter() -> wgpu::Adapter {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let wanted = super::device::gpu().device().adapter_info();
    let is_wanted = |a: &wgpu::Adapter| {
        (a.get_info().name, a.get_info().backend) == (wanted.name.clone(), wanted.backend)
    };
    let adapters = pollster::block_on(instance.enumerate_adapters(wanted.backend.into()));
    adapters.into_iter().find(is_wanted).unwrap()
}

/// A device without any feature, whose uncaptured errors are recorded.
pub fn device() -> (wgpu::Device, wgpu::Queue, Uncaptured) {
    device_with(|_| wgpu::Features::empty(), bantam::gpu::required_limits)
}

/// As [`device`], with the least limits that the library can do with.
pub fn device_with_least_limits() -> (wgpu::Device, wgpu::Queue, Uncaptured) {
    device_with(|_| wgpu::Features::empty(), |_| bantam::gpu::least_limits())
}

/// As [`device`], with what the library has a use for.
pub fn device_with_features() -> (wgpu::Device, wgpu::Queue, Uncaptured) {
    device_with(bantam::gpu::required_features, bantam::gpu::required_limits)
}

/// A device with such features and limits of the adapter's.
pub fn device_with(
    features: impl Fn(&wgpu::Adapter) -> wgpu::Features,
    limits: impl Fn(&wgpu::Adapter) -> wgpu::Limits,
) -> (wgpu::Device, wgpu::Queue, Uncaptured) {
    let adapter = adapter();
    let descriptor = wgpu::DeviceDescriptor {
        required_features: features(&adapter),
        required_limits: limits(&adapter),
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    let uncaptured = Uncaptured::default();
    let theirs = uncaptured.clone();
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        theirs.lock().unwrap().push(error.to_string())
    }));
    (device, queue, uncaptured)
}

/// The host computes something of its own, and gets what it should.
pub fn check_usable(device: &wgpu::Device, queue: &wgpu::Queue) {
    let make = |usage| {
        let descriptor =
            wgpu::BufferDescriptor { label: Some("host"), size: 256, usage, mapped_at_creation: false };
        device.create_buffer(&descriptor)
    };
    let source = make(wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST);
    let target = make(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let bytes: Vec<u8> = (0..=255).collect();
    queue.write_buffer(&source, 0, &bytes);
    let mut encoder = device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(&source, 0, &target, 0, None);
    queue.submit([encoder.finish()]);
    let (done, mapped) = std::sync::mpsc::channel();
    target.map_async(wgpu::MapMode::Read, .., move |result| done.send(result).unwrap());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    mapped.recv().unwrap().unwrap();
    assert_eq!(&target.get_mapped_range(..).unwrap()[..], &bytes[..]);
}
