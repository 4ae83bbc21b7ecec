//! Coordinate descent on non-negative least squares, many rows at a time.
//!
//! Both halves of HALS, and encoding, are the same problem: for every row, min over w ≥ 0 of ½·wGwᵀ − b·w, with one
//! Gram matrix G (k×k) for all rows. A sweep visits the coordinates in order and sets each to its best value given the
//! others: `w_a ← max(floor, w_a + (b_a − G_a·w) / G_aa)` (Cichocki & Phan 2009). Several sweeps for one pair of products is
//! the accelerated HALS of Gillis & Glineur 2012.
//!
//! Tiles of [`LANES`] rows are turned so that a vector register holds one coordinate of many rows; nothing is summed
//! across lanes, so what a row becomes depends on that row alone. A sweep costs 2k² flops a row.

use pulp::{Arch, Simd, WithSimd};

/// Rows of a tile: four registers of AVX-512.
pub(super) const LANES: usize = 64;
/// Registers that are worked on together: enough to hide the latency of a multiply-add, few enough to stay in registers.
const GROUP: usize = 4;

/// The problem that all rows share.
pub(super) struct Quadratic<'a> {
    k: usize,
    /// G (k×k), symmetric.
    gram: &'a [f32],
    /// 1 / `G_aa`, or 0 for a dead coordinate.
    inverse: Vec<f32>,
    /// The least value of a coordinate: 0, or a little more so that nothing dies by rounding.
    floor: f32,
}

/// How long to sweep.
#[derive(Clone, Copy)]
pub(super) struct Effort {
    /// Sweeps at most.
    pub sweeps: usize,
    /// A row rests once a sweep moves none of its coordinates by more than this share of its largest `|b_a| / √G_aa` (moves
    /// measured as `|Δw_a|·√G_aa`, so that the scale of an atom does not matter); 0 never rests.
    pub tol: f32,
}

impl<'a> Quadratic<'a> {
    /// A problem with k coordinates and Gram matrix `gram` (k×k).
    pub fn new(k: usize, gram: &'a [f32], floor: f32) -> Self {
        let largest = (0..k).fold(0f32, |m, a| m.max(gram[a * k + a]));
        let inverse = (0..k)
            .map(|a| gram[a * k + a])
            // An atom 10¹⁵ times smaller than the largest is dead: its quotient would be noise.
            .map(|g| if g > largest * 1e-30 && g >= f32::MIN_POSITIVE { 1.0 / g } else { 0.0 })
            .collect();
        Self { k, gram, inverse, floor }
    }

    /// The first `fixed` coordinates keep their values.
    pub fn hold(mut self, fixed: usize) -> Self {
        self.inverse[..fixed].fill(0.0);
        self
    }

    /// Improves all rows of `w` (n×k) for their `b` (n×k), from where they stand, on this thread. A coordinate whose
    /// `G_aa` is 0 keeps its value. `visited` (n) receives every row's Σ|projected gradient|, each coordinate's as the first sweep
    /// finds it.
    pub fn refine(&self, w: &mut [f32], b: &[f32], effort: Effort, visited: &mut [f32]) {
        let k = self.k;
        if k == 0 {
            return;
        }
        let shared = Shared { k, gram: self.gram, inverse: &self.inverse, floor: self.floor };
        let mut tile = Tile { w: vec![0.0; k * LANES], b: vec![0.0; k * LANES], visited: vec![0.0; LANES] };
        for ((w, b), visited) in w.chunks_mut(LANES * k).zip(b.chunks(LANES * k)).zip(visited.chunks_mut(LANES)) {
            tile.load(w, b, k);
            Arch::new().dispatch(Sweep { shared, effort, w: &mut tile.w, b: &tile.b, visited: &mut tile.visited });
            tile.store(w, k);
            visited.copy_from_slice(&tile.visited[..visited.len()]);
        }
    }
}

/// Up to [`LANES`] rows, turned: coordinate a of row i at `a * LANES + i`.
struct Tile {
    w: Vec<f32>,
    b: Vec<f32>,
    /// Of each row.
    visited: Vec<f32>,
}

