//! Ways to a slot that is not active, for those who look at it before everybody does.

use crate::support::Answer;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;

const SECRET: &str = "tell nobody";

fn config(pair: &Pair) -> Config {
    pair.config()
        .set("service.app.hosts = [\"app.test\"]")
        .set("service.app.preview.enabled = true")
        .set(&format!("service.app.preview.secret = {SECRET:?}"))
        .set("service.app.preview.host = \"green.test\"")
        .set("service.app.preview.slot_header = \"X-Slot\"")
}

async fn ask(daemon: &Daemon, path: &str, extra: &str) -> Answer {
    let mut client = Wire::connect(daemon.address).await;
    let request = request(&format!("GET {path}"), extra, "");
    client.ask(request).await
}

async fn ask_host(daemon: &Daemon, host: &str) -> Answer {
    let mut client = Wire::connect(daemon.address).await;
    client
        .ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
        .await
}

/// The path of a fresh link to green.
async fn link(daemon: &Daemon) -> String {
    let output = daemon.ctl(&["preview", "green"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let url = output.stdout.lines().next().unwrap();
    let site = format!("http://app.test:{}", daemon.address.port());
    url.strip_prefix(&site).expect("the public name").to_owned()
}

fn cookie(answer: &Answer) -> String {
    let line = answer.head.get("set-cookie").expect("a cookie is set");
    line.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_secret_in_its_header_leads_to_the_idle_slot() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&config(&pair)).await;
    let header = format!("X-Switchd-Preview: {SECRET}\r\n");
    let preview = ask(&daemon, "/", &header).await;
    assert_eq!(preview.backend(), "green");
    assert_eq!(preview.head.all("x-slot"), ["green"]);
    let usual = ask(&daemon, "/", "").await;
    assert_eq!(
        (usual.backend(), usual.head.get("x-slot")),
        ("blue", Some("blue"))
    );
    let named = format!("X-Switchd-Preview: blue:{SECRET}\r\n");
    assert_eq!(ask(&daemon, "/", &named).await.backend(), "blue");
    daemon.flip("green").await;
    assert_eq!(ask(&daemon, "/", &header).await.backend(), "blue");
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_never_taken_for_a_usual_request() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&config(&pair)).await;
    for wrong in ["", "x", "tell nobodx", "white:tell nobody"] {
        let answer = ask(&daemon, "/", &format!("X-Switchd-Preview: {wrong}\r\n")).await;
        assert_eq!(answer.status(), 403, "{wrong:?}");
    }
    assert_eq!(pair.green.count() + pair.blue.count(), 0);
}

#[tokio::test]
async fn the_preview_host_leads_to_the_idle_slot_and_keeps_its_name() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&config(&pair)).await;
    let answer = ask_host(&daemon, "Green.test:8080").await;
    assert_eq!(answer.backend(), "green");
    let seen = pair.green.request_for("/");
    assert_eq!(seen.head.get("host"), Some("Green.test:8080"));
    assert_eq!(ask_host(&daemon, "app.test").await.backend(), "blue");
}

#[tokio::test]
async fn a_link_is_good_once_and_its_cookie_leads_to_the_slot_from_then_on() {
    let pair = Pair::start().await;
    let mut daemon = Daemon::start(&config(&pair)).await;
    let path = link(&daemon).await;
    let followed = ask(&daemon, &path, "").await;
    assert_eq!(followed.status(), 303);
    assert_eq!(followed.head.get("location"), Some("/"));
    assert_eq!(followed.head.get("cache-control"), Some("no-store"));
    let line = followed.head.get("set-cookie").unwrap().to_owned();
    for part in ["; HttpOnly", "; SameSite=Lax", "; Max-Age=28800"] {
        assert!(line.contains(part), "{line}");
    }
    let cookies = format!("Cookie: theme=dark; {}\r\n", cookie(&followed));
    assert_eq!(ask(&daemon, "/", &cookies).await.backend(), "green");
    let again = ask(&daemon, &path, "").await;
    assert_eq!(again.status(), 410);
    assert!(
        again.text().contains("switchctl preview"),
        "{}",
        again.text()
    );
    assert!(!again.head.has("set-cookie"));
    daemon.kill_and_restart().await;
    assert_eq!(ask(&daemon, "/", &cookies).await.backend(), "green");
    let told = daemon.history().await;
    let made = told.iter().find(|it| it.command == "preview").unwrap();
    assert_eq!(made.to.as_deref(), Some("green"));
}

