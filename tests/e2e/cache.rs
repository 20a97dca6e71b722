//! Answers that are kept for the next client, whichever slot gave them.

use crate::support::Config;
use crate::support::Daemon;
use crate::support::End;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use switchd::api::CacheList;

const BUNDLE: &str = "/web/assets/1-abc/web.assets_web.min.js";

/// As Odoo sends a bundle to somebody without a session.
fn bundle(body: &str) -> Reply {
    let length = body.len();
    let now = httpdate::fmt_http_date(std::time::SystemTime::now());
    Reply::raw_then_close(format!(
        "HTTP/1.0 200 OK\r\nDate: {now}\r\nDate: {now}\r\n\
         Content-Type: application/javascript; charset=utf-8\r\nContent-Length: {length}\r\n\
         ETag: \"abc\"\r\nLast-Modified: Sat, 05 Jul 2025 09:00:00 GMT\r\n\
         Cache-Control: public, max-age=31536000, immutable\r\nContent-Security-Policy: default-src 'none'\r\n\
         Set-Cookie: session_id=secret; Path=/\r\nConnection: close\r\n\r\n{body}"
    ))
}

fn answer(control: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::raw(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nContent-Length: {length}\r\n{control}\r\n{body}"
    ))
}

fn text(size: usize) -> String {
    let mut text = String::new();
    let mut line = 0;
    while text.len() < size {
        text += &format!("odoo.define({line}, {});\n", line * line % 977);
        line += 1;
    }
    text.truncate(size);
    text
}

fn caching(pair: &Pair) -> Config {
    pair.config()
        .set("service.app.cache.enabled = true")
        .set("service.app.cache.paths = [\"*/static/*\"]")
        .set("access_log.target = \"DIR/access.log\"")
}

async fn list(daemon: &Daemon) -> CacheList {
    daemon.call("GET /v1/cache", "").await.json()
}

/// Waits until so many answers are kept, and in files.
async fn kept(daemon: &Daemon, count: u64) -> CacheList {
    eventually(&format!("{count} answers are kept"), async || {
        let list = list(daemon).await;
        let on_disk = |entry: &switchd::api::CacheEntry| entry.forms.iter().all(|it| it.on_disk);
        list.kept == count && list.entries.iter().all(on_disk)
    })
    .await;
    list(daemon).await
}

/// What the access log says of the cache, request by request.
async fn looks(daemon: &Daemon, count: usize) -> Vec<String> {
    let path = daemon.path("access.log");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually("the log is written", async || {
        read().lines().count() >= count
    })
    .await;
    let lines = read();
    let lines = lines.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["service"], "app", "{line}");
        line["cache"].as_str().unwrap_or("-").to_owned()
    });
    lines.collect()
}

#[tokio::test]
async fn a_bundle_is_fetched_once_and_is_nobodys_session() {
    let pair = Pair::start().await;
    let body = text(20_000);
    pair.blue.on(BUNDLE, bundle(&body));
    let daemon = Daemon::start(&caching(&pair)).await;
    for number in 0..4 {
        // A connection of its own for each: workers share what is kept.
        let mut client = Wire::connect(daemon.address).await;
        let cookie = format!("Cookie: session_id={number}\r\n");
        let answer = client
            .ask(request(&format!("GET {BUNDLE}"), &cookie, ""))
            .await;
        assert_eq!(answer.status(), 200);
        assert!(answer.text() == body);
        let head = &answer.head;
        assert!(!head.has("set-cookie"), "{head:?}");
        assert_eq!(head.get("content-length"), Some("20000"));
        assert_eq!(head.all("date").len(), 1);
        assert_eq!(head.get("etag"), Some("\"abc\""));
        assert_eq!(
            head.get("content-security-policy"),
            Some("default-src 'none'")
        );
        assert_eq!(head.has("age"), number > 0);
        // The connection goes on.
        assert_eq!(client.ask(request("GET /", "", "")).await.text(), "blue");
    }
    assert_eq!(pair.blue.requests_for(BUNDLE).len(), 1);
    // Each worker hands over its own lines.
    let mut looks = looks(&daemon, 8).await;
    looks.sort();
    assert_eq!(looks, ["-", "-", "-", "-", "hit", "hit", "hit", "miss"]);
}

