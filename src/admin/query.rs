//! The part of a path behind the `?`.

use super::entry::Parameter;
use super::problem::Wrong;
use super::problem::bad_request;
use std::collections::BTreeMap;

/// What was asked for behind a `?`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query(BTreeMap<&'static str, String>);

impl Query {
    /// Takes the names in `allowed`; anything else is a mistake worth telling.
    pub(super) fn parse(text: Option<&str>, allowed: &'static [Parameter]) -> Result<Self, Wrong> {
        let mut values = BTreeMap::new();
        let pairs = text.unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(known) = allowed.iter().find(|known| known.name == name) else {
                return Err(unknown(name, allowed));
            };
            let value = decoded(value);
            if known.is_number {
                is_count(name, &value)?;
            }
            values.insert(known.name, value);
        }
        Ok(Self(values))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    pub(super) fn service(&self) -> Option<&str> {
        self.text("service")
    }

    /// How many at most.
    pub(super) fn limit(&self, unless_asked: usize) -> usize {
        let asked = self.text("limit").and_then(|limit| limit.parse().ok());
        asked.unwrap_or(unless_asked)
    }
}

fn unknown(name: &str, allowed: &[Parameter]) -> Wrong {
    let names: Vec<&str> = allowed.iter().map(|it| it.name).collect();
    let known = match names[..] {
        [] => "none is taken here".to_owned(),
        _ => format!("this path takes {}", names.join(" and ")),
    };
    bad_request(&format!("unknown parameter {name:?}; {known}"))
}

/// What is no escape stays as it is; `+` is a `+`.
fn decoded(value: &str) -> String {
    let bytes = percent_encoding::percent_decode_str(value);
    bytes.decode_utf8_lossy().into_owned()
}

fn is_count(name: &str, value: &str) -> Result<(), Wrong> {
    match value.parse::<usize>() {
        Ok(count) if count > 0 => Ok(()),
        _ => Err(bad_request(&format!(
            "{name} is a number from 1 on; got {value:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::number;
    use super::super::entry::text;
    use super::*;

    const KNOWN: &[Parameter] = &[text("service", ""), text("prefix", ""), number("limit", "")];

    #[test]
    fn what_is_known_is_taken() {
        let query = Query::parse(Some("service=odoo&limit=5"), KNOWN).unwrap();
        assert_eq!((query.service(), query.limit(9)), (Some("odoo"), 5));
        let query = Query::parse(Some("prefix=/a%26b%25/"), KNOWN).unwrap();
        assert_eq!(query.text("prefix"), Some("/a&b%/"));
        assert_eq!(query.limit(9), 9);
        assert_eq!(Query::parse(None, &[]).unwrap(), Query::default());
    }

    #[test]
    fn a_mistake_is_told() {
        let told = |text: &str, allowed: &'static [Parameter]| {
            Query::parse(Some(text), allowed)
                .unwrap_err()
                .detail
                .clone()
        };
        assert_eq!(
            told("sevrice=a", &KNOWN[..1]),
            "unknown parameter \"sevrice\"; this path takes service"
        );
        for wrong in ["0", "", "-1", "x", "99999999999999999999"] {
            assert_eq!(
                told(&format!("limit={wrong}"), KNOWN),
                format!("limit is a number from 1 on; got {wrong:?}")
            );
        }
        assert!(told("a=b", &[]).ends_with("none is taken here"));
    }
}
