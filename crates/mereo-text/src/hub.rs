//! Where a model lies: a folder as named, or the cache of Hugging Face.

use mereo::{Error, Result};
use std::env::{home_dir, var_os};
use std::path::{Path, PathBuf};

/// The folder that a path or a name means.
pub(crate) fn find(path_or_name: &str) -> Result<PathBuf> {
    let path = Path::new(path_or_name);
    if path.is_dir() {
        return Ok(path.into());
    }
    if path.is_file() {
        return Err(Error::parameter(format!(
            "{path_or_name} is a file; name the folder of the model, which holds its config.json"
        )));
    }
    let cache = cache()
        .ok_or_else(|| Error::parameter("no home folder to look for the cache of models in; set HF_HOME, or name a folder"))?;
    within(&cache, path_or_name)
}

/// The folder of a name within a cache.
fn within(cache: &Path, name: &str) -> Result<PathBuf> {
    let mut parts = name.split('/');
    let plain =
        |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    let full = match (parts.next(), parts.next(), parts.next()) {
        (Some(org), Some(model), None) if plain(org) && plain(model) => format!("{org}/{model}"),
        (Some(model), None, _) if plain(model) => format!("sentence-transformers/{model}"),
        _ => return Err(Error::parameter(format!("there is no folder {name}; name one that exists, or a model as org/name"))),
    };
    let model = cache.join(format!("models--{}", full.replace('/', "--")));
    let fetch = format!("fetch it with `hf download {full}` where there is a network, or name the folder of a copy");
    if !model.is_dir() {
        return Err(Error::parameter(format!("{name} is no folder, and {full} isn't in the cache {}; {fetch}", cache.display())));
    }
    let snapshots = model.join("snapshots");
    let main = std::fs::read_to_string(model.join("refs").join("main")).ok().map(|commit| snapshots.join(commit.trim()));
    if let Some(main) = main.filter(|m| m.is_dir()) {
        return Ok(main);
    }
    let all = std::fs::read_dir(&snapshots).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir());
    match all.collect::<Vec<_>>().as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Error::format(model, format!("was begun but holds no snapshot; {fetch}"))),
        many => Err(Error::format(
            model,
            format!("holds {} snapshots, and refs/main names none of them; name the folder of one, or {fetch}", many.len()),
        )),
    }
}

/// The cache, where the Python client has it.
fn cache() -> Option<PathBuf> {
    let set = |name: &str| var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("HF_HUB_CACHE")
        .or_else(|| set("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| set("HF_HOME").map(|p| p.join("hub")))
        .or_else(|| set("XDG_CACHE_HOME").map(|p| p.join("huggingface").join("hub")))
        .or_else(|| home_dir().map(|p| p.join(".cache").join("huggingface").join("hub")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    #[test]
    fn a_name_is_the_snapshot_of_main() {
        let cache = tempfile::tempdir().expect("tempdir");
        let model = cache.path().join("models--sentence-transformers--tiny");
        let said = |name| within(cache.path(), name).expect_err("refused").to_string();
        assert!(said("tiny").contains("hf download sentence-transformers/tiny"), "{}", said("tiny"));
        assert!(said("a/b").contains("hf download a/b"));
        assert!(said("../tiny").contains("no folder ../tiny"));
        create_dir_all(model.join("refs")).expect("folder");
        assert!(said("tiny").contains("holds no snapshot"));
        create_dir_all(model.join("snapshots/aaa")).expect("folder");
        assert!(within(cache.path(), "tiny").expect("the only one").ends_with("snapshots/aaa"));
        create_dir_all(model.join("snapshots/bbb")).expect("folder");
        assert!(said("tiny").contains("holds 2 snapshots"));
        write(model.join("refs/main"), "bbb\n").expect("written");
        for name in ["tiny", "sentence-transformers/tiny"] {
            assert!(within(cache.path(), name).expect("found").ends_with("snapshots/bbb"));
        }
    }
}
