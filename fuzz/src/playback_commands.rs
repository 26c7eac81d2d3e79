//! Recorded times of any kind, commands at any moment and a caller as late as it likes against the player's state machine: no
//! frame before its deadline, none outside the marks, the same answer when asked twice, and counts that add up.
//!
//! The first byte chooses settings, the second how many frames there are; each frame takes two bytes (how its time follows the
//! one before), then come operations, one byte each with an argument behind it.

use kinora::playback::{Command, LatePolicy, PacingSettings, Peek, Rate, Transport, TransportSettings};
use kinora::timeline::Timeline;
use kinora::{Error, Frame, Result, Span, Speed, Timestamp};

const OPERATIONS_MAX: usize = 300;
const FRAMES_MAX: usize = 40;

/// Frames of which only the times are known; a file may hold any.
struct Times(Vec<Timestamp>);

impl Timeline for Times {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn captured_at(&self, index: u64) -> Option<Timestamp> {
        self.0.get(usize::try_from(index).ok()?).copied()
    }

    fn seek_time(&self, at: Timestamp) -> u64 {
        self.0.iter().position(|&time| time >= at).unwrap_or(self.0.len()) as u64
    }

    fn frame(&mut self, index: u64) -> Result<Frame<'_>> {
        Err(Error::Setting(format!("frame {index} has only a time")))
    }
}

/// # Panics
/// When something above does not hold.
pub fn check(input: &[u8]) {
    let [flags, count, rest @ ..] = input else { return };
    let count = usize::from(*count) % (FRAMES_MAX + 1);
    let (deltas, operations) = rest.split_at(rest.len().min(2 * count));
    let mut run = Run::new(*flags, times(deltas));
    for operation in operations.chunks_exact(2).take(OPERATIONS_MAX) {
        run.apply(operation[0], operation[1]);
        run.look();
    }
}

/// Ordinary distances, standing times, leaps both ways, and the ends of what 64 bits hold.
fn times(deltas: &[u8]) -> Times {
    let mut at = Timestamp::from_ns(5_000_000_000);
    let step = |pair: &[u8]| {
        let by = i64::from(pair[1]);
        at = match pair[0] % 8 {
            0..=2 => at + Span::from_ms(by),
            3 => at + Span::from_ns(by),
            4 => at - Span::from_ms(10 * by),
            5 => at + Span::from_s(60 * by),
            6 => at - Span::from_s(86_400 * by),
            _ => [Timestamp::from_ns(i64::MIN), Timestamp::from_ns(i64::MAX), Timestamp::default()][by as usize % 3],
        };
        at
    };
    Times(deltas.chunks_exact(2).map(step).collect())
}

fn at(numerator: i32, denominator: u32) -> Rate {
    Rate::At(Speed::new(numerator, denominator).expect("within a million"))
}

struct Run {
    times: Times,
    transport: Transport,
    skips: bool,
    now: Timestamp,
    shown: u64,
}

impl Run {
    fn new(flags: u8, times: Times) -> Self {
        let flag = |bit: u8| flags >> bit & 1 == 1;
        let settings = TransportSettings {
            looped: flag(0),
            paused: flag(1),
            late: if flag(2) { LatePolicy::Skip } else { LatePolicy::Keep },
            rate: if flag(3) { Rate::MaxReverse } else { Rate::NORMAL },
            first: flag(4).then_some(u64::from(flags >> 6) * 9),
            last: flag(5).then_some(u64::from(flags >> 6) * 5),
            pacing: if flag(6) {
                PacingSettings { leap_max: Span::MAX, ..PacingSettings::default() }
            } else {
                PacingSettings::default()
            },
        };
        let mut transport = Transport::new(settings, &times);
        transport.set_bookmarks(times.0.iter().copied().step_by(3));
        Self { times, transport, skips: flag(2), now: Timestamp::from_ns(0), shown: 0 }
    }

