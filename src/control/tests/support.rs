//! Upstreams that do what they are told, and control in front of two of them.

use crate::api::AuditRecord;
use crate::api::EventKind;
use crate::api::ServiceStatus;
use crate::api::SlotStatus;
use crate::api::Verdict;
use crate::config;
use crate::control::Accepted;
use crate::control::Control;
use crate::control::Denied;
use crate::control::Handle;
use crate::control::Order;
use crate::control::Prepared;
use crate::control::Until;
use crate::journal::Journal;
use crate::journal::Recover;
use crate::journal::Search;
use crate::live::Live;
use crate::live::Slot;
use crate::switch::Actor;
use crate::switch::Command;
use crate::switch::SlotName;
use crate::switch::Starting;
use crate::switch::Terms;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
pub(crate) const BROKEN: &str = "HTTP/1.1 500 Broken\r\nContent-Length: 11\r\n\r\nno database";

/// Waits for the thing, not for time.
pub(crate) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// One upstream. It answers every connection once.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// None: takes connections and never answers.
    answer: Arc<Mutex<Option<&'static str>>>,
    asked: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(Some(OK)));
        let asked = Arc::new(AtomicUsize::new(0));
        let (its_answer, its_asked) = (Arc::clone(&answer), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let _ = client.read(&mut [0; 2048]).await;
                its_asked.fetch_add(1, Ordering::SeqCst);
                let answer = *its_answer.lock().unwrap();
                match answer {
                    Some(answer) => drop(client.write_all(answer.as_bytes()).await),
                    None => held.push(client),
                }
            }
        });
        Self {
            address,
            answer,
            asked,
            serving,
        }
    }

    pub(crate) fn answers(&self, answer: &'static str) {
        *self.answer.lock().unwrap() = Some(answer);
    }

    pub(crate) fn hangs(&self) {
        *self.answer.lock().unwrap() = None;
    }

    /// From now on connections are refused.
    pub(crate) async fn dies(&mut self) {
        self.serving.abort();
        // It is gone once the listener is dropped with its task.
        let _ = (&mut self.serving).await;
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Control in front of blue and green, with probes that take milliseconds.
pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) control: Control,
    pub(crate) live: Arc<Live>,
    pub(crate) blue: Upstream,
    pub(crate) green: Upstream,
}

impl Stage {
    /// With `more` at the end of the config, and both slots proved.
    pub(crate) async fn set(more: &str) -> Self {
        let stage = Self::dark(more).await;
        for slot in ["blue", "green"] {
            stage.becomes(slot, "healthy").await;
        }
        stage
    }

    pub(crate) async fn dark(more: &str) -> Self {
        let (blue, green) = (Upstream::start().await, Upstream::start().await);
        let folder = tempfile::tempdir().unwrap();
        let text = text(&folder, (&blue, &green), more);
        std::fs::write(folder.path().join("switchd.toml"), text).unwrap();
        let (control, live) = start(&folder);
        Self {
            folder,
            control,
            live,
            blue,
            green,
        }
    }

    /// Stops control and starts it again on the same folder.
    pub(crate) async fn restart(self) -> Self {
        self.control.stop().await;
        let (control, live) = start(&self.folder);
        Self {
            control,
            live,
            ..self
        }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("switchd.toml")
    }

    /// Writes another config; `change` gets the text of the one with `more`.
    pub(crate) fn rewrite(&self, more: &str, change: impl FnOnce(String) -> String) {
        let text = text(&self.folder, (&self.blue, &self.green), more);
        // Beside and renamed, as an editor does: the watcher never sees half a file.
        let aside = self.folder.path().join("switchd.toml.new");
        std::fs::write(&aside, change(text)).unwrap();
        std::fs::rename(aside, self.config()).unwrap();
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.control.handle()
    }

    pub(crate) async fn service(&self) -> ServiceStatus {
        let mut services = self.handle().status().await.unwrap().services;
        services.retain(|service| service.name == "odoo");
        services.pop().unwrap()
    }

    pub(crate) async fn slot(&self, name: &str) -> SlotStatus {
        let mut slots = self.service().await.slots;
        slots.retain(|slot| slot.name == name);
        slots.pop().unwrap()
    }

