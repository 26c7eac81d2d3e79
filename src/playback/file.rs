//! Files of any kind that can be played: what one is, its first bytes tell.

use std::fs::File;
use std::path::Path;

use crate::error::{Error, Result};
use crate::event::Event;
use crate::frame::{PictureInfo, PixelFormat};
use crate::playback::open::BoxedTimeline;
use crate::recording::format::FRONT_MAGIC;
use crate::recording::{ReadError, Reader, record_bytes};
use crate::source::SourceInfo;
use crate::time::ClockPair;
use crate::timeline::Timeline;

/// An open file, whatever its kind.
pub struct Opened {
    /// Its frames.
    pub timeline: BoxedTimeline,
    /// What it says about itself; plane sizes are those of a sample of its frames.
    pub info: SourceInfo,
    /// Its bookmarks and other events.
    pub events: Vec<Event>,
    /// What is wrong with it and was passed over, in words.
    pub notes: Vec<String>,
}

/// Opens `.kinora`, and with feature `modlib` modlib's `.json` and `.pkl`.
pub fn open(path: &Path) -> Result<Opened> {
    let name = path.display();
    let kind = std::fs::metadata(path).map_err(Error::io(format!("opening {name}")))?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        // A pipe would wait, and a device may have no end.
        let remedy = "frames are read in any order, which takes a file; modlib's lines from a pipe: `--source -`";
        return Err(Error::Setting(format!("{name} is a pipe or a device: {remedy}")));
    }
    let mut start = [0; 8];
    let read = read_start(path, &mut start).map_err(Error::io(format!("opening {name}")))?;
    let is_ours = start == FRONT_MAGIC;
    match path.extension().and_then(|extension| extension.to_str()) {
        // A damaged front does not make a recording anything else.
        _ if is_ours => open_recording(path),
        Some("kinora") => open_recording(path),
        _ => open_modlib(path, &start[..read]),
    }
}

fn read_start(path: &Path, start: &mut [u8; 8]) -> std::io::Result<usize> {
    use std::io::Read;
    let mut read = 0;
    let mut file = File::open(path)?.take(start.len() as u64);
    while read < start.len() {
        match file.read(&mut start[read..])? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

#[cfg(feature = "modlib")]
fn open_modlib(path: &Path, start: &[u8]) -> Result<Opened> {
    let file = File::open(path).map_err(Error::io(format!("opening {}", path.display())))?;
    let format = crate::modlib::Format::of(start);
    super::modlib_file::open(path, file, format, jiff::tz::TimeZone::system())
}

#[cfg(not(feature = "modlib"))]
fn open_modlib(path: &Path, _start: &[u8]) -> Result<Opened> {
    let name = path.display();
    Err(Error::Setting(format!("{name} is not a .kinora recording; this build reads no others (feature `modlib`)")))
}

fn open_recording(path: &Path) -> Result<Opened> {
    let mut reader = Reader::open(path)?;
    let mut notes = Vec::new();
    let events = match reader.events() {
        Ok(events) => events.into_iter().map(|(_, event)| event).collect(),
        Err(error) => {
            notes.push(format!("bookmarks cannot be read: {error}"));
            Vec::new()
        }
    };
    let missing = reader.info().missing;
    if missing > 0 {
        notes.push(format!("{missing} frames are lost to damage; `kinora verify` tells where"));
    }
    let info = info_of(&mut reader, path);
    Ok(Opened { timeline: Box::new(reader), info, events, notes })
}

/// What a recording says about itself, and sizes from frames spread over it.
fn info_of(reader: &mut Reader, path: &Path) -> SourceInfo {
    let header = reader.header();
    let mut info = SourceInfo::new(&path.display().to_string());
    info.live = false;
    info.frame_rate = header.frame_rate;
    info.network = header.network.clone();
    info.post = header.post.clone();
    info.labels = header.labels.clone();
    info.time_zone = header.time_zone.clone();
    info.frames = Some(reader.len());
    let newest = reader.totals().clock;
    info.recorded_clock = Some(if newest == ClockPair::default() { reader.header().clock } else { newest });
    for index in sample(reader.len()) {
        match reader.read_frame(index) {
            Ok(frame) => {
                let jpeg = frame.jpeg.map(|jpeg| PictureInfo::packed(PixelFormat::Jpeg, jpeg.width, jpeg.height));
                let picture = frame.pixels.map(|pixels| pixels.info).or(jpeg);
                info.picture = larger(info.picture, picture);
                info.jpeg_bytes_max = info.jpeg_bytes_max.max(frame.jpeg.map_or(0, |jpeg| jpeg.bytes.len()));
                info.side_bytes_max = info.side_bytes_max.max(frame.side.len());
                info.sensor_bytes_max = info.sensor_bytes_max.max(frame.sensor.len());
            }
            // It will be told when it is played.
            Err(ReadError::Damaged { .. } | ReadError::Missing { .. }) => {}
            Err(_) => break,
        }
    }
    // Other frames may be more detailed than those of the sample; no record is longer than the file says.
    let longest = reader.geometry().record_bytes_max as usize;
    let dense = info.picture.map_or(0, |picture| picture.width as usize * picture.height as usize * 3 + 4096);
    let room = |sampled: usize, bound: usize| if sampled == 0 { 0 } else { sampled.max(bound.min(longest)) };
    info.jpeg_bytes_max = room(info.jpeg_bytes_max, dense);
    info.side_bytes_max = room(info.side_bytes_max, longest);
    info.sensor_bytes_max = room(info.sensor_bytes_max, 2 * info.sensor_bytes_max);
    // Now, and not when the first such frame is played.
    let picture = info.jpeg_bytes_max.max(info.picture.and_then(PictureInfo::bytes).unwrap_or(0));
    reader.make_room(record_bytes(picture, info.side_bytes_max, info.sensor_bytes_max));
    info
}

/// The picture with more pixels.
fn larger(one: Option<PictureInfo>, other: Option<PictureInfo>) -> Option<PictureInfo> {
    let pixels = |info: PictureInfo| u64::from(info.width) * u64::from(info.height);
    one.into_iter().chain(other).max_by_key(|&info| pixels(info))
}

/// Up to 32 frames spread over a recording, the first and the last among them.
fn sample(len: u64) -> impl Iterator<Item = u64> {
    const SAMPLES: u64 = 32;
    let count = len.min(SAMPLES);
    (0..count).map(move |i| (u128::from(i) * u128::from(len - 1) / u128::from((count - 1).max(1))) as u64)
}
