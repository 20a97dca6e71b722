//! One answer's body on its way through an encoder.

use super::belongings::Proxy;
use super::chunked;
use super::threads::Threads;
use crate::config::Coding;
use crate::config::Compression;
use crate::content::Encoder;
use crate::telemetry::EdgeMetrics;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// As much is collected before it is encoded, while more is there to be read.
const PIECE: usize = 128 * 1024;
/// More than this is encoded off the worker's thread: it would hold up the worker's other clients.
const INLINE: usize = 16 * 1024;
/// What the client can already use comes at most so often, and at most so late: each time costs bytes.
const FLUSH_EVERY: Duration = Duration::from_millis(25);

/// One body being encoded, in chunks towards the client.
#[derive(Debug)]
pub(super) struct Coder {
    /// None once it was finished, or has failed.
    encoder: Option<Encoder>,
    pending: Vec<u8>,
    /// The encoder holds bytes that the client has not.
    owes: bool,
    flushed: Option<Instant>,
    /// Encoded bytes that went out.
    pub sent: u64,
    /// Of all that went out, for the cache.
    copy: Option<Vec<u8>>,
    coding: Coding,
    metrics: Arc<EdgeMetrics>,
    threads: Threads,
    #[allow(dead_code, reason = "held for its drop")]
    permit: Permit,
}

/// What becomes of the bytes that are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// More is coming right now.
    Collect,
    /// Nothing more is here: the client shall not wait for it.
    Pause,
    /// That was all.
    Finish,
}

/// One of the bodies that a worker encodes at the same time.
#[derive(Debug)]
struct Permit(Rc<Cell<usize>>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Coder {
    /// None when the worker encodes as many as it may: then the body goes as it is.
    pub(super) fn new(
        proxy: &Proxy,
        settings: &Compression,
        coding: Coding,
        length: Option<u64>,
    ) -> Option<Box<Self>> {
        let encoder = if proxy.encoding.get() < settings.at_once {
            Encoder::new(coding, settings.level(coding), length).ok()
        } else {
            None
        };
        let Some(encoder) = encoder else {
            proxy.metrics.content.not_encoded();
            return None;
        };
        proxy.encoding.set(proxy.encoding.get() + 1);
        Some(Box::new(Self {
            encoder: Some(encoder),
            pending: Vec::new(),
            owes: false,
            flushed: None,
            sent: 0,
            copy: None,
            coding,
            metrics: proxy.metrics.clone(),
            threads: proxy.encoders.clone(),
            permit: Permit(proxy.encoding.clone()),
        }))
    }

    /// From now on what goes out is remembered.
    pub(super) fn copies(&mut self) {
        self.copy = Some(Vec::new());
    }

    /// All that went out, once it is whole.
    pub(super) fn take_copy(&mut self) -> Option<(Coding, Vec<u8>)> {
        let is_whole = self.encoder.is_none();
        let copy = self.copy.take().filter(|_| is_whole)?;
        Some((self.coding, copy))
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        self.pending.extend_from_slice(data);
    }

    /// When the client must get what waits here, if nothing else happens before.
    pub(super) fn due(&self) -> Option<Instant> {
        let waits = self.owes || !self.pending.is_empty();
        let due = self
            .flushed
            .map_or_else(Instant::now, |at| at + FLUSH_EVERY);
        waits.then_some(due)
    }

    /// Encodes what was pushed, as far as `step` asks for it, into `out`. The end of the chunks is the caller's.
    ///
    /// # Errors
    /// The encoder's: no memory.
    pub(super) async fn advance(&mut self, step: Step, out: &mut Vec<u8>) -> io::Result<()> {
        let is_due = match step {
            Step::Collect => self.pending.len() >= PIECE,
            Step::Pause => self.due().is_some_and(|due| due <= Instant::now()),
            Step::Finish => true,
        };
        if !is_due {
            return Ok(());
        }
        let encoder = self.encoder.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let data = std::mem::take(&mut self.pending);
        let taken = data.len() as u64;
        let work = Work {
            encoder,
            data,
            step,
        };
        let mut done = if work.data.len() > INLINE {
            self.threads.run(|| work.run()).await??
        } else {
            work.run()?
        };
        self.encoder = done.encoder.take();
        self.pending = done.emptied;
        self.owes = step == Step::Collect;
        if step == Step::Pause {
            self.flushed = Some(Instant::now());
        }
        let encoded = done.encoded.len() as u64;
        self.sent += encoded;
        self.metrics
            .content
            .encoded(self.coding as usize, taken, encoded);
        if let Some(copy) = &mut self.copy {
            copy.extend_from_slice(&done.encoded);
        }
        if encoded > 0 {
            chunked::encode(&done.encoded, out);
        }
        Ok(())
    }
}

/// An encoder on its way through another thread.
struct Work {
    encoder: Encoder,
    data: Vec<u8>,
    step: Step,
}

struct Done {
    encoder: Option<Encoder>,
    /// The memory of what was encoded, for the next piece.
    emptied: Vec<u8>,
    encoded: Vec<u8>,
}

impl Work {
    fn run(mut self) -> io::Result<Done> {
        let mut encoded = Vec::new();
        self.encoder.push(&self.data, &mut encoded)?;
        let encoder = match self.step {
            Step::Collect => Some(self.encoder),
            Step::Pause => {
                self.encoder.flush(&mut encoded)?;
                Some(self.encoder)
            }
            Step::Finish => {
                self.encoder.finish(&mut encoded)?;
                None
            }
        };
        self.data.clear();
        Ok(Done {
            encoder,
            emptied: self.data,
            encoded,
        })
    }
}
