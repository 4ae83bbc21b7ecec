//! Fits by the name of a method and its parameters as JSON.

use crate::errors::raised;
use crate::gate;
use crate::models::Model;
use crate::table::Table;
use mereo::bundle::{About, Bundle};
use mereo::comm::Solo;
use mereo::fold::{self, Cpu, Engine, Fitted, Memo, Method, Moment, Options, Pass, Plan, Shape, Stop};
use mereo::mat::Mat;
use mereo::prepare::Pipeline;
use mereo::source::{self, Source, Weighted};
use mereo::{Ae, Error, Nmf, Pca, Result, Sae, Vq};
use numpy::{PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// A method with its parameters.
#[derive(Clone)]
pub enum Named {
    Pca(Pca),
    Vq(Vq),
    Nmf(Box<Nmf>),
    Ae(Ae),
    Sae(Box<Sae>),
}

impl Named {
    /// # Errors
    /// A name that is none of a method's; a parameter that it doesn't have, or of another type.
    pub fn of(method: &str, params: &str) -> Result<Self> {
        let json = |e: serde_json::Error| Error::parameter(format!("parameters of {method}: {e}"));
        Ok(match method {
            "pca" => Self::Pca(serde_json::from_str(params).map_err(json)?),
            "vq" => Self::Vq(serde_json::from_str(params).map_err(json)?),
            "nmf" => Self::Nmf(serde_json::from_str(params).map_err(json)?),
            "ae" => Self::Ae(serde_json::from_str(params).map_err(json)?),
            "sae" => Self::Sae(serde_json::from_str(params).map_err(json)?),
            other => return Err(Error::parameter(format!("there is no method `{other}`; give pca, vq, nmf, ae or sae"))),
        })
    }
}

/// What a fit tells as it goes.
enum Said {
    /// After a pass.
    Pass(Pass, Plan),
    /// Within one that shuffles.
    Moment(Moment, Plan),
}

/// How a fit is run, as Python gave it.
struct How {
    name: String,
    image: Option<(usize, usize)>,
    columns: Option<Vec<String>>,
    memory: Option<u64>,
    /// Whether anybody looks within passes.
    follow: bool,
}

/// Fits a method to rows.
///
/// `data` and `weights` are what `Table` takes; `given` are the first atoms of an NMF, or centres of k-means. `see(json)` hears of every pass, and of batches of those
/// that shuffle. Gives the model, how the fit went as JSON, and what interrupted it, if something did: the model is then that of the passes so far.
///
/// # Errors
/// `ValueError` for parameters and rows that can't be used, `OSError` for files.
#[pyfunction]
#[pyo3(signature = (method, params, data, *, given=None, weights=None, see=None, threads=0, memory=None, name="array".to_string(),
    image=None, columns=None))]
#[allow(clippy::too_many_arguments, reason = "keywords of Python")]
pub fn fit<'py>(
    py: Python<'py>,
    method: &str,
    params: &str,
    data: &Bound<'py, PyAny>,
    given: Option<PyReadonlyArray2<'py, f32>>,
    weights: Option<&Bound<'py, PyAny>>,
    see: Option<Py<PyAny>>,
    threads: usize,
    memory: Option<u64>,
    name: String,
    image: Option<(usize, usize)>,
    columns: Option<Vec<String>>,
) -> PyResult<(Model, String, Option<Py<PyAny>>)> {
    let mut named = Named::of(method, params).map_err(raised)?;
    let table = Table::of(data)?;
    let weights = weights.map(Table::of).transpose()?;
    let given = given.map(|given| atoms(&given)).transpose()?;
    match &mut named {
        Named::Nmf(nmf) => {
            nmf.weights = weights.is_some();
            nmf.given = given;
        }
        Named::Vq(vq) => {
            vq.weights = weights.is_some();
            vq.given = given;
        }
        Named::Pca(_) | Named::Ae(_) | Named::Sae(_) => {}
    }
    let how = How { name, image, columns, memory, follow: see.is_some() };
    let work = |rows: &dyn Source| {
        let done = gate::watched(
            py,
            threads,
            |sender, cancel| match &named {
                Named::Pca(m) => fitted(m, rows, how, sender, cancel),
                Named::Vq(m) => fitted(m, rows, how, sender, cancel),
                Named::Nmf(m) => fitted(m.as_ref(), rows, how, sender, cancel),
                Named::Ae(m) => fitted(m, rows, how, sender, cancel),
                Named::Sae(m) => fitted(m.as_ref(), rows, how, sender, cancel),
            },
            |py, said| match &see {
                Some(see) => see.call1(py, (said.json(),)).map(|_| ()),
                None => Ok(()),
            },
        )?;
        let stopped = done.stopped.map(|e| e.into_value(py).into_any());
        match (done.value, stopped) {
            (Ok((model, facts)), stopped) => Ok((model, facts, stopped)),
            // There was no model yet.
            (Err(_), Some(stopped)) => Err(PyErr::from_value(stopped.into_bound(py))),
            (Err(error), None) => Err(raised(error)),
        }
    };
    match &weights {
        None => table.with(work),
        Some(weights) => table.with(|rows| weights.with(|weights| work(&Weighted::new(rows, weights).map_err(raised)?))),
    }
}

