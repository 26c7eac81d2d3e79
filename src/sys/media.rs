//! Media controller and subdevice calls with a safe face, for which the `v4l` crate has neither structures nor numbers:
//! topology, links, formats of subdevices, and extended controls of any node.
//!
//! Structures are laid out as in `linux/media.h` and `linux/v4l2-subdev.h`; their sizes, which are part of each call's
//! number, are checked when this is compiled.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use v4l::v4l_sys::{v4l2_ext_control, v4l2_ext_controls, v4l2_query_ext_ctrl};
use v4l::v4l2::vidioc::{self, _IOC_TYPE as Request};

use super::v4l2::Plain;
use crate::media::{ENTITY_BYTES, INTERFACE_BYTES, LINK_BYTES, LinkChange, PAD_BYTES, PadRef, Topology};

/// `struct media_device_info`.
#[repr(C)]
#[derive(Clone, Copy)]
struct DeviceInfo {
    driver: [u8; 16],
    model: [u8; 32],
    serial: [u8; 40],
    bus_info: [u8; 32],
    media_version: u32,
    hw_revision: u32,
    driver_version: u32,
    reserved: [u32; 31],
}

/// `struct media_v2_topology`, packed; with these fields packed and natural layout are the same.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawTopology {
    version: u64,
    entities: u32,
    reserved1: u32,
    entities_at: u64,
    interfaces: u32,
    reserved2: u32,
    interfaces_at: u64,
    pads: u32,
    reserved3: u32,
    pads_at: u64,
    links: u32,
    reserved4: u32,
    links_at: u64,
}

/// `struct media_pad_desc`.
#[repr(C)]
#[derive(Clone, Copy)]
struct PadDescription {
    entity: u32,
    index: u16,
    flags: u32,
    reserved: [u32; 2],
}

/// `struct media_link_desc`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LinkDescription {
    source: PadDescription,
    sink: PadDescription,
    flags: u32,
    reserved: [u32; 2],
}

/// `struct v4l2_mbus_framefmt`.
#[repr(C)]
#[derive(Clone, Copy)]
struct BusFrame {
    width: u32,
    height: u32,
    code: u32,
    field: u32,
    colorspace: u32,
    encodings: [u16; 4],
    reserved: [u16; 10],
}

/// `struct v4l2_subdev_format`.
#[repr(C)]
#[derive(Clone, Copy)]
struct PadFormat {
    which: u32,
    pad: u32,
    format: BusFrame,
    reserved: [u32; 8],
}

const _: () = assert!(size_of::<DeviceInfo>() == 256);
const _: () = assert!(size_of::<RawTopology>() == 72);
const _: () = assert!(size_of::<PadDescription>() == 20);
const _: () = assert!(size_of::<LinkDescription>() == 52);
const _: () = assert!(size_of::<BusFrame>() == 48);
const _: () = assert!(size_of::<PadFormat>() == 88);
const _: () = assert!(size_of::<v4l2_ext_control>() == 20);
const _: () = assert!(size_of::<v4l2_query_ext_ctrl>() == 232);

// SAFETY: integers and arrays of them.
unsafe impl Plain for DeviceInfo {}
// SAFETY: as above.
unsafe impl Plain for RawTopology {}
// SAFETY: as above.
unsafe impl Plain for PadDescription {}
// SAFETY: as above.
unsafe impl Plain for LinkDescription {}
// SAFETY: as above.
unsafe impl Plain for BusFrame {}
// SAFETY: as above.
unsafe impl Plain for PadFormat {}
// SAFETY: as above.
unsafe impl Plain for v4l2_query_ext_ctrl {}
// SAFETY: integers, and unions of integers and pointers, for which null is a value.
unsafe impl Plain for v4l2_ext_control {}
// SAFETY: as above.
unsafe impl Plain for v4l2_ext_controls {}

const fn both(kind: u8, number: Request, size: usize) -> Request {
    3 << 30 | (size as Request) << 16 | (kind as Request) << 8 | number
}

const DEVICE_INFO: Request = both(b'|', 0, size_of::<DeviceInfo>());
const SETUP_LINK: Request = both(b'|', 3, size_of::<LinkDescription>());
const G_TOPOLOGY: Request = both(b'|', 4, size_of::<RawTopology>());
const SUBDEV_G_FMT: Request = both(b'V', 4, size_of::<PadFormat>());
const SUBDEV_S_FMT: Request = both(b'V', 5, size_of::<PadFormat>());

/// `V4L2_SUBDEV_FORMAT_ACTIVE`.
const ACTIVE: u32 = 1;
/// `V4L2_CTRL_FLAG_NEXT_CTRL | V4L2_CTRL_FLAG_NEXT_COMPOUND`.
const NEXT: u32 = 0xC000_0000;
/// Controls of one node that are listed; real drivers have up to a hundred.
const CONTROLS_MAX: usize = 512;
/// Rows of one array of a topology; a Pi 5 has some 30.
const ROWS_MAX: u32 = 4096;

