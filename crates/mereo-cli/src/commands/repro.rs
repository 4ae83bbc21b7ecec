//! `mereo repro`: published figures and claims, done again, as one page each.

mod claims;
mod lee_seung;
mod notes;
mod oneill;
mod peer;
mod refinetti;
mod variants;
mod words;

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::load::Loaded;
use crate::subject::{self, Opened, cells};
use mereo::Mat;
use mereo::mat::{DenseRows, Rows};
use mereo::source::{self, Memory, Open};
use mereo_report::Table;
use std::path::{Path, PathBuf};

/// Flags of `mereo repro`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub what: What,
}

const EXAMPLES: &str = "\
Examples:
  mereo repro lee-seung --data FOLDER    figures 1 and 4 of Lee and Seung 1999 and twelve claims, on CBCL faces and word counts of FOLDER
  mereo repro lee-seung                  figure 1 and the claims on the embedded faces
  mereo repro refinetti --quick          how shallow autoencoders learn: eleven claims of Refinetti and Goldt 2022, by descent and by its equations
  mereo repro oneill --data FOLDER       what latents of text embeddings mean: eleven claims of O'Neill et al. 2024, on arXiv abstracts
  mereo repro notes --data FOLDER        four experiments on Olivetti and LFW faces, beside scikit-learn where that is installed";

/// What to reproduce.
#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// Lee and Seung, Nature 401, 1999: figure 1, figure 4, and twelve claims with target, found and held.
    LeeSeung(lee_seung::Args),
    /// Refinetti and Goldt, ICML 2022: eleven claims on how shallow autoencoders learn, by descent and by its equations.
    Refinetti(refinetti::Args),
    /// O'Neill et al., 2024: eleven claims on sparse autoencoders of text embeddings: sizes, labels, families, steering.
    Oneill(oneill::Args),
    /// Four experiments with NMF of faces, beside scikit-learn on the same machine, and what a grid says of their conclusions.
    Notes(notes::Args),
}

/// Does it again.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    match &args.what {
        What::LeeSeung(args) => lee_seung::run(args, global),
        What::Refinetti(args) => refinetti::run(args, global),
        What::Oneill(args) => oneill::run(args, global),
        What::Notes(args) => notes::run(args, global),
    }
}

/// One line a claim: what it is called, what it says, the target, what was found, and whether it held.
fn table<'a>(claims: impl Iterator<Item = (&'a str, &'a str, &'a str, &'a str, bool)>) -> Table {
    Table {
        header: cells(&["", "claim", "target", "found", "held"]),
        rows: claims
            .map(|(id, says, target, found, held)| cells(&[id, says, target, found, if held { "yes" } else { "NO" }]))
            .collect(),
        words: vec![1, 2, 3, 4],
        ..Table::default()
    }
}

/// How many claims hold, and which don't.
fn verdict<'a>(claims: impl Iterator<Item = (&'a str, bool)>) -> String {
    let (mut all, mut failed) = (0, Vec::new());
    for (id, held) in claims {
        all += 1;
        if !held {
            failed.push(id);
        }
    }
    match failed.as_slice() {
        [] => format!("All {all} claims hold."),
        [one] => format!("{} of {all} claims hold; {one} does not.", all - 1),
        _ => format!("{} of {all} claims hold; {} do not.", all - failed.len(), failed.join(", ")),
    }
}

/// Images in memory, and where they come from.
struct Faces {
    name: String,
    credit: String,
    x: Mat,
    image: (usize, usize),
    /// They are the ones that were asked for, not the embedded ones in their place.
    own: bool,
}

impl Faces {
    /// The same for what works on opened data.
    fn opened(&self) -> Opened {
        let rows = || Rows::Dense(DenseRows { cols: self.x.cols, data: self.x.data.clone().into(), weights: None });
        Opened {
            data: Loaded {
                source: Box::new(Memory::new(rows())),
                name: self.name.clone(),
                kind: "memory",
                image: Some(self.image),
                columns: None,
                credit: Some(self.credit.clone()),
            },
            image: Some(self.image),
            rows: rows(),
            all: self.x.rows,
        }
    }
}

/// The embedded faces.
fn embedded() -> Result<Faces> {
    let (x, set) = mereo::data::load("faces")?;
    let image = set.image.ok_or_else(|| Failure::other("the embedded faces are no images"))?;
    Ok(Faces { name: "the embedded faces".into(), credit: set.credit.into(), x, image, own: false })
}

/// All rows of a file.
fn read(path: &Path) -> Result<Mat> {
    Ok(mereo::fold::collect(source::open(path, &Open::default())?.source.as_ref())?)
}

