//! Several starts of one fit: every one is its own, the best is kept, all are told, and a run that was cut short among them ends the same.

use mereo::fold::{Checkpoint, Fitted, Options, Pass, fit};
use mereo::source::Memory;
use mereo::{Mat, Nmf, NmfInit, NmfLoss, NmfModel, NmfSolver, synth};
use std::ops::ControlFlow;
use std::time::Duration;

fn data() -> Mat {
    synth::parts(120, 9, 6, 3).expect("parts").data
}

/// The fit, and the last loss of each of its starts as a watcher saw them.
fn learn(how: &Nmf, x: &Mat) -> (Fitted<NmfModel>, Vec<f64>) {
    let mut seen: Vec<f64> = Vec::new();
    let mut watch = |p: &Pass, _| {
        seen.resize(p.restart + 1, f64::NAN);
        seen[p.restart] = p.loss;
        ControlFlow::Continue(())
    };
    let f = fit(how, &Memory::cut(x.view(), 50), Options { watch: Some(&mut watch), ..Options::default() }).expect("fit");
    (f, seen)
}

#[test]
fn the_best_start_is_kept_and_all_are_told() {
    let x = data();
    let ways = [
        (NmfSolver::Accelerated, NmfLoss::Squared, NmfInit::Random),
        (NmfSolver::Cd, NmfLoss::Squared, NmfInit::KMeans),
        (NmfSolver::Mu, NmfLoss::Squared, NmfInit::Random),
        (NmfSolver::LeeSeung, NmfLoss::KullbackLeibler, NmfInit::Nndsvdar),
        (NmfSolver::Newton, NmfLoss::KullbackLeibler, NmfInit::Random),
    ];
    let mut later = 0;
    for (solver, loss, init) in ways {
        let one = Nmf { k: 5, solver, loss, init, max_passes: 25, tol: 0.0, ..Nmf::default() };
        let what = format!("{solver:?} from {init:?}");
        let (alone, _) = learn(&one, &x);
        let (f, seen) = learn(&Nmf { restarts: 4, ..one.clone() }, &x);
        assert_eq!(f.starts, seen, "{what}");
        assert_eq!(f.starts.len(), 4, "{what}");
        let losses = |c: &[Pass]| c.iter().map(|p| p.loss).collect::<Vec<_>>();
        assert_eq!(f.starts[0], losses(&alone.curve)[alone.curve.len() - 1], "{what}: the first start is that of a fit with one");
        let best = f.starts.iter().copied().fold(f64::INFINITY, f64::min);
        let kept = f.curve[0].restart;
        assert_eq!((f.curve[f.curve.len() - 1].loss, f.starts[kept]), (best, best), "{what}");
        assert!(f.starts.windows(2).all(|s| s[0] != s[1]), "{what}: starts repeat, {:?}", f.starts);
        later += usize::from(kept > 0);
    }
    assert!(later > 0, "a later start is sometimes the best");
}

/// First weights are drawn anew in each start, not the atoms alone: where the atoms are the same in all, only they differ.
#[test]
fn every_start_has_weights_of_its_own() {
    let x = data();
    let fixed = synth::parts(120, 9, 6, 3).expect("parts").atoms;
    let k = fixed.rows;
    let how =
        Nmf { k, fixed: k, given: Some(fixed), solver: NmfSolver::Mu, restarts: 3, max_passes: 2, tol: 0.0, ..Nmf::default() };
    let (f, _) = learn(&how, &x);
    assert!(f.starts[0] != f.starts[1] && f.starts[1] != f.starts[2], "{:?}", f.starts);
}

#[test]
fn a_run_that_was_cut_among_its_starts_ends_the_same() {
    let x = data();
    let source = Memory::cut(x.view(), 50);
    for solver in [NmfSolver::Accelerated, NmfSolver::Mu] {
        let how = Nmf { k: 5, solver, restarts: 3, max_passes: 12, tol: 0.0, ..Nmf::default() };
        let (whole, _) = learn(&how, &x);
        for at in [(0, 12), (1, 1), (1, 7), (2, 3)] {
            let folder = tempfile::tempdir().expect("tempdir");
            let path = folder.path().join("fit.checkpoint");
            let checkpoint = |resume| Some(Checkpoint { path: path.clone(), every: Duration::from_secs(3600), resume });
            let mut stop =
                |p: &Pass, _| if (p.restart, p.pass) == at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            let first = Options { watch: Some(&mut stop), checkpoint: checkpoint(false), ..Options::default() };
            let cut = fit(&how, &source, first).expect("cut");
            assert!(cut.starts.len() <= at.0 + 1, "{solver:?} at {at:?}: {:?}", cut.starts);
            let again = fit(&how, &source, Options { checkpoint: checkpoint(true), ..Options::default() }).expect("resumed");
            assert_eq!(again.starts, whole.starts, "{solver:?}, cut at {at:?}");
            assert!(again.model.parts == whole.model.parts, "{solver:?}, cut at {at:?}");
            assert_eq!(again.curve[0].restart, whole.curve[0].restart, "{solver:?}, cut at {at:?}");
        }
    }
}

#[test]
fn starts_that_are_always_the_same_are_refused() {
    let x = data();
    let refused = |how: &Nmf| fit(how, &Memory::from(&x), Options::default()).expect_err("refused").to_string();
    let given = Some(Mat { rows: 3, cols: x.cols, data: vec![1.0; 3 * x.cols] });
    for (init, name) in [
        (NmfInit::Nndsvd, "nndsvd"),
        (NmfInit::Nndsvda, "nndsvda"),
        (NmfInit::Spa, "spa"),
        (NmfInit::Snpa, "snpa"),
        (NmfInit::Given, "given"),
    ] {
        let said = refused(&Nmf { k: 3, init, given: given.clone(), restarts: 2, ..Nmf::default() });
        assert!(
            said.contains("restarts = 2") && said.contains(&format!("({name})")) && said.contains("set restarts to 1"),
            "{said}"
        );
    }
    let said = refused(&Nmf { k: 3, restarts: 0, ..Nmf::default() });
    assert!(said.contains("restarts = 0"), "{said}");
}
