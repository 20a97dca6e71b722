//! Files of users with hashed passwords, as `htpasswd -B` writes them.
//!
//! Nothing here puts a hash into a problem.

use super::access::User;
use super::secret::read_file;
use super::settings::Secret;
use super::value::{Value, clip};
use bcrypt::HashParts;
use std::str::FromStr;

/// Slower ones take seconds for each password.
const MOST_COST: u32 = 14;

/// The users in the file that `value` names.
pub(super) fn read(value: &Value<'_>) -> Option<Vec<User>> {
    let path = value.absolute_path()?;
    let shown = clip(&path.to_string_lossy());
    let text = match read_file(&path) {
        Ok(text) => text,
        Err(error) => {
            value.wrong(
                format!("cannot read \"{shown}\": {error}"),
                "name a file that the user of switchd may read; `htpasswd -B -c FILE NAME` writes one",
            );
            return None;
        }
    };
    match parse(&text) {
        Ok(users) => Some(users),
        Err(wrong) => {
            value.wrong(
                format!("\"{shown}\" {}", wrong.what),
                "write NAME:HASH on each line, with a hash of bcrypt; `htpasswd -B FILE NAME` adds one",
            );
            None
        }
    }
}

struct Wrong {
    what: String,
}

fn parse(text: &str) -> Result<Vec<User>, Wrong> {
    let mut users: Vec<User> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| Wrong {
            what: format!("line {number}: {what}"),
        };
        let (name, hash) = line
            .split_once(':')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| wrong("it is not NAME:HASH"))?;
        if users.iter().any(|user| user.name == name) {
            return Err(wrong(&format!("`{}` is there twice", clip(name))));
        }
        let known = ["$2a$", "$2b$", "$2y$"]
            .iter()
            .any(|it| hash.starts_with(it));
        match HashParts::from_str(hash) {
            Ok(parts) if known && (4..=MOST_COST).contains(&parts.get_cost()) => {}
            Ok(_) if known => {
                return Err(wrong(&format!("a cost of 4 to {MOST_COST} is taken")));
            }
            _ => {
                return Err(wrong(&format!(
                    "the password of `{}` is not hashed with bcrypt",
                    clip(name)
                )));
            }
        }
        users.push(User {
            name: name.to_owned(),
            hash: Secret::new(hash.to_owned()),
        });
    }
    if users.is_empty() {
        return Err(Wrong {
            what: "names nobody".to_owned(),
        });
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe";

    #[test]
    fn users_are_read_with_their_hashes() {
        let text = format!("# staging\n\nanna:{HASH}\n  berta:{HASH}\r\n");
        let users = parse(&text).ok().unwrap();
        let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
        assert_eq!(names, ["anna", "berta"]);
        assert_eq!(users[0].hash.reveal(), HASH);
    }

    #[test]
    fn other_files_are_told_by_line_and_without_the_hash() {
        let twice = format!("a:{HASH}\na:{HASH}\n");
        let costly = format!("a:{}", HASH.replace("$05$", "$15$"));
        for (text, what) in [
            ("", "names nobody"),
            ("\n# a:b\n", "names nobody"),
            ("anna\n", "line 1: it is not NAME:HASH"),
            (":x\n", "line 1: it is not NAME:HASH"),
            (
                "a:secret\n",
                "line 1: the password of `a` is not hashed with bcrypt",
            ),
            (
                "a:$apr1$x$y\n",
                "line 1: the password of `a` is not hashed with bcrypt",
            ),
            (
                "a:$2y$05$short\n",
                "line 1: the password of `a` is not hashed with bcrypt",
            ),
            (&twice, "line 2: `a` is there twice"),
            (&costly, "line 1: a cost of 4 to 14 is taken"),
        ] {
            assert_eq!(parse(text).err().unwrap().what, what, "{text}");
        }
    }
}
