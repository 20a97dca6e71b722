//! Who else is told what happens, and that nobody waits for them.

use crate::support::Authority;
use crate::support::Backend;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;
use aws_lc_rs::hmac;
use serde_json::Value;
use switchd::api::HookList;
use switchd::api::HookStatus;

const SECRET: &str = "hunter2";

/// A hook called `team` that is told at `receiver`.
fn hook(receiver: &Backend, keys: &str) -> String {
    let address = receiver.address();
    format!(
        "[[hook]]\nname = \"team\"\nurl = \"http://{address}/told\"\nbackoff = \"10ms\"\n{keys}\n"
    )
}

async fn daemon(pair: &Pair, hook: &str) -> Daemon {
    let daemon = Daemon::start(&pair.config().block(hook)).await;
    daemon.healthy().await;
    daemon
}

/// What `receiver` was told, in the generic form, oldest first.
fn told(receiver: &Backend) -> Vec<Value> {
    let requests = receiver.requests_for("/told");
    let bodies = requests.iter().filter_map(|seen| seen.body.as_ref());
    bodies
        .map(|body| serde_json::from_slice(&body.data).unwrap())
        .collect()
}

fn names(receiver: &Backend) -> Vec<String> {
    let told = told(receiver);
    let names = told.iter().map(|it| it["name"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

async fn hears(receiver: &Backend, name: &str) -> Value {
    eventually(&format!("the receiver hears of {name}"), async || {
        names(receiver).iter().any(|it| it == name)
    })
    .await;
    let all = told(receiver);
    all.into_iter().find(|it| it["name"] == name).unwrap()
}

async fn status(daemon: &Daemon) -> HookStatus {
    let list: HookList = daemon.call("GET /v1/hooks", "").await.json();
    let mut hooks = list.hooks;
    hooks.retain(|hook| hook.name == "team");
    hooks.pop().expect("there is a hook")
}

#[tokio::test]
async fn a_flip_is_told_from_its_start_to_its_end_and_signed() {
    let (pair, receiver) = (Pair::start().await, Backend::start("receiver").await);
    let config = pair.config().file("secret", &format!("{SECRET}\n"));
    // Where the daemon's folder is, nobody knows before it starts.
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let keys = format!("secret_file = {:?}", secret.display().to_string());
    let daemon = Daemon::start(&config.block(&hook(&receiver, &keys))).await;
    daemon.healthy().await;
    let output = daemon
        .ctl(&["flip", "green", "--reason", "release 18"])
        .await;
    assert_eq!(output.code, 0, "{output:?}");
    let started = hears(&receiver, "flip_started").await;
    let finished = hears(&receiver, "flip_finished").await;
    assert_eq!(names(&receiver), ["flip_started", "flip_finished"]);
    assert_eq!(started["service"], "app");
    assert_eq!(started["event"]["reason"], "release 18");
    assert_eq!(finished["event"]["verdict"], "done");
    assert_eq!(finished["severity"], "info");
    for seen in receiver.requests_for("/told") {
        assert_eq!(seen.head.method(), "POST");
        let signature = seen.head.get("switchd-signature").unwrap();
        let (time, digest) = signature.split_once(",v1=").unwrap();
        let body = &seen.body.as_ref().unwrap().data;
        let signed = [time.strip_prefix("t=").unwrap().as_bytes(), b".", body].concat();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let expected = hmac::sign(&key, &signed);
        let hex: Vec<String> = expected
            .as_ref()
            .iter()
            .map(|it| format!("{it:02x}"))
            .collect();
        assert_eq!(digest, hex.concat());
        let told: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(seen.head.get("switchd-event"), told["name"].as_str());
        assert_eq!(seen.head.get("switchd-delivery"), told["delivery"].as_str());
    }
    let page = daemon
        .metric(&["switchd_hook_messages_total", "delivered"])
        .await;
    assert!((page - 2.0).abs() < f64::EPSILON, "{page}");
}

#[tokio::test]
async fn at_a_failback_the_hook_is_told_and_the_history_is_complete() {
    let (pair, receiver) = (Pair::start().await, Backend::start("receiver").await);
    let daemon = daemon(&pair, &hook(&receiver, "")).await;
    daemon.flip("green").await;
    pair.green.health(Reply::status(503, "no database"));
    daemon.becomes_active("blue").await;
    let failback = hears(&receiver, "failback").await;
    assert_eq!(failback["severity"], "critical");
    assert_eq!(failback["slot"], "green");
    assert!(
        failback["summary"]
            .as_str()
            .unwrap()
            .contains("no database"),
        "{failback}"
    );
    let quarantine = hears(&receiver, "quarantine").await;
    assert_eq!(quarantine["slot"], "green");
    eventually("the failback is in the history", async || {
        daemon.history().await.len() == 2
    })
    .await;
    let history = daemon.history().await;
    let (flip, failback) = (&history[0], &history[1]);
    assert!(flip.gate_ms.is_some() && flip.published_ms.is_some() && flip.took_ms.is_some());
    assert_eq!(
        (&*failback.command, &*failback.actor),
        ("failback", "switchd")
    );
    assert_eq!(failback.from.as_deref(), Some("green"));
    assert_eq!(failback.to.as_deref(), Some("blue"));
    assert_eq!(failback.result, "done");
    assert!(failback.reason.as_ref().unwrap().contains("no database"));
    assert!(failback.published_ms.is_some() && failback.drained_ms.is_some());
}

#[tokio::test]
async fn what_is_refused_is_told_with_its_reason() {
    let (pair, receiver) = (Pair::start().await, Backend::start("receiver").await);
    let daemon = daemon(
        &pair,
        &hook(&receiver, "events = [\"gate_failed\", \"flip_refused\"]"),
    )
    .await;
    // Nothing was active before: the machine says no at once.
    assert_eq!(daemon.ctl(&["rollback"]).await.code, 1);
    let refused = hears(&receiver, "flip_refused").await;
    assert_eq!(refused["event"]["command"], "rollback");
    pair.green.health(Reply::status(503, "no database"));
    daemon.slot_becomes("green", "unhealthy").await;
    let arguments = ["flip", "green", "--no-wait-for-start"];
    assert_eq!(daemon.ctl(&arguments).await.code, 1);
    eventually("the gate's word is told too", async || {
        told(&receiver).len() == 2
    })
    .await;
    let gate = &told(&receiver)[1];
    assert_eq!(
        gate["names"],
        serde_json::json!(["flip_refused", "gate_failed"])
    );
    assert!(
        gate["summary"].as_str().unwrap().contains("no database"),
        "{gate}"
    );
}

#[tokio::test]
async fn slack_and_the_alertmanager_are_told_in_their_own_words() {
    let (pair, slack) = (Pair::start().await, Backend::start("slack").await);
    let alerts = Backend::start("alertmanager").await;
    let second = hook(&alerts, "kind = \"alertmanager\"").replace("team", "alerts");
    let both = hook(&slack, "kind = \"slack\"") + &second;
    let daemon = daemon(&pair, &both).await;
    daemon.flip("green").await;
    pair.green.health(Reply::status(503, "<!channel>"));
    daemon.becomes_active("blue").await;
    let about = |receiver: &Backend, word: &str| {
        let told = told(receiver);
        told.into_iter().find(|it| it.to_string().contains(word))
    };
    eventually("both hear of the quarantine", async || {
        about(&slack, "in quarantine").is_some() && about(&alerts, "switchd_quarantine").is_some()
    })
    .await;
    let text = about(&slack, "in quarantine").unwrap()["text"].to_string();
    assert!(
        text.contains("*app*") && text.contains("&lt;!channel&gt;"),
        "{text}"
    );
    let alert = &about(&alerts, "switchd_quarantine").unwrap()[0];
    assert_eq!(alert["labels"]["service"], "app");
    assert_eq!(alert["labels"]["slot"], "green");
    assert!(
        alert["startsAt"].as_str() < alert["endsAt"].as_str(),
        "{alert}"
    );
}

#[tokio::test]
async fn what_cannot_be_delivered_is_tried_again_as_the_same_message() {
    let (pair, receiver) = (Pair::start().await, Backend::start("receiver").await);
    receiver.once("/told", Reply::status(500, "busy"));
    receiver.once("/told", Reply::status(429, "slower"));
    let daemon = daemon(&pair, &hook(&receiver, "events = [\"flip_finished\"]")).await;
    daemon.flip("green").await;
    receiver.saw("/told", 3).await;
    eventually("it is delivered", async || {
        status(&daemon).await.delivered == 1
    })
    .await;
    let deliveries: Vec<Value> = told(&receiver)
        .iter()
        .map(|it| it["delivery"].clone())
        .collect();
    assert_eq!(deliveries[0], deliveries[1]);
    assert_eq!(deliveries[0], deliveries[2]);
    let status = status(&daemon).await;
    assert_eq!((status.attempts, status.failed, status.error), (3, 0, None));
}

#[tokio::test]
async fn what_is_wrong_for_good_is_given_up_at_once_and_the_rest_goes_on() {
    let (pair, receiver) = (Pair::start().await, Backend::start("receiver").await);
    let elsewhere = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
        pair.blue.address()
    );
    receiver.once("/told", Reply::raw(elsewhere));
    let daemon = daemon(&pair, &hook(&receiver, "")).await;
    let before = pair.blue.count();
    daemon.flip("green").await;
    hears(&receiver, "flip_finished").await;
    eventually("it is counted", async || {
        status(&daemon).await.delivered == 1
    })
    .await;
    assert_eq!(status(&daemon).await.failed, 1);
    assert_eq!(pair.blue.count(), before, "a redirect was followed");
    assert!(daemon.stderr().contains("redirects are not followed"));
}

#[tokio::test]
async fn a_dead_hook_never_delays_a_flip() {
    let (pair, receiver) = (Pair::start().await, Backend::start("receiver").await);
    receiver.on("/told", Reply::never());
    let daemon = daemon(&pair, &hook(&receiver, "queue = 3\ntimeout = \"1m\"")).await;
    // It takes the first message, and never answers: everything goes on all the same.
    for slot in ["green", "blue", "green", "blue"] {
        daemon.flip(slot).await;
    }
    receiver.saw("/told", 1).await;
    let stuck = status(&daemon).await;
    assert_eq!(stuck.state, "delivering");
    assert_eq!((stuck.queued, stuck.delivered), (4, 0), "{stuck:?}");
    assert_eq!(
        stuck.dropped, 4,
        "one is on its way, three wait, of eight: {stuck:?}"
    );
    let output = daemon.ctl(&["hooks"]).await;
    assert!(
        output.stdout.contains("team") && output.stdout.contains("delivering"),
        "{output:?}"
    );
}

#[tokio::test]
async fn a_receiver_that_comes_back_hears_what_waited_in_order() {
    let (pair, receiver) = (Pair::start().await, Backend::start("receiver").await);
    receiver.stop().await;
    let daemon = daemon(&pair, &hook(&receiver, "attempts = 100")).await;
    daemon.flip("green").await;
    eventually("it was tried", async || status(&daemon).await.attempts > 1).await;
    let waiting = status(&daemon).await;
    assert_eq!(waiting.state, "retrying");
    assert!(
        waiting.error.unwrap().contains("cannot connect"),
        "it says why"
    );
    receiver.resume();
    hears(&receiver, "flip_finished").await;
    assert_eq!(names(&receiver), ["flip_started", "flip_finished"]);
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let (pair, receiver) = (Pair::start().await, Backend::start("receiver").await);
    receiver.on(
        "/services/hunter2",
        Reply::status(404, "no /services/hunter2 here"),
    );
    let address = receiver.address();
    let url = format!("http://me:hunter2@{address}/services/hunter2?token=hunter2");
    let hook = format!(
        "[[hook]]\nname = \"team\"\nurl = {url:?}\nbackoff = \"10ms\"\nheaders = {{ X-Key = \"hunter2\" }}\n"
    );
    let daemon = daemon(&pair, &hook).await;
    let mut stream = daemon.stream("GET /v1/events", "").await;
    daemon.flip("green").await;
    let tested = daemon.ctl(&["hooks", "test", "team"]).await;
    assert_eq!(tested.code, 1, "{tested:?}");
    assert!(tested.stderr.contains("HTTP 404"), "{tested:?}");
    let seen = &receiver.requests_for("/services/hunter2")[0].head;
    assert_eq!(seen.get("x-key"), Some("hunter2"));
    assert_eq!(seen.get("host"), Some(&*address.to_string()));
    assert!(seen.get("authorization").unwrap().starts_with("Basic "));
    eventually("it is given up", async || status(&daemon).await.failed == 2).await;
    daemon.write_config(&pair.config().block(&hook.replace("url = ", "url= 7 #")));
    assert_eq!(daemon.ctl(&["reload"]).await.code, 1);
    let events: Vec<String> = vec![format!("{:?}", stream.next().await)];
    for shown in [
        daemon.stderr(),
        daemon.call("GET /v1/hooks", "").await.text,
        daemon.call("GET /v1/status", "").await.text,
        daemon.call("GET /metrics", "").await.text,
        daemon.call("GET /v1/history", "").await.text,
        daemon.ctl(&["hooks"]).await.stdout,
        tested.stderr,
        events.concat(),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[tokio::test]
async fn a_test_says_whether_the_message_was_taken() {
    let (pair, receiver) = (Pair::start().await, Backend::start("receiver").await);
    let daemon = daemon(&pair, &hook(&receiver, "events = [\"failback\"]")).await;
    let output = daemon.ctl(&["hooks", "test", "team"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        output.stdout.starts_with("team took the message"),
        "{output:?}"
    );
    assert_eq!(names(&receiver), ["test"], "whatever it is subscribed to");
    let unknown = daemon.ctl(&["hooks", "test", "nobody"]).await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("the hooks are team"), "{unknown:?}");
    let history = daemon.history().await;
    assert_eq!(history.last().unwrap().command, "hook_test");
}

#[tokio::test]
async fn a_receiver_is_believed_only_with_a_certificate_that_is_trusted() {
    let (pair, receiver) = (Pair::start().await, Backend::start("receiver").await);
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    receiver.speak_tls(&ours.issue(&["127.0.0.1"]));
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &theirs.pem).unwrap();
    let keys = format!("ca = {:?}", ca.display().to_string());
    let secure = hook(&receiver, &keys).replace("http://", "https://");
    let daemon = daemon(&pair, &secure).await;
    let output = daemon.ctl(&["hooks", "test", "team"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("certificate"), "{output:?}");
    assert_eq!(receiver.count(), 0);
    std::fs::write(&ca, &ours.pem).unwrap();
    let output = daemon.ctl(&["hooks", "test", "team"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(names(&receiver), ["test"]);
}

#[tokio::test]
async fn certificates_that_expire_and_configs_that_are_rejected_are_told() {
    let (pair, receiver) = (Pair::start().await, Backend::start("receiver").await);
    let leaf = Authority::new("ours").issue_for_days(&["erp.example"], -80, 5);
    let config = pair.config().leaf("erp", &leaf).tls_listener("", &["erp"]);
    let config = config.block(&hook(&receiver, ""));
    let daemon = Daemon::start(&config).await;
    let expiring = hears(&receiver, "certificate_expiring").await;
    let summary = expiring["summary"].as_str().unwrap();
    assert!(
        summary.contains("erp.example expires in 4 days") || summary.contains("5 days"),
        "{summary}"
    );
    std::fs::write(daemon.config_path(), "nonsense = true").unwrap();
    let rejected = hears(&receiver, "config_rejected").await;
    assert!(
        rejected["summary"]
            .as_str()
            .unwrap()
            .contains("unknown key `nonsense`"),
        "{rejected}"
    );
    daemon.write_config(&config.set("limits.header_count = 99"));
    hears(&receiver, "config_taken").await;
}

#[tokio::test]
async fn a_reload_changes_hooks_and_what_waits_goes_on() {
    let (pair, receiver) = (Pair::start().await, Backend::start("receiver").await);
    let dead = Backend::start("dead").await;
    dead.stop().await;
    let mut config = pair.config().block(&hook(&dead, "attempts = 100"));
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    daemon.flip("green").await;
    eventually("both messages wait", async || {
        status(&daemon).await.queued == 2
    })
    .await;
    config = pair.config().block(&hook(&receiver, "attempts = 100"));
    daemon.write_config(&config);
    hears(&receiver, "config_taken").await;
    assert_eq!(names(&receiver)[..2], ["flip_started", "flip_finished"]);
    daemon.write_config(&pair.config());
    eventually("nobody is told any more", async || {
        let list: HookList = daemon.call("GET /v1/hooks", "").await.json();
        list.hooks.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_hook_of_one_service_hears_of_no_other() {
    let pair = Pair::start().await;
    let (other, receiver) = (Pair::start().await, Backend::start("receiver").await);
    let config = Config::empty()
        .service("app", &pair.blue, &pair.green)
        .service("other", &other.blue, &other.green)
        .set("service.app.hosts = [\"a.example\"]")
        .set("service.other.hosts = [\"b.example\"]")
        .block(&hook(&receiver, "services = [\"other\"]"));
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    eventually("both are healthy", async || {
        let slots = daemon.service("other").await.slots;
        slots.iter().all(|slot| slot.health == "healthy")
    })
    .await;
    for service in ["app", "other"] {
        let flip = ["flip", "green", "--service", service];
        assert_eq!(daemon.ctl(&flip).await.code, 0);
    }
    hears(&receiver, "flip_finished").await;
    assert!(told(&receiver).iter().all(|it| it["service"] == "other"));
}

#[tokio::test]
async fn a_hook_that_answers_slowly_holds_back_no_other() {
    let (pair, slow) = (Pair::start().await, Backend::start("slow").await);
    let quick = Backend::start("quick").await;
    let gate = Gate::closed();
    slow.on("/told", Reply::held(&gate));
    let both = hook(&slow, "") + &hook(&quick, "").replace("team", "quick");
    let daemon = daemon(&pair, &both).await;
    daemon.flip("green").await;
    hears(&quick, "flip_finished").await;
    assert_eq!(status(&daemon).await.delivered, 0);
    gate.open();
    eventually("the slow one has all", async || {
        status(&daemon).await.delivered == 2
    })
    .await;
}

/// Of five calls one; the status tells nothing.
const RPC_ERROR: &str =
    r#"{"jsonrpc": "2.0", "id": 1, "error": {"code": 200, "message": "Odoo Server Error"}}"#;

async fn clients_ask_without_end(to: std::net::SocketAddr) {
    let mut client = Wire::connect(to).await;
    loop {
        for path in ["/ok", "/ok", "/call", "/ok", "/ok"] {
            let answer = client.ask(request(&format!("POST {path}"), "", "{}")).await;
            assert_eq!(answer.status(), 200);
            if answer.head.names_token("connection", "close") {
                client = Wire::connect(to).await;
            }
        }
    }
}

#[tokio::test]
async fn a_green_slot_that_answers_errors_of_json_rpc_is_left_told_and_kept() {
    let (pair, receiver) = (Pair::start().await, Backend::start("receiver").await);
    let length = RPC_ERROR.len();
    let error = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{RPC_ERROR}"
    );
    pair.green.on("/call", Reply::raw(error));
    let config = pair
        .config()
        .set("service.app.watch.json_rpc = true")
        .set("service.app.watch.time = \"60s\"")
        .set("service.app.watch.at_once_window = \"1s\"")
        .block(&hook(&receiver, ""));
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        clients.spawn(clients_ask_without_end(daemon.address));
    }
    eventually("blue has a past", async || {
        daemon.slot("blue").await.requests >= 200
    })
    .await;
    let flip = ["flip", "green", "--reason", "release 18", "--no-wait"];
    assert_eq!(daemon.ctl(&flip).await.code, 0);
    let flipped = std::time::Instant::now();
    daemon.becomes_active("blue").await;
    println!("back on blue {:?} after the flip", flipped.elapsed());
    clients.shutdown().await;
    let warning = hears(&receiver, "watch_warning").await;
    assert_eq!(warning["severity"], "critical");
    let failback = hears(&receiver, "failback").await;
    println!("the hook was told {:?} after the flip", flipped.elapsed());
    let summary = failback["summary"].as_str().unwrap();
    assert!(summary.contains("JSON-RPC errors"), "{summary}");
    hears(&receiver, "quarantine").await;
    eventually("the history is complete", async || {
        daemon.history().await.len() == 2
    })
    .await;
    for record in daemon.history().await {
        let told = [&record.reason, &record.from, &record.to];
        assert!(told.iter().all(|it| it.is_some()), "{record:?}");
        let times = [record.published_ms, record.drained_ms, record.took_ms];
        assert!(times.iter().all(Option::is_some), "{record:?}");
    }
}
