//! `mereo dynamics`: a shallow autoencoder as it learns, by its equations and by descent, one sample a step.

mod data;
pub mod page;
mod table;

use super::choice::{Choice, typed, words};
use crate::args::{Global, Reading};
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::split::HeldOut;
use crate::subject::publish;
use crate::{load, output, show, stop};
use data::Scene;
use mereo::dynamics::{Activation, Begin, Dynamics, Ended, Form, Path, Point, Population, Rule, Start, integrate_as, simulate};
use mereo::export;
use mereo_report::{Block, Document, Section, number};
use serde::Serialize;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Flags of `mereo dynamics`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
#[command(group(clap::ArgGroup::new("runs").args(["ode", "sgd", "both"])))]
pub struct Args {
    #[command(flatten)]
    pub how: Flags,
    #[command(flatten)]
    pub what: What,
    /// Only the equations.
    #[arg(long, help_heading = "What is run")]
    pub ode: bool,
    /// Only the descent.
    #[arg(long, help_heading = "What is run")]
    pub sgd: bool,
    /// The equations and the descent, from the same first weights [default, unless --d inf leaves only the equations].
    #[arg(long, help_heading = "What is run")]
    pub both: bool,
    /// How the equations are written: of the weights (vectors), or of their products for each eigenvalue, as in the paper (modes).
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        default_value = "vectors",
        conflicts_with = "sgd",
        help_heading = "What is run"
    )]
    pub form: Written,
    /// Also write every number of every point in time: .csv, .tsv or .parquet, a line a point, `simulation` 0 for the equations and 1 for the descent.
    #[arg(long, value_name = "FILE")]
    pub curves: Option<PathBuf>,
    /// Where to write the page.
    #[arg(short, long, value_name = "FILE", default_value = "dynamics.html")]
    pub output: PathBuf,
}

/// Every parameter of [`Dynamics`].
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "The autoencoder and how it learns")]
pub struct Flags {
    /// Hidden units (K).
    #[arg(short, long, value_name = "UNITS", default_value_t = Dynamics::default().k)]
    pub k: usize,
    /// Activation g of the hidden units: erf(x/√2), max(0, x), or x itself.
    #[arg(long, value_parser = words::<Activation>(), default_value_t = Choice(Dynamics::default().activation))]
    pub activation: Choice<Activation>,
    /// Learning rate η.
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, default_value_t = Dynamics::default().eta)]
    pub eta: f64,
    /// Time s = samples / D at which it ends.
    #[arg(long, value_name = "S", allow_negative_numbers = true, default_value_t = Dynamics::default().until)]
    pub until: f64,
    /// The decoder is the encoder transposed.
    #[arg(long)]
    pub tied: bool,
    /// Encoders have biases, from 0 on, which are learned.
    #[arg(long)]
    pub bias: bool,
    /// How weights move: gradient descent (vanilla); unit k sees what units 1 to k leave (truncated); Sanger's rule, for linear units.
    #[arg(long, value_parser = words::<Rule>(), default_value_t = Choice(Dynamics::default().rule))]
    pub rule: Choice<Rule>,
    /// Where weights begin: normal numbers (random), or at the principal components (informed).
    #[arg(long, value_parser = words::<Begin>(), default_value_t = Choice(Dynamics::default().begin))]
    pub begin: Choice<Begin>,
    /// Standard deviation of the first weights.
    #[arg(long, value_name = "SD", allow_negative_numbers = true, default_value_t = Dynamics::default().scale)]
    pub scale: f64,
    /// Weights shrink by this over D every step.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, default_value_t = Dynamics::default().weight_decay)]
    pub weight_decay: f64,
    /// Times that are looked at, evenly on a logarithmic scale.
    #[arg(long, value_name = "N", default_value_t = Dynamics::default().points)]
    pub points: usize,
    /// Seed of the data, of the first weights and of the samples.
    #[arg(long, value_name = "N", default_value_t = Dynamics::default().seed)]
    pub seed: u64,
}

