//! What a service's settings make of the heads of its answers: rules, HSTS, CORS, cookies.

use super::client::Peer;
use super::edits::Edits;
use super::fields::Field;
use super::fields::options;
use super::local::Local;
use super::request::RequestHead;
use super::response::Asked;
use super::response::ResponseHead;
use crate::config::Cookies;
use crate::config::Cors;
use crate::config::HeaderRules;
use crate::config::Origins;
use crate::config::SameSite;
use crate::config::Service as ServiceSettings;
use std::borrow::Cow;

/// To whom an answer goes, as far as its head depends on that.
#[derive(Debug, Clone)]
pub(super) struct Addressee {
    /// Over TLS, all the way.
    pub is_secure: bool,
    /// The origin of the page that asks, where that matters.
    pub origin: Option<Box<[u8]>>,
}

const HSTS: &str = "Strict-Transport-Security";
const ALLOW_ORIGIN: &str = "Access-Control-Allow-Origin";

/// What keeps browsers from framing an answer, guessing its type and telling where a visitor came from.
const SECURITY: [(&str, &str); 3] = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
];

/// With origins of our own, the application's word on them does not count.
const CORS_FIELDS: [&str; 6] = [
    ALLOW_ORIGIN,
    "Access-Control-Allow-Credentials",
    "Access-Control-Expose-Headers",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
    "Access-Control-Max-Age",
];

impl Addressee {
    /// None when the service leaves the heads of its answers as they are.
    pub(super) fn of(
        head: &RequestHead<'_>,
        settings: &ServiceSettings,
        (peer, trusted): (&Peer, bool),
    ) -> Option<Self> {
        let headers = &settings.headers;
        let has_cors = !settings.cors.origins.is_empty();
        let is_touched = has_cors
            || headers.hsts.is_some()
            || headers.security
            || !headers.response.is_empty()
            || !settings.cookies.names.is_empty();
        // As far as those know whom we trust.
        let told = trusted.then(|| head.value(Field::ForwardedProto)).flatten();
        is_touched.then(|| Self {
            is_secure: told.map_or(peer.is_secure, |proto| proto.eq_ignore_ascii_case(b"https")),
            origin: has_cors
                .then(|| head.find("origin"))
                .flatten()
                .map(Into::into),
        })
    }
}

/// Appends the fields of a request that pass, by the rules for requests.
pub(super) fn write_passing(
    head: &RequestHead<'_>,
    bytes: &[u8],
    (rules, trusted): (&HeaderRules, bool),
    out: &mut Vec<u8>,
) {
    if rules.is_empty() {
        return head.write_passing(bytes, out, trusted);
    }
    head.write_passing_but(bytes, out, trusted, |name| rules.replaces(name));
    for (name, value) in rules.written() {
        line(name, value, out);
    }
}

/// Changes an answer of the application. What others have changed before stays.
pub(super) fn edit(
    head: &ResponseHead<'_>,
    (settings, to): (&ServiceSettings, &Addressee),
    edits: &mut Edits,
) {
    let rules = &settings.headers.response;
    cookies(head, (settings, to), edits);
    if !settings.cors.origins.is_empty() {
        for name in CORS_FIELDS {
            remove(head, name, edits);
        }
    }
    if settings.headers.hsts.is_some() && to.is_secure {
        remove(head, HSTS, edits);
    }
    let varies = |name: &str| {
        let mut listed = head.all("vary").flat_map(options);
        listed.any(|known| known == b"*" || known.eq_ignore_ascii_case(name.as_bytes()))
    };
    usual(settings, to, |name, value| {
        let is_there = match name {
            "Vary" => varies("Origin"),
            HSTS | ALLOW_ORIGIN => false,
            // A security line of the application's own.
            name => SECURITY.iter().any(|(ours, _)| *ours == name) && head.find(name).is_some(),
        };
        if !is_there && !rules.replaces(name) {
            edits.add(name, value);
        }
    });
    for name in rules.removed() {
        remove(head, name, edits);
    }
    for (name, value) in rules.written() {
        edits.add(name, value);
    }
}

fn remove(head: &ResponseHead<'_>, name: &str, edits: &mut Edits) {
    if head.find(name).is_some() {
        edits.remove(name);
    }
}

