//! Texts to token ids, as BERT has it: words cut at spaces and punctuation, then greedily into the longest pieces of a vocabulary.
//!
//! Reads `tokenizer.json` of the type WordPiece, or `vocab.txt` (a piece a line, numbered from 0) beside `tokenizer_config.json`.
//! Every other type of tokeniser is refused by its name. Devlin et al. 2019; what counts as a control character, punctuation
//! or Chinese follows the `tokenizers` package, so that ids agree with it.

use mereo::{Error, Result};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// A vocabulary and how texts are cut into its pieces.
#[derive(Debug)]
// Each is a setting of its own in the files.
#[allow(clippy::struct_excessive_bools)]
pub struct WordPiece {
    vocabulary: HashMap<String, u32>,
    /// Pieces that are found in the raw text, longest first: `[SEP]` and its like.
    whole: Vec<(String, u32)>,
    unknown: Option<u32>,
    inner: String,
    longest: usize,
    clean: bool,
    chinese: bool,
    strip: bool,
    lower: bool,
    before: Vec<u32>,
    after: Vec<u32>,
    largest: u32,
}

impl WordPiece {
    /// From `tokenizer.json` in a folder, else from its `vocab.txt`.
    pub fn open(folder: &Path) -> Result<Self> {
        let (json, list) = (folder.join("tokenizer.json"), folder.join("vocab.txt"));
        if json.is_file() {
            return Self::from_json(&read_json(&json)?).map_err(|e| Error::format(json, e));
        }
        if !list.is_file() {
            return Err(Error::format(
                folder,
                "has neither tokenizer.json nor vocab.txt, so texts can't be cut into tokens; copy the whole folder of the model",
            ));
        }
        let text = read(&list)?;
        let config = folder.join("tokenizer_config.json");
        let config = if config.is_file() { read_json(&config)? } else { Value::Null };
        Self::from_list(&text, &config).map_err(|e| Error::format(list, e))
    }

    fn from_list(text: &str, config: &Value) -> std::result::Result<Self, String> {
        let vocabulary: HashMap<String, u32> =
            text.lines().zip(0..).map(|(piece, id)| (piece.trim_end().to_owned(), id)).collect();
        if vocabulary.is_empty() {
            return Err("is empty; a vocabulary has a piece on each line".into());
        }
        let named = |key: &str, usual: &str| {
            let token = &config[key];
            let token = token.as_str().or(token["content"].as_str()).unwrap_or(usual).to_owned();
            vocabulary.get(&token).map(|id| (token, *id))
        };
        let ends = (named("cls_token", "[CLS]"), named("sep_token", "[SEP]"));
        let unknown = named("unk_token", "[UNK]");
        let others = [named("pad_token", "[PAD]"), named("mask_token", "[MASK]")];
        let whole = others.into_iter().chain([unknown.clone(), ends.0.clone(), ends.1.clone()]).flatten().collect();
        let lower = config["do_lower_case"].as_bool().unwrap_or(true);
        let (before, after) = match ends {
            (Some((_, first)), Some((_, last))) => (vec![first], vec![last]),
            _ => Default::default(),
        };
        let pieces = Self {
            vocabulary,
            whole,
            unknown: unknown.map(|(_, id)| id),
            inner: "##".into(),
            longest: 100,
            clean: true,
            chinese: config["tokenize_chinese_chars"].as_bool().unwrap_or(true),
            strip: config["strip_accents"].as_bool().unwrap_or(lower),
            lower,
            before,
            after,
            largest: 0,
        };
        Ok(pieces.ready())
    }

