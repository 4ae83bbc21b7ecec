//! TopK: h = ReLU of the k largest z of a row, 0 elsewhere (Gao et al. 2024, arXiv 2406.04093; ReLU after the choice, as in O'Neill et al.
//! 2024). The choice is taken as given on the way back: ∂h/∂z = 1 for what is alive.

use super::Alive;
use rayon::prelude::*;

pub(super) fn alive(rows: &[Vec<(u32, f32)>], k: usize) -> Vec<Vec<Alive>> {
    let of_row = |row: &Vec<(u32, f32)>| {
        let mut row: Vec<(u32, f32)> = row.iter().copied().filter(|(_, z)| *z > 0.0).collect();
        if row.len() > k {
            row.select_nth_unstable_by(k, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            row.truncate(k);
            row.sort_unstable_by_key(|(j, _)| *j);
        }
        row.into_iter().map(|(latent, z)| Alive { latent, z, h: z }).collect()
    };
    rows.par_iter().map(of_row).collect()
}
