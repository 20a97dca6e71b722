//! A look at the first bytes of a small JSON answer: is it a JSON-RPC error that calls itself a success?
//!
//! It looks at what the upstream sent, where it lies, before anything is done with it, and delays nothing.
//! Only where the first bytes come in crumbs are some of them kept for the next look.

use super::answer::Exchange;
use super::fields::options;
use super::framing::Framing;
use super::response::ResponseHead;
use crate::config::Service as ServiceSettings;

/// What is looked at of a body, at most: the members of an answer, and the name of an error, come early.
const MOST: usize = 2048;
/// No answer that is longer holds an error.
const LONGEST: u64 = 1024 * 1024;

/// A look that has not come to its end.
#[derive(Debug, Default)]
pub(super) struct Peek {
    /// The crumbs so far.
    kept: Vec<u8>,
}

/// What the bytes say so far.
#[derive(Debug, PartialEq, Eq)]
enum Said<'b> {
    /// It is no error of JSON-RPC.
    Nothing,
    /// It is one; its name, where it has one.
    Error(Option<&'b [u8]>),
    /// More bytes may tell.
    Unfinished,
}

/// Whether an answer is worth a look: a success of JSON, as it is.
pub(super) fn peek(head: &ResponseHead<'_>, exchange: &Exchange<'_>) -> Option<Peek> {
    if !exchange.peeks || head.status != 200 {
        return None;
    }
    if matches!(head.framing, Framing::Length(length) if length > LONGEST) {
        return None;
    }
    let mut is_json = false;
    for (name, value) in head.fields() {
        match name.len() {
            12 if name.eq_ignore_ascii_case("content-type") => {
                const JSON: &[u8] = b"application/json";
                let start = value.get(..JSON.len());
                is_json = start.is_some_and(|start| start.eq_ignore_ascii_case(JSON));
            }
            16 if name.eq_ignore_ascii_case("content-encoding") && is_encoded(value) => {
                return None;
            }
            _ => {}
        }
    }
    is_json.then(Peek::default)
}

