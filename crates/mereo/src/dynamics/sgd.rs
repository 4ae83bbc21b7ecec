//! Online stochastic gradient descent: one fresh sample a step.
//!
//! A step is two products with x and three with the residual, 10KD flops, and D normals; for K = 2 and D = 500 all of it stays in the first cache. Samples are
//! drawn beside the steps, by a thread of their own where there are two. [`super::fast`] takes the steps of up to four untied units of plain descent; [`Net`] all others, and is its reference.

use super::averages::Averages;
use super::fast::{self, Fast};
use super::path::{Ended, Path, Point, followed, overlaps, span};
use super::{Dynamics, Population, Rule, Start};
use crate::error::{Error, Result};
use crate::linalg::{self, mul64};
use crate::mat::Mat;
use crate::rng::{Rng, rng};
use pulp::{Simd, WithSimd};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

/// Partial sums of an inner product.
const LANES: usize = 16;
/// Samples that are drawn at a time.
const BLOCK: usize = 64;
/// Beyond so many spikes samples are made by one product for a whole block.
const FEW: usize = 32;
/// Streams of random numbers of this module: samples, and which row is seen.
const SAMPLES: u64 = 101;
const PICKS: u64 = 102;
/// An error this much larger than the first one is no course of learning.
const BEYOND: f64 = 1e3;

/// What is learned from.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// Gaussian samples of the population; errors are those of the population, in closed form.
    Gaussian,
    /// Rows drawn with replacement; errors are measured on `test`.
    Rows {
        /// Rows to learn from (n × D).
        train: &'a Mat,
        /// Rows that errors are measured on (m × D).
        test: &'a Mat,
    },
    /// Fresh samples of any kind; errors are measured on `test`.
    Fresh {
        /// Fills rows (· × D) with samples.
        make: &'a Make<'a>,
        /// Rows that errors are measured on (m × D).
        test: &'a Mat,
    },
}

/// Fills rows with samples.
pub type Make<'a> = dyn Fn(&mut [f64], &mut Rng) + Sync + 'a;

/// Learning by online gradient descent, from first weights on. `data` is the population that is sampled, or that of the rows. `watch` sees every point and may
/// end the run.
///
/// A learning rate that is too high ends it as [`Ended::Diverged`], with the weights of the last good point.
///
/// # Errors
/// Parameters out of range, data of infinite D, sizes that don't fit, rows that are not finite.
pub fn simulate(
    how: &Dynamics,
    data: &Population,
    input: Input,
    start: &Start,
    watch: &mut dyn FnMut(&Point) -> ControlFlow<()>,
) -> Result<Path> {
    how.check(data)?;
    let Some(d) = data.cols() else {
        return Err(Error::parameter(
            "infinitely many dimensions can't be sampled; set d to a number, or integrate the equations",
        ));
    };
    if start.w.len() != how.k * d || start.v.len() != how.k * d {
        return Err(Error::parameter(format!("the first weights do not fit {} units of {d} columns", how.k)));
    }
    let given = match input {
        Input::Gaussian => vec![],
        Input::Rows { train, test } => vec![train, test],
        Input::Fresh { test, .. } => vec![test],
    };
    for x in given {
        if x.rows == 0 || x.cols != d {
            return Err(Error::data(format!("{} rows of {} columns do not fit a population of {d} columns", x.rows, x.cols)));
        }
        crate::source::check_finite(&x.view(), 0)?;
    }
    let clock = Instant::now();
    let draw = Draw { input, data, d, wide: d.next_multiple_of(fast::RUN), seed: how.seed };
    // Within a pool other runs want the other threads.
    let mut path = if rayon::current_num_threads() > 1 && rayon::current_thread_index().is_none() {
        std::thread::scope(|scope| {
            let ((send, receive), (give, take)) = (sync_channel(2), sync_channel(4));
            let draw = &draw;
            // It ends when nobody listens any more.
            scope.spawn(move || (0..).try_for_each(|block| send.send(draw.block(block, take.try_recv().unwrap_or_default()))));
            course(how, data, input, start, &mut Ahead { receive, give, next: 0, draw }, watch)
        })
    } else {
        course(how, data, input, start, &mut Now { draw: &draw, next: 0 }, watch)
    };
    path.seconds = clock.elapsed().as_secs_f64();
    Ok(path)
}

