//! Squared error with constraints and penalties that tie the entries of an atom, or atoms, together.
//!
//! Sparseness met exactly ([`Nmf::sparse_atoms`], Hoyer 2004), atoms apart ([`Nmf::orthogonal`]), a small volume ([`Nmf::volume`], Fu et al.
//! 2019) and neighbouring pixels alike ([`Nmf::smooth`]). All of them need atoms of a fixed length, since otherwise an atom could
//! shrink, and its weights grow, until nothing is asked of it any more. On unit vectors h the objective of one atom, the others given,
//!
//! ½·‖R − wh‖² = const − h·(Rᵀw)
//!
//! is linear, and so are the penalties: orthogonality is (E/k)·Σ_{a<c} h_a·h_c; ½·log det(HHᵀ + δI) is below its tangent ½·tr(M·HHᵀ), M the
//! inverse at the atoms at hand; and ½·Σ (h_i − h_j)² over neighbours, ½·hLhᵀ, is below its own with ρI − L added, ρ = 8 being no less than any
//! eigenvalue of L. So the best atom is the point of its set that is nearest to one vector v, found in one step: the projection onto Hoyer's
//! set, or max(v, 0) / ‖max(v, 0)‖. No step size is looked for, as projected gradients must, and the objective never rises. E is Σx², so
//! that the penalties are shares of it.
//!
//! Hoyer's sparseness of the codes ties all rows together: one threshold an atom. It needs all rows at hand in one block, and is
//! refused otherwise.

use super::exact;
use super::product::{self, Packed};
use super::sparseness::{norm_of, project};
use super::squared::FLOOR;
use super::{Nmf, NmfInit, NmfLoss, NmfSolver, NmfState, NmfStats};
use crate::error::{Error, Result};
use crate::fold::Shape;
use crate::mat::{Mat, Rows};
use rayon::prelude::*;

/// What keeps the volume of dependent atoms finite: δ on the diagonal of HHᵀ, which is one.
const VOLUME_FLOOR: f64 = 0.1;
/// No less than any eigenvalue of the Laplacian of a grid with four neighbours.
const STIFF: f64 = 8.0;

impl Nmf {
    /// Whether atoms have unit length during the fit.
    pub(super) fn unit_atoms(&self) -> bool {
        self.sparse_atoms.is_some() || self.orthogonal > 0.0 || self.volume > 0.0 || self.smooth > 0.0
    }

    /// Whether the fit has a step of its own for atoms or weights, one that coordinates can't take apart.
    pub(super) fn tied(&self) -> bool {
        self.unit_atoms() || self.signed || self.sparse_codes.is_some()
    }
}

