//! Charts as inline SVG: lines and bars, with axes that choose their own ticks. Colours come from the page (`s0`, `s1`, … and
//! `currentColor`), so one drawing serves light and dark; text stays text.

use crate::ticks::{Scale, Ticks, Unit};
use maud::{Markup, PreEscaped, html};
use std::fmt::Write;

/// Width of every drawing, in its own units.
pub(crate) const WIDTH: f64 = 410.0;
/// Height of every drawing.
const HEIGHT: f64 = 256.0;
/// Above the plot: the label of the vertical axis.
const TOP: f64 = 30.0;
/// Below the plot: tick labels and the label of the horizontal axis.
const BOTTOM: f64 = 46.0;
/// A character of a label, on average; labels are set in 13 units.
pub(crate) const CHARACTER: f64 = 7.2;
/// Least distance between the names of two lines.
const LEADING: f64 = 16.0;
/// Colours that the page has; more lines than that begin anew, with other markers.
pub const COLOURS: usize = 7;

/// One axis.
#[derive(Clone, Copy)]
pub struct Axis<'a> {
    /// What it shows, with its unit.
    pub label: &'a str,
    /// How numbers are laid out.
    pub scale: Scale,
    /// How numbers are written.
    pub unit: Unit,
}

/// One line of a chart.
pub struct Line<'a> {
    /// Its name, drawn at its end.
    pub name: &'a str,
    /// Number of its colour and marker.
    pub style: usize,
    /// Where it goes, from left to right. Points without a place on the axes are left out.
    pub points: Vec<(f64, f64)>,
}

/// Lines over two axes.
pub struct Chart<'a> {
    /// What it shows, for those who hear it.
    pub title: &'a str,
    /// The horizontal axis.
    pub x: Axis<'a>,
    /// The vertical axis.
    pub y: Axis<'a>,
    /// The lines.
    pub lines: Vec<Line<'a>>,
    /// Write the name of each line at its end.
    pub named: bool,
    /// Numbers that the horizontal axis must show besides those of the lines.
    pub also: Vec<f64>,
    /// Where the horizontal axis has its ticks, if not at round numbers.
    pub ticks: Option<Vec<f64>>,
    /// Lines without name or colour behind the others, to compare with.
    pub behind: Vec<Vec<(f64, f64)>>,
    /// Points with no line between them; those of a line's name are of its colour, and are not named again.
    pub dots: Vec<Line<'a>>,
    /// Dashed lines with names, to compare with; one without a name goes with points that have theirs.
    pub guides: Vec<(&'a str, Vec<(f64, f64)>)>,
    /// Heights that are dashed across the whole chart, with names.
    pub levels: Vec<(&'a str, f64)>,
}

/// A name at the end of what it names.
struct Label<'a> {
    name: &'a str,
    /// Number of its colour; muted without.
    style: Option<usize>,
    end: (f64, f64),
}

/// Where numbers land in the drawing.
struct Frame {
    left: f64,
    right: f64,
    x: (Ticks, Scale),
    y: (Ticks, Scale),
}

impl Frame {
    /// Room for the tick labels on the left and for `names` on the right.
    fn new(x: (Ticks, Scale), y: (Ticks, Scale), unit: Unit, names: usize) -> Self {
        let longest = y.0.at.iter().map(|&v| unit.write(v).chars().count()).max().unwrap_or(1);
        let right = if names > 0 { 14.0 + names as f64 * CHARACTER } else { 18.0 };
        Self { left: 12.0 + longest as f64 * CHARACTER, right: WIDTH - right, x, y }
    }
    fn x(&self, v: f64) -> Option<f64> {
        Some(self.left + self.x.0.place(v, self.x.1)? * (self.right - self.left))
    }
    fn y(&self, v: f64) -> Option<f64> {
        Some(HEIGHT - BOTTOM - self.y.0.place(v, self.y.1)? * (HEIGHT - BOTTOM - TOP))
    }

