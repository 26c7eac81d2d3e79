//! The source itself, through the `Source` trait.

use std::time::Instant;

use kinora::frame::{ImageType, PixelFormat};
use kinora::slot::{Slot, SlotSizes};
use kinora::source::v4l2::{V4l2Options, V4l2Source, devices};
use kinora::source::{Filled, Source, SourceError};
use kinora::{Cause, Clock, Loss, Span, SystemClock};

use crate::{CAMERA, PATIENCE, set, shell};

const WAIT: Span = Span::from_ms(500);

/// What came out of a source.
#[derive(Default)]
struct Account {
    delivered: Vec<u64>,
    lost: Vec<Loss>,
    ended: Option<SourceError>,
}

impl Account {
    /// Sequence numbers between first and last frame that were neither delivered nor reported.
    fn gaps(&self) -> u64 {
        let (first, last) = (self.delivered[0], self.delivered[self.delivered.len() - 1]);
        let reported: u64 =
            self.lost.iter().filter(|loss| (first..last).contains(&loss.first_sequence)).map(|loss| loss.count).sum();
        last - first + 1 - self.delivered.len() as u64 - reported
    }

    fn lost_by(&self, cause: Cause) -> u64 {
        self.lost.iter().filter(|loss| loss.cause == cause).map(|loss| loss.count).sum()
    }
}

fn options(format: PixelFormat) -> V4l2Options {
    V4l2Options { size: Some((640, 480)), format: Some(format), ..V4l2Options::default() }
}

fn slot_for(source: &dyn Source) -> Box<Slot> {
    let info = source.describe();
    let pixels = info.picture.and_then(|picture| picture.bytes()).unwrap_or(0);
    Slot::new(&SlotSizes { pixels, jpeg: info.jpeg_bytes_max, ..SlotSizes::default() })
}

/// Runs a started source until `frames` came or it ended; `each` sees every frame, with how many came before it.
fn run(source: &mut dyn Source, frames: usize, mut each: impl FnMut(usize, &Slot)) -> Account {
    let mut slot = slot_for(source);
    let mut account = Account::default();
    let begun = Instant::now();
    while account.delivered.len() < frames {
        assert!(begun.elapsed() < PATIENCE, "{} of {frames} frames came", account.delivered.len());
        slot.reset();
        match source.fill(&mut slot, WAIT) {
            Ok(Filled::Frame) => {
                each(account.delivered.len(), &slot);
                account.delivered.push(slot.meta.sequence);
            }
            Ok(Filled::Lost(loss)) => account.lost.push(loss),
            Ok(Filled::Nothing) => {}
            Ok(Filled::End) => break,
            Err(error) => {
                account.ended = Some(error);
                break;
            }
        }
    }
    account
}

fn start(options: &V4l2Options) -> V4l2Source {
    let mut source = V4l2Source::open(CAMERA, options).unwrap();
    source.start(SystemClock.pair()).unwrap();
    source
}

/// Frames in one format: whole, counted, stamped, and showing vivid's colour bars: the second one is yellow.
fn show_bars(format: PixelFormat, yellow: &[(usize, u8)]) {
    let mut source = start(&options(format));
    let frame_time = source.describe().frame_time();
    let begun = Instant::now();
    let (mut last_at, mut last_wall) = (SystemClock.now() - Span::from_s(60), None);
    let wanted = crate::frames(100, 30);
    let account = run(&mut source, wanted as usize, |_, slot| {
        let frame = slot.frame(None);
        let pixels = frame.pixels.unwrap();
        assert_eq!((pixels.info.format, pixels.info.width, pixels.info.height), (format, 640, 480));
        assert_eq!(Some(pixels.bytes.len()), pixels.info.bytes());
        for &(offset, expected) in yellow {
            let found = pixels.bytes[offset];
            assert!(found.abs_diff(expected) <= 12, "byte {offset} of {format} is {found}, not about {expected}");
        }
        let at = slot.meta.captured_at;
        // vivid stamps the instant at which its frame would end, up to one frame time ahead.
        assert!(at > last_at && at < SystemClock.now() + frame_time, "{at:?} after {last_at:?}");
        let wall = slot.meta.captured_wall;
        assert!(last_wall.is_none_or(|last| wall > last));
        (last_at, last_wall) = (at, Some(wall));
        assert_eq!(slot.meta.image_type, Some(ImageType::Vga));
    });
    let seconds = begun.elapsed().as_secs_f64();
    assert!(account.ended.is_none(), "{:?}", account.ended);
    assert!(account.delivered.windows(2).all(|pair| pair[0] < pair[1]));
    println!(
        "{}: {wanted} frames in {seconds:.1} s, {} more that the camera lost; {:.1} frames/s",
        source.mode(),
        account.gaps(),
        f64::from(wanted) / seconds
    );
}

