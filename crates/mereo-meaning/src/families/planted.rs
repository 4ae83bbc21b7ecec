//! A hierarchy of latents that is known, to judge what is found of it.

use super::Family;
use crate::codes::OwnedBoth;
use mereo::rng::rng;
use mereo::{Csr, Result};

/// Parents.
pub const PARENTS: usize = 10;
/// Children of each.
pub const CHILDREN: usize = 8;
/// Latents without family.
pub const NOISE: usize = 40;
/// All of them: parents come first, then the children of each, then the others.
pub const LATENTS: usize = PARENTS * (1 + CHILDREN) + NOISE;

/// Codes of `n` rows, drawn by `order(row)`. A parent fires on `density` of the rows: with probability .9 where one of its children does, and
/// nowhere else. Latents without family fire with probability `noise`, or as often as a child.
///
/// # Errors
/// More rows than an index can hold.
pub fn planted(density: f64, noise: Option<f64>, n: usize, order: impl Fn(usize) -> usize) -> Result<OwnedBoth> {
    let child = 1.0 - (1.0 - density / 0.9).powf(1.0 / CHILDREN as f64);
    let often = |j: usize| if j < PARENTS * (1 + CHILDREN) { child } else { noise.unwrap_or(child) };
    let (mut starts, mut at) = (vec![0], Vec::new());
    for i in 0..n {
        let mut r = rng(3, 90, order(i) as u64);
        let fires: Vec<bool> = (PARENTS..LATENTS).map(|j| r.uniform() < often(j)).collect();
        let any = |p: usize| fires[p * CHILDREN..(p + 1) * CHILDREN].iter().any(|f| *f);
        let parents: Vec<bool> = (0..PARENTS).map(|p| r.uniform() < 0.9 && any(p)).collect();
        at.extend((0..).zip(parents.iter().chain(&fires)).filter(|(_, f)| **f).map(|(j, _)| j));
        starts.push(at.len() as u64);
    }
    let values = vec![1.0; at.len()];
    OwnedBoth::new(&Csr::new(n, LATENTS, starts, at, values)?)
}

/// Precision and recall of the pairs (root, child) of families, where the truth is (parent, its child).
pub fn quality(families: &[Family]) -> (f64, f64) {
    let mut pairs: Vec<(usize, usize)> = families.iter().flat_map(|f| f.children.iter().map(|&c| (f.root, c))).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let all = pairs.len() as f64;
    let truth = |(p, c): &(usize, usize)| (PARENTS..PARENTS * (1 + CHILDREN)).contains(c) && (c - PARENTS) / CHILDREN == *p;
    pairs.retain(truth);
    (pairs.len() as f64 / all, pairs.len() as f64 / (PARENTS * CHILDREN) as f64)
}
