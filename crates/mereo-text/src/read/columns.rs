//! A column put together cell by cell, and of what kind it turns out to be.

use super::Column;

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Missing,
    Bool(bool),
    Number(f64),
    Text(String),
}

impl Cell {
    /// What a cell of a file without types says.
    pub fn guess(text: &str) -> Self {
        let t = text.trim();
        match t {
            "" => Self::Missing,
            "true" | "True" | "TRUE" => Self::Bool(true),
            "false" | "False" | "FALSE" => Self::Bool(false),
            // A zero before other digits makes it a number of an account or an article: 0704.0001 must keep it.
            _ => match t.parse() {
                Ok(v) if number(t) => Self::Number(v),
                _ => Self::Text(text.to_owned()),
            },
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Self::Missing => None,
            Self::Bool(b) => Some(b.to_string()),
            Self::Number(v) => Some(v.to_string()),
            Self::Text(t) => Some(t),
        }
    }
}

/// Whether digits are a number rather than a name: no leading zeros, and not a word such as "inf".
fn number(t: &str) -> bool {
    let digits = t.trim_start_matches(['-', '+']);
    let zero = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
    !zero && (digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') || digits.eq_ignore_ascii_case("nan"))
}

/// A column of one kind, if all cells that are there are of it, else of texts. `raw` gives a cell as it was written.
pub(super) fn column(cells: Vec<Cell>, raw: impl Fn(usize) -> Option<String>) -> Column {
    let all = |is: fn(&Cell) -> bool| cells.iter().all(|c| *c == Cell::Missing || is(c));
    let some = cells.iter().any(|c| *c != Cell::Missing);
    if some && all(|c| matches!(c, Cell::Bool(_))) {
        return Column::Bool(cells.iter().map(|c| if let Cell::Bool(b) = c { Some(*b) } else { None }).collect());
    }
    if some && all(|c| matches!(c, Cell::Number(_))) {
        return Column::Number(cells.iter().map(|c| if let Cell::Number(v) = c { *v } else { f64::NAN }).collect());
    }
    Column::Text(
        cells.into_iter().enumerate().map(|(i, c)| if c == Cell::Missing { None } else { raw(i).or_else(|| c.text()) }).collect(),
    )
}
