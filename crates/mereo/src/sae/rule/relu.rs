//! ReLU with L1: h = max(0, z), and λ Σ h a row is added to the loss (Bricken et al. 2023; decoder rows have length 1, so no row can
//! shrink its way out of it).

use super::{Alive, Back};
use rayon::prelude::*;

pub(super) fn alive(rows: &[Vec<(u32, f32)>]) -> Vec<Vec<Alive>> {
    let of_row =
        |row: &Vec<(u32, f32)>| row.iter().filter(|(_, z)| *z > 0.0).map(|&(latent, z)| Alive { latent, z, h: z }).collect();
    rows.par_iter().map(of_row).collect()
}

pub(super) fn back(alive: &Alive, sparsity: f32) -> Back {
    if alive.h > 0.0 { Back::plain(1.0, sparsity) } else { Back::default() }
}
