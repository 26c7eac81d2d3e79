//! The two programs of modlib's page, ours: recorded with `rec`, played with `play`.
//!
//! `cargo test` builds examples before it runs tests; a run of this test alone does not, and then says that it skips.
#![cfg(all(feature = "cli", feature = "jpeg"))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A built example beside the built command.
fn example(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_kinora")).parent()?.join("examples").join(name);
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var_os("KINORA_REQUIRE_EXAMPLES").is_some_and(|value| value == "1");
    assert!(!required, "{} is not built, and KINORA_REQUIRE_EXAMPLES=1 forbids skipping", path.display());
    eprintln!("skipped: {} is not built; run `cargo build --examples`", path.display());
    None
}

fn run(program: &Path, folder: &Path, arguments: &[&str]) -> Output {
    // Without a desktop: a test opens no window.
    let mut command = Command::new(program);
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").stdin(Stdio::null());
    command.current_dir(folder).args(arguments).output().unwrap()
}

#[test]
fn what_rec_records_play_plays() {
    let (Some(rec), Some(play)) = (example("rec"), example("play")) else { return };
    for (arguments, extension) in [
        (&["virtual:kind=poses,size=64x48,frames=5,fps=100"][..], "kinora"),
        (&["virtual:kind=poses,size=64x48,frames=5,fps=100", "--json"], "json"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = run(&rec, folder.path(), arguments);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        // A line for each frame, then the summary.
        assert_eq!(said.lines().filter(|line| line.starts_with('#')).count(), 5, "{said}");
        let files: Vec<_> = std::fs::read_dir(folder.path().join("temp/recordings")).unwrap().collect();
        assert_eq!(files.len(), 1);
        let file = files.into_iter().next().unwrap().unwrap().path();
        assert_eq!(file.extension().and_then(|text| text.to_str()), Some(extension));
        let output = run(&play, folder.path(), &[file.to_str().unwrap(), "max"]);
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.lines().filter(|line| line.contains("poses")).count(), 5, "{said}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("5 frames"));
    }
    assert_eq!(run(&play, Path::new("."), &[]).status.code(), Some(2));
}
