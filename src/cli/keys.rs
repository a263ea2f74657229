//! `crossmodel key` and `crossmodel account`.

use std::collections::BTreeMap;
use std::io::Write;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use crossmodel::auth::{Account, Aliases, Key, NewKey, Status, Store};

use super::Error;

/// The account of keys for which none is named.
pub(super) const DEFAULT_ACCOUNT: &str = "default";

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Makes a key and prints it, once.
    Create(Create),
    /// Lists all keys.
    List(Format),
    /// Shows one key.
    Show(One),
    /// Switches a key off.
    Disable(One),
    /// Switches a key on again.
    Enable(One),
    /// Removes a key.
    Delete(One),
}

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// Makes an account.
    Create(One),
    /// Lists all accounts.
    List(Format),
    /// Switches an account off, and with it all its keys.
    Disable(One),
    /// Switches an account on again.
    Enable(One),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// A name for people.
    #[arg(long, default_value = "")]
    name: String,
    /// The account that owns the key.
    #[arg(long, default_value = DEFAULT_ACCOUNT)]
    account: String,
    /// A model that the key may call, as `vendor/model` or `vendor/*`; may be repeated. Default: all.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// Another name for a model, as `name=vendor/model` or `prefix*=vendor/model`; may be repeated.
    #[arg(long = "alias", value_name = "NAME=MODEL", value_parser = alias)]
    aliases: Vec<(String, String)>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// Its id.
    id: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Format {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Created<'a> {
    #[serde(flatten)]
    key: &'a Key,
    secret: &'a str,
}

fn alias(text: &str) -> Result<(String, String), String> {
    let (name, model) = text.split_once('=').ok_or("write NAME=MODEL")?;
    Ok((name.to_owned(), model.to_owned()))
}

impl KeyCommand {
    pub(super) fn run(&self, store: &Store, out: &mut dyn Write) -> Result<(), Error> {
        match self {
            Self::Create(create) => create.run(store, out),
            Self::List(format) => format.list(&store.keys()?, HEADINGS, row, out),
            Self::Show(one) => one.show(store, out),
            Self::Disable(one) => {
                store.set_key_status(&one.id, Status::Disabled)?;
                one.show(store, out)
            }
            Self::Enable(one) => {
                store.set_key_status(&one.id, Status::Active)?;
                one.show(store, out)
            }
            Self::Delete(one) => {
                store.delete_key(&one.id)?;
                one.say("deleted", out)
            }
        }
    }
}

impl AccountCommand {
    pub(super) fn run(&self, store: &Store, out: &mut dyn Write) -> Result<(), Error> {
        let row = |account: &Account| vec![account.id.clone(), account.status.to_string()];
        match self {
            Self::List(format) => format.list(&store.accounts()?, &["ACCOUNT", "STATUS"], row, out),
            Self::Create(one) => {
                store.create_account(&one.id)?;
                one.say("created", out)
            }
            Self::Disable(one) => {
                store.set_account_status(&one.id, Status::Disabled)?;
                one.say("disabled", out)
            }
            Self::Enable(one) => {
                store.set_account_status(&one.id, Status::Active)?;
                one.say("enabled", out)
            }
        }
    }
}

impl Create {
    fn run(&self, store: &Store, out: &mut dyn Write) -> Result<(), Error> {
        if self.account == DEFAULT_ACCOUNT && store.account(DEFAULT_ACCOUNT).is_err() {
            store.create_account(DEFAULT_ACCOUNT)?;
        }
        let mut aliases = Aliases::default();
        for (name, model) in &self.aliases {
            aliases.insert(name.clone(), model.clone());
        }
        let (key, secret) = store.create_key(&NewKey {
            account: self.account.clone(),
            name: self.name.clone(),
            models: (!self.models.is_empty()).then(|| self.models.clone()),
            aliases,
        })?;
        if self.format.json {
            return print(&Created { key: &key, secret: secret.expose() }, out);
        }
        writeln!(out, "{}\n\n{} can not be shown again: keep it now.", secret.expose(), key.id)?;
        Ok(())
    }
}

impl One {
    fn show(&self, store: &Store, out: &mut dyn Write) -> Result<(), Error> {
        let key = store.key(&self.id)?;
        if self.format.json { print(&key, out) } else { table(HEADINGS, &[row(&key)], out) }
    }

    fn say(&self, what: &str, out: &mut dyn Write) -> Result<(), Error> {
        match self.format.json {
            true => print(&BTreeMap::from([("id", json!(self.id)), (what, json!(true))]), out)?,
            false => writeln!(out, "{} {what}", self.id)?,
        }
        Ok(())
    }
}

impl Format {
    fn list<T: Serialize>(
        self,
        items: &[T],
        headings: &[&str],
        row: impl Fn(&T) -> Vec<String>,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        match self.json {
            true => print(&items, out),
            false => table(headings, &items.iter().map(row).collect::<Vec<_>>(), out),
        }
    }
}

fn row(key: &Key) -> Vec<String> {
    let aliases: Vec<_> = key.aliases.iter().map(|(name, model)| format!("{name}={model}")).collect();
    vec![
        key.id.clone(),
        key.account.clone(),
        key.status.to_string(),
        key.models.as_ref().map_or_else(|| "all".to_owned(), |models| models.join(",")),
        aliases.join(","),
        key.name.clone(),
    ]
}

const HEADINGS: &[&str] = &["KEY", "ACCOUNT", "STATUS", "MODELS", "ALIASES", "NAME"];

fn print(value: &impl Serialize, out: &mut dyn Write) -> Result<(), Error> {
    serde_json::to_writer(&mut *out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

fn table(headings: &[&str], rows: &[Vec<String>], out: &mut dyn Write) -> Result<(), Error> {
    let headings: Vec<String> = headings.iter().map(ToString::to_string).collect();
    let all = || std::iter::once(&headings).chain(rows);
    let width =
        |column: usize| all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    for row in all() {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(&format!("{cell:<width$}  ", width = width(column).unwrap_or(0)));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
