//! How well families hold together.

use super::{Family, checked, pairs::Shared};
use crate::codes::Both;
use mereo::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// F1 and Pearson's r from which a family counts as well explained.
const WELL: f64 = 0.8;
/// Rows of a piece that one thread adds up.
const ROWS: usize = 4096;

/// How well a family's label predicts where it fires.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FamilyScore {
    /// F1 of the predictions.
    pub f1: f64,
    /// Pearson's correlation of truth and confidence; NaN where all predictions are equal.
    pub r: f64,
}

/// Measures of families (O'Neill et al. 2024). C̄_ij = C_ij / min(f_i, f_j) is the normalised co-occurrence.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FamilyMeasures {
    /// Number of families.
    pub families: usize,
    /// Mean number of children.
    pub size: f64,
    /// Share of the clean latents in at least one family.
    pub covered: f64,
    /// Share of the clean latents in at least one family with F1 and r of .8 or more; `None` without scores.
    pub well_covered: Option<f64>,
    /// Mean F1; `None` without scores.
    pub f1: Option<f64>,
    /// Mean r of the families that have one; `None` without scores.
    pub r: Option<f64>,
    /// Mean of `parent_ratios`; `None` if there is none.
    pub parent_ratio: Option<f64>,
    /// For each family, mean C̄ of root and child over mean C̄ of child and child, each child with itself too: above 1 where the
    /// root is what the children have in common.
    pub parent_ratios: Vec<Option<f64>>,
    /// Whether C̄ is a matrix of blocks.
    pub cooccurrence: BlockRatio,
    /// Whether the cosines of activations over all rows are.
    pub activation: BlockRatio,
}

/// Mean entry within blocks over mean entry outside, diagonal included.
///
/// Latents stand in the order of the families, each in the first that it belongs to, and each family is a block. `None` where nothing is
/// outside, or only zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockRatio {
    /// In the order of the families.
    pub ordered: Option<f64>,
    /// With blocks of the same sizes, in the order of the latents' numbers.
    pub unordered: Option<f64>,
    /// The first over the second.
    pub relative: Option<f64>,
}

impl BlockRatio {
    fn of(within: [f64; 2], all: f64, (inside, cells): (f64, f64)) -> Self {
        let ratio = |sum: f64| {
            let outside = (all - sum).max(0.0) / (cells - inside);
            // What is left of a difference of sums that should be equal.
            (cells > inside && outside > 1e-12).then(|| sum / inside / outside)
        };
        let [ordered, unordered] = within.map(ratio);
        let relative = ordered.zip(unordered).filter(|(_, u)| *u > 0.0).map(|(o, u)| o / u);
        Self { ordered, unordered, relative }
    }
}

/// Measures families of clean latents; `scores` are those of the families in their order.
///
/// Cost: about that of finding them.
///
/// # Errors
/// A latent that there is not, or is named twice; other scores than families.
pub fn measures(both: &Both, clean: &[usize], families: &[Family], scores: Option<&[FamilyScore]>) -> Result<FamilyMeasures> {
    let clean = checked(both, clean)?;
    if let Some(scores) = scores.filter(|s| s.len() != families.len()) {
        return Err(Error::data(format!("{} scores of {} families; give one for each", scores.len(), families.len())));
    }
    for f in families {
        let mut members = f.children.clone();
        members.push(f.root);
        checked(both, &members)?;
    }
    let in_family = |f: &dyn Fn(usize) -> bool| {
        let mut member = vec![false; both.latents()];
        for (_, family) in families.iter().enumerate().filter(|(at, _)| f(*at)) {
            members(family).for_each(|j| member[j] = true);
        }
        clean.iter().filter(|j| member[**j]).count() as f64 / clean.len().max(1) as f64
    };
    let (ratios, cooccurrence) = cooccurrence(both, families);
    Ok(FamilyMeasures {
        families: families.len(),
        size: mean(families.iter().map(|f| f.children.len() as f64)).unwrap_or(0.0),
        covered: in_family(&|_| true),
        well_covered: scores.map(|s| in_family(&|at| s[at].f1 >= WELL && s[at].r >= WELL)),
        f1: scores.and_then(|s| mean(s.iter().map(|s| s.f1))),
        r: scores.and_then(|s| mean(s.iter().map(|s| s.r).filter(|r| !r.is_nan()))),
        parent_ratio: mean(ratios.iter().flatten().copied()),
        parent_ratios: ratios,
        cooccurrence,
        activation: activation(both, &Blocks::of(both, families)),
    })
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), v| (sum + v, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

fn members(family: &Family) -> impl Iterator<Item = usize> + '_ {
    std::iter::once(family.root).chain(family.children.iter().copied())
}

/// Where latents stand: in the block of a family, and in that of its place among the numbers.
struct Blocks {
    /// For each latent, the two blocks that it is in; `None` outside all families.
    block: Vec<Option<[u32; 2]>>,
    /// The latents that are in one, rising.
    latents: Vec<usize>,
    /// Number of latents in each block.
    sizes: Vec<usize>,
}

