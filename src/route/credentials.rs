//! The credentials of a provider that has several: the ones that rest, and for how long.
//!
//! A credential that is rate limited or refused rests alone, and the others serve meanwhile. Only when none is left does
//! this say anything about the provider's targets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use log::Level;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;

use crate::observe::AttemptFailure;
use crate::provider::{Credential, Provider};
use crate::repeated::RepeatedLine;

use super::state_log::TargetFailure;

/// The states of a provider's credentials. They begin anew when the configuration is read again, because the credentials
/// may be others then.
#[derive(Debug)]
pub struct Credentials {
    provider: Arc<Provider>,
    /// In the order of the provider's credentials.
    rests: Box<[CredentialRest]>,
}

/// The rest of one credential.
#[derive(Debug, Default)]
struct CredentialRest {
    current: Mutex<Option<Rest>>,
    backed_off: RepeatedLine,
}

/// A time in which a credential is spared.
#[derive(Clone, Copy, Debug)]
struct Rest {
    state: CredentialState,
    until: Instant,
}

/// The state of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialState {
    /// Calls use it.
    Ready,
    /// Its provider has asked for time.
    BackingOff,
    /// Its provider has refused it.
    Refused,
}

/// The state of a credential at one moment, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CredentialSnapshot {
    /// Its name in the configuration.
    pub name: String,
    /// Its state.
    pub state: CredentialState,
    /// The end of its rest; absent if it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// Its share of the calls.
    pub weight: u32,
}

impl CredentialState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Ready, Self::BackingOff, Self::Refused];

    /// Returns the name of the state.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::BackingOff => "backing_off",
            Self::Refused => "refused",
        }
    }
}

impl Credentials {
    /// Makes the states of a provider's credentials, all of them ready. There are none if it has only one.
    #[must_use]
    pub fn of(provider: &Arc<Provider>) -> Option<Arc<Self>> {
        let several = Some(provider.credentials()).filter(|all| all.len() > 1)?;
        let rests = several.iter().map(|_| CredentialRest::default()).collect();
        Some(Arc::new(Self { provider: Arc::clone(provider), rests }))
    }

    /// Returns the credentials with their states, in their order.
    pub fn states(&self, now: Instant) -> impl Iterator<Item = (&Credential, CredentialState)> {
        self.rested(now).map(|(credential, rest)| (credential, state(rest)))
    }

    /// Returns the states of all credentials now, for people and programs.
    #[must_use]
    pub fn snapshots(&self) -> Vec<CredentialSnapshot> {
        let (now, time) = (Instant::now(), Timestamp::now());
        let until = |rest: Rest| {
            let left = SignedDuration::try_from(rest.until.saturating_duration_since(now)).ok()?;
            time.checked_add(left).ok()
        };
        let snapshot = |(credential, rest): (&Credential, Option<Rest>)| CredentialSnapshot {
            name: credential.name.to_string(),
            state: state(rest),
            until: rest.and_then(until),
            weight: credential.weight,
        };
        self.rested(now).map(snapshot).collect()
    }

    fn rested(&self, now: Instant) -> impl Iterator<Item = (&Credential, Option<Rest>)> {
        let current = move |rest: &CredentialRest| (*rest.current.lock()).filter(|rest| now < rest.until);
        self.provider.credentials().iter().zip(&self.rests).map(move |(one, rest)| (one, current(rest)))
    }

    /// Ends the rests of all credentials.
    pub(super) fn wake(&self) {
        self.rests.iter().for_each(|rest| *rest.current.lock() = None);
    }

    /// Notes that a call with a credential was answered.
    pub fn succeed(&self, place: usize) {
        if let Some(rest) = self.rests.get(place) {
            *rest.current.lock() = None;
        }
    }

