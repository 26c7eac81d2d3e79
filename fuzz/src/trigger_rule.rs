//! A rule's text: any bytes give a rule or a refusal with its column, a rule's own text gives the same rule again, and a trigger
//! made of it steps over frames.

use std::cell::RefCell;

use kinora::Labels;
use kinora::frame::{Frame, FrameMeta};
use kinora::limits::BOXES_MAX;
use kinora::results::{ResultKind, Results};
use kinora::trigger::{Rule, Trigger};
use kinora::{Span, Timestamp};

thread_local! {
    static RESULTS: RefCell<Box<Results>> = RefCell::default();
}

/// Frames that the trigger sees.
const FRAMES: i64 = 6;

/// # Panics
/// When a refusal points behind the text, a rule is out of its ranges, or its text means another rule.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let rule = match Rule::parse(text) {
        Ok(rule) => rule,
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "column {} of {text:?}", error.column);
            assert!(error.to_string().starts_with("column "));
            return;
        }
    };
    let spans = Span::ZERO..=Span::from_s(24 * 3600);
    assert!((1..=BOXES_MAX).contains(&rule.count) && (0.0..=1.0).contains(&rule.confidence), "{rule:?}");
    assert!(spans.contains(&rule.hold) && spans.contains(&rule.cooldown), "{rule:?}");
    if let Some(region) = rule.region {
        assert!(0.0 <= region.left && region.left < region.right && region.right <= 1.0, "{rule:?}");
        assert!(0.0 <= region.top && region.top < region.bottom && region.bottom <= 1.0, "{rule:?}");
    }
    let written = rule.to_string();
    assert_eq!(Rule::parse(&written).as_ref(), Ok(&rule), "{text:?} was written as {written:?}");
    step(rule);
}

/// Fires at most once a frame, and never within the cool-down.
fn step(rule: Rule) {
    let mut labels = Labels::default();
    for label in ["person", "traffic light"] {
        labels.push(label).expect("two labels fit");
    }
    let cooldown = rule.cooldown;
    let mut trigger = match Trigger::new(rule, Some(&labels)) {
        Ok(trigger) => trigger,
        Err(unknown) => return assert!(!unknown.to_string().is_empty()),
    };
    RESULTS.with_borrow_mut(|results| {
        results.begin(ResultKind::Detections);
        for class in 0..3 {
            let _ = results.push_detection([0.4, 0.4, 0.6, 0.6], 0.9, class, None);
        }
        let mut fired_at: Option<Timestamp> = None;
        for frame in 0..FRAMES {
            let captured_at = Timestamp::from_ns(0) + Span::from_ms(400 * frame);
            let meta = FrameMeta { captured_at, new_detection: frame % 3 != 1, ..FrameMeta::new() };
            let frame = Frame {
                meta: &meta,
                results,
                pixels: None,
                jpeg: None,
                side: &[],
                sensor: &[],
                labels: Some(&labels),
                losses: &[],
            };
            if trigger.step(&frame) {
                assert!(fired_at.is_none_or(|before| captured_at - before >= cooldown), "fired within its cool-down");
                fired_at = Some(captured_at);
            }
        }
    });
}