    /// Grid, ticks and labels.
    fn axes(&self, x: Axis, y: Axis) -> Markup {
        let floor = HEIGHT - BOTTOM;
        let mut taken = f64::NEG_INFINITY;
        let below: Vec<_> = self
            .x
            .0
            .at
            .iter()
            .filter_map(|&v| Some((self.x(v)?, x.unit.write(v))))
            .map(|(at, text)| {
                let half = text.chars().count() as f64 * CHARACTER / 2.0;
                let middle = at.min(WIDTH - half - 1.0);
                let free = middle - half > taken + 11.0;
                if free {
                    taken = middle + half;
                }
                (at, middle, free.then_some(text))
            })
            .collect();
        html! {
            text.unit x="2" y="15" { (y.label) }
            @for &v in &self.y.0.at { @if let Some(at) = self.y(v) {
                path.grid d={ "M" (px(self.left)) " " (px(at)) "H" (px(self.right)) } {}
                text.tick x=(px(self.left - 7.0)) y=(px(at + 4.0)) text-anchor="end" { (y.unit.write(v)) }
            } }
            @for (at, middle, text) in below {
                path.axis d={ "M" (px(at)) " " (px(floor)) "v4" } {}
                @if let Some(text) = text { text.tick x=(px(middle)) y=(px(floor + 18.0)) text-anchor="middle" { (text) } }
            }
            path.axis d={ "M" (px(self.left)) " " (px(floor)) "H" (px(self.right)) } {}
            text.unit x=(px(self.right)) y=(px(HEIGHT - 8.0)) text-anchor="end" { (x.label) }
        }
    }
}

/// A chart of lines; a sentence if no point has a place.
pub fn lines(chart: &Chart) -> Markup {
    let places = |(x, y): &(f64, f64)| {
        let fits = |v: f64, s: Scale| v.is_finite() && (s == Scale::Linear || v > 0.0);
        fits(*x, chart.x.scale) && fits(*y, chart.y.scale)
    };
    let series = || chart.lines.iter().chain(&chart.dots).map(|l| &l.points).chain(chart.guides.iter().map(|g| &g.1));
    let seen = || series().chain(&chart.behind).flatten().filter(|p| places(p));
    if seen().next().is_none() {
        return html! { p.none { "Nothing to draw: no number here is finite and on the scale." } };
    }
    let across = || seen().map(|p| p.0).chain(chart.also.iter().copied());
    let x = Ticks::of(across(), chart.x.scale);
    let mut x = if chart.x.scale == Scale::Linear { x.tight(across()) } else { x };
    if let Some(ticks) = &chart.ticks {
        x.at = ticks.iter().copied().filter(|&v| v >= x.low && v <= x.high).collect();
    }
    let y = Ticks::of(seen().map(|p| p.1).chain(chart.levels.iter().map(|l| l.1)), chart.y.scale);
    let own = |l: &&Line| chart.lines.iter().all(|line| line.name != l.name);
    let named = || chart.lines.iter().chain(chart.dots.iter().filter(own)).filter(|_| chart.named);
    let beside = chart.guides.iter().map(|g| g.0).chain(chart.levels.iter().map(|l| l.0));
    let names = named().map(|l| l.name).chain(beside).map(|name| name.chars().count()).max().unwrap_or(0);
    let frame = Frame::new((x, chart.x.scale), (y, chart.y.scale), chart.y.unit, names);
    let on_paper = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        points.iter().filter(|p| places(p)).filter_map(|p| Some((frame.x(p.0)?, frame.y(p.1)?))).collect()
    };
    let drawn: Vec<(&Line, Vec<(f64, f64)>)> = chart.lines.iter().map(|l| (l, on_paper(&l.points))).collect();
    let levels = chart.levels.iter().filter_map(|(name, v)| {
        let y = frame.y(*v)?;
        Some((*name, vec![(frame.left, y), (frame.right, y)]))
    });
    let guides: Vec<(&str, Vec<(f64, f64)>)> =
        chart.guides.iter().map(|(name, points)| (*name, on_paper(points))).chain(levels).collect();
    let labels = named()
        .map(|l| (l.name, Some(l.style), on_paper(&l.points)))
        .chain(guides.iter().map(|(name, points)| (*name, None, points.clone())))
        .filter(|(name, ..)| !name.is_empty())
        .filter_map(|(name, style, points)| Some(Label { name, style, end: *points.last()? }))
        .collect();
    html! {
        svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(chart.title) {
            (frame.axes(chart.x, chart.y))
            @for points in &chart.behind {
                @let points = on_paper(points);
                path.ghost d=(path(&points)) {}
                @if let [(x, y)] = points[..] { circle.ghost cx=(px(x)) cy=(px(y)) r="2" {} }
            }
            @for (_, points) in &guides { path.guide d=(path(points)) {} }
            @for (line, points) in &drawn {
                g class={ "s" (line.style % COLOURS) } {
                    path.line d=(path(points)) {}
                    @if points.len() <= 16 { @for p in points { (marker(line.style, *p, 3.6)) } }
                    @else if let Some(p) = points.last() { (marker(line.style, *p, 3.6)) }
                }
            }
            @for dots in &chart.dots {
                g class={ "s" (dots.style % COLOURS) } { @for p in thinned(&on_paper(&dots.points)) { (marker(dots.style, p, 2.6)) } }
            }
            (ends(labels))
        }
    }
}

