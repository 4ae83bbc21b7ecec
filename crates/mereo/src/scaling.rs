//! Scaling laws: how a loss falls with the number of latents n and of those alive k.
//!
//! For each k, L = c·n^−α; for all of them, ln L = a + β_k ln k + β_n ln n + γ ln k ln n. Both are least squares in logarithms, in which a
//! constant factor of the loss (nMSE, FVU) changes c and a alone. Every fit of a sweep is a point, so several seeds are replicates.
//!
//! Errors are those of ordinary least squares: √(s²·diag (XᵀX)⁻¹) with s² = Σe² / (N − p); they take points to scatter about the law alike and
//! apart from each other. An interval of a prediction is that of a new fit, by Student's t. Far beyond the points it tells nothing of whether the law
//! still holds. X is centred before it is decomposed: ln n of 3,000 to 12,000 hardly differ beside their mean. Left out: a floor of the loss that
//! no n gets below (Gao et al. 2024, §3.1.3), for which a handful of sizes has no say.
//!
//! Sources: O'Neill et al. 2024 (arXiv 2408.00657), §3.2; Gao et al. 2024 (2406.04093), §3.
//!
//! ```
//! use mereo::scaling::{self, Point};
//! let point = |latents: usize, loss| Point { latents, k: 32, loss };
//! let law = scaling::fit(&[point(3072, 0.1751), point(6144, 0.1594), point(12288, 0.1459)])?;
//! assert!((law.lines[0].alpha.value - 0.13).abs() < 0.005 && law.joint.is_none());
//! # Ok::<(), mereo::Error>(())
//! ```

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Share of intervals of predictions that hold what they predict.
const COVERED: f64 = 0.95;
/// A regressor of which less than this share is its own is a sum of the others.
const OWN: f64 = 1e-9;

/// The loss of one fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Latents (n).
    pub latents: usize,
    /// Latents alive on a row.
    pub k: usize,
    /// The loss (L), above 0.
    pub loss: f64,
}

/// A coefficient and its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coefficient {
    /// The coefficient.
    pub value: f64,
    /// Its standard error; `None` where there are no more points than coefficients.
    pub error: Option<f64>,
}

/// How well a law holds, in logarithms of the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Points that it is of (N).
    pub points: usize,
    /// Share of the variance of ln L that it explains (R²).
    pub r2: f64,
    /// Root of the mean squared residual of ln L: about the relative error of a loss.
    pub rms: f64,
    /// Points beyond coefficients.
    pub freedom: usize,
}

/// L = c·n^−α at one k.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Latents alive on a row.
    pub k: usize,
    /// ln c.
    pub ln_c: Coefficient,
    /// α.
    pub alpha: Coefficient,
    /// How well it holds.
    pub quality: Quality,
    #[serde(skip)]
    law: Law,
}

/// ln L = a + β_k ln k + β_n ln n + γ ln k ln n.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Joint {
    /// a.
    pub a: Coefficient,
    /// β_k.
    pub beta_k: Coefficient,
    /// β_n.
    pub beta_n: Coefficient,
    /// γ.
    pub gamma: Coefficient,
    /// How well it holds.
    pub quality: Quality,
    #[serde(skip)]
    law: Law,
}

/// The laws of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// One for each k of which two sizes are known, by rising k.
    pub lines: Vec<Line>,
    /// That of all, where it can be told.
    pub joint: Option<Joint>,
    /// Why not, where it can't.
    pub no_joint: Option<String>,
}

/// What a law says of a loss that was not measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The loss.
    pub loss: f64,
    /// Where a new fit's is in 95 of 100 cases; `None` where there are no more points than coefficients.
    pub interval: Option<(f64, f64)>,
}

