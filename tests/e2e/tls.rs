//! TLS to clients.

use crate::support::Authority;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::End;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;
use std::net::SocketAddr;
use tokio_rustls::rustls::HandshakeKind;
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::version::TLS12;

/// A daemon with a plain listener and one that speaks TLS as `app.test`.
struct Scene {
    pair: Pair,
    ca: Authority,
    daemon: Daemon,
    address: SocketAddr,
}

impl Scene {
    async fn start() -> Self {
        Self::with("", |config| config).await
    }

    async fn with(keys: &str, change: impl FnOnce(Config) -> Config) -> Self {
        let pair = Pair::start().await;
        let ca = Authority::new("the CA of this test");
        let config = pair
            .config()
            .leaf("app", &ca.issue(&["app.test"]))
            .tls_listener(keys, &["app"]);
        let daemon = Daemon::start(&change(config)).await;
        let address = daemon.listener(1).await;
        Self {
            pair,
            ca,
            daemon,
            address,
        }
    }

    async fn connect(&self) -> Wire {
        let wire = self.ca.client().connect(self.address, "app.test").await;
        wire.expect("the handshake succeeds")
    }
}

#[tokio::test]
async fn requests_are_served_over_tls_and_beside_it_without() {
    let scene = Scene::start().await;
    let mut secure = scene.connect().await;
    let answer = secure.ask(request("GET /secure", "", "")).await;
    assert_eq!((answer.status(), &*answer.body.data), (200, &b"blue"[..]));
    // The connection goes on.
    assert_eq!(
        secure.ask(request("GET /again", "", "")).await.status(),
        200
    );
    let version = secure.session().protocol_version();
    assert_eq!(version, Some(ProtocolVersion::TLSv1_3));
    let mut plain = Wire::connect(scene.daemon.address).await;
    assert_eq!(plain.ask(request("GET /plain", "", "")).await.status(), 200);
    let head = |path| scene.pair.blue.request_for(path).head;
    assert_eq!(head("/secure").get("x-forwarded-proto"), Some("https"));
    assert_eq!(head("/plain").get("x-forwarded-proto"), Some("http"));
    let port = scene.address.port().to_string();
    assert_eq!(head("/secure").get("x-forwarded-port"), Some(&*port));
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let scene = Scene::start().await;
    let mut client = scene.connect().await;
    let body: Vec<u8> = (0..=250).cycle().take(5_000_000).collect();
    for _ in 0..2 {
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: app.test\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        client.send([head.as_bytes(), &body].concat()).await;
        let answer = client.answer("POST").await;
        assert_eq!(answer.body.end, End::Clean);
        assert!(answer.body.data == body, "the body changed on its way");
    }
}

#[tokio::test]
async fn a_client_of_tls_1_2_is_served_and_a_session_is_resumed() {
    let scene = Scene::start().await;
    for client in [scene.ca.client(), scene.ca.client().only(&TLS12)] {
        let client = client.build();
        let mut first = client.connect(scene.address, "app.test").await.unwrap();
        assert_eq!(first.ask(request("GET /", "", "")).await.status(), 200);
        assert_eq!(first.session().handshake_kind(), Some(HandshakeKind::Full));
        drop(first);
        let mut second = client.connect(scene.address, "app.test").await.unwrap();
        assert_eq!(second.ask(request("GET /", "", "")).await.status(), 200);
        let kind = second.session().handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Resumed));
    }
}

#[tokio::test]
async fn a_plain_request_to_a_tls_port_is_told_so() {
    let scene = Scene::start().await;
    let mut client = Wire::connect(scene.address).await;
    let answer = client.ask(request("GET /", "", "")).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.head.get("x-switchd-fault"), Some("plain-http"));
    let told = String::from_utf8_lossy(&answer.body.data).into_owned();
    assert!(told.contains("https://"), "{told}");
    assert_eq!(client.rest().await, b"");
    assert_eq!(scene.pair.blue.count(), 0);
}

#[tokio::test]
async fn what_is_no_tls_and_whoever_says_nothing_is_closed_in_time_and_counted() {
    let scene = Scene::with("handshake_timeout = \"200ms\"", |config| config).await;
    let mut noise = Wire::connect(scene.address).await;
    noise.send(b"\0\0\0\0").await;
    assert_eq!(noise.rest().await, b"");
    let mut broken = Wire::connect(scene.address).await;
    broken.send(b"\x16\x03\x01\0\x05hello").await;
    broken.rest().await;
    let mut silent = Wire::connect(scene.address).await;
    assert_eq!(silent.rest().await, b"");
    let mut slow = Wire::connect(scene.address).await;
    slow.send(b"\x16\x03\x01\x01").await;
    assert_eq!(slow.rest().await, b"");
    let failures = async |reason: &str| {
        let reason = format!("\"{reason}\"");
        let words = ["tls_handshake_failures_total", &reason];
        scene.daemon.metric(&words).await
    };
    assert!(failures("malformed").await > 1.5);
    assert!(failures("timeout").await > 1.5);
    // Others are served on.
    assert_eq!(
        scene
            .connect()
            .await
            .ask(request("GET /", "", ""))
            .await
            .status(),
        200
    );
}

