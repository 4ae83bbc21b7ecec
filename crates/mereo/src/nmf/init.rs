//! First values of W and H.
//!
//! A row's first weights follow from the seed, the restart, the row's number and the row itself, so blocks and workers agree.
//!
//! NNDSVD (Boutsidis & Gallopoulos 2008): with singular values σ and vectors u, v, the first pair starts at √σ|u|, √σ|v|; of
//! every other pair the positive or the negative parts are kept, whichever have the larger product m of norms, as √(σm)
//! times the normalised parts. Here u = x·v/σ is never stored: a row's weights are (x·p)₊ with p = ±√(σm) / (σ‖u±‖) · v.

use super::newton::{self, Caution};
use super::online::Running;
use super::pace::Pace;
use super::product::{self, Packed};
use super::{Nmf, NmfInit, NmfSolver, NmfState, constraint, separable};
use crate::error::{Error, Result};
use crate::fold::{Method, Shape, stream};
use crate::linalg;
use crate::mat::{Mat, Rows};
use crate::rng::rng;
use crate::vq::Vq;
use rayon::prelude::*;

/// Smaller starting values are zero (scikit-learn's threshold; here the data has a mean of about 1).
const ZERO: f32 = 1e-6;
/// Data with a smaller mean can't be brought to one near 1: the factor, or its products with denormal numbers, leave f32.
const SMALLEST: f64 = 1e-32;

/// A warm start fits a share of the rows first, and a third of those before that.
const SHARE: usize = 4;
const THIRD: usize = 3;
/// Passes over the smaller part and over the larger one.
const WARM: [usize; 2] = [60, 30];
/// Least rows for each atom in the smaller part: fewer tell too little of the whole.
const ROWS_PER_ATOM: usize = 8;
/// Singular vectors are exact where one side has no more numbers than this.
const SHORT: usize = 1024;
/// Passes of Lloyd's over the sample of a start from clusters.
const LLOYD: usize = 10;
/// Numbers of a sample at most.
const NUMBERS: usize = 1 << 26;

/// How many rows a start is made from.
pub(super) fn sample(how: &Nmf, shape: Shape) -> usize {
    let plain = plain_sample(how, shape);
    // Whether the rows are sparse, which a fit by second-order steps starts from all of, isn't known yet.
    let least = if how.way() == NmfSolver::Newton { plain } else { 0 };
    warm_rows(how, shape).map_or(plain, |part| part.max(least))
}

/// With how few it can do.
pub(super) fn least_sample(how: &Nmf, shape: Shape) -> usize {
    plain_sample(how, shape).min(how.k.saturating_mul(4).max(4096))
}

fn plain_sample(how: &Nmf, shape: Shape) -> usize {
    match how.init {
        NmfInit::Random | NmfInit::Given => 4096,
        NmfInit::Nndsvd | NmfInit::Nndsvda | NmfInit::Nndsvdar => how.k.saturating_mul(4).max(16_384),
        NmfInit::KMeans => how.k.saturating_mul(16).max(8192),
        // A corner can be any row.
        NmfInit::Spa | NmfInit::Snpa => shape.rows.min(NUMBERS / shape.cols.max(1)),
    }
}

/// Rows of a warm start, if there is to be one.
fn warm_rows(how: &Nmf, Shape { rows, cols }: Shape) -> Option<usize> {
    let part = (rows / SHARE).min(NUMBERS / cols.max(1));
    // Given atoms are where the fit starts, and corners are looked for among all rows.
    let own = matches!(how.init, NmfInit::Given | NmfInit::Spa | NmfInit::Snpa)
        // An atom that L1 ends for some rows is none for the others.
        || how.l1_ratio > 0.0 && (how.alpha_w > 0.0 || how.alpha_h > 0.0);
    (matches!(how.way(), NmfSolver::Accelerated | NmfSolver::Online | NmfSolver::Newton)
        && !own
        && part / THIRD >= ROWS_PER_ATOM * how.k)
        .then_some(part)
}

