//! A page that a command composes: sentences, tables, charts, atoms in pictures and whole comparisons, in its own order.

use crate::chart::{Axis, Chart, Line, bars, key, lines};
use crate::figure::{self, Names};
use crate::heat::{Heat, heat};
use crate::page::shell;
use crate::ticks::{Scale, Unit};
use crate::{figure::figure, table::measures};
use maud::{Markup, html};
use mereo::Mat;
use mereo::compare::Comparison;

/// A page, composed.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// Its headline.
    pub title: String,
    /// What was done to what, in small print under the headline.
    pub facts: Vec<String>,
    /// The answer, in a sentence or a few.
    pub summary: Vec<String>,
    /// What is left out, and why.
    pub left_out: Vec<String>,
    /// The rest, in order.
    pub sections: Vec<Section>,
    /// What to type to make it again.
    pub command: String,
    /// Facts about the making: data, credit, threads.
    pub made: Vec<(String, String)>,
}

/// A headline with what is under it.
#[derive(Debug, Clone, Default)]
pub struct Section {
    /// The headline.
    pub title: String,
    /// How to read what follows.
    pub note: String,
    /// What follows.
    pub blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Debug, Clone)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// A table.
    Table(Table),
    /// Charts, side by side.
    Plots(Vec<Plot>),
    /// Histograms, side by side.
    Bars(Vec<Bars>),
    /// Numbers over time as rows of colour, side by side.
    Heats(Vec<Heat>),
    /// Sets of atoms, each as one picture, side by side.
    Plates(Vec<Plate>),
    /// Every atom for itself, with a line under each.
    Atoms {
        /// The atoms (k × d).
        atoms: Mat,
        /// Height and width, if they are images.
        image: Option<(usize, usize)>,
        /// One line for each of them.
        under: Vec<String>,
        /// Names of the columns, where known, for atoms that are no images.
        columns: Option<Vec<String>>,
    },
    /// Fitted models at work on a row, as `mereo compare` shows them, and their measures.
    Comparison(Box<Comparison>),
}

/// A table of text; the first column is to the left.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Table {
    /// Names of the columns.
    pub header: Vec<String>,
    /// The rows, of as many cells.
    pub rows: Vec<Vec<String>>,
    /// The row in bold.
    pub strong: Option<usize>,
    /// Columns of words, which are set to the left.
    pub words: Vec<usize>,
}

/// Lines and points over two axes.
#[derive(Debug, Clone, Default)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// The horizontal axis.
    pub x: String,
    /// The vertical axis.
    pub y: String,
    /// Both axes in powers, or only the horizontal one.
    pub log: (bool, bool),
    /// The lines, with their names.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
    /// Ticks of the horizontal axis, if not at round numbers.
    pub ticks: Option<Vec<f64>>,
    /// Points with no line between them, with their names; those of a line's name are of its colour.
    pub dots: Vec<(String, Vec<(f64, f64)>)>,
    /// Heights across the whole plot to compare with, with their names.
    pub levels: Vec<(String, f64)>,
    /// Dashed lines to compare with, with their names, if they need any.
    pub guides: Vec<(String, Vec<(f64, f64)>)>,
}

/// A histogram.
#[derive(Debug, Clone, Default)]
pub struct Bars {
    /// What it shows.
    pub title: String,
    /// The horizontal axis.
    pub x: String,
    /// The vertical axis.
    pub y: String,
    /// The ends of the horizontal axis.
    pub range: (f64, f64),
    /// Heights of bars of equal width, from end to end.
    pub heights: Vec<f64>,
}

/// A set of atoms as one picture.
#[derive(Debug, Clone)]
pub struct Plate {
    /// What they are of.
    pub title: String,
    /// The atoms (k × d).
    pub atoms: Mat,
    /// Height and width, if they are images.
    pub image: Option<(usize, usize)>,
    /// Lines under the picture.
    pub under: Vec<String>,
}

