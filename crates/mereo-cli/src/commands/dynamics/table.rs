//! The course of learning as tables and sentences, and every number of it as a matrix.

use super::{Run, page};
use crate::failure::Result;
use crate::show;
use crate::subject::cells;
use mereo::Mat;
use mereo::dynamics::{Dynamics, Ended, Path, Phases, Point, Population};
use mereo_report::{Table, number};

/// Times in the table.
const TIMES: usize = 12;
/// Principal components in the table.
const COMPONENTS: usize = 4;

/// How far apart two times are, as a logarithm.
fn apart(p: &Point, s: f64) -> f64 {
    if p.s > 0.0 { (p.s / s).ln().abs() } else { f64::INFINITY }
}

/// The point of a path that is nearest to a time.
fn nearest(path: &Path, s: f64) -> Option<&Point> {
    path.points.iter().min_by(|a, b| apart(a, s).total_cmp(&apart(b, s)))
}

/// The same, if it is near.
fn near(path: &Path, s: f64) -> Option<&Point> {
    nearest(path, s).filter(|p| apart(p, s) < 0.1)
}

/// About a dozen points, evenly on a logarithmic scale, with the last one.
fn picked(path: &Path) -> Vec<&Point> {
    let later: Vec<&Point> = path.points.iter().filter(|p| p.s > 0.0).collect();
    let [first, .., last] = later[..] else { return path.points.iter().collect() };
    let ratio = last.s / first.s;
    let mut out: Vec<&Point> = Vec::new();
    for i in 0..TIMES {
        let s = first.s * ratio.powf(i as f64 / (TIMES - 1) as f64);
        let p = nearest(path, s).unwrap_or(last);
        if out.last().is_none_or(|l| l.s < p.s) {
            out.push(p);
        }
    }
    out
}

/// Errors of all runs along the way, and what the last of them learned.
pub fn course(runs: &[Run], k: usize) -> Table {
    let Some(main) = runs.last() else { return Table::default() };
    let shown = main.path.points.first().map_or(0, |p| p.span.len()).min(k).min(COMPONENTS);
    let mut header = vec!["s".to_string()];
    header.extend(runs.iter().map(|r| format!("error, {}", r.name)));
    header.push(format!("× PCA({k})"));
    header.extend((1..=shown).map(|m| format!("PC{m}")));
    header.extend(cells(&["mean Q", "mean T0"]));
    let least = main.measured.pca(k);
    let mean = |of: &[f64]| (0..k).map(|a| of[a * k + a]).sum::<f64>() / k as f64;
    let rows = picked(&main.path)
        .into_iter()
        .map(|p| {
            let mut row = vec![number(p.s)];
            for r in runs {
                let at = if std::ptr::eq(r, main) { Some(p) } else { near(&r.path, p.s) };
                row.push(at.map_or("–".into(), |p| show::number(p.error)));
            }
            row.push(if page::nothing(least, main.measured) { "–".into() } else { format!("{:.3}", p.error / least) });
            row.extend(p.span.iter().take(shown).map(|o| format!("{o:.3}")));
            row.extend([mean(&p.q), mean(&p.t0)].map(show::number));
            row
        })
        .collect();
    Table { header, rows, ..Table::default() }
}

/// How to read the table of the course.
pub fn note(runs: &[Run]) -> String {
    let of = runs.last().map_or("run", |r| r.name);
    format!(
        "s: samples seen, over D. All but the errors is of the {of}. × PCA: the error over that of as many principal components. PC1, PC2, …: length of a \
principal component within the span of the decoders, 1 when it is learned. Q: variance of a unit before its activation, which falls as encoders shrink. T0: |v|²/D, which grows with the decoders."
    )
}

/// How to read the table of phases.
pub const PHASES: &str = "\
First units turn to the principal components, one after the other (alignment); then sigmoid units go on growing decoders and shrinking encoders, to stay in the \
linear part of the activation (rescaling). Times are in s; exponents are slopes of logarithms, over the last half of the decades of rescaling.";