impl Blocks {
    fn of(both: &Both, families: &[Family]) -> Self {
        let mut block = vec![None; both.latents()];
        let mut sizes = Vec::new();
        for (b, family) in families.iter().enumerate() {
            let mut size = 0;
            for j in members(family) {
                if block[j].is_none() {
                    block[j] = Some([b as u32, 0]);
                    size += 1;
                }
            }
            sizes.push(size);
        }
        let latents: Vec<usize> = (0..both.latents()).filter(|&j| block[j].is_some()).collect();
        let by_number = sizes.iter().enumerate().flat_map(|(b, &size)| std::iter::repeat_n(b as u32, size));
        for (&j, b) in latents.iter().zip(by_number) {
            if let Some(pair) = &mut block[j] {
                pair[1] = b;
            }
        }
        Self { block, latents, sizes }
    }

    /// Entries within blocks, and in all.
    fn cells(&self) -> (f64, f64) {
        (self.sizes.iter().map(|s| (s * s) as f64).sum(), (self.latents.len() as f64).powi(2))
    }
}

/// Sums of C̄ that one latent is part of.
#[derive(Default)]
struct Sums {
    within: [f64; 2],
    all: f64,
    /// (family, its C̄ with children as root, its C̄ with children as a child).
    families: Vec<(usize, f64, f64)>,
}

/// The ratio of each family, and that of the blocks.
fn cooccurrence(both: &Both, families: &[Family]) -> (Vec<Option<f64>>, BlockRatio) {
    let blocks = Blocks::of(both, families);
    let mut of: Vec<Vec<usize>> = vec![Vec::new(); both.latents()];
    for (at, family) in families.iter().enumerate() {
        members(family).for_each(|j| of[j].push(at));
    }
    let each: Vec<Sums> = blocks
        .latents
        .par_iter()
        .map_init(
            || Shared::new(both.latents()),
            |shared, &i| {
                shared.count(both, i, |j| blocks.block[j].is_some());
                let own = both.by_latent.len(i);
                let normal = |j: usize, c: u32| if c == 0 { 0.0 } else { f64::from(c) / own.min(both.by_latent.len(j)) as f64 };
                let mut sums = Sums::default();
                let here = blocks.block[i].unwrap_or_default();
                for (j, c) in shared.all() {
                    let c = normal(j as usize, c);
                    let there = blocks.block[j as usize].unwrap_or_default();
                    sums.all += c;
                    (0..2).filter(|&order| here[order] == there[order]).for_each(|order| sums.within[order] += c);
                }
                for &at in &of[i] {
                    let sum: f64 = families[at].children.iter().map(|&j| normal(j, shared.with(j))).sum();
                    let root = families[at].root == i;
                    sums.families.push(if root { (at, sum, 0.0) } else { (at, 0.0, sum) });
                }
                sums
            },
        )
        .collect();
    let (mut within, mut all, mut ratios) = ([0.0; 2], 0.0, vec![(0.0, 0.0); families.len()]);
    for sums in each {
        all += sums.all;
        (0..2).for_each(|order| within[order] += sums.within[order]);
        for (at, root, child) in sums.families {
            ratios[at].0 += root;
            ratios[at].1 += child;
        }
    }
    // Means over c and over c² pairs.
    let ratio = |((root, child), f): ((f64, f64), &Family)| (child > 0.0).then(|| root * f.children.len() as f64 / child);
    (ratios.into_iter().zip(families).map(ratio).collect(), BlockRatio::of(within, all, blocks.cells()))
}

/// That of the cosines of activations, of which nothing but sums is needed: over the pairs of a block they are Σᵣ (Σᵢ aᵣᵢ / ‖aᵢ‖)², for a
/// row's entry each.
fn activation(both: &Both, blocks: &Blocks) -> BlockRatio {
    let inverse: Vec<f64> = (0..both.latents())
        .into_par_iter()
        .map(|j| {
            let norm = both.by_latent.get(j).1.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            if norm > 0.0 { norm.recip() } else { 0.0 }
        })
        .collect();
    let pieces: Vec<([f64; 2], f64)> = (0..both.rows().div_ceil(ROWS))
        .into_par_iter()
        .map_init(
            || [vec![0f64; blocks.sizes.len()], vec![0f64; blocks.sizes.len()]],
            |sums, piece| {
                let (mut within, mut all) = ([0.0; 2], 0.0);
                for row in piece * ROWS..both.rows().min((piece + 1) * ROWS) {
                    let (latents, values) = both.by_row.get(row);
                    let entries = || {
                        let entry =
                            |(&j, &v): (&u32, &f32)| Some((blocks.block[j as usize]?, f64::from(v) * inverse[j as usize]));
                        latents.iter().zip(values).filter_map(entry)
                    };
                    all += entries().map(|(_, v)| v).sum::<f64>().powi(2);
                    for order in 0..2 {
                        entries().for_each(|(at, v)| sums[order][at[order] as usize] += v);
                        // Each block once: it is emptied when it is added.
                        for (at, _) in entries() {
                            within[order] += std::mem::take(&mut sums[order][at[order] as usize]).powi(2);
                        }
                    }
                }
                (within, all)
            },
        )
        .collect();
    let (mut within, mut all) = ([0.0; 2], 0.0);
    for (w, a) in pieces {
        all += a;
        (0..2).for_each(|order| within[order] += w[order]);
    }
    BlockRatio::of(within, all, blocks.cells())
}
