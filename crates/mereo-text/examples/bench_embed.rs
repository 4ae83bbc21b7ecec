//! Embeds texts for `bench/embed.py`: MODEL TEXTS.jsonl OUT.f32 REPEATS, each text in the field `text`. Prints the seconds of each run.

use mereo_text::{Reading, open, read};
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts, out, repeats] = args.as_slice() else {
        return Err("usage: bench_embed MODEL TEXTS.jsonl OUT.f32 REPEATS".into());
    };
    let started = Instant::now();
    let encoder = open(model)?;
    let loading = started.elapsed().as_secs_f64();
    let texts = read::read(Path::new(texts), &Reading { text: vec!["text".into()], ..Reading::default() })?.texts;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut seconds = Vec::new();
    for _ in 0..repeats.parse::<usize>()?.max(1) {
        let started = Instant::now();
        let rows = encoder.encode(&texts)?;
        seconds.push(started.elapsed().as_secs_f64());
        let bytes: Vec<u8> = rows.data.iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(out, bytes)?;
    }
    println!("{}", serde_json::json!({ "dim": encoder.dim(), "loading": loading, "seconds": seconds }));
    Ok(())
}
