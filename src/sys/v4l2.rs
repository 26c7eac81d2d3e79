//! V4L2 system calls with a safe face: device nodes, formats, and the memory-mapped buffers of one stream.
//!
//! Types, numbers and wrappers of the calls are those of the `v4l` crate. Its own stream type is not used (it queues the
//! wrong buffer again after a timeout and panics when dropped after an unplug), nor are its conversions that panic on what
//! a driver may say: a name that is no UTF-8, an unknown colour space.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use v4l::FourCC;
use v4l::device::{Device, Handle};
use v4l::v4l_sys::{
    V4L2_EVENT_SOURCE_CHANGE, v4l2_buf_type_V4L2_BUF_TYPE_META_CAPTURE as META_CAPTURE,
    v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE as CAPTURE, v4l2_buffer, v4l2_capability, v4l2_event,
    v4l2_event_subscription, v4l2_fmtdesc, v4l2_format, v4l2_memory_V4L2_MEMORY_MMAP as MMAP, v4l2_requestbuffers,
};
use v4l::v4l2::vidioc::{self, _IOC_TYPE as Request};

use crate::time::Span;

/// Most buffers that V4L2 has (`VIDEO_MAX_FRAME`).
pub const BUFFERS_MAX: usize = 32;

// linux/videodev2.h: _IOR('V', 89, struct v4l2_event), _IOW('V', 90, struct v4l2_event_subscription).
const DEQUEUE_EVENT: Request = request(2, 89, size_of::<v4l2_event>());
const SUBSCRIBE_EVENT: Request = request(1, 90, size_of::<v4l2_event_subscription>());

const fn request(direction: Request, number: Request, size: usize) -> Request {
    direction << 30 | (size as Request) << 16 | (b'V' as Request) << 8 | number
}

/// A structure of `linux/videodev2.h`: plain numbers, unions of them and pointers, for all of which zero is a value.
///
/// # Safety
/// All bytes zero must be a valid value of the type.
pub(super) unsafe trait Plain: Sized {
    fn zeroed() -> Self {
        // SAFETY: the implementer promises that zero is a value.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: C structures of integers, arrays and unions of them, and pointers.
unsafe impl Plain for v4l2_buffer {}
// SAFETY: as above.
unsafe impl Plain for v4l2_capability {}
// SAFETY: as above.
unsafe impl Plain for v4l2_event {}
// SAFETY: as above.
unsafe impl Plain for v4l2_event_subscription {}
// SAFETY: as above.
unsafe impl Plain for v4l2_fmtdesc {}
// SAFETY: as above.
unsafe impl Plain for v4l2_format {}
// SAFETY: as above.
unsafe impl Plain for v4l2_requestbuffers {}
// SAFETY: an integer.
unsafe impl Plain for std::os::raw::c_int {}

/// One ioctl. Interrupted calls are made again.
fn call<T: Plain>(handle: &Handle, request: Request, argument: &mut T) -> io::Result<()> {
    loop {
        // SAFETY: every request in this file carries the size of the structure that is passed with it, so the kernel
        // reads and writes inside `argument`, which lives across the call. Of these structures only `v4l2_buffer` can
        // hold a pointer, and not for memory type MMAP, the only one used.
        match unsafe { v4l::v4l2::ioctl(handle.fd(), request, std::ptr::from_mut(argument).cast()) } {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn borrow(handle: &Handle) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open as long as the handle lives, and the handle is borrowed for as long.
    unsafe { BorrowedFd::borrow_raw(handle.fd()) }
}

/// What a node says it is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Name of the device.
    pub card: String,
    /// `V4L2_CAP_*` of this node.
    pub capabilities: u32,
}

/// What a node captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pictures.
    Pictures,
    /// Metadata.
    Metadata,
}

impl Kind {
    const fn buffers(self) -> u32 {
        match self {
            Self::Pictures => CAPTURE,
            Self::Metadata => META_CAPTURE,
        }
    }
}

/// A picture format as the driver holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixFormat {
    /// Layout of the bytes.
    pub fourcc: FourCC,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next; 0 for compressed formats and with some drivers.
    pub stride: u32,
    /// Largest picture, in bytes.
    pub size: u32,
    /// `V4L2_FIELD_*`.
    pub field: u32,
}

/// An open device node.
pub struct Node {
    device: Device,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("fd", &self.device.handle().fd()).finish()
    }
}

