//! The way of a command to the admin API: a gateway elsewhere, the one that runs on the store, or the store itself.

use std::env;
use std::io::{self, ErrorKind, Write as _, stderr};
use std::path::Path;

use clap::Args;
use secrecy::SecretString;

use crossmodel::admin::client::Client;
use crossmodel::auth::RateLimits;
use crossmodel::edge::RemoteGateway;
use crossmodel::provider::is_loopback;
use crossmodel::store::{self, ControlName};

use super::failure::CommandError;
use super::location::{StoreLocation, as_root, become_owner};

/// The gateway that a command is for.
#[derive(Debug, Args)]
pub(super) struct GatewayArguments {
    /// The admin listener of a gateway elsewhere: http://HOST:PORT or https://HOST:PORT. Variable: CROSSMODEL_URL.
    #[arg(long, global = true, value_name = "URL", conflicts_with_all = ["data", "gateway"])]
    url: Option<http::Uri>,
    /// `-`: the operator's token for `--url` is the first line of standard input. Default: CROSSMODEL_ADMIN_TOKEN.
    #[arg(long, global = true, value_name = "-")]
    token: Option<String>,
    /// The gateway that is meant if several use the store, by the first address that it listens on.
    #[arg(long, global = true, value_name = "ADDRESS")]
    gateway: Option<String>,
}

/// The needs of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// Whether it changes nothing.
    pub(super) only_reads: bool,
    /// Whether nothing is said about the store.
    pub(super) quiet: bool,
}

impl GatewayArguments {
    /// Returns the client of a command. `location` is the place of the store, and `defaults` the rate limits of new keys;
    /// both are only asked for if they matter. `is_placed` says whether the command line names the store or its file.
    ///
    /// # Errors
    /// Fails if there is neither a gateway nor a store.
    pub(super) fn client(
        &self,
        needs: Needs,
        is_placed: bool,
        location: impl FnOnce() -> Result<StoreLocation, CommandError>,
        defaults: impl FnOnce() -> Result<RateLimits, CommandError>,
    ) -> Result<Client, CommandError> {
        if let Some(gateway) = self.elsewhere(is_placed)? {
            return Ok(Client::of_gateway(gateway));
        }
        let folder = location()?.existing(needs.quiet)?;
        if let Some(gateway) = self.running(&folder)? {
            return Ok(Client::of_gateway(gateway));
        }
        become_owner(&folder)?;
        match needs.only_reads {
            true => Ok(Client::of_store_to_read(&folder)),
            false => Ok(Client::of_store(&folder, defaults()?)),
        }
    }

    /// Returns the client of the one gateway that a command about a process is for.
    ///
    /// # Errors
    /// Fails if there is none, or more than one.
    pub(super) fn process(
        &self,
        quiet: bool,
        is_placed: bool,
        location: impl FnOnce() -> Result<StoreLocation, CommandError>,
    ) -> Result<Client, CommandError> {
        if let Some(gateway) = self.elsewhere(is_placed)? {
            return Ok(Client::of_gateway(gateway));
        }
        let folder = location()?.existing(quiet)?;
        let mut found = Vec::new();
        for name in self.named(&folder)? {
            // A process that another has taken over from has to be named.
            if name.process.is_none() || self.gateway.is_some() {
                found.extend(reached(&folder, &name)?.map(|gateway| (name, gateway)));
            }
        }
        if let [_, _, ..] = found.as_slice() {
            let names: Vec<_> = found.iter().map(|(name, _)| name.to_string()).collect();
            let message = format!(
                "several gateways use {}: name one with --gateway: {}",
                folder.display(),
                names.join(", ")
            );
            return Err(CommandError::CommandLine(message));
        }
        let none = || CommandError::NoGateway(format!("no gateway runs on {}", folder.display()));
        found.pop().map(|(_, gateway)| Client::of_gateway(gateway)).ok_or_else(none)
    }

    /// Ensures that no gateway elsewhere is named, for a command that works on this machine.
    ///
    /// # Errors
    /// Fails if the command line names one.
    pub(super) fn expect_none(&self, command: &str) -> Result<(), CommandError> {
        match &self.url {
            Some(_) => Err(CommandError::CommandLine(format!(
                "--url is not for `crossmodel {command}`, which works on this machine's own files"
            ))),
            None => Ok(()),
        }
    }

