//! Submitting work, and waiting until the device has finished it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures::channel::oneshot;

use super::gpu::Gpu;
use super::poller;
use crate::gpu::GpuError;

#[cfg_attr(not(feature = "unstable"), doc(hidden))]
impl Gpu {
    /// Submits one encoder's commands.
    pub fn submit(
        &self,
        label: &str,
        encode: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<(), GpuError> {
        self.checked(label, 0, || {
            let mut encoder = self
                .inner
                .device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(label) });
            encode(&mut encoder);
            self.inner.queue.submit([encoder.finish()]);
            self.inner.submissions.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Number of submissions so far.
    pub fn submissions(&self) -> u64 {
        self.inner.submissions.load(Ordering::Relaxed)
    }

    /// Notifies when the device has finished everything submitted so far. The device is polled until then,
    /// even if the receiver is dropped.
    pub(in crate::gpu) fn done(&self) -> oneshot::Receiver<poller::Outcome> {
        let (ticket, outcome) = self.inner.poller.wait();
        let fence = self.memory.fence();
        self.inner.queue.on_submitted_work_done(move || {
            drop(fence);
            ticket.resolve(Ok(()));
        });
        outcome
    }

    /// Waits until the device has finished everything submitted so far.
    pub(in crate::gpu) async fn idle(&self) -> Result<(), GpuError> {
        self.done().await.unwrap_or(Ok(())).map_err(|why| self.lost_by(why))
    }

    /// Waits until the device has freed dropped buffers, if there is a budget that they may exceed.
    pub(crate) async fn settle(&self) -> Result<(), GpuError> {
        if self.memory.leaving() == 0 || self.memory.left().is_none() {
            return Ok(());
        }
        self.idle().await
    }

    /// The approximate time at which the device finished everything submitted so far; set when it has.
    pub(crate) fn when_done(&self) -> Arc<OnceLock<Instant>> {
        let done = Arc::<OnceLock<Instant>>::default();
        let theirs = done.clone();
        // Nobody waits for it, but polling is needed.
        let (ticket, _) = self.inner.poller.wait();
        self.inner.queue.on_submitted_work_done(move || {
            let _ = theirs.set(Instant::now());
            ticket.resolve(Ok(()));
        });
        done
    }

    /// Frees buffers that were dropped before the device had finished with them: wgpu frees them at the next
    /// poll after that, which might otherwise never happen.
    pub(in crate::gpu) fn sweep(&self) {
        drop(self.done());
    }
}
