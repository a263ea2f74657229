//! The guard of the admin listener, which decides who may see what.
//!
//! With a token, everybody who shows it is let in. Without one, the console is for programs on this machine, and
//! metrics are for programs that can connect. Then the request's host has to be an address, a local name or a
//! configured name. A stranger's page that makes its own name lead here (DNS rebinding) cannot meet this
//! condition.

use std::net::IpAddr;

use crate::auth::{OperatorToken, bearer_token};

/// The rule by which callers of the admin listener are let in.
#[derive(Debug)]
pub struct AdminGuard {
    access: Access,
    names: HostNames,
}

/// The rule behind a [`AdminGuard`].
#[derive(Debug)]
enum Access {
    Token,
    /// Everybody on this machine.
    Local,
    /// Everybody who can connect, but only for metrics.
    Closed,
}

/// The names of the listener, in lower case.
#[derive(Debug)]
struct HostNames(Vec<String>);

/// The resources of the admin listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminResource {
    /// The page itself, which contains no figures.
    Page,
    /// The figures on the page.
    Console,
    /// Metrics.
    Metrics,
    /// The answer that the gateway is there.
    Health,
}

/// The reason for which a caller does not get a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessDenied {
    /// The status: 401 if a token would help, otherwise 403.
    pub status: u16,
    /// The reason, in a sentence.
    pub message: &'static str,
}

impl AdminGuard {
    /// Makes the guard of a listener with these names. `needs_token` says whether callers have to show a token, `is_loopback` says whether only this machine can reach it.
    #[must_use]
    pub fn new<'n>(needs_token: bool, is_loopback: bool, names: impl Iterator<Item = &'n str>) -> Self {
        let names = HostNames(
            names.map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()).collect(),
        );
        let access = match (needs_token, is_loopback) {
            (true, _) => Access::Token,
            (false, true) => Access::Local,
            (false, false) => Access::Closed,
        };
        Self { access, names }
    }

    /// Whether a request names the listener by an address, a local name or a configured name.
    #[must_use]
    pub fn is_known_name(&self, host: Option<&str>) -> bool {
        host.is_some_and(|host| self.names.include(host))
    }

    /// Checks whether `what` may be given to a request with these headers. `operators` are those whose tokens are valid.
    ///
    /// # Errors
    /// Fails with the reason for the refusal.
    pub fn admit(
        &self,
        what: AdminResource,
        host: Option<&str>,
        authorization: Option<&str>,
        operators: &[OperatorToken],
    ) -> Result<(), AccessDenied> {
        match (&self.access, what) {
            (_, AdminResource::Health) | (Access::Token, AdminResource::Page) => Ok(()),
            (Access::Token, AdminResource::Console | AdminResource::Metrics) => {
                let shown = authorization.and_then(bearer_token);
                // The figures are those of all accounts.
                let sees_all = operators.iter().filter(|known| known.accounts.is_all());
                let knows = |shown| sees_all.clone().any(|known| known.token.matches(shown));
                if shown.is_some_and(knows) { Ok(()) } else { Err(UNAUTHORIZED) }
            }
            (Access::Closed, AdminResource::Page | AdminResource::Console) => Err(CLOSED),
            (Access::Local | Access::Closed, _) => {
                if self.is_known_name(host) {
                    Ok(())
                } else {
                    Err(FOREIGN)
                }
            }
        }
    }
}

impl HostNames {
    /// Whether a `Host` is an address, a name of this machine, or one of these names.
    fn include(&self, host: &str) -> bool {
        let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) => (address, port),
            None => host.split_at(host.find(':').unwrap_or(host.len())),
        };
        let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(digits) {
            return false;
        }
        // A trailing dot marks a name that starts at the root, which is the same name.
        let lower = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let local = lower == "localhost" || lower.ends_with(".localhost") || self.0.contains(&lower);
        local || name.parse::<IpAddr>().is_ok()
    }
}

const UNAUTHORIZED: AccessDenied =
    AccessDenied { status: 401, message: "show the token of `admin.token` as a bearer token" };

const FOREIGN: AccessDenied = AccessDenied {
    status: 403,
    message: "without a token this is for this machine and its network: call it by an address, as localhost or by a name \
              of `admin.hosts`, or set `admin.token`",
};

const CLOSED: AccessDenied = AccessDenied {
    status: 403,
    message: "the console needs a token where others can reach it: set `admin.token`",
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{AccountScope, Role, Token};

    #[test]
    fn a_token_is_asked_for_where_figures_are() {
        let guard = AdminGuard::new(true, true, ["127.0.0.1"].into_iter());
        let token = Token::new("secret");
        let operators = [OperatorToken {
            name: String::new(),
            role: Role::Read,
            token,
            accounts: AccountScope::default(),
        }];
        let with = |what, authorization| guard.admit(what, Some("evil.example"), authorization, &operators);
        for what in [AdminResource::Console, AdminResource::Metrics] {
            for bad in
                [None, Some(""), Some("secret"), Some("Bearer"), Some("Bearer secre"), Some("Basic secret")]
            {
                assert_eq!(with(what, bad), Err(UNAUTHORIZED), "{bad:?}");
            }
            assert_eq!(with(what, Some("bearer secret")), Ok(()));
        }
        assert_eq!((with(AdminResource::Page, None), with(AdminResource::Health, None)), (Ok(()), Ok(())));
    }

    #[test]
    fn without_a_token_only_this_machine_sees_the_console() {
        let open = AdminGuard::new(false, false, ["0.0.0.0"].into_iter());
        assert_eq!(open.admit(AdminResource::Page, Some("127.0.0.1"), None, &[]), Err(CLOSED));
        let local = AdminGuard::new(false, true, ["Console.internal"].into_iter());
        let at = |host| local.admit(AdminResource::Console, host, None, &[]);
        for good in [
            "127.0.0.1:9090",
            "localhost",
            "LOCALHOST:1",
            "a.localhost:9",
            "[::1]:9090",
            "console.internal:1",
            "console.internal.:1",
            "localhost.",
        ] {
            assert_eq!(at(Some(good)), Ok(()), "{good}");
        }
        for bad in [
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:80.evil.example",
            "[::1].evil.example",
            "[::1]1",
            "localhost..",
            "",
            "[::1",
        ] {
            assert_eq!(at(Some(bad)), Err(FOREIGN), "{bad}");
        }
        assert_eq!(at(None), Err(FOREIGN));
    }

    #[test]
    fn metrics_are_not_given_out_under_a_foreign_name() {
        let at = |is_loopback, host| {
            let guard = AdminGuard::new(false, is_loopback, ["0.0.0.0", "Gateway"].into_iter());
            assert_eq!(guard.admit(AdminResource::Health, host, None, &[]), Ok(()), "{host:?}");
            guard.admit(AdminResource::Metrics, host, None, &[])
        };
        for is_loopback in [true, false] {
            for good in
                ["127.0.0.1:9090", "10.244.0.7:9090", "[fd00::7]:9090", "localhost:9090", "gateway:9090"]
            {
                assert_eq!(at(is_loopback, Some(good)), Ok(()), "{good}");
            }
            for bad in [Some("evil.example:9090"), Some("gateway.evil.example"), Some(""), None] {
                assert_eq!(at(is_loopback, bad), Err(FOREIGN), "{bad:?}");
            }
        }
    }
}
