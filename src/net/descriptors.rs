//! How many file descriptors this process may open.

use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;

/// Asked for where there is no hard limit: the kernel's own usual maximum (`fs.nr_open`).
const MANY: u64 = 1 << 20;

/// Raises the soft limit to the hard one, which needs no rights. Where that fails, what was allowed before stays.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(MANY);
    if limit.current.is_some_and(|current| current < most) {
        let raised = Rlimit {
            current: Some(most),
            maximum: limit.maximum,
        };
        // Above `fs.nr_open` it is refused.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

/// What the process may open now.
#[must_use]
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// What it could raise its limit to.
#[must_use]
pub fn hard_descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}
