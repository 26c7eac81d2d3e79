//! How fast the disk takes recordings, how long its room lasts, and how long the card does.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kinora::recording::{Directory, Reader};
use kinora::replay::operator::frame_bytes;
use kinora::source::SourceInfo;
use kinora::time::Span;

use super::{Doctor, Finding};
use crate::cli::open;
use crate::cli::units::{show_bytes, show_span};

/// What is written to measure the disk: pieces, each synced.
const PIECES: usize = 32;
const PIECE_BYTES: usize = 1 << 20;

/// A disk this many times as fast as the recording bridges its own pauses.
const HEADROOM: u64 = 3;

const DAY_S: u64 = 86_400;

const MEGABYTE: u64 = 1_000_000;

/// Below so many a directory's bound leaves no room for a recording.
const MEGABYTES_MIN: u64 = 100;

/// A card that wears out sooner is told.
const CARD_DAYS_MIN: u64 = 365;

/// Findings about the directory that recordings would go to.
pub fn look(doctor: &Doctor, info: &SourceInfo) -> Vec<Finding> {
    let (rate, origin) = rate(doctor, info);
    let place = match existing(&doctor.out) {
        Ok(place) => place,
        Err(other) => {
            return vec![Finding::warning("disk speed", format!("{} is no directory", other.display()), OTHER)];
        }
    };
    let mut findings = vec![speed(&place, wanted(&doctor.out), rate, &origin), room(doctor, &place, rate)];
    if let Some(bytes) = doctor.card_bytes {
        findings.push(wear(bytes, rate));
    }
    findings
}

const OTHER: &str = "choose another directory: --out DIR";

/// The directory that recordings would lie in, there or not.
fn wanted(out: &Path) -> &Path {
    let directory = if out.extension().is_some() && !out.is_dir() { out.parent().unwrap_or(out) } else { out };
    if directory.as_os_str().is_empty() { Path::new(".") } else { directory }
}

/// The directory itself, or the nearest above it that is there; what else is in that place.
fn existing(out: &Path) -> Result<PathBuf, PathBuf> {
    match wanted(out).ancestors().find(|path| path.exists()) {
        None => Ok(PathBuf::from(".")),
        Some(there) if there.is_dir() => Ok(there.to_path_buf()),
        Some(there) => Err(there.to_path_buf()),
    }
}

/// Bytes a second, and where that is from: the newest recording of the directory, else what the settings promise.
fn rate(doctor: &Doctor, info: &SourceInfo) -> (u64, String) {
    let newest = open::newest(&doctor.out).ok();
    let recorded = newest.and_then(|path| Some((Reader::open(&path).ok()?.info(), path)));
    if let Some((recorded, path)) = recorded.filter(|(info, _)| info.duration >= Span::from_s(1)) {
        let rate = (recorded.used_bytes as f64 / recorded.duration.as_s_f64()) as u64;
        return (rate.max(1), format!("as in {}", path.display()));
    }
    let each = match info.picture {
        Some(picture) if doctor.engine.raw => picture.bytes().unwrap_or(0) as u64,
        Some(picture) => frame_bytes(picture.width, picture.height, doctor.engine.quality) as u64,
        None => 16 << 10,
    };
    let frame_ns = info.frame_time().as_ns().max(1) as u64;
    let rate = u128::from(each) * 1_000_000_000 / u128::from(frame_ns);
    (u64::try_from(rate).unwrap_or(u64::MAX).max(1), "at most, by the settings".to_owned())
}

/// Writes and syncs a file of 32 MiB, then removes it.
fn speed(place: &Path, wanted: &Path, rate: u64, origin: &str) -> Finding {
    const CHECK: &str = "disk speed";
    match write(place) {
        Ok((bytes_per_s, longest)) => {
            let found = format!(
                "{}/s synced, longest sync {:.0} ms; needed {}/s ({origin})",
                show_bytes(bytes_per_s),
                longest.as_secs_f64() * 1e3,
                show_bytes(rate)
            );
            let remedy = "use a faster card or disk, a smaller --size or --quality, or a longer --sync";
            Finding::when(bytes_per_s < rate.saturating_mul(HEADROOM), CHECK, found, remedy)
                .figure("write_bytes_per_s", bytes_per_s)
                .figure("sync_max_ns", longest.as_nanos() as u64)
                .figure("needed_bytes_per_s", rate)
        }
        Err(error) => {
            let found = format!("{} cannot be written: {error}", place.display());
            Finding::warning(CHECK, found, unwritable(error.kind(), place, wanted))
        }
    }
}

/// What to do about a place that cannot be written; `wanted` is to be a directory in it, or the place itself.
fn unwritable(why: io::ErrorKind, place: &Path, wanted: &Path) -> String {
    match why {
        // The directory above belongs to others (/var/lib): it is made there, and what is above it stays theirs.
        io::ErrorKind::PermissionDenied if place != wanted => {
            format!("sudo install -d -o $USER {}", wanted.display())
        }
        io::ErrorKind::PermissionDenied => format!("sudo chown $USER {}", place.display()),
        io::ErrorKind::ReadOnlyFilesystem => format!(
            "sudo mount -o remount,rw \"$(findmnt -no TARGET -T {})\"\n\
             a card that fails turns read-only by itself: sudo dmesg | grep -i error",
            place.display()
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("remove what is not needed: du -ah {} | sort -h | tail", place.display())
        }
        _ => OTHER.to_owned(),
    }
}

