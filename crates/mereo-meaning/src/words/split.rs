//! A text cut into words.

use unicode_segmentation::UnicodeSegmentation;

/// A longer word is none: an address or a formula.
const LONGEST: usize = 40;

/// Words that hold an English sentence together, in order.
#[rustfmt::skip]
const STOP: &[&str] = &[
    "a", "about", "above", "after", "again", "against", "all", "almost", "along", "already", "also", "although",
    "always", "am", "among", "an", "and", "another", "any", "are", "aren't", "around", "as", "at", "be", "because",
    "been", "before", "being", "below", "between", "both", "but", "by", "can", "can't", "cannot", "could", "did",
    "didn't", "do", "does", "doesn't", "doing", "don't", "done", "down", "due", "during", "e.g", "each", "either", "et",
    "etc", "even", "ever", "every", "few", "for", "from", "further", "had", "has", "have", "having", "he", "hence",
    "her", "here", "hers", "herself", "him", "himself", "his", "how", "however", "i", "i.e", "if", "in", "into", "is",
    "isn't", "it", "it's", "its", "itself", "just", "least", "less", "let", "like", "made", "make", "makes", "many",
    "may", "me", "might", "more", "most", "much", "must", "my", "myself", "neither", "no", "nor", "not", "now", "of",
    "off", "often", "on", "once", "one", "only", "onto", "or", "other", "others", "our", "ours", "ourselves", "out",
    "over", "own", "per", "rather", "same", "she", "should", "since", "so", "some", "such", "than", "that", "that's",
    "the", "their", "theirs", "them", "themselves", "then", "there", "therefore", "these", "they", "this", "those",
    "though", "through", "thus", "to", "too", "toward", "towards", "two", "under", "until", "up", "upon", "us", "use",
    "used", "uses", "using", "very", "via", "was", "we", "well", "were", "what", "when", "where", "whereas", "whether",
    "which", "while", "who", "whom", "whose", "why", "will", "with", "within", "without", "would", "yet", "you", "your",
    "yours",
];

/// Hands over each word of a text, and `None` for whatever keeps the next one from following it directly, until told to stop.
pub(crate) fn split<'a>(text: &'a str, mut put: impl FnMut(Option<&'a str>) -> bool) {
    // The word so far: from, to; and whether something that counts as a gap came before it.
    let mut open: Option<(usize, usize)> = None;
    let (mut gap, mut began) = (false, false);
    let mut more = true;
    let mut close = |open: &mut Option<(usize, usize)>, gap: &mut bool| {
        let Some((from, to)) = open.take() else { return true };
        let word = &text[from..to];
        // A command of LaTeX is no word.
        if text[..from].ends_with('\\') || !kept(word) {
            *gap = true;
            return true;
        }
        let went = !(began && *gap) || put(None);
        (*gap, began) = (false, true);
        went && put(Some(word))
    };
    for (from, word) in text.unicode_word_indices() {
        let to = from + word.len();
        if let Some((start, end)) = open {
            let between = &text[end..from];
            if matches!(between, "-" | "\u{2010}" | "\u{2011}") {
                open = Some((start, to));
                continue;
            }
            more = close(&mut open, &mut gap);
            if !more {
                break;
            }
            // A blank line parts a title from what follows.
            gap |= !between.chars().all(char::is_whitespace) || between.matches('\n').count() > 1;
        }
        open = Some((from, to));
    }
    if more {
        close(&mut open, &mut gap);
    }
}

/// Whether a word says something.
fn kept(word: &str) -> bool {
    let mut letters = word.chars().filter(|c| c.is_alphabetic());
    let Some(first) = letters.next() else { return false };
    // A letter alone, or with no more than a number behind a hyphen; "3D" stays, and so does one sign of a script that has no case.
    let cased = first.is_ascii() || first.is_lowercase() || first.is_uppercase();
    if letters.next().is_none() && cased && (word.chars().count() == 1 || word.contains(['-', '\u{2010}', '\u{2011}'])) {
        return false;
    }
    // A variable with its index.
    if word.contains('_') && word.split('_').any(|part| part.chars().count() < 2) {
        return false;
    }
    if word.len() > 4 * LONGEST || word.chars().count() > LONGEST {
        return false;
    }
    let small = word.to_lowercase();
    STOP.binary_search(&small.replace('\u{2019}', "'").as_str()).is_err()
}

/// What words that count as one have in common: lower case, plain hyphens, no possessive, and no English plural by the
/// three rules of Harman (1991, How effective is suffixing?), with that of "masses" besides.
pub(crate) fn key(word: &str) -> String {
    let mut out = word.to_lowercase().replace(['\u{2010}', '\u{2011}'], "-").replace('\u{2019}', "'");
    if out.ends_with("'s") {
        out.truncate(out.len() - 2);
    }
    if out.chars().count() < 4 {
        return out;
    }
    let ends = |with: &[&str]| with.iter().any(|w| out.ends_with(w));
    if ends(&["ies"]) {
        if !ends(&["eies", "aies"]) {
            out.truncate(out.len() - 3);
            out.push('y');
        }
    } else if ends(&["sses"]) {
        out.truncate(out.len() - 2);
    } else if ends(&["s"]) && !ends(&["us", "ss", "is"]) {
        out.truncate(out.len() - 1);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a text, with "|" for gaps.
    fn words(text: &str) -> String {
        let mut out: Vec<&str> = Vec::new();
        split(text, |w| {
            out.push(w.unwrap_or("|"));
            true
        });
        out.join(" ")
    }

    #[test]
    fn words_and_what_parts_them() {
        assert_eq!(words("Neutron stars are dense"), "Neutron stars | dense");
        assert_eq!(words("pulsars, magnetars"), "pulsars | magnetars");
        assert_eq!(words("an X-ray source: state-of-the-art"), "X-ray source | state-of-the-art");
        assert_eq!(words("a mass of $10^{3} M_\\odot$ at $\\alpha=3$ and 3D maps"), "mass | 3D maps");
        assert_eq!(words("don't use Galaxy's disc"), "Galaxy's disc");
        assert_eq!(words("dunkle Materie, Größe; тёмная материя"), "dunkle Materie | Größe | тёмная материя");
        assert_eq!(words("a–b deep--learning"), "deep | learning");
        assert_eq!(words("x_i of get_user"), "get_user");
        assert_eq!(words("order p-1 and n-2, F-16 or non-2"), "order | non-2");
        assert_eq!(words("dark\nmatter\n\nhalos"), "dark matter | halos");
        assert_eq!(words("星系"), "星 系");
        assert_eq!(words(""), "");
    }

    #[test]
    fn it_stops_when_told() {
        let mut seen = 0;
        split("one-way two-way roads lead home", |w| {
            seen += usize::from(w.is_some());
            seen < 2
        });
        assert_eq!(seen, 2);
    }

    #[test]
    fn plurals_and_case_are_one_word() {
        for (a, b) in [
            ("Galaxies", "galaxy"),
            ("STARS", "star"),
            ("LLMs", "LLM"),
            ("masses", "mass"),
            ("Hubble\u{2019}s", "hubble"),
            ("x\u{2010}ray", "X-rays"),
        ] {
            assert_eq!(key(a), key(b));
        }
        assert_eq!([key("analysis"), key("mass"), key("nucleus"), key("gas")], ["analysis", "mass", "nucleus", "gas"]);
        assert_ne!(key("star"), key("start"));
    }

    #[test]
    fn the_stop_list_is_in_order() {
        assert!(STOP.windows(2).all(|w| w[0] < w[1]));
    }
}
