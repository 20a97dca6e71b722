//! The lines of a file, newest first, in bounded memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

const BLOCK: u64 = 64 << 10;

/// A longer line is not one of ours, and is passed over.
const LONGEST: usize = 1 << 20;

/// Yields lines without their end, last line first, also one whose end is missing. No empty ones.
#[derive(Debug)]
pub(super) struct Backwards {
    file: File,
    /// Where the part that has not been read yet ends.
    unread: u64,
    /// What has been read and not yielded.
    held: Vec<u8>,
    overlong: bool,
}

impl Backwards {
    pub(super) fn new(mut file: File) -> io::Result<Self> {
        let unread = file.seek(SeekFrom::End(0))?;
        Ok(Self {
            file,
            unread,
            held: Vec::new(),
            overlong: false,
        })
    }

    fn read_block(&mut self) -> io::Result<()> {
        let length = self.unread.min(BLOCK);
        self.unread -= length;
        self.file.seek(SeekFrom::Start(self.unread))?;
        let mut block = Vec::new();
        (&mut self.file).take(length).read_to_end(&mut block)?;
        block.append(&mut self.held);
        self.held = block;
        Ok(())
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self.held.iter().rposition(|byte| *byte == b'\n');
        let line = match end {
            Some(end) => {
                let line = self.held.split_off(end + 1);
                self.held.truncate(end);
                line
            }
            None if self.unread == 0 => std::mem::take(&mut self.held),
            None => {
                if self.held.len() > LONGEST {
                    self.overlong = true;
                    self.held.clear();
                }
                return None;
            }
        };
        // The rest of a line of which the end was thrown away already.
        if std::mem::take(&mut self.overlong) {
            return Some(Vec::new());
        }
        Some(line)
    }
}

impl Iterator for Backwards {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.unread == 0 && self.held.is_empty() {
                return None;
            }
            match self.take_line() {
                Some(line) if line.is_empty() => {}
                Some(line) => return Some(Ok(line)),
                None => {
                    if let Err(error) = self.read_block() {
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn backwards(content: &[u8]) -> Vec<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Backwards::new(file)
            .unwrap()
            .map(|line| String::from_utf8(line.unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn lines_come_newest_first() {
        assert_eq!(backwards(b"one\ntwo\nthree\n"), ["three", "two", "one"]);
        assert_eq!(backwards(b"one\n\n\ntwo"), ["two", "one"]);
        assert_eq!(backwards(b"\n"), [""; 0]);
        assert_eq!(backwards(b""), [""; 0]);
    }

    #[test]
    fn lines_that_cross_blocks_are_whole() {
        let lines: Vec<String> = (0..2000)
            .map(|n| format!("{n:0width$}", width = n % 977 + 4))
            .collect();
        let content = lines.join("\n") + "\n";
        assert!(content.len() as u64 > 4 * BLOCK);
        let mut newest_first = lines;
        newest_first.reverse();
        assert_eq!(backwards(content.as_bytes()), newest_first);
    }

    #[test]
    fn an_overlong_line_is_passed_over() {
        let mut content = b"one\n".to_vec();
        content.extend(vec![b'x'; 3 * LONGEST]);
        content.extend(b"\ntwo\n");
        assert_eq!(backwards(&content), ["two", "one"]);
    }
}
