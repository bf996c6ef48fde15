//! A progress bar on stderr for operations that take more than a second.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bantam::archive::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const PATIENCE: Duration = Duration::from_secs(1);

/// Shown on stderr if that is a terminal. Also reports Ctrl-C to the operation.
#[derive(Default)]
pub struct Bar(Mutex<Option<Shown>>);

struct Shown {
    bar: ProgressBar,
    began: Instant,
}

impl Progress for Bar {
    fn begin(&self, total_bytes: u64, what: &str) {
        self.show(total_bytes, what, "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left");
    }

    fn begin_count(&self, total: u64, what: &str) {
        self.show(total, what, "{msg} {wide_bar} {pos}/{len}, {per_sec}, {eta} left");
    }

    fn advance(&self, more: u64) {
        if let Some(shown) = &*self.lock() {
            if shown.bar.is_hidden() && !super::print::is_quiet() && shown.began.elapsed() > PATIENCE {
                shown.bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            shown.bar.inc(more);
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
    fn show(&self, total: u64, what: &str, template: &str) {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_string());
        *self.lock() = Some(Shown { bar, began: Instant::now() });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Shown>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
