//! What a config leaves open that its operator may want to say: no mistake, and nothing is refused for it.

use super::gates::GateKind;
use super::settings::{Service, Settings};
use super::units::format_duration;
use crate::switch::FailbackMode;

/// One sentence each; empty where there is nothing to say.
#[must_use]
pub fn advice(settings: &Settings) -> Vec<String> {
    settings.services.iter().flat_map(of_service).collect()
}

fn of_service(service: &Service) -> impl Iterator<Item = String> {
    let name = &service.name;
    let moves = service.failback.mode != FailbackMode::Off && service.failback.max_moves > 0;
    let is_open = service.shared.is_none() && !service.shares_nothing;
    let shared = (moves && is_open).then(|| {
        let example = if is_odoo(service) {
            "127.0.0.1:5432"
        } else {
            "HOST:PORT"
        };
        format!(
            "service {name}: nothing says what its slots share, so a database that restarts cannot be told from a \
             dead slot at once; add [service.{name}.shared] with tcp = \"{example}\" (or \"off\", if they share \
             nothing)"
        )
    });
    let looks = |gate: &super::Gate| matches!(gate.kind, GateKind::Odoo(_));
    let database = (is_odoo(service) && !service.gates.iter().any(looks)).then(|| {
        format!(
            "service {name}: no gate looks at the database, so traffic may move to code that does not fit its \
             modules; add [[service.{name}.gate]] with kind = \"odoo\" (docs/gates.md)"
        )
    });
    shared.into_iter().chain(database).chain(drain(service))
}

/// A drain that cuts off what the timeouts let run.
fn drain(service: &Service) -> Option<String> {
    let (name, flip) = (&service.name, &service.flip);
    let longest = service.timeouts.longest();
    let (key, time) = [
        ("drain_requests", flip.drain_requests),
        ("drain_transfers", flip.drain_transfers),
    ]
    .into_iter()
    .min_by_key(|(_, time)| *time)
    .filter(|(_, time)| *time < longest)?;
    let bound = match service.timeouts.total {
        Some(_) => "total",
        None => "first_byte",
    };
    Some(format!(
        "service {name}: a request may run for {}, and a flip cuts it off after {}, done or not; write {key} = \"auto\" \
         in [service.{name}.flip] (as long as a request may run), or shorten {bound} in [service.{name}.timeouts]",
        format_duration(longest),
        format_duration(time),
    ))
}

/// By where its health is asked for: the preset leaves no other trace.
fn is_odoo(service: &Service) -> bool {
    let mut members = service.slots.iter().flat_map(|slot| &slot.members);
    members.any(|member| member.health.path == "/web/health")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use std::path::Path;

    fn of(keys: &str) -> Vec<String> {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:8080\"\n[service.erp]\n{keys}\n\
             [service.erp.slots.blue]\nhttp = [\"127.0.0.1:8069\"]\n\
             [service.erp.slots.green]\nhttp = [\"127.0.0.1:8169\"]\n"
        );
        advice(&parse(&text, Path::new("switchd.toml")).unwrap())
    }

    #[test]
    fn what_the_slots_share_is_asked_for_until_it_is_said() {
        assert_eq!(of("shared.tcp = \"127.0.0.1:5432\""), [""; 0]);
        assert_eq!(of("shared.tcp = \"off\""), [""; 0]);
        assert_eq!(of("failback.mode = \"off\""), [""; 0]);
        let asked = of("");
        assert_eq!(asked.len(), 1);
        assert!(
            asked[0].contains("add [service.erp.shared] with tcp"),
            "{asked:?}"
        );
    }

    #[test]
    fn a_drain_that_is_shorter_than_what_may_run_is_told_of() {
        let quiet = "shared.tcp = \"off\"\n";
        for fine in [
            "",
            "flip.drain_timeout = \"auto\"",
            "flip.drain_timeout = \"1m\"",
            "flip.drain_websockets = \"1s\"",
            "flip.drain_requests = \"10s\"\nflip.drain_transfers = \"10s\"\ntimeouts.total = \"10s\"",
        ] {
            assert_eq!(of(&format!("{quiet}{fine}")), [""; 0], "{fine}");
        }
        for (short, told) in [
            (
                "flip.drain_timeout = \"30s\"",
                "for 1m, and a flip cuts it off after 30s",
            ),
            (
                "flip.drain_transfers = \"7s\"",
                "write drain_transfers = \"auto\"",
            ),
            (
                "flip.drain_requests = \"2m\"\npreset = \"odoo\"",
                "for 12m, and a flip cuts it off after 2m",
            ),
            (
                "flip.drain_requests = \"2m\"\ntimeouts.total = \"5m\"",
                "shorten total",
            ),
        ] {
            let asked = of(&format!("{quiet}{short}"));
            let last = asked.last().unwrap();
            assert!(last.contains(told), "{asked:?}");
        }
    }

    #[test]
    fn an_odoo_without_a_gate_at_its_database_is_told_of() {
        let asked = of("preset = \"odoo\"");
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert!(asked[0].contains("tcp = \"127.0.0.1:5432\""), "{asked:?}");
        assert!(asked[1].contains("kind = \"odoo\""), "{asked:?}");
    }
}
