//! Preparation of rows before a fit, as named, stored and invertible steps.
//!
//! A [`Pipeline`] is a chain of [`Recipe`]s. Fitting it learns what the steps need of the data as a whole (column means,
//! say) in one pass a step; applying it leaves an [`Undo`] with the few numbers of each row that a step of single
//! rows took away, so that a reconstruction can be put back into the units of the input.
//!
//! | name | what it does to x | inverse |
//! | --- | --- | --- |
//! | `raw` | nothing | exact |
//! | `center` | x − column mean | exact |
//! | `standardize` | (x − column mean) / column s.d.; columns of one value keep s.d. 1 | exact |
//! | `unit-norm` | x / ‖x‖ for each row; rows of zeros stay | exact |
//! | `lee-seung` | ¼ + ¼ (x − row mean) / row s.d., clipped to [0, 1]; rows of one value become ¼ | of the line, not of the clip |
//! | `inverted` | the same for −x: a negative of the image, whatever grey is called white | of the line, not of the clip |
//! | `hoyer` | ¼ (¼ + (x − mean of all) / s.d. of all), clipped to [0.0001, 1] | of the line, not of the clip |
//!
//! All deviations are of the population (divided by n). `lee-seung` is the preparation of Lee & Seung (Nature 401,
//! 1999, Methods); `hoyer` is what the much copied script of Hoyer (2004) does instead: one standardisation for the
//! whole data, a mean of .0625, and a floor for the divergence's logarithm. `inverted` is a third variant in
//! circulation; inverting grey levels means max − x, and the maximum cancels in the rescaling. Copies of one set differ in
//! this: the CBCL faces are stored as positives by some and as negatives by others (`CBCL_Face.mat` of `NMFLibrary`), so that
//! `lee-seung` on one copy is `inverted` on the other, and numbers can only be compared within one.
//!
//! What a clip cut off is lost: the inverse then returns the value at the clip.
//!
//! Statistics are f64, and a row's result does not depend on the rows beside it. Sparse rows stay sparse under `raw` and
//! `unit-norm`; the other steps would fill in their zeros and refuse them.
//!
//! ```
//! use mereo::prepare::{Pipeline, Recipe};
//! use mereo::{Mat, source::Memory};
//! let x = Mat::new(2, 2, vec![1.0, 0.0, 3.0, 4.0])?;
//! let pipeline = Pipeline::fit(&[Recipe::UnitNorm, Recipe::Center], &Memory::from(&x))?;
//! let (prepared, undo) = pipeline.apply(&x.view())?;
//! let back = pipeline.invert(prepared.to_mat(), &undo)?;
//! assert!(x.data.iter().zip(&back.data).all(|(a, b)| (a - b).abs() < 1e-6));
//! # Ok::<(), mereo::Error>(())
//! ```

mod step;

use crate::error::{Error, Result};
use crate::linalg::PANEL;
use crate::mat::{DenseRows, Mat, Rows, SparseRows, Weights};
use crate::source::{self, Source};
use crate::store::Bag;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use step::{Step, unit_norm};

/// One named step of preparation; see the [module](self) for what each does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// Nothing.
    #[default]
    Raw,
    /// Subtracts the column means.
    Center,
    /// Subtracts the column means and divides by the column standard deviations.
    Standardize,
    /// Divides each row by its Euclidean norm.
    UnitNorm,
    /// Rescales each row to mean .25 and s.d. .25, and clips to [0, 1].
    LeeSeung,
    /// Rescales all numbers to mean .0625 and s.d. .25, and clips to [0.0001, 1].
    Hoyer,
    /// Inverts grey levels, then as [`Recipe::LeeSeung`].
    Inverted,
}

