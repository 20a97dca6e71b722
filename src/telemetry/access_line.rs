//! The two shapes of an access log line.

use super::access_log::AccessRecord;
use super::stamp::Stamp;
use super::stamp::digits3;
use std::time::Duration;

/// One JSON object and a newline. Durations are milliseconds.
pub(super) fn json(record: &AccessRecord<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    stamp.rfc3339(out);
    out.extend_from_slice(b"\",\"client\":\"");
    escaped(record.client.as_bytes(), out);
    out.extend_from_slice(b"\",\"protocol\":\"");
    out.extend_from_slice(record.protocol.as_str().as_bytes());
    out.extend_from_slice(b"\",\"method\":\"");
    escaped(record.method.as_bytes(), out);
    out.extend_from_slice(b"\",\"host\":\"");
    escaped(record.host, out);
    out.extend_from_slice(b"\",\"path\":\"");
    escaped(record.target, out);
    out.extend_from_slice(b"\",\"status\":");
    number(u64::from(record.status), out);
    out.extend_from_slice(b",\"bytes_in\":");
    number(record.bytes_in, out);
    out.extend_from_slice(b",\"bytes_out\":");
    number(record.bytes_out, out);
    out.extend_from_slice(b",\"took_ms\":");
    millis(record.took, out);
    out.extend_from_slice(b",\"service\":\"");
    out.extend_from_slice(record.service.as_bytes());
    out.extend_from_slice(b"\",\"slot\":\"");
    out.extend_from_slice(record.slot.as_bytes());
    out.extend_from_slice(b"\",\"endpoint\":\"");
    escaped(record.endpoint.as_bytes(), out);
    out.extend_from_slice(b"\",\"upstream_ms\":");
    match record.upstream {
        Some(took) => millis(took, out),
        None => out.extend_from_slice(b"null"),
    }
    if !record.user.is_empty() {
        out.extend_from_slice(b",\"user\":\"");
        escaped(record.user, out);
        out.push(b'"');
    }
    out.extend_from_slice(b",\"queued_ms\":");
    millis(record.queued, out);
    if !record.held.is_zero() {
        out.extend_from_slice(b",\"held_ms\":");
        millis(record.held, out);
    }
    out.extend_from_slice(b",\"request_id\":\"");
    escaped(record.request_id.as_bytes(), out);
    out.extend_from_slice(b"\",\"fault\":");
    word(record.fault, out);
    out.extend_from_slice(b",\"cache\":");
    word(record.cache, out);
    if let Some(closed) = record.closed {
        out.extend_from_slice(b",\"closed\":\"");
        out.extend_from_slice(closed.as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b"}\n");
}

/// A word of ours, or null.
fn word(word: Option<&str>, out: &mut Vec<u8>) {
    match word {
        Some(word) => {
            out.push(b'"');
            out.extend_from_slice(word.as_bytes());
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// `combined`, with slot, endpoint, milliseconds, request id, fault and milliseconds in line behind it.
pub(super) fn combined(record: &AccessRecord<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
    let or_dash = |text: &[u8], out: &mut Vec<u8>| match text {
        b"" => out.push(b'-'),
        text => escaped(text, out),
    };
    or_dash(record.client.as_bytes(), out);
    out.extend_from_slice(b" - ");
    or_dash(record.user, out);
    out.extend_from_slice(b" [");
    stamp.clf(out);
    out.extend_from_slice(b"] \"");
    or_dash(record.method.as_bytes(), out);
    out.push(b' ');
    or_dash(record.target, out);
    out.push(b' ');
    out.extend_from_slice(record.protocol.version().as_bytes());
    out.extend_from_slice(b"\" ");
    number(u64::from(record.status), out);
    out.push(b' ');
    number(record.bytes_out, out);
    out.extend_from_slice(b" \"");
    or_dash(record.referer, out);
    out.extend_from_slice(b"\" \"");
    or_dash(record.agent, out);
    out.extend_from_slice(b"\" ");
    or_dash(record.slot.as_bytes(), out);
    out.push(b' ');
    or_dash(record.endpoint.as_bytes(), out);
    out.push(b' ');
    millis(record.took, out);
    out.push(b' ');
    escaped(record.request_id.as_bytes(), out);
    out.push(b' ');
    or_dash(record.fault.unwrap_or_default().as_bytes(), out);
    out.push(b' ');
    millis(record.queued, out);
    out.push(b'\n');
}

fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn millis(took: Duration, out: &mut Vec<u8>) {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    number(micros / 1000, out);
    out.push(b'.');
    digits3(micros % 1000, out);
}

/// As the inside of a JSON string; what is not UTF-8 is shown as U+FFFD.
fn escaped(text: &[u8], out: &mut Vec<u8>) {
    // All of them without a branch for each: this is done sixteen at a time.
    let is_odd = |byte: u8| {
        u8::from(byte < b' ')
            | u8::from(byte > b'~')
            | u8::from(byte == b'"')
            | u8::from(byte == b'\\')
    };
    if text.iter().fold(0, |odd, byte| odd | is_odd(*byte)) == 0 {
        out.extend_from_slice(text);
        return;
    }
    for char in String::from_utf8_lossy(text).chars() {
        match char {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            // A terminal may take those beyond ASCII for commands too.
            char if char.is_control() => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(char)).as_bytes());
            }
            _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::access_log::Protocol;
    use super::*;

    pub(in super::super) fn record() -> AccessRecord<'static> {
        AccessRecord {
            client: "192.0.2.7",
            protocol: Protocol::Http2,
            method: "GET",
            target: b"/a?q=\"x\\\n\xff",
            host: b"erp.example.com",
            referer: b"",
            agent: b"curl/8 \"quoted\"",
            status: 504,
            bytes_in: 0,
            bytes_out: 12,
            took: Duration::from_micros(2_000_042),
            upstream: None,
            queued: Duration::from_millis(1500),
            held: Duration::from_millis(2500),
            service: "odoo",
            slot: "blue",
            endpoint: "127.0.0.1:8069",
            request_id: "ab-cd",
            fault: Some("timeout-first-byte"),
            cache: None,
            user: b"",
            closed: None,
        }
    }

    #[test]
    fn a_json_line_is_json_whatever_the_client_sent() {
        let mut line = Vec::new();
        json(&record(), &mut Stamp::default(), &mut line);
        assert!(line.ends_with(b"}\n"));
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["path"], "/a?q=\"x\\\n\u{fffd}");
        assert_eq!(value["took_ms"], 2000.042);
        assert_eq!(value["upstream_ms"], serde_json::Value::Null);
        assert_eq!(value["queued_ms"], 1500.0);
        assert_eq!(value["held_ms"], 2500.0);
        assert_eq!(value["fault"], "timeout-first-byte");
        assert_eq!(value["request_id"], "ab-cd");
        assert_eq!(value["protocol"], "h2");
        assert_eq!(value.get("closed"), None);
    }

    #[test]
    fn a_websocket_that_was_closed_from_here_says_why() {
        let mut line = Vec::new();
        let closed = Some("moved");
        json(
            &AccessRecord { closed, ..record() },
            &mut Stamp::default(),
            &mut line,
        );
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["closed"], "moved");
    }

    #[test]
    fn a_user_stands_where_other_servers_write_it() {
        let record = AccessRecord {
            user: b"an na\"",
            ..record()
        };
        let (mut line, mut object) = (Vec::new(), Vec::new());
        combined(&record, &mut Stamp::default(), &mut line);
        assert!(
            line.starts_with(b"192.0.2.7 - an na\\\" ["),
            "{}",
            line.escape_ascii()
        );
        json(&record, &mut Stamp::default(), &mut object);
        let value: serde_json::Value = serde_json::from_slice(&object).unwrap();
        assert_eq!(value["user"], "an na\"");
    }

    #[test]
    fn a_line_holds_no_command_for_a_terminal() {
        let mut line = Vec::new();
        let target = "/\u{9b}31m\u{1b}[2J\u{e9}".as_bytes();
        let record = AccessRecord { target, ..record() };
        json(&record, &mut Stamp::default(), &mut line);
        combined(&record, &mut Stamp::default(), &mut line);
        let line = String::from_utf8(line).unwrap();
        assert!(
            line.chars().all(|c| c == '\n' || !c.is_control()),
            "{line:?}"
        );
        assert!(line.contains(r"/\u009b31m\u001b[2Jé"), "{line}");
    }

    #[test]
    fn a_combined_line_is_one_line_whatever_the_client_sent() {
        let mut line = Vec::new();
        combined(&record(), &mut Stamp::default(), &mut line);
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.starts_with("192.0.2.7 - - ["), "{line}");
        let end = r#""GET /a?q=\"x\\\u000a"#;
        assert!(
            line.contains(end)
                && line.contains(
                    " HTTP/2.0\" 504 12 \"-\" \"curl/8 \\\"quoted\\\"\" blue 127.0.0.1:8069 2000.042 "
                ),
            "{line}"
        );
    }
}
