//! One answer that is kept.

use super::body::Body;
use super::body::Form;
use super::key::Key;
use super::rules::Terms;
use crate::config::Coding;
use crate::content::Validators;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::SystemTime;

/// A field of a request, and the value that this answer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variance {
    /// Lower case.
    pub name: Box<str>,
    pub value: Box<[u8]>,
}

/// One answer that is kept: its head once, its body in the forms that clients asked for.
#[derive(Debug)]
pub struct Entry {
    pub(super) id: u64,
    pub(super) key: Key,
    /// Status line and the fields that are kept, as an upstream would send them.
    pub head: Box<[u8]>,
    pub(super) vary: Vec<Variance>,
    pub terms: Terms,
    /// Of the slot that gave it.
    pub(super) generation: u64,
    etag: Option<Box<[u8]>>,
    modified: Option<Box<[u8]>>,
    pub(super) bodies: [OnceLock<Arc<Body>>; Form::COUNT],
    /// Somebody is encoding it into this form.
    coding: [AtomicBool; Coding::ALL.len()],
    pub(super) hits: AtomicU64,
    visited: AtomicBool,
    /// It is not in the cache any more.
    pub(super) gone: AtomicBool,
}

/// What an entry is made of, besides its bodies.
pub(super) struct Parts {
    pub(super) id: u64,
    pub(super) key: Key,
    pub(super) head: Box<[u8]>,
    pub(super) vary: Vec<Variance>,
    pub(super) terms: Terms,
    pub(super) generation: u64,
}

impl Entry {
    pub(super) fn new(parts: Parts) -> Self {
        let (etag, modified) = validators(&parts.head);
        Self {
            id: parts.id,
            key: parts.key,
            head: parts.head,
            vary: parts.vary,
            terms: parts.terms,
            generation: parts.generation,
            etag,
            modified,
            bodies: Default::default(),
            coding: Default::default(),
            hits: AtomicU64::new(0),
            visited: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        }
    }

    #[must_use]
    pub fn validators(&self) -> Validators<'_> {
        Validators {
            etag: self.etag.as_deref(),
            modified: self.modified.as_deref(),
        }
    }

    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Path and query that it answers.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.key.parts().map_or(&[], |parts| parts.target)
    }

    /// Fields of a request that choose it among others.
    pub fn vary(&self) -> impl Iterator<Item = &str> {
        self.vary.iter().map(|one| &*one.name)
    }

    /// Its body in every form that is there.
    pub fn bodies(&self) -> impl Iterator<Item = &Arc<Body>> {
        self.bodies.iter().filter_map(|body| body.get())
    }

    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Since it was made by the upstream.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.terms.made).unwrap_or_default()
    }

    #[must_use]
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.age(now) < self.terms.fresh_for
    }

    #[must_use]
    pub fn body(&self, form: Form) -> Option<&Arc<Body>> {
        self.bodies[form.index()].get()
    }

    /// Bytes of the body as it came.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.body(Form::Plain).map_or(0, |body| body.length)
    }

    /// True for the first who asks: whoever encodes it keeps the result for the others.
    #[must_use]
    pub fn begin_coding(&self, coding: Coding) -> bool {
        !self.coding[coding as usize].swap(true, Ordering::Relaxed)
    }

    /// It came to nothing: the next one may try.
    pub fn give_up_coding(&self, coding: Coding) {
        self.coding[coding as usize].store(false, Ordering::Relaxed);
    }

    pub(super) fn hit(&self) {
        // Relaxed: a hint and a count that stand alone. The flag is written only when it changes: workers
        // that share an answer must not take its memory from each other.
        if !self.visited.load(Ordering::Relaxed) {
            self.visited.store(true, Ordering::Relaxed);
        }
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn forget_visit(&self) -> bool {
        self.visited.swap(false, Ordering::Relaxed)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// What it weighs besides its bodies.
    pub(super) fn weight(&self) -> u64 {
        const STRUCTS: usize = 768;
        (STRUCTS + self.head.len() + self.key.text.len()) as u64
    }
}

/// `ETag` and `Last-Modified` of a head.
#[allow(clippy::type_complexity, reason = "two texts that may be missing")]
fn validators(head: &[u8]) -> (Option<Box<[u8]>>, Option<Box<[u8]>>) {
    let (mut etag, mut modified) = (None, None);
    let lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    for line in lines.skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let value = line[colon + 1..].trim_ascii();
        let is = |name: &str| line[..colon].eq_ignore_ascii_case(name.as_bytes());
        if is("etag") {
            etag = Some(value.into());
        } else if is("last-modified") {
            modified = Some(value.into());
        }
    }
    (etag, modified)
}