/// One ioctl. Interrupted calls are made again.
fn call<T: Plain>(fd: BorrowedFd<'_>, request: Request, argument: &mut T) -> io::Result<()> {
    loop {
        // SAFETY: every request in this file carries the size of the structure that is passed with it, so the kernel reads
        // and writes inside `argument`, which lives across the call. Where the structure holds addresses (topology,
        // extended controls) the caller keeps memory of the stated length behind them for as long.
        match unsafe { v4l::v4l2::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(argument).cast()) } {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn open_node(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?)
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// What a media device says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The driver: `unicam`, `rp1-cfe`, …
    pub driver: String,
    /// The model.
    pub model: String,
}

/// A media controller, `/dev/mediaN`.
#[derive(Debug)]
pub struct MediaDevice(OwnedFd);

impl MediaDevice {
    /// Opens a node.
    pub fn open(path: &Path) -> io::Result<Self> {
        open_node(path).map(Self)
    }

    /// What it is.
    pub fn identity(&self) -> io::Result<Identity> {
        let mut info = DeviceInfo::zeroed();
        call(self.0.as_fd(), DEVICE_INFO, &mut info)?;
        Ok(Identity { driver: text(&info.driver), model: text(&info.model) })
    }

    /// Its graph, as bytes for [`Graph::parse`](crate::media::Graph::parse).
    pub fn topology(&self) -> io::Result<Topology> {
        // The graph may grow between the call for the counts and the call for the rows; then the kernel says ENOSPC.
        for _ in 0..8 {
            let mut counts = RawTopology::zeroed();
            call(self.0.as_fd(), G_TOPOLOGY, &mut counts)?;
            let rows = [counts.entities, counts.interfaces, counts.pads, counts.links];
            if rows.iter().any(|&rows| rows > ROWS_MAX) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a graph of {rows:?} rows")));
            }
            let memory = |rows: u32, size: usize| vec![0_u8; rows as usize * size];
            let mut found = Topology {
                entities: memory(counts.entities, ENTITY_BYTES),
                interfaces: memory(counts.interfaces, INTERFACE_BYTES),
                pads: memory(counts.pads, PAD_BYTES),
                links: memory(counts.links, LINK_BYTES),
            };
            // The kernel writes through these addresses.
            let address = |rows: &mut Vec<u8>| rows.as_mut_ptr().expose_provenance() as u64;
            let mut ask = RawTopology {
                entities_at: address(&mut found.entities),
                interfaces_at: address(&mut found.interfaces),
                pads_at: address(&mut found.pads),
                links_at: address(&mut found.links),
                ..counts
            };
            match call(self.0.as_fd(), G_TOPOLOGY, &mut ask) {
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => continue,
                done => done?,
            }
            // Fewer than asked for are possible; never more, see ENOSPC above.
            found.entities.truncate(ask.entities as usize * ENTITY_BYTES);
            found.interfaces.truncate(ask.interfaces as usize * INTERFACE_BYTES);
            found.pads.truncate(ask.pads as usize * PAD_BYTES);
            found.links.truncate(ask.links as usize * LINK_BYTES);
            return Ok(found);
        }
        Err(io::Error::other("the media graph keeps changing"))
    }

    /// Sets the flags of a link.
    pub fn set_link(&self, change: &LinkChange) -> io::Result<()> {
        let pad = |end: PadRef, flags| PadDescription { entity: end.entity, index: end.index, flags, reserved: [0; 2] };
        // MEDIA_PAD_FL_SOURCE and MEDIA_PAD_FL_SINK.
        let (source, sink) = (pad(change.source, 2), pad(change.sink, 1));
        let mut link = LinkDescription { source, sink, flags: change.flags, reserved: [0; 2] };
        call(self.0.as_fd(), SETUP_LINK, &mut link)
    }
}

/// What travels over one pad of a subdevice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusFormat {
    /// Pixels in a row; bytes for metadata.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `MEDIA_BUS_FMT_*`.
    pub code: u32,
}

/// A control of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// `V4L2_CID_*`.
    pub id: u32,
    /// The driver's name of it.
    pub name: String,
    /// `V4L2_CTRL_TYPE_*`.
    pub kind: u32,
    /// Least value.
    pub minimum: i64,
    /// Greatest value.
    pub maximum: i64,
    /// Value after loading the driver.
    pub default: i64,
    /// `V4L2_CTRL_FLAG_*`.
    pub flags: u32,
    /// Elements; more than 1 for arrays.
    pub elements: u32,
}

/// A subdevice, `/dev/v4l-subdevN`.
#[derive(Debug)]
pub struct Subdevice(OwnedFd);

impl Subdevice {
    /// Opens a node.
    pub fn open(path: &Path) -> io::Result<Self> {
        open_node(path).map(Self)
    }

    /// A second handle of the same open node, for another thread.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// What a pad is set to.
    pub fn format(&self, pad: u32) -> io::Result<BusFormat> {
        let mut format = PadFormat { which: ACTIVE, pad, ..PadFormat::zeroed() };
        call(self.0.as_fd(), SUBDEV_G_FMT, &mut format)?;
        Ok(BusFormat { width: format.format.width, height: format.format.height, code: format.format.code })
    }

