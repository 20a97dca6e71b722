//! One request of a gate to one address, as a client of the site would send it.

use super::super::prober::Target;
use crate::config::Origin;
use crate::switch::Owner;
use crate::upstream::Asked;
use crate::upstream::Opened;
use crate::upstream::Place;
use crate::upstream::ProbeFailure;
use crate::upstream::Visited;
use crate::upstream::open_websocket;
use crate::upstream::visit;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;

/// How much of an answer is looked at.
pub(super) const KEPT: usize = 4 << 20;

/// How soon a request is tried again that we could not send.
const LACK_PAUSE: Duration = Duration::from_millis(100);

/// What this machine lacked when a gate wanted to ask: no word against the slot.
#[derive(Debug, Default)]
pub(in crate::control) struct Lacked(Mutex<Option<String>>);

impl Lacked {
    fn note(&self, words: Option<String>) {
        // A string is whole, whoever panicked.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }

    /// What is lacking still, forgotten by this.
    pub(super) fn take(&self) -> Option<String> {
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        words.take()
    }
}

/// One address of a slot, and as whose site it is asked.
#[derive(Debug, Clone)]
pub(super) struct Asker<'a> {
    pub(super) target: &'a Target,
    pub(super) origin: Origin,
    pub(super) lacked: &'a Lacked,
}

/// What differs from request to request.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
    pub(super) keep: usize,
}

impl Question {
    pub(super) fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            keep: KEPT,
        }
    }

    pub(super) fn keeping(mut self, keep: usize) -> Self {
        self.keep = keep;
        self
    }
}

impl Asker<'_> {
    /// As it is told: `http 127.0.0.1:8069`.
    pub(super) fn name(&self) -> String {
        let key = &self.target.key;
        format!("{} {}", key.member, key.address)
    }

    fn place(&self) -> Place<'_> {
        Place {
            address: &self.target.key.address,
            terms: self.target.terms.as_deref(),
            proxy_protocol: self.target.proxy_protocol,
        }
    }

    pub(super) async fn ask(
        &self,
        question: Question,
        within: Duration,
    ) -> Result<Visited, ProbeFailure> {
        let mut asked = self.asked(question)?;
        let close = HeaderValue::from_static("close");
        asked.headers.insert(http::header::CONNECTION, close);
        self.patiently(within, || visit(self.place(), asked.clone(), within))
            .await
    }

    /// Again for as long as it is we who cannot ask (descriptors, ports, memory), within the time for one request:
    /// what we lack comes back, and says nothing of the slot.
    async fn patiently<T, F>(
        &self,
        within: Duration,
        ask: impl Fn() -> F,
    ) -> Result<T, ProbeFailure>
    where
        F: Future<Output = Result<T, ProbeFailure>>,
    {
        let started = Instant::now();
        let mut has_lacked = false;
        loop {
            let asked = ask().await;
            match &asked {
                // What cannot be sent now cannot be sent later either.
                Err(ProbeFailure::Unsendable(_)) => return asked,
                Err(failure) if failure.owner() != Owner::Slot => {
                    has_lacked = true;
                    self.lacked.note(Some(failure.to_string()));
                    if started.elapsed() >= within {
                        return asked;
                    }
                }
                _ => {
                    if has_lacked {
                        self.lacked.note(None);
                    }
                    return asked;
                }
            }
            tokio::time::sleep(LACK_PAUSE).await;
        }
    }

    pub(super) async fn open_websocket(
        &self,
        path: &str,
        within: Duration,
    ) -> Result<Opened, ProbeFailure> {
        let mut asked = self.asked(Question::get(path).keeping(1024))?;
        // Odoo refuses who does not say where he comes from.
        let origin = value(&self.origin.to_string())?;
        asked.headers.insert(http::header::ORIGIN, origin);
        self.patiently(within, || {
            open_websocket(self.place(), asked.clone(), within)
        })
        .await
    }

    fn asked(&self, question: Question) -> Result<Asked, ProbeFailure> {
        let mut headers = HeaderMap::new();
        let host = value(&self.origin.host)?;
        let scheme = if self.origin.is_https {
            "https"
        } else {
            "http"
        };
        for (name, value) in [
            (http::header::HOST, host.clone()),
            (
                http::header::USER_AGENT,
                HeaderValue::from_static("switchd-gate"),
            ),
            (http::header::ACCEPT, HeaderValue::from_static("*/*")),
            (HeaderName::from_static("x-forwarded-host"), host),
            (
                HeaderName::from_static("x-forwarded-proto"),
                HeaderValue::from_static(scheme),
            ),
            (
                HeaderName::from_static("x-forwarded-for"),
                HeaderValue::from_static("127.0.0.1"),
            ),
            (
                HeaderName::from_static("x-real-ip"),
                HeaderValue::from_static("127.0.0.1"),
            ),
        ] {
            headers.insert(name, value);
        }
        for (name, value) in question.headers {
            headers.insert(name, value);
        }
        Ok(Asked {
            method: question.method,
            path: question.path,
            headers,
            body: question.body,
            keep: question.keep,
        })
    }
}

fn value(text: &str) -> Result<HeaderValue, ProbeFailure> {
    HeaderValue::from_str(text).map_err(|error| ProbeFailure::Unsendable(error.into()))
}
