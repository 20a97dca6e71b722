//! The watch: counts of the active slot, judged for a while after each flip.
//!
//! Asked by the conductor's clock and by each move; what the verdicts mean is `switch/`'s part. Never touches
//! a request: it reads what workers count. Rules: the slot that is left is remembered as it was before the
//! move; a verdict is told when it changes, not each time it is reached.

mod figures;

use super::conductor::Conductor;
use super::events::About;
use super::log_level::log_at;
use super::log_level::of_verdict;
use super::steered::Steered;
use crate::api::EventKind;
use crate::config::Watch as WatchSettings;
use crate::switch::Direction;
use crate::switch::Event;
use crate::switch::Finding;
use crate::switch::FlipId;
use crate::switch::Generation;
use crate::switch::Judge;
use crate::switch::Moment;
use crate::switch::Tally;
use crate::switch::Track;
use crate::switch::WatchVerdict;
use std::time::Duration;

/// How often the active slot is looked at: while it is watched, and otherwise.
const PACE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(15)];
const QUICKEST: Duration = Duration::from_millis(50);

/// What is known of one service's active slot.
#[derive(Debug, Default)]
pub(super) struct Watching {
    /// When it is looked at next; none while nothing is.
    pub(super) next: Option<Moment>,
    /// Its recent past, for the day when it is left.
    past: Option<Past>,
    /// None after a move by itself.
    watched: Option<Watched>,
}

#[derive(Debug)]
struct Past {
    generation: Generation,
    track: Track,
}

/// The slot that an operator moved traffic to last.
#[derive(Debug)]
pub(super) struct Watched {
    generation: Generation,
    judge: Judge,
    until: Moment,
    latest: Option<Finding>,
    /// The machine was told that it does too badly.
    is_breach: bool,
    is_over: bool,
}

impl Watched {
    fn verdict(&self) -> WatchVerdict {
        let latest = self.latest.as_ref();
        latest.map_or(WatchVerdict::Inconclusive, |it| it.verdict)
    }
}

/// News of one look.
struct News {
    generation: Generation,
    finding: Finding,
    is_over: bool,
    verdict_is_new: bool,
    /// The machine has to be told of the finding's breach, or that there is none any more.
    breach_is_new: bool,
}

fn pace(settings: &WatchSettings, is_watched: bool) -> Duration {
    let rules = &settings.rules;
    if is_watched {
        return (rules.at_once_window / 10).clamp(QUICKEST, PACE[0]);
    }
    (rules.baseline / 40).clamp(QUICKEST, PACE[1])
}

impl Steered {
    /// How long the active slot is still watched, and since when its counts are known.
    fn look(&mut self, now: Moment) -> Option<News> {
        let settings = self.settings.clone();
        let rules = &settings.watch.rules;
        if !rules.enabled {
            self.watching = Watching::default();
            return None;
        }
        let tally = self.active_slot().metrics.tally();
        let generation = self.switch.generation();
        let sick = self.health.get(self.switch.active());
        let sick = sick.and_then(|told| told.reason().map(str::to_owned));
        let until = self.switch.watched_until();
        let watching = &mut self.watching;
        watching.remember(generation, rules.baseline, (now, &tally));
        watching
            .watched
            .take_if(|it| it.generation != generation || until.is_none());
        if let Some(until) = until.filter(|until| *until > now) {
            // Also after a start: then nothing is known of the slot that was left.
            let judge = || Judge::new(rules, now, &tally, None);
            let fresh = || Watched::new(generation, judge(), until);
            watching.watched.get_or_insert_with(fresh).until = until;
        }
        let news = watching.watched.as_mut().and_then(|watched| {
            if watched.is_over {
                return None;
            }
            let finding = watched.judge.look(rules, now, (&tally, sick.as_deref()));
            watched.take(finding, now)
        });
        let is_watched =
            watching.watched.as_ref().is_some_and(|it| !it.is_over) || self.canary_judge.is_some();
        watching.next = Some(now.after(pace(&settings.watch, is_watched)));
        news
    }

    /// The watch over the active slot, or the last one over it.
    pub(super) fn watched(&self) -> Option<&Watched> {
        let watched = self.watching.watched.as_ref();
        watched.filter(|it| it.generation == self.switch.generation())
    }
}

impl Watched {
    fn new(generation: Generation, judge: Judge, until: Moment) -> Self {
        Self {
            generation,
            judge,
            until,
            latest: None,
            is_breach: false,
            is_over: false,
        }
    }

