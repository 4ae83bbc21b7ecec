//! The order-parameter equations, in two forms, integrated with a step that adapts.
//!
//! With u = v/√D, shares ρ = λ/D of every coordinate τ, and averages by [`super::averages`]:
//!
//! u̇ᵏ = η [E g′ₖ ρ wᵏ − Σₐ E gₖgₐ uᵃ]
//! ẇᵏ = η ρ [E g′ₖ uᵏ + (E g‴ₖ Rᵏᵏ − Σₐ T₀ᵏᵃ E g″ₖgₐ) wᵏ − Σₐ T₀ᵏᵃ E g′ₖg′ₐ wᵃ]
//! β̇ᵏ = η [E g″ₖ Rᵏᵏ − Σₐ T₀ᵏᵃ E g′ₖgₐ]
//!
//! per coordinate; sums go over all a, or a ≤ k for the truncated rule. Tied weights w = √D u move by both, u̇ + √D ẇ, which needs a finite D: their
//! Q grows with it.
//!
//! The equations of w stiffen as T₀ grows, and a fixed step that is too long settles where it should not. So steps adapt: Dormand and Prince's
//! explicit method of order 8 of the `differential-equations` crate, whose steps shrink as 1 / η(1 + max T₀) in the end. (Its implicit methods, at version 0.7,
//! don't take states whose length is known at run time only; s = 3·10⁴ of two units takes half a second without.)

mod modes;

use super::averages::Averages;
use super::path::{Ended, Path, Point, followed, overlaps, span};
use super::{Begin, Dynamics, Population, Rule, Start};
use crate::error::{Error, Result};
use differential_equations::error::Error as Stop;
use differential_equations::methods::{DormandPrince, ExplicitRungeKutta, Ordinary};
use differential_equations::ode::{ODE, OrdinaryNumericalMethod};
use std::ops::ControlFlow;
use std::time::Instant;

/// Errors of a step, relative and absolute.
const TOLERANCE: (f64, f64) = (1e-11, 1e-14);
/// Steps between two points at most.
const STEPS: usize = 10_000_000;

/// How the equations are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Weights in the coordinates of the eigenvectors.
    #[default]
    Vectors,
    /// Products of coordinates, wτwτ, vτwτ and vτvτ, for every eigenvalue, as the paper writes them. Not for biases or tied weights.
    Modes,
}

/// Learning by the equations in the form of [`Form::Vectors`]. `watch` sees every point and may end the run.
///
/// # Errors
/// Parameters out of range, a start of other sizes, a step that can't be made.
pub fn integrate(
    how: &Dynamics,
    data: &Population,
    start: &Start,
    watch: &mut dyn FnMut(&Point) -> ControlFlow<()>,
) -> Result<Path> {
    integrate_as(Form::Vectors, how, data, Some(start), watch)
}

/// Learning by the equations in a form. Without a start, the limit of many dimensions, where random weights are known by their sums: data of infinite D.
///
/// # Errors
/// As [`integrate`]; what the form or an infinite D has no equations for.
pub fn integrate_as(
    form: Form,
    how: &Dynamics,
    data: &Population,
    start: Option<&Start>,
    watch: &mut dyn FnMut(&Point) -> ControlFlow<()>,
) -> Result<Path> {
    how.check(data)?;
    let frame = Frame::new(how, data, start)?;
    if form == Form::Modes && data.cols().is_none() {
        return Err(Error::parameter(
            "the equations by modes divide by determinants that begin at 0 in infinitely many dimensions; use the form of vectors",
        ));
    }
    if form == Form::Modes && (how.bias || how.tied || how.rule == Rule::Sanger) {
        return Err(Error::parameter(
            "the equations by modes are of untied weights without biases, by descent; use the form of vectors",
        ));
    }
    let clock = Instant::now();
    let mut run = match form {
        Form::Vectors => {
            let system = Vectors { how, frame: &frame };
            let begin = system.begin();
            solve(how, &system, begin, watch, &|y, s| system.point(y, s), None)?
        }
        Form::Modes => {
            let system = modes::Modes::new(how, &frame);
            let begin = system.begin();
            let mend = |y: &mut [f64]| system.mend(y);
            solve(how, &system, begin, watch, &|y, s| system.point(y, s), Some((system.every(), &mend)))?
        }
    };
    let path = &mut run.path;
    path.seconds = clock.elapsed().as_secs_f64();
    if form == Form::Vectors {
        (path.w, path.v) = frame.weights(how, &run.y, data);
    }
    Ok(run.path)
}

