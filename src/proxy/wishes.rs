//! What a request wants of the content, and has of it already.

use super::client::Peer;
use super::fields::Field;
use super::fields::options;
use super::framing::Framing;
use super::request::FieldRoom;
use super::request::MOST_FIELDS;
use super::request::RequestHead;
use crate::cache::Key;
use crate::cache::KeyParts;
use crate::cache::Lead;
use crate::config::Coding;
use crate::config::Service as ServiceSettings;
use crate::content::Conditions;
use crate::content::best;
use std::cell::Cell;
use std::cell::RefCell;
use std::mem::MaybeUninit;

/// Noted of a request whose service does something with content.
#[derive(Debug)]
pub(super) struct Wishes {
    /// What a body may be encoded with; none when it goes as it is.
    pub coding: Option<Coding>,
    pub conditions: Conditions,
    /// None when the cache has nothing to do with it.
    pub shared: Option<Shared>,
}

/// What the cache has to know of a request.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Shared {
    pub key: Key,
    /// Its answer is one to keep: HEAD is only looked up.
    pub is_get: bool,
    /// Its path is among those that are kept, and waited for.
    pub listed: bool,
    pub authorized: bool,
    /// It wants news: only what never changes is good enough.
    pub refresh: bool,
    /// The request's head: answers may differ by any of its fields.
    head: Box<[u8]>,
    /// Others wait for its answer.
    pub lead: RefCell<Option<Lead>>,
    /// What was purged when it went upstream; none before that.
    pub purges: Cell<Option<u64>>,
}

/// From whom a head comes.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub bytes: &'a [u8],
    pub peer: &'a Peer,
    /// What it says of others is believed.
    pub trusted: bool,
}

/// None when no answer of this service would be looked at: that is the one branch it costs then.
pub(super) fn wishes(
    head: &RequestHead<'_>,
    settings: &ServiceSettings,
    origin: Origin<'_>,
) -> Option<Box<Wishes>> {
    if !settings.handles_content() {
        return None;
    }
    let mut conditions = Conditions::default();
    let mut accept = Vec::new();
    let mut said = Said::default();
    for field in head.fields() {
        let (name, value) = (field.name, field.value);
        match name.len() {
            6 if name.eq_ignore_ascii_case("pragma") => said.caching(value),
            13 if name.eq_ignore_ascii_case("cache-control") => said.caching(value),
            13 if name.eq_ignore_ascii_case("authorization") => said.authorized = true,
            15 if name.eq_ignore_ascii_case("accept-encoding") => accept.push(value),
            _ => conditions.take(name, value),
        }
    }
    // Chunks are needed to say where an encoded body ends; and who asks for a part means the content as it is.
    let encodes = settings.compression.enabled && head.is_http11 && conditions.range.is_none();
    let coding = if encodes {
        best(accept, &settings.compression.codings)
    } else {
        None
    };
    Some(Box::new(Wishes {
        coding,
        conditions,
        shared: shared(head, settings, origin, said),
    }))
}

/// What a head says about caches.
#[derive(Default, Clone, Copy)]
struct Said {
    authorized: bool,
    no_store: bool,
    no_cache: bool,
}

impl Said {
    fn caching(&mut self, value: &[u8]) {
        for directive in options(value) {
            self.no_store |= directive.eq_ignore_ascii_case(b"no-store");
            self.no_cache |= directive.eq_ignore_ascii_case(b"no-cache");
        }
    }
}

fn shared(
    head: &RequestHead<'_>,
    settings: &ServiceSettings,
    origin: Origin<'_>,
    said: Said,
) -> Option<Shared> {
    let is_get = head.method == "GET";
    let is_plain = (is_get || head.method == "HEAD")
        && matches!(head.framing, Framing::None | Framing::Length(0))
        && head.upgrade.is_none();
    if !settings.cache.enabled || !is_plain || said.no_store {
        return None;
    }
    let path = head.path.split('?').next().unwrap_or(head.path);
    let mut listed = settings.cache.paths.iter();
    let told = |kind| head.value(kind).filter(|_| origin.trusted);
    let forwarded = told(Field::ForwardedHost).unwrap_or_default();
    let host = head.host.as_bytes();
    let key = Key::new(KeyParts {
        service: settings.name.as_str(),
        scheme: told(Field::ForwardedProto).unwrap_or(origin.peer.scheme().as_bytes()),
        host,
        forwarded: if forwarded == host { b"" } else { forwarded },
        target: head.path.as_bytes(),
    });
    Some(Shared {
        key,
        is_get,
        listed: listed.any(|pattern| pattern.covers(path)),
        authorized: said.authorized,
        refresh: said.no_cache,
        head: origin.bytes[..head.length].into(),
        lead: RefCell::new(None),
        purges: Cell::new(None),
    })
}

impl Shared {
    /// Others wait for what comes of it.
    pub(super) fn leads(&self) -> bool {
        self.lead.borrow().is_some()
    }

    /// The values of all fields of this name, as one.
    pub(super) fn field(&self, name: &str) -> Box<[u8]> {
        let mut request = httparse::Request::new(&mut []);
        let mut room: FieldRoom<'_> = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let parsed = httparse::ParserConfig::default().parse_request_with_uninit_headers(
            &mut request,
            &self.head,
            &mut room,
        );
        let mut value = Vec::new();
        if parsed.is_ok() {
            let fields = request.headers.iter();
            for field in fields.filter(|field| field.name.eq_ignore_ascii_case(name)) {
                if !value.is_empty() {
                    value.extend_from_slice(b", ");
                }
                value.extend_from_slice(field.value.trim_ascii());
            }
        }
        value.into()
    }
}
