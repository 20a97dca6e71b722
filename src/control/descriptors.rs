//! What clients may take of the descriptors of this process, and telling when that is less than was asked for.

use super::conductor::Conductor;
use crate::api::DescriptorsStatus;
use crate::config::Descriptors;
use crate::config::Limits;
use crate::config::Settings;
use crate::net::descriptor_limit;

/// The limits of `settings`, as far as the descriptors go.
pub(super) fn within(descriptors: &Descriptors, settings: &Settings) -> Limits {
    let mut limits = settings.limits.clone();
    limits.connections = limits.connections.min(descriptors.connections);
    limits
}

/// A warning where there are fewer than the config asks for.
pub(super) fn tell(settings: &Settings) {
    let descriptors = Descriptors::of(settings, descriptor_limit());
    if descriptors.is_short() {
        let Descriptors {
            limit,
            wanted,
            configured,
            connections,
            ..
        } = descriptors;
        let help = descriptors.to_string();
        tracing::warn!(
            limit,
            wanted,
            configured,
            connections,
            help,
            "too few file descriptors for limits.connections"
        );
    }
}

impl Conductor {
    pub(super) fn descriptors_status(&self) -> DescriptorsStatus {
        let descriptors = Descriptors::of(&self.settings, descriptor_limit());
        DescriptorsStatus {
            limit: descriptors.limit,
            wanted: descriptors.wanted,
            connections: descriptors.connections as u64,
            problem: descriptors.is_short().then(|| descriptors.to_string()),
        }
    }
}
