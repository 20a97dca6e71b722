//! Versions of modules: in the database, in the code, and whether they belong together.

use crate::tls::digest;
use serde_json::Value;
use std::cmp::Ordering;
use std::fmt::Write;

/// The version of a module where it is not.
const ABSENT: &str = "none";

/// How many are named; the others are counted.
const NAMED: usize = 5;

/// One installed module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) in_database: String,
    pub(super) in_code: String,
}

/// As `search_read` gives them; none when that is something else.
pub(super) fn modules(result: &Value) -> Option<Vec<Module>> {
    let modules = result.as_array()?.iter().map(|module| {
        // What is not there is `false` in Odoo.
        let text = |key: &str| module.get(key)?.as_str().map(str::to_owned);
        Some(Module {
            name: text("name")?,
            in_database: text("latest_version").unwrap_or_else(|| ABSENT.to_owned()),
            in_code: text("installed_version").unwrap_or_else(|| ABSENT.to_owned()),
        })
    });
    modules.collect()
}

/// What a look at all modules says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutOfStep {
    pub(super) said: String,
    /// Of those whose code is newer, for the command that updates them; empty when there is none.
    pub(super) to_update: Vec<String>,
    /// Code of some modules is older than the database.
    pub(super) has_older: bool,
}

/// None when every module is in the database as it is in the code.
pub(super) fn out_of_step(modules: &[Module]) -> Option<OutOfStep> {
    let differ = |module: &&Module| module.in_database != module.in_code;
    let differing: Vec<&Module> = modules.iter().filter(differ).collect();
    if differing.is_empty() {
        return None;
    }
    let is = |wanted: Ordering| {
        let differing = differing.iter().copied();
        differing.filter(move |it| compare(&it.in_code, &it.in_database) == wanted)
    };
    let (newer, older) = (is(Ordering::Greater).count(), is(Ordering::Less).count());
    let verdict = match (newer, older) {
        (_, 0) if newer == differing.len() => "the code is newer than the database",
        (0, _) if older == differing.len() => "the code is older than the database",
        _ => "code and database are out of step",
    };
    let named: Vec<String> = differing.iter().take(NAMED).map(|it| words(it)).collect();
    let mut said = format!("{verdict}: {}", named.join(", "));
    if differing.len() > NAMED {
        let _ = write!(said, " and {} more", differing.len() - NAMED);
    }
    let to_update = is(Ordering::Greater).map(|module| module.name.clone());
    Some(OutOfStep {
        said,
        to_update: to_update.collect(),
        has_older: older > 0,
    })
}

fn words(module: &Module) -> String {
    let Module {
        name,
        in_database,
        in_code,
    } = module;
    format!("{name} is {in_code} in the code and {in_database} in the database")
}

/// Part by part, numbers as numbers.
fn compare(one: &str, other: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(Option<u64>, String)> {
        let parts = text.split('.');
        parts.map(|it| (it.parse().ok(), it.to_owned())).collect()
    };
    let (one, other) = (parts(one), parts(other));
    for (one, other) in one.iter().zip(&other) {
        let order = match (one.0, other.0) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ => one.1.cmp(&other.1),
        };
        if order.is_ne() {
            return order;
        }
    }
    one.len().cmp(&other.len())
}

/// The same for databases with the same modules in the same versions, whatever their order.
pub(super) fn fingerprint(modules: &[Module]) -> String {
    digested(modules, |module| &module.in_database)
}

/// The fingerprint of the database that this code is made for.
///
/// That is the database as it is, unless it holds something newer than the code: code that waits for its update
/// served this database, and may serve it again.
pub(super) fn wanted_by_code(modules: &[Module]) -> String {
    let is_behind = |module: &Module| {
        module.in_code == ABSENT || compare(&module.in_code, &module.in_database).is_lt()
    };
    if modules.iter().any(is_behind) {
        digested(modules, |module| &module.in_code)
    } else {
        fingerprint(modules)
    }
}

fn digested(modules: &[Module], version: impl Fn(&Module) -> &str) -> String {
    let mut lines: Vec<String> = modules
        .iter()
        .map(|module| format!("{}={}\n", module.name, version(module)))
        .collect();
    lines.sort();
    let mut hex = String::new();
    for byte in digest(lines.concat().as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, in_database: &str, in_code: &str) -> Module {
        Module {
            name: name.to_owned(),
            in_database: in_database.to_owned(),
            in_code: in_code.to_owned(),
        }
    }

    fn said(modules: &[Module]) -> String {
        out_of_step(modules).map_or(String::new(), |it| it.said)
    }

    #[test]
    fn code_that_is_newer_or_older_than_the_database_is_told_as_that() {
        let base = module("base", "18.0.1.3", "18.0.1.3");
        assert_eq!(said(std::slice::from_ref(&base)), "");
        assert_eq!(
            said(&[base.clone(), module("sale", "18.0.1.9", "18.0.1.10")]),
            "the code is newer than the database: sale is 18.0.1.10 in the code and 18.0.1.9 in the database"
        );
        let older = out_of_step(&[base, module("sale", "18.0.2.0", "18.0.1.10")]).unwrap();
        assert!(
            older
                .said
                .starts_with("the code is older than the database")
        );
        assert!(older.has_older && older.to_update.is_empty());
    }

    #[test]
    fn many_differences_are_counted() {
        let many: Vec<Module> = (0..8)
            .map(|number| module(&format!("m{number}"), "1.0", "1.1"))
            .collect();
        let all = out_of_step(&many).unwrap();
        assert!(all.said.ends_with(" and 3 more"), "{}", all.said);
        assert_eq!(all.to_update.len(), 8);
        let mut mixed = many;
        mixed.push(module("x", "2.0", "1.0"));
        assert!(said(&mixed).starts_with("code and database are out of step"));
    }

    #[test]
    fn code_wants_another_database_only_where_the_database_is_ahead_of_it() {
        let as_is = [module("web", "1.0", "1.0"), module("lab", "1.9", "1.9")];
        assert_eq!(wanted_by_code(&as_is), fingerprint(&as_is));
        let waits = [module("web", "1.0", "1.0"), module("lab", "1.9", "1.10")];
        assert_eq!(wanted_by_code(&waits), fingerprint(&waits));
        let behind = [module("web", "1.0", "1.0"), module("lab", "1.10", "1.9")];
        assert_eq!(wanted_by_code(&behind), fingerprint(&as_is));
        let unknown = [module("web", "1.0", "1.0"), module("lab", "1.9", ABSENT)];
        assert_ne!(wanted_by_code(&unknown), fingerprint(&unknown));
    }

    #[test]
    fn a_fingerprint_is_of_the_database_alone() {
        let one = [module("a", "1.0", "1.0"), module("b", "2.0", "2.0")];
        let other = [module("b", "2.0", "2.1"), module("a", "1.0", "1.0")];
        assert_eq!(fingerprint(&one), fingerprint(&other));
        assert_eq!(fingerprint(&one).len(), 64);
        let moved = [module("a", "1.1", "1.1"), module("b", "2.0", "2.0")];
        assert_ne!(fingerprint(&one), fingerprint(&moved));
    }

    #[test]
    fn what_is_no_list_of_modules_is_none() {
        assert!(modules(&serde_json::json!(false)).is_none());
        assert!(modules(&serde_json::json!([{"id": 1}])).is_none());
        let some = modules(&serde_json::json!([{"name": "a", "latest_version": false}]));
        assert_eq!(some.unwrap()[0].in_database, "none");
    }
}
