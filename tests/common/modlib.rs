//! Frames to and from modlib lines, and what "equal" means between two lines.
#![allow(dead_code, reason = "each test program takes what it needs")]

use std::io::Read;

use base64::Engine;
use kinora::modlib::{Defect, Reader, Writer};
use kinora::slot::{Slot, SlotSizes};
use serde_json::Value;

/// Room for every frame of the shared recordings.
pub const SIZES: SlotSizes = SlotSizes { pixels: 0, jpeg: 1 << 20, side: 1 << 20, sensor: 0, scratch: 0 };

/// A reader for which naive times are UTC.
pub fn reader() -> Reader {
    Reader::new(jiff::tz::TimeZone::UTC)
}

/// Every line of `text` through a slot and back.
pub fn round_trip(text: &[u8], zone: jiff::tz::TimeZone) -> Vec<Result<String, Defect>> {
    let mut slot = Slot::new(&SIZES);
    let (mut reader, mut writer) = (Reader::new(zone), Writer::new());
    text.split_inclusive(|&byte| byte == b'\n')
        .map(|line| {
            reader.read_line(line, &mut slot)?;
            assert!(slot.results.is_consistent(slot.frame(None).side.len()));
            let mut out = Vec::new();
            writer.write_line(&slot.frame(None), &mut out).unwrap();
            Ok(String::from_utf8(out).unwrap())
        })
        .collect()
}

/// A line as a value: bare words become strings, masks are unpacked (their gzip header holds the time of writing), and a
/// missing `frame_count` (modlib before 1.4) becomes null.
pub fn comparable(line: &str) -> Value {
    let mut value: Value = serde_json::from_str(&quote_bare_words(line)).unwrap();
    value.as_object_mut().unwrap().entry("frame_count").or_insert(Value::Null);
    if let Some(results) = value["detections"].as_object_mut() {
        for key in ["mask", "heatmap"] {
            if let Some(packed) = results.get_mut(key) {
                *packed = unpacked(packed);
            }
        }
        for crop in results.get_mut("mask_crops").and_then(Value::as_array_mut).into_iter().flatten() {
            *crop = unpacked(crop);
        }
    }
    value
}

/// The same with all numbers rounded to float32: what is compared when the writer had doubles.
pub fn rounded(mut value: Value) -> Value {
    fn round(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(round),
            Value::Object(items) => items.values_mut().for_each(round),
            Value::Number(number) if number.is_f64() => {
                *value = Value::from(f64::from(number.as_f64().unwrap() as f32));
            }
            _ => {}
        }
    }
    round(&mut value["detections"]);
    value
}

fn unpacked(packed: &Value) -> Value {
    let gzip = base64::engine::general_purpose::STANDARD.decode(packed.as_str().unwrap()).unwrap();
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut raw).unwrap();
    Value::from(raw)
}

fn quote_bare_words(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut in_string = false;
    let mut rest = line;
    while let Some(next) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = word {
            out.push('"');
            out.push_str(word);
            out.push('"');
            rest = &rest[word.len()..];
            continue;
        }
        // modlib's lines hold no escaped quotes.
        in_string ^= next == '"';
        out.push(next);
        rest = &rest[next.len_utf8()..];
    }
    out
}
