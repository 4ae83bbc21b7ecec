use super::*;
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, LargeStringArray, ListArray, RecordBatch, StringArray,
    types::Int32Type,
};
use parquet::arrow::ArrowWriter;
use std::fs::{File, write};
use std::sync::Arc;

const CSV: &str = "\u{feff}title,abstract,id,year,open\nA,\"one, \"\"two\"\"\nthree\",0704.0001,1999,true\n,alone,0704.0002,,\nB,,12,2001,false\n";

fn file(name: &str, content: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join(name);
    write(&path, content).expect("written");
    (folder, path)
}

fn both(keep: Keep) -> Reading {
    Reading { text: vec!["title".into(), "abstract".into()], keep, ..Reading::default() }
}

fn refused(name: &str, content: &str, how: &Reading) -> String {
    let (_folder, path) = file(name, content);
    read(&path, how).expect_err("refused").to_string()
}

fn some(texts: &[&str]) -> Column {
    Column::Text(texts.iter().map(|t| if t.is_empty() { None } else { Some((*t).to_owned()) }).collect())
}

/// As one string, since NaN is not itself.
fn shown(columns: &[(String, Column)]) -> String {
    format!("{columns:?}")
}

#[test]
fn lines_of_text_are_texts() {
    let (_folder, path) = file("a.txt", "\u{feff}one\r\n\n  two \nthree");
    let table = read(&path, &Reading { rows: Some(2), ..Reading::default() }).expect("read");
    assert_eq!(table.texts, ["one", "two"]);
    let e = read(&path, &both(Keep::Nothing)).expect_err("refused").to_string();
    assert!(e.contains("no column is called `title`"), "{e}");
}

#[test]
fn separated_columns_are_joined_and_the_others_kept_in_their_kinds() {
    let (_folder, path) = file("a.csv", CSV);
    let table = read(&path, &both(Keep::Others)).expect("read");
    assert_eq!(table.texts, ["A. one, \"two\"\nthree", "alone", "B"]);
    let want = [
        ("id".to_owned(), some(&["0704.0001", "0704.0002", "12"])),
        ("year".to_owned(), Column::Number(vec![1999.0, f64::NAN, 2001.0])),
        ("open".to_owned(), Column::Bool(vec![Some(true), None, Some(false)])),
    ];
    assert_eq!(shown(&table.columns), shown(&want));
    let (_folder, path) = file("a.tsv", "text\tn\nx, y\t1\n");
    assert_eq!(read(&path, &Reading::default()).expect("read").texts, ["x, y"]);
}

#[test]
fn what_a_file_lacks_is_said_with_what_it_has() {
    let missing = Reading { text: vec!["summary".into()], ..Reading::default() };
    for (name, content) in
        [("a.csv", "title,abstract,year\na,b,1\n"), ("a.jsonl", "{\"title\": \"a\", \"abstract\": \"b\", \"year\": 1}\n")]
    {
        let e = refused(name, content, &missing);
        assert!(
            e.contains("has no column `summary`; it has the columns of texts ")
                && e.contains("`title`")
                && e.contains("and `year`"),
            "{e}"
        );
        let e = refused(name, content, &Reading::default());
        assert!(e.contains("name the column of the texts"), "{e}");
    }
    assert!(refused("a.csv", "a,b\n1\n", &missing).contains("line 2 has 1 cells, the first has 2"));
    assert!(refused("a.jsonl", "{\"t\": \"a\"}\n\nno\n", &missing).contains("line 3 is no JSON object"));
    assert!(refused("a.jsonl", "{\"summary\": 3}\n", &missing).contains("line 1: `summary` is 3, not a text"));
    assert!(refused("a.txt", "\n", &Reading::default()).contains("holds no texts"));
    assert!(refused("a.doc", "x", &missing).contains(".doc is no kind of file known here; texts are read from .txt"));
    assert!(refused("a.parquet", "PAR1", &missing).contains("not a whole parquet file"));
    let (_folder, path) = file("a.txt", "");
    write(&path, b"fine\nna\xefve\n").expect("written");
    let e = read(&path, &Reading::default()).expect_err("refused").to_string();
    assert!(e.contains("line 2 is not UTF-8"), "{e}");
}

#[test]
fn json_lines_give_fields_and_metadata() {
    let lines = "{\"text\": \"one\", \"n\": 1, \"tags\": [\"a\"], \"who\": \"x\"}\n{\"text\": null, \"n\": 2.5, \"who\": 3}\n{\"n\": null, \"text\": \"two\"}\n";
    let (_folder, path) = file("a.jsonl", lines);
    let table = read(&path, &Reading { keep: Keep::Others, ..Reading::default() }).expect("read");
    assert_eq!(table.texts, ["one", "", "two"]);
    let want = [("n".to_owned(), Column::Number(vec![1.0, 2.5, f64::NAN])), ("who".to_owned(), some(&["x", "3", ""]))];
    let mut columns = table.columns;
    columns.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(shown(&columns), shown(&want));
    let e =
        read(&path, &Reading { keep: Keep::Named(vec!["tags".into()]), ..Reading::default() }).expect_err("refused").to_string();
    assert!(e.contains("`tags` holds lists"), "{e}");
}

#[test]
fn parquet_columns_of_both_string_types_are_texts() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None, Some(vec![])]);
    let columns: [(&str, ArrayRef); 7] = [
        ("abstract", Arc::new(LargeStringArray::from(vec![Some("one"), Some("two"), None]))),
        ("title", Arc::new(StringArray::from(vec![Some("A"), None, None]))),
        ("list", Arc::new(list)),
        ("n", Arc::new(Int64Array::from(vec![Some(3), None, Some(-5)]))),
        ("x", Arc::new(Float64Array::from(vec![0.5, 1.0, 2.0]))),
        ("yes", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("day", Arc::new(Date32Array::from(vec![Some(19_860), None, Some(0)]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).expect("batch");
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("a.parquet");
    let mut writer = ArrowWriter::try_new(File::create(&path).expect("file"), batch.schema(), None).expect("writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    let table = read(&path, &both(Keep::Others)).expect("read");
    assert_eq!(table.texts, ["A. one", "two", ""]);
    let want = [
        ("n".to_owned(), Column::Number(vec![3.0, f64::NAN, -5.0])),
        ("x".to_owned(), Column::Number(vec![0.5, 1.0, 2.0])),
        ("yes".to_owned(), Column::Bool(vec![Some(true), None, Some(false)])),
        ("day".to_owned(), some(&["2024-05-17", "", "1970-01-01"])),
    ];
    assert_eq!(shown(&table.columns), shown(&want));
    let named = Reading { rows: Some(1), ..both(Keep::Named(vec!["yes".into(), "abstract".into()])) };
    let table = read(&path, &named).expect("read");
    assert_eq!(table.columns, [("yes".to_owned(), Column::Bool(vec![Some(true)])), ("abstract".to_owned(), some(&["one"]))]);
    let e = read(&path, &Reading { text: vec!["n".into()], ..Reading::default() }).expect_err("refused").to_string();
    assert!(e.contains("column `n` holds no texts; it has the columns of texts `abstract`, `title`, and `list`"), "{e}");
}
