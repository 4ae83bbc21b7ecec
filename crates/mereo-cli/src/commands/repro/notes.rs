//! Four experiments with NMF of faces: two sets of parts of the Olivetti faces, 64 components of LFW at two sizes, and the error on
//! held-out faces against the number of rows; with scikit-learn beside, and the grid that their conclusions are held against.

use super::peer::{self, Done, Exchange, Job};
use super::{Faces, embedded, find, is, list, read, rows, unit};
use crate::args::Global;
use crate::commands::parts::{self, Axes, Grid, MEASURES, Start, Steps, Tries, What};
use crate::failure::{Failure, Result};
use crate::fetch;
use crate::methods::Runner;
use crate::subject::{self, cells};
use crate::{show, stop};
use mereo::source::Memory;
use mereo::{Mat, Model, Nmf, NmfInit, Recipe, measure};
use mereo_report::{Block, Document, Plate, Plot, Section, Table};
use serde::Serialize;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The notes' table of LFW: rows, mean squared error on them (from their Frobenius errors, which the notes call test errors) and on
/// 1,833 held-out rows.
pub const TABLE: [(usize, f64, f64); 6] = [
    (200, 0.00281, 0.00621),
    (500, 0.00353, 0.00474),
    (1000, 0.00397, 0.00433),
    (2000, 0.00404, 0.00418),
    (4000, 0.00403, 0.00411),
    (7331, 0.00408, 0.00408),
];
/// Atoms of LFW.
const K: usize = 64;
/// Rows of its smaller picture.
const SMALL: usize = 400;

/// Flags of `mereo repro notes`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with olivettifaces.mat, and with the LFW faces as .npy (2,914 columns) with the row numbers of train_….npy and test_….npy;
    /// without it, what was fetched (olivetti, lfw), else the embedded faces.
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Passes over the rows at most.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = crate::args::positive)]
    pub max_passes: usize,
    /// The Python that is asked for scikit-learn; `none` asks none.
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    pub python: OsString,
    /// Leave out the grid.
    #[arg(long)]
    pub no_grid: bool,
    /// Seed of all randomness.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Where to write the page.
    #[arg(short, long, value_name = "FILE", default_value = "notes.html")]
    pub output: PathBuf,
}

/// Rows to learn from in the order in which they are taken, and rows held out.
struct Split {
    faces: Faces,
    train: Mat,
    test: Mat,
}

fn pick(x: &Mat, which: &[usize]) -> Mat {
    let data = which.iter().flat_map(|&i| x.row(i).iter().copied()).collect();
    Mat { rows: which.len(), cols: x.cols, data }
}

/// A fifth held out, the rest in random order.
fn split(faces: Faces, seed: u64) -> Result<Split> {
    let (mut train, test) = parts::sides(faces.x.rows, seed)?;
    mereo::rng::rng(seed, mereo::fold::stream::SPLIT, 2).shuffle(&mut train);
    Ok(Split { train: pick(&faces.x, &train), test: pick(&faces.x, &test), faces })
}

fn fetched(name: &str, image: (usize, usize)) -> Result<Option<Faces>> {
    let Some(have) = fetch::cached(name) else { return Ok(None) };
    let x = unit(read(&have.path)?);
    Ok((x.cols == image.0 * image.1).then(|| Faces {
        name: have.name,
        credit: have.credit.unwrap_or_default(),
        x,
        image,
        own: true,
    }))
}

/// 400 faces of 64×64.
fn olivetti(args: &Args) -> Result<Faces> {
    const SIDE: usize = 64;
    let file = match &args.data {
        Some(folder) => find(folder, &|name| name == "olivettifaces.mat")?,
        None => None,
    };
    let Some(file) = file else {
        return Ok(match fetched("olivetti", (SIDE, SIDE))? {
            Some(faces) => faces,
            None => embedded()?,
        });
    };
    // A column is a picture, stored column by column.
    let turned = read(&file)?.transpose();
    if turned.cols != SIDE * SIDE {
        return Err(Failure::other(format!("{} has pictures of {} pixels, not 64×64", file.display(), turned.cols)));
    }
    let mut x = Mat::zeros(turned.rows, turned.cols);
    for i in 0..x.rows {
        let picture = Mat { rows: SIDE, cols: SIDE, data: turned.row(i).to_vec() };
        x.row_mut(i).copy_from_slice(&picture.transpose().data);
    }
    let (low, high) = x.data.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
    let span = if high > low { high - low } else { 1.0 };
    x.data.iter_mut().for_each(|v| *v = (*v - low) / span);
    Ok(Faces {
        name: "the Olivetti faces".into(),
        credit: "AT&T Laboratories Cambridge".into(),
        x,
        image: (SIDE, SIDE),
        own: true,
    })
}