#[tokio::test]
async fn an_old_tab_gets_its_old_bundle_after_a_flip() {
    let pair = Pair::start().await;
    let old = text(5000);
    pair.blue.on(BUNDLE, bundle(&old));
    let elsewhere =
        "HTTP/1.1 303 Elsewhere\r\nLocation: /web/assets/2-def/web.js\r\nContent-Length: 0\r\n\r\n";
    pair.green.on(BUNDLE, Reply::raw(elsewhere));
    let fresh = "Cache-Control: public, max-age=3600\r\n";
    pair.blue.on("/web/static/a.css", answer(fresh, "blue's"));
    pair.green.on("/web/static/a.css", answer(fresh, "green's"));
    let daemon = Daemon::start(&caching(&pair)).await;
    daemon.healthy().await;
    assert!(get(daemon.address, BUNDLE).await.text() == old);
    for _ in 0..2 {
        let style = get(daemon.address, "/web/static/a.css").await;
        assert_eq!(style.text(), "blue's");
    }
    assert_eq!(pair.blue.requests_for("/web/static/a.css").len(), 1);
    daemon.flip("green").await;
    let answer = get(daemon.address, BUNDLE).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text() == old);
    assert!(pair.green.requests_for(BUNDLE).is_empty());
    // A URL that does not name its content is the new slot's to answer.
    for _ in 0..2 {
        let style = get(daemon.address, "/web/static/a.css").await;
        assert_eq!(style.text(), "green's");
    }
    assert_eq!(pair.green.requests_for("/web/static/a.css").len(), 1);
}

