//! Families of latents: a general one and the specific ones that fire where it does.
//!
//! A maximum spanning forest of co-occurrence, with every edge from the denser latent to the rarer one (O'Neill et al. 2024, arXiv
//! 2408.00657):
//!
//! 1. For each pair of clean latents that fire together on C rows, w = C / (min(f_i, f_j) + 1), with f the rows on which each fires: about
//!    how often the rarer one's rows are the denser one's too. Pairs with w < τ are no edges.
//! 2. A maximum spanning forest by w, its edges directed from the denser to the rarer latent.
//! 3. A latent that nothing points at and that points at three or more is a root; all below it are its children. Roots are taken away and
//!    the rest is searched again, until no root is left.
//! 4. Three more rounds from step 1, each without the roots so far, at a lower τ.
//! 5. Families with more than three children are kept; of two whose children overlap by more than .6 (Jaccard), the larger.
//!
//! The authors' weight is exp(w), which orders edges the same way, and of the two conditional shares of a pair they use the one that their
//! library stored last; w above is the larger of the two and depends on no order. Ties go to the lower index.
//!
//! A threshold on w lets any independent latent in under a parent that is dense enough: by chance alone w is about the density of the
//! parent. [`FamilyTest::Lift`] asks that a pair fire together more often than chance as well, and precision stays where a parent's density
//! is near τ.
//!
//! Cost: for each row, the square of the number of clean latents that fire on it. Memory: 12 bytes for each pair that passes, at most
//! L0 / τ for each latent, and never k × k.
//!
//! ```
//! use mereo::Csr;
//! use mereo_meaning::codes::OwnedBoth;
//! use mereo_meaning::families::{self, Families};
//! // Latent 0 fires wherever one of 1 to 4 does.
//! let codes = Csr::new(8, 5, (0..9).map(|i| 2 * i).collect(), (0..8).flat_map(|i| [0, 1 + i % 4]).collect(), vec![1.0; 16])?;
//! let both = OwnedBoth::new(&codes)?;
//! let found = families::find(&both.view(), &[0, 1, 2, 3, 4], &Families::default())?;
//! assert_eq!((found[0].root, found[0].children.as_slice()), (0, &[1, 2, 3, 4][..]));
//! # Ok::<(), mereo::Error>(())
//! ```

mod dot;
mod forest;
mod measures;
mod pairs;
mod planted;
#[cfg(test)]
mod tests;

pub use dot::dot;
pub use measures::{BlockRatio, FamilyMeasures, FamilyScore, measures};
pub use pairs::{Cooccurring, cooccurring};
pub use planted::{LATENTS, planted, quality};

use crate::codes::Both;
use mereo::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Which pairs may be edges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FamilyTest {
    /// Those with w ≥ τ, as published.
    #[default]
    Threshold,
    /// Of those, the ones that fire together more often than independent latents would: a one-sided Fisher test (hypergeometric) of each
    /// pair, with the false discovery rate over all pairs of clean latents held by Benjamini and Hochberg (1995), and a least lift.
    ///
    /// The test deals with rare latents, whose w scatters, and the lift with common ones, of which the least dependence is significant. A
    /// pair that misses τ or the lift counts as one with p = 1, which can only make the procedure stricter.
    Lift {
        /// Share of the edges that may be due to chance.
        q: f64,
        /// Least C·n / (f_i·f_j), at least 1. No lift exceeds 1 / density of the denser latent, so 1.5 shuts out parents that fire on over
        /// two thirds of all rows.
        least: f64,
    },
}

impl FamilyTest {
    /// [`FamilyTest::Lift`] with q = .01 and a least lift of 1.5.
    pub const fn lift() -> Self {
        Self::Lift { q: 0.01, least: 1.5 }
    }
}

/// How families are found. The defaults are those of the paper's code.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Families {
    /// Least w of an edge in the first round (τ), in [0, 1].
    pub tau: f64,
    /// The same in later rounds.
    pub tau_later: f64,
    /// Rounds after the first, each without the roots of those before.
    pub rounds: usize,
    /// Least number of children of a family that is kept.
    pub min_children: usize,
    /// Jaccard overlap of children above which the smaller of two families is dropped, in [0, 1].
    pub overlap: f64,
    /// Which pairs may be edges.
    pub test: FamilyTest,
}

