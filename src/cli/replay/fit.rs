//! Whether memory allows what was asked for: looked at before anything is made.

use kinora::Span;
use kinora::replay::operator::ReplayLimits;

use super::Replay;
use crate::cli::end::Failure;
use crate::cli::memory::available_bytes;
use crate::cli::units::show_bytes;

/// Least time that the history for clips holds unless told otherwise: `save` is of use without a long pre-roll.
pub const HISTORY: Span = Span::from_s(30);

/// The history for clips, and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct History {
    pub span: Span,
    pub bytes: usize,
}

/// Refuses a window or a history that memory does not allow beside the tap, with the largest that fits.
pub fn check(
    replay: &Replay,
    limits: &ReplayLimits,
    history: Option<History>,
    tap_bytes: usize,
) -> Result<(), Failure> {
    available_bytes().map_or(Ok(()), |available| {
        let available = usize::try_from(available).unwrap_or(usize::MAX);
        let (quality, free) = (replay.settings.jpeg_quality, available.saturating_sub(tap_bytes));
        refusal(quality, limits, replay.pre, history, free).map_or(Ok(()), |why| Err(Failure::Failed(why)))
    })
}

fn refusal(
    quality: u8,
    limits: &ReplayLimits,
    pre: Span,
    history: Option<History>,
    available: usize,
) -> Option<String> {
    let shown = |bytes: usize| show_bytes(bytes as u64);
    let mut free = available;
    if let Some(History { span, bytes }) = history {
        if bytes > free {
            let fits = Span::from_s((span.as_ns() as i128 * free as i128 / bytes as i128 / 1_000_000_000) as i64);
            // The history is never shorter than a pre-roll.
            let seconds = fits.as_ns() / 1_000_000_000;
            let remedy = match (pre >= span, fits >= HISTORY, fits >= pre && seconds > 0) {
                (true, true, _) => format!("at most --pre {seconds}s fits"),
                (false, _, true) => format!("at most --clip-history {seconds}s fits"),
                _ => "give a smaller --frame-bytes, --size or --quality".to_owned(),
            };
            let (bytes, free) = (shown(bytes), shown(free));
            return Some(format!("clips with a history of {span} need {bytes}, {free} are free: {remedy}"));
        }
        free -= bytes;
    }
    let total = |capacity| {
        let limits = ReplayLimits { capacity, ..*limits };
        limits.memory_bytes(quality) + limits.picture_bytes(quality)
    };
    let needed = total(limits.capacity);
    if needed <= free {
        return None;
    }
    // The largest that fits: more frames never take less.
    let (mut fits, mut too_many) = (0, limits.capacity);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        if total(middle) <= free { fits = middle } else { too_many = middle }
    }
    let asked = limits.capacity;
    let remedy = match fits {
        0 => "give a smaller --frame-bytes or --size".to_owned(),
        fits => format!("at most --max-frames {fits} fits"),
    };
    Some(format!("--max-frames {asked} needs {}, {} are free: {remedy}", shown(needed), shown(free)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_largest_number_that_fits() {
        let limits = ReplayLimits::default();
        let needed = limits.memory_bytes(80) + limits.picture_bytes(80);
        let pre = Span::from_s(5);
        assert_eq!(refusal(80, &limits, pre, None, needed), None);
        let why = refusal(80, &limits, pre, None, needed - 1).unwrap();
        assert!(why.ends_with("at most --max-frames 299 fits"), "{why}");
        let why = refusal(80, &limits, pre, None, 1000).unwrap();
        assert!(why.ends_with("--frame-bytes or --size"), "{why}");
        let history = Some(History { span: Span::from_s(100), bytes: 4000 });
        let why = refusal(80, &limits, Span::from_s(100), history, 2000).unwrap();
        assert!(why.ends_with("at most --pre 50s fits"), "{why}");
        let why = refusal(80, &limits, Span::from_s(100), history, 1000).unwrap();
        assert!(why.ends_with("--size or --quality"), "less than the history's default: {why}");
        let why = refusal(80, &limits, pre, Some(History { span: HISTORY, bytes: 4000 }), 2000).unwrap();
        assert!(why.ends_with("at most --clip-history 15s fits"), "a shorter pre-roll changes nothing: {why}");
        let why = refusal(80, &limits, pre, Some(History { span: HISTORY, bytes: 4000 }), 500).unwrap();
        assert!(why.ends_with("--size or --quality"), "a history shorter than the pre-roll: {why}");
        assert!(refusal(80, &limits, pre, history, needed + 3999).is_some(), "both have to fit");
        assert_eq!(refusal(80, &limits, pre, history, needed + 4000), None);
    }
}
