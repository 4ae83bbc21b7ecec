//! The Python package: built as a wheel, tested in an environment with its peers, and in one with NumPy alone.
//!
//! The wheel is of the profile that the tests of the workspace were built with, so that next to nothing is built twice.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

/// Makes the environments that the tests need, which is mostly waiting for downloads.
pub fn prepare(root: &Path) -> Result<(), String> {
    let package = root.join("crates/mereo-py");
    let peers = Environment::new(&target(root).join("python"))?;
    peers.pip("packages to test with", &["-r", &text(&package.join("tests/requirements.txt"))])?;
    peers.pip("what makes the documentation", &["-r", &text(&package.join("docs/requirements.txt"))])?;
    Environment::new(&target(root).join("python-alone")).map(drop)
}

/// Builds the wheel and tests it.
pub fn test(root: &Path) -> Result<(), String> {
    let package = root.join("crates/mereo-py");
    let target = target(root);
    let wheels = target.join("wheels");
    let peers = Environment::new(&target.join("python"))?;
    prepare(root)?;
    if wheels.exists() {
        std::fs::remove_dir_all(&wheels).map_err(|e| format!("{}: {e}", wheels.display()))?;
    }
    let maturin = peers.program("maturin");
    let build = ["build", "--locked", "--profile", "dev", "--out", &text(&wheels)].map(String::from);
    run("wheel", &maturin, &build, &package, &[])?;
    let wheel = std::fs::read_dir(&wheels)
        .map_err(|e| format!("{}: {e}", wheels.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .ok_or_else(|| format!("no wheel was built in {}", wheels.display()))?;
    let wheel = text(&wheel);
    peers.pip("the wheel", &["--force-reinstall", "--no-deps", &wheel])?;

    let python = peers.program("python");
    let binary = text(&target.join("debug/mereo"));
    // Its sources lie a folder deeper, so that they can't stand in for the wheel.
    let tests = ["-m", "pytest", "-p", "no:cacheprovider", "tests"].map(String::from);
    run("tests of the Python package", &python, &tests, &package, &[("MEREO_BINARY", &binary)])?;
    let doctests = ["-m", "pytest", "-p", "no:cacheprovider", "--doctest-modules", "--pyargs", "mereo"].map(String::from);
    run("examples of its documentation", &python, &doctests, &package, &[])?;
    let checker = peers.program("basedpyright");
    let config = ["-p", "pyrightconfig.json", "--pythonpath", &text(&python)].map(String::from);
    run("its types, strictly", &checker, &config, &package, &[])?;
    let verify = ["--verifytypes", "mereo", "--ignoreexternal"].map(String::from);
    run("the types of all that is public", &checker, &verify, &peers.folder, &[("VIRTUAL_ENV", &text(&peers.folder))])?;

    for example in ["nmf_olivetti.py", "components_by_sample_size.py", "test_error_lfw.py"] {
        let args = [format!("examples/{example}"), "--quick".into()];
        run("published experiments beside scikit-learn, small", &python, &args, &package, &[])?;
    }
    let docs = package.join("docs");
    let sphinx = peers.program("sphinx-build");
    for (title, flags) in [
        ("pages of the documentation, and their gallery", ["-b", "html", "-j", "1"]),
        ("examples of the documentation's guide", ["-b", "doctest", "-D", "plot_gallery=0"]),
    ] {
        let built = text(&target.join("docs").join(flags[1]));
        let args =
            [&["-W", "-q"], &flags[..], &[&text(&docs), &built]].concat().into_iter().map(String::from).collect::<Vec<_>>();
        run(title, &sphinx, &args, root, &[])?;
    }

    let alone = Environment::new(&target.join("python-alone"))?;
    alone.pip("the wheel with NumPy alone", &["--force-reinstall", &wheel])?;
    run("with NumPy alone", &alone.program("python"), &["tests/alone.py".into()], &package, &[])
}

/// A virtual environment.
struct Environment {
    folder: PathBuf,
}

impl Environment {
    /// That of a folder, made where it isn't there.
    fn new(folder: &Path) -> Result<Self, String> {
        if !folder.join("pyvenv.cfg").exists() {
            let make = ["-m", "venv", &text(folder)].map(String::from);
            run("a virtual environment", Path::new("python3"), &make, Path::new("."), &[])?;
        }
        Ok(Self { folder: folder.into() })
    }

    fn program(&self, name: &str) -> PathBuf {
        let folder = if cfg!(windows) { "Scripts" } else { "bin" };
        self.folder.join(folder).join(name)
    }

    fn pip(&self, title: &str, what: &[&str]) -> Result<(), String> {
        let args = [&["-m", "pip", "install", "--quiet", "--disable-pip-version-check"], what].concat();
        let args: Vec<String> = args.into_iter().map(String::from).collect();
        run(title, &self.program("python"), &args, Path::new("."), &[])
    }
}

/// Runs one program in a folder, with those beside it at hand.
fn run(title: &str, program: &Path, args: &[String], folder: &Path, env: &[(&str, &str)]) -> Result<(), String> {
    println!("== {title}: {} {}", program.display(), args.join(" "));
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).envs(env.iter().copied()).env("PATH", path(program)).env_remove("PYTHONPATH");
    crate::run(title, &mut command)
}

/// Where programs are looked for: beside this one first.
fn path(program: &Path) -> OsString {
    let beside = program.parent().map(Path::to_path_buf).into_iter().filter(|folder| folder.is_absolute());
    let old = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(beside.chain(std::env::split_paths(&old))).unwrap_or(old)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