/// When what happened in every run, and what is expected.
pub fn phases(runs: &[Run], how: &Dynamics, of: &Population) -> Table {
    let found: Vec<Phases> = runs.iter().map(|r| r.path.phases(r.measured, how.k)).collect();
    let mut header = cells(&["phase"]);
    header.extend(runs.iter().map(|r| r.name.to_string()));
    header.push("expected".into());
    let reach = found.iter().map(|p| p.aligned.len()).min().unwrap_or(0);
    let time = |s: Option<f64>| s.map_or("never".into(), number);
    let slope = |v: Option<f64>| v.map_or("–".into(), |v| format!("{}{:.3}", if v < 0.0 { "−" } else { "" }, v.abs()));
    let mut rows = Vec::new();
    // What a run doesn't follow is not told to be never.
    let followed: Vec<bool> = runs.iter().map(|r| page::follows(&r.path)).collect();
    let mut add = |what: String, of: &dyn Fn(&Phases) -> String, overlaps: bool, expected: &str| {
        let mut row = vec![what];
        row.extend(found.iter().zip(&followed).map(|(p, follows)| if *follows || !overlaps { of(p) } else { "–".into() }));
        row.push(expected.into());
        rows.push(row);
    };
    for m in 0..reach {
        add(
            format!("PC{} within the decoders to 95 %", m + 1),
            &|p| time(p.aligned[m]),
            true,
            if m > 0 { "later than the one before" } else { "" },
        );
    }
    for m in 0..reach {
        add(format!("error below the middle of PCA({m}) and PCA({})", m + 1), &|p| time(p.crossed[m]), false, "");
    }
    let law = page::rescales(how, of);
    add("all aligned, rescaling from here".into(), &|p| time(p.rescaling), true, "");
    add("exponent of |v|²/D over s".into(), &|p| slope(p.growth), true, if law { "1/3" } else { "" });
    add("exponent of the error above PCA".into(), &|p| slope(p.decay), true, if law { "−2/3" } else { "" });
    Table { header, rows, words: vec![runs.len() + 1], ..Table::default() }
}

/// How far from PCA a run came, and what it learned when.
pub fn verdict(run: &Run, k: usize) -> Option<String> {
    let last = run.path.points.last()?;
    let least = run.measured.pca(k);
    let after = format!("after s = {}", number(last.s));
    let found = if page::nothing(least, run.measured) {
        format!("the error is {}, where PCA({k}) leaves none", show::number(last.error))
    } else {
        let over = last.error / least - 1.0;
        let than = match over {
            1.0.. => format!("{} times that of", number(last.error / least)),
            0.0.. => format!("{} % above", number(100.0 * over)),
            _ => format!("{} % below", number(-100.0 * over)),
        };
        format!("the error is {}, {than} PCA({k})", show::number(last.error))
    };
    let place = if run.name == "theory" { "In theory" } else { "In the simulation" };
    let mut said = vec![format!("{place}, {after} {found}")];
    let phases = run.path.phases(run.measured, k);
    let learned: Vec<String> =
        phases.aligned.iter().enumerate().filter_map(|(m, s)| s.map(|s| format!("PC{} from s = {}", m + 1, number(s)))).collect();
    let missing = phases.aligned.len() - learned.len();
    if !learned.is_empty() {
        said.push(format!("decoders hold {}", learned.join(", ")));
    }
    if missing > 0 && run.path.ended == Ended::Whole && page::follows(&run.path) {
        let are = if missing == 1 { "is" } else { "are" };
        said.push(format!("{missing} of the first {} components {are} not learned", phases.aligned.len()));
    }
    Some(said.join("; ") + ".")
}

/// How near the simulation is to theory.
pub fn gap(theory: &Path, simulation: &Path) -> Option<String> {
    let gaps: Vec<(f64, f64)> = simulation
        .points
        .iter()
        .filter(|p| p.s > 0.0)
        .filter_map(|p| Some((p.s, (p.error - near(theory, p.s).filter(|t| (t.s / p.s - 1.0).abs() < 0.01)?.error).abs())))
        .collect();
    let worst = gaps.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let mean = gaps.iter().map(|g| g.1).sum::<f64>() / gaps.len() as f64;
    Some(format!(
        "Their errors differ by {} on average over the points in time, at most by {} at s = {}.",
        number(mean),
        number(worst.1),
        number(worst.0)
    ))
}