    /// None when nothing about it is worth a word.
    fn take(&mut self, mut finding: Finding, now: Moment) -> Option<News> {
        // That nothing is known at first goes without saying.
        let verdict_is_new = self.verdict() != finding.verdict;
        self.is_over = self.until <= now;
        finding.breach.take_if(|_| self.is_over);
        let breach_is_new = finding.breach.is_some() != self.is_breach;
        self.is_breach = finding.breach.is_some();
        self.latest = Some(finding.clone());
        let is_news = verdict_is_new || breach_is_new || self.is_over;
        is_news.then_some(News {
            generation: self.generation,
            finding,
            is_over: self.is_over,
            verdict_is_new,
            breach_is_new,
        })
    }
}

impl Watching {
    fn remember(
        &mut self,
        generation: Generation,
        length: Duration,
        (now, tally): (Moment, &Tally),
    ) {
        self.past.take_if(|past| past.generation != generation);
        let past = self.past.get_or_insert_with(|| Past {
            generation,
            track: Track::new(length, now, tally),
        });
        past.track.set_length(length);
        past.track.mark(now, tally);
    }
}

impl Conductor {
    /// Looks at the active slot of one service.
    pub(super) fn look_at_watch(&mut self, at: usize) {
        let now = self.jobs.clock.now();
        let Some(news) = self.services[at].look(now) else {
            return;
        };
        if news.verdict_is_new || news.is_over {
            self.tell_watch(at, &news);
        }
        if news.breach_is_new {
            let generation = news.generation;
            let breach = news.finding.breach;
            self.event(at, Event::Judged { generation, breach });
        }
    }

    pub(super) fn look_at_watches(&mut self) {
        for at in 0..self.services.len() {
            self.look_at_watch(at);
        }
    }

    /// Those that are due.
    pub(super) fn tick_watches(&mut self) {
        let now = self.jobs.clock.now();
        for at in 0..self.services.len() {
            let next = &mut self.services[at].watching.next;
            if next.take_if(|next| *next <= now).is_some() {
                self.look_at_watch(at);
                self.judge_canary(at);
            }
        }
    }

    fn tell_watch(&self, at: usize, news: &News) {
        let service = &self.services[at];
        let (slot, over) = (service.switch.active(), news.is_over);
        let service = service.name.as_str();
        let Finding {
            verdict, reasons, ..
        } = &news.finding;
        let words = verdict.as_str();
        log_at!(of_verdict(*verdict), service, %slot, verdict = words, over, reasons = ?reasons, "watch");
        let kind = EventKind::Watch {
            slot: slot.to_string(),
            verdict: words.to_owned(),
            reasons: reasons.clone(),
            over,
        };
        self.jobs.events.tell(About::service(service), kind);
    }

    /// Traffic is about to move: what the slot that is left did so far is what the next one is measured by.
    pub(super) fn baseline(&self, at: usize) -> Option<Tally> {
        let service = &self.services[at];
        let past = service.watching.past.as_ref()?;
        let before = past.track.oldest()?;
        Some(service.active_slot().metrics.tally().since(before))
    }

    /// Traffic has moved: from now on the new slot is watched, unless it moved by itself.
    pub(super) fn watch_begins(&mut self, at: usize, baseline: Option<Tally>) {
        let now = self.jobs.clock.now();
        let service = &mut self.services[at];
        let generation = service.switch.generation();
        let rules = &service.settings.watch.rules;
        service.watching = Watching::default();
        if let Some(until) = service.switch.watched_until().filter(|_| rules.enabled) {
            let tally = service.active_slot().metrics.tally();
            let judge = Judge::new(rules, now, &tally, baseline);
            service.watching.watched = Some(Watched::new(generation, judge, until));
        }
        let pace = pace(&service.settings.watch, true);
        service.watching.next = rules.enabled.then(|| now.after(pace));
    }

    /// Whether `flip` goes back to a slot that is well anyway: then its endpoints alone prove it, once each.
    pub(super) fn goes_back_to_a_warm_slot(&self, at: usize, flip: FlipId) -> bool {
        let switch = &self.services[at].switch;
        let operation = switch.operation().filter(|it| it.flip == flip);
        operation.is_some_and(|operation| {
            operation.direction == Direction::Rollback && switch.is_warm(&operation.to)
        })
    }
}
