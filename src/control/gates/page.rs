//! Which scripts and styles an HTML page names.

/// More are not asked for.
const MOST: usize = 50;

/// Paths of the page's own site, in the order of the page, each once.
pub(super) fn assets(page: &[u8], host: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(page);
    let mut assets: Vec<String> = Vec::new();
    for tag in text.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default();
        let name = tag.split(|c: char| c.is_ascii_whitespace()).next();
        let attribute = match name.map(str::to_ascii_lowercase).as_deref() {
            Some("script") => "src",
            Some("link") if is_style(tag) => "href",
            _ => continue,
        };
        let Some(path) = value(tag, attribute).and_then(|url| path(&url, host)) else {
            continue;
        };
        if !assets.contains(&path) && assets.len() < MOST {
            assets.push(path);
        }
    }
    assets
}

fn is_style(tag: &str) -> bool {
    let rel = value(tag, "rel").unwrap_or_default();
    let words = rel.split_ascii_whitespace();
    words
        .into_iter()
        .any(|word| word.eq_ignore_ascii_case("stylesheet"))
}

/// Of an attribute in quotes.
fn value(tag: &str, attribute: &str) -> Option<String> {
    let mut rest = tag;
    loop {
        let at = rest.find(attribute)?;
        let before = rest[..at].chars().next_back();
        rest = &rest[at + attribute.len()..];
        // `data-src` is another one.
        if !before.is_some_and(|c| c.is_ascii_whitespace()) {
            continue;
        }
        let Some(written) = rest.trim_start().strip_prefix('=') else {
            continue;
        };
        let written = written.trim_start();
        let quote = written.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let value = written[1..].split(quote).next()?;
        return Some(value.replace("&amp;", "&"));
    }
}

/// None for other sites, and for what cannot be asked for.
fn path(url: &str, host: &str) -> Option<String> {
    let own = ["https://", "http://", "//"]
        .into_iter()
        .find_map(|scheme| url.strip_prefix(scheme)?.strip_prefix(host));
    let path = own.unwrap_or(url);
    let path = path.split('#').next().unwrap_or_default();
    let sendable = path.bytes().all(|b| b.is_ascii_graphic());
    (path.starts_with('/') && !path.starts_with("//") && sendable).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_styles_of_the_own_site_are_found() {
        let page = br#"<!DOCTYPE html><html><head>
            <link rel="icon" href="/web/favicon.ico"/>
            <link type="text/css" rel="stylesheet" href="/web/assets/1/a.min.css?x=1&amp;y=2"/>
            <link rel="canonical" href="/other"><LINK REL='stylesheet' href='/b.css'>
            <script type="text/javascript" data-src="/lazy.js" src="https://erp.example.com/c.js"></script>
            <script src="/c.js"></script><script src="//cdn.example.com/d.js"></script>
            <script>var x = "<script src='no";</script><script src=></script>
            <script src="relative.js"></script></head></html>"#;
        assert_eq!(
            assets(page, "erp.example.com"),
            ["/web/assets/1/a.min.css?x=1&y=2", "/c.js"]
        );
    }

    #[test]
    fn no_bytes_from_outside_break_it() {
        for page in [
            &b""[..],
            b"<",
            b"<script",
            b"<script src",
            b"<script src=",
            b"<script src=\"",
            b"<script src=\"\xff\xfe/\">",
            "<script src=\"/\u{fc}.js\">".as_bytes(),
            "<\u{1f600}script src='/a'>".as_bytes(),
        ] {
            assert_eq!(assets(page, "h"), Vec::<String>::new());
        }
    }
}
