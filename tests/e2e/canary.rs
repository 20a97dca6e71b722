//! Some of the new visitors on another slot, before all traffic moves there.

use crate::flip::is_published;
use crate::support::Answer;
use crate::support::Authority;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use rustix::process::Signal;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use switchd::api::EventKind;
use tokio::task::JoinSet;

const COOKIE: &str = "switchd_canary";

async fn canary(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = daemon.ctl(&[&["canary"], arguments].concat()).await;
    assert_eq!(output.code, 0, "{arguments:?}: {output:?}");
    output.stdout
}

/// The cookie that an answer sets, as the next request sends it.
fn cookie(answer: &Answer) -> Option<String> {
    let lines = answer.head.all("set-cookie");
    let ours: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with(COOKIE))
        .collect();
    assert!(ours.len() <= 1, "{lines:?}");
    let pair = ours.first()?.split(';').next()?;
    Some(pair.to_owned())
}

async fn ask(client: &mut Wire, extra: &str) -> Answer {
    client.ask(request("GET /", extra, "")).await
}

async fn ask_with(client: &mut Wire, cookies: &str) -> Answer {
    ask(client, &format!("Cookie: {cookies}\r\n")).await
}

/// A new visitor who comes to this slot, and the cookie that keeps it there.
async fn visitor_of(daemon: &Daemon, slot: &str) -> String {
    let mut client = Wire::connect(daemon.address).await;
    loop {
        let answer = ask(&mut client, "").await;
        if answer.backend() == slot {
            return cookie(&answer).expect("a new visitor gets a cookie");
        }
    }
}

async fn started(pair: &Pair, share: &str) -> Daemon {
    let daemon = pair.daemon().await;
    canary(&daemon, &["green", share]).await;
    daemon
}

/// What each of many visitors, over some connections, saw.
#[derive(Default)]
struct Seen {
    visitors: u32,
    on_canary: u32,
    lost: u32,
    moved: u32,
    cookies: Vec<(String, String)>,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.visitors += other.visitors;
        self.on_canary += other.on_canary;
        self.lost += other.lost;
        self.moved += other.moved;
        self.cookies.extend(other.cookies);
    }
}

/// New visitors one after the other, each of whom comes twice.
async fn visitors(address: std::net::SocketAddr, count: u32) -> Seen {
    let mut seen = Seen::default();
    let mut client = Wire::connect(address).await;
    for number in 0..count {
        seen.visitors += 1;
        let first = ask(&mut client, "").await;
        let Some(cookie) = cookie(&first).filter(|_| first.status() == 200) else {
            seen.lost += 1;
            continue;
        };
        let slot = first.backend().to_owned();
        let again = ask_with(&mut client, &cookie).await;
        seen.lost += u32::from(again.status() != 200);
        seen.moved += u32::from(again.backend() != slot || again.head.has("set-cookie"));
        seen.on_canary += u32::from(slot == "green");
        if number % 20 == 0 {
            seen.cookies.push((cookie, slot));
        }
    }
    seen
}

