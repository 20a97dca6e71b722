//! Start and stop of control.

use super::certificates::Certificates;
use super::clock::Clock;
use super::conductor::Conductor;
use super::conductor::view;
use super::descriptors;
use super::disk;
use super::doorway::Doorway;
use super::events::Events;
use super::handle::Handle;
use super::hooks::Wishes;
use super::jobs::Jobs;
use super::message::Message;
use super::reload;
use super::reload::ConfigState;
use super::steered::Steered;
use super::underway::audit;
use super::views::Stock;
use crate::config::Problem;
use crate::config::Settings;
use crate::journal::Journal;
use crate::live::Live;
use crate::live::Seal;
use crate::switch::Actor;
use crate::switch::Epoch;
use crate::switch::Moment;
use crate::tls::Challenges;
use arc_swap::ArcSwap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// How many messages may wait for the conductor; who sends more waits.
const INBOX: usize = 256;

/// Control with its first View made, before anything runs.
#[derive(Debug)]
pub struct Prepared {
    conductor: Conductor,
    inbox: mpsc::Receiver<Message>,
    handle: Handle,
}

/// Control at work on its thread.
#[derive(Debug)]
pub struct Control {
    handle: Handle,
    runtime: tokio::runtime::Handle,
    thread: JoinHandle<()>,
}

/// A start without the state may have moved traffic: the history tells.
fn keep_recovery(journal: &mut Journal, now: Moment) {
    let Some(words) = journal.recovered().map(str::to_owned) else {
        return;
    };
    let mut record = audit(now, &Actor::itself(), "recover");
    record.details.push(words);
    if let Err(error) = journal.finish(&record) {
        tracing::error!(error = error.in_words(), "cannot write the history");
    }
}

impl Prepared {
    /// Finds out where the traffic of every service goes, and makes the View that says so.
    ///
    /// # Errors
    /// Every file of a certificate that cannot be used.
    pub fn new(
        settings: Settings,
        config: PathBuf,
        mut journal: Journal,
    ) -> Result<Self, Vec<Problem>> {
        let certificates = Certificates::load(&settings)?;
        let clock = Clock::start();
        let now = clock.now();
        keep_recovery(&mut journal, now);
        let workers = settings.runtime.workers;
        let mut stock = Stock::new(workers, Seal::new(journal.key()));
        stock.endpoints.configure(&settings, &certificates.material);
        let steer = |service: &crate::config::Service| {
            let state = journal.state(&service.name).cloned();
            let mut steered = Steered::new(service.clone(), state, &mut stock, now);
            steered.modes.restore(journal.modes(&service.name), service);
            if let Some(warning) = steered.switch.warning() {
                tracing::warn!(service = %service.name, warning, "service starts elsewhere");
            }
            steered
        };
        let services: Vec<Steered> = settings.services.iter().map(steer).collect();
        descriptors::tell(&settings);
        let epoch = Epoch(1);
        let first = view(epoch, &settings, &services, &certificates.material);
        let live = Arc::new(Live::new(first, workers));
        let (conductor, inbox) = mpsc::channel(INBOX);
        let events = Events::new(clock);
        let hooks = Wishes::new(clock, events.clone());
        let doorway = Doorway::of(&settings, &certificates.material);
        let doorway = Arc::new(ArcSwap::from_pointee(doorway));
        let handle = Handle {
            doorway: Arc::clone(&doorway),
            hooks: hooks.board(),
            conductor: conductor.clone(),
            events: events.clone(),
            clock,
            audit_log: journal.audit_log(),
            call_log: journal.call_log(),
        };
        let conductor = Conductor {
            live,
            journal,
            config: ConfigState {
                path: config,
                loaded: now,
                problems: Vec::new(),
                needs_restart: Vec::new(),
            },
            settings,
            services,
            stock,
            certificates,
            epoch,
            hooks,
            doorway,
            jobs: Jobs::new(clock, events, conductor),
            started: now,
            asking: None,
            disk_trouble: None,
        };
        Ok(Self {
            conductor,
            inbox,
            handle,
        })
    }

    /// Where the workers look.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.conductor.live)
    }

    /// Where proofs for certificate authorities are shown.
    #[must_use]
    pub fn challenges(&self) -> Arc<Challenges> {
        self.conductor.certificates.material.challenges.clone()
    }

    /// For whoever asks later; nobody answers before [`Prepared::start`].
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Starts the thread: probes, the watch over the config file, everything.
    ///
    /// # Errors
    /// When there is no thread or no event queue left.
    pub fn start(self) -> io::Result<Control> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(4)
            .thread_keep_alive(Duration::from_secs(1))
            .build()?;
        let spawner = runtime.handle().clone();
        let handle = self.handle.clone();
        let path = self.conductor.config.path.clone();
        let main = async move {
            tokio::spawn(reload::watch(path, self.handle.conductor));
            tokio::spawn(disk::look_after(self.conductor.jobs.clone()));
            self.conductor.run(self.inbox).await;
        };
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                let _alarm = Alarm;
                runtime.block_on(main);
                // A history that is read from a slow disk must not keep the process from ending.
                runtime.shutdown_timeout(Duration::from_millis(100));
            })?;
        Ok(Control {
            handle,
            runtime: spawner,
            thread,
        })
    }
}

/// Cries out when control dies: workers keep serving, but nobody decides any more.
struct Alarm;

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("control died; traffic stays where it is until switchd is restarted");
        }
    }
}

impl Control {
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs something beside the conductor, for as long as control runs.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Stops everything that control runs; jobs under way are dropped where they wait.
    pub async fn stop(self) {
        // An error means that it has stopped already.
        drop(self.handle.conductor.send(Message::Stop).await);
        drop(tokio::task::spawn_blocking(move || drop(self.thread.join())).await);
    }
}