/// A matrix, copied.
fn atoms(given: &PyReadonlyArray2<f32>) -> PyResult<Mat> {
    let [rows, cols] = *given.shape() else { return Err(raised(Error::data("atoms must have two axes"))) };
    Mat::new(rows, cols, given.as_slice()?.to_vec()).map_err(raised)
}

impl Said {
    fn json(&self) -> String {
        match self {
            Self::Pass(p, plan) => json!({
                "restart": p.restart, "pass": p.pass, "of": plan.max, "part": 1.0, "loss": p.loss, "held": p.held,
                "l0": p.used.map(|u| u.l0), "dead": p.used.map(|u| u.dead),
            }),
            Self::Moment(m, plan) => json!({
                "restart": m.restart, "pass": m.pass, "of": plan.max, "part": m.rows.0 as f64 / m.rows.1.max(1) as f64, "loss": m.loss,
                "l0": m.used.map(|u| u.l0), "dead": m.used.map(|u| u.dead),
            }),
        }
        .to_string()
    }
}

/// One fit, told to `sender`.
fn fitted<M: Method>(
    method: &M,
    rows: &dyn Source,
    how: How,
    sender: &Sender<Said>,
    cancel: &AtomicBool,
) -> Result<(Model, String)>
where
    M::Model: 'static,
{
    /// Least time between two moments.
    const BLINK: Duration = Duration::from_millis(100);
    let shape = Shape { rows: source::count(rows), cols: rows.cols() };
    let started = Instant::now();
    let mut last = started;
    // Nobody hears what is said after the end.
    let mut watch = |pass: &Pass, plan: Plan| {
        let _ = sender.send(Said::Pass(*pass, plan));
        ControlFlow::Continue(())
    };
    let mut follow = |moment: &Moment, plan: Plan| {
        if last.elapsed() >= BLINK {
            last = Instant::now();
            let _ = sender.send(Said::Moment(*moment, plan));
        }
    };
    let options = Options {
        memory: how.memory.map(|bytes| bytes / 3),
        watch: Some(&mut watch),
        follow: if how.follow { Some(&mut follow) } else { None },
        cancel: Some(cancel),
        checkpoint: None,
    };
    let fitted = fold::fit_on(method, rows, &Cpu, &Solo, options)?;
    let about = About { image: how.image, columns: how.columns, ..About::new(&how.name, shape, method, &fitted) };
    let Fitted { model, curve, kept, starts, stop, .. } = fitted;
    let remedy = if stop == Stop::Diverged { method.remedy() } else { None };
    let facts = json!({
        "curve": curve, "kept": kept, "starts": starts, "stop": stop, "seconds": started.elapsed().as_secs_f64(),
        "rows": shape.rows, "cols": shape.cols, "remedy": remedy, "params": about.params,
    });
    Ok((Model::new(Bundle { pipeline: Pipeline::raw(shape.cols), model: Box::new(model), about }), facts.to_string()))
}