/// Refuses what contradicts itself or the data.
pub(super) fn check(how: &Nmf, Shape { rows, cols }: Shape) -> Result<()> {
    let refuse = |text: String| Err(Error::parameter(text));
    for (name, sparseness) in [("sparse_atoms", how.sparse_atoms), ("sparse_codes", how.sparse_codes)] {
        match sparseness {
            Some(s) if !(0.0..=1.0).contains(&s) => {
                return refuse(format!("{name} = {s} must lie between 0 (all entries equal) and 1 (a single one)"));
            }
            _ => {}
        }
    }
    for (name, share) in [("orthogonal", how.orthogonal), ("volume", how.volume), ("smooth", how.smooth)] {
        if !(share.is_finite() && share >= 0.0) {
            return refuse(format!("{name} = {share} must be a finite number of at least 0"));
        }
    }
    if !(0.0..=1.0).contains(&how.theta) {
        return refuse(format!("theta = {} must lie between 0 (no smoothing) and 1 (every atom the same)", how.theta));
    }
    if how.theta > 0.0 && how.way() != NmfSolver::LeeSeung {
        return refuse("theta > 0 is of the divergence with atoms that sum to one; set solver to lee-seung".into());
    }
    if how.tied() {
        if how.minimised() != NmfLoss::Squared || how.way() != NmfSolver::Cd {
            return refuse(
                "sparse, orthogonal, smooth and signed atoms, their volume, and sparse codes are of the squared error by coordinate \
                 descent; set loss to squared, and solver to cd or auto"
                    .into(),
            );
        }
        if how.unit_atoms() && how.alpha_h > 0.0 {
            return refuse("atoms of unit length can't be made smaller by alpha_h; set it to 0".into());
        }
    }
    if how.signed {
        if how.sparse_atoms.is_some() || how.orthogonal > 0.0 || how.alpha_h * how.l1_ratio > 0.0 {
            return refuse(
                "sparse_atoms, orthogonal, and alpha_h with an l1_ratio are of atoms without negative entries; drop them, or signed".into(),
            );
        }
        if !matches!(how.init, NmfInit::Random | NmfInit::KMeans | NmfInit::Given) {
            return refuse("signed atoms start from random, k-means or given ones; set init to one of these".into());
        }
    }
    if how.smooth > 0.0 {
        match how.image {
            None => return refuse("smooth needs the height and width of the images; give `image`".into()),
            Some((height, width)) if height.checked_mul(width) != Some(cols) => {
                return refuse(format!(
                    "an image of {height}×{width} pixels does not fill the {cols} columns; give their true size"
                ));
            }
            Some(_) => {}
        }
    }
    if how.fixed > how.k {
        return refuse(format!("fixed = {} exceeds the {} atoms; lower it, or raise k", how.fixed, how.k));
    }
    if how.solver == NmfSolver::Separable && !matches!(how.init, NmfInit::Spa | NmfInit::Snpa | NmfInit::Given) {
        return refuse("the separable solver takes its atoms from the rows; set init to spa or snpa".into());
    }
    match &how.given {
        _ if how.fixed == 0 => {}
        None => return refuse(format!("fixed = {} needs `given`, whose first rows are those atoms", how.fixed)),
        Some(given) if given.rows < how.fixed || given.cols != cols => {
            return refuse(format!(
                "the given atoms are {} of {} columns; fixed = {} needs as many of {cols} columns",
                given.rows, given.cols, how.fixed
            ));
        }
        Some(_) => {}
    }
    if how.sparse_codes.is_some() && rows < 2 {
        return refuse("the sparseness of codes is that of an atom's weights over many rows; give at least 2 rows".into());
    }
    Ok(())
}

/// Puts the fixed atoms in their place and every atom into its set, before the first pass.
pub(super) fn begin(how: &Nmf, state: &mut NmfState) {
    let k = how.k;
    if let Some(given) = how.given.as_ref().filter(|_| how.fixed > 0) {
        let root = state.scale.sqrt();
        for (j, h) in state.h.data.chunks_exact_mut(k).enumerate() {
            (0..how.fixed).for_each(|a| h[a] = given.row(a)[j] * root);
        }
    }
    if how.unit_atoms() {
        let mut atoms = turned(&state.h);
        for (a, h) in atoms.iter_mut().enumerate() {
            let set = if a < how.fixed { Set::Signed } else { Set::of(how, h.len()) };
            set.nearest(h);
        }
        turn_back(&atoms, &mut state.h);
    }
}

/// Where an atom of unit length may be.
#[derive(Clone, Copy)]
enum Set {
    Signed,
    Positive,
    /// With ‖h‖₁ of this.
    Sparse(f64),
}

impl Set {
    fn of(how: &Nmf, cols: usize) -> Self {
        match how.sparse_atoms {
            Some(s) => Self::Sparse(norm_of(s, cols)),
            None if how.signed => Self::Signed,
            None => Self::Positive,
        }
    }

    /// Replaces `v` by the point of the set that is nearest to it. Returns whether there was one: no direction is near to nothing.
    fn nearest(self, v: &mut [f64]) -> bool {
        match self {
            Self::Sparse(c) => {
                if v.iter().all(|v| *v == 0.0) {
                    return false;
                }
                project(v, c);
                return true;
            }
            Self::Positive => v.iter_mut().for_each(|v| *v = v.max(0.0)),
            Self::Signed => {}
        }
        let length = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        if length > 0.0 {
            v.iter_mut().for_each(|v| *v /= length);
        }
        length > 0.0
    }
}

