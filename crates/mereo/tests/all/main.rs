//! Everything that is tested through the public interface, in one program: it is built and linked once. Laws that hold for every method are
//! in `laws.rs`; files that are damaged, or made to do harm, are in `damage.rs` and `formats_damage.rs`, where the memory of the whole program is
//! watched.
//!
//! `cargo test -p mereo --test all files::` runs one part.

mod claims;
mod dynamics;
mod files;
mod formats;
mod many;
mod missing;
mod nmf;
mod restarts;
mod sae;
mod variants;
