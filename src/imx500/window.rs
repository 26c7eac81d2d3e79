//! The inference window: the part of the sensor's picture that the network sees.

use crate::frame::Roi;

const FULL_WIDTH: u32 = 4056;
const FULL_HEIGHT: u32 = 3040;
/// Largest value of each number of the control: 4056 becomes 4032 before the driver sees it.
const CONTROL_MAX: u32 = 4032;

/// Left, top, width and height in pixels of the full resolution (4056 × 3040), as the sensor's control has them.
///
/// Boxes of a network are fractions of this window, not of the picture; both modes show the same full picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InferenceWindow {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns; 0 is all 4056.
    pub width: u32,
    /// Rows; 0 is all 3040.
    pub height: u32,
}

impl InferenceWindow {
    /// Columns and rows of the full picture, whatever the mode.
    pub const FULL_SIZE: (u32, u32) = (FULL_WIDTH, FULL_HEIGHT);

    /// The whole sensor. The only way to ask for its last 24 columns: see [`as_set`](Self::as_set).
    pub const FULL: Self = Self { left: 0, top: 0, width: 0, height: 0 };

    /// What the control holds after this was written to it: each number at most 4032. A request for 4056 columns looks at
    /// 4032 of them; ask for [`FULL`](Self::FULL) instead.
    pub fn as_set(self) -> Self {
        let Self { left, top, width, height } = self;
        let [left, top, width, height] = [left, top, width, height].map(|value| value.min(CONTROL_MAX));
        Self { left, top, width, height }
    }

    /// The window with the given shape (width : height) that is as large as possible, in the middle; `FULL` when the
    /// shape is empty.
    pub fn centred(shape: (u32, u32)) -> Self {
        let (w, h) = (u64::from(shape.0), u64::from(shape.1));
        if w == 0 || h == 0 {
            return Self::FULL;
        }
        let (full_width, full_height) = (u64::from(FULL_WIDTH), u64::from(FULL_HEIGHT));
        let width = (full_height * w / h).min(full_width);
        let height = (full_width * h / w).min(full_height);
        let [left, top] = [(full_width - width) / 2, (full_height - height) / 2];
        Self { left: left as u32, top: top as u32, width: width as u32, height: height as u32 }
    }

    /// The part of the picture that it is, as fractions. Read the control back and map with what it says: the driver takes
    /// 0 for all, and cuts width and height at the sensor's size; it does not check that the window lies inside.
    pub fn roi(self) -> Roi {
        let size = |value: u32, full: u32| if value == 0 { full } else { value.min(full) };
        let fraction = |value: u32, full: u32| f64::from(value) / f64::from(full);
        Roi {
            left: fraction(self.left, FULL_WIDTH),
            top: fraction(self.top, FULL_HEIGHT),
            width: fraction(size(self.width, FULL_WIDTH), FULL_WIDTH),
            height: fraction(size(self.height, FULL_HEIGHT), FULL_HEIGHT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_the_whole_sensor_and_4056_is_not() {
        assert_eq!(InferenceWindow::FULL.roi(), Roi::FULL);
        let asked = InferenceWindow { left: 0, top: 0, width: 4056, height: 3040 };
        assert_eq!(asked.as_set().width, 4032);
        assert!((asked.as_set().roi().width - 4032.0 / 4056.0).abs() < 1e-15);
        assert_eq!(asked.roi(), Roi::FULL);
    }

    #[test]
    fn a_box_of_the_window_is_found_in_the_picture() {
        let window = InferenceWindow { left: 1014, top: 760, width: 2028, height: 1520 };
        assert_eq!(window.roi().point_in_picture([0.5, 1.0]), [0.5, 0.75]);
    }

    #[test]
    fn the_largest_square_is_in_the_middle() {
        let square = InferenceWindow::centred((1, 1));
        assert_eq!(square, InferenceWindow { left: 508, top: 0, width: 3040, height: 3040 });
        assert_eq!(InferenceWindow::centred((0, 3)), InferenceWindow::FULL);
        let wide = InferenceWindow::centred((2, 1));
        assert_eq!((wide.width, wide.height, wide.top), (4056, 2028, 506));
    }
}
