//! Answers from the cache: no upstream is asked, and no place is needed.

use super::belongings::Proxy;
use super::client::Client;
use super::client::poll_gone;
use super::coder::Coder;
use super::compress;
use super::edits::Edits;
use super::exchange::Ending;
use super::fault::Fault;
use super::flight::State;
use super::framing::Framing;
use super::heads;
use super::heads::Addressee;
use super::local;
use super::outlet::Outlet;
use super::pieces;
use super::pieces::Pieces;
use super::pieces::Source;
use super::prepare::Prepared;
use super::record::Record;
use super::refusal::refusal;
use super::refusal::status_of;
use super::request::FieldRoom;
use super::request::MOST_FIELDS;
use super::response::Asked;
use super::response::ResponseHead;
use super::wishes::Shared;
use super::wishes::Wishes;
use crate::cache::Body;
use crate::cache::Entry;
use crate::cache::Form;
use crate::cache::Joined;
use crate::cache::Lookup;
use crate::cache::Store;
use crate::cache::Waiting;
use crate::config::Coding;
use crate::config::Service as ServiceSettings;
use crate::content::ByteRange;
use crate::content::Outcome;
use crate::telemetry::Looked;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::SystemTime;
use tokio::time::Instant;
use tokio::time::timeout_at;

/// Answers from the cache; none when the upstream has to be asked. Then, on a path that is kept, others
/// may wait for what it says.
pub(super) async fn answer(
    proxy: &Proxy,
    client: &mut Client,
    record: &Record,
    prepared: &Prepared,
) -> Result<Option<Ending>, Fault> {
    let (Some(wishes), Some(store)) = (prepared.wishes.as_deref(), &proxy.cache) else {
        return Ok(None);
    };
    let Some(shared) = &wishes.shared else {
        return Ok(None);
    };
    let settings = {
        let view = proxy.view();
        let services = view.services.get(prepared.service);
        let Some(service) = services.filter(|_| view.epoch == prepared.epoch) else {
            return Ok(None);
        };
        service.settings.clone()
    };
    client.flight.bound_for.replace(Some(settings.clone()));
    let until = Instant::now() + settings.cache.wait;
    let mut looked = Looked::Hit;
    loop {
        if let Some(entry) = find(proxy, store, (&settings, prepared), shared) {
            shared.lead.take();
            let gift = Gift {
                entry: &entry,
                settings: &settings,
                wishes,
                addressee: prepared.addressee.as_ref(),
            };
            let given = Box::pin(give(proxy, client, record, (prepared, &gift))).await;
            if !matches!(given, Ok(None)) {
                record.looked.set(Some(looked));
                return given;
            }
            // Its file has gone in between.
            break;
        }
        if shared.leads() || !shared.is_get || !shared.listed || !wishes.conditions.is_empty() {
            break;
        }
        match store.join(&shared.key, settings.cache.waiting) {
            // Once more: it may have come between the look and now.
            Joined::Lead(lead) => drop(shared.lead.replace(Some(lead))),
            Joined::Wait(waiting) => {
                if !wait(client, waiting, until).await? {
                    break;
                }
                looked = Looked::Waited;
            }
            Joined::Alone => break,
        }
    }
    shared.purges.set(Some(store.purges()));
    Ok(None)
}

fn find(
    proxy: &Proxy,
    store: &Store,
    (settings, prepared): (&ServiceSettings, &Prepared),
    shared: &Shared,
) -> Option<Arc<Entry>> {
    let view = proxy.view();
    // After a wait it may stand elsewhere, or be gone.
    let service = view
        .services
        .get(prepared.service)
        .filter(|service| service.settings.name == settings.name)?;
    let lookup = Lookup {
        key: &shared.key,
        field: &|name| shared.field(name),
        now: SystemTime::now(),
        generation: service.active().generation.0,
        keep: settings.cache.keep_on_flip,
        authorized: shared.authorized,
    };
    let found = store.find(&lookup)?;
    (!shared.refresh || found.terms.immutable).then_some(found)
}

