//! The whole config as it is meant: every key with its value, and where that comes from.
//!
//! What it prints is a config again, without presets, and reads as the same settings. Defaults are taken
//! from `config/switchd.toml`, which tests hold to the truth.

use super::derived::{Layers, derived};
use super::documented;
use super::file::{self, parse};
use super::keys::{self, Names, SECTIONS, Section};
use super::presets;
use super::problem::{Problem, Report};
use super::toml_text::{bare, in_order, shown};
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const DOCUMENTED: &str = include_str!("../../config/switchd.toml");
/// Where the words on each line begin, if there is room.
const COLUMN: usize = 52;

/// Shows what a config file means in full.
///
/// Values that are kept elsewhere stay there; what is written in the file is shown as it is written.
///
/// # Errors
/// As [`super::load`].
pub fn explain(path: &Path) -> Result<String, Vec<Problem>> {
    let text = file::read_text(path)?;
    explain_text(&text, path)
}

pub(super) fn explain_text(text: &str, path: &Path) -> Result<String, Vec<Problem>> {
    parse(text, path)?;
    // It was read without a problem, so there is nothing to report.
    let report = Report::new(text);
    let mut tree = DeTable::parse_recoverable(text).0.into_inner();
    let presets = presets::named(&tree, &report);
    for preset in &presets {
        preset.lay_under(&mut tree);
    }
    let uncommented = documented::uncommented();
    let documented = defaults(&uncommented);
    let mut page = Page {
        report: &report,
        presets: presets.iter().map(presets::Preset::at).collect(),
        out: format!(
            "# {} in full: all that holds, and where it comes from.\n\n",
            path.display()
        ),
    };
    let top = Layers {
        tree: &tree,
        documented: Some(&documented),
        top: &tree,
        service: None,
    };
    page.table("", "", &top);
    Ok(page.out)
}

/// The documented keys that have a default, by table.
fn defaults(uncommented: &str) -> DeTable<'_> {
    let mut all = DeTable::parse(uncommented)
        .expect("a test reads it")
        .into_inner();
    let without = DeTable::parse(DOCUMENTED)
        .expect("a test reads it")
        .into_inner();
    remove_values(&mut all, &without);
    all
}

fn remove_values(from: &mut DeTable<'_>, what: &DeTable<'_>) {
    for (name, value) in what {
        let Some(there) = from.get_mut(&**name.get_ref()) else {
            continue;
        };
        match (there.get_mut(), value.get_ref()) {
            (DeValue::Table(there), DeValue::Table(value)) => remove_values(there, value),
            (DeValue::Array(there), DeValue::Array(value)) if is_tables(value) => {
                for (there, value) in there.iter_mut().zip(value) {
                    if let (DeValue::Table(there), DeValue::Table(value)) =
                        (there.get_mut(), value.get_ref())
                    {
                        remove_values(there, value);
                    }
                }
            }
            _ => {
                from.remove(&**name.get_ref());
            }
        }
    }
}

fn is_tables(items: &[Spanned<DeValue<'_>>]) -> bool {
    !items.is_empty() && items.iter().all(|item| item.get_ref().is_table())
}

/// What is printed.
struct Page<'p> {
    report: &'p Report<'p>,
    /// Where presets are named: their values stand there.
    presets: Vec<usize>,
    out: String,
}

