//! The reasons for which a provider cannot be reached, in words for its operator.
//!
//! Pingora keeps the reason of rustls only as a text, so it is read from there.

use pingora::{Error, ErrorType};

use crate::edge::upstream::tunnel::TunnelFailure;

/// Returns the reason of an error on the way to a provider. Its context may contain a malformed head, so only the
/// error's name, the system's message and the reasons of TLS are used.
pub(in crate::edge) fn reason(error: &Error) -> String {
    if let Some(why) = error.root_cause().downcast_ref::<TunnelFailure>() {
        return why.to_string();
    }
    let name = match error.etype() {
        ErrorType::ConnectRefused => return "connection refused".to_owned(),
        ErrorType::ConnectTimedout => return "no connection in time".to_owned(),
        ErrorType::ConnectNoRoute => return "no route to the host".to_owned(),
        ErrorType::TLSHandshakeTimedout => return "handshake timed out".to_owned(),
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert => return tls_reason(&innermost(error)),
        other => other.as_str(),
    };
    match error.root_cause().downcast_ref::<std::io::Error>() {
        Some(cause) => format!("{name}: {cause}"),
        None => name.to_owned(),
    }
}

/// Returns the innermost reason of an error, which is the most informative one. Pingora wraps it in the origin and
/// the direction.
pub(in crate::edge) fn innermost(error: &Error) -> String {
    let chain = error.to_string();
    let reason = chain.rsplit(" cause: ").find(|reason| !reason.starts_with("local address "));
    let reason = reason.and_then(|reason| reason.rsplit("context: ").next()?.split(", SNI: ").next());
    reason.unwrap_or_else(|| error.etype().as_str()).trim().to_owned()
}

/// Returns the reason for which a handshake has failed, from the words of rustls.
pub(in crate::edge) fn tls_reason(words: &str) -> String {
    let says = |part: &str| words.contains(part);
    if let Some(day) = number_behind(words, "not valid after ").and_then(day) {
        return format!("certificate expired on {day}");
    }
    if let Some(day) = number_behind(words, "not valid before ").and_then(day) {
        return format!("certificate not valid before {day}");
    }
    if let Some((_, names)) = words.split_once("not valid for name ") {
        let (expected, valid) = names.split_once(';').unwrap_or((names, ""));
        let expected = expected.trim_matches(['"', ' ']);
        return match valid.rsplit_once("only valid for ") {
            Some((_, valid)) => {
                format!("the certificate is for {}, not {expected}", without_debug(valid))
            }
            None => format!("the certificate is not for {expected}"),
        };
    }
    let known = [
        ("Expired", "certificate expired"),
        ("UnknownIssuer", "unknown authority"),
        ("BadSignature", "unknown authority"),
        ("CaUsedAsEndEntity", "unknown authority (a self-signed certificate)"),
        ("NotValidForName", "the certificate is for another name"),
        ("Revoked", "certificate revoked"),
        ("InvalidContentType", "the peer does not speak TLS"),
        ("CertificateRequired", "client certificate required"),
        ("HandshakeFailure", "the peer accepts none of the gateway's ciphers or versions of TLS"),
        ("ProtocolVersion", "the peer speaks no version of TLS that the gateway speaks"),
        ("UnrecognizedName", "the peer does not know the host name"),
    ];
    match known.iter().find(|(part, _)| says(part)) {
        Some((_, reason)) => (*reason).to_owned(),
        None if says("eof") || says("reset") => {
            "the peer has closed the connection in the handshake".to_owned()
        }
        None => words.to_owned(),
    }
}

/// Returns the number that follows a text.
fn number_behind(words: &str, text: &str) -> Option<i64> {
    let (_, rest) = words.split_once(text)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// Returns the day of a time in seconds since the epoch.
fn day(seconds: i64) -> Option<String> {
    let time = jiff::Timestamp::from_second(seconds).ok()?;
    Some(time.strftime("%Y-%m-%d").to_string())
}

/// Returns the names of a certificate without the types that rustls writes around them.
fn without_debug(names: &str) -> String {
    names.replace("DnsName(\"", "").replace("IpAddress(\"", "").replace("\")", "").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_of_tls_has_its_reason() {
        for (words, expected) in [
            (
                "invalid peer certificate: certificate expired: verification time 1764000000 (UNIX), but certificate is \
                 not valid after 1761955200 (2044800 seconds ago)",
                "certificate expired on 2025-11-01",
            ),
            ("invalid peer certificate: Expired", "certificate expired"),
            ("invalid peer certificate: UnknownIssuer", "unknown authority"),
            (
                "invalid peer certificate: certificate not valid for name \"b.example\"; certificate is only valid for \
                 DnsName(\"a.example\")",
                "the certificate is for a.example, not b.example",
            ),
            (
                "invalid peer certificate: certificate not valid for name \"b.example\"; certificate is not valid for \
                 any names (according to its subjectAltName extension)",
                "the certificate is not for b.example",
            ),
            ("received corrupt message of type InvalidContentType", "the peer does not speak TLS"),
            ("received fatal alert: CertificateRequired", "client certificate required"),
            ("tls handshake eof", "the peer has closed the connection in the handshake"),
            ("something new", "something new"),
        ] {
            assert_eq!(tls_reason(words), expected);
        }
    }

    #[test]
    fn an_error_that_may_hold_a_head_shows_its_name_alone() {
        let error = Error::explain(ErrorType::InvalidHTTPHeader, "authorization: secret");
        assert_eq!(reason(&error), "InvalidHTTPHeader");
        let error = Error::because(
            ErrorType::ReadError,
            "x",
            std::io::Error::from(std::io::ErrorKind::ConnectionReset),
        );
        assert_eq!(reason(&error), "ReadError: connection reset");
        let context = "TLS connect() failed:  TLSHandshakeFailure context: tls connect error cause: invalid peer \
            certificate: UnknownIssuer, SNI: provider.example";
        assert_eq!(reason(&Error::explain(ErrorType::TLSHandshakeFailure, context)), "unknown authority");
    }
}
