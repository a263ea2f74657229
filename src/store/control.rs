//! The control sockets of the gateways that run on a data folder: their names and places.
//!
//! A gateway has two names for its socket. `ADDRESS.PROCESS` is its own for as long as it runs. `ADDRESS` is the name of
//! the newest gateway with this first address; a successor takes it over in one step, so that there is always somebody
//! behind it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// The name of a control socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ControlName {
    /// The process, if it is that process's own name.
    pub process: Option<u32>,
    /// The first address that the gateway listens on.
    pub address: String,
}

/// A path by which a socket can be bound or connected to.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    /// The folder, if the path leads by way of its descriptor.
    _folder: Option<File>,
}

/// Returns the names of the control sockets in a data folder, whether a gateway is behind them or not. Those without a
/// process come first.
///
/// # Errors
/// Fails if the folder cannot be read.
pub fn control_sockets(data: &Path) -> io::Result<Vec<ControlName>> {
    let entries = match fs::read_dir(data.join(CONTROL)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.flatten().filter_map(|entry| ControlName::parse(entry.file_name().to_str()?));
    let mut names: Vec<_> = names.collect();
    names.sort();
    Ok(names)
}

impl ControlName {
    /// Reads the name of a file; `None` if it is not one of a control socket.
    fn parse(file: &str) -> Option<Self> {
        let is_address = |text: &str| {
            let port = text.rsplit_once(':').map(|(_, port)| port);
            port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
        };
        if is_address(file) {
            return Some(Self { process: None, address: file.to_owned() });
        }
        let (address, process) = file.rsplit_once('.')?;
        let process = process.parse().ok().filter(|_| is_address(address))?;
        Some(Self { process: Some(process), address: address.to_owned() })
    }

    /// Returns the path of the socket.
    ///
    /// # Errors
    /// Fails if there is no folder of control sockets, or if the name is too long.
    pub fn path(&self, data: &Path) -> io::Result<SocketPath> {
        SocketPath::new(&data.join(CONTROL), &self.to_string())
    }
}

impl fmt::Display for ControlName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.process {
            Some(process) => write!(f, "{}.{process}", self.address),
            None => f.write_str(&self.address),
        }
    }
}

impl SocketPath {
    /// Makes the path of a socket in a folder. If the path is longer than that of a socket may be, it leads by way of the
    /// folder's descriptor.
    fn new(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        if path.as_os_str().len() <= MAX_PATH_BYTES {
            return Ok(Self { path, _folder: None });
        }
        let folder = File::open(folder)?;
        let path = PathBuf::from(format!("{DESCRIPTORS}/{}/{name}", folder.as_raw_fd()));
        if path.as_os_str().len() > MAX_PATH_BYTES {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "the address is too long for a socket's name",
            ));
        }
        Ok(Self { path, _folder: Some(folder) })
    }
}

impl AsRef<Path> for SocketPath {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

/// The folder of control sockets in a data folder.
pub const CONTROL: &str = "control";

/// The longest path of a socket, in bytes: that of the BSDs, where it has room for 104 bytes with its end. Linux has 108.
const MAX_PATH_BYTES: usize = 103;

/// The folder of a process's own descriptors.
#[cfg(target_os = "linux")]
const DESCRIPTORS: &str = "/proc/self/fd";
#[cfg(not(target_os = "linux"))]
const DESCRIPTORS: &str = "/dev/fd";

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn name(address: &str, process: Option<u32>) -> ControlName {
        ControlName { process, address: address.to_owned() }
    }

    #[test]
    fn names_of_processes_are_told_from_those_of_addresses() {
        for (file, expected) in [
            ("127.0.0.1:8080", Some(name("127.0.0.1:8080", None))),
            ("127.0.0.1:8080.812", Some(name("127.0.0.1:8080", Some(812)))),
            ("[::1]:80.9", Some(name("[::1]:80", Some(9)))),
            ("gw.example:443", Some(name("gw.example:443", None))),
            (".127.0.0.1:8080.812.new", None),
            ("notes.txt", None),
            ("a:", None),
        ] {
            assert_eq!(ControlName::parse(file), expected, "{file}");
            if let Some(name) = expected {
                assert_eq!(name.to_string(), file);
            }
        }
    }

    #[test]
    fn the_sockets_of_addresses_come_before_those_of_processes() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(control_sockets(data.path()).unwrap(), []);
        fs::create_dir(data.path().join(CONTROL)).unwrap();
        for file in ["b:1.7", "b:1", "a:2", "notes"] {
            fs::write(data.path().join(CONTROL).join(file), "").unwrap();
        }
        let expected = [name("a:2", None), name("b:1", None), name("b:1", Some(7))];
        assert_eq!(control_sockets(data.path()).unwrap(), expected);
    }

    #[test]
    fn a_socket_in_a_deep_folder_can_be_used() {
        let data = tempfile::tempdir().unwrap();
        let deep = data.path().join("d".repeat(150));
        fs::create_dir_all(deep.join(CONTROL)).unwrap();
        let socket = name("127.0.0.1:8080", None);
        let listener = UnixListener::bind(socket.path(&deep).unwrap()).unwrap();
        assert!(UnixStream::connect(socket.path(&deep).unwrap()).is_ok());
        drop(listener);
        assert_eq!(control_sockets(&deep).unwrap(), std::slice::from_ref(&socket));
        assert!(name(&format!("{}:1", "h".repeat(120)), None).path(&deep).is_err());
    }
}