/// Where blocks of samples come from, one after the other.
trait Blocks {
    /// The next one; `used` is done with.
    fn next(&mut self, used: Vec<f64>) -> Vec<f64>;
}

/// Drawn when they are wanted.
struct Now<'a> {
    draw: &'a Draw<'a>,
    next: u64,
}

impl Blocks for Now<'_> {
    fn next(&mut self, used: Vec<f64>) -> Vec<f64> {
        self.next += 1;
        self.draw.block(self.next - 1, used)
    }
}

/// Drawn ahead by another thread.
struct Ahead<'a> {
    receive: Receiver<Vec<f64>>,
    give: SyncSender<Vec<f64>>,
    next: u64,
    draw: &'a Draw<'a>,
}

impl Blocks for Ahead<'_> {
    fn next(&mut self, used: Vec<f64>) -> Vec<f64> {
        self.next += 1;
        // A block that does not come back is made anew there.
        let _ = self.give.try_send(used);
        // The other thread has ended only if it failed: what it would have drawn is drawn here.
        self.receive.recv().unwrap_or_else(|_| self.draw.block(self.next - 1, Vec::new()))
    }
}

/// Learns, and looks at all times.
fn course(
    how: &Dynamics,
    data: &Population,
    input: Input,
    start: &Start,
    blocks: &mut dyn Blocks,
    watch: &mut dyn FnMut(&Point) -> ControlFlow<()>,
) -> Path {
    let d = start.w.len() / how.k;
    let wide = d.next_multiple_of(fast::RUN);
    let mut net = Net::new(how, start, d);
    let quick = how.rule == Rule::Vanilla && !how.tied && how.weight_decay == 0.0 && how.k <= fast::UNITS;
    let mut quick = quick.then(|| Fast::new(&net.w, &net.v, how.k, d));
    let mut points = vec![net.point(how, data, input, 0.0)];
    let mut ended = Ended::Whole;
    let limit = BEYOND * points[0].error.abs();
    if watch(&points[0]).is_break() {
        ended = Ended::Stopped;
    }
    let mut good = net.clone();
    let mut done = 0u64;
    let (mut block, mut from) = (Vec::new(), 0);
    for s in how.times().into_iter().skip(1) {
        if ended != Ended::Whole {
            break;
        }
        let until = (s * d as f64).round().max(1.0) as u64;
        if until == done {
            continue;
        }
        let mut fine = true;
        while done < until && fine {
            if from == block.len() {
                (block, from) = (blocks.next(block), 0);
            }
            let count = ((until - done) as usize).min((block.len() - from) / wide);
            let x = &block[from..from + count * wide];
            fine = match &mut quick {
                Some(quick) => quick.steps(how, x, wide, &mut net.b),
                None => pulp::Arch::new().dispatch(Steps { net: &mut net, how, x, wide }),
            };
            from += count * wide;
            done += count as u64;
        }
        if let Some(quick) = &quick {
            quick.store(&mut net.w, &mut net.v);
        }
        let point = net.point(how, data, input, done as f64 / d as f64);
        if !fine || !point.error.is_finite() || point.error > limit {
            ended = Ended::Diverged { s: points.last().map_or(0.0, |p: &Point| p.s) };
            break;
        }
        good.clone_from(&net);
        points.push(point);
        if points.last().is_some_and(|p| watch(p).is_break()) && s < how.until {
            ended = Ended::Stopped;
        }
    }
    let (w, v) = good.weights(how);
    Path { points, ended, w, v, seconds: 0.0, steps: done }
}

