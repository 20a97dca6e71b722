//! Websockets over HTTP/2 (RFC 8441).

use crate::support::Daemon;
use crate::support::Http2;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::eventually;
use crate::support::h2_request;
use crate::support::http2::rest;
use crate::support::http2::send_all;
use crate::support::http2::whole;
use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::StreamExt;
use h2::Reason;
use h2::RecvStream;
use h2::SendStream;
use h2::ext::Protocol;
use switchd::api::CountsStatus;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

fn connect(path: &str) -> http::request::Builder {
    h2_request("CONNECT", path)
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("origin", "http://app.test")
}

/// The bytes of a stream, as a connection.
fn joined(mut send: SendStream<Bytes>, mut body: RecvStream) -> tokio::io::DuplexStream {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (mut read, mut write) = tokio::io::split(theirs);
    tokio::spawn(async move {
        let mut room = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = read.read(&mut room).await {
            let bytes = Bytes::copy_from_slice(&room[..count]);
            if send_all(&mut send, bytes, false).await.is_err() {
                return;
            }
        }
        let _ = send.send_data(Bytes::new(), true);
    });
    tokio::spawn(async move {
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            if write.write_all(&data).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    });
    ours
}

#[tokio::test]
async fn a_websocket_talks_both_ways_on_a_stream() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let request = connect("/ws?x=1")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("sec-websocket-key", "not for the upstream");
    let (response, send) = client.begin(request, true).await.unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-backend"], "blue");
    for gone in ["sec-websocket-accept", "connection", "upgrade"] {
        assert!(!response.headers().contains_key(gone), "{gone}");
    }
    let stream = joined(send, response.into_body());
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    for text in ["one", "two", &"long ".repeat(50_000)] {
        socket.send(Message::text(text)).await.unwrap();
        let answer = socket.next().await.unwrap().unwrap();
        assert_eq!(answer.to_text().unwrap(), format!("blue {text}"));
    }
    assert_eq!(daemon.slot("blue").await.in_flight.websockets, 1);
    // The connection goes on beside it.
    assert_eq!(client.get("/").await.unwrap().text(), "blue");
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    drop(socket);
    eventually("it is counted out", async || {
        daemon.slot("blue").await.in_flight == CountsStatus::default()
    })
    .await;
    let seen = pair.blue.request_for("/ws").head;
    assert_eq!(seen.first_line, "GET /ws?x=1 HTTP/1.1");
    assert_eq!(seen.get("upgrade"), Some("websocket"));
    assert!(seen.names_token("connection", "upgrade"));
    assert_eq!(seen.get("origin"), Some("http://app.test"));
    assert_eq!(seen.all("cookie"), ["a=1; b=2"]);
    assert_eq!(seen.all("sec-websocket-key").len(), 1);
}

async fn answered(daemon: &Daemon, path: &str) -> (u16, String) {
    let client = Http2::connect(daemon.address).await;
    let (response, _send) = client.begin(connect(path), true).await.unwrap();
    let answer = whole(response).await.unwrap();
    (answer.status(), answer.text())
}

#[tokio::test]
async fn an_upstream_that_declines_is_passed_on_unless_it_looks_like_a_yes() {
    let pair = Pair::start().await;
    pair.blue.on("/no", Reply::status(403, "go away"));
    pair.blue.on("/yes", Reply::status(200, "a page"));
    let daemon = pair.daemon().await;
    assert_eq!(answered(&daemon, "/no").await, (403, "go away".to_owned()));
    let (status, text) = answered(&daemon, "/yes").await;
    assert_eq!(status, 502, "a 200 would open a tunnel to a page: {text}");
}

#[tokio::test]
async fn an_upstream_that_does_not_know_the_key_is_a_502() {
    let pair = Pair::start().await;
    for (path, accept) in [
        (
            "/wrong",
            "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n",
        ),
        ("/none", ""),
    ] {
        let agree = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{accept}\r\n"
        );
        pair.blue
            .on(path, Reply::steps([Step::send(agree), Step::Echo]));
    }
    let daemon = pair.daemon().await;
    for path in ["/wrong", "/none"] {
        let (status, text) = answered(&daemon, path).await;
        assert_eq!(status, 502, "{path}: {text}");
    }
    eventually("they are counted out", async || {
        daemon.slot("blue").await.in_flight == CountsStatus::default()
    })
    .await;
}

#[tokio::test]
async fn nothing_reaches_the_upstream_before_its_101() {
    let pair = Pair::start().await;
    let gate = crate::support::Gate::closed();
    pair.blue.on(
        "/late",
        Reply::steps([Step::Wait(gate.clone()), Step::Websocket]),
    );
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let (response, send) = client.begin(connect("/late"), true).await.unwrap();
    let hello = async {
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body()
    };
    // A masked text frame, ahead of the answer.
    let mut send = send;
    let early = Bytes::from_static(b"\x81\x85\0\0\0\0early");
    send_all(&mut send, early, false).await.unwrap();
    pair.blue.saw("/late", 1).await;
    assert!(!pair.blue.got_bytes("early"));
    gate.open();
    let mut body = hello.await;
    let answer = body.data().await.unwrap().unwrap();
    assert_eq!(&answer[2..], b"blue early");
}

#[tokio::test]
async fn a_reset_ends_the_upstream_and_a_dead_upstream_ends_the_stream() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let (response, mut send) = client.begin(connect("/ws"), true).await.unwrap();
    let body = response.await.unwrap().into_body();
    send.send_reset(Reason::CANCEL);
    eventually("the tunnel is gone", async || {
        daemon.slot("blue").await.in_flight == CountsStatus::default()
    })
    .await;
    drop(body);
    let (response, _send) = client.begin(connect("/ws"), true).await.unwrap();
    let mut body = response.await.unwrap().into_body();
    pair.blue.stop().await;
    // In order or not, it ends.
    let _ = rest(&mut body).await;
}

#[tokio::test]
async fn a_silent_websocket_ends_after_its_time() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.timeouts.tunnel_idle = \"200ms\"");
    let daemon = Daemon::start(&config).await;
    let client = Http2::connect(daemon.address).await;
    let (response, _send) = client.begin(connect("/ws"), true).await.unwrap();
    let mut body = response.await.unwrap().into_body();
    assert!(rest(&mut body).await.is_err(), "cut, not ended");
    assert_eq!(client.get("/").await.unwrap().text(), "blue");
}
