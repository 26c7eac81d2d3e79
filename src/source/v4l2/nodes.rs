//! The V4L2 nodes of this machine, and messages that say why one cannot be used and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use v4l::v4l_sys::{V4L2_CAP_IO_MC, V4L2_CAP_STREAMING, V4L2_CAP_VIDEO_CAPTURE, V4L2_CAP_VIDEO_CAPTURE_MPLANE};

use super::negotiate::{fourcc_text, pixel_format};
use crate::source::SourceError;
use crate::source::holders::holders;
use crate::source::obstacle::{Obstacle, not_permitted};
use crate::sys::v4l2::{Identity, Node};

/// A node under `/dev` and whether frames can be captured from it.
#[derive(Clone, Debug)]
pub struct DeviceEntry {
    /// `/dev/video0` and so on.
    pub path: PathBuf,
    /// The device's own name; empty when it could not be asked.
    pub card: String,
    /// Why it cannot be used; `None` when it can.
    pub unusable: Option<Obstacle>,
}

impl fmt::Display for DeviceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if !self.card.is_empty() {
            write!(f, " ({})", self.card)?;
        }
        self.unusable.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

/// All V4L2 video nodes in the order of their numbers, usable or not.
pub fn devices() -> Vec<DeviceEntry> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut numbered: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix("video")?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    numbered.sort();
    numbered.into_iter().map(|(_, path)| inspect(path)).collect()
}

fn inspect(path: PathBuf) -> DeviceEntry {
    let asked = Node::open(&path).and_then(|node| Ok((node.identity()?, node)));
    match asked {
        Ok((identity, node)) => {
            let no_camera = no_capture(&identity).or_else(|| no_pipeline(&identity)).or_else(|| no_format(&node));
            DeviceEntry { path, card: identity.card, unusable: no_camera.map(Obstacle::lasting) }
        }
        Err(error) => {
            let unusable = Some(reason(&path, &error).unwrap_or_else(|| unknown(&error)));
            DeviceEntry { path, card: String::new(), unusable }
        }
    }
}

/// What keeps a node of this kind from delivering frames to us.
pub(super) fn no_capture(identity: &Identity) -> Option<String> {
    let has = |capability| identity.capabilities & capability != 0;
    if has(V4L2_CAP_VIDEO_CAPTURE) {
        return (!has(V4L2_CAP_STREAMING)).then(|| "its driver has no streaming, only read()".into());
    }
    Some(if has(V4L2_CAP_VIDEO_CAPTURE_MPLANE) {
        "it captures in the multi-planar format, which is not supported; an image processor's output is used through \
         libcamera"
            .into()
    } else {
        "it does not capture pictures (an output, metadata or codec node)".into()
    })
}

/// Such a node lists formats that it delivers only once somebody has linked sensor, receiver and node: it may be named
/// (`v4l2:PATH`), but is not found by itself.
fn no_pipeline(identity: &Identity) -> Option<String> {
    (identity.capabilities & V4L2_CAP_IO_MC != 0).then(|| NO_PIPELINE.into())
}

const NO_PIPELINE: &str = "it is the end of a media pipeline that has to be set up first: `--source imx500` does that for \
     an IMX500, media-ctl for other cameras";

fn no_format(node: &Node) -> Option<String> {
    let formats = node.pixel_formats();
    if formats.iter().any(|&fourcc| pixel_format(fourcc).is_some()) {
        return None;
    }
    let names: Vec<_> = formats.iter().map(|&fourcc| fourcc_text(fourcc)).collect();
    Some(format!("it offers only formats that cannot be used here ({})", names.join(", ")))
}

/// The error of a call on `path`, with what to do about it.
pub(in crate::source) fn refused(doing: &str, path: &Path, error: io::Error) -> SourceError {
    match reason(path, &error) {
        Some(reason) => SourceError::Unavailable(format!("{}: {reason}", path.display())),
        None => SourceError::Io { doing: format!("{doing} {}", path.display()), error },
    }
}

/// An error that nobody foresaw; what helps most often.
fn unknown(error: &io::Error) -> Obstacle {
    Obstacle::mendable(error.to_string(), "unplug the camera, plug it in again, and see what `dmesg` tells")
}

