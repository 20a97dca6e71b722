//! Answers that are compressed on their way, and those that are not.

use crate::support::Config;
use crate::support::Daemon;
use crate::support::End;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::decoded;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;

/// A text that is worth compressing.
fn text(size: usize) -> String {
    let mut text = String::new();
    let mut line = 0;
    while text.len() < size {
        text += &format!(
            "<li id=\"{line}\">line {} of many</li>\n",
            line * line % 977
        );
        line += 1;
    }
    text.truncate(size);
    text
}

fn page(extra: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::raw(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {length}\r\n{extra}\r\n{body}"
    ))
}

fn compressing(pair: &Pair) -> Config {
    pair.config().set("service.app.compression.enabled = true")
}

fn accepting(line: &str, codings: &str) -> String {
    request(line, &format!("Accept-Encoding: {codings}\r\n"), "")
}

#[tokio::test]
async fn a_client_gets_the_coding_it_likes_best_and_the_same_body() {
    let pair = Pair::start().await;
    let body = text(30_000);
    pair.blue.on("/page", page("ETag: \"v1\"\r\n", &body));
    let daemon = Daemon::start(&compressing(&pair)).await;
    let mut client = Wire::connect(daemon.address).await;
    for (accept, coding) in [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=0.5, br", "br"),
        ("gzip, br;q=0", "gzip"),
        ("*", "zstd"),
    ] {
        let answer = client.ask(accepting("GET /page", accept)).await;
        assert_eq!(answer.head.get("content-encoding"), Some(coding));
        assert_eq!(answer.head.get("etag"), Some("W/\"v1\""), "{coding}");
        assert_eq!(answer.head.all("vary"), ["Accept-Encoding"]);
        assert!(!answer.head.has("content-length"), "{:?}", answer.head);
        assert!(answer.body.data.len() < body.len() / 3);
        assert!(answer.content() == body.as_bytes(), "{coding}");
    }
    // The upstream is told what the client accepts: it may do it itself.
    let seen = pair.blue.requests_for("/page");
    assert_eq!(
        seen[0].head.get("accept-encoding"),
        Some("gzip, deflate, br, zstd")
    );
}

#[tokio::test]
async fn the_operator_chooses_codings_types_and_sizes() {
    let pair = Pair::start().await;
    pair.blue.on("/page", page("", &text(3000)));
    let json = text(3000);
    pair.blue.on("/json", Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3000\r\n\r\n{json}")));
    pair.blue.on("/small", page("", &text(2999)));
    let config = compressing(&pair)
        .set("service.app.compression.codings = [\"gzip\", \"br\"]")
        .set("service.app.compression.types = [\"text/*\"]")
        .set("service.app.compression.min_size = \"3000B\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    for (path, coding) in [("/page", Some("gzip")), ("/json", None), ("/small", None)] {
        let answer = client
            .ask(accepting(&format!("GET {path}"), "zstd, br, gzip"))
            .await;
        assert_eq!(answer.head.get("content-encoding"), coding, "{path}");
        assert!(answer.content().len() >= 2999, "{path}");
    }
}

#[tokio::test]
async fn what_must_stay_as_it_is_keeps_every_byte_and_its_length() {
    let pair = Pair::start().await;
    let body = text(3000);
    for (path, extra) in [
        (
            "/encoded",
            "Content-Encoding: br\r\nVary: Accept-Encoding\r\nETag: \"e\"\r\n",
        ),
        (
            "/settled",
            "Cache-Control: public, No-Transform\r\nETag: \"e\"\r\n",
        ),
        (
            "/part",
            "Content-Range: bytes 0-2999/9000\r\nETag: \"e\"\r\n",
        ),
    ] {
        pair.blue.on(path, page(extra, &body));
    }
    let part = format!(
        "HTTP/1.1 206 Part\r\nContent-Type: text/html\r\nContent-Range: bytes 0-2999/9000\r\nETag: \"e\"\r\nContent-Length: 3000\r\n\r\n{body}"
    );
    pair.blue.on("/206", Reply::raw(part));
    pair.blue.on("/image", Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nETag: \"e\"\r\nContent-Length: 3000\r\n\r\n{body}")));
    pair.blue.on(
        "/untyped",
        Reply::raw(format!(
            "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 3000\r\n\r\n{body}"
        )),
    );
    let daemon = Daemon::start(&compressing(&pair)).await;
    let mut client = Wire::connect(daemon.address).await;
    for path in [
        "/encoded", "/settled", "/part", "/206", "/image", "/untyped",
    ] {
        let line = format!("GET {path}");
        let answer = client.ask(accepting(&line, "zstd, br, gzip")).await;
        let head = &answer.head;
        assert_eq!(head.get("content-length"), Some("3000"), "{path}");
        assert_eq!(head.get("etag"), Some("\"e\""), "{path}");
        assert!(answer.text() == body, "{path}");
    }
    let encoded = client.ask(accepting("GET /encoded", "gzip")).await;
    assert_eq!(encoded.head.all("content-encoding"), ["br"]);
    assert_eq!(encoded.head.all("vary"), ["Accept-Encoding"]);
    pair.blue.on(
        "/none",
        Reply::raw("HTTP/1.1 204 None\r\nContent-Type: text/html\r\n\r\n"),
    );
    let none = client.ask(accepting("GET /none", "gzip")).await;
    assert!(!none.head.has("content-encoding") && !none.head.has("vary"));
}

