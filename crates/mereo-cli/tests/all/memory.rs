//! A file larger than the bound is fitted within the bound.

use crate::place::{Place, start, text};

/// A fit's memory at its highest, in bytes, as the system counts it.
fn peak(p: &Place, line: &str) -> u64 {
    let mut child = start(p, line);
    let status = format!("/proc/{}/status", child.id());
    let mut highest = 0;
    while child.try_wait().expect("wait").is_none() {
        let read = std::fs::read_to_string(&status).unwrap_or_default();
        let line = read.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|l| l.trim().strip_suffix("kB"));
        highest = line.and_then(|kb| kb.trim().parse::<u64>().ok()).unwrap_or(0).max(highest);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let out = child.wait_with_output().expect("end");
    assert!(out.status.success(), "{line}: {}", text(&out.stderr));
    highest << 10
}

#[test]
fn a_bound_holds_for_files_larger_than_it() {
    const BOUND: u64 = 64 << 20;
    let p = Place::new();
    let value = |i: usize, j: usize| ((i * 31 + j * 17) % 97) as f32 + (i % (j + 2)) as f32;
    p.npy("small.npy", 400, 250, value);
    p.npy("big.npy", 220_000, 250, value);
    assert!(std::fs::metadata(p.path("big.npy")).expect("big").len() > 3 * BOUND);
    for fit in ["pca", "vq --max-passes 2", "nmf --max-passes 2", "pca --prep standardize --test 0.5"] {
        let fit = |data: &str| format!("fit {fit} {data} -k 10 --threads 2 -o m.mereo --memory 64M");
        // What the program takes by itself.
        let least = peak(&p, &fit("small.npy"));
        let most = peak(&p, &fit("big.npy"));
        println!("{}: {} MB, {} MB by itself", fit("big.npy"), most >> 20, least >> 20);
        assert!(most < BOUND + least, "{}: {} MB, {} MB of them by itself", fit("big.npy"), most >> 20, least >> 20);
    }
}