impl Page<'_> {
    /// `header` as it is written, `pattern` as the sections are called.
    fn table(&mut self, header: &str, pattern: &str, layers: &Layers<'_, '_>) {
        let names = names(pattern, layers);
        for name in &names {
            let value = layers.tree.get(name.as_str());
            if !Self::is_own_table(pattern, name, value.map(Spanned::get_ref)) {
                self.line(pattern, name, layers);
            }
        }
        if !header.is_empty() || !names.is_empty() {
            self.gap();
        }
        for name in &names {
            self.below(header, pattern, name, layers);
        }
    }

    /// Whether it is shown under a header of its own.
    fn is_own_table(pattern: &str, name: &str, value: Option<&DeValue<'_>>) -> bool {
        let Some(below) = pattern_of(pattern, name) else {
            return false;
        };
        match value {
            None | Some(DeValue::Table(_)) => !is_values(&below),
            Some(DeValue::Array(items)) => is_tables(items),
            Some(_) => false,
        }
    }

    fn line(&mut self, pattern: &str, name: &str, layers: &Layers<'_, '_>) {
        if pattern == "service.NAME" && matches!(name, "preset" | "odoo") {
            return;
        }
        let (value, words) = match layers.tree.get(name) {
            Some(value) => (shown(value.get_ref()), self.origin(value)),
            None => match derived(pattern, name, layers) {
                Some(derived) => (derived.value, derived.words),
                None => match layers.documented.and_then(|all| all.get(name)) {
                    Some(value) => (shown(value.get_ref()), "default".to_owned()),
                    None => return,
                },
            },
        };
        let line = format!("{} = {value}", bare(name));
        let pad = COLUMN.saturating_sub(line.chars().count()).max(1);
        self.out
            .extend([&line, &*" ".repeat(pad), "# ", &words, "\n"]);
    }

    fn origin(&self, value: &Spanned<DeValue<'_>>) -> String {
        if self.presets.contains(&value.span().start) {
            return "preset".to_owned();
        }
        format!("line {}", self.report.line(&value.span()))
    }

    fn below(&mut self, header: &str, pattern: &str, name: &str, layers: &Layers<'_, '_>) {
        let Some(below) = pattern_of(pattern, name) else {
            return;
        };
        let inner = join(header, &bare(name));
        let documented = layers
            .documented
            .and_then(|all| documented(all, pattern, name));
        match layers.tree.get(name).map(Spanned::get_ref) {
            Some(DeValue::Table(tree)) if !is_values(&below) => {
                self.headed(&inner, &below, &layers.below(tree, documented, &below));
            }
            Some(DeValue::Array(items)) if is_tables(items) => {
                for item in items {
                    let DeValue::Table(tree) = item.get_ref() else {
                        continue;
                    };
                    self.out.extend(["[[", &inner, "]]\n"]);
                    self.table(&inner, &below, &layers.below(tree, documented, &below));
                }
            }
            None if documented.is_some() && !is_repeated(&below) && !is_values(&below) => {
                let nothing = DeTable::new();
                self.headed(&inner, &below, &layers.below(&nothing, documented, &below));
            }
            _ => {}
        }
    }

    fn headed(&mut self, header: &str, pattern: &str, layers: &Layers<'_, '_>) {
        // What is read for a preset is laid out already.
        if pattern == "service.NAME.odoo" {
            return;
        }
        if !is_container(pattern) {
            self.out.extend(["[", header, "]\n"]);
        }
        if pattern == "service.NAME"
            && let Some(preset) = layers.tree.get("preset")
        {
            let value = shown(preset.get_ref());
            self.out
                .extend(["# preset = ", &value, ", laid out here\n"]);
        }
        if let Some(outer) = pattern.strip_suffix(".MEMBER") {
            let outer = outer.replace("NAME", header.split('.').nth(1).unwrap_or_default());
            self.out
                .extend(["# What is not here is as in [", &outer, "].\n"]);
        }
        self.table(header, pattern, layers);
    }

    fn gap(&mut self) {
        if !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }
}

/// In the order in which they are printed: as the sections list them, then those that operators chose.
fn names(pattern: &str, layers: &Layers<'_, '_>) -> Vec<String> {
    let section = section(pattern);
    let mut names: Vec<String> = section
        .map(|section| section.keys.iter().map(|key| key.name.to_owned()).collect())
        .unwrap_or_default();
    let known = |name: &String| section.is_some_and(|section| section.key(name).is_some());
    names.extend(
        in_order(layers.tree)
            .into_iter()
            .filter(|name| !known(name)),
    );
    names
}

/// Every kind of table.
fn sections() -> impl Iterator<Item = &'static Section> {
    SECTIONS.iter().chain(keys::NAMED_SECTIONS).copied()
}

fn section(pattern: &str) -> Option<&'static Section> {
    sections().find(|section| section.header == pattern)
}

fn is_repeated(pattern: &str) -> bool {
    section(pattern).is_some_and(|section| section.is_repeated)
}

/// A table whose values are named by the operator, shown on one line.
fn is_values(pattern: &str) -> bool {
    section(pattern)
        .is_some_and(|section| section.names == Names::Values && section.keys.is_empty())
        && pattern != "service.NAME.slots.SLOT"
}

/// A table that holds nothing but named tables, so that its header says nothing.
fn is_container(pattern: &str) -> bool {
    section(pattern).is_none()
}

