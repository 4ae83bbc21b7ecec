//! The atoms of each model, and one row made of them: atoms × codes = reconstruction, beside the original.

use crate::chart::key;
use crate::picture::{largest, montage, photograph, png, signed, square};
use crate::ticks::number;
use maud::{Markup, html};
use mereo::Mat;
use mereo::compare::{Comparison, Entry};

/// Most atoms that are drawn; more would be specks.
pub(crate) const SHOWN: usize = 256;
/// Width of a montage on a wide screen.
const WIDE: usize = 460;
/// Most pixels of a montage; larger images are drawn smaller.
const PIXELS: usize = 500_000;
/// Strongest columns that a profile names.
const STRONGEST: usize = 6;
/// Atoms whose strongest columns are named.
const PROFILES: usize = 12;
/// Most columns of a picture of atoms that are not images.
const COLUMNS: usize = 768;

/// The figure, whatever the rows are, with a heading of its own if it is to have one.
pub fn figure(c: &Comparison, headed: bool) -> Markup {
    match c.data.image.filter(|(h, w)| h * w == c.data.cols && c.data.cols > 0) {
        Some(shape) => images(c, shape, headed),
        None => columns(c, headed),
    }
}

/// Atoms of the model that has the most.
fn most(c: &Comparison) -> usize {
    c.entries.iter().map(|e| e.atoms.rows).max().unwrap_or(c.k)
}

fn images(c: &Comparison, shape: (usize, usize), headed: bool) -> Markup {
    let held = if c.data.test > 0 { "held-out row" } else { "row" };
    let most = most(c);
    let shown = most.min(SHOWN);
    html! {
        @if headed { h2 { "Atoms, and one " (held) " made of them" } }
        p.note {
            "Left, the atoms: numbers above zero go to black, below zero to red, each atom by its own largest. "
            "Each atom times its code, added up, is the reconstruction of row " (c.example.row)
            @if c.data.test > 0 { ", which no model saw. " } @else { ", one of those that were learned from. " }
            "Codes stand in the places of their atoms, black above zero and red below; in pictures of rows, large numbers are bright."
            @if c.entries.iter().any(|e| e.example.offset.is_some()) { " The offset is what a model decodes from no codes at all: for centred PCA, the mean row." }
            @if shown < most { " The first " (shown) " of " (most) " atoms are drawn." }
        }
        @for (i, e) in c.entries.iter().enumerate() { (equation(c, e, i, shape)) }
    }
}

fn heading(e: &Entry, i: usize) -> Markup {
    let forbids = match e.method.as_str() {
        "pca" => "orthogonal axes, which may cancel each other",
        "vq" => "each row is one atom, chosen from k",
        "nmf" => "parts that only add: no number is negative",
        "sae" => "many atoms, of which few are alive on a row",
        _ => "",
    };
    html! { h3 { (key(i)) (e.facts.label) " " @if !forbids.is_empty() { span.what { (forbids) } } } }
}

fn equation(c: &Comparison, e: &Entry, i: usize, shape: (usize, usize)) -> Markup {
    let shown = e.atoms.rows.min(SHOWN);
    let across = across(shown, shape);
    let range = range(&c.example.prepared);
    let label = &e.facts.label;
    html! {
        section.model {
            (heading(e, i))
            div.equation {
                figure.atoms {
                    (atoms(&e.atoms, shape, label))
                    figcaption { (shown) " atoms" }
                }
                span.op { "×" }
                div.terms {
                    span.op.first { "×" }
                    figure { (codes(&e.example.codes[..e.example.codes.len().min(SHOWN)], across)) figcaption { "codes" } }
                    @if let Some(offset) = &e.example.offset {
                        span.op { "+" }
                        figure { (photo(offset, shape, range, "Offset")) figcaption { "offset" } }
                    } @else if c.entries.iter().any(|e| e.example.offset.is_some()) {
                        // Keeps the reconstructions of all models in one column.
                        span.op.blank { "+" }
                        figure.blank {}
                    }
                    span.op { "=" }
                    figure { (photo(&e.example.reconstruction, shape, range, "Reconstruction")) figcaption { "rebuilt" br; span.wide { "RMSE " } (number(e.example.rmse)) } }
                    figure.original { (photo(&c.example.prepared, shape, range, "The row itself")) figcaption { "original" br; @if c.data.preparation.is_empty() { "row " (c.example.row) } @else { "prepared" } } }
                }
            }
        }
    }
}

/// Atoms as a montage of images.
pub(crate) fn atoms(atoms: &Mat, shape: (usize, usize), label: &str) -> Markup {
    let (atoms, drawn) = drawable(atoms, shape);
    let image = montage(&atoms, drawn, Some(across(atoms.rows, shape)));
    let (width, height) = image.dimensions();
    let fine = width as usize > WIDE;
    let wide = if fine { WIDE as u32 } else { width * (WIDE as u32 / width).max(1) };
    html! {
        img.fine[fine] src=(data(&image)) width=(width) height=(height) style={ "width:" (wide) "px" } alt={ "Atoms of " (label) };
    }
}

