//! Two hundred flips under every kind of traffic.

use crate::support::Backend;
use crate::support::Daemon;
use crate::support::End;
use crate::support::Pair;
use crate::support::Websocket;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use switchd::api::History;

const FLIPS: u64 = 200;
/// Requests between two flips, at least.
const SHOWN: u64 = 20;

/// What the clients share.
struct Traffic {
    proxy: SocketAddr,
    /// Flips whose command was started, and those whose command has returned.
    begun: AtomicU64,
    returned: AtomicU64,
    /// Requests sent after a flip had returned and answered before the next one began:
    /// only one slot may have answered them.
    between_flips: AtomicU64,
    stop: AtomicBool,
    ids: AtomicU64,
    /// Ids whose answer arrived, by kind.
    answered: Mutex<HashMap<String, &'static str>>,
    failures: Mutex<Vec<String>>,
    at_the_old_slot: Mutex<Vec<String>>,
}

/// Noted before a request is sent.
struct Sent {
    id: String,
    flips_returned: u64,
}

/// The slot that the `flip`th flip goes to; 0 is the start.
fn slot_after(flip: u64) -> &'static str {
    if flip.is_multiple_of(2) {
        "blue"
    } else {
        "green"
    }
}

impl Traffic {
    fn begin(&self) -> Sent {
        let id = self.ids.fetch_add(1, Ordering::SeqCst);
        Sent {
            id: format!("id-{id}"),
            flips_returned: self.returned.load(Ordering::SeqCst),
        }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn fail(&self, what: String) {
        self.failures.lock().unwrap().push(what);
    }

    /// Any slot that was active between sending and answering may have answered, and no other.
    fn end(&self, sent: Sent, kind: &'static str, slot: &str) {
        let latest = self.begun.load(Ordering::SeqCst);
        let allowed = (sent.flips_returned..=latest).any(|flip| slot_after(flip) == slot);
        if !allowed {
            let Sent { id, flips_returned } = sent;
            self.at_the_old_slot.lock().unwrap().push(format!(
                "{kind} {id} sent after flip {flips_returned} at {slot:?}"
            ));
            return;
        }
        if latest == sent.flips_returned {
            self.between_flips.fetch_add(1, Ordering::SeqCst);
        }
        self.answered.lock().unwrap().insert(sent.id, kind);
    }

    /// Lets traffic run on until it has shown where it goes now.
    async fn runs_on(&self) {
        let before = self.between_flips.load(Ordering::SeqCst);
        eventually("requests go on between flips", async || {
            let passed = self.between_flips.load(Ordering::SeqCst) - before;
            let misled = self.at_the_old_slot.lock().unwrap().len();
            passed + misled as u64 >= SHOWN
        })
        .await;
    }

    /// One request on a connection; false when it failed.
    async fn ask(&self, client: &mut Wire, kind: &'static str, body: &str) -> bool {
        let sent = self.begin();
        let line = if kind == "get" {
            "GET /get"
        } else {
            "POST /echo"
        };
        let extra = format!("x-test-id: {}\r\n", sent.id);
        let method = line.split(' ').next().unwrap();
        client.send(request(line, &extra, body)).await;
        match client.try_answer(method).await {
            Ok(answer)
                if answer.status() == 200
                    && answer.body.end == End::Clean
                    && (kind == "get" || answer.body.data == body.as_bytes()) =>
            {
                self.end(sent, kind, answer.backend());
                true
            }
            other => {
                self.fail(format!("{kind} {}: {other:?}", sent.id));
                false
            }
        }
    }
}

async fn keep_alive(traffic: Arc<Traffic>) {
    let mut client = Wire::connect(traffic.proxy).await;
    while traffic.goes_on() {
        let well = traffic.ask(&mut client, "get", "").await
            && traffic.ask(&mut client, "post", "a small form").await;
        if !well {
            client = Wire::connect(traffic.proxy).await;
        }
    }
}

async fn new_connections(traffic: Arc<Traffic>) {
    while traffic.goes_on() {
        let mut client = Wire::connect(traffic.proxy).await;
        traffic.ask(&mut client, "get", "").await;
    }
}

async fn uploads(traffic: Arc<Traffic>) {
    let body = "0123456789abcdef".repeat(8 * 1024);
    while traffic.goes_on() {
        let mut client = Wire::connect(traffic.proxy).await;
        traffic.ask(&mut client, "upload", &body).await;
    }
}

async fn websockets(traffic: Arc<Traffic>) {
    while traffic.goes_on() {
        let sent = traffic.begin();
        let path = format!("/ws?id={}", sent.id);
        let talk = async {
            let mut socket = Websocket::connect(traffic.proxy, &path).await?;
            let mut slot = String::new();
            for text in ["one", "two", "three"] {
                slot = socket.talk(text).await?;
            }
            socket.close().await?;
            Ok::<_, tokio_tungstenite::tungstenite::Error>(slot)
        };
        match talk.await {
            Ok(slot) => traffic.end(sent, "websocket", &slot),
            Err(error) => traffic.fail(format!("websocket {}: {error}", sent.id)),
        }
    }
}

/// How often each id arrived, over both slots.
fn arrivals(backends: [&Backend; 2]) -> HashMap<String, usize> {
    let mut arrivals = HashMap::new();
    for seen in backends.iter().flat_map(|backend| backend.requests()) {
        let id = match seen.head.get("x-test-id") {
            Some(id) => id.to_owned(),
            None => seen.head.target().split_once("id=").unwrap().1.to_owned(),
        };
        *arrivals.entry(id).or_default() += 1;
    }
    arrivals
}

async fn flip_all_the_time(daemon: &Daemon, traffic: &Traffic) {
    for flip in 1..=FLIPS {
        traffic.begun.store(flip, Ordering::SeqCst);
        let mut arguments = vec!["flip", slot_after(flip)];
        // Every other one returns once it is published: the promise begins there.
        if flip.is_multiple_of(3) {
            arguments.push("--no-wait");
        }
        let output = daemon.ctl(&arguments).await;
        assert_eq!(output.code, 0, "flip {flip}: {output:?}");
        traffic.returned.store(flip, Ordering::SeqCst);
        traffic.runs_on().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_flips_under_load_fail_lose_and_repeat_nothing_and_leave_nobody_behind() {
    let pair = Pair::start().await;
    // A websocket that is moved may lose what crosses the close.
    let config = pair
        .config()
        .set("service.app.websocket.on_flip = \"keep\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let traffic = Arc::new(Traffic {
        proxy: daemon.address,
        begun: AtomicU64::new(0),
        returned: AtomicU64::new(0),
        between_flips: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        ids: AtomicU64::new(0),
        answered: Mutex::default(),
        failures: Mutex::default(),
        at_the_old_slot: Mutex::default(),
    });
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        clients.spawn(keep_alive(Arc::clone(&traffic)));
    }
    for _ in 0..2 {
        clients.spawn(new_connections(Arc::clone(&traffic)));
        clients.spawn(websockets(Arc::clone(&traffic)));
    }
    clients.spawn(uploads(Arc::clone(&traffic)));

    flip_all_the_time(&daemon, &traffic).await;
    traffic.stop.store(true, Ordering::SeqCst);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }

