//! Values with units, as people type them: `1GiB`, `10m`, `1/2`, `640x480`, `bookmark:goal`.
//!
//! Integers only: `0.5` is read as five tenths, never as a float, so that what is typed is exactly what happens. Every
//! message names what was typed and what would have been right.

use jiff::Timestamp as Instant;
use kinora::playback::{Place, Rate};
use kinora::{Span, WallTime};

/// Why a text is not a value; names the text and the remedy.
pub type Refusal = String;

/// A number of bytes: `4096`, `100MB` (powers of 1000), `1GiB` (powers of 1024), `1.5GiB`.
pub fn bytes(text: &str) -> Result<u64, Refusal> {
    let wrong = || format!("`{text}` is not a size; write a number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB");
    let (number, unit) = split_unit(text);
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1_u128 << 40,
        _ => return Err(wrong()),
    };
    let (value, tenths) = decimal(number).ok_or_else(wrong)?;
    u64::try_from(value.saturating_mul(scale) / tenths).ok().filter(|&n| n <= i64::MAX as u64).ok_or_else(wrong)
}

/// A span of time: `500ms`, `10s`, `10m`, `1h30m`, `250us`, `80ns`, `1.5s`. Zero and above.
pub fn span(text: &str) -> Result<Span, Refusal> {
    let wrong =
        || format!("`{text}` is not a time; write a number with ns, us, ms, s, m, h or d, such as 10s or 1h30m");
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(wrong)?;
        let after = &rest[digits..];
        let unit = &after[..after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len())];
        let scale = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return Err(wrong()),
        };
        let (value, tenths) = decimal(&rest[..digits]).ok_or_else(wrong)?;
        total = total.saturating_add(value.saturating_mul(scale) / tenths);
        rest = &after[unit.len()..];
    }
    if text.is_empty() {
        return Err(wrong());
    }
    i64::try_from(total).map(Span::from_ns).map_err(|_| wrong())
}

/// A speed: `1`, `2`, `1/2`, `0.5`, `-1`, `max`. Not zero: a still picture is `--start-paused`.
pub fn speed(text: &str) -> Result<Rate, Refusal> {
    let rate: Rate = text.parse().map_err(|wrong| format!("`{text}` is not a speed: {wrong}"))?;
    if rate.is_frozen() {
        return Err("a speed of 0 never ends; use --start-paused to begin with a still picture".into());
    }
    Ok(rate)
}

/// A frame rate as a ratio: `30`, `29.97`, `30000/1001`; above 0 and at most 1,000.
pub fn frame_rate(text: &str) -> Result<(u32, u32), Refusal> {
    let wrong =
        || format!("`{text}` is not a frame rate; write frames a second up to 1000, such as 30, 29.97 or 30000/1001");
    match speed(text).map_err(|_| wrong())? {
        Rate::At(ratio) if !ratio.is_reverse() => {
            let (n, d) = (ratio.numerator().unsigned_abs(), ratio.denominator());
            if n / d > 1_000 { Err(wrong()) } else { Ok((n, d)) }
        }
        _ => Err(wrong()),
    }
}

/// Width and height in pixels: `640x480`.
pub fn size(text: &str) -> Result<(u32, u32), Refusal> {
    let largest = kinora::limits::SIDE_PIXELS_MAX;
    let wrong =
        || format!("`{text}` is not a picture size; write WIDTHxHEIGHT in pixels up to {largest}, such as 640x480");
    let side = |text: &str| whole(text).and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=largest).contains(n));
    let (width, height) = text.split_once(['x', 'X', '×']).ok_or_else(wrong)?;
    side(width).zip(side(height)).ok_or_else(wrong)
}

/// A whole number between two bounds, both included.
pub fn number(text: &str, least: u64, most: u64) -> Result<u64, Refusal> {
    let value = whole(text).and_then(|n| u64::try_from(n).ok()).filter(|n| (least..=most).contains(n));
    value.ok_or_else(|| format!("`{text}` is not a whole number from {least} to {most}"))
}

/// A fraction from 0 to 1, both included.
pub fn fraction(text: &str) -> Result<f32, Refusal> {
    let value = text.parse::<f32>().ok().filter(|x| (0.0..=1.0).contains(x));
    value.ok_or_else(|| format!("`{text}` is not a fraction; write a number from 0 to 1, such as 0.5"))
}

/// A position: `120` (frame, from 0), `10s` (after the first frame), `2026-03-01T12:00:00Z`, `bookmark:TEXT`.
pub fn position(text: &str) -> Result<Place, Refusal> {
    if let Some(name) = text.strip_prefix("bookmark:") {
        return Ok(Place::Bookmark(name.to_owned()));
    }
    if let Some(index) = whole(text) {
        return u64::try_from(index).map(Place::Frame).map_err(|_| format!("frame {text} cannot exist"));
    }
    if let Ok(offset) = span(text) {
        return Ok(Place::Offset(offset));
    }
    if let Ok(instant) = text.parse::<Instant>() {
        let ns = i64::try_from(instant.as_nanosecond()).map_err(|_| format!("{text} is outside 1677..2262"))?;
        return Ok(Place::Wall(WallTime::from_utc_ns(ns)));
    }
    Err(format!(
        "`{text}` is not a position; write a frame number (120), a time after the start (10s), an RFC 3339 time with its \
         zone (2026-03-01T12:00:00Z) or bookmark:TEXT"
    ))
}

