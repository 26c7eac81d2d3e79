//! What the machine grants: kernel, processor, memory, priority, timers.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroU64;
use std::thread;

use kinora::thread::{lock_memory, set_rt_priority, set_timer_slack, unlock_memory};
use rustix::process::{Resource, getrlimit};
use rustix::thread::CpuSet;

use super::Finding;
use crate::cli::memory::available_bytes;
use crate::cli::units::show_bytes;

/// The first kernel that prefaults a file's pages in one call (`MADV_POPULATE_WRITE`).
const POPULATES: (u32, u32) = (5, 14);

/// A small file of /proc or /sys, without the line's end.
pub fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end_matches(['\n', '\0']).to_owned())
}

pub fn kernel() -> Finding {
    let (release, machine) = (read("/proc/sys/kernel/osrelease").unwrap_or_default(), std::env::consts::ARCH);
    let real_time = read("/sys/kernel/realtime").is_some_and(|text| text == "1");
    let kind = if real_time { ", with PREEMPT_RT" } else { "" };
    let old = version(&release).is_some_and(|version| version < POPULATES);
    let remedy = "update the system: before Linux 5.14 pages of a recording are prefaulted one by one";
    Finding::when(old, "kernel", format!("Linux {release} ({machine}){kind}"), remedy)
}

/// `6.12.34+rpt-rpi-v8`: 6 and 12.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

pub fn governor() -> Finding {
    const CHECK: &str = "governor";
    let policies = fs::read_dir("/sys/devices/system/cpu/cpufreq").into_iter().flatten().flatten();
    let governors: BTreeSet<_> = policies
        .filter_map(|policy| {
            let path = policy.path();
            let driver = read(path.join("scaling_driver").to_str()?).unwrap_or_default();
            Some((read(path.join("scaling_governor").to_str()?)?, driver))
        })
        .collect();
    if governors.is_empty() {
        return Finding::ok(CHECK, "no frequency scaling");
    }
    let slow = |(governor, driver): &(String, String)| {
        // What these drivers call powersave follows the load.
        let follows = driver == "intel_pstate" || driver.starts_with("amd-pstate");
        !(governor == "performance" || governor == "schedutil" || governor == "powersave" && follows)
    };
    let names: Vec<_> = governors.iter().map(|(governor, _)| governor.as_str()).collect();
    Finding::when(
        governors.iter().any(slow),
        CHECK,
        names.join(", "),
        "echo performance | sudo tee /sys/devices/system/cpu/cpufreq/policy*/scaling_governor\n\
         that holds until the next start; for good, add cpufreq.default_governor=performance to the kernel's line \
         (/boot/firmware/cmdline.txt)",
    )
}

/// Whether the engine's threads can be kept on the processors of `--cpus`.
pub fn processors(cpus: &[usize]) -> Finding {
    const CHECK: &str = "processors";
    let Ok(granted) = rustix::thread::sched_getaffinity(None) else {
        return Finding::note(CHECK, "the system does not say which may be used");
    };
    let granted: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| granted.is_set(cpu)).collect();
    let missing: Vec<usize> = cpus.iter().filter(|cpu| !granted.contains(cpu)).copied().collect();
    let list = |cpus: &[usize]| cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let granted_list = list(&granted);
    if missing.is_empty() {
        let kept = if cpus.is_empty() { String::new() } else { format!("; the engine keeps to {}", list(cpus)) };
        return Finding::ok(CHECK, format!("{granted_list} may be used{kept}"));
    }
    let found = format!("{} of --cpus cannot be used, only {granted_list}", list(&missing));
    let usable: Vec<usize> = cpus.iter().filter(|cpu| granted.contains(cpu)).copied().collect();
    let remedy = if usable.is_empty() { "leave --cpus out".into() } else { format!("--cpus {}", list(&usable)) };
    Finding::warning(CHECK, found, remedy)
}

