//! Builds, tests and checks the project.
fn main() {}
