//! The IMX500s of this machine, found by the media graph and the names in it; and when there is none, what is missing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::media::{Graph, NoPipeline, Pipeline};
use crate::source::obstacle::{Obstacle, not_permitted};
use crate::sys::media::MediaDevice;

/// Firmware that the sensor's driver uploads before a network.
const FIRMWARE: [&str; 2] = ["imx500_loader.fpk", "imx500_firmware.fpk"];

/// A camera, and the nodes to use it by. Good until the next boot.
#[derive(Clone, Debug)]
pub struct Found {
    /// `/dev/mediaN`.
    pub media: PathBuf,
    /// Who is who.
    pub pipeline: Pipeline,
    /// The sensor's `/dev/v4l-subdevN`.
    pub sensor: PathBuf,
    /// The receiver's `/dev/v4l-subdevN`, where it has one.
    pub bridge: Option<PathBuf>,
    /// `/dev/videoN` of pictures.
    pub image: PathBuf,
    /// `/dev/videoN` of metadata.
    pub metadata: PathBuf,
}

impl Found {
    /// All its nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Path> {
        let bridge = self.bridge.iter();
        [&self.media, &self.sensor].into_iter().chain(bridge).chain([&self.image, &self.metadata]).map(PathBuf::as_path)
    }
}

/// What a search brought.
#[derive(Debug, Default)]
pub struct Search {
    /// Cameras, in the order of the names of their sensors.
    pub found: Vec<Found>,
    /// Media devices that could not be asked, or have an IMX500 that cannot be used; and why.
    pub problems: Vec<(PathBuf, Obstacle)>,
}

/// Looks at every media device.
pub fn search() -> Search {
    let mut search = Search::default();
    for path in numbered("/dev", "media") {
        match inspect(&path) {
            Ok(Some(found)) => search.found.push(found),
            Ok(None) => {}
            Err(why) => search.problems.push((path, why)),
        }
    }
    search.found.sort_by(|a, b| a.pipeline.sensor_name.cmp(&b.pipeline.sensor_name));
    search
}

/// The graph of an open media device.
pub fn graph_of(media: &MediaDevice) -> io::Result<Graph> {
    Graph::parse(&media.topology()?).map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad))
}

fn inspect(path: &Path) -> Result<Option<Found>, Obstacle> {
    let told = |error: io::Error| match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => not_permitted(path),
        _ => Obstacle::mendable(error.to_string(), "see what `dmesg` tells, then reboot"),
    };
    let media = MediaDevice::open(path).map_err(told)?;
    let driver = media.identity().map_err(told)?.driver;
    let graph = graph_of(&media).map_err(told)?;
    let pipeline = match Pipeline::find(&graph, &driver) {
        Ok(pipeline) => pipeline,
        Err(NoPipeline::NoSensor) => return Ok(None),
        Err(why) => return Err(broken(why)),
    };
    let node = |entity: u32| {
        let name = || graph.entity(entity).map_or_else(|| entity.to_string(), |entity| entity.name.clone());
        let device = graph.device(entity).ok_or_else(|| broken(format!("{} has no node", name())))?;
        device_node(device.major, device.minor)
            .ok_or_else(|| broken(format!("no node under /dev for {} ({}:{})", name(), device.major, device.minor)))
    };
    Ok(Some(Found {
        media: path.into(),
        sensor: node(pipeline.sensor)?,
        bridge: pipeline.bridge.map(node).transpose()?,
        image: node(pipeline.image)?,
        metadata: node(pipeline.metadata)?,
        pipeline,
    }))
}

/// A sensor whose graph is not whole: its drivers did not all come up.
fn broken(what: impl std::fmt::Display) -> Obstacle {
    Obstacle::mendable(
        what.to_string(),
        "`dmesg | grep imx500` tells what its drivers met; check the ribbon cable, then reboot",
    )
}

/// Nodes called `prefix` and a number, in the order of the numbers.
fn numbered(folder: &str, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut nodes: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    nodes.sort();
    nodes.into_iter().map(|(_, path)| path).collect()
}

/// The node under `/dev` of a device's number.
fn device_node(major: u32, minor: u32) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/sys/dev/char/{major}:{minor}/uevent")).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(Path::new("/dev").join(name.trim_start_matches("/dev/")))
}

/// Firmware files that the kernel would not find.
pub fn missing_firmware() -> Vec<&'static str> {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy().into_owned();
    let own = fs::read_to_string("/sys/module/firmware_class/parameters/path").unwrap_or_default();
    let own = Some(own.trim().to_owned()).filter(|path| !path.is_empty());
    let usual = [
        format!("/lib/firmware/updates/{release}"),
        "/lib/firmware/updates".into(),
        format!("/lib/firmware/{release}"),
        "/lib/firmware".into(),
    ];
    let folders: Vec<String> = own.into_iter().chain(usual).collect();
    missing_in(&folders)
}

fn missing_in(folders: &[String]) -> Vec<&'static str> {
    let is_there = |name: &str| {
        let forms = ["", ".xz", ".zst"];
        folders.iter().any(|folder| forms.iter().any(|form| Path::new(folder).join(format!("{name}{form}")).exists()))
    };
    FIRMWARE.into_iter().filter(|name| !is_there(name)).collect()
}

