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
fn their_terms_are_shown_in_full() {
    let p = Place::new();
    let said = p.ok("data show glosses");
    assert!(said.contains("Princeton University") && said.contains("Permission to use, copy, modify and distribute"), "{said}");
    assert!(!p.ok("data show digits").contains("Permission"));
}
