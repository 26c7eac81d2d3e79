//! One line of JSON in, what it asks for out; and the operator's status as JSON under the page's own names.

use serde_json::{Map, Value, json};

use super::control::{Request, RequestError};
use super::machine::{Command, Refused, State};
use super::settings::{Bound, DefaultOutput, ReplayPacing, Setting};
use super::status::Status;
use super::text;
use crate::time::{Span, Speed, WallTime};
use crate::trigger::parse_span;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// New values; all or none of them are taken.
    Set(Vec<Request>),
    /// A read-out by its name, or all of them.
    Get(Option<String>),
    /// A command.
    Command(Request),
    /// A clip around this moment.
    Trigger {
        /// Its label.
        label: String,
        /// Time before.
        pre: Span,
        /// Time after.
        post: Span,
        /// The clip is locked.
        lock: bool,
    },
    /// A clip of what is there.
    Save {
        /// Its label.
        label: String,
        /// What of it.
        part: Part,
    },
    /// Answer when these read-outs have these values, or after the time with an error.
    Wait {
        /// Read-outs and their values.
        values: Map<String, Value>,
        /// For how long.
        timeout: Span,
    },
    /// A line with the status whenever it changed, at most ten a second.
    Subscribe,
}

/// What of the history to save.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// Everything.
    All,
    /// The newest so much.
    Last(Span),
    /// From the frame that would be played first to the one that would be last.
    Marks,
}

/// Why a line is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong {
    code: &'static str,
    field: Option<String>,
    range: Option<(i64, i64)>,
    got: Option<Value>,
    message: String,
}

/// Longest line that is looked at, in bytes.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Time that a `wait` without `timeout` waits.
const WAIT: Span = Span::from_s(10);

/// The page's commands and ours, by their original and their own names.
const COMMANDS: [(&str, &str, Command); 12] = [
    ("CommandStartRecording", "start_recording", Command::StartRecording),
    ("CommandStartPlayback", "start_playback", Command::StartPlayback),
    ("CommandStop", "stop", Command::Stop),
    ("ResetCmd", "reset", Command::Reset),
    ("ResumeRecording", "resume_recording", Command::ResumeRecording),
    ("Pause", "pause", Command::Pause),
    ("Resume", "resume", Command::Resume),
    ("MarkIn", "mark_in", Command::MarkIn),
    ("MarkOut", "mark_out", Command::MarkOut),
    ("ClearMarks", "clear_marks", Command::ClearMarks),
    ("Home", "home", Command::Home),
    ("End", "end", Command::End),
];

/// What `set` knows; read-outs besides cannot be set.
const SETTINGS: [&str; 11] = [
    "AutostartRecording",
    "StartRecordingAfterPlayback",
    "JpegQuality",
    "DefaultOutput",
    "MaxFramesInMemory",
    "PlaybackSpeed",
    "PlaybackStartFrame",
    "PlaybackStopFrame",
    "Pacing",
    "Loop",
    "Enabled",
];

impl Wrong {
    fn new(code: &'static str, field: Option<&str>, message: impl Into<String>) -> Self {
        Self { code, field: field.map(str::to_owned), range: None, got: None, message: message.into() }
    }

    /// A value that is none of its field's.
    fn value(field: &str, wanted: &str, got: &Value) -> Self {
        let message = format!("{field} wants {wanted}, not {got}");
        Self { got: Some(got.clone()), ..Self::new("value", Some(field), message) }
    }

    /// A `wait` whose time is over.
    pub fn timed_out(timeout: Span) -> Self {
        Self::new("timeout", None, format!("not within {timeout}"))
    }

    /// A name that no read-out has.
    pub fn no_read_out(name: &str) -> Self {
        Self::new("unknown_field", Some(name), format!("there is no read-out {name:?}"))
    }

