//! A list of paths, with all that is below them.

use super::path::Path;
use super::path::Prefix;

/// Beginnings of paths, by whole segments; a segment `*` stands for any one.
#[derive(Debug, Clone, Default)]
pub struct Paths(Vec<Prefix>);

impl Paths {
    #[must_use]
    pub fn new(prefixes: &[String]) -> Self {
        Self(prefixes.iter().map(|it| Prefix::new(it)).collect())
    }

    /// In at least one reading the path of `target` is one of these or below one, or it cannot be told.
    #[must_use]
    pub fn may_hold(&self, target: &str) -> bool {
        Path::of(target).may_be_below(&self.0)
    }
}
