//! The worker of `bench/nmf.py`: holds one matrix in memory and fits it whenever a line on stdin asks for it; only the fit is timed.
//!
//! Usage: `bench_nmf X.npy` (or the `.npz` of a CSR matrix) with one JSON object a line on stdin: `{"nmf": PARAMETERS, "until": LOSS}`. The
//! parameters are the fields of `Nmf`; a fit ends early once its loss (a mean over entries) is no more than `until`. After each
//! fit one line of JSON: seconds, the curve as [seconds, loss], and why it ended. Threads: `RAYON_NUM_THREADS`.

use mereo::source::{Open, open};
use mereo::{Error, Nmf, Result, fold};
use serde::Deserialize;
use std::io::{BufRead, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

#[derive(Deserialize)]
struct Asked {
    nmf: Nmf,
    #[serde(default)]
    until: f64,
}

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| Error::parameter("usage: bench_nmf X.npy"))?;
    let data = open(Path::new(&path), &Open::default())?;
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| Error::io("stdin", e))?;
        let Asked { nmf, until } = serde_json::from_str(&line).map_err(|e| Error::parameter(e.to_string()))?;
        let start = Instant::now();
        let mut watch =
            |pass: &fold::Pass, _| if pass.loss <= until { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let options = fold::Options { watch: Some(&mut watch), ..fold::Options::default() };
        let fitted = fold::fit(&nmf, data.source.as_ref(), options)?;
        let seconds = start.elapsed().as_secs_f64();
        let curve: Vec<[f64; 2]> = fitted.curve.iter().map(|p| [p.seconds, p.loss]).collect();
        let said = serde_json::json!({"seconds": seconds, "curve": curve, "stop": fitted.stop});
        writeln!(out, "{said}").and_then(|()| out.flush()).map_err(|e| Error::io("stdout", e))?;
    }
    Ok(())
}