#[tokio::test]
async fn the_operator_may_keep_everything_over_a_flip() {
    let pair = Pair::start().await;
    let fresh = "Cache-Control: max-age=3600\r\n";
    pair.blue.on("/web/static/a.css", answer(fresh, "blue's"));
    let config = caching(&pair).set("service.app.cache.keep_on_flip = \"all\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    get(daemon.address, "/web/static/a.css").await;
    daemon.flip("green").await;
    let style = get(daemon.address, "/web/static/a.css").await;
    assert_eq!(style.text(), "blue's");
}

#[tokio::test]
async fn what_is_one_clients_or_changes_is_asked_for_each_time() {
    let pair = Pair::start().await;
    let immutable = "max-age=31536000, immutable";
    let kinds = [
        ("/odoo", "Cache-Control: public, max-age=60\r\n".to_owned()),
        ("/p", format!("Cache-Control: private, {immutable}\r\n")),
        (
            "/n",
            format!("Cache-Control: public, no-store, {immutable}\r\n"),
        ),
        ("/web/static/c", "Cache-Control: no-cache\r\n".to_owned()),
        ("/web/static/none", String::new()),
        (
            "/web/static/cookie",
            "Cache-Control: max-age=60\r\nSet-Cookie: a=1\r\n".to_owned(),
        ),
        (
            "/web/static/vary",
            "Cache-Control: public, max-age=60\r\nVary: Cookie\r\n".to_owned(),
        ),
        (
            "/web/static/old",
            "Cache-Control: public, max-age=60\r\nAge: 60\r\n".to_owned(),
        ),
    ];
    for (path, control) in &kinds {
        pair.blue.on(path, answer(control, path));
    }
    let daemon = Daemon::start(&caching(&pair)).await;
    for (path, control) in &kinds {
        for times in 1..=2 {
            let answer = get(daemon.address, path).await;
            assert_eq!(answer.text(), *path);
            assert_eq!(pair.blue.requests_for(path).len(), times, "{path}");
            assert_eq!(
                answer.head.has("set-cookie"),
                control.contains("Set-Cookie")
            );
        }
    }
    let fresh = "Cache-Control: max-age=60\r\n";
    pair.blue.on("/web/static/x", answer(fresh, "mine"));
    let mut client = Wire::connect(daemon.address).await;
    for extra in [
        "Authorization: Basic eDp5\r\n",
        "Cache-Control: no-store\r\n",
    ] {
        client.ask(request("GET /web/static/x", extra, "")).await;
    }
    client.ask(request("POST /web/static/x", "", "x")).await;
    assert_eq!(list(&daemon).await.kept, 0);
    client.ask(request("GET /web/static/x", "", "")).await;
    client
        .ask(request(
            "GET /web/static/x",
            "Authorization: Basic eDp5\r\n",
            "",
        ))
        .await;
    client
        .ask(request(
            "GET /web/static/x",
            "Cache-Control: no-cache\r\n",
            "",
        ))
        .await;
    assert_eq!(pair.blue.requests_for("/web/static/x").len(), 6);
    assert_eq!(list(&daemon).await.kept, 1);
}

#[tokio::test]
async fn hosts_queries_and_varied_fields_are_told_apart() {
    let pair = Pair::start().await;
    let control = "Cache-Control: public, max-age=60\r\nVary: Accept-Language\r\n";
    pair.blue.on("/web/static/x", answer(control, "x"));
    let daemon = Daemon::start(&caching(&pair)).await;
    let mut client = Wire::connect(daemon.address).await;
    let mut asked = 0;
    for (host, query, language) in [
        ("a.example", "", "de"),
        ("b.example", "", "de"),
        ("a.example", "?2", "de"),
        ("a.example", "", "fr, en"),
        ("a.example:8080", "", "de"),
    ] {
        let raw = format!(
            "GET /web/static/x{query} HTTP/1.1\r\nHost: {host}\r\nAccept-Language: {language}\r\n\r\n"
        );
        asked += 1;
        for _ in 0..2 {
            assert_eq!(client.ask(&raw).await.text(), "x");
            assert_eq!(
                pair.blue.requests_for("/web/static/x").len(),
                asked,
                "{raw}"
            );
        }
    }
    let upper = "GET /web/static/x HTTP/1.1\r\nhost: A.example\r\nACCEPT-language:  de \r\n\r\n";
    client.ask(upper).await;
    assert_eq!(pair.blue.requests_for("/web/static/x").len(), asked);
}

#[tokio::test]
async fn who_has_it_gets_304_and_who_wants_a_part_gets_that() {
    let pair = Pair::start().await;
    let body = text(10_000);
    pair.blue.on(BUNDLE, bundle(&body));
    let config = caching(&pair).set("service.app.compression.enabled = true");
    let daemon = Daemon::start(&config).await;
    get(daemon.address, BUNDLE).await;
    let mut client = Wire::connect(daemon.address).await;
    let mut ask = async |method: &str, extra: &str| {
        client
            .ask(request(&format!("{method} {BUNDLE}"), extra, ""))
            .await
    };
    for extra in [
        "If-None-Match: \"abc\"\r\n",
        "If-None-Match: \"x\", W/\"abc\"\r\n",
        "If-Modified-Since: Sat, 05 Jul 2025 09:00:00 GMT\r\n",
    ] {
        let same = ask("GET", extra).await;
        assert_eq!(same.status(), 304, "{extra}");
        let head = &same.head;
        assert_eq!(head.get("etag"), Some("\"abc\""));
        assert!(head.get("cache-control").unwrap().contains("immutable"));
        assert_eq!(head.get("vary"), Some("Accept-Encoding"));
        assert!(
            !head.has("content-length") && !head.has("content-type"),
            "{head:?}"
        );
    }
    let coded = ask("GET", "Accept-Encoding: br\r\nIf-None-Match: W/\"abc\"\r\n").await;
    assert_eq!(coded.head.get("etag"), Some("W/\"abc\""));
    assert!(!coded.head.has("content-encoding"));
    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=9990-", 9990, 10_000),
        ("bytes=-5", 9995, 10_000),
    ] {
        let extra = format!("Accept-Encoding: gzip\r\nRange: {range}\r\nIf-Range: \"abc\"\r\n");
        let part = ask("GET", &extra).await;
        assert_eq!(part.status(), 206, "{range}");
        let expected = format!("bytes {start}-{}/10000", end - 1);
        assert_eq!(part.head.get("content-range"), Some(expected.as_str()));
        assert_eq!(part.head.get("etag"), Some("\"abc\""));
        assert!(!part.head.has("content-encoding"));
        assert_eq!(part.text(), body[start..end]);
    }
    for whole in [
        "Range: bytes=0-9\r\nIf-Range: \"other\"\r\n",
        "Range: bytes=0-9\r\nIf-Range: W/\"abc\"\r\n",
        "Range: bytes=0-1,5-6\r\n",
        "Range: lines=0-1\r\n",
    ] {
        let answer = ask("GET", whole).await;
        assert_eq!(
            (answer.status(), answer.body.data.len()),
            (200, 10_000),
            "{whole}"
        );
    }
    let beyond = ask("GET", "Range: bytes=10000-\r\n").await;
    assert_eq!(beyond.status(), 416);
    assert_eq!(beyond.head.get("content-range"), Some("bytes */10000"));
    let failed = ask("GET", "If-Match: \"x\"\r\n").await;
    assert_eq!(failed.status(), 412);
    let head = ask("HEAD", "").await;
    assert_eq!(head.head.get("content-length"), Some("10000"));
    let head = ask("HEAD", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(head.head.get("content-encoding"), Some("gzip"));
    assert_eq!(ask("GET", "").await.status(), 200, "no stray byte is left");
    assert_eq!(pair.blue.requests_for(BUNDLE).len(), 1);
}

#[tokio::test]
async fn a_kept_body_is_encoded_once_for_each_coding() {
    let pair = Pair::start().await;
    let body = text(200_000);
    pair.blue.on(BUNDLE, bundle(&body));
    let config = caching(&pair).set("service.app.compression.enabled = true");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    let mut lengths = Vec::new();
    for round in 0..2 {
        for coding in ["zstd", "br", "gzip"] {
            let extra = format!("Accept-Encoding: {coding}\r\n");
            let answer = client
                .ask(request(&format!("GET {BUNDLE}"), &extra, ""))
                .await;
            assert_eq!(answer.head.get("content-encoding"), Some(coding));
            assert_eq!(answer.head.get("etag"), Some("W/\"abc\""));
            assert!(answer.content() == body.as_bytes(), "{coding}");
            if round == 0 {
                lengths.push(answer.body.data.len().to_string())
            } else {
                let length = answer.head.get("content-length");
                assert_eq!(length, Some(lengths.remove(0).as_str()), "{coding}");
            }
        }
    }
    assert_eq!(pair.blue.requests_for(BUNDLE).len(), 1);
    let plain = client.ask(request(&format!("GET {BUNDLE}"), "", "")).await;
    assert!(plain.text() == body);
    let page = daemon.call("GET /metrics", "").await.text;
    for coding in ["zstd", "br", "gzip"] {
        let line = format!("switchd_uncompressed_bytes_total{{coding=\"{coding}\"}} 200000.0");
        assert!(page.lines().any(|it| it == line), "{line} in {page}");
    }
    for line in [
        "switchd_cache_requests_total{result=\"hit\"} 6.0",
        "switchd_cache_requests_total{result=\"miss\"} 1.0",
        "switchd_cache_entries 1.0",
        "switchd_cache_stored_total 1.0",
    ] {
        assert!(page.lines().any(|it| it == line), "{line} in {page}");
    }
    let entry = list(&daemon).await.entries.remove(0);
    let forms: Vec<_> = entry.forms.iter().map(|it| it.form.as_str()).collect();
    assert_eq!(forms, ["plain", "zstd", "br", "gzip"]);
}

#[tokio::test]
async fn many_who_ask_at_once_cause_one_fetch() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    let slow = Reply::steps([
        Step::TakeBody,
        Step::Wait(gate.clone()),
        Step::send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nonce"),
    ]);
    pair.blue.on("/web/static/x", slow);
    let config = caching(&pair).set("service.app.cache.waiting = 19");
    let daemon = Daemon::start(&config).await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let address = daemon.address;
        waiting.spawn(async move { get(address, "/web/static/x").await.text() });
    }
    pair.blue.saw("/web/static/x", 1).await;
    // The next one is one too many to wait: that all others do is certain then.
    eventually("twenty are here", async || {
        daemon
            .call("GET /v1/ps", "")
            .await
            .text
            .matches("/web/static/x")
            .count()
            == 20
    })
    .await;
    let mut late = Wire::connect(daemon.address).await;
    late.send(request("GET /web/static/x", "", "")).await;
    pair.blue.saw("/web/static/x", 2).await;
    gate.open();
    while let Some(text) = waiting.join_next().await {
        assert_eq!(text.unwrap(), "once");
    }
    assert_eq!(late.answer("GET").await.text(), "once");
    assert_eq!(pair.blue.requests_for("/web/static/x").len(), 2);
    let page = daemon.call("GET /metrics", "").await.text;
    let line = "switchd_cache_requests_total{result=\"waited\"} 19.0";
    assert!(page.lines().any(|it| it == line), "{page}");
}

