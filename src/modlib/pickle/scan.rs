//! Instructions of a pickle and where each ends, after Python's `pickletools`.

use std::io::{self, Read};
use std::ops::Range;

use crate::modlib::defect::Reason;
use crate::modlib::feed::{Feed, More, Unit};

/// One instruction: its opcode, its argument without a length prefix, and where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub opcode: u8,
    pub argument: Range<usize>,
    pub next: usize,
}

pub(super) const STOP: u8 = b'.';

/// How the argument of an instruction is laid out.
enum Layout {
    /// So many bytes.
    Fixed(usize),
    /// A little-endian length of so many bytes, then that many.
    Prefixed(usize),
    /// So many lines.
    Lines(usize),
}

/// The instruction at byte `at`; `None` when it is not wholly inside `bytes`.
pub(super) fn instruction(bytes: &[u8], at: usize) -> Result<Option<Instruction>, Reason> {
    let Some(&opcode) = bytes.get(at) else { return Ok(None) };
    let start = at + 1;
    let argument = match layout(opcode).ok_or(Reason::Opcode(opcode))? {
        Layout::Fixed(len) => Some(start..start + len),
        Layout::Prefixed(prefix) => bytes.get(start..start + prefix).and_then(|length| {
            let length = length.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
            let start = start + prefix;
            // A length that no memory holds is not there.
            Some(start..start.checked_add(usize::try_from(length).ok()?)?)
        }),
        Layout::Lines(lines) => lines_end(bytes, start, lines)?.map(|end| start..end),
    };
    Ok(argument.filter(|argument| argument.end <= bytes.len()).map(|argument| {
        let next = argument.end;
        Instruction { opcode, argument, next }
    }))
}

/// Longest argument of the old text instructions: two names.
const TEXT_BYTES_MAX: usize = 4096;

fn lines_end(bytes: &[u8], start: usize, lines: usize) -> Result<Option<usize>, Reason> {
    let text = bytes.get(start..).unwrap_or_default();
    let mut feeds = (0..).zip(text.iter().take(TEXT_BYTES_MAX)).filter(|(_, byte)| **byte == b'\n');
    match feeds.nth(lines - 1) {
        Some((at, _)) => Ok(Some(start + at + 1)),
        None if text.len() >= TEXT_BYTES_MAX => Err(Reason::Pickle("it has a text argument above 4096 bytes")),
        None => Ok(None),
    }
}

const fn layout(opcode: u8) -> Option<Layout> {
    Some(match opcode {
        b'(' | STOP | b'0'..=b'2' | b'N' | b'Q' | b'R' | b'a' | b'b' | b'd' | b'}' | b'e' | b'l' | b']' | b'o' => {
            Layout::Fixed(0)
        }
        b's' | b't' | b')' | b'u' | 0x81 | 0x85..=0x89 | 0x8F..=0x94 | 0x97 | 0x98 => Layout::Fixed(0),
        b'K' | b'h' | b'q' | 0x80 | 0x82 => Layout::Fixed(1),
        b'M' | 0x83 => Layout::Fixed(2),
        b'J' | b'j' | b'r' | 0x84 => Layout::Fixed(4),
        b'G' | 0x95 => Layout::Fixed(8),
        b'U' | b'C' | 0x8A | 0x8C => Layout::Prefixed(1),
        b'T' | b'X' | b'B' | 0x8B => Layout::Prefixed(4),
        0x8D | 0x8E | 0x96 => Layout::Prefixed(8),
        b'F' | b'I' | b'L' | b'P' | b'S' | b'V' | b'g' | b'p' => Layout::Lines(1),
        b'c' | b'i' => Layout::Lines(2),
        _ => return None,
    })
}

/// Finds pickles in a [`Feed`]: they stand one after another without a separator.
#[derive(Debug, Default)]
pub(in crate::modlib) struct Pickles {
    scanned: usize,
    ended: bool,
    full: bool,
    lost: bool,
}

impl Pickles {
    /// The first pickle of the window if it lies there wholly, or why it cannot be cut out; after that its end, and with it
    /// the begin of the next one, is not known, and the rest of the input is given up.
    pub fn ready<R: Read>(&mut self, feed: &mut Feed<R>) -> Option<Unit> {
        if self.lost {
            feed.consume(feed.bytes().len());
            return None;
        }
        let bytes = feed.bytes();
        let refused = loop {
            match instruction(bytes, self.scanned) {
                Ok(Some(instruction)) => {
                    self.scanned = instruction.next;
                    if instruction.opcode == STOP {
                        return Some(self.unit(None));
                    }
                }
                Ok(None) if self.full => break Reason::TooLong { what: "the pickle", limit: bytes.len() },
                Ok(None) if self.ended && !bytes.is_empty() => break Reason::Pickle("it is cut off"),
                Ok(None) => return None,
                Err(reason) => break reason,
            }
        };
        self.lost = true;
        Some(self.unit(Some(refused)))
    }

    fn unit(&mut self, refused: Option<Reason>) -> Unit {
        let len = std::mem::take(&mut self.scanned);
        Unit { len, refused, whole: true }
    }

    /// Takes in more of the input; false when there is no more, or no use in it.
    pub fn more<R: Read>(&mut self, feed: &mut Feed<R>) -> io::Result<bool> {
        match feed.more()? {
            More::Read => {}
            More::End => self.ended = true,
            More::Full => self.full = true,
        }
        Ok(!self.ended && !self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8], limit: usize) -> Vec<(usize, Option<Reason>)> {
        let mut feed = Feed::new(bytes, limit);
        let mut pickles = Pickles::default();
        let mut found = Vec::new();
        loop {
            while let Some(unit) = pickles.ready(&mut feed) {
                feed.consume(unit.len);
                found.push((unit.len, unit.refused));
            }
            if pickles.ended || pickles.lost {
                return found;
            }
            pickles.more(&mut feed).unwrap();
        }
    }

    #[test]
    fn pickles_one_after_another_are_told_apart() {
        // pickle.dumps('a.', 4) and pickle.dumps(None, 4): a stop mark inside a string is none.
        let two = b"\x80\x04\x8c\x02a.\x94.\x80\x04N.";
        assert_eq!(pieces(two, 100), [(8, None), (4, None)]);
    }

    #[test]
    fn what_cannot_be_cut_out_ends_the_reading_with_its_byte() {
        assert_eq!(pieces(b"\x80\x04N.\x80\x04\x8c\x09abc", 100)[1], (2, Some(Reason::Pickle("it is cut off"))));
        assert_eq!(pieces(b"\x80\x04\xFFN.", 100), [(2, Some(Reason::Opcode(0xFF)))]);
        assert_eq!(pieces(b"{}", 100), [(0, Some(Reason::Opcode(b'{')))]);
    }

    #[test]
    fn a_pickle_of_gigabytes_is_refused_at_the_limit() {
        let mut bytes = b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec();
        bytes.resize(1000, 0);
        assert!(matches!(pieces(&bytes, 64)[..], [(2, Some(Reason::TooLong { limit: 64, .. }))]));
    }
}
