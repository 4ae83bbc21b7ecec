//! The order in which a pass that shuffles goes through the rows: random, and the same for any blocks, workers and threads.

use super::stream;
use crate::rng::rng;
use std::ops::Range;

/// Numbers of a window: 128 MB of f32.
const NUMBERS: usize = 1 << 25;

/// Windows of neighbouring rows in random order, each with its rows in a random order of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    /// Made of the seed, the start and the pass.
    key: u64,
    /// Rows of the whole data.
    rows: usize,
    /// Rows of a window; the last one may have fewer.
    window: usize,
}

impl Order {
    pub fn new(seed: u64, restart: usize, pass: usize, rows: usize, window: usize) -> Self {
        let key = rng(seed, stream::ORDER, ((restart as u64) << 32) ^ pass as u64).bits();
        Self { key, rows, window: window.max(1) }
    }

    /// The numbers of all windows, in the order of the pass.
    pub fn windows(&self) -> Vec<usize> {
        let mut windows: Vec<usize> = (0..self.rows.div_ceil(self.window)).collect();
        rng(self.key, stream::ORDER, 0).shuffle(&mut windows);
        windows
    }

    /// The rows of a window, as they stand in the data.
    pub fn span(&self, window: usize) -> Range<u64> {
        let from = window * self.window;
        from as u64..self.rows.min(from + self.window) as u64
    }

    /// The same, in the order of the pass.
    pub fn within(&self, window: usize) -> Vec<u64> {
        let mut rows: Vec<u64> = self.span(window).collect();
        rng(self.key, stream::ORDER, 1 + window as u64).shuffle(&mut rows);
        rows
    }
}

/// Rows of a window: as many as have [`NUMBERS`] numbers, or a quarter of a bound on memory, in whole batches and at least one. Two
/// windows are in memory where one is read ahead.
pub(super) fn window(rows: usize, cols: usize, batch: usize, memory: Option<u64>) -> usize {
    let numbers = memory.map_or(NUMBERS, |bytes| NUMBERS.min((bytes / 16) as usize));
    let batch = batch.clamp(1, rows.max(1));
    (numbers / cols.max(1) / batch).max(1) * batch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(order: &Order) -> Vec<u64> {
        order.windows().into_iter().flat_map(|w| order.within(w)).collect()
    }

    #[test]
    fn every_row_comes_once_and_every_pass_has_its_own_order() {
        for (rows, window) in [(1, 1), (100, 1000), (100, 7), (96, 32)] {
            let order = Order::new(3, 0, 0, rows, window);
            let mut seen = all(&order);
            for (w, rows) in order.windows().into_iter().zip(seen.chunk_by(|a, b| a / window as u64 == b / window as u64)) {
                assert!(rows.iter().all(|r| order.span(w).contains(r)), "windows stay together");
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..rows as u64).collect::<Vec<_>>());
        }
        let of = |seed, restart, pass| all(&Order::new(seed, restart, pass, 50, 10));
        let orders = [of(1, 0, 0), of(1, 0, 1), of(1, 1, 0), of(2, 0, 0)];
        for (i, a) in orders.iter().enumerate() {
            assert!(orders[..i].iter().all(|b| a != b), "order {i} came before");
        }
        assert_eq!(of(1, 0, 1), of(1, 0, 1));
    }

    #[test]
    fn a_window_is_whole_batches_and_as_large_as_memory_allows() {
        assert_eq!(window(1_000_000, 1 << 15, 100, None), 1000);
        assert_eq!(window(1_000_000, 1 << 15, 100, Some(16 << 20)), 100, "never less than a batch");
        assert_eq!(window(1_000_000, 1 << 10, 100, Some(16 << 20)), 1000);
        assert_eq!(window(50, 1 << 26, 4096, None), 50, "a batch beyond the data is all of it");
        assert_eq!(window(0, 0, 0, Some(0)), 1);
    }
}
