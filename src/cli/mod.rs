//! The command line. All its changes to keys also work while a gateway runs on the same folder.

mod accounts;
mod banner;
mod budgets;
mod check;
mod doctor;
mod health;
mod keys;
mod progress;
mod table;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{self, ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crossmodel::Config;
use crossmodel::auth::{self, RateLimits, Store};
use crossmodel::config::{self, schema};
use crossmodel::edge;

/// An LLM gateway: one base URL and one key for every model.
///
/// Without a command it runs the gateway. Without `-c` it needs no file: the built-in provider `demo` answers, and
/// so does every provider whose key is in the environment.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = HELP)]
struct CommandLine {
    /// The configuration file.
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder for keys and accounts. Default: the configuration's, or else `data`.
    #[arg(long, global = true, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Takes the listeners over from the gateway that runs on the same folder and address. That gateway then
    /// finishes its calls and ends.
    #[arg(long)]
    upgrade: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway; the same as no command.
    #[command(after_help = "Examples:\n  crossmodel run -c conf/crossmodel.yaml\n  crossmodel run")]
    Run,
    /// Checks the configuration file and reports everything that is wrong with it.
    #[command(
        after_help = "Examples:\n  crossmodel check -c conf/crossmodel.yaml\n  crossmodel check -c conf/crossmodel.yaml --json"
    )]
    Check(table::OutputFormat),
    /// Checks everything that a gateway depends on (configuration, store, providers, machine), and gives advice.
    #[command(
        after_help = "Providers are asked for their lists of models, with their keys. Nothing is changed but the modes of a store that others may read.\n\nExamples:\n  crossmodel doctor -c conf/crossmodel.yaml\n  crossmodel doctor --json"
    )]
    Doctor(table::OutputFormat),
    /// Asks a running gateway whether it is ready; for the health checks of containers.
    #[command(
        after_help = "Examples:\n  crossmodel health -c conf/crossmodel.yaml\n  crossmodel health --url http://127.0.0.1:9090/healthz"
    )]
    Health(health::HealthCommand),
    /// Prints the JSON Schema of the configuration file.
    #[command(after_help = "Examples:\n  crossmodel schema")]
    Schema,
    /// Makes and manages keys.
    #[command(
        subcommand,
        after_help = "Examples:\n  crossmodel key create --name 'the team'\n  crossmodel key list"
    )]
    Key(keys::KeyCommand),
    /// Makes and manages accounts, which own keys and pay for them.
    #[command(
        subcommand,
        after_help = "Examples:\n  crossmodel account create team\n  crossmodel account top-up team 25"
    )]
    Account(accounts::AccountCommand),
    /// Sets and lists the budgets of keys and accounts: what they may spend in a period.
    #[command(
        subcommand,
        after_help = "Examples:\n  crossmodel budget set --account team month=500\n  crossmodel budget list --account team"
    )]
    Budget(budgets::BudgetCommand),
    /// Shows the usage of an account.
    #[command(
        after_help = "Examples:\n  crossmodel usage --account team\n  crossmodel usage --key key_0123 --json"
    )]
    Usage(accounts::UsageArguments),
    /// Checks the ledger.
    #[command(subcommand, after_help = "Examples:\n  crossmodel ledger audit")]
    Ledger(accounts::LedgerCommand),
    /// Prints a shell's completion script for this command.
    #[command(
        after_help = "Examples:\n  crossmodel completions bash\n  crossmodel completions zsh\n  crossmodel completions fish"
    )]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// The reason for which a command failed, in words for its user.
#[derive(Debug)]
enum CommandError {
    Config(config::ConfigError),
    Store(auth::StoreError),
    Output(io::Error),
    Usage(String),
    /// The command failed, and its output says so.
    Shown,
}

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    // Files that this process or a library makes are for its user alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let arguments = CommandLine::parse();
    crossmodel::observe::start_log();
    let result = arguments.run();
    log::logger().flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has seen enough.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(CommandError::Shown) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

