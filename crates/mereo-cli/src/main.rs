//! The command line of mereo.
fn main() {}
