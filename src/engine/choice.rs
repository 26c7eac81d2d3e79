//! Which source: from the words of a command line (`auto`, `v4l2:/dev/video0`, `virtual:seed=7`, a path, `-`) to an opened
//! [`Source`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::Error;
use crate::frame::PixelFormat;
use crate::imx500::Network;
use crate::playback::Playback;
use crate::recording::OpenError;
use crate::results::ResultKind;
use crate::source::faults::{FaultOptions, Faults};
use crate::source::redetector::{Redetecting, Redetector, has_raw_metadata};
use crate::source::virtual_scene::{SensorOptions, VirtualOptions, VirtualScene, VirtualSensor, built_in_network};
use crate::source::{CameraOptions, Source, SourceError, SourceInfo};

/// What a source string names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceChoice {
    /// The first camera that can be opened.
    Auto,
    /// An IMX500, by number.
    Imx500(u32),
    /// A V4L2 camera, by its node.
    V4l2(PathBuf),
    /// The simulated camera.
    Virtual(VirtualWords),
    /// A recording: `.kinora`, or modlib's `.json` or `.pkl`.
    File(PathBuf),
    /// modlib's lines on standard input.
    StandardInput,
}

/// What was said about a virtual source; the rest is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VirtualWords(Vec<(String, String)>);

/// What a command may say about any source. `None` leaves it to the source, which has defaults of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceOptions {
    /// Width and height in pixels; a camera takes the nearest that it has, a file ignores it.
    pub size: Option<(u32, u32)>,
    /// Frames a second as a ratio; a camera takes the nearest that it has, a file keeps its own times.
    pub frame_rate: Option<(u32, u32)>,
    /// Pixel format of a camera.
    pub format: Option<PixelFormat>,
    /// A file begins again when it ends.
    pub repeat: bool,
    /// For an IMX500, live, virtual or recorded with its raw metadata; other sources ignore it.
    pub camera: CameraOptions,
    /// Misbehaviour that is laid over the source, for tests.
    pub faults: Option<FaultOptions>,
}

const FORMS: &str = "give auto, imx500, v4l2:PATH, virtual[:seed=N,...], FILE.kinora, FILE.json, FILE.pkl, or -";

impl FromStr for SourceChoice {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) => (scheme, Some(rest)),
            None => (text, None),
        };
        match (scheme, rest) {
            ("", _) => Err(SourceError::Unavailable(format!("no source: {FORMS}"))),
            ("auto", None) => Ok(Self::Auto),
            ("-", None) => Ok(Self::StandardInput),
            ("imx500", number) => match number.unwrap_or("0").parse() {
                Ok(number) => Ok(Self::Imx500(number)),
                Err(_) => Err(SourceError::Unavailable(format!("{text}: give imx500 or imx500:N"))),
            },
            ("v4l2", Some(path)) if !path.is_empty() => Ok(Self::V4l2(path.into())),
            ("v4l2", _) => Err(SourceError::Unavailable(format!("{text}: give the camera's node, v4l2:/dev/video0"))),
            ("virtual", words) => words.unwrap_or("").parse().map(Self::Virtual),
            _ => Ok(Self::File(text.into())),
        }
    }
}

impl FromStr for VirtualWords {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let mut words = Vec::new();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            if word == SENSOR_WORD {
                words.push((word.to_string(), String::new()));
                continue;
            }
            let Some((key, value)) = word.split_once('=') else {
                return Err(SourceError::Unavailable(format!("virtual: `{word}` is not KEY=VALUE")));
            };
            words.push((key.to_string(), value.to_string()));
        }
        // Refused where it is said, not later when it is opened.
        let words = Self(words);
        words.options(&SourceOptions::default())?;
        words.sensor()?;
        Ok(words)
    }
}

impl VirtualWords {
    /// The words, over the command's options, over the defaults.
    fn options(&self, common: &SourceOptions) -> Result<VirtualOptions, SourceError> {
        let mut options = VirtualOptions::default();
        options.size = common.size.unwrap_or(options.size);
        options.frame_rate = common.frame_rate.unwrap_or(options.frame_rate);
        options.format = common.format.or(options.format);
        for (key, value) in self.0.iter().filter(|(key, _)| !is_sensor_key(key)) {
            set(&mut options, key, value).map_err(|form| {
                SourceError::Unavailable(format!("virtual: {key}={value} is not understood: give {form}"))
            })?;
        }
        Ok(options)
    }
}

