//! What a language model is asked, and what it answered, as plain data: nothing here goes over a network.
//!
//! The structure is that of O'Neill et al. (2024), after Bills et al. (2023). A **labeller** sees texts with the codes of one latent and
//! texts without, and names what sets the former apart; a **predictor** sees a label and one text, and says whether the latent should be active.
//! Both have a twin for a family of latents. Ask with [`TEMPERATURE`].

use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Write};

/// The temperature to ask with: the likeliest answer.
pub const TEMPERATURE: f64 = 0.0;
/// Comes before a label.
pub const LABEL: &str = "FINAL:";
/// Comes before a confidence.
pub const PREDICTION: &str = "PREDICTION:";
/// Words of a label at most; an answer of more than twice as many is none.
pub const WORDS: usize = 8;
/// Between texts.
const RULE: &str = "----------------------------------------";

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it: "system" or "user".
    pub role: String,
    /// What.
    pub content: String,
}

impl Message {
    fn new(role: &str, content: String) -> Self {
        Self { role: role.into(), content }
    }
}

/// Asks for the label of a latent from texts with its codes, and from texts that lack it. `field` is what the corpus is about
/// ("astronomy"); it may be empty.
pub fn labelling(field: &str, active: &[(f32, &str)], lacking: &[&str]) -> Vec<Message> {
    let system = format!(
        "You study a neural network that was trained on {}, one neuron at a time, with the care of a scientist. Your task is to find the \
one thing that a given neuron responds to.\n\n\
You are given two lists.\n\
1. ACTIVE TEXTS: texts to which the neuron responds, each with the strength of its response, between lines of dashes.\n\
2. SILENT TEXTS: texts to which it does not respond at all.\n\n\
Work in steps.\n\
Step 1. Write down what the active texts have in common: subjects, methods, objects, phenomena. Be as specific as the texts allow, and \
give more weight to texts with a stronger response.\n\
Step 2. Go through the silent texts. Cross out every candidate that is found there, too, since it can't be what the neuron responds to.\n\
Step 3. Of what is left, take the simplest explanation that covers the active texts: no narrower than it must be, and no broader than \
the silent texts allow.\n\
Step 4. On a last line, write {LABEL} and then that explanation in 1 to {WORDS} words: the thing itself, without 'papers on' or \
'presence of'.",
        papers(field)
    );
    let mut user = String::from("ACTIVE TEXTS\n");
    for (value, text) in active {
        // Writing to a string can't fail.
        let _ = write!(user, "{RULE}\nResponse: {value:.3}\n{}\n", text.trim());
    }
    let _ = write!(user, "{RULE}\n\nSILENT TEXTS\n");
    for text in lacking {
        let _ = write!(user, "{RULE}\n{}\n", text.trim());
    }
    let _ = write!(user, "{RULE}\n\nGo through the steps, and end with {LABEL} and your explanation.");
    vec![Message::new("system", system), Message::new("user", user)]
}

/// Asks for the label of a family: of its parent, and of all children.
pub fn labelling_family(field: &str, parent: &str, children: &[&str]) -> Vec<Message> {
    let system = format!(
        "You study a neural network that was trained on {}. Some of its neurons form a family: a general one, the parent, which is active \
whenever one of several special ones, its children, is. Each has a short label. Find the one concept that all of them fall under.\n\n\
Look first for what the children share, then check it against the parent. Prefer a concept that fits nearly all of them to one that \
fits all but says little; a few labels may be wrong.\n\
On a last line, write {LABEL} and then the concept in 2 to {WORDS} words.",
        papers(field)
    );
    let mut user = format!("PARENT\n- {}\n\nCHILDREN\n", parent.trim());
    for child in children {
        let _ = writeln!(user, "- {}", child.trim());
    }
    let _ = write!(user, "\nThink it through, and end with {LABEL} and the concept.");
    vec![Message::new("system", system), Message::new("user", user)]
}

