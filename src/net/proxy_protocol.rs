//! PROXY protocol, versions 1 and 2: a load balancer tells for whom it connects, before anything else is said.

use proxy_header::ParseConfig;
use proxy_header::Protocol;
use proxy_header::ProxiedAddress;
use proxy_header::ProxyHeader;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// How a header begins.
const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 up to and with the length of the rest.
const V2_FIXED: usize = 16;
/// Longest headers, as the specification and nginx have it.
const V1_LONGEST: usize = 107;
const V2_LONGEST: usize = 4096;
/// Bytes that are looked at in one go.
const LOOK: usize = 256;

/// For whom a connection was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Introduction {
    /// The balancer's own: a health check. Its addresses are those of the connection.
    Itself,
    Client {
        source: SocketAddr,
        /// Where the client connected to.
        destination: SocketAddr,
        /// The client speaks TLS with the balancer.
        is_secure: bool,
    },
}

/// Why nobody was introduced.
#[derive(Debug, thiserror::Error)]
pub enum NoIntroduction {
    #[error("the connection ended before the PROXY header was complete")]
    Gone(#[source] Option<io::Error>),
    #[error("the connection does not begin with a PROXY header")]
    Absent,
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error("the PROXY header is too long")]
    TooLong,
}

/// How a header is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    V1,
    V2,
}

/// Reads the header from the front of a connection, and not a byte of what comes behind it. A deadline is the caller's.
///
/// # Errors
/// See [`NoIntroduction`]; the connection must not be used any further.
pub async fn introduction(socket: &TcpStream) -> Result<Introduction, NoIntroduction> {
    let mut held = Vec::new();
    loop {
        let mut room = [0; LOOK];
        let seen = socket.peek(&mut room).await;
        let seen = seen.map_err(|cause| NoIntroduction::Gone(Some(cause)))?;
        if seen == 0 {
            return Err(NoIntroduction::Gone(None));
        }
        let before = held.len();
        held.extend_from_slice(&room[..seen]);
        let length = match extent(&held)? {
            Extent::Whole(length) => length.min(held.len()),
            Extent::Open => held.len(),
        };
        held.truncate(length);
        // They are there, or the peek would not have shown them.
        let taken = socket.try_read(&mut room[..length - before]);
        match taken {
            Ok(taken) if taken == length - before => {}
            Ok(_) => return Err(NoIntroduction::Gone(None)),
            Err(cause) => return Err(NoIntroduction::Gone(Some(cause))),
        }
        if let Extent::Whole(whole) = extent(&held)?
            && whole == held.len()
        {
            return parse(&held);
        }
    }
}

/// How far a header reaches that begins so.
#[derive(Debug, PartialEq, Eq)]
enum Extent {
    Whole(usize),
    /// All of it belongs to the header, and more must come.
    Open,
}

fn extent(bytes: &[u8]) -> Result<Extent, NoIntroduction> {
    let begins = |with: &[u8]| {
        let common = with.len().min(bytes.len());
        bytes[..common] == with[..common]
    };
    if begins(V1) {
        return match memchr::memchr(b'\n', bytes) {
            Some(at) if at < V1_LONGEST => Ok(Extent::Whole(at + 1)),
            None if bytes.len() < V1_LONGEST => Ok(Extent::Open),
            _ => Err(NoIntroduction::TooLong),
        };
    }
    if !begins(V2) {
        return Err(NoIntroduction::Absent);
    }
    let Some([high, low]) = bytes.get(V2_FIXED - 2..V2_FIXED) else {
        return Ok(Extent::Open);
    };
    match V2_FIXED + usize::from(u16::from_be_bytes([*high, *low])) {
        length if length <= V2_LONGEST => Ok(Extent::Whole(length)),
        _ => Err(NoIntroduction::TooLong),
    }
}

fn parse(bytes: &[u8]) -> Result<Introduction, NoIntroduction> {
    let parsed = ProxyHeader::parse(bytes, ParseConfig::default());
    let (header, length) = parsed.map_err(|_| NoIntroduction::Malformed)?;
    if length != bytes.len() {
        return Err(NoIntroduction::Malformed);
    }
    Ok(match header.proxied_address() {
        Some(addresses) if addresses.protocol == Protocol::Stream => Introduction::Client {
            source: addresses.source,
            destination: addresses.destination,
            is_secure: header.ssl().is_some_and(|ssl| ssl.client_ssl()),
        },
        Some(_) => return Err(NoIntroduction::Malformed),
        None => Introduction::Itself,
    })
}

/// Appends a header for `client`, or for ourselves.
pub fn write_introduction(
    version: ProxyVersion,
    client: Option<(SocketAddr, SocketAddr)>,
    out: &mut Vec<u8>,
) {
    let header = match client {
        Some((source, destination)) => {
            let (source, destination) = one_family(source, destination);
            ProxyHeader::with_address(ProxiedAddress::stream(source, destination))
        }
        None => ProxyHeader::with_local(),
    };
    let written = match version {
        ProxyVersion::V1 => header.encode_v1(out),
        ProxyVersion::V2 => header.encode_v2(out),
    };
    debug_assert!(
        written.is_ok(),
        "both addresses are of one family, and there are no further fields"
    );
}

/// A header knows one family: an IPv4 address among IPv6 ones is written as such.
fn one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    let (source, destination) = (plain(source), plain(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        (source, destination)
    } else {
        (mapped(source), mapped(destination))
    }
}

