//! A bar on stderr for anything that takes more than a second.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bantam::archive::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const PATIENCE: Duration = Duration::from_secs(1);

/// Shown on stderr if that is a terminal; also hands on Ctrl-C.
#[derive(Default)]
pub struct Bar(Mutex<Option<Shown>>);

struct Shown {
    bar: ProgressBar,
    began: Instant,
}

impl Progress for Bar {
    fn begin(&self, total_bytes: u64, what: &str) {
        let bar = ProgressBar::with_draw_target(Some(total_bytes), ProgressDrawTarget::hidden());
        let template = "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_string());
        *self.lock() = Some(Shown { bar, began: Instant::now() });
    }

    fn advance(&self, bytes: u64) {
        if let Some(shown) = &*self.lock() {
            if shown.bar.is_hidden() && shown.began.elapsed() > PATIENCE {
                shown.bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            shown.bar.inc(bytes);
        }
    }

    fn finish(&self) {
        if let Some(shown) = self.lock().take() {
            shown.bar.finish_and_clear();
        }
    }

    fn cancelled(&self) -> bool {
        super::interrupt::interrupted()
    }
}

impl Bar {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Shown>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
