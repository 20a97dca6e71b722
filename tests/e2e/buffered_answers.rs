//! Answers that are taken as fast as the upstream gives them.

use crate::support::Answer;
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
use rustix::process::Signal;

/// More than what sockets hold between two ends.
const LONG: usize = 30_000_000;

fn buffering(pair: &Pair) -> Config {
    pair.config().set("service.app.buffering.responses = true")
}

async fn start(pair: &Pair) -> Daemon {
    Daemon::start(&buffering(pair)).await
}

fn text(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| b'a' + u8::try_from(i % 23).unwrap())
        .collect()
}

/// A whole answer of so many bytes, with these header lines.
fn long(length: usize, lines: &str) -> Reply {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{lines}\r\n");
    Reply::raw([head.into_bytes(), text(length)].concat())
}

/// Asks, and reads nothing.
async fn ask_and_wait(daemon: &Daemon, path: &str) -> Wire {
    let mut client = Wire::connect(daemon.address).await;
    client.send(request(&format!("GET {path}"), "", "")).await;
    client
}

async fn shows(daemon: &Daemon, path: &str, state: &str) {
    eventually(&format!("{path} is {state}"), async || {
        let requests = daemon.requests().await;
        requests
            .iter()
            .any(|request| request.path == path && request.state == state)
    })
    .await;
}

async fn nothing_is_kept(daemon: &Daemon) {
    eventually("nothing is kept any more", async || {
        daemon.metric(&["switchd_bodies_bytes"]).await < 0.1
    })
    .await;
}

fn assert_whole(answer: &Answer, length: usize) {
    assert_eq!((answer.status(), answer.body.end), (200, End::Clean));
    assert!(answer.body.data == text(length), "the same bytes come out");
}

#[tokio::test]
async fn an_upstream_is_free_with_its_last_byte_however_slow_the_client_is() {
    let pair = Pair::start().await;
    pair.blue.on("/long", long(LONG, ""));
    let config = buffering(&pair)
        .set("runtime.workers = 1")
        .set("service.app.queue.max_in_flight = 1");
    let daemon = Daemon::start(&config).await;
    let mut client = ask_and_wait(&daemon, "/long").await;
    shows(&daemon, "/long", "delivering").await;
    // Its place is free, its connection serves others, and nothing is counted on its slot.
    assert_eq!(get(daemon.address, "/").await.text(), "blue");
    let seen = pair.blue.requests();
    assert_eq!(seen[0].connection, seen[1].connection);
    let blue = daemon.slot("blue").await;
    let counts = blue.in_flight;
    assert_eq!(counts.requests + counts.transfers, 0, "{counts:?}");
    let shown = daemon.requests().await;
    assert_eq!(shown[0].slot.as_deref(), Some("blue"));
    let endpoint = pair.blue.address().to_string();
    assert_eq!(shown[0].endpoint.as_deref(), Some(endpoint.as_str()));
    assert!(shown[0].bytes_out < LONG as u64, "{shown:?}");
    assert!(daemon.metric(&["bodies_bytes", "disk"]).await > 1_000_000.0);
    let names = std::fs::read_dir(daemon.path("state/spool")).unwrap();
    assert_eq!(names.count(), 0, "a crash would leave something");
    // A flip leaves nothing to wait for: the slot may be stopped.
    daemon.flip("green").await;
    pair.blue.stop().await;
    assert_whole(&client.answer("GET").await, LONG);
    assert_eq!(client.ask(request("GET /", "", "")).await.text(), "green");
    nothing_is_kept(&daemon).await;
}

#[tokio::test]
async fn a_drain_that_cuts_off_others_leaves_a_kept_answer_alone() {
    let pair = Pair::start().await;
    pair.blue.on("/long", long(LONG, ""));
    pair.blue.on("/never", Reply::never());
    let config = buffering(&pair).set("service.app.flip.drain_timeout = \"100ms\"");
    let daemon = Daemon::start(&config).await;
    let mut client = ask_and_wait(&daemon, "/long").await;
    shows(&daemon, "/long", "delivering").await;
    let mut other = ask_and_wait(&daemon, "/never").await;
    pair.blue.saw("/never", 1).await;
    let flip = daemon.ctl(&["flip", "green"]).await;
    assert_eq!(flip.code, 6, "done, and something was cut off: {flip:?}");
    assert_eq!(other.answer("GET").await.status(), 503);
    assert_whole(&client.answer("GET").await, LONG);
}

