//! The layering and the style are promises; these tests keep them.
//!
//! A folder may import folders on lower lines only. Folders on one line never import each other:
//! that is what keeps the two planes apart.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From low to high.
const LAYERS: &[&[&str]] = &[
    &["switch", "net"],
    &["config", "api", "telemetry"],
    &["journal", "tls", "spool", "filter", "content"],
    &["live", "acme", "cache"],
    &["upstream"],
    &["proxy"],
    &["edge", "control"],
    &["admin"],
    &["daemon", "cli", "demo"],
];

/// Strangers that may meet all the same: the demo is the daemon on an embedded config.
const MAY_MEET: &[Import] = &[Import {
    from: "demo",
    to: "daemon",
}];

/// These decide; they never wait, read a clock, or open anything.
const PURE: &[&str] = &["switch"];
const IMPURE: &[&str] = &[
    "tokio::",
    "tracing::",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::thread",
    "::now()",
    "rand::",
];

const LONGEST_FILE: usize = 400;

/// Work that was left lying, tests that do not run, and tests that wait for time instead of the thing.
/// Written in halves, so that this file does not find itself.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
];
const UNRUN: &[&str] = &[concat!("#[", "ignore")];
const SLEEPS: &[&str] = &[concat!("thread::", "sleep"), concat!("time::", "sleep(")];

#[derive(Debug)]
struct Import {
    from: &'static str,
    to: &'static str,
}

#[test]
fn imports_only_point_down() {
    let mut imports = 0;
    for file in sources() {
        for (at, _) in file.code.match_indices("crate::") {
            let path = &file.code[at + "crate::".len()..];
            let target = path
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap();
            let name = &file.name;
            assert!(
                !target.is_empty(),
                "{name}: one folder per `use`, not crate::{{..}}"
            );
            assert!(
                may_import(&file.folder, target),
                "{name}: crate::{target} is not below {}",
                file.folder
            );
            imports += 1;
        }
    }
    assert!(
        imports > 20,
        "found {imports} imports: looking in the wrong place?"
    );
}

/// `super::super` from a file directly in a folder would climb over the wall unseen.
#[test]
fn no_file_climbs_over_the_wall() {
    for file in sources() {
        let depth = Path::new(&file.name).components().count();
        assert!(
            depth > 2 || !file.before_tests().contains("super::super"),
            "{}: write crate::folder, so that the wall sees it",
            file.name
        );
    }
}

#[test]
fn every_folder_has_a_layer_and_every_layer_a_folder() {
    let folders: BTreeSet<String> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != "bin")
        .collect();
    let layered: BTreeSet<String> = LAYERS
        .iter()
        .flat_map(|line| line.iter().map(ToString::to_string))
        .collect();
    assert_eq!(folders, layered, "left: folders of src/; right: LAYERS");
}

#[test]
fn every_folder_says_what_it_is() {
    for line in LAYERS {
        for folder in *line {
            let text = fs::read_to_string(root().join("src").join(folder).join("mod.rs")).unwrap();
            let doc = text
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .count();
            assert!(
                doc >= 3,
                "src/{folder}/mod.rs: what is it, who calls it, what does it never do?"
            );
        }
    }
}

#[test]
fn pure_folders_stay_pure() {
    let pure: Vec<File> = sources()
        .into_iter()
        .filter(|file| PURE.contains(&file.folder.as_str()))
        .collect();
    assert!(!pure.is_empty());
    for file in pure {
        for word in IMPURE {
            assert!(
                !file.code.contains(word),
                "{}: {word} in a pure folder",
                file.name
            );
        }
    }
}

/// The daemon never executes a program: only the operator's hand does, and the demo.
#[test]
fn nothing_of_the_daemon_starts_a_program() {
    let mut starters = BTreeSet::new();
    for file in sources() {
        let starts = [
            "process::Command",
            "process::{Child, Command",
            "process::{Command",
        ];
        if starts.iter().any(|word| file.before_tests().contains(word)) {
            starters.insert(file.folder.clone());
        }
    }
    let allowed = ["cli", "demo"].map(str::to_owned);
    assert_eq!(starters, BTreeSet::from(allowed));
}