    /// Something of the library's that failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new("failed", None, message)
    }

    fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(field) = &self.field {
            error["field"] = json!(field);
        }
        if let Some((min, max)) = self.range {
            (error["min"], error["max"]) = (json!(min), json!(max));
        }
        if let Some(got) = &self.got {
            error["got"] = got.clone();
        }
        error
    }
}

impl From<RequestError> for Wrong {
    fn from(error: RequestError) -> Self {
        let message = error.to_string();
        match error {
            RequestError::OutOfRange(range) => Self {
                code: "out_of_range",
                field: Some(range.field.into()),
                range: Some((range.min, range.max)),
                got: Some(json!(range.got)),
                message,
            },
            RequestError::Refused(Refused::BufferEmpty) | RequestError::NothingBetween => {
                Self::new("buffer_empty", None, message)
            }
            RequestError::Refused(Refused::StartAfterStop { .. }) => Self::new("start_after_stop", None, message),
            RequestError::AlreadyPlaying => Self::new("already_playing", None, message),
            RequestError::TooManyWaiting => Self::new("busy", None, message),
            _ => Self::new("refused", None, message),
        }
    }
}

/// One answer line, without its line end.
pub fn answer(id: Option<&Value>, outcome: Result<Value, Wrong>) -> String {
    let mut line = match outcome {
        Ok(result) => json!({ "ok": true, "result": result }),
        Err(wrong) => json!({ "ok": false, "error": wrong.to_json() }),
    };
    if let Some(id) = id {
        line["id"] = id.clone();
    }
    line.to_string()
}

/// Reads a line: the caller's `id`, if it could be read, and what is asked for.
pub fn parse(line: &[u8]) -> (Option<Value>, Result<Ask, Wrong>) {
    if line.len() > LINE_BYTES_MAX {
        return (None, Err(Wrong::new("too_long", None, format!("a line has at most {LINE_BYTES_MAX} bytes"))));
    }
    let value: Value = match serde_json::from_slice(line) {
        Ok(value) => value,
        Err(error) => return (None, Err(Wrong::new("not_json", None, format!("column {}: {error}", error.column())))),
    };
    let Value::Object(mut object) = value else {
        return (None, Err(Wrong::new("not_an_object", None, "a line is one JSON object")));
    };
    match object.remove("id") {
        Some(id) if !id.is_number() && !id.is_string() => (None, Err(Wrong::value("id", "a number or a text", &id))),
        id => (id, ask(object)),
    }
}

fn ask(mut object: Map<String, Value>) -> Result<Ask, Wrong> {
    const VERBS: [&str; 7] = ["set", "get", "command", "trigger", "save", "wait", "subscribe"];
    let verbs: Vec<&str> = VERBS.into_iter().filter(|verb| object.contains_key(*verb)).collect();
    let [verb] = verbs[..] else {
        return Err(Wrong::new("verb", None, format!("a line has exactly one of {}", VERBS.join(", "))));
    };
    let value = object.remove(verb).unwrap_or_default();
    let ask = match verb {
        "set" => Ask::Set(settings(value)?),
        "get" => match word(verb, &value)? {
            "status" => Ask::Get(None),
            name => Ask::Get(Some(name.to_owned())),
        },
        "command" => Ask::Command(command(&value, &mut object)?),
        "trigger" => {
            let mut fields = fields(verb, value)?;
            let ask = Ask::Trigger {
                label: label(&mut fields)?,
                pre: span(&mut fields, "pre")?.unwrap_or(Span::from_s(5)),
                post: span(&mut fields, "post")?.unwrap_or(Span::from_s(5)),
                lock: flag(&mut fields, "lock")?,
            };
            no_more(&fields)?;
            ask
        }
        "save" => {
            let mut fields = fields(verb, value)?;
            let marks = flag(&mut fields, "marks")?;
            let part = match span(&mut fields, "last")? {
                Some(_) if marks => return Err(Wrong::new("value", Some("marks"), "either last or marks")),
                Some(span) => Part::Last(span),
                None if marks => Part::Marks,
                None => Part::All,
            };
            let ask = Ask::Save { label: label(&mut fields)?, part };
            no_more(&fields)?;
            ask
        }
        "wait" => Ask::Wait { values: fields(verb, value)?, timeout: span(&mut object, "timeout")?.unwrap_or(WAIT) },
        _ => match word(verb, &value)? {
            "status" => Ask::Subscribe,
            _ => return Err(Wrong::value(verb, "\"status\"", &value)),
        },
    };
    no_more(&object)?;
    Ok(ask)
}

