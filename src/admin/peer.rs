//! Who is at the other end of the socket.

use crate::switch::Actor;
use std::fs;

const USERS: &str = "/etc/passwd";

/// `uid 1000 (alice)`; without the name where it is not a local one.
pub(super) fn actor(user: u32) -> Actor {
    // Read each time: users come and go while a daemon runs, and people ask seldom.
    let users = fs::read_to_string(USERS).unwrap_or_default();
    named(user, &users)
}

fn named(user: u32, users: &str) -> Actor {
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id: u32 = fields.nth(1)?.parse().ok()?;
        (id == user && !name.is_empty()).then_some(name)
    });
    match name {
        Some(name) => Actor(format!("uid {user} ({name})")),
        None => Actor(format!("uid {user}")),
    }
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
        assert_eq!(named(1000, SAMPLE).0, "uid 1000 (alice)");
        assert_eq!(named(0, SAMPLE).0, "uid 0 (root)");
    }

    #[test]
    fn a_user_without_an_entry_is_named_by_id_alone() {
        assert_eq!(named(1001, SAMPLE).0, "uid 1001");
        assert_eq!(named(7, "").0, "uid 7");
    }
}
