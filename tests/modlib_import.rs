//! Whole modlib recordings with damage in them: what is good comes in, line and byte of the rest are told.
#![cfg(feature = "modlib")]

use std::io::{self, Read};

use jiff::tz::TimeZone;
use kinora::modlib::{Format, Import, Imported};
use kinora::slot::{Slot, SlotSizes};

const SIZES: SlotSizes = SlotSizes { pixels: 0, jpeg: 1 << 10, side: 1 << 10, sensor: 0, scratch: 0 };

fn line(number: u32) -> String {
    format!(
        concat!(
            r#"{{"timestamp": "2025-06-14T10:33:00.{:06}", "image_type": "VGA", "width": 160, "height": 120, "#,
            r#""channels": 3, "new_detection": true, "fps": 0, "dps": 10.0, "color_format": "BGR"}}"#,
            "\n"
        ),
        number * 100_000,
    )
}

/// Frames as `#sequence`, refusals as their message.
fn imported(input: impl Read, limit: usize) -> Vec<String> {
    let mut import = Import::new(input, Format::Json, TimeZone::UTC, limit);
    let mut slot = Slot::new(&SIZES);
    let mut found = Vec::new();
    loop {
        match import.next(&mut slot).unwrap() {
            Imported::Frame => found.push(format!("#{}", slot.meta.sequence)),
            Imported::Broken(broken) => found.push(broken.to_string()),
            Imported::End => return found,
        }
    }
}

#[test]
fn every_damage_that_stops_modlib_costs_only_its_own_line() {
    let (a, b) = (line(0), line(1));
    let second = a.len();
    let cases: [(&str, Vec<u8>, Vec<String>); 11] = [
        ("nothing", Vec::new(), vec![]),
        (
            "last line without a line feed",
            [a.as_bytes(), b.trim_end().as_bytes()].concat(),
            vec!["#0".into(), "#1".into()],
        ),
        (
            "last line cut in the middle",
            [a.as_bytes(), &b.as_bytes()[..60]].concat(),
            vec![
                "#0".into(),
                format!("line 2, byte {}: the last line is torn: EOF while parsing a string", second + 60),
            ],
        ),
        ("empty lines", format!("\n{a}\n \t\n{b}\n").into_bytes(), vec!["#0".into(), "#1".into()]),
        ("CRLF", format!("{a}{b}").replace('\n', "\r\n").into_bytes(), vec!["#0".into(), "#1".into()]),
        (
            "garbage",
            format!("{a}garbage\n{b}").into_bytes(),
            vec!["#0".into(), format!("line 2, byte {second}: not JSON: expected value"), "#2".into()],
        ),
        (
            "two objects on one line",
            format!("{}{b}{a}", a.trim_end()).into_bytes(),
            vec![format!("line 1, byte {}: not JSON: trailing characters", second - 1), "#1".into()],
        ),
        (
            "zero bytes at the end",
            [a.as_bytes(), &[0; 5000]].concat(),
            vec!["#0".into(), format!("line 2, byte {second}: the last line is torn: expected value")],
        ),
        (
            "a byte order mark",
            format!("\u{feff}{a}{b}").into_bytes(),
            vec!["line 1, byte 0: not JSON: expected value".into(), "#1".into()],
        ),
        (
            "invalid UTF-8 in a key that is not looked at",
            [b"{\"x\": \"\xff\"}\n", a.as_bytes()].concat(),
            vec!["line 1, byte 11: timestamp is missing".into(), "#1".into()],
        ),
        (
            "an array of nothing else",
            [b"[[[[\n", a.as_bytes()].concat(),
            vec!["line 1, byte 0: line should be an object, found a list".into(), "#1".into()],
        ),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(imported(&bytes[..], 1 << 20), expected, "{name}");
    }
}

#[test]
fn a_line_above_the_limit_is_refused_in_bounded_memory() {
    /// A first line, then a billion letters, then a last line.
    struct Endless {
        front: io::Cursor<String>,
        letters: u64,
        back: io::Cursor<String>,
    }
    impl Read for Endless {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let read = self.front.read(out)?;
            if read > 0 || self.letters == 0 {
                return if read > 0 { Ok(read) } else { self.back.read(out) };
            }
            let len = out.len().min(self.letters as usize);
            out[..len].fill(b'x');
            self.letters -= len as u64;
            Ok(len)
        }
    }
    let input = Endless {
        front: io::Cursor::new(line(0)),
        letters: 1_000_000_000,
        back: io::Cursor::new(format!("\n{}", line(1))),
    };
    let found = imported(input, 1 << 20);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[1].ends_with("the line is longer than 1048576 bytes"), "{found:?}");
    assert_eq!(found[2], "#2");
}

#[test]
fn an_input_that_fails_is_an_error_and_not_an_end() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let mut import = Import::new(Failing, Format::Json, TimeZone::UTC, 1 << 20);
    let error = import.next(&mut Slot::new(&SIZES)).unwrap_err();
    assert_eq!(error.to_string(), "the disk is gone");
}