impl VirtualWords {
    /// The sensor that is simulated, when one is; `None` is the scene as a plain camera sees it.
    fn sensor(&self) -> Result<Option<SensorOptions>, SourceError> {
        let mut options = SensorOptions::default();
        let wrong = |key: &str, value: &str, form: &str| {
            SourceError::Unavailable(format!("virtual: {key}={value} is not understood: give {form}"))
        };
        for (key, value) in &self.0 {
            match key.as_str() {
                "layout" => match value.as_str() {
                    "pi4" => options.layout.strided = true,
                    "pi5" => options.layout.strided = false,
                    _ => return Err(wrong(key, value, "pi4 or pi5")),
                },
                "width" => match value.as_str() {
                    "2028" => options.layout.width = 2028,
                    "4056" => options.layout.width = 4056,
                    _ => return Err(wrong(key, value, "2028 or 4056")),
                },
                "kind" | "format" if self.is_sensor() => {
                    let text = format!("virtual: {key}={value} is not for {SENSOR_WORD}: give --network or --picture");
                    return Err(SourceError::Unavailable(text));
                }
                _ => {}
            }
        }
        Ok(self.is_sensor().then_some(options))
    }

    /// True when a sensor is asked for, by words or by options that only one has.
    fn is_sensor_with(&self, common: &SourceOptions) -> bool {
        let camera = &common.camera;
        let asks =
            [camera.network.is_some(), camera.picture.is_some(), camera.raw_metadata.is_some(), camera.post.is_some()];
        self.is_sensor() || asks.contains(&true)
    }

    fn is_sensor(&self) -> bool {
        self.0.iter().any(|(key, _)| is_sensor_key(key))
    }

    /// Opens the scene, or the sensor that sees it.
    fn open(&self, common: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
        let (name, mut scene, camera) = (self.to_string(), self.options(common)?, &common.camera);
        if !self.is_sensor_with(common) {
            return Ok(Box::new(VirtualScene::new(&name, scene)?));
        }
        let mut sensor = self.sensor()?.unwrap_or_default();
        if let Some(chance) = common.faults.map(|faults| faults.corrupt).filter(|&chance| chance > 0) {
            sensor.damaged_every = 1_000_000 / chance;
        }
        let network = match &camera.network {
            Some(network) => {
                Network::open_named(network).map_err(|error| SourceError::Unavailable(error.to_string()))?
            }
            None => built_in_network(),
        };
        // As a camera: nobody said otherwise.
        let is_said = common.frame_rate.is_some() || self.0.iter().any(|(key, _)| key == "fps");
        if let Some(rate) = network.intrinsics().inference_rate.filter(|_| !is_said) {
            scene.frame_rate = rate;
        }
        Ok(Box::new(VirtualSensor::new(&name, scene, sensor, camera, camera.equip(network)?)?))
    }
}

/// What a recording with raw metadata makes its results with.
const RESULT_OPTIONS: [&str; 5] = ["--network", "--post", "--threshold", "--top", "--labels"];
/// What the virtual sensor has no optics for.
const OPTICAL_OPTIONS: [&str; 5] = ["--hflip", "--vflip", "--exposure", "--gain", "--awb"];

/// The word that makes the virtual camera an IMX500.
const SENSOR_WORD: &str = "imx500";

fn is_sensor_key(key: &str) -> bool {
    [SENSOR_WORD, "layout", "width"].contains(&key)
}

