//! Limiting how far submissions run ahead of the device.

use futures::channel::oneshot;

use super::gpu::Gpu;
use super::poller::Outcome;
use crate::gpu::GpuError;

/// Keeps few submissions in the device's queue: the running one and the next. Work that others submit in
/// between, such as a host's frame, waits for these at most.
#[derive(Debug, Default)]
pub struct Pace {
    begun: bool,
    /// Receives the end of all submissions but the last.
    before: Option<oneshot::Receiver<Outcome>>,
}

impl Pace {
    /// Await this before each submission: it waits until all submissions before the last are done.
    pub async fn next(&mut self, gpu: &Gpu) -> Result<(), GpuError> {
        // A single submission needs no request to the device.
        if !std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        match self.before.replace(gpu.done()) {
            // If the result was lost, waiting is pointless but harmless.
            Some(before) => before.await.unwrap_or(Ok(())).map_err(|why| gpu.lost_by(why)),
            None => Ok(()),
        }
    }
}
