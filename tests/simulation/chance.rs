//! Chance from a seed, with forks that do not shift each other.

#[path = "../common/random.rs"]
mod random;

use random::Random;

/// Numbers that follow from a seed alone.
#[derive(Clone, Debug)]
pub struct Chance(Random);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    pub fn word(&mut self) -> u64 {
        self.0.next()
    }

    /// `0..end`; `end` is at least 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A chance of its own, which later calls do not shift.
    pub fn fork(&mut self) -> Self {
        Self::new(self.word())
    }
}