impl fmt::Display for VirtualWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virtual")?;
        for (index, (key, value)) in self.0.iter().enumerate() {
            write!(f, "{}{key}", if index == 0 { ':' } else { ',' })?;
            if key != SENSOR_WORD {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

/// Sets one option, or says which form it should have.
fn set(options: &mut VirtualOptions, key: &str, value: &str) -> Result<(), &'static str> {
    match key {
        "seed" => options.seed = value.parse().map_err(|_| "a number from 0 to 2^64 - 1")?,
        "size" => options.size = pair(value, 'x').ok_or("WIDTHxHEIGHT")?,
        "fps" => {
            let rate = pair(value, '/').or_else(|| value.parse().ok().map(|rate| (rate, 1)));
            options.frame_rate = rate.ok_or("frames a second, as N or N/D")?;
        }
        "format" => options.format = format(value).ok_or("bgr, rgb, yuyv, nv12, yuv420, grey or none")?,
        "kind" => {
            options.kind =
                kind(value).ok_or("detections, classifications, poses, segments, instances, anomaly, obb or none")?;
        }
        "objects" => options.objects = value.parse().map_err(|_| "a number of shapes")?,
        "every" => options.results_every = value.parse().map_err(|_| "a number of frames")?,
        "frames" => options.frames = Some(value.parse().map_err(|_| "a number of frames")?),
        "paced" => options.paced = value.parse().map_err(|_| "true or false")?,
        _ => return Err("seed, size, fps, format, kind, objects, every, frames, paced, imx500, layout or width"),
    }
    Ok(())
}

fn pair(text: &str, between: char) -> Option<(u32, u32)> {
    let (a, b) = text.split_once(between)?;
    Some((a.parse().ok()?, b.parse().ok()?))
}

fn format(text: &str) -> Option<Option<PixelFormat>> {
    Some(match text.to_ascii_lowercase().as_str() {
        "bgr" | "bgr888" => Some(PixelFormat::Bgr888),
        "rgb" | "rgb888" => Some(PixelFormat::Rgb888),
        "yuyv" => Some(PixelFormat::Yuyv),
        "nv12" => Some(PixelFormat::Nv12),
        "yuv420" => Some(PixelFormat::Yuv420),
        "grey" => Some(PixelFormat::Grey),
        "none" => None,
        _ => return None,
    })
}

fn kind(text: &str) -> Option<Option<ResultKind>> {
    Some(match text {
        "detections" => Some(ResultKind::Detections),
        "classifications" => Some(ResultKind::Classifications),
        "poses" => Some(ResultKind::Poses),
        "segments" => Some(ResultKind::Segments),
        "instances" => Some(ResultKind::InstanceSegments),
        "anomaly" => Some(ResultKind::Anomaly),
        "obb" => Some(ResultKind::OrientedBoxes),
        "none" => None,
        _ => return None,
    })
}

impl SourceChoice {
    /// The options for an IMX500 that were given, but change nothing in this source, which was opened as `info`; by their
    /// names on the command line. What is kept of raw metadata is not among them: see `info.sensor_bytes_max`.
    pub fn unheeded(&self, options: &SourceOptions, info: &SourceInfo) -> Vec<&'static str> {
        let given = options.camera.given();
        match self {
            Self::Imx500(_) => Vec::new(),
            Self::Auto if info.name.starts_with("imx500") => Vec::new(),
            Self::Virtual(words) if words.is_sensor_with(options) => {
                given.into_iter().filter(|name| OPTICAL_OPTIONS.contains(name)).collect()
            }
            Self::File(_) if info.sensor_bytes_max > 0 => {
                given.into_iter().filter(|name| !RESULT_OPTIONS.contains(name)).collect()
            }
            _ => given,
        }
    }

    /// Opens the source, without starting it.
    ///
    /// # Errors
    /// It is not there, cannot be used, or this build cannot use it; with the remedy.
    pub fn open(&self, options: &SourceOptions) -> crate::Result<Box<dyn Source>> {
        let source = self.open_plain(options)?;
        match options.faults {
            Some(faults) => Ok(Box::new(Faults::new(source, self.faults_around(faults, options)))),
            None => Ok(source),
        }
    }

    /// What is left to do around the source: a virtual sensor damages its metadata itself.
    fn faults_around(&self, faults: FaultOptions, options: &SourceOptions) -> FaultOptions {
        match self {
            Self::Virtual(words) if words.is_sensor_with(options) => FaultOptions { corrupt: 0, ..faults },
            _ => faults,
        }
    }

    fn open_plain(&self, options: &SourceOptions) -> crate::Result<Box<dyn Source>> {
        Ok(match self {
            Self::Auto => open_first_camera(options)?,
            Self::Imx500(number) => open_imx500(*number, options)?,
            Self::V4l2(path) => open_camera(path, options)?,
            Self::Virtual(words) => words.open(options)?,
            Self::File(path) if path.exists() => {
                let source = open_file(path)?.looped(options.repeat).into_source();
                if options.camera.asks_for_results() && has_raw_metadata(path) {
                    Box::new(Redetecting::new(source, Redetector::of_recording(path, &options.camera)?))
                } else {
                    Box::new(source)
                }
            }
            Self::File(path) => {
                let text = format!("{}: neither a source nor a file that is there: {FORMS}", path.display());
                return Err(SourceError::Unavailable(text).into());
            }
            Self::StandardInput => open_standard_input(options)?,
        })
    }
}

/// A file with nothing but damage is none.
fn open_file(path: &Path) -> crate::Result<Playback> {
    let playback = Playback::open(path).map_err(|error| match error {
        // The system's own answers name the file already.
        Error::Open(error) if !matches!(error, OpenError::Io { .. }) => {
            SourceError::Malformed(format!("{}: {error}", path.display())).into()
        }
        error => error,
    })?;
    match playback.notes().first() {
        Some(first) if playback.is_empty() => {
            Err(SourceError::Malformed(format!("{}: no frame in it; {first}", path.display())).into())
        }
        _ => Ok(playback),
    }
}

#[cfg(feature = "v4l2")]
fn camera_options(options: &SourceOptions) -> crate::source::v4l2::V4l2Options {
    crate::source::v4l2::V4l2Options {
        size: options.size,
        fps: options.frame_rate,
        format: options.format,
        ..crate::source::v4l2::V4l2Options::default()
    }
}

#[cfg(feature = "v4l2")]
fn open_camera(path: &Path, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    Ok(Box::new(crate::source::v4l2::V4l2Source::open(path, &camera_options(options))?))
}

