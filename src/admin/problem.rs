//! Errors as RFC 9457 problems.

use crate::api::Problem;
use crate::control::Denied;
use crate::control::HoldRefusal;
use crate::switch::CanaryRefusal;
use crate::switch::Refusal;
use http::Method;
use http::StatusCode;
use std::ops::Deref;

/// An error on its way to the client. Boxed: it is much larger than what comes back as a rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong(Box<Problem>);

impl Deref for Wrong {
    type Target = Problem;

    fn deref(&self) -> &Problem {
        &self.0
    }
}

/// Why a request leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoRoute {
    pub(super) problem: Wrong,
    /// The methods that would have been right.
    pub(super) allow: Vec<Method>,
}

impl NoRoute {
    pub(super) fn path(problem: Wrong) -> Self {
        Self {
            problem,
            allow: Vec::new(),
        }
    }

    pub(super) fn method(path: &str, method: &Method, allowed: Vec<Method>) -> Self {
        let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
        let detail = format!("{path} takes {}, not {method}", names.join(" and "));
        Self {
            problem: plain(StatusCode::METHOD_NOT_ALLOWED, &detail),
            allow: allowed,
        }
    }
}

fn problem(status: StatusCode, kind: &str, detail: String) -> Wrong {
    Wrong(Box::new(Problem {
        kind: kind.to_owned(),
        title: status.canonical_reason().unwrap_or_default().to_owned(),
        status: status.as_u16(),
        detail,
        way_around: None,
        reasons: Vec::new(),
    }))
}

/// A mistake in the request itself.
pub(super) fn plain(status: StatusCode, detail: &str) -> Wrong {
    problem(status, "about:blank", detail.to_owned())
}

pub(super) fn bad_request(detail: &str) -> Wrong {
    plain(StatusCode::BAD_REQUEST, detail)
}

pub(super) fn undelivered(detail: String) -> Wrong {
    problem(StatusCode::BAD_GATEWAY, "urn:switchd:undelivered", detail)
}

pub(super) fn forbidden(detail: &str) -> Wrong {
    problem(
        StatusCode::FORBIDDEN,
        "urn:switchd:forbidden",
        detail.to_owned(),
    )
}

pub(super) fn unknown(detail: String) -> Wrong {
    problem(StatusCode::NOT_FOUND, "urn:switchd:unknown", detail)
}

fn refused(detail: String) -> Wrong {
    let mut refused = problem(StatusCode::CONFLICT, "urn:switchd:refused", detail);
    "Refused".clone_into(&mut refused.0.title);
    refused
}

/// What control did not do, and how to get one's way where there is one.
pub(super) fn denied(denied: Denied) -> Wrong {
    let detail = denied.to_string();
    match denied {
        Denied::UnknownService { .. }
        | Denied::UnknownSlot { .. }
        | Denied::Refused(Refusal::UnknownSlot { .. }) => unknown(detail),
        Denied::Refused(refusal) => {
            let mut refused = refused(detail);
            refused.0.way_around = way_around(&refusal).map(str::to_owned);
            refused
        }
        Denied::Hold(refusal) => {
            let mut refused = refused(detail);
            refused.0.way_around = hold_way_around(&refusal).map(str::to_owned);
            refused
        }
        Denied::Shadow(_) | Denied::Gating { .. } | Denied::Preview(_) => refused(detail),
        Denied::Config(reasons) => {
            let mut refused = refused(detail);
            refused.0.reasons = reasons;
            refused
        }
        Denied::Journal(error) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            problem(status, "urn:switchd:journal", error.in_words())
        }
        Denied::Stopping | Denied::Busy(_) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "urn:switchd:busy", detail)
        }
    }
}

fn hold_way_around(refusal: &HoldRefusal) -> Option<&'static str> {
    match refusal {
        HoldRefusal::Held { .. } => Some("switchctl release"),
        HoldRefusal::TooLong { .. } | HoldRefusal::NotHeld { .. } => None,
    }
}

fn way_around(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::ForceNeedsReason => Some("--force --reason \"...\""),
        Refusal::NothingToRollBackTo { .. } => Some("switchctl flip SLOT"),
        Refusal::Outdated { .. } => Some("ask again without --expect-generation"),
        Refusal::Canary(CanaryRefusal::None { .. } | CanaryRefusal::NoSteps) => {
            Some("switchctl canary SLOT 5%")
        }
        Refusal::Canary(CanaryRefusal::Another { .. }) => Some("switchctl canary abort"),
        Refusal::SchemaMoved { .. } => Some("--accept-schema-change"),
        Refusal::Quarantined { .. } => Some("--ack"),
        Refusal::UnknownSlot { .. }
        | Refusal::Canary(CanaryRefusal::OnActive { .. })
        | Refusal::NothingToConfirm { .. }
        | Refusal::NothingToCancel { .. }
        | Refusal::TooLateToCancel { .. }
        | Refusal::Busy { .. }
        | Refusal::NotQuarantined { .. }
        | Refusal::SlotInUse { .. } => None,
    }
}