#[tokio::test]
async fn first_bytes_are_never_kept_back() {
    let pair = Pair::start().await;
    let daemon = start(&pair).await;
    for lines in [
        "Content-Length: 10\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n",
        "X-Accel-Buffering: no\r\nContent-Length: 10\r\n",
    ] {
        let gate = Gate::closed();
        let is_chunked = lines.contains("chunked");
        let (first, rest) = if is_chunked {
            ("5\r\nfirst\r\n", "5\r\n last\r\n0\r\n\r\n")
        } else {
            ("first", " last")
        };
        pair.blue.on(
            "/slow",
            Reply::steps([
                Step::TakeBody,
                Step::send(format!("HTTP/1.1 200 OK\r\n{lines}\r\n")),
                Step::send(first),
                Step::Wait(gate.clone()),
                Step::send(rest),
            ]),
        );
        let mut client = ask_and_wait(&daemon, "/slow").await;
        let head = client.head().await.unwrap().unwrap();
        assert_eq!(head.status(), 200);
        assert!(!head.has("x-accel-buffering"), "{head:?}");
        assert_eq!(client.bytes(first.len()).await, first.as_bytes());
        gate.open();
        assert_eq!(client.bytes(rest.len()).await, rest.as_bytes());
    }
}

/// Bytes that are passed on as they come wait in sockets, at both sides.
#[tokio::test]
async fn event_streams_and_who_asks_for_it_are_passed_on_as_they_come() {
    let pair = Pair::start().await;
    let daemon = start(&pair).await;
    for (path, lines) in [
        (
            "/events",
            "Content-Type: Text/Event-Stream; charset=utf-8\r\n",
        ),
        ("/asked", "X-Accel-Buffering: No\r\n"),
    ] {
        pair.blue.on(path, long(LONG, lines));
        let mut client = ask_and_wait(&daemon, path).await;
        shows(&daemon, path, "answering").await;
        pair.blue.probed(2).await;
        assert!(daemon.metric(&["switchd_bodies_bytes"]).await < 0.1);
        assert_whole(&client.answer("GET").await, LONG);
    }
    assert!(daemon.metric(&["switchd_bodies_spooled"]).await < 0.1);
}

#[tokio::test]
async fn an_instruction_to_the_proxy_is_passed_on_where_we_do_not_follow_it() {
    let pair = Pair::start().await;
    pair.blue.on("/asked", long(2, "X-Accel-Buffering: no\r\n"));
    let daemon = pair.daemon().await;
    let answer = get(daemon.address, "/asked").await;
    assert_eq!(answer.head.get("x-accel-buffering"), Some("no"));
}

#[tokio::test]
async fn answers_keep_their_shape() {
    let pair = Pair::start().await;
    let daemon = start(&pair).await;
    pair.blue.on(
        "/304",
        Reply::raw("HTTP/1.1 304 Same\r\nContent-Length: 500\r\nETag: x\r\n\r\n"),
    );
    pair.blue
        .on("/204", Reply::raw("HTTP/1.1 204 None\r\n\r\n"));
    pair.blue.on(
        "/head",
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
    );
    pair.blue.on(
        "/trailers",
        Reply::raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n",
        ),
    );
    let mut client = Wire::connect(daemon.address).await;
    assert_eq!(client.ask(request("GET /204", "", "")).await.status(), 204);
    assert_eq!(client.ask(request("GET /304", "", "")).await.status(), 304);
    let head = client.ask(request("HEAD /head", "", "")).await;
    assert_eq!(head.head.get("content-length"), Some("5000"));
    let chunked = client.ask(request("GET /trailers", "", "")).await;
    assert_eq!(chunked.text(), "hello");
    assert_eq!(chunked.body.trailers, [("X-Sum".into(), "7".into())]);
    assert_eq!(client.ask(request("GET /", "", "")).await.text(), "blue");
}

