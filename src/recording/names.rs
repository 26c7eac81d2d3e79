//! How recordings are called: `STEM[_TAKE][_PART].EXTENSION`.
//!
//! `STEM` is `recording_YYYY-MM-DD_HH-MM-SS` in local time (modlib's form), or what the user typed. `TAKE` is `2..=999`
//! without a leading zero, for another recorder in the same second. `PART` counts the files of one recording after the
//! first, `0001..`, always at least four digits: so the two numbers cannot be mistaken for each other, no name that a
//! recorder makes can meet another recorder's, and a plain sort of the names is the order of the parts up to 9,999.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Extension of our recordings.
pub const EXTENSION: &str = "kinora";

/// Takes of one second that are tried before giving up.
pub const TAKES_MAX: u32 = 999;

/// A date and a time of day, in whatever zone the caller means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CivilTime {
    /// Year; shown with four digits.
    pub year: i16,
    /// Month, `1..=12`.
    pub month: i8,
    /// Day, `1..=31`.
    pub day: i8,
    /// Hour, `0..=23`.
    pub hour: i8,
    /// Minute, `0..=59`.
    pub minute: i8,
    /// Second, `0..=59`.
    pub second: i8,
}

/// `recording_2026-01-31_17-05-09`, as modlib names its recordings.
pub fn dated_stem(time: CivilTime) -> String {
    let CivilTime { year, month, day, hour, minute, second } = time;
    format!("recording_{year:04}-{month:02}-{day:02}_{hour:02}-{minute:02}-{second:02}")
}

/// The family of names that one recorder may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    directory: PathBuf,
    stem: OsString,
    extension: OsString,
}

impl Names {
    /// Names in `directory` that begin with `stem`.
    pub fn new(directory: &Path, stem: impl Into<OsString>, extension: &str) -> Self {
        Self { directory: directory.to_path_buf(), stem: stem.into(), extension: extension.into() }
    }

    /// The family of an exact file name: its first file is `path` itself. `None` when `path` has no file name.
    pub fn of_file(path: &Path) -> Option<Self> {
        let extension = path.extension().unwrap_or_default().to_os_string();
        let directory = path.parent().unwrap_or(Path::new("")).to_path_buf();
        Some(Self { directory, stem: path.file_stem()?.to_os_string(), extension })
    }

    /// Where the files lie.
    pub fn directory(&self) -> &Path {
        if self.directory.as_os_str().is_empty() { Path::new(".") } else { &self.directory }
    }

    /// The first file of take `take`: 1 is the plain name.
    pub fn take(&self, take: u32) -> PathBuf {
        self.file(if take < 2 { String::new() } else { format!("_{take}") })
    }

    /// The family of take `take`, for its further parts.
    pub fn of_take(&self, take: u32) -> Self {
        let mut family = self.clone();
        if take >= 2 {
            family.stem.push(format!("_{take}"));
        }
        family
    }

    /// The file of part `part`: 0 is the plain name.
    pub fn part(&self, part: u32) -> PathBuf {
        self.file(if part == 0 { String::new() } else { format!("_{part:04}") })
    }

    fn file(&self, suffix: String) -> PathBuf {
        let mut name = self.stem.clone();
        name.push(suffix);
        if !self.extension.is_empty() {
            name.push(".");
            name.push(&self.extension);
        }
        self.directory.join(name)
    }
}

/// True for a name that our recordings have.
pub fn is_recording_name(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == EXTENSION)
}

/// Ending of recordings that somebody wants to keep: trimming passes them over up to a share of the total size.
pub const LOCKED_ENDING: &str = ".locked.kinora";

/// True for a name whose recording is locked.
pub fn is_locked_name(name: &OsStr) -> bool {
    name.as_encoded_bytes().ends_with(LOCKED_ENDING.as_bytes())
}

/// Order of names with numbers compared as numbers: part 10,000 comes after part 9,999.
pub fn natural_order(a: &[u8], b: &[u8]) -> Ordering {
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i].is_ascii_digit() && b[j].is_ascii_digit() {
            let (x, y) = (digits(&a[i..]), digits(&b[j..]));
            let (x_value, y_value) = (without_zeros(x), without_zeros(y));
            let order = x_value.len().cmp(&y_value.len()).then_with(|| x_value.cmp(y_value));
            if order != Ordering::Equal {
                return order;
            }
            i += x.len();
            j += y.len();
        } else if a[i] != b[j] {
            return a[i].cmp(&b[j]);
        } else {
            i += 1;
            j += 1;
        }
    }
    (a.len() - i).cmp(&(b.len() - j)).then_with(|| a.cmp(b))
}

fn digits(text: &[u8]) -> &[u8] {
    let len = text.iter().take_while(|c| c.is_ascii_digit()).count();
    &text[..len]
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&c| c == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dated_name_has_modlibs_form_also_in_1970() {
        let time = CivilTime { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 7 };
        assert_eq!(dated_stem(time), "recording_1970-01-01_00-00-07");
    }

    #[test]
    fn takes_and_parts_never_share_a_name() {
        let names = Names::new(Path::new("d"), "recording_x", EXTENSION);
        assert_eq!(names.take(1), Path::new("d/recording_x.kinora"));
        assert_eq!(names.take(2), Path::new("d/recording_x_2.kinora"));
        assert_eq!(names.part(2), Path::new("d/recording_x_0002.kinora"));
        assert_eq!(names.of_take(2).part(2), Path::new("d/recording_x_2_0002.kinora"));
        for take in 1..=TAKES_MAX {
            assert!((1..12_000).step_by(7).all(|part| names.part(part) != names.take(take)));
        }
    }

    #[test]
    fn an_exact_file_name_is_its_own_first_part() {
        let names = Names::of_file(Path::new("a.b.kinora")).unwrap();
        assert_eq!(names.part(0), Path::new("a.b.kinora"));
        assert_eq!(names.part(3), Path::new("a.b_0003.kinora"));
        assert_eq!(names.directory(), Path::new("."));
        assert_eq!(Names::of_file(Path::new("/")), None);
        assert_eq!(Names::of_file(Path::new("plain")).unwrap().part(1), Path::new("plain_0001"));
    }

    #[test]
    fn locked_recordings_are_known_by_their_ending() {
        for (name, locked) in [
            ("clip.locked.kinora", true),
            ("locked.kinora", false),
            ("a.locked.kinora.txt", false),
            ("a.kinora", false),
        ] {
            assert_eq!(is_locked_name(OsStr::new(name)), locked, "{name}");
        }
    }

    #[test]
    fn names_sort_by_their_numbers_and_the_first_part_comes_first() {
        let mut names = ["r_10000.kinora", "r_9999.kinora", "r_0001.kinora", "r.kinora", "q_2.kinora"];
        names.sort_by(|a, b| natural_order(a.as_bytes(), b.as_bytes()));
        assert_eq!(names, ["q_2.kinora", "r.kinora", "r_0001.kinora", "r_9999.kinora", "r_10000.kinora"]);
        assert_eq!(natural_order(b"a01", b"a1"), Ordering::Less, "equal values still have one order");
        assert_eq!(natural_order(b"", b""), Ordering::Equal);
    }
}
