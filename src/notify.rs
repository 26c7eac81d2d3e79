//! Tells a service manager how a long run does: the messages of `sd_notify(3)`, one datagram each, to the socket that
//! `NOTIFY_SOCKET` names.
//!
//! Ready means that the first frame came, and the watchdog is fed by frames and by nothing else: a process that lives while
//! its camera is silent is one that the manager restarts. Without the variable everything here does nothing.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::time::{Span, Timestamp};

/// Feedings within one watchdog interval, so that a late one does not matter.
const FEEDS_PER_INTERVAL: i64 = 4;

/// How often the manager's status line is renewed where no watchdog asks for more.
const STATUS_EVERY: Span = Span::from_s(10);

/// What the manager is asked to wait for longer than it is set to, from each time that it is told.
const LONGER: Span = Span::from_s(60);

/// The connection to the service manager, if there is one.
///
/// ```
/// use kinora::notify::Notifier;
/// use kinora::{Clock, SystemClock};
///
/// let mut notifier = Notifier::of_this_process().unwrap();
/// // In the loop of frames: how many came, and what `systemctl status` is to show.
/// notifier.frames(1, SystemClock.now(), || "1 frame, 0 lost".to_owned());
/// notifier.stopping();
/// ```
#[derive(Debug, Default)]
pub struct Notifier {
    manager: Option<Manager>,
    pulse: Pulse,
    asked: Option<Timestamp>,
}

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Notifier {
    /// The manager that the environment names, if any.
    ///
    /// # Errors
    /// `NOTIFY_SOCKET` names no Unix socket (`/path` or `@abstract`), or `WATCHDOG_USEC` is no number.
    pub fn of_this_process() -> io::Result<Self> {
        let variable = |name| std::env::var_os(name);
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(Self::default()) };
        let number = |name| match variable(name) {
            Some(text) => text.to_str().and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| wrong(name)),
            None => Ok(None),
        };
        // A watchdog that is meant for another process of the service is none of ours.
        let ours = number("WATCHDOG_PID")?.is_none_or(|pid: i64| pid == i64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC")?.filter(|_| ours).map(Span::from_us);
        Self::to(&name, watchdog)
    }

    /// The manager that listens on this socket; `watchdog`: how long it waits for a sign of life at most.
    ///
    /// # Errors
    /// The name is neither a path nor an abstract name with `@` before it, or no socket can be made.
    pub fn to(name: &OsStr, watchdog: Option<Span>) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(wrong("NOTIFY_SOCKET")),
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not stop the frames: what it has no room for is said again later.
        socket.set_nonblocking(true)?;
        Ok(Self { manager: Some(Manager { socket, address }), pulse: Pulse::new(watchdog), asked: None })
    }

    /// Says so when `frames`, the number of frames that came so far, is the first above zero (`READY=1`), and feeds the
    /// watchdog (`WATCHDOG=1`) when it has grown, four times in its interval at most. `status` becomes the status line.
    ///
    /// Cost: a comparison; when it is time, one datagram, which never blocks.
    pub fn frames(&mut self, frames: u64, now: Timestamp, status: impl FnOnce() -> String) {
        let Some(manager) = &self.manager else { return };
        let Some(message) = self.pulse.due(frames, now) else { return };
        if manager.say(&format!("{message}STATUS={}\n", status().replace('\n', " "))) {
            self.pulse.said(frames, now);
        }
    }

    /// Says that a start or an end takes long, and what it is at: the manager waits for a minute from now, or as long as it is
    /// set to (`EXTEND_TIMEOUT_USEC`). To be called again and again meanwhile; a datagram every ten seconds.
    pub fn takes_long(&mut self, now: Timestamp, status: &str) {
        let Some(manager) = self.manager.as_ref().filter(|_| self.asked.is_none_or(|then| now - then >= STATUS_EVERY))
        else {
            return;
        };
        let us = LONGER.as_ns() / 1000;
        if manager.say(&format!("EXTEND_TIMEOUT_USEC={us}\nSTATUS={}\n", status.replace('\n', " "))) {
            self.asked = Some(now);
        }
    }

    /// Says that the end has begun (`STOPPING=1`).
    pub fn stopping(&self) {
        if let Some(manager) = &self.manager {
            manager.say("STOPPING=1\n");
        }
    }
}

impl Manager {
    /// False when the message could not be handed over; nobody else can be told.
    fn say(&self, message: &str) -> bool {
        self.socket.send_to_addr(message.as_bytes(), &self.address).is_ok_and(|sent| sent == message.len())
    }
}

fn wrong(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is not what a service manager sets; unset it"))
}

