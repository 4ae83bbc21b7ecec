//! Sections and plots of courses of learning: errors, order parameters, overlaps, norms, weights and eigenvalues.

use super::Run;
use super::data::Scene;
use crate::show;
use crate::subject::cells;
use mereo::Mat;
use mereo::dynamics::{Activation, Begin, Dynamics, Path, Point, Population, Rule};
use mereo_report::{Block, Heat, Plate, Plot, Section, Table, number};

/// Units and components that plots show at most.
const SHOWN: usize = 4;
/// Lines of a plot of order parameters at most, which is as many as there are colours.
const LINES: usize = 7;
/// Errors of PCA that are drawn at most.
const LEVELS: usize = 5;
/// Components in the table of weights.
const COMPONENTS: usize = 6;

/// A quantity of a point, for the plots.
type Of<'a> = &'a dyn Fn(&Point) -> f64;

fn series(path: &Path, of: Of) -> Vec<(f64, f64)> {
    path.points.iter().filter(|p| p.s > 0.0).map(|p| (p.s, of(p))).collect()
}

/// An empty plot over time.
fn over_time(title: &str, y: &str, log: bool) -> Plot {
    Plot { title: title.into(), x: "s = samples / D".into(), y: y.into(), log: (true, log), ..Plot::default() }
}

/// Lines of theory and dots of the simulation, for several quantities.
fn with(mut plot: Plot, theory: Option<&Path>, simulation: Option<&Path>, quantities: &[(String, Of)]) -> Plot {
    for (name, of) in quantities {
        plot.lines.extend(theory.map(|path| (name.clone(), series(path, of))));
        plot.dots.extend(simulation.map(|path| (name.clone(), series(path, of))));
    }
    plot
}

/// Whether a path knows lengths of encoders and overlaps; products of weights for each eigenvalue ([`mereo::dynamics::Form::Modes`]) don't.
pub(crate) fn follows(path: &Path) -> bool {
    path.points.first().is_some_and(|p| !p.span.is_empty())
}

/// Errors of m = 0, 1, … principal components, up to K: all of a few, else those around the ends.
pub(crate) fn pca_lines(of: &Population, k: usize) -> Vec<(usize, f64)> {
    let some: Vec<usize> = if k < LEVELS { (0..=k).collect() } else { vec![0, 1, 2, k / 2, k] };
    some.into_iter().map(|m| (m, of.pca(m))).filter(|(m, e)| *m == 0 || !nothing(*e, of)).collect()
}

/// An error that is none but for rounding.
pub(crate) fn nothing(error: f64, of: &Population) -> bool {
    error <= 1e-12 * of.pca(0)
}

/// Errors over time, both logarithmic: lines of theory, dots of simulations (of the line's colour, if they have its name), and the errors of PCA.
pub(crate) fn error_plot(title: &str, theory: &[(&str, &Path)], simulation: &[(&str, &Path)], pca: &[(usize, f64)]) -> Plot {
    let all =
        |runs: &[(&str, &Path)]| runs.iter().map(|(name, path)| ((*name).to_string(), series(path, &|p| p.error))).collect();
    Plot {
        lines: all(theory),
        dots: all(simulation),
        levels: pca.iter().map(|(m, error)| (format!("PCA({m})"), *error)).collect(),
        ..over_time(title, "error, half the MSE", true)
    }
}

/// The entries of the order parameters Q, R, T₀ and T₁ over time, a plot each.
pub(crate) fn orders(k: usize, theory: Option<&Path>, simulation: Option<&Path>) -> Vec<Plot> {
    type Entries = fn(&Point) -> &Vec<f64>;
    let each: [(&str, Entries, bool); 4] = [
        ("Q = wΩw/D, units with units", |p| &p.q, true),
        ("R = vΩw/D^1.5, decoders with units", |p| &p.r, false),
        ("T₀ = vv/D, decoders with decoders", |p| &p.t0, true),
        ("T₁ = vΩv/D², the same along the data", |p| &p.t1, true),
    ];
    each.into_iter()
        .map(|(title, of, symmetric)| {
            let entries = entries(k, symmetric);
            let at: Vec<_> = entries.iter().map(|&(a, b)| move |p: &Point| of(p)[a * k + b]).collect();
            let names = entries.iter().map(|(a, b)| format!("{}, {}", a + 1, b + 1));
            let quantities: Vec<(String, Of)> = names.zip(at.iter().map(|f| f as Of)).collect();
            with(over_time(title, "entry", false), theory, simulation, &quantities)
        })
        .collect()
}

