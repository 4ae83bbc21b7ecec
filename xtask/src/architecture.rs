//! Which module may use which, checked from the text of the sources.
//!
//! A rule forbids words in files. Comments, strings' contents and everything after `#[cfg(test)]` don't count.

use std::path::{Path, PathBuf};

/// Words that files must not contain, and why.
struct Rule {
    /// Paths below `crates/`, of files or of folders.
    files: &'static [&'static str],
    /// Files to which the rule does not apply.
    except: &'static [&'static str],
    /// Forbidden words, looked for as whole path segments.
    words: &'static [&'static str],
    why: &'static str,
}

const METHODS: &[&str] = &["mereo/src/pca", "mereo/src/vq", "mereo/src/nmf", "mereo/src/ae", "mereo/src/sae"];

const RULES: &[Rule] = &[
    Rule {
        files: &["mereo/src/error.rs", "mereo/src/rng.rs"],
        except: &[],
        words: &["crate"],
        why: "errors and random numbers stand on nothing of ours",
    },
    Rule {
        files: &["mereo/src/mat.rs", "mereo/src/missing.rs"],
        except: &[],
        words: &["source", "fold", "model", "store", "linalg", "comm", "pca", "vq", "nmf", "ae", "sae"],
        why: "matrices, and what is missing of them, stand on errors alone",
    },
    Rule {
        files: &["mereo/src/fold", "mereo/src/comm.rs", "mereo/src/source", "mereo/src/linalg.rs", "mereo/src/model.rs"],
        except: &[],
        words: &["pca", "vq", "nmf", "ae", "sae"],
        why: "the loop, the sources and the products know no method",
    },
    Rule {
        files: METHODS,
        except: &[],
        words: &["comm", "memory", "npy", "parquet", "fs", "File", "Instant", "SystemTime", "thread", "ThreadPoolBuilder"],
        why: "a method owns no loop, file, clock, thread or kind of source",
    },
    Rule {
        files: &["mereo/src/formats"],
        except: &[],
        words: &["pca", "vq", "nmf", "ae", "fold", "bundle", "process", "Command", "rayon"],
        why: "files of other libraries become sparse autoencoders, and nothing in them is run",
    },
    Rule {
        files: &["mereo/src/formats/pickle.rs"],
        except: &[],
        words: &["fs", "File", "Input", "zip"],
        why: "a pickle is read from bytes",
    },
    Rule {
        files: &["mereo/src/measure", "mereo/src/inspect", "mereo/src/compare", "mereo/src/rank"],
        except: &[],
        words: &["pca", "vq", "nmf", "ae", "sae"],
        why: "what looks at models sees only the trait",
    },
    Rule {
        files: &["mereo/src/scaling.rs"],
        except: &[],
        words: &["pca", "vq", "nmf", "ae", "sae", "fold", "model", "source", "store", "mat"],
        why: "a law of losses stands on numbers alone",
    },
    Rule {
        files: &["mereo/src"],
        except: &["mereo/src/linalg.rs"],
        words: &["faer"],
        why: "linalg.rs alone names the linear-algebra crate",
    },
    Rule {
        files: &["mereo-meaning/src"],
        except: &[],
        words: &["ureq", "http", "TcpStream", "clap", "mereo_text", "mereo_cli", "mereo_report", "println", "eprintln", "dbg"],
        why: "what latents mean is told without a network, and printed by others",
    },
    Rule {
        files: &["mereo-text/src"],
        except: &[],
        words: &["clap", "mereo_meaning", "mereo_cli", "mereo_report", "println", "eprintln", "dbg"],
        why: "texts become rows for whoever asks",
    },
    Rule {
        files: &["mereo/src"],
        except: &[],
        words: &["mereo_meaning", "mereo_text", "clap", "indicatif", "mereo_cli", "mereo_report", "println", "eprintln", "dbg"],
        why: "the library prints nothing and uses no other crate of ours",
    },
    Rule {
        files: &["mereo-report/src"],
        except: &[],
        words: &["clap", "mereo_cli", "println", "eprintln"],
        why: "the report knows no command line",
    },
    Rule {
        files: &["mereo-py/src"],
        except: &[],
        words: &["clap", "mereo_cli", "println", "eprintln"],
        why: "the Python extension knows no command line, and prints nothing",
    },
    Rule {
        files: &["mereo/src", "mereo-cli/src", "mereo-report/src"],
        except: &[],
        words: &["pyo3", "numpy"],
        why: "only the Python extension knows Python",
    },
];

