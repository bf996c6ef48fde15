//! The window's device, with what bantam wants of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bantam::gpu::required_features;
use eframe::egui;
use eframe::egui_wgpu::{WgpuConfiguration, WgpuSetup, WgpuSetupCreateNew};
use eframe::wgpu;

/// How eframe is to open the device that draws the window and runs the model.
pub fn configuration() -> WgpuConfiguration {
    let setup = WgpuSetupCreateNew {
        device_descriptor: Arc::new(descriptor),
        ..WgpuSetupCreateNew::without_display_handle()
    };
    WgpuConfiguration { wgpu_setup: WgpuSetup::CreateNew(setup), ..WgpuConfiguration::default() }
}

/// All that the adapter allows: with wgpu's default limits large matrices would be in many parts. Where
/// host and device share their memory, streamed layers are read into the buffers that shaders use.
fn descriptor(adapter: &wgpu::Adapter) -> wgpu::DeviceDescriptor<'static> {
    wgpu::DeviceDescriptor {
        label: Some("window and model"),
        required_features: required_features(adapter),
        required_limits: adapter.limits(),
        ..Default::default()
    }
}

/// From a frame that was not painted to the next one.
const RETRY: Duration = Duration::from_millis(50);

/// What becomes of a window's device.
#[derive(Debug)]
pub struct Watch {
    device: wgpu::Device,
    /// Why it was lost.
    loss: Arc<Mutex<Option<String>>>,
    /// Whether a frame could not be painted.
    missed: Arc<AtomicBool>,
}

impl Watch {
    /// Watches a device. It is this program's own, so it may have handlers: without one, wgpu ends the
    /// program at the first error that nobody catches. bantam catches its own; what comes here is the
    /// window's, and no frame is worth that.
    pub fn new(device: &wgpu::Device, context: egui::Context) -> Self {
        let loss = Arc::<Mutex<Option<String>>>::default();
        let missed = Arc::<AtomicBool>::default();
        let (reason, window) = (Arc::clone(&loss), context.clone());
        device.set_device_lost_callback(move |_, message| {
            *reason.lock().unwrap_or_else(|e| e.into_inner()) = Some(message);
            window.request_repaint();
        });
        let again = Arc::clone(&missed);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            log::warn!("cannot paint a frame: {error}");
            again.store(true, Ordering::Relaxed);
            context.request_repaint_after(RETRY);
        }));
        Self { device: device.clone(), loss, missed }
    }

    /// Why the device was lost, if it was. Looked up before each frame: egui's painter ends in a panic
    /// where the device is gone.
    pub fn loss(&self) -> Option<String> {
        // The callback runs when somebody polls, and where a driver lost its device that may panic too.
        let polled = catch_unwind(AssertUnwindSafe(|| self.device.poll(wgpu::PollType::Poll)));
        let panicked = polled.is_err().then(|| "it can no longer be used".to_string());
        self.loss.lock().unwrap_or_else(|e| e.into_inner()).clone().or(panicked)
    }

    /// Paints anew what was not painted. A window that has a new size waits until its device has nothing
    /// to do, and wgpu gives up where another thread gives it something just then, as a model's does: the
    /// window then has the old size, and frames are of the new one. eframe tries again where settings of
    /// the window changed.
    pub fn retry(&self, frame: &mut eframe::Frame) {
        if self.missed.swap(false, Ordering::Relaxed)
            && let Some(mut config) = frame.wgpu_surface_config()
        {
            let frames = config.desired_maximum_frame_latency;
            config.desired_maximum_frame_latency = if frames == Some(2) { Some(1) } else { Some(2) };
            frame.set_wgpu_surface_config(config);
        }
    }
}
