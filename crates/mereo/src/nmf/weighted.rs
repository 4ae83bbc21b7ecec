//! Squared error of entries that count more or less than each other, Σ v·(x − wh)²: 0 for those that are unknown, which then have no
//! influence at all.
//!
//! With weights every row has a Hessian of its own, H·diag(v)·Hᵀ, and every column one, Wᵀ·diag(v)·W. Forming them costs k/4 times what
//! everything else does, so a pass takes exact slopes and a curvature that is near.
//!
//! Dense rows share the shape of HHᵀ, each as large as its weights make the trace of its own, by the sweeps of coordinate descent that the
//! unweighted error takes. The row then goes along that step to where the error is least, which is known in closed form: a row's error never rises. Sparse
//! rows have few entries; they are gathered, and coordinates descend one by one on the row's own Hessian.
//!
//! Atoms share the correlations of WᵀW, with the diagonal that each column has of its own, Σ v·w². They can't look ahead: a pass that has
//! made the error larger is undone and their next steps are shorter.
//!
//! [`NmfSolver::Accelerated`](super::NmfSolver::Accelerated) extrapolates both from pass to pass, as without weights. The loss is that of the
//! weights of a pass and of the atoms that they were found for, which are those that the model has.
//!
//! Cost of a pass: 10ndk flops dense; sparse 4k for each sweep and stored entry, 6k besides.

use super::exact::Exact;
use super::hals::{Effort, Quadratic};
use super::product::{self, Packed};
use super::squared::{self, FLOOR};
use super::{Nmf, NmfSolver, NmfState, NmfStats, as_f32, gram, take};
use crate::error::{Error, Result};
use crate::fold::Progress;
use crate::mat::{Mat, Rows};
use crate::missing::{Missing, Weighed};
use pulp::Arch;
use rayon::prelude::*;

/// Rows whose weights and residuals are held at once: a whole number of runs of the sums over rows.
const PIECE: usize = product::DEPTH;
/// How much steeper the shared curvature is taken to be after a pass too far, and after a good one.
const MORE: f64 = 2.0;
const LESS: f64 = 0.95;
/// What the sums can tell of the error, as a share of Σv·x², and below what it is nothing.
const NOISE: f64 = 1e-9;
const NOTHING: f64 = 1e-12;
const LANES: usize = 16;

/// Sums of a pass besides slopes: Σwᵀw (k×k), Σ v·w² (d×k), and what an entry counts that is not stored, times the rows.
pub(super) fn sums(k: usize, d: usize) -> usize {
    k * k + d * k + 1
}

/// Numbers kept for each row: the weights of the last pass, of the one before, and of the best pair.
pub(super) fn memo(k: usize) -> usize {
    3 * k
}

/// What all rows of a pass share.
struct Shared<'a> {
    how: &'a Nmf,
    /// Hᵀ (d×k).
    h: &'a Mat,
    scale: f32,
    l1: f32,
    l2: f32,
    /// G with L2 on its diagonal (k×k).
    gram: &'a [f32],
    effort: Effort,
}

/// What a row leaves behind besides its weights.
#[derive(Clone, Copy, Default)]
struct Left {
    cost: f64,
    gradient: f64,
}

