//! JumpReLU: h = z where z > θ, else 0, with a threshold θ = eᵗ of each latent (Rajamanoharan et al. 2024, arXiv 2407.14435).
//!
//! The step at θ has no slope, so that of a box of width ε about it stands in: for the code ∂h/∂θ = −θ/ε, for the count of those alive
//! ∂[z > θ]/∂θ = −1/ε where |z − θ| < ε/2, and by the chain times θ for t. Added to the loss is λ L0, or λ (L0/L0* − 1)² for a target L0*, whose slope
//! is taken at the running mean of L0.

use super::{Alive, Back};
use rayon::prelude::*;

/// Those above their threshold, and those so close below that it may learn from them.
pub(super) fn alive(rows: &[Vec<(u32, f32)>], logs: &[f32]) -> Vec<Vec<Alive>> {
    let one = |&(latent, z): &(u32, f32)| Alive { latent, z, h: if z > logs[latent as usize].exp() { z } else { 0.0 } };
    rows.par_iter().map(|row| row.iter().map(one).collect()).collect()
}

pub(super) fn pressure(sparsity: f32, target: Option<f32>, l0: f32) -> f32 {
    target.map_or(sparsity, |target| 2.0 * sparsity * (l0 / target - 1.0) / target)
}

pub(super) fn back(alive: &Alive, log: f32, bandwidth: f32, pressure: f32) -> Back {
    let theta = log.exp();
    let mut back = if alive.h > 0.0 { Back::plain(1.0, 0.0) } else { Back::default() };
    if (alive.z - theta).abs() < bandwidth / 2.0 {
        back.slope[2] = -theta * theta / bandwidth;
        back.push[2] = -pressure * theta / bandwidth;
    }
    back
}
