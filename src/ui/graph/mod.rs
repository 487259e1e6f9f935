//! The drawing of a project's graph: what stands in it, where, and as SVG. Pure: the page in `pages/graph.rs` reads and frames it.

pub mod layout;
mod picture;
mod reduce;
mod svg;

pub use picture::{Edge, Kind, Node, Picture, State};
pub use reduce::{Direction, MOST_NODES};
pub use svg::{Drawing, svg};
