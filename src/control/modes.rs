//! Maintenance and read-only: switched by people, kept over restarts.

use super::clock::stamp;
use super::conductor::Conductor;
use super::events::About;
use super::hold_watch::let_go;
use super::message::Answer;
use super::message::Denied;
use super::underway::audit;
use crate::api::Bypass;
use crate::api::EventKind;
use crate::api::MaintenanceStatus;
use crate::api::ModesStatus;
use crate::api::ReadOnlyStatus;
use crate::api::SCHEMA;
use crate::config::HostPattern;
use crate::config::Network;
use crate::config::Service as ServiceSettings;
use crate::config::Writes;
use crate::config::parse_network;
use crate::journal::KeptMaintenance;
use crate::journal::KeptMode;
use crate::journal::Modes as KeptModes;
use crate::live::Hold;
use crate::live::Lobby;
use crate::live::Maintenance;
use crate::live::ModeCounts;
use crate::live::Modes;
use crate::live::ReadOnly;
use crate::switch::Actor;
use crate::switch::Moment;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

/// Where the secret is set as a cookie, and under which name.
const LINK: &str = "/.switchd/bypass/";
const COOKIE: &str = "switchd_bypass=";
/// Bytes of a secret.
const SECRET: usize = 24;

/// A mode to switch.
#[derive(Debug)]
pub struct ModeOrder {
    pub service: String,
    pub by: Actor,
    pub change: ModeChange,
    /// Why, for the history.
    pub reason: Option<String>,
}

#[derive(Debug)]
pub enum ModeChange {
    Maintenance(Option<MaintenanceWish>),
    ReadOnly(bool),
}

/// What is wanted of a maintenance.
#[derive(Debug)]
pub struct MaintenanceWish {
    pub message: Option<String>,
    pub until: Option<SystemTime>,
    pub allow: Vec<Network>,
    pub bypass: bool,
}

/// What concerns modes.
pub(super) type ModeMessage = (ModeOrder, Answer<Result<ModesStatus, Denied>>);

/// The modes of one service.
#[derive(Debug)]
pub(super) struct ModeDesk {
    kept: KeptModes,
    picture: Option<Arc<Modes>>,
    refused: Arc<ModeCounts>,
    /// Where writes wait while the service is read only.
    pub(super) lobby: Arc<Lobby>,
    /// While they do.
    writes: Option<Arc<Hold>>,
}

impl ModeDesk {
    pub(super) fn new(settings: &ServiceSettings) -> Self {
        Self {
            kept: KeptModes::default(),
            picture: None,
            refused: Arc::default(),
            lobby: Lobby::new(settings.hold.max_requests, settings.hold.max_bytes),
            writes: None,
        }
    }

    /// As a restart left them.
    pub(super) fn restore(&mut self, kept: KeptModes, settings: &ServiceSettings) {
        self.kept = kept;
        self.draw(settings);
    }

    /// Gives the hold that is none any more: to be opened once the View is out.
    pub(super) fn configure(&mut self, settings: &ServiceSettings) -> Option<Arc<Hold>> {
        let hold = &settings.hold;
        self.lobby.set_bounds(hold.max_requests, hold.max_bytes);
        self.draw(settings)
    }

    /// As workers see them.
    pub(super) fn picture(&self) -> Option<Arc<Modes>> {
        self.picture.clone()
    }

    pub(super) fn is_in_maintenance(&self) -> bool {
        self.kept.maintenance.is_some()
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.kept.read_only.is_some()
    }

    pub(super) fn refused(&self) -> &ModeCounts {
        &self.refused
    }

    pub(super) fn maintenance(&self, settings: &ServiceSettings) -> Option<MaintenanceStatus> {
        let kept = self.kept.maintenance.as_ref()?;
        let common = settings.maintenance.allow.iter().map(Network::to_string);
        Some(MaintenanceStatus {
            by: kept.mode.by.to_string(),
            since: stamp(kept.mode.since),
            until: kept.until.map(stamp),
            message: message(kept, settings),
            allow: kept.allow.iter().cloned().chain(common).collect(),
            bypass: kept.secret.is_some(),
            refused: ModeCounts::get(&self.refused.maintenance),
        })
    }

    pub(super) fn read_only(&self, settings: &ServiceSettings) -> Option<ReadOnlyStatus> {
        let kept = self.kept.read_only.as_ref()?;
        let writes = match settings.read_only.writes {
            Writes::Refuse => "refuse",
            Writes::Hold => "hold",
        };
        Some(ReadOnlyStatus {
            by: kept.by.to_string(),
            since: stamp(kept.since),
            writes: writes.to_owned(),
            waiting: self.lobby.now().waiting as u64,
            refused: ModeCounts::get(&self.refused.read_only),
        })
    }

    fn draw(&mut self, settings: &ServiceSettings) -> Option<Arc<Hold>> {
        let holds = self.kept.read_only.is_some() && settings.read_only.writes == Writes::Hold;
        let left = match (holds, self.writes.is_some()) {
            (true, false) => {
                self.writes = Some(Hold::begin(&self.lobby));
                None
            }
            (false, _) => self.writes.take(),
            (true, true) => None,
        };
        let maintenance = self.kept.maintenance.as_ref().map(|kept| Maintenance {
            message: message(kept, settings).map(Into::into),
            until: kept.until.map(system_time),
            allow: allow(kept, settings),
            secret: kept.secret.as_deref().map(Into::into),
        });
        let read_only = self.kept.read_only.as_ref().map(|_| ReadOnly {
            writes: self.writes.clone(),
        });
        let is_plain = maintenance.is_none() && read_only.is_none();
        self.picture = (!is_plain).then(|| {
            Arc::new(Modes {
                maintenance,
                read_only,
                refused: Arc::clone(&self.refused),
            })
        });
        left
    }
}