#[tokio::test]
async fn a_link_that_is_too_old_leads_nowhere() {
    let pair = Pair::start().await;
    let config = config(&pair).set("service.app.preview.link_age = \"1ms\"");
    let daemon = Daemon::start(&config).await;
    let path = link(&daemon).await;
    assert_eq!(ask(&daemon, &path, "").await.status(), 410);
}

#[tokio::test]
async fn a_cookie_that_is_void_keeps_nobody_from_the_site() {
    let pair = Pair::start().await;
    let config = config(&pair).set("service.app.preview.cookie_age = \"1ms\"");
    let daemon = Daemon::start(&config).await;
    let followed = ask(&daemon, &link(&daemon).await, "").await;
    for void in [
        cookie(&followed).as_str(),
        "switchd_preview=green.9999999999.AAAA",
    ] {
        let answer = ask(&daemon, "/", &format!("Cookie: {void}\r\n")).await;
        assert_eq!((answer.status(), answer.backend()), (200, "blue"));
    }
}

#[tokio::test]
async fn only_networks_that_are_allowed_get_there() {
    let pair = Pair::start().await;
    let open = config(&pair);
    let daemon = Daemon::start(&open).await;
    let cookies = cookie(&ask(&daemon, &link(&daemon).await, "").await);
    let unused = link(&daemon).await;
    let strict = open.set("service.app.preview.allow = [\"192.0.2.0/24\"]");
    daemon.write_config(&strict);
    assert_eq!(daemon.ctl(&["reload"]).await.code, 0);
    let header = format!("X-Switchd-Preview: {SECRET}\r\n");
    assert_eq!(ask(&daemon, "/", &header).await.status(), 403);
    assert_eq!(ask_host(&daemon, "green.test").await.status(), 403);
    assert_eq!(ask(&daemon, &unused, "").await.status(), 403);
    let with_cookie = ask(&daemon, "/", &format!("Cookie: {cookies}\r\n")).await;
    assert_eq!(
        with_cookie.backend(),
        "blue",
        "it keeps nobody from the site"
    );
    assert_eq!(pair.green.count(), 0);
}

#[tokio::test]
async fn whoever_asks_for_a_slot_that_is_down_is_told_so() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&config(&pair)).await;
    daemon.healthy().await;
    pair.green.stop().await;
    let header = format!("X-Switchd-Preview: {SECRET}\r\n");
    assert_eq!(ask(&daemon, "/", &header).await.status(), 502);
    assert_eq!(pair.blue.count(), 0);
}

#[tokio::test]
async fn previews_do_not_hold_up_the_drain_of_the_slot_they_look_at() {
    let pair = Pair::start().await;
    let gate = crate::support::Gate::closed();
    pair.blue.on("/slow", crate::support::Reply::held(&gate));
    let daemon = Daemon::start(&config(&pair)).await;
    daemon.flip("green").await;
    let mut slow = Wire::connect(daemon.address).await;
    let header = format!("X-Switchd-Preview: {SECRET}\r\n");
    slow.send(request("GET /slow", &header, "")).await;
    pair.blue.saw("/slow", 1).await;
    assert_eq!(daemon.slot("blue").await.in_flight.requests, 1);
    eventually("blue is drained all the same", async || {
        daemon.service("app").await.draining.is_empty()
    })
    .await;
    gate.open();
    assert_eq!(slow.answer("GET").await.text(), "held");
}

#[tokio::test]
async fn without_previews_a_header_is_a_header_and_a_link_is_refused_in_words() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let header = format!("X-Switchd-Preview: {SECRET}\r\n");
    let answer = ask(&daemon, "/.switchd/preview/x", &header).await;
    assert_eq!((answer.status(), answer.backend()), (200, "blue"));
    let output = daemon.ctl(&["preview", "green"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output.stderr.contains("[service.app.preview]"),
        "{output:?}"
    );
}