/// Points that are apart enough to be told from each other.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut out: Vec<(f64, f64)> = Vec::new();
    for &(x, y) in points {
        if out.last().is_none_or(|(a, b)| (a - x).hypot(b - y) >= 4.0) {
            out.push((x, y));
        }
    }
    out
}

/// Names beside the ends of what they name, moved apart where they would overlap.
fn ends(mut labels: Vec<Label>) -> Markup {
    labels.sort_by(|a, b| a.end.1.total_cmp(&b.end.1));
    let ys: Vec<f64> = labels.iter().map(|l| l.end.1).collect();
    let right = labels.iter().map(|l| l.end.0).fold(0.0, f64::max);
    html! {
        @for (Label { name, style, end: (x, y) }, to) in labels.into_iter().zip(apart(&ys, TOP, HEIGHT - BOTTOM)) {
            g class=(style.map_or("plain".into(), |s| format!("s{}", s % COLOURS))) {
                @if (to - y).abs() > 3.0 || right - x > 2.0 { path.leader d={ "M" (px(x + 5.0)) " " (px(y)) "L" (px(right + 9.0)) " " (px(to)) } {} }
                text.name x=(px(right + 11.0)) y=(px(to + 4.5)) { (name) }
            }
        }
    }
}

/// Rising heights, moved as little as it takes to be [`LEADING`] apart and within the ends where there is room.
fn apart(ys: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    let mut out = ys.to_vec();
    for i in 1..out.len() {
        out[i] = out[i].max(out[i - 1] + LEADING);
    }
    // What fell off the bottom pushes the rest up.
    let mut limit = bottom;
    for y in out.iter_mut().rev() {
        *y = y.min(limit).max(top - LEADING);
        limit = *y - LEADING;
    }
    out
}

