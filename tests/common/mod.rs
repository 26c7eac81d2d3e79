//! What several integration tests need.

use std::path::PathBuf;

/// A folder of the project's shared reference data: `$KINORA_SHARED/name`, else `../shared/name` beside the crate.
///
/// `None`, with a line that says so, when it is not there: a clone elsewhere has only the code. With
/// `KINORA_REQUIRE_SHARED=1` its absence is a failure instead.
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("KINORA_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var_os("KINORA_REQUIRE_SHARED").is_none_or(|value| value != "1"),
        "{} is not there, and KINORA_REQUIRE_SHARED=1 forbids skipping",
        path.display()
    );
    eprintln!("skipped: {} is not there", path.display());
    None
}
