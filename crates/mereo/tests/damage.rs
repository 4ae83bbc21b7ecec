//! Damaged files of every kind: cut at every length, and with bytes changed at random. They must give an error or, where a cut or a
//! changed byte leaves a whole file, rows; never a panic, and never memory for numbers that aren't there.
//!
//! `MEREO_FLIPS=5000 cargo test -p mereo --test damage` tries more than the usual number of changes to each file.

use mereo::rng::rng;
use mereo::source::{self, Open};
use mereo::{Error, Result};
use std::path::{Path, PathBuf};

/// All blocks of a file, one after the other; the number of rows.
fn read(path: &Path, memory: Option<u64>) -> Result<usize> {
    let variable = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"several"));
    let how = Open { memory, variable: variable.then(|| "s".into()), ..Open::default() };
    let opened = source::open(path, &how)?;
    let mut rows = 0;
    // Damage may leave a huge number of rows that take no bytes; the first blocks show what reading them does.
    for block in 0..opened.source.blocks().min(200) {
        let x = opened.source.block(block)?;
        assert_eq!((x.rows(), x.cols()), (opened.source.rows(block), opened.source.cols()), "{}", path.display());
        rows += x.rows();
    }
    Ok(rows)
}

/// Small files of every kind that hold data.
fn samples() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/files");
    let folders = [golden.clone(), golden.join("images/grey"), golden.join("images/mixed")];
    let all = folders.iter().flat_map(|f| std::fs::read_dir(f).expect("golden files")).map(|e| e.expect("entry").path());
    let mut all: Vec<PathBuf> = all.filter(|p| p.is_file() && p.extension().is_some_and(|e| e != "py" && e != "txt")).collect();
    all.sort();
    assert!(all.len() > 70, "{}", all.len());
    all
}

/// A place for a damaged copy, and what to open: images are read by their folder.
fn place(folder: &Path, sample: &Path) -> (PathBuf, PathBuf) {
    let copy = folder.join(sample.file_name().expect("name"));
    let image = sample.components().any(|c| c.as_os_str() == "images");
    let opened = if image { folder.to_path_buf() } else { copy.clone() };
    (copy, opened)
}

/// Virtual memory at its highest so far, in bytes; only Linux says.
fn highest() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmPeak:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[test]
fn every_cut() {
    for sample in samples() {
        let whole = std::fs::read(&sample).expect("golden file");
        let folder = tempfile::tempdir().expect("tempdir");
        let (copy, opened) = place(folder.path(), &sample);
        let intact = {
            std::fs::write(&copy, &whole).expect("written");
            read(&opened, None).ok()
        };
        let mut passed = Vec::new();
        for cut in 0..whole.len() {
            std::fs::write(&copy, &whole[..cut]).expect("written");
            for memory in [None, Some(1)] {
                match read(&opened, memory) {
                    Ok(rows) => {
                        assert_eq!(Some(rows), intact, "{} cut at {cut} of {}", sample.display(), whole.len());
                        passed.push(cut);
                    }
                    Err(Error::Format { .. } | Error::Io { .. }) => {}
                    Err(e) => panic!("{} cut at {cut}: {e}", sample.display()),
                }
            }
        }
        if let Some(first) = passed.first() {
            println!("{} of {} still read from {first}: {} cuts", sample.display(), whole.len(), passed.len());
        }
    }
}

#[test]
fn changed_bytes() {
    rayon::ThreadPoolBuilder::new().num_threads(2).build_global().expect("the first pool");
    let flips = std::env::var("MEREO_FLIPS").ok().and_then(|s| s.parse().ok()).unwrap_or(100);
    let samples = samples();
    for sample in &samples {
        read(&place(sample.parent().expect("folder"), sample).1, None).ok();
    }
    let before = highest();
    for (i, sample) in samples.iter().enumerate() {
        let whole = std::fs::read(sample).expect("golden file");
        let folder = tempfile::tempdir().expect("tempdir");
        let (copy, opened) = place(folder.path(), sample);
        for flip in 0..flips {
            let mut rng = rng(1, i as u64, flip);
            let mut bytes = whole.clone();
            for _ in 0..=rng.below(4) {
                let at = rng.below(bytes.len());
                bytes[at] = match rng.below(4) {
                    0 => 0xff,
                    1 => 0x7f,
                    2 => bytes[at] ^ (1 << rng.below(8)),
                    _ => rng.bits() as u8,
                };
            }
            std::fs::write(&copy, &bytes).expect("written");
            for memory in [None, Some(1)] {
                if let Err(e @ (Error::Data(_) | Error::Parameter(_) | Error::Worker)) = read(&opened, memory) {
                    panic!("{} changed by {flip}: {e}", sample.display());
                }
                let (Some(before), Some(now)) = (before, highest()) else { continue };
                assert!(now < before + (1 << 30), "{} changed by {flip} took {} MB", sample.display(), (now - before) >> 20);
            }
        }
    }
}