/// Row 400, column 120: inside the second of eight bars, below vivid's text.
const PIXEL: usize = 400 * 640 + 120;

pub fn frames_of_yuyv() {
    show_bars(PixelFormat::Yuyv, &[(2 * PIXEL, 162), (2 * PIXEL + 1, 44), (2 * PIXEL + 3, 142)]);
}

pub fn frames_of_nv12() {
    let chroma = 640 * 480 + 200 * 640 + 120;
    show_bars(PixelFormat::Nv12, &[(PIXEL, 162), (chroma, 44), (chroma + 1, 142)]);
}

pub fn frames_of_yuv420() {
    let chroma = 640 * 480 + 200 * 320 + 60;
    show_bars(PixelFormat::Yuv420, &[(PIXEL, 162), (chroma, 44), (chroma + 320 * 240, 142)]);
}

pub fn frames_of_rgb() {
    show_bars(PixelFormat::Rgb888, &[(3 * PIXEL, 191), (3 * PIXEL + 1, 191), (3 * PIXEL + 2, 0)]);
}

pub fn frames_of_bgr() {
    show_bars(PixelFormat::Bgr888, &[(3 * PIXEL, 0), (3 * PIXEL + 1, 191), (3 * PIXEL + 2, 191)]);
}

pub fn frames_of_grey() {
    // Of the full range, unlike the Y of YUYV.
    show_bars(PixelFormat::Grey, &[(PIXEL, 176)]);
}

pub fn jpeg_is_refused_by_a_camera_that_has_none_with_what_it_has() {
    let told = V4l2Source::open(CAMERA, &options(PixelFormat::Jpeg)).unwrap_err().to_string();
    assert!(told.starts_with("/dev/video0: offers ") && told.contains("YUYV") && told.contains("not JPEG"), "{told}");
}

pub fn the_first_capture_node_is_found_and_the_metadata_node_is_not_taken_for_one() {
    let found = devices();
    let usable: Vec<_> = found.iter().filter(|entry| entry.unusable.is_none()).collect();
    assert!(usable.len() == 1 && usable[0].path.to_str() == Some(CAMERA), "{found:?}");
    let metadata = found.iter().find(|entry| entry.path.to_str() == Some("/dev/video1")).unwrap();
    assert!(metadata.to_string().contains("does not capture pictures"), "{metadata}");
    let told = V4l2Source::open("/dev/video1", &V4l2Options::default()).unwrap_err().to_string();
    assert!(told.contains("does not capture pictures"), "{told}");
    let source = V4l2Source::open_first(&V4l2Options::default()).unwrap();
    assert_eq!(source.mode().to_string().find("vivid: 640x480 YUYV at "), Some(0));
}

pub fn the_nearest_size_and_rate_are_taken_and_told() {
    let wish = V4l2Options { size: Some((1300, 700)), fps: Some((7, 1)), ..V4l2Options::default() };
    let source = V4l2Source::open(CAMERA, &wish).unwrap();
    assert_eq!((source.mode().width, source.mode().height), (1280, 720));
    assert!(source.mode().to_string().contains("asked for 1300x700 at 7"), "{}", source.mode());
    let picture = source.describe().picture.unwrap();
    assert_eq!((picture.width, picture.height), (1280, 720));
}

pub fn frames_that_the_camera_drops_are_gaps_in_the_numbers() {
    let mut source = start(&options(PixelFormat::Yuyv));
    set("Percentage of Dropped Buffers", 50);
    let account = run(&mut source, 60, |_, _| {});
    set("Percentage of Dropped Buffers", 0);
    assert!(account.ended.is_none() && account.delivered.len() == 60);
    assert!(account.delivered.windows(2).all(|pair| pair[0] < pair[1]));
    println!("vivid dropped {} of {} frames", account.gaps(), account.gaps() + 60);
    assert!(account.gaps() >= 10, "half of the frames were to be dropped, {} are missing", account.gaps());
}

pub fn buffers_that_the_driver_marks_as_broken_are_reported_each_with_its_number() {
    let mut source = start(&options(PixelFormat::Yuyv));
    let account = run(&mut source, 50, |before, _| {
        if before % 10 == 5 {
            set("Inject V4L2_BUF_FLAG_ERROR", 1);
        }
    });
    assert!(account.ended.is_none());
    assert_eq!(account.lost_by(Cause::Corrupt), 5, "{:?}", account.lost);
    for loss in &account.lost {
        assert!(!account.delivered.contains(&loss.first_sequence), "{loss:?} was delivered, too");
    }
}

