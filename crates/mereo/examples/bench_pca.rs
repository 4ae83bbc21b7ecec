//! The worker of `bench/pca.py`: holds one array in memory, fits it whenever a line on stdin asks for it, and times the fit alone.
//!
//! Usage: `bench_pca X.npy` with lines `SOLVER K POWER AXES.npy` on stdin (`covariance`, `randomized` or `auto`); after each fit one line of
//! JSON on stdout, and the axes in `AXES.npy`. Threads: `RAYON_NUM_THREADS`.

use mereo::source::Memory;
use mereo::{Error, Mat, Pca, PcaSolver, Result, fold};
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| Error::parameter("usage: bench_pca X.npy"))?;
    let x = read(Path::new(&path))?;
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| Error::io("stdin", e))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [solver, k, power, axes] = words[..] else {
            return Err(Error::parameter(format!("not `SOLVER K POWER AXES.npy`: {line}")));
        };
        let number = |s: &str| s.parse().map_err(|_| Error::parameter(format!("not a number: {s}")));
        let solver = match solver {
            "covariance" => PcaSolver::Covariance,
            "randomized" => PcaSolver::Randomized,
            _ => PcaSolver::Auto,
        };
        let pca = Pca { k: number(k)?, power: number(power)?, solver, ..Pca::default() };
        let start = Instant::now();
        let fitted = fold::fit(&pca, &Memory::from(&x), fold::Options::default())?;
        let seconds = start.elapsed().as_secs_f64();
        let ratio: f64 = fitted.model.explained_variance_ratio().iter().sum();
        write_npy(Path::new(axes), &fitted.model.axes)?;
        let passes = fitted.curve.len();
        writeln!(out, "{{\"seconds\": {seconds}, \"ratio\": {ratio}, \"passes\": {passes}}}")
            .and_then(|()| out.flush())
            .map_err(|e| Error::io("stdout", e))?;
    }
    Ok(())
}

/// Just enough of npy version 1: little-endian f32, C order, two axes, as `numpy.save` writes them.
fn read(path: &Path) -> Result<Mat> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let wrong = || Error::format(path, "not an npy file of little-endian f32 in C order with two axes");
    let length = usize::from(u16::from_le_bytes([*bytes.get(8).ok_or_else(wrong)?, *bytes.get(9).ok_or_else(wrong)?]));
    let header = std::str::from_utf8(bytes.get(10..10 + length).ok_or_else(wrong)?).map_err(|_| wrong())?;
    let shape = header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')')).ok_or_else(wrong)?.0;
    let shape: Vec<usize> = shape.split(',').filter_map(|s| s.trim().parse().ok()).collect();
    let ([rows, cols], true, true) = (&shape[..], header.contains("'<f4'"), header.contains("'fortran_order': False")) else {
        return Err(wrong());
    };
    let data = bytes[10 + length..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Mat::new(*rows, *cols, data)
}

fn write_npy(path: &Path, m: &Mat) -> Result<()> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", m.rows, m.cols);
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(m.data.iter().flat_map(|v| v.to_le_bytes()));
    std::fs::write(path, bytes).map_err(|e| Error::io(path, e))
}
