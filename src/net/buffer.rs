//! Input buffers that are lent by the worker's own pool and given back when empty.

use std::cell::RefCell;

/// For heads and small bodies.
pub const SMALL: usize = 8 * 1024;
/// For bodies and tunnels.
pub const LARGE: usize = 64 * 1024;

/// How many empty ones of each size a thread keeps.
const KEPT_SMALL: usize = 128;
const KEPT_LARGE: usize = 16;

thread_local! {
    static SMALL_ONES: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static LARGE_ONES: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes read but not yet used. Without bytes it holds no memory once [`Buffer::release`] was called.
#[derive(Debug, Default)]
pub struct Buffer {
    memory: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// What was read and not yet used.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// Marks the first `count` bytes as used.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "only bytes that were read can be used");
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Room to read into: at least one byte, unless the buffer is full at `size` or more bytes.
    /// Takes memory of `size` from the pool where there is none or it is smaller.
    pub fn room(&mut self, size: usize) -> &mut [u8] {
        if self.memory.len() < size
            && (self.memory.is_empty() || self.end == self.memory.len() || self.is_empty())
        {
            self.grow(size);
        } else if self.end == self.memory.len() && self.start > 0 {
            self.memory.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.memory[self.end..]
    }

    /// Tells that `count` bytes of the room were filled.
    ///
    /// # Panics
    /// When there was less room.
    pub fn filled(&mut self, count: usize) {
        assert!(
            self.end + count <= self.memory.len(),
            "what was read fits the room it was read into"
        );
        self.end += count;
    }

    /// Puts `bytes` behind what is there, and takes as much memory as that needs.
    pub fn append(&mut self, bytes: &[u8]) {
        let needed = self.len() + bytes.len();
        if self.memory.len() - self.end < bytes.len() {
            let size = match needed {
                0..=SMALL => SMALL,
                more => more.next_power_of_two().max(LARGE),
            };
            self.grow(size.max(self.memory.len()));
        }
        self.memory[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Gives the memory back to the pool if nothing is in it.
    pub fn release(&mut self) {
        if self.is_empty() && !self.memory.is_empty() {
            self.start = 0;
            self.end = 0;
            give_back(std::mem::take(&mut self.memory));
        }
    }

    fn grow(&mut self, size: usize) {
        let mut larger = take(size);
        let held = self.len();
        larger[..held].copy_from_slice(self.bytes());
        give_back(std::mem::replace(&mut self.memory, larger));
        self.start = 0;
        self.end = held;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.memory));
    }
}

fn take(size: usize) -> Box<[u8]> {
    let kept = match size {
        SMALL => SMALL_ONES.with_borrow_mut(Vec::pop),
        LARGE => LARGE_ONES.with_borrow_mut(Vec::pop),
        _ => None,
    };
    kept.unwrap_or_else(|| vec![0; size].into_boxed_slice())
}

fn give_back(memory: Box<[u8]>) {
    let (pool, most) = match memory.len() {
        SMALL => (&SMALL_ONES, KEPT_SMALL),
        LARGE => (&LARGE_ONES, KEPT_LARGE),
        _ => return,
    };
    pool.with_borrow_mut(|kept| {
        if kept.len() < most {
            kept.push(memory);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut Buffer, size: usize, bytes: &[u8]) {
        buffer.room(size)[..bytes.len()].copy_from_slice(bytes);
        buffer.filled(bytes.len());
    }

    #[test]
    fn bytes_come_out_as_they_went_in_across_growth_and_compaction() {
        let mut buffer = Buffer::default();
        let text: Vec<u8> = (0..SMALL).map(|i| u8::try_from(i % 251).unwrap()).collect();
        fill(&mut buffer, SMALL, &text);
        buffer.consume(10);
        fill(&mut buffer, SMALL, b"0123456789");
        assert_eq!(buffer.bytes()[..SMALL - 10], text[10..]);
        assert!(buffer.bytes().ends_with(b"0123456789"));
        assert!(buffer.room(SMALL).is_empty(), "full");
        fill(&mut buffer, LARGE, b"more");
        assert_eq!(buffer.len(), SMALL + 4);
        assert_eq!(buffer.bytes()[..SMALL - 10], text[10..]);
    }

    #[test]
    fn what_is_appended_stands_behind_what_was_there_whatever_its_size() {
        let mut buffer = Buffer::default();
        let mut expected = Vec::new();
        for size in [0, 1, SMALL - 1, 10, LARGE, 3 * LARGE] {
            let piece = vec![u8::try_from(size % 251).unwrap(); size];
            buffer.append(&piece);
            expected.extend_from_slice(&piece);
            assert_eq!(buffer.bytes(), expected);
        }
        buffer.consume(SMALL);
        buffer.append(b"end");
        assert!(buffer.bytes().ends_with(b"end"));
        assert_eq!(buffer.len(), expected.len() - SMALL + 3);
    }

    #[test]
    fn an_empty_buffer_gives_its_memory_back() {
        let mut buffer = Buffer::default();
        fill(&mut buffer, SMALL, b"x");
        buffer.release();
        assert_eq!(buffer.bytes(), b"x", "never while it holds bytes");
        buffer.consume(1);
        buffer.release();
        assert!(buffer.memory.is_empty());
    }
}
