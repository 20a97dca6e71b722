//! Every limit of a request holds for one on HTTP/2 too, and harms no other on its connection.

use crate::support::Daemon;
use crate::support::Frames;
use crate::support::Gate;
use crate::support::Http2;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::h2_request;
use crate::support::http2::PREFACE;
use crate::support::http2::frame;
use crate::support::http2::get_frame;
use crate::support::http2::kind;
use crate::support::http2::rest;
use crate::support::http2::send_all;
use crate::support::http2::whole;
use bytes::Bytes;
use h2::Reason;
use switchd::api::CountsStatus;

#[tokio::test]
async fn a_head_that_is_too_large_is_a_431_on_its_stream() {
    let pair = Pair::start().await;
    let config = pair.config().set("limits.header_size = \"8KiB\"");
    let daemon = Daemon::start(&config).await;
    let client = Http2::connect(daemon.address).await;
    // Some that the engine refuses, and some that are refused before.
    for size in [8_200, 16_000, 40_000, 90_000] {
        let request = h2_request("GET", "/large").header("x-large", "x".repeat(size));
        let answer = client.ask(request, &[]).await.unwrap();
        assert_eq!(answer.status(), 431, "{size}");
    }
    let mut many = h2_request("GET", "/large");
    for number in 0..101 {
        many = many.header(format!("x-{number}"), "1");
    }
    assert_eq!(client.ask(many, &[]).await.unwrap().status(), 431);
    let allowed = h2_request("GET", "/").header("x-large", "x".repeat(7_900));
    assert_eq!(client.ask(allowed, &[]).await.unwrap().status(), 200);
    assert!(pair.blue.requests_for("/large").is_empty());
}

#[tokio::test]
async fn many_cookie_crumbs_are_one_line_and_no_reason_to_refuse() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let mut request = h2_request("GET", "/crumbs");
    for number in 0..400 {
        request = request.header("cookie", format!("c{number}={}", "x".repeat(140)));
    }
    assert_eq!(client.ask(request, &[]).await.unwrap().status(), 200);
    let seen = pair.blue.request_for("/crumbs").head;
    let cookies = seen.all("cookie");
    assert_eq!(cookies.len(), 1);
    assert_eq!(cookies[0].matches("; ").count(), 399);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_a_413_on_its_stream() {
    let pair = Pair::start().await;
    let config = pair.config().set("limits.body_size = \"100KiB\"");
    let daemon = Daemon::start(&config).await;
    let client = Http2::connect(daemon.address).await;
    let body = vec![b'x'; 200_000];
    let counted = h2_request("POST", "/echo").header("content-length", body.len());
    assert_eq!(client.ask(counted, &body).await.unwrap().status(), 413);
    let chunked = h2_request("POST", "/echo");
    assert_eq!(client.ask(chunked, &body).await.unwrap().status(), 413);
    assert_eq!(client.get("/").await.unwrap().text(), "blue");
}

#[tokio::test]
async fn one_connection_has_so_many_requests_under_way_and_no_more() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/held", Reply::held(&gate));
    let config = pair.config().set("limits.http2_streams = 2");
    let daemon = Daemon::start(&config).await;
    let mut client = Frames::connect(daemon.address, &[]).await;
    let asked = [1, 3, 5].map(|stream| get_frame(stream, "/held")).concat();
    client.send(&asked).await;
    assert_eq!(client.end_of(5).await, Some(Reason::REFUSED_STREAM));
    pair.blue.saw("/held", 2).await;
    gate.open();
    assert_eq!(client.end_of(1).await, None);
    client.send(&get_frame(7, "/")).await;
    assert_eq!(client.end_of(7).await, None);
    assert_eq!(pair.blue.requests_for("/held").len(), 2);
}

#[tokio::test]
async fn all_connections_together_have_so_many_requests_under_way_and_no_more() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/held", Reply::held(&gate));
    let config = pair
        .config()
        .set("runtime.workers = 1")
        .set("limits.connections = 4");
    let daemon = Daemon::start(&config).await;
    let mut one = Frames::connect(daemon.address, &[]).await;
    let asked = [1, 3, 5].map(|stream| get_frame(stream, "/held")).concat();
    one.send(&asked).await;
    pair.blue.saw("/held", 3).await;
    let mut other = Frames::connect(daemon.address, &[]).await;
    other.send(&get_frame(1, "/held")).await;
    pair.blue.saw("/held", 4).await;
    other.send(&get_frame(3, "/held")).await;
    assert_eq!(other.end_of(3).await, Some(Reason::REFUSED_STREAM));
    let metrics = daemon.call("GET /metrics", "").await.text;
    assert!(
        metrics.contains("switchd_http2_streams_refused_total 1.0"),
        "{metrics}"
    );
    gate.open();
    assert_eq!(one.end_of(5).await, None);
    other.send(&get_frame(5, "/")).await;
    assert_eq!(other.end_of(5).await, None);
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go_and_pings_do_not_keep_it() {
    let pair = Pair::start().await;
    let config = pair.config().set("limits.idle_timeout = \"300ms\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Frames::connect(daemon.address, &[]).await;
    client.send(&get_frame(1, "/")).await;
    assert_eq!(client.end_of(1).await, None);
    let mut goodbye = None;
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(20));
    client.send(&frame(kind::PING, 0, 0, b"are you?")).await;
    while let Some(next) = client.next().await {
        match next.kind {
            kind::GOAWAY => goodbye = Some(next.reason()),
            // Its answer is followed by the next question.
            kind::PING if next.flags == 1 => {
                looks.tick().await;
                let _ = client.try_send(&frame(kind::PING, 0, 0, b"are you?")).await;
            }
            _ => {}
        }
    }
    assert_eq!(goodbye, Some(Reason::NO_ERROR));
}

