//! What is told while it happens.

use super::gates::GateCheck;
use super::gates::GateProgress;
use super::gates::GateWaiting;
use super::gates::GatesDone;
use super::hold::ReleaseCause;
use super::status::CountsStatus;
use super::status::ProbeResult;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One line of an event stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StreamEvent {
    pub schema: u32,
    pub at: String,
    /// Empty for events of the whole daemon.
    pub service: String,
    /// The operation this belongs to, where there is one.
    pub flip: Option<u64>,
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened; the field `event` names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// An operation was accepted; its gate runs.
    Started {
        direction: String,
        from: String,
        to: String,
        by: String,
        reason: Option<String>,
        /// Why `to` is in quarantine, where it is and the move was asked for all the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quarantine: Option<String>,
    },
    /// One probe of the gate.
    Probe {
        slot: String,
        member: String,
        endpoint: String,
        result: ProbeResult,
        streak: u32,
        needed: u32,
    },
    GatePassed {
        slot: String,
        took_ms: u64,
    },
    /// The transition is on disk.
    Journalled {
        took_ms: u64,
    },
    /// From here on no new request reaches `from`.
    Published {
        from: String,
        to: String,
        generation: u64,
        took_ms: u64,
    },
    /// Told about once a second while the old generation drains.
    Draining {
        slot: String,
        generation: u64,
        left: CountsStatus,
    },
    /// What outlived its budget is cut off.
    CutOff {
        slot: String,
        generation: u64,
        cut: CountsStatus,
    },
    Drained {
        slot: String,
        generation: u64,
        cut: u64,
        took_ms: u64,
    },
    /// A slot's health changed.
    Health {
        slot: String,
        health: String,
        reason: Option<String>,
    },
    Quarantined {
        slot: String,
        reason: String,
    },
    QuarantineEnded {
        slot: String,
    },
    Acknowledged {
        slot: String,
        by: String,
    },
    /// The active slot is bad, and traffic stays; why.
    Staying {
        slot: String,
        reason: String,
        /// It has yet to start, together with the daemon: nothing to worry about so far.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        starting: bool,
    },
    Settled,
    Reloaded {
        changes: Vec<String>,
        needs_restart: Vec<String>,
    },
    ReloadFailed {
        problems: Vec<String>,
    },
    /// The state directory cannot be written as it should be; why, and what to do.
    StateNotWritten {
        problem: String,
    },
    /// It can be written again, and holds all that waited.
    StateWritten,
    /// Other certificates are in force; what changed, in words.
    CertificatesReloaded {
        changes: Vec<String>,
    },
    /// Files of certificates changed and cannot be used; those in force stay in force.
    CertificatesNotTaken {
        problems: Vec<String>,
    },
    /// So many of the new visitors go to `slot` from now on.
    Canary {
        slot: String,
        percent: f64,
        generation: u64,
        /// Which of the configured steps it is, counted from 1.
        step: Option<usize>,
    },
    /// The canary on `slot` has ended; with `promoted` all traffic is there now.
    CanaryOver {
        slot: String,
        promoted: bool,
        reason: Option<String>,
    },
    /// The next step of a canary failed; it stays at its share until an operator acts.
    CanaryHalted {
        slot: String,
        percent: f64,
    },
    /// Somebody got a link that leads to `slot` once.
    PreviewLink {
        slot: String,
        by: String,
    },
    /// This reader was too slow: so many events are missing here.
    Missed {
        events: u64,
    },
    /// Somebody said what runs in a slot, or that nothing is known of it any more.
    Labelled {
        slot: String,
        version: Option<String>,
        by: String,
    },
    /// An idle slot gets copies of requests from now on.
    ShadowOn {
        slot: String,
        percent: f64,
        by: String,
    },
    /// It gets no more.
    ShadowOff {
        slot: String,
        reason: String,
        compared: u64,
        differ: u64,
        failed: u64,
    },
    /// The last line of an operation's own stream.
    Done {
        verdict: Verdict,
        active: String,
        reasons: Vec<String>,
        took_ms: u64,
        drained_ms: Option<u64>,
        cut: u64,
    },
    /// One thing that a gate looked at.
    GateCheck(GateCheck),
    /// A gate goes on.
    GateProgress(GateProgress),
    /// The gates were passed so long ago, nothing has changed since, and they are not tried again.
    GatesReused {
        slot: String,
        age_ms: u64,
    },
    /// The slot is not ready yet, and waited for.
    GateWaiting(GateWaiting),
    /// The last line of the stream of `gate` and of a rehearsal.
    GatesDone(GatesDone),
    /// What the watch over the active slot says has changed, or the watch is over.
    Watch {
        slot: String,
        /// `inconclusive`, `good`, `warning` or `critical`.
        verdict: String,
        reasons: Vec<String>,
        /// Nothing more is said: the watch is over.
        over: bool,
        /// No watch runs: this is a warning, or its end, and traffic stays where it is.
        #[serde(default)]
        moves_nothing: bool,
    },
    /// Somebody said that the last move stays.
    Confirmed {
        slot: String,
        by: String,
    },
    /// A flip or rollback was asked for and not begun; nothing changed.
    OrderRefused {
        command: String,
        by: String,
        reasons: Vec<String>,
    },
    /// A certificate has to be renewed soon; told at the start, when it changes, and once a day.
    CertificateExpiring {
        certificate: String,
    },
    /// Sent to one hook, because somebody asked for it.
    HookTest {
        by: String,
    },
    /// New requests wait from now on.
    Held {
        hold: u64,
        by: String,
        reason: Option<String>,
        until: String,
        lease: bool,
    },
    /// Told about once a second while a service is held.
    Holding {
        hold: u64,
        waiting: u64,
        oldest_ms: u64,
        /// Of what was under way.
        left: CountsStatus,
    },
    /// Nothing is left of what was under way but websockets.
    HoldDrained {
        hold: u64,
        took_ms: u64,
    },
    /// A hold is over; those who wait are let go, in their order.
    Releasing {
        hold: u64,
        why: ReleaseCause,
        waiting: u64,
    },
    /// The last word on a hold: everybody is through.
    Released {
        hold: u64,
        why: ReleaseCause,
        held_ms: u64,
        /// Requests that were held and went on.
        requests: u64,
        /// Requests that were held and could not go on.
        refused: u64,
        longest_ms: u64,
    },
    /// `maintenance` or `read_only` was switched.
    Mode {
        mode: String,
        on: bool,
        by: String,
        message: Option<String>,
    },
    /// Another user listens on a slot's port than when it last served, or than its `owner`.
    OwnerChanged {
        slot: String,
        endpoint: String,
        /// `uid 65534 (nobody)`.
        listening: String,
        expected: String,
    },
    /// No stranger listens on the slot's port any more, or an operator has accepted who does.
    OwnerRestored {
        slot: String,
    },
    /// What all slots need fails: nothing moves by itself until it is back.
    SharedDown {
        /// What does not answer; none where the config does not say what the slots share.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        reason: String,
    },
    /// What all slots need is back.
    SharedUp {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        lasted_ms: u64,
    },
    /// Requests wait because the active slot cannot be connected.
    OutageBegan {
        slot: String,
        waiting: u64,
    },
    /// Those who waited are let go.
    OutageEnded {
        slot: String,
        waiting: u64,
    },
}

/// How an operation ended for the one who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Traffic is on the slot that was asked for.
    Done,
    /// It was there already; nothing changed.
    Unchanged,
    /// The gate said no; nothing changed.
    Refused,
    /// The journal could not be written; nothing changed.
    Failed,
    /// It was done, and traffic moved away again by itself before the old slot was drained.
    MovedBack,
    /// It was ended while its target was still being proven; it has moved nothing.
    Cancelled,
}

/// The answer of `probe`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeReport {
    pub schema: u32,
    pub slot: String,
    pub passed: bool,
    pub endpoints: Vec<ProbedEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbedEndpoint {
    pub member: String,
    pub address: String,
    #[serde(flatten)]
    pub result: ProbeResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Killed {
    pub schema: u32,
    pub id: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    pub schema: u32,
    /// What changed, in words; empty when nothing did.
    pub changes: Vec<String>,
    pub needs_restart: Vec<String>,
}

/// An RFC 9457 problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A stable name: `about:blank` or `urn:switchd:refused`.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// How to get one's way all the same; none where there is none.
    #[serde(rename = "override", default, skip_serializing_if = "Option::is_none")]
    pub way_around: Option<String>,
    /// Several reasons, one each (config problems, probes).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}
