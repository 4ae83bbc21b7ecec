//! The claims R1 to R11 of Refinetti & Goldt 2022, at sizes for every run of the tests, and the equations against each other and against descent.

use mereo::dynamics::claims::{self, Claim, Size};
use mereo::dynamics::{Activation, Begin, Dynamics, Ended, Form, Input, Population, Rule, integrate, integrate_as, simulate};
use mereo::{Mat, data};
use std::ops::ControlFlow;

fn size() -> Size {
    Size::quick(1)
}

fn holds(claim: mereo::Result<Claim>) {
    let claim = claim.expect("claim");
    assert!(claim.held, "{}: {} | target: {} | found: {}", claim.id, claim.says, claim.target, claim.found);
}

#[test]
fn r1_components_are_learned_one_after_the_other() {
    holds(claims::r1(size()));
}

#[test]
fn r2_pca_is_reached_slowly() {
    holds(claims::r2(size()));
}

#[test]
fn r3_encoders_shrink_by_a_law() {
    holds(claims::r3(size()));
}

#[test]
fn r4_the_equations_are_the_descents_as_dimensions_grow() {
    holds(claims::r4(size()));
}

#[test]
fn r5_tied_weights_do_not_reach_pca() {
    holds(claims::r5(size()));
}

#[test]
fn r6_linear_units_reach_pca() {
    holds(claims::r6(size()));
}

#[test]
fn r7_rectified_units_need_biases() {
    holds(claims::r7(size()));
}

#[test]
fn r8_the_truncated_rule_finds_the_components() {
    holds(claims::r8(size()));
}

#[test]
fn r9_and_r10_the_excess_of_a_unit_and_the_line_of_pca() {
    holds(Ok(claims::r9()));
    let some = [claims::r6(size()).expect("r6"), claims::r8(size()).expect("r8")];
    holds(Ok(claims::r10(&some)));
}

#[test]
fn r11_faces_learn_like_gaussian_data() {
    let (x, about) = data::load("faces").expect("faces");
    let x = data::halved(&x, about.image.expect("images")).expect("halved");
    holds(claims::r11(&x, size()));
}

/// On the images of the paper, where they are at hand: in `MEREO_TEST_DATA` or in `../shared/data` beside the repository.
#[test]
fn r11_grey_cifar_learns_like_gaussian_data() {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let folder = std::env::var_os("MEREO_TEST_DATA").map_or_else(|| beside.into(), std::path::PathBuf::from);
    let path = folder.join("cifar10/grey_10000x1024_u8.npy");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return;
    }
    let images = mereo::source::open(&path, &mereo::source::Open::default()).expect("open");
    let x = mereo::fold::collect(images.source.as_ref()).expect("rows");
    let some = x.view().slice(0, 3000).to_mat();
    holds(claims::r11(&some, Size { images: 25_000, ..size() }));
}

#[test]
fn a_hidden_direction_is_found_by_rectified_units_alone_at_a_larger_error() {
    let found = claims::hidden(size()).expect("runs");
    let [linear, erf, relu] = &found[..] else { panic!("three") };
    assert!(found.iter().all(|f| f.shown > 0.98), "{:?}", found.iter().map(|f| f.shown).collect::<Vec<_>>());
    assert!(linear.hidden < 0.3 && erf.hidden < 0.3 && relu.hidden > 0.9, "{} {} {}", linear.hidden, erf.hidden, relu.hidden);
    assert!(relu.error > 1.004 * linear.error, "{} {}", relu.error, linear.error);
}

#[test]
fn both_forms_of_the_equations_agree_to_1e_8() {
    for activation in [Activation::Erf, Activation::Relu, Activation::Linear] {
        for rule in [Rule::Vanilla, Rule::Truncated] {
            let apart = claims::forms(activation, rule, 200.0, 3).expect("forms");
            assert!(apart < 1e-8, "{activation:?}, {rule:?}: {apart:e}");
        }
    }
}

fn all<T>(_: &T) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn spiked(d: f64) -> Population {
    Population::spectrum(d, &[25.0 / 35.0, 9.0 / 35.0], 1.0 / 35.0, 1).expect("population")
}