/// Refuses a start that this data, or these parameters, can't give.
pub(super) fn check(how: &Nmf, Shape { rows: n, cols: d }: Shape) -> Result<()> {
    let k = how.k;
    if let (2.., Some(name)) = (how.restarts, always_alike(how.init)) {
        return Err(Error::parameter(format!(
            "restarts = {} of a start that is always the same ({name}) are one fit done over; set restarts to 1, or init to random, \
             k-means or nndsvdar",
            how.restarts
        )));
    }
    match (how.init, &how.given) {
        (NmfInit::KMeans | NmfInit::Spa | NmfInit::Snpa, _) if k > n => Err(Error::parameter(format!(
            "k = {k} exceeds the {n} rows, of which this start makes atoms; lower k, or use init = random"
        ))),
        (NmfInit::Random | NmfInit::KMeans | NmfInit::Spa | NmfInit::Snpa, _) => Ok(()),
        (NmfInit::Given, None) => {
            Err(Error::parameter(format!("init = given needs `given`, the first {k} atoms of {d} columns")))
        }
        (NmfInit::Given, Some(h)) if (h.rows, h.cols) != (k, d) => Err(Error::parameter(format!(
            "the given start has {} atoms of {} columns; give {k} atoms (k) of {d} columns",
            h.rows, h.cols
        ))),
        (NmfInit::Given, Some(h)) => match h.data.iter().position(|v| !(v.is_finite() && *v >= 0.0)) {
            Some(at) => Err(Error::parameter(format!(
                "atom {}, column {} of the given start is {} (both counted from 0); give finite numbers of at least 0",
                at / d,
                at % d,
                h.data[at]
            ))),
            None => Ok(()),
        },
        _ if k > n.min(d) => Err(Error::parameter(format!(
            "k = {k} exceeds the {} singular vectors of data of {n} rows and {d} columns; lower k, or use init = random",
            n.min(d)
        ))),
        _ => Ok(()),
    }
}

/// The name of a start in which nothing is random.
fn always_alike(init: NmfInit) -> Option<&'static str> {
    match init {
        NmfInit::Random | NmfInit::KMeans | NmfInit::Nndsvdar => None,
        NmfInit::Nndsvd => Some("nndsvd"),
        NmfInit::Nndsvda => Some("nndsvda"),
        NmfInit::Spa => Some("spa"),
        NmfInit::Snpa => Some("snpa"),
        NmfInit::Given => Some("given"),
    }
}

/// The state before the first pass. Where there are many rows for each atom, the atoms are those of a fit of some of them, which
/// costs a few passes and saves many; that fit ends on the true data like any other.
pub(super) fn start(how: &Nmf, sample: &Rows, shape: Shape, restart: usize) -> Result<NmfState> {
    let filled = sample.values().iter().filter(|v| **v != 0.0).count() as f64 / sample.rows().max(1) as f64;
    let thin = filled <= newton::THIN * shape.cols as f64;
    let plain = || Ok(NmfState { sweeps: sweeps(how, filled, shape), thin, ..cold(how, sample, shape, restart)? });
    let Some(part) = warm_rows(how, shape) else { return plain() };
    if how.masked() {
        return plain();
    }
    let part = part.min(sample.rows());
    // A column that is empty in some rows would stay so under products.
    let products = how.way() == NmfSolver::Newton && thin;
    let dear = 2.0 * cost(how, filled, part, shape.cols) > cost(how, filled, shape.rows, shape.cols);
    if products || dear || part / THIRD < ROWS_PER_ATOM * how.k {
        return plain();
    }
    let step = (sample.rows() / part.max(1)).max(1);
    let thinned = (step > 1).then(|| sample.every(step));
    let sample = thinned.as_ref().unwrap_or(sample);
    let small = sample.every(THIRD);
    // What is in memory is fitted the fastest way.
    let fast = (how.way() == NmfSolver::Online).then(|| Nmf { solver: NmfSolver::Accelerated, ..how.clone() });
    let (slow, how) = (how, fast.as_ref().unwrap_or(how));
    let mut state = cold(how, &small, shape, restart)?;
    state.sweeps = sweeps(how, filled, shape);
    for (rows, passes) in [(&small, WARM[0]), (sample, WARM[1])] {
        let mut memo = vec![0f32; rows.rows() * how.memo().width()];
        let mut best = f64::INFINITY;
        // The penalty of the atoms is by the rows that are fitted: that of all would be too much for some.
        state.rows = rows.rows() as u64;
        for _ in 0..passes {
            let mut sums = how.zero(&state);
            how.observe(&state, rows, 0, &mut memo, &mut sums)?;
            let progress = how.update(&mut state, sums)?;
            // A few rows need not be fitted better than the whole will be.
            if progress.done || best - progress.loss < 0.1 * how.tol * best && !state.pace.rejected && !state.caution.rejected() {
                break;
            }
            best = progress.loss;
        }
        state = NmfState {
            sweeps: sweeps(how, filled, shape),
            pass: 0,
            totals: [0.0; 3],
            pace: Pace::default(),
            at: Mat::default(),
            caution: Caution::anew(),
            warm: true,
            first_gradient: 0.0,
            ..state
        };
        if how.way() == NmfSolver::Newton {
            open(&mut state);
        }
        state.derive();
    }
    state.sweeps = sweeps(slow, filled, shape);
    state.rows = shape.rows as u64;
    Ok(state)
}

