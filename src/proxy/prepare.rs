//! From a client's bytes to what the upstream is sent: read the head, find the service, write it anew.

use super::caller::is_trusted;
use super::caller::named_client;
use super::choose::Choice;
use super::choose::Chosen;
use super::choose::choose;
use super::client::Peer;
use super::fault::Fault;
use super::fields::Field;
use super::flight::Flight;
use super::framing::Framing;
use super::guard::Refused;
use super::guard::guard;
use super::heads;
use super::heads::Addressee;
use super::local;
use super::local::Local;
use super::mark::Mark;
use super::modes;
use super::modes::Entry;
use super::modes::Peek;
use super::outgoing::Told;
use super::outgoing::write;
use super::preview::Visitor;
use super::redirect::redirect;
use super::request::FieldRoom;
use super::request::HeadLimits;
use super::request::MOST_FIELDS;
use super::request::RequestHead;
use super::response::Asked;
use super::screen::screen;
use super::wishes::Origin;
use super::wishes::Wishes;
use super::wishes::wishes;
use crate::config::Buffering;
use crate::config::Route;
use crate::config::Service as ServiceSettings;
use crate::live::View;
use crate::switch::Epoch;
use crate::switch::MemberName;
use std::net::IpAddr;

/// A request that is understood and may be sent; its head for the upstream is written.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Prepared {
    /// Bytes of the client's head.
    pub length: usize,
    /// Of the View that it was prepared by.
    pub epoch: Epoch,
    /// Index into that View's services.
    pub service: usize,
    /// Where it goes: an index into that service's slots.
    pub slot: usize,
    /// No other slot will do.
    pub is_bound: bool,
    /// None when its answer says nothing of the slot it comes from.
    pub mark: Option<Box<Mark>>,
    /// Who asks: the peer, or whom a trusted proxy names.
    pub client: IpAddr,
    /// None for the first member.
    pub member: Option<MemberName>,
    pub framing: Framing,
    /// Bytes of the body that are taken; 0 is no limit.
    pub most_body: u64,
    pub asked: Asked,
    /// What the client wants to change to; none when it does not.
    pub upgrade: Option<Box<[u8]>>,
    pub buffers: Buffers,
    /// JSON-RPC errors in its answer are counted.
    pub peeks: bool,
    /// The client sends its body once we tell it to; the upstream is not told of that.
    pub owes_continue: bool,
    pub entry: Entry,
    /// Doing it twice is the same as doing it once (RFC 9110, section 9.2.2).
    pub is_idempotent: bool,
    /// None when the answer's head passes as it is.
    pub addressee: Option<Addressee>,
    /// None when the service does nothing with content.
    pub wishes: Option<Box<Wishes>>,
}

/// Which bodies are kept because one side is faster than the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Buffers {
    /// The request's is received whole before it asks for a slot.
    pub request: bool,
    /// The answer's is taken as fast as the upstream gives it.
    pub answer: bool,
}

/// What becomes of a request whose head was read.
#[derive(Debug)]
pub(super) enum Decision {
    Forward(Prepared),
    /// No upstream is asked.
    Answer(Box<Local>),
    /// It does not come in.
    Refuse(Box<Refused>),
    /// More of it has to be here before anything can be said.
    Peek(Peek),
}

/// Which look at a head this is: a View that changes under a waiting request makes us look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// What counts requests counts now.
    First,
    Again,
    /// Again, and the whole body is here.
    Received,
}

/// By what a head is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judge<'a> {
    pub view: &'a View,
    pub peer: &'a Peer,
    pub flight: &'a Flight,
    pub look: Look,
    /// Who counts.
    pub worker: usize,
}