#[tokio::test]
async fn whoever_waits_too_long_or_for_nothing_goes_by_himself() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    let fresh = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nslow";
    let held = Reply::steps([Step::TakeBody, Step::Wait(gate.clone()), Step::send(fresh)]);
    pair.blue.once("/web/static/x", held);
    pair.blue.on("/web/static/x", answer("", "quick"));
    let config = caching(&pair).set("service.app.cache.wait = \"100ms\"");
    let daemon = Daemon::start(&config).await;
    let mut slow = Wire::connect(daemon.address).await;
    slow.send(request("GET /web/static/x", "", "")).await;
    pair.blue.saw("/web/static/x", 1).await;
    assert_eq!(get(daemon.address, "/web/static/x").await.text(), "quick");
    gate.open();
    assert_eq!(slow.answer("GET").await.text(), "slow");

    // What turns out not to be kept holds nobody up until its end.
    let gate = Gate::closed();
    let private = Reply::steps([
        Step::TakeBody,
        Step::send("HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: 4\r\n\r\nsl"),
        Step::Wait(gate.clone()),
        Step::send("ow"),
    ]);
    pair.blue.once("/web/static/y", private);
    pair.blue.on("/web/static/y", answer("", "quick"));
    daemon.write_config(&caching(&pair).set("service.app.cache.wait = \"1h\""));
    daemon.ctl(&["reload"]).await;
    slow.send(request("GET /web/static/y", "", "")).await;
    pair.blue.saw("/web/static/y", 1).await;
    assert_eq!(get(daemon.address, "/web/static/y").await.text(), "quick");
    gate.open();
    assert_eq!(slow.answer("GET").await.text(), "slow");
}