/// Makes atoms of some rows ready for others, which may have numbers where those had none: such a column has no weight that could explain them
/// to a divergence, and a curvature beyond all others'.
fn open(state: &mut NmfState) {
    /// Least share of its mean number that a number of an atom begins at.
    const LEAST: f64 = 1e-3;
    /// The curvature of a column is no more than so many times that of the column in the middle.
    const STEEP: f64 = 10.0;
    let (k, d) = (state.h.cols, state.h.rows);
    let least: Vec<f32> = (0..k)
        .map(|a| (LEAST * state.h.data.iter().skip(a).step_by(k).map(|v| f64::from(*v)).sum::<f64>() / d as f64) as f32)
        .collect();
    state.h.data.chunks_exact_mut(k).for_each(|h| h.iter_mut().zip(&least).for_each(|(h, least)| *h = h.max(*least)));
    let mut positive: Vec<f64> = state.columns.iter().copied().filter(|b| *b > 0.0).collect();
    positive.sort_unstable_by(f64::total_cmp);
    if let Some(middle) = positive.get(positive.len() / 2) {
        state.columns.iter_mut().for_each(|b| *b = b.min(STEEP * middle));
    }
}

/// Flops of a pass over rows with so many numbers other than 0 each.
fn cost(how: &Nmf, filled: f64, rows: usize, cols: usize) -> f64 {
    let k = how.k as f64;
    4.0 * filled * rows as f64 * k + 2.0 * (how.sweeps * (rows + cols)) as f64 * k * k
}

/// Sweeps over the weights and over the atoms in each pass: about as many as cost no more than the product that they follow
/// (Gillis & Glineur 2012), and no more than asked for. They follow from the numbers other than 0, so that sparse and dense
/// rows of the same data take the same way. Plain coordinate descent takes all that were asked for.
fn sweeps(how: &Nmf, filled: f64, shape: Shape) -> [usize; 2] {
    if how.way() != NmfSolver::Accelerated {
        return [how.sweeps; 2];
    }
    let each = |filled: f64| how.sweeps.min(1 + (filled / how.k as f64) as usize);
    [each(filled), each(filled * shape.rows as f64 / shape.cols as f64)]
}

