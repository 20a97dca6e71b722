//! One worker's end of one listener: what every connection that comes in there shares.

use crate::filter::Crowd;
use crate::proxy::Flight;
use crate::telemetry::EdgeMetrics;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// Handshakes that one worker has under way over all listeners; one more ends the oldest.
///
/// An honest client is done in a round trip or two: those that are crowded out first are those that
/// open connections and say nothing. Each may hold some 16 kB.
const MOST_HANDSHAKES: usize = 1024;

/// One worker's end of one listener.
#[derive(Debug)]
pub(super) struct Door {
    /// Its place among the listeners of the View.
    pub index: usize,
    /// As bound.
    pub port: u16,
    /// Of every worker: connections are counted over all.
    pub all: Arc<[Arc<EdgeMetrics>]>,
    pub handshakes: Rc<Handshakes>,
    /// Connections by client, over all workers.
    pub crowd: Arc<Crowd>,
}

/// Handshakes under way on this worker, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Handshakes(RefCell<VecDeque<Rc<Flight>>>);

impl Handshakes {
    /// Lets one more begin, and ends the oldest where there are too many. It counts until it is dropped.
    pub(super) fn begin(self: &Rc<Self>, flight: &Rc<Flight>) -> UnderWay {
        let mut all = self.0.borrow_mut();
        if all.len() >= MOST_HANDSHAKES
            && let Some(oldest) = all.pop_front()
        {
            oldest.kill();
        }
        all.push_back(flight.clone());
        UnderWay {
            all: self.clone(),
            flight: flight.clone(),
        }
    }
}

/// A handshake under way.
pub(super) struct UnderWay {
    all: Rc<Handshakes>,
    flight: Rc<Flight>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut all = self.all.0.borrow_mut();
        let mine = |flight: &Rc<Flight>| Rc::ptr_eq(flight, &self.flight);
        if let Some(at) = all.iter().position(mine) {
            all.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Clock;
    use crate::proxy::Fault;

    #[tokio::test]
    async fn one_handshake_too_many_ends_the_oldest_that_is_still_under_way() {
        let handshakes = Rc::new(Handshakes::default());
        let flights: Vec<_> = (0..=MOST_HANDSHAKES)
            .map(|_| Flight::new(Clock::default(), ""))
            .collect();
        let mut under_way: VecDeque<_> = flights[..MOST_HANDSHAKES]
            .iter()
            .map(|flight| handshakes.begin(flight))
            .collect();
        // The first is over: the second is the oldest.
        under_way.pop_front();
        under_way.push_back(handshakes.begin(&flights[MOST_HANDSHAKES]));
        assert_eq!(handshakes.0.borrow().len(), MOST_HANDSHAKES);
        let late = Flight::new(Clock::default(), "");
        under_way.push_back(handshakes.begin(&late));
        assert_eq!(handshakes.0.borrow().len(), MOST_HANDSHAKES);
        let ended = flights[1].guard(std::future::pending::<Result<(), Fault>>());
        assert!(matches!(ended.await, Err(Fault::Killed)));
        drop(under_way);
        assert!(handshakes.0.borrow().is_empty());
    }
}