#[tokio::test]
async fn when_whoever_fetches_leaves_the_next_one_fetches() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\n";
    let held = Reply::steps([
        Step::TakeBody,
        Step::send(head),
        Step::Wait(gate.clone()),
        Step::send("slow"),
    ]);
    pair.blue.once("/web/static/x", held);
    pair.blue.on(
        "/web/static/x",
        answer("Cache-Control: max-age=60\r\n", "second"),
    );
    let daemon = Daemon::start(&caching(&pair)).await;
    let mut leader = Wire::connect(daemon.address).await;
    leader.send(request("GET /web/static/x", "", "")).await;
    leader.head().await.unwrap();
    let address = daemon.address;
    let waits = tokio::spawn(async move { get(address, "/web/static/x").await.text() });
    eventually("the second one waits", async || {
        daemon
            .call("GET /v1/ps", "")
            .await
            .text
            .matches("/web/static/x")
            .count()
            == 2
    })
    .await;
    assert_eq!(pair.blue.requests_for("/web/static/x").len(), 1);
    leader.reset();
    assert_eq!(waits.await.unwrap(), "second");
    assert_eq!(get(daemon.address, "/web/static/x").await.text(), "second");
    assert_eq!(pair.blue.requests_for("/web/static/x").len(), 2);
}

