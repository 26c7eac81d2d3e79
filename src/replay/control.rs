//! The operator's remote ends: commands go to it over a lock-free ring, answers and events come back over two more.

use std::cell::{Cell, RefCell};
use std::fmt;

use rtrb::{Consumer, Producer, RingBuffer};

use super::machine::{Command, Refused, State};
use super::settings::{OutOfRange, ReplaySettings, Setting};
use super::status::{Status, StatusBoard};
use crate::time::{Speed, Timestamp, WallTime};

/// Requests that may wait for the next tick on one control.
const REQUESTS_MAX: usize = 64;
/// Events that may wait for a control to take them.
const EVENTS_MAX: usize = 256;

/// An operator's name.
pub(super) type Name = heapless::String<64>;

/// Something asked of the operator; carried out at its next tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// A command.
    Command(Command),
    /// A new value of a setting.
    Set(Setting),
    /// Plays what was recorded between two wall-clock times, both included, as stored marks; refused while a replay runs.
    PlayBetween {
        /// Recording time of the first frame, at the earliest.
        from: WallTime,
        /// Recording time of the last frame, at the latest.
        to: WallTime,
    },
}

/// Why a request was not carried out; everything goes on as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The command does not fit the state.
    Refused(Refused),
    /// The value is out of its range.
    OutOfRange(OutOfRange),
    /// A replay runs already; stop it first.
    AlreadyPlaying,
    /// No frame in the buffer was recorded between these times.
    NothingBetween,
    /// 64 requests wait for the operator's next tick already; this one was not sent.
    TooManyWaiting,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::OutOfRange(range) => range.fmt(f),
            Self::AlreadyPlaying => write!(f, "a replay runs already: stop it first"),
            Self::NothingBetween => write!(f, "no frame in the buffer was recorded between these times"),
            Self::TooManyWaiting => write!(f, "{REQUESTS_MAX} requests wait for the next tick already"),
        }
    }
}

impl std::error::Error for RequestError {}

impl From<Refused> for RequestError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<OutOfRange> for RequestError {
    fn from(range: OutOfRange) -> Self {
        Self::OutOfRange(range)
    }
}

/// Names a request, to find its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which request.
    pub ticket: Ticket,
    /// The operator's state after it, or why it did nothing.
    pub outcome: Result<State, RequestError>,
}

/// Something that happened in the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayEvent {
    /// Another state, by command or by itself.
    StateChanged {
        /// Before.
        from: State,
        /// After.
        to: State,
        /// When.
        at: Timestamp,
    },
    /// A replay came to its end by itself.
    PlaybackEnded {
        /// When.
        at: Timestamp,
    },
    /// The buffer reached one of its bounds; told once until it is below all of them again.
    BufferFull {
        /// When.
        at: Timestamp,
    },
    /// A frame was not stored: it is larger than what the window promises.
    Dropped {
        /// Its sequence number.
        sequence: u64,
        /// Its capture time.
        at: Timestamp,
        /// Its bytes.
        bytes: u64,
    },
}

/// The operator's end of one control.
#[derive(Debug)]
pub(super) struct Channel {
    requests: Consumer<(Ticket, Request)>,
    answers: Producer<Answer>,
    events: Producer<ReplayEvent>,
}

impl Channel {
    /// The oldest request, if its answer will find room.
    pub fn take(&mut self) -> Option<(Ticket, Request)> {
        if self.answers.is_full() { None } else { self.requests.pop().ok() }
    }

    /// `take` made sure of the room.
    pub fn answer(&mut self, answer: Answer) {
        let _ = self.answers.push(answer);
    }

    /// False when the control is there and did not take its events in time: this one is lost.
    pub fn tell(&mut self, event: ReplayEvent) -> bool {
        self.events.push(event).is_ok() || self.events.is_abandoned()
    }
}

