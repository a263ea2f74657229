//! The log of all requests, which is opened again after its file was renamed, and whose settings may change.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::private;

use super::access::AccessLine;
use super::sink::LineSink;

/// The settings of the access log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "AccessLogForm")]
#[schemars(with = "AccessLogForm")]
pub struct AccessLogSettings {
    /// The destination of the lines.
    pub to: Destination,
    /// The part of a client's address that a line contains.
    pub client: ClientDetail,
    /// The form in which a line names the end user of a call.
    pub user: EndUserDetail,
}

/// The forms in which the settings may be written: the destination alone, or a map.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum AccessLogForm {
    Destination(Destination),
    Map(AccessLogMap),
}

/// The settings of the access log as a map.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AccessLogMap {
    /// The destination of the lines: `stdout`, `off`, or the path of a file. Default: `stdout`.
    #[serde(default)]
    to: Destination,
    /// The part of a client's address that a line contains. Default: `full`.
    #[serde(default)]
    client: ClientDetail,
    /// The form of the end user whom a request names in `user`, `safety_identifier` or `metadata.user_id`. Default: `off`.
    #[serde(default)]
    user: EndUserDetail,
}

/// The destination of access lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Destination {
    /// Standard output.
    #[default]
    Stdout,
    /// Nowhere.
    Off,
    /// The end of this file.
    #[serde(untagged)]
    File(PathBuf),
}

/// The part of a client's address that access lines contain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientDetail {
    /// The whole address.
    #[default]
    Full,
    /// The network: the first 24 bits of an IPv4 address, and the first 48 bits of an IPv6 address.
    Truncated,
    /// Nothing.
    Off,
}

/// The form in which access lines name the end user of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndUserDetail {
    /// Not at all.
    #[default]
    Off,
    /// 16 hexadecimal digits, which are the same for the same user at all gateways of a store.
    Hash,
    /// As the request does.
    Plain,
}

/// The log of all requests.
#[derive(Debug)]
pub struct AccessLog {
    open: ArcSwap<OpenLog>,
    /// The lines that destinations have lost which are no longer in use.
    dropped_before: AtomicU64,
}

/// The log with one destination.
#[derive(Debug)]
struct OpenLog {
    settings: AccessLogSettings,
    sink: Option<LineSink>,
    /// The device and the inode of the file, if the destination is one.
    file: Option<(u64, u64)>,
}

impl From<AccessLogForm> for AccessLogSettings {
    fn from(form: AccessLogForm) -> Self {
        match form {
            AccessLogForm::Destination(to) => Self { to, ..Self::default() },
            AccessLogForm::Map(AccessLogMap { to, client, user }) => Self { to, client, user },
        }
    }
}

impl ClientDetail {
    /// Returns the part of an address that is written.
    #[must_use]
    pub fn of(self, address: IpAddr) -> Option<IpAddr> {
        match (self, address.to_canonical()) {
            (Self::Off, _) => None,
            (Self::Full, address) => Some(address),
            (Self::Truncated, IpAddr::V4(address)) => {
                Some(Ipv4Addr::from_bits(address.to_bits() & !0xff).into())
            }
            (Self::Truncated, IpAddr::V6(address)) => {
                Some(Ipv6Addr::from_bits(address.to_bits() & !((1 << 80) - 1)).into())
            }
        }
    }
}

impl OpenLog {
    /// Opens the destination and starts its writer.
    fn new(settings: &AccessLogSettings) -> io::Result<Self> {
        let (sink, file) = match &settings.to {
            Destination::Off => (None, None),
            Destination::Stdout => (Some(LineSink::of(WRITER, &io::stdout())?), None),
            Destination::File(path) => {
                let file = private::log(path)?;
                let metadata = file.metadata()?;
                let identity = (metadata.dev(), metadata.ino());
                (Some(LineSink::new(WRITER, file)?), Some(identity))
            }
        };
        Ok(Self { settings: settings.clone(), sink, file })
    }

    /// Whether the file that is written has another name now, or none.
    fn is_renamed(&self) -> bool {
        let (Destination::File(path), Some(file)) = (&self.settings.to, self.file) else { return false };
        std::fs::metadata(path).map_or(true, |now| (now.dev(), now.ino()) != file)
    }

    fn dropped(&self) -> u64 {
        self.sink.as_ref().map_or(0, LineSink::dropped)
    }

    /// Waits for a limited time until all lines are written.
    fn flush(&self) {
        if let Some(sink) = &self.sink {
            sink.flush();
        }
    }
}

impl AccessLog {
    /// Opens the destination and starts its writer.
    ///
    /// # Errors
    /// Fails if the file cannot be opened or the thread cannot be started.
    pub fn open(settings: &AccessLogSettings) -> io::Result<Self> {
        let open = ArcSwap::from_pointee(OpenLog::new(settings)?);
        Ok(Self { open, dropped_before: AtomicU64::new(0) })
    }