#[tokio::test]
async fn a_kept_answer_needs_neither_an_upstream_nor_a_place() {
    let pair = Pair::start().await;
    pair.blue.on(BUNDLE, bundle("kept"));
    pair.blue.on("/held", Reply::never());
    let config = caching(&pair)
        .set("service.app.queue.max_in_flight = 1")
        .set("service.app.queue.length = 0");
    let daemon = Daemon::start(&config).await;
    get(daemon.address, BUNDLE).await;
    let mut held = Wire::connect(daemon.address).await;
    held.send(request("GET /held", "", "")).await;
    pair.blue.saw("/held", 1).await;
    assert_eq!(get(daemon.address, "/").await.status(), 503);
    assert_eq!(get(daemon.address, BUNDLE).await.text(), "kept");
    pair.blue.stop().await;
    pair.green.stop().await;
    assert_eq!(get(daemon.address, BUNDLE).await.text(), "kept");
    let page = daemon.call("GET /metrics", "").await.text;
    let line = "switchd_unrouted_requests_total{class=\"2xx\"} 0.0";
    assert!(
        page.lines().any(|it| it == line),
        "hits are told as hits: {page}"
    );
}

#[tokio::test]
async fn half_an_answer_is_never_kept() {
    let pair = Pair::start().await;
    let head = "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60, immutable\r\n";
    let cut = format!("{head}Content-Length: 9\r\n\r\nhalf");
    pair.blue.once("/cut", Reply::raw_then_close(cut));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    pair.blue.once("/chunked", Reply::raw_then_close(chunked));
    // Its end cannot be told from a break.
    let endless = format!("{head}Connection: close\r\n\r\nhalf");
    pair.blue.once("/endless", Reply::raw_then_close(endless));
    let daemon = Daemon::start(&caching(&pair)).await;
    for (path, end) in [
        ("/cut", End::Cut),
        ("/chunked", End::Cut),
        ("/endless", End::Clean),
    ] {
        assert_eq!(get(daemon.address, path).await.body.end, end, "{path}");
        assert_eq!(get(daemon.address, path).await.text(), "blue", "{path}");
    }
    let whole =
        format!("{head}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n4\r\nrest\r\n0\r\n\r\n");
    pair.blue.on("/whole", Reply::raw(whole));
    for _ in 0..2 {
        assert_eq!(get(daemon.address, "/whole").await.text(), "halfrest");
    }
    assert_eq!(pair.blue.requests_for("/whole").len(), 1);
}

#[tokio::test]
async fn what_memory_cannot_hold_is_given_out_from_files() {
    let pair = Pair::start().await;
    let body = text(300_000);
    for number in 0..6 {
        pair.blue.on(&format!("{BUNDLE}{number}"), bundle(&body));
    }
    let config = caching(&pair)
        .set("service.app.compression.enabled = true")
        .set("cache.memory = \"1MiB\"")
        .set("cache.disk = \"10MiB\"");
    let daemon = Daemon::start(&config).await;
    for number in 0..6 {
        get(daemon.address, &format!("{BUNDLE}{number}")).await;
        kept(&daemon, number + 1).await;
    }
    let full = kept(&daemon, 6).await;
    assert!(
        full.memory_bytes <= 1 << 20 && full.disk_bytes >= 1_800_000,
        "{full:?}"
    );
    let mut client = Wire::connect(daemon.address).await;
    for number in 0..6 {
        for extra in [
            "",
            "Accept-Encoding: gzip\r\n",
            "Range: bytes=200000-200009\r\n",
        ] {
            let line = format!("GET {BUNDLE}{number}");
            let answer = client.ask(request(&line, extra, "")).await;
            let expected = match answer.status() {
                206 => &body[200_000..200_010],
                _ => &body,
            };
            assert!(answer.content() == expected.as_bytes(), "{line} {extra}");
        }
    }
    assert_eq!(pair.blue.count(), 6);
    // With less room on disk there are fewer; the others are fetched again.
    daemon.write_config(&config.set("cache.disk = \"700KB\""));
    eventually("files are removed", async || {
        let files = std::fs::read_dir(daemon.path("state/cache"))
            .unwrap()
            .count();
        list(&daemon).await.disk_bytes <= 700_000 && files <= 10
    })
    .await;
}

