//! Pictures of mereo models: montages of atoms as PNG, and a comparison as one page of HTML that opens offline.

mod chart;
mod figure;
mod page;
mod picture;
mod table;
mod ticks;

pub use page::html;
pub use picture::{montage, png};
