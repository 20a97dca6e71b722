//! A copy of an answer for the cache, taken while it passes.

use super::dress::Scene;
use super::edits::Edits;
use super::framing::Framing;
use super::response::ResponseHead;
use super::wishes::Shared;
use crate::cache::Asked;
use crate::cache::Given;
use crate::cache::Lead;
use crate::cache::New;
use crate::cache::Store;
use crate::cache::Variance;
use crate::cache::terms;
use crate::config::Cache as CacheSettings;
use crate::config::Coding;
use crate::telemetry::Looked;
use std::sync::Arc;
use std::time::SystemTime;

/// The copy as far as it is here. Dropped before its end, nothing is kept.
#[derive(Debug)]
pub(super) struct Capture {
    store: Arc<Store>,
    /// Taken when it is whole.
    new: Option<New>,
    reserved: u64,
    most: u64,
    #[allow(dead_code, reason = "its drop wakes those who wait for the copy")]
    lead: Option<Lead>,
}

/// Begins a copy of the answer, if it is one to keep. Its cookies are for nobody then.
pub(super) fn capture(
    head: &ResponseHead<'_>,
    scene: Scene<'_>,
    (settings, shared): (&CacheSettings, &Shared),
    edits: &mut Edits,
) -> Option<Box<Capture>> {
    let store = scene.proxy.cache.as_ref()?;
    let lead = shared.lead.take();
    if shared.listed {
        scene.record.looked.set(Some(Looked::Miss));
    }
    let new = copied(head, scene, (settings, shared));
    let Some(new) = new else {
        if let Some(lead) = lead {
            lead.pass();
        }
        return None;
    };
    let mut capture = Capture {
        store: store.clone(),
        new: Some(new),
        reserved: 0,
        most: settings.max_object,
        lead,
    };
    let length = match head.framing {
        Framing::Length(length) => length,
        _ => 0,
    };
    if length > settings.max_object || !capture.reserve(length) {
        return None;
    }
    scene.record.looked.set(Some(Looked::Miss));
    edits.remove("Set-Cookie");
    Some(Box::new(capture))
}

/// None when it must not be kept, or its end would not be seen.
fn copied(
    head: &ResponseHead<'_>,
    scene: Scene<'_>,
    (settings, shared): (&CacheSettings, &Shared),
) -> Option<New> {
    let has_end = matches!(head.framing, Framing::Length(_) | Framing::Chunked);
    if !shared.is_get || !has_end {
        return None;
    }
    let purges = shared.purges.get()?;
    let asked = Asked {
        authorized: shared.authorized,
        listed: shared.listed,
        immutable: settings.immutable,
    };
    let mut given = Given::default();
    for (name, value) in head.fields() {
        given.take(name, value);
    }
    let mut terms = terms(asked, head.status, given, SystemTime::now())?;
    let vary = std::mem::take(&mut terms.vary);
    let vary = vary.into_iter().map(|name| Variance {
        value: shared.field(&name),
        name,
    });
    let seat = scene.flight.seat.borrow();
    Some(New {
        key: shared.key.clone(),
        head: kept_head(head),
        vary: vary.collect(),
        terms,
        generation: seat.as_ref()?.ticket.slot().generation.0,
        body: Vec::new(),
        coded: None,
        purges,
    })
}

/// The head as an upstream would send it next time: without what was for this client or this way only.
fn kept_head(head: &ResponseHead<'_>) -> Vec<u8> {
    let mut kept = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in head.passing() {
        let is_dropped = ["set-cookie", "age", "x-accel-buffering"]
            .iter()
            .any(|dropped| name.eq_ignore_ascii_case(dropped));
        if !is_dropped {
            kept.extend_from_slice(name.as_bytes());
            kept.extend_from_slice(b": ");
            kept.extend_from_slice(value);
            kept.extend_from_slice(b"\r\n");
        }
    }
    kept.extend_from_slice(b"\r\n");
    kept
}

impl Capture {
    /// Takes the next piece of the body. False when it cannot be kept after all.
    pub(super) fn take(&mut self, data: &[u8]) -> bool {
        let Some(held) = self.new.as_ref().map(|new| new.body.len()) else {
            return false;
        };
        let wanted = (held + data.len()) as u64;
        if wanted > self.most || (wanted > self.reserved && !self.reserve(wanted - self.reserved)) {
            return false;
        }
        if let Some(new) = &mut self.new {
            new.body.extend_from_slice(data);
        }
        true
    }

    /// The body is whole; `coded` is what the client got of it.
    pub(super) fn finish(mut self: Box<Self>, coded: Option<(Coding, Vec<u8>)>) {
        if let Some(mut new) = self.new.take() {
            new.coded = coded;
            self.store.put(new);
        }
    }

    fn reserve(&mut self, bytes: u64) -> bool {
        let has_room = self.store.reserve(bytes);
        if has_room {
            self.reserved += bytes;
        }
        has_room
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.store.release(self.reserved);
    }
}