/// Samples, block by block.
struct Draw<'a> {
    input: Input<'a>,
    data: &'a Population,
    d: usize,
    /// D and zeros up to here.
    wide: usize,
    seed: u64,
}

impl Draw<'_> {
    /// Samples of a block ([`BLOCK`] × `wide`), in what an earlier one took.
    fn block(&self, block: u64, mut x: Vec<f64>) -> Vec<f64> {
        let (d, wide) = (self.d, self.wide);
        x.clear();
        x.resize(BLOCK * wide, 0.0);
        match self.input {
            Input::Rows { train, .. } => {
                let mut r = rng(self.seed, PICKS, block);
                for x in x.chunks_exact_mut(wide) {
                    let row = train.row(r.below(train.rows));
                    x.iter_mut().zip(row).for_each(|(x, v)| *x = f64::from(*v));
                }
            }
            Input::Fresh { make, .. } => {
                let mut made = vec![0.0; BLOCK * d];
                make(&mut made, &mut rng(self.seed, SAMPLES, block));
                x.chunks_exact_mut(wide).zip(made.chunks_exact(d)).for_each(|(x, made)| x[..d].copy_from_slice(made));
            }
            Input::Gaussian => gaussian(&mut x, wide, self.data, d, &mut rng(self.seed, SAMPLES, block)),
        }
        x
    }
}

/// Fills rows (· × `wide`, of which d are samples) with samples of a population.
fn gaussian(x: &mut [f64], wide: usize, data: &Population, d: usize, r: &mut Rng) {
    let (m, low) = (data.shares().len(), data.bulk_share());
    let (size, rows) = (d as f64, x.len() / wide);
    let root = |share: f64| (share * size).max(0.0).sqrt();
    let mut z = vec![0.0; rows * m];
    r.normals(&mut z);
    // Of many spikes those of all samples at once, and the bulk, if there is one, on top.
    let spikes = (m > FEW).then(|| {
        for z in z.chunks_exact_mut(m) {
            z.iter_mut().zip(data.shares()).for_each(|(z, share)| *z *= root(share - low));
        }
        mul64(&z, data.axes(), (rows, m, d))
    });
    let mut noise = vec![0.0; d];
    for (i, x) in x.chunks_exact_mut(wide).enumerate() {
        let x = &mut x[..d];
        if let Some(spikes) = &spikes {
            x.copy_from_slice(&spikes[i * d..(i + 1) * d]);
            if low > 0.0 {
                r.normals(&mut noise);
                x.iter_mut().zip(&noise).for_each(|(x, n)| *x += root(low) * n);
            }
            continue;
        }
        r.normals(&mut noise);
        pulp::Arch::new().dispatch(Spikes { x, noise: &noise, data, z: &z[i * m..(i + 1) * m] });
    }
}

/// White noise of variance 1 becomes a sample: it is scaled, and spikes are added.
struct Spikes<'a> {
    x: &'a mut [f64],
    noise: &'a [f64],
    data: &'a Population,
    z: &'a [f64],
}

impl WithSimd for Spikes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, noise, data, z } = self;
        simd.vectorize(
            #[inline(always)]
            || {
                let (d, low) = (x.len(), data.bulk_share());
                let root = |share: f64| (share * d as f64).max(0.0).sqrt();
                let scale = root(low);
                x.iter_mut().zip(noise).for_each(|(x, n)| *x = scale * n);
                for ((axis, share), z) in data.axes().chunks_exact(d).zip(data.shares()).zip(z) {
                    add(x, root(share - low) * z, axis);
                }
            },
        );
    }
}

/// [`Net::steps`] with the vectors of this machine.
struct Steps<'a> {
    net: &'a mut Net,
    how: &'a Dynamics,
    x: &'a [f64],
    wide: usize,
}

impl WithSimd for Steps<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        simd.vectorize(
            #[inline(always)]
            || self.net.steps(self.how, self.x, self.wide),
        )
    }
}

