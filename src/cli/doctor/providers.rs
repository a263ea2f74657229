//! Checks of providers: whether each can be reached, is the right server, and accepts our credential.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crossmodel::edge::{Answer, Prober, Unreached};
use crossmodel::provider::Provider;

use super::clock::{self, Skew};
use super::finding::{CheckState, DoctorFinding};

/// Checks one provider, and also returns the difference between its clock and ours.
pub(super) async fn look(prober: &Prober, provider: &Arc<Provider>) -> (Vec<DoctorFinding>, Option<Skew>) {
    let subject = format!("provider {}", provider.name);
    let visit = prober.provider(provider, 0).await;
    let mut findings = Vec::new();
    let (host, port) = match &provider.connection.proxy {
        Some(proxy) => (&proxy.host, proxy.port),
        None => (&provider.base_url.host, provider.base_url.port),
    };
    match (visit.address, &visit.answer) {
        (Some(address), _) => {
            let ip = address.ip().to_string();
            let message = if ip == *host { ip } else { format!("{host} is {ip}") };
            let message = match &provider.connection.proxy {
                Some(proxy) => format!("through {proxy}: {message}"),
                None => message,
            };
            findings.push(DoctorFinding::ok(&subject, "name", message));
        }
        (None, _) => {
            let advice =
                "correct its `base_url`, or ask why this machine cannot resolve the name: getent hosts HOST";
            let message = format!("{host} cannot be resolved");
            findings.push(DoctorFinding::new(CheckState::Wrong, &subject, "name", message, advice));
            return (findings, None);
        }
    }
    findings.push(connection(&subject, port, &visit.answer));
    if provider.base_url.tls && !matches!(visit.answer, Err(Unreached::Connection(_))) {
        findings.push(certificate(&subject, visit.certificate_ends, &visit.answer));
    }
    let mut skew = None;
    match &visit.answer {
        Ok(answer) => {
            findings.push(credential(
                &credential_subject(provider, 0),
                provider.key().is_some(),
                answer.status,
            ));
            for place in 1..provider.credentials().len() {
                let visit = prober.provider(provider, place).await;
                findings.push(further_credential(&credential_subject(provider, place), &visit.answer));
            }
            findings.extend(protocol(&subject, answer));
            skew = answer.date.as_deref().and_then(|date| Skew::of(&provider.name, date));
        }
        Err(Unreached::Answer(why)) => {
            let advice =
                "see whether `base_url` leads to an API, and whether `http` is the version that it speaks";
            let message = format!("no answer: {why}");
            findings.push(DoctorFinding::new(CheckState::Wrong, &subject, "protocol", message, advice));
        }
        Err(_) => {}
    }
    (findings, skew)
}

fn connection(subject: &str, port: u16, answer: &Result<Answer, Unreached>) -> DoctorFinding {
    match answer {
        Err(Unreached::Connection(why)) => {
            let advice = "see whether it runs, and whether a firewall or a proxy lets this machine go there: the \
                gateway connects directly unless `proxy` or HTTPS_PROXY names one";
            DoctorFinding::new(
                CheckState::Wrong,
                subject,
                "connection",
                format!("port {port}: {why}"),
                advice,
            )
        }
        _ => DoctorFinding::ok(subject, "connection", format!("port {port} accepts connections")),
    }
}

fn certificate(subject: &str, ends: Option<i64>, answer: &Result<Answer, Unreached>) -> DoctorFinding {
    let check = "certificate";
    let Err(Unreached::Tls(why)) = answer else {
        return clock::lifetime(subject, check, ends);
    };
    let advice = if why.contains("expired") {
        "its certificate is over, or this machine's clock is wrong: see `date`"
    } else if why.contains("certificate is") {
        "`base_url` has to use the name that the certificate is for"
    } else if why.contains("unknown authority") {
        "nobody vouches for it: install the authority's certificate on this machine, or set SSL_CERT_FILE; \
         some company networks replace certificates"
    } else {
        "see whether it speaks TLS there: openssl s_client -connect HOST:PORT"
    };
    DoctorFinding::new(CheckState::Wrong, subject, check, why, advice)
}

/// Returns the name of a provider's credential in findings: that of the provider if it has only one.
fn credential_subject(provider: &Provider, place: usize) -> String {
    let name = &provider.name;
    match provider.credential_name(place) {
        Some(credential) => format!("provider {name}, credential {credential}"),
        None => format!("provider {name}"),
    }
}

/// Judges one of the further credentials of a provider that was reached with the first one.
fn further_credential(subject: &str, answer: &Result<Answer, Unreached>) -> DoctorFinding {
    match answer {
        Ok(answer) => credential(subject, true, answer.status),
        Err(_) => {
            let message = "there was no answer to a request with it".to_owned();
            DoctorFinding::new(CheckState::Unknown, subject, "credential", message, "try again")
        }
    }
}

/// Judges the credential by the status of the list of models.
fn credential(subject: &str, has_key: bool, status: u16) -> DoctorFinding {
    let check = "credential";
    let unknown = |message: &str, advice: &str| {
        DoctorFinding::new(CheckState::Unknown, subject, check, format!("{status}: {message}"), advice)
    };
    match status {
        200..=299 if has_key => DoctorFinding::ok(subject, check, "accepted"),
        200..=299 => DoctorFinding::ok(subject, check, "none is needed"),
        401 | 403 => {
            let said = if has_key { "the key is refused" } else { "it wants a key" };
            let advice = "put a valid key where its `key`, or its entry in `keys`, refers to, see whether it is for this `base_url` and may \
                be used from here, and how it is sent (`auth`)";
            DoctorFinding::new(CheckState::Wrong, subject, check, format!("{status}: {said}"), advice)
        }
        402 => {
            let advice = "fill the account that the key belongs to";
            DoctorFinding::new(
                CheckState::Wrong,
                subject,
                check,
                "402: the account has to be paid for",
                advice,
            )
        }
        429 => unknown("too many requests", "try again later, or see what else uses this account"),
        404 | 405 | 501 => unknown("it lists no models", "make a call to be sure"),
        500..=599 => unknown("it has troubles of its own", "see its status page, and try again"),
        _ => unknown("this does not say whether the key is good", "make a call to be sure"),
    }
}

/// The part of a list of models that is looked at.
#[derive(Deserialize)]
struct ModelListReply {
    #[serde(alias = "models")]
    data: Vec<IgnoredAny>,
}

/// Judges whether the response looks like an API of the configured protocols.
fn protocol(subject: &str, answer: &Answer) -> Option<DoctorFinding> {
    let (check, advice) = ("protocol", "see whether `base_url` is the one of the API, with its path");
    let warning = |message: String| DoctorFinding::new(CheckState::Warning, subject, check, message, advice);
    let is_page = answer.body.trim_ascii_start().starts_with(b"<");
    match answer.status {
        300..=399 => Some(warning(format!("{}: it sends elsewhere, which is not followed", answer.status))),
        _ if is_page => Some(warning("it answers with a page for people".to_owned())),
        200..=299 => Some(match serde_json::from_slice::<ModelListReply>(&answer.body) {
            Ok(models) => DoctorFinding::ok(subject, check, format!("lists {} models", models.data.len())),
            Err(_) => warning("its list of models is not one".to_owned()),
        }),
        _ => None,
    }
}
