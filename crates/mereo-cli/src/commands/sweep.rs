//! `mereo sweep`: many sparse autoencoders in the same passes over the data, one for each combination of what is listed.

mod clock;
mod grid;
mod outcome;

use super::fit::common::{self, Saving, Sides};
use crate::args::{Global, Reading};
use crate::failure::{Failure, Result};
use crate::load::{self, Loaded};
use crate::progress::Progress;
use crate::stop::{self, Stoppable};
use crate::{output, show};
use clock::Clock;
use grid::Grid;
use mereo::bundle::{About, Bundle};
use mereo::comm::Solo;
use mereo::fold::{self, Checkpoint, Fitted, Moment, Options, Pass, Plan, Shape, Stop};
use mereo::prepare::{Pipeline, Prepared};
use mereo::sae::{Sae, SaeModel, SaeOptimizer};
use mereo::source::{self, Source};
use outcome::{Outcome, Ran, measure, shared};
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// The table of a sweep, in its folder.
pub const TABLE: &str = "sweep.csv";
/// All that is told of it.
pub const DOCUMENT: &str = "sweep.json";

/// Flags of `mereo sweep`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The data: an embedded name, a fetched name, or a path.
    pub data: OsString,
    /// The folder for the models, sweep.csv and sweep.json.
    #[arg(short, long, value_name = "FOLDER")]
    pub output: PathBuf,
    #[command(flatten)]
    pub sides: Sides,
    #[command(flatten)]
    pub saving: Saving,
    #[command(flatten)]
    pub grid: Grid,
    #[command(flatten)]
    pub reading: Reading,
}

const EXAMPLES: &str = "\
Examples:
  mereo sweep e.npy --latents 1536,3072 -k 16,32,64 -o runs            six autoencoders in the passes of one
  mereo sweep e.npy --latents 3072 -k 32 --lr 1e-3,2e-3,4e-3 -o runs   which length of a step is best
  mereo sweep big.parquet -k 32,64 --seeds 0,1,2 --test 0.1 --memory 8G -o runs
  mereo scaling runs                                                   how the loss falls with latents and with k

Every block of rows is read once a pass, whatever the number of fits; each fit works as long as it would alone, and all of them are in memory: 26 bytes a
latent and column. With rows held out (--test) their FVU is in the table too. A fit that diverges is told as such, and the others go on. Ctrl-C keeps the models
so far and a checkpoint; --resume goes on to the same bytes.";

