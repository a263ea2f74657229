//! The labels whose values the gateway chooses: each of them is an enum, so that nothing else can become a series.

use crate::auth::{BudgetOwner, Period};
use crate::limit::LimitOwner;

/// The way in which an attempt at a target has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptFailure {
    /// No connection could be made.
    Connect,
    /// The host name could not be resolved.
    Dns,
    /// The TLS handshake failed, for example because the certificate is not trusted.
    Tls,
    /// The provider did not answer, or go on, in time.
    Timeout,
    /// The answer broke off.
    Broken,
    /// The provider refused its credential.
    Credential,
    /// The provider asked for fewer calls.
    RateLimited,
    /// The provider answered with another error of its own.
    Server,
    /// The provider refused the request.
    Refused,
}

/// The limit by which a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitRefusal {
    /// Calls at once.
    Concurrent(LimitOwner),
    /// Requests per minute.
    Requests(LimitOwner),
    /// Tokens per minute.
    Tokens(LimitOwner),
    /// The account has no wallet.
    NoWallet,
    /// The balance of the account.
    Balance,
    /// A budget of the key or the account.
    Budget(BudgetOwner, Period),
    /// The part of the balance that other calls do not hold.
    BalanceInFlight,
    /// The part of a budget that other calls do not hold.
    BudgetInFlight(BudgetOwner, Period),
}

/// The reason for which the credential of an operator was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAuthFailure {
    /// There is none.
    Missing,
    /// It belongs to nobody.
    Wrong,
    /// Too many wrong ones came from the address.
    Blocked,
}

/// The cap by which a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionCap {
    /// Connections in all.
    Total,
    /// Connections of one address.
    Address,
}

/// The reason for which the head of a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadRefusal {
    /// It did not arrive in time.
    Slow,
    /// It is too long.
    Large,
    /// It is not valid HTTP, or ambiguous.
    Malformed,
    /// It asks for a tunnel.
    Connect,
}

impl AttemptFailure {
    const ALL: [Self; 9] = [
        Self::Connect,
        Self::Dns,
        Self::Tls,
        Self::Timeout,
        Self::Broken,
        Self::Credential,
        Self::RateLimited,
        Self::Server,
        Self::Refused,
    ];

    /// Returns the value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Credential => "credential",
            Self::RateLimited => "rate_limited",
            Self::Server => "server",
            Self::Refused => "refused",
        }
    }

    /// Returns the failure whose label has this value.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|failure| failure.as_str() == name)
    }
}

impl LimitRefusal {
    /// Returns the name of the limit: whose it is, and what it is of.
    #[must_use]
    pub fn limit(self) -> &'static str {
        match self {
            Self::Concurrent(LimitOwner::Key) => "key.max_concurrent",
            Self::Concurrent(LimitOwner::Account) => "account.max_concurrent",
            Self::Requests(LimitOwner::Key) => "key.rpm",
            Self::Requests(LimitOwner::Account) => "account.rpm",
            Self::Tokens(LimitOwner::Key) => "key.tpm",
            Self::Tokens(LimitOwner::Account) => "account.tpm",
            Self::NoWallet | Self::Balance | Self::BalanceInFlight => "account.wallet",
            Self::Budget(owner, period) | Self::BudgetInFlight(owner, period) => budget(owner, period),
        }
    }

    /// Returns the value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Concurrent(_) => "concurrent",
            Self::Requests(_) => "requests",
            Self::Tokens(_) => "tokens",
            Self::NoWallet => "no_wallet",
            Self::Balance => "balance",
            Self::Budget(..) => "budget",
            Self::BalanceInFlight | Self::BudgetInFlight(..) => "in_flight",
        }
    }
}

/// Returns the name of the limit that a budget is.
fn budget(owner: BudgetOwner, period: Period) -> &'static str {
    match (owner, period) {
        (BudgetOwner::Key, Period::Day) => "key.budget.day",
        (BudgetOwner::Key, Period::Week) => "key.budget.week",
        (BudgetOwner::Key, Period::Month) => "key.budget.month",
        (BudgetOwner::Key, Period::Total) => "key.budget.total",
        (BudgetOwner::Account, Period::Day) => "account.budget.day",
        (BudgetOwner::Account, Period::Week) => "account.budget.week",
        (BudgetOwner::Account, Period::Month) => "account.budget.month",
        (BudgetOwner::Account, Period::Total) => "account.budget.total",
    }
}

impl AdminAuthFailure {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Missing, Self::Wrong, Self::Blocked];

    /// Returns the reason for which the header `authorization` was not accepted.
    #[must_use]
    pub fn of(authorization: Option<&str>) -> Self {
        if authorization.is_some() { Self::Wrong } else { Self::Missing }
    }

    /// Returns the value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Blocked => "blocked",
        }
    }
}

impl ConnectionCap {
    /// Returns the value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
        }
    }
}

impl HeadRefusal {
    /// Returns the value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Large => "large",
            Self::Malformed => "malformed",
            Self::Connect => "connect",
        }
    }
}
