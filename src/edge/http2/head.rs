//! A request of HTTP/2 as the head of one of HTTP/1.1, for the engine to judge.
//!
//! Strict where the two differ: whatever would mean something else on the other side, or end a line there,
//! makes the request malformed. What only the engine can judge (hosts, limits, methods) is left to it.

use super::upload::Upload;
use crate::net::Buffer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::header;
use http::request::Parts;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A request that has no equal in HTTP/1.1; the text says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// What the request's own stream has to know of it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) upload: Upload,
    pub(super) is_head: bool,
    /// RFC 8441: the Sec-WebSocket-Accept that the upstream has to answer with.
    pub(super) accept: Option<String>,
}

/// Writes the head into `input`. `is_ended` says that no body follows.
pub(super) fn write(parts: &Parts, is_ended: bool, input: &mut Buffer) -> Result<Asked, Malformed> {
    let protocol = parts.extensions.get::<h2::ext::Protocol>();
    let is_websocket = protocol.is_some_and(|protocol| protocol.as_str() == "websocket");
    let method = if is_websocket {
        &Method::GET
    } else {
        &parts.method
    };
    input.append(method.as_str().as_bytes());
    input.append(b" ");
    write_target(parts, is_websocket, input)?;
    input.append(b" HTTP/1.1\r\n");
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    if let Some(authority) = authority {
        line(b"host", plain(authority.as_bytes())?, input);
    }
    write_fields(&parts.headers, authority, is_websocket, input)?;
    let mut accept = None;
    let upload = if is_websocket {
        let key = BASE64.encode(fastrand::u128(..).to_be_bytes());
        accept = Some(derive_accept_key(key.as_bytes()));
        input.append(b"connection: upgrade\r\nupgrade: websocket\r\n");
        line(b"sec-websocket-key", key.as_bytes(), input);
        Upload::Tunnel
    } else if parts.headers.contains_key(header::CONTENT_LENGTH) {
        if is_ended { Upload::None } else { Upload::Raw }
    } else if is_ended {
        Upload::None
    } else {
        input.append(b"transfer-encoding: chunked\r\n");
        Upload::Chunked
    };
    input.append(b"\r\n");
    Ok(Asked {
        upload,
        is_head: parts.method == Method::HEAD,
        accept,
    })
}

/// The origin form; another form where the engine has to see that it is not one.
fn write_target(parts: &Parts, is_websocket: bool, input: &mut Buffer) -> Result<(), Malformed> {
    let uri = &parts.uri;
    if parts.method == Method::CONNECT && !is_websocket {
        // The engine refuses it by its method.
        let authority = uri.authority().map_or("*", http::uri::Authority::as_str);
        input.append(plain(authority.as_bytes())?);
        return Ok(());
    }
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    if path.is_empty() {
        return Err(Malformed("it has no :path"));
    }
    if let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority())
        && scheme != "http"
        && scheme != "https"
    {
        for part in [scheme, "://", authority.as_str()] {
            input.append(plain(part.as_bytes())?);
        }
    }
    input.append(plain(path.as_bytes())?);
    Ok(())
}

fn write_fields(
    fields: &HeaderMap,
    authority: Option<&str>,
    is_websocket: bool,
    input: &mut Buffer,
) -> Result<(), Malformed> {
    let mut cookies_written = false;
    for (name, value) in fields {
        let value = one_line(value)?;
        if is_of_connection(name) || (name == header::TE && value != b"trailers") {
            return Err(Malformed("it has a field that is about one connection"));
        }
        if name == header::COOKIE {
            if !cookies_written {
                cookies_written = true;
                write_cookies(fields, input)?;
            }
            continue;
        }
        let is_told = match *name {
            // Said by :authority already; where the two differ the engine sees two of them.
            header::HOST => {
                authority.is_some_and(|known| known.as_bytes().eq_ignore_ascii_case(value))
            }
            header::CONTENT_LENGTH | header::SEC_WEBSOCKET_KEY => is_websocket,
            _ => false,
        };
        if !is_told {
            line(name.as_str().as_bytes(), value, input);
        }
    }
    Ok(())
}

