//! Squared error by batches: exact block coordinate descent over the weights of a batch of rows and the atoms, in turn.
//!
//! The sums A = Σwᵀw and B = Σxᵀw run on from batch to batch and hold every row with its latest weights. A batch improves the weights of
//! its rows for the atoms at hand and leaves the changes, w′ᵀw′ − wᵀw and xᵀ(w′ − w); the atoms are then improved on all of A and B, as
//! after a pass of `cd`. Both steps lower the objective over all rows seen so far, so it never rises, and at the end of a pass the loss is
//! exact. The changes are formed from w′ − w, so that what is lost to rounding shrinks with the steps; every eighth pass the sums are formed
//! anew beside them, since what was lost adds up.
//!
//! Without a memo the old weights are not known, and weights are solved for anew. What a pass has summed then stands beside the sums
//! of the pass before, times the share of the rows that it has not reached. At the end of a pass the sums, and the loss, are those of its own weights; it
//! may rise a little from pass to pass, since a row's weights are as old as its batch.
//!
//! Learning a dictionary from such sums is of Mairal et al. 2010, where old weights are kept for good, as streams without end need.

use super::hals::Quadratic;
use super::product::{self, Packed};
use super::squared::{self, ALONE, COLD, PIECE, PIECE_SPARSE, with_diagonal};
use super::{Nmf, NmfState, NmfStats, hals::Effort, init, take};
use crate::error::{Error, Result};
use crate::fold::Progress;
use crate::mat::Rows;
use rayon::prelude::*;

/// Passes from one in which the sums are formed anew to the next; it costs half as much again.
const ANEW: u64 = 8;
/// An atom whose Σw² has fallen to this share of what it was consists of what f32 products left over.
const LEFT_OVER: f64 = 1e-6;

/// What a fit carries from batch to batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Running {
    /// Σxᵀw (d×k), Σwᵀw (k×k) and Σw of all rows with their latest weights; without a memo, of the rows of this pass.
    pub now: Vec<f64>,
    /// Without a memo, those of the pass before.
    pub before: Vec<f64>,
    /// The sums that are being formed anew.
    pub anew: Vec<f64>,
    /// The largest Σw² of every atom since they were.
    pub peak: Vec<f64>,
    /// Rows seen in this pass.
    pub seen: f64,
    /// Σ|projected gradient| of this pass.
    pub gradient: f64,
}

impl Running {
    /// Whether a pass has begun and not ended.
    pub fn midway(&self) -> bool {
        self.seen > 0.0
    }
}

/// Numbers of the sums that are formed anew in this pass.
pub(super) fn anew(state: &NmfState) -> usize {
    if state.pass % ANEW == ANEW - 1 { numbers(state.h.rows, state.h.cols) } else { 0 }
}

/// Numbers of all sums together.
pub(super) fn numbers(d: usize, k: usize) -> usize {
    (d + k) * k + 1
}

