//! The small texts inside a config: hosts, networks, addresses, and what is wrong with them.

use super::settings::{HostPattern, Network};
use crate::net::EndpointAddr;
use std::fmt;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::str::FromStr;

/// What is wrong with a text, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) help: String,
}

impl Fault {
    fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            help: help.into(),
        }
    }
}

impl Network {
    /// Whether `address` lies in it; an IPv4 address that came in through an IPv6 socket counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(host) => f.write_str(host),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
        }
    }
}

impl HostPattern {
    /// Whether it answers `host`, which is in lower case and has no port.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == host,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }
}

pub(super) fn network(text: &str) -> Result<Network, Fault> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let form = "write an address or a network, as in \"10.0.0.0/8\" or \"::1\"";
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(Fault::new("is no IP address or network", form));
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix.map(str::parse::<u8>) {
        None => longest,
        Some(Ok(prefix)) if prefix <= longest => prefix,
        Some(_) => {
            return Err(Fault::new(
                format!("must have 0 to {longest} after the `/`"),
                form,
            ));
        }
    };
    let network = Network {
        address: masked(address, prefix),
        prefix,
    };
    if network.address == address {
        return Ok(network);
    }
    Err(Fault::new(
        format!("sets address bits behind its first {prefix}"),
        format!("write \"{network}\" for the network, or \"{address}\" for the one address"),
    ))
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((ip.to_bits() & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((ip.to_bits() & mask).into())
        }
    }
}

pub(super) fn host_pattern(text: &str) -> Result<HostPattern, Fault> {
    if text == "*" {
        return Ok(HostPattern::Any);
    }
    let lower = text.to_ascii_lowercase();
    if let Some(suffix) = lower.strip_prefix('*') {
        return match suffix.strip_prefix('.') {
            Some(name) => {
                host_name(name)?;
                Ok(HostPattern::Suffix(suffix.to_owned()))
            }
            None => Err(Fault::new(
                "has a `*` that is not a whole label",
                format!("write \"*.{suffix}\", or \"*\" for every host"),
            )),
        };
    }
    let inside = lower
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(ip) = inside.and_then(|inside| inside.parse::<Ipv6Addr>().ok()) {
        return Ok(HostPattern::Exact(format!("[{ip}]")));
    }
    host_name(&lower)?;
    Ok(HostPattern::Exact(lower))
}

fn host_name(name: &str) -> Result<(), Fault> {
    let fault = |what: &str, help: String| Err(Fault::new(what, help));
    if let Some((_, rest)) = name.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        return fault("is a URL", format!("write the host alone: \"{host}\""));
    }
    if !name.is_ascii() {
        return fault(
            "has letters that are not ASCII",
            "write the form that browsers send, which begins with xn--".to_owned(),
        );
    }
    if let Some((host, port)) = name.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
        && !host.contains(':')
    {
        return fault(
            "has a port",
            format!("write \"{host}\": ports do not matter for hosts"),
        );
    }
    if let Some(plain) = name.strip_suffix('.') {
        return fault("ends with a dot", format!("write \"{plain}\""));
    }
    let form =
        "write a name, as in \"erp.example.com\", \"*.example.com\", or \"*\" for every host";
    if name.is_empty() || name.len() > 253 {
        return fault("is empty or longer than 253 letters", form.to_owned());
    }
    for label in name.split('.') {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if label.is_empty() || label.len() > 63 || !label.bytes().all(plain) {
            return fault("is no host name", form.to_owned());
        }
    }
    Ok(())
}

/// An address to listen on: an IP address and a port, where 0 means any free one.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, Fault> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let what = "is no address to listen on";
    let port = text
        .rsplit(':')
        .next()
        .and_then(|port| port.parse::<u16>().ok());
    let help = match (text.rsplit_once(':').map(|(host, _)| host), port) {
        (None | Some("" | "*"), Some(port)) => format!(
            "write \"0.0.0.0:{port}\" for every address of this machine, \"127.0.0.1:{port}\" for itself only"
        ),
        (Some("localhost"), Some(port)) => format!("write \"127.0.0.1:{port}\""),
        _ => match text.parse::<IpAddr>() {
            Ok(ip) => format!("add a port: \"{}\"", SocketAddr::new(ip, 8080)),
            Err(_) => "write IP:PORT, as in \"0.0.0.0:8080\" or \"[::]:8080\"".to_owned(),
        },
    };
    Err(Fault::new(what, help))
}

/// Where an upstream listens.
pub(super) fn endpoint(text: &str) -> Result<EndpointAddr, Fault> {
    if let Ok(address) = EndpointAddr::from_str(text) {
        return Ok(address);
    }
    let form = "write \"IP:PORT\", \"HOST:PORT\" or \"unix:/absolute/path\"";
    if let Some((_, rest)) = text.split_once("://") {
        let address = rest.split('/').next().unwrap_or_default();
        return Err(Fault::new(
            "is a URL",
            match EndpointAddr::from_str(address) {
                Ok(address) => format!("write \"{address}\""),
                Err(_) => form.to_owned(),
            },
        ));
    }
    if let Some(path) = text.strip_prefix("unix:") {
        if !path.starts_with('/') {
            return Err(Fault::new("has no absolute path", form));
        }
        return Err(too_long_for_a_socket(path.len()));
    }
    if text.starts_with('/') {
        return Err(Fault::new(
            "is a bare path",
            format!("write \"unix:{text}\""),
        ));
    }
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Err(Fault::new(
            "has no host",
            format!("write \"127.0.0.1:{port}\" for a server on this machine"),
        ));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        let address = SocketAddr::new(ip, 8069);
        return Err(Fault::new(
            "has no port",
            format!("write \"{address}\", with your port"),
        ));
    }
    Err(match text.rsplit_once(':') {
        None => Fault::new("has no port", form),
        Some((_, port)) if port.parse::<u16>().is_ok_and(|port| port != 0) => {
            Fault::new("has a host that is none", form)
        }
        Some(_) => Fault::new("has a port that is none", "ports go from 1 to 65535"),
    })
}

