//! `kinora ctl`: one line to a running `kinora replay --control SOCKET`, and its answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

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

/// `NAME=VALUE` pairs as JSON: numbers, true and false as such, everything else as text.
pub fn pairs(pairs: &[String]) -> Result<Map<String, Value>, String> {
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