/// Coordinates in which weights move: along the spikes, then along the span of what weights have in the bulk.
pub(super) struct Frame {
    /// D.
    dim: f64,
    /// Coordinates (C).
    pub c: usize,
    /// λ/D along each (C).
    pub rho: Vec<f64>,
    /// Encoders at first (K × C).
    pub w: Vec<f64>,
    /// Decoders at first, over √D (K × C).
    pub u: Vec<f64>,
    /// What Q has beside: of encoders that never move, where D is infinite (K × K).
    pub still: Vec<f64>,
    /// Σρ.
    variance: f64,
    /// Components that are followed; those of the first coordinates.
    followed: usize,
    /// Coordinates along spikes.
    spikes: usize,
    /// Unit vectors of the bulk that the last coordinates are along (C − M × D).
    bulk: Vec<f64>,
}

impl Frame {
    fn new(how: &Dynamics, data: &Population, start: Option<&Start>) -> Result<Self> {
        let (k, m, dim) = (how.k, data.shares().len(), data.dim());
        let mut frame = Self {
            dim,
            c: m,
            rho: data.shares().to_vec(),
            w: Vec::new(),
            u: Vec::new(),
            still: vec![0.0; k * k],
            variance: data.variance(),
            followed: followed(data, k),
            spikes: m,
            bulk: Vec::new(),
        };
        match (data.cols(), start) {
            (None, None) => frame.endless(how, data)?,
            (Some(d), Some(start)) if start.w.len() == k * d && start.v.len() == k * d => frame.finite(how, data, start, d),
            (Some(d), Some(start)) => {
                return Err(Error::parameter(format!(
                    "the first weights are {} and {} numbers where {k} units of {d} columns have {}",
                    start.w.len(),
                    start.v.len(),
                    k * d
                )));
            }
            (Some(_), None) => {
                return Err(Error::parameter("data of finitely many dimensions needs first weights; see Dynamics::start"));
            }
            (None, Some(_)) => {
                return Err(Error::parameter("weights have no numbers in infinitely many dimensions; leave the start out"));
            }
        }
        Ok(frame)
    }

    /// Random weights in infinitely many dimensions: only encoders along spikes are of any size by themselves.
    fn endless(&mut self, how: &Dynamics, data: &Population) -> Result<()> {
        let (k, m) = (how.k, self.spikes);
        if how.tied || how.begin == Begin::Informed || how.rule == Rule::Sanger {
            return Err(Error::parameter(
                "in infinitely many dimensions only untied weights from a random start have equations; set d to a number",
            ));
        }
        // K more coordinates of the bulk, of which decoder k has all along its own.
        self.c = m + k;
        self.rho.resize(self.c, 0.0);
        (self.w, self.u) = (vec![0.0; k * self.c], vec![0.0; k * self.c]);
        for a in 0..k {
            let mut r = crate::rng::rng(how.seed, crate::fold::stream::INIT, a as u64);
            r.normals(&mut self.w[a * self.c..][..m]);
            self.w[a * self.c..][..m].iter_mut().for_each(|w| *w *= how.scale);
            self.u[a * self.c + m + a] = how.scale;
            self.still[a * k + a] = data.bulk() * how.scale * how.scale;
        }
        Ok(())
    }

