//! modlib's `Frame` out of the values of a pickle, into a slot.

use std::ops::Range;

use jiff::tz::TimeZone;

use super::machine::{Global, Machine, Value, text};
use crate::frame::{FrameMeta, IntegerFields, Roi};
use crate::modlib::defect::{Defect, Reason, clipped};
use crate::modlib::json_read::{COLOR_FORMATS, IMAGE_TYPES, ROI_KEYS, color_format, image_type, put_image};
use crate::modlib::times::Times;
use crate::results::ResultState;
use crate::slot::Slot;

/// Reads modlib's pickles of one recording, in order, without executing them.
#[derive(Debug)]
pub struct PickleReader {
    times: Times,
    machine: Machine,
}

impl PickleReader {
    /// A reader for which naive timestamps are local times of `zone`.
    pub fn new(zone: TimeZone) -> Self {
        Self { times: Times::new(zone), machine: Machine::default() }
    }

    /// Fills `slot` from one pickle. As [`Reader::read_line`](crate::modlib::Reader::read_line), but an empty result stays one of
    /// its kind and no result is [`ResultState::Absent`]. Trackers that are not as many as the rows are left out, as
    /// modlib leaves them out of its lines.
    ///
    /// # Errors
    /// What is wrong or refused, and its byte in the pickle (its end for values that do not fit); the slot is then empty.
    pub fn read(&mut self, pickle: &[u8], slot: &mut Slot) -> Result<(), Defect> {
        slot.reset();
        slot.meta.sequence = self.times.take_sequence();
        let read = self.fill(pickle, slot);
        if read.is_err() {
            slot.reset();
        }
        read
    }

    /// Counts a pickle that was not read.
    pub(in crate::modlib) fn skip(&mut self) {
        self.times.take_sequence();
    }

    pub(in crate::modlib) fn next_sequence(&self) -> u64 {
        self.times.next_sequence()
    }

    /// The next pickle is the last one once more.
    pub(in crate::modlib) fn step_back(&mut self) {
        self.times.give_back_sequence();
    }

    fn fill(&mut self, pickle: &[u8], slot: &mut Slot) -> Result<(), Defect> {
        let root = self.machine.run(pickle)?;
        let at_end = |reason: Reason| reason.at(pickle.len());
        let values = Values::of(&self.machine, pickle, &root, Global::Frame).map_err(at_end)?;
        read_meta(&values, &mut slot.meta).map_err(at_end)?;
        if let Some(Value::Text(image)) = values.optional("_image") {
            let (in_text, put) = put_image(text(pickle, image), slot);
            put.map_err(|reason| reason.at(image.start + in_text))?;
        }
        match values.optional("_detections") {
            None => slot.results.reset(ResultState::Absent),
            Some(result) => super::results::read(&self.machine, pickle, result, slot).map_err(at_end)?,
        }
        let timestamp = values.text("timestamp").map_err(at_end)?;
        self.times.settle(&mut slot.meta, text(pickle, &timestamp)).map_err(|reason| reason.at(timestamp.start))
    }
}

fn read_meta(values: &Values<'_>, meta: &mut FrameMeta) -> Result<(), Reason> {
    meta.image_type = values.word("image_type", IMAGE_TYPES, image_type)?;
    meta.color_format = values.word("color_format", COLOR_FORMATS, color_format)?;
    meta.width = values.small_int("width", "0..=4294967295")?;
    meta.height = values.small_int("height", "0..=4294967295")?;
    meta.channels = values.small_int("channels", "0..=255")?;
    meta.frame_count = values.small_int("frame_count", "64-bit integers")?;
    meta.new_detection = values.bool("new_detection")?;
    meta.fps = values.number("fps", IntegerFields::FPS, &mut meta.integer_fields)?;
    meta.dps = values.number("dps", IntegerFields::DPS, &mut meta.integer_fields)?;
    meta.roi = match values.optional("roi") {
        None => None,
        Some(roi) => Some(read_roi(values, roi, &mut meta.integer_fields)?),
    };
    Ok(())
}

