//! Who and what comes in: blocked paths, networks, rate limits, passwords.

use crate::support::Answer;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use std::path::Path;

const DATABASE: &str = "service.app.access.blocked = [\"/web/database\", \"/*/web/database\"]";
/// Whom a trusted proxy names as the client.
const INSIDE: &str = "X-Forwarded-For: 10.1.2.3\r\n";
const OUTSIDE: &str = "X-Forwarded-For: 192.0.2.7\r\n";

/// A config that believes the test about who asks.
fn trusting(pair: &Pair) -> Config {
    pair.config().set("trusted_proxies = [\"127.0.0.1\"]")
}

async fn ask(daemon: &Daemon, line: &str, extra: &str) -> Answer {
    let mut client = Wire::connect(daemon.address).await;
    client.ask(request(line, extra, "")).await
}

/// The value of one sample on the metrics page.
async fn sample(daemon: &Daemon, name: &str) -> f64 {
    let page = daemon.call("GET /metrics", "").await.text;
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{page}"));
    line.trim().parse().unwrap()
}

#[tokio::test]
async fn a_blocked_path_is_refused_in_every_spelling() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&pair.config().set(DATABASE)).await;
    let spellings = [
        "/web/database",
        "/web/database/manager",
        "/web/database/manager/",
        "/web/database/manager?debug=1",
        "//web/database/manager",
        "/web//database/manager",
        "/web/%64atabase/manager",
        "/%77%65%62/%64%61%74%61%62%61%73%65/drop",
        "/web%2fdatabase%2fmanager",
        "/web%2Fdatabase",
        "/web/%2564atabase/manager",
        "/web/./database/manager",
        "/x/../web/database/manager",
        "/x/%2e%2e/web/database",
        "/web/database;x/manager",
        "/web\\database\\manager",
        "/web/database%00",
        "/fr/web/database/manager",
        "/pt_BR//web/%64atabase",
        "http://app.test/web/database/manager",
        "http://app.test//web/database/manager",
    ];
    for spelling in spellings {
        for method in ["GET", "POST", "OPTIONS"] {
            let answer = ask(&daemon, &format!("{method} {spelling}"), "").await;
            assert_eq!(answer.status(), 403, "{method} {spelling}");
            assert_eq!(answer.head.get("x-switchd-fault"), Some("blocked-path"));
        }
    }
    assert_eq!(pair.blue.count(), 0);
    let blocked = sample(
        &daemon,
        "switchd_denied_total{service=\"app\",reason=\"path\"}",
    )
    .await;
    assert!((blocked - 63.0).abs() < 0.1, "{blocked}");
}

#[tokio::test]
async fn what_only_looks_like_a_blocked_path_passes_as_it_was_written() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&pair.config().set(DATABASE)).await;
    for target in [
        "/web/databases",
        "/WEB/database",
        "/web/Database/manager",
        "/web/login?redirect=%2Fweb%2Fdatabase",
        "//web/%6cogin",
        "/x/../y/%7Euser/a;b=c",
        "/caf%C3%A9/%2fx//y/.",
    ] {
        assert_eq!(
            ask(&daemon, &format!("GET {target}"), "").await.status(),
            200,
            "{target}"
        );
        let seen = pair.blue.requests().pop().unwrap();
        assert_eq!(seen.head.target(), target);
    }
}

#[tokio::test]
async fn a_blocked_path_is_open_to_the_clients_that_it_is_open_to() {
    let pair = Pair::start().await;
    let config = trusting(&pair)
        .set(DATABASE)
        .set("service.app.access.blocked_allow = [\"10.0.0.0/8\"]");
    let daemon = Daemon::start(&config).await;
    let line = "GET /web/%64atabase/manager";
    assert_eq!(ask(&daemon, line, OUTSIDE).await.status(), 403);
    assert_eq!(ask(&daemon, line, "").await.status(), 403);
    assert_eq!(ask(&daemon, line, INSIDE).await.status(), 200);
    let seen = pair.blue.requests().pop().unwrap();
    assert_eq!(seen.head.target(), "/web/%64atabase/manager");
    // Without trust in whoever names the client, nobody is named.
    daemon.write_config(&config.set("trusted_proxies = []"));
    assert_eq!(daemon.ctl(&["reload"]).await.code, 0);
    assert_eq!(ask(&daemon, line, INSIDE).await.status(), 403);
}

