//! Network packages as files: opening one, and finding one by its name.
//!
//! Names are those of the files without `imx500_network_` and `.rpk`; a part from the start is enough when only one has it.

use std::collections::HashSet;
use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::imx500::{IntrinsicsError, Network, Package, PackageError};

/// Largest package that is read; the largest public one has 6 MB.
const PACKAGE_BYTES_MAX: u64 = 64 << 20;
/// Where Raspberry Pi's `imx500-models` puts packages.
const SYSTEM_FOLDER: &str = "/usr/share/imx500-models";
/// What the files' names have before the network's.
const FILE_PREFIX: &str = "imx500_network_";

/// Why a network cannot be used. The message ends with the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        error: io::Error,
    },
    /// The file is larger than any package.
    #[error("{path}: more than {PACKAGE_BYTES_MAX} bytes; no network package has so many")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is no good package.
    #[error("{path}: {error}")]
    Package {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: PackageError,
    },
    /// What the package says of its network cannot be read.
    #[error("{path}: {error}")]
    Intrinsics {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: IntrinsicsError,
    },
    /// No network has this name.
    #[error("no network {name}; looked in {}; sudo apt install imx500-all, or give a FILE.rpk", folders(.looked_in))]
    Unknown {
        /// The name.
        name: String,
        /// Where it was looked for.
        looked_in: Vec<PathBuf>,
    },
    /// Several networks begin with this name.
    #[error("`{name}` may be {}; say which", names(.found))]
    Ambiguous {
        /// The name.
        name: String,
        /// The packages.
        found: Vec<PathBuf>,
    },
}

impl Network {
    /// Reads the package `path` (`FILE.rpk`).
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NetworkError> {
        let path = path.as_ref();
        let failed = |error| NetworkError::Io { path: path.to_path_buf(), error };
        let mut file = Vec::new();
        // Never more than a byte too much, whatever the path is: a device has no size, and may never end.
        File::open(path).and_then(|open| open.take(PACKAGE_BYTES_MAX + 1).read_to_end(&mut file)).map_err(failed)?;
        if file.len() as u64 > PACKAGE_BYTES_MAX {
            return Err(NetworkError::TooLarge { path: path.to_path_buf() });
        }
        let package =
            Package::parse(&file).map_err(|error| NetworkError::Package { path: path.to_path_buf(), error })?;
        let network = Self::new(&name_of(path), &package)
            .map_err(|error| NetworkError::Intrinsics { path: path.to_path_buf(), error })?;
        Ok(network.with_path(path.to_path_buf()))
    }

    /// Reads a package by path or by name: see [`find`].
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn open_named(name: &str) -> Result<Self, NetworkError> {
        Self::open(find(name)?)
    }
}

/// The package that `name` means: a path when it ends in `.rpk` or names a folder on the way, else the one [`installed`]
/// network whose name it is, or begins. `imx500_network_` in front, as the files have it, may stay.
///
/// # Errors
/// There is none, or several begin with it.
pub fn find(name: &str) -> Result<PathBuf, NetworkError> {
    let path = Path::new(name);
    if path.extension() == Some(OsStr::new("rpk")) || path.components().count() > 1 {
        return Ok(path.to_path_buf());
    }
    find_in(name, &search_folders())
}

/// Folders that are searched for networks: those of `KINORA_NETWORKS` (separated by `:`), `/usr/share/imx500-models`,
/// `~/.modlib/zoo`.
pub fn search_folders() -> Vec<PathBuf> {
    let named = env::var_os("KINORA_NETWORKS").unwrap_or_default();
    let own = env::split_paths(&named).filter(|folder| !folder.as_os_str().is_empty());
    let home = env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(".modlib/zoo"));
    own.chain([PathBuf::from(SYSTEM_FOLDER)]).chain(home).collect()
}

/// The packages in the [`search_folders`], sorted within each. Of several with one name the first is the network of that name;
/// a folder that cannot be read has none.
pub fn installed() -> Vec<PathBuf> {
    installed_in(&search_folders())
}

fn installed_in(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    let all = folders.iter().flat_map(|folder| packages(folder));
    all.filter(|path| seen.insert(name_of(path))).collect()
}