/// The kind of table that `name` is in a table of kind `pattern`; none where it is a plain value.
fn pattern_of(pattern: &str, name: &str) -> Option<String> {
    let plain = join(pattern, name);
    let within = format!("{plain}.");
    if sections().any(|section| section.header == plain || section.header.starts_with(&within)) {
        return Some(plain);
    }
    if section(pattern).is_some_and(|section| section.key(name).is_some()) {
        return None;
    }
    // A name that the operator chose: capitals stand for it.
    let prefix = if pattern.is_empty() {
        String::new()
    } else {
        format!("{pattern}.")
    };
    sections().find_map(|section| {
        let rest = section.header.strip_prefix(&prefix)?;
        let first = rest.split('.').next()?;
        let is_chosen = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_uppercase());
        is_chosen.then(|| format!("{prefix}{first}"))
    })
}

/// What is documented for `name`, which may stand for any name there.
fn documented<'v, 't>(all: &'v DeTable<'t>, pattern: &str, name: &str) -> Option<&'v DeTable<'t>> {
    // A member that says nothing is as its service, not as the documented member.
    if pattern_of(pattern, name)?.ends_with("MEMBER") {
        return None;
    }
    let there = match all.get(name) {
        Some(there) => there.get_ref(),
        None if pattern == "service" => all.values().next()?.get_ref(),
        None => return None,
    };
    match there {
        DeValue::Table(table) => Some(table),
        DeValue::Array(items) => items.first()?.get_ref().as_table(),
        _ => None,
    }
}

fn join(header: &str, name: &str) -> String {
    if header.is_empty() {
        return name.to_owned();
    }
    format!("{header}.{name}")
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, load, summary};
    use super::*;
    use std::fs;

    fn read(text: &str, name: &Path) -> Settings {
        parse(text, name).unwrap_or_else(|problems| panic!("{}\n{text}", summary(&problems)))
    }

    #[test]
    fn what_is_explained_reads_as_the_same_settings() {
        let mut tried = 0;
        for folder in ["config", "config/examples", "tests/fuzz/corpus/config"] {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let is_config = path
                    .extension()
                    .is_some_and(|extension| extension == "toml");
                let Ok(settings) = load(&path) else { continue };
                assert!(is_config);
                let explained = explain(&path).unwrap();
                assert!(!explained.contains("\npreset ="), "{explained}");
                assert!(read(&explained, &path) == settings, "{explained}");
                tried += 1;
            }
        }
        assert!(tried >= 10, "found {tried}: looking in the wrong place?");
    }

    #[test]
    fn what_hangs_on_something_else_is_explained_as_it_holds() {
        let base = fs::read_to_string("config/examples/minimal.toml").unwrap();
        let (before, slots) = base.split_once("\n[service").unwrap();
        let rest = format!("\n[service{slots}");
        let name = rest.split(['.', ']']).nth(1).unwrap();
        let path = Path::new("switchd.toml");
        for (top, more) in [
            ("[state]\ndir = \"/srv/state\"", ""),
            ("[limits]\nbody_size = \"5MiB\"", ""),
            ("", "[service.NAME.flip]\ndrain_timeout = \"7s\""),
            (
                "",
                "[service.NAME.flip]\ndrain_timeout = \"7s\"\ndrain_websockets = \"5s\"",
            ),
            ("", "[service.NAME.watch]\nthresholds = \"classic\""),
            ("", "[service.NAME.health]\ninterval = \"100ms\""),
            (
                "",
                "[service.NAME.buffering]\nrequests = true\n[[service.NAME.route]]\nprefix = \"/a\"\nto = \"http\"",
            ),
        ] {
            let text = format!("{before}\n{top}\n{rest}\n{}\n", more.replace("NAME", name));
            let explained = explain_text(&text, path).unwrap();
            assert!(
                read(&explained, path) == read(&text, path),
                "{text}\n{explained}"
            );
        }
    }

    #[test]
    fn every_key_is_explained() {
        let explained = explain(Path::new("config/switchd.toml")).unwrap();
        let mut found = 0;
        for section in SECTIONS {
            let header = section.header.replace("NAME", "odoo");
            // Nothing holds of a list that is empty.
            let is_empty = section.is_repeated && !explained.contains(&format!("[[{header}]]"));
            if header == "service.odoo.odoo" || is_empty {
                continue;
            }
            for key in section
                .keys
                .iter()
                .filter(|key| !key.example.starts_with('['))
            {
                if key.name == "preset" {
                    continue;
                }
                let line = format!("\n{} = ", key.name);
                assert!(explained.contains(&line), "{}: {explained}", key.name);
                found += 1;
            }
        }
        assert!(found > 40, "found {found}");
    }
}
