//! What is to be seen of a latent, of a row, and of classes of rows.

mod classes;

pub use classes::{Telling, contrast, telling, telling_number};

use crate::codes::Both;
use crate::index::Index;
use crate::near::{self, Hit};
use mereo::linalg::dot;
use mereo::mat::{DenseRows, Rows};
use mereo::{Error, Mat, Result};

/// How often and how strongly a latent is active.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Activity {
    /// Rows on which it is.
    pub rows: usize,
    /// Their share of all.
    pub density: f64,
    /// Mean of its codes there.
    pub mean: f64,
    /// Its largest code.
    pub max: f32,
    /// Its codes there at the quantiles 0, ¼, ½, ¾ and 1; empty if it never is.
    pub quantiles: Vec<f32>,
    /// Upper edges of equally wide bins of its codes, and how many fall into each.
    pub histogram: Vec<(f32, usize)>,
}

/// How often and how strongly latent `j` is active, with so many bins.
///
/// # Panics
/// There is no such latent.
pub fn activity(codes: &Both, j: usize, bins: usize) -> Activity {
    let (_, values) = codes.by_latent.get(j);
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let (low, high) = (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
    let from = low.min(0.0);
    let width = (high - from) / bins.max(1) as f32;
    let mut counts = vec![0usize; bins];
    if !sorted.is_empty() {
        for v in &sorted {
            let bin = if width > 0.0 { ((v - from) / width) as usize } else { 0 };
            if let Some(count) = counts.get_mut(bin.min(bins.saturating_sub(1))) {
                *count += 1;
            }
        }
    }
    let at = |share: f64| sorted[(share * (sorted.len() - 1) as f64).round() as usize];
    Activity {
        rows: values.len(),
        density: codes.density(j),
        mean: values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len().max(1) as f64,
        max: high,
        quantiles: if sorted.is_empty() { Vec::new() } else { [0.0, 0.25, 0.5, 0.75, 1.0].map(at).to_vec() },
        histogram: counts.iter().enumerate().map(|(b, &n)| (from + width * (b + 1) as f32, n)).collect(),
    }
}

/// The atoms that point most in the direction of atom `j` of k × d, and those that point away most.
///
/// # Panics
/// There is no such atom.
pub fn neighbours(atoms: &Mat, j: usize, top: usize) -> (Vec<Hit>, Vec<Hit>) {
    let to = |i: usize, sign: f64| if i == j { f64::NEG_INFINITY } else { sign * near::cosine(atoms.row(i), atoms.row(j)) };
    let toward = near::best(atoms.rows, top, |i| to(i, 1.0));
    let mut away = near::best(atoms.rows, top, |i| to(i, -1.0));
    away.iter_mut().for_each(|h| h.score = -h.score);
    (toward, away)
}

/// What a model says of a row.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Seen {
    /// Active latents by falling size of what they add to the row, code · |atom|.
    pub active: Vec<Hit>,
    /// Share of the row's square that the model leaves unexplained: |x − x̂|² / |x|².
    pub unexplained: f64,
}

/// What the index's model says of row `i`.
///
/// # Errors
/// There is no such row.
pub fn seen(index: &Index, i: usize) -> Result<Seen> {
    check_row(index, i)?;
    let (latents, values) = index.codes().by_row.get(i);
    let atoms = index.bundle.model.atoms();
    let mut active: Vec<Hit> = latents
        .iter()
        .zip(values)
        .map(|(&j, &v)| {
            let w = atoms.row(j as usize);
            Hit { at: j as usize, score: f64::from(v) * dot(w, w).sqrt() }
        })
        .collect();
    active.sort_unstable_by(near::before);
    let x = index.row(i);
    let rows = Rows::Dense(DenseRows { cols: x.len(), data: x.into(), weights: None });
    let back = index.bundle.reconstruct(&rows)?;
    let off: f64 = x.iter().zip(&back.data).map(|(x, y)| f64::from(x - y).powi(2)).sum();
    let size = dot(x, x);
    Ok(Seen { active, unexplained: if size > 0.0 { off / size } else { 0.0 } })
}

/// Latents that are active on both rows, by what they add to the product of the two rows as the model sees them: codes of both times the atom's
/// square. That they explain the likeness of rows is exact where atoms are orthogonal; else what pairs of latents add is left out.
///
/// # Errors
/// There is no such row.
pub fn shared(index: &Index, a: usize, b: usize) -> Result<Vec<Hit>> {
    check_row(index, a)?;
    check_row(index, b)?;
    let rows = index.codes().by_row;
    let atoms = index.bundle.model.atoms();
    let (latents, values) = rows.get(a);
    let mut hits: Vec<Hit> = latents
        .iter()
        .zip(values)
        .map(|(&j, &v)| {
            let w = atoms.row(j as usize);
            Hit { at: j as usize, score: f64::from(v) * f64::from(rows.value(b, j)) * dot(w, w) }
        })
        .filter(|h| h.score != 0.0)
        .collect();
    hits.sort_unstable_by(near::before);
    Ok(hits)
}

fn check_row(index: &Index, i: usize) -> Result<()> {
    if i < index.about.rows {
        return Ok(());
    }
    Err(Error::parameter(format!("there is no row {i}; the index has {}, counted from 0", index.about.rows)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::OwnedBoth;
    use mereo::Csr;

    #[test]
    fn activity_by_hand() {
        // Latent 1 is active on rows 0, 2, 3 and 4 with 1, 2, 4 and 5.
        let m = Csr::new(5, 2, vec![0, 1, 1, 2, 3, 4], vec![1, 1, 1, 1], vec![1.0, 2.0, 4.0, 5.0]).expect("csr");
        let both = OwnedBoth::new(&m).expect("both");
        let a = activity(&both.view(), 1, 5);
        assert_eq!((a.rows, a.density, a.mean, a.max), (4, 0.8, 3.0, 5.0));
        assert_eq!(a.quantiles, [1.0, 2.0, 4.0, 4.0, 5.0]);
        assert_eq!(a.histogram, [(1.0, 0), (2.0, 1), (3.0, 1), (4.0, 0), (5.0, 2)]);
        let never = activity(&both.view(), 0, 3);
        assert_eq!((never.rows, never.max, never.quantiles.len()), (0, 0.0, 0));
        assert_eq!(never.histogram.iter().map(|b| b.1).sum::<usize>(), 0);
    }

    #[test]
    fn neighbours_by_hand() {
        let atoms = Mat { rows: 4, cols: 2, data: vec![1.0, 0.0, 2.0, 0.1, -1.0, 0.0, 0.0, 1.0] };
        let (toward, away) = neighbours(&atoms, 0, 2);
        assert_eq!(toward.iter().map(|h| h.at).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(away.iter().map(|h| (h.at, h.score)).next(), Some((2, -1.0)));
    }
}
