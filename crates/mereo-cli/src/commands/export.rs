//! `mereo export`: a model's atoms as numbers or as a picture.

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::{load, output, show};
use mereo::{export, store};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Flags of `mereo export`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A model that `mereo fit` wrote.
    pub model: PathBuf,
    /// Where to write the atoms: .npy, .csv, .tsv or .parquet (atoms x columns), or .png (a montage: positive black, negative red).
    #[arg(long, value_name = "FILE", required = true)]
    pub atoms: PathBuf,
    /// Height and width of an atom in the montage [default: of the images that were fitted].
    #[arg(long, value_name = "HxW", value_parser = crate::args::shape)]
    pub image: Option<(usize, usize)>,
    /// Tiles in a row of the montage [default: as square as can be].
    #[arg(long, value_name = "N", value_parser = crate::args::positive)]
    pub per_row: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  mereo export faces.mereo --atoms parts.png
  mereo export faces.mereo --atoms parts.npy
  mereo export cells.mereo --atoms cells.png --image 28x28 --per-row 10";

/// Writes the atoms.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let picture = args.atoms.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
    if !picture {
        export::check_mat(&args.atoms).map_err(|e| Failure::usage(format!("{e}, or png for a picture")))?;
    }
    output::check(&args.atoms, &[&args.model])?;
    let bundle = load::model(&args.model)?;
    let atoms = bundle.model.atoms();
    if picture {
        let (h, w) = args.image.or(bundle.about.image).ok_or_else(|| {
            Failure::usage("the model doesn't remember the shape of an image; say it with --image, such as --image 28x28")
        })?;
        if h.checked_mul(w) != Some(atoms.cols) {
            return Err(Failure::usage(format!(
                "{h}x{w} is {} pixels, but an atom has {} columns",
                h as u128 * w as u128,
                atoms.cols
            )));
        }
        let png = mereo_report::png(&mereo_report::montage(atoms, (h, w), args.per_row));
        store::write_whole(&args.atoms, |file| file.write_all(&png))?;
    } else {
        match &bundle.about.columns {
            Some(names) if names.len() == atoms.cols && !is_npy(&args.atoms) => export::write_table(&args.atoms, atoms, names)?,
            _ => export::write_mat(&args.atoms, atoms)?,
        }
    }
    let path = args.atoms.display().to_string();
    if global.json {
        return show::json(&json!({ "atoms": atoms.rows, "cols": atoms.cols, "output": path }));
    }
    show::print(&show::pairs(&[
        ("atoms".into(), format!("{} of {} columns", atoms.rows, show::count(atoms.cols))),
        ("written".into(), path),
    ]))
}

/// The one kind of file that has no room for names of columns.
fn is_npy(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy"))
}
