//! The page: what was compared, the figure, the table, the charts, and how to make it again.

use crate::chart::{Axis, Chart, Line, bars, key, lines};
use crate::figure::figure;
use crate::table::measures;
use crate::ticks::{Scale, Unit, number, share, whole};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use mereo::compare::{Comparison, Entry};
use std::fmt::Write;

/// A self-contained page: no script, nothing from elsewhere, light and dark, for wide screens and phones.
pub fn html(c: &Comparison) -> String {
    let title = title(c);
    shell(
        &title,
        &html! {
            header {
                h1 { (title) }
                p.facts { (facts(c)) }
                @if let Some(text) = summary(c) { p.summary { (text) } }
                @for l in &c.left_out { p.left { (l.label) " is left out: " (l.why) "." } }
            }
            main {
                (figure(c, true))
                h2 { "Measures" }
                p.note { "Errors compare rows with what the models make of them, after preparation; bold is the lowest." }
                (measures(c))
                (losses(c))
                (sizes(c))
                (histograms(c))
                (again(c))
            }
        },
    )
}

/// A page around its body.
pub(crate) fn shell(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content={ "mereo " (env!("CARGO_PKG_VERSION")) };
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body { (body) }
        }
    }
    .into_string()
}

fn title(c: &Comparison) -> String {
    let names: Vec<&str> = c.entries.iter().map(|e| e.facts.label.as_str()).collect();
    let models = match names.as_slice() {
        [] => "No model".to_string(),
        [one] => (*one).to_string(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    };
    format!("{models} on {}", c.data.name)
}

fn facts(c: &Comparison) -> Markup {
    let d = &c.data;
    html! {
        @if let Some(about) = &d.about { (sentence(about)) br; }
        (count(c.k, "atom")) @if c.entries.len() > 1 { " each" }
        @for e in c.entries.iter().filter(|e| e.atoms.rows != c.k) {
            ", but " (whole(e.atoms.rows)) " of " (e.facts.label) ", of which a row stores " (number(e.row_numbers)) " numbers: an index and a value of each that is alive"
        }
        " · " (count(d.train, "row")) " to learn from" @if d.test > 0 { ", " (whole(d.test)) " held out" }
        " · " (count(d.cols, "column")) @if let Some((h, w)) = d.image { " (images of " (h) "×" (w) ")" }
        " · " @if d.preparation.is_empty() { "no preparation" } @else { "prepared by " (d.preparation.join(", then ")) }
    }
}

/// Who is closest and who is sparsest, in one or two sentences.
fn summary(c: &Comparison) -> Option<String> {
    if c.entries.len() < 2 {
        return None;
    }
    let error = |e: &Entry| e.test.as_ref().map_or(e.train.rmse, |t| t.rmse);
    let mut order: Vec<&Entry> = c.entries.iter().filter(|e| error(e).is_finite()).collect();
    order.sort_by(|a, b| error(a).total_cmp(&error(b)));
    let (near, far) = (order.first()?, order.last()?);
    let rows = if c.data.test > 0 { "held-out rows" } else { "the rows it learned from" };
    let mut text = format!(
        "{} rebuilds {rows} most closely (RMSE {}), {} least ({}).",
        near.facts.label,
        number(error(near)),
        far.facts.label,
        number(error(far))
    );
    let sparse = |e: &Entry| e.atom_measures.sparseness.mean;
    if let Some(most) = c.entries.iter().filter(|e| sparse(e).is_finite()).max_by(|a, b| sparse(a).total_cmp(&sparse(b))) {
        let _ = write!(text, " The atoms of {} are the sparsest (Hoyer {}).", most.facts.label, number(sparse(most)));
    }
    Some(text)
}

/// The text with a capital at its start and a full stop at its end.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}{}", letters.as_str(), if text.ends_with('.') { "" } else { "." })
}

fn count(n: usize, what: &str) -> String {
    format!("{} {what}{}", whole(n), if n == 1 { "" } else { "s" })
}

