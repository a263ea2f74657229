//! The choice of the data folder that a command works on.

use std::env;
use std::ffi::OsString;
use std::io::{Write, stderr};
use std::net::ToSocketAddrs as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;

use rustix::process::geteuid;

use crossmodel::admin::client::Client;
use crossmodel::admin::model::Instance;
use crossmodel::config::Places;
use crossmodel::edge::RemoteGateway;
use crossmodel::store;

use super::failure::CommandError;

/// The data folder that a command works on, and the reason.
#[derive(Debug)]
pub(super) struct StoreLocation {
    /// The folder.
    pub(super) folder: PathBuf,
    /// The rule by which it was chosen.
    rule: LocationRule,
}

#[derive(Debug)]
enum LocationRule {
    /// The command line or the environment names the folder.
    Named,
    /// A file that the command line or the environment names.
    File(PathBuf, Places),
    /// The file of the machine's service, which nobody has named.
    Service,
    /// The gateway with this file runs on another folder than the file says.
    Running(u32),
    /// The user's own folder.
    Own,
}

/// Returns the configuration file that the command line or the environment names.
pub(super) fn named_file(option: Option<&Path>) -> Option<PathBuf> {
    option.map(Path::to_owned).or_else(|| variable(CONFIG_VARIABLE))
}

/// Returns the configuration file of a command other than `run`: the one that is named, or the one of the machine's
/// service, unless the user has a store of his own.
pub(super) fn known_file(option: Option<&Path>) -> Option<PathBuf> {
    let service = || Some(PathBuf::from(SERVICE_FILE)).filter(|file| !own_store() && file.exists());
    named_file(option).or_else(service)
}

impl StoreLocation {
    /// Returns the folder of a gateway that is to run.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or if the store is where an earlier version would have looked for it.
    pub(super) fn of_gateway(data: Option<&Path>, file: Option<&Path>) -> Result<Self, CommandError> {
        let location = Self::by_rule(data, file)?;
        location.check_moved()?;
        Ok(location)
    }

    /// Returns the folder of a command that works on a store. If a gateway runs with the file, the folder is the one that the
    /// gateway works on, whatever the file says.
    ///
    /// # Errors
    /// Fails in the same cases as [`Self::of_gateway`].
    pub(super) fn of_command(data: Option<&Path>, file: Option<&Path>) -> Result<Self, CommandError> {
        let named = named_file(file);
        let is_implied = named_folder(data).is_none() && named.is_none();
        let (location, file, places) = match known_file(file) {
            Some(service) if is_implied => {
                let places = Places::read(&service)?;
                (Self { folder: places.data.clone(), rule: LocationRule::Service }, service, places)
            }
            _ => match Self::by_rule(data, named.as_deref())? {
                Self { folder, rule: LocationRule::File(file, places) } => {
                    let rule = LocationRule::File(file.clone(), places.clone());
                    (Self { folder, rule }, file, places)
                }
                location => {
                    location.check_moved()?;
                    return Ok(location);
                }
            },
        };
        if let Some(running) = running_elsewhere(&file, &places) {
            return Ok(running);
        }
        location.check_moved()?;
        Ok(location)
    }

    fn by_rule(data: Option<&Path>, file: Option<&Path>) -> Result<Self, CommandError> {
        Ok(match (named_folder(data), file) {
            (Some(folder), _) => Self { folder, rule: LocationRule::Named },
            (None, Some(file)) => {
                let places = Places::read(file)?;
                Self { folder: places.data.clone(), rule: LocationRule::File(file.to_owned(), places) }
            }
            (None, None) => Self { folder: own_folder(), rule: LocationRule::Own },
        })
    }

    /// Returns the folder of an existing store. `quiet`: nothing is said about it.
    ///
    /// # Errors
    /// Fails if there is no store, or if it belongs to another user's gateway.
    pub(super) fn existing(self, quiet: bool) -> Result<PathBuf, CommandError> {
        let gateways = store::gateways(&self.folder);
        match store::exists(&self.folder) {
            Ok(true) => {}
            Ok(false) => return Err(CommandError::NoStore(self.folder)),
            Err(error) => return Err(self.denied().unwrap_or_else(|| error.into())),
        }
        let process = match self.rule {
            LocationRule::Running(process) => Some(process),
            _ => gateways.first().copied(),
        };
        if !quiet && !matches!(self.rule, LocationRule::Named | LocationRule::File(..)) {
            let used = process.map(|process| format!(", used by gateway {process}"));
            let _ = writeln!(stderr(), "store: {}{}", self.folder.display(), used.unwrap_or_default());
        }
        Ok(self.folder)
    }

    /// Returns the error of a folder that is only for the user of the gateway that runs on it.
    fn denied(&self) -> Option<CommandError> {
        let LocationRule::Running(process) = self.rule else { return None };
        let folder = self.folder.display();
        let message = format!(
            "gateway {process} keeps its store in {folder}, which this user may not use. Run: {}",
            as_root()
        );
        Some(CommandError::Denied(message))
    }