/// Entries of a K × K matrix that are drawn: the diagonal, then what is beside it.
fn entries(k: usize, symmetric: bool) -> Vec<(usize, usize)> {
    let mut out: Vec<(usize, usize)> = (0..k.min(SHOWN)).map(|a| (a, a)).collect();
    for apart in 1..k.min(SHOWN) {
        for a in 0..k.min(SHOWN) - apart {
            out.push((a, a + apart));
            if !symmetric {
                out.push((a + apart, a));
            }
        }
    }
    out.truncate(LINES);
    out
}

/// Whether the laws of rescaling hold: of sigmoid units, encoders apart from decoders, by descent alone. What encoders have along a bulk of infinitely many
/// dimensions never shrinks, and decoders stop growing where it would be heard.
pub(crate) fn rescales(how: &Dynamics, of: &Population) -> bool {
    let free = how.activation == Activation::Erf && !how.tied && how.rule != Rule::Sanger && how.weight_decay == 0.0;
    free && (of.cols().is_some() || of.bulk() == 0.0)
}

/// Whether a run has got into rescaling, so that its laws can be seen.
fn rescaling(how: &Dynamics, of: &Population, path: &Path) -> bool {
    let since = path.phases(of, how.k).rescaling;
    rescales(how, of) && path.points.last().is_some_and(|p| since.is_some_and(|s| p.s > 3.0 * s.max(1.0)))
}

/// |w|²/D, |v|²/D and Q of every unit over time, all logarithmic, with the laws of rescaling where they hold.
pub(crate) fn norms(how: &Dynamics, of: &Population, theory: Option<&Path>, simulation: Option<&Path>) -> Vec<Plot> {
    let k = how.k;
    let units = |title: &str, y: &str, of: fn(&Point, usize, usize) -> f64| {
        let at: Vec<_> = (0..k.min(LINES)).map(|a| move |p: &Point| of(p, a, k)).collect();
        let quantities: Vec<(String, Of)> = at.iter().enumerate().map(|(a, f)| (format!("unit {}", a + 1), f as Of)).collect();
        with(over_time(title, y, true), theory, simulation, &quantities)
    };
    let mut decoders = units("Decoders", "|v|² / D", |p, a, k| p.t0[a * k + a]);
    let mut variances = units("Variance of the units", "Q of a unit with itself", |p, a, k| p.q[a * k + a]);
    let end = theory.or(simulation).filter(|path| rescaling(how, of, path)).and_then(|path| path.points.last());
    if let Some(end) = end {
        let highest = (0..k).map(|a| end.t0[a * k + a]).fold(0.0, f64::max);
        decoders.guides.push(power("slope 1/3", end.s, 1.5 * highest, 1.0 / 3.0));
        let (name, points) = power("(π/4ηs)^⅓", end.s, (std::f64::consts::PI / (4.0 * how.eta * end.s)).cbrt(), -1.0 / 3.0);
        variances.guides.push((name, points));
    }
    let mut encoders = units("Encoders", "|w|² / D", |p, a, _| p.encoders.get(a).copied().unwrap_or(f64::NAN));
    encoders.lines.retain(|_| theory.is_some_and(follows));
    vec![encoders, decoders, variances].into_iter().filter(|p| !p.lines.is_empty() || !p.dots.is_empty()).collect()
}

/// The last one and a half decades of a power of time that ends at `value`.
fn power(name: &str, end: f64, value: f64, exponent: f64) -> (String, Vec<(f64, f64)>) {
    let from = (end / 30.0).max(end.min(0.5));
    (name.into(), vec![(from, value * (from / end).powf(exponent)), (end, value)])
}

