//! modlib's timestamps: naive local times as text, to instants and back.

use std::fmt::Write;

use jiff::civil::DateTime;
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use crate::time::WallTime;

/// An instant and the local clock's distance from UTC that the text was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub wall: WallTime,
    pub utc_offset_s: i32,
}

/// The instant that `text` names, or `None` when it is not an ISO 8601 date and time between 1677 and 2262.
///
/// A text with an offset of its own means that. A naive one is local time in `zone`. An hour that passes twice (clocks
/// set back) is taken as the pass nearer to `near`, the instant of the frame before, and as the first pass without one;
/// an hour that is skipped (clocks set forward) is read as if they had not been set.
pub(super) fn parse(text: &str, zone: &TimeZone, near: Option<WallTime>) -> Option<Stamp> {
    let pieces = Pieces::parse(text).ok()?;
    let local = pieces.date().to_datetime(pieces.time().unwrap_or_default());
    match pieces.offset() {
        Some(PiecesOffset::Numeric(numeric)) => at(local, numeric.offset()),
        Some(_) => at(local, Offset::UTC),
        None => match zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => at(local, offset),
            AmbiguousOffset::Gap { before, .. } => at(local, before),
            AmbiguousOffset::Fold { before, after } => {
                let (first, second) = (at(local, before)?, at(local, after)?);
                let distance = |stamp: Stamp| near.map_or(0, |near| (stamp.wall - near).abs().as_ns());
                Some(if distance(second) < distance(first) { second } else { first })
            }
        },
    }
}

fn at(local: DateTime, offset: Offset) -> Option<Stamp> {
    let ns = i64::try_from(offset.to_timestamp(local).ok()?.as_nanosecond()).ok()?;
    Some(Stamp { wall: WallTime::from_utc_ns(ns), utc_offset_s: offset.seconds() })
}

/// The text that a frame gets which has none of its own: `2025-06-14T10:32:07.419283`, always with six digits (modlib
/// leaves a fraction of zero away, and its own speed estimate then fails on it), nanoseconds cut off. An offset that no
/// clock has (a day and more) counts as none.
pub(super) fn text(stamp: Stamp) -> heapless::String<32> {
    let offset = Offset::from_seconds(stamp.utc_offset_s).unwrap_or(Offset::UTC);
    let mut text = heapless::String::new();
    // Every i64 of nanoseconds is inside jiff's range of years.
    let Ok(instant) = jiff::Timestamp::from_nanosecond(stamp.wall.as_utc_ns().into()) else { return text };
    let local = offset.to_datetime(instant);
    let us = local.subsec_nanosecond() / 1_000;
    let (date, time) = (local.date(), local.time());
    let _ = write!(text, "{:04}-{:02}-{:02}T", date.year(), date.month(), date.day());
    let _ = write!(text, "{:02}:{:02}:{:02}.{us:06}", time.hour(), time.minute(), time.second());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    #[test]
    fn the_same_text_comes_back_in_any_zone() {
        for name in ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Chatham", "Asia/Kathmandu"] {
            for written in ["2025-06-14T10:32:07.419283", "2025-12-31T23:59:59.999999", "1969-12-31T23:59:59.000001"] {
                let stamp = parse(written, &zone(name), None).unwrap();
                assert_eq!(text(stamp), written, "{name}");
            }
        }
    }

    #[test]
    fn an_hour_that_passes_twice_goes_on_from_the_frame_before() {
        let berlin = zone("Europe/Berlin");
        let first = parse("2025-10-26T02:59:59.950000", &berlin, None).unwrap();
        assert_eq!(first.utc_offset_s, 7_200, "without a frame before it is the first pass");
        let second = parse("2025-10-26T02:00:00.050000", &berlin, Some(first.wall)).unwrap();
        assert_eq!((second.wall - first.wall, second.utc_offset_s), (Span::from_ms(100), 3_600));
        assert_eq!(text(second), "2025-10-26T02:00:00.050000");
    }

    #[test]
    fn a_time_that_the_clocks_skipped_keeps_its_text() {
        let stamp = parse("2025-03-30T02:30:00.000000", &zone("Europe/Berlin"), None).unwrap();
        assert_eq!(text(stamp), "2025-03-30T02:30:00.000000");
        assert_eq!(stamp, parse("2025-03-30T02:30:00.000000+01:00", &TimeZone::UTC, None).unwrap());
    }

    #[test]
    fn an_offset_in_the_text_is_believed() {
        let stamp = parse("2025-06-14T10:32:07+05:30", &TimeZone::UTC, None).unwrap();
        assert_eq!((stamp.wall.as_utc_ns(), stamp.utc_offset_s), (1_749_877_327_000_000_000, 19_800));
        assert_eq!(parse("2025-06-14T05:02:07Z", &zone("Asia/Tokyo"), None).unwrap().wall, stamp.wall);
    }

    #[test]
    fn what_is_not_a_date_and_time_is_refused() {
        for bad in ["", "yesterday", "2025-13-01T00:00:00", "12:00:00", "9999-01-01T00:00:00", "2025-06-14T25:00:00"] {
            assert_eq!(parse(bad, &TimeZone::UTC, None), None, "{bad:?}");
        }
    }
}
