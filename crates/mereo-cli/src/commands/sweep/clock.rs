//! How long each of several fits in the same passes works.

use mereo::fold::{Engine, Method, Progress};
use mereo::sae::{Sae, SaeState, SaeStats};
use mereo::{Result, Rows};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The processor, with a count of the time that each fit takes.
pub struct Clock<'a> {
    methods: &'a [Sae],
    nanos: Vec<AtomicU64>,
}

impl<'a> Clock<'a> {
    /// Of none of them yet.
    pub fn new(methods: &'a [Sae]) -> Self {
        Self { methods, nanos: methods.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    fn timed<T>(&self, method: &Sae, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = work();
        let own = self.methods.iter().position(|m| std::ptr::eq(m, method)).and_then(|i| self.nanos.get(i));
        own.inspect(|nanos| {
            nanos.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        });
        done
    }

    /// Shares of the time, which add up to 1.
    pub fn shares(&self) -> Vec<f64> {
        let each: Vec<f64> = self.nanos.iter().map(|n| n.load(Ordering::Relaxed) as f64).collect();
        let all = each.iter().sum::<f64>().max(1.0);
        each.iter().map(|n| n / all).collect()
    }
}

impl Engine<Sae> for Clock<'_> {
    fn observe(&self, m: &Sae, state: &SaeState, x: &Rows, first: u64, memo: &mut [f32], into: &mut SaeStats) -> Result<()> {
        self.timed(m, || m.observe(state, x, first, memo, into))
    }
    fn update(&self, m: &Sae, state: &mut SaeState, stats: SaeStats) -> Result<Progress> {
        self.timed(m, || m.update(state, stats))
    }
}