/// Improves the weights of rows `first..` and adds by how much the sums change.
pub(super) fn observe(how: &Nmf, state: &NmfState, x: &Rows, first: u64, memo: &mut [f32], into: &mut NmfStats) {
    let (k, scale, n) = (how.k, f64::from(state.scale), x.rows());
    let (kept, fresh) = (!memo.is_empty(), state.pass == 0);
    let mut own = if kept { Vec::new() } else { vec![0f32; n * k] };
    let memo = if kept { memo } else { &mut own };
    if kept && fresh {
        init::weights(how, state, x, first, memo);
    }
    into.rows[0] += n as f64;
    into.rows[1] += if kept { 0.0 } else { n as f64 };
    let (l1, l2) = state.penalty_of_weights(how, x.cols());
    let gram = with_diagonal(&state.gram, k, l2);
    let problem = Quadratic::new(k, &gram, 0.0);
    // Atoms of tiny weights grow by what f32 can't resolve, after every batch; times huge rows in their own units they would overflow.
    let h: Vec<f32> = state.h.data.iter().map(|h| h * state.scale).collect();
    let h = Packed::new(&h, k);
    let effort = match kept {
        false => ALONE,
        // The atoms are those of the rows so far, far better than these weights.
        true if fresh => Effort { sweeps: how.sweeps.max(COLD), tol: 1e-4 },
        true => Effort { sweeps: how.sweeps, tol: 0.0 },
    };
    let piece = if matches!(x, Rows::Dense(_)) { PIECE } else { PIECE_SPARSE }.min(n.max(1));
    let mut change = vec![0f32; piece * k];
    let mut both = vec![0f32; piece * k];
    let mut visited = vec![0f32; piece];
    let mut pairs = vec![0f64; k * k];
    for (i, w) in memo.chunks_mut(piece * k).enumerate() {
        let (change, both, visited) = (&mut change[..w.len()], &mut both[..w.len()], &mut visited[..w.len() / k]);
        let x = x.slice(i * piece, i * piece + w.len() / k);
        let take = take(w.len() / k);
        let steps = change.par_chunks_mut(take * k).zip(both.par_chunks_mut(take * k));
        let rows = w.par_chunks_mut(take * k).zip(steps).zip(visited.par_chunks_mut(take));
        rows.enumerate().for_each(|(i, ((w, (change, both)), visited))| {
            product::rows_times(change, &x.slice(i * take, i * take + w.len() / k), &h);
            change.iter_mut().for_each(|b| *b -= l1);
            // What is not in the sums yet counts as nothing.
            if kept && !fresh {
                both.copy_from_slice(w);
            } else {
                both.fill(0.0);
            }
            problem.refine(w, change, effort, visited);
            for ((change, both), &new) in change.iter_mut().zip(both).zip(&*w) {
                (*change, *both) = (new - *both, new + *both);
            }
        });
        into.sums[5] += visited.iter().map(|&v| f64::from(v)).sum::<f64>();
        into.sums[6] += change.iter().map(|&w| f64::from(w)).sum::<f64>();
        product::add_transposed(&mut into.xw, &x, change, k, scale);
        product::add_transposed(&mut pairs, &Rows::dense(k, both), change, k, 0.5);
        if kept && !into.anew.is_empty() {
            let (xw, rest) = into.anew.split_at_mut(x.cols() * k);
            product::add_transposed(xw, &x, w, k, scale);
            product::add_gram(&mut rest[..k * k], w, k);
            rest[k * k] += w.iter().map(|&w| f64::from(w)).sum::<f64>();
        }
    }
    // w′ᵀw′ − wᵀw = ½(w′ + w)ᵀ(w′ − w) and its transpose.
    for a in 0..k {
        for c in 0..k {
            into.ww[a * k + c] += pairs[a * k + c] + pairs[c * k + a];
        }
    }
}

/// Improves H on the sums of all rows, of which those of a batch have changed.
pub(super) fn update(how: &Nmf, state: &mut NmfState, s: &NmfStats) -> Result<Progress> {
    let (d, k) = (state.h.rows, how.k);
    let [rows, forgotten] = s.rows;
    if forgotten > 0.0 && forgotten < rows {
        return Err(Error::parameter(
            "some workers remember the weights of their rows and some have no room for them; give all of them the same memory",
        ));
    }
    let all = state.rows as f64;
    let run = &mut state.running;
    run.seen += rows;
    run.now.resize(numbers(d, k), 0.0);
    run.now.iter_mut().zip(s.xw.iter().chain(&s.ww).chain([&s.sums[6]])).for_each(|(t, s)| *t += s);
    run.anew.resize(s.anew.len(), 0.0);
    run.anew.iter_mut().zip(&s.anew).for_each(|(t, s)| *t += s);
    let mut xw = run.now.clone();
    let ended = run.seen >= all;
    let unseen = 1.0 - run.seen / all;
    xw.iter_mut().zip(&run.before).for_each(|(t, before)| *t += unseen * before);
    let mut ww = xw.split_off(d * k);
    let total = ww.pop().unwrap_or_default();
    run.peak.resize(k, 0.0);
    for a in 0..k {
        run.peak[a] = run.peak[a].max(ww[a * k + a]);
        // What is left of an atom that no row uses any more is no sum of any weights.
        if forgotten == 0.0 && ww[a * k + a] <= LEFT_OVER * run.peak[a] {
            (0..k).for_each(|c| (ww[a * k + c], ww[c * k + a]) = (0.0, 0.0));
            xw.iter_mut().skip(a).step_by(k).for_each(|v| *v = 0.0);
        }
    }
    let sums = [0.0, 0.0, 0.0, 0.0, all * d as f64, 0.0, total];
    let whole = NmfStats { xw, ww, sums, weight: Vec::new(), anew: Vec::new(), rows: s.rows };
    // Atoms are visited once a batch, rows once a pass.
    let first = std::mem::replace(&mut state.first_gradient, 1.0);
    let progress = squared::update(how, state, &whole);
    state.first_gradient = first;
    let run = &mut state.running;
    run.gradient += s.sums[5] + progress.gradient.unwrap_or_default() * rows / all;
    if !ended {
        return Ok(progress);
    }
    let anew = std::mem::take(&mut run.anew);
    if forgotten > 0.0 {
        run.before = std::mem::take(&mut run.now);
    } else if !anew.is_empty() {
        run.now = anew;
        (0..k).for_each(|a| run.peak[a] = run.now[(d + a) * k + a]);
    }
    run.seen = 0.0;
    let gradient = std::mem::take(&mut run.gradient);
    if first == 0.0 {
        state.first_gradient = gradient;
    }
    Ok(Progress { gradient: Some(if gradient > 0.0 { gradient / state.first_gradient } else { 0.0 }), ..progress })
}

