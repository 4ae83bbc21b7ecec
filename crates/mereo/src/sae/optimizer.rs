//! Steps: Adam (Kingma & Ba 2015), Signum (Bernstein et al. 2018), Muon (Jordan et al. 2024).

use super::{Sae, SaeOptimizer, SaeState};
use crate::linalg::{Into, mul_nn, mul_tn_wide};
use rayon::prelude::*;

/// The numbers of one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub optimizer: SaeOptimizer,
    pub lr: f32,
    betas: [f32; 2],
    /// lr over what the mean gradient lacks, and one over the root of what the squares lack.
    step: f32,
    root: f32,
    epsilon: f32,
    /// What is left of an average; 0 if there is none.
    ema: f32,
    /// What the gradient is multiplied by.
    pub clip: f32,
}

/// A parameter, or a part of it, with what its steps remember.
pub(super) struct Slices<'a> {
    pub value: &'a mut [f32],
    pub first: &'a mut [f32],
    pub second: &'a mut [f32],
    pub average: &'a mut [f32],
}

impl Slices<'_> {
    /// A part of it.
    #[inline(always)]
    pub fn part(&mut self, from: usize, to: usize) -> Slices<'_> {
        let cut = |s: &mut [f32]| if s.is_empty() { 0..0 } else { from..to };
        Slices {
            value: &mut self.value[from..to],
            first: {
                let r = cut(self.first);
                &mut self.first[r]
            },
            second: {
                let r = cut(self.second);
                &mut self.second[r]
            },
            average: {
                let r = cut(self.average);
                &mut self.average[r]
            },
        }
    }
}

impl Rate {
    pub fn new(how: &Sae, state: &SaeState) -> Self {
        let all = (state.rows.div_ceil(how.batch) as u64).saturating_mul(how.max_passes as u64);
        let lr = how.rate(state.n) * how.decay.pace(how.warmup, state.steps, all);
        let t = (state.steps + 1).min(i32::MAX as u64) as i32;
        Self {
            optimizer: how.optimizer,
            lr: lr as f32,
            betas: [how.beta1 as f32, how.beta2 as f32],
            step: (lr / (1.0 - how.beta1.powi(t))) as f32,
            root: (1.0 / (1.0 - how.beta2.powi(t)).sqrt()) as f32,
            epsilon: how.epsilon as f32,
            ema: how.ema as f32,
            clip: 1.0,
        }
    }

    /// One step along `g` (times [`Rate::clip`]), inlined. Muon only remembers here; see [`Rate::turn`].
    #[inline(always)]
    pub fn go(&self, p: &mut Slices, g: &[f32]) {
        let ([b1, b2], clip) = (self.betas, self.clip);
        match self.optimizer {
            SaeOptimizer::Adam => {
                for (((p, m), v), g) in p.value.iter_mut().zip(&mut *p.first).zip(&mut *p.second).zip(g) {
                    let g = g * clip;
                    *m = b1 * *m + (1.0 - b1) * g;
                    *v = b2 * *v + (1.0 - b2) * g * g;
                    *p -= self.step * *m / (v.sqrt() * self.root + self.epsilon);
                }
            }
            SaeOptimizer::Signum => {
                for ((p, m), g) in p.value.iter_mut().zip(&mut *p.first).zip(g) {
                    *m = b1 * *m + (1.0 - b1) * g * clip;
                    *p -= if *m == 0.0 { 0.0 } else { self.lr.copysign(*m) };
                }
            }
            SaeOptimizer::Muon => {
                for (m, g) in p.first.iter_mut().zip(g) {
                    *m = b1 * *m + g * clip;
                }
            }
        }
    }

    /// The average of what a parameter was, after a step.
    #[inline(always)]
    pub fn remember(&self, p: &mut Slices) {
        for (a, p) in p.average.iter_mut().zip(&*p.value) {
            *a += (1.0 - self.ema) * (p - *a);
        }
    }

    /// For biases, which are no matrices: Muon moves them as Signum would.
    #[inline(always)]
    pub fn go_vector(&self, p: &mut Slices, g: &[f32]) {
        if self.optimizer == SaeOptimizer::Muon {
            Self { optimizer: SaeOptimizer::Signum, ..*self }.go(p, g);
        } else {
            self.go(p, g);
        }
    }

    /// The step of Muon: along the nearest matrix (n×d) to its memory whose singular values are all about 1.
    pub fn turn(&self, value: &mut [f32], memory: &[f32], d: usize) {
        let n = value.len() / d;
        let along = orthogonal(memory, n, d);
        let by = self.lr * (n as f32 / d as f32).max(1.0).sqrt();
        value
            .par_chunks_mut(1 << 14)
            .zip(along.par_chunks(1 << 14))
            .for_each(|(p, o)| p.iter_mut().zip(o).for_each(|(p, o)| *p -= by * o));
    }
}

/// Five rounds of Newton and Schulz, with the coefficients of Muon, on a matrix (n×d).
fn orthogonal(m: &[f32], n: usize, d: usize) -> Vec<f32> {
    const PANEL: usize = 64;
    let length = m
        .par_chunks(1 << 14)
        .map(|m| m.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>())
        .collect::<Vec<_>>()
        .iter()
        .sum::<f64>()
        .sqrt();
    if length == 0.0 || !length.is_finite() {
        return vec![0.0; n * d];
    }
    let mut x: Vec<f32> = m.par_iter().map(|v| (f64::from(*v) / length) as f32).collect();
    for _ in 0..5 {
        // X ← a X + X (b G + c G²), G = XᵀX.
        let mut gram = vec![0f32; d * d];
        mul_tn_wide(&mut gram, &x, &x, (d, n, d), Into::Replace);
        let mut square = vec![0f32; d * d];
        square
            .par_chunks_mut(PANEL * d)
            .zip(gram.par_chunks(PANEL * d))
            .for_each(|(to, g)| mul_nn(to, g, &gram, (g.len() / d, d, d), Into::Replace));
        square.par_iter_mut().zip(&gram).for_each(|(s, g)| *s = -4.775 * g + 2.0315 * *s);
        (0..d).for_each(|i| square[i * d + i] += 3.4445);
        let mut next = vec![0f32; n * d];
        next.par_chunks_mut(PANEL * d)
            .zip(x.par_chunks(PANEL * d))
            .for_each(|(to, x)| mul_nn(to, x, &square, (x.len() / d, d, d), Into::Replace));
        x = next;
    }
    x
}
