//! Requests whose body is received whole before they ask for a slot.

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

/// More than a service keeps in memory, less than a transfer.
const LONG: usize = 300_000;

fn buffering(pair: &Pair) -> Config {
    pair.config().set("service.app.buffering.requests = true")
}

async fn start(pair: &Pair) -> Daemon {
    Daemon::start(&buffering(pair)).await
}

/// The head of an upload to `/echo`.
fn upload(length: usize, extra: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: app.test\r\nContent-Length: {length}\r\n{extra}\r\n")
}

fn text(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| b'a' + u8::try_from(i % 23).unwrap())
        .collect()
}

async fn receiving(daemon: &Daemon, at_least: u64) {
    eventually("an upload is being received", async || {
        let requests = daemon.requests().await;
        let shown = requests.iter().find(|request| request.state == "receiving");
        shown.is_some_and(|request| request.bytes_in >= at_least)
    })
    .await;
}

async fn nothing_is_kept(daemon: &Daemon) {
    eventually("nothing is kept any more", async || {
        daemon.metric(&["switchd_bodies_bytes"]).await < 0.1
    })
    .await;
}

#[tokio::test]
async fn an_upload_asks_for_nothing_upstream_until_it_is_complete() {
    let pair = Pair::start().await;
    let daemon = start(&pair).await;
    for length in [2000, LONG] {
        let before = pair.blue.count();
        let mut client = Wire::connect(daemon.address).await;
        let body = text(length);
        client.send(upload(length, "")).await;
        client.send(&body[..length - 1]).await;
        receiving(&daemon, length as u64 - 1).await;
        assert_eq!(pair.blue.count(), before, "nobody was asked yet");
        client.send(&body[length - 1..]).await;
        let answer = client.answer("POST").await;
        assert!(answer.body.data == body, "the same bytes come back");
        // Its connection goes on.
        assert_eq!(client.ask(request("GET /", "", "")).await.text(), "blue");
    }
    nothing_is_kept(&daemon).await;
}

#[tokio::test]
async fn a_flip_in_the_middle_of_an_upload_sends_it_to_the_new_slot() {
    let pair = Pair::start().await;
    let daemon = start(&pair).await;
    daemon.healthy().await;
    for (length, slot) in [(2000, "green"), (LONG, "blue")] {
        let mut client = Wire::connect(daemon.address).await;
        let body = text(length);
        client.send(upload(length, "")).await;
        client.send(&body[..length / 2]).await;
        receiving(&daemon, length as u64 / 2).await;
        daemon.flip(slot).await;
        client.send(&body[length / 2..]).await;
        let answer = client.answer("POST").await;
        assert_eq!(answer.backend(), slot);
        assert!(answer.body.data == body, "the same bytes come back");
    }
}

#[tokio::test]
async fn chunks_and_trailers_arrive_as_they_were_sent() {
    let pair = Pair::start().await;
    let daemon = start(&pair).await;
    for piece in [5, 100_000] {
        let mut client = Wire::connect(daemon.address).await;
        client
            .send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        let before = pair.blue.count();
        let mut body = Vec::new();
        for _ in 0..4 {
            body.extend(text(piece));
            client.send(format!("{piece:x}\r\n")).await;
            client.send(text(piece)).await;
            client.send("\r\n").await;
        }
        receiving(&daemon, body.len() as u64).await;
        client.send("0\r\nX-Sum: 7\r\n\r\n").await;
        let answer = client.answer("POST").await;
        assert!(answer.body.data == body, "the same bytes come back");
        let seen = &pair.blue.requests()[before];
        assert_eq!(seen.head.get("transfer-encoding"), Some("chunked"));
        let trailers = &seen.body.as_ref().unwrap().trailers;
        assert_eq!(trailers, &[("X-Sum".to_owned(), "7".to_owned())]);
    }
}

#[tokio::test]
async fn who_waits_to_be_told_to_send_is_told_by_us() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/echo",
        Reply::steps([
            Step::send("HTTP/1.1 100 Continue\r\n\r\n"),
            Step::TakeBody,
            Step::SendBodyBack,
        ]),
    );
    let daemon = start(&pair).await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(upload(4, "Expect: 100-continue\r\n")).await;
    let told = client.head().await.unwrap().unwrap();
    assert_eq!((told.status(), pair.blue.count()), (100, 0));
    client.send("body").await;
    let answer = client.answer("POST").await;
    assert_eq!((answer.text().as_str(), answer.interim.len()), ("body", 0));
    assert!(!pair.blue.request_for("/echo").head.has("expect"));
    // Nothing is asked for where the body is there already.
    let mut client = Wire::connect(daemon.address).await;
    let whole = upload(4, "Expect: 100-continue\r\n") + "body";
    assert!(client.ask(whole).await.interim.is_empty());
}