    /// Returns the gateway that the command line or the environment names by its URL.
    fn elsewhere(&self, is_placed: bool) -> Result<Option<RemoteGateway>, CommandError> {
        let url = match &self.url {
            Some(url) => Some(url.clone()),
            // An option goes before a variable.
            None if is_placed || self.gateway.is_some() => None,
            None => given_url()?,
        };
        let Some(url) = url else {
            return match self.token {
                Some(_) => Err(CommandError::CommandLine("--token goes with --url".to_owned())),
                None => Ok(None),
            };
        };
        if is_readable_on_the_way(&url) {
            let advice = "is not encrypted: whoever is in between can read the operator's token. Use https";
            let _ = writeln!(stderr(), "warning: {url} {advice}");
        }
        let gateway = RemoteGateway::at_url(&url, self.token()?);
        gateway.map(Some).map_err(|error| match error.kind() {
            ErrorKind::InvalidInput => CommandError::CommandLine(format!("{url}: {error}")),
            _ => CommandError::NoGateway(format!("{url}: {error}")),
        })
    }

    /// Returns the operator's token. It is never on the command line, which other users can read.
    fn token(&self) -> Result<SecretString, CommandError> {
        let text = match self.token.as_deref() {
            Some("-") => {
                let mut line = String::new();
                io::stdin().read_line(&mut line)?;
                line
            }
            Some(_) => {
                let message = format!(
                    "others can read what is on a command line: write `--token -` and the token on standard input, \
                     or set {TOKEN_VARIABLE}"
                );
                return Err(CommandError::CommandLine(message));
            }
            None => env::var(TOKEN_VARIABLE).unwrap_or_default(),
        };
        match text.trim() {
            "" => Err(CommandError::Denied(format!(
                "a gateway elsewhere needs an operator's token, of `admin.tokens` or of `crossmodel token create`: set \
                 {TOKEN_VARIABLE}, or write it to standard input and add `--token -`"
            ))),
            token => Ok(token.into()),
        }
    }

    /// Returns a gateway that runs on a store, if there is one.
    fn running(&self, folder: &Path) -> Result<Option<RemoteGateway>, CommandError> {
        for name in self.named(folder)? {
            if let Some(gateway) = reached(folder, &name)? {
                return Ok(Some(gateway));
            }
        }
        match &self.gateway {
            Some(name) => {
                let message = format!("no gateway on {name} uses {}", folder.display());
                Err(CommandError::NoGateway(message))
            }
            None => Ok(None),
        }
    }

    /// Returns the control sockets of a store, or those of them with the name that is meant.
    fn named(&self, folder: &Path) -> Result<Vec<ControlName>, CommandError> {
        let mut names = store::control_sockets(folder).map_err(|error| unusable(folder, &error))?;
        if let Some(wanted) = &self.gateway {
            names.retain(|name| name.to_string() == *wanted);
        }
        Ok(names)
    }
}

/// Returns the gateway behind a control socket.
fn reached(folder: &Path, name: &ControlName) -> Result<Option<RemoteGateway>, CommandError> {
    RemoteGateway::at_socket(folder, name).map_err(|error| unusable(folder, &error))
}

fn unusable(folder: &Path, error: &io::Error) -> CommandError {
    let folder = folder.display();
    match error.kind() {
        ErrorKind::PermissionDenied => {
            CommandError::Denied(format!("the gateway on {folder} runs as another user. Run: {}", as_root()))
        }
        _ => CommandError::NoGateway(format!("the gateway on {folder} cannot be reached: {error}")),
    }
}

/// Whether others than this machine see what is sent to a URL.
fn is_readable_on_the_way(url: &http::Uri) -> bool {
    url.scheme_str() == Some("http")
        && !url.host().is_some_and(|host| is_loopback(host.trim_matches(['[', ']'])))
}

/// Returns the URL in the environment.
fn given_url() -> Result<Option<http::Uri>, CommandError> {
    let Some(text) = env::var(URL_VARIABLE).ok().filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    let wrong =
        |_| CommandError::CommandLine(format!("{URL_VARIABLE}: write http://HOST:PORT or https://HOST:PORT"));
    text.trim().parse().map(Some).map_err(wrong)
}

/// The variable that replaces `--url`.
const URL_VARIABLE: &str = "CROSSMODEL_URL";

/// The variable with the operator's token.
const TOKEN_VARIABLE: &str = "CROSSMODEL_ADMIN_TOKEN";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_called_without_a_warning_in_plain_text() {
        let warns = |url: &str| is_readable_on_the_way(&url.parse().unwrap());
        for quiet in ["https://gw.example", "http://127.0.0.1:9090", "http://[::1]:9090", "http://localhost"]
        {
            assert!(!warns(quiet), "{quiet}");
        }
        for warned in ["http://gw.example:9090", "http://10.0.0.1/x", "http://localhost.gw.example"] {
            assert!(warns(warned), "{warned}");
        }
    }
}
