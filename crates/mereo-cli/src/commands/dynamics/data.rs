//! What is learned from: a generated population, or rows and the Gaussian population of the same second moments.

use super::{Args, What};
use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::split::{self, HeldOut};
use crate::stop::{self, Stoppable};
use crate::{load, show};
use mereo::dynamics::{Begin, Dynamics, Input, Population, integrate_as};
use mereo::source::{self, Source, Subset};
use mereo::{Mat, fold};
use serde_json::{Value, json};
use std::ops::ControlFlow;

/// Dimensions of generated data, unless asked for otherwise: as in the paper.
const D: f64 = 500.0;
/// Most dimensions of generated data; beyond them nothing is left of the difference to infinitely many.
const MOST: f64 = 1e7;
/// Numbers that rows may have in memory: 1 GB.
const NUMBERS: usize = 250_000_000;
/// Most points in time.
const POINTS: usize = 100_000;

/// A number of dimensions, or `inf`.
pub fn dimensions(text: &str) -> std::result::Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(d) if d >= 1.0 && (d.is_infinite() || d.fract() == 0.0 && d <= MOST) => Ok(d),
        Ok(d) if d > MOST => Err(format!("write a number up to {}, or inf for the limit of many", show::count(MOST as usize))),
        _ => Err("write a whole number from 1, such as 500, or inf for the limit of many".into()),
    }
}

/// What is learned from, and what is known of it.
pub struct Scene {
    /// In words: `two spikes in 500 dimensions`.
    pub name: String,
    /// What the equations are of, and the descent without rows.
    pub population: Population,
    /// Rows to descend on, and those that errors are of.
    rows: Option<(Mat, Mat)>,
    /// The population of the rows that errors are of.
    held: Option<Population>,
    /// Height and width, if a row is an image.
    pub image: Option<(usize, usize)>,
    /// Facts for the foot of the page.
    pub made: Vec<(String, String)>,
    /// Rows to learn from, and rows held out.
    counts: Option<(usize, usize)>,
}

impl Scene {
    /// Opens or makes what was asked for; what can't be learned is refused first.
    pub fn open(args: &Args, how: &Dynamics, global: &Global) -> Result<Self> {
        if how.points > POINTS {
            let most = show::count(POINTS);
            return Err(Failure::usage(format!("--points {} is more than {most}, which is finer than any plot", how.points)));
        }
        match &args.what.data {
            Some(_) => Self::rows(args, how, global),
            None => Self::made(&args.what, how),
        }
    }

    fn made(what: &What, how: &Dynamics) -> Result<Self> {
        let d = what.d.unwrap_or(D);
        let population = if what.shares.is_empty() {
            spiked(d, what.spikes.unwrap_or(2), what.sines, how.seed)?
        } else {
            let left = 1.0 - what.shares.iter().sum::<f64>();
            // Less is what rounding leaves of shares that are all.
            let bulk = what.bulk.unwrap_or(if left > 1e-9 { left } else { 0.0 });
            Population::spectrum(d, &what.shares, bulk, how.seed)?
        };
        how.check(&population)?;
        let m = population.shares().len();
        let spikes = if m == 1 { "1 spike".into() } else { format!("{m} spikes") };
        let of =
            if d.is_finite() { format!("{} dimensions", show::count(d as usize)) } else { "infinitely many dimensions".into() };
        let made = vec![(
            "Data".into(),
            format!("generated: {spikes}{} in {of}, seed {}", if what.sines { " along sines" } else { "" }, how.seed),
        )];
        let name = format!("{spikes} in {of}");
        Ok(Self { name, population, rows: None, held: None, image: None, made, counts: None })
    }

