//! The command line. All its changes to keys also work while a gateway runs on the same folder.

mod accounts;
mod backup;
mod banner;
mod budgets;
mod check;
mod doctor;
mod failure;
mod first_key;
mod health;
mod keys;
mod location;
mod manual;
mod progress;
mod reach;
mod status;
mod stores;
mod table;
mod targets;
mod tokens;
mod usage;
mod version;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crossmodel::Config;
use crossmodel::admin::{api, client::Client};
use crossmodel::auth::RateLimits;
use crossmodel::config::{self, LoadOptions, Places, schema};
use crossmodel::edge;

use failure::CommandError;
use location::{StoreLocation, become_owner, known_file, named_file};
use manual::ManualArguments;
use reach::{GatewayArguments, Needs};
use stores::StoreCommand;
use table::OutputFormat;

/// An LLM gateway: one base URL and one key for every model.
///
/// Without a command it runs the gateway. Without `-c` it needs no file: the built-in provider `demo` answers, and
/// so does every provider whose key is in the environment.
#[derive(Debug, Parser)]
#[command(version, long_version = version::long(), max_term_width = 100, after_help = HELP)]
struct CommandLine {
    /// The configuration file. Variable: CROSSMODEL_CONFIG.
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder for keys and accounts. Default: the configuration's, or else the user's own. Variable: CROSSMODEL_DATA.
    #[arg(long, global = true, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Does not say which store is used.
    #[arg(long, global = true)]
    quiet: bool,
    #[command(flatten)]
    gateway: GatewayArguments,
    #[command(flatten)]
    run: RunArguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway; the same as no command.
    #[command(
        visible_aliases = ["serve", "start"],
        after_help = "Examples:\n  crossmodel run -c conf/crossmodel.yaml\n  crossmodel run --port 8081"
    )]
    Run(RunArguments),
    /// Checks the configuration file and reports everything that is wrong with it.
    #[command(
        after_help = "Examples:\n  crossmodel check -c conf/crossmodel.yaml\n  crossmodel check -c conf/crossmodel.yaml --json\n  crossmodel check -c conf/crossmodel.yaml --no-secrets --strict"
    )]
    Check(check::CheckCommand),
    /// Checks everything that a gateway depends on (configuration, store, providers, machine), and gives advice.
    #[command(
        after_help = "Providers are asked for their lists of models, with their keys. Nothing is changed.\n\nExamples:\n  crossmodel doctor -c conf/crossmodel.yaml\n  crossmodel doctor --json"
    )]
    Doctor(OutputFormat),
    /// Asks a running gateway whether it is ready; for the health checks of containers.
    #[command(
        after_help = "Examples:\n  crossmodel health -c conf/crossmodel.yaml\n  crossmodel health --url http://127.0.0.1:9090/healthz"
    )]
    Health(health::HealthCommand),
    /// Shows the state of a running gateway. Fails if it cannot serve.
    #[command(
        after_help = "Examples:\n  crossmodel status\n  crossmodel status --url https://gw.example:9090 --json"
    )]
    Status(OutputFormat),
    /// Shows the configuration of a running gateway, and reads it again.
    #[command(subcommand, after_help = "Examples:\n  crossmodel config status\n  crossmodel config reload")]
    Config(status::ConfigCommand),
    /// Lists the targets of a running gateway, and takes them out of service.
    #[command(
        subcommand,
        after_help = "Examples:\n  crossmodel target list\n  crossmodel target rest openai/gpt-5@azure-eu --for 30m"
    )]
    Target(targets::TargetCommand),
    /// Prints the JSON Schema of the configuration file.
    #[command(after_help = "Examples:\n  crossmodel schema")]
    Schema,
    /// Makes, shows and copies the store of a gateway.
    #[command(
        subcommand,
        after_help = "Examples:\n  crossmodel store create --data /var/lib/crossmodel\n  crossmodel store backup /var/backups/crossmodel.db"
    )]
    Store(StoreCommand),
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
    /// Shows the usage of an account on this day, in this week and in this month, or of any span of time.
    #[command(
        after_help = "Examples:\n  crossmodel usage --account team\n  crossmodel usage --key key_0123 --json\n  crossmodel usage --from 2026-11-01 --to 2026-12-01 --by account,model,day --csv"
    )]
    Usage(usage::UsageArguments),
    /// Makes and manages operators' credentials for the admin API.
    #[command(
        subcommand,
        after_help = "Examples:\n  crossmodel token create --name portal --role keys\n  crossmodel token list"
    )]
    Token(tokens::TokenCommand),
    /// Shows who has changed keys, accounts and tokens.
    #[command(after_help = "Examples:\n  crossmodel audit\n  crossmodel audit --subject key_0123 --json")]
    Audit(tokens::AuditArguments),
    /// Prints the OpenAPI document of the admin API.
    #[command(after_help = "Examples:\n  crossmodel openapi")]
    Openapi,
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
    /// Prints the manual page of this command.
    #[command(after_help = "Examples:\n  crossmodel man\n  crossmodel man /usr/local/share/man/man1")]
    Man(ManualArguments),
}

