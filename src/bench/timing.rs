//! Combines several runs into one figure.

use std::time::{Duration, Instant};

use serde::Serialize;

/// The times of several runs, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Timing {
    /// The median.
    pub seconds: f64,
    /// The fastest.
    pub fastest: f64,
    /// The slowest.
    pub slowest: f64,
    /// The number of runs.
    pub runs: usize,
}

impl Timing {
    /// Combines `samples`, which must not be empty.
    pub(super) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let (middle, runs) = (samples.len() / 2, samples.len());
        let at = |i: usize| samples.get(i).copied().unwrap_or(0.0);
        let seconds = if runs.is_multiple_of(2) {
            (at(middle.saturating_sub(1)) + at(middle)) / 2.0
        } else {
            at(middle)
        };
        Self { seconds, fastest: at(0), slowest: at(runs.saturating_sub(1)), runs }
    }

    /// `amount` per second of the median.
    pub fn rate(&self, amount: f64) -> f64 {
        amount / self.seconds.max(1e-12)
    }
}

/// Decides whether another run is worth its time.
pub(super) struct Patience {
    began: Instant,
    lasts: Duration,
    runs: usize,
}

impl Patience {
    /// Allows at most `runs` runs, none of which starts after `lasts`, but always one.
    pub fn new(runs: usize, lasts: Duration) -> Self {
        Self { began: Instant::now(), lasts, runs }
    }

    /// Whether to run again after `done` runs.
    pub fn another(&self, done: usize) -> bool {
        done == 0 || (done < self.runs && !self.is_over())
    }

    /// Whether the time is up.
    pub fn is_over(&self) -> bool {
        self.began.elapsed() >= self.lasts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_there_are() {
        let timing = Timing::of(vec![3.0, 1.0, 9.0]);
        assert_eq!(timing, Timing { seconds: 3.0, fastest: 1.0, slowest: 9.0, runs: 3 });
        assert_eq!(Timing::of(vec![4.0, 1.0, 2.0, 9.0]).seconds, 3.0);
        assert_eq!(Timing::of(vec![0.5]).rate(2.0), 4.0);
    }

    #[test]
    fn there_is_always_one_run() {
        let none = Patience::new(9, Duration::ZERO);
        assert!(none.another(0) && !none.another(1));
        let three = Patience::new(3, Duration::MAX);
        assert!(three.another(2) && !three.another(3));
    }
}
