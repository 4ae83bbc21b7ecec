//! The one call by which workers speak: [`Comm::sum`]. The core links no cluster library; an engine (Ray, MPI) brings its own `Comm`.

use crate::error::Result;

/// Adds up the sums of all workers.
pub trait Comm: Sync {
    /// This worker's number, from 0.
    fn rank(&self) -> usize;
    /// Number of workers.
    fn size(&self) -> usize;
    /// Replaces every number by its sum over all workers, added in an order that does not vary. All workers call it with
    /// the same lengths.
    fn sum(&self, parts: Vec<&mut [f64]>) -> Result<()>;
}

/// One worker: nothing to add.
#[derive(Debug, Clone, Copy, Default)]
pub struct Solo;

impl Comm for Solo {
    fn rank(&self) -> usize {
        0
    }
    fn size(&self) -> usize {
        1
    }
    fn sum(&self, _: Vec<&mut [f64]>) -> Result<()> {
        Ok(())
    }
}
