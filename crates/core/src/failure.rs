//! The one error type of the request path: its kind, who is at fault, and the message for the client.
//!
//! A [`Failure`] knows nothing of protocols. The folders under `protocol` turn it into the envelope that their
//! clients expect; `edge::respond::answer` gives it its status and headers.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

/// The result of an operation that can fail on behalf of one request.
pub type Result<T> = std::result::Result<T, Failure>;

/// The failure of one request, as the client is told of it.
#[derive(Clone)]
pub struct Failure(Box<FailureFields>);

#[derive(Clone)]
struct FailureFields {
    kind: Kind,
    message: Cow<'static, str>,
    param: Option<Cow<'static, str>>,
    code: Option<Cow<'static, str>>,
    allow: Option<&'static str>,
    retry_after: Option<u64>,
    should_retry: Option<bool>,
    budget_reset: Option<String>,
    detail: Option<String>,
    body: Option<Bytes>,
    work: Work,
    /// Whether the provider exceeded a time limit.
    late: bool,
}

/// The provider's share in a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// The share that the kind of the failure implies.
    Failed,
    /// The provider cannot help it.
    Blameless,
    /// The provider has done its work, and may charge for it.
    Costly,
}

/// The kind of a failure. Each kind has one status and one wording per protocol family, see [`Kind::row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The body is not JSON, or not an object.
    InvalidJson,
    /// A member of the conversation is missing or has the wrong type.
    InvalidMessages,
    /// A member that this route cannot honour.
    Unsupported,
    /// State, background work or stored prompts of the Responses protocol.
    UnsupportedState,
    /// The provider rejected the request.
    BadRequest,
    /// The conversation is longer than the model's context window.
    ContextLength,
    /// The provider's content policy refused the request.
    ContentPolicy,
    /// No credential was sent.
    MissingKey,
    /// The credential is not a key that this gateway knows.
    InvalidKey,
    /// The key is disabled.
    KeyInactive,
    /// The key may not be used from the client's address.
    AddressNotAllowed,
    /// The account that owns the key is inactive.
    AccountInactive,
    /// The account or the key does not have enough money for the call.
    InsufficientBalance,
    /// The account has no wallet, and the call costs something.
    NoWallet,
    /// A budget of the key or the account does not cover the call.
    BudgetExceeded,
    /// The model is unknown, hidden or not allowed for the key.
    ModelNotFound,
    /// The provider does not know the model. Another one may.
    UnknownToProvider,
    /// No such endpoint.
    UnknownUrl,
    /// The provider does not know something that the request refers to.
    NotFound,
    /// The endpoint exists, but not with this method.
    MethodNotAllowed,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The provider reports a conflict with another request.
    Conflict,
    /// The body is larger than the limit.
    TooLarge,
    /// The request's head is larger than the limit.
    HeadTooLarge,
    /// The body has a content encoding that is unknown.
    UnsupportedEncoding,
    /// The endpoint is only served over plain HTTP requests.
    UpgradeRequired,
    /// The provider's rate limit is exceeded.
    RateLimited,
    /// The store cannot be read.
    Store,
    /// A defect of the gateway.
    Internal,
    /// The gateway is shutting down.
    Stopping,
    /// The provider failed, refused the gateway's credential, timed out or sent an invalid answer.
    Provider,
    /// The provider is overloaded, or the model is switched off.
    Unavailable,
}

/// The party that has to act for the request to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller has to change the request.
    Client,
    /// The provider failed.
    Upstream,
    /// The gateway failed.
    Us,
}

/// The status, types and code with which clients see a [`Kind`].
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Returns the HTTP status.
    pub status: u16,
    /// `error.type` for OpenAI clients.
    pub openai_type: &'static str,
    /// `error.code` for OpenAI clients, unless the failure brings its own.
    pub code: &'static str,
    /// `error.type` for Anthropic clients.
    pub anthropic_type: &'static str,
}