    fn from_json(json: &Value) -> std::result::Result<Self, String> {
        let model = &json["model"];
        let kind = model["type"].as_str().unwrap_or("of no name");
        if kind != "WordPiece" {
            return Err(format!("its tokeniser is {kind}, only WordPiece is read; use a model of BERT's kind, or an endpoint"));
        }
        let id = |v: &Value| v.as_u64().and_then(|v| u32::try_from(v).ok());
        let vocabulary: HashMap<String, u32> = model["vocab"]
            .as_object()
            .and_then(|all| all.iter().map(|(piece, v)| Some((piece.clone(), id(v)?))).collect())
            .ok_or("its model has no vocabulary of pieces and their numbers; copy it again")?;
        let rule = normalizer(&json["normalizer"])?;
        let word = json["pre_tokenizer"]["type"].as_str();
        if word != Some("BertPreTokenizer") {
            return Err(format!("cuts words by {}, only BertPreTokenizer is read", word.unwrap_or("nothing")));
        }
        let added = json["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
        let whole = added.iter().filter_map(|t| Some((t["content"].as_str()?.to_owned(), id(&t["id"])?))).collect();
        let (before, after) = ends(&json["post_processor"])?;
        let strict = |key: &str| rule[key].as_bool();
        let lower = strict("lowercase").unwrap_or(!rule.is_null());
        let pieces = Self {
            unknown: model["unk_token"].as_str().and_then(|t| vocabulary.get(t)).copied(),
            vocabulary,
            whole,
            inner: model["continuing_subword_prefix"].as_str().unwrap_or("##").into(),
            longest: model["max_input_chars_per_word"].as_u64().unwrap_or(100) as usize,
            clean: strict("clean_text").unwrap_or(!rule.is_null()),
            chinese: strict("handle_chinese_chars").unwrap_or(!rule.is_null()),
            strip: strict("strip_accents").unwrap_or(lower),
            lower,
            before,
            after,
            largest: 0,
        };
        Ok(pieces.ready())
    }

    fn ready(mut self) -> Self {
        self.whole.retain(|(token, _)| !token.is_empty());
        self.whole.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then(a.0.cmp(&b.0)));
        let ids = self.vocabulary.values().chain(self.whole.iter().map(|(_, id)| id)).chain(&self.before).chain(&self.after);
        self.largest = ids.copied().max().unwrap_or(0);
        self
    }

    /// The largest id that can come out: the table of vectors needs a row for it.
    pub fn largest(&self) -> u32 {
        self.largest
    }

    /// The id of a word that no pieces make up.
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// How many tokens are put around those of a text.
    pub fn around(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// Ids of a text with those that its model wants around them, cut to `most` in all.
    pub fn encode(&self, text: &str, most: usize) -> Vec<u32> {
        let mut ids = self.before.clone();
        ids.extend(self.pieces(text, most.saturating_sub(self.around())));
        ids.extend(&self.after);
        ids
    }

    /// The first `most` ids of a text, with nothing around them.
    pub fn pieces(&self, text: &str, most: usize) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut rest = text;
        while !rest.is_empty() && ids.len() < most {
            let found = self.whole.iter().filter_map(|(t, id)| Some((rest.find(t.as_str())?, t, *id))).min_by_key(|(at, ..)| *at);
            let Some((at, token, id)) = found else {
                self.plain(rest, most, &mut ids);
                break;
            };
            self.plain(&rest[..at], most, &mut ids);
            ids.push(id);
            rest = &rest[at + token.len()..];
        }
        ids.truncate(most);
        ids
    }

    /// Ids of a text without whole tokens; it stops once there are enough.
    fn plain(&self, text: &str, most: usize, ids: &mut Vec<u32>) {
        let text = self.normal(text);
        for word in text.split(char::is_whitespace) {
            let mut from = 0;
            for (at, c) in word.char_indices().filter(|(_, c)| punctuation(*c)) {
                let end = at + c.len_utf8();
                self.word(&word[from..at], ids);
                self.word(&word[at..end], ids);
                from = end;
            }
            self.word(&word[from..], ids);
            if ids.len() >= most {
                return;
            }
        }
    }

