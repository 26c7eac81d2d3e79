//! The disk of the machine whose power is cut: an NBD server on a Unix socket with a volatile write cache.
//!
//! What was written since the last FLUSH is in the cache. When the power goes, each write of it is kept, lost, or torn at
//! 512 bytes, as a seed says; two writes to one sector are applied in their order. FLUSH and FUA are honest, unless the disk
//! is told to lie about FLUSH, which the test must then notice.
//!
//! Source: the NBD protocol, <https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>, fixed newstyle handshake,
//! simple replies.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use crate::random::Random;

/// What the medium writes whole.
pub const SECTOR_BYTES: usize = 512;

/// A write that no FLUSH covers.
struct Pending {
    offset: u64,
    bytes: Vec<u8>,
}

/// What the power cut did to the cache.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    /// Writes of which every sector is on the medium.
    pub kept: u64,
    /// Writes of which none is.
    pub lost: u64,
    /// Writes of which some are.
    pub torn: u64,
}

/// How the cache is treated when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Nothing of it is kept.
    LoseAll,
    /// All of it is kept.
    KeepAll,
    /// Each write: an even chance of each fate.
    Mixed,
    /// A few writes are lost or torn.
    KeepMost,
    /// A few writes are kept or torn.
    LoseMost,
    /// Every write is torn, each sector by chance.
    TearAll,
}

impl Manner {
    pub const ALL: [Self; 6] =
        [Self::LoseAll, Self::KeepAll, Self::Mixed, Self::KeepMost, Self::LoseMost, Self::TearAll];
}

/// Makes the power go in the middle of what the machine writes.
#[derive(Debug)]
pub struct Trigger {
    /// Writes and flushes until the disk answers no more; negative: not armed.
    requests_left: AtomicI64,
    is_dead: AtomicBool,
}

impl Trigger {
    fn new() -> Self {
        Self { requests_left: AtomicI64::new(-1), is_dead: AtomicBool::new(false) }
    }

    /// From the next request on, `requests` writes and flushes are answered, and none after them.
    pub fn arm(&self, requests: u64) {
        self.requests_left.store(requests as i64, Ordering::SeqCst);
    }

    /// True once the disk answers no more.
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    /// Counts a write or flush; true when the power is gone before it.
    fn goes(&self) -> bool {
        let left = self.requests_left.load(Ordering::SeqCst);
        if left > 0 {
            self.requests_left.store(left - 1, Ordering::SeqCst);
        } else if left == 0 {
            self.is_dead.store(true, Ordering::SeqCst);
        }
        left == 0
    }
}

/// Parts of the medium that are worn out: what touches one of them is answered with EIO and changes nothing.
#[derive(Debug, Default)]
pub struct BadParts(Mutex<Vec<BadPart>>);

#[derive(Debug)]
struct BadPart {
    from: u64,
    to: u64,
    is_for_writes: bool,
}

impl BadParts {
    /// From now on bytes `from..to` cannot be read, or cannot be written.
    pub fn add(&self, from: u64, to: u64, is_for_writes: bool) {
        self.0.lock().expect("nobody panics with it").push(BadPart { from, to, is_for_writes });
    }

    /// The medium is as good as new.
    pub fn heal(&self) {
        self.0.lock().expect("nobody panics with it").clear();
    }

    fn refuse(&self, offset: u64, len: u64, is_write: bool) -> bool {
        let parts = self.0.lock().expect("nobody panics with it");
        parts.iter().any(|part| part.is_for_writes == is_write && offset < part.to && part.from < offset + len)
    }
}

/// True for a block that ends a transaction of ext4's journal, and for that journal's superblock: one checksum over all of its
/// sectors, and no mount when it is wrong. ext4 trusts the medium to write it whole. (Documentation/filesystems/ext4/journal.rst:
/// magic and kind, big-endian; 2 ends a transaction, 3 and 4 are superblocks.)
fn seals_a_journal(bytes: &[u8]) -> bool {
    const BLOCK_BYTES: usize = 4096;
    bytes.chunks(BLOCK_BYTES).any(|block| {
        let word =
            |at: usize| block.get(at..at + 4).map(|word| u32::from_be_bytes(word.try_into().expect("four bytes")));
        word(0) == Some(0xC03B_3998) && matches!(word(4), Some(2..=4))
    })
}