impl Tile {
    fn load(&mut self, w: &[f32], b: &[f32], k: usize) {
        let rows = w.len() / k;
        if rows < LANES {
            self.w.fill(0.0);
            self.b.fill(0.0);
        }
        for (i, (w, b)) in w.chunks_exact(k).zip(b.chunks_exact(k)).enumerate() {
            for a in 0..k {
                self.w[a * LANES + i] = w[a];
                self.b[a * LANES + i] = b[a];
            }
        }
    }
    fn store(&self, w: &mut [f32], k: usize) {
        for (i, w) in w.chunks_exact_mut(k).enumerate() {
            for (a, w) in w.iter_mut().enumerate() {
                *w = self.w[a * LANES + i];
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Shared<'a> {
    k: usize,
    gram: &'a [f32],
    inverse: &'a [f32],
    floor: f32,
}

/// Sweeps over one tile.
struct Sweep<'a> {
    shared: Shared<'a>,
    effort: Effort,
    w: &'a mut [f32],
    b: &'a [f32],
    visited: &'a mut [f32],
}

impl WithSimd for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { shared, effort, w, b, visited } = self;
        let (w, _) = S::as_mut_simd_f32s(w);
        let (visited, _) = S::as_mut_simd_f32s(visited);
        let (b, _) = S::as_simd_f32s(b);
        let stride = LANES / S::F32_LANES;
        let roots: Vec<f32> = shared.inverse.iter().map(|i| if *i > 0.0 { 1.0 / i.sqrt() } else { 0.0 }).collect();
        let scale: Vec<f32> = shared.inverse.iter().map(|i| i.sqrt()).collect();
        for at in (0..stride).step_by(GROUP) {
            let mut rest = [simd.splat_f32s(0.0); GROUP];
            let mut step = [simd.splat_f32s(1.0); GROUP];
            if effort.tol > 0.0 {
                for (b, &scale) in b.chunks_exact(stride).zip(&scale) {
                    for v in 0..GROUP {
                        let size = simd.mul_f32s(simd.abs_f32s(b[at + v]), simd.splat_f32s(scale * effort.tol));
                        rest[v] = simd.max_f32s(rest[v], size);
                    }
                }
            }
            let mut slopes = [simd.splat_f32s(0.0); GROUP];
            for sweep in 0..effort.sweeps {
                let first = sweep == 0;
                let mut moved = [simd.splat_f32s(0.0); GROUP];
                let mut a = 0;
                while a < shared.k {
                    // Two coordinates share every load of w; the second then hears of the first one's move.
                    let pair = a + 1 < shared.k;
                    let (g0, g1) = (shared.row(a), shared.row(if pair { a + 1 } else { a }));
                    let mut r0 = load(b, a * stride + at);
                    let mut r1 = load(b, (a + usize::from(pair)) * stride + at);
                    for ((w, &g0), &g1) in w.chunks_exact(stride).zip(g0).zip(g1) {
                        let (g0, g1) = (simd.splat_f32s(-g0), simd.splat_f32s(-g1));
                        for v in 0..GROUP {
                            r0[v] = simd.mul_add_e_f32s(g0, w[at + v], r0[v]);
                            r1[v] = simd.mul_add_e_f32s(g1, w[at + v], r1[v]);
                        }
                    }
                    if first {
                        shared.slope(simd, &mut slopes, &w[a * stride + at..][..GROUP], &r0);
                    }
                    let delta = shared.advance(simd, &mut w[a * stride + at..][..GROUP], &r0, &step, a);
                    note(simd, &mut moved, &delta, roots[a]);
                    if pair {
                        let g = simd.splat_f32s(-g1[a]);
                        for v in 0..GROUP {
                            r1[v] = simd.mul_add_e_f32s(g, delta[v], r1[v]);
                        }
                        if first {
                            shared.slope(simd, &mut slopes, &w[(a + 1) * stride + at..][..GROUP], &r1);
                        }
                        let delta = shared.advance(simd, &mut w[(a + 1) * stride + at..][..GROUP], &r1, &step, a + 1);
                        note(simd, &mut moved, &delta, roots[a + 1]);
                    }
                    a += 2;
                }
                if effort.tol > 0.0 {
                    let mut busy = 0.0f32;
                    for v in 0..GROUP {
                        let going = simd.less_than_f32s(rest[v], moved[v]);
                        step[v] = simd.select_f32s(going, step[v], simd.splat_f32s(0.0));
                        busy = busy.max(simd.reduce_max_f32s(step[v]));
                    }
                    if busy == 0.0 {
                        break;
                    }
                }
            }
            visited[at..at + GROUP].copy_from_slice(&slopes);
        }
    }
}