    fn rows(args: &Args, how: &Dynamics, global: &Global) -> Result<Self> {
        let what = &args.what;
        let data = load::open(what.data.as_ref().expect("asked for by the caller"), &what.reading)?;
        let image = data.image_or(what.image)?;
        let cols = data.source.cols();
        tried(args, how, cols)?;
        let n = source::count(data.source.as_ref());
        let all = Stoppable::new(data.source.as_ref());
        let test = what.test.map_or_else(|| "0.2".parse::<HeldOut>().map_err(Failure::usage), Ok)?;
        let sides = split::split(n, None, Some(test), how.seed)?;
        let (mut train, test) = sides.map_or_else(|| ((0..n).collect(), None), |(train, test)| (train, Some(test)));
        train.truncate(what.keep.unwrap_or(usize::MAX));
        let numbers = (train.len() + test.as_ref().map_or(0, Vec::len)).saturating_mul(cols);
        if numbers > NUMBERS {
            return Err(Failure::usage(format!(
                "{} rows of {} columns do not fit in memory, where they are wanted; --keep and --test take fewer of them",
                show::count(train.len()),
                show::count(cols)
            )));
        }
        let bar = Progress::new("reading and taking eigenvectors", global);
        let left = "nothing was written";
        let side = |rows: Vec<usize>| -> Result<Mat> {
            let x = Subset::new(&all, rows).and_then(|rows| fold::collect(&rows)).map_err(|e| stop::or(e, left))?;
            // Each with its own scalars, as in the paper.
            Population::prepared(&x).or_else(|e| {
                finite(&all)?;
                Err(e.into())
            })
        };
        let train = side(train)?;
        let test = test.map(side).transpose()?;
        let counts = (train.rows, test.as_ref().map_or(0, |t| t.rows));
        let population = Population::of(&train)?;
        how.check(&population)?;
        let held = test.as_ref().map(errors).transpose()?;
        bar.clear();
        if stop::asked() {
            return Err(Failure::Interrupted(format!("stopped; {left}")));
        }
        let mut made = vec![("Data".into(), format!("{}: {} rows of {} columns", data.name, show::count(n), show::count(cols)))];
        made.extend(data.credit.iter().map(|c| ("Credit".into(), c.clone())));
        let rows = (!what.gaussian).then(|| match test {
            Some(test) => (train, test),
            None => (train.clone(), train),
        });
        let held = held.filter(|_| rows.is_some());
        let name = if what.gaussian { format!("Gaussian samples like {}", data.name) } else { data.name };
        Ok(Self { name, population, rows, held, image, made, counts: Some(counts) })
    }

    /// What the descent learns from.
    pub fn input(&self) -> Input<'_> {
        self.rows.as_ref().map_or(Input::Gaussian, |(train, test)| Input::Rows { train, test })
    }

    /// What the errors of the descent are of.
    pub fn measured(&self) -> &Population {
        self.held.as_ref().unwrap_or(&self.population)
    }

    /// Errors of the descent are those of rows that were held out.
    pub fn held_out(&self) -> bool {
        self.held.is_some()
    }

    /// What is learned from, in one line.
    pub fn line(&self, k: usize) -> String {
        let d = self.population.cols().map_or("D → ∞".into(), |d| format!("D = {}", show::count(d)));
        let variance = |m: usize| {
            let all = self.population.pca(0);
            format!("{:.1} %", 100.0 * (1.0 - self.population.pca(m) / all.max(f64::MIN_POSITIVE)))
        };
        let rows = self.counts.map_or(String::new(), |(train, test)| {
            let held = if test > 0 { format!(", {} held out", show::count(test)) } else { String::new() };
            format!("{} rows to learn from{held} · ", show::count(train))
        });
        let image = self.image.map(|(h, w)| format!(" (images of {h}×{w})")).unwrap_or_default();
        format!("{rows}{d}{image} · {k} principal components explain {} of the variance", variance(k))
    }

    /// For the JSON document.
    pub fn told(&self) -> Value {
        let p = &self.population;
        json!({
            "name": self.name,
            "d": p.cols().map_or(json!("inf"), |d| json!(d)),
            "shares": p.shares(),
            "bulk": p.bulk(),
            "variance": p.variance(),
            "train": self.counts.map(|c| c.0),
            "test": self.counts.map(|c| c.1),
            "image": self.image,
        })
    }
}

