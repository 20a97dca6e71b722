//! The worst that a client saw: the oldest request among those that were under way at any look.

use super::daemon::Daemon;
use crate::api::RequestList;
use crate::cli::client::Client;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Between two looks; a request that came and went in between was not the worst.
const LOOKS: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Oldest {
    pub(super) ms: u64,
    /// `POST /web/dataset/call_kw, waiting`.
    pub(super) what: String,
}

/// Looks until it is dropped.
#[derive(Debug)]
pub(super) struct Worst {
    seen: Arc<Mutex<Option<Oldest>>>,
    task: JoinHandle<()>,
}

impl Worst {
    pub(super) fn watch(socket: PathBuf, daemon: &Daemon) -> Self {
        let seen = Arc::new(Mutex::new(None));
        let client = Client::new(socket);
        let path = format!("/v1/ps?service={}", daemon.name());
        let task = tokio::spawn(look(client, path, Arc::clone(&seen)));
        Self { seen, task }
    }

    pub(super) fn seen(&self) -> Option<Oldest> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

impl Drop for Worst {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(client: Client, path: String, seen: Arc<Mutex<Option<Oldest>>>) {
    let mut looks = tokio::time::interval(LOOKS);
    loop {
        looks.tick().await;
        // A daemon that starts anew has nothing under way.
        let Ok(document) = client.get(&path).await else {
            continue;
        };
        let Ok(list) = document.read::<RequestList>() else {
            continue;
        };
        let requests = list
            .requests
            .into_iter()
            .filter(|it| it.kind != "websocket");
        let Some(oldest) = requests.max_by_key(|it| it.age_ms) else {
            continue;
        };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_ref().is_none_or(|worst| worst.ms < oldest.age_ms) {
            let path = oldest.path.split('?').next().unwrap_or_default();
            *seen = Some(Oldest {
                ms: oldest.age_ms,
                what: format!("{} {path}, {}", oldest.method, oldest.state),
            });
        }
    }
}
