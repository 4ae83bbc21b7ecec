//! The claims N1 to N12: target, found, held.

use super::variants::{Kind, Variant, Variants};
use super::{Faces, embedded};
use crate::failure::Result;
use crate::methods::Runner;
use mereo::compare::Entry;
use mereo::fold::Pass;
use mereo::nmf::NmfModel;
use mereo::source::Memory;
use mereo::{Mat, Model, Nmf, NmfInit, measure};
use serde::Serialize;

/// f32 products know an objective to about this share of it, so no rise below it can be told from rounding.
const ROUNDING: f64 = 1e-6;

/// Codes below this sparseness are called dense.
const DENSE: f64 = 0.1;

/// One claim.
#[derive(Debug, Clone, Serialize)]
pub struct Claim {
    pub id: &'static str,
    /// In words.
    pub says: &'static str,
    pub target: String,
    pub found: String,
    pub held: bool,
}

/// What the claims are checked on.
pub struct Fits<'a> {
    pub runner: &'a Runner<'a>,
    pub faces: &'a Faces,
    /// The prepared faces.
    pub x: &'a Mat,
    /// Squared error, defaults.
    pub own: &'a Nmf,
    /// The rules of 1999.
    pub lee_seung: &'a Nmf,
    /// Its fit.
    pub nmf: &'a NmfModel,
    pub curve: &'a [Pass],
    /// NMF, VQ, PCA.
    pub entries: &'a [Entry],
    /// Variants of NMF beside PCA and VQ: of CBCL faces on inverted greys, which their targets were measured on.
    pub variants: &'a Variants,
}

/// The largest rise from pass to pass, as a share of the loss; below 0 if it always fell.
fn rise(curve: &[Pass]) -> f64 {
    curve.windows(2).map(|p| (p[1].loss - p[0].loss) / p[0].loss.abs()).fold(f64::NEG_INFINITY, f64::max)
}

/// A largest rise in words.
fn moved(rise: f64) -> String {
    if rise < 0.0 { format!("fell by {:.1e} of it or more", -rise) } else { format!("rose by {rise:.1e} of it at most") }
}

impl Fits<'_> {
    fn fit(&self, label: &str, how: &Nmf, x: &Mat) -> Result<(NmfModel, Vec<Pass>)> {
        let (model, facts) = self.runner.fit(label, how, &Memory::from(x))?;
        Ok((model, facts.curve))
    }
}

/// Sparseness of atoms by coordinate descent from a random start and from NNDSVDa.
fn starts(f: &Fits) -> (f64, f64) {
    let atoms = |init| f.variants.of(Kind::Cd(init)).map_or(f64::NAN, Variant::atoms);
    (atoms(NmfInit::Random), atoms(NmfInit::Nndsvda))
}

fn hoyer(model: &dyn Model) -> f64 {
    measure::atoms(model.atoms(), None).sparseness.mean
}

fn last(curve: &[Pass]) -> f64 {
    curve.last().map_or(f64::NAN, |p| p.loss)
}

/// All of them, in order.
pub fn all(f: &Fits) -> Result<Vec<Claim>> {
    let (raw, _) = f.fit("raw faces", f.lee_seung, &f.faces.x)?;
    let mut told = Told::default();
    told.rules(f);
    told.figure_one(f);
    told.sparse(f);
    told.solvers(f);
    told.elsewhere(f)?;
    told.traps(f, hoyer(&raw));
    Ok(told.0)
}

/// Claims, told one after the other.
#[derive(Default)]
struct Told(Vec<Claim>);

impl Told {
    fn say(&mut self, id: &'static str, says: &'static str, target: String, found: String, held: bool) {
        self.0.push(Claim { id, says, target, found, held });
    }

    /// N1 and N2.
    fn rules(&mut self, f: &Fits) {
        let mu = f.variants.of(Kind::Mu(NmfInit::Random)).map_or(f64::NAN, |v| rise(&v.curve));
        let (kl, frobenius) = (rise(f.curve), mu);
        self.say(
            "N1",
            "The divergence never rises under the rules of 1999, the squared error never under those of 2001",
            format!("no rise beyond rounding ({ROUNDING:.0e} of it, for f32)"),
            format!(
                "in each of {} iterations the divergence {}, the squared error {}",
                f.curve.len(),
                moved(kl),
                moved(frobenius)
            ),
            kl <= ROUNDING && frobenius <= ROUNDING,
        );

        let sums = |a: usize| f.nmf.parts.row(a).iter().map(|&v| f64::from(v)).sum::<f64>();
        let off = (0..f.nmf.parts.rows).map(sums).filter(|s| *s > 0.0).map(|s| (s - 1.0).abs()).fold(0.0, f64::max);
        let kept: f64 = f.x.data.iter().map(|&v| f64::from(v)).filter(|v| *v > 0.0).map(|v| v * v.ln() - v).sum();
        let likelihood = f.nmf.likelihood.unwrap_or(f64::NAN);
        let apart = (last(f.curve) * f.x.data.len() as f64 + likelihood - kept).abs() / likelihood.abs();
        self.say(
            "N2",
            "Atoms sum to 1; F is the negative divergence and a constant",
            format!("both to {ROUNDING:.0e} (1e-12 and 1e-9 in f64)"),
            format!("sums off by {off:.1e} at most; F and the divergence by {apart:.1e} of F = {likelihood:.0}"),
            off <= ROUNDING && apart <= ROUNDING,
        );
    }

