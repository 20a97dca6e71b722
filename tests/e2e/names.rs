//! Slots with host names: who is asked, how often, and what a name server in trouble does to whom.

use crate::support::Backend;
use crate::support::Blackhole;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::DnsAnswer;
use crate::support::NameServer;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::in_turns;
use crate::support::p99;
use crate::support::request;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;
use switchd::api::NameStatus;

/// Two slots behind the names `app-blue` and `app-green`.
struct Site {
    pair: Pair,
    names: NameServer,
}

impl Site {
    async fn start() -> Self {
        let site = Self {
            pair: Pair::start().await,
            names: NameServer::start().await,
        };
        for name in ["app-blue", "app-green"] {
            site.names.says(name, DnsAnswer::at(&["127.0.0.1"]));
        }
        site
    }

    fn blue(&self) -> SocketAddr {
        self.pair.blue.address()
    }

    /// One connection per request: each of them needs an address.
    fn config(&self) -> Config {
        let green = self.pair.green.address().port();
        self.pair
            .config()
            .set(&self.names.setting())
            .set("service.app.keepalive.enabled = false")
            .set(&format!(
                "service.app.slots.blue.http = [\"app-blue:{}\"]",
                self.blue().port()
            ))
            .set(&format!(
                "service.app.slots.green.http = [\"app-green:{green}\"]"
            ))
    }
}

async fn name(daemon: &Daemon, host: &str) -> NameStatus {
    let mut names = daemon.status().await.names;
    names.retain(|name| name.host == host);
    names.pop().expect("the name is looked up")
}

async fn becomes(daemon: &Daemon, host: &str, state: &str) {
    eventually(&format!("{host} is {state}"), async || {
        name(daemon, host).await.state == state
    })
    .await;
}

/// How long each of `count` requests took, all of which succeed; in order of size.
async fn times(address: SocketAddr, count: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        assert_eq!(get(address, "/").await.status(), 200);
        times.push(began.elapsed());
    }
    times.sort();
    times
}

/// What a name server in trouble must not change: all requests are answered, as quickly as before, and nobody is blamed.
async fn nobody_notices(trouble: DnsAnswer, state: &str) {
    let site = Site::start().await;
    let daemon = Daemon::start(&site.config()).await;
    daemon.healthy().await;
    let before = times(daemon.address, 60).await;
    site.names.says("app-blue", trouble);
    becomes(&daemon, "app-blue", state).await;
    let after = times(daemon.address, 60).await;
    // The median, and generously: this machine has other work to do.
    assert!(
        after[30] <= before[30] * 2 + Duration::from_millis(20),
        "{:?} -> {:?}",
        before[30],
        after[30]
    );
    assert!(after[59] < Duration::from_secs(2), "{:?}", after[59]);
    for slot in ["blue", "green"] {
        assert_eq!(daemon.slot(slot).await.health, "healthy");
    }
    let history = daemon.history().await;
    assert!(history.is_empty(), "nothing moved: {history:?}");
}

/// Requests to a service whose names are in trouble beside those to one without names, in turns.
async fn costs_no_time(impatience: &str, trouble: impl Fn(&NameServer, usize)) {
    const TURNS: usize = 16;
    let site = Site::start().await;
    let well = Pair::start().await;
    let at = |last| SocketAddr::from(([127, 0, 0, last], site.blue().port()));
    let replica = Backend::start_at("replica", at(2)).await;
    replica.healthy();
    let _dead = Blackhole::at(at(3)).await;
    for backend in [&site.pair.blue, &replica, &well.blue] {
        backend.on("/page", Reply::slow(Duration::from_millis(20)));
    }
    let config = site
        .config()
        .service("well", &well.blue, &well.green)
        .set(&format!("resolver.timeout = {impatience:?}"))
        .set("service.app.hosts = [\"a.test\"]")
        .set("service.well.hosts = [\"app.test\"]")
        .set("service.well.keepalive.enabled = false");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Wire::connect(daemon.address).await);
    }
    let raw = request("GET /page", "", "");
    let asks = [raw.clone(), raw.replace("app.test", "a.test")];
    let mut turn = 0;
    let ratio = in_turns(TURNS, async |way| {
        trouble(&site.names, turn);
        turn += 1;
        p99(&mut clients, &asks[way]).await
    })
    .await;
    println!("p99 with names in trouble to without names: {ratio}");
    assert!(ratio.middle < 1.2, "{ratio}");
    assert_eq!(daemon.slot("blue").await.health, "healthy");
}