/// The medium and its cache.
pub struct Disk {
    /// What survives a power cut.
    medium: File,
    bytes: u64,
    pending: Vec<Pending>,
    /// The newest bytes of each sector in the cache: which pending write, and where in it.
    newest: BTreeMap<u64, (usize, usize)>,
    /// Parts that are never torn: the file system's own superblock, which it trusts the medium to write whole.
    whole: Vec<(u64, u64)>,
    ignores_flush: bool,
    trigger: Arc<Trigger>,
    bad: Arc<BadParts>,
    pub refused: u64,
    pub flushes: u64,
    pub writes: u64,
}

impl Disk {
    /// A disk over an image. `whole`: ranges that are never torn.
    pub fn open(image: &Path, whole: &[(u64, u64)], ignores_flush: bool) -> io::Result<Self> {
        let medium = File::options().read(true).write(true).open(image)?;
        let bytes = medium.metadata()?.len();
        Ok(Self {
            medium,
            bytes,
            pending: Vec::new(),
            newest: BTreeMap::new(),
            whole: whole.to_vec(),
            ignores_flush,
            trigger: Arc::new(Trigger::new()),
            bad: Arc::default(),
            refused: 0,
            flushes: 0,
            writes: 0,
        })
    }

    /// What makes the power go.
    pub fn trigger(&self) -> Arc<Trigger> {
        Arc::clone(&self.trigger)
    }