/// Asks whether a latent of that label is active on a text.
pub fn predicting(label: &str, text: &str) -> Vec<Message> {
    predict("A neuron of a neural network responds to one thing only, which a short description names.", "neuron", label, text)
}

/// Asks whether a family of that label is active on a text.
pub fn predicting_family(label: &str, text: &str) -> Vec<Message> {
    let what = "A family of neurons of a neural network responds to one theme: each of its neurons to some part of it. A short \
description names the theme, and the family responds if any of its neurons does.";
    predict(what, "family", label, text)
}

fn predict(what: &str, who: &str, label: &str, text: &str) -> Vec<Message> {
    let system = format!(
        "{what} You are given the description and one text. Say whether the {who} responds to the text.\n\n\
First reason briefly: what is the text about, and is that what the description names? A text of the same field that is about \
something else is no match.\n\
Then, on a last line, write {PREDICTION} and one number. From 0 to 1 if the {who} should respond, 1 if you are certain; from -1 to 0 \
if it should not, -1 if you are certain."
    );
    let user = format!(
        "DESCRIPTION\n{}\n\nTEXT\n{RULE}\n{}\n{RULE}\n\nReason briefly, and end with {PREDICTION} and your number.",
        label.trim(),
        text.trim()
    );
    vec![Message::new("system", system), Message::new("user", user)]
}

fn papers(field: &str) -> String {
    let field = field.trim();
    if field.is_empty() { "a collection of texts".into() } else { format!("texts about {field}") }
}

/// Why an answer holds no label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The marker is missing; often the answer was cut off.
    Marker,
    /// Nothing follows the marker.
    Empty,
    /// Far more words than asked for.
    Long(usize),
}

impl Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marker => write!(f, "the answer has no {LABEL}; allow it more tokens"),
            Self::Empty => write!(f, "nothing follows {LABEL}; ask again"),
            Self::Long(words) => write!(f, "{words} words follow {LABEL}, where {WORDS} were asked for; ask again"),
        }
    }
}

impl std::error::Error for Unread {}

/// The label in an answer: what follows the last marker, on its line or the next, without quotation marks, emphasis and full stop.
///
/// # Errors
/// [`Unread`].
pub fn parse_label(answer: &str) -> Result<String, Unread> {
    let rest = after(answer, LABEL).ok_or(Unread::Marker)?;
    let line = rest.lines().map(bare).find(|line| !line.is_empty()).ok_or(Unread::Empty)?;
    let words = line.split_whitespace().count();
    if words > 2 * WORDS { Err(Unread::Long(words)) } else { Ok(line.split_whitespace().collect::<Vec<_>>().join(" ")) }
}

/// The confidence in an answer (−1 to 1): the first number that follows the last marker; 0 if there is none, or one out of range.
pub fn parse_prediction(answer: &str) -> f64 {
    let Some(rest) = after(answer, PREDICTION) else { return 0.0 };
    let rest = rest.replace('\u{2212}', "-");
    let word = rest.trim_start_matches(|c: char| c.is_whitespace() || "*_`[(\"'".contains(c));
    let end = word.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(word.len());
    // A full stop may end the sentence, and a percent sign is no number from −1 to 1.
    let (number, next) = (word[..end].trim_end_matches('.'), word[end..].chars().next());
    let bad = next.is_some_and(|c| c.is_alphanumeric() || c == '%' || c == '/');
    match number.parse::<f64>() {
        Ok(v) if !bad && (-1.0..=1.0).contains(&v) => v,
        _ => 0.0,
    }
}

/// What follows the last marker, in any case.
fn after<'a>(answer: &'a str, marker: &str) -> Option<&'a str> {
    let ends = |at: &usize| answer.get(*at..*at + marker.len()).is_some_and(|s| s.eq_ignore_ascii_case(marker));
    let at = (0..answer.len()).rev().find(ends)?;
    Some(&answer[at + marker.len()..])
}

