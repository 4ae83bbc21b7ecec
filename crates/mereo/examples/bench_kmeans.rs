//! Times one k-means fit on a float32 .npy of a matrix, for `bench/kmeans.py`.
//!
//! `bench_kmeans DATA.npy K OUT.npy [MAX_PASSES] [SEED] [TOL]` prints one line of JSON: seconds, passes, loss; the centres go to OUT.npy.
//! The file is read before the clock starts.

use mereo::fold::{Options, fit};
use mereo::source::Memory;
use mereo::{Mat, Vq};
use std::ops::ControlFlow;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, data, k, out, rest @ ..] = args.as_slice() else {
        return Err("bench_kmeans DATA.npy K OUT.npy [MAX_PASSES] [SEED] [TOL]".into());
    };
    let x = read(data)?;
    let number = |i: usize, or: f64| rest.get(i).map_or(Ok(or), |v| v.parse::<f64>());
    let method = Vq {
        k: k.parse()?,
        max_passes: number(0, 300.0)? as usize,
        seed: number(1, 0.0)? as u64,
        tol: number(2, 1e-4)?,
        ..Vq::default()
    };
    let started = Instant::now();
    let cpu = cpu_seconds();
    let verbose = std::env::var_os("VERBOSE").is_some();
    let mut before = 0.0;
    let mut first = 0.0;
    let mut watch = |p: &mereo::fold::Pass, _| {
        if p.pass == 1 {
            first = p.seconds;
        }
        if verbose {
            eprintln!("{} {:.4} s {}", p.pass, p.seconds - before, p.loss);
        }
        before = p.seconds;
        ControlFlow::Continue(())
    };
    let fitted = fit(&method, &Memory::from(&x), Options { watch: Some(&mut watch), ..Options::default() })?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{{\"seconds\": {seconds}, \"cpu\": {}, \"first\": {first}, \"passes\": {}, \"inertia\": {}, \"stop\": \"{:?}\"}}",
        cpu_seconds() - cpu,
        fitted.curve.len(),
        fitted.model.inertia,
        fitted.stop
    );
    write(out, &fitted.model.atoms)
}

/// Seconds of processor time of this process so far, all threads; 0 where the system does not say.
fn cpu_seconds() -> f64 {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return 0.0 };
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|v| v.parse::<f64>().ok()).unwrap_or(0.0);
    // User and system time, in hundredths of a second.
    (ticks(11) + ticks(12)) / 100.0
}

/// A matrix of little-endian float32 in row order.
fn read(path: &str) -> Result<Mat, Box<dyn std::error::Error>> {
    let bytes = std::fs::read(path)?;
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..10 + header]);
    if !text.contains("'<f4'") || !text.contains("'fortran_order': False") {
        return Err(format!("{path} is not float32 in row order: {text}").into());
    }
    let inside = text.split('(').nth(1).and_then(|t| t.split(')').next()).ok_or("no shape")?;
    let shape: Vec<usize> = inside.split(',').filter_map(|v| v.trim().parse().ok()).collect();
    let [rows, cols] = shape[..] else { return Err("not a matrix".into()) };
    let data = bytes[10 + header..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Ok(Mat::new(rows, cols, data)?)
}

fn write(path: &str, m: &Mat) -> Result<(), Box<dyn std::error::Error>> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", m.rows, m.cols);
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(m.data.iter().flat_map(|v| v.to_le_bytes()));
    Ok(std::fs::write(path, bytes)?)
}