/// LFW faces of 62×47 with the notes' split, where it is there.
fn lfw(args: &Args) -> Result<Split> {
    const SHAPE: (usize, usize) = (62, 47);
    let file = |starts: &str| match &args.data {
        Some(folder) => {
            let lfw = folder.join("lfw");
            find(if lfw.is_dir() { &lfw } else { folder }, &|name| name.starts_with(starts) && is(name, "npy"))
        }
        None => Ok(None),
    };
    let Some(path) = file("faces_9164")?.or(file("lfw")?) else {
        return split(
            match fetched("lfw", SHAPE)? {
                Some(faces) => faces,
                None => embedded()?,
            },
            args.seed,
        );
    };
    let x = unit(read(&path)?);
    if x.cols != SHAPE.0 * SHAPE.1 {
        return Err(Failure::other(format!("{} has {} columns, not the 2,914 pixels of 62×47", path.display(), x.cols)));
    }
    let credit = "Labeled Faces in the Wild, Huang et al. 2007".into();
    let faces = Faces { name: "the LFW faces".into(), credit, x, image: SHAPE, own: true };
    let (Some(train), Some(test)) = (file("train_")?, file("test_")?) else { return split(faces, args.seed) };
    let numbers = |path: &PathBuf| -> Result<Vec<usize>> {
        let found = list(path)?;
        match found.iter().find(|i| **i >= faces.x.rows) {
            Some(i) => Err(Failure::other(format!("{} names row {i} of {}", path.display(), faces.x.rows))),
            None => Ok(found),
        }
    };
    Ok(Split { train: pick(&faces.x, &numbers(&train)?), test: pick(&faces.x, &numbers(&test)?), faces })
}

/// One fit of ours.
#[derive(Debug, Clone, Serialize)]
struct Fit {
    experiment: usize,
    rows: usize,
    k: usize,
    init: NmfInit,
    /// Mean squared errors.
    train: f64,
    test: f64,
    sparseness: f64,
    seconds: f64,
    passes: usize,
    #[serde(skip)]
    atoms: Mat,
}

/// What is to be fitted.
#[derive(Clone, Copy)]
struct Plan {
    experiment: usize,
    rows: usize,
    k: usize,
    init: NmfInit,
}

fn fit(plan: Plan, split: &Split, args: &Args, runner: &Runner) -> Result<Fit> {
    let Plan { experiment, rows, k, init } = plan;
    let x = Mat { rows, cols: split.train.cols, data: split.train.data[..rows * split.train.cols].to_vec() };
    let how = Nmf { k, init, max_passes: args.max_passes, seed: args.seed, ..Nmf::default() };
    let (model, facts) = runner.fit(&format!("{rows} rows"), &how, &Memory::from(&x))?;
    let error = |x: &Mat| -> Result<f64> { Ok(measure::errors(&model, &Memory::from(x))?.rmse.powi(2)) };
    Ok(Fit {
        experiment,
        rows,
        k,
        init,
        train: error(&x)?,
        test: error(&split.test)?,
        sparseness: measure::atoms(model.atoms(), None).sparseness.mean,
        seconds: facts.seconds,
        passes: facts.curve.len(),
        atoms: model.atoms().clone(),
    })
}

fn word(init: NmfInit) -> &'static str {
    if init == NmfInit::Random { "random" } else { "nndsvda" }
}

