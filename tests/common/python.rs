//! The Python environment with Sony's modlib, and how programs run in it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python that has modlib, or `None` with a line that says so.
pub fn python() -> Option<PathBuf> {
    let required = std::env::var_os("KINORA_REQUIRE_MODLIB").is_some_and(|value| value == "1");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/modlib-venv");
    let mut command = Command::new(script);
    if !required {
        command.arg("--existing");
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        assert!(!required, "KINORA_REQUIRE_MODLIB=1 forbids skipping: {said}");
        eprintln!("skipped: {said}");
        return None;
    }
    let path = String::from_utf8(output.stdout).unwrap();
    Some(path.lines().last().unwrap().into())
}

/// Runs a Python program and returns what it printed; fails when it fails.
pub fn run(python: &Path, program: &Path, arguments: &[&Path]) -> String {
    let output = Command::new(python).arg(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments:?}: {text}", program.display());
    text
}
