//! HTTP/2 to clients: messages pass as they are, over as many streams as there are.

use crate::support::Authority;
use crate::support::Daemon;
use crate::support::End;
use crate::support::Gate;
use crate::support::Http2;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::eventually;
use crate::support::get;
use crate::support::h2_request;
use crate::support::http2::rest;
use crate::support::http2::send_all;
use crate::support::http2::whole;
use bytes::Bytes;
use h2::Reason;
use h2::client::Builder;
use http::HeaderMap;
use switchd::api::CountsStatus;

/// Bytes that look different everywhere.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

async fn nothing_in_flight(daemon: &Daemon) {
    eventually("it is counted out", async || {
        daemon.slot("blue").await.in_flight == CountsStatus::default()
    })
    .await;
}

#[tokio::test]
async fn a_request_arrives_whole_and_its_answer_comes_back_whole() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/a/b",
        Reply::raw(
            "HTTP/1.1 404 Not Here\r\nContent-Length: 4\r\nX-Two: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Two: 2\r\n\r\nnope",
        ),
    );
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let request = h2_request("PATCH", "/a/b?q=1&r=%20")
        .header("x-thing", "a b")
        .header("x-two", "1")
        .header("x-two", "2")
        .header("content-length", "4");
    let answer = client.ask(request, b"body").await.unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (404, "nope"));
    let two: Vec<_> = answer.head.headers.get_all("x-two").iter().collect();
    assert_eq!(two, ["1", "2"]);
    assert_eq!(answer.get("content-length"), Some("4"));
    assert!(answer.get("connection").is_none() && answer.get("x-hop").is_none());
    let seen = pair.blue.request_for("/a/b");
    assert_eq!(seen.head.first_line, "PATCH /a/b?q=1&r=%20 HTTP/1.1");
    assert_eq!(seen.head.all("host"), ["app.test"]);
    assert_eq!(seen.head.get("x-thing"), Some("a b"));
    assert_eq!(seen.head.all("x-two"), ["1", "2"]);
    assert_eq!(seen.head.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.head.get("x-forwarded-host"), Some("app.test"));
    assert_eq!(seen.head.get("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.head.get("content-length"), Some("4"));
    assert_eq!(seen.body.unwrap().data, b"body");
}

#[tokio::test]
async fn one_listener_serves_both_protocols_unless_it_is_told_not_to() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    assert_eq!(client.get("/").await.unwrap().text(), "blue");
    assert_eq!(get(daemon.address, "/").await.text(), "blue");
    let config = pair.config().listener_key("http2 = false");
    let daemon = Daemon::start(&config).await;
    let client = Http2::connect(daemon.address).await;
    assert!(client.get("/").await.is_err());
    assert_eq!(get(daemon.address, "/").await.text(), "blue");
}

#[tokio::test]
async fn over_tls_it_is_what_clients_get_that_offer_it() {
    let pair = Pair::start().await;
    let ca = Authority::new("the CA of this test");
    let config = pair
        .config()
        .leaf("app", &ca.issue(&["app.test"]))
        .tls_listener("", &["app"])
        .tls_listener("http2 = false", &["app"]);
    let daemon = Daemon::start(&config).await;
    let connector = ca.client().offering(&["h2", "http/1.1"]).build();
    let address = daemon.listener(1).await;
    let stream = connector.stream(address, "app.test").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let client = Http2::over(stream, &Builder::new()).await;
    let body = noise(2_000_000);
    let answer = client.ask(h2_request("POST", "/echo"), &body).await;
    assert!(answer.unwrap().body == body, "the bytes changed");
    let seen = pair.blue.request_for("/echo").head;
    assert_eq!(seen.get("x-forwarded-proto"), Some("https"));
    // Without the offer, and where it is off.
    let mut client = ca.client().connect(address, "app.test").await.unwrap();
    let one = crate::support::request("GET /", "", "");
    assert_eq!(client.ask(&one).await.status(), 200);
    let off = daemon.listener(2).await;
    let stream = connector.stream(off, "app.test").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn the_access_log_tells_the_protocol() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("access_log.target = \"DIR/access.log\"")
        .set("access_log.format = \"json\"");
    let daemon = Daemon::start(&config).await;
    let client = Http2::connect(daemon.address).await;
    client.get("/two").await.unwrap();
    get(daemon.address, "/one").await;
    let read = || std::fs::read_to_string(daemon.path("access.log")).unwrap_or_default();
    eventually("both are logged", async || read().lines().count() == 2).await;
    let of = |path: &str| {
        let text = read();
        let line = text.lines().find(|line| line.contains(path)).unwrap();
        serde_json::from_str::<serde_json::Value>(line).unwrap()
    };
    assert_eq!(of("/two")["protocol"], "h2");
    assert_eq!(of("/two")["status"], 200);
    assert_eq!(of("/one")["protocol"], "http/1.1");
}

