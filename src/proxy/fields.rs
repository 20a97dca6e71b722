//! What a header field is to a proxy: found by its name, in one look per field.

/// The fields that a proxy treats in a way of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    /// Passes untouched.
    Other,
    /// Its name holds `_`: an upstream may take it for another name with `-`.
    Underscore,
    Host,
    Connection,
    /// Hop by hop, whatever Connection says: Keep-Alive, Proxy-Connection, Proxy-Authenticate, ...
    HopByHop,
    Te,
    TransferEncoding,
    ContentLength,
    Upgrade,
    Expect,
    Date,
    ForwardedFor,
    ForwardedHost,
    ForwardedProto,
    ForwardedPort,
    /// RFC 7239; believed from nobody but trusted proxies.
    Forwarded,
    RealIp,
    /// What a client's certificate says: ours to tell, and believed from nobody. Proxies that do not know
    /// the names pass on what clients make up.
    ClientCertificate,
    RequestId,
    UserAgent,
    /// X-Accel-Redirect and X-Sendfile: between an upstream and its proxy, for nobody else.
    SendFile,
    Referer,
    Authorization,
}

/// Looks a field name up, in any case.
#[must_use]
pub(super) fn classify(name: &str) -> Field {
    let is = |known: &str, field| {
        if name.eq_ignore_ascii_case(known) {
            field
        } else {
            fallback(name)
        }
    };
    match name.len() {
        2 => is("te", Field::Te),
        4 if name.as_bytes()[0] | 0x20 == b'h' => is("host", Field::Host),
        4 => is("date", Field::Date),
        6 => is("expect", Field::Expect),
        7 if name.as_bytes()[0] | 0x20 == b'u' => is("upgrade", Field::Upgrade),
        7 => is("referer", Field::Referer),
        9 if name.as_bytes()[0] | 0x20 == b'f' => is("forwarded", Field::Forwarded),
        9 => is("x-real-ip", Field::RealIp),
        10 if name.as_bytes()[0] | 0x20 == b'c' => is("connection", Field::Connection),
        10 if name.as_bytes()[0] | 0x20 == b'k' => is("keep-alive", Field::HopByHop),
        10 if name.as_bytes()[0] | 0x20 == b'x' => is("x-sendfile", Field::SendFile),
        10 => is("user-agent", Field::UserAgent),
        12 => is("x-request-id", Field::RequestId),
        13 => is("authorization", Field::Authorization),
        14 => is("content-length", Field::ContentLength),
        15 if name.as_bytes()[2] | 0x20 == b'f' => is("x-forwarded-for", Field::ForwardedFor),
        15 => is("x-client-verify", Field::ClientCertificate),
        16 if name.as_bytes()[0] | 0x20 == b'p' => is("proxy-connection", Field::HopByHop),
        16 if name.as_bytes()[2] | 0x20 == b'a' => is("x-accel-redirect", Field::SendFile),
        16 if name.as_bytes()[14] | 0x20 == b's' => is("x-forwarded-host", Field::ForwardedHost),
        16 if name.as_bytes()[2] | 0x20 == b'f' => is("x-forwarded-port", Field::ForwardedPort),
        16 => is("x-client-subject", Field::ClientCertificate),
        17 if name.as_bytes()[0] | 0x20 == b't' => is("transfer-encoding", Field::TransferEncoding),
        17 => is("x-forwarded-proto", Field::ForwardedProto),
        18 => is("proxy-authenticate", Field::HopByHop),
        19 => is("proxy-authorization", Field::HopByHop),
        20 => is("x-client-fingerprint", Field::ClientCertificate),
        _ => fallback(name),
    }
}

fn fallback(name: &str) -> Field {
    match memchr::memchr(b'_', name.as_bytes()) {
        Some(_) => Field::Underscore,
        None => Field::Other,
    }
}

/// The names and options listed in all Connection fields of a message.
#[derive(Debug, Default, Clone, Copy)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "what one list names, each for itself"
)]
pub struct Connection {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    /// It names fields of its own, which are hop by hop then.
    pub names_others: bool,
}

impl Connection {
    pub fn add(&mut self, value: &[u8]) {
        for option in options(value) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.close = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                0 => {}
                _ => self.names_others = true,
            }
        }
    }
}

/// The members of a comma-separated list, trimmed; empty ones included.
pub(super) fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_field_is_found_in_any_case_and_its_neighbours_are_not() {
        for (name, field) in [
            ("x-sendfile", Field::SendFile),
            ("x-accel-redirect", Field::SendFile),
            ("te", Field::Te),
            ("host", Field::Host),
            ("date", Field::Date),
            ("expect", Field::Expect),
            ("upgrade", Field::Upgrade),
            ("referer", Field::Referer),
            ("forwarded", Field::Forwarded),
            ("x-real-ip", Field::RealIp),
            ("connection", Field::Connection),
            ("keep-alive", Field::HopByHop),
            ("user-agent", Field::UserAgent),
            ("x-request-id", Field::RequestId),
            ("authorization", Field::Authorization),
            ("content-length", Field::ContentLength),
            ("x-forwarded-for", Field::ForwardedFor),
            ("proxy-connection", Field::HopByHop),
            ("x-forwarded-host", Field::ForwardedHost),
            ("x-forwarded-port", Field::ForwardedPort),
            ("x-client-verify", Field::ClientCertificate),
            ("x-client-subject", Field::ClientCertificate),
            ("x-client-fingerprint", Field::ClientCertificate),
            ("transfer-encoding", Field::TransferEncoding),
            ("x-forwarded-proto", Field::ForwardedProto),
            ("proxy-authenticate", Field::HopByHop),
            ("proxy-authorization", Field::HopByHop),
        ] {
            assert_eq!(classify(name), field, "{name}");
            assert_eq!(classify(&name.to_ascii_uppercase()), field, "{name}");
            assert_eq!(classify(&format!("{name}x")), Field::Other, "{name}x");
            if name.contains('-') {
                assert_eq!(
                    classify(&name.replace('-', "_")),
                    Field::Underscore,
                    "{name} with _"
                );
            }
        }
    }

    #[test]
    fn connection_options_are_read_over_several_fields() {
        let mut connection = Connection::default();
        connection.add(b"Keep-Alive , ,x-secret");
        connection.add(b"CLOSE");
        assert!(
            connection.close
                && connection.keep_alive
                && connection.names_others
                && !connection.upgrade
        );
    }
}
