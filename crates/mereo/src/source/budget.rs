//! How much of a file may be in memory at once.

use crate::linalg::PANEL;

/// A bound on memory, in bytes, shared out between the data and all that is made of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget(u64);

/// Blocks larger than this save nothing more.
const BLOCK: u64 = 128 << 20;

impl Budget {
    /// The bound that was asked for, or the memory of this machine.
    pub(super) fn new(memory: Option<u64>) -> Self {
        Self(memory.unwrap_or_else(physical))
    }

    /// The bound in bytes.
    pub(super) fn bytes(self) -> u64 {
        self.0
    }

    /// Whether data of this many bytes may be held whole: a third of the bound, as a fit may need a prepared copy and its own sums.
    pub(super) fn holds(self, bytes: u64) -> bool {
        bytes <= self.0 / 3
    }

    /// Rows of a block: a sixteenth of the bound, as two blocks are in flight and each may have a prepared copy. Whole panels
    /// where there is room for one, so that sums are formed as they are in memory.
    pub(super) fn step(self, row_bytes: u64) -> usize {
        let rows = ((self.0 / 16).min(BLOCK) / row_bytes.max(1)).max(1) as usize;
        if rows > PANEL { rows - rows % PANEL } else { rows }
    }
}

/// Memory of this machine or of its container; 4 GiB where it isn't said.
fn physical() -> u64 {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let container = number("/sys/fs/cgroup/memory.max").or_else(|| number("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    total.into_iter().chain(container).min().unwrap_or(4 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_shared_out() {
        let b = Budget::new(Some(3 << 20));
        assert!(b.holds(1 << 20) && !b.holds((1 << 20) + 1));
        assert_eq!(Budget::new(Some(16 << 20)).step(1000), 1024, "whole panels");
        assert_eq!(Budget::new(Some(16 << 20)).step(1 << 18), 4);
        assert_eq!(Budget::new(Some(0)).step(1 << 18), 1, "a row at least");
        assert!(Budget::new(None).bytes() >= 64 << 20);
    }
}
