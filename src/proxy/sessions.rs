//! Answers that would log their user out: Odoo's, while its database is down.
//!
//! It cannot look the session up, takes its cookie for void, gives out a new one and sends the browser to the
//! same address once more. Whoever takes that answer is logged out, although the session is still there.

use super::answer::Exchange;
use super::fault::Fault;
use super::response::ResponseHead;

/// Refuses such an answer where the service guards its sessions.
pub(super) fn guard(head: &ResponseHead<'_>, exchange: &Exchange<'_>) -> Result<(), Fault> {
    if !matches!(head.status, 301..=303 | 307 | 308) {
        return Ok(());
    }
    let seat = exchange.flight.seat.borrow();
    let Some(seat) = seat.as_ref() else {
        return Ok(());
    };
    let errors = &seat.ticket.service().settings.errors;
    if !errors.guard_sessions {
        return Ok(());
    }
    // After a POST it is the usual way to show what was posted.
    let is_read = matches!(exchange.flight.method.borrow().as_str(), "GET" | "HEAD");
    let target = exchange.flight.target.borrow();
    let to_itself = head
        .find("location")
        .is_some_and(|location| is_same(&target, location));
    let mut cookies = head.all("set-cookie");
    let takes_session = cookies.any(|cookie| names(cookie, errors.session_cookie.as_bytes()));
    if is_read && to_itself && takes_session {
        return Err(Fault::LoggedOut);
    }
    Ok(())
}

/// Whether a cookie line sets the cookie of this name.
fn names(cookie: &[u8], name: &[u8]) -> bool {
    let given = cookie.split(|byte| *byte == b'=').next();
    given.is_some_and(|given| given.trim_ascii() == name)
}

/// Whether a Location leads to what was asked for: the same path and query, in whatever spelling. One that was
/// asked for a database by name (`?db=`) answers so when it is well.
fn is_same(target: &[u8], location: &[u8]) -> bool {
    let (target, location) = (local(target), local(location.trim_ascii()));
    let query = target
        .split(|byte| *byte == b'?')
        .nth(1)
        .unwrap_or_default();
    let names_database = query
        .split(|byte| *byte == b'&')
        .any(|pair| pair.starts_with(b"db="));
    let decode = |text| percent_encoding::percent_decode(text).collect::<Vec<_>>();
    !names_database && decode(target) == decode(location)
}

/// Without scheme, host and fragment.
fn local(address: &[u8]) -> &[u8] {
    let address = address
        .split(|byte| *byte == b'#')
        .next()
        .unwrap_or(address);
    let Some(at) = memchr::memmem::find(address, b"://") else {
        return address;
    };
    let behind = &address[at + 3..];
    if memchr::memchr3(b'/', b'?', b'#', &address[..at]).is_some() {
        // It stands in a query.
        return address;
    }
    match memchr::memchr(b'/', behind) {
        Some(path) => &behind[path..],
        None => b"/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_way_back_to_the_same_address_is_one() {
        for (target, location) in [
            ("/odoo", "/odoo"),
            ("/odoo", "http://shop.example/odoo"),
            ("/odoo?debug=1", "https://shop.example:8443/odoo?debug=1#x"),
            ("/web/a%20b", "/web/a b"),
            ("http://shop.example/odoo", "/odoo"),
            ("/", "http://shop.example"),
        ] {
            assert!(
                is_same(target.as_bytes(), location.as_bytes()),
                "{target} {location}"
            );
        }
        for (target, location) in [
            ("/odoo", "/web/login"),
            ("/odoo", "/odoo/"),
            ("/shop?utm=1", "/shop"),
            ("/web?db=other", "/web?db=other"),
            ("/odoo", ""),
            ("/r?to=http://a/b", "/b"),
        ] {
            assert!(
                !is_same(target.as_bytes(), location.as_bytes()),
                "{target} {location}"
            );
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        assert!(names(b"session_id=abc; Path=/", b"session_id"));
        assert!(!names(b"session_id2=abc", b"session_id"));
        assert!(!names(b"frontend_lang=session_id", b"session_id"));
    }
}
