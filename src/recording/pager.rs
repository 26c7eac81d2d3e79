//! Grows a recording, prefaults its pages and syncs them: all that may take long, so that appending does not. It runs in a
//! thread of its own, or inside the append when times must not depend on threads.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate, fstatfs, ftruncate};
use rustix::io::Errno;
use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};

use super::format::{Geometry, round_up};
use super::room::Room;
use super::settings::STEPS_MAPPED_MAX;
use super::store::StoreError;
use crate::sys::map::{Lease, StepMap};

/// Bytes prefaulted between two looks at the commands.
const PREFAULT_CHUNK_BYTES: u64 = 256 << 10;
/// No machine has smaller pages.
const PAGE_BYTES_MIN: u64 = 4096;
/// Bytes ahead that are looked at again, at least and at most: the kernel may have written prefaulted pages back since (many
/// dirty pages on the machine), and the next write to such a page faults again.
const NEAR_BYTES: std::ops::RangeInclusive<u64> = 256 << 10..=4 << 20;
/// So many times as much as was appended since the last look is looked at again.
const NEAR_LOOKS: u64 = 4;
/// Bytes written at a time where nothing can be allocated ahead.
const ZEROS_BYTES: usize = 256 << 10;
/// `statfs` type of vfat, from `linux/magic.h`.
const MSDOS_SUPER_MAGIC: i64 = 0x4d44;
/// Largest file on vfat.
const VFAT_FILE_BYTES_MAX: u64 = u32::MAX as u64;

/// What the appender asks for.
#[derive(Debug)]
pub enum Command {
    /// Allocate a step up to `least` or further, and lend it.
    Open { step: u64, least: u64 },
    /// Allocate more of a step that is lent.
    Extend { step: u64, least: u64 },
    /// A step is full.
    Retire { step: u64, lease: Lease },
    /// Sync everything before `to`.
    Sync { to: u64 },
    /// Cut the file off and sync it.
    Close { end: u64 },
}

/// What it gets.
#[derive(Debug)]
pub enum Answer {
    /// A step, allocated up to `usable`.
    Opened { step: u64, usable: u64, lease: Lease },
    /// A step that is lent is now allocated up to `usable`.
    Extended { step: u64, usable: u64 },
    /// The file cannot grow now.
    NoGrowth(StoreError),
    /// Everything before `to` is on the medium.
    Synced { to: u64 },
    /// A sync failed, or something else that cannot be put right.
    Failed(StoreError),
    /// The file is cut off and on the medium.
    Closed,
}

/// Pages of one step.
struct Part<'a> {
    map: &'a StepMap,
    /// Where the step begins.
    start: u64,
    from: u64,
    to: u64,
}

struct Mapped {
    step: u64,
    map: StepMap,
    retired: bool,
}

/// The file under a recording that is being written.
pub struct Pager {
    file: File,
    /// It had a name when it was made; some file systems do not say.
    is_named: bool,
    room: Box<dyn Room>,
    step_bytes: u64,
    page_bytes: u64,
    prefault_bytes: u64,
    /// Largest size that the file can have.
    limit: u64,
    /// Nothing can be allocated ahead here: zeros are written instead.
    writes_zeros: bool,
    grown: u64,
    synced: u64,
    prefaulted: u64,
    /// Where the last look ahead began.
    looked_at: u64,
    /// A step was unmapped before it was synced.
    unmapped_dirty: bool,
    maps: heapless::Vec<Mapped, STEPS_MAPPED_MAX>,
}

fn io_error(doing: &'static str) -> impl Fn(std::io::Error) -> StoreError {
    move |error| StoreError::Io { doing, errno: error.raw_os_error().unwrap_or(0) }
}

fn sync_error(error: std::io::Error) -> StoreError {
    StoreError::Sync { errno: error.raw_os_error().unwrap_or(0) }
}

