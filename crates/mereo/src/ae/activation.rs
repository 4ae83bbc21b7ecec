//! What a unit makes of what reaches it, and the slope of that.

use serde::{Deserialize, Serialize};

/// The function g of the codes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AeActivation {
    /// g(a) = a: the atoms come to span the principal components.
    Linear,
    /// g(a) = erf(a / √2), from −1 to 1: the sigmoidal unit of Refinetti & Goldt 2022.
    #[default]
    Erf,
    /// g(a) = 1 / (1 + e⁻ᵃ), from 0 to 1.
    Sigmoid,
    /// g(a) = tanh a, from −1 to 1.
    Tanh,
    /// g(a) = max(0, a).
    Relu,
    /// g(a) = a above 0, a / 100 below.
    LeakyRelu,
    /// g(a) = ln(1 + eᵃ), above 0.
    Softplus,
}

/// Slope of a leaky unit below 0.
const LEAK: f32 = 0.01;

impl AeActivation {
    /// Whether g(−a) = −g(a), so that an atom's sign is free.
    pub fn odd(self) -> bool {
        matches!(self, Self::Linear | Self::Erf | Self::Tanh)
    }

    /// g(a) and g′(a).
    pub(super) fn both(self, a: f32) -> (f32, f32) {
        match self {
            Self::Linear => (a, 1.0),
            Self::Erf => {
                let a = f64::from(a);
                let slope = (2.0 / std::f64::consts::PI).sqrt() * (-0.5 * a * a).exp();
                (erf(a * std::f64::consts::FRAC_1_SQRT_2) as f32, slope as f32)
            }
            Self::Sigmoid => {
                let h = sigmoid(a);
                (h, h * (1.0 - h))
            }
            Self::Tanh => {
                let h = a.tanh();
                (h, 1.0 - h * h)
            }
            Self::Relu => (a.max(0.0), if a > 0.0 { 1.0 } else { 0.0 }),
            Self::LeakyRelu => {
                if a > 0.0 {
                    (a, 1.0)
                } else {
                    (LEAK * a, LEAK)
                }
            }
            Self::Softplus => (a.max(0.0) + (-a.abs()).exp().ln_1p(), sigmoid(a)),
        }
    }
}

fn sigmoid(a: f32) -> f32 {
    1.0 / (1.0 + (-a).exp())
}

/// The error function to about 1e-7, of itself where it is small: its series up to ½, beyond it the Chebyshev fit of Numerical Recipes
/// (Press et al. 1992, §6.2).
fn erf(x: f64) -> f64 {
    const FIT: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let (size, square) = (x.abs(), x * x);
    if size < 0.5 {
        // Σ (−1)ⁿ x²ⁿ⁺¹ / (n! (2n + 1)) · 2/√π, of which the ninth term is below 1e-10.
        let terms = [1.0, -1.0 / 3.0, 1.0 / 10.0, -1.0 / 42.0, 1.0 / 216.0, -1.0 / 1320.0, 1.0 / 9360.0, -1.0 / 75_600.0];
        return std::f64::consts::FRAC_2_SQRT_PI * x * terms.iter().rev().fold(0.0, |sum, t| sum * square + t);
    }
    let t = 1.0 / (1.0 + 0.5 * size);
    let rest = t * (-square + FIT.iter().rev().fold(0.0, |sum, c| sum * t + c)).exp();
    (1.0 - rest).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By Simpson's rule.
    fn integral(x: f64) -> f64 {
        let (steps, f) = (2000, |t: f64| (-t * t).exp());
        let h = x / f64::from(steps);
        let inner: f64 = (1..steps).map(|i| f(h * f64::from(i)) * if i % 2 == 0 { 2.0 } else { 4.0 }).sum();
        std::f64::consts::FRAC_2_SQRT_PI * h / 3.0 * (f(0.0) + inner + f(x))
    }

    #[test]
    fn erf_is_the_integral() {
        for x in [-4.0, -1.3, -0.5, -0.49, -1e-4, 0.0, 1e-6, 0.2, 0.4999, 0.5, 0.51, 1.0, 2.0, 3.5] {
            let (got, want) = (erf(x), integral(x));
            assert!((got - want).abs() <= 2e-7 * want.abs(), "erf({x}) = {got}, not {want}");
        }
    }

    #[test]
    fn slopes_are_those_of_the_function_and_nothing_overflows() {
        use AeActivation::{Erf, LeakyRelu, Linear, Relu, Sigmoid, Softplus, Tanh};
        for g in [Linear, Erf, Sigmoid, Tanh, Relu, LeakyRelu, Softplus] {
            for a in [-3.0f32, -0.7, -0.1, 0.2, 0.9, 2.5] {
                let step = 1e-2;
                let want = (g.both(a + step).0 - g.both(a - step).0) / (2.0 * step);
                assert!((g.both(a).1 - want).abs() < 2e-4, "{g:?} at {a}: {} {want}", g.both(a).1);
            }
            for a in [-200.0, 200.0] {
                assert!(g.both(a).0.is_finite() && g.both(a).1.is_finite(), "{g:?}");
            }
            let odd = [0.3, 1.0, 2.0].iter().all(|&a| (g.both(a).0 + g.both(-a).0).abs() < 1e-6);
            assert_eq!(odd, g.odd(), "{g:?}");
        }
    }
}