#[tokio::test]
async fn a_view_that_changes_under_an_upload_asks_for_nothing_twice() {
    let pair = Pair::start().await;
    let config = buffering(&pair);
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(upload(4, "Expect: 100-continue\r\n")).await;
    assert_eq!(client.head().await.unwrap().unwrap().status(), 100);
    daemon.write_config(&config.set("service.app.buffering.requests = false"));
    let reload = daemon.ctl(&["reload"]).await;
    assert_eq!(reload.code, 0, "{reload:?}");
    client.send("body").await;
    assert_eq!(client.answer("POST").await.text(), "body");
    assert!(!pair.blue.request_for("/echo").head.has("expect"));
}

#[tokio::test]
async fn a_small_upload_never_touches_the_disk_and_a_long_one_leaves_no_name_there() {
    let pair = Pair::start().await;
    let daemon = start(&pair).await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(upload(60_000, "")).await;
    client.send(&text(59_999)).await;
    receiving(&daemon, 59_999).await;
    let disk = ["bodies_bytes", "disk"];
    let spooled = ["bodies_spooled_total", "request"];
    assert!(daemon.metric(&["bodies_bytes", "memory"]).await > 50_000.0);
    assert!(daemon.metric(&disk).await < 0.1);
    assert!(daemon.metric(&spooled).await < 0.1);
    client.send("x").await;
    client.answer("POST").await;
    client.send(upload(LONG, "")).await;
    client.send(&text(LONG - 1)).await;
    receiving(&daemon, LONG as u64 - 1).await;
    assert!(daemon.metric(&disk).await > 100_000.0);
    assert!((daemon.metric(&spooled).await - 1.0).abs() < 0.1);
    let names = std::fs::read_dir(daemon.path("state/spool")).unwrap();
    assert_eq!(names.count(), 0, "a crash would leave something");
    client.send("x").await;
    client.answer("POST").await;
    nothing_is_kept(&daemon).await;
}

#[tokio::test]
async fn after_kill_9_nothing_of_an_upload_is_left() {
    let pair = Pair::start().await;
    let mut daemon = start(&pair).await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(upload(LONG, "")).await;
    client.send(&text(LONG - 1)).await;
    receiving(&daemon, LONG as u64 - 1).await;
    daemon.kill_and_restart().await;
    let names = std::fs::read_dir(daemon.path("state/spool")).unwrap();
    assert_eq!(names.count(), 0);
    assert_eq!(get(daemon.address, "/").await.status(), 200);
}

#[tokio::test]
async fn without_room_an_upload_gets_a_507_and_the_log_names_the_folder() {
    let pair = Pair::start().await;
    let config = buffering(&pair).set("spool.max_size = \"200KiB\"");
    let daemon = Daemon::start(&config).await;
    let folder = daemon.path("state/spool").display().to_string();
    // Told by its length alone, before a byte of it is sent.
    let mut client = Wire::connect(daemon.address).await;
    client.send(upload(LONG, "Expect: 100-continue\r\n")).await;
    let early = client.answer("POST").await;
    assert!(early.interim.is_empty());
    // Nobody knows how long this one will be.
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client.send(format!("{LONG:x}\r\n")).await;
    client.send(text(LONG)).await;
    let late = client.answer("POST").await;
    for refused in [early, late] {
        assert_eq!(refused.status(), 507, "{refused:?}");
        assert_eq!(refused.head.get("x-switchd-fault"), Some("spool-full"));
        assert!(refused.head.has("retry-after"));
        let words = refused.text();
        assert!(
            !words.contains(&folder),
            "strangers learn nothing of our disk: {words}"
        );
        assert!(words.contains("try again later"), "{words}");
    }
    let status = daemon.status().await;
    let told = status.spool_problem.unwrap();
    assert!(
        told.contains(&folder) && told.contains("max_size"),
        "{told}"
    );
    assert_eq!(pair.blue.count(), 0);
    let refused = ["bodies_without_room_total", "request"];
    assert!((daemon.metric(&refused).await - 2.0).abs() < 0.1);
    let said = daemon.stderr();
    assert!(
        said.contains("no room for a body") && said.contains(&folder),
        "{said}"
    );
    nothing_is_kept(&daemon).await;
    let mut client = Wire::connect(daemon.address).await;
    let body = String::from_utf8(text(100_000)).unwrap();
    let small = client.ask(request("POST /echo", "", &body)).await;
    assert_eq!(small.text(), body);
}

