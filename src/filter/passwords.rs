//! Names and passwords: known ones in no time, others checked away from the worker.
//!
//! A hash of bcrypt takes a tenth of a second to compare, so that nobody can try many. Whoever was right once is
//! remembered by a keyed hash, and every further request costs two short hashes. Wrong ones are rare by decree:
//! each client has so many attempts, and only a few are checked at a time.

use super::asked::Asked;
use super::asked::Neighbours;
use super::buckets::Buckets;
use super::buckets::Pace;
use super::buckets::Taken;
use super::path::Prefix;
use crate::config::BasicAuth;
use crate::config::User;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;
use tokio::sync::Semaphore;

/// Passwords that are compared at a time, over all workers.
const AT_A_TIME: usize = 2;
/// And how many may wait for that.
const WAITING: usize = 32;
/// Longer ones are wrong.
const LONGEST: usize = 1024;
/// Name and password pairs that are remembered.
const REMEMBERED: usize = 1024;
/// Clients whose attempts are counted.
const CLIENTS: usize = 1 << 14;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Who may come in by name.
#[derive(Debug)]
pub struct Passwords {
    settings: BasicAuth,
    realm: Arc<str>,
    open_paths: Vec<Prefix>,
    known: Known,
    attempts: Buckets,
    pace: Pace,
    seed: RandomState,
    began: Instant,
    comparing: Semaphore,
    waiting: AtomicUsize,
}

/// What is to be thought of a request's name and password.
#[derive(Debug)]
pub(super) enum Look {
    /// They were right before, or none are needed.
    Right,
    /// There are none.
    Missing,
    /// The client was wrong too often.
    TooOften(Duration),
    Unknown(Attempt),
}

/// A name and a password that were not seen before.
#[derive(Debug)]
pub struct Attempt {
    user: usize,
    /// Whether there is that user at all: the time it takes must not tell.
    exists: bool,
    password: Password,
    digest: [u64; 2],
    client: u64,
    now: u64,
}

struct Password(Vec<u8>);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// What a comparison has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    Right,
    Wrong,
    /// Too many wait for it.
    Busy,
}

impl Passwords {
    pub(super) fn new(settings: BasicAuth) -> Self {
        let attempts = settings.attempts;
        Self {
            realm: settings.realm.as_str().into(),
            open_paths: settings
                .open_paths
                .iter()
                .map(|it| Prefix::new(it))
                .collect(),
            known: Known::default(),
            attempts: Buckets::new(CLIENTS),
            // A minute's attempts may come at once.
            pace: Pace::new(attempts.interval(), attempts.requests.saturating_sub(1)),
            seed: RandomState::new(),
            began: Instant::now(),
            comparing: Semaphore::new(AT_A_TIME),
            waiting: AtomicUsize::new(0),
            settings,
        }
    }

    pub(super) fn settings(&self) -> &BasicAuth {
        &self.settings
    }

    /// What the browser shows when it asks.
    #[must_use]
    pub fn realm(&self) -> &Arc<str> {
        &self.realm
    }

    pub(super) fn are_needed(&self, asked: &Asked<'_>) -> bool {
        let BasicAuth { open_to, .. } = &self.settings;
        !open_to.iter().any(|network| network.contains(asked.client))
            && !asked.path.is_below(&self.open_paths)
    }

    /// The name that a request gives.
    pub(super) fn name(asked: &Asked<'_>) -> Option<Vec<u8>> {
        credentials(asked).map(|(name, _)| name)
    }

    pub(super) fn look(&self, asked: &Asked<'_>) -> Look {
        let Some((name, password)) = credentials(asked) else {
            return Look::Missing;
        };
        let digest = self.known.digest(&name, &password);
        if self.known.contains(digest) {
            return Look::Right;
        }
        let client = Neighbours::HOUSEHOLD.hash(asked.client, &self.seed);
        let since = asked.now.saturating_duration_since(self.began);
        let now = u64::try_from(since.as_micros()).unwrap_or(0);
        // Taken before the comparison, so that many at once are not many attempts for one.
        if let Taken::Wait(wait) = self.attempts.take(client, now, self.pace) {
            return Look::TooOften(wait);
        }
        let users = &self.settings.users;
        let found = users.iter().position(|user| user.name.as_bytes() == name);
        Look::Unknown(Attempt {
            user: found.unwrap_or(0),
            exists: found.is_some(),
            password: Password(password),
            digest,
            client,
            now,
        })
    }