/// Every broken rule, as `file:line: word: why`.
pub fn check(root: &Path) -> Result<Vec<String>, String> {
    let crates = root.join("crates");
    let mut files = Vec::new();
    walk(&crates, &mut files)?;
    let mut broken = Vec::new();
    for rule in RULES {
        for prefix in rule.files {
            let mut seen = false;
            for file in &files {
                let name = file.strip_prefix(&crates).unwrap_or(file).to_string_lossy().replace('\\', "/");
                // A file of tests may use what it likes.
                if covers(prefix, &name) && !name.ends_with("/tests.rs") {
                    seen = true;
                    if !rule.except.contains(&name.as_str()) {
                        let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
                        broken.extend(
                            uses(&text, rule.words)
                                .into_iter()
                                .map(|(line, word)| format!("crates/{name}:{line}: `{word}`: {}", rule.why)),
                        );
                    }
                }
            }
            // `inspect` and the like may come later; a misspelt rule must not pass for a kept one.
            if !seen && !prefix.ends_with("inspect") {
                broken.push(format!("a rule names crates/{prefix}, which is not there"));
            }
        }
    }
    Ok(broken)
}

/// `mereo/src/pca` covers `mereo/src/pca.rs` and all of `mereo/src/pca/`.
fn covers(prefix: &str, name: &str) -> bool {
    match name.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest == ".rs" || rest.starts_with('/'),
        None => false,
    }
}

/// The forbidden words of a text, with their lines from 1.
fn uses<'w>(text: &str, words: &[&'w str]) -> Vec<(usize, &'w str)> {
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.starts_with("#[cfg(test)]") {
            break;
        }
        let code = bare(line);
        for word in words {
            let is_path = |at: usize| {
                let before = code[..at].chars().next_back();
                let after = &code[at + word.len()..];
                let whole = !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                    && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
                // A path segment or a macro, not a variable that shares the name.
                whole
                    && (after.starts_with("::")
                        || after.starts_with('!')
                        || code[..at].ends_with("::")
                        || code.starts_with("use ")
                        || code.starts_with("pub use "))
            };
            if code.match_indices(word).any(|(at, _)| is_path(at)) {
                found.push((i + 1, *word));
            }
        }
    }
    found
}

/// A line without its comment and without what stands in double quotes.
fn bare(line: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => {
                chars.next();
            }
            '"' => quoted = !quoted,
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            _ if quoted => {}
            _ => out.push(c),
        }
    }
    out
}

fn walk(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, into)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_uses_are_found_and_harmless_ones_are_not() {
        let words = &["nmf", "fs", "println"];
        assert_eq!(uses("use crate::nmf::Nmf;\n", words), vec![(1, "nmf")]);
        assert_eq!(uses("    let x = std::fs::read(p);", words), vec![(1, "fs")]);
        assert_eq!(uses("fn f() {\n println!(\"x\");\n}", words), vec![(2, "println")]);
        assert_eq!(uses("use crate::{mat, nmf};", words), vec![(1, "nmf")]);
        assert!(uses("// use crate::nmf\nlet s = \"nmf::x\"; let nmf = 3; let y = offs::z;", words).is_empty());
        assert!(uses("#[cfg(test)]\nmod tests { use crate::nmf::Nmf; }", words).is_empty());
    }

    #[test]
    fn a_prefix_covers_its_file_and_its_folder_only() {
        assert!(covers("mereo/src/nmf", "mereo/src/nmf.rs") && covers("mereo/src/nmf", "mereo/src/nmf/init.rs"));
        assert!(!covers("mereo/src/nmf", "mereo/src/nmfx.rs"));
    }

    #[test]
    fn this_project_keeps_to_its_layers() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("root");
        assert_eq!(check(root).expect("readable"), Vec::<String>::new());
    }
}
