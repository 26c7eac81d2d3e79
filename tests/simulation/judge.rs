//! What has to hold, whatever happened.

use kinora::frame::Frame;
use kinora::recording::verify::verify_reader;
use kinora::recording::{Medium, Reader};
use kinora::{Cause, SessionReport, SessionStatus, Timestamp};

use super::camera::{Sent, Told};
use super::chance::Chance;
use super::disk::Image;

/// A sum over everything that was seen, to compare two runs.
#[derive(Debug)]
pub struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Trace {
    pub fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.split_at(bytes.len() / 8 * 8);
        words.chunks_exact(8).for_each(|word| self.word(u64::from_le_bytes(word.try_into().unwrap())));
        rest.iter().for_each(|&byte| self.word(byte.into()));
    }

    pub fn status(&mut self, status: &SessionStatus, now: Timestamp) {
        self.word(status.captured);
        self.word(status.kept);
        status.lost_by_cause.iter().for_each(|&lost| self.word(lost));
        self.word(now.as_ns() as u64);
    }

    pub const fn value(&self) -> u64 {
        self.0
    }
}

/// True when `frame` is the one that was sent.
pub fn shows(frame: &Frame<'_>, sent: &Sent) -> bool {
    let picture = match (frame.pixels, frame.jpeg) {
        (_, Some(jpeg)) => jpeg.height == sent.rows,
        (Some(pixels), None) => pixels.info.height == sent.rows && pixels.bytes.iter().all(|&byte| byte == sent.value),
        (None, None) => false,
    };
    let results = frame.classifications().class_id() == [sent.class()];
    picture && results && frame.meta.sequence == sent.sequence && frame.meta.captured_at == sent.captured_at
}

/// Every frame that the camera made is delivered or in the ledger with its cause; every frame delivered is kept or in the ledger.
pub fn account(status: &SessionStatus, before: &SessionStatus, told: &Told) {
    assert_eq!(status.captured, told.sent.len() as u64, "frames captured and frames sent");
    let mut behind = 0;
    for (cause, expected) in Cause::ALL.into_iter().zip(told.lost) {
        let found = status.lost_for(cause);
        assert!(found >= expected, "{cause}: the ledger says {found}, the camera lost {expected}");
        assert!(found >= before.lost_for(cause), "{cause}: the ledger went back");
        if cause != Cause::WriteFailed && cause != Cause::EncodeFailed {
            assert_eq!(found, expected, "{cause}: the ledger and what the camera lost");
        }
        behind += found - expected;
    }
    assert_eq!(status.kept + behind, status.captured, "kept + lost behind the camera = captured");
    assert_eq!(status.kept + status.lost(), told.made(), "delivered + lost = made");
    assert!(status.kept >= before.kept && status.kept <= before.kept + 1, "one look keeps one frame");
}

/// A camera that is gone is an error, and one that was given up: not before its last start was in vain.
pub fn end(error: Option<&kinora::Error>, told: &Told, failures_max: u32) {
    match error {
        Some(error) if !told.gone => {
            let text = error.to_string();
            assert!(failures_max > 0, "a camera that is gone, and nothing else, is an error: {text}");
            // The last failure is one for which nobody stops it any more.
            let is_over = if told.sent.is_empty() { told.failures == 0 } else { told.failures + 1 >= failures_max };
            assert!(is_over, "given up after {} failures of {failures_max}: {text}", told.failures);
            let said = if told.sent.is_empty() { "no first frame" } else { "starts in vain" };
            assert!(text.contains(said), "{text}");
        }
        Some(_) => {}
        None => assert!(!told.gone, "a camera that is gone is an error"),
    }
    assert!(failures_max == 0 || told.failures <= failures_max, "started again after {} failures", told.failures);
}

/// Frames of a recording that can be read, `None` for those that cannot; each one that can was sent, in this order.
fn frames_of<M: Medium>(reader: &mut Reader<M>, sent: &[Sent]) -> Vec<Option<Sent>> {
    let mut at = 0;
    (0..reader.frame_count())
        .map(|index| {
            let frame = reader.read_frame(index).ok()?;
            let found = sent[at..].iter().position(|sent| shows(&frame, sent));
            at += found.unwrap_or_else(|| panic!("frame {index} is {frame}, which was not sent then"));
            Some(sent[at])
        })
        .collect()
}

