//! Sparse autoencoders of other libraries on the command line: converted, used, and refused with what to do instead.

use crate::place::{Place, read_npy};
use serde_json::json;
use std::path::Path;

/// A sparse autoencoder that another library saved: 16 latents of 6 columns.
fn golden(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../mereo/tests/golden/sae").join(name).display().to_string()
}

fn place() -> Place {
    let p = Place::new();
    p.npy("x.npy", 20, 6, |i, j| ((i * 7 + j * 3) % 11) as f32 / 5.0 - 1.0);
    p
}

#[test]
fn from_one_library_to_another_and_the_codes_stay() {
    let p = place();
    let told = p.json(&format!("convert {} a.mereo", golden("saelens_topk")));
    assert_eq!(
        (told["from"].as_str(), told["to"].as_str(), told["latents"].as_u64()),
        (Some("saelens"), Some("mereo"), Some(16))
    );
    assert_eq!(told["gate"], "the 4 largest");
    assert!(told["notes"][0].as_str().expect("note").contains("norms of decoder rows"), "{told}");
    p.ok("transform a.mereo x.npy -o a.npy");
    let (_, codes) = read_npy(&p.path("a.npy"));
    assert!(codes.chunks(16).all(|row| (1..=4).contains(&row.iter().filter(|v| **v > 0.0).count())));
    for (to, name) in [
        ("saelens", "lens"),
        ("saelens-v5", "lens5"),
        ("sparsify", "coder"),
        ("dictionary-learning", "dictionary"),
        ("hypothesaes", "h.pt"),
        ("saerch", "4_16.pth"),
    ] {
        p.ok(&format!("convert a.mereo {name} --to {to}"));
        let told = p.json(&format!("convert {name} b.mereo"));
        assert_eq!(told["from"], to);
        p.ok("transform b.mereo x.npy -o b.npy");
        let (_, again) = read_npy(&p.path("b.npy"));
        assert!(codes.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-5), "{to}");
    }
    // Written over, and straight from one library to another.
    p.ok("convert coder lens --to saelens");
    p.ok(&format!("convert {} params.npz", golden("dictionary_JumpReluAutoEncoder")));
    assert_eq!(p.json("convert params.npz lens --to saelens")["from"], "gemma-scope");
    let info = p.json("info a.mereo");
    assert_eq!((info["method"].as_str(), info["params"]["from"].as_str()), (Some("sae"), Some("saelens")));
    let said = p.ok("info a.mereo");
    assert!(said.contains("elsewhere (saelens)") && !said.contains("passes"), "{said}");
}

#[test]
fn what_cannot_be_converted_is_refused_with_what_can() {
    let p = place();
    p.ok(&format!("convert {} a.mereo", golden("saelens_topk")));
    p.ok("fit pca digits -k 2 -o pca.mereo");
    p.write("old.pt", "an earlier result");
    let names = p.names();
    for (code, line, what) in [
        (2, "convert a.mereo b.pt", "with --to: mereo, saelens"),
        (2, "convert a.mereo b.pt --to sealens", "no format of sparse autoencoders is called `sealens`"),
        (2, "convert a.mereo old.pt --to openai", "hypothesaes can"),
        (2, "convert a.mereo b.pth --to saerch", "call it 4_16.pth"),
        (2, "convert a.mereo params.npz", "gemma-scope has no way to say a top k"),
        (2, "convert a.mereo old.pt --to sparsify", "sparsify is a folder, but old.pt is a file"),
        (2, "convert a.mereo b.mereo", "both are models of mereo"),
        (2, "convert pca.mereo b --to saelens", "is a model of pca"),
        (2, "convert a.mereo a.mereo", "another part in this command"),
        (1, "convert nothing b.mereo", "nothing"),
        (1, "convert x.npy b.mereo", "doesn't tell a sparse autoencoder"),
        (1, "convert old.pt b.mereo", "torch.save"),
        (1, "convert a.mereo nowhere/b --to saelens", "nowhere doesn't exist"),
    ] {
        let said = p.fails(code, line);
        assert!(said.contains(what), "mereo {line}\n{said}");
        assert_eq!(p.names(), names, "mereo {line}");
    }
    assert_eq!(std::fs::read(p.path("old.pt")).expect("old"), b"an earlier result");
    let said = p.fails(2, &format!("convert {} b.mereo --k 3", golden("openai_topk.pt")));
    assert!(said.contains("k was given"), "{said}");
    std::fs::copy(golden("4_16_8_auxk_epoch_1.pth"), p.path("s.pth")).expect("copied");
    assert!(p.fails(1, "convert s.pth b.mereo").contains("--k"));
    assert_eq!(p.json("convert s.pth b.mereo --k 3")["gate"], "the 3 largest");
}

#[test]
fn rows_come_back_in_their_own_units() {
    let p = place();
    p.ok(&format!("convert {} a.mereo", golden("openai_topk.pt")));
    let told = p.json("reconstruct a.mereo x.npy -o back.npy");
    // The same rows ten times as large are rebuilt ten times as large, since each is normalised.
    p.npy("wide.npy", 20, 6, |i, j| 10.0 * (((i * 7 + j * 3) % 11) as f32 / 5.0 - 1.0));
    let wide = p.json("reconstruct a.mereo wide.npy -o wide_back.npy");
    let ((_, a), (_, b)) = (read_npy(&p.path("back.npy")), read_npy(&p.path("wide_back.npy")));
    assert!(a.iter().zip(&b).all(|(a, b)| (10.0 * a - b).abs() < 1e-3));
    let fvu = |v: &serde_json::Value| v["errors"]["fvu"].as_f64().expect("fvu");
    assert!((fvu(&told) - fvu(&wide)).abs() < 1e-3, "{told} {wide}");
}

#[test]
fn the_largest_codes_alone() {
    let p = place();
    p.ok(&format!("convert {} a.mereo", golden("saelens_topk")));
    p.ok("transform a.mereo x.npy -o a.npy");
    let (_, codes) = read_npy(&p.path("a.npy"));
    let told = p.json("transform a.mereo x.npy -o top --top 4");
    assert_eq!((told["rows"].clone(), told["atoms"].clone()), (json!(20), json!(16)));
    let (shape, values) = read_npy(&p.path("top/topk_values.npy"));
    assert_eq!(shape, [20, 4]);
    for (row, top) in codes.chunks(16).zip(values.chunks(4)) {
        let mut row = row.to_vec();
        row.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(row[..4], *top);
    }
    p.ok("transform a.mereo x.npy -o top --top 4");
    p.ok("transform a.mereo x.npy -o top.parquet --top 2");
    p.ok("transform a.mereo x.npy -o top.npz --top 2");
    assert!(p.json("info top.npz")["values"]["nonzeros"].as_u64().expect("count") <= 40);
    assert!(p.fails(2, "transform a.mereo x.npy -o top.csv --top 2").contains("every code only"));
    assert!(p.fails(2, "transform a.mereo x.npy -o none --top 17").contains("17 largest of 16"));
}
