use super::batch::{SaeStats, entering};
use super::rule::OWN;
use super::*;
use crate::fold::{Options, Stats, fit};
use crate::mat::Mat;
use crate::measure;
use crate::model::{Codes, Model};
use crate::rng::rng;
use crate::source::Memory;
use crate::synth;

fn random(rows: usize, cols: usize, seed: u64) -> Mat {
    let mut r = rng(seed, 5, 0);
    Mat { rows, cols, data: (0..rows * cols).map(|_| r.normal() as f32 + 0.3).collect() }
}

/// Every architecture, and every term of the loss.
fn mixtures() -> Vec<Sae> {
    let base = Sae { latents: Some(24), k: 4, aux: SaeAux::None, center: true, clip: 0.0, ..Sae::default() };
    let aux = |aux| Sae { aux, aux_k: Some(3), dead_rows: Some(1), ..base.clone() };
    vec![
        base.clone(),
        Sae { architecture: SaeArchitecture::BatchTopK, ..base.clone() },
        Sae { architecture: SaeArchitecture::GroupMax, ..base.clone() },
        Sae { architecture: SaeArchitecture::Relu, sparsity: 0.3, ..base.clone() },
        Sae { architecture: SaeArchitecture::JumpRelu, sparsity: 0.2, bandwidth: 0.3, ..base.clone() },
        Sae { architecture: SaeArchitecture::Gated, sparsity: 0.3, ..base.clone() },
        Sae { prefixes: vec![0.25, 0.5, 1.0], ..base.clone() },
        Sae { architecture: SaeArchitecture::BatchTopK, prefixes: vec![0.5, 1.0], ..base.clone() },
        Sae { multi: 0.125, ..base.clone() },
        aux(SaeAux::Notes),
        aux(SaeAux::Openai),
        aux(SaeAux::Sparsify),
        aux(SaeAux::Saelens),
        aux(SaeAux::DictionaryLearning),
        Sae { prefixes: vec![0.5, 1.0], multi: 0.125, ..aux(SaeAux::Notes) },
    ]
}

/// A state some way from its start: biases, thresholds and V unlike W.
fn state(how: &Sae, x: &Mat) -> SaeState {
    let mut state = how.init(&x.view(), Shape { rows: x.rows, cols: x.cols }, 0).expect("init");
    let mut r = rng(11, 6, 0);
    let mut shake = |v: &mut [f32], by: f64| v.iter_mut().for_each(|v| *v += (by * r.normal()) as f32);
    shake(&mut state.encoder.value, 0.1);
    shake(&mut state.bias.value, 0.05);
    state.own.iter_mut().for_each(|p| shake(&mut p.value, 0.1));
    if how.architecture == SaeArchitecture::JumpRelu {
        state.own[1].value.iter_mut().for_each(|v| *v += 1.0);
    }
    // The first eight count as dead.
    state.idle.iter_mut().take(8).for_each(|rows| *rows = 1 << 40);
    state.pack();
    state
}

fn stats_of(how: &Sae, state: &SaeState, x: &[Rows]) -> SaeStats {
    let mut stats = SaeStats::zero(how, state);
    x.iter().for_each(|x| batch::observe(how, state, x, &mut stats));
    stats
}