impl Node {
    /// Opens a node for reading and writing, without blocking. Programs that we start do not inherit it.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path holds a zero byte"));
        }
        let node = Self { device: Device::with_path(path)? };
        fcntl_setfd(borrow(&node.device.handle()), FdFlags::CLOEXEC)?;
        Ok(node)
    }

    /// The `v4l` crate's view of the node: its sizes, rates and controls.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Asks the node what it is.
    pub fn identity(&self) -> io::Result<Identity> {
        let mut found = v4l2_capability::zeroed();
        call(&self.device.handle(), vidioc::VIDIOC_QUERYCAP, &mut found)?;
        let own = v4l::v4l_sys::V4L2_CAP_DEVICE_CAPS;
        let capabilities = if found.capabilities & own != 0 { found.device_caps } else { found.capabilities };
        Ok(Identity { card: text(&found.card), capabilities })
    }

    /// Picture formats in the driver's order, at most 256 of them.
    pub fn pixel_formats(&self) -> Vec<FourCC> {
        let handle = self.device.handle();
        let offered = |index| {
            let mut found = v4l2_fmtdesc { index, type_: CAPTURE, ..Plain::zeroed() };
            call(&handle, vidioc::VIDIOC_ENUM_FMT, &mut found).ok().map(|()| FourCC::from(found.pixelformat))
        };
        (0..256).map_while(offered).collect()
    }

    /// The format that is set now.
    pub fn format(&self) -> io::Result<PixFormat> {
        let mut format = v4l2_format { type_: CAPTURE, ..Plain::zeroed() };
        call(&self.device.handle(), vidioc::VIDIOC_G_FMT, &mut format)?;
        Ok(PixFormat::of(&format))
    }

    /// Sets a progressive format; what comes back is what the driver made of it.
    pub fn set_format(&self, fourcc: FourCC, width: u32, height: u32) -> io::Result<PixFormat> {
        let mut format = v4l2_format { type_: CAPTURE, ..Plain::zeroed() };
        format.fmt.pix.width = width;
        format.fmt.pix.height = height;
        format.fmt.pix.pixelformat = fourcc.into();
        format.fmt.pix.field = v4l::v4l_sys::v4l2_field_V4L2_FIELD_NONE;
        call(&self.device.handle(), vidioc::VIDIOC_S_FMT, &mut format)?;
        Ok(PixFormat::of(&format))
    }

    /// Sets the format of a metadata node; what comes back is the code and the bytes of a buffer that the driver made of it.
    pub fn set_metadata_format(&self, fourcc: FourCC, size: u32) -> io::Result<(FourCC, u32)> {
        let mut format = v4l2_format { type_: META_CAPTURE, ..Plain::zeroed() };
        format.fmt.meta.dataformat = fourcc.into();
        format.fmt.meta.buffersize = size;
        call(&self.device.handle(), vidioc::VIDIOC_S_FMT, &mut format)?;
        // SAFETY: `type_` is metadata capture, for which the kernel fills `meta`; any bytes are a value of it.
        let meta = unsafe { format.fmt.meta };
        Ok((FourCC::from(meta.dataformat), meta.buffersize))
    }

    /// The node's controls.
    pub fn controls(&self) -> Vec<super::media::Control> {
        super::media::controls(borrow(&self.device.handle()))
    }

    /// Asks to be told when the incoming picture changes. Drivers without that event refuse.
    pub fn watch_source_changes(&self) -> io::Result<()> {
        let mut wish = v4l2_event_subscription { type_: V4L2_EVENT_SOURCE_CHANGE, ..Plain::zeroed() };
        call(&self.device.handle(), SUBSCRIBE_EVENT, &mut wish)
    }

    /// Takes the oldest event that waits; true when it says that the incoming picture changed.
    pub fn take_source_change(&self) -> io::Result<bool> {
        let mut event = v4l2_event::zeroed();
        call(&self.device.handle(), DEQUEUE_EVENT, &mut event)?;
        Ok(event.type_ == V4L2_EVENT_SOURCE_CHANGE)
    }
}

