//! What a spool has done on blocking threads, and what it makes of the results.

use super::account::Whose;
use super::error::SpoolError;
use super::fifo::Done;
use super::fifo::FAST;
use super::fifo::Job;
use super::fifo::LEAST_READ;
use super::fifo::MOST_READ;
use super::fifo::Spool;
use super::store::Store;
use std::io;
use std::sync::Arc;
use std::time::Instant;

impl Spool {
    pub(super) fn begin_write(&mut self) -> Result<Job, SpoolError> {
        let length = self.back.len();
        let unread = self.stored.end - self.stored.start;
        if unread.saturating_add(length as u64) > self.bounds.disk {
            return Err(SpoolError::TooLong {
                limit: self.bounds.disk,
            });
        }
        // All that is in the file was read: it begins anew.
        let anew = self.stored.end > 0 && unread == 0 && self.reading.is_none();
        if anew && let Some(store) = &self.store {
            self.stored = 0..0;
            store.gives_back_all();
        }
        let account = &self.shelf.account;
        account.take(length as u64, self.bounds.total_disk)?;
        if self.store.is_none() {
            account.spooled(self.whose);
        }
        let store = self
            .store
            .get_or_insert_with(|| Arc::new(Store::new(account.clone())));
        store.holds(length as u64);
        let (store, offset) = (store.clone(), self.stored.end);
        let piece = std::mem::take(&mut self.back);
        Ok(self.job(length, piece, move |piece| store.write(piece, offset, anew)))
    }

    /// A job for a blocking thread, as soon as this worker may use one more.
    pub(super) fn job(
        &self,
        length: usize,
        mut piece: Vec<u8>,
        work: impl FnOnce(&mut Vec<u8>) -> io::Result<()> + Send + 'static,
    ) -> Job {
        let jobs = self.shelf.jobs.clone();
        let work = Box::pin(async move {
            let permit = jobs.acquire_owned().await;
            let running = tokio::task::spawn_blocking(move || {
                let result = work(&mut piece);
                drop(permit);
                Done {
                    piece: Some(piece),
                    result,
                }
            });
            running.await.unwrap_or_else(|gone| Done {
                piece: None,
                result: Err(io::Error::other(gone)),
            })
        });
        Job { length, work }
    }

    /// A write is over: its bytes are on disk, or back where they were.
    pub(super) fn written(&mut self, done: Done) -> Result<(), SpoolError> {
        let length = self.writing.take().map_or(0, |job| job.length);
        let Err(cause) = done.result else {
            self.stored.end += length as u64;
            if let Some(mut spare) = done.piece
                && self.back.is_empty()
            {
                spare.clear();
                self.back = spare;
            }
            return Ok(());
        };
        self.has_failed = true;
        if let Some(store) = &self.store {
            store.gives_back(length as u64);
        }
        let error = self.shelf.account.broken(cause);
        let Some(mut piece) = done.piece else {
            return Err(error);
        };
        piece.append(&mut self.back);
        self.back = piece;
        self.short_of_room(error)
    }

    /// What comes next was just written: it need not be read again.
    pub(super) fn taken_from_the_writer(&mut self, done: Done) -> Result<(), SpoolError> {
        let length = self.writing.take().map_or(0, |job| job.length);
        self.stored.end += length as u64;
        self.stored.start = self.stored.end;
        if let Err(cause) = done.result {
            self.has_failed = true;
            let error = self.shelf.account.broken(cause);
            if done.piece.is_none() {
                return Err(error);
            }
            self.short_of_room(error)?;
        }
        self.front = done.piece.unwrap_or_default();
        self.taken = 0;
        Ok(())
    }

    /// Counted and told once; the end of a request, and a wait for an answer.
    pub(super) fn short_of_room(&mut self, error: SpoolError) -> Result<(), SpoolError> {
        if !self.was_short {
            self.was_short = true;
            if !matches!(error, SpoolError::TooLong { .. }) {
                self.shelf.account.no_room(self.whose, &error);
            }
        }
        match self.whose {
            Whose::Request => Err(error),
            Whose::Answer => Ok(()),
        }
    }

    pub(super) fn begin_read(&mut self) -> Job {
        let now = Instant::now();
        let is_fast = self.last_read.is_some_and(|last| now - last < FAST);
        self.last_read = Some(now);
        self.next_read = if is_fast {
            (self.next_read * 2).min(MOST_READ)
        } else {
            LEAST_READ
        };
        let unread = usize::try_from(self.stored.end - self.stored.start).unwrap_or(usize::MAX);
        let length = unread.min(self.next_read);
        let offset = self.stored.start;
        let mut piece = std::mem::take(&mut self.front);
        self.taken = 0;
        if piece.capacity() > MOST_READ {
            piece = Vec::new();
        }
        let store = self.store.clone();
        self.job(length, piece, move |piece| match store {
            Some(store) => store.read(piece, offset, length),
            None => Err(io::ErrorKind::NotFound.into()),
        })
    }

    pub(super) fn was_read(&mut self, done: Done) -> Result<(), SpoolError> {
        let length = self.reading.take().map_or(0, |job| job.length);
        let broken = |cause| self.shelf.account.broken(cause);
        done.result.map_err(broken)?;
        self.stored.start += length as u64;
        self.front = done.piece.unwrap_or_default();
        self.taken = 0;
        Ok(())
    }

    pub(super) fn weigh(&mut self) {
        let now = self.in_memory();
        self.shelf.account.weigh(self.weight, now);
        self.weight = now;
    }
}
