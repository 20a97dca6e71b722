//! Which part of a site a path belongs to: as few as tell a broken one from the others.

/// Segments of a path that are looked at.
const DEEPEST: usize = 4;
const LONGEST_SEGMENT: usize = 40;
/// Behind these stand a model and one of its methods.
const CALLS: [&str; 3] = ["web/dataset/call_kw", "web/dataset/call_button", "json/2"];

/// `sale.order/action_confirm` of Odoo's calls, and `/orders/*/items` of `/orders/4711/items?page=2`.
pub(super) fn part_of(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let path = without_authority(&path).trim_start_matches('/');
    for call in CALLS {
        if let Some(rest) = path.strip_prefix(call).and_then(|it| it.strip_prefix('/')) {
            let mut names = rest.split('/').map(general);
            if let (Some(model), Some(method)) = (names.next(), names.next()) {
                return format!("{model}/{method}");
            }
        }
    }
    let mut part = String::new();
    for (at, segment) in path.split('/').enumerate() {
        part.push('/');
        if at == DEEPEST {
            part.push_str("...");
            break;
        }
        part.push_str(general(segment));
    }
    part
}

/// The target of a request to a proxy names its server.
fn without_authority(path: &str) -> &str {
    match path.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => path,
    }
}

/// A number, an id or anything else that is one of many becomes a star.
fn general(segment: &str) -> &str {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~');
    let is_version = segment.len() <= 3
        && segment.starts_with(['v', 'V'])
        && segment[1..].bytes().all(|byte| byte.is_ascii_digit());
    let is_one_of_many = segment.len() > LONGEST_SEGMENT
        || !segment.bytes().all(plain)
        || segment.bytes().any(|byte| byte.is_ascii_digit());
    if is_one_of_many && !is_version {
        "*"
    } else {
        segment
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    #[test]
    fn a_call_is_its_model_and_method() {
        for path in [
            "/web/dataset/call_kw/sale.order/action_confirm",
            "/web/dataset/call_button/sale.order/action_confirm",
            "/json/2/sale.order/action_confirm",
            "http://erp.test/web/dataset/call_kw/sale.order/action_confirm",
        ] {
            assert_eq!(
                part_of(path.as_bytes()),
                "sale.order/action_confirm",
                "{path}"
            );
        }
    }

    #[test]
    fn one_of_many_is_a_star() {
        for (path, part) in [
            ("/", "/"),
            ("/orders/4711/items", "/orders/*/items"),
            ("/api/v2/users/a81bc81b-dead-4e5d", "/api/v2/users/*"),
            ("/a/b/c/d/e/f", "/a/b/c/d/..."),
            ("/crash%00", "/*"),
            ("/caf\u{e9}", "/*"),
            ("*", "/*"),
            ("/web/dataset/call_kw", "/web/dataset/call_kw"),
            (
                "/web/dataset/call_kw/res.partner",
                "/web/dataset/call_kw/res.partner",
            ),
        ] {
            assert_eq!(part_of(path.as_bytes()), part, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(part_of(&bytes).len() <= 5 * (LONGEST_SEGMENT + 1) + 4);
        }
    }
}