impl Default for Families {
    fn default() -> Self {
        Self { tau: 0.1, tau_later: 0.07, rounds: 3, min_children: 4, overlap: 0.6, test: FamilyTest::Threshold }
    }
}

impl Families {
    /// Refuses parameters out of range.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [("tau", self.tau), ("tau_later", self.tau_later), ("overlap", self.overlap)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::parameter(format!("{name} = {value} is a share; give a number from 0 to 1")));
            }
        }
        if let FamilyTest::Lift { q, least } = self.test {
            if !(q > 0.0 && q < 1.0) {
                return Err(Error::parameter(format!(
                    "q = {q} is a share of false edges; give a number between 0 and 1, such as .01"
                )));
            }
            if !(least >= 1.0 && least.is_finite()) {
                return Err(Error::parameter(format!(
                    "a least lift of {least} lets in pairs that avoid each other; give 1 or more, such as 1.5"
                )));
            }
        }
        Ok(())
    }
}

/// A latent and those below it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Family {
    /// The general latent.
    pub root: usize,
    /// Share of rows on which it fires.
    pub density: f64,
    /// All latents below it, rising.
    pub children: Vec<usize>,
    /// The tree, from the root down; one edge for each child.
    pub edges: Vec<Edge>,
    /// Round in which it was found; 0 is the first.
    pub round: usize,
}

/// An edge of a family's tree.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// The denser latent.
    pub parent: usize,
    /// The rarer one.
    pub child: usize,
    /// w = C / (f + 1), with f the rows on which the child fires.
    pub weight: f64,
    /// Rows on which both fire (C).
    pub together: u64,
    /// How many times more often than independent latents.
    pub lift: f64,
}

/// Finds the families among the clean latents (those worth the name: well labelled, not too dense), given in any order.
///
/// The largest come first; ties by root.
///
/// # Errors
/// [`Families::check`]; a clean latent that there is not, or one that is named twice.
pub fn find(both: &Both, clean: &[usize], how: &Families) -> Result<Vec<Family>> {
    how.check()?;
    let clean = checked(both, clean)?;
    let pairs = pairs::passing(both, &clean, how);
    let mut alive = vec![true; both.latents()];
    let mut found: BTreeMap<usize, Family> = BTreeMap::new();
    for round in 0..=how.rounds {
        let tau = if round == 0 { how.tau } else { how.tau_later };
        let forest = forest::Forest::of(both, &pairs, &alive, tau);
        let roots = forest.families(round);
        // Later rounds differ from each other only by the roots of the one before.
        if roots.is_empty() && round > 0 {
            break;
        }
        for family in roots {
            alive[family.root] = false;
            found.insert(family.root, family);
        }
    }
    let mut families: Vec<Family> = found.into_values().filter(|f| f.children.len() >= how.min_children).collect();
    families.sort_by_key(|f| (std::cmp::Reverse(f.children.len()), f.root));
    Ok(without_doubles(families, how.overlap))
}

/// The latents, rising.
fn checked(both: &Both, clean: &[usize]) -> Result<Vec<usize>> {
    let mut clean = clean.to_vec();
    clean.sort_unstable();
    if let Some(j) = clean.last().filter(|j| **j >= both.latents()) {
        return Err(Error::data(format!("there is no latent {j} among {}; count from 0", both.latents())));
    }
    if let Some([j, _]) = clean.windows(2).find(|w| w[0] == w[1]) {
        return Err(Error::data(format!("latent {j} is named twice; name it once")));
    }
    Ok(clean)
}

/// Drops each family whose children overlap too much with those of one before it that is kept.
fn without_doubles(families: Vec<Family>, overlap: f64) -> Vec<Family> {
    let mut kept: Vec<Family> = Vec::new();
    let mut with: HashMap<usize, Vec<usize>> = HashMap::new();
    for family in families {
        let mut shared: HashMap<usize, usize> = HashMap::new();
        for child in &family.children {
            for &k in with.get(child).into_iter().flatten() {
                *shared.entry(k).or_default() += 1;
            }
        }
        let double = shared.iter().any(|(&k, &both)| {
            let either = kept[k].children.len() + family.children.len() - both;
            both as f64 > overlap * either as f64
        });
        if !double {
            family.children.iter().for_each(|&c| with.entry(c).or_default().push(kept.len()));
            kept.push(family);
        }
    }
    kept
}