/// The "must show" of the issue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenth_of_twenty_thousand_visitors_come_to_the_canary_nobody_moves_and_promotion_loses_nothing()
 {
    const CLIENTS: u32 = 20;
    let pair = Pair::start().await;
    let daemon = started(&pair, "10%").await;
    let mut all = JoinSet::new();
    for _ in 0..CLIENTS {
        all.spawn(visitors(daemon.address, 20_000 / CLIENTS));
    }
    let mut seen = Seen::default();
    while let Some(some) = all.join_next().await {
        seen.add(some.unwrap());
    }
    println!(
        "{} visitors, {} on the canary, {} moved, {} lost",
        seen.visitors, seen.on_canary, seen.moved, seen.lost
    );
    assert_eq!((seen.visitors, seen.moved, seen.lost), (20_000, 0, 0));
    let share = f64::from(seen.on_canary) / f64::from(seen.visitors);
    assert!((0.095..=0.105).contains(&share), "{share}");

    // A larger share moves nobody either.
    canary(&daemon, &["25%"]).await;
    let mut client = Wire::connect(daemon.address).await;
    for (cookie, slot) in &seen.cookies {
        let answer = ask_with(&mut client, cookie).await;
        assert_eq!(answer.backend(), *slot);
    }

    // While all of them keep coming, traffic follows.
    let promoted = Arc::new(AtomicBool::new(false));
    let mut coming = JoinSet::new();
    for part in seen.cookies.chunks(seen.cookies.len() / 10) {
        let (part, promoted, address) = (part.to_vec(), promoted.clone(), daemon.address);
        coming.spawn(async move { come_until(address, part, promoted).await });
    }
    canary(&daemon, &["promote"]).await;
    promoted.store(true, Ordering::Relaxed);
    let mut came = 0;
    while let Some(count) = coming.join_next().await {
        came += count.unwrap();
    }
    println!("{came} requests beside the promotion, none lost");
    for (cookie, _) in &seen.cookies {
        let answer = ask_with(&mut client, cookie).await;
        assert_eq!((answer.status(), answer.backend()), (200, "green"));
        assert!(!answer.head.has("set-cookie"));
    }
}

/// Who was on the canary never leaves it; nobody gets anything but a 200. How many requests that were.
async fn come_until(
    address: std::net::SocketAddr,
    visitors: Vec<(String, String)>,
    promoted: Arc<AtomicBool>,
) -> u32 {
    let mut client = Wire::connect(address).await;
    let mut count = 0;
    loop {
        for (cookie, slot) in &visitors {
            let answer = ask_with(&mut client, cookie).await;
            assert_eq!(answer.status(), 200);
            assert!(slot == "blue" || answer.backend() == "green", "it moved");
            count += 1;
        }
        if promoted.load(Ordering::Relaxed) {
            return count;
        }
    }
}

#[tokio::test]
async fn whoever_has_been_here_before_stays_on_the_active_slot() {
    let pair = Pair::start().await;
    let daemon = started(&pair, "100%").await;
    let mut client = Wire::connect(daemon.address).await;
    assert_eq!(ask(&mut client, "").await.backend(), "green");
    let known = ask_with(&mut client, "theme=dark; session=1").await;
    assert_eq!(known.backend(), "blue");
    assert_eq!(cookie(&known), None, "it belongs there anyway");
}

#[tokio::test]
async fn only_named_cookies_tell_of_earlier_visits_where_some_are_named() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.canary.known_cookies = [\"session_id\"]");
    let daemon = Daemon::start(&config).await;
    canary(&daemon, &["green", "100%"]).await;
    let mut client = Wire::connect(daemon.address).await;
    let new = ask_with(&mut client, "theme=dark").await;
    assert_eq!(new.backend(), "green");
    let known = ask_with(&mut client, "theme=dark; session_id=1").await;
    assert_eq!(known.backend(), "blue");
    // Its own cookie weighs more: it got its session there.
    let own = cookie(&new).unwrap();
    let again = ask_with(&mut client, &format!("session_id=1; {own}")).await;
    assert_eq!(again.backend(), "green");
}

#[tokio::test]
async fn the_cookie_is_for_browsers_alone_and_secure_over_tls() {
    let pair = Pair::start().await;
    let authority = Authority::new("a test's authority");
    let leaf = authority.issue(&["app.test"]);
    let config = pair.config().leaf("app", &leaf).tls_listener("", &["app"]);
    let daemon = Daemon::start(&config).await;
    canary(&daemon, &["green", "50%"]).await;
    let plain = get(daemon.address, "/").await;
    let line = plain.head.get("set-cookie").unwrap().to_owned();
    for part in [
        "; Path=/",
        "; HttpOnly",
        "; SameSite=Lax",
        "; Max-Age=7776000",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("Secure"), "{line}");
    let secure = daemon.listener(1).await;
    let mut wire = authority
        .client()
        .connect(secure, "app.test")
        .await
        .unwrap();
    let answer = wire.ask(request("GET /", "", "")).await;
    let line = answer.head.get("set-cookie").unwrap();
    assert!(line.ends_with("; Secure"), "{line}");
}

