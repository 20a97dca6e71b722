//! A copy's way to the idle slot and back: its answer is measured and forgotten.

use super::belongings::Proxy;
use super::chunked::Piece;
use super::client::poll_fill;
use super::client::write_all;
use super::fault::Fault;
use super::framing::BodyReader;
use super::framing::Framing;
use super::lending::keep;
use super::request::FieldRoom;
use super::request::MOST_FIELDS;
use super::response::ResponseHead;
use super::shadow::Copy;
use super::shadow::line;
use crate::config::Service as ServiceSettings;
use crate::live::Endpoint;
use crate::live::Kind;
use crate::net::Buffer;
use crate::net::Dial;
use crate::net::Stream;
use crate::net::is_ours;
use crate::telemetry::ShadowAnswer;
use crate::telemetry::Shadowed;
use crate::tls;
use crate::upstream;
use crate::upstream::Call;
use crate::upstream::Lane;
use crate::upstream::connect_failure_in_words;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::time::Instant;

/// Interim answers (1xx) before the real one.
const MOST_INTERIM: u32 = 32;

/// A copy counted on its endpoint, for whoever picks one.
struct Aboard<'a> {
    endpoint: &'a Endpoint,
    worker: usize,
}

impl<'a> Aboard<'a> {
    fn new(endpoint: &'a Endpoint, worker: usize) -> Self {
        endpoint.in_flight.enter(worker, Kind::Request);
        Self { endpoint, worker }
    }
}

impl Drop for Aboard<'_> {
    fn drop(&mut self) {
        self.endpoint.in_flight.leave(self.worker, Kind::Request);
    }
}

/// What became of one attempt.
enum Attempt {
    Answered(ShadowAnswer),
    /// The connection was closed before a byte of an answer came.
    Closed,
    Failed(String),
}

impl Copy {
    pub(super) fn settings(&self) -> &ServiceSettings {
        &self.view.services[self.service].settings
    }

    /// Counts what came of it.
    pub(super) fn compare(&self, worker: usize, shadow: Result<ShadowAnswer, String>) {
        let target = line(&self.head).map_or("/", |(_, target)| target);
        let shadowed = Shadowed {
            path: target.split('?').next().unwrap_or(target),
            request_id: &self.request_id,
            active: self.active,
            shadow,
            tolerance: self.settings().shadow.size_tolerance,
        };
        self.shadow.tally.compare(worker, &shadowed);
    }

    /// The idle slot's answer, or why there is none. Never a fault of its own; those are the guard's.
    pub(super) async fn ask(&self, proxy: &Proxy) -> Result<Result<ShadowAnswer, String>, Fault> {
        let service = &self.view.services[self.service];
        let slot = service.slots.iter().find(|it| it.name == self.shadow.slot);
        let member = slot.and_then(|slot| slot.members.get(self.member));
        let Some(member) = member else {
            return Ok(Err("the slot has no such member".to_owned()));
        };
        let Some(at) = upstream::pick(member, &[]) else {
            return Ok(Err("the slot has no endpoint".to_owned()));
        };
        let endpoint = &*member.endpoints[at];
        let _aboard = Aboard::new(endpoint, proxy.worker());
        let terms = service.tls.as_deref();
        let lane = Lane {
            endpoint: endpoint.id,
            terms: terms.map_or(0, |terms| terms.terms),
            address: endpoint.pick(),
        };
        let keepalive = service.settings.keepalive.of(Some(&member.name));
        let began = Instant::now();
        if keepalive.enabled
            && let Some(stream) = proxy.pools.take(lane, 0)
        {
            match self.exchange(&stream, began).await {
                // The upstream closed it before the copy came.
                (Attempt::Closed, _) => {}
                (attempt, reusable) => {
                    if reusable {
                        keep(
                            proxy,
                            (keepalive, proxy.view().descriptors.ceiling),
                            stream,
                            lane,
                        );
                    }
                    return Ok(attempt.into_result());
                }
            }
        }
        let call = Call {
            terms,
            dialer: tls::Dialer::Worker(proxy.worker()),
            introduction: &self.introduction,
            dial: Dial {
                within: service.settings.timeouts.connect,
                first: lane.address,
            },
        };
        let stream = match upstream::connect(&endpoint.address, call).await {
            Ok(stream) => stream,
            // It is not even a copy that was lost: the slot has nothing to do with it.
            Err(error) if is_ours(&error) => return Err(Fault::OutOfResources(error)),
            Err(error) => return Ok(Err(connect_failure_in_words(&error))),
        };
        let lane = Lane {
            address: endpoint.place_of(&stream),
            ..lane
        };
        let (attempt, reusable) = self.exchange(&stream, began).await;
        if reusable {
            keep(
                proxy,
                (keepalive, proxy.view().descriptors.ceiling),
                stream,
                lane,
            );
        }
        Ok(attempt.into_result())
    }