/// Appends what an answer of our own gets: the usual lines and the operator's, but for those that say what
/// an answer is. A rule for the application's pages must not make an error one that is kept, or of another type.
pub(super) fn write_own(settings: &ServiceSettings, to: &Addressee, out: &mut Vec<u8>) {
    let rules = &settings.headers.response;
    usual(settings, to, |name, value| {
        if !rules.replaces(name) {
            line(name, value, out);
        }
    });
    for (name, value) in rules.written().filter(|(name, _)| !says_what_it_is(name)) {
        line(name, value, out);
    }
}

fn says_what_it_is(name: &str) -> bool {
    const OURS: [&str; 14] = [
        "accept-ranges",
        "age",
        "allow",
        "cache-control",
        "etag",
        "expires",
        "last-modified",
        "location",
        "pragma",
        "retry-after",
        "set-cookie",
        "www-authenticate",
        "x-request-id",
        "x-switchd-fault",
    ];
    let is_content = name
        .get(..8)
        .is_some_and(|start| start.eq_ignore_ascii_case("content-"));
    is_content || OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

/// What every answer gets, whoever wrote it.
fn usual(settings: &ServiceSettings, to: &Addressee, mut add: impl FnMut(&str, &[u8])) {
    protection(settings, to, &mut add);
    let cors = &settings.cors;
    if cors.origins.is_empty() {
        return;
    }
    let is_allowed = allow(cors, to.origin.as_deref(), &mut add);
    if is_allowed && !cors.exposed.is_empty() {
        let exposed = cors.exposed.join(", ");
        add("Access-Control-Expose-Headers", exposed.as_bytes());
    }
    if !is_for_all(cors) {
        add("Vary", b"Origin");
    }
}

/// HSTS and the security lines.
fn protection(settings: &ServiceSettings, to: &Addressee, mut add: impl FnMut(&str, &[u8])) {
    if let Some(hsts) = &settings.headers.hsts
        && to.is_secure
    {
        add(HSTS, hsts.as_bytes());
    }
    if settings.headers.security {
        for (name, value) in SECURITY {
            add(name, value.as_bytes());
        }
    }
}

/// The same answer for every origin.
fn is_for_all(cors: &Cors) -> bool {
    !cors.credentials && cors.origins.contains(&Origins::Any)
}

/// Lets a page of this origin read an answer, if it may; whether it may.
fn allow(cors: &Cors, origin: Option<&[u8]>, mut add: impl FnMut(&str, &[u8])) -> bool {
    let known = |origin: &&[u8]| cors.origins.iter().any(|known| known.contains(origin));
    let Some(origin) = origin.filter(known) else {
        return false;
    };
    if is_for_all(cors) {
        add(ALLOW_ORIGIN, b"*");
    } else {
        add(ALLOW_ORIGIN, origin);
    }
    if cors.credentials {
        add("Access-Control-Allow-Credentials", b"true");
    }
    true
}

/// The answer to a browser that asks whether it may ask; none when it does not.
pub(super) fn preflight(
    head: &RequestHead<'_>,
    settings: &ServiceSettings,
    to: &Addressee,
) -> Option<Local> {
    let origin = to.origin.as_deref().filter(|_| head.method == "OPTIONS")?;
    head.find("access-control-request-method")?;
    let cors = &settings.cors;
    let mut lines = Vec::new();
    protection(settings, to, |name, value| line(name, value, &mut lines));
    if allow(cors, Some(origin), |name, value| {
        line(name, value, &mut lines);
    }) {
        let methods = cors.methods.join(", ");
        line(
            "Access-Control-Allow-Methods",
            methods.as_bytes(),
            &mut lines,
        );
        let asked = head.find("access-control-request-headers");
        let allowed = match &*cors.headers {
            // With credentials a `*` means a header of that name.
            [] => asked.map(Cow::Borrowed),
            names => Some(Cow::Owned(names.join(", ").into_bytes())),
        };
        if let Some(allowed) = allowed {
            line("Access-Control-Allow-Headers", &allowed, &mut lines);
        }
        let age = cors.max_age.as_secs().to_string();
        line("Access-Control-Max-Age", age.as_bytes(), &mut lines);
    }
    line(
        "Vary",
        b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        &mut lines,
    );
    Some(Local {
        length: head.length,
        asked: Asked::of(head),
        framing: head.framing,
        status: 204,
        lines,
        body: Vec::new(),
    })
}

/// Gives the named cookies what they lack. The others stay as they are, and so does the order of all.
fn cookies(
    head: &ResponseHead<'_>,
    (settings, to): (&ServiceSettings, &Addressee),
    edits: &mut Edits,
) {
    const NAME: &str = "Set-Cookie";
    let cookies = &settings.cookies;
    if cookies.names.is_empty() || edits.removes(NAME) || settings.headers.response.replaces(NAME) {
        return;
    }
    let flagged = |line| flagged(line, cookies, to.is_secure);
    let is_changed = |line| matches!(flagged(line), Cow::Owned(_));
    if !head.all(NAME).any(is_changed) {
        return;
    }
    edits.remove(NAME);
    for line in head.all(NAME) {
        edits.add(NAME, &flagged(line));
    }
}

/// A cookie's line with the attributes that it lacks.
fn flagged<'l>(line: &'l [u8], cookies: &Cookies, is_secure: bool) -> Cow<'l, [u8]> {
    let mut parts = line.split(|byte| *byte == b';');
    let pair = parts.next().unwrap_or_default();
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
    let is_named = |known: &String| known == "*" || known.as_bytes() == name.trim_ascii();
    if !cookies.names.iter().any(is_named) {
        return line.into();
    }
    let (mut secure, mut same_site) = (false, false);
    for part in parts {
        let attribute = part.split(|byte| *byte == b'=').next().unwrap_or_default();
        secure |= attribute.trim_ascii().eq_ignore_ascii_case(b"secure");
        same_site |= attribute.trim_ascii().eq_ignore_ascii_case(b"samesite");
    }
    let adds_secure = cookies.secure && is_secure && !secure;
    let site: &[u8] = match cookies.same_site {
        _ if same_site => b"",
        SameSite::Lax => b"; SameSite=Lax",
        SameSite::Strict => b"; SameSite=Strict",
        // Browsers refuse it without Secure.
        SameSite::None if secure || adds_secure => b"; SameSite=None",
        SameSite::None | SameSite::Off => b"",
    };
    if !adds_secure && site.is_empty() {
        return line.into();
    }
    let secure: &[u8] = if adds_secure { b"; Secure" } else { b"" };
    [line, secure, site].concat().into()
}

