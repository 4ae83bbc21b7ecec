//! Where results go: a path is checked before the work begins, never an input's, and has a second choice when it fails.

use crate::failure::{Failure, Result};
use std::path::{Path, PathBuf};

/// Checks that `path` can be written and is none of the `inputs`, without changing anything there.
///
/// # Errors
/// A folder, a missing parent, missing rights, or a path that is (or lies in) an input.
pub fn check(path: &Path, inputs: &[&Path]) -> Result<()> {
    let shown = path.display();
    for input in inputs {
        if overlaps(path, input) {
            return Err(Failure::usage(format!("{shown} has another part in this command already; write to a file of its own")));
        }
    }
    let refused = |e: &dyn std::fmt::Display| Failure::other(format!("{shown} can't be written: {e}"));
    match std::fs::metadata(path) {
        Ok(m) if m.is_dir() => return Err(Failure::usage(format!("{shown} is a folder; name a file in it"))),
        // A pipe would wait for its reader here.
        Ok(m) if !m.is_file() => return Ok(()),
        Ok(_) => drop(std::fs::File::options().append(true).open(path).map_err(|e| refused(&e))?),
        Err(_) => {}
    }
    let folder = folder(path);
    if !folder.is_dir() {
        return Err(Failure::other(format!("the folder {} doesn't exist; create it first", folder.display())));
    }
    // Files are written beside their name and renamed, so the folder must take new files.
    tempfile::Builder::new().prefix(".mereo-").suffix(".part").tempfile_in(folder).map_err(|e| refused(&e))?;
    Ok(())
}

/// Whether two paths name the same file, or `path` lies in the folder `input`.
fn overlaps(path: &Path, input: &Path) -> bool {
    let (Some(input), Some(path)) = (resolved(input), resolved(path)) else { return false };
    path.starts_with(&input) || same_file(&path, &input)
}

/// The path without links, also where the last part doesn't exist yet.
fn resolved(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| Some(folder(path).canonicalize().ok()?.join(path.file_name()?)))
}

#[cfg(unix)]
fn same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    matches!((a.metadata(), b.metadata()), (Ok(a), Ok(b)) if a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()))
}

#[cfg(not(unix))]
fn same_file(_: &Path, _: &Path) -> bool {
    false
}

/// The folder that a path lies in.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A path with something appended to its name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether a path is a device or a pipe, which has no place beside it for other files.
pub fn special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// Writes what must not be lost: at `path`, or where that fails in the current or the temporary folder.
///
/// # Errors
/// The first error; it says where the result was put instead, if anywhere.
pub fn keep(path: &Path, what: &str, save: impl Fn(&Path) -> mereo::Result<()>) -> Result<()> {
    let Err(first) = save(path) else { return Ok(()) };
    let name = path.file_name().unwrap_or(path.as_os_str());
    for folder in [PathBuf::from("."), std::env::temp_dir()] {
        let other = (0..100)
            .map(|i| beside(&folder.join(name), &if i == 0 { ".saved".into() } else { format!(".saved{i}") }))
            .find(|p| !p.exists());
        if let Some(other) = other
            && save(&other).is_ok()
        {
            return Err(Failure::other(format!("{first}; {what} is saved as {} instead", other.display())));
        }
    }
    Err(Failure::other(format!("{first}; {what} could be saved nowhere else")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_never_an_output() {
        let folder = tempfile::tempdir().expect("tempdir");
        let data = folder.path().join("data.npy");
        std::fs::write(&data, b"x").expect("write");
        assert!(check(&folder.path().join("new"), &[&folder.path().join("new")]).is_err(), "two outputs of one name");
        let twisted = folder.path().join(".").join("data.npy");
        assert!(check(&twisted, &[&data]).is_err());
        assert!(check(&folder.path().join("new"), &[folder.path()]).is_err(), "inside a folder of images");
        check(&folder.path().join("new"), &[&data]).expect("another file");
        #[cfg(unix)]
        {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(&data, &link).expect("link");
            assert!(check(&link, &[&data]).is_err());
            let hard = folder.path().join("hard");
            std::fs::hard_link(&data, &hard).expect("link");
            assert!(check(&hard, &[&data]).is_err());
        }
    }

    #[test]
    fn a_check_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("a.mereo");
        check(&path, &[]).expect("free");
        assert_eq!(std::fs::read_dir(folder.path()).expect("dir").count(), 0);
        std::fs::write(&path, b"old").expect("write");
        check(&path, &[]).expect("taken");
        assert_eq!(std::fs::read(&path).expect("read"), b"old");
        assert!(check(folder.path(), &[]).is_err());
        assert!(check(&folder.path().join("no/such/a"), &[]).is_err());
    }

    #[test]
    fn a_failed_save_goes_elsewhere_and_says_where() {
        let said = keep(Path::new("/nowhere/a"), "the model", |p| {
            if p.starts_with("/nowhere") { Err(mereo::Error::data("full")) } else { Ok(()) }
        });
        let said = said.expect_err("failed").to_string();
        assert!(said.contains("full; the model is saved as") && said.contains("a.saved instead"), "{said}");
    }
}
