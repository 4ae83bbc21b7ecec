//! Principal components: the k orthogonal axes along which rows vary most.
//!
//! Minimises Σ |x − μ − Vᵀz|² over orthonormal axes V (k×d) and codes z = V(x − μ). With `center` off μ is zero, and the axes
//! are those of the second moments Σxxᵀ, as Lee & Seung (1999) use them. With `whiten` codes have variance 1.
//!
//! Two solvers. **Covariance** is exact: one pass leaves n, Σx and Σxxᵀ about a shift that all rows share (so nothing
//! cancels), then the leading eigenvectors are taken. **Randomized** is for many columns: each pass leaves Σxxᵀ·Q for a
//! block Q of k + `oversample` directions, the first ones random, each next block what the last one's product adds (block
//! Krylov, Musco & Musco 2015), and the best axes within all blocks are taken. Its variances are those of its axes exactly;
//! the axes come close to the best ones from below. Sparse rows stay sparse in both.
//!
//! The loss is the mean squared error of an entry, n⁻¹d⁻¹ Σ |x − x̂|², from the same sums.
//!
//! Cost: nd² operations for the covariance (half a full product) or 4nd(k + oversample) a pass. Memory: 8d² bytes, or
//! 16d(k + oversample) a pass. Left out: missing values, weights of rows, sparse axes.
//!
//! ```
//! use mereo::{Mat, Model, Pca, fold, source::Memory};
//! let x = Mat::new(4, 2, vec![1.0, 2.0, 2.0, 4.0, 3.0, 6.0, 4.0, 8.0])?;
//! let fitted = fold::fit(&Pca { k: 1, ..Pca::default() }, &Memory::from(&x), fold::Options::default())?;
//! let pca = fitted.model;
//! assert!((pca.explained_variance_ratio()[0] - 1.0).abs() < 1e-6);
//! let back = pca.decode(&pca.encode(&x.view())?)?;
//! assert!((back.row(3)[1] - 8.0).abs() < 1e-5);
//! # Ok::<(), mereo::Error>(())
//! ```

use crate::error::{Error, Result};
use crate::fold::{Method, Plan, Progress, Shape, State, Stats};
use crate::linalg::product::{self, Packed};
use crate::linalg::{self, Frame, Krylov};
use crate::mat::{Mat, Rows};
use crate::model::{Codes, Known, Model, check_width};
use crate::store::Bag;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Rows that the shift and the scale of the sums are taken from.
const SAMPLE: usize = 256;
/// Up to this many columns the second moments are always formed: d² of them take 128 MB.
const COLUMNS: usize = 4096;
/// What f32 products can resolve of an eigenvalue, as a share of the largest.
const FLOOR: f64 = 1e-6;
/// Variances below this share of the largest are noise of f32 products: such an axis is not whitened.
const FLAT: f64 = f32::EPSILON as f64;

/// How the axes are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PcaSolver {
    /// Covariance up to 4,096 columns, and beyond where the blocks of `Randomized` would take more memory; else randomised.
    #[default]
    Auto,
    /// All second moments in one pass, then their eigenvectors: exact.
    Covariance,
    /// Products of the second moments with few directions, `power` + 1 passes.
    Randomized,
}

/// Parameters of principal components; see the [module](self).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pca {
    /// Number of axes (k), at most the number of rows and of columns.
    pub k: usize,
    /// Subtract the mean first.
    pub center: bool,
    /// Give codes variance 1. Axes without variance are left as they are.
    pub whiten: bool,
    /// How the axes are found.
    pub solver: PcaSolver,
    /// Directions beyond k that the randomised solver carries along.
    pub oversample: usize,
    /// Passes of the randomised solver after its first; it ends early once the axes are as good as f32 can tell.
    pub power: usize,
    /// Seed of the randomised solver's first directions.
    pub seed: u64,
}

