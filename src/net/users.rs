//! The users of this host by name, as `/etc/passwd` has them.

use std::fs;

const USERS: &str = "/etc/passwd";

/// `uid 1000 (alice)`; without the name where it is not a local one.
#[must_use]
pub fn user_in_words(user: u32) -> String {
    // Read each time: users come and go while a daemon runs, and people ask seldom.
    named(user, &fs::read_to_string(USERS).unwrap_or_default())
}

/// None where there is no such user.
#[must_use]
pub fn user_called(name: &str) -> Option<u32> {
    called(name, &fs::read_to_string(USERS).unwrap_or_default())
}

fn entries(users: &str) -> impl Iterator<Item = (&str, u32)> {
    users.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((name, fields.nth(1)?.parse().ok()?))
    })
}

fn named(user: u32, users: &str) -> String {
    match entries(users).find(|(_, id)| *id == user) {
        Some((name, _)) => format!("uid {user} ({name})"),
        None => format!("uid {user}"),
    }
}

fn called(wanted: &str, users: &str) -> Option<u32> {
    let mut all = entries(users);
    all.find(|(name, _)| *name == wanted).map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "root:x:0:0:root:/root:/bin/bash\n\
        broken line\n\
        alice:x:1000:1000:Alice,,,:/home/alice:/bin/zsh\n\
        bob:x:10001:1000::/:/bin/sh\n";

    #[test]
    fn a_user_is_named_by_id_and_name() {
        assert_eq!(named(1000, SAMPLE), "uid 1000 (alice)");
        assert_eq!(named(0, SAMPLE), "uid 0 (root)");
    }

    #[test]
    fn a_user_without_an_entry_is_named_by_id_alone() {
        assert_eq!(named(1001, SAMPLE), "uid 1001");
        assert_eq!(named(7, ""), "uid 7");
    }

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        assert_eq!(called("bob", SAMPLE), Some(10001));
        assert_eq!(called("bo", SAMPLE), None);
        assert_eq!(called("broken line", SAMPLE), None);
    }
}
