//! Which endpoint of a member gets the next request.

use crate::live::Endpoint;
use crate::live::Member;
use crate::live::Wellness;
use std::sync::Arc;

/// The endpoint with the fewest requests in flight among those that are well and not in `tried`;
/// when none of those is well, among the others: a bad answer is better than none.
///
/// Gives its place in the member; none when all were tried.
#[must_use]
pub fn pick(member: &Member, tried: &[usize]) -> Option<usize> {
    if let ([_], []) = (member.endpoints.as_slice(), tried) {
        return Some(0);
    }
    // Starting anywhere spreads requests over endpoints that are equally busy.
    let count = member.endpoints.len();
    let first = fastrand::usize(..count.max(1));
    (0..count)
        .map(|step| (first + step) % count)
        .filter(|at| !tried.contains(at))
        .min_by_key(|at| load(&member.endpoints[*at]))
}

fn load(endpoint: &Arc<Endpoint>) -> (bool, u64) {
    (
        endpoint.health.get() == Wellness::Unhealthy,
        endpoint.in_flight.counts().total(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::EndpointId;
    use crate::live::Kind;
    use crate::switch::MemberName;

    fn member(count: u32) -> Member {
        let endpoint = |id: u32| {
            let address = format!("127.0.0.1:{}", 8000 + id).parse().unwrap();
            Arc::new(Endpoint::new(EndpointId(id), address, 1))
        };
        Member {
            name: MemberName::new("http").unwrap(),
            endpoints: (0..count).map(endpoint).collect(),
        }
    }

    #[test]
    fn the_least_busy_endpoint_that_is_well_gets_the_request() {
        let member = member(3);
        member.endpoints[0].in_flight.enter(0, Kind::Request);
        member.endpoints[2].health.set(Wellness::Unhealthy);
        assert_eq!(pick(&member, &[]), Some(1));
        assert_eq!(pick(&member, &[1]), Some(0), "a busy one before a bad one");
        assert_eq!(pick(&member, &[0, 1]), Some(2), "a bad one before none");
        assert_eq!(pick(&member, &[0, 1, 2]), None);
    }

    #[test]
    fn equally_busy_endpoints_take_turns() {
        let member = member(2);
        let mut seen = [0, 0];
        for _ in 0..200 {
            seen[pick(&member, &[]).unwrap()] += 1;
        }
        assert!(seen[0] > 50 && seen[1] > 50, "{seen:?}");
    }
}
