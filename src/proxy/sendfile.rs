//! Files that an upstream names instead of sending them: X-Accel-Redirect and X-Sendfile.
//!
//! The upstream's connection and place are given back first; then the file is sent with the upstream's
//! own head: its validators, its type and its words on security stay, only the length and the part are ours.

use super::answer::Exchange;
use super::body::DISK_PATIENCE;
use super::client::Client;
use super::dress::Dress;
use super::dress::Scene;
use super::dress::content;
use super::edits::Edits;
use super::fault::Fault;
use super::fault::Timer;
use super::file::FileFault;
use super::file::Opened;
use super::file::open;
use super::flight::State;
use super::forward::Trip;
use super::framing::Framing;
use super::heads;
use super::mark::put_on;
use super::outlet::Outlet;
use super::pieces;
use super::pieces::Pieces;
use super::pieces::Source;
use super::request::FieldRoom;
use super::request::MOST_FIELDS;
use super::response::Asked;
use super::response::ResponseHead;
use super::wishes::Wishes;
use crate::config::Sendfile as Settings;
use crate::config::Service as ServiceSettings;
use crate::content::ByteRange;
use crate::content::Outcome;
use crate::content::Validators;
use percent_encoding::percent_decode;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

/// A file to send, and the head that it goes with.
#[derive(Debug)]
pub(super) struct Sending {
    /// As the upstream sent it.
    head: Vec<u8>,
    root: PathBuf,
    below: PathBuf,
}

