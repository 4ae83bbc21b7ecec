//! Measures of codes that are mostly zero, and of the encoder and decoder that make them.

use super::atoms::unit_rows;
use super::{ErrorSums, matched};
use crate::error::{Error, Result};
use crate::linalg::{Into, dot, mul_nt};
use crate::mat::{Mat, Rows};
use crate::model::{Codes, Model, check_width};
use crate::moments::Moments;
use crate::source::{Source, check_known};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Numbers that a piece of rows may take.
const NUMBERS: usize = 1 << 24;
/// Rows of a piece at most.
const ROWS: usize = 8192;
/// A planted atom counts as recovered above this cosine.
const RECOVERED: f64 = 0.95;
/// Pairs of planted and learned atoms up to which they are matched one to one.
const PAIRS: usize = 1 << 24;

/// Measures of a model's codes h of n rows x, and of what it rebuilds, x̂ = x − e. A latent is an atom; it is alive on a row where its code differs
/// from 0.
///
/// With x̄ the column means of these same rows:
///
/// | field | formula |
/// | --- | --- |
/// | `fvu` | Σ\|e\|² / Σ\|x − x̄\|² |
/// | `explained` | 1 − `fvu` (SAELens: `explained_variance`) |
/// | `explained_by_row` | mean over rows of 1 − \|e\|² / \|x − x̄\|² (SAELens: `explained_variance_legacy`) |
/// | `explained_by_column` | mean over columns of 1 − Σe² / Σ(x − x̄)² (scikit-learn: `r2_score`), of those that vary by more than a millionth of the mean |
/// | `mse` | Σ\|e\|² / nd |
/// | `cosine` | mean of x·x̂ / \|x\|\|x̂\| |
/// | `length` | mean of \|x̂\| / \|x\|: below 1 where codes shrink (`l2_ratio`) |
/// | `bias` | Σ\|x̂\|² / Σx·x̂: what x̂ would have to be divided by (`relative_reconstruction_bias`) |
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SparseMeasures {
    /// Number of rows (n).
    pub rows: usize,
    /// Fraction of variance unexplained.
    pub fvu: f64,
    /// Variance explained, of all rows together.
    pub explained: f64,
    /// Variance explained of a row, on the mean. Rows that are the mean row are left out.
    pub explained_by_row: f64,
    /// Variance explained of a column, on the mean. Columns that hardly vary are left out.
    pub explained_by_column: f64,
    /// Mean squared error of an entry.
    pub mse: f64,
    /// Mean cosine of a row and what is rebuilt of it; rows without length are left out.
    pub cosine: f64,
    /// Mean length of what is rebuilt, as a share of the row's.
    pub length: f64,
    /// Factor by which what is rebuilt is too long.
    pub bias: f64,
    /// L0: latents alive on the mean row.
    pub l0: f64,
    /// Standard deviation of that over rows.
    pub l0_sd: f64,
    /// L1: mean over rows of Σ|h|.
    pub l1: f64,
    /// Share of latents that are alive on no row.
    pub dead: f64,
    /// Share of latents that are alive on more than 1 % of the rows.
    pub dense_1: f64,
    /// Share of latents that are alive on more than 10 % of the rows.
    pub dense_10: f64,
    /// Share of rows on which each latent is alive (k).
    pub density: Vec<f64>,
    /// Largest |code| of each latent (k).
    pub top: Vec<f32>,
    /// Mean |code| of each latent where it is alive (k); 0 for a dead one.
    pub mean: Vec<f64>,
}