/// Whether the loss of a model is its mean squared error, as far as the numbers can tell.
fn squared(e: &Entry) -> bool {
    let error = e.train.rmse.powi(2);
    e.facts.curve.last().is_some_and(|p| (p.loss - error).abs() <= 0.05 * error)
}

fn losses(c: &Comparison) -> Markup {
    let all: Vec<f64> = c.entries.iter().flat_map(|e| e.facts.curve.iter().map(|p| p.seconds)).filter(|s| *s > 0.0).collect();
    let (low, high) = all.iter().fold((f64::INFINITY, 0.0), |(l, h), &s| (f64::min(l, s), f64::max(h, s)));
    let scale = if high > 20.0 * low { Scale::Log } else { Scale::Linear };
    let alike = c.entries.iter().filter(|e| squared(e)).count();
    html! {
        h2 { "Loss against time" }
        p.note {
            "One point a pass over the data. "
            @if alike == c.entries.len() && alike > 1 { "All minimise the squared error, so the axes are the same; the others are drawn behind in grey." }
            @else if alike > 1 { "Those that minimise the squared error share their axes and are drawn behind each other in grey; the others have losses of their own, of which only shape and time compare." }
            @else if c.entries.len() > 1 { "Every method has its own loss, so compare shapes and times, not heights; the time axis is the same for all." }
        }
        div.charts {
            @for (i, e) in c.entries.iter().enumerate() {
                figure {
                    h3 { (key(i)) (e.facts.label) " " span.what { (count(e.facts.curve.len(), "pass").replace("passs", "passes")) } }
                    (loss(c, i, scale, &[low, high]))
                }
            }
        }
    }
}

fn loss(c: &Comparison, style: usize, scale: Scale, span: &[f64]) -> Markup {
    let e = &c.entries[style];
    let curve = |e: &Entry| -> Vec<(f64, f64)> { e.facts.curve.iter().map(|p| (p.seconds, p.loss)).collect() };
    let alike = |i: &usize| *i != style && squared(e) && squared(&c.entries[*i]);
    let behind: Vec<_> = (0..c.entries.len()).filter(alike).map(|i| curve(&c.entries[i])).collect();
    let points = curve(e);
    let heights = points.iter().chain(behind.iter().flatten()).map(|p| p.1);
    let (low, high) = heights.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let steep = low > 0.0 && high > 20.0 * low;
    lines(&Chart {
        title: &format!("Loss of {} against time", e.facts.label),
        x: Axis { label: "time", scale, unit: Unit::Seconds },
        y: Axis {
            label: if squared(e) { "mean squared error" } else { "loss" },
            scale: if steep { Scale::Log } else { Scale::Linear },
            unit: Unit::Plain,
        },
        lines: vec![Line { name: "", style, points }],
        named: false,
        also: span.to_vec(),
        ticks: None,
        behind,
        dots: vec![],
        guides: vec![],
        levels: vec![],
    })
}

/// Names fit at the ends of lines unless one is long.
fn short(c: &Comparison) -> bool {
    c.entries.iter().all(|e| e.facts.label.chars().count() <= 14)
}

fn legend(c: &Comparison) -> Markup {
    html! {
        @if !short(c) { div.legend { @for (i, e) in c.entries.iter().enumerate() { span { (key(i)) (e.facts.label) } } } }
    }
}

