//! New settings: from the file, while everything runs.

use super::conductor::Conductor;
use super::descriptors;
use super::events::About;
use super::message::Denied;
use super::message::Message;
use super::message::ReloadRequest;
use super::steered::Steered;
use super::steered::rules;
use super::underway::audit;
use crate::api::EventKind;
use crate::api::Reloaded;
use crate::api::SCHEMA;
use crate::config::AdminApi;
use crate::config::Change;
use crate::config::Listener;
use crate::config::Problem;
use crate::config::Settings;
use crate::config::Watcher;
use crate::config::load;
use crate::net::resolver;
use crate::switch::Actor;
use crate::switch::Event;
use crate::switch::Moment;
use crate::tls::Material;
use std::path::PathBuf;
use tokio::sync::mpsc;

/// What is known of the config file.
#[derive(Debug)]
pub(super) struct ConfigState {
    pub(super) path: PathBuf,
    /// When what is in force was loaded.
    pub(super) loaded: Moment,
    /// Why the file as it is now was not taken.
    pub(super) problems: Vec<String>,
    pub(super) needs_restart: Vec<String>,
}

/// Asks for a reload whenever the file has changed; until control stops.
pub(super) async fn watch(path: PathBuf, conductor: mpsc::Sender<Message>) {
    let mut watcher = match Watcher::new(&path) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(path = %path.display(), error = %error,
                "cannot watch the config; reload with SIGHUP or `switchctl reload`");
            return;
        }
    };
    loop {
        watcher.changed().await;
        let request = ReloadRequest {
            by: Actor::itself(),
            answer: None,
        };
        if conductor.send(Message::Reload(request)).await.is_err() {
            return;
        }
    }
}

impl Conductor {
    pub(super) fn reload(&mut self, request: ReloadRequest) {
        let result = self.load();
        let is_news = match &result {
            Ok(reloaded) => !reloaded.changes.is_empty() || !reloaded.needs_restart.is_empty(),
            Err(_) => true,
        };
        // A file that was only touched is no line of the history, unless somebody asked.
        if is_news || request.answer.is_some() {
            self.tell_reload(&request.by, &result);
        }
        if let Some(answer) = request.answer {
            // Whoever left needs no answer.
            drop(answer.send(result.map_err(Denied::Config)));
        }
    }

    /// All or nothing: a file with one mistake changes nothing at all.
    fn load(&mut self) -> Result<Reloaded, Vec<String>> {
        let told = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect();
        let checked = load(&self.config.path)
            .map_err(told)
            .and_then(|settings| self.check(settings))
            .and_then(|settings| {
                let possible = self.as_far_as_possible(settings.clone());
                let before = Some(&self.certificates.material);
                let material = Material::load(&possible, before).map_err(told)?;
                Ok((settings, possible, material))
            });
        let (settings, possible, material) = match checked {
            Ok(checked) => checked,
            Err(problems) => {
                self.config.problems.clone_from(&problems);
                return Err(problems);
            }
        };
        let change = Change::between(&self.settings, &settings);
        self.config.problems.clear();
        self.config.needs_restart.clone_from(&change.needs_restart);
        self.config.loaded = self.jobs.clock.now();
        let mut changes = change.applied;
        let renewed = material.changes_since(&self.certificates.material);
        if possible != self.settings || !renewed.is_empty() {
            changes.extend(renewed);
            self.put_in_force(possible, material);
        }
        self.certificates.problems.clear();
        Ok(Reloaded {
            schema: SCHEMA,
            changes,
            needs_restart: change.needs_restart,
        })
    }

    /// May it replace what is in force? A slot with traffic on it must stay.
    fn check(&self, settings: Settings) -> Result<Settings, Vec<String>> {
        let mut problems = Vec::new();
        for new in &settings.services {
            let known = self.services.iter().find(|it| it.name == new.name);
            let refused = known.map(|service| service.switch.can_apply(&rules(new)));
            if let Some(Err(refusal)) = refused {
                let path = self.config.path.display();
                problems.push(format!("{path}: service {}: {refusal}", new.name));
            }
        }
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(problems)
        }
    }

    /// What only a restart can change stays what it is.
    fn as_far_as_possible(&self, new: Settings) -> Settings {
        Settings {
            runtime: self.settings.runtime.clone(),
            admin: self.settings.admin.clone(),
            admin_api: AdminApi::after_reload(&self.settings.admin_api, &new.admin_api),
            state: self.settings.state.clone(),
            log: self.settings.log.clone(),
            access_log: self.settings.access_log.clone(),
            listeners: Listener::after_reload(&self.settings.listeners, &new.listeners),
            ..new
        }
    }

    fn put_in_force(&mut self, new: Settings, material: Material) {
        let now = self.jobs.clock.now();
        for at in 0..self.services.len() {
            let name = &self.services[at].name;
            if !new.services.iter().any(|it| it.name == *name) {
                self.end_all(at);
            }
        }
        self.hooks.configure(&new.hooks);
        resolver().configure(&new.resolver);
        self.settings = new;
        descriptors::tell(&self.settings);
        self.certificates.take(material, &self.jobs.events);
        self.open_doors();
        let material = &self.certificates.material;
        self.stock.endpoints.configure(&self.settings, material);
        let left = self.stock.queues.configure(&self.settings);
        let mut opened = Vec::new();
        let mut old = std::mem::take(&mut self.services);
        for settings in self.settings.services.clone() {
            let known = old.iter().position(|it| it.name == settings.name);
            let Some(index) = known else {
                let state = self.journal.state(&settings.name).cloned();
                let modes = self.journal.modes(&settings.name);
                let mut steered = Steered::new(settings.clone(), state, &mut self.stock, now);
                steered.modes.restore(modes, &settings);
                self.services.push(steered);
                continue;
            };
            let mut service = old.remove(index);
            service.configure(settings.clone(), &mut self.stock);
            opened.extend(service.modes.configure(&settings));
            self.services.push(service);
        }
        self.check_shadows();
        self.publish();
        // Who waits for a place that is limited no more, or of a service that is gone, must not wait on.
        for line in left {
            line.close();
        }
        for writes in opened {
            writes.open();
        }
        for at in 0..self.services.len() {
            self.check_outage(at);
        }
        for gone in &mut old {
            self.hold_is_gone(&mut gone.holds);
            gone.modes.lobby.line().close();
        }
        for at in 0..self.services.len() {
            self.expect_users(at);
        }
        self.start_tasks();
        for at in 0..self.services.len() {
            let rules = rules(&self.services[at].settings);
            self.event(at, Event::Configured { rules });
            self.look_at_another_shared(at);
            self.look_at_all(at);
        }
        self.look_at_watches();
    }

    fn tell_reload(&mut self, by: &Actor, result: &Result<Reloaded, Vec<String>>) {
        let path = self.config.path.display().to_string();
        let mut record = audit(self.jobs.clock.now(), by, "reload");
        let kind = match result {
            Ok(reloaded) => {
                tracing::info!(path, actor = %by, changes = ?reloaded.changes,
                    needs_restart = ?reloaded.needs_restart, "config reloaded");
                record.details.clone_from(&reloaded.changes);
                EventKind::Reloaded {
                    changes: reloaded.changes.clone(),
                    needs_restart: reloaded.needs_restart.clone(),
                }
            }
            Err(problems) => {
                tracing::error!(path, actor = %by, problems = ?problems, "config not taken");
                "failed".clone_into(&mut record.result);
                record.details.clone_from(problems);
                EventKind::ReloadFailed {
                    problems: problems.clone(),
                }
            }
        };
        self.finish(&record);
        self.jobs.events.tell(About::daemon(), kind);
    }
}
