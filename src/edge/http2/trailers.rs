//! Fields behind a body.

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;

/// How many fields a trailer section may hold; the engine lets no more pass.
const MOST_TRAILERS: usize = 64;

/// The fields of a trailer section; none when there are none.
pub(super) fn trailers(section: &[u8]) -> Option<HeaderMap> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(section, &mut fields)
    else {
        return None;
    };
    let mut map = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    (!map.is_empty()).then_some(map)
}
