//! Rows of the embedding, if it is not on the device.

use std::sync::mpsc;

use futures::channel::oneshot;
use futures::lock::Mutex;

use super::error::StreamError;
use super::panics::caught;
use crate::archive::TensorReader;
use crate::codec::Precision;
use crate::gpu::{Buffer, Gpu, Uploader};

/// What the thread does, for messages.
const DOES: &str = "reads rows of the embedding";

type Rows = Result<Vec<f32>, StreamError>;

/// Tokens whose rows are needed.
struct Job {
    tokens: Vec<u32>,
    done: oneshot::Sender<Rows>,
}

/// Decodes rows of a matrix from its file and writes them to the device as F32, with the same values that the
/// device would read. A token needs a single row, so a matrix that is only looked up takes no device memory
/// except a staging buffer.
///
/// A separate thread reads, so that nothing else waits for a file.
pub struct TokenRows {
    jobs: mpsc::Sender<Job>,
    uploader: Mutex<Uploader>,
}

impl std::fmt::Debug for TokenRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRows").finish_non_exhaustive()
    }
}

impl TokenRows {
    /// For a matrix of BF16, F16 or F32, read in `precision`. On the device, consecutive rows are `stride`
    /// elements apart.
    pub fn new(
        gpu: &Gpu,
        matrix: TensorReader,
        precision: Precision,
        stride: usize,
    ) -> Result<Self, StreamError> {
        let uploader = Mutex::new(Uploader::within(gpu, Uploader::LEAST)?);
        let (jobs, theirs) = mpsc::channel::<Job>();
        let reader = RowReader { matrix, precision, stride };
        // The thread ends with the last sender. It holds no resources of the device.
        std::thread::Builder::new()
            .name("bantam-rows".into())
            .spawn(move || {
                for Job { tokens, done } in theirs {
                    let rows = caught(|| reader.read(&tokens));
                    let _ = done.send(
                        rows.unwrap_or_else(|message| Err(StreamError::Panicked { does: DOES, message })),
                    );
                }
            })
            .map_err(|error| StreamError::no_thread(DOES, error))?;
        Ok(Self { jobs, uploader })
    }

    /// Writes the rows of `tokens` to the start of `to`, before anything that is submitted later. All tokens
    /// must be rows of the matrix.
    pub async fn bring(&self, tokens: &[u32], to: &Buffer) -> Result<(), StreamError> {
        let (done, rows) = oneshot::channel();
        self.jobs.send(Job { tokens: tokens.into(), done }).map_err(|_| StreamError::Stopped)?;
        let rows = rows.await.unwrap_or(Err(StreamError::Stopped))?;
        self.uploader.lock().await.write(to, 0, bytemuck::cast_slice(&rows)).await?;
        Ok(())
    }
}

struct RowReader {
    matrix: TensorReader,
    precision: Precision,
    stride: usize,
}

impl RowReader {
    fn read(&self, tokens: &[u32]) -> Rows {
        let mut rows = vec![0.0; tokens.len() * self.stride];
        for (row, &token) in rows.chunks_exact_mut(self.stride.max(1)).zip(tokens) {
            let token = token as usize;
            let bytes = self.matrix.read_matrix_rows(token..token + 1)?;
            let values = self.matrix.values(&bytes, self.precision);
            row.iter_mut().zip(values).for_each(|(to, value)| *to = value);
        }
        // Checked after reading: data that was read before a change is still correct.
        self.matrix.require_unchanged()?;
        Ok(rows)
    }
}
