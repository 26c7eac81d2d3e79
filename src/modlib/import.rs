//! All frames of a modlib recording, one after another, with what is broken reported by line and byte.

use std::fmt;
use std::io::{self, Read};

use jiff::tz::TimeZone;

use super::defect::{Defect, Reason};
use super::feed::{Feed, Lines, Unit};
use super::json_read::Reader;
use super::pickle::{PickleReader, Pickles};
use crate::slot::Slot;

/// The two forms of modlib's recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `JsonCodec`: one JSON object a line.
    Json,
    /// `PickleCodec`: pickles of protocol 4 or 5, one after another. They are read, never executed.
    Pickle,
}

impl Format {
    /// What a file that begins with `bytes` holds: a pickle begins with 0x80 and its protocol, which no text does.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.first() == Some(&0x80) { Self::Pickle } else { Self::Json }
    }
}

/// A line or pickle that is not a frame.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct Broken {
    /// The line, or the number of the pickle, from 1.
    pub line: u64,
    /// The byte in the whole input, from 0.
    pub byte: u64,
    /// What is wrong there; its byte counts from the start of the line or pickle.
    pub defect: Defect,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, byte, defect } = self;
        write!(f, "line {line}, byte {byte}: {}", defect.reason)
    }
}

/// What [`Import::next`] found.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Imported {
    /// The slot holds the next frame.
    Frame,
    /// The next line is not a frame; ask again for the one after.
    Broken(Broken),
    /// The input has ended.
    End,
}

/// Reads a recording of modlib from any input.
///
/// Memory: one line or pickle, at most `limit` bytes (longer ones are passed over and reported), and the working memory
/// of the reader.
#[derive(Debug)]
pub struct Import<R> {
    feed: Feed<R>,
    parts: Parts,
    line: u64,
    newest: (u64, usize),
    ended: bool,
}

#[derive(Debug)]
enum Parts {
    Json(Lines, Box<Reader>),
    Pickle(Pickles, Box<PickleReader>),
}

/// Longest line or pickle by default: a picture of 48 MB.
pub const LINE_BYTES_MAX: usize = 64 << 20;

impl<R: Read> Import<R> {
    /// Reads `input`; naive timestamps are local times of `zone`; lines above `limit` bytes are refused.
    pub fn new(input: R, format: Format, zone: TimeZone, limit: usize) -> Self {
        let parts = match format {
            Format::Json => Parts::Json(Lines::default(), Box::new(Reader::new(zone))),
            Format::Pickle => Parts::Pickle(Pickles::default(), Box::new(PickleReader::new(zone))),
        };
        Self { feed: Feed::new(input, limit), parts, line: 0, newest: (0, 0), ended: false }
    }

    /// Puts the next frame into `slot`. Blank lines are passed over. Frames that do not fit the slot are reported as
    /// [`Reason::TooBig`].
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn next(&mut self, slot: &mut Slot) -> io::Result<Imported> {
        loop {
            if let Some(found) = self.take(slot) {
                return Ok(found);
            }
            self.read_more()?;
        }
    }

    /// The next frame if its bytes are already here (or the end is known); `None` when [`read_more`](Self::read_more)
    /// must come first.
    pub fn take(&mut self, slot: &mut Slot) -> Option<Imported> {
        loop {
            let Some(unit) = self.ready() else {
                return self.ended.then_some(Imported::End);
            };
            self.line += 1;
            let (line, start) = (self.line, self.feed.offset());
            self.newest = (start, unit.len);
            let read = self.read_unit(&unit, slot);
            self.feed.consume(unit.len);
            match read {
                None => {}
                Some(Ok(())) => return Some(Imported::Frame),
                Some(Err(defect)) => {
                    let byte = start + defect.byte as u64;
                    return Some(Imported::Broken(Broken { line, byte, defect }));
                }
            }
        }
    }

    /// Reads from the input once; that is where waiting happens.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn read_more(&mut self) -> io::Result<()> {
        let more = match &mut self.parts {
            Parts::Json(lines, _) => lines.more(&mut self.feed)?,
            Parts::Pickle(pickles, _) => pickles.more(&mut self.feed)?,
        };
        self.ended = !more;
        Ok(())
    }

    /// Lines or pickles seen so far, good and bad.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Where the newest line or pickle lies in the input: its first byte, and how many it has.
    pub fn newest(&self) -> (u64, usize) {
        self.newest
    }

    /// The input.
    pub fn input(&mut self) -> &mut R {
        self.feed.input()
    }

    fn ready(&mut self) -> Option<Unit> {
        match &mut self.parts {
            Parts::Json(lines, _) => lines.ready(&mut self.feed),
            Parts::Pickle(pickles, _) => pickles.ready(&mut self.feed),
        }
    }

    /// `None` for a blank line.
    fn read_unit(&mut self, unit: &Unit, slot: &mut Slot) -> Option<Result<(), Defect>> {
        let bytes = &self.feed.bytes()[..unit.len];
        match &mut self.parts {
            Parts::Json(_, reader) => {
                if let Some(reason) = &unit.refused {
                    reader.skip_line();
                    slot.reset();
                    return Some(Err(reason.clone().at(0)));
                }
                if bytes.trim_ascii().is_empty() {
                    return None;
                }
                let read = reader.read_line(bytes, slot);
                Some(read.map_err(|defect| if unit.whole { defect } else { torn(defect) }))
            }
            Parts::Pickle(_, reader) => {
                if let Some(reason) = &unit.refused {
                    slot.reset();
                    return Some(Err(reason.clone().at(unit.len)));
                }
                Some(reader.read(bytes, slot))
            }
        }
    }
}

/// A last line without a line feed that is not JSON was cut off.
fn torn(defect: Defect) -> Defect {
    match defect.reason {
        Reason::Syntax(what) => Reason::Torn(what).at(defect.byte),
        _ => defect,
    }
}