/// The atoms as rows, in f64.
fn turned(h: &Mat) -> Vec<Vec<f64>> {
    let row = |a: usize| h.data.iter().skip(a).step_by(h.cols).map(|&v| f64::from(v)).collect();
    (0..h.cols).into_par_iter().map(row).collect()
}

fn turn_back(atoms: &[Vec<f64>], h: &mut Mat) {
    let k = h.cols;
    h.data.par_chunks_mut(k).enumerate().for_each(|(j, h)| h.iter_mut().zip(atoms).for_each(|(h, atom)| *h = atom[j] as f32));
}

/// The step of the atoms `h` = Hᵀ (d×k) on the sums of a pass, if this fit has one of its own: the penalties that belong to the new
/// atoms, beside half the squared error.
pub(super) fn atoms(how: &Nmf, state: &NmfState, s: &NmfStats, h: &mut Mat) -> Option<f64> {
    if how.way() == NmfSolver::Separable {
        return Some(0.0);
    }
    if how.unit_atoms() {
        return Some(sweep(how, state, s, h));
    }
    if !how.signed && how.way() != NmfSolver::Exact {
        return None;
    }
    let (k, (l1, l2)) = (how.k, state.penalty_of_atoms(how));
    let mut ww = s.ww.clone();
    (0..k).for_each(|a| ww[a * k + a] += l2);
    let xw: Vec<f64> = s.xw.iter().map(|b| b - l1).collect();
    exact::atoms(&mut h.data, &xw, &ww, (k, how.fixed), how.signed);
    if !how.signed {
        h.data.iter_mut().for_each(|h| *h = h.max(FLOOR));
    }
    Some(0.0)
}

/// Sweeps over atoms of unit length.
fn sweep(how: &Nmf, state: &NmfState, s: &NmfStats, h: &mut Mat) -> f64 {
    let (k, d) = (how.k, h.rows);
    let energy = state.totals[0] / k as f64;
    let (apart, volume, smooth) = (how.orthogonal * energy, how.volume * energy, how.smooth * energy);
    let grid = Grid::of(how.image.filter(|_| smooth > 0.0));
    let set = Set::of(how, d);
    let mut atoms = turned(h);
    let xw: Vec<Vec<f64>> = (0..k).into_par_iter().map(|a| s.xw.iter().skip(a).step_by(k).copied().collect()).collect();
    for _ in 0..how.sweeps {
        let mut ties = s.ww.clone();
        (0..k * k).filter(|i| i / k != i % k).for_each(|i| ties[i] += apart);
        if volume > 0.0 {
            let inverse = inverse(&gram_of(&atoms, VOLUME_FLOOR), k);
            ties.iter_mut().zip(&inverse).for_each(|(t, m)| *t += volume * m);
        }
        for a in how.fixed..k {
            let mut v = xw[a].clone();
            v.par_chunks_mut(4096).enumerate().for_each(|(i, v)| {
                let from = i * 4096;
                for (c, other) in atoms.iter().enumerate().filter(|(c, _)| *c != a) {
                    let tie = ties[a * k + c];
                    v.iter_mut().zip(&other[from..]).for_each(|(v, h)| *v -= tie * h);
                }
                if let Some(grid) = &grid {
                    v.iter_mut().enumerate().for_each(|(j, v)| *v += smooth * grid.pull(&atoms[a], from + j));
                }
            });
            let pull = |h: &[f64]| h.iter().zip(&v).map(|(h, v)| h * v).sum::<f64>();
            let mut new = v.clone();
            // An atom that nothing pulls stays; so does one that rounding would only make worse.
            if pull(&v) > 0.0 && set.nearest(&mut new) && pull(&new) >= pull(&atoms[a]) {
                atoms[a] = new;
            }
        }
    }
    turn_back(&atoms, h);
    let mut penalty = 0.0;
    let gram = gram_of(&atoms, 0.0);
    if apart > 0.0 {
        penalty += apart * (0..k).flat_map(|a| (0..a).map(move |c| (a, c))).map(|(a, c)| gram[a * k + c]).sum::<f64>();
    }
    if volume > 0.0 {
        penalty += 0.5 * volume * log_determinant(&gram_of(&atoms, VOLUME_FLOOR), k);
    }
    if let Some(grid) = &grid {
        penalty += 0.5 * smooth * atoms.iter().map(|h| grid.roughness(h)).sum::<f64>();
    }
    penalty
}

