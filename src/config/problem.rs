//! What is wrong in a config file: where, what, and how to mend it.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;

/// One thing to mend. Shown as `FILE:LINE:COLUMN: what is wrong`, then `  help: how to mend it`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    /// None when the file as a whole cannot be read.
    pub place: Option<Place>,
    pub what: String,
    pub help: String,
}

/// A place in a text file; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}\n  help: {}", self.what, self.help)
    }
}

/// Every problem, one after the other, and how many there are: what `switchd check` prints.
#[must_use]
pub fn summary(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let text = lines.join("\n");
    let number = match problems.len() {
        1 => "1 problem".to_owned(),
        many => format!("{many} problems"),
    };
    match problems.first() {
        None => text,
        Some(first) => format!("{text}\n{number} in {}\n", first.file.display()),
    }
}

/// Where in the text something was written, in bytes.
pub(super) type At = Range<usize>;

/// Past this many, mending some first is the better plan.
pub(super) const MOST_PROBLEMS: usize = 100;

/// Collects problems while a text is read.
pub(super) struct Report<'t> {
    text: &'t str,
    found: RefCell<Vec<Found>>,
}

struct Found {
    at: usize,
    what: String,
    help: String,
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            found: RefCell::default(),
        }
    }

    pub(super) fn add(&self, at: &At, what: impl Into<String>, help: impl Into<String>) {
        self.found.borrow_mut().push(Found {
            at: at.start,
            what: what.into(),
            help: help.into(),
        });
    }

    /// The line on which something stands, for words such as "first on line 12".
    pub(super) fn line(&self, at: &At) -> usize {
        place(self.text, at.start).line
    }

    /// In the order of the file, the first hundred; where there are more, the last one says so.
    pub(super) fn into_problems(self, file: &Path) -> Vec<Problem> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|found| found.at);
        let more = found.len().saturating_sub(MOST_PROBLEMS);
        if let Some(first_left_out) = found.get(MOST_PROBLEMS) {
            let at = first_left_out.at;
            found.truncate(MOST_PROBLEMS);
            found.push(Found {
                at,
                what: format!("from here on there are {more} more problems"),
                help: "mend those above first".to_owned(),
            });
        }
        found
            .into_iter()
            .map(|found| Problem {
                file: file.to_owned(),
                place: Some(place(self.text, found.at)),
                what: found.what,
                help: found.help,
            })
            .collect()
    }
}

/// Where the byte at `offset` stands; past the end counts as the end.
pub(super) fn place(text: &str, offset: usize) -> Place {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    Place {
        line: 1 + memchr::memchr_iter(b'\n', before).count(),
        // Counts characters without asking that `offset` is at a character's start.
        column: 1 + before[line_start..]
            .iter()
            .filter(|byte| **byte & 0xC0 != 0x80)
            .count(),
    }
}

/// The known word that is nearest to a mistyped one, if it is near enough to be meant.
pub(super) fn nearest<'k>(
    written: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    // A text that long is no slip of the keyboard, and comparing costs its square.
    if written.len() > 64 {
        return None;
    }
    let folded = written.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|word| (distance(&folded, word), word))
        .filter(|(distance, word)| {
            *distance <= word.len().max(folded.len()).div_ceil(4).min(3)
                || (folded.len() >= 4 && (word.starts_with(&folded) || folded.starts_with(word)))
        })
        .min()
        .map(|(_, word)| word)
}

/// How many letters must be changed, added, left out or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (row[j] + 1).min(next[j - 1] + 1).min(row[j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_what_and_how() {
        let problem = Problem {
            file: "a.toml".into(),
            place: Some(Place { line: 3, column: 7 }),
            what: "`x` is wrong".into(),
            help: "leave it out".into(),
        };
        assert_eq!(
            problem.to_string(),
            "a.toml:3:7: `x` is wrong\n  help: leave it out"
        );
        let whole = Problem {
            place: None,
            ..problem
        };
        assert_eq!(
            whole.to_string(),
            "a.toml: `x` is wrong\n  help: leave it out"
        );
        assert_eq!(
            summary(std::slice::from_ref(&whole)),
            "a.toml: `x` is wrong\n  help: leave it out\n1 problem in a.toml\n"
        );
    }

    #[test]
    fn places_count_characters_from_one() {
        let text = "a\nüü b\n";
        assert_eq!(place(text, 0), Place { line: 1, column: 1 });
        assert_eq!(place(text, 2), Place { line: 2, column: 1 });
        assert_eq!(place(text, 7), Place { line: 2, column: 4 });
        assert_eq!(place(text, 99), Place { line: 3, column: 1 });
    }

    #[test]
    fn problems_come_in_the_order_of_the_file() {
        let report = Report::new("one\ntwo\n");
        report.add(&(4..5), "second", "");
        report.add(&(0..1), "first", "");
        let found = report.into_problems(Path::new("f"));
        assert_eq!(
            found.iter().map(|p| p.what.as_str()).collect::<Vec<_>>(),
            ["first", "second"]
        );
    }

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let known = ["interval", "fast_interval", "timeout", "path", "rise"];
        assert_eq!(nearest("intervall", known), Some("interval"));
        assert_eq!(nearest("tiemout", known), Some("timeout"));
        assert_eq!(nearest("Fast-Interval", known), Some("fast_interval"));
        assert_eq!(nearest("timeout_seconds", known), Some("timeout"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest(&"x".repeat(1000), known), None);
    }
}
