//! The program as its users run it, all in one program of tests: it is built and linked once.
//!
//! `cargo test -p mereo-cli --test all fetch::` runs one part.

mod bad_input;
mod cli;
mod compare;
mod convert;
mod dynamics;
mod fetch;
mod glosses;
#[cfg(unix)]
mod kill;
mod meaning;
#[cfg(target_os = "linux")]
mod memory;
mod missing;
mod place;
mod splitting;
mod studies;
mod sweep;
