//! One form of an answer's body: in memory, in a file, or both.

use crate::config::Coding;
use arc_swap::ArcSwapOption;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

/// As it came, or encoded by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    Plain,
    Coded(Coding),
}

impl Form {
    /// How many there are.
    pub(super) const COUNT: usize = 1 + Coding::ALL.len();

    pub(super) fn index(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Coded(coding) => 1 + coding as usize,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Coded(coding) => coding.token(),
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        let coded = Coding::ALL.into_iter().map(Self::Coded);
        coded.chain([Self::Plain]).find(|form| form.name() == name)
    }
}

/// One form of a body.
#[derive(Debug)]
pub struct Body {
    pub form: Form,
    pub length: u64,
    pub(super) path: Box<Path>,
    /// Where it begins in its file; set once the file is whole.
    pub(super) offset: OnceLock<u64>,
    memory: ArcSwapOption<Vec<u8>>,
    /// Asked for since the hand came by last.
    visited: AtomicBool,
}

impl Body {
    /// In memory, and in no file yet.
    pub(super) fn fresh(form: Form, bytes: Vec<u8>, path: Box<Path>) -> Self {
        Self {
            form,
            length: bytes.len() as u64,
            path,
            offset: OnceLock::new(),
            memory: ArcSwapOption::from_pointee(bytes),
            visited: AtomicBool::new(false),
        }
    }

    /// In a file that an earlier run has left.
    pub(super) fn filed(form: Form, length: u64, path: Box<Path>, offset: u64) -> Self {
        Self {
            form,
            length,
            path,
            offset: OnceLock::from(offset),
            memory: ArcSwapOption::empty(),
            visited: AtomicBool::new(false),
        }
    }

    /// The bytes, when they are in memory.
    #[must_use]
    pub fn bytes(&self) -> Option<Arc<Vec<u8>>> {
        self.memory.load_full()
    }

    /// Somebody asks for it; whether somebody did before, since the hand came by.
    pub(super) fn visit(&self) -> bool {
        // Relaxed: a hint to eviction that stands alone.
        self.visited.swap(true, Ordering::Relaxed)
    }

    pub(super) fn forget_visit(&self) -> bool {
        self.visited.swap(false, Ordering::Relaxed)
    }

    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.memory.load().is_some()
    }

    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        self.offset.get().is_some()
    }

    pub(super) fn put_in_memory(&self, bytes: Vec<u8>) {
        self.memory.store(Some(Arc::new(bytes)));
    }

    pub(super) fn drop_from_memory(&self) {
        self.memory.store(None);
    }

    /// Opens its file, and tells where in it the body begins. Blocks: never on a worker's thread.
    ///
    /// # Errors
    /// There is none, or it is gone: then it was evicted in between.
    pub fn open(&self) -> io::Result<(File, u64)> {
        let offset = self.offset.get().ok_or(io::ErrorKind::NotFound)?;
        Ok((File::open(&self.path)?, *offset))
    }
}