#[cfg(test)]
mod tests {
    use super::super::{NmfInit, NmfLoss, NmfSolver};
    use super::*;
    use crate::fold::{Fitted, Method, Options, Shape, Stop, fit};
    use crate::mat::Mat;
    use crate::nmf::NmfModel;
    use crate::rng::rng;
    use crate::source::Memory;

    /// Sums of a few sparse parts, with noise.
    fn mixed(n: usize, d: usize) -> Mat {
        let mut r = rng(4, 0, 0);
        let parts: Vec<f64> = (0..6 * d).map(|_| if r.uniform() < 0.4 { r.uniform() } else { 0.0 }).collect();
        let mut x = Mat::zeros(n, d);
        for row in x.data.chunks_exact_mut(d) {
            for part in parts.chunks_exact(d) {
                let w = if r.uniform() < 0.5 { 2.0 * r.uniform() } else { 0.0 };
                row.iter_mut().zip(part).for_each(|(v, p)| *v += (w * p) as f32);
            }
            row.iter_mut().for_each(|v| *v += (0.2 * r.uniform()) as f32);
        }
        x
    }

    fn online(k: usize, batch: usize) -> Nmf {
        Nmf { k, solver: NmfSolver::Online, batch, ..Nmf::default() }
    }

    fn run(how: &Nmf, x: &Mat) -> Fitted<NmfModel> {
        fit(how, &Memory::from(x), Options::default()).expect("fit")
    }

    fn last(f: &Fitted<NmfModel>) -> f64 {
        f.curve.last().expect("a pass").loss
    }

    /// One pass by hand.
    fn pass(how: &Nmf, state: &mut NmfState, x: &Mat, memo: &mut [f32]) -> Progress {
        let mut progress = Progress::default();
        for from in (0..x.rows).step_by(how.batch) {
            let to = (from + how.batch).min(x.rows);
            let mut sums = how.zero(state);
            let own = if memo.is_empty() { &mut [] } else { &mut memo[from * how.k..to * how.k] };
            how.observe(state, &x.view().slice(from, to), from as u64, own, &mut sums).expect("observe");
            progress = how.update(state, sums).expect("update");
        }
        progress
    }

    /// After many passes the running sums are still those of the weights, and the loss is that of the pair.
    #[test]
    fn sums_and_loss_do_not_drift() {
        let x = mixed(300, 40);
        let (d, k) = (x.cols, 6);
        let how = online(k, 64);
        let mut state = how.init(&x.view(), Shape { rows: x.rows, cols: d }, 0).expect("start");
        let mut memo = vec![0f32; x.rows * k];
        let mut said = Progress::default();
        for _ in 0..300 {
            said = pass(&how, &mut state, &x, &mut memo);
        }
        let scale = f64::from(state.scale);
        let mut sums = vec![0f64; (d + k) * k + 1];
        let mut loss = 0.0;
        for (x, w) in x.data.chunks_exact(d).zip(memo.chunks_exact(k)) {
            for a in 0..k {
                let wa = f64::from(w[a]);
                (0..d).for_each(|j| sums[j * k + a] += scale * f64::from(x[j]) * wa);
                (0..k).for_each(|c| sums[(d + c) * k + a] += f64::from(w[c]) * wa);
                sums[(d + k) * k] += wa;
            }
            for j in 0..d {
                let back: f64 = w.iter().zip(state.h.row(j)).map(|(w, h)| f64::from(*w) * f64::from(*h)).sum();
                loss += (f64::from(x[j]) - back / scale).powi(2);
            }
        }
        for (at, (is, want)) in state.running.now.iter().zip(&sums).enumerate() {
            assert!((is - want).abs() <= 1e-6 * (want.abs() + 1.0), "sum {at}: {is} {want}");
        }
        loss /= x.data.len() as f64;
        // As well as f32 products can tell.
        let square = x.data.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / x.data.len() as f64;
        assert!((said.loss - loss).abs() <= 2e-7 * square, "reported {}, is {loss}, of {square}", said.loss);
    }

