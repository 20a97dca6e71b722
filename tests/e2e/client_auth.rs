//! Clients that prove who they are with a certificate.

use crate::support::Authority;
use crate::support::Daemon;
use crate::support::Leaf;
use crate::support::Pair;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;
use std::io;
use std::net::SocketAddr;
use tokio_rustls::rustls::version::TLS12;

struct Scene {
    pair: Pair,
    ca: Authority,
    /// Vouches for clients.
    clients: Authority,
    daemon: Daemon,
    address: SocketAddr,
}

impl Scene {
    async fn start(client_auth: &str) -> Self {
        let pair = Pair::start().await;
        let ca = Authority::new("the CA of this test");
        let clients = Authority::new("the CA of its clients");
        let keys = format!("client_auth = {client_auth:?}\nclient_ca = \"DIR/clients.pem\"");
        let config = pair
            .config()
            .leaf("app", &ca.issue(&["app.test"]))
            .file("clients.pem", &clients.pem)
            .tls_listener(&keys, &["app"]);
        let daemon = Daemon::start(&config).await;
        let address = daemon.listener(1).await;
        Self {
            pair,
            ca,
            clients,
            daemon,
            address,
        }
    }

    /// A client sees that it was refused when it reads, not when it has shaken hands.
    async fn ask(&self, path: &str, leaf: Option<&Leaf>) -> io::Result<u16> {
        let mut client = self.ca.client();
        if let Some(leaf) = leaf {
            client = client.with_certificate(leaf);
        }
        let mut wire: Wire = client.connect(self.address, "app.test").await?;
        let spoof = "X-Client-Verify: SUCCESS\r\nx-client-subject: CN=admin\r\nX-Client-Fingerprint: 00\r\nX_Client_Verify: SUCCESS\r\n";
        wire.send(request(&format!("GET {path}"), spoof, "")).await;
        Ok(wire.try_answer("GET").await?.status())
    }

    async fn failed(&self, reason: &str) {
        let name = format!("\"{reason}\"");
        eventually(&format!("{reason} is counted"), async || {
            self.daemon
                .metric(&["tls_handshake_failures_total", &name])
                .await
                > 0.5
        })
        .await;
    }
}

#[tokio::test]
async fn where_it_is_required_only_verified_clients_come_in_and_upstreams_are_told_who_they_are() {
    let scene = Scene::start("required").await;
    let alice = scene.clients.issue(&["alice"]);
    assert_eq!(scene.ask("/alice", Some(&alice)).await.unwrap(), 200);
    let head = scene.pair.blue.request_for("/alice").head;
    assert_eq!(head.all("x-client-verify"), ["SUCCESS"]);
    assert_eq!(head.all("x-client-subject"), ["CN=alice"]);
    let [fingerprint] = head.all("x-client-fingerprint")[..] else {
        panic!("one fingerprint: {head:?}");
    };
    assert!(
        fingerprint.len() == 64 && fingerprint.bytes().all(|it| it.is_ascii_hexdigit()),
        "{fingerprint}"
    );
    assert!(!head.has("x_client_verify"));
    assert!(scene.ask("/", None).await.is_err());
    scene.failed("no-client-certificate").await;
    let stranger = scene.ca.issue(&["alice"]);
    assert!(scene.ask("/", Some(&stranger)).await.is_err());
    scene.failed("unknown-client").await;
    let expired = scene.clients.issue_for_days(&["alice"], -10, -1);
    assert!(scene.ask("/", Some(&expired)).await.is_err());
    scene.failed("bad-client-certificate").await;
    assert_eq!(scene.pair.blue.count(), 1);
}

#[tokio::test]
async fn a_resumed_session_still_tells_whose_it_is() {
    let scene = Scene::start("required").await;
    let alice = scene.clients.issue(&["alice"]);
    for client in [scene.ca.client(), scene.ca.client().only(&TLS12)] {
        let client = client.with_certificate(&alice).build();
        for path in ["/first", "/again"] {
            let before = scene.pair.blue.requests_for(path).len();
            let mut wire = client.connect(scene.address, "app.test").await.unwrap();
            let answer = wire.ask(request(&format!("GET {path}"), "", "")).await;
            assert_eq!(answer.status(), 200);
            let seen = scene.pair.blue.requests_for(path);
            assert_eq!(seen[before].head.all("x-client-subject"), ["CN=alice"]);
        }
    }
}

#[tokio::test]
async fn where_it_is_optional_those_without_are_told_apart_and_impostors_are_refused() {
    let scene = Scene::start("optional").await;
    assert_eq!(scene.ask("/nobody", None).await.unwrap(), 200);
    let head = scene.pair.blue.request_for("/nobody").head;
    assert_eq!(head.all("x-client-verify"), ["NONE"]);
    assert!(!head.has("x-client-subject") && !head.has("x-client-fingerprint"));
    let bob = scene.clients.issue(&["bob"]);
    assert_eq!(scene.ask("/bob", Some(&bob)).await.unwrap(), 200);
    let head = scene.pair.blue.request_for("/bob").head;
    assert_eq!(head.all("x-client-subject"), ["CN=bob"]);
    let stranger = scene.ca.issue(&["bob"]);
    assert!(scene.ask("/", Some(&stranger)).await.is_err());
}

#[tokio::test]
async fn who_is_not_asked_cannot_claim_to_be_verified() {
    let scene = Scene::start("required").await;
    let mut plain = Wire::connect(scene.daemon.address).await;
    let spoof = "X-Client-Verify: SUCCESS\r\nX-Client-Subject: CN=admin\r\n";
    plain.ask(request("GET /plain", spoof, "")).await;
    let head = scene.pair.blue.request_for("/plain").head;
    assert!(!head.has("x-client-verify") && !head.has("x-client-subject"));
}

#[tokio::test]
async fn another_ca_of_clients_is_in_force_at_once_and_ends_what_could_be_resumed() {
    let scene = Scene::start("required").await;
    let alice = scene.clients.issue(&["alice"]);
    let client = scene.ca.client().with_certificate(&alice).build();
    let ask = async || {
        let mut wire = client.connect(scene.address, "app.test").await?;
        wire.send(request("GET /", "", "")).await;
        wire.try_answer("GET").await.map(|answer| answer.status())
    };
    assert_eq!(ask().await.unwrap(), 200);
    let others = Authority::new("another CA of clients");
    std::fs::write(scene.daemon.path("clients.pem"), &others.pem).unwrap();
    eventually("alice is refused", async || ask().await.is_err()).await;
    let eve = others.issue(&["eve"]);
    assert_eq!(scene.ask("/eve", Some(&eve)).await.unwrap(), 200);
}