    fn finite(&mut self, how: &Dynamics, data: &Population, start: &Start, d: usize) {
        let (k, m) = (how.k, self.spikes);
        let root = (d as f64).sqrt();
        // Encoders, then decoders over √D, less what they have along the spikes.
        let mut rest: Vec<f64> = start.w.iter().copied().chain(start.v.iter().map(|v| v / root)).collect();
        let mut along = vec![0.0; 2 * k * m];
        for (rest, along) in rest.chunks_exact_mut(d).zip(along.chunks_exact_mut(m.max(1))) {
            for (axis, to) in data.axes().chunks_exact(d).zip(along) {
                *to = dot(rest, axis);
                let by = *to;
                rest.iter_mut().zip(axis).for_each(|(r, a)| *r -= by * a);
            }
        }
        let bulk = if m < d { basis(&rest, 2 * k, d) } else { Vec::new() };
        let more = bulk.len() / d;
        self.c = m + more;
        self.rho.resize(self.c, data.bulk_share());
        let rows = |of: std::ops::Range<usize>| -> Vec<f64> {
            of.flat_map(|a| {
                let own = along[a * m..(a + 1) * m].iter().copied();
                let rest = &rest[a * d..(a + 1) * d];
                own.chain(bulk.chunks_exact(d).map(|b| dot(rest, b))).collect::<Vec<_>>()
            })
            .collect()
        };
        (self.w, self.u) = (rows(0..k), rows(k..2 * k));
        self.bulk = bulk;
    }

    /// Weights in all D coordinates; empty if D is infinite.
    fn weights(&self, how: &Dynamics, y: &[f64], data: &Population) -> (Vec<f64>, Vec<f64>) {
        let Some(d) = data.cols() else { return (Vec::new(), Vec::new()) };
        let full = |rows: &[f64], by: f64| {
            let mut out = vec![0.0; how.k * d];
            for (out, row) in out.chunks_exact_mut(d).zip(rows.chunks_exact(self.c)) {
                for (axis, z) in data.axes().chunks_exact(d).chain(self.bulk.chunks_exact(d)).zip(row) {
                    out.iter_mut().zip(axis).for_each(|(o, a)| *o += by * z * a);
                }
            }
            out
        };
        let root = self.dim.sqrt();
        let numbers = how.k * self.c;
        if how.tied {
            let w = full(&y[..numbers], root);
            return (w.clone(), w);
        }
        if how.rule == Rule::Sanger {
            return (full(&y[..numbers], 1.0), full(&y[..numbers], root));
        }
        (full(&y[..numbers], 1.0), full(&y[numbers..2 * numbers], root))
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Orthonormal vectors that span the rows (n × d), by Gram and Schmidt twice over.
fn basis(rows: &[f64], n: usize, d: usize) -> Vec<f64> {
    let mut out: Vec<f64> = Vec::new();
    for row in rows.chunks_exact(d).take(n) {
        let whole = dot(row, row).sqrt();
        let mut row = row.to_vec();
        for _ in 0..2 {
            for b in out.chunks_exact(d) {
                let by = dot(&row, b);
                row.iter_mut().zip(b).for_each(|(r, b)| *r -= by * b);
            }
        }
        let left = dot(&row, &row).sqrt();
        if left > 1e-10 * whole && left > 0.0 {
            out.extend(row.iter().map(|r| r / left));
        }
    }
    out
}

/// Σ ρ aₖ bₗ over coordinates (K × K).
fn products(a: &[f64], b: &[f64], rho: Option<&[f64]>, k: usize, c: usize) -> Vec<f64> {
    let mut out = vec![0.0; k * k];
    for i in 0..k {
        for j in 0..k {
            let pairs = a[i * c..(i + 1) * c].iter().zip(&b[j * c..(j + 1) * c]);
            out[i * k + j] = match rho {
                Some(rho) => pairs.zip(rho).map(|((a, b), r)| a * b * r).sum(),
                None => pairs.map(|(a, b)| a * b).sum(),
            };
        }
    }
    out
}

/// ℰ from order parameters.
pub(super) fn error(variance: f64, t0: &[f64], r: &[f64], g: &Averages, k: usize) -> f64 {
    let pairs: f64 = t0.iter().zip(&g.gg).map(|(t, g)| t * g).sum();
    let singles: f64 = (0..k).map(|a| r[a * k + a] * g.d1[a]).sum();
    0.5 * (variance + pairs) - singles
}

/// The weights themselves.
struct Vectors<'a> {
    how: &'a Dynamics,
    frame: &'a Frame,
}

/// Order parameters of a state.
struct Orders {
    q: Vec<f64>,
    r: Vec<f64>,
    t0: Vec<f64>,
    g: Averages,
}

impl Vectors<'_> {
    /// Encoders (or, tied, decoders over √D), decoders over √D, and effective biases.
    fn begin(&self) -> Vec<f64> {
        let f = self.frame;
        let mut y = if self.how.tied { f.u.clone() } else { f.w.clone() };
        if !self.alone() {
            y.extend(&f.u);
        }
        if self.how.bias {
            y.resize(y.len() + self.how.k, 0.0);
        }
        y
    }

