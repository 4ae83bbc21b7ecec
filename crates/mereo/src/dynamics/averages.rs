//! Gaussian averages of the activations, in closed form or as one integral over an interval.
//!
//! With λ Gaussian of covariance Q, effective biases β = b/√D, and every g at λ + β. Averages with x itself follow from these by Stein's
//! lemma, E[f(λ) x] = Σ E[∂f/∂λᵃ] Ωwᵃ/√D, so that nothing is divided by a determinant.

use super::quadrature::{both_below, density, integral, normal};
use super::{Activation, SLOPE};
use std::f64::consts::{FRAC_1_SQRT_2, PI, TAU};

/// Below this a variance counts as nothing.
const NOTHING: f64 = 1e-300;

/// Averages of K units and of their pairs (K × K, row k for the first unit).
#[derive(Debug, Clone, Default)]
pub(super) struct Averages {
    /// E gₖ gₐ.
    pub gg: Vec<f64>,
    /// E g′ₖ gₐ.
    pub dg: Vec<f64>,
    /// E g″ₖ gₐ.
    pub ddg: Vec<f64>,
    /// E g′ₖ g′ₐ.
    pub dd: Vec<f64>,
    /// E g′ₖ.
    pub d1: Vec<f64>,
    /// E g″ₖ.
    pub d2: Vec<f64>,
    /// E g‴ₖ.
    pub d3: Vec<f64>,
}

impl Averages {
    /// For units of covariance `q` (K × K) and effective biases `beta` (K).
    pub fn set(&mut self, g: Activation, q: &[f64], beta: &[f64]) {
        let k = beta.len();
        for pairs in [&mut self.gg, &mut self.dg, &mut self.ddg, &mut self.dd] {
            pairs.resize(k * k, 0.0);
        }
        for singles in [&mut self.d1, &mut self.d2, &mut self.d3] {
            singles.resize(k, 0.0);
        }
        for a in 0..k {
            let (var, b) = (q[a * k + a], beta[a]);
            (self.d1[a], self.d2[a], self.d3[a]) = slopes(g, var, b);
        }
        for a in 0..k {
            for c in 0..k {
                let one = Pair { var: (q[a * k + a], q[c * k + c]), both: q[a * k + c], beta: (beta[a], beta[c]), same: a == c };
                let at = a * k + c;
                (self.gg[at], self.dg[at], self.ddg[at], self.dd[at]) = match g {
                    Activation::Linear => (one.both + one.beta.0 * one.beta.1, one.beta.1, 0.0, 1.0),
                    Activation::Erf => one.erf((self.d1[a], self.d1[c])),
                    Activation::Relu => one.relu((self.d1[a], self.d2[a], self.d2[c])),
                };
            }
        }
    }
}

/// E g′, E g″ and E g‴ of a unit.
fn slopes(g: Activation, var: f64, b: f64) -> (f64, f64, f64) {
    match g {
        Activation::Linear => (1.0, 0.0, 0.0),
        Activation::Erf => {
            let wide = 1.0 + var;
            let first = SLOPE / wide.sqrt() * (-0.5 * b * b / wide).exp();
            (first, -b / wide * first, (b * b / wide - 1.0) / wide * first)
        }
        Activation::Relu => {
            let spread = var.max(NOTHING).sqrt();
            let at = density(b / spread) / spread;
            (normal(b / spread), at, -b / var.max(NOTHING) * at)
        }
    }
}

/// Two units.
struct Pair {
    var: (f64, f64),
    both: f64,
    beta: (f64, f64),
    same: bool,
}

impl Pair {
    fn biased(&self) -> bool {
        self.beta != (0.0, 0.0)
    }

    fn erf(&self, (first, _): (f64, f64)) -> (f64, f64, f64, f64) {
        let ((a, c), q, (b, e)) = ((1.0 + self.var.0, 1.0 + self.var.1), self.both, self.beta);
        let det = a * c - q * q;
        let dd = 2.0 / PI / det.sqrt() * (-0.5 * (b * b * c - 2.0 * q * b * e + e * e * a) / det).exp();
        let end = (q / (a * c).sqrt()).asin();
        let gg = if self.biased() {
            // Price: the slope of E gg along Q is E g′g′.
            let apart = libm::erf(b / (2.0 * a).sqrt()) * libm::erf(e / (2.0 * c).sqrt());
            let wide = (a * c).sqrt();
            apart
                + 2.0 / PI
                    * integral(0.0, end, |t| {
                        let (sin, cos) = t.sin_cos();
                        (-0.5 * (b * b * c - 2.0 * wide * sin * b * e + e * e * a) / (a * c * cos * cos)).exp()
                    })
        } else {
            2.0 / PI * end
        };
        // Under the weight g′ₖ the other unit is Gaussian too.
        let (mean, var) = (-b * q / a, self.var.1 - q * q / a);
        let dg = first * libm::erf((mean + e) * FRAC_1_SQRT_2 / (1.0 + var).sqrt());
        (gg, dg, -(b * dg + q * dd) / a, dd)
    }

