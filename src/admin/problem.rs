//! Errors as RFC 9457 problems.

use crate::api::Problem;
use crate::control::Denied;
use crate::switch::Refusal;
use http::StatusCode;

fn problem(status: StatusCode, kind: &str, detail: String) -> Problem {
    Problem {
        kind: kind.to_owned(),
        title: status.canonical_reason().unwrap_or_default().to_owned(),
        status: status.as_u16(),
        detail,
        way_around: None,
        reasons: Vec::new(),
    }
}

/// A mistake in the request itself.
pub(super) fn plain(status: StatusCode, detail: &str) -> Problem {
    problem(status, "about:blank", detail.to_owned())
}

pub(super) fn bad_request(detail: &str) -> Problem {
    plain(StatusCode::BAD_REQUEST, detail)
}

pub(super) fn unknown(detail: String) -> Problem {
    problem(StatusCode::NOT_FOUND, "urn:switchd:unknown", detail)
}

fn refused(detail: String) -> Problem {
    let title = "Refused".to_owned();
    Problem {
        title,
        ..problem(StatusCode::CONFLICT, "urn:switchd:refused", detail)
    }
}

/// What control did not do, and how to get one's way where there is one.
pub(super) fn denied(denied: Denied) -> Problem {
    let detail = denied.to_string();
    match denied {
        Denied::UnknownService { .. }
        | Denied::UnknownSlot { .. }
        | Denied::Refused(Refusal::UnknownSlot { .. }) => unknown(detail),
        Denied::Refused(refusal) => Problem {
            way_around: way_around(&refusal).map(str::to_owned),
            ..refused(detail)
        },
        Denied::Config(reasons) => Problem {
            reasons,
            ..refused(detail)
        },
        Denied::Journal(error) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            problem(status, "urn:switchd:journal", error.in_words())
        }
        Denied::Stopping | Denied::Busy(_) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "urn:switchd:busy", detail)
        }
    }
}

fn way_around(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::ForceNeedsReason => Some("--force --reason \"...\""),
        Refusal::NothingToRollBackTo { .. } => Some("switchctl flip SLOT"),
        Refusal::Outdated { .. } => Some("ask again without --expect-generation"),
        Refusal::UnknownSlot { .. }
        | Refusal::Busy { .. }
        | Refusal::NotQuarantined { .. }
        | Refusal::SlotInUse { .. } => None,
    }
}