/// What this machine has that a camera needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `Raspberry Pi 5 Model B Rev 1.0`; `None` where no device tree tells.
    pub model: Option<String>,
    /// `config.txt` of the boot partition, if it can be read.
    pub config: Option<(PathBuf, String)>,
    /// Firmware files that are missing.
    pub firmware: Vec<&'static str>,
    /// The sensor's driver is loaded.
    pub is_driver_loaded: bool,
}

impl Facts {
    /// Of this machine.
    pub fn of_this_machine() -> Self {
        let model = fs::read_to_string("/proc/device-tree/model").ok();
        let configs = ["/boot/firmware/config.txt", "/boot/config.txt"];
        Self {
            model: model.map(|model| model.trim_end_matches('\0').to_owned()),
            config: configs.into_iter().find_map(|path| Some((path.into(), fs::read_to_string(path).ok()?))),
            firmware: missing_firmware(),
            is_driver_loaded: Path::new("/sys/module/imx500").exists(),
        }
    }

    /// What is missing for an IMX500, the most likely first.
    pub fn advice(&self) -> Vec<Obstacle> {
        let pi = self.model.as_deref().is_some_and(|model| model.contains("Raspberry Pi"));
        if !pi && !self.is_driver_loaded {
            let what = self.model.as_deref().unwrap_or("no Raspberry Pi");
            return vec![Obstacle::lasting(format!("an IMX500 needs a Raspberry Pi; this machine is {what}"))];
        }
        let mut advice = Vec::new();
        if let Some((path, text)) = &self.config {
            if !loads_overlay(text) {
                advice.push(Obstacle::mendable(
                    format!("{} loads no overlay for it", path.display()),
                    "add the line `dtoverlay=imx500`, then reboot",
                ));
            }
        }
        advice.extend(self.no_firmware("its firmware"));
        if advice.is_empty() {
            advice.push(Obstacle::mendable(
                "the sensor did not answer when the machine started",
                "check that the ribbon cable sits straight at both ends and reads the right way round, then reboot \
                 (`dmesg | grep imx500` tells more)",
            ));
        }
        advice
    }

    /// That `what` is missing, if it is.
    pub fn no_firmware(&self, what: &str) -> Option<Obstacle> {
        let names = self.firmware.join(", ");
        let remedy = "run `sudo apt install imx500-all`, then reboot";
        (!self.firmware.is_empty()).then(|| Obstacle::mendable(format!("{what} is missing ({names})"), remedy))
    }
}

/// True when `config.txt` names the overlay, or lets the firmware find cameras by itself (which is the default).
fn loads_overlay(config: &str) -> bool {
    let lines = || config.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let named = lines().any(|line| {
        let overlay = line.strip_prefix("dtoverlay=").map(|rest| rest.split([',', ' ']).next().unwrap_or(""));
        overlay.is_some_and(|name| name == "imx500" || name == "imx500-pi5")
    });
    let detect = lines().rev().find_map(|line| line.strip_prefix("camera_auto_detect="));
    named || detect == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pi(config: &str) -> Facts {
        Facts {
            model: Some("Raspberry Pi 5 Model B Rev 1.0".into()),
            config: Some(("/boot/firmware/config.txt".into(), config.into())),
            ..Facts::default()
        }
    }

    #[test]
    fn what_is_missing_is_told_with_its_remedy() {
        let advice = |facts: Facts| facts.advice().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        assert!(advice(Facts::default()).contains("needs a Raspberry Pi"));
        let told = advice(pi("camera_auto_detect=0\n#dtoverlay=imx500\ndtoverlay=imx708"));
        assert!(told.contains("dtoverlay=imx500") && told.contains("reboot"), "{told}");
        let told = advice(Facts { firmware: FIRMWARE.to_vec(), ..pi("camera_auto_detect=1") });
        assert!(told.contains("imx500_loader.fpk") && told.contains("sudo apt install imx500-all"), "{told}");
        assert!(!told.contains("dtoverlay"), "{told}");
        assert!(advice(pi("dtoverlay=imx500,cam0")).contains("ribbon cable"));
        assert!(advice(Facts { model: None, ..pi("dtoverlay=imx500") }).contains("needs a Raspberry Pi"));
    }

    #[test]
    fn firmware_may_be_compressed_and_in_any_of_the_kernels_folders() {
        let folder = tempfile::tempdir().unwrap();
        let folders = ["nowhere".to_owned(), folder.path().display().to_string()];
        assert_eq!(missing_in(&folders), FIRMWARE);
        std::fs::write(folder.path().join("imx500_loader.fpk.xz"), "x").unwrap();
        assert_eq!(missing_in(&folders), ["imx500_firmware.fpk"]);
        std::fs::write(folder.path().join("imx500_firmware.fpk"), "x").unwrap();
        assert!(missing_in(&folders).is_empty());
    }

    #[test]
    fn nodes_are_ordered_by_number() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["media10", "media2", "mediate", "video0"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names: Vec<_> = numbered(folder.path().to_str().unwrap(), "media")
            .into_iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["media2", "media10"]);
    }
}
