//! `crossmodel health`: asks whether the gateway is ready. It serves as the health check of containers without
//! `curl`.

use std::io::Write;
use std::net::ToSocketAddrs;

use clap::Args;
use serde::Serialize;
use tokio::runtime::Builder;

use crossmodel::edge::{Prober, Unreached};

use super::doctor::reachable;
use super::failure::CommandError;
use super::table::{OutputFormat, print};

/// The arguments of `crossmodel health`.
#[derive(Debug, Args)]
pub(super) struct HealthCommand {
    /// The URL to ask: `http://HOST:PORT/PATH`. Default: `/readyz` of the configuration's admin listener.
    #[arg(long, value_name = "URL")]
    url: Option<http::Uri>,
    #[command(flatten)]
    format: OutputFormat,
}

/// The answer of the gateway, as JSON.
#[derive(Serialize)]
struct HealthOutput<'a> {
    url: &'a str,
    ok: bool,
    status: Option<u16>,
}

impl HealthCommand {
    /// Whether a URL was given.
    pub(super) fn is_told(&self) -> bool {
        self.url.is_some()
    }

    /// Asks the given URL, or else the admin listener.
    pub(super) fn run(&self, admin: Option<&str>, out: &mut dyn Write) -> Result<(), CommandError> {
        let wrong = |why: &str| CommandError::Usage(why.to_owned());
        let (address, mut tls, path) = match (&self.url, admin) {
            (Some(url), _) => {
                let authority = url.authority().ok_or_else(|| wrong("write http://HOST:PORT/PATH"))?;
                let tls = url.scheme() == Some(&http::uri::Scheme::HTTPS);
                let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
                let path = url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
                (format!("{}:{port}", authority.host()), tls, if path == "/" { READY } else { path })
            }
            (None, Some(admin)) => (admin.to_owned(), false, READY),
            (None, None) => return Err(wrong("the admin listener is off: say what to ask with --url")),
        };
        let at = address.to_socket_addrs().ok().and_then(|mut all| all.next());
        let at = at.ok_or_else(|| CommandError::Usage(format!("{address} leads nowhere")))?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut answer = runtime.block_on(Prober::new().own(reachable(at), tls, path));
        // The address alone does not tell whether the admin listener has a certificate.
        if self.url.is_none()
            && matches!(answer, Err(Unreached::Answer(_)))
            && let Ok(secure) = runtime.block_on(Prober::new().own_unverified(reachable(at), path))
        {
            (tls, answer) = (true, Ok(secure));
        }
        let url = format!("{}://{address}{path}", if tls { "https" } else { "http" });
        let status = answer.as_ref().ok().map(|answer| answer.status);
        let ok = status == Some(200);
        if self.format.json {
            print(&HealthOutput { url: &url, ok, status }, out)?;
            return match answer {
                Ok(_) if ok => Ok(()),
                Ok(answer) => Err(CommandError::Usage(format!("{url}: {}", answer.status))),
                Err(_) => Err(CommandError::NoGateway(format!("{url}: cannot be reached"))),
            };
        }
        match answer {
            Ok(_) if ok => Ok(writeln!(out, "{url}: ok")?),
            Ok(answer) => Err(CommandError::Usage(format!("{url}: {}", answer.status))),
            Err(Unreached::Connection(why) | Unreached::Tls(why) | Unreached::Answer(why)) => {
                Err(CommandError::NoGateway(format!("{url}: {why}")))
            }
            Err(_) => Err(CommandError::NoGateway(format!("{url}: cannot be reached"))),
        }
    }
}

/// The path at which a gateway says whether it can serve.
const READY: &str = "/readyz";