/// out += a x
#[inline(always)]
fn add(out: &mut [f64], a: f64, x: &[f64]) {
    for (o, x) in out.iter_mut().zip(x) {
        *o += a * x;
    }
}

#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let ((a, a_left), (b, b_left)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            sums[i] += a[i] * b[i];
        }
    }
    let left: f64 = a_left.iter().zip(b_left).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + left
}

/// The inner product with what `v` is, which moves by `a r` meanwhile.
#[inline(always)]
fn dot_then_add(v: &mut [f64], a: f64, r: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let ((v, v_left), (r, r_left)) = (v.as_chunks_mut::<LANES>(), r.as_chunks::<LANES>());
    for (v, r) in v.iter_mut().zip(r) {
        for i in 0..LANES {
            sums[i] += v[i] * r[i];
            v[i] += a * r[i];
        }
    }
    let mut left = 0.0;
    for (v, r) in v_left.iter_mut().zip(r_left) {
        left += *v * r;
        *v += a * r;
    }
    sums.iter().sum::<f64>() + left
}

/// Weights that learn.
#[derive(Clone)]
struct Net {
    d: usize,
    /// Encoders (K × D).
    w: Vec<f64>,
    /// Decoders (K × D); unused if they are made of encoders.
    v: Vec<f64>,
    /// Biases (K).
    b: Vec<f64>,
    /// What is left of a sample.
    r: Vec<f64>,
    /// g and g′ of the units, for a sample.
    g: Vec<(f64, f64)>,
}

impl Net {
    fn new(how: &Dynamics, start: &Start, d: usize) -> Self {
        let k = how.k;
        Self { d, w: start.w.clone(), v: start.v.clone(), b: vec![0.0; k], r: vec![0.0; d], g: vec![(0.0, 0.0); k] }
    }

    /// Learns from samples (· × `wide`, of which D are theirs); false once nothing is finite any more.
    #[inline(always)]
    fn steps(&mut self, how: &Dynamics, x: &[f64], wide: usize) -> bool {
        for x in x.chunks_exact(wide) {
            let x = &x[..self.d];
            match how.rule {
                Rule::Sanger => self.sanger(how, x),
                _ if how.tied => self.tied(how, x),
                Rule::Truncated => self.truncated(how, x),
                Rule::Vanilla => self.vanilla(how, x),
            }
            if how.weight_decay > 0.0 {
                let kept = 1.0 - how.weight_decay / self.d as f64;
                self.w.iter_mut().chain(&mut self.v).for_each(|w| *w *= kept);
            }
        }
        dot(&self.w, &self.w).is_finite() && dot(&self.v, &self.v).is_finite()
    }

    #[inline(always)]
    fn units(&mut self, how: &Dynamics, x: &[f64]) {
        let root = (self.d as f64).sqrt();
        for (g, (w, b)) in self.g.iter_mut().zip(self.w.chunks_exact(self.d).zip(&self.b)) {
            *g = how.activation.of((dot(w, x) + b) / root);
        }
    }

    #[inline(always)]
    fn vanilla(&mut self, how: &Dynamics, x: &[f64]) {
        let (d, size, eta) = (self.d, self.d as f64, how.eta);
        self.units(how, x);
        self.r.copy_from_slice(x);
        for (v, g) in self.v.chunks_exact(d).zip(&self.g) {
            add(&mut self.r, -g.0, v);
        }
        for k in 0..how.k {
            let (g, slope) = self.g[k];
            let back = dot_then_add(&mut self.v[k * d..(k + 1) * d], eta / size * g, &self.r) / size * slope;
            add(&mut self.w[k * d..(k + 1) * d], eta / size / size.sqrt() * back, x);
            if how.bias {
                self.b[k] += eta / size.sqrt() * back;
            }
        }
    }

