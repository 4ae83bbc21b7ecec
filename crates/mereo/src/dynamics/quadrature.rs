//! Integrals over an interval, by Gauss and Legendre's rule of 32 points.

use std::sync::OnceLock;

/// Points of the rule.
const POINTS: usize = 32;

/// ∫ f from `a` to `b`; exact for polynomials of a degree below 64.
pub(super) fn integral(a: f64, b: f64, f: impl Fn(f64) -> f64) -> f64 {
    static RULE: OnceLock<[(f64, f64); POINTS]> = OnceLock::new();
    let (middle, half) = (0.5 * (a + b), 0.5 * (b - a));
    RULE.get_or_init(rule).iter().map(|(x, weight)| weight * f(middle + half * x)).sum::<f64>() * half
}

/// Roots of Legendre's polynomial by Newton's method, with their weights 2 / ((1 − x²) P′(x)²).
fn rule() -> [(f64, f64); POINTS] {
    let n = POINTS as f64;
    std::array::from_fn(|i| {
        let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n + 0.5)).cos();
        let mut slope = 0.0;
        for _ in 0..10 {
            let (mut before, mut value) = (1.0, x);
            for j in 2..=POINTS {
                let j = j as f64;
                (before, value) = (value, ((2.0 * j - 1.0) * x * value - (j - 1.0) * before) / j);
            }
            slope = n * (x * value - before) / (x * x - 1.0);
            x -= value / slope;
        }
        (x, 2.0 / ((1.0 - x * x) * slope * slope))
    })
}

/// Φ(x), the chance that a standard normal is below x.
pub(super) fn normal(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// The density of a standard normal.
pub(super) fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
}

/// The chance that two standard normals of a correlation are below `h` and `k`.
///
/// Φ(h)Φ(k) and the integral of the density over the correlations from 0 (Drezner & Wesolowsky 1990), which is cut finer towards ±1.
pub(super) fn both_below(h: f64, k: f64, correlation: f64) -> f64 {
    let end = correlation.clamp(-1.0, 1.0).asin();
    let over = |a: f64, b: f64| {
        integral(a, b, |t| {
            let (sin, cos) = t.sin_cos();
            (-(h * h + k * k - 2.0 * h * k * sin) / (2.0 * cos * cos)).exp()
        })
    };
    // Panels that end half-way to a right angle, each time: what is left is as narrow as the end allows.
    let (mut sum, mut from) = (0.0, 0.0);
    let right = std::f64::consts::FRAC_PI_2.copysign(end);
    for _ in 0..12 {
        let to = 0.5 * (from + right);
        if to.abs() >= end.abs() {
            break;
        }
        sum += over(from, to);
        from = to;
    }
    sum += over(from, end);
    normal(h) * normal(k) + sum / std::f64::consts::TAU
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_and_densities_integrate_exactly() {
        assert!((integral(-1.0, 3.0, |x| x.powi(7)) - (3f64.powi(8) - 1.0) / 8.0).abs() < 1e-10);
        assert!((integral(-8.0, 8.0, density) - 1.0).abs() < 1e-9);
        assert!((normal(1.0) - 0.841_344_746_068_542_9).abs() < 1e-15);
    }

    #[test]
    fn two_normals_below_two_limits() {
        for (h, k, r) in [(0.3, -0.7, 0.5), (-1.2, 0.4, -0.8), (0.5, 0.6, 0.99), (0.5, 0.5, -0.97)] {
            // Conditional on the first: P(y < k | x) = Φ((k − ρx)/√(1 − ρ²)).
            let panels = 400;
            let width = (h + 10.0) / panels as f64;
            let by_rows: f64 = (0..panels)
                .map(|i| {
                    let a = -10.0 + i as f64 * width;
                    integral(a, a + width, |x| density(x) * normal((k - r * x) / (1.0f64 - r * r).sqrt()))
                })
                .sum();
            assert!((both_below(h, k, r) - by_rows).abs() < 1e-11, "{h} {k} {r}: {} and {by_rows}", both_below(h, k, r));
        }
        for r in [-1.0f64, -0.999, -0.3, 0.0, 0.7, 0.999_999, 1.0] {
            let is = 0.25 + r.asin() / std::f64::consts::TAU;
            assert!((both_below(0.0, 0.0, r) - is).abs() < 1e-12, "{r}");
        }
        assert!((both_below(0.4, 0.9, 1.0) - normal(0.4)).abs() < 1e-7);
    }
}