fn message(kept: &KeptMaintenance, settings: &ServiceSettings) -> Option<String> {
    let common = &settings.maintenance.message;
    let common = (!common.is_empty()).then(|| common.clone());
    kept.message.clone().or(common)
}

/// Whoever wrote the file wrote networks; what a newer switchd may have written lets nobody in.
fn allow(kept: &KeptMaintenance, settings: &ServiceSettings) -> Vec<Network> {
    let own = kept
        .allow
        .iter()
        .filter_map(|text| parse_network(text).ok());
    own.chain(settings.maintenance.allow.iter().copied())
        .collect()
}

fn system_time(moment: Moment) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(moment.0)
}

fn moment(time: SystemTime) -> Moment {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    Moment(0).after(since.unwrap_or_default())
}

/// What nobody guesses.
fn secret() -> Option<String> {
    let mut bytes = [0; SECRET];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    Some(digits.collect())
}

impl Conductor {
    pub(super) fn mode(&mut self, (order, answer): ModeMessage) {
        // Whoever asked and left needs no answer.
        drop(answer.send(self.switch_mode(order)));
    }

    fn switch_mode(&mut self, order: ModeOrder) -> Result<ModesStatus, Denied> {
        let at = self.find(&order.service)?;
        let now = self.jobs.clock.now();
        let before = self.services[at].modes.kept.clone();
        let mode = KeptMode {
            by: order.by.clone(),
            since: now,
        };
        let mut kept = before.clone();
        let (name, is_on) = match order.change {
            ModeChange::Maintenance(wish) => {
                let known = kept.maintenance.take();
                kept.maintenance = wish.map(|wish| keep(wish, known, mode));
                ("maintenance", kept.maintenance.is_some())
            }
            ModeChange::ReadOnly(on) => {
                let known = kept.read_only.take();
                kept.read_only = on.then(|| known.unwrap_or(mode));
                ("read_only", on)
            }
        };
        if kept != before {
            self.put_modes(at, kept)?;
            self.tell_mode(at, (&order.by, order.reason), (name, is_on));
        }
        Ok(self.modes_status(at, name == "maintenance"))
    }

    /// On disk first, then in force.
    fn put_modes(&mut self, at: usize, kept: KeptModes) -> Result<(), Denied> {
        let service = &mut self.services[at];
        let written = self.journal.record_modes(&service.name, &kept);
        self.look_at_disk();
        written?;
        let service = &mut self.services[at];
        service.modes.kept = kept;
        let settings = Arc::clone(&service.settings);
        let left = service.modes.draw(&settings);
        let rate = settings.hold.release_rate;
        self.publish();
        if let Some(writes) = &self.services[at].modes.writes {
            writes.places.aim(self.epoch.0);
        }
        if let Some(left) = left {
            tokio::spawn(release(left, rate));
        }
        Ok(())
    }

    fn tell_mode(
        &mut self,
        at: usize,
        (by, reason): (&Actor, Option<String>),
        (name, is_on): (&str, bool),
    ) {
        let service = &self.services[at];
        let message = service
            .modes
            .maintenance(&service.settings)
            .filter(|_| name == "maintenance")
            .and_then(|it| it.message);
        let words = if is_on { "on" } else { "off" };
        tracing::info!(service = %service.name, actor = %by, mode = name, state = words, "mode switched");
        let mut record = audit(self.jobs.clock.now(), by, name);
        record.service = service.name.to_string();
        record.reason = reason.or_else(|| message.clone());
        record.details.push(words.to_owned());
        let kind = EventKind::Mode {
            mode: name.to_owned(),
            on: is_on,
            by: by.to_string(),
            message,
        };
        let about = About::service(service.name.as_str());
        self.jobs.events.tell(about, kind);
        self.finish(&record);
    }

    fn modes_status(&self, at: usize, with_bypass: bool) -> ModesStatus {
        let service = &self.services[at];
        let secret = service.modes.kept.maintenance.as_ref();
        let secret = secret.and_then(|kept| kept.secret.as_ref());
        let hosts = service.settings.hosts.iter().filter_map(|host| match host {
            HostPattern::Exact(name) => Some(name.clone()),
            HostPattern::Any | HostPattern::Suffix(_) => None,
        });
        ModesStatus {
            schema: SCHEMA,
            maintenance: service.modes.maintenance(&service.settings),
            read_only: service.modes.read_only(&service.settings),
            bypass: secret.filter(|_| with_bypass).map(|secret| Bypass {
                path: format!("{LINK}{secret}"),
                cookie: format!("{COOKIE}{secret}"),
                hosts: hosts.collect(),
            }),
        }
    }
}

/// Since when it is on stays, and a secret that is known goes on.
fn keep(wish: MaintenanceWish, known: Option<KeptMaintenance>, mode: KeptMode) -> KeptMaintenance {
    let (mode, known) = match known {
        Some(known) => (known.mode, known.secret),
        None => (mode, None),
    };
    KeptMaintenance {
        mode,
        message: wish.message,
        until: wish.until.map(moment),
        allow: wish.allow.iter().map(Network::to_string).collect(),
        secret: wish.bypass.then(|| known.or_else(secret)).flatten(),
    }
}

/// Those who waited to write go on, now that no View makes them wait.
async fn release(writes: Arc<Hold>, rate: u64) {
    let_go(&writes, rate).await;
    writes.open();
}
