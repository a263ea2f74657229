//! The verdicts of guards about requests: in access lines, and in metrics.

use prometheus::IntCounterVec;

use super::maker::Maker;
use super::members::{Member, MemberName, Members, members};

/// The verdict of a guard, as access lines and metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardAction {
    /// The request or the answer goes on.
    Allow,
    /// It is refused.
    Deny,
    /// It goes on with another body.
    Replace,
    /// There was no valid verdict.
    Error,
}

impl GuardAction {
    /// Returns the value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Replace => "replace",
            Self::Error => "error",
        }
    }
}

members! {
    /// The verdict of one guard about a request.
    #[derive(Clone, Debug)]
    pub struct GuardLine<'a> {
        /// The guard's name.
        pub name: &'a str,
        /// Its verdict.
        pub action: &'a str,
        /// The milliseconds that it has taken.
        pub ms: f64,
        /// The reason, if there was no valid verdict.
        pub detail: Option<&'a str>,
    }
}

impl Member for Vec<GuardLine<'_>> {
    fn write(&self, name: MemberName, members: &mut Members<'_>) -> serde_json::Result<()> {
        members.list(name, self, GuardLine::write)
    }
}

/// The metrics of guards.
#[derive(Debug)]
pub(super) struct GuardMetrics(IntCounterVec);

impl GuardMetrics {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        Ok(Self(make.counters(
            "crossmodel_guard_requests_total",
            "Requests and answers that guards were asked about, by their verdicts.",
            &["guard", "action"],
        )?))
    }

    pub(super) fn count(&self, guard: &str, action: GuardAction) {
        self.0.with_label_values(&[guard, action.as_str()]).inc();
    }
}