#[tokio::test]
async fn only_clients_of_the_allowed_networks_come_in() {
    let pair = Pair::start().await;
    let config = trusting(&pair)
        .set("service.app.access.allow = [\"10.0.0.0/8\"]")
        .set("service.app.access.deny = [\"10.6.0.0/16\"]");
    let daemon = Daemon::start(&config).await;
    assert_eq!(ask(&daemon, "GET /", INSIDE).await.status(), 200);
    for extra in [
        OUTSIDE,
        "",
        "X-Forwarded-For: 10.6.6.6\r\n",
        "X-Forwarded-For: 10.1.1.1, 10.6.6.6\r\n",
    ] {
        let answer = ask(&daemon, "GET /", extra).await;
        assert_eq!(answer.status(), 403, "{extra}");
        assert_eq!(answer.head.get("x-switchd-fault"), Some("denied"));
    }
    assert_eq!(pair.blue.count(), 1);
}

#[tokio::test]
async fn whoever_is_refused_may_go_on_with_the_same_connection() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&pair.config().set(DATABASE)).await;
    let mut client = Wire::connect(daemon.address).await;
    for (line, status) in [
        ("GET /web/database", 403),
        ("HEAD /web/database", 403),
        ("GET /", 200),
    ] {
        assert_eq!(
            client.ask(request(line, "", "")).await.status(),
            status,
            "{line}"
        );
    }
    // A body that nobody reads is no next request.
    let answer = client
        .ask(request(
            "POST /web/database/drop",
            "",
            "GET / HTTP/1.1\r\n\r\n",
        ))
        .await;
    assert_eq!(answer.status(), 403);
    assert_eq!(client.rest().await, b"");
    assert_eq!(pair.blue.count(), 1);
}

const READ_AND_WRITE: &str = r#"
[[service.app.rate_limit]]
name = "api_read"
methods = ["GET"]
rate = "60r/h"
burst = 20
[[service.app.rate_limit]]
name = "api_write"
methods = ["POST", "PATCH", "DELETE"]
rate = "6r/h"
burst = 10
"#;

#[tokio::test]
async fn reading_and_writing_have_limits_of_their_own_over_all_workers() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&trusting(&pair).block(READ_AND_WRITE)).await;
    let mut passed = [0, 0];
    for _ in 0..40 {
        // On a connection of its own each: the kernel spreads them over the workers.
        for (at, method) in ["GET", "DELETE"].into_iter().enumerate() {
            let answer = ask(&daemon, &format!("{method} /"), OUTSIDE).await;
            match answer.status() {
                200 => passed[at] += 1,
                status => assert_eq!(status, 429, "{answer:?}"),
            }
        }
    }
    assert_eq!(passed, [21, 11]);
    let answer = ask(&daemon, "PATCH /", OUTSIDE).await;
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.head.get("x-switchd-fault"), Some("rate-limited"));
    assert!(answer.text().contains("api_write"), "{answer:?}");
    let wait: u64 = answer.head.get("retry-after").unwrap().parse().unwrap();
    assert!((540..=600).contains(&wait), "one in ten minutes: {wait}");
    for (line, extra) in [("PUT /", OUTSIDE), ("GET /", INSIDE), ("DELETE /", INSIDE)] {
        assert_eq!(
            ask(&daemon, line, extra).await.status(),
            200,
            "{line} {extra}"
        );
    }
    let limited = "switchd_rate_limit_limited_total{service=\"app\",zone=\"api_read\"}";
    let allowed = "switchd_rate_limit_allowed_total{service=\"app\",zone=\"api_write\"}";
    assert!((sample(&daemon, limited).await - 19.0).abs() < 0.1);
    assert!((sample(&daemon, allowed).await - 12.0).abs() < 0.1);
}

#[tokio::test]
async fn there_is_a_token_when_retry_after_says_so() {
    let pair = Pair::start().await;
    let config = pair.config().block(
        "[[service.app.rate_limit]]\nname = \"slow\"\nrate = \"30r/m\"\npaths = [\"/slow\"]\n",
    );
    let daemon = Daemon::start(&config).await;
    let began = std::time::Instant::now();
    assert_eq!(get(daemon.address, "/slow").await.status(), 200);
    let refused = get(daemon.address, "/%73low/").await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.head.get("retry-after"), Some("2"));
    assert_eq!(get(daemon.address, "/other").await.status(), 200);
    eventually("there is a token again", async || {
        get(daemon.address, "/slow").await.status() == 200
    })
    .await;
    assert!(began.elapsed().as_millis() >= 2000, "{:?}", began.elapsed());
}

