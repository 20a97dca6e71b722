//! The websocket half of the Odoo double is what the facts say of Odoo's gevent process.

use crate::support::Behaviour;
use crate::support::Database;
use crate::support::MOST_FRAMES;
use crate::support::Odoo;
use crate::support::WebsocketEvent as Event;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use std::net::SocketAddr;
use std::time::Duration;

const PATH: &str = "GET /websocket?version=18.0-5";
const ASK: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nOrigin: http://app.test\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn quick(pace: u32) -> Odoo {
    Odoo::start_on("blue", Behaviour::at_pace(pace), &Database::new())
}

/// A short frame of a client; its mask is zero.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = 0x80 | u8::try_from(payload.len()).unwrap();
    [&[0x80 | opcode, length, 0, 0, 0, 0], payload].concat()
}

async fn opened(to: SocketAddr, line: &str, extra: &str) -> Wire {
    let mut client = Wire::connect(to).await;
    client
        .send(request(line, &format!("{ASK}{extra}"), ""))
        .await;
    assert_eq!(client.answer("GET").await.status(), 101);
    client
}

/// The close frame that comes next, with its reason.
async fn closed(client: &mut Wire) -> (u16, String) {
    let head = client.bytes(2).await;
    assert_eq!(head.first(), Some(&0x88), "a close frame, not {head:?}");
    let payload = client.bytes(usize::from(head[1])).await;
    let reason = String::from_utf8_lossy(&payload[2..]).into_owned();
    (u16::from_be_bytes([payload[0], payload[1]]), reason)
}

