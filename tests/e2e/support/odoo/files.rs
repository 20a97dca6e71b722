//! What is taken from disk: static files, bundles, attachments; and what goes there.

use super::answer::Answer;
use super::answer::End;
use super::answer::Payload;
use super::call::Call;
use super::content::Content;
use super::database;
use super::site::Site;
use super::site::visitor_cookie;
use super::socket::Arrived;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::sleep_until;

const LAST_MODIFIED: &str = "Tue, 01 Jul 2025 08:00:00 GMT";

/// A file, before it is seen which part of it was asked for.
struct File {
    content: Content,
    etag: String,
    mimetype: String,
    cache_control: &'static str,
    /// Left to the proxy where `--x-sendfile` is on.
    is_in_filestore: bool,
}

/// `/MODULE/static/...`: needs no database.
pub(super) fn answer_static(site: &Site, call: &Call, path: &str) -> Option<Answer> {
    let inside = path.split('/').nth(2) == Some("static");
    let text = match path {
        "/web/service-worker.js" | "/web/manifest.webmanifest" => "{}".to_owned(),
        // Compressible, as most of it is.
        _ if inside => format!("/* {path} */\n").repeat(200),
        _ => return None,
    };
    let file = File {
        etag: format!("1751356800-{}-{}", text.len(), site.behaviour.assets),
        mimetype: mimetype(path).to_owned(),
        cache_control: "public, max-age=604800",
        is_in_filestore: false,
        content: Content::Bytes(text.into_bytes()),
    };
    let mut answer = serve(site, call, &file);
    if path == "/web/service-worker.js" {
        answer = answer.with("Service-Worker-Allowed", "/odoo");
    }
    Some(answer)
}

pub(super) async fn answer(site: &Site, call: &Call, path: &str, body: &Arrived) -> Option<Answer> {
    if let Some(bundle) = path.strip_prefix("/web/assets/") {
        let (hash, name) = bundle.split_once('/')?;
        return Some(answer_bundle(site, call, hash, name).await);
    }
    if let Some(rest) = path.strip_prefix("/web/content/") {
        let id = rest.split('/').next()?.parse().ok()?;
        return Some(answer_attachment(site, call, id));
    }
    match path {
        "/web/binary/upload_attachment" if call.method == "POST" => Some(take_upload(site, body)),
        "/web/database/backup" => Some(backup(call)),
        _ => None,
    }
}

fn mimetype(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("webmanifest") => "application/manifest+json",
        _ => "text/plain; charset=utf-8",
    }
}

/// Of one's own hash: built if it is not there, which deletes the other colour's. Of another: as long as it lies
/// there, else a redirect to one's own.
async fn answer_bundle(site: &Site, call: &Call, hash: &str, name: &str) -> Answer {
    let own = site.behaviour.assets;
    let stored = site.database.bundle(name);
    if stored.as_deref() != Some(hash) {
        if hash != own {
            return Answer::redirect(303, &format!("/web/assets/{own}/{name}"));
        }
        sleep_until(Instant::now() + site.behaviour.bundle_build()).await;
        site.database.build_bundle(name, own);
    }
    let mut bundles = site.bundles.lock().unwrap();
    let bytes = bundles
        .entry(format!("{hash}/{name}"))
        .or_insert_with(|| bundle(hash, name));
    let file = File {
        content: Content::Bytes(bytes.clone()),
        etag: format!("{hash}{name}"),
        mimetype: mimetype(name).to_owned(),
        cache_control: "public, max-age=31536000, immutable",
        is_in_filestore: true,
    };
    let answer = serve(site, call, &file);
    match visitor_cookie(call) {
        Some(cookie) => answer.with("Set-Cookie", cookie),
        None => answer,
    }
}

/// A third of a megabyte that is worth compressing.
fn bundle(hash: &str, name: &str) -> Vec<u8> {
    let lines = (0..4_000).map(|line| {
        format!(
            "odoo.define('@{name}/{line}', ['@odoo/owl'], function () {{ return '{hash}'; }});\n"
        )
    });
    lines.collect::<String>().into_bytes()
}

