//! Mapping buffers, so that the host can read or write them.

use futures::channel::oneshot;
use futures::future::BoxFuture;

use super::buffer::Buffer;
use super::gpu::Gpu;
use super::poller;
use crate::gpu::GpuError;

/// How often a mapping is asked for, where nobody is told of its outcome.
const MAP_TRIES: usize = 8;

/// A mapping that was asked for.
pub(in crate::gpu) type Mapping = BoxFuture<'static, Result<(), GpuError>>;

impl Gpu {
    /// Asks for a mapping now, to be awaited later.
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
                    // Nobody was told. wgpu 30 loses what it has to tell where a host configures a window's
                    // surface while we submit. The buffer may be mapped; if not, this does nothing.
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

    /// Asks for a mapping, and gives what tells of its outcome.
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
