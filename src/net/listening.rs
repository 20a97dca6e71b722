//! Which users listen at an address of this host, as the kernel knows it.
//!
//! Of other hosts, and of other network namespaces of this one, nothing is known: then nobody is found.

use super::address::EndpointAddr;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt;

/// More listening sockets than this are not looked through.
const ROWS: usize = 65_536;
/// The state of a socket that listens, as the table spells it.
const LISTENS: &str = "0A";

/// The users whose sockets take connections to `address`; empty where that cannot be known. Blocks for as long as
/// the kernel needs to list what listens on this host: microseconds, as a rule.
#[must_use]
pub fn users_listening(address: &EndpointAddr) -> BTreeSet<u32> {
    match address {
        EndpointAddr::Unix(path) => std::fs::metadata(path)
            .map(|file| file.uid())
            .into_iter()
            .collect(),
        EndpointAddr::Tcp(address) => users_of(*address),
        EndpointAddr::Named { host, port } if host.eq_ignore_ascii_case("localhost") => {
            let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            let users = loopback.map(|ip: IpAddr| users_of(SocketAddr::new(ip, *port)));
            users.into_iter().flatten().collect()
        }
        EndpointAddr::Named { .. } => BTreeSet::new(),
    }
}

/// Whether who listens at `address` can be known at all.
#[must_use]
pub fn may_be_local(address: &EndpointAddr) -> bool {
    match address {
        EndpointAddr::Unix(_) => true,
        EndpointAddr::Tcp(address) => is_of_this_host(address.ip()),
        EndpointAddr::Named { host, .. } => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Only addresses of this network namespace can be bound.
fn is_of_this_host(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

fn users_of(address: SocketAddr) -> BTreeSet<u32> {
    let ip = address.ip().to_canonical();
    if !is_of_this_host(ip) {
        return BTreeSet::new();
    }
    let mut found = listeners("/proc/self/net/tcp", address.port());
    found.extend(listeners("/proc/self/net/tcp6", address.port()));
    who_answers(ip, &found)
}

/// One row of the kernel's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listener {
    ip: IpAddr,
    user: u32,
}

/// The kernel hands a connection to the socket that names its address most exactly.
fn who_answers(ip: IpAddr, listeners: &[Listener]) -> BTreeSet<u32> {
    let wildcards = match ip {
        IpAddr::V4(_) => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        IpAddr::V6(_) => vec![IpAddr::from(Ipv6Addr::UNSPECIFIED)],
    };
    let of = |wanted: IpAddr| -> BTreeSet<u32> {
        let those = listeners.iter().filter(|it| it.ip == wanted);
        those.map(|it| it.user).collect()
    };
    let mut each = std::iter::once(ip).chain(wildcards).map(of);
    each.find(|users| !users.is_empty()).unwrap_or_default()
}

fn listeners(table: &str, port: u16) -> Vec<Listener> {
    let Ok(file) = File::open(table) else {
        return Vec::new();
    };
    // What listens comes first: of a table with thousands of connections only the beginning is read.
    let lines = BufReader::new(file).lines().skip(1).take(ROWS);
    let rows = lines.map_while(Result::ok).map_while(|line| row(&line));
    let mine = rows.filter(|(_, of)| *of == port);
    mine.map(|(listener, _)| listener).collect()
}

/// A row that listens, and its port; none for any other.
fn row(line: &str) -> Option<(Listener, u16)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    let state = fields.nth(1)?;
    let user = fields.nth(3)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let listener = Listener {
        ip: address(ip)?,
        user,
    };
    (state == LISTENS).then_some((listener, port))
}

/// Words of 32 bits as this machine holds them.
fn address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match text.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut all = [0; 16];
            for (at, part) in all.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?);
            }
            Some(IpAddr::from(all).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::net::TcpStream;
    use std::os::unix::net::UnixListener;

    fn at(address: &str) -> BTreeSet<u32> {
        users_listening(&address.parse().unwrap())
    }

    fn ourselves() -> BTreeSet<u32> {
        BTreeSet::from([rustix::process::geteuid().as_raw()])
    }

    #[test]
    fn who_listens_on_loopback_is_found_by_its_own_address_and_by_a_wildcard() {
        for bound in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(bound) else {
                // A machine without IPv6.
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            // A connection is in the same table, and no listener.
            let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            assert_eq!(at(&format!("127.0.0.1:{port}")), ourselves(), "{bound}");
            drop(listener);
            assert_eq!(at(&format!("127.0.0.1:{port}")), BTreeSet::new(), "{bound}");
        }
    }

    #[test]
    fn a_socket_file_belongs_to_who_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let address = format!("unix:{}", path.display());
        assert_eq!(at(&address), BTreeSet::new());
        let _listener = UnixListener::bind(&path).unwrap();
        assert_eq!(at(&address), ourselves());
    }

    #[test]
    fn of_another_host_nobody_is_known() {
        assert_eq!(at("192.0.2.1:80"), BTreeSet::new());
        assert_eq!(at("db.example.com:80"), BTreeSet::new());
        assert!(!may_be_local(&"192.0.2.1:80".parse().unwrap()));
        assert!(may_be_local(&"127.0.0.1:80".parse().unwrap()));
    }

    #[test]
    fn the_rows_of_the_kernel_are_understood() {
        let listens = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0";
        let [loopback, any] = ["127.0.0.1", "0.0.0.0"].map(|ip| ip.parse::<IpAddr>().unwrap());
        if cfg!(target_endian = "little") {
            let listener = Listener {
                ip: loopback,
                user: 1000,
            };
            assert_eq!(row(listens), Some((listener, 8080)));
            let mapped = "0000000000000000FFFF00000100007F";
            assert_eq!(address(mapped), Some(loopback));
        }
        assert_eq!(row(&listens.replace(" 0A ", " 01 ")), None);
        for broken in [
            "",
            "sl",
            "0: x:1 y:2 0A",
            &listens[..30],
            "0: 0100007F 0 0A 0 0 0 0",
        ] {
            assert_eq!(row(broken), None, "{broken:?}");
        }
        let exact = Listener {
            ip: loopback,
            user: 7,
        };
        let wild = Listener { ip: any, user: 8 };
        // The stranger on the exact address gets the connections.
        assert_eq!(who_answers(loopback, &[wild, exact]), BTreeSet::from([7]));
        assert_eq!(who_answers(loopback, &[wild]), BTreeSet::from([8]));
        let shared = Listener {
            ip: loopback,
            user: 9,
        };
        assert_eq!(
            who_answers(loopback, &[exact, shared]),
            BTreeSet::from([7, 9])
        );
    }
}