/// One atom as an image, on its own scale.
pub(crate) fn tile(atom: &[f32], (height, width): (usize, usize), a: usize) -> Markup {
    let scale = largest(atom);
    let at = |x: u32, y: u32| atom.get(y as usize * width + x as usize).copied().unwrap_or(0.0);
    let image = image::RgbImage::from_fn(width.max(1) as u32, height.max(1) as u32, |x, y| signed(at(x, y), scale));
    html! { img src=(data(&image)) width=(width) height=(height) alt={ "Atom " (a) }; }
}

/// Atoms to draw: not too many, not too large.
fn drawable(atoms: &Mat, (height, width): (usize, usize)) -> (Mat, (usize, usize)) {
    let k = atoms.rows.min(SHOWN);
    let mut by = 1;
    while by < height.min(width) && k * height.div_ceil(by) * width.div_ceil(by) > PIXELS {
        by += 1;
    }
    let (h, w) = (height.div_ceil(by), width.div_ceil(by));
    let mut out = Mat::zeros(k, h * w);
    for a in 0..k {
        let from = atoms.row(a);
        for (at, to) in out.row_mut(a).iter_mut().enumerate() {
            let (top, left) = (at / w * by, at % w * by);
            let (bottom, right) = ((top + by).min(height), (left + by).min(width));
            let cells = (top..bottom).flat_map(|i| from[i * width + left..i * width + right].iter());
            *to = cells.sum::<f32>() / ((bottom - top) * (right - left)) as f32;
        }
    }
    (out, (h, w))
}

/// Tiles to a row of a montage that is about as wide as high; squares of tiles unless tiles are far from square.
fn across(k: usize, (height, width): (usize, usize)) -> usize {
    let ratio = height as f64 / width.max(1) as f64;
    if (0.6..1.7).contains(&ratio) { square(k) } else { ((k as f64 * ratio).sqrt().round() as usize).clamp(1, k.max(1)) }
}

/// The codes of one row as squares in the places that their atoms have in the montage, all on one scale.
fn codes(codes: &[f32], across: usize) -> Markup {
    let down = codes.len().div_ceil(across).max(1);
    let scale = largest(codes);
    let hex = |v: f32| signed(v, scale).0.map(|b| format!("{b:02x}")).concat();
    html! {
        svg viewBox={ "0 0 " (across * 10 + 1) " " (down * 10 + 1) } role="img" aria-label="Codes" {
            rect width="100%" height="100%" fill="#cdd1d7" {}
            @for (j, &v) in codes.iter().enumerate() {
                rect x=(j % across * 10 + 1) y=(j / across * 10 + 1) width="9" height="9" fill={ "#" (hex(v)) } { title { "atom " (j) ": " (number(f64::from(v))) } }
            }
        }
    }
}

fn photo(row: &[f32], shape: (usize, usize), range: (f32, f32), alt: &str) -> Markup {
    html! { img src=(data(&photograph(row, shape, range))) width=(shape.1) height=(shape.0) alt=(alt); }
}

/// The smallest and the largest number.
fn range(row: &[f32]) -> (f32, f32) {
    let ends = row.iter().filter(|v| v.is_finite()).fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
    if ends.0 > ends.1 { (0.0, 1.0) } else { ends }
}

/// An image as an address that holds it.
pub(crate) fn data(image: &image::RgbImage) -> String {
    format!("data:image/png;base64,{}", base64(&png(image)))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, &b| w << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = char::from(DIGITS[(word >> (18 - 6 * i)) as usize & 63]);
            out.push(if i <= chunk.len() { digit } else { '=' });
        }
    }
    out
}

fn columns(c: &Comparison, headed: bool) -> Markup {
    let (d, most) = (c.data.cols, most(c));
    html! {
        @if headed { h2 { "Atoms" } }
        p.note {
            "One row of colour is one atom, from the first column on the left to the last on the right: numbers above zero go to "
            "black, below zero to red, each atom by its own largest."
            @if d > COLUMNS { " Neighbouring columns are drawn as one, by the largest of them." }
            @if most > SHOWN { " The first " (SHOWN) " of " (most) " atoms are drawn." }
            " Below, the strongest columns of "
            @if most > PROFILES { "the first " (PROFILES) " atoms." } @else { "each." }
        }
        @for (i, e) in c.entries.iter().enumerate() {
            section.model {
                (heading(e, i))
                (heat(&e.atoms, &e.facts.label))
                div.profiles { @for a in 0..e.atoms.rows.min(PROFILES) { (profile(Names(c.data.columns.as_deref()), e.atoms.row(a), &format!("Atom {a}"))) } }
            }
        }
        (example(c, headed))
    }
}