/// Fits both laws.
///
/// # Errors
/// A loss that is not a number above 0, an n or a k of 0, or no k of which two sizes are known.
pub fn fit(points: &[Point]) -> Result<Scaling> {
    for p in points {
        if !(p.loss.is_finite() && p.loss > 0.0) || p.latents == 0 || p.k == 0 {
            return Err(Error::data(format!(
                "a loss of {} with {} latents of which {} are alive has no logarithm; leave it out, and give losses, latents and k above 0",
                p.loss, p.latents, p.k
            )));
        }
    }
    let mut ks: Vec<usize> = points.iter().map(|p| p.k).collect();
    ks.sort_unstable();
    ks.dedup();
    let lines: Vec<Line> = ks.iter().filter_map(|&k| line(points, k)).collect();
    if lines.is_empty() {
        let mut sizes: Vec<usize> = points.iter().map(|p| p.latents).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let what = match sizes.len() {
            0 => "there are no points".to_string(),
            1 => format!("all points have {} latents", sizes[0]),
            _ => "no k has points with two numbers of latents".into(),
        };
        return Err(Error::data(format!(
            "{what}, and a power of n takes two; sweep at least two numbers of latents, such as --latents 1536,3072,6144"
        )));
    }
    let (joint, no_joint) = match (joint(points), ks.as_slice()) {
        (Some(joint), _) => (Some(joint), None),
        (None, [k]) => {
            (None, Some(format!("all points have k = {k}, so nothing is told of how the loss falls with k; sweep two or more")))
        }
        (None, _) => (None, Some("a law of both takes two numbers of latents at two k; sweep the whole grid".into())),
    };
    Ok(Scaling { lines, joint, no_joint })
}

fn line(points: &[Point], k: usize) -> Option<Line> {
    let own: Vec<&Point> = points.iter().filter(|p| p.k == k).collect();
    let law = Law::fit(own.iter().map(|p| ([p.ln_n(), 0.0], p.loss.ln())), 2)?;
    let [ln_c, slope, ..] = law.coefficients();
    Some(Line { k, ln_c, alpha: Coefficient { value: -slope.value, ..slope }, quality: law.quality.clone(), law })
}

fn joint(points: &[Point]) -> Option<Joint> {
    let law = Law::fit(points.iter().map(|p| ([p.ln_n(), p.ln_k()], p.loss.ln())), 4)?;
    let [a, beta_n, beta_k, gamma] = law.coefficients();
    Some(Joint { a, beta_k, beta_n, gamma, quality: law.quality.clone(), law })
}

impl Point {
    fn ln_n(&self) -> f64 {
        (self.latents as f64).ln()
    }
    fn ln_k(&self) -> f64 {
        (self.k as f64).ln()
    }
}

impl Line {
    /// The loss at n latents.
    pub fn at(&self, latents: f64) -> Prediction {
        self.law.at([latents.ln(), 0.0])
    }
}

impl Joint {
    /// The loss at n latents of which k are alive.
    pub fn at(&self, latents: f64, k: f64) -> Prediction {
        self.law.at([latents.ln(), k.ln()])
    }
}

/// y = b₀ + b₁u + b₂v + b₃uv, of which the first p terms are there; u and v are taken from their means.
#[derive(Debug, Clone, PartialEq)]
struct Law {
    p: usize,
    mean: [f64; 2],
    /// b, in the centred terms.
    b: [f64; 4],
    /// (XᵀX)⁻¹ (4×4), in the centred terms.
    inverse: [[f64; 4]; 4],
    /// s²; 0 where there is no freedom.
    variance: f64,
    quality: Quality,
}

impl Default for Law {
    /// Of a law that was read from a file, which predicts nothing.
    fn default() -> Self {
        let quality = Quality { points: 0, r2: f64::NAN, rms: f64::NAN, freedom: 0 };
        Self { p: 0, mean: [0.0; 2], b: [f64::NAN; 4], inverse: [[0.0; 4]; 4], variance: 0.0, quality }
    }
}