#[tokio::test]
async fn a_forged_cookie_is_none() {
    let pair = Pair::start().await;
    let daemon = started(&pair, "0.01%").await;
    let mut client = Wire::connect(daemon.address).await;
    for forged in ["green", "green.2.AAAAAAAAAAAAAAAAAAAAAA", ""] {
        let answer = ask_with(&mut client, &format!("{COOKIE}={forged}")).await;
        assert_eq!(answer.backend(), "blue", "{forged}");
        assert!(cookie(&answer).is_some(), "it is a new visitor");
    }
}

#[tokio::test]
async fn a_client_of_an_api_keeps_its_side_without_any_cookie() {
    let pair = Pair::start().await;
    let daemon = started(&pair, "30%").await;
    let mut client = Wire::connect(daemon.address).await;
    let mut first = Vec::new();
    for number in 0..200 {
        let token = format!("Authorization: Bearer {number}\r\n");
        let answer = ask(&mut client, &token).await;
        assert_eq!(cookie(&answer), None);
        let again = ask(&mut client, &token).await;
        assert_eq!(again.backend(), answer.backend());
        first.push(answer.backend().to_owned());
    }
    let on_canary = first.iter().filter(|slot| *slot == "green").count();
    assert!((25..=100).contains(&on_canary), "{on_canary} of 200");
    canary(&daemon, &["60%"]).await;
    let mut more = 0;
    for (number, before) in first.iter().enumerate() {
        let token = format!("Authorization: Bearer {number}\r\n");
        let now = ask(&mut client, &token).await;
        let now = now.backend();
        assert!(
            before == "blue" || now == "green",
            "a larger share takes nobody back"
        );
        more += usize::from(now == "green");
    }
    assert!(more > on_canary);
}

#[tokio::test]
async fn with_a_share_of_nothing_those_who_are_there_stay_and_nobody_new_comes() {
    let pair = Pair::start().await;
    let daemon = started(&pair, "100%").await;
    let visitor = visitor_of(&daemon, "green").await;
    canary(&daemon, &["0%"]).await;
    let mut client = Wire::connect(daemon.address).await;
    assert_eq!(ask_with(&mut client, &visitor).await.backend(), "green");
    let new = ask(&mut client, "").await;
    assert_eq!((new.backend(), cookie(&new)), ("blue", None));
}

#[tokio::test]
async fn a_canary_that_takes_nobody_new_ends_once_nobody_comes() {
    let pair = Pair::start().await;
    let config = pair.config().set("service.app.canary.idle = \"100ms\"");
    let daemon = Daemon::start(&config).await;
    canary(&daemon, &["green", "5%"]).await;
    assert!(daemon.service("app").await.canary.is_some());
    canary(&daemon, &["0%"]).await;
    eventually("the canary ends", async || {
        daemon.service("app").await.canary.is_none()
    })
    .await;
    let last = daemon.history().await.pop().unwrap();
    assert_eq!(
        (last.command.as_str(), last.actor.as_str()),
        ("abort", "switchd")
    );
    assert!(
        last.reason
            .unwrap()
            .contains("nobody has come to it for 100ms")
    );
}

