//! Local time minus UTC, without asking the time zone database for every frame.

use crate::time::WallTime;

/// The offset now and after the next change (summer time), looked up once.
#[derive(Clone, Copy, Debug)]
pub struct Zone {
    before_s: i32,
    change_at: WallTime,
    after_s: i32,
}

impl Zone {
    /// No offset.
    pub const fn utc() -> Self {
        Self { before_s: 0, change_at: WallTime::from_utc_ns(i64::MAX), after_s: 0 }
    }

    /// The machine's own zone (`TZ`, else the system's) around `now`. Right until the second change after `now`, some
    /// months; a recorder that runs longer keeps the offset of the first.
    pub fn local(now: WallTime) -> Self {
        Self::of(&jiff::tz::TimeZone::system(), now)
    }

    fn of(zone: &jiff::tz::TimeZone, now: WallTime) -> Self {
        let Ok(at) = jiff::Timestamp::from_nanosecond(i128::from(now.as_utc_ns())) else { return Self::utc() };
        let before_s = zone.to_offset(at).seconds();
        let Some(change) = zone.following(at).next() else {
            return Self { before_s, after_s: before_s, ..Self::utc() };
        };
        let change_ns = i64::try_from(change.timestamp().as_nanosecond()).unwrap_or(i64::MAX);
        Self { before_s, change_at: WallTime::from_utc_ns(change_ns), after_s: change.offset().seconds() }
    }

    /// The offset at `wall`, in seconds.
    pub fn offset_s(&self, wall: WallTime) -> i32 {
        if wall < self.change_at { self.before_s } else { self.after_s }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_changes_with_summer_time_while_the_engine_runs() {
        // A POSIX rule, so that no time zone database is needed: Central Europe.
        let zone = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        // 2026-03-28T12:00:00Z; summer time begins on the 29th at 01:00 UTC.
        let now = WallTime::from_utc_ns(1_774_699_200_000_000_000);
        let zone = Zone::of(&zone, now);
        let hours = |n: i64| now + crate::time::Span::from_s(n * 3_600);
        assert_eq!(zone.offset_s(now), 3_600);
        assert_eq!(zone.offset_s(hours(12)), 3_600);
        assert_eq!(zone.offset_s(hours(13)), 7_200);
        assert_eq!(Zone::of(&jiff::tz::TimeZone::UTC, now).offset_s(hours(9_000)), 0);
    }
}
