//! `config/switchd.toml`, which shows every key, made a config of its own.

/// The documented config with every commented key made active.
pub(super) fn uncommented() -> String {
    with_lines_of(&["#"])
}

/// The same, and what is off unless it is written, as the examples (`#~`) show it.
#[cfg(test)]
pub(super) fn with_examples() -> String {
    with_lines_of(&["#", "#~"])
}

fn with_lines_of(marks: &[&str]) -> String {
    let is_key = |key: &&str| key.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    include_str!("../../config/switchd.toml")
        .lines()
        .map(|line| {
            let mut keys = marks.iter().filter_map(|mark| line.strip_prefix(mark));
            keys.rfind(is_key).unwrap_or(line)
        })
        .flat_map(|line| [line, "\n"])
        .collect()
}
