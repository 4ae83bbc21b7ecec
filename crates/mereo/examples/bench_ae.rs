//! One autoencoder for each line of standard input, on the matrix of a file, timed: the other side of `bench/ae.py`. A line holds the
//! parameters as JSON; the answer is seconds, the loss of every pass, and the mean squared error of the model.

use mereo::fold::{Options, fit};
use mereo::source::{Memory, Open, open};
use mereo::{Ae, Mat, fold, measure};
use std::io::BufRead;
use std::time::Instant;

fn main() -> mereo::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_default();
    let opened = open(path.as_ref(), &Open::default())?;
    let x: Mat = fold::collect(opened.source.as_ref())?;
    let source = Memory::from(&x);
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| mereo::Error::io(&path, e))?;
        let ae: Ae = serde_json::from_str(&line).map_err(|e| mereo::Error::parameter(e.to_string()))?;
        let start = Instant::now();
        let fitted = fit(&ae, &source, Options::default())?;
        let seconds = start.elapsed().as_secs_f64();
        let curve: Vec<(f64, f64)> = fitted.curve.iter().map(|p| (p.seconds, p.loss)).collect();
        let mse = measure::errors(&fitted.model, &source)?.rmse.powi(2);
        println!("{}", serde_json::json!({ "seconds": seconds, "curve": curve, "mse": mse }));
    }
    Ok(())
}