#[tokio::test]
async fn headers_that_begin_and_do_not_end_end_the_connection() {
    let pair = Pair::start().await;
    let config = pair.config().set("limits.header_timeout = \"300ms\"");
    let daemon = Daemon::start(&config).await;
    let whole = get_frame(1, "/");
    let mut open = whole.clone();
    // END_HEADERS is still to come.
    open[4] &= !4;
    for begun in [&whole[..20], &open[..]] {
        let mut client = Frames::connect(daemon.address, &[]).await;
        client.send(begun).await;
        assert_eq!(client.sent_away().await, Some(Reason::NO_ERROR));
    }
    // Nothing at all, half a hello, and a hello alone.
    for said in [&b""[..], &PREFACE[..10], PREFACE] {
        let mut client = Wire::connect(daemon.address).await;
        client.send(said).await;
        client.rest().await;
    }
    assert_eq!(pair.blue.count(), 0);
}

#[tokio::test]
async fn a_client_that_takes_nothing_loses_its_stream_and_keeps_its_connection() {
    let pair = Pair::start().await;
    let body = "x".repeat(1_000_000);
    let length = body.len();
    pair.blue.on(
        "/large",
        Reply::raw(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        )),
    );
    pair.blue.on("/small", Reply::status(200, &body[..10_000]));
    let config = pair
        .config()
        .set("service.app.timeouts.idle = \"300ms\"")
        .set("limits.idle_timeout = \"400ms\"");
    let daemon = Daemon::start(&config).await;
    // SETTINGS_INITIAL_WINDOW_SIZE
    let mut client = Frames::connect(daemon.address, &[(4, 0)]).await;
    // One is held up in the engine, the other one behind it.
    for (stream, path) in [(1, "/large"), (3, "/small")] {
        client.send(&get_frame(stream, path)).await;
        assert!(client.end_of(stream).await.is_some(), "{path}");
    }
    client.send(&get_frame(5, "/small")).await;
    let window = 20_000_u32.to_be_bytes();
    client
        .send(&frame(kind::WINDOW_UPDATE, 0, 5, &window))
        .await;
    assert_eq!(client.end_of(5).await, None);
    eventually("nothing is left of them", async || {
        daemon.slot("blue").await.in_flight == CountsStatus::default()
    })
    .await;
}

#[tokio::test]
async fn a_client_that_sends_nothing_of_its_body_is_told() {
    let pair = Pair::start().await;
    pair.blue
        .on("/slow", Reply::steps([Step::TakeBody, Step::SendBodyBack]));
    let config = pair.config().set("service.app.timeouts.idle = \"300ms\"");
    let daemon = Daemon::start(&config).await;
    let client = Http2::connect(daemon.address).await;
    let request = h2_request("POST", "/slow").header("content-length", "1000");
    let (response, mut stream) = client.begin(request, true).await.unwrap();
    send_all(&mut stream, Bytes::from_static(b"a beginning"), false)
        .await
        .unwrap();
    let answer = whole(response).await.unwrap();
    assert_eq!(answer.status(), 408);
    assert_eq!(answer.get("x-switchd-fault"), Some("timeout-client-idle"));
    assert_eq!(client.get("/").await.unwrap().text(), "blue");
}

#[tokio::test]
async fn an_upload_waits_for_the_upstream_and_not_in_our_memory() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on(
        "/later",
        Reply::steps([Step::Wait(gate.clone()), Step::TakeBody, Step::SendBodyBack]),
    );
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let body = Bytes::from(vec![b'x'; 60_000_000]);
    let before = daemon.memory();
    let (response, mut stream) = client
        .begin(h2_request("POST", "/later"), true)
        .await
        .unwrap();
    let sent = std::cell::Cell::new(0);
    let upload = async {
        for piece in body.chunks(100_000) {
            let piece = Bytes::copy_from_slice(piece);
            send_all(&mut stream, piece, false).await.unwrap();
            sent.set(sent.get() + 100_000);
        }
        stream.send_data(Bytes::new(), true).unwrap();
    };
    let stuck = async {
        let mut last = 0;
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(300));
        looks.tick().await;
        // The sockets' own buffers take some of it.
        while sent.get() == 0 || sent.get() != last {
            last = sent.get();
            looks.tick().await;
        }
        assert!(last < 30_000_000, "the whole upload was taken: {last}");
        let grown = daemon.memory().saturating_sub(before);
        println!("{last} bytes were taken, memory grew by {grown}");
        assert!(grown < 8_000_000, "{grown}");
        gate.open();
    };
    let ((), (), mut answer) =
        tokio::join!(upload, stuck, async { response.await.unwrap().into_body() });
    let (echo, _) = rest(&mut answer).await.unwrap();
    assert!(echo == body, "the bytes changed");
}
