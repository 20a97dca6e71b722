//! Which headers pass, and which are ours.

use crate::support::Daemon;
use crate::support::Head;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::request;

/// The head that the upstream got for a GET with these header lines.
async fn forwarded(pair: &Pair, daemon: &Daemon, extra: &str) -> Head {
    let mut client = Wire::connect(daemon.address).await;
    let answer = client.ask(request("GET /", extra, "")).await;
    assert_eq!(answer.status(), 200, "{extra:?}: {answer:?}");
    pair.blue.requests().pop().unwrap().head
}

#[tokio::test]
async fn hop_by_hop_headers_stay_on_their_hop() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let extra = "Connection: keep-alive, X-Mine, te\r\nKeep-Alive: timeout=5\r\n\
                 X-Mine: 1\r\nX-Yours: 2\r\nProxy-Connection: keep-alive\r\n\
                 Proxy-Authorization: Basic eA==\r\nTE: gzip\r\nUpgrade: h2c\r\n";
    let head = forwarded(&pair, &daemon, extra).await;
    for name in ["keep-alive", "x-mine", "proxy-connection", "upgrade"] {
        assert!(!head.has(name), "{name} passed: {head:?}");
    }
    assert!(!head.names_token("te", "gzip"), "{head:?}");
    assert!(!head.names_token("connection", "x-mine"), "{head:?}");
    assert_eq!(head.get("x-yours"), Some("2"));
}

#[tokio::test]
async fn a_connection_header_cannot_take_away_what_a_request_needs() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for name in [
        "host",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-real-ip",
        "x-request-id",
    ] {
        let head = forwarded(&pair, &daemon, &format!("Connection: {name}\r\n")).await;
        assert!(head.has(name), "{name} was taken away: {head:?}");
    }
    let mut client = Wire::connect(daemon.address).await;
    let extra = "Connection: content-length\r\n";
    client
        .send(request(
            "POST /echo",
            extra,
            "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        ))
        .await;
    client.answer("POST").await;
    assert!(pair.blue.requests_for("/smuggled").is_empty());
}

#[tokio::test]
async fn hop_by_hop_headers_of_an_answer_stay_on_their_hop() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/hops",
        Reply::raw(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Mine, keep-alive\r\n\
             X-Mine: 1\r\nX-Yours: 2\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n\
             Upgrade: h2\r\nProxy-Authenticate: Basic\r\n\r\nok",
        ),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client.ask(request("GET /hops", "", "")).await;
    assert_eq!(answer.text(), "ok");
    for name in ["x-mine", "keep-alive", "proxy-connection", "upgrade"] {
        assert!(!answer.head.has(name), "{name} passed: {answer:?}");
    }
    assert_eq!(answer.head.get("x-yours"), Some("2"));
    assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
}

#[tokio::test]
async fn header_names_with_an_underscore_are_dropped() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let extra = "X_Forwarded_For: 6.6.6.6\r\nContent_Length: 5\r\nX-Fine: 1\r\n";
    let head = forwarded(&pair, &daemon, extra).await;
    assert!(
        head.headers.iter().all(|(name, _)| !name.contains('_')),
        "{head:?}"
    );
    assert_eq!(head.get("x-fine"), Some("1"));
}

