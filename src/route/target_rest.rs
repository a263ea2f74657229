//! The orders of operators about targets: to rest, and to serve again.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// An order that a target gets no new calls until a time. If the time has come, the order is to serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TargetRest {
    /// The time from which the target gets calls again.
    #[schemars(with = "String")]
    pub until: Timestamp,
    /// The reason, for people.
    pub reason: String,
    /// The operator.
    pub actor: String,
    /// The time of the order.
    #[schemars(with = "String")]
    pub since: Timestamp,
}

/// The last order about a target.
#[derive(Debug, Default)]
pub(super) struct RestOrder {
    order: Option<TargetRest>,
    /// The end of the rest; absent if the target serves.
    end: Option<Instant>,
}

/// The effect of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestEffect {
    /// The order is known.
    Known,
    /// The target gets no calls.
    Rests,
    /// The target gets calls, whatever its state was.
    Serves,
}

impl RestOrder {
    /// Takes an order, or that there is none any longer.
    pub(super) fn take(&mut self, order: Option<&TargetRest>, now: Instant, time: Timestamp) -> RestEffect {
        if self.order.as_ref() == order {
            return RestEffect::Known;
        }
        self.order = order.cloned();
        let left = order.and_then(|order| Duration::try_from(order.until.duration_since(time)).ok());
        self.end = left.filter(|left| !left.is_zero()).and_then(|left| now.checked_add(left));
        match (self.end, order) {
            (Some(_), _) => RestEffect::Rests,
            (None, Some(_)) => RestEffect::Serves,
            (None, None) => RestEffect::Known,
        }
    }

    /// Returns the time that is left of a rest.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.end.and_then(|end| end.checked_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Returns the order of a rest that is not over.
    pub(super) fn current(&self, now: Instant) -> Option<&TargetRest> {
        self.left(now).and(self.order.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_takes_effect_once_and_ends_by_itself() {
        let (mut rest, now, time) = (RestOrder::default(), Instant::now(), Timestamp::now());
        let order = |seconds: i64| TargetRest {
            until: time + jiff::SignedDuration::from_secs(seconds),
            reason: String::new(),
            actor: "cli".to_owned(),
            since: time,
        };
        assert_eq!(rest.take(None, now, time), RestEffect::Known);
        assert_eq!(rest.take(Some(&order(60)), now, time), RestEffect::Rests);
        assert_eq!(rest.take(Some(&order(60)), now, time), RestEffect::Known);
        assert_eq!(rest.left(now), Some(Duration::from_secs(60)));
        assert!(rest.current(now + Duration::from_secs(60)).is_none());
        assert_eq!(rest.take(Some(&order(0)), now, time), RestEffect::Serves);
        assert_eq!((rest.left(now), rest.take(None, now, time)), (None, RestEffect::Known));
    }
}