/// The state before the first pass, from a start of its own.
fn cold(how: &Nmf, sample: &Rows, shape: Shape, restart: usize) -> Result<NmfState> {
    let (d, k) = (sample.cols(), how.k);
    let (known, full, guessed);
    let (sample, mean) = if how.masked() {
        known = how.missing.weigh(sample);
        let total: f64 = known.x.values().iter().zip(known.v.iter()).map(|(&x, &v)| f64::from(v) * f64::from(x).abs()).sum();
        let counted = known.total();
        // Starts look at every number: what is unknown of dense rows is guessed from the rest, of sparse rows it stays 0.
        let rows = if matches!(sample, Rows::Dense(_)) {
            full = known.filled();
            guessed = full.view();
            &guessed
        } else {
            &known.x
        };
        (rows, if counted > 0.0 { total / counted } else { 0.0 })
    } else {
        let total: f64 = sample.values().iter().map(|&v| f64::from(v).abs()).sum();
        (sample, total / (sample.rows() * d) as f64)
    };
    if mean > 0.0 && mean < SMALLEST {
        return Err(Error::data(format!(
            "the mean of the data is {mean:e}, and products of numbers below {SMALLEST:e} underflow; multiply the data by a constant"
        )));
    }
    let scale = scale_for(mean);
    // Data of zeros has no scale of its own; any start is as good as another.
    let mean = if mean > 0.0 { mean * f64::from(scale) } else { 1.0 };
    let root = scale.sqrt();
    let number = |a: usize| ((restart as u64) << 32) + a as u64;
    let mut project = Mat::default();
    let h = match (how.init, &how.given) {
        (NmfInit::Given, Some(h)) => Mat { data: h.data.iter().map(|v| v * root).collect(), ..*h },
        (NmfInit::Random | NmfInit::Given, _) => {
            let mut h = Mat::zeros(k, d);
            for a in 0..k {
                random(h.row_mut(a), how.seed, stream::INIT, number(a), (mean / k as f64).sqrt());
            }
            if how.signed {
                let mut r = rng(how.seed, stream::INIT, number(k));
                h.data.iter_mut().filter(|_| r.uniform() < 0.5).for_each(|v| *v = -*v);
            }
            h
        }
        (NmfInit::KMeans | NmfInit::Spa | NmfInit::Snpa, _) => {
            let (mut h, unit) = match how.init {
                NmfInit::KMeans => (centres(how, sample, scale, shape, restart)?, 1.0 / root),
                init => (separable::rows(sample, &separable::corners(sample, k, init == NmfInit::Snpa)?), root),
            };
            h.data.iter_mut().for_each(|v| *v *= unit);
            h
        }
        _ => {
            let (mut h, p) = nndsvd(sample, k, scale, how.seed)?;
            project = p;
            for a in 0..k {
                fill_zeros(how.init, h.row_mut(a), how.seed, stream::INIT, number(a), mean);
            }
            h
        }
    };
    let mut state = NmfState {
        h: h.transpose(),
        gram: Vec::new(),
        sums: Vec::new(),
        pass: 0,
        weight: vec![1.0; k],
        scale,
        mean,
        totals: [0.0; 3],
        likelihood: None,
        project,
        at: Mat::default(),
        pace: Pace::default(),
        caution: Caution::default(),
        last: Mat::default(),
        damp: 1.0,
        thin: false,
        columns: Vec::new(),
        running: Running::default(),
        rows: shape.rows as u64,
        restart: restart as u64,
        warm: false,
        first_gradient: 0.0,
        sweeps: [how.sweeps; 2],
    };
    constraint::begin(how, &mut state);
    if how.unit_sums() {
        state.unit_sums();
    }
    state.smooth(how.theta);
    state.derive();
    Ok(state)
}

/// First weights (n×k) of rows `first..`.
pub(super) fn weights(how: &Nmf, state: &NmfState, x: &Rows, first: u64, w: &mut [f32]) {
    let k = how.k;
    if state.warm {
        // They are solved for.
        return w.fill(0.0);
    }
    let size = (state.mean / k as f64).sqrt();
    if state.project.rows > 0 {
        let p = Packed::new(&state.project.data, k);
        let take = super::take(x.rows());
        w.par_chunks_mut(take * k).enumerate().for_each(|(i, w)| {
            product::rows_times(w, &x.slice(i * take, i * take + w.len() / k), &p);
        });
    }
    w.par_chunks_exact_mut(k).enumerate().for_each(|(i, w)| {
        // No data has 2^48 rows, so every restart has numbers of its own.
        let number = (state.restart << 48) + first + i as u64;
        match how.init {
            NmfInit::Random => random(w, how.seed, stream::CODES, number, size),
            // Squared error: the first sweep finds them from nothing. Products need something to multiply.
            NmfInit::Given | NmfInit::KMeans | NmfInit::Spa | NmfInit::Snpa => {
                w.fill(if how.multiplies() { size as f32 } else { 0.0 });
            }
            NmfInit::Nndsvd | NmfInit::Nndsvda | NmfInit::Nndsvdar => {
                for (a, w) in w.iter_mut().enumerate() {
                    let v = *w * state.scale;
                    let v = if a == 0 { v.abs() } else { v };
                    *w = if v < ZERO { 0.0 } else { v };
                }
                fill_zeros(how.init, w, how.seed, stream::CODES, number, state.mean);
            }
        }
    });
}

