//! Latents that fire in place of a more general one.

use crate::codes::Both;
use mereo::linalg::dot;
use mereo::{Error, Mat, Result, Rows};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What counts as absorption. The defaults are those of SAEBench.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Absorb {
    /// Least cosine with the direction of the latent that absorbs a row in full, in [0, 1].
    pub full_cosine: f64,
    /// Least cosine with the direction of those that absorb a fraction, in [0, 1].
    pub cosine: f64,
    /// Least share of x·p that the absorbers carry, in [0, 1].
    pub share: f64,
    /// Absorbers of a row at most, at least 1.
    pub most: usize,
}

impl Default for Absorb {
    fn default() -> Self {
        Self { full_cosine: 0.025, cosine: 0.1, share: 0.4, most: 3 }
    }
}

impl Absorb {
    /// Refuses parameters out of range.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [("full_cosine", self.full_cosine), ("cosine", self.cosine), ("share", self.share)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::parameter(format!("{name} = {value}; give a number from 0 to 1")));
            }
        }
        if self.most == 0 {
            return Err(Error::parameter("no absorbers at all can be counted; give 1 or more, such as 3"));
        }
        Ok(())
    }
}

/// A class of rows and the direction that tells it.
#[derive(Debug, Clone, Copy)]
pub struct Concept<'a> {
    /// A probe's direction (p, d numbers of any length), such as [`class_direction`].
    pub direction: &'a [f64],
    /// The rows of the class.
    pub rows: &'a [usize],
    /// x·p of each of them, such as [`projections`]. What the model adds to every reconstruction (a decoder's bias, a mean) counts as not
    /// carried by any latent, unless it was subtracted from x.
    pub projections: &'a [f64],
}

/// How much other latents stand in for the main ones on the rows of a class.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Absorption {
    /// Rows that were looked at.
    pub rows: usize,
    /// Rows of the class with x·p ≤ 0, which the direction does not tell: they are left out.
    pub left_out: usize,
    /// Share of the rows that are absorbed in full: no main latent fires, and the latent with the largest projection on p has at least
    /// `full_cosine` with it and carries at least `share` of x·p.
    pub full: f64,
    /// Mean over rows of the absorbed fraction, which is that of partly absorbed rows too.
    pub fraction: f64,
    /// The latents that absorb, the most rows first; ties by index.
    pub absorbers: Vec<Absorber>,
}

/// A latent that stands in for the main ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Absorber {
    /// The latent.
    pub latent: usize,
    /// Cosine of its atom with p.
    pub cosine: f64,
    /// Rows that it absorbs in full.
    pub full: usize,
    /// Rows of which it is among the absorbers of a fraction above 0.
    pub partial: usize,
}

/// What happened on one row.
#[derive(Default)]
struct Row {
    full: Option<usize>,
    fraction: f64,
    absorbers: Vec<usize>,
}

/// Measures absorption on the rows of a class, given the codes, the decoder (k × d) and the `main` latents of the class, such as
/// [`KSparseProbe::main`](super::KSparseProbe::main).
///
/// A latent's projection is its activation times atom·p/‖p‖. The absorbers of a row are up to `most` latents other than the main ones, with
/// `cosine` or more and a projection above 0, the largest first. If together they carry less than `share` of x·p the fraction is 0; else it
/// is a / (a + m), with m the projection of the main latents and a that of the absorbers, but no more than x·p − m; 1 if m ≤ 0 (Chanin et
/// al. 2024, arXiv 2409.14507; SAEBench).
///
/// # Errors
/// [`Absorb::check`]; sizes that don't fit each other; no main latents; a direction without length; indices out of range.
pub fn absorption(both: &Both, decoder: &Mat, concept: &Concept, main: &[usize], how: &Absorb) -> Result<Absorption> {
    how.check()?;
    let length = checked(both, decoder, concept, main)?;
    let (along, cosines) = alignment(decoder, concept.direction, length);
    let mut is_main = vec![false; both.latents()];
    main.iter().for_each(|&j| is_main[j] = true);
    let each: Vec<Option<Row>> = concept
        .rows
        .par_iter()
        .zip(concept.projections)
        .map(|(&row, &x)| {
            let x = x / length;
            (x > 0.0).then(|| {
                let (latents, values) = both.by_row.get(row);
                let projected = latents.iter().zip(values).map(|(&j, &v)| (j as usize, f64::from(v) * along[j as usize]));
                one_row(projected, x, &is_main, &cosines, how)
            })
        })
        .collect();
    let (mut full, mut partial) = (vec![0; both.latents()], vec![0; both.latents()]);
    let rows: Vec<&Row> = each.iter().flatten().collect();
    for row in &rows {
        row.full.iter().for_each(|&j| full[j] += 1);
        row.absorbers.iter().for_each(|&j| partial[j] += 1);
    }
    let mut absorbers: Vec<Absorber> = (0..both.latents())
        .filter(|&j| full[j] + partial[j] > 0)
        .map(|j| Absorber { latent: j, cosine: cosines[j], full: full[j], partial: partial[j] })
        .collect();
    absorbers.sort_by_key(|a| (std::cmp::Reverse(a.full.max(a.partial)), a.latent));
    let n = rows.len().max(1) as f64;
    Ok(Absorption {
        rows: rows.len(),
        left_out: each.len() - rows.len(),
        full: rows.iter().filter(|r| r.full.is_some()).count() as f64 / n,
        fraction: rows.iter().map(|r| r.fraction).sum::<f64>() / n,
        absorbers,
    })
}