#[tokio::test]
async fn cookie_crumbs_become_one_line_in_order() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let long = "c".repeat(20_000);
    let request = h2_request("GET", "/crumbs")
        .header("cookie", "a=1")
        .header("accept", "*/*")
        .header("cookie", "session_id=abc; b=2")
        .header("cookie", format!("c={long}"));
    assert_eq!(client.ask(request, &[]).await.unwrap().status(), 200);
    let seen = pair.blue.request_for("/crumbs").head;
    let expected = format!("a=1; session_id=abc; b=2; c={long}");
    assert_eq!(seen.all("cookie"), [expected.as_str()]);
}

#[tokio::test]
async fn big_bodies_pass_unchanged_both_ways_counted_and_chunked() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let body = noise(5_000_000);
    let counted = h2_request("POST", "/echo").header("content-length", body.len());
    let chunked = h2_request("POST", "/echo");
    let (counted, chunked) = tokio::join!(client.ask(counted, &body), client.ask(chunked, &body));
    assert!(counted.unwrap().body == body, "the bytes changed");
    assert!(chunked.unwrap().body == body, "the bytes changed");
    let framings: Vec<_> = pair.blue.requests_for("/echo");
    let chunked = |seen: &crate::support::Head| seen.names_token("transfer-encoding", "chunked");
    assert_eq!(
        framings.iter().filter(|seen| chunked(&seen.head)).count(),
        1
    );
}

#[tokio::test]
async fn an_answer_passes_whatever_its_framing() {
    let pair = Pair::start().await;
    let body = noise(300_000);
    let chunks: Vec<u8> = body
        .chunks(7777)
        .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
        .collect();
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    pair.blue.on(
        "/chunked",
        Reply::raw([head, &chunks[..], b"0\r\n\r\n"].concat()),
    );
    pair.blue.on(
        "/until-close",
        Reply::raw_then_close([b"HTTP/1.0 200 OK\r\n\r\n", &body[..]].concat()),
    );
    pair.blue.on(
        "/empty",
        Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    );
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    for path in ["/chunked", "/until-close"] {
        let answer = client.get(path).await.unwrap();
        assert!(answer.body == body, "{path} changed");
        assert!(answer.get("transfer-encoding").is_none());
    }
    assert!(client.get("/empty").await.unwrap().body.is_empty());
}

#[tokio::test]
async fn a_hundred_requests_run_side_by_side_and_no_answer_is_mixed_up() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let all = (0..100).map(|number: usize| {
        let client = &client;
        async move {
            let body = format!("{number} ").repeat(1 + number * 500);
            let answer = client.ask(h2_request("POST", "/echo"), body.as_bytes());
            assert_eq!(answer.await.unwrap().text(), body);
        }
    });
    futures_util::future::join_all(all).await;
    nothing_in_flight(&daemon).await;
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/sum",
        Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\nX-Other: 1\r\n\r\n"),
    );
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let request = h2_request("POST", "/sum").header("te", "trailers");
    let (response, mut stream) = client.begin(request, true).await.unwrap();
    send_all(&mut stream, Bytes::from_static(b"body"), false)
        .await
        .unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-mine", "7".parse().unwrap());
    trailers.insert("content-length", "9".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
    let answer = whole(response).await.unwrap();
    assert_eq!(answer.text(), "abc");
    let trailers = answer.trailers.unwrap();
    assert_eq!(trailers["x-sum"], "42");
    assert_eq!(trailers["x-other"], "1");
    let seen = pair.blue.request_for("/sum");
    let body = seen.body.unwrap();
    assert_eq!((&body.data[..], body.end), (&b"body"[..], End::Clean));
    assert_eq!(body.trailers, [("x-mine".to_owned(), "7".to_owned())]);
}