fn is_encoded(value: &[u8]) -> bool {
    options(value).any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

impl Peek {
    /// Looks at the next bytes of the body; none when there is nothing more to look for.
    pub(super) fn look(mut self, data: &[u8], exchange: &Exchange<'_>) -> Option<Self> {
        let first = self.kept.is_empty();
        if first && is_plain_result(data) {
            return None;
        }
        let bytes = if first {
            data.get(..MOST).unwrap_or(data)
        } else {
            let room = MOST - self.kept.len();
            self.kept
                .extend_from_slice(data.get(..room).unwrap_or(data));
            &self.kept
        };
        match scan(bytes) {
            Said::Nothing => None,
            Said::Error(name) => {
                note(name, exchange);
                None
            }
            Said::Unfinished if bytes.len() >= MOST => None,
            Said::Unfinished => {
                if first {
                    self.kept = bytes.to_vec();
                }
                Some(self)
            }
        }
    }
}

/// It counts, unless the operator has said that this one does not.
#[cold]
fn note(name: Option<&[u8]>, exchange: &Exchange<'_>) {
    let seat = exchange.flight.seat.borrow();
    let settings = seat.as_ref().map(|seat| &seat.ticket.service().settings);
    let ignored = settings.is_some_and(|settings| is_ignored(name, settings));
    if !ignored {
        exchange.record.rpc_error.set(true);
        let name = name.map(|name| String::from_utf8_lossy(name).into());
        exchange.record.error_name.replace(name);
    }
}

fn is_ignored(name: Option<&[u8]>, settings: &ServiceSettings) -> bool {
    let mut ignored = settings.watch.ignored_errors.iter();
    name.is_some_and(|name| ignored.any(|it| it.as_bytes() == name))
}

/// Nearly every answer of Odoo begins so: known at a glance.
fn is_plain_result(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(b"{\"jsonrpc\": \"2.0\", \"id\": ") else {
        return false;
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    rest[digits..].starts_with(b", \"result\": ")
}

/// One object, or the first of several: its members until one of them decides.
fn scan(bytes: &[u8]) -> Said<'_> {
    let mut text = Text { bytes, at: 0 };
    let mut is_rpc = false;
    // An error that was met before the answer said what it speaks.
    let mut error = None;
    let opening = match text.next() {
        Some(b'[') => text.next(),
        opening => opening,
    };
    match opening {
        Some(b'{') => {}
        Some(_) => return Said::Nothing,
        None => return Said::Unfinished,
    }
    loop {
        let Some(member) = text.member() else {
            return Said::Unfinished;
        };
        let Some((name, first)) = member else {
            return Said::Nothing;
        };
        match name {
            b"jsonrpc" => is_rpc = true,
            b"result" => return Said::Nothing,
            b"error" if first != b'n' => error = Some(text.at),
            b"error" | b"id" => {}
            // Whatever else it is: an answer of JSON-RPC does not begin like this.
            _ if !is_rpc && error.is_none() => return Said::Nothing,
            _ => {}
        }
        if is_rpc && let Some(at) = error {
            return named(&bytes[at..]);
        }
        if !text.skip() {
            return Said::Unfinished;
        }
        match text.next() {
            Some(b',') => {}
            Some(_) => return Said::Nothing,
            None => return Said::Unfinished,
        }
    }
}

/// The error, with the name in its data.
fn named(value: &[u8]) -> Said<'_> {
    const NAME: &[u8] = b"\"name\"";
    let mut whole = Text {
        bytes: value,
        at: 0,
    };
    let is_whole = whole.skip();
    let value = &value[..whole.at];
    let found = value.windows(NAME.len()).position(|window| window == NAME);
    let name = found.and_then(|at| {
        let mut text = Text {
            bytes: value,
            at: at + NAME.len(),
        };
        let is_text = text.next() == Some(b':') && text.next() == Some(b'"');
        is_text.then(|| text.string()).flatten()
    });
    match name {
        None if !is_whole && value.len() < MOST / 2 => Said::Unfinished,
        name => Said::Error(name),
    }
}