    /// Ensures that the store has not stayed where an earlier version looked for it: in the working directory.
    fn check_moved(&self) -> Result<(), CommandError> {
        let (old, setting) = match &self.rule {
            LocationRule::File(file, places) => {
                let setting = match places.data_line {
                    0 => format!("{} has no `data`", file.display()),
                    line => format!("{}:{line}, `data: {}`", file.display(), places.written_data.display()),
                };
                (places.written_data.as_path(), Some(setting))
            }
            LocationRule::Own => (Path::new(OLD_FOLDER), None),
            LocationRule::Named | LocationRule::Service | LocationRule::Running(_) => return Ok(()),
        };
        if store::exists(&self.folder)? || !store::exists(old).unwrap_or(false) {
            return Ok(());
        }
        let (new, old) = (self.folder.display(), absolute(old).unwrap_or_else(|_| old.to_owned()));
        let old = old.display();
        Err(CommandError::Usage(match setting {
            Some(setting) => format!(
                "no store in {new} ({setting}), but there is one in {old}.\n\
                 Paths in the file are relative to the file. Write `data: {old}`, or move the folder."
            ),
            None => format!(
                "no store in {new}, but there is one in {old}.\n\
                 Without a file, the store is in the user's own folder. Write `--data {old}`, or move the folder."
            ),
        }))
    }
}

/// Returns the folder of the gateway that runs with a file, if the gateway was told another folder than the file names, or
/// if this user may not use it.
fn running_elsewhere(file: &Path, places: &Places) -> Option<StoreLocation> {
    let address = env::var("CROSSMODEL_ADMIN").ok().filter(|address| !address.is_empty());
    let address = address.or_else(|| places.admin.clone())?;
    let address = address.to_socket_addrs().ok()?.find(|address| address.ip().is_loopback())?;
    let client = Client::of_gateway(RemoteGateway::nearby(address).ok()?);
    let Instance { pid, data, config, .. } = client.get("/instance").ok()?;
    let same = |a: &Path, b: &Path| match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => absolute(a).ok() == absolute(b).ok(),
    };
    let folder = PathBuf::from(data);
    let is_its_file = config.is_some_and(|config| same(Path::new(&config), file));
    let is_as_written = same(&folder, &places.data) && store::exists(&folder).is_ok();
    (is_its_file && !is_as_written).then_some(StoreLocation { folder, rule: LocationRule::Running(pid) })
}

/// Returns this command as root would run it. No argument is a secret.
pub(super) fn as_root() -> String {
    let plain = |word: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@+*".contains(&byte);
        if !word.is_empty() && word.bytes().all(is_plain) {
            word.to_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words = env::args_os().skip(1).map(|word| plain(&word.to_string_lossy()));
    std::iter::once("sudo crossmodel".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Runs this command again as the user whom a store belongs to, if this is root. Root works on it itself only if that user
/// could not reach it, as in a folder that a service manager keeps to itself: SQLite then gives the files beside the
/// database to their owner.
pub(super) fn become_owner(folder: &Path) -> Result<(), CommandError> {
    let Some((uid, gid)) = store::owner(folder).filter(|(uid, _)| geteuid().is_root() && *uid != 0) else {
        return Ok(());
    };
    if !store::is_reachable(folder, uid, gid) {
        return Ok(());
    }
    let mut command = Command::new(env::current_exe()?);
    command.args(without_data(env::args_os().skip(1)));
    command.env(DATA_VARIABLE, absolute(folder)?).uid(uid).gid(gid);
    let error = command.exec();
    Err(CommandError::Usage(format!(
        "the store in {} belongs to uid {uid}, and the command cannot be run as that user: {error}",
        folder.display()
    )))
}

/// Returns arguments without the option that names the data folder.
fn without_data(mut arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--data" {
            arguments.next();
        } else if !argument.to_string_lossy().starts_with("--data=") {
            kept.push(argument);
        }
    }
    kept
}

/// Returns the data folder that the command line or the environment names.
fn named_folder(option: Option<&Path>) -> Option<PathBuf> {
    option.map(Path::to_owned).or_else(|| variable(DATA_VARIABLE))
}

/// Whether the user has a store of his own.
fn own_store() -> bool {
    store::exists(&own_folder()).unwrap_or(true)
}

/// Returns the user's own data folder.
fn own_folder() -> PathBuf {
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".local/share"));
    let parent = absolute("XDG_DATA_HOME").or_else(home);
    parent.map_or_else(|| PathBuf::from(OLD_FOLDER), |parent| parent.join("crossmodel"))
}

/// Returns the path in a variable, unless it is empty.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The variable that replaces `--config`.
const CONFIG_VARIABLE: &str = "CROSSMODEL_CONFIG";

/// The variable that replaces `--data`.
const DATA_VARIABLE: &str = "CROSSMODEL_DATA";

/// The configuration file of the machine's service.
const SERVICE_FILE: &str = "/etc/crossmodel/crossmodel.yaml";

/// The data folder in the working directory, where there is no other.
const OLD_FOLDER: &str = "data";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_for_the_folder_is_taken_out_wherever_it_stands() {
        let kept = |words: &str| {
            let words = words.split(' ').map(OsString::from);
            without_data(words).join(std::ffi::OsStr::new(" ")).into_string().unwrap()
        };
        assert_eq!(kept("key list --data x --json"), "key list --json");
        assert_eq!(kept("--data=x key create --name --database"), "key create --name --database");
    }
}