impl Pager {
    /// `file`: holds the front and nothing else.
    pub fn new(file: File, geometry: &Geometry, prefault_bytes: u64, room: Box<dyn Room>) -> Self {
        let limit = size_limit(&file);
        // What is read is one page each time; more would come in folios of up to 2 MiB, which a sync write-protects as a whole.
        let _ = fadvise(&file, 0, None, Advice::Random);
        let is_named = file.metadata().is_ok_and(|metadata| metadata.nlink() > 0);
        Self {
            file,
            is_named,
            room,
            step_bytes: geometry.step_bytes,
            page_bytes: geometry.page_bytes.into(),
            prefault_bytes,
            limit,
            writes_zeros: false,
            grown: 0,
            synced: 0,
            prefaulted: 0,
            looked_at: 0,
            unmapped_dirty: false,
            maps: heapless::Vec::new(),
        }
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where prefaulted pages end.
    pub fn prefaulted(&self) -> u64 {
        self.prefaulted
    }

    /// Does what the appender asked for.
    pub fn run(&mut self, command: Command) -> Option<Answer> {
        let no_growth = |error| match error {
            // It tells of pages written before as well, and only once: growing again must not make it good.
            StoreError::Sync { .. } => Answer::Failed(error),
            _ => Answer::NoGrowth(error),
        };
        Some(match command {
            Command::Open { step, least } => match self.open(step, least) {
                Ok((usable, lease)) => Answer::Opened { step, usable, lease },
                Err(error) => no_growth(error),
            },
            Command::Extend { step, least } => match self.extend(step, least) {
                Ok(usable) => Answer::Extended { step, usable },
                Err(error) => no_growth(error),
            },
            Command::Retire { step, lease } => {
                self.retire(step, lease);
                return None;
            }
            Command::Sync { to } => match self.sync(to) {
                Ok(()) => Answer::Synced { to },
                Err(error) => Answer::Failed(error),
            },
            Command::Close { end } => match self.close(end) {
                Ok(()) => Answer::Closed,
                Err(error) => Answer::Failed(error),
            },
        })
    }

    /// Makes what is needed soonest ready again, if the kernel took it back. To be called a hundred times a second: pages that
    /// are ready cost some 50 ns each.
    ///
    /// # Errors
    /// [`StoreError::MapLost`]: the disk does not give a page back; an append that met it would end in a signal.
    pub fn look_again(&mut self, position: u64) -> Result<(), StoreError> {
        let appended = position.saturating_sub(self.looked_at);
        self.looked_at = position;
        let near = (appended * NEAR_LOOKS).clamp(*NEAR_BYTES.start(), *NEAR_BYTES.end()).min(self.prefault_bytes);
        let until = (position + near).min(self.prefaulted);
        let mut from = position;
        while let Some(part) = self.part(from, until) {
            self.read_back(&part)?;
            self.populate(&part);
            from = part.to;
        }
        Ok(())
    }

    /// Prefaults some more when less than asked for is ready beyond `position`. True when there is more to do.
    pub fn prefault(&mut self, position: u64) -> bool {
        let until = (position + self.prefault_bytes).min(self.grown);
        let Some(part) = self.part(self.prefaulted.max(position), until) else { return false };
        // Nothing was ever written there, so nothing is read.
        self.populate(&part);
        let to = part.to;
        self.prefaulted = to;
        to < until
    }

    /// The first pages of `from..until`, all of one step; `None` when there is none.
    fn part(&self, from: u64, until: u64) -> Option<Part<'_>> {
        let from = from & !(self.page_bytes - 1);
        if from >= until {
            return None;
        }
        let step = from / self.step_bytes;
        let start = step * self.step_bytes;
        let to = until.min(from + PREFAULT_CHUNK_BYTES).min(start + self.step_bytes);
        let to = round_up(to, self.page_bytes).min(self.grown);
        let map = &self.maps.iter().find(|mapped| mapped.step == step)?.map;
        Some(Part { map, start, from, to })
    }

    /// Makes pages present and writable.
    fn populate(&self, part: &Part<'_>) {
        let Part { map, start, from, to } = *part;
        if map.populate((from - start) as usize, (to - start) as usize).is_err() {
            // Before Linux 5.14: reading puts the pages into the cache; the append then only maps them.
            for page in (from..to).step_by(self.page_bytes as usize) {
                let _ = self.file.read_at(&mut [0], page);
            }
        }
    }