fn no_more(object: &Map<String, Value>) -> Result<(), Wrong> {
    match object.keys().next() {
        Some(key) => Err(Wrong::new("unknown_field", Some(key), format!("there is no field {key:?} here"))),
        None => Ok(()),
    }
}

fn word<'a>(field: &str, value: &'a Value) -> Result<&'a str, Wrong> {
    value.as_str().ok_or_else(|| Wrong::value(field, "a text", value))
}

fn fields(field: &str, value: Value) -> Result<Map<String, Value>, Wrong> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(Wrong::value(field, "an object", &other)),
    }
}

fn label(fields: &mut Map<String, Value>) -> Result<String, Wrong> {
    fields.remove("label").map_or(Ok(String::new()), |value| word("label", &value).map(str::to_owned))
}

fn flag(fields: &mut Map<String, Value>, name: &str) -> Result<bool, Wrong> {
    let Some(value) = fields.remove(name) else { return Ok(false) };
    value.as_bool().ok_or_else(|| Wrong::value(name, "true or false", &value))
}

fn span(fields: &mut Map<String, Value>, name: &str) -> Result<Option<Span>, Wrong> {
    let Some(value) = fields.remove(name) else { return Ok(None) };
    let wanted = "a time like 500ms, 10s or 2m, at most 24h";
    parse_span(word(name, &value)?).map(Some).ok_or_else(|| Wrong::value(name, wanted, &value))
}

fn command(value: &Value, object: &mut Map<String, Value>) -> Result<Request, Wrong> {
    let name = word("command", value)?;
    if matches!(name, "StartPlaybackWindow" | "start_playback_window") {
        let mut time = |field: &str| {
            let text = object.remove(field).unwrap_or_default();
            let parsed = word(field, &text)?.parse::<jiff::Timestamp>();
            let ns = parsed.ok().and_then(|time| i64::try_from(time.as_nanosecond()).ok());
            ns.map(WallTime::from_utc_ns).ok_or_else(|| Wrong::value(field, "an RFC 3339 time", &text))
        };
        return Ok(Request::PlayBetween { from: time("from")?, to: time("to")? });
    }
    if matches!(name, "Step" | "step") {
        let frames = object.remove("frames").unwrap_or(json!(1));
        let wrong = || Wrong::value("frames", "a whole number", &frames);
        let frames = frames.as_i64().and_then(|frames| i32::try_from(frames).ok()).ok_or_else(wrong)?;
        return Ok(Request::Command(Command::Step(frames)));
    }
    let found = COMMANDS.iter().find(|(original, ours, _)| name == *original || name == *ours);
    found.map(|(.., command)| Request::Command(*command)).ok_or_else(|| {
        let known: Vec<_> = COMMANDS.iter().map(|(original, ..)| *original).collect();
        let message =
            format!("there is no command {name:?}; there are: {}, Step, StartPlaybackWindow", known.join(", "));
        Wrong::new("unknown_command", Some("command"), message)
    })
}

fn settings(value: Value) -> Result<Vec<Request>, Wrong> {
    let fields = fields("set", value)?;
    fields.iter().map(|(name, value)| setting(name, value).map(Request::Set)).collect()
}