/// Whether the session's memory is there without swapping, with half as much to spare.
pub fn memory(needed: u64) -> Finding {
    let Some(available) = available_bytes() else { return Finding::note("memory", "/proc/meminfo does not say") };
    let found = format!("{} available, {} needed (kinora memory)", show_bytes(available), show_bytes(needed));
    let remedy = "end other programs, or make it less: --size, --ring 1, --encoders 1, fewer frames in memory (kinora memory shows what each costs)";
    Finding::when(available < needed + needed / 2, "memory", found, remedy)
        .figure("available_bytes", available)
        .figure("needed_bytes", needed)
}

/// Locks as much as the session would, and gives it back.
pub fn locked_memory(needed: u64) -> Finding {
    const CHECK: &str = "memory lock";
    // To look must not be what ends another program.
    if available_bytes().is_some_and(|available| available / 4 * 3 < needed) {
        return Finding::note(CHECK, format!("not tried: {} are more than there is", show_bytes(needed)));
    }
    let Ok(needed) = usize::try_from(needed) else { return Finding::note(CHECK, "not tried: more than can be named") };
    let bytes = vec![1_u8; needed];
    let answer = lock_memory(&bytes);
    if answer.is_ok() {
        unlock_memory(&bytes);
        return Finding::ok(CHECK, format!("{} can be locked", show_bytes(bytes.len() as u64)));
    }
    let limit = match getrlimit(Resource::Memlock).current {
        Some(limit) => show_bytes(limit),
        None => "none".to_owned(),
    };
    // limits.conf counts in KiB.
    let kib = (bytes.len() as u64).next_power_of_two() >> 10;
    let found = format!("{} cannot be locked, the limit is {limit}", show_bytes(bytes.len() as u64));
    Finding::warning(CHECK, found, limits_remedy(&format!("@video - memlock {kib}"), "LimitMEMLOCK"))
}

pub fn real_time(priority: u8) -> Finding {
    const CHECK: &str = "real-time";
    // A thread of its own: what it was granted ends with it.
    let answer = thread::spawn(move || set_rt_priority(priority)).join();
    if matches!(answer, Ok(Ok(()))) {
        return Finding::ok(CHECK, format!("priority {priority} is granted"));
    }
    let limit = getrlimit(Resource::Rtprio).current.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
    let found = format!("priority {priority} is refused, the limit is {limit}");
    let remedy = limits_remedy(&format!("@video - rtprio {}", priority.max(60)), "LimitRTPRIO");
    Finding::warning(CHECK, found, remedy)
}

/// The line for the limits file, and the one for a service.
fn limits_remedy(line: &str, unit: &str) -> String {
    format!(
        "echo '{line}' | sudo tee -a /etc/security/limits.d/kinora.conf\n\
         sudo usermod -aG video $USER, then log in again; a service sets {unit}= (contrib/kinora.service)"
    )
}

pub fn timer_slack() -> Finding {
    const CHECK: &str = "timer slack";
    let answer = thread::spawn(|| {
        let before = rustix::thread::current_timer_slack().unwrap_or(0);
        (before, set_timer_slack(NonZeroU64::MIN))
    });
    match answer.join() {
        Ok((before, Ok(()))) => Finding::ok(CHECK, format!("{before} ns, and 1 ns for the engine's threads")),
        Ok((before, Err(refusal))) => Finding::warning(CHECK, format!("{before} ns; {refusal}"), "run a newer kernel"),
        Err(_) => Finding::note(CHECK, "not measured"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_are_read_as_numbers() {
        assert_eq!(version("6.12.34+rpt-rpi-v8"), Some((6, 12)));
        assert_eq!(version("5.4"), Some((5, 4)));
        assert!(version("5.4.1").unwrap() < POPULATES && version("5.14.0-x").unwrap() >= POPULATES);
        assert_eq!(version("strange"), None);
    }

    #[test]
    fn more_memory_than_there_is_is_a_warning_with_a_remedy() {
        let finding = memory(u64::MAX / 2);
        assert_eq!(finding.state, super::super::State::Warning);
        assert!(finding.remedy.unwrap().contains("--size"));
        assert_eq!(memory(1).state, super::super::State::Ok);
    }
}
