//! The window's device, with what bantam wants of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

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
    let shared = match adapter.get_info().device_type {
        wgpu::DeviceType::Cpu | wgpu::DeviceType::IntegratedGpu => wgpu::Features::MAPPABLE_PRIMARY_BUFFERS,
        _ => wgpu::Features::empty(),
    };
    wgpu::DeviceDescriptor {
        label: Some("window and model"),
        required_features: adapter.features() & shared,
        required_limits: adapter.limits(),
        ..Default::default()
    }
}

/// Whether a window's device was lost, and why.
#[derive(Debug)]
pub struct Loss {
    device: wgpu::Device,
    reason: Arc<Mutex<Option<String>>>,
}

impl Loss {
    /// Watches a device. It is this program's own, so it may have handlers: without one, wgpu ends the
    /// program at the first error that nobody catches. bantam catches its own; what comes here is the
    /// window's, and no frame is worth that.
    pub fn watch(device: &wgpu::Device, context: egui::Context) -> Self {
        let reason = Arc::<Mutex<Option<String>>>::default();
        let theirs = Arc::clone(&reason);
        device.set_device_lost_callback(move |_, message| {
            *theirs.lock().unwrap_or_else(|e| e.into_inner()) = Some(message);
            context.request_repaint();
        });
        device.on_uncaptured_error(Arc::new(|error| eprintln!("{error}")));
        Self { device: device.clone(), reason }
    }

    /// Why the device was lost, if it was. Looked up before each frame: egui's painter ends in a panic
    /// where the device is gone.
    pub fn reason(&self) -> Option<String> {
        // The callback runs when somebody polls, and where a driver lost its device that may panic too.
        let polled = catch_unwind(AssertUnwindSafe(|| self.device.poll(wgpu::PollType::Poll)));
        let panicked = polled.is_err().then(|| "it can be used no more".to_string());
        self.reason.lock().unwrap_or_else(|e| e.into_inner()).clone().or(panicked)
    }
}