    #[inline(always)]
    fn truncated(&mut self, how: &Dynamics, x: &[f64]) {
        let (d, size, eta) = (self.d, self.d as f64, how.eta);
        self.units(how, x);
        self.r.copy_from_slice(x);
        for k in 0..how.k {
            let (g, slope) = self.g[k];
            let v = &mut self.v[k * d..(k + 1) * d];
            add(&mut self.r, -g, v);
            let back = dot_then_add(v, eta / size * g, &self.r) / size * slope;
            // What the next unit sees is left by the decoder as it was.
            add(&mut self.w[k * d..(k + 1) * d], eta / size / size.sqrt() * back, x);
            if how.bias {
                self.b[k] += eta / size.sqrt() * back;
            }
        }
    }

    #[inline(always)]
    fn tied(&mut self, how: &Dynamics, x: &[f64]) {
        let (d, size, eta) = (self.d, self.d as f64, how.eta);
        self.units(how, x);
        self.r.copy_from_slice(x);
        for (w, g) in self.w.chunks_exact(d).zip(&self.g) {
            add(&mut self.r, -g.0, w);
        }
        for k in 0..how.k {
            let (g, slope) = self.g[k];
            let w = &mut self.w[k * d..(k + 1) * d];
            let back = dot_then_add(w, eta / size * g, &self.r) * slope;
            add(w, eta / size / size.sqrt() * back, x);
            if how.bias {
                self.b[k] += eta / size / size.sqrt() * back;
            }
        }
    }

    #[inline(always)]
    fn sanger(&mut self, how: &Dynamics, x: &[f64]) {
        let (d, size) = (self.d, self.d as f64);
        self.units(how, x);
        self.r.iter_mut().zip(x).for_each(|(r, x)| *r = x / size.sqrt());
        for (w, g) in self.w.chunks_exact_mut(d).zip(&self.g) {
            add(&mut self.r, -g.0, w);
            add(w, how.eta / size * g.0, &self.r);
        }
    }

    /// Encoders and decoders (K × D).
    fn weights(self, how: &Dynamics) -> (Vec<f64>, Vec<f64>) {
        let v = self.decoders(how);
        (self.w, v)
    }

    fn decoders(&self, how: &Dynamics) -> Vec<f64> {
        match how.rule {
            Rule::Sanger => self.w.iter().map(|w| w * (self.d as f64).sqrt()).collect(),
            _ if how.tied => self.w.clone(),
            _ => self.v.clone(),
        }
    }

    fn point(&self, how: &Dynamics, data: &Population, input: Input, s: f64) -> Point {
        let (k, d, size) = (how.k, self.d, self.d as f64);
        let v = self.decoders(how);
        let (m, shares, low) = (data.shares().len(), data.shares(), data.bulk_share());
        let along = |rows: &[f64]| -> Vec<f64> {
            rows.chunks_exact(d).flat_map(|row| data.axes().chunks_exact(d).map(move |axis| dot(row, axis))).collect()
        };
        let (aw, av) = (along(&self.w), along(&v));
        let rows = |x: &[f64], y: &[f64]| -> Vec<f64> {
            x.chunks_exact(d).flat_map(|a| y.chunks_exact(d).map(move |b| dot(a, b))).collect()
        };
        // aᵀΩb/D: by the spikes, and the bulk on all that is left.
        let by_omega = |x: &[f64], y: &[f64], whole: &[f64]| -> Vec<f64> {
            (0..k * k)
                .map(|i| {
                    let pairs = x[i / k * m..][..m].iter().zip(&y[i % k * m..][..m]).zip(shares);
                    low * whole[i] + pairs.map(|((a, b), share)| (share - low) * a * b).sum::<f64>()
                })
                .collect()
        };
        let (ww, vw, vv) = (rows(&self.w, &self.w), rows(&v, &self.w), rows(&v, &v));
        let over = |x: Vec<f64>, by: f64| x.into_iter().map(|v| v / by).collect::<Vec<_>>();
        let q = by_omega(&aw, &aw, &ww);
        let r = over(by_omega(&av, &aw, &vw), size.sqrt());
        let (t0, t1) = (over(vv.clone(), size), over(by_omega(&av, &av, &vv), size));
        let biases: Vec<f64> = self.b.iter().map(|b| b / size.sqrt()).collect();
        let error = match input {
            Input::Gaussian => {
                let mut g = Averages::default();
                g.set(how.activation, &q, &biases);
                super::theory::error(data.variance(), &t0, &r, &g, k)
            }
            Input::Rows { test, .. } | Input::Fresh { test, .. } => self.error_on(how, &v, test),
        };
        let f = followed(data, k);
        let first = |rows: &[f64]| rows.chunks_exact(m.max(1)).flat_map(|row| row[..f].to_vec()).collect::<Vec<_>>();
        let squares = |rows: &[f64]| (0..k).map(|a| rows[a * k + a]).collect::<Vec<_>>();
        let (fw, fv) = (first(&aw), first(&av));
        Point {
            s,
            error,
            encoders: over(squares(&ww), size),
            encoder_overlaps: overlaps(&fw, &squares(&ww), f),
            decoder_overlaps: overlaps(&fv, &squares(&vv), f),
            span: span(&fv, &vv, k, f),
            q,
            r,
            t0,
            t1,
            biases,
        }
    }

