//! What a config leaves open that its operator may want to say: no mistake, and nothing is refused for it.

use super::gates::GateKind;
use super::settings::{Service, Settings};
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
    shared.into_iter().chain(database)
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
    fn an_odoo_without_a_gate_at_its_database_is_told_of() {
        let asked = of("preset = \"odoo\"");
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert!(asked[0].contains("tcp = \"127.0.0.1:5432\""), "{asked:?}");
        assert!(asked[1].contains("kind = \"odoo\""), "{asked:?}");
    }
}