/// Nobody's address: where a client connected to when that is not known.
#[must_use]
pub fn nowhere() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
    use std::net::Ipv6Addr;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    const BEHIND: &[u8] = b"GET / HTTP/1.1\r\n\r\nPROXY TCP4 and so on\r\n";

    /// What comes of `pieces`, sent one after the other, and what is left to read then.
    async fn sent(pieces: &[&[u8]]) -> (Result<Introduction, NoIntroduction>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut ours, _) = listener.accept().await.unwrap();
        client.set_nodelay(true).unwrap();
        let send = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        let (introduction, ()) = tokio::join!(introduction(&ours), send);
        let mut left = Vec::new();
        ours.read_to_end(&mut left).await.unwrap();
        (introduction, left)
    }

    fn written(version: ProxyVersion, client: Option<(&str, &str)>) -> Vec<u8> {
        let mut out = Vec::new();
        let parse = |text: &str| text.parse().unwrap();
        let client = client.map(|(source, destination)| (parse(source), parse(destination)));
        write_introduction(version, client, &mut out);
        out
    }

    #[tokio::test]
    async fn headers_of_both_versions_are_read_and_nothing_behind_them() {
        let four = Some(("192.0.2.1:4000", "198.51.100.2:443"));
        let six = Some(("[2001:db8::1]:4000", "[2001:db8::2]:443"));
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            for client in [four, six] {
                let header = written(version, client);
                let (source, destination) = client.unwrap();
                let wanted = Introduction::Client {
                    source: source.parse().unwrap(),
                    destination: destination.parse().unwrap(),
                    is_secure: false,
                };
                let (got, left) = sent(&[&[header.as_slice(), BEHIND].concat()]).await;
                assert_eq!(got.unwrap(), wanted);
                assert_eq!(left, BEHIND);
                let bytes: Vec<&[u8]> = header.chunks(1).chain([BEHIND]).collect();
                let (got, left) = sent(&bytes).await;
                assert_eq!(got.unwrap(), wanted, "byte by byte");
                assert_eq!(left, BEHIND);
            }
            let (got, left) = sent(&[&written(version, None), BEHIND]).await;
            assert_eq!(got.unwrap(), Introduction::Itself);
            assert_eq!(left, BEHIND);
        }
    }

    #[tokio::test]
    async fn a_balancer_that_ends_tls_says_so() {
        let mut header = ProxyHeader::with_address(ProxiedAddress::stream(
            "192.0.2.1:1".parse().unwrap(),
            "192.0.2.2:443".parse().unwrap(),
        ));
        header.append_tlv(proxy_header::Tlv::Ssl(proxy_header::SslInfo::new(
            true, false, false, 0,
        )));
        let mut bytes = Vec::new();
        header.encode_v2(&mut bytes).unwrap();
        let (got, _) = sent(&[&bytes]).await;
        assert!(
            matches!(
                got,
                Ok(Introduction::Client {
                    is_secure: true,
                    ..
                })
            ),
            "{got:?}"
        );
    }

    #[tokio::test]
    async fn what_is_no_header_is_told_apart() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        let huge = [V2, &[0x21, 0x11, 0xff, 0xff], &[0; 60]].concat();
        let udp = [V2, &[0x21, 0x12, 0, 12], &[1; 12]].concat();
        let short = [V2, &[0x21, 0x11, 0, 4], &[1; 4]].concat();
        for (bytes, wanted) in [
            (b"GET / HTTP/1.1\r\n\r\n".as_slice(), "does not begin"),
            (b"POST / HTTP/1.1\r\n\r\n", "does not begin"),
            (b"\r\nGET / HTTP/1.1\r\n\r\n", "does not begin"),
            (b"\x16\x03\x01\x02\x00\x01\x00", "does not begin"),
            (b"", "ended before"),
            (b"PROXY TCP4 192.0.2.1", "ended before"),
            (&V2[..7], "ended before"),
            (&huge[..20], "too long"),
            (&long, "too long"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "malformed"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 99999\r\n", "malformed"),
            (b"PROXY TCP4 ::1 ::1 1 2\r\n", "malformed"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", "malformed"),
            (b"PROXY HTTP 192.0.2.1 192.0.2.2 1 2\r\n", "malformed"),
            (&udp, "malformed"),
            (&short, "malformed"),
        ] {
            let (got, _) = sent(&[bytes]).await;
            let words = got.unwrap_err().to_string();
            assert!(words.contains(wanted), "{}: {words}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_client_of_the_other_family_is_written_all_the_same() {
        let mixed = written(ProxyVersion::V1, Some(("192.0.2.1:5", "[2001:db8::2]:443")));
        assert_eq!(mixed, b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 5 443\r\n");
        let same = written(
            ProxyVersion::V1,
            Some(("[::ffff:192.0.2.1]:5", "192.0.2.2:443")),
        );
        assert_eq!(same, b"PROXY TCP4 192.0.2.1 192.0.2.2 5 443\r\n");
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300), first in 0_usize..3) {
            let bytes = [[V1, V2, b""][first], &bytes].concat();
            if let Ok(Extent::Whole(length)) = extent(&bytes) {
                prop_assert!(length <= V2_LONGEST);
                let _ = parse(&bytes[..length.min(bytes.len())]);
            }
        }

        #[test]
        fn what_is_written_is_read(source in any::<u128>(), port in any::<u16>(), is_v1 in any::<bool>()) {
            let client = SocketAddr::new(Ipv6Addr::from_bits(source).into(), port);
            let (version, mut bytes) = (if is_v1 { ProxyVersion::V1 } else { ProxyVersion::V2 }, Vec::new());
            write_introduction(version, Some((client, nowhere())), &mut bytes);
            prop_assert_eq!(extent(&bytes).ok(), Some(Extent::Whole(bytes.len())));
            let Ok(Introduction::Client { source, .. }) = parse(&bytes) else { panic!("no client") };
            prop_assert_eq!((source.ip().to_canonical(), source.port()), (client.ip().to_canonical(), port));
        }
    }
}