impl Recipe {
    /// All recipes, in the order of the documentation.
    pub const ALL: [Self; 7] =
        [Self::Raw, Self::Center, Self::Standardize, Self::UnitNorm, Self::LeeSeung, Self::Hoyer, Self::Inverted];

    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Center => "center",
            Self::Standardize => "standardize",
            Self::UnitNorm => "unit-norm",
            Self::LeeSeung => "lee-seung",
            Self::Hoyer => "hoyer",
            Self::Inverted => "inverted",
        }
    }

    /// What it does, in a line.
    pub fn about(self) -> &'static str {
        match self {
            Self::Raw => "the numbers as they are",
            Self::Center => "column means subtracted",
            Self::Standardize => "columns to mean 0 and s.d. 1",
            Self::UnitNorm => "rows to Euclidean norm 1",
            Self::LeeSeung => "rows to mean .25 and s.d. .25, clipped to [0, 1] (Lee & Seung 1999)",
            Self::Hoyer => "all numbers together to mean .0625 and s.d. .25, clipped to [0.0001, 1] (Hoyer's script)",
            Self::Inverted => "grey levels inverted, then as lee-seung",
        }
    }

    /// Refuses sparse rows unless zeros stay zeros.
    fn accept_sparse(self) -> Result<()> {
        if matches!(self, Self::Raw | Self::UnitNorm) {
            return Ok(());
        }
        Err(Error::data(format!(
            "`{self}` would fill in the zeros of sparse rows; prepare them with `raw` or `unit-norm` (--prep raw; PCA centres \
             sparse data by itself), or give the data as a dense array"
        )))
    }

    /// Numbers that it learns from rows of `cols` columns: means and deviations.
    fn lengths(self, cols: usize) -> (usize, usize) {
        match self {
            Self::Center => (cols, 0),
            Self::Standardize => (cols, cols),
            Self::Hoyer => (1, 1),
            _ => (0, 0),
        }
    }

    /// Numbers of a row that its inverse needs.
    fn undo_width(self) -> usize {
        match self {
            Self::UnitNorm => 1,
            Self::LeeSeung | Self::Inverted => 2,
            _ => 0,
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Recipe {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|r| r.name()).collect();
            Error::parameter(format!(
                "no preparation is called `{name}`; there are {} (several are joined by commas)",
                names.join(", ")
            ))
        })
    }
}

/// A chain of recipes from their names, joined by commas: `unit-norm,center`.
pub fn parse_chain(names: &str) -> Result<Vec<Recipe>> {
    names.split(',').map(|n| n.trim().parse()).collect()
}

/// A chain of steps with all that they learned from the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    cols: usize,
    steps: Vec<Step>,
}

/// What [`Pipeline::apply`] took away from each row, for [`Pipeline::invert`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Undo {
    rows: usize,
    /// Numbers of a row.
    width: usize,
    numbers: Vec<f64>,
}

impl Pipeline {
    /// The pipeline that does nothing to rows of `cols` columns.
    pub fn raw(cols: usize) -> Self {
        Self { cols, steps: Vec::new() }
    }

    /// Learns a chain of recipes from all rows of a source: one pass for each `center`, `standardize` and `hoyer`, none for
    /// the others.
    ///
    /// # Errors
    /// A source without rows, a NaN or an infinity (its row is named), sparse rows under a recipe that would fill them in.
    pub fn fit(recipes: &[Recipe], source: &dyn Source) -> Result<Self> {
        let mut pipeline = Self::raw(source.cols());
        for &recipe in recipes.iter().filter(|r| **r != Recipe::Raw) {
            let step = Step::learn(recipe, &Prepared::new(source, &pipeline))?;
            pipeline.steps.push(step);
        }
        Ok(pipeline)
    }

    /// Number of columns of the rows that it was fitted on.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The recipes in their order; empty if nothing is done.
    pub fn recipes(&self) -> Vec<Recipe> {
        self.steps.iter().map(|s| s.recipe).collect()
    }