#[tokio::test]
async fn a_silent_name_server_costs_requests_no_time() {
    costs_no_time("100ms", |names, _| {
        names.says("app-blue", DnsAnswer::Silence);
    })
    .await;
}

#[tokio::test]
async fn a_failing_name_server_costs_requests_no_time() {
    costs_no_time("2s", |names, _| names.says("app-blue", DnsAnswer::Code(2))).await;
}

#[tokio::test]
async fn a_slow_name_server_costs_requests_no_time() {
    let late = DnsAnswer::at(&["127.0.0.1"]);
    let late = DnsAnswer::Late(Duration::from_secs(4), Box::new(late));
    costs_no_time("5s", |names, _| names.says("app-blue", late.clone())).await;
}

#[tokio::test]
async fn the_idle_slots_missing_name_costs_requests_no_time() {
    costs_no_time("2s", |names, _| names.says("app-green", DnsAnswer::Code(3))).await;
}

#[tokio::test]
async fn addresses_that_change_cost_requests_no_time() {
    costs_no_time("2s", |names, turn| {
        let address = ["127.0.0.1", "127.0.0.2"][turn / 2 % 2];
        names.says("app-blue", DnsAnswer::at(&[address]));
    })
    .await;
}

#[tokio::test]
async fn one_dead_address_of_two_costs_requests_no_time() {
    costs_no_time("2s", |names, _| {
        let both = DnsAnswer::at(&["127.0.0.3", "127.0.0.1"]);
        names.says("app-blue", both);
    })
    .await;
}

#[tokio::test]
async fn the_last_good_address_is_used_while_the_name_server_is_silent() {
    // It takes two rounds of patience to know that it is: here they are short.
    let site = Site::start().await;
    let daemon = Daemon::start(&site.config().set("resolver.timeout = \"100ms\"")).await;
    daemon.healthy().await;
    site.names.says("app-blue", DnsAnswer::Silence);
    becomes(&daemon, "app-blue", "stale").await;
    times(daemon.address, 20).await;
    let known = name(&daemon, "app-blue").await;
    assert_eq!(known.addresses, ["127.0.0.1"]);
    let told = format!("the name server does not answer ({})", site.names.address);
    assert_eq!(known.error.as_deref(), Some(&*told));
    let words = daemon.ctl(&["status"]).await.stdout;
    let line =
        format!("name app-blue: {told}; using the last known addresses (127.0.0.1), confirmed");
    assert!(words.contains(&line), "{words}");
    assert!(daemon.metric(&["switchd_dns_names{", "stale"]).await >= 1.0);
    assert!(
        daemon
            .metric(&["switchd_dns_lookups_total{", "failed"])
            .await
            >= 1.0
    );
    let warnings = |stderr: String| stderr.matches("name not refreshed").count();
    assert_eq!(warnings(daemon.stderr()), 1, "told once");
    site.names.says("app-blue", DnsAnswer::at(&["127.0.0.1"]));
    becomes(&daemon, "app-blue", "fresh").await;
    assert_eq!(warnings(daemon.stderr()), 1);
    assert_eq!(daemon.slot("blue").await.health, "healthy");
}

#[tokio::test]
async fn a_name_server_that_fails_is_noticed_by_nobody() {
    nobody_notices(DnsAnswer::Code(2), "stale").await;
}

#[tokio::test]
async fn a_name_server_that_takes_four_seconds_is_noticed_by_nobody() {
    let late = DnsAnswer::at(&["127.0.0.1"]);
    let late = DnsAnswer::Late(Duration::from_secs(4), Box::new(late));
    nobody_notices(late, "fresh").await;
}

#[tokio::test]
async fn a_name_is_asked_for_once_per_time_to_live_however_many_requests_there_are() {
    let site = Site::start().await;
    site.names
        .says("app-blue", DnsAnswer::with_ttl(25, &["127.0.0.1"]));
    let daemon = Daemon::start(&site.config()).await;
    daemon.healthy().await;
    let began = Instant::now();
    times(daemon.address, 200).await;
    let lives = 1 + usize::try_from(began.elapsed().as_secs()).unwrap() / 25;
    assert!(
        site.names.asked("app-blue") <= lives,
        "{}",
        site.names.asked("app-blue")
    );
}

