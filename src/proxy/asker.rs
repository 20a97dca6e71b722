//! Who asks, for the answers of our own: read from a request's bytes only once something went wrong.

use super::request::MOST_FIELDS;
use serde::Deserialize;
use serde_json::Value;

/// What an answer of ours should look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Html,
    Json,
    JsonRpc,
    Text,
}

/// What is known of a request whose head may be one that is refused.
#[derive(Debug)]
pub(super) struct Asker {
    pub host: Vec<u8>,
    pub is_get: bool,
    pub is_head: bool,
    pub shape: Shape,
    /// Of the page that asks.
    pub origin: Option<Box<[u8]>>,
    /// X-Forwarded-Proto says so.
    pub is_https: bool,
    /// Of a JSON-RPC call; null where it is not known.
    pub call: Value,
}

/// Larger bodies are not looked into for the id of a call.
const LONGEST_CALL: usize = 64 * 1024;
/// Where a body that is not whole says that it is JSON-RPC.
const BEGINNING: usize = 1024;

/// What decides about the shape.
#[derive(Default)]
struct Words {
    html: u32,
    json: u32,
    is_script: bool,
    sends_json: bool,
    upgrades: bool,
}

impl Asker {
    /// `bytes` begin with the request's head; what follows may be of its body. None when it is no head.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut room = vec![httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut request = httparse::Request::new(&mut room);
        let httparse::Status::Complete(length) = request.parse(bytes).ok()? else {
            return None;
        };
        let method = request.method?;
        let path = request.path?;
        let mut words = Words::default();
        let mut host: &[u8] = b"";
        let (mut origin, mut is_https) = (None, false);
        for field in &*request.headers {
            match field.name.len() {
                4 if field.name.eq_ignore_ascii_case("host") => host = field.value,
                6 if field.name.eq_ignore_ascii_case("accept") => words.accepts(field.value),
                6 if field.name.eq_ignore_ascii_case("origin") => origin = Some(field.value.into()),
                7 if field.name.eq_ignore_ascii_case("upgrade") => words.upgrades = true,
                17 if field.name.eq_ignore_ascii_case("x-forwarded-proto") => {
                    is_https = field.value.eq_ignore_ascii_case(b"https");
                }
                12 if field.name.eq_ignore_ascii_case("content-type") => {
                    words.sends_json |= is_json(media_type(field.value));
                }
                16 if field.name.eq_ignore_ascii_case("x-requested-with") => {
                    words.is_script |= field.value.eq_ignore_ascii_case(b"xmlhttprequest");
                }
                _ => {}
            }
        }
        let mut asker = Self {
            host: name_of(host).to_vec(),
            is_get: method == "GET",
            is_head: method == "HEAD",
            shape: words.shape(),
            origin,
            is_https,
            call: Value::Null,
        };
        if method == "POST" && words.sends_json {
            asker.look_for_a_call(path, &bytes[length..]);
        }
        Some(asker)
    }

    /// JSON-RPC is JSON that says so, or that goes where Odoo expects it.
    fn look_for_a_call(&mut self, path: &str, body: &[u8]) {
        #[derive(Deserialize)]
        struct Call {
            #[serde(default)]
            jsonrpc: Value,
            #[serde(default)]
            id: Value,
        }
        let whole = (body.len() <= LONGEST_CALL).then(|| serde_json::from_slice::<Call>(body));
        let says_so = if let Some(Ok(call)) = whole {
            if matches!(call.id, Value::String(_) | Value::Number(_)) {
                self.call = call.id;
            }
            !call.jsonrpc.is_null()
        } else {
            let beginning = &body[..body.len().min(BEGINNING)];
            memchr::memmem::find(beginning, b"\"jsonrpc\"").is_some()
        };
        let path = path.split('?').next().unwrap_or(path);
        if says_so || path == "/jsonrpc" || path.starts_with("/web/dataset/") {
            self.shape = Shape::JsonRpc;
        }
    }
}

impl Words {
    /// Takes the weights of what we can write, in thousandths. A range such as `*/*` asks for nothing of its own.
    fn accepts(&mut self, value: &[u8]) {
        for item in value.split(|byte| *byte == b',') {
            let weight = weight(item);
            let kind = media_type(item);
            if kind.eq_ignore_ascii_case(b"text/html")
                || kind.eq_ignore_ascii_case(b"application/xhtml+xml")
            {
                self.html = self.html.max(weight);
            } else if is_json(kind) {
                self.json = self.json.max(weight);
            }
        }
    }

    fn shape(&self) -> Shape {
        if self.upgrades {
            // No browser shows what answers a handshake.
            return Shape::Text;
        }
        match (self.html, self.json) {
            (0, 0) if self.is_script || self.sends_json => Shape::Json,
            (0, 0) => Shape::Text,
            (html, json) if json > html => Shape::Json,
            _ => Shape::Html,
        }
    }
}

/// The host without its port.
fn name_of(host: &[u8]) -> &[u8] {
    if host.starts_with(b"[") {
        let end = memchr::memchr(b']', host).map_or(host.len(), |at| at + 1);
        return &host[..end];
    }
    host.split(|byte| *byte == b':').next().unwrap_or(host)
}

fn media_type(value: &[u8]) -> &[u8] {
    let first = value.split(|byte| *byte == b';').next();
    first.unwrap_or(value).trim_ascii()
}

