//! The kinds of gates: how they are written, and what each of them takes.

use super::super::keys::{Key, Section, key, repeated};
use super::super::value::Choice;
use super::{Severity, SmokeTest};
use std::time::Duration;

pub(super) const KEYS: &[Key] = &[
    key("kind", r#""http""#),
    key("name", r#""contract""#),
    key("severity", r#""warn""#),
    key("attempts", "3"),
    key("interval", r#""2s""#),
    key("deadline", r#""1m""#),
    key("origin", r#""https://erp.example.com""#),
    key("step", "[[service.NAME.gate.step]]"),
    key("database", r#""prod""#),
    key("login", r#""gate""#),
    key("password", r#"{ file = "/run/secrets/odoo-gate" }"#),
    key("modules", r#"["sale"]"#),
    key("models", r#"["res.partner"]"#),
    key("smoke_test", r#""active""#),
    key("websocket", "true"),
    key("session", "true"),
    key("path", r#""/web/login""#),
    key("requests", "20"),
    key("max_p95", r#""2s""#),
    key("max_increase", "50"),
    key("ignore_below", r#""50ms""#),
    key("paths", r#"["/web/login"]"#),
    key("assets", "true"),
    key("parallel", "4"),
    key("within", r#""1s""#),
    key("members", r#"["http"]"#),
];

pub(in super::super) const GATE: Section = repeated("service.NAME.gate", KEYS);

/// What every kind has.
pub(super) const COMMON: &[&str] = &[
    "kind", "name", "severity", "attempts", "interval", "deadline", "origin",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    Odoo,
    Latency,
    WarmUp,
}

pub(super) const KINDS: [Choice<Kind>; 4] = [
    Choice {
        word: "http",
        means: Kind::Http,
    },
    Choice {
        word: "odoo",
        means: Kind::Odoo,
    },
    Choice {
        word: "latency",
        means: Kind::Latency,
    },
    Choice {
        word: "warm_up",
        means: Kind::WarmUp,
    },
];

pub(super) const SEVERITIES: [Choice<Option<Severity>>; 3] = [
    Choice {
        word: "required",
        means: Some(Severity::Required),
    },
    Choice {
        word: "warn",
        means: Some(Severity::Warn),
    },
    Choice {
        word: "off",
        means: None,
    },
];

pub(super) const SMOKE_TESTS: [Choice<SmokeTest>; 3] = [
    Choice {
        word: "off",
        means: SmokeTest::Off,
    },
    Choice {
        word: "active",
        means: SmokeTest::Active,
    },
    Choice {
        word: "always",
        means: SmokeTest::Always,
    },
];

/// How often and how long, unless the operator says otherwise.
pub(super) struct Patience {
    pub(super) attempts: u32,
    pub(super) interval: Duration,
    pub(super) deadline: Duration,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        let choice = KINDS.iter().find(|choice| choice.means == self);
        choice.map_or("", |choice| choice.word)
    }

    /// What only this kind has.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Http => &["step"],
            Self::Odoo => &[
                "database",
                "login",
                "password",
                "modules",
                "models",
                "smoke_test",
                "websocket",
                "session",
            ],
            Self::Latency => &[
                "path",
                "requests",
                "max_p95",
                "max_increase",
                "ignore_below",
            ],
            Self::WarmUp => &["paths", "assets", "parallel", "within", "members"],
        }
    }

    pub(super) fn patience(self) -> Patience {
        let (attempts, interval, deadline) = match self {
            Self::Http => (3, 2, 30),
            Self::Odoo => (2, 2, 60),
            Self::Latency => (2, 1, 60),
            Self::WarmUp => (20, 0, 120),
        };
        Patience {
            attempts,
            interval: Duration::from_secs(interval),
            deadline: Duration::from_secs(deadline),
        }
    }
}
