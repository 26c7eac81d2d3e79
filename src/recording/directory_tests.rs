//! Tests of the directory with a toy anatomy: a file is ours when it begins with `R`, closed when it ends with `C`, and its
//! records end one byte behind the last that is not zero.

use super::*;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::time::{Duration, UNIX_EPOCH};

#[derive(Clone, Copy)]
pub struct Toy;

impl Anatomy for Toy {
    fn standing(&self, file: &File, len: u64) -> io::Result<Standing> {
        let mut byte = [0];
        if len == 0 || file.read_at(&mut byte, 0)? == 0 || byte != *b"R" {
            return Ok(Standing::Foreign);
        }
        file.read_exact_at(&mut byte, len - 1)?;
        Ok(if byte == *b"C" { Standing::Closed } else { Standing::Unclosed })
    }

    fn record_end(&self, _: &File, data_end: u64, len: u64) -> io::Result<u64> {
        Ok((data_end + 1).min(len))
    }
}

pub fn put(directory: &Path, name: &str, bytes: &[u8], age_s: u64) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    let modified = UNIX_EPOCH + Duration::from_secs(1_000_000 + age_s);
    File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    path
}

fn names(scan: &Scan) -> Vec<&str> {
    scan.oldest.iter().map(|entry| entry.name.to_str().unwrap()).collect()
}

#[test]
fn missing_parents_are_made_for_owner_and_group_only() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("a/b/c");
    Directory::create_with(&path, Toy).unwrap();
    for made in ["a", "a/b", "a/b/c"] {
        let mode = top.path().join(made).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o027, 0, "{made}: {mode:o}");
        assert_eq!(mode & 0o700, 0o700);
    }
    Directory::create_with(&path, Toy).unwrap();
    std::fs::write(top.path().join("file"), b"").unwrap();
    assert_eq!(
        Directory::create_with(&top.path().join("file"), Toy).err().unwrap().kind(),
        io::ErrorKind::NotADirectory
    );
    assert!(Directory::create_with(&top.path().join("file/below"), Toy).is_err());
}

#[test]
fn the_oldest_closed_come_first_then_the_abandoned_and_foreign_files_never() {
    let top = tempfile::tempdir().unwrap();
    put(top.path(), "new.kinora", b"R.C", 30);
    put(top.path(), "old.kinora", b"R.C", 10);
    put(top.path(), "same_2.kinora", b"R.C", 20);
    put(top.path(), "same_0001.kinora", b"R.C", 20);
    put(top.path(), "crashed.kinora", b"R.", 1);
    put(top.path(), "foreign.kinora", b"x.C", 0);
    put(top.path(), "empty.kinora", b"", 0);
    put(top.path(), "other.json", b"R.C", 0);
    let directory = Directory::open_with(top.path(), Toy).unwrap();
    let scan = directory.scan().unwrap();
    assert_eq!(names(&scan), ["old.kinora", "same_0001.kinora", "same_2.kinora", "new.kinora", "crashed.kinora"]);
    assert!(!scan.more && scan.bytes >= 5 * 512);
    assert_eq!(directory.newest().unwrap(), Some(top.path().join("new.kinora")));
}

#[test]
fn links_fifos_directories_and_dangling_names_are_passed_over() {
    let (top, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = put(outside.path(), "precious.kinora", b"R.C", 0);
    symlink(&target, top.path().join("link.kinora")).unwrap();
    symlink("nowhere", top.path().join("dangling.kinora")).unwrap();
    std::fs::create_dir(top.path().join("directory.kinora")).unwrap();
    let fifo = top.path().join("fifo.kinora");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let directory = Directory::open_with(top.path(), Toy).unwrap();
    assert!(directory.scan().unwrap().oldest.is_empty());
    assert_eq!(directory.newest().unwrap(), None);
    assert_eq!(directory.trim_abandoned().unwrap(), Trimmed::default());
    assert!(target.exists());
}

#[test]
fn a_recording_that_somebody_writes_is_neither_removed_nor_trimmed() {
    let top = tempfile::tempdir().unwrap();
    let path = put(top.path(), "a.kinora", b"R.\0\0\0\0", 0);
    let writer = File::options().write(true).open(&path).unwrap();
    assert!(hold(&writer).unwrap());
    let directory = Directory::open_with(top.path(), Toy).unwrap();
    let scan = directory.scan().unwrap();
    assert_eq!(directory.remove(&scan.oldest[0]), Removal::Kept);
    assert_eq!(directory.trim_abandoned().unwrap().files, 0);
    drop(writer);
    assert_eq!(directory.trim_abandoned().unwrap(), Trimmed { files: 1, bytes: 3 });
    assert_eq!(directory.remove(&scan.oldest[0]), Removal::Removed);
    assert!(!path.exists());
}

#[test]
fn a_name_that_another_file_took_meanwhile_is_not_removed() {
    let top = tempfile::tempdir().unwrap();
    let path = put(top.path(), "a.kinora", b"R.C", 0);
    let directory = Directory::open_with(top.path(), Toy).unwrap();
    let scan = directory.scan().unwrap();
    let other = put(top.path(), "b.kinora", b"R.C", 0);
    std::fs::rename(&other, &path).unwrap();
    assert_eq!(directory.remove(&scan.oldest[0]), Removal::Kept);
    assert!(path.exists());
}

#[test]
fn trimming_cuts_only_zeros_behind_the_last_record_and_keeps_the_age() {
    let top = tempfile::tempdir().unwrap();
    let zeros = [b"R.".as_slice(), &[0; 200_000]].concat();
    let torn = [b"R.".as_slice(), &[0; 70_000], b"torn", &[0; 70_000]].concat();
    let (a, b) = (put(top.path(), "a.kinora", &zeros, 5), put(top.path(), "b.kinora", &torn, 6));
    put(top.path(), "c.kinora", b"R.\0\0C", 7);
    File::options().write(true).open(&a).unwrap().set_len(64 << 20).unwrap();
    let modified = UNIX_EPOCH + Duration::from_secs(1_000_005);
    File::options().write(true).open(&a).unwrap().set_modified(modified).unwrap();
    let directory = Directory::open_with(top.path(), Toy).unwrap();
    assert_eq!(directory.trim_abandoned().unwrap().files, 2);
    assert_eq!(std::fs::read(&a).unwrap(), b"R.\0", "the zero that belongs to the record stays");
    assert_eq!(std::fs::read(&b).unwrap(), torn[..torn.len() - 69_999]);
    assert_eq!(a.metadata().unwrap().modified().unwrap(), modified);
    assert_eq!(directory.trim_abandoned().unwrap().files, 0, "nothing is left to trim");
}

#[test]
fn a_scan_of_many_lists_the_oldest_and_says_that_there_are_more() {
    let top = tempfile::tempdir().unwrap();
    for i in 0..LISTED_MAX as u64 + 3 {
        put(top.path(), &format!("r_{i:04}.kinora"), b"R.C", 10_000 - i);
    }
    put(top.path(), "crashed.kinora", b"R.", 0);
    let scan = Directory::open_with(top.path(), Toy).unwrap().scan().unwrap();
    assert_eq!((scan.oldest.len(), scan.more), (LISTED_MAX, true));
    assert_eq!(scan.oldest[0].name.to_str().unwrap(), format!("r_{:04}.kinora", LISTED_MAX + 2));
    assert!(scan.oldest.iter().all(|entry| entry.closed), "abandoned ones wait until all closed ones are listed");
}