impl CommandLine {
    fn run(&self) -> Result<(), CommandError> {
        let out = &mut io::stdout();
        match &self.command {
            None | Some(Command::Run) => {}
            Some(Command::Check(format)) => return check::run(self.config.as_deref(), *format, out),
            Some(Command::Doctor(format)) => {
                let (config, data) = (self.read(), self.data.as_deref());
                return doctor::run(config, data, *format, out);
            }
            Some(Command::Health(health)) => return health.run(self.admin(health)?.as_deref(), out),
            Some(Command::Completions { shell }) => {
                let command = &mut Self::command();
                let mut script = Vec::new();
                clap_complete::generate(*shell, command, env!("CARGO_PKG_NAME"), &mut script);
                return Ok(out.write_all(&script)?);
            }
            Some(Command::Schema) => return Ok(out.write_all(schema().as_bytes())?),
            Some(Command::Key(command)) => {
                return command.run(&Store::open(&self.data()?)?, self.key_defaults()?, out);
            }
            Some(Command::Account(command)) => return command.run(&self.data()?, out),
            Some(Command::Budget(command)) => return command.run(&self.data()?, out),
            Some(Command::Usage(command)) => return command.run(&self.data()?, out),
            Some(Command::Ledger(command)) => return command.run(&self.data()?, out),
        }
        let mut config = self.read()?;
        config.data = self.data.clone().unwrap_or(config.data);
        let server = match self.upgrade {
            true => edge::Server::taking_over(&config, self.config.clone())?,
            false => edge::Server::new(&config, self.config.clone())?,
        };
        banner::print(&config, out)?;
        let server = match self.successor() {
            Ok(command) => server.with_successor(command),
            Err(_) => server,
        };
        Ok(server.run()?)
    }

    /// Returns the command that takes over from this process, with the same arguments.
    fn successor(&self) -> io::Result<process::Command> {
        let mut command = process::Command::new(std::env::current_exe()?);
        command.args(std::env::args_os().skip(1));
        if !self.upgrade {
            command.arg("--upgrade");
        }
        Ok(command)
    }

    fn read(&self) -> Result<Config, config::ConfigError> {
        match &self.config {
            Some(file) => Config::load(file),
            None => Config::from_environment(|name| std::env::var(name).ok()),
        }
    }

    /// Returns the address of the admin listener, unless a URL was given.
    fn admin(&self, health: &health::HealthCommand) -> Result<Option<String>, CommandError> {
        if health.is_told() { Ok(None) } else { Ok(self.read()?.admin.map(|admin| admin.address)) }
    }

    /// Returns the rate limits of new keys: those of the file, if one is named.
    fn key_defaults(&self) -> Result<RateLimits, CommandError> {
        Ok(match &self.config {
            Some(file) => Config::load(file)?.key_defaults,
            None => RateLimits::default(),
        })
    }

    fn data(&self) -> Result<PathBuf, CommandError> {
        match (&self.data, &self.config) {
            (Some(folder), _) => Ok(folder.clone()),
            (None, Some(file)) => Ok(Config::load(file)?.data),
            (None, None) => Ok(PathBuf::from("data")),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Output(error) => error.fmt(f),
            Self::Usage(message) => f.write_str(message),
            Self::Shown => Ok(()),
        }
    }
}

impl From<config::ConfigError> for CommandError {
    fn from(error: config::ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<auth::StoreError> for CommandError {
    fn from(error: auth::StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// The end of the help: the first steps, and the exit codes.
const HELP: &str = "\
Examples:
  crossmodel
  crossmodel -c conf/crossmodel.yaml
  crossmodel doctor -c conf/crossmodel.yaml
  crossmodel key create --name 'the team' --model 'openai/*'

Exit status:
  0  it is done, and nothing is wrong
  1  it failed, or something is wrong; standard error or the output says what
  2  the command line is wrong

Commands that print data print a table, or with --json one line of JSON.";

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands below one, but for the one that only shows the help of others.
    fn below(command: &mut clap::Command) -> impl Iterator<Item = &mut clap::Command> {
        command.get_subcommands_mut().filter(|below| below.get_name() != "help")
    }

    /// The examples in the help of a command and of all below it.
    fn examples(command: &mut clap::Command, found: &mut Vec<String>) {
        let help = command.render_long_help().to_string();
        let own = help.lines().filter_map(|line| line.trim().strip_prefix("crossmodel"));
        let own: Vec<_> =
            own.filter(|line| line.is_empty() || line.starts_with(' ')).map(str::to_owned).collect();
        assert!(!own.is_empty(), "{} has no example", command.get_name());
        found.extend(own);
        below(command).for_each(|below| examples(below, found));
    }

    #[test]
    fn every_command_has_examples_and_they_are_right() {
        let command = &mut CommandLine::command();
        command.build();
        let mut found = Vec::new();
        below(command).for_each(|below| examples(below, &mut found));
        found.extend(HELP.lines().filter_map(|line| line.strip_prefix("  crossmodel")).map(str::to_owned));
        assert!(found.len() > 30, "{found:?}");
        for example in found {
            let words = example.split_whitespace().map(|word| word.trim_matches('\''));
            // A name of two words.
            let words = words.filter(|word| *word != "team" || !example.contains("the team"));
            let parsed = CommandLine::try_parse_from(std::iter::once("crossmodel").chain(words));
            assert!(parsed.is_ok(), "crossmodel{example}: {parsed:?}");
        }
    }
}