/// Improves the weights of rows `first..` and adds what they leave behind.
pub(super) fn observe(how: &Nmf, state: &NmfState, x: &Rows, first: u64, kept: &mut [f32], into: &mut NmfStats) {
    let (k, remembered) = (how.k, !kept.is_empty());
    let width = if remembered { memo(k) } else { k };
    let mut own = if remembered { Vec::new() } else { vec![0f32; x.rows() * k] };
    let kept = if remembered { kept } else { &mut own };
    if remembered && state.pass == 0 {
        let clean = how.missing.weigh(x);
        squared::start(how, state, &clean.x, first, kept, width);
    }
    let (l1, l2) = state.penalty_of_weights(how, x.cols());
    let mut gram = state.gram.clone();
    (0..k).for_each(|a| gram[a * k + a] += l2);
    let effort = Effort { sweeps: how.sweeps, tol: 0.0 };
    let shared = Shared { how, h: state.at(), scale: state.scale, l1, l2, gram: &gram, effort };
    let momentum = Momentum { beta: state.pace.beta as f32, back: state.pace.rejected };
    let dense = matches!(x, Rows::Dense(_)).then(|| Dense::new(&shared));
    let mut w = vec![0f32; PIECE.min(x.rows()) * k];
    let mut residual = Vec::new();
    for (i, kept) in kept.chunks_mut(PIECE * width).enumerate() {
        let n = kept.len() / width;
        let w = &mut w[..n * k];
        let piece = x.slice(i * PIECE, i * PIECE + n);
        let known = how.missing.weigh(&piece);
        kept.par_chunks_mut(width).zip(w.par_chunks_mut(k)).for_each(|(kept, w)| momentum.begin(kept, w));
        if !remembered {
            alone(&shared, &known, w);
        }
        let left = match &dense {
            Some(dense) => dense.rows(&shared, &known, remembered, w, &mut residual, into),
            None => sparse(&shared, &known, remembered, w, into),
        };
        kept.par_chunks_mut(width).zip(w.par_chunks(k)).for_each(|(kept, w)| end(kept, w));
        product::add_gram(&mut into.ww[..k * k], w, k);
        if let Some(rest) = into.ww.last_mut() {
            *rest += f64::from(known.rest) * n as f64;
        }
        into.sums[3] += left.iter().map(|l| l.cost).sum::<f64>();
        into.sums[5] += left.iter().map(|l| l.gradient).sum::<f64>();
        into.sums[6] += super::divergence::penalty(w, (l1, l2));
    }
}

/// How weights are taken out of the memo.
#[derive(Clone, Copy)]
struct Momentum {
    beta: f32,
    /// The last pass was a step too far: start from the weights of the best pair.
    back: bool,
}

impl Momentum {
    /// The weights that a row begins a pass with; without a memo they are solved for.
    fn begin(self, memo: &mut [f32], w: &mut [f32]) {
        let k = w.len();
        if memo.len() == k {
            return w.copy_from_slice(memo);
        }
        let (at, rest) = memo.split_at_mut(k);
        let (before, best) = rest.split_at_mut(k);
        if self.back {
            at.copy_from_slice(best);
            before.copy_from_slice(best);
        } else {
            best.copy_from_slice(at);
        }
        for ((w, at), before) in w.iter_mut().zip(at).zip(before) {
            *w = (*at + self.beta * (*at - *before)).max(0.0);
        }
    }
}

/// Puts a row's new weights into its memo.
fn end(memo: &mut [f32], w: &[f32]) {
    if memo.len() > w.len() {
        let (at, rest) = memo.split_at_mut(w.len());
        rest[..w.len()].copy_from_slice(at);
    }
    memo[..w.len()].copy_from_slice(w);
}

/// Weights solved for to the end, from nothing, for the atoms at hand.
fn alone(shared: &Shared, known: &Weighed, w: &mut [f32]) {
    let k = shared.how.k;
    let penalty = (vec![shared.l1; k], vec![shared.l2; k]);
    let solved = solve(known, &shared.h.data, shared.scale, (&penalty.0, &penalty.1));
    w.copy_from_slice(&solved.data);
}