    fn relu(&self, (first, density_here, density_there): (f64, f64, f64)) -> (f64, f64, f64, f64) {
        let ((a, c), q, (b, e)) = ((self.var.0.max(NOTHING), self.var.1.max(NOTHING)), self.both, self.beta);
        let correlation = (q / (a * c).sqrt()).clamp(-1.0, 1.0);
        let dd = match (self.same, self.biased()) {
            (true, _) => first,
            (_, true) => both_below(b / a.sqrt(), e / c.sqrt(), correlation),
            _ => 0.25 + correlation.asin() / TAU,
        };
        // Where this unit is at its kink, the other one is Gaussian: of this mean and spread.
        let kink = |a: f64, b: f64, c: f64, e: f64| (e - q * b / a, (c - q * q / a).max(0.0).sqrt());
        let (mean, spread) = if self.same { (0.0, 0.0) } else { kink(a, b, c, e) };
        // Without a spread a step, at 0 of which one half counts.
        let step = |mean: f64| if mean == 0.0 { 0.5 } else { f64::from(u8::from(mean > 0.0)) };
        let above = |mean: f64, spread: f64| if spread > 0.0 { normal(mean / spread) } else { step(mean) };
        let ddg = density_here * (mean * above(mean, spread) + if spread > 0.0 { spread * density(mean / spread) } else { 0.0 });
        let dg = if self.same {
            e * dd + c * density_here
        } else {
            let (back, spread_back) = kink(c, e, a, b);
            e * dd + c * density_there * above(back, spread_back) + q * density_here * above(mean, spread)
        };
        (b * dg + a * ddg + q * dd, dg, ddg, dd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Averages over a fine grid of two independent normals.
    fn by_grid(q: [f64; 4], f: impl Fn(f64, f64) -> f64) -> f64 {
        let (n, reach) = (1201, 7.5);
        let step = 2.0 * reach / (n - 1) as f64;
        let first = q[0].sqrt();
        let (along, rest) = (q[1] / first, (q[3] - q[1] * q[1] / q[0]).max(0.0).sqrt());
        let mut sum = 0.0;
        for i in 0..n {
            let x = -reach + i as f64 * step;
            for j in 0..n {
                let y = -reach + j as f64 * step;
                sum += density(x) * density(y) * f(first * x, along * x + rest * y);
            }
        }
        sum * step * step
    }

    #[test]
    fn averages_are_those_of_a_grid() {
        for (q, beta) in
            [([0.7, 0.3, 0.3, 1.4], [0.0, 0.0]), ([0.7, -0.5, -0.5, 1.4], [0.4, -0.9]), ([2.0, 1.2, 1.2, 0.9], [-1.0, 0.3])]
        {
            for g in [Activation::Erf, Activation::Relu, Activation::Linear] {
                let mut found = Averages::default();
                found.set(g, &q, &beta);
                let of = |which: usize, x: f64| g.of(x + beta[which]);
                // A kink lies between points of the grid: it sees steps to about their distance.
                let near = if g == Activation::Relu { 4e-3 } else { 1e-9 };
                for (what, at, is) in [
                    ("gg", found.gg[1], by_grid(q, |x, y| of(0, x).0 * of(1, y).0)),
                    ("dg", found.dg[1], by_grid(q, |x, y| of(0, x).1 * of(1, y).0)),
                    ("gd", found.dg[2], by_grid(q, |x, y| of(0, x).0 * of(1, y).1)),
                    ("dd", found.dd[1], by_grid(q, |x, y| of(0, x).1 * of(1, y).1)),
                    ("gg of one", found.gg[0], by_grid(q, |x, _| of(0, x).0.powi(2))),
                    ("dg of one", found.dg[0], by_grid(q, |x, _| of(0, x).1 * of(0, x).0)),
                    ("dd of one", found.dd[0], by_grid(q, |x, _| of(0, x).1.powi(2))),
                    ("d1", found.d1[0], by_grid(q, |x, _| of(0, x).1)),
                ] {
                    assert!((at - is).abs() < near, "{g:?}, {what}: {at} and {is}");
                }
            }
        }
    }

    #[test]
    fn slopes_are_differences_along_the_bias() {
        let q = [0.7, -0.5, -0.5, 1.4];
        let at = |g: Activation, b: f64| {
            let mut found = Averages::default();
            found.set(g, &q, &[b, 0.3]);
            found
        };
        let h = 1e-5;
        for g in [Activation::Erf, Activation::Relu] {
            for b in [0.0, 0.4, -1.1] {
                let (down, mid, up) = (at(g, b - h), at(g, b), at(g, b + h));
                let along = |f: fn(&Averages) -> f64| (f(&up) - f(&down)) / (2.0 * h);
                for (what, is, found) in [
                    ("d2", along(|a| a.d1[0]), mid.d2[0]),
                    ("d3", along(|a| a.d2[0]), mid.d3[0]),
                    ("dg", along(|a| a.gg[1]), mid.dg[1]),
                    ("ddg", along(|a| a.dg[1]), mid.ddg[1]),
                    ("dd", along(|a| a.dg[2]), mid.dd[1]),
                ] {
                    assert!((is - found).abs() < 1e-7, "{g:?} at {b}, {what}: {found} and {is}");
                }
            }
        }
    }
}
