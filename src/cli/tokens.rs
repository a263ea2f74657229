//! `crossmodel token` and `crossmodel audit`.

use std::io::{Write, stderr};

use clap::{Args, Subcommand};

use crossmodel::admin::client::{Client, encoded, object_path};
use crossmodel::admin::model::{AuditRow, List, Members, Moment, NewToken, Period, Token};
use crossmodel::auth::Role;

use super::failure::CommandError;
use super::keys::One;
use super::table::{OutputFormat, print};

/// The path of tokens.
const TOKENS: &str = "/tokens";

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Makes a credential of an operator for the admin API, and prints it once.
    #[command(
        after_help = "Examples:\n  crossmodel token create --name portal --role keys\n  crossmodel token create --name prometheus --expires 90d"
    )]
    Create(CreateToken),
    /// Lists the store's credentials of operators, oldest first.
    #[command(after_help = "Examples:\n  crossmodel token list\n  crossmodel token list --json")]
    List(OutputFormat),
    /// Deletes a credential of an operator, which no longer works at once.
    #[command(after_help = "Examples:\n  crossmodel token delete tok_0123")]
    Delete(One),
}

#[derive(Debug, Args)]
pub(super) struct CreateToken {
    /// The name, which the audit log shows.
    #[arg(long)]
    name: String,
    /// The rights: `read`, `keys` or `admin`. Each role includes those before it.
    #[arg(long, default_value = "read", value_parser = role)]
    role: Role,
    /// The account that it sees and changes, with its keys. May be given several times. Default: all.
    #[arg(long = "account", value_name = "ACCOUNT")]
    accounts: Vec<String>,
    /// The time from which it no longer works: a date, a time, or a period from now such as `90d`. Default: never.
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires: Option<Moment>,
    #[command(flatten)]
    format: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct AuditArguments {
    /// Only the changes of this operator.
    #[arg(long)]
    actor: Option<String>,
    /// Only this kind of change, for example `key.create`.
    #[arg(long)]
    action: Option<String>,
    /// Only the changes of the object with this id.
    #[arg(long)]
    subject: Option<String>,
    /// The most changes, at most 1000.
    #[arg(long, default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    format: OutputFormat,
}

fn role(text: &str) -> Result<Role, String> {
    let roles = [Role::Read, Role::Keys, Role::Admin];
    roles.into_iter().find(|role| role.name() == text).ok_or_else(|| "write read, keys or admin".to_owned())
}

fn time(text: &str) -> Result<Moment, String> {
    match text.parse() {
        Ok(Period(seconds)) => Ok(Moment(Moment::now().0.saturating_add(seconds))),
        Err(_) => text.parse(),
    }
}

impl TokenCommand {
    /// Whether the command changes nothing.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self, Self::List(_))
    }

    pub(super) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        match self {
            Self::Create(create) => create.run(client, out),
            Self::List(format) => format.list(&client.list(TOKENS, "")?, HEADINGS, row, out),
            Self::Delete(one) => {
                client.delete(&object_path(TOKENS, &one.id))?;
                one.confirm("deleted", out)
            }
        }
    }
}

impl CreateToken {
    fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        let new = NewToken {
            name: self.name.clone(),
            role: self.role,
            accounts: Some(self.accounts.clone()).filter(|accounts| !accounts.is_empty()),
            expires_at: self.expires,
            expires_in: None,
        };
        let token: Token = client.send("POST", TOKENS, &new)?;
        if self.format.json {
            return print(&token, out);
        }
        let secret = token.secret.unwrap_or_default();
        writeln!(out, "{secret}")?;
        // Standard output is the secret alone, so that a shell can keep it.
        let _ = writeln!(stderr(), "{} cannot be shown again: keep it now.", token.id);
        Ok(())
    }
}

impl AuditArguments {
    pub(super) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        let mut path = format!("/audit?limit={}", self.limit);
        for (name, value) in [("actor", &self.actor), ("action", &self.action), ("subject", &self.subject)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        let mut rows = client.get::<List<AuditRow>>(&path)?.data;
        rows.reverse();
        self.format.list(&rows, AUDIT_HEADINGS, audit_row, out)
    }
}

fn row(token: &Token) -> Vec<String> {
    vec![
        token.id.clone(),
        token.name.clone(),
        token.role.name().to_owned(),
        token.expires_at.map_or_else(|| "never".to_owned(), Moment::date),
        token.created_by.clone().unwrap_or_default(),
    ]
}

fn audit_row(row: &AuditRow) -> Vec<String> {
    let members = |members: Option<&Members>| {
        members.and_then(|members| serde_json::to_string(members).ok()).unwrap_or_default()
    };
    vec![
        row.time.to_string(),
        row.actor.clone(),
        row.action.clone(),
        row.subject.clone(),
        row.outcome.clone(),
        members(row.before.as_ref()),
        members(row.after.as_ref()),
    ]
}

const HEADINGS: &[&str] = &["TOKEN", "NAME", "ROLE", "EXPIRES", "CREATED BY"];

const AUDIT_HEADINGS: &[&str] = &["TIME", "ACTOR", "ACTION", "SUBJECT", "OUTCOME", "BEFORE", "AFTER"];
