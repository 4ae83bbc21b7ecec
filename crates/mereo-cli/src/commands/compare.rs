//! `mereo compare`: several methods on the same data, with the same number of atoms, side by side.

use crate::args::{Global, Reading};
use crate::failure::{Failure, Result};
use crate::load::{self, Loaded};
use crate::methods::{Ask, Choice, Runner};
use crate::progress::Progress;
use crate::split::{self, HeldOut};
use crate::stop::{self, Stoppable};
use crate::{output, show};
use mereo::compare::{self, About, Comparison, Entry, Example, LeftOut, Setting, Sizes};
use mereo::fold::Stop;
use mereo::measure;
use mereo::prepare::{Pipeline, Recipe};
use mereo::source::{self, Source, Subset};
use mereo::store;
use serde::Serialize;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Atoms of each model, unless the data has fewer rows or columns: as in Lee & Seung 1999.
const K: usize = 49;
/// Shares of k at which the curve of error against k is taken, besides k itself.
const SHARES: [f64; 4] = [0.125, 0.25, 0.5, 0.75];
/// Numbers in the training rows beyond which that curve is only drawn if asked for.
const MANY: usize = 50_000_000;

/// Flags of `mereo compare`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The data: an embedded name, a fetched name, or a path.
    #[arg(default_value = "faces")]
    pub data: OsString,
    /// Number of atoms of every model; of a sparse autoencoder twice the number alive, since each is an index and a value [default: 49, or as many as the data has columns or training rows].
    #[arg(short, long, value_name = "ATOMS", value_parser = crate::args::positive)]
    pub k: Option<usize>,
    /// The methods, in the order of the report [default: pca,vq,nmf, of which those that refuse the data are left out].
    #[arg(long, value_name = "METHOD", value_delimiter = ',', value_enum)]
    pub methods: Vec<Choice>,
    /// Steps that prepare the rows, in order; errors are measured after them.
    #[arg(long, value_name = "STEP", value_delimiter = ',', value_parser = crate::args::recipe)]
    pub prep: Vec<Recipe>,
    /// Hold this share (0.2, 20%) or number (500) of the rows out, drawn by --seed; 0 fits all rows.
    #[arg(long, value_name = "PART", default_value = "0.2")]
    pub test: HeldOut,
    /// Seed of all randomness; the same seed gives the same models.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Passes over the data at most, for each fit [default: each method's own].
    #[arg(long, value_name = "N", value_parser = crate::args::positive)]
    pub max_passes: Option<usize>,
    /// Numbers of atoms at which the error is measured as well, or `none` [default: a few up to k, on data of up to 50 million numbers].
    #[arg(long, value_name = "ATOMS", value_delimiter = ',', value_parser = size)]
    pub ks: Vec<Option<usize>>,
    /// Where to write the report.
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub output: PathBuf,
    /// Height and width of the images that the rows are, where the file does not say, such as 19x19.
    #[arg(long, value_name = "HxW", value_parser = crate::args::shape)]
    pub image: Option<(usize, usize)>,
    #[command(flatten)]
    pub reading: Reading,
}

const EXAMPLES: &str = "\
Examples:
  mereo compare faces                                          PCA, VQ and NMF with 49 atoms: a table and report.html
  mereo compare digits -k 16 -o digits.html                    the same on other data
  mereo compare cells.csv --prep standardize --methods pca,vq  columns of different units
  mereo compare e.npy -k 64 --methods pca,vq,ae,sae            a sparse autoencoder too, with as many numbers a row
  mereo compare faces --prep lee-seung --methods pca-uncentred,vq,nmf-lee-seung --test 0
                                                               all rows, prepared as in Lee and Seung 1999";

fn size(text: &str) -> std::result::Result<Option<usize>, String> {
    if text.trim() == "none" { Ok(None) } else { crate::args::positive(text).map(Some).map_err(|e| format!("{e}, or `none`")) }
}