/// Learns all of them and writes the folder.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let methods = args.grid.methods()?;
    let folder: PathBuf = args.output.components().collect();
    let checkpoint = args.saving.of(&folder);
    let mut inputs: Vec<&Path> = load::file(&args.data).into_iter().collect();
    output::check(&checkpoint.path, &inputs)?;
    inputs.push(&checkpoint.path);
    free(&folder, TABLE, &inputs)?;
    let data = load::open(&args.data, &args.reading)?;
    let mut fits: Vec<Ran> = methods.iter().map(|m| Ran::new(m, data.source.cols())).collect();
    for name in fits.iter().filter_map(|f| f.file.as_deref()).chain([DOCUMENT]) {
        free(&folder, name, &inputs)?;
    }
    room(&methods, data.source.cols(), args.reading.memory, global)?;

    let cancel = stop::on_request("stopping at the next batch", global.quiet);
    let started = Instant::now();
    let bar = Progress::new(&format!("reading {}", data.name), global);
    let nothing = |e| stop::or(e, "nothing was written");
    let all = Stoppable::new(data.source.as_ref());
    let usable = args.sides.usable.of(&all, global)?;
    let rows: &dyn Source = usable.as_ref().map_or(&all, |some| some);
    let sides = args.sides.of(rows, methods[0].seed)?;
    let train: &dyn Source = sides.as_ref().map_or(rows, |(train, _)| train);
    let test = sides.as_ref().and_then(|(_, test)| test.as_ref());
    let pipeline = Pipeline::fit(&args.sides.prep, train).map_err(nothing)?;
    let prepared = load::prepared(train, &pipeline).map_err(nothing)?;
    common::announce(&checkpoint, global);
    let clock = Clock::new(&methods);
    let fitted = learn(args, (&methods, &clock), (prepared.as_ref(), &all), (&checkpoint, cancel), &bar)?;
    let stopped = fitted.iter().flatten().any(|f| f.stop == Stop::Cancelled);
    let unsaved = fitted.iter().flatten().find_map(|f| f.unsaved.clone());
    if let Some(why) = &unsaved {
        global.say(format_args!("warning: the last checkpoint couldn't be written: {why}"));
    }
    let whole = fitted.iter().flatten().filter_map(|f| f.curve.last()).map(|p| p.seconds).fold(0.0, f64::max);
    fits.iter_mut().zip(clock.shares()).for_each(|(ran, share)| ran.seconds = whole * share);
    let shape = Shape { rows: source::count(train), cols: train.cols() };
    let bundles = save(&folder, fitted, (&methods, &mut fits), (&data, shape, &pipeline)).map_err(|e| {
        let kept = if checkpoint.path.exists() {
            format!("; the checkpoint {} is kept", checkpoint.path.display())
        } else {
            String::new()
        };
        Failure::other(format!("{}{kept}", e.line()))
    })?;
    let mut outcome = Outcome {
        data: data.name.clone(),
        rows: shape.rows,
        held_out: test.map_or(0, |test| source::count(test)),
        cols: shape.cols,
        prep: args.sides.prep.clone(),
        params: shared(&methods[0]),
        fits,
        best: Vec::new(),
        seconds: started.elapsed().as_secs_f64(),
        output: args.output.display().to_string(),
        checkpoint: args.saving.kept(&checkpoint, !stopped, unsaved.as_deref()),
    };
    let mut measured = Ok(());
    if !stopped {
        all.arm(true);
        let bar = Progress::new("measuring", global);
        let test = test.map(|test| Prepared::new(test, &pipeline));
        measured = measure(&bundles, prepared.as_ref(), &mut outcome.fits, |ran| &mut ran.fvu)
            .and_then(|()| test.map_or(Ok(()), |test| measure(&bundles, &test, &mut outcome.fits, |ran| &mut ran.test_fvu)));
        bar.clear();
    }
    outcome.choose();
    outcome.write(&folder)?;
    outcome.print(global)?;
    measured.map_err(|e| stop::or(e, &format!("the models are in {}, not all errors were measured", folder.display())))?;
    if stopped {
        let again = outcome.checkpoint.as_ref().map_or("", |_| ", and the same command with --resume continues them");
        return Err(Failure::Interrupted(format!("stopped; the models so far are in {}{again}", folder.display())));
    }
    if bundles.is_empty() {
        return Err(Failure::Told("every fit diverged; lower --lr".into()));
    }
    Ok(())
}

/// The fits, each with a pass at least unless it diverged.
fn learn(
    args: &Args,
    (methods, clock): (&[Sae], &Clock),
    (rows, all): (&dyn Source, &Stoppable),
    (checkpoint, cancel): (&Checkpoint, &AtomicBool),
    bar: &Progress,
) -> Result<Vec<mereo::Result<Fitted<SaeModel>>>> {
    let mut passes = 0;
    let mut watch = |seen: &Pass, plan: Plan| {
        // From now on there are models to save, so the fits must end in their own way.
        all.arm(false);
        passes += 1;
        bar.pass(seen, plan, 1);
        ControlFlow::Continue(())
    };
    let mut follow = |seen: &Moment, plan: Plan| bar.batch(seen, plan, 1);
    let options = Options {
        memory: args.reading.memory.map(|bytes| bytes / 3),
        watch: Some(&mut watch),
        follow: Some(&mut follow),
        cancel: Some(cancel),
        checkpoint: Some(checkpoint.clone()),
    };
    let fitted = fold::fit_many_on(methods, rows, clock, &Solo, options);
    bar.clear();
    let fitted = fitted.map_err(|e| common::failed(e, passes, Some(checkpoint)))?;
    if fitted.iter().flatten().any(|f| f.curve.is_empty()) {
        return Err(common::nothing_whole(Some(checkpoint)));
    }
    Ok(fitted)
}

