//! The conditions of a gateway: what has to hold so that operators need not act.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::admin::model::{Condition, ConditionStatus, Moment};
use crate::config::ConfigStatus;
use crate::edge::gateway::Gateway;
use crate::edge::gateway::facts::ProcessFacts;
use crate::notify::Webhook;
use crate::observe::AttemptFailure;
use crate::route::{self, Catalog, ModelEntry, ModelStatus};

/// The conditions, and the times since which they have their statuses.
#[derive(Debug, Default)]
pub(in crate::edge) struct Conditions(Mutex<HashMap<&'static str, (ConditionStatus, Moment)>>);

/// A condition as it is now: its status, the reason for programs, and the reason in words.
struct Finding(ConditionStatus, &'static str, String);

impl Conditions {
    /// Returns all conditions of a gateway.
    pub(in crate::edge) fn list(&self, gateway: &Gateway) -> Vec<Condition> {
        let (facts, config, now) = (gateway.facts(), gateway.config_status(), Moment::now());
        let (targets, credentials) =
            gateway.look_at_catalog(|catalog| (targets_available(catalog), credentials_accepted(catalog)));
        let found = [
            ("Ready", ready(gateway, &facts)),
            ("StoreWritable", store_writable(gateway.is_ledger_failing())),
            ("ConfigurationCurrent", configuration_current(&config)),
            ("NoRestartRequired", no_restart_required(&config)),
            ("CertificatesValid", certificates_valid(&facts, now)),
            ("TargetsAvailable", targets),
            ("CredentialsAccepted", credentials),
            ("CatalogueFresh", Finding(ConditionStatus::Unknown, "NoCatalogue", NO_CATALOGUE.to_owned())),
            ("WebhooksDelivering", webhooks_delivering(&gateway.outbox().webhooks(), &facts)),
            ("DiskSpace", disk_space(&facts)),
        ];
        let mut since = self.0.lock();
        found.into_iter().map(|(kind, finding)| finding.condition(kind, &mut since, now)).collect()
    }
}

impl Finding {
    fn holds(reason: &'static str, message: &str) -> Self {
        Self(ConditionStatus::True, reason, message.to_owned())
    }

    fn fails(reason: &'static str, message: String) -> Self {
        Self(ConditionStatus::False, reason, message)
    }

    fn condition(
        self,
        kind: &'static str,
        since: &mut HashMap<&'static str, (ConditionStatus, Moment)>,
        now: Moment,
    ) -> Condition {
        let Self(status, reason, message) = self;
        let (known, changed) = since.entry(kind).or_insert((status, now));
        if *known != status {
            (*known, *changed) = (status, now);
        }
        Condition {
            kind: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message,
            last_transition_time: *changed,
        }
    }
}

fn ready(gateway: &Gateway, facts: &ProcessFacts) -> Finding {
    if gateway.is_draining() {
        let message = format!("the gateway ends after its calls, of which {} are running", gateway.calls());
        return Finding::fails("Draining", message);
    }
    match (facts.is_serving, gateway.listener_count()) {
        (true, 1) => Finding::holds("Serving", "1 listener accepts"),
        (true, count) => Finding::holds("Serving", &format!("{count} listeners accept")),
        (false, _) => Finding::fails("Starting", "no listener accepts yet".to_owned()),
    }
}

fn store_writable(is_failing: bool) -> Finding {
    if is_failing {
        Finding::fails("Failing", "the store or the journal cannot be written".to_owned())
    } else {
        Finding::holds("Written", "the store can be written")
    }
}

fn configuration_current(config: &ConfigStatus) -> Finding {
    match &config.refused {
        None => Finding::holds("InForce", "the file on the disk is in force"),
        Some(refused) => {
            let problem = refused.problems.first().map_or("it cannot be read", String::as_str);
            Finding::fails("Refused", format!("the file was refused at {}: {problem}", refused.at))
        }
    }
}

fn no_restart_required(config: &ConfigStatus) -> Finding {
    if config.restart_required.is_empty() {
        return Finding::holds("UpToDate", "no setting waits for a new process");
    }
    let message = format!("{}: needs a new process", config.restart_required.join(", "));
    Finding::fails("RestartRequired", message)
}

fn certificates_valid(facts: &ProcessFacts, Moment(now): Moment) -> Finding {
    let ending = facts.certificates.iter().filter(|(_, end)| *end < now.saturating_add(CERTIFICATE_SECONDS));
    let ending: Vec<_> =
        ending.map(|(listener, end)| format!("{listener} until {}", Moment(*end).date())).collect();
    if ending.is_empty() {
        return Finding::holds("Valid", "no certificate ends within 14 days");
    }
    Finding::fails("Ending", format!("certificates end soon: {}", ending.join(", ")))
}

fn targets_available(catalog: &Catalog) -> Finding {
    let now = Instant::now();
    let is_available = |entry: &ModelEntry| {
        let mut targets = entry.targets.iter();
        targets.any(|target| !matches!(target.health.worst(now), route::Condition::Open(_)))
    };
    let offered = catalog.entries().iter().filter(|entry| entry.status == ModelStatus::Active);
    let missing: Vec<_> = offered.filter(|entry| !is_available(entry)).collect();
    if missing.is_empty() {
        return Finding::holds("Available", "each model has an available target");
    }
    let named = missing.iter().take(MAX_NAMED).map(|entry| unavailable(entry, now)).collect::<Vec<_>>();
    let more = missing.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Finding::fails("NoTarget", format!("{}{more}", named.join("; ")))
}

/// Describes a model without an available target.
fn unavailable(entry: &ModelEntry, now: Instant) -> String {
    let reasons = entry.targets.iter().map(|target| {
        let reason = match (target.health.rest(now), target.health.view(now).1) {
            (Some(rest), _) => format!("rested by {}", rest.actor),
            (None, Some(failure)) => failure.to_string(),
            (None, None) => "circuit open".to_owned(),
        };
        format!("{}: {reason}", target.provider.name)
    });
    let reasons = reasons.collect::<Vec<_>>().join("; ");
    let reasons = if reasons.is_empty() { "it has none".to_owned() } else { reasons };
    format!("{} has no available target ({reasons})", entry.id)
}

fn credentials_accepted(catalog: &Catalog) -> Finding {
    let now = Instant::now();
    let targets = catalog.entries().iter().flat_map(|entry| &entry.targets);
    let refused = targets.filter_map(|target| {
        let (view, failure) = target.health.view(now);
        // A later success sets the failures in a row to nothing.
        let failure =
            failure.filter(|failure| failure.kind == AttemptFailure::Credential && view.failures > 0)?;
        Some((target.provider.name.as_ref(), failure.text))
    });
    let refused: std::collections::BTreeMap<&str, Box<str>> = refused.collect();
    if refused.is_empty() {
        return Finding::holds("Accepted", "no provider refuses its credential");
    }
    let named: Vec<_> =
        refused.iter().take(MAX_NAMED).map(|(name, text)| format!("{name}: {text}")).collect();
    Finding::fails("Refused", format!("providers refuse their credentials: {}", named.join("; ")))
}

fn disk_space(facts: &ProcessFacts) -> Finding {
    match facts.free_bytes {
        None => Finding(ConditionStatus::Unknown, "NotRead", "the disk was not looked at yet".to_owned()),
        Some(bytes) if bytes < MIN_FREE_BYTES => {
            let message = format!("{} MiB are free on the disk of the data folder", bytes >> 20);
            Finding::fails("Low", message)
        }
        Some(bytes) => Finding::holds("Enough", &format!("{} GiB are free", bytes >> 30)),
    }
}

fn webhooks_delivering(webhooks: &[Arc<Webhook>], facts: &ProcessFacts) -> Finding {
    let names = webhooks.iter().map(|webhook| webhook.name.as_str());
    let failing: Vec<_> =
        names.filter(|name| facts.failing_webhooks.contains(*name)).take(MAX_NAMED).collect();
    match (webhooks.is_empty(), failing.is_empty()) {
        (true, _) => Finding::holds("NoWebhooks", "there is no webhook"),
        (false, true) => Finding::holds("Delivering", "no webhook has refused the last event"),
        (false, false) => Finding::fails(
            "DeliveryFailing",
            format!("the last event was not taken by {}", failing.join(", ")),
        ),
    }
}

const NO_CATALOGUE: &str = "this version has no catalogue of models";

/// The most models and providers that a condition names.
const MAX_NAMED: usize = 10;

/// The time before the end of a certificate in which somebody has to act: 14 days.
const CERTIFICATE_SECONDS: i64 = 14 * 86_400;

/// The bytes below which the disk of the data folder is nearly full: 1 GiB.
const MIN_FREE_BYTES: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn status(finding: &Finding) -> (ConditionStatus, &'static str) {
        (finding.0, finding.1)
    }

    #[test]
    fn certificates_and_disks_are_told_before_they_are_a_problem() {
        let facts = |end: i64, free: u64| ProcessFacts {
            certificates: vec![("a:443".to_owned(), 1_000 + end)],
            free_bytes: Some(free),
            ..ProcessFacts::default()
        };
        let certificates = |end| status(&certificates_valid(&facts(end, 0), Moment(1_000)));
        assert_eq!(certificates(CERTIFICATE_SECONDS), (ConditionStatus::True, "Valid"));
        assert_eq!(certificates(CERTIFICATE_SECONDS - 1), (ConditionStatus::False, "Ending"));
        assert_eq!(status(&disk_space(&facts(0, MIN_FREE_BYTES))), (ConditionStatus::True, "Enough"));
        assert_eq!(status(&disk_space(&facts(0, MIN_FREE_BYTES - 1))), (ConditionStatus::False, "Low"));
        assert_eq!(status(&disk_space(&ProcessFacts::default())), (ConditionStatus::Unknown, "NotRead"));
    }

    #[test]
    fn the_time_of_a_change_stays_until_the_next_one() {
        let mut since = HashMap::new();
        let mut at = |finding: Finding, now: i64| {
            finding.condition("X", &mut since, Moment(now)).last_transition_time.0
        };
        assert_eq!(at(Finding::holds("A", ""), 1), 1);
        assert_eq!(at(Finding::holds("B", ""), 2), 1, "another reason is no change");
        assert_eq!(at(Finding::fails("C", String::new()), 3), 3);
        assert_eq!(at(Finding::fails("C", String::new()), 4), 3);
        assert_eq!(at(Finding::holds("A", ""), 5), 5);
    }
}
