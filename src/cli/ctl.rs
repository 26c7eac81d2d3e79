//! `kinora ctl`: one line to a running `kinora replay --control SOCKET`, and its answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::args::{CtlArgs, CtlAsk};
use super::end::{End, Failure};
use super::output::{Manner, Results};

/// What to send where.
#[derive(Debug)]
pub struct Ctl {
    pub socket: PathBuf,
    pub line: Value,
}

/// An answer is a status at most.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

impl Ctl {
    /// The line that asks for what was typed.
    ///
    /// # Errors
    /// A pair that is none.
    pub fn check(args: CtlArgs) -> Result<Self, String> {
        let command = |name: &str| json!({ "command": name });
        let line = match args.ask {
            CtlAsk::Status => json!({ "get": "status" }),
            CtlAsk::Get { name } => json!({ "get": name }),
            CtlAsk::Set { pairs } => json!({ "set": pairs_of(&pairs)? }),
            CtlAsk::StartRecording => command("CommandStartRecording"),
            CtlAsk::ResumeRecording => command("ResumeRecording"),
            CtlAsk::StartPlayback => command("CommandStartPlayback"),
            CtlAsk::Stop => command("CommandStop"),
            CtlAsk::Pause => command("Pause"),
            CtlAsk::Resume => command("Resume"),
            CtlAsk::Reset => command("ResetCmd"),
            CtlAsk::MarkIn => command("MarkIn"),
            CtlAsk::MarkOut => command("MarkOut"),
            CtlAsk::ClearMarks => command("ClearMarks"),
            CtlAsk::Step { frames } => json!({ "command": "Step", "frames": frames }),
            CtlAsk::Home => command("Home"),
            CtlAsk::End => command("End"),
            CtlAsk::PlayBetween { from, to } => json!({ "command": "StartPlaybackWindow", "from": from, "to": to }),
            CtlAsk::Save { last: Some(last), label, .. } => json!({ "save": { "last": last, "label": label } }),
            CtlAsk::Save { last: None, label, marks } => json!({ "save": { "label": label, "marks": marks } }),
            CtlAsk::Wait { pairs, timeout } => json!({ "wait": pairs_of(&pairs)?, "timeout": timeout }),
            CtlAsk::Trigger { label, pre, post, lock } => {
                json!({ "trigger": { "label": label, "pre": pre, "post": post, "lock": lock } })
            }
        };
        Ok(Self { socket: args.control, line })
    }
}

/// `NAME=VALUE` pairs as JSON: numbers, true and false as such, everything else as text.
fn pairs_of(pairs: &[String]) -> Result<Map<String, Value>, String> {
    pairs
        .iter()
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is not NAME=VALUE"))?;
            let plain = serde_json::from_str(value).ok().filter(|v: &Value| v.is_number() || v.is_boolean());
            Ok((name.to_owned(), plain.unwrap_or_else(|| json!(value))))
        })
        .collect()
}

/// Sends the line and prints the answer's result.
pub fn run(ctl: &Ctl, manner: Manner) -> Result<End, Failure> {
    let name = ctl.socket.display();
    let remedy = format!("{name}: is `kinora replay --control {name}` running?");
    let mut stream = UnixStream::connect(&ctl.socket).map_err(Failure::io(remedy))?;
    writeln!(stream, "{}", ctl.line).map_err(Failure::io(name.to_string()))?;
    let mut answer = String::new();
    let mut reader = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    reader.read_line(&mut answer).map_err(Failure::io(name.to_string()))?;
    let answer: Value =
        serde_json::from_str(&answer).map_err(|_| Failure::Failed(format!("{name} ended without an answer")))?;
    let mut results = Results::new();
    if manner.json {
        results.json(&answer)?;
    } else if let Some(Value::Object(fields)) = answer.get("result") {
        for (key, value) in fields {
            results.line(format_args!("{key}: {}", plain(value)))?;
        }
    } else if let Some(result) = answer.get("result") {
        results.line(plain(result))?;
    }
    results.flush()?;
    if answer["ok"] == json!(true) {
        return Ok(End::Done);
    }
    let message = answer["error"]["message"].as_str().unwrap_or("refused without a reason");
    Err(Failure::Failed(message.to_owned()))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
