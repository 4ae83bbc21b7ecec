//! Data with a planted truth: made from known atoms and codes, so that a fit can be held against them.
//!
//! | name | what is planted | found by |
//! | --- | --- | --- |
//! | [`swimmer`] | 17 parts of a stick figure, no noise | NMF, up to the torso |
//! | [`parts`] | local non-negative parts, few a row | NMF |
//! | [`clusters`] | centres with a cloud around each | VQ |
//! | [`spiked`] | a few strong directions in white noise | PCA |
//! | [`dictionary`] | many more directions than columns, few a row | SAE |
//! | [`hierarchy`] | the same, of which some imply others | SAE, feature families |
//!
//! Randomness is that of [`rng`] with the row as its counter: the same arguments give the same numbers everywhere,
//! and in `parts` and `spiked` the first rows do not depend on how many follow.

use crate::error::{Error, Result};
use crate::fold::stream::SYNTH;
use crate::linalg::{axpy, orthonormal};
use crate::mat::Mat;
use crate::rng::{Rng, rng};
use rayon::prelude::*;

/// Generated rows and what they were made from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Synth {
    /// The rows (n × d): codes · atoms, and noise where there is any.
    pub data: Mat,
    /// The planted atoms (k × d).
    pub atoms: Mat,
    /// The planted codes (n × k).
    pub codes: Option<Mat>,
    /// The cluster of each row (n).
    pub labels: Option<Vec<usize>>,
    /// Height and width of a row drawn as an image.
    pub image: Option<(usize, usize)>,
}

/// Draws of atoms: their counters are taken from the end, so that no row shares them.
fn atom_rng(seed: u64, atom: usize) -> Rng {
    rng(seed, SYNTH, u64::MAX - atom as u64)
}

/// Rows made one by one from the codes, with noise of one standard deviation on top.
fn rows_of(codes: &Mat, atoms: &Mat, seed: u64, noise: f64, finish: impl Fn(f32) -> f32 + Sync) -> Mat {
    let mut data = Mat::zeros(codes.rows, atoms.cols);
    data.data.par_chunks_mut(atoms.cols).enumerate().for_each(|(i, x)| {
        for (a, &z) in codes.row(i).iter().enumerate().filter(|(_, z)| **z != 0.0) {
            axpy(x, z, atoms.row(a));
        }
        // The codes of row i were drawn from (SYNTH, i); its noise comes from a seed of its own.
        let mut r = rng(!seed, SYNTH, i as u64);
        for v in x {
            *v = finish((f64::from(*v) + noise * r.normal()) as f32);
        }
    });
    data
}

/// Refuses counts of 0, and sizes that no memory holds.
fn check(name: &str, counts: &[(&str, usize)], rows: usize, cols: usize) -> Result<()> {
    if let Some((what, _)) = counts.iter().find(|(_, c)| *c == 0) {
        return Err(Error::parameter(format!("`{name}` needs at least one of {what}, not 0")));
    }
    if rows.checked_mul(cols).is_none_or(|c| c > isize::MAX as usize / 4) {
        return Err(Error::parameter(format!("`{name}` can't make {rows} rows of {cols} columns; ask for fewer")));
    }
    Ok(())
}

