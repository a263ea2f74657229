//! Checks of time: our clock against those of providers, and certificates that are about to expire.

use std::time::{SystemTime, UNIX_EPOCH};

use super::finding::{CheckState, DoctorFinding};

/// The difference between a provider's clock and ours.
#[derive(Clone, Debug)]
pub(super) struct Skew {
    provider: String,
    seconds: i64,
}

impl Skew {
    /// Computes the skew from the `date` of a response that has just arrived.
    pub(super) fn of(provider: &str, date: &str) -> Option<Self> {
        let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second();
        Some(Self { provider: provider.to_owned(), seconds: theirs - now() })
    }
}

/// Judges our clock by the provider that agrees with it most: if only some clocks differ, ours is right.
pub(super) fn judge(skews: &[Skew]) -> Option<DoctorFinding> {
    let (subject, check) = ("machine", "clock");
    let Skew { provider, seconds } = skews.iter().min_by_key(|skew| skew.seconds.abs())?;
    let message = format!("{} s from that of {provider}", seconds.abs());
    let state = match seconds.abs() {
        0..MAX_TOLERATED_SKEW_SECONDS => return Some(DoctorFinding::ok(subject, check, message)),
        MAX_TOLERATED_SKEW_SECONDS..WRONG_SKEW_SECONDS => CheckState::Warning,
        _ => CheckState::Wrong,
    };
    Some(DoctorFinding::new(
        state,
        subject,
        check,
        message,
        "set this machine's clock: timedatectl set-ntp true",
    ))
}

/// Reports how long a certificate lasts, which expires at this second.
pub(super) fn lifetime(subject: &str, check: &'static str, ends: Option<i64>) -> DoctorFinding {
    let Some(ends) = ends else {
        let advice = "openssl x509 -enddate -noout tells";
        return DoctorFinding::new(
            CheckState::Unknown,
            subject,
            check,
            "its end cannot be read here",
            advice,
        );
    };
    let days = (ends - now()).div_euclid(86_400);
    let message = format!("valid for {days} days");
    let advice = "see to it that it is renewed";
    match days {
        ..0 => DoctorFinding::new(
            CheckState::Wrong,
            subject,
            check,
            format!("over since {} days", -days),
            advice,
        ),
        0..EXPIRY_WARNING_DAYS => DoctorFinding::new(CheckState::Warning, subject, check, message, advice),
        _ => DoctorFinding::ok(subject, check, message),
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// The tolerated difference between two clocks, in seconds. A chosen value: it covers the way of the response and
/// the fraction of a second in its date.
const MAX_TOLERATED_SKEW_SECONDS: i64 = 30;

/// The difference, in seconds, from which on certificates and signed requests are refused in many places.
const WRONG_SKEW_SECONDS: i64 = 300;

/// The days before expiry from which on a certificate is reported. Usual clients of certificate authorities have
/// renewed it long before.
const EXPIRY_WARNING_DAYS: i64 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_good_until_soon_before_its_end() {
        let state = |days: i64| lifetime("x", "certificate", Some(now() + days * 86_400 + 60)).state;
        assert_eq!(
            [-1, 0, 13, 14].map(state),
            [CheckState::Wrong, CheckState::Warning, CheckState::Warning, CheckState::Ok]
        );
        assert_eq!(lifetime("x", "certificate", None).state, CheckState::Unknown);
    }

    #[test]
    fn the_clock_is_judged_by_who_agrees_with_it_most() {
        let skew = |seconds| Skew { provider: "p".to_owned(), seconds };
        let state = |skews: &[i64]| {
            judge(&skews.iter().copied().map(skew).collect::<Vec<_>>()).map(|finding| finding.state)
        };
        assert_eq!(state(&[]), None);
        assert_eq!(state(&[4000, -2]), Some(CheckState::Ok));
        assert_eq!(state(&[-31]), Some(CheckState::Warning));
        assert_eq!(state(&[301, -900]), Some(CheckState::Wrong));
        assert_eq!(Skew::of("p", "Thu, 01 Jan 1970 00:00:10 GMT").unwrap().seconds.signum(), -1);
        assert!(Skew::of("p", "now").is_none());
    }
}
