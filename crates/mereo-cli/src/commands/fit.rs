//! `mereo fit`: learns a model from rows and writes it.

pub mod common;
pub mod flags;

use crate::args::{Global, Reading};
use crate::failure::{Failure, Result};
use crate::load::{self, Loaded};
use crate::progress::{self, Progress};
use crate::stop::{self, Stoppable};
use crate::{output, show};
use common::{Saving, Sides};
use flags::{AeFlags, Flags, NmfFlags, PcaFlags, SaeFlags, VqFlags};
use mereo::bundle::{About, Bundle};
use mereo::fold::{self, Checkpoint, Fitted, Method, Moment, Options, Pass, Plan, Shape, Stop, Used};
use mereo::measure::{self, Errors};
use mereo::prepare::{Pipeline, Prepared, Recipe};
use mereo::source::{self, Source, Weighted};
use serde::Serialize;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

/// Flags of `mereo fit`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub method: MethodArgs,
}

const EXAMPLES: &str = "\
Examples:
  mereo fit nmf faces -k 49 --prep lee-seung -o faces.mereo       parts of faces, as in Lee and Seung 1999
  mereo fit pca data.npy -k 64 --test 0.2 -o data.mereo           errors on a fifth of the rows that was held out
  mereo fit vq big.parquet -k 1000 --memory 2G -o cells.mereo     a file larger than memory
  mereo fit nmf ratings.npz -k 20 --missing zeros -o taste.mereo  entries that nobody gave are unknown, not small
  mereo fit ae faces -k 49 --activation erf -o ae.mereo           an autoencoder with sigmoidal units
  mereo fit sae e.npy --latents 9216 -k 64 -o e.mereo             a dictionary of 9,216 latents, 64 of them alive on a row
  mereo fit nmf faces -o faces.mereo --resume                     go on after Ctrl-C or a crash

Ctrl-C ends a fit at the next block; the model so far and a checkpoint are written, and --resume continues to the same
bytes as a fit that was never interrupted.";

/// The methods.
#[derive(Debug, clap::Subcommand)]
pub enum MethodArgs {
    /// Principal components: orthogonal axes that explain the most variance.
    Pca(Job<PcaFlags>),
    /// Vector quantisation (k-means): every row is one codeword.
    Vq(Job<VqFlags>),
    /// Non-negative matrix factorisation: parts that only add.
    Nmf(Job<NmfFlags>),
    /// Shallow autoencoder: codes and atoms by gradient steps, with a function between them.
    Ae(Job<AeFlags>),
    /// Sparse autoencoder: many more atoms (latents) than columns, few of them alive on a row.
    Sae(Job<SaeFlags>),
}

/// A method's own flags, and those of every fit.
#[derive(Debug, clap::Args)]
pub struct Job<F: clap::Args> {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub flags: F,
    #[command(flatten)]
    pub reading: Reading,
}

/// Flags of every fit.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// The data: an embedded name, a fetched name, or a path.
    pub data: OsString,
    /// Where to write the model.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    #[command(flatten)]
    pub sides: Sides,
    #[command(flatten)]
    pub saving: Saving,
}

/// Fits what was asked for.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    match &args.method {
        MethodArgs::Pca(job) => job.run(global),
        MethodArgs::Vq(job) => job.run(global),
        MethodArgs::Nmf(job) => job.run(global),
        MethodArgs::Ae(job) => job.run(global),
        MethodArgs::Sae(job) => job.run(global),
    }
}