/// Reads the head at the front of `bytes` and writes the upstream's into `out`. None when it is not complete.
#[allow(
    clippy::too_many_lines,
    reason = "the order of the checks is the promise"
)]
pub(super) fn prepare(
    bytes: &[u8],
    judge: Judge<'_>,
    out: &mut Vec<u8>,
) -> Result<Option<Decision>, Fault> {
    let Judge {
        view,
        peer,
        flight,
        look,
        ..
    } = judge;
    let mut room: FieldRoom<'_> = [const { std::mem::MaybeUninit::uninit() }; MOST_FIELDS];
    let limits = HeadLimits {
        bytes: view.limits.header_bytes,
        fields: view.limits.header_count,
    };
    let Some(mut head) = RequestHead::read(bytes, &mut room, limits)? else {
        return Ok(None);
    };
    let trusted = !view.trusted_proxies.is_empty() && is_trusted(view, peer.address);
    let client = describe(&head, view, trusted, flight);
    if let Some(local) = local::proof(&head, &view.challenges) {
        return Ok(Some(Decision::Answer(Box::new(local))));
    }
    let service = view
        .hosts
        .find(head.host_name())
        .ok_or(Fault::UnknownHost)?;
    let settings = &view.services[service].settings;
    let caller = client.unwrap_or(peer.address);
    if let Some(local) = redirect(&head, judge, trusted)? {
        return Ok(Some(Decision::Answer(Box::new(local))));
    }
    let addressee = Addressee::of(&head, settings, (peer, trusted));
    let preflight = addressee
        .as_ref()
        .and_then(|addressee| heads::preflight(&head, settings, addressee));
    if let Some(filter) = &view.services[service].filter
        && let Some(refused) = guard(&mut head, filter, caller, judge)
        // No browser sends a password along when it asks whether it may ask.
        && !(matches!(refused.fault, Fault::Unauthorized { .. }) && preflight.is_some())
    {
        return Ok(Some(Decision::Refuse(refused)));
    }
    if let Some(local) = screen(&head, settings, caller, judge)?.or(preflight) {
        return Ok(Some(Decision::Answer(Box::new(local))));
    }
    let choice = match &view.services[service].choices {
        None => Choice {
            slot: view.services[service].active,
            ..Choice::default()
        },
        Some(choices) => {
            let told = trusted.then(|| head.value(Field::ForwardedProto)).flatten();
            let is_secure =
                told.map_or(peer.is_secure, |proto| proto.eq_ignore_ascii_case(b"https"));
            let visitor = Visitor { caller, is_secure };
            match choose(&head, (&view.services[service], choices), visitor)? {
                Chosen::Forward(choice) => choice,
                Chosen::Answer(local) => return Ok(Some(Decision::Answer(local))),
            }
        }
    };
    let mut entry = Entry::AtOnce;
    if view.services[service].modes.is_some() {
        let whose = (&view.services[service], caller);
        match modes::check(&head, bytes, whose, judge) {
            Ok(when) => entry = when,
            Err(instead) => return Ok(Some(*instead)),
        }
    }
    let route = route(settings, &head);
    let buffers = buffers(settings, route, &head);
    let owes_continue = head.expects_continue && buffers.request;
    if owes_continue || look == Look::Received {
        head.expects_continue = false;
    }
    let member = route.map(|route| &route.to);
    let told = Told {
        keep_alive: settings.keepalive.of(member).enabled,
        rules: &settings.headers.request,
        trusted,
        client,
        request_id: &flight.request_id.borrow(),
    };
    write(&head, bytes, peer, &told, out);
    let origin = Origin {
        bytes,
        peer,
        trusted,
    };
    let mut wishes = wishes(&head, settings, origin);
    if let Some(wishes) = &mut wishes
        && choice.slot != view.services[service].active
    {
        // What is kept came from the active slot, and is for those who go there.
        wishes.shared = None;
    }
    Ok(Some(Decision::Forward(Prepared {
        length: head.length,
        epoch: view.epoch,
        service,
        slot: choice.slot,
        is_bound: choice.is_bound,
        mark: choice.mark,
        client: caller,
        member: member.cloned(),
        framing: head.framing,
        most_body: settings.limits.most_body(view.limits.body_bytes),
        asked: Asked::of(&head),
        upgrade: head.upgrade.map(Into::into),
        buffers,
        peeks: settings.watch.json_rpc,
        owes_continue,
        entry,
        is_idempotent: matches!(head.method, "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS"),
        addressee,
        wishes,
    })))
}

/// For `ps` and the access log. The client's address as trusted proxies tell it.
fn describe(head: &RequestHead<'_>, view: &View, trusted: bool, flight: &Flight) -> Option<IpAddr> {
    let given = if trusted {
        head.value(Field::RequestId)
    } else {
        None
    };
    if let Some(given) = given.and_then(usable_id) {
        given.clone_into(&mut flight.request_id.borrow_mut());
    }
    replace(&mut flight.target.borrow_mut(), head.target.as_bytes());
    let mut method = flight.method.borrow_mut();
    method.clear();
    method.push_str(head.method);
    let mut said = flight.said.borrow_mut();
    replace(&mut said.host, head.host.as_bytes());
    replace(
        &mut said.referer,
        head.value(Field::Referer).unwrap_or_default(),
    );
    replace(
        &mut said.agent,
        head.value(Field::UserAgent).unwrap_or_default(),
    );
    let named = if trusted {
        named_client(head, view)
    } else {
        None
    };
    if let Some(client) = named {
        *flight.client.borrow_mut() = client.to_string();
    }
    named
}

fn replace(text: &mut Vec<u8>, with: &[u8]) {
    text.clear();
    text.extend_from_slice(with);
}

/// What fits into a log line as it is.
fn usable_id(value: &[u8]) -> Option<&str> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:=+/".contains(b);
    let usable = (1..=128).contains(&value.len()) && value.iter().all(plain);
    usable.then(|| std::str::from_utf8(value).ok()).flatten()
}

/// The longest prefix that matches; among equals a route for upgrades only.
fn route<'s>(settings: &'s ServiceSettings, head: &RequestHead<'_>) -> Option<&'s Route> {
    let path = head.path.split('?').next().unwrap_or(head.path);
    let matches = settings.routes.iter().filter(|route| {
        let prefix = route.prefix.trim_end_matches('/');
        let rest = path.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            && (head.upgrade.is_some() || !route.upgrades_only)
    });
    matches.max_by_key(|route| {
        (
            route.prefix.trim_end_matches('/').len(),
            route.upgrades_only,
        )
    })
}

/// Whether the request's body and the answer's are kept. An upgrade has neither.
fn buffers(settings: &ServiceSettings, route: Option<&Route>, head: &RequestHead<'_>) -> Buffers {
    let Buffering {
        requests,
        responses,
        ..
    } = settings.buffering;
    let (requests, responses) = match route {
        Some(route) => (route.buffer_requests, route.buffer_responses),
        None => (requests, responses),
    };
    let has_body = !matches!(head.framing, Framing::None | Framing::Length(0));
    Buffers {
        request: requests && has_body,
        answer: responses && head.upgrade.is_none(),
    }
}
