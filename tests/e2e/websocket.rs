//! What becomes of websockets when traffic leaves their slot.

use crate::flip::is_published;
use crate::support::Authority;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::frames::CLOSE;
use crate::support::frames::CONTINUATION;
use crate::support::frames::PING;
use crate::support::frames::TEXT;
use crate::support::frames::Upstreams;
use crate::support::frames::asked;
use crate::support::frames::close_payload;
use crate::support::frames::masked;
use crate::support::frames::unmasked;
use rustix::process::Signal;
use switchd::api::CountsStatus;
use switchd::api::EventKind;

const RULES: &str = "service.app.websocket";

/// All of them at once, with a code and a reason that nobody else would use.
fn config(pair: &Pair) -> Config {
    pair.config()
        .set(&format!("{RULES}.close_code = 4002"))
        .set(&format!("{RULES}.close_reason = \"moved\""))
        .set(&format!("{RULES}.spread = \"0s\""))
}

async fn told(end: &mut Wire) -> (u16, String, bool) {
    let frame = end.next_frame().await;
    let (code, reason) = frame.close();
    (code, reason, frame.masked)
}

fn moved(is_masked: bool) -> (u16, String, bool) {
    (4002, "moved".to_owned(), is_masked)
}

#[tokio::test]
async fn both_ends_are_told_and_get_a_clean_end_when_they_answer() {
    let pair = Pair::start().await;
    let mut upstreams = Upstreams::of(&pair.blue);
    let daemon = Daemon::start(&config(&pair)).await;
    let (mut client, mut upstream) = upstreams.open(daemon.address).await;
    let flip = daemon.begin_flip("green").await;
    assert_eq!(told(&mut client).await, moved(false));
    assert_eq!(told(&mut upstream).await, moved(true));
    client.send(masked(CLOSE, true, &close_payload(4002))).await;
    assert_eq!(client.frame().await, None, "the connection ends in order");
    upstream
        .send(unmasked(CLOSE, true, &close_payload(4002)))
        .await;
    assert_eq!(upstream.frame().await, None);
    flip.ends_with_cut(0).await;
}

#[tokio::test]
async fn a_client_that_answers_is_free_before_its_upstream_has_answered() {
    let pair = Pair::start().await;
    let mut upstreams = Upstreams::of(&pair.blue);
    let config = config(&pair)
        .set(&format!("{RULES}.close_timeout = \"1h\""))
        .set("service.app.flip.drain_websockets = \"2h\"");
    let daemon = Daemon::start(&config).await;
    let (mut client, mut upstream) = upstreams.open(daemon.address).await;
    let flip = daemon.begin_flip("green").await;
    assert_eq!(told(&mut client).await, moved(false));
    client.send(masked(CLOSE, true, &close_payload(4002))).await;
    assert_eq!(client.frame().await, None);
    assert_eq!(told(&mut upstream).await, moved(true));
    drop(upstream);
    flip.ends_with_cut(0).await;
}

#[tokio::test]
async fn a_websocket_over_tls_is_told_and_ends_in_order_too() {
    let pair = Pair::start().await;
    let mut upstreams = Upstreams::of(&pair.blue);
    let ca = Authority::new("the CA of this test");
    let config = config(&pair)
        .leaf("app", &ca.issue(&["app.test"]))
        .tls_listener("", &["app"])
        .set(&format!("{RULES}.close_timeout = \"1h\""))
        .set("service.app.flip.drain_websockets = \"2h\"");
    let daemon = Daemon::start(&config).await;
    let address = daemon.listener(1).await;
    let mut client = ca.client().connect(address, "app.test").await.unwrap();
    assert_eq!(client.ask(asked()).await.status(), 101);
    let mut upstream = upstreams.next().await;
    let large = vec![b'x'; 300_000];
    let there = async {
        client.send(masked(TEXT, true, &large)).await;
        assert_eq!(client.next_frame().await.payload, large);
    };
    let back = async {
        assert_eq!(upstream.next_frame().await.payload, large);
        upstream.send(unmasked(TEXT, true, &large)).await;
    };
    tokio::join!(there, back);
    let flip = daemon.begin_flip("green").await;
    assert_eq!(told(&mut client).await, moved(false));
    client.send(masked(CLOSE, true, &close_payload(4002))).await;
    let end = client.head().await;
    assert!(matches!(end, Ok(None)), "not cut: {end:?}");
    assert_eq!(told(&mut upstream).await, moved(true));
    drop(upstream);
    flip.ends_with_cut(0).await;
}

