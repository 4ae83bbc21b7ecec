//! Fitted models side by side: all numbers and pictures of a comparison, as plain data.
//!
//! A [`Comparison`] is what a report draws, a table prints and `--json` writes. It sees a model only as [`Model`] and rows
//! only as [`Source`], so a new method joins without a line here. Everything is in the units that the models were fitted in
//! (after preparation).
//!
//! Cost of an [`entry`]: one encoding of all rows for the errors, and one of at most [`SAMPLE`] rows for the codes.

use crate::error::{Error, Result};
use crate::fold::{self, Pass, Stop};
use crate::linalg;
use crate::mat::{Mat, Rows};
use crate::measure::{self, AtomMeasures, CodeMeasures, Errors};
use crate::model::{Codes, Model};
use crate::source::{self, Source};
use crate::store::{Bag, Numbers};
use serde::ser::{Serialize, SerializeSeq, Serializer};

/// Codes are looked at for this many rows, drawn evenly from the training rows; of fewer, for all.
pub const SAMPLE: usize = 8192;
/// Bars of a histogram of codes.
const BINS: usize = 40;

/// Models of one data set, side by side.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Comparison {
    /// Version of mereo that made it.
    pub version: String,
    /// What to type to make it again, if it was typed.
    pub command: Option<String>,
    /// What was learned from.
    pub data: About,
    /// Number of atoms of every model.
    pub k: usize,
    /// Seed of all randomness.
    pub seed: u64,
    /// Threads that the times were measured with.
    pub threads: usize,
    /// The row that every model is shown at work on.
    pub example: Example,
    /// The models, in the order that was asked for.
    pub entries: Vec<Entry>,
    /// Methods that don't take this data.
    pub left_out: Vec<LeftOut>,
    /// Error against the number of atoms, one line a model; empty if only one number was tried.
    pub sizes: Vec<Sizes>,
}

/// What was learned from.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct About {
    /// Short name.
    pub name: String,
    /// One sentence on what it is.
    pub about: Option<String>,
    /// Whom to credit.
    pub credit: Option<String>,
    /// Under which terms it may be used.
    pub licence: Option<String>,
    /// Rows to learn from.
    pub train: usize,
    /// Rows held out; 0 if none were.
    pub test: usize,
    /// Number of columns (d).
    pub cols: usize,
    /// Height and width, if a row is an image.
    pub image: Option<(usize, usize)>,
    /// Names of the columns, where known.
    pub columns: Option<Vec<String>>,
    /// Names of the steps of preparation, in order; empty for none.
    pub preparation: Vec<String>,
}

/// One row, before and after preparation.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Example {
    /// Its number in the data, from 0.
    pub row: usize,
    /// As it is in the data (d).
    pub original: Vec<f32>,
    /// As the models see it (d).
    pub prepared: Vec<f32>,
}

/// A method that was not fitted.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LeftOut {
    /// What the reader calls it.
    pub label: String,
    /// Why it doesn't take this data, and what would help.
    pub why: String,
}

/// Error against the number of atoms.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Sizes {
    /// The label of the model's entry.
    pub label: String,
    /// Number of atoms, and RMSE on the held-out rows (on the training rows if none are held out).
    pub points: Vec<(usize, f64)>,
}

/// How a fit went; the caller's part of an [`Entry`].
#[derive(Debug, Clone, serde::Serialize)]
pub struct Facts {
    /// What the reader calls it: `NMF`, `NMF (Lee & Seung 1999)`.
    pub label: String,
    /// Parameters of the method.
    pub params: serde_json::Value,
    /// Wall-clock time of the fit.
    pub seconds: f64,
    /// Every pass over the data; the loss is in the method's own terms.
    pub curve: Vec<Pass>,
    /// Why it ended.
    pub stop: Stop,
}

impl Facts {
    /// How much the last pass changed the loss, as a share of it.
    pub fn change(&self) -> Option<f64> {
        last_change(self.curve.iter().map(|p| p.loss))
    }