/// The best weights (n×k) of rows times `scale` for atoms `h` = Hᵀ (d×k), each on the Hessian of its own entries. Costs mk² flops for a row in
/// which m entries count.
pub(super) fn solve(known: &Weighed, h: &[f32], scale: f32, (l1, l2): (&[f32], &[f32])) -> Mat {
    let (k, n) = (l1.len(), known.x.rows());
    let mut out = Mat::zeros(n, k);
    let rest: Vec<f64> = if known.rest > 0.0 {
        let mut all = vec![0.0; k * k];
        product::add_gram(&mut all, h, k);
        all.iter().map(|g| g * f64::from(known.rest)).collect()
    } else {
        vec![0.0; k * k]
    };
    let columns: Vec<u32> = if matches!(known.x, Rows::Dense(_)) { (0..known.x.cols() as u32).collect() } else { Vec::new() };
    out.data.par_chunks_mut(k).enumerate().for_each(|(i, w)| {
        let (at, x, v) = match &known.x {
            Rows::Dense(x) => (columns.as_slice(), x.row(i), &known.v[i * x.cols..(i + 1) * x.cols]),
            Rows::Sparse(x) => (x.row(i).0, x.row(i).1, &known.v[x.span(i)]),
        };
        let (mut more, mut less) = (Vec::new(), Vec::new());
        let mut b: Vec<f64> = l1.iter().map(|&l| -f64::from(l)).collect();
        let mut any = known.rest > 0.0;
        for ((&j, &x), &v) in at.iter().zip(x).zip(v) {
            let atom = &h[j as usize * k..(j as usize + 1) * k];
            let over = v - known.rest;
            if over != 0.0 {
                let root = over.abs().sqrt();
                (if over > 0.0 { &mut more } else { &mut less }).extend(atom.iter().map(|h| h * root));
            }
            let pull = f64::from(v) * f64::from(x * scale);
            any |= v > 0.0;
            b.iter_mut().zip(atom).for_each(|(b, &h)| *b += pull * f64::from(h));
        }
        if !any {
            return;
        }
        let mut gram = vec![0.0; k * k];
        product::add_gram(&mut gram, &less, k);
        gram.iter_mut().zip(&rest).for_each(|(g, r)| *g = r - *g);
        product::add_gram(&mut gram, &more, k);
        (0..k).for_each(|a| gram[a * k + a] += f64::from(l2[a]));
        Exact::new(k, &gram).solve(w, &as_f32(&b), false);
    });
    out
}

/// Dense rows of a pass.
struct Dense {
    /// ‖h‖² of every column of H (d), and their sum.
    squares: Vec<f32>,
    whole: f64,
    gram: Packed,
    turned: Packed,
    atoms: Packed,
}

impl Dense {
    fn new(shared: &Shared) -> Self {
        let k = shared.how.k;
        let squares: Vec<f32> = shared.h.data.par_chunks(k).map(|h| h.iter().map(|h| h * h).sum()).collect();
        Self {
            whole: squares.iter().map(|&s| f64::from(s)).sum(),
            squares,
            gram: Packed::new(shared.gram, k),
            turned: Packed::new(&shared.h.data, k),
            atoms: Packed::new(&shared.h.transpose().data, shared.h.rows),
        }
    }

    /// Improves the weights (n×k) of rows, if asked to, and adds slopes and curvatures of the atoms.
    fn rows(
        &self,
        shared: &Shared,
        known: &Weighed,
        improve: bool,
        w: &mut [f32],
        residual: &mut Vec<f32>,
        into: &mut NmfStats,
    ) -> Vec<Left> {
        let (d, k) = (known.x.cols(), shared.how.k);
        let n = w.len() / k;
        let mut left = vec![Left::default(); n];
        residual.resize(n * d, 0.0);
        let (x, v) = (known.x.values(), known.v.as_ref());
        let take = (take(n).min((1 << 17) / d)).next_multiple_of(6).max(6);
        let rows = x.par_chunks(take * d).zip(v.par_chunks(take * d)).zip(w.par_chunks_mut(take * k));
        rows.zip(residual.par_chunks_mut(take * d)).zip(left.par_chunks_mut(take)).for_each_init(
            Vec::new,
            |along, ((((x, v), w), e), left)| {
                along.resize(x.len(), 0.0);
                self.few(shared, (x, v), improve, w, (e, &mut along[..x.len()]), left);
            },
        );
        product::add_transposed(&mut into.xw, &Rows::dense(d, residual), w, k, 1.0);
        let squares: Vec<f32> = w.iter().map(|w| w * w).collect();
        product::add_transposed(&mut into.ww[k * k..k * k + d * k], &Rows::dense(d, v), &squares, k, 1.0);
        left
    }

