//! Lee & Seung 1999: figure 1, figure 4, and the claims N1 to N12.

use super::claims::{self, Fits};
use super::variants::{self, Kind, Variants};
use super::{Faces, embedded, find, is, prepared, read, table, unit, verdict, words};
use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::methods::Runner;
use crate::subject::{self, cells};
use crate::{show, stop};
use mereo::compare::{self, About, Comparison, Entry, Example, Setting};
use mereo::fold::Pass;
use mereo::prepare::Recipe;
use mereo::source::Memory;
use mereo::{Mat, Model, Nmf, NmfSolver, Pca, Vq};
use mereo_report::{Block, Document, Plot, Section, Table};
use std::ffi::OsStr;
use std::path::PathBuf;

/// Flags of `mereo repro lee-seung`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with the CBCL faces (an .npy file of 361 columns, in a folder `cbcl` or named so) and word counts (an .npz file);
    /// without it, the embedded faces.
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Word counts for figure 4: documents × words, sparse or dense [default: an .npz file of --data].
    #[arg(long, value_name = "FILE")]
    pub counts: Option<PathBuf>,
    /// The words of the counts, one a line in the order of the columns; without it, words are told by their column.
    #[arg(long, value_name = "FILE")]
    pub vocabulary: Option<PathBuf>,
    /// Number of atoms of figure 1.
    #[arg(short, long, value_name = "ATOMS", default_value_t = 49, value_parser = crate::args::positive)]
    pub k: usize,
    /// Iterations of figure 1.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = crate::args::positive)]
    pub passes: usize,
    /// Preparation of the faces; `raw` and this one are compared.
    #[arg(long, value_name = "STEP", default_value = "lee-seung", value_parser = crate::args::recipe)]
    pub prep: Recipe,
    /// Features of figure 4.
    #[arg(long, value_name = "ATOMS", default_value_t = 200, value_parser = crate::args::positive)]
    pub features: usize,
    /// Iterations of figure 4.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = crate::args::positive)]
    pub text_passes: usize,
    /// Words of figure 4: the most frequent, after --common.
    #[arg(long, value_name = "N", default_value_t = 15_276, value_parser = crate::args::positive)]
    pub words: usize,
    /// Leave out this many of the most frequent words (430 in the paper, of a text with all its words).
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub common: usize,
    /// Seed of all randomness.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Where to write the page.
    #[arg(short, long, value_name = "FILE", default_value = "lee-seung.html")]
    pub output: PathBuf,
}

/// The faces of the paper from a folder, else the embedded ones, two by two pixels averaged.
fn faces(args: &Args) -> Result<Faces> {
    let path = match &args.data {
        Some(folder) => find(folder, &|name| is(name, "npy") && (name.contains("cbcl") || name.contains("361")))?,
        None => None,
    };
    let Some(path) = path else {
        let whole = embedded()?;
        let x = mereo::data::halved(&whole.x, whole.image)?;
        return Ok(Faces { x, image: (whole.image.0 / 2, whole.image.1 / 2), ..whole });
    };
    let x = unit(read(&path)?);
    if x.cols != 361 {
        return Err(Failure::other(format!("{} has {} columns, not the 361 pixels of a CBCL face", path.display(), x.cols)));
    }
    let credit = "CBCL Face Database #1, MIT Center For Biological and Computation Learning".into();
    Ok(Faces { name: "the CBCL faces".into(), credit, x, image: (19, 19), own: true })
}

/// Iterations whose divergence the specification of the paper's experiment tells.
const ITERATIONS: [(usize, f64); 6] =
    [(1, 61_493.0), (10, 55_826.0), (50, 18_257.0), (100, 14_585.0), (200, 13_355.0), (500, 12_615.0)];

/// The course of the divergence, and its targets where there are some.
fn convergence(curve: &[Pass], inverted: Option<&[Pass]>, numbers: f64) -> Section {
    // The loss of a pass is that of the whole iterations before it.
    let after = |curve: &[Pass], at: usize| curve.get(at).or(curve.last().filter(|p| p.pass == at)).map(|p| p.loss * numbers);
    let falls = |curve: &[Pass]| (1..curve.len()).filter_map(|i| Some((i as f64, after(curve, i)?))).collect::<Vec<_>>();
    let mut lines = vec![("as prepared".to_string(), falls(curve))];
    let mut steps = Table { header: cells(&["iteration", "as prepared"]), ..Table::default() };
    if let Some(curve) = inverted {
        lines.push(("inverted greys".to_string(), falls(curve)));
        steps.header.extend(cells(&["inverted greys", "target, inverted greys"]));
    }
    for (at, target) in ITERATIONS {
        let show = |v: Option<f64>| v.map_or("–".into(), |v| show::count(v.round() as usize));
        let mut row = vec![at.to_string(), show(after(curve, at))];
        if let Some(curve) = inverted {
            row.extend([show(after(curve, at)), show(Some(target))]);
        }
        steps.rows.push(row);
    }
    let plot = Plot {
        title: "Divergence by iteration".into(),
        x: "iteration".into(),
        y: "divergence D(V‖WH)".into(),
        log: (true, true),
        lines,
        ..Plot::default()
    };
    Section {
        title: "Convergence".into(),
        note: "Divergence of the 1999 rules. It is mostly there after 50 iterations, and goes on falling for hundreds.".into(),
        blocks: vec![Block::Plots(vec![plot]), Block::Table(steps)],
    }
}

