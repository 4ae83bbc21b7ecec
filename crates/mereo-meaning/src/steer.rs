//! Steered search: a query is moved along latents, and rows are looked for from where it came.
//!
//! Three ways (O'Neill et al. 2024): [`direct`] adds directions of the decoder to the query, [`clamp`] sets its codes and decodes them, and
//! [`refine`] looks for the embedding whose own codes are those that were wanted, since decoded ones are not.

use crate::near::cosine;
use mereo::bundle::Bundle;
use mereo::linalg::dot;
use mereo::mat::{DenseRows, Rows};
use mereo::{Error, Mat, Result};

/// A latent and what to do with it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Move {
    /// The latent.
    pub latent: usize,
    /// For [`direct`], what is added of its direction of length 1: more than 0 is up, less is down. For [`clamp`], its new code.
    pub by: f32,
}

/// Where a query went.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Moved {
    /// The query from now on (d).
    pub query: Vec<f32>,
    /// Its cosine with the one that was typed.
    pub cosine: f64,
}

/// Rows in memory, one of them.
fn one(x: &[f32]) -> Rows<'_> {
    Rows::Dense(DenseRows { cols: x.len(), data: x.into(), weights: None })
}

fn check(bundle: &Bundle, x: &[f32], moves: &[Move]) -> Result<()> {
    let cols = bundle.about.shape.cols;
    if x.len() != cols {
        return Err(Error::data(format!(
            "the query has {} numbers, rows of the model have {cols}; embed it as the rows were",
            x.len()
        )));
    }
    let k = bundle.model.atoms().rows;
    for m in moves {
        if m.latent >= k {
            return Err(Error::parameter(format!("there is no latent {}; the model has {k}, counted from 0", m.latent)));
        }
        if !m.by.is_finite() {
            return Err(Error::parameter(format!("latent {} can't be moved by {}; give a number", m.latent, m.by)));
        }
    }
    Ok(())
}

/// x′ = x + Σ uᵢ·wᵢ/|wᵢ|, with wᵢ the latents' atoms: no new codes, no new length. Preparation is done before and undone after.
///
/// # Errors
/// A query of another width, a latent that is not there, a move that is no number.
pub fn direct(bundle: &Bundle, x: &[f32], moves: &[Move]) -> Result<Moved> {
    check(bundle, x, moves)?;
    let (prepared, undo) = bundle.pipeline.apply(&one(x))?;
    let mut at = prepared.to_mat();
    let atoms = bundle.model.atoms();
    for m in moves {
        let w = atoms.row(m.latent);
        let length = dot(w, w).sqrt();
        if length > 0.0 {
            mereo::linalg::axpy(&mut at.data, (f64::from(m.by) / length) as f32, w);
        }
    }
    let query = bundle.pipeline.invert(at, &undo)?.data;
    Ok(Moved { cosine: cosine(x, &query), query })
}

/// Codes of a query (k), with those of `moves` set, of which as many are kept as the query had: the largest, and those that were set.
///
/// # Errors
/// As [`direct`].
pub fn wanted(bundle: &Bundle, x: &[f32], moves: &[Move]) -> Result<Vec<f32>> {
    check(bundle, x, moves)?;
    let mut z = bundle.encode(&one(x))?.to_mat().data;
    let alive = z.iter().filter(|v| **v != 0.0).count();
    for m in moves {
        z[m.latent] = m.by;
    }
    let set = |j: usize| moves.iter().any(|m| m.latent == j);
    let mut by_size: Vec<usize> = (0..z.len()).filter(|&j| z[j] != 0.0).collect();
    by_size.sort_by(|&a, &b| set(b).cmp(&set(a)).then(z[b].total_cmp(&z[a])).then(a.cmp(&b)));
    for &j in by_size.iter().skip(alive.max(moves.len())) {
        z[j] = 0.0;
    }
    Ok(z)
}

/// Sets codes and decodes them. The rest of the query, which the model can't say, is lost.
///
/// # Errors
/// As [`direct`].
pub fn clamp(bundle: &Bundle, x: &[f32], moves: &[Move]) -> Result<Moved> {
    let z = wanted(bundle, x, moves)?;
    let query = decode(bundle, x, &z)?;
    Ok(Moved { cosine: cosine(x, &query), query })
}

fn decode(bundle: &Bundle, x: &[f32], z: &[f32]) -> Result<Vec<f32>> {
    let (prepared, undo) = bundle.pipeline.apply(&one(x))?;
    let codes = mereo::Codes::Dense(Mat { rows: 1, cols: z.len(), data: z.to_vec() });
    Ok(bundle.pipeline.invert(bundle.model.decode_like(&codes, &prepared)?, &undo)?.data)
}

