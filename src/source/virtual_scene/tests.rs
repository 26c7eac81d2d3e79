//! The scene is the same everywhere, its results match its picture, and every option is checked.

use super::*;
use crate::results::ResultState;
use crate::slot::SlotSizes;
use crate::view::Rows;

fn frames(options: VirtualOptions, count: usize) -> Vec<Box<Slot>> {
    let mut scene = VirtualScene::new("virtual", options).unwrap();
    scene.start(ClockPair::default()).unwrap();
    let info = scene.describe();
    let pixels = info.picture.and_then(PictureInfo::bytes).unwrap_or(0);
    let sizes = SlotSizes { pixels, side: info.side_bytes_max, ..SlotSizes::default() };
    (0..count)
        .map(|_| {
            let mut slot = Slot::new(&sizes);
            assert_eq!(scene.fill(&mut slot, Span::ZERO).unwrap(), Filled::Frame);
            slot
        })
        .collect()
}

fn small() -> VirtualOptions {
    VirtualOptions { size: (64, 48), ..VirtualOptions::default() }
}

fn checksum(slot: &Slot) -> u32 {
    crc32c::crc32c(slot.frame(None).pixels.unwrap().bytes)
}

#[test]
fn the_same_seed_gives_the_bytes_that_it_gave_when_this_was_written() {
    let sums: Vec<u32> = frames(small(), 3).iter().map(|slot| checksum(slot)).collect();
    assert_eq!(sums, [1_260_121_054, 4_237_680_257, 1_963_381_341], "the picture of seed 1 has changed");
    let other = frames(VirtualOptions { seed: 2, ..small() }, 1);
    assert_ne!(checksum(&other[0]), sums[0]);
}

#[test]
fn a_detection_lies_where_its_object_is_drawn() {
    let options = VirtualOptions { objects: 2, ..VirtualOptions::default() };
    for slot in frames(options, 40) {
        let frame = slot.frame(None);
        let pixels = frame.pixels.unwrap();
        let car = frame.detections().get(1).unwrap();
        let [x0, y0, x1, _] = car.bbox;
        let (x, y) = (((x0 + x1) / 2.0 * 640.0) as usize, (y0 * 480.0).round() as usize);
        let at = (y * 640 + x) * 3;
        assert_eq!(pixels.bytes[at..at + 3], [190, 96, 60], "the car's colour at the top of its box, {frame}");
    }
}

#[test]
fn boxes_stay_inside_the_picture_and_move() {
    let slots = frames(VirtualOptions { objects: 64, ..small() }, 500);
    let mut moved = 0;
    for pair in slots.windows(2) {
        let (old, new) = (&pair[0].results.bbox, &pair[1].results.bbox);
        moved += usize::from(old != new);
        for &[x0, y0, x1, y1] in new {
            assert!(0.0 <= x0 && x0 < x1 && x1 <= 1.0 && 0.0 <= y0 && y0 < y1 && y1 <= 1.0);
        }
    }
    assert!(moved > 450, "boxes moved in {moved} of 499 frames");
}

#[test]
fn every_kind_is_consistent_and_every_format_fills_its_picture() {
    for kind in ResultKind::ALL {
        let slot = &frames(VirtualOptions { kind: Some(kind), ..small() }, 2)[1];
        assert_eq!(slot.results.state(), ResultState::Some(kind));
        assert!(slot.results.is_consistent(slot.frame(None).side.len()), "{kind}");
    }
    use PixelFormat::{Bgr888, Grey, Nv12, Rgb888, Yuv420, Yuyv};
    for format in [Bgr888, Rgb888, Yuyv, Nv12, Yuv420, Grey] {
        let slot = &frames(VirtualOptions { format: Some(format), ..small() }, 1)[0];
        let pixels = slot.frame(None).pixels.unwrap();
        assert_eq!(Some(pixels.bytes.len()), pixels.info.bytes());
        assert!(pixels.bytes.iter().all(|&byte| byte > 0), "{format}: every byte is drawn, no colour is 0");
    }
}