    /// Compares on another thread. A deadline is the caller's. Cancel safe.
    pub async fn compare(&self, attempt: Attempt) -> Compared {
        // Relaxed: a bound that is off by those who come in the same instant is still a bound.
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.attempts
                .give_back(attempt.client, attempt.now, self.pace);
            return Compared::Busy;
        }
        let _leave = Leave(&self.waiting);
        let Ok(_permit) = self.comparing.acquire().await else {
            return Compared::Busy;
        };
        let Some(User { hash, .. }) = self.settings.users.get(attempt.user).cloned() else {
            return Compared::Wrong;
        };
        let Password(password) = attempt.password;
        let compared = tokio::task::spawn_blocking(move || {
            bcrypt::verify(password, hash.reveal()).unwrap_or(false)
        });
        if compared.await.unwrap_or(false) && attempt.exists {
            self.known.insert(attempt.digest);
            self.attempts
                .give_back(attempt.client, attempt.now, self.pace);
            return Compared::Right;
        }
        Compared::Wrong
    }
}

struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Name and password of `Authorization: Basic ...`; none when there is no such thing.
fn credentials(asked: &Asked<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = asked.values("authorization").next()?;
    let at = memchr::memchr(b' ', value)?;
    let (scheme, text) = (&value[..at], value[at..].trim_ascii());
    if !scheme.eq_ignore_ascii_case(b"basic") || text.len() > LONGEST {
        return None;
    }
    let mut name = BASE64.decode(text).ok()?;
    let colon = memchr::memchr(b':', &name)?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    Some((name, password))
}

/// Pairs that were right, as hashes that nobody outside can make. Lock-free; of what does not fit the older goes.
#[derive(Debug)]
struct Known {
    slots: Box<[[AtomicU64; 2]]>,
    seeds: [RandomState; 2],
}

impl Default for Known {
    fn default() -> Self {
        Self {
            slots: (0..REMEMBERED).map(|_| Default::default()).collect(),
            seeds: [RandomState::new(), RandomState::new()],
        }
    }
}

impl Known {
    fn digest(&self, name: &[u8], password: &[u8]) -> [u64; 2] {
        let hash = |seed: &RandomState| seed.hash_one((name, password)).max(1);
        [hash(&self.seeds[0]), hash(&self.seeds[1])]
    }

    fn slot(&self, digest: [u64; 2]) -> &[AtomicU64; 2] {
        &self.slots[usize::try_from(digest[0] % REMEMBERED as u64).unwrap_or(0)]
    }

    /// Relaxed: halves of two different pairs are no pair, and a word stands alone.
    fn contains(&self, digest: [u64; 2]) -> bool {
        let slot = self.slot(digest);
        slot[0].load(Ordering::Relaxed) == digest[0] && slot[1].load(Ordering::Relaxed) == digest[1]
    }

