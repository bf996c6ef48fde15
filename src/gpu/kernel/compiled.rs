//! Compiled objects, each made only once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// Objects by key. Callers that need the same key wait for each other; others do not wait.
#[derive(Debug)]
pub(in crate::gpu) struct Compiled<K, V> {
    cells: Mutex<HashMap<K, Arc<Cell<V>>>>,
    made: AtomicUsize,
    nanos: AtomicU64,
}

#[derive(Debug)]
struct Cell<V> {
    making: Mutex<()>,
    made: OnceLock<Arc<V>>,
}

impl<K, V> Default for Compiled<K, V> {
    fn default() -> Self {
        Self { cells: Mutex::default(), made: AtomicUsize::new(0), nanos: AtomicU64::new(0) }
    }
}

impl<K: Clone + Eq + Hash, V> Compiled<K, V> {
    /// The object for `key`, which is made if necessary. If that fails, the next caller tries again.
    pub fn get<E>(&self, key: K, make: impl FnOnce(&K) -> Result<V, E>) -> Result<Arc<V>, E> {
        let cell = lock(&self.cells).entry(key.clone()).or_insert_with(Cell::empty).clone();
        if let Some(made) = cell.made.get() {
            return Ok(made.clone());
        }
        let _making = lock(&cell.making);
        if let Some(made) = cell.made.get() {
            return Ok(made.clone());
        }
        let start = Instant::now();
        let made = make(&key);
        self.add_time(start.elapsed());
        let made = Arc::new(made?);
        // The lock prevents other writers.
        let _ = cell.made.set(made.clone());
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(made)
    }

    /// Number of objects made so far.
    pub fn len(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// Adds time that was spent elsewhere on these objects.
    pub fn add_time(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Total time spent.
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

impl<V> Cell<V> {
    fn empty() -> Arc<Self> {
        Arc::new(Self { making: Mutex::new(()), made: OnceLock::new() })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn nobody_waits_for_what_others_compile() {
        let compiled = Arc::new(Compiled::<&str, u32>::default());
        compiled.get("there", |_| Ok::<_, ()>(1)).unwrap();
        let (begun, is_begun) = mpsc::channel();
        let (go_on, is_to_go_on) = mpsc::channel();
        let theirs = compiled.clone();
        let slow = std::thread::spawn(move || {
            theirs.get("slow", |_| {
                begun.send(()).unwrap();
                // Waits until the others have their objects, forever if they wait for this one.
                is_to_go_on.recv_timeout(Duration::from_secs(60)).map_err(|_| "the others wait")?;
                Ok::<_, &str>(2)
            })
        });
        is_begun.recv().unwrap();
        let theirs = compiled.clone();
        std::thread::spawn(move || {
            assert_eq!(*theirs.get("there", |_| Err(())).unwrap(), 1);
            assert_eq!(*theirs.get("other", |_| Ok::<_, ()>(3)).unwrap(), 3);
            go_on.send(()).unwrap();
        });
        assert_eq!(slow.join().unwrap().map(|made| *made), Ok(2));
        assert_eq!(compiled.len(), 3);
    }

    #[test]
    fn each_is_made_once_and_what_failed_is_tried_again() {
        let compiled = Compiled::<u8, u8>::default();
        assert_eq!(compiled.get(1, |_| Err("no")), Err("no"));
        assert_eq!(compiled.len(), 0);
        assert_eq!(compiled.get(1, |&key| Ok::<_, ()>(key + 1)).map(|made| *made), Ok(2));
        assert_eq!(compiled.get(1, |_| Err(())).map(|made| *made), Ok(2));
        assert!(compiled.len() == 1 && compiled.time() > Duration::ZERO);
    }
}