    /// ℰ on rows.
    fn error_on(&self, how: &Dynamics, v: &[f64], x: &Mat) -> f64 {
        let d = self.d;
        let single = |rows: &[f64]| Mat { rows: how.k, cols: d, data: rows.iter().map(|&w| w as f32).collect() };
        let mut codes = linalg::rows_times_t(&x.view(), &single(&self.w));
        let root = (d as f64).sqrt();
        for code in codes.data.chunks_exact_mut(how.k) {
            code.iter_mut().zip(&self.b).for_each(|(z, b)| *z = how.activation.of((f64::from(*z) + b) / root).0 as f32);
        }
        let back = linalg::rows_times(&codes.view(), &single(v));
        let squares: f64 = x.data.iter().zip(&back.data).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
        0.5 * squares / x.data.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamics::Activation;

    #[test]
    fn quick_steps_are_the_plain_ones() {
        for (d, k, bias, activation) in [
            (50usize, 1, false, Activation::Erf),
            (64, 2, true, Activation::Erf),
            (37, 3, true, Activation::Relu),
            (20, 4, false, Activation::Linear),
        ] {
            let data = Population::spectrum(d as f64, &[0.6, 0.3], 0.1, 1).expect("population");
            let how = Dynamics { k, bias, activation, eta: 0.5, ..Dynamics::default() };
            let start = how.start(&data).expect("start");
            let wide = d.next_multiple_of(fast::RUN);
            let draw = Draw { input: Input::Gaussian, data: &data, d, wide, seed: 0 };
            let (mut plain, mut net) = (Net::new(&how, &start, d), Net::new(&how, &start, d));
            let mut quick = Fast::new(&net.w, &net.v, k, d);
            for block in 0..3 {
                let x = draw.block(block, Vec::new());
                assert!(plain.steps(&how, &x, wide));
                // In pieces, as between two times that are looked at.
                for x in x.chunks(5 * wide) {
                    assert!(quick.steps(&how, x, wide, &mut net.b));
                }
            }
            quick.store(&mut net.w, &mut net.v);
            for (a, b) in [(&plain.w, &net.w), (&plain.v, &net.v), (&plain.b, &net.b)] {
                let off = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(off < 1e-12, "D = {d}, K = {k}: {off:e}");
            }
            assert_ne!(plain.w, start.w);
        }
    }

    #[test]
    fn samples_drawn_ahead_are_the_same() {
        let data = Population::spectrum(30.0, &[0.6, 0.3], 0.1, 1).expect("population");
        let how = Dynamics { until: 20.0, points: 5, ..Dynamics::default() };
        let start = how.start(&data).expect("start");
        let run = || simulate(&how, &data, Input::Gaussian, &start, &mut |_| ControlFlow::Continue(())).expect("run").points;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("pool");
        assert_eq!(run(), pool.install(run));
    }
}