/// All atoms as thin rows of colour.
pub(crate) fn heat(atoms: &Mat, label: &str) -> Markup {
    let (k, d) = (atoms.rows.min(SHOWN), atoms.cols);
    let width = d.clamp(1, COLUMNS);
    let mut binned = Mat::zeros(k, width);
    for a in 0..k {
        for (j, &v) in atoms.row(a).iter().enumerate() {
            let cell = &mut binned.row_mut(a)[j * width / d];
            if v.is_finite() && v.abs() > cell.abs() {
                *cell = v;
            }
        }
    }
    let image = image::RgbImage::from_fn(width as u32, k.max(1) as u32, |x, y| {
        if (y as usize) < k {
            let row = binned.row(y as usize);
            signed(row[x as usize], largest(row))
        } else {
            image::Rgb([255; 3])
        }
    });
    let tall = (k * 12).clamp(24, 480);
    html! {
        div.heat { img src=(data(&image)) width=(width) height=(k) style={ "height:" (tall) "px" } alt={ "Atoms of " (label) }; }
    }
}

/// The strongest columns of a row of numbers, strongest first; ties by place.
fn strongest(row: &[f32], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).filter(|&j| row[j].is_finite() && row[j] != 0.0).collect();
    order.sort_by(|&a, &b| row[b].abs().total_cmp(&row[a].abs()).then(a.cmp(&b)));
    order.truncate(most);
    order
}

/// Names of columns, where they have any.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a>(pub Option<&'a [String]>);

impl Names<'_> {
    fn of(self, column: usize) -> String {
        self.0.and_then(|names| names.get(column).cloned()).unwrap_or_else(|| column.to_string())
    }
}

pub(crate) fn profile(names: Names, atom: &[f32], title: &str) -> Markup {
    let top = strongest(atom, STRONGEST);
    let scale = f64::from(largest(atom));
    html! {
        div.profile {
            h4 { (title) }
            @if top.is_empty() { p.none { "zero everywhere" } }
            dl { @for j in top {
                dt title=(names.of(j)) { (names.of(j)) }
                dd { i.minus[atom[j] < 0.0] style={ "width:" (format!("{:.0}", 100.0 * f64::from(atom[j].abs()) / scale)) "%" } title=(number(f64::from(atom[j]))) {} }
            } }
        }
    }
}

/// One row and what each model makes of it, by its strongest columns.
fn example(c: &Comparison, headed: bool) -> Markup {
    let top = strongest(&c.example.prepared, 12);
    let names = Names(c.data.columns.as_deref());
    html! {
        @let title = if c.data.test > 0 { "One held-out row, and what the models make of it" } else { "One row, and what the models make of it" };
        @if headed { h2 { (title) } } @else { h3.apart { (title) } }
        p.note { "The " (top.len()) " strongest columns of row " (c.example.row) ", as prepared, and the same columns rebuilt from its codes." }
        div.scroll { table {
            thead { tr {
                th scope="col" { "Column" } th scope="col" { "Original" }
                @for (i, e) in c.entries.iter().enumerate() { th scope="col" { (key(i)) (e.facts.label) } }
            } }
            tbody {
                @for j in top { tr {
                    td { (names.of(j)) } td { (number(f64::from(c.example.prepared[j]))) }
                    @for e in &c.entries { td { (e.example.reconstruction.get(j).map_or("–".into(), |v| number(f64::from(*v)))) } }
                } }
                tr { td { "RMSE over all columns" } td {} @for e in &c.entries { td { (number(e.example.rmse)) } } }
                tr { td { "Codes other than zero" } td {} @for e in &c.entries { td { (e.example.codes.iter().filter(|v| **v != 0.0).count()) " of " (e.example.codes.len()) } } }
            }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standard_one() {
        let written = [&b""[..], b"f", b"fo", b"foo", b"foob", b"\xff\xfe"].map(base64);
        assert_eq!(written, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "//4="]);
    }

    #[test]
    fn large_images_are_drawn_smaller_by_averages() {
        let atoms = Mat { rows: 2, cols: 1_000_000, data: vec![3.0; 2_000_000] };
        let (small, (h, w)) = drawable(&atoms, (1000, 1000));
        assert!(small.rows * h * w <= PIXELS && h == w && small.cols == h * w);
        assert!(small.data.iter().all(|v| (*v - 3.0).abs() < 1e-5));
        let same = drawable(&Mat { rows: 1, cols: 6, data: vec![1., 2., 3., 4., 5., 6.] }, (2, 3));
        assert_eq!(same, (Mat { rows: 1, cols: 6, data: vec![1., 2., 3., 4., 5., 6.] }, (2, 3)));
    }

    #[test]
    fn the_strongest_columns_come_first_and_zeros_never() {
        assert_eq!(strongest(&[0.0, -3.0, 1.0, 3.0, f32::NAN], 3), vec![1, 3, 2]);
    }
}
