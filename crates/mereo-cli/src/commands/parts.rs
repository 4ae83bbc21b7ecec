//! `mereo parts`: what makes parts emerge? Every measure of parts against the number of atoms, the number of rows, the start, the
//! preparation and the constraint, in one grid with a picture of the atoms of each cell.

mod axes;
mod grid;

use crate::args::Global;
use crate::failure::Result;
use crate::subject::{self, Subject};
use crate::{output, show};
use mereo::store;
use mereo_report::{Block, Document, Section};
use std::path::PathBuf;

pub use axes::{Axes, Constraint, Start, Steps, What};
pub use grid::{Grid, MEASURES, Tries, grid, sides};

/// Flags of `mereo parts`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub subject: Subject,
    /// Numbers of atoms; the first is the one that all else is varied at.
    #[arg(short, long, value_name = "ATOMS", value_delimiter = ',', value_parser = crate::args::positive)]
    pub k: Vec<usize>,
    /// Numbers of rows to learn from, the first being the usual one [default: all, and a quarter of them].
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = crate::args::positive)]
    pub rows: Vec<usize>,
    /// Starts, the usual one first.
    #[arg(long, value_name = "START", value_delimiter = ',', value_enum, default_values = ["random", "nndsvda", "k-means"])]
    pub start: Vec<Start>,
    /// Preparations, the usual one first; steps of one are joined by + [default: raw,lee-seung, for sparse rows raw,unit-norm].
    #[arg(long, value_name = "STEPS", value_delimiter = ',', value_parser = axes::steps)]
    pub prep: Vec<Steps>,
    /// Constraints and solvers, the usual one first; listed below, some with a strength, such as sparse-atoms=0.6 [default:
    /// none,l1,sparse-atoms,orthogonal,smooth,kl,nsnmf,local; smooth for images only].
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = axes::constraint)]
    pub constraint: Vec<Constraint>,
    /// Every combination, not one change at a time.
    #[arg(long)]
    pub full: bool,
    /// Fits of each cell from other random numbers, at least 2, or one where nothing is random; the first is measured and drawn.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub seeds: usize,
    /// Passes over the rows at most.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = crate::args::positive)]
    pub max_passes: usize,
    /// Also write the table as CSV.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Where to write the page with the atoms.
    #[arg(short, long, value_name = "FILE", default_value = "parts.html")]
    pub output: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  mereo parts faces                                     one change at a time: a table, parts.html, and what moves each measure most
  mereo parts faces -k 16,36,64 --rows 300,100          numbers of atoms and of rows
  mereo parts faces --constraint none,sparse-atoms=0.6,sparse-atoms=0.85,local
                                                        sparser and sparser
  mereo parts swimmer -k 17 --constraint none,l1,lee-seung --full --csv parts.csv
                                                        every combination; planted parts are looked for

Constraints and solvers, with their strengths [by themselves]:
  none             squared error, nothing else
  l1=ALPHA         with a penalty of the sum of atoms and codes, in scikit-learn's scaling [0.001 times the mean of the prepared
                   rows to the power 1.5]
  l2=ALPHA         the same of their squares
  sparse-atoms=S   every atom of this Hoyer sparseness exactly, 0 to 1 (NMFSC) [0.75]
  sparse-codes=S   every atom's codes over the rows of this sparseness [0.5]
  orthogonal=SHARE atoms apart: penalty of the cosines of all pairs, as a share of the data's square [0.003]
  volume=SHARE     atoms close together: penalty of the logarithm of their volume, likewise [0.001]
  smooth=SHARE     neighbouring pixels of an atom alike, for images: penalty of their differences, likewise [0.1]
  signed           atoms may be negative, codes not (semi-NMF)
  mu               squared error by the multiplicative rules of 2001
  exact            squared error, atoms and codes in turn solved to the end
  separable        atoms that are rows of the data (by snpa, or by spa where that is the start)
  kl               Kullback-Leibler divergence, by its fastest solver
  mu-kl            the same by the multiplicative rules of 2001
  lee-seung        the same by the rules of 1999, with atoms that sum to one
  nsnmf=THETA      those with smoothed codes, which make atoms sparse, 0 to 1 [0.5]
  local            those with the root of the codes' own: small spots that don't overlap (LNMF)

A start without random numbers (nndsvd, nndsvda, spa, snpa) is fitted once.";

/// Fits the grid, prints it and writes the page.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    subject::check(&args.output, &args.subject.data)?;
    if let Some(csv) = &args.csv {
        subject::check(csv, &args.subject.data)?;
        output::check(csv, &[&args.output])?;
    }
    let opened = args.subject.open(None, global)?;
    let tries = Tries { seed: args.subject.seed, seeds: args.seeds, max_passes: args.max_passes };
    let grid = grid::grid(&opened, axes::axes(args, &opened)?, args.full, &tries, &args.subject.runner(global))?;
    if let Some(csv) = &args.csv {
        let bytes = grid::spreadsheet(&grid)?;
        output::keep(csv, "the table", |path| store::write_whole(path, |file| std::io::Write::write_all(file, &bytes)))?;
    }
    let way = if args.full { "every combination" } else { "one change at a time from the first of each" };
    let mut sections = vec![
        Section { title: "The grid".into(), note: grid::NOTE.into(), blocks: vec![Block::Table(grid.table())] },
        Section {
            title: "What moves each measure".into(),
            note: "For each axis, where the measure is lowest and where it is highest.".into(),
            blocks: vec![Block::Table(grid.effects())],
        },
    ];
    sections.extend(grid.sections(opened.image));
    let page = Document {
        title: format!("What makes parts: NMF on {}", opened.data.name),
        facts: vec![opened.line(&[]), format!("{} fits · {way} · {} rows held out · {} seeds", grid.fits, grid.held, args.seeds)],
        summary: grid.answer(),
        sections,
        command: show::typed(std::env::args_os()),
        made: opened.made(),
        left_out: grid.left_out.clone(),
    };
    for line in &grid.left_out {
        global.say(format_args!("note: {line}"));
    }
    let json = serde_json::json!({
        "cells": grid.cells, "held_out": grid.held, "answer": grid.answer(), "left_out": grid.left_out,
        "fits": grid.fits, "stopped_at_limit": grid.limited,
    });
    subject::publish(&page, &args.output, global, json)
}