#[tokio::test]
async fn limits_go_on_over_a_reload_that_leaves_them_alone() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&pair.config().block(READ_AND_WRITE)).await;
    while get(daemon.address, "/").await.status() == 200 {}
    let reload = async |config: Config| {
        daemon.write_config(&config);
        let reloaded = daemon.ctl(&["reload"]).await;
        assert_eq!(reloaded.code, 0, "{reloaded:?}");
        reloaded.stdout
    };
    let moved = pair.config().set("service.app.timeouts.idle = \"50s\"");
    reload(moved.block(READ_AND_WRITE)).await;
    daemon.healthy().await;
    daemon.flip("green").await;
    assert_eq!(
        get(daemon.address, "/").await.status(),
        429,
        "it is still the same bucket"
    );
    let wider = READ_AND_WRITE.replace("burst = 20", "burst = 21");
    let told = reload(pair.config().block(&wider)).await;
    assert!(
        told.contains("rate limit api_read: burst 20 -> 21"),
        "{told}"
    );
    assert_eq!(get(daemon.address, "/").await.status(), 200);
    reload(pair.config()).await;
    for _ in 0..50 {
        assert_eq!(get(daemon.address, "/").await.status(), 200);
    }
}

#[tokio::test]
async fn a_flood_of_addresses_frees_nobody_who_is_limited_and_costs_no_memory() {
    let pair = Pair::start().await;
    let config = trusting(&pair).block(
        "[[service.app.rate_limit]]\nname = \"all\"\nrate = \"10r/h\"\nburst = 3\nbuckets = 1024\npaths = [\"/x\"]\nmethods = [\"GET\"]\n",
    );
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    while client.ask(request("GET /x", OUTSIDE, "")).await.status() == 200 {}
    for number in 0..6_000_u32 {
        let extra = format!(
            "X-Forwarded-For: 2001:db8:{:x}:{:x}::1\r\n",
            number >> 8,
            number & 0xff
        );
        let answer = client.ask(request("GET /x", &extra, "")).await;
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(
        client.ask(request("GET /x", OUTSIDE, "")).await.status(),
        429
    );
    let evicted = sample(
        &daemon,
        "switchd_rate_limit_evicted_total{service=\"app\",zone=\"all\"}",
    )
    .await;
    assert!(evicted > 4_500.0, "{evicted}");
}

/// A file of users below the daemon's folder, whose passwords are their names.
fn write_users(path: &Path, users: &[&str], cost: u32) {
    let line = |name: &&str| format!("{name}:{}\n", bcrypt::hash(name, cost).unwrap());
    std::fs::write(path, users.iter().map(line).collect::<String>()).unwrap();
}

fn authorization(name: &str, password: &str) -> String {
    let pair = STANDARD.encode(format!("{name}:{password}"));
    format!("Authorization: Basic {pair}\r\n")
}

/// A service for anna, and the folder that holds the file of users.
async fn for_anna(cost: u32, config: Config) -> (Daemon, tempfile::TempDir) {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("users");
    write_users(&file, &["anna"], cost);
    let config = config
        .set(&format!("service.app.access.basic_auth.users = {file:?}"))
        .set("service.app.access.basic_auth.realm = \"staging\"");
    (Daemon::start(&config).await, dir)
}

#[tokio::test]
async fn whoever_knows_the_password_comes_in_and_nobody_else() {
    let pair = Pair::start().await;
    let config = pair.config().set("access_log.target = \"DIR/access.log\"");
    let (daemon, _dir) = for_anna(4, config).await;
    let asked = ask(&daemon, "GET /", "").await;
    assert_eq!(asked.status(), 401);
    let challenge = "Basic realm=\"staging\", charset=\"UTF-8\"";
    assert_eq!(asked.head.get("www-authenticate"), Some(challenge));
    for extra in [
        authorization("anna", "wrong"),
        authorization("nobody", "anna"),
        "Authorization: Bearer abc\r\n".to_owned(),
        "Authorization: Basic !\r\n".to_owned(),
    ] {
        assert_eq!(ask(&daemon, "GET /", &extra).await.status(), 401, "{extra}");
    }
    assert_eq!(pair.blue.count(), 0);
    let mut client = Wire::connect(daemon.address).await;
    assert_eq!(client.ask(request("GET /", "", "")).await.status(), 401);
    for _ in 0..3 {
        let right = client.ask(request(
            "POST /echo",
            &authorization("anna", "anna"),
            "body",
        ));
        assert_eq!(
            right.await.text(),
            "body",
            "on the connection that was refused before"
        );
    }
    let seen = pair.blue.requests().pop().unwrap();
    assert!(!seen.head.has("authorization"), "{seen:?}");
    eventually("the log tells who it was", async || {
        let log = std::fs::read_to_string(daemon.path("access.log")).unwrap_or_default();
        log.matches("\"user\":\"anna\"").count() == 4 && log.contains("\"user\":\"nobody\"")
    })
    .await;
    let refused = sample(
        &daemon,
        "switchd_denied_total{service=\"app\",reason=\"password\"}",
    )
    .await;
    assert!((refused - 6.0).abs() < 0.1, "{refused}");
}

#[tokio::test]
async fn guessing_ends_soon_for_the_guesser_and_for_nobody_else() {
    let pair = Pair::start().await;
    let config = trusting(&pair).set("service.app.access.basic_auth.attempts = \"5r/h\"");
    let (daemon, _dir) = for_anna(4, config).await;
    let anna = |from: &str| format!("{from}{}", authorization("anna", "anna"));
    assert_eq!(ask(&daemon, "GET /", &anna(OUTSIDE)).await.status(), 200);
    for number in 0..5 {
        let guess = authorization("anna", &format!("guess {number}"));
        assert_eq!(
            ask(&daemon, "GET /", &format!("{OUTSIDE}{guess}"))
                .await
                .status(),
            401
        );
    }
    let guess = authorization("anna", "one more");
    let answer = ask(&daemon, "GET /", &format!("{OUTSIDE}{guess}")).await;
    assert_eq!(answer.status(), 429);
    let wait: u64 = answer.head.get("retry-after").unwrap().parse().unwrap();
    assert!((600..=720).contains(&wait), "one in twelve minutes: {wait}");
    for from in [INSIDE, OUTSIDE] {
        assert_eq!(
            ask(&daemon, "GET /", &anna(from)).await.status(),
            200,
            "{from}"
        );
    }
}

#[tokio::test]
async fn what_is_open_needs_no_password() {
    let pair = Pair::start().await;
    let config = trusting(&pair)
        .set("service.app.access.basic_auth.open_to = [\"10.0.0.0/8\"]")
        .set("service.app.access.basic_auth.open_paths = [\"/payment\"]");
    let (daemon, _dir) = for_anna(4, config).await;
    let bearer = "Authorization: Bearer of-the-app\r\n";
    for (line, extra) in [("GET /", INSIDE), ("GET /payment/x?y", OUTSIDE)] {
        let answer = ask(&daemon, line, &format!("{extra}{bearer}")).await;
        assert_eq!(answer.status(), 200, "{line}");
        let seen = pair.blue.requests().pop().unwrap();
        assert_eq!(seen.head.get("authorization"), Some("Bearer of-the-app"));
    }
    for path in [
        "/",
        "/payments",
        "/payment/../web",
        "/payment/%2e%2e/web",
        "/x/../payment",
    ] {
        assert_eq!(
            ask(&daemon, &format!("GET {path}"), OUTSIDE).await.status(),
            401,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_reload_reads_the_users_anew() {
    let pair = Pair::start().await;
    let (daemon, dir) = for_anna(4, pair.config()).await;
    let status = async |name: &str| {
        ask(&daemon, "GET /", &authorization(name, name))
            .await
            .status()
    };
    assert_eq!((status("anna").await, status("berta").await), (200, 401));
    write_users(&dir.path().join("users"), &["berta"], 4);
    daemon.signal(Signal::HUP);
    eventually("berta comes in", async || status("berta").await == 200).await;
    assert_eq!(
        status("anna").await,
        401,
        "who is no user any more was known before"
    );
}

#[tokio::test]
async fn a_worker_serves_others_while_a_password_is_compared() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("runtime.workers = 1")
        .set("service.app.access.basic_auth.open_paths = [\"/open\"]");
    // Takes seconds in a build that is not optimised.
    let (daemon, _dir) = for_anna(10, config).await;
    let mut slow = Wire::connect(daemon.address).await;
    slow.send(request("GET /closed", &authorization("anna", "anna"), ""))
        .await;
    eventually("it is under way", async || {
        let list = daemon.ctl(&["ps", "--json"]).await.stdout;
        list.contains("/closed")
    })
    .await;
    for _ in 0..20 {
        assert_eq!(get(daemon.address, "/open").await.status(), 200);
    }
    assert_eq!(
        pair.blue.requests_for("/closed").len(),
        0,
        "it was no slower than others"
    );
    assert_eq!(slow.answer("GET").await.status(), 200);
}

#[tokio::test]
async fn what_is_wrong_in_a_changed_filter_changes_nothing() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&pair.config().set(DATABASE)).await;
    daemon.write_config(&pair.config().set("service.app.access.blocked = [\"web\"]"));
    let reloaded = daemon.ctl(&["reload"]).await;
    assert_ne!(reloaded.code, 0, "{reloaded:?}");
    assert_eq!(get(daemon.address, "/web/database").await.status(), 403);
}
