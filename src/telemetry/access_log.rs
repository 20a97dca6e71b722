//! One line per request, written off the worker threads.
//!
//! A worker collects lines in a buffer of its own and hands it over when it is full or at its next tick.
//! When the disk is slow and all hand-over places are taken, lines are dropped and counted: a log never
//! holds up a request.

use super::stamp::Stamp;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::TrySendError;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

/// A worker hands over at this size at the latest.
const BATCH: usize = 64 * 1024;
/// Batches that may wait for the disk.
const WAITING: usize = 64;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    Off,
    Stdout,
    File(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFormat {
    Json,
    /// Apache's and nginx's `combined`, for the tools that read it.
    Combined,
}

/// What a client spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http10,
    Http11,
    Http2,
}

impl Protocol {
    /// As TLS names it (ALPN).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "http/1.0",
            Self::Http11 => "http/1.1",
            Self::Http2 => "h2",
        }
    }

    /// As a request line names it, and as other web servers do where there is none.
    #[must_use]
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

/// One request, as it is logged.
#[derive(Debug)]
pub struct AccessRecord<'a> {
    pub client: &'a str,
    pub protocol: Protocol,
    pub method: &'a str,
    pub target: &'a [u8],
    pub host: &'a [u8],
    pub referer: &'a [u8],
    pub agent: &'a [u8],
    /// 0 when none was sent.
    pub status: u16,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub took: Duration,
    /// Until the first byte of the upstream's answer.
    pub upstream: Option<Duration>,
    /// In line for a place.
    pub queued: Duration,
    /// While its service was held.
    pub held: Duration,
    pub service: &'a str,
    pub slot: &'a str,
    pub endpoint: &'a str,
    pub request_id: &'a str,
    pub fault: Option<&'static str>,
    /// `hit` or `miss`; none where the cache has no say.
    pub cache: Option<&'static str>,
    /// By whose name it came in; empty where none was needed.
    pub user: &'a [u8],
    /// Why a websocket was closed from here, if it was.
    pub closed: Option<&'static str>,
}

enum Message {
    Batch(Vec<u8>),
    Reopen,
    Stop,
}

/// The log's own thread.
#[derive(Debug)]
pub struct AccessLog {
    sender: Option<SyncSender<Message>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    dropped: Arc<AtomicU64>,
    format: LineFormat,
}

impl AccessLog {
    /// Opens the file (created, appended to) and starts the thread.
    ///
    /// # Errors
    /// The operating system's.
    pub fn start(target: LogTarget, format: LineFormat) -> io::Result<Arc<Self>> {
        let dropped = Arc::new(AtomicU64::new(0));
        if target == LogTarget::Off {
            return Ok(Arc::new(Self {
                sender: None,
                thread: Mutex::default(),
                dropped,
                format,
            }));
        }
        let sink = open(&target)?;
        let (sender, receiver) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        let thread = thread.stack_size(128 * 1024).spawn({
            let dropped = dropped.clone();
            move || write_all(&receiver, sink, &target, &dropped)
        })?;
        Ok(Arc::new(Self {
            sender: Some(sender),
            thread: Mutex::new(Some(thread)),
            dropped,
            format,
        }))
    }

    /// A worker's own end.
    #[must_use]
    pub fn writer(&self) -> AccessWriter {
        AccessWriter {
            sender: self.sender.clone(),
            dropped: self.dropped.clone(),
            format: self.format,
            batch: Vec::new(),
            lines: 0,
            stamp: Stamp::default(),
        }
    }

    /// Opens the file anew, after it was renamed by a log rotation.
    pub fn reopen(&self) {
        if let Some(sender) = &self.sender {
            // A full queue is a disk that hangs: the next rotation comes.
            let _ = sender.try_send(Message::Reopen);
        }
    }

    /// Lines that were dropped since the start, or that the disk did not take.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes what was handed over and ends the thread. Blocks until the disk has taken it.
    pub fn flush_and_stop(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let (Some(sender), Some(thread)) = (&self.sender, thread) {
            // Both fail only when the thread is gone already.
            let _ = sender.send(Message::Stop);
            let _ = thread.join();
        }
    }
}

