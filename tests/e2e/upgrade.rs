//! Upgraded connections are tunnels.

use crate::support::Backend;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Websocket;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use switchd::api::CountsStatus;

const ASK: &str = "Connection: upgrade\r\nUpgrade: echo\r\n";
const AGREE: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";

fn echoes(backend: &Backend) {
    backend.on("/tunnel", Reply::steps([Step::send(AGREE), Step::Echo]));
}

#[tokio::test]
async fn a_websocket_talks_both_ways() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut socket = Websocket::connect(daemon.address, "/ws").await.unwrap();
    for text in ["one", "two", &"long ".repeat(50_000)] {
        assert_eq!(socket.talk(text).await.unwrap(), "blue");
    }
    socket.close().await.unwrap();
    eventually("it is counted out", async || {
        daemon.slot("blue").await.in_flight == CountsStatus::default()
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_carries_any_bytes_and_those_sent_ahead() {
    let pair = Pair::start().await;
    echoes(&pair.blue);
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let head = request("GET /tunnel", ASK, "");
    client.send([head.as_bytes(), b"ahead"].concat()).await;
    let answer = client.answer("GET").await;
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.head.get("upgrade"), Some("echo"));
    assert!(answer.head.names_token("connection", "upgrade"));
    assert_eq!(client.bytes(5).await, b"ahead");
    for piece in bytes.chunks(50_000) {
        client.send(piece).await;
        assert_eq!(client.bytes(piece.len()).await, piece);
    }
    let seen = pair.blue.request_for("/tunnel");
    assert_eq!(seen.head.get("upgrade"), Some("echo"));
    assert!(seen.head.names_token("connection", "upgrade"));
}

#[tokio::test]
async fn the_end_of_one_direction_passes_through_a_tunnel() {
    let pair = Pair::start().await;
    echoes(&pair.blue);
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /tunnel", ASK, "")).await;
    client.answer("GET").await;
    client.send("last words").await;
    client.finish_sending().await;
    assert_eq!(client.rest().await, b"last words");
}

#[tokio::test]
async fn bytes_the_upstream_sends_with_its_101_arrive() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/tunnel",
        Reply::steps([Step::send(format!("{AGREE}at once")), Step::Echo]),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /tunnel", ASK, "")).await;
    assert_eq!(client.answer("GET").await.status(), 101);
    assert_eq!(client.bytes(7).await, b"at once");
}

#[tokio::test]
async fn an_upgrade_that_the_upstream_declines_is_a_plain_answer() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client.ask(request("GET /plain", ASK, "")).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "blue"));
    let again = client.ask(request("GET /plain", "", "")).await;
    assert_eq!(again.status(), 200, "and the connection goes on");
}

#[tokio::test]
async fn an_uninvited_101_is_a_502() {
    let pair = Pair::start().await;
    pair.blue
        .on("/trap", Reply::steps([Step::send(AGREE), Step::Echo]));
    let daemon = pair.daemon().await;
    let answer = get(daemon.address, "/trap").await;
    assert_eq!(answer.status(), 502);
}

#[tokio::test]
async fn a_101_to_another_protocol_than_asked_for_is_a_502() {
    let pair = Pair::start().await;
    let other = AGREE.replace("echo", "h2c");
    pair.blue
        .on("/trap", Reply::steps([Step::send(other), Step::Echo]));
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client.ask(request("GET /trap", ASK, "")).await;
    assert_eq!(answer.status(), 502);
}

#[tokio::test]
async fn http_1_0_cannot_upgrade() {
    let pair = Pair::start().await;
    echoes(&pair.blue);
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send(format!("GET /plain HTTP/1.0\r\nHost: a\r\n{ASK}\r\n"))
        .await;
    assert_eq!(client.answer("GET").await.status(), 200);
    assert!(!pair.blue.request_for("/plain").head.has("upgrade"));
}

#[tokio::test]
async fn upgrades_can_have_a_member_of_their_own() {
    let pair = Pair::start().await;
    let sockets = Backend::start("sockets").await;
    let config = pair
        .config()
        .websocket_member("blue", &sockets)
        .websocket_member("green", &Backend::start("unused").await)
        .upgrades_route("/", "websocket");
    let daemon = Daemon::start(&config).await;
    let mut socket = Websocket::connect(daemon.address, "/ws").await.unwrap();
    assert_eq!(socket.talk("hello").await.unwrap(), "sockets");
    assert_eq!(
        get(daemon.address, "/ws").await.status(),
        426,
        "of the http member"
    );
    assert_eq!(sockets.count(), 1);
}

#[tokio::test]
async fn a_tunnel_whose_upstream_dies_ends() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut socket = Websocket::connect(daemon.address, "/ws").await.unwrap();
    socket.talk("hello").await.unwrap();
    pair.blue.stop().await;
    assert!(socket.receive().await.is_err());
}

#[tokio::test]
async fn a_silent_tunnel_ends_after_its_time() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.timeouts.tunnel_idle = \"200ms\"");
    let daemon = Daemon::start(&config).await;
    let mut socket = Websocket::connect(daemon.address, "/ws").await.unwrap();
    socket.talk("hello").await.unwrap();
    assert!(socket.receive().await.is_err());
}