    /// Decoders are made of encoders.
    fn alone(&self) -> bool {
        self.how.tied || self.how.rule == Rule::Sanger
    }

    /// w, u and β of a state.
    fn parts<'y>(&self, y: &'y [f64]) -> (std::borrow::Cow<'y, [f64]>, &'y [f64], Vec<f64>) {
        let numbers = self.how.k * self.frame.c;
        let (first, rest) = y.split_at(numbers);
        let (u, rest) = if self.alone() { (first, rest) } else { rest.split_at(numbers) };
        let beta = if self.how.bias { rest.to_vec() } else { vec![0.0; self.how.k] };
        let w =
            if self.how.tied { first.iter().map(|u| u * self.frame.dim.sqrt()).collect::<Vec<_>>().into() } else { first.into() };
        (w, u, beta)
    }

    fn orders(&self, w: &[f64], u: &[f64], beta: &[f64]) -> Orders {
        let (k, f) = (self.how.k, self.frame);
        let mut q = products(w, w, Some(&f.rho), k, f.c);
        q.iter_mut().zip(&f.still).for_each(|(q, s)| *q += s);
        let r = products(u, w, Some(&f.rho), k, f.c);
        let t0 = products(u, u, None, k, f.c);
        let mut g = Averages::default();
        g.set(self.how.activation, &q, beta);
        Orders { q, r, t0, g }
    }

    fn point(&self, y: &[f64], s: f64) -> Point {
        let (k, f) = (self.how.k, self.frame);
        let (w, u, biases) = self.parts(y);
        let o = self.orders(&w, u, &biases);
        let m = f.followed;
        let first = |rows: &[f64]| rows.chunks_exact(f.c).flat_map(|row| row[..m].to_vec()).collect::<Vec<_>>();
        let (along_w, along_u) = (first(&w), first(u));
        let squares =
            |rows: &[f64]| (0..k).map(|a| dot(&rows[a * f.c..(a + 1) * f.c], &rows[a * f.c..(a + 1) * f.c])).collect::<Vec<_>>();
        // In infinitely many dimensions encoders are of the length that they began with, and along no component.
        let lengths = if f.dim.is_finite() { squares(&w) } else { vec![f64::INFINITY; k] };
        let encoders = lengths.iter().map(|l| if l.is_finite() { l / f.dim } else { self.how.scale * self.how.scale }).collect();
        Point {
            s,
            error: error(f.variance, &o.t0, &o.r, &o.g, k),
            t1: products(u, u, Some(&f.rho), k, f.c),
            encoders,
            encoder_overlaps: overlaps(&along_w, &lengths, m),
            decoder_overlaps: overlaps(&along_u, &squares(u), m),
            span: span(&along_u, &o.t0, k, m),
            q: o.q,
            r: o.r,
            t0: o.t0,
            biases,
        }
    }
}

