//! The graph of a pipeline as people look at it: what is drawn ([`Picture`]), where ([`lay_out`]), and in which form.

mod layers;
mod layout;
mod listing;
mod mermaid;
mod ordering;
mod picture;
mod spread;
mod svg;

pub use listing::{Extent, listing};
pub use mermaid::mermaid;
pub use picture::{Artifact, Decides, Origin, Picture, Shown};
pub use svg::svg;