impl<F> Job<F>
where
    F: Flags + clap::Args,
    <F::Method as Method>::Model: 'static,
{
    fn run(&self, global: &Global) -> Result<()> {
        let asked = &self.common;
        let method = self.flags.method()?;
        let checkpoint = self.claim(&method)?;
        let data = load::open(&asked.data, &self.reading.with(method.missing().unwrap_or_default()))?;
        let cancel = stop::on_request("stopping at the next block", global.quiet);
        let started = Instant::now();
        let bar = Progress::new(&format!("reading {}", data.name), global);
        let nothing = |e| stop::or(e, "nothing was written");

        let weights = self.flags.weights().map(|path| load::open(path.as_os_str(), &self.reading)).transpose()?;
        let weighted = weights.as_ref().map(|w| Weighted::new(data.source.as_ref(), w.source.as_ref())).transpose()?;
        let every = Stoppable::new(weighted.as_ref().map_or(data.source.as_ref(), |w| w));
        let usable = asked.sides.usable.of(&every, global)?;
        let all: &dyn Source = usable.as_ref().map_or(&every, |some| some);
        let sides = asked.sides.of(all, method.seed())?;
        let train: &dyn Source = sides.as_ref().map_or(all, |(train, _)| train);
        let pipeline = Pipeline::fit(&asked.sides.prep, train).map_err(nothing)?;
        let prepared = load::prepared(train, &pipeline).map_err(nothing)?;
        if let Some(c) = &checkpoint {
            common::announce(c, global);
        }
        let fitted = {
            let mut passes = 0;
            let mut watch = |seen: &Pass, plan: Plan| {
                // From now on there is a model to save, so the fit must end in its own way.
                every.arm(false);
                passes += 1;
                bar.pass(seen, plan, method.restarts());
                ControlFlow::Continue(())
            };
            let mut follow = |seen: &Moment, plan: Plan| bar.batch(seen, plan, method.restarts());
            let options = Options {
                memory: self.reading.memory.map(|bytes| bytes / 3),
                watch: Some(&mut watch),
                follow: Some(&mut follow),
                cancel: Some(cancel),
                checkpoint: checkpoint.clone(),
            };
            let fitted = fold::fit(&method, prepared.as_ref(), options);
            fitted.map_err(|e| common::failed(e, passes, checkpoint.as_ref()))?
        };
        let seconds = started.elapsed().as_secs_f64();
        bar.clear();
        if fitted.curve.is_empty() {
            return Err(common::nothing_whole(checkpoint.as_ref()));
        }

        let mut outcome = Outcome::new(asked, &method, &data, train, &fitted, seconds);
        let shape = Shape { rows: outcome.rows, cols: outcome.cols };
        let about = About { columns: data.columns.clone(), image: data.image, ..About::new(&data.name, shape, &method, &fitted) };
        let (stop, unsaved) = (fitted.stop, fitted.unsaved);
        let bundle = Bundle { pipeline: pipeline.clone(), model: Box::new(fitted.model), about };
        self.write(&bundle, stop, unsaved.as_deref(), checkpoint.as_ref(), &mut outcome, global)?;
        if stop == Stop::Cancelled {
            outcome.print(global)?;
            return Err(Failure::Interrupted(self.how_to_resume(outcome.checkpoint.as_deref())));
        }
        if stop == Stop::Diverged {
            // The error is the one document of --json.
            if !global.json {
                outcome.print(global)?;
            }
            return Err(Failure::other(self.diverged(&outcome, &method.remedy().unwrap_or_default())));
        }
        every.arm(true);
        let bar = Progress::new("measuring", global);
        let measure = |source: &dyn Source| {
            let errors = measure::errors(bundle.model.as_ref(), source);
            errors.map_err(|e| stop::or(e, &format!("the model is in {}, its errors were not measured", asked.output.display())))
        };
        outcome.train = Some(measure(prepared.as_ref())?);
        if let Some((_, Some(test))) = &sides {
            outcome.test = Some(measure(&Prepared::new(test, &pipeline))?);
        }
        bar.clear();
        outcome.print(global)?;
        if super::cut_short(stop, &outcome.params) {
            global.say(format_args!(
                "note: the fit came to its limit of passes before it converged; a higher --max-passes takes it further"
            ));
        }
        Ok(())
    }

    /// Checks that all that the fit will write can be written, and gives the place of the checkpoints.
    fn claim(&self, method: &F::Method) -> Result<Option<Checkpoint>> {
        let mut inputs = self.flags.inputs();
        inputs.extend(load::file(&self.common.data));
        output::check(&self.common.output, &inputs)?;
        let checkpoint = self.common.checkpoint(method);
        if let Some(c) = &checkpoint {
            inputs.push(&self.common.output);
            output::check(&c.path, &inputs)?;
        }
        Ok(checkpoint)
    }

    /// Writes the model, and takes away a checkpoint that nobody asked for.
    fn write(
        &self,
        bundle: &Bundle,
        stop: Stop,
        unsaved: Option<&str>,
        checkpoint: Option<&Checkpoint>,
        outcome: &mut Outcome,
        global: &Global,
    ) -> Result<()> {
        if let Some(why) = unsaved {
            global.say(format_args!("warning: the last checkpoint couldn't be written: {why}"));
        }
        let kept = checkpoint.filter(|c| unsaved.is_none() && c.path.exists());
        output::keep(&self.common.output, "the model", |path| bundle.save(path)).map_err(|e| match kept {
            Some(c) => Failure::other(format!("{}; the checkpoint {} is kept too", e.line(), c.path.display())),
            None => e,
        })?;
        if let Some(c) = checkpoint {
            outcome.checkpoint = self.common.saving.kept(c, !matches!(stop, Stop::Cancelled | Stop::Diverged), unsaved);
        }
        Ok(())
    }

    /// What became of a fit whose steps led nowhere, and what to do.
    fn diverged(&self, outcome: &Outcome, remedy: &str) -> String {
        let (last, output) = (outcome.curve.len(), self.common.output.display());
        let go_on = outcome.checkpoint.as_ref().map_or("", |_| "; with --resume it goes on from there");
        let loss = show::number(outcome.curve.last().copied().unwrap_or(f64::NAN));
        format!(
            "the fit diverged after pass {last}, its best with a loss of {loss}: {remedy}{go_on}; the model of that pass is in {output}"
        )
    }

    fn how_to_resume(&self, checkpoint: Option<&str>) -> String {
        let output = self.common.output.display();
        match checkpoint {
            Some(_) => format!("stopped; the model so far is in {output}, and the same command with --resume continues it"),
            None => format!("stopped; the model so far is in {output}"),
        }
    }
}