/// Bars of equal width over a linear axis. `bars` are heights on the vertical axis; zeros have no bar.
pub fn bars(title: &str, x: Axis, y: Axis, (low, high): (f64, f64), bars: &[f64], style: usize) -> Markup {
    if bars.iter().all(|v| !v.is_finite() || *v <= 0.0) {
        return html! { p.none { "Nothing to draw: there are no numbers." } };
    }
    let smallest = bars.iter().filter(|v| **v > 0.0).fold(f64::INFINITY, |m, v| m.min(*v));
    let (low, high) = if high > low { (low, high) } else { (low - 0.5, high + 0.5) };
    let span = Ticks::of([low, high].into_iter(), Scale::Linear).tight([low, high].into_iter());
    let tall = match y.scale {
        Scale::Log => Ticks::of([smallest / 2.0, 1.0].into_iter(), Scale::Log),
        Scale::Linear => Ticks::of([0.0].into_iter().chain(bars.iter().copied()), Scale::Linear),
    };
    let bottom = tall.low;
    let frame = Frame::new((span, Scale::Linear), (tall, y.scale), y.unit, 0);
    let edge = |i: usize| low + (high - low) * i as f64 / bars.len() as f64;
    html! {
        svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(title) {
            (frame.axes(x, y))
            g class={ "s" (style % COLOURS) } {
                @for (i, &v) in bars.iter().enumerate().filter(|(_, v)| v.is_finite() && **v > 0.0) {
                    @if let (Some(a), Some(b), Some(top), Some(floor)) = (frame.x(edge(i)), frame.x(edge(i + 1)), frame.y(v), frame.y(bottom)) {
                        rect.bar x=(px(a + 0.5)) y=(px(top)) width=(px((b - a - 1.0).max(1.0))) height=(px((floor - top).max(0.5))) {
                            title { (x.unit.write(edge(i))) " to " (x.unit.write(edge(i + 1))) ": " (y.unit.write(v)) }
                        }
                    }
                }
            }
        }
    }
}

/// A marker alone, for a legend.
pub fn key(style: usize) -> Markup {
    html! {
        svg.key viewBox="0 0 14 14" aria-hidden="true" { g class={ "s" (style % COLOURS) } { (marker(style, (7.0, 7.0), 5.0)) } }
    }
}

/// A small shape, another one for each style: colour is never the only sign.
fn marker(style: usize, (x, y): (f64, f64), r: f64) -> Markup {
    let outline = |steps: &[(f64, f64)]| {
        let mut d = String::new();
        for (i, (dx, dy)) in steps.iter().enumerate() {
            // Writing to a string can't fail.
            let _ = write!(d, "{}{} {}", if i == 0 { "M" } else { "L" }, px(x + dx * r), px(y + dy * r));
        }
        d + "Z"
    };
    match style % 4 {
        0 => html! { circle.mark cx=(px(x)) cy=(px(y)) r=(px(r)) {} },
        1 => html! { path.mark d=(outline(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)])) {} },
        2 => html! { path.mark d=(outline(&[(0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)])) {} },
        _ => html! { path.mark d=(outline(&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)])) {} },
    }
}

/// A polyline; points closer than half a unit to the last one are left out.
fn path(points: &[(f64, f64)]) -> PreEscaped<String> {
    let mut d = String::new();
    let mut last: Option<(f64, f64)> = None;
    for (i, &(x, y)) in points.iter().enumerate() {
        let near = last.is_some_and(|(a, b): (f64, f64)| (a - x).abs() + (b - y).abs() < 0.5);
        if near && i + 1 < points.len() {
            continue;
        }
        let _ = write!(d, "{}{} {}", if last.is_none() { "M" } else { "L" }, px(x), px(y));
        last = Some((x, y));
    }
    PreEscaped(d)
}

