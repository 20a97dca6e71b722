//! One hook at work: what waits for it, and how it goes.

use super::deliver::Failed;
use super::deliver::attempt;
use super::letter::Letter;
use crate::api::HookStatus;
use crate::config::Hook;
use crate::config::HookEvent;
use crate::control::clock::Clock;
use crate::control::clock::stamp;
use crate::switch::ServiceName;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Between two attempts at most, whatever a receiver asks for.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

#[derive(Debug)]
pub(super) struct Post {
    pub(super) hook: Hook,
    clock: Clock,
    /// Locked for a look: never over a wait.
    state: Mutex<State>,
    /// Told when something waits.
    news: Notify,
}

/// Taken over by the hook of the same name when its settings change.
#[derive(Debug, Default)]
pub(super) struct State {
    waiting: VecDeque<Letter>,
    on_its_way: Option<Letter>,
    counts: Counts,
    last_delivered: Option<String>,
    last_failed: Option<String>,
    error: Option<String>,
    next_attempt: Option<String>,
    work: Option<AbortHandle>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) delivered: u64,
    pub(super) failed: u64,
    pub(super) dropped: u64,
    pub(super) attempts: u64,
}

impl Post {
    pub(super) fn new(hook: Hook, clock: Clock, state: State) -> Arc<Self> {
        Arc::new(Self {
            hook,
            clock,
            state: Mutex::new(state),
            news: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to deliver, on the runtime that this is called on.
    pub(super) fn begin(self: &Arc<Self>) {
        let work = tokio::spawn(Arc::clone(self).deliver());
        self.state().work = Some(work.abort_handle());
    }

    /// Stops; what waits is for whoever comes next.
    pub(super) fn end(&self) -> State {
        let mut state = std::mem::take(&mut *self.state());
        if let Some(work) = state.work.take() {
            work.abort();
        }
        // Its receiver may have it already; the id tells it so.
        if let Some(letter) = state.on_its_way.take() {
            state.waiting.push_front(letter);
        }
        state.next_attempt = None;
        state
    }

    /// Whether it is to be told.
    pub(super) fn wants(&self, letter: &Letter) -> bool {
        let Hook {
            events, services, ..
        } = &self.hook;
        let names = &letter.notice.names;
        let about = letter.event.service.as_str();
        let is_ours = |service: &ServiceName| service.as_str() == about;
        names.iter().any(|name| events.contains(name))
            // What is about switchd as a whole is for those who want to hear of everything.
            && (services.is_empty() || services.iter().any(is_ours))
    }

    /// Never waits: with a full queue the oldest gives way.
    pub(super) fn put(&self, letter: Letter) {
        let mut state = self.state();
        if state.waiting.len() >= self.hook.queue {
            state.waiting.pop_front();
            state.counts.dropped += 1;
            if state.counts.dropped.is_power_of_two() {
                tracing::warn!(
                    hook = self.hook.name,
                    dropped = state.counts.dropped,
                    error = state.error.as_deref(),
                    "hook does not keep up; its oldest message gave way"
                );
            }
        }
        state.waiting.push_back(letter);
        drop(state);
        self.news.notify_one();
    }

    pub(super) fn counts(&self) -> (Counts, u64) {
        let state = self.state();
        (state.counts, state.queued())
    }

    async fn deliver(self: Arc<Self>) {
        loop {
            let Some(letter) = self.next() else {
                self.news.notified().await;
                continue;
            };
            self.try_until_it_is_over(&letter).await;
            let mut state = self.state();
            state.on_its_way = None;
            state.next_attempt = None;
        }
    }

    fn next(&self) -> Option<Letter> {
        let mut state = self.state();
        state.on_its_way = state.waiting.pop_front();
        state.on_its_way.clone()
    }

    async fn try_until_it_is_over(&self, letter: &Letter) {
        for number in 1..=self.hook.attempts {
            let result = attempt(&self.hook, letter).await;
            self.note(letter, &result);
            let Err(failed) = result else { return };
            if number == self.hook.attempts || !failed.may_retry {
                break;
            }
            let pause = pause(self.hook.backoff, number, fastrand::f64());
            let pause = pause
                .max(failed.wait.unwrap_or_default())
                .min(LONGEST_PAUSE);
            self.state().next_attempt = Some(stamp(self.clock.now().after(pause)));
            tokio::time::sleep(pause).await;
        }
        let mut state = self.state();
        state.counts.failed += 1;
        let error = state.error.clone();
        drop(state);
        tracing::error!(hook = self.hook.name, url = %self.hook.url, event = letter.name().word(),
            delivery = letter.id, error, "hook not told; the message is given up");
    }

    /// Keeps how an attempt ended.
    pub(super) fn note(&self, letter: &Letter, result: &Result<(), Failed>) {
        let now = stamp(self.clock.now());
        let mut state = self.state();
        state.counts.attempts += 1;
        state.next_attempt = None;
        match result {
            Ok(()) => {
                // A test counts as an attempt, and is no message that waited.
                state.counts.delivered += u64::from(letter.name() != HookEvent::Test);
                state.last_delivered = Some(now);
                state.error = None;
            }
            Err(failed) => {
                state.last_failed = Some(now);
                state.error = Some(failed.what.clone());
                drop(state);
                tracing::warn!(hook = self.hook.name, url = %self.hook.url,
                    error = failed.what, "hook not told");
            }
        }
    }

    pub(super) fn status(&self) -> HookStatus {
        let Hook {
            name,
            kind,
            url,
            events,
            services,
            secret,
            ..
        } = &self.hook;
        let state = self.state();
        let phase = match (&state.on_its_way, &state.error) {
            (None, _) => "idle",
            (Some(_), None) => "delivering",
            (Some(_), Some(_)) => "retrying",
        };
        HookStatus {
            name: name.clone(),
            kind: kind.word().to_owned(),
            url: url.to_string(),
            events: events.iter().map(|it| it.word().to_owned()).collect(),
            services: services.iter().map(ToString::to_string).collect(),
            is_signed: secret.is_some(),
            state: phase.to_owned(),
            queued: state.queued(),
            delivered: state.counts.delivered,
            failed: state.counts.failed,
            dropped: state.counts.dropped,
            attempts: state.counts.attempts,
            last_delivered: state.last_delivered.clone(),
            last_failed: state.last_failed.clone(),
            error: state.error.clone(),
            next_attempt: state.next_attempt.clone(),
        }
    }
}

impl State {
    fn queued(&self) -> u64 {
        self.waiting.len() as u64 + u64::from(self.on_its_way.is_some())
    }
}

/// Doubled each time, and spread: `luck` is from 0 to 1. Many daemons must not come back as one.
fn pause(first: Duration, failures: u32, luck: f64) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(LONGEST_PAUSE).mul_f64(0.5 + luck / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_are_spread_and_have_an_end() {
        let first = Duration::from_secs(1);
        assert_eq!(pause(first, 1, 1.0), Duration::from_secs(1));
        assert_eq!(pause(first, 1, 0.0), Duration::from_millis(500));
        assert_eq!(pause(first, 4, 1.0), Duration::from_secs(8));
        for failures in [10, 40, u32::MAX] {
            assert_eq!(pause(first, failures, 1.0), LONGEST_PAUSE);
        }
    }
}
