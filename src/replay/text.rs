//! The operator's values as text, in the forms of the Replay operator's page.

use core::fmt::Write as _;

use heapless::String;

use crate::time::{Span, Speed};

/// Slow-motion steps that are named by a rounded percentage: 1/1 … 1/10 read 100 %, 50 %, 33 %, 25 %, 20 %, 17 %, 14 %,
/// 13 %, 11 %, 10 %.
const STEPS: u32 = 10;
/// Most digits before the point of a number that is read.
const DIGITS: u32 = 6;

/// `PlaybackSpeed` as text: the page's percentage where it names the speed exactly, else the ratio. [`parse_speed`] reads it
/// as the same speed.
pub fn speed(speed: Speed) -> String<24> {
    let mut text = String::new();
    let (n, d) = (speed.numerator(), speed.denominator());
    let written = match percent(n, d) {
        _ if n == 1 && d <= STEPS => write!(text, "{}%", step_percent(d)),
        // 11/100 is not the page's 11 %, which means 1/9.
        Some(percent) if (1..=STEPS).all(|d| i64::from(step_percent(d)) != percent) => write!(text, "{percent}%"),
        _ => write!(text, "{n}/{d}"),
    };
    debug_assert!(written.is_ok(), "a sign, 10 digits, a slash and 7 digits fit");
    text
}

/// The rounded percentage that names the step 1/d.
const fn step_percent(d: u32) -> u32 {
    (200 + d) / (2 * d)
}

/// Whole percent with no more digits than are read again.
fn percent(n: i32, d: u32) -> Option<i64> {
    let percent = i64::from(n) * i64::from(100 / d);
    (100 % d == 0 && percent.unsigned_abs() < 10_u64.pow(DIGITS)).then_some(percent)
}

/// A speed from text: `"50%"`, `"33%"` (exactly 1/3), `"Every"` (100 %), `"1/3"`, `"0.5"`, `"2"`, `"-1"`. `None` when it is
/// none of them.
pub fn parse_speed(text: &str) -> Option<Speed> {
    let text = text.trim();
    if text == "Every" {
        return Some(Speed::NORMAL);
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent = percent.trim_end();
        let step = (1..=STEPS).find(|&d| percent.parse() == Ok(step_percent(d)));
        return step.map_or_else(|| decimal(percent, 100), |d| Speed::new(1, d));
    }
    match text.split_once('/') {
        Some((n, d)) => Speed::new(n.trim().parse().ok()?, d.trim().parse().ok()?),
        None => decimal(text, 1),
    }
}

/// A decimal number divided by `unit`, exactly.
fn decimal(text: &str, unit: u32) -> Option<Speed> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 4 || !fraction.bytes().all(|b| b.is_ascii_digit()) || (whole.is_empty() && fraction.is_empty())
    {
        return None;
    }
    let negative = whole.starts_with('-');
    let digits = whole.trim_start_matches(['-', '+']);
    if digits.is_empty() && fraction.is_empty() {
        return None;
    }
    if whole.len() - digits.len() > 1 || !digits.bytes().all(|b| b.is_ascii_digit()) || digits.len() > DIGITS as usize {
        return None;
    }
    let scale = 10_u32.pow(fraction.len() as u32);
    let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<i64>().ok() };
    let value = number(digits)? * i64::from(scale) + number(fraction)?;
    let ratio = reduce(if negative { -value } else { value }, i64::from(unit) * i64::from(scale));
    Speed::new(i32::try_from(ratio.0).ok()?, u32::try_from(ratio.1).ok()?)
}

fn reduce(n: i64, d: i64) -> (i64, i64) {
    let (mut a, mut b) = (n.unsigned_abs(), d.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let divisor = (a as i64).max(1);
    (n / divisor, d / divisor)
}

/// A .NET `TimeSpan`: `[-][d.]hh:mm:ss.fffffff`, truncated to 100 ns.
pub fn time_span(span: Span) -> String<32> {
    let ticks = span.as_ns().unsigned_abs() / 100;
    let (seconds, fraction) = (ticks / 10_000_000, ticks % 10_000_000);
    let (days, h, m, s) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let mut text = String::new();
    if span < Span::ZERO {
        let _ = text.push('-');
    }
    if days > 0 {
        let _ = write!(text, "{days}.");
    }
    let written = write!(text, "{h:02}:{m:02}:{s:02}.{fraction:07}");
    debug_assert!(written.is_ok(), "106,751 days fit");
    text
}

/// `FrameStoreDurationString`: seconds with three digits, truncated; negative spans (times that went back) are `0.000`.
pub fn seconds(span: Span) -> String<24> {
    let ms = span.as_ns().max(0) / 1_000_000;
    let mut text = String::new();
    let written = write!(text, "{}.{:03}", ms / 1000, ms % 1000);
    debug_assert!(written.is_ok(), "10 digits and 3 fit");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(n: i32, d: u32) -> Speed {
        Speed::new(n, d).unwrap()
    }

    #[test]
    fn the_pages_percentages_mean_exact_ratios_both_ways() {
        for (text, n, d) in [
            ("100%", 1, 1),
            ("50%", 1, 2),
            ("33%", 1, 3),
            ("25%", 1, 4),
            ("20%", 1, 5),
            ("17%", 1, 6),
            ("10%", 1, 10),
            ("0%", 0, 1),
            ("200%", 2, 1),
            ("-100%", -1, 1),
            ("75%", 3, 4),
            ("5%", 1, 20),
            ("11/100", 11, 100),
            ("-11%", -11, 100),
        ] {
            assert_eq!(parse_speed(text), Some(ratio(n, d)), "{text}");
            assert_eq!(speed(ratio(n, d)), text);
        }
        assert_eq!(speed(ratio(2, 3)), "2/3");
    }

    #[test]
    fn other_forms_are_understood_and_nonsense_is_not() {
        for (text, n, d) in [
            ("Every", 1, 1),
            ("1/3", 1, 3),
            ("0.5", 1, 2),
            (" 2 ", 2, 1),
            ("-1", -1, 1),
            (".25", 1, 4),
            ("12.5%", 1, 8),
        ] {
            assert_eq!(parse_speed(text), Some(ratio(n, d)), "{text}");
        }
        for text in ["", "%", "fast", "1/0", "1/-2", "--1", "0.12345", "1e3", "99999999", "1/3/4", ".", "-", "٣"] {
            assert_eq!(parse_speed(text), None, "{text}");
        }
    }

    #[test]
    fn every_speed_comes_back_from_its_text() {
        for d in 1..200 {
            for n in -250..=250 {
                let value = ratio(n, d);
                assert_eq!(parse_speed(&speed(value)), Some(value), "{n}/{d}");
            }
        }
        for n in [9_999, -9_999, 10_000, 125_125, 999_999, 1_000_000, -1_000_000] {
            for d in [1, 50, 100] {
                let value = ratio(n, d);
                assert_eq!(parse_speed(&speed(value)), Some(value), "{n}/{d}");
            }
        }
    }

    #[test]
    fn spans_read_as_on_the_page() {
        assert_eq!(time_span(Span::from_ms(1_234)), "00:00:01.2340000");
        assert_eq!(time_span(Span::from_s(90_061)), "1.01:01:01.0000000");
        assert_eq!(time_span(-Span::from_ns(1_599)), "-00:00:00.0000015");
        assert_eq!(time_span(Span::MAX), "106751.23:47:16.8547758");
        assert_eq!(seconds(Span::from_ns(3_299_999_999)), "3.299");
        assert_eq!(seconds(Span::from_s(-1)), "0.000");
    }
}