/// Writes a model for each fit that did not diverge, and gives them with the number of their fit.
fn save(
    folder: &Path,
    fitted: Vec<mereo::Result<Fitted<SaeModel>>>,
    (methods, fits): (&[Sae], &mut [Ran]),
    (data, shape, pipeline): (&Loaded, Shape, &Pipeline),
) -> Result<Vec<(usize, Bundle)>> {
    std::fs::create_dir_all(folder).map_err(|e| mereo::Error::io(folder, e))?;
    let mut bundles = Vec::new();
    for (i, one) in fitted.into_iter().enumerate() {
        let ran = &mut fits[i];
        let one = match one {
            Ok(one) => one,
            Err(why) => {
                (ran.file, ran.reason) = (None, Some(why.to_string()));
                continue;
            }
        };
        ran.told(&one);
        let about = About::new(&data.name, shape, &methods[i], &one);
        let about = About { columns: data.columns.clone(), image: data.image, ..about };
        let bundle = Bundle { pipeline: pipeline.clone(), model: Box::new(one.model), about };
        let path = folder.join(ran.file.as_deref().unwrap_or_default());
        output::keep(&path, "the model", |path| bundle.save(path))?;
        bundles.push((i, bundle));
    }
    Ok(bundles)
}

/// Checks that a file of the folder can be written, whether or not the folder is there yet.
fn free(folder: &Path, name: &str, inputs: &[&Path]) -> Result<()> {
    match std::fs::metadata(folder) {
        Ok(m) if m.is_dir() => output::check(&folder.join(name), inputs),
        Ok(_) => Err(Failure::usage(format!("{} is a file; name a folder for the models", folder.display()))),
        Err(_) => output::check(folder, inputs),
    }
}

/// Says how much memory the fits take together.
///
/// # Errors
/// More than a bound on it leaves them: two thirds, for the rest is that of the rows.
fn room(methods: &[Sae], cols: usize, memory: Option<u64>, global: &Global) -> Result<()> {
    // What is written into a checkpoint is there three times: as it is, as it is put together, and as bytes.
    let (mut held, mut copied) = (0u64, 0u64);
    for method in methods {
        let weights = (method.chosen(cols).0 as u64).saturating_mul(cols as u64);
        let moments = if method.optimizer == SaeOptimizer::Adam { 4 } else { 2 };
        let average = if method.ema > 0.0 { 2 } else { 0 };
        let numbers = weights.saturating_mul((2 + moments + average) * 4);
        held = held.saturating_add(numbers).saturating_add(2 * weights);
        copied = copied.saturating_add(2 * numbers);
    }
    let all = held.saturating_add(copied);
    let need = format!(
        "{} fits take {} for weights and what steps remember of them, {} while a checkpoint is written",
        methods.len(),
        show::bytes(held),
        show::bytes(all)
    );
    match memory {
        Some(limit) if all > limit / 3 * 2 => Err(Failure::usage(format!(
            "{need}; --memory leaves them {}: give fewer latents, ks, lrs or seeds, make several sweeps of it, or raise it",
            show::bytes(limit / 3 * 2)
        ))),
        _ => {
            global.say(format_args!("{need}"));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_that_does_not_fit_is_refused_with_the_fix() {
        let global = Global { json: false, quiet: true, threads: 0 };
        let methods = vec![Sae { latents: Some(1000), ..Sae::default() }; 4];
        // 26 bytes a latent and column, and 48 more while a checkpoint is written.
        let need = 4 * 1000 * 100 * 74;
        room(&methods, 100, Some(need * 3 / 2 + 3), &global).expect("fits");
        let said = room(&methods, 100, Some(need * 3 / 2 - 6), &global).expect_err("does not").to_string();
        assert!(said.contains("4 fits take 10.4 MB") && said.contains("29.6 MB") && said.contains("fewer latents"), "{said}");
        room(&methods, 100, None, &global).expect("no bound");
    }
}
