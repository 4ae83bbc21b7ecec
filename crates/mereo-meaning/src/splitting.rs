//! How latents of one model split into those of a larger one.
//!
//! - [`split`]: each atom of the larger model under its nearest of the smaller, by cosine (O'Neill et al. 2024, arXiv 2408.00657);
//!   [`nearest`] alone.
//! - [`one_to_one`]: the same with no atom twice.
//! - [`MaxCosines`]: how near the nearest are, within a model or across two. Across sizes there are often two heaps: latents that both
//!   have, near 1, and new ones, near .2.
//! - [`Chain`]: small, middle and large; whether the way through the middle leads to where the direct one does.
//! - [`absorption`]: where a specific latent fires in place of the general one (Chanin et al. 2024, arXiv 2409.14507), with [`k_sparse`] to
//!   tell which latents are the general ones of a class of rows.
//!
//! Two models fit each other if their atoms have as many columns, whatever they were fitted by. Cosines are taken in blocks, so no matrix
//! of all pairs is ever held, but by [`one_to_one`] where it is small.

mod absorption;
mod nearest;
mod probe;
#[cfg(test)]
mod tests;

pub use absorption::{Absorb, Absorber, Absorption, Concept, absorption, class_direction, projections};
pub use nearest::{OneToOne, nearest, one_to_one};
pub use probe::{KSparse, KSparseProbe, k_sparse};

use mereo::measure::{self, Near};
use mereo::{Mat, Result};
use serde::{Deserialize, Serialize};

/// Bins of a histogram of cosines, each .02 wide.
pub const BINS: usize = 100;

/// How near the nearest atoms are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaxCosines {
    /// Number of atoms that have a nearest one; atoms that are zero have none.
    pub atoms: usize,
    /// Median cosine; 0 of none.
    pub median: f64,
    /// Mean cosine; 0 of none.
    pub mean: f64,
    /// The lowest and the highest; 0 of none.
    pub range: (f64, f64),
    /// How many are in each of [`BINS`] bins of equal width from −1 to 1.
    pub counts: Vec<u64>,
}

impl MaxCosines {
    /// Those of what [`nearest`] found.
    pub fn of(nearest: &[Option<Near>]) -> Self {
        let mut cosines: Vec<f64> = nearest.iter().flatten().map(|n| n.cosine).collect();
        cosines.sort_unstable_by(f64::total_cmp);
        let n = cosines.len();
        let median = if n == 0 { 0.0 } else { f64::midpoint(cosines[(n - 1) / 2], cosines[n / 2]) };
        Self {
            atoms: n,
            median,
            mean: cosines.iter().sum::<f64>() / n.max(1) as f64,
            range: (cosines.first().copied().unwrap_or(0.0), cosines.last().copied().unwrap_or(0.0)),
            counts: measure::bins(cosines, (-1.0, 1.0), BINS),
        }
    }

    /// Those of each atom (k × d) and the other atom of the same model that is nearest.
    ///
    /// Cost: k²d.
    pub fn within(atoms: &Mat) -> Self {
        // There, an atom that is zero has a nearest one, at 0.
        let alive = |a: usize| atoms.row(a).iter().any(|v| *v != 0.0);
        let near: Vec<Option<Near>> = measure::nearest(atoms);
        Self::of(&near.into_iter().enumerate().map(|(a, n)| n.filter(|_| alive(a))).collect::<Vec<_>>())
    }
}

/// How the latents of a smaller model split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// For each atom of the larger model, the nearest one of the smaller; `None` for an atom that is zero.
    pub parents: Vec<Option<Near>>,
    /// For each atom of the smaller model, those of the larger that it is nearest to, rising.
    pub children: Vec<Vec<usize>>,
    /// How near they are.
    pub cosines: MaxCosines,
    /// How many atoms of the smaller model have 0, 1, 2, … children.
    pub by_children: Vec<usize>,
}

/// Puts each atom of a larger model (k₂ × d) under its nearest of a smaller one (k₁ × d).
///
/// Cost: k₁k₂d, in blocks.
///
/// # Errors
/// Those of [`nearest`].
pub fn split(smaller: &Mat, larger: &Mat) -> Result<Split> {
    let parents = nearest(larger, smaller)?;
    let children = children(&parents, smaller.rows);
    let mut by_children = Vec::new();
    for c in &children {
        if by_children.len() <= c.len() {
            by_children.resize(c.len() + 1, 0);
        }
        by_children[c.len()] += 1;
    }
    Ok(Split { cosines: MaxCosines::of(&parents), parents, children, by_children })
}

/// Who is under each of `count` parents.
fn children(parents: &[Option<Near>], count: usize) -> Vec<Vec<usize>> {
    let mut children = vec![Vec::new(); count];
    for (child, parent) in parents.iter().enumerate() {
        if let Some(parent) = parent {
            children[parent.atom].push(child);
        }
    }
    children
}

/// Three models of rising size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    /// The small one's latents in the middle one.
    pub middle: Split,
    /// The middle one's in the large one.
    pub large: Split,
    /// The small one's in the large one.
    pub direct: Split,
    /// For each latent of the small model, the Jaccard overlap of its descendants in the large one, reached directly and by way of the
    /// middle; `None` if it has none either way.
    pub consistency: Vec<Option<f64>>,
    /// The mean of those; 0 if there is none.
    pub mean: f64,
    /// Share of the large model's atoms that both ways put under the same latent, of those that are not zero.
    pub agree: f64,
}

/// What a latent of the small model becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descendants {
    /// In the middle model, rising.
    pub middle: Vec<usize>,
    /// In the large model by way of those, rising.
    pub via: Vec<usize>,
    /// In the large model directly, rising.
    pub direct: Vec<usize>,
}

impl Chain {
    /// That of three models' atoms (k × d, with k rising as a rule).
    ///
    /// # Errors
    /// Those of [`nearest`].
    pub fn of(small: &Mat, middle: &Mat, large: &Mat) -> Result<Self> {
        let (of_middle, of_large, direct) = (split(small, middle)?, split(middle, large)?, split(small, large)?);
        let mut chain = Self { middle: of_middle, large: of_large, direct, consistency: Vec::new(), mean: 0.0, agree: 0.0 };
        chain.consistency = (0..small.rows)
            .map(|s| {
                let Descendants { via, direct, .. } = chain.descendants(s);
                let both = via.iter().filter(|l| direct.binary_search(l).is_ok()).count();
                let either = via.len() + direct.len() - both;
                (either > 0).then(|| both as f64 / either as f64)
            })
            .collect();
        let known = || chain.consistency.iter().flatten();
        let mean = known().sum::<f64>() / known().count().max(1) as f64;
        let via = |l: usize| Some(chain.middle.parents[chain.large.parents[l]?.atom]?.atom);
        let placed = |l: &usize| chain.direct.parents[*l].is_some();
        let same = (0..large.rows).filter(placed).filter(|&l| via(l) == chain.direct.parents[l].map(|n| n.atom)).count();
        let agree = same as f64 / (0..large.rows).filter(placed).count().max(1) as f64;
        Ok(Self { mean, agree, ..chain })
    }

    /// What latent `s` of the small model becomes.
    ///
    /// # Panics
    /// There is no such latent.
    pub fn descendants(&self, s: usize) -> Descendants {
        let middle = self.middle.children[s].clone();
        let mut via: Vec<usize> = middle.iter().flat_map(|&m| self.large.children[m].iter().copied()).collect();
        via.sort_unstable();
        Descendants { middle, via, direct: self.direct.children[s].clone() }
    }
}