#[tokio::test]
async fn a_folder_that_is_lost_while_we_run_is_a_507_too() {
    let pair = Pair::start().await;
    let daemon = start(&pair).await;
    let folder = daemon.path("state/spool");
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    let mut client = Wire::connect(daemon.address).await;
    client.send(upload(LONG, "")).await;
    client.send(text(LONG)).await;
    let refused = client.answer("POST").await;
    assert_eq!(refused.status(), 507);
    assert_eq!(refused.head.get("x-switchd-fault"), Some("spool-failed"));
    let folder = folder.to_str().unwrap();
    assert!(!refused.text().contains(folder), "{refused:?}");
    let told = daemon.status().await.spool_problem.unwrap();
    assert!(
        told.contains(folder) && told.contains("[spool] dir"),
        "{told}"
    );
    nothing_is_kept(&daemon).await;
}

#[tokio::test]
async fn a_body_above_its_limits_is_refused_as_early_as_that_is_known() {
    let pair = Pair::start().await;
    let config = buffering(&pair)
        .set("limits.body_size = \"400KB\"")
        .set("service.app.buffering.max_disk = \"200KB\"");
    let daemon = Daemon::start(&config).await;
    for length in [500_000, 300_000] {
        let mut client = Wire::connect(daemon.address).await;
        client.send(upload(length, "")).await;
        assert_eq!(client.answer("POST").await.status(), 413, "{length}");
        let mut client = Wire::connect(daemon.address).await;
        client
            .send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        client.send(format!("{length:x}\r\n")).await;
        client.send(text(length)).await;
        assert_eq!(client.answer("POST").await.status(), 413, "{length}");
    }
    assert_eq!(pair.blue.count(), 0);
    nothing_is_kept(&daemon).await;
}

