//! What the benches share: sizes for a smoke run and a real one, quantiles, and a line for each figure beside its bar.
//!
//! `cargo bench` passes `--bench`; without it (`cargo test --benches`) a bench runs in its smoke size: it checks its results
//! and prints its figures, but no bar counts.

#![allow(dead_code)] // Each bench uses its part.

use std::fmt::Display;
use std::path::PathBuf;

/// True in a real run.
pub fn is_real() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// The size for this run.
pub fn size<T>(smoke: T, real: T) -> T {
    if is_real() { real } else { smoke }
}

/// An empty folder below the target folder, so on the disk that holds the build; removed with the value.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))).expect("a folder below target/")
}

/// Sorted samples of one question, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Samples(Vec<u64>);

impl Samples {
    /// Sorts them.
    ///
    /// # Panics
    /// When there are none.
    pub fn new(mut samples: Vec<u64>) -> Self {
        assert!(!samples.is_empty(), "nothing was measured");
        samples.sort_unstable();
        Self(samples)
    }

    /// The smallest sample that `per_mille` of 1,000 samples do not exceed.
    pub fn at(&self, per_mille: usize) -> u64 {
        let rank = (self.0.len() * per_mille).div_ceil(1000);
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    /// The largest.
    pub fn max(&self) -> u64 {
        self.0[self.0.len() - 1]
    }

    /// `p50 1.2 µs, p99 3.4 µs, p99.9 5.6 µs, max 7.8 µs`.
    pub fn line(&self) -> String {
        let (p50, p99, p999, max) = (us(self.at(500)), us(self.at(990)), us(self.at(999)), us(self.max()));
        format!("p50 {p50}, p99 {p99}, p99.9 {p999}, max {max}")
    }
}

/// `1.2 µs`.
pub fn us(ns: u64) -> String {
    format!("{:.1} µs", ns as f64 / 1e3)
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The bars of one bench; tells at the end whether one was missed.
#[derive(Debug, Default)]
pub struct Bars {
    missed: usize,
    /// What the next figure is a ratio of: ours and the peer's.
    beside: Option<(String, String)>,
}

impl Bars {
    /// One figure that must not be above `limit`.
    pub fn at_most(&mut self, what: &str, figure: f64, limit: f64) {
        self.row(what, figure, "at most", limit, figure <= limit);
    }

    /// One figure that must not be below `limit`.
    pub fn at_least(&mut self, what: &str, figure: f64, limit: f64) {
        self.row(what, figure, "at least", limit, figure >= limit);
    }

    /// Says what the next figure is the ratio of, for the table of `scripts/bench`: our value, the peer's with its name.
    pub fn beside(&mut self, ours: impl Display, peer: impl Display) -> &mut Self {
        self.beside = Some((ours.to_string(), peer.to_string()));
        self
    }

    fn row(&mut self, what: &str, figure: f64, word: &str, limit: f64, good: bool) {
        let verdict = if good { "met" } else { "MISSED" };
        // The tail is for `scripts/bench --table`.
        let tail = self.beside.take().map_or_else(String::new, |(ours, peer)| format!(" [{ours} | {peer}]"));
        println!("  bar: {what}: {figure:.3}, {word} {limit}: {verdict}{tail}");
        self.missed += usize::from(!good);
    }

    /// Ends the program: exit code 1 when a bar was missed in a real run.
    pub fn finish(self) {
        if self.missed > 0 && is_real() {
            println!("{} bars missed", self.missed);
            std::process::exit(1);
        }
    }
}

/// One line of the output.
pub fn say(what: &str, figure: impl Display) {
    println!("  {what:<58} {figure}");
}