/// What is learned from.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What it learns from")]
pub struct What {
    /// Dimensions of generated data (D): a number, or inf for the limit of many, which only the equations know [default: 500].
    #[arg(long, value_name = "D", value_parser = data::dimensions)]
    pub d: Option<f64>,
    /// Generated data of this many spikes of standard deviation 3, 5, 9, 17, … over white noise, scaled to a mean variance of 1 [default: 2].
    #[arg(long, value_name = "M")]
    pub spikes: Option<usize>,
    /// The spikes lie along sines instead of random directions.
    #[arg(long)]
    pub sines: bool,
    /// Generated data whose spikes have these shares of the variance, along random orthogonal directions.
    #[arg(long, value_name = "SHARES", value_delimiter = ',', conflicts_with_all = ["spikes", "sines"])]
    pub shares: Vec<f64>,
    /// The share of all other directions together [default: what --shares leave of 1].
    #[arg(long, value_name = "SHARE", requires = "shares")]
    pub bulk: Option<f64>,
    /// Rows to learn from instead: an embedded name, a fetched name, or a path. They are scaled to a standard deviation of ½ about 0, the rows held out by their own.
    #[arg(long, value_name = "DATA", conflicts_with_all = ["d", "spikes", "sines", "shares", "bulk"])]
    pub data: Option<OsString>,
    /// Hold this share (0.2, 20%) or number (500) of the rows out, drawn by --seed: errors are theirs; 0 holds none out [default: 0.2].
    #[arg(long, value_name = "PART", requires = "data")]
    pub test: Option<HeldOut>,
    /// Learn from no more than the first N of the other rows.
    #[arg(long, value_name = "N", requires = "data", value_parser = crate::args::positive)]
    pub keep: Option<usize>,
    /// Descend on Gaussian samples of the same second moments as the rows, instead of on the rows.
    #[arg(long, requires = "data", conflicts_with = "ode")]
    pub gaussian: bool,
    /// Height and width of the images that the rows are, where the file does not say, such as 19x19.
    #[arg(long, value_name = "HxW", requires = "data", value_parser = crate::args::shape)]
    pub image: Option<(usize, usize)>,
    #[command(flatten)]
    pub reading: Reading,
}

/// How the equations are written; see [`Form`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Written {
    /// As the weights.
    Vectors,
    /// As products of weights.
    Modes,
}