/// The loss by its definition, in f64, with the choice of latents, the residual that dead ones rebuild, and the decoder of the gate as they
/// were in `at`; and what a straight-through slope stands in for left out.
fn plain(how: &Sae, at: &SaeState, moved: &SaeState, x: &Mat) -> f64 {
    let d = at.d;
    let stats = stats_of(how, at, &[x.view()]);
    let y = entering(moved, &x.view(), vec![0.0; x.rows * d]);
    let rows = x.rows;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let z = |i: usize, j: usize| {
        dot(&y[i * d..(i + 1) * d], &moved.encoder.value[j * d..(j + 1) * d]) + f64::from(moved.own[0].value[j])
    };
    let mean: Vec<f64> = (0..d).map(|a| (0..rows).map(|i| f64::from(y[i * d + a])).sum::<f64>() / rows as f64).collect();
    let variance: f64 = (0..rows * d).map(|at| (f64::from(y[at]) - mean[at % d]).powi(2)).sum();
    let mut loss = 0.0;
    let squares = |base: &dyn Fn(usize) -> Vec<f64>, v: &[f32], codes: &dyn Fn(usize) -> Vec<(usize, f64)>| -> f64 {
        (0..rows)
            .map(|i| {
                let mut e = base(i);
                for (j, h) in codes(i) {
                    e.iter_mut().zip(&v[j * d..(j + 1) * d]).for_each(|(e, v)| *e -= h * f64::from(*v));
                }
                e.iter().map(|e| e * e).sum::<f64>()
            })
            .sum()
    };
    let of_y = |i: usize| y[i * d..(i + 1) * d].iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let of = |term: rule::Term, i: usize| -> Vec<usize> {
        stats
            .entries
            .iter()
            .filter(|e| e.term == term && e.row as usize == i && e.alive.h != 0.0)
            .map(|e| e.alive.latent as usize)
            .collect()
    };
    let code = |i: usize, j: usize| match how.architecture {
        SaeArchitecture::Gated => z(i, j) * f64::from(moved.own[1].value[j]).exp() + f64::from(moved.own[2].value[j]),
        _ => z(i, j),
    };
    for end in &at.prefixes {
        let codes = |i: usize| of(rule::Term::Main, i).into_iter().filter(|j| j < end).map(|j| (j, code(i, j))).collect();
        loss += squares(&of_y, &moved.decoder.value, &codes) / variance / at.prefixes.len() as f64;
    }
    if how.multi > 0.0 {
        let codes = |i: usize| of(rule::Term::Multi, i).into_iter().map(|j| (j, z(i, j))).collect();
        loss += how.multi * squares(&of_y, &moved.decoder.value, &codes) / variance;
    }
    let all: Vec<Vec<usize>> = (0..rows).map(|i| of(rule::Term::Main, i)).collect();
    match how.architecture {
        SaeArchitecture::Relu => {
            loss += how.sparsity / rows as f64 * (0..rows).flat_map(|i| all[i].iter().map(move |j| z(i, *j))).sum::<f64>();
        }
        SaeArchitecture::Gated => {
            let open = |i: usize| -> Vec<usize> {
                stats
                    .entries
                    .iter()
                    .filter(|e| e.term == rule::Term::Gate && e.row as usize == i)
                    .map(|e| e.alive.latent as usize)
                    .collect()
            };
            // Neither V nor b, where it is added, learns from the gate's own picture of a row.
            let old = |i: usize| {
                let (b, was) = (&moved.bias.value, &at.bias.value);
                of_y(i)
                    .iter()
                    .zip(b.iter().zip(was))
                    .map(|(y, (b, was))| y + f64::from(*b) - f64::from(*was))
                    .collect::<Vec<f64>>()
            };
            let codes = |i: usize| open(i).into_iter().map(|j| (j, z(i, j))).collect();
            loss += squares(&old, &at.decoder.value, &codes) / variance;
            loss += how.sparsity / rows as f64 * (0..rows).flat_map(|i| open(i).into_iter().map(move |j| z(i, j))).sum::<f64>();
        }
        _ => {}
    }
    if how.aux != SaeAux::None {
        let e = &stats.targets[at.prefixes.len() - 1];
        let mean: Vec<f64> = (0..d).map(|a| (0..rows).map(|i| f64::from(e[i * d + a])).sum::<f64>() / rows as f64).collect();
        let own: f64 = (0..rows * d).map(|at| (f64::from(e[at]) - mean[at % d]).powi(2)).sum();
        let base = |i: usize| e[i * d..(i + 1) * d].iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let codes = |i: usize| of(rule::Term::Aux, i).into_iter().map(|j| (j, z(i, j))).collect();
        let over = if how.aux.over_residual() { own } else { variance };
        loss += aux::weight(how, at) * squares(&base, &moved.decoder.value, &codes) / over;
    }
    loss
}