/// The kernel's limit for the path of a unix socket.
pub(super) const LONGEST_SOCKET_PATH: usize = 107;

pub(super) fn too_long_for_a_socket(length: usize) -> Fault {
    Fault::new(
        format!("has {length} bytes"),
        format!(
            "choose a path of at most {LONGEST_SOCKET_PATH}: the kernel takes no longer one for a socket"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn hosts_are_read_in_lower_case() {
        for (text, pattern) in [
            ("*", HostPattern::Any),
            (
                "ERP.example.com",
                HostPattern::Exact("erp.example.com".into()),
            ),
            ("*.Example.com", HostPattern::Suffix(".example.com".into())),
            ("10.0.0.1", HostPattern::Exact("10.0.0.1".into())),
            ("[::1]", HostPattern::Exact("[::1]".into())),
        ] {
            assert_eq!(host_pattern(text), Ok(pattern), "{text}");
        }
    }

    #[test]
    fn bad_hosts_are_told_apart() {
        for (text, what) in [
            ("https://a.example/", "is a URL"),
            ("a.example:443", "has a port"),
            ("a.example.", "ends with a dot"),
            ("*example.com", "has a `*` that is not a whole label"),
            ("a.*.com", "is no host name"),
            ("bücher.example", "has letters that are not ASCII"),
            ("", "is empty or longer than 253 letters"),
            ("a b", "is no host name"),
            ("*.", "is empty or longer than 253 letters"),
        ] {
            assert_eq!(host_pattern(text).unwrap_err().what, what, "{text}");
        }
    }

    #[test]
    fn a_suffix_needs_a_label_in_front() {
        let pattern = host_pattern("*.example.com").unwrap();
        assert!(pattern.matches("a.example.com"));
        assert!(pattern.matches("a.b.example.com"));
        assert!(!pattern.matches("example.com"));
        assert!(!pattern.matches(".example.com"));
        assert!(!pattern.matches("badexample.com"));
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let inside = |net: &str, ip: &str| network(net).unwrap().contains(ip.parse().unwrap());
        assert!(inside("10.0.0.0/8", "10.255.0.1"));
        assert!(!inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(inside("0.0.0.0/0", "1.2.3.4"));
        assert!(!inside("0.0.0.0/0", "::1"));
        assert!(inside("fd00::/8", "fd12::1"));
        assert!(inside("::/0", "::1"));
        assert!(
            network("10.0.0.1/8")
                .unwrap_err()
                .help
                .contains("\"10.0.0.0/8\"")
        );
        assert!(network("10.0.0.0/33").is_err());
        assert!(network("ten/8").is_err());
    }

    #[test]
    fn bad_addresses_are_told_apart() {
        for (text, what, help) in [
            ("8069", "has no host", "127.0.0.1:8069"),
            (":8069", "has no host", "127.0.0.1:8069"),
            ("127.0.0.1", "has no port", "127.0.0.1:8069"),
            ("odoo-blue", "has no port", "HOST:PORT"),
            ("http://odoo:8069/", "is a URL", "\"odoo:8069\""),
            ("127.0.0.1:0", "has a port that is none", "1 to 65535"),
            ("odoo:99999", "has a port that is none", "1 to 65535"),
            ("127.0.0.300:80", "has a host that is none", "IP:PORT"),
            ("unix:run/x", "has no absolute path", "unix:/"),
            ("/run/x.sock", "is a bare path", "\"unix:/run/x.sock\""),
        ] {
            let fault = endpoint(text).unwrap_err();
            assert_eq!(fault.what, what, "{text}");
            assert!(fault.help.contains(help), "{text}: {}", fault.help);
        }
        let long = format!("unix:/{}", "x".repeat(107));
        assert_eq!(endpoint(&long).unwrap_err().what, "has 108 bytes");
    }

    #[test]
    fn bad_listeners_are_told_what_to_write() {
        for (text, help) in [
            (":8080", "0.0.0.0:8080"),
            ("*:8080", "0.0.0.0:8080"),
            ("8080", "0.0.0.0:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("127.0.0.1", "127.0.0.1:8080"),
            ("::1", "[::1]:8080"),
            ("here", "IP:PORT"),
        ] {
            let fault = listen_address(text).unwrap_err();
            assert!(fault.help.contains(help), "{text}: {}", fault.help);
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_a_reader(text in "\\PC{0,40}") {
            let _ = (network(&text), host_pattern(&text), listen_address(&text), endpoint(&text));
        }

        #[test]
        fn a_network_of_every_size_reads_back(bits in any::<u128>(), prefix in 0u8..=128) {
            let network = Network { address: masked(Ipv6Addr::from_bits(bits).into(), prefix), prefix };
            prop_assert_eq!(super::network(&network.to_string()), Ok(network));
            prop_assert!(network.contains(network.address));
        }
    }
}