impl From<Written> for Form {
    fn from(written: Written) -> Self {
        match written {
            Written::Vectors => Self::Vectors,
            Written::Modes => Self::Modes,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  mereo dynamics --shares 0.7143,0.2571 --bulk 0.0286 --until 400    two components, learned one after the other; theory and simulation
  mereo dynamics --d inf --shares 0.7,0.27,0.03 --until 1e4 --eta 1  the limit of many dimensions: encoders shrink and decoders grow for ever
  mereo dynamics --activation relu --k 3 --bias --eta 0.2            what biases are for
  mereo dynamics --spikes 3 --k 3 --rule truncated                   units that find the components themselves
  mereo dynamics --data faces --resize 16x16 --k 4                   real images beside the theory of Gaussian ones
  mereo dynamics --curves run.parquet --json                         every number

The autoencoder is Σ v g(w·x/√D), K units that learn from one sample a step by online gradient descent; time is s = samples / D, and the error is half the mean
squared error of a number. As D grows, learning follows equations of a few order parameters: Q, R, T0 and T1, the overlaps of encoders and decoders. PCA(m) is the error of m
principal components. A run that diverges writes what was good, and ends with exit code 1; one that is stopped by Ctrl-C does, with exit code 130.";

/// A course of learning, and what its errors are compared with.
pub(crate) struct Run<'a> {
    /// `theory` or `simulation`.
    pub name: &'static str,
    pub path: Path,
    /// Of which the errors are, for those of PCA.
    pub measured: &'a Population,
}

/// Runs what was asked for, prints the table and writes the page.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    check_outputs(args)?;
    let how: Dynamics = typed(&args.how)?;
    let (ode, sgd) = which(args)?;
    stop::on_request("stopping at the next point in time", global.quiet);
    let scene = Scene::open(args, &how, global)?;
    let start = scene.population.cols().map(|_| how.start(&scene.population)).transpose()?;
    let mut runs = Vec::new();
    let mut left_out = Vec::new();
    if ode {
        match theory(args, &how, &scene, start.as_ref(), global) {
            Ok(path) => runs.push(Run { name: "theory", path, measured: &scene.population }),
            // It began, and the descent may do without.
            Err((why, true)) if sgd => {
                global.say(format_args!("note: {why}"));
                left_out.push(format!("The equations are left out: {why}."));
            }
            Err((why, _)) => return Err(why.into()),
        }
    }
    if let Some(start) = start.as_ref().filter(|_| sgd && !stop::asked()) {
        let bar = &mut Progress::new("descending", global);
        let mut watch = |p: &Point| seen(bar, "descent", p, how.until);
        let path = simulate(&how, &scene.population, scene.input(), start, &mut watch)?;
        bar.clear();
        runs.push(Run { name: "simulation", path, measured: scene.measured() });
    }
    let curves = args.curves.as_ref().filter(|_| !runs.is_empty());
    if let Some(path) = curves {
        let (names, numbers) = table::curves(&runs, how.k)?;
        output::keep(path, "the table of all numbers", |path| export::write_table(path, &numbers, &names))?;
    }
    let document = document(&how, &scene, &runs, left_out);
    let path = curves.map(|p| std::path::absolute(p).unwrap_or_else(|_| p.clone()).display().to_string());
    publish(&document, &args.output, global, told(args, &how, &scene, &runs, &document, path.as_deref()))?;
    if let Some(path) = path.filter(|_| !global.json) {
        show::print(&format!("numbers written to {path}\n"))?;
    }
    if let Some(why) = runs.iter().find_map(|r| diverged(r, &how)) {
        return Err(Failure::Told(why));
    }
    if stop::asked() {
        return Err(Failure::Interrupted("stopped; the page and the table show what was learned until then".into()));
    }
    Ok(())
}

/// Refuses places that can't be written to, before the work.
fn check_outputs(args: &Args) -> Result<()> {
    let data = args.what.data.as_deref().and_then(load::file);
    output::check(&args.output, &data.into_iter().collect::<Vec<_>>())?;
    if let Some(curves) = &args.curves {
        let ending = curves.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
        if !["csv", "tsv", "parquet"].contains(&ending.as_str()) {
            return Err(Failure::usage(format!(
                "--curves {} must end in .csv, .tsv or .parquet, which have room for names of columns",
                curves.display()
            )));
        }
        output::check(curves, &data.into_iter().chain([args.output.as_path()]).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Whether to integrate, and whether to descend.
fn which(args: &Args) -> Result<(bool, bool)> {
    let endless = args.what.d == Some(f64::INFINITY);
    if endless && (args.sgd || args.both) {
        return Err(Failure::usage(
            "--d inf has equations only: infinitely many dimensions can't be sampled; drop --sgd and --both, or set --d to a number",
        ));
    }
    Ok((!args.sgd, !args.ode && !endless))
}

/// What a point shows to those who wait; asks for an end where Ctrl-C did.
fn seen(bar: &mut Progress, what: &str, p: &Point, until: f64) -> ControlFlow<()> {
    bar.time(what, (p.s, until), p.error);
    if stop::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// The equations. An error says whether they had begun.
fn theory(
    args: &Args,
    how: &Dynamics,
    scene: &Scene,
    start: Option<&Start>,
    global: &Global,
) -> std::result::Result<Path, (mereo::Error, bool)> {
    let mut bar = Progress::new("integrating", global);
    let mut begun = false;
    let path = integrate_as(args.form.into(), how, &scene.population, start, &mut |p| {
        begun = true;
        seen(&mut bar, "equations", p, how.until)
    });
    bar.clear();
    path.map_err(|e| (e, begun))
}

/// What to say of a run that diverged.
fn diverged(run: &Run, how: &Dynamics) -> Option<String> {
    let Ended::Diverged { s } = run.path.ended else { return None };
    let error = run.path.points.last().map_or(f64::NAN, |p| p.error);
    Some(format!(
        "the {} diverged after s = {}, where its error was still {}; lower --eta from {}",
        run.name,
        number(s),
        show::number(error),
        how.eta
    ))
}

/// The answer in sentences.
fn verdict(runs: &[Run], how: &Dynamics) -> Vec<String> {
    let mut said: Vec<String> = runs.iter().filter_map(|r| table::verdict(r, how.k)).collect();
    if let [theory, simulation] = runs {
        said.extend(table::gap(&theory.path, &simulation.path));
    }
    for run in runs {
        if run.path.ended == Ended::Stopped {
            let s = run.path.points.last().map_or(0.0, |p| p.s);
            said.push(format!("The {} was stopped at s = {} of {}.", run.name, number(s), number(how.until)));
        }
        said.extend(diverged(run, how).map(|why| capital(&why) + "."));
    }
    if runs.is_empty() {
        said.push("Nothing was run before it was stopped.".into());
    }
    said
}

fn document(how: &Dynamics, scene: &Scene, runs: &[Run], left_out: Vec<String>) -> Document {
    let mut page = Document {
        title: format!("How {} autoencoder learns {}", page::unit(how), scene.name),
        facts: vec![scene.line(how.k), page::line(how)],
        summary: verdict(runs, how),
        left_out,
        command: show::typed(std::env::args_os()),
        made: scene.made.clone(),
        ..Document::default()
    };
    for run in runs {
        let unit = if run.name == "theory" { "evaluations of the equations" } else { "samples" };
        let steps = show::count(usize::try_from(run.path.steps).unwrap_or(usize::MAX));
        page.made.push((capital(run.name), format!("{steps} {unit}, {}", show::seconds(run.path.seconds))));
    }
    let path = |name: &str| runs.iter().find(|r| r.name == name).map(|r| &r.path);
    let (theory, simulation) = (path("theory"), path("simulation"));
    let Some(shown) = runs.last() else { return page };
    let lines = page::pca_lines(shown.measured, how.k);
    let named = |path: Option<_>, name| path.map(|p| (name, p)).into_iter().collect::<Vec<(&str, &Path)>>();
    let errors = page::error_plot("Error", &named(theory, "theory"), &named(simulation, "simulation"), &lines);
    let mut first = vec![errors];
    first.extend(page::excess_plot(how, theory, simulation, scene));
    page.sections = vec![
        Section { title: "Error".into(), note: page::error_note(how, scene, runs), blocks: vec![Block::Plots(first)] },
        Section { title: "The course".into(), note: table::note(runs), blocks: vec![Block::Table(table::course(runs, how.k))] },
        Section {
            title: "Phases".into(),
            note: table::PHASES.into(),
            blocks: vec![Block::Table(table::phases(runs, how, &scene.population))],
        },
        page::order_section(how, theory, simulation),
        page::norm_section(how, &scene.population, theory, simulation),
        page::spectrum_section(how, &scene.population),
    ];
    if page::follows(&shown.path) {
        page.sections.insert(5, page::weight_section(how, shown, scene.image, &scene.population));
        page.sections.insert(3, page::overlaps(how, shown, &scene.population));
    }
    page
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The JSON document: everything.
fn told(args: &Args, how: &Dynamics, scene: &Scene, runs: &[Run], page: &Document, curves: Option<&str>) -> Value {
    let mut json = json!({
        "params": how,
        "form": args.form,
        "data": scene.told(),
        "verdict": page.summary,
        "left_out": page.left_out,
        "curves": curves,
    });
    for run in runs {
        let mut told = json!(run.path);
        told["pca"] = json!((0..=how.k).map(|m| run.measured.pca(m)).collect::<Vec<_>>());
        told["phases"] = json!(run.path.phases(run.measured, how.k));
        told["diverged"] = json!(diverged(run, how));
        json[run.name] = told;
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::{CommandFactory, FromArgMatches};

    fn args(line: &str) -> Args {
        let words = ["mereo", "dynamics"].into_iter().chain(line.split_whitespace());
        let matches = Cli::command().get_matches_from(words);
        Args::from_arg_matches(matches.subcommand().expect("dynamics").1).expect("flags")
    }

    #[test]
    fn every_parameter_is_a_flag_with_the_same_default() {
        let command = Cli::command().find_subcommand("dynamics").expect("command").clone();
        let how: Dynamics = typed(&args("").how).expect("parameters");
        let (flags, ours) = (json!(how), json!(Dynamics::default()));
        crate::commands::choice::agree("dynamics", &command, &flags, &ours, &["curves", "form", "data"]);
        let how: Dynamics = typed(&args("--rule sanger --activation linear --begin informed --tied -k 5").how).expect("typed");
        assert_eq!((how.rule, how.activation, how.begin), (Rule::Sanger, Activation::Linear, Begin::Informed));
        assert!(how.tied && how.k == 5);
    }

    #[test]
    fn both_are_run_where_both_exist() {
        let runs = |line: &str| which(&args(line)).ok();
        assert_eq!(runs(""), Some((true, true)));
        assert_eq!(runs("--ode"), Some((true, false)));
        assert_eq!(runs("--sgd"), Some((false, true)));
        assert_eq!(runs("--d inf"), Some((true, false)));
        assert_eq!(runs("--d inf --both"), None);
    }
}
