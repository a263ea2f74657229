//! References to state held at the provider.
//!
//! All callers share the gateway's account at the provider, so a reference to a stored response, file or container
//! would let one of them read another's data. Such requests are refused before anything goes upstream. The head
//! scan checks the top-level members, and [`look`](super::look) everything below.

use std::borrow::Cow;

use crate::failure::{Failure, Kind};
use crate::json::{self, Member, Name, scan::Malformed};

/// The condition under which a member refers to state.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    /// A value other than null, an empty string or an empty array.
    Present,
    /// A value other than `false` and null.
    NotFalse,
    /// A string, or an object with an `id`.
    Id,
    /// An object in which the named member is present.
    Has(&'static str),
}

/// Returns the name of a top-level member that refers to state, by a protocol's `own` table or the common one.
pub(super) fn top_level(
    name: &Name,
    member: &Member<'_>,
    own: &[(&'static str, Test)],
) -> Option<&'static str> {
    let (name, test) = own.iter().chain(COMMON).find(|(known, _)| name.is(known))?;
    test.holds(member.value).then_some(*name)
}

/// Returns the failure for a reference to state.
pub(super) fn refused(kind: Kind, path: impl Into<Cow<'static, str>>) -> Failure {
    let path = path.into();
    let message = match path.as_ref() {
        "previous_response_id" | "conversation" => {
            format!("'{path}' is not supported: send the full conversation in `input`.")
        }
        _ => format!("'{path}' refers to state held at the provider, which is not supported."),
    };
    Failure::new(kind, message).with_param(path)
}

/// Whether a value is more than null, an empty string or an empty array.
pub(super) fn is_present(json: &[u8]) -> bool {
    let is_empty = |json: &[u8]| json.starts_with(b"[") && json::elements(json).next().is_none();
    !matches!(json, b"null" | b"\"\"" | b"") && !is_empty(json)
}

impl Test {
    fn holds(self, json: &[u8]) -> bool {
        match self {
            Self::Present => is_present(json),
            Self::NotFalse => !matches!(json, b"false" | b"null"),
            Self::Id => json.first() == Some(&b'"') && json != b"\"\"" || Self::Has("id").holds(json),
            Self::Has(name) => {
                let mut all = json::members(json).map_while(|m: Result<_, Malformed>| m.ok());
                all.any(|member| {
                    Name::read(member.key).is_some_and(|key| key.is(name)) && is_present(member.value)
                })
            }
        }
    }
}

/// Members that refer to state in any protocol, because a router or a translation may pass them on.
const COMMON: &[(&str, Test)] = &[
    ("billing_policy", Test::Present),
    ("cached_content", Test::Present),
    ("cachedcontent", Test::Present),
    ("data_sources", Test::Present),
    ("fallback_credit_token", Test::Present),
    ("previous_response_id", Test::Present),
    ("user_profile_id", Test::Present),
    ("workspace_id", Test::Present),
];