/// The swimmer of Donoho & Stodden (NIPS 2003), drawn anew: 256 images of 32×32 pixels, 0 or 1, of a torso (12 pixels) with
/// four limbs (6 pixels each), every limb in one of four positions, all 4⁴ combinations.
///
/// Atoms 0–15 are the limbs (limb · 4 + position: upper left, upper right, lower left, lower right, each from the horizontal
/// to the vertical), atom 16 the torso. They share no pixel and each is in one piece. Codes are 0 or 1, and codes · atoms
/// is the data exactly. Since the four positions of a limb always sum to 1, as the torso does, the rank is 13, not 17, and a
/// non-negative factorisation may smear the torso over the limbs at no cost: that is the known catch of this set.
pub fn swimmer() -> Synth {
    const SIDE: usize = 32;
    // Steps up and outward from the torso's corner: at 0, about 40, about 60 and 90 degrees.
    const LIMBS: [[(usize, usize); 6]; 4] = [
        [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6)],
        [(1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (3, 4)],
        [(2, 1), (3, 1), (3, 2), (4, 2), (4, 3), (5, 3)],
        [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0)],
    ];
    // The torso is rows 13–18 of columns 15 and 16.
    const CORNERS: [(usize, usize); 4] = [(13, 15), (13, 16), (18, 15), (18, 16)];
    let mut atoms = Mat::zeros(17, SIDE * SIDE);
    for (limb, (y, x)) in CORNERS.into_iter().enumerate() {
        for (position, steps) in LIMBS.iter().enumerate() {
            for (up, out) in steps {
                let row = if limb < 2 { y - up } else { y + up };
                let column = if limb % 2 == 0 { x - out } else { x + out };
                atoms.row_mut(limb * 4 + position)[row * SIDE + column] = 1.0;
            }
        }
    }
    for row in 13..=18 {
        atoms.row_mut(16)[row * SIDE + 15..=row * SIDE + 16].fill(1.0);
    }
    let mut codes = Mat::zeros(256, 17);
    for i in 0..256 {
        for limb in 0..4 {
            codes.row_mut(i)[limb * 4 + (i >> (6 - 2 * limb)) % 4] = 1.0;
        }
        codes.row_mut(i)[16] = 1.0;
    }
    let data = rows_of(&codes, &atoms, 0, 0.0, |v| v);
    Synth { data, atoms, codes: Some(codes), labels: None, image: Some((SIDE, SIDE)) }
}

/// n images of `side` × `side` pixels, each the sum of one to five of k local parts: the data that NMF is made for.
///
/// A part is an elliptic bump (1 − r²)₊ of height 1, somewhere in its own cell of a grid, at least 1.2 pixels in radius; neighbours
/// overlap a little. Weights are ½ + Exp(1) for the parts in use, 0 for the others. Noise of s.d. .01 is added and what falls
/// below 0 is set to 0.
///
/// # Errors
/// A count of 0; more parts than pixels.
pub fn parts(n: usize, k: usize, side: usize, seed: u64) -> Result<Synth> {
    let d = side.saturating_mul(side);
    check("parts", &[("rows", n), ("parts", k), ("pixels", side)], n.max(k), d.max(k))?;
    if k > d {
        return Err(Error::parameter(format!("{k} parts don't fit into {side}×{side} pixels; ask for {d} at most")));
    }
    let grid = (1..=side).find(|g| g * g >= k).unwrap_or(side);
    let cell = side as f64 / grid as f64;
    let mut atoms = Mat::zeros(k, d);
    for a in 0..k {
        let mut r = atom_rng(seed, a);
        let mut near = |at: usize| (at as f64 + 0.3 + 0.4 * r.uniform()) * cell - 0.5;
        // On a pixel, so that the largest value is 1.
        let (y, x) = (near(a / grid).round().max(0.0), near(a % grid).round().max(0.0));
        let mut radius = || (cell * (0.4 + 0.5 * r.uniform())).max(1.2);
        let (long, short) = (radius(), radius());
        let (sin, cos) = (std::f64::consts::PI * r.uniform()).sin_cos();
        for (i, v) in atoms.row_mut(a).iter_mut().enumerate() {
            let (dy, dx) = ((i / side) as f64 - y, (i % side) as f64 - x);
            let (p, q) = ((cos * dx + sin * dy) / long, (cos * dy - sin * dx) / short);
            *v = (1.0 - p * p - q * q).max(0.0) as f32;
        }
    }
    let mut codes = Mat::zeros(n, k);
    for i in 0..n {
        let mut r = rng(seed, SYNTH, i as u64);
        let used = 1 + r.below(5.min(k));
        for a in r.choose(k, used) {
            codes.row_mut(i)[a] = (0.5 - (1.0 - r.uniform()).ln()) as f32;
        }
    }
    let data = rows_of(&codes, &atoms, seed, 0.01, |v| v.max(0.0));
    Ok(Synth { data, atoms, codes: Some(codes), labels: None, image: Some((side, side)) })
}

