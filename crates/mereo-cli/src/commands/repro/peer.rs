//! scikit-learn on the same machine, where it is installed: the same rows, the same number of atoms, start, passes and tolerance,
//! in a process of its own.

use crate::failure::{Failure, Result};
use mereo::{Mat, export};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const SCRIPT: &str = r#"
import json, sys, time
try:
    import numpy as np, sklearn
    from sklearn.decomposition import NMF
except ImportError as e:
    print(json.dumps({"absent": str(e)}))
    sys.exit(0)
import warnings
warnings.filterwarnings("ignore")
done = []
for job in json.load(sys.stdin):
    train = np.load(job["train"])[: job["rows"]]
    test = np.load(job["test"])
    nmf = NMF(job["k"], init=job["init"], max_iter=job["passes"], tol=job["tol"], random_state=job["seed"])
    start = time.perf_counter()
    w = nmf.fit_transform(train)
    seconds = time.perf_counter() - start
    h = nmf.components_
    np.save(job["atoms"], h.astype("float32"))
    square = lambda x, w: float(((x - w @ h) ** 2).mean())
    done.append({"seconds": seconds, "passes": int(nmf.n_iter_), "train": square(train, w), "test": square(test, nmf.transform(test))})
print(json.dumps({"version": sklearn.__version__, "done": done}))
"#;

/// A fit to be done.
#[derive(Debug, Clone, Serialize)]
pub struct Job {
    pub train: PathBuf,
    pub test: PathBuf,
    /// The first so many rows of `train`.
    pub rows: usize,
    pub k: usize,
    pub init: &'static str,
    pub passes: usize,
    pub tol: f64,
    pub seed: u64,
    /// Where its atoms go.
    pub atoms: PathBuf,
}

/// What came of it.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Done {
    pub seconds: f64,
    pub passes: usize,
    /// Mean squared errors.
    pub train: f64,
    pub test: f64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Absent { absent: String },
    Done { version: String, done: Vec<Done> },
}

/// Files for the other process; they are gone with it.
pub struct Exchange(tempfile::TempDir);

impl Exchange {
    pub fn new() -> Result<Self> {
        tempfile::tempdir().map(Self).map_err(|e| Failure::other(format!("no temporary folder: {e}")))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn put(&self, name: &str, x: &Mat) -> Result<PathBuf> {
        let path = self.path(name);
        export::write_mat(&path, x)?;
        Ok(path)
    }
}

/// The fits by scikit-learn and its version, or why there are none.
pub fn run(python: &OsStr, jobs: &[Job]) -> Result<std::result::Result<(String, Vec<Done>), String>> {
    let threads = rayon::current_num_threads().to_string();
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"] {
        command.env(name, &threads);
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return Ok(Err(format!("{} can't be started: {e}", python.to_string_lossy()))),
    };
    let text = serde_json::to_vec(jobs).map_err(|e| Failure::other(format!("JSON: {e}")))?;
    if let Some(mut input) = child.stdin.take() {
        // A process that has no scikit-learn ends without reading.
        let _ = input.write_all(&text);
    }
    let out = child.wait_with_output().map_err(|e| Failure::other(format!("{}: {e}", python.to_string_lossy())))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        let last = said.lines().last().unwrap_or("it said nothing").to_string();
        return Ok(Err(format!("its process failed: {last}")));
    }
    match serde_json::from_slice(&out.stdout) {
        Ok(Answer::Absent { absent }) => Ok(Err(absent)),
        Ok(Answer::Done { version, done }) if done.len() == jobs.len() => Ok(Ok((version, done))),
        Ok(Answer::Done { done, .. }) => Ok(Err(format!("{} of {} fits came back", done.len(), jobs.len()))),
        Err(e) => Ok(Err(format!("its answer can't be read: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_python_is_a_reason_and_no_error() {
        let said = run(OsStr::new("no-such-python"), &[]).expect("no error").expect_err("absent");
        assert!(said.contains("no-such-python can't be started"), "{said}");
    }
}