#[tokio::test]
async fn the_upstream_learns_of_the_client_from_us_alone() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let extra = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\n\
                 X-Forwarded-Port: 1\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";
    for extra in ["", extra] {
        let head = forwarded(&pair, &daemon, extra).await;
        assert_eq!(head.all("x-forwarded-for"), ["127.0.0.1"], "{head:?}");
        assert_eq!(head.all("x-real-ip"), ["127.0.0.1"]);
        assert_eq!(head.all("x-forwarded-host"), ["app.test"]);
        assert_eq!(head.all("x-forwarded-proto"), ["http"]);
        let port = daemon.address.port().to_string();
        assert_eq!(head.all("x-forwarded-port"), [port.as_str()]);
        assert!(
            head.all("forwarded")
                .iter()
                .all(|value| !value.contains("6.6.6.6")),
            "{head:?}"
        );
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_the_client_is_believed() {
    let pair = Pair::start().await;
    let config = pair.config().set("trusted_proxies = [\"127.0.0.0/8\"]");
    let daemon = Daemon::start(&config).await;
    let extra = "X-Forwarded-For: 9.9.9.9, 8.8.8.8\r\nX-Forwarded-Host: shop.test\r\n\
                 X-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n";
    let head = forwarded(&pair, &daemon, extra).await;
    assert_eq!(
        head.all("x-forwarded-for").join(", "),
        "9.9.9.9, 8.8.8.8, 127.0.0.1"
    );
    assert_eq!(
        head.all("x-real-ip"),
        ["8.8.8.8"],
        "the nearest one that we do not trust"
    );
    assert_eq!(head.all("x-forwarded-host"), ["shop.test"]);
    assert_eq!(head.all("x-forwarded-proto"), ["https"]);
    assert_eq!(head.all("x-forwarded-port"), ["443"]);
    let garbage = forwarded(&pair, &daemon, "X-Forwarded-For: not an address\r\n").await;
    assert_eq!(garbage.all("x-real-ip"), ["127.0.0.1"]);
}

#[tokio::test]
async fn each_request_has_an_id_that_a_client_may_not_choose_badly() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let first = forwarded(&pair, &daemon, "").await;
    let second = forwarded(&pair, &daemon, "").await;
    let id = |head: &Head| head.all("x-request-id").join(" ");
    assert!(id(&first).len() >= 8, "{first:?}");
    assert_ne!(id(&first), id(&second));
    let own = forwarded(&pair, &daemon, "X-Request-Id: abc-123\r\n").await;
    assert_eq!(own.all("x-request-id").len(), 1);
    let long = format!("X-Request-Id: {}\r\n", "x".repeat(5000));
    let own = forwarded(&pair, &daemon, &long).await;
    assert!(id(&own).len() < 500, "{}", id(&own).len());
}

#[tokio::test]
async fn the_request_id_of_a_trusted_proxy_passes_and_comes_back() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&pair.config().set("trusted_proxies = [\"127.0.0.1\"]")).await;
    let id = "0123456789abcdef0123456789abcdef";
    let extra = format!("X-Request-Id: {id}\r\n");
    let mut client = Wire::connect(daemon.address).await;
    let answer = client.ask(request("GET /", &extra, "")).await;
    let seen = pair.blue.requests().pop().unwrap();
    assert_eq!(seen.head.all("x-request-id"), [id]);
    let back = answer.head.get("x-request-id");
    assert!(back.is_none_or(|back| back == id), "{answer:?}");
}

#[tokio::test]
async fn all_that_trusted_proxies_say_of_the_clients_address_counts() {
    let pair = Pair::start().await;
    let config = pair.config().set("trusted_proxies = [\"127.0.0.1\"]");
    let daemon = Daemon::start(&config).await;
    // A client wrote the first line, the proxy before us added the second.
    let extra = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 8.8.8.8\r\n";
    let head = forwarded(&pair, &daemon, extra).await;
    let list = head.all("x-forwarded-for").join(", ");
    assert_eq!(list, "6.6.6.6, 8.8.8.8, 127.0.0.1");
    assert_eq!(head.all("x-real-ip"), ["8.8.8.8"]);
}

#[tokio::test]
async fn cookies_and_other_repeated_headers_stay_apart() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/cookies",
        Reply::raw(
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
        ),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client
        .ask(request(
            "GET /cookies",
            "Cookie: a=1\r\nCookie: b=2\r\nAccept: x\r\nAccept: y\r\n",
            "",
        ))
        .await;
    assert_eq!(answer.head.all("set-cookie"), ["a=1", "b=2"]);
    let seen = pair.blue.request_for("/cookies");
    assert_eq!(seen.head.all("accept"), ["x", "y"]);
    assert_eq!(seen.head.all("cookie").join("; "), "a=1; b=2");
}

#[tokio::test]
async fn values_pass_as_bytes() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/bytes",
        Reply::raw(b"HTTP/1.1 200 OK\r\nX-Latin: caf\xe9\r\nContent-Length: 0\r\n\r\n"),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send(b"GET /bytes HTTP/1.1\r\nHost: a\r\nX-Latin: caf\xe9\r\n\r\n")
        .await;
    let answer = client.answer("GET").await;
    let latin = b"caf\xe9";
    assert!(
        memchr::memmem::find(&answer.head.raw, latin).is_some(),
        "{answer:?}"
    );
    let seen = pair.blue.request_for("/bytes");
    assert!(
        memchr::memmem::find(&seen.head.raw, latin).is_some(),
        "{seen:?}"
    );
}