/// What figure 1 shows.
fn comparison(args: &Args, faces: &Faces, x: &Mat, entries: Vec<Entry>) -> Comparison {
    Comparison {
        version: env!("CARGO_PKG_VERSION").into(),
        command: None,
        data: About {
            name: faces.name.clone(),
            train: x.rows,
            cols: x.cols,
            image: Some(faces.image),
            preparation: vec![args.prep.name().into()],
            credit: Some(faces.credit.clone()),
            ..About::default()
        },
        k: args.k,
        seed: args.seed,
        threads: rayon::current_num_threads(),
        example: Example { row: 0, original: faces.x.row(0).to_vec(), prepared: x.row(0).to_vec() },
        entries,
        left_out: vec![],
        sizes: vec![],
    }
}

/// What the table of variants shows.
fn table_of_variants(faces: &Faces, variants: &Variants) -> Section {
    let whose = if faces.own {
        "Every variant on the CBCL faces with inverted greys, under each the targets, which were measured independently, with one seed. "
    } else {
        "Every variant on these faces. "
    };
    let what = "Codes are those that the fit ended with, for HALS, PCA and VQ the best ones for the atoms. So are errors, but that the fits of \
the divergence are told by those of the best codes, and LNMF by its own times the best factor. Hoyer: 0 if all numbers are alike, 1 for one number alone. Atoms < 1 %: share of an atom's numbers below 1 % of its \
largest. Overlap: mean |cosine| between atoms. Spread: variance of the pixels' places over that of an even image. One piece: share of an atom's mass in \
its largest connected patch. NMFSC takes the best step for an atom where the targets are of projected gradients, and so its errors are lower.";
    let what = if faces.own { what } else { what.split(" NMFSC takes").next().unwrap_or(what) };
    Section { title: "Variants".into(), note: format!("{whose}{what}"), blocks: vec![Block::Table(variants.table(faces.own))] }
}

/// Fits, checks and writes the page.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    subject::check(&args.output, OsStr::new(""))?;
    let cancel = stop::on_request("stopping", global.quiet);
    let runner = Runner { memory: None, cancel, global, left: "nothing was written" };
    let faces = faces(args)?;
    if !faces.own {
        global.say(format_args!(
            "note: no CBCL faces at hand (--data FOLDER), so all is done on the embedded ones, 32×32 pixels each"
        ));
    }
    let x = prepared(&faces.x, args.prep)?;
    let source = Memory::from(&x);
    let own = Nmf { k: args.k, seed: args.seed, ..Nmf::default() };
    let lee_seung = Nmf { solver: NmfSolver::LeeSeung, max_passes: args.passes, tol: 0.0, ..own.clone() };
    let (pca, pca_facts) = runner.fit("PCA", &Pca { k: args.k, seed: args.seed, center: false, ..Pca::default() }, &source)?;
    let (vq, vq_facts) = runner.fit("VQ", &Vq { k: args.k, seed: args.seed, n_init: 3, ..Vq::default() }, &source)?;
    let (nmf, nmf_facts) = runner.fit("NMF, 1999", &lee_seung, &source)?;
    let curve = nmf_facts.curve.clone();
    let setting = Setting { train: &source, test: None, image: Some(faces.image), shown: 0 };
    let models: [(&dyn Model, _); 3] = [(&nmf, nmf_facts), (&vq, vq_facts), (&pca, pca_facts)];
    let entries = models.into_iter().map(|(m, f)| compare::entry(m, f, &setting)).collect::<mereo::Result<Vec<_>>>()?;
    // Clipping makes it matter which way the greys go, and the targets were measured on inverted ones.
    let variants = if faces.own {
        variants::fit(&runner, &faces, &prepared(&faces.x, Recipe::Inverted)?, &own, args.passes)?
    } else {
        variants::fit(&runner, &faces, &x, &own, args.passes)?
    };
    let inverted = variants.of(Kind::LeeSeung).filter(|_| faces.own).map(|v| v.curve.as_slice());
    let fits = Fits {
        runner: &runner,
        faces: &faces,
        x: &x,
        own: &own,
        lee_seung: &lee_seung,
        nmf: &nmf,
        curve: &curve,
        entries: &entries,
        variants: &variants,
    };
    let claims = claims::all(&fits)?;
    let comparison = comparison(args, &faces, &x, entries);
    let mut sections = vec![
        Section {
            title: "Claims".into(),
            note: "Target, found, held: one line each.".into(),
            blocks: vec![Block::Table(table(claims.iter().map(|c| (c.id, c.says, &*c.target, &*c.found, c.held))))],
        },
        Section { title: "Figure 1".into(), note: String::new(), blocks: vec![Block::Comparison(Box::new(comparison))] },
        table_of_variants(&faces, &variants),
        convergence(&curve, inverted, x.data.len() as f64),
    ];
    let mut left_out = Vec::new();
    if !faces.own {
        left_out.push("No CBCL faces were at hand, so figure 1 and the claims are of the embedded faces; targets that are numbers of CBCL are told as orders.".to_string());
    }
    match words::figure(args, &runner)? {
        Ok(section) => sections.push(section),
        Err(why) => left_out.push(why),
    }
    for line in &left_out[usize::from(!faces.own)..] {
        global.say(format_args!("note: {line}"));
    }
    let page = Document {
        title: format!("Lee & Seung 1999, done again on {}", faces.name),
        facts: vec![format!(
            "{} images of {}×{} · {} atoms · {} iterations · prepared by {}",
            show::count(x.rows),
            faces.image.0,
            faces.image.1,
            args.k,
            args.passes,
            args.prep
        )],
        summary: vec![verdict(claims.iter().map(|c| (c.id, c.held)))],
        left_out,
        sections,
        command: show::typed(std::env::args_os()),
        made: vec![("Threads".into(), rayon::current_num_threads().to_string()), ("Credit".into(), faces.credit.clone())],
    };
    let json = serde_json::json!({ "faces": faces.name, "claims": claims, "embedded": !faces.own });
    subject::publish(&page, &args.output, global, json)
}