#[tokio::test]
async fn answers_without_a_body_end_at_once_whatever_their_headers_say() {
    let pair = Pair::start().await;
    pair.blue
        .on("/204", Reply::raw("HTTP/1.1 204 None\r\n\r\n"));
    pair.blue.on(
        "/304",
        Reply::raw("HTTP/1.1 304 Same\r\nContent-Length: 500\r\nETag: x\r\n\r\n"),
    );
    pair.blue.on(
        "/head",
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
    );
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    assert_eq!(client.get("/204").await.unwrap().status(), 204);
    let same = client.get("/304").await.unwrap();
    assert_eq!((same.status(), same.get("etag")), (304, Some("x")));
    let head = client.ask(h2_request("HEAD", "/head"), &[]).await.unwrap();
    assert_eq!(head.get("content-length"), Some("5000"));
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn interim_answers_pass() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/hints",
        Reply::raw("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    );
    pair.blue.on(
        "/continue",
        Reply::steps([
            Step::send("HTTP/1.1 100 Continue\r\n\r\n"),
            Step::TakeBody,
            Step::SendBodyBack,
        ]),
    );
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let (mut response, _) = client
        .begin(h2_request("GET", "/hints"), false)
        .await
        .unwrap();
    let hints = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
    let hints = hints.unwrap().unwrap();
    assert_eq!(hints.status(), 103);
    assert_eq!(hints.headers()["link"], "</x>");
    assert_eq!(whole(response).await.unwrap().text(), "ok");
    let request = h2_request("POST", "/continue").header("expect", "100-continue");
    let (mut response, mut stream) = client.begin(request, true).await.unwrap();
    let go_on = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
    assert_eq!(go_on.unwrap().unwrap().status(), 100);
    send_all(&mut stream, Bytes::from_static(b"now"), true)
        .await
        .unwrap();
    assert_eq!(whole(response).await.unwrap().text(), "now");
}

#[tokio::test]
async fn an_answer_that_the_upstream_cuts_is_reset_and_never_ended() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/counted",
        Reply::raw_then_close("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"),
    );
    pair.blue.on(
        "/chunked",
        Reply::raw_then_close(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
        ),
    );
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    for path in ["/counted", "/chunked"] {
        // With or without what came before it.
        let error = client.get(path).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{path}");
        assert!(error.is_remote());
    }
    assert_eq!(client.get("/").await.unwrap().text(), "blue");
}

#[tokio::test]
async fn a_client_that_resets_its_stream_frees_the_upstream_and_no_other_stream() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/held", Reply::held(&gate));
    pair.blue.on(
        "/stream",
        Reply::steps([
            Step::TakeBody,
            Step::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n"),
            Step::Hang,
        ]),
    );
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let held = client.get("/held");
    let (response, mut stream) = client
        .begin(h2_request("GET", "/stream"), false)
        .await
        .unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "some");
    let other = async {
        pair.blue.saw("/held", 1).await;
        stream.send_reset(Reason::CANCEL);
        drop(body);
        eventually("only the other one is left", async || {
            daemon.slot("blue").await.in_flight.requests == 1
        })
        .await;
        gate.open();
    };
    let (held, ()) = tokio::join!(held, other);
    assert_eq!(held.unwrap().text(), "held");
    nothing_in_flight(&daemon).await;
}

#[tokio::test]
async fn an_upload_that_the_client_gives_up_never_looks_whole_upstream() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    for request in [
        h2_request("POST", "/echo").header("content-length", "1000000"),
        h2_request("POST", "/echo"),
    ] {
        let before = pair.blue.requests_for("/echo").len();
        let (_response, mut stream) = client.begin(request, true).await.unwrap();
        send_all(&mut stream, Bytes::from(noise(50_000)), false)
            .await
            .unwrap();
        pair.blue.saw("/echo", before + 1).await;
        stream.send_reset(Reason::CANCEL);
        eventually("the upstream notices", async || {
            let seen = pair.blue.requests_for("/echo");
            seen[before].body.as_ref().map(|body| body.end) == Some(End::Cut)
        })
        .await;
    }
    assert_eq!(client.get("/").await.unwrap().text(), "blue");
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/early",
        Reply::steps([
            Step::send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"),
            Step::Hang,
        ]),
    );
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let request = h2_request("POST", "/early").header("content-length", "1000000");
    let (response, mut stream) = client.begin(request, true).await.unwrap();
    send_all(&mut stream, Bytes::from(noise(100_000)), false)
        .await
        .unwrap();
    let answer = whole(response).await.unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
    // And it is told that the rest is not wanted.
    let reset = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
    assert_eq!(reset.unwrap(), Reason::NO_ERROR);
    assert_eq!(client.get("/").await.unwrap().text(), "blue");
}