#[tokio::test]
async fn an_abort_sends_everybody_to_the_active_slot_and_waits_for_those_under_way() {
    let pair = Pair::start().await;
    let daemon = started(&pair, "100%").await;
    let visitor = visitor_of(&daemon, "green").await;
    let gate = Gate::closed();
    pair.green.on("/slow", Reply::held(&gate));
    let mut slow = Wire::connect(daemon.address).await;
    let cookies = format!("Cookie: {visitor}\r\n");
    slow.send(request("GET /slow", &cookies, "")).await;
    pair.green.saw("/slow", 1).await;
    let body = r#"{"action":"abort","reason":"a hunch"}"#;
    let mut abort = daemon.stream("POST /v1/services/app/canary", body).await;
    abort
        .until(|event| {
            matches!(
                event,
                EventKind::CanaryOver {
                    promoted: false,
                    ..
                }
            )
        })
        .await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = ask_with(&mut client, &visitor).await;
    assert_eq!((answer.backend(), cookie(&answer)), ("blue", None));
    abort
        .until(|event| matches!(event, EventKind::Draining { left, .. } if left.requests == 1))
        .await;
    gate.open();
    assert_eq!(slow.answer("GET").await.text(), "held");
    abort
        .until(|event| matches!(event, EventKind::Done { cut: 0, .. }))
        .await;
    // A later canary on the same slot is another one: its visitors are drawn anew.
    canary(&daemon, &["green", "0.01%"]).await;
    assert_eq!(ask_with(&mut client, &visitor).await.backend(), "blue");
}

#[tokio::test]
async fn a_slot_that_dies_sends_its_visitors_to_the_active_one_and_loses_none() {
    let pair = Pair::start().await;
    let daemon = started(&pair, "100%").await;
    let visitor = visitor_of(&daemon, "green").await;
    let mut client = Wire::connect(daemon.address).await;
    assert_eq!(ask_with(&mut client, &visitor).await.backend(), "green");
    pair.green.stop().await;
    // At once: the probes need not have noticed.
    for _ in 0..50 {
        let answer = ask_with(&mut client, &visitor).await;
        assert_eq!((answer.status(), answer.backend()), (200, "blue"));
        let new = ask(&mut client, "").await;
        assert_eq!((new.status(), new.backend()), (200, "blue"));
        assert_eq!(cookie(&new), None, "it has not come there to stay");
    }
    eventually("the canary ends by itself", async || {
        daemon.service("app").await.canary.is_none()
    })
    .await;
    let last = daemon.history().await.pop().unwrap();
    assert_eq!(last.actor, "switchd");
    assert!(last.reason.unwrap().contains("green is unhealthy"));
    assert!(daemon.slot("green").await.quarantine.is_some());
}

#[tokio::test]
async fn a_slot_that_fails_its_gate_gets_no_visitor() {
    let pair = Pair::start().await;
    pair.green.health(Reply::status(500, "still migrating"));
    let daemon = pair.daemon().await;
    let arguments = ["canary", "green", "5%", "--no-wait-for-start"];
    let output = daemon.ctl(&arguments).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("still migrating"), "{output:?}");
    assert!(daemon.service("app").await.canary.is_none());
    assert_eq!(pair.green.count(), 0);
}

#[tokio::test]
async fn a_websocket_follows_its_session_and_stays_where_it_is_when_traffic_follows() {
    let pair = Pair::start().await;
    let daemon = started(&pair, "100%").await;
    let visitor = visitor_of(&daemon, "green").await;
    let mut on_green = crate::support::Websocket::connect_with(daemon.address, "/ws", &visitor)
        .await
        .unwrap();
    let mut on_blue = crate::support::Websocket::connect_with(daemon.address, "/ws", "session=1")
        .await
        .unwrap();
    assert_eq!(on_green.talk("one").await.unwrap(), "green");
    assert_eq!(on_blue.talk("one").await.unwrap(), "blue");
    assert_eq!(daemon.slot("green").await.in_flight.websockets, 1);
    canary(&daemon, &["promote"]).await;
    assert_eq!(on_green.talk("two").await.unwrap(), "green");
    assert!(
        on_blue.talk("two").await.is_err(),
        "it is moved, as by any flip"
    );
}

