//! Pictures of mereo models: montages of atoms as PNG, and a comparison, or what else a command composes, as one
//! page of HTML that opens offline.

mod chart;
mod document;
mod figure;
mod heat;
mod page;
mod picture;
mod table;
mod ticks;

pub use document::{Bars, Block, Document, Plate, Plot, Section, Table};
pub use heat::Heat;
pub use page::html;
pub use picture::{montage, png};
pub use ticks::number;
