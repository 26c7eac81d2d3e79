//! Lines whose answer has to wait: for the operator's next tick, for a read-out to have a value, or for ever (subscriptions).

use std::collections::VecDeque;

use kinora::clips::ClipControl;
use kinora::replay::control::{ReplayControl, RequestError, Ticket};
use kinora::replay::machine::Refused;
use kinora::replay::status::Status;
use kinora::{Clock, Span, SystemClock, Timestamp};
use serde_json::{Map, Value, json};

use super::lines::{Caller, Line};
use kinora::replay::protocol::{Ask, Part, Wrong, answer, parse, status_json};

/// Shortest time between two status lines of a subscription.
const STATUS_EVERY: Span = Span::from_ms(100);

/// All callers that wait.
#[derive(Default)]
pub struct Pending {
    requests: VecDeque<Requested>,
    reads: Vec<Read>,
    waits: Vec<Wait>,
    subscribers: Vec<Caller>,
    last_status: Option<(Timestamp, Map<String, Value>)>,
}

/// Requests of one line; answered together.
struct Requested {
    caller: Caller,
    id: Option<Value>,
    tickets: VecDeque<Ticket>,
    error: Option<RequestError>,
}

/// A read-out that is to be told as of the next tick.
struct Read {
    caller: Caller,
    id: Option<Value>,
    name: Option<String>,
}

struct Wait {
    caller: Caller,
    id: Option<Value>,
    values: Map<String, Value>,
    timeout: Span,
    until: Timestamp,
}

impl Pending {
    /// True when no answer of the operator is waited for here.
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// Takes a line: does at once what can be done at once.
    pub fn take(
        &mut self,
        line: Line,
        control: &ReplayControl,
        clips: Option<&ClipControl>,
        marks: Option<(Timestamp, Timestamp)>,
    ) {
        let Line { bytes, caller } = line;
        let (id, asked) = parse(&bytes);
        let now = || Clock::now(&SystemClock);
        let done = match asked {
            Err(wrong) => Err(wrong),
            Ok(Ask::Set(requests)) => return self.request(&requests, caller, id, control),
            Ok(Ask::Command(request)) => return self.request(&[request], caller, id, control),
            Ok(Ask::Get(name)) => return self.reads.push(Read { caller, id, name }),
            Ok(Ask::Wait { values, timeout }) => {
                return self.waits.push(Wait { caller, id, values, timeout, until: now() + timeout });
            }
            Ok(Ask::Subscribe) => {
                self.subscribers.push(caller.clone());
                Ok(json!("subscribed"))
            }
            Ok(Ask::Trigger { label, pre, post, lock: false }) => clip(clips, |clips| clips.trigger(&label, pre, post)),
            Ok(Ask::Trigger { label, pre, post, lock: true }) => {
                clip(clips, |clips| clips.trigger_locked(&label, pre, post))
            }
            Ok(Ask::Save { label, part: Part::All }) => clip(clips, |clips| clips.save(&label)),
            Ok(Ask::Save { label, part: Part::Last(span) }) => clip(clips, |clips| clips.save_last(&label, span)),
            Ok(Ask::Save { label, part: Part::Marks }) => match marks {
                Some((from, to)) => clip(clips, |clips| clips.save_between(&label, from, to)),
                None => Err(RequestError::Refused(Refused::BufferEmpty).into()),
            },
        };
        caller.answer(answer(id.as_ref(), done));
    }

    fn request(
        &mut self,
        requests: &[kinora::replay::control::Request],
        caller: Caller,
        id: Option<Value>,
        control: &ReplayControl,
    ) {
        let wrong = requests.iter().find_map(|request| control.check(request).err());
        let mut requested = Requested { caller, id, tickets: VecDeque::new(), error: wrong };
        // A line with one value out of its range sets nothing.
        for request in requests.iter().filter(|_| wrong.is_none()) {
            match control.request(*request) {
                Ok(ticket) => requested.tickets.push_back(ticket),
                Err(error) => {
                    requested.error = Some(error);
                    break;
                }
            }
        }
        self.requests.push_back(requested);
    }

    /// Answers what can be answered after a tick.
    pub fn answer(&mut self, control: &ReplayControl, status: &Status, name: &str, now: Timestamp) {
        self.collect(control);
        if self.requests.is_empty() && self.reads.is_empty() && self.waits.is_empty() && self.subscribers.is_empty() {
            return;
        }
        let json = status_json(status, name);
        while self.requests.front().is_some_and(|requested| requested.tickets.is_empty()) {
            let Some(requested) = self.requests.pop_front() else { break };
            let outcome = match requested.error {
                Some(error) => Err(error.into()),
                None => Ok(json!({ "PlaybackState": json["PlaybackState"] })),
            };
            requested.caller.answer(answer(requested.id.as_ref(), outcome));
        }
        for read in self.reads.drain(..) {
            let outcome = match &read.name {
                None => Ok(Value::Object(json.clone())),
                Some(name) => json.get(name).cloned().ok_or_else(|| Wrong::no_read_out(name)),
            };
            read.caller.answer(answer(read.id.as_ref(), outcome));
        }
        self.waits.retain(|wait| {
            let outcome = match wait.values.iter().find(|(key, _)| !json.contains_key(*key)) {
                Some((key, _)) => Err(Wrong::no_read_out(key)),
                None if wait.values.iter().all(|(key, value)| json.get(key) == Some(value)) => {
                    Ok(Value::Object(wait.values.clone()))
                }
                None if now >= wait.until => Err(Wrong::timed_out(wait.timeout)),
                None => return true,
            };
            wait.caller.answer(answer(wait.id.as_ref(), outcome));
            false
        });
        self.tell_status(json, now);
    }

    /// One line for every subscriber.
    pub fn tell(&mut self, line: &Value) {
        let line = line.to_string();
        self.subscribers.retain(|caller| caller.tell(&line));
    }

    fn tell_status(&mut self, mut json: Map<String, Value>, now: Timestamp) {
        // They change with every tick and would make every line a new one.
        for key in ["StageTimeLast_ns", "StageTimeMax_ns"] {
            json.remove(key);
        }
        let is_news = match &self.last_status {
            Some((at, last)) => now - *at >= STATUS_EVERY && *last != json,
            None => true,
        };
        if is_news && !self.subscribers.is_empty() {
            self.tell(&json!({ "status": json }));
            self.last_status = Some((now, json));
        }
    }

    fn collect(&mut self, control: &ReplayControl) {
        while let Some(answer) = self.requests.iter().any(|r| !r.tickets.is_empty()).then(|| control.answer()).flatten()
        {
            let owner = self.requests.iter_mut().find(|requested| requested.tickets.contains(&answer.ticket));
            if let Some(requested) = owner {
                requested.tickets.retain(|ticket| *ticket != answer.ticket);
                requested.error = requested.error.or(answer.outcome.err());
            }
        }
    }
}

fn clip(clips: Option<&ClipControl>, ask: impl FnOnce(&ClipControl) -> kinora::Result<()>) -> Result<Value, Wrong> {
    let clips = clips.ok_or_else(|| Wrong::failed("no clips: start with --clips DIR"))?;
    ask(clips).map(|()| json!("accepted")).map_err(|error| Wrong::failed(error.to_string()))
}