    /// N3 and N4.
    fn figure_one(&mut self, f: &Fits) {
        let [nmf, vq, pca] = f.entries else { return };
        let own = f.faces.own;
        let line = |kind| f.variants.of(kind).map_or(f64::NAN, Variant::rmse);
        let inverted = own.then(|| [Kind::Pca, Kind::LeeSeung, Kind::Vq].map(line));
        let errors = [pca, nmf, vq].map(|e| e.train.rmse);
        let near = |v: f64, low: f64, high: f64| v >= low * 0.97 && v <= high * 1.03;
        let ordered = |e: [f64; 3]| e[0] < e[1] && e[1] < e[2];
        let written = |e: [f64; 3]| format!("{:.4} < {:.4} < {:.4}", e[0], e[1], e[2]);
        // Clipping makes it matter which way the greys go.
        let on_target =
            |e: [f64; 3]| ordered(e) && near(e[0], 0.0589, 0.0589) && near(e[1], 0.0778, 0.0792) && near(e[2], 0.1266, 0.1266);
        self.say(
            "N3",
            "Error: PCA < NMF < VQ",
            if own {
                "this order; RMSE .0589 < .0778–.0792 < .1266 to 3 % with inverted greys, which they were measured on".into()
            } else {
                "in this order".into()
            },
            inverted.map_or_else(|| written(errors), |e| format!("{}; inverted {}", written(errors), written(e))),
            ordered(errors) && inverted.is_none_or(on_target),
        );

        let [h_nmf, h_vq, h_pca] = [nmf, vq, pca].map(|e| e.atom_measures.sparseness.mean);
        let (w, h) = (nmf.atom_measures.small.mean, nmf.code_measures.small.mean);
        self.say(
            "N4",
            "Atoms of NMF are sparse and local, those of PCA and VQ whole",
            if own {
                "Hoyer > .65, < .30, < .30; > 70 % of atoms and > 30 % of codes below 1 % of their largest".into()
            } else {
                "Hoyer of NMF .1 above PCA and VQ".into()
            },
            format!("Hoyer {h_nmf:.3}, PCA {h_pca:.3}, VQ {h_vq:.3}; {:.0} % and {:.0} %", w * 100.0, h * 100.0),
            if own {
                h_nmf > 0.65 && h_pca < 0.30 && h_vq < 0.30 && w > 0.7 && h > 0.3
            } else {
                h_nmf > h_pca + 0.1 && h_nmf > h_vq + 0.1
            },
        );
    }

    /// N5 and N6.
    fn sparse(&mut self, f: &Fits) {
        let atoms = |kind| f.variants.of(kind).map_or(f64::NAN, Variant::atoms);
        let codes = |kind| f.variants.of(kind).map_or(f64::NAN, Variant::codes);
        let order = [Kind::Local, Kind::Sparse(0.85), Kind::Smoothed(0.7), Kind::LeeSeung].map(atoms);
        let [local, smoothed, plain] = [Kind::Local, Kind::Smoothed(0.7), Kind::LeeSeung].map(codes);
        self.say(
            "N5",
            "Sparseness of atoms: LNMF > NMFSC (.85) > nsNMF (.7) > NMF of 1999; nsNMF makes codes sparser as well, LNMF dense",
            format!("this order; codes: nsNMF above NMF, LNMF below {DENSE}"),
            format!(
                "{}; codes: nsNMF {smoothed:.3}, NMF {plain:.3}, LNMF {local:.3}",
                order.map(|v| format!("{v:.3}")).join(" > ")
            ),
            order.windows(2).all(|o| o[0] > o[1]) && smoothed > plain && local < DENSE,
        );

        let asked = [0.6, 0.75, 0.85];
        let off = |s: f64| {
            let each = f.variants.of(Kind::Sparse(s)).map_or(&[][..], |v| &v.sparseness);
            each.iter().map(|is| (is - s).abs()).fold(if each.is_empty() { f64::NAN } else { 0.0 }, f64::max)
        };
        let offs = asked.map(off);
        self.say(
            "N6",
            "NMFSC meets its sparseness exactly, in every atom",
            "to 1e-6".into(),
            format!("off by {} at most, for .60, .75 and .85", offs.map(|o| format!("{o:.0e}")).join(", ")),
            offs.iter().all(|o| *o < 1e-6),
        );
    }