    /// The shift m and the scale s of each column (d numbers each) for which prepared rows are (x − m) / s; `None` where a step differs from
    /// row to row or clips.
    pub fn affine(&self) -> Option<(Vec<f64>, Vec<f64>)> {
        let (mut shift, mut scale) = (vec![0.0; self.cols], vec![1.0; self.cols]);
        for step in &self.steps {
            match step.recipe {
                Recipe::Raw => {}
                Recipe::Center | Recipe::Standardize => {
                    for (j, mean) in step.mean.iter().enumerate() {
                        shift[j] += scale[j] * mean;
                    }
                    // Only one of them has deviations.
                    for (j, deviation) in step.scale.iter().enumerate() {
                        scale[j] *= deviation;
                    }
                }
                Recipe::UnitNorm | Recipe::LeeSeung | Recipe::Inverted | Recipe::Hoyer => return None,
            }
        }
        Some((shift, scale))
    }

    /// Prepared rows (n × d), and what it takes to undo them.
    ///
    /// # Errors
    /// Rows of another width, a NaN or an infinity, sparse rows under a recipe that would fill them in.
    pub fn apply(&self, x: &Rows) -> Result<(Rows<'static>, Undo)> {
        self.apply_from(x, 0)
    }

    fn apply_from(&self, x: &Rows, first: u64) -> Result<(Rows<'static>, Undo)> {
        self.check_width(x.cols())?;
        if !self.steps.is_empty() {
            source::check_finite(x, first)?;
        }
        let width = self.undo_width();
        match x {
            Rows::Dense(x) => {
                let mut data = x.data.to_vec();
                let numbers = self.forward(&mut data);
                let undo = Undo { rows: x.rows(), width, numbers };
                let weights = x.weights.clone().map(Weights::into_owned);
                Ok((Rows::Dense(DenseRows { cols: self.cols, data: data.into(), weights }), undo))
            }
            Rows::Sparse(x) => {
                self.steps.iter().try_for_each(|s| s.recipe.accept_sparse())?;
                Ok(self.apply_sparse(x))
            }
        }
    }

    /// Each row through all steps; a row's own numbers come back, row after row.
    fn forward(&self, data: &mut [f32]) -> Vec<f64> {
        let (d, width) = (self.cols.max(1), self.undo_width());
        let panels: Vec<Vec<f64>> = data
            .par_chunks_mut(PANEL * d)
            .map(|panel| {
                let mut undo = vec![0.0; panel.len() / d * width];
                pulp::Arch::new().dispatch(|| {
                    for (i, row) in panel.chunks_exact_mut(d).enumerate() {
                        let mut at = i * width;
                        for step in &self.steps {
                            let w = step.recipe.undo_width();
                            step.forward(row, &mut undo[at..at + w]);
                            at += w;
                        }
                    }
                });
                undo
            })
            .collect();
        panels.concat()
    }

    fn apply_sparse(&self, x: &SparseRows) -> (Rows<'static>, Undo) {
        let width = self.undo_width();
        let mut values = x.values.to_vec();
        let mut numbers = Vec::with_capacity(x.rows() * width);
        let base = x.indptr[0];
        for span in x.indptr.windows(2) {
            let row = &mut values[(span[0] - base) as usize..(span[1] - base) as usize];
            for _ in 0..width {
                let mut norm = [0.0];
                unit_norm(row, &mut norm);
                numbers.extend(norm);
            }
        }
        let undo = Undo { rows: x.rows(), width, numbers };
        let indptr: Vec<u64> = x.indptr.iter().map(|p| p - base).collect();
        let rows = SparseRows {
            cols: x.cols,
            indptr: indptr.into(),
            indices: x.indices.to_vec().into(),
            values: values.into(),
            weights: x.weights.clone().map(Weights::into_owned),
        };
        (Rows::Sparse(rows), undo)
    }