/// A line without what only dresses it.
fn bare(line: &str) -> &str {
    let dress = |c: char| c.is_whitespace() || "\"'`*_[]\u{201c}\u{201d}\u{2018}\u{2019}".contains(c);
    line.trim_matches(dress).trim_end_matches(|c: char| c == '.' || dress(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read() {
        for answer in [
            "Step 1 ...\nFINAL: Neutron star mergers",
            "I was told to write FINAL: at the end.\nFINAL: \"Neutron star mergers\".",
            "**Final:** **Neutron  star mergers**\n",
            "FINAL:\n\nNeutron star mergers\nmore",
            "日本 FINAL: [Neutron star mergers]",
        ] {
            assert_eq!(parse_label(answer).as_deref(), Ok("Neutron star mergers"), "{answer}");
        }
        assert_eq!(parse_label("FINAL: Stars' ages at z < 0.5"), Ok("Stars' ages at z < 0.5".into()));
        assert_eq!(parse_label("Neutron stars"), Err(Unread::Marker));
        assert_eq!(parse_label(""), Err(Unread::Marker));
        assert_eq!(parse_label("FINAL: ** \n"), Err(Unread::Empty));
        assert_eq!(parse_label(&format!("FINAL: {}", "word ".repeat(17))), Err(Unread::Long(17)));
        assert!(parse_label(&format!("FINAL: {}", "word ".repeat(16))).is_ok());
    }

    #[test]
    fn predictions_are_read() {
        for (answer, is) in [
            ("It is. PREDICTION: 0.85", 0.85),
            ("PREDICTION: 1 at first; no,\nprediction: -0.5.", -0.5),
            ("**PREDICTION:** **+0.25**", 0.25),
            ("PREDICTION: \u{2212}1", -1.0),
            ("PREDICTION:\n[.5]", 0.5),
            ("PREDICTION: 0.9, as it names it", 0.9),
            // Malformed: no marker, no number, out of range, another scale.
            ("0.85", 0.0),
            ("", 0.0),
            ("PREDICTION:", 0.0),
            ("PREDICTION: high", 0.0),
            ("PREDICTION: NaN", 0.0),
            ("PREDICTION: inf", 0.0),
            ("PREDICTION: 1.5", 0.0),
            ("PREDICTION: 85%", 0.0),
            ("PREDICTION: 1%", 0.0),
            ("PREDICTION: 1/2", 0.0),
            ("PREDICTION: --1", 0.0),
            ("PREDICTION: 1st", 0.0),
        ] {
            assert_eq!(parse_prediction(answer), is, "{answer}");
        }
    }

    #[test]
    fn questions_hold_what_they_are_about() {
        let asked = labelling("astronomy", &[(0.12345, "Pulsars spin."), (0.1, "They slow.\n")], &["Dust is cold."]);
        assert_eq!(asked.iter().map(|m| m.role.as_str()).collect::<Vec<_>>(), ["system", "user"]);
        assert!(asked[0].content.contains("texts about astronomy") && asked[0].content.contains("1 to 8 words"));
        let user = &asked[1].content;
        let places: Vec<usize> =
            ["ACTIVE", "Response: 0.123\nPulsars spin.", "Response: 0.100\nThey slow.", "SILENT", "Dust is cold.", LABEL]
                .iter()
                .map(|part| user.find(part).unwrap_or_else(|| panic!("{part} is missing in {user}")))
                .collect();
        assert!(places.windows(2).all(|w| w[0] < w[1]), "{user}");
        let asked = predicting("pulsars", "Dust is cold.");
        assert!(
            asked[1].content.contains("pulsars")
                && asked[1].content.contains("Dust is cold.")
                && asked[0].content.contains(PREDICTION)
        );
        assert_ne!(asked[0], predicting_family("pulsars", "Dust is cold.")[0]);
        let asked = labelling_family("", "stars", &["pulsars", "white dwarfs"]);
        assert!(asked[1].content.contains("PARENT\n- stars") && asked[1].content.contains("- pulsars\n- white dwarfs\n"));
        assert!(asked[0].content.contains("2 to 8 words") && asked[0].content.contains("a collection of texts"));
    }
}