impl ODE<f64, Vec<f64>> for Vectors<'_> {
    fn diff(&self, _: f64, y: &Vec<f64>, to: &mut Vec<f64>) {
        let (k, f, how) = (self.how.k, self.frame, self.how);
        let (w, u, beta) = self.parts(y);
        let o = self.orders(&w, u, &beta);
        to.fill(0.0);
        if how.rule == Rule::Sanger {
            for a in 0..k {
                let row = &mut to[a * f.c..(a + 1) * f.c];
                row.iter_mut().zip(&w[a * f.c..]).zip(&f.rho).for_each(|((d, w), r)| *d = how.eta * r * w);
                for b in 0..=a {
                    let by = how.eta * o.q[a * k + b];
                    row.iter_mut().zip(&w[b * f.c..]).for_each(|(d, w)| *d -= by * w);
                }
                row.iter_mut().zip(&w[a * f.c..]).for_each(|(d, w)| *d -= how.weight_decay * w);
            }
            return;
        }
        let numbers = k * f.c;
        let root = f.dim.sqrt();
        for a in 0..k {
            let seen = how.seen(a);
            let own: f64 = o.g.d3[a] * o.r[a * k + a] - (0..seen).map(|b| o.t0[a * k + b] * o.g.ddg[a * k + b]).sum::<f64>();
            for j in 0..f.c {
                let i = a * f.c + j;
                let mut decoder = o.g.d1[a] * f.rho[j] * w[i];
                let mut encoder = o.g.d1[a] * u[i] + own * w[i];
                for b in 0..seen {
                    decoder -= o.g.gg[a * k + b] * u[b * f.c + j];
                    encoder -= o.t0[a * k + b] * o.g.dd[a * k + b] * w[b * f.c + j];
                }
                let (decoder, encoder) = (how.eta * decoder, how.eta * f.rho[j] * encoder);
                if how.tied {
                    to[i] = decoder + root * encoder - how.weight_decay * u[i];
                } else {
                    to[i] = encoder - how.weight_decay * w[i];
                    to[numbers + i] = decoder - how.weight_decay * u[i];
                }
            }
            if how.bias {
                let pull: f64 = (0..seen).map(|b| o.t0[a * k + b] * o.g.dg[a * k + b]).sum();
                let at = y.len() - k + a;
                to[at] = how.eta * (o.g.d2[a] * o.r[a * k + a] - pull);
            }
        }
    }
}

/// A run and its last state.
struct Run {
    path: Path,
    y: Vec<f64>,
}

/// Counts the evaluations of the equations.
struct Counted<'a, F> {
    system: &'a F,
    count: std::cell::Cell<u64>,
}

impl<F: ODE<f64, Vec<f64>>> ODE<f64, Vec<f64>> for Counted<'_, F> {
    fn diff(&self, s: f64, y: &Vec<f64>, to: &mut Vec<f64>) {
        self.count.set(self.count.get() + 1);
        self.system.diff(s, y, to);
    }
}

/// Points that are looked at, as they come.
struct Course<'a> {
    look: &'a dyn Fn(&[f64], f64) -> Point,
    watch: &'a mut dyn FnMut(&Point) -> ControlFlow<()>,
    points: Vec<Point>,
    /// The state at the last of them.
    y: Vec<f64>,
    ended: Ended,
}