/// What is fitted, experiment by experiment.
fn plans<'a>(first: &'a Split, second: &'a Split) -> Vec<(Plan, &'a Split)> {
    let n = second.train.rows;
    let sizes: Vec<usize> = if second.faces.own {
        TABLE.iter().map(|t| t.0.min(n)).collect()
    } else {
        // As many as leave more rows than atoms, up to all.
        [80, 120, 160, 240, n].into_iter().filter(|s| *s <= n).collect()
    };
    let small = if second.faces.own { SMALL.min(n) } else { 80 };
    // The first two are fitted to all rows but those held out, to tell an error on rows not seen as well.
    let mut plans = vec![
        (Plan { experiment: 1, rows: first.train.rows, k: 16, init: NmfInit::Random }, first),
        (Plan { experiment: 2, rows: first.train.rows, k: 36, init: NmfInit::Nndsvda }, first),
        (Plan { experiment: 3, rows: small, k: K, init: NmfInit::Nndsvda }, second),
        (Plan { experiment: 3, rows: n, k: K, init: NmfInit::Nndsvda }, second),
    ];
    plans.extend(sizes.iter().map(|&rows| (Plan { experiment: 4, rows, k: K, init: NmfInit::Nndsvda }, second)));
    plans
}

/// All fits, none of them twice.
fn fitted(plans: &[(Plan, &Split)], args: &Args, runner: &Runner) -> Result<Vec<Fit>> {
    let mut fits: Vec<Fit> = Vec::new();
    for (plan, split) in plans {
        // The last size of the curve is the larger picture.
        let same = |f: &&Fit| f.experiment == 3 && plan.experiment == 4 && f.rows == plan.rows;
        let done = match fits.iter().find(same) {
            Some(f) => Fit { experiment: 4, ..f.clone() },
            None => fit(*plan, split, args, runner)?,
        };
        fits.push(done);
    }
    Ok(fits)
}

/// The atoms of the first three experiments, ours and theirs.
fn plates(fits: &[Fit], pictures: Vec<Option<Mat>>, first: &Split, second: &Split) -> Vec<Plate> {
    let image = |f: &Fit| if f.experiment < 3 { first.faces.image } else { second.faces.image };
    let mut plates = Vec::new();
    for (f, picture) in fits.iter().zip(pictures).filter(|(f, _)| f.experiment < 4) {
        let on = if f.experiment < 3 { &first.faces.name } else { &second.faces.name };
        let title = format!("{}. {on}, {} rows, {} atoms from {}", f.experiment, show::count(f.rows), f.k, word(f.init));
        let under = vec![format!("mereo: sparse {:.2}, held-out MSE {:.5}", f.sparseness, f.test)];
        plates.push(Plate { title: title.clone(), atoms: f.atoms.clone(), image: Some(image(f)), under });
        if let Some(atoms) = picture {
            let sparse = measure::atoms(&atoms, None).sparseness.mean;
            plates.push(Plate { title, atoms, image: Some(image(f)), under: vec![format!("scikit-learn: sparse {sparse:.2}")] });
        }
    }
    plates
}

