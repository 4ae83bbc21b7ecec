use super::*;
use crate::tests::{expected, golden, ids, texts};
use serde_json::json;

#[test]
fn tricky_texts_give_the_ids_of_the_tokenizers_package() {
    let list = read(&golden("pieces/vocab.txt")).expect("vocabulary");
    for (name, lower) in [("uncased", true), ("cased", false)] {
        let pieces = WordPiece::from_list(&list, &json!({ "do_lower_case": lower })).expect("pieces");
        let want = expected(name);
        for (text, want) in texts(&want).iter().zip(want["ids"].as_array().expect("ids")) {
            let got: Vec<u64> = pieces.encode(text, usize::MAX).into_iter().map(u64::from).collect();
            assert_eq!(got, ids(want), "{name}: {text:?}");
        }
    }
}

#[test]
fn a_text_is_cut_before_what_stands_around_it() {
    let pieces = WordPiece::from_list("[UNK]\n[CLS]\n[SEP]\na\n##b\n", &json!(null)).expect("pieces");
    assert_eq!(pieces.encode("ab ab", 16), [1, 3, 4, 3, 4, 2]);
    assert_eq!(pieces.encode("ab ab", 5), [1, 3, 4, 3, 2]);
    assert_eq!(pieces.encode("ab [SEP] ab", 16), [1, 3, 4, 2, 3, 4, 2]);
    assert_eq!(pieces.pieces("c abc", 16), [0, 0]);
}
