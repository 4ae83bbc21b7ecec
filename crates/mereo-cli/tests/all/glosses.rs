//! The embedded texts: from a fit to a search, with nothing but the program.

use crate::place::Place;

#[test]
fn embedded_texts_are_fitted_indexed_labelled_and_searched() {
    let p = Place::new();
    p.ok("fit sae glosses --latents 256 --k 8 --max-passes 20 -o words.mereo");
    let made = p.json("index words.mereo glosses -o words.index");
    assert_eq!((made["rows"].as_u64(), made["texts"].as_bool()), (Some(3000), Some(true)), "{made}");
    assert_eq!(made["columns"], serde_json::json!(["lexname", "synset", "hypernym"]));
    let labelled = p.json("label words.index");
    assert!(labelled["labelled"].as_u64().is_some_and(|n| n > 100), "{}", labelled["labelled"]);
    let out = p.command(&["search", "words.index", "a large animal", "--json"]).output().expect("mereo runs");
    let found: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let known = mereo::data::texts("glosses").expect("decoded").expect("texts");
    let hits: Vec<usize> =
        found["results"].as_array().expect("results").iter().map(|h| h["row"].as_u64().expect("row") as usize).collect();
    assert_eq!(found["results"][0]["text"], known.texts[hits[0]]);
    let beasts = hits.iter().filter(|&&i| known.columns[0].1[i] == "noun.animal").count();
    assert!(beasts >= 5, "{beasts} of {} animals: {found}", hits.len());
    // A class is foretold by some latent.
    let told = p.json("tell words.index --column lexname --class noun.animal --top 1");
    assert!(told["found"][0]["auc"].as_f64().is_some_and(|a| a > 0.65), "{told}");
    // What was typed comes before what is embedded.
    std::fs::write(p.path("short.txt"), "one\ntwo\n").expect("write");
    let said = p.fails(1, "index words.mereo glosses --texts short.txt -o other.index");
    assert!(said.contains("2 texts for 3000 rows"), "{said}");
}

#[test]
fn the_claims_on_embeddings_are_told_one_by_one() {
    let p = Place::new();
    let said = p.json("repro oneill --quick --passes 2 -o o.html");
    let claims = said["claims"].as_array().expect("claims");
    let ids: Vec<&str> = claims.iter().filter_map(|c| c["id"].as_str()).collect();
    assert_eq!(ids, ["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11"]);
    // What depends on no training, or on little: the others take more than two passes over 3,000 rows.
    for id in ["S4", "S8", "S9", "S10"] {
        let claim = claims.iter().find(|c| c["id"] == id).expect("claim");
        assert_eq!(claim["held"].as_bool(), Some(true), "{claim}");
    }
    let page = crate::place::page(&p.path("o.html"));
    assert!(page.contains("the embedded glosses") && page.contains("rewritten by words") && page.contains("WordNet"));
    let out = p.run("repro oneill --rows a.npy");
    assert!(out.status.code() == Some(2) && crate::place::text(&out.stderr).contains("--texts"));
}

#[test]
fn their_terms_are_shown_in_full() {
    let p = Place::new();
    let said = p.ok("data show glosses");
    assert!(said.contains("Princeton University") && said.contains("Permission to use, copy, modify and distribute"), "{said}");
    assert!(!p.ok("data show digits").contains("Permission"));
}