/// Compares, prints the table and writes the report.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let inputs: Vec<&Path> = load::file(&args.data).into_iter().collect();
    output::check(&args.output, &inputs)?;
    let data = load::open(&args.data, &args.reading)?;
    let cancel = stop::on_request("stopping", global.quiet);
    let left = "no report was written";
    let interrupted = |e| stop::or(e, left);

    let all = Stoppable::new(data.source.as_ref());
    let sides = split::split(source::count(&all), None, Some(args.test), args.seed)?;
    let first = sides.as_ref().map_or(0, |(_, test)| test[0]);
    let side = |rows: Vec<usize>| Subset::new(&all, rows).map_err(interrupted);
    let sides = sides.map(|(train, test)| Ok::<_, Failure>((side(train)?, side(test)?))).transpose()?;
    let train: &dyn Source = sides.as_ref().map_or(&all, |(train, _)| train);
    let test: Option<&dyn Source> = sides.as_ref().map(|(_, test)| test as &dyn Source);

    let pipeline = Pipeline::fit(&args.prep, train).map_err(interrupted)?;
    let prepared = load::prepared(train, &pipeline).map_err(interrupted)?;
    let prepared_test = test.map(|t| load::prepared(t, &pipeline)).transpose().map_err(interrupted)?;
    let image = data.image_or(args.image)?;
    let setting =
        Setting { train: prepared.as_ref(), test: prepared_test.as_ref().map(|t| t.as_ref() as &dyn Source), image, shown: 0 };
    let plan = Planned::new(args, &setting);
    let runner = Runner { memory: args.reading.memory, cancel, global, left };
    let (mut entries, left_out) = plan.entries(&setting, args, &runner)?;
    plan.beside_pca(&mut entries, &setting, args, &runner)?;
    let sizes = plan.sizes(&entries, &setting, args, &runner)?;
    let comparison = Comparison {
        version: env!("CARGO_PKG_VERSION").into(),
        command: Some(show::typed(std::env::args_os())),
        data: about(&data, &setting, &args.prep),
        k: plan.k,
        seed: args.seed,
        threads: rayon::current_num_threads(),
        example: Example {
            row: first,
            original: compare::row(test.unwrap_or(train), 0).map_err(interrupted)?.data,
            prepared: compare::row(setting.test.unwrap_or(setting.train), 0).map_err(interrupted)?.data,
        },
        entries,
        left_out,
        sizes,
    };
    let page = mereo_report::html(&comparison);
    output::keep(&args.output, "the report", |path| store::write_whole(path, |file| file.write_all(page.as_bytes())))?;
    let report = std::path::absolute(&args.output).unwrap_or_else(|_| args.output.clone());
    if global.json {
        return show::json(&Outcome { report: report.display().to_string(), comparison: &comparison });
    }
    show::print(&format!("{}\nreport written to {}\n", table(&comparison), report.display()))?;
    for e in comparison.entries.iter().filter(|e| e.facts.stop == Stop::Limit) {
        let change = e.facts.change().map_or(String::new(), |v| format!("; the last one changed its loss by {v:.0e} of it"));
        global.say(format_args!("note: {} stopped at its limit of {} passes{change}", e.facts.label, e.facts.curve.len()));
    }
    Ok(())
}

/// The JSON document.
#[derive(Serialize)]
struct Outcome<'a> {
    report: String,
    #[serde(flatten)]
    comparison: &'a Comparison,
}

/// What will be fitted.
struct Planned {
    k: usize,
    methods: Vec<Choice>,
    sizes: Vec<usize>,
    /// The methods were chosen by name, so none may be left out.
    strict: bool,
}

impl Planned {
    fn new(args: &Args, setting: &Setting) -> Self {
        let (n, d) = (source::count(setting.train), setting.train.cols());
        let k = args.k.unwrap_or_else(|| K.min(n).min(d));
        let mut sizes: Vec<usize> = if args.ks.is_empty() && n.saturating_mul(d) <= MANY {
            SHARES.iter().map(|share| (share * k as f64).round() as usize).filter(|&s| s > 0 && s < k).collect()
        } else {
            args.ks.iter().copied().flatten().filter(|&s| s != k).collect()
        };
        sizes.sort_unstable();
        sizes.dedup();
        let strict = !args.methods.is_empty();
        let mut methods = if strict { args.methods.clone() } else { vec![Choice::Pca, Choice::Vq, Choice::Nmf] };
        let mut seen = Vec::new();
        methods.retain(|m| {
            !seen.contains(m) && {
                seen.push(*m);
                true
            }
        });
        Self { k, methods, sizes, strict }
    }

