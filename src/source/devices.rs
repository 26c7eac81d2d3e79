//! The cameras of this machine for people: what each can do, who has it, and what is missing.

use std::path::{Path, PathBuf};

use super::Obstacle;
use super::holders::{Holder, holders};
use super::imx500::{self, BINNED, FULL, Facts, Found};
use super::v4l2;
use crate::imx500::picture::SIZES;
pub use crate::sys::media::Control;
use crate::sys::media::Subdevice;

/// A camera that can be recorded from, now or when whoever has it lets go.
#[derive(Clone, Debug)]
pub struct Camera {
    /// What `--source` takes: `imx500:0`, `v4l2:/dev/video0`.
    pub source: String,
    /// The device's own name.
    pub name: String,
    /// The receiver's driver, of an IMX500.
    pub receiver: Option<&'static str>,
    /// Its nodes by what they are for.
    pub nodes: Vec<(&'static str, PathBuf)>,
    /// What it delivers.
    pub modes: Vec<Mode>,
    /// What can be set; of an IMX500 those of the sensor.
    pub controls: Vec<Control>,
    /// The other programs that have one of its nodes open.
    pub holders: Vec<Holder>,
}

/// Pictures that a camera delivers.
#[derive(Clone, Debug, PartialEq)]
pub struct Mode {
    /// V4L2's name of the format.
    pub format: String,
    /// False for formats that this program does not take.
    pub is_taken: bool,
    /// Width and height in pixels; the smallest and the largest where the camera takes all between them.
    pub sizes: Vec<(u32, u32)>,
    /// The fastest rate as a ratio, where it is known.
    pub rate_max: Option<(u32, u32)>,
}

/// A node that cannot be recorded from.
#[derive(Clone, Debug)]
pub struct Unusable {
    /// The node.
    pub path: PathBuf,
    /// The device's own name; empty when it could not be asked.
    pub name: String,
    /// Why. Without a remedy it is no camera, or none that can be used here.
    pub why: Obstacle,
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// In the order in which `--source auto` takes them.
    pub cameras: Vec<Camera>,
    /// Everything else that looks like a camera.
    pub unusable: Vec<Unusable>,
    /// What an IMX500 lacks; empty when there is one, or when nothing points to one.
    pub missing: Vec<Obstacle>,
}

/// Looks at every media device and video node. Nothing is set, nothing is started.
pub fn survey() -> Survey {
    let search = imx500::search();
    let mut survey = Survey::default();
    let facts = Facts::of_this_machine();
    for (number, found) in search.found.iter().enumerate() {
        survey.cameras.push(of_imx500(number, found));
    }
    // Behind a graph that could not be read there may be one.
    let is_hidden = !search.problems.is_empty();
    for (path, why) in search.problems {
        survey.unusable.push(Unusable { path, name: String::new(), why });
    }
    for entry in v4l2::devices() {
        if search.found.iter().any(|found| found.nodes().any(|node| node == entry.path)) {
            continue;
        }
        match entry.unusable {
            None => survey.cameras.push(of_v4l2(&entry.path, entry.card)),
            Some(why) => survey.unusable.push(Unusable { path: entry.path, name: entry.card, why }),
        }
    }
    survey.missing = match (search.found.is_empty(), is_hidden) {
        (true, true) => Vec::new(),
        (has_none, _) => missing(has_none, &facts),
    };
    survey
}

/// An IMX500 without firmware delivers pictures, but runs no network.
fn missing(has_none: bool, facts: &Facts) -> Vec<Obstacle> {
    let is_pi = facts.model.as_deref().is_some_and(|model| model.contains("Raspberry"));
    match has_none {
        true if facts.is_driver_loaded || is_pi => facts.advice(),
        true => Vec::new(),
        false => facts.no_firmware("the IMX500's firmware for networks").into_iter().collect(),
    }
}

fn of_imx500(number: usize, found: &Found) -> Camera {
    let nodes = [("graph", &found.media), ("sensor", &found.sensor)].into_iter();
    let nodes = nodes.chain(found.bridge.as_ref().map(|bridge| ("receiver", bridge)));
    let nodes = nodes.chain([("pictures", &found.image), ("metadata", &found.metadata)]);
    let paths: Vec<_> = found.nodes().collect();
    let mode = |format: &str, is_taken, sizes: Vec<_>, rate| Mode {
        format: format.to_owned(),
        is_taken,
        sizes,
        rate_max: Some(rate),
    };
    Camera {
        source: format!("imx500:{number}"),
        name: found.pipeline.sensor_name.clone(),
        receiver: Some(found.pipeline.receiver.driver()),
        nodes: nodes.map(|(role, path)| (role, path.clone())).collect(),
        modes: vec![
            mode("RGB888", true, SIZES.to_vec(), BINNED.rate_max()),
            mode("RAW10", false, vec![(BINNED.width, BINNED.height)], BINNED.rate_max()),
            mode("RAW10", false, vec![(FULL.width, FULL.height)], FULL.rate_max()),
        ],
        controls: Subdevice::open(&found.sensor).map(|sensor| sensor.controls()).unwrap_or_default(),
        holders: holders(&paths),
    }
}

fn of_v4l2(path: &Path, name: String) -> Camera {
    let (modes, controls) = v4l2::abilities(path);
    Camera {
        source: format!("v4l2:{}", path.display()),
        name,
        receiver: None,
        nodes: vec![("pictures", path.to_owned())],
        modes,
        controls,
        holders: holders(&[path]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_only_where_a_camera_is_to_be_expected() {
        let none = Facts { firmware: vec!["imx500_loader.fpk"], ..Facts::default() };
        assert!(missing(true, &none).is_empty());
        let pi = Facts { model: Some("Raspberry Pi 4 Model B".into()), ..none };
        let told = |has_none| missing(has_none, &pi).iter().map(ToString::to_string).collect::<String>();
        assert!(told(true).contains("sudo apt install imx500-all"));
        let told = told(false);
        assert!(told.contains("firmware for networks is missing") && told.contains("reboot"), "{told}");
        assert!(missing(false, &Facts { firmware: Vec::new(), ..pi }).is_empty());
    }

    #[test]
    fn a_machine_without_cameras_is_surveyed_without_an_error() {
        for camera in survey().cameras {
            assert!(camera.source.parse::<crate::SourceChoice>().is_ok(), "{camera:?}");
        }
    }
}
