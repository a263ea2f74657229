//! The settings of retries.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::provider::{ProviderRetrySettings, RetryCause};

use super::DurationSetting;

/// The rules for calls that have failed at a target. Nothing is tried again once the client has got something.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySettings {
    /// The most targets of one call, credentials of the same provider included. With 1, no call goes on. Default: 8.
    pub targets: NonZeroU32,
    /// The failures after which a call goes on. Default: all of them.
    pub on: Vec<RetryCause>,
    /// The share of all calls that may go on.
    pub budget: RetryBudgetSettings,
}

/// The share of all calls that may go on, so that a general failure is not made worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryBudgetSettings {
    /// The calls of a window that may go on, in percent of all. Default: 20.
    pub percent: u32,
    /// The calls of a window that may go on besides. Default: 20.
    pub min: u32,
    /// The time over which calls are counted, such as `10s`. Default: `10s`.
    pub window: DurationSetting,
}

impl RetrySettings {
    /// Whether a call that has failed at a provider for this reason may go on from there, having been at so many targets.
    #[must_use]
    pub fn lets_on(&self, own: &ProviderRetrySettings, cause: Option<RetryCause>, targets: u32) -> bool {
        let causes = own.on.as_ref().unwrap_or(&self.on);
        // A model or a protocol that a provider does not have is no failure of it.
        let is_cause = cause.is_none_or(|cause| causes.contains(&cause));
        is_cause && targets < own.targets.unwrap_or(self.targets).get()
    }
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            targets: DEFAULT_TARGETS,
            on: RetryCause::ALL.to_vec(),
            budget: RetryBudgetSettings::default(),
        }
    }
}

impl Default for RetryBudgetSettings {
    fn default() -> Self {
        Self { percent: 20, min: 20, window: DurationSetting(Duration::from_secs(10)) }
    }
}

/// The most targets of one call by default. A chosen value: access lines show as many.
const DEFAULT_TARGETS: NonZeroU32 = NonZeroU32::MIN.saturating_add(7);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_a_provider_go_before_those_for_all() {
        use RetryCause::{Server, Timeout};
        let all = RetrySettings { on: vec![Server], ..RetrySettings::default() };
        let none = ProviderRetrySettings::default();
        assert!(all.lets_on(&none, Some(Server), 7) && !all.lets_on(&none, Some(Server), 8));
        assert!(!all.lets_on(&none, Some(Timeout), 1) && all.lets_on(&none, None, 1));
        let own = ProviderRetrySettings { targets: NonZeroU32::new(1), on: Some(vec![Timeout]) };
        assert!(!all.lets_on(&own, Some(Timeout), 1));
        let own = ProviderRetrySettings { targets: None, ..own };
        assert!(all.lets_on(&own, Some(Timeout), 1) && !all.lets_on(&own, Some(Server), 1));
    }
}