fn is_json(kind: &[u8]) -> bool {
    kind.eq_ignore_ascii_case(b"application/json")
        || kind
            .last_chunk::<5>()
            .is_some_and(|end| end.eq_ignore_ascii_case(b"+json"))
}

/// 0 to 1000; what cannot be read weighs all.
fn weight(item: &[u8]) -> u32 {
    let parameters = item.split(|byte| *byte == b';').skip(1);
    let mut given = parameters.filter_map(|parameter| {
        let (name, value) = std::str::from_utf8(parameter).ok()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value)
    });
    let thousandths = |value: &str| {
        let value = value.trim().parse::<f32>().ok()?;
        // Between 0 and 1000, so nothing is lost.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        (0.0..=1.0)
            .contains(&value)
            .then_some((value * 1000.0) as u32)
    };
    given.next().and_then(thousandths).unwrap_or(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(line: &str, fields: &str, body: &str) -> Asker {
        let bytes = format!("{line} HTTP/1.1\r\nHost: Shop.example:8443\r\n{fields}\r\n{body}");
        Asker::read(bytes.as_bytes()).unwrap()
    }

    #[test]
    fn the_shape_is_what_the_asker_takes() {
        const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n";
        for (line, fields, body, shape) in [
            ("GET /", BROWSER, "", Shape::Html),
            ("GET /", "", "", Shape::Text),
            ("GET /", "Accept: */*\r\n", "", Shape::Text),
            ("GET /", "Accept: image/png,*/*\r\n", "", Shape::Text),
            ("GET /", "Accept: application/json\r\n", "", Shape::Json),
            (
                "GET /",
                "ACCEPT: application/problem+JSON;q=0.5\r\n",
                "",
                Shape::Json,
            ),
            (
                "GET /",
                "Accept: application/json;q=0.1, text/html;q=0.2\r\n",
                "",
                Shape::Html,
            ),
            (
                "GET /",
                "Accept: text/html;q=0.5\r\nAccept: application/json\r\n",
                "",
                Shape::Json,
            ),
            ("GET /", "Accept: text/html;q=0\r\n", "", Shape::Text),
            ("GET /", "Accept: text/html;q=x\r\n", "", Shape::Html),
            (
                "GET /",
                "Accept: */*\r\nX-Requested-With: XMLHttpRequest\r\n",
                "",
                Shape::Json,
            ),
            (
                "GET /",
                "Accept: text/html, */*; q=0.01\r\nX-Requested-With: XMLHttpRequest\r\n",
                "",
                Shape::Html,
            ),
            (
                "POST /api",
                "Content-Type: application/json; charset=utf-8\r\n",
                "{}",
                Shape::Json,
            ),
            (
                "POST /form",
                "Content-Type: application/x-www-form-urlencoded\r\n",
                "",
                Shape::Text,
            ),
            (
                "GET /ws",
                "Accept: text/html\r\nUpgrade: websocket\r\n",
                "",
                Shape::Text,
            ),
        ] {
            assert_eq!(asker(line, fields, body).shape, shape, "{line} {fields}");
        }
    }

    #[test]
    fn a_json_rpc_call_is_one_by_its_path_or_by_its_words_and_keeps_its_id() {
        const JSON: &str = "Content-Type: application/json\r\n";
        for (line, body, shape, call) in [
            (
                "POST /any",
                r#"{"jsonrpc":"2.0","id":7,"params":{}}"#,
                Shape::JsonRpc,
                Value::from(7),
            ),
            (
                "POST /any",
                r#"{"id":"a-b","jsonrpc":"2.0"}"#,
                Shape::JsonRpc,
                Value::from("a-b"),
            ),
            (
                "POST /any",
                r#"{"jsonrpc":"2.0","id":{"x":1}}"#,
                Shape::JsonRpc,
                Value::Null,
            ),
            (
                "POST /any",
                r#"{"jsonrpc": "2.0", "method": "ca"#,
                Shape::JsonRpc,
                Value::Null,
            ),
            ("POST /jsonrpc", "", Shape::JsonRpc, Value::Null),
            (
                "POST /web/dataset/call_kw/res.partner/read?x",
                r#"{"id":3}"#,
                Shape::JsonRpc,
                Value::from(3),
            ),
            ("POST /any", r#"{"id":3}"#, Shape::Json, Value::from(3)),
            (
                "POST /any",
                r#"[{"jsonrpc":"2.0","id":1}]"#,
                Shape::JsonRpc,
                Value::Null,
            ),
            ("GET /jsonrpc", "", Shape::Json, Value::Null),
        ] {
            let asker = asker(line, JSON, body);
            assert_eq!((asker.shape, &asker.call), (shape, &call), "{line} {body}");
        }
        let form = asker("POST /jsonrpc", "", r#"{"jsonrpc":"2.0"}"#);
        assert_eq!(form.shape, Shape::Text);
    }

    #[test]
    fn the_host_is_known_without_its_port() {
        assert_eq!(asker("GET /", "", "").host, b"Shop.example");
        assert_eq!(name_of(b"[::1]:80"), b"[::1]");
    }

    #[test]
    fn what_is_no_head_has_no_asker() {
        assert!(Asker::read(b"GET / HTTP/1.1\r\nHost: a\r\n").is_none());
        assert!(Asker::read(b"\x16\x03\x01\x02").is_none());
        assert!(Asker::read(b"").is_none());
    }
}