#[test]
fn gradients_are_those_of_differences_for_every_architecture_and_term() {
    let x = random(9, 7, 1);
    for how in mixtures() {
        let state = state(&how, &x);
        let stats = stats_of(&how, &state, &[x.view()]);
        if how.aux != SaeAux::None {
            assert!(stats.entries.iter().any(|e| e.term == rule::Term::Aux), "{how:?}");
        }
        let got = step::gradient(&how, &state, &stats, false);
        // What a box about the threshold stands in for is no slope of anything.
        let own = if how.architecture == SaeArchitecture::JumpRelu { 1 } else { state.own.len() };
        let size = got.iter().flatten().fold(0f32, |top, v| top.max(v.abs()));
        let mut nonzero = 0;
        let mut hold = |name: &str, at: usize, got: f32, slope: f64| {
            nonzero += usize::from(slope.abs() > 1e-4 * f64::from(size));
            let off = (f64::from(got) - slope).abs();
            assert!(off < 2e-3 * f64::from(size) + 2e-3 * slope.abs(), "{name} {at} of {how:?}: {got} and {slope}");
        };
        let slope = |change: &dyn Fn(&mut SaeState, f32)| {
            let by = 1e-2f32;
            let at = |by: f32| {
                let mut moved = state.clone();
                change(&mut moved, by);
                plain(&how, &state, &moved, &x)
            };
            // The loss is of fourth degree at most in each parameter but for r, and numbers are f32: a wide difference of fourth order.
            let (one, two) = (at(by) - at(-by), at(2.0 * by) - at(-2.0 * by));
            (8.0 * one - two) / (12.0 * f64::from(by))
        };
        for i in (0..state.n * state.d).step_by(3) {
            hold("W", i, got[0][i], slope(&|s, by| s.encoder.value[i] += by));
            hold("V", i, got[1][i], slope(&|s, by| s.decoder.value[i] += by));
        }
        for j in 0..state.n {
            for o in 0..own {
                hold("own", o * state.n + j, got[2][j * OWN + o], slope(&|s, by| s.own[o].value[j] += by));
            }
        }
        for a in 0..state.d {
            hold("b", a, got[3][a], slope(&|s, by| s.bias.value[a] += by));
        }
        assert!(nonzero > 40, "{how:?}: only {nonzero} slopes");
    }
}

#[test]
fn thresholds_learn_by_a_box() {
    let x = random(40, 7, 2);
    let how = Sae { bandwidth: 0.2, sparsity: 0.1, architecture: SaeArchitecture::JumpRelu, ..mixtures()[0].clone() };
    let state = state(&how, &x);
    let stats = stats_of(&how, &state, &[x.view()]);
    let got = step::gradient(&how, &state, &stats, false);
    let variance = {
        let y = entering(&state, &x.view(), vec![0.0; x.rows * state.d]);
        let mean: Vec<f64> = (0..7).map(|a| (0..40).map(|i| f64::from(y[i * 7 + a])).sum::<f64>() / 40.0).collect();
        (0..280).map(|at| (f64::from(y[at]) - mean[at % 7]).powi(2)).sum::<f64>()
    };
    let (mut want, mut inside) = (vec![0f64; state.n], 0);
    for e in &stats.entries {
        let j = e.alive.latent as usize;
        let theta = f64::from(state.own[1].value[j]).exp();
        if (f64::from(e.alive.z) - theta).abs() < 0.1 {
            inside += 1;
            let of_code = -2.0 / variance * f64::from(e.along);
            want[j] += theta * (-theta / 0.2 * of_code - 0.1 / 40.0 / 0.2);
        }
    }
    assert!(inside > 50 && stats.entries.iter().any(|e| e.alive.h == 0.0));
    for j in 0..state.n {
        assert!(
            (f64::from(got[2][j * OWN + 1]) - want[j]).abs() < 1e-5 + 1e-3 * want[j].abs(),
            "{j}: {} {}",
            got[2][j * OWN + 1],
            want[j]
        );
    }
}