/// Fits, asks scikit-learn for the same, and writes the page.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    subject::check(&args.output, OsStr::new(""))?;
    let cancel = stop::on_request("stopping", global.quiet);
    let runner = Runner { memory: None, cancel, global, left: "nothing was written" };
    let (first, second) = (split(olivetti(args)?, args.seed)?, lfw(args)?);
    let mut left_out = Vec::new();
    for (faces, what) in [(&first.faces, "Olivetti"), (&second.faces, "LFW")] {
        if !faces.own {
            left_out.push(format!(
                "No {what} faces were at hand (--data FOLDER, or `mereo data fetch {}`), so the embedded ones stand in.",
                what.to_lowercase()
            ));
        }
    }
    let n = second.train.rows;
    let plans = plans(&first, &second);
    let fits = fitted(&plans, args, &runner)?;
    let theirs = beside(args, &plans, &first, &second)?;
    if let Err(why) = &theirs {
        left_out.push(format!("scikit-learn is left out: {why}."));
    }
    for line in &left_out {
        global.say(format_args!("note: {line}"));
    }
    let (version, done, pictures) = match theirs {
        Ok((version, done, pictures)) => (Some(version), done, pictures),
        Err(_) => (None, vec![None; fits.len()], vec![None; fits.len()]),
    };
    let mut sections = vec![
        Section {
            title: "All fits".into(),
            note: NOTE.into(),
            blocks: vec![Block::Table(table(&fits, &done, second.faces.own))],
        },
        Section {
            title: "Held-out error against rows".into(),
            note: String::new(),
            blocks: vec![Block::Plots(vec![curve(&fits, &done, second.faces.own)])],
        },
    ];
    sections.push(Section {
        title: "Atoms".into(),
        note: String::new(),
        blocks: vec![Block::Plates(plates(&fits, pictures, &first, &second))],
    });
    let mut summary = Vec::new();
    let mut conclusions = Vec::new();
    if !args.no_grid {
        let grid = study(&first.faces, args, &runner)?;
        conclusions = said(&grid, &fits, second.faces.own);
        summary = grid.answer();
        sections.insert(
            0,
            Section {
                title: "What a grid says of the conclusions".into(),
                note: format!(
                    "One change at a time, on {}, 16 atoms from a random start on raw rows unless told otherwise.",
                    first.faces.name
                ),
                blocks: vec![Block::Table(verdicts(&conclusions))],
            },
        );
        sections.push(Section {
            title: "The grid".into(),
            note: String::new(),
            blocks: vec![Block::Table(grid.table()), Block::Table(grid.effects())],
        });
        sections.extend(grid.sections(Some(first.faces.image)));
    }
    let page = Document {
        title: "Four experiments with parts of faces, done again".into(),
        facts: vec![
            format!(
                "{}: {} rows, {} held out · {}: {} rows, {} held out",
                first.faces.name,
                first.train.rows,
                first.test.rows,
                second.faces.name,
                show::count(n),
                show::count(second.test.rows)
            ),
            format!("at most {} passes, tolerance 1e-4, seed {}", args.max_passes, args.seed),
        ],
        summary,
        left_out,
        sections,
        command: show::typed(std::env::args_os()),
        made: vec![
            ("Threads".into(), format!("{}, for both sides", rayon::current_num_threads())),
            ("scikit-learn".into(), version.clone().unwrap_or_else(|| "not asked or not there".into())),
            ("Credit".into(), format!("{}; {}", first.faces.credit, second.faces.credit)),
        ],
    };
    let json =
        serde_json::json!({ "fits": fits, "scikit_learn": { "version": version, "fits": done }, "conclusions": conclusions });
    subject::publish(&page, &args.output, global, json)
}

const NOTE: &str = "\
MSE: mean squared error of a pixel, 0 to 1. The notes head one column \"test recon_err\"; by its size it is the Frobenius error of the training rows, and is \
told here as their MSE. They give numbers for experiment 4 only; 1 to 3 are pictures there. Both sides take the same rows, start, tolerance and limit of passes; \
scikit-learn's random numbers are its own. Experiments 1 and 2 hold a fifth of the rows out here, so that there is a held-out error.";

type Theirs = (String, Vec<Option<Done>>, Vec<Option<Mat>>);

/// The same fits by scikit-learn, with pictures of the first three experiments; or why not.
fn beside(args: &Args, plans: &[(Plan, &Split)], first: &Split, second: &Split) -> Result<std::result::Result<Theirs, String>> {
    if args.python == "none" {
        return Ok(Err("it was not asked for".into()));
    }
    // Nothing is written for a Python that has none.
    if let Err(why) = peer::run(&args.python, &[])? {
        return Ok(Err(why));
    }
    let files = Exchange::new()?;
    let mut paths = Vec::new();
    for (i, split) in [first, second].into_iter().enumerate() {
        paths.push((files.put(&format!("train{i}.npy"), &split.train)?, files.put(&format!("test{i}.npy"), &split.test)?));
    }
    let job = |(i, (plan, _)): (usize, &(Plan, &Split))| {
        let (train, test) = paths[usize::from(plan.experiment > 2)].clone();
        let atoms = files.path(&format!("atoms{i}.npy"));
        Job {
            train,
            test,
            rows: plan.rows,
            k: plan.k,
            init: word(plan.init),
            passes: args.max_passes,
            tol: 1e-4,
            seed: args.seed,
            atoms,
        }
    };
    let jobs: Vec<Job> = plans.iter().enumerate().map(job).collect();
    match peer::run(&args.python, &jobs)? {
        Err(why) => Ok(Err(why)),
        Ok((version, done)) => {
            let pictures =
                jobs.iter().zip(plans).map(|(j, (p, _))| if p.experiment < 4 { read(&j.atoms).map(Some) } else { Ok(None) });
            Ok(Ok((version, done.into_iter().map(Some).collect(), pictures.collect::<Result<_>>()?)))
        }
    }
}