    /// Prepared rows (n × d), reconstructions of them for instance, put back into the units of the input.
    ///
    /// # Errors
    /// Another number of rows or columns than `undo` was made for.
    pub fn invert(&self, mut y: Mat, undo: &Undo) -> Result<Mat> {
        self.check_width(y.cols)?;
        let width = self.undo_width();
        if undo.rows != y.rows || undo.width != width {
            return Err(Error::data(format!(
                "{} rows can't be put back with the numbers of {} rows ({} a row, {width} needed); undo with what `apply` returned for the same rows",
                y.rows, undo.rows, undo.width
            )));
        }
        let d = self.cols.max(1);
        if !self.steps.is_empty() {
            y.data.par_chunks_mut(PANEL * d).enumerate().for_each(|(p, panel)| {
                pulp::Arch::new().dispatch(|| {
                    for (i, row) in panel.chunks_exact_mut(d).enumerate() {
                        let mut end = (p * PANEL + i + 1) * width;
                        for step in self.steps.iter().rev() {
                            let w = step.recipe.undo_width();
                            step.backward(row, &undo.numbers[end - w..end]);
                            end -= w;
                        }
                    }
                });
            });
        }
        Ok(y)
    }

    /// Writes the recipes and their statistics.
    pub fn save(&self, bag: &mut Bag) {
        bag.put("cols", self.cols);
        bag.put("recipes", self.recipes());
        for (i, step) in self.steps.iter().enumerate() {
            bag.put_f64(&format!("{i}.mean"), &step.mean);
            bag.put_f64(&format!("{i}.scale"), &step.scale);
        }
    }

    /// Reads what [`Pipeline::save`] wrote; an error if it is damaged.
    pub fn load(bag: &Bag) -> Result<Self> {
        let mut pipeline = Self::raw(bag.get("cols")?);
        for (i, recipe) in bag.get::<Vec<Recipe>>("recipes")?.into_iter().enumerate() {
            let step = Step { recipe, mean: bag.f64(&format!("{i}.mean"))?, scale: bag.f64(&format!("{i}.scale"))? };
            step.check(pipeline.cols)?;
            pipeline.steps.push(step);
        }
        Ok(pipeline)
    }

    fn undo_width(&self) -> usize {
        self.steps.iter().map(|s| s.recipe.undo_width()).sum()
    }

    fn check_width(&self, cols: usize) -> Result<()> {
        if cols == self.cols {
            return Ok(());
        }
        Err(Error::data(format!(
            "the data has {cols} columns, the rows of the fit had {}; give it the same columns in the same order",
            self.cols
        )))
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.steps.iter().map(|s| s.recipe.name()).collect();
        f.pad(if names.is_empty() { "raw".into() } else { names.join(",") }.as_str())
    }
}

/// A source whose rows come out prepared. Every read prepares them anew; collect a source that is read often and fits in
/// memory ([`fold::collect`](crate::fold::collect)).
pub struct Prepared<'a> {
    inner: &'a dyn Source,
    pipeline: &'a Pipeline,
    /// The first row of each block in the whole data, to name a bad row by.
    firsts: Vec<u64>,
}

impl<'a> Prepared<'a> {
    /// The rows of `inner` through `pipeline`. A difference in width is an error of the first read.
    pub fn new(inner: &'a dyn Source, pipeline: &'a Pipeline) -> Self {
        let firsts = (0..inner.blocks()).scan(0, |next, b| {
            let first = *next;
            *next += inner.rows(b) as u64;
            Some(first)
        });
        Self { inner, pipeline, firsts: firsts.collect() }
    }
}

