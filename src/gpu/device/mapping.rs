//! Mapping buffers, so that the host can read or write them.

use futures::channel::oneshot;
use futures::future::BoxFuture;

use super::buffer::Buffer;
use super::gpu::Gpu;
use super::poller;
use crate::gpu::GpuError;

/// How often a mapping is requested again if its result is never reported.
const MAP_TRIES: usize = 8;

/// A mapping that was requested.
pub(in crate::gpu) type Mapping = BoxFuture<'static, Result<(), GpuError>>;

impl Gpu {
    /// Requests a mapping now, to be awaited later.
    pub(in crate::gpu) fn start_map(
        &self,
        buffer: &Buffer,
        mode: wgpu::MapMode,
        len: u64,
    ) -> impl Future<Output = Result<(), GpuError>> + use<> {
        let raw = buffer.raw().clone();
        let mut asked = self.ask_for_map(&raw, mode, len);
        let gpu = self.clone();
        async move {
            for _ in 0..MAP_TRIES {
                match asked?.await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(why)) => return Err(gpu.lost_by(why)),
                    // The result was not reported. wgpu 30 loses such reports if a host configures a window's
                    // surface during a submission. The buffer may be mapped; if not, unmapping has no effect.
                    Err(oneshot::Canceled) => {
                        let _ = gpu.checked("unmap", len, || raw.unmap());
                        asked = gpu.ask_for_map(&raw, mode, len).map_err(|error| match error {
                            GpuError::DeviceLost(_) => error,
                            other => gpu.lost_by(other.to_string()),
                        });
                    }
                }
            }
            Err(gpu.lost_by("a mapping never completed".into()))
        }
    }

    /// Requests a mapping and returns the receiver of its result.
    fn ask_for_map(
        &self,
        buffer: &wgpu::Buffer,
        mode: wgpu::MapMode,
        len: u64,
    ) -> Result<oneshot::Receiver<poller::Outcome>, GpuError> {
        let (ticket, outcome) = self.inner.poller.wait();
        self.checked("map", len, || {
            buffer.map_async(mode, 0..len, move |result| {
                ticket.resolve(result.map_err(|error| error.to_string()))
            });
        })?;
        Ok(outcome)
    }
}