fn write(place: &Path) -> io::Result<(u64, Duration)> {
    let path = place.join(format!(".kinora-doctor-{}", std::process::id()));
    let written: io::Result<_> = (|| {
        let mut file = File::create_new(&path)?;
        // A card that compresses or skips zeros must not look fast.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let piece: Vec<u8> = (0..PIECE_BYTES).map(|_| noise()).collect();
        let (begun, mut longest) = (Instant::now(), Duration::ZERO);
        for _ in 0..PIECES {
            let at = Instant::now();
            file.write_all(&piece)?;
            file.sync_data()?;
            longest = longest.max(at.elapsed());
        }
        Ok(((PIECES * PIECE_BYTES) as f64 / begun.elapsed().as_secs_f64(), longest))
    })();
    // Also after a failure: nothing of the test stays.
    let removed = fs::remove_file(&path);
    let (rate, longest) = written?;
    removed?;
    Ok((rate as u64, longest))
}

/// How long the free room lasts.
fn room(doctor: &Doctor, place: &Path, rate: u64) -> Finding {
    const CHECK: &str = "disk room";
    let Ok(Some(free)) = Directory::open(place).and_then(|place| place.free_bytes()) else {
        return Finding::note(CHECK, format!("{} does not say", place.display()));
    };
    let free = free.saturating_sub(doctor.min_free);
    let seconds = free / rate;
    let lasts = show_span(Span::from_s(i64::try_from(seconds).unwrap_or(i64::MAX).min(1_000_000_000)));
    let found = match doctor.keep_size {
        Some(keep) => {
            let holds = show_span(Span::from_s((keep / rate).min(1_000_000_000) as i64));
            format!("{} free; --keep-size {} keeps the last {holds}", show_bytes(free), show_bytes(keep))
        }
        None => format!("{} free: {lasts}", show_bytes(free)),
    };
    let fits = free.saturating_add(held(&doctor.out));
    let wrong = match doctor.keep_size {
        Some(keep) => keep > fits,
        None => seconds < DAY_S,
    };
    Finding::when(wrong, CHECK, found, bounded(fits, place)).figure("free_bytes", free).figure("free_s", seconds)
}

/// What keeps recordings within `fits` bytes.
fn bounded(fits: u64, place: &Path) -> String {
    let remove = format!("remove what is not needed: du -ah {} | sort -h | tail", place.display());
    match fits / MEGABYTE {
        0..MEGABYTES_MIN => remove,
        megabytes => format!("--keep-size {megabytes}MB deletes the oldest recordings; or {remove}"),
    }
}

/// What recordings take already.
fn held(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
}

/// Days until the card has been written as often as its maker promises.
fn wear(card_bytes: u64, rate: u64) -> Finding {
    let days = card_bytes / rate.saturating_mul(DAY_S).max(1);
    let found = format!(
        "{days} days of recording to {} written, if the card writes no more than it is given",
        show_bytes(card_bytes)
    );
    let remedy = "a card of more endurance, an SSD, a smaller --quality or --fps, or clips around events (kinora replay --clips)";
    Finding::when(days < CARD_DAYS_MIN, "card wear", found, remedy).figure("days", days)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn wear_is_counted_in_days_of_recording() {
        // 1 MB/s is 86.4 GB a day; 100 TB last 1,157 days.
        let finding = wear(100_000_000_000_000, 1_000_000);
        assert_eq!((finding.figures["days"], finding.state), (1_157, State::Ok));
        assert_eq!(wear(10_000_000_000_000, 1_000_000).state, State::Warning);
    }

    #[test]
    fn a_disk_is_measured_and_nothing_stays_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let finding = speed(folder.path(), folder.path(), 1, "test");
        assert!(finding.figures["write_bytes_per_s"] > 0, "{finding:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let nowhere = folder.path().join("nowhere");
        let finding = speed(&nowhere, &nowhere, 1, "test");
        assert_eq!(finding.state, State::Warning);
    }

    #[test]
    fn what_cannot_be_written_is_told_with_a_command_that_leaves_the_directories_above_as_they_are() {
        let (above, wanted) = (Path::new("/var/lib"), Path::new("/var/lib/kinora/recordings"));
        let remedy = |kind, place| unwritable(kind, place, wanted);
        assert_eq!(
            remedy(io::ErrorKind::PermissionDenied, above),
            "sudo install -d -o $USER /var/lib/kinora/recordings"
        );
        assert_eq!(remedy(io::ErrorKind::PermissionDenied, wanted), "sudo chown $USER /var/lib/kinora/recordings");
        assert!(
            remedy(io::ErrorKind::ReadOnlyFilesystem, above).contains("remount,rw \"$(findmnt -no TARGET -T /var/lib)")
        );
        assert!(remedy(io::ErrorKind::StorageFull, above).contains("du -ah /var/lib |"));
        assert_eq!(remedy(io::ErrorKind::NotFound, above), OTHER);
    }

    #[test]
    fn a_bound_that_is_advised_is_one_that_fits_and_that_the_command_takes() {
        let remedy = bounded(67_399_999_999, Path::new("/mnt/card"));
        assert!(remedy.starts_with("--keep-size 67399MB "), "{remedy}");
        assert_eq!(crate::cli::units::bytes("67399MB").ok(), Some(67_399_000_000));
        let remedy = bounded(99_999_999, Path::new("/mnt/card"));
        assert_eq!(remedy, "remove what is not needed: du -ah /mnt/card | sort -h | tail");
    }

    #[test]
    fn the_nearest_directory_above_is_the_one_that_is_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b")).unwrap(), folder.path());
        assert_eq!(existing(&folder.path().join("a.kinora")).unwrap(), folder.path());
        assert_eq!(existing(Path::new("no-such-directory")).unwrap(), Path::new("."));
        assert_eq!((wanted(Path::new("a.kinora")), wanted(Path::new("a"))), (Path::new("."), Path::new("a")));
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        assert_eq!(existing(&file.join("below")).unwrap_err(), file);
    }
}