    /// Reads pages that were ready once and are no longer in memory. Before Linux 6.9 populating a page that the disk does
    /// not give back tries for ever (mm/madvise: "make MADV_POPULATE_(READ|WRITE) handle VM_FAULT_RETRY properly").
    fn read_back(&self, part: &Part<'_>) -> Result<(), StoreError> {
        let Part { map, start, from, to } = *part;
        let mut there = [0; (PREFAULT_CHUNK_BYTES / PAGE_BYTES_MIN) as usize];
        if map.residency((from - start) as usize, (to - start) as usize, &mut there).is_err() {
            return Ok(());
        }
        let pages = (from..to).step_by(page_size()).zip(there);
        for (page, _) in pages.filter(|(_, there)| there & 1 == 0) {
            while let Err(error) = self.file.read_at(&mut [0], page) {
                if error.kind() != std::io::ErrorKind::Interrupted {
                    return Err(StoreError::MapLost);
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, step: u64, least: u64) -> Result<(u64, Lease), StoreError> {
        if self.maps.is_full() {
            self.forget_oldest();
        }
        let usable = self.grow(step, least)?;
        let len = self.step_bytes as usize;
        let mut map = StepMap::new(&self.file, step * self.step_bytes, len).map_err(io_error("map the recording"))?;
        self.make_growth_durable(&map)?;
        let lease = map.lend();
        let _ = self.maps.push(Mapped { step, map, retired: false });
        Ok((usable, lease))
    }

    fn extend(&mut self, step: u64, least: u64) -> Result<u64, StoreError> {
        let usable = self.grow(step, least)?;
        if let Some(mapped) = self.maps.iter().find(|mapped| mapped.step == step) {
            self.make_growth_durable(&mapped.map)?;
        }
        Ok(usable)
    }

    /// Size and block map on the medium before anything points there. The first page of the step is clean or committed, so this
    /// writes no prefaulted page.
    fn make_growth_durable(&self, map: &StepMap) -> Result<(), StoreError> {
        if self.writes_zeros { self.file.sync_data() } else { map.sync(0, 1) }.map_err(sync_error)
    }

    /// Allocates up to the end of `step` if there is room, at least up to `least`, and returns how far.
    fn grow(&mut self, step: u64, least: u64) -> Result<u64, StoreError> {
        let least = round_up(least, self.page_bytes);
        if self.grown >= least {
            return Ok(self.grown);
        }
        let from = self.grown;
        let end = ((step + 1) * self.step_bytes).min(self.limit & !(self.page_bytes - 1));
        if end < least {
            return Err(StoreError::FileLimit { bytes: self.limit });
        }
        let (mut wanted, least) = (end - from, least - from);
        loop {
            let granted = self.room.grant(wanted, least).map_err(StoreError::NoRoom)?;
            wanted = (granted & !(self.page_bytes - 1)).max(least);
            match self.allocate(from, wanted) {
                Ok(()) => break,
                Err(errno) => {
                    // A half-done allocation keeps blocks: give them back.
                    let _ = ftruncate(&self.file, from.max(self.page_bytes));
                    let full = matches!(errno, Errno::NOSPC | Errno::DQUOT | Errno::FBIG);
                    if !full || wanted == least {
                        return Err(growth_error(errno, from));
                    }
                    wanted = (wanted / 2).max(least);
                }
            }
        }
        self.grown = from + wanted;
        Ok(self.grown)
    }

    fn allocate(&mut self, from: u64, bytes: u64) -> Result<(), Errno> {
        if !self.writes_zeros {
            loop {
                match fallocate(&self.file, FallocateFlags::empty(), from, bytes) {
                    Err(Errno::INTR) => {}
                    Err(Errno::OPNOTSUPP | Errno::NOSYS) => break self.writes_zeros = true,
                    done => return done,
                }
            }
        }
        self.write_zeros(from, bytes)
    }

    /// For file systems that cannot allocate ahead (vfat, exFAT): the blocks are had by writing them.
    fn write_zeros(&self, from: u64, bytes: u64) -> Result<(), Errno> {
        let zeros = vec![0; ZEROS_BYTES];
        // The front is written before the first step grows around it.
        let mut at = from.max(self.page_bytes);
        while at < from + bytes {
            let len = (from + bytes - at).min(ZEROS_BYTES as u64) as usize;
            self.file.write_all_at(&zeros[..len], at).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
            at += len as u64;
        }
        Ok(())
    }

    fn retire(&mut self, step: u64, lease: Lease) {
        if let Some(mapped) = self.maps.iter_mut().find(|mapped| mapped.step == step) {
            mapped.map.take_back(lease);
            mapped.retired = true;
        }
        self.unmap_synced();
    }

    fn unmap_synced(&mut self) {
        let (synced, step_bytes) = (self.synced, self.step_bytes);
        self.maps.retain(|mapped| !(mapped.retired && (mapped.step + 1) * step_bytes <= synced));
    }

    /// Unmaps the oldest step although it is not synced: the next sync then takes the whole file.
    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.maps.iter().position(|mapped| mapped.retired) {
            self.maps.remove(oldest);
            self.unmapped_dirty = true;
        }
    }

    fn sync(&mut self, to: u64) -> Result<(), StoreError> {
        let synced = self.sync_maps(to);
        // A page that was lost and replaced by zeros syncs without an error: do not call that durable.
        let cut = self.file.metadata().is_ok_and(|metadata| metadata.len() < to);
        self.check_name()?;
        if cut || self.maps.iter().any(|mapped| mapped.map.is_dead()) {
            return Err(StoreError::MapLost);
        }
        synced
    }

    /// Bytes of a file without a name are synced without an error, and gone with the process.
    fn check_name(&self) -> Result<(), StoreError> {
        let is_gone = self.is_named && self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        if is_gone { Err(StoreError::Deleted) } else { Ok(()) }
    }

    fn sync_maps(&mut self, to: u64) -> Result<(), StoreError> {
        if self.unmapped_dirty {
            self.file.sync_data().map_err(sync_error)?;
            self.unmapped_dirty = false;
        } else {
            for mapped in &self.maps {
                let start = mapped.step * self.step_bytes;
                let from = self.synced.max(start);
                let until = to.min(start + self.step_bytes);
                if from < until {
                    mapped.map.sync((from - start) as usize, (until - start) as usize).map_err(sync_error)?;
                }
            }
        }
        self.synced = self.synced.max(to);
        self.unmap_synced();
        Ok(())
    }

    fn close(&mut self, end: u64) -> Result<(), StoreError> {
        // All of it first: a file that was cut short meanwhile would only be made longer again.
        self.sync(end)?;
        ftruncate(&self.file, end)
            .map_err(|errno| StoreError::Io { doing: "cut the recording off", errno: errno.raw_os_error() })?;
        self.file.sync_all().map_err(sync_error)
    }
}

fn growth_error(errno: Errno, from: u64) -> StoreError {
    match errno {
        Errno::NOSPC => StoreError::NoSpace,
        Errno::DQUOT => StoreError::Quota,
        Errno::FBIG => StoreError::FileLimit { bytes: from },
        errno => StoreError::Io { doing: "grow the recording", errno: errno.raw_os_error() },
    }
}

/// Largest size that the file system and the process's own limit allow. The limit is asked for, because growing beyond it would
/// be answered with a deadly signal.
fn size_limit(file: &File) -> u64 {
    let process = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    #[allow(clippy::unnecessary_cast, reason = "the type of `f_type` differs between architectures")]
    let vfat = fstatfs(file).is_ok_and(|fs| fs.f_type as i64 == MSDOS_SUPER_MAGIC);
    if vfat { process.min(VFAT_FILE_BYTES_MAX) } else { process }.min(i64::MAX as u64)
}