impl Course<'_> {
    /// Looks at a state; false if the run ends here.
    fn see(&mut self, y: Vec<f64>, s: f64, last: bool) -> bool {
        let point = (self.look)(&y, s);
        let first = self.points.first().map_or(point.error, |p| p.error);
        if !point.error.is_finite() || point.error.abs() > 1e3 * first.abs() {
            self.ended = Ended::Diverged { s: self.points.last().map_or(0.0, |p| p.s) };
            return false;
        }
        let stop = (self.watch)(&point).is_break() && !last;
        self.points.push(point);
        self.y = y;
        if stop {
            self.ended = Ended::Stopped;
        }
        !stop
    }

    /// Steps through all times.
    fn run(&mut self, system: &impl ODE<f64, Vec<f64>>, times: &[f64], y: Vec<f64>, mend: Option<Mend>) -> Result<()> {
        let stuck = |s: f64| {
            Error::parameter(format!(
                "no step of the equations could be made at s = {s:.4}; lower eta, or end earlier with until"
            ))
        };
        let end = times[times.len() - 1];
        let mut method = ExplicitRungeKutta::dop853().rtol(TOLERANCE.0).atol(TOLERANCE.1).max_steps(STEPS);
        method.init(system, 0.0, end, &y).map_err(|_| stuck(0.0))?;
        let mut left = times.iter().copied().peekable();
        if left.next_if_eq(&0.0).is_some() && !self.see(y, 0.0, false) {
            return Ok(());
        }
        let (mut mended, mut stride) = (0.0, 0.0);
        while let Some(&next) = left.peek() {
            if method.t() >= next * (1.0 - 1e-12) {
                left.next();
                if !self.see(method.y().clone(), next, left.peek().is_none()) {
                    return Ok(());
                }
                continue;
            }
            if let Some((every, mend)) = mend
                && method.t() - mended > every
            {
                mended = method.t();
                let mut y = method.y().clone();
                mend(&mut y);
                again(&mut method, system, end, &y).map_err(|()| stuck(mended))?;
            }
            // A step ends at every time that is looked at, and the next one is as long as it would have been without.
            let whole = f64::max(method.h(), stride);
            let short = method.t() + whole >= next * (1.0 - 1e-12);
            method.set_h(if short { next - method.t() } else { whole });
            stride = if short { whole } else { 0.0 };
            match method.step(system) {
                Ok(_) if short && (method.t() - next).abs() < 1e-9 * next => {}
                Ok(_) => stride = 0.0,
                // It takes many steps to an explicit method, no more.
                Err(Stop::Stiffness { t, y }) => again(&mut method, system, end, &y).map_err(|()| stuck(t))?,
                Err(_) => return Err(stuck(method.t())),
            }
        }
        Ok(())
    }
}

/// How often a state is mended, and how.
type Mend<'a> = (f64, &'a dyn Fn(&mut [f64]));

type Steps = ExplicitRungeKutta<Ordinary, DormandPrince, f64, Vec<f64>, 8, 12, 16>;

/// Goes on from another state with steps as long as now.
fn again(method: &mut Steps, system: &impl ODE<f64, Vec<f64>>, end: f64, y: &Vec<f64>) -> std::result::Result<(), ()> {
    let (t, h) = (method.t(), method.h());
    method.h0 = h.min(end - t);
    method.init(system, t, end, y).map(|_| ()).map_err(|_| ())
}

fn solve(
    how: &Dynamics,
    system: &impl ODE<f64, Vec<f64>>,
    y: Vec<f64>,
    watch: &mut dyn FnMut(&Point) -> ControlFlow<()>,
    look: &dyn Fn(&[f64], f64) -> Point,
    mend: Option<Mend>,
) -> Result<Run> {
    let system = Counted { system, count: std::cell::Cell::new(0) };
    let mut course = Course { look, watch, points: Vec::new(), y: y.clone(), ended: Ended::Whole };
    course.run(&system, &how.times(), y, mend)?;
    let (points, ended) = (course.points, course.ended);
    let path = Path { points, ended, w: Vec::new(), v: Vec::new(), seconds: 0.0, steps: system.count.get() };
    Ok(Run { path, y: course.y })
}