#[test]
fn the_fast_step_is_the_plain_one() {
    // One step of descent by sign-free means: Signum's memory after one step is (1 − β₁) times the gradient.
    let x = random(30, 7, 3);
    for how in mixtures() {
        for clip in [0.0, 1e-3] {
            let how = Sae { optimizer: SaeOptimizer::Signum, clip, ..how.clone() };
            let before = state(&how, &x);
            let stats = stats_of(&how, &before, &[x.view()]);
            let want = step::gradient(&how, &before, &stats, true);
            let own = before.own.len();
            let length = want.iter().enumerate().map(|(part, g)| match part {
                2 => g.chunks(OWN).flat_map(|g| &g[..own]).map(|v| f64::from(*v).powi(2)).sum::<f64>(),
                _ => g.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>(),
            });
            let length = length.sum::<f64>().sqrt();
            let by = 0.1 * if clip > 0.0 { clip / length } else { 1.0 };
            let mut after = before.clone();
            step::update(&how, &mut after, stats);
            let same = |name: &str, got: &[f32], want: &[f32]| {
                let size = want.iter().fold(0f32, |top, v| top.max(v.abs()));
                for (i, (got, want)) in got.iter().zip(want).enumerate() {
                    assert!(
                        (f64::from(*got) - by * f64::from(*want)).abs() < 1e-5 * f64::from(size) + 1e-12,
                        "{name} {i}: {got} {want} {how:?}"
                    );
                }
            };
            same("W", &after.encoder.first, &want[0]);
            same("V", &after.decoder.first, &want[1]);
            same("b", &after.bias.first, &want[3]);
            for (o, p) in after.own.iter().enumerate() {
                same("own", &p.first, &want[2].iter().skip(o).step_by(OWN).copied().collect::<Vec<f32>>());
            }
            // S4: no gradient along the decoder, and rows of length 1.
            for j in 0..after.n {
                let row = j * 7..(j + 1) * 7;
                let along = crate::linalg::dot(&want[1][row.clone()], &before.decoder.value[row.clone()]);
                let size = crate::linalg::dot(&want[1][row.clone()], &want[1][row.clone()]).sqrt();
                assert!(along.abs() < 1e-6 * (1.0 + size));
                assert!((crate::linalg::dot(&after.decoder.value[row.clone()], &after.decoder.value[row]) - 1.0).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn pieces_and_workers_leave_the_same_step() {
    let x = random(50, 7, 4);
    for how in mixtures().into_iter().filter(|how| how.architecture != SaeArchitecture::BatchTopK) {
        let before = state(&how, &x);
        let step = |cuts: &[(usize, usize)], formed: bool| {
            let view = x.view();
            let rows: Vec<Rows> = cuts.iter().map(|(a, b)| view.slice(*a, *b)).collect();
            let mut stats = stats_of(&how, &before, &rows);
            if formed {
                stats.parts();
            }
            let mut after = before.clone();
            let progress = step::update(&how, &mut after, stats);
            (after, progress.loss)
        };
        let (want, loss) = step(&[(0, 50)], false);
        for (after, other) in
            [step(&[(0, 20), (20, 50)], false), step(&[(0, 50)], true), step(&[(0, 1), (1, 30), (30, 50)], true)]
        {
            assert!((other / loss - 1.0).abs() < 1e-5);
            assert_eq!(after.idle, want.idle);
            let size = want.encoder.first.iter().fold(0f32, |top, v| top.max(v.abs()));
            for (a, b) in after.encoder.first.iter().zip(&want.encoder.first) {
                assert!((a - b).abs() < 2e-5 * size, "{a} {b} {how:?}");
            }
            for (a, b) in after.decoder.first.iter().zip(&want.decoder.first) {
                assert!((a - b).abs() < 2e-5 * size, "{a} {b} {how:?}");
            }
        }
    }
}

#[test]
fn a_planted_dictionary_is_found_and_none_is_dead() {
    let planted = synth::dictionary(20_000, 32, 64, 3, 1).expect("planted");
    for how in [
        Sae { latents: Some(96), k: 3, batch: 500, max_passes: 30, lr: Some(3e-3), ..Sae::default() },
        Sae {
            latents: Some(96),
            k: 3,
            batch: 500,
            max_passes: 30,
            lr: Some(3e-3),
            architecture: SaeArchitecture::BatchTopK,
            ..Sae::default()
        },
    ] {
        let fitted = fit(&how, &Memory::from(&planted.data), Options::default()).expect("fit");
        let matched: Vec<f64> = (0..64)
            .map(|a| (0..96).map(|j| crate::linalg::dot(planted.atoms.row(a), fitted.model.atoms.row(j))).fold(0.0, f64::max))
            .collect();
        let found = matched.iter().filter(|m| **m > 0.95).count();
        // 95 %; a threshold for all tells fewer of them apart.
        let wanted = if how.architecture == SaeArchitecture::TopK { 61 } else { 54 };
        assert!(found >= wanted, "{found} of 64: {:?} {matched:?}", how.architecture);
        let errors = measure::errors(&fitted.model, &Memory::from(&planted.data)).expect("errors");
        assert!(errors.fvu < 0.1, "{}", errors.fvu);
    }
}

#[test]
fn what_is_said_of_a_pass_is_what_the_model_does() {
    let x = synth::dictionary(3000, 16, 32, 3, 2).expect("planted").data;
    for architecture in [
        SaeArchitecture::TopK,
        SaeArchitecture::BatchTopK,
        SaeArchitecture::JumpRelu,
        SaeArchitecture::Gated,
        SaeArchitecture::Relu,
    ] {
        let how = Sae {
            latents: Some(64),
            k: 4,
            architecture,
            sparsity: 0.02,
            batch: 250,
            max_passes: 12,
            lr: Some(2e-3),
            ..Sae::default()
        };
        // Far from the origin, and in other units.
        let mut moved = x.clone();
        moved.data.iter_mut().for_each(|v| *v = 40.0 * *v + 7.0);
        let fitted = fit(&how, &Memory::from(&moved), Options::default()).expect("fit");
        let last = fitted.curve.last().expect("a pass").loss;
        let fvu = measure::errors(&fitted.model, &Memory::from(&moved)).expect("errors").fvu;
        assert!(fvu < 1.05 * last && fvu > 0.7 * last, "{architecture:?}: {fvu} and {last}");
        let Codes::Sparse(z) = fitted.model.encode(&moved.view()).expect("codes") else { panic!("sparse") };
        let l0 = z.indices.len() as f64 / 3000.0;
        let of_pass: f64 = fitted.model.density.iter().sum();
        assert!((l0 / of_pass - 1.0).abs() < 0.1, "{architecture:?}: {l0} alive and {of_pass}");
    }
}

#[test]
fn a_mean_of_the_weights_and_held_out_rows() {
    let x = synth::dictionary(3000, 16, 32, 3, 2).expect("planted").data;
    let how = Sae { latents: Some(64), k: 3, batch: 250, max_passes: 6, ema: 0.9, validation: 0.2, ..Sae::default() };
    let fitted = fit(&how, &Memory::from(&x), Options::default()).expect("fit");
    let held: Vec<f64> = fitted.curve.iter().filter_map(|p| p.held).collect();
    assert_eq!(held.len(), 6);
    assert!(held[5] < 0.8 * held[0], "{held:?}");
    for optimizer in [SaeOptimizer::Signum, SaeOptimizer::Muon] {
        let how = Sae { optimizer, lr: Some(if optimizer == SaeOptimizer::Muon { 2e-2 } else { 4e-3 }), ema: 0.0, ..how.clone() };
        let curve = fit(&how, &Memory::from(&x), Options::default()).expect("fit").curve;
        assert!(curve[5].held < curve[0].held.map(|h| 0.8 * h), "{optimizer:?} {curve:?}");
    }
}

#[test]
fn dead_latents_come_back_by_the_auxiliary_loss_alone() {
    let x = synth::dictionary(4000, 16, 32, 3, 3).expect("planted").data;
    let dead = |aux| {
        // Latents that nothing reaches: their bias holds them down.
        let how = Sae { latents: Some(64), k: 3, aux, batch: 250, max_passes: 15, lr: Some(2e-3), ..Sae::default() };
        let mut state = how.init(&x.view(), Shape { rows: 4000, cols: 16 }, 0).expect("init");
        state.own[0].value.iter_mut().take(32).for_each(|b| *b = -0.5);
        for _ in 0..15 {
            for from in (0..4000).step_by(250) {
                let stats = stats_of(&how, &state, &[x.view().slice(from, from + 250)]);
                step::update(&how, &mut state, stats);
            }
        }
        state.density.iter().take(32).filter(|d| **d == 0.0).count()
    };
    let (without, with) = (dead(SaeAux::None), dead(SaeAux::Notes));
    assert!(without >= 16 && with <= 3, "{without} without, {with} with it");
}

#[test]
fn a_state_comes_back_to_the_bit() {
    let x = random(60, 7, 5);
    for how in mixtures() {
        let how = Sae { ema: 0.9, ..how };
        let mut state = state(&how, &x);
        let stats = stats_of(&how, &state, &[x.view()]);
        step::update(&how, &mut state, stats);
        let mut bag = Bag::default();
        state.save(&mut bag);
        let mut back = SaeState::load(&bag).expect("load");
        let mut again = Bag::default();
        back.save(&mut again);
        assert!(bag == again);
        for state in [&mut state, &mut back] {
            let stats = stats_of(&how, state, &[x.view()]);
            step::update(&how, state, stats);
        }
        assert_eq!(
            (&state.encoder, &state.decoder, &state.bias, &state.own),
            (&back.encoder, &back.decoder, &back.bias, &back.own)
        );
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_the_fix() {
    let shape = Shape { rows: 100, cols: 8 };
    let base = Sae { latents: Some(32), k: 4, ..Sae::default() };
    for (how, words) in [
        (Sae { k: 0, ..base.clone() }, "k = 0"),
        (Sae { k: 33, ..base.clone() }, "exceeds the 32 latents"),
        (Sae { batch: 0, ..base.clone() }, "batch = 0"),
        (Sae { latents: Some(30), architecture: SaeArchitecture::GroupMax, ..base.clone() }, "such as 32"),
        (Sae { prefixes: vec![0.5, 0.25, 1.0], ..base.clone() }, "rise to 1"),
        (Sae { prefixes: vec![0.5], ..base.clone() }, "rise to 1"),
        (Sae { architecture: SaeArchitecture::Relu, ..base.clone() }, "sparsity = 0"),
        (Sae { l0: Some(3.0), ..base.clone() }, "jumprelu"),
        (Sae { lr: Some(f64::NAN), ..base.clone() }, "lr = NaN"),
        (Sae { patience: 2, ..base.clone() }, "validation"),
        (Sae { multi: 0.1, architecture: SaeArchitecture::BatchTopK, ..base.clone() }, "topk"),
        (Sae { ema: 1.0, ..base.clone() }, "ema = 1"),
    ] {
        let said = how.check(shape).expect_err(words).to_string();
        assert!(said.contains(words), "{said}");
    }
    assert!(base.check(shape).is_ok());
}
