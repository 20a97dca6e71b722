//! Whether an answer may be kept for others, and how long it is good (RFC 9111, sections 3 and 4.2).

use super::directives::Directives;
use std::time::Duration;
use std::time::SystemTime;

/// What of a request bears on keeping its answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// By an Authorization field.
    pub authorized: bool,
    /// The operator listed its path.
    pub listed: bool,
    /// Answers are kept that say `public` and `immutable`, wherever they are.
    pub immutable: bool,
}

/// What of an answer's head does.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Given {
    directives: Directives,
    expires: Option<SystemTime>,
    /// There is an Expires that is no date: long over (RFC 9111, section 5.3).
    is_expired: bool,
    date: Option<SystemTime>,
    age: u64,
    vary: Vec<Box<str>>,
    varies_by_all: bool,
    sets_cookie: bool,
    is_encoded: bool,
    is_part: bool,
    has_trailer: bool,
}

/// On what terms an answer is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// When it was made, by the upstream's words.
    pub made: SystemTime,
    pub fresh_for: Duration,
    /// It says that it never changes.
    pub immutable: bool,
    /// It may answer those who come with an Authorization field, too.
    pub public: bool,
    /// Fields of a request, lower case, that choose between answers.
    pub vary: Vec<Box<str>>,
}

/// Longer than anything is kept, short enough to reckon with.
const LONGEST: Duration = Duration::from_hours(24 * 365 * 10);
/// More fields to choose by than this are a mistake.
const MOST_VARY: usize = 8;

impl Given {
    /// Takes one field of the head.
    pub fn take(&mut self, name: &str, value: &[u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            3 if is("age") => self.age = self.age.max(number(value)),
            4 if is("vary") => self.take_vary(value),
            4 if is("date") => self.date = date(value),
            7 if is("expires") => {
                self.expires = date(value);
                self.is_expired = self.expires.is_none();
            }
            7 if is("trailer") => self.has_trailer = true,
            10 if is("set-cookie") => self.sets_cookie = true,
            13 if is("cache-control") => self.directives.add(value),
            13 if is("content-range") => self.is_part = true,
            16 if is("content-encoding") => {
                self.is_encoded |= !value.eq_ignore_ascii_case(b"identity");
            }
            _ => {}
        }
    }

    fn take_vary(&mut self, value: &[u8]) {
        for name in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            match std::str::from_utf8(name) {
                Ok("") => {}
                Ok("*") | Err(_) => self.varies_by_all = true,
                Ok(name) => {
                    let name = name.to_ascii_lowercase().into_boxed_str();
                    if !self.vary.contains(&name) {
                        self.vary.push(name);
                    }
                }
            }
        }
    }

    fn fresh_for(&self, made: SystemTime) -> Option<Duration> {
        let directives = &self.directives;
        if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
            return Some(Duration::from_secs(seconds).min(LONGEST));
        }
        let until = self.expires.filter(|_| !self.is_expired)?;
        until
            .duration_since(made)
            .ok()
            .map(|span| span.min(LONGEST))
    }

    fn has(&self, vary: &str) -> bool {
        self.vary.iter().any(|name| &**name == vary)
    }
}

/// None when the answer must not be kept, or not long enough to be worth it.
#[must_use]
pub fn terms(asked: Asked, status: u16, mut given: Given, now: SystemTime) -> Option<Terms> {
    let said = given.directives;
    let chosen = asked.listed || (asked.immutable && said.public && said.immutable);
    let forbidden = said.private || said.no_store || said.no_cache;
    // A share of what was made for one user, unless its maker says that all may have it.
    let personal = asked.authorized && !said.public && said.s_maxage.is_none();
    let cookie = given.sets_cookie && !said.public;
    if status != 200 || !chosen || forbidden || personal || cookie {
        return None;
    }
    let private_choice = given.varies_by_all || given.has("cookie") || given.has("authorization");
    // Encoded for one client, and not told apart for others.
    let untold = given.is_encoded && !given.has("accept-encoding");
    if private_choice || untold || given.is_part || given.has_trailer {
        return None;
    }
    if !given.is_encoded {
        // As it is, everybody can take it; what is encoded for whom is ours to choose.
        given.vary.retain(|name| &**name != "accept-encoding");
    }
    if given.vary.len() > MOST_VARY {
        return None;
    }
    // A clock that runs ahead of ours must not keep anything fresh for longer.
    let dated = given.date.unwrap_or(now).min(now);
    let fresh_for = given.fresh_for(dated)?;
    let told = now.checked_sub(Duration::from_secs(given.age).min(LONGEST))?;
    let made = dated.min(told);
    let is_fresh = now.duration_since(made).is_ok_and(|age| age < fresh_for);
    is_fresh.then_some(Terms {
        made,
        fresh_for,
        immutable: said.immutable,
        public: said.public,
        vary: given.vary,
    })
}

fn number(value: &[u8]) -> u64 {
    let text = std::str::from_utf8(value).unwrap_or_default().trim();
    // An age that is none is left out (RFC 9111, section 5.1).
    text.parse().unwrap_or(0)
}