/// Every number of every point: names of columns, and a row a point, the runs one after the other. What a run doesn't follow and another one does is NaN.
pub fn curves(runs: &[Run], k: usize) -> Result<(Vec<String>, Mat)> {
    let firsts = || runs.iter().filter_map(|r| r.path.points.first());
    let widths: Vec<usize> = (0..PARTS).map(|i| firsts().map(|p| parts(p)[i].len()).max().unwrap_or(0)).collect();
    let followed = firsts().map(|p| p.span.len()).max().unwrap_or(0);
    let mut names = cells(&["simulation", "s", "error"]);
    let apart = if k > 9 { "_" } else { "" };
    let each: [&dyn Fn(usize) -> String; PARTS] = [
        &|i| format!("q_{}{apart}{}", i / k + 1, i % k + 1),
        &|i| format!("r_{}{apart}{}", i / k + 1, i % k + 1),
        &|i| format!("t0_{}{apart}{}", i / k + 1, i % k + 1),
        &|i| format!("t1_{}{apart}{}", i / k + 1, i % k + 1),
        &|i| format!("encoder_{}", i + 1),
        &|i| format!("encoder_{}_pc_{}", i / followed + 1, i % followed + 1),
        &|i| format!("decoder_{}_pc_{}", i / followed + 1, i % followed + 1),
        &|i| format!("span_pc_{}", i + 1),
        &|i| format!("bias_{}", i + 1),
    ];
    names.extend(each.iter().zip(&widths).flat_map(|(name, width)| (0..*width).map(name)));
    let mut data = Vec::new();
    for run in runs {
        for p in &run.path.points {
            data.extend([f32::from(u8::from(run.name == "simulation")), p.s as f32, p.error as f32]);
            for (part, width) in parts(p).into_iter().zip(&widths) {
                data.extend((0..*width).map(|i| part.get(i).map_or(f32::NAN, |v| *v as f32)));
            }
        }
    }
    Ok((names.clone(), Mat::new(data.len() / names.len(), names.len(), data)?))
}

/// Lists of numbers of a point.
const PARTS: usize = 9;

fn parts(p: &Point) -> [&Vec<f64>; PARTS] {
    [&p.q, &p.r, &p.t0, &p.t1, &p.encoders, &p.encoder_overlaps, &p.decoder_overlaps, &p.span, &p.biases]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(times: &[f64]) -> Path {
        let points = times.iter().map(|&s| Point { s, error: 1.0 / (1.0 + s), ..Point::default() }).collect();
        Path { points, ended: Ended::Whole, w: vec![], v: vec![], seconds: 0.0, steps: 0 }
    }

    #[test]
    fn a_dozen_times_with_the_last_one() {
        let times: Vec<f64> = std::iter::once(0.0).chain((0..100).map(|i| 0.01 * 10f64.powf(f64::from(i) / 20.0))).collect();
        let of = path(&times);
        let seen: Vec<f64> = picked(&of).iter().map(|p| p.s).collect();
        assert_eq!(seen.len(), TIMES);
        assert_eq!((seen[0], seen[TIMES - 1]), (times[1], times[100]));
        assert!(seen.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(picked(&path(&[0.0, 1.0])).len(), 2, "few points are all shown");
        assert!(near(&of, 1e6).is_none());
        let sparse: Vec<f64> = (0..14).map(|i| 2f64.powi(i)).collect();
        assert!(picked(&path(&sparse)).len() > 10, "also where none is near");
    }

    #[test]
    fn the_gap_is_between_points_of_the_same_time() {
        let mut other = path(&[0.0, 1.0, 10.0]);
        other.points[2].error += 0.5;
        other.points.push(Point { s: 20.0, error: 9.0, ..Point::default() });
        let said = gap(&path(&[0.0, 1.0, 10.0]), &other).expect("a gap");
        assert!(said.contains("by 0.25 on average") && said.contains("at most by 0.5 at s = 10."), "{said}");
    }
}
