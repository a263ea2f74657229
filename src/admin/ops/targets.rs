//! Operations on targets: an operator takes one out of service, and puts it into service again.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::admin::error::OperationResult;
use crate::admin::model::{NewRest, Period};
use crate::admin::records;
use crate::route::TargetRest;

use super::operations::{Changed, Intent, Operations, checked};

/// The part of an order that the audit log shows.
#[derive(Serialize)]
struct Shown {
    rested_until: Option<Timestamp>,
    enabled_at: Option<Timestamp>,
    reason: Option<String>,
}

impl Operations {
    /// Returns the last orders about targets, by their names.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn rested_targets(&self) -> OperationResult<HashMap<String, TargetRest>> {
        Ok(records::targets::list(&self.connection)?)
    }

    /// Takes a target out of service. Whether there is such a target is up to the caller.
    ///
    /// # Errors
    /// Fails if the order is wrong, and if the store cannot be written.
    pub fn rest_target(&mut self, intent: &Intent<'_>, target: &str, rest: &NewRest) -> OperationResult<()> {
        self.change(intent, ("target.rest", target), |transaction, now| {
            checked(rest)?;
            let Period(seconds) = rest.period.unwrap_or(Period(0));
            let order = order(intent, now, now.saturating_add(seconds), &rest.reason);
            let before = records::targets::read(transaction, target)?.filter(|order| rests(order, now));
            records::targets::write(transaction, target, &order)?;
            let (before, after) = (before.map(shown), shown(order));
            Ok(Changed::new(target, None, (before.as_ref(), Some(&after)), ()))
        })
    }

    /// Puts a target into service again, closes its circuit and ends its pause.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub fn enable_target(&mut self, intent: &Intent<'_>, target: &str) -> OperationResult<()> {
        self.change(intent, ("target.enable", target), |transaction, now| {
            let before = records::targets::read(transaction, target)?.filter(|order| rests(order, now));
            let order = order(intent, now, now, "");
            records::targets::write(transaction, target, &order)?;
            // It is a change even if the target did not rest: its circuit closes.
            let after = Shown { rested_until: None, enabled_at: Some(order.since), reason: None };
            Ok(Changed::new(target, None, (before.map(shown).as_ref(), Some(&after)), ()))
        })
    }
}

fn order(intent: &Intent<'_>, now: i64, until: i64, reason: &str) -> TargetRest {
    let time = |second| Timestamp::from_second(second).unwrap_or_default();
    TargetRest {
        until: time(until),
        reason: reason.to_owned(),
        actor: intent.actor.name.clone(),
        since: time(now),
    }
}

fn rests(order: &TargetRest, now: i64) -> bool {
    order.until.as_second() > now
}

fn shown(order: TargetRest) -> Shown {
    Shown { rested_until: Some(order.until), enabled_at: None, reason: Some(order.reason) }
}
