use super::*;
use mereo::bundle;
use mereo::fold::{Options, Shape, fit};
use mereo::source::Memory;
use mereo::{Nmf, Pca, Pipeline, data};
use std::ops::ControlFlow;

fn model(k: usize) -> (Bundle, mereo::Mat) {
    let (x, _) = data::load("digits").expect("digits");
    let method = Nmf { k, max_passes: 5, ..Nmf::default() };
    let fitted = fit(&method, &Memory::from(&x), Options::default()).expect("fit");
    let about = bundle::About::new("digits", Shape { rows: x.rows, cols: x.cols }, &method, &fitted);
    (Bundle { pipeline: Pipeline::raw(x.cols), model: Box::new(fitted.model), about }, x)
}

#[test]
fn an_index_holds_the_codes_both_ways_whatever_the_memory() {
    let (bundle, x) = model(8);
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("digits.index");
    let texts: Vec<String> = (0..x.rows).map(|i| format!("row {i} — ü")).collect();
    let words: Vec<Option<String>> = (0..x.rows).map(|i| (i % 3 > 0).then(|| format!("class {}", i % 3))).collect();
    let columns = [
        Column { name: "class".into(), values: Values::classes(&words) },
        Column {
            name: "number".into(),
            values: Values::Numbers((0..x.rows).map(|i| if i == 1 { f64::NAN } else { i as f64 }).collect()),
        },
    ];
    let want = bundle.encode(&x.view()).expect("codes").to_mat();
    let mut entries = 0;
    for memory in [1, 10_000, 512 << 20] {
        let mut seen = 0;
        let mut watch = |rows| {
            seen += rows;
            ControlFlow::Continue(())
        };
        let how = Build { data: "digits", texts: Some(&texts), columns: &columns, memory, watch: Some(&mut watch) };
        // Over the one that is there.
        build(&path, &bundle, &Memory::cut(x.view(), 100), how).expect("index");
        assert_eq!(seen, x.rows);
        let index = Index::open(&path).expect("open");
        let codes = index.codes();
        assert_eq!((codes.rows(), codes.latents()), (x.rows, 8));
        for i in 0..x.rows {
            for j in 0..8 {
                assert_eq!(codes.by_row.value(i, j as u32), want.row(i)[j]);
                assert_eq!(codes.by_latent.value(j, i as u32), want.row(i)[j]);
            }
        }
        entries = want.data.iter().filter(|v| **v != 0.0).count();
        assert_eq!((codes.by_row.at.len(), codes.by_latent.at.len()), (entries, entries));
        assert_eq!((index.row(5), index.text(7), Texts::count(&index)), (x.row(5), "row 7 — ü", x.rows));
        assert_eq!(index.column("class").expect("class"), columns[0]);
        let Values::Numbers(numbers) = index.column("number").expect("number").values else { panic!("numbers") };
        assert!(numbers[1].is_nan() && numbers[2] == 2.0);
    }
    assert!(entries > 100);
    // Nothing is left beside it.
    assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 1);
}

#[test]
fn what_can_be_no_index_is_refused_and_nothing_is_lost() {
    let (bundle, x) = model(4);
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("i");
    let rows = Memory::from(&x);
    let said = |path: &Path, bundle: &Bundle, how: Build| build(path, bundle, &rows, how).expect_err("refused").to_string();
    let few = vec!["a"; 3];
    assert!(said(&path, &bundle, Build { texts: Some(&few), ..Build::default() }).contains("3 texts for 1797 rows"));
    assert!(said(folder.path(), &bundle, Build::default()).contains("is no index"));
    let mut stop = |_| ControlFlow::Break(());
    assert!(said(&path, &bundle, Build { watch: Some(&mut stop), ..Build::default() }).contains("interrupted"));
    assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0);
    let pca = fit(&Pca { k: 4, ..Pca::default() }, &rows, Options::default()).expect("pca");
    let about = bundle::About::new("digits", Shape { rows: x.rows, cols: x.cols }, &Pca { k: 4, ..Pca::default() }, &pca);
    let pca = Bundle { pipeline: Pipeline::raw(x.cols), model: Box::new(pca.model), about };
    assert!(said(&path, &pca, Build::default()).contains("sparse or at least 0"));
    assert!(Index::open(&path).err().expect("none").to_string().contains("mereo index"));
    build(&path, &bundle, &rows, Build::default()).expect("index");
    let index = Index::open(&path).expect("open");
    assert!(index.need_texts().is_err() && index.need_latent(4).is_err() && index.need_latent(3).is_ok());
    assert!(index.column("class").expect_err("none").to_string().contains("--texts"));
    assert_eq!(index.labels().expect("none yet"), vec![None; 4]);
    let label = Labelled { latent: 2, label: "a loop".into(), by: "terms".into(), f1: Some(0.5), ..Labelled::default() };
    index.keep_labels(std::slice::from_ref(&label)).expect("kept");
    assert_eq!(index.labels().expect("labels"), [None, None, Some(label), None]);
    std::fs::write(path.join("labels.jsonl"), "{\"latent\":9,\"label\":\"\",\"by\":\"\"}\n").expect("write");
    assert!(index.labels().expect_err("wild").to_string().contains("no latent 9"));
    std::fs::write(path.join("labels.jsonl"), "{").expect("write");
    assert!(index.labels().expect_err("torn").to_string().contains("line 1"));
    drop(index);
    // A file that was cut short, and one that points nowhere.
    let at = path.join("latent.at");
    let whole = std::fs::read(&at).expect("read");
    std::fs::write(&at, &whole[1..]).expect("write");
    assert!(Index::open(&path).err().expect("cut").to_string().contains("build the index again"));
    std::fs::write(&at, vec![0xff; whole.len()]).expect("write");
    assert!(Index::open(&path).err().expect("wild").to_string().contains("damaged"));
}
