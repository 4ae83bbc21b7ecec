//! Numbers between 0 and 1 over time: a row of colour for each, white for 0 and black for 1, over a logarithmic axis.

use crate::chart::{CHARACTER, WIDTH, px};
use crate::figure::data;
use crate::picture::signed;
use crate::ticks::{Scale, Ticks, number};
use image::{Rgb, RgbImage};
use maud::{Markup, html};

/// Height of a row, and of what is left between two.
const ROW: f64 = 18.0;
const GAP: f64 = 2.0;
/// Below the rows: ticks and the name of the axis.
const BOTTOM: f64 = 42.0;
/// Columns of a picture.
const COLUMNS: u32 = 160;

/// Rows of numbers between 0 and 1 over time.
#[derive(Debug, Clone, Default)]
pub struct Heat {
    /// What it shows.
    pub title: String,
    /// The axis of time.
    pub x: String,
    /// Times, rising; those from 0 on have a place.
    pub times: Vec<f64>,
    /// Names and numbers, one for each time.
    pub rows: Vec<(String, Vec<f64>)>,
}

/// The rows as a picture; a sentence if no time has a place.
pub(crate) fn heat(h: &Heat) -> Markup {
    let placed = || h.times.iter().copied().filter(|t| *t > 0.0 && t.is_finite());
    if placed().count() < 2 || h.rows.is_empty() {
        return html! { figure { h3 { (h.title) } p.none { "Nothing to draw: there are fewer than two times." } } };
    }
    let axis = Ticks::of(placed(), Scale::Log).tight(placed());
    let longest = h.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let (left, right) = (12.0 + longest as f64 * CHARACTER, WIDTH - 18.0);
    let floor = h.rows.len() as f64 * ROW;
    let at = |t: f64| Some(left + axis.place(t, Scale::Log)? * (right - left));
    html! {
        figure {
            h3 { (h.title) }
            svg.chart viewBox={ "0 0 " (WIDTH) " " (px(floor + BOTTOM)) } role="img" aria-label=(h.title) {
                @for (i, (name, values)) in h.rows.iter().enumerate() {
                    @let top = i as f64 * ROW;
                    text x=(px(left - 7.0)) y=(px(top + 13.0)) text-anchor="end" { (name) }
                    image.row href=(data(&strip(&h.times, values, &axis))) x=(px(left)) y=(px(top)) width=(px(right - left)) height=(px(ROW - GAP)) preserveAspectRatio="none" {
                        title { (name) ": " (number(values.last().copied().unwrap_or(f64::NAN))) " in the end" }
                    }
                }
                path.axis d={ "M" (px(left)) " " (px(floor)) "H" (px(right)) } {}
                @for &t in &axis.at { @if let Some(x) = at(t) {
                    path.axis d={ "M" (px(x)) " " (px(floor)) "v4" } {}
                    text.tick x=(px(x)) y=(px(floor + 18.0)) text-anchor="middle" { (number(t)) }
                } }
                text.unit x=(px(right)) y=(px(floor + 36.0)) text-anchor="end" { (h.x) }
            }
        }
    }
}

/// One row: at every column the number of the last time up to there.
fn strip(times: &[f64], values: &[f64], axis: &Ticks) -> RgbImage {
    RgbImage::from_fn(COLUMNS, 1, |x, _| {
        let t = axis.low * (axis.high / axis.low).powf((f64::from(x) + 0.5) / f64::from(COLUMNS));
        let last = times.partition_point(|s| *s <= t).saturating_sub(1);
        values.get(last).map_or(Rgb([255; 3]), |v| signed(v.clamp(0.0, 1.0) as f32, 1.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_shows_the_last_time_up_to_it() {
        let times = [0.0, 1.0, 10.0, 100.0];
        let axis = Ticks::of(times[1..].iter().copied(), Scale::Log).tight(times[1..].iter().copied());
        assert_eq!((axis.low, axis.high), (1.0, 100.0));
        let row = strip(&times, &[0.5, 0.0, 1.0, 0.5], &axis);
        let at = |x: u32| row.get_pixel(x, 0).0;
        assert_eq!((at(0), at(COLUMNS / 2 - 1)), ([255; 3], [255; 3]), "0 is white");
        assert_eq!((at(COLUMNS / 2), at(COLUMNS - 1)), ([0; 3], [0; 3]), "1 is black, up to the last time");
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        let h = Heat { times: vec![0.0, 1.0], rows: vec![("a".into(), vec![0.0, 1.0])], ..Heat::default() };
        assert!(heat(&h).into_string().contains("Nothing to draw"));
        let h = Heat { times: vec![1.0, 2.0], rows: vec![("a<b".into(), vec![f64::NAN, 1.0])], ..Heat::default() };
        let drawn = heat(&h).into_string();
        assert!(drawn.contains("a&lt;b") && !drawn.contains("NaN"), "{drawn}");
    }
}