#[tokio::test]
async fn a_websocket_of_a_canary_that_ends_is_told_to_come_again() {
    let pair = Pair::start().await;
    let daemon = started(&pair, "100%").await;
    let visitor = visitor_of(&daemon, "green").await;
    let mut websocket = crate::support::Websocket::connect_with(daemon.address, "/ws", &visitor)
        .await
        .unwrap();
    assert_eq!(websocket.talk("one").await.unwrap(), "green");
    canary(&daemon, &["abort"]).await;
    assert!(websocket.receive().await.is_err());
    let mut again = crate::support::Websocket::connect_with(daemon.address, "/ws", &visitor)
        .await
        .unwrap();
    assert_eq!(again.talk("two").await.unwrap(), "blue");
}

#[tokio::test]
async fn a_canary_its_cookies_and_its_share_outlive_a_kill() {
    let pair = Pair::start().await;
    let mut daemon = started(&pair, "30%").await;
    let (green, blue) = (
        visitor_of(&daemon, "green").await,
        visitor_of(&daemon, "blue").await,
    );
    daemon.kill_and_restart().await;
    let canary = daemon.service("app").await.canary.unwrap();
    assert_eq!((canary.slot.as_str(), canary.percent), ("green", 30.0));
    let mut client = Wire::connect(daemon.address).await;
    assert_eq!(ask_with(&mut client, &green).await.backend(), "green");
    assert_eq!(ask_with(&mut client, &blue).await.backend(), "blue");
    daemon.signal(Signal::TERM);
    daemon.ended().await;
}

#[tokio::test]
async fn a_flip_to_a_third_slot_ends_the_canary() {
    let pair = Pair::start().await;
    let red = crate::support::Backend::start("red").await;
    let config = pair.config().slot("app", "red", &[&red]);
    let daemon = Daemon::start(&config).await;
    canary(&daemon, &["green", "100%"]).await;
    let visitor = visitor_of(&daemon, "green").await;
    let output = daemon.flip("red").await;
    assert!(
        output.stderr.contains("the canary on green is over"),
        "{output:?}"
    );
    let mut client = Wire::connect(daemon.address).await;
    assert_eq!(ask_with(&mut client, &visitor).await.backend(), "red");
    assert!(daemon.service("app").await.canary.is_none());
}

#[tokio::test]
async fn each_slot_has_its_own_places_and_its_own_line() {
    let pair = Pair::start().await;
    let config = crate::queue::one_at_a_time(&pair);
    let daemon = Daemon::start(&config).await;
    canary(&daemon, &["green", "100%"]).await;
    let visitor = visitor_of(&daemon, "green").await;
    let cookies = format!("Cookie: {visitor}\r\n");
    let gate = Gate::closed();
    pair.green.on("/slow", Reply::held(&gate));
    let mut slow = Wire::connect(daemon.address).await;
    slow.send(request("GET /slow", &cookies, "")).await;
    pair.green.saw("/slow", 1).await;
    let mut waiting = Wire::connect(daemon.address).await;
    waiting.send(request("GET /next", &cookies, "")).await;
    eventually("one waits for green", async || {
        daemon.slot("green").await.queued == 1
    })
    .await;
    assert_eq!(daemon.slot("blue").await.queued, 0);
    let mut known = Wire::connect(daemon.address).await;
    let answer = ask_with(&mut known, "session=1").await;
    assert_eq!(answer.backend(), "blue", "blue has room");
    gate.open();
    assert_eq!(slow.answer("GET").await.text(), "held");
    assert_eq!(waiting.answer("GET").await.backend(), "green");
}

#[tokio::test]
async fn those_in_line_for_a_canary_that_ends_go_to_the_active_slot() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&crate::queue::one_at_a_time(&pair)).await;
    canary(&daemon, &["green", "100%"]).await;
    let visitor = visitor_of(&daemon, "green").await;
    let cookies = format!("Cookie: {visitor}\r\n");
    let gate = Gate::closed();
    pair.green.on("/slow", Reply::held(&gate));
    let mut slow = Wire::connect(daemon.address).await;
    slow.send(request("GET /slow", &cookies, "")).await;
    pair.green.saw("/slow", 1).await;
    let mut waiting = Wire::connect(daemon.address).await;
    waiting.send(request("GET /next", &cookies, "")).await;
    eventually("one waits for green", async || {
        daemon.slot("green").await.queued == 1
    })
    .await;
    canary(&daemon, &["abort", "--no-wait"]).await;
    assert_eq!(waiting.answer("GET").await.backend(), "blue");
    gate.open();
    assert_eq!(slow.answer("GET").await.text(), "held");
}