#[tokio::test]
async fn whoever_wants_no_coding_gets_the_length_and_is_told_apart_by_vary() {
    let pair = Pair::start().await;
    let body = text(3000);
    pair.blue.on(
        "/page",
        page("ETag: \"v\"\r\nVary: Origin\r\nVary: Cookie\r\n", &body),
    );
    let daemon = Daemon::start(&compressing(&pair)).await;
    let mut client = Wire::connect(daemon.address).await;
    let ranged = "Accept-Encoding: gzip\r\nRange: bytes=0-10\r\n";
    for asked in [
        request("GET /page", "", ""),
        accepting("GET /page", "gzip;q=0, identity"),
        request("GET /page", ranged, ""),
    ] {
        let answer = client.ask(&asked).await;
        assert_eq!(answer.head.get("content-length"), Some("3000"), "{asked}");
        assert_eq!(answer.head.get("etag"), Some("\"v\""), "{asked}");
        assert_eq!(answer.head.all("vary"), ["Origin, Cookie, Accept-Encoding"]);
        assert!(answer.text() == body);
    }
    let mut old = Wire::connect(daemon.address).await;
    let answer = old
        .ask("GET /page HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        .await;
    assert!(answer.text() == body, "HTTP/1.0 knows no chunks");
}

#[tokio::test]
async fn a_head_says_what_a_get_would() {
    let pair = Pair::start().await;
    let body = text(3000);
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nContent-Length: 3000\r\nETag: \"v\"\r\n\r\n";
    pair.blue.once("/page", Reply::raw(head));
    pair.blue.on("/page", Reply::raw(format!("{head}{body}")));
    let daemon = Daemon::start(&compressing(&pair)).await;
    let mut client = Wire::connect(daemon.address).await;
    let head = client.ask(accepting("HEAD /page", "br")).await.head;
    let whole = client.ask(accepting("GET /page", "br")).await.head;
    for name in [
        "content-encoding",
        "etag",
        "vary",
        "content-type",
        "content-length",
    ] {
        assert_eq!(head.all(name), whole.all(name), "{name}");
    }
    assert_eq!(head.get("content-encoding"), Some("br"));
}

#[tokio::test]
async fn a_client_that_has_it_asks_the_upstream_with_its_weak_tag() {
    let pair = Pair::start().await;
    let same = "HTTP/1.1 304 Same\r\nETag: \"v1\"\r\nCache-Control: no-cache\r\n\r\n";
    pair.blue.on("/page", Reply::raw(same));
    let daemon = Daemon::start(&compressing(&pair)).await;
    let mut client = Wire::connect(daemon.address).await;
    let extra = "Accept-Encoding: gzip\r\nIf-None-Match: W/\"v1\"\r\n";
    let answer = client.ask(request("GET /page", extra, "")).await;
    assert_eq!(answer.status(), 304);
    assert_eq!(answer.head.get("etag"), Some("W/\"v1\""));
    let seen = pair.blue.request_for("/page").head;
    assert_eq!(seen.get("if-none-match"), Some("W/\"v1\""));
    assert_eq!(client.ask(request("GET /", "", "")).await.text(), "blue");
}

#[tokio::test]
async fn a_stream_that_pauses_is_never_held_back() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&compressing(&pair)).await;
    for coding in ["zstd", "br", "gzip"] {
        let gates: Vec<Gate> = (0..3).map(|_| Gate::closed()).collect();
        let mut steps = vec![
            Step::TakeBody,
            Step::send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n",
            ),
        ];
        for gate in &gates {
            steps.push(Step::send("6\r\nsooner\r\n"));
            steps.push(Step::Wait(gate.clone()));
        }
        steps.push(Step::send("5\r\nlater\r\n0\r\nX-Sum: 1\r\n\r\n"));
        pair.blue.on("/stream", Reply::steps(steps));
        let mut client = Wire::connect(daemon.address).await;
        let tap = client.tap();
        client.send(accepting("GET /stream", coding)).await;
        let reading = tokio::spawn(async move { client.answer("GET").await });
        for (at, gate) in gates.iter().enumerate() {
            eventually("what was sent can be read", async || {
                let body = dechunked(&tap.lock().unwrap());
                decoded(coding, &body) == "sooner".repeat(at + 1).as_bytes()
            })
            .await;
            gate.open();
        }
        let answer = reading.await.unwrap();
        assert_eq!(answer.content(), b"soonersoonersoonerlater");
        assert_eq!(answer.body.trailers, [("X-Sum".to_owned(), "1".to_owned())]);
    }
}