impl Failure {
    /// Creates a failure with a message that is safe to show to the client.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(FailureFields {
            kind,
            message: message.into(),
            param: None,
            code: None,
            allow: None,
            retry_after: None,
            should_retry: None,
            budget_reset: None,
            detail: None,
            body: None,
            work: Work::Failed,
            late: false,
        }))
    }

    /// The documented answer for a model that cannot be used, whatever the reason.
    #[must_use]
    pub fn model_not_found(model: &str) -> Self {
        let message = format!("Model '{}' was not found or is unavailable.", printable(model));
        Self::new(Kind::ModelNotFound, message).with_param("model")
    }

    /// The same for a name that no model has. `near` are the names that were probably meant.
    #[must_use]
    pub fn unknown_model(name: &str, near: &[&str]) -> Self {
        let mut failure = Self::model_not_found(name);
        let quoted: Vec<_> = near.iter().map(|model| format!("'{model}'")).collect();
        let advice = match quoted.split_last() {
            None => "GET /v1/models lists the models of this key.".to_owned(),
            Some((last, before)) => {
                let before =
                    if before.is_empty() { String::new() } else { format!("{} or ", before.join(", ")) };
                let start = if name.contains('/') { "Did you mean" } else { BARE_NAME };
                format!("{start} {before}{last}?")
            }
        };
        failure.0.message = format!("{} {advice}", failure.0.message).into();
        failure
    }

    /// Creates the failure for a provider that does not know the model. The client gets the documented answer for a
    /// model that cannot be used, and the provider is not to blame.
    #[must_use]
    pub fn unknown_to_provider(model: &str) -> Self {
        let mut failure = Self::model_not_found(model).without_blame();
        failure.0.kind = Kind::UnknownToProvider;
        failure
    }

    /// Creates the failure for a provider that failed without a message worth repeating.
    #[must_use]
    pub fn provider(detail: impl Into<String>) -> Self {
        Self::new(Kind::Provider, "The provider failed to answer the request.").with_detail(detail)
    }

    /// Creates the failure for a provider that exceeded a time limit.
    #[must_use]
    pub fn late() -> Self {
        let mut failure = Self::new(Kind::Provider, "The provider did not answer in time.");
        failure.0.late = true;
        failure
    }

    /// Whether the provider exceeded a time limit.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.0.late
    }

    /// Creates the failure for a stream that ended before its protocol allows it to.
    #[must_use]
    pub fn truncated() -> Self {
        Self::new(Kind::Provider, "upstream stream ended before completion")
    }

    /// Sets the member of the request that is at fault.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.0.param = Some(param.into());
        self
    }

    /// Replaces the kind's `code` by the provider's.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// Methods for the `allow` header.
    #[must_use]
    pub fn with_allow(mut self, methods: &'static str) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// Sets the number of seconds after which the client may try again.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Sets whether the official SDKs retry, whatever the status says.
    #[must_use]
    pub fn with_should_retry(mut self, retry: bool) -> Self {
        self.0.should_retry = Some(retry);
        self
    }

    /// Sets the time at which the next window of the budget begins that was exceeded.
    #[must_use]
    pub fn with_budget_reset(mut self, time: impl Into<String>) -> Self {
        self.0.budget_reset = Some(time.into());
        self
    }

    /// Sets a line for the gateway's own log, which is never shown to the client.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Sets the body of the answer, as the provider wrote it for a client of the same protocol.
    #[must_use]
    pub fn with_body(mut self, body: Bytes) -> Self {
        self.0.body = Some(body);
        self
    }

    /// The same, where the provider cannot help it: it does not have what a request names.
    #[must_use]
    pub fn without_blame(mut self) -> Self {
        if self.0.work == Work::Failed {
            self.0.work = Work::Blameless;
        }
        self
    }

    /// Marks that the provider did its work and may charge for it, although the answer is of no use. It is not to
    /// blame for that either.
    #[must_use]
    pub fn at_cost(mut self) -> Self {
        self.0.work = Work::Costly;
        self
    }

    /// Marks that the provider may not charge for the call.
    #[must_use]
    pub fn without_cost(mut self) -> Self {
        if self.0.work == Work::Costly {
            self.0.work = Work::Blameless;
        }
        self
    }

    /// Whether the provider did its work and may charge for it.
    #[must_use]
    pub fn is_costly(&self) -> bool {
        self.0.work == Work::Costly
    }

    /// Returns the party that has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        if self.0.work == Work::Failed { self.0.kind.fault() } else { Fault::Client }
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.kind.row().status
    }

    /// Returns the message for the client.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The member of the request that is at fault.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        self.0.param.as_deref()
    }

    /// Returns `error.code` for OpenAI clients; empty if the provider sent none.
    #[must_use]
    pub fn code(&self) -> &str {
        self.0.code.as_deref().unwrap_or_else(|| self.0.kind.row().code)
    }

    /// Returns the code for the log. A provider's code is used only if it is an identifier and not free text.
    #[must_use]
    pub fn logged_code(&self) -> &str {
        self.0.code.as_deref().filter(|code| is_identifier(code)).unwrap_or_else(|| self.0.kind.row().code)
    }

    /// Methods for the `allow` header.
    #[must_use]
    pub fn allow(&self) -> Option<&'static str> {
        self.0.allow
    }

    /// Returns the seconds for the `retry-after` header; 429 and 503 always have one.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        let default = matches!(self.status(), 429 | 503).then_some(DEFAULT_RETRY_AFTER_SECONDS);
        self.0.retry_after.or(default)
    }

    /// Returns the value of the `x-crossmodel-budget-reset` header.
    #[must_use]
    pub fn budget_reset(&self) -> Option<&str> {
        self.0.budget_reset.as_deref()
    }

    /// Returns the value of the `x-should-retry` header.
    #[must_use]
    pub fn should_retry(&self) -> Option<bool> {
        self.0.should_retry
    }

    /// Returns the provider's own body, if it may be passed on.
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        self.0.body.as_ref()
    }

    /// Returns the line for the gateway's own log.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }
}