    /// Every method with k atoms, measured.
    fn entries(&self, setting: &Setting, args: &Args, runner: &Runner) -> Result<(Vec<Entry>, Vec<LeftOut>)> {
        let (mut entries, mut left_out) = (Vec::new(), Vec::new());
        for &choice in &self.methods {
            let fitted = runner.choice(choice, &ask(self.k, args), setting.train);
            let (model, facts) = match fitted {
                Err(Failure::Library(e @ (mereo::Error::Data(_) | mereo::Error::Parameter(_)))) if !self.strict => {
                    runner.global.say(format_args!("note: {} is left out: {e}", choice.label()));
                    left_out.push(LeftOut { label: choice.label().into(), why: e.to_string() });
                    continue;
                }
                other => other?,
            };
            let bar = Progress::new(&format!("measuring {}", facts.label), runner.global);
            let entry = compare::entry(model.as_ref(), facts, setting).map_err(|e| stop::or(e, "no report was written"))?;
            bar.clear();
            entries.push(entry);
        }
        if entries.is_empty() {
            let why: Vec<String> = left_out.iter().map(|l| format!("{}: {}", l.label, l.why)).collect();
            return Err(Failure::other(format!("no method takes this data: {}", why.join("; "))));
        }
        Ok((entries, left_out))
    }

    /// Says of every model how far it is from PCA, if an autoencoder is among them: the line that none of them crosses.
    fn beside_pca(&self, entries: &mut [Entry], setting: &Setting, args: &Args, runner: &Runner) -> Result<()> {
        let ask = ask(self.k, args);
        if self.methods.iter().all(|m| m.ae(&ask).is_none()) || self.k > source::count(setting.train).min(setting.train.cols()) {
            return Ok(());
        }
        let there = entries.iter().find(|e| e.facts.label == Choice::Pca.label()).map(|e| e.train.rmse);
        let best = if let Some(rmse) = there {
            rmse
        } else {
            let (pca, _) = runner.choice(Choice::Pca, &ask, setting.train)?;
            measure::errors(pca.as_ref(), setting.train).map_err(|e| stop::or(e, "no report was written"))?.rmse
        };
        // A model with more atoms to choose from isn't bound by that line.
        for e in entries.iter_mut().filter(|e| e.atoms.rows == self.k) {
            e.above_pca = compare::above(e.train.rmse, best);
        }
        Ok(())
    }

    /// The error of models with other numbers of atoms.
    fn sizes(&self, entries: &[Entry], setting: &Setting, args: &Args, runner: &Runner) -> Result<Vec<Sizes>> {
        if self.sizes.is_empty() {
            return Ok(Vec::new());
        }
        let mut out = Vec::new();
        let kept = self.methods.iter().filter(|c| entries.iter().any(|e| e.facts.label == c.label()));
        for (&choice, entry) in kept.zip(entries) {
            let mut points = vec![(self.k, entry.test.as_ref().unwrap_or(&entry.train).rmse)];
            for &k in &self.sizes {
                let (model, _) = runner.choice(choice, &ask(k, args), setting.train)?;
                let errors = measure::errors(model.as_ref(), setting.test.unwrap_or(setting.train));
                points.push((k, errors.map_err(|e| stop::or(e, "no report was written"))?.rmse));
            }
            points.sort_unstable_by_key(|p| p.0);
            out.push(Sizes { label: entry.facts.label.clone(), points });
        }
        Ok(out)
    }
}

fn ask(k: usize, args: &Args) -> Ask<'static> {
    Ask { k, seed: args.seed, max_passes: args.max_passes, ..Ask::default() }
}

