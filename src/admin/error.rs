//! The reasons for which an operation is refused or fails.

use std::fmt;

use crate::store::StoreError;

/// The result of an operation.
pub type OperationResult<T> = Result<T, OperationError>;

/// The reason for which an operation did not succeed.
#[derive(Debug)]
pub struct OperationError {
    /// The kind, on which programs branch.
    pub code: Code,
    /// The reason in words.
    pub message: String,
    /// All mistakes of the request, if it has any.
    pub details: Vec<Mistake>,
}

/// One mistake of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The member that is wrong.
    pub param: String,
    /// The reason in words.
    pub message: String,
}

/// A kind of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request cannot be understood.
    InvalidRequest,
    /// The cursor is not one of this list.
    InvalidCursor,
    /// The credential is missing or wrong.
    Unauthorized,
    /// The credential does not permit it.
    Forbidden,
    /// There is no such object or path.
    NotFound,
    /// The path has no such method.
    MethodNotAllowed,
    /// There is such an object already.
    Exists,
    /// The state of the object does not permit it.
    Conflict,
    /// The configuration file rules it.
    ManagedByConfiguration,
    /// There is money in the account.
    BalanceInUse,
    /// Another request had the same idempotency key.
    IdempotencyMismatch,
    /// The request with the same idempotency key is still running.
    IdempotencyInUse,
    /// The object has changed since it was read.
    PreconditionFailed,
    /// The body is too large.
    TooLarge,
    /// The body is not JSON by its type.
    UnsupportedMediaType,
    /// There are too many requests.
    RateLimited,
    /// The gateway has a defect.
    Internal,
    /// The store cannot be used.
    StoreUnavailable,
    /// No gateway can be reached.
    GatewayUnavailable,
    /// The gateway ends after its calls, and changes nothing any more.
    Draining,
}

impl Code {
    /// Returns the name and the HTTP status.
    #[must_use]
    pub fn parts(self) -> (&'static str, u16) {
        match self {
            Self::InvalidRequest => ("invalid_request", 400),
            Self::InvalidCursor => ("invalid_cursor", 400),
            Self::Unauthorized => ("unauthorized", 401),
            Self::Forbidden => ("forbidden", 403),
            Self::NotFound => ("not_found", 404),
            Self::MethodNotAllowed => ("method_not_allowed", 405),
            Self::Exists => ("exists", 409),
            Self::Conflict => ("conflict", 409),
            Self::ManagedByConfiguration => ("managed_by_configuration", 409),
            Self::BalanceInUse => ("balance_in_use", 409),
            Self::IdempotencyMismatch => ("idempotency_mismatch", 409),
            Self::IdempotencyInUse => ("idempotency_in_use", 409),
            Self::PreconditionFailed => ("precondition_failed", 412),
            Self::TooLarge => ("too_large", 413),
            Self::UnsupportedMediaType => ("unsupported_media_type", 415),
            Self::RateLimited => ("rate_limited", 429),
            Self::Internal => ("internal", 500),
            Self::StoreUnavailable => ("store_unavailable", 503),
            Self::GatewayUnavailable => ("gateway_unavailable", 503),
            Self::Draining => ("draining", 503),
        }
    }

    /// Returns the code of a name; [`Self::Internal`] if there is none.
    #[must_use]
    pub fn named(name: &str) -> Self {
        ALL.into_iter().find(|code| code.parts().0 == name).unwrap_or(Self::Internal)
    }

    /// Whether the audit log names refusals of this kind.
    pub(super) fn is_audited(self) -> bool {
        matches!(self.parts().1, 400 | 403 | 409 | 412)
    }
}

impl OperationError {
    /// Makes an error.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    /// Makes the error of an object that does not exist.
    pub(super) fn not_found(kind: &str, id: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no {kind} '{id}'"))
    }

    /// Makes the error of a request with mistakes.
    #[must_use]
    pub fn invalid(mistakes: Vec<Mistake>) -> Self {
        let message = mistakes.first().map(|Mistake { param, message }| format!("{param}: {message}"));
        Self { details: mistakes, ..Self::new(Code::InvalidRequest, message.unwrap_or_default()) }
    }

    /// Returns the member of the request that is wrong.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        self.details.first().map(|mistake| mistake.param.as_str())
    }
}

impl Mistake {
    /// Makes a mistake.
    pub(super) fn new(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: param.into(), message: message.into() }
    }
}

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OperationError {}

impl From<StoreError> for OperationError {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NotFound(_) => Code::NotFound,
            StoreError::Exists(_) | StoreError::Differs(_) => Code::Exists,
            StoreError::TooMuch | StoreError::Invalid(_) => Code::InvalidRequest,
            StoreError::BalanceInUse { .. } => Code::BalanceInUse,
            StoreError::Denied { .. } => Code::Forbidden,
            StoreError::Database(_) | StoreError::File(_) | StoreError::TooNew | StoreError::TooOld => {
                Code::StoreUnavailable
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<rusqlite::Error> for OperationError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

/// All codes.
const ALL: [Code; 20] = [
    Code::InvalidRequest,
    Code::InvalidCursor,
    Code::Unauthorized,
    Code::Forbidden,
    Code::NotFound,
    Code::MethodNotAllowed,
    Code::Exists,
    Code::Conflict,
    Code::ManagedByConfiguration,
    Code::BalanceInUse,
    Code::IdempotencyMismatch,
    Code::IdempotencyInUse,
    Code::PreconditionFailed,
    Code::TooLarge,
    Code::UnsupportedMediaType,
    Code::RateLimited,
    Code::Internal,
    Code::StoreUnavailable,
    Code::GatewayUnavailable,
    Code::Draining,
];
