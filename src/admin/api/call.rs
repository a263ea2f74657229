//! Requests and answers.

use std::net::IpAddr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::error::{Mistake, OperationError, OperationResult};
use crate::admin::model::{Checked, read_body};
use crate::admin::ops::{Intent, Operations, Page};
use crate::auth::AccountScope;
use crate::route::percent_decoded;

use super::view::GatewayView;

/// A request of an operator.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path below [`PREFIX`](super::PREFIX).
    pub path: String,
    /// The query, without the question mark.
    pub query: String,
    /// The header `authorization`.
    pub authorization: Option<String>,
    /// The header `content-type`.
    pub content_type: Option<String>,
    /// The header `if-match`.
    pub if_match: Option<String>,
    /// The header `idempotency-key`.
    pub idempotency_key: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// The origin of the request.
    pub peer: Peer,
}

/// The origin of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A command of this process. It has all rights.
    Command,
    /// A user of this machine, who was let in to the control socket. It has all rights.
    Local(u32),
    /// A program at an address.
    Network {
        /// The address.
        address: IpAddr,
        /// Whether it is on this machine, and calls the gateway by an address or a local name.
        is_local: bool,
    },
}

/// An answer to an operator.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body, as JSON.
    pub body: Vec<u8>,
}

/// A request that was admitted, as its route's handler sees it.
pub(super) struct Call<'a> {
    pub(super) operations: &'a mut Operations,
    pub(super) view: Option<&'a dyn GatewayView>,
    /// The id in the path; empty if the path has none.
    pub(super) id: &'a str,
    pub(super) query: Query<'a>,
    pub(super) body: &'a [u8],
    pub(super) intent: Intent<'a>,
    /// The accounts that the operator sees and changes.
    pub(super) scope: &'a AccountScope,
    /// Makes the OpenAPI document.
    pub(super) document: fn() -> String,
}

/// The result of a handler.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// The type of the body; absent: JSON.
    pub(super) content_type: Option<&'static str>,
    pub(super) etag: Option<String>,
    /// A secret in the body, which is repeated for a while if the request is.
    pub(super) secret: Option<String>,
}

/// The parameters of a query, which are all used in the end.
pub(super) struct Query<'a> {
    known: &'a [Parameter],
    values: Vec<(String, String)>,
}

/// A parameter of a query: its name and its meaning.
pub(super) struct Parameter(pub(super) &'static str, pub(super) &'static str);

impl Call<'_> {
    /// Returns the same call about another object.
    pub(super) fn about<'b>(&'b mut self, id: &'b str) -> Call<'b> {
        Call {
            operations: self.operations,
            view: self.view,
            id,
            query: Query { known: &[], values: Vec::new() },
            body: self.body,
            intent: self.intent,
            scope: self.scope,
            document: self.document,
        }
    }

    /// Reads the body.
    pub(super) fn body<T: DeserializeOwned + Checked>(&self) -> OperationResult<T> {
        read_body(if self.body.is_empty() { b"{}" } else { self.body })
    }
}

impl<'a> Query<'a> {
    /// Parses a query with these parameters.
    pub(super) fn parse(known: &'a [Parameter], text: &str) -> OperationResult<Self> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let decode = |text: &str| percent_decoded(&text.replace('+', " "));
        let values: Vec<_> = pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decode(name), decode(value)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let unknown = values.iter().filter(|(name, _)| !known.iter().any(|parameter| parameter.0 == name));
        let mistakes: Vec<_> =
            unknown.map(|(name, _)| Mistake::new(name.as_str(), "there is no such parameter")).collect();
        if mistakes.is_empty() { Ok(Self { known, values }) } else { Err(OperationError::invalid(mistakes)) }
    }

    /// Returns a parameter.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        debug_assert!(self.known.iter().any(|parameter| parameter.0 == name));
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// Returns a parameter that is not any text.
    pub(super) fn parsed<T: std::str::FromStr>(&self, name: &str, form: &str) -> OperationResult<Option<T>> {
        let wrong = |_| OperationError::invalid(vec![Mistake::new(name, format!("is not {form}"))]);
        self.text(name).map(|text| text.parse().map_err(wrong)).transpose()
    }

    /// Returns the page that is wanted.
    pub(super) fn page(&self) -> OperationResult<Page> {
        let limit = self.parsed("limit", "a number")?.unwrap_or_else(|| Page::default().limit);
        let page = Page { limit, cursor: self.text("cursor") };
        page.check()?;
        Ok(page)
    }
}

impl Reply {
    /// Makes a reply from an object.
    pub(super) fn new(status: u16, object: &impl Serialize) -> OperationResult<Self> {
        let body = serde_json::to_vec(object).map_err(|error| {
            OperationError::new(
                crate::admin::Code::Internal,
                format!("the answer cannot be written: {error}"),
            )
        })?;
        Ok(Self { body, ..Self::bare(status) })
    }

    /// Makes a reply without a body.
    pub(super) fn empty() -> Self {
        Self::bare(204)
    }

    /// Makes a reply of comma-separated values.
    pub(super) fn csv(text: String) -> Self {
        Self { body: text.into_bytes(), content_type: Some(CSV), ..Self::bare(200) }
    }

    /// Makes a reply of a text in JSON.
    pub(super) fn json(text: String) -> Self {
        Self { body: text.into_bytes(), ..Self::bare(200) }
    }

    fn bare(status: u16) -> Self {
        Self { status, body: Vec::new(), content_type: None, etag: None, secret: None }
    }

    /// Adds the version of the object.
    pub(super) fn with_etag(self, etag: &str) -> Self {
        Self { etag: Some(etag.to_owned()), ..self }
    }

    /// Adds the secret of the object.
    pub(super) fn with_secret(self, secret: Option<String>) -> Self {
        Self { secret, ..self }
    }
}

/// The type of comma-separated values (RFC 4180, section 3).
pub(super) const CSV: &str = "text/csv; charset=utf-8; header=present";
