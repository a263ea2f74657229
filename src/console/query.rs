//! The query of a page, which follows the `?` of its request.

use crate::route::percent_decoded;

/// The part of the document that a page wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The process whose samples the page has.
    pub(super) instance: String,
    /// The first sample that it does not have.
    pub(super) since: u64,
    /// A part of the ids, names or accounts of the keys.
    pub(super) keys: String,
    /// The order of these.
    pub(super) sort: Sort,
}

/// The order of keys: most first, or by the alphabet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Requests,
    Tokens,
    InFlight,
    Name,
    Account,
}

impl Query {
    /// Reads what follows the `?`; what is not understood is left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut query = Self::default();
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "instance" => value.clone_into(&mut query.instance),
                "since" => query.since = value.parse().unwrap_or(0),
                "keys" => query.keys = percent_decoded(value),
                "sort" => query.sort = Sort::named(value),
                _ => {}
            }
        }
        query
    }
}

impl Sort {
    fn named(name: &str) -> Self {
        match name {
            "tokens" => Self::Tokens,
            "in_flight" => Self::InFlight,
            "name" => Self::Name,
            "account" => Self::Account,
            _ => Self::Requests,
        }
    }
}