#[test]
fn the_order_parameters_of_a_descent_are_those_of_the_equations() {
    let data = spiked(2000.0);
    for (activation, rule, bias) in [
        (Activation::Erf, Rule::Vanilla, true),
        (Activation::Relu, Rule::Truncated, true),
        (Activation::Linear, Rule::Sanger, false),
        (Activation::Linear, Rule::Truncated, true),
    ] {
        let how =
            Dynamics { activation, rule, bias, until: 20.0, points: 8, scale: 0.5, weight_decay: 0.01, ..Dynamics::default() };
        let start = how.start(&data).expect("start");
        let (a, b) = (
            integrate(&how, &data, &start, &mut all).expect("theory"),
            simulate(&how, &data, Input::Gaussian, &start, &mut all).expect("descent"),
        );
        let (a, b) = (a.points.last().expect("point"), b.points.last().expect("point"));
        for (what, x, y) in
            [("q", &a.q, &b.q), ("r", &a.r, &b.r), ("t0", &a.t0, &b.t0), ("t1", &a.t1, &b.t1), ("span", &a.span, &b.span)]
        {
            let off = x.iter().zip(y).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
            let most = y.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
            assert!(off < 0.06 * most, "{activation:?}, {rule:?}, {what}: {x:?} and {y:?}");
        }
        assert!((a.error / b.error - 1.0).abs() < 0.04, "{activation:?}, {rule:?}: {} and {}", a.error, b.error);
    }
}

#[test]
fn the_closed_error_is_that_of_samples() {
    // A population's error against that measured on its samples, along a descent on samples that were drawn before.
    let data = spiked(200.0);
    let how = Dynamics { activation: Activation::Relu, bias: true, k: 3, until: 60.0, points: 6, ..Dynamics::default() };
    let start = how.start(&data).expect("start");
    let made = mereo::synth::spiked(30_000, 200, 2, 7).expect("rows");
    let own = Population::of(&made.data).expect("population");
    let rows = simulate(&how, &own, Input::Rows { train: &made.data, test: &made.data }, &start, &mut all).expect("descent");
    let (v, w) = (&rows.v, &rows.w);
    let last = rows.points.last().expect("point");
    // By hand, on every tenth row.
    let (mut sum, mut n) = (0.0, 0);
    for i in (0..made.data.rows).step_by(10) {
        let x = made.data.row(i);
        let mut left: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
        for k in 0..3 {
            let lambda =
                x.iter().zip(&w[k * 200..]).map(|(x, w)| f64::from(*x) * w).sum::<f64>() / 200f64.sqrt() + last.biases[k];
            left.iter_mut().zip(&v[k * 200..]).for_each(|(l, v)| *l -= v * lambda.max(0.0));
        }
        sum += left.iter().map(|l| l * l).sum::<f64>() / 400.0;
        n += 1;
    }
    assert!((sum / f64::from(n) / last.error - 1.0).abs() < 0.03, "{} and {}", sum / f64::from(n), last.error);
}

#[test]
fn infinitely_many_dimensions_are_the_limit_of_many() {
    let how = Dynamics { until: 100.0, points: 20, ..Dynamics::default() };
    let endless = spiked(f64::INFINITY);
    let limit = integrate_as(Form::Vectors, &how, &endless, None, &mut all).expect("limit");
    // First weights of the same coordinates along the spikes: only what the bulk adds differs.
    let off = |d: f64| {
        let data = spiked(d);
        let mut start = how.start(&data).expect("start");
        let size = d as usize;
        for k in 0..2 {
            let mut r = mereo::rng::rng(how.seed, mereo::fold::stream::INIT, k as u64);
            let mut wanted = [0.0; 2];
            r.normals(&mut wanted);
            for (m, wanted) in wanted.iter().enumerate() {
                let axis = &data.axes()[m * size..(m + 1) * size];
                let w = &mut start.w[k * size..(k + 1) * size];
                let along: f64 = w.iter().zip(axis).map(|(w, a)| w * a).sum();
                w.iter_mut().zip(axis).for_each(|(w, a)| *w += (how.scale * wanted - along) * a);
            }
        }
        let path = integrate(&how, &data, &start, &mut all).expect("finite");
        path.points.iter().zip(&limit.points).map(|(a, b)| (a.error - b.error).abs()).fold(0.0, f64::max)
    };
    let (small, large) = (off(1000.0), off(16_000.0));
    assert!(large < 0.02 && large < 0.5 * small, "{small} and {large}");
}

#[test]
fn weights_at_the_end_are_those_of_the_last_point() {
    let data = spiked(300.0);
    for tied in [false, true] {
        let how = Dynamics { until: 30.0, points: 5, tied, ..Dynamics::default() };
        let path = integrate(&how, &data, &how.start(&data).expect("start"), &mut all).expect("theory");
        let p = path.points.last().expect("point");
        for a in 0..2 {
            let norm = |w: &[f64]| w[a * 300..(a + 1) * 300].iter().map(|w| w * w).sum::<f64>() / 300.0;
            assert!((norm(&path.v) / p.t0[3 * a] - 1.0).abs() < 1e-9 && (norm(&path.w) / p.encoders[a] - 1.0).abs() < 1e-9);
        }
    }
}

