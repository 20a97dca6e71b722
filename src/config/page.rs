//! The page that people see when a request cannot be answered: HTML with blanks to fill in.

use super::value::clip;
use super::words::Fault;
use std::sync::Arc;

const BUILT_IN: &str = include_str!("error.html");

/// A page that was taken apart at its blanks. Comparing two compares their texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page(Arc<[Piece]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Blank(Blank),
}

/// What a page can show: `{{status}}`, `{{reason}}` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blank {
    Status,
    Reason,
    /// What happened, in a sentence.
    Message,
    /// The id of the request, which is in the log.
    ErrorId,
    /// A line in the head that asks again by itself; nothing where that does not help.
    Refresh,
    /// When to try again, as a sentence; nothing where that does not help.
    Retry,
}

const BLANKS: [(&str, Blank); 6] = [
    ("status", Blank::Status),
    ("reason", Blank::Reason),
    ("message", Blank::Message),
    ("error_id", Blank::ErrorId),
    ("refresh", Blank::Refresh),
    ("retry", Blank::Retry),
];

impl Page {
    /// Takes a text apart. Every `{{` begins a blank; the error's id must be among them.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let known = BLANKS.map(|(name, _)| format!("{{{{{name}}}}}")).join(", ");
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("{{") {
            pieces.push(Piece::Text(rest[..at].into()));
            let inside = &rest[at + 2..];
            let Some((name, behind)) = inside.split_once("}}") else {
                return Err(Fault {
                    what: format!("has a {{{{ without }}}} on line {}", line(text, rest, at)),
                    help: format!("the blanks are {known}"),
                });
            };
            let blank = BLANKS.iter().find(|(known, _)| *known == name.trim());
            let Some((_, blank)) = blank else {
                return Err(Fault {
                    what: format!(
                        "has a blank that is not known on line {}: {{{{{}}}}}",
                        line(text, rest, at),
                        clip(name)
                    ),
                    help: format!("the blanks are {known}"),
                });
            };
            pieces.push(Piece::Blank(*blank));
            rest = behind;
        }
        pieces.push(Piece::Text(rest.into()));
        if !pieces.contains(&Piece::Blank(Blank::ErrorId)) {
            return Err(Fault {
                what: "does not show {{error_id}}".to_owned(),
                help: "put it where people will read it out to you: it is in the log".to_owned(),
            });
        }
        Ok(Self(pieces.into()))
    }

    /// The page, with what `fill` says in its blanks; `fill` vouches that it is HTML.
    pub fn fill(&self, mut fill: impl FnMut(Blank, &mut String)) -> String {
        let mut page = String::new();
        for piece in &*self.0 {
            match piece {
                Piece::Text(text) => page.push_str(text),
                Piece::Blank(blank) => fill(*blank, &mut page),
            }
        }
        page
    }
}

impl Default for Page {
    /// The one that is built in.
    fn default() -> Self {
        Self::parse(BUILT_IN).unwrap_or_else(|_| Self([].into()))
    }
}

/// Counted from 1.
fn line(text: &str, rest: &str, at: usize) -> usize {
    let before = &text[..text.len() - rest.len() + at];
    before.matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn filled(page: &Page) -> String {
        page.fill(|blank, out| {
            let _ = write!(out, "<{blank:?}>");
        })
    }

    #[test]
    fn blanks_are_filled_wherever_they_stand() {
        let page = Page::parse("{{status}} a {{ error_id }}{{retry}} }} b").unwrap();
        assert_eq!(filled(&page), "<Status> a <ErrorId><Retry> }} b");
    }

    #[test]
    fn the_page_that_is_built_in_shows_all_there_is_to_know() {
        let shown = filled(&Page::default());
        for (_, blank) in BLANKS {
            assert!(shown.contains(&format!("<{blank:?}>")), "{blank:?}");
        }
        assert!(shown.starts_with("<!doctype html>"));
        for outside in ["http:", "https:", "//", "url(", "@import", "<script"] {
            assert!(!shown.contains(outside), "it needs something: {outside}");
        }
        assert!(shown.len() < 4096, "it is {} bytes", shown.len());
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let wrong = |text: &str| Page::parse(text).unwrap_err().what;
        assert_eq!(
            wrong("<p>\n{{eror_id}}"),
            "has a blank that is not known on line 2: {{eror_id}}"
        );
        assert_eq!(
            wrong("{{error_id}}\n\n <a {{status} >"),
            "has a {{ without }} on line 3"
        );
        assert_eq!(wrong("<p>sorry</p>"), "does not show {{error_id}}");
    }
}
