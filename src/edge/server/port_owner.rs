//! The process that listens on an address, as far as the system tells.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A process that listens on an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge) struct PortOwner {
    /// Its number.
    pub(in crate::edge) process: u32,
    /// Its name.
    pub(in crate::edge) name: String,
}

impl PortOwner {
    /// Finds the process that listens on an address. Processes of other users are only found by root.
    pub(in crate::edge) fn find(address: SocketAddr) -> Option<Self> {
        let tables =
            ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
        let inode = tables.iter().find_map(|table| listening_inode(table, address))?;
        let socket = format!("socket:[{inode}]");
        let process = fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            let mut files = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
            let is_owner = files.any(|file| {
                fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == socket.as_str())
            });
            is_owner.then_some(process)
        })?;
        let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        Some(Self { process, name: name.trim().to_owned() })
    }
}

/// Returns the inode of the socket that listens on an address, or on all addresses with its port.
fn listening_inode(table: &str, address: SocketAddr) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let (host, port) = words.nth(1)?.split_once(':')?;
        let is_listening = words.nth(1)? == LISTEN;
        let is_same = match address.ip() {
            // The system writes the bytes of an address as a number of its own order.
            IpAddr::V4(ip) if host.len() == V4_DIGITS => {
                let theirs =
                    u32::from_str_radix(host, 16).ok().map(|bits| Ipv4Addr::from(bits.to_ne_bytes()))?;
                theirs == ip || theirs.is_unspecified() || ip.is_unspecified()
            }
            _ => host.len() > V4_DIGITS,
        };
        let matches = is_listening && is_same && u16::from_str_radix(port, 16).ok()? == address.port();
        matches.then(|| words.nth(5)?.parse().ok()).flatten()
    })
}

/// The state of a listening socket in the tables.
const LISTEN: &str = "0A";

/// The digits of an IPv4 address in the tables.
const V4_DIGITS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_where_it_listens() {
        for host in ["127.0.0.1", "0.0.0.0", "[::1]"] {
            let Ok(listener) = std::net::TcpListener::bind(format!("{host}:0")) else { continue };
            let owner = PortOwner::find(listener.local_addr().unwrap()).unwrap();
            assert_eq!(owner.process, std::process::id(), "{host}");
            assert!(!owner.name.is_empty());
        }
    }

    #[test]
    fn only_listeners_of_the_address_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1 1\n   1: 0200007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1\n   2: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1\n";
        let find = |text: &str| listening_inode(table, text.parse().unwrap());
        if cfg!(target_endian = "little") {
            assert_eq!((find("127.0.0.1:8080"), find("127.0.0.2:8080")), (Some(3), Some(2)));
        }
        assert_eq!((find("127.0.0.1:8081"), find("[::1]:8080")), (None, None));
    }
}