#[tokio::test]
async fn nobody_is_told_in_the_middle_of_a_message_of_either_side() {
    let pair = Pair::start().await;
    let mut upstreams = Upstreams::of(&pair.blue);
    let daemon = Daemon::start(&config(&pair).set("runtime.workers = 1")).await;
    let large = vec![b'x'; 200_000];
    let (mut client, mut upstream) = upstreams.open(daemon.address).await;
    let (mut witness, _witnessed) = upstreams.open(daemon.address).await;
    client.send(masked(TEXT, false, &large)).await;
    client.send(masked(PING, true, b"p")).await;
    upstream.send(unmasked(TEXT, false, &large)).await;
    assert_eq!(upstream.next_frame().await.payload.len(), large.len());
    assert_eq!(upstream.next_frame().await.opcode, PING);
    assert_eq!(client.next_frame().await.payload.len(), large.len());
    let flip = daemon.begin_flip("green").await;
    // All are told at once: whoever is between two messages is told by now.
    assert_eq!(told(&mut witness).await, moved(false));

    // The upstream ends its message while the client is still in its own.
    upstream.send(unmasked(CONTINUATION, true, b"end")).await;
    assert_eq!(client.next_frame().await.payload, b"end");
    client.send(masked(CONTINUATION, false, &large)).await;
    assert_eq!(upstream.next_frame().await.payload.len(), large.len());
    // A client that is told may not end what it says.
    assert!(client.is_quiet().await);
    let end = masked(CONTINUATION, true, b"end");
    // Cut within a header, and with more behind the end of the message.
    client.send(&end[..1]).await;
    client
        .send([&end[1..], &masked(TEXT, true, b"too late")].concat())
        .await;
    assert_eq!(upstream.next_frame().await.payload, b"end");
    assert_eq!(told(&mut upstream).await, moved(true));
    assert_eq!(told(&mut client).await, moved(false));

    client.send(masked(TEXT, true, b"later still")).await;
    client.send(masked(CLOSE, true, &close_payload(4002))).await;
    upstream
        .send(unmasked(TEXT, true, b"nobody reads it"))
        .await;
    upstream
        .send(unmasked(CLOSE, true, &close_payload(4002)))
        .await;
    assert_eq!(client.frame().await, None, "nothing behind a close");
    assert_eq!(upstream.frame().await, None, "nothing behind a close");
    witness
        .send(masked(CLOSE, true, &close_payload(4002)))
        .await;
    drop(flip);
}