fn setting(name: &str, value: &Value) -> Result<Setting, Wrong> {
    let wrong = |wanted: &str| Wrong::value(name, wanted, value);
    let on = || value.as_bool().ok_or_else(|| wrong("true or false"));
    let whole = || value.as_i64().ok_or_else(|| wrong("a whole number"));
    let position = || match value.as_str() {
        Some("full") => Ok(0),
        _ => whole(),
    };
    Ok(match name {
        "AutostartRecording" => Setting::AutostartRecording(on()?),
        "StartRecordingAfterPlayback" => Setting::StartRecordingAfterPlayback(on()?),
        "JpegQuality" => Setting::JpegQuality(whole()?),
        "DefaultOutput" => Setting::DefaultOutput(
            value.as_str().and_then(DefaultOutput::from_name).ok_or_else(|| wrong("PassThrough or None"))?,
        ),
        "MaxFramesInMemory" => Setting::MaxFramesInMemory(whole()?),
        "PlaybackSpeed" => {
            Setting::PlaybackSpeed(speed(value).ok_or_else(|| wrong("a speed like \"50%\", \"1/3\" or \"Every\""))?)
        }
        "PlaybackStartFrame" => Setting::PlaybackStartFrame(position()?),
        "PlaybackStopFrame" => Setting::PlaybackStopFrame(position()?),
        "Pacing" => {
            Setting::Pacing(value.as_str().and_then(ReplayPacing::from_name).ok_or_else(|| wrong("Tick or Recorded"))?)
        }
        "Loop" => Setting::Loop(on()?),
        "Enabled" => Setting::Enabled(on()?),
        _ => {
            let message = format!("there is no setting {name:?}; there are: {}", SETTINGS.join(", "));
            return Err(Wrong::new("unknown_setting", Some(name), message));
        }
    })
}

/// A text, or a number as it is written.
fn speed(value: &Value) -> Option<Speed> {
    match value {
        Value::String(text) => text::parse_speed(text),
        Value::Number(number) => text::parse_speed(&number.to_string()),
        _ => None,
    }
}

/// Every read-out under its original name, ours beside.
pub fn status_json(status: &Status, name: &str) -> Map<String, Value> {
    let zone = jiff::tz::TimeZone::system();
    let s = &status.settings;
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| drop(out.insert(key.to_owned(), value));
    put("AutostartRecording", json!(s.autostart_recording));
    put("StartRecordingAfterPlayback", json!(s.start_recording_after_playback));
    put("JpegQuality", json!(s.jpeg_quality));
    put("DefaultOutput", json!(s.default_output.name()));
    put("MaxFramesInMemory", json!(s.max_frames_in_memory));
    put("PlaybackSpeed", json!(text::speed(s.playback_speed).as_str()));
    put("PlaybackStartFrame", json!(status.playback_start_frame));
    put("PlaybackStopFrame", json!(status.playback_stop_frame));
    put("PlaybackCurrentFrame", json!(status.playback_current_frame));
    put("PlaybackStartFrameTimeString", json!(clock_text(status.playback_start_frame_time, &zone)));
    let span = status.playback_current_frame_time_from_buffer_start;
    put("PlaybackCurrentFrameTimeFromBufferStart", json!(span.map(|span| text::time_span(span).to_string())));
    put("PlaybackState", json!(status.state.name()));
    put("NumberOfFramesInStorage", json!(status.number_of_frames_in_storage));
    put("FrameBufferFull", json!(status.frame_buffer_full));
    put("FrameStoreDurationString", json!(text::seconds(status.frame_store_duration).as_str()));
    for (key, utc, time) in [
        ("PlaybackCurrentFrameTime", "PlaybackCurrentFrameTime_utc_ns", status.playback_current_frame_time),
        ("FrameStoreStartTime", "FrameStoreStartTime_utc_ns", status.frame_store_start_time),
        ("FrameStoreStopTime", "FrameStoreStopTime_utc_ns", status.frame_store_stop_time),
    ] {
        put(key, json!(time.and_then(|time| date_time(time, &zone))));
        put(utc, json!(time.map(|time| time.as_utc_ns().to_string())));
    }
    put("FramesMemoryUsage", json!(status.frames_memory_usage_mb()));
    put("FramesMemoryBytes", json!(status.frames_memory_bytes));
    put("ArenaBytes", json!(status.arena_bytes));
    put("Capacity", json!(status.capacity));
    put("Name", json!(name));
    put("Enabled", json!(s.enabled));
    put("Paused", json!(status.state == State::Paused));
    put("Pacing", json!(s.pacing.name()));
    put("Loop", json!(s.looped));
    put("MarkIn", json!(matches!(s.playback_start_frame, Bound::Frame(_))));
    put("MarkOut", json!(matches!(s.playback_stop_frame, Bound::Frame(_))));
    put("MaxFramesPending", json!(status.max_frames_pending));
    put("JpegQualityUnused", json!(status.jpeg_quality_unused));
    put("Stored", json!(status.stored));
    put("Requantised", json!(status.requantised));
    put("TooBig", json!(status.too_big));
    put("StageTimeLast_ns", json!(status.stage_time_last.as_ns()));
    put("StageTimeMax_ns", json!(status.stage_time_max.as_ns()));
    put("EventsLost", json!(status.events_lost));
    // The sensor has no sound; the members of the base class say so.
    put("Audio", json!({ "silent": true, "channels": 0 }));
    out
}

