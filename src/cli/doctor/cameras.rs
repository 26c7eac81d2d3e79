//! Which cameras there are, who holds them, and what is in the way, as `kinora devices` sees it.

use kinora::SourceChoice;
use kinora::source::devices::{Camera, Survey, survey};
use kinora::source::{Holder, Obstacle};

use super::Finding;
use super::machine::read;

const CAMERA: &str = "camera";
const IMX500: &str = "IMX500";

/// What to do when there is no camera at all.
const PLUG_IN: &str = "plug a camera in; on a Raspberry Pi the line for one in /boot/firmware/config.txt is \
                       `camera_auto_detect=1`, and `dmesg | grep -i imx500` tells what the kernel found";

/// Findings about V4L2 devices and the IMX500, as far as this source concerns them.
pub fn look(source: &SourceChoice) -> Vec<Finding> {
    told(&survey(), source, &manager)
}

/// `manager` says what a process belongs to: the content of its `/proc/N/cgroup`.
fn told(survey: &Survey, source: &SourceChoice, manager: &dyn Fn(u32) -> Option<String>) -> Vec<Finding> {
    let mut findings: Vec<_> = survey.cameras.iter().map(|camera| of_camera(camera, manager)).collect();
    let nodes = survey.unusable.iter();
    let (mendable, others): (Vec<_>, Vec<_>) = nodes.partition(|node| node.why.remedy.is_some());
    for node in mendable {
        let name = if node.name.is_empty() { String::new() } else { format!(" ({})", node.name) };
        findings.push(obstacle(CAMERA, &format!("{}{name}: ", node.path.display()), &node.why));
    }
    let needed = matches!(source, SourceChoice::Auto | SourceChoice::V4l2(_) | SourceChoice::Imx500(_));
    if findings.is_empty() {
        let found = "no V4L2 device that could be recorded from";
        findings.push(match needed {
            true => Finding::warning(CAMERA, found, PLUG_IN),
            false => Finding::note(CAMERA, format!("{found}; this source needs none")),
        });
    }
    if !others.is_empty() {
        let found = format!("{} more video nodes are no cameras (kinora devices)", others.len());
        findings.push(Finding::note(CAMERA, found));
    }
    findings.extend(imx500(survey, source));
    findings
}

fn of_camera(camera: &Camera, manager: &dyn Fn(u32) -> Option<String>) -> Finding {
    let nodes: Vec<_> = camera.nodes.iter().map(|(_, path)| path.display().to_string()).collect();
    let what = match camera.receiver {
        Some(receiver) => format!("{}: {} behind {receiver} ({})", camera.source, camera.name, nodes.join(", ")),
        None => format!("{}: {}", camera.source, camera.name),
    };
    if camera.holders.is_empty() {
        return Finding::ok(CAMERA, what);
    }
    let names = camera.holders.iter().map(|Holder { process, name }| format!("{name} (process {process})"));
    let remedies = camera.holders.iter().map(|holder| end(holder, manager(holder.process).as_deref()));
    let (names, remedies): (Vec<_>, Vec<_>) = (names.collect(), remedies.collect());
    Finding::warning(CAMERA, format!("{what}, held by {}", names.join(", ")), remedies.join("\n"))
}

/// How to end whoever holds a camera: what a service manager runs comes back when it is only killed.
fn end(holder: &Holder, cgroup: Option<&str>) -> String {
    let path = cgroup.and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::")));
    let unit = path.and_then(|path| path.rsplit('/').find(|part| part.ends_with(".service")));
    match (unit, path) {
        // That service is the manager of everything the user has started.
        (Some(unit), _) if unit.starts_with("user@") => format!("kill {}", holder.process),
        (Some(unit), Some(path)) if path.contains("/user@") => format!("systemctl --user stop {unit}"),
        (Some(unit), _) => format!("sudo systemctl stop {unit}"),
        (None, _) => format!("kill {}", holder.process),
    }
}

fn manager(process: u32) -> Option<String> {
    read(&format!("/proc/{process}/cgroup"))
}

fn obstacle(check: &'static str, subject: &str, obstacle: &Obstacle) -> Finding {
    let found = format!("{subject}{}", obstacle.what);
    match &obstacle.remedy {
        Some(remedy) => Finding::warning(check, found, remedy),
        None => Finding::note(check, found),
    }
}

/// The sensor is a camera of the list; what it lacks is a warning to whoever would record from it.
fn imx500(survey: &Survey, source: &SourceChoice) -> Vec<Finding> {
    let sensors = survey.cameras.iter().filter(|camera| camera.receiver.is_some());
    let names: Vec<_> = sensors.map(|camera| camera.source.as_str()).collect();
    let is_named = matches!(source, SourceChoice::Imx500(_));
    let is_meant = is_named || *source == SourceChoice::Auto && (!names.is_empty() || survey.cameras.is_empty());
    if !survey.missing.is_empty() {
        let told = survey.missing.iter().map(|missing| match is_meant {
            true => obstacle(IMX500, "", missing),
            false => Finding::note(IMX500, missing.to_string()),
        });
        return told.collect();
    }
    vec![match (names.as_slice(), is_named) {
        ([], true) => Finding::warning(IMX500, "not present", PLUG_IN),
        ([], false) => Finding::note(IMX500, "not present"),
        (names, _) => Finding::ok(IMX500, format!("present, with its firmware: {}", names.join(", "))),
    }]
}

