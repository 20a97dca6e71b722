//! Takes connections, a bounded number at a time.

use crate::net::Lack;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long to wait when the process is out of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// How often a failure to accept is told.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// Where connections come from, and how many may be served at the same time; more wait to be taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Door {
    /// As it is called in the log.
    pub(super) name: &'static str,
    pub(super) places: usize,
}

/// Serves whoever `accept` brings, until it is dropped.
pub(super) async fn take<C, S>(
    door: Door,
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<C>>,
    serve: impl Fn(C) -> S,
) where
    S: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(door.places));
    let mut told: Option<Instant> = None;
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match poll_fn(&mut accept).await {
            Ok(client) => {
                let served = serve(client);
                tokio::spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(error) => {
                // It goes on for as long as something is lacking.
                if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                    told = Some(Instant::now());
                    let error = Lack::of(&error).map_or(error.to_string(), |it| it.to_string());
                    tracing::warn!(error, door = door.name, "cannot accept");
                }
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;
    use tokio::sync::oneshot;

    #[tokio::test(start_paused = true)]
    async fn no_more_are_served_at_once_than_there_are_places() {
        let (clients, mut queue) = mpsc::channel(8);
        let (told, mut started) = mpsc::channel(8);
        let door = Door {
            name: "test",
            places: 2,
        };
        let taking = tokio::spawn(take(
            door,
            move |cx| {
                queue
                    .poll_recv(cx)
                    .map(|client| client.ok_or(io::ErrorKind::Other.into()))
            },
            move |(number, leave): (u32, oneshot::Receiver<()>)| {
                let told = told.clone();
                async move {
                    told.send(number).await.unwrap();
                    let _ = leave.await;
                }
            },
        ));
        let mut inside = Vec::new();
        for number in 1..=3 {
            let (leave, left) = oneshot::channel();
            clients.send((number, left)).await.unwrap();
            inside.push(leave);
        }
        assert_eq!(started.recv().await, Some(1));
        assert_eq!(started.recv().await, Some(2));
        let third = tokio::time::timeout(Duration::from_mins(1), started.recv()).await;
        assert!(third.is_err(), "a third is served beside two: {third:?}");
        inside.remove(0).send(()).unwrap();
        assert_eq!(started.recv().await, Some(3));
        taking.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_to_accept_ends_nothing() {
        let (told, mut served) = mpsc::channel(1);
        let mut failures = 3;
        let door = Door {
            name: "test",
            places: 1,
        };
        let taking = tokio::spawn(take(
            door,
            move |_| {
                if failures == 0 {
                    return Poll::Ready(Ok(()));
                }
                failures -= 1;
                Poll::Ready(Err(io::ErrorKind::Other.into()))
            },
            move |()| {
                let told = told.clone();
                async move { told.send(()).await.unwrap() }
            },
        ));
        assert_eq!(served.recv().await, Some(()));
        taking.abort();
    }
}