#[cfg(not(feature = "v4l2"))]
fn open_camera(path: &Path, _: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    Err(lacks(&format!("v4l2:{}", path.display()), "v4l2"))
}

#[cfg(feature = "v4l2")]
fn open_imx500(number: u32, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    let options = crate::source::imx500::Imx500Options {
        size: options.size,
        frame_rate: options.frame_rate,
        camera: options.camera.clone(),
    };
    Ok(Box::new(crate::source::imx500::Imx500Source::open(number, &options)?))
}

#[cfg(not(feature = "v4l2"))]
fn open_imx500(number: u32, _: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    Err(lacks(&format!("imx500:{number}"), "v4l2"))
}

/// An IMX500 if there is one, also when it cannot be used now: whoever has one means it.
#[cfg(feature = "v4l2")]
fn open_first_camera(options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    let search = crate::source::imx500::search();
    if !search.found.is_empty() {
        return open_imx500(0, options);
    }
    let first = crate::source::v4l2::V4l2Source::open_first(&camera_options(options));
    match (first, search.problems.first()) {
        (Ok(camera), _) => Ok(Box::new(camera)),
        (Err(error), None) => Err(error),
        (Err(error), Some((path, why))) => Err(SourceError::Unavailable(format!("{error}. {}: {why}", path.display()))),
    }
}

#[cfg(not(feature = "v4l2"))]
fn open_first_camera(_: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    Err(lacks("auto: no camera", "v4l2"))
}

#[cfg(feature = "modlib")]
fn open_standard_input(options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    Ok(Box::new(crate::source::modlib::LinesSource::standard_input(options.frame_rate)?))
}

#[cfg(not(feature = "modlib"))]
fn open_standard_input(_: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    Err(lacks("-", "modlib"))
}

#[cfg(not(all(feature = "modlib", feature = "v4l2")))]
fn lacks(source: &str, feature: &str) -> SourceError {
    SourceError::Unavailable(format!("{source}: this build is without the feature `{feature}`; build it with it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> SourceChoice {
        text.parse().unwrap()
    }

    fn refused(text: &str) -> String {
        text.parse::<SourceChoice>().unwrap_err().to_string()
    }

    #[test]
    fn every_form_is_understood() {
        assert_eq!(parse("auto"), SourceChoice::Auto);
        assert_eq!(parse("-"), SourceChoice::StandardInput);
        assert_eq!(parse("imx500"), SourceChoice::Imx500(0));
        assert_eq!(parse("imx500:2"), SourceChoice::Imx500(2));
        assert_eq!(parse("v4l2:/dev/video3"), SourceChoice::V4l2("/dev/video3".into()));
        assert_eq!(parse("a/b.kinora"), SourceChoice::File("a/b.kinora".into()));
        assert_eq!(parse("C:odd name"), SourceChoice::File("C:odd name".into()));
    }

    #[test]
    fn words_of_a_virtual_source_win_over_the_commands_options() {
        let SourceChoice::Virtual(words) = parse("virtual:seed=9,size=320x240,fps=30000/1001,kind=poses,format=none")
        else {
            panic!("a virtual source");
        };
        let common = SourceOptions { size: Some((64, 64)), frame_rate: Some((5, 1)), ..SourceOptions::default() };
        let options = words.options(&common).unwrap();
        assert_eq!((options.seed, options.size, options.frame_rate), (9, (320, 240), (30_000, 1_001)));
        assert_eq!((options.kind, options.format), (Some(ResultKind::Poses), None));
        assert_eq!(VirtualWords::default().options(&common).unwrap().size, (64, 64));
        assert_eq!(words.to_string(), "virtual:seed=9,size=320x240,fps=30000/1001,kind=poses,format=none");
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_form_it_should_have() {
        assert!(refused("virtual:seed=x").contains("0 to 2^64 - 1"));
        assert!(refused("virtual:speed=3").contains("seed, size, fps"));
        assert!(refused("virtual:7").contains("KEY=VALUE"));
        assert!(refused("virtual:kind=dogs").contains("poses"));
        assert!(refused("v4l2:").contains("v4l2:/dev/video0"));
        assert!(refused("imx500:left").contains("imx500:N"));
        assert!(refused("").contains("auto"));
    }

    #[test]
    fn sources_that_this_build_has_not_say_what_to_use() {
        let error = parse("imx500:7").open(&SourceOptions::default()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("IMX500") || error.contains("feature"), "{error}");
        let error = parse("notes.txt").open(&SourceOptions::default()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("notes.txt") && error.contains("FILE.kinora"), "{error}");
    }

    #[test]
    fn a_virtual_source_opens_under_the_name_that_was_typed() {
        let source = parse("virtual:seed=3").open(&SourceOptions::default()).unwrap();
        assert_eq!(source.describe().name, "virtual:seed=3");
        assert!(parse("virtual:size=3x3").open(&SourceOptions::default()).is_err());
    }
}