    pub(crate) async fn becomes(&self, slot: &str, health: &str) {
        let what = format!("{slot} becomes {health}");
        eventually(&what, async || self.slot(slot).await.health == health).await;
    }

    pub(crate) fn active(&self) -> Arc<Slot> {
        Arc::clone(self.live.view().services[0].active())
    }

    pub(crate) async fn history(&self) -> Vec<AuditRecord> {
        let history = self
            .handle()
            .history(Search {
                limit: 100,
                ..Search::default()
            })
            .await
            .unwrap();
        history.operations
    }

    pub(crate) async fn order(&self, command: Command, until: Until) -> Result<Accepted, Denied> {
        let order = Order {
            service: "odoo".into(),
            by: Actor("alice".into()),
            command,
            until,
        };
        self.handle().order(order).await
    }

    pub(crate) async fn flip(&self, to: &str) -> Told {
        let accepted = self.order(flip(to), Until::Drained).await.unwrap();
        follow(accepted).await
    }

    pub(crate) async fn flip_at_once(&self, to: &str) -> Told {
        let order = self.order(flip_at_once(to), Until::Drained);
        follow(order.await.unwrap()).await
    }
}

fn start(folder: &TempDir) -> (Control, Arc<Live>) {
    let config = folder.path().join("switchd.toml");
    let settings = config::load(&config).unwrap();
    let journal = Journal::open(&settings.state.dir, Recover::Refuse).unwrap();
    let prepared = Prepared::new(settings, config, journal).unwrap();
    let live = prepared.live();
    (prepared.start().unwrap(), live)
}

fn text(folder: &TempDir, (blue, green): (&Upstream, &Upstream), more: &str) -> String {
    let folder = folder.path().display();
    let (blue, green) = (blue.address, green.address);
    format!(
        r#"
        [runtime]
        workers = 1
        [admin]
        socket = "{folder}/admin.sock"
        [state]
        dir = "{folder}/state"
        [[listener]]
        address = "127.0.0.1:0"
        [service.odoo]
        initial = "blue"
        [service.odoo.slots.blue]
        http = ["{blue}"]
        [service.odoo.slots.green]
        http = ["{green}"]
        [service.odoo.health]
        path = "/health"
        interval = "50ms"
        fast_interval = "10ms"
        timeout = "300ms"
        rise = 2
        fall = 2
        {more}
        "#
    )
}

pub(crate) fn flip(to: &str) -> Command {
    Command::Flip {
        terms: Terms::default(),
        to: SlotName::new(to).unwrap(),
        force: false,
        reason: None,
        expect: None,
    }
}

/// The same of an operator who does not wait for a slot that is starting.
pub(crate) fn flip_at_once(to: &str) -> Command {
    Command::Flip {
        terms: Terms {
            starting: Starting::Refuse,
            ..Terms::default()
        },
        to: SlotName::new(to).unwrap(),
        force: false,
        reason: None,
        expect: None,
    }
}

/// What one operation told until its asker had heard enough.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) verdict: Verdict,
    pub(crate) active: String,
    pub(crate) reasons: Vec<String>,
    pub(crate) cut: u64,
    /// Names of the operation's events, in order.
    pub(crate) events: Vec<&'static str>,
}

pub(crate) async fn follow(mut accepted: Accepted) -> Told {
    let done = tokio::time::timeout(Duration::from_secs(20), accepted.done).await;
    let done = done
        .expect("an operation ends")
        .expect("it has a last word");
    let mut events = Vec::new();
    while let Some(event) = accepted.events.next_now() {
        if event.flip == accepted.flip && event.flip.is_some() {
            events.push(name(&event.kind));
        }
    }
    let EventKind::Done {
        verdict,
        active,
        reasons,
        cut,
        ..
    } = done.kind.clone()
    else {
        panic!("{done:?} is no end");
    };
    Told {
        verdict,
        active,
        reasons,
        cut,
        events,
    }
}

fn name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Started { .. } => "started",
        EventKind::Probe { .. } => "probe",
        EventKind::GatePassed { .. } => "gate_passed",
        EventKind::Journalled { .. } => "journalled",
        EventKind::Published { .. } => "published",
        EventKind::CutOff { .. } => "cut_off",
        EventKind::Drained { .. } => "drained",
        EventKind::Done { .. } => "done",
        _ => "other",
    }
}