/// Measures a model on all rows of a source, which must be prepared as the model's own rows were. Two passes, the first for x̄; memory for some
/// thousand rows at a time and a few numbers a latent.
///
/// # Errors
/// A source without rows or of another width, an unreadable block, a NaN or an infinity, a row that the model can't encode.
pub fn sparse(model: &dyn Model, source: &dyn Source) -> Result<SparseMeasures> {
    let (k, d) = (model.atoms().rows, source.cols());
    let mut moments = Moments::new(d);
    let mut first = 0;
    for b in 0..source.blocks() {
        let block = source.block(b)?;
        check_width(&block, model.atoms().cols)?;
        check_known(&block, first, None)?;
        first += block.rows() as u64;
        moments.add(&block);
    }
    let mut sums = Sums { residual: vec![0.0; d], fired: vec![0; k], top: vec![0.0; k], sum: vec![0.0; k], ..Sums::default() };
    in_pieces(model, source, |x, z| {
        let back = model.decode_like(z, x)?;
        sums.rows_of(x, &back, &moments.mean);
        sums.codes_of(z);
        Ok(())
    })?;
    sums.measures(&moments)
}

/// Rows and their codes, in pieces of bounded memory: codes that turn out sparse make for longer ones.
fn in_pieces(model: &dyn Model, source: &dyn Source, mut see: impl FnMut(&Rows, &Codes) -> Result<()>) -> Result<()> {
    let (k, d) = (model.atoms().rows.max(1), source.cols().max(1));
    let fit = |width: usize| (NUMBERS / width).clamp(64, ROWS);
    let mut step = fit(k.max(d));
    for b in 0..source.blocks() {
        let block = source.block(b)?;
        let mut from = 0;
        while from < block.rows() {
            let x = block.slice(from, block.rows().min(from + step));
            let z = model.encode(&x)?;
            see(&x, &z)?;
            from += x.rows();
            if let Codes::Sparse(z) = &z {
                step = fit(d.max(z.indices.len() / z.rows.max(1)));
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Sums {
    rows: usize,
    /// Σe² of each column.
    residual: Vec<f64>,
    /// Σ of what each row says of itself: see [`Row`].
    of_rows: Row,
    alive: f64,
    alive_squared: f64,
    l1: f64,
    fired: Vec<u64>,
    top: Vec<f32>,
    sum: Vec<f64>,
}

/// What a row adds to the means over rows.
#[derive(Default, Clone, Copy)]
struct Row {
    /// 1 − |e|² / |x − x̄|², and 1 if that is a number.
    explained: [f64; 2],
    /// The cosine and the ratio of lengths, and 1 if those are numbers.
    cosine: f64,
    length: [f64; 2],
    /// x·x̂ and |x̂|².
    along: f64,
    square: f64,
}

impl Row {
    fn of(x: &[f32], back: &[f32], mean: &[f64]) -> Self {
        let (mut e, mut about, mut along, mut xx, mut bb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for ((x, b), m) in x.iter().zip(back).zip(mean) {
            let (x, b) = (f64::from(*x), f64::from(*b));
            e += (x - b) * (x - b);
            about += (x - m) * (x - m);
            along += x * b;
            xx += x * x;
            bb += b * b;
        }
        let mut row = Self { along, square: bb, ..Self::default() };
        if about > 0.0 {
            row.explained = [1.0 - e / about, 1.0];
        }
        if xx > 0.0 {
            row.cosine = if bb > 0.0 { along / (xx * bb).sqrt() } else { 0.0 };
            row.length = [(bb / xx).sqrt(), 1.0];
        }
        row
    }

    fn add(&mut self, other: &Self) {
        for i in 0..2 {
            self.explained[i] += other.explained[i];
            self.length[i] += other.length[i];
        }
        self.cosine += other.cosine;
        self.along += other.along;
        self.square += other.square;
    }
}

impl Sums {
    fn rows_of(&mut self, x: &Rows, back: &Mat, mean: &[f64]) {
        let (x, d) = (x.to_mat(), back.cols.max(1));
        self.rows += x.rows;
        let each: Vec<Row> = x.data.par_chunks(d).zip(back.data.par_chunks(d)).map(|(x, back)| Row::of(x, back, mean)).collect();
        each.iter().for_each(|row| self.of_rows.add(row));
        for (x, back) in x.data.chunks_exact(d).zip(back.data.chunks_exact(d)) {
            for ((s, x), b) in self.residual.iter_mut().zip(x).zip(back) {
                *s += (f64::from(*x) - f64::from(*b)).powi(2);
            }
        }
    }

    fn codes_of(&mut self, z: &Codes) {
        let view = z.view();
        for i in 0..view.rows() {
            let mut alive = 0.0;
            let mut see = |a: usize, v: f32| {
                if v != 0.0 {
                    alive += 1.0;
                    self.l1 += f64::from(v.abs());
                    self.fired[a] += 1;
                    self.sum[a] += f64::from(v.abs());
                    self.top[a] = self.top[a].max(v.abs());
                }
            };
            match &view {
                Rows::Dense(z) => z.row(i).iter().enumerate().for_each(|(a, v)| see(a, *v)),
                Rows::Sparse(z) => {
                    let (atoms, values) = z.row(i);
                    atoms.iter().zip(values).for_each(|(a, v)| see(*a as usize, *v));
                }
            }
            self.alive += alive;
            self.alive_squared += alive * alive;
        }
    }

    fn measures(self, moments: &Moments) -> Result<SparseMeasures> {
        let (n, k, d) = (self.rows as f64, self.fired.len(), self.residual.len());
        if self.rows == 0 || d == 0 {
            return Err(Error::data(format!(
                "there are {} rows of {d} columns to measure codes of; give at least one",
                self.rows
            )));
        }
        let over = |a: f64, b: f64| if a == 0.0 { 0.0 } else { a / b };
        let residual: f64 = self.residual.iter().sum();
        let fvu = over(residual, moments.squares.iter().sum());
        // A column that stands still would outweigh all others.
        let least = 1e-6 * moments.squares.iter().sum::<f64>() / d as f64;
        let columns = self.residual.iter().zip(&moments.squares).filter(|(_, s)| **s > least).map(|(e, s)| 1.0 - e / s);
        let (by_column, varying) = columns.fold((0.0, 0.0), |(sum, count), v| (sum + v, count + 1.0));
        let row = &self.of_rows;
        let density: Vec<f64> = self.fired.iter().map(|f| *f as f64 / n).collect();
        let share = |above: &dyn Fn(f64) -> bool| density.iter().filter(|v| above(**v)).count() as f64 / k.max(1) as f64;
        let l0 = self.alive / n;
        Ok(SparseMeasures {
            rows: self.rows,
            fvu,
            explained: 1.0 - fvu,
            explained_by_row: over(row.explained[0], row.explained[1]),
            explained_by_column: over(by_column, varying),
            mse: residual / (n * d as f64),
            cosine: over(row.cosine, row.length[1]),
            length: over(row.length[0], row.length[1]),
            bias: over(row.square, row.along),
            l0,
            l0_sd: (self.alive_squared / n - l0 * l0).max(0.0).sqrt(),
            l1: self.l1 / n,
            dead: share(&|v| v == 0.0),
            dense_1: share(&|v| v > 0.01),
            dense_10: share(&|v| v > 0.1),
            top: self.top,
            mean: self.sum.iter().zip(&self.fired).map(|(s, f)| over(*s, *f as f64)).collect(),
            density,
        })
    }
}

/// How a model rebuilds rows with some number of latents alive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AtK {
    /// Latents alive at most.
    pub k: usize,
    /// Fraction of variance unexplained.
    pub fvu: f64,
}

/// FVU of rows with other numbers of latents alive than the model was fitted with; empty for a model that chooses latents by no number. Rows
/// are encoded once, with the largest number, since the fewer are the largest codes of the more.
///
/// # Errors
/// Rows of other columns than the model's; no rows.
pub fn multi_k(model: &dyn Model, x: &Rows, ks: &[usize]) -> Result<Vec<AtK>> {
    let mut ks: Vec<usize> = ks.iter().map(|k| (*k).clamp(1, model.atoms().rows.max(1))).collect();
    ks.sort_unstable();
    ks.dedup();
    let Some(most) = ks.last() else { return Ok(Vec::new()) };
    let mut sums = vec![ErrorSums::new(x.cols()); ks.len()];
    let step = (NUMBERS / x.cols().max(*most).max(1)).clamp(64, ROWS);
    for from in (0..x.rows()).step_by(step) {
        let x = x.slice(from, x.rows().min(from + step));
        let Some(all) = model.encode_at(&x, *most)? else { return Ok(Vec::new()) };
        for (k, sums) in ks.iter().zip(&mut sums) {
            sums.add(&x, model.decode_like(&largest(&all, *k), &x)?)?;
        }
    }
    ks.iter().zip(&sums).map(|(k, sums)| Ok(AtK { k: *k, fvu: sums.errors()?.fvu })).collect()
}

/// How a prefix of a model's latents rebuilds rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AtPrefix {
    /// How many of the first latents rebuild.
    pub latents: usize,
    /// Of those, alive on the mean row.
    pub l0: f64,
    /// Fraction of variance unexplained.
    pub fvu: f64,
}

/// FVU of rows that each of a model's nested prefixes rebuilds by itself ([`Model::prefixes`]); empty for a model without any.
///
/// # Errors
/// Rows of other columns than the model's; no rows.
pub fn by_prefix(model: &dyn Model, x: &Rows) -> Result<Vec<AtPrefix>> {
    let ends = model.prefixes();
    if ends.is_empty() {
        return Ok(Vec::new());
    }
    let mut sums: Vec<(ErrorSums, usize)> = ends.iter().map(|_| (ErrorSums::new(x.cols()), 0)).collect();
    let step = (NUMBERS / x.cols().max(1)).clamp(64, ROWS);
    for from in (0..x.rows()).step_by(step) {
        let x = x.slice(from, x.rows().min(from + step));
        let all = model.encode(&x)?;
        for (end, (sums, alive)) in ends.iter().zip(&mut sums) {
            let some = first(&all, *end);
            *alive += some.alive();
            sums.add(&x, model.decode_like(&some, &x)?)?;
        }
    }
    let n = x.rows() as f64;
    let at = |(end, (sums, alive)): (&usize, &(ErrorSums, usize))| {
        Ok(AtPrefix { latents: *end, l0: *alive as f64 / n, fvu: sums.errors()?.fvu })
    };
    ends.iter().zip(&sums).map(at).collect()
}

/// Codes of which those of the first latents are kept.
fn first(z: &Codes, end: usize) -> Codes {
    let mut z = z.clone();
    match &mut z {
        Codes::Dense(z) => z.data.chunks_mut(z.cols.max(1)).for_each(|row| row.iter_mut().skip(end).for_each(|v| *v = 0.0)),
        Codes::Sparse(z) => {
            z.values.iter_mut().zip(&z.indices).filter(|(_, j)| **j as usize >= end).for_each(|(v, _)| *v = 0.0);
        }
    }
    z
}

/// Codes of which only the k largest of each row are kept; ties by index.
fn largest(z: &Codes, k: usize) -> Codes {
    let mut z = z.clone();
    let keep = |row: &mut [f32]| {
        if row.len() > k {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.select_nth_unstable_by(k, |a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
            order[k..].iter().for_each(|at| row[*at] = 0.0);
        }
    };
    match &mut z {
        Codes::Dense(z) => z.data.chunks_mut(z.cols.max(1)).for_each(keep),
        // Zeros stay written down: they cost less than to build the rows anew.
        Codes::Sparse(z) => {
            for i in 0..z.rows {
                keep(&mut z.values[z.indptr[i] as usize..z.indptr[i + 1] as usize]);
            }
        }
    }
    z
}

/// Another atom, and how near it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Near {
    /// Its number.
    pub atom: usize,
    /// The cosine of the two, with its sign.
    pub cosine: f64,
}

/// For each atom of k (k × d), that of all other ones in the same direction the most; none where there is no other. k²d products, in tiles: no k × k
/// numbers are ever in memory.
pub fn nearest(atoms: &Mat) -> Vec<Option<Near>> {
    const SIDE: usize = 64;
    const TILE: usize = 1024;
    let (k, d) = (atoms.rows, atoms.cols);
    let unit = unit_rows(atoms, &(0..k).map(|a| dot(atoms.row(a), atoms.row(a)).sqrt()).collect::<Vec<_>>());
    let each: Vec<Vec<Option<Near>>> = (0..k.div_ceil(SIDE))
        .into_par_iter()
        .map(|p| {
            let (from, to) = (p * SIDE, k.min((p + 1) * SIDE));
            let mut best: Vec<Option<Near>> = vec![None; to - from];
            let mut cosines = vec![0f32; (to - from) * TILE];
            for start in (0..k).step_by(TILE) {
                let width = TILE.min(k - start);
                let sizes = (to - from, d, width);
                mul_nt(
                    &mut cosines,
                    &unit.data[from * d..to * d],
                    &unit.data[start * d..(start + width) * d],
                    sizes,
                    Into::Replace,
                );
                for (i, row) in cosines.chunks(width).take(to - from).enumerate() {
                    for (j, c) in row.iter().enumerate().filter(|(j, _)| start + j != from + i) {
                        let c = f64::from(c.clamp(-1.0, 1.0));
                        if best[i].is_none_or(|b| c > b.cosine) {
                            best[i] = Some(Near { atom: start + j, cosine: c });
                        }
                    }
                }
            }
            best
        })
        .collect();
    each.concat()
}

/// The cosine of each latent's row of the encoder and of the decoder (k); `None` for a model without an encoder of that shape.
pub fn encoder_decoder(model: &dyn Model) -> Option<Vec<f64>> {
    let (w, v) = (model.encoder()?, model.atoms());
    let cosine = |a: usize| {
        let lengths = (dot(w.row(a), w.row(a)) * dot(v.row(a), v.row(a))).sqrt();
        if lengths > 0.0 { dot(w.row(a), v.row(a)) / lengths } else { 0.0 }
    };
    Some((0..v.rows).into_par_iter().map(cosine).collect())
}

/// How well planted atoms were found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// Mean cosine of a planted atom and the learned one that stands for it.
    pub cosine: f64,
    /// Share of the planted atoms with a cosine above .95.
    pub recovered: f64,
    /// Whether each learned atom stands for one planted atom at most; else each planted atom takes its best (MMCS).
    pub one_to_one: bool,
}

/// Compares planted atoms with learned ones (of d columns each). They are matched one to one where that is at hand ([`matched`]); of very many, each
/// planted atom takes the best.
///
/// # Errors
/// Different widths, or no atoms on a side.
pub fn recovery(planted: &Mat, learned: &Mat) -> Result<Recovery> {
    let one_to_one = planted.rows.saturating_mul(learned.rows) <= PAIRS && planted.rows.min(learned.rows) <= ROWS;
    let cosines: Vec<f64> =
        if one_to_one { matched(planted, learned)?.pairs.iter().map(|p| p.cosine).collect() } else { best(planted, learned)? };
    // Planted atoms beyond the number of learned ones have none.
    let k = planted.rows as f64;
    let found = cosines.iter().filter(|c| **c > RECOVERED).count();
    Ok(Recovery { cosine: cosines.iter().sum::<f64>() / k, recovered: found as f64 / k, one_to_one })
}

/// The largest cosine of each row of `a` with any of `b`.
fn best(a: &Mat, b: &Mat) -> Result<Vec<f64>> {
    const TILE: usize = 1024;
    if a.cols != b.cols || a.rows == 0 || b.rows == 0 {
        return Err(Error::data(format!(
            "{} atoms of {} columns can't be compared with {} of {}; give atoms of the same data",
            a.rows, a.cols, b.rows, b.cols
        )));
    }
    let unit = |m: &Mat| unit_rows(m, &(0..m.rows).map(|i| dot(m.row(i), m.row(i)).sqrt()).collect::<Vec<_>>());
    let (a, b, d) = (unit(a), unit(b), a.cols);
    let each = a.data.par_chunks(64 * d).map(|rows| {
        let count = rows.len() / d;
        let (mut top, mut cosines) = (vec![-1f64; count], vec![0f32; count * TILE]);
        for tile in b.data.chunks(TILE * d) {
            let width = tile.len() / d;
            mul_nt(&mut cosines, rows, tile, (count, d, width), Into::Replace);
            for (top, row) in top.iter_mut().zip(cosines.chunks(width)) {
                *top = row.iter().fold(*top, |m, c| m.max(f64::from(*c)));
            }
        }
        top
    });
    Ok(each.collect::<Vec<_>>().concat())
}

/// Counts of numbers in bins of equal width from `low` to `high`; those beyond fall into the first or the last.
pub fn bins(values: impl IntoIterator<Item = f64>, (low, high): (f64, f64), bins: usize) -> Vec<u64> {
    let mut counts = vec![0; bins.max(1)];
    for v in values.into_iter().filter(|v| !v.is_nan()) {
        let at = ((v - low) / (high - low) * counts.len() as f64).max(0.0) as usize;
        let last = counts.len() - 1;
        counts[at.min(last)] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::rng;
    use crate::sae::{SaeGate, SaeModel};
    use crate::source::Memory;
    use crate::{Pca, fold};

    fn random(rows: usize, cols: usize, seed: u64) -> Mat {
        let mut r = rng(seed, 3, 0);
        Mat { rows, cols, data: (0..rows * cols).map(|_| r.normal() as f32).collect() }
    }

    /// An autoencoder of rows of a decoder that is not its encoder.
    fn model(n: usize, d: usize, k: usize) -> SaeModel {
        let (mut encoder, mut atoms) = (random(n, d, 1), random(n, d, 1));
        encoder.data.iter_mut().zip(&random(n, d, 2).data).for_each(|(w, noise)| *w = 0.3 * (*w + 0.4 * noise));
        atoms.data.chunks_mut(d).for_each(|v| {
            let length = v.iter().map(|v| v * v).sum::<f32>().sqrt();
            v.iter_mut().for_each(|v| *v /= length);
        });
        SaeModel {
            encoder,
            encoder_bias: vec![0.02; n],
            atoms,
            bias: vec![0.3; d],
            subtracts: true,
            gate: SaeGate::TopK { k },
            layer_norm: false,
            prefixes: Vec::new(),
            density: Vec::new(),
        }
    }

    #[test]
    fn every_measure_is_its_formula() {
        let (n, d, k) = (50, 6, 12);
        let model = model(k, d, 3);
        let mut x = random(n, d, 5);
        x.data.iter_mut().enumerate().for_each(|(at, v)| *v = *v * (1 + at % d) as f32 + 2.0);
        let m = sparse(&model, &Memory::cut(x.view(), 7)).expect("measures");
        let z = model.encode(&x.view()).expect("z");
        let back = model.decode(&z).expect("x");
        let z = z.to_mat();
        let mean: Vec<f64> = (0..d).map(|j| (0..n).map(|i| f64::from(x.row(i)[j])).sum::<f64>() / n as f64).collect();
        let square = |of: &dyn Fn(usize, usize) -> f64, i: usize| (0..d).map(|j| of(i, j).powi(2)).sum::<f64>();
        let at = |m: &Mat, i: usize, j: usize| f64::from(m.row(i)[j]);
        let e = |i: usize, j: usize| at(&x, i, j) - at(&back, i, j);
        let about = |i: usize, j: usize| at(&x, i, j) - mean[j];
        let over_rows = |of: &dyn Fn(usize) -> f64| (0..n).map(of).sum::<f64>();
        let residual = over_rows(&|i| square(&e, i));
        let fvu = residual / over_rows(&|i| square(&about, i));
        let by_row = over_rows(&|i| 1.0 - square(&e, i) / square(&about, i)) / n as f64;
        let by_column =
            (0..d).map(|j| 1.0 - over_rows(&|i| e(i, j).powi(2)) / over_rows(&|i| about(i, j).powi(2))).sum::<f64>() / d as f64;
        let along = |i: usize| (0..d).map(|j| at(&x, i, j) * at(&back, i, j)).sum::<f64>();
        let (xx, bb) = (|i: usize| square(&|i, j| at(&x, i, j), i), |i: usize| square(&|i, j| at(&back, i, j), i));
        let cosine = over_rows(&|i| along(i) / (xx(i) * bb(i)).sqrt()) / n as f64;
        let length = over_rows(&|i| (bb(i) / xx(i)).sqrt()) / n as f64;
        let alive: Vec<f64> = (0..n).map(|i| z.row(i).iter().filter(|v| **v != 0.0).count() as f64).collect();
        let l0 = alive.iter().sum::<f64>() / n as f64;
        let sd = (alive.iter().map(|a| (a - l0).powi(2)).sum::<f64>() / n as f64).sqrt();
        let pairs = [
            (m.fvu, fvu),
            (m.explained, 1.0 - fvu),
            (m.explained_by_row, by_row),
            (m.explained_by_column, by_column),
            (m.mse, residual / (n * d) as f64),
            (m.cosine, cosine),
            (m.length, length),
            (m.bias, over_rows(&bb) / over_rows(&along)),
            (m.l0, l0),
            (m.l0_sd, sd),
            (m.l1, z.data.iter().map(|v| f64::from(*v)).sum::<f64>() / n as f64),
        ];
        for (at, (ours, formula)) in pairs.iter().enumerate() {
            assert!((ours - formula).abs() < 1e-9 * formula.abs().max(1.0), "measure {at}: {ours} and {formula}");
        }
        for a in 0..k {
            let codes: Vec<f32> = (0..n).map(|i| z.row(i)[a]).filter(|v| *v != 0.0).collect();
            assert_eq!(m.density[a], codes.len() as f64 / n as f64);
            assert_eq!(m.top[a], codes.iter().copied().fold(0.0, f32::max));
            let mean = codes.iter().map(|v| f64::from(*v)).sum::<f64>() / codes.len().max(1) as f64;
            assert!((m.mean[a] - mean).abs() < 1e-12);
        }
        let share = |above: f64| m.density.iter().filter(|v| **v > above).count() as f64 / k as f64;
        assert_eq!((m.dead, m.dense_1, m.dense_10), (1.0 - share(0.0), share(0.01), share(0.1)));
        let elsewhere = super::super::errors(&model, &Memory::from(&x)).expect("errors").fvu;
        assert!((m.fvu - elsewhere).abs() < 1e-6 * elsewhere, "{} and {elsewhere}", m.fvu);
        assert!(sparse(&model, &Memory::from(&Mat::zeros(0, d))).expect_err("no rows").to_string().contains("0 rows"));
        assert!(sparse(&model, &Memory::from(&Mat::zeros(3, d + 1))).is_err());
    }

    #[test]
    fn dense_codes_are_measured_too() {
        let x = random(40, 5, 3);
        let model = fold::fit(&Pca { k: 2, ..Pca::default() }, &Memory::from(&x), fold::Options::default()).expect("fit").model;
        let m = sparse(&model, &Memory::from(&x)).expect("measures");
        assert_eq!((m.l0, m.l0_sd, m.dead, m.dense_10), (2.0, 0.0, 0.0, 1.0));
        assert!(encoder_decoder(&model).is_none());
        assert!(multi_k(&model, &x.view(), &[1, 2]).expect("none").is_empty());
    }

    #[test]
    fn other_numbers_alive_are_those_of_another_gate() {
        let (model, x) = (model(20, 6, 4), random(70, 6, 6));
        let curve = multi_k(&model, &x.view(), &[1, 2, 4, 8, 99]).expect("curve");
        assert_eq!(curve.iter().map(|at| at.k).collect::<Vec<_>>(), [1, 2, 4, 8, 20]);
        for at in curve {
            let other = SaeModel { gate: SaeGate::TopK { k: at.k }, ..model.clone() };
            let fvu = super::super::errors(&other, &Memory::from(&x)).expect("errors").fvu;
            assert!((at.fvu - fvu).abs() < 1e-6 * fvu, "k = {}: {} and {fvu}", at.k, at.fvu);
        }
        let relu = SaeModel { gate: SaeGate::Relu, ..model };
        assert!(multi_k(&relu, &x.view(), &[2]).expect("none").is_empty(), "chosen by no number");
    }

    #[test]
    fn the_nearest_atom_and_the_cosine_of_encoder_and_decoder() {
        // Several tiles and sides.
        let atoms = random(1100, 4, 7);
        let near = nearest(&atoms);
        let cosine = |a: usize, b: usize| {
            dot(atoms.row(a), atoms.row(b)) / (dot(atoms.row(a), atoms.row(a)) * dot(atoms.row(b), atoms.row(b))).sqrt()
        };
        for a in [0, 1, 63, 64, 500, 1023, 1024, 1099] {
            let best = (0..1100).filter(|b| *b != a).map(|b| cosine(a, b)).fold(-1.0, f64::max);
            let near = near[a].expect("another");
            assert!((near.cosine - best).abs() < 1e-5 && (cosine(a, near.atom) - best).abs() < 1e-5, "{a}: {near:?} {best}");
        }
        assert_eq!(nearest(&random(1, 4, 1)), [None]);
        let model = model(30, 5, 2);
        let both = encoder_decoder(&model).expect("an encoder");
        for (j, both) in both.iter().enumerate() {
            let (w, v) = (model.encoder.row(j), model.atoms.row(j));
            assert!((both - dot(w, v) / (dot(w, w) * dot(v, v)).sqrt()).abs() < 1e-12 && both.abs() < 1.0);
        }
    }

    #[test]
    fn a_prefix_rebuilds_from_its_own_latents() {
        let mut model = model(20, 6, 5);
        let x = random(300, 6, 5);
        assert_eq!(by_prefix(&model, &x.view()).expect("none"), []);
        model.prefixes = vec![8, 20];
        let at = by_prefix(&model, &x.view()).expect("prefixes");
        let z = model.encode(&x.view()).expect("z");
        let mut half = z.to_mat();
        (0..300).for_each(|i| half.row_mut(i)[8..].fill(0.0));
        for (at, z) in [(at[0], Codes::Dense(half)), (at[1], z)] {
            let l0 = z.to_mat().data.iter().filter(|v| **v != 0.0).count() as f64 / 300.0;
            let mut sums = ErrorSums::new(6);
            sums.add(&x.view(), model.decode(&z).expect("x")).expect("sums");
            assert!((at.fvu - sums.errors().expect("errors").fvu).abs() < 1e-6 && (at.l0 - l0).abs() < 1e-12, "{at:?} {l0}");
        }
    }

    #[test]
    fn recovery_counts_what_was_planted() {
        let planted = random(6, 8, 1);
        let mut learned = random(9, 8, 2);
        // Five are there, longer and in another order; the sixth points the other way, where no code above 0 finds it.
        for a in 0..5 {
            learned.row_mut(8 - a).iter_mut().zip(planted.row(a)).for_each(|(to, from)| *to = 3.0 * from);
        }
        learned.row_mut(0).iter_mut().zip(planted.row(5)).for_each(|(to, from)| *to = -from);
        let r = recovery(&planted, &learned).expect("recovery");
        assert!((r.recovered - 5.0 / 6.0).abs() < 1e-12 && r.one_to_one && r.cosine < 0.7, "{r:?}");
        let best = best(&planted, &learned).expect("best");
        assert_eq!(best.iter().filter(|c| **c > RECOVERED).count(), 5);
        assert!(recovery(&planted, &random(3, 7, 1)).is_err());
        let few = recovery(&planted, &Mat { rows: 1, cols: 8, data: planted.row(0).to_vec() }).expect("recovery");
        assert!((few.recovered - 1.0 / 6.0).abs() < 1e-12, "{few:?}");
    }

    #[test]
    fn bins_have_all_numbers() {
        assert_eq!(bins([-1.0, 0.0, 0.49, 0.5, 1.0, 7.0, f64::NAN], (0.0, 1.0), 2), [3, 3]);
    }
}