    /// A few rows on this thread; `e` receives v·(x − wh), and `weighed` is a place as large to work in.
    fn few(
        &self,
        shared: &Shared,
        (x, v): (&[f32], &[f32]),
        improve: bool,
        w: &mut [f32],
        (e, weighed): (&mut [f32], &mut [f32]),
        left: &mut [Left],
    ) {
        let (d, k, n) = (self.squares.len(), shared.how.k, left.len());
        let (scale, l1, l2) = (shared.scale, shared.l1, shared.l2);
        // wh, and then what is left of x.
        product::rows_times(e, &Rows::dense(k, w), &self.atoms);
        if improve {
            let mut slopes = vec![0f32; n * k];
            let mut sizes = vec![0f32; n];
            let rows = weighed.chunks_exact_mut(d).zip(e.chunks_exact(d)).zip(x.chunks_exact(d)).zip(v.chunks_exact(d));
            for ((((to, wh), x), v), size) in rows.zip(&mut sizes) {
                let of = Arch::new().dispatch(
                    #[inline(always)]
                    || residual(to, wh, (x, scale), v, &self.squares),
                );
                *size = (f64::from(of) / self.whole.max(f64::MIN_POSITIVE)) as f32;
            }
            product::rows_times(&mut slopes, &Rows::dense(d, weighed), &self.turned);
            let mut right = vec![0f32; n * k];
            product::rows_times(&mut right, &Rows::dense(k, w), &self.gram);
            let rows = right.chunks_exact_mut(k).zip(slopes.chunks_exact_mut(k)).zip(w.chunks_exact(k));
            for (((right, slopes), w), (&size, left)) in rows.zip(sizes.iter().zip(&mut *left)) {
                let over = if size > 0.0 { 1.0 / size } else { 0.0 };
                for ((right, slope), &w) in right.iter_mut().zip(slopes).zip(w) {
                    *slope -= l1 + l2 * w;
                    left.gradient += f64::from(if w > 0.0 { slope.abs() } else { slope.max(0.0) });
                    *right += *slope * over;
                }
            }
            let mut step = w.to_vec();
            Quadratic::new(k, shared.gram, 0.0).refine(&mut step, &right, shared.effort, &mut vec![0.0; n]);
            step.iter_mut().zip(&*w).for_each(|(s, w)| *s -= w);
            product::rows_times(weighed, &Rows::dense(k, &step), &self.atoms);
            let rows = weighed.chunks_exact(d).zip(e.chunks_exact_mut(d)).zip(x.chunks_exact(d)).zip(v.chunks_exact(d));
            for ((((p, wh), x), v), ((step, w), &size)) in rows.zip(step.chunks_exact(k).zip(w.chunks_exact_mut(k)).zip(&sizes)) {
                if size == 0.0 {
                    // Nothing is known of the row.
                    w.fill(0.0);
                    wh.fill(0.0);
                    continue;
                }
                let (slope, curve) = Arch::new().dispatch(
                    #[inline(always)]
                    || along_step(p, wh, (x, scale), v),
                );
                let slope = slope - step.iter().zip(&*w).map(|(s, w)| s * (l1 + l2 * w)).sum::<f32>();
                let curve = curve + l2 * step.iter().map(|s| s * s).sum::<f32>();
                // Past the whole step only as far as nothing turns negative.
                let room = step.iter().zip(&*w).filter(|(s, _)| **s < 0.0).map(|(s, w)| -w / s).fold(4.0, f32::min);
                let share = if curve > 0.0 { (slope / curve).clamp(0.0, room.max(1.0)) } else { 0.0 };
                w.iter_mut().zip(step).for_each(|(w, s)| *w = (*w + share * s).max(0.0));
                wh.iter_mut().zip(p).for_each(|(wh, p)| *wh += share * p);
            }
        }
        let rows = e.chunks_exact_mut(d).zip(x.chunks_exact(d)).zip(v.chunks_exact(d)).zip(left);
        for (((e, x), v), left) in rows {
            left.cost = Arch::new().dispatch(
                #[inline(always)]
                || cost(e, (x, scale), v),
            );
        }
    }
}

