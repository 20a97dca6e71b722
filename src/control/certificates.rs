//! Certificates while everything runs: watched, swapped, and warned of in time.

use super::clock::stamp;
use super::conductor::Conductor;
use super::events::About;
use super::events::Events;
use super::jobs::Jobs;
use super::message::Message;
use crate::api::CertificateStatus;
use crate::api::CertificatesStatus;
use crate::api::EventKind;
use crate::config::Problem;
use crate::config::Settings;
use crate::config::Watcher;
use crate::switch::Moment;
use crate::telemetry::CertificateFigures;
use crate::telemetry::ExpiryFigures;
use crate::tls::Material;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;
use tokio::task::AbortHandle;

/// Between two looks at what expires soon.
const DAY: Duration = Duration::from_hours(24);

/// What TLS is spoken with, and what keeps it up to date.
#[derive(Debug)]
pub(super) struct Certificates {
    /// In force.
    pub(super) material: Material,
    /// Why the files as they are now are not in force.
    pub(super) problems: Vec<String>,
    watched: Vec<PathBuf>,
    watch: Option<AbortHandle>,
}

impl Drop for Certificates {
    fn drop(&mut self) {
        self.stop_watching();
    }
}

impl Certificates {
    /// # Errors
    /// Every file that cannot be used.
    pub(super) fn load(settings: &Settings) -> Result<Self, Vec<Problem>> {
        Ok(Self {
            material: Material::load(settings, None)?,
            problems: Vec::new(),
            watched: Vec::new(),
            watch: None,
        })
    }

    pub(super) fn take(&mut self, material: Material, events: &Events) {
        let is_new = !material.changes_since(&self.material).is_empty();
        self.material = material;
        if is_new {
            self.warn(events);
        }
    }

    /// Tells what will have to be renewed by hand soon.
    pub(super) fn warn(&self, events: &Events) {
        for certificate in self.material.warnings(SystemTime::now()) {
            tracing::warn!(warning = certificate, "certificate");
            let kind = EventKind::CertificateExpiring { certificate };
            events.tell(About::daemon(), kind);
        }
    }

    pub(super) fn status(&self) -> CertificatesStatus {
        let now = SystemTime::now();
        let mut in_force: Vec<CertificateStatus> = Vec::new();
        for (_, certificate) in self.material.certificates() {
            let shown = CertificateStatus {
                chain: certificate.files.chain.display().to_string(),
                names: certificate.names.clone(),
                not_after: stamp(moment(certificate.not_after)),
                days_left: certificate.days_left(now),
            };
            if !in_force.contains(&shown) {
                in_force.push(shown);
            }
        }
        CertificatesStatus {
            in_force,
            problems: self.problems.clone(),
        }
    }

    pub(super) fn figures(&self) -> CertificateFigures {
        let days = |it: CertificateStatus| ExpiryFigures {
            chain: it.chain,
            names: it.names.join(","),
            days_left: it.days_left,
        };
        CertificateFigures {
            are_valid: self.problems.is_empty(),
            expiries: self.status().in_force.into_iter().map(days).collect(),
        }
    }

    /// Watches the files that `settings` name; those that are watched already stay so.
    pub(super) fn watch(&mut self, settings: &Settings, jobs: &Jobs) {
        let files = Material::files(settings);
        if files == self.watched {
            return;
        }
        self.stop_watching();
        self.watched.clone_from(&files);
        if !files.is_empty() {
            let watch = tokio::spawn(watch(files, jobs.clone()));
            self.watch = Some(watch.abort_handle());
        }
    }

    fn stop_watching(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
    }
}

/// Of seconds since the Unix epoch; what is before it is shown as it.
fn moment(seconds: i64) -> Moment {
    Moment(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

/// Tells whenever one of the files has changed, and once a day; until it is aborted.
async fn watch(files: Vec<PathBuf>, jobs: Jobs) {
    let mut days = tokio::time::interval_at(tokio::time::Instant::now() + DAY, DAY);
    let mut watcher = match Watcher::of_files(files) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(error = %error,
                "cannot watch the certificates; reload with SIGHUP or `switchctl reload`");
            None
        }
    };
    // What changed before it was watched is looked at now.
    jobs.report(Message::CertificateFiles).await;
    loop {
        let changed = async {
            match &mut watcher {
                Some(watcher) => watcher.changed().await,
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            () = changed => Message::CertificateFiles,
            _ = days.tick() => Message::CertificatesAge,
        };
        jobs.report(message).await;
    }
}

impl Conductor {
    /// All or nothing: a pair that does not fit together changes nothing at all.
    pub(super) fn reload_certificates(&mut self) {
        let before = &self.certificates.material;
        let kind = match Material::load(&self.settings, Some(before)) {
            Ok(material) => {
                let changes = material.changes_since(before);
                let mended = !self.certificates.problems.is_empty();
                self.certificates.problems.clear();
                if changes.is_empty() && !mended {
                    return;
                }
                tracing::info!(?changes, "certificates reloaded");
                self.certificates.take(material, &self.jobs.events);
                self.open_doors();
                let material = &self.certificates.material;
                self.stock.endpoints.configure(&self.settings, material);
                self.publish();
                self.start_tasks();
                EventKind::CertificatesReloaded { changes }
            }
            Err(problems) => {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                tracing::error!(
                    ?problems,
                    "certificates not taken; those in force stay in force"
                );
                self.certificates.problems.clone_from(&problems);
                EventKind::CertificatesNotTaken { problems }
            }
        };
        self.jobs.events.tell(About::daemon(), kind);
    }
}
