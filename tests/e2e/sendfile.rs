//! Files that an upstream names and switchd sends.

use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use std::path::Path;
use tempfile::TempDir;

const NAME: &str = "/web/filestore/prod/ab/abcdef";

/// A filestore with one file, and something beside it that is nobody's business.
fn filestore(content: &[u8]) -> TempDir {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    std::fs::create_dir_all(store.join("prod/ab")).unwrap();
    std::fs::write(store.join("prod/ab/abcdef"), content).unwrap();
    std::fs::write(dir.path().join("secret"), b"secret").unwrap();
    std::os::unix::fs::symlink("../../secret", store.join("prod/link")).unwrap();
    dir
}

fn sending(pair: &Pair, dir: &TempDir) -> Config {
    let root = dir.path().join("store");
    pair.config()
        .set(&format!("service.app.sendfile.root = {root:?}"))
        .set("service.app.sendfile.prefix = \"/web/filestore\"")
}

/// As Odoo answers with --x-sendfile.
fn named(status: &str, path: &Path, accel: &str, extra: &str) -> Reply {
    Reply::raw_then_close(format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 0\r\n\
         ETag: \"sha1\"\r\nContent-Security-Policy: default-src 'none'\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Disposition: attachment; filename=\" No 5 \\\"q\\\".txt\"; filename*=UTF-8''%D1%84.txt\r\n\
         X-Sendfile: {}\r\nX-Accel-Redirect: {accel}\r\n{extra}Connection: close\r\n\r\n",
        path.display()
    ))
}

fn attachment(dir: &TempDir) -> Reply {
    let path = dir.path().join("store/prod/ab/abcdef");
    named("200 OK", &path, NAME, "")
}

fn no_headers(head: &crate::support::Head) -> bool {
    !head.has("x-accel-redirect") && !head.has("x-sendfile")
}

#[tokio::test]
async fn a_named_file_is_sent_with_the_upstreams_own_head() {
    let pair = Pair::start().await;
    let dir = filestore(b"the content");
    pair.blue.on("/a", attachment(&dir));
    // Either header is enough.
    let accel = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Accel-Redirect: {NAME}\r\n\r\n");
    pair.blue.on("/accel", Reply::raw(accel));
    let path = dir.path().join("store/prod/ab/abcdef");
    let only = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Sendfile: {}\r\n\r\n",
        path.display()
    );
    pair.blue.on("/sendfile", Reply::raw(only));
    let daemon = Daemon::start(&sending(&pair, &dir)).await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client.ask(request("GET /a", "", "")).await;
    assert_eq!(
        (answer.status(), answer.text().as_str()),
        (200, "the content")
    );
    let head = &answer.head;
    assert!(no_headers(head), "{head:?}");
    for (name, value) in [
        ("content-length", "11"),
        ("etag", "\"sha1\""),
        ("content-type", "text/plain; charset=utf-8"),
        ("content-security-policy", "default-src 'none'"),
        ("x-content-type-options", "nosniff"),
        (
            "content-disposition",
            "attachment; filename=\" No 5 \\\"q\\\".txt\"; filename*=UTF-8''%D1%84.txt",
        ),
    ] {
        assert_eq!(head.all(name), [value], "{name}");
    }
    for path in ["/accel", "/sendfile"] {
        let answer = client.ask(request(&format!("GET {path}"), "", "")).await;
        assert_eq!(answer.text(), "the content");
        assert!(answer.head.has("last-modified"), "something to know it by");
    }
    let head = client.ask(request("HEAD /a", "", "")).await.head;
    assert_eq!(head.get("content-length"), Some("11"));
    assert_eq!(client.ask(request("GET /", "", "")).await.text(), "blue");
}

#[tokio::test]
async fn parts_and_validators_are_judged_here() {
    let pair = Pair::start().await;
    let dir = filestore(b"0123456789");
    pair.blue.on("/a", attachment(&dir));
    let path = dir.path().join("store/prod/ab/abcdef");
    // Odoo cuts the range itself, and says so about a body that it does not send.
    let part = named(
        "206 PARTIAL",
        &path,
        NAME,
        "Content-Range: bytes 2-3/10\r\n",
    );
    pair.blue.on("/odoo", part);
    pair.blue.on(
        "/304",
        Reply::raw("HTTP/1.1 304 Same\r\nETag: \"sha1\"\r\n\r\n"),
    );
    let daemon = Daemon::start(&sending(&pair, &dir)).await;
    let mut client = Wire::connect(daemon.address).await;
    for (path, extra, status, body) in [
        ("/a", "Range: bytes=2-3\r\n", 206, "23"),
        (
            "/a",
            "Range: bytes=-3\r\nIf-Range: \"sha1\"\r\n",
            206,
            "789",
        ),
        (
            "/a",
            "Range: bytes=2-3\r\nIf-Range: \"old\"\r\n",
            200,
            "0123456789",
        ),
        ("/a", "Range: bytes=1-2,4-5\r\n", 200, "0123456789"),
        ("/a", "Range: bytes=10-\r\n", 416, ""),
        ("/a", "If-None-Match: W/\"sha1\"\r\n", 304, ""),
        ("/odoo", "Range: bytes=2-3\r\n", 206, "23"),
        ("/304", "If-None-Match: \"sha1\"\r\n", 304, ""),
    ] {
        let answer = client.ask(request(&format!("GET {path}"), extra, "")).await;
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (status, body),
            "{extra}"
        );
        let range = match (status, body) {
            (206, "23") => Some("bytes 2-3/10"),
            (206, _) => Some("bytes 7-9/10"),
            (416, _) => Some("bytes */10"),
            _ => None,
        };
        assert_eq!(answer.head.get("content-range"), range, "{extra}");
        assert_eq!(answer.head.get("etag"), Some("\"sha1\""));
        assert_eq!(answer.head.has("content-length"), status != 304);
    }
}

