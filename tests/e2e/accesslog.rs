//! One line per request.

use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use rustix::process::Signal;
use std::path::Path;

/// The lines of the log, once there are `count`.
async fn lines(path: &Path, count: usize) -> Vec<String> {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    eventually(&format!("{count} lines are written"), async || {
        read().lines().count() >= count
    })
    .await;
    let lines: Vec<String> = read().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), count, "{lines:?}");
    lines
}

async fn logging(pair: &Pair, format: &str) -> Daemon {
    let config = pair
        .config()
        .set("access_log.target = \"DIR/access.log\"")
        .set(&format!("access_log.format = \"{format}\""));
    Daemon::start(&config).await
}

#[tokio::test]
async fn a_line_tells_who_asked_for_what_and_who_answered() {
    let pair = Pair::start().await;
    let daemon = logging(&pair, "json").await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .ask(request(
            "POST /echo?q=1",
            "X-Request-Id: the-one\r\n",
            "12345",
        ))
        .await;
    let line = lines(&daemon.path("access.log"), 1).await.remove(0);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let sent_id = pair
        .blue
        .request_for("/echo")
        .head
        .get("x-request-id")
        .unwrap()
        .to_owned();
    for (key, wanted) in [
        ("method", "POST".into()),
        ("status", 200.into()),
        ("slot", "blue".into()),
        ("service", "app".into()),
        ("endpoint", pair.blue.address().to_string().into()),
        ("request_id", sent_id.into()),
    ] {
        let wanted: serde_json::Value = wanted;
        assert_eq!(line[key], wanted, "{key}: {line}");
    }
    let text = line.to_string();
    assert!(text.contains("/echo"), "{line}");
    assert!(text.contains("127.0.0.1"), "{line}");
    for key in ["time", "client", "bytes_in", "bytes_out"] {
        assert!(!line[key].is_null(), "{key}: {line}");
    }
}

#[tokio::test]
async fn the_combined_format_is_what_everybody_reads() {
    let pair = Pair::start().await;
    let daemon = logging(&pair, "combined").await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .ask(request(
            "GET /page",
            "User-Agent: a \"quoted\" one\r\nReferer: http://x/\r\n",
            "",
        ))
        .await;
    let line = lines(&daemon.path("access.log"), 1).await.remove(0);
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(
        line.contains("\"GET /page HTTP/1.1\" 200 4 \"http://x/\""),
        "{line}"
    );
    assert!(line.contains("quoted"), "{line}");
    assert!(!line.contains(" \"quoted\" "), "a quote is escaped: {line}");
}

#[tokio::test]
async fn faults_are_logged_with_their_name() {
    let pair = Pair::start().await;
    let daemon = logging(&pair, "json").await;
    pair.blue.on("/", Reply::raw_then_close(""));
    get(daemon.address, "/").await;
    let line = lines(&daemon.path("access.log"), 1).await.remove(0);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["status"], &line["fault"]),
        (&502.into(), &"no-answer".into())
    );
}

#[tokio::test]
async fn a_refused_head_is_logged_too() {
    let pair = Pair::start().await;
    let daemon = logging(&pair, "json").await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        .await;
    client.rest().await;
    let line = lines(&daemon.path("access.log"), 1).await.remove(0);
    assert!(line.contains("bad-request"), "{line}");
}

#[tokio::test]
async fn a_refused_head_is_not_logged_as_the_request_before_it() {
    let pair = Pair::start().await;
    let daemon = logging(&pair, "json").await;
    let mut client = Wire::connect(daemon.address).await;
    client.ask(request("GET /before", "", "")).await;
    client.send("BAD\0HEAD\r\n\r\n").await;
    client.rest().await;
    let lines = lines(&daemon.path("access.log"), 2).await;
    let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let (before, refused) = (read(&lines[0]), read(&lines[1]));
    assert_eq!(before["path"], "/before");
    assert_eq!(refused["status"], 400);
    assert_eq!(refused["path"], "");
    assert_eq!(refused["host"], "");
    assert_ne!(refused["request_id"], before["request_id"]);
}