/// A handle on a running operator: `Send`, lock-free, for one thread. Requests are carried out at the operator's next tick,
/// in order; each gets an [`Answer`].
pub struct ReplayControl {
    requests: RefCell<Producer<(Ticket, Request)>>,
    answers: RefCell<Consumer<Answer>>,
    events: RefCell<Consumer<ReplayEvent>>,
    board: StatusBoard,
    capacity: u32,
    name: Name,
    next_ticket: Cell<u64>,
}

impl fmt::Debug for ReplayControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayControl").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

/// Both ends of one control.
pub(super) fn channel(board: StatusBoard, capacity: u32, name: Name) -> (Channel, ReplayControl) {
    let (request, requests) = RingBuffer::new(REQUESTS_MAX);
    let (answer, answers) = RingBuffer::new(REQUESTS_MAX);
    let (event, events) = RingBuffer::new(EVENTS_MAX);
    let control = ReplayControl {
        requests: RefCell::new(request),
        answers: RefCell::new(answers),
        events: RefCell::new(events),
        board,
        capacity,
        name,
        next_ticket: Cell::new(1),
    };
    (Channel { requests, answers: answer, events: event }, control)
}

impl ReplayControl {
    /// Asks for something. Values are checked against their ranges at once.
    ///
    /// # Errors
    /// [`RequestError::OutOfRange`] and [`RequestError::TooManyWaiting`]: it was not sent.
    pub fn request(&self, request: Request) -> Result<Ticket, RequestError> {
        self.check(&request)?;
        let ticket = Ticket(self.next_ticket.get());
        let sent = self.requests.borrow_mut().push((ticket, request));
        sent.map_err(|_| RequestError::TooManyWaiting)?;
        self.next_ticket.set(ticket.0 + 1);
        Ok(ticket)
    }

    /// Checks a value against its range without sending it, for who sends several or none.
    ///
    /// # Errors
    /// [`RequestError::OutOfRange`].
    pub fn check(&self, request: &Request) -> Result<(), RequestError> {
        match request {
            Request::Set(setting) => Ok(ReplaySettings::default().set(*setting, self.capacity)?),
            _ => Ok(()),
        }
    }

    /// Sends a command.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn command(&self, command: Command) -> Result<Ticket, RequestError> {
        self.request(Request::Command(command))
    }

    /// Sends a new value.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn set(&self, setting: Setting) -> Result<Ticket, RequestError> {
        self.request(Request::Set(setting))
    }

    /// `CommandStartRecording`.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn start_recording(&self) -> Result<Ticket, RequestError> {
        self.command(Command::StartRecording)
    }

    /// `CommandStartPlayback`.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn start_playback(&self) -> Result<Ticket, RequestError> {
        self.command(Command::StartPlayback)
    }

    /// `CommandStop`.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn stop(&self) -> Result<Ticket, RequestError> {
        self.command(Command::Stop)
    }

    /// `ResetCmd`.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn reset(&self) -> Result<Ticket, RequestError> {
        self.command(Command::Reset)
    }

    /// `PlaybackSpeed`. Takes what [`Speed::new`] gives; `None` (no such speed) is out of range.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn set_speed(&self, speed: impl Into<Option<Speed>>) -> Result<Ticket, RequestError> {
        let range = OutOfRange { field: "PlaybackSpeed", min: -1_000_000, max: 1_000_000, got: i64::MAX };
        self.set(Setting::PlaybackSpeed(speed.into().ok_or(range)?))
    }

    /// The operator's name, as it was when this control was made.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The operator as of its newest tick, whole; from any moment, without disturbing it.
    pub fn status(&self) -> Status {
        self.board.status()
    }

    /// Takes the oldest answer that was not taken yet. While 64 answers wait, the operator carries out nothing more.
    pub fn answer(&self) -> Option<Answer> {
        self.answers.borrow_mut().pop().ok()
    }

    /// Takes the events that were not taken yet; those that found no room are counted in [`Status::events_lost`].
    pub fn events(&self) -> impl Iterator<Item = ReplayEvent> + '_ {
        std::iter::from_fn(|| self.events.borrow_mut().pop().ok())
    }
}