impl Common {
    /// Where checkpoints go; none for a fit of one pass or an output that has no place beside it, unless asked for.
    fn checkpoint(&self, method: &impl Method) -> Option<Checkpoint> {
        let Saving { checkpoint, resume, .. } = &self.saving;
        let wanted = checkpoint.is_some() || *resume || (method.plan().max > 1 && !output::special(&self.output));
        wanted.then(|| self.saving.of(&self.output))
    }
}

/// All that is told of a fit.
#[derive(Debug, Serialize)]
struct Outcome {
    method: &'static str,
    params: serde_json::Value,
    data: String,
    rows: usize,
    cols: usize,
    prep: Vec<Recipe>,
    passes: usize,
    /// After which pass the model is.
    model_of: usize,
    curve: Vec<f64>,
    /// The loss of rows that the fit held out to say when to stop, after each pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held: Vec<f64>,
    /// How far from a stationary point each pass began, where the method knows it: the projected gradient over that of the first pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gradients: Vec<f64>,
    /// How each pass used the atoms, where the method's codes are mostly zero.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    used: Vec<Used>,
    /// Rows that the fit went through in a second.
    speed: f64,
    /// What the last pass changed, as a share of the loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<f64>,
    /// Final loss of every start.
    starts: Vec<f64>,
    /// Which of them was kept, from 0.
    kept: usize,
    stop: Stop,
    seconds: f64,
    train: Option<Errors>,
    test: Option<Errors>,
    output: String,
    checkpoint: Option<String>,
}