/// A browser may cut its cookies into several fields; an application may know one only (RFC 9113, section 8.2.3).
fn write_cookies(fields: &HeaderMap, input: &mut Buffer) -> Result<(), Malformed> {
    let mut before: &[u8] = b"cookie: ";
    for value in fields.get_all(header::COOKIE) {
        input.append(before);
        input.append(one_line(value)?);
        before = b"; ";
    }
    input.append(b"\r\n");
    Ok(())
}

/// These are about a connection that is not there (RFC 9113, section 8.2.2).
pub(super) fn is_of_connection(name: &HeaderName) -> bool {
    match *name {
        header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE => true,
        _ => matches!(
            name.as_str(),
            "keep-alive" | "proxy-connection" | "http2-settings"
        ),
    }
}

/// The types promise it; this is where a request could become two if they did not.
pub(super) fn one_line(value: &HeaderValue) -> Result<&[u8], Malformed> {
    let value = value.as_bytes();
    if memchr::memchr3(b'\r', b'\n', 0, value).is_some() {
        return Err(Malformed("a value holds a line break"));
    }
    Ok(value)
}

/// Neither space nor control byte: it stands in a line of three words.
fn plain(text: &[u8]) -> Result<&[u8], Malformed> {
    if text.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return Err(Malformed("a word of its first line holds a space"));
    }
    Ok(text)
}