impl PixFormat {
    fn of(format: &v4l2_format) -> Self {
        // SAFETY: `type_` is video capture, for which the kernel fills `pix`; any bytes are a value of it.
        let pix = unsafe { format.fmt.pix };
        Self {
            fourcc: FourCC::from(pix.pixelformat),
            width: pix.width,
            height: pix.height,
            stride: pix.bytesperline,
            size: pix.sizeimage,
            field: pix.field,
        }
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// What [`Buffers::wait`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// A buffer, or an error that [`Buffers::dequeue`] will tell.
    pub buffer: bool,
    /// An event.
    pub event: bool,
}

/// A buffer that the driver handed out. Give it back with [`Buffers::requeue`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Filled {
    index: usize,
    /// Bytes that the driver wrote; at most the buffer's length.
    pub used: usize,
    /// `V4L2_BUF_FLAG_*`.
    pub flags: u32,
    /// The driver's frame counter.
    pub sequence: u32,
    /// The driver's time stamp, in nanoseconds; of which clock, `flags` tells.
    pub stamp_ns: i64,
}

struct Mapping {
    at: *mut std::ffi::c_void,
    length: usize,
    /// The driver may write into it.
    queued: bool,
}

/// The buffers of one stream, mapped. Dropping them stops the stream and returns them, also after an unplug.
pub struct Buffers {
    handle: Arc<Handle>,
    kind: Kind,
    mappings: Vec<Mapping>,
}

// SAFETY: the mappings belong to this value alone and are valid in every thread; all changes go through `&mut self`.
unsafe impl Send for Buffers {}

impl std::fmt::Debug for Buffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffers").field("count", &self.mappings.len()).finish()
    }
}

impl Buffers {
    /// Asks the driver for `count` buffers (it may give more or fewer) and maps them.
    pub fn new(node: &Node, kind: Kind, count: u32) -> io::Result<Self> {
        let handle = node.device.handle();
        let mut wish = v4l2_requestbuffers { count, type_: kind.buffers(), memory: MMAP, ..Plain::zeroed() };
        call(&handle, vidioc::VIDIOC_REQBUFS, &mut wish)?;
        let granted = (wish.count as usize).min(BUFFERS_MAX);
        let mut buffers = Self { handle, kind, mappings: Vec::with_capacity(granted) };
        for index in 0..granted {
            let mapping = buffers.map(index)?;
            buffers.mappings.push(mapping);
        }
        Ok(buffers)
    }

    fn map(&self, index: usize) -> io::Result<Mapping> {
        let mut buffer = self.description(index);
        call(&self.handle, vidioc::VIDIOC_QUERYBUF, &mut buffer)?;
        let length = buffer.length as usize;
        // SAFETY: for memory type MMAP the kernel fills `offset`; any bytes are a value of it.
        let offset = u64::from(unsafe { buffer.m.offset });
        let both = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses, of the offset and length that the driver named.
        let at = unsafe { mmap(std::ptr::null_mut(), length, both, MapFlags::SHARED, borrow(&self.handle), offset)? };
        Ok(Mapping { at, length, queued: false })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.mappings.len()
    }

    /// Queues every buffer and starts the stream.
    pub fn start(&mut self) -> io::Result<()> {
        self.queue_all()?;
        self.switch().on()
    }

    /// Queues every buffer that the driver has not.
    pub fn queue_all(&mut self) -> io::Result<()> {
        for index in 0..self.mappings.len() {
            if !self.mappings[index].queued {
                self.queue(index)?;
            }
        }
        Ok(())
    }

    /// What starts the stream, for another thread: some drivers take minutes.
    pub fn switch(&self) -> Switch {
        Switch { handle: Arc::clone(&self.handle), kind: self.kind }
    }

    /// Stops the stream: the driver gives up all buffers.
    pub fn stop(&mut self) -> io::Result<()> {
        call(&self.handle, vidioc::VIDIOC_STREAMOFF, &mut (self.kind.buffers() as std::os::raw::c_int))?;
        self.mappings.iter_mut().for_each(|mapping| mapping.queued = false);
        Ok(())
    }

    /// Waits until there is a buffer or an event, or `wait` is over, or a signal came.
    pub fn wait(&self, wait: Span) -> io::Result<Ready> {
        wait_for([self], wait).map(|[ready]| ready)
    }