fn answer_attachment(site: &Site, call: &Call, id: u64) -> Answer {
    let Some(attachment) = site.database.attachment(id) else {
        return Answer::html(404, "<h1>Not Found</h1>");
    };
    let file = File {
        etag: attachment.content.checksum(),
        content: attachment.content,
        mimetype: attachment.mimetype,
        cache_control: "no-cache",
        is_in_filestore: true,
    };
    let answer = serve(site, call, &file).with("Content-Security-Policy", "default-src 'none'");
    if call.query.contains_key("download") {
        let name = attachment.name;
        return answer.with(
            "Content-Disposition",
            format!("attachment; filename={name}"),
        );
    }
    answer
}

fn serve(site: &Site, call: &Call, file: &File) -> Answer {
    let etag = format!("\"{}\"", file.etag);
    let common = |status| {
        Answer::new(status)
            .with("Content-Type", &*file.mimetype)
            .with("Cache-Control", file.cache_control)
            .with("ETag", &*etag)
            .with("Last-Modified", LAST_MODIFIED)
            .with("X-Content-Type-Options", "nosniff")
            .dated_twice()
    };
    if is_fresh(call, &etag) {
        return common(304).payload(Payload::None);
    }
    let length = file.content.len();
    let is_current = call.header("IF_RANGE").is_none_or(|known| known == etag);
    let asked = call
        .header("RANGE")
        .filter(|_| is_current && call.method == "GET");
    let (status, range) = match asked.map(|asked| part(asked, length)) {
        None => (200, 0..length),
        Some(Some(range)) => (206, range),
        Some(None) => {
            return common(416)
                .with("Content-Range", format!("bytes */{length}"))
                .content(Content::Bytes(Vec::new()));
        }
    };
    let mut answer = common(status);
    if status == 206 {
        let (first, last) = (range.start, range.end - 1);
        answer = answer
            .with("Accept-Ranges", "bytes")
            .with("Content-Range", format!("bytes {first}-{last}/{length}"));
    }
    match &site.behaviour.filestore {
        Some(folder) if file.is_in_filestore => leave_to_proxy(answer, file, folder),
        _ => answer.payload(Payload::Part(file.content.clone(), range)),
    }
}

/// By its tag, weak or strong, else by its date.
fn is_fresh(call: &Call, etag: &str) -> bool {
    if let Some(known) = call.header("IF_NONE_MATCH") {
        let mut tags = known.split(',').map(str::trim);
        return tags.any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag);
    }
    call.header("IF_MODIFIED_SINCE") == Some(LAST_MODIFIED)
}

/// One range; several are refused like those that lie outside.
fn part(asked: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = asked.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let suffix: u64 = last.parse().ok()?;
        return (suffix > 0 && length > 0).then(|| length.saturating_sub(suffix)..length);
    }
    let first: u64 = first.parse().ok()?;
    let end = match last {
        "" => length,
        last => length.min(last.parse::<u64>().ok()? + 1),
    };
    (first < end).then_some(first..end)
}

fn leave_to_proxy(answer: Answer, file: &File, folder: &Path) -> Answer {
    let checksum = file.content.checksum();
    let inside = format!("{}/{}/{checksum}", database::NAME, &checksum[..2]);
    let path = folder.join("filestore").join(&inside);
    if !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, file.content.piece(0..file.content.len())).unwrap();
    }
    answer
        .with("X-Sendfile", path.display().to_string())
        .with("X-Accel-Redirect", format!("/web/filestore/{inside}"))
}

fn take_upload(site: &Site, body: &Arrived) -> Answer {
    if !body.is_whole {
        return Answer::html(400, "Bad Request");
    }
    site.database.wrote();
    let content = Content::Pattern(body.digest.length);
    let id = site
        .database
        .attach("upload", "application/octet-stream", content);
    let told = serde_json::json!([{"id": id, "size": body.digest.length, "filename": "upload"}]);
    Answer::bytes(200, "text/html; charset=utf-8", told.to_string())
}

/// Silent for `silence_ms`, then `size` bytes without a length; `reset=1` ends it with an RST.
fn backup(call: &Call) -> Answer {
    let silence = call.milliseconds("silence_ms").unwrap_or(0);
    let size = call.milliseconds("size").unwrap_or(1 << 20);
    Answer::new(200)
        .with("Content-Type", "application/zip")
        .with("Content-Disposition", "attachment; filename=prod.zip")
        .payload(Payload::Unmeasured {
            silence: Duration::from_millis(silence),
            content: Content::Pattern(size),
            end: if call.query.contains_key("reset") {
                End::Reset
            } else {
                End::Fin
            },
        })
}