impl Source for Prepared<'_> {
    fn cols(&self) -> usize {
        self.inner.cols()
    }
    fn blocks(&self) -> usize {
        self.inner.blocks()
    }
    fn rows(&self, block: usize) -> usize {
        self.inner.rows(block)
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        let x = self.inner.block(block)?;
        if self.pipeline.steps.is_empty() {
            self.pipeline.check_width(x.cols())?;
            return Ok(x);
        }
        Ok(self.pipeline.apply_from(&x, self.firsts[block])?.0)
    }
    fn streams(&self) -> bool {
        self.inner.streams()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::collect;
    use crate::mat::Csr;
    use crate::source::Memory;

    fn mat(rows: usize, cols: usize, data: &[f32]) -> Mat {
        Mat::new(rows, cols, data.to_vec()).expect("shape")
    }

    fn random(rows: usize, cols: usize, seed: u64) -> Mat {
        let mut x = crate::tests::random(rows, cols, seed);
        x.data.iter_mut().for_each(|v| *v = *v * 3.0 + 10.0);
        x
    }

    fn run(recipes: &[Recipe], x: &Mat) -> (Mat, Pipeline, Undo) {
        let pipeline = Pipeline::fit(recipes, &Memory::from(x)).expect("fit");
        let (y, undo) = pipeline.apply(&x.view()).expect("apply");
        (y.to_mat(), pipeline, undo)
    }

    fn close(a: &[f32], b: &[f32], tolerance: f32) {
        assert_eq!(a.len(), b.len());
        for (i, (x, y)) in a.iter().zip(b).enumerate() {
            assert!((x - y).abs() <= tolerance, "{i}: {x} is not {y}");
        }
    }

    #[test]
    fn values_by_hand() {
        // Columns: mean 2 and s.d. 1; one value.
        let x = mat(2, 2, &[1.0, 5.0, 3.0, 5.0]);
        assert_eq!(run(&[Recipe::Raw], &x).0, x);
        assert_eq!(run(&[Recipe::Center], &x).0.data, [-1.0, 0.0, 1.0, 0.0]);
        assert_eq!(run(&[Recipe::Standardize], &x).0.data, [-1.0, 0.0, 1.0, 0.0]);
        assert_eq!(run(&[Recipe::UnitNorm], &mat(2, 2, &[3.0, -4.0, 0.0, 0.0])).0.data, [0.6, -0.8, 0.0, 0.0]);
        // Row 0: mean 2, s.d. 1. Row 1: mean 2, s.d. 4, cut at both ends. Row 2: one value.
        let x = mat(3, 4, &[1.0, 3.0, 1.0, 3.0, -2.0, 6.0, -2.0, 6.0, 7.0, 7.0, 7.0, 7.0]);
        assert_eq!(run(&[Recipe::LeeSeung], &x).0.data, [0.0, 0.5, 0.0, 0.5, 0.0, 0.5, 0.0, 0.5, 0.25, 0.25, 0.25, 0.25]);
        assert_eq!(run(&[Recipe::Inverted], &x).0.data[..4], [0.5, 0.0, 0.5, 0.0]);
        // z = (-√3, 1/√3, 1/√3, 1/√3): the first is clipped at 0. (5 values of 0 and one of 1: z = √5, y = .25(.25+√5).)
        close(
            &run(&[Recipe::LeeSeung], &mat(1, 4, &[0.0, 4.0, 4.0, 4.0])).0.data,
            &[0.0, 0.394_337_57, 0.394_337_57, 0.394_337_57],
            1e-7,
        );
        close(&run(&[Recipe::LeeSeung], &mat(1, 17, &[vec![0.0; 16], vec![1.0]].concat())).0.data[16..], &[1.0], 0.0);
        // All numbers: mean 2, s.d. 1; z = ∓1 gives ¼(¼ ∓ 1) = -.1875, floored, and .3125.
        let x = mat(2, 2, &[1.0, 3.0, 3.0, 1.0]);
        assert_eq!(run(&[Recipe::Hoyer], &x).0.data, [1e-4, 0.3125, 0.3125, 1e-4]);
        assert_eq!(run(&[Recipe::Hoyer], &mat(1, 2, &[4.0, 4.0])).0.data, [0.0625, 0.0625]);
    }

    #[test]
    fn every_inverse_but_of_what_was_clipped() {
        let mut x = random(1100, 7, 1);
        x.row_mut(3).fill(0.0);
        x.row_mut(4).fill(2.5);
        let chains: [&[Recipe]; 8] = [
            &[],
            &[Recipe::Center],
            &[Recipe::Standardize],
            &[Recipe::UnitNorm],
            &[Recipe::UnitNorm, Recipe::Center],
            &[Recipe::LeeSeung],
            &[Recipe::Inverted, Recipe::UnitNorm, Recipe::Standardize],
            &[Recipe::Hoyer],
        ];
        for chain in chains {
            let (y, pipeline, undo) = run(chain, &x);
            assert!(y.data.iter().all(|v| v.is_finite()), "{pipeline}");
            let back = pipeline.invert(y.clone(), &undo).expect("invert");
            let clips = |r| matches!(r, &Recipe::LeeSeung | &Recipe::Inverted | &Recipe::Hoyer);
            let kept = if chain.iter().any(clips) {
                // Only the first step clips in these chains; what it left strictly inside its range must come back.
                let (first, ..) = run(&chain[..1], &x);
                first.data.iter().map(|&v| v > 1.1e-4 && v < 1.0).collect()
            } else {
                vec![true; x.data.len()]
            };
            assert!(kept.iter().filter(|k| **k).count() > x.data.len() / 2, "{pipeline}");
            for (i, (a, b)) in x.data.iter().zip(&back.data).enumerate() {
                assert!(!kept[i] || (a - b).abs() < 2e-5, "{pipeline} {i}: {a} became {b}");
            }
        }
    }

    #[test]
    fn the_parts_of_a_chain_work_on_what_came_before() {
        let x = random(600, 5, 2);
        let (y, ..) = run(&[Recipe::UnitNorm, Recipe::Center], &x);
        let (unit, ..) = run(&[Recipe::UnitNorm], &x);
        let (again, ..) = run(&[Recipe::Center], &unit);
        assert_eq!(y, again);
        for j in 0..5 {
            let mean = (0..600).map(|i| f64::from(y.row(i)[j])).sum::<f64>() / 600.0;
            assert!(mean.abs() < 1e-8);
        }
    }

    #[test]
    fn a_row_does_not_see_its_neighbours() {
        let x = random(1300, 19, 3);
        for recipe in Recipe::ALL {
            let (y, pipeline, undo) = run(&[recipe], &x);
            let (alone, alone_undo) = pipeline.apply(&x.view().slice(700, 701)).expect("one row");
            assert_eq!(alone.values(), y.row(700), "{recipe}");
            let width = undo.width;
            assert_eq!(alone_undo.numbers, undo.numbers[700 * width..701 * width]);
        }
    }

    #[test]
    fn blocks_give_the_same_statistics() {
        let x = random(1300, 9, 4);
        for recipe in [Recipe::Center, Recipe::Standardize, Recipe::Hoyer] {
            let whole = Pipeline::fit(&[recipe], &Memory::from(&x)).expect("fit");
            let cut = Pipeline::fit(&[recipe], &Memory::cut(x.view(), 101)).expect("fit");
            for (a, b) in [(&whole.steps[0].mean, &cut.steps[0].mean), (&whole.steps[0].scale, &cut.steps[0].scale)] {
                assert!(a.iter().zip(b).all(|(a, b)| (a / b - 1.0).abs() < 1e-13));
            }
            let source = Memory::cut(x.view(), 101);
            let (y, ..) = run(&[recipe], &x);
            close(&collect(&Prepared::new(&source, &whole)).expect("collect").data, &y.data, 0.0);
        }
    }

    #[test]
    fn sparse_rows_stay_sparse_or_are_refused() {
        let csr = Csr::new(3, 4, vec![0, 2, 2, 3], vec![0, 3, 1], vec![3.0, 4.0, -2.0]).expect("csr");
        let source = Memory::from(&csr);
        let pipeline = Pipeline::fit(&[Recipe::UnitNorm], &source).expect("fit");
        let (y, undo) = pipeline.apply(&csr.view().slice(1, 3)).expect("apply");
        assert!(matches!(&y, Rows::Sparse(s) if s.indptr[..] == [0, 0, 1]), "{y:?}");
        assert_eq!(y.to_mat().data, [0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0]);
        assert_eq!(pipeline.invert(y.to_mat(), &undo).expect("invert"), csr.view().slice(1, 3).to_mat());
        for recipe in [Recipe::Center, Recipe::Standardize, Recipe::Hoyer] {
            let said = Pipeline::fit(&[recipe], &source).expect_err("dense only").to_string();
            assert!(said.contains(recipe.name()) && said.contains("--prep raw"), "{said}");
        }
        let greys = Pipeline::fit(&[Recipe::LeeSeung], &source).expect("nothing to learn");
        assert!(Prepared::new(&source, &greys).block(0).is_err());
    }

    #[test]
    fn bad_rows_are_named_and_widths_checked() {
        let mut x = random(10, 3, 5);
        let fitted = Pipeline::fit(&[Recipe::Standardize], &Memory::from(&x)).expect("fit");
        x.row_mut(7)[1] = f32::NAN;
        for recipe in [Recipe::Center, Recipe::Hoyer] {
            let said = Pipeline::fit(&[recipe], &Memory::cut(x.view(), 4)).expect_err("NaN").to_string();
            assert!(said.contains("row 7, column 1 is NaN"), "{said}");
        }
        let source = Memory::cut(x.view(), 4);
        let said = Prepared::new(&source, &fitted).block(1).expect_err("NaN").to_string();
        assert!(said.contains("row 7, column 1"), "{said}");
        let said = fitted.apply(&random(2, 4, 1).view()).expect_err("width").to_string();
        assert!(said.contains("4 columns") && said.contains("the fit had 3"), "{said}");
        let (y, undo) = fitted.apply(&random(2, 3, 1).view()).expect("apply");
        assert!(fitted.invert(y.slice(0, 1).to_mat(), &undo).is_err());
        let none = Mat::zeros(0, 3);
        assert!(Pipeline::fit(&[Recipe::Center], &Memory::from(&none)).is_err());
        assert_eq!(fitted.apply(&none.view()).expect("no rows").0.rows(), 0);
    }

    #[test]
    fn names_and_files() {
        for recipe in Recipe::ALL {
            assert_eq!(recipe.name().parse::<Recipe>().expect("name"), recipe);
            assert_eq!(serde_json::to_value(recipe).expect("json"), recipe.name());
        }
        assert_eq!(parse_chain("unit-norm, center").expect("chain"), [Recipe::UnitNorm, Recipe::Center]);
        let said = parse_chain("unit-norm,centre").expect_err("typo").to_string();
        assert!(said.contains("`centre`") && Recipe::ALL.iter().all(|r| said.contains(r.name())), "{said}");

        let x = random(20, 3, 6);
        let (_, pipeline, _) = run(&[Recipe::LeeSeung, Recipe::Standardize, Recipe::Hoyer], &x);
        assert_eq!(pipeline.to_string(), "lee-seung,standardize,hoyer");
        let mut bag = Bag::default();
        pipeline.save(&mut bag);
        let bytes = bag.to_bytes().expect("bytes");
        let bag = Bag::from_bytes(&bytes, std::path::Path::new("p")).expect("bag");
        assert_eq!(Pipeline::load(&bag).expect("load"), pipeline);
        let mut damaged = bag.clone();
        damaged.put_f64("1.scale", &[1.0, 0.0, 1.0]);
        assert!(Pipeline::load(&damaged).expect_err("a zero s.d.").to_string().contains("standardize"));
        let mut raw = Bag::default();
        Pipeline::raw(3).save(&mut raw);
        assert_eq!(Pipeline::load(&raw).expect("load").to_string(), "raw");
    }
}
