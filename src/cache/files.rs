//! The cache's files: one for each form of a body, whole or not there.

use super::body::Body;
use super::body::Form;
use super::entry::Entry;
use super::meta;
use std::collections::HashMap;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// What is being written; renamed when it is whole.
const UNFINISHED: &str = "unfinished";

pub(super) fn path(dir: &Path, id: u64, form: Form) -> Box<Path> {
    dir.join(format!("{id:016x}.{}", form.name()))
        .into_boxed_path()
}

/// Writes the file of one form. Where the body begins in it.
///
/// On disk before it has its name: after a crash it is whole or not there.
pub(super) fn write(dir: &Path, entry: &Entry, body: &Body, bytes: &[u8]) -> io::Result<u64> {
    if !dir.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let unfinished = dir.join(UNFINISHED);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    let front = meta::written(entry, body.form, body.length);
    let written = file
        .write_all(&front)
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_data())
        .and_then(|()| std::fs::rename(&unfinished, &body.path));
    if let Err(error) = written {
        // Half a file would hold room on a disk that may just have run out of it.
        let _ = std::fs::remove_file(&unfinished);
        return Err(error);
    }
    Ok(front.len() as u64)
}

/// What an earlier run has left and what is still good; everything else in the folder is removed.
pub(super) fn found(dir: &Path, now: SystemTime) -> Vec<Arc<Entry>> {
    let Ok(names) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut entries: HashMap<u64, Arc<Entry>> = HashMap::new();
    let mut stray = Vec::new();
    for path in names.flatten().map(|name| name.path()) {
        match look(&path) {
            Some(look) if look.entry.is_fresh(now) && look.entry.terms.immutable => {
                let entry = entries
                    .entry(look.entry.id)
                    .or_insert_with(|| Arc::new(look.entry));
                if entry.bodies[look.body.form.index()]
                    .set(Arc::new(look.body))
                    .is_err()
                {
                    stray.push(path);
                }
            }
            _ => stray.push(path),
        }
    }
    entries.retain(|_, entry| {
        let is_whole = entry.body(Form::Plain).is_some();
        if !is_whole {
            let bodies = entry.bodies();
            stray.extend(bodies.map(|body| PathBuf::from(&*body.path)));
        }
        is_whole
    });
    for path in stray {
        // Where it fails it stays, and is met again at the next start.
        let _ = std::fs::remove_file(path);
    }
    entries.into_values().collect()
}

struct Look {
    entry: Entry,
    body: Body,
}

fn look(path: &Path) -> Option<Look> {
    let mut file = File::open(path).ok()?;
    let mut fixed = [0; meta::FIXED];
    file.read_exact(&mut fixed).ok()?;
    let length = meta::text_length(&fixed)?;
    let mut text = vec![0; length];
    file.read_exact(&mut text).ok()?;
    let read = meta::read(&fixed, &text)?;
    let offset = (meta::FIXED + length) as u64;
    if file.metadata().ok()?.len() != offset + read.length {
        return None;
    }
    let dir = path.parent()?;
    let proper = self::path(dir, read.parts.id, read.form);
    if *proper != *path {
        return None;
    }
    Some(Look {
        body: Body::filed(read.form, read.length, proper, offset),
        entry: Entry::new(read.parts),
    })
}
