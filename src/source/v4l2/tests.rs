//! What can be told without a camera. With one: `tests/vm`.

use super::*;
use crate::slot::SlotSizes;

fn open(path: &str) -> String {
    V4l2Source::open(path, &V4l2Options::default()).unwrap_err().to_string()
}

fn format(fourcc: &[u8; 4], width: u32, height: u32, stride: u32) -> PixFormat {
    PixFormat { fourcc: v4l::FourCC::new(fourcc), width, height, stride, size: 1 << 20, field: 1 }
}

fn buffer(flags: u32, stamp_ns: i64) -> sys::Filled {
    let mut buffer = sys::Filled::default();
    (buffer.flags, buffer.stamp_ns) = (flags, stamp_ns);
    buffer
}

#[test]
fn a_missing_device_is_told_with_what_to_use_instead() {
    let told = open("/dev/video99");
    assert!(told.starts_with("/dev/video99: there is no such device; "), "{told}");
    assert!(told.contains("--source virtual") || told.contains("cameras here: "), "{told}");
}

#[test]
fn something_that_is_no_camera_is_told_as_such() {
    let told = open("/dev/null");
    assert_eq!(told, "/dev/null: this is not a V4L2 device; cameras are /dev/video0 and up");
    assert!(!open("/").is_empty() && !open("/dev/nu\0ll").is_empty());
}

#[test]
fn a_number_of_buffers_out_of_range_is_refused_with_the_range() {
    for buffers in [0, 1, 33] {
        let options = V4l2Options { buffers, ..V4l2Options::default() };
        let told = V4l2Source::open("/dev/null", &options).unwrap_err().to_string();
        assert_eq!(told, format!("{buffers} V4L2 buffers: give 2 to 32"));
    }
}

#[test]
fn the_drivers_stride_is_kept_and_a_missing_one_is_filled_in() {
    let padded = picture_of(&format(b"YUYV", 640, 480, 1344)).unwrap();
    assert_eq!((padded.stride, padded.bytes()), (1344, Some(1344 * 480)));
    assert_eq!(picture_of(&format(b"RGB3", 640, 480, 0)).unwrap().stride, 1920);
    assert_eq!(picture_of(&format(b"NV12", 640, 480, 640)).unwrap().bytes(), Some(640 * 720));
    assert_eq!(picture_of(&format(b"MJPG", 640, 480, 0)).unwrap().stride, 0);
}

#[test]
fn formats_that_a_driver_should_not_answer_with_are_refused() {
    assert!(picture_of(&format(b"H264", 640, 480, 0)).unwrap_err().contains("H264"));
    assert!(picture_of(&format(b"YUYV", 640, 480, 10)).unwrap_err().contains("rows of 10 bytes"));
    assert!(picture_of(&format(b"GREY", u32::MAX, u32::MAX, u32::MAX)).is_err());
    assert!(picture_of(&format(b"BGR3", u32::MAX, 1, 0)).is_err());
    assert!(picture_of(&format(b"MJPG", 0, 480, 0)).is_err());
    let halves = PixFormat { field: 7, ..format(b"YUYV", 640, 480, 1280) };
    assert!(picture_of(&halves).unwrap_err().contains("half pictures"));
}

#[test]
fn the_stamp_is_the_drivers_only_when_it_is_monotonic() {
    let now = Timestamp::from_ns(99);
    assert_eq!(captured_at(&buffer(v4l_sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC, 7), now), Timestamp::from_ns(7));
    assert_eq!(captured_at(&buffer(v4l_sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC, 0), now), now);
    assert_eq!(captured_at(&buffer(0, 7), now), now);
    assert_eq!(captured_at(&buffer(v4l_sys::V4L2_BUF_FLAG_TIMESTAMP_COPY, 7), now), now);
}

#[test]
fn numbers_go_on_over_32_bits_over_a_restart_and_for_a_driver_that_does_not_count() {
    let mut counter = Counter::default();
    assert_eq!([3, 4, 7].map(|device| counter.number(device)), [3, 4, 7]);
    assert_eq!([7, 7, 2].map(|device| counter.number(device)), [8, 9, 10]);
    assert_eq!(counter.skip(5), 11);
    assert_eq!([0, 1].map(|device| counter.number(device)), [16, 17]);

    let mut counter = Counter::default();
    assert_eq!([u32::MAX, 0, 2].map(|device| counter.number(device)), [u32::MAX.into(), 1 << 32, (1 << 32) + 2]);
}

#[test]
fn a_short_buffer_is_corrupt_and_a_small_slot_too_small() {
    let picture = PictureInfo::packed(PixelFormat::Grey, 4, 2);
    let mut slot = Slot::new(&SlotSizes { pixels: 8, ..SlotSizes::default() });
    assert_eq!(copy(&[1; 7], &picture, &mut slot), Err(Cause::Corrupt));
    assert_eq!(copy(&[1; 9], &picture, &mut slot), Ok(()));
    assert_eq!(slot.frame(None).pixels.map(|pixels| pixels.bytes), Some(&[1; 8][..]));
    let mut small = Slot::new(&SlotSizes { pixels: 7, ..SlotSizes::default() });
    assert_eq!(copy(&[1; 8], &picture, &mut small), Err(Cause::TooBig));
}

#[test]
fn a_jpeg_is_checked_for_its_ends_and_its_size() {
    let jpeg =
        [&[0xff, 0xd8, 0xff, 0xc0, 0, 9, 8, 0, 2, 0, 4, 1, 0][..], &[0xff, 0xda, 0, 2, 0, 0xff, 0xd9, 0, 0]].concat();
    let picture = PictureInfo::packed(PixelFormat::Jpeg, 4, 2);
    let mut slot = Slot::new(&SlotSizes { jpeg: 64 + TABLES_BYTES, ..SlotSizes::default() });
    assert_eq!(copy(&jpeg, &picture, &mut slot), Ok(()));
    let stored = slot.frame(None).jpeg.unwrap();
    assert_eq!((stored.width, stored.height, stored.bytes.len()), (4, 2, jpeg.len() - 2 + TABLES_BYTES));
    assert_eq!(copy(&jpeg[..13], &picture, &mut slot), Err(Cause::Corrupt));
    let other = PictureInfo::packed(PixelFormat::Jpeg, 8, 2);
    assert_eq!(copy(&jpeg, &other, &mut slot), Err(Cause::FormatChanged));
    let mut small = Slot::new(&SlotSizes { jpeg: 8, ..SlotSizes::default() });
    assert_eq!(copy(&jpeg, &picture, &mut small), Err(Cause::TooBig));
}

#[test]
fn the_mode_says_what_was_asked_for_when_it_differs() {
    let mode = |asked, asked_rate| Mode {
        card: "cam".into(),
        fourcc: "YUYV".into(),
        width: 640,
        height: 480,
        rate: (30_000, 1_001),
        asked,
        asked_rate,
    };
    assert_eq!(mode((640, 480), (2997, 100)).to_string(), "cam: 640x480 YUYV at 29.97 frames/s");
    let nearest = "cam: 640x480 YUYV at 29.97 frames/s (asked for 800x600 at 30; this is the nearest)";
    assert_eq!(mode((800, 600), (30, 1)).to_string(), nearest);
}