impl Document {
    /// A self-contained page: no script, nothing from elsewhere, light and dark, for wide screens and phones.
    pub fn html(&self) -> String {
        shell(
            &self.title,
            &html! {
                header {
                    h1 { (self.title) }
                    p.facts { @for (i, line) in self.facts.iter().enumerate() { @if i > 0 { br; } (line) } }
                    @for text in &self.summary { p.summary { (text) } }
                    @for text in &self.left_out { p.left { (text) } }
                }
                main {
                    @for s in &self.sections {
                        h2 { (s.title) }
                        @if !s.note.is_empty() { p.note { (s.note) } }
                        @for b in &s.blocks { (block(b)) }
                    }
                    h2 { "To make this page again" }
                    pre { code { (self.command) } }
                    dl.list {
                        dt { "mereo" } dd { (env!("CARGO_PKG_VERSION")) }
                        @for (name, value) in &self.made { dt { (name) } dd { (value) } }
                    }
                }
            },
        )
    }
}

fn block(b: &Block) -> Markup {
    match b {
        Block::Text(text) => html! { p { (text) } },
        Block::Table(t) => table(t),
        Block::Plots(plots) => html! { div.charts { @for p in plots { (plot(p)) } } },
        Block::Bars(charts) => html! { div.charts { @for b in charts { (histogram(b)) } } },
        Block::Heats(heats) => html! { div.charts { @for h in heats { (heat(h)) } } },
        Block::Plates(plates) => html! { div.plates { @for p in plates { (plate(p)) } } },
        Block::Atoms { atoms, image, under, columns } => each(atoms, *image, under, columns.as_deref()),
        Block::Comparison(c) => html! { (figure(c, false)) h3.apart { "Measures" } (measures(c)) },
    }
}

/// Cells with more letters are sentences.
const SENTENCE: usize = 40;
/// Cells with more letters are phrases, which may be set in several lines.
const PHRASE: usize = 20;
/// Tables of more columns are set smaller.
const MANY: usize = 12;

fn table(t: &Table) -> Markup {
    let left = |i: usize| i == 0 || t.words.contains(&i);
    // Sentences and phrases get room before a narrow screen has to scroll.
    let longest = |i: usize| t.rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count()).max().unwrap_or(0);
    let long: Vec<bool> = (0..t.header.len()).map(|i| left(i) && longest(i) > SENTENCE).collect();
    let phrase: Vec<bool> = (0..t.header.len()).map(|i| left(i) && longest(i) > PHRASE).collect();
    html! {
        div.scroll { table.plain.many[t.header.len() > MANY] {
            thead { tr { @for (i, h) in t.header.iter().enumerate() { th.words[left(i)] scope="col" { (h) } } } }
            tbody { @for (r, row) in t.rows.iter().enumerate() { tr {
                @for (i, cell) in row.iter().enumerate() { td.best[t.strong == Some(r)].words[left(i)].phrase[phrase.get(i) == Some(&true)].long[long.get(i) == Some(&true)] { (cell) } }
            } } }
        } }
    }
}

fn plot(p: &Plot) -> Markup {
    let scale = |log| if log { Scale::Log } else { Scale::Linear };
    // Dots that continue no line have a colour of their own.
    let mut names: Vec<&str> = p.lines.iter().map(|(name, _)| name.as_str()).collect();
    let lone: Vec<&str> = p.dots.iter().map(|d| d.0.as_str()).filter(|d| !names.contains(d)).collect();
    names.extend(lone);
    let style = |name: &str| names.iter().position(|n| *n == name).unwrap_or(0);
    let named = names.len() > 1;
    let short = names.iter().all(|name| name.chars().count() <= 14);
    html! {
        figure {
            h3 { (p.title) }
            (lines(&Chart {
                title: &p.title,
                x: Axis { label: &p.x, scale: scale(p.log.0), unit: Unit::Plain },
                y: Axis { label: &p.y, scale: scale(p.log.1), unit: Unit::Plain },
                lines: p.lines.iter().enumerate().map(|(style, (name, points))| Line { name, style, points: points.clone() }).collect(),
                named: named && short,
                also: vec![],
                ticks: p.ticks.clone(),
                behind: vec![],
                dots: p.dots.iter().map(|(name, points)| Line { name, style: style(name), points: points.clone() }).collect(),
                guides: p.guides.iter().map(|(name, points)| (name.as_str(), points.clone())).collect(),
                levels: p.levels.iter().map(|(name, v)| (name.as_str(), *v)).collect(),
            }))
            @if named && !short { div.legend { @for (i, name) in names.iter().enumerate() { span { (key(i)) (name) } } } }
        }
    }
}

