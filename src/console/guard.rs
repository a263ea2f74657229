//! Who may look.
//!
//! With a token, who shows it. Without one, programs on this machine, but no page of somebody else's that has made
//! its own name lead here (DNS rebinding): such a page can not be asked for under an address or a local name.

use std::net::IpAddr;

use crate::auth::Token;

/// What stands between the admin listener and its callers.
#[derive(Debug)]
pub struct Guard(Access);

#[derive(Debug)]
enum Access {
    Token(Token),
    /// Whoever is on this machine; `host` is the listener's own name.
    Local {
        host: String,
    },
    /// Nobody.
    Closed,
}

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The page, in which no figure is.
    Page,
    /// The figures of the page.
    Console,
    /// Metrics.
    Metrics,
    /// Whether the gateway is there.
    Health,
}

/// Why somebody does not get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The answer's status: 401 where a token would help, else 403.
    pub status: u16,
    /// Why, in a sentence.
    pub message: &'static str,
}

impl Guard {
    /// The guard of a listener at `host`, which is for this machine alone or is not.
    #[must_use]
    pub fn new(token: Option<Token>, is_loopback: bool, host: &str) -> Self {
        Self(match token {
            Some(token) => Access::Token(token),
            None if is_loopback => Access::Local { host: host.to_owned() },
            None => Access::Closed,
        })
    }

    /// May `what` be given to a request with these headers?
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, what: What, host: Option<&str>, authorization: Option<&str>) -> Result<(), Refusal> {
        match (&self.0, what) {
            (_, What::Health) | (Access::Token(_), What::Page) => Ok(()),
            (Access::Token(token), What::Console | What::Metrics) => {
                let shown = authorization.and_then(bearer);
                if shown.is_some_and(|shown| token.is(shown)) { Ok(()) } else { Err(UNAUTHORIZED) }
            }
            (Access::Local { .. } | Access::Closed, What::Metrics) => Ok(()),
            (Access::Local { host: own }, What::Page | What::Console) => {
                if host.is_some_and(|host| is_local(host, own)) { Ok(()) } else { Err(FOREIGN) }
            }
            (Access::Closed, What::Page | What::Console) => Err(CLOSED),
        }
    }
}

/// The token of `Bearer TOKEN`.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Is a `Host` an address, a name of this machine, or the listener's own?
fn is_local(host: &str, own: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let lower = name.to_ascii_lowercase();
    let local = lower == "localhost" || lower.ends_with(".localhost") || lower == own.to_ascii_lowercase();
    local || name.parse::<IpAddr>().is_ok()
}

const UNAUTHORIZED: Refusal =
    Refusal { status: 401, message: "show the token of `admin.token` as a bearer token" };

const FOREIGN: Refusal = Refusal {
    status: 403,
    message: "without a token the console is for this machine: call it by an address or as localhost",
};

const CLOSED: Refusal = Refusal {
    status: 403,
    message: "the console needs a token where others can reach it: set `admin.token`",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_where_figures_are() {
        let guard = Guard::new(Some(Token::new("secret")), true, "127.0.0.1");
        let with = |what, authorization| guard.admit(what, Some("evil.example"), authorization);
        for what in [What::Console, What::Metrics] {
            for bad in
                [None, Some(""), Some("secret"), Some("Bearer"), Some("Bearer secre"), Some("Basic secret")]
            {
                assert_eq!(with(what, bad), Err(UNAUTHORIZED), "{bad:?}");
            }
            assert_eq!(with(what, Some("bearer secret")), Ok(()));
        }
        assert_eq!((with(What::Page, None), with(What::Health, None)), (Ok(()), Ok(())));
    }

    #[test]
    fn without_a_token_only_this_machine_sees_the_console() {
        let open = Guard::new(None, false, "0.0.0.0");
        assert_eq!(open.admit(What::Page, Some("127.0.0.1"), None), Err(CLOSED));
        assert_eq!(open.admit(What::Metrics, Some("gateway:9090"), None), Ok(()));
        let local = Guard::new(None, true, "Console.internal");
        let at = |host| local.admit(What::Console, host, None);
        for good in [
            "127.0.0.1:9090",
            "localhost",
            "LOCALHOST:1",
            "a.localhost:9",
            "[::1]:9090",
            "console.internal:1",
        ] {
            assert_eq!(at(Some(good)), Ok(()), "{good}");
        }
        for bad in ["evil.example:9090", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1"] {
            assert_eq!(at(Some(bad)), Err(FOREIGN), "{bad}");
        }
        assert_eq!(at(None), Err(FOREIGN));
    }
}
