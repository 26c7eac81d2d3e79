//! Network packages as files: opening one, and finding one by its name.
//!
//! Names are those of the files without `imx500_network_` and `.rpk`; a part from the start is enough when only one has it.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::imx500::{IntrinsicsError, Network, Package, PackageError};

/// Largest package that is read; the largest public one has 6 MB.
const PACKAGE_BYTES_MAX: u64 = 64 << 20;
/// Where Raspberry Pi's `imx500-models` puts packages.
const SYSTEM_FOLDER: &str = "/usr/share/imx500-models";

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
    #[error("{path}: {bytes} bytes; a network package has at most {PACKAGE_BYTES_MAX}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
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
    #[error("{name} may be {}; say which", names(.found))]
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
        let bytes = fs::metadata(path).map_err(failed)?.len();
        if bytes > PACKAGE_BYTES_MAX {
            return Err(NetworkError::TooLarge { path: path.to_path_buf(), bytes });
        }
        let file = fs::read(path).map_err(failed)?;
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

/// The package that `name` means: a path when it ends in `.rpk` or names a folder on the way, else the network whose name it
/// is or begins, in the first of the [`search_folders`] that has one.
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
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".modlib/zoo"));
    own.chain([PathBuf::from(SYSTEM_FOLDER)]).chain(home).collect()
}

/// Every package in the [`search_folders`], sorted within each; a folder that cannot be read has none.
pub fn installed() -> Vec<PathBuf> {
    search_folders().iter().flat_map(|folder| packages(folder)).collect()
}

fn find_in(name: &str, folders: &[PathBuf]) -> Result<PathBuf, NetworkError> {
    for folder in folders {
        let mut found = packages(folder);
        found.retain(|path| name_of(path).starts_with(name));
        if let Some(exact) = found.iter().position(|path| name_of(path) == name) {
            return Ok(found.swap_remove(exact));
        }
        match found.len() {
            0 => {}
            1 => return Ok(found.remove(0)),
            _ => return Err(NetworkError::Ambiguous { name: name.to_string(), found }),
        }
    }
    Err(NetworkError::Unknown { name: name.to_string(), looked_in: folders.to_vec() })
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
    stem.strip_prefix("imx500_network_").unwrap_or(&stem).to_string()
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
        assert_eq!(found("pose").unwrap(), system.join("imx500_network_posenet.rpk"));
        let error = found("mobile").unwrap_err().to_string();
        assert_eq!(error, "mobile may be mobilenet_v2, mobilenet_v2_b; say which");
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
        let error = Network::open(folder.path().join("absent.rpk")).unwrap_err().to_string();
        assert!(error.contains("absent.rpk: "), "{error}");
    }
}