/// HHᵀ (k×k) with `add` on its diagonal.
fn gram_of(atoms: &[Vec<f64>], add: f64) -> Vec<f64> {
    let k = atoms.len();
    let dot = |i: usize| atoms[i / k].iter().zip(&atoms[i % k]).map(|(a, b)| a * b).sum::<f64>();
    (0..k * k).into_par_iter().map(|i| dot(i) + if i / k == i % k { add } else { 0.0 }).collect()
}

/// The lower Cholesky factor of a positive definite matrix (k×k).
fn cholesky(m: &[f64], k: usize) -> Vec<f64> {
    let mut l = vec![0.0; k * k];
    for i in 0..k {
        for j in 0..=i {
            let rest = m[i * k + j] - (0..j).map(|c| l[i * k + c] * l[j * k + c]).sum::<f64>();
            l[i * k + j] = if i == j { rest.max(f64::MIN_POSITIVE).sqrt() } else { rest / l[j * k + j] };
        }
    }
    l
}

fn log_determinant(m: &[f64], k: usize) -> f64 {
    let l = cholesky(m, k);
    (0..k).map(|a| 2.0 * l[a * k + a].ln()).sum()
}

/// The inverse of a positive definite matrix (k×k).
fn inverse(m: &[f64], k: usize) -> Vec<f64> {
    let l = cholesky(m, k);
    let mut out = vec![0.0; k * k];
    for (column, x) in out.chunks_exact_mut(k).enumerate() {
        for i in 0..k {
            let done: f64 = (0..i).map(|c| l[i * k + c] * x[c]).sum();
            x[i] = (f64::from(u8::from(i == column)) - done) / l[i * k + i];
        }
        for i in (0..k).rev() {
            let done: f64 = (i + 1..k).map(|c| l[c * k + i] * x[c]).sum();
            x[i] = (x[i] - done) / l[i * k + i];
        }
    }
    out
}

/// Pixels and their neighbours above, below and beside them.
struct Grid {
    height: usize,
    width: usize,
}

impl Grid {
    fn of(image: Option<(usize, usize)>) -> Option<Self> {
        image.map(|(height, width)| Self { height, width })
    }

    /// (ρI − L)·h at pixel j.
    fn pull(&self, h: &[f64], j: usize) -> f64 {
        let (y, x) = (j / self.width, j % self.width);
        let near =
            [(y > 0, 0), (y + 1 < self.height, 2 * self.width), (x > 0, self.width - 1), (x + 1 < self.width, self.width + 1)];
        // Counted from the pixel above, so that nothing falls below zero.
        let near = near.iter().filter(|(there, _)| *there).map(|(_, step)| h[j + step - self.width]);
        let (count, sum) = near.fold((0.0, 0.0), |(n, s), h| (n + 1.0, s + h));
        (STIFF - count) * h[j] + sum
    }

    /// Σ (h_i − h_j)² over all pairs of neighbours.
    fn roughness(&self, h: &[f64]) -> f64 {
        let across = h.chunks_exact(self.width).flat_map(|row| row.windows(2).map(|p| (p[0] - p[1]).powi(2)));
        let down = h.iter().zip(&h[self.width..]).map(|(a, b)| (a - b).powi(2));
        across.sum::<f64>() + down.sum::<f64>()
    }
}

