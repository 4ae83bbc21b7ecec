//! Which rows are used, which of those are fitted and which are held out.

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::{show, stop};
use mereo::fold::stream;
use mereo::rng::rng;
use mereo::source::{self, Odd, Source, Subset};

/// What becomes of rows of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Rows {
    /// They are rows like others
    Keep,
    /// They are left out, and counted
    Skip,
    /// They end the command, which says how many there are
    Refuse,
}

/// Flags about rows that hold nothing, or what is no number.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Usable {
    /// Rows whose numbers are all 0: keep them, skip them, or refuse the data.
    #[arg(long, value_name = "WHAT", default_value = "keep")]
    pub zero_rows: Rows,
    /// Rows with a NaN or an infinity: skip them, or refuse the data; keep leaves it to the method, which may know missing entries.
    #[arg(long, value_name = "WHAT", default_value = "keep")]
    pub nonfinite_rows: Rows,
}

impl Usable {
    /// The rows to use, unless it is all of them.
    pub fn of<'a>(self, source: &'a dyn Source, global: &Global) -> Result<Option<Subset<'a>>> {
        if (self.zero_rows, self.nonfinite_rows) == (Rows::Keep, Rows::Keep) {
            return Ok(None);
        }
        let odd = Odd::of(source).map_err(|e| stop::or(e, "nothing was written"))?;
        let n = source::count(source);
        let mut left_out = Vec::new();
        for (rows, what, kind, flag) in [
            (odd.zero, self.zero_rows, "hold nothing but zeros", "--zero-rows"),
            (odd.nonfinite, self.nonfinite_rows, "hold a NaN or an infinity", "--nonfinite-rows"),
        ] {
            let (Some(first), false) = (rows.first(), what == Rows::Keep) else { continue };
            let count = format!("{} of {} rows {kind}", show::count(rows.len()), show::count(n));
            if what == Rows::Refuse {
                let line = format!("{count}, the first of them row {first} (counted from 0); {flag} skip leaves them out");
                return Err(mereo::Error::data(line).into());
            }
            global.say(format_args!("note: {count}; they are left out"));
            left_out.extend(rows);
        }
        if left_out.is_empty() {
            return Ok(None);
        }
        left_out.sort_unstable();
        let rows: Vec<usize> = (0..n).filter(|i| left_out.binary_search(i).is_err()).collect();
        if rows.is_empty() {
            return Err(mereo::Error::data(format!("all {n} rows are left out; there is nothing to fit")).into());
        }
        Ok(Some(Subset::new(source, rows)?))
    }
}

/// A part of the rows, as typed: `0.2`, `20%` or `500`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Portion {
    /// A share between 0 and 1.
    Share(f64),
    /// A number of rows.
    Count(usize),
}

impl std::str::FromStr for Portion {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || "write a share such as 0.2 or 20%, or a number of rows such as 500".to_string();
        if let Ok(count) = text.parse::<usize>() {
            return if count > 0 { Ok(Self::Count(count)) } else { Err(wrong()) };
        }
        let share = match text.strip_suffix('%') {
            Some(percent) => percent.parse::<f64>().map(|p| p / 100.0),
            None => text.parse(),
        };
        match share {
            Ok(share) if share > 0.0 && share < 1.0 => Ok(Self::Share(share)),
            _ => Err(wrong()),
        }
    }
}

/// Rows to hold out, as typed: a [`Portion`], or `0` for none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeldOut(Option<Portion>);

impl std::str::FromStr for HeldOut {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.trim() {
            "0" | "0%" | "0.0" | "none" => Ok(Self(None)),
            some => some.parse().map(|p| Self(Some(p))).map_err(|e: String| format!("{e}, or 0 for none")),
        }
    }
}

impl Portion {
    fn of(self, n: usize) -> usize {
        match self {
            Self::Count(count) => count,
            // At least one row, and never all of them.
            Self::Share(share) => ((share * n as f64).round() as usize).clamp(1, n.saturating_sub(1).max(1)),
        }
    }
}