#[cfg(test)]
mod tests {
    use kinora::source::devices::Unusable;

    use super::super::State;
    use super::*;

    fn camera(source: &str, receiver: Option<&'static str>, holders: Vec<Holder>) -> Camera {
        Camera {
            source: source.into(),
            name: "a name".into(),
            receiver,
            nodes: vec![("pictures", "/dev/video0".into())],
            modes: Vec::new(),
            controls: Vec::new(),
            holders,
        }
    }

    fn obstacle(what: &str, remedy: Option<&str>) -> Obstacle {
        Obstacle { what: what.into(), remedy: remedy.map(Into::into) }
    }

    fn of(survey: &Survey, source: &str) -> Vec<(&'static str, State, String)> {
        let found = told(survey, &source.parse().unwrap(), &|_| None).into_iter();
        found.map(|f| (f.check, f.state, format!("{} | {}", f.found, f.remedy.unwrap_or_default()))).collect()
    }

    #[test]
    fn who_holds_a_camera_is_told_with_the_way_to_end_it() {
        let holder = Holder { process: 12, name: "cheese".into() };
        let ends = [
            ("0::/system.slice/kinora.service\n", "sudo systemctl stop kinora.service"),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/session.slice/wireplumber.service",
                "systemctl --user stop wireplumber.service",
            ),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-cheese.scope", "kill 12"),
            ("0::/user.slice/user-1000.slice/session-3.scope", "kill 12"),
            ("1:name=systemd:/", "kill 12"),
        ];
        for (cgroup, expected) in ends {
            assert_eq!(end(&holder, Some(cgroup)), expected);
        }
        let survey = Survey { cameras: vec![camera("v4l2:/dev/video0", None, vec![holder])], ..Survey::default() };
        let (check, state, text) = of(&survey, "auto").swap_remove(0);
        assert_eq!((check, state), (CAMERA, State::Warning));
        assert!(text.contains("held by cheese (process 12) | kill 12"), "{text}");
    }

    #[test]
    fn a_node_that_cannot_be_opened_is_a_warning_and_one_that_is_no_camera_is_counted() {
        let node = |path: &str, why| Unusable { path: path.into(), name: String::new(), why };
        let unusable = vec![
            node("/dev/video0", obstacle("permission denied", Some("join the group"))),
            node("/dev/video10", obstacle("a codec", None)),
            node("/dev/video11", obstacle("a codec", None)),
        ];
        let told = of(&Survey { unusable, ..Survey::default() }, "auto");
        assert_eq!(
            told[0],
            (CAMERA, State::Warning, "/dev/video0: permission denied | join the group".into()),
            "{told:?}"
        );
        assert!(told[1].1 == State::Note && told[1].2.contains("2 more video nodes"), "{told:?}");
        assert_eq!(told[2], (IMX500, State::Note, "not present | ".into()));
    }

    #[test]
    fn no_camera_is_a_warning_only_to_who_would_record_from_one() {
        let none = Survey::default();
        assert_eq!(of(&none, "auto")[0].1, State::Warning);
        assert_eq!(of(&none, "v4l2:/dev/video0")[0].1, State::Warning);
        assert!(of(&none, "virtual").iter().chain(&of(&none, "a.kinora")).all(|told| told.1 == State::Note));
        assert!(of(&none, "imx500").iter().all(|told| told.1 == State::Warning));
    }

    #[test]
    fn what_an_imx500_lacks_is_a_warning_only_to_who_would_record_from_it() {
        let missing = || vec![obstacle("its firmware is missing", Some("install it"))];
        let usb = || vec![camera("v4l2:/dev/video0", None, Vec::new())];
        let state = |survey: &Survey, source: &str| {
            of(survey, source).into_iter().find(|told| told.0 == IMX500).map(|told| told.1)
        };
        let pi = Survey { missing: missing(), ..Survey::default() };
        assert_eq!(state(&pi, "auto"), Some(State::Warning));
        let pi = Survey { cameras: usb(), missing: missing(), ..Survey::default() };
        assert_eq!(state(&pi, "auto"), Some(State::Note), "a USB camera is taken");
        assert_eq!(state(&pi, "imx500"), Some(State::Warning));
        let sensor = vec![camera("imx500:0", Some("rp1-cfe"), Vec::new())];
        let pi = Survey { cameras: sensor.clone(), missing: missing(), ..Survey::default() };
        assert_eq!(state(&pi, "auto"), Some(State::Warning), "it is taken, and lacks firmware");
        assert_eq!(state(&Survey { cameras: sensor, ..Survey::default() }, "auto"), Some(State::Ok));
    }
}