#[tokio::test]
async fn a_long_answer_of_unknown_length_is_whole_too() {
    let pair = Pair::start().await;
    let chunk = [b"e4e1c0\r\n".as_slice(), &text(15_000_000), b"\r\n"].concat();
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice();
    let chunked = [head, &chunk, &chunk, b"0\r\nX-Sum: 7\r\n\r\n"].concat();
    pair.blue.on("/chunked", Reply::raw(chunked));
    let until_close = [b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &text(LONG)].concat();
    pair.blue.on("/close", Reply::raw_then_close(until_close));
    let daemon = start(&pair).await;
    let mut client = ask_and_wait(&daemon, "/chunked").await;
    shows(&daemon, "/chunked", "delivering").await;
    let answer = client.answer("GET").await;
    assert!(answer.body.data == text(15_000_000).repeat(2));
    assert_eq!(answer.body.trailers, [("X-Sum".into(), "7".into())]);
    client.send(request("GET /close", "", "")).await;
    shows(&daemon, "/close", "delivering").await;
    assert_whole(&client.answer("GET").await, LONG);
    let mut old = Wire::connect(daemon.address).await;
    old.send("GET /close HTTP/1.0\r\nHost: a\r\n\r\n").await;
    shows(&daemon, "/close", "delivering").await;
    assert_whole(&old.answer("GET").await, LONG);
}