/// What a report says of the data.
pub fn about(data: &Loaded, setting: &Setting, prep: &[Recipe]) -> About {
    let embedded = mereo::data::find(&data.name).filter(|_| data.kind == "embedded");
    About {
        name: data.name.clone(),
        about: embedded.map(|set| set.about.into()),
        credit: data.credit.clone(),
        licence: embedded.map(|set| set.licence.into()),
        train: source::count(setting.train),
        test: setting.test.map_or(0, source::count),
        cols: setting.train.cols(),
        image: setting.image,
        columns: data.columns.clone(),
        preparation: prep.iter().filter(|r| **r != Recipe::Raw).map(|r| r.name().to_string()).collect(),
    }
}

/// The one table on standard output.
fn table(c: &Comparison) -> String {
    let held = c.data.test > 0;
    let sparse = c.entries.iter().any(|e| e.atoms.rows != c.k);
    let mut header = if sparse { vec!["", "atoms", "a row", "RMSE"] } else { vec!["", "k", "RMSE"] };
    if held {
        header.push("held out");
    }
    let beside_pca = c.entries.iter().any(|e| e.above_pca.is_some());
    if beside_pca {
        header.push("above PCA");
    }
    header.extend(["FVU", "sparse atoms", "sparse codes", "overlap", "dead", "passes", "last change", "time"]);
    let rows: Vec<Vec<String>> = c
        .entries
        .iter()
        .map(|e| {
            let mut row = vec![e.facts.label.clone(), e.atoms.rows.to_string()];
            row.extend(sparse.then(|| whole(e.row_numbers)));
            row.push(show::number(e.train.rmse));
            row.extend(e.test.as_ref().map(|t| show::number(t.rmse)));
            if beside_pca {
                row.push(e.above_pca.map_or("–".into(), |v| format!("{:.2} %", 100.0 * v)));
            }
            let (atoms, codes) = (&e.atom_measures, &e.code_measures);
            let fvu = e.test.as_ref().unwrap_or(&e.train).fvu;
            row.extend([fvu, atoms.sparseness.mean, codes.row_sparseness, atoms.overlap.mean].map(show::number));
            row.push(atoms.dead.len().to_string());
            row.push(e.facts.curve.len().to_string());
            row.push(super::change(&e.facts));
            row.push(show::seconds(e.facts.seconds));
            row
        })
        .collect();
    let mut text = show::table(&header, &rows, &[0]);
    if sparse {
        text +=
            "a row: numbers that are stored of it; those of a sparse autoencoder are an index and a value of each latent alive\n";
    }
    text
}

/// A number that is whole as a rule.
fn whole(v: f64) -> String {
    if v.fract() == 0.0 { format!("{v:.0}") } else { show::number(v) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mereo::Mat;
    use mereo::source::Memory;

    fn planned(words: &[&str]) -> Planned {
        use clap::FromArgMatches;
        let command = <Args as clap::Args>::augment_args(clap::Command::new("compare"));
        let args = Args::from_arg_matches(&command.get_matches_from([&["compare"], words].concat())).expect("flags");
        let x = Mat::zeros(100, 20);
        Planned::new(&args, &Setting { train: &Memory::from(&x), test: None, image: None, shown: 0 })
    }

    #[test]
    fn the_plan_fits_the_data() {
        let p = planned(&["x"]);
        assert_eq!((p.k, p.sizes, p.strict, p.methods.len()), (20, vec![3, 5, 10, 15], false, 3), "20 columns allow 20 atoms");
        let p = planned(&["x", "-k", "1"]);
        assert_eq!((p.k, p.sizes.len()), (1, 0));
        let p = planned(&["x", "-k", "9", "--ks", "4,9,2,4", "--methods", "nmf,vq,nmf"]);
        assert_eq!((p.sizes, p.methods, p.strict), (vec![2, 4], vec![Choice::Nmf, Choice::Vq], true));
        assert_eq!(planned(&["x", "--ks", "none"]).sizes, Vec::<usize>::new());
    }
}
