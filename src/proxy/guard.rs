//! Whether a request comes in, by the filter of its service.

use super::fault::Fault;
use super::fault::Timer;
use super::flight::Flight;
use super::flight::State;
use super::framing::Framing;
use super::prepare::Judge;
use super::prepare::Look;
use super::request::RequestHead;
use super::response::Asked;
use crate::filter;
use crate::filter::Attempt;
use crate::filter::Compared;
use crate::filter::Filter;
use crate::filter::Passwords;
use crate::filter::Path;
use crate::filter::Refusal;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// How long a password may wait to be compared, and be compared.
const PATIENCE: Duration = Duration::from_secs(15);

/// A request that does not come in; what is known of it, so that its connection may go on.
#[derive(Debug)]
pub(super) struct Refused {
    /// Bytes of the client's head.
    pub length: usize,
    pub asked: Asked,
    pub framing: Framing,
    pub fault: Fault,
    /// It may come in all the same once this was looked at.
    pub comparison: Option<Comparison>,
}

/// A password to be compared, which takes too long for a worker.
#[derive(Debug)]
pub(super) struct Comparison {
    filter: Arc<Filter>,
    passwords: Arc<Passwords>,
    attempt: Attempt,
    worker: usize,
}

/// Judges a request; none lets it in.
pub(super) fn guard(
    head: &mut RequestHead<'_>,
    filter: &Arc<Filter>,
    caller: IpAddr,
    judge: Judge<'_>,
) -> Option<Box<Refused>> {
    let asked = filter::Asked {
        client: caller,
        method: head.method,
        path: Path::of(head.path),
        fields: head.fields(),
        now: Instant::now(),
        worker: judge.worker,
    };
    if let Some(user) = filter.user(&asked) {
        judge.flight.said.borrow_mut().user = user;
        head.keeps_credentials = true;
    }
    let refusal = match judge.look {
        Look::First => filter.refuses(&asked),
        Look::Again | Look::Received => filter.refuses_still(&asked),
    };
    let mut comparison = None;
    let fault = match refusal? {
        Refusal::Client => Fault::Denied,
        Refusal::Path => Fault::BlockedPath,
        Refusal::Rate(zone, wait) => Fault::RateLimited {
            limit: zone.settings().name.as_str().into(),
            wait,
        },
        Refusal::Attempts(wait) => Fault::RateLimited {
            limit: "wrong passwords".into(),
            wait,
        },
        Refusal::Password(passwords) => unauthorized(&passwords),
        Refusal::Compare(passwords, attempt) => {
            let fault = unauthorized(&passwords);
            comparison = Some(Comparison {
                filter: Arc::clone(filter),
                passwords,
                attempt,
                worker: judge.worker,
            });
            fault
        }
    };
    Some(Box::new(Refused {
        length: head.length,
        asked: Asked::of(head),
        framing: head.framing,
        fault,
        comparison,
    }))
}

fn unauthorized(passwords: &Passwords) -> Fault {
    Fault::Unauthorized {
        realm: Arc::clone(passwords.realm()),
    }
}

impl Comparison {
    /// Whether the password was right.
    pub(super) async fn carry_out(self, flight: &Flight) -> Result<bool, Fault> {
        flight.at(State::Queued);
        flight.arm(Timer::Password, PATIENCE);
        let compared = self.passwords.compare(self.attempt).await;
        flight.disarm();
        match compared {
            Compared::Right => Ok(true),
            Compared::Wrong => {
                self.filter.password_refused(self.worker);
                Ok(false)
            }
            Compared::Busy => Err(Fault::QueueFull),
        }
    }
}
