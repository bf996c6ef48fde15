//! `--jobs`: how many threads a command uses.

use super::{Result, waiting};

#[derive(clap::Args)]
pub struct Jobs {
    /// Threads to use; by default one for each core
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub jobs: usize,
}

impl Jobs {
    /// Runs `work` on that many threads. A signal ends it soon, whatever it waits for.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.jobs).build()?;
        Ok(waiting::at_most(waiting::PATIENCE, || pool.install(work)))
    }
}