/// to ← v·(x − wh); Σ v·s
#[inline(always)]
fn residual(to: &mut [f32], wh: &[f32], (x, scale): (&[f32], f32), v: &[f32], s: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let mut one = |l: usize, to: &mut f32, wh: f32, x: f32, v: f32, s: f32| {
        *to = v * (x * scale - wh);
        sums[l] += v * s;
    };
    let (((tos, to), (whs, wh)), (xs, x)) = ((to.as_chunks_mut::<LANES>(), wh.as_chunks::<LANES>()), x.as_chunks::<LANES>());
    let ((vs, v), (ss, s)) = (v.as_chunks::<LANES>(), s.as_chunks::<LANES>());
    for ((to, wh), (x, (v, s))) in tos.iter_mut().zip(whs).zip(xs.iter().zip(vs.iter().zip(ss))) {
        for l in 0..LANES {
            one(l, &mut to[l], wh[l], x[l], v[l], s[l]);
        }
    }
    for (l, ((to, wh), (x, (v, s)))) in to.iter_mut().zip(wh).zip(x.iter().zip(v.iter().zip(s))).enumerate() {
        one(l, to, *wh, *x, *v, *s);
    }
    sums.iter().sum()
}

/// Σ v·(x − wh)·p and Σ v·p²
#[inline(always)]
fn along_step(p: &[f32], wh: &[f32], (x, scale): (&[f32], f32), v: &[f32]) -> (f32, f32) {
    let (mut first, mut second) = ([0f32; LANES], [0f32; LANES]);
    let mut one = |l: usize, p: f32, wh: f32, x: f32, v: f32| {
        first[l] += v * (x * scale - wh) * p;
        second[l] += v * p * p;
    };
    let ((ps, p), (whs, wh)) = (p.as_chunks::<LANES>(), wh.as_chunks::<LANES>());
    let ((xs, x), (vs, v)) = (x.as_chunks::<LANES>(), v.as_chunks::<LANES>());
    for ((p, wh), (x, v)) in ps.iter().zip(whs).zip(xs.iter().zip(vs)) {
        for l in 0..LANES {
            one(l, p[l], wh[l], x[l], v[l]);
        }
    }
    for (l, ((p, wh), (x, v))) in p.iter().zip(wh).zip(x.iter().zip(v)).enumerate() {
        one(l, *p, *wh, *x, *v);
    }
    (first.iter().sum(), second.iter().sum())
}

/// e holds wh, and afterwards v·(x − wh); Σ v·(x − wh)²
#[inline(always)]
fn cost(e: &mut [f32], (x, scale): (&[f32], f32), v: &[f32]) -> f64 {
    /// Numbers that are added in f32 before their sum moves on.
    const RUN: usize = 32 * LANES;
    let mut total = 0.0;
    for ((e, x), v) in e.chunks_mut(RUN).zip(x.chunks(RUN)).zip(v.chunks(RUN)) {
        let mut sums = [0f32; LANES];
        let mut one = |l: usize, e: &mut f32, x: f32, v: f32| {
            let off = x * scale - *e;
            *e = v * off;
            sums[l] += *e * off;
        };
        let ((es, e), (xs, x), (vs, v)) = (e.as_chunks_mut::<LANES>(), x.as_chunks::<LANES>(), v.as_chunks::<LANES>());
        for ((e, x), v) in es.iter_mut().zip(xs).zip(vs) {
            for l in 0..LANES {
                one(l, &mut e[l], x[l], v[l]);
            }
        }
        for (l, ((e, x), v)) in e.iter_mut().zip(x).zip(v).enumerate() {
            one(l, e, *x, *v);
        }
        total += sums.iter().map(|&s| f64::from(s)).sum::<f64>();
    }
    total
}