    fn insert(&self, digest: [u64; 2]) {
        let slot = self.slot(digest);
        slot[0].store(digest[0], Ordering::Relaxed);
        slot[1].store(digest[1], Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::asked::tests::asked;
    use super::*;
    use crate::config::Rate;
    use crate::config::Secret;

    fn passwords(attempts: u32) -> Passwords {
        let hash = bcrypt::hash("open sesame:", 4).unwrap();
        let other = bcrypt::hash("other", 4).unwrap();
        let user = |name: &str, hash| User {
            name: name.into(),
            hash: Secret::new(hash),
        };
        Passwords::new(BasicAuth {
            users: vec![user("anna", hash), user("b", other)],
            realm: "r".into(),
            attempts: Rate {
                requests: attempts,
                per: Duration::from_mins(1),
            },
            open_to: Vec::new(),
            open_paths: Vec::new(),
        })
    }

    fn line(name: &str, password: &str) -> String {
        format!("bAsIc  {}", BASE64.encode(format!("{name}:{password}")))
    }

    fn look(passwords: &Passwords, line: &str) -> Look {
        let fields = [httparse::Header {
            name: "Authorization",
            value: line.as_bytes(),
        }];
        passwords.look(&asked("192.0.2.1", &fields))
    }

    async fn compare(passwords: &Passwords, name: &str, password: &str) -> Compared {
        match look(passwords, &line(name, password)) {
            Look::Unknown(attempt) => passwords.compare(attempt).await,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_password_is_compared_once_and_then_known() {
        let passwords = passwords(10);
        assert_eq!(
            compare(&passwords, "anna", "open sesame:").await,
            Compared::Right
        );
        let again = look(&passwords, &line("anna", "open sesame:"));
        assert!(matches!(again, Look::Right), "{again:?}");
        for (name, password) in [
            ("anna", "other"),
            ("b", "open sesame:"),
            ("nobody", "open sesame:"),
            ("", ""),
        ] {
            assert_eq!(
                compare(&passwords, name, password).await,
                Compared::Wrong,
                "{name}"
            );
            let again = look(&passwords, &line(name, password));
            assert!(matches!(again, Look::Unknown(_)), "{name}: {again:?}");
        }
    }

    #[tokio::test]
    async fn wrong_passwords_run_out_and_right_ones_do_not() {
        let passwords = passwords(3);
        for _ in 0..10 {
            assert_eq!(
                compare(&passwords, "anna", "open sesame:").await,
                Compared::Right
            );
            passwords
                .known
                .slots
                .iter()
                .for_each(|slot| slot[0].store(0, Ordering::Relaxed));
        }
        for _ in 0..3 {
            assert_eq!(compare(&passwords, "anna", "wrong").await, Compared::Wrong);
        }
        let Look::TooOften(wait) = look(&passwords, &line("anna", "open sesame:")) else {
            panic!("a fourth attempt")
        };
        assert!(
            wait <= Duration::from_secs(20) && wait > Duration::from_secs(10),
            "{wait:?}"
        );
    }

    #[tokio::test]
    async fn no_more_wait_than_there_is_room_for() {
        let passwords = passwords(1000);
        let one = || match look(&passwords, &line("anna", "wrong")) {
            Look::Unknown(attempt) => passwords.compare(attempt),
            other => panic!("{other:?}"),
        };
        let all: Vec<_> = (0..200).map(|_| one()).collect();
        let results = futures_util::future::join_all(all).await;
        let busy = results.iter().filter(|it| **it == Compared::Busy).count();
        // Those whose comparison was over at once made room for others.
        assert!((1..=200 - WAITING).contains(&busy), "{results:?}");
        assert_eq!(passwords.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_no_basic_authorization_is_none() {
        let passwords = passwords(10);
        for text in [
            "",
            "Basic",
            "Basic ",
            "Bearer YTpi",
            "Basic !!",
            "Basic YWI=",
            "Basicx YTpi",
        ] {
            assert!(matches!(look(&passwords, text), Look::Missing), "{text}");
        }
        let long = format!("Basic {}", "YTpi".repeat(LONGEST));
        assert!(matches!(look(&passwords, &long), Look::Missing));
        assert!(matches!(look(&passwords, "Basic YTpi"), Look::Unknown(_)));
        assert!(
            matches!(look(&passwords, "basic YTo"), Look::Unknown(_)),
            "without padding"
        );
    }

    #[test]
    fn nothing_shows_a_password() {
        let passwords = passwords(10);
        let shown = format!(
            "{:?} {passwords:?}",
            look(&passwords, &line("anna", "hunter2"))
        );
        assert!(
            !shown.contains("hunter2") && !shown.contains("$2b$"),
            "{shown}"
        );
        assert!(!shown.contains(&format!("{:?}", b"hunter2")), "{shown}");
    }
}
