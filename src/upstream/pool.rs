//! This worker's idle connections to upstreams.

use crate::live::EndpointId;
use crate::net::Stream;
use std::cell::RefCell;
use std::net::SocketAddr;

/// Connections that stand for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    pub endpoint: EndpointId,
    /// See [`crate::tls::Upstream::terms`]; 0 without TLS.
    pub terms: u64,
    /// Of an endpoint with a name: which of its addresses.
    pub address: Option<SocketAddr>,
}

/// Idle connections per lane, the last one used first: the others may grow old and be closed.
#[derive(Debug, Default)]
pub struct Pools(RefCell<Vec<Pool>>);

#[derive(Debug)]
struct Pool {
    lane: Lane,
    idle: Vec<Idle>,
}

#[derive(Debug)]
struct Idle {
    stream: Stream,
    /// On the worker's coarse clock, in milliseconds.
    since: u64,
    until: u64,
}

impl Pools {
    /// A connection that has been idle since `since` or later, and on which the upstream has said nothing
    /// in the meantime (not even goodbye). Costs no system call.
    #[must_use]
    pub fn take(&self, lane: Lane, since: u64) -> Option<Stream> {
        let mut pools = self.0.borrow_mut();
        let pool = pools.iter_mut().find(|pool| pool.lane == lane)?;
        while let Some(idle) = pool.idle.pop() {
            if idle.since < since {
                pool.idle.push(idle);
                return None;
            }
            if idle.stream.is_quiet() {
                return Some(idle.stream);
            }
        }
        None
    }

    /// Keeps a connection that is between two requests, until `until`, as one of at most `most`.
    pub fn put(&self, lane: Lane, stream: Stream, now: u64, (until, most): (u64, usize)) {
        let mut pools = self.0.borrow_mut();
        let idle = Idle {
            stream,
            since: now,
            until,
        };
        match pools.iter_mut().find(|pool| pool.lane == lane) {
            Some(pool) if pool.idle.len() < most => pool.idle.push(idle),
            None if most > 0 => pools.push(Pool {
                lane,
                idle: vec![idle],
            }),
            Some(_) | None => {}
        }
    }

    /// Closes all that are idle; how many those were.
    pub fn shed(&self) -> usize {
        let mut pools = self.0.borrow_mut();
        pools.iter_mut().map(|pool| pool.idle.drain(..).len()).sum()
    }

    /// Closes what is too old or was closed by the upstream, and forgets places that are gone.
    pub fn sweep(&self, now: u64, is_known: impl Fn(Lane) -> bool) {
        let mut pools = self.0.borrow_mut();
        for pool in pools.iter_mut() {
            pool.idle
                .retain(|idle| now < idle.until && idle.stream.is_quiet());
        }
        // Without TLS and names a lane is as old as its endpoint; terms and addresses come and go.
        pools.retain(|Pool { lane, idle }| {
            let is_lasting = lane.terms == 0 && lane.address.is_none();
            is_known(*lane) && (is_lasting || !idle.is_empty())
        });
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.borrow().iter().map(|pool| pool.idle.len()).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;

    const ONE: Lane = Lane {
        endpoint: EndpointId(1),
        terms: 0,
        address: None,
    };
    const NEXT: (u64, usize) = (1000, 2);

    async fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        (ours.into(), listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_connection_that_the_upstream_closed_or_spoke_on_is_never_lent() {
        let pools = Pools::default();
        let (closed, theirs) = pair().await;
        drop(theirs);
        closed.readable().await.unwrap();
        let (spoken, mut theirs) = pair().await;
        theirs.write_all(b"HTTP/1.1 408\r\n\r\n").await.unwrap();
        spoken.readable().await.unwrap();
        pools.put(ONE, closed, 0, NEXT);
        pools.put(ONE, spoken, 0, NEXT);
        assert_eq!(pools.len(), 2);
        assert!(pools.take(ONE, 0).is_none());
        assert!(pools.is_empty());
    }

    #[tokio::test]
    async fn however_many_were_closed_none_of_them_is_lent() {
        // More than one task may ask its runtime for in one go.
        const MANY: usize = 200;
        let pools = Pools::default();
        for _ in 0..MANY {
            let (closed, theirs) = tokio::net::UnixStream::pair().unwrap();
            drop(theirs);
            let closed = Stream::from(closed);
            closed.readable().await.unwrap();
            pools.put(ONE, closed, 0, (1000, MANY));
        }
        tokio::task::yield_now().await;
        assert_eq!(pools.len(), MANY);
        assert!(pools.take(ONE, 0).is_none());
        assert!(pools.is_empty());
    }

    #[tokio::test]
    async fn no_more_are_kept_than_allowed_nor_longer_than_allowed() {
        let pools = Pools::default();
        let mut others = Vec::new();
        for _ in 0..3 {
            let (ours, theirs) = pair().await;
            others.push(theirs);
            pools.put(ONE, ours, 500, NEXT);
        }
        assert_eq!(pools.len(), 2);
        assert!(
            pools.take(ONE, 501).is_none(),
            "idle for too long for this request"
        );
        assert!(pools.take(ONE, 500).is_some());
        pools.sweep(999, |_| true);
        assert_eq!(pools.len(), 1);
        pools.sweep(1000, |_| true);
        assert!(pools.is_empty());
    }
}