/// What the error is above that of PCA, with the law of rescaling where it holds; nothing where PCA leaves no error.
pub(super) fn excess_plot(how: &Dynamics, theory: Option<&Path>, simulation: Option<&Path>, scene: &Scene) -> Option<Plot> {
    let line = |path: Option<&Path>, of: &Population, name: &str| {
        let least = of.pca(how.k);
        path.map(|path| (name.to_string(), series(path, &|p| p.error - least)))
    };
    let mut plot = over_time(&format!("What it is above PCA({})", how.k), "error less that of PCA", true);
    plot.lines.extend(line(theory, &scene.population, "theory"));
    plot.dots.extend(line(simulation, scene.measured(), "simulation"));
    let (s, above) = plot.lines.iter().chain(&plot.dots).find_map(|(_, points)| points.last().copied())?;
    if above > 0.0 && theory.or(simulation).is_some_and(|path| rescaling(how, &scene.population, path)) {
        plot.guides.push(power("slope −2/3", s, 0.6 * above, -2.0 / 3.0));
    }
    Some(plot)
}

/// |cos| of encoders or decoders with principal components over time: a row for each unit and component.
pub(crate) fn overlap_heat(title: &str, path: &Path, k: usize, of: fn(&Point) -> &Vec<f64>) -> Heat {
    let followed = path.points.first().map_or(0, |p| p.span.len());
    let shown = followed.min(k + 1).min(SHOWN);
    let row = |unit: usize, m: usize| {
        let values = path.points.iter().map(|p| of(p)[unit * followed + m]).collect();
        (format!("unit {}, PC{}", unit + 1, m + 1), values)
    };
    Heat {
        title: title.into(),
        x: "s = samples / D".into(),
        times: path.points.iter().map(|p| p.s).collect(),
        rows: (0..k.min(SHOWN)).flat_map(|unit| (0..shown).map(move |m| (unit, m))).map(|(unit, m)| row(unit, m)).collect(),
    }
}

/// Eigenvalues of Ω over D, those that K units can hold apart from the rest.
pub(crate) fn spectrum(of: &Population, k: usize) -> Plot {
    let ranked: Vec<(f64, f64)> = of.shares().iter().enumerate().map(|(i, share)| ((i + 1) as f64, *share)).collect();
    let (held, rest) = ranked.split_at(k.min(ranked.len()));
    let spikes = of.shares().len() as f64;
    let rest_of_bulk = of.dim() - spikes;
    let mut plot = Plot {
        title: "Eigenvalues of Ω".into(),
        x: "principal component".into(),
        y: "λ / D".into(),
        log: (true, true),
        dots: vec![(format!("the first {k}, which {k} units can hold"), held.to_vec()), ("the rest".into(), rest.to_vec())],
        ..Plot::default()
    };
    plot.dots.retain(|d| !d.1.is_empty());
    if of.bulk() > 0.0 && rest_of_bulk.is_finite() {
        let share = of.bulk() / rest_of_bulk;
        plot.lines.push(("bulk".into(), vec![(spikes + 1.0, share), (of.dim(), share)]));
    }
    plot
}

/// Units of an autoencoder in words, with the article.
pub(super) fn unit(how: &Dynamics) -> String {
    let tied = if how.tied { "tied " } else { "" };
    match how.activation {
        Activation::Erf if how.tied => "a tied sigmoid".into(),
        Activation::Erf => "a sigmoid".into(),
        Activation::Relu => format!("a {tied}ReLU"),
        Activation::Linear => format!("a {tied}linear"),
    }
}

/// The parameters in one line.
pub(super) fn line(how: &Dynamics) -> String {
    let mut parts = vec![format!("K = {}", how.k), format!("η = {}", how.eta), format!("until s = {}", number(how.until))];
    parts.push(match how.rule {
        Rule::Vanilla => "gradient descent".into(),
        Rule::Truncated => "truncated rule: unit k sees what units 1 to k leave".into(),
        Rule::Sanger => "Sanger's rule".into(),
    });
    parts.extend(how.bias.then(|| "biases learned".into()));
    parts.push(match how.begin {
        Begin::Random => format!("first weights normal, of standard deviation {}", how.scale),
        Begin::Informed => "first weights at the principal components".into(),
    });
    if how.weight_decay > 0.0 {
        parts.push(format!("weight decay {}", how.weight_decay));
    }
    parts.push(format!("seed {}", how.seed));
    parts.join(" · ")
}

