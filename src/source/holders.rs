//! The programs that have a device open, as far as `/proc` shows them to us.

use std::path::{Path, PathBuf};

/// A program that has a device open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub process: u32,
    /// Its name, at most 15 bytes as the kernel keeps it.
    pub name: String,
}

/// The other programs that have one of `paths` open. Those of other users show only to root.
pub fn holders(paths: &[&Path]) -> Vec<Holder> {
    // Links such as /dev/v4l/by-id/… lead to the node that processes have open.
    let paths: Vec<PathBuf> =
        paths.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf())).collect();
    let own = std::process::id();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let process = entry.file_name().into_string().ok()?.parse::<u32>().ok()?;
            let open = std::fs::read_dir(entry.path().join("fd")).ok()?.flatten();
            let mut targets = open.filter_map(|fd| std::fs::read_link(fd.path()).ok());
            let holds = targets.any(|target| paths.contains(&target));
            // We have it open ourselves when we are refused; only a second use in this process would count.
            (holds && process != own).then(|| {
                let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                Holder { process, name: name.trim().to_owned() }
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_holds_a_file_is_found_unless_it_is_this_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(holders(&[file.path()]), []);
        let input = std::fs::File::open(file.path()).unwrap();
        let mut other = std::process::Command::new("sleep").arg("60").stdin(input).spawn().unwrap();
        let told = holders(&[Path::new("/nowhere"), file.path()]);
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(told.iter().any(|holder| holder.process == other.id()), "{told:?}");
    }
}