/// A query that was looked for step by step.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Refined {
    /// The best one found.
    pub moved: Moved,
    /// |wanted − obtained|² / |wanted|² of the codes: of the decoded query, and after each step.
    pub errors: Vec<f64>,
}

/// Looks for the embedding whose codes are `z` (k), from the decoded one in `steps` steps: each goes along the atoms by what its codes still
/// lack, half as far where the step before made it worse. The best is kept.
///
/// # Errors
/// As [`direct`]; codes of another number than latents, or all 0.
pub fn refine(bundle: &Bundle, x: &[f32], z: &[f32], steps: usize) -> Result<Refined> {
    check(bundle, x, &[])?;
    let atoms = bundle.model.atoms();
    if z.len() != atoms.rows {
        return Err(Error::data(format!("{} codes are wanted of a model of {} latents; give one for each", z.len(), atoms.rows)));
    }
    let size = dot(z, z);
    if size <= 0.0 {
        return Err(Error::data("all codes that are wanted are 0; leave one of them above"));
    }
    let lack = |query: &[f32]| -> Result<(Vec<f32>, f64)> {
        let got = bundle.encode(&one(query))?.to_mat().data;
        let lack: Vec<f32> = z.iter().zip(&got).map(|(z, got)| z - got).collect();
        let error = dot(&lack, &lack) / size;
        Ok((lack, error))
    };
    let mut query = decode(bundle, x, z)?;
    let (mut lacks, mut error) = lack(&query)?;
    let (mut errors, mut share) = (vec![error], 1f32);
    for _ in 0..steps {
        let (prepared, undo) = bundle.pipeline.apply(&one(&query))?;
        let mut at = prepared.to_mat();
        for (j, &l) in lacks.iter().enumerate().filter(|(_, l)| **l != 0.0) {
            mereo::linalg::axpy(&mut at.data, share * l, atoms.row(j));
        }
        let next = bundle.pipeline.invert(at, &undo)?.data;
        let (next_lacks, next_error) = lack(&next)?;
        if next_error < error {
            (query, lacks, error) = (next, next_lacks, next_error);
        } else {
            share *= 0.5;
        }
        errors.push(error);
    }
    Ok(Refined { moved: Moved { cosine: cosine(x, &query), query }, errors })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mereo::bundle;
    use mereo::fold::{Options, Shape, fit};
    use mereo::source::Memory;
    use mereo::{Pipeline, Recipe, Sae, synth};

    fn model(recipes: &[Recipe]) -> (Bundle, Mat) {
        let x = synth::dictionary(3000, 64, 48, 3, 1).expect("synth").data;
        let pipeline = Pipeline::fit(recipes, &Memory::from(&x)).expect("pipeline");
        let prepared = pipeline.apply(&x.view()).expect("apply").0;
        let method = Sae { latents: Some(48), k: 3, batch: 128, lr: Some(3e-3), max_passes: 20, ..Sae::default() };
        let fitted = fit(&method, &Memory::new(prepared), Options::default()).expect("fit");
        let about = bundle::About::new("planted", Shape { rows: x.rows, cols: x.cols }, &method, &fitted);
        (Bundle { pipeline, model: Box::new(fitted.model), about }, x)
    }

    #[test]
    fn a_direct_edit_adds_directions_of_the_decoder() {
        for recipes in [vec![], vec!["standardize".parse::<Recipe>().expect("recipe")]] {
            let (bundle, x) = model(&recipes);
            let moves = [Move { latent: 5, by: 2.0 }, Move { latent: 9, by: -0.5 }];
            let moved = direct(&bundle, x.row(0), &moves).expect("moved");
            // What was added, in the units in which the model was fitted.
            let prepared = |x: &[f32]| bundle.pipeline.apply(&one(x)).expect("apply").0.to_mat().data;
            let (before, after) = (prepared(x.row(0)), prepared(&moved.query));
            let unit = |j: usize| {
                let w = bundle.model.atoms().row(j);
                w.iter().map(|v| v / dot(w, w).sqrt() as f32).collect::<Vec<_>>()
            };
            let (up, down) = (unit(5), unit(9));
            for j in 0..64 {
                assert!((after[j] - before[j] - 2.0 * up[j] + 0.5 * down[j]).abs() < 1e-5);
            }
            assert!((moved.cosine - cosine(x.row(0), &moved.query)).abs() < 1e-12);
            assert!(direct(&bundle, x.row(0), &[]).expect("still").cosine > 1.0 - 1e-6);
        }
    }

    /// S8: for directions that a query of length 1 knows nothing of, the cosine is 1/√(1 + u² + δ²).
    #[test]
    fn the_cosine_of_a_direct_edit_follows_its_law() {
        let (bundle, x) = model(&[]);
        let atoms = bundle.model.atoms();
        for (u, down) in [(0.29f32, 0.0f32), (1.0, 0.0), (1.0, -0.5), (2.5, -1.0)] {
            let row: Vec<f32> = x.row(3).iter().map(|v| v / dot(x.row(3), x.row(3)).sqrt() as f32).collect();
            // The two that are nearest to orthogonal to the query and each other.
            let mut pairs: Vec<(usize, usize)> = (0..48).flat_map(|i| (0..i).map(move |j| (i, j))).collect();
            let skew = |&(i, j): &(usize, usize)| {
                cosine(&row, atoms.row(i)).abs() + cosine(&row, atoms.row(j)).abs() + cosine(atoms.row(i), atoms.row(j)).abs()
            };
            pairs.sort_by(|a, b| skew(a).total_cmp(&skew(b)));
            let (i, j) = pairs[0];
            let got = direct(&bundle, &row, &[Move { latent: i, by: u }, Move { latent: j, by: down }]).expect("moved").cosine;
            let law = 1.0 / f64::from(1.0 + u * u + down * down).sqrt();
            assert!((got - law).abs() < 0.02, "{u} {down}: {got} {law}");
        }
    }

    #[test]
    fn clamped_codes_are_decoded_and_refined_ones_obtained() {
        let (bundle, x) = model(&[]);
        let (mut before, mut after) = (0.0, 0.0);
        for i in 0..20 {
            let own = bundle.encode(&one(x.row(i))).expect("codes").to_mat().data;
            let off = (0..48).find(|&j| own[j] == 0.0).expect("inactive");
            let moves = [Move { latent: off, by: 1.5 }];
            let z = wanted(&bundle, x.row(i), &moves).expect("wanted");
            // As many as before, what was set among them, and the largest of the others.
            assert_eq!(z.iter().filter(|v| **v != 0.0).count(), own.iter().filter(|v| **v != 0.0).count());
            assert_eq!(z[off], 1.5);
            let least = z.iter().zip(&own).filter(|(z, own)| z == own && **z != 0.0).map(|(z, _)| *z).fold(f32::MAX, f32::min);
            assert!((0..48).all(|j| z[j] != 0.0 || own[j] <= least), "row {i}");
            let clamped = clamp(&bundle, x.row(i), &moves).expect("clamped");
            let decoded = mereo::Codes::Dense(Mat { rows: 1, cols: 48, data: z.clone() });
            assert_eq!(clamped.query, bundle.model.decode(&decoded).expect("decoded").data);
            let refined = refine(&bundle, x.row(i), &z, 10).expect("refined");
            assert_eq!(refined.errors.len(), 11);
            assert!(refined.errors.windows(2).all(|e| e[1] <= e[0]));
            // The last error is that of the query which is given back.
            let got = bundle.encode(&one(&refined.moved.query)).expect("codes").to_mat().data;
            let lack: f64 = z.iter().zip(&got).map(|(z, g)| f64::from(z - g).powi(2)).sum();
            assert!((lack / dot(&z, &z) - refined.errors[10]).abs() < 1e-6);
            before += refined.errors[0];
            after += refined.errors[10];
        }
        assert!(after < 0.5 * before, "{before} {after}");
    }

    #[test]
    fn moves_that_make_no_sense_are_refused() {
        let (bundle, x) = model(&[]);
        let said = |x: &[f32], m: Move| direct(&bundle, x, &[m]).expect_err("refused").to_string();
        assert!(said(x.row(0), Move { latent: 48, by: 1.0 }).contains("no latent 48; the model has 48"));
        assert!(said(x.row(0), Move { latent: 0, by: f32::NAN }).contains("NaN"));
        assert!(said(&x.row(0)[1..], Move { latent: 0, by: 1.0 }).contains("63 numbers"));
        assert!(refine(&bundle, x.row(0), &[0.0; 48], 3).expect_err("zeros").to_string().contains("all codes"));
        assert!(refine(&bundle, x.row(0), &[1.0; 4], 3).expect_err("few").to_string().contains("4 codes"));
    }
}