/// What the errors are of.
pub(super) fn error_note(how: &Dynamics, scene: &Scene, runs: &[Run]) -> String {
    let mut note = vec!["The error is ½ E|x − x̂|² / D, half the mean squared error of a number.".to_string()];
    if runs.len() > 1 {
        let both = "Theory, the line, integrates the equations that hold as D grows; the simulation, the dots, sees one sample a step; both begin at the same weights.";
        note.push(both.into());
    }
    note.push(format!(
        "Dashed, the errors of 0 to {} principal components, which are the best that as many linear units reach.",
        how.k
    ));
    if scene.held_out() && runs.iter().any(|r| r.name == "simulation") {
        let rows = "Errors of the simulation, and those of PCA, are of the rows held out; theory is of Gaussian data with the second moments of the rows that were learned from. The components of rows held out are their own, which no one \
learned from, so that nothing comes as near to their errors.";
        note.push(rows.into());
    }
    note.join(" ")
}

pub(super) fn overlaps(how: &Dynamics, shown: &Run, of: &Population) -> Section {
    let mut note = vec![format!(
        "|cos| of every unit with every principal component, in the {}: white is 0, black is 1. Descent finds the space of the components, turned within; the truncated rule finds \
the components themselves.",
        shown.name
    )];
    if of.cols().is_none() {
        let still = "In infinitely many dimensions encoders keep their first length, almost all of it across the components, so that their |cos| stays 0.";
        note.push(still.into());
    }
    if how.k > SHOWN {
        note.push(format!("The first {SHOWN} of {} units are shown.", how.k));
    }
    let note = note.join(" ");
    let heats = vec![
        overlap_heat("Decoders v", &shown.path, how.k, |p| &p.decoder_overlaps),
        overlap_heat("Encoders w", &shown.path, how.k, |p| &p.encoder_overlaps),
    ];
    Section { title: "Overlaps with the principal components".into(), note, blocks: vec![Block::Heats(heats)] }
}

pub(super) fn order_section(how: &Dynamics, theory: Option<&Path>, simulation: Option<&Path>) -> Section {
    let mut note = String::from(
        "All that the error depends on, where Ω is the second moments of the data. Each line is an entry, of the units whose numbers it has; numbers have no unit.",
    );
    if theory.is_some() && simulation.is_some() {
        note += " Lines are theory, dots of the same colour the simulation.";
    }
    if entries(how.k, true).len() < how.k * (how.k + 1) / 2 {
        note += " Not all entries are drawn; --curves writes them.";
    }
    Section { title: "Order parameters".into(), note, blocks: vec![Block::Plots(orders(how.k, theory, simulation))] }
}

pub(super) fn norm_section(how: &Dynamics, of: &Population, theory: Option<&Path>, simulation: Option<&Path>) -> Section {
    let note = if rescales(how, of) {
        "A sigmoid unit is linear only for small inputs. So encoders shrink along the data while decoders grow to make up for it: |v|²/D as s^⅓, and Q of every unit as \
(π/4ηs)^⅓, whatever the eigenvalues (dashed)."
    } else if of.cols().is_none() && how.activation == Activation::Erf && !how.tied {
        "A sigmoid unit is linear only for small inputs, so encoders shrink along the data while decoders grow. In infinitely many dimensions encoders never lose what they \
have along the bulk; decoders, which make that heard, stop growing, and the error stops above that of PCA."
    } else {
        "Squared lengths of the weights, and the variances of the units before their activation."
    };
    let blocks = vec![Block::Plots(norms(how, of, theory, simulation))];
    Section { title: "Lengths of the weights".into(), note: note.into(), blocks }
}

