//! How a recording is to be made: every setting with its range and default, checked once in [`RecorderBuilder::create`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Recorder, series::Plan};
use crate::clock::SystemClock;
use crate::error::{Error, Result};
use crate::recording::names::{EXTENSION, Names, dated_stem};
use crate::recording::retention::{Limits, MIN_FREE_DEFAULT};
use crate::recording::store::Pages;
use crate::recording::{Directory, SyncPolicy, local};
use crate::source::SourceInfo;
use crate::time::{Clock, Span};

/// What is stored of a picture that comes as pixels. A picture that comes as JPEG is stored as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Compressed; needs feature `jpeg` where frames do not bring a JPEG along.
    #[default]
    Jpeg,
    /// The pixels, also where a JPEG comes with them.
    Raw,
    /// The JPEG where one comes with the frame, else the pixels: nothing is encoded here.
    AsItComes,
}

/// In which form the frames are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// `.kinora`: survives power cuts, seeks, has checksums and a ledger.
    #[default]
    Kinora,
    /// modlib's JSON lines, for its own `Playback`. Needs feature `modlib`. Losses and bookmarks have no place in it.
    ModlibJson,
}

impl Codec {
    /// The extension of such files.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Kinora => EXTENSION,
            Self::ModlibJson => "json",
        }
    }
}

/// Where a recording goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Out {
    /// A dated name in this directory, which is made.
    Directory(PathBuf),
    /// Exactly this file, which must not exist. Its directory is made too.
    File(PathBuf),
}

/// Settings of a [`Recorder`]. Made by [`Recorder::builder`].
#[derive(Clone)]
pub struct RecorderBuilder {
    out: Out,
    codec: Option<Codec>,
    pub(super) format: Format,
    pub(super) quality: u8,
    pub(super) sync: SyncPolicy,
    pub(super) split_size: Option<u64>,
    pub(super) split_time: Option<Span>,
    limits: Limits,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) source: Option<Box<SourceInfo>>,
    pub(super) id: Option<[u8; 16]>,
    pages: Option<Arc<dyn Pages>>,
    pub(super) one_file: bool,
}

/// Smallest accepted split and total sizes: a file with its header and index has to fit.
pub const SIZE_MIN: u64 = 1 << 20;

/// A recording that is to be kept under a total size is split at this share of it, unless told otherwise: what is being
/// written cannot be removed.
const KEEP_SHARE: u64 = 8;

impl Default for RecorderBuilder {
    fn default() -> Self {
        Self {
            out: Out::Directory("recordings".into()),
            codec: None,
            format: Format::default(),
            quality: 80,
            sync: SyncPolicy::Every(Span::from_s(1)),
            split_size: None,
            split_time: None,
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            source: None,
            id: None,
            pages: None,
            one_file: false,
        }
    }
}