#[tokio::test]
async fn a_log_line_cannot_be_forged() {
    let pair = Pair::start().await;
    for format in ["json", "combined"] {
        let daemon = logging(&pair, format).await;
        let mut client = Wire::connect(daemon.address).await;
        client
            .send(b"GET /a\"b%0a?\\x HTTP/1.1\r\nHost: a\r\nUser-Agent: x\x1b[31m\xff\"\r\n\r\n")
            .await;
        client.answer("GET").await;
        let line = lines(&daemon.path("access.log"), 1).await.remove(0);
        assert!(!line.contains('\x1b'), "{line:?}");
        if format == "json" {
            serde_json::from_str::<serde_json::Value>(&line).unwrap();
        }
    }
}

#[tokio::test]
async fn every_request_is_logged_once_and_all_of_them_at_the_stop() {
    let pair = Pair::start().await;
    let mut daemon = logging(&pair, "json").await;
    let mut client = Wire::connect(daemon.address).await;
    for _ in 0..500 {
        assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
    }
    drop(client);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
    let text = std::fs::read_to_string(daemon.path("access.log")).unwrap();
    assert_eq!(text.lines().count(), 500);
}

#[tokio::test]
async fn usr1_opens_the_file_again() {
    let pair = Pair::start().await;
    let daemon = logging(&pair, "json").await;
    get(daemon.address, "/first").await;
    let path = daemon.path("access.log");
    lines(&path, 1).await;
    std::fs::rename(&path, daemon.path("access.log.1")).unwrap();
    daemon.signal(Signal::USR1);
    eventually("a new file takes the lines", async || {
        get(daemon.address, "/second").await;
        std::fs::read_to_string(&path).is_ok_and(|text| text.contains("/second"))
    })
    .await;
}

#[tokio::test]
async fn it_may_go_to_stdout() {
    let pair = Pair::start().await;
    let config = pair.config().set("access_log.target = \"stdout\"");
    let daemon = Daemon::start(&config).await;
    get(daemon.address, "/to-stdout").await;
    eventually("stdout has it", async || {
        std::fs::read_to_string(daemon.path("stdout")).is_ok_and(|text| text.contains("/to-stdout"))
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_was_cut_is_logged_as_such() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/cut",
        Reply::raw_then_close("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut"),
    );
    let daemon = logging(&pair, "json").await;
    get(daemon.address, "/cut").await;
    let line = lines(&daemon.path("access.log"), 1).await.remove(0);
    assert!(line.contains("cut-short"), "{line}");
}

#[tokio::test]
async fn each_line_names_the_client_of_its_own_request() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("trusted_proxies = [\"127.0.0.1\"]")
        .set("access_log.target = \"DIR/access.log\"");
    let daemon = Daemon::start(&config).await;
    let mut proxy = Wire::connect(daemon.address).await;
    for extra in [
        "X-Forwarded-For: 9.9.9.9\r\n",
        "",
        "X-Forwarded-For: 8.8.8.8\r\n",
    ] {
        proxy.ask(request("GET /", extra, "")).await;
    }
    let lines = lines(&daemon.path("access.log"), 3).await;
    for (line, client) in lines.iter().zip(["9.9.9.9", "127.0.0.1", "8.8.8.8"]) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let named = line["client"].as_str().unwrap();
        assert!(named.starts_with(client), "{line}");
    }
}

#[tokio::test]
async fn a_refused_head_is_not_logged_under_the_name_of_the_request_before() {
    let pair = Pair::start().await;
    let daemon = logging(&pair, "json").await;
    let mut client = Wire::connect(daemon.address).await;
    let agent = "User-Agent: tester\r\nReferer: http://here/\r\n";
    let good = client.ask(request("POST /good", agent, "x")).await;
    assert_eq!(good.status(), 200);
    let bad = client.ask("GET /bad HTTP/1.1\r\n\r\n").await;
    assert_eq!(bad.status(), 400);
    let lines = lines(&daemon.path("access.log"), 2).await;
    let parse = |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let (good, refused) = (parse(&lines[0]), parse(&lines[1]));
    assert_eq!(refused["status"], 400);
    for told in ["method", "path", "host"] {
        assert_eq!(refused[told], "", "{refused}");
    }
    assert_ne!(refused["request_id"], good["request_id"]);
    assert_eq!(
        bad.head.get("x-request-id"),
        refused["request_id"].as_str(),
        "the client is told the id that is in the log"
    );
}