fn open(target: &LogTarget) -> io::Result<Box<dyn Write + Send>> {
    Ok(match target {
        LogTarget::File(path) => Box::new(append_to(path)?),
        LogTarget::Stdout | LogTarget::Off => Box::new(io::stdout()),
    })
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn write_all(
    receiver: &Receiver<Message>,
    mut sink: Box<dyn Write + Send>,
    target: &LogTarget,
    dropped: &AtomicU64,
) {
    let mut losses = Losses::default();
    while let Ok(message) = receiver.recv() {
        match message {
            Message::Batch(batch) => {
                let written = sink.write_all(&batch).and_then(|()| sink.flush());
                if let Err(error) = written {
                    // Some of it may be there; nobody can say how much.
                    let lines = memchr::memchr_iter(b'\n', &batch).count() as u64;
                    dropped.fetch_add(lines, Ordering::Relaxed);
                    losses.lost(lines, &error, Instant::now());
                } else {
                    losses.are_over();
                }
            }
            Message::Reopen => match open(target) {
                Ok(new) => sink = new,
                Err(error) => tracing::error!(%error, "access log not opened anew"),
            },
            Message::Stop => return,
        }
    }
}

/// Lines that were lost since that was told: it goes on for as long as a disk is full, and is told into another
/// log, which may lie on the same disk.
#[derive(Debug, Default)]
struct Losses {
    lines: u64,
    told: Option<Instant>,
}

/// How often it is told.
const TOLD_EVERY: Duration = Duration::from_mins(1);

impl Losses {
    /// True when it was told now.
    fn lost(&mut self, lines: u64, error: &io::Error, now: Instant) -> bool {
        self.lines += lines;
        let is_time = self.told.is_none_or(|told| now - told >= TOLD_EVERY);
        if is_time {
            self.told = Some(now);
            let lost = std::mem::take(&mut self.lines);
            tracing::error!(%error, lost, "access log not written");
        }
        is_time
    }

    fn are_over(&mut self) {
        if self.told.take().is_some() {
            let lost = std::mem::take(&mut self.lines);
            tracing::info!(lost, "access log written again");
        }
    }
}

/// One worker's end of the log.
#[derive(Debug)]
pub struct AccessWriter {
    sender: Option<SyncSender<Message>>,
    dropped: Arc<AtomicU64>,
    format: LineFormat,
    batch: Vec<u8>,
    lines: u64,
    stamp: Stamp,
}

impl AccessWriter {
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.sender.is_some()
    }

    pub fn write(&mut self, record: &AccessRecord<'_>) {
        if self.sender.is_none() {
            return;
        }
        if self.batch.capacity() == 0 {
            self.batch.reserve(BATCH);
        }
        match self.format {
            LineFormat::Json => super::access_line::json(record, &mut self.stamp, &mut self.batch),
            LineFormat::Combined => {
                super::access_line::combined(record, &mut self.stamp, &mut self.batch);
            }
        }
        self.lines += 1;
        if self.batch.len() > BATCH - 2048 {
            self.flush();
        }
    }

    /// Hands over what was collected. Never waits.
    pub fn flush(&mut self) {
        let Some(sender) = &self.sender else { return };
        if self.lines == 0 {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            sender.try_send(Message::Batch(batch))
        {
            self.dropped.fetch_add(self.lines, Ordering::Relaxed);
        }
        self.lines = 0;
    }
}

impl Drop for AccessWriter {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_the_disk_did_not_take_are_counted() {
        let full = LogTarget::File("/dev/full".into());
        let log = AccessLog::start(full, LineFormat::Json).unwrap();
        let mut writer = log.writer();
        for _ in 0..3 {
            writer.write(&super::super::access_line::tests::record());
        }
        writer.flush();
        log.flush_and_stop();
        assert_eq!(log.dropped(), 3);
    }

    #[test]
    fn a_full_disk_is_told_of_once_a_minute_with_the_number_of_lines() {
        let mut losses = Losses::default();
        let (full, begun) = (io::Error::from(io::ErrorKind::StorageFull), Instant::now());
        let told: Vec<bool> = (0..1200)
            .map(|tenth| losses.lost(2, &full, begun + Duration::from_millis(tenth * 100)))
            .collect();
        assert_eq!(told.iter().filter(|it| **it).count(), 2);
        assert!(told[0] && told[600], "at once, and a minute later");
        assert_eq!(losses.lines, 2 * 599);
    }
}