    fn normal(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 8);
        if text.is_ascii() {
            for c in text.bytes().filter(|b| !self.clean || matches!(b, b'\t' | b'\n' | b'\r' | b' '..127)) {
                let space = self.clean && c.is_ascii_whitespace();
                let c = if self.lower { c.to_ascii_lowercase() } else { c };
                out.push(if space { ' ' } else { c.into() });
            }
            return out;
        }
        let kept = text.chars().filter(|c| !(self.clean && control(*c)));
        let kept = kept.flat_map(|c| {
            let around = if self.chinese && chinese(c) { Some(' ') } else { None };
            let c = if self.clean && c.is_whitespace() { ' ' } else { c };
            around.into_iter().chain([c]).chain(around)
        });
        let lower = |out: &mut String, c: char| {
            if self.lower {
                out.extend(c.to_lowercase());
            } else {
                out.push(c);
            }
        };
        if self.strip {
            let bare = |c: &char| c.is_ascii() || c.general_category() != GeneralCategory::NonspacingMark;
            kept.nfd().filter(bare).for_each(|c| lower(&mut out, c));
        } else {
            kept.for_each(|c| lower(&mut out, c));
        }
        out
    }

    /// Ids of one word: the longest piece that it starts with, then the longest that goes on, or one id if that fails.
    fn word(&self, word: &str, ids: &mut Vec<u32>) {
        if word.is_empty() {
            return;
        }
        let start = ids.len();
        let mut from = 0;
        let mut whole = word.chars().count() <= self.longest;
        let mut piece = String::new();
        while whole && from < word.len() {
            let ends = word[from..].char_indices().map(|(at, c)| from + at + c.len_utf8()).rev();
            let found = ends.into_iter().find_map(|end| {
                let id = if from == 0 {
                    self.vocabulary.get(&word[..end])
                } else {
                    piece.clear();
                    piece.push_str(&self.inner);
                    piece.push_str(&word[from..end]);
                    self.vocabulary.get(&piece)
                };
                id.map(|id| (*id, end))
            });
            match found {
                Some((id, end)) => {
                    ids.push(id);
                    from = end;
                }
                None => whole = false,
            }
        }
        if !whole {
            ids.truncate(start);
            ids.extend(self.unknown);
        }
    }
}

/// The one rule of BERT that a normaliser is, or null.
fn normalizer(json: &Value) -> std::result::Result<&Value, String> {
    match json["type"].as_str() {
        None | Some("BertNormalizer") => Ok(json),
        Some("Sequence") => match json["normalizers"].as_array().map(Vec::as_slice) {
            Some([one]) => normalizer(one),
            _ => Err("changes texts by several rules before it cuts them, only BertNormalizer is read".into()),
        },
        Some(other) => Err(format!("changes texts by {other} before it cuts them, only BertNormalizer is read")),
    }
}

/// Ids before and after those of one text.
fn ends(json: &Value) -> std::result::Result<(Vec<u32>, Vec<u32>), String> {
    let id = |v: &Value| v.as_u64().and_then(|v| u32::try_from(v).ok());
    let Some(kind) = json["type"].as_str() else { return Ok(Default::default()) };
    let broken = || format!("its {kind} lacks the numbers of its tokens; copy it again");
    match kind {
        "BertProcessing" | "RobertaProcessing" => {
            let of = |key: &str| id(&json[key][1]).map(|id| vec![id]).ok_or_else(broken);
            Ok((of("cls")?, of("sep")?))
        }
        "TemplateProcessing" => {
            let mut ends = (Vec::new(), Vec::new());
            let mut passed = false;
            for part in json["single"].as_array().ok_or_else(broken)? {
                let Some(name) = part["SpecialToken"]["id"].as_str() else {
                    passed = true;
                    continue;
                };
                let ids = json["special_tokens"][name]["ids"].as_array().ok_or_else(broken)?;
                let ids: Option<Vec<u32>> = ids.iter().map(id).collect();
                if passed { &mut ends.1 } else { &mut ends.0 }.extend(ids.ok_or_else(broken)?);
            }
            Ok(ends)
        }
        other => Err(format!("puts tokens around a text by {other}, only BertProcessing and TemplateProcessing are read")),
    }
}

/// What is dropped: control, format and private characters, and the mark of a broken one.
fn control(c: char) -> bool {
    use GeneralCategory::{Control, Format, PrivateUse};
    match c {
        '\t' | '\n' | '\r' | ' '..='~' => false,
        '\u{fffd}' => true,
        _ => matches!(c.general_category(), Control | Format | PrivateUse),
    }
}

fn punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || !c.is_ascii() && c.general_category_group() == GeneralCategoryGroup::Punctuation
}

/// Characters of Chinese, which are words of their own.
fn chinese(c: char) -> bool {
    matches!(c as u32, 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F | 0x2B740..=0x2B81F
        | 0x2B920..=0x2CEAF | 0x2F800..=0x2FA1F)
}

/// A text file.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::io(PathBuf::from(path), e))
}

/// A JSON file.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    serde_json::from_str(&read(path)?).map_err(|e| Error::format(path, format!("is no JSON ({e}); copy it again")))
}

#[cfg(test)]
#[path = "wordpiece_tests.rs"]
mod tests;
