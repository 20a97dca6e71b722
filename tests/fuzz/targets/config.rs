//! Whatever stands in a config file, reading it ends in settings or in problems that can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use switchd::config;

fuzz_target!(|text: &str| {
    // Other files and the environment are no part of the input.
    if text.contains("file") || text.contains("env") {
        return;
    }
    let file = Path::new("switchd.toml");
    match config::parse(text, file) {
        Ok(settings) => {
            let again = config::parse(text, file).expect("what is valid once is valid twice");
            assert_eq!(settings, again);
            assert!(config::Change::between(&settings, &again).is_empty());
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in problems {
                let place = problem.place.expect("a text has places");
                assert!(place.line <= text.lines().count() + 1, "{problem}");
                assert_eq!(problem.to_string().lines().count(), 2, "{problem:?}");
            }
        }
    }
});
