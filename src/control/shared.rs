//! Looks whether what all slots of a service share (a database) can be reached.

use super::jobs::Jobs;
use super::message::Message;
use crate::config::Shared;
use crate::net::Dial;
use crate::net::NameFailure;
use crate::net::Stream;
use crate::net::is_ours;
use crate::switch::Owner;
use crate::switch::ServiceName;
use crate::upstream::connect_failure_in_words;
use tokio::time::Instant;

/// What one look found.
#[derive(Debug)]
pub(super) struct SharedReport {
    pub(super) service: ServiceName,
    /// Why it cannot be reached.
    pub(super) result: Result<(), String>,
    /// Whose fault that is: what is ours is no result.
    pub(super) owner: Owner,
}

/// Looks until it is aborted.
pub(super) async fn run(service: ServiceName, shared: Shared, jobs: Jobs) {
    loop {
        let next = Instant::now() + shared.interval;
        once(&service, &shared, &jobs).await;
        tokio::time::sleep_until(next).await;
    }
}

/// Looks once and reports.
pub(super) async fn once(service: &ServiceName, shared: &Shared, jobs: &Jobs) {
    let (result, owner) = match look(shared).await {
        Ok(()) => (Ok(()), Owner::Shared),
        Err((owner, words)) => (Err(words), owner),
    };
    let report = SharedReport {
        service: service.clone(),
        result,
        owner,
    };
    jobs.report(Message::Shared(report)).await;
}

async fn look(shared: &Shared) -> Result<(), (Owner, String)> {
    let dial = Dial::within(shared.timeout);
    match tokio::time::timeout(shared.timeout, Stream::connect(&shared.tcp, dial)).await {
        Ok(Ok(_closed_at_once)) => Ok(()),
        Ok(Err(error)) => {
            // Its name server says nothing, so nobody was asked.
            let is_unresolved = matches!(
                NameFailure::of(&error),
                Some(NameFailure::Unresolved { .. })
            );
            let owner = if is_ours(&error) || is_unresolved {
                Owner::Ours
            } else {
                Owner::Shared
            };
            Err((owner, connect_failure_in_words(&error)))
        }
        Err(_) => Err((Owner::Shared, format!("timeout after {:?}", shared.timeout))),
    }
}