    fn apply(&mut self, operation: u8, argument: u8) {
        let value = i64::from(argument);
        let signed = i64::from(argument as i8);
        let command = match operation % 28 {
            0 => Command::TogglePause,
            1 => Command::Pause,
            2 => Command::Resume,
            3 => Command::Step(signed),
            4 => Command::Step([i64::MIN, i64::MAX][usize::from(argument & 1)]),
            5 => Command::SeekFrame(value as u64),
            6 => Command::SeekFrame(u64::MAX - value as u64),
            7 => Command::SeekTime(Span::from_ms(10 * signed)),
            8 => Command::SeekTime([Span::from_ns(i64::MIN), Span::MAX][usize::from(argument & 1)]),
            9 => Command::SeekAt(Timestamp::from_ns([i64::MIN, i64::MAX][usize::from(argument & 1)])),
            10 => Command::NextBookmark,
            11 => Command::PreviousBookmark,
            12 => Command::AddBookmark,
            13 => Command::SetRate(at(signed as i32, 1 + u32::from(operation))),
            14 => {
                let numerator = [1_000_000, -1_000_000, 1, -1][usize::from(argument & 3)];
                Command::SetRate(at(numerator, [1, 1_000_000][usize::from(argument >> 2 & 1)]))
            }
            15 => Command::SetRate([Rate::Max, Rate::MaxReverse][usize::from(argument & 1)]),
            16 => Command::Faster,
            17 => Command::Slower,
            18 => Command::Reverse,
            19 => Command::MarkIn,
            20 => Command::MarkOut,
            21 => Command::ClearMarks,
            22 => Command::ToggleLoop,
            23 => Command::Home,
            24 => Command::End,
            // Time passes; the monotonic clock never goes back.
            25 | 26 => {
                let unit = if operation % 28 == 25 { Span::from_ms(1) } else { Span::from_s(3_600) };
                self.now += Span::from_ns(unit.as_ns() * value);
                return;
            }
            // Ending for good leaves nothing to look at, so it is seldom.
            _ if argument == 0xFF => Command::Quit,
            _ => return,
        };
        let before = self.transport.counts();
        self.transport.command(command, &self.times, self.now);
        assert_eq!(self.transport.counts().delivered, before.delivered, "{command:?} delivered a frame");
    }

    fn look(&mut self) {
        let (first, last) = self.transport.marks();
        let end = self.times.len().saturating_sub(1);
        let mut peek = self.transport.peek(&self.times, self.now);
        let again = self.transport.peek(&self.times, self.now);
        // In a loop that is far too fast each question leaves out frames of one more round.
        match self.skips {
            true => peek = again,
            false => assert_eq!(again, peek, "asked twice, answered otherwise"),
        }
        match peek {
            Peek::Frame { index, due_at } => {
                assert!(index < self.times.len(), "frame {index} of {}", self.times.len());
                let first = first.unwrap_or(0).min(end);
                let last = last.unwrap_or(end).min(end).max(first);
                assert!((first..=last).contains(&index), "frame {index} is outside {first}..={last}");
                if due_at.is_some_and(|due_at| due_at > self.now) {
                    return;
                }
                let shown = self.transport.shown(self.now).expect("it was announced");
                assert_eq!((shown.index, shown.due_at), (index, due_at));
                assert!(shown.error >= Span::ZERO && (!shown.late || shown.error > Span::ZERO), "{shown:?}");
                assert_eq!(self.transport.current(), Some(index));
                self.shown += 1;
            }
            Peek::Paused => assert!(self.transport.is_paused()),
            Peek::Ended => assert!(self.transport.has_ended(&self.times)),
        }
        assert!(self.transport.shown(self.now).is_none(), "{peek:?}: a frame that nobody announced");
        let counts = self.transport.counts();
        assert_eq!(counts.delivered, self.shown, "{counts:?}");
        assert!(counts.late <= counts.delivered && counts.damaged == 0, "{counts:?}");
        assert!(self.transport.bookmarks().is_sorted());
    }
}