/// A coordinate to a tenth of a unit.
pub(crate) fn px(v: f64) -> String {
    let text = format!("{v:.1}");
    text.strip_suffix(".0").map(str::to_string).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>, scale: Scale) -> String {
        let axis = |label| Axis { label, scale, unit: Unit::Plain };
        let lines_ = vec![Line { name: "a <b>", style: 0, points }];
        lines(&Chart {
            title: "t",
            x: axis("x"),
            y: axis("y"),
            lines: lines_,
            named: true,
            also: vec![],
            ticks: None,
            behind: vec![],
            dots: vec![],
            guides: vec![],
            levels: vec![],
        })
        .into_string()
    }

    #[test]
    fn points_land_between_the_axes_in_order() {
        let drawn = chart(vec![(0.0, 0.0), (1.0, 1.0)], Scale::Linear);
        let d = drawn.split("class=\"line\" d=\"").nth(1).and_then(|s| s.split('"').next()).expect("a path");
        let [a, b] = d[1..].split('L').collect::<Vec<_>>()[..] else { panic!("{d}") };
        let at = |p: &str| p.split(' ').map(|v| v.parse::<f64>().expect("number")).collect::<Vec<_>>();
        let (a, b) = (at(a), at(b));
        assert!(a[0] < b[0] && a[1] > b[1], "right is larger, up is larger: {d}");
        assert_eq!((a[1], b[1]), (HEIGHT - BOTTOM, TOP), "0 and 1 are the ends of the axis");
        assert!(b[0] < WIDTH - "a <b>".len() as f64 * CHARACTER, "the name has room");
        assert!(drawn.contains("a &lt;b&gt;") && !drawn.contains("<b>"));
    }

    #[test]
    fn dots_levels_and_guides_have_places_colours_and_names() {
        let axis = |label| Axis { label, scale: Scale::Log, unit: Unit::Plain };
        let line = |name, style, points| Line { name, style, points };
        let drawn = lines(&Chart {
            title: "t",
            x: axis("x"),
            y: axis("y"),
            lines: vec![line("theory", 0, vec![(1.0, 1.0), (100.0, 0.1)])],
            named: true,
            also: vec![],
            ticks: None,
            behind: vec![],
            dots: vec![
                line("theory", 0, vec![(1.0, 1.0), (1.01, 1.0), (100.0, 0.1)]),
                line("other", 3, vec![(2.0, 0.5), (0.0, 1.0)]),
            ],
            guides: vec![("slope", vec![(10.0, 0.3), (100.0, 0.2)])],
            levels: vec![("PCA(1)", 0.01), ("PCA(2)", 0.0101), ("PCA(3)", 0.0)],
        })
        .into_string();
        assert_eq!(drawn.matches("class=\"guide\"").count(), 3, "0 has no place: {drawn}");
        let names: Vec<&str> = drawn.split("text class=\"name\"").skip(1).collect();
        let of = |name: &str| names.iter().filter(|t| t.contains(&format!(">{name}<"))).count();
        assert_eq!(["theory", "other", "slope", "PCA(1)", "PCA(2)"].map(of), [1; 5], "{drawn}");
        let height = |t: &&str| t.split("y=\"").nth(1).and_then(|v| v.split('"').next()).and_then(|v| v.parse::<f64>().ok());
        let mut at: Vec<f64> = names.iter().filter_map(height).collect();
        at.sort_by(f64::total_cmp);
        assert!(at.windows(2).all(|w| w[1] - w[0] >= LEADING - 0.11), "names are apart: {at:?}");
        // Dots that would cover each other are one: two of the line's name, one other, beside the two marks of the line itself.
        assert_eq!((drawn.matches("<circle").count(), drawn.matches("class=\"s3\"").count()), (4, 2), "{drawn}");
    }

    #[test]
    fn degenerate_charts_draw_or_say_so() {
        for scale in [Scale::Linear, Scale::Log] {
            for points in
                [vec![], vec![(f64::NAN, 1.0)], vec![(1.0, 1.0)], vec![(1.0, 2.0); 3], vec![(1.0, f64::INFINITY), (2.0, 3.0)]]
            {
                let drawn = chart(points.clone(), scale);
                assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{points:?}: {drawn}");
            }
        }
        assert!(chart(vec![(1.0, -1.0)], Scale::Log).contains("Nothing to draw"));
        let axis = |label| Axis { label, scale: Scale::Log, unit: Unit::Share };
        assert!(bars("t", axis("x"), axis("y"), (0.0, 0.0), &[], 0).into_string().contains("Nothing"));
        assert_eq!(bars("t", axis("x"), axis("y"), (3.0, 3.0), &[1.0], 0).into_string().matches("<rect").count(), 1);
    }

    #[test]
    fn names_keep_their_distance_inside_the_plot() {
        let moved = apart(&[40.0, 41.0, 42.0, 230.0, 233.0], 30.0, 234.0);
        assert!(moved.windows(2).all(|w| w[1] - w[0] >= LEADING - 1e-9), "{moved:?}");
        assert!(moved[0] >= 14.0 && moved[4] <= 234.0, "{moved:?}");
        assert_eq!(apart(&[50.0, 100.0], 30.0, 234.0), vec![50.0, 100.0]);
    }
}
