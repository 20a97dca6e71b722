//! Errors that tell of this process and its machine, not of whom it talks to.

use super::resolver::NameFailure;
use rustix::io::Errno;
use rustix::process::Resource;
use rustix::process::getrlimit;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;

/// What is used up here.
///
/// Only what does not depend on whom we talk to: a firewall that forbids one address (EPERM), a network that is
/// not there (ENETUNREACH) or the full backlog of a unix socket (EAGAIN) say something of that address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Descriptors of this process.
    Descriptors,
    /// Descriptors of all processes.
    SystemDescriptors,
    /// Local ports for connections to one address.
    Ports,
    /// Memory of the kernel, for sockets too.
    Memory,
    /// Room of a file system, or for what the kernel watches for us.
    Room,
}

impl Lack {
    /// What `error`, or a cause of it, says that we lack. None when it speaks of somebody else.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                if let Some(code) = error.raw_os_error() {
                    return Self::of_errno(Errno::from_raw_os_error(code));
                }
                // Its own `source` skips what it was made of.
                next = error.get_ref().map(|inner| inner as &(dyn Error + 'static));
            } else if let Some(failure) = error.downcast_ref::<NameFailure>() {
                return failure.lack();
            } else {
                next = error.source();
            }
        }
        None
    }

    fn of_errno(errno: Errno) -> Option<Self> {
        Some(match errno {
            Errno::MFILE => Self::Descriptors,
            Errno::NFILE => Self::SystemDescriptors,
            Errno::ADDRNOTAVAIL => Self::Ports,
            Errno::NOBUFS | Errno::NOMEM => Self::Memory,
            Errno::NOSPC | Errno::DQUOT => Self::Room,
            _ => return None,
        })
    }
}

/// With what helps.
impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptors => {
                f.write_str("switchd is out of file descriptors (")?;
                if let Some(limit) = getrlimit(Resource::Nofile).current {
                    write!(f, "limit {limit}; ")?;
                }
                f.write_str("raise LimitNOFILE= of its unit, or `ulimit -n`)")
            }
            Self::SystemDescriptors => {
                f.write_str("this machine is out of file descriptors (raise fs.file-max)")
            }
            Self::Ports => f.write_str(
                "this machine is out of local ports for that address (widen net.ipv4.ip_local_port_range, or keep connections open: `keepalive`)",
            ),
            Self::Memory => f.write_str("this machine is out of memory for sockets"),
            Self::Room => f.write_str("this machine has no room left (a disk, a quota, or fs.epoll.max_user_watches)"),
        }
    }
}

/// Whether `error` is owed to what this process or its machine lacks, and says nothing of whom we talk to.
#[must_use]
pub fn is_ours(error: &io::Error) -> bool {
    Lack::of(error).is_some()
}

/// Tells used-up ports from a machine that has no address of its own to reach `address` from (no IPv6, say): the
/// kernel has one error for both, and the second is a matter of that address.
pub(super) fn told_apart(error: io::Error, address: SocketAddr) -> io::Error {
    if Lack::of(&error) == Some(Lack::Ports) && has_no_way(address) {
        let words = format!("this machine has no address of its own to reach {address} from");
        return io::Error::new(error.kind(), words);
    }
    error
}

/// A datagram socket needs no port of those that connections use up, and sends nothing by connecting.
fn has_no_way(address: SocketAddr) -> bool {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    UdpSocket::bind(any).is_ok_and(|socket| socket.connect(address).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }

    #[test]
    fn what_is_used_up_here_is_ours() {
        for errno in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::ADDRNOTAVAIL,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::NOSPC,
            Errno::DQUOT,
        ] {
            assert!(is_ours(&raised(errno)), "{errno:?}");
        }
    }

    #[test]
    fn what_depends_on_whom_we_talk_to_is_not() {
        for errno in [
            Errno::CONNREFUSED,
            Errno::CONNRESET,
            Errno::TIMEDOUT,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            Errno::NOENT,
            Errno::ACCESS,
            Errno::PERM,
            Errno::AGAIN,
            Errno::PIPE,
        ] {
            assert!(!is_ours(&raised(errno)), "{errno:?}");
        }
        assert!(!is_ours(&io::ErrorKind::AddrNotAvailable.into()));
        assert!(!is_ours(&io::Error::other("a certificate that is too old")));
    }

    #[test]
    fn a_cause_is_found_within_other_errors() {
        #[derive(Debug, thiserror::Error)]
        #[error("told in words")]
        struct Told(#[source] io::Error);
        let wrapped = io::Error::other(Told(io::Error::other(raised(Errno::MFILE))));
        assert_eq!(Lack::of(&wrapped), Some(Lack::Descriptors));
        let other = io::Error::other(Told(raised(Errno::CONNREFUSED)));
        assert_eq!(Lack::of(&other), None);
    }

    #[test]
    fn used_up_ports_are_told_from_a_machine_without_an_address() {
        let here = SocketAddr::from(([127, 0, 0, 1], 80));
        let used_up = told_apart(raised(Errno::ADDRNOTAVAIL), here);
        assert!(is_ours(&used_up), "{used_up}");
        let refused = told_apart(raised(Errno::CONNREFUSED), here);
        assert!(!is_ours(&refused), "{refused}");
        // Nothing may connect to a broadcast address: to us it is one that cannot be reached.
        let nowhere = SocketAddr::from(([255, 255, 255, 255], 80));
        let no_way = told_apart(raised(Errno::ADDRNOTAVAIL), nowhere);
        assert!(!is_ours(&no_way), "{no_way}");
        assert!(
            no_way.to_string().contains("no address of its own"),
            "{no_way}"
        );
    }

    #[test]
    fn words_name_the_limit_and_what_helps() {
        let words = Lack::Descriptors.to_string();
        assert!(
            words.contains("(limit ") || words.contains("(raise"),
            "{words}"
        );
        assert!(words.contains("LimitNOFILE="), "{words}");
    }
}
