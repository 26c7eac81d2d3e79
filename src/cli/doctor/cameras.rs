//! Which cameras there are, whether this user may open them, and who holds them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Finding;
use super::machine::read;

/// Findings about V4L2 devices and the IMX500.
pub fn look(source: &str) -> Vec<Finding> {
    // The class lists nodes of one device after another; the name is the driver's.
    let class = Path::new("/sys/class/video4linux");
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    let names: BTreeSet<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let nodes = names.iter().filter(|name| name.starts_with("video"));
    let mut findings: Vec<_> = nodes.map(|name| node(class, name)).collect();
    let is_camera = source == "auto" || source.starts_with("v4l2");
    if findings.is_empty() {
        let found = "no V4L2 device";
        let remedy = "plug the camera in; on a Raspberry Pi its line in /boot/firmware/config.txt is `camera_auto_detect=1`, and \
                      `dmesg | grep -i imx500` says what the kernel found";
        findings.push(if is_camera {
            Finding::warning("camera", found, remedy)
        } else {
            Finding::note("camera", format!("{found}; {source} needs none"))
        });
    }
    findings.push(imx500(class, &names));
    findings
}

fn node(class: &Path, name: &str) -> Finding {
    const CHECK: &str = "camera";
    let device = PathBuf::from("/dev").join(name);
    let driver = class.join(name).join("name").to_str().and_then(read).unwrap_or_default();
    let what = format!("{} ({driver})", device.display());
    if let Err(error) = fs::File::options().read(true).write(true).open(&device) {
        return match error.kind() {
            io::ErrorKind::PermissionDenied => {
                let group = group_of(&device).unwrap_or_else(|| "video".to_owned());
                let remedy = format!("sudo usermod -aG {group} $USER, then log in again");
                Finding::warning(CHECK, format!("{what}: this user may not open it"), remedy)
            }
            io::ErrorKind::ResourceBusy => busy(&what, &holders(&device)),
            _ => Finding::warning(CHECK, format!("{what}: {error}"), "unplug the camera and plug it in again"),
        };
    }
    match holders(&device).as_slice() {
        [] => Finding::ok(CHECK, what),
        holders => busy(&what, holders),
    }
}

fn busy(what: &str, holders: &[(u32, String)]) -> Finding {
    let names: Vec<_> = holders.iter().map(|(pid, name)| format!("{name} (process {pid})")).collect();
    let pids: Vec<_> = holders.iter().map(|(pid, _)| pid.to_string()).collect();
    let (who, remedy) = match names.is_empty() {
        true => ("another user's process".to_owned(), "sudo fuser -v /dev/video* names it".to_owned()),
        false => (names.join(", "), format!("end it: kill {}", pids.join(" "))),
    };
    Finding::warning("camera", format!("{what}: held by {who}"), remedy)
}

/// Processes that have the file open, as far as this user may see them; never this one.
fn holders(device: &Path) -> Vec<(u32, String)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| pid != std::process::id())
        .filter(|pid| {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            open.into_iter().any(|link| fs::read_link(link.path()).is_ok_and(|target| target == device))
        })
        .map(|pid| (pid, read(&format!("/proc/{pid}/comm")).unwrap_or_default()))
        .collect()
}

/// The name of the group that may open it.
fn group_of(device: &Path) -> Option<String> {
    let gid = fs::metadata(device).ok()?.gid();
    let groups = read("/etc/group")?;
    let mut fields = groups.lines().map(|line| line.split(':'));
    fields.find_map(|mut line| {
        let name = line.next()?;
        (line.nth(1)?.parse::<u32>().ok()? == gid).then(|| name.to_owned())
    })
}

/// The sensor is one of the I²C devices; what it runs is loaded from these two files.
fn imx500(class: &Path, names: &BTreeSet<String>) -> Finding {
    const CHECK: &str = "IMX500";
    const FIRMWARE: [&str; 2] = ["/lib/firmware/imx500_loader.fpk", "/lib/firmware/imx500_firmware.fpk"];
    let is_ours = |path: PathBuf| path.to_str().and_then(read).is_some_and(|name| name.contains("imx500"));
    let subdevice = names.iter().any(|name| is_ours(class.join(name).join("name")));
    let on_bus = fs::read_dir("/sys/bus/i2c/devices").into_iter().flatten().flatten();
    let sensor = on_bus.into_iter().any(|device| is_ours(device.path().join("name")));
    let missing: Vec<_> = FIRMWARE.into_iter().filter(|path| !Path::new(path).exists()).collect();
    match (subdevice, sensor) {
        (false, false) => Finding::note(CHECK, "not present"),
        _ if !missing.is_empty() => {
            let found = format!("present, but without {}", missing.join(" and "));
            Finding::warning(CHECK, found, "sudo apt install imx500-all, then restart")
        }
        (false, true) => {
            let remedy = "dmesg | grep -i imx500 says why; a loose ribbon cable is the usual reason";
            Finding::warning(CHECK, "on the bus, but its driver has made no device", remedy)
        }
        (true, _) => Finding::ok(CHECK, "present, with its firmware"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_a_file_open_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device");
        let file = fs::File::create(&path).unwrap();
        assert!(holders(&path).is_empty(), "this process does not count");
        let mut child = std::process::Command::new("sleep").arg("600").stdin(file).spawn().unwrap();
        let found = holders(&path);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, [(child.id(), "sleep".to_owned())]);
    }

    #[test]
    fn the_group_of_a_file_has_a_name() {
        let gid = fs::metadata("/dev/null").unwrap().gid();
        assert_eq!(
            group_of(Path::new("/dev/null")).is_some(),
            read("/etc/group").unwrap().contains(&format!(":{gid}:"))
        );
    }
}