/// An object of modlib's `ROI`, or four numbers (modlib 1.0.0).
fn read_roi(values: &Values<'_>, roi: &Value, integers: &mut IntegerFields) -> Result<Roi, Reason> {
    let mut found = [0.0; 4];
    match roi {
        Value::Tuple(list) | Value::List(list) => {
            let items = &values.machine.lists[*list];
            if items.len() != 4 {
                return Err(Reason::Length { key: "roi", found: items.len(), expected: 4 });
            }
            for ((place, item), (_, field)) in found.iter_mut().zip(items).zip(ROI_KEYS) {
                *place = number("roi", item, field, integers)?;
            }
        }
        _ => {
            let sides = Values::of(values.machine, values.pickle, roi, Global::Roi)?;
            for (place, (key, field)) in found.iter_mut().zip(ROI_KEYS) {
                *place = sides.number(key, field, integers)?;
            }
        }
    }
    let [left, top, width, height] = found;
    Ok(Roi { left, top, width, height })
}

/// The attributes of an object.
pub(super) struct Values<'a> {
    pub machine: &'a Machine,
    pub pickle: &'a [u8],
    dict: usize,
}

impl<'a> Values<'a> {
    /// # Errors
    /// `value` is no object of `class`, or an unfinished one.
    pub fn of(machine: &'a Machine, pickle: &'a [u8], value: &Value, class: Global) -> Result<Self, Reason> {
        let Value::Object(object) = value else { return Err(Reason::Pickle("a modlib object is missing")) };
        match machine.objects[*object] {
            ref object if object.class != class => Err(Reason::Pickle("an object is of another class")),
            ref object => {
                let dict = object.state.ok_or(Reason::Pickle("an object has no attributes"))?;
                Ok(Self { machine, pickle, dict })
            }
        }
    }

    /// An attribute; `None` when it is missing or Python's None.
    pub fn optional(&self, key: &str) -> Option<&'a Value> {
        let found = self.machine.item(self.pickle, self.dict, key);
        found.filter(|value| !matches!(value, Value::None))
    }

    pub fn text(&self, key: &'static str) -> Result<Range<usize>, Reason> {
        match self.optional(key) {
            Some(Value::Text(range)) => Ok(range.clone()),
            found => Err(wrong(key, "a text", found)),
        }
    }

    pub fn bool(&self, key: &'static str) -> Result<bool, Reason> {
        match self.optional(key) {
            Some(Value::Bool(value)) => Ok(*value),
            // numpy's bool.
            Some(Value::Int(value @ 0..=1)) => Ok(*value == 1),
            found => Err(wrong(key, "true or false", found)),
        }
    }

    pub fn number(&self, key: &'static str, field: u8, integers: &mut IntegerFields) -> Result<f64, Reason> {
        let found = self.optional(key).ok_or(Reason::Missing(key))?;
        number(key, found, field, integers)
    }

    fn small_int<T: TryFrom<i64>>(&self, key: &'static str, allowed: &'static str) -> Result<Option<T>, Reason> {
        match self.optional(key) {
            None => Ok(None),
            Some(Value::Int(value)) => T::try_from(*value).map(Some).map_err(|_| Reason::OutOfRange { key, allowed }),
            found => Err(wrong(key, "an integer", found)),
        }
    }

    fn word<T>(
        &self,
        key: &'static str,
        known: &'static str,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Reason> {
        match self.optional(key) {
            None => Ok(None),
            Some(Value::Text(range)) => {
                let word = text(self.pickle, range);
                find(word).map(Some).ok_or_else(|| Reason::UnknownWord { key, found: clipped(word), known })
            }
            found => Err(wrong(key, "a text", found)),
        }
    }
}

fn number(key: &'static str, value: &Value, field: u8, integers: &mut IntegerFields) -> Result<f64, Reason> {
    match value {
        Value::Float(value) => Ok(*value),
        Value::Int(value) if *value as f64 as i128 == i128::from(*value) => {
            integers.set(field);
            Ok(*value as f64)
        }
        Value::Int(_) => Err(Reason::OutOfRange { key, allowed: "the integers that a double holds" }),
        found => Err(wrong(key, "a number", Some(found))),
    }
}

pub(super) fn wrong(key: &'static str, expected: &'static str, found: Option<&Value>) -> Reason {
    let found = match found {
        None | Some(Value::None) => "nothing",
        Some(Value::Bool(_)) => "true or false",
        Some(Value::Int(_) | Value::Float(_)) => "a number",
        Some(Value::Text(_)) => "a text",
        Some(Value::Bytes(_)) => "bytes",
        Some(Value::Tuple(_) | Value::List(_)) => "a list",
        Some(Value::Dict(_)) => "a dictionary",
        Some(Value::Array(_)) => "an array",
        Some(Value::Global(_) | Value::Object(_) | Value::Dtype(_)) => "an object",
    };
    Reason::WrongType { key, expected, found }
}
