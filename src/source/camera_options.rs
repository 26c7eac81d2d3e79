//! What may be asked of an IMX500, live or simulated. `None` leaves it to the camera and the network's package.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::SourceError;
use crate::imx500::Network;
use crate::imx500::decode::{PostSettings, UnknownPost};
use crate::labels::{Labels, LabelsFull};
use crate::limits::LABEL_TEXT_BYTES_MAX;
use crate::time::Span;

/// Wishes about the sensor, its network, and what is kept of both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CameraOptions {
    /// The network: a package's path, or its name or the beginning of it.
    pub network: Option<String>,
    /// What the frames' pictures are.
    pub picture: Option<PictureSource>,
    /// Post-processing by modlib's name, over what the package says.
    pub post: Option<String>,
    /// Results below this score are left out, `0.0..=1.0`.
    pub threshold: Option<f32>,
    /// Most results of a frame, at least 1: classes, boxes or persons.
    pub top: Option<usize>,
    /// The part of the sensor that the network sees: left, top, width, height in pixels of the full resolution.
    pub inference_window: Option<[u32; 4]>,
    /// The picture is mirrored left to right.
    pub hflip: bool,
    /// The picture is turned upside down.
    pub vflip: bool,
    /// Exposure time; `None` is by the picture's mean.
    pub exposure: Option<Span>,
    /// Analogue gain, `1.0..=22.26`; `None` is by the picture's mean.
    pub gain: Option<f32>,
    /// White balance; `None` is by the picture's means (grey world).
    pub white_balance: Option<WhiteBalance>,
    /// A file with a class name on each line, over the package's.
    pub labels: Option<PathBuf>,
    /// What is kept of the sensor's own bytes in each frame; `None` is nothing.
    pub raw_metadata: Option<RawMetadata>,
}

impl CameraOptions {
    /// True when they say something about how results are made.
    pub fn asks_for_results(&self) -> bool {
        let said = self.network.is_some() || self.post.is_some() || self.labels.is_some();
        said || self.threshold.is_some() || self.top.is_some()
    }

    /// What is given of them, by its name on the command line, without what is kept of raw metadata.
    pub fn given(&self) -> Vec<&'static str> {
        let all = [
            ("--network", self.network.is_some()),
            ("--picture", self.picture.is_some()),
            ("--post", self.post.is_some()),
            ("--threshold", self.threshold.is_some()),
            ("--top", self.top.is_some()),
            ("--inference-window", self.inference_window.is_some()),
            ("--hflip", self.hflip),
            ("--vflip", self.vflip),
            ("--exposure", self.exposure.is_some()),
            ("--gain", self.gain.is_some()),
            ("--awb", self.white_balance.is_some()),
            ("--labels", self.labels.is_some()),
        ];
        all.into_iter().filter_map(|(name, is_given)| is_given.then_some(name)).collect()
    }

    /// Gives a network the post-processing, its settings and labels of these options, over those of its package.
    ///
    /// # Errors
    /// No post-processing of that name, or it takes other tensors; labels that cannot be read.
    pub fn equip(&self, network: Network) -> Result<Network, SourceError> {
        let wrong = |text: String| SourceError::Unavailable(text);
        let settings = PostSettings { threshold: self.threshold, top: self.top };
        let mut network = network.settings(settings);
        if let Some(name) = &self.post {
            let post = name.parse().map_err(|error: UnknownPost| wrong(format!("--post {name}: {error}")))?;
            network = network.post(post).map_err(|error| wrong(format!("--post {name}: {error}")))?;
        }
        if let Some(path) = &self.labels {
            network = network.with_labels(labels_in(path)?);
        }
        Ok(network)
    }
}

/// Most bytes of a file of labels, room for blanks included. A device has no size, and may never end.
const LABEL_FILE_BYTES_MAX: usize = 2 * LABEL_TEXT_BYTES_MAX;

/// Class names, one on each line.
fn labels_in(path: &Path) -> Result<Labels, SourceError> {
    let full = |_| SourceError::Unavailable(format!("{}: {LabelsFull}", path.display()));
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LABEL_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut text));
    read.map_err(SourceError::io(format!("read the labels in {}", path.display())))?;
    if text.len() > LABEL_FILE_BYTES_MAX {
        return Err(full(LabelsFull));
    }
    let text = String::from_utf8(text);
    let text = text.map_err(|_| SourceError::Unavailable(format!("{}: these labels are not UTF-8", path.display())))?;
    let mut labels = Labels::new();
    for line in text.lines() {
        labels.push(line.trim()).map_err(full)?;
    }
    Ok(labels)
}

/// Where a frame's picture comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureSource {
    /// The sensor's Bayer picture, developed.
    Bayer,
    /// What the network saw, out of the metadata.
    InputTensor,
    /// No picture: results only.
    None,
}

/// Fixed gains of white balance; green is 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WhiteBalance {
    /// Gain of red.
    pub red: f32,
    /// Gain of blue.
    pub blue: f32,
}

/// How much of a metadata buffer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawMetadata {
    /// Registers, run times, headers and output tensors: all that results are made of.
    Results,
    /// The whole buffer.
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_lines_of_a_file_and_bad_ones_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.txt");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            labels_in(&path).map_err(|error| error.to_string())
        };
        assert!(read(b"cat \r\n\ndog").unwrap().iter().eq(["cat", "", "dog"]));
        assert!(read(b"").unwrap().is_empty());
        assert!(read(b"caf\xe9").unwrap_err().contains("not UTF-8"));
        let many = "x\n".repeat(crate::limits::LABELS_MAX + 1);
        assert!(read(many.as_bytes()).unwrap_err().contains("more than 1024 labels"));
        assert!(read(&vec![b' '; LABEL_FILE_BYTES_MAX + 1]).unwrap_err().contains("more than 1024 labels"));
        let endless = labels_in(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(endless.contains("/dev/zero: more than "), "{endless}");
    }
}