/// n points of d columns in k clusters: centres N(0, 1) in each column, points about them with standard deviation `spread` in
/// each column.
///
/// Two centres are about √(2d) apart and a point about `spread`·√d from its own. Clusters are equal in size to within one row
/// and in random order. Codes are 1 for the row's own cluster.
///
/// # Errors
/// A count of 0; more clusters than rows; a spread that is negative or not finite.
pub fn clusters(n: usize, k: usize, d: usize, spread: f64, seed: u64) -> Result<Synth> {
    check("clusters", &[("rows", n), ("clusters", k), ("columns", d)], n, d.max(k))?;
    if k > n {
        return Err(Error::parameter(format!("{k} clusters need at least as many rows, not {n}; ask for more rows")));
    }
    if !(spread.is_finite() && spread >= 0.0) {
        return Err(Error::parameter(format!("a spread of {spread} is no standard deviation; give one of 0 or more")));
    }
    let mut atoms = Mat::zeros(k, d);
    for a in 0..k {
        let mut r = atom_rng(seed, a);
        atoms.row_mut(a).iter_mut().for_each(|v| *v = r.normal() as f32);
    }
    let mut labels: Vec<usize> = (0..n).map(|i| i % k).collect();
    atom_rng(seed, k).shuffle(&mut labels);
    let mut codes = Mat::zeros(n, k);
    for (i, &c) in labels.iter().enumerate() {
        codes.row_mut(i)[c] = 1.0;
    }
    let data = rows_of(&codes, &atoms, seed, spread, |v| v);
    Ok(Synth { data, atoms, codes: Some(codes), labels: Some(labels), image: None })
}

/// n rows of d columns from the spiked covariance model of Refinetti & Goldt (ICML 2022): M strong directions in white noise,
/// x = (Σₘ Λₘ zₘ √d aₘ + ξ) / s with z and ξ standard normal and Λₘ = 2ᵐ + 1 (3, 5, 9, …).
///
/// s² = ΣΛ² + 1 makes the mean variance of a column 1. The aₘ, random directions, are made orthonormal here, so that they
/// are the eigenvectors of the covariance exactly, with eigenvalues (Λₘ²d + 1)/s²; all others are 1/s². Two spikes: 25/35·d and
/// 9/35·d over 1/35. Atoms are the aₘ by falling eigenvalue, codes their weights Λₘ zₘ √d / s without the noise.
///
/// # Errors
/// A count of 0; more spikes than columns, or more than 20, whose strengths f32 can't hold beside the noise.
pub fn spiked(n: usize, d: usize, spikes: usize, seed: u64) -> Result<Synth> {
    check("spiked", &[("rows", n), ("columns", d), ("spikes", spikes)], n, d)?;
    if spikes > d.min(20) {
        return Err(Error::parameter(format!("{spikes} spikes in {d} columns; ask for {} at most", d.min(20))));
    }
    let random: Vec<f64> = (0..spikes)
        .flat_map(|m| {
            let mut r = atom_rng(seed, m);
            (0..d).map(move |_| r.normal())
        })
        .collect();
    let atoms = Mat { rows: spikes, cols: d, data: orthonormal(&random, spikes, d).into_iter().map(|v| v as f32).collect() };
    let strength: Vec<f64> = (1..=spikes).rev().map(|m| (1u64 << m) as f64 + 1.0).collect();
    let scale = (strength.iter().map(|s| s * s).sum::<f64>() + 1.0).sqrt();
    let mut codes = Mat::zeros(n, spikes);
    for i in 0..n {
        let mut r = rng(seed, SYNTH, i as u64);
        for (z, s) in codes.row_mut(i).iter_mut().zip(&strength) {
            *z = (s * (d as f64).sqrt() / scale * r.normal()) as f32;
        }
    }
    let data = rows_of(&codes, &atoms, seed, 1.0 / scale, |v| v);
    Ok(Synth { data, atoms, codes: Some(codes), labels: None, image: None })
}

