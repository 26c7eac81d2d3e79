//! The module that looks like an IMX500: its parameters, and what it says it did.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use crate::PATIENCE;

const PARAMETERS: &str = "/sys/module/imx500/parameters";
const TOLD: &str = "/sys/kernel/debug/fake_imx500";

/// Faults and times of the module, and the values that they have without a test's wish.
const AT_REST: &[(&str, &str)] = &[
    ("dead_network", "0"),
    ("drop_image_every", "0"),
    ("drop_metadata_every", "0"),
    ("error_every", "0"),
    ("frame_us", "0"),
    ("hang_after", "0"),
    ("hang_times", "1"),
    ("i2c_errors", "0"),
    ("light_permille", "1000"),
    ("need_firmware", "1"),
    ("slow_network", "0"),
    ("upload_ms", "100"),
];

/// Sets one parameter.
pub fn set(parameter: &str, value: impl ToString) {
    fs::write(format!("{PARAMETERS}/{parameter}"), value.to_string())
        .unwrap_or_else(|error| panic!("{parameter}: {error}"));
}

/// Takes all faults away, plugs the camera in, and sets the counters to zero.
pub fn rest() {
    if links().is_empty() {
        plug("bind");
    }
    AT_REST.iter().for_each(|(parameter, value)| set(parameter, value));
    wait_until_off();
    fs::write(format!("{TOLD}/stats"), "0").unwrap();
    put_in(&[]);
}

/// Waits until the sensor's power is off. When it goes off it forgets its network, as the real one does: a network that was
/// set a moment before, for the next stream, would be gone.
fn wait_until_off() {
    let bus = if layout() == "unicam" { 10 } else { 4 };
    let status = format!("/sys/bus/i2c/devices/{bus}-001a/power/runtime_status");
    let begun = Instant::now();
    while fs::read_to_string(&status).unwrap().trim() != "suspended" {
        assert!(begun.elapsed() < PATIENCE, "{status} does not become suspended");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the module counted since it was last at rest, by the names of its README.
pub fn stats() -> BTreeMap<String, u64> {
    let text = fs::read_to_string(format!("{TOLD}/stats")).unwrap();
    let pair = |line: &str| line.split_once(' ').map(|(name, count)| (name.to_owned(), count.parse().unwrap()));
    text.lines().filter_map(pair).collect()
}

/// Waits until a count of the module is at least so much.
pub fn wait_for(name: &str, at_least: u64) {
    let begun = Instant::now();
    while stats()[name] < at_least {
        assert!(begun.elapsed() < PATIENCE, "{name} stays below {at_least}: {:?}", stats());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Frames of the first stream that a node did not get.
pub struct Skipped {
    pub image: BTreeSet<u64>,
    pub metadata: BTreeSet<u64>,
}

pub fn skipped() -> Skipped {
    let mut found = Skipped { image: BTreeSet::new(), metadata: BTreeSet::new() };
    for line in fs::read_to_string(format!("{TOLD}/skipped")).unwrap().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [stream, node, number, _] = words[..] else { panic!("{line}") };
        if stream == "1" {
            let node = if node == "image" { &mut found.image } else { &mut found.metadata };
            node.insert(number.parse().unwrap());
        }
    }
    assert_eq!(stats()["skips_not_listed"], 0);
    found
}

/// Waits until the driver says that it uploads the sensor's main firmware.
pub fn wait_for_upload() {
    let bus = if layout() == "unicam" { 10 } else { 4 };
    let file = format!("/sys/kernel/debug/imx500-fw:{bus}-001a/fw_progress");
    let begun = Instant::now();
    while !fs::read_to_string(&file).is_ok_and(|text| text.starts_with('1')) {
        assert!(begun.elapsed() < PATIENCE, "no upload begins");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Links that are enabled.
pub fn links() -> String {
    fs::read_to_string(format!("{TOLD}/links")).unwrap()
}

/// Lines of the network that the module serves in turn, frame after frame; none: it makes them itself.
pub fn put_in(lines: &[u8]) {
    fs::write(format!("{TOLD}/dnn"), lines).unwrap();
}

/// Takes the receiver from its driver.
pub fn unplug() {
    plug("unbind");
}

fn plug(word: &str) {
    let (driver, device) =
        if layout() == "unicam" { ("unicam", "fe801000.csi") } else { ("rp1-cfe", "1f00110000.csi") };
    fs::write(format!("/sys/bus/platform/drivers/{driver}/{word}"), device).unwrap();
}

pub fn layout() -> String {
    fs::read_to_string(format!("{PARAMETERS}/layout")).unwrap().trim().to_owned()
}
