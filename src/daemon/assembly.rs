//! Start order and stop order.

use crate::acme::Files;
use crate::acme::Keeper;
use crate::admin::Admin;
use crate::admin::Api;
use crate::admin::Metrics;
use crate::admin::Socket;
use crate::config::AccessLogFormat;
use crate::config::AccessLogTarget;
use crate::config::Settings;
use crate::config::Stop;
use crate::config::summary;
use crate::control::Control;
use crate::control::Handle;
use crate::control::Prepared;
use crate::edge::Edge;
use crate::journal::Journal;
use crate::journal::Recover;
use crate::net::raise_descriptor_limit;
use crate::net::resolver;
use crate::telemetry::AccessLog;
use crate::telemetry::LineFormat;
use crate::telemetry::LogTarget;
use anyhow::Context;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Longer than any part ever needs to come to the end of what it is at.
const ENDING_TAKES: Duration = Duration::from_secs(5);

/// A whole switchd, at work.
#[derive(Debug)]
pub struct Daemon {
    control: Control,
    edge: Arc<Edge>,
    access_log: Arc<AccessLog>,
    admin_socket: PathBuf,
    stop: Stop,
}

impl Daemon {
    /// Starts everything: `config` is the file that `settings` came from, and is watched.
    ///
    /// # Errors
    /// What cannot be had (the state, a socket, a listener, a file), and why. Nothing is left running then.
    pub fn start(settings: &Settings, config: &Path, recover: Recover) -> anyhow::Result<Self> {
        raise_descriptor_limit();
        // The state first: it is locked, so a second daemon ends here, before it disturbs the first.
        let journal = Journal::open(&settings.state.dir, recover)?;
        for warning in journal.warnings() {
            tracing::warn!(warning, "journal");
        }
        let socket = Socket::bind(&settings.admin.socket)?;
        let metrics = settings.admin.metrics.map(Metrics::bind).transpose()?;
        let metrics_at = metrics.as_ref().map(Metrics::address);
        let api = settings.admin_api.tcp.as_ref();
        let api = api.map(|tcp| Api::bind(tcp.address)).transpose()?;
        let api_at = api.as_ref().map(Api::address);
        let access_log = access_log(settings)?;
        let admin_socket = settings.admin.socket.clone();
        // Before the first name is made of them.
        resolver().configure(&settings.resolver);
        let stop = settings.stop.clone();
        let prepared = Prepared::new(settings.clone(), config.to_owned(), journal)
            .map_err(|problems| anyhow::anyhow!(summary(&problems).trim_end().to_owned()))?;
        // Listeners are bound before any worker runs, and workers find the first View ready.
        let edge = Edge::start(settings, &prepared.live(), &access_log);
        let edge = Arc::new(edge?);
        let admin = Admin::new(
            prepared.handle(),
            Arc::clone(&edge),
            Arc::clone(&access_log),
        )
        .metrics_at(metrics_at)
        .api_at(api_at);
        let keeper = keeper(settings, &prepared)?;
        let admin = admin.acme(keeper.known());
        let control = prepared.start().context("cannot start control")?;
        control.spawn(keeper.run());
        if let Some(metrics) = metrics {
            control.spawn(admin.clone().serve_metrics(metrics));
        }
        if let Some(api) = api {
            control.spawn(admin.clone().serve_tcp(api));
        }
        control.spawn(admin.serve(socket));
        let listeners: Vec<String> = edge.listeners().iter().map(ToString::to_string).collect();
        let metrics = metrics_at.map(tracing::field::display);
        let api = api_at.map(tracing::field::display);
        tracing::info!(?listeners, metrics, api, admin = %admin_socket.display(), config = %config.display(), "switchd started");
        Ok(Self {
            control,
            edge,
            access_log,
            admin_socket,
            stop,
        })
    }

    #[must_use]
    pub fn admin_socket(&self) -> &Path {
        &self.admin_socket
    }

    /// As bound: a configured port 0 is a real one here.
    #[must_use]
    pub fn listeners(&self) -> &[SocketAddr] {
        self.edge.listeners()
    }

    #[must_use]
    pub fn control(&self) -> &Handle {
        self.control.handle()
    }

    pub fn reopen_logs(&self) {
        self.access_log.reopen();
    }

    /// Resolves when a worker died: half a proxy is worse than none. Cancel safe.
    pub async fn failed(&self) {
        self.edge.failed().await;
    }

    /// Finishes what runs, within the configured time, and ends; how many requests were cut off.
    pub async fn stop(self) -> usize {
        self.control().end_holds().await;
        // A reload may have changed how long it may take.
        let asked = tokio::time::timeout(ENDING_TAKES, self.control().settings()).await;
        let stop = match asked {
            Ok(Ok(settings)) => settings.stop,
            _ => self.stop,
        };
        // Clients first: control goes on deciding, and the admin API answering, while they finish.
        let within = stop.grace + stop.timeout + ENDING_TAKES;
        let stopped = tokio::time::timeout(within, self.edge.stop(stop.grace, stop.timeout)).await;
        let cut = stopped.unwrap_or_else(|_| {
            tracing::error!("the workers do not stop; ending without them");
            0
        });
        // Then control, and with it the admin socket: the state is on disk already.
        if tokio::time::timeout(ENDING_TAKES, self.control.stop())
            .await
            .is_err()
        {
            tracing::error!("control does not stop; ending without it");
        }
        // Last what the others write to, once the workers have handed over their last lines.
        let (edge, log) = (Arc::into_inner(self.edge), self.access_log);
        let flushed = tokio::task::spawn_blocking(move || {
            if let Some(edge) = edge {
                edge.join();
            }
            log.flush_and_stop();
        });
        if tokio::time::timeout(ENDING_TAKES, flushed).await.is_err() {
            tracing::error!("the access log hangs; its last lines are lost");
        }
        if cut > 0 {
            tracing::warn!(cut, "switchd stopped, and cut requests off");
        } else {
            tracing::info!(cut, "switchd stopped");
        }
        cut
    }
}

/// Of certificates that get themselves; one without hosts has nothing to do.
fn keeper(settings: &Settings, prepared: &Prepared) -> anyhow::Result<Keeper> {
    let files = Files::below(&settings.state.dir);
    if !settings.acme.hosts.is_empty() {
        files.prepare()?;
    }
    Ok(Keeper::new(
        settings.acme.clone(),
        files,
        prepared.challenges(),
    ))
}

fn access_log(settings: &Settings) -> anyhow::Result<Arc<AccessLog>> {
    let target = match &settings.access_log.target {
        AccessLogTarget::Off => LogTarget::Off,
        AccessLogTarget::Stdout => LogTarget::Stdout,
        AccessLogTarget::File(path) => LogTarget::File(path.clone()),
    };
    let format = match settings.access_log.format {
        AccessLogFormat::Json => LineFormat::Json,
        AccessLogFormat::Combined => LineFormat::Combined,
    };
    let place = match &target {
        LogTarget::File(path) => path.display().to_string(),
        LogTarget::Stdout | LogTarget::Off => "stdout".to_owned(),
    };
    AccessLog::start(target, format)
        .with_context(|| format!("cannot write the access log to {place}"))
}
