//! Every config that is shown to anybody loads, and every mistake gets its words.
//!
//! `BLESS=1 cargo nextest run --test examples` writes the words anew; read the difference.
#![allow(clippy::unwrap_used)]

use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use switchd::config;

#[test]
fn every_example_config_loads() {
    let examples = toml_files(Path::new("config"));
    assert!(
        examples.len() >= 5,
        "found {} configs: looking in the wrong place?",
        examples.len()
    );
    for example in examples {
        if let Err(problems) = config::load(&example) {
            panic!("{}", config::summary(&problems));
        }
    }
}

#[test]
fn every_invalid_config_fails_with_its_recorded_words() {
    let fixtures = toml_files(Path::new("tests/config/invalid"));
    assert!(
        fixtures.len() >= 20,
        "found {} fixtures: looking in the wrong place?",
        fixtures.len()
    );
    let mut different = Vec::new();
    for fixture in fixtures {
        let text = fs::read_to_string(&fixture).unwrap();
        let Err(problems) = config::parse(&text, Path::new("switchd.toml")) else {
            panic!("{} is valid", fixture.display());
        };
        let words = config::summary(&problems);
        let recorded = fixture.with_extension("txt");
        if env::var_os("BLESS").is_some() {
            fs::write(&recorded, &words).unwrap();
        }
        if fs::read_to_string(&recorded).ok().as_deref() != Some(words.as_str()) {
            different.push(format!("{}:\n{words}", fixture.display()));
        }
    }
    assert!(
        different.is_empty(),
        "other words:\n\n{}",
        different.join("\n")
    );
}

#[test]
fn every_recorded_word_has_its_config() {
    let mut found = 0;
    for entry in fs::read_dir("tests/config/invalid").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            assert!(path.with_extension("toml").exists(), "{}", path.display());
            found += 1;
        }
    }
    assert!(found >= 20, "found {found}: looking in the wrong place?");
}

#[test]
fn every_fuzz_seed_is_read_without_harm() {
    let seeds = toml_files(Path::new("tests/fuzz/corpus/config"));
    assert!(
        seeds.len() >= 10,
        "found {} seeds: looking in the wrong place?",
        seeds.len()
    );
    for seed in seeds {
        if let Err(problems) = config::load(&seed) {
            assert!(!problems.is_empty(), "{}", seed.display());
        }
    }
}

#[test]
fn a_config_that_is_not_there_is_told_with_its_name() {
    let problems = config::load(Path::new("no/such/switchd.toml")).unwrap_err();
    let words = config::summary(&problems);
    assert!(
        words.starts_with("no/such/switchd.toml: cannot read the config: "),
        "{words}"
    );
    assert!(
        words.contains("help: write the path of a file that is there"),
        "{words}"
    );
}

fn toml_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(toml_files(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            found.push(path);
        }
    }
    found.sort();
    found
}
