//! What moves in the scene.

use super::{VirtualOptions, hash};

/// A kind of object.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    /// Its label.
    pub name: &'static str,
    /// Width and height in 64ths of the picture's height.
    size: (u32, u32),
    /// Red, green, blue.
    pub colour: [u8; 3],
}

/// The labels, by class number.
pub const CLASSES: [Class; 4] = [
    Class { name: "person", size: (8, 22), colour: [214, 140, 98] },
    Class { name: "car", size: (22, 11), colour: [60, 96, 190] },
    Class { name: "bicycle", size: (14, 12), colour: [70, 160, 80] },
    Class { name: "dog", size: (9, 7), colour: [120, 84, 50] },
];

/// One object: a class, a size, a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Index into [`CLASSES`].
    pub class: usize,
    /// Number of its track, from 1.
    pub track: i64,
    /// Hundredths, `55..=99`.
    pub confidence_percent: u32,
    size: (u32, u32),
    /// Free way on each axis, in pairs of pixels.
    room: (u64, u64),
    start: (u64, u64),
    /// Pairs of pixels in 64 frames.
    speed: (u64, u64),
}

/// Where an object is in one frame, in pixels; all even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Object {
    /// Object `index` of the scene.
    pub fn new(options: &VirtualOptions, index: u32) -> Self {
        let random = |what: u64| hash(options.seed ^ 0x0b_1ec7, u64::from(index) * 16 + what);
        let class = index as usize % CLASSES.len();
        let (width, height) = options.size;
        let even = |part: u32, side: u32| ((height * part / 64) & !1).clamp(2, side & !1);
        let size = (even(CLASSES[class].size.0, width), even(CLASSES[class].size.1, height));
        let room = (u64::from(width - size.0) / 2, u64::from(height - size.1) / 2);
        Self {
            class,
            track: i64::from(index) + 1,
            confidence_percent: 55 + (random(0) % 45) as u32,
            size,
            room,
            start: (random(1) % (2 * room.0 + 1), random(2) % (2 * room.1 + 1)),
            speed: (16 + random(3) % 80, 4 + random(4) % 20),
        }
    }

    /// Where it is in frame `n`: it runs to and fro between the edges.
    pub fn place(&self, n: u64) -> Place {
        let axis = |start: u64, speed: u64, room: u64| {
            // 2^58 frames are 300 million years at 30 frames/s; the product stays below 2^64.
            let way = (start + (n & ((1 << 56) - 1)) * speed / 64) % (2 * room).max(1);
            2 * way.min(2 * room - way.min(2 * room)) as u32
        };
        Place {
            x: axis(self.start.0, self.speed.0, self.room.0),
            y: axis(self.start.1, self.speed.1, self.room.1),
            width: self.size.0,
            height: self.size.1,
        }
    }

    /// True for those that are drawn round.
    pub const fn is_round(&self) -> bool {
        self.class % 2 == 0
    }
}

impl Place {
    /// The columns of row `row` (counted from the top of the box) that a round object covers, in pairs of pixels from the
    /// left edge of the box; a square one covers all.
    pub fn run(&self, row: u32, is_round: bool) -> (u32, u32) {
        let pairs = self.width / 2;
        if !is_round {
            return (0, pairs);
        }
        // The ellipse in the box: the half width at `dy` half rows from the middle is w · √(1 - (dy / h)²).
        let (h, dy) = (u64::from(self.height), (2 * u64::from(row) + 1).abs_diff(u64::from(self.height)));
        let part = h * h - dy * dy;
        let half = (part * u64::from(pairs) * u64::from(pairs)).isqrt() / h / 2;
        let half = (half as u32).max(1).min(pairs.div_ceil(2));
        ((pairs / 2).saturating_sub(half), (pairs / 2 + half).min(pairs))
    }
}
