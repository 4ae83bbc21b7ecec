//! Gated: with a = W (x − b), a latent is alive where a + b_gate > 0, and h = max(0, a·eʳ + b_mag) there (Rajamanoharan et al. 2024, arXiv
//! 2404.16014). The gate has no slope; it learns from λ Σ max(0, a + b_gate), and from rebuilding rows by max(0, a + b_gate) through a decoder
//! that is held fixed for it.
//!
//! z here is a + b_gate, so that h = max(0, (z − b_gate)·eʳ + b_mag); own numbers are b_gate, r, and m = b_mag − b_gate·eʳ, which makes h = max(0, z·eʳ + m):
//! the same functions, with one number of each latent said another way.

use super::{Alive, Back};
use rayon::prelude::*;

/// r and m at first: as if there were no gate.
pub(super) const START: [f32; 2] = [0.0, 0.0];

pub(super) fn alive(rows: &[Vec<(u32, f32)>], scale: &[f32], magnitude: &[f32]) -> Vec<Vec<Alive>> {
    let of_row = |row: &Vec<(u32, f32)>| {
        let open = row.iter().filter(|(_, z)| *z > 0.0);
        open.map(|&(latent, z)| {
            let j = latent as usize;
            Alive { latent, z, h: (z * scale[j].exp() + magnitude[j]).max(0.0) }
        })
        .collect()
    };
    rows.par_iter().map(of_row).collect()
}

/// Through the magnitude.
pub(super) fn back(alive: &Alive, scale: f32) -> Back {
    if alive.h > 0.0 {
        let by = scale.exp();
        Back { slope: [by, by, alive.z * by, 1.0], push: [0.0; 4] }
    } else {
        Back::default()
    }
}

/// Through the gate.
pub(super) fn back_of_gate(sparsity: f32) -> Back {
    Back::plain(1.0, sparsity)
}
