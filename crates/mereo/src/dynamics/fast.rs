//! Plain descent of untied weights in two passes over them instead of seven: what `Net` does, the same to rounding.
//!
//! A step needs λ before it can move anything. The pass that moves encoders by one sample also takes their products with the next one; the pass that moves
//! decoders forms the residual, number by number, and its products with what the decoders were. Weights of all units lie beside each other in runs of
//! [`RUN`], so both passes read one stream. For K = 2 and D = 500 a step is 11 vector loads and stores for every run, a third of those of the plain one.

use super::Dynamics;
use pulp::{Simd, WithSimd};

/// Numbers of a unit that lie together.
pub(super) const RUN: usize = 8;
/// Units up to which this is done.
pub(super) const UNITS: usize = 4;

/// Encoders and decoders, run by run: for each run of [`RUN`] dimensions those of unit 1, of unit 2, ….
#[derive(Clone)]
pub(super) struct Fast {
    k: usize,
    d: usize,
    w: Vec<f64>,
    v: Vec<f64>,
}

impl Fast {
    /// From weights (K × D).
    pub fn new(w: &[f64], v: &[f64], k: usize, d: usize) -> Self {
        let laid = |from: &[f64]| {
            let mut to = vec![0.0; k * d.next_multiple_of(RUN)];
            for a in 0..k {
                for i in 0..d {
                    to[(i / RUN * k + a) * RUN + i % RUN] = from[a * d + i];
                }
            }
            to
        };
        Self { k, d, w: laid(w), v: laid(v) }
    }

    /// Writes the weights (K × D).
    pub fn store(&self, w: &mut [f64], v: &mut [f64]) {
        for (to, from) in [(w, &self.w), (v, &self.v)] {
            for a in 0..self.k {
                for i in 0..self.d {
                    to[a * self.d + i] = from[(i / RUN * self.k + a) * RUN + i % RUN];
                }
            }
        }
    }

    /// Learns from samples (· × `wide`, zeros beyond D), with biases where there are some; false once nothing is finite any more.
    pub fn steps(&mut self, how: &Dynamics, x: &[f64], wide: usize, b: &mut [f64]) -> bool {
        match self.k {
            1 => pulp::Arch::new().dispatch(Steps::<1> { fast: self, how, x, wide, b }),
            2 => pulp::Arch::new().dispatch(Steps::<2> { fast: self, how, x, wide, b }),
            3 => pulp::Arch::new().dispatch(Steps::<3> { fast: self, how, x, wide, b }),
            _ => pulp::Arch::new().dispatch(Steps::<4> { fast: self, how, x, wide, b }),
        }
    }
}

struct Steps<'a, const K: usize> {
    fast: &'a mut Fast,
    how: &'a Dynamics,
    x: &'a [f64],
    wide: usize,
    b: &'a mut [f64],
}

impl<const K: usize> WithSimd for Steps<'_, K> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        simd.vectorize(
            #[inline(always)]
            || self.run::<S>(simd),
        )
    }
}

impl<const K: usize> Steps<'_, K> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> bool {
        let Self { fast, how, x, wide, b } = self;
        let (size, eta) = (fast.d as f64, how.eta);
        let root = size.sqrt();
        let mut rows = x.chunks_exact(wide);
        let Some(mut x) = rows.next() else { return true };
        let mut lambda = move_and_look::<S, K>(simd, &mut fast.w, [0.0; K], x, x);
        loop {
            let g: [(f64, f64); K] = std::array::from_fn(|k| how.activation.of((lambda[k] + b[k]) / root));
            let back = decode::<S, K>(simd, &mut fast.v, g.map(|g| g.0), eta / size, x);
            let back: [f64; K] = std::array::from_fn(|k| back[k] / size * g[k].1);
            if how.bias {
                b.iter_mut().zip(back).for_each(|(b, back)| *b += eta / root * back);
            }
            // After the last sample there is no next one: its own products are taken, and not used.
            let next = rows.next();
            lambda = move_and_look::<S, K>(simd, &mut fast.w, back.map(|back| eta / size / root * back), x, next.unwrap_or(x));
            match next {
                Some(next) => x = next,
                None => return lambda.iter().chain(&back).all(|l| l.is_finite()),
            }
        }
    }
}

/// wᵏ += aᵏ x, and then wᵏ·y.
#[inline(always)]
fn move_and_look<S: Simd, const K: usize>(simd: S, w: &mut [f64], a: [f64; K], x: &[f64], y: &[f64]) -> [f64; K] {
    let (x, y, w) = (S::as_simd_f64s(x).0, S::as_simd_f64s(y).0, S::as_mut_simd_f64s(w).0);
    // Vectors of a run.
    let n = RUN / S::F64_LANES;
    let a = a.map(|a| simd.splat_f64s(a));
    let mut sums = [[simd.splat_f64s(0.0); RUN]; K];
    for ((w, x), y) in w.chunks_exact_mut(K * n).zip(x.chunks_exact(n)).zip(y.chunks_exact(n)) {
        for k in 0..K {
            for i in 0..n {
                let moved = simd.mul_add_f64s(a[k], x[i], w[k * n + i]);
                w[k * n + i] = moved;
                sums[k][i] = simd.mul_add_f64s(moved, y[i], sums[k][i]);
            }
        }
    }
    sums.map(|s| s[..n].iter().map(|s| simd.reduce_sum_f64s(*s)).sum())
}

/// With r = x − Σ gᵏ vᵏ: vᵏ·r as vᵏ was, and vᵏ += a gᵏ r.
#[inline(always)]
fn decode<S: Simd, const K: usize>(simd: S, v: &mut [f64], g: [f64; K], a: f64, x: &[f64]) -> [f64; K] {
    let (x, v) = (S::as_simd_f64s(x).0, S::as_mut_simd_f64s(v).0);
    let n = RUN / S::F64_LANES;
    let by = g.map(|g| simd.splat_f64s(a * g));
    let less = g.map(|g| simd.splat_f64s(-g));
    let mut sums = [[simd.splat_f64s(0.0); RUN]; K];
    for (v, x) in v.chunks_exact_mut(K * n).zip(x.chunks_exact(n)) {
        for i in 0..n {
            let mut r = x[i];
            for k in 0..K {
                r = simd.mul_add_f64s(less[k], v[k * n + i], r);
            }
            for k in 0..K {
                let was = v[k * n + i];
                sums[k][i] = simd.mul_add_f64s(was, r, sums[k][i]);
                v[k * n + i] = simd.mul_add_f64s(by[k], r, was);
            }
        }
    }
    sums.map(|s| s[..n].iter().map(|s| simd.reduce_sum_f64s(*s)).sum())
}