    /// Takes the next filled buffer; `None` when none is ready.
    pub fn dequeue(&mut self) -> io::Result<Option<Filled>> {
        let mut buffer = self.description(0);
        match call(&self.handle, vidioc::VIDIOC_DQBUF, &mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            done => done?,
        }
        let index = buffer.index as usize;
        let Some(mapping) = self.mappings.get_mut(index) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the driver handed out buffer {index}")));
        };
        mapping.queued = false;
        // Seconds and microseconds have 32 bits on some systems.
        #[allow(clippy::useless_conversion)]
        let (s, us) = (i64::from(buffer.timestamp.tv_sec), i64::from(buffer.timestamp.tv_usec));
        Ok(Some(Filled {
            index,
            used: (buffer.bytesused as usize).min(mapping.length),
            flags: buffer.flags,
            sequence: buffer.sequence,
            stamp_ns: s.saturating_mul(1_000_000_000).saturating_add(us.saturating_mul(1_000)),
        }))
    }

    /// The bytes that the driver wrote.
    ///
    /// # Panics
    /// When the buffer was given back already.
    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        let mapping = &self.mappings[filled.index];
        assert!(!mapping.queued, "buffer {} is the driver's", filled.index);
        let length = filled.used.min(mapping.length);
        // SAFETY: the mapping is `mapping.length` bytes long and stays until `self` is dropped. The driver does not write
        // into a buffer between DQBUF and QBUF; `queued` is false between these two, and giving the buffer back needs
        // `&mut self`, so it cannot happen while the slice is borrowed.
        unsafe { std::slice::from_raw_parts(mapping.at.cast::<u8>(), length) }
    }

    /// Gives a buffer back to the driver.
    pub fn requeue(&mut self, filled: Filled) -> io::Result<()> {
        if self.mappings[filled.index].queued { Ok(()) } else { self.queue(filled.index) }
    }

    fn queue(&mut self, index: usize) -> io::Result<()> {
        call(&self.handle, vidioc::VIDIOC_QBUF, &mut self.description(index))?;
        self.mappings[index].queued = true;
        Ok(())
    }

    fn description(&self, index: usize) -> v4l2_buffer {
        v4l2_buffer { index: index as u32, type_: self.kind.buffers(), memory: MMAP, ..Plain::zeroed() }
    }
}

/// Waits until one of several streams has a buffer or an event, or `wait` is over, or a signal came.
pub fn wait_for<const N: usize>(streams: [&Buffers; N], wait: Span) -> io::Result<[Ready; N]> {
    let ns = wait.as_ns().max(0);
    let timeout = Timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 };
    let mut fds =
        streams.map(|stream| PollFd::from_borrowed_fd(borrow(&stream.handle), PollFlags::IN | PollFlags::PRI));
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) => Ok(fds.map(|fd| {
            let told = fd.revents();
            let buffer = told.intersects(PollFlags::IN | PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
            Ready { buffer, event: told.contains(PollFlags::PRI) }
        })),
        Err(rustix::io::Errno::INTR) => Ok(streams.map(|_| Ready { buffer: false, event: false })),
        Err(error) => Err(error.into()),
    }
}

/// Starts a stream whose buffers are queued.
pub struct Switch {
    handle: Arc<Handle>,
    kind: Kind,
}

impl Switch {
    /// Starts it; returns when the driver has.
    pub fn on(&self) -> io::Result<()> {
        call(&self.handle, vidioc::VIDIOC_STREAMON, &mut (self.kind.buffers() as std::os::raw::c_int))
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // Errors mean that the device is gone: then there is nothing left to stop or to return.
        let _ = self.stop();
        for mapping in self.mappings.drain(..) {
            // SAFETY: the range is one that `map` made, unmapped only here; slices of it borrow `self`.
            let _ = unsafe { munmap(mapping.at, mapping.length) };
        }
        let mut none = v4l2_requestbuffers { type_: self.kind.buffers(), memory: MMAP, ..Plain::zeroed() };
        let _ = call(&self.handle, vidioc::VIDIOC_REQBUFS, &mut none);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_event_calls_are_those_of_the_kernel() {
        // From linux/videodev2.h on x86_64 and aarch64, where the structures have 136 and 32 bytes.
        #[cfg(target_pointer_width = "64")]
        assert_eq!((DEQUEUE_EVENT, SUBSCRIBE_EVENT), (0x8088_5659, 0x4020_565a));
        assert_eq!(request(2, 0, size_of::<v4l2_capability>()), vidioc::VIDIOC_QUERYCAP);
    }

    #[test]
    fn a_name_that_is_no_text_is_shown_and_does_not_panic() {
        assert_eq!(text(b"Cam\xffera\0\0rest"), "Cam\u{fffd}era");
        assert_eq!(text(&[b'x'; 4]), "xxxx");
    }

    #[test]
    fn a_path_with_a_zero_byte_is_an_error() {
        assert!(Node::open(Path::new("/dev/vi\0deo")).is_err());
    }
}