    /// Sets a pad; what comes back is what the driver made of it.
    pub fn set_format(&self, pad: u32, wish: BusFormat) -> io::Result<BusFormat> {
        let mut format = PadFormat { which: ACTIVE, pad, ..PadFormat::zeroed() };
        format.format.width = wish.width;
        format.format.height = wish.height;
        format.format.code = wish.code;
        // V4L2_FIELD_NONE.
        format.format.field = 1;
        call(self.0.as_fd(), SUBDEV_S_FMT, &mut format)?;
        Ok(BusFormat { width: format.format.width, height: format.format.height, code: format.format.code })
    }

    /// Its controls.
    pub fn controls(&self) -> Vec<Control> {
        controls(self.0.as_fd())
    }

    /// The value of a control of one number.
    pub fn value(&self, id: u32) -> io::Result<i32> {
        let mut control = v4l2_ext_control { id, ..Plain::zeroed() };
        controls_call(self.0.as_fd(), vidioc::VIDIOC_G_EXT_CTRLS, std::slice::from_mut(&mut control))?;
        // SAFETY: all bytes of the union were zero or filled by the kernel; any bytes are a number.
        Ok(unsafe { control.__bindgen_anon_1.value })
    }

    /// Sets a control of one number. Out of range, the driver takes the nearest value that it has.
    pub fn set_value(&self, id: u32, value: i32) -> io::Result<()> {
        let mut control = v4l2_ext_control { id, ..Plain::zeroed() };
        control.__bindgen_anon_1.value = value;
        controls_call(self.0.as_fd(), vidioc::VIDIOC_S_EXT_CTRLS, std::slice::from_mut(&mut control))
    }

    /// The values of a control of four numbers.
    pub fn values(&self, id: u32) -> io::Result<[u32; 4]> {
        let mut values = [0; 4];
        self.four(vidioc::VIDIOC_G_EXT_CTRLS, id, &mut values)?;
        Ok(values)
    }

    /// Sets a control of four numbers.
    pub fn set_values(&self, id: u32, mut values: [u32; 4]) -> io::Result<()> {
        self.four(vidioc::VIDIOC_S_EXT_CTRLS, id, &mut values)
    }

    fn four(&self, request: Request, id: u32, values: &mut [u32; 4]) -> io::Result<()> {
        let mut control = v4l2_ext_control { id, size: size_of_val(values) as u32, ..Plain::zeroed() };
        control.__bindgen_anon_1.ptr = values.as_mut_ptr().cast::<c_void>();
        controls_call(self.0.as_fd(), request, std::slice::from_mut(&mut control))
    }
}

/// The controls of any open node: plain and compound, without the headings of classes.
pub fn controls(fd: BorrowedFd<'_>) -> Vec<Control> {
    let mut found = Vec::new();
    let mut id = NEXT;
    while found.len() < CONTROLS_MAX {
        let Ok(control) = query(fd, id) else { break };
        // A driver that names the same control again would never end.
        if id != NEXT && control.id <= id & !NEXT {
            break;
        }
        id = control.id | NEXT;
        // V4L2_CTRL_TYPE_CTRL_CLASS.
        if control.kind != 6 {
            found.push(control);
        }
    }
    found
}

fn query(fd: BorrowedFd<'_>, id: u32) -> io::Result<Control> {
    let mut found = v4l2_query_ext_ctrl { id, ..Plain::zeroed() };
    call(fd, vidioc::VIDIOC_QUERY_EXT_CTRL, &mut found)?;
    let name: Vec<u8> = found.name.iter().map(|&c| c as u8).collect();
    Ok(Control {
        id: found.id,
        name: text(&name),
        kind: found.type_,
        minimum: found.minimum,
        maximum: found.maximum,
        default: found.default_value,
        flags: found.flags,
        elements: found.elems,
    })
}

/// `controls`: where one holds a pointer, the caller keeps memory of the stated size behind it.
fn controls_call(fd: BorrowedFd<'_>, request: Request, controls: &mut [v4l2_ext_control]) -> io::Result<()> {
    let mut all =
        v4l2_ext_controls { count: controls.len() as u32, controls: controls.as_mut_ptr(), ..Plain::zeroed() };
    call(fd, request, &mut all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_calls_are_those_of_the_kernel() {
        // Computed by a C compiler from linux/media.h and linux/v4l2-subdev.h.
        assert_eq!((DEVICE_INFO, SETUP_LINK, G_TOPOLOGY), (0xC100_7C00, 0xC034_7C03, 0xC048_7C04));
        assert_eq!((SUBDEV_G_FMT, SUBDEV_S_FMT), (0xC058_5604, 0xC058_5605));
    }

    #[test]
    fn a_file_that_is_no_device_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let media = MediaDevice::open(file.path()).unwrap();
        assert_eq!(media.identity().unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(media.topology().unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        let node = Subdevice::open(file.path()).unwrap();
        assert!(node.controls().is_empty() && node.format(0).is_err() && node.values(0x0098_2900).is_err());
        assert!(MediaDevice::open(Path::new("/nowhere/media0")).is_err());
    }
}
