//! Everything that is tested through the public interface, in one program: it is built and linked once. Laws that hold for every method are
//! in `laws.rs`; files that are made to do harm are counted by an allocator of their own, in `formats_damage.rs`.
//!
//! `cargo test -p mereo --test all files::` runs one part.

mod claims;
mod damage;
mod dynamics;
mod files;
mod formats;
mod missing;
mod nmf;
mod restarts;
mod sae;
mod variants;