    /// One copy over one connection; whether the connection is between two requests afterwards.
    async fn exchange(&self, stream: &Stream, began: Instant) -> (Attempt, bool) {
        if write_all(stream, &self.head, || {}).await.is_err() {
            return (Attempt::Closed, false);
        }
        let mut input = Buffer::default();
        let head = match self.head(stream, &mut input).await {
            Ok(Some(head)) => head,
            Ok(None) => return (Attempt::Closed, false),
            Err(why) => return (Attempt::Failed(why), false),
        };
        let mut answer = ShadowAnswer {
            status: head.status,
            bytes: 0,
            took: head.came.saturating_duration_since(began),
        };
        let most = self.settings().shadow.max_size.saturating_mul(2);
        match count(stream, &mut input, (head.framing, most)).await {
            Ok(body) => {
                answer.bytes = body.bytes;
                let reusable = head.keep_alive && body.is_whole && input.is_empty();
                (Attempt::Answered(answer), reusable)
            }
            Err(why) => (Attempt::Failed(why), false),
        }
    }

    /// Reads until the final head is here. None when the connection ends before its first byte.
    async fn head(&self, stream: &Stream, input: &mut Buffer) -> Result<Option<Head>, String> {
        let mut came = None;
        let mut interim = 0;
        loop {
            while let Some(head) = self.read(input.bytes(), came)? {
                input.consume(head.length);
                if !head.is_interim {
                    return Ok(Some(head));
                }
                interim += 1;
                if interim > MOST_INTERIM {
                    return Err("it has too many interim answers".to_owned());
                }
            }
            match fill(stream, input).await {
                Ok(0) | Err(_) if came.is_none() => return Ok(None),
                Ok(0) => return Err("the answer ended within its head".to_owned()),
                Err(error) => return Err(connect_failure_in_words(&error)),
                Ok(_) => {}
            }
            came.get_or_insert_with(Instant::now);
        }
    }

    /// None when it is not complete. Not a part of [`Copy::head`], which would hold the room while it waits.
    fn read(&self, bytes: &[u8], came: Option<Instant>) -> Result<Option<Head>, String> {
        let mut room: FieldRoom<'_> = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let head = ResponseHead::read(bytes, &mut room, self.asked);
        let head = head.map_err(|fault| fault.to_string())?;
        Ok(head.map(|head| Head {
            length: head.length,
            is_interim: head.is_interim(),
            status: head.status,
            framing: head.framing,
            keep_alive: head.keep_alive,
            came: came.unwrap_or_else(Instant::now),
        }))
    }
}

impl Attempt {
    fn into_result(self) -> Result<ShadowAnswer, String> {
        match self {
            Self::Answered(answer) => Ok(answer),
            Self::Closed => Err("the connection was closed without an answer".to_owned()),
            Self::Failed(why) => Err(why),
        }
    }
}

/// What is known of an answer by its head.
struct Head {
    length: usize,
    is_interim: bool,
    status: u16,
    framing: Framing,
    keep_alive: bool,
    /// Its first byte.
    came: Instant,
}

/// A body that was read and forgotten.
struct Counted {
    bytes: u64,
    /// False when there was more of it than is read.
    is_whole: bool,
}

async fn count(
    stream: &Stream,
    input: &mut Buffer,
    (framing, most): (Framing, u64),
) -> Result<Counted, String> {
    let mut body = BodyReader::new(framing);
    let mut trailers = Vec::new();
    let mut bytes = 0;
    loop {
        let next = body.next(input.bytes(), &mut trailers);
        let (taken, piece) = next.map_err(|error| error.to_string())?;
        let ended = piece == Piece::End;
        let more = piece == Piece::More;
        if let Piece::Data(data) = piece {
            bytes += data.len() as u64;
        }
        input.consume(taken);
        if ended || bytes > most {
            let is_whole = ended;
            return Ok(Counted { bytes, is_whole });
        }
        if !more {
            continue;
        }
        input.release();
        match fill(stream, input).await {
            Ok(0) if framing == Framing::UntilClose => body = BodyReader::Done,
            Ok(0) => return Err("the answer ended too early".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(connect_failure_in_words(&error)),
        }
    }
}

async fn fill(stream: &Stream, input: &mut Buffer) -> io::Result<usize> {
    poll_fn(|cx| poll_fill(stream, input, cx)).await
}
