//! JSON as bytes: finding members without parsing the rest, and changing them without touching it.
//!
//! [`scan`] walks an object and yields its members as spans, [`mod@splice`] replaces spans, [`mod@write`] makes
//! string literals. Nothing here builds a tree.

pub mod scan;
pub mod splice;
pub mod write;

pub use scan::{Malformed, Member, Members, elements, members, text};
pub use splice::{Body, Edit, splice};