/// A sparse row at work: its stored entries, and the atoms there.
#[derive(Default)]
struct Row {
    /// v·x and v − rest of every entry (m), padded with zeros to whole registers.
    pull: Vec<f32>,
    over: Vec<f32>,
    /// The atoms there (k×m).
    h: Vec<f32>,
    /// wh there (m).
    q: Vec<f32>,
    /// Σ (v − rest)·h² (k).
    curve: Vec<f32>,
}

impl Row {
    /// Coordinates descend one after the other; leaves their wh in `q`. Returns Σ|projected gradient| as the first sweep finds it.
    #[inline(always)]
    fn improve(&mut self, shared: &Shared, rest: f32, w: &mut [f32], sweeps: usize) -> f64 {
        let k = w.len();
        let m = self.q.len();
        let mut gradient = 0.0;
        for sweep in 0..sweeps {
            for a in 0..k {
                let h = &self.h[a * m..(a + 1) * m];
                let mut slope = pull(h, &self.pull, &self.over, &self.q) - shared.l1 - shared.l2 * w[a];
                let mut curve = self.curve[a] + shared.l2;
                if rest > 0.0 {
                    // L2 is on the diagonal of the Gram matrix; it was counted above.
                    let gram = &shared.gram[a * k..(a + 1) * k];
                    let all: f32 = gram.iter().zip(&*w).map(|(g, w)| g * w).sum();
                    slope -= rest * (all - shared.l2 * w[a]);
                    curve += rest * (gram[a] - shared.l2);
                }
                if sweep == 0 {
                    gradient += f64::from(if w[a] > 0.0 { slope.abs() } else { slope.max(0.0) });
                }
                let new = if curve > 0.0 { (w[a] + slope / curve).max(0.0) } else { 0.0 };
                let step = new - w[a];
                if step != 0.0 {
                    w[a] = new;
                    self.q.iter_mut().zip(h).for_each(|(q, h)| *q += step * h);
                }
            }
        }
        gradient
    }
}

/// Σ h·(pull − over·q), of whole registers.
#[inline(always)]
fn pull(h: &[f32], pull: &[f32], over: &[f32], q: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (hs, ps) = (h.as_chunks::<LANES>().0, pull.as_chunks::<LANES>().0);
    let (os, qs) = (over.as_chunks::<LANES>().0, q.as_chunks::<LANES>().0);
    for ((h, p), (o, q)) in hs.iter().zip(ps).zip(os.iter().zip(qs)) {
        for l in 0..LANES {
            sums[l] += h[l] * (p[l] - o[l] * q[l]);
        }
    }
    sums.iter().sum()
}

