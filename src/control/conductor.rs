//! The one writer: it alone moves the machines of the services, and alone publishes.

use super::certificates::Certificates;
use super::descriptors::within;
use super::disk::DiskTrouble;
use super::doorway::Doorway;
use super::drain;
use super::drain::Drain;
use super::gate;
use super::gate::Gate;
use super::hooks::Wishes;
use super::jobs::Jobs;
use super::message::Denied;
use super::message::Message;
use super::reload::ConfigState;
use super::shared;
use super::steered::Draining;
use super::steered::Steered;
use super::underway::Asker;
use super::views::Stock;
use crate::api::CountsStatus;
use crate::config::Descriptors;
use crate::config::Listener as ListenerSettings;
use crate::config::Settings;
use crate::journal::Journal;
use crate::live::HostTable;
use crate::live::Listener;
use crate::live::Live;
use crate::live::View;
use crate::net::descriptor_limit;
use crate::switch::Effect;
use crate::switch::Epoch;
use crate::switch::Event;
use crate::switch::FlipId;
use crate::switch::Generation;
use crate::switch::Moment;
use crate::switch::Passed;
use crate::switch::Refusal;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use crate::tls::Material;
use arc_swap::ArcSwap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A look now and then, in case nothing asks for one.
const LONGEST_SLEEP: Duration = Duration::from_hours(1);

#[derive(Debug)]
pub(super) struct Conductor {
    pub(super) live: Arc<Live>,
    pub(super) journal: Journal,
    /// In force.
    pub(super) settings: Settings,
    pub(super) config: ConfigState,
    /// In the order of the settings.
    pub(super) services: Vec<Steered>,
    pub(super) stock: Stock,
    pub(super) certificates: Certificates,
    pub(super) epoch: Epoch,
    pub(super) jobs: Jobs,
    pub(super) hooks: Wishes,
    pub(super) doorway: Arc<ArcSwap<Doorway>>,
    pub(super) started: Moment,
    /// Set while an order is applied.
    pub(super) asking: Option<Asking>,
    /// None while the state can be written.
    pub(super) disk_trouble: Option<DiskTrouble>,
}

/// Whoever gives the order that is being applied.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) asker: Option<Asker>,
    /// The operation that came of it.
    pub(super) flip: Option<FlipId>,
}

/// What workers see, as the services are now.
pub(super) fn view(
    epoch: Epoch,
    settings: &Settings,
    services: &[Steered],
    material: &Material,
) -> View {
    let picture = |(at, service): (usize, &Steered)| service.picture(material.upstream(at));
    let listener = |(at, settings): (usize, &ListenerSettings)| Listener {
        settings: settings.clone(),
        tls: material.listeners.get(at).cloned().flatten(),
    };
    let descriptors = Descriptors::of(settings, descriptor_limit());
    View {
        epoch,
        services: services.iter().enumerate().map(picture).collect(),
        hosts: HostTable::new(services.iter().map(|service| &*service.settings)),
        limits: within(&descriptors, settings),
        descriptors,
        cache: settings.cache,
        spool: settings.spool.clone(),
        trusted_proxies: settings.trusted_proxies.clone(),
        listeners: settings
            .listeners
            .iter()
            .enumerate()
            .map(listener)
            .collect(),
        challenges: material.challenges.clone(),
    }
}