/// The spiked model of the paper; in infinitely many dimensions its spikes have the shares Λ² / (1 + ΣΛ²), and are orthogonal.
fn spiked(d: f64, spikes: usize, sines: bool, seed: u64) -> Result<Population> {
    if d.is_finite() {
        return Ok(Population::spiked(d as usize, spikes, sines, seed)?);
    }
    // What it refuses does not depend on the dimensions.
    Population::spiked(spikes.clamp(1, 64), spikes, false, seed)?;
    let squares: Vec<f64> = (1..=spikes).map(|m| ((m as f64).exp2() + 1.0).powi(2)).collect();
    let all = 1.0 + squares.iter().sum::<f64>();
    Ok(Population::spectrum(d, &squares.iter().map(|s| s / all).collect::<Vec<_>>(), 1.0 / all, seed)?)
}

/// Refuses parameters that no data of these columns has equations for, before eigenvectors are taken.
fn tried(args: &Args, how: &Dynamics, cols: usize) -> Result<()> {
    let bulk = Population::spectrum(cols as f64, &[], 1.0, 0)?;
    // It has no components to begin at.
    let how = match how.begin {
        Begin::Random => how.clone(),
        Begin::Informed => Dynamics { begin: Begin::Random, scale: Dynamics::default().scale, ..how.clone() },
    };
    how.check(&bulk)?;
    if !args.sgd && cols > 0 {
        integrate_as(args.form.into(), &how, &bulk, Some(&how.start(&bulk)?), &mut |_| ControlFlow::Break(()))?;
    }
    Ok(())
}

/// Finds what is no number by the row that it has in the data.
fn finite(all: &dyn Source) -> mereo::Result<()> {
    let mut first = 0;
    for b in 0..all.blocks() {
        let block = all.block(b)?;
        source::check_finite(&block, first)?;
        first += block.rows() as u64;
    }
    Ok(())
}

/// The eigenvalues of rows, for the errors of PCA. Of few rows they are those of the transposed matrix, which is the smaller one.
fn errors(x: &Mat) -> mereo::Result<Population> {
    if x.rows < x.cols { Population::of(&x.transpose()) } else { Population::of(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_numbers_or_the_limit() {
        assert_eq!((dimensions("500"), dimensions("inf"), dimensions("1e4")), (Ok(500.0), Ok(f64::INFINITY), Ok(10_000.0)));
        for bad in ["0", "-3", "2.5", "nan", "1e9", "x"] {
            assert!(dimensions(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_limit_of_the_spiked_model_is_that_of_many_dimensions() {
        let (limit, many) = (spiked(f64::INFINITY, 3, false, 0).expect("limit"), spiked(20_000.0, 3, false, 0).expect("many"));
        for (a, b) in limit.shares().iter().zip(many.shares()) {
            assert!((a / b - 1.0).abs() < 0.05, "{a} {b}");
        }
        assert!((limit.variance() - 1.0).abs() < 1e-12 && (limit.bulk() / many.bulk() - 1.0).abs() < 0.05);
        assert!(spiked(f64::INFINITY, 0, false, 0).is_err() && spiked(f64::INFINITY, 26, false, 0).is_err());
    }

    #[test]
    fn a_matrix_and_its_transpose_have_the_same_errors() {
        let x = Mat::new(3, 5, (0..15u16).map(|i| f32::from((i * 7) % 11) - 5.0).collect()).expect("matrix");
        let (few, whole) = (errors(&x).expect("few"), Population::of(&x).expect("whole"));
        assert_eq!(few.shares().len(), 3);
        for m in 0..3 {
            assert!((few.pca(m) - whole.pca(m)).abs() < 1e-6 * whole.pca(0), "{m}: {} {}", few.pca(m), whole.pca(m));
        }
    }
}