#[tokio::test]
async fn a_silent_name_delays_no_other_service_and_no_upload() {
    let site = Site::start().await;
    let other = Pair::start().await;
    site.names.says("app-blue", DnsAnswer::Silence);
    let config = site
        .config()
        .service("other", &other.blue, &other.green)
        .set("service.app.hosts = [\"a.test\"]")
        .set("service.other.hosts = [\"app.test\"]")
        .set("service.other.buffering.requests = true")
        .set("service.other.buffering.memory = \"1KiB\"");
    site.names.says("other-blue", DnsAnswer::at(&["127.0.0.1"]));
    let port = other.blue.address().port();
    let config = config.set(&format!(
        "service.other.slots.blue.http = [\"other-blue:{port}\"]"
    ));
    let daemon = Daemon::start(&config).await;
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let mut client = Wire::connect(daemon.address).await;
        client
            .send(request("GET /", "", "").replace("app.test", "a.test"))
            .await;
        stuck.push(client);
    }
    let body = "x".repeat(300_000);
    for _ in 0..5 {
        let mut client = Wire::connect(daemon.address).await;
        let began = Instant::now();
        let answer = client
            .ask(request("POST /echo", "Connection: close\r\n", &body))
            .await;
        assert_eq!(answer.status(), 200);
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn a_container_that_comes_back_elsewhere_is_followed_at_once() {
    let site = Site::start().await;
    // Its old address holds for long still, if the name server is to be believed.
    site.names
        .says("app-blue", DnsAnswer::with_ttl(600, &["127.0.0.1"]));
    let daemon = Daemon::start(&site.config()).await;
    daemon.healthy().await;
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], site.blue().port()));
    let new = Backend::start_at("new", elsewhere).await;
    new.healthy();
    site.names
        .says("app-blue", DnsAnswer::with_ttl(600, &["127.0.0.2"]));
    site.pair.blue.stop().await;
    assert_eq!(get(daemon.address, "/").await.backend(), "new");
    assert_eq!(daemon.active().await, "blue");
}

#[tokio::test]
async fn idle_connections_to_an_address_that_the_name_has_left_are_not_used_any_more() {
    let site = Site::start().await;
    let config = site.config().set("service.app.keepalive.enabled = true");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let mut client = Wire::connect(daemon.address).await;
    assert_eq!(client.ask(request("GET /", "", "")).await.backend(), "blue");
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], site.blue().port()));
    let new = Backend::start_at("new", elsewhere).await;
    new.healthy();
    site.names.says("app-blue", DnsAnswer::at(&["127.0.0.2"]));
    eventually("the new address is known", async || {
        name(&daemon, "app-blue").await.addresses == ["127.0.0.2"]
    })
    .await;
    // The old one lives on, and its connection with it.
    assert_eq!(client.ask(request("GET /", "", "")).await.backend(), "new");
}

#[tokio::test]
async fn two_replicas_under_one_name_get_a_share_each_with_and_without_keep_alive() {
    for keep_alive in [false, true] {
        let site = Site::start().await;
        let second = SocketAddr::from(([127, 0, 0, 2], site.blue().port()));
        let replica = Backend::start_at("replica", second).await;
        replica.healthy();
        site.names
            .says("app-blue", DnsAnswer::at(&["127.0.0.1", "127.0.0.2"]));
        let keep_alive = format!("service.app.keepalive.enabled = {keep_alive}");
        let daemon = Daemon::start(&site.config().set(&keep_alive)).await;
        daemon.healthy().await;
        let mut client = Wire::connect(daemon.address).await;
        let mut first = 0;
        for _ in 0..20 {
            let answer = client.ask(request("GET /", "", "")).await;
            first += usize::from(answer.backend() == "blue");
        }
        assert!((8..=12).contains(&first), "{first} of 20, {keep_alive}");
    }
}

