//! What the operating system is asked for so that a thread runs when it should: exact sleep, real-time priority, a core of its
//! own, memory that is never paged out.
//!
//! All of it may be refused (an ordinary user, a container). A refusal is a value that says what was asked, what the system
//! answered and what would help; nothing here fails or logs. Only memory that is handed over is locked, never all of the
//! process and never what is still to come.

use std::fmt;
use std::io;
use std::num::NonZeroU64;

use rustix::thread::CpuSet;

/// What one thread should get. All fields are optional wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadSettings {
    /// How much later than its deadline the kernel may wake the thread to save energy, in nanoseconds. Default 1, the least
    /// (the kernel's own default is 50,000); 0 asks for nothing. Needs no privilege. Real-time threads have none anyway.
    pub timer_slack_ns: u64,
    /// `SCHED_FIFO` priority, `1..=99`; `None` (default) leaves the thread an ordinary one. Above 50 it runs before the
    /// kernel's interrupt threads on a real-time kernel.
    pub rt_priority: Option<u8>,
    /// Cores that the thread may run on, by number; empty (default) means any.
    pub cpus: Vec<usize>,
}

impl Default for ThreadSettings {
    fn default() -> Self {
        Self { timer_slack_ns: 1, rt_priority: None, cpus: Vec::new() }
    }
}

impl ThreadSettings {
    /// Asks for all of it, for the calling thread. What is refused leaves the thread as it was in that respect.
    pub fn apply(&self) -> Refusals {
        let asked = [
            NonZeroU64::new(self.timer_slack_ns).map(set_timer_slack),
            (!self.cpus.is_empty()).then(|| set_affinity(&self.cpus)),
            self.rt_priority.map(set_rt_priority),
        ];
        let mut refusals = Refusals::default();
        for (place, answer) in refusals.0.iter_mut().zip(asked) {
            *place = answer.and_then(Result::err);
        }
        refusals
    }
}

/// Something that the system did not grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked for.
    pub wish: &'static str,
    /// The system's answer, `errno`.
    pub errno: i32,
    /// What would help.
    pub remedy: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = io::Error::from_raw_os_error(self.errno);
        write!(f, "{} refused ({error}): {}", self.wish, self.remedy)
    }
}

/// What [`ThreadSettings::apply`] could not get; empty when everything was granted. Makes no allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals([Option<Refusal>; 3]);

impl Refusals {
    /// True when everything that was asked for was granted.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// What was refused.
    pub fn iter(&self) -> impl Iterator<Item = &Refusal> {
        self.0.iter().flatten()
    }
}

/// Sets how late the kernel may wake the calling thread, in nanoseconds.
///
/// # Errors
/// The kernel does not know timer slack.
pub fn set_timer_slack(slack_ns: NonZeroU64) -> Result<(), Refusal> {
    rustix::thread::set_current_timer_slack(Some(slack_ns)).map_err(|errno| Refusal {
        wish: "timer slack",
        errno: errno.raw_os_error(),
        remedy: "sleeps end up to 50 µs late",
    })
}

/// Makes the calling thread a real-time one (`SCHED_FIFO`) of `priority`, `1..=99`.
///
/// # Errors
/// The user may not, or the priority is out of its range.
pub fn set_rt_priority(priority: u8) -> Result<(), Refusal> {
    // SAFETY: `sched_param` is a C struct of integers (musl's has more than one), for which all zero is a valid value.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = i32::from(priority);
    // SAFETY: `pthread_self` is the calling thread, alive during the call; `param` is a valid struct that the call reads.
    // Unlike `sched_setscheduler`, which musl leaves out, this one exists in every C library.
    let errno = unsafe { libc::pthread_setschedparam(libc::pthread_self(), libc::SCHED_FIFO, &param) };
    match errno {
        0 => Ok(()),
        libc::EINVAL => Err(Refusal { wish: "real-time priority", errno, remedy: "priorities go from 1 to 99" }),
        _ => Err(Refusal {
            wish: "real-time priority",
            errno,
            remedy: "allow it with `rtprio` in /etc/security/limits.conf, LimitRTPRIO= in the unit, or CAP_SYS_NICE",
        }),
    }
}

/// Makes the calling thread one that gets its share of time but takes no core from another when it wakes (`SCHED_BATCH`).
/// Every user may; a system that refuses leaves the thread as it was.
pub fn make_background() {
    // SAFETY: as in `set_rt_priority`; 0 is the only priority of this policy.
    let param: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: as in `set_rt_priority`.
    let _ = unsafe { libc::pthread_setschedparam(libc::pthread_self(), libc::SCHED_BATCH, &param) };
}

