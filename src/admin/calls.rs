//! Keeps every call over TCP: who, from where, what, and how it ended.

use crate::api::AuditRecord;
use crate::journal::CallLog;
use std::io;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;

/// Calls that may wait for the disk; further ones are turned away.
const WAITING: usize = 256;

/// Hands calls to a thread of their own: a disk that hangs delays nobody else.
#[derive(Debug, Clone)]
pub(super) struct Calls(SyncSender<AuditRecord>);

impl Calls {
    /// The thread ends with the last clone.
    pub(super) fn start(log: CallLog) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        std::thread::Builder::new()
            .name("calls".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || write_all(&log, &receiver))?;
        Ok(Self(sender))
    }

    /// False when too many wait already: then nobody would know of this one.
    pub(super) fn keep(&self, record: AuditRecord) -> bool {
        self.0.try_send(record).is_ok()
    }
}

fn write_all(log: &CallLog, records: &Receiver<AuditRecord>) {
    let mut is_broken = false;
    for record in records {
        match log.append(&record) {
            Ok(()) => is_broken = false,
            // Told once, not once per call.
            Err(_) if is_broken => {}
            Err(error) => {
                is_broken = true;
                tracing::error!(
                    error = error.in_words(),
                    "cannot keep the calls of the admin API"
                );
            }
        }
    }
}