/// The arguments of `crossmodel run`.
#[derive(Clone, Debug, Default, Args)]
struct RunArguments {
    /// Takes the listeners over from the gateway that runs on the same folder and address. That gateway then
    /// finishes its calls and ends.
    #[arg(long)]
    upgrade: bool,
    /// An address for clients, without TLS, instead of the file's; may be repeated. Variable: CROSSMODEL_LISTEN, with
    /// commas between addresses.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Vec<String>,
    /// The same as `--listen 127.0.0.1:PORT`.
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    port: Option<u16>,
    /// The address for operators, or `off`, instead of the file's. Variable: CROSSMODEL_ADMIN.
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
}

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    // Files that this process or a library makes are for its user alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let json = std::env::args_os().any(|argument| argument == "--json");
    let arguments = match CommandLine::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if json && error.use_stderr() => {
            let text = error.to_string();
            let message = text.lines().next().unwrap_or_default();
            return failure::report_command_line(message.strip_prefix("error: ").unwrap_or(message));
        }
        Err(error) => error.exit(),
    };
    crossmodel::observe::start_log();
    let result = arguments.run(json);
    log::logger().flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(json),
    }
}

impl CommandLine {
    fn run(&self, json: bool) -> Result<(), CommandError> {
        let out = &mut io::stdout();
        let quiet = self.quiet || json;
        let client = |only_reads: bool| self.client(Needs { only_reads, quiet });
        match &self.command {
            None => self.serve(&self.run),
            Some(Command::Run(run)) => self.serve(&self.run.joined(run)),
            Some(Command::Check(check)) => check.run(named_file(self.config.as_deref()).as_deref(), out),
            Some(Command::Doctor(format)) => self.doctor(*format, out),
            Some(Command::Health(health)) => health.run(self.admin(health)?.as_deref(), out),
            Some(Command::Completions { shell }) => {
                let command = &mut Self::command();
                let mut script = Vec::new();
                clap_complete::generate(*shell, command, env!("CARGO_PKG_NAME"), &mut script);
                Ok(out.write_all(&script)?)
            }
            Some(Command::Man(manual)) => Ok(manual.run(Self::command(), out)?),
            Some(Command::Schema) => Ok(out.write_all(schema().as_bytes())?),
            Some(Command::Openapi) => Ok(out.write_all(api::document().as_bytes())?),
            Some(Command::Store(command @ StoreCommand::Create(_))) => {
                self.gateway.expect_none("store")?;
                command.run(&self.location()?.folder, out)
            }
            // A secret can be hashed where there is no store.
            Some(Command::Key(keys::KeyCommand::Hash(hash))) => hash.run(out),
            Some(Command::Store(command)) => command.run(&self.store("store", quiet)?, out),
            Some(Command::Status(format)) => status::show(&self.process(quiet)?, *format, out),
            Some(Command::Config(command)) => command.run(&self.process(quiet)?, out),
            Some(Command::Target(command)) => command.run(&self.process(quiet)?, out),
            Some(Command::Key(command)) => command.run(&client(command.only_reads())?, out),
            Some(Command::Account(command)) => command.run(&client(command.only_reads())?, out),
            Some(Command::Budget(command)) => command.run(&client(command.only_reads())?, out),
            Some(Command::Token(command)) => command.run(&client(command.only_reads())?, out),
            Some(Command::Audit(command)) => command.run(&client(true)?, out),
            Some(Command::Usage(command)) => command.run(&client(true)?, quiet, out),
            Some(Command::Ledger(command)) => command.run(&self.store("ledger", quiet)?, out),
        }
    }

    /// Returns the client of a command about keys, accounts and the like.
    fn client(&self, needs: Needs) -> Result<Client, CommandError> {
        let makes_keys = matches!(&self.command, Some(Command::Key(command)) if command.makes_keys());
        let defaults = || if makes_keys { self.key_defaults() } else { Ok(RateLimits::default()) };
        self.gateway.client(needs, self.is_placed(), || self.location(), defaults)
    }

    /// Returns the client of a command about a running gateway.
    fn process(&self, quiet: bool) -> Result<Client, CommandError> {
        self.gateway.process(quiet, self.is_placed(), || self.location())
    }