/// Improves the weights (n×k) of sparse rows, if asked to, and adds slopes and curvatures of the atoms.
fn sparse(shared: &Shared, known: &Weighed, improve: bool, w: &mut [f32], into: &mut NmfStats) -> Vec<Left> {
    let Rows::Sparse(x) = &known.x else { return Vec::new() };
    let (k, rest, scale) = (shared.how.k, known.rest, shared.scale);
    let sweeps = if improve { shared.how.sweeps } else { 0 };
    let each = w.par_chunks_mut(k).enumerate().map_init(Row::default, |row, (i, w)| {
        let ((columns, values), v) = (x.row(i), &known.v[x.span(i)]);
        let m = columns.len().next_multiple_of(LANES);
        for part in [&mut row.pull, &mut row.over, &mut row.q] {
            part.clear();
            part.resize(m, 0.0);
        }
        row.h.clear();
        row.h.resize(k * m, 0.0);
        for (t, ((&j, &x), &v)) in columns.iter().zip(values).zip(v).enumerate() {
            row.pull[t] = v * (x * scale);
            row.over[t] = v - rest;
            let atom = &shared.h.data[j as usize * k..(j as usize + 1) * k];
            row.h[t..].iter_mut().step_by(m.max(1)).zip(atom).for_each(|(h, &v)| *h = v);
        }
        let any = rest > 0.0 || v.iter().any(|v| *v > 0.0);
        let mut left = Left::default();
        if !any {
            w.fill(0.0);
        }
        Arch::new().dispatch(
            #[inline(always)]
            || {
                row.curve.clear();
                for (h, &w) in row.h.chunks_exact(m.max(1)).zip(&*w) {
                    row.curve.push(h.iter().zip(&row.over).map(|(h, o)| o * h * h).sum());
                    row.q.iter_mut().zip(h).for_each(|(q, h)| *q += w * h);
                }
                row.curve.resize(k, 0.0);
                if any {
                    left.gradient = row.improve(shared, rest, w, sweeps);
                }
            },
        );
        let mut residual = Vec::with_capacity(columns.len());
        for ((&q, &x), &v) in row.q.iter().zip(values).zip(v) {
            let off = x * scale - q;
            residual.push(v * off + rest * q);
            left.cost += f64::from(v) * f64::from(off).powi(2) - f64::from(rest) * f64::from(q).powi(2);
        }
        (residual, left)
    });
    let (residual, left): (Vec<Vec<f32>>, Vec<Left>) = each.unzip();
    product::add_transposed(&mut into.xw, &Rows::Sparse(x.with(residual.concat())), w, k, 1.0);
    let over = known.v.iter().map(|v| v - rest).collect();
    let squares: Vec<f32> = w.iter().map(|w| w * w).collect();
    product::add_transposed(&mut into.ww[k * k..k * k + x.cols * k], &Rows::Sparse(x.with(over)), &squares, k, 1.0);
    left
}