    /// How far from a stationary point the last pass began; see [`fold::Progress::gradient`].
    pub fn gradient(&self) -> Option<f64> {
        self.curve.last()?.gradient
    }
}

/// How much the last of these losses differs from the one before it, as a share of that; none where that is no finite number.
pub fn last_change(losses: impl DoubleEndedIterator<Item = f64>) -> Option<f64> {
    let mut back = losses.rev();
    let (last, before) = (back.next()?, back.next()?);
    let change = if last == before { 0.0 } else { (before - last).abs() / before.abs() };
    Some(change).filter(|c| c.is_finite())
}

/// One fitted model, measured.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Entry {
    /// How its fit went.
    #[serde(flatten)]
    pub facts: Facts,
    /// Short name of the method.
    pub method: String,
    /// Errors on the rows that it learned from.
    pub train: Errors,
    /// Errors on held-out rows, if there are any.
    pub test: Option<Errors>,
    /// How far its squared error on the rows that it learned from lies above that of as many principal components of the centred rows, as a
    /// share of that, where it was asked for: no model that adds up atoms, with an offset or without, comes below 0.
    pub above_pca: Option<f64>,
    /// What its atoms look like.
    pub atom_measures: AtomMeasures,
    /// What its codes of training rows look like.
    pub code_measures: CodeMeasures,
    /// Numbers that the model file holds.
    pub stored: usize,
    /// Numbers that have to be stored of a row, on the mean: k codes where they are dense; where only a few are, the index and the value of each,
    /// or the index alone if all values are 1.
    pub row_numbers: f64,
    /// Variance of codes · atoms along its principal directions, falling, as shares of the variance of the rows. For PCA these
    /// are the explained variance ratios.
    pub scree: Vec<f64>,
    /// How the codes of training rows are spread.
    pub histogram: Histogram,
    /// The model at work on the example.
    pub example: Work,
    /// The atoms (k × d).
    #[serde(serialize_with = "as_rows")]
    pub atoms: Mat,
}

/// A model at work on one row: `codes · atoms + offset = reconstruction`, for models that decode so.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Work {
    /// Weights on the atoms (k).
    pub codes: Vec<f32>,
    /// What the model decodes from weights of zero (d); none if that is zero.
    pub offset: Option<Vec<f32>>,
    /// What it decodes from the codes (d).
    pub reconstruction: Vec<f32>,
    /// Root mean square of the difference from the prepared row.
    pub rmse: f64,
}

/// Counts of numbers in equal bins.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Histogram {
    /// Lower end of the first bin.
    pub low: f64,
    /// Upper end of the last bin.
    pub high: f64,
    /// Numbers in each bin.
    pub counts: Vec<u64>,
    /// Numbers that are exactly zero; they are in the bins as well.
    pub zeros: u64,
}

/// What the models are measured on.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// Prepared rows that were learned from.
    pub train: &'a dyn Source,
    /// Prepared rows that were held out.
    pub test: Option<&'a dyn Source>,
    /// Height and width, if a row is an image.
    pub image: Option<(usize, usize)>,
    /// Which of the held-out rows (of the training rows if none are held out) is the example.
    pub shown: usize,
}

/// Measures one fitted model.
///
/// # Errors
/// Rows of other columns than the model's, an unreadable block, or an example beyond the last row.
pub fn entry(model: &dyn Model, facts: Facts, setting: &Setting) -> Result<Entry> {
    let sample = fold::draw(setting.train, SAMPLE, 0)?;
    let codes = model.encode(&sample)?;
    Ok(Entry {
        facts,
        method: model.method().to_string(),
        train: measure::errors(model, setting.train)?,
        test: setting.test.map(|test| measure::errors(model, test)).transpose()?,
        above_pca: None,
        atom_measures: measure::atoms(model.atoms(), setting.image),
        code_measures: measure::codes(&codes),
        stored: stored(model),
        row_numbers: row_numbers(&codes),
        scree: scree(&codes, model.atoms(), &sample)?,
        histogram: histogram(&codes),
        example: work(model, &row(setting.test.unwrap_or(setting.train), setting.shown)?)?,
        atoms: model.atoms().clone(),
    })
}

