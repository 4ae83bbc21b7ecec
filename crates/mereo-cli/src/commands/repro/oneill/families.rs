//! S9 and S10: families of a hierarchy that is known, and those of the corpus.

use super::grid::Grid;
use super::meaning::{Named, codes};
use super::{Claim, Corpus, Part, line, three};
use crate::failure::Result;
use crate::show;
use mereo::Mat;
use mereo_meaning::families::{self, Families, Family, FamilyMeasures, FamilyTest};
use mereo_report::{Block, Section, Table};

/// Rows of the known hierarchy, as in the paper's follow-up.
const PLANTED: usize = 40_000;
/// Rows that a part of the corpus needs.
const PART: usize = 1000;

/// Judges S9 and S10, and finds the families of the named models.
pub(super) fn run(corpus: &Corpus, grid: &Grid, named: &[Named]) -> Result<Part> {
    let (claims, table) = known()?;
    let mut blocks = vec![table];
    let mut measured = Vec::new();
    let mut largest: Vec<Vec<String>> = Vec::new();
    for (fit, named) in grid.named().iter().zip(named) {
        let clean: Vec<usize> = named.clean.iter().map(|c| c.latent).collect();
        let both = named.codes.view();
        for (test, name) in [(FamilyTest::Threshold, "threshold"), (FamilyTest::lift(), "lift")] {
            let families = families::find(&both, &clean, &Families { test, ..Families::default() })?;
            let measures = families::measures(&both, &clean, &families, None)?;
            measured.push(row(&corpus.name, fit.latents, name, clean.len(), &measures));
            if name == "lift" && largest.is_empty() {
                largest = told(&families, named);
            }
        }
    }
    // The paper's own setting: astronomy alone.
    if let Some(part) = part(corpus) {
        let fit = grid.named()[0];
        let own = codes(fit, &part)?;
        let both = own.view();
        let clean: Vec<usize> = named[0].clean.iter().map(|c| c.latent).filter(|&j| both.by_latent.len(j) > 0).collect();
        for (test, name) in [(FamilyTest::Threshold, "threshold"), (FamilyTest::lift(), "lift")] {
            let families = families::find(&both, &clean, &Families { test, ..Families::default() })?;
            measured.push(row(
                "its astro-ph part",
                fit.latents,
                name,
                clean.len(),
                &families::measures(&both, &clean, &families, None)?,
            ));
        }
    }
    blocks.push(Block::Table(Table {
        header: line(
            &[
                "rows",
                "latents",
                "test",
                "clean",
                "families",
                "children",
                "covered",
                "parent ratio",
                "blocks: company",
                "activation",
            ]
            .map(String::from),
        ),
        rows: measured,
        words: vec![0, 2],
        ..Table::default()
    }));
    blocks.push(Block::Table(Table {
        header: line(&["root", "some of its children"].map(String::from)),
        rows: largest,
        words: vec![0, 1],
        ..Table::default()
    }));
    Ok(Part {
        claims,
        section: Section {
            title: "Families".into(),
            note: "First a generated hierarchy: ten parents of eight children each, and forty latents without family. Then families among the latents whose labels are clean: the share of \
these that is in one, how much more company parents keep with children than children with each other (the paper: 610 families of 14.8 children for its largest model), and how much \
clearer the blocks of co-occurrence and of activation get when latents are ordered by family."
                .into(),
            blocks,
        },
    })
}

/// S9 and S10, and how well families of the known hierarchy are found.
fn known() -> Result<(Vec<Claim>, Block)> {
    let latents: Vec<usize> = (0..families::LATENTS).collect();
    let mut rows = Vec::new();
    let mut found = Vec::new();
    for density in [0.02, 0.04, 0.057, 0.09] {
        let made = families::planted(density, None, PLANTED, |i| i)?;
        let each = [FamilyTest::Threshold, FamilyTest::lift()].map(|test| {
            families::find(&made.view(), &latents, &Families { test, ..Families::default() }).map(|f| families::quality(&f))
        });
        let [plain, lift] = each;
        let (plain, lift) = (plain?, lift?);
        rows.push(line(&[three(density), three(plain.1), three(plain.0), three(lift.1), three(lift.0)]));
        found.push((density, plain, lift));
    }
    let at = |density: f64| found.iter().find(|f| f.0 == density).map_or(((0.0, 0.0), (0.0, 0.0)), |f| (f.1, f.2));
    let (rare, dense) = (at(0.04), at(0.09));
    let s9 = Claim {
        id: "S9",
        says: "the families of a known hierarchy are found",
        target: "recall 1.00, precision ≥ .97 where a parent is on .04 of rows".into(),
        found: format!("recall {:.2}, precision {:.3}", rare.0.1, rare.0.0),
        held: rare.0.1 >= 1.0 && rare.0.0 >= 0.97,
        differs: "none: the hierarchy is generated.",
    };
    let s10 = Claim {
        id: "S10",
        says: "a test of lift keeps out strangers that a threshold lets in",
        target: "at a density of .09, near τ: precision rises from .62 to ≥ .9 at equal recall".into(),
        found: format!(
            "precision {:.3} by the threshold, {:.3} by lift, recall {:.2} and {:.2}",
            dense.0.0, dense.1.0, dense.0.1, dense.1.1
        ),
        held: dense.1.0 >= 0.9 && dense.1.0 > dense.0.0 && dense.1.1 >= dense.0.1,
        differs: "none.",
    };
    let table = Block::Table(Table {
        header: line(&["density of parents", "recall", "precision", "recall by lift", "precision by lift"].map(String::from)),
        rows,
        ..Table::default()
    });
    Ok((vec![s9, s10], table))
}

fn row(rows: &str, latents: usize, test: &str, clean: usize, m: &FamilyMeasures) -> Vec<String> {
    let ratio = |v: Option<f64>| v.map_or("–".into(), show::number);
    line(&[
        rows.into(),
        show::count(latents),
        test.into(),
        show::count(clean),
        show::count(m.families),
        show::number(m.size),
        format!("{:.0} %", 100.0 * m.covered),
        ratio(m.parent_ratio),
        ratio(m.cooccurrence.relative),
        ratio(m.activation.relative),
    ])
}

/// The largest families by their labels.
fn told(families: &[Family], named: &Named) -> Vec<Vec<String>> {
    let name = |j: usize| named.clean.iter().find(|c| c.latent == j).map_or_else(|| j.to_string(), |c| c.label.clone());
    let mut by_size: Vec<&Family> = families.iter().collect();
    by_size.sort_by_key(|f| std::cmp::Reverse(f.children.len()));
    let children = |f: &Family| f.children.iter().take(6).map(|&c| name(c)).collect::<Vec<_>>().join(" · ");
    by_size.iter().take(8).map(|f| line(&[name(f.root), children(f)])).collect()
}

/// The rows of astronomy, if there are enough.
fn part(corpus: &Corpus) -> Option<Mat> {
    let classes = corpus.classes.as_ref()?;
    let rows: Vec<usize> =
        (0..corpus.x.rows).filter(|&i| classes[i].as_ref().is_some_and(|c| c.starts_with("astro-ph"))).collect();
    let data = rows.iter().flat_map(|&i| corpus.x.row(i)).copied().collect();
    (rows.len() >= PART).then_some(Mat { rows: rows.len(), cols: corpus.x.cols, data })
}
