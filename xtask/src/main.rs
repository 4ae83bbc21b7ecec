//! `cargo xtask test` builds, tests and checks the whole project; it is what the README and CI run.

mod architecture;
mod python;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

const USAGE: &str = "\
usage: cargo xtask TASK

tasks:
  test           everything: format, architecture, lints, tests, examples of the documentation, the Python package
  python         the Python package: its wheel, tests, examples and types
  architecture   which module may use which, read from the `use` lines
  fmt            formats the code";

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let done = match task.as_deref() {
        Some("test") => test(),
        Some("python") => python::test(&root()),
        Some("architecture") => check_architecture(),
        Some("fmt") => cargo("format", &["fmt", "--all"], &[]),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> Result<(), String> {
    let started = Instant::now();
    cargo("format", &["fmt", "--all", "--check"], &[])?;
    check_architecture()?;
    // Beside the lints, which leave the network alone; what fails here fails again where it is needed.
    let prepared = std::thread::spawn(|| python::prepare(&root()));
    cargo("lints", &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    // Benchmarks' programs are examples, which the lints have seen.
    cargo("tests", &["test", "--locked", "--workspace", "--lib", "--bins", "--tests"], &[])?;
    cargo("examples of the documentation", &["test", "--locked", "--workspace", "--doc"], &[])?;
    cargo("documentation", &["doc", "--locked", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    let _ = prepared.join();
    python::test(&root())?;
    println!("== all passed in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn check_architecture() -> Result<(), String> {
    println!("== architecture");
    let broken = architecture::check(&root())?;
    if broken.is_empty() {
        println!("every module keeps to its layer");
        return Ok(());
    }
    Err(format!("the architecture is broken (DESIGN of the house, in README.md):\n  {}", broken.join("\n  ")))
}

/// Runs one cargo command in the root of the workspace, its output passed through.
fn cargo(title: &str, args: &[&str], env: &[(&str, &str)]) -> Result<(), String> {
    println!("== {title}: cargo {}", args.join(" "));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    run(title, Command::new(cargo).args(args).envs(env.iter().copied()).current_dir(root()))
}

/// Runs one program, its output passed through, and says how long it took.
fn run(title: &str, command: &mut Command) -> Result<(), String> {
    let started = Instant::now();
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|e| format!("{program} can't be started: {e}"))?;
    println!("   {title}: {:.0} s", started.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err(format!("== failed: {title}")) }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