/// By how much a squared error lies above another, as a share of that; none where that is 0.
pub fn above(rmse: f64, best: f64) -> Option<f64> {
    Some((rmse / best).powi(2) - 1.0).filter(|above| above.is_finite())
}

/// Row `i` of a source, as a matrix of one row.
pub fn row(source: &dyn Source, i: usize) -> Result<Mat> {
    let mut first = 0;
    for b in 0..source.blocks() {
        let end = first + source.rows(b);
        if i < end {
            return Ok(source.block(b)?.slice(i - first, i - first + 1).to_mat());
        }
        first = end;
    }
    Err(Error::data(format!("there is no row {i} in data of {} rows (counted from 0)", source::count(source))))
}

fn work(model: &dyn Model, x: &Mat) -> Result<Work> {
    let codes = model.encode(&x.view())?;
    let zero = Codes::Dense(Mat::zeros(1, model.atoms().rows));
    let offset = model.decode(&zero)?.data;
    let reconstruction = model.decode_like(&codes, &x.view())?.data;
    let square: f64 = x.data.iter().zip(&reconstruction).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    Ok(Work {
        codes: codes.to_mat().data,
        offset: offset.iter().any(|v| *v != 0.0).then_some(offset),
        rmse: (square / x.cols.max(1) as f64).sqrt(),
        reconstruction,
    })
}

/// Numbers in the tensors of a saved model.
fn stored(model: &dyn Model) -> usize {
    let mut bag = Bag::default();
    model.save(&mut bag);
    let length = |data: &Numbers| match data {
        Numbers::F32(v) => v.len(),
        Numbers::F64(v) => v.len(),
    };
    bag.tensors.values().map(|t| length(&t.data)).sum()
}

fn row_numbers(codes: &Codes) -> f64 {
    match codes {
        Codes::Dense(z) => z.cols as f64,
        Codes::Sparse(z) => {
            let each = if z.values.iter().all(|v| *v == 1.0) { 1.0 } else { 2.0 };
            each * z.values.len() as f64 / z.rows.max(1) as f64
        }
    }
}

/// Eigenvalues of the covariance of codes · atoms over the total variance of the rows `x` that the codes are of.
///
/// With C the covariance of the codes (k×k) and A the atoms, the nonzero eigenvalues of `AᵀCA` are those of `G½ C G½` with `G = AAᵀ`:
/// k×k, not d×d. Where there are more atoms than columns, d×d is the smaller one.
fn scree(codes: &Codes, atoms: &Mat, x: &Rows) -> Result<Vec<f64>> {
    let (n, k) = (codes.rows(), codes.cols());
    let total = variance(x);
    if n == 0 || k == 0 || total <= 0.0 {
        return Ok(Vec::new());
    }
    let wide = k > atoms.cols;
    let (z, k) = if wide { (codes.times(atoms)?, atoms.cols) } else { (codes.to_mat(), k) };
    let mut mean = vec![0f64; k];
    for row in z.data.chunks_exact(k) {
        mean.iter_mut().zip(row).for_each(|(m, &v)| *m += f64::from(v) / n as f64);
    }
    // Less the mean first: the difference of two large sums would drown small eigenvalues.
    let shift: Vec<f32> = mean.iter().map(|&m| m as f32).collect();
    let centred = linalg::shifted(&crate::mat::DenseRows { cols: k, data: (&z.data).into(), weights: None }, &shift);
    let mut c = vec![0f64; k * k];
    linalg::add_tn(&mut c, &centred, &Rows::dense(k, &centred));
    if wide {
        return Ok(linalg::eigh(&c, k)?.0.iter().map(|v| v.max(0.0) / n as f64 / total).collect());
    }
    let mut g = vec![0f64; k * k];
    for i in 0..k {
        for j in 0..=i {
            g[i * k + j] = linalg::dot(atoms.row(i), atoms.row(j));
            g[j * k + i] = g[i * k + j];
        }
    }
    let (values, vectors) = linalg::eigh(&g, k)?;
    let mut root = vec![0f64; k * k];
    for (value, v) in values.iter().zip(&vectors).filter(|(value, _)| **value > 0.0) {
        for i in 0..k {
            for j in 0..k {
                root[i * k + j] += value.sqrt() * v[i] * v[j];
            }
        }
    }
    let (values, _) = linalg::eigh(&times(&times(&root, &c, k), &root, k), k)?;
    Ok(values.iter().map(|v| v.max(0.0) / n as f64 / total).collect())
}