    /// As one batch it is `cd`, but for how well the first weights are solved for.
    #[test]
    fn one_batch_of_all_rows_is_coordinate_descent() {
        let x = mixed(300, 40);
        for init in [NmfInit::Random, NmfInit::Nndsvda, NmfInit::KMeans] {
            let how = Nmf { init, sweeps: COLD, max_passes: 12, tol: 0.0, ..online(6, 300) };
            let (a, b) = (run(&how, &x), run(&Nmf { solver: NmfSolver::Cd, ..how.clone() }, &x));
            for (a, b) in a.curve.iter().zip(&b.curve) {
                assert!((a.loss - b.loss).abs() <= 1e-3 * b.loss, "{init:?}: {a:?} {b:?}");
            }
        }
    }

    /// Batches take fewer passes than plain descent to the loss that it stops at.
    #[test]
    fn batches_save_passes() {
        let x = mixed(2000, 40);
        let cd = Nmf { k: 6, solver: NmfSolver::Cd, init: NmfInit::Nndsvda, ..Nmf::default() };
        let plain = run(&cd, &x);
        let batches = run(&Nmf { tol: 0.0, init: NmfInit::Nndsvda, ..online(6, 100) }, &x);
        let first = batches.curve.iter().position(|p| p.loss <= last(&plain));
        assert!(first.is_some_and(|p| 3 * p < 2 * plain.curve.len()), "{first:?} of {}", plain.curve.len());
    }

    /// Sums without a memo are those of the rows of one pass, and the loss is honest all the same.
    #[test]
    fn without_memo_sums_fade() {
        let x = mixed(300, 40);
        let how = online(6, 64);
        let mut state = how.init(&x.view(), Shape { rows: x.rows, cols: 40 }, 0).expect("start");
        let mut loss = f64::INFINITY;
        for _ in 0..60 {
            let progress = pass(&how, &mut state, &x, &mut []);
            assert!(state.running.now.is_empty() && state.running.before.len() == 46 * 6 + 1);
            assert!(progress.loss <= loss * 1.01, "{} after {loss}", progress.loss);
            loss = progress.loss;
        }
        let kept = last(&run(&Nmf { tol: 0.0, ..how }, &x));
        assert!((loss - kept).abs() <= 0.01 * kept, "{loss} without, {kept} with a memo");
    }

    #[test]
    fn penalties_and_fixed_atoms_are_those_of_coordinate_descent() {
        let x = mixed(300, 40);
        let given = Mat { rows: 2, cols: 40, data: mixed(2, 40).data };
        for how in [
            Nmf { alpha_w: 0.002, alpha_h: 0.002, l1_ratio: 0.5, ..online(6, 64) },
            Nmf { fixed: 2, given: Some(given), ..online(6, 64) },
        ] {
            let how = Nmf { max_passes: 2000, tol: 1e-6, ..how };
            let (a, b) = (run(&how, &x), run(&Nmf { solver: NmfSolver::Cd, ..how.clone() }, &x));
            assert!(a.stop == Stop::Converged && (last(&a) - last(&b)).abs() <= 0.02 * last(&b), "{} {}", last(&a), last(&b));
            assert!(a.curve.windows(2).all(|p| p[1].loss <= p[0].loss * (1.0 + 1e-6)), "{:?}", a.curve);
            for (atom, given) in how.given.iter().flat_map(|g| (0..2).map(|a| (a, g.row(a)))) {
                let norm = given.iter().map(|v| v * v).sum::<f32>().sqrt();
                let kept = a.model.parts.row(atom).iter().zip(given).all(|(h, g)| (h * norm - g).abs() < 1e-5);
                assert!(kept, "atom {atom} has moved");
            }
        }
    }

    #[test]
    fn what_batches_can_not_do_is_refused() {
        let shape = Shape { rows: 300, cols: 40 };
        let refused = |how: Nmf| how.check(shape).expect_err("refused").to_string();
        assert!(refused(online(6, 0)).contains("batch = 0"));
        assert!(refused(Nmf { loss: NmfLoss::KullbackLeibler, ..online(6, 64) }).contains("solver to mu or auto"));
        for how in [Nmf { signed: true, ..online(6, 64) }, Nmf { sparse_codes: Some(0.5), ..online(6, 64) }] {
            assert!(refused(how).contains("solver to cd or auto"));
        }
        // One worker remembers its rows, and one does not.
        let x = mixed(300, 40);
        let how = online(6, 300);
        let mut state = how.init(&x.view(), shape, 0).expect("start");
        let mut sums = how.zero(&state);
        how.observe(&state, &x.view().slice(0, 100), 0, &mut [0.0; 600], &mut sums).expect("observe");
        how.observe(&state, &x.view().slice(100, 300), 100, &mut [], &mut sums).expect("observe");
        assert!(how.update(&mut state, sums).expect_err("refused").to_string().contains("the same memory"));
    }
}