/// The learned weights: as images, or by their cosines with the components.
pub(super) fn weight_section(how: &Dynamics, shown: &Run, image: Option<(usize, usize)>, of: &Population) -> Section {
    let title = "What was learned".to_string();
    let weights = of.cols().filter(|d| shown.path.v.len() == how.k * d && shown.path.w.len() == how.k * d);
    if let (Some(d), Some(shape)) = (weights, image) {
        let mat = |of: &[f64]| Mat { rows: of.len() / d, cols: d, data: of.iter().map(|v| *v as f32).collect() };
        let first = how.k.min(of.shares().len()) * d;
        let plate = |title: &str, atoms: Mat, under: &str| Plate {
            title: title.into(),
            atoms,
            image: Some(shape),
            under: cells(&[under]),
        };
        let plates = vec![
            plate("Decoders v", mat(&shown.path.v), "what a unit adds to the output"),
            plate("Encoders w", mat(&shown.path.w), "what a unit looks for"),
            plate("Principal components", mat(&of.axes()[..first]), "of the rows that were learned from"),
        ];
        let note = format!(
            "Weights of the {} in the end, unit by unit: numbers above zero go to black, below zero to red, each by its own largest. Descent finds the components turned within their space.",
            shown.name
        );
        return Section { title, note, blocks: vec![Block::Plates(plates)] };
    }
    let Some(last) = shown.path.points.last() else { return Section { title, ..Section::default() } };
    let followed = last.span.len();
    let shown_components = followed.min(COMPONENTS);
    let mut header = cells(&["weights", "|·|²/D"]);
    header.extend((1..=shown_components).map(|m| format!("PC{m}")));
    let mut rows = Vec::new();
    for (side, overlaps, weights) in
        [("decoder", &last.decoder_overlaps, &shown.path.v), ("encoder", &last.encoder_overlaps, &shown.path.w)]
    {
        for unit in 0..how.k {
            let square = if side == "decoder" { last.t0[unit * how.k + unit] } else { last.encoders[unit] };
            let mut row = vec![format!("{side} {}", unit + 1), show::number(square)];
            row.extend((0..shown_components).map(|m| {
                let size = overlaps[unit * followed + m];
                let minus = of.cols().filter(|d| weights.len() == how.k * d).is_some_and(|d| {
                    let pairs = weights[unit * d..(unit + 1) * d].iter().zip(&of.axes()[m * d..(m + 1) * d]);
                    pairs.map(|(w, a)| w * a).sum::<f64>() < 0.0
                });
                format!("{}{size:.3}", if minus { "−" } else { "" })
            }));
            rows.push(row);
        }
    }
    let sign = if weights.is_some() { "Cosines" } else { "|cos|" };
    let note = format!(
        "{sign} of the weights of the {} with the principal components, and squared lengths over D, in the end.",
        shown.name
    );
    Section { title, note, blocks: vec![Block::Table(Table { header, rows, ..Table::default() })] }
}

pub(super) fn spectrum_section(how: &Dynamics, of: &Population) -> Section {
    let k = how.k;
    let note = format!(
        "Variance along every principal component, as its share in the mean variance of a number ({} in all). K = {k} units can hold {}.",
        number(of.variance()),
        if k == 1 { "the first one".into() } else { format!("the first {k}") }
    );
    let note = if of.cols().is_none() && of.bulk() > 0.0 {
        format!("{note} All other directions have {} together, each nothing.", number(of.bulk()))
    } else {
        note
    };
    Section { title: "The data".into(), note, blocks: vec![Block::Plots(vec![spectrum(of, k)])] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_the_diagonal_and_then_its_neighbours() {
        assert_eq!(entries(2, true), [(0, 0), (1, 1), (0, 1)]);
        assert_eq!(entries(2, false), [(0, 0), (1, 1), (0, 1), (1, 0)]);
        assert_eq!(entries(1, false), [(0, 0)]);
        assert_eq!(entries(9, false).len(), LINES);
    }

    #[test]
    fn lines_of_pca_are_few_and_have_both_ends() {
        let of = Population::spectrum(100.0, &[0.4, 0.3, 0.2, 0.05, 0.03, 0.01], 0.01, 0).expect("population");
        let m = |k| pca_lines(&of, k).iter().map(|l| l.0).collect::<Vec<_>>();
        assert_eq!((m(2), m(6)), (vec![0, 1, 2], vec![0, 1, 2, 3, 6]));
        let flat = Population::spectrum(f64::INFINITY, &[1.0], 0.0, 0).expect("population");
        assert_eq!(pca_lines(&flat, 1).len(), 1, "no line at 0");
    }

    #[test]
    fn laws_are_of_free_sigmoid_units() {
        let how = Dynamics::default();
        let of = |d, bulk| Population::spectrum(d, &[0.8], bulk, 0).expect("population");
        let many = of(100.0, 0.2);
        assert!(rescales(&how, &many) && !rescales(&Dynamics { tied: true, ..how.clone() }, &many));
        assert!(rescales(&how, &of(f64::INFINITY, 0.0)) && !rescales(&how, &of(f64::INFINITY, 0.2)));
        assert!(!rescales(&Dynamics { activation: Activation::Relu, ..how }, &many));
    }
}