/// What to say when, without a clock and a socket.
#[derive(Debug, Default)]
struct Pulse {
    every: Span,
    watchdog: bool,
    last: Option<(u64, Timestamp)>,
}

impl Pulse {
    fn new(watchdog: Option<Span>) -> Self {
        let every = watchdog.map_or(STATUS_EVERY, |interval| Span::from_ns(interval.as_ns() / FEEDS_PER_INTERVAL));
        Self { every: every.min(STATUS_EVERY), watchdog: watchdog.is_some(), last: None }
    }

    fn due(&self, frames: u64, now: Timestamp) -> Option<&'static str> {
        match self.last {
            None if frames > 0 && self.watchdog => Some("READY=1\nWATCHDOG=1\n"),
            None if frames > 0 => Some("READY=1\n"),
            Some((before, then)) if frames > before && now - then >= self.every => {
                Some(if self.watchdog { "WATCHDOG=1\n" } else { "" })
            }
            _ => None,
        }
    }

    fn said(&mut self, frames: u64, now: Timestamp) {
        self.last = Some((frames, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    /// A manager and a notifier that speaks to it, over a path.
    fn manager(watchdog: Option<Span>) -> (tempfile::TempDir, UnixDatagram, Notifier) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = Notifier::to(path.as_os_str(), watchdog).unwrap();
        (folder, manager, notifier)
    }

    fn heard(manager: &UnixDatagram) -> Vec<String> {
        let mut bytes = [0; 512];
        std::iter::from_fn(|| manager.recv(&mut bytes).ok().map(|n| String::from_utf8_lossy(&bytes[..n]).into_owned()))
            .collect()
    }

    fn at_ms(ms: i64) -> Timestamp {
        Timestamp::from_ns(ms * 1_000_000)
    }

    #[test]
    fn the_first_frame_is_ready_and_only_more_frames_feed_the_watchdog() {
        let (_folder, manager, mut notifier) = manager(Some(Span::from_ms(400)));
        let mut frames = |count: u64, ms| notifier.frames(count, at_ms(ms), || format!("{count}\nframes"));
        frames(0, 0);
        assert_eq!(heard(&manager), [""; 0]);
        frames(1, 10);
        assert_eq!(heard(&manager), ["READY=1\nWATCHDOG=1\nSTATUS=1 frames\n"]);
        frames(9, 109);
        assert_eq!(heard(&manager), [""; 0], "a quarter of the interval has not passed");
        frames(10, 110);
        assert_eq!(heard(&manager), ["WATCHDOG=1\nSTATUS=10 frames\n"]);
        for ms in [300, 1_000, 100_000] {
            frames(10, ms);
        }
        assert_eq!(heard(&manager), [""; 0], "no frame came");
        notifier.stopping();
        assert_eq!(heard(&manager), ["STOPPING=1\n"]);
    }

    #[test]
    fn without_a_watchdog_only_the_status_is_renewed() {
        let (_folder, manager, mut notifier) = manager(None);
        for (count, ms) in [(1, 0), (2, 9_999), (3, 10_000)] {
            notifier.frames(count, at_ms(ms), || count.to_string());
        }
        assert_eq!(heard(&manager), ["READY=1\nSTATUS=1\n", "STATUS=3\n"]);
    }

    #[test]
    fn a_long_start_asks_for_more_time_again_and_again() {
        let (_folder, manager, mut notifier) = manager(None);
        for (ms, status) in [(0, "10 %"), (9_999, "20 %"), (10_000, "30\n%")] {
            notifier.takes_long(at_ms(ms), status);
        }
        let asked = ["10 %", "30 %"].map(|status| format!("EXTEND_TIMEOUT_USEC=60000000\nSTATUS={status}\n"));
        assert_eq!(heard(&manager), asked);
    }

    #[test]
    fn what_the_manager_had_no_room_for_is_said_again() {
        let (folder, manager, mut notifier) = manager(None);
        drop(manager);
        std::fs::remove_file(folder.path().join("notify")).unwrap();
        notifier.frames(1, at_ms(0), String::new);
        let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        manager.set_nonblocking(true).unwrap();
        notifier.frames(2, at_ms(1), String::new);
        assert_eq!(heard(&manager), ["READY=1\nSTATUS=\n"]);
    }

    #[test]
    fn an_abstract_name_is_taken_and_no_other_kind() {
        let name = format!("kinora-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notifier = Notifier::to(&OsString::from(format!("@{name}")), None).unwrap();
        notifier.stopping();
        let mut bytes = [0; 64];
        let n = manager.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..n], b"STOPPING=1\n");
        assert!(Notifier::to(OsStr::new("vsock:2:5"), None).is_err());
        assert!(Notifier::to(OsStr::new(""), None).is_err());
    }
}
