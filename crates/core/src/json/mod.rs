//! JSON as bytes: finding members without parsing the rest, changing and writing them without a tree.
//!
//! [`scan`] walks a document and yields spans, [`mod@splice`] replaces spans, [`mod@write`] appends members to a
//! buffer. A [`JsonStr`] is text that is carried with its escapes, a [`Raw`] any value that is only carried.

pub(crate) mod characters;
mod document;
mod escape;
mod json_str;
mod lenient;
mod literal;
mod name;
mod nested;
mod path;
mod raw;
pub mod repair;
pub mod scan;
pub mod splice;
mod walk;
pub(crate) mod work;
pub mod write;

pub use document::{Document, MarkHint};
pub use json_str::JsonStr;
pub use lenient::{Lenient, LenientIter, find_member};
pub use literal::literal_end;
pub use name::{Name, begins};
pub use nested::{MembersOfEach, members_of_each};
pub use path::Path;
pub use raw::{Raw, compact};
pub use scan::{Malformed, Member, Members, elements, members, text};
pub use splice::{Body, Cuts, Edit, splice};
pub use walk::Walk;
