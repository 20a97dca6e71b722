//! The part of a path behind the `?`.

use super::problem::Wrong;
use super::problem::bad_request;

/// What may be asked for behind a `?`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) service: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) prefix: Option<String>,
}

impl Query {
    /// Takes the names in `allowed`; anything else is a mistake worth telling.
    pub(super) fn parse(text: Option<&str>, allowed: &[&str]) -> Result<Self, Wrong> {
        let mut query = Self::default();
        let pairs = text.unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !allowed.contains(&name) {
                let known = match allowed {
                    [] => "none is taken here".to_owned(),
                    names => format!("this path takes {}", names.join(" and ")),
                };
                return Err(bad_request(&format!("unknown parameter {name:?}; {known}")));
            }
            match name {
                "prefix" => query.prefix = Some(decoded(value)),
                "limit" => query.limit = Some(limit(value)?),
                // Names of services hold nothing that would have to be escaped.
                _ => query.service = Some(value.to_owned()),
            }
        }
        Ok(query)
    }
}

/// What is no escape stays as it is.
fn decoded(value: &str) -> String {
    let bytes = percent_encoding::percent_decode_str(value);
    bytes.decode_utf8_lossy().into_owned()
}

fn limit(value: &str) -> Result<usize, Wrong> {
    let limit = value.parse().ok().filter(|limit| *limit > 0);
    limit.ok_or_else(|| bad_request(&format!("limit is a number from 1 on; got {value:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_taken() {
        let query = Query::parse(Some("service=odoo&limit=5"), &["service", "limit"]).unwrap();
        assert_eq!(query.service.as_deref(), Some("odoo"));
        assert_eq!(query.limit, Some(5));
        let query = Query::parse(Some("prefix=/a%26b%25/"), &["prefix"]).unwrap();
        assert_eq!(query.prefix.as_deref(), Some("/a&b%/"));
        assert_eq!(Query::parse(None, &[]).unwrap(), Query::default());
    }

    #[test]
    fn a_mistake_is_told() {
        let told = |text, allowed: &[&str]| {
            Query::parse(Some(text), allowed)
                .unwrap_err()
                .detail
                .clone()
        };
        assert_eq!(
            told("sevrice=a", &["service"]),
            "unknown parameter \"sevrice\"; this path takes service"
        );
        assert_eq!(
            told("limit=0", &["limit"]),
            "limit is a number from 1 on; got \"0\""
        );
        assert!(told("a=b", &[]).ends_with("none is taken here"));
    }
}