impl Default for Pca {
    fn default() -> Self {
        Self { k: 16, center: true, whiten: false, solver: PcaSolver::Auto, oversample: 10, power: 4, seed: 0 }
    }
}

/// Axes, mean and variances.
#[derive(Debug, Clone, PartialEq)]
pub struct PcaModel {
    /// Orthonormal axes by falling variance, the largest entry of each positive (k×d).
    pub axes: Mat,
    /// Mean of the rows (d); zeros if not centred.
    pub mean: Vec<f32>,
    /// Variance along each axis, the mean of squares if not centred (k). Divided by n − 1 if centred, else by n.
    pub variances: Vec<f64>,
    /// The same summed over all d columns.
    pub total_variance: f64,
    /// Number of rows of the fit (n).
    pub rows: u64,
    /// Whether the mean is subtracted.
    pub center: bool,
    /// Whether codes have variance 1.
    pub whiten: bool,
}

/// What a fit has found so far.
#[derive(Debug, Clone, PartialEq)]
pub struct PcaState {
    shape: Shape,
    frame: Frame,
    /// Of the randomised solver only.
    search: Option<Krylov>,
    found: Option<Found>,
}

#[derive(Debug, Clone, PartialEq)]
struct Found {
    axes: Mat,
    /// In the data's own units (d); zeros if not centred.
    mean: Vec<f64>,
    /// In the data's own units: sums of squares along each axis, and of all.
    squares: Vec<f64>,
    total: f64,
}

/// Sums over rows y, moved into the frame of the state.
#[derive(Debug, Clone)]
pub struct PcaStats {
    /// Σy (d).
    sums: Vec<f64>,
    /// Σ|y|², one number.
    square: Vec<f64>,
    /// Σyyᵀ (d×d, lower triangle), or Σyyᵀ times the block of the search (l×d).
    product: Vec<f64>,
}

impl Stats for PcaStats {
    fn parts(&mut self) -> Vec<&mut [f64]> {
        vec![&mut self.sums, &mut self.square, &mut self.product]
    }
}

impl State for PcaState {
    fn save(&self, bag: &mut Bag) {
        bag.put("shape", self.shape);
        bag.put_f32("shift", &self.frame.shift);
        bag.put_f32("factor", &[self.frame.factor]);
        if let Some(search) = &self.search {
            bag.put_f64("basis", &search.basis);
            bag.put_f64("products", &search.products);
            bag.put_f64("inner", &search.inner);
        }
        if let Some(found) = &self.found {
            bag.put_mat("axes", &found.axes);
            bag.put_f64("mean", &found.mean);
            bag.put_f64("squares", &found.squares);
            bag.put_f64("total", &[found.total]);
        }
    }
    fn load(bag: &Bag) -> Result<Self> {
        let shape: Shape = bag.get("shape")?;
        let [factor] = bag.f32("factor")?[..] else { return Err(Error::data("the checkpoint's `factor` must be one number")) };
        let search = if bag.tensors.contains_key("basis") {
            let (basis, products, inner) = (bag.f64("basis")?, bag.f64("products")?, bag.f64("inner")?);
            Some(Krylov { d: shape.cols, basis, products, inner })
        } else {
            None
        };
        let found = if bag.tensors.contains_key("axes") {
            let [total] = bag.f64("total")?[..] else { return Err(Error::data("the checkpoint's `total` must be one number")) };
            Some(Found { axes: bag.mat("axes")?, mean: bag.f64("mean")?, squares: bag.f64("squares")?, total })
        } else {
            None
        };
        Ok(Self { shape, frame: Frame { shift: bag.f32("shift")?, factor }, search, found })
    }
}

impl Pca {
    /// Directions that the randomised solver multiplies at once (l).
    fn width(&self, shape: Shape) -> usize {
        self.k.saturating_add(self.oversample).min(shape.rows).min(shape.cols)
    }

