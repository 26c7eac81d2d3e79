//! Drawing onto a picture: boxes, skeletons, masks, oriented boxes, labels, rates; and showing it in a terminal.
//!
//! Everything is drawn in picture coordinates (fractions, mapped from the network's region once), at the places and in the
//! colours where modlib's `Annotator` draws. Nothing here reads a file, decodes a picture or knows a window.
//!
//! ```
//! # use kinora::prelude::*;
//! # use kinora::draw::{self, Canvas};
//! # fn show(frame: &Frame<'_>, canvas: &mut Canvas<'_>) {
//! draw::poses(canvas, frame.poses().above(0.4).iter());
//! draw::boxes(canvas, frame.detections().above(0.4).iter());
//! draw::rates(canvas, frame.meta.fps, frame.meta.dps);
//! # }
//! ```

mod canvas;
mod font;
mod results;
mod terminal;

pub use canvas::{Canvas, Color};
pub use results::{boxes, classes, everything, heat_map, instances, oriented_boxes, poses, rates, segments};
pub use terminal::{half_blocks, shades, size_in_terminal};
