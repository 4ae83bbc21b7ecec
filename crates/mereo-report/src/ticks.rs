//! Where an axis has its ticks, and how a number is written beside one.

/// How numbers are laid out along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps.
    Linear,
    /// Equal factors; only numbers above zero have a place.
    Log,
}

/// What the numbers of an axis count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Plain numbers.
    Plain,
    /// Seconds, written in ms, s or min.
    Seconds,
    /// Shares of one, written as percentages.
    Share,
}

/// The ends of an axis and its ticks, all finite, `low < high`.
#[derive(Debug, Clone, PartialEq)]
pub struct Ticks {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Where the ticks are, rising, within the ends.
    pub at: Vec<f64>,
}

impl Ticks {
    /// An axis that shows all of `values` that have a place on its scale.
    pub fn of(values: impl Iterator<Item = f64>, scale: Scale) -> Self {
        let fits = |v: &f64| v.is_finite() && (scale == Scale::Linear || *v > 0.0);
        let (low, high) = values.filter(fits).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        match scale {
            Scale::Linear => linear(low, high),
            Scale::Log => log(low, high),
        }
    }

    /// The same ticks on an axis that ends where the values end.
    pub fn tight(mut self, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) =
            values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if high - low > (self.high - self.low) * 1e-6 {
            (self.low, self.high) = (low.max(self.low), high.min(self.high));
            self.at.retain(|v| *v >= self.low && *v <= self.high);
        }
        self
    }

    /// Where `v` lies between the ends, 0 to 1; `None` if it has no place.
    pub fn place(&self, v: f64, scale: Scale) -> Option<f64> {
        let share = match scale {
            Scale::Linear => (v - self.low) / (self.high - self.low),
            Scale::Log if v > 0.0 => (v / self.low).log10() / (self.high / self.low).log10(),
            Scale::Log => return None,
        };
        // Beyond the ends only by rounding, or where the ends stop at 1e±300.
        share.is_finite().then(|| share.clamp(0.0, 1.0))
    }
}

/// About five round steps (1, 2 or 5 times a power of ten) that cover `low..high`.
fn linear(low: f64, high: f64) -> Ticks {
    let (low, high) = widened(low, high);
    let rough = (high - low) / 4.5;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough * 0.999).unwrap_or(10.0 * power);
    let (first, last) = ((low / step + 1e-6).floor(), (high / step - 1e-6).ceil());
    let at = (0..=(last - first).clamp(0.0, 20.0) as usize).map(|i| tidy((first + i as f64) * step, step)).collect();
    Ticks { low: first * step, high: last * step, at }
}

/// Ends apart even where all values are the same, or there are none.
fn widened(low: f64, high: f64) -> (f64, f64) {
    if low > high {
        return (0.0, 1.0);
    }
    let (low, high) = (low.clamp(-1e300, 1e300), high.clamp(-1e300, 1e300));
    let least = low.abs().max(high.abs()) * 1e-9;
    if high - low > least {
        return (low, high);
    }
    let by = if low == 0.0 { 0.5 } else { low.abs() * 0.1 };
    (low - by, high + by)
}

/// Exactly the number that a person would write: 0.30000000000000004 is 0.3.
fn tidy(v: f64, step: f64) -> f64 {
    let decimals = (1.0 - step.log10()).ceil();
    if (0.0..=12.0).contains(&decimals) {
        let scale = 10f64.powf(decimals);
        (v * scale).round() / scale
    } else {
        v
    }
}

/// Powers of ten, with 2 and 5 times them where the axis is short, and round steps where it is shorter still.
fn log(low: f64, high: f64) -> Ticks {
    if low > high {
        return Ticks { low: 0.1, high: 1.0, at: vec![0.1, 1.0] };
    }
    let (low, high) = (low.clamp(1e-300, 1e300), high.clamp(1e-300, 1e300));
    let (low, high) = if high / low < 1.05 { (low / 1.5, high * 1.5) } else { (low, high) };
    let room = (high / low).powf(0.03);
    let (low, high) = (low / room, high * room);
    let decades = (high / low).log10();
    let (from, to) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let inside = |v: &f64| *v >= low * 0.999_999 && *v <= high * 1.000_001;
    let power = |e: i32| format!("1e{e}").parse::<f64>().unwrap_or(f64::MAX);
    let marks: &[f64] = if decades <= 2.2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let every = ((decades / 6.5).ceil() as i32).max(1);
    let at: Vec<f64> = (from..=to)
        .filter(|e| e.rem_euclid(every) == 0)
        .flat_map(|e| marks.iter().map(move |m| m * power(e)))
        .filter(inside)
        .collect();
    if at.len() >= 2 {
        return Ticks { low, high, at };
    }
    let at = linear(low, high).at.into_iter().filter(inside).collect();
    Ticks { low, high, at }
}

/// A number as it stands beside a tick or in a table: three significant digits, no raw NaN or infinity.
pub fn number(v: f64) -> String {
    if v.is_nan() {
        return "–".into();
    }
    if v.is_infinite() {
        return if v > 0.0 { "∞".into() } else { "−∞".into() };
    }
    let size = v.abs();
    if size == 0.0 {
        return "0".into();
    }
    if !(1e-4..1e6).contains(&size) {
        return scientific(v);
    }
    let decimals = (2 - size.log10().floor() as i32).clamp(0, 6) as usize;
    let written = format!("{size:.decimals$}");
    let written = if written.contains('.') { written.trim_end_matches('0').trim_end_matches('.').to_string() } else { written };
    let (whole, rest) = written.split_once('.').map_or((written.as_str(), String::new()), |(w, r)| (w, format!(".{r}")));
    format!("{}{}{rest}", if v < 0.0 { "−" } else { "" }, grouped(whole))
}