#[tokio::test]
async fn nothing_outside_the_root_is_ever_sent() {
    let pair = Pair::start().await;
    let dir = filestore(b"the content");
    let store = dir.path().join("store");
    let accel = |path: &str| named("200 OK", Path::new("/nowhere"), path, "");
    let sendfile = |path: &Path| named("200 OK", path, "/elsewhere/x", "");
    let cases = [
        ("/up", accel("/web/filestore/../secret"), 502),
        ("/encoded", accel("/web/filestore/%2e%2e/secret"), 502),
        ("/slashes", accel("/web/filestore//etc/passwd"), 502),
        ("/link", accel("/web/filestore/prod/link"), 502),
        ("/folder", accel("/web/filestore/prod"), 502),
        ("/other", accel("/etc/passwd"), 502),
        ("/absolute", sendfile(Path::new("/etc/passwd")), 502),
        ("/dots", sendfile(&store.join("../secret")), 502),
        ("/missing", accel("/web/filestore/prod/ab/none"), 404),
    ];
    for (path, reply, _) in &cases {
        pair.blue.on(path, reply.clone());
    }
    let daemon = Daemon::start(&sending(&pair, &dir)).await;
    let mut client = Wire::connect(daemon.address).await;
    for (path, _, status) in &cases {
        let answer = client.ask(request(&format!("GET {path}"), "", "")).await;
        assert_eq!(answer.status(), *status, "{path}");
        assert_eq!(answer.head.get("x-switchd-fault"), Some("file"), "{path}");
        assert!(no_headers(&answer.head) && !answer.text().contains("secret\n"));
    }
    assert_eq!(client.ask(request("GET /", "", "")).await.text(), "blue");
    for word in [
        "file not sent",
        "/etc/passwd",
        "not below `root`",
        "no such file",
    ] {
        eventually(&format!("the log says {word}"), async || {
            daemon.stderr().contains(word)
        })
        .await;
    }
}

#[tokio::test]
async fn neither_header_reaches_a_client_when_files_are_not_sent() {
    let pair = Pair::start().await;
    let body = "HTTP/1.1 200 OK\r\nX-ACCEL-Redirect: /x\r\nx-sendfile: /etc/passwd\r\nContent-Length: 2\r\n\r\nok";
    pair.blue.on("/a", Reply::raw(body));
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client
        .ask(request("GET /a", "X-Sendfile: /x\r\n", ""))
        .await;
    assert_eq!(answer.text(), "ok");
    assert!(no_headers(&answer.head), "{:?}", answer.head);
    assert!(!pair.blue.request_for("/a").head.has("x-sendfile"));
}

#[tokio::test]
async fn the_upstream_is_free_while_a_slow_client_reads() {
    let pair = Pair::start().await;
    let content: Vec<u8> = (0..20_000_000_u32).map(|i| (i % 251) as u8).collect();
    let dir = filestore(&content);
    pair.blue.on("/a", attachment(&dir));
    let config = sending(&pair, &dir)
        .set("service.app.queue.max_in_flight = 1")
        .set("service.app.queue.length = 0");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let mut slow = Wire::connect(daemon.address).await;
    slow.send(request("GET /a", "", "")).await;
    let head = slow.head().await.unwrap().unwrap();
    assert_eq!(head.get("content-length"), Some("20000000"));
    assert_eq!(get(daemon.address, "/").await.text(), "blue");
    // Nor does a flip wait for it, or cut it.
    daemon.flip("green").await;
    eventually("blue is drained", async || {
        daemon.slot("blue").await.in_flight.requests == 0
    })
    .await;
    let body = slow.body(head.response_framing("GET")).await;
    assert!(body.unwrap().data == content);
    assert_eq!(slow.ask(request("GET /", "", "")).await.text(), "green");
}

#[tokio::test]
async fn a_sent_file_is_compressed_and_kept_like_any_other_answer() {
    let pair = Pair::start().await;
    let script = "odoo.define('a', function () {});\n".repeat(3000);
    let dir = filestore(script.as_bytes());
    let bundle = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/javascript\r\nContent-Length: 0\r\nETag: \"b\"\r\n\
         Cache-Control: public, max-age=31536000, immutable\r\nX-Accel-Redirect: {NAME}\r\n\r\n"
    );
    pair.blue.on("/web/assets/1/a.js", Reply::raw(bundle));
    let config = sending(&pair, &dir)
        .set("service.app.compression.enabled = true")
        .set("service.app.cache.enabled = true");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    for (accept, coding) in [("zstd", Some("zstd")), ("zstd", Some("zstd")), ("", None)] {
        let extra = format!("Accept-Encoding: {accept}\r\n");
        let answer = client
            .ask(request("GET /web/assets/1/a.js", &extra, ""))
            .await;
        assert_eq!(answer.head.get("content-encoding"), coding);
        assert!(answer.content() == script.as_bytes());
        assert!(no_headers(&answer.head));
    }
    assert_eq!(pair.blue.requests_for("/web/assets/1/a.js").len(), 1);
}
