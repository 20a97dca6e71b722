//! Listens to everything that happens, and hands to each hook what it wants to hear.

use super::board::Shared;
use super::letter::Letter;
use super::notices::Reader;
use super::post::Post;
use super::post::State;
use crate::api::EventKind;
use crate::api::StreamEvent;
use crate::config::Hook;
use crate::control::events::Subscription;
use std::sync::Arc;
use tokio::sync::watch;

/// Until control is gone: then `wanted` ends.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut events: Subscription,
    mut wanted: watch::Receiver<Vec<Hook>>,
) {
    let mut reader = Reader::default();
    wanted.mark_changed();
    loop {
        tokio::select! {
            biased;
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                let hooks = wanted.borrow_and_update().clone();
                configure(&shared, hooks);
            }
            event = events.next() => {
                let Some(event) = event else { return };
                tell(&shared, &mut reader, event);
            }
        }
    }
}

/// Hooks whose settings stay what they were do not notice.
fn configure(shared: &Shared, hooks: Vec<Hook>) {
    let mut posts = shared.posts();
    let mut before = std::mem::take(&mut *posts);
    for hook in hooks {
        let known = before.iter().position(|post| post.hook.name == hook.name);
        let known = known.map(|at| before.swap_remove(at));
        let post = match known {
            Some(post) if post.hook == hook => post,
            known => {
                let state = known.map_or_else(State::default, |post| post.end());
                let post = Post::new(hook, shared.clock, state);
                post.begin();
                post
            }
        };
        posts.push(post);
    }
    for gone in before {
        gone.end();
    }
}

fn tell(shared: &Shared, reader: &mut Reader, event: Arc<StreamEvent>) {
    if let EventKind::Missed { events } = event.kind {
        tracing::warn!(events, "events were lost on the way to the hooks");
    }
    let Some(notice) = reader.read(&event) else {
        return;
    };
    let letter = Letter::new(event, Arc::new(notice));
    for post in shared.posts().iter() {
        if post.wants(&letter) {
            post.put(letter.clone());
        }
    }
}