pub fn a_stream_that_breaks_off_is_started_again_and_the_pause_is_accounted_for() {
    let mut source = start(&options(PixelFormat::Yuyv));
    let account = run(&mut source, 30, |before, _| {
        if before == 10 {
            set("Inject Fatal Streaming Error", 1);
        }
    });
    assert!(account.ended.is_none(), "{:?}", account.ended);
    assert_eq!(account.delivered.len(), 30);
    assert!(account.delivered.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(account.lost_by(Cause::SourceStalled) >= 1, "{:?}", account.lost);
}

pub fn a_start_that_the_driver_refuses_is_an_error_and_the_next_one_works() {
    for refusal in ["Inject VIDIOC_REQBUFS Error", "Inject VIDIOC_QBUF Error", "Inject VIDIOC_STREAMON Error"] {
        let mut source = V4l2Source::open(CAMERA, &options(PixelFormat::Grey)).unwrap();
        set(refusal, 1);
        let error = source.start(SystemClock.pair()).unwrap_err().to_string();
        assert!(error.contains(CAMERA), "{refusal}: {error}");
        source.stop();
        source.start(SystemClock.pair()).unwrap();
        assert_eq!(run(&mut source, 3, |_, _| {}).delivered.len(), 3, "after {refusal}");
    }
}

pub fn a_camera_in_use_is_told_with_the_program_that_has_it() {
    let _first = start(&options(PixelFormat::Yuyv));
    let told = V4l2Source::open(CAMERA, &options(PixelFormat::Grey)).unwrap_err().to_string();
    assert!(told.starts_with("/dev/video0: the camera is in use"), "{told}");
}

pub fn a_camera_that_may_not_be_opened_is_told_with_what_to_join() {
    // Root may open anything, so a thread gives its rights up: the identity of a thread is its own in Linux.
    let told = std::thread::spawn(|| {
        rustix::thread::set_thread_groups(&[]).unwrap();
        let nobody = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        V4l2Source::open(CAMERA, &V4l2Options::default()).unwrap_err().to_string()
    });
    let told = told.join().unwrap();
    assert!(told.starts_with("/dev/video0: permission denied") && told.contains("usermod -aG video"), "{told}");
}

pub fn stopping_and_starting_gives_frames_again() {
    let mut source = start(&options(PixelFormat::Nv12));
    for _ in 0..3 {
        assert_eq!(run(&mut source, 5, |_, _| {}).delivered.len(), 5);
        source.stop();
        assert!(source.fill(&mut slot_for(&source), WAIT).is_err(), "a stopped source gives no frames");
        source.start(SystemClock.pair()).unwrap();
    }
}

pub fn a_slot_that_is_too_small_loses_the_frame_and_the_buffer_comes_back() {
    let mut source = start(&options(PixelFormat::Yuyv));
    let mut small = Slot::new(&SlotSizes { pixels: 1000, ..SlotSizes::default() });
    let (mut lost, begun) = (0, Instant::now());
    // More than there are buffers.
    while lost < 20 {
        assert!(begun.elapsed() < PATIENCE);
        match source.fill(&mut small, WAIT).unwrap() {
            Filled::Lost(loss) => {
                assert_eq!((loss.cause, loss.count), (Cause::TooBig, 1));
                lost += 1;
            }
            other => assert_eq!(other, Filled::Nothing),
        }
    }
    assert_eq!(run(&mut source, 5, |_, _| {}).delivered.len(), 5);
}

pub fn a_step_of_the_wall_clock_shows_in_the_next_frames() {
    let mut source = start(&options(PixelFormat::Grey));
    let mut offsets = Vec::new();
    run(&mut source, 20, |before, slot| {
        offsets.push(slot.meta.captured_wall.as_utc_ns() - slot.meta.captured_at.as_ns());
        if before == 10 {
            shell("date -s '2031-01-01 00:00:00' >/dev/null");
        }
    });
    assert!((offsets[12] - offsets[9]).abs() > 3_600_000_000_000, "{offsets:?}");
}

pub fn an_unplugged_camera_ends_the_stream_and_nothing_panics() {
    let mut source = start(&options(PixelFormat::Yuyv));
    let account = run(&mut source, 100, |before, _| {
        if before == 20 {
            set("Disconnect", 1);
        }
    });
    assert!(account.delivered.len() > 20 && account.delivered.len() < 100, "{}", account.delivered.len());
    assert!(matches!(account.ended, Some(SourceError::Gone(ref name)) if name == CAMERA), "{:?}", account.ended);
    let again = V4l2Source::open(CAMERA, &V4l2Options::default()).unwrap_err().to_string();
    assert!(again.contains("no device behind this node"), "{again}");
    source.stop();
    let again = source.start(SystemClock.pair()).unwrap_err().to_string();
    assert!(again.contains(CAMERA), "{again}");
    // vivid comes back when the last program that had it open lets go.
    drop(source);
    assert_eq!(run(&mut start(&options(PixelFormat::Yuyv)), 5, |_, _| {}).delivered.len(), 5);
}