/// A method that learns batch by batch.
trait Learns: Send + Sync {
    /// Learns from rows, in batches of the method's own size.
    fn learn(&mut self, x: &dyn Source) -> Result<f64>;
    fn model(&self) -> Result<Bundle>;
}

struct Learner<M: Method> {
    method: M,
    state: Option<M::State>,
    shape: Shape,
    seen: u64,
    loss: f64,
}

impl<M: Method + Send + Sync> Learns for Learner<M>
where
    M::State: Send + Sync,
    M::Model: 'static,
{
    fn learn(&mut self, source: &dyn Source) -> Result<f64> {
        let step = self.method.plan().batch.unwrap_or(usize::MAX).max(1);
        for b in 0..source.blocks() {
            let x = source.block(b)?;
            source::check_finite(&x, self.seen)?;
            self.method.accept(&x, self.seen)?;
            if self.state.is_none() {
                self.shape = Shape { rows: self.shape.rows.max(x.rows()), cols: x.cols() };
                self.method.check(self.shape)?;
                if self.method.memo() != Memo::None {
                    return Err(Error::parameter(format!(
                        "{} keeps numbers of every row, so it can't learn by batches",
                        self.method.name()
                    )));
                }
                self.state = Some(self.method.init(&x, self.shape, 0)?);
            }
            let Some(state) = &mut self.state else { continue };
            mereo::model::check_width(&x, self.shape.cols)?;
            for from in (0..x.rows()).step_by(step) {
                let x = x.slice(from, x.rows().min(from.saturating_add(step)));
                let mut stats = self.method.zero(state);
                Cpu.observe(&self.method, state, &x, self.seen, &mut [], &mut stats)?;
                self.loss = Cpu.update(&self.method, state, stats)?.loss;
                self.seen += x.rows() as u64;
            }
        }
        Ok(self.loss)
    }

    fn model(&self) -> Result<Bundle> {
        let Some(state) = &self.state else { return Err(Error::data("nothing was learned from yet; give rows first")) };
        let shape = Shape { rows: self.seen as usize, ..self.shape };
        let params = serde_json::to_value(&self.method).unwrap_or_default();
        let about = About { curve: vec![self.loss], stop: Stop::Limit, ..About::unfitted("batches", shape, params) };
        Ok(Bundle { pipeline: Pipeline::raw(shape.cols), model: Box::new(self.method.model(state.clone())?), about })
    }
}

/// Learns from one batch after another: `partial_fit`.
#[pyclass(module = "mereo._core")]
pub struct Trainer {
    learner: Box<dyn Learns>,
}

#[pymethods]
impl Trainer {
    /// `rows` is how many rows a pass has, which some rules count by; at least those of the first batch.
    #[new]
    fn new(method: &str, params: &str, rows: usize) -> PyResult<Self> {
        fn of<M: Method + Send + Sync + 'static>(method: M, rows: usize) -> Box<dyn Learns>
        where
            M::State: Send + Sync,
            M::Model: 'static,
        {
            Box::new(Learner { method, state: None, shape: Shape { rows, cols: 0 }, seen: 0, loss: f64::NAN })
        }
        let learner = match Named::of(method, params).map_err(raised)? {
            Named::Ae(m) => of(m, rows),
            Named::Sae(m) => of(*m, rows),
            _ => return Err(raised(Error::parameter(format!("{method} doesn't learn by batches; fit all rows")))),
        };
        Ok(Self { learner })
    }

    /// Learns from rows and gives the loss of the last batch.
    fn learn(&mut self, py: Python, data: &Bound<PyAny>, threads: usize) -> PyResult<f64> {
        let learner = &mut self.learner;
        Table::of(data)?.with(|rows| gate::run(py, threads, || learner.learn(rows))?.map_err(raised))
    }

    /// The model so far.
    fn model(&self, py: Python) -> PyResult<Model> {
        let learner = &self.learner;
        py.detach(|| learner.model()).map(Model::new).map_err(raised)
    }

    fn __repr__(&self) -> String {
        let told: Value = self.learner.model().map_or(Value::Null, |m| json!(m.about.shape.rows));
        format!("<mereo._core.Trainer after {told} rows>")
    }
}
