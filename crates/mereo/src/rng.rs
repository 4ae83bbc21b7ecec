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

impl Rng {
    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
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
    fn choices_are_distinct_and_in_range() {
        let picked = rng(1, 2, 3).choose(1000, 100);
        assert_eq!(picked.len(), 100);
        assert!(picked.windows(2).all(|w| w[0] < w[1]) && picked[99] < 1000);
        assert_eq!(rng(1, 2, 3).choose(5, 9), vec![0, 1, 2, 3, 4]);
    }
}