fn histogram(b: &Bars) -> Markup {
    let axis = |label| Axis { label, scale: Scale::Linear, unit: Unit::Plain };
    html! { figure { h3 { (b.title) } (bars(&b.title, axis(&b.x), axis(&b.y), b.range, &b.heights, 0)) } }
}

fn plate(p: &Plate) -> Markup {
    html! {
        figure.plate {
            h3 { (p.title) }
            @match p.image {
                Some(shape) => (figure::atoms(&p.atoms, shape, &p.title)),
                None => (figure::heat(&p.atoms, &p.title)),
            }
            figcaption { @for (i, line) in p.under.iter().enumerate() { @if i > 0 { br; } (line) } }
        }
    }
}

fn each(atoms: &Mat, image: Option<(usize, usize)>, under: &[String], columns: Option<&[String]>) -> Markup {
    let line = |a: usize| under.get(a).map_or("", String::as_str);
    html! {
        @if let Some(shape) = image {
            div.tiles { @for a in 0..atoms.rows.min(figure::SHOWN) {
                figure { (figure::tile(atoms.row(a), shape, a)) figcaption { (line(a)) } }
            } }
        } @else {
            div.profiles { @for a in 0..atoms.rows.min(figure::SHOWN) {
                div { (figure::profile(Names(columns), atoms.row(a), &format!("Atom {a} · {}", line(a)))) }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_all_pieces_is_whole_and_escapes_what_it_is_given() {
        let atoms = Mat::new(2, 4, vec![1.0, 0.0, 0.5, 0.0, 0.0, 2.0, 0.0, -1.0]).expect("atoms");
        let hostile = "<img src=x>".to_string();
        let plate =
            |image| Plate { title: hostile.clone(), atoms: atoms.clone(), image, under: vec![hostile.clone(), "b".into()] };
        let each = |image| Block::Atoms {
            atoms: atoms.clone(),
            image,
            under: vec![hostile.clone()],
            columns: Some(vec![hostile.clone(); 4]),
        };
        let line = |name: &str| (name.to_string(), vec![(1.0, 0.5), (2.0, 0.25)]);
        let page = Document {
            title: hostile.clone(),
            facts: vec![hostile.clone()],
            summary: vec!["k = 2".into()],
            left_out: vec![hostile.clone()],
            command: hostile.clone(),
            made: vec![("Data".into(), hostile.clone())],
            sections: vec![Section {
                title: hostile.clone(),
                note: hostile.clone(),
                blocks: vec![
                    Block::Text(hostile.clone()),
                    Block::Table(Table {
                        header: vec!["k".into(), "RMSE".into()],
                        rows: vec![vec!["1".into(), "2".into()], vec![hostile.clone(), "3".into()]],
                        strong: Some(1),
                        words: vec![],
                    }),
                    Block::Plots(vec![Plot { lines: vec![line("a"), line("a name that is far too long")], ..Plot::default() }]),
                    Block::Plots(vec![Plot {
                        lines: vec![line("theory")],
                        dots: vec![line("theory"), line("own")],
                        levels: vec![(hostile.clone(), 0.3)],
                        guides: vec![line(&hostile)],
                        ..Plot::default()
                    }]),
                    Block::Heats(vec![Heat {
                        title: hostile.clone(),
                        x: hostile.clone(),
                        times: vec![1.0, 10.0],
                        rows: vec![(hostile.clone(), vec![0.0, 1.0])],
                    }]),
                    Block::Plates(vec![plate(Some((2, 2))), plate(None)]),
                    each(Some((2, 2))),
                    each(None),
                ],
            }],
        }
        .html();
        assert!(!page.contains("<img src=x") && page.matches("&lt;img src=x&gt;").count() > 10);
        assert_eq!(page.matches("data:image/png;base64,").count(), 5, "two plates, two tiles and a row of heat");
        let own = page.split("class=\"s1\"").count() - 1;
        assert!(own >= 2, "dots of another name have the next colour, and a label: {own}");
        assert!(page.contains("class=\"best") && page.contains("class=\"legend\"") && page.ends_with("</html>"));
        assert!(!page.contains("http"), "nothing from elsewhere");
    }
}
