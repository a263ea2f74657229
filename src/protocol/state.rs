//! References to state held at the provider.
//!
//! All callers share the provider's account, so a reference to a stored response, file or container
//! would let one of them read another's data. Such requests are refused before anything goes upstream.
//! The head scan sees the top-level members and whether one of [`FLAGS`] occurs below them; only then
//! [`check`] walks the body.

use std::borrow::Cow;

use crate::failure::{Failure, Kind, Result};
use crate::json::{self, Member, scan::Malformed};

use super::Members;

/// When a member refers to state.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    /// A value other than null, an empty string or an empty array.
    Present,
    /// `true`.
    True,
    /// A string, or an object with an `id`.
    Id,
    /// An object in which the named member is present.
    Has(&'static str),
    /// This text.
    Is(&'static str),
}

/// Strings that make [`check`] worth its while.
pub(super) const FLAGS: &[&str] =
    &["file_id", "file_ids", "container_id", "container", "vector_store_ids", "item_reference", "audio"];

/// Members that refer to state wherever they stand.
const NESTED: &[(&str, Test)] = &[
    ("file_id", Test::Present),
    ("file_ids", Test::Present),
    ("container_id", Test::Present),
    ("vector_store_ids", Test::Present),
    ("container", Test::Id),
    ("type", Test::Is("item_reference")),
    ("audio", Test::Has("id")),
];

/// The name of a top-level member that refers to state.
pub(super) fn top_level(member: &Member<'_>, members: &Members) -> Option<Cow<'static, str>> {
    let (name, test) = members.state.iter().find(|(name, _)| member.is(name))?;
    test.holds(member.value).then_some(Cow::Borrowed(*name))
}

/// Looks for references below the top level.
///
/// # Errors
/// A failure that names the path of the first one.
pub(super) fn check(body: &[u8], members: &Members) -> Result<()> {
    match object(body, members.opaque, DEPTH) {
        Some(path) => Err(refused(members.refusal, path.into())),
        None => Ok(()),
    }
}

/// The failure for a reference to state.
pub(super) fn refused(kind: Kind, path: Cow<'static, str>) -> Failure {
    let message = match path.as_ref() {
        "previous_response_id" | "conversation" => {
            format!("'{path}' is not supported: send the full conversation in `input`.")
        }
        _ => format!("'{path}' refers to state held at the provider, which is not supported."),
    };
    Failure::new(kind, message).with_param(path)
}

fn object(json: &[u8], opaque: &[&str], depth: u32) -> Option<String> {
    for member in json::members(json).map_while(std::result::Result::ok) {
        let key = || String::from_utf8_lossy(member.key).into_owned();
        if NESTED.iter().any(|(name, test)| member.is(name) && test.holds(member.value)) {
            return Some(key());
        }
        if opaque.iter().any(|name| member.is(name)) {
            continue;
        }
        if let Some(below) = value(member.value, opaque, depth) {
            let dot = if below.starts_with('[') { "" } else { "." };
            return Some(format!("{}{dot}{below}", key()));
        }
    }
    None
}

fn value(json: &[u8], opaque: &[&str], depth: u32) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    match json.first() {
        Some(b'{') => object(json, opaque, depth),
        Some(b'[') => {
            json::elements(json).map_while(std::result::Result::ok).enumerate().find_map(|(n, (item, _))| {
                let below = value(item, opaque, depth)?;
                let dot = if below.starts_with('[') { "" } else { "." };
                Some(format!("[{n}]{dot}{below}"))
            })
        }
        _ => None,
    }
}

impl Test {
    fn holds(self, json: &[u8]) -> bool {
        match self {
            Self::Present => !matches!(json, b"null" | b"\"\"" | b"[]"),
            Self::True => json == b"true",
            Self::Id => json.first() == Some(&b'"') && json != b"\"\"" || Self::Has("id").holds(json),
            Self::Has(name) => {
                let mut all = json::members(json).map_while(|m: std::result::Result<_, Malformed>| m.ok());
                all.any(|member| member.is(name) && Self::Present.holds(member.value))
            }
            Self::Is(name) => json::text(json).is_some_and(|text| text == name),
        }
    }
}

/// Containers that are walked: references stand at most six deep in all three protocols.
const DEPTH: u32 = 16;
