//! A body that is ours to send: from memory, or from a file in pieces that are read beside the worker.

use super::body::DISK_PATIENCE;
use super::client::Client;
use super::client::write_all;
use super::coder::Step;
use super::fault::Fault;
use super::fault::Timer;
use super::outlet::Outlet;
use super::outlet::Pushed;
use super::threads::Threads;
use crate::content::ByteRange;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

/// Read from a file at a time; a connection holds one.
const PIECE: u64 = 128 * 1024;

/// Where a body comes from.
#[derive(Debug)]
pub(super) enum Source {
    Memory(Arc<Vec<u8>>),
    /// Begins at `offset` of its file.
    File {
        file: Arc<File>,
        offset: u64,
        /// Where it is read.
        threads: Threads,
    },
}

/// What of it is still to be sent.
#[derive(Debug)]
pub(super) struct Pieces {
    source: Source,
    left: ByteRange,
    read: Vec<u8>,
}

impl Pieces {
    pub(super) fn new(source: Source, part: ByteRange) -> Self {
        Self {
            source,
            left: part,
            read: Vec::new(),
        }
    }

    fn is_done(&self) -> bool {
        self.left.start >= self.left.end
    }

    /// The next piece; empty at the end.
    async fn next(&mut self) -> io::Result<&[u8]> {
        let start = self.left.start;
        let end = self.left.end.min(start + PIECE);
        self.left.start = end;
        let length = usize::try_from(end - start).unwrap_or_default();
        match &self.source {
            Source::Memory(bytes) => {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                let piece = bytes.get(start..).and_then(|rest| rest.get(..length));
                piece.ok_or(io::ErrorKind::UnexpectedEof.into())
            }
            Source::File {
                file,
                offset,
                threads,
            } if length > 0 => {
                let (file, at) = (file.clone(), offset + start);
                let mut room = std::mem::take(&mut self.read);
                room.resize(length, 0);
                let read = threads.run(move || file.read_exact_at(&mut room, at).map(|()| room));
                self.read = read.await??;
                Ok(&self.read)
            }
            Source::File { .. } => Ok(&[]),
        }
    }
}

/// Sends all of it behind what `out` holds.
pub(super) async fn send(
    client: &Client,
    mut pieces: Pieces,
    outlet: &mut Outlet,
    (out, idle): (&mut Vec<u8>, Duration),
) -> Result<(), Fault> {
    let flight = &client.flight;
    let broken = |cause| Fault::CutShort(Some(cause));
    let write = async |bytes: &[u8]| {
        let progress = || flight.arm(Timer::ClientIdle, idle);
        progress();
        let written = write_all(&client.stream, bytes, progress).await;
        written.map_err(|_| Fault::ClientGone)
    };
    let mut sent = 0;
    loop {
        // What is in memory is there at once.
        flight.arm(Timer::Spool, DISK_PATIENCE);
        let piece = pieces.next().await.map_err(broken)?;
        sent += piece.len() as u64;
        if outlet.push(piece, out) == Pushed::Direct {
            write(out).await?;
            out.clear();
            write(piece).await?;
        }
        let ended = pieces.is_done();
        if let Some(coder) = outlet.coder() {
            let step = if ended { Step::Finish } else { Step::Collect };
            coder.advance(step, out).await.map_err(broken)?;
            sent = coder.sent;
        }
        if ended {
            outlet.end(&[], out);
        }
        write(out).await?;
        out.clear();
        flight.bytes_out.set(sent);
        if ended {
            return Ok(());
        }
    }
}