fn sizes(c: &Comparison) -> Markup {
    let held = if c.data.test > 0 { "Held-out error" } else { "Training error" };
    let style = |label: &str| c.entries.iter().position(|e| e.facts.label == label).unwrap_or(0);
    let scree = spectrum(c, "Variance rebuilt along each principal direction", Scale::Log, &|e| {
        // Directions below 1e-5 of the first are rounding of f32.
        let least = e.scree.first().copied().unwrap_or(0.0) * 1e-5;
        e.scree.iter().map(|&v| if v > least { v } else { 0.0 }).collect()
    });
    let sums = spectrum(c, "Variance rebuilt along the first principal directions", Scale::Linear, &|e| {
        e.scree
            .iter()
            .scan(0.0, |sum, v| {
                *sum += v;
                Some(*sum)
            })
            .collect()
    });
    let mut tried: Vec<f64> = c.sizes.iter().flat_map(|s| s.points.iter().map(|p| p.0 as f64)).collect();
    tried.sort_by(f64::total_cmp);
    tried.dedup();
    let error = Chart {
        title: &format!("{held} against the number of atoms"),
        x: Axis { label: "number of atoms", scale: Scale::Log, unit: Unit::Plain },
        y: Axis { label: "RMSE", scale: Scale::Linear, unit: Unit::Plain },
        lines: c
            .sizes
            .iter()
            .map(|s| Line {
                name: &s.label,
                style: style(&s.label),
                points: s.points.iter().map(|&(k, e)| (k as f64, e)).collect(),
            })
            .collect(),
        named: short(c),
        also: vec![],
        ticks: Some(tried),
        behind: vec![],
        dots: vec![],
        guides: vec![],
        levels: vec![],
    };
    html! {
        h2 { "How many atoms" }
        p.note {
            "Scree: the variance of what each model rebuilds, along the principal directions of that, as a share of the variance of the rows. "
            "For PCA these are the explained variance ratios; where a line ends early, the rest of its directions are unused."
            @if !c.sizes.is_empty() { " Last, the error of models fitted with fewer atoms: where a line turns flat, more atoms buy little." }
        }
        (legend(c))
        div.charts {
            figure { h3 { "Scree" } (lines(&scree)) }
            figure { h3 { "Scree, added up" } (lines(&sums)) }
            @if !c.sizes.is_empty() { figure { h3 { (held) } (lines(&error)) } }
        }
    }
}

/// One line a model over the principal directions of what it rebuilds.
fn spectrum<'a>(c: &'a Comparison, title: &'a str, scale: Scale, of: &dyn Fn(&Entry) -> Vec<f64>) -> Chart<'a> {
    let points = |e| of(e).into_iter().enumerate().map(|(i, v)| ((i + 1) as f64, v)).collect();
    Chart {
        title,
        x: Axis { label: "direction", scale: Scale::Linear, unit: Unit::Plain },
        y: Axis { label: "share of the variance", scale, unit: Unit::Share },
        lines: c.entries.iter().enumerate().map(|(style, e)| Line { name: &e.facts.label, style, points: points(e) }).collect(),
        named: short(c),
        also: vec![],
        ticks: None,
        behind: vec![],
        dots: vec![],
        guides: vec![],
        levels: vec![],
    }
}

fn histograms(c: &Comparison) -> Markup {
    html! {
        h2 { "Codes" }
        p.note { "How the codes of training rows are spread, all atoms together. The vertical axis is logarithmic, so that rare codes can be seen." }
        div.charts {
            @for (i, e) in c.entries.iter().enumerate() {
                figure {
                    h3 { (key(i)) (e.facts.label) @let zeros = zeros(e); @if !zeros.is_empty() { " " span.what { (zeros) } } }
                    (histogram(e, i))
                }
            }
        }
    }
}

fn zeros(e: &Entry) -> String {
    let total: u64 = e.histogram.counts.iter().sum();
    if total == 0 || e.histogram.zeros == 0 {
        String::new()
    } else {
        format!("{} exactly zero", share(e.histogram.zeros as f64 / total as f64))
    }
}

fn histogram(e: &Entry, style: usize) -> Markup {
    let h = &e.histogram;
    let total: u64 = h.counts.iter().sum();
    let shares: Vec<f64> = h.counts.iter().map(|&n| n as f64 / total.max(1) as f64).collect();
    bars(
        &format!("Histogram of the codes of {}", e.facts.label),
        Axis { label: "code", scale: Scale::Linear, unit: Unit::Plain },
        Axis { label: "share of the codes", scale: Scale::Log, unit: Unit::Share },
        (h.low, h.high),
        &shares,
        style,
    )
}

