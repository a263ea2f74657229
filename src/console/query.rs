//! The query of the page's request.

use crate::route::percent_decoded;

/// The part of the document that a page asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The process whose samples the page already has.
    pub(super) instance: String,
    /// The number of the first sample that the page does not have.
    pub(super) since: u64,
    /// A part of the ids, names or accounts of the wanted keys.
    pub(super) keys: String,
    /// The order of the keys.
    pub(super) sort: Sort,
}

/// The order of keys: the highest value first, or alphabetical.
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
    /// Parses a query, and ignores unknown parts.
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