    let failures = traffic.failures.lock().unwrap().clone();
    let old = traffic.at_the_old_slot.lock().unwrap().clone();
    let answered = traffic.answered.lock().unwrap().clone();
    let arrivals = arrivals([&pair.blue, &pair.green]);
    let lost = answered
        .keys()
        .filter(|id| !arrivals.contains_key(*id))
        .count();
    let repeated: Vec<_> = arrivals.iter().filter(|(_, times)| **times > 1).collect();
    for kind in ["get", "post", "upload", "websocket"] {
        let count = answered.values().filter(|known| **known == kind).count();
        println!("{kind}: {count} answered over {FLIPS} flips");
        assert!(count > 50, "too few of {kind} to say anything: {count}");
    }
    let between = traffic.between_flips.load(Ordering::SeqCst);
    println!("{between} of them between two flips");
    let some = |list: &[String]| list.iter().take(5).cloned().collect::<Vec<_>>();
    assert_eq!(failures.len(), 0, "failed: {:#?}", some(&failures));
    assert_eq!(old.len(), 0, "at the old slot: {:#?}", some(&old));
    assert_eq!(lost, 0, "answered, but never seen by an upstream");
    assert!(repeated.is_empty(), "duplicated: {repeated:?}");
    assert_eq!(answered.len(), arrivals.len(), "every arrival was answered");
    let history: History = daemon.call("GET /v1/history?limit=1000", "").await.json();
    let done = history
        .operations
        .iter()
        .filter(|r| r.command == "flip" && r.result == "done");
    assert!(
        done.count() as u64 >= FLIPS - 1,
        "all but perhaps the last, which may still drain"
    );
}