/// The file that this answer names; none when it names none, or when files are not sent.
///
/// # Errors
/// [`Fault::File`] for one that lies outside of the root.
pub(super) fn named(
    (head, bytes): (&ResponseHead<'_>, &[u8]),
    exchange: &Exchange<'_>,
) -> Result<Option<Box<Sending>>, Fault> {
    if exchange.wishes.is_none() || !matches!(head.status, 200 | 206) || !head.names_file() {
        return Ok(None);
    }
    let seat = exchange.flight.seat.borrow();
    let Some(settings) = seat.as_ref().map(|seat| &seat.ticket.service().settings) else {
        return Ok(None);
    };
    let Some(root) = &settings.sendfile.root else {
        return Ok(None);
    };
    let accel = head.find("x-accel-redirect");
    let sendfile = head.find("x-sendfile");
    let Some(below) = below(&settings.sendfile, root, (accel, sendfile)) else {
        let named = sendfile.or(accel).unwrap_or_default();
        tell(
            settings,
            Path::new(OsStr::from_bytes(named)),
            &FileFault::Outside,
        );
        return Err(Fault::File(FileFault::Outside));
    };
    Ok(Some(Box::new(Sending {
        head: bytes[..head.length].to_vec(),
        root: root.clone(),
        below,
    })))
}

/// The path below the root that either header names.
fn below(
    settings: &Settings,
    root: &Path,
    (accel, sendfile): (Option<&[u8]>, Option<&[u8]>),
) -> Option<PathBuf> {
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    if let Some(accel) = accel.filter(|_| !settings.prefix.is_empty()) {
        let uri = accel.split(|byte| *byte == b'?').next().unwrap_or(accel);
        let rest = uri.strip_prefix(settings.prefix.as_bytes());
        if let Some(rest) = rest.and_then(|rest| rest.strip_prefix(b"/")) {
            let decoded: Vec<u8> = percent_decode(rest).collect();
            return Some(path(&decoded));
        }
    }
    let named = path(sendfile?);
    named.strip_prefix(root).ok().map(Path::to_path_buf)
}

fn tell(settings: &ServiceSettings, path: &Path, fault: &FileFault) {
    tracing::warn!(
        service = %settings.name,
        path = %path.display(),
        error = %fault,
        "file not sent"
    );
}

/// Sends the file. The upstream has nothing to do with it any more.
pub(super) async fn send(
    trip: &Trip<'_>,
    client: &Client,
    (sending, keep_alive): (Sending, bool),
) -> Result<(), Fault> {
    let (proxy, flight) = (trip.proxy, &client.flight);
    let (Some(wishes), Some(settings)) = (trip.prepared.wishes.as_deref(), release(client)) else {
        return Err(Fault::Stopping);
    };
    flight.at(State::Answering);
    flight.arm(Timer::Spool, DISK_PATIENCE);
    let Sending { head, root, below } = sending;
    let name = root.join(&below);
    let opened = proxy.files.run(move || open(&root, &below)).await;
    let opened = opened.unwrap_or_else(|panic| Err(FileFault::Unreadable(panic)));
    let opened = opened.map_err(|fault| {
        tell(&settings, &name, &fault);
        Fault::File(fault)
    })?;
    let mut asked = trip.prepared.asked;
    asked.keep_alive = keep_alive;
    let mut out = proxy.borrow_output();
    let scene = Scene {
        proxy,
        flight,
        record: trip.record,
        addressee: trip.prepared.addressee.as_ref(),
        mark: trip.prepared.mark.as_deref(),
    };
    let mut plan = write_head(
        (&head, &opened),
        scene,
        (&settings, wishes, asked),
        &mut out,
    )?;
    trip.record.status.set(plan.status);
    if asked.is_head {
        plan.part = ByteRange::whole(0);
    }
    let source = Source::File {
        file: Arc::new(opened.file),
        offset: 0,
        threads: proxy.files.clone(),
    };
    let pieces = Pieces::new(source, plan.part);
    let idle = settings.timeouts.idle;
    let sent = pieces::send(client, pieces, &mut plan.outlet, (&mut out, idle)).await;
    proxy.return_output(out);
    sent
}

/// Gives the upstream's place and count back: what is left to do is ours.
fn release(client: &Client) -> Option<Arc<ServiceSettings>> {
    let seat = client.flight.seat.borrow();
    let seat = seat.as_ref()?;
    seat.is_done();
    Some(seat.ticket.service().settings.clone())
}

/// What goes to the client.
struct Plan {
    status: u16,
    part: ByteRange,
    outlet: Outlet,
}

fn write_head(
    (bytes, opened): (&[u8], &Opened),
    scene: Scene<'_>,
    (settings, wishes, asked): (&ServiceSettings, &Wishes, Asked),
    out: &mut Vec<u8>,
) -> Result<Plan, Fault> {
    let mut room: FieldRoom<'_> = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let head = ResponseHead::read(bytes, &mut room, asked)?;
    let mut head = head.ok_or(Fault::BadAnswer("its head has gone"))?;
    let mut edits = Edits::default();
    // The upstream counted what it did not send.
    edits.remove("Content-Range");
    let modified = httpdate::fmt_http_date(opened.modified);
    let mut validators = Validators {
        etag: head.find("etag"),
        modified: head.find("last-modified"),
    };
    if validators.etag.is_none() && validators.modified.is_none() {
        edits.add("Last-Modified", modified.as_bytes());
        validators.modified = Some(modified.as_bytes());
    }
    let conditions = &wishes.conditions;
    let outcome = match head.status {
        // The upstream has judged what the client has already.
        206 => conditions.part_asked_for(opened.length),
        _ => conditions.judge(validators, opened.length),
    };
    let mut dress = Dress::edited(edits);
    let (status, part, mut framing) = match outcome {
        Outcome::Whole => {
            let whole = ByteRange::whole(opened.length);
            (200, whole, Framing::Length(opened.length))
        }
        Outcome::Part(part) => {
            let range = part.content_range(opened.length);
            dress.edits.add("Content-Range", range.as_bytes());
            (206, part, Framing::Length(part.length()))
        }
        Outcome::Beyond => {
            let range = format!("bytes */{}", opened.length);
            dress.edits.add("Content-Range", range.as_bytes());
            (416, ByteRange::whole(0), Framing::Length(0))
        }
        Outcome::NotModified => {
            // It was of the empty body that came in place of the file.
            dress.edits.remove("Content-Length");
            (304, ByteRange::whole(0), Framing::None)
        }
        Outcome::Failed => (412, ByteRange::whole(0), Framing::Length(0)),
    };
    head.restate(status);
    head.framing = if asked.is_head {
        Framing::None
    } else {
        framing
    };
    dress.outlet = Outlet::new(framing);
    if matches!(outcome, Outcome::Whole | Outcome::NotModified) {
        let length = Some(opened.length);
        content(&head, scene, (settings, wishes), (&mut dress, length));
    }
    if dress.edits.removes("Content-Length") {
        framing = dress.outlet.framing();
    }
    if let Some(addressee) = scene.addressee {
        heads::edit(&head, (settings, addressee), &mut dress.edits);
    }
    put_on(scene.mark, &head, (scene.flight, &mut dress.edits));
    head.write_edited((bytes, &dress.edits), (asked, framing), out);
    Ok(Plan {
        status,
        part,
        outlet: dress.outlet,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_below_the_root_by_either_header() {
        let settings = Settings {
            root: Some("/srv/files".into()),
            prefix: "/web/filestore".to_owned(),
        };
        let root = Path::new("/srv/files");
        let accel = |value: &str| below(&settings, root, (Some(value.as_bytes()), None));
        let sendfile = |value: &str| below(&settings, root, (None, Some(value.as_bytes())));
        assert_eq!(accel("/web/filestore/db/ab/cd"), Some("db/ab/cd".into()));
        assert_eq!(accel("/web/filestore/a%20b?x=1"), Some("a b".into()));
        assert_eq!(accel("/web/filestore"), None);
        assert_eq!(accel("/web/filestores/x"), None);
        assert_eq!(accel("/other/x"), None);
        assert_eq!(sendfile("/srv/files/db/x"), Some("db/x".into()));
        assert_eq!(sendfile("/srv/filesystem/x"), None);
        assert_eq!(sendfile("db/x"), None);
        let both = (Some(&b"/other/x"[..]), Some(&b"/srv/files/x"[..]));
        assert_eq!(below(&settings, root, both), Some("x".into()));
        let unprefixed = Settings {
            prefix: String::new(),
            ..settings
        };
        assert_eq!(below(&unprefixed, root, (Some(b"/x"), None)), None);
    }
}
