//! Local time: what the wall clock says where the machine stands. The zone's rules come from the system (`TZ`, else
//! `/etc/localtime`), UTC where there are none.

use jiff::Timestamp as Instant;
use jiff::tz::TimeZone;

use super::names::CivilTime;
use crate::time::WallTime;

/// Date and time of day at `wall` in the local zone.
pub fn civil_time(wall: WallTime) -> CivilTime {
    civil_time_in(wall, &TimeZone::system())
}

/// Local time minus UTC at `wall`, in seconds.
pub fn utc_offset_s(wall: WallTime) -> i32 {
    TimeZone::system().to_offset(instant(wall)).seconds()
}

/// IANA name of the local zone, if it has one.
pub fn zone_name() -> Option<String> {
    TimeZone::system().iana_name().map(str::to_owned)
}

fn civil_time_in(wall: WallTime, zone: &TimeZone) -> CivilTime {
    let at = instant(wall).to_zoned(zone.clone());
    CivilTime {
        year: at.year(),
        month: at.month(),
        day: at.day(),
        hour: at.hour(),
        minute: at.minute(),
        second: at.second(),
    }
}

/// Every `i64` of nanoseconds lies within jiff's range (1677 to 2262).
fn instant(wall: WallTime) -> Instant {
    Instant::from_nanosecond(i128::from(wall.as_utc_ns())).unwrap_or(Instant::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::names::dated_stem;

    fn stem(utc_s: i64, zone: &str) -> String {
        let zone = TimeZone::posix(zone).unwrap();
        dated_stem(civil_time_in(WallTime::from_utc_ns(utc_s * 1_000_000_000), &zone))
    }

    #[test]
    fn names_are_in_local_time_and_repeat_in_the_hour_that_comes_twice() {
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        // 2026-10-25 00:30 UTC is 02:30 summer time; an hour later it is 02:30 again.
        assert_eq!(stem(1_792_888_200, berlin), "recording_2026-10-25_02-30-00");
        assert_eq!(stem(1_792_888_200 + 3600, berlin), "recording_2026-10-25_02-30-00");
        assert_eq!(stem(1_792_888_200, "UTC0"), "recording_2026-10-25_00-30-00");
    }

    #[test]
    fn a_board_without_a_clock_starts_in_1970() {
        assert_eq!(stem(7, "UTC0"), "recording_1970-01-01_00-00-07");
        assert_eq!(stem(7, "EST5"), "recording_1969-12-31_19-00-07");
        assert_eq!(stem(i64::MAX / 1_000_000_000, "UTC0"), "recording_2262-04-11_23-47-16");
        assert_eq!(stem(i64::MIN / 1_000_000_000, "UTC0"), "recording_1677-09-21_00-12-44");
    }
}
