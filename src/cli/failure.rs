//! Failures of commands: their words, their codes for programs, and their exit codes.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crossmodel::admin::{Code, OperationError};
use crossmodel::auth::StoreError;
use crossmodel::config::ConfigError;

/// The reason for which a command failed, in words for its user.
#[derive(Debug)]
pub(super) enum CommandError {
    Config(ConfigError),
    Store(StoreError),
    Operation(OperationError),
    Output(io::Error),
    /// The command cannot do what was asked for, or has found something wrong.
    Usage(String),
    /// The command line is wrong.
    CommandLine(String),
    /// There is no store in this folder.
    NoStore(PathBuf),
    /// There is no gateway to ask.
    NoGateway(String),
    /// The user has no permission.
    Denied(String),
    /// The command failed, and its output says so.
    Shown,
}

/// A failure as JSON, in the form of the API.
#[derive(Serialize)]
struct ErrorOutput<'a> {
    error: ErrorMembers<'a>,
}

#[derive(Serialize)]
struct ErrorMembers<'a> {
    code: &'a str,
    message: &'a str,
}

impl CommandError {
    /// Returns the exit code.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Output(_) | Self::Usage(_) | Self::Shown => FAILED,
            Self::CommandLine(_) => WRONG_COMMAND_LINE,
            Self::NoStore(_) | Self::NoGateway(_) => UNREACHABLE,
            Self::Denied(_) => NOT_PERMITTED,
            Self::Operation(error) => match error.code {
                Code::NotFound => NOT_FOUND,
                Code::Unauthorized | Code::Forbidden => NOT_PERMITTED,
                Code::StoreUnavailable | Code::GatewayUnavailable | Code::Draining => UNREACHABLE,
                Code::Exists
                | Code::Conflict
                | Code::ManagedByConfiguration
                | Code::BalanceInUse
                | Code::PreconditionFailed => CONFLICT,
                _ => FAILED,
            },
            Self::Store(error) => match error {
                StoreError::NotFound(_) => NOT_FOUND,
                StoreError::Exists(_) | StoreError::Differs(_) | StoreError::BalanceInUse { .. } => CONFLICT,
                StoreError::Denied { .. } => NOT_PERMITTED,
                StoreError::File(error) if error.kind() == io::ErrorKind::PermissionDenied => NOT_PERMITTED,
                StoreError::Database(_) | StoreError::File(_) | StoreError::TooNew | StoreError::TooOld => {
                    UNREACHABLE
                }
                StoreError::TooMuch | StoreError::Invalid(_) => FAILED,
            },
        }
    }

    /// Returns the code for programs.
    fn code(&self) -> &'static str {
        match (self, self.exit_code()) {
            (Self::Config(_), _) => "invalid_configuration",
            (Self::NoGateway(_), _) => "gateway_unavailable",
            (Self::Operation(error), _) => error.code.parts().0,
            (_, WRONG_COMMAND_LINE) => INVALID_REQUEST,
            (_, NOT_FOUND) => "not_found",
            (_, NOT_PERMITTED) => "forbidden",
            (_, UNREACHABLE) => "store_unavailable",
            (_, CONFLICT) => "exists",
            _ => "failed",
        }
    }

    /// Writes the failure to standard error, and returns its exit code.
    pub(super) fn report(&self, json: bool) -> ExitCode {
        match self {
            // The reader of the output has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Self::Shown => {}
            _ => write(self.code(), &self.to_string(), json),
        }
        ExitCode::from(self.exit_code())
    }
}

/// Writes what is wrong with a command line as JSON, and returns its exit code.
pub(super) fn report_command_line(message: &str) -> ExitCode {
    write(INVALID_REQUEST, message, true);
    ExitCode::from(WRONG_COMMAND_LINE)
}

/// Writes a failure to standard error.
fn write(code: &str, message: &str, json: bool) {
    let line = if json {
        serde_json::to_string(&ErrorOutput { error: ErrorMembers { code, message } }).unwrap_or_default()
    } else {
        message.to_owned()
    };
    let _ = writeln!(io::stderr(), "{line}");
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Operation(error) => error.fmt(f),
            Self::Output(error) => error.fmt(f),
            Self::Usage(message)
            | Self::CommandLine(message)
            | Self::NoGateway(message)
            | Self::Denied(message) => f.write_str(message),
            Self::NoStore(folder) => {
                let folder = folder.display();
                write!(
                    f,
                    "no store in {folder}. Start the gateway once, name its folder with --data, or create one: \
                     crossmodel store create --data {folder}"
                )
            }
            Self::Shown => Ok(()),
        }
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<OperationError> for CommandError {
    fn from(error: OperationError) -> Self {
        Self::Operation(error)
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// The exit codes, beside 0 for success. The help lists them.
const FAILED: u8 = 1;
const WRONG_COMMAND_LINE: u8 = 2;
const NOT_FOUND: u8 = 3;
const NOT_PERMITTED: u8 = 4;
const UNREACHABLE: u8 = 5;
const CONFLICT: u8 = 6;

/// The code of a command line that is wrong.
const INVALID_REQUEST: &str = "invalid_request";
