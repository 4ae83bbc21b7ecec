//! exp and erf of many numbers at once: plain loops without branches, which the compiler turns into vectors inside a `pulp` dispatch.

use pulp::Arch;

/// Lower than this, exp is nothing beside the 1 of a softmax.
const LOWEST: f32 = -87.0;

/// exp(x) for x ≤ 0, to 2e-7 of its size (Cephes' polynomial after taking out the power of two).
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding and taking off 1.5·2²³ rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let x = x.max(LOWEST);
    let whole = x * std::f32::consts::LOG2_E + ROUND - ROUND;
    // ln 2 in two parts, the first with few enough digits that its product is exact.
    let x = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let p = ((((1.987_569_1e-4 * x + 1.398_199_9e-3) * x + 8.333_452e-3) * x + 4.166_579_6e-2) * x + 0.166_666_65) * x + 0.5;
    let p = p * x * x + x + 1.0;
    p * f32::from_bits(((whole as i32 + 127) as u32) << 23)
}

/// erf(x) to 5e-7, as a ratio of polynomials on [-4, 4], outside of which it is ±1 in f32.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let p = -2.726_142_4e-10 * s + 2.770_681_4e-8;
    let p = ((p * s - 2.101_024e-6) * s - 5.692_506_4e-5) * s - 7.349_906_4e-4;
    let p = (p * s - 2.954_6e-3) * s - 1.609_603_3e-2;
    let q = ((-1.456_607_2e-5 * s - 2.133_740_5e-4) * s - 1.682_827_e-3) * s - 7.373_329_3e-3;
    let q = q * s - 1.426_473_9e-2;
    x * p / q
}

/// x ← x·Φ(x), with Φ the normal distribution function (Hendrycks & Gimpel 2016, not its approximation by tanh).
pub fn gelu(x: &mut [f32]) {
    Arch::new().dispatch(|| x.iter_mut().for_each(|x| *x *= 0.5 + 0.5 * erf(*x * std::f32::consts::FRAC_1_SQRT_2)));
}

/// Each row of n numbers ← exp(scale·x), over their sum.
pub fn softmax(x: &mut [f32], n: usize, scale: f32) {
    Arch::new().dispatch(|| {
        for row in x.chunks_exact_mut(n.max(1)) {
            let top = largest(row);
            row.iter_mut().for_each(|x| *x = exp((*x - top) * scale));
            let over = (1.0 / sum(row, |x| x)) as f32;
            row.iter_mut().for_each(|x| *x *= over);
        }
    });
}

/// Each row ← (row − mean)/√(variance + eps)·weight + bias, with sums in f64.
pub fn layer_norm(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f64) {
    let d = weight.len();
    Arch::new().dispatch(|| {
        for row in x.chunks_exact_mut(d.max(1)) {
            let mean = sum(row, |x| x) / d as f64;
            let variance = sum(row, |x| (x - mean) * (x - mean)) / d as f64;
            let (mean, over) = (mean as f32, (1.0 / (variance + eps).sqrt()) as f32);
            for ((x, w), b) in row.iter_mut().zip(weight).zip(bias) {
                *x = (*x - mean) * over * w + b;
            }
        }
    });
}

/// x ← x + y.
pub fn add(x: &mut [f32], y: &[f32]) {
    Arch::new().dispatch(|| x.iter_mut().zip(y).for_each(|(x, y)| *x += y));
}

/// Each row ← row + bias.
pub fn add_bias(x: &mut [f32], bias: &[f32]) {
    Arch::new()
        .dispatch(|| x.chunks_exact_mut(bias.len().max(1)).for_each(|x| x.iter_mut().zip(bias).for_each(|(x, b)| *x += b)));
}

/// Sixteen partial sums, since each must wait for its last addition.
#[inline(always)]
fn sum(x: &[f32], of: impl Fn(f64) -> f64) -> f64 {
    let (whole, rest) = x.as_chunks::<16>();
    let mut sums = [0f64; 16];
    for x in whole {
        sums.iter_mut().zip(x).for_each(|(s, x)| *s += of(f64::from(*x)));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|x| of(f64::from(*x))).sum::<f64>()
}

#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    let (whole, rest) = x.as_chunks::<16>();
    let mut top = [f32::NEG_INFINITY; 16];
    for x in whole {
        top.iter_mut().zip(x).for_each(|(t, x)| *t = if *x > *t { *x } else { *t });
    }
    top.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_erf_agree_with_those_of_f64() {
        for i in 0..=80_000 {
            let x = i as f32 * -1e-3;
            let want = f64::from(x).exp();
            assert!((f64::from(exp(x)) / want - 1.0).abs() < 2e-7, "exp({x})");
            for x in [x / 10.0, x / -10.0] {
                let want = libm::erf(f64::from(x));
                assert!((f64::from(erf(x)) - want).abs() < 5e-7, "erf({x}): {} {want}", erf(x));
            }
        }
        assert!(exp(f32::NEG_INFINITY) < 2e-38 && exp(0.0) == 1.0);
    }

    #[test]
    fn softmax_of_logarithms_is_their_shares() {
        let mut x: Vec<f32> = (1..=20).map(|i| (i as f32).ln() / 0.5).collect();
        softmax(&mut x, 20, 0.5);
        for (i, x) in (1..=20).zip(&x) {
            assert!((x - i as f32 / 210.0).abs() < 1e-7, "{x}");
        }
    }

    #[test]
    fn layer_norm_leaves_mean_and_spread_of_its_own() {
        let mut x = vec![3.0, 5.0];
        layer_norm(&mut x, &[2.0, 2.0], &[10.0, 0.0], 0.0);
        assert_eq!(x, [8.0, 2.0]);
    }
}