/// Grey levels to 0..1, by 255 if they are bytes.
fn unit(mut x: Mat) -> Mat {
    if x.data.iter().any(|v| *v > 1.0) {
        x.data.iter_mut().for_each(|v| *v /= 255.0);
    }
    x
}

/// The first file of a folder, or of the folders in it, that `fits`.
fn find(folder: &Path, fits: &dyn Fn(&str) -> bool) -> Result<Option<PathBuf>> {
    let list = |at: &Path| -> Result<Vec<PathBuf>> {
        let all = std::fs::read_dir(at).map_err(|e| Failure::other(format!("{} can't be read: {e}", at.display())))?;
        let mut all: Vec<PathBuf> = all.filter_map(|e| Some(e.ok()?.path())).collect();
        all.sort();
        Ok(all)
    };
    let good = |p: &&PathBuf| p.is_file() && p.file_name().is_some_and(|n| fits(&n.to_string_lossy()));
    let here = list(folder)?;
    if let Some(found) = here.iter().find(good) {
        return Ok(Some(found.clone()));
    }
    for inner in here.iter().filter(|p| p.is_dir()) {
        if let Some(found) = list(inner)?.iter().find(good) {
            return Ok(Some(found.clone()));
        }
    }
    Ok(None)
}

/// Whether a file is of a kind, by the end of its name.
fn is(name: &str, kind: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case(kind))
}

/// A list of whole numbers: an `.npy` array of one axis, of 4 or 8 bytes each.
fn list(path: &Path) -> Result<Vec<usize>> {
    let wrong = |what: &str| Failure::other(format!("{}: {what}; save it as x.astype('int32')", path.display()));
    let bytes = std::fs::read(path).map_err(|e| Failure::other(format!("{} can't be read: {e}", path.display())))?;
    let (length, at) = match bytes.get(..10) {
        Some(b) if b.starts_with(b"\x93NUMPY\x01") => (usize::from(u16::from_le_bytes([b[8], b[9]])), 10),
        _ => return Err(wrong("no .npy file of version 1")),
    };
    let (head, data) = bytes[at..].split_at_checked(length).ok_or_else(|| wrong("it is cut off"))?;
    let head = String::from_utf8_lossy(head);
    let number = |b: &[u8]| b.iter().rev().fold(0i64, |n, &b| n << 8 | i64::from(b));
    let width = if head.contains("'<i4'") { 4 } else { 8 };
    if !head.contains("'<i4'") && !head.contains("'<i8'") {
        return Err(wrong("no whole numbers"));
    }
    let numbers = data.chunks_exact(width).map(|b| usize::try_from(number(b)).map_err(|_| wrong("a number is below 0")));
    numbers.collect()
}

/// A matrix as rows.
fn rows(x: &Mat) -> Rows<'static> {
    Rows::Dense(DenseRows { cols: x.cols, data: x.data.clone().into(), weights: None })
}

/// Prepared by one recipe.
fn prepared(x: &Mat, recipe: mereo::Recipe) -> Result<Mat> {
    Ok(subject::prepared(&x.view(), &[recipe])?.to_mat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_numbers_is_read_and_other_arrays_are_refused() {
        let folder = tempfile::tempdir().expect("tempdir");
        let file = |kind: &str, data: &[u8]| {
            let head = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (2,), }}");
            let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
            bytes.extend((head.len() as u16).to_le_bytes());
            bytes.extend(head.as_bytes());
            bytes.extend(data);
            let path = folder.path().join("list.npy");
            std::fs::write(&path, bytes).expect("write");
            path
        };
        assert_eq!(list(&file("<i4", &[1, 2, 0, 0, 7, 0, 0, 0])).expect("numbers"), [513, 7]);
        assert_eq!(list(&file("<i8", &[3, 0, 0, 0, 0, 0, 0, 0])).expect("numbers"), [3]);
        assert!(list(&file("<f4", &[0; 8])).is_err() && list(Path::new("/no/such")).is_err());
    }

    #[test]
    fn the_first_fitting_file_of_a_folder_or_of_its_folders_is_found() {
        let folder = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(folder.path().join("cbcl")).expect("folder");
        std::fs::write(folder.path().join("cbcl/faces.npy"), b"").expect("write");
        let fits = |name: &str| is(name, "npy");
        assert_eq!(find(folder.path(), &fits).expect("read"), Some(folder.path().join("cbcl/faces.npy")));
        assert_eq!(find(folder.path(), &|name: &str| is(name, "mat")).expect("read"), None);
        assert!(find(Path::new("/no/such"), &fits).is_err());
    }
}