impl Shared<'_> {
    #[inline(always)]
    fn row(&self, a: usize) -> &[f32] {
        &self.gram[a * self.k..(a + 1) * self.k]
    }

    /// Adds |projected gradient|: of a coordinate at its floor only a slope that lets it rise counts.
    #[inline(always)]
    fn slope<S: Simd>(&self, simd: S, slopes: &mut [S::f32s; GROUP], w: &[S::f32s], r: &[S::f32s; GROUP]) {
        let floor = simd.splat_f32s(self.floor);
        let zero = simd.splat_f32s(0.0);
        for v in 0..GROUP {
            let free = simd.less_than_f32s(floor, w[v]);
            let size = simd.select_f32s(free, simd.abs_f32s(r[v]), simd.max_f32s(r[v], zero));
            slopes[v] = simd.add_f32s(slopes[v], size);
        }
    }

    /// One coordinate of a group of rows moves along its residual `r`; returns by how much.
    #[inline(always)]
    fn advance<S: Simd>(
        &self,
        simd: S,
        w: &mut [S::f32s],
        r: &[S::f32s; GROUP],
        step: &[S::f32s; GROUP],
        a: usize,
    ) -> [S::f32s; GROUP] {
        let inverse = simd.splat_f32s(self.inverse[a]);
        // Without a step at all the value must stay, even one below the floor.
        let floor = simd.splat_f32s(if self.inverse[a] > 0.0 { self.floor } else { 0.0 });
        let mut delta = *r;
        for v in 0..GROUP {
            let old = w[v];
            let new = simd.mul_add_e_f32s(simd.mul_f32s(r[v], step[v]), inverse, old);
            let new = simd.max_f32s(new, floor);
            delta[v] = simd.sub_f32s(new, old);
            w[v] = new;
        }
        delta
    }
}

#[inline(always)]
fn load<V: Copy>(from: &[V], at: usize) -> [V; GROUP] {
    let v = &from[at..at + GROUP];
    [v[0], v[1], v[2], v[3]]
}

#[inline(always)]
fn note<S: Simd>(simd: S, moved: &mut [S::f32s; GROUP], delta: &[S::f32s; GROUP], root: f32) {
    let root = simd.splat_f32s(root);
    for v in 0..GROUP {
        moved[v] = simd.max_f32s(moved[v], simd.mul_f32s(simd.abs_f32s(delta[v]), root));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::rng;

    fn problem(n: usize, k: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
        let mut r = rng(seed, 0, 0);
        let d = k + 7;
        let h: Vec<f32> = (0..k * d).map(|_| r.uniform() as f32).collect();
        let gram = (0..k * k).map(|i| (0..d).map(|j| h[i / k * d + j] * h[i % k * d + j]).sum()).collect();
        (gram, (0..n * k).map(|_| (r.normal() * 3.0 + 2.0) as f32).collect())
    }

    #[test]
    fn a_sweep_is_plain_coordinate_descent() {
        for (n, k) in [(1, 1), (5, 2), (64, 3), (130, 7), (321, 10)] {
            let (gram, b) = problem(n, k, 1);
            let mut w = vec![0.5f32; n * k];
            let mut plain: Vec<f64> = vec![0.5; n * k];
            Quadratic::new(k, &gram, 1e-3).refine(&mut w, &b, Effort { sweeps: 3, tol: 0.0 }, &mut vec![0.0; n]);
            for _ in 0..3 {
                for i in 0..n {
                    for a in 0..k {
                        let gw: f64 = (0..k).map(|c| f64::from(gram[a * k + c]) * plain[i * k + c]).sum();
                        let to = plain[i * k + a] + (f64::from(b[i * k + a]) - gw) / f64::from(gram[a * k + a]);
                        plain[i * k + a] = to.max(1e-3);
                    }
                }
            }
            for (i, (w, p)) in w.iter().zip(&plain).enumerate() {
                assert!((f64::from(*w) - p).abs() < 1e-4 * (1.0 + p.abs()), "{n}×{k} at {i}: {w} {p}");
            }
        }
    }

    #[test]
    fn rows_end_at_the_optimum_whatever_their_neighbours() {
        let (n, k) = (150, 9);
        let (gram, b) = problem(n, k, 2);
        let effort = Effort { sweeps: 5000, tol: 1e-6 };
        let q = Quadratic::new(k, &gram, 0.0);
        let mut w = vec![0.0; n * k];
        q.refine(&mut w, &b, effort, &mut vec![0.0; n]);
        for i in 0..n {
            let mut alone = vec![0.0; k];
            q.refine(&mut alone, &b[i * k..(i + 1) * k], effort, &mut [0.0]);
            assert_eq!(alone, &w[i * k..(i + 1) * k], "row {i}");
            for a in 0..k {
                let slope: f32 = (0..k).map(|c| gram[a * k + c] * alone[c]).sum::<f32>() - b[i * k + a];
                let right = if alone[a] > 0.0 { slope.abs() } else { -slope };
                assert!(right < 1e-4, "row {i} coordinate {a}: {right}");
            }
        }
    }
}