#[tokio::test]
async fn handshakes_are_counted_by_version_and_by_what_was_resumed() {
    let scene = Scene::start().await;
    let client = scene.ca.client().build();
    for _ in 0..3 {
        let mut wire = client.connect(scene.address, "app.test").await.unwrap();
        assert_eq!(wire.ask(request("GET /", "", "")).await.status(), 200);
    }
    let old = scene.ca.client().only(&TLS12);
    drop(old.connect(scene.address, "app.test").await.unwrap());
    let count = async |version: &str, resumed: bool| {
        let version = format!("version=\"{version}\"");
        let resumed = format!("resumed=\"{resumed}\"");
        let words = ["tls_handshakes_total", &version, &resumed];
        scene.daemon.metric(&words).await
    };
    assert!((count("1.3", false).await - 1.0).abs() < 0.1);
    assert!((count("1.3", true).await - 2.0).abs() < 0.1);
    eventually("the old one is counted", async || {
        count("1.2", false).await > 0.5
    })
    .await;
}

#[tokio::test]
async fn a_listener_for_tls_1_3_alone_refuses_older_clients_and_plain_ones_choose_http_1_1() {
    let scene = Scene::with("tls_min = \"1.3\"", |config| config).await;
    let old = scene.ca.client().only(&TLS12);
    assert!(old.connect(scene.address, "app.test").await.is_err());
    let counted = ["tls_handshake_failures_total", "incompatible"];
    eventually("it is counted", async || {
        scene.daemon.metric(&counted).await > 0.5
    })
    .await;
    let client = scene.ca.client().offering(&["http/1.1"]);
    let wire = client.connect(scene.address, "app.test").await.unwrap();
    assert_eq!(wire.session().alpn_protocol(), Some(&b"http/1.1"[..]));
    let alien = scene.ca.client().offering(&["smtp"]);
    assert!(alien.connect(scene.address, "app.test").await.is_err());
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_all_of_a_large_answer() {
    let scene = Scene::start().await;
    let body: Vec<u8> = (0..=250).cycle().take(8_000_000).collect();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer = Reply::raw([head.as_bytes(), &body].concat());
    scene.pair.blue.on("/large", answer);
    let mut client = scene.connect().await;
    client.send(request("GET /large", "", "")).await;
    // Nothing is read until the proxy has filled all that lies between, and is waiting for us.
    let mut sent = 0;
    eventually("the proxy waits for its client", async || {
        let before = sent;
        sent = scene
            .daemon
            .requests()
            .await
            .first()
            .map_or(0, |request| request.bytes_out);
        sent > 0 && sent == before
    })
    .await;
    let answer = client.answer("GET").await;
    assert_eq!(answer.body.end, End::Clean);
    assert!(answer.body.data == body, "the body changed on its way");
    // The connection goes on.
    assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection_ends_with_a_goodbye_and_one_that_is_cut_without() {
    let scene = Scene::start().await;
    let begun = "HTTP/1.1 200 OK\r\n\r\nall there is";
    scene.pair.blue.on("/whole", Reply::raw_then_close(begun));
    let cut = [Step::send("HTTP/1.1 200 OK\r\n\r\nnot all"), Step::Reset];
    scene.pair.blue.on("/cut", Reply::steps(cut));
    let old = |path: &str| format!("GET {path} HTTP/1.0\r\nHost: app.test\r\n\r\n");
    let whole = scene.connect().await.ask(old("/whole")).await;
    assert_eq!(
        (whole.text(), whole.body.end),
        ("all there is".into(), End::Clean)
    );
    let mut client = scene.connect().await;
    client.send(old("/cut")).await;
    let answer = client.try_answer("GET").await;
    assert!(answer.is_err() || answer.unwrap().body.end == End::Cut);
}

#[tokio::test]
async fn a_tunnel_goes_both_ways_and_either_end_may_finish_first() {
    let scene = Scene::start().await;
    let agree = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    let echo = Reply::steps([Step::send(agree), Step::Echo]);
    scene.pair.blue.on("/tunnel", echo);
    let mut client = scene.connect().await;
    let asks = "Connection: upgrade\r\nUpgrade: echo\r\n";
    client.send(request("GET /tunnel", asks, "")).await;
    assert_eq!(client.answer("GET").await.status(), 101);
    let bytes: Vec<u8> = (0..=250).cycle().take(300_000).collect();
    for piece in bytes.chunks(50_000) {
        client.send(piece).await;
        assert_eq!(client.bytes(piece.len()).await, piece);
    }
    client.send(b"last words").await;
    client.finish_sending().await;
    assert_eq!(client.bytes(100).await, b"last words");
}

#[tokio::test]
async fn a_hoard_of_handshakes_that_never_end_hurts_nobody() {
    let scene = Scene::start().await;
    let mut hoard = Vec::new();
    // More than both workers let stand.
    for number in 0..3000 {
        let mut wire = Wire::connect(scene.address).await;
        if number % 2 == 0 {
            wire.send(b"\x16\x03\x01\x02\0\x01").await;
        }
        hoard.push(wire);
        if number % 100 == 0 {
            let mut honest = scene.connect().await;
            assert_eq!(honest.ask(request("GET /", "", "")).await.status(), 200);
        }
    }
    let crowded = ["tls_handshake_failures_total", "crowded"];
    eventually("the oldest are crowded out", async || {
        scene.daemon.metric(&crowded).await > 900.0
    })
    .await;
    let mut honest = scene.connect().await;
    assert_eq!(honest.ask(request("GET /", "", "")).await.status(), 200);
}

#[tokio::test]
async fn a_daemon_that_stops_ends_idle_connections_with_a_goodbye() {
    let scene = Scene::with("", |config| config.set("stop.grace = \"100ms\"")).await;
    let mut client = scene.connect().await;
    assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
    scene.daemon.signal(rustix::process::Signal::TERM);
    // Without a close_notify it would be an error.
    assert!(client.head().await.expect("a goodbye").is_none());
}
