//! Which services somebody may see and touch.

use super::problem::Wrong;
use super::problem::forbidden;

/// Everything, or some services and nothing of switchd as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sight {
    Everything,
    Services(Vec<String>),
}

impl Sight {
    pub(super) fn has(&self, service: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Services(services) => services.iter().any(|it| it == service),
        }
    }

    /// # Errors
    /// 403 for a service that is out of sight, and for none at all where only some are in sight.
    pub(super) fn allow(&self, service: Option<&str>) -> Result<(), Wrong> {
        match (self, service) {
            (Self::Everything, _) => Ok(()),
            (Self::Services(_), Some(service)) if self.has(service) => Ok(()),
            (Self::Services(services), _) => Err(forbidden(&format!(
                "this token is for {} alone; name one of its services, or use another token",
                services.join(", ")
            ))),
        }
    }

    /// The names, where not everything is in sight.
    pub(super) fn services(&self) -> Option<Vec<String>> {
        match self {
            Self::Everything => None,
            Self::Services(services) => Some(services.clone()),
        }
    }
}