/// The file as it is now, and as a power cut would leave it; returns how often the power was cut.
pub fn image(image: &Image, sent: &[Sent], chance: &mut Chance) -> u64 {
    let name = image.path.display();
    let live = {
        let mut reader = Reader::over(image.store.live()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let live = frames_of(&mut reader, sent);
        assert!(live.iter().all(Option::is_some), "{name}: a frame of the file cannot be read");
        assert_eq!(live.len() as u64, image.frames, "{name}: frames, and frames told to followers");
        let report = verify_reader(&mut reader, |_, _| ());
        assert!(report.is_intact(), "{name}: {report:?}");
        assert_eq!(report.finalized, image.closed, "{name}: closed or not");
        live
    };
    for _ in 0..2 {
        let (mask, mut coin) = (chance.below(4), chance.fork());
        let after = image.store.after_power_cut(|_| match mask {
            0 => false,
            1 => true,
            _ => coin.once_in(2),
        });
        let mut reader = Reader::over(&after[..]).unwrap_or_else(|error| panic!("{name} after a power cut: {error}"));
        let frames = frames_of(&mut reader, sent);
        let durable = image.durable as usize;
        assert!(frames.len() <= live.len(), "{name}: more frames after a power cut than before");
        assert!(frames.len() >= durable, "{name}: {} frames after a power cut, {durable} durable", frames.len());
        for (index, frame) in frames.iter().enumerate() {
            assert!(frame.is_some() || index >= durable, "{name}: frame {index} of {durable} durable ones is lost");
            assert!(frame.is_none_or(|frame| Some(frame) == live[index]), "{name}: frame {index} is another one");
        }
    }
    2
}

/// All files of one session together: every kept frame once, in order; every loss and bookmark, unless the recording ended early.
pub fn files(files: &[Image], sent: &[Sent], kept: &[Sent], report: &SessionReport, bookmarks: u64) {
    let (mut at, mut in_doubt, mut lost, mut events) = (0, 0, [0; Cause::ALL.len()], 0);
    for (number, file) in files.iter().enumerate() {
        let name = file.path.display();
        let mut reader = Reader::over(file.store.live()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut frames = frames_of(&mut reader, sent);
        // What a failed file could not confirm is in it, and counts in the next file, or in the ledger.
        if file.failed && is_in_doubt(&frames, &kept[at..], &files[number + 1..], sent) {
            frames.pop();
            in_doubt += 1;
        }
        for frame in &frames {
            assert_eq!(frame.as_ref(), kept.get(at), "{name}: frame {at} of all that were kept");
            at += 1;
        }
        for (_, loss) in reader.losses().expect("losses can be read") {
            lost[usize::from(loss.cause.code()) - 1] += loss.count;
        }
        events +=
            reader.events().expect("events can be read").iter().filter(|(_, e)| e.text == "a moment").count() as u64;
    }
    // What was still due when the last file failed, or when the recording ended, is in the summary only.
    let summary = &report.summary;
    let ended = report.sink_error.is_some() || summary.ended.is_some() || summary.failure.is_some();
    assert!(ended || !report.status.sink_failed, "the session says that its sink failed, the summary does not");
    assert_eq!(at, kept.len(), "frames in all files, and frames kept ({in_doubt} in doubt)");
    assert_eq!(summary.frames, kept.len() as u64, "the summary's frames ({in_doubt} in doubt)");
    for (cause, found) in Cause::ALL.into_iter().zip(lost) {
        let told = report.status.lost_for(cause);
        assert!(found <= told, "{cause}: the files say {found}, the ledger {told}");
        assert!(ended || found == told, "{cause}: the files say {found}, the ledger {told}");
    }
    assert!(
        events <= bookmarks && (ended || events == bookmarks),
        "{events} of {bookmarks} bookmarks are in the files"
    );
    if !ended {
        assert_eq!(summary.dropped, report.status.lost(), "the summary's losses");
    }
}

/// True when the last of a failed file's frames counts elsewhere: the files hold it once more than it was kept. (The camera may
/// have sent it several times.)
fn is_in_doubt(frames: &[Option<Sent>], kept: &[Sent], later: &[Image], sent: &[Sent]) -> bool {
    let Some(Some(last)) = frames.last() else { return false };
    let here = frames.iter().rev().take_while(|&&frame| frame == Some(*last)).count();
    let mut there = 0;
    for next in later {
        let Ok(mut reader) = Reader::over(next.store.live()) else { break };
        let first = frames_of(&mut reader, sent);
        let again = first.iter().take_while(|&&frame| frame == Some(*last)).count();
        there += again;
        if again < first.len() {
            break;
        }
    }
    let kept = kept.get(frames.len() - here..).unwrap_or_default();
    here + there > kept.iter().take_while(|&kept| kept == last).count()
}