/// A place in a text of JSON. What is no JSON is passed over somehow: nobody relies on it.
struct Text<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Text<'b> {
    /// The next byte that is no space, and past it.
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
        }
    }

    /// The name of the next member and the first byte of its value, at which it stops. Some of none at the
    /// end of the object, and where there is no object; none when the bytes are over.
    #[allow(
        clippy::option_option,
        reason = "the end of an object and of the bytes"
    )]
    fn member(&mut self) -> Option<Option<(&'b [u8], u8)>> {
        if self.next()? != b'"' {
            return Some(None);
        }
        let name = self.string()?;
        if self.next()? != b':' {
            return Some(None);
        }
        let first = self.next()?;
        self.at -= 1;
        Some(Some((name, first)))
    }

    /// The rest of a string, past its end, as it is written.
    fn string(&mut self) -> Option<&'b [u8]> {
        let begun = self.at;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.bytes.get(begun..self.at - 1)
    }

    /// Past the value that begins here; false when the bytes are over before it is.
    fn skip(&mut self) -> bool {
        let mut depth = 0_u32;
        loop {
            let Some(byte) = self.next() else {
                return false;
            };
            match byte {
                b'"' if self.string().is_none() => {
                    self.at = self.bytes.len();
                    return false;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' | b',' if depth == 0 => {
                    // Of what is around it.
                    self.at -= 1;
                    return true;
                }
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    const RESULT: &str = r#"{"jsonrpc": "2.0", "id": 7, "result": {"error": {"a": 1}}}"#;
    const ERROR: &str = r#"{"jsonrpc": "2.0", "id": 7, "error": {"code": 200, "message": "Odoo Server Error", "data": {"name": "psycopg2.OperationalError", "message": "a \"name\": \"b\""}}}"#;

    fn error(name: &str) -> Said<'_> {
        Said::Error(Some(name.as_bytes()))
    }

    #[test]
    fn an_error_of_json_rpc_is_known_by_its_members_in_any_order() {
        let named = "psycopg2.OperationalError";
        assert_eq!(scan(ERROR.as_bytes()), error(named));
        for text in [
            r#"{"error":{"code":-32000},"jsonrpc":"2.0","id":null}"#,
            r#"{ "id" : "a\"}" ,"jsonrpc":"2.0", "error" : {"message":"}","code":1}, "x":[{}]}"#,
            r#"[{"jsonrpc":"2.0","id":1,"error":{}},{"jsonrpc":"2.0","id":2,"result":1}]"#,
            r#"{"jsonrpc":"2.0","debug":{"error":[1,{"x":"]"}]},"error":"text"}"#,
        ] {
            assert_eq!(scan(text.as_bytes()), Said::Error(None), "{text}");
        }
    }

    #[test]
    fn the_glance_takes_no_error_for_a_result() {
        assert!(is_plain_result(RESULT.as_bytes()));
        assert!(!is_plain_result(ERROR.as_bytes()));
        for end in 0..RESULT.find("{\"error").unwrap() {
            assert!(!is_plain_result(&RESULT.as_bytes()[..end]), "{end}");
        }
    }

    #[test]
    fn nothing_else_is_an_error() {
        for text in [
            RESULT,
            r#"{"result": null, "error": {"a": 1}, "jsonrpc": "2.0"}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":null}"#,
            r#"{"error":"invalid_grant","error_description":"x"}"#,
            r#"{"error":{"jsonrpc":"2.0"}}"#,
            r#"{"name":"x","error":{},"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            "[1,2,3]",
            "[]",
            "{}",
            "null",
            "\"error\"",
            "<html>",
            "}}}}",
        ] {
            assert_eq!(scan(text.as_bytes()), Said::Nothing, "{text}");
        }
    }

    #[test]
    fn half_an_answer_says_nothing_yet() {
        let until_named = ERROR.find("OperationalError").unwrap();
        for end in 0..until_named {
            assert_eq!(scan(&ERROR.as_bytes()[..end]), Said::Unfinished, "{end}");
        }
        let until_result = RESULT.find(": {").unwrap();
        for end in 0..until_result {
            assert_eq!(scan(&RESULT.as_bytes()[..end]), Said::Unfinished, "{end}");
        }
    }

    #[test]
    fn an_error_without_end_is_one_all_the_same() {
        let text = [
            ERROR.split("\"data\"").next().unwrap(),
            &"\"x\": 1, ".repeat(500),
        ]
        .concat();
        assert_eq!(scan(&text.as_bytes()[..MOST]), Said::Error(None));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = scan(&bytes);
        }

        #[test]
        fn what_serde_writes_is_understood(id in any::<u32>(), text in "\\PC{0,40}", failed in any::<bool>(), pretty in any::<bool>()) {
            let mut answer = serde_json::json!({"id": id, "jsonrpc": "2.0", "a": [text.clone(), {"error": 1}]});
            let member = if failed { "error" } else { "result" };
            answer[member] = serde_json::json!({"message": text, "data": {"name": "x.Error"}});
            let written = if pretty {
                serde_json::to_vec_pretty(&answer).unwrap()
            } else {
                serde_json::to_vec(&answer).unwrap()
            };
            let said = scan(&written);
            // What serde writes first depends on the alphabet: `a` comes before what makes it JSON-RPC.
            prop_assert!(matches!(said, Said::Nothing));
            let plain = String::from_utf8(written).unwrap().replacen("\"a\"", "\"id\"", 1);
            let said = scan(plain.as_bytes());
            prop_assert_eq!(said == Said::Error(Some(b"x.Error")), failed);
        }
    }
}