/// Rows to fit and rows held out, ascending and without a row in both; `None` where all rows are fitted. Rows held out are empty
/// where `test` says so.
pub fn split(n: usize, train: Option<Portion>, test: Option<HeldOut>, seed: u64) -> Result<Option<(Vec<usize>, Vec<usize>)>> {
    let none = test == Some(HeldOut(None));
    if train.is_none() && (test.is_none() || none) {
        return Ok(None);
    }
    let (a, b) = (train.map(|p| p.of(n)), test.map(|HeldOut(p)| p.map_or(0, |p| p.of(n))));
    let held = b.unwrap_or_else(|| n.saturating_sub(a.unwrap_or(0)));
    let fitted = a.unwrap_or_else(|| n.saturating_sub(held));
    if fitted == 0 || (held == 0 && !none) || fitted.saturating_add(held) > n {
        let rows = if n == 1 { "1 row".into() } else { format!("{n} rows") };
        return Err(Failure::usage(format!(
            "{rows} can't be split into {fitted} to fit and {held} to hold out; lower --train or --test (--test 0 holds none out)"
        )));
    }
    let test = rng(seed, stream::SPLIT, 0).choose(n, held);
    let mut out = test.iter().copied().peekable();
    let rest: Vec<usize> = (0..n).filter(|&i| out.next_if_eq(&i).is_none()).collect();
    let picked = rng(seed, stream::SPLIT, 1).choose(rest.len(), fitted);
    Ok(Some((picked.into_iter().map(|i| rest[i]).collect(), test)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(portion: Portion) -> HeldOut {
        HeldOut(Some(portion))
    }

    #[test]
    fn portions_are_read_as_written() {
        assert_eq!("0.2".parse(), Ok(Portion::Share(0.2)));
        assert_eq!("20%".parse(), Ok(Portion::Share(0.2)));
        assert_eq!("500".parse(), Ok(Portion::Count(500)));
        for bad in ["0", "1.5", "-1", "0%", "100%", "x", "nan", ""] {
            assert!(bad.parse::<Portion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn none_may_be_held_out() {
        for none in ["0", "0%", "0.0", "none"] {
            let none = none.parse().expect("none");
            assert_eq!(split(10, None, Some(none), 3).expect("all"), None);
            let (train, test) = split(10, Some(Portion::Count(4)), Some(none), 3).expect("split").expect("some rows");
            assert_eq!((train.len(), test.len()), (4, 0));
            assert!(
                split(10, Some(Portion::Count(10)), Some(none), 3).expect("split").is_some_and(|(train, _)| train.len() == 10)
            );
        }
        assert_eq!("0.25".parse(), Ok(HeldOut(Some(Portion::Share(0.25)))));
        assert!("1.5".parse::<HeldOut>().is_err());
    }

    #[test]
    fn every_row_is_on_one_side_only() {
        let (train, test) = split(100, None, Some(held(Portion::Share(0.2))), 7).expect("split").expect("two sides");
        assert_eq!((train.len(), test.len()), (80, 20));
        let mut all = [train, test.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        let (few, same) =
            split(100, Some(Portion::Count(10)), Some(held(Portion::Share(0.2))), 7).expect("split").expect("two sides");
        assert_eq!((few.len(), same), (10, test), "what is held out does not depend on how much is fitted");
        let (_, rest) = split(100, Some(Portion::Count(10)), None, 7).expect("split").expect("two sides");
        assert_eq!(rest.len(), 90);
    }

    #[test]
    fn too_few_rows_are_refused() {
        assert!(split(10, Some(Portion::Count(8)), Some(held(Portion::Count(3))), 0).is_err());
        assert!(split(10, Some(Portion::Count(10)), None, 0).is_err());
        assert!(split(1, None, Some(held(Portion::Share(0.5))), 0).is_err());
        assert_eq!(split(10, None, None, 0).expect("all"), None);
    }
}
