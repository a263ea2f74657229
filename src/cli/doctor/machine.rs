//! Checks of the machine: open files, and the addresses to listen on.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use rustix::process::{Resource, getrlimit};
use serde::Deserialize;

use crossmodel::Config;
use crossmodel::config::Listener;
use crossmodel::edge::{Prober, certificate_file_ends};

use super::clock;
use super::finding::{CheckState, DoctorFinding};

/// Checks limits, listeners and their certificates.
pub(super) async fn look(prober: &Prober, config: &Config) -> Vec<DoctorFinding> {
    let mut findings = vec![files(getrlimit(Resource::Nofile).maximum, config.limits.connections)];
    let mut runs = false;
    for listener in &config.listeners {
        let subject = format!("listener {}", listener.address);
        findings.extend(certificate(&subject, listener));
        let (finding, is_ours) = port(prober, &subject, &listener.address, listener.tls.is_some(), "/").await;
        findings.push(finding);
        runs |= is_ours;
    }
    if let Some(address) = config.admin.as_ref().map(|admin| &admin.address) {
        let subject = format!("admin {address}");
        let (finding, is_ours) = port(prober, &subject, address, false, "/readyz").await;
        if runs && !is_ours && finding.state == CheckState::Ok {
            let advice = "restart the gateway: it was started with another `admin`";
            let message = "a gateway runs, but not its admin listener";
            findings.push(DoctorFinding::new(CheckState::Wrong, subject, "port", message, advice));
        } else {
            findings.push(finding);
        }
    }
    findings
}

/// Judges the hard limit of open files, up to which the gateway raises its own limit.
fn files(most: Option<u64>, connections: Option<usize>) -> DoctorFinding {
    let (subject, check) = ("machine", "open files");
    let Some(most) = most else { return DoctorFinding::ok(subject, check, "as many as it wants") };
    let advice =
        "raise the limit: LimitNOFILE=65536 in the systemd unit, or --ulimit nofile=65536 of the container";
    let wanted = connections.and_then(|n| u64::try_from(n).ok()).map(|n| n.saturating_mul(2));
    match wanted {
        Some(wanted) if wanted > most => {
            let message = format!("{most}, but `limits.connections` may need {wanted}");
            DoctorFinding::new(CheckState::Wrong, subject, check, message, advice)
        }
        _ if most < MIN_OPEN_FILES => {
            DoctorFinding::new(CheckState::Warning, subject, check, format!("only {most}"), advice)
        }
        _ => DoctorFinding::ok(subject, check, most.to_string()),
    }
}

fn certificate(subject: &str, listener: &Listener) -> Option<DoctorFinding> {
    let file = &listener.tls.as_ref()?.certificate;
    let check = "certificate";
    Some(match std::fs::read(file) {
        Ok(pem) => clock::lifetime(subject, check, certificate_file_ends(&pem)),
        Err(why) => {
            let message = format!("{} cannot be read: {why}", file.display());
            let advice = "let the user that runs the gateway read it";
            DoctorFinding::new(CheckState::Wrong, subject, check, message, advice)
        }
    })
}

/// The answer of a gateway at `/`.
#[derive(Deserialize)]
struct Root {
    name: String,
    version: String,
}

/// Judges whether an address is free. Also returns whether a gateway serves it already.
async fn port(
    prober: &Prober,
    subject: &str,
    address: &str,
    tls: bool,
    path: &'static str,
) -> (DoctorFinding, bool) {
    let check = "port";
    let resolved = address.to_socket_addrs().ok().and_then(|mut all| all.next());
    let Some(at) = resolved else {
        let advice = "write an address of this machine, host:port";
        return (DoctorFinding::new(CheckState::Wrong, subject, check, "leads nowhere", advice), false);
    };
    let Err(why) = TcpListener::bind(at) else {
        return (DoctorFinding::ok(subject, check, "free: no gateway runs here"), false);
    };
    let wrong = |message: String, advice: &str| {
        (DoctorFinding::new(CheckState::Wrong, subject, check, message, advice), false)
    };
    match why.kind() {
        ErrorKind::PermissionDenied => {
            let advice = "take a port from 1024 on, or grant CAP_NET_BIND_SERVICE";
            return wrong(format!("it may not be listened on: {why}"), advice);
        }
        ErrorKind::AddrInUse => {}
        _ => return wrong(why.to_string(), "write an address of this machine, host:port"),
    }
    let answer = prober.own(reachable(at), tls, path).await;
    let taken = "stop the program that listens there (ss -ltnp tells which), or take another port";
    match answer {
        Ok(answer) if path == "/readyz" && matches!(answer.status, 200 | 503) => {
            let ready = if answer.status == 200 { "ready" } else { "not ready" };
            (DoctorFinding::ok(subject, check, format!("a gateway serves it, and is {ready}")), true)
        }
        Ok(answer) => match serde_json::from_slice::<Root>(&answer.body) {
            Ok(root) if root.name == env!("CARGO_PKG_NAME") => {
                (DoctorFinding::ok(subject, check, format!("CrossModel {} serves it", root.version)), true)
            }
            _ => wrong("another program serves it".to_owned(), taken),
        },
        Err(_) => wrong("it is taken, and what listens there is no gateway".to_owned(), taken),
    }
}

/// Returns the address by which a listener is reached from this machine.
pub(in crate::cli) fn reachable(listener: SocketAddr) -> SocketAddr {
    let mut at = listener;
    if at.ip().is_unspecified() {
        at.set_ip(if at.is_ipv4() { [127, 0, 0, 1].into() } else { [0, 0, 0, 0, 0, 0, 0, 1].into() });
    }
    at
}

/// Open files below which a warning is given. A chosen value: a call needs two, and 2,000 calls are a busy
/// gateway.
const MIN_OPEN_FILES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_judged_by_what_is_wanted() {
        let state = |most, connections| files(most, connections).state;
        assert_eq!(state(None, Some(1 << 40)), CheckState::Ok);
        assert_eq!(state(Some(1024), None), CheckState::Warning);
        assert_eq!(state(Some(4096), None), CheckState::Ok);
        assert_eq!(state(Some(65_536), Some(32_769)), CheckState::Wrong);
        assert_eq!(state(Some(65_536), Some(32_768)), CheckState::Ok);
    }

    #[test]
    fn a_listener_for_all_addresses_is_reached_by_loopback() {
        let of = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(
            [of("0.0.0.0:1"), of("[::]:1"), of("10.0.0.1:1")],
            ["127.0.0.1:1", "[::1]:1", "10.0.0.1:1"]
        );
    }
}