#[test]
fn no_file_becomes_a_god_file() {
    for file in sources() {
        let lines = file.before_tests().lines().count();
        assert!(
            lines <= LONGEST_FILE,
            "{}: {lines} lines before its tests",
            file.name
        );
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for file in files(&["src", "tests", "benches"]) {
        for word in UNFINISHED {
            assert!(!file.text.contains(word), "{}: {word}", file.name);
        }
    }
}

#[test]
fn tests_run_always_and_wait_for_the_thing() {
    for file in files(&["tests"]) {
        for word in UNRUN.iter().chain(SLEEPS) {
            assert!(!file.text.contains(word), "{}: {word}", file.name);
        }
    }
    for file in sources() {
        let tests = &file.code[file.before_tests().len()..];
        for word in UNRUN.iter().chain(SLEEPS) {
            assert!(!tests.contains(word), "{}: {word} in its tests", file.name);
        }
    }
}

/// The tests of the wall itself: it would notice.
#[test]
fn the_wall_knows_up_down_and_sideways() {
    for (from, to) in [
        ("admin", "control"),
        ("edge", "proxy"),
        ("cli", "api"),
        ("demo", "daemon"),
    ] {
        assert!(may_import(from, to), "{from} may import {to}");
    }
    for (from, to) in [
        ("control", "edge"),
        ("edge", "control"),
        ("live", "proxy"),
        ("daemon", "demo"),
        ("cli", "daemon"),
    ] {
        assert!(!may_import(from, to), "{from} must not import {to}");
    }
}

fn may_import(from: &str, to: &str) -> bool {
    from == to
        || layer(to) < layer(from)
        || MAY_MEET
            .iter()
            .any(|import| import.from == from && import.to == to)
}

fn layer(folder: &str) -> usize {
    LAYERS
        .iter()
        .position(|line| line.contains(&folder))
        .unwrap_or_else(|| panic!("{folder} has no layer: add it to LAYERS"))
}

struct File {
    /// The folder of `src/`; empty elsewhere.
    folder: String,
    /// Below the top of the tree walked.
    name: String,
    text: String,
    /// The text with line comments blanked, so that prose may name any folder.
    code: String,
    is_test: bool,
}

impl File {
    /// What runs in the program; nothing of a file that only tests compile.
    fn before_tests(&self) -> &str {
        let inline = self.code.find("mod tests {");
        match inline {
            _ if self.is_test => "",
            Some(at) => &self.code[..at],
            None => &self.code,
        }
    }
}

/// Whether the folder's `mod.rs` declares this file for tests only.
fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let folder = path.with_file_name("mod.rs");
    let declared = fs::read_to_string(folder).unwrap_or_default();
    declared.contains(&format!("#[cfg(test)]\nmod {name};"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file in a folder of `src/`, except the two in `bin/`.
fn sources() -> Vec<File> {
    let src = root().join("src");
    let mut paths = Vec::new();
    collect(&src, &mut paths);
    let found: Vec<File> = paths
        .iter()
        .filter_map(|path| {
            let name = path.strip_prefix(&src).unwrap();
            let folder = name.parent()?.iter().next()?.to_str()?.to_owned();
            (folder != "bin").then(|| read(path, name, folder))
        })
        .collect();
    assert!(
        found.len() > 20,
        "found {} files: looking in the wrong place?",
        found.len()
    );
    found
}

/// Every Rust file below these folders, build outputs aside; folders that do not exist count as empty.
fn files(folders: &[&str]) -> Vec<File> {
    let mut paths = Vec::new();
    for folder in folders {
        let folder = root().join(folder);
        if folder.is_dir() {
            collect(&folder, &mut paths);
        }
    }
    assert!(!paths.is_empty(), "looking in the wrong place?");
    paths
        .iter()
        .map(|path| read(path, path.strip_prefix(root()).unwrap(), String::new()))
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_output = path.file_name().is_some_and(|name| name == "target");
        if path.is_dir() && !is_output {
            collect(&path, paths);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            paths.push(path);
        }
    }
}

fn read(path: &Path, name: &Path, folder: String) -> File {
    let text = fs::read_to_string(path).unwrap();
    let code: Vec<&str> = text
        .lines()
        .map(|line| line.split("//").next().unwrap())
        .collect();
    File {
        folder,
        name: name.display().to_string(),
        code: code.join("\n"),
        is_test: is_test(path),
        text,
    }
}
