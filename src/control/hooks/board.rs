//! All hooks: told of new settings, looked at, and tested.

use super::deliver::attempt;
use super::letter::Letter;
use super::notices::Notice;
use super::post::Post;
use super::teller;
use crate::api::EventKind;
use crate::api::HookList;
use crate::api::HookStatus;
use crate::api::SCHEMA;
use crate::config::Hook;
use crate::control::clock::Clock;
use crate::control::events::About;
use crate::control::events::Events;
use crate::switch::Actor;
use crate::telemetry::HookFigures;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::runtime;
use tokio::sync::watch;
use tokio::time::Instant;

/// Shared by the conductor (settings), the admin API (a look, a test) and the thread of the hooks.
#[derive(Debug, Clone)]
pub struct Board {
    shared: Arc<Shared>,
    events: Events,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    posts: Mutex<Vec<Arc<Post>>>,
    /// Where hooks run, once there has been one.
    thread: OnceLock<runtime::Handle>,
}

/// The conductor's end: hooks stop when it is dropped.
#[derive(Debug)]
pub(in crate::control) struct Wishes {
    board: Board,
    wanted: watch::Sender<Vec<Hook>>,
}

/// How a test went.
#[derive(Debug)]
pub enum Tested {
    /// With the names that there are.
    Unknown(Vec<String>),
    Delivered(Duration),
    /// Why not.
    Failed(String),
}

impl Shared {
    pub(super) fn posts(&self) -> MutexGuard<'_, Vec<Arc<Post>>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wishes {
    pub(in crate::control) fn new(clock: Clock, events: Events) -> Self {
        let shared = Arc::new(Shared {
            clock,
            posts: Mutex::default(),
            thread: OnceLock::new(),
        });
        Self {
            board: Board { shared, events },
            wanted: watch::Sender::new(Vec::new()),
        }
    }

    pub(in crate::control) fn board(&self) -> Board {
        self.board.clone()
    }

    /// What happens from now on is told to these.
    pub(in crate::control) fn configure(&self, hooks: &[Hook]) {
        self.wanted.send_if_modified(|before| {
            let changed = *before != hooks;
            if changed {
                *before = hooks.to_vec();
            }
            changed
        });
        if hooks.is_empty() || self.board.shared.thread.get().is_some() {
            return;
        }
        if let Err(error) = self.start() {
            tracing::error!(error = %error, "cannot start the hooks; nobody is told");
        }
    }

    /// On a thread of their own: handshakes of theirs delay nobody.
    fn start(&self) -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .thread_keep_alive(Duration::from_secs(1))
            .build()?;
        let shared = Arc::clone(&self.board.shared);
        // From here on nothing is missed, however long the thread takes to start.
        let listening = self.board.events.subscribe();
        let telling = teller::run(Arc::clone(&shared), listening, self.wanted.subscribe());
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("hooks".to_owned())
            .spawn(move || {
                runtime.block_on(telling);
                runtime.shutdown_background();
            })?;
        // Only the conductor starts them, once.
        let _ = shared.thread.set(handle);
        Ok(())
    }
}

impl Board {
    #[must_use]
    pub fn list(&self) -> HookList {
        HookList {
            schema: SCHEMA,
            hooks: self.statuses(),
        }
    }

    fn statuses(&self) -> Vec<HookStatus> {
        let posts = self.shared.posts();
        posts.iter().map(|post| post.status()).collect()
    }

    /// Sends one message now, whatever waits, and tries once.
    pub async fn test(&self, name: &str, by: &Actor) -> Tested {
        let found = {
            let posts = self.shared.posts();
            let found = posts.iter().find(|post| post.hook.name == name).cloned();
            found.ok_or_else(|| posts.iter().map(|it| it.hook.name.clone()).collect())
        };
        let (post, thread) = match (found, self.shared.thread.get()) {
            (Ok(post), Some(thread)) => (post, thread),
            (Ok(_), None) => return Tested::Unknown(Vec::new()),
            (Err(names), _) => return Tested::Unknown(names),
        };
        let kind = EventKind::HookTest { by: by.to_string() };
        let event = self.events.event(About::daemon(), kind);
        let letter = Letter::new(event, Arc::new(Notice::test(&by.0)));
        let started = Instant::now();
        let attempt = thread.spawn(async move {
            let result = attempt(&post.hook, &letter).await;
            post.note(&letter, &result);
            result
        });
        match attempt.await {
            Ok(Ok(())) => Tested::Delivered(started.elapsed()),
            Ok(Err(failed)) => Tested::Failed(failed.what),
            Err(_) => Tested::Failed("switchd is stopping".to_owned()),
        }
    }

    pub(in crate::control) fn figures(&self) -> Vec<HookFigures> {
        let posts = self.shared.posts();
        let figures = posts.iter().map(|post| {
            let (counts, queued) = post.counts();
            HookFigures {
                name: post.hook.name.clone(),
                delivered: counts.delivered,
                failed: counts.failed,
                dropped: counts.dropped,
                attempts: counts.attempts,
                queued,
            }
        });
        figures.collect()
    }
}