fn date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: Asked = Asked {
        authorized: false,
        listed: true,
        immutable: false,
    };
    const ANYWHERE: Asked = Asked {
        authorized: false,
        listed: false,
        immutable: true,
    };

    fn now() -> SystemTime {
        httpdate::parse_http_date("Sat, 05 Jul 2025 10:00:00 GMT").unwrap()
    }

    fn judged(asked: Asked, fields: &[(&str, &str)]) -> Option<Terms> {
        let mut given = Given::default();
        for (name, value) in fields {
            given.take(name, value.as_bytes());
        }
        terms(asked, 200, given, now())
    }

    fn control(value: &str) -> [(&str, &str); 1] {
        [("Cache-Control", value)]
    }

    #[test]
    fn what_says_public_and_immutable_is_kept_wherever_it_is() {
        let kept = judged(ANYWHERE, &control("public, max-age=31536000, immutable")).unwrap();
        assert!(kept.immutable && kept.public);
        assert_eq!(kept.fresh_for, Duration::from_hours(8760));
        assert_eq!(kept.made, now());
        for other in [
            "public, max-age=31536000",
            "max-age=31536000, immutable",
            "private, max-age=31536000, immutable",
            "public, immutable",
        ] {
            assert_eq!(judged(ANYWHERE, &control(other)), None, "{other}");
        }
        let off = Asked::default();
        assert_eq!(judged(off, &control("public, max-age=9, immutable")), None);
    }

    #[test]
    fn a_listed_path_is_kept_by_its_own_words() {
        for (value, seconds) in [
            ("max-age=60", 60),
            ("public, max-age=60, s-maxage=30", 30),
            ("must-revalidate, max-age=5", 5),
        ] {
            let kept = judged(LISTED, &control(value)).unwrap();
            assert_eq!(kept.fresh_for, Duration::from_secs(seconds), "{value}");
        }
        for value in [
            "",
            "public",
            "no-cache, max-age=60",
            "no-store, max-age=60",
            "private, max-age=60",
            "private=\"x\", max-age=60",
            "max-age=0",
            "max-age=60, s-maxage=0",
        ] {
            assert_eq!(judged(LISTED, &control(value)), None, "{value}");
        }
    }

    #[test]
    fn an_expiry_date_counts_from_the_date_of_the_answer() {
        let dates = |date, expires| [("Date", date), ("Expires", expires)];
        let (then, at, later) = (
            "Sat, 05 Jul 2025 09:59:00 GMT",
            "Sat, 05 Jul 2025 10:00:00 GMT",
            "Sat, 05 Jul 2025 10:05:00 GMT",
        );
        let kept = judged(LISTED, &dates(at, later)).unwrap();
        assert_eq!(kept.fresh_for, Duration::from_mins(5));
        let kept = judged(LISTED, &dates(then, later)).unwrap();
        assert_eq!(kept.fresh_for, Duration::from_mins(6));
        assert_eq!(kept.made, now() - Duration::from_mins(1));
        assert_eq!(judged(LISTED, &dates(at, then)), None);
        assert_eq!(judged(LISTED, &dates(at, "0")), None);
        let ahead = judged(LISTED, &[("Date", later), ("Cache-Control", "max-age=60")]);
        assert_eq!(ahead.unwrap().made, now());
    }

    #[test]
    fn age_on_the_way_is_age() {
        let fields = |age| [("Age", age), ("Cache-Control", "max-age=60")];
        let kept = judged(LISTED, &fields("20")).unwrap();
        assert_eq!(kept.made, now() - Duration::from_secs(20));
        assert_eq!(judged(LISTED, &fields("60")), None);
        assert!(judged(LISTED, &fields("old")).is_some());
    }

    #[test]
    fn what_was_made_for_one_is_not_shared() {
        let authorized = Asked {
            authorized: true,
            ..LISTED
        };
        assert_eq!(judged(authorized, &control("max-age=60")), None);
        assert!(judged(authorized, &control("public, max-age=60")).is_some());
        assert!(judged(authorized, &control("s-maxage=60")).is_some());
        let cookie = |value| [("Set-Cookie", "session_id=1"), ("Cache-Control", value)];
        assert_eq!(judged(LISTED, &cookie("max-age=60")), None);
        assert!(judged(LISTED, &cookie("public, max-age=60")).is_some());
    }

    #[test]
    fn what_varies_is_told_apart_or_not_kept() {
        let vary = |value| [("Vary", value), ("Cache-Control", "public, max-age=60")];
        let kept = judged(LISTED, &vary("Accept-Language, Accept-Encoding")).unwrap();
        assert_eq!(kept.vary, ["accept-language".into()]);
        for value in ["*", "Accept, *", "Cookie", "authorization"] {
            assert_eq!(judged(LISTED, &vary(value)), None, "{value}");
        }
        let encoded = |value| {
            [
                ("Content-Encoding", "gzip"),
                ("Cache-Control", "public, max-age=60"),
                ("Vary", value),
            ]
        };
        assert_eq!(judged(LISTED, &encoded("")), None);
        let kept = judged(LISTED, &encoded("Accept-Encoding")).unwrap();
        assert_eq!(kept.vary, ["accept-encoding".into()]);
    }

    #[test]
    fn only_a_whole_200_is_kept() {
        let mut given = Given::default();
        given.take("cache-control", b"public, max-age=60");
        assert_eq!(terms(LISTED, 404, given, now()), None);
        let part = [
            ("Content-Range", "bytes 0-1/2"),
            ("Cache-Control", "max-age=60"),
        ];
        assert_eq!(judged(LISTED, &part), None);
        let trailer = [("Trailer", "X-Sum"), ("Cache-Control", "max-age=60")];
        assert_eq!(judged(LISTED, &trailer), None);
    }
}
