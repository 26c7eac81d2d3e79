//! modlib's pickles in: read as what they hold, never executed.
//!
//! The recording lies in `../shared/recordings` (or `$KINORA_SHARED/recordings`); the test that needs it says so and passes
//! without it, except with `KINORA_REQUIRE_SHARED=1`. The small pickles are made by `scripts/modlib-corpus`.
#![cfg(feature = "modlib")]

mod common;
#[path = "common/modlib.rs"]
mod lines;

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use kinora::modlib::{Format, Import, Imported, LINE_BYTES_MAX, PickleReader, Reason, Writer};
use kinora::results::{ResultKind, ResultState};
use kinora::slot::Slot;
use lines::{SIZES, reader};

fn corpus(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(folder)
}

fn pickle(name: &str) -> Vec<u8> {
    std::fs::read(corpus("pickle").join(name)).unwrap()
}

fn read(pickle: &[u8]) -> Result<Box<Slot>, (usize, Reason)> {
    let mut slot = Slot::new(&SIZES);
    let read = PickleReader::new(TimeZone::UTC).read(pickle, &mut slot);
    read.map(|()| slot).map_err(|defect| (defect.byte, defect.reason))
}

fn written(slot: &Slot) -> String {
    let mut line = Vec::new();
    Writer::new().write_line(&slot.frame(None), &mut line).unwrap();
    String::from_utf8(line).unwrap()
}

#[test]
fn people_in_pickles_are_people_in_json() {
    let Some(folder) = common::shared("recordings") else { return };
    let (json, pkl) = (folder.join("people.json"), folder.join("people.pkl"));
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let json = std::fs::File::open(json).unwrap();
    let pkl = std::fs::File::open(pkl).unwrap();
    let mut json = Import::new(json, Format::Json, zone.clone(), LINE_BYTES_MAX);
    let mut pkl = Import::new(pkl, Format::Pickle, zone, LINE_BYTES_MAX);
    let (mut a, mut b) = (Slot::new(&SIZES), Slot::new(&SIZES));
    let mut frames = 0;
    loop {
        let found = json.next(&mut a).unwrap();
        assert_eq!(pkl.next(&mut b).unwrap(), found);
        if found == Imported::End {
            break;
        }
        assert_eq!(found, Imported::Frame);
        let (a, b) = (a.frame(None), b.frame(None));
        assert_eq!((a.meta, a.results, a.jpeg), (b.meta, b.results, b.jpeg));
        frames += 1;
    }
    assert_eq!(frames, 60);
}

#[test]
fn every_result_type_reads_as_modlibs_own_line_of_the_same_frame() {
    let mut compared = 0;
    for entry in std::fs::read_dir(corpus("pickle")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let Ok(line) = std::fs::read(corpus("json_line").join(format!("{name}.json"))) else { continue };
        let b = read(&std::fs::read(&path).unwrap()).unwrap_or_else(|(byte, why)| panic!("{name} byte {byte}: {why}"));
        let mut a = Slot::new(&SIZES);
        reader().read_line(&line, &mut a).unwrap();
        // As lines, because there a pose has the extent of its keypoints for a box, and nothing and empty are both null.
        assert_eq!(written(&a), written(&b), "{name}");
        assert_eq!(a.meta.captured_at, b.meta.captured_at, "{name}");
        compared += 1;
    }
    assert!(compared >= 20, "{compared}");
}

#[test]
fn an_empty_result_and_no_result_stay_apart() {
    let state = |name: &str| read(&pickle(name)).unwrap().results.state();
    assert_eq!(state("no_result.pkl"), ResultState::Absent);
    for (name, kind) in [
        ("classifications_empty.pkl", ResultKind::Classifications),
        ("detections_empty.pkl", ResultKind::Detections),
        ("poses_empty.pkl", ResultKind::Poses),
        ("instance_segments_empty.pkl", ResultKind::InstanceSegments),
        ("obb_empty.pkl", ResultKind::OrientedBoxes),
    ] {
        assert_eq!(state(name), ResultState::Empty(kind), "{name}");
    }
}

#[test]
fn names_of_numpy_1_and_protocol_5_are_known_too() {
    let expected = read(&pickle("detections.pkl")).unwrap();
    for name in ["detections_numpy_1.pkl", "detections_protocol_5.pkl"] {
        let found = read(&pickle(name)).unwrap();
        assert_eq!(found.results, expected.results, "{name}");
    }
}

#[test]
fn what_would_be_executed_is_refused_by_name() {
    let refused = |module: &str, name: &str| Reason::Refused { module: module.into(), name: name.into() };
    let table = [
        ("refused_posix_system.pkl", refused("posix", "system")),
        ("refused_inside_frame.pkl", refused("posix", "system")),
        ("refused_protocol_0.pkl", refused("posix", "system")),
        ("refused_eval.pkl", refused("builtins", "eval")),
        ("refused_reconstructor.pkl", refused("copyreg", "_reconstructor")),
        ("refused_extension.pkl", Reason::Opcode(0x82)),
    ];
    for (name, reason) in table {
        let bytes = pickle(name);
        let (byte, found) = read(&bytes).err().unwrap_or_else(|| panic!("{name} must be refused"));
        assert_eq!(found, reason, "{name}");
        assert!(byte < bytes.len());
    }
    let (_, reason) = read(&pickle("refused_posix_system.pkl")).unwrap_err();
    assert_eq!(reason.to_string(), "refused posix.system: a modlib frame does not need it; nothing was executed");
}

#[test]
fn a_refused_pickle_between_good_ones_costs_only_itself() {
    let good = pickle("detections.pkl");
    let bad = pickle("refused_posix_system.pkl");
    let bytes = [&good[..], &bad, &good, &good[..100]].concat();
    let mut import = Import::new(&bytes[..], Format::of(&bytes), TimeZone::UTC, LINE_BYTES_MAX);
    let mut slot = Slot::new(&SIZES);
    let mut found = Vec::new();
    loop {
        match import.next(&mut slot).unwrap() {
            Imported::Frame => found.push(format!("frame {}", slot.meta.sequence)),
            Imported::Broken(broken) => found.push(broken.to_string()),
            Imported::End => break,
        }
    }
    // Where the pickle asks for the global that its last two texts name.
    let global = bad.iter().position(|&byte| byte == 0x93).unwrap();
    let refused = format!("line 2, byte {}: refused posix.system", good.len() + global);
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!((&found[0][..], &found[2][..]), ("frame 0", "frame 2"));
    assert!(found[1].starts_with(&refused), "{found:?} {refused}");
    assert!(found[3].ends_with("damaged pickle: it is cut off"), "{found:?}");
}

#[test]
fn a_pickle_cut_at_any_byte_is_refused() {
    let bytes = pickle("instance_segments.pkl");
    for len in 0..bytes.len() {
        let (byte, _) = read(&bytes[..len]).expect_err("must be refused");
        assert!(byte <= len);
    }
}

#[test]
fn every_flipped_byte_of_a_pickle_gives_an_answer_and_no_panic() {
    let bytes = pickle("detections.pkl");
    let mut refused = 0;
    for at in 0..bytes.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            refused += usize::from(read(&bytes).is_err());
        }
    }
    assert!(refused > bytes.len(), "{refused} of {}", 9 * bytes.len());
}
