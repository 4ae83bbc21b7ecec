//! Work outside of the interpreter's lock, on threads of our own, that Ctrl-C ends.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a signal waits at most.
const PATIENCE: Duration = Duration::from_millis(50);

/// Pools by process and number of threads: a forked process has none of its parent's threads.
type Pools = HashMap<(u32, usize), Arc<ThreadPool>>;
static POOLS: Mutex<Option<Pools>> = Mutex::new(None);

/// A pool of so many threads; 0 for one on every core, or as `RAYON_NUM_THREADS` says.
fn pool(threads: usize) -> PyResult<Arc<ThreadPool>> {
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let pools = pools.get_or_insert_default();
    if let Some(pool) = pools.get(&(std::process::id(), threads)) {
        return Ok(pool.clone());
    }
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = Arc::new(pool.map_err(|e| PyRuntimeError::new_err(format!("threads can't be started: {e}")))?);
    pools.insert((std::process::id(), threads), pool.clone());
    Ok(pool)
}

/// Does short work on a pool, without the lock.
///
/// # Errors
/// Threads that can't be started.
pub fn run<T: Send>(py: Python, threads: usize, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    let pool = pool(threads)?;
    Ok(py.detach(|| pool.install(work)))
}

/// What became of work that could be interrupted.
pub struct Done<T> {
    /// What it gave.
    pub value: T,
    /// What ended it early: the error of a signal handler, `KeyboardInterrupt` as a rule, or of `see`.
    pub stopped: Option<PyErr>,
}

/// Does long work on a pool, without the lock. It sends messages, which `see` hears on the caller's thread, with the lock; once a signal
/// arrives, or `see` fails, `cancel` turns true and the work is waited for.
///
/// # Errors
/// Threads that can't be started.
pub fn watched<T: Send, S: Send>(
    py: Python,
    threads: usize,
    work: impl FnOnce(&Sender<S>, &AtomicBool) -> T + Send,
    mut see: impl FnMut(Python, S) -> PyResult<()> + Send,
) -> PyResult<Done<T>> {
    let pool = pool(threads)?;
    let cancel = AtomicBool::new(false);
    let (cancel, see) = (&cancel, &mut see);
    let outcome = py.detach(|| {
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            let worker = scope.spawn(move || pool.install(|| work(&sender, cancel)));
            let mut stopped = None;
            loop {
                let heard = receiver.recv_timeout(PATIENCE);
                if matches!(heard, Err(RecvTimeoutError::Disconnected)) {
                    break;
                }
                let result = Python::attach(|py| {
                    py.check_signals()?;
                    heard.map_or(Ok(()), |message| see(py, message))
                });
                if let Err(error) = result
                    && stopped.is_none()
                {
                    cancel.store(true, Ordering::Relaxed);
                    stopped = Some(error);
                }
            }
            worker.join().map(|value| Done { value, stopped })
        })
    });
    outcome.map_err(|_| PyRuntimeError::new_err("the work failed in a way that it should not; please report how"))
}
