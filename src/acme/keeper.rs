//! Keeps a certificate for each host: orders the first, and renews it in time.

use super::account::log_in;
use super::error::AcmeError;
use super::files::Files;
use super::order::obtain;
use super::schedule::renew_at;
use super::schedule::retry_after;
use crate::api::AcmeStatus;
use crate::config::Acme;
use crate::tls::Challenges;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;
use tokio::time::Instant;
use x509_parser::parse_x509_certificate;

/// One order with all its waiting; the authority's own deadlines are shorter.
const ORDER_TAKES: Duration = Duration::from_mins(3);
/// The clock of the machine may be set while we wait: it is looked at again after so long.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// Orders and renews, one host after the other.
#[derive(Debug)]
pub struct Keeper {
    settings: Acme,
    files: Files,
    challenges: Arc<Challenges>,
    known: Arc<Known>,
}

/// How it stands with each host. Read by the admin API.
#[derive(Debug, Default)]
pub struct Known(Mutex<Vec<AcmeStatus>>);

impl Known {
    #[must_use]
    pub fn all(&self) -> Vec<AcmeStatus> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn tell(&self, host: &str, change: impl FnOnce(&mut AcmeStatus)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = known.iter_mut().find(|status| status.host == host) {
            change(status);
        }
    }
}

/// When one host is looked after next.
struct Turn {
    host: String,
    failures: u32,
    /// Seconds since 1970.
    due: i64,
}

impl Keeper {
    #[must_use]
    pub fn new(settings: Acme, files: Files, challenges: Arc<Challenges>) -> Self {
        let statuses = settings.hosts.iter().map(|host| AcmeStatus {
            host: host.clone(),
            ..AcmeStatus::default()
        });
        let known = Arc::new(Known(Mutex::new(statuses.collect())));
        Self {
            settings,
            files,
            challenges,
            known,
        }
    }

    #[must_use]
    pub fn known(&self) -> Arc<Known> {
        self.known.clone()
    }

    /// Runs until it is dropped.
    pub async fn run(self) {
        let hosts = self.settings.hosts.iter();
        let mut turns: Vec<Turn> = hosts
            .map(|host| Turn {
                host: host.clone(),
                failures: 0,
                due: self.due(host),
            })
            .collect();
        loop {
            for turn in &turns {
                let due = jiff::Timestamp::from_second(turn.due).unwrap_or_default();
                self.known
                    .tell(&turn.host, |status| status.next_attempt = due.to_string());
            }
            let Some(next) = turns.iter_mut().min_by_key(|turn| turn.due) else {
                return;
            };
            let wait = u64::try_from(next.due - now()).unwrap_or(0);
            if wait > 0 {
                let wait = Duration::from_secs(wait).min(LONGEST_WAIT);
                tokio::time::sleep_until(Instant::now() + wait).await;
                continue;
            }
            self.take(next).await;
        }
    }

    async fn take(&self, turn: &mut Turn) {
        let host = &turn.host;
        match self.order(host).await {
            Ok(()) => {
                turn.failures = 0;
                turn.due = self.due(host);
                self.known.tell(host, |status| {
                    status.orders += 1;
                    status.error = None;
                });
                tracing::info!(host, "certificate ordered and written");
            }
            Err(error) => {
                turn.failures = turn.failures.saturating_add(1);
                let wait = retry_after(turn.failures, fastrand::f64());
                turn.due = now() + i64::try_from(wait.as_secs()).unwrap_or(i64::MAX / 2);
                // A hiccup of the authority is over at the next try, weeks before anything expires.
                if turn.failures < 3 {
                    tracing::warn!(host, %error, failures = turn.failures, retry_s = wait.as_secs(), "certificate not ordered");
                } else {
                    tracing::error!(host, %error, failures = turn.failures, retry_s = wait.as_secs(), "certificate not ordered");
                }
                self.known.tell(host, |status| {
                    status.failures += 1;
                    status.error = Some(error.to_string());
                });
            }
        }
    }

    async fn order(&self, host: &str) -> Result<(), AcmeError> {
        let ordered = async {
            let account = log_in(&self.settings, &self.files).await?;
            obtain(&account, host, self.settings.challenge, &self.challenges).await
        };
        let pem = tokio::time::timeout(ORDER_TAKES, ordered)
            .await
            .map_err(|_| AcmeError::Deadline(ORDER_TAKES))??;
        self.files
            .write(&self.files.certificate(host), pem.as_bytes())
    }

    /// When the certificate of `host` is to be renewed; now where there is none that can be read.
    fn due(&self, host: &str) -> i64 {
        let kept = Files::read(&self.files.certificate(host));
        let life = kept.ok().flatten().and_then(|pem| life(&pem));
        life.map_or_else(now, |(from, until)| renew_at(from, until, fastrand::f64()))
    }
}

/// From when until when the first certificate of a PEM text holds, in seconds since 1970.
fn life(pem: &[u8]) -> Option<(i64, i64)> {
    let leaf = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, leaf) = parse_x509_certificate(&leaf).ok()?;
    let validity = leaf.validity();
    Some((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
