//! How results and the story look: plain aligned tables and JSON on standard output, lines on standard error.

use crate::failure::Result;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::Serialize;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};

/// One line of the story, on standard error; lost in silence where nobody listens.
pub fn say(line: fmt::Arguments) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Text of the result, on standard output.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// The result as one JSON document on standard output.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| crate::failure::Failure::other(format!("JSON: {e}")))?;
    print(&(text + "\n"))
}

/// A table with a header; all columns but those named in `left` are aligned to the right.
pub fn table(header: &[&str], rows: &[Vec<String>], left: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row.clone());
    }
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        column.set_cell_alignment(if left.contains(&i) { CellAlignment::Left } else { CellAlignment::Right });
    }
    trimmed(&table)
}

/// Names and values, one pair a line.
pub fn pairs(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:<width$}  {value}").trim_end().to_string() + "\n").collect()
}

fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_string() + "\n").collect()
}

/// Four significant digits, short: `0.05893`, `12.34`, `1.234e-7`, `0`.
pub fn number(v: f64) -> String {
    if v == 0.0 {
        return "0".into();
    }
    // The power of ten after rounding: 0.99999 is 1.000.
    let rounded = format!("{v:.3e}");
    match rounded.split_once('e').and_then(|(_, power)| power.parse::<i32>().ok()) {
        Some(power @ -4..=6) => format!("{v:.*}", (3 - power).max(0) as usize),
        Some(_) => rounded,
        None => v.to_string(),
    }
}

/// A count in groups of three: `1,234,567`.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A duration, short: `45 ms`, `3.2 s`, `4 min 05 s`, `2 h 10 min`.
pub fn seconds(s: f64) -> String {
    match s {
        s if !s.is_finite() => "?".into(),
        s if s < 0.0995 => format!("{:.0} ms", s * 1e3),
        s if s < 99.95 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), (s % 60.0).floor()),
        s => format!("{:.0} h {:02.0} min", (s / 3600.0).floor(), (s % 3600.0 / 60.0).floor()),
    }
}

/// A number of bytes, short: `812 B`, `1.2 MB`.
pub fn bytes(n: u64) -> String {
    let (v, unit) = match n {
        0..1000 => return format!("{n} B"),
        1000..1_000_000 => (n as f64 / 1e3, "kB"),
        1_000_000..1_000_000_000 => (n as f64 / 1e6, "MB"),
        _ => (n as f64 / 1e9, "GB"),
    };
    format!("{v:.1} {unit}")
}

/// The command as a shell would take it.
pub fn typed(args: impl Iterator<Item = OsString>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:%+@".contains(c);
    let quoted = args.skip(1).map(|a| {
        let a = a.to_string_lossy().into_owned();
        if !a.is_empty() && a.chars().all(plain) { a } else { format!("'{}'", a.replace('\'', "'\\''")) }
    });
    std::iter::once("mereo".to_string()).chain(quoted).collect::<Vec<_>>().join(" ")
}

/// Counts as a line of blocks; a count of 0 is a blank.
pub fn bars(counts: &[u64]) -> String {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    // Roots, so that the few can be seen beside the many.
    let height = |n: u64| ((n as f64 / most as f64).sqrt() * 8.0).ceil() as usize;
    counts.iter().map(|&n| BLOCKS[height(n).min(8)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_with_roots() {
        // Roots of 0, 1/64, 1/4, 9/16 and 1 are 0, 1, 4, 6 and 8 eighths.
        assert_eq!(bars(&[0, 1, 16, 36, 64]), " ▁▄▆█");
        assert_eq!((bars(&[0, 0]), bars(&[])), ("  ".to_string(), String::new()));
    }

    #[test]
    fn the_command_can_be_pasted_into_a_shell() {
        let words = ["mereo", "compare", "my data.npy", "--prep=unit-norm", "it's", ""].map(OsString::from);
        assert_eq!(typed(words.into_iter()), r"mereo compare 'my data.npy' --prep=unit-norm 'it'\''s' ''");
    }

    #[test]
    fn numbers_keep_four_digits() {
        let shown: Vec<String> =
            [0.058_932, 12.3456, 1.0, 123_456.0, 1.234_567e-7, 0.0, -0.5, 9.999_96].iter().map(|&v| number(v)).collect();
        assert_eq!(shown, ["0.05893", "12.35", "1.000", "123456", "1.235e-7", "0", "-0.5000", "10.00"]);
        assert_eq!((count(1_234_567), count(999)), ("1,234,567".to_string(), "999".to_string()));
    }

    #[test]
    fn durations_and_sizes() {
        assert_eq!([0.0451, 3.21, 245.4, 7801.0].map(seconds), ["45 ms", "3.2 s", "4 min 05 s", "2 h 10 min"]);
        assert_eq!([812, 1_234_567].map(bytes), ["812 B", "1.2 MB"]);
    }

    #[test]
    fn tables_align() {
        let text = table(&["", "RMSE"], &[vec!["train".into(), "0.1".into()], vec!["held out".into(), "12".into()]], &[0]);
        assert_eq!(text, "          RMSE\ntrain      0.1\nheld out    12\n");
    }
}