    /// N7 and N8.
    fn solvers(&mut self, f: &Fits) {
        let curve = |kind| f.variants.of(kind).map_or(&[][..], |v| v.curve.as_slice());
        let (mu, fast) = (curve(Kind::Mu(NmfInit::Random)), curve(Kind::Cd(NmfInit::Random)));
        let slow = mu.get(99).map_or_else(|| last(mu), |p| p.loss);
        let passes = fast.iter().position(|p| p.loss <= slow).map(|p| p + 1);
        let after = mu.len().min(100);
        self.say(
            "N7",
            "Coordinate descent is soon where multiplicative rules are after 100 iterations",
            "in 15 passes at most".into(),
            passes.map_or_else(|| "not reached".into(), |p| format!("in {p} passes, against {after}")),
            passes.is_some_and(|p| p <= 15),
        );

        let (from_random, from_svd) = starts(f);
        self.say(
            "N8",
            "NNDSVDa makes no sparser atoms than a random start, at the same k",
            "at most .01 sparser".into(),
            format!("Hoyer {from_svd:.3} against {from_random:.3}"),
            from_svd - from_random <= 0.01,
        );
    }

    /// N9 and N10, which are of other faces.
    fn elsewhere(&mut self, f: &Fits) -> Result<()> {
        let whole = embedded()?;
        let small = mereo::data::halved(&whole.x, whole.image)?;
        let full = |k, init| -> Result<(f64, f64)> {
            let (model, _) =
                f.fit("full-size faces", &Nmf { k, init, max_passes: 600, seed: f.own.seed, ..Nmf::default() }, &small)?;
            let m = measure::atoms(model.atoms(), None);
            Ok((m.sparseness.mean, m.overlap.mean))
        };
        let (a, b) = (full(16, NmfInit::Random)?, full(36, NmfInit::Nndsvda)?);
        self.say(
            "N9",
            "Whole heads stay holistic under the squared error (embedded ORL faces, raw)",
            "Hoyer about .34 (k 16, random) and .39 (k 36, NNDSVDa), below .5; overlap about .4, above .3".into(),
            format!("Hoyer {:.3} and {:.3}, overlap {:.2} and {:.2}", a.0, b.0, a.1, b.1),
            a.0 < 0.5 && b.0 < 0.5 && a.1 > 0.3 && b.1 > 0.3,
        );

        let gap = |at: usize| super::notes::TABLE[at].2 / super::notes::TABLE[at].1 - 1.0;
        let (first, end) = (gap(0), gap(super::notes::TABLE.len() - 1));
        self.say(
            "N10",
            "The notes' table of LFW agrees with itself: held-out over training error closes with the rows",
            "121 % at 200 rows, about 0 at 7,331".into(),
            format!("{:.0} % and {:.1} %", first * 100.0, end * 100.0),
            (first - 1.21).abs() < 0.01 && end.abs() < 0.005,
        );
        Ok(())
    }

    /// N11 and N12; `plain` is the sparseness of raw faces.
    fn traps(&mut self, f: &Fits, plain: f64) {
        let loss = |init| f.variants.of(Kind::Mu(init)).map_or(f64::NAN, Variant::loss);
        let ratio = (loss(NmfInit::Nndsvd) / loss(NmfInit::Random)).sqrt();
        let (from_random, from_svd) = starts(f);
        let start = (from_svd - from_random).abs();
        // Of other faces fewer numbers of NNDSVD are zero.
        let least = if f.faces.own { 30.0 } else { 10.0 };
        self.say(
            "N11",
            "Zeros stay zeros under multiplicative rules: plain NNDSVD is a trap",
            format!("error at least {least:.0} % above that of a random start"),
            format!("{:.0} % above", (ratio - 1.0) * 100.0),
            (ratio - 1.0) * 100.0 >= least,
        );

        let stretched = f.entries.first().map_or(f64::NAN, |e| e.atom_measures.sparseness.mean);
        let least = if f.faces.own { 0.15 } else { 0.1 };
        self.say(
            "N12",
            "Preparation matters more than the start",
            format!("Hoyer of prepared less raw > {least}, and more than the start makes"),
            format!("{stretched:.3} − {plain:.3} = {:.3}; the start makes {start:.3}", stretched - plain),
            stretched - plain > least && stretched - plain > start,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_is_the_largest() {
        let curve: Vec<Pass> = [4.0, 2.0, 2.5, 1.0]
            .iter()
            .enumerate()
            .map(|(i, &loss)| Pass { restart: 0, pass: i + 1, loss, seconds: 0.0, gradient: None, held: None, used: None })
            .collect();
        assert!((rise(&curve) - 0.25).abs() < 1e-12 && rise(&curve[..2]) < 0.0);
    }
}