impl Law {
    /// Least squares by Gram and Schmidt; `None` if a term is a sum of those before it.
    fn fit(points: impl Iterator<Item = ([f64; 2], f64)>, p: usize) -> Option<Self> {
        let (at, y): (Vec<[f64; 2]>, Vec<f64>) = points.unzip();
        let count = y.len() as f64;
        let mean = [0, 1].map(|i| at.iter().map(|at| at[i]).sum::<f64>() / count);
        let rows: Vec<[f64; 4]> = at.iter().map(|at| terms(*at, mean)).collect();
        let mut q: Vec<Vec<f64>> = Vec::new();
        let mut r = [[0.0; 4]; 4];
        for j in 0..p {
            let mut column: Vec<f64> = rows.iter().map(|row| row[j]).collect();
            let length = norm(&column);
            for (i, q) in q.iter().enumerate() {
                r[i][j] = dot(q, &column);
                column.iter_mut().zip(q).for_each(|(c, q)| *c -= r[i][j] * q);
            }
            r[j][j] = norm(&column);
            if r[j][j].is_nan() || r[j][j] <= OWN * length {
                return None;
            }
            column.iter_mut().for_each(|c| *c /= r[j][j]);
            q.push(column);
        }
        // R b = Qᵀy, and each column of R⁻¹ the same way.
        let solve = |right: [f64; 4]| {
            let mut b = [0.0; 4];
            for i in (0..p).rev() {
                b[i] = (right[i] - (i + 1..p).map(|j| r[i][j] * b[j]).sum::<f64>()) / r[i][i];
            }
            b
        };
        let mut right = [0.0; 4];
        q.iter().zip(&mut right).for_each(|(q, to)| *to = dot(q, &y));
        let b = solve(right);
        let mut inverse = [[0.0; 4]; 4];
        for j in 0..p {
            let mut unit = [0.0; 4];
            unit[j] = 1.0;
            let column = solve(unit);
            (0..p).for_each(|i| (0..p).for_each(|l| inverse[i][l] += column[i] * column[l]));
        }
        let middle = y.iter().sum::<f64>() / count;
        let residual: f64 = rows.iter().zip(&y).map(|(row, y)| (y - dot(row, &b)).powi(2)).sum();
        let total: f64 = y.iter().map(|y| (y - middle).powi(2)).sum();
        let freedom = y.len() - p;
        let quality = Quality {
            points: y.len(),
            r2: if total > 0.0 { 1.0 - residual / total } else { 1.0 },
            rms: (residual / count).sqrt(),
            freedom,
        };
        Some(Self { p, mean, b, inverse, variance: if freedom > 0 { residual / freedom as f64 } else { 0.0 }, quality })
    }

    /// b with their errors, in terms of u and v themselves: uv about the means is uv − v̄u − ūv + ūv̄.
    fn coefficients(&self) -> [Coefficient; 4] {
        let [u, v] = self.mean;
        let back = [[1.0, -u, -v, u * v], [0.0, 1.0, 0.0, -v], [0.0, 0.0, 1.0, -u], [0.0, 0.0, 0.0, 1.0]];
        back.map(|row| Coefficient {
            value: dot(&row, &self.b),
            error: (self.quality.freedom > 0).then(|| (self.variance * self.spread(&row)).sqrt()),
        })
    }

    /// tᵀ (XᵀX)⁻¹ t
    fn spread(&self, t: &[f64; 4]) -> f64 {
        t.iter().zip(&self.inverse).map(|(a, row)| a * dot(row, t)).sum()
    }

    fn at(&self, at: [f64; 2]) -> Prediction {
        let terms = terms(at, self.mean);
        let middle = dot(&terms, &self.b);
        let interval = (self.quality.freedom > 0).then(|| {
            let by = student(self.quality.freedom) * (self.variance * (1.0 + self.spread(&terms))).sqrt();
            ((middle - by).exp(), (middle + by).exp())
        });
        Prediction { loss: middle.exp(), interval }
    }
}

