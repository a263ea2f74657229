//! The command line. Everything it can do to keys works while a gateway runs on the same folder.

mod accounts;
mod banner;
mod keys;
mod table;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crossmodel::Config;
use crossmodel::auth::{self, Store};
use crossmodel::config::{self, schema};
use crossmodel::edge;

/// An LLM gateway: one base URL and one key for every model.
///
/// Without a command it runs the gateway; without `-c` it needs no file: the built-in provider `demo`
/// answers, and every provider whose key is in the environment.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// The configuration file.
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder for keys and accounts. Default: the file's, else `data`.
    #[arg(long, global = true, value_name = "FOLDER")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway; the same as no command.
    Run,
    /// Checks the configuration file and reports everything that is wrong with it.
    Check,
    /// Prints the JSON Schema of the configuration file.
    Schema,
    /// Makes and manages keys.
    #[command(subcommand)]
    Key(keys::KeyCommand),
    /// Makes and manages accounts, which own keys and pay for them.
    #[command(subcommand)]
    Account(accounts::AccountCommand),
    /// Shows what an account has used.
    Usage(accounts::Usage),
    /// Looks after the books.
    #[command(subcommand)]
    Ledger(accounts::LedgerCommand),
}

/// Why a command failed, in words for its user.
#[derive(Debug)]
enum Error {
    Config(config::Error),
    Store(auth::Error),
    Output(io::Error),
    Usage(String),
}

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    crossmodel::observe::start_log();
    match arguments.run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn run(&self) -> Result<(), Error> {
        let out = &mut io::stdout();
        match &self.command {
            None | Some(Command::Run) => {}
            Some(Command::Check) => return self.check(out),
            Some(Command::Schema) => return Ok(out.write_all(schema().as_bytes())?),
            Some(Command::Key(command)) => return command.run(&Store::open(&self.data()?)?, out),
            Some(Command::Account(command)) => return command.run(&self.data()?, out),
            Some(Command::Usage(command)) => return command.run(&self.data()?, out),
            Some(Command::Ledger(command)) => return command.run(&self.data()?, out),
        }
        let mut config = self.load()?;
        config.data = self.data.clone().unwrap_or(config.data);
        let server = edge::Server::new(&config, self.config.clone())?;
        banner::print(&config, self.config.is_none(), out)?;
        server.run();
        Ok(())
    }

    fn load(&self) -> Result<Config, Error> {
        Ok(match &self.config {
            Some(file) => Config::load(file)?,
            None => Config::from_environment(|name| std::env::var(name).ok())?,
        })
    }

    fn data(&self) -> Result<PathBuf, Error> {
        match (&self.data, &self.config) {
            (Some(folder), _) => Ok(folder.clone()),
            (None, Some(file)) => Ok(Config::load(file)?.data),
            (None, None) => Ok(PathBuf::from("data")),
        }
    }

    fn check(&self, out: &mut dyn Write) -> Result<(), Error> {
        let file = self
            .config
            .as_ref()
            .ok_or_else(|| Error::Usage("name the file: crossmodel check -c FILE".into()))?;
        let config = Config::load(file)?;
        let (providers, models) = (config.providers.len(), config.catalog.entries().len());
        writeln!(out, "{}: ok, {providers} providers, {models} models", file.display())?;
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Output(error) => error.fmt(f),
            Self::Usage(message) => f.write_str(message),
        }
    }
}

impl From<config::Error> for Error {
    fn from(error: config::Error) -> Self {
        Self::Config(error)
    }
}

impl From<auth::Error> for Error {
    fn from(error: auth::Error) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