    fn randomized(&self, shape: Shape) -> bool {
        match self.solver {
            PcaSolver::Covariance => false,
            PcaSolver::Randomized => true,
            PcaSolver::Auto => {
                let blocks = self.width(shape).saturating_mul(2 * self.power.saturating_add(1));
                shape.cols > COLUMNS && blocks < shape.cols
            }
        }
    }

    /// Second moments about the mean (or about zero) as a full matrix (d×d), in the frame's units.
    fn moments(&self, stats: &mut PcaStats, n: f64) {
        let d = stats.sums.len();
        if self.center {
            for (i, row) in stats.product.chunks_exact_mut(d).enumerate() {
                let a = stats.sums[i] / n;
                row[..=i].iter_mut().zip(&stats.sums).for_each(|(g, b)| *g -= a * b);
            }
        }
        linalg::mirror(&mut stats.product, d);
    }
}

impl Method for Pca {
    type State = PcaState;
    type Stats = PcaStats;
    type Model = PcaModel;

    fn name(&self) -> &'static str {
        "pca"
    }

    fn check(&self, shape: Shape) -> Result<()> {
        let (k, n, d) = (self.k, shape.rows, shape.cols);
        if k == 0 {
            return Err(Error::parameter("k = 0 finds no axis; set k to 1 or more"));
        }
        if k > d {
            return Err(Error::parameter(format!("k = {k} exceeds the {d} columns; lower k or use a sparse autoencoder")));
        }
        if n == 1 && self.center {
            return Err(Error::data("one row has no variance about its mean; fit on two rows or more, or set center to false"));
        }
        if k > n {
            return Err(Error::parameter(format!(
                "k = {k} exceeds the {n} rows, which span no more axes; lower k or fit on more rows"
            )));
        }
        if self.power == 0 && self.randomized(shape) {
            return Err(Error::parameter("power = 0 would keep random axes; set power to 1 or more (4 is usual)"));
        }
        Ok(())
    }

    fn plan(&self) -> Plan {
        let max = if self.solver == PcaSolver::Covariance { 1 } else { self.power.saturating_add(1) };
        Plan { max, tol: 0.0, batch: None, shuffle: None }
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn sample(&self, _: Shape) -> usize {
        SAMPLE
    }

    fn init(&self, sample: &Rows, shape: Shape, _: usize) -> Result<PcaState> {
        let search = self.randomized(shape).then(|| Krylov::new(shape.cols, self.width(shape), self.seed));
        Ok(PcaState { shape, frame: Frame::of(sample, self.center), search, found: None })
    }

    fn zero(&self, state: &PcaState) -> PcaStats {
        let d = state.shape.cols;
        let product = state.search.as_ref().map_or(d * d, |search| search.block().len());
        PcaStats { sums: vec![0.0; d], square: vec![0.0], product: vec![0.0; product] }
    }

    fn observe(&self, state: &PcaState, x: &Rows, _: u64, _: &mut [f32], into: &mut PcaStats) -> Result<()> {
        let Some(search) = &state.search else {
            linalg::add_gram(&mut into.product, &mut into.sums, x, &state.frame);
            return Ok(());
        };
        let (block, d) = (search.block(), state.shape.cols);
        let q = Mat { rows: block.len() / d, cols: d, data: block.iter().map(|&v| v as f32).collect() };
        into.square[0] += linalg::add_gram_times(&mut into.product, &mut into.sums, x, &state.frame, &q);
        Ok(())
    }

    fn update(&self, state: &mut PcaState, mut stats: PcaStats) -> Result<Progress> {
        let (n, d) = (state.shape.rows as f64, state.shape.cols);
        let (values, vectors, total, done) = if let Some(search) = &mut state.search {
            if self.center {
                // (Σyyᵀ − mmᵀ/n) q = Σyyᵀq − m (m·q)/n
                for (row, q) in stats.product.chunks_exact_mut(d).zip(search.block().chunks_exact(d)) {
                    let along: f64 = stats.sums.iter().zip(q).map(|(m, q)| m * q).sum();
                    row.iter_mut().zip(&stats.sums).for_each(|(p, m)| *p -= along / n * m);
                }
            }
            let inside = if self.center { stats.sums.iter().map(|m| m * m).sum::<f64>() / n } else { 0.0 };
            search.push(&stats.product);
            let top = search.ritz(self.k)?;
            let good = top.residuals.iter().all(|r| *r <= FLOOR * top.values[0]);
            let closed = search.block().is_empty();
            (top.values, top.vectors, stats.square[0] - inside, good || closed)
        } else {
            self.moments(&mut stats, n);
            let total = (0..d).map(|j| stats.product[j * d + j]).sum();
            let (values, vectors) = linalg::eigh_top(&stats.product, d, self.k)?;
            (values, vectors, total, true)
        };
        let factor = f64::from(state.frame.factor);
        let mut axes = Mat { rows: self.k, cols: d, data: vectors.iter().map(|&v| v as f32).collect() };
        linalg::fix_signs(&mut axes);
        let mean = state.frame.shift.iter().zip(&stats.sums).map(|(&s, m)| f64::from(s) + m / n / factor).collect();
        let squares: Vec<f64> = values.iter().map(|v| v.max(0.0) / factor / factor).collect();
        let total = total.max(0.0) / factor / factor;
        let loss = (total - squares.iter().sum::<f64>()).max(0.0) / n / d as f64;
        let mean = if self.center { mean } else { vec![0.0; d] };
        state.found = Some(Found { axes, mean, squares, total });
        Ok(Progress { loss, done, ..Progress::default() })
    }

    fn model(&self, state: PcaState) -> Result<PcaModel> {
        let Some(found) = state.found else {
            return Err(Error::data("the fit was stopped before its first pass was over, so there are no axes yet; fit again"));
        };
        let count = if self.center { state.shape.rows as f64 - 1.0 } else { state.shape.rows as f64 };
        Ok(PcaModel {
            axes: found.axes,
            mean: found.mean.iter().map(|&m| m as f32).collect(),
            variances: found.squares.iter().map(|s| s / count).collect(),
            total_variance: found.total / count,
            rows: state.shape.rows as u64,
            center: self.center,
            whiten: self.whiten,
        })
    }
}