    /// Returns the folder of the store, as the user whom it belongs to, for a command that works on the store itself.
    fn store(&self, command: &str, quiet: bool) -> Result<PathBuf, CommandError> {
        self.gateway.expect_none(command)?;
        let folder = self.location()?.existing(quiet)?;
        become_owner(&folder)?;
        Ok(folder)
    }

    /// Returns the place of the store.
    fn location(&self) -> Result<StoreLocation, CommandError> {
        StoreLocation::of_command(self.data.as_deref(), self.config.as_deref())
    }

    /// Whether the command line says where the store is.
    fn is_placed(&self) -> bool {
        self.data.is_some() || self.config.is_some()
    }

    /// Runs the gateway.
    fn serve(&self, run: &RunArguments) -> Result<(), CommandError> {
        let file = named_file(self.config.as_deref());
        let mut config = read(file.as_deref(), run.options())?;
        config.data = StoreLocation::of_gateway(self.data.as_deref(), file.as_deref())?.folder;
        let given = first_key::given()?;
        let server = match run.upgrade {
            true => edge::Server::taking_over(&config, file)?,
            false => edge::Server::new(&config, file)?,
        };
        let key = first_key::ensure(&config.data, given)?;
        // Standard output is for access lines alone.
        banner::print(&config, &key, &mut io::stderr())?;
        let server = match successor(run.upgrade) {
            Ok(command) => server.with_successor(command),
            Err(_) => server,
        };
        Ok(server.run()?)
    }

    fn doctor(&self, format: OutputFormat, out: &mut dyn Write) -> Result<(), CommandError> {
        let file = known_file(self.config.as_deref());
        let config = read(file.as_deref(), RunArguments::default().options());
        let data = self.location().map(|location| location.folder);
        doctor::run(config, data, format, out)
    }

    /// Returns the rate limits of new keys: those of the file, if there is one.
    fn key_defaults(&self) -> Result<RateLimits, CommandError> {
        let file = match &self.data {
            Some(_) => named_file(self.config.as_deref()),
            None => known_file(self.config.as_deref()),
        };
        Ok(file.map(|file| config::key_defaults(&file)).transpose()?.unwrap_or_default())
    }

    /// Returns the address of the admin listener, unless a URL was given.
    fn admin(&self, health: &health::HealthCommand) -> Result<Option<String>, CommandError> {
        if health.is_told() {
            return Ok(None);
        }
        let options = RunArguments::default().options();
        if let Some(address) = options.admin {
            return Ok(Some(address).filter(|address| address != "off"));
        }
        match known_file(self.config.as_deref()) {
            Some(file) => Ok(Places::read(&file)?.admin),
            None => Ok(read(None, options)?.admin.map(|admin| admin.address)),
        }
    }
}

impl RunArguments {
    /// Returns these arguments, and those that stand behind the name of the command.
    fn joined(&self, behind: &Self) -> Self {
        Self {
            upgrade: self.upgrade || behind.upgrade,
            listen: self.listen.iter().chain(&behind.listen).cloned().collect(),
            port: behind.port.or(self.port),
            admin: behind.admin.clone().or_else(|| self.admin.clone()),
        }
    }

    /// Returns the options that go before the configuration file: arguments, or else variables.
    fn options(&self) -> LoadOptions {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let listed = |value: String| value.split(',').map(|address| address.trim().to_owned()).collect();
        let port = self.port.map(|port| format!("127.0.0.1:{port}"));
        let mut listen: Vec<_> = self.listen.iter().cloned().chain(port).collect();
        if listen.is_empty() {
            listen = variable("CROSSMODEL_LISTEN").map(listed).unwrap_or_default();
        }
        let admin = self.admin.clone().or_else(|| variable("CROSSMODEL_ADMIN"));
        LoadOptions { listen, admin, without_secrets: false }
    }
}

/// Reads a configuration: from a file, or from the environment alone.
fn read(file: Option<&Path>, options: LoadOptions) -> Result<Config, config::ConfigError> {
    match file {
        Some(file) => Config::load_with(file, options),
        None => Config::from_environment_with(options, |name| std::env::var(name).ok()),
    }
}

/// Returns the command that takes over from this process, with the same arguments.
fn successor(is_successor: bool) -> io::Result<process::Command> {
    let mut command = process::Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1));
    if !is_successor {
        command.arg("--upgrade");
    }
    Ok(command)
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
  3  there is no such key or account
  4  it is not permitted
  5  there is no store or no gateway
  6  it conflicts with what there is

Commands that print data print a table, or with --json one line of JSON; a failure is then one, too, on
standard error.";

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