/// Waits for somebody else's fetch. False when that takes too long.
async fn wait(client: &mut Client, mut waiting: Waiting, until: Instant) -> Result<bool, Fault> {
    client.flight.at(State::Waiting);
    let (stream, input) = (&client.stream, &mut client.input);
    let mut over = pin!(waiting.over());
    let waited = poll_fn(|cx| {
        if over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        poll_gone(stream, input, cx).map(|()| Err(Fault::ClientGone))
    });
    match timeout_at(until, waited).await {
        Ok(over) => over.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// An answer that is there, and for whom.
struct Gift<'a> {
    entry: &'a Arc<Entry>,
    settings: &'a ServiceSettings,
    wishes: &'a Wishes,
    addressee: Option<&'a Addressee>,
}

/// What follows the head.
enum Rest {
    Nothing,
    Part(Arc<Body>, ByteRange),
    /// The body as it came, through an encoder; whether the result is to be kept.
    Encoded(Arc<Body>, Box<Coder>, Option<Keeping>),
}

/// Somebody is encoding a body for all who come later.
struct Keeping {
    entry: Arc<Entry>,
    coding: Coding,
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if self.entry.body(Form::Coded(self.coding)).is_none() {
            self.entry.give_up_coding(self.coding);
        }
    }
}

/// None when the body cannot be had, and nothing was sent yet.
async fn give(
    proxy: &Proxy,
    client: &mut Client,
    record: &Record,
    (prepared, gift): (&Prepared, &Gift<'_>),
) -> Result<Option<Ending>, Fault> {
    let mut asked = prepared.asked;
    asked.keep_alive &= !proxy.stopping.get();
    let entry = gift.entry;
    let outcome = gift
        .wishes
        .conditions
        .judge(entry.validators(), entry.length());
    if let Some(mut local) = refusal(outcome, entry, prepared) {
        if let Some(addressee) = gift.addressee {
            heads::write_own(gift.settings, addressee, &mut local.lines);
        }
        record.unused_head.set(prepared.length);
        let sent = local::send(proxy, client, record, &local).await;
        return sent.map(Some);
    }
    let mut out = proxy.borrow_output();
    let Some(rest) = write_head(proxy, gift, (asked, outcome), &mut out) else {
        return Ok(None);
    };
    let status = status_of(outcome);
    let (body, part) = match &rest {
        _ if asked.is_head => (None, ByteRange::whole(0)),
        Rest::Nothing => (None, ByteRange::whole(0)),
        Rest::Part(body, part) => (Some(body.clone()), *part),
        Rest::Encoded(body, ..) => (Some(body.clone()), ByteRange::whole(body.length)),
    };
    let source = match &body {
        None => Source::Memory(Arc::default()),
        Some(body) => match open(proxy, body).await {
            Some(source) => source,
            None => return Ok(None),
        },
    };
    client.input.consume(record.unused_head.take());
    record.status.set(status);
    client.flight.at(State::Answering);
    let mut outlet = Outlet::new(Framing::Length(part.length()));
    let mut keeping = None;
    if let Rest::Encoded(_, mut coder, keeps) = rest
        && !asked.is_head
    {
        if keeps.is_some() {
            coder.copies();
        }
        keeping = keeps;
        outlet = Outlet::encoding(coder);
    }
    let pieces = Pieces::new(source, part);
    let idle = gift.settings.timeouts.idle;
    let sent = pieces::send(client, pieces, &mut outlet, (&mut out, idle)).await;
    proxy.return_output(out);
    sent?;
    if let (Some(keeping), Some((coding, bytes)), Some(store)) =
        (keeping, outlet.take_copy(), &proxy.cache)
    {
        store.put_coded(&keeping.entry, coding, bytes);
    }
    if let (Some(body), Some(store)) = (body, &proxy.cache) {
        warm(proxy, store, entry, &body);
    }
    Ok(Some(if asked.keep_alive {
        Ending::KeepAlive
    } else {
        Ending::Close
    }))
}

/// Writes the head of what this client gets. None when the entry is no use.
fn write_head(
    proxy: &Proxy,
    gift: &Gift<'_>,
    (asked, outcome): (Asked, Outcome),
    out: &mut Vec<u8>,
) -> Option<Rest> {
    let entry = gift.entry;
    let mut room: FieldRoom<'_> = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut head = ResponseHead::read(&entry.head, &mut room, asked).ok()??;
    let plain = entry.body(Form::Plain)?.clone();
    let mut edits = Edits::default();
    let age = entry.age(SystemTime::now()).as_secs();
    edits.set("Age", itoa::Buffer::new().format(age).as_bytes());
    let wanted = (&gift.settings.compression, gift.wishes);
    let coding = compress::chosen((&head, Some(plain.length)), wanted, &mut edits);
    let rest = match (outcome, coding) {
        (Outcome::Part(part), _) => {
            let range = part.content_range(plain.length);
            edits.set("Content-Range", range.as_bytes());
            Rest::Part(plain, part)
        }
        (Outcome::NotModified, coding) => {
            if coding.is_some() {
                compress::weakened(&head, &mut edits);
            }
            for (name, _) in head.fields().filter(|(name, _)| is_of_body(name)) {
                edits.remove(name);
            }
            Rest::Nothing
        }
        (_, Some(coding)) => in_form(proxy, gift, (&head, asked, coding), &mut edits),
        (_, None) => whole(plain),
    };
    let framing = match &rest {
        Rest::Nothing => Framing::None,
        Rest::Part(_, part) => Framing::Length(part.length()),
        Rest::Encoded(..) => Framing::Chunked,
    };
    if let Some(addressee) = gift.addressee {
        heads::edit(&head, (gift.settings, addressee), &mut edits);
    }
    head.restate(status_of(outcome));
    head.write_edited((&entry.head, &edits), (asked, framing), out);
    Some(rest)
}

fn whole(body: Arc<Body>) -> Rest {
    let part = ByteRange::whole(body.length);
    Rest::Part(body, part)
}

/// The body in the form that the client wants: as it was encoded before, or encoded now; as it came while
/// too many are being encoded.
fn in_form(
    proxy: &Proxy,
    gift: &Gift<'_>,
    (head, asked, coding): (&ResponseHead<'_>, Asked, Coding),
    edits: &mut Edits,
) -> Rest {
    let entry = gift.entry;
    let Some(plain) = entry.body(Form::Plain) else {
        return Rest::Nothing;
    };
    if let Some(body) = entry.body(Form::Coded(coding)) {
        compress::encoded(head, coding, edits);
        return whole(body.clone());
    }
    if asked.is_head {
        compress::encoded(head, coding, edits);
        return Rest::Nothing;
    }
    let length = Some(plain.length);
    let Some(coder) = Coder::new(proxy, &gift.settings.compression, coding, length) else {
        return whole(plain.clone());
    };
    compress::encoded(head, coding, edits);
    let keeping = entry.begin_coding(coding).then(|| Keeping {
        entry: entry.clone(),
        coding,
    });
    Rest::Encoded(plain.clone(), coder, keeping)
}

/// Fields that describe a body, which a 304 has none of. What steers its use stays.
fn is_of_body(name: &str) -> bool {
    [
        "content-type",
        "content-encoding",
        "content-language",
        "content-disposition",
    ]
    .iter()
    .any(|known| name.eq_ignore_ascii_case(known))
}

async fn open(proxy: &Proxy, body: &Arc<Body>) -> Option<Source> {
    if let Some(bytes) = body.bytes() {
        return Some(Source::Memory(bytes));
    }
    let body = body.clone();
    let threads = proxy.files.clone();
    let opened = threads.run(move || body.open()).await;
    let (file, offset) = opened.ok()?.ok()?;
    let file = Arc::new(file);
    Some(Source::File {
        file,
        offset,
        threads,
    })
}

/// What is asked for often comes back into memory, after this answer and beside the worker.
fn warm(proxy: &Proxy, store: &Arc<Store>, entry: &Arc<Entry>, body: &Arc<Body>) {
    if !store.wants_back(body) || !store.reserve(body.length) {
        return;
    }
    let (store, entry, body) = (store.clone(), entry.clone(), body.clone());
    let threads = proxy.files.clone();
    let read = async move {
        drop(
            threads
                .run(move || {
                    let read = body.open().and_then(|(file, offset)| {
                        let mut bytes = vec![0; usize::try_from(body.length).unwrap_or_default()];
                        file.read_exact_at(&mut bytes, offset)?;
                        Ok(bytes)
                    });
                    if let Ok(bytes) = read {
                        store.read_back(&entry, &body, bytes);
                    }
                    store.release(body.length);
                })
                .await,
        );
    };
    // Nobody waits for it.
    tokio::task::spawn_local(read);
}