/// a · b (k×k).
fn times(a: &[f64], b: &[f64], k: usize) -> Vec<f64> {
    let mut out = vec![0f64; k * k];
    for (out, a) in out.chunks_exact_mut(k).zip(a.chunks_exact(k)) {
        for (a, b) in a.iter().zip(b.chunks_exact(k)) {
            out.iter_mut().zip(b).for_each(|(o, b)| *o += a * b);
        }
    }
    out
}

/// Sum over the columns of their variances (over n, not n − 1).
fn variance(x: &Rows) -> f64 {
    let (n, d) = (x.rows(), x.cols());
    let mut mean = vec![0f64; d];
    match x {
        Rows::Dense(x) => {
            for row in x.data.chunks_exact(d.max(1)) {
                mean.iter_mut().zip(row).for_each(|(m, &v)| *m += f64::from(v));
            }
        }
        Rows::Sparse(x) => linalg::add_columns_sparse(&mut mean, x),
    }
    for m in &mut mean {
        *m /= n.max(1) as f64;
    }
    let square: f64 = match x {
        Rows::Dense(x) => {
            x.data.chunks_exact(d.max(1)).flat_map(|row| row.iter().zip(&mean).map(|(&v, m)| (f64::from(v) - m).powi(2))).sum()
        }
        Rows::Sparse(x) => {
            // Every zero leaves m²; every stored number trades that for (v − m)².
            let zeros: f64 = n as f64 * mean.iter().map(|m| m * m).sum::<f64>();
            let stored =
                x.indices.iter().zip(x.values.iter()).map(|(&j, &v)| f64::from(v) * (f64::from(v) - 2.0 * mean[j as usize]));
            zeros + stored.sum::<f64>()
        }
    };
    square / n.max(1) as f64
}

/// How all codes (zeros of sparse ones included) are spread from the smallest to the largest.
fn histogram(codes: &Codes) -> Histogram {
    let view = codes.view();
    let implied = (codes.rows() * codes.cols()).saturating_sub(view.values().len()) as u64;
    let values = view.values().iter().map(|&v| f64::from(v)).filter(|v| v.is_finite());
    let start = if implied > 0 { (0.0, 0.0) } else { (f64::INFINITY, f64::NEG_INFINITY) };
    let (low, high) = values.clone().fold(start, |(low, high), v| (f64::min(low, v), f64::max(high, v)));
    if low > high {
        return Histogram { low: 0.0, high: 0.0, counts: Vec::new(), zeros: 0 };
    }
    let place = |v: f64| if high > low { (((v - low) / (high - low) * BINS as f64) as usize).min(BINS - 1) } else { 0 };
    let mut counts = vec![0; if high > low { BINS } else { 1 }];
    let mut zeros = implied;
    if implied > 0 {
        counts[place(0.0)] += implied;
    }
    for v in values {
        counts[place(v)] += 1;
        zeros += u64::from(v == 0.0);
    }
    Histogram { low, high, counts, zeros }
}

