//! The rolling window: the newest frames in one preallocated arena, oldest out first.
//!
//! A stored frame is one run of bytes (results in columns, JPEG or pixels, side plane, sensor bytes) that never wraps; the
//! arena is a ring of such runs. Its size follows from a promise: with `frame_bytes` for each of N frames, and one more for
//! the place at the end that a run could not use, N frames always fit, so exactly N are held. Storing copies the frame's
//! bytes once; nothing is moved, searched or allocated, whatever the window's length.

use std::fmt;

use super::machine::Extent;
use crate::frame::{Frame, FrameMeta, JpegPicture, PictureInfo, Pixels};
use crate::labels::Labels;
use crate::recording::columns;
use crate::results::Results;
use crate::time::{Span, Timestamp, WallTime};

/// Every part of a frame begins at a multiple of this.
const ALIGNMENT: usize = 8;

/// What the window is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSettings {
    /// Frames that fit at most, at least 1.
    pub capacity: u32,
    /// Frames beside those that may stay a while after they left the window, because somebody still saves them.
    pub reserve: u32,
    /// Bytes promised to each frame: results, picture, side plane and sensor bytes together.
    pub frame_bytes: usize,
}

impl WindowSettings {
    /// Bytes of the arena.
    pub const fn arena_bytes(&self) -> usize {
        (self.slots() + 1) * self.frame_bytes.next_multiple_of(ALIGNMENT)
    }

    const fn slots(&self) -> usize {
        self.capacity as usize + self.reserve as usize
    }

    /// All bytes that a window takes: arena, table of frames, working memory.
    pub const fn total_bytes(&self) -> usize {
        self.arena_bytes() + self.slots() * size_of::<Entry>() + columns::COLUMNS_BYTES_MAX + size_of::<Window>()
    }
}

/// A frame is larger than the window promises to hold; it was not stored and nothing was evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameTooBig {
    /// Bytes of the frame.
    pub needed: usize,
    /// Bytes promised.
    pub promised: usize,
}

impl fmt::Display for FrameTooBig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, promised } = self;
        write!(f, "the frame has {needed} bytes, the window holds frames of {promised}")
    }
}

impl std::error::Error for FrameTooBig {}

#[derive(Clone, Copy, Debug, Default)]
enum Picture {
    #[default]
    None,
    Pixels(PictureInfo),
    Jpeg {
        width: u32,
        height: u32,
    },
}

/// Where a stored frame lies.
#[derive(Clone, Debug, Default)]
struct Entry {
    meta: FrameMeta,
    picture: Picture,
    start: usize,
    columns_bytes: usize,
    picture_bytes: usize,
    side_bytes: usize,
    sensor_bytes: usize,
}

impl Entry {
    fn place(&self) -> Place {
        let columns = self.start;
        let picture = columns + self.columns_bytes.next_multiple_of(ALIGNMENT);
        let side = picture + self.picture_bytes.next_multiple_of(ALIGNMENT);
        let sensor = side + self.side_bytes.next_multiple_of(ALIGNMENT);
        Place { columns, picture, side, sensor, end: sensor + self.sensor_bytes.next_multiple_of(ALIGNMENT) }
    }

    /// Bytes of the frame itself, without padding.
    fn bytes(&self) -> usize {
        self.columns_bytes + self.picture_bytes + self.side_bytes + self.sensor_bytes
    }
}

struct Place {
    columns: usize,
    picture: usize,
    side: usize,
    sensor: usize,
    end: usize,
}

