//! What is judged of a request.

use super::path::Path;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Instant;

/// One request, by its head.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The peer, or whom a proxy that is trusted names.
    pub client: IpAddr,
    pub method: &'a str,
    pub path: Path<'a>,
    pub fields: &'a [httparse::Header<'a>],
    pub now: Instant,
    /// Whose counters count it.
    pub worker: usize,
}

impl<'a> Asked<'a> {
    /// The values of all fields of this name, in order.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.fields.iter();
        fields
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// The value of the first cookie of this name that has one.
    pub(super) fn cookie(&self, name: &str) -> Option<&'a [u8]> {
        let pairs = self
            .values("cookie")
            .flat_map(|line| line.split(|byte| *byte == b';'));
        pairs
            .filter_map(|pair| {
                let at = memchr::memchr(b'=', pair)?;
                Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
            })
            .find(|(known, value)| *known == name.as_bytes() && !value.is_empty())
            .map(|(_, value)| value)
    }
}

/// Addresses that have their first bits in common are one client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neighbours {
    pub(super) ipv4_prefix: u8,
    pub(super) ipv6_prefix: u8,
}

impl Neighbours {
    /// One customer of an access provider: an address, or the network that IPv6 gives to a household.
    pub(super) const HOUSEHOLD: Self = Self {
        ipv4_prefix: 32,
        ipv6_prefix: 64,
    };

    /// The same for all neighbours; nobody outside can tell whose else it is.
    pub(super) fn hash(self, client: IpAddr, seed: &impl BuildHasher) -> u64 {
        match client.to_canonical() {
            IpAddr::V4(ip) => {
                let away = 32 - u32::from(self.ipv4_prefix);
                seed.hash_one(ip.to_bits().checked_shr(away).unwrap_or(0))
            }
            IpAddr::V6(ip) => {
                let away = 128 - u32::from(self.ipv6_prefix);
                seed.hash_one(ip.to_bits().checked_shr(away).unwrap_or(0))
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::hash::RandomState;

    /// A GET of `/` from `client`.
    pub(in super::super) fn asked<'a>(
        client: &str,
        fields: &'a [httparse::Header<'a>],
    ) -> Asked<'a> {
        Asked {
            client: client.parse().unwrap(),
            method: "GET",
            path: Path::of("/"),
            fields,
            now: Instant::now(),
            worker: 0,
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let field = |value| httparse::Header {
            name: "Cookie",
            value,
        };
        let fields = [
            field(b"a=1; session_id=; xsession_id=no"),
            field(b" session_id = yes=1 ;b"),
        ];
        let asked = asked("10.0.0.1", &fields);
        assert_eq!(asked.cookie("session_id"), Some(&b"yes=1"[..]));
        assert_eq!(asked.cookie("a"), Some(&b"1"[..]));
        assert_eq!(asked.cookie("b"), None);
        assert_eq!(asked.cookie("Session_Id"), None);
    }

    #[test]
    fn neighbours_are_one_client() {
        let seed = RandomState::new();
        let same = |prefixes: (u8, u8), a: &str, b: &str| {
            let neighbours = Neighbours {
                ipv4_prefix: prefixes.0,
                ipv6_prefix: prefixes.1,
            };
            let hash = |text: &str| neighbours.hash(text.parse().unwrap(), &seed);
            hash(a) == hash(b)
        };
        assert!(same((24, 64), "192.0.2.1", "192.0.2.254"));
        assert!(!same((24, 64), "192.0.2.1", "192.0.3.1"));
        assert!(!same((32, 64), "192.0.2.1", "192.0.2.2"));
        assert!(same((32, 64), "192.0.2.1", "::ffff:192.0.2.1"));
        assert!(same((32, 64), "2001:db8::1", "2001:db8::ffff:0:0:1"));
        assert!(!same((32, 64), "2001:db8::1", "2001:db8:0:1::1"));
        assert!(same((0, 0), "1.2.3.4", "5.6.7.8") && same((0, 0), "::1", "ff::"));
        assert!(!same((0, 0), "0.0.0.0", "::1"), "families stay apart");
    }
}
