//! The threads that decode streamed stages.
//!
//! The library has a pool of its own. A host may wait for a token on every thread of rayon's global pool,
//! where decoding would then never run.

use std::sync::{Mutex, OnceLock};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::error::StreamError;

/// The pool, created on first use, with as many threads as there are processors, or as `RAYON_NUM_THREADS`
/// says. All models share it. Between stages, its threads hold no resources of a device.
pub(super) fn decoding() -> Result<&'static ThreadPool, StreamError> {
    static POOL: OnceLock<ThreadPool> = OnceLock::new();
    static MAKING: Mutex<()> = Mutex::new(());
    if let Some(pool) = POOL.get() {
        return Ok(pool);
    }
    let _making = MAKING.lock().unwrap_or_else(|e| e.into_inner());
    if POOL.get().is_none() {
        let made = ThreadPoolBuilder::new().thread_name(|i| format!("bantam-decode-{i}")).build();
        let pool = made.map_err(|error| StreamError::no_thread("decodes weights", error))?;
        return Ok(POOL.get_or_init(|| pool));
    }
    POOL.get().ok_or(StreamError::Stopped)
}