/// The notes' numbers of a fit: training and held-out MSE.
fn noted(f: &Fit, own: bool) -> Option<(f64, f64)> {
    let row = TABLE.iter().find(|t| own && f.experiment == 4 && t.0 == f.rows)?;
    Some((row.1, row.2))
}

fn table(fits: &[Fit], done: &[Option<Done>], own: bool) -> Table {
    let mse = |v: Option<f64>| v.map_or("–".into(), |v| format!("{v:.5}"));
    let row = |(f, d): (&Fit, &Option<Done>)| {
        let notes = noted(f, own);
        vec![
            f.experiment.to_string(),
            show::count(f.rows),
            f.k.to_string(),
            word(f.init).into(),
            mse(notes.map(|n| n.0)),
            mse(Some(f.train)),
            mse(d.as_ref().map(|d| d.train)),
            mse(notes.map(|n| n.1)),
            mse(Some(f.test)),
            mse(d.as_ref().map(|d| d.test)),
            show::seconds(f.seconds),
            d.as_ref().map_or("–".into(), |d| show::seconds(d.seconds)),
            d.as_ref().map_or("–".into(), |d| format!("{:.1}×", d.seconds / f.seconds)),
            f.passes.to_string(),
        ]
    };
    Table {
        header: cells(&[
            "experiment",
            "rows",
            "k",
            "start",
            "training MSE, notes",
            "ours",
            "sklearn",
            "held-out MSE, notes",
            "ours",
            "sklearn",
            "time, ours",
            "sklearn",
            "ratio",
            "passes",
        ]),
        rows: fits.iter().zip(done).map(row).collect(),
        words: vec![3],
        ..Table::default()
    }
}

fn curve(fits: &[Fit], done: &[Option<Done>], own: bool) -> Plot {
    let of = |value: &dyn Fn(&Fit, &Option<Done>) -> Option<f64>| -> Vec<(f64, f64)> {
        fits.iter()
            .zip(done)
            .filter(|(f, _)| f.experiment == 4)
            .filter_map(|(f, d)| Some((f.rows as f64, value(f, d)?)))
            .collect()
    };
    let mut lines = vec![("held out".to_string(), of(&|f, _| Some(f.test))), ("training".to_string(), of(&|f, _| Some(f.train)))];
    for (name, points) in [("notes", of(&|f, _| Some(noted(f, own)?.1))), ("sklearn", of(&|_, d| Some(d.as_ref()?.test)))] {
        if !points.is_empty() {
            lines.push((name.to_string(), points));
        }
    }
    Plot {
        title: "64 atoms".into(),
        x: "rows to learn from".into(),
        y: "MSE".into(),
        log: (true, false),
        ticks: Some(fits.iter().filter(|f| f.experiment == 4).map(|f| f.rows as f64).collect()),
        lines,
        ..Plot::default()
    }
}

/// Start, number of atoms, number of rows, preparation and constraint on the faces of the first two experiments.
fn study(faces: &Faces, args: &Args, runner: &Runner) -> Result<Grid> {
    let train = faces.x.rows - faces.x.rows / 5;
    let axes = Axes {
        k: vec![16, 36, 64],
        rows: vec![train, train / 2, train / 4],
        start: vec![Start::Random, Start::Nndsvda],
        prep: vec![Steps(vec![]), Steps(vec![Recipe::LeeSeung])],
        constraint: [What::None, What::L1, What::MuKl].map(Into::into).to_vec(),
    };
    let opened = crate::subject::Opened { rows: rows(&faces.x), ..faces.opened() };
    parts::grid(&opened, axes, false, &Tries { seed: args.seed, seeds: 2, max_passes: args.max_passes }, runner)
}

