//! What named cookies get on their way to the client that the application does not give them.

use super::change::Differences;
use super::keys::{Section, key, section};
use super::table::Table;
use super::value::{Choice, Value, clip};

/// Attributes for named cookies, where they are absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookies {
    /// None of them touches no cookie.
    pub names: Vec<String>,
    /// To clients that came over TLS.
    pub secure: bool,
    pub same_site: SameSite,
}

/// To which requests of other sites a browser adds a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// To no request but a visit.
    Lax,
    Strict,
    /// To all; browsers take that of secure cookies only.
    None,
    /// As the application says.
    Off,
}

const SITES: [Choice<SameSite>; 4] = [
    Choice {
        word: "lax",
        means: SameSite::Lax,
    },
    Choice {
        word: "strict",
        means: SameSite::Strict,
    },
    Choice {
        word: "none",
        means: SameSite::None,
    },
    Choice {
        word: "off",
        means: SameSite::Off,
    },
];

pub(super) const COOKIES: Section = section(
    "service.NAME.cookies",
    &[
        key("names", r#"["session_id"]"#),
        key("secure", "true"),
        key("same_site", r#""lax""#),
    ],
);

impl Default for Cookies {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            secure: true,
            same_site: SameSite::Lax,
        }
    }
}

pub(super) fn read(service: &Table<'_>) -> Cookies {
    let table = service.table("cookies", &COOKIES);
    let default = Cookies::default();
    let names = table.get("names").and_then(|value| value.list());
    Cookies {
        names: names.map_or(default.names, |names| {
            names.iter().filter_map(name).collect()
        }),
        secure: table.flag("secure", default.secure),
        same_site: table
            .get("same_site")
            .and_then(|value| value.choice(&SITES))
            .unwrap_or(default.same_site),
    }
}

/// A token of RFC 9110: what can be the name of a cookie, a header or a method.
pub(super) fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

pub(super) fn name(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if is_token(text) {
        return Some(text.to_owned());
    }
    value.wrong(
        format!("\"{}\" is no name of a cookie", clip(text)),
        "names are letters, digits, - and _: \"session_id\", for example",
    );
    None
}

pub(super) fn changes(lines: &mut Differences, old: &Cookies, new: &Cookies) {
    let shown = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    lines.value("cookies names", &shown(&old.names), &shown(&new.names));
    lines.value("cookies secure", &old.secure, &new.secure);
    let site = |site: SameSite| {
        let word = SITES.iter().find(|choice| choice.means == site);
        word.map_or("", |choice| choice.word)
    };
    let (a, b) = (site(old.same_site), site(new.same_site));
    lines.value("cookies same_site", &a, &b);
}