#[tokio::test]
async fn buffered_bodies_pass_whole_and_a_slow_reader_holds_no_upstream() {
    let pair = Pair::start().await;
    let body = noise(5_000_000);
    let config = pair
        .config()
        .set("runtime.workers = 1")
        .set("service.app.buffering.requests = true")
        .set("service.app.buffering.responses = true")
        .set("service.app.queue.max_in_flight = 1");
    let daemon = Daemon::start(&config).await;
    // What one stream does not take must not take the window of the others.
    let mut builder = Builder::new();
    builder.initial_connection_window_size(1_000_000);
    let client = Http2::connect_with(daemon.address, &builder).await;
    let (response, mut stream) = client
        .begin(h2_request("POST", "/echo"), true)
        .await
        .unwrap();
    let (first, second) = body.split_at(1_000_000);
    send_all(&mut stream, Bytes::copy_from_slice(first), false)
        .await
        .unwrap();
    // It has no place yet: the next one does not wait for it.
    assert_eq!(client.get("/").await.unwrap().text(), "blue");
    assert!(pair.blue.requests_for("/echo").is_empty());
    send_all(&mut stream, Bytes::copy_from_slice(second), true)
        .await
        .unwrap();
    let mut answer = response.await.unwrap().into_body();
    // Nothing of it was taken from the client's window, and yet its place is free.
    eventually("the upstream is done", async || {
        let shown = daemon.ctl(&["ps", "--json"]).await.json();
        shown["requests"][0]["state"] == "delivering"
    })
    .await;
    assert_eq!(client.get("/").await.unwrap().text(), "blue");
    let (echo, _) = rest(&mut answer).await.unwrap();
    assert!(echo == body, "the bytes changed");
}

#[tokio::test]
async fn each_stream_is_shown_and_can_be_killed_alone() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/held", Reply::held(&gate));
    pair.blue.on("/never", Reply::never());
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let work = async {
        pair.blue.saw("/held", 1).await;
        pair.blue.saw("/never", 1).await;
        let shown = daemon.ctl(&["ps", "--json"]).await.json();
        let shown = shown["requests"].as_array().unwrap().clone();
        assert_eq!(shown.len(), 2, "{shown:?}");
        let never = shown.iter().find(|one| one["path"] == "/never").unwrap();
        let id = never["id"].to_string();
        assert_eq!(daemon.ctl(&["kill", &id]).await.code, 0);
    };
    let (never, held, ()) = tokio::join!(
        client.get("/never"),
        async {
            let held = client.get("/held").await;
            held.unwrap().text()
        },
        async {
            work.await;
            gate.open();
        }
    );
    let never = never.unwrap();
    assert_eq!(never.status(), 503);
    assert_eq!(never.get("x-switchd-fault"), Some("killed"));
    assert_eq!(held, "held");
}

#[tokio::test]
async fn the_metrics_count_requests_and_those_under_way() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/held", Reply::held(&gate));
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let shown = async |name: &str| {
        let text = daemon.call("GET /metrics", "").await.text;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    let (held, ()) = tokio::join!(client.get("/held"), async {
        pair.blue.saw("/held", 1).await;
        assert_eq!(shown("switchd_http2_streams ").await, "1.0");
        gate.open();
    });
    assert_eq!(held.unwrap().text(), "held");
    eventually("it is over", async || {
        shown("switchd_http2_streams ").await == "0.0"
    })
    .await;
    let blue = "switchd_requests_total{service=\"app\",slot=\"blue\",class=\"2xx\"} ";
    assert_eq!(shown(blue).await, "1.0");
}
