//! One sparse autoencoder for each line of standard input, on the matrix of a file, timed: the other side of `bench/sae.py`. A line holds the
//! parameters as JSON; a third path is a folder where the first decoder and bias are written. The answer is seconds, the loss of every pass, and, of the rows of a second file, the share of variance left
//! unexplained, latents alive on a row, and those alive on none.

use mereo::fold::{Method, Options, Shape, fit};
use mereo::source::{Memory, Open, open};
use mereo::{Codes, Mat, Model, Sae, export, fold, measure};
use std::io::BufRead;
use std::time::Instant;

fn main() -> mereo::Result<()> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let read = |path: &String| -> mereo::Result<Mat> { fold::collect(open(path.as_ref(), &Open::default())?.source.as_ref()) };
    let (x, test) = (read(&paths[0])?, read(paths.get(1).unwrap_or(&paths[0]))?);
    let start_at = paths.get(2).map(std::path::PathBuf::from);
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| mereo::Error::io("stdin", e))?;
        let sae: Sae = serde_json::from_str(&line).map_err(|e| mereo::Error::parameter(e.to_string()))?;
        if let Some(path) = &start_at {
            // Where the fit begins, for the other side to begin from.
            let (source, shape) = (Memory::from(&x), Shape { rows: x.rows, cols: x.cols });
            let sample = fold::draw(&source, sae.sample(shape), sae.seed)?;
            let begun = sae.model(sae.init(&sample, shape, 0)?)?;
            export::write_mat(&path.join("decoder.npy"), &begun.atoms)?;
            export::write_mat(&path.join("bias.npy"), &Mat::new(1, x.cols, begun.bias)?)?;
        }
        let start = Instant::now();
        let fitted = fit(&sae, &Memory::from(&x), Options::default())?;
        let seconds = start.elapsed().as_secs_f64();
        let curve: Vec<(f64, f64)> = fitted.curve.iter().map(|p| (p.seconds, p.loss)).collect();
        let model = &fitted.model;
        let fvu = measure::errors(model, &Memory::from(&test))?.fvu;
        let mut alive = vec![0u64; model.atoms().rows];
        if let Codes::Sparse(z) = model.encode(&test.view())? {
            z.indices.iter().for_each(|j| alive[*j as usize] += 1);
        }
        let l0 = alive.iter().sum::<u64>() as f64 / test.rows as f64;
        let dead = model.density.iter().filter(|d| **d == 0.0).count();
        let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = memory.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        println!(
            "{}",
            serde_json::json!({ "seconds": seconds, "curve": curve, "fvu": fvu, "l0": l0, "dead": dead, "memory": memory.map(|kb| kb * 1024) })
        );
    }
    Ok(())
}
