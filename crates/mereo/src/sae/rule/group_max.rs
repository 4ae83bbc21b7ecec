//! GroupMax: the latents lie in k groups of n/k neighbours; the largest z of each group is alive, if it is positive (sparsify's `groupmax`).

use super::Alive;
use rayon::prelude::*;

pub(super) fn alive(rows: &[Vec<(u32, f32)>], n: usize, k: usize) -> Vec<Vec<Alive>> {
    let width = (n / k.max(1)).max(1) as u32;
    let of_row = |row: &Vec<(u32, f32)>| {
        let mut best: Vec<Alive> = Vec::with_capacity(k);
        for &(latent, z) in row.iter().filter(|(_, z)| *z > 0.0) {
            match best.last_mut().filter(|b| b.latent / width == latent / width) {
                Some(b) if b.z >= z => {}
                Some(b) => *b = Alive { latent, z, h: z },
                None => best.push(Alive { latent, z, h: z }),
            }
        }
        best
    };
    rows.par_iter().map(of_row).collect()
}