/// Centres of clusters of these rows times `scale` (k×d).
fn centres(how: &Nmf, sample: &Rows, scale: f32, shape: Shape, restart: usize) -> Result<Mat> {
    let vq = Vq { k: how.k, seed: how.seed, ..Vq::default() };
    let mut scaled = sample.every(1);
    let values = match &mut scaled {
        Rows::Dense(x) => x.data.to_mut(),
        Rows::Sparse(x) => x.values.to_mut(),
    };
    values.iter_mut().for_each(|v| *v *= scale);
    let sample = &scaled;
    vq.accept(sample, 0)?;
    let mut state = vq.init(sample, shape, restart)?;
    let mut memo = vec![0f32; sample.rows() * vq.memo().width()];
    for _ in 0..LLOYD {
        let mut sums = vq.zero(&state);
        vq.observe(&state, sample, 0, &mut memo, &mut sums)?;
        if vq.update(&mut state, sums)?.done {
            break;
        }
    }
    Ok(vq.model(state)?.atoms)
}

/// H (k×d) and the projection (d×k) from which weights follow, both for the data times `scale`.
fn nndsvd(x: &Rows, k: usize, scale: f32, seed: u64) -> Result<(Mat, Mat)> {
    let (n, d) = (x.rows(), x.cols());
    let (values, v) = if n.min(d) <= SHORT { linalg::svd_top(x, k, seed)? } else { leading(x, k, seed)? };
    let (mut h, mut project) = (Mat::zeros(k, d), Mat::zeros(k, d));
    let xv = linalg::rows_times_t(x, &v);
    let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    for (a, &value) in values.iter().enumerate() {
        let sigma = value * f64::from(scale);
        if sigma <= 0.0 || value <= 1e-7 * values[0] {
            continue;
        }
        let u = |i: usize| (f64::from(xv.data[i * v.rows + a]) / value) as f32;
        let size = |sign: f32| {
            let of_u = norm(&mut (0..n).map(|i| (sign * u(i)).max(0.0)));
            (of_u, norm(&mut v.row(a).iter().map(|v| (sign * v).max(0.0))))
        };
        let (up, down) = (size(1.0), size(-1.0));
        let (sign, (of_u, of_v)) = if up.0 * up.1 > down.0 * down.1 { (1f32, up) } else { (-1f32, down) };
        // The first pair is taken whole, by absolute value.
        let (of_u, of_v) = if a == 0 { (1.0, 1.0) } else { (of_u, of_v) };
        let part = (sigma * of_u * of_v).sqrt();
        if part <= 0.0 {
            continue;
        }
        for ((h, p), &v) in h.row_mut(a).iter_mut().zip(project.row_mut(a)).zip(v.row(a)) {
            let kept = if a == 0 { v.abs() } else { (sign * v).max(0.0) };
            let to = (part / of_v * f64::from(kept)) as f32;
            *h = if to < ZERO { 0.0 } else { to };
            *p = (f64::from(sign * v) * part / (sigma * of_u)) as f32;
        }
    }
    Ok((h, project.transpose()))
}