/// Bytes for people: three significant digits, powers of 1000.
pub fn show_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.5 || unit == "TB" {
            let digits = if unit == "B" || value >= 100.0 { 0 } else { 1 + usize::from(value < 10.0) };
            return format!("{value:.digits$} {unit}");
        }
        value /= 1_000.0;
    }
    unreachable!("the last unit takes every value")
}

/// A span for people: `3 d 4 h`, `1:02:03`, `12.5 s`.
pub fn show_span(span: Span) -> String {
    let ns = span.as_ns().max(0);
    let (s, tenth) = (ns / 1_000_000_000, ns % 1_000_000_000 / 100_000_000);
    match s {
        0..60 => format!("{s}.{tenth} s"),
        60..86_400 => format!("{}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3_600 % 24),
    }
}

/// A wall-clock time as RFC 3339 in UTC with nine digits, as every `--json` output has it.
pub fn show_utc(wall: WallTime) -> String {
    match Instant::from_nanosecond(i128::from(wall.as_utc_ns())) {
        Ok(instant) => format!("{instant:.9}"),
        Err(_) => unreachable!("64 bits of nanoseconds lie inside the calendar"),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// Digits only; at most 18 of them, more is no value that anybody means.
fn whole(text: &str) -> Option<u128> {
    let good = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if good { text.parse().ok() } else { None }
}

/// `12.5` as (125, 10): value and the power of ten below it.
fn decimal(text: &str) -> Option<(u128, u128)> {
    let Some((before, after)) = text.split_once('.') else { return Some((whole(text)?, 1)) };
    let fraction = whole(after).filter(|_| after.len() <= 9)?;
    let power = 10_u128.pow(after.len() as u32);
    let value = if before.is_empty() { 0 } else { whole(before)? };
    Some((value * power + fraction, power))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinora::Speed;

    #[test]
    fn sizes_know_both_families_of_units() {
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        assert_eq!(bytes("100MB"), Ok(100_000_000));
        assert_eq!(bytes("1.5 KiB"), Ok(1_536));
        assert_eq!(bytes("4096"), Ok(4_096));
        for wrong in ["", "GiB", "-1", "1.GiB", "1..2MB", "10 parsecs", "99999999999TiB", "1e9"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_add_up_their_parts() {
        assert_eq!(span("500ms"), Ok(Span::from_ms(500)));
        assert_eq!(span("1h30m"), Ok(Span::from_s(5_400)));
        assert_eq!(span("0.1s"), Ok(Span::from_ms(100)));
        for wrong in ["", "10", "s", "-1s", "1x", "1s2", "9999999999999d", "."] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn speeds_are_exact_ratios() {
        let ratio = |n, d| Ok(Rate::At(Speed::new(n, d).unwrap()));
        assert_eq!(speed("1/2"), ratio(1, 2));
        assert_eq!(speed("0.5"), ratio(1, 2));
        assert_eq!(speed("-1"), ratio(-1, 1));
        assert_eq!(speed("2"), ratio(2, 1));
        assert_eq!(speed("max"), Ok(Rate::Max));
        for wrong in ["", "0", "1/0", "fast", "--1", "1/-2", "2000000", "NaN", "1/2/3"] {
            assert!(speed(wrong).is_err(), "{wrong}");
        }
        assert_eq!(frame_rate("29.97"), Ok((2997, 100)));
        assert_eq!(frame_rate("30000/1001"), Ok((30_000, 1_001)));
        assert!(frame_rate("-30").is_err() && frame_rate("max").is_err() && frame_rate("1001").is_err());
    }

    #[test]
    fn positions_are_frames_offsets_instants_or_bookmarks() {
        assert_eq!(position("120"), Ok(Place::Frame(120)));
        assert_eq!(position("1.5s"), Ok(Place::Offset(Span::from_ms(1_500))));
        assert_eq!(position("1970-01-01T01:00:01+01:00"), Ok(Place::Wall(WallTime::from_utc_ns(1_000_000_000))));
        assert_eq!(position("bookmark:goal 1"), Ok(Place::Bookmark("goal 1".into())));
        for wrong in ["", "ten", "2026-03-01", "2026-03-01T12:00:00", "-5", "3000-01-01T00:00:00Z"] {
            assert!(position(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn picture_sizes_and_numbers_stay_inside_their_bounds() {
        assert_eq!(size("640x480"), Ok((640, 480)));
        assert!(size("0x480").is_err() && size("640").is_err() && size("99999x1").is_err());
        assert_eq!(number("80", 1, 100), Ok(80));
        assert!(number("0", 1, 100).is_err() && number("101", 1, 100).is_err() && number("x", 1, 100).is_err());
        assert!(fraction("1.5").is_err() && fraction("NaN").is_err());
    }

    #[test]
    fn values_are_shown_short() {
        assert_eq!(show_bytes(999), "999 B");
        assert_eq!(show_bytes(1_234_567), "1.23 MB");
        assert_eq!(show_bytes(20_000_000_000), "20.0 GB");
        assert_eq!(show_span(Span::from_ms(12_540)), "12.5 s");
        assert_eq!(show_span(Span::from_s(3_723)), "1:02:03");
        assert_eq!(show_utc(WallTime::from_utc_ns(1_000_000_001)), "1970-01-01T00:00:01.000000001Z");
    }
}
