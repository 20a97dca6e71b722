//! Long bodies that nobody has to keep: their bytes follow from their place.

use std::ops::Range;
use std::sync::LazyLock;

/// The period of the pattern: a prime, so that no buffer's size divides it.
const PERIOD: usize = 65_521;

/// Bytes of a file.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Bytes(Vec<u8>),
    /// So many bytes of the pattern.
    Pattern(u64),
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Pattern(length) => *length,
        }
    }

    /// The bytes in `range`, which lies inside.
    pub(crate) fn piece(&self, range: Range<u64>) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => {
                let at = |place: u64| usize::try_from(place).unwrap();
                bytes[at(range.start)..at(range.end)].to_vec()
            }
            Self::Pattern(_) => pattern(range),
        }
    }

    /// Of the whole.
    pub(crate) fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        let mut at = 0;
        while at < self.len() {
            let end = self.len().min(at + PERIOD as u64);
            digest.add(&self.piece(at..end));
            at = end;
        }
        digest
    }

    /// As Odoo names a file in its filestore, and in the `ETag` of an attachment.
    pub(super) fn checksum(&self) -> String {
        match self {
            Self::Bytes(bytes) => format!("{:08x}{:032x}", Digest::of(bytes).hash, bytes.len()),
            Self::Pattern(length) => format!("{length:040x}"),
        }
    }
}

/// One period; neither a short cycle nor text.
static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..PERIOD as u64)
        .map(|place| (place.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
        .collect()
});

fn pattern(range: Range<u64>) -> Vec<u8> {
    let wanted = usize::try_from(range.end - range.start).unwrap();
    let mut bytes = Vec::with_capacity(wanted);
    let mut within = usize::try_from(range.start % PERIOD as u64).unwrap();
    while bytes.len() < wanted {
        let end = BLOCK.len().min(within + wanted - bytes.len());
        bytes.extend_from_slice(&BLOCK[within..end]);
        within = 0;
    }
    bytes
}

/// What a body was, without keeping it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Digest {
    pub(crate) length: u64,
    pub(crate) hash: u32,
}

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut digest = Self::default();
        digest.add(bytes);
        digest
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.hash);
        hasher.update(bytes);
        self.hash = hasher.finalize();
        self.length += bytes.len() as u64;
    }
}