    /// What cannot be read or written.
    pub fn bad_parts(&self) -> Arc<BadParts> {
        Arc::clone(&self.bad)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.medium.read_exact_at(out, offset)?;
        let (first, last) = (offset / SECTOR_BYTES as u64, (offset + out.len() as u64).div_ceil(SECTOR_BYTES as u64));
        for (&sector, &(write, at)) in self.newest.range(first..last) {
            let place = sector * SECTOR_BYTES as u64;
            let (from, to) = (place.max(offset), (place + SECTOR_BYTES as u64).min(offset + out.len() as u64));
            let (skip, len) = ((from - place) as usize, (to - from) as usize);
            out[(from - offset) as usize..][..len].copy_from_slice(&self.pending[write].bytes[at + skip..][..len]);
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, bytes: Vec<u8>) {
        self.writes += 1;
        for at in (0..bytes.len()).step_by(SECTOR_BYTES) {
            let sector = (offset + at as u64) / SECTOR_BYTES as u64;
            self.newest.insert(sector, (self.pending.len(), at));
        }
        self.pending.push(Pending { offset, bytes });
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushes += 1;
        if self.ignores_flush {
            return Ok(());
        }
        for write in self.pending.drain(..) {
            self.medium.write_all_at(&write.bytes, write.offset)?;
        }
        self.newest.clear();
        Ok(())
    }

    /// The power goes: what is in the cache is kept, lost or torn.
    pub fn cut(&mut self, manner: Manner, random: &mut Random) -> io::Result<Fate> {
        let mut fate = Fate::default();
        for write in self.pending.drain(..) {
            // Of a hundred: kept up to the first, lost up to the second, else torn.
            let (kept, lost) = match manner {
                Manner::LoseAll => (0, 100),
                Manner::KeepAll => (100, 100),
                Manner::Mixed => (33, 66),
                Manner::KeepMost => (90, 95),
                Manner::LoseMost => (5, 95),
                Manner::TearAll => (0, 0),
            };
            let sectors = write.bytes.len() / SECTOR_BYTES;
            let is_whole =
                |&(from, to): &(u64, u64)| write.offset < to && from < write.offset + write.bytes.len() as u64;
            let may_tear = sectors > 1 && !self.whole.iter().any(is_whole) && !seals_a_journal(&write.bytes);
            let chance = random.below(100);
            // What cannot be torn is kept or lost instead, as a coin falls.
            let (is_kept, is_lost) = match chance >= lost && !may_tear {
                true => (random.below(2) == 0, true),
                false => (chance < kept, chance < lost),
            };
            if is_kept {
                fate.kept += 1;
                self.medium.write_all_at(&write.bytes, write.offset)?;
            } else if is_lost {
                fate.lost += 1;
            } else {
                fate.torn += 1;
                // Half of them like a head that stopped, half like a flash controller that works in any order.
                let stops_at = (random.below(2) == 0).then(|| random.below(sectors as u64 + 1) as usize);
                for sector in 0..sectors {
                    if stops_at.map_or_else(|| random.below(2) == 0, |stop| sector < stop) {
                        let at = sector * SECTOR_BYTES;
                        self.medium.write_all_at(&write.bytes[at..at + SECTOR_BYTES], write.offset + at as u64)?;
                    }
                }
            }
        }
        self.newest.clear();
        Ok(fate)
    }

    /// Serves one machine until its connection is gone.
    pub fn serve(&mut self, listener: &UnixListener) -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        if !self.shake_hands(&mut stream)? {
            return Ok(());
        }
        loop {
            let mut request = [0; 28];
            match stream.read_exact(&mut request) {
                Err(error) if is_gone(&error) => return Ok(()),
                other => other?,
            }
            match self.answer(&mut stream, &request) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// False when the client said good-bye.
    fn answer(&mut self, stream: &mut UnixStream, request: &[u8; 28]) -> io::Result<bool> {
        const EIO: u32 = 5;
        const EINVAL: u32 = 22;
        let number = |from: usize, len: usize| request[from..from + len].iter().fold(0, |n, &b| n << 8 | u64::from(b));
        if number(0, 4) != 0x2560_9513 {
            return Err(io::Error::other("this is no NBD request"));
        }
        let (flags, kind, cookie) = (number(4, 2), number(6, 2), &request[8..16]);
        let (offset, len) = (number(16, 8), number(24, 4));
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.bytes);
        let reply = |error: u32| {
            let mut reply = [0; 16];
            reply[..4].copy_from_slice(&0x6744_6698_u32.to_be_bytes());
            reply[4..8].copy_from_slice(&error.to_be_bytes());
            reply[8..].copy_from_slice(cookie);
            reply
        };
        if matches!(kind, 1 | 3) && self.trigger.goes() {
            // Dead, not gone: the machine waits for an answer until it is killed.
            io::copy(stream, &mut io::sink())?;
            return Ok(false);
        }
        match kind {
            0 if fits && self.bad.refuse(offset, len, false) => {
                self.refused += 1;
                stream.write_all(&reply(EIO))?;
            }
            0 if fits => {
                let mut out = vec![0; 16 + len as usize];
                out[..16].copy_from_slice(&reply(0));
                self.read(offset, &mut out[16..])?;
                stream.write_all(&out)?;
            }
            1 => {
                let mut bytes = vec![0; len as usize];
                // A request that the power cut broke off was never a write.
                stream.read_exact(&mut bytes)?;
                if self.bad.refuse(offset, len, true) {
                    self.refused += 1;
                    stream.write_all(&reply(EIO))?;
                    return Ok(true);
                }
                let is_whole = fits && offset % SECTOR_BYTES as u64 == 0 && len % SECTOR_BYTES as u64 == 0;
                if is_whole {
                    if flags & 1 != 0 {
                        // FUA: on the medium before the answer. Whatever was in the cache for these sectors is older.
                        self.flush()?;
                        self.medium.write_all_at(&bytes, offset)?;
                    } else {
                        self.write(offset, bytes);
                    }
                }
                stream.write_all(&reply(if is_whole { 0 } else { EINVAL }))?;
            }
            2 => return Ok(false),
            3 => {
                self.flush()?;
                stream.write_all(&reply(0))?;
            }
            _ => stream.write_all(&reply(EINVAL))?,
        }
        Ok(true)
    }

    /// True when the client goes on to transmission.
    fn shake_hands(&self, stream: &mut UnixStream) -> io::Result<bool> {
        const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
        // Has flags, FLUSH, FUA.
        const FLAGS: u16 = 1 | 4 | 8;
        stream.write_all(b"NBDMAGICIHAVEOPT")?;
        stream.write_all(&3_u16.to_be_bytes())?;
        let mut flags = [0; 4];
        stream.read_exact(&mut flags)?;
        let without_zeroes = flags[3] & 2 != 0;
        loop {
            let mut head = [0; 16];
            stream.read_exact(&mut head)?;
            let option = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
            let len = u32::from_be_bytes([head[12], head[13], head[14], head[15]]);
            let mut data = vec![0; len.min(1 << 16) as usize];
            stream.read_exact(&mut data)?;
            let mut reply = |kind: u32, data: &[u8]| {
                let mut out = OPTION_REPLY.to_be_bytes().to_vec();
                out.extend([option.to_be_bytes(), kind.to_be_bytes(), (data.len() as u32).to_be_bytes()].concat());
                out.extend(data);
                stream.write_all(&out)
            };
            match option {
                // Export by name: no answer but the size.
                1 => {
                    let mut out = [&self.bytes.to_be_bytes()[..], &FLAGS.to_be_bytes()].concat();
                    out.resize(if without_zeroes { 10 } else { 134 }, 0);
                    stream.write_all(&out)?;
                    return Ok(true);
                }
                2 => {
                    reply(1, &[])?;
                    return Ok(false);
                }
                // Info and go.
                6 | 7 => {
                    reply(3, &[&[0, 0][..], &self.bytes.to_be_bytes(), &FLAGS.to_be_bytes()].concat())?;
                    reply(1, &[])?;
                    if option == 7 {
                        return Ok(true);
                    }
                }
                _ => reply(0x8000_0001, &[])?,
            }
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// What the disk is tested with before anything is believed of it.
pub fn check_the_disk_itself(folder: &Path) -> io::Result<()> {
    let image = folder.join("self.img");
    let sector = |byte: u8| vec![byte; SECTOR_BYTES];
    let contents = |disk: &Disk| -> io::Result<Vec<u8>> {
        let mut out = vec![0; 4 * SECTOR_BYTES];
        disk.read(0, &mut out)?;
        Ok(out.chunks(SECTOR_BYTES).map(|sector| sector[SECTOR_BYTES - 1]).collect())
    };
    for (manner, expected) in [(Manner::LoseAll, [1, 2, 0, 0]), (Manner::KeepAll, [1, 5, 4, 0])] {
        File::create(&image)?.set_len(4 * SECTOR_BYTES as u64)?;
        let mut disk = Disk::open(&image, &[], false)?;
        disk.write(0, [sector(1), sector(2)].concat());
        disk.flush()?;
        disk.write(SECTOR_BYTES as u64, [sector(3), sector(4)].concat());
        disk.write(SECTOR_BYTES as u64, sector(5));
        assert_eq!(contents(&disk)?, [1, 5, 4, 0], "the machine reads what it wrote last");
        disk.cut(manner, &mut Random::new(1))?;
        assert_eq!(contents(&disk)?, expected, "{manner:?}");
    }
    // Torn: in some cuts the first sector of a write is there and the second is not, in others it is the other way.
    let mut seen = [false; 4];
    for seed in 0..100 {
        File::create(&image)?.set_len(4 * SECTOR_BYTES as u64)?;
        let mut disk = Disk::open(&image, &[(1024, 1025)], false)?;
        disk.write(0, [sector(1), sector(1)].concat());
        disk.write(1024, [sector(1), sector(1)].concat());
        disk.cut(Manner::TearAll, &mut Random::new(seed))?;
        let found = contents(&disk)?;
        seen[usize::from(found[0] * 2 + found[1])] = true;
        assert_eq!(found[2], found[3], "a superblock is not torn");
    }
    assert_eq!(seen, [true; 4]);
    // A journal's block: whole or not there, both by chance, wherever in the write it lies.
    let mut seen = [false; 2];
    for seed in 0..100 {
        File::create(&image)?.set_len(8192)?;
        let mut disk = Disk::open(&image, &[], false)?;
        let mut write = vec![1; 8192];
        write[4096..][..8].copy_from_slice(&[0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 2]);
        disk.write(0, write.clone());
        disk.cut(Manner::TearAll, &mut Random::new(seed))?;
        let found = std::fs::read(&image)?;
        assert!(found == write || found == [0; 8192], "a journal's seal is not torn");
        seen[usize::from(found == write)] = true;
    }
    assert_eq!(seen, [true; 2]);
    std::fs::remove_file(&image)
}