/// What an error number means for a camera, and the remedy.
fn reason(path: &Path, error: &io::Error) -> Option<Obstacle> {
    Some(match error.raw_os_error()? {
        libc::ENOENT => Obstacle::mendable("there is no such device", plugged_in(path)),
        libc::EACCES | libc::EPERM => not_permitted(path),
        libc::EBUSY => Obstacle::mendable(
            format!("the camera is in use{}", held_by(path)),
            "only one program can record from it: end the other",
        ),
        libc::ENODEV | libc::ENXIO => {
            Obstacle::mendable("there is no device behind this node", "plug the camera in again")
        }
        libc::EPIPE | libc::ENOLINK => Obstacle::lasting(NO_PIPELINE),
        libc::ENOTTY => Obstacle::lasting("this is not a V4L2 device; cameras are /dev/video0 and up"),
        _ => return None,
    })
}

/// The other nodes that there are; without opening `missing` again.
fn plugged_in(missing: &Path) -> String {
    let usable: Vec<_> = devices()
        .into_iter()
        .filter(|entry| entry.unusable.is_none() && entry.path != missing)
        .map(|entry| entry.to_string())
        .collect();
    if usable.is_empty() {
        "no camera is plugged in (without one, `--source virtual` records a moving scene)".into()
    } else {
        format!("cameras here: {}", usable.join(", "))
    }
}

/// The programs that have `path` open: " by ffmpeg (process 12)".
fn held_by(path: &Path) -> String {
    let names = holders(&[path]).into_iter().map(|holder| format!("{} (process {})", holder.name, holder.process));
    let names: Vec<_> = names.collect();
    match names.is_empty() {
        false => format!(" by {}", names.join(", ")),
        true if rustix::process::geteuid().is_root() => String::new(),
        // Their files show only to root.
        true => " by another user's program (`sudo kinora devices` names it)".into(),
    }
}

/// The text of an error of [`refused`], without the path that it begins with.
pub(super) fn without_path(path: &Path, error: &SourceError) -> Obstacle {
    let text = error.to_string();
    let bare = text.strip_prefix(&format!("{}: ", path.display())).map(ToOwned::to_owned);
    Obstacle::lasting(bare.unwrap_or(text))
}

/// Nothing to choose from, with all that was looked at.
pub(super) fn none_usable(looked_at: &[DeviceEntry]) -> SourceError {
    let mut text = String::from("no camera found: ");
    if looked_at.is_empty() {
        text.push_str("there is no /dev/video*");
    }
    let seen: Vec<_> = looked_at.iter().map(ToString::to_string).collect();
    text.push_str(&seen.join("; "));
    text.push_str(". Plug one in, or record the built-in scene with `--source virtual`");
    SourceError::Unavailable(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(capabilities: u32) -> Identity {
        Identity { card: "c".into(), capabilities }
    }

    #[test]
    fn only_single_planar_streaming_capture_nodes_are_usable() {
        assert_eq!(no_capture(&identity(V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING)), None);
        assert!(no_capture(&identity(V4L2_CAP_VIDEO_CAPTURE)).unwrap().contains("streaming"));
        assert!(no_capture(&identity(V4L2_CAP_VIDEO_CAPTURE_MPLANE)).unwrap().contains("multi-planar"));
        assert!(no_capture(&identity(V4L2_CAP_STREAMING)).unwrap().contains("does not capture"));
        assert!(no_pipeline(&identity(V4L2_CAP_IO_MC | V4L2_CAP_VIDEO_CAPTURE)).unwrap().contains("media-ctl"));
        assert_eq!(no_pipeline(&identity(V4L2_CAP_VIDEO_CAPTURE)), None);
    }

    #[test]
    fn every_refusal_names_the_device_and_a_remedy() {
        let told = |code| refused("open", Path::new("/dev/video7"), io::Error::from_raw_os_error(code)).to_string();
        assert!(
            told(libc::EACCES).contains("/dev/video7: permission denied") && told(libc::EACCES).contains("usermod")
        );
        assert!(told(libc::EBUSY).contains("in use"));
        assert!(told(libc::ENOENT).contains("no such device"));
        assert!(told(libc::ENODEV).contains("plug the camera in again"));
        assert!(told(libc::EPIPE).contains("media-ctl"));
        assert!(told(libc::ENOTTY).contains("not a V4L2 device"));
        assert!(told(libc::ENOMEM).starts_with("open /dev/video7: "));
    }

    #[test]
    fn without_any_camera_the_message_lists_what_was_looked_at() {
        let entry = DeviceEntry {
            path: "/dev/video3".into(),
            card: "Codec".into(),
            unusable: Some(Obstacle::lasting("a codec")),
        };
        let told = none_usable(&[entry]).to_string();
        assert!(told.contains("/dev/video3 (Codec): a codec") && told.contains("virtual"), "{told}");
        assert!(none_usable(&[]).to_string().contains("there is no /dev/video*"));
    }
}
