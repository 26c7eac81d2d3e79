//! `kinora cat FILE`: the records of a recording as lines of text or JSON.

use std::path::Path;

use kinora::recording::{Entry, ReadError, Reader};
use kinora::{ClockPair, Frame};
use serde::Serialize;

use super::command::Range;
use super::end::{End, Failure};
use super::json::{ClockJson, EventJson, FrameJson, LossJson};
use super::open;
use super::output::{Manner, Results};
use super::units::show_utc;

/// A damaged place, as `cat --json --all` prints it.
#[derive(Serialize)]
struct DamagedJson {
    record: &'static str,
    offset: u64,
    bytes: u64,
    kind: Option<&'static str>,
    reason: String,
}

/// Prints the frames of the range; with `all`, every record between them as well.
pub fn run(file: &Path, range: &Range, all: bool, manner: Manner) -> Result<End, Failure> {
    let mut reader = open::reader(file)?;
    let events: Vec<_> = match reader.events() {
        Ok(events) => events.into_iter().map(|(_, event)| event).collect(),
        Err(error) => {
            manner.warn(error);
            Vec::new()
        }
    };
    let clock = clock_of(&reader);
    let part = open::frames_of(range, &reader, &events, clock)?;
    let mut printer = Printer { results: Results::new(), manner, damaged: false };
    match (all, part) {
        (true, part) => printer.records(&mut reader, part.filter(|_| *range != Range::default()))?,
        (false, Some((first, last))) => printer.frames(&mut reader, first, last)?,
        (false, None) => {}
    }
    printer.results.flush()?;
    Ok(if printer.damaged { End::Lost } else { End::Done })
}

/// Both clocks at one recorded instant: the newest pair, which knows about the steps before it.
pub fn clock_of(reader: &Reader) -> ClockPair {
    let newest = reader.totals().clock;
    if newest == ClockPair::default() { reader.header().clock } else { newest }
}

struct Printer {
    results: Results,
    manner: Manner,
    damaged: bool,
}

impl Printer {
    fn frames(&mut self, reader: &mut Reader, first: u64, last: u64) -> Result<(), Failure> {
        for index in first..=last {
            let offset = reader.frame_offset(index);
            match reader.read_frame(index) {
                Ok(frame) => self.frame(&frame, index, offset)?,
                Err(error @ ReadError::OutOfRange { .. }) => return Err(Failure::Failed(error.to_string())),
                Err(error) => {
                    self.damaged = true;
                    self.manner.warn(error);
                }
            }
        }
        Ok(())
    }

    fn frame(&mut self, frame: &Frame<'_>, index: u64, offset: Option<u64>) -> Result<(), Failure> {
        if self.manner.json {
            self.results.json(&FrameJson::new(frame, offset))?;
        } else {
            self.results.line(format_args!("{index:>7}  {}  {frame}", show_utc(frame.meta.captured_wall)))?;
        }
        Ok(())
    }

    /// All records in the order of the file; of a part, those from its first to its last frame.
    fn records(&mut self, reader: &mut Reader, part: Option<(u64, u64)>) -> Result<(), Failure> {
        let bounds = part.map(|(first, last)| (reader.frame_offset(first).unwrap_or(0), reader.frame_offset(last)));
        let mut records = reader.records();
        while let Some(record) = records.next() {
            let offset = record.offset;
            let inside = bounds.is_none_or(|(from, to)| offset >= from && to.is_none_or(|to| offset <= to));
            if !inside {
                continue;
            }
            match record.entry {
                Entry::Frame { ordinal, frame } => self.frame(&frame, ordinal, Some(offset))?,
                entry => self.other(&entry, offset, record.bytes)?,
            }
        }
        Ok(())
    }

    fn other(&mut self, entry: &Entry<'_>, offset: u64, bytes: u64) -> Result<(), Failure> {
        let (json, results) = (self.manner.json, &mut self.results);
        match entry {
            Entry::Loss(loss) if json => results.json(&LossJson::new(loss, offset))?,
            Entry::Loss(loss) => {
                let (first, last) = (loss.first_sequence, loss.last_sequence);
                results.line(format_args!("   loss  {} frames, #{first} to #{last}: {}", loss.count, loss.cause))?;
            }
            Entry::Event(event) if json => results.json(&EventJson::new(event, offset))?,
            Entry::Event(event) => {
                let (kind, time) = (event.kind.name(), show_utc(event.wall));
                results.line(format_args!("  event  {time}  {kind}: {}", event.text))?;
            }
            Entry::Clock(note) if json => results.json(&ClockJson::new(note.pair, note.step_ns, offset))?,
            Entry::Clock(note) => {
                let (time, step) = (show_utc(note.pair.wall), kinora::Span::from_ns(note.step_ns));
                results.line(format_args!("  clock  {time}, stepped by {step}"))?;
            }
            Entry::Damaged { kind, reason } => {
                self.damaged = true;
                let (kind, reason) = (kind.map(|kind| kind.name()), reason.to_string());
                if json {
                    results.json(&DamagedJson { record: "damaged", offset, bytes, kind, reason })?;
                } else {
                    results.line(format_args!("damaged  {bytes} bytes at {offset}: {reason}"))?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