fn line(name: &[u8], value: &[u8], input: &mut Buffer) {
    input.append(name);
    input.append(b": ");
    input.append(value);
    input.append(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::FieldRoom;
    use crate::proxy::HeadLimits;
    use crate::proxy::MOST_FIELDS;
    use crate::proxy::RequestHead;
    use http::Request;
    use proptest::prelude::*;

    fn written(request: http::request::Builder, is_ended: bool) -> Result<String, Malformed> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mut input = Buffer::default();
        write(&parts, is_ended, &mut input)?;
        Ok(String::from_utf8_lossy(input.bytes()).into_owned())
    }

    #[test]
    fn a_request_becomes_a_head_with_its_host_and_one_cookie_line() {
        let request = Request::get("https://shop.test/a?b=c")
            .header("cookie", "a=1")
            .header("x-one", "1")
            .header("cookie", "session_id=x; b=2")
            .header("x_two", "2")
            .header("cookie", "c=3");
        assert_eq!(
            written(request, true).unwrap(),
            "GET /a?b=c HTTP/1.1\r\nhost: shop.test\r\ncookie: a=1; session_id=x; b=2; c=3\r\nx-one: 1\r\nx_two: 2\r\n\r\n"
        );
    }

    /// What the types let through, with what means something in HTTP/1.1 more often than by chance.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            any::<u8>(),
            prop::sample::select(&b" :\t,;/?#%\"'(){}[]<>@=&\xa0\xff"[..])
        ];
        prop::collection::vec(byte, 0..12)
    }

    fn name() -> impl Strategy<Value = String> {
        const KNOWN: [&str; 14] = [
            "host",
            "content-length",
            "te",
            "expect",
            "cookie",
            "trailer",
            "x_y",
            "date",
            "via",
            "x-forwarded-for",
            "transfer-encoding",
            "connection",
            "upgrade",
            "http2-settings",
        ];
        prop_oneof![
            prop::sample::select(&KNOWN[..]).prop_map(str::to_owned),
            "[a-z!#$%&'*+.^_`|~0-9-]{1,8}"
        ]
    }

    proptest! {
        #[test]
        fn whatever_the_types_let_through_is_one_request_and_no_more(
            path in text(),
            method in text(),
            fields in prop::collection::vec((name(), text()), 0..8),
            is_ended in any::<bool>(),
        ) {
            let target = [b"/", &path[..]].concat();
            let mut request = Request::builder().uri(&target[..]).header("host", "a");
            if !method.is_empty() {
                request = request.method(&method[..]);
            }
            for (name, value) in &fields {
                request = request.header(name, &value[..]);
            }
            let Ok(request) = request.body(()) else { return Ok(()) };
            let (parts, ()) = request.into_parts();
            let mut input = Buffer::default();
            let Ok(_) = write(&parts, is_ended, &mut input) else { return Ok(()) };
            let bytes = input.bytes();
            let end = memchr::memmem::find(bytes, b"\r\n\r\n").unwrap() + 4;
            prop_assert_eq!(end, bytes.len(), "a second request behind it");
            let lines = bytes.split(|byte| *byte == b'\n').count() - 2;
            prop_assert!(lines <= 2 + parts.headers.len(), "a line more than fields");
            let mut room: FieldRoom<'_> = [const { std::mem::MaybeUninit::uninit() }; MOST_FIELDS];
            let limits = HeadLimits { bytes: 65_536, fields: 100 };
            // The engine may refuse it, but it never waits for more of it.
            if let Ok(head) = RequestHead::read(bytes, &mut room, limits) {
                let head = head.expect("a whole head");
                prop_assert_eq!(head.length, bytes.len());
                prop_assert_eq!(head.method, parts.method.as_str());
                prop_assert_eq!(head.target, parts.uri.path_and_query().unwrap().as_str());
            }
        }
    }

    #[test]
    fn a_body_of_unknown_length_is_chunked_and_a_known_one_is_not() {
        let chunked = written(Request::post("https://a/"), false).unwrap();
        assert!(
            chunked.ends_with("transfer-encoding: chunked\r\n\r\n"),
            "{chunked}"
        );
        let counted = Request::post("https://a/").header("content-length", "5");
        let counted = written(counted, false).unwrap();
        assert!(counted.ends_with("content-length: 5\r\n\r\n"), "{counted}");
    }

    #[test]
    fn a_host_beside_the_authority_is_told_once_or_left_to_be_refused() {
        let same = Request::get("https://Shop.test/").header("host", "shop.TEST");
        assert_eq!(
            written(same, true).unwrap(),
            "GET / HTTP/1.1\r\nhost: Shop.test\r\n\r\n"
        );
        let other = Request::get("https://shop.test/").header("host", "evil.test");
        assert_eq!(
            written(other, true).unwrap(),
            "GET / HTTP/1.1\r\nhost: shop.test\r\nhost: evil.test\r\n\r\n"
        );
        let alone = Request::get("/").header("host", "shop.test");
        assert_eq!(
            written(alone, true).unwrap(),
            "GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n"
        );
    }

    #[test]
    fn fields_about_a_connection_make_a_request_malformed() {
        for (name, value) in [
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("te", "gzip"),
        ] {
            let request = Request::get("https://a/").header(name, value);
            assert!(written(request, true).is_err(), "{name}");
        }
        let trailers = Request::get("https://a/").header("te", "trailers");
        assert!(
            written(trailers, true)
                .unwrap()
                .contains("te: trailers\r\n")
        );
    }

    #[test]
    fn a_websocket_becomes_an_upgrade_with_a_key_of_ours() {
        let request = Request::connect("https://a/ws?x=1")
            .extension(h2::ext::Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "theirs")
            .header("origin", "https://a");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mut input = Buffer::default();
        let asked = write(&parts, false, &mut input).unwrap();
        let head = String::from_utf8_lossy(input.bytes()).into_owned();
        let start = "GET /ws?x=1 HTTP/1.1\r\nhost: a\r\nsec-websocket-version: 13\r\norigin: https://a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ";
        let key = head.strip_prefix(start).unwrap().trim_end();
        assert_eq!(BASE64.decode(key).unwrap().len(), 16);
        assert_eq!(asked.accept, Some(derive_accept_key(key.as_bytes())));
        assert_eq!(asked.upload, Upload::Tunnel);
    }

    #[test]
    fn a_plain_connect_another_protocol_or_scheme_is_left_to_be_refused() {
        let connect = Request::connect("a:443");
        assert_eq!(
            written(connect, false).unwrap().lines().next(),
            Some("CONNECT a:443 HTTP/1.1")
        );
        let other = Request::connect("https://a/x")
            .extension(h2::ext::Protocol::from_static("connect-udp"));
        assert_eq!(
            written(other, false).unwrap().lines().next(),
            Some("CONNECT a HTTP/1.1")
        );
        let ftp = Request::get("ftp://a/x");
        assert_eq!(
            written(ftp, true).unwrap().lines().next(),
            Some("GET ftp://a/x HTTP/1.1")
        );
        let options = Request::options("*").header("host", "a");
        assert_eq!(
            written(options, true).unwrap().lines().next(),
            Some("OPTIONS * HTTP/1.1")
        );
    }
}