#[tokio::test]
async fn an_answer_cut_short_upstream_is_given_as_far_as_it_came_and_is_no_clean_end() {
    let pair = Pair::start().await;
    let counted = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * LONG);
    let until_reset = "HTTP/1.1 200 OK\r\n\r\n".to_owned();
    for (head, last) in [(counted, Step::Close), (until_reset, Step::Reset)] {
        let gate = Gate::closed();
        let bytes = [head.as_bytes(), &text(LONG)].concat();
        pair.blue.on(
            "/cut",
            Reply::steps([
                Step::TakeBody,
                Step::send(bytes),
                Step::Wait(gate.clone()),
                last,
            ]),
        );
        let daemon = start(&pair).await;
        let mut client = ask_and_wait(&daemon, "/cut").await;
        eventually("all was read", async || {
            daemon.metric(&["bodies_bytes", "disk"]).await > 20_000_000.0
        })
        .await;
        gate.open();
        shows(&daemon, "/cut", "delivering").await;
        let answer = client.answer("GET").await;
        assert_eq!(answer.body.end, End::Cut);
        // A reset takes along what was still under way to us.
        let given = &answer.body.data;
        assert!(text(LONG).starts_with(given), "what came is given");
        assert!(given.len() > 20_000_000, "{}", given.len());
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_what_was_kept_for_it() {
    let pair = Pair::start().await;
    pair.blue.on("/long", long(LONG, ""));
    let config = buffering(&pair).set("access_log.target = \"DIR/access.log\"");
    let daemon = Daemon::start(&config).await;
    let client = ask_and_wait(&daemon, "/long").await;
    shows(&daemon, "/long", "delivering").await;
    drop(client);
    nothing_is_kept(&daemon).await;
    let log = || std::fs::read_to_string(daemon.path("access.log")).unwrap_or_default();
    eventually("it is logged", async || log().contains("/long")).await;
    let line: serde_json::Value = serde_json::from_str(log().lines().next().unwrap()).unwrap();
    assert_eq!(line["slot"], "blue");
    assert_eq!(line["fault"], "client-gone");
    let given = line["bytes_out"].as_u64().unwrap();
    assert!(given > 0 && given < LONG as u64, "{given}");
}

#[tokio::test]
async fn a_kept_answer_can_be_ended_by_an_operator_and_has_no_total_time() {
    let pair = Pair::start().await;
    pair.blue.on("/long", long(LONG, ""));
    // On a busy machine too it is long enough for all of it to come from the upstream.
    let config = buffering(&pair).set("service.app.timeouts.total = \"4s\"");
    let daemon = Daemon::start(&config).await;
    let mut patient = ask_and_wait(&daemon, "/long").await;
    let mut killed = ask_and_wait(&daemon, "/long").await;
    eventually("both are kept", async || {
        let requests = daemon.requests().await;
        let kept = requests.iter().filter(|it| it.state == "delivering");
        kept.count() == 2 && requests.iter().all(|request| request.age_ms > 4500)
    })
    .await;
    let id = daemon.requests().await[1].id;
    let ended = daemon.ctl(&["kill", &id.to_string()]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let answers = [patient.answer("GET").await, killed.answer("GET").await];
    let whole = answers.iter().filter(|it| it.body.end == End::Clean);
    assert_eq!(whole.count(), 1);
}

#[tokio::test]
async fn a_client_that_takes_nothing_for_too_long_is_let_go() {
    let pair = Pair::start().await;
    pair.blue.on("/long", long(LONG, ""));
    let config = buffering(&pair).set("service.app.timeouts.idle = \"300ms\"");
    let daemon = Daemon::start(&config).await;
    let mut client = ask_and_wait(&daemon, "/long").await;
    shows(&daemon, "/long", "delivering").await;
    nothing_is_kept(&daemon).await;
    assert_eq!(client.answer("GET").await.body.end, End::Cut);
}

#[tokio::test]
async fn a_stop_lets_a_kept_answer_finish() {
    let pair = Pair::start().await;
    pair.blue.on("/long", long(LONG, ""));
    let mut daemon = start(&pair).await;
    let mut client = ask_and_wait(&daemon, "/long").await;
    shows(&daemon, "/long", "delivering").await;
    daemon.signal(Signal::TERM);
    assert_whole(&client.answer("GET").await, LONG);
    drop(client);
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test]
async fn without_room_an_answer_goes_on_at_its_clients_pace() {
    let pair = Pair::start().await;
    pair.blue.on("/long", long(LONG, ""));
    for limit in [
        "spool.max_size = \"2MB\"",
        "service.app.buffering.max_disk = \"2MB\"",
    ] {
        let daemon = Daemon::start(&buffering(&pair).set(limit)).await;
        let mut client = ask_and_wait(&daemon, "/long").await;
        eventually("the disk is as full as it may be", async || {
            daemon.metric(&["bodies_bytes", "disk"]).await > 1_500_000.0
        })
        .await;
        pair.blue.probed(2).await;
        assert!(daemon.metric(&["bodies_bytes", "disk"]).await <= 2_000_000.0);
        shows(&daemon, "/long", "answering").await;
        assert_whole(&client.answer("GET").await, LONG);
        let held_up = daemon.metric(&["without_room_total", "answer"]).await;
        assert!((held_up - f64::from(limit.contains("max_size"))).abs() < 0.1);
        nothing_is_kept(&daemon).await;
    }
}

#[tokio::test]
async fn a_disk_that_fails_only_takes_the_head_start_away() {
    let pair = Pair::start().await;
    pair.blue.on("/long", long(LONG, ""));
    let daemon = start(&pair).await;
    let folder = daemon.path("state/spool");
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    let mut client = ask_and_wait(&daemon, "/long").await;
    eventually("it is told", async || {
        daemon.stderr().contains("no room for a body")
    })
    .await;
    assert_whole(&client.answer("GET").await, LONG);
}

#[tokio::test]
async fn a_route_may_do_otherwise() {
    let pair = Pair::start().await;
    pair.blue.on("/long", long(LONG, ""));
    pair.blue.on("/plain/long", long(LONG, ""));
    let config = buffering(&pair)
        .route("/plain", "http")
        .with_in_route("buffer_responses = false");
    let daemon = Daemon::start(&config).await;
    let mut kept = ask_and_wait(&daemon, "/long").await;
    let mut streamed = ask_and_wait(&daemon, "/plain/long").await;
    shows(&daemon, "/long", "delivering").await;
    shows(&daemon, "/plain/long", "answering").await;
    assert_whole(&kept.answer("GET").await, LONG);
    assert_whole(&streamed.answer("GET").await, LONG);
}