/// A conclusion, and what was found.
#[derive(Debug, Serialize)]
struct Verdict {
    conclusion: &'static str,
    found: String,
    so: String,
}

/// The three conclusions: on the start, on the number of atoms, and on the number of rows.
fn said(grid: &Grid, fits: &[Fit], own: bool) -> Vec<Verdict> {
    let at = |name: &str, axis: usize, value: usize| {
        MEASURES.iter().find(|m| m.0 == name).and_then(|m| grid.at(axis, value, m.1)).unwrap_or(f64::NAN)
    };
    let (sparse, spread) = ("sparse atoms", "spread");
    let start = at(sparse, 2, 1) - at(sparse, 2, 0);
    let count = at(sparse, 0, 2) - at(sparse, 0, 0);
    let prep = at(sparse, 3, 1) - at(sparse, 3, 0);
    let more = at(sparse, 1, 0) - at(sparse, 1, 2);
    let curve: Vec<&Fit> = fits.iter().filter(|f| f.experiment == 4).collect();
    let gap = |f: &Fit| 100.0 * (f.test / f.train - 1.0);
    let (low, high) = (curve.first(), curve.last());
    let closes = low.zip(high).map_or(String::new(), |(a, b)| {
        let notes = if own { "; in the notes 121 % and 0 %" } else { "" };
        format!(
            "Held-out MSE {:.5} at {} rows and {:.5} at {}: {:.0} % and {:.1} % above training{notes}. Sparseness {:.3} at all rows, {:.3} at a quarter; held-out error {:.3}, {:.3}.",
            a.test, show::count(a.rows), b.test, show::count(b.rows), gap(a), gap(b), at(sparse, 1, 0), at(sparse, 1, 2), at("held out", 1, 0), at("held out", 1, 2)
        )
    });
    let falls = curve.windows(2).all(|w| w[1].test <= w[0].test * 1.002);
    vec![
        Verdict {
            conclusion: "NNDSVDa yields more localised parts than a random start",
            found: format!(
                "At 16 atoms: sparseness {:.3} from NNDSVDa, {:.3} from random; spread {:.3}, {:.3}. The notes changed the number of atoms at the same time.",
                at(sparse, 2, 1),
                at(sparse, 2, 0),
                at(spread, 2, 1),
                at(spread, 2, 0)
            ),
            so: if start <= 0.01 {
                "not supported: it was not the start".into()
            } else {
                format!("supported here: sparser by {start:.3}")
            },
        },
        Verdict {
            conclusion: "More components yield more localised parts",
            found: format!(
                "Sparseness {:.3}, {:.3}, {:.3} at 16, 36, 64 atoms; spread {:.3}, {:.3}, {:.3}. The contrast stretch alone moves it by {prep:.3}.",
                at(sparse, 0, 0),
                at(sparse, 0, 1),
                at(sparse, 0, 2),
                at(spread, 0, 0),
                at(spread, 0, 1),
                at(spread, 0, 2)
            ),
            so: match (count > 0.01, prep > count) {
                (true, true) => "supported, but preparation does more".into(),
                (true, false) => "supported".into(),
                (false, _) => "not supported".into(),
            },
        },
        Verdict {
            conclusion: "More samples yield atoms that generalise",
            found: closes,
            so: format!(
                "{}; it {} the atoms {}",
                if falls { "supported for the error" } else { "not supported: the error does not fall throughout" },
                if more.abs() <= 0.01 { "leaves" } else { "makes" },
                if more.abs() <= 0.01 {
                    "as sparse as they were"
                } else if more > 0.0 {
                    "sparser"
                } else {
                    "less sparse"
                }
            ),
        },
    ]
}

fn verdicts(all: &[Verdict]) -> Table {
    Table {
        header: cells(&["the notes", "found", "so"]),
        rows: all.iter().map(|v| vec![v.conclusion.into(), v.found.clone(), v.so.clone()]).collect(),
        words: vec![1, 2],
        ..Table::default()
    }
}