/// The weights of all rows at once, each atom's of the sparseness asked for, and what they leave behind.
pub(super) fn observe(
    how: &Nmf,
    state: &NmfState,
    x: &Rows,
    first: u64,
    w: &mut [f32],
    into: &mut NmfStats,
    sparseness: f64,
) -> Result<()> {
    let (k, n) = (how.k, x.rows());
    if n as u64 != state.rows {
        return Err(Error::parameter(format!(
            "sparse_codes ties the weights of all {} rows together, and these come in blocks of {n}; give the data as one block in memory, \
             or use alpha_w with l1_ratio = 1",
            state.rows
        )));
    }
    let fresh = state.pass == 0;
    if fresh {
        super::init::weights(how, state, x, first, w);
    }
    let scale = f64::from(state.scale);
    let (l1, l2) = state.penalty_of_weights(how, x.cols());
    let h = Packed::new(&state.at().data, k);
    let mut b = vec![0f32; n * k];
    let take = super::take(n);
    b.par_chunks_mut(take * k).enumerate().for_each(|(i, b)| {
        product::rows_times(b, &x.slice(i * take, i * take + b.len() / k), &h);
    });
    let c = norm_of(sparseness, n);
    for sweep in 0..how.sweeps {
        for a in 0..k {
            let gram = &state.gram[a * k..(a + 1) * k];
            if gram[a] <= 0.0 {
                continue;
            }
            let mut v = vec![0f64; n];
            v.par_iter_mut().zip(w.par_chunks(k)).zip(b.par_chunks(k)).for_each(|((v, w), b)| {
                let others: f64 = (0..k).filter(|c| *c != a).map(|c| f64::from(gram[c]) * f64::from(w[c])).sum();
                *v = f64::from(b[a]) * scale - f64::from(l1) - others;
            });
            let mut u = v.clone();
            project(&mut u, c);
            let pull: f64 = u.iter().zip(&v).map(|(u, v)| u * v).sum();
            let size = pull / (f64::from(gram[a]) + f64::from(l2));
            // No direction helps: an atom keeps its weights, which have the sparseness already but before the first pass.
            let size = match size > 0.0 {
                true => size,
                false if fresh && sweep == 0 => 1e-6,
                false => continue,
            };
            w.par_chunks_mut(k).zip(&u).for_each(|(w, u)| w[a] = (u * size) as f32);
        }
    }
    into.sums[6] += w.iter().map(|&w| f64::from(w)).sum::<f64>();
    product::add_transposed(&mut into.xw, x, w, k, scale);
    product::add_transposed(&mut into.ww, &Rows::dense(k, w), w, k, 1.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_and_determinant() {
        let m = [4.0, 1.0, 0.5, 1.0, 3.0, 0.2, 0.5, 0.2, 2.0];
        let i = inverse(&m, 3);
        for a in 0..3 {
            for b in 0..3 {
                let one: f64 = (0..3).map(|c| m[a * 3 + c] * i[c * 3 + b]).sum();
                assert!((one - f64::from(u8::from(a == b))).abs() < 1e-12);
            }
        }
        let determinant: f64 = 4.0 * (6.0 - 0.04) - (2.0 - 0.1) + 0.5 * (0.2 - 1.5);
        assert!((log_determinant(&m, 3) - determinant.ln()).abs() < 1e-12);
    }

    #[test]
    fn the_grid_is_its_laplacian() {
        let grid = Grid { height: 3, width: 4 };
        let mut r = crate::rng::rng(1, 0, 0);
        let h: Vec<f64> = (0..12).map(|_| r.normal()).collect();
        // hLh = Σ (h_i − h_j)², with L from what `pull` says.
        let quadratic: f64 = (0..12).map(|j| h[j] * (STIFF * h[j] - grid.pull(&h, j))).sum();
        assert!((quadratic - grid.roughness(&h)).abs() < 1e-12);
        assert!(grid.pull(&[1.0; 12], 5) == STIFF);
    }
}
