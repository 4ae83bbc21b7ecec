//! `mereo splitting` as it is typed: models in larger models, absorption in an index, mistakes.

use crate::place::{Place, read_npy};
use serde_json::Value;

fn numbers(list: &Value) -> Vec<usize> {
    list.as_array().expect("a list").iter().map(|v| v.as_u64().expect("a count") as usize).collect()
}

fn lists(list: &Value) -> Vec<Vec<usize>> {
    list.as_array().expect("lists").iter().map(numbers).collect()
}

fn number(v: &Value) -> f64 {
    v.as_f64().unwrap_or_else(|| panic!("{v} is no number"))
}

/// Latents of a list with labels.
fn latents(list: &Value) -> Vec<usize> {
    list.as_array().expect("a list").iter().map(|v| v["latent"].as_u64().expect("a latent") as usize).collect()
}

#[test]
fn children_add_up_and_are_those_of_the_nearest_parents() {
    let p = Place::new();
    let sizes = [6, 12, 24];
    for k in sizes {
        p.ok(&format!("fit nmf digits -k {k} --max-passes 12 -o n{k}.mereo"));
    }
    let found = p.json("splitting n6.mereo n12.mereo n24.mereo --latent 2");
    let splits = found["splits"].as_array().expect("splits");
    assert_eq!(splits.len(), 3);
    for (split, (small, large)) in splits.iter().zip([(6, 12), (12, 24), (6, 24)]) {
        let (children, by) = (lists(&split["children"]), numbers(&split["by_children"]));
        assert_eq!(children.iter().map(Vec::len).sum::<usize>(), large);
        assert_eq!((by.iter().sum::<usize>(), by.iter().enumerate().map(|(c, n)| c * n).sum::<usize>()), (small, large));
        let most = split["most"].as_array().expect("most");
        assert_eq!(most[0]["children"].as_array().map(Vec::len), Some(by.len() - 1), "the largest family first");
        // No match does better than each latent's nearest.
        assert!(number(&split["one_to_one"]["mean"]) <= 1.0 + 1e-6 && number(&split["one_to_one"]["mean"]) > 0.0);
    }
    // The same by plain search over the atoms as they are exported.
    let atoms = |k: usize| {
        p.ok(&format!("export n{k}.mereo --atoms a{k}.npy"));
        let (shape, data) = read_npy(&p.path(&format!("a{k}.npy")));
        assert_eq!(shape, [k, 64]);
        data.chunks(64).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let cosine = |a: &[f32], b: &[f32]| product(a, b) / (product(a, a) * product(b, b)).sqrt();
    let (small, large) = (atoms(6), atoms(24));
    let mut nearest = Vec::new();
    for (l, atom) in large.iter().enumerate() {
        let best = (0..6).map(|s| (cosine(atom, &small[s]), s)).fold((-2.0, 0), |b, c| if c.0 > b.0 { c } else { b });
        assert!(lists(&splits[2]["children"])[best.1].contains(&l), "latent {l} is nearest to {}", best.1);
        nearest.push(best.0);
    }
    nearest.sort_by(f64::total_cmp);
    let cosines = &splits[2]["cosines"];
    assert!((number(&cosines["median"]) - f64::midpoint(nearest[11], nearest[12])).abs() < 1e-5, "{cosines}");
    assert!((number(&cosines["mean"]) - nearest.iter().sum::<f64>() / 24.0).abs() < 1e-5, "{cosines}");
    assert!((number(&cosines["range"][0]) - nearest[0]).abs() < 1e-5, "{cosines}");
    assert_eq!(numbers(&cosines["counts"]).iter().sum::<usize>(), 24);
    // A latent's descendants by way of the middle model are the children of its children.
    let latent = &found["latent"];
    let middle = lists(&splits[0]["children"])[2].clone();
    let mut via: Vec<usize> = middle.iter().flat_map(|&m| lists(&splits[1]["children"])[m].clone()).collect();
    via.sort_unstable();
    let direct = lists(&splits[2]["children"])[2].clone();
    assert_eq!(
        (latents(&latent["middle"]), latents(&latent["via"]), latents(&latent["direct"])),
        (middle, via.clone(), direct.clone())
    );
    let both = via.iter().filter(|l| direct.contains(l)).count();
    match via.len() + direct.len() - both {
        0 => assert!(latent["consistency"].is_null()),
        either => assert!((number(&latent["consistency"]) - both as f64 / either as f64).abs() < 1e-12),
    }
    let said = p.ok("splitting n6.mereo n12.mereo n24.mereo --latent 2");
    for what in [
        "n6.mereo in n12.mereo",
        "n12.mereo in n24.mereo",
        "n6.mereo in n24.mereo",
        "self-consistency",
        "by those in n24.mereo",
        "█",
    ] {
        assert!(said.contains(what), "{what}\n{said}");
    }
    // Another method, and a model in itself.
    p.ok("fit vq digits -k 12 -o v12.mereo");
    let mixed = p.json("splitting n6.mereo v12.mereo");
    assert!(mixed["chain"].is_null() && mixed["models"][1]["method"] == "vq", "{}", mixed["models"]);
    let same = p.json("splitting n12.mereo n12.mereo n12.mereo");
    for split in same["splits"].as_array().expect("splits") {
        assert!(
            (number(&split["cosines"]["median"]) - 1.0).abs() < 1e-6 && (number(&split["one_to_one"]["mean"]) - 1.0).abs() < 1e-6
        );
        assert_eq!(numbers(&split["by_children"]), [0, 12]);
    }
    assert_eq!((number(&same["chain"]["mean"]), number(&same["chain"]["agree"])), (1.0, 1.0));
    assert!(number(&same["models"][0]["within"]["median"]) < 0.999, "within a model, a latent is not its own nearest");
}

#[test]
fn a_split_by_hand() {
    let p = Place::new();
    // Codewords of as many distinct points are the points: at 0° and 90°, and at 10°, 20°, 30° and 90°.
    let at = |degrees: &'static [f64]| {
        move |i: usize, j: usize| {
            let a = degrees[i % degrees.len()].to_radians();
            if j == 0 { a.cos() as f32 } else { a.sin() as f32 }
        }
    };
    p.npy("two.npy", 8, 2, at(&[0.0, 90.0]));
    p.npy("four.npy", 8, 2, at(&[10.0, 20.0, 30.0, 90.0]));
    p.ok("fit vq two.npy -k 2 -o two.mereo");
    p.ok("fit vq four.npy -k 4 -o four.mereo");
    let found = p.json("splitting two.mereo four.mereo");
    let split = &found["splits"][0];
    let cos = |d: f64| d.to_radians().cos();
    assert_eq!(numbers(&split["by_children"]), [0, 1, 0, 1]);
    let cosines = &split["cosines"];
    assert!((number(&cosines["median"]) - f64::midpoint(cos(10.0), cos(20.0))).abs() < 1e-6, "{cosines}");
    assert!((number(&cosines["mean"]) - (cos(10.0) + cos(20.0) + cos(30.0) + 1.0) / 4.0).abs() < 1e-6, "{cosines}");
    assert!((number(&cosines["range"][0]) - cos(30.0)).abs() < 1e-6, "{cosines}");
    assert!((number(&split["one_to_one"]["mean"]) - f64::midpoint(cos(10.0), 1.0)).abs() < 1e-6, "{}", split["one_to_one"]);
    let said = p.ok("splitting two.mereo four.mereo --top 1");
    assert!(said.contains("median 0.962") && said.contains("children    1 have 1, 1 have 3"), "{said}");
    let within = &found["models"][1]["within"];
    // 10° from 20°, 20° from either, 30° from 20°, 90° from 30°.
    assert!((number(&within["mean"]) - (3.0 * cos(10.0) + cos(60.0)) / 4.0).abs() < 1e-6, "{within}");
}

