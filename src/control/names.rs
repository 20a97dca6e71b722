//! How it stands with the host names of this process, for the status and the metrics.

use super::clock::millis;
use crate::api::NameStatus;
use crate::net::NameState;
use crate::net::resolver;
use crate::telemetry::NameFigures;

pub(super) fn statuses() -> Vec<NameStatus> {
    let reports = resolver().reports().into_iter();
    let statuses = reports.map(|report| NameStatus {
        host: report.host.to_string(),
        state: report.state.as_str().to_owned(),
        addresses: report.addresses.iter().map(ToString::to_string).collect(),
        age_ms: report.age.map(millis),
        error: report.trouble.map(|words| words.to_string()),
    });
    statuses.collect()
}

pub(super) fn figures() -> NameFigures {
    let counts = resolver().counts();
    let reports = resolver().reports();
    let in_state = |state: NameState| reports.iter().filter(|it| it.state == state).count() as u64;
    let stale = reports.iter().filter(|it| it.state == NameState::Stale);
    NameFigures {
        found: counts.found,
        absent: counts.absent,
        failed: counts.failed,
        states: NameState::ALL.map(|state| (state.as_str(), in_state(state))),
        oldest_ms: stale.filter_map(|it| it.age).max().map_or(0, millis),
    }
}