#[tokio::test]
async fn what_is_immutable_outlives_a_restart() {
    let pair = Pair::start().await;
    pair.blue.on(BUNDLE, bundle("kept"));
    let fresh = "Cache-Control: max-age=3600\r\n";
    pair.blue.on("/web/static/x", answer(fresh, "x"));
    let mut daemon = Daemon::start(&caching(&pair)).await;
    get(daemon.address, BUNDLE).await;
    get(daemon.address, "/web/static/x").await;
    kept(&daemon, 2).await;
    let dir = daemon.dir();
    daemon.signal(rustix::process::Signal::TERM);
    daemon.ended().await;
    drop(daemon);
    let daemon = Daemon::start_in(dir, &[]).await;
    assert_eq!(get(daemon.address, BUNDLE).await.text(), "kept");
    assert_eq!(pair.blue.requests_for(BUNDLE).len(), 1);
    assert_eq!(list(&daemon).await.kept, 1);
}

#[tokio::test]
async fn the_operator_sees_what_is_kept_and_can_forget_it() {
    let pair = Pair::start().await;
    pair.blue.on(BUNDLE, bundle("kept"));
    pair.blue.on(
        "/web/static/x",
        answer("Cache-Control: max-age=3600\r\n", "x"),
    );
    let daemon = Daemon::start(&caching(&pair)).await;
    let empty = daemon.ctl(&["cache", "list"]).await;
    assert_eq!(empty.stdout, "nothing is kept\n");
    for _ in 0..3 {
        get(daemon.address, BUNDLE).await;
    }
    get(daemon.address, "/web/static/x").await;
    let shown = daemon.ctl(&["cache", "list"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    for word in [
        "outlives",
        "http://app.test/web/assets/1-abc/",
        "2 answers kept",
        "plain",
    ] {
        assert!(shown.stdout.contains(word), "{word} in {}", shown.stdout);
    }
    let one = daemon
        .ctl(&["cache", "list", "/web/static/", "--json"])
        .await;
    assert_eq!(one.json()["matching"], 1);
    assert_eq!(one.json()["entries"][0]["target"], "/web/static/x");
    let purged = daemon.ctl(&["cache", "purge", "/web/assets/"]).await;
    assert_eq!(purged.stdout, "1 answer forgotten, 4 B\n");
    get(daemon.address, BUNDLE).await;
    assert_eq!(pair.blue.requests_for(BUNDLE).len(), 2);
    let wrong = daemon.ctl(&["cache", "purge", "web"]).await;
    assert_eq!(wrong.code, 2);
    let unknown = daemon
        .ctl(&["cache", "purge", "/", "--service", "none"])
        .await;
    assert_eq!(unknown.code, 1, "{unknown:?}");
    let all = daemon
        .ctl(&["cache", "purge", "/", "--service", "app"])
        .await;
    assert!(all.stdout.starts_with("2 answers forgotten"), "{all:?}");
}

#[tokio::test]
async fn nothing_is_kept_unless_the_operator_says_so() {
    let pair = Pair::start().await;
    pair.blue.on(BUNDLE, bundle("fresh"));
    let daemon = pair.daemon().await;
    for _ in 0..2 {
        let answer = get(daemon.address, BUNDLE).await;
        assert!(answer.head.has("set-cookie"));
    }
    assert_eq!(pair.blue.requests_for(BUNDLE).len(), 2);
    assert!(!daemon.path("state/cache").exists());
}