fn find_in(name: &str, folders: &[PathBuf]) -> Result<PathBuf, NetworkError> {
    let part = name.strip_prefix(FILE_PREFIX).unwrap_or(name);
    let mut found = installed_in(folders);
    found.retain(|path| name_of(path).starts_with(part));
    if let Some(exact) = found.iter().position(|path| name_of(path) == part) {
        return Ok(found.swap_remove(exact));
    }
    match found.len() {
        0 => Err(NetworkError::Unknown { name: name.to_string(), looked_in: folders.to_vec() }),
        1 => Ok(found.remove(0)),
        _ => Err(NetworkError::Ambiguous { name: name.to_string(), found }),
    }
}

/// The packages of one folder, sorted.
fn packages(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.extension() == Some(OsStr::new("rpk"))).collect();
    paths.sort();
    paths
}

/// The name of the network in a file: `posenet` of `imx500_network_posenet.rpk`.
pub fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.strip_prefix(FILE_PREFIX).unwrap_or(&stem).to_string()
}

fn folders(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn names(paths: &[PathBuf]) -> String {
    let mut text = String::new();
    for (i, path) in paths.iter().enumerate() {
        let mark = if i == 0 { "" } else { ", " };
        // A string takes everything.
        let _ = write!(text, "{mark}{}", name_of(path));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_one_file_and_ambiguity_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let (own, system) = (folder.path().join("own"), folder.path().join("system"));
        for (folder, name) in [
            (&own, "imx500_network_mobilenet_v2.rpk"),
            (&own, "imx500_network_mobilenet_v2_b.rpk"),
            (&own, "mine.rpk"),
            (&own, "notes.txt"),
            (&system, "imx500_network_posenet.rpk"),
            (&system, "imx500_network_mobilevit_xs.rpk"),
        ] {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join(name), b"").unwrap();
        }
        let folders = [own.clone(), system.clone(), folder.path().join("absent")];
        let found = |name: &str| find_in(name, &folders);
        assert_eq!(found("mobilenet_v2").unwrap(), own.join("imx500_network_mobilenet_v2.rpk"));
        assert_eq!(found("mi").unwrap(), own.join("mine.rpk"));
        assert_eq!(found("imx500_network_pose").unwrap(), system.join("imx500_network_posenet.rpk"));
        let error = found("mobile").unwrap_err().to_string();
        assert_eq!(error, "`mobile` may be mobilenet_v2, mobilenet_v2_b, mobilevit_xs; say which");
        assert!(found("").unwrap_err().to_string().starts_with("`` may be "));
        // A whole name is never taken for the beginning of another, wherever both are; the first folder's file has it.
        for name in ["imx500_network_posenet_mine.rpk", "imx500_network_posenet.rpk"] {
            assert_eq!(found("posenet").unwrap(), system.join("imx500_network_posenet.rpk"));
            fs::write(own.join(name), b"").unwrap();
        }
        assert_eq!(found("posenet").unwrap(), own.join("imx500_network_posenet.rpk"));
        let names: Vec<_> = installed_in(&folders).iter().map(|path| name_of(path)).collect();
        assert_eq!(names, ["mobilenet_v2", "mobilenet_v2_b", "posenet", "posenet_mine", "mine", "mobilevit_xs"]);
        let error = found("notes").unwrap_err().to_string();
        assert!(error.contains("no network notes") && error.ends_with("or give a FILE.rpk"), "{error}");
    }

    #[test]
    fn what_ends_in_rpk_or_has_a_folder_is_a_path() {
        assert_eq!(find("my.rpk").unwrap(), Path::new("my.rpk"));
        assert_eq!(find("./posenet").unwrap(), Path::new("./posenet"));
    }

    #[test]
    fn a_file_that_is_no_package_says_so_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.rpk");
        fs::write(&path, b"PK").unwrap();
        let error = Network::open(&path).unwrap_err().to_string();
        assert!(error.contains("broken.rpk: ") && error.contains("no IMX500 network package"), "{error}");
        let error = Network::open("/dev/zero").unwrap_err().to_string();
        assert!(error.contains("/dev/zero: more than "), "{error}");
        let error = Network::open(folder.path().join("absent.rpk")).unwrap_err().to_string();
        assert!(error.contains("absent.rpk: "), "{error}");
    }
}