/// A whole number with commas between thousands.
pub fn whole(n: usize) -> String {
    grouped(&n.to_string())
}

fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

fn scientific(v: f64) -> String {
    let written = format!("{:.2e}", v.abs());
    let (digits, power) = written.split_once('e').unwrap_or((&written, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    let raised: String = power
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            d => char::from_u32('⁰' as u32 + d.to_digit(10).unwrap_or(0)).unwrap_or('⁰'),
        })
        .collect();
    let times = if digits == "1" { String::new() } else { format!("{digits}×") };
    format!("{}{times}10{raised}", if v < 0.0 { "−" } else { "" })
}

/// A number of seconds in the unit that keeps it short.
pub fn seconds(v: f64) -> String {
    match v {
        v if !v.is_finite() => number(v),
        0.0 => "0 s".into(),
        v if v < 0.000_999_5 => format!("{} µs", number(v * 1e6)),
        v if v < 0.9995 => format!("{} ms", number(v * 1e3)),
        v if v < 119.5 => format!("{} s", number(v)),
        v if v < 7170.0 => format!("{} min", number(v / 60.0)),
        v => format!("{} h", number(v / 3600.0)),
    }
}

/// A share of one as a percentage.
pub fn share(v: f64) -> String {
    if v.is_finite() { format!("{} %", number(v * 100.0)) } else { number(v) }
}

impl Unit {
    /// A number of this unit, written.
    pub fn write(self, v: f64) -> String {
        match self {
            Self::Plain => number(v),
            Self::Seconds => seconds(v),
            Self::Share => share(v),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_ticks_are_round_and_cover() {
        let t = Ticks::of([0.07, 0.93].into_iter(), Scale::Linear);
        assert_eq!((t.low, t.high, t.at.clone()), (0.0, 1.0, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]));
        assert_eq!(Ticks::of([-3.0, 3.0].into_iter(), Scale::Linear).at, vec![-4.0, -2.0, 0.0, 2.0, 4.0]);
        assert_eq!(Ticks::of([1012.0, 1017.0].into_iter(), Scale::Linear).at[0], 1012.0);
    }

    #[test]
    fn degenerate_ranges_have_sane_axes() {
        let cases: [&[f64]; 9] = [
            &[],
            &[0.0],
            &[5.0],
            &[-5.0, -5.0],
            &[f64::NAN, f64::INFINITY],
            &[1e-320],
            &[1e308, -1e308],
            &[1.0, 1.0 + 1e-15],
            &[f64::NAN, 3.0],
        ];
        for scale in [Scale::Linear, Scale::Log] {
            for values in cases {
                let t = Ticks::of(values.iter().copied(), scale);
                assert!(t.low.is_finite() && t.high.is_finite() && t.low < t.high, "{values:?} {scale:?} {t:?}");
                assert!(!t.at.is_empty() && t.at.len() < 20, "{values:?} {scale:?} {t:?}");
                assert!(t.at.iter().all(|v| v.is_finite()) && t.at.windows(2).all(|w| w[0] < w[1]), "{values:?} {scale:?} {t:?}");
                for v in values.iter().filter(|v| v.is_finite() && (scale == Scale::Linear || **v > 1e-300)) {
                    let p = t.place(*v, scale).expect("a place");
                    assert!((-1e-6..=1.000_001).contains(&p), "{v} at {p} of {t:?}");
                }
            }
        }
    }

    #[test]
    fn log_ticks_are_decades_or_their_halves() {
        assert_eq!(Ticks::of([0.001, 10.0].into_iter(), Scale::Log).at, vec![0.001, 0.01, 0.1, 1.0, 10.0]);
        assert_eq!(Ticks::of([1.0, 10.0].into_iter(), Scale::Log).at, vec![1.0, 2.0, 5.0, 10.0]);
        let long = Ticks::of([1e-20, 1.0].into_iter(), Scale::Log).at;
        assert!(long.len() <= 7 && long.contains(&1.0), "{long:?}");
        let short = Ticks::of([0.058, 0.079].into_iter(), Scale::Log).at;
        assert!(short.len() >= 3 && short[0] >= 0.057, "{short:?}");
    }

    #[test]
    fn zero_has_no_place_on_a_log_axis() {
        let t = Ticks::of([0.0, 1.0, 100.0].into_iter(), Scale::Log);
        assert!(t.low > 0.5 && t.place(0.0, Scale::Log).is_none() && t.place(f64::NAN, Scale::Linear).is_none());
    }

    #[test]
    fn numbers_are_written_for_people() {
        let written = [0.0, 0.0589, 1234.5, 12345.0, 0.1, 1e-5, -2.5e7, 1e6, 999_999.0, f64::NAN, f64::NEG_INFINITY].map(number);
        assert_eq!(written, ["0", "0.0589", "1,234", "12,345", "0.1", "10⁻⁵", "−2.5×10⁷", "10⁶", "999,999", "–", "−∞"]);
        assert_eq!(
            [0.0, 0.000_02, 0.0104, 1.5, 90.0, 600.0].map(seconds),
            ["0 s", "20 µs", "10.4 ms", "1.5 s", "90 s", "10 min"]
        );
        assert_eq!([0.5, 0.0001, 1.0, f64::NAN].map(share), ["50 %", "0.01 %", "100 %", "–"]);
        assert_eq!(whole(1_234_567), "1,234,567");
    }
}
