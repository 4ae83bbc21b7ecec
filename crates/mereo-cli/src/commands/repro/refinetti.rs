//! Refinetti & Goldt 2022: the claims R1 to R11 on how shallow autoencoders learn, in the order of the paper's argument.

use super::{embedded, find, is, read, table, verdict};
use crate::args::Global;
use crate::commands::dynamics::page;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::subject::{self, cells};
use crate::{show, stop};
use mereo::Mat;
use mereo::dynamics::claims::{self, Claim, Course, Size};
use mereo::dynamics::cumulant::Found;
use mereo::dynamics::{Activation, Path, Point, Rule};
use mereo_report::{Block, Document, Section, Table};
use rayon::prelude::*;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Instant;

/// Flags of `mereo repro refinetti`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with grey CIFAR-10 images (an .npy file of 1,024 columns, in a folder `cifar10` or named so); without it, the embedded faces.
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Fewer seeds and fewer dimensions: under two minutes on two cores.
    #[arg(long)]
    pub quick: bool,
    /// The seed of the first run of each claim; others follow.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Where to write the page.
    #[arg(short, long, value_name = "FILE", default_value = "refinetti.html")]
    pub output: PathBuf,
}

/// Images for R11.
struct Images {
    x: Mat,
    name: String,
    credit: String,
    own: bool,
}

/// The images of a folder, else the embedded faces, two by two pixels averaged.
fn images(args: &Args) -> Result<Images> {
    let path = match &args.data {
        Some(folder) => find(folder, &|name| is(name, "npy") && (name.contains("cifar") || name.contains("1024")))?,
        None => None,
    };
    if let Some(path) = path {
        let x = read(&path)?;
        return Ok(Images { x, name: path.display().to_string(), credit: "Krizhevsky 2009 (CIFAR-10)".into(), own: true });
    }
    let faces = embedded()?;
    let x = mereo::data::halved(&faces.x, faces.image)?;
    Ok(Images { x, name: "the embedded faces, 32×32 pixels".into(), credit: faces.credit, own: false })
}

/// A step of the work: a claim and how long it took.
type Job<'a> = (&'static str, Box<dyn Fn() -> mereo::Result<Claim> + 'a>);

/// Does it again, claim by claim.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    subject::check(&args.output, OsStr::new(""))?;
    let _ = stop::on_request("stopping after this claim", global.quiet);
    let images = images(args)?;
    if !images.own {
        global.say(format_args!("note: no CIFAR-10 images at hand (--data FOLDER), so R11 is done on {}", images.name));
    }
    let size = if args.quick { Size::quick(args.seed) } else { Size::full(args.seed) };
    let started = Instant::now();
    let jobs: Vec<Job> = vec![
        ("R1", Box::new(|| claims::r1(size))),
        ("R2", Box::new(|| claims::r2(size))),
        ("R3", Box::new(|| claims::r3(size))),
        ("R4", Box::new(|| claims::r4(size))),
        ("R5", Box::new(|| claims::r5(size))),
        ("R6", Box::new(|| claims::r6(size))),
        ("R7", Box::new(|| claims::r7(size))),
        ("R8", Box::new(|| claims::r8(size))),
        ("R9", Box::new(|| Ok(claims::r9()))),
    ];
    let mut all = Vec::new();
    for (id, job) in jobs {
        all.push(one(id, &*job, global)?);
    }
    let line = one("R10", &|| Ok(claims::r10(&all)), global)?;
    all.push(line);
    all.push(one("R11", &|| claims::r11(&images.x, size), global)?);
    let bar = Progress::new("forms of the equations, and a hidden direction", global);
    let pairs: Vec<(Activation, Rule)> = [Activation::Erf, Activation::Relu, Activation::Linear]
        .into_iter()
        .flat_map(|g| [(g, Rule::Vanilla), (g, Rule::Truncated)])
        .collect();
    let forms =
        pairs.par_iter().map(|(g, rule)| claims::forms(*g, *rule, 300.0, size.seed)).collect::<mereo::Result<Vec<_>>>()?;
    let forms = forms.into_iter().fold(0.0, f64::max);
    let hidden = claims::hidden(size)?;
    bar.clear();
    let verdict = verdict(all.iter().map(|c| (c.id, c.held)));
    let page = Document {
        title: "Refinetti & Goldt 2022, done again".into(),
        facts: vec![format!(
            "{} seeds a claim · up to {} dimensions · {} · {}",
            size.seeds,
            show::count(250 << (size.doublings - 1)),
            images.name,
            show::seconds(started.elapsed().as_secs_f64())
        )],
        summary: vec![
            verdict,
            format!(
                "Both forms of the equations agree to {forms:.0e} along courses up to s = 300 (three activations, two rules)."
            ),
        ],
        left_out: if images.own { vec![] } else { vec![format!("No CIFAR-10 images were at hand; R11 is of {}.", images.name)] },
        sections: sections(&all, &hidden),
        command: show::typed(std::env::args_os()),
        made: vec![("Threads".into(), rayon::current_num_threads().to_string()), ("Credit".into(), images.credit)],
    };
    let json = serde_json::json!({ "claims": all, "forms_apart": forms, "hidden": hidden, "images": images.name });
    subject::publish(&page, &args.output, global, json)
}