/// An index of three points: `red` is 120 times one and twice a second, `blue` and the few `green` the third.
fn colours(p: &Place) {
    let of = |i: usize| match i {
        0..120 => ([4.0, 0.0, 0.0], "red"),
        120..122 => ([1.0, 4.0, 0.0], "red"),
        122..182 => ([0.0, 0.0, 4.0], "blue"),
        _ => ([0.0, 0.0, 4.0], "green"),
    };
    p.npy("points.npy", 187, 3, |i, j| of(i).0[j]);
    let lines: Vec<String> = (0..187).map(|i| format!("row {i},{},{i}\n", of(i).1)).collect();
    p.write("texts.csv", format!("text,colour,size\n{}", lines.concat()));
    p.ok("fit vq points.npy -k 3 -o points.mereo");
    p.ok("index points.mereo points.npy --texts texts.csv --text-columns text --columns colour,size -o points.index");
}

#[test]
fn what_the_main_latent_misses_is_absorbed() {
    let p = Place::new();
    colours(&p);
    p.ok("export points.mereo --atoms atoms.npy");
    let atoms = read_npy(&p.path("atoms.npy")).1;
    let place = |point: [f32; 3]| atoms.chunks(3).position(|a| a == point).expect("a point");
    let (main, other, third) = (place([4.0, 0.0, 0.0]), place([1.0, 4.0, 0.0]), place([0.0, 0.0, 4.0]));
    let label = format!("{{\"latent\":{other},\"label\":\"rare red\",\"by\":\"terms\"}}\n");
    std::fs::write(p.path("points.index").join("labels.jsonl"), label).expect("write");
    let found = p.json("splitting points.index --absorption colour");
    let classes = found["classes"].as_array().expect("classes");
    assert_eq!((classes.len(), &found["too_few_rows"][0]), (2, &Value::from("green")));
    let [red, blue] = [&classes[0], &classes[1]];
    assert_eq!(
        (red["class"].as_str(), red["rows"].as_u64(), latents(&red["main"])),
        (Some("red"), Some(122), vec![main]),
        "{red}"
    );
    // Both rows of the second point are another latent's alone, which carries all of x·p.
    for share in ["full", "fraction"] {
        assert!((number(&red[share]) - 2.0 / 122.0).abs() < 1e-12, "{red}");
    }
    let absorber = &red["absorbers"][0];
    assert_eq!(
        (absorber["latent"].as_u64(), absorber["full"].as_u64(), absorber["label"].as_str()),
        (Some(other as u64), Some(2), Some("rare red"))
    );
    // p = mean of red − mean of the others, of which all are the third point.
    let direction = [482.0 / 122.0, 8.0 / 122.0, -4.0f64];
    let cosine = (direction[0] + 4.0 * direction[1]) / (17.0 * direction.iter().map(|d| d * d).sum::<f64>()).sqrt();
    assert!((number(&absorber["cosine"]) - cosine).abs() < 1e-6, "{absorber} {cosine}");
    assert_eq!((latents(&blue["main"]), number(&blue["full"]), number(&blue["fraction"])), (vec![third], 0.0, 0.0), "{blue}");
    let said = p.ok("splitting points.index --absorption colour");
    assert!(said.contains("1.6 %") && said.contains("rare red") && said.contains("1 class of fewer than 20 rows"), "{said}");
    let one = p.json("splitting points.index --absorption colour --class blue");
    assert_eq!(one["classes"].as_array().map(Vec::len), Some(1));
    // An index stands for its model, with labels.
    let named = p.json("splitting points.index points.mereo");
    let most = named["splits"][0]["most"].as_array().expect("most");
    assert!(most.iter().any(|m| m["label"] == "rare red"), "{most:?}");
    // With a mean of (482, 8, 260)/187 taken off, x·p of the second point is −77/187 or so, in place of 4.2: rows are prepared as the model's were.
    p.ok("fit vq points.npy -k 3 --prep center -o centred.mereo");
    p.ok("index centred.mereo points.npy --texts texts.csv --text-columns text --columns colour -o centred.index");
    let centred = &p.json("splitting centred.index --absorption colour --class red")["classes"][0];
    assert_eq!(
        (centred["left_out"].as_u64(), number(&centred["full"]), red["left_out"].as_u64()),
        (Some(2), 0.0, Some(0)),
        "{centred}"
    );
}