/// The newest frames.
pub struct Window {
    settings: WindowSettings,
    arena: Box<[u8]>,
    entries: Box<[Entry]>,
    /// Ordinal of the next frame.
    next: u64,
    /// Newest frames that belong to the window.
    len: u32,
    /// Frames before them that are still there, for whoever saves them.
    kept: u32,
    /// Frames from this ordinal on stay as long as there is room.
    pinned_from: Option<u64>,
    /// Where the next run begins, if it fits.
    head: usize,
    bytes: u64,
    scratch: Box<[u8]>,
    results: Box<Results>,
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("extent", &self.extent()).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Window {
    /// Allocates everything and touches every page of it.
    ///
    /// # Panics
    /// When the capacity is 0.
    pub fn new(settings: WindowSettings) -> Self {
        assert!(settings.capacity > 0, "a window holds at least one frame");
        let mut arena = vec![1; settings.arena_bytes()].into_boxed_slice();
        // Written once with something else than zero, so that every page is backed by memory now.
        std::hint::black_box(&mut arena).fill(0);
        Self {
            settings,
            arena,
            entries: vec![Entry::default(); settings.slots()].into_boxed_slice(),
            next: 0,
            len: 0,
            kept: 0,
            pinned_from: None,
            head: 0,
            bytes: 0,
            scratch: vec![0; columns::COLUMNS_BYTES_MAX].into_boxed_slice(),
            results: Box::default(),
        }
    }

    /// Which frames are held.
    pub const fn extent(&self) -> Extent {
        Extent { oldest: self.next - self.len as u64, len: self.len }
    }

    /// Bytes of the frames that are held.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What it was made for.
    pub const fn settings(&self) -> &WindowSettings {
        &self.settings
    }

    /// Stores a frame as the newest and returns its ordinal; when `frames_max` frames (at most the capacity, at least 1) are
    /// held already, the oldest goes. A frame with JPEG and pixels keeps the JPEG.
    ///
    /// Cost: one copy of the frame's bytes. No allocation.
    ///
    /// # Errors
    /// [`FrameTooBig`] when the frame exceeds the promised bytes.
    pub fn push(&mut self, frame: &Frame<'_>, frames_max: u32) -> Result<u64, FrameTooBig> {
        let columns_bytes = columns::write(frame.results, &mut self.scratch);
        let (picture, picture_bytes): (_, &[u8]) = match (frame.jpeg, frame.pixels) {
            (Some(jpeg), _) => (Picture::Jpeg { width: jpeg.width, height: jpeg.height }, jpeg.bytes),
            (None, Some(pixels)) => (Picture::Pixels(pixels.info), pixels.bytes),
            (None, None) => (Picture::None, &[]),
        };
        let mut entry = Entry {
            meta: frame.meta.clone(),
            picture,
            start: 0,
            columns_bytes,
            picture_bytes: picture_bytes.len(),
            side_bytes: frame.side.len(),
            sensor_bytes: frame.sensor.len(),
        };
        let needed = entry.place().end;
        let promised = self.settings.frame_bytes.next_multiple_of(ALIGNMENT);
        if needed > promised {
            return Err(FrameTooBig { needed, promised });
        }
        self.cut_to(frames_max.clamp(1, self.settings.capacity) - 1);
        self.make_room();
        entry.start = if self.head + needed > self.arena.len() { 0 } else { self.head };
        let place = entry.place();
        debug_assert!(self.is_free(place.columns, place.end), "the promise leaves room for every frame");
        copy(&mut self.arena, place.columns, &self.scratch[..columns_bytes]);
        copy(&mut self.arena, place.picture, picture_bytes);
        copy(&mut self.arena, place.side, frame.side);
        copy(&mut self.arena, place.sensor, frame.sensor);
        self.head = place.end;
        self.bytes += entry.bytes() as u64;
        let ordinal = self.next;
        let index = self.index(ordinal);
        self.entries[index] = entry;
        self.next += 1;
        self.len += 1;
        Ok(ordinal)
    }

    /// Lets frames from `ordinal` on stay after they left the window, as long as the reserve has room; `None` ends that.
    pub fn pin(&mut self, from: Option<u64>) {
        self.pinned_from = from;
        self.release();
    }

    /// Ordinal of the oldest frame that can still be lent: in the window, or before it and pinned.
    pub const fn oldest_kept(&self) -> u64 {
        self.next - self.len as u64 - self.kept as u64
    }

    /// Forgets the oldest frames until `frames` are left.
    pub fn cut_to(&mut self, frames: u32) {
        while self.len > frames {
            self.bytes -= self.entries[self.index(self.extent().oldest)].bytes() as u64;
            self.len -= 1;
            self.kept += 1;
        }
        self.release();
    }

    /// Forgets frames outside the window that nobody pinned.
    fn release(&mut self) {
        let kept = |from: u64| self.extent().oldest.saturating_sub(from).min(u64::from(self.kept)) as u32;
        self.kept = self.pinned_from.map_or(0, kept);
        if self.len + self.kept == 0 {
            self.head = 0;
        }
    }

    /// Makes room for one more frame: what is pinned gives way when the reserve is full.
    fn make_room(&mut self) {
        let others = self.settings.slots() as u32 - 1;
        self.kept = self.kept.min(others - self.len.min(others));
    }

    /// Forgets all frames. Ordinals go on.
    pub fn clear(&mut self) {
        self.cut_to(0);
    }

    /// Forgets frames that were captured more than `span` before the newest.
    pub fn cut_to_span(&mut self, span: Span) {
        while self.len > 1 && self.span() > span {
            self.cut_to(self.len - 1);
        }
    }

    /// Forgets the oldest frames until all take `bytes` at most; the newest stays.
    pub fn cut_to_bytes(&mut self, bytes: u64) {
        while self.len > 1 && self.bytes > bytes {
            self.cut_to(self.len - 1);
        }
    }

    /// Metadata of a frame that is held, or pinned.
    pub fn meta(&self, ordinal: u64) -> Option<&FrameMeta> {
        self.entry(ordinal).map(|entry| &entry.meta)
    }

    /// Newest capture time minus oldest; zero with one frame or none.
    pub fn span(&self) -> Span {
        self.times().map_or(Span::ZERO, |[(oldest, _), (newest, _)]| newest - oldest)
    }

    /// Capture times of the oldest and the newest frame on both clocks.
    pub fn times(&self) -> Option<[(Timestamp, WallTime); 2]> {
        let at = |ordinal| self.meta(ordinal).map(|meta| (meta.captured_at, meta.captured_wall));
        let oldest = self.len.checked_sub(1).map(|_| self.extent().oldest)?;
        Some([at(oldest)?, at(self.next - 1)?])
    }

    /// Lends a frame that is held, or pinned, until the next call.
    ///
    /// Cost: one pass over the results' columns; the picture is lent where it lies.
    pub fn frame<'a>(&'a mut self, ordinal: u64, labels: Option<&'a Labels>) -> Option<Frame<'a>> {
        let entry = &self.entries[self.held_index(ordinal)?];
        let place = entry.place();
        let part = |start: usize, len: usize| &self.arena[start..start + len];
        let side = part(place.side, entry.side_bytes);
        // The columns were written by `push`, so they read back.
        columns::read(part(place.columns, entry.columns_bytes), side.len(), &mut self.results).ok()?;
        let bytes = part(place.picture, entry.picture_bytes);
        let (pixels, jpeg) = match entry.picture {
            Picture::None => (None, None),
            Picture::Pixels(info) => (Some(Pixels { info, bytes }), None),
            Picture::Jpeg { width, height } => (None, Some(JpegPicture { width, height, bytes })),
        };
        Some(Frame {
            meta: &entry.meta,
            results: &self.results,
            pixels,
            jpeg,
            side,
            sensor: part(place.sensor, entry.sensor_bytes),
            labels,
            losses: &[],
        })
    }

    fn entry(&self, ordinal: u64) -> Option<&Entry> {
        self.held_index(ordinal).map(|index| &self.entries[index])
    }

    fn held_index(&self, ordinal: u64) -> Option<usize> {
        (self.oldest_kept()..self.next).contains(&ordinal).then(|| self.index(ordinal))
    }

    fn index(&self, ordinal: u64) -> usize {
        (ordinal % self.settings.slots() as u64) as usize
    }

    /// True when no frame that is held lies in `start..end`.
    fn is_free(&self, start: usize, end: usize) -> bool {
        (self.oldest_kept()..self.next).all(|ordinal| {
            let place = self.entries[self.index(ordinal)].place();
            place.end <= start || end <= place.columns
        })
    }
}

fn copy(arena: &mut [u8], start: usize, bytes: &[u8]) {
    arena[start..start + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::results::ResultKind;

    fn lend<'a>(meta: &'a FrameMeta, results: &'a Results, jpeg: &'a [u8], side: &'a [u8]) -> Frame<'a> {
        let jpeg = Some(JpegPicture { width: 4, height: 3, bytes: jpeg });
        Frame { meta, results, pixels: None, jpeg, side, sensor: &[], labels: None, losses: &[] }
    }

    fn store(window: &mut Window, sequence: u64, bytes: usize, frames_max: u32) -> Result<u64, FrameTooBig> {
        let meta = FrameMeta { sequence, captured_at: Timestamp::from_ns(sequence as i64), ..FrameMeta::new() };
        let mut results = Results::new();
        results.begin(ResultKind::Detections);
        results.push_detection([0.1, 0.2, 0.3, 0.4], 0.5, sequence as i32, None).unwrap();
        let jpeg: Vec<u8> = (0..bytes).map(|i| (i as u64 ^ sequence) as u8).collect();
        window.push(&lend(&meta, &results, &jpeg, &[7; 3]), frames_max)
    }

    #[test]
    fn exactly_n_frames_are_held_oldest_out_first() {
        let mut window = Window::new(WindowSettings { capacity: 5, reserve: 0, frame_bytes: 400 });
        for sequence in 0..100 {
            let ordinal = store(&mut window, sequence, 200 + (sequence as usize * 37) % 100, 5).unwrap();
            assert_eq!(ordinal, sequence);
            let held = (sequence + 1).min(5);
            assert_eq!(window.extent(), Extent { oldest: sequence + 1 - held, len: held as u32 });
        }
        assert_eq!(window.meta(94), None);
        assert_eq!(window.span(), Span::from_ns(4));
    }

    #[test]
    fn a_frame_above_the_promise_is_refused_and_evicts_nothing() {
        let mut window = Window::new(WindowSettings { capacity: 2, reserve: 0, frame_bytes: 200 });
        store(&mut window, 0, 50, 2).unwrap();
        store(&mut window, 1, 50, 2).unwrap();
        let refused = store(&mut window, 2, 500, 2).unwrap_err();
        assert!(refused.needed > refused.promised && refused.promised == 200, "{refused}");
        assert_eq!(window.extent(), Extent { oldest: 0, len: 2 });
    }

    #[test]
    fn a_stored_frame_comes_back_as_it_was() {
        let mut window = Window::new(WindowSettings { capacity: 3, reserve: 0, frame_bytes: 400 });
        for sequence in 0..7 {
            store(&mut window, sequence, 123, 3).unwrap();
        }
        let frame = window.frame(5, None).unwrap();
        assert_eq!((frame.meta.sequence, frame.results.class_id.as_slice()), (5, &[5][..]));
        assert_eq!((frame.side, frame.jpeg.unwrap().bytes[2]), (&[7; 3][..], 2 ^ 5));
        assert!(window.frame(3, None).is_none() && window.frame(7, None).is_none());
        window.clear();
        assert!(window.frame(6, None).is_none());
        assert_eq!((window.bytes(), window.times()), (0, None));
        assert_eq!(store(&mut window, 7, 10, 3), Ok(7), "ordinals go on");
    }

    #[test]
    fn pinned_frames_stay_beside_the_window_until_the_reserve_is_used_up() {
        let mut window = Window::new(WindowSettings { capacity: 3, reserve: 2, frame_bytes: 400 });
        for sequence in 0..3 {
            store(&mut window, sequence, 50, 3).unwrap();
        }
        window.pin(Some(1));
        store(&mut window, 3, 50, 3).unwrap();
        assert_eq!((window.extent().oldest, window.oldest_kept()), (1, 1), "frame 0 was not pinned");
        store(&mut window, 4, 50, 3).unwrap();
        store(&mut window, 5, 50, 3).unwrap();
        assert_eq!((window.extent(), window.oldest_kept()), (Extent { oldest: 3, len: 3 }, 1));
        assert_eq!(window.frame(1, None).unwrap().meta.sequence, 1);
        store(&mut window, 6, 50, 3).unwrap();
        assert_eq!(window.oldest_kept(), 2, "the reserve holds two");
        window.pin(None);
        assert_eq!(window.oldest_kept(), 4);
        assert_eq!(window.bytes(), 3 * (window.bytes() / 3), "pinned frames are not the window's bytes");
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_plain_queue(
            capacity in 1..9_u32,
            reserve in 0..4_u32,
            steps in prop::collection::vec((0..260_usize, 1..10_u32, 0..20_u8), 1..200),
        ) {
            let mut window = Window::new(WindowSettings { capacity, reserve, frame_bytes: 420 });
            let mut model: VecDeque<(u64, usize)> = VecDeque::new();
            for (sequence, (bytes, frames_max, action)) in steps.into_iter().enumerate() {
                let sequence = sequence as u64;
                match action {
                    0 => { window.clear(); model.clear(); }
                    1 => {
                        window.cut_to(frames_max);
                        while model.len() > frames_max as usize { model.pop_front(); }
                    }
                    2 => window.pin(Some(sequence.saturating_sub(u64::from(frames_max)))),
                    3 => window.pin(None),
                    _ => {
                        store(&mut window, sequence, bytes, frames_max).unwrap();
                        while model.len() >= frames_max.min(capacity) as usize { model.pop_front(); }
                        model.push_back((sequence, bytes));
                    }
                }
                prop_assert_eq!(window.extent().len as usize, model.len());
                let oldest = window.extent().oldest;
                for (i, &(sequence, bytes)) in model.iter().enumerate() {
                    let frame = window.frame(oldest + i as u64, None).unwrap();
                    prop_assert_eq!(frame.meta.sequence, sequence);
                    let jpeg = frame.jpeg.unwrap().bytes;
                    prop_assert_eq!(jpeg.len(), bytes);
                    prop_assert!(jpeg.iter().enumerate().all(|(i, &b)| b == (i as u64 ^ sequence) as u8));
                }
            }
        }
    }
}