/// The k leading singular values of rows, about, and their right vectors (k×d): a random range, improved by two power steps
/// (Halko, Martinsson & Tropp 2011, algorithm 4.4), all in f32 products.
fn leading(x: &Rows, k: usize, seed: u64) -> Result<(Vec<f64>, Mat)> {
    const EXTRA: usize = 10;
    const STEPS: usize = 2;
    let (n, d) = (x.rows(), x.cols());
    let l = (k + EXTRA).min(n).min(d);
    let scale = 1.0 / (x.values().iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / (n * d) as f64).sqrt().max(1e-300);
    let times = |z: &[f32]| {
        let z = Packed::new(z, l);
        let mut y = vec![0f32; n * l];
        let take = super::take(n);
        y.par_chunks_mut(take * l).enumerate().for_each(|(i, y)| {
            product::rows_times(y, &x.slice(i * take, i * take + y.len() / l), &z);
            y.iter_mut().for_each(|y| *y = (f64::from(*y) * scale) as f32);
        });
        y
    };
    let mut z = vec![0f32; d * l];
    z.par_chunks_exact_mut(l).enumerate().for_each(|(j, z)| {
        let mut r = rng(seed, stream::INIT, (1 << 63) + j as u64);
        z.iter_mut().for_each(|z| *z = r.normal() as f32);
    });
    let mut y = times(&z);
    for _ in 0..STEPS {
        orthonormalise(&mut y, l)?;
        let mut sums = vec![0f64; d * l];
        product::add_transposed(&mut sums, x, &y, l, scale);
        z.iter_mut().zip(&sums).for_each(|(z, &s)| *z = s as f32);
        orthonormalise(&mut z, l)?;
        y = times(&z);
    }
    let mut gram = vec![0f64; l * l];
    product::add_gram(&mut gram, &y, l);
    let (squares, turn) = linalg::eigh(&gram, l)?;
    let turn = Mat { rows: k, cols: l, data: turn[..k].concat().iter().map(|&v| v as f32).collect() };
    let v = linalg::rows_times_t(&Rows::dense(l, &z), &turn).transpose();
    Ok((squares[..k].iter().map(|s| s.max(0.0).sqrt() / scale).collect(), v))
}

/// Makes the columns of y (n×l) orthonormal, by the eigenvectors of their Gram matrix; directions that f32 can't tell from nothing
/// become zeros.
fn orthonormalise(y: &mut Vec<f32>, l: usize) -> Result<()> {
    const NOTHING: f64 = 1e-7;
    let mut gram = vec![0f64; l * l];
    product::add_gram(&mut gram, y, l);
    let (values, vectors) = linalg::eigh(&gram, l)?;
    let mut turn = Mat::zeros(l, l);
    for (a, (value, vector)) in values.iter().zip(&vectors).enumerate() {
        if *value > NOTHING * values[0] && *value > 0.0 {
            turn.row_mut(a).iter_mut().zip(vector).for_each(|(t, v)| *t = (v / value.sqrt()) as f32);
        }
    }
    *y = linalg::rows_times_t(&Rows::dense(l, y), &turn).data;
    Ok(())
}

fn random(row: &mut [f32], seed: u64, stream: u64, number: u64, size: f64) {
    let mut r = rng(seed, stream, number);
    for v in row {
        *v = (r.normal().abs() * size) as f32;
    }
}

/// What `nndsvda` and `nndsvdar` put in place of zeros: the mean, or up to a few hundredths of it.
fn fill_zeros(init: NmfInit, row: &mut [f32], seed: u64, stream: u64, number: u64, mean: f64) {
    let mut r = rng(seed, stream, number);
    for v in row.iter_mut() {
        let fill = match init {
            NmfInit::Nndsvda => mean,
            NmfInit::Nndsvdar => mean * r.normal().abs() / 100.0,
            _ => return,
        };
        if *v == 0.0 {
            *v = fill as f32;
        }
    }
}

/// The power of 4 that brings a mean closest to 1; within 2^±100. Multiplying by it is exact, and so is its root.
fn scale_for(mean: f64) -> f32 {
    if mean <= 0.0 {
        return 1.0;
    }
    let half = (-mean.log2() / 2.0).round().clamp(-50.0, 50.0);
    4f64.powi(half as i32) as f32
}