#[tokio::test]
async fn a_client_that_leaves_or_stands_still_frees_everything() {
    let pair = Pair::start().await;
    let config = buffering(&pair).set("service.app.timeouts.idle = \"300ms\"");
    let daemon = Daemon::start(&config).await;
    let mut leaves = Wire::connect(daemon.address).await;
    leaves.send(upload(LONG, "")).await;
    leaves.send(&text(LONG)[1..]).await;
    receiving(&daemon, LONG as u64 - 1).await;
    drop(leaves);
    nothing_is_kept(&daemon).await;
    let mut stands = Wire::connect(daemon.address).await;
    stands.send(upload(LONG, "")).await;
    stands.send(&text(LONG)[1..]).await;
    let answer = stands.answer("POST").await;
    assert_eq!(answer.status(), 408);
    assert_eq!(
        answer.head.get("x-switchd-fault"),
        Some("timeout-client-idle")
    );
    nothing_is_kept(&daemon).await;
    assert_eq!(pair.blue.count(), 0);
    eventually("nothing is under way", async || {
        daemon.requests().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn an_upload_can_be_ended_by_an_operator() {
    let pair = Pair::start().await;
    let daemon = start(&pair).await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(upload(LONG, "")).await;
    client.send("a few bytes").await;
    receiving(&daemon, 11).await;
    let id = daemon.requests().await[0].id;
    let killed = daemon.ctl(&["kill", &id.to_string()]).await;
    assert_eq!(killed.code, 0, "{killed:?}");
    let answer = client.answer("POST").await;
    assert_eq!(answer.head.get("x-switchd-fault"), Some("killed"));
    nothing_is_kept(&daemon).await;
}

#[tokio::test]
async fn an_upload_takes_no_place_and_no_total_time_before_it_is_complete() {
    let pair = Pair::start().await;
    let config = buffering(&pair)
        .set("service.app.queue.max_in_flight = 1")
        // On a busy machine too it is long enough for those that are asked for meanwhile.
        .set("service.app.timeouts.total = \"4s\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(upload(LONG, "")).await;
    let body = text(LONG);
    client.send(&body[1..]).await;
    receiving(&daemon, LONG as u64 - 1).await;
    // Longer than the total: that bounds what is asked of the upstream.
    eventually("the upload has lasted", async || {
        assert_eq!(get(daemon.address, "/").await.text(), "blue");
        let requests = daemon.requests().await;
        requests
            .iter()
            .any(|it| it.method == "POST" && it.age_ms > 4500)
    })
    .await;
    client.send(&body[..1]).await;
    assert_eq!(client.answer("POST").await.status(), 200);
}

#[tokio::test]
async fn a_kept_body_is_never_sent_twice() {
    let pair = Pair::start().await;
    let daemon = start(&pair).await;
    pair.blue
        .on("/gone", Reply::steps([Step::TakeBody, Step::Close]));
    let mut client = Wire::connect(daemon.address).await;
    // Leaves a used connection, on which a short idempotent request may be tried twice.
    assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
    let head = upload(LONG, "").replace("POST /echo", "PUT /gone");
    client.send(head).await;
    client.send(text(LONG)).await;
    let answer = client.answer("PUT").await;
    assert_eq!(answer.status(), 502);
    assert_eq!(pair.blue.requests_for("/gone").len(), 1);
}

#[tokio::test]
async fn an_answer_before_the_kept_body_was_sent_reaches_the_client() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/echo",
        Reply::steps([
            Step::send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"),
            Step::Hang,
        ]),
    );
    let config = buffering(&pair).set("spool.max_size = \"100MiB\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    let length = 30_000_000;
    client.send(upload(length, "")).await;
    client.send(text(length)).await;
    let answer = client.answer("POST").await;
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
    // All of it was taken from the client: its connection goes on.
    assert_eq!(client.ask(request("GET /", "", "")).await.text(), "blue");
    nothing_is_kept(&daemon).await;
}

#[tokio::test]
async fn who_leaves_while_the_kept_body_is_sent_is_gone_upstream_too() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on(
        "/echo",
        Reply::steps([Step::Wait(gate.clone()), Step::TakeBody, Step::SendBodyBack]),
    );
    let daemon = start(&pair).await;
    let mut client = Wire::connect(daemon.address).await;
    let length = 30_000_000;
    client.send(upload(length, "")).await;
    client.send(text(length)).await;
    pair.blue.saw("/echo", 1).await;
    drop(client);
    nothing_is_kept(&daemon).await;
    gate.open();
    eventually("the upstream sees that it was cut", async || {
        let seen = pair.blue.request_for("/echo");
        seen.body.is_some_and(|body| body.end == End::Cut)
    })
    .await;
}

#[tokio::test]
async fn a_route_may_do_otherwise_and_a_reload_changes_it_live() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .route("/kept", "http")
        .with_in_route("buffer_requests = true");
    let daemon = Daemon::start(&config).await;
    let begin = async |path: &str| {
        let mut client = Wire::connect(daemon.address).await;
        let head = upload(2000, "").replace("/echo", path);
        client.send(head + "some").await;
        client
    };
    let _streamed = begin("/echo").await;
    pair.blue.saw("/echo", 1).await;
    let _kept = begin("/kept/x").await;
    receiving(&daemon, 4).await;
    assert!(pair.blue.requests_for("/kept/x").is_empty());
    daemon.write_config(&config.set("service.app.buffering.requests = true"));
    let reload = daemon.ctl(&["reload"]).await;
    assert!(
        reload.stdout.contains("buffering requests false -> true"),
        "{reload:?}"
    );
    let _kept_now = begin("/other").await;
    eventually("both are received", async || {
        let requests = daemon.requests().await;
        let receiving = requests.iter().filter(|it| it.state == "receiving");
        receiving.count() == 2
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_had_stops_a_start_that_needs_it() {
    let pair = Pair::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = buffering(&pair).set("spool.dir = \"/dev/null/spool\"");
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let file = dir.path().join("switchd.toml");
    std::fs::write(&file, config.text(dir.path())).unwrap();
    let run = crate::support::switchd(&["run", "--config", file.to_str().unwrap()]).await;
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("/dev/null/spool"), "{run:?}");
    assert!(run.stderr.contains("[spool] dir"), "{run:?}");
}