/// One claim, told as it comes.
fn one(id: &str, job: &dyn Fn() -> mereo::Result<Claim>, global: &Global) -> Result<Claim> {
    if stop::asked() {
        return Err(Failure::Interrupted("stopped; nothing was written".into()));
    }
    let bar = Progress::new(&format!("claim {id}"), global);
    let started = Instant::now();
    let claim = job()?;
    bar.clear();
    let held = if claim.held { "held" } else { "NOT held" };
    global.say(format_args!("{id} {held} ({}): {}; {}", show::seconds(started.elapsed().as_secs_f64()), claim.says, claim.found));
    Ok(claim)
}

/// A part of the argument: its title, what it says, the claims whose courses it shows, and which of these courses.
struct Part {
    title: &'static str,
    note: &'static str,
    ids: &'static [&'static str],
}

const PARTS: &[Part] = &[
    Part {
        title: "One component after the other",
        note: "A sigmoidal autoencoder with an untied decoder sees one sample a step. Its error falls from plateau to plateau, each at the error of PCA with one unit \
more: weights align with the principal component of the largest eigenvalue first. Lines are the equations, dots the descent, dashed the errors of PCA.",
        ids: &["R1"],
    },
    Part {
        title: "To the error of PCA, slowly",
        note: "Once weights are aligned, encoders shrink into the linear part of the sigmoid and decoders grow to make up for it. The excess over PCA falls as a power of time, \
so the last percent takes a hundred times as long as the first ninety.",
        ids: &["R2", "R3"],
    },
    Part {
        title: "The equations and the descent",
        note: "The same first weights by both, for more and more dimensions: the gap closes.",
        ids: &["R4"],
    },
    Part {
        title: "Tied weights fail",
        note: "A decoder that is the encoder transposed would have to be large while the encoder is small. The error stops far above PCA, whatever the learning rate.",
        ids: &["R5"],
    },
    Part {
        title: "Linear and rectified units",
        note: "Linear units reach PCA. A rectified unit passes half of what it sees, so it takes pairs of them, or one more unit and biases.",
        ids: &["R6", "R7"],
    },
    Part {
        title: "The components themselves",
        note: "Descent finds the space that the components span, turned within. When unit k only sees what units 1 to k − 1 left, each decoder turns to a component of its own. \
Dark is a cosine of 1.",
        ids: &["R8"],
    },
    Part {
        title: "Images",
        note: "Images are not Gaussian, yet their errors follow the equations of Gaussian data with the same second moments.",
        ids: &["R11"],
    },
];

