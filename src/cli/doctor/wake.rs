//! A cyclic test: how much later than its deadline a thread wakes that sleeps as the player does.

use std::thread;

use kinora::thread::{ThreadSettings, set_rt_priority};
use kinora::{Clock, Span, SystemClock};

use super::Finding;

/// From one deadline to the next: no power of two of the kernel's tick.
const INTERVAL: Span = Span::from_us(997);

/// What 99 of 100 wake-ups stay under on a machine that can pace pictures.
const P99_MAX: Span = Span::from_ms(1);

/// How late wake-ups were, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lateness {
    p50_ns: u64,
    p99_ns: u64,
    max_ns: u64,
}

/// Sleeps to absolute deadlines for that long, with the priority if it is granted.
pub fn measure(time: Span, priority: u8, frame_time: Span) -> Finding {
    const CHECK: &str = "wake-up";
    let count = (time.as_ns() / INTERVAL.as_ns()).max(1);
    let measured = thread::spawn(move || {
        // What is refused is a finding of its own.
        let _ = ThreadSettings::default().apply();
        let real_time = set_rt_priority(priority).is_ok();
        let begun = SystemClock.now();
        let late = (1..=count).map(|k| {
            let deadline = begun + Span::from_ns(INTERVAL.as_ns() * k);
            SystemClock.sleep_until(deadline);
            (SystemClock.now() - deadline).as_ns().max(0) as u64
        });
        (lateness(late.collect()), real_time)
    });
    let Ok((Some(late), real_time)) = measured.join() else { return Finding::note(CHECK, "not measured") };
    let show = |ns: u64| format!("{:.1} µs", ns as f64 / 1_000.0);
    let found = format!(
        "p50 {}, p99 {}, max {} late over {count} wake-ups, {}",
        show(late.p50_ns),
        show(late.p99_ns),
        show(late.max_ns),
        if real_time { "real-time" } else { "ordinary priority" }
    );
    let wrong = late.p99_ns > P99_MAX.as_ns() as u64 || late.max_ns > frame_time.as_ns().max(1) as u64;
    let remedy =
        "end what else runs (top), mend the findings above, and keep the engine on its own processors (--cpus)";
    Finding::when(wrong, CHECK, found, remedy)
        .figure("p50_ns", late.p50_ns)
        .figure("p99_ns", late.p99_ns)
        .figure("max_ns", late.max_ns)
}

fn lateness(mut samples: Vec<u64>) -> Option<Lateness> {
    samples.sort_unstable();
    let at = |per_cent: usize| samples.get((samples.len() * per_cent).div_ceil(100).max(1) - 1).copied();
    Some(Lateness { p50_ns: at(50)?, p99_ns: at(99)?, max_ns: at(100)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_samples() {
        let samples = (1..=200).rev().collect();
        assert_eq!(lateness(samples), Some(Lateness { p50_ns: 100, p99_ns: 198, max_ns: 200 }));
        assert_eq!(lateness(vec![7]), Some(Lateness { p50_ns: 7, p99_ns: 7, max_ns: 7 }));
        assert_eq!(lateness(vec![]), None);
    }
}
