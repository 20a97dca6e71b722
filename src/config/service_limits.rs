//! What the clients of one service may send, where that differs from `[limits]`.

use super::change::Differences;
use super::keys::{Section, key, section};
use super::sections;
use super::settings::Limits;
use super::table::Table;
use super::units::format_size;

/// Bounds for one service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceLimits {
    /// Bytes of a request body, 0 being no limit; none where it is as for all services.
    pub body_bytes: Option<u64>,
}

impl ServiceLimits {
    /// Bytes of a body where all services have `common`.
    #[must_use]
    pub fn most_body(&self, common: u64) -> u64 {
        self.body_bytes.unwrap_or(common)
    }
}

pub(super) const SERVICE_LIMITS: Section =
    section("service.NAME.limits", &[key("body_size", r#""128MiB""#)]);

/// Reads `[service.NAME.limits]`; what is not written there is as for all services.
pub(super) fn read(service: &Table<'_>, common: &Limits) -> ServiceLimits {
    let table = service.table("limits", &SERVICE_LIMITS);
    ServiceLimits {
        body_bytes: sections::body_bytes(&table).filter(|bytes| *bytes != common.body_bytes),
    }
}

/// What a reload changes.
pub(super) fn changes(lines: &mut Differences, old: &ServiceLimits, new: &ServiceLimits) {
    let size = |limits: &ServiceLimits| match limits.body_bytes {
        None => "as for all".to_owned(),
        Some(0) => "none".to_owned(),
        Some(bytes) => format_size(bytes),
    };
    lines.value("limits body_size", &size(old), &size(new));
}
