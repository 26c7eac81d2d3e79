//! Every compile-time capacity, with its reason.
//!
//! Shapes are fixed here; counts and choices are settings inside these shapes. What exceeds a limit is refused or
//! counted by whoever meets it, never cut silently. `memory.md` is computed from this file.

/// Rows that carry a box (detections, instances, oriented boxes) in one frame.
///
/// The largest post-processed heads of the IMX500 zoo give 300 (nanodet, yolo); the rest is room for two classes of
/// application filters that append boxes of their own.
pub const BOXES_MAX: usize = 512;

/// Rows of a result that has a confidence: the widest is a classification over ImageNet with background, 1,001.
pub const ROWS_MAX: usize = 1024;

/// Keypoints of all poses of one frame together: 120 persons of 17 points, or 15 of 133 (whole body).
pub const KEYPOINTS_MAX: usize = 2048;

/// Labels of one network: ImageNet with background is 1,001.
pub const LABELS_MAX: usize = 1024;

/// Bytes of all label names of one network together. The 1,001 ImageNet names of the IMX500 zoo take under 24 KiB.
pub const LABEL_TEXT_BYTES_MAX: usize = 32 * 1024;

/// Bytes of a modlib timestamp that is not in modlib's own form and therefore kept as text. RFC 3339 with nine digits
/// and an offset takes 35.
pub const TIMESTAMP_TEXT_BYTES_MAX: usize = 64;

/// Bytes of a source's, a network's or a time zone's name. The longest network name of the IMX500 zoo has 50.
pub const NAME_BYTES_MAX: usize = 128;

/// Bytes of the name of a post-processing; modlib's longest has 21.
pub const POST_NAME_BYTES_MAX: usize = 32;

/// Bytes of the text of an event or bookmark.
pub const EVENT_TEXT_BYTES_MAX: usize = 256;

/// Largest width and height of a picture, in pixels. The IMX500 has 4,056 × 3,040; a JPEG header may claim 65,535.
pub const SIDE_PIXELS_MAX: u32 = 16_384;

/// Largest picture, in bytes as stored (pixels or JPEG): 4,056 × 3,040 BGR is 37 MB.
pub const PICTURE_BYTES_MAX: usize = 64 << 20;

/// Largest side plane (masks and heat maps of one frame), in bytes: 512 instance crops of 180 × 180.
pub const SIDE_PLANE_BYTES_MAX: usize = 16 << 20;

/// Largest raw sensor buffer of one frame, in bytes: yolo 640×640 on the IMX500 needs 1,259,424.
pub const SENSOR_BYTES_MAX: usize = 2 << 20;

/// Losses that the ledger holds between two writes into the recording. One is written with every frame that passes, so
/// this many distinct causes may alternate between two frames; further ones are merged and counted.
pub const LEDGER_ENTRIES_MAX: usize = 64;

/// Encoder threads of one session. More than four cores do not exist on a Raspberry Pi.
pub const ENCODERS_MAX: usize = 4;

/// Taps (independent readers) of one session.
pub const TAPS_MAX: usize = 8;

const _: () = assert!(BOXES_MAX >= 300, "nanodet and yolo give 300 boxes");
const _: () = assert!(ROWS_MAX >= BOXES_MAX, "every box has a confidence");
const _: () = assert!(ROWS_MAX >= 1001, "ImageNet with background");
const _: () = assert!(ROWS_MAX % 64 == 0, "a selection is whole 64-bit words");
const _: () = assert!(BOXES_MAX <= u16::MAX as usize, "row counts are 16 bits on disk");
const _: () = assert!(KEYPOINTS_MAX <= u16::MAX as usize, "keypoint counts are 16 bits on disk");
const _: () = assert!(LABEL_TEXT_BYTES_MAX <= u16::MAX as usize, "label ends are 16 bits");
const _: () = assert!(PICTURE_BYTES_MAX <= u32::MAX as usize, "section lengths are 32 bits on disk");
const _: () = assert!(4056 * 3040 * 3 <= PICTURE_BYTES_MAX, "the sensor's full picture as BGR");
const _: () = assert!(SENSOR_BYTES_MAX >= 1_259_424, "yolo 640x640 metadata buffer");