impl PcaModel {
    /// Reads a model that [`Model::save`] wrote.
    pub fn load(bag: &Bag) -> Result<Self> {
        let (axes, mean, variances) = (bag.mat("axes")?, bag.f32("mean")?, bag.f64("variances")?);
        if mean.len() != axes.cols || variances.len() != axes.rows {
            return Err(Error::data(format!(
                "the file has {} axes of {} columns, but {} variances and a mean of {} columns; it is damaged",
                axes.rows,
                axes.cols,
                variances.len(),
                mean.len()
            )));
        }
        let [total_variance] = bag.f64("total_variance")?[..] else {
            return Err(Error::data("the file's `total_variance` must be one number; it is damaged"));
        };
        let (rows, center, whiten) = (bag.get("rows")?, bag.get("center")?, bag.get("whiten")?);
        Ok(Self { axes, mean, variances, total_variance, rows, center, whiten })
    }

    /// Variance along each axis (k): [`PcaModel::variances`].
    pub fn explained_variance(&self) -> &[f64] {
        &self.variances
    }

    /// Share of the total variance along each axis (k); zeros for data without variance.
    pub fn explained_variance_ratio(&self) -> Vec<f64> {
        let total = if self.total_variance > 0.0 { self.total_variance } else { 1.0 };
        self.variances.iter().map(|v| v / total).collect()
    }

    /// Singular values of the (centred) rows of the fit (k): roots of the sums of squares along the axes.
    pub fn singular_values(&self) -> Vec<f64> {
        let count = if self.center { self.rows as f64 - 1.0 } else { self.rows as f64 };
        self.variances.iter().map(|v| (v * count).sqrt()).collect()
    }