/// `x` is x·p/‖p‖, above 0; `projected` has the projection of each latent that fires.
fn one_row(projected: impl Iterator<Item = (usize, f64)>, x: f64, is_main: &[bool], cosines: &[f64], how: &Absorb) -> Row {
    let (mut main, mut fires, mut others) = (0.0, false, Vec::new());
    for (j, p) in projected {
        if is_main[j] {
            main += p;
            fires = true;
        } else if p > 0.0 {
            others.push((j, p));
        }
    }
    others.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let top = others.first().filter(|(j, p)| !fires && cosines[*j] >= how.full_cosine && *p >= how.share * x);
    let full = top.map(|(j, _)| *j);
    let absorbers: Vec<(usize, f64)> = others.into_iter().filter(|(j, _)| cosines[*j] >= how.cosine).take(how.most).collect();
    let carried: f64 = absorbers.iter().map(|(_, p)| p).sum();
    // What is left for absorbers is nothing where the main latents carry all of x·p.
    let left = carried.min(x - main);
    if absorbers.is_empty() || carried < how.share * x || left <= 0.0 {
        return Row { full, ..Row::default() };
    }
    let fraction = if main <= 0.0 { 1.0 } else { left / (left + main) };
    Row { full, fraction, absorbers: absorbers.into_iter().map(|(j, _)| j).collect() }
}

/// The length of p, if all fits.
fn checked(both: &Both, decoder: &Mat, concept: &Concept, main: &[usize]) -> Result<f64> {
    if decoder.rows != both.latents() || decoder.cols != concept.direction.len() {
        return Err(Error::data(format!(
            "a decoder of {} × {} does not fit codes of {} latents and a direction of {} numbers; give those of one model",
            decoder.rows,
            decoder.cols,
            both.latents(),
            concept.direction.len()
        )));
    }
    if concept.rows.len() != concept.projections.len() {
        return Err(Error::data(format!(
            "{} projections of {} rows; give x·p of each",
            concept.projections.len(),
            concept.rows.len()
        )));
    }
    if let Some(row) = concept.rows.iter().find(|r| **r >= both.rows()) {
        return Err(Error::data(format!("there is no row {row} among {}; count from 0", both.rows())));
    }
    if main.is_empty() {
        return Err(Error::data("there are no main latents, so nothing can be absorbed; find some with k_sparse"));
    }
    if let Some(j) = main.iter().find(|j| **j >= both.latents()) {
        return Err(Error::data(format!("there is no latent {j} among {}; count from 0", both.latents())));
    }
    if let Some(p) = concept.projections.iter().find(|p| !p.is_finite()) {
        return Err(Error::data(format!("a projection is {p}; leave out rows that are not finite")));
    }
    let length = concept.direction.iter().map(|p| p * p).sum::<f64>().sqrt();
    if !(length > 0.0 && length.is_finite()) {
        return Err(Error::data(format!("a direction of length {length} tells no class; give a probe's weights")));
    }
    Ok(length)
}

/// For each atom, its product with p/‖p‖ and its cosine with it.
fn alignment(decoder: &Mat, direction: &[f64], length: f64) -> (Vec<f64>, Vec<f64>) {
    (0..decoder.rows)
        .into_par_iter()
        .map(|j| {
            let atom = decoder.row(j);
            let along = atom.iter().zip(direction).map(|(a, p)| f64::from(*a) * p).sum::<f64>() / length;
            let norm = dot(atom, atom).sqrt();
            (along, if norm > 0.0 { along / norm } else { 0.0 })
        })
        .unzip()
}

/// x·p of rows x (n × d) and a direction p (d).
///
/// # Errors
/// Rows of another width.
pub fn projections(x: &Rows, direction: &[f64]) -> Result<Vec<f64>> {
    if x.cols() != direction.len() {
        return Err(Error::data(format!(
            "rows of {} columns have no projection on a direction of {}; give the rows that the probe was fitted on",
            x.cols(),
            direction.len()
        )));
    }
    let one = |i: usize| match x {
        Rows::Dense(x) => x.row(i).iter().zip(direction).map(|(x, p)| f64::from(*x) * p).sum(),
        Rows::Sparse(x) => {
            let (columns, values) = x.row(i);
            columns.iter().zip(values).map(|(&c, &v)| f64::from(v) * direction[c as usize]).sum()
        }
    };
    Ok((0..x.rows()).into_par_iter().map(one).collect())
}

/// The mean of the rows x (n × d) of a class less the mean of the others (d): the plainest probe's direction.
///
/// # Errors
/// Other labels than rows; a class of none or of all of them.
pub fn class_direction(x: &Rows, labels: &[bool]) -> Result<Vec<f64>> {
    let inside = labels.iter().filter(|l| **l).count();
    if labels.len() != x.rows() || inside == 0 || inside == labels.len() {
        return Err(Error::data(format!(
            "{} labels, of which {inside} are in the class, of {} rows tell no direction; give one a row, of both kinds",
            labels.len(),
            x.rows()
        )));
    }
    let share = [1.0 / (labels.len() - inside) as f64, 1.0 / inside as f64];
    let mut sums = [vec![0.0; x.cols()], vec![0.0; x.cols()]];
    for (i, &label) in labels.iter().enumerate() {
        let sum = &mut sums[usize::from(label)];
        match x {
            Rows::Dense(x) => sum.iter_mut().zip(x.row(i)).for_each(|(s, v)| *s += f64::from(*v)),
            Rows::Sparse(x) => {
                let (columns, values) = x.row(i);
                columns.iter().zip(values).for_each(|(&c, &v)| sum[c as usize] += f64::from(v));
            }
        }
    }
    Ok(sums[1].iter().zip(&sums[0]).map(|(a, b)| a * share[1] - b * share[0]).collect())
}
