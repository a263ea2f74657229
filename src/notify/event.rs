//! Events, and their form on the wire.

use serde::Serialize;
use serde_json::value::RawValue;

use super::format::WebhookFormat;

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A budget has reached one of its percentages.
    BudgetThreshold,
    /// A hard budget is used up.
    BudgetExhausted,
    /// The balance of an account is low.
    BalanceLow,
    /// The balance of an account is used up.
    BalanceEmpty,
    /// A target gets no calls, because it keeps failing.
    TargetUnavailable,
    /// A target gets calls again.
    TargetRecovered,
    /// A changed configuration was not taken.
    ConfigRefused,
    /// A key expires soon.
    KeyExpiring,
    /// Nothing: an operator tries a webhook.
    WebhookTest,
}

/// Something that has happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// The kind.
    pub kind: EventKind,
    /// The facts, as a JSON object.
    data: Box<RawValue>,
    /// One line for people.
    text: String,
}

#[derive(Serialize)]
struct Body<'e> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: jiff::Timestamp,
    data: &'e RawValue,
}

#[derive(Serialize)]
struct Line<'e> {
    text: &'e str,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::BudgetThreshold,
        Self::BudgetExhausted,
        Self::BalanceLow,
        Self::BalanceEmpty,
        Self::TargetUnavailable,
        Self::TargetRecovered,
        Self::ConfigRefused,
        Self::KeyExpiring,
        Self::WebhookTest,
    ];

    /// Returns the name in settings and on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BudgetThreshold => "budget.threshold",
            Self::BudgetExhausted => "budget.exhausted",
            Self::BalanceLow => "balance.low",
            Self::BalanceEmpty => "balance.empty",
            Self::TargetUnavailable => "target.unavailable",
            Self::TargetRecovered => "target.recovered",
            Self::ConfigRefused => "config.refused",
            Self::KeyExpiring => "key.expiring",
            Self::WebhookTest => "webhook.test",
        }
    }

    /// Whether a pattern means this kind: its name, or the beginning of it and `*`.
    #[must_use]
    pub fn matches(self, pattern: &str) -> bool {
        match pattern.strip_suffix('*') {
            Some(prefix) => self.name().starts_with(prefix),
            None => self.name() == pattern,
        }
    }
}

impl Event {
    /// Makes an event from its facts, and one line for people. Facts that cannot be written as JSON are left out.
    #[must_use]
    pub fn new(kind: EventKind, data: &impl Serialize, text: String) -> Self {
        let data = serde_json::value::to_raw_value(data);
        Self { kind, data: data.unwrap_or_else(|_| RawValue::NULL.to_owned()), text }
    }

    /// Writes the event of a time. Facts that are too long are left out.
    #[must_use]
    pub fn body(&self, format: WebhookFormat, now: i64) -> String {
        let timestamp = jiff::Timestamp::from_second(now).unwrap_or_default();
        let full = |data: &RawValue| {
            serde_json::to_string(&Body { kind: self.kind.name(), timestamp, data }).unwrap_or_default()
        };
        match format {
            WebhookFormat::Standard => {
                let body = full(&self.data);
                if body.len() <= MAX_BODY_BYTES { body } else { full(RawValue::NULL) }
            }
            WebhookFormat::Slack => {
                let text: String = self.text.chars().take(MAX_TEXT_CHARS).collect();
                serde_json::to_string(&Line { text: &text }).unwrap_or_default()
            }
        }
    }
}

/// The most bytes of a body.
const MAX_BODY_BYTES: usize = 4096;

/// The most characters of a line for people.
const MAX_TEXT_CHARS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Facts {
        owner: String,
    }

    #[test]
    fn bodies_have_a_form_and_an_end() {
        let event = |owner: &str| {
            let facts = Facts { owner: owner.to_owned() };
            Event::new(EventKind::BudgetThreshold, &facts, "80 % of \"it\"".to_owned())
        };
        let standard =
            r#"{"type":"budget.threshold","timestamp":"1970-01-01T00:00:07Z","data":{"owner":"key_1"}}"#;
        assert_eq!(event("key_1").body(WebhookFormat::Standard, 7), standard);
        assert_eq!(event("key_1").body(WebhookFormat::Slack, 7), r#"{"text":"80 % of \"it\""}"#);
        let long = event(&"x".repeat(5000)).body(WebhookFormat::Standard, 7);
        assert_eq!(long, r#"{"type":"budget.threshold","timestamp":"1970-01-01T00:00:07Z","data":null}"#);
    }

    #[test]
    fn patterns_select_kinds() {
        let selected = |pattern: &str| EventKind::ALL.iter().filter(|kind| kind.matches(pattern)).count();
        let counts = ["*", "budget.*", "balance.low", "budget", "x.*"].map(selected);
        assert_eq!(counts, [9, 2, 1, 0, 0]);
    }
}
