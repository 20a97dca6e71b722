//! The hosts file.

use std::net::IpAddr;

/// The addresses that a hosts file has for `host`, in its order.
pub(super) fn addresses(text: &str, host: &str) -> Vec<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else {
            continue;
        };
        if words.any(|name| name.eq_ignore_ascii_case(host)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_that_has_the_name_counts_whatever_its_case() {
        let text = "\u{feff}127.0.0.1 bom\n127.0.0.1\tlocalhost # app\n::1 localhost ip6-localhost\n\
                    10.0.0.7 App app.lan\n10.0.0.8 app\n10.0.0.8 app\nnonsense app\nfe80::1%eth0 app\n";
        let found = |host| -> Vec<String> {
            addresses(text, host)
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(found("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(found("APP"), ["10.0.0.7", "10.0.0.8"]);
        assert_eq!(found("app.lan."), ["10.0.0.7"]);
        assert!(found("other").is_empty());
    }
}
