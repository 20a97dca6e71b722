//! The log: text or JSON lines on stderr, written by a thread of its own.
//!
//! Whoever reads stderr may hang (a paused terminal, a full pipe). Then lines are dropped and counted:
//! nothing that decides about traffic ever waits for a reader.
//!
//! Where stderr is the journal of systemd, each line begins with its priority (`<4>`), which journald takes off
//! again: `journalctl -p warning -u switchd` shows what it should.

use crate::config::Log;
use crate::config::LogFormat;
use anyhow::Context;
use std::fs::File;
use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use tracing::Level;
use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for the reader.
const WAITING: usize = 1024;
/// How long the end of the program waits for the last lines.
const FLUSH: Duration = Duration::from_secs(1);

/// The log's own thread.
#[derive(Debug)]
pub(super) struct LogWriter {
    lines: SyncSender<Line>,
}

enum Line {
    Text(Vec<u8>),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

/// Hands lines over without waiting.
#[derive(Debug, Clone)]
struct Door {
    lines: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
    to: Reader,
}

/// Who reads stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Anybody,
    /// journald: it understands priorities.
    Journal,
}

impl Reader {
    /// The journal says which file it reads: who inherited the variable and writes elsewhere is not meant.
    fn of_stderr() -> Self {
        let said = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        let ours = io::stderr().as_fd().try_clone_to_owned();
        let file = ours.and_then(|it| File::from(it).metadata());
        match file {
            Ok(file) if said == format!("{}:{}", file.dev(), file.ino()) => Self::Journal,
            _ => Self::Anybody,
        }
    }

    /// As `sd-daemon(3)` has them.
    fn priority(self, level: Level) -> &'static str {
        match (self, level) {
            (Self::Anybody, _) => "",
            (_, Level::ERROR) => "<3>",
            (_, Level::WARN) => "<4>",
            (_, Level::INFO) => "<6>",
            _ => "<7>",
        }
    }
}

/// Tells why the program does not start, on stderr, so that it is found where errors are looked for.
pub fn complain(text: &str) {
    let priority = Reader::of_stderr().priority(Level::ERROR);
    for line in text.lines() {
        eprintln!("{priority}{line}");
    }
}

/// One line; handed over when dropped.
struct OneLine<'a> {
    door: &'a Door,
    text: Vec<u8>,
}

impl Write for OneLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for OneLine<'_> {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        if self.door.lines.try_send(Line::Text(text)).is_err() {
            self.door.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<'a> MakeWriter<'a> for Door {
    type Writer = OneLine<'a>;

    fn make_writer(&'a self) -> OneLine<'a> {
        let text = Vec::new();
        OneLine { door: self, text }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> OneLine<'a> {
        let text = self.to.priority(*of.level()).as_bytes().to_vec();
        OneLine { door: self, text }
    }
}

/// Sets up the log of this process.
///
/// # Errors
/// When the filter cannot be understood, or the log was set up before.
pub(super) fn start(log: &Log) -> anyhow::Result<LogWriter> {
    // What a client does wrong is told by us, once, and at a level that fits: h2 warns of single frames.
    let filter = EnvFilter::try_new(format!("h2=off,{}", log.filter))
        .with_context(|| format!("[log] filter {:?} is no filter", log.filter))?;
    let (lines, receiver) = sync_channel(WAITING);
    let dropped = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&dropped);
    let to = Reader::of_stderr();
    std::thread::Builder::new()
        .name("log".to_owned())
        .stack_size(64 * 1024)
        .spawn(move || write_all(&receiver, &counted, (to, &mut io::stderr())))
        .context("cannot start the log's thread")?;
    let door = Door {
        lines: lines.clone(),
        dropped,
        to,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(door)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    let set = match log.format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    set.map_err(|error| anyhow::anyhow!(error))
        .context("cannot set up the log")?;
    Ok(LogWriter { lines })
}

impl LogWriter {
    /// Writes what is waiting, unless its reader hangs.
    pub(super) fn flush(&self) {
        let (done, flushed) = sync_channel(1);
        // Both fail when nobody reads any more: then the last lines are lost anyway.
        if self.lines.try_send(Line::Flush(done)).is_ok() {
            let _: Result<(), RecvTimeoutError> = flushed.recv_timeout(FLUSH);
        }
    }
}

fn write_all(lines: &Receiver<Line>, dropped: &AtomicU64, (to, out): (Reader, &mut impl Write)) {
    while let Ok(line) = lines.recv() {
        // A log that cannot be written has nowhere to say so.
        match line {
            Line::Text(text) => drop(out.write_all(&text)),
            Line::Flush(done) => drop(done.try_send(())),
        }
        let missed = dropped.swap(0, Ordering::Relaxed);
        if missed > 0 {
            let priority = to.priority(Level::WARN);
            drop(writeln!(
                out,
                "{priority}{missed} log lines dropped: the reader of the log is too slow"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_hangs_costs_lines_and_never_waiting() {
        let (lines, receiver) = sync_channel(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let door = Door {
            lines,
            dropped: Arc::clone(&dropped),
            to: Reader::Anybody,
        };
        for number in 0..5 {
            writeln!(door.make_writer(), "line {number}").unwrap();
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
        drop(door);
        let mut written = Vec::new();
        write_all(&receiver, &dropped, (Reader::Anybody, &mut written));
        let written = String::from_utf8(written).unwrap();
        assert_eq!(
            written,
            "line 0\n3 log lines dropped: the reader of the log is too slow\nline 1\n"
        );
    }
}