fn again(c: &Comparison) -> Markup {
    let d = &c.data;
    html! {
        h2 { "To make this page again" }
        @if let Some(command) = &c.command { pre { code { (command) } } }
        dl.list {
            dt { "mereo" } dd { (c.version) }
            dt { "Seed" } dd { (c.seed) }
            dt { "Threads" } dd { (c.threads) ", which the times depend on and the models do not" }
            dt { "Data" } dd { (d.name) ": " (count(d.train + d.test, "row")) " of " (count(d.cols, "column")) }
            @if let Some(credit) = &d.credit { dt { "Credit" } dd { (credit) } }
            @if let Some(licence) = &d.licence { dt { "Terms" } dd { (licence) } }
        }
        @for e in &c.entries {
            details {
                summary { "Parameters of " (e.facts.label) }
                pre { code { (serde_json::to_string_pretty(&e.facts.params).unwrap_or_default()) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mereo::compare::{About, Example, Facts, LeftOut, Setting, Sizes, entry};
    use mereo::fold::{Options, Stop, fit};
    use mereo::source::Memory;
    use mereo::{Mat, Pca, Vq};

    /// PCA and VQ of generated rows; the names are as hostile as names can be.
    fn comparison(k: usize, d: usize, image: Option<(usize, usize)>, methods: &[&str]) -> Comparison {
        let mut r = mereo::rng::rng(1, 2, 3);
        let x = Mat { rows: 60, cols: d, data: (0..60 * d).map(|_| r.uniform() as f32).collect() };
        let source = Memory::from(&x);
        let setting = Setting { train: &source, test: Some(&source), image, shown: 1 };
        let one = |name: &&str| {
            let facts = |curve, stop| Facts {
                label: (*name).into(),
                params: serde_json::json!({"k": "</code><script>"}),
                seconds: 0.1,
                curve,
                stop,
            };
            if name.starts_with("PCA") {
                let f = fit(&Pca { k, ..Pca::default() }, &source, Options::default()).expect("fit");
                entry(&f.model, facts(f.curve, f.stop), &setting)
            } else {
                let f = fit(&Vq { k, ..Vq::default() }, &source, Options::default()).expect("fit");
                entry(&f.model, facts(f.curve, f.stop), &setting)
            }
        };
        let entries: Vec<Entry> = methods.iter().map(|m| one(m).expect("entry")).collect();
        let sizes = methods.iter().map(|m| Sizes { label: (*m).into(), points: vec![(1, 0.3), (k, 0.2)] }).collect();
        Comparison {
            version: "1 & 2".into(),
            command: Some("mereo compare '<b>.npy'".into()),
            data: About {
                name: "<img src=x onerror=alert(1)>".into(),
                about: Some("a \"quoted\" & <em>".into()),
                credit: Some("<script>credit</script>".into()),
                licence: Some("a & b".into()),
                train: 60,
                test: 60,
                cols: d,
                image,
                columns: (image.is_none()).then(|| (0..d).map(|j| format!("<u>{j}")).collect()),
                preparation: vec!["lee-seung".into()],
            },
            k,
            seed: 0,
            threads: 1,
            example: Example { row: 1, original: x.row(1).to_vec(), prepared: x.row(1).to_vec() },
            entries,
            left_out: vec![LeftOut { label: "N<M>F".into(), why: "row 3 is -1 & NMF needs none".into() }],
            sizes,
        }
    }

    /// Every tag that opens closes, in order; attributes are quoted; no bare ampersand.
    fn check(page: &str) {
        let voids = ["meta", "img", "br", "!DOCTYPE"];
        let style = page.find("<style>").expect("style")..page.find("</style>").expect("style");
        let bare = [&page[..style.start + 7], &page[style.end..]].concat();
        let mut open = Vec::new();
        let mut rest = bare.as_str();
        while let Some(at) = rest.find('<') {
            assert!(!rest[..at].contains('>'), "a stray > in {:?}", &rest[..at]);
            let end = rest.find('>').expect("a tag that ends");
            let tag = &rest[at + 1..end];
            assert!(!tag.contains('<') && tag.matches('"').count() % 2 == 0, "<{tag}>");
            let name = tag.trim_start_matches('/').split(' ').next().expect("name");
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "</{name}> closes another");
            } else if !voids.contains(&name) {
                open.push(name);
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty(), "left open: {open:?}");
        for (at, _) in bare.match_indices('&') {
            let entity = bare[at..].split(';').next().expect("entity");
            assert!(["&amp", "&lt", "&gt", "&quot"].contains(&entity), "{entity}");
        }
        for outside in ["http:", "https:", "<script", "<link", "@import", "url(", "<iframe", "onerror=alert(1)\"", "src=\"//"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(
            bare.matches("<img ").count() == bare.matches("src=\"data:image/png;base64,iVBOR").count(),
            "every picture is inside"
        );
        for raw in ["NaN", ">inf", "-inf", "null", "<b>", "<em>", "<u>"] {
            assert!(!bare.contains(raw), "{raw}");
        }
    }

    #[test]
    fn pages_are_well_formed_self_contained_and_escaped() {
        for (k, d, image, methods) in [
            (4, 12, Some((3, 4)), &["PCA", "VQ"][..]),
            (1, 12, Some((3, 4)), &["VQ"][..]),
            (4, 12, None, &["PCA", "VQ <named> at \"length\" & more"][..]),
            (1, 1, None, &["PCA"][..]),
            (5, 900, None, &["VQ"][..]),
            (2, 12, Some((5, 5)), &["PCA"][..]),
            (20, 30, Some((1, 30)), &["VQ"; 9][..]),
        ] {
            let page = html(&comparison(k, d, image, methods));
            check(&page);
            assert!(page.contains("name=\"viewport\"") && page.contains("prefers-color-scheme: dark"));
            assert!(page.contains("mereo compare '&lt;b&gt;.npy'") && page.contains("N&lt;M&gt;F is left out: row 3"));
            assert_eq!(page.contains("<figure class=\"atoms\">"), image.is_some_and(|(h, w)| h * w == d), "{k} {d} {image:?}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_never_printed_raw() {
        let mut c = comparison(4, 12, Some((3, 4)), &["PCA", "VQ"]);
        for e in &mut c.entries {
            e.train.rmse = f64::NAN;
            e.train.fvu = f64::INFINITY;
            e.test = None;
            e.facts.seconds = f64::NAN;
            e.atoms.row_mut(0).fill(f32::NAN);
            e.atoms.row_mut(1).fill(0.0);
            e.example.codes.fill(f32::INFINITY);
            e.example.reconstruction.fill(f32::NAN);
            e.example.rmse = f64::NAN;
            e.scree = vec![f64::NAN, 0.0];
            e.histogram.counts.clear();
            e.facts.curve.iter_mut().for_each(|p| p.loss = f64::NAN);
            e.facts.stop = Stop::Cancelled;
        }
        c.sizes[0].points = vec![(0, f64::NAN)];
        check(&html(&c));
        c.data.image = None;
        check(&html(&c));
        c.entries.clear();
        c.sizes.clear();
        check(&html(&c));
    }

    #[test]
    fn the_summary_names_the_closest_and_the_sparsest() {
        let c = comparison(4, 12, None, &["PCA", "VQ"]);
        let text = summary(&c).expect("two models");
        assert!(text.starts_with("PCA rebuilds held-out rows most closely") && text.contains("VQ least"), "{text}");
        assert!(summary(&comparison(4, 12, None, &["PCA"])).is_none());
    }
}