fn line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, same_site: SameSite) -> Cookies {
        Cookies {
            names: vec![name.to_owned()],
            same_site,
            ..Cookies::default()
        }
    }

    fn shown(line: &str, cookies: &Cookies, is_secure: bool) -> String {
        String::from_utf8(flagged(line.as_bytes(), cookies, is_secure).into_owned()).unwrap()
    }

    #[test]
    fn a_named_cookie_gets_what_it_lacks_and_nothing_twice() {
        let lax = named("session_id", SameSite::Lax);
        let odoo = "session_id=a; Expires=Mon, 01 Dec 2025 00:00:00 GMT; HttpOnly; Path=/";
        assert_eq!(
            shown(odoo, &lax, true),
            format!("{odoo}; Secure; SameSite=Lax")
        );
        assert_eq!(shown(odoo, &lax, false), format!("{odoo}; SameSite=Lax"));
        for whole in [
            "session_id=a; secure ;SAMESITE = none",
            "session_id=a;SameSite=Strict; Secure",
        ] {
            assert_eq!(shown(whole, &lax, true), whole);
        }
        assert_eq!(
            shown("session_id=a; Secure", &lax, true),
            "session_id=a; Secure; SameSite=Lax"
        );
    }

    #[test]
    fn other_cookies_stay_byte_for_byte() {
        let lax = named("session_id", SameSite::Lax);
        for other in [
            "session_id2=a",
            "x=session_id=a; Secure=1",
            "SESSION_ID=a",
            "=session_id",
            "",
            "\u{fc}=1",
        ] {
            assert_eq!(shown(other, &lax, true), other);
        }
    }

    #[test]
    fn every_cookie_can_be_meant_and_a_site_of_none_comes_with_secure_only() {
        let none = named("*", SameSite::None);
        assert_eq!(shown("a=1", &none, true), "a=1; Secure; SameSite=None");
        assert_eq!(shown("a=1", &none, false), "a=1");
        assert_eq!(
            shown("a=1; Secure", &none, false),
            "a=1; Secure; SameSite=None"
        );
        assert_eq!(shown("a=1", &named("a", SameSite::Off), false), "a=1");
        assert_eq!(
            shown("a=1", &named("a", SameSite::Strict), false),
            "a=1; SameSite=Strict"
        );
    }
}