fn sections(all: &[Claim], hidden: &[Found]) -> Vec<Section> {
    let mut out = vec![Section {
        title: "Claims".into(),
        note: "Target, found, held: one line each.".into(),
        blocks: vec![Block::Table(table(all.iter().map(|c| (c.id, c.says, &*c.target, &*c.found, c.held))))],
    }];
    for part in PARTS {
        let mut blocks = Vec::new();
        for claim in all.iter().filter(|c| part.ids.contains(&c.id)) {
            blocks.extend(shown(claim));
        }
        out.push(Section { title: part.title.into(), note: part.note.into(), blocks });
    }
    out.push(follow_up(hidden));
    out
}

/// The courses of a claim as pictures.
fn shown(claim: &Claim) -> Vec<Block> {
    let courses = &claim.courses;
    let Some(first) = courses.first() else { return vec![] };
    // Lines of PCA are shared by courses of as many units on the same data.
    let mut groups: Vec<Vec<&Course>> = Vec::new();
    for c in courses {
        match groups.iter_mut().find(|g| g[0].pca == c.pca && (claim.id != "R7" || g[0].k == c.k)) {
            Some(group) => group.push(c),
            None => groups.push(vec![c]),
        }
    }
    let named = |group: &[&Course], theory: bool| -> Vec<(String, Path)> {
        group.iter().filter(|c| c.theory == theory).map(|c| (c.name.clone(), c.path.clone())).collect()
    };
    let mut plots = Vec::new();
    for group in &groups {
        let (theory, simulation) = (named(group, true), named(group, false));
        let pca: Vec<(usize, f64)> = group[0].pca.iter().copied().enumerate().collect();
        let title =
            if groups.len() > 1 { format!("{}: error, {} units", claim.id, group[0].k) } else { format!("{}: error", claim.id) };
        plots.push(page::error_plot(&title, &borrowed(&theory), &borrowed(&simulation), &pca));
    }
    let mut blocks = vec![Block::Plots(plots)];
    let descent = courses.iter().find(|c| !c.theory);
    if claim.id == "R1" {
        blocks.push(Block::Plots(page::orders(first.k, Some(&first.path), descent.map(|c| &c.path))));
    }
    if claim.id == "R1" || claim.id == "R8" {
        let decoders: fn(&Point) -> &Vec<f64> = |p| &p.decoder_overlaps;
        let heats = courses.iter().filter(|c| claim.id == "R8" || !c.theory).map(|c| {
            let kind = if c.theory { "equations" } else { "descent" };
            page::overlap_heat(&format!("Decoders and components: {}, {kind}", c.name), &c.path, c.k, decoders)
        });
        blocks.push(Block::Heats(heats.collect()));
    }
    blocks
}

fn borrowed(runs: &[(String, Path)]) -> Vec<(&str, &Path)> {
    runs.iter().map(|(name, path)| (name.as_str(), path)).collect()
}

/// What PCA can't see.
fn follow_up(found: &[Found]) -> Section {
    let rows = found.iter().map(|f| {
        let name = serde_json::to_value(f.activation).ok().and_then(|v| v.as_str().map(str::to_string)).unwrap_or_default();
        vec![name, format!("{:.3}", f.shown), format!("{:.3}", f.hidden), format!("{:.4}", f.error)]
    });
    let runs: Vec<(String, Path)> =
        found.iter().map(|f| (format!("{:?}", f.activation).to_lowercase(), f.path.clone())).collect();
    Section {
        title: "What no covariance shows".into(),
        note: "Two directions are planted in 100 dimensions: u*, along which the variance is 11 times that of the noise, and v*, along which it is that of the noise, but what happens along it \
depends on u*. PCA, linear and sigmoidal units see u* alone; rectified units find v* too, and their error on fresh samples is larger all the same: error and representation disagree \
(after Mendes et al. 2026; three units each)."
            .into(),
        blocks: vec![
            Block::Table(Table {
                header: cells(&["units", "u* within the decoders", "v* within the decoders", "error"]),
                rows: rows.collect(),
                ..Table::default()
            }),
            Block::Plots(vec![page::error_plot("Error on fresh samples", &[], &borrowed(&runs), &[])]),
        ],
    }
}
