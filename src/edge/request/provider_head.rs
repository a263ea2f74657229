//! The head of a request to a provider while it is written.
//!
//! Pingora's own functions read and copy each name once more, for a case that is not kept.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType};
use secrecy::ExposeSecret;

use crate::protocol::ProtocolId;
use crate::provider::{Auth, Credential, Provider};

/// The head of a request to a provider while it is written.
pub(super) struct ProviderHead(Parts);

impl ProviderHead {
    /// Begins the head of a request with this target, with room for so many headers.
    ///
    /// # Errors
    /// Fails if the target is none.
    pub(super) fn new(
        (method, target): (Method, String),
        provider: &Provider,
        fields: usize,
    ) -> pingora::Result<Self> {
        let (mut head, ()) = Request::new(()).into_parts();
        let target = PathAndQuery::from_maybe_shared(Bytes::from(target)).map_err(|_| invalid("target"))?;
        (head.method, head.uri) = (method, Uri::from(target));
        head.headers.reserve(fields);
        let mut head = Self(head);
        head.put_text(header::HOST, &provider.base_url.authority)?;
        Ok(head)
    }

    /// Adds a header in the place of those of its name.
    ///
    /// # Errors
    /// Fails if there are too many.
    pub(super) fn put(&mut self, name: HeaderName, value: HeaderValue) -> pingora::Result<()> {
        self.0.headers.try_insert(name, value).map(drop).map_err(|_| invalid("headers"))
    }

    /// Adds a header like [`ProviderHead::put`].
    ///
    /// # Errors
    /// Fails if the text is no value.
    pub(super) fn put_text(&mut self, name: HeaderName, text: &str) -> pingora::Result<()> {
        self.put(name, HeaderValue::from_str(text).map_err(|_| invalid("value"))?)
    }

    /// Adds a header beside those of its name.
    ///
    /// # Errors
    /// Fails if there are too many.
    pub(super) fn append(&mut self, name: HeaderName, value: HeaderValue) -> pingora::Result<()> {
        self.0.headers.try_append(name, value).map(drop).map_err(|_| invalid("headers"))
    }

    /// Adds what the head says of the body, and of that of the answer.
    ///
    /// # Errors
    /// Fails if there are too many headers.
    pub(super) fn describe(&mut self, body: &Bytes) -> pingora::Result<()> {
        // The gateway must read an answer in order to meter it, so it asks for no compression.
        self.put(header::ACCEPT_ENCODING, IDENTITY)?;
        self.put(header::CONTENT_TYPE, JSON)?;
        self.put(header::CONTENT_LENGTH, HeaderValue::from(body.len()))
    }

    /// Adds the headers that the configuration has for this provider, in the place of the client's, and the credential.
    /// None of them is one that the gateway writes itself.
    ///
    /// # Errors
    /// Fails if the credential is no value.
    pub(super) fn finish(
        mut self,
        provider: &Provider,
        credential: (ProtocolId, usize),
    ) -> pingora::Result<RequestHeader> {
        for (name, value) in &provider.headers {
            self.put(name.clone(), value.clone())?;
        }
        self.sign(provider, credential)?;
        Ok(RequestHeader::from(self.0))
    }

    /// Adds the credential.
    fn sign(
        &mut self,
        provider: &Provider,
        (protocol, credential): (ProtocolId, usize),
    ) -> pingora::Result<()> {
        let Some(Credential { key, .. }) = provider.credentials().get(credential) else { return Ok(()) };
        match provider.auth(protocol) {
            Auth::Bearer => {
                let value = sensitive(format!("Bearer {}", key.expose_secret()))?;
                self.put(header::AUTHORIZATION, value)
            }
            Auth::XApiKey => self.put(X_API_KEY.clone(), sensitive(key.expose_secret().to_owned())?),
            Auth::XGoogApiKey => self.put(X_GOOG_API_KEY.clone(), sensitive(key.expose_secret().to_owned())?),
            Auth::None => Ok(()),
        }
    }
}

fn sensitive(text: String) -> pingora::Result<HeaderValue> {
    let invalid = |_| Error::explain(ErrorType::InternalError, "the provider's key is no header value");
    let mut value = HeaderValue::from_maybe_shared(Bytes::from(text)).map_err(invalid)?;
    value.set_sensitive(true);
    Ok(value)
}

fn invalid(what: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, what)
}

pub(super) static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
pub(super) static X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// The only encoding in which answers can be read, and the only form of requests.
pub(super) const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