/// A matrix as a list of its rows, the way `numpy` reads it back.
fn as_rows<S: Serializer>(m: &Mat, to: S) -> std::result::Result<S::Ok, S::Error> {
    struct Row<'a>(&'a [f32]);
    impl Serialize for Row<'_> {
        fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
            to.collect_seq(self.0)
        }
    }
    let mut rows = to.serialize_seq(Some(m.rows))?;
    for i in 0..m.rows {
        rows.serialize_element(&Row(m.row(i)))?;
    }
    rows.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{Options, fit};
    use crate::mat::Csr;
    use crate::rng::rng;
    use crate::source::Memory;
    use crate::{Pca, Vq};

    /// Rows with variances that fall from column to column, about a mean that is not zero.
    fn data(n: usize, d: usize) -> Mat {
        let mut r = rng(3, 0, 0);
        let value = |i: usize| 1.0 + r.normal() / (1 + i % d) as f64;
        Mat { rows: n, cols: d, data: (0..n * d).map(value).map(|v| v as f32).collect() }
    }

    fn facts(label: &str) -> Facts {
        Facts { label: label.into(), params: serde_json::json!({}), seconds: 0.5, curve: Vec::new(), stop: Stop::Limit }
    }

    #[test]
    fn the_scree_of_pca_is_its_explained_variance() {
        let x = data(500, 6);
        let source = Memory::from(&x);
        let model = fit(&Pca { k: 4, ..Pca::default() }, &source, Options::default()).expect("fit").model;
        let setting = Setting { train: &source, test: None, image: None, shown: 0 };
        let e = entry(&model, facts("PCA"), &setting).expect("entry");
        assert_eq!(e.scree.len(), 4);
        for (ours, theirs) in e.scree.iter().zip(model.explained_variance_ratio()) {
            assert!((ours - theirs).abs() < 1e-6 * theirs, "{ours} {theirs}");
        }
        let kept: f64 = e.scree.iter().sum();
        assert!((kept - e.train.explained).abs() < 1e-6, "PCA leaves out what it does not span: {kept} {}", e.train.explained);
    }

    #[test]
    fn the_scree_is_the_same_of_more_atoms_than_columns() {
        let x = data(300, 6);
        let z = data(300, 4);
        let atoms = data(4, 6);
        let few = scree(&Codes::Dense(z.clone()), &atoms, &x.view()).expect("scree");
        // The same atoms, and as many again that no row uses.
        let mut wide = Mat::zeros(8, 6);
        wide.data[..24].copy_from_slice(&atoms.data);
        let mut codes = Mat::zeros(300, 8);
        (0..300).for_each(|i| codes.row_mut(i)[..4].copy_from_slice(z.row(i)));
        let many = scree(&Codes::Dense(codes), &wide, &x.view()).expect("scree");
        assert_eq!((few.len(), many.len()), (4, 6));
        assert!(few.iter().zip(&many).all(|(a, b)| (a - b).abs() < 1e-5 * few[0]) && many[5] < 1e-9, "{few:?} {many:?}");
    }

    #[test]
    fn the_scree_of_clusters_has_one_direction_less_than_cells() {
        let x = data(400, 6);
        let source = Memory::from(&x);
        let model = fit(&Vq { k: 4, ..Vq::default() }, &source, Options::default()).expect("fit").model;
        let e = entry(&model, facts("VQ"), &Setting { train: &source, test: None, image: None, shown: 2 }).expect("entry");
        assert!(e.scree[2] > 1e-5 && e.scree[3] < 1e-8, "four centres span three directions about their mean: {:?}", e.scree);
        let kept: f64 = e.scree.iter().sum();
        assert!((kept - e.train.explained).abs() < 1e-2, "between cells, and not within: {kept} {}", e.train.explained);
        assert_eq!(e.histogram.zeros, 1200, "three of four codes are zero");
        assert_eq!((e.histogram.counts[0], e.histogram.counts[BINS - 1]), (1200, 400));
        assert_eq!(e.example.codes.iter().filter(|v| **v != 0.0).count(), 1);
        assert_eq!(e.row_numbers, 1.0, "the number of its cell");
        assert_eq!(e.example.offset, None);
    }

    #[test]
    fn codes_times_atoms_and_offset_are_the_reconstruction() {
        let (x, y) = (data(100, 5), data(130, 5));
        let (train, test) = (Memory::cut(x.view(), 7), Memory::cut(y.view(), 40));
        let model = fit(&Pca { k: 2, ..Pca::default() }, &train, Options::default()).expect("fit").model;
        let setting = Setting { train: &train, test: Some(&test), image: None, shown: 101 };
        let e = entry(&model, facts("PCA"), &setting).expect("entry");
        let offset = e.example.offset.expect("a mean");
        let mut square = 0.0;
        for j in 0..5 {
            let sum: f32 = (0..2).map(|a| e.example.codes[a] * e.atoms.row(a)[j]).sum();
            assert!((sum + offset[j] - e.example.reconstruction[j]).abs() < 1e-5);
            square += f64::from(y.row(101)[j] - e.example.reconstruction[j]).powi(2);
        }
        assert!((e.example.rmse - (square / 5.0).sqrt()).abs() < 1e-9);
        assert_eq!(e.test.expect("held out").rows, 130);
        assert_eq!(row(&test, 101).expect("row").data, y.row(101));
        let said = row(&test, 130).expect_err("beyond").to_string();
        assert!(said.contains("no row 130 in data of 130 rows"), "{said}");
    }

    #[test]
    fn sparse_codes_count_their_zeros() {
        let csr = Csr::new(2, 3, vec![0, 1, 2], vec![0, 2], vec![2.0, 1.0]).expect("csr");
        assert_eq!(row_numbers(&Codes::Sparse(csr.clone())), 2.0, "an index and a value");
        let h = histogram(&Codes::Sparse(csr.clone()));
        assert_eq!(h, histogram(&Codes::Dense(csr.view().to_mat())));
        assert_eq!((h.low, h.high, h.zeros, h.counts[0], h.counts[20], h.counts[39]), (0.0, 2.0, 4, 4, 1, 1));
        let flat = histogram(&Codes::Dense(Mat { rows: 1, cols: 2, data: vec![3.0, 3.0] }));
        assert_eq!((flat.low, flat.high, flat.counts), (3.0, 3.0, vec![2]));
        assert_eq!(histogram(&Codes::Dense(Mat::zeros(0, 2))).counts, Vec::<u64>::new());
    }

    #[test]
    fn variance_is_the_same_for_sparse_rows() {
        let csr = Csr::new(3, 3, vec![0, 2, 2, 3], vec![0, 2, 1], vec![2.0, -1.0, 4.0]).expect("csr");
        let (sparse, dense) = (variance(&csr.view()), variance(&csr.view().to_mat().view()));
        assert!((sparse - dense).abs() < 1e-12 && (dense - 42.0 / 9.0).abs() < 1e-12, "{sparse} {dense}");
    }

    #[test]
    fn json_has_the_atoms_as_rows_and_facts_beside_measures() {
        let x = data(20, 3);
        let source = Memory::from(&x);
        let model = fit(&Pca { k: 2, ..Pca::default() }, &source, Options::default()).expect("fit").model;
        let e = entry(&model, facts("PCA"), &Setting { train: &source, test: None, image: None, shown: 0 }).expect("entry");
        let json = serde_json::to_value(&e).expect("json");
        assert_eq!(json["atoms"].as_array().map(Vec::len), Some(2));
        assert_eq!(json["atoms"][1].as_array().map(Vec::len), Some(3));
        assert_eq!((json["label"].as_str(), json["seconds"].as_f64()), (Some("PCA"), Some(0.5)));
    }
}