/// What is here of a chunked body.
fn dechunked(bytes: &[u8]) -> Vec<u8> {
    let Some(start) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return Vec::new();
    };
    let mut rest = &bytes[start + 4..];
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let Some(data) = rest.get(end + 2..end + 2 + size) else {
            break;
        };
        body.extend_from_slice(data);
        rest = rest.get(end + 4 + size..).unwrap_or_default();
    }
    body
}

#[tokio::test]
async fn a_body_that_breaks_off_breaks_off_for_the_client_too() {
    let pair = Pair::start().await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 50000\r\n\r\n";
    let cut = format!("{head}{}", text(20_000));
    pair.blue.on("/cut", Reply::raw_then_close(cut));
    let daemon = Daemon::start(&compressing(&pair)).await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client.ask(accepting("GET /cut", "gzip")).await;
    assert_eq!((answer.status(), answer.body.end), (200, End::Cut));
}

/// Clock ticks of CPU that the daemon's threads of this name have used.
fn ticks(pid: u32, name: &str) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut ticks = 0;
    for thread in threads {
        let thread = thread.unwrap().path();
        let Ok(stat) = std::fs::read_to_string(thread.join("stat")) else {
            continue;
        };
        let (before, after) = stat.rsplit_once(") ").unwrap();
        if before.contains(&format!("({name}")) {
            let fields: Vec<&str> = after.split(' ').collect();
            ticks += fields[11].parse::<u64>().unwrap();
        }
    }
    ticks
}

#[tokio::test]
async fn a_big_body_is_encoded_beside_the_workers() {
    let pair = Pair::start().await;
    let body = text(1_500_000);
    pair.blue.on("/big", page("", &body));
    let config = compressing(&pair).set("service.app.compression.brotli_level = 5");
    let daemon = Daemon::start(&config).await;
    let pid = daemon.status().await.pid;
    let before = ticks(pid, "worker-");
    let mut client = Wire::connect(daemon.address).await;
    let answer = client.ask(accepting("GET /big", "br")).await;
    assert!(answer.content() == body.as_bytes());
    let workers = ticks(pid, "worker-") - before;
    let beside = ticks(pid, "tokio-");
    assert!(
        beside > 3 * workers,
        "{workers} ticks on workers, {beside} beside them"
    );
}

#[tokio::test]
async fn above_the_limit_bodies_go_as_they_are() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    let body = text(3000);
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"v\"\r\nContent-Length: 3000\r\n\r\n";
    pair.blue.on(
        "/held",
        Reply::steps([
            Step::TakeBody,
            Step::send(format!("{head}{}", &body[..100])),
            Step::Wait(gate.clone()),
            Step::send(&body[100..]),
        ]),
    );
    pair.blue.on("/page", page("ETag: \"v\"\r\n", &body));
    let config = compressing(&pair)
        .set("runtime.workers = 1")
        .set("service.app.compression.at_once = 1");
    let daemon = Daemon::start(&config).await;
    let mut held = Wire::connect(daemon.address).await;
    held.send(accepting("GET /held", "gzip")).await;
    let head = held.head().await.unwrap().unwrap();
    assert_eq!(head.get("content-encoding"), Some("gzip"));
    let mut client = Wire::connect(daemon.address).await;
    let other = client.ask(accepting("GET /page", "gzip")).await;
    assert_eq!(other.head.get("content-encoding"), None);
    assert_eq!(other.head.get("content-length"), Some("3000"));
    assert_eq!(other.head.get("etag"), Some("\"v\""));
    assert_eq!(other.head.get("vary"), Some("Accept-Encoding"));
    gate.open();
    let held = held.body(head.response_framing("GET")).await.unwrap();
    assert!(decoded("gzip", &held.data) == body.as_bytes());
    eventually("the place is free again", async || {
        let answer = client.ask(accepting("GET /page", "gzip")).await;
        answer.head.has("content-encoding")
    })
    .await;
    let page = daemon.call("GET /metrics", "").await.text;
    let value = |name: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}in {page}"))
            .parse()
            .unwrap()
    };
    assert!(value("switchd_compression_skipped_total ") >= 1.0);
    let before = value("switchd_uncompressed_bytes_total{coding=\"gzip\"} ");
    let after = value("switchd_compressed_bytes_total{coding=\"gzip\"} ");
    assert!(before >= 6000.0 && after > 0.0 && after < before / 3.0);
}

#[tokio::test]
async fn nothing_is_compressed_unless_the_operator_says_so() {
    let pair = Pair::start().await;
    let body = text(30_000);
    pair.blue.on("/page", page("ETag: \"v\"\r\n", &body));
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client.ask(accepting("GET /page", "gzip, br, zstd")).await;
    assert!(answer.text() == body);
    assert_eq!(answer.head.get("etag"), Some("\"v\""));
    assert!(!answer.head.has("vary") && !answer.head.has("content-encoding"));
    // A reload is enough.
    daemon.write_config(&compressing(&pair));
    eventually("the new setting holds", async || {
        let answer = client.ask(accepting("GET /page", "gzip")).await;
        answer.head.get("content-encoding") == Some("gzip") && answer.content() == body.as_bytes()
    })
    .await;
    assert_eq!(get(daemon.address, "/page").await.text().len(), 30_000);
}
