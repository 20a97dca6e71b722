//! How many connections fit into the file descriptors that this process may open.

use super::settings::Settings;
use std::fmt;

/// Even where nothing fits: a site that answers a few is better than one that does not start.
const LEAST: u64 = 8;
/// Of a process without workers: logs, signals, sockets of the admin API, files of the state.
const BASE: u64 = 32;
/// Of one worker, without its listeners.
const WORKER: u64 = 8;
/// Kept for what must go on whatever clients do: probes, gates, the admin socket, the journal, hooks, look-ups.
const KEPT: u64 = 64;
/// Of probes and gates, for each endpoint, and for all.
const PROBES: u64 = 2;
const MOST_PROBES: u64 = 448;

/// What the descriptors of this process are shared out to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// What the process may open.
    pub limit: u64,
    /// What the config asks for.
    pub wanted: u64,
    /// `limits.connections` as configured.
    pub configured: usize,
    /// Client connections for which there are enough, an upstream connection for each included.
    pub connections: usize,
    /// From this number on, descriptors are kept for what must go on. The kernel gives the lowest free number, so
    /// that whoever gets a number below it takes nothing of those.
    pub ceiling: u64,
}

impl Default for Descriptors {
    /// As many as anybody likes.
    fn default() -> Self {
        Self {
            limit: u64::MAX,
            wanted: 0,
            configured: usize::MAX,
            connections: usize::MAX,
            ceiling: u64::MAX,
        }
    }
}

impl Descriptors {
    /// Shares out `limit`.
    #[must_use]
    pub fn of(settings: &Settings, limit: u64) -> Self {
        let workers = settings.runtime.workers as u64;
        let listeners = settings.listeners.len() as u64;
        let slots = settings.services.iter().flat_map(|service| &service.slots);
        let members = slots.flat_map(|slot| &slot.members);
        let endpoints: usize = members.map(|member| member.addresses.len()).sum();
        let base = BASE + workers * (WORKER + listeners);
        let kept = KEPT + (PROBES * endpoints as u64).min(MOST_PROBES);
        let configured = settings.limits.connections;
        let wanted = base + kept + 2 * configured as u64;
        let kept = kept.min(limit / 4);
        // A client's connection and one to its upstream.
        let fitting = (limit.saturating_sub(base + kept) / 2).max(LEAST);
        Self {
            limit,
            wanted,
            configured,
            connections: usize::try_from(fitting).map_or(configured, |it| it.min(configured)),
            ceiling: limit - kept,
        }
    }

    /// Fewer connections are served at once than the config says.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.connections < self.configured
    }
}

/// What is short, and what to do about it.
impl fmt::Display for Descriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            limit,
            wanted,
            configured,
            connections,
            ..
        } = self;
        write!(
            f,
            "at most {connections} client connections at once, not {configured} (limits.connections): the process may open {limit} files; set LimitNOFILE={wanted} in its unit (`ulimit -Hn {wanted}`), or lower limits.connections"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn settings(connections: usize) -> Settings {
        let text = format!(
            "[runtime]\nworkers = 2\n[limits]\nconnections = {connections}\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
             [service.app.slots.blue]\nhttp = [\"127.0.0.1:1\"]\n[service.app.slots.green]\nhttp = [\"127.0.0.1:2\"]\n"
        );
        crate::config::parse(&text, Path::new("t.toml")).unwrap()
    }

    #[test]
    fn every_client_has_room_for_its_upstream_and_something_is_kept() {
        for limit in [256, 1024, 4096, 65_536] {
            let shared = Descriptors::of(&settings(20_000), limit);
            let taken = 2 * shared.connections as u64;
            assert!(
                taken < shared.ceiling && shared.ceiling < limit,
                "{shared:?}"
            );
            assert_eq!(shared.is_short(), limit < shared.wanted, "{shared:?}");
        }
    }

    #[test]
    fn enough_descriptors_leave_the_config_as_it_is() {
        let shared = Descriptors::of(&settings(20_000), 1 << 20);
        assert_eq!((shared.connections, shared.is_short()), (20_000, false));
        let shared = Descriptors::of(&settings(20_000), u64::MAX);
        assert!(!shared.is_short());
    }

    #[test]
    fn with_next_to_none_a_few_are_served() {
        for limit in [0, 16, 64] {
            let shared = Descriptors::of(&settings(20_000), limit);
            assert_eq!(shared.connections, 8, "{shared:?}");
        }
        assert_eq!(Descriptors::of(&settings(3), 64).connections, 3);
    }

    #[test]
    fn words_name_both_limits_and_the_mend() {
        let words = Descriptors::of(&settings(20_000), 1024).to_string();
        assert!(words.contains("may open 1024 files"), "{words}");
        assert!(words.contains("not 20000 (limits.connections)"), "{words}");
        assert!(words.contains("LimitNOFILE=40"), "{words}");
    }
}