impl Kind {
    /// Returns the status, types and code of this kind.
    #[must_use]
    pub fn row(self) -> Row {
        let (status, openai_type, code, anthropic_type) = match self {
            Self::InvalidJson => (400, REQUEST, "invalid_json", REQUEST),
            Self::InvalidMessages => (400, REQUEST, "invalid_messages", REQUEST),
            Self::Unsupported => (400, REQUEST, "unsupported_parameter", REQUEST),
            Self::UnsupportedState => (400, REQUEST, "unsupported_responses_feature", REQUEST),
            Self::BadRequest => (400, REQUEST, "", REQUEST),
            Self::ContextLength => (400, REQUEST, "context_length_exceeded", REQUEST),
            Self::ContentPolicy => (400, REQUEST, "content_policy_violation", REQUEST),
            Self::MissingKey => (401, AUTH, "missing_api_key", AUTH),
            Self::InvalidKey => (401, AUTH, "invalid_api_key", AUTH),
            Self::KeyInactive => (401, AUTH, "api_key_inactive", AUTH),
            Self::AddressNotAllowed => (401, AUTH, "ip_not_allowed", AUTH),
            Self::AccountInactive => (401, AUTH, "user_inactive", AUTH),
            Self::InsufficientBalance => (402, BILLING, "insufficient_balance", BILLING),
            Self::NoWallet => (402, BILLING, "no_wallet", BILLING),
            Self::BudgetExceeded => (402, BILLING, "budget_exceeded", BILLING),
            Self::ModelNotFound | Self::UnknownToProvider => {
                (404, REQUEST, "model_not_found", "not_found_error")
            }
            Self::UnknownUrl => (404, REQUEST, "unknown_url", "not_found_error"),
            Self::NotFound => (404, REQUEST, "not_found", "not_found_error"),
            Self::MethodNotAllowed => (405, REQUEST, "method_not_allowed", REQUEST),
            Self::RequestTimeout => (408, REQUEST, "request_timeout", REQUEST),
            Self::Conflict => (409, REQUEST, "conflict", REQUEST),
            Self::TooLarge => (413, REQUEST, "request_too_large", "request_too_large"),
            Self::UnsupportedEncoding => (415, REQUEST, "unsupported_encoding", REQUEST),
            Self::UpgradeRequired => (426, REQUEST, "upgrade_required", REQUEST),
            Self::RateLimited => (429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error"),
            Self::HeadTooLarge => (431, REQUEST, "request_headers_too_large", REQUEST),
            Self::Store => (500, API, "db_error", API),
            Self::Internal => (500, API, "internal_error", API),
            Self::Stopping => (503, API, "shutting_down", "overloaded_error"),
            Self::Provider => (502, "provider_error", "provider_error", API),
            Self::Unavailable => (503, API, "model_unavailable", "overloaded_error"),
        };
        Row { status, openai_type, code, anthropic_type }
    }

    /// Whether it is the provider that has failed, so that another one may not.
    #[must_use]
    pub fn is_the_providers(self) -> bool {
        matches!(self, Self::Provider | Self::Unavailable | Self::RateLimited | Self::UnknownToProvider)
    }

    /// Returns the party that has to act.
    #[must_use]
    pub fn fault(self) -> Fault {
        match self {
            Self::Internal | Self::Store | Self::Stopping => Fault::Us,
            kind if kind.is_the_providers() => Fault::Upstream,
            _ => Fault::Client,
        }
    }
}

/// Whether a text looks like the name of an error, and not like something that somebody wrote.
pub(crate) fn is_identifier(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    text.len() <= MAX_IDENTIFIER_LEN && text.bytes().all(plain)
}

/// Shortens a name that a client chose for use in a message: its first 100 characters, with `?` for each one that
/// is not visible ASCII.
#[must_use]
pub fn printable(name: &str) -> String {
    let visible = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    let mut shown: String = name.chars().take(MAX_SHOWN_NAME_LEN).map(visible).collect();
    if name.chars().nth(MAX_SHOWN_NAME_LEN).is_some() {
        shown.push_str("...");
    }
    shown
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({:?}: {})", self.0.kind, self.detail().unwrap_or_else(|| self.message()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Failure {}

const REQUEST: &str = "invalid_request_error";
const AUTH: &str = "authentication_error";
const BILLING: &str = "billing_error";
const API: &str = "api_error";

/// The beginning of the advice about a name without a vendor.
const BARE_NAME: &str = "Model ids are vendor/model; did you mean";

/// Maximum number of characters of an error code: longer texts are taken for prose.
const MAX_IDENTIFIER_LEN: usize = 64;

/// Maximum number of characters of a name that an error message repeats.
const MAX_SHOWN_NAME_LEN: usize = 100;

/// Default of `retry-after`, in seconds. SDKs wait about as long by themselves.
const DEFAULT_RETRY_AFTER_SECONDS: u64 = 1;