    /// Puts settings into effect, and opens the file again if it was renamed. Returns whether anything was opened.
    ///
    /// # Errors
    /// Fails if the file cannot be opened or the thread cannot be started. The previous destination stays in use.
    pub fn reopen(&self, settings: &AccessLogSettings) -> io::Result<bool> {
        let open = self.open.load();
        if open.settings == *settings && !open.is_renamed() {
            return Ok(false);
        }
        let next = Arc::new(OpenLog::new(settings)?);
        let last = self.open.swap(next);
        last.flush();
        self.dropped_before.fetch_add(last.dropped(), Ordering::Relaxed);
        Ok(true)
    }

    /// Opens the file again if it was renamed. Returns whether it was.
    ///
    /// # Errors
    /// Fails if the file cannot be opened or the thread cannot be started. The renamed file stays in use.
    pub fn reopen_renamed(&self) -> io::Result<bool> {
        let settings = self.open.load().settings.clone();
        self.reopen(&settings)
    }

    /// Returns the part of a client's address that lines contain.
    #[must_use]
    pub fn client(&self, address: Option<IpAddr>) -> Option<IpAddr> {
        self.open.load().settings.client.of(address?)
    }

    /// Adds a line.
    pub fn add(&self, line: &AccessLine<'_>) {
        if let Some(sink) = &self.open.load().sink {
            sink.add(|lines| line.write(lines));
        }
    }

    /// Returns the number of lines that were lost because the destination did not take them in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped_before.load(Ordering::Relaxed) + self.open.load().dropped()
    }

    /// Waits for a limited time until all lines are written. It is called at the end of the process.
    pub fn close(&self) {
        self.open.load().flush();
    }
}

/// The name of the thread.
const WRITER: &str = "access-log";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_settings_are_a_destination_or_a_map() {
        let read = |text: &str| serde_json::from_str::<AccessLogSettings>(text).unwrap();
        let file = |path: &str| Destination::File(path.into());
        for (text, to, client) in [
            (r#""stdout""#, Destination::Stdout, ClientDetail::Full),
            (r#""off""#, Destination::Off, ClientDetail::Full),
            (r#""a.log""#, file("a.log"), ClientDetail::Full),
            (r#"{"to":"a.log","client":"truncated"}"#, file("a.log"), ClientDetail::Truncated),
            (r#"{"client":"off"}"#, Destination::Stdout, ClientDetail::Off),
        ] {
            assert_eq!(
                read(text),
                AccessLogSettings { to, client, ..AccessLogSettings::default() },
                "{text}"
            );
        }
        assert!(serde_json::from_str::<AccessLogSettings>(r#"{"two":"a.log"}"#).is_err());
    }

    #[test]
    fn an_address_is_written_as_far_as_it_may_be() {
        let part = |detail: ClientDetail, address: &str| {
            detail.of(address.parse().unwrap()).map(|address| address.to_string())
        };
        assert_eq!(part(ClientDetail::Full, "10.1.2.3").as_deref(), Some("10.1.2.3"));
        assert_eq!(part(ClientDetail::Truncated, "10.1.2.3").as_deref(), Some("10.1.2.0"));
        assert_eq!(part(ClientDetail::Truncated, "::ffff:10.1.2.3").as_deref(), Some("10.1.2.0"));
        assert_eq!(part(ClientDetail::Truncated, "2001:db8:1:2::3").as_deref(), Some("2001:db8:1::"));
        assert_eq!(part(ClientDetail::Off, "10.1.2.3"), None);
    }

    #[test]
    fn a_renamed_file_is_followed_by_a_new_one_without_a_lost_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let settings = AccessLogSettings { to: Destination::File(path.clone()), ..Default::default() };
        let log = AccessLog::open(&settings).unwrap();
        let line = AccessLine::new(jiff::Timestamp::UNIX_EPOCH);
        log.add(&line);
        assert!(!log.reopen(&settings).unwrap(), "it has its name");
        let renamed = folder.path().join("access.log.1");
        std::fs::rename(&path, &renamed).unwrap();
        log.add(&line);
        assert!(log.reopen(&settings).unwrap());
        log.add(&line);
        log.close();
        let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&renamed), lines(&path)), (2, 1));
        let nowhere = Destination::File(folder.path().join("none/access.log"));
        let error = log.reopen(&AccessLogSettings { to: nowhere, ..settings }).unwrap_err();
        assert!(error.to_string().contains("none/access.log"), "{error}");
        log.add(&line);
        log.close();
        assert_eq!((lines(&path), log.dropped()), (2, 0));
    }
}