fn caching(pair: &Pair) -> Config {
    pair.config()
        .set("service.app.cache.enabled = true")
        .set("service.app.cache.paths = [\"/assets/*\"]")
}

fn asset(slot: &str) -> Reply {
    Reply::raw(format!(
        "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=600\r\nX-Backend: {slot}\r\n\
         Content-Length: 5\r\n\r\nasset"
    ))
}

#[tokio::test]
async fn the_cache_mixes_no_slots_and_hands_out_no_cookie() {
    let pair = Pair::start().await;
    pair.blue.on("/assets/a.js", asset("blue"));
    pair.green.on("/assets/a.js", asset("green"));
    let daemon = Daemon::start(&caching(&pair)).await;
    canary(&daemon, &["green", "100%"]).await;
    let visitor = visitor_of(&daemon, "green").await;
    let mut client = Wire::connect(daemon.address).await;
    let cookies = format!("Cookie: {visitor}\r\n");
    let mut of = async |extra: &str| {
        let answer = client.ask(request("GET /assets/a.js", extra, "")).await;
        assert_eq!(cookie(&answer), None);
        answer.backend().to_owned()
    };
    for _ in 0..3 {
        // Nobody new is drawn for what is kept for all.
        assert_eq!(of("").await, "blue");
        assert_eq!(of(&cookies).await, "green");
    }
    assert_eq!(pair.blue.requests_for("/assets/a.js").len(), 1, "kept");
    assert_eq!(pair.green.requests_for("/assets/a.js").len(), 3);
}

#[tokio::test]
async fn what_caches_on_the_way_may_keep_sets_no_cookie() {
    let pair = Pair::start().await;
    pair.green.on("/logo", asset("green"));
    let daemon = started(&pair, "100%").await;
    let answer = get(daemon.address, "/logo").await;
    assert_eq!((answer.backend(), cookie(&answer)), ("green", None));
}

#[tokio::test]
async fn steps_follow_by_themselves_to_the_promotion() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.watch.enabled = false")
        .set("service.app.canary.steps = [\"5% 50ms\", \"50% 50ms\", \"promote\"]");
    let daemon = Daemon::start(&config).await;
    let mut events = daemon.stream("GET /v1/events", "").await;
    canary(&daemon, &["green"]).await;
    let shares = RefCell::new(Vec::new());
    events
        .until(|event| {
            if let EventKind::Canary { percent, step, .. } = event {
                shares.borrow_mut().push((*percent, *step));
            }
            is_published(event)
        })
        .await;
    assert_eq!(*shares.borrow(), [(5.0, Some(1)), (50.0, Some(2))]);
    daemon.becomes_active("green").await;
    assert!(daemon.service("app").await.canary.is_none());
    let commands: Vec<String> = daemon
        .history()
        .await
        .into_iter()
        .map(|it| it.command)
        .collect();
    assert_eq!(commands[..2], ["canary", "canary"]);
}

