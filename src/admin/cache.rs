//! The cache, shown and purged.

use super::actions::Asked;
use super::actions::parse;
use super::answer;
use super::answer::Answer;
use super::problem::Wrong;
use super::query::Query;
use super::server::Admin;
use super::sight::Sight;
use crate::api::CacheEntry;
use crate::api::CacheForm;
use crate::api::CacheList;
use crate::api::CachePurge;
use crate::api::CachePurged;
use crate::api::SCHEMA;
use crate::cache::Entry;
use crate::cache::Purged;
use std::cmp::Reverse;
use std::time::Duration;
use std::time::SystemTime;

/// Entries that are shown unless more or fewer are asked for.
const SHOWN: usize = 100;

impl Admin {
    pub(super) fn cache_list(&self, query: &Query, sight: &Sight) -> Answer {
        let cache = self.edge.cache();
        let figures = cache.figures();
        let now = SystemTime::now();
        let mut entries = cache.entries();
        entries.retain(|entry| is_asked_for(entry, query, sight));
        // Looked at once each: hits go on counting.
        entries.sort_by_cached_key(|entry| (Reverse(entry.hits()), entry.target().to_vec()));
        let matching = entries.len() as u64;
        entries.truncate(query.limit(SHOWN));
        answer::json(&CacheList {
            schema: SCHEMA,
            kept: figures.entries,
            memory_bytes: figures.memory_bytes,
            disk_bytes: figures.disk_bytes,
            matching,
            entries: entries.iter().map(|entry| shown(entry, now)).collect(),
        })
    }

    pub(super) async fn cache_purge(&self, asked: &Asked<'_>) -> Result<Answer, Wrong> {
        let by = &asked.by;
        let CachePurge { service, prefix } = &parse(&asked.body)?;
        asked.sight.allow(service.as_deref())?;
        self.known(service.as_deref()).await?;
        let cache = self.edge.cache();
        let purged = cache.purge(service.as_deref(), prefix.as_bytes());
        tracing::info!(
            prefix,
            service,
            actor = %by,
            entries = purged.entries,
            bytes = purged.bytes,
            "cache purged"
        );
        let mut record = self.control.record(by, "cache_purge");
        record.service = service.clone().unwrap_or_default();
        let Purged { entries, bytes } = purged;
        record.details = vec![format!("{prefix}: {entries} answers, {bytes} bytes")];
        self.control.keep(record).await;
        Ok(answer::json(&CachePurged {
            schema: SCHEMA,
            entries,
            bytes,
        }))
    }
}

fn is_asked_for(entry: &Entry, query: &Query, sight: &Sight) -> bool {
    let Some(parts) = entry.key().parts() else {
        return false;
    };
    let prefix = query.text("prefix").unwrap_or_default();
    let service = query.service();
    sight.has(parts.service)
        && service.is_none_or(|service| service == parts.service)
        && parts.target.starts_with(prefix.as_bytes())
}

fn shown(entry: &Entry, now: SystemTime) -> CacheEntry {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let parts = entry.key().parts();
    let age = entry.age(now);
    CacheEntry {
        service: parts.map_or("", |parts| parts.service).to_owned(),
        host: parts.map_or_else(String::new, |parts| text(parts.host)),
        scheme: parts.map_or_else(String::new, |parts| text(parts.scheme)),
        target: text(entry.target()),
        hits: entry.hits(),
        age_ms: millis(age),
        fresh_ms: millis(entry.terms.fresh_for.saturating_sub(age)),
        immutable: entry.terms.immutable,
        vary: entry.vary().map(str::to_owned).collect(),
        forms: entry
            .bodies()
            .map(|body| CacheForm {
                form: body.form.name().to_owned(),
                bytes: body.length,
                in_memory: body.is_in_memory(),
                on_disk: body.is_on_disk(),
            })
            .collect(),
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
