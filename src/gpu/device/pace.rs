//! Not running ahead of the device.

use futures::channel::oneshot;

use super::gpu::Gpu;
use super::poller::Outcome;
use crate::gpu::GpuError;

/// Keeps few submissions waiting for the device: one that it computes, and one that comes next. What others
/// submit in between, such as a host's frame, then waits for no more than these.
#[derive(Debug, Default)]
pub struct Pace {
    begun: bool,
    /// Told when all but the last submission are done.
    before: Option<oneshot::Receiver<Outcome>>,
}

impl Pace {
    /// To be awaited before each submission: until those before the last one are done.
    pub async fn next(&mut self, gpu: &Gpu) -> Result<(), GpuError> {
        // Nothing is asked of the device where there is one submission only.
        if !std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        match self.before.replace(gpu.done()) {
            // Where nobody was told, the wait is of no use, and does no harm.
            Some(before) => before.await.unwrap_or(Ok(())).map_err(|why| gpu.lost_by(why)),
            None => Ok(()),
        }
    }
}
