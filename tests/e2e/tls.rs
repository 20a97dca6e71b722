//! TLS to clients.

use crate::support::Authority;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::End;
use crate::support::Pair;
use crate::support::Wire;
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