/// RFC 3339 with the local offset and nine digits.
fn date_time(time: WallTime, zone: &jiff::tz::TimeZone) -> Option<String> {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time.as_utc_ns())).ok()?;
    Some(time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.9f%:z").to_string())
}

/// Local `HH:mm:ss.fff`, truncated; empty without a time.
pub fn clock_text(time: Option<WallTime>, zone: &jiff::tz::TimeZone) -> String {
    let time = time.map(|time| time.as_utc_ns().div_euclid(1_000_000));
    let time = time.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(String::new, |time| time.to_zoned(zone.clone()).strftime("%H:%M:%S%.3f").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Ask {
        parse(line.as_bytes()).1.unwrap_or_else(|wrong| panic!("{line}: {wrong:?}"))
    }

    fn refused(line: &str) -> &'static str {
        parse(line.as_bytes()).1.unwrap_err().code
    }

    #[test]
    fn the_lines_of_the_docs_are_understood() {
        let half = Setting::PlaybackSpeed(Speed::new(1, 2).unwrap());
        assert_eq!(asked(r#"{"id":7,"set":{"PlaybackSpeed":"50%"}}"#), Ask::Set(vec![Request::Set(half)]));
        assert_eq!(asked(r#"{"set":{"PlaybackSpeed":0.5}}"#), Ask::Set(vec![Request::Set(half)]));
        assert_eq!(asked(r#"{"get":"status"}"#), Ask::Get(None));
        let play = Ask::Command(Request::Command(Command::StartPlayback));
        assert_eq!(asked(r#"{"command":"CommandStartPlayback"}"#), play);
        assert_eq!(asked(r#"{"command":"start_playback"}"#), play);
        let step = Ask::Command(Request::Command(Command::Step(-10)));
        assert_eq!(asked(r#"{"command":"Step","frames":-10}"#), step);
        assert_eq!(asked(r#"{"command":"step"}"#), Ask::Command(Request::Command(Command::Step(1))));
        assert_eq!(asked(r#"{"set":{"Loop":true}}"#), Ask::Set(vec![Request::Set(Setting::Loop(true))]));
        let (from, to) =
            (WallTime::from_utc_ns(1_749_897_127_500_000_000), WallTime::from_utc_ns(1_749_897_128_000_000_000));
        let line =
            r#"{"command":"StartPlaybackWindow","from":"2025-06-14T12:32:07.5+02:00","to":"2025-06-14T10:32:08Z"}"#;
        assert_eq!(asked(line), Ask::Command(Request::PlayBetween { from, to }));
        let part = Part::Last(Span::from_s(10));
        assert_eq!(asked(r#"{"save":{"last":"10s"}}"#), Ask::Save { label: String::new(), part });
        let save = Ask::Save { label: "goal".into(), part: Part::Marks };
        assert_eq!(asked(r#"{"save":{"marks":true,"label":"goal"}}"#), save);
        let wait = asked(r#"{"wait":{"FrameBufferFull":true},"timeout":"10s"}"#);
        assert!(matches!(wait, Ask::Wait { timeout, .. } if timeout == Span::from_s(10)));
        assert_eq!(asked(r#"{"subscribe":"status"}"#), Ask::Subscribe);
        assert_eq!(parse(br#"{"id":"a","get":"status"}"#).0, Some(json!("a")));
    }

    #[test]
    fn wrong_lines_are_refused_with_a_code() {
        for (line, code) in [
            ("", "not_json"),
            ("{", "not_json"),
            ("[]", "not_an_object"),
            ("{}", "verb"),
            (r#"{"get":"status","set":{}}"#, "verb"),
            (r#"{"get":7}"#, "value"),
            (r#"{"id":[7],"get":"status"}"#, "value"),
            (r#"{"set":{"PlaybackSpeed":1e-9}}"#, "value"),
            (r#"{"set":{"PlaybackSpeed":"fast"}}"#, "value"),
            (r#"{"set":{"Colour":1}}"#, "unknown_setting"),
            (r#"{"command":"Explode"}"#, "unknown_command"),
            (r#"{"command":"stop","now":true}"#, "unknown_field"),
            (r#"{"command":"stop","frames":1}"#, "unknown_field"),
            (r#"{"command":"Step","frames":0.5}"#, "value"),
            (r#"{"command":"Step","frames":3000000000}"#, "value"),
            (r#"{"trigger":{"pre":"soon"}}"#, "value"),
            (r#"{"save":{"marks":1}}"#, "value"),
            (r#"{"save":{"marks":true,"last":"1s"}}"#, "value"),
            (r#"{"command":"StartPlaybackWindow","from":"yesterday","to":"now"}"#, "value"),
        ] {
            assert_eq!(refused(line), code, "{line}");
        }
        assert_eq!(parse(&[b' '; LINE_BYTES_MAX + 1]).1.unwrap_err().code, "too_long");
        let deep = "[".repeat(100_000);
        assert_eq!(parse(&deep.as_bytes()[..LINE_BYTES_MAX]).1.unwrap_err().code, "not_json");
    }

    #[test]
    fn answers_carry_the_id_and_ranges() {
        assert_eq!(answer(Some(&json!(7)), Ok(json!(true))), r#"{"id":7,"ok":true,"result":true}"#);
        let range = crate::replay::settings::OutOfRange { field: "JpegQuality", min: 10, max: 100, got: 7 };
        let line = answer(None, Err(RequestError::OutOfRange(range).into()));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["error"]["field"], "JpegQuality");
        assert_eq!((value["error"]["min"].as_i64(), value["error"]["got"].as_i64()), (Some(10), Some(7)));
        let wrong = parse(br#"{"set":{"PlaybackSpeed":"fast"}}"#).1.unwrap_err().to_json();
        assert_eq!((&wrong["field"], &wrong["got"]), (&json!("PlaybackSpeed"), &json!("fast")));
    }

    #[test]
    fn every_setting_that_a_refusal_names_is_one() {
        for name in SETTINGS {
            // No setting takes a null, and each says so itself.
            assert_eq!(setting(name, &Value::Null).unwrap_err().code, "value", "{name}");
        }
        let wrong = parse(br#"{"command":"Explode"}"#).1.unwrap_err();
        assert!(wrong.message.contains("CommandStartPlayback"), "{}", wrong.message);
    }
}