#[tokio::test]
async fn a_step_waits_for_enough_visitors_and_a_bad_one_ends_the_canary() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.watch.at_once_window = \"500ms\"")
        .set("service.app.watch.min_requests = 20")
        .set("service.app.canary.steps = [\"50% 10ms\", \"promote\"]");
    let daemon = Daemon::start(&config).await;
    canary(&daemon, &["green"]).await;
    let visitor = visitor_of(&daemon, "green").await;
    assert_eq!(daemon.active().await, "blue", "too few to say");
    pair.green.on("/broken", Reply::status(500, "oops"));
    let mut client = Wire::connect(daemon.address).await;
    let cookies = format!("Cookie: {visitor}\r\n");
    eventually("the canary ends by itself", async || {
        for _ in 0..40 {
            client.ask(request("GET /broken", &cookies, "")).await;
        }
        daemon.service("app").await.canary.is_none()
    })
    .await;
    assert_eq!(daemon.active().await, "blue");
    let last = daemon.history().await.pop().unwrap();
    assert_eq!(
        (last.command.as_str(), last.actor.as_str()),
        ("abort", "switchd")
    );
}

#[tokio::test]
async fn status_metrics_history_and_the_access_log_show_it() {
    let pair = Pair::start().await;
    let config = pair.config().set("access_log.target = \"DIR/access.log\"");
    let daemon = Daemon::start(&config).await;
    let told = canary(&daemon, &["green", "5%", "--reason", "a look"]).await;
    assert_eq!(
        told,
        "app: 5% of the new visitors go to green, everybody else stays on blue\n"
    );
    let status = daemon.ctl(&["status"]).await.stdout;
    assert!(
        status.contains("canary: 5% of the new visitors go to green"),
        "{status}"
    );
    assert!(
        canary(&daemon, &[])
            .await
            .contains("5% of the new visitors")
    );
    let words = ["switchd_canary_percent", "slot=\"green\""];
    assert!((daemon.metric(&words).await - 5.0).abs() < f64::EPSILON);
    let last = daemon.history().await.pop().unwrap();
    assert_eq!(last.command, "canary");
    assert_eq!(last.details, ["5% of the new visitors"]);
    assert_eq!(last.reason.as_deref(), Some("a look"));
    let same = canary(&daemon, &["green", "5%"]).await;
    assert!(
        same.contains("green has 5% of the new visitors already"),
        "{same}"
    );
    canary(&daemon, &["100%"]).await;
    get(daemon.address, "/seen").await;
    eventually("the log says green", async || {
        let log = std::fs::read_to_string(daemon.path("access.log")).unwrap_or_default();
        let mut lines = log.lines().filter(|line| line.contains("/seen"));
        lines.any(|line| line.contains("\"slot\":\"green\""))
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_words() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for (arguments, code, words) in [
        (&["blue", "5%"][..], 1, "slot blue is active"),
        (&["promote"], 1, "no canary is running"),
        (&["abort"], 1, "no canary is running"),
        (&["green"], 1, "how many of the new visitors?"),
        (&["white", "5%"], 1, "there is no slot"),
        (&["green", "500%"], 2, "a share is 0% to 100%"),
    ] {
        let output = daemon.ctl(&[&["canary"], arguments].concat()).await;
        assert_eq!(output.code, code, "{arguments:?}: {output:?}");
        assert!(output.stderr.contains(words), "{words}: {output:?}");
    }
}

#[tokio::test]
async fn a_slot_with_a_canary_cannot_be_taken_out_of_the_config() {
    let pair = Pair::start().await;
    let red = crate::support::Backend::start("red").await;
    let config = pair.config().slot("app", "red", &[&red]);
    let daemon = Daemon::start(&config).await;
    canary(&daemon, &["red", "5%"]).await;
    daemon.write_config(&pair.config());
    let output = daemon.ctl(&["reload"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output.stderr.contains("switchctl canary abort"),
        "{output:?}"
    );
    // A reload that only touches other things keeps everybody where it is.
    let visitor = visitor_of(&daemon, "blue").await;
    daemon.write_config(&config.set("service.app.timeouts.connect = \"3s\""));
    assert_eq!(daemon.ctl(&["reload"]).await.code, 0);
    let mut client = Wire::connect(daemon.address).await;
    assert_eq!(ask_with(&mut client, &visitor).await.backend(), "blue");
    assert_eq!(daemon.service("app").await.canary.unwrap().slot, "red");
}