/// n rows of d columns that each add up `alive` of k random directions of length 1, k > d as a rule: weights are uniform between ½ and 1½, and there
/// is noise of length .05 on a row.
///
/// Every direction is alive equally often. Atoms are the directions (k × d), codes their weights.
///
/// # Errors
/// A count of 0; more directions alive than there are.
pub fn dictionary(n: usize, d: usize, k: usize, alive: usize, seed: u64) -> Result<Synth> {
    check("dictionary", &[("rows", n), ("columns", d), ("atoms", k), ("atoms alive", alive)], n, d.max(k))?;
    if alive > k {
        return Err(Error::parameter(format!("{alive} atoms can't be alive of {k}; ask for {k} at most")));
    }
    let atoms = directions(k, d, seed);
    let mut codes = Mat::zeros(n, k);
    for i in 0..n {
        let mut r = rng(seed, SYNTH, i as u64);
        for a in r.choose(k, alive) {
            codes.row_mut(i)[a] = (0.5 + r.uniform()) as f32;
        }
    }
    let data = rows_of(&codes, &atoms, seed, 0.05 / (d as f64).sqrt(), |v| v);
    Ok(Synth { data, atoms, codes: Some(codes), labels: None, image: None })
}

/// n rows of d columns of length 1 from a tree of concepts: `parents` directions with `children` each. A row has up to three children,
/// the one in place p of a random order with probability ∝ 1/√p, and the parent of each with probability .9; weights are uniform between ½ and 1½, and
/// there is noise of length .1.
///
/// Few concepts are common and many are rare, as in embeddings of texts. Atoms are the parents, then the children of the first, of the second, and
/// so on; codes their weights on a row, of the row's length before it was brought to 1. `labels` is empty.
///
/// # Errors
/// A count of 0.
pub fn hierarchy(n: usize, d: usize, parents: usize, children: usize, seed: u64) -> Result<Synth> {
    let k = parents.saturating_add(parents.saturating_mul(children));
    check("hierarchy", &[("rows", n), ("columns", d), ("parents", parents), ("children", children)], n, d.max(k))?;
    let atoms = directions(k, d, seed);
    let leaves = parents * children;
    // In random order, so that every parent has common children and rare ones.
    let mut order: Vec<usize> = (0..leaves).collect();
    atom_rng(seed, k).shuffle(&mut order);
    let mut total = 0.0;
    let sums: Vec<f64> = (1..=leaves)
        .map(|place| {
            total += 1.0 / (place as f64).sqrt();
            total
        })
        .collect();
    let mut codes = Mat::zeros(n, k);
    for i in 0..n {
        let mut r = rng(seed, SYNTH, i as u64);
        for _ in 0..3 {
            let leaf = order[sums.partition_point(|s| *s < r.uniform() * total).min(leaves - 1)];
            codes.row_mut(i)[parents + leaf] = (0.5 + r.uniform()) as f32;
            if r.uniform() < 0.9 {
                codes.row_mut(i)[leaf / children] = (0.5 + r.uniform()) as f32;
            }
        }
    }
    let mut data = rows_of(&codes, &atoms, seed, 0.1 / (d as f64).sqrt(), |v| v);
    data.data.par_chunks_mut(d).for_each(|x| {
        let length = x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt() as f32;
        x.iter_mut().for_each(|v| *v /= length);
    });
    Ok(Synth { data, atoms, codes: Some(codes), labels: None, image: None })
}

