//! All frames of a modlib recording, one after another, with what is broken reported by line and byte.

use std::fmt;
use std::io::{self, Read};

use jiff::tz::TimeZone;

use super::defect::{Defect, Reason};
use super::feed::{Feed, Lines, Unit};
use super::json_read::Reader;
use super::pickle::{PickleReader, Pickles};
use crate::limits::{PICTURE_BYTES_MAX, SIDE_PLANE_BYTES_MAX};
use crate::slot::{Slot, SlotSizes, TooBig};

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
    ended: bool,
    /// The newest line or pickle: it stays in the window until the next one is asked for.
    unit: Option<Unit>,
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
        Self { feed: Feed::new(input, limit), parts, line: 0, ended: false, unit: None }
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
            if let Some(done) = self.unit.take() {
                self.feed.consume(done.len);
            }
            let Some(unit) = self.ready() else {
                return self.ended.then_some(Imported::End);
            };
            self.line += 1;
            let read = self.read_unit(&unit, slot);
            self.unit = Some(unit);
            if let Some(read) = read {
                return Some(self.answer(read));
            }
        }
    }

    /// As [`next`](Self::next), with a slot that is replaced by a larger one whenever a frame does not fit, up to the limits.
    /// For those who do not know yet how large frames are; `sizes` are the slot's.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn next_fitting(&mut self, slot: &mut Box<Slot>, sizes: &mut SlotSizes) -> io::Result<Imported> {
        loop {
            if let Some(found) = self.take_fitting(slot, sizes) {
                return Ok(found);
            }
            self.read_more()?;
        }
    }

    /// As [`take`](Self::take), with a slot that grows as in [`next_fitting`](Self::next_fitting).
    pub fn take_fitting(&mut self, slot: &mut Box<Slot>, sizes: &mut SlotSizes) -> Option<Imported> {
        let found = self.take(slot)?;
        Some(self.fit(found, slot, sizes))
    }

    /// As [`again`](Self::again), with a slot that grows as in [`next_fitting`](Self::next_fitting).
    pub fn again_fitting(&mut self, slot: &mut Box<Slot>, sizes: &mut SlotSizes) -> Imported {
        let found = self.again(slot);
        self.fit(found, slot, sizes)
    }

    fn fit(&mut self, mut found: Imported, slot: &mut Box<Slot>, sizes: &mut SlotSizes) -> Imported {
        while let Imported::Broken(Broken { defect: Defect { reason: Reason::TooBig(too_big), .. }, .. }) = &found {
            let Some(larger) = enlarged(*sizes, too_big) else { break };
            *sizes = larger;
            *slot = Slot::new(sizes);
            found = self.again(slot);
        }
        found
    }

    /// Reads the newest line or pickle once more, with the same sequence number: for callers that made a larger slot.
    pub fn again(&mut self, slot: &mut Slot) -> Imported {
        let Some(unit) = self.unit.take() else { return Imported::End };
        match &mut self.parts {
            Parts::Json(_, reader) => reader.step_back(),
            Parts::Pickle(_, reader) => reader.step_back(),
        }
        let read = self.read_unit(&unit, slot);
        self.unit = Some(unit);
        read.map_or(Imported::End, |read| self.answer(read))
    }

    /// Where the newest line or pickle lies in the input: its first byte and its length.
    pub fn newest(&self) -> (u64, usize) {
        (self.feed.offset(), self.unit.as_ref().map_or(0, |unit| unit.len))
    }

    /// The sequence number of the newest line or pickle; broken ones have one, too.
    pub fn sequence(&self) -> u64 {
        let next = match &self.parts {
            Parts::Json(_, reader) => reader.next_sequence(),
            Parts::Pickle(_, reader) => reader.next_sequence(),
        };
        next.saturating_sub(1)
    }

    fn answer(&self, read: Result<(), Defect>) -> Imported {
        match read {
            Ok(()) => Imported::Frame,
            Err(defect) => {
                let byte = self.feed.offset() + defect.byte as u64;
                Imported::Broken(Broken { line: self.line, byte, defect })
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
                    reader.skip();
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

/// Sizes in which `too_big` fits, or `None` at the limits.
fn enlarged(sizes: SlotSizes, too_big: &TooBig) -> Option<SlotSizes> {
    let grown = |limit: usize| (too_big.needed <= limit).then(|| too_big.needed.saturating_mul(2).min(limit));
    if too_big.plane == "JPEG" {
        Some(SlotSizes { jpeg: grown(PICTURE_BYTES_MAX)?, ..sizes })
    } else {
        Some(SlotSizes { side: grown(SIDE_PLANE_BYTES_MAX)?, ..sizes })
    }
}