    /// Notes a failure of a call with a credential, and writes its line if it changes the credential's state. `pause` is
    /// the time that the provider has asked for, in seconds. Returns whether the failure is one of this credential alone,
    /// because another one is ready.
    pub fn fail(&self, place: usize, failure: &TargetFailure, pause: Option<u64>, now: Instant) -> bool {
        let Some((rest, credential)) = self.rests.get(place).zip(self.provider.credentials().get(place))
        else {
            return false;
        };
        let state = match failure.kind {
            AttemptFailure::RateLimited => CredentialState::BackingOff,
            AttemptFailure::Credential => CredentialState::Refused,
            _ => return false,
        };
        let asked = pause.map_or(DEFAULT_BACK_OFF, Duration::from_secs).min(MAX_BACK_OFF);
        let time = if state == CredentialState::Refused { REFUSED_FOR } else { asked };
        let earlier = rest.current.lock().replace(Rest { state, until: now + time });
        let was_refused =
            earlier.is_some_and(|earlier| earlier.state == CredentialState::Refused && now < earlier.until);
        let (provider, name) = (&self.provider.name, &credential.name);
        match state {
            CredentialState::Refused if !was_refused => log::error!(
                "provider {provider}: credential {name} refused: {}; check providers.{provider}.keys; not used for {} \
                 minutes, or until the configuration is read again",
                failure.text,
                REFUSED_FOR.as_secs() / 60
            ),
            CredentialState::BackingOff => {
                let why = if pause.is_some() { "429, retry-after" } else { "429" };
                let seconds = time.as_secs();
                let text = format_args!(
                    "provider {provider}: credential {name}: backing off for {seconds} s ({why})"
                );
                rest.backed_off.write(Level::Warn, text);
            }
            CredentialState::Refused | CredentialState::Ready => {}
        }
        self.states(now).any(|(_, state)| state == CredentialState::Ready)
    }
}

fn state(rest: Option<Rest>) -> CredentialState {
    rest.map_or(CredentialState::Ready, |rest| rest.state)
}

/// The pause of a credential whose provider does not say for how long, and the longest one. The same values hold for
/// targets.
const DEFAULT_BACK_OFF: Duration = Duration::from_secs(1);
const MAX_BACK_OFF: Duration = Duration::from_secs(60);

/// The time for which a refused credential is not used. A chosen value: somebody has to act, and few calls find out
/// whether somebody has.
const REFUSED_FOR: Duration = Duration::from_secs(600);

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::provider::ProviderSettings;

    pub(in crate::route) fn provider(names: &[(&str, u32)], keeps_state: bool) -> Arc<Provider> {
        let settings = ProviderSettings {
            base_url: Some("http://localhost:1".to_owned().into()),
            protocols: Some(vec![crate::protocol::ProtocolId::Chat]),
            allow_upstream_state: keeps_state,
            ..ProviderSettings::default()
        };
        let credential = |(name, weight): &(&str, u32)| Credential {
            name: (*name).into(),
            weight: *weight,
            key: "k".to_owned().into(),
        };
        let credentials = names.iter().map(credential).collect();
        Arc::new(Provider::build("p", &settings, credentials, Vec::new()).unwrap())
    }

    fn failure(kind: AttemptFailure) -> TargetFailure {
        TargetFailure::new(kind, "x")
    }

    fn states(credentials: &Credentials, now: Instant) -> Vec<CredentialState> {
        credentials.states(now).map(|(_, state)| state).collect()
    }

    #[test]
    fn a_credential_rests_alone_and_for_its_own_time() {
        use CredentialState::{BackingOff, Ready, Refused};
        let (credentials, now) =
            (Credentials::of(&provider(&[("a", 1), ("b", 1)], false)).unwrap(), Instant::now());
        assert!(credentials.fail(0, &failure(AttemptFailure::RateLimited), Some(7), now));
        assert_eq!(states(&credentials, now), [BackingOff, Ready]);
        assert!(!credentials.fail(1, &failure(AttemptFailure::Credential), None, now), "none is left");
        assert_eq!(states(&credentials, now), [BackingOff, Refused]);
        let later = now + Duration::from_secs(7);
        assert_eq!(states(&credentials, later), [Ready, Refused]);
        assert_eq!(states(&credentials, now + REFUSED_FOR), [Ready, Ready]);
        credentials.succeed(1);
        assert_eq!(states(&credentials, later), [Ready, Ready]);
        assert!(credentials.fail(0, &failure(AttemptFailure::RateLimited), Some(1_000_000), now));
        assert_eq!(states(&credentials, now + MAX_BACK_OFF), [Ready, Ready]);
        assert!(!credentials.fail(0, &failure(AttemptFailure::Server), None, now), "that is the provider's");
        assert_eq!(credentials.snapshots()[0].name, "a");
    }

    #[test]
    fn one_credential_has_no_state_of_its_own() {
        assert!(Credentials::of(&provider(&[("a", 1)], false)).is_none());
    }
}
