//! A fit that is killed goes on from its last checkpoint, and ends as if nothing had been.

use crate::place::{Place, start, text};
use mereo::bundle::Bundle;
use mereo::rng::rng;
use mereo::store::Bag;
use std::path::Path;
use std::time::Duration;

/// What the model of a file is made of.
fn model(path: &Path) -> Bag {
    let mut bag = Bag::default();
    Bundle::load(path).expect("a whole file").model.save(&mut bag);
    bag
}

#[test]
fn a_fit_killed_twenty_times_ends_with_the_same_bytes() {
    let p = Place::new();
    let mut r = rng(7, 1, 0);
    let numbers: Vec<f32> = (0..2000 * 12).map(|_| r.normal() as f32).collect();
    p.npy("x.npy", 2000, 12, |i, j| numbers[i * 12 + j]);
    let line = |out: &str, more: &str| {
        format!("fit sae x.npy --latents 48 -k 4 --batch 50 --max-passes 5 --ema 0.9 --validation 0.1 -o {out} --quiet {more}")
    };
    let whole = start(&p, &line("whole.mereo", "")).wait_with_output().expect("end");
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let want = model(&p.path("whole.mereo"));
    let (mut killed, mut within) = (0, 0);
    for round in 0.. {
        let out = format!("cut{round}.mereo");
        let again = line(&out, &format!("--checkpoint cut{round}.checkpoint --every 0 --resume"));
        for _ in 0..4 {
            let mut child = start(&p, &again);
            std::thread::sleep(Duration::from_micros(2_000 + r.below(250_000) as u64));
            if child.try_wait().expect("wait").is_some() {
                break;
            }
            child.kill().expect("kill");
            child.wait().expect("end");
            if p.path(&out).exists() {
                // Its end came between the look and the kill: what is there is whole.
                break;
            }
            killed += 1;
            within += usize::from(p.path(&format!("cut{round}.checkpoint")).exists());
        }
        let end = start(&p, &again).wait_with_output().expect("end");
        assert!(end.status.success(), "{}", text(&end.stderr));
        assert!(model(&p.path(&out)) == want, "killed {killed} times, the end differs");
        if killed >= 20 {
            break;
        }
    }
    assert!(within >= 10, "of {killed} kills {within} came after a checkpoint");
}