impl Conductor {
    /// Works until it is told to stop.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        self.hooks.configure(&self.settings.hooks);
        for at in 0..self.services.len() {
            self.expect_users(at);
        }
        self.start_tasks();
        self.certificates.warn(&self.jobs.events);
        for at in 0..self.services.len() {
            // Puts the state of a first start on disk: from now on an edited `initial` moves nothing.
            self.event(at, Event::Tick);
        }
        self.look_at_watches();
        self.look_at_disk();
        loop {
            let wake = self.next_wake();
            tokio::select! {
                message = inbox.recv() => match message {
                    None | Some(Message::Stop) => return,
                    Some(message) => self.take(message),
                },
                () = tokio::time::sleep_until(wake) => self.tick(),
            }
        }
    }

    fn next_wake(&self) -> Instant {
        let services = self.services.iter();
        let wakes = services.flat_map(|service| [service.wake, service.watching.next]);
        let wakes = wakes.flatten();
        let next = wakes.min().map(|moment| self.jobs.clock.instant(moment));
        let latest = Instant::now() + LONGEST_SLEEP;
        next.unwrap_or(latest).min(latest)
    }

    fn tick(&mut self) {
        let now = self.jobs.clock.now();
        for at in 0..self.services.len() {
            if self.services[at]
                .wake
                .take_if(|wake| *wake <= now)
                .is_some()
            {
                self.look_at_canary(at);
                self.event(at, Event::Tick);
            }
        }
        self.tick_watches();
    }

    /// Starts the probers and checks that do not run yet.
    pub(super) fn start_tasks(&mut self) {
        self.stock.endpoints.start_probers(&self.jobs);
        self.certificates.watch(&self.settings, &self.jobs);
        for service in &mut self.services {
            let (Some(check), Some(settings)) = (&mut service.shared, &service.settings.shared)
            else {
                continue;
            };
            if check.task.is_none() {
                let name = service.name.clone();
                let looks = shared::run(name, settings.clone(), self.jobs.clone());
                check.task = Some(tokio::spawn(looks).abort_handle());
            }
        }
    }

    fn take(&mut self, message: Message) {
        // Whoever asked and left needs no answer: results of `send` are dropped.
        match message {
            Message::Order(order, answer) => drop(answer.send(self.order(order))),
            Message::Probe {
                service,
                slot,
                answer,
            } => self.probe(&service, &slot, answer),
            Message::Reload(request) => self.reload(request),
            Message::Hold(message) => self.hold(message),
            Message::Mode(message) => self.mode(message),
            Message::Status(answer) => drop(answer.send(self.status())),
            Message::Page(answer) => drop(answer.send(self.page())),
            Message::Audit(record) => self.finish(&record),
            Message::Settings(answer) => drop(answer.send(self.settings.clone())),
            Message::CertificateFiles => self.reload_certificates(),
            Message::Disk(message) => self.disk(message),
            Message::CertificatesAge => self.certificates.warn(&self.jobs.events),
            Message::Probed(report) => self.probed(report),
            Message::Shared(report) => self.shared(&report),
            Message::Answered(heard) => self.heard(heard),
            Message::Shadow(message) => self.shadow(message),
            Message::Preview(message) => self.preview(message),
            Message::Gated {
                service,
                flip,
                verdict,
            } => self.gated(&service, flip, verdict),
            Message::Gates(message) => self.gates(message),
            Message::Drained {
                service,
                slot,
                generation,
                flip,
                cut,
            } => self.drained_empty(&service, (&slot, generation), flip, cut),
            Message::Stop => {}
        }
    }

    pub(super) fn index_of(&self, service: &ServiceName) -> Option<usize> {
        self.services.iter().position(|it| it.name == *service)
    }

    pub(super) fn find(&self, service: &str) -> Result<usize, Denied> {
        let found = self
            .services
            .iter()
            .position(|it| it.name.as_str() == service);
        found.ok_or_else(|| Denied::UnknownService {
            asked: service.to_owned(),
            services: self.services.iter().map(|it| it.name.to_string()).collect(),
        })
    }

    /// An event that nobody can be refused for.
    pub(super) fn event(&mut self, at: usize, event: Event) {
        if let Err(refusal) = self.apply(at, event) {
            let service = &self.services[at].name;
            tracing::error!(%service, error = %refusal, "the machine refused what happened");
        }
    }

    /// Moves the machine of one service and carries out what follows.
    pub(super) fn apply(&mut self, at: usize, event: Event) -> Result<(), Refusal> {
        let now = self.jobs.clock.now();
        let effects = self.services[at].switch.apply(now, event)?;
        let mut answers = self.perform_all(at, effects);
        while let Some(answer) = answers.pop_front() {
            let now = self.jobs.clock.now();
            let effects = self.services[at].switch.apply(now, answer)?;
            answers.extend(self.perform_all(at, effects));
        }
        self.look_at_shared_cause(at);
        Ok(())
    }

    fn perform_all(&mut self, at: usize, effects: Vec<Effect>) -> VecDeque<Event> {
        let performed = effects.into_iter();
        performed
            .filter_map(|effect| self.perform(at, effect))
            .collect()
    }

    /// Carries out one effect. Anything slow runs as a job that reports back.
    fn perform(&mut self, at: usize, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Ask(ask) => self.ask_all(at, ask),
            Effect::RunGate { flip, slot } => self.run_gate(at, flip, &slot),
            Effect::Record(transition) => return self.record(at, &transition),
            Effect::Publish {
                slot, generation, ..
            } => self.publish_slot(at, &slot, generation),
            Effect::Share { .. } => self.publish_canary(at),
            Effect::Drain {
                flip,
                slot,
                generation,
            } => self.run_drain(at, flip, slot, generation),
            Effect::WakeAt(moment) => self.services[at].wake = Some(moment),
            Effect::Tell(notice) => self.tell(at, notice),
        }
        None
    }

    fn run_gate(&mut self, at: usize, flip: FlipId, slot: &SlotName) {
        let reused = self.reused(at, slot);
        let service = &self.services[at];
        let gate = Gate {
            reused,
            service: service.name.clone(),
            flip: Some(flip),
            within: service.settings.flip.gate_timeout,
            trial: Arc::new(self.trial(at, slot)),
            hand: None,
            is_warm: self.goes_back_to_a_warm_slot(at, flip),
            starting: service.switch.starting(),
        };
        let gating = tokio::spawn(gate::run(gate, self.jobs.clone()));
        self.services[at].gating = Some(gating.abort_handle());
    }

    fn publish_slot(&mut self, at: usize, slot: &SlotName, generation: Generation) {
        let left_behind = self.leave(at);
        self.end_shadow(at, &format!("traffic moved to {slot}"));
        let service = &mut self.services[at];
        let left = service.activate(slot, generation, &mut self.stock);
        self.publish();
        // Whoever got here past the gate was sent by an operator.
        let name = self.services[at].name.clone();
        self.stock.endpoints.welcome(&name, slot);
        // Who waits for a place waits for one on the new slot, now that it can be found.
        if let Some(places) = &self.services[at].active_slot().places {
            places.aim(self.epoch.0);
        }
        for left in &left {
            self.dismiss(left);
        }
        self.end_outage(at);
        self.watch_begins(at, left_behind);
    }

    /// Shows the workers everything as it is now.
    pub(super) fn publish(&mut self) {
        self.epoch = self.epoch.next();
        let material = &self.certificates.material;
        let view = view(self.epoch, &self.settings, &self.services, material);
        self.live.publish(view);
    }

    fn run_drain(&mut self, at: usize, flip: FlipId, slot: SlotName, generation: Generation) {
        let now = self.jobs.clock.now();
        let service = &mut self.services[at];
        let pictures = service.pictures_of_generation(&slot, generation);
        let budgets = service.settings.flip.clone();
        let websocket = service.settings.websocket.clone();
        service.drains.push(Draining {
            slot: slot.clone(),
            generation,
            since: now,
            until: now.after(drain::longest(&budgets)),
            pictures: pictures.clone(),
        });
        let drain = Drain {
            service: service.name.clone(),
            flip,
            slot,
            generation,
            pictures,
            budgets,
            websocket,
        };
        tokio::spawn(drain::run(drain, self.jobs.clone()));
    }

    fn gated(&mut self, service: &ServiceName, flip: FlipId, verdict: Result<Passed, Vec<String>>) {
        let Some(at) = self.index_of(service) else {
            return;
        };
        let operation = self.services[at].switch.operation();
        let target = operation
            .filter(|it| it.flip == flip)
            .map(|it| it.to.clone());
        if let (Some(slot), Ok(_)) = (target, &verdict) {
            // The gate is as good a proof as the probers', and fresher: they must not contradict it.
            let now = self.jobs.clock.now();
            self.stock.endpoints.prove(service, &slot, now);
            self.look_at_health(at, &slot);
            self.gate_passed(at, flip);
        }
        self.event(at, Event::Gated { flip, verdict });
        self.look_at_all(at);
    }

    fn drained_empty(
        &mut self,
        service: &ServiceName,
        (slot, generation): (&SlotName, Generation),
        flip: FlipId,
        cut: CountsStatus,
    ) {
        let Some(at) = self.index_of(service) else {
            return;
        };
        let drains = &mut self.services[at].drains;
        drains.retain(|it| it.generation != generation || it.slot != *slot);
        let mut underway = self.services[at].underway.iter_mut();
        if let Some(underway) =
            underway.find(|it| it.operation.flip == flip && it.operation.from == *slot)
        {
            underway.cut_websockets = cut.websockets;
        }
        let cut = cut.requests + cut.transfers + cut.websockets;
        self.event(at, Event::Drained { generation, cut });
    }
}