#[tokio::test]
async fn a_handshake_is_answered_with_a_cookie_and_no_extension() {
    let odoo = quick(1);
    let mut client = Wire::connect(odoo.websocket_address()).await;
    client.send(request(PATH, ASK, "")).await;
    let answer = client.answer("GET").await;
    assert_eq!(
        answer.head.get("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert!(
        answer
            .head
            .get("set-cookie")
            .unwrap()
            .starts_with("session_id=")
    );
    assert!(!answer.head.has("sec-websocket-extensions"));
}

#[tokio::test]
async fn an_incomplete_handshake_is_refused() {
    let odoo = quick(1);
    for (missing, status) in [
        ("Origin: http://app.test\r\n", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400),
        ("Upgrade: websocket\r\n", 400),
        ("Connection: Upgrade\r\n", 400),
        ("Sec-WebSocket-Version: 13\r\n", 400),
    ] {
        let mut client = Wire::connect(odoo.websocket_address()).await;
        let lines = ASK.replace(missing, "");
        let answer = client.ask(request(PATH, &lines, "")).await;
        assert_eq!(answer.status(), status, "without {missing}");
    }
    let mut client = Wire::connect(odoo.websocket_address()).await;
    let answer = client.ask(format!("{PATH} HTTP/1.1\r\n{ASK}\r\n")).await;
    assert_eq!(answer.status(), 500, "without a Host");
    let mut client = Wire::connect(odoo.http_address()).await;
    let answer = client.ask(request(PATH, ASK, "")).await;
    assert_eq!(answer.status(), 500, "on the http port");
}

#[tokio::test]
async fn a_browser_with_another_version_is_sent_away_for_good() {
    let odoo = quick(1);
    let browser = "User-Agent: Mozilla/5.0\r\n";
    let line = "GET /websocket?version=17.0-1";
    let mut client = opened(odoo.websocket_address(), line, browser).await;
    assert_eq!(
        closed(&mut client).await,
        (1000, "OUTDATED_VERSION".to_owned())
    );
    let mut same = opened(odoo.websocket_address(), PATH, browser).await;
    odoo.notify("[]");
    assert_eq!(same.bytes(4).await, b"\x81\x02[]");
}

#[tokio::test]
async fn a_frame_in_the_handshakes_segment_is_lost() {
    let odoo = quick(1);
    let mut client = Wire::connect(odoo.websocket_address()).await;
    let ask = request(PATH, ASK, "");
    client
        .send([ask.as_bytes(), &frame(1, b"early")].concat())
        .await;
    assert_eq!(client.answer("GET").await.status(), 101);
    client.send(frame(1, b"later")).await;
    eventually("a message came", async || {
        !odoo.record().websockets()[0].events.is_empty()
    })
    .await;
    let events = &odoo.record().websockets()[0].events;
    assert_eq!(events, &[Event::Message(b"later".to_vec())]);
}

#[tokio::test]
async fn more_frames_than_it_likes_close_the_socket_with_1013_pings_count() {
    let odoo = quick(1);
    let mut client = opened(odoo.websocket_address(), PATH, "").await;
    for _ in 0..MOST_FRAMES {
        client.send(frame(9, b"")).await;
        assert_eq!(client.bytes(2).await, b"\x8a\x00");
    }
    client.send(frame(9, b"")).await;
    assert_eq!(closed(&mut client).await.0, 1013);
}

#[tokio::test]
async fn what_no_client_may_send_has_its_close_code() {
    let odoo = quick(1);
    let session = odoo.database().log_in("admin");
    let cookie = format!("Cookie: session_id={session}\r\n");
    let unmasked = b"\x81\x01a".to_vec();
    let mut with_rsv = frame(1, b"a");
    with_rsv[0] |= 0x40;
    let mut too_long = vec![0x81, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0];
    too_long.resize(too_long.len() + (1 << 20) + 1, b'x');
    for (bytes, code) in [(unmasked, 1002), (with_rsv, 1002), (too_long, 1009)] {
        let mut client = opened(odoo.websocket_address(), PATH, &cookie).await;
        client.send(bytes).await;
        assert_eq!(closed(&mut client).await.0, code);
    }
    let mut client = opened(odoo.websocket_address(), PATH, &cookie).await;
    let extra = format!("{cookie}Content-Type: application/json\r\n");
    let raw = request("POST /web/session/destroy", &extra, r#"{"params":{}}"#);
    Wire::connect(odoo.http_address()).await.ask(raw).await;
    client.send(frame(1, b"{}")).await;
    assert_eq!(closed(&mut client).await.0, 4001, "after a logout");
}

#[tokio::test]
async fn silence_is_pinged_twice_and_then_ended_without_a_close_frame() {
    let odoo = quick(500);
    let mut client = opened(odoo.websocket_address(), PATH, "").await;
    assert_eq!(client.rest().await, b"\x89\x00\x89\x00");
    let mut client = opened(odoo.websocket_address(), PATH, "").await;
    for _ in 0..4 {
        assert_eq!(client.bytes(2).await, b"\x89\x00");
        client.send(frame(10, b"")).await;
    }
}

#[tokio::test]
async fn a_close_of_the_client_is_answered() {
    let odoo = quick(1);
    let mut client = opened(odoo.websocket_address(), PATH, "").await;
    client.send(frame(8, b"\x03\xe9bye")).await;
    assert_eq!(closed(&mut client).await.0, 1001);
    assert_eq!(client.rest().await, b"");
    let events = &odoo.record().websockets()[0].events;
    assert_eq!(events[0], Event::CloseReceived(1001, "bye".to_owned()));
    eventually("it is counted out", async || odoo.open_websockets() == 0).await;
}

#[tokio::test]
async fn a_signal_ends_websockets_without_a_close_frame() {
    let odoo = quick(10);
    let mut client = opened(odoo.websocket_address(), PATH, "").await;
    odoo.terminate();
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn the_threaded_server_says_1001_and_waits_for_every_open_connection() {
    let odoo = Odoo::start_on("blue", Behaviour::threaded(), &Database::new());
    let mut client = opened(odoo.http_address(), PATH, "").await;
    let silent = tokio::net::TcpStream::connect(odoo.http_address())
        .await
        .unwrap();
    eventually("both are taken", async || odoo.record().connections() == 2).await;
    odoo.terminate();
    assert_eq!(closed(&mut client).await.0, 1001);
    client.send(frame(8, b"\x03\xe9")).await;
    assert_eq!(client.rest().await, b"");
    eventually("it refuses", async || {
        tokio::net::TcpStream::connect(odoo.http_address())
            .await
            .is_err()
    })
    .await;
    assert!(!odoo.is_gone(), "a dataless connection is open");
    drop(silent);
    odoo.gone().await;
}

#[tokio::test]
async fn health_says_pass_beside_a_dead_websocket_process() {
    let odoo = quick(1);
    odoo.crash_gevent();
    eventually("it refuses", async || {
        tokio::net::TcpStream::connect(odoo.websocket_address())
            .await
            .is_err()
    })
    .await;
    assert_eq!(get(odoo.http_address(), "/web/health").await.status(), 200);
}

#[tokio::test]
async fn a_message_may_come_in_fragments() {
    let odoo = quick(1);
    let mut client = opened(odoo.websocket_address(), PATH, "").await;
    odoo.notify_in_fragments(3, 2, Duration::from_millis(5));
    assert_eq!(client.bytes(12).await, b"\x01\x02xx\x00\x02xx\x80\x02xx");
    odoo.close_websockets(4002, "kept alive");
    assert_eq!(closed(&mut client).await, (4002, "kept alive".to_owned()));
}