#[test]
fn results_that_are_repeated_say_so() {
    let slots = frames(VirtualOptions { results_every: 3, ..small() }, 7);
    let new: Vec<bool> = slots.iter().map(|slot| slot.meta.new_detection).collect();
    assert_eq!(new, [true, false, false, true, false, false, true]);
    assert_eq!(slots[2].results.bbox, slots[0].results.bbox);
    assert_ne!(slots[3].results.bbox, slots[0].results.bbox);
}

#[test]
fn capture_times_are_exact_after_ten_hours() {
    let options = VirtualOptions { frame_rate: (30_000, 1_001), ..small() };
    let scene = VirtualScene::new("virtual", options).unwrap();
    // 30,000 frames take 1,001 seconds.
    assert_eq!(scene.captured_at(36 * 30_000), Timestamp::from_ns(36 * 1_001_000_000_000));
}

#[test]
fn odd_sides_show_the_even_picture_and_a_pixel_more() {
    for format in [PixelFormat::Bgr888, PixelFormat::Rgb888, PixelFormat::Grey] {
        let picture = |width: u32| PictureInfo::packed(format, width, 35);
        let scene = |width| VirtualOptions { size: (width, 35), format: Some(format), ..small() };
        // Objects depend on the room for them, which a pixel more does not change.
        let objects: Vec<_> = (0..5).map(|index| Object::new(&scene(50), index)).collect();
        assert_eq!(objects, (0..5).map(|index| Object::new(&scene(51), index)).collect::<Vec<_>>());
        let [mut even, mut odd] = [50, 51].map(|width| vec![0; picture(width).bytes().unwrap()]);
        for n in [0, 1, 130, 255] {
            canvas::Canvas::new(picture(50), 7).draw(n, &objects, &mut even);
            canvas::Canvas::new(picture(51), 7).draw(n, &objects, &mut odd);
            let (even_row, odd_row) = (even.len() / 35, odd.len() / 35);
            assert_eq!(odd_row, even_row / 50 * 51);
            let drawn = objects.iter().map(|object| object.place(n));
            for place in drawn {
                let middle = (place.y + place.height / 2) as usize;
                let column = (place.x + place.width / 2) as usize;
                let [a, b] = [(&even, even_row, 50), (&odd, odd_row, 51)]
                    .map(|(bytes, row, width)| bytes[middle * row + column * (row / width)]);
                assert_eq!(a, b, "frame {n}, {place:?}");
            }
            assert!(odd.chunks(odd_row).all(|row| row[odd_row - odd_row / 51..].iter().any(|&byte| byte > 0)));
        }
    }
}

#[test]
fn options_out_of_range_are_refused_with_the_range() {
    let refused = |options| VirtualScene::new("virtual", options).unwrap_err().to_string();
    let shared = Some(PixelFormat::Yuyv);
    assert!(refused(VirtualOptions { size: (641, 480), format: shared, ..small() }).contains("give even sides"));
    assert!(refused(VirtualOptions { size: (640, 8), ..small() }).contains("640x8: give sides in 16..=4096"));
    assert!(refused(VirtualOptions { size: (640, 65_536), ..small() }).contains("640x65536"));
    assert!(refused(VirtualOptions { format: Some(PixelFormat::Raw10), ..small() }).contains("BGR888"));
    assert!(refused(VirtualOptions { objects: 65, ..small() }).contains("0..=64"));
    assert!(refused(VirtualOptions { frame_rate: (0, 1), ..small() }).contains("1..=1000000"));
    assert!(refused(VirtualOptions { results_every: 0, ..small() }).contains("1..=1000"));
}

/// modlib does not store the size of a mask: it computes it from the box.
#[cfg(feature = "modlib")]
#[test]
fn masks_of_instances_are_as_large_as_modlib_takes_them_to_be() {
    let options = VirtualOptions { format: None, kind: Some(ResultKind::InstanceSegments), ..small() };
    let mut slot = Slot::new(&SlotSizes { side: 1 << 20, ..SlotSizes::default() });
    for frame in frames(options, 60) {
        let mut line = Vec::new();
        crate::modlib::Writer::new().write_line(&frame.frame(None), &mut line).unwrap();
        slot.reset();
        crate::modlib::Reader::new(jiff::tz::TimeZone::UTC).read_line(&line, &mut slot).unwrap();
        assert_eq!(slot.frame(None).side, frame.frame(None).side);
    }
}