    /// Mean variance along the directions left out, of which there are min(n, d) − k: the noise of probabilistic PCA (Tipping
    /// & Bishop 1999). Zero if none is left out.
    pub fn noise_variance(&self) -> f64 {
        let left = (self.rows as usize).min(self.axes.cols).saturating_sub(self.axes.rows);
        let variance = (self.total_variance - self.variances.iter().sum::<f64>()).max(0.0);
        if left == 0 { 0.0 } else { variance / left as f64 }
    }

    /// What a code is multiplied by to give lengths along the axes (k): the standard deviations if whitened, else ones.
    fn lengths(&self) -> Vec<f64> {
        let flat = FLAT * self.variances.first().copied().unwrap_or(0.0);
        let length = |v: &f64| if self.whiten && *v > flat { v.sqrt() } else { 1.0 };
        self.variances.iter().map(length).collect()
    }
}

impl Model for PcaModel {
    fn method(&self) -> &'static str {
        "pca"
    }

    fn atoms(&self) -> &Mat {
        &self.axes
    }

    fn encode(&self, x: &Rows) -> Result<Codes> {
        check_width(x, self.axes.cols)?;
        let (n, d, k) = (x.rows(), self.axes.cols, self.axes.rows);
        let per_length: Vec<f64> = self.lengths().iter().map(|l| 1.0 / l).collect();
        let offset = match x {
            // Dense rows are shifted before the product, so that large means do not cancel in it.
            Rows::Dense(_) => vec![0.0; k],
            Rows::Sparse(_) => (0..k).map(|a| linalg::dot(&self.mean, self.axes.row(a))).collect(),
        };
        let mut z = match x {
            Rows::Sparse(_) => linalg::rows_times_t(x, &self.axes),
            Rows::Dense(x) => {
                // What a row becomes depends on that row alone.
                let axes = Packed::new(&self.axes.transpose().data, k);
                let mut z = Mat::zeros(n, k);
                z.data.par_chunks_mut(linalg::PANEL * k).zip(x.data.par_chunks(linalg::PANEL * d)).for_each(|(z, x)| {
                    let mut y = x.to_vec();
                    for row in y.chunks_exact_mut(d) {
                        row.iter_mut().zip(&self.mean).for_each(|(v, m)| *v -= m);
                    }
                    product::rows_times(z, &Rows::dense(d, &y), &axes);
                });
                z
            }
        };
        for row in z.data.chunks_exact_mut(k) {
            for ((v, offset), scale) in row.iter_mut().zip(&offset).zip(&per_length) {
                *v = ((f64::from(*v) - offset) * scale) as f32;
            }
        }
        Ok(Codes::Dense(z))
    }

    fn decode(&self, z: &Codes) -> Result<Mat> {
        let mut scaled = self.axes.clone();
        for (row, length) in scaled.data.chunks_exact_mut(self.axes.cols).zip(self.lengths()) {
            for v in row {
                *v = (f64::from(*v) * length) as f32;
            }
        }
        let mut x = z.times(&scaled)?;
        for row in x.data.chunks_exact_mut(x.cols) {
            row.iter_mut().zip(&self.mean).for_each(|(v, m)| *v += m);
        }
        Ok(x)
    }

    fn known(&self) -> Option<Known> {
        Some(Known::Variance(self.explained_variance_ratio()))
    }

    fn save(&self, bag: &mut Bag) {
        bag.put_mat("axes", &self.axes);
        bag.put_f32("mean", &self.mean);
        bag.put_f64("variances", &self.variances);
        bag.put_f64("total_variance", &[self.total_variance]);
        bag.put("rows", self.rows);
        bag.put("center", self.center);
        bag.put("whiten", self.whiten);
    }
}

#[cfg(test)]
mod tests;