impl Outcome {
    fn new<M: Method>(
        asked: &Common,
        method: &M,
        data: &Loaded,
        train: &dyn Source,
        fitted: &Fitted<M::Model>,
        seconds: f64,
    ) -> Self {
        Self {
            method: method.name(),
            params: serde_json::to_value(method).unwrap_or_default(),
            data: data.name.clone(),
            rows: source::count(train),
            cols: train.cols(),
            prep: asked.sides.prep.clone(),
            passes: fitted.curve.len(),
            model_of: fitted.kept,
            held: fitted.curve.iter().filter_map(|p| p.held).collect(),
            gradients: fitted.curve.iter().filter_map(|p| p.gradient).collect(),
            used: fitted.curve.iter().filter_map(|p| p.used).collect(),
            speed: fitted.curve.last().map_or(0.0, |p| source::count(train) as f64 * p.pass as f64 / p.seconds.max(1e-9)),
            change: mereo::compare::last_change(fitted.curve.iter().map(|p| p.loss)),
            curve: fitted.curve.iter().map(|p| p.loss).collect(),
            starts: fitted.starts.clone(),
            kept: fitted.curve.first().map_or(0, |p| p.restart),
            stop: fitted.stop,
            seconds,
            train: None,
            test: None,
            output: asked.output.display().to_string(),
            checkpoint: None,
        }
    }

    fn print(&self, global: &Global) -> Result<()> {
        if global.json {
            return show::json(self);
        }
        let prep: Vec<&str> = self.prep.iter().map(|r| r.name()).collect();
        let mut rows = vec![
            ("model".into(), format!("{}, {}", self.method, super::params_line(&self.params))),
            ("data".into(), format!("{}, {} rows, {} columns", self.data, show::count(self.rows), show::count(self.cols))),
        ];
        if !prep.is_empty() {
            rows.push(("prepared".into(), prep.join(", ")));
        }
        rows.push(("passes".into(), format!("{}, {}", self.passes, super::ended(self.stop, &self.params))));
        rows.push(("loss".into(), show::number(self.curve.last().copied().unwrap_or(f64::NAN))));
        if let Some(held) = self.held.get(self.model_of.wrapping_sub(1)) {
            rows.push((
                "held out".into(),
                format!("a loss of {} after pass {}, which the model is of", show::number(*held), self.model_of),
            ));
        }
        rows.extend(super::course(&self.curve, self.gradients.last().copied()));
        rows.extend(self.used.get(self.model_of.wrapping_sub(1)).map(|used| ("latents".into(), progress::used(used))));
        if self.starts.len() > 1 {
            let losses: Vec<String> = self.starts.iter().map(|&l| show::number(l)).collect();
            // A start that was stopped on the way can be the best already.
            let kept = if self.kept < losses.len() { "" } else { ", which was not whole" };
            rows.push((
                "starts".into(),
                format!("{} ended at a loss of {}; kept: number {}{kept}", losses.len(), losses.join(", "), self.kept + 1),
            ));
        }
        let speed =
            if self.used.is_empty() { String::new() } else { format!(", {} rows a second", show::count(self.speed as usize)) };
        rows.push(("time".into(), show::seconds(self.seconds) + &speed));
        rows.push(("written".into(), self.output.clone()));
        if let Some(path) = &self.checkpoint {
            rows.push(("checkpoint".into(), path.clone()));
        }
        let mut text = show::pairs(&rows);
        let sides: Vec<Vec<String>> = [("fitted", &self.train), ("held out", &self.test)]
            .iter()
            .filter_map(|(name, errors)| Some((name, errors.as_ref()?)))
            .map(|(name, e)| {
                let numbers = [e.rmse, e.relative, e.fvu, e.explained].map(show::number);
                [vec![(*name).to_string(), show::count(e.rows)], numbers.to_vec()].concat()
            })
            .collect();
        if !sides.is_empty() {
            text += "\n";
            text += &show::table(&["rows", "", "RMSE", "relative", "FVU", "explained"], &sides, &[0]);
        }
        show::print(&text)
    }
}
