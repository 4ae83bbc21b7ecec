//! The mereo side of `bench/dynamics.py`: online descent of one sample a step, and the equations, for one JSON request a line.
//!
//! `{"folder": ".", "d": 500, "k": 2, "eta": 0.4, "until": 2000, "points": 40, "seed": 0, "threads": 1}` writes the first weights and the axes of the data to the folder
//! as f64 numbers, runs, and answers `{"seconds": …, "steps": …, "s": [...], "error": [...], "theory": [...], "shares": [...]}`.

use mereo::dynamics::{Dynamics, Input, Path, Population, integrate, simulate};
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::ops::ControlFlow;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line?)?;
        let number = |name: &str| asked[name].as_f64().unwrap_or(0.0);
        let how = Dynamics {
            k: number("k") as usize,
            eta: number("eta"),
            until: number("until"),
            points: number("points") as usize,
            seed: number("seed") as u64,
            ..Dynamics::default()
        };
        let data = Population::spectrum(number("d"), &[25.0 / 35.0, 9.0 / 35.0], 1.0 / 35.0, how.seed)?;
        let start = how.start(&data)?;
        if let Some(folder) = asked["folder"].as_str() {
            for (name, numbers) in [("w", &start.w[..]), ("v", &start.v), ("axes", data.axes())] {
                let bytes: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
                std::fs::write(std::path::Path::new(folder).join(name), bytes)?;
            }
        }
        let go = &mut |_: &_| ControlFlow::Continue(());
        let run = simulate(&how, &data, Input::Gaussian, &start, go)?;
        let theory = integrate(&how, &data, &start, go)?;
        let errors = |p: &Path| p.points.iter().map(|p| p.error).collect::<Vec<_>>();
        let answer = json!({
            "seconds": run.seconds,
            "steps": run.steps,
            "s": run.points.iter().map(|p| p.s).collect::<Vec<_>>(),
            "error": errors(&run),
            "theory": errors(&theory),
            "theory_s": theory.points.iter().map(|p| p.s).collect::<Vec<_>>(),
            "theory_seconds": theory.seconds,
            "shares": data.shares(),
            "bulk": data.bulk(),
        });
        writeln!(std::io::stdout(), "{answer}")?;
    }
    Ok(())
}