impl RecorderBuilder {
    /// A dated name in `path`, which is made if it is missing (mode 0750). Default: `recordings`.
    #[must_use]
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.out = Out::Directory(path.into());
        self
    }

    /// Exactly this file (mode 0640). That it exists is an error.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.out = Out::File(path.into());
        self
    }

    /// A directory or a file, as the command's `--out`: a directory when there is one of that name or the name ends in a
    /// slash; else a file when it ends in `.kinora` or `.json`; else a directory.
    #[must_use]
    pub fn out(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let ends_as_file = path.extension().is_some_and(|extension| extension == EXTENSION || extension == "json");
        let slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if ends_as_file && !slash && !path.is_dir() { self.file(path) } else { self.directory(path) }
    }

    /// The form of the file. Default: modlib's JSON lines for a file that ends in `.json`, else `.kinora`.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    /// What is stored of pixels. Default: JPEG.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// JPEG quality, `1..=100`. Default 80 (4:2:0): a fifth of the bytes of modlib's 95 and hard to tell from it.
    #[must_use]
    pub fn quality(mut self, quality: u8) -> Self {
        self.quality = quality;
        self
    }

    /// When frames are put on the medium. Default: every second.
    #[must_use]
    pub fn sync(mut self, sync: SyncPolicy) -> Self {
        self.sync = sync;
        self
    }

    /// No file becomes larger than so many bytes, 1 MiB or more (a single frame that needs more is lost as too big).
    /// Default: no limit.
    #[must_use]
    pub fn split_size(mut self, bytes: u64) -> Self {
        self.split_size = Some(bytes);
        self
    }

    /// Where another file would follow, the recording ends: for who has one name for it.
    #[must_use]
    pub(crate) fn one_file(mut self) -> Self {
        self.one_file = true;
        self
    }

    /// A new file begins with the first frame so long after the first of the file. Default: never.
    #[must_use]
    pub fn split_time(mut self, span: Span) -> Self {
        self.split_time = Some(span);
        self
    }

    /// All our recordings in the directory, preallocated space included, stay under so many bytes: the oldest closed ones
    /// are removed. 1 MiB or more; default: nothing is removed. Without a split setting, the recording is split at an eighth.
    #[must_use]
    pub fn keep_size(mut self, bytes: u64) -> Self {
        self.limits.keep_size = Some(bytes);
        self
    }

    /// Locked recordings in the directory (`….locked.kinora`) are not removed for [`keep_size`](Self::keep_size) while they
    /// take no more than so many percent of it together, `0..=100`. Default 30.
    #[must_use]
    pub fn locked_share(mut self, percent: u8) -> Self {
        self.limits.locked_percent = percent;
        self
    }

    /// So many bytes stay free on the disk: default 100 MB, 0 for none.
    #[must_use]
    pub fn min_free(mut self, bytes: u64) -> Self {
        self.limits.min_free = bytes;
        self
    }

    /// The clock that frames are stamped by. Default: the system's. Under a manual clock the same frames give the same file,
    /// byte for byte: nothing then happens on other threads, and the file's id follows from source and clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What the frames will be like: the file is then made by [`create`](Self::create) and its memory sized for it. Without
    /// it, both happen with the first frame.
    #[must_use]
    pub fn source(mut self, source: &SourceInfo) -> Self {
        self.source = Some(Box::new(source.clone()));
        self
    }

    /// The file's unique id. Default: random (from source and clock under a manual clock).
    #[must_use]
    pub fn id(mut self, id: [u8; 16]) -> Self {
        self.id = Some(id);
        self
    }

    /// Writes to these pages instead of files, in our own format: for simulations of disks that fail.
    #[doc(hidden)]
    #[must_use]
    pub fn pages(mut self, pages: Arc<dyn Pages>) -> Self {
        self.pages = Some(pages);
        self
    }

    /// Checks the settings, makes the directory, and cuts the unused end off recordings there whose writer died.
    ///
    /// # Errors
    /// A setting is out of its range (with the range), the file exists, or the directory cannot be made or written.
    pub fn create(self) -> Result<Recorder> {
        self.check()?;
        let codec = self.codec_of_file()?;
        let names = self.names(codec)?;
        let path = names.directory().to_path_buf();
        let doing = || format!("cannot make the directory {}", path.display());
        let directory = Directory::create(&path).map_err(Error::io(doing()))?;
        let writable = rustix::fs::access(&path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
        writable.map_err(|errno| Error::io(format!("cannot record into {}", path.display()))(errno.into()))?;
        if matches!(self.out, Out::Directory(_)) {
            // Best effort: what cannot be trimmed only takes space.
            let _ = directory.trim_abandoned();
        } else if names.part(0).symlink_metadata().is_ok() {
            return Err(exists(&names.part(0)));
        }
        let exact = matches!(self.out, Out::File(_));
        let plan = Plan {
            names,
            exact,
            codec,
            limits: self.limits,
            directory: Arc::new(directory),
            pages: self.pages.clone(),
        };
        Recorder::begin_with(self, plan)
    }

    fn check(&self) -> Result<()> {
        let too_small = |what: &str, bytes: u64| {
            Error::Setting(format!("{what} is {bytes} bytes; it has to be at least {SIZE_MIN} (1 MiB)"))
        };
        if !(1..=100).contains(&self.quality) {
            return Err(Error::Setting(format!("JPEG quality is {}; it has to be 1 to 100", self.quality)));
        }
        if let Some(bytes) = self.split_size.filter(|&bytes| bytes < SIZE_MIN) {
            return Err(too_small("split size", bytes));
        }
        if let Some(bytes) = self.limits.keep_size.filter(|&bytes| bytes < SIZE_MIN) {
            return Err(too_small("keep size", bytes));
        }
        if self.limits.locked_percent > 100 {
            return Err(Error::Setting(format!(
                "locked share is {} %; it has to be 0 to 100",
                self.limits.locked_percent
            )));
        }
        if self.split_time.is_some_and(|span| span <= Span::ZERO) {
            return Err(Error::Setting("split time has to be longer than nothing".into()));
        }
        match (self.split_size, self.limits.keep_size) {
            (Some(split), Some(keep)) if split > keep => {
                Err(Error::Setting(format!("split size ({split} bytes) is larger than keep size ({keep} bytes)")))
            }
            _ => Ok(()),
        }
    }

    fn check_codec(&self, codec: Codec) -> Result<()> {
        match (codec, self.format) {
            (Codec::ModlibJson, Format::Raw) => {
                Err(Error::Setting("modlib's JSON holds JPEG pictures: record raw ones as .kinora".into()))
            }
            (Codec::ModlibJson, _) if !cfg!(feature = "modlib") => {
                Err(Error::Setting("this build writes no modlib JSON (build with feature `modlib`)".into()))
            }
            _ => Ok(()),
        }
    }

    fn codec_of_file(&self) -> Result<Codec> {
        let json = |path: &Path| path.extension().is_some_and(|extension| extension == "json");
        let codec = match (&self.codec, &self.out) {
            (Some(codec), _) => *codec,
            (None, Out::File(path)) if json(path) => Codec::ModlibJson,
            _ => Codec::Kinora,
        };
        self.check_codec(codec).map(|()| codec)
    }

    fn names(&self, codec: Codec) -> Result<Names> {
        match &self.out {
            Out::Directory(path) => {
                let stem = dated_stem(local::civil_time(self.clock.pair().wall));
                Ok(Names::new(path, stem, codec.extension()))
            }
            Out::File(path) => Names::of_file(path)
                .ok_or_else(|| Error::Setting(format!("{} is not the name of a file", path.display()))),
        }
    }

    /// Bytes at which a file ends.
    pub(super) fn file_bytes_max(&self) -> Option<u64> {
        let share = self.limits.keep_size.filter(|_| self.split_time.is_none());
        self.split_size.or(share.map(|bytes| (bytes / KEEP_SHARE).max(SIZE_MIN)))
    }

    /// True when nothing may happen on other threads.
    pub(super) fn is_stepped(&self) -> bool {
        self.clock.is_manual()
    }
}

pub(super) fn exists(path: &Path) -> Error {
    Error::Io {
        doing: format!("{} exists and is not overwritten; choose another name", path.display()),
        error: std::io::ErrorKind::AlreadyExists.into(),
    }
}

const _: () = assert!(MIN_FREE_DEFAULT == 100_000_000, "the text above and the command's help say 100 MB");