#[tokio::test]
async fn a_dead_address_beside_a_living_one_costs_nobody_an_answer_and_is_remembered() {
    let site = Site::start().await;
    let dead = SocketAddr::from(([127, 0, 0, 3], site.blue().port()));
    let _dead = Blackhole::at(dead).await;
    site.names
        .says("app-blue", DnsAnswer::at(&["127.0.0.3", "127.0.0.1"]));
    let daemon = Daemon::start(&site.config()).await;
    daemon.healthy().await;
    // Whoever tried it first has waited a quarter of a second; from then on it is known.
    let times = times(daemon.address, 30).await;
    assert!(times[27] < Duration::from_millis(240), "{times:?}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told_at_once_and_found_when_it_does() {
    let site = Site::start().await;
    site.names.says("app-green", DnsAnswer::Code(3));
    let daemon = Daemon::start(&site.config()).await;
    becomes(&daemon, "app-green", "absent").await;
    daemon.slot_becomes("blue", "healthy").await;
    let words = daemon.ctl(&["probe", "green"]).await;
    let told = format!("{}{}", words.stdout, words.stderr);
    assert!(told.contains("the name app-green does not exist"), "{told}");
    site.names.says("app-green", DnsAnswer::at(&["127.0.0.1"]));
    daemon.healthy().await;
    daemon.flip("green").await;
    // The active one's name is gone: nobody waits for an answer that was given already.
    site.names.says("app-green", DnsAnswer::Code(3));
    becomes(&daemon, "app-green", "absent").await;
    let began = Instant::now();
    let answer = get(daemon.address, "/").await;
    assert!([200, 502].contains(&answer.status()), "{}", answer.status());
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn while_the_first_name_server_fails_no_other_makes_a_name_disappear() {
    let site = Site::start().await;
    // It knows none of them: NXDOMAIN.
    let public = NameServer::start().await;
    let servers = format!(
        "resolver.servers = [\"{}\", \"{}\"]",
        site.names.address, public.address
    );
    let daemon = Daemon::start(&site.config().set(&servers)).await;
    daemon.healthy().await;
    for name in ["app-blue", "app-green"] {
        site.names.says(name, DnsAnswer::Code(2));
    }
    becomes(&daemon, "app-blue", "stale").await;
    becomes(&daemon, "app-green", "stale").await;
    times(daemon.address, 20).await;
    assert_eq!(daemon.slot("blue").await.health, "healthy");
    assert!(daemon.history().await.is_empty());
}

#[tokio::test]
async fn aliases_without_an_end_make_no_name_disappear() {
    let site = Site::start().await;
    let daemon = Daemon::start(&site.config()).await;
    daemon.healthy().await;
    let alias = |to: &str| DnsAnswer::Alias(to.to_owned());
    site.names.says("app-blue", alias("loop.example"));
    site.names.says("loop.example", alias("app-blue"));
    becomes(&daemon, "app-blue", "stale").await;
    times(daemon.address, 20).await;
    assert_eq!(daemon.slot("blue").await.health, "healthy");
}

#[tokio::test]
async fn a_database_whose_name_was_never_resolved_keeps_nobody_on_a_dead_slot() {
    let site = Site::start().await;
    site.names.says("db", DnsAnswer::Silence);
    let config = site
        .config()
        .set("resolver.timeout = \"100ms\"")
        .set("service.app.shared.tcp = \"db:5432\"")
        .set("service.app.shared.timeout = \"500ms\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    site.pair.blue.stop().await;
    eventually("traffic is on green", async || {
        daemon.active().await == "green"
    })
    .await;
}

#[tokio::test]
async fn long_answers_aliases_and_a_second_name_server_lead_to_the_slot_too() {
    let site = Site::start().await;
    let silent = NameServer::start().await;
    silent.says("app-blue", DnsAnswer::Silence);
    silent.says("app-green", DnsAnswer::Code(5));
    site.names
        .says("app-blue", DnsAnswer::Alias("real.example".to_owned()));
    site.names.says(
        "real.example",
        DnsAnswer::OverTcp(vec!["127.0.0.1".parse().unwrap()]),
    );
    silent.says("real.example", DnsAnswer::Code(2));
    let servers = format!(
        "resolver.servers = [\"{}\", \"{}\"]",
        silent.address, site.names.address
    );
    let daemon = Daemon::start(&site.config().set(&servers)).await;
    daemon.healthy().await;
    times(daemon.address, 5).await;
}
