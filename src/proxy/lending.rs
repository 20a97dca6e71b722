//! Connections to upstreams between two requests: lent to the next one, and given back.

use super::belongings::Proxy;
use super::flight::Flight;
use crate::config::Keepalive;
use crate::net::Stream;
use crate::upstream::Lane;
use std::time::Duration;

/// A request that must not be sent twice only rides on a connection that was in use this recently:
/// an upstream that closes idle connections closes older ones.
const FRESH: Duration = Duration::from_secs(1);

/// A connection that was kept for this lane, if one may be used again.
pub(super) fn lend(proxy: &Proxy, lane: Lane, reuse: bool, replayable: bool) -> Option<Stream> {
    let fresh = u64::try_from(FRESH.as_millis()).unwrap_or(0);
    let since = if replayable {
        0
    } else {
        proxy.clock.get().saturating_sub(fresh)
    };
    if reuse {
        proxy.pools.take(lane, since)
    } else {
        None
    }
}

/// To the pool, where connections are kept.
pub(super) fn give_back(proxy: &Proxy, flight: &Flight, stream: Stream, lane: Lane) {
    let seat = flight.seat.borrow();
    let Some(seat) = seat.as_ref() else { return };
    let keepalive = seat.ticket.service().settings.keepalive.of(seat.member());
    let ceiling = seat.ticket.view().descriptors.ceiling;
    keep(proxy, (keepalive, ceiling), stream, lane);
}

/// Keeps a connection that is between two requests, where connections are kept and its descriptor is below the
/// ceiling.
pub(super) fn keep(
    proxy: &Proxy,
    (keepalive, ceiling): (&Keepalive, u64),
    stream: Stream,
    lane: Lane,
) {
    if keepalive.enabled && stream.descriptor().is_none_or(|it| it < ceiling) {
        let now = proxy.clock.get();
        let idle = u64::try_from(keepalive.idle.as_millis()).unwrap_or(u64::MAX);
        let until = now.saturating_add(idle);
        proxy
            .pools
            .put(lane, stream, now, (until, keepalive.max_idle));
    }
}