fn terms([u, v]: [f64; 2], mean: [f64; 2]) -> [f64; 4] {
    let (u, v) = (u - mean[0], v - mean[1]);
    [1.0, u, v, u * v]
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// What |t| of so many degrees of freedom is below in [`COVERED`] of all cases.
fn student(freedom: usize) -> f64 {
    // Beyond a thousand it is a normal distribution.
    let freedom = freedom.min(1000);
    // Bisection of θ = atan(t/√ν), in which the share below has a closed form (Abramowitz & Stegun 26.7.3 and 26.7.4).
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if within(middle, freedom) < COVERED {
            low = middle;
        } else {
            high = middle;
        }
    }
    low.tan() * (freedom as f64).sqrt()
}

/// Share of cases in which |t| < √ν tan θ.
fn within(theta: f64, freedom: usize) -> f64 {
    let (sin, cos) = theta.sin_cos();
    let odd = freedom % 2 == 1;
    let (mut term, mut sum) = (if odd { cos } else { 1.0 }, 0.0);
    for i in 1..=freedom / 2 {
        sum += term;
        let i = i as f64 * 2.0;
        term *= cos * cos * if odd { i / (i + 1.0) } else { (i - 1.0) / i };
    }
    if odd { (theta + sin * sum) * std::f64::consts::FRAC_2_PI } else { sin * sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec 2.3: losses at five n, c and α of their line, for each k.
    type Table = [(usize, [f64; 5], f64, f64); 4];
    const SIZES: [usize; 5] = [3072, 4608, 6144, 9216, 12288];
    const ASTRO: Table = [
        (16, [0.2300, 0.2174, 0.2113, 0.1994, 0.1943], 0.615, 0.123),
        (32, [0.1751, 0.1649, 0.1594, 0.1516, 0.1459], 0.494, 0.130),
        (64, [0.1419, 0.1308, 0.1262, 0.1195, 0.1150], 0.461, 0.148),
        (128, [0.1111, 0.1051, 0.1023, 0.0972, 0.0923], 0.314, 0.129),
    ];
    const LEARNING: Table = [
        (16, [0.2308, 0.2164, 0.2064, 0.1986, 0.1910], 0.672, 0.134),
        (32, [0.1810, 0.1698, 0.1632, 0.1548, 0.1483], 0.563, 0.142),
        (64, [0.1486, 0.1397, 0.1312, 0.1230, 0.1170], 0.604, 0.174),
        (128, [0.1205, 0.1129, 0.1084, 0.0999, 0.0939], 0.511, 0.179),
    ];

    fn points(table: &Table) -> Vec<Point> {
        let of = |(k, losses, ..): &(usize, [f64; 5], f64, f64)| {
            let k = *k;
            SIZES.into_iter().zip(*losses).map(move |(latents, loss)| Point { latents, k, loss }).collect::<Vec<_>>()
        };
        table.iter().flat_map(of).collect()
    }

    #[test]
    fn the_published_losses_give_the_published_laws() {
        let joints = [(ASTRO, [0.364, -0.300, -0.111, -0.0055], 0.017), (LEARNING, [-0.124, -0.108, -0.065, -0.0242], 0.011)];
        for (table, coefficients, rms) in joints {
            let law = fit(&points(&table)).expect("law");
            for (line, (k, _, c, alpha)) in law.lines.iter().zip(&table) {
                let own = line.ln_c.value.exp();
                assert!((own - c).abs() < 5.1e-4 && (line.alpha.value - alpha).abs() < 5.1e-4, "k = {k}: {line:?}");
                assert!(line.k == *k && line.quality.freedom == 3 && line.quality.r2 > 0.98);
            }
            let joint = law.joint.expect("joint");
            let own = [joint.a, joint.beta_k, joint.beta_n, joint.gamma].map(|c| c.value);
            for ((own, want), digit) in own.iter().zip(coefficients).zip([1e-3, 1e-3, 1e-3, 1e-4]) {
                assert!((own - want).abs() < 0.51 * digit, "{own} {want}");
            }
            assert!((joint.quality.rms - rms).abs() < 5e-4 && joint.quality.freedom == 16, "{:?}", joint.quality);
        }
    }

    /// Errors and intervals beside those of an elimination of the plain 4×4 normal equations, done elsewhere.
    #[test]
    fn errors_and_intervals_are_those_of_least_squares() {
        let law = fit(&points(&ASTRO)).expect("law");
        let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-6, "{a} {b}");
        let line = &law.lines[0];
        near(line.ln_c.error.expect("error"), 0.040_102_812_407);
        near(line.alpha.error.expect("error"), 0.004_577_655_608_3);
        let joint = law.joint.expect("joint");
        for (own, want) in [joint.a, joint.beta_k, joint.beta_n, joint.gamma].iter().zip([
            0.370_983_996_193,
            0.095_361_799_372,
            0.042_347_079_140,
            0.010_885_358_146,
        ]) {
            near(own.error.expect("error"), want);
        }
        let ahead = joint.at(24576.0, 64.0);
        near(ahead.loss.ln(), -2.242_906_248_57);
        let (low, high) = ahead.interval.expect("interval");
        near((high / low).ln() / 2.0, student(16) * 0.022_852_781_463);
        // Tables of t: two-sided, 95 %.
        for (freedom, t) in [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (16, 2.120), (30, 2.042), (10_000, 1.960)] {
            assert!((student(freedom) - t).abs() < 6e-3, "{freedom}: {}", student(freedom));
        }
    }

    #[test]
    fn a_planted_law_is_found_with_replicates() {
        let law = |n: usize, k: usize| {
            (0.3 - 0.2 * (k as f64).ln() - 0.1 * (n as f64).ln() - 0.01 * (k as f64).ln() * (n as f64).ln()).exp()
        };
        let mut all = Vec::new();
        for (n, k) in [(512, 4), (1024, 4), (2048, 4), (512, 16), (1024, 16), (2048, 32)] {
            for factor in [0.99, 1.0 / 0.99] {
                all.push(Point { latents: n, k, loss: law(n, k) * factor });
            }
        }
        let found = fit(&all).expect("law");
        let joint = found.joint.expect("joint");
        assert!((joint.gamma.value + 0.01).abs() < 1e-9 && (joint.a.value - 0.3).abs() < 1e-9, "{joint:?}");
        assert!((joint.quality.rms - (1.0f64 / 0.99).ln()).abs() < 1e-9 && joint.quality.freedom == 8);
        assert_eq!(found.lines.iter().map(|l| l.k).collect::<Vec<_>>(), [4, 16], "k = 32 has one size");
        assert!(found.lines.iter().all(|l| (l.alpha.value - 0.1 - 0.01 * (l.k as f64).ln()).abs() < 1e-9));
    }

    #[test]
    fn too_little_is_told_as_such() {
        let point = |latents, k, loss| Point { latents, k, loss };
        let fails = |points: &[Point]| fit(points).expect_err("too little").to_string();
        assert!(fails(&[]).contains("no points"));
        assert!(fails(&[point(64, 4, 0.5), point(64, 8, 0.4)]).contains("all points have 64 latents"));
        assert!(fails(&[point(64, 4, 0.5), point(128, 8, 0.4)]).contains("sweep at least two"));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(fails(&[point(64, 4, 0.5), point(128, 4, bad)]).contains("above 0"));
        }
        let law = fit(&[point(64, 4, 0.5), point(128, 4, 0.4)]).expect("two points");
        assert!(law.joint.is_none() && law.no_joint.expect("why").contains("k = 4"));
        assert_eq!((law.lines[0].alpha.error, law.lines[0].at(256.0).interval), (None, None), "no freedom is left");
        assert!((law.lines[0].at(256.0).loss - 0.32).abs() < 1e-12);
        let corner = fit(&[point(64, 4, 0.5), point(128, 4, 0.4), point(64, 8, 0.3)]).expect("a line");
        assert!(corner.no_joint.expect("why").contains("whole grid"));
    }
}