#[test]
fn mistakes_are_told_with_the_way_out() {
    let p = Place::new();
    colours(&p);
    p.ok("fit vq digits -k 2 -o two.mereo");
    p.ok("fit vq digits -k 4 -o four.mereo");
    std::fs::create_dir(p.path("empty")).expect("folder");
    for (code, line, words) in [
        (2, "two.mereo points.mereo", &["64 columns", "of 3;", "same data"][..]),
        (2, "four.mereo two.mereo", &["4 latents", "only 2", "smaller model first"]),
        (1, "two.mereo none.mereo", &["`none.mereo`", "mereo fit", "mereo index"]),
        (1, "two.mereo empty", &["`empty`", "not a whole index", "mereo index"]),
        (2, "two.mereo", &["alone", "larger one", "--absorption COLUMN"]),
        (2, "two.mereo four.mereo --latent 2", &["no latent 2", "has 2", "from 0"]),
        (2, "points.mereo --absorption colour", &["`points.mereo` is a file", "mereo index", "--columns colour"]),
        (1, "none.index --absorption colour", &["none.index", "mereo index"]),
        (1, "points.index --absorption shape", &["no column `shape`", "colour, size"]),
        (2, "points.index --absorption size", &["numbers", "column of words"]),
        (2, "points.index --absorption colour --class bleu", &["no class `bleu`", "did you mean `blue`"]),
        (2, "points.index --absorption colour --class green", &["`green` has 5 of 187 rows", "20 rows"]),
        (2, "two.mereo four.mereo --class red", &["--absorption"]),
    ] {
        let said = p.fails(code, &format!("splitting {line}"));
        for word in words {
            assert!(said.contains(word), "{line}: `{word}` is not in\n{said}");
        }
    }
}
