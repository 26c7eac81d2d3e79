//! Why a camera cannot be used, and what to do about it: for messages, and for whoever lists findings.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Something in the way of a camera's use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What it is.
    pub what: String,
    /// What to do about it; `None` where nothing can be done, as of a node that is no camera.
    pub remedy: Option<String>,
}

impl Obstacle {
    /// Something that cannot be mended.
    pub(super) fn lasting(what: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: None }
    }

    /// Something that can be mended.
    pub(super) fn mendable(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: Some(remedy.into()) }
    }
}

impl fmt::Display for Obstacle {
    /// What it is, and after a semicolon the remedy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        self.remedy.as_ref().map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

/// A node that this user may not open.
pub(super) fn not_permitted(node: &Path) -> Obstacle {
    let found = fs::metadata(node).ok().map(|found| (found.gid(), found.mode()));
    let group = match found {
        Some((gid, mode)) => Some(gid).filter(|&gid| gid != 0 && mode & 0o060 == 0o060).and_then(group_name),
        None => Some(CAMERA_GROUP.to_owned()),
    };
    let remedy = match group {
        Some(group) => {
            format!("cameras belong to the group {group}: run `sudo usermod -aG {group} $USER`, then log out and in")
        }
        None => format!(
            "no group may open it: run `sudo chgrp {CAMERA_GROUP} {0} && sudo chmod g+rw {0} && sudo usermod -aG \
             {CAMERA_GROUP} $USER`, then log out and in",
            node.display()
        ),
    };
    Obstacle::mendable("permission denied", remedy)
}

/// Whose nodes cameras usually are.
const CAMERA_GROUP: &str = "video";

fn group_name(gid: u32) -> Option<String> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_open_a_node_is_told_the_group_that_may() {
        let told = not_permitted(Path::new("/nonexistent/video7")).to_string();
        assert!(told.starts_with("permission denied; ") && told.contains("sudo usermod -aG video $USER"), "{told}");
        // Of a file that only its owner may open, no group is worth joining.
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = not_permitted(file.path()).to_string();
        assert!(told.contains(&format!("sudo chgrp video {}", file.path().display())), "{told}");
        assert_eq!(group_name(0).as_deref(), Some("root"));
        assert_eq!(group_name(u32::MAX - 1), None);
    }
}
