//! Bytes of an input, as many as are needed at a time and never more than a limit.

use std::io::{self, BufRead, Read};

use super::defect::Reason;

/// A window over an input: filled behind, consumed in front, with one buffer that grows only to `limit`.
#[derive(Debug)]
pub(super) struct Feed<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
    offset: u64,
}

/// What [`Feed::more`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    /// There are more bytes now.
    Read,
    /// The input has ended.
    End,
    /// The window is as large as it may become.
    Full,
}

/// First size of the buffer, and the least that is read at once: a modlib line with a VGA picture is 150 KB.
const CHUNK: usize = 256 << 10;

impl<R: Read> Feed<R> {
    /// A window of at most `limit` bytes over `input`.
    pub fn new(input: R, limit: usize) -> Self {
        Self { input, buffer: vec![0; CHUNK.min(limit)], start: 0, end: 0, limit, offset: 0 }
    }

    /// The bytes at hand.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Where they begin in the input.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The input itself.
    pub fn input(&mut self) -> &mut R {
        &mut self.input
    }

    /// Lets go of the first `len` bytes.
    pub fn consume(&mut self, len: usize) {
        self.start += len;
        self.offset += len as u64;
    }

    /// Reads once from the input. An interrupted read counts as one that brought nothing.
    pub fn more(&mut self) -> io::Result<More> {
        if self.end == self.buffer.len() && !self.make_room() {
            return Ok(More::Full);
        }
        match self.input.read(&mut self.buffer[self.end..]) {
            Ok(0) => Ok(More::End),
            Ok(read) => {
                self.end += read;
                Ok(More::Read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(More::Read),
            Err(error) => Err(error),
        }
    }

    fn make_room(&mut self) -> bool {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        } else if self.buffer.len() < self.limit {
            self.buffer.resize((self.buffer.len() * 2).min(self.limit), 0);
        }
        self.end < self.buffer.len()
    }
}

/// One frame's bytes in an input: where they lie, and what is wrong if they cannot even be cut out.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// Bytes in the window that belong to it, its line feed included.
    pub len: usize,
    /// Why it is no use.
    pub refused: Option<Reason>,
    /// False when the input ended before its line feed.
    pub whole: bool,
}

/// Finds lines in a [`Feed`].
#[derive(Debug, Default)]
pub(super) struct Lines {
    scanned: usize,
    skipping: bool,
    ended: bool,
}

impl Lines {
    /// The first line of the window if it lies there wholly, or is what is left at the end of the input.
    pub fn ready<R: Read>(&mut self, feed: &mut Feed<R>) -> Option<Unit> {
        let limit = feed.limit;
        let bytes = feed.bytes();
        let mut rest = &bytes[self.scanned..];
        // Reading from a slice cannot fail.
        self.scanned += rest.skip_until(b'\n').unwrap_or(0);
        let found = self.scanned > 0 && bytes[self.scanned - 1] == b'\n';
        if found || self.ended && !bytes.is_empty() || self.ended && self.skipping {
            let refused = self.skipping.then_some(Reason::TooLong { what: "the line", limit });
            let unit = Unit { len: self.scanned, refused, whole: found };
            (self.scanned, self.skipping) = (0, false);
            return Some(unit);
        }
        if self.skipping {
            feed.consume(self.scanned);
            self.scanned = 0;
        }
        None
    }

    /// Takes in more of the input; false when there is no more.
    pub fn more<R: Read>(&mut self, feed: &mut Feed<R>) -> io::Result<bool> {
        match feed.more()? {
            More::Read => {}
            More::End => self.ended = true,
            // The line does not fit: from here on it is only counted.
            More::Full => self.skipping = true,
        }
        Ok(!self.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives three bytes at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let len = self.0.len().min(out.len()).min(3);
            out[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    fn lines(text: &[u8], limit: usize) -> Vec<(u64, Vec<u8>, bool)> {
        let mut feed = Feed::new(Slow(text), limit);
        let mut lines = Lines::default();
        let mut found = Vec::new();
        loop {
            while let Some(unit) = lines.ready(&mut feed) {
                found.push((feed.offset(), feed.bytes()[..unit.len].to_vec(), unit.refused.is_none()));
                feed.consume(unit.len);
            }
            if lines.ended {
                return found;
            }
            lines.more(&mut feed).unwrap();
        }
    }

    #[test]
    fn lines_are_found_however_the_bytes_arrive() {
        let found = lines(b"one\n\ntwo three\nlast", 100);
        let texts: Vec<&[u8]> = found.iter().map(|(_, text, _)| &text[..]).collect();
        assert_eq!(texts, [&b"one\n"[..], b"\n", b"two three\n", b"last"]);
        assert_eq!(found.iter().map(|(at, ..)| *at).collect::<Vec<_>>(), [0, 4, 5, 15]);
        assert!(lines(b"", 100).is_empty());
    }

    #[test]
    fn a_line_above_the_limit_is_passed_over_in_bounded_memory_and_the_next_is_read() {
        let found = lines(b"short\nthis line is far too long\nnext\n", 10);
        assert_eq!(found.iter().map(|(.., good)| *good).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(found[2].1, b"next\n");
        let torn = lines(b"ok\nan endless line without an end", 10);
        assert_eq!(torn.iter().map(|(.., good)| *good).collect::<Vec<_>>(), [true, false]);
    }
}
