//! Lines that steer a replay: any bytes give one answer line, with the caller's `id` and either a result or a code with a reason; a
//! request that was understood gets one answer of the operator; settings that it took read back as they were set.

use kinora::replay::control::{ReplayControl, Request};
use kinora::replay::operator::{ReplayLimits, ReplayOperator};
use kinora::replay::protocol::{Ask, LINE_BYTES_MAX, Part, Wrong, answer, parse, status_json};
use kinora::replay::settings::{ReplaySettings, Setting};
use kinora::{Span, Timestamp};
use serde_json::{Value, json};

/// Lines of one input that are looked at.
const LINES_MAX: usize = 32;

struct Rig {
    operator: ReplayOperator,
    control: ReplayControl,
    now: Timestamp,
}

/// # Panics
/// When something above does not hold.
pub fn check(input: &[u8]) {
    let limits =
        ReplayLimits { capacity: 4, picture: (16, 16), frame_bytes: Some(64), reserve: 0, ..ReplayLimits::default() };
    let settings = ReplaySettings { max_frames_in_memory: 4, ..ReplaySettings::default() };
    let mut operator = ReplayOperator::with_limits(settings, limits).expect("settings in range");
    let control = operator.control();
    let mut rig = Rig { operator, control, now: Timestamp::from_ns(0) };
    for line in input.split(|&byte| byte == b'\n').take(LINES_MAX) {
        rig.line(line);
    }
}

impl Rig {
    fn line(&mut self, line: &[u8]) {
        let (id, asked) = parse(line);
        assert!(id.as_ref().is_none_or(|id| id.is_number() || id.is_string()), "{id:?}");
        let outcome = match asked {
            Ok(ask) => {
                assert!(line.len() <= LINE_BYTES_MAX);
                self.carry_out(ask)
            }
            Err(wrong) => Err(wrong),
        };
        let is_ok = outcome.is_ok();
        let written = answer(id.as_ref(), outcome);
        assert!(!written.contains('\n'), "{written:?} is more than a line");
        let read: Value = serde_json::from_str(&written).expect("an answer is JSON");
        assert_eq!(read.get("id"), id.as_ref(), "{written}");
        assert_eq!(read["ok"], json!(is_ok), "{written}");
        assert_eq!(read.get("result").is_some(), is_ok, "{written}");
        if !is_ok {
            let is_said = |field: &str| read["error"][field].as_str().is_some_and(|text| !text.is_empty());
            assert!(is_said("code") && is_said("message"), "{written}");
        }
    }

    fn carry_out(&mut self, ask: Ask) -> Result<Value, Wrong> {
        match ask {
            Ask::Set(requests) => {
                assert!(requests.iter().all(|request| matches!(request, Request::Set(_))), "{requests:?}");
                requests.iter().try_for_each(|request| self.request(*request))?;
                self.reads_back(&requests);
            }
            Ask::Command(request) => self.request(request)?,
            Ask::Get(None) => return Ok(Value::Object(status_json(self.operator.status(), "fuzzed"))),
            Ask::Get(Some(name)) => {
                let mut status = status_json(self.operator.status(), "fuzzed");
                return status.remove(&name).ok_or_else(|| Wrong::no_read_out(&name));
            }
            Ask::Trigger { pre, post, .. } => {
                holds(pre);
                holds(post);
            }
            Ask::Save { part: Part::Last(span), .. } => holds(span),
            Ask::Wait { timeout, .. } => {
                holds(timeout);
                return Err(Wrong::timed_out(timeout));
            }
            Ask::Save { .. } | Ask::Subscribe => {}
        }
        Ok(json!(true))
    }

    /// One request, one answer at the next tick.
    fn request(&mut self, request: Request) -> Result<(), Wrong> {
        let ticket = self.control.request(request)?;
        self.now += Span::from_ms(33);
        let _ = self.operator.tick(self.now);
        let answered = self.control.answer().expect("an answer");
        assert_eq!(answered.ticket, ticket);
        assert!(self.control.answer().is_none(), "a second answer to {request:?}");
        Ok(answered.outcome.map(drop)?)
    }

    /// What was set stands in the status, in a form that sets the same again.
    fn reads_back(&self, requests: &[Request]) {
        let status = status_json(self.operator.status(), "fuzzed");
        for request in requests {
            let Request::Set(setting) = request else { continue };
            let name = setting.name();
            let is_full = matches!(setting, Setting::PlaybackStartFrame(0) | Setting::PlaybackStopFrame(0));
            let value = if is_full { &json!("full") } else { &status[name] };
            let again = parse(json!({ "set": { name: value } }).to_string().as_bytes()).1;
            assert_eq!(again, Ok(Ask::Set(vec![*request])), "{name} reads {}", status[name]);
        }
    }
}

/// Every time that a line can name is one that a rule can name.
fn holds(span: Span) {
    assert!((Span::ZERO..=Span::from_s(24 * 3600)).contains(&span), "{span:?}");
}