/// Lets the calling thread run only on these cores.
///
/// # Errors
/// None of them exists, or the process may use none of them. Numbers that no system has are left out.
pub fn set_affinity(cpus: &[usize]) -> Result<(), Refusal> {
    let mut set = CpuSet::new();
    for &cpu in cpus.iter().filter(|&&cpu| cpu < CpuSet::MAX_CPU) {
        set.set(cpu);
    }
    rustix::thread::sched_setaffinity(None, &set).map_err(|errno| Refusal {
        wish: "core affinity",
        errno: errno.raw_os_error(),
        remedy: "name cores that exist and that this process may use (`nproc`, `taskset -p`)",
    })
}

/// Keeps the pages under `bytes` in memory. Whole pages are locked, so neighbours may be locked as well; memory that is
/// freed stays locked until the allocator gives it back to the system.
///
/// # Errors
/// The limit of locked memory is reached; nothing of `bytes` needs to be taken back, it is used as it is.
pub fn lock_memory(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.is_empty() {
        return Ok(());
    }
    // SAFETY: the range is a live slice, borrowed for the call, so it is mapped; the kernel rounds to the pages that hold
    // it, which are mapped for the same reason. Locking changes no byte and no protection.
    unsafe { rustix::mm::mlock(bytes.as_ptr().cast_mut().cast(), bytes.len()) }.map_err(|errno| Refusal {
        wish: "locked memory",
        errno: errno.raw_os_error(),
        remedy: "raise `memlock` in /etc/security/limits.conf, LimitMEMLOCK= in the unit, or give CAP_IPC_LOCK",
    })
}

/// Takes [`lock_memory`] back.
pub fn unlock_memory(bytes: &[u8]) {
    if !bytes.is_empty() {
        // SAFETY: as for `lock_memory`. A failure means that the pages were not locked, which is what is wanted.
        let _ = unsafe { rustix::mm::munlock(bytes.as_ptr().cast_mut().cast(), bytes.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_slack_is_set_for_this_thread() {
        let slack = std::thread::spawn(|| {
            assert_eq!(set_timer_slack(NonZeroU64::MIN), Ok(()));
            rustix::thread::current_timer_slack()
        });
        // A thread that runs with real-time priority has no slack: 0 is as good.
        assert!(slack.join().unwrap().unwrap() <= 1);
    }

    #[test]
    fn a_priority_out_of_range_is_refused_with_the_range() {
        let refusal = set_rt_priority(100).unwrap_err();
        assert_eq!(refusal.errno, libc::EINVAL);
        assert!(refusal.to_string().contains("1 to 99"), "{refusal}");
    }

    #[test]
    fn a_background_thread_has_the_policy_that_takes_no_core() {
        let policy = std::thread::spawn(|| {
            make_background();
            // SAFETY: 0 is the calling thread; the call reads nothing of ours.
            unsafe { libc::sched_getscheduler(0) }
        });
        assert_eq!(policy.join().unwrap(), libc::SCHED_BATCH);
    }

    #[test]
    fn a_core_that_does_not_exist_is_refused_and_the_other_wishes_are_granted() {
        let settings = ThreadSettings { cpus: vec![CpuSet::MAX_CPU + 7], ..ThreadSettings::default() };
        let refusals = std::thread::spawn(move || settings.apply()).join().unwrap();
        assert_eq!(refusals.iter().map(|refusal| refusal.wish).collect::<Vec<_>>(), ["core affinity"]);
    }

    #[test]
    fn a_thread_stays_on_the_core_it_was_given() {
        let core = std::thread::spawn(|| {
            let allowed = rustix::thread::sched_getaffinity(None).unwrap();
            let first = (0..CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu)).unwrap();
            set_affinity(&[first]).unwrap();
            (first, rustix::thread::sched_getcpu())
        });
        let (asked, found) = core.join().unwrap();
        assert_eq!(asked, found);
    }

    #[test]
    fn memory_can_be_locked_or_the_refusal_names_the_limit() {
        let bytes = vec![7; 20_000];
        match lock_memory(&bytes) {
            Ok(()) => unlock_memory(&bytes),
            Err(refusal) => assert!(refusal.to_string().contains("memlock"), "{refusal}"),
        }
        assert_eq!(lock_memory(&[]), Ok(()));
        assert!(bytes.iter().all(|&byte| byte == 7));
    }
}
