//! Counter-based random numbers: `rng(seed, stream, row)` gives the same sequence whatever ran before it, so results do
//! not depend on block sizes, threads or workers.
//!
//! The generator is `SplitMix64` (Steele, Lea & Flood 2014) started at a hash of the three numbers.

/// A random sequence of its own for one (seed, stream, row).
pub fn rng(seed: u64, stream: u64, row: u64) -> Rng {
    let mut s = mix(seed ^ 0x6a09_e667_f3bc_c908);
    s = mix(s ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    s = mix(s ^ row.wrapping_mul(0xd1b5_4a32_d192_ed03));
    Rng(s)
}

/// A random sequence; see [`rng`].
#[derive(Debug, Clone)]
pub struct Rng(u64);

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What the state of a sequence grows by.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
/// Pairs of normals that are made side by side.
const LANES: usize = 128;

/// [`pairs`] with the vectors of this machine.
struct Pairs(u64);

impl pulp::WithSimd for Pairs {
    type Output = [f64; 2 * LANES];

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> Self::Output {
        simd.vectorize(
            #[inline(always)]
            || pairs(self.0),
        )
    }
}

/// Pairs of standard normals from the state before their bits: all first ones, then all second ones.
#[inline(always)]
fn pairs(state: u64) -> [f64; 2 * LANES] {
    // One loop for each step, all of them long enough for the widest vectors.
    let (mut a, mut b) = ([0u32; LANES], [0u32; LANES]);
    for (i, (a, b)) in a.iter_mut().zip(&mut b).enumerate() {
        let both = mix(state.wrapping_add(GAMMA.wrapping_mul(i as u64 + 1)));
        (*a, *b) = ((both >> 32) as u32, both as u32);
    }
    let mut radius = [0f32; LANES];
    for (r, a) in radius.iter_mut().zip(a) {
        // In (0, 1] by steps of 2⁻³⁰, so that there is a logarithm.
        *r = (-2.0 * ln(((a >> 2) + 1).cast_signed() as f32 / (1 << 30) as f32)).sqrt();
    }
    let (mut x, mut y) = ([0f32; LANES], [0f32; LANES]);
    for ((x, y), (b, r)) in x.iter_mut().zip(&mut y).zip(b.into_iter().zip(radius)) {
        // Within a quarter turn about its middle, and which of the four: by bits, so that nothing branches.
        let (sin, cos) = sin_cos(f32::from_bits(1f32.to_bits() | (b << 2) >> 9) - 1.5);
        let (swap, flip) = (0u32.wrapping_sub(b >> 31), b << 1 & 1 << 31);
        let (s, c) = (sin.to_bits(), cos.to_bits());
        *x = r * f32::from_bits(((c & !swap) | ((s ^ 1 << 31) & swap)) ^ flip);
        *y = r * f32::from_bits(((s & !swap) | (c & swap)) ^ flip);
    }
    let mut out = [0.0; 2 * LANES];
    let (first, second) = out.split_at_mut(LANES);
    first.iter_mut().zip(x).for_each(|(o, x)| *o = f64::from(x));
    second.iter_mut().zip(y).for_each(|(o, y)| *o = f64::from(y));
    out
}

/// The natural logarithm of a number in (0, 1], to f32: with x = 2ᵉ m and s = (m − 1) / (m + 1), e ln 2 + 2 artanh s.
#[inline(always)]
fn ln(x: f32) -> f32 {
    // Bits of √½, so that m lies in [√½, √2).
    const ROOT: u32 = 0x3f35_04f3;
    let bits = x.to_bits().wrapping_add(1f32.to_bits() - ROOT);
    let exponent = ((bits >> 23).cast_signed() - 127) as f32;
    let m = f32::from_bits((bits & ((1 << 23) - 1)) + ROOT);
    let s = (m - 1.0) / (m + 1.0);
    let t = s * s;
    let series = 1.0 + t * (1.0 / 3.0 + t * (1.0 / 5.0 + t * (1.0 / 7.0 + t * (1.0 / 9.0))));
    exponent * std::f32::consts::LN_2 + 2.0 * s * series
}

/// Sine and cosine of a quarter turn times `q` in [−½, ½], to f32, by Taylor's series about 0.
#[inline(always)]
fn sin_cos(q: f32) -> (f32, f32) {
    let x = q * std::f32::consts::FRAC_PI_2;
    let t = x * x;
    let sin = 1.0 + t * (-1.0 / 6.0 + t * (1.0 / 120.0 + t * (-1.0 / 5040.0 + t * (1.0 / 362_880.0))));
    let cos = 1.0 + t * (-0.5 + t * (1.0 / 24.0 + t * (-1.0 / 720.0 + t * (1.0 / 40_320.0 - t * (1.0 / 3_628_800.0)))));
    (x * sin, cos)
}

impl Rng {
    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }
    /// Uniform in [0, 1), 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
    /// Uniform in 0..n without bias worth a name (multiply-shift on 64 bits); 0 for n = 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }
    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let u = 1.0 - self.uniform();
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
    /// Fills a slice with standard normals of f32 precision (up to 6.4 in size), by Box and Muller with series for the logarithm and the cosine that
    /// the compiler can lay out over vectors: many times quicker than [`Rng::normal`] where hundreds are wanted. Another sequence than its, the same on every machine.
    pub fn normals(&mut self, out: &mut [f64]) {
        for part in out.chunks_mut(2 * LANES) {
            let both = pulp::Arch::new().dispatch(Pairs(self.0));
            part.copy_from_slice(&both[..part.len()]);
            self.0 = self.0.wrapping_add(GAMMA.wrapping_mul(LANES as u64));
        }
    }
    /// `m` different numbers below `n`, ascending (all of them if m ≥ n). Floyd's algorithm.
    pub fn choose(&mut self, n: usize, m: usize) -> Vec<usize> {
        if m >= n {
            return (0..n).collect();
        }
        let mut picked = std::collections::BTreeSet::new();
        for j in n - m..n {
            let t = self.below(j + 1);
            if !picked.insert(t) {
                picked.insert(j);
            }
        }
        picked.into_iter().collect()
    }
    /// Puts the items into a random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_independence() {
        let n = 200_000;
        let (mut mean, mut square, mut uniform) = (0.0, 0.0, 0.0);
        for row in 0..n {
            let mut r = rng(7, 1, row);
            let z = r.normal();
            mean += z;
            square += z * z;
            uniform += r.uniform();
        }
        let n = n as f64;
        assert!((mean / n).abs() < 0.01, "mean {}", mean / n);
        assert!((square / n - 1.0).abs() < 0.02, "variance {}", square / n);
        assert!((uniform / n - 0.5).abs() < 0.005);
        assert_ne!(rng(7, 1, 0).bits(), rng(7, 0, 1).bits());
        assert_ne!(rng(7, 1, 0).bits(), rng(8, 1, 0).bits());
    }

    #[test]
    fn the_series_of_many_normals_are_those_of_the_functions() {
        for i in 0..10_000 {
            let u = (i as f32 + 0.5) / 10_000.0;
            for x in [u, u * 1e-5, (1.0 + u) / (1 << 30) as f32, 1.0] {
                assert!((ln(x) - x.ln()).abs() <= 2e-7 * (1.0 + x.ln().abs()), "ln {x}: {} and {}", ln(x), x.ln());
            }
            let (sin, cos) = sin_cos(u - 0.5);
            let (s, c) = ((u - 0.5) * std::f32::consts::FRAC_PI_2).sin_cos();
            assert!((sin - s).abs() < 2e-7 && (cos - c).abs() < 2e-7, "{u}");
        }
    }

    #[test]
    fn many_normals_are_normal_and_independent() {
        let n = 1_000_001;
        let mut z = vec![0.0; n];
        rng(3, 1, 4).normals(&mut z);
        let mean = |f: &dyn Fn(usize) -> f64| (0..n - 300).map(f).sum::<f64>() / (n - 300) as f64;
        // Four standard errors of each.
        for (power, is, error) in [(1, 0.0, 1.0), (2, 1.0, 2f64.sqrt()), (3, 0.0, 15f64.sqrt()), (4, 3.0, 96f64.sqrt())] {
            let found = mean(&|i| z[i].powi(power));
            assert!((found - is).abs() < 4.0 * error / 1e3, "moment {power}: {found}");
        }
        for lag in [1, 2, LANES, 2 * LANES] {
            assert!(mean(&|i| z[i] * z[i + lag]).abs() < 4e-3, "lag {lag}");
            assert!((mean(&|i| z[i].powi(2) * z[i + lag].powi(2)) - 1.0).abs() < 12e-3, "squares at lag {lag}");
        }
        let beyond = |at: f64| z.iter().filter(|v| v.abs() > at).count() as f64 / n as f64;
        assert!(
            (beyond(1.0) - 0.317_311).abs() < 2e-3 && (beyond(3.0) - 0.002_700).abs() < 2e-4,
            "{} {}",
            beyond(1.0),
            beyond(3.0)
        );
        let mut some = vec![0.0; 7];
        rng(3, 1, 4).normals(&mut some);
        assert_eq!(some, z[..7], "the first ones do not depend on how many follow");
    }

    #[test]
    fn choices_are_distinct_and_in_range() {
        let picked = rng(1, 2, 3).choose(1000, 100);
        assert_eq!(picked.len(), 100);
        assert!(picked.windows(2).all(|w| w[0] < w[1]) && picked[99] < 1000);
        assert_eq!(rng(1, 2, 3).choose(5, 9), vec![0, 1, 2, 3, 4]);
    }
}
