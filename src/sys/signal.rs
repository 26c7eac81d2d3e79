//! A file that is cut short, or a device that fails, while it is mapped: the kernel answers an access with SIGBUS, which ends
//! the process. Who asks for it gets an error instead.
//!
//! The one idea: the handler puts a page of zeros where the lost page was, marks the map as dead, and returns; the access then
//! goes on and finds zeros, whose checksum fails. Addresses that are not ours go to whatever handler was there before.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use super::place::Place;

/// Maps that can be guarded at a time: recordings being written × steps mapped of each. One too many is not guarded.
const GUARDED_MAX: usize = 64;

#[cfg(not(loom))]
static GUARDED: [Place; GUARDED_MAX] = [const { Place::new() }; GUARDED_MAX];
#[cfg(loom)]
loom::lazy_static! {
    static ref GUARDED: [Place; GUARDED_MAX] = core::array::from_fn(|_| Place::new());
}

static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);
/// What SIGBUS did before; made once and never freed, since a handler may look at it at any time.
static EARLIER: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());
/// 0 not installed, 1 being installed, 2 installed.
static INSTALLED: AtomicU32 = AtomicU32::new(0);

/// Installs the handler for the whole process, once; later calls do nothing. Handlers that are installed afterwards should
/// chain to this one.
///
/// # Errors
/// The system refuses.
pub fn guard_mapped_files() -> io::Result<()> {
    if INSTALLED.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
        return Ok(());
    }
    PAGE_BYTES.store(rustix::param::page_size(), Ordering::Release);
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    let mut earlier = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeros are a valid `sigaction` (no handler, empty mask). The handler below only touches atomics, calls `mmap` and
    // what was installed before it, all of which is allowed in a signal handler.
    let done = unsafe {
        let action = action.assume_init_mut();
        action.sa_sigaction = on_bus_error as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&mut action.sa_mask);
        // The earlier action must be known before ours can run.
        libc::sigaction(libc::SIGBUS, ptr::null(), earlier.as_mut_ptr());
        EARLIER.store(Box::into_raw(Box::new(earlier.assume_init())), Ordering::Release);
        libc::sigaction(libc::SIGBUS, action, ptr::null_mut())
    };
    if done != 0 {
        INSTALLED.store(0, Ordering::Release);
        return Err(io::Error::last_os_error());
    }
    INSTALLED.store(2, Ordering::Release);
    Ok(())
}

extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands a valid `siginfo_t` to a handler with SA_SIGINFO; for SIGBUS it has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    if GUARDED.iter().any(|place| place.meet(address, cover)) {
        return;
    }
    chain(signal, info, context);
}

/// Maps a private page of zeros over the page of `address`.
fn cover(address: usize) -> bool {
    let page_bytes = PAGE_BYTES.load(Ordering::Acquire);
    let page = address & !(page_bytes - 1);
    // SAFETY: the page lies in a map of ours that is registered, hence mapped; replacing it by zeros is what its users were
    // promised. `mmap` is a plain system call. `errno` is kept, as the interrupted code may be looking at it.
    unsafe {
        let errno = *libc::__errno_location();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        let mapped =
            libc::mmap(page as *mut libc::c_void, page_bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        *libc::__errno_location() = errno;
        mapped != libc::MAP_FAILED
    }
}

/// Does what would have been done without us.
fn chain(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let earlier = EARLIER.load(Ordering::Acquire);
    // SAFETY: set before our handler was installed, and never freed. Its handler has the type that its flags say.
    unsafe {
        let earlier = &*earlier;
        match earlier.sa_sigaction {
            libc::SIG_IGN | libc::SIG_DFL => {
                // Returning runs the access again; with the default action in place that ends the process, as it should.
                libc::signal(signal, libc::SIG_DFL);
            }
            handler if earlier.sa_flags & libc::SA_SIGINFO != 0 => {
                type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
                std::mem::transmute::<usize, Handler>(handler)(signal, info, context);
            }
            handler => std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler)(signal),
        }
    }
}

/// True once [`guard_mapped_files`] was called.
pub fn is_guarding() -> bool {
    INSTALLED.load(Ordering::Acquire) == 2
}

/// A range of addresses whose loss becomes an error; given up when dropped.
#[derive(Debug)]
pub struct Guard {
    index: Option<usize>,
}

impl Guard {
    /// Guards `start..end`, a map of a file. When all places are taken, the range is not guarded.
    pub fn new((start, end): (usize, usize)) -> Self {
        let index = GUARDED.iter().position(|place| place.take(start, end));
        Self { index }
    }

    /// True once a page of the range was lost: what was written or read there since is worth nothing.
    pub fn is_dead(&self) -> bool {
        is_dead(self.index)
    }

    /// The number of its place, for [`is_dead`] on another thread.
    pub fn place(&self) -> Option<usize> {
        self.index
    }
}

/// As [`Guard::is_dead`], by the number of the place.
pub fn is_dead(place: Option<usize>) -> bool {
    place.is_some_and(|place| GUARDED[place].is_dead())
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(index) = self.index {
            GUARDED[index].give_up();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sys::map::StepMap;
    use std::os::unix::fs::FileExt;

    static CHAINED: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn earlier(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: as in `on_bus_error`.
        let address = unsafe { (*info).si_addr() } as usize;
        CHAINED.store(address, Ordering::SeqCst);
        assert!(cover(address));
    }

    fn cut_file() -> (std::fs::File, usize) {
        let page = rustix::param::page_size();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![7; 2 * page], 0).unwrap();
        (file, page)
    }

    #[test]
    fn a_lost_page_of_ours_reads_as_zeros_and_another_goes_to_the_earlier_handler() {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: as in `guard_mapped_files`.
        unsafe {
            let action = action.assume_init_mut();
            action.sa_sigaction = earlier as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGBUS, action, ptr::null_mut()), 0);
        }
        guard_mapped_files().unwrap();
        guard_mapped_files().unwrap();
        assert!(is_guarding());

        let (file, page) = cut_file();
        let mut map = StepMap::new(&file, 0, 2 * page).unwrap();
        let mut lease = map.lend();
        assert_eq!((lease.bytes_mut(page, 1)[0], lease.is_dead()), (7, false));
        file.set_len(page as u64).unwrap();
        assert_eq!(lease.bytes_mut(page, 1)[0], 0);
        assert!(lease.is_dead() && map.is_dead());
        assert_eq!(lease.bytes_mut(0, 1)[0], 7, "the page that is there stays");
        map.take_back(lease);
        assert_eq!(CHAINED.load(Ordering::SeqCst), 0);

        let (file, page) = cut_file();
        let other = memmap2::MmapOptions::new().map_raw(&file).unwrap();
        file.set_len(page as u64).unwrap();
        // SAFETY: inside the map.
        let lost = unsafe { other.as_ptr().add(page) };
        // SAFETY: as above; the page is covered by the earlier handler.
        assert_eq!(unsafe { ptr::read_volatile(lost) }, 0);
        assert_eq!(CHAINED.load(Ordering::SeqCst), lost as usize);
    }
}
