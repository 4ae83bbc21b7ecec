//! `mereo convert`: sparse autoencoders from one library's files to another's.

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::{load, output, show};
use mereo::bundle::{About, Bundle};
use mereo::fold::Shape;
use mereo::formats::{self, SaeFormat};
use mereo::store::Bag;
use mereo::{Pipeline, SaeGate, SaeModel};
use serde_json::json;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Flags of `mereo convert`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A model that `mereo fit sae` wrote, or the file or folder of another library.
    pub source: PathBuf,
    /// What to write: a .mereo, an .npz (Gemma Scope), or with --to a .pt or a folder.
    pub target: PathBuf,
    /// Whose files SOURCE is [default: told by the names of what is there].
    #[arg(long, value_name = "FORMAT")]
    pub from: Option<Kind>,
    /// Whose files to write [default: told by the ending]: mereo, saelens, saelens-v5, sparsify, dictionary-learning, openai, saerch,
    /// hypothesaes or gemma-scope.
    #[arg(long, value_name = "FORMAT")]
    pub to: Option<Kind>,
    /// Latents that are alive on a row, for weights of saerch whose name doesn't begin with it.
    #[arg(long, value_name = "N", value_parser = crate::args::positive)]
    pub k: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  mereo convert sae.mereo out/ --to saelens          a folder that SAELens loads
  mereo convert out/ sae.mereo                       and back; whose it is is told by the names in it
  mereo convert params.npz out/ --to sparsify        between two others, or refused with those that can say it";

/// A format of ours or of another library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A model file of mereo.
    Ours,
    /// Another library's.
    Other(SaeFormat),
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(name: &str) -> std::result::Result<Self, String> {
        if name == "mereo" {
            return Ok(Self::Ours);
        }
        name.parse().map(Self::Other).map_err(|e: mereo::Error| format!("{e}, and mereo"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours => f.pad("mereo"),
            Self::Other(format) => format.fmt(f),
        }
    }
}

/// Reads one and writes the other.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let to = match args.to {
        Some(to) => to,
        None => target(&args.target)?,
    };
    check(args, to)?;
    let read = read(args)?;
    if (read.kind, to) == (Kind::Ours, Kind::Ours) {
        return Err(Failure::usage("both are models of mereo; copy the file, or say what else to write (--to)"));
    }
    let Read { kind, model, mut notes, about } = read;
    let shape = (model.atoms.rows, model.atoms.cols);
    let gate = gate(&model.gate);
    match to {
        Kind::Ours => {
            let bundle = Bundle { pipeline: Pipeline::raw(shape.1), model: Box::new(model), about };
            bundle.save(&args.target)?;
        }
        Kind::Other(format) => notes.extend(formats::write(&args.target, format, &model)?),
    }
    for note in &notes {
        global.say(format_args!("{note}"));
    }
    if global.json {
        return show::json(&json!({
            "from": kind.to_string(), "to": to.to_string(), "latents": shape.0, "cols": shape.1, "gate": gate, "notes": notes,
            "output": args.target.display().to_string(),
        }));
    }
    show::print(&show::pairs(&[
        ("autoencoder".into(), format!("{} latents of {} columns, {gate}", show::count(shape.0), show::count(shape.1))),
        ("from".into(), kind.to_string()),
        ("to".into(), to.to_string()),
        ("written".into(), args.target.display().to_string()),
    ]))
}

/// What to write, by the ending of its name.
fn target(path: &Path) -> Result<Kind> {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    match ending.as_str() {
        "mereo" => Ok(Kind::Ours),
        "npz" => Ok(Kind::Other(SaeFormat::GemmaScope)),
        _ => {
            let names: Vec<&str> = SaeFormat::ALL.iter().map(|f| f.name()).collect();
            Err(Failure::usage(format!(
                "{} can be of several libraries; say whose files to write with --to: mereo, {}",
                path.display(),
                names.join(", ")
            )))
        }
    }
}

/// Refuses a target that can't be written, or that is the source.
fn check(args: &Args, to: Kind) -> Result<()> {
    let inputs = [args.source.as_path()];
    let files = match to {
        Kind::Ours => None,
        Kind::Other(format) => format.files(),
    };
    let Some(files) = files else { return output::check(&args.target, &inputs) };
    if !args.target.exists() {
        return output::check(&args.target, &inputs);
    }
    if !args.target.is_dir() {
        return Err(Failure::usage(format!("{to} is a folder, but {} is a file; name another", args.target.display())));
    }
    files.iter().try_for_each(|file| output::check(&args.target.join(file), &inputs))
}

struct Read {
    kind: Kind,
    model: SaeModel,
    notes: Vec<String>,
    about: About,
}

fn read(args: &Args) -> Result<Read> {
    let path = &args.source;
    let ours = match args.from {
        Some(from) => from == Kind::Ours,
        None => path.is_file() && load::is_ours(path) || path.extension().is_some_and(|e| e == "mereo"),
    };
    if !ours {
        let format = args.from.and_then(|from| if let Kind::Other(format) = from { Some(format) } else { None });
        let found = formats::read(path, &formats::Read { format, k: args.k })?;
        let shape = Shape { rows: 0, cols: found.model.atoms.cols };
        let params = json!({ "k": found.model.atoms.rows, "gate": gate(&found.model.gate), "from": found.format.name() });
        let about = About::unfitted(&format!("elsewhere ({})", found.format), shape, params);
        return Ok(Read { kind: Kind::Other(found.format), model: found.model, notes: found.notes, about });
    }
    let bundle = load::model(path)?;
    if bundle.model.method() != "sae" {
        return Err(Failure::usage(format!(
            "{} is a model of {}; what other libraries have is sparse autoencoders (mereo fit sae)",
            path.display(),
            bundle.model.method()
        )));
    }
    let mut bag = Bag::default();
    bundle.model.save(&mut bag);
    let mut notes = Vec::new();
    if !bundle.pipeline.recipes().is_empty() {
        notes.push(format!("the preparation `{}` of rows is folded into the weights", bundle.pipeline));
    }
    let model = formats::unprepared(SaeModel::load(&bag)?, &bundle.pipeline)?;
    Ok(Read { kind: Kind::Ours, model, notes, about: bundle.about })
}

/// Which latents are alive, in words.
fn gate(gate: &SaeGate) -> String {
    match gate {
        SaeGate::Relu => "all that are positive".into(),
        SaeGate::TopK { k } => format!("the {k} largest"),
        SaeGate::GroupMax { k } => format!("the largest of each of {k} groups"),
        SaeGate::Threshold(_) => "those above a threshold".into(),
        SaeGate::Gated { .. } => "those behind an open gate".into(),
    }
}