/// Random directions of length 1 (k × d).
fn directions(k: usize, d: usize, seed: u64) -> Mat {
    let mut atoms = Mat::zeros(k, d);
    for a in 0..k {
        let mut r = atom_rng(seed, a);
        let row = atoms.row_mut(a);
        row.iter_mut().for_each(|v| *v = r.normal() as f32);
        let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt() as f32;
        row.iter_mut().for_each(|v| *v /= length);
    }
    atoms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{add_tn, dot, eigh};
    use crate::measure;
    use crate::model::Codes;

    fn eigenvalues(x: &Mat) -> (Vec<f64>, Vec<Vec<f64>>) {
        let mut s = vec![0.0; x.cols * x.cols];
        add_tn(&mut s, &x.data, &x.view());
        for v in &mut s {
            *v /= x.rows as f64;
        }
        eigh(&s, x.cols).expect("eigh")
    }

    /// Standard deviation of data - codes·atoms.
    fn noise(s: &Synth) -> f64 {
        let clean = Codes::Dense(s.codes.clone().expect("codes")).times(&s.atoms).expect("times");
        let squares = clean.data.iter().zip(&s.data.data).map(|(a, b)| f64::from(a - b).powi(2));
        (squares.sum::<f64>() / s.data.data.len() as f64).sqrt()
    }

    #[test]
    fn swimmer_is_what_it_claims() {
        let s = swimmer();
        assert_eq!((s.data.rows, s.data.cols, s.image), (256, 1024, Some((32, 32))));
        assert_eq!(noise(&s), 0.0);
        let mut images: Vec<Vec<u32>> = (0..256).map(|i| s.data.row(i).iter().map(|v| v.to_bits()).collect()).collect();
        assert!(s.data.data.iter().all(|&v| v == 0.0 || v == 1.0));
        assert!((0..256).all(|i| s.data.row(i).iter().sum::<f32>() == 36.0));
        images.sort();
        images.dedup();
        assert_eq!(images.len(), 256, "all images differ");
        let m = measure::atoms(&s.atoms, s.image);
        assert_eq!((m.overlap.mean, m.largest.expect("image").mean), (0.0, 1.0), "disjoint, each in one piece");
        for a in 0..17 {
            let (size, uses) = if a == 16 { (12.0, 256.0) } else { (6.0, 64.0) };
            assert_eq!(s.atoms.row(a).iter().sum::<f32>(), size);
            let codes = s.codes.as_ref().expect("codes");
            assert_eq!((0..256).map(|i| codes.row(i)[a]).sum::<f32>(), uses);
        }
        // Left and right, up and down, mirror each other.
        for position in 0..4 {
            let left = |limb: usize, flip: bool, turn: bool| {
                let v = s.atoms.row(limb * 4 + position);
                let at = |y: usize, x: usize| (if flip { 31 - y } else { y }) * 32 + if turn { 31 - x } else { x };
                (0..1024).map(|i| v[at(i / 32, i % 32)]).collect::<Vec<_>>()
            };
            let upper = left(0, false, false);
            assert!(upper == left(1, false, true) && upper == left(2, true, false) && upper == left(3, true, true));
        }
        // The plain decomposition gives up on this one: see `linalg::eigh`.
        let (values, _) = eigenvalues(&s.data);
        assert!(values[12] > 0.1 && values[13] < 1e-9, "rank 13: {} {}", values[12], values[13]);
    }

    #[test]
    fn parts_are_local_used_and_the_rest_is_noise() {
        let s = parts(2000, 25, 20, 1).expect("parts");
        assert_eq!((s.data.rows, s.data.cols, s.atoms.rows), (2000, 400, 25));
        assert!(s.data.data.iter().chain(&s.atoms.data).all(|v| *v >= 0.0));
        // Half of the noise is cut off where nothing is drawn: between .01/√2 and .01.
        assert!((0.0070..0.0101).contains(&noise(&s)), "{}", noise(&s));
        let m = measure::atoms(&s.atoms, s.image);
        assert!(m.dead.is_empty() && m.duplicates.is_empty());
        assert!(m.sparseness.each.iter().all(|v| *v > 0.6), "{:?}", m.sparseness.each);
        assert!(m.largest.expect("image").each.iter().all(|v| *v > 0.8));
        assert!((0..25).all(|a| s.atoms.row(a).iter().copied().fold(0.0, f32::max) == 1.0));
        let m = measure::codes(&Codes::Dense(s.codes.clone().expect("codes")));
        assert!((m.l0 - 3.0).abs() < 0.1 && m.usage.iter().all(|u| (u - 0.12).abs() < 0.03), "{:?}", m.usage);
        let few = parts(100, 25, 20, 1).expect("parts");
        assert_eq!(few.data.data, s.data.data[..100 * 400], "rows don't depend on how many follow");
        assert_ne!(parts(100, 25, 20, 2).expect("parts").data, few.data);
        for (k, side) in [(1, 1), (3, 2), (9, 3), (7, 40)] {
            let s = parts(20, k, side, 3).expect("parts");
            assert!(measure::atoms(&s.atoms, None).dead.is_empty(), "{k} parts on {side}×{side}");
        }
        assert!(parts(10, 5, 2, 0).is_err() && parts(10, 0, 2, 0).is_err() && parts(1 << 40, 5, 1 << 20, 0).is_err());
    }

    #[test]
    fn clusters_are_balanced_and_as_wide_as_asked() {
        let (n, k, d) = (1003, 8, 30);
        let s = clusters(n, k, d, 0.2, 1).expect("clusters");
        let labels = s.labels.clone().expect("labels");
        let mut count = vec![0; k];
        for &c in &labels {
            count[c] += 1;
        }
        assert!(count.iter().all(|c| (125..=126).contains(c)), "{count:?}");
        assert!((noise(&s) / 0.2 - 1.0).abs() < 0.02, "{}", noise(&s));
        for (i, &label) in labels.iter().enumerate() {
            assert_eq!(s.codes.as_ref().expect("codes").row(i)[label], 1.0);
            let far = |a: usize| s.data.row(i).iter().zip(s.atoms.row(a)).map(|(x, c)| (x - c).powi(2)).sum::<f32>();
            assert!((0..k).all(|a| far(label) <= far(a)), "row {i} is nearest to its own centre");
        }
        assert_eq!(clusters(n, k, d, 0.2, 1).expect("clusters"), s);
        let exact = clusters(9, 3, 2, 0.0, 1).expect("clusters");
        assert_eq!(noise(&exact), 0.0);
        assert!(clusters(2, 3, 2, 0.1, 0).is_err() && clusters(3, 3, 0, 0.1, 0).is_err());
        assert!(clusters(3, 3, 2, f64::NAN, 0).is_err() && clusters(3, 3, 2, -0.1, 0).is_err());
    }

    #[test]
    fn spikes_have_the_eigenvalues_of_the_paper() {
        let (n, d) = (40_000, 60);
        let s = spiked(n, d, 2, 1).expect("spiked");
        let (values, vectors) = eigenvalues(&s.data);
        for (got, want) in [(values[0] / d as f64, 25.0 / 35.0), (values[1] / d as f64, 9.0 / 35.0)] {
            assert!((got / want - 1.0).abs() < 0.03, "{got} {want}");
        }
        // The bulk: 1/35 each, so that all variances sum to d.
        let bulk = values[2..].iter().sum::<f64>() / (d - 2) as f64;
        assert!((bulk * 35.0 - 1.0).abs() < 0.01, "{bulk}");
        assert!((values.iter().sum::<f64>() / d as f64 - 1.0).abs() < 0.03);
        for m in 0..2 {
            let axis: Vec<f32> = vectors[m].iter().map(|&v| v as f32).collect();
            assert!(dot(&axis, s.atoms.row(m)).abs() > 0.9999);
            assert!((dot(s.atoms.row(m), s.atoms.row(m)) - 1.0).abs() < 1e-6);
        }
        assert!((noise(&s) * 35f64.sqrt() - 1.0).abs() < 0.01);
        assert_eq!(spiked(10, d, 2, 1).expect("spiked").data.data, s.data.data[..10 * d]);
        assert!(spiked(10, 3, 4, 0).is_err() && spiked(10, 60, 21, 0).is_err());
    }
}