#[test]
fn an_informed_start_begins_at_the_components() {
    let data = spiked(400.0);
    let how = Dynamics { begin: Begin::Informed, activation: Activation::Linear, until: 1.0, ..Dynamics::default() };
    let path = integrate(&how, &data, &how.start(&data).expect("start"), &mut all).expect("theory");
    let first = &path.points[0];
    assert!((first.error - data.pca(2)).abs() < 1e-9, "{} and {}", first.error, data.pca(2));
    assert!(first.span[..2].iter().all(|s| *s > 1.0 - 1e-9));
}

#[test]
fn a_rate_that_is_too_high_is_told_with_the_last_good_weights() {
    let data = spiked(100.0);
    for (activation, eta) in [(Activation::Linear, 60.0), (Activation::Relu, 60.0), (Activation::Erf, 1000.0)] {
        let how = Dynamics { activation, eta, until: 100.0, ..Dynamics::default() };
        let start = how.start(&data).expect("start");
        let path = simulate(&how, &data, Input::Gaussian, &start, &mut all).expect("run");
        let Ended::Diverged { s } = path.ended else { panic!("{activation:?}: {:?}", path.points.last()) };
        assert!(path.points.last().is_some_and(|p| p.s == s && p.error.is_finite()));
        assert!(path.w.iter().chain(&path.v).all(|w| w.is_finite()));
    }
}

#[test]
fn a_watcher_ends_a_run_where_it_is() {
    let data = spiked(100.0);
    let how = Dynamics { until: 10.0, points: 20, ..Dynamics::default() };
    let start = how.start(&data).expect("start");
    let mut stop = |p: &mereo::dynamics::Point| if p.s > 1.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    for path in [
        integrate(&how, &data, &start, &mut stop).expect("theory"),
        simulate(&how, &data, Input::Gaussian, &start, &mut stop).expect("descent"),
    ] {
        assert!(path.ended == Ended::Stopped && path.points.last().is_some_and(|p| p.s > 1.0 && p.s < 2.0));
    }
}

#[test]
fn the_same_seed_gives_the_same_course() {
    let data = spiked(150.0);
    let how = Dynamics { until: 5.0, points: 7, ..Dynamics::default() };
    let run =
        |how: &Dynamics| simulate(how, &data, Input::Gaussian, &how.start(&data).expect("start"), &mut all).expect("descent");
    assert_eq!(run(&how).points, run(&how).points);
    assert_ne!(run(&how).points, run(&Dynamics { seed: 1, ..how.clone() }).points);
    // How many points are looked at on the way changes nothing.
    let fewer = run(&Dynamics { points: 3, ..how.clone() });
    assert_eq!(fewer.w, run(&how).w);
}

#[test]
fn bad_input_names_the_fix() {
    let data = spiked(50.0);
    let own = Dynamics::default();
    for (how, words) in [
        (Dynamics { k: 0, ..own.clone() }, "k = 0"),
        (Dynamics { k: 51, ..own.clone() }, "lower k"),
        (Dynamics { eta: 0.0, ..own.clone() }, "above 0"),
        (Dynamics { eta: f64::NAN, ..own.clone() }, "above 0"),
        (Dynamics { until: 0.0, ..own.clone() }, "above 0"),
        (Dynamics { scale: 0.0, ..own.clone() }, "set scale"),
        (Dynamics { points: 1, ..own.clone() }, "points"),
        (Dynamics { rule: Rule::Sanger, ..own.clone() }, "linear"),
        (Dynamics { rule: Rule::Truncated, tied: true, ..own.clone() }, "tied"),
        (Dynamics { k: 3, begin: Begin::Informed, ..own.clone() }, "principal components"),
    ] {
        let said = how.check(&data).expect_err("refused").to_string();
        assert!(said.contains(words), "{said}");
        assert!(how.start(&data).is_err());
    }
    let start = own.start(&data).expect("start");
    let refused = |r: mereo::Result<mereo::dynamics::Path>| r.expect_err("refused").to_string();
    let endless = spiked(f64::INFINITY);
    assert!(refused(simulate(&own, &endless, Input::Gaussian, &start, &mut all)).contains("can't be sampled"));
    let tied = Dynamics { tied: true, ..own.clone() };
    assert!(refused(integrate_as(Form::Vectors, &tied, &endless, None, &mut all)).contains("untied"));
    assert!(refused(integrate_as(Form::Modes, &tied, &data, Some(&start), &mut all)).contains("form of vectors"));
    let narrow = Mat::zeros(3, 20);
    assert!(
        refused(simulate(&own, &data, Input::Rows { train: &narrow, test: &narrow }, &start, &mut all)).contains("20 columns")
    );
}