/// Improves H on the sums of a pass.
pub(super) fn update(how: &Nmf, state: &mut NmfState, s: &NmfStats) -> Result<Progress> {
    let (k, d) = (how.k, state.h.rows);
    let (counted, scale) = (s.sums[4], f64::from(state.scale));
    if counted <= 0.0 {
        return Err(Error::data("not one entry is known, or counts; give rows of which some entries do"));
    }
    let (ww, curves) = s.ww.split_at(k * k);
    let rest = f64::from(u8::from(how.missing != Missing::Zeros && s.ww.last().is_some_and(|r| *r > 0.0)));
    let (l1, l2) = state.penalty_of_atoms(how);
    let at = state.at();
    let mut objective = s.sums[3] + 2.0 * (s.sums[6] + super::divergence::penalty(&at.data, (l1 as f32, l2 as f32)));
    if rest > 0.0 {
        objective += rest * gram(at).iter().zip(ww).map(|(g, w)| g * w).sum::<f64>();
    }
    let objective = objective.max(0.0);
    let unit = counted * scale * scale;
    let best = state.pace.best;
    if objective > best + NOISE * state.totals[0] && !state.pace.rejected {
        // Too far, by extrapolation or by too long a step of the atoms.
        if state.pace.plain() {
            state.damp *= MORE;
        }
        state.pace.back();
        state.at = Mat::default();
        state.last = Mat::default();
        state.derive();
        return Ok(Progress { loss: best / unit, ..Progress::default() });
    }
    let exact = objective <= NOTHING * state.totals[0];
    // A pass after one that was undone only makes up for it.
    let little = !state.pace.rejected && best < f64::MAX && best - objective <= how.tol * best;
    let close = state.pace.at_rest(little) && how.tol > 0.0;
    let beta = state.pace.forward(objective);
    let beta = if how.way() == NmfSolver::Accelerated { beta } else { 0.0 };
    state.pace.beta = beta;
    state.damp = (state.damp * LESS).max(1.0);
    state.weight = (0..k).map(|a| ww[a * k + a].sqrt()).collect();
    if !state.at.data.is_empty() {
        state.h = std::mem::take(&mut state.at);
    }
    let mut h = state.h.clone();
    // Columns of W at unit length, so that what is shared is their correlations.
    let unit_of: Vec<f64> = (0..k).map(|a| ww[a * k + a]).map(|g| if g > 0.0 { 1.0 / g.sqrt() } else { 0.0 }).collect();
    let shape: Vec<f32> =
        (0..k * k).map(|i| if i / k == i % k { 1.0 } else { (ww[i] * unit_of[i / k] * unit_of[i % k]) as f32 }).collect();
    let packed = Packed::new(&shape, k);
    let problem = Quadratic::new(k, &shape, 0.0).hold(how.fixed);
    let effort = Effort { sweeps: how.sweeps, tol: 0.0 };
    let damp = state.damp;
    let take = take(d);
    let pieces = h.data.par_chunks_mut(take * k).zip(s.xw.par_chunks(take * k)).zip(curves[..d * k].par_chunks(take * k));
    let gradient: Vec<f64> = pieces
        .map(|((h, xw), curves)| {
            let n = h.len() / k;
            let (mut u, mut roots, mut pulls) = (vec![0f32; n * k], vec![0f64; n * k], vec![0f64; n * k]);
            let mut gradient = 0.0;
            for i in 0..n {
                for a in 0..k {
                    let at = i * k + a;
                    let h_a = f64::from(h[at]);
                    let mut slope = xw[at] - l1 - l2 * h_a;
                    if rest > 0.0 {
                        slope -= rest * (0..k).map(|c| ww[a * k + c] * f64::from(h[i * k + c])).sum::<f64>();
                    }
                    gradient += if h[at] > FLOOR { slope.abs() } else { slope.max(0.0) };
                    let curve = curves[at] + rest * ww[a * k + a] + l2;
                    // Less than rounding leaves of the largest is nothing.
                    roots[at] = if curve > 1e-12 * ww[a * k + a] { curve.sqrt() } else { 0.0 };
                    u[at] = (h_a * roots[at]) as f32;
                    pulls[at] = if roots[at] > 0.0 { slope / (roots[at] * damp) } else { f64::from(f32::MIN) / 4.0 };
                }
            }
            let mut right = vec![0f32; n * k];
            product::rows_times(&mut right, &Rows::dense(k, &u), &packed);
            right.iter_mut().zip(&pulls).for_each(|(r, p)| *r = (f64::from(*r) + p) as f32);
            problem.refine(&mut u, &right, effort, &mut vec![0.0; n]);
            for ((h, u), root) in h.chunks_exact_mut(k).zip(u.chunks_exact(k)).zip(roots.chunks_exact(k)) {
                // A column of which nothing is known is explained by nothing.
                let any = root.iter().any(|r| *r > 0.0);
                for ((h, u), root) in h.iter_mut().zip(u).zip(root).skip(how.fixed) {
                    match (*root > 0.0, any) {
                        (true, _) => *h = ((f64::from(*u) / root) as f32).max(FLOOR),
                        (false, false) => *h = FLOOR,
                        _ => {}
                    }
                }
            }
            gradient
        })
        .collect();
    let gradient = s.sums[5] + gradient.iter().sum::<f64>();
    if state.first_gradient == 0.0 {
        state.first_gradient = gradient;
    }
    state.at =
        if beta > 0.0 && !state.last.data.is_empty() { squared::extrapolated(&h, &state.last, beta as f32) } else { h.clone() };
    state.last = h;
    state.derive();
    let gradient = Some(if gradient > 0.0 { gradient / state.first_gradient } else { 0.0 });
    Ok(Progress { loss: objective / unit, done: exact || close, gradient, ..Progress::default() })
}