#[tokio::test]
async fn a_side_that_stands_still_in_a_message_does_not_keep_the_other_from_being_told() {
    let pair = Pair::start().await;
    let mut upstreams = Upstreams::of(&pair.blue);
    let config = config(&pair).set(&format!("{RULES}.close_timeout = \"200ms\""));
    let daemon = Daemon::start(&config).await;
    let (mut client, mut upstream) = upstreams.open(daemon.address).await;
    client.send(masked(TEXT, false, b"and then")).await;
    upstream.next_frame().await;
    let flip = daemon.begin_flip("green").await;
    assert_eq!(told(&mut client).await, moved(false));
    // A client may answer before it has ended its message.
    client.send(masked(CLOSE, true, &close_payload(4002))).await;
    let passed = upstream.next_frame().await;
    assert_eq!((passed.opcode, passed.masked), (CLOSE, true));
    assert_eq!(client.frame().await, None);
    upstream
        .send(unmasked(CLOSE, true, &close_payload(4002)))
        .await;
    flip.ends_with_cut(0).await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_cut_in_time() {
    let pair = Pair::start().await;
    let mut upstreams = Upstreams::of(&pair.blue);
    let config = config(&pair).set(&format!("{RULES}.close_timeout = \"100ms\""));
    let daemon = Daemon::start(&config).await;
    let (mut client, _upstream) = upstreams.open(daemon.address).await;
    let flip = daemon.begin_flip("green").await;
    assert_eq!(told(&mut client).await, moved(false));
    assert_eq!(client.frame().await, None);
    flip.all().await;
    daemon.counts(&[r#"switchd_websockets_closed_total{service="app",slot="blue",reason="moved",end="cut"} 1.0"#]).await;
}

#[tokio::test]
async fn bytes_that_are_no_frames_are_passed_on_until_the_drain_is_over() {
    let pair = Pair::start().await;
    let mut upstreams = Upstreams::of(&pair.blue);
    let config = config(&pair).set("service.app.flip.drain_websockets = \"500ms\"");
    let daemon = Daemon::start(&config).await;
    let (mut client, mut upstream) = upstreams.open(daemon.address).await;
    let odd = b"\xf7\xff what is this?";
    client.send(odd).await;
    assert_eq!(upstream.bytes(odd.len()).await, odd);
    let mut flip = daemon.begin_flip("green").await;
    flip.until(is_published).await;
    client.send("it goes on").await;
    assert_eq!(upstream.bytes(10).await, b"it goes on");
    assert_eq!(client.rest().await, b"", "no close among them");
    assert_eq!(upstream.rest().await, b"");
    flip.ends_with_cut(1).await;
}

#[tokio::test]
async fn peers_that_close_by_themselves_are_left_to_it() {
    let pair = Pair::start().await;
    let mut upstreams = Upstreams::of(&pair.blue);
    let daemon = Daemon::start(&config(&pair).set("runtime.workers = 1")).await;
    let (mut client, mut upstream) = upstreams.open(daemon.address).await;
    let (mut witness, _witnessed) = upstreams.open(daemon.address).await;
    client.send(masked(CLOSE, true, &close_payload(1000))).await;
    assert_eq!(told(&mut upstream).await, (1000, String::new(), true));
    let _flip = daemon.begin_flip("green").await;
    assert_eq!(told(&mut witness).await, moved(false));
    upstream
        .send(unmasked(CLOSE, true, &close_payload(1000)))
        .await;
    drop(upstream);
    assert_eq!(told(&mut client).await, (1000, String::new(), false));
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn an_upstream_that_is_stopped_too_early_cuts_nobody_without_a_word() {
    let pair = Pair::start().await;
    let mut upstreams = Upstreams::of(&pair.blue);
    let config = config(&pair)
        .set(&format!("{RULES}.spread = \"1h\""))
        .set("service.app.flip.drain_websockets = \"2h\"");
    let daemon = Daemon::start(&config).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(upstreams.open(daemon.address).await);
    }
    let _flip = daemon.begin_flip("green").await;
    eventually("they are being moved", async || {
        daemon.stderr().contains("closing websockets")
    })
    .await;
    for (mut client, upstream) in clients {
        drop(upstream);
        assert_eq!(told(&mut client).await, moved(false));
        client.send(masked(CLOSE, true, &close_payload(4002))).await;
        assert_eq!(client.frame().await, None);
    }
}

#[tokio::test]
async fn those_that_are_kept_stay_until_the_drain_is_nearly_over() {
    let pair = Pair::start().await;
    let mut upstreams = Upstreams::of(&pair.blue);
    let config = config(&pair)
        .set(&format!("{RULES}.on_flip = \"keep\""))
        .set(&format!("{RULES}.close_timeout = \"1s\""))
        .set("service.app.flip.drain_websockets = \"1500ms\"");
    let daemon = Daemon::start(&config).await;
    let (mut client, mut upstream) = upstreams.open(daemon.address).await;
    let mut flip = daemon.begin_flip("green").await;
    flip.until(is_published).await;
    client.send(masked(TEXT, true, b"still here")).await;
    assert_eq!(upstream.next_frame().await.text(), "still here");
    assert_eq!(told(&mut client).await, moved(false));
    assert_eq!(told(&mut upstream).await, moved(true));
    client.send(masked(CLOSE, true, &close_payload(4002))).await;
    drop(upstream);
    let end = flip.all().await.pop();
    let Some(EventKind::Done {
        cut: 0,
        drained_ms: Some(took),
        ..
    }) = end
    else {
        panic!("{end:?}")
    };
    assert!((500..1500).contains(&took), "drained after {took} ms");
    daemon.counts(&[r#"switchd_websockets_closed_total{service="app",slot="blue",reason="kept",end="answered"} 1.0"#]).await;
}

#[tokio::test]
async fn those_that_are_to_be_cut_are_told_at_once_and_wait_for_no_message() {
    let pair = Pair::start().await;
    let mut upstreams = Upstreams::of(&pair.blue);
    let config = config(&pair)
        .set(&format!("{RULES}.on_flip = \"cut\""))
        .set(&format!("{RULES}.spread = \"1h\""))
        .set(&format!("{RULES}.close_timeout = \"300ms\""))
        .set("service.app.flip.drain_websockets = \"2h\"");
    let daemon = Daemon::start(&config).await;
    let (mut idle, _upstream) = upstreams.open(daemon.address).await;
    let (mut busy, mut upstream) = upstreams.open(daemon.address).await;
    upstream.send(unmasked(TEXT, false, b"and then")).await;
    busy.next_frame().await;
    let flip = daemon.begin_flip("green").await;
    assert_eq!(told(&mut idle).await, moved(false));
    assert_eq!(
        busy.frame().await,
        None,
        "cut, and nothing put into its message"
    );
    drop(idle);
    flip.all().await;
}

#[tokio::test]
async fn an_upgrade_to_something_else_stays_a_blind_tunnel() {
    let pair = Pair::start().await;
    let agree = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    let echo = Reply::steps([Step::send(agree), Step::Echo]);
    pair.blue.on("/tunnel", echo);
    let config = config(&pair).set("service.app.flip.drain_websockets = \"500ms\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    let ask = "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    client.send(ask).await;
    assert_eq!(client.answer("GET").await.status(), 101);
    let mut flip = daemon.begin_flip("green").await;
    flip.until(is_published).await;
    client.send("still here").await;
    assert_eq!(client.bytes(10).await, b"still here");
    assert_eq!(client.rest().await, b"", "no close is put into it");
    flip.ends_with_cut(1).await;
}

#[tokio::test]
async fn a_websocket_that_moves_back_by_itself_is_told_too() {
    let pair = Pair::start().await;
    let mut upstreams = Upstreams::of(&pair.blue);
    let daemon = Daemon::start(&config(&pair).set("service.app.failback.mode = \"always\"")).await;
    daemon.healthy().await;
    let (mut client, _upstream) = upstreams.open(daemon.address).await;
    pair.blue.health(Reply::status(500, "ill"));
    assert_eq!(told(&mut client).await, moved(false));
    assert_eq!(daemon.active().await, "green");
}

#[tokio::test]
async fn a_killed_websocket_is_told_and_a_second_kill_waits_for_nobody() {
    let pair = Pair::start().await;
    let mut upstreams = Upstreams::of(&pair.blue);
    let config = config(&pair).set(&format!("{RULES}.close_timeout = \"1h\""));
    let daemon = Daemon::start(&config).await;
    let (mut client, mut upstream) = upstreams.open(daemon.address).await;
    let list: switchd::api::RequestList = daemon.call("GET /v1/ps", "").await.json();
    let id = list.requests[0].id.to_string();
    assert_eq!(daemon.ctl(&["kill", &id]).await.code, 0);
    assert_eq!(told(&mut client).await, moved(false));
    assert_eq!(told(&mut upstream).await, moved(true));
    assert_eq!(daemon.ctl(&["kill", &id]).await.code, 0);
    assert_eq!(client.frame().await, None);
    assert_eq!(upstream.frame().await, None);
}

#[tokio::test]
async fn a_stop_tells_that_it_goes_away_and_waits_for_the_answers() {
    let pair = Pair::start().await;
    let mut upstreams = Upstreams::of(&pair.blue);
    let config = config(&pair)
        .set(&format!("{RULES}.close_timeout = \"1h\""))
        .set("stop.grace = \"50ms\"")
        .set("stop.timeout = \"1h\"");
    let mut daemon = Daemon::start(&config).await;
    let (mut client, mut upstream) = upstreams.open(daemon.address).await;
    daemon.signal(Signal::TERM);
    assert_eq!(told(&mut client).await, (1001, String::new(), false));
    assert_eq!(told(&mut upstream).await, (1001, String::new(), true));
    client.send(masked(CLOSE, true, &close_payload(1001))).await;
    upstream
        .send(unmasked(CLOSE, true, &close_payload(1001)))
        .await;
    assert_eq!(client.frame().await, None);
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test]
async fn upgrades_that_arrive_while_others_are_moved_go_to_the_new_slot_and_are_counted() {
    let pair = Pair::start().await;
    let mut old = Upstreams::of(&pair.blue);
    let mut new = Upstreams::of(&pair.green);
    let config = config(&pair)
        .set(&format!("{RULES}.spread = \"1h\""))
        .set("service.app.flip.drain_websockets = \"2h\"");
    let daemon = Daemon::start(&config).await;
    let (mut stays, mut upstream) = old.open(daemon.address).await;
    for text in ["one", "two"] {
        stays.send(masked(TEXT, true, text.as_bytes())).await;
        assert_eq!(upstream.next_frame().await.text(), text);
    }
    upstream.send(unmasked(TEXT, true, b"three")).await;
    stays.next_frame().await;
    let _flip = daemon.begin_flip("green").await;
    eventually("the old ones are being moved", async || {
        daemon.stderr().contains("closing websockets")
    })
    .await;
    let (mut client, mut upstream) = new.open(daemon.address).await;
    client.send(masked(TEXT, true, b"hello")).await;
    assert_eq!(upstream.next_frame().await.text(), "hello");
    let one = CountsStatus {
        websockets: 1,
        ..CountsStatus::default()
    };
    let service = daemon.service("app").await;
    assert_eq!(service.draining[0].left, one);
    let open: Vec<_> = service.slots.iter().map(|slot| slot.in_flight).collect();
    assert_eq!(open, [one, one]);
    let text = daemon.call("GET /metrics", "").await.text;
    for line in [
        r#"switchd_in_flight{service="app",slot="blue",kind="websocket"} 1.0"#,
        r#"switchd_in_flight{service="app",slot="green",kind="websocket"} 1.0"#,
        r#"switchd_websockets_returned_total{service="app",slot="green"} 1.0"#,
        r#"switchd_websockets_returned_total{service="app",slot="blue"} 0.0"#,
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in {text}");
    }
    let list: switchd::api::RequestList = daemon.call("GET /v1/ps", "").await.json();
    let [first, second] = &list.requests[..] else {
        panic!("{list:?}")
    };
    assert_eq!(
        (first.slot.as_deref(), first.messages_in, first.messages_out),
        (Some("blue"), 2, 1)
    );
    assert_eq!(
        (
            second.slot.as_deref(),
            second.messages_in,
            second.messages_out
        ),
        (Some("green"), 1, 0)
    );
}

#[tokio::test]
async fn nothing_reaches_the_upstream_before_its_101() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    let agree =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    pair.blue.on(
        "/ws",
        Reply::steps([Step::Wait(gate.clone()), Step::send(agree), Step::Echo]),
    );
    let daemon = Daemon::start(&config(&pair)).await;
    let mut client = Wire::connect(daemon.address).await;
    // Without a mask, so that it can be looked for.
    let early = unmasked(TEXT, true, b"in the same segment");
    client.send([asked().as_bytes(), &early].concat()).await;
    pair.blue.saw("/ws", 1).await;
    client.send(unmasked(TEXT, true, b"and another")).await;
    // What came with the head, or soon behind it, would be here before what is asked for now.
    assert_eq!(
        crate::support::get(daemon.address, "/").await.backend(),
        "blue"
    );
    assert!(!pair.blue.got_bytes("in the same segment"));
    assert!(!pair.blue.got_bytes("and another"));
    gate.open();
    assert_eq!(client.answer("GET").await.status(), 101);
    assert_eq!(client.next_frame().await.payload, b"in the same segment");
    assert_eq!(client.next_frame().await.payload, b"and another");
}

#[tokio::test]
async fn the_handshake_passes_untouched() {
    let pair = Pair::start().await;
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                  Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\
                  Sec-WebSocket-Protocol: bus.v2\r\n\
                  Set-Cookie: session_id=abc; Path=/\r\nSet-Cookie: two=2\r\n\
                  Access-Control-Allow-Origin: *\r\n\r\n";
    pair.blue
        .on("/ws", Reply::steps([Step::send(answer), Step::Hang]));
    let daemon = Daemon::start(&config(&pair)).await;
    let asked = "GET /ws?version=18.0-5 HTTP/1.1\r\nHost: app.test\r\nConnection: keep-alive, Upgrade\r\n\
                 Upgrade: WebSocket\r\nOrigin: https://app.test\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
                 Sec-WebSocket-Protocol: bus.v1, bus.v2\r\nCookie: session_id=abc\r\n\r\n";
    let mut client = Wire::connect(daemon.address).await;
    client.send(asked).await;
    let got = client.answer("GET").await.head;
    assert_eq!(got.status(), 101);
    for (name, value) in [
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        (
            "sec-websocket-extensions",
            "permessage-deflate; server_no_context_takeover",
        ),
        ("sec-websocket-protocol", "bus.v2"),
        ("access-control-allow-origin", "*"),
        ("upgrade", "websocket"),
    ] {
        assert_eq!(got.get(name), Some(value), "{name}");
    }
    assert_eq!(got.all("set-cookie"), ["session_id=abc; Path=/", "two=2"]);
    let seen = pair.blue.request_for("/ws").head;
    assert_eq!(seen.target(), "/ws?version=18.0-5");
    for (name, value) in [
        ("origin", "https://app.test"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        (
            "sec-websocket-extensions",
            "permessage-deflate; client_max_window_bits",
        ),
        ("sec-websocket-protocol", "bus.v1, bus.v2"),
        ("cookie", "session_id=abc"),
        ("host", "app.test"),
    ] {
        assert_eq!(seen.get(name), Some(value), "{name}");
    }
    assert!(seen.names_token("connection", "upgrade"));
}
